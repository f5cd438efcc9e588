// tests/lib/sim_halves.h -- faults that aim at the last moments of a split.
//
// Shape: shell, simulated.
//
// A child whose copy beside the parent's primary is gone is led elsewhere from the cut on, while the old primary's lease goes on
// (cut_read_on). So that copy is taken away from when intake stops, each time that the rebalancer has put one there, which it does
// within 20 ms; and when the cut is proposed without it the primary's node hears nothing of the metadata's leader for a while. How
// often is in the profile (tests/lib/sim_profile.h).
#ifndef OMEN_TESTS_SIM_HALVES_H
#define OMEN_TESTS_SIM_HALVES_H
#include "tests/lib/sim_fault.h"

static inline uint32_t
sim_newest_leader(const struct sim *sim)
{
    uint32_t newest = SIM_NOWHERE;
    for (uint32_t i = 0; i < sim->options.nodes; i++)
        if (sim->nodes[i].up && sim->nodes[i].turn.raft.state == RAFT_LEADER &&
            (newest == SIM_NOWHERE ||
             sim->nodes[i].turn.raft.term > sim->nodes[newest].turn.raft.term))
            newest = i;
    return newest;
}

// An operator beside the metadata's leader drops the child's copy of that node, each time that the rebalancer has put one there.
static inline void
sim_drop_half(struct sim *sim, uint32_t leader, const struct map_shard *child, uint32_t node,
              struct sim_halving *halving)
{
    static struct command command;
    if (shard_replica_on(child, node) == NULL || halving->dropped_ver == child->cfg_ver)
        return;
    halving->dropped_ver = child->cfg_ver;
    command = (struct command){.kind = COMMAND_STEPS};
    command.steps.count = 1;
    command.steps.steps[0] = (struct shard_step){
        .kind = STEP_DROP, .shard = child->id, .cfg_ver = child->cfg_ver, .node = node};
    sim_wish(sim, leader, &command);
}

void
sim_stumble_split(struct sim *sim, uint32_t at, const struct copy *copy)
{
    const uint32_t permille = sim->options.profile->halves_fall;
    const struct replica_split *split = &copy->replica.split;
    struct sim_halving *halving = &sim->nodes[at].halving;
    if (permille == 0 || sim->calm || !split->stopped)
        return;
    if (halving->stop_ns != split->again_ns)
        *halving = (struct sim_halving){
            .stop_ns = split->again_ns,
            .half = sim_chance(sim, permille) ? 1 + prng_below(&sim->prng, 2) : 0};
    const uint32_t leader = sim_newest_leader(sim);
    if (halving->half == 0 || leader == SIM_NOWHERE || leader == at)
        return;
    const struct map *map = &sim->nodes[split->proposed ? at : leader].turn.map;
    const struct map_shard *parent = map_shard(map, copy->env.shard);
    const struct map_node *own = map_node_by_uuid(map, (struct cluster_uuid){0x6f6d656e, at + 1});
    if (own == NULL || parent == NULL || parent->status != SHARD_SPLITTING)
        return;
    const struct map_shard *child = map_shard(map, parent->children[halving->half - 1]);
    if (!split->proposed) {
        sim_drop_half(sim, leader, child, own->number, halving);
    } else if (!halving->apart && shard_replica_on(child, own->number) == NULL) {
        halving->apart = sim_fault_open(sim, SIM_FAULT_CUT, leader, at,
                                        SIM_MS * (300 + prng_below(&sim->prng, 900)));
        sim->halves_apart += halving->apart;
    }
}

#endif
