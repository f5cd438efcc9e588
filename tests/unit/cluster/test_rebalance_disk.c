// tests/unit/cluster/test_rebalance_disk.c -- a node whose disk is low keeps what it has, and gets nothing new where another can have it.
//
// Shape: shell.
#include "tests/lib/rebalance_world.h"

static uint32_t
copies_of(uint64_t collection, uint32_t node)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < world.map.shard_count; i++)
        count += world.map.shards[i].collection == collection &&
                 shard_replica_on(&world.map.shards[i], node) != NULL;
    return count;
}

START_TEST(what_is_new_goes_to_disks_with_room_and_what_is_there_stays)
{
    begin(4, 4, 40, 3);
    const struct tally before = tally_of(1);
    world.disk_low[1] = true;
    const uint64_t more = world_collection(&world, "more", 40, 3);
    settle();
    expect_whole();
    ck_assert_uint_eq(copies_of(more, 1), 0);
    ck_assert_uint_eq(tally_of(1).copies, before.copies);
    ck_assert_uint_eq(tally_of(1).primaries, before.primaries); // they lead on
    ck_assert_uint_eq(world.steps[STEP_MOVE], 0);
    world.disk_low[1] = false;
    settle();
    expect_level((struct tally){1, 2});
    world_fini(&world);
}
END_TEST

START_TEST(a_collection_is_made_on_a_low_disk_where_there_is_no_other)
{
    begin(3, 1, 4, 3);
    world.disk_low[1] = world.disk_low[2] = true;
    const uint64_t pair = world_collection(&world, "pair", 8, 2),
                   all = world_collection(&world, "all", 4, 3);
    settle();
    expect_whole();
    ck_assert_uint_eq(copies_of(all, 1), 4);
    ck_assert_uint_eq(copies_of(pair, 3), 8); // each has one where there is room
    world_fini(&world);
}
END_TEST

START_TEST(nothing_is_moved_to_an_empty_node_whose_disk_is_low_until_it_has_room)
{
    begin(3, 1, 30, 2);
    const uint32_t node = world_node(&world, "zb", 100);
    world.disk_low[node] = true;
    settle();
    ck_assert_uint_eq(tally_of(node).copies, 0); // neither for its load nor for its zone
    world.disk_low[node] = false;
    settle();
    ck_assert_uint_gt(tally_of(node).copies, 0);
    expect_whole();
    world_fini(&world);
}
END_TEST

START_TEST(a_copy_that_is_missing_waits_for_a_disk_with_room)
{
    begin(4, 1, 12, 3);
    world.disk_low[4] = true;
    const uint32_t before = tally_of(4).copies, lost = tally_of(1).copies;
    ck_assert_uint_gt(lost + before,
                      12); // so that another node than 4 has not all that are missing
    kill_node(1);
    settle();
    world.now_ns += world.rebalance.config.replace_delay_ns;
    settle();
    ck_assert_uint_eq(tally_of(4).copies, before);
    uint32_t missing = 0;
    for (uint32_t i = 0; i < world.map.shard_count; i++)
        missing += world_safe(&world, &world.map.shards[i]) < 3;
    ck_assert_uint_eq(missing, 12 - before);
    ck_assert_uint_eq(world.output.notes[REBALANCE_HOMELESS], missing);
    world.disk_low[4] = false;
    settle();
    for (uint32_t i = 0; i < world.map.shard_count; i++)
        ck_assert_uint_eq(world_safe(&world, &world.map.shards[i]), 3);
    world_fini(&world);
}
END_TEST

START_TEST(
    who_is_about_to_end_hands_over_to_a_node_with_room_and_to_a_low_one_where_there_is_no_other)
{
    begin(3, 1, 30, 3);
    world.leaving[1] = world.disk_low[2] = true;
    const uint32_t led = tally_of(2).primaries;
    settle();
    ck_assert_uint_eq(tally_of(1).primaries, 0);
    ck_assert_uint_eq(tally_of(2).primaries, led);
    world.disk_low[3] = true;
    world.leaving[1] = false;
    settle();
    ck_assert_uint_gt(tally_of(1).primaries, 0); // it has room: it is given some back
    world.leaving[1] = true;
    settle();
    ck_assert_uint_eq(tally_of(1).primaries, 0);
    ck_assert_uint_eq(tally_of(2).primaries, 15);
    ck_assert_uint_eq(tally_of(3).primaries, 15);
    world_fini(&world);
}
END_TEST

START_TEST(who_has_room_is_promoted_and_a_low_one_where_there_is_no_other)
{
    begin(3, 1, 30, 3);
    world.disk_low[2] = true;
    const uint32_t led = tally_of(2).primaries;
    kill_node(1);
    ck_assert(world_rebalance(&world, NULL));
    ck_assert_uint_eq(tally_of(2).primaries, led);
    ck_assert_uint_eq(tally_of(3).primaries, 30 - led);
    kill_node(3);
    ck_assert(world_rebalance(&world, NULL));
    ck_assert_uint_eq(tally_of(2).primaries, 30);
    world_fini(&world);
}
END_TEST

START_TEST(a_shard_is_not_split_where_a_disk_is_low_and_a_split_that_was_begun_ends)
{
    begin(3, 1, 1, 3);
    world.rebalance.config.split_units = 256;
    world.by_width = true;
    world.disk_low[2] = true;
    settle();
    ck_assert_uint_eq(world.steps[STEP_SPLIT], 0);
    world.disk_low[2] = false;
    ck_assert(world_rebalance(&world, NULL));
    ck_assert_uint_eq(world.map.shards[0].status, SHARD_SPLITTING);
    world.disk_low[2] = true;
    settle();
    ck_assert_uint_eq(world.map.shard_count, 2);
    expect_whole();
    ck_assert_uint_eq(tally_of(2).copies, 2);
    world_fini(&world);
}
END_TEST

static Suite *
cluster_rebalance_disk_suite(void)
{
    Suite *suite = suite_create("cluster/rebalance_disk");
    TCase *tcase = tcase_create("rebalance_disk");
    tcase_add_test(tcase, what_is_new_goes_to_disks_with_room_and_what_is_there_stays);
    tcase_add_test(tcase, a_collection_is_made_on_a_low_disk_where_there_is_no_other);
    tcase_add_test(tcase, nothing_is_moved_to_an_empty_node_whose_disk_is_low_until_it_has_room);
    tcase_add_test(tcase, a_copy_that_is_missing_waits_for_a_disk_with_room);
    tcase_add_test(
        tcase,
        who_is_about_to_end_hands_over_to_a_node_with_room_and_to_a_low_one_where_there_is_no_other);
    tcase_add_test(tcase, who_has_room_is_promoted_and_a_low_one_where_there_is_no_other);
    tcase_add_test(tcase, a_shard_is_not_split_where_a_disk_is_low_and_a_split_that_was_begun_ends);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(cluster_rebalance_disk_suite)
