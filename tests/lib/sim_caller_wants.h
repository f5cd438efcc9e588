// tests/lib/sim_caller_wants.h -- what clients want of routers: searches and batches of points, or one key after another.
//
// Shape: value.
//
// Clients of keys do what the profile says: how many of their operations are strong reads, how long they think, and how long they
// wait for an answer. Half of those of batches are in a hurry, so that parts are asked for twice, and missing.
#ifndef OMEN_TESTS_SIM_CALLER_WANTS_H
#define OMEN_TESTS_SIM_CALLER_WANTS_H
#include "tests/lib/sim_caller_check.h"

#define SIM_SEARCHERS 6u
#define SIM_DATA_CLIENTS 8u
#define SIM_TYPED_CLIENTS 4u // of collections beside the first
#define SIM_CALLERS (SIM_SEARCHERS + SIM_DATA_CLIENTS + SIM_TYPED_CLIENTS)

struct sim_caller {
    bool busy;
    bool keyed;              // a client of keys
    bool typed;              // one of other collections than the first, and of both kinds of ids
    bool claims;             // it waits for a kind of ids
    uint8_t kind;            // of its ids
    uint64_t collection;     // 0: what its router finds
    uint64_t life;           // of the router where it waits
    uint64_t deadline_ns;    // by its router's clock
    enum sim_data_kind data; // what that one does
    bool unsure;             // some try may have been obeyed
    uint32_t applied;        // points that some try was said to have written
    struct fanout_start start;
    uint64_t op, query, tries, call;
    bool erases;
    uint32_t place, points[SIM_POINTS];
    uint64_t floors[SIM_POINTS];
    struct fanout_token tokens[SIM_LINES_MAX];
    uint32_t token_count;
};

static inline uint32_t
sim_caller_draw(struct sim *sim, uint32_t bound)
{
    return prng_below(&sim->routers->prng, bound);
}

static inline uint64_t
sim_caller_rest(struct sim *sim, const struct sim_caller *caller)
{
    const uint32_t most_ms = caller->keyed ? sim_usual(sim->options.profile->think_ms, 100) : 120;
    return SIM_MS * (5 + sim_caller_draw(sim, most_ms));
}

// How long it waits for an answer.
static inline uint64_t
sim_caller_patience(struct sim *sim, const struct sim_caller *caller)
{
    const struct sim_profile *profile = sim->options.profile;
    const bool patient = !sim->stopped && sim_caller_draw(sim, 1000) < profile->patient;
    if (caller->keyed)
        return SIM_MS * (patient ? 9000 : sim_usual(profile->patience_ms, 500));
    if (patient)
        return SIM_MS * 6000;
    const bool hasty = !sim->stopped && sim_caller_draw(sim, 3) == 0;
    return SIM_MS * ((hasty ? 20 : 300) + sim_caller_draw(sim, hasty ? 150 : 900));
}

static inline void
sim_caller_points(struct sim *sim, struct sim_caller *caller)
{
    const uint32_t draw = sim_caller_draw(sim, 100), how = sim_caller_draw(sim, 100);
    caller->start = (struct fanout_start){.kind = draw < 35   ? FANOUT_WRITE
                                                  : draw < 55 ? FANOUT_GET
                                                              : FANOUT_SEARCH,
                                          .consistency = how < 50   ? FANOUT_STRONG
                                                         : how < 80 ? FANOUT_SESSION
                                                                    : FANOUT_ANY};
    caller->erases = sim_caller_draw(sim, 4) == 0;
    caller->query = prng_next(&sim->routers->prng);
    uint32_t mask = sim_caller_draw(sim, 1u << SIM_POINTS) & sim_caller_draw(sim, 1u << SIM_POINTS);
    mask |= 1u << sim_caller_draw(sim, SIM_POINTS);
    for (uint32_t point = 0; caller->start.kind != FANOUT_SEARCH && point < SIM_POINTS; point++)
        if (mask >> point & 1)
            caller->points[caller->start.item_count++] = point;
    if (caller->start.kind == FANOUT_SEARCH) {
        caller->start.k = 1 + sim_caller_draw(sim, SIM_POINTS);
        caller->start.partial = sim_caller_draw(sim, 2) == 0;
    }
}

static inline void
sim_caller_key(struct sim *sim, struct sim_caller *caller)
{
    static const enum fanout_consistency reads[] = {[SIM_READ_STRONG] = FANOUT_STRONG,
                                                    [SIM_READ_SESSION] = FANOUT_SESSION,
                                                    [SIM_READ_ANY] = FANOUT_ANY};
    const uint32_t draw = sim_caller_draw(sim, 100), strong = sim->options.profile->strong;
    caller->data = draw < strong        ? SIM_READ_STRONG
                   : draw < strong + 10 ? SIM_DELETE
                   : draw < strong + 15 ? SIM_READ_SESSION
                   : draw < strong + 20 ? SIM_READ_ANY
                                        : SIM_UPSERT;
    const bool writes = caller->data <= SIM_DELETE;
    caller->erases = caller->data == SIM_DELETE;
    caller->points[0] = sim_caller_draw(sim, SIM_POINTS);
    caller->start =
        (struct fanout_start){.kind = writes ? FANOUT_WRITE : FANOUT_GET,
                              .consistency = writes ? FANOUT_STRONG : reads[caller->data],
                              .item_count = 1};
}

// Upserts only: one that makes no point claims nothing, and a delete of the other kind has nothing to delete.
static inline void
sim_caller_typed(struct sim *sim, struct sim_caller *caller)
{
    uint32_t mask = 1 + sim_caller_draw(sim, (1u << SIM_POINTS) - 1);
    caller->start = (struct fanout_start){.kind = FANOUT_WRITE, .consistency = FANOUT_STRONG};
    for (uint32_t point = 0; point < SIM_POINTS; point++)
        if (mask >> point & 1)
            caller->points[caller->start.item_count++] = point;
    caller->erases = false;
    caller->kind = sim_caller_draw(sim, 2) == 0 ? MAP_IDS_INTEGER : MAP_IDS_TEXT;
}

static inline void
sim_caller_wants(struct sim *sim, struct sim_caller *caller)
{
    struct sim_routers *routers = sim->routers;
    caller->unsure = false;
    caller->applied = 0;
    caller->collection = 0;
    caller->kind = MAP_IDS_INTEGER;
    if (caller->typed)
        sim_caller_typed(sim, caller);
    else if (caller->keyed)
        sim_caller_key(sim, caller);
    else
        sim_caller_points(sim, caller);
    for (uint32_t point = 0; point < SIM_POINTS && !caller->typed; point++)
        caller->floors[point] = sim->data_floors[point / SIM_SHARD_KEYS][point % SIM_SHARD_KEYS];
    if (caller->start.kind != FANOUT_WRITE)
        return;
    caller->op = ++routers->op_count;
    routers->ops =
        sim_grow(routers->ops, &routers->op_room, routers->op_count + 1, sizeof *routers->ops);
    const struct opid id =
        opid_draw(SIM_EPOCH_MS + sim->now_ns / SIM_MS, (struct opid){0, caller->op});
    caller->start.op_id = (struct fanout_op){id.high, id.low};
}

#endif
