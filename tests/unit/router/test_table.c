// tests/unit/router/test_table.c -- requests under way follow the map and the failure detector.
//
// Shape: shell.
#include "router/fanout.h"
#include "tests/lib/check_main.h"
#include "tests/lib/router_fixture.h"

// The shard 1 has become 11 and 12, which meet at the middle of the hashes.
static void
give_split(uint64_t version)
{
    struct routes *routes = alone_table(&alone, version);
    struct route low = alone_row(11, 0, UINT64_MAX / 2, 1, 2);
    struct route high = alone_row(12, UINT64_MAX / 2 + 1, UINT64_MAX, 2, 2);
    low.parent = high.parent = 1;
    alone_add(routes, low);
    alone_add(routes, high);
    alone_give(&alone, routes);
}

static void
give_row(uint64_t version, struct route row)
{
    struct routes *routes = alone_table(&alone, version);
    alone_add(routes, row);
    alone_give(&alone, routes);
}

START_TEST(an_older_table_is_ignored)
{
    alone_shards(&alone, 5, 2, 1);
    alone_shards(&alone, 4, 3, 1);
    alone_shards(&alone, 5, 4, 1);
    ck_assert_uint_eq(alone.fanout.counters.old_routes, 2);
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    ck_assert_uint_eq(alone.send_count, 2);
}
END_TEST

START_TEST(a_search_that_was_refused_goes_to_both_children_of_a_split)
{
    alone_shards(&alone, 1, 1, 1);
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    const struct fanout_send first = alone.sends[0];
    alone_reply(&alone, &first,
                (struct fanout_reply){.status = OMEN_E_STALE_MAP, .map_version = 2});
    ck_assert_uint_eq(alone.send_count, 1);
    give_split(2);
    ck_assert_uint_eq(alone.send_count, 3);
    ck_assert_uint_eq(alone.sends[1].shard, 11);
    ck_assert_uint_eq(alone.sends[1].last, UINT64_MAX / 2);
    ck_assert_uint_eq(alone.sends[2].shard, 12);
    ck_assert_uint_eq(alone.sends[2].first, UINT64_MAX / 2 + 1);
    ck_assert_uint_eq(alone.sends[2].map_version, 2);
    alone_says(&alone, 1, OMEN_OK);
    ck_assert_uint_eq(alone.answer_count, 0);
    alone_says(&alone, 2, OMEN_OK);
    ck_assert_int_eq(alone.answers[0].status, OMEN_OK);
    ck_assert_uint_eq(alone.answers[0].part_count, 2);
}
END_TEST

START_TEST(a_refusal_by_yesterdays_table_is_followed_by_todays_at_once)
{
    alone_shards(&alone, 1, 1, 1);
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    alone_shards(&alone, 2, 1, 1); // the same copy: it is waited for
    ck_assert_uint_eq(alone.send_count, 1);
    alone_says(&alone, 0, OMEN_E_STALE_MAP);
    ck_assert_uint_eq(alone.send_count, 2);
    alone_says(&alone, 1, OMEN_E_STALE_MAP);
    ck_assert_uint_eq(alone.send_count, 2); // by today's: after a pause
}
END_TEST

START_TEST(a_write_in_the_air_goes_to_the_children_as_the_same_operation)
{
    alone_shards(&alone, 1, 1, 1);
    alone_items(&alone, FANOUT_WRITE, 4, 1000 * MS);
    give_split(2);
    ck_assert_uint_eq(alone.send_count, 3);
    ck_assert_uint_eq(alone.sends[1].item_first, 0);
    ck_assert_uint_eq(alone.sends[1].item_count, 2);
    ck_assert_uint_eq(alone.sends[2].item_first, 2);
    ck_assert_uint_eq(alone.sends[2].item_count, 2);
    ck_assert_uint_eq(alone.sends[2].op_id.low, alone.sends[0].op_id.low);
    alone_says(&alone, 0, OMEN_OK); // the parent: too late, the children will know it
    ck_assert_uint_eq(alone.answer_count, 0);
    alone_says(&alone, 1, OMEN_OK);
    alone_says(&alone, 2, OMEN_E_DISK_FULL);
    ck_assert_int_eq(alone.items[0].outcome, FANOUT_APPLIED);
    ck_assert_int_eq(alone.items[3].outcome, FANOUT_UNKNOWN); // the parent may have done it
}
END_TEST

START_TEST(items_that_all_lie_in_the_last_piece_move_into_the_place_of_the_whole)
{
    alone_shards(&alone, 1, 1, 1);
    alone_items(&alone, FANOUT_WRITE, 1, 1000 * MS);
    struct routes *routes = alone_table(&alone, 2);
    alone_add(routes, alone_row(11, 0, 1, 1, 1));
    alone_add(routes, alone_row(12, 2, 4, 1, 1));
    alone_add(routes, alone_row(13, 5, 99, 1, 1)); // the item's hash is 5
    alone_give(&alone, routes);
    ck_assert_uint_eq(alone.send_count, 2);
    ck_assert_uint_eq(alone.sends[1].shard, 13);
    ck_assert_uint_eq(alone.fanout.parts_used, 1);
    alone_says(&alone, 1, OMEN_OK);
    ck_assert_int_eq(alone.items[0].outcome, FANOUT_APPLIED);
}
END_TEST

START_TEST(without_room_for_the_pieces_of_a_split_a_part_waits)
{
    struct fanout_config config = alone_config();
    config.parts_max = 1;
    alone_close(&alone);
    alone_open(&alone, &config);
    alone_shards(&alone, 1, 1, 1);
    alone_search(&alone, FANOUT_ANY, false, 100 * MS);
    give_split(2);
    ck_assert_uint_eq(alone.send_count, 1);
    alone_says(&alone, 0, OMEN_E_STALE_MAP);
    alone_wait(&alone, 100 * MS);
    ck_assert_int_eq(alone.answers[0].status, OMEN_E_BUSY);
}
END_TEST

START_TEST(a_new_primary_is_asked_as_soon_as_the_table_names_it)
{
    struct route row = alone_row(1, 0, UINT64_MAX, 1, 2);
    give_row(1, row);
    alone_items(&alone, FANOUT_WRITE, 1, 1000 * MS);
    ck_assert_uint_eq(alone.sends[0].node, 1);
    row.primary = 1;
    row.term = 2;
    give_row(2, row);
    ck_assert_uint_eq(alone.send_count, 2);
    ck_assert_uint_eq(alone.sends[1].node, 2);
    ck_assert_uint_eq(alone.sends[1].term, 2);
    alone_says(&alone, 0, OMEN_OK); // the old one had done it
    ck_assert_int_eq(alone.items[0].outcome, FANOUT_APPLIED);
}
END_TEST

START_TEST(a_read_stays_with_its_copy_when_only_the_primary_is_another)
{
    struct route row = alone_row(1, 0, UINT64_MAX, 1, 2);
    give_row(1, row);
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    row.primary = 1;
    give_row(2, row);
    ck_assert_uint_eq(alone.send_count, 1);
}
END_TEST

START_TEST(a_copy_that_left_the_shard_is_not_waited_for)
{
    struct route row = alone_row(1, 0, UINT64_MAX, 1, 1);
    give_row(1, row);
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    row = alone_row(1, 0, UINT64_MAX, 7, 2);
    give_row(2, row);
    ck_assert_uint_eq(alone.send_count, 2);
    ck_assert_uint_ge(alone.sends[1].node, 7);
    alone_says(&alone, 0, OMEN_OK); // its answer is good all the same
    ck_assert_int_eq(alone.answers[0].status, OMEN_OK);
}
END_TEST

START_TEST(what_is_known_of_nodes_survives_a_table)
{
    alone_shards(&alone, 1, 1, 3);
    for (uint32_t i = 0; i < 10; i++) {
        alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
        alone_wait(&alone, MS / 2);
        alone_says(&alone, 0, OMEN_OK);
    }
    const uint64_t latency_ns = alone.fanout.nodes[0].latency_ns;
    ck_assert_uint_eq(latency_ns, MS / 2);
    alone_search(&alone, FANOUT_STRONG, false, 1000 * MS);
    struct routes *routes = alone_table(&alone, 2); // nodes 1 and 4, 5
    struct route row = alone_row(1, 0, UINT64_MAX, 1, 1);
    row.copies[1] = (struct route_copy){.low = 4, .node = 4};
    row.copies[2] = (struct route_copy){.low = 5, .node = 5};
    row.copy_count = 3;
    alone_add(routes, row);
    alone_give(&alone, routes);
    ck_assert_uint_eq(alone.fanout.node_count, 3);
    ck_assert_uint_eq(alone.fanout.nodes[0].latency_ns, latency_ns);
    ck_assert_uint_eq(alone.fanout.nodes[1].number, 4);
    ck_assert_uint_eq(alone.fanout.nodes[1].latency_ns, 0);
    uint32_t outstanding = 0;
    for (uint32_t i = 0; i < 3; i++)
        outstanding += alone.fanout.nodes[i].outstanding;
    ck_assert_uint_eq(outstanding, 1);
}
END_TEST

START_TEST(a_node_that_left_the_table_may_answer_or_lapse)
{
    alone_shards(&alone, 1, 1, 1);
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    give_row(2, alone_row(1, 0, UINT64_MAX, 7, 1));
    alone_says(&alone, 0, _i == 0 ? OMEN_E_BUSY : OMEN_E_STALE_MAP);
    ck_assert_uint_eq(alone.answer_count, 0);
    alone_says(&alone, 1, OMEN_OK);
    ck_assert_uint_eq(alone.answer_count, 1);
}
END_TEST

// ---- the failure detector ----

static void
node_is(uint32_t node, bool dead, bool draining)
{
    alone_step(&alone,
               (struct fanout_input){
                   .kind = FANOUT_IN_NODE, .node = node, .dead = dead, .draining = draining});
}

START_TEST(a_read_at_a_node_that_died_is_asked_for_elsewhere_at_once)
{
    alone_shards(&alone, 1, 1, 3);
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    node_is(99, true, false); // nobody knows it
    ck_assert_uint_eq(alone.send_count, 1);
    node_is(alone.sends[0].node, true, false);
    ck_assert_uint_eq(alone.send_count, 2);
    ck_assert_uint_ne(alone.sends[1].node, alone.sends[0].node);
    node_is(alone.sends[0].node, true, false); // said again: nothing is new
    ck_assert_uint_eq(alone.send_count, 2);
}
END_TEST

START_TEST(a_write_at_a_node_that_died_waits_for_the_table)
{
    alone_shards(&alone, 1, 1, 3);
    alone_items(&alone, FANOUT_WRITE, 1, 1000 * MS);
    node_is(1, true, false);
    ck_assert_uint_eq(alone.send_count, 1);
}
END_TEST

START_TEST(the_dead_and_the_draining_are_asked_only_where_nobody_else_is)
{
    alone_shards(&alone, 1, 1, 3);
    node_is(1, true, false);
    node_is(2, false, true);
    for (uint32_t i = 0; i < 20; i++) {
        alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
        ck_assert_uint_eq(alone.sends[0].node, 3);
        alone_says(&alone, 0, OMEN_E_INTERNAL);
        ck_assert_uint_eq(alone.sends[1].node, 2);
        alone_says(&alone, 1, OMEN_E_INTERNAL);
        ck_assert_uint_eq(alone.sends[2].node, 1);
        alone_says(&alone, 2, OMEN_OK);
        node_is(2, false, true);
    }
    node_is(1, false, false);
    node_is(2, false, false);
    bool asked[4] = {false};
    for (uint32_t i = 0; i < 40; i++) {
        alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
        asked[alone.sends[0].node] = true;
        alone_says(&alone, 0, OMEN_OK);
    }
    ck_assert(asked[1]); // it is back, and near
    node_is(1, true, false);
    for (uint32_t i = 0; i < 40; i++) {
        alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
        asked[alone.sends[0].node] = true;
        alone_says(&alone, 0, OMEN_OK);
    }
    ck_assert(asked[2]);
}
END_TEST

static Suite *
table_suite(void)
{
    Suite *suite = suite_create("router/table");
    TCase *tcase = tcase_create("table");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, an_older_table_is_ignored);
    tcase_add_test(tcase, a_search_that_was_refused_goes_to_both_children_of_a_split);
    tcase_add_test(tcase, a_refusal_by_yesterdays_table_is_followed_by_todays_at_once);
    tcase_add_test(tcase, a_write_in_the_air_goes_to_the_children_as_the_same_operation);
    tcase_add_test(tcase, items_that_all_lie_in_the_last_piece_move_into_the_place_of_the_whole);
    tcase_add_test(tcase, without_room_for_the_pieces_of_a_split_a_part_waits);
    tcase_add_test(tcase, a_new_primary_is_asked_as_soon_as_the_table_names_it);
    tcase_add_test(tcase, a_read_stays_with_its_copy_when_only_the_primary_is_another);
    tcase_add_test(tcase, a_copy_that_left_the_shard_is_not_waited_for);
    tcase_add_test(tcase, what_is_known_of_nodes_survives_a_table);
    tcase_add_loop_test(tcase, a_node_that_left_the_table_may_answer_or_lapse, 0, 2);
    tcase_add_test(tcase, a_read_at_a_node_that_died_is_asked_for_elsewhere_at_once);
    tcase_add_test(tcase, a_write_at_a_node_that_died_waits_for_the_table);
    tcase_add_test(tcase, the_dead_and_the_draining_are_asked_only_where_nobody_else_is);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(table_suite)
