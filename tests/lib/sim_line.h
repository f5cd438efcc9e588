// tests/lib/sim_line.h -- which shard answers for a key from where to where: the lines that splits make of the first shards.
//
// Shape: shell, simulated.
//
// A child goes on behind its parent's last place, with the same places before it. So the log of a key is one line through a shard and
// its descendants, and what is known of a place is kept with the shard that wrote it: a child's copies, which are filled
// before the cut, answer to what their parent's copies did.
#ifndef OMEN_TESTS_SIM_LINE_H
#define OMEN_TESTS_SIM_LINE_H
#include "tests/lib/sim_net.h"

static inline struct sim_shard_history *
sim_history(struct sim *sim, uint64_t shard)
{
    for (uint32_t i = 0; i < sim->shard_count; i++)
        if (sim->shards[i].id == shard)
            return &sim->shards[i];
    ASSERT(sim->shard_count < SIM_LINES_MAX);
    sim->shards[sim->shard_count].id = shard;
    return &sim->shards[sim->shard_count++];
}

// The one with which a place of `history` is kept.
static inline struct sim_shard_history *
sim_line(struct sim *sim, struct sim_shard_history *history, uint64_t seq)
{
    while (history->parent != 0 && (!history->joined || seq <= history->base))
        history = sim_history(sim, history->parent);
    return history;
}

static inline const struct sim_done *
sim_done_at(struct sim *sim, struct sim_shard_history *history, uint64_t seq)
{
    static const struct sim_done nothing;
    const struct sim_shard_history *line = sim_line(sim, history, seq);
    return seq < line->room ? &line->rows[seq] : &nothing;
}

// What of the log of a key was applied somewhere.
static inline uint64_t
sim_line_last(const struct sim *sim, uint32_t slot, uint32_t key)
{
    uint64_t last = 0;
    for (uint32_t i = 0; i < sim->shard_count; i++) {
        const struct sim_shard_history *history = &sim->shards[i];
        if (history->collection == sim->first && (history->parent == 0 || history->joined) &&
            history->range.first >> 63 == slot && sim_covers(history->range, key) &&
            history->last > last)
            last = history->last;
    }
    return last;
}

// The cut is known: from here on the child answers, and its parent is at its end.
static inline void
sim_join(struct sim *sim, struct sim_shard_history *child, uint64_t base)
{
    struct sim_shard_history *parent = sim_history(sim, child->parent);
    SIM_REQUIRE(sim, sim_line(sim, parent, base) == parent || base == parent->base,
                "a cut is behind the beginning of what it cuts");
    SIM_REQUIRE(sim, parent->last <= base, "a shard that was cut has committed nothing behind it");
    SIM_REQUIRE(sim, parent->acked_max <= base, "no acknowledged write is lost over a split");
    child->joined = true;
    child->base = child->last = base;
    child->acked_max = parent->acked_max;
    sim->cuts += !parent->ended;
    parent->ended = true;
    parent->end = base;
}

// Every key has one shard in it, and no more.
static inline void
sim_check_ranges(struct sim *sim, const struct map *map, uint64_t collection)
{
    uint32_t answer[SIM_SHARDS][SIM_SHARD_KEYS] = {0};
    for (uint32_t i = 0; i < map->shard_count; i++) {
        const struct map_shard *shard = &map->shards[i];
        const struct sim_range range = {shard->first, shard->last};
        const uint32_t slot = (uint32_t)(shard->first >> 63);
        for (uint32_t key = 0; shard_is_routed(shard) && key < SIM_SHARD_KEYS; key++)
            answer[slot][key] += shard->collection == collection && sim_covers(range, key);
    }
    for (uint32_t slot = 0; slot < SIM_SHARDS; slot++)
        for (uint32_t key = 0; key < SIM_SHARD_KEYS; key++)
            SIM_REQUIRE(sim, answer[slot][key] == 1, "in a map each key has exactly one shard");
}

// Each map that anybody has.
static inline void
sim_read_lines(struct sim *sim, const struct map *map)
{
    if (map->version <= sim->lines_version || map->shard_count == 0)
        return;
    sim->lines_version = map->version;
    for (uint32_t i = 0; i < map->shard_count; i++) {
        const struct map_shard *shard = &map->shards[i];
        struct sim_shard_history *history = sim_history(sim, shard->id);
        history->range = (struct sim_range){shard->first, shard->last};
        history->parent = shard->parent;
        history->collection = shard->collection;
        if (shard->parent != 0 && shard->status != SHARD_CHILD && !history->joined)
            sim_join(sim, history, shard->base_seq);
    }
    for (uint32_t i = 0; i < map->collection_count; i++)
        sim_check_ranges(sim, map, map->collections[i].id);
}

#endif
