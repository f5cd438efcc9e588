// tests/lib/router_world_map.h -- the shards of tests/lib/router_world.h, and the routing table that is made of them.
//
// Shape: shell.
#ifndef OMEN_TESTS_ROUTER_WORLD_MAP_H
#define OMEN_TESTS_ROUTER_WORLD_MAP_H

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/prng.h"
#include "router/fanout.h"

#define WORLD_MS 1000000ull
#define WORLD_POINTS 48u
#define WORLD_SHARDS 128u
#define WORLD_NODES 6u
#define WORLD_REQUESTS 4096u
#define WORLD_EVENTS 8192u
#define WORLD_K 64u // more than there are points, now and then

struct world_shard {
    uint64_t id, parent, first, last, term, cfg_ver, seq;
    bool retired;
    uint32_t nodes[3], copies, primary;
    uint64_t uuids[3];
    uint64_t versions[WORLD_POINTS]; // 0: not there
    uint8_t done[WORLD_REQUESTS];    // by operation
};

struct world_request {
    bool begun, answered, unsure;
    enum fanout_kind kind;
    enum fanout_consistency consistency;
    uint64_t number, deadline_ns, begun_ns;
    uint32_t item_count, k;
    uint32_t points[WORLD_POINTS]; // of the items
    uint32_t applied[WORLD_POINTS];
    bool said_not[WORLD_POINTS];         // it was answered that this item was not applied
    uint64_t acked_before[WORLD_POINTS]; // versions that were acknowledged when it began
    struct fanout_item *items;
    struct merge_hit *hits;
    struct fanout_token token;
    void *lent[512]; // with the replies that were taken
    uint32_t lent_count;
    struct merge_list lists[256];
    uint32_t list_count;
};

enum world_event_kind { EVENT_NONE, EVENT_ARRIVES, EVENT_REPLY, EVENT_TABLE };

struct world_event {
    enum world_event_kind kind;
    uint64_t at_ns;
    struct fanout_send send;
    struct fanout_reply reply; // owns its hits and statuses
    uint32_t op;               // request
    uint32_t items[WORLD_POINTS], item_count;
};

struct world {
    struct prng prng;
    struct fanout fanout;
    struct fanout_output out;
    uint64_t now_ns, map_version, uuids, wake_ns;
    struct world_shard shards[WORLD_SHARDS];
    uint32_t shard_count;
    bool down[WORLD_NODES + 1];
    struct routes *tables[64]; // lent; the last is the newest
    uint32_t table_count;
    struct world_request requests[WORLD_REQUESTS];
    uint32_t request_count, open_count;
    struct world_event events[WORLD_EVENTS];
    uint64_t acked[WORLD_POINTS]; // versions, for strong reads
    uint32_t loss, refuse;        // of 100
    bool quiet;                   // no faults any more
    const char *broken;
    uint64_t answers_ok, answers_partial, answers_failed, writes_acked, splits;
};

static inline void
world_require(struct world *world, bool holds, const char *claim)
{
    if (!holds && world->broken == NULL)
        world->broken = claim;
}

static inline bool
world_chance(struct world *world, uint32_t of_100)
{
    return prng_below(&world->prng, 100) < of_100;
}

static inline uint64_t
world_delay(struct world *world)
{
    const uint64_t delay_ns = WORLD_MS / 10 + prng_below(&world->prng, 2000000);
    return !world->quiet && world_chance(world, 4) ? delay_ns * 40 : delay_ns;
}

static inline struct world_event *
world_push(struct world *world, enum world_event_kind kind, uint64_t delay_ns)
{
    for (uint32_t i = 0; i < WORLD_EVENTS; i++)
        if (world->events[i].kind == EVENT_NONE) {
            memset(&world->events[i], 0, sizeof world->events[i]);
            world->events[i].kind = kind;
            world->events[i].at_ns = world->now_ns + delay_ns;
            return &world->events[i];
        }
    abort();
}

static inline uint64_t
world_hash(uint32_t point)
{
    return hash_id_u64(point);
}

// With ties.
static inline float
world_distance(uint32_t point, uint64_t request)
{
    return (float)(mix64(point * 977 + request) % 16);
}

// ---- the map ----

static inline struct world_shard *
world_shard(struct world *world, uint64_t id)
{
    for (uint32_t i = 0; i < world->shard_count; i++)
        if (world->shards[i].id == id)
            return &world->shards[i];
    return NULL;
}

static inline void
world_table_event(struct world *world)
{
    world_push(world, EVENT_TABLE, world_delay(world) * (world_chance(world, 20) ? 30 : 1));
}

static inline void
world_map_changed(struct world *world)
{
    world->map_version++;
    if (world->quiet || !world_chance(world, 30))
        world_table_event(world);
}

static inline void
world_place(struct world *world, struct world_shard *shard, uint32_t copies)
{
    const uint32_t from = prng_below(&world->prng, WORLD_NODES);
    shard->copies = copies;
    shard->primary = prng_below(&world->prng, copies);
    for (uint32_t i = 0; i < copies; i++) {
        shard->nodes[i] = 1 + (from + i) % WORLD_NODES;
        shard->uuids[i] = ++world->uuids;
    }
}

static inline void
world_split(struct world *world)
{
    struct world_shard *parent = &world->shards[prng_below(&world->prng, world->shard_count)];
    if (parent->retired || world->shard_count + 2 > WORLD_SHARDS ||
        parent->last - parent->first < 1000)
        return;
    const uint64_t middle = parent->first + (parent->last - parent->first) / 2;
    for (uint32_t i = 0; i < 2; i++) {
        struct world_shard *child = &world->shards[world->shard_count];
        *child = *parent;
        child->id = ++world->shard_count;
        child->parent = parent->id;
        child->first = i == 0 ? parent->first : middle + 1;
        child->last = i == 0 ? middle : parent->last;
        child->cfg_ver = 1;
        child->term++;
        world_place(world, child, parent->copies);
        for (uint32_t p = 0; p < WORLD_POINTS; p++)
            if (world_hash(p) < child->first || world_hash(p) > child->last)
                child->versions[p] = 0;
    }
    parent->retired = true;
    parent->cfg_ver++;
    world->splits++;
    world_map_changed(world);
}

static inline void
world_change(struct world *world)
{
    struct world_shard *shard = &world->shards[prng_below(&world->prng, world->shard_count)];
    if (shard->retired)
        return;
    shard->cfg_ver++;
    if (world_chance(world, 50)) {
        shard->primary = (shard->primary + 1) % shard->copies;
        shard->term++;
    } else { // a copy goes elsewhere
        const uint32_t at = prng_below(&world->prng, shard->copies);
        shard->nodes[at] = 1 + prng_below(&world->prng, WORLD_NODES);
        for (uint32_t i = 0; i < shard->copies; i++)
            if (i != at && shard->nodes[i] == shard->nodes[at])
                shard->nodes[at] = 1 + shard->nodes[at] % WORLD_NODES;
        shard->uuids[at] = ++world->uuids;
    }
    world_map_changed(world);
}

static inline struct routes *
world_table(struct world *world)
{
    struct routes *routes = calloc(1, sizeof *routes);
    routes_init(routes, world->map_version);
    for (uint32_t i = 0; i < world->shard_count; i++) {
        const struct world_shard *shard = &world->shards[i];
        struct route row = {.collection = 1,
                            .shard = shard->id,
                            .parent = shard->parent,
                            .first = shard->first,
                            .last = shard->last,
                            .term = shard->term,
                            .cfg_ver = shard->cfg_ver,
                            .copy_count = (uint16_t)shard->copies,
                            .primary = shard->primary};
        for (uint32_t j = 0; j < shard->copies; j++)
            row.copies[j] = (struct route_copy){
                .low = shard->uuids[j], .node = shard->nodes[j], .near = shard->nodes[j] % 3 == 0};
        if (!shard->retired && routes_add(routes, &row) != OMEN_OK)
            abort();
    }
    if (routes_seal(routes) != OMEN_OK)
        abort();
    return routes;
}

#endif
