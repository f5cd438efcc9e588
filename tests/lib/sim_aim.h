// tests/lib/sim_aim.h -- faults that aim: at a leader that has just begun, at who has just voted, at the midst of a turn.
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

#endif
