// tests/lib/bus_world.h -- nodes with nothing but a bus: what arrives is copied into a list, in the order of arrival.
//
// Shape: shell. All in one process, on loopback.
#ifndef OMEN_TESTS_BUS_WORLD_H
#define OMEN_TESTS_BUS_WORLD_H
#include <sched.h>
#include <stdatomic.h>

#include "base/os_lock.h"
#include "base/os_wait.h"
#include "tests/lib/await.h"
#include "tests/lib/tcp_client.h"
#include "wire/bus.h"

#define YIELDS 2000u // until a frame that may have been lost is sent again

#define NODES_MAX 3u
#define ARRIVED_MAX 20000u
#define BODY_KEPT 64u

struct arrived {
    struct wire_uuid from;
    uint64_t boot;
    struct peer_head head;
    uint32_t body_bytes;
    uint8_t body[BODY_KEPT]; // the beginning of it
};

struct datagram {
    struct gossip_address from;
    uint32_t bytes;
    uint8_t packet[GOSSIP_PACKET_BYTES_MAX];
};

struct bus_node {
    struct bus *bus;
    struct bus_config config;
    struct lock lock;
    struct arrived *arrived; // ARRIVED_MAX
    struct datagram datagrams[16];
    _Atomic uint32_t arrived_count, datagram_count, up_count, down_count, refused_count;
    _Atomic uint32_t shut[3];    // by lane: frames of it wait in the callback while it is not 0
    _Atomic uint32_t waiting[3]; // so many do
};

static struct bus_node nodes[NODES_MAX];
static struct seal_keys bus_keys;

static inline struct wire_uuid
node_uuid(uint32_t node)
{
    return (struct wire_uuid){0x1000 + node, 1};
}

static inline void
node_frame(void *context, struct wire_uuid from, uint64_t boot, const struct peer_head *head,
           struct wire_bytes body)
{
    struct bus_node *node = context;
    if (atomic_load(&node->shut[head->lane]) != 0) {
        await_tell(&node->waiting[head->lane]);
        while (atomic_load(&node->shut[head->lane]) != 0)
            os_wait(&node->shut[head->lane], 1);
    }
    lock_acquire(&node->lock);
    const uint32_t at = atomic_load(&node->arrived_count);
    ck_assert_uint_lt(at, ARRIVED_MAX);
    struct arrived *arrived = &node->arrived[at];
    *arrived =
        (struct arrived){.from = from, .boot = boot, .head = *head, .body_bytes = body.count};
    if (body.count > 0)
        memcpy(arrived->body, body.bytes, body.count < BODY_KEPT ? body.count : BODY_KEPT);
    await_tell(&node->arrived_count);
    lock_release(&node->lock);
}

static inline void
node_open_lane(struct bus_node *node, enum peer_lane lane)
{
    atomic_store(&node->shut[lane], 0);
    os_wake_all(&node->shut[lane]);
}

static inline void
node_datagram(void *context, const struct gossip_address *from, struct wire_bytes packet)
{
    struct bus_node *node = context;
    const uint32_t at = atomic_load(&node->datagram_count);
    ck_assert_uint_lt(at, 16);
    node->datagrams[at] = (struct datagram){.from = *from, .bytes = packet.count};
    memcpy(node->datagrams[at].packet, packet.bytes, packet.count);
    await_tell(&node->datagram_count);
}

static inline void
node_up(void *context, struct wire_uuid other)
{
    struct bus_node *node = context;
    ck_assert_uint_ne(other.high, 0);
    await_tell(&node->up_count);
}

static inline void
node_down(void *context, struct wire_uuid other)
{
    struct bus_node *node = context;
    ck_assert_uint_ne(other.high, 0);
    await_tell(&node->down_count);
}

static inline void
node_refused(void *context, struct wire_uuid other)
{
    struct bus_node *node = context;
    ck_assert_uint_ne(other.high, 0);
    await_tell(&node->refused_count);
}

static inline struct gossip_address
loopback(uint16_t port)
{
    return (struct gossip_address){.ip = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1},
                                   .port = port};
}

static inline struct gossip_address
node_address(uint32_t node)
{
    return loopback(bus_port(nodes[node].bus));
}

// What every node has unless a test says otherwise, before node_open.
static inline void
node_prepare(uint32_t at)
{
    struct bus_node *node = &nodes[at];
    static const uint8_t file[SEAL_KEY_FILE_BYTES_MIN] = "the cluster's key, of 32 bytes";
    ck_assert_int_eq(seal_init(), OMEN_OK);
    ck_assert_int_eq(seal_keys_of((struct wire_bytes){file, sizeof file}, &bus_keys), OMEN_OK);
    lock_init(&node->lock);
    node->arrived = mem_alloc_zero(ARRIVED_MAX, sizeof *node->arrived);
    node->config = (struct bus_config){
        .listen = loopback(0),
        .ours = {.cluster = {7, 7},
                 .node = node_uuid(at),
                 .boot = 1,
                 .version_least = 1,
                 .version_most = 1},
        .keys = &bus_keys,
        .handshake_ms = 600000, // nothing is lost because this process had no processor for a while
        .stall_ms = 600000,
        .tick_ms = 5,
        .pause_least_ms = 1,
        .pause_most_ms = 20,
        .context = node,
        .frame = node_frame,
        .datagram = node_datagram,
        .up = node_up,
        .down = node_down,
        .refused = node_refused,
    };
}

static inline void
node_open(uint32_t at)
{
    struct omen_error error = {0};
    ck_assert_msg(bus_open(&nodes[at].config, &nodes[at].bus, &error) == OMEN_OK, "%s", error.text);
}

static inline void
node_close(uint32_t at)
{
    bus_close(nodes[at].bus);
    nodes[at].bus = NULL;
    mem_free(nodes[at].arrived);
    lock_fini(&nodes[at].lock);
}

// Each knows where the others are.
static inline void
nodes_open(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        node_prepare(i);
        node_open(i);
    }
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < count; j++) {
            const struct gossip_address address = node_address(j);
            if (i != j)
                bus_know(nodes[i].bus, node_uuid(j), &address);
        }
}

static inline void
nodes_close(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        node_close(i);
}

static inline struct bus_stats
node_stats(uint32_t node)
{
    struct bus_stats stats;
    bus_stats(nodes[node].bus, &stats);
    return stats;
}

// Spins until `stats` of a node says so: it is counted a moment after the other end saw it.
#define EVENTUALLY_OF(node, stats_say)                                                             \
    do {                                                                                           \
        struct bus_stats stats;                                                                    \
        do                                                                                         \
            stats = node_stats(node);                                                              \
        while (!(stats_say));                                                                      \
    } while (0)

static inline bool
send_frame(uint32_t from, uint32_t to, enum peer_lane lane, uint64_t correlation,
           struct wire_bytes body)
{
    const struct bus_frame frame = {.lane = (uint8_t)lane,
                                    .kind = PEER_RAFT,
                                    .deadline_ms = 250,
                                    .correlation = correlation,
                                    .body = body};
    return bus_send(nodes[from].bus, node_uuid(to), &frame);
}

// Sends such frames until one more has arrived there.
static inline void
send_until_heard(uint32_t from, uint32_t to, uint64_t correlation)
{
    const uint32_t before = atomic_load(&nodes[to].arrived_count);
    while (atomic_load(&nodes[to].arrived_count) == before) {
        (void)send_frame(from, to, PEER_CONTROL, correlation, (struct wire_bytes){0});
        for (uint32_t i = 0; i < YIELDS && atomic_load(&nodes[to].arrived_count) == before; i++)
            (void)sched_yield();
    }
}

#endif
