// tests/lib/gossip_world.h -- gossip machines on virtual hosts, a virtual network and a virtual clock.
//
// Shape: shell, simulated. Header only, because tests/lib/*.c is linked into tests that have no gossip.
//
// Everything follows from the seed. Messages travel as their bytes, so whatever runs here runs the codec as well. Datagrams may
// be lost; the control lane loses time instead (a retransmission costs 200 ms, then twice that), and is broken where either
// direction is cut. A paused process (SIGSTOP) keeps what arrives, up to a socket buffer of it, and hears it all when it goes on.
#ifndef OMEN_TESTS_GOSSIP_WORLD_H
#define OMEN_TESTS_GOSSIP_WORLD_H
#include <stdlib.h>

#include "base/assert.h"
#include "base/text.h"
#include "gossip/gossip.h"

#define WORLD_MS 1000000ull
#define WORLD_SECOND (1000 * WORLD_MS)
#define WORLD_HOUR (3600 * WORLD_SECOND)
#define WORLD_NEVER UINT64_MAX
#define WORLD_INBOX_MAX 256u
#define WORLD_SEEDS 3u       // hosts that everybody is told of
#define WORLD_UDP_BYTES 28u  // IPv4 and UDP heads
#define WORLD_TCP_BYTES 200u // of a short exchange, without the payload
#define WORLD_TRIES_MAX 6u
#define WORLD_PORT 7700

struct world_config {
    uint32_t count; // hosts; each has one process
    uint64_t seed;
    uint32_t loss_permille;
    enum gossip_profile profile;
    bool no_fallback;
    bool check; // gossip_check after every step
};

struct world_node {
    struct gossip gossip;
    bool up, knows;
    uint64_t paused_until_ns; // 0: runs
    uint32_t inbox;           // kept while paused
    uint64_t wake_ns, event_ns;
    uint64_t boot;
    struct gossip_id id, cluster;
    struct gossip_address *peers; // persisted
    uint32_t peer_count;
    uint32_t notes[GOSSIP_NOTE_FULL + 1]; // how many of each kind, of the running process
};

struct world_event {
    uint64_t at_ns, serial;
    uint8_t *packet; // NULL: a wake
    uint32_t to, bytes;
    uint32_t from;
    enum gossip_lane lane;
};

struct world {
    struct world_config config;
    struct prng prng;
    uint64_t now_ns, serial;
    struct world_node *nodes;
    uint8_t *cut; // [from * count + to]
    struct world_event *heap;
    size_t heap_count, heap_room;
    struct gossip_output out;
    struct gossip_msg msg;
    // what is watched: who knows that `watch` is in a state, of those that are up
    struct gossip_id watch;
    uint64_t watch_boot;
    bool watching, watch_dead;
    uint32_t known;
    uint64_t first_ns; // the first who knew
    // counted since world_count
    uint64_t datagrams, bytes, control_bytes, steps;
    uint64_t false_deaths; // somebody up was declared dead, by whoever was the first to say so
    uint64_t false_hearers;
    uint64_t excused; // of this host a death is not false
    uint32_t packet_bytes_max;
    struct text *story; // where notes are written; NULL: nowhere
};

// ---- the queue of events: a heap by (time, order of making) ----

static inline bool
world_before(const struct world_event *a, const struct world_event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->serial < b->serial;
}

static inline void
world_push(struct world *world, struct world_event event)
{
    if (world->heap_count == world->heap_room) {
        world->heap_room = world->heap_room == 0 ? 1024 : world->heap_room * 2;
        world->heap = realloc(world->heap, world->heap_room * sizeof *world->heap);
        ASSERT(world->heap != NULL);
    }
    event.serial = world->serial++;
    size_t at = world->heap_count++;
    for (; at > 0 && world_before(&event, &world->heap[(at - 1) / 2]); at = (at - 1) / 2)
        world->heap[at] = world->heap[(at - 1) / 2];
    world->heap[at] = event;
}

static inline struct world_event
world_pop(struct world *world)
{
    const struct world_event top = world->heap[0];
    const struct world_event last = world->heap[--world->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= world->heap_count)
            break;
        if (child + 1 < world->heap_count &&
            world_before(&world->heap[child + 1], &world->heap[child]))
            child++;
        if (!world_before(&world->heap[child], &last))
            break;
        world->heap[at] = world->heap[child];
        at = child;
    }
    if (world->heap_count > 0)
        world->heap[at] = last;
    return top;
}

// ---- hosts ----

static inline struct gossip_address
world_address(uint32_t host)
{
    struct gossip_address address = {.port = WORLD_PORT};
    address.ip[10] = address.ip[11] = 0xff;
    address.ip[12] = 10;
    for (uint32_t i = 0; i < 3; i++)
        address.ip[13 + i] = (uint8_t)(host >> (16 - 8 * i));
    return address;
}

static inline uint32_t
world_host(const struct world *world, const struct gossip_address *address)
{
    uint32_t host = 0;
    for (uint32_t i = 0; i < 3; i++)
        host = host << 8 | address->ip[13 + i];
    return address->ip[12] == 10 && host < world->config.count ? host : UINT32_MAX;
}

static inline struct gossip_meta
world_meta(uint32_t host)
{
    struct gossip_meta meta = {.address = world_address(host), .client = world_address(host)};
    meta.roles = 1;
    meta.zone_bytes = 2;
    meta.zone[0] = 'z';
    meta.zone[1] = (uint8_t)('a' + host % 3);
    return meta;
}

static inline struct gossip_id
world_id(uint32_t number)
{
    return (struct gossip_id){.high = 0x6f6d656e, .low = number + 1};
}

// ---- the network ----

static inline bool
world_lost(struct world *world)
{
    return prng_below(&world->prng, 1000) < world->config.loss_permille;
}

// 0.2 to 1 ms, and one of 100 up to 20 ms more.
static inline uint64_t
world_delay(struct world *world)
{
    uint64_t ns = 200000 + prng_below(&world->prng, 800000);
    if (prng_below(&world->prng, 100) == 0)
        ns += prng_below(&world->prng, 20000000);
    return ns;
}

static inline void
world_transmit(struct world *world, uint32_t from, const struct gossip_send *send)
{
    uint8_t bytes[GOSSIP_PACKET_BYTES_MAX];
    const size_t count = gossip_msg_encode(&send->msg, bytes);
    const size_t sealed = count + GOSSIP_SEAL_BYTES;
    ASSERT(sealed <= GOSSIP_DATAGRAM_BYTES_MAX);
    if (count > world->packet_bytes_max)
        world->packet_bytes_max = (uint32_t)count;
    const uint32_t to = world_host(world, &send->to);
    const uint32_t n = world->config.count;
    uint64_t delay = world_delay(world);
    if (send->lane == GOSSIP_LANE_DATAGRAM) {
        world->datagrams++;
        world->bytes += sealed + WORLD_UDP_BYTES;
        if (to == UINT32_MAX || world->cut[from * n + to] != 0 || world_lost(world))
            return;
    } else {
        world->control_bytes += sealed + WORLD_TCP_BYTES;
        if (to == UINT32_MAX || world->cut[from * n + to] != 0 || world->cut[to * n + from] != 0 ||
            !world->nodes[to].up)
            return;
        delay *= 3; // a handshake before
        for (uint32_t i = 0; world_lost(world); i++) {
            if (i == WORLD_TRIES_MAX)
                return;
            delay += (200 * WORLD_MS) << i;
        }
    }
    uint8_t *packet = malloc(count);
    ASSERT(packet != NULL);
    memcpy(packet, bytes, count);
    world_push(world, (struct world_event){.at_ns = world->now_ns + delay,
                                           .packet = packet,
                                           .bytes = (uint32_t)count,
                                           .from = from,
                                           .to = to,
                                           .lane = send->lane});
}

// ---- steps ----

static inline void
world_watch_one(struct world *world, uint32_t host)
{
    struct world_node *node = &world->nodes[host];
    const struct gossip_member *member = gossip_find(&node->gossip, world->watch);
    bool knows;
    if (world->watch_dead)
        knows = member == NULL || member->state >= GOSSIP_DEAD || member->boot > world->watch_boot;
    else
        knows =
            member != NULL && member->state == GOSSIP_ALIVE && member->boot >= world->watch_boot;
    knows = knows && node->up;
    if (knows && world->first_ns == 0)
        world->first_ns = world->now_ns;
    world->known += (uint32_t)knows - (uint32_t)node->knows;
    node->knows = knows;
}

static inline const char *
world_note_name(enum gossip_note_kind kind)
{
    static const char *const names[] = {"alive",      "suspect", "dead",      "left",
                                        "refuted",    "late",    "foreign",   "twin",
                                        "superseded", "gone",    "no memory", "full"};
    return names[kind];
}

static inline void
world_note(struct world *world, uint32_t host, const struct gossip_note *note)
{
    struct world_node *node = &world->nodes[host];
    node->notes[note->kind]++;
    if (world->story != NULL)
        text_add(world->story, "%llu.%03llu node %u: %s %llu (%llu)\n",
                 (unsigned long long)(world->now_ns / WORLD_SECOND),
                 (unsigned long long)(world->now_ns / WORLD_MS % 1000), host,
                 world_note_name(note->kind), (unsigned long long)note->id.low - 1,
                 (unsigned long long)note->number);
    if (note->kind != GOSSIP_NOTE_DEAD)
        return;
    const uint64_t of = note->id.low - 1;
    if (of >= world->config.count || of == world->excused)
        return;
    const struct world_node *subject = &world->nodes[of];
    if (gossip_id_equal(subject->id, note->id) && subject->up && subject->paused_until_ns == 0) {
        world->false_deaths += note->number;
        world->false_hearers++;
    }
}

static inline void
world_step(struct world *world, uint32_t host, struct gossip_input in)
{
    struct world_node *node = &world->nodes[host];
    struct gossip_output *out = &world->out;
    in.now_ns = world->now_ns;
    gossip_step(&node->gossip, &in, out);
    world->steps++;
    if (world->config.check)
        gossip_check(&node->gossip);
    if (out->persist_peers) {
        const uint32_t count = gossip_peers(&node->gossip, NULL, 0);
        node->peers = realloc(node->peers, (count + 1) * sizeof *node->peers);
        node->peer_count = gossip_peers(&node->gossip, node->peers, count);
    }
    for (uint32_t i = 0; i < out->send_count; i++)
        world_transmit(world, host, &out->sends[i]);
    for (uint32_t i = 0; i < out->note_count; i++)
        world_note(world, host, &out->notes[i]);
    if (world->watching && out->members_changed)
        world_watch_one(world, host);
    node->wake_ns = out->wake_ns;
    if (node->wake_ns < node->event_ns) {
        node->event_ns = node->wake_ns;
        world_push(world, (struct world_event){.at_ns = node->wake_ns, .to = host});
    }
}

static inline void
world_deliver(struct world *world, struct world_event *event)
{
    struct world_node *node = &world->nodes[event->to];
    if (node->up && node->paused_until_ns > world->now_ns) {
        if (node->inbox++ < WORLD_INBOX_MAX) {
            event->at_ns = node->paused_until_ns;
            world_push(world, *event);
        } else {
            free(event->packet);
        }
        return;
    }
    if (node->up) {
        node->paused_until_ns = 0;
        const omen_status status = gossip_msg_decode(event->packet, event->bytes, &world->msg);
        ASSERT(status == OMEN_OK);
        world_step(world, event->to,
                   (struct gossip_input){
                       .kind = GOSSIP_IN_MESSAGE, .message = &world->msg, .lane = event->lane});
    }
    free(event->packet);
}

static inline void
world_wake(struct world *world, const struct world_event *event)
{
    struct world_node *node = &world->nodes[event->to];
    if (event->at_ns != node->event_ns)
        return; // an earlier one came in between
    node->event_ns = WORLD_NEVER;
    if (!node->up)
        return;
    if (node->paused_until_ns > world->now_ns)
        node->wake_ns = node->paused_until_ns;
    else if (node->wake_ns <= world->now_ns) {
        node->paused_until_ns = 0;
        node->inbox = 0;
        world_step(world, event->to, (struct gossip_input){.kind = GOSSIP_IN_WAKE});
        return;
    }
    if (node->wake_ns != WORLD_NEVER) {
        node->event_ns = node->wake_ns;
        world_push(world, (struct world_event){.at_ns = node->wake_ns, .to = event->to});
    }
}

// One event, if there is one until then.
static inline bool
world_turn(struct world *world, uint64_t until_ns)
{
    if (world->heap_count == 0 || world->heap[0].at_ns > until_ns)
        return false;
    struct world_event event = world_pop(world);
    ASSERT(event.at_ns >= world->now_ns);
    world->now_ns = event.at_ns;
    if (event.packet != NULL)
        world_deliver(world, &event);
    else
        world_wake(world, &event);
    return true;
}

static inline void
world_run(struct world *world, uint64_t ns)
{
    const uint64_t until_ns = world->now_ns + ns;
    while (world_turn(world, until_ns))
        ;
    world->now_ns = until_ns;
}

// ---- life and death ----

static inline void
world_start(struct world *world, uint32_t host)
{
    struct world_node *node = &world->nodes[host];
    ASSERT(!node->up);
    const struct gossip_config config = {
        .cluster = node->cluster,
        .id = node->id,
        .boot = ++node->boot,
        .meta = world_meta(host),
        .profile = world->config.profile,
        .members_max = GOSSIP_MEMBERS_MAX,
        .no_fallback = world->config.no_fallback,
    };
    struct gossip_address peers[WORLD_SEEDS];
    const uint32_t seeds = world->config.count < WORLD_SEEDS ? world->config.count : WORLD_SEEDS;
    for (uint32_t i = 0; i < seeds; i++)
        peers[i] = world_address(i);
    struct gossip_input start = {.kind = GOSSIP_IN_START, .peers = peers, .peer_count = seeds};
    if (node->peer_count > 0) {
        start.peers = node->peers;
        start.peer_count = node->peer_count;
    }
    memset(node->notes, 0, sizeof node->notes);
    gossip_init(&node->gossip, &config, prng_next(&world->prng));
    node->up = true;
    node->paused_until_ns = 0;
    node->inbox = 0;
    node->event_ns = node->wake_ns = WORLD_NEVER;
    world_step(world, host, start);
}

static inline void
world_crash(struct world *world, uint32_t host)
{
    struct world_node *node = &world->nodes[host];
    ASSERT(node->up);
    node->up = false;
    world->known -= node->knows;
    node->knows = false;
    gossip_fini(&node->gossip);
}

static inline void
world_pause(struct world *world, uint32_t host, uint64_t ns)
{
    world->nodes[host].paused_until_ns = world->now_ns + ns;
    world->nodes[host].inbox = 0;
}

static inline void
world_cut(struct world *world, uint32_t from, uint32_t to, bool is_cut)
{
    world->cut[from * world->config.count + to] = is_cut;
}

// Hosts below `first` and the others cannot hear each other, or can again.
static inline void
world_split(struct world *world, uint32_t first, bool is_cut)
{
    for (uint32_t a = 0; a < first; a++)
        for (uint32_t b = first; b < world->config.count; b++) {
            world_cut(world, a, b, is_cut);
            world_cut(world, b, a, is_cut);
        }
}

static inline struct world *
world_open(const struct world_config *config)
{
    struct world *world = calloc(1, sizeof *world);
    ASSERT(world != NULL);
    world->config = *config;
    prng_init(&world->prng, config->seed);
    world->now_ns = WORLD_SECOND;
    world->excused = UINT64_MAX;
    world->nodes = calloc(config->count, sizeof *world->nodes);
    world->cut = calloc(config->count, config->count);
    ASSERT(world->nodes != NULL && world->cut != NULL);
    for (uint32_t host = 0; host < config->count; host++) {
        world->nodes[host].id = world_id(host);
        world->nodes[host].cluster = (struct gossip_id){.high = 7, .low = 7};
        world->nodes[host].event_ns = world->nodes[host].wake_ns = WORLD_NEVER;
    }
    return world;
}

static inline void
world_close(struct world *world)
{
    for (uint32_t host = 0; host < world->config.count; host++) {
        if (world->nodes[host].up)
            gossip_fini(&world->nodes[host].gossip);
        free(world->nodes[host].peers);
    }
    for (size_t i = 0; i < world->heap_count; i++)
        free(world->heap[i].packet);
    free(world->heap);
    free(world->cut);
    free(world->nodes);
    free(world);
}

// ---- questions ----

static inline uint32_t
world_up(const struct world *world, struct gossip_id cluster)
{
    uint32_t up = 0;
    for (uint32_t host = 0; host < world->config.count; host++)
        up += world->nodes[host].up && gossip_id_equal(world->nodes[host].cluster, cluster);
    return up;
}

// Everybody that is up sees all that are up in its cluster, and nobody else, alive.
static inline bool
world_agreed(const struct world *world)
{
    for (uint32_t host = 0; host < world->config.count; host++) {
        const struct world_node *node = &world->nodes[host];
        if (node->up && (node->gossip.counts[GOSSIP_SUSPECT] != 0 ||
                         node->gossip.counts[GOSSIP_ALIVE] + 1 != world_up(world, node->cluster)))
            return false;
    }
    return true;
}

// Runs until all agree, looking every 100 ms; false: not within that time.
static inline bool
world_run_agreed(struct world *world, uint64_t ns)
{
    const uint64_t until_ns = world->now_ns + ns;
    while (world->now_ns < until_ns) {
        world_run(world, 100 * WORLD_MS);
        if (world_agreed(world))
            return true;
    }
    return false;
}

static inline void
world_watch(struct world *world, uint32_t host, bool dead)
{
    world->watch = world->nodes[host].id;
    world->watch_boot = world->nodes[host].boot;
    world->watch_dead = dead;
    world->watching = true;
    world->known = 0;
    world->first_ns = 0;
    for (uint32_t i = 0; i < world->config.count; i++) {
        world->nodes[i].knows = false;
        if (world->nodes[i].up)
            world_watch_one(world, i);
    }
}

// Runs until all that are up know what is watched; false: not within that time.
static inline bool
world_run_known(struct world *world, uint64_t ns)
{
    const uint64_t until_ns = world->now_ns + ns;
    const uint32_t up = world_up(world, world->nodes[0].cluster);
    while (world->known < up)
        if (!world_turn(world, until_ns))
            return false;
    world->watching = false;
    return true;
}

static inline void
world_count(struct world *world)
{
    world->datagrams = world->bytes = world->control_bytes = world->steps = 0;
    world->false_deaths = world->false_hearers = 0;
}

#endif
