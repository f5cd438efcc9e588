// tests/unit/cluster/test_check.c -- each invariant of the map is missed when it does not hold.
//
// Shape: shell.
#include "cluster/session_int.h"
#include "tests/lib/check_main.h"
#include "tests/lib/cluster_world.h"

static struct world world;

// A map with a row of everything: shard 0 open with two copies, 1 and 2 the children of 3, which is splitting.
static void
begin(void)
{
    world_init(&world, 1);
    world_node(&world, "a", 1);
    world_node(&world, "a", 1);
    world_collection(&world, "one", 1, 2);
    world_collection(&world, "two", 1, 1);
    world_settle(&world, 50);
    world_step(&world, world.map.shards[1].id,
               (struct shard_step){.kind = STEP_SPLIT, .value = 1ull << 60});
    for (uint32_t i = 0; i < 2; i++) {
        struct command command = command_of(COMMAND_ALIASES);
        command.op = (struct cluster_uuid){0, 1 + i};
        command.aliases.count = 1;
        command.aliases.changes[0] =
            (struct alias_change){name_of(i ? "b" : "a"), world.map.collections[i].id, 0};
        ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
        command = command_of(COMMAND_JOB_CREATE);
        command.job.kind = JOB_BUILD;
        command.job.shard = world.map.shards[i].id;
        ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
        command = command_of(COMMAND_KEY_PUT);
        command.key.name = name_of(i ? "b" : "a");
        command.key.glob = name_of("x");
        command.key.role = KEY_READ;
        ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
        command = command_of(COMMAND_SETTING_PUT);
        command.setting.name = name_of(i ? "b" : "a");
        ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    }
    world_step(
        &world, world.map.shards[0].id,
        (struct shard_step){.kind = STEP_PREFER, .replica = world.map.shards[0].replicas[1].uuid});
    map_check(&world.map);
    ck_assert_uint_eq(world.map.shard_count, 4);
    ck_assert_uint_eq(world.map.shards[1].status, SHARD_SPLITTING);
}

#define DAMAGES(X)                                                                                 \
    X(map->version = 1ull << 62, "the map's version is too large")                                 \
    X(map->next_id = 0, "the next id is out of range")                                             \
    X(map->next_node = 0, "the next node's number is 0")                                           \
    X(map->clock_ms = 1ull << 48, "the clock is too late")                                         \
    X(map->leases.profile = 9, "no such lease profile")                                            \
    X(map->leases.previous = 0, "no such lease profile")                                           \
    X(map->leases.version = map->version + 1, "no such lease profile")                             \
    X(map->nodes[1].number = 1, "nodes are out of order")                                          \
    X(map->nodes[1].number = 99, "nodes are out of order")                                         \
    X(map->nodes[1].uuid = map->nodes[0].uuid, "two nodes have one uuid")                          \
    X(map->nodes[0].state = 0, "no such node state")                                               \
    X(map->nodes[0].weight = 0, "a node's facts are out of range")                                 \
    X(map->nodes[0].roles = 0, "a node's facts are out of range")                                  \
    X(map->nodes[0].zone.count = 0, "a node's facts are out of range")                             \
    X(map->nodes[0].version = map->version + 1, "a node is newer than the map")                    \
    X(map->features = 8, "a node lacks a feature that is in use")                                  \
    X(map->collections[1].id = map->collections[0].id, "collections are out of order")             \
    X(map->collections[1].id = map->next_id, "collections are out of order")                       \
    X(map->collections[1].name = map->collections[0].name, "two collections have one name")        \
    X(map->collections[0].dimension = 0, "a collection's facts are out of range")                  \
    X(map->collections[0].min_insync = 3, "a collection's facts are out of range")                 \
    X(map->collections[0].version = map->version + 1, "a collection is newer than the map")        \
    X(map->collections[0].id_kind = MAP_IDS_OPEN, "no such kind of ids")                           \
    X(map->features = MAP_FEATURE_ID_KINDS;                                                        \
      map->collections[0].id_kind = MAP_IDS_TEXT + 1, "no such kind of ids")                       \
    X(map->collections[0].quotas[QUOTA_MEMORY] = 1, "a collection has a quota before its time")    \
    X(map->collections[0].quotas[QUOTA_DISK] = 1, "a collection has a quota before its time")      \
    X(map->aliases[0].name = map->aliases[1].name, "aliases are out of order")                     \
    X(map->aliases[0].collection = 99, "an alias names no collection")                             \
    X(map->aliases[1].name = map->collections[0].name, "an alias hides a collection")              \
    X(map->aliases[0].version = map->version + 1, "an alias is newer than the map")                \
    X(map->shards[1].id = map->shards[0].id, "shards are out of order")                            \
    X(map->next_id = map->shards[3].id, "shards are out of order")                                 \
    X(map->shards[0].status = 6, "a shard's facts are out of range")                               \
    X(map->shards[0].version = map->version + 1, "a shard is newer than the map")                  \
    X(map->shards[0].cfg_ver = 0, "a shard is newer than the map")                                 \
    X(map->shards[0].collection = 99, "a shard has no collection")                                 \
    X(map->shards[0].min_insync = 2, "a shard has another min_insync")                             \
    X(map->shards[0].last = 0; map->shards[0].first = 1, "a shard's range is empty")               \
    X(map->shards[0].replicas[0].role = 0, "no such role of a replica")                            \
    X(map->shards[0].replicas[0].leaving = 2, "no such role of a replica")                         \
    X(map->shards[0].replicas[0].role = MAP_REPLICA_PENDING,                                       \
      "a replica without a name is not pending, or one with a name is")                            \
    X(map->shards[0].replicas[0].node = 77, "a replica is on a node that is gone")                 \
    X(map->nodes[0].state = NODE_GONE, "a replica is on a node that is gone")                      \
    X(map->shards[0].replicas[1].node = map->shards[0].replicas[0].node,                           \
      "two replicas are on one node")                                                              \
    X(map->shards[0].replicas[1].uuid = map->shards[0].replicas[0].uuid,                           \
      "two replicas have one name")                                                                \
    X(map->shards[0].barred[0] = map->shards[0].replicas[1].uuid;                                  \
      map->shards[0].barred_count = 1, "a barred replica is a member")                             \
    X(map->shards[0].term = 0, "a shard has a term before it opens, or none after")                \
    X(map->shards[2].term = 1, "a shard has a term before it opens, or none after")                \
    X(map->shards[0].primary.low++, "the primary is not in sync")                                  \
    X(map->shards[2].primary.low++, "the primary is not in sync")                                  \
    X(map->shards[1].replicas[0].role = MAP_REPLICA_LEARNER;                                       \
      map->shards[1].primary.low = 0, "no copy of a shard is in sync")                             \
    X(map->shards[0].wanted = map->shards[0].primary, "the wanted primary is not in sync")         \
    X(map->shards[0].wanted.low = 9, "the wanted primary is not in sync")                          \
    X(map->shards[1].children[0] = 1, "a splitting shard has lost a child")                        \
    X(map->shards[2].last++, "two children do not make up their parent")                           \
    X(map->shards[0].children[0] = 1, "a childless shard has children")                            \
    X(map->shards[2].children[1] = 1, "a childless shard has children")                            \
    X(map->shards[2].collection = map->shards[0].collection,                                       \
      "a child is of another collection than its parent")                                          \
    X(map->shards[3].collection = map->shards[0].collection,                                       \
      "a child is of another collection than its parent")                                          \
    X(map->shards[0].last--, "a hash has no shard")                                                \
    X(map->shards[0].collection = map->shards[1].collection, "a hash has no shard")                \
    X(map->shards[2].status = SHARD_RETIRED, "a splitting shard has lost a child")                 \
    X(map->jobs[1].id = map->jobs[0].id, "jobs are out of order")                                  \
    X(map->jobs[0].kind = 0, "a job's facts are out of range")                                     \
    X(map->jobs[0].shard = 99, "a job has no shard")                                               \
    X(map->keys[0].name = map->keys[1].name, "keys are out of order")                              \
    X(map->keys[0].role = 0, "a key's facts are out of range")                                     \
    X(map->settings[0].name = map->settings[1].name, "settings are out of order")                  \
    X(map->settings[0].version = map->version + 1, "a setting is newer than the map")              \
    X(map->sessions[0].op.low = 0, "sessions are out of order")                                    \
    X(map->sessions[0].applied_ms = 1, "sessions are out of order")                                \
    X(map->next_id = 1ull << 62, "the next id is out of range")                                    \
    X(map->node_count = MAP_NODES_MAX + 1, "too many rows")                                        \
    X(map->collection_count = MAP_COLLECTIONS_MAX + 1, "too many rows")                            \
    X(map->alias_count = MAP_ALIASES_MAX + 1, "too many rows")                                     \
    X(map->shard_count = MAP_SHARDS_MAX + 1, "too many rows")                                      \
    X(map->job_count = MAP_JOBS_MAX + 1, "too many rows")                                          \
    X(map->key_count = MAP_KEYS_MAX + 1, "too many rows")                                          \
    X(map->setting_count = MAP_SETTINGS_MAX + 1, "too many rows")                                  \
    X(map->session_count = SESSIONS_MAX + 1, "too many rows")                                      \
    X(map->leases.profile = 0, "no such lease profile")                                            \
    X(map->leases.previous = 9, "no such lease profile")                                           \
    X(map->nodes[0].number = 0, "nodes are out of order")                                          \
    X(map->nodes[0].uuid = (struct cluster_uuid){0}, "two nodes have one uuid")                    \
    X(map->nodes[0].state = 5, "no such node state")                                               \
    X(map->nodes[0].weight = MAP_WEIGHT_MAX + 1, "a node's facts are out of range")                \
    X(map->nodes[0].roles = 8, "a node's facts are out of range")                                  \
    X(map->collections[0].name.count = 0, "two collections have one name")                         \
    X(map->collections[0].dimension = MAP_DIMENSION_MAX + 1,                                       \
      "a collection's facts are out of range")                                                     \
    X(map->collections[0].replication = 0, "a collection's facts are out of range")                \
    X(map->collections[0].replication = 8, "a collection's facts are out of range")                \
    X(map->collections[0].min_insync = 0, "a collection's facts are out of range")                 \
    X(map->aliases[0].name.count = 0, "aliases are out of order")                                  \
    X(map->shards[0].status = 0, "a shard's facts are out of range")                               \
    X(map->shards[0].replica_count = SHARD_REPLICAS_MAX + 1, "a shard's facts are out of range")   \
    X(map->shards[0].barred_count = SHARD_BARRED_MAX + 1, "a shard's facts are out of range")      \
    X(map->shards[0].term = 1ull << 62, "a shard is newer than the map")                           \
    X(map->shards[0].cfg_ver = 1ull << 62, "a shard is newer than the map")                        \
    X(map->shards[0].replicas[0].role = 4, "no such role of a replica")                            \
    X(map->shards[0].replicas[0].uuid.low = 0,                                                     \
      "a replica without a name is not pending, or one with a name is")                            \
    X(map->shards[1].wanted = map->shards[1].replicas[0].uuid;                                     \
      map->shards[1].primary.low = 0, "the wanted primary is not in sync")                         \
    X(map->shards[1].children[1] = 999, "a splitting shard has lost a child")                      \
    X(map->shards[2].status = SHARD_CREATING, "a splitting shard has lost a child")                \
    X(map->shards[3].status = SHARD_CREATING, "a splitting shard has lost a child")                \
    X(map->shards[2].parent = 99, "a splitting shard has lost a child")                            \
    X(map->shards[3].parent = 99, "a splitting shard has lost a child")                            \
    X(map->shards[2].first = 1, "two children do not make up their parent")                        \
    X(map->shards[3].last--, "two children do not make up their parent")                           \
    X(map->shards[1].status = SHARD_OPEN; map->shards[1].children[0] = 0;                          \
      map->shards[1].children[1] = 0, "a child has no parent")                                     \
    X(map->shards[1].status = SHARD_RETIRED, "a child has no parent")                              \
    X(map->shards[0].children[1] = 1, "a childless shard has children")                            \
    X(map->jobs[1].id = map->next_id, "jobs are out of order")                                     \
    X(map->jobs[0].kind = 9, "a job's facts are out of range")                                     \
    X(map->jobs[0].state = 0, "a job's facts are out of range")                                    \
    X(map->jobs[0].state = JOB_CANCELLED, "a job was cancelled before its time")                   \
    X(map->jobs[0].state = 9, "a job's facts are out of range")                                    \
    X(map->jobs[0].progress = 1001, "a job's facts are out of range")                              \
    X(map->jobs[0].version = map->version + 1, "a job's facts are out of range")                   \
    X(map->jobs[0].lease_until_ms = UINT64_MAX, "a job's facts are out of range")                  \
    X(map->keys[0].name.count = 0, "keys are out of order")                                        \
    X(map->keys[0].role = 9, "a key's facts are out of range")                                     \
    X(map->keys[0].rate = 1, "a key has a rate before its time")                                   \
    X(map->keys[0].version = map->version + 1, "a key's facts are out of range")                   \
    X(map->settings[0].name.count = 0, "settings are out of order")                                \
    X(map->sessions[1].applied_ms = 0; map->clock_ms = 5;                                          \
      map->sessions[0].applied_ms = 5, "sessions are out of order")                                \
    X(map->shards[3].status = SHARD_OPEN; map->shards[3].term = 1;                                 \
      map->shards[3].replicas[0] = map->shards[1].replicas[0]; map->shards[3].replica_count = 1;   \
      map->shards[1].status = SHARD_RETIRED; map->shards[2] = map->shards[3]; map->shards[2].id--; \
      map->shards[2].first = 0, "a hash has two shards")

#define COUNT(damage, sentence) +1
enum { DAMAGES_COUNT = 0 DAMAGES(COUNT) };

static const char *
damage_map(struct map *map, int which)
{
    int at = 0;
#define DAMAGE(damage, sentence)                                                                   \
    if (at++ == which) {                                                                           \
        damage;                                                                                    \
        return sentence;                                                                           \
    }
    DAMAGES(DAMAGE)
    return NULL;
}

START_TEST(every_damage_is_named)
{
    const char *what;
    begin();
    const char *sentence = damage_map(&world.map, _i);
    ck_assert_int_eq(map_verify(&world.map, &what), OMEN_E_CORRUPT);
    ck_assert_str_eq(what, sentence);
    world_fini(&world);
}
END_TEST

START_TEST(a_check_of_a_damaged_map_stops_the_program)
{
    begin();
    world.map.shards[0].cfg_ver = 0;
    map_check(&world.map);
}
END_TEST

static Suite *
cluster_check_suite(void)
{
    Suite *suite = suite_create("cluster/check");
    TCase *tcase = tcase_create("check");
    tcase_add_loop_test(tcase, every_damage_is_named, 0, DAMAGES_COUNT);
    tcase_add_test_raise_signal(tcase, a_check_of_a_damaged_map_stops_the_program, SIGABRT);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(cluster_check_suite)
