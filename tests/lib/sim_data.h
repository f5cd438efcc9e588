// tests/lib/sim_data.h -- what must hold of shards and their copies, and who looks after them.
//
// Shape: shell, simulated.
//
// The log of a shard gives all its writes one order, so each key is a register as in tests/lib/sim_check.h. What its clients must
// see is in tests/lib/sim_caller_check.h: all of them go through routers.
#ifndef OMEN_TESTS_SIM_DATA_H
#define OMEN_TESTS_SIM_DATA_H
#include "tests/lib/sim_copies.h"
#include "tests/lib/sim_hooks.h"
#include "tests/lib/sim_plan.h"

// ---- what copies do ----

static inline void
sim_shard_sum(struct sim *sim, struct sim_shard_history *history, const struct sim_env *env,
              uint64_t seq)
{
    history->sums = sim_grow(history->sums, &history->sum_room, seq + 1, sizeof *history->sums);
    struct sim_sum *sum = &history->sums[seq];
    const struct replica_sum root = sim_table_root(&env->table);
    if (!sum->known)
        *sum = (struct sim_sum){env->sum, root, true};
    SIM_REQUIRE(sim, sum->sum == env->sum && sum->root.low == root.low,
                "I12: copies that applied as much hold the same");
}

static inline void
sim_shard_applied(struct sim *sim, const struct sim_env *env, uint64_t seq)
{
    struct sim_shard_history *own = sim_history(sim, env->env.shard);
    struct sim_shard_history *history = sim_line(sim, own, seq);
    history->rows = sim_grow(history->rows, &history->room, seq + 1, sizeof *history->rows);
    const struct sim_row *row = &env->log[seq];
    struct sim_done *done = &history->rows[seq];
    const uint64_t op = sim_row_op(row);
    sim_shard_sum(sim, own, env, seq);
    if (done->known) {
        SIM_REQUIRE(sim, done->term == row->term && done->op == op,
                    "I3, I4: copies apply the same entry at a place");
        return;
    }
    SIM_REQUIRE(sim, seq == history->last + 1, "nobody applies what is behind a gap of a shard");
    SIM_REQUIRE(sim, !history->ended || seq <= history->end,
                "a shard that was cut commits nothing more");
    *done = (struct sim_done){.term = row->term,
                              .op = op,
                              .mask = sim_row_mask(row),
                              .known = true,
                              .erased = row->bytes[1] != 0};
    history->last = seq;
    if (op != 0)
        sim_call_applied(sim, seq, row);
}

static inline void
sim_shard_stepped(struct sim *sim, uint32_t at, const struct copy *copy)
{
    const struct replica *replica = &copy->replica;
    (void)at;
    if (replica->role != REPLICA_PRIMARY && replica->role != REPLICA_OPENING)
        return;
    struct sim_shard_history *history = sim_history(sim, copy->env.shard);
    const uint64_t term = replica->promised;
    history->primaries =
        sim_grow(history->primaries, &history->primary_room, term + 1, sizeof *history->primaries);
    if (replica_uuid_is_none(history->primaries[term])) {
        history->primaries[term] = replica->config.uuid;
        history->opened++;
    }
    SIM_REQUIRE(sim, replica_uuid_equal(history->primaries[term], replica->config.uuid),
                "I1: a term of a shard has one primary");
}

static inline const struct sim_env *
sim_env_anywhere(struct sim *sim, struct cluster_uuid uuid)
{
    for (uint32_t i = 0; i < sim->options.nodes; i++) {
        const struct sim_env *env = sim_env_find(&sim->nodes[i], uuid);
        if (env != NULL)
            return env;
    }
    return NULL;
}

// The newest map that anybody has applied.
static inline const struct map *
sim_newest_map(const struct sim *sim)
{
    const struct map *newest = NULL;
    for (uint32_t i = 0; i < sim->options.nodes; i++)
        if (sim->nodes[i].up &&
            (newest == NULL || sim->nodes[i].turn.map.version > newest->version))
            newest = &sim->nodes[i].turn.map;
    return newest;
}

// I2, against the disks. An environment that is being made has nothing that could count, nor has one of a child that does not answer.
static inline void
sim_check_acked(struct sim *sim, struct sim_shard_history *history, uint64_t from)
{
    const struct map *map = sim_newest_map(sim);
    const struct map_shard *shard = map != NULL ? map_shard(map, history->id) : NULL;
    if (shard == NULL || map->version < sim->map_seen)
        return; // those who know a newer one are down
    sim->map_seen = map->version;
    if (!shard_is_routed(shard))
        return;
    for (uint32_t i = 0; i < shard->replica_count; i++) {
        if (shard->replicas[i].role != MAP_REPLICA_IN_SYNC)
            continue;
        const struct sim_env *env = sim_env_anywhere(sim, shard->replicas[i].uuid);
        for (uint64_t seq = from; env != NULL && seq <= history->acked_max; seq++) {
            const struct sim_done *done = sim_done_at(sim, history, seq);
            SIM_REQUIRE(sim,
                        !done->acked || (seq <= env->last_seq && env->rows[seq].term == done->term),
                        "I2: what was acknowledged is on the disk of every copy in sync");
        }
    }
}

// ---- the operator ----

// Of the lease times that were changed, by any clock.
static inline bool
sim_guard_is_over(struct sim *sim)
{
    if (sim->leases_changed_ns == 0)
        sim->leases_changed_ns = sim->now_ns;
    return sim->now_ns - sim->leases_changed_ns > 5 * SIM_SECOND;
}

// Whoever knows the cluster may say it, and say it again.
static inline void
sim_operator(struct sim *sim)
{
    sim_push(&sim->heap,
             (struct sim_event){.at_ns = sim->now_ns + 300 * SIM_MS, .kind = SIM_OPERATOR});
    const uint32_t at = prng_below(&sim->prng, sim->options.nodes);
    struct sim_node *node = &sim->nodes[at];
    if (!node->up || node->paused_until_ns > sim->now_ns)
        return;
    const struct map *map = sim_map(node);
    static struct command command;
    command.kind = 0;
    uint32_t ready = 0;
    for (uint32_t i = 0; i < map->node_count; i++) {
        ready += map->nodes[i].state == NODE_UP;
        if (map->nodes[i].state != NODE_JOINING)
            continue;
        command = (struct command){.kind = COMMAND_NODE_STATE};
        command.node_state = (struct command_node_state){
            .expected = map->nodes[i].version, .node = map->nodes[i].number, .state = NODE_UP};
    }
    if (command.kind == 0 && sim->options.profile->fast_leases &&
        map->leases.profile != LEASE_FAST) {
        command = (struct command){.kind = COMMAND_LEASE_PROFILE};
        command.lease = (struct command_lease){VERSION_ANY, LEASE_FAST};
    } else if (command.kind == 0 && map->leases.profile != map->leases.previous &&
               sim_guard_is_over(sim)) {
        command = (struct command){.kind = COMMAND_LEASE_SETTLE};
        command.lease = (struct command_lease){VERSION_ANY, map->leases.profile};
    }
    if (command.kind == 0 && ready == sim->options.nodes && map->collection_count == 0) {
        sim_want_collection(sim, 'c', &command);
    }
    if (command.kind == 0 && (map->collection_count == 0 || !sim_plan_kinds(sim, map, &command)) &&
        !sim_plan(sim, map, &command))
        command.kind = 0;
    if (command.kind != 0)
        sim_wish(sim, at, &command);
}

// In one seed of four, for each number of terms, logs keep all that they ever held, so that copies are filled from their beginning.
static inline bool
sim_keeps_logs(const struct sim *sim)
{
    return sim->options.seed / SIM_TERMS_KINDS % 4 == 3;
}

// Now and then a log is trimmed, some of it although somebody may want it, and a checksum is asked for.
static inline void
sim_upkeep(struct sim *sim)
{
    if (sim->stopped)
        return;
    const uint32_t at = prng_below(&sim->prng, sim->options.nodes);
    struct sim_node *node = &sim->nodes[at];
    uint32_t slot = prng_below(&sim->prng, SIM_ENVS_MAX);
    for (uint32_t i = 0; i < SIM_ENVS_MAX && !node->envs[slot].used; i++)
        slot = (slot + 1) % SIM_ENVS_MAX;
    struct sim_env *env = &node->envs[slot];
    sim_push(&sim->heap,
             (struct sim_event){.at_ns = sim->now_ns + 20 * SIM_MS, .kind = SIM_UPKEEP});
    const struct copy *copy =
        node->up && env->used ? copies_find(&node->copies, env->env.uuid) : NULL;
    if (copy == NULL || !copy->made || node->paused_until_ns > sim->now_ns)
        return;
    if (copy->replica.halted && !copy->replica.rotten) {
        sim_ask_operator(sim, at, copy);
        return;
    }
    const bool trims = sim_chance(sim, 800);
    struct replica_input given = {.kind = trims ? REPLICA_IN_TRIMMED : REPLICA_IN_CHECKSUM};
    const uint64_t applied = copy->replica.applied_seq, kept = prng_below(&sim->prng, 60);
    if (trims && (applied < env->first_seq + kept || sim_keeps_logs(sim)))
        return;
    given.seq = trims ? applied - kept : 0;
    if (trims) { // what is trimmed was applied for good
        env->first_seq = given.seq > env->first_seq ? given.seq : env->first_seq;
        if (env->first_seq - 1 > env->applied_durable)
            env->applied_durable = env->first_seq - 1;
    }
    sim_replica_step(sim, at, env->env.uuid, given);
}

static inline void
sim_check_shards(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->shard_count; i++)
        sim_check_acked(sim, &sim->shards[i], 1);
}

// After the faults: every shard has all its copies, in sync, open and equal.
static inline void
sim_check_whole(struct sim *sim)
{
    const struct map *map = sim_newest_map(sim);
    SIM_REQUIRE(sim, map->shard_count >= SIM_SHARDS, "the collection is there");
    SIM_REQUIRE(sim, map->features == MAP_FEATURE_ID_KINDS,
                "a feature that all nodes know is switched on");
    for (uint32_t s = 0; s < map->shard_count; s++) {
        const struct map_shard *shard = &map->shards[s];
        const struct map_collection *collection = map_collection(map, shard->collection);
        const struct sim_shard_history *history = sim_history(sim, shard->id);
        SIM_REQUIRE(sim, shard->status == SHARD_OPEN, "without faults every shard is open");
        SIM_REQUIRE(sim,
                    shard_in_sync(shard) == collection->replication &&
                        shard->replica_count == collection->replication,
                    "without faults every shard has all its copies in sync");
        for (uint32_t i = 0; i < shard->replica_count; i++) {
            const struct sim_env *env = sim_env_anywhere(sim, shard->replicas[i].uuid);
            SIM_REQUIRE(sim, env != NULL, "the copies that the map names are there");
            SIM_REQUIRE(sim, env->applied_seq == history->last,
                        "without faults every copy has applied all");
            SIM_REQUIRE(sim, !sim_env_is_rotten(env),
                        "without faults what has rotted is found and made anew");
        }
    }
    sim_check_shards(sim);
}

#include "tests/lib/sim_verify.h" // sim_compare and its like

#endif
