// tests/lib/sim_world.h -- whole nodes of the metadata in one process: virtual time, network and disks, all from a seed.
//
// Shape: shell, simulated.
//
// A node is a turn (node/turn.h), a disk that loses what it did not sync, a monotonic clock that runs up to 5 % fast or slow,
// and a wall clock that may be minutes wrong. Messages are lost, doubled and delayed, so that they overtake each other. What a
// paused node gets waits for it. Every event goes into a running hash: same seed, same hash, on every run and build type.
#ifndef OMEN_TESTS_SIM_WORLD_H
#define OMEN_TESTS_SIM_WORLD_H
#include <inttypes.h>
#include <stdio.h>

#include "base/hash.h"
#include "base/prng.h"
#include "tests/lib/sim_disk.h"
#include "tests/lib/sim_heap.h"

#define SIM_MS UINT64_C(1000000)
#define SIM_SECOND (1000 * SIM_MS)
#define SIM_NODES_MAX 7u
#define SIM_CLIENTS 6u
#define SIM_KEYS 4u
#define SIM_EPOCH_MS UINT64_C(1700000000000)
#define SIM_FAULTS_OPEN 16u

enum sim_fault {
    SIM_FAULT_LOSS,
    SIM_FAULT_DOUBLE,
    SIM_FAULT_DELAY,
    SIM_FAULT_CUT,   // one direction between two
    SIM_FAULT_SPLIT, // two halves
    SIM_FAULT_PAUSE,
    SIM_FAULT_CRASH, // with unsynced transactions lost
    SIM_FAULT_DISK,  // slow
    SIM_FAULT_CLOCK, // the wall's jumps
    SIM_FAULT_POWER, // all crash at once
    SIM_FAULT_KINDS,
};

struct sim_options {
    uint64_t seed;
    uint32_t nodes;
    uint32_t seconds;    // with faults
    uint32_t fault_mask; // bits of enum sim_fault
    bool trace;
    bool lying_disk; // says PERSISTED at once: the checkers must see it
};

struct sim_node {
    struct turn turn;
    struct sim_disk disk;
    bool up;
    uint64_t paused_until_ns;
    uint64_t life; // grows with every start
    uint64_t boot;
    uint64_t rate; // of the monotonic clock, permille
    int64_t wall_off_ms;
    uint64_t wake_at_ns; // of the event that is queued; UINT64_MAX: none
    uint64_t last_done_ns;
    uint64_t map_version; // of this life
};

struct sim_packet {
    struct raft_msg msg;
    struct raft_group group;
    struct gossip_msg gossip;
    enum gossip_lane lane;
};

struct sim_entry {
    uint64_t term, hash;
    uint64_t version, value; // what applying it answered
    int status;
    uint64_t op; // of a client, 0: none
};

struct sim_op {
    uint64_t position; // where it took effect, 0: nowhere
    uint64_t time_ms;
    uint32_t key;
    bool done; // acknowledged
};

struct sim_client {
    bool busy, reading;
    uint64_t op; // of a write: number; of a read: its id
    uint32_t key, node, tries;
    uint64_t floor; // effects that the operation must see
    uint64_t wait_life, wait_position, wait_term;
    bool read_ready;
};

struct sim {
    struct sim_options options;
    struct prng prng;
    struct sim_heap heap;
    uint64_t now_ns, hash, events;
    struct sim_node nodes[SIM_NODES_MAX];
    struct sim_client clients[SIM_CLIENTS];
    bool cut[SIM_NODES_MAX][SIM_NODES_MAX];
    uint32_t loss, doubled, slow_net, slow_disk[SIM_NODES_MAX]; // open faults of each
    struct {
        enum sim_fault kind;
        uint32_t a, b;
        bool open;
    } faults[SIM_FAULTS_OPEN];
    bool calm;    // no more faults
    bool stopped; // clients begin nothing more
    // What has happened, for the checkers.
    struct sim_entry *history; // by position
    uint64_t history_last, history_room;
    uint64_t *leaders; // by term
    uint64_t leader_room, leader_terms;
    struct sim_op *ops;
    uint64_t op_count, op_room;
    uint64_t floors[SIM_KEYS];
    uint64_t read_count;
    // Counted.
    uint64_t ops_done, writes_done, fault_count[SIM_FAULT_KINDS], installs, retries, lost_writes;
    struct turn_output out;
};

#define SIM_REQUIRE(sim, condition, claim)                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            sim_violation(sim, claim, __FILE__, __LINE__);                                         \
    } while (0)

static inline void
sim_print_options(const struct sim *sim, FILE *file)
{
    fprintf(file, "--seed %" PRIu64 " --nodes %u --seconds %u --faults 0x%x%s", sim->options.seed,
            sim->options.nodes, sim->options.seconds, sim->options.fault_mask,
            sim->options.lying_disk ? " --lying-disk" : "");
}

__attribute__((noreturn)) static inline void
sim_violation(const struct sim *sim, const char *claim, const char *file, int line)
{
    printf("VIOLATION at %.6f s: %s (%s:%d)\n  omensim ", (double)sim->now_ns / 1e9, claim, file,
           line);
    sim_print_options(sim, stdout);
    printf("\n");
    fflush(stdout);
    exit(1);
}

static inline void
sim_mix(struct sim *sim, uint64_t word)
{
    sim->hash = mix64(sim->hash + 0x9e3779b97f4a7c15ull + word);
}

static inline bool
sim_chance(struct sim *sim, uint32_t permille)
{
    return prng_below(&sim->prng, 1000) < permille;
}

static inline uint64_t
sim_node_time(const struct sim *sim, uint32_t at)
{
    return sim->now_ns / 1000 * sim->nodes[at].rate;
}

static inline struct gossip_address
sim_address(uint32_t at)
{
    struct gossip_address address = {.port = 7700};
    address.ip[10] = address.ip[11] = 0xff;
    address.ip[12] = 10;
    address.ip[15] = (uint8_t)(at + 1);
    return address;
}

// ---- the network ----

static inline struct sim_packet *
sim_copy_raft(const struct raft_msg *msg)
{
    struct sim_packet *packet = malloc(sizeof *packet);
    ASSERT(packet != NULL);
    packet->msg = *msg;
    if (msg->group != NULL) {
        packet->group = *msg->group;
        packet->msg.group = &packet->group;
    }
    packet->msg.chunk = msg->chunk_bytes > 0 ? sim_copy(msg->chunk, msg->chunk_bytes) : NULL;
    struct raft_entry *entries = NULL;
    if (msg->entry_count > 0) {
        entries = sim_copy(msg->entries, msg->entry_count * sizeof *entries);
        for (uint32_t i = 0; i < msg->entry_count; i++)
            entries[i].bytes = sim_copy(msg->entries[i].bytes, msg->entries[i].byte_count);
    }
    packet->msg.entries = entries;
    return packet;
}

static inline void
sim_free_packet(struct sim_event *event)
{
    struct sim_packet *packet = event->packet;
    if (packet != NULL && event->kind == SIM_RAFT) {
        sim_drop_entries((struct raft_entry *)(uintptr_t)packet->msg.entries,
                         packet->msg.entry_count);
        free((void *)(uintptr_t)packet->msg.entries);
        free((void *)(uintptr_t)packet->msg.chunk);
    }
    free(packet);
}

static inline uint64_t
sim_delay(struct sim *sim)
{
    uint64_t ns = 200000 + prng_below(&sim->prng, 800000);
    if (sim_chance(sim, sim->slow_net > 0 ? 300 : 10))
        ns += prng_below(&sim->prng, 60000000);
    return ns;
}

// How many copies arrive.
static inline uint32_t
sim_copies(struct sim *sim, uint32_t from, uint32_t to)
{
    if (sim->cut[from][to] || sim_chance(sim, sim->loss > 0 ? 250 : 1))
        return 0;
    return sim_chance(sim, sim->doubled > 0 ? 250 : 1) ? 2 : 1;
}

static inline void
sim_send(struct sim *sim, uint32_t from)
{
    const struct turn_output *out = &sim->out;
    for (uint32_t i = 0; i < out->raft.msg_count; i++) {
        const struct raft_msg *msg = &out->raft.msgs[i];
        if (msg->to == 0 || msg->to > sim->options.nodes)
            continue;
        const uint32_t to = (uint32_t)msg->to - 1;
        for (uint32_t copies = sim_copies(sim, from, to); copies > 0; copies--)
            sim_push(&sim->heap, (struct sim_event){.at_ns = sim->now_ns + sim_delay(sim),
                                                    .kind = SIM_RAFT,
                                                    .at = to,
                                                    .from = from,
                                                    .packet = sim_copy_raft(msg)});
    }
    for (uint32_t i = 0; i < out->gossip.send_count; i++) {
        const struct gossip_send *send = &out->gossip.sends[i];
        const uint32_t to = (uint32_t)send->to.ip[15] - 1;
        if (to >= sim->options.nodes)
            continue;
        uint8_t bytes[GOSSIP_PACKET_BYTES_MAX];
        const size_t count = gossip_msg_encode(&send->msg, bytes);
        for (uint32_t copies = sim_copies(sim, from, to); copies > 0; copies--) {
            struct sim_packet *packet = malloc(sizeof *packet);
            ASSERT(packet != NULL);
            const omen_status status = gossip_msg_decode(bytes, count, &packet->gossip);
            ASSERT(status == OMEN_OK);
            packet->lane = send->lane;
            sim_push(&sim->heap, (struct sim_event){.at_ns = sim->now_ns + sim_delay(sim),
                                                    .kind = SIM_GOSSIP,
                                                    .at = to,
                                                    .from = from,
                                                    .packet = packet});
        }
    }
}

// ---- nodes ----

static inline void sim_observe(struct sim *sim, uint32_t at); // tests/lib/sim_check.h

static inline void
sim_crash(struct sim *sim, uint32_t at)
{
    struct sim_node *node = &sim->nodes[at];
    if (!node->up)
        return;
    const uint32_t waiting = node->disk.write_count;
    const uint32_t kept = prng_below(&sim->prng, waiting + 1);
    sim->lost_writes += waiting - kept;
    sim_disk_crash(&node->disk, kept);
    turn_fini(&node->turn);
    node->up = false;
    node->paused_until_ns = 0;
    node->life++;
}

static inline void
sim_write(struct sim *sim, uint32_t at)
{
    struct sim_node *node = &sim->nodes[at];
    uint64_t done = sim->now_ns + SIM_MS + prng_below(&sim->prng, 8000000);
    if (sim->slow_disk[at] > 0)
        done += prng_below(&sim->prng, 150000000);
    if (done <= node->last_done_ns)
        done = node->last_done_ns + 1;
    if (!sim_disk_write(&node->disk, &node->turn, &sim->out, done))
        return;
    node->last_done_ns = done;
    sim_push(&sim->heap,
             (struct sim_event){.at_ns = done, .kind = SIM_SYNC, .at = at, .number = node->life});
}

static inline void
sim_set_wake(struct sim *sim, uint32_t at)
{
    struct sim_node *node = &sim->nodes[at];
    if (sim->out.wake_ns == UINT64_MAX)
        return;
    uint64_t due = (sim->out.wake_ns / node->rate + 1) * 1000;
    if (due <= sim->now_ns)
        due = sim->now_ns + 1000;
    if (node->wake_at_ns != UINT64_MAX && node->wake_at_ns <= due)
        return;
    node->wake_at_ns = due;
    sim_push(&sim->heap,
             (struct sim_event){.at_ns = due, .kind = SIM_WAKE, .at = at, .number = node->life});
}

static inline void
sim_step(struct sim *sim, uint32_t at, struct turn_input in)
{
    struct sim_node *node = &sim->nodes[at];
    in.now_ns = sim_node_time(sim, at);
    in.wall_ms = (uint64_t)((int64_t)(SIM_EPOCH_MS + sim->now_ns / SIM_MS) + node->wall_off_ms);
    turn_step(&node->turn, &in, &sim->out);
    SIM_REQUIRE(sim, sim->out.halt == TURN_RUNS, "a node with good bytes and memory never halts");
    turn_check(&node->turn);
    sim_write(sim, at);
    sim_send(sim, at);
    if (sim->out.gossip.persist_peers)
        node->disk.peer_count = gossip_peers(&node->turn.gossip, node->disk.peers, SIM_PEERS_MAX);
    sim_mix(sim, node->turn.raft.term << 32 ^ node->turn.raft.commit << 8 ^ node->turn.applied);
    sim_mix(sim, node->turn.map.version << 8 ^ sim->out.raft.msg_count);
    sim->installs += sim->out.raft.install;
    sim_set_wake(sim, at);
    sim_observe(sim, at);
    if (sim->options.lying_disk && sim->out.raft.sync)
        sim_push(&sim->heap, (struct sim_event){.at_ns = sim->now_ns + 1000,
                                                .kind = SIM_LIE,
                                                .at = at,
                                                .from = (uint32_t)sim->out.raft.persist_number,
                                                .number = node->life});
}

static inline struct turn_config
sim_turn_config(const struct sim *sim, uint32_t at)
{
    struct turn_config config = {
        .raft = {.id = at + 1,
                 .tick_ns = 20 * SIM_MS,
                 .election_ticks = 15,
                 .heartbeat_ticks = 3,
                 .pre_vote = true,
                 .check_quorum = true,
                 .step_down_on_removal = true,
                 .inflight_max = 32,
                 .inflight_bytes_max = 1u << 20,
                 .append_bytes_max = 8192,
                 .apply_bytes_max = 16384,
                 .uncommitted_bytes_max = 1u << 20,
                 .chunk_bytes = 8192,
                 .tail_entries_max = 8192,
                 .tail_bytes_max = 4u << 20,
                 .tail_retain = 16},
        .gossip = {.cluster = {1, 2},
                   .id = {0x6f6d656e, at + 1},
                   .boot = sim->nodes[at].boot,
                   .profile = GOSSIP_FAST,
                   .members_max = 64},
        .checkpoint_entries = 100,
    };
    config.gossip.meta.address = config.gossip.meta.client = sim_address(at);
    config.gossip.meta.roles = 1;
    return config;
}

static inline void
sim_start(struct sim *sim, uint32_t at)
{
    struct sim_node *node = &sim->nodes[at];
    if (node->up)
        return;
    node->boot++;
    node->life++;
    node->wake_at_ns = UINT64_MAX;
    node->map_version = 0;
    const struct turn_config config = sim_turn_config(sim, at);
    turn_init(&node->turn, &config, prng_next(&sim->prng));
    node->up = true;
    const struct turn_durable durable = sim_disk_read(&node->disk);
    sim_step(sim, at, (struct turn_input){.kind = TURN_IN_START, .durable = &durable});
}

#include "tests/lib/sim_check.h" // sim_observe

#endif
