// tests/unit/router/test_fanout.c -- a request goes out, comes back, and is answered once.
//
// Shape: shell.
#include "router/fanout.h"

#include "base/alloc.h"
#include "tests/lib/check_main.h"
#include "tests/lib/router_fixture.h"

static struct merge_hit
hit(float distance, uint64_t number)
{
    return (struct merge_hit){.distance = distance, .number = number, .version = 1};
}

static void
expect_refused(omen_status status)
{
    ck_assert_uint_eq(alone.out.started, 0);
    ck_assert_uint_eq(alone.answer_count, 1);
    ck_assert_int_eq(alone.answers[0].status, status);
    ck_assert_uint_eq(alone.answers[0].client, 77);
    ck_assert_uint_eq(alone.send_count, 0);
}

START_TEST(a_search_asks_one_copy_of_every_shard)
{
    alone_shards(&alone, 1, 4, 3);
    const uint64_t request = alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    ck_assert_uint_ne(request, 0);
    ck_assert_uint_eq(alone.send_count, 4);
    uint64_t behind = 0;
    for (uint32_t i = 0; i < 4; i++) {
        const struct fanout_send *send = &alone.sends[i];
        ck_assert_uint_eq(send->request, request);
        ck_assert_uint_eq(send->shard, i + 1);
        ck_assert_uint_eq(send->cfg_ver, 1);
        ck_assert_uint_eq(send->map_version, 1);
        ck_assert_uint_eq(send->copy_low, send->node);
        ck_assert_uint_eq(send->first, behind);
        behind = send->last + 1;
        ck_assert_uint_lt(send->deadline_ns, alone.now_ns + 1000 * MS); // time is left to merge
    }
    ck_assert_uint_eq(behind, 0);
}
END_TEST

START_TEST(the_last_answer_ends_it_at_once_and_hits_are_merged)
{
    const struct merge_hit first[] = {hit(1, 10), hit(4, 11)}, second[] = {hit(2, 20)};
    alone_shards(&alone, 1, 2, 1);
    const uint64_t request = alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    const struct fanout_send sends[] = {alone.sends[0], alone.sends[1]};
    alone_reply(&alone, &sends[1],
                (struct fanout_reply){.hits = {second, 1}, .term = 3, .seq = 30});
    ck_assert(alone.out.taken);
    ck_assert_uint_eq(alone.answer_count, 0);
    alone_reply(&alone, &sends[0], (struct fanout_reply){.hits = {first, 2}, .seq = 20});
    ck_assert_uint_eq(alone.answer_count, 1);
    const struct fanout_answer *answer = &alone.answers[0];
    ck_assert_uint_eq(answer->request, request);
    ck_assert_uint_eq(answer->client, 77);
    ck_assert_int_eq(answer->status, OMEN_OK);
    ck_assert_uint_eq(answer->hit_count, 3);
    ck_assert_uint_eq(answer->part_count, 2);
    ck_assert_uint_eq(answer->failed_count, 0);
    ck_assert_uint_eq(alone.hits[0].number, 10);
    ck_assert_uint_eq(alone.hits[1].number, 20);
    ck_assert_uint_eq(alone.hits[2].number, 11);
    ck_assert_uint_eq(alone.reports[1].shard, 2); // the tokens
    ck_assert_uint_eq(alone.reports[1].term, 3);
    ck_assert_uint_eq(alone.reports[1].seq, 30);
    ck_assert_uint_eq(alone.fanout.parts_used, 0);
}
END_TEST

START_TEST(before_there_is_a_table_a_request_is_busy)
{
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    expect_refused(OMEN_E_BUSY);
}
END_TEST

START_TEST(a_collection_that_the_table_does_not_have_is_not_found)
{
    struct fanout_start start = {
        .client = 77, .kind = FANOUT_SEARCH, .collection = 4 + 2 * (uint64_t)_i};
    alone_shards(&alone, 1, 2, 1);
    alone_start(&alone, start, 1000 * MS);
    expect_refused(OMEN_E_NOT_FOUND);
}
END_TEST

START_TEST(a_deadline_that_has_passed_is_answered_so)
{
    alone_shards(&alone, 1, 2, 1);
    alone_search(&alone, FANOUT_ANY, false, 0);
    expect_refused(OMEN_E_TIMEOUT);
}
END_TEST

START_TEST(more_requests_than_there_is_room_for_are_busy)
{
    alone_shards(&alone, 1, 2, 1);
    for (uint32_t i = 0; i < 8; i++)
        ck_assert_uint_ne(alone_search(&alone, FANOUT_ANY, false, 1000 * MS), 0);
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    expect_refused(OMEN_E_BUSY);
    alone_wait(&alone, 1000 * MS);
    ck_assert_uint_eq(alone.answer_count, 9);
    ck_assert_uint_ne(alone_search(&alone, FANOUT_ANY, false, 1000 * MS), 0);
}
END_TEST

START_TEST(a_request_with_more_parts_than_there_is_room_for_is_busy_and_leaves_nothing)
{
    struct fanout_config config = alone_config();
    config.parts_max = 3;
    alone_close(&alone);
    alone_open(&alone, &config);
    alone_shards(&alone, 1, 4, 1);
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    expect_refused(OMEN_E_BUSY);
    ck_assert_uint_ne(alone_items(&alone, FANOUT_GET, 1, 1000 * MS), 0);
    ck_assert_uint_eq(alone.fanout.parts_used, 1);
}
END_TEST

START_TEST(without_memory_a_request_is_busy_and_leaves_nothing)
{
    alone_shards(&alone, 1, 100, 1);
    for (uint64_t i = 0; i < 3; i++) {
        mem_fail_after(i == 0 ? 1 : 2); // the first parts; the scratch behind them; more parts
        alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
        mem_fail_after(0);
        expect_refused(OMEN_E_BUSY);
        ck_assert_uint_eq(alone.fanout.parts_used, 0);
    }
    ck_assert_uint_ne(alone_search(&alone, FANOUT_ANY, false, 1000 * MS), 0);
}
END_TEST

START_TEST(without_memory_to_merge_a_search_says_so)
{
    struct merge_hit lists[2][10];
    for (uint32_t i = 0; i < 20; i++)
        lists[i / 10][i % 10] = hit((float)i, i);
    alone_shards(&alone, 1, 2, 1);
    for (uint32_t again = 0; again < 2; again++) {
        alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
        const struct fanout_send sends[] = {alone.sends[0], alone.sends[1]};
        alone_reply(&alone, &sends[0], (struct fanout_reply){.hits = {lists[0], 10}});
        mem_fail_after(again == 0 ? 1 : 0);
        alone_reply(&alone, &sends[1], (struct fanout_reply){.hits = {lists[1], 10}});
        mem_fail_after(0);
        ck_assert_uint_eq(alone.answer_count, 1);
        ck_assert_int_eq(alone.answers[0].status, again == 0 ? OMEN_E_NO_MEMORY : OMEN_OK);
        ck_assert_uint_eq(alone.answers[0].hit_count, again == 0 ? 0 : 10);
        ck_assert_uint_eq(alone.fanout.counters.no_memory, 1);
    }
}
END_TEST

START_TEST(no_ids_are_answered_with_nothing)
{
    alone_shards(&alone, 1, 2, 1);
    alone_items(&alone, FANOUT_GET, 0, 1000 * MS);
    ck_assert_uint_eq(alone.out.started, 0);
    ck_assert_int_eq(alone.answers[0].status, OMEN_OK);
}
END_TEST

START_TEST(what_does_not_fit_into_a_step_goes_out_in_the_next_at_the_same_time)
{
    alone_shards(&alone, 1, 200, 2);
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    ck_assert_uint_lt(alone.send_count, 200);
    ck_assert_uint_eq(alone.out.wake_ns, alone.now_ns);
    alone_drain(&alone);
    ck_assert_uint_eq(alone.send_count, 200);
    alone_wait(&alone, 1000 * MS - 1);
    ck_assert_uint_eq(alone.answer_count,
                      1); // in time, with as many steps as it takes to call all back
    ck_assert_uint_ge(alone.cancel_count, 200);
    ck_assert_int_eq(alone.answers[0].status, OMEN_E_TIMEOUT);
}
END_TEST

START_TEST(a_search_of_as_many_shards_as_a_step_sends_goes_out_in_one)
{
    alone_shards(&alone, 1, FANOUT_SENDS_MAX, 2);
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    ck_assert_uint_eq(alone.send_count, FANOUT_SENDS_MAX);
    ck_assert_uint_gt(alone.out.wake_ns, alone.now_ns);
}
END_TEST

START_TEST(more_shards_than_reports_are_counted_and_the_failed_ones_are_told_first)
{
    alone_shards(&alone, 1, FANOUT_REPORTS_MAX + 100, 1);
    alone_search(&alone, FANOUT_ANY, true, 1000 * MS);
    alone_drain(&alone);
    const uint32_t sent = alone.send_count;
    ck_assert_uint_eq(sent, FANOUT_REPORTS_MAX + 100);
    for (uint32_t i = 0; i < sent; i++)
        if (i != 500)
            alone_says(&alone, i, OMEN_OK);
    alone_wait(&alone, 1000 * MS);
    ck_assert_int_eq(alone.answers[0].status, OMEN_OK);
    ck_assert_uint_eq(alone.answers[0].part_count, sent);
    ck_assert_uint_eq(alone.answers[0].failed_count, 1);
    ck_assert_uint_eq(alone.answers[0].report_count, FANOUT_REPORTS_MAX);
    ck_assert_uint_eq(alone.reports[0].shard, 501);
    ck_assert_int_eq(alone.reports[0].status, OMEN_E_TIMEOUT);
    ck_assert_int_eq(alone.reports[1].status, OMEN_OK);
}
END_TEST

START_TEST(many_that_end_together_are_answered_in_as_many_steps_as_it_takes)
{
    struct fanout_config config = alone_config();
    config.requests_max = 40;
    alone_close(&alone);
    alone_open(&alone, &config);
    alone_shards(&alone, 1, 2, 1);
    for (uint32_t i = 0; i < 40; i++)
        alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    alone.answer_count = 0;
    alone_wait(&alone, 1000 * MS - 1);
    ck_assert_uint_eq(alone.answer_count, 40);
}
END_TEST

START_TEST(a_client_that_went_away_is_answered_once_and_nobody_works_for_it)
{
    alone_shards(&alone, 1, 2, 1);
    const uint64_t request = alone_search(&alone, FANOUT_ANY, true, 1000 * MS);
    alone_step(&alone, (struct fanout_input){.kind = FANOUT_IN_CANCEL, .request = request});
    ck_assert_uint_eq(alone.answer_count, 1);
    ck_assert_int_eq(alone.answers[0].status, OMEN_E_CANCELLED);
    ck_assert_uint_eq(alone.cancel_count, 2);
    ck_assert_int_eq(alone.reports[0].status, OMEN_E_CANCELLED);
    alone_step(&alone, (struct fanout_input){.kind = FANOUT_IN_CANCEL, .request = request});
    alone_step(&alone, (struct fanout_input){.kind = FANOUT_IN_CANCEL, .request = 0});
    alone_says(&alone, 0, OMEN_OK);
    ck_assert_uint_eq(alone.answer_count, 1);
    ck_assert_uint_eq(alone.fanout.counters.late_replies, 1);
}
END_TEST

START_TEST(a_write_whose_client_went_away_is_unknown)
{
    alone_shards(&alone, 1, 2, 1);
    const uint64_t request = alone_items(&alone, FANOUT_WRITE, 2, 1000 * MS);
    alone_says(&alone, 0, OMEN_OK);
    alone_step(&alone, (struct fanout_input){.kind = FANOUT_IN_CANCEL, .request = request});
    ck_assert_int_eq(alone.answers[0].status, OMEN_E_CANCELLED);
    ck_assert_int_eq(alone.items[0].outcome, FANOUT_APPLIED);
    ck_assert_int_eq(alone.items[1].outcome, FANOUT_UNKNOWN);
    ck_assert_uint_eq(alone.cancel_count, 0); // a write is not called back
}
END_TEST

START_TEST(time_that_goes_back_is_not_believed)
{
    alone_shards(&alone, 1, 2, 1);
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    alone.now_ns -= 500 * MS;
    alone_step(&alone, (struct fanout_input){.kind = FANOUT_IN_WAKE});
    ck_assert_uint_eq(alone.fanout.now_ns, alone.now_ns + 500 * MS);
}
END_TEST

START_TEST(the_line_that_describes_it_is_stable)
{
    char line[256];
    alone_shards(&alone, 3, 2, 1);
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    fanout_describe(&alone.fanout, line, sizeof line);
    ck_assert_str_eq(line, "map=3 requests=1 parts=2 flights=2 lapsed=0 sends=2 retries=0 hedges=0 "
                           "splits=0 cancels=0 late=0 refused=0");
    fanout_fini(&alone.fanout);
    const struct fanout_config config = alone_config();
    fanout_init(&alone.fanout, &config, 1);
    fanout_describe(&alone.fanout, line, sizeof line);
    ck_assert_str_eq(line, "map=0 requests=0 parts=0 flights=0 lapsed=0 sends=0 retries=0 hedges=0 "
                           "splits=0 cancels=0 late=0 refused=0");
}
END_TEST

static Suite *
fanout_suite(void)
{
    Suite *suite = suite_create("router/fanout");
    TCase *tcase = tcase_create("fanout");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_search_asks_one_copy_of_every_shard);
    tcase_add_test(tcase, the_last_answer_ends_it_at_once_and_hits_are_merged);
    tcase_add_test(tcase, before_there_is_a_table_a_request_is_busy);
    tcase_add_loop_test(tcase, a_collection_that_the_table_does_not_have_is_not_found, 0, 2);
    tcase_add_test(tcase, a_deadline_that_has_passed_is_answered_so);
    tcase_add_test(tcase, more_requests_than_there_is_room_for_are_busy);
    tcase_add_test(tcase,
                   a_request_with_more_parts_than_there_is_room_for_is_busy_and_leaves_nothing);
    tcase_add_test(tcase, without_memory_a_request_is_busy_and_leaves_nothing);
    tcase_add_test(tcase, without_memory_to_merge_a_search_says_so);
    tcase_add_test(tcase, no_ids_are_answered_with_nothing);
    tcase_add_test(tcase, what_does_not_fit_into_a_step_goes_out_in_the_next_at_the_same_time);
    tcase_add_test(tcase, a_search_of_as_many_shards_as_a_step_sends_goes_out_in_one);
    tcase_add_test(tcase, more_shards_than_reports_are_counted_and_the_failed_ones_are_told_first);
    tcase_add_test(tcase, many_that_end_together_are_answered_in_as_many_steps_as_it_takes);
    tcase_add_test(tcase, a_client_that_went_away_is_answered_once_and_nobody_works_for_it);
    tcase_add_test(tcase, a_write_whose_client_went_away_is_unknown);
    tcase_add_test(tcase, time_that_goes_back_is_not_believed);
    tcase_add_test(tcase, the_line_that_describes_it_is_stable);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(fanout_suite)
