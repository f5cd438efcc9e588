// tests/unit/router/test_node.c -- whom a read goes to: the near, the quick, the idle, but not all to the same.
//
// Shape: shell.
#include "router/fanout.h"
#include "tests/lib/check_main.h"
#include "tests/lib/router_alone.h"

static struct alone alone;
static uint32_t asked[8]; // by node

static void
setup(void)
{
    struct fanout_config config = alone_config();
    config.hedge_permille = 0;
    alone_open(&alone, &config);
    memset(asked, 0, sizeof asked);
}

static void
teardown(void)
{
    alone_close(&alone);
}

// Each node answers after its own time.
static void
search_many(uint32_t count, const uint64_t *took_ns)
{
    for (uint32_t i = 0; i < count; i++) {
        alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
        const uint32_t node = alone.sends[0].node;
        asked[node]++;
        alone_wait(&alone, took_ns[node]);
        alone_says(&alone, 0, OMEN_OK);
        ck_assert_uint_eq(alone.answer_count, 1);
    }
}

START_TEST(a_near_copy_gets_most_while_all_are_alike)
{
    alone_shards(&alone, 1, 1, 3); // node 1 is near
    search_many(200, (uint64_t[]){0, MS, MS, MS});
    ck_assert_uint_gt(asked[1], 190);
}
END_TEST

START_TEST(a_near_copy_that_is_slow_is_left_alone)
{
    alone_shards(&alone, 1, 1, 3);
    search_many(200, (uint64_t[]){0, 9 * MS, MS, MS});
    ck_assert_uint_lt(asked[1], 10);
    ck_assert_uint_gt(asked[2], 50);
    ck_assert_uint_gt(asked[3], 50);
}
END_TEST

START_TEST(of_copies_that_are_alike_each_gets_its_share)
{
    struct routes *routes = alone_table(&alone, 1);
    struct route row = alone_row(1, 0, UINT64_MAX, 1, 4);
    row.copies[0].near = _i == 1;
    row.copies[1].near = row.copies[2].near = row.copies[3].near = _i == 1;
    alone_add(routes, row);
    alone_give(&alone, routes);
    search_many(400, (uint64_t[]){0, MS, MS, MS, MS});
    for (uint32_t node = 1; node <= 4; node++)
        ck_assert_uint_gt(asked[node], 60);
}
END_TEST

START_TEST(the_quicker_a_copy_the_more_it_gets)
{
    struct routes *routes = alone_table(&alone, 1);
    struct route row = alone_row(1, 0, UINT64_MAX, 1, 3);
    row.copies[0].near = false;
    alone_add(routes, row);
    alone_give(&alone, routes);
    search_many(100, (uint64_t[]){0, 3 * MS, MS, 2 * MS});
    ck_assert_uint_gt(asked[2], asked[3]);
    ck_assert_uint_gt(asked[3], asked[1]);
}
END_TEST

START_TEST(a_copy_that_was_slow_is_tried_again_and_seen_to_be_quick)
{
    alone_shards(&alone, 1, 1, 2);
    search_many(50, (uint64_t[]){0, 50 * MS, MS});
    memset(asked, 0, sizeof asked);
    search_many(10, (uint64_t[]){0, MS, MS});
    ck_assert_uint_eq(asked[1], 0);
    alone_wait(&alone, 20000 * MS); // nobody asks anything
    search_many(50, (uint64_t[]){0, MS, MS});
    ck_assert_uint_gt(asked[1], 20);
}
END_TEST

START_TEST(what_is_outstanding_weighs)
{
    struct routes *routes = alone_table(&alone, 1);
    struct route row = alone_row(1, 0, UINT64_MAX, 1, 2);
    row.copies[0].near = false;
    alone_add(routes, row);
    alone_give(&alone, routes);
    search_many(20, (uint64_t[]){0, MS, MS});
    for (uint32_t i = 0; i < 8; i++)
        alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    ck_assert_uint_eq(alone.fanout.nodes[0].outstanding, 4);
    ck_assert_uint_eq(alone.fanout.nodes[1].outstanding, 4);
}
END_TEST

START_TEST(a_queue_that_a_copy_tells_of_weighs)
{
    struct routes *routes = alone_table(&alone, 1);
    struct route row = alone_row(1, 0, UINT64_MAX, 1, 2);
    row.copies[0].near = false;
    alone_add(routes, row);
    alone_give(&alone, routes);
    search_many(20, (uint64_t[]){0, MS, MS});
    ck_assert_uint_gt(asked[1], 0);
    alone_search(&alone, FANOUT_STRONG, false, 1000 * MS);
    const struct fanout_send sent = alone.sends[0];
    alone_wait(&alone, MS);
    alone_reply(&alone, &sent, (struct fanout_reply){.queue = 100});
    memset(asked, 0, sizeof asked);
    search_many(50, (uint64_t[]){0, MS, MS});
    ck_assert_uint_eq(asked[1], 0);
}
END_TEST

START_TEST(who_was_busy_is_left_alone_for_a_while)
{
    alone_shards(&alone, 1, 1, 2);
    alone_search(&alone, FANOUT_STRONG, false, 10 * MS);
    alone_says(&alone, 0, OMEN_E_BUSY);
    alone_wait(&alone, 10 * MS);
    search_many(10, (uint64_t[]){0, MS, MS});
    ck_assert_uint_eq(asked[1], 0);
    alone_wait(&alone, 50 * MS);
    search_many(10, (uint64_t[]){0, MS, MS});
    ck_assert_uint_gt(asked[1], 0);
}
END_TEST

START_TEST(a_draining_copy_says_so_itself)
{
    alone_shards(&alone, 1, 1, 2);
    alone_search(&alone, FANOUT_STRONG, false, 1000 * MS);
    const struct fanout_send sent = alone.sends[0];
    alone_reply(&alone, &sent, (struct fanout_reply){.draining = true});
    search_many(20, (uint64_t[]){0, MS, MS});
    ck_assert_uint_eq(asked[1], 0);
}
END_TEST

static Suite *
node_suite(void)
{
    Suite *suite = suite_create("router/node");
    TCase *tcase = tcase_create("node");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_near_copy_gets_most_while_all_are_alike);
    tcase_add_test(tcase, a_near_copy_that_is_slow_is_left_alone);
    tcase_add_loop_test(tcase, of_copies_that_are_alike_each_gets_its_share, 0, 2);
    tcase_add_test(tcase, the_quicker_a_copy_the_more_it_gets);
    tcase_add_test(tcase, a_copy_that_was_slow_is_tried_again_and_seen_to_be_quick);
    tcase_add_test(tcase, what_is_outstanding_weighs);
    tcase_add_test(tcase, a_queue_that_a_copy_tells_of_weighs);
    tcase_add_test(tcase, who_was_busy_is_left_alone_for_a_while);
    tcase_add_test(tcase, a_draining_copy_says_so_itself);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(node_suite)
