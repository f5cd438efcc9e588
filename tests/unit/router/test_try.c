// tests/unit/router/test_try.c -- when a part is asked for again, whom, and when it is not any more.
//
// Shape: shell.
#include "router/fanout.h"
#include "tests/lib/check_main.h"
#include "tests/lib/router_fixture.h"

static void
reopen(const struct fanout_config *config)
{
    alone_close(&alone);
    alone_open(&alone, config);
}

START_TEST(a_busy_copy_is_followed_by_another_at_once)
{
    alone_shards(&alone, 1, 1, 3);
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    for (uint32_t i = 0; i < 2; i++) {
        alone_says(&alone, i, OMEN_E_BUSY);
        ck_assert_uint_eq(alone.send_count, i + 2);
    }
    ck_assert_uint_ne(alone.sends[0].node, alone.sends[1].node);
    ck_assert_uint_ne(alone.sends[0].node, alone.sends[2].node);
    ck_assert_uint_ne(alone.sends[1].node, alone.sends[2].node);
    ck_assert_uint_ne(alone.sends[0].attempt, alone.sends[1].attempt);
}
END_TEST

START_TEST(when_all_have_refused_there_is_a_pause_that_doubles)
{
    alone_shards(&alone, 1, 1, 1);
    alone_search(&alone, FANOUT_ANY, false, 4000 * MS);
    uint64_t pause_ns = 4 * MS;
    for (uint32_t i = 0; i < 7; i++) {
        alone_says(&alone, i, OMEN_E_BUSY);
        ck_assert_uint_eq(alone.send_count, i + 1);
        alone_wait(&alone, pause_ns / 2);
        ck_assert_uint_eq(alone.send_count, i + 1);
        alone_wait(&alone, pause_ns / 2 + 1);
        ck_assert_uint_eq(alone.send_count, i + 2);
        if (pause_ns < 64 * MS)
            pause_ns *= 2;
    }
}
END_TEST

START_TEST(after_so_many_tries_a_part_has_failed)
{
    alone_shards(&alone, 1, 1, 1);
    alone_search(&alone, FANOUT_ANY, false, 100000 * MS);
    for (uint32_t i = 0; i < 8; i++) {
        alone_says(&alone, i, OMEN_E_BUSY);
        alone_wait(&alone, 65 * MS);
    }
    ck_assert_uint_eq(alone.send_count, 8);
    ck_assert_uint_eq(alone.answer_count, 1);
    ck_assert_int_eq(alone.answers[0].status, OMEN_E_BUSY);
    ck_assert_uint_eq(alone.answers[0].shard, 1);
}
END_TEST

START_TEST(an_unanswered_try_is_followed_by_another_and_its_answer_is_still_taken)
{
    struct fanout_config config = alone_config();
    config.hedge_permille = 0;
    reopen(&config);
    alone_shards(&alone, 1, 1, 2);
    alone_search(&alone, FANOUT_ANY, false, 408 * MS); // 406 for the copies, so 203 for the first
    alone_wait(&alone, 200 * MS);
    ck_assert_uint_eq(alone.send_count, 1);
    alone_wait(&alone, 4 * MS);
    ck_assert_uint_eq(alone.send_count, 2);
    ck_assert_uint_ne(alone.sends[0].node, alone.sends[1].node);
    alone_says(&alone, 0, OMEN_OK);
    ck_assert_uint_eq(alone.answer_count, 1);
    ck_assert_int_eq(alone.answers[0].status, OMEN_OK);
    ck_assert_uint_eq(alone.last_cancel.node, alone.sends[1].node); // the loser
    ck_assert_uint_eq(alone.last_cancel.attempt, alone.sends[1].attempt);
}
END_TEST

START_TEST(a_refusal_while_another_is_in_the_air_sends_nothing)
{
    struct fanout_config config = alone_config();
    reopen(&config);
    alone_shards(&alone, 1, 1, 3);
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    alone_wait(&alone, 25 * MS); // a second one was asked
    ck_assert_uint_eq(alone.send_count, 2);
    alone_says(&alone, 0, OMEN_E_BUSY);
    ck_assert_uint_eq(alone.send_count, 2);
    alone_says(&alone, 1, OMEN_E_BUSY);
    ck_assert_uint_eq(alone.send_count, 3);
}
END_TEST

START_TEST(more_in_the_air_than_is_remembered_forgets_the_oldest)
{
    struct fanout_config config = alone_config();
    config.try_max_ns = 10 * MS;
    reopen(&config);
    alone_shards(&alone, 1, 1, 1);
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    alone_wait(&alone, 45 * MS);
    ck_assert_uint_eq(alone.send_count, 5);
    ck_assert_uint_eq(alone.cancel_count, 1);
    ck_assert_uint_eq(alone.last_cancel.attempt, alone.sends[0].attempt);
    alone_says(&alone, 0, OMEN_OK);
    ck_assert_uint_eq(alone.answer_count, 0);
    alone_says(&alone, 1, OMEN_OK);
    ck_assert_uint_eq(alone.answer_count, 1);
}
END_TEST

START_TEST(when_no_try_is_left_the_last_ones_are_waited_for)
{
    struct fanout_config config = alone_config();
    config.tries_max = 2;
    config.try_max_ns = 10 * MS;
    reopen(&config);
    alone_shards(&alone, 1, 1, 2);
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    alone_wait(&alone, 500 * MS);
    ck_assert_uint_eq(alone.send_count, 2);
    ck_assert_uint_eq(alone.answer_count, 0);
    alone_says(&alone, 0, OMEN_E_BUSY);
    alone_wait(&alone, 100 * MS);
    ck_assert_uint_eq(alone.answer_count, 0);
    alone_says(&alone, 1, OMEN_E_BUSY);
    alone_wait(&alone, 100 * MS);
    ck_assert_uint_eq(alone.send_count, 2);
    ck_assert_uint_eq(alone.answer_count, 1);
    ck_assert_int_eq(alone.answers[0].status, OMEN_E_BUSY);
}
END_TEST

// ---- second requests ----

START_TEST(a_slow_copy_is_hedged_once_and_the_loser_is_called_back)
{
    alone_shards(&alone, 1, 1, 3);
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    alone_wait(&alone, 19 * MS);
    ck_assert_uint_eq(alone.send_count, 1);
    alone_wait(&alone, 2 * MS);
    ck_assert_uint_eq(alone.send_count, 2);
    alone_wait(&alone, 100 * MS);
    ck_assert_uint_eq(alone.send_count, 2);
    ck_assert_uint_ne(alone.sends[0].node, alone.sends[1].node);
    alone_says(&alone, 1, OMEN_OK);
    ck_assert_uint_eq(alone.answer_count, 1);
    ck_assert_uint_eq(alone.cancel_count, 1);
    ck_assert_uint_eq(alone.last_cancel.node, alone.sends[0].node);
}
END_TEST

static void
save_for_hedges(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
        alone_says(&alone, 0, OMEN_OK);
    }
    ck_assert_uint_eq(alone.fanout.hedge_credit, count * 1000);
    ck_assert_uint_eq(alone.fanout.counters.hedges, 0);
}

// A node that was killed and comes back refuses, or takes what it is asked and says nothing; a lapse would be 400 ms.
START_TEST(who_is_asked_because_another_refused_is_hedged_as_well)
{
    alone_shards(&alone, 1, 1, 3);
    save_for_hedges(5);
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    const uint32_t first = alone.send_count - 1;
    if (_i == 0) { // the first refuses, the second says nothing
        alone_says(&alone, first, OMEN_E_BUSY);
        ck_assert_uint_eq(alone.send_count, first + 2);
        alone_wait(&alone, 21 * MS);
    } else { // the first says nothing, the second refuses
        alone_wait(&alone, 21 * MS);
        ck_assert_uint_eq(alone.send_count, first + 2);
        alone_says(&alone, first + 1, OMEN_E_BUSY);
        alone_wait(&alone, 1);
    }
    ck_assert_uint_eq(alone.send_count, first + 3);
    for (uint32_t i = first; i < first + 2; i++)
        ck_assert_uint_ne(alone.sends[first + 2].node, alone.sends[i].node);
    alone_says(&alone, first + 2, OMEN_OK);
    ck_assert_int_eq(alone.answers[alone.answer_count - 1].status, OMEN_OK);
}
END_TEST

START_TEST(a_hedge_waits_for_what_others_earn)
{
    struct fanout_config config = alone_config();
    config.hedge_permille = 500;
    reopen(&config);
    alone_shards(&alone, 1, 1, 2);
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    alone_wait(&alone, 50 * MS);
    ck_assert_uint_eq(alone.send_count, 1); // it is half of one
    const uint64_t waits = alone.sends[0].request;
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    ck_assert_uint_eq(alone.send_count, 1);
    alone_wait(&alone, 15 * MS); // before the other is slow
    ck_assert_uint_eq(alone.send_count, 2);
    ck_assert_uint_eq(alone.fanout.counters.hedges, 1);
    ck_assert_uint_eq(alone.sends[1].request, waits);
}
END_TEST

START_TEST(hedges_stay_within_their_budget)
{
    struct fanout_config config = alone_config();
    config.hedge_permille = 100;
    reopen(&config);
    alone_shards(&alone, 1, 1, 2);
    for (uint32_t i = 0; i < 50; i++) {
        alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
        alone_wait(&alone, 60 * MS);
        alone_says(&alone, 0, OMEN_OK);
        ck_assert_uint_eq(alone.answer_count, 1);
    }
    ck_assert_uint_eq(alone.fanout.counters.hedges, 5);
}
END_TEST

// What lapses and what is asked for twice are due at once.
START_TEST(another_try_and_a_second_one_both_go_out_where_a_step_has_room_for_one)
{
    struct fanout_config config = alone_config();
    config.hedge_min_ns = config.hedge_max_ns = config.try_min_ns = config.try_max_ns = 10 * MS;
    reopen(&config);
    alone_shards(&alone, 1, FANOUT_SENDS_MAX - 1, 3);
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    ck_assert_uint_eq(alone.send_count, FANOUT_SENDS_MAX - 1);
    alone_wait(&alone, 10 * MS);
    ck_assert_uint_eq(alone.send_count, (FANOUT_SENDS_MAX - 1) * 3);
    ck_assert_uint_eq(alone.fanout.counters.hedges, FANOUT_SENDS_MAX - 1);
}
END_TEST

START_TEST(what_is_saved_for_hedges_is_bounded)
{
    alone_shards(&alone, 1, 200, 2);
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    alone_drain(&alone);
    ck_assert_uint_eq(alone.fanout.hedge_credit, 100000);
}
END_TEST

START_TEST(the_delay_of_hedges_follows_how_long_answers_take)
{
    alone_shards(&alone, 1, 1, 2);
    for (uint32_t i = 0; i < 4000; i++) {
        alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
        alone_wait(&alone, i % 50 == 0 ? 3 * MS : 2 * MS); // 2 of 100 take longer
        alone_says(&alone, 0, OMEN_OK);
    }
    ck_assert_uint_gt(alone.fanout.slow_ns[0], 19 * MS / 10);
    ck_assert_uint_lt(alone.fanout.slow_ns[0], 3 * MS);
    const uint64_t before = alone.fanout.counters.hedges;
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    alone_wait(&alone, 4 * MS);
    ck_assert_uint_eq(alone.fanout.counters.hedges, before + 1);
}
END_TEST

START_TEST(a_hedge_is_not_sent_where_it_cannot_help)
{
    struct routes *routes;
    struct fanout_config config = alone_config();
    switch (_i) {
    case 0: // one copy only
        alone_shards(&alone, 1, 1, 1);
        break;
    case 1: // the other is dead
        alone_shards(&alone, 1, 1, 2);
        for (uint32_t node = 1; node <= 2; node++)
            alone_step(&alone,
                       (struct fanout_input){.kind = FANOUT_IN_NODE, .node = node, .dead = true});
        break;
    case 2: // no tries are left
        config.tries_max = 1;
        reopen(&config);
        alone_shards(&alone, 1, 1, 2);
        break;
    default: // the shard is split, or gone, and its copies go on answering what they were asked
        alone_shards(&alone, 1, 1, 2);
        break;
    }
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    ck_assert_uint_eq(alone.send_count, 1);
    if (_i >= 3) {
        struct route low = alone_row(1, 0, _i == 3 ? 99 : 9, 1, 2);
        routes = alone_table(&alone, 2);
        low.first = _i == 3 ? 0 : 5;
        alone_add(routes, low);
        alone_give(&alone, routes);
    }
    alone_wait(&alone, 25 * MS);
    if (_i == 4) { // what is left of it was asked for anew, and that is hedged
        ck_assert_uint_eq(alone.fanout.counters.hedges, 1);
        ck_assert_uint_eq(alone.sends[alone.send_count - 1].first, 5);
        return;
    }
    ck_assert_uint_eq(alone.fanout.counters.hedges, 0);
}
END_TEST

START_TEST(strong_reads_and_writes_go_to_the_primary_and_are_never_hedged)
{
    alone_shards(&alone, 1, 1, 3);
    if (_i == 0)
        alone_search(&alone, FANOUT_STRONG, false, 1000 * MS);
    else
        alone_items(&alone, FANOUT_WRITE, 3, 1000 * MS);
    alone_wait(&alone, 100 * MS);
    ck_assert_uint_eq(alone.send_count, 1);
    ck_assert_uint_eq(alone.sends[0].node, 1);
    alone_says(&alone, 0, OMEN_E_BUSY); // and nobody else when it refuses
    ck_assert_uint_eq(alone.send_count, 1);
    alone_wait(&alone, 10 * MS);
    ck_assert_uint_eq(alone.send_count, 2);
    ck_assert_uint_eq(alone.sends[1].node, 1);
}
END_TEST

START_TEST(without_a_primary_a_write_waits_for_a_table_that_has_one)
{
    struct routes *routes = alone_table(&alone, 1);
    struct route row = alone_row(1, 0, UINT64_MAX, 1, 2);
    row.primary = ROUTE_NONE;
    alone_add(routes, row);
    alone_give(&alone, routes);
    alone_items(&alone, FANOUT_WRITE, 1, 1000 * MS);
    alone_wait(&alone, 3 * MS);
    ck_assert_uint_eq(alone.send_count, 0);
    alone_shards(&alone, 2, 1, 2);
    ck_assert_uint_eq(alone.send_count, 1);
    alone_says(&alone, 0, OMEN_OK);
    ck_assert_int_eq(alone.items[0].outcome, FANOUT_APPLIED);
}
END_TEST

START_TEST(who_never_found_anybody_is_told_why)
{
    struct routes *routes = alone_table(&alone, 1);
    alone_add(routes, alone_row(1, 0, 1000, 1, 1));
    alone_add(routes, alone_row(2, 1001, 2000, 1, 0)); // no copy
    alone_give(&alone, routes);                        // and behind 2000 nobody
    alone_search(&alone, FANOUT_ANY, true, 100 * MS);
    ck_assert_uint_eq(alone.send_count, 1);
    alone_says(&alone, 0, OMEN_OK);
    alone_wait(&alone, 100 * MS);
    ck_assert_int_eq(alone.answers[0].status, OMEN_OK);
    ck_assert_uint_eq(alone.answers[0].failed_count, 2);
    ck_assert_uint_eq(alone.reports[0].shard, 2);
    ck_assert_int_eq(alone.reports[0].status, OMEN_E_BUSY);
    ck_assert_uint_eq(alone.reports[1].shard, 0);
    ck_assert_uint_eq(alone.reports[1].first, 2001);
    ck_assert_int_eq(alone.reports[1].status, OMEN_E_STALE_MAP);
}
END_TEST

// ---- sessions ----

static void
search_after(const struct fanout_token *tokens, uint32_t count)
{
    alone_start(&alone,
                (struct fanout_start){.client = 77,
                                      .kind = FANOUT_SEARCH,
                                      .consistency = FANOUT_SESSION,
                                      .hits = alone.hits,
                                      .k = 10,
                                      .tokens = tokens,
                                      .token_count = count},
                1000 * MS);
}

static void
give_children(void)
{
    struct routes *routes = alone_table(&alone, 1);
    struct route low = alone_row(11, 0, 1000, 1, 3), high = alone_row(12, 1001, UINT64_MAX, 1, 3);
    low.parent = high.parent = 1;
    alone_add(routes, low);
    alone_add(routes, high);
    alone_give(&alone, routes);
}

START_TEST(a_session_asks_for_what_it_has_seen_of_the_shard_or_of_its_parent)
{
    const struct fanout_token tokens[] = {{1, 4, 40}, {12, 5, 50}};
    give_children();
    search_after(tokens, 2);
    ck_assert_uint_eq(alone.sends[0].after_seq, 40);
    ck_assert_uint_eq(alone.sends[0].after_term, 4);
    ck_assert_uint_eq(alone.sends[1].after_seq, 50);
}
END_TEST

START_TEST(a_copy_that_is_behind_the_session_is_not_believed)
{
    const struct fanout_token tokens[] = {{1, 4, 40}};
    alone_shards(&alone, 1, 1, 2);
    search_after(tokens, 1);
    const struct fanout_send first = alone.sends[0];
    alone_reply(&alone, &first, (struct fanout_reply){.seq = 39});
    ck_assert(!alone.out.taken);
    ck_assert_uint_eq(alone.send_count, 2);
    ck_assert_uint_ne(alone.sends[1].node, first.node);
    const struct fanout_send second = alone.sends[1];
    alone_reply(&alone, &second, (struct fanout_reply){.seq = 40});
    ck_assert_int_eq(alone.answers[0].status, OMEN_OK);
}
END_TEST

START_TEST(a_token_of_a_shard_that_is_newer_than_the_table_makes_a_sessions_reads_strong)
{
    const struct fanout_token tokens[] = {{99, 4, 40}, {12, 5, 50}};
    give_children();
    for (uint32_t i = 0; i < 20; i++) {
        search_after(tokens, 2);
        for (uint32_t j = 0; j < 2; j++) { // either may have been split into 98 and 99 since
            ck_assert_uint_eq(alone.sends[j].node, 1);
            ck_assert_int_eq(alone.sends[j].consistency, FANOUT_STRONG);
        }
        ck_assert_uint_eq(alone.sends[1].after_seq, 50);
        alone_says(&alone, 0, OMEN_E_INVALID);
        ck_assert_uint_eq(alone.answer_count, 1);
    }
}
END_TEST

START_TEST(a_token_of_a_shard_that_was_split_twice_since_asks_any_copy)
{
    const struct fanout_token tokens[] = {{5, 4, 40}};
    give_children();
    search_after(tokens, 1);
    ck_assert_int_eq(alone.sends[0].consistency, FANOUT_SESSION);
    ck_assert_int_eq(alone.sends[1].consistency, FANOUT_SESSION);
    alone_says(&alone, 0, OMEN_E_BUSY); // then another copy, not the primary again
    ck_assert_uint_eq(alone.send_count, 3);
    ck_assert_uint_ne(alone.sends[2].node, alone.sends[0].node);
}
END_TEST

static Suite *
try_suite(void)
{
    Suite *suite = suite_create("router/try");
    TCase *tcase = tcase_create("try");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_busy_copy_is_followed_by_another_at_once);
    tcase_add_test(tcase, when_all_have_refused_there_is_a_pause_that_doubles);
    tcase_add_test(tcase, after_so_many_tries_a_part_has_failed);
    tcase_add_test(tcase, an_unanswered_try_is_followed_by_another_and_its_answer_is_still_taken);
    tcase_add_test(tcase, a_refusal_while_another_is_in_the_air_sends_nothing);
    tcase_add_test(tcase, more_in_the_air_than_is_remembered_forgets_the_oldest);
    tcase_add_test(tcase, when_no_try_is_left_the_last_ones_are_waited_for);
    tcase_add_test(tcase, a_slow_copy_is_hedged_once_and_the_loser_is_called_back);
    tcase_add_loop_test(tcase, who_is_asked_because_another_refused_is_hedged_as_well, 0, 2);
    tcase_add_test(tcase, a_hedge_waits_for_what_others_earn);
    tcase_add_test(tcase, hedges_stay_within_their_budget);
    tcase_add_test(tcase, another_try_and_a_second_one_both_go_out_where_a_step_has_room_for_one);
    tcase_add_test(tcase, what_is_saved_for_hedges_is_bounded);
    tcase_add_test(tcase, the_delay_of_hedges_follows_how_long_answers_take);
    tcase_add_loop_test(tcase, a_hedge_is_not_sent_where_it_cannot_help, 0, 5);
    tcase_add_loop_test(tcase, strong_reads_and_writes_go_to_the_primary_and_are_never_hedged, 0,
                        2);
    tcase_add_test(tcase, without_a_primary_a_write_waits_for_a_table_that_has_one);
    tcase_add_test(tcase, who_never_found_anybody_is_told_why);
    tcase_add_test(tcase, a_session_asks_for_what_it_has_seen_of_the_shard_or_of_its_parent);
    tcase_add_test(tcase, a_copy_that_is_behind_the_session_is_not_believed);
    tcase_add_test(tcase,
                   a_token_of_a_shard_that_is_newer_than_the_table_makes_a_sessions_reads_strong);
    tcase_add_test(tcase, a_token_of_a_shard_that_was_split_twice_since_asks_any_copy);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(try_suite)
