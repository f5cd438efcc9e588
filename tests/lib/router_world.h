// tests/lib/router_world.h -- a fan-out among shards that split, move, hand over, refuse, lose what they are sent and answer late.
//
// Shape: shell. world_run answers NULL, or what was broken.
//
// A shard is one state that all of its copies hold: which version of each point, and which operations were done. That copies agree
// is what replica/ is for. A point's version grows with the shard's log; children go on where their parent stopped, and know
// its operations.
#ifndef OMEN_TESTS_ROUTER_WORLD_H
#define OMEN_TESTS_ROUTER_WORLD_H
#include "tests/lib/router_world_copies.h"

// ---- clients ----

static inline void
world_begin(struct world *world)
{
    if (world->request_count == WORLD_REQUESTS)
        return;
    const uint32_t op = world->request_count++;
    struct world_request *request = &world->requests[op];
    request->begun = true;
    request->begun_ns = world->now_ns;
    request->kind = FANOUT_SEARCH + prng_below(&world->prng, 3);
    request->consistency = prng_below(&world->prng, 3);
    request->deadline_ns = world->now_ns + WORLD_MS * (5 + (uint64_t)prng_below(&world->prng, 400));
    if (world->quiet)
        request->deadline_ns = world->now_ns + 1000 * WORLD_MS;
    memcpy(request->acked_before, world->acked, sizeof world->acked);
    struct fanout_start start = {.client = op,
                                 .kind = request->kind,
                                 .consistency = request->consistency,
                                 .collection = 1,
                                 .deadline_ns = request->deadline_ns};
    if (request->kind == FANOUT_SEARCH) {
        request->k = world_chance(world, 50) ? WORLD_K : 1 + prng_below(&world->prng, 10);
        request->hits = malloc(request->k * sizeof *request->hits);
        start.hits = request->hits;
        start.k = request->k;
        start.partial = world_chance(world, 50);
    } else {
        const uint32_t from = prng_below(&world->prng, WORLD_POINTS);
        request->item_count = 1 + prng_below(&world->prng, 12);
        request->items = malloc(request->item_count * sizeof *request->items);
        for (uint32_t i = 0; i < request->item_count; i++) {
            request->points[i] = (from + i * 7) % WORLD_POINTS;
            request->items[i].hash = world_hash(request->points[i]);
        }
        start.items = request->items;
        start.item_count = request->item_count;
        start.op_id = (struct fanout_op){1, op};
    }
    if (request->consistency == FANOUT_SESSION && request->kind != FANOUT_WRITE) {
        const struct world_shard *shard =
            &world->shards[prng_below(&world->prng, world->shard_count)];
        request->token = (struct fanout_token){shard->id, shard->term, shard->seq};
        start.tokens = &request->token;
        start.token_count = 1;
    }
    world->open_count++;
    world_step(world, (struct fanout_input){.kind = FANOUT_IN_START, .start = &start});
    if (world_chance(world, 2) && world->out.started != 0 && !request->answered)
        world_step(world,
                   (struct fanout_input){.kind = FANOUT_IN_CANCEL, .request = request->number});
}

// ---- time ----

static inline void
world_happens(struct world *world, struct world_event *at)
{
    const struct world_event event = *at;
    at->kind = EVENT_NONE;
    if (event.kind == EVENT_ARRIVES)
        world_arrives(world, &event);
    if (event.kind == EVENT_REPLY) {
        world_step(world, (struct fanout_input){.kind = FANOUT_IN_REPLY, .reply = &event.reply});
        if (!world->out.taken) {
            free((void *)(uintptr_t)event.reply.hits.hits);
            free((void *)(uintptr_t)event.reply.statuses);
        }
    }
    if (event.kind == EVENT_TABLE) {
        struct routes *routes = world_table(world);
        world_step(world, (struct fanout_input){.kind = FANOUT_IN_ROUTES, .routes = routes});
        if (world->fanout.routes != routes || world->table_count == 64) {
            routes_fini(routes); // not newer
            free(routes);
            return;
        }
        for (uint32_t i = 0; i < world->table_count; i++) { // nobody needs the older one any more
            routes_fini(world->tables[i]);
            free(world->tables[i]);
        }
        world->tables[0] = routes;
        world->table_count = 1;
    }
}

// The next thing that happens, no later than that.
static inline void
world_advance(struct world *world, uint64_t end_ns)
{
    while (world->broken == NULL) {
        struct world_event *next = NULL;
        for (uint32_t i = 0; i < WORLD_EVENTS; i++)
            if (world->events[i].kind != EVENT_NONE &&
                (next == NULL || world->events[i].at_ns < next->at_ns))
                next = &world->events[i];
        uint64_t at_ns = next == NULL ? UINT64_MAX : next->at_ns;
        if (world->wake_ns < at_ns)
            at_ns = world->wake_ns;
        if (at_ns > end_ns)
            break;
        if (at_ns > world->now_ns)
            world->now_ns = at_ns;
        if (next != NULL && next->at_ns <= at_ns)
            world_happens(world, next);
        else
            world_step(world, (struct fanout_input){.kind = FANOUT_IN_WAKE});
    }
    world->now_ns = end_ns > world->now_ns ? end_ns : world->now_ns;
}

static inline void
world_disturb(struct world *world)
{
    const uint32_t node = 1 + prng_below(&world->prng, WORLD_NODES);
    switch (prng_below(&world->prng, 40)) {
    case 0:
        world_split(world);
        break;
    case 1:
    case 2:
        world_change(world);
        break;
    case 3:
        world->down[node] = !world->down[node];
        break;
    case 4: // true or not
        world_step(world, (struct fanout_input){.kind = FANOUT_IN_NODE,
                                                .node = node,
                                                .dead = world_chance(world, 50),
                                                .draining = world_chance(world, 10)});
        break;
    default:
        break;
    }
}

static inline void
world_open(struct world *world, uint64_t seed)
{
    memset(world, 0, sizeof *world);
    prng_init(&world->prng, seed);
    world->now_ns = 1000 * WORLD_MS;
    world->loss = prng_below(&world->prng, 4) * 5;
    world->refuse = prng_below(&world->prng, 4) * 5;
    const struct fanout_config config = {.requests_max = 4 + prng_below(&world->prng, 60),
                                         .parts_max = 200 + prng_below(&world->prng, 2000),
                                         .tries_max = 4 + prng_below(&world->prng, 28),
                                         .hedge_min_ns = WORLD_MS,
                                         .hedge_max_ns = 20 * WORLD_MS,
                                         .hedge_permille = prng_below(&world->prng, 300),
                                         .retry_ns = 2 * WORLD_MS,
                                         .retry_max_ns = 32 * WORLD_MS,
                                         .try_min_ns = 5 * WORLD_MS,
                                         .try_max_ns = 100 * WORLD_MS,
                                         .reserve_ns = WORLD_MS,
                                         .avoid_ns = 10 * WORLD_MS,
                                         .far_percent = 150};
    fanout_init(&world->fanout, &config, seed);
    const uint32_t shards = 1 + prng_below(&world->prng, 8),
                   copies = 1 + prng_below(&world->prng, 3);
    const uint64_t width = UINT64_MAX / shards;
    for (uint32_t i = 0; i < shards; i++) {
        struct world_shard *shard = &world->shards[world->shard_count++];
        shard->id = i + 1;
        shard->first = i * width + (i > 0);
        shard->last = i + 1 == shards ? UINT64_MAX : (i + 1) * width;
        shard->term = shard->cfg_ver = 1;
        world_place(world, shard, copies);
    }
    world->map_version = 1;
    world->wake_ns = UINT64_MAX;
    world_table_event(world);
}

static inline const char *
world_run(struct world *world, uint32_t turns)
{
    for (uint32_t i = 0; i < turns && world->broken == NULL; i++) {
        if (world_chance(world, 30))
            world_begin(world);
        world_disturb(world);
        world_advance(world, world->now_ns + prng_below(&world->prng, 2000000));
    }
    world_advance(world, world->now_ns + 500 * WORLD_MS); // all have ended
    world_require(world, world->open_count == 0 && world->fanout.request_count == 0,
                  "every request is answered");
    world_require(world,
                  world->fanout.counters.hedges * 1000 <=
                      world->fanout.counters.sends * world->fanout.config.hedge_permille,
                  "hedges are within their budget");
    world->quiet = true; // then everything works
    world_map_changed(world);
    world_advance(world, world->now_ns + 200 * WORLD_MS);
    for (uint32_t i = 0; i < 20 && world->broken == NULL; i++) {
        world_begin(world);
        world_advance(world, world->now_ns + 100 * WORLD_MS);
    }
    world_advance(world, world->now_ns + 1500 * WORLD_MS);
    world_require(world, world->open_count == 0, "every request is answered");
    return world->broken;
}

static inline void
world_close(struct world *world)
{
    for (uint32_t i = 0; i < WORLD_EVENTS; i++)
        if (world->events[i].kind == EVENT_REPLY) {
            free((void *)(uintptr_t)world->events[i].reply.hits.hits);
            free((void *)(uintptr_t)world->events[i].reply.statuses);
        }
    for (uint32_t i = 0; i < world->request_count; i++) {
        struct world_request *request = &world->requests[i];
        if (request->answered)
            continue;
        free(request->items);
        free(request->hits);
        for (uint32_t j = 0; j < request->lent_count; j++)
            free(request->lent[j]);
    }
    for (uint32_t i = 0; i < world->table_count; i++) {
        routes_fini(world->tables[i]);
        free(world->tables[i]);
    }
    fanout_fini(&world->fanout);
}

#endif
