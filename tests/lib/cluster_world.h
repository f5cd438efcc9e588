// tests/lib/cluster_world.h -- a map, and nodes that do what it tells them: they make environments, catch up, hand over.
//
// Shape: shell. Every command goes through its encoding, and the map's invariants are checked after each.
#ifndef OMEN_TESTS_CLUSTER_WORLD_H
#define OMEN_TESTS_CLUSTER_WORLD_H
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/prng.h"
#include "cluster/apply.h"
#include "cluster/rebalance.h"
#include "cluster/snapshot.h"

#define WORLD_NODES_MAX 64u

struct world {
    struct map map;
    uint64_t position;
    uint64_t time_ms;
    uint64_t next_uuid;
    struct prng prng;
    // What the nodes are like, by number; and what has been counted.
    bool alive[WORLD_NODES_MAX];
    bool lease_void[WORLD_NODES_MAX];
    bool leaving[WORLD_NODES_MAX];
    bool disk_low[WORLD_NODES_MAX];
    uint64_t now_ns;
    struct rebalance rebalance;
    struct rebalance_output output;
    uint64_t steps[STEP_KINDS_END]; // applied
    bool by_width;                  // a shard is as large as its range: 256 the whole
};

static inline struct map_name
name_of(const char *text)
{
    struct map_name name;
    ck_assert(map_name_set(&name, text, strlen(text)));
    return name;
}

static inline struct cluster_uuid
world_uuid(struct world *world)
{
    return (struct cluster_uuid){0, world->next_uuid++};
}

static inline void
world_init(struct world *world, uint64_t seed)
{
    memset(world, 0, sizeof *world);
    map_init(&world->map);
    world->next_uuid = 0x100;
    prng_init(&world->prng, seed);
    const struct rebalance_config config = {.replace_delay_ns = 60000000000ull,
                                            .interval_ns = 1000000000ull,
                                            .retry_ns = 1000000000ull,
                                            .moves_max = 4,
                                            .transfers_max = 8,
                                            .splits_max = 1};
    rebalance_init(&world->rebalance, &config, seed);
}

static inline void
world_fini(struct world *world)
{
    map_fini(&world->map);
}

static inline struct command_result
world_apply(struct world *world, const struct command *command)
{
    static uint8_t bytes[COMMAND_BYTES_MAX];
    size_t count;
    struct command_result result;
    ck_assert_int_eq(command_encode(command, bytes, sizeof bytes, &count), OMEN_OK);
    const uint64_t version = world->map.version;
    ck_assert_int_eq(cluster_apply(&world->map, ++world->position, bytes, count, &result), OMEN_OK);
    map_check(&world->map);
    ck_assert_uint_ge(world->map.version, version); // the map never goes back
    return result;
}

static inline struct command
command_of(enum command_kind kind)
{
    struct command command;
    memset(&command, 0, sizeof command);
    command.kind = (uint8_t)kind;
    return command;
}

// Answers its number.
static inline uint32_t
world_node(struct world *world, const char *zone, uint16_t weight)
{
    struct command command = command_of(COMMAND_NODE_REGISTER);
    command.node = (struct command_node){.uuid = world_uuid(world),
                                         .boot = 1,
                                         .features = 7,
                                         .weight = weight,
                                         .roles = NODE_ROLES_ALL,
                                         .zone = name_of(zone)};
    const struct command_result joined = world_apply(world, &command);
    ck_assert_int_eq(joined.status, OMEN_OK);
    const uint32_t number = (uint32_t)joined.value;
    command = command_of(COMMAND_NODE_STATE);
    command.node_state = (struct command_node_state){VERSION_ANY, number, NODE_UP};
    ck_assert_int_eq(world_apply(world, &command).status, OMEN_OK);
    ck_assert_uint_lt(number, WORLD_NODES_MAX);
    world->alive[number] = true;
    return number;
}

static inline omen_status
world_node_state(struct world *world, uint32_t node, enum node_state state)
{
    struct command command = command_of(COMMAND_NODE_STATE);
    command.node_state = (struct command_node_state){VERSION_ANY, node, (uint8_t)state};
    return world_apply(world, &command).status;
}

// Without quotas.
static inline struct command_alter
alter_of(uint64_t collection, uint64_t expected, uint8_t replication, uint8_t min_insync)
{
    return (struct command_alter){.collection = collection,
                                  .expected = expected,
                                  .replication = replication,
                                  .min_insync = min_insync};
}

static inline struct command
create_command(const char *name, uint32_t shards, uint8_t replication)
{
    struct command command = command_of(COMMAND_COLLECTION_CREATE);
    command.collection = (struct command_collection){
        .name = name_of(name), .dimension = 64, .shards = shards, .replication = replication};
    return command;
}

// Answers its id.
static inline uint64_t
world_collection(struct world *world, const char *name, uint32_t shards, uint8_t replication)
{
    const struct command command = create_command(name, shards, replication);
    const struct command_result result = world_apply(world, &command);
    ck_assert_int_eq(result.status, OMEN_OK);
    return result.value;
}

static inline omen_status
world_step(struct world *world, uint64_t shard, struct shard_step step)
{
    struct command command = command_of(COMMAND_STEPS);
    const struct map_shard *row = map_shard(&world->map, shard);
    step.shard = shard;
    if (step.cfg_ver == 0 && row != NULL)
        step.cfg_ver = row->cfg_ver;
    command.steps.count = 1;
    command.steps.steps[0] = step;
    const struct command_result result = world_apply(world, &command);
    world->steps[step.kind] += result.applied;
    return result.status;
}

// A shard with a copy on each of these nodes, open; the first is primary. Its only collection.
static inline uint64_t
world_shard(struct world *world, uint8_t nodes, uint8_t replication)
{
    world_collection(world, "docs", 1, replication);
    const uint64_t shard = world->map.shards[world->map.shard_count - 1].id;
    for (uint32_t node = 1; node <= nodes; node++)
        ck_assert_int_eq(
            world_step(world, shard, (struct shard_step){.kind = STEP_ASSIGN, .node = node}),
            OMEN_OK);
    for (uint32_t node = 1; node <= nodes; node++)
        ck_assert_int_eq(
            world_step(
                world, shard,
                (struct shard_step){.kind = STEP_BORN, .node = node, .replica = world_uuid(world)}),
            OMEN_OK);
    return shard;
}

static inline struct cluster_uuid
world_replica(const struct world *world, uint64_t shard, uint32_t node)
{
    const struct map_replica *replica = shard_replica_on(map_shard(&world->map, shard), node);
    ck_assert_ptr_nonnull(replica);
    return replica->uuid;
}

// ---- nodes that obey ----

static inline bool
world_primary_works(const struct world *world, const struct map_shard *shard)
{
    const struct map_replica *primary = shard_replica(shard, shard->primary);
    return primary != NULL && world->alive[primary->node] &&
           map_node(&world->map, primary->node)->boot == shard->primary_boot;
}

// What the nodes propose about one shard, if anything: one thing.
static inline bool
world_obey_one(struct world *world, const struct map_shard *shard)
{
    for (uint32_t i = 0; i < shard->replica_count; i++) {
        const struct map_replica *replica = &shard->replicas[i];
        if (replica->role == MAP_REPLICA_PENDING && world->alive[replica->node])
            return world_step(world, shard->id,
                              (struct shard_step){.kind = STEP_BORN,
                                                  .node = replica->node,
                                                  .replica = world_uuid(world)}) == OMEN_OK;
    }
    const struct map_shard *leader =
        shard->status == SHARD_CHILD ? map_shard(&world->map, shard->parent) : shard;
    if (leader->status == SHARD_RETIRED || !world_primary_works(world, leader))
        return false;
    for (uint32_t i = 0; i < shard->replica_count; i++) {
        const struct map_replica *replica = &shard->replicas[i];
        if (replica->role == MAP_REPLICA_LEARNER && world->alive[replica->node])
            return world_step(world, shard->id,
                              (struct shard_step){.kind = STEP_ADD, .replica = replica->uuid}) ==
                   OMEN_OK;
        if (replica->role == MAP_REPLICA_IN_SYNC && !world->alive[replica->node] &&
            world_step(world, shard->id,
                       (struct shard_step){.kind = STEP_REMOVE, .replica = replica->uuid}) ==
                OMEN_OK)
            return true;
    }
    if (!uuid_is_none(shard->wanted))
        return world_step(world, shard->id,
                          (struct shard_step){.kind = STEP_TRANSFER, .replica = shard->wanted}) ==
               OMEN_OK;
    return false;
}

// Whether both children have a copy beside each of the parent's: then the primary cuts.
static inline bool
world_cut(struct world *world, const struct map_shard *shard)
{
    const struct map_shard *children[2];
    if (shard->status != SHARD_SPLITTING || !world_primary_works(world, shard))
        return false;
    for (uint32_t i = 0; i < 2; i++) {
        children[i] = map_shard(&world->map, shard->children[i]);
        for (uint32_t r = 0; r < shard->replica_count; r++) {
            const struct map_replica *there =
                shard_replica_on(children[i], shard->replicas[r].node);
            if (shard->replicas[r].role == MAP_REPLICA_IN_SYNC &&
                (there == NULL || there->role != MAP_REPLICA_IN_SYNC))
                return false;
        }
    }
    return world_step(world, shard->id,
                      (struct shard_step){.kind = STEP_CUT,
                                          .value = 1000,
                                          .child_cfg_ver = {children[0]->cfg_ver,
                                                            children[1]->cfg_ver}}) == OMEN_OK;
}

// Every node does one thing for every shard. Whether anything happened.
static inline bool
world_obey(struct world *world)
{
    bool happened = false;
    for (uint32_t i = 0; i < world->map.shard_count; i++) {
        const uint32_t before = world->map.shard_count;
        happened |= world_obey_one(world, &world->map.shards[i]);
        happened |= world_cut(world, &world->map.shards[i]);
        ck_assert_uint_eq(before, world->map.shard_count);
    }
    return happened;
}

// Copies of a shard that are in sync on living nodes.
static inline uint32_t
world_safe(const struct world *world, const struct map_shard *shard)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < shard->replica_count; i++)
        count +=
            shard->replicas[i].role == MAP_REPLICA_IN_SYNC && world->alive[shard->replicas[i].node];
    return count;
}

// What the rebalancer promises about its own command: no shard has fewer safe copies than its replication because of it. A
// promotion puts the old primary out of sync, whose process is gone.
static inline void
world_expect_safe(const struct world *world, const struct command *command)
{
    for (uint32_t i = 0; i < command->steps.count; i++) {
        const struct shard_step *step = &command->steps.steps[i];
        const struct map_shard *shard = map_shard(&world->map, step->shard);
        if (step->kind != STEP_DROP || shard == NULL || shard->term == 0)
            continue;
        const struct map_replica *replica = shard_replica_on(shard, step->node);
        const bool counts =
            replica != NULL && replica->role == MAP_REPLICA_IN_SYNC && world->alive[step->node];
        const uint32_t replication = map_collection(&world->map, shard->collection)->replication;
        ck_assert_msg(!counts || world_safe(world, shard) > replication,
                      "shard %llu drops a copy that it needs", (unsigned long long)shard->id);
    }
}

// One look of the rebalancer; its command is applied. Whether there was one.
static inline bool
world_rebalance(struct world *world, const uint32_t *units)
{
    struct node_health health[WORLD_NODES_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < world->map.node_count; i++) {
        const uint32_t node = world->map.nodes[i].number;
        health[count++] = (struct node_health){.node = node,
                                               .alive = world->alive[node],
                                               .lease_void = world->lease_void[node],
                                               .leaving = world->leaving[node],
                                               .disk_low = world->disk_low[node]};
    }
    static uint32_t widths[MAP_SHARDS_MAX];
    for (uint32_t i = 0; i < world->map.shard_count && world->by_width; i++)
        widths[i] = (uint32_t)((world->map.shards[i].last - world->map.shards[i].first) >> 56) + 1;
    if (world->by_width)
        units = widths;
    const struct rebalance_input input = {.now_ns = world->now_ns,
                                          .map = &world->map,
                                          .health = health,
                                          .health_count = count,
                                          .units = units};
    rebalance_step(&world->rebalance, &input, &world->output);
    rebalance_check(&world->rebalance);
    ck_assert_uint_gt(world->output.wake_ns, world->now_ns);
    if (world->output.command.kind == 0)
        return false;
    world_expect_safe(world, &world->output.command);
    const struct command_result result = world_apply(world, &world->output.command);
    ck_assert_msg(result.refused == 0, "%u steps of %u refused: status %d", result.refused,
                  world->output.command.steps.count, result.status);
    for (uint32_t i = 0; i < world->output.command.steps.count; i++)
        world->steps[world->output.command.steps.steps[i].kind]++;
    return true;
}

// Until nobody has anything to do; answers the number of rounds, `most` when it did not come to that.
static inline uint32_t
world_settle(struct world *world, uint32_t most)
{
    for (uint32_t round = 0; round < most; round++) {
        bool happened = world_rebalance(world, NULL);
        happened |= world_obey(world);
        world->now_ns += 1000000000ull;
        if (!happened)
            return round;
    }
    return most;
}

#endif
