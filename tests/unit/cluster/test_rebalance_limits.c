// tests/unit/cluster/test_rebalance_limits.c -- the rebalancer at its limits: full commands, nobody to choose, facts that are missing.
//
// Shape: shell. tests/unit/cluster/test_rebalance.c has what it is for.
#include "cluster/rebalance.h"

#include "tests/lib/check_main.h"
#include "tests/lib/cluster_world.h"

enum { ROUNDS = 3000, MANY = 300 };

static struct world world;

static void
settle(void)
{
    ck_assert_uint_lt(world_settle(&world, ROUNDS), ROUNDS);
}

static void
begin(uint32_t nodes, uint32_t shards, uint8_t replication)
{
    world_init(&world, 1);
    for (uint32_t i = 0; i < nodes; i++)
        world_node(&world, "za", 100);
    world_collection(&world, "docs", shards, replication);
    settle();
}

static uint32_t
count_of(enum shard_status status)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < world.map.shard_count; i++)
        count += world.map.shards[i].status == status;
    return count;
}

static void
expect_open(uint32_t shards, uint32_t copies)
{
    ck_assert_uint_eq(world.map.shard_count, shards);
    for (uint32_t i = 0; i < world.map.shard_count; i++) {
        ck_assert_uint_eq(world.map.shards[i].status, SHARD_OPEN);
        ck_assert_uint_eq(world_safe(&world, &world.map.shards[i]), copies);
        ck_assert_uint_eq(world.map.shards[i].replica_count, copies);
    }
}

START_TEST(more_splits_than_a_command_holds_go_into_the_next)
{
    begin(2, MANY, 1);
    static uint32_t units[MANY * 3];
    for (uint32_t i = 0; i < MANY * 3; i++)
        units[i] = i < MANY ? 100 : 1;
    world.rebalance.config.split_units = 100;
    world.rebalance.config.splits_max = MANY;
    ck_assert(world_rebalance(&world, units));
    ck_assert_uint_eq(count_of(SHARD_SPLITTING), COMMAND_STEPS_MAX);
    ck_assert(world_rebalance(&world, units));
    ck_assert_uint_eq(count_of(SHARD_SPLITTING), MANY);
    while (world_rebalance(&world, NULL)) // places for 600 children
        continue;
    while (world_obey(&world))
        continue;
    ck_assert_uint_eq(count_of(SHARD_RETIRED), MANY);
    ck_assert(world_rebalance(&world, NULL));
    ck_assert_uint_eq(world.output.notes[REBALANCE_PURGED], COMMAND_STEPS_MAX);
    settle();
    expect_open(2 * MANY, 1);
    world_fini(&world);
}
END_TEST

START_TEST(more_splits_than_a_command_holds_are_given_up_by_several)
{
    begin(1, MANY, 1);
    for (uint32_t i = 0; i < MANY; i++)
        world_step(&world, world.map.shards[i].id,
                   (struct shard_step){.kind = STEP_SPLIT, .value = world.map.shards[i].last});
    world_node_state(&world, 1, NODE_DRAINING);
    ck_assert(world_rebalance(&world, NULL));
    ck_assert_uint_eq(world.output.notes[REBALANCE_ABORTED], COMMAND_STEPS_MAX);
    ck_assert(world_rebalance(&world, NULL));
    expect_open(MANY, 1); // and waits for another node
    world_fini(&world);
}
END_TEST

START_TEST(no_more_shards_are_split_at_once_than_allowed)
{
    begin(2, 8, 1);
    static const uint32_t units[] = {100, 100, 100, 100, 100, 100, 100, 100};
    world.rebalance.config.split_units = 100;
    world.rebalance.config.splits_max = 3;
    ck_assert(world_rebalance(&world, units));
    ck_assert_uint_eq(count_of(SHARD_SPLITTING), 3);
    world_fini(&world);
}
END_TEST

START_TEST(a_shard_of_one_hash_is_as_small_as_it_gets)
{
    begin(1, 1, 1);
    const uint64_t parent = world.map.shards[0].id;
    ck_assert_int_eq(
        world_step(&world, parent, (struct shard_step){.kind = STEP_SPLIT, .value = UINT64_MAX}),
        OMEN_OK);
    settle();
    expect_open(2, 1);
    static const uint32_t units[] = {1, 100};
    world.rebalance.config.split_units = 100;
    ck_assert(!world_rebalance(&world, units));
    world_fini(&world);
}
END_TEST

START_TEST(more_drops_than_a_command_holds_go_into_the_next)
{
    begin(2, MANY, 2);
    struct command command = command_of(COMMAND_COLLECTION_ALTER);
    command.alter = alter_of(world.map.collections[0].id, VERSION_ANY, 1, 1);
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    ck_assert(world_rebalance(&world, NULL));
    ck_assert_uint_eq(world.output.notes[REBALANCE_DROPPED], COMMAND_STEPS_MAX);
    settle();
    expect_open(MANY, 1);
    world_fini(&world);
}
END_TEST

// Everything is allowed at once; the command is the limit.
START_TEST(more_moves_and_wishes_than_a_command_holds_go_into_the_next)
{
    begin(2, 2 * MANY, 1);
    world.rebalance.config.moves_max = world.rebalance.config.transfers_max = UINT32_MAX;
    for (uint32_t i = 0; i < 4; i++)
        world_node(&world, "zb", 100);
    ck_assert(world_rebalance(&world, NULL));
    ck_assert_uint_eq(world.output.notes[REBALANCE_MOVED], COMMAND_STEPS_MAX);
    settle();
    expect_open(2 * MANY, 1);
    struct command command = command_of(COMMAND_COLLECTION_ALTER);
    command.alter = alter_of(world.map.collections[0].id, VERSION_ANY, 2, 1);
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    settle();
    expect_open(2 * MANY, 2);
    world_fini(&world);
}
END_TEST

START_TEST(a_node_of_which_nothing_is_known_counts_as_dead)
{
    begin(3, 3, 2);
    const struct node_health health[] = {{.node = 2, .alive = true}};
    const struct rebalance_input input = {
        .now_ns = world.now_ns, .map = &world.map, .health = health, .health_count = 1};
    rebalance_init(&world.rebalance, &world.rebalance.config, 1);
    rebalance_step(&world.rebalance, &input, &world.output);
    rebalance_check(&world.rebalance);
    ck_assert_uint_eq(world.output.notes[REBALANCE_PROMOTED], 0); // but not as without its lease
    char line[200];
    rebalance_describe(&world.rebalance, line, sizeof line);
    ck_assert_str_eq(line, "rebalance moving=0 transferring=0 splitting=0 dead=1,3");
    world_fini(&world);
}
END_TEST

START_TEST(who_lost_its_lease_is_neither_promoted_nor_wished_for)
{
    begin(3, 6, 3);
    for (uint32_t i = 0; i < 6; i++) { // all lead from node 1
        const uint64_t shard = world.map.shards[i].id;
        world_step(
            &world, shard,
            (struct shard_step){.kind = STEP_TRANSFER, .replica = world_replica(&world, shard, 1)});
    }
    world.lease_void[2] = world.lease_void[3] = true; // both live
    ck_assert(!world_rebalance(&world, NULL));        // level would be two each
    world_node_state(&world, 1, NODE_DRAINING);
    world_rebalance(&world, NULL);
    ck_assert_uint_eq(world.output.notes[REBALANCE_PREFERRED], 0);
    world.lease_void[1] = true;
    world.now_ns += 2000000000ull;
    world_rebalance(&world, NULL);
    ck_assert_uint_eq(world.output.notes[REBALANCE_ORPHANED], 6);
    world.lease_void[3] = false;
    world.now_ns += 2000000000ull;
    ck_assert(world_rebalance(&world, NULL));
    for (uint32_t i = 0; i < 6; i++)
        ck_assert(uuid_equal(world.map.shards[i].primary,
                             world_replica(&world, world.map.shards[i].id, 3)));
    world_fini(&world);
}
END_TEST

// What is seen of another shard or another copy says nothing about this one.
START_TEST(a_shard_that_lost_its_primary_gets_another)
{
    begin(3, 2, 3);
    const struct map_shard *shard = &world.map.shards[0];
    const uint32_t old = shard_replica(shard, shard->primary)->node;
    const uint32_t best = old == 3 ? 2 : 3;
    ck_assert_int_eq(world_step(&world, shard->id,
                                (struct shard_step){.kind = STEP_LOST, .replica = shard->primary}),
                     OMEN_OK);
    const struct node_health health[] = {
        {.node = 1, .alive = true}, {.node = 2, .alive = true}, {.node = 3, .alive = true}};
    const struct replica_seen seen[] = {
        {world.map.shards[1].id, world_replica(&world, shard->id, 6 - old - best), 9, 9},
        {shard->id, world_replica(&world, world.map.shards[1].id, 1), 9, 9},
        {shard->id, world_replica(&world, shard->id, best), 1, 5}};
    const struct rebalance_input input = {.now_ns = world.now_ns,
                                          .map = &world.map,
                                          .health = health,
                                          .seen = seen,
                                          .health_count = 3,
                                          .seen_count = 3};
    rebalance_init(&world.rebalance, &world.rebalance.config, 1);
    rebalance_step(&world.rebalance, &input, &world.output);
    ck_assert_uint_eq(world.output.command.steps.count, 1);
    ck_assert_uint_eq(world.output.command.steps.steps[0].kind, STEP_PROMOTE);
    ck_assert(uuid_equal(world.output.command.steps.steps[0].replica,
                         world_replica(&world, shard->id, best)));
    world_fini(&world);
}
END_TEST

START_TEST(an_orphan_is_neither_split_on_nor_led_elsewhere)
{
    begin(2, 1, 2);
    const struct map_shard *shard = &world.map.shards[0];
    world_step(&world, shard->id, (struct shard_step){.kind = STEP_SPLIT, .value = 1ull << 63});
    const uint32_t other =
        shard->replicas[uuid_equal(shard->replicas[0].uuid, shard->primary)].node;
    world.alive[other] = false;
    world.lease_void[other] = true;
    world_step(&world, shard->id,
               (struct shard_step){.kind = STEP_LOST, .replica = shard->primary});
    world_rebalance(&world, NULL);
    ck_assert_uint_eq(world.output.notes[REBALANCE_ORPHANED], 1);
    ck_assert_uint_eq(world.output.notes[REBALANCE_ABORTED], 0);
    ck_assert_uint_eq(shard->status, SHARD_SPLITTING);
    world.alive[other] = true;
    world.lease_void[other] = false;
    settle();
    expect_open(2, 2);
    world_fini(&world);
}
END_TEST

START_TEST(a_shard_with_all_the_members_it_may_have_gets_no_more)
{
    begin(SHARD_REPLICAS_MAX + 1, 1, MAP_REPLICATION_MAX);
    const uint64_t shard = world.map.shards[0].id;
    for (uint32_t node = 1; node <= SHARD_REPLICAS_MAX + 1; node++)
        world_step(&world, shard, (struct shard_step){.kind = STEP_ASSIGN, .node = node});
    ck_assert_uint_eq(map_shard(&world.map, shard)->replica_count, SHARD_REPLICAS_MAX);
    for (uint32_t i = 0; i < SHARD_REPLICAS_MAX; i++) {
        const uint32_t node = map_shard(&world.map, shard)->replicas[i].node;
        world_node_state(&world, node, NODE_DRAINING);
    }
    world_rebalance(&world, NULL);
    for (uint32_t i = 0; i < world.output.command.steps.count; i++)
        ck_assert_uint_ne(world.output.command.steps.steps[i].kind, STEP_ASSIGN);
    settle();
    ck_assert_uint_ge(shard_in_sync(map_shard(&world.map, shard)), MAP_REPLICATION_MAX);
    world_fini(&world);
}
END_TEST

static Suite *
cluster_rebalance_limits_suite(void)
{
    Suite *suite = suite_create("cluster/rebalance_limits");
    TCase *tcase = tcase_create("rebalance_limits");
    tcase_add_test(tcase, more_splits_than_a_command_holds_go_into_the_next);
    tcase_add_test(tcase, more_splits_than_a_command_holds_are_given_up_by_several);
    tcase_add_test(tcase, no_more_shards_are_split_at_once_than_allowed);
    tcase_add_test(tcase, a_shard_of_one_hash_is_as_small_as_it_gets);
    tcase_add_test(tcase, more_drops_than_a_command_holds_go_into_the_next);
    tcase_add_test(tcase, more_moves_and_wishes_than_a_command_holds_go_into_the_next);
    tcase_add_test(tcase, a_node_of_which_nothing_is_known_counts_as_dead);
    tcase_add_test(tcase, who_lost_its_lease_is_neither_promoted_nor_wished_for);
    tcase_add_test(tcase, a_shard_that_lost_its_primary_gets_another);
    tcase_add_test(tcase, an_orphan_is_neither_split_on_nor_led_elsewhere);
    tcase_add_test(tcase, a_shard_with_all_the_members_it_may_have_gets_no_more);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(cluster_rebalance_limits_suite)
