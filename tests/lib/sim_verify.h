// tests/lib/sim_verify.h -- disks whose bytes change silently, and who finds out: readers, a vote of sums, and the operator.
//
// Shape: shell, simulated.
//
// What may rot is what can be made anew: one copy of a shard at a time, while two others are in sync and sound and writes want two, so
// that one of them stays when faults of other kinds take a third: a shard that may go on with one copy may drop the sound ones, of
// which it has three only while one moves. A state that looks sound needs three copies to be voted out; where fewer are left by then
// the shard stops, and the operator says which is right.
#ifndef OMEN_TESTS_SIM_VERIFY_H
#define OMEN_TESTS_SIM_VERIFY_H
#include "tests/lib/sim_data.h"

// ---- the fault ----

static inline bool
sim_rot_may(struct sim *sim, const struct sim_env *env, enum sim_rot_kind kind)
{
    const struct map *map = sim_newest_map(sim);
    const struct map_shard *shard = map != NULL ? map_shard(map, env->env.shard) : NULL;
    if (shard == NULL || map->version < sim->map_seen || shard->status != SHARD_OPEN ||
        shard->min_insync < 2 || shard_in_sync(shard) < 3 ||
        shard_replica(shard, env->env.uuid) == NULL)
        return false;
    for (uint32_t i = 0; i < shard->replica_count; i++) {
        const struct map_replica *replica = &shard->replicas[i];
        const struct sim_env *other = sim_env_anywhere(sim, replica->uuid);
        if (other != NULL ? sim_env_may_be_rotten(other) : replica->role == MAP_REPLICA_IN_SYNC)
            return false;
        if (kind == SIM_ROT_STATE && replica->role != MAP_REPLICA_IN_SYNC)
            return false; // it would be filled with what is wrong
    }
    return true;
}

static inline void
sim_rot_begin(struct sim *sim, uint32_t at)
{
    const uint32_t kinds[] = {SIM_ROT_RECORD, SIM_ROT_ENTRY, SIM_ROT_STATE};
    const enum sim_rot_kind kind = (enum sim_rot_kind)kinds[prng_below(&sim->prng, 3)];
    const uint32_t key = prng_below(&sim->prng, SIM_SHARD_KEYS);
    const uint32_t start = prng_below(&sim->prng, SIM_ENVS_MAX);
    for (uint32_t i = 0; i < SIM_ENVS_MAX; i++) {
        struct sim_env *env = &sim->nodes[at].envs[(start + i) % SIM_ENVS_MAX];
        if (!env->used || env->unmade || env->rot.kind != SIM_SOUND || !sim_rot_may(sim, env, kind))
            continue;
        struct sim_rot rot = {.kind = kind, .key = key, .seq = env->table.cells[key].seq};
        if (kind == SIM_ROT_ENTRY)
            rot.seq = env->applied_durable;
        if (rot.seq == 0 || !sim_rot_is_there(&rot, &env->table, env->first_seq))
            continue;
        env->rot = rot;
        sim->rots++;
        return;
    }
}

// ---- buckets ----

static inline void
sim_buckets(const struct sim_env *env, uint32_t chunk, struct replica_sum *buckets)
{
    memset(buckets, 0, REPLICA_BUCKETS_PER_MSG * sizeof *buckets);
    for (uint32_t key = 0; key < SIM_SHARD_KEYS; key++) {
        const uint32_t bucket = sim_bucket(env->range, key);
        if (sim_covers(env->range, key) && bucket >= chunk &&
            bucket < chunk + REPLICA_BUCKETS_PER_MSG)
            buckets[bucket - chunk] = sim_cell_sum(env->checked.cells[key], key);
    }
}

static inline void
sim_do_buckets(struct sim *sim, uint32_t at, const struct sim_env *env,
               const struct replica_serve *serve)
{
    static struct replica_sum buckets[REPLICA_BUCKETS_PER_MSG];
    if (env->check_seq != serve->seq || serve->chunk > REPLICA_BUCKETS - REPLICA_BUCKETS_PER_MSG)
        return;
    sim_buckets(env, serve->chunk, buckets);
    struct replica_input given = {.kind = REPLICA_IN_BUCKETS};
    given.uuid = serve->uuid;
    given.seq = serve->seq;
    given.chunk = serve->chunk;
    given.buckets = buckets;
    given.bucket_count = REPLICA_BUCKETS_PER_MSG;
    sim_replica_step(sim, at, env->env.uuid, given);
}

// The primary learns which of another's buckets differ from its own: those of what has rotted, and no others.
static inline void
sim_compare(struct sim *sim, const struct sim_env *env, const struct replica_serve *serve)
{
    static struct replica_sum own[REPLICA_BUCKETS_PER_MSG];
    uint32_t differ[REPLICA_BUCKETS_PER_MSG];
    const struct cluster_uuid uuid = {serve->uuid.high, serve->uuid.low};
    const struct sim_env *other = sim_env_anywhere(sim, uuid);
    if (env->check_seq != serve->seq || other == NULL)
        return;
    sim_buckets(env, serve->chunk, own);
    const uint32_t count = replica_buckets_differ(own, serve->buckets, serve->bucket_count, differ);
    for (uint32_t i = 0; i < count; i++) {
        const bool right = other->rot.kind == SIM_ROT_STATE &&
                           serve->chunk + differ[i] == sim_bucket(env->range, other->rot.key);
        SIM_REQUIRE(sim, right, "the buckets that differ are those of what has rotted");
        sim->buckets_named++;
    }
}

// ---- who found it ----

// Whether a copy of a child of that shard holds what is wrong: it came out of its parent so.
static inline bool
sim_half_is_rotten(struct sim *sim, uint64_t parent)
{
    for (uint32_t n = 0; n < sim->options.nodes; n++)
        for (uint32_t e = 0; e < SIM_ENVS_MAX; e++) {
            const struct sim_env *env = &sim->nodes[n].envs[e];
            if (env->used && env->rot.kind == SIM_ROT_STATE &&
                sim_history(sim, env->env.shard)->parent == parent)
                return true;
        }
    return false;
}

static inline void
sim_read_notes(struct sim *sim)
{
    const struct replica_output *out = &sim->copies_out.replica;
    for (uint32_t i = 0; i < out->note_count; i++) {
        const struct replica_note *note = &out->notes[i];
        const struct cluster_uuid uuid = {note->uuid.high, note->uuid.low};
        const struct sim_env *env = sim_env_anywhere(sim, uuid);
        if (note->kind == REPLICA_NOTE_CORRUPT)
            sim->rots_verified++;
        if (note->kind == REPLICA_NOTE_HALVES) {
            SIM_REQUIRE(sim, sim_half_is_rotten(sim, sim->copies_out.shard),
                        "a split is given up only where a half is wrong");
            sim->halves++;
        }
        if (note->kind != REPLICA_NOTE_DIVERGED || env == NULL)
            continue;
        bool halted = false; // by a tie: then it says nothing about who it is
        for (uint32_t k = 0; k < out->note_count; k++)
            halted |= out->notes[k].kind == REPLICA_NOTE_HALTED;
        SIM_REQUIRE(sim, halted || env->rot.kind == SIM_ROT_STATE,
                    "who is voted out holds what is wrong");
        sim->rots_voted++;
    }
}

// A primary that nobody could help: the operator looks, says which copy is wrong, and when it is gone has the shard go on.
static inline void
sim_ask_operator(struct sim *sim, uint32_t at, const struct copy *copy)
{
    bool wrong = false;
    const struct map_shard *shard = &copy->row;
    for (uint32_t i = 0; i < shard->replica_count; i++) {
        const struct sim_env *env = sim_env_anywhere(sim, shard->replicas[i].uuid);
        if (env == NULL || !sim_env_is_rotten(env))
            continue;
        struct command command = {.kind = COMMAND_STEPS};
        command.steps.count = 1;
        command.steps.steps[0] = (struct shard_step){.kind = STEP_LOST,
                                                     .shard = shard->id,
                                                     .cfg_ver = shard->cfg_ver,
                                                     .replica = env->env.uuid};
        sim_wish(sim, at, &command);
        wrong = true;
    }
    if (!wrong)
        sim_replica_step(sim, at, copy->env.uuid,
                         (struct replica_input){.kind = REPLICA_IN_RESUME});
}

#endif
