// tests/lib/sim_aim.h -- faults that aim: at a leader that has just begun, at who has just voted, at the midst of a turn, at a cut.
//
// Shape: shell, simulated.
//
// A fault at a random time seldom meets the few milliseconds in which a forgotten vote or an old commit can do harm; these come
// when it can. How often is in the profile (tests/lib/sim_profile.h).
#ifndef OMEN_TESTS_SIM_AIM_H
#define OMEN_TESTS_SIM_AIM_H
#include "tests/lib/sim_world.h"

static inline bool sim_fault_open(struct sim *sim, enum sim_fault kind, uint32_t a, uint32_t b,
                                  uint64_t length); // tests/lib/sim_fault.h

// Amid a turn: then what came meanwhile is taken by the clock of before. Half of them hear nobody until a moment after that.
static inline void
sim_pause(struct sim *sim, uint32_t at, uint64_t length)
{
    struct sim_node *node = &sim->nodes[at];
    const bool amid = sim->options.profile->amid_turn > 0 && node->paused_until_ns <= sim->now_ns &&
                      node->held_until_ns <= sim->now_ns &&
                      sim_chance(sim, sim->options.profile->amid_turn);
    node->paused_until_ns = sim->now_ns + length;
    node->held_until_ns = 0;
    if (amid) {
        node->held_ns = sim->now_ns;
        node->held_until_ns = node->paused_until_ns + SIM_TURN_NS;
        if (sim_chance(sim, 500))
            sim_fault_open(sim, SIM_FAULT_SPLIT, at, 1u << at, length + 20 * SIM_MS);
    }
}

// A crash of a moment: what came late still arrives.
static inline void
sim_fall(struct sim *sim, uint32_t at)
{
    if (sim->nodes[at].up && !sim->calm)
        sim_fault_open(sim, SIM_FAULT_CRASH, at, at,
                       SIM_MS * (5 + prng_below(&sim->prng, sim_chance(sim, 500) ? 30 : 500)));
}

static inline void
sim_fall_within(struct sim *sim, uint32_t at, uint32_t ns)
{
    sim_push(&sim->heap, (struct sim_event){.at_ns = sim->now_ns + 1 + prng_below(&sim->prng, ns),
                                            .kind = SIM_FALL,
                                            .at = at,
                                            .number = sim->nodes[at].life});
}

static inline void
sim_fall_soon(struct sim *sim, uint32_t at)
{
    sim_fall_within(sim, at, sim_chance(sim, 500) ? 2000000 : 40000000);
}

// Of somebody who has just begun to lead.
static inline void
sim_stumble_leader(struct sim *sim, uint32_t at)
{
    const struct sim_profile *profile = sim->options.profile;
    struct sim_node *node = &sim->nodes[at];
    if (profile->leaders_alone > 0 && sim_chance(sim, profile->leaders_alone))
        sim_fault_open(sim, SIM_FAULT_SPLIT, at, 1u << at,
                       SIM_MS * (200 + prng_below(&sim->prng, 800)));
    else if (profile->leaders_fall == 0 || !sim_chance(sim, profile->leaders_fall))
        return;
    else if (sim_chance(sim, 300))
        sim_fall_soon(sim, at);
    else
        node->fall_above = node->turn.raft.commit;
}

// Faults that aim: at who has just voted, begun to lead, or counted for the first time.
static inline void
sim_stumble(struct sim *sim, uint32_t at)
{
    const struct sim_profile *profile = sim->options.profile;
    struct sim_node *node = &sim->nodes[at];
    const struct raft_output *out = &sim->out.raft;
    const bool leads = node->turn.raft.state == RAFT_LEADER;
    if (sim->calm)
        return;
    if (!leads)
        node->fall_above = 0;
    else if (!node->led)
        sim_stumble_leader(sim, at);
    node->led = leads;
    if (node->fall_above != 0 && node->turn.raft.commit > node->fall_above) {
        node->fall_above = 0;
        sim_fall_within(sim, at, 1000);
    }
    for (uint32_t i = 0; profile->voters_fall > 0 && i < out->msg_count; i++)
        if (out->msgs[i].kind == RAFT_VOTE_RESP && !out->msgs[i].reject &&
            sim_chance(sim, profile->voters_fall))
            sim_fall_soon(sim, at);
}

// ---- the last moments of a split ----

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

// A child whose copy beside the parent's primary is gone is led elsewhere from the cut on, while the old primary's lease goes on: so
// a copy is taken away there from when intake stops, and when the cut is proposed without it the node hears nothing of the metadata's
// leader for a while (cut_read_on). The rebalancer puts the copy back within 20 ms; the cut has to come between.
static inline void
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
