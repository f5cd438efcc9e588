// tests/lib/sim_fault.h -- what goes wrong in a simulation, and when it ends.
//
// Shape: shell, simulated.
#ifndef OMEN_TESTS_SIM_FAULT_H
#define OMEN_TESTS_SIM_FAULT_H
#include "tests/lib/sim_aim.h"
#include "tests/lib/sim_check.h"
#include "tests/lib/sim_verify.h"

static inline void sim_pause(struct sim *sim, uint32_t at, uint64_t length); // tests/lib/sim_aim.h

static inline void sim_match_logs(struct sim *sim); // sim_check.h

static inline const char *
sim_fault_name(enum sim_fault kind)
{
    static const char *const names[] = {"loss",  "double", "delay", "cut",   "split",
                                        "pause", "crash",  "disk",  "clock", "power",
                                        "wipe",  "lost",   "rot"};
    return names[kind];
}

static inline void
sim_cut_halves(struct sim *sim, uint32_t side, bool on)
{
    for (uint32_t a = 0; a <= sim->options.nodes; a++) // the last is the router
        for (uint32_t b = 0; b <= sim->options.nodes; b++)
            if ((side >> a & 1) != (side >> b & 1))
                sim->cut[a][b] = on;
}

// Whether every copy of every shard is there, and writes want two: then one disk may be lost, and nothing with it. Learners as
// well: that one is in sync may have been decided, or be on its way.
static inline bool
sim_may_wipe(struct sim *sim)
{
    const struct map *map = sim_newest_map(sim);
    for (uint32_t s = 0; map != NULL && s < map->shard_count; s++) {
        const struct map_shard *shard = &map->shards[s];
        if (shard->status == SHARD_RETIRED)
            continue;
        if (shard->min_insync < 2 ||
            (shard->status != SHARD_CHILD && (shard_in_sync(shard) < 2 || shard->term == 0)))
            return false;
        for (uint32_t i = 0; i < shard->replica_count; i++) {
            const struct sim_env *env = sim_env_anywhere(sim, shard->replicas[i].uuid);
            if (env == NULL ? shard->replicas[i].role != MAP_REPLICA_PENDING
                            : sim_env_may_be_rotten(env))
                return false;
        }
    }
    return map != NULL && map->version >= sim->map_seen && map->shard_count >= SIM_SHARDS;
}

static inline void
sim_wipe(struct sim *sim, uint32_t at)
{
    const bool may = sim_may_wipe(sim);
    sim_crash(sim, at);
    for (uint32_t i = 0; may && i < SIM_ENVS_MAX; i++) {
        if (!sim->nodes[at].envs[i].used)
            continue;
        sim_env_fini(&sim->nodes[at].envs[i]);
        sim->wipes++;
    }
}

// Whether the group can do without one disk: the newest leader has no change under way and all its voters know so, on their disks.
static inline bool
sim_may_lose(const struct sim *sim, uint32_t at)
{
    const struct turn *leader = NULL;
    uint64_t term = 0;
    for (uint32_t i = 0; i < sim->options.nodes; i++) {
        const struct sim_node *node = &sim->nodes[i];
        const uint64_t its = node->up ? node->turn.raft.term : node->disk.hard_state.term;
        term = its > term ? its : term;
        if (node->up && node->turn.raft.state == RAFT_LEADER &&
            (leader == NULL || its > leader->raft.term))
            leader = &node->turn;
    }
    if (leader == NULL || leader->raft.term < term ||
        leader->raft.pending_change > leader->applied || leader->applied < sim->history_last)
        return false;
    const struct raft_group *group = &leader->group;
    uint32_t voters = 0;
    for (uint32_t i = 0; i < group->count; i++) {
        const uint32_t member = sim_at_of(sim, group->members[i].id);
        voters += group->members[i].roles == RAFT_VOTER;
        if (member_votes(group->members[i].roles) != (group->members[i].roles == RAFT_VOTER) ||
            member == SIM_NOWHERE ||
            (member != at && sim->nodes[member].disk.hard_state.commit < sim->members.changed_at))
            return false;
    }
    return voters >= 3;
}

static inline void
sim_lose(struct sim *sim, uint32_t at)
{
    const bool may = sim_may_lose(sim, at);
    sim_crash(sim, at);
    if (!may)
        return;
    sim_disk_lose(&sim->nodes[at].disk);
    sim->nodes[at].raft_id += SIM_MEMBER_LIVES;
    sim->members.lost++;
}

static inline void
sim_switch(struct sim *sim, uint32_t slot, bool on)
{
    const uint32_t a = sim->faults[slot].a, b = sim->faults[slot].b;
    const uint32_t one = on ? 1u : UINT32_MAX;
    sim->faults[slot].open = on;
    switch (sim->faults[slot].kind) {
    case SIM_FAULT_LOSS:
        sim->loss += one;
        break;
    case SIM_FAULT_DOUBLE:
        sim->doubled += one;
        break;
    case SIM_FAULT_DELAY:
        sim->slow_net += one;
        break;
    case SIM_FAULT_CUT:
        sim->cut[a][b] = on;
        if (sim->options.profile->pairs)
            sim->cut[b][a] = on;
        break;
    case SIM_FAULT_SPLIT:
        sim_cut_halves(sim, b, on);
        break;
    case SIM_FAULT_DISK:
        sim->slow_disk[a] += one;
        break;
    case SIM_FAULT_CRASH:
        if (on)
            sim_crash(sim, a);
        else
            sim_start(sim, a);
        break;
    case SIM_FAULT_WIPE:
        if (on)
            sim_wipe(sim, a);
        else
            sim_start(sim, a);
        break;
    case SIM_FAULT_LOST:
        if (on)
            sim_lose(sim, a);
        else
            sim_start(sim, a);
        break;
    case SIM_FAULT_POWER:
        for (uint32_t i = 0; i < sim->options.nodes; i++)
            if (on)
                sim_crash(sim, i);
            else
                sim_start(sim, i);
        break;
    default:
        break;
    }
}

static inline uint32_t
sim_side(struct sim *sim) // of a split: bits of nodes, some and not all
{
    return 1 + prng_below(&sim->prng, (1u << sim->options.nodes) - 2);
}

static inline uint64_t
sim_hot_length(struct sim *sim)
{
    return SIM_MS * (500 + prng_below(&sim->prng, 2500));
}

// False: not this kind.
static inline bool
sim_fault_counts(struct sim *sim, enum sim_fault kind, uint32_t at, uint64_t length)
{
    if ((sim->options.fault_mask >> kind & 1) == 0)
        return false;
    sim->fault_count[kind]++;
    if (sim->options.trace)
        printf("%12.6f fault %s node %u for %" PRIu64 " ms\n", (double)sim->now_ns / 1e9,
               sim_fault_name(kind), at + 1, length / SIM_MS);
    return true;
}

// False: enough are open, or it is not this kind.
static inline bool
sim_fault_open(struct sim *sim, enum sim_fault kind, uint32_t a, uint32_t b, uint64_t length)
{
    uint32_t slot = 0;
    while (slot < SIM_FAULTS_OPEN && sim->faults[slot].open)
        slot++;
    if (slot == SIM_FAULTS_OPEN || !sim_fault_counts(sim, kind, a, length))
        return false;
    sim->faults[slot].kind = kind;
    sim->faults[slot].a = a;
    sim->faults[slot].b = b;
    sim_switch(sim, slot, true);
    sim_push(&sim->heap,
             (struct sim_event){.at_ns = sim->now_ns + length, .kind = SIM_HEAL, .at = slot});
    return true;
}

static inline void
sim_fault_begin(struct sim *sim)
{
    const uint32_t mask = sim->options.profile->fault_mask;
    uint32_t kind = 0;
    for (uint32_t left = prng_below(&sim->prng, (uint32_t)__builtin_popcount(mask));; kind++)
        if ((mask >> kind & 1) != 0 && left-- == 0)
            break;
    const uint32_t a = prng_below(&sim->prng, sim->options.nodes);
    const uint32_t other = 1 + prng_below(&sim->prng, sim->options.nodes - 1);
    const uint32_t side = sim_side(sim);
    const uint64_t length = SIM_MS * (sim_usual(sim->options.profile->short_ms, 200) +
                                      prng_below(&sim->prng, sim->options.profile->length_ms));
    const int64_t jump = (int64_t)prng_below(&sim->prng, 600000) - 300000;
    if (kind != SIM_FAULT_PAUSE && kind != SIM_FAULT_CLOCK && kind != SIM_FAULT_ROT) {
        const uint32_t b = kind == SIM_FAULT_SPLIT ? side : (a + other) % sim->options.nodes;
        sim_fault_open(sim, (enum sim_fault)kind, a, b, length);
        return;
    }
    if (!sim_fault_counts(sim, (enum sim_fault)kind, a, length))
        return;
    if (kind == SIM_FAULT_PAUSE)
        sim_pause(sim, a, length);
    else if (kind == SIM_FAULT_ROT)
        sim_rot_begin(sim, a);
    else
        sim->nodes[a].wall_off_ms = sim_forgets(sim) ? jump / 24 : jump; // a little too far
}

static inline void
sim_fault_event(struct sim *sim)
{
    if (sim->calm)
        return;
    sim_match_logs(sim);
    sim_check_shards(sim);
    sim_fault_begin(sim);
    const uint64_t gap_ms = 100 + prng_below(&sim->prng, sim->options.profile->gap_ms);
    sim_push(&sim->heap,
             (struct sim_event){.at_ns = sim->now_ns + SIM_MS * gap_ms, .kind = SIM_FAULT});
}

static inline void
sim_calm(struct sim *sim)
{
    sim->calm = true;
    for (uint32_t slot = 0; slot < SIM_FAULTS_OPEN; slot++)
        if (sim->faults[slot].open)
            sim_switch(sim, slot, false);
    memset(sim->cut, 0, sizeof sim->cut);
    for (uint32_t i = 0; i < sim->options.nodes; i++) {
        sim->nodes[i].paused_until_ns = sim->nodes[i].held_until_ns = 0;
        if (sim_forgets(sim))
            sim->nodes[i].wall_off_ms = 0;
        sim_start(sim, i);
    }
    sim_routers_calm(sim);
}

#endif
