// wire/bus_nng.c -- whom this node talks to, and for each a connection a lane: made, fed, lost and made again.
//
// Shape: shell.
//
//   a lane:  nothing -- send: dial --> being made, frames wait -- lane_ready --> there
//            being made or there -- lane_lost --> nothing, and refuses until retry_ns
//
// The bus's lock is over the table of peers and the lanes' states. A frame is put together and written without it, so that who
// sends 64 MiB does not hold up a heartbeat. Locks are taken in this order: bus, connection, set of connections.
#include <arpa/inet.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/os_clock.h"
#include "wire/bus_int.h"

#define MS ((uint64_t)1000000)
#define STRANGERS_MAX 1024u      // addresses whose node is not known
#define STRANGER_NS (60000 * MS) // they are forgotten when nothing was sent for so long
#define PORT_TRIES 16u           // until one is free for TCP and UDP

static omen_status open_sockets(struct bus *bus, struct omen_error *error);
static void tick(void *context, uint64_t now_ns);
static void peer_free(struct bus *bus, struct bus_peer **at);

static struct bus_peer **
bucket_of(struct bus *bus, struct wire_uuid node)
{
    return &bus->peers[uuid_is_none(node) ? 0 : (node.high ^ node.low) % PEER_BUCKETS];
}

// ---- life ----

static void
fill_in(struct bus_config *config)
{
    const struct {
        uint32_t *value, otherwise;
    } defaults[] = {
        {&config->connections_max, 4096},     {&config->handshake_ms, 5000},
        {&config->stall_ms, 10000},           {&config->pause_least_ms, 50},
        {&config->pause_most_ms, 2000},       {&config->control_bytes_max, 16u << 20},
        {&config->bulk_bytes_max, 64u << 20}, {&config->tick_ms, 50},
    };
    for (uint32_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++)
        if (*defaults[i].value == 0)
            *defaults[i].value = defaults[i].otherwise;
}

omen_status
bus_open(const struct bus_config *config, struct bus **out, struct omen_error *error)
{
    ASSERT(config->frame != NULL && config->datagram != NULL && config->up != NULL &&
           config->down != NULL);
    *out = NULL;
    if (seal_init() != OMEN_OK)
        return error_set(error, OMEN_E_INTERNAL, "libsodium cannot be used");
    struct bus *bus = mem_alloc_zero(1, sizeof *bus);
    if (bus == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    bus->config = *config;
    fill_in(&bus->config);
    if (config->keys != NULL)
        bus->keys = *config->keys;
    bus->config.keys = NULL; // the copy is what is used
    lock_init(&bus->lock);
    const omen_status status = open_sockets(bus, error);
    if (status != OMEN_OK) {
        bus_close(bus);
        return status;
    }
    *out = bus;
    return OMEN_OK;
}

static void
host_of(const struct gossip_address *address, char text[INET6_ADDRSTRLEN])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    const bool four = memcmp(address->ip, mapped, sizeof mapped) == 0;
    const char *made =
        inet_ntop(four ? AF_INET : AF_INET6, four ? address->ip + sizeof mapped : address->ip, text,
                  INET6_ADDRSTRLEN);
    ASSERT(made != NULL);
}

// Where any port will do, another one is tried when that which TCP got is taken for UDP.
static omen_status
open_sockets(struct bus *bus, struct omen_error *error)
{
    char host[INET6_ADDRSTRLEN];
    host_of(&bus->config.listen, host);
    const struct streams_config streams = {
        .host = host,
        .port = bus->config.listen.port,
        .accepted_max = bus->config.connections_max,
        .tick_ms = bus->config.tick_ms,
        .stall_ms = bus->config.stall_ms,
        .queue_bytes_max = bus->config.control_bytes_max,
        .context = bus,
        .begin = link_begin,
        .missed = link_missed,
        .read = link_read,
        .end = link_end,
        .tick = tick,
    };
    struct udp_config udp = {.listen = bus->config.listen,
                             .keys = &bus->keys,
                             .context = bus->config.context,
                             .datagram = bus->config.datagram};
    omen_status status = OMEN_E_INVALID;
    for (uint32_t i = 0; i < PORT_TRIES && status != OMEN_OK; i++) {
        status = streams_open(&streams, &bus->streams, error);
        if (status != OMEN_OK)
            return status;
        udp.listen.port = streams_port(bus->streams);
        status = udp_open(&udp, &bus->udp, error);
        if (status != OMEN_OK) {
            streams_close(bus->streams);
            bus->streams = NULL;
            if (bus->config.listen.port != 0)
                return status;
        }
    }
    return status;
}

void
bus_close(struct bus *bus)
{
    if (bus == NULL)
        return;
    streams_close(bus->streams);
    udp_close(bus->udp);
    for (uint32_t i = 0; i < PEER_BUCKETS; i++)
        while (bus->peers[i] != NULL)
            peer_free(bus, &bus->peers[i]);
    seal_keys_forget(&bus->keys);
    lock_fini(&bus->lock);
    mem_free(bus);
}

uint16_t
bus_port(const struct bus *bus)
{
    return streams_port(bus->streams);
}

void
bus_stats(struct bus *bus, struct bus_stats *out)
{
    struct streams_stats streams;
    struct udp_stats udp;
    streams_stats(bus->streams, &streams);
    udp_stats(bus->udp, &udp);
    *out = (struct bus_stats){
        .frames_in = atomic_load(&bus->frames_in),
        .frames_out = atomic_load(&bus->frames_out),
        .bytes_in = streams.bytes_in,
        .bytes_out = streams.bytes_out,
        .connected = streams.dialed,
        .accepted = streams.accepted,
        .missed = streams.missed,
        .crowded = streams.crowded,
        .full = atomic_load(&bus->full),
        .nobody = atomic_load(&bus->nobody),
        .wrong_node = atomic_load(&bus->wrong_node),
        .late = streams.ended[STREAM_LATE],
        .clogged = streams.ended[STREAM_CLOGGED],
        .datagrams_in = udp.in,
        .datagrams_out = udp.out,
        .datagrams_refused = udp.refused,
        .datagrams_lost = udp.lost,
        .open = streams.open,
    };
    for (uint32_t i = 0; i < PEER_REFUSALS; i++)
        out->refusals[i] = atomic_load(&bus->refusals[i]);
    for (uint32_t i = 0; i < HANDSHAKE_VERDICTS; i++)
        out->verdicts[i] = atomic_load(&bus->verdicts[i]);
}

// ---- peers, under the lock ----

static struct bus_peer *
peer_find(struct bus *bus, struct wire_uuid node)
{
    struct bus_peer *peer = *bucket_of(bus, node);
    while (peer != NULL && !uuid_equal(peer->node, node))
        peer = peer->next;
    return peer;
}

static struct bus_peer *
peer_make(struct bus *bus, struct wire_uuid node, const struct gossip_address *address)
{
    struct bus_peer *peer = mem_alloc_zero(1, sizeof *peer);
    if (peer == NULL)
        return NULL;
    struct bus_peer **bucket = bucket_of(bus, node);
    *peer = (struct bus_peer){.next = *bucket, .node = node, .address = *address};
    peer->used_ns = os_clock_ns();
    encode_init(&peer->lanes[0].waiting, SIZE_MAX);
    encode_init(&peer->lanes[1].waiting, SIZE_MAX);
    *bucket = peer;
    if (uuid_is_none(node))
        bus->strangers++;
    return peer;
}

// What it was is forgotten, also that it was not there.
static void
lane_reset(struct lane *lane)
{
    if (lane->link != NULL) {
        lane->link->peer = NULL;
        if (lane->link->stream != NULL)
            stream_close(lane->link->stream, STREAM_CLOSED);
    }
    lane->link = NULL;
    lane->retry_ns = 0;
    lane->pause_ms = 0;
    encode_fini(&lane->waiting);
    encode_init(&lane->waiting, SIZE_MAX);
}

static void
peer_free(struct bus *bus, struct bus_peer **at)
{
    struct bus_peer *peer = *at;
    *at = peer->next;
    if (uuid_is_none(peer->node))
        bus->strangers--;
    for (uint32_t i = 0; i < 2; i++) {
        lane_reset(&peer->lanes[i]);
        encode_fini(&peer->lanes[i].waiting);
    }
    mem_free(peer);
}

void
bus_know(struct bus *bus, struct wire_uuid node, const struct gossip_address *address)
{
    ASSERT(!uuid_is_none(node));
    lock_acquire(&bus->lock);
    struct bus_peer *peer = peer_find(bus, node);
    if (peer == NULL) {
        (void)peer_make(bus, node, address); // without memory nobody knows it
    } else if (!gossip_address_equal(&peer->address, address)) {
        peer->address = *address;
        lane_reset(&peer->lanes[0]);
        lane_reset(&peer->lanes[1]);
    } else {
        peer->lanes[0].retry_ns = 0;
        peer->lanes[1].retry_ns = 0;
    }
    lock_release(&bus->lock);
}

void
bus_forget(struct bus *bus, struct wire_uuid node)
{
    ASSERT(!uuid_is_none(node));
    lock_acquire(&bus->lock);
    struct bus_peer **at = bucket_of(bus, node);
    while (*at != NULL && !uuid_equal((*at)->node, node))
        at = &(*at)->next;
    if (*at != NULL)
        peer_free(bus, at);
    lock_release(&bus->lock);
}

static void
tick(void *context, uint64_t now_ns)
{
    struct bus *bus = context;
    lock_acquire(&bus->lock);
    for (struct bus_peer **at = &bus->peers[0]; *at != NULL;)
        if (uuid_is_none((*at)->node) && (*at)->used_ns + STRANGER_NS <= now_ns)
            peer_free(bus, at);
        else
            at = &(*at)->next;
    lock_release(&bus->lock);
}

// ---- lanes ----

static struct lane *
lane_of(struct bus_peer *peer, uint8_t lane)
{
    return &peer->lanes[lane == PEER_BULK];
}

// Under the lock. Whether a connection is there, or is being made now.
static bool
connect_lane(struct bus *bus, struct bus_peer *peer, uint8_t which)
{
    struct lane *lane = lane_of(peer, which);
    if (lane->link != NULL)
        return true;
    const uint64_t now_ns = os_clock_ns();
    if (now_ns < lane->retry_ns)
        return false;
    struct link *link = mem_alloc_zero(1, sizeof *link);
    if (link == NULL || encode_reserve(&lane->waiting, CONFIRM_FRAME_BYTES) == NULL) {
        mem_free(link);
        return false;
    }
    *link = (struct link){.bus = bus, .phase = LINK_DIALING, .lane = which, .peer = peer};
    const uint64_t give_up_ns = now_ns + bus->config.handshake_ms * MS;
    if (streams_dial(bus->streams, &peer->address, give_up_ns, link) != OMEN_OK) {
        encode_reset(&lane->waiting);
        mem_free(link);
        return false;
    }
    lane->link = link;
    return true;
}

void
lane_ready(struct link *link, const uint8_t confirm[HANDSHAKE_CONFIRM_BYTES])
{
    struct bus *bus = link->bus;
    struct wire_uuid node = {0};
    lock_acquire(&bus->lock);
    if (link->peer == NULL) { // forgotten, and closed
        lock_release(&bus->lock);
        return;
    }
    struct lane *lane = lane_of(link->peer, link->lane);
    node = link->peer->node;
    const struct peer_head head = {.kind = PEER_CONFIRM, .lane = link->lane};
    peer_head_write(head, (struct wire_bytes){confirm, HANDSHAKE_CONFIRM_BYTES},
                    lane->waiting.bytes);
    memcpy(lane->waiting.bytes + PEER_HEAD_BYTES, confirm, HANDSHAKE_CONFIRM_BYTES);
    uint8_t *bytes = lane->waiting.bytes;
    const size_t count = lane->waiting.count;
    encode_init(&lane->waiting, SIZE_MAX);
    lane->pause_ms = 0;
    link->phase = LINK_SENDS;
    const omen_status status = stream_write(link->stream, bytes, count);
    lock_release(&bus->lock);
    if (status != OMEN_OK)
        stream_close(link->stream, STREAM_NO_MEMORY);
    else if (!uuid_is_none(node) && link->lane == PEER_CONTROL)
        bus->config.up(bus->config.context, node);
}

void
lane_heard(struct link *link)
{
    struct bus *bus = link->bus;
    lock_acquire(&bus->lock);
    for (struct link *other = bus->receiving; other != NULL; other = other->next)
        if (other->lane == link->lane && uuid_equal(other->theirs.node, link->theirs.node))
            stream_close(other->stream, STREAM_CLOSED);
    link->next = bus->receiving;
    if (link->next != NULL)
        link->next->previous = link;
    bus->receiving = link;
    struct bus_peer *peer = peer_find(bus, link->theirs.node);
    for (uint32_t i = 0; peer != NULL && i < 2; i++)
        peer->lanes[i].retry_ns = 0;
    lock_release(&bus->lock);
}

void
lane_unheard(struct link *link)
{
    struct bus *bus = link->bus;
    lock_acquire(&bus->lock);
    if (link->previous != NULL)
        link->previous->next = link->next;
    else
        bus->receiving = link->next;
    if (link->next != NULL)
        link->next->previous = link->previous;
    lock_release(&bus->lock);
}

// The first time after it was there it is tried again at once.
void
lane_lost(struct link *link)
{
    struct bus *bus = link->bus;
    struct wire_uuid node = {0};
    lock_acquire(&bus->lock);
    if (link->peer != NULL) {
        struct lane *lane = lane_of(link->peer, link->lane);
        ASSERT(lane->link == link);
        node = link->peer->node;
        const uint32_t doubled = 2 * lane->pause_ms;
        const uint32_t longer =
            doubled < bus->config.pause_least_ms ? bus->config.pause_least_ms : doubled;
        const uint32_t pause_ms =
            longer < bus->config.pause_most_ms ? longer : bus->config.pause_most_ms;
        const bool was_there = link->phase == LINK_SENDS;
        lane_reset(lane);
        lane->pause_ms = was_there ? 0 : pause_ms;
        lane->retry_ns = was_there ? 0 : os_clock_ns() + pause_ms * MS;
    }
    lock_release(&bus->lock);
    if (!uuid_is_none(node))
        bus->config.down(bus->config.context, node);
}

// ---- sending ----

struct target {
    struct wire_uuid node;                // none: whoever is at
    const struct gossip_address *address; // this one
};

// Under the lock.
static struct bus_peer *
target_find(struct bus *bus, const struct target *target)
{
    if (!uuid_is_none(target->node))
        return peer_find(bus, target->node);
    for (uint32_t i = 0; i < PEER_BUCKETS; i++)
        for (struct bus_peer *peer = bus->peers[i]; peer != NULL; peer = peer->next)
            if (gossip_address_equal(&peer->address, target->address))
                return peer;
    if (bus->strangers == STRANGERS_MAX)
        return NULL;
    return peer_make(bus, target->node, target->address);
}

// Whether there is a connection, or one is being made.
static bool
is_reached(struct bus *bus, const struct target *target, uint8_t lane)
{
    lock_acquire(&bus->lock);
    struct bus_peer *peer = target_find(bus, target);
    const bool reached = peer != NULL && connect_lane(bus, peer, lane);
    lock_release(&bus->lock);
    return reached;
}

// Under the lock: puts the frame behind what waits for the connection.
static bool
wait_for_lane(const struct bus *bus, struct lane *lane, const uint8_t *bytes, size_t count)
{
    const size_t before = lane->waiting.count;
    const size_t most =
        lane->link->lane == PEER_BULK ? bus->config.bulk_bytes_max : bus->config.control_bytes_max;
    if (before > CONFIRM_FRAME_BYTES && before - CONFIRM_FRAME_BYTES + count > most)
        return false;
    encode_raw(&lane->waiting, bytes, count);
    if (lane->waiting.status == OMEN_OK)
        return true;
    encode_rewind(&lane->waiting, before);
    return false;
}

// Takes `bytes`. Why not, if they are not taken: the connection may be lost since it was looked for.
static _Atomic uint64_t *
hand_over(struct bus *bus, const struct target *target, uint8_t which, uint8_t *bytes, size_t count)
{
    struct stream *stream = NULL;
    _Atomic uint64_t *objection = &bus->nobody;
    lock_acquire(&bus->lock);
    struct bus_peer *peer = target_find(bus, target);
    struct lane *lane = peer != NULL ? lane_of(peer, which) : NULL;
    if (lane != NULL && lane->link != NULL) {
        peer->used_ns = os_clock_ns();
        if (lane->link->phase == LINK_SENDS) {
            stream = lane->link->stream;
            stream_keep(stream);
        } else {
            objection = wait_for_lane(bus, lane, bytes, count) ? NULL : &bus->full;
        }
    }
    lock_release(&bus->lock);
    if (stream == NULL) {
        mem_free(bytes);
        return objection;
    }
    const omen_status status = stream_write(stream, bytes, count);
    stream_release(stream);
    if (status == OMEN_E_CLOSED)
        return &bus->nobody;
    return status == OMEN_OK ? NULL : &bus->full;
}

static bool
send_to(struct bus *bus, const struct target *target, const struct bus_frame *frame)
{
    ASSERT(frame->lane == PEER_CONTROL || frame->lane == PEER_BULK);
    _Atomic uint64_t *objection = &bus->nobody;
    if (is_reached(bus, target, frame->lane)) {
        size_t count;
        uint8_t *bytes = frame_bytes(frame, &count);
        objection = bytes != NULL ? hand_over(bus, target, frame->lane, bytes, count) : &bus->full;
    }
    bus_count(objection != NULL ? objection : &bus->frames_out);
    return objection == NULL;
}

bool
bus_send(struct bus *bus, struct wire_uuid node, const struct bus_frame *frame)
{
    ASSERT(!uuid_is_none(node));
    const struct target target = {.node = node};
    return send_to(bus, &target, frame);
}

bool
bus_send_address(struct bus *bus, const struct gossip_address *to, const struct bus_frame *frame)
{
    const struct target target = {.address = to};
    return send_to(bus, &target, frame);
}

void
bus_datagram(struct bus *bus, const struct gossip_address *to, struct wire_bytes packet)
{
    udp_send(bus->udp, to, packet);
}
