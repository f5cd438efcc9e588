// tests/lib/sim_plan.h -- what an operator wants of the shards of a simulation: splits, moves, and splits given up again.
//
// Shape: shell, simulated.
//
// Each is one step of the map, as the rebalancer would propose it, by whatever map the operator's node has; the rest of a split or a
// move is the rebalancer's, the nodes' and the primaries'.
#ifndef OMEN_TESTS_SIM_PLAN_H
#define OMEN_TESTS_SIM_PLAN_H
#include "tests/lib/sim_line.h"

static inline bool
sim_plan_split(const struct map_shard *shard, struct shard_step *step)
{
    const struct sim_range range = {shard->first, shard->last};
    uint32_t keys = 0;
    for (uint32_t key = 0; key < SIM_SHARD_KEYS; key++)
        keys += sim_covers(range, key);
    step->kind = STEP_SPLIT;
    step->value = shard->first + (shard->last - shard->first) / 2 + 1;
    return shard->status == SHARD_OPEN && keys > 1;
}

static inline bool
sim_plan_move(struct sim *sim, const struct map *map, const struct map_shard *shard,
              struct shard_step *step)
{
    if (shard->status > SHARD_SPLITTING || shard->status == SHARD_CREATING ||
        shard->replica_count == 0)
        return false;
    step->kind = STEP_MOVE;
    step->from = shard->replicas[prng_below(&sim->prng, shard->replica_count)].node;
    step->node = map->nodes[prng_below(&sim->prng, map->node_count)].number;
    return shard_replica_on(shard, step->node) == NULL;
}

// False: nothing today.
static inline bool
sim_plan(struct sim *sim, const struct map *map, struct command *command)
{
    const uint32_t permille = sim->options.profile->splits;
    if (sim->calm || permille == 0 || map->shard_count < SIM_SHARDS || !sim_chance(sim, permille))
        return false;
    const struct map_shard *shard = &map->shards[prng_below(&sim->prng, map->shard_count)];
    struct shard_step step = {.shard = shard->id, .cfg_ver = shard->cfg_ver};
    const uint32_t draw = prng_below(&sim->prng, 10);
    bool wanted;
    if (draw < 6) {
        wanted = sim_plan_split(shard, &step) && sim->splits < SIM_SPLITS_MAX;
        sim->splits += wanted;
    } else if (draw < 9) {
        wanted = sim_plan_move(sim, map, shard, &step);
        sim->moves += wanted;
    } else {
        step.kind = STEP_ABORT;
        wanted = shard->status == SHARD_SPLITTING;
    }
    *command = (struct command){.kind = COMMAND_STEPS};
    command->steps.count = 1;
    command->steps.steps[0] = step;
    return wanted;
}

#endif
