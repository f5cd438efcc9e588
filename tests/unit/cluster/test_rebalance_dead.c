// tests/unit/cluster/test_rebalance_dead.c -- nodes that die: who is promoted, what is replaced and when, and what is taken back.
//
// Shape: shell.
#include "tests/lib/rebalance_world.h"

START_TEST(one_entry_promotes_all_shards_of_a_dead_node)
{
    begin(4, 1, 100, 3);
    const uint32_t primaries = tally_of(1).primaries;
    kill_node(1);
    ck_assert(world_rebalance(&world, NULL));
    ck_assert_uint_eq(world.output.notes[REBALANCE_PROMOTED], primaries);
    ck_assert_uint_eq(tally_of(1).primaries, 0);
    for (uint32_t i = 0; i < world.map.shard_count; i++)
        ck_assert(world_primary_works(&world, &world.map.shards[i]));
    world_fini(&world);
}
END_TEST

START_TEST(a_node_that_gossip_holds_for_dead_keeps_its_shards_until_its_lease_is_void)
{
    begin(3, 1, 10, 3);
    world.alive[1] = false;
    const uint32_t primaries = tally_of(1).primaries;
    ck_assert_uint_gt(primaries, 0);
    world_rebalance(&world, NULL);
    ck_assert_uint_eq(tally_of(1).primaries, primaries);
    world.lease_void[1] = true;
    world_rebalance(&world, NULL);
    ck_assert_uint_eq(tally_of(1).primaries, 0);
    world_fini(&world);
}
END_TEST

START_TEST(a_restarted_primary_gets_a_new_term)
{
    begin(1, 1, 3, 1);
    struct command command = command_of(COMMAND_NODE_REGISTER);
    const struct map_node *node = map_node(&world.map, 1);
    command.node = (struct command_node){.uuid = node->uuid,
                                         .boot = 2,
                                         .features = 7,
                                         .weight = 100,
                                         .roles = NODE_DATA,
                                         .zone = node->zone};
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    settle();
    for (uint32_t i = 0; i < world.map.shard_count; i++)
        ck_assert_uint_eq(world.map.shards[i].term, 2);
    world_fini(&world);
}
END_TEST

START_TEST(the_copy_that_is_known_to_have_the_most_is_promoted)
{
    begin(3, 1, 1, 3);
    const struct map_shard *shard = &world.map.shards[0];
    const uint32_t old = shard_replica(shard, shard->primary)->node;
    const uint32_t other = old == 3 ? 2 : 3;
    struct node_health health[3];
    for (uint32_t i = 0; i < 3; i++)
        health[i] =
            (struct node_health){.node = i + 1, .alive = i + 1 != old, .lease_void = i + 1 == old};
    for (uint64_t term = 1; term <= 2; term++) {
        const struct replica_seen seen[] = {
            {shard->id, world_replica(&world, shard->id, other), term, term == 1 ? 100 : 1},
            {shard->id, world_replica(&world, shard->id, 6 - old - other), 1, 99}};
        struct rebalance_input input = {.now_ns = world.now_ns,
                                        .map = &world.map,
                                        .health = health,
                                        .health_count = 3,
                                        .seen = seen,
                                        .seen_count = 2};
        rebalance_init(&world.rebalance, &world.rebalance.config, 1);
        rebalance_step(&world.rebalance, &input, &world.output);
        ck_assert_uint_eq(world.output.command.steps.count, 1);
        ck_assert(uuid_equal(world.output.command.steps.steps[0].replica,
                             world_replica(&world, shard->id, other)));
    }
    world_fini(&world);
}
END_TEST

START_TEST(a_shard_without_anyone_to_promote_is_an_orphan_until_somebody_returns)
{
    begin(2, 1, 4, 2);
    kill_node(1);
    kill_node(2);
    world_rebalance(&world, NULL);
    ck_assert_uint_eq(world.output.notes[REBALANCE_ORPHANED], 4);
    world.alive[2] = true;
    world.lease_void[2] = false;
    settle();
    ck_assert_uint_eq(tally_of(2).primaries, 4);
    world_fini(&world);
}
END_TEST

START_TEST(copies_of_a_dead_node_are_replaced_after_the_delay_and_not_before)
{
    begin(4, 1, 40, 2);
    const uint64_t assigned = world.steps[STEP_ASSIGN];
    kill_node(1);
    for (uint32_t second = 0; second < 59; second++) {
        world_rebalance(&world, NULL);
        while (world_obey(&world))
            continue;
        world.now_ns += 1000000000ull;
    }
    ck_assert_uint_eq(world.steps[STEP_ASSIGN], assigned);
    world.now_ns += 2000000000ull;
    settle();
    ck_assert_uint_eq(tally_of(1).copies, 0);
    ck_assert_uint_gt(world.steps[STEP_ASSIGN], assigned);
    world_fini(&world);
}
END_TEST

START_TEST(copies_of_a_dead_node_are_replaced_in_its_zone_and_nothing_else_moves)
{
    begin(9, 3, 60, 3);
    kill_node(1);
    settle();
    world.now_ns += 61000000000ull;
    const uint64_t assigned = world.steps[STEP_ASSIGN];
    const uint32_t copies = tally_of(1).copies;
    settle();
    ck_assert_uint_eq(tally_of(1).copies, 0);
    ck_assert_uint_eq(tally_of(4).copies + tally_of(7).copies, 60); // of zone a
    ck_assert_uint_eq(world.steps[STEP_ASSIGN] - assigned, copies);
    ck_assert_uint_eq(world.steps[STEP_MOVE], 0);
    world_fini(&world);
}
END_TEST

// The fewest moves after which any two of `count` nodes differ by one copy at most.

START_TEST(a_node_that_returns_in_time_moves_nothing)
{
    begin(4, 1, 40, 2);
    const uint64_t assigned = world.steps[STEP_ASSIGN];
    kill_node(1);
    for (uint32_t i = 0; i < 20; i++) {
        world_rebalance(&world, NULL);
        world_obey(&world);
        world.now_ns += 1000000000ull;
    }
    world.alive[1] = true;
    world.lease_void[1] = false;
    settle();
    expect_whole();
    ck_assert_uint_eq(world.steps[STEP_ASSIGN], assigned);
    ck_assert_uint_eq(world.steps[STEP_MOVE], 0);
    expect_level((struct tally){1, 2});
    world_fini(&world);
}
END_TEST

START_TEST(a_move_whose_target_dies_is_taken_back)
{
    begin(2, 1, 10, 1);
    const uint32_t node = world_node(&world, "za", 100);
    ck_assert(world_rebalance(&world, NULL)); // moves are planned
    ck_assert_uint_gt(world.output.notes[REBALANCE_MOVED], 0);
    world.alive[node] = false;
    world.now_ns += 1;
    world_rebalance(&world, NULL);
    world.now_ns += 61000000000ull;
    settle();
    expect_whole();
    ck_assert_uint_gt(world.steps[STEP_KEEP], 0);
    world_fini(&world);
}
END_TEST

START_TEST(no_more_shards_than_allowed_have_a_copy_on_its_way)
{
    begin(4, 1, 60, 2);
    world_node(&world, "za", 100);
    world_node(&world, "za", 100);
    bool busy = true;
    for (uint32_t round = 0; busy && round < ROUNDS; round++) {
        busy = world_rebalance(&world, NULL);
        uint32_t moving = 0;
        for (uint32_t i = 0; i < world.map.shard_count; i++)
            moving += shard_in_sync(&world.map.shards[i]) < world.map.shards[i].replica_count;
        ck_assert_uint_le(moving, world.rebalance.config.moves_max);
        busy |= world_obey(&world);
        world.now_ns += 1000000000ull;
    }
    ck_assert(!busy);
    expect_level((struct tally){1, 2});
    world_fini(&world);
}
END_TEST

START_TEST(a_node_that_dies_before_it_made_a_new_copy_is_replaced_at_once)
{
    world_init(&world, 1);
    for (uint32_t i = 0; i < 3; i++)
        world_node(&world, "a", 100);
    world_collection(&world, "docs", 1, 2);
    ck_assert(world_rebalance(&world, NULL));
    world.alive[world.map.shards[0].replicas[0].node] = false;
    settle();
    expect_whole();
    world_fini(&world);
}
END_TEST

START_TEST(a_new_copy_waits_for_its_node_where_there_is_no_other)
{
    world_init(&world, 1);
    world_node(&world, "a", 100);
    world_node(&world, "a", 100);
    world_collection(&world, "docs", 1, 2);
    ck_assert(world_rebalance(&world, NULL));
    world.alive[2] = false;
    settle();
    ck_assert_uint_eq(world.map.shards[0].status, SHARD_CREATING);
    char line[200];
    rebalance_describe(&world.rebalance, line, sizeof line);
    ck_assert_str_eq(line, "rebalance moving=0 transferring=0 splitting=0 dead=2");
    world.alive[2] = true;
    settle();
    expect_whole();
    world_fini(&world);
}
END_TEST

START_TEST(a_child_loses_the_copy_whose_source_is_gone)
{
    begin(4, 1, 1, 2);
    const uint64_t parent = world.map.shards[0].id;
    world_step(&world, parent, (struct shard_step){.kind = STEP_SPLIT, .value = 1ull << 62});
    ck_assert(world_rebalance(&world, NULL)); // copies of the children
    ck_assert_uint_eq(world.output.notes[REBALANCE_ASSIGNED], 4);
    const struct map_shard *shard = map_shard(&world.map, parent);
    const struct map_replica *second =
        &shard->replicas[uuid_equal(shard->replicas[0].uuid, shard->primary)];
    world_step(&world, parent, (struct shard_step){.kind = STEP_REMOVE, .replica = second->uuid});
    ck_assert(world_rebalance(&world, NULL));
    ck_assert_uint_eq(world.output.notes[REBALANCE_DROPPED], 2);
    settle();
    expect_whole();
    ck_assert_uint_eq(world.map.shard_count, 2);
    world_fini(&world);
}
END_TEST

START_TEST(a_wish_for_a_primary_that_died_or_is_about_to_end_is_taken_back)
{
    begin(3, 1, 1, 3);
    const struct map_shard *shard = &world.map.shards[0];
    const struct map_replica *other =
        &shard->replicas[uuid_equal(shard->replicas[0].uuid, shard->primary)];
    const uint32_t node = other->node;
    world_step(&world, shard->id, (struct shard_step){.kind = STEP_PREFER, .replica = other->uuid});
    world.alive[node] = _i == 0;
    world.leaving[node] = _i == 0;
    ck_assert(world_rebalance(&world, NULL));
    ck_assert(uuid_is_none(shard->wanted));
    world_fini(&world);
}
END_TEST

static Suite *
cluster_rebalance_dead_suite(void)
{
    Suite *suite = suite_create("cluster/rebalance_dead");
    TCase *tcase = tcase_create("rebalance_dead");
    tcase_add_test(tcase, one_entry_promotes_all_shards_of_a_dead_node);
    tcase_add_test(tcase,
                   a_node_that_gossip_holds_for_dead_keeps_its_shards_until_its_lease_is_void);
    tcase_add_test(tcase, a_restarted_primary_gets_a_new_term);
    tcase_add_test(tcase, the_copy_that_is_known_to_have_the_most_is_promoted);
    tcase_add_test(tcase, a_shard_without_anyone_to_promote_is_an_orphan_until_somebody_returns);
    tcase_add_test(tcase, copies_of_a_dead_node_are_replaced_after_the_delay_and_not_before);
    tcase_add_test(tcase, copies_of_a_dead_node_are_replaced_in_its_zone_and_nothing_else_moves);
    tcase_add_test(tcase, a_node_that_returns_in_time_moves_nothing);
    tcase_add_test(tcase, a_move_whose_target_dies_is_taken_back);
    tcase_add_test(tcase, no_more_shards_than_allowed_have_a_copy_on_its_way);
    tcase_add_test(tcase, a_node_that_dies_before_it_made_a_new_copy_is_replaced_at_once);
    tcase_add_test(tcase, a_new_copy_waits_for_its_node_where_there_is_no_other);
    tcase_add_test(tcase, a_child_loses_the_copy_whose_source_is_gone);
    tcase_add_loop_test(tcase, a_wish_for_a_primary_that_died_or_is_about_to_end_is_taken_back, 0,
                        2);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(cluster_rebalance_dead_suite)
