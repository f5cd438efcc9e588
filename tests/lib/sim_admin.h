// tests/lib/sim_admin.h -- what an operator asks of the shards of a simulation: another primary, and nodes to be emptied.
//
// Shape: shell, simulated.
//
// He looks at the map of any node, which may be an old one, and says what he wants there, once.
#ifndef OMEN_TESTS_SIM_ADMIN_H
#define OMEN_TESTS_SIM_ADMIN_H
#include "tests/lib/sim_world.h"

static inline bool
sim_want_state(const struct map_node *node, enum node_state state, struct command *command)
{
    *command = (struct command){.kind = COMMAND_NODE_STATE};
    command->node_state = (struct command_node_state){
        .expected = node->version, .node = node->number, .state = (uint8_t)state};
    return true;
}

static inline const struct map_node *
sim_draining(const struct map *map)
{
    for (uint32_t i = 0; i < map->node_count; i++)
        if (map->nodes[i].state == NODE_DRAINING)
            return &map->nodes[i];
    return NULL;
}

// One node at a time; after the faults none.
static inline bool
sim_want_drain(struct sim *sim, const struct map *map, struct command *command)
{
    const struct map_node *draining = sim_draining(map);
    if (draining != NULL)
        return (sim->calm || sim_chance(sim, 400)) && sim_want_state(draining, NODE_UP, command);
    if (sim->calm)
        return false;
    const struct map_node *node = &map->nodes[prng_below(&sim->prng, map->node_count)];
    if (node->state != NODE_UP)
        return false;
    sim->drains++;
    return sim_want_state(node, NODE_DRAINING, command);
}

static inline bool
sim_want_primary(struct sim *sim, const struct map *map, struct command *command)
{
    const struct map_shard *shard = &map->shards[prng_below(&sim->prng, map->shard_count)];
    if (shard->replica_count == 0)
        return false;
    const struct map_replica *one = &shard->replicas[prng_below(&sim->prng, shard->replica_count)];
    *command = (struct command){.kind = COMMAND_STEPS};
    command->steps.count = 1;
    command->steps.steps[0] = (struct shard_step){
        .kind = STEP_PREFER, .shard = shard->id, .cfg_ver = shard->cfg_ver, .replica = one->uuid};
    sim->preferred += !uuid_is_none(one->uuid);
    return !uuid_is_none(one->uuid);
}

static inline void
sim_admin_event(struct sim *sim)
{
    const uint32_t gap_ms = sim->calm ? 500 : 200 + sim->options.profile->admin_ms;
    sim_push(&sim->heap,
             (struct sim_event){.at_ns = sim->now_ns + SIM_MS * prng_below(&sim->prng, gap_ms),
                                .kind = SIM_ADMIN});
    const uint32_t at = prng_below(&sim->prng, sim->options.nodes);
    const struct sim_node *node = &sim->nodes[at];
    const struct map *map = &node->turn.map;
    static struct command command;
    if (!node->up || node->paused_until_ns > sim->now_ns || map->shard_count == 0)
        return;
    if (sim->calm || sim_chance(sim, 400) ? sim_want_drain(sim, map, &command)
                                          : sim_want_primary(sim, map, &command))
        sim_wish(sim, at, &command);
}

#endif
