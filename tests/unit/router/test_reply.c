// tests/unit/router/test_reply.c -- what each answer of a copy means, and that no field of it is believed.
//
// Shape: shell.
#include "router/fanout.h"

#include <math.h>

#include "tests/lib/check_main.h"
#include "tests/lib/router_fixture.h"

// ---- writes and reads by id ----

START_TEST(a_write_is_answered_item_by_item_in_its_order)
{
    alone_shards(&alone, 1, 2, 1);
    alone_items(&alone, FANOUT_WRITE, 6, 1000 * MS);
    ck_assert_uint_eq(alone.send_count, 2);
    ck_assert_uint_eq(alone.sends[0].item_first, 0);
    ck_assert_uint_eq(alone.sends[0].item_count, 3);
    ck_assert_uint_eq(alone.sends[1].item_first, 3);
    ck_assert_uint_eq(alone.items[0].next, 1);
    ck_assert_uint_eq(alone.items[2].next, 6);
    const struct fanout_send first = alone.sends[0];
    const omen_status statuses[] = {OMEN_OK, OMEN_E_CONFLICT, OMEN_OK};
    alone_says(&alone, 1, OMEN_OK);
    alone_reply(&alone, &first, (struct fanout_reply){.statuses = statuses, .item_count = 3});
    ck_assert_int_eq(alone.answers[0].status, OMEN_OK);
    for (uint32_t i = 0; i < 6; i++) {
        ck_assert_int_eq(alone.items[i].status, i == 1 ? OMEN_E_CONFLICT : OMEN_OK);
        ck_assert_int_eq(alone.items[i].outcome, i == 1 ? FANOUT_NOT_APPLIED : FANOUT_APPLIED);
    }
}
END_TEST

START_TEST(a_read_by_id_is_answered_item_by_item)
{
    alone_shards(&alone, 1, 3, 1);
    alone_items(&alone, FANOUT_GET, 2, 1000 * MS);
    ck_assert_uint_eq(alone.send_count, 2); // the shard without an id is not asked
    const struct fanout_send first = alone.sends[0];
    const omen_status missing = OMEN_E_NOT_FOUND;
    alone_reply(&alone, &first, (struct fanout_reply){.statuses = &missing, .item_count = 1});
    alone_says(&alone, 1, OMEN_OK);
    ck_assert_int_eq(alone.answers[0].status, OMEN_OK);
    ck_assert_int_eq(alone.items[0].status, OMEN_E_NOT_FOUND);
    ck_assert_int_eq(alone.items[1].status, OMEN_OK);
    ck_assert_int_eq(alone.items[1].outcome, FANOUT_NOT_APPLIED); // it was no write
}
END_TEST

START_TEST(a_read_of_which_one_shard_says_nothing_has_the_others)
{
    alone_shards(&alone, 1, 2, 1);
    alone_items(&alone, FANOUT_GET, 2, 100 * MS);
    alone_says(&alone, 1, OMEN_OK);
    alone_wait(&alone, 100 * MS);
    ck_assert_int_eq(alone.answers[0].status, OMEN_E_TIMEOUT);
    ck_assert_uint_eq(alone.answers[0].shard, 1);
    ck_assert_int_eq(alone.items[0].status, OMEN_E_TIMEOUT);
    ck_assert_int_eq(alone.items[1].status, OMEN_OK);
}
END_TEST

START_TEST(every_try_of_a_write_carries_the_same_operation)
{
    alone_shards(&alone, 1, 1, 3);
    alone_items(&alone, FANOUT_WRITE, 3, 1000 * MS);
    alone_wait(&alone, 990 * MS);
    ck_assert_uint_gt(alone.send_count, 2);
    for (uint32_t i = 0; i < alone.send_count; i++) {
        ck_assert_uint_eq(alone.sends[i].op_id.high, 3);
        ck_assert_uint_eq(alone.sends[i].op_id.low, 9);
        ck_assert_uint_eq(alone.sends[i].item_count, 3);
    }
}
END_TEST

START_TEST(a_write_that_nobody_answered_is_unknown)
{
    alone_shards(&alone, 1, 1, 3);
    alone_items(&alone, FANOUT_WRITE, 2, 100 * MS);
    alone_wait(&alone, 100 * MS);
    ck_assert_int_eq(alone.answers[0].status, OMEN_E_TIMEOUT);
    ck_assert_int_eq(alone.items[1].status, OMEN_E_TIMEOUT);
    ck_assert_int_eq(alone.items[1].outcome, FANOUT_UNKNOWN);
    ck_assert_int_eq(alone.reports[0].outcome, FANOUT_UNKNOWN);
}
END_TEST

START_TEST(a_write_that_everybody_refused_was_not_done)
{
    alone_shards(&alone, 1, 1, 1);
    alone_items(&alone, FANOUT_WRITE, 2, 10000 * MS);
    for (uint32_t i = 0; i < 8; i++) {
        alone_says(&alone, i, i % 2 == 0 ? OMEN_E_BUSY : OMEN_E_STALE_MAP);
        alone_wait(&alone, 65 * MS);
    }
    ck_assert_uint_eq(alone.answer_count, 1);
    ck_assert_int_eq(alone.items[0].status, OMEN_E_STALE_MAP);
    ck_assert_int_eq(alone.items[0].outcome, FANOUT_NOT_APPLIED);
}
END_TEST

START_TEST(one_unsure_try_makes_a_write_unknown_whatever_the_others_said)
{
    static const omen_status unsure[] = {
        OMEN_E_TIMEOUT,  OMEN_E_IO,      OMEN_E_CORRUPT, OMEN_E_CLOSED,
        OMEN_E_INTERNAL, OMEN_E_VERSION, -12345,         7};
    alone_shards(&alone, 1, 1, 1);
    alone_items(&alone, FANOUT_WRITE, 2, 10000 * MS);
    for (uint32_t i = 0; i < 8; i++) {
        alone_says(&alone, i, i == 0 ? unsure[_i] : OMEN_E_BUSY);
        alone_wait(&alone, 65 * MS);
    }
    ck_assert_uint_eq(alone.answer_count, 1);
    ck_assert_int_eq(alone.items[0].status, OMEN_E_TIMEOUT);
    ck_assert_int_eq(alone.items[0].outcome, FANOUT_UNKNOWN);
}
END_TEST

START_TEST(a_shard_that_refuses_for_good_is_not_asked_again)
{
    static const omen_status final[] = {OMEN_E_READ_ONLY, OMEN_E_DISK_FULL, OMEN_E_NO_MEMORY,
                                        OMEN_E_DIMENSION, OMEN_E_LOCKED,    OMEN_E_CANCELLED};
    alone_shards(&alone, 1, 2, 1);
    alone_items(&alone, FANOUT_WRITE, 2, 1000 * MS);
    alone_says(&alone, 0, final[_i]);
    alone_wait(&alone, 100 * MS);
    ck_assert_uint_eq(alone.send_count, 2);
    ck_assert_uint_eq(alone.answer_count, 0); // the other shard goes on
    alone_says(&alone, 1, OMEN_OK);
    ck_assert_int_eq(alone.answers[0].status, final[_i]);
    ck_assert_uint_eq(alone.answers[0].shard, 1);
    ck_assert_int_eq(alone.items[0].status, final[_i]);
    ck_assert_int_eq(alone.items[0].outcome, FANOUT_NOT_APPLIED);
    ck_assert_int_eq(alone.items[1].outcome, FANOUT_APPLIED);
}
END_TEST

START_TEST(a_refusal_for_good_behind_an_unanswered_try_leaves_it_unknown)
{
    alone_shards(&alone, 1, 1, 1);
    alone_items(&alone, FANOUT_WRITE, 1, 1000 * MS);
    alone_wait(&alone, 450 * MS);
    ck_assert_uint_eq(alone.send_count, 2);
    alone_says(&alone, 1, OMEN_E_CONFLICT);
    ck_assert_int_eq(alone.answers[0].status, OMEN_E_CONFLICT);
    ck_assert_int_eq(alone.items[0].outcome, FANOUT_UNKNOWN);
}
END_TEST

START_TEST(a_late_answer_of_an_earlier_try_acknowledges_the_write)
{
    alone_shards(&alone, 1, 1, 1);
    alone_items(&alone, FANOUT_WRITE, 1, 1000 * MS);
    alone_wait(&alone, 450 * MS);
    ck_assert_uint_eq(alone.send_count, 2);
    alone_says(&alone, 0, OMEN_OK);
    ck_assert_int_eq(alone.items[0].outcome, FANOUT_APPLIED);
    alone_says(&alone, 1, OMEN_OK);
    ck_assert_uint_eq(alone.answer_count, 1); // once
}
END_TEST

// Nothing was done now; whether an earlier request did it nobody knows.
START_TEST(a_write_that_a_shard_has_forgotten_is_of_unknown_outcome_and_not_tried_again)
{
    alone_shards(&alone, 1, 2, 1);
    alone_items(&alone, FANOUT_WRITE, 2, 1000 * MS);
    alone_says(&alone, 0, OMEN_E_OP_EXPIRED);
    alone_says(&alone, 1, OMEN_OK);
    ck_assert_uint_eq(alone.answer_count, 1);
    ck_assert_uint_eq(alone.send_count, 2);
    ck_assert_int_eq(alone.answers[0].status, OMEN_E_OP_EXPIRED);
    ck_assert_int_eq(alone.items[0].status, OMEN_E_OP_EXPIRED);
    ck_assert_int_eq(alone.items[0].outcome, FANOUT_UNKNOWN);
    ck_assert_int_eq(alone.items[1].outcome, FANOUT_APPLIED);
    ck_assert_int_eq(alone.reports[0].outcome, FANOUT_UNKNOWN);
}
END_TEST

START_TEST(a_write_to_every_shard_has_reports_instead_of_items)
{
    alone_shards(&alone, 1, 3, 1);
    alone_start(&alone, (struct fanout_start){.kind = FANOUT_WRITE, .op_id = {0, 1}}, 100 * MS);
    ck_assert_uint_eq(alone.send_count, 3);
    ck_assert_uint_eq(alone.sends[1].item_count, 0);
    alone_says(&alone, 1, OMEN_OK);
    alone_wait(&alone, 100 * MS);
    ck_assert_uint_eq(alone.answers[0].failed_count, 2);
    ck_assert_uint_eq(alone.answers[0].report_count, 3);
    ck_assert_int_eq(alone.reports[0].outcome, FANOUT_UNKNOWN);
    ck_assert_int_eq(alone.reports[2].outcome, FANOUT_APPLIED);
    ck_assert_uint_eq(alone.reports[2].shard, 2);
}
END_TEST

// ---- searches ----

START_TEST(a_search_that_makes_no_sense_ends_at_the_first_shard_that_says_so)
{
    alone_shards(&alone, 1, 4, 2);
    alone_search(&alone, FANOUT_ANY, _i == 1, 1000 * MS);
    alone_wait(&alone, 25 * MS); // hedged as well
    const uint32_t sent = alone.send_count;
    alone_says(&alone, 2, OMEN_E_FILTER);
    ck_assert_uint_eq(alone.answer_count, 1);
    ck_assert_int_eq(alone.answers[0].status, OMEN_E_FILTER);
    ck_assert_uint_eq(alone.answers[0].shard, 3);
    ck_assert_uint_eq(alone.answers[0].hit_count, 0);
    ck_assert_uint_eq(alone.cancel_count, sent - 1);
    ck_assert_int_eq(alone.reports[1].status, OMEN_E_CANCELLED);
}
END_TEST

START_TEST(a_read_by_id_that_is_refused_for_good_calls_its_hedge_back)
{
    alone_shards(&alone, 1, 2, 2);
    alone_items(&alone, FANOUT_GET, 2, 1000 * MS);
    alone_wait(&alone, 25 * MS);
    ck_assert_uint_eq(alone.send_count, 4);
    alone_says(&alone, 0, OMEN_E_FIELD_TYPE);
    ck_assert_uint_eq(alone.cancel_count, 1);
    ck_assert_uint_eq(alone.answer_count, 0);
}
END_TEST

START_TEST(an_answer_without_some_shards_is_given_where_it_is_wanted)
{
    const struct merge_hit hit = {.distance = 1, .number = 4, .version = 1};
    alone_shards(&alone, 1, 3, 1);
    alone_search(&alone, FANOUT_ANY, _i == 1, 100 * MS);
    const struct fanout_send first = alone.sends[0];
    alone_reply(&alone, &first, (struct fanout_reply){.hits = {&hit, 1}});
    alone_says(&alone, 2, OMEN_OK);
    alone_wait(&alone, 100 * MS);
    const struct fanout_answer *answer = &alone.answers[0];
    ck_assert_uint_eq(alone.answer_count, 1);
    ck_assert_int_eq(answer->status, _i == 1 ? OMEN_OK : OMEN_E_TIMEOUT);
    ck_assert_uint_eq(answer->shard, _i == 1 ? 0 : 2);
    ck_assert_uint_eq(answer->hit_count, _i == 1 ? 1 : 0);
    ck_assert_uint_eq(answer->failed_count, 1);
    ck_assert_uint_eq(answer->report_count, 3);
    ck_assert_uint_eq(alone.reports[0].shard, 2);
    ck_assert_int_eq(alone.reports[0].status, OMEN_E_TIMEOUT);
}
END_TEST

START_TEST(an_answer_without_any_shard_is_an_error)
{
    alone_shards(&alone, 1, 3, 1);
    alone_search(&alone, FANOUT_ANY, true, 100 * MS);
    alone_wait(&alone, 100 * MS);
    ck_assert_int_eq(alone.answers[0].status, OMEN_E_TIMEOUT);
    ck_assert_uint_eq(alone.answers[0].shard, 1);
    ck_assert_uint_eq(alone.answers[0].failed_count, 3);
}
END_TEST

START_TEST(a_shard_out_of_tries_ends_a_search_that_must_be_whole_and_not_one_that_need_not)
{
    struct fanout_config config = alone_config();
    config.tries_max = 1;
    alone_close(&alone);
    alone_open(&alone, &config);
    alone_shards(&alone, 1, 2, 1);
    alone_search(&alone, FANOUT_ANY, _i == 1, 100 * MS);
    alone_says(&alone, 0, OMEN_E_IO);
    alone_wait(&alone, 10 * MS);
    ck_assert_uint_eq(alone.answer_count, _i == 1 ? 0 : 1);
    if (_i == 0)
        ck_assert_int_eq(alone.answers[0].status, OMEN_E_IO);
    alone_says(&alone, 1, OMEN_OK);
    ck_assert_uint_eq(alone.answer_count, 1);
    ck_assert_uint_eq(alone.answers[0].failed_count, _i == 1 ? 1 : 2);
    ck_assert_int_eq(alone.reports[0].status, OMEN_E_IO);
}
END_TEST

START_TEST(a_search_without_hits_leaves_the_answers_to_the_shell)
{
    alone_shards(&alone, 1, 2, 1);
    alone_start(&alone, (struct fanout_start){.kind = FANOUT_SEARCH}, 100 * MS);
    alone_says(&alone, 0, OMEN_OK);
    ck_assert(alone.out.taken);
    alone_says(&alone, 1, OMEN_OK);
    ck_assert_int_eq(alone.answers[0].status, OMEN_OK);
    ck_assert_uint_eq(alone.answers[0].hit_count, 0);
}
END_TEST

START_TEST(reads_go_elsewhere_when_a_copy_is_broken)
{
    static const omen_status broken[] = {OMEN_E_CORRUPT,   OMEN_E_IO,        OMEN_E_INTERNAL,
                                         OMEN_E_NO_MEMORY, OMEN_E_DISK_FULL, OMEN_E_LOCKED,
                                         OMEN_E_CANCELLED, OMEN_E_TIMEOUT,   -999};
    alone_shards(&alone, 1, 1, 2);
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    alone_says(&alone, 0, broken[_i]);
    ck_assert_uint_eq(alone.send_count, 2);
    ck_assert_uint_ne(alone.sends[0].node, alone.sends[1].node);
}
END_TEST

// ---- stale routes ----

START_TEST(who_names_a_newer_map_makes_it_wanted_and_asked_for_again_after_a_while)
{
    alone_shards(&alone, 5, 1, 2);
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    const struct fanout_send first = alone.sends[0];
    alone_reply(&alone, &first,
                (struct fanout_reply){.status = OMEN_E_STALE_MAP, .map_version = 8});
    ck_assert_uint_eq(alone.out.want_version, 8);
    ck_assert_uint_eq(alone.send_count, 2); // another copy may not know yet
    alone_step(&alone, (struct fanout_input){.kind = FANOUT_IN_WAKE});
    ck_assert_uint_eq(alone.out.want_version, 0);
    alone.now_ns += 5 * MS;
    alone_step(&alone, (struct fanout_input){.kind = FANOUT_IN_WAKE});
    ck_assert_uint_eq(alone.out.want_version, 8);
    alone_shards(&alone, 8, 1, 2);
    alone.now_ns += 5 * MS;
    alone_step(&alone, (struct fanout_input){.kind = FANOUT_IN_WAKE});
    ck_assert_uint_eq(alone.out.want_version, 0);
}
END_TEST

START_TEST(a_map_that_was_asked_for_in_vain_is_asked_for_again_when_no_request_is_left)
{
    alone_shards(&alone, 5, 1, 1);
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    const struct fanout_send sent = alone.sends[0];
    alone_reply(&alone, &sent, (struct fanout_reply){.map_version = 8});
    ck_assert_uint_eq(alone.out.want_version, 8);
    ck_assert_uint_eq(alone.fanout.request_count, 0);
    const uint64_t due_ns = alone.out.wake_ns;
    ck_assert_uint_ne(due_ns, UINT64_MAX);
    alone.now_ns = due_ns;
    alone_step(&alone, (struct fanout_input){.kind = FANOUT_IN_WAKE});
    ck_assert_uint_eq(alone.out.want_version, 8);
    alone_shards(&alone, 8, 1, 1);
    alone.now_ns += 1000 * MS;
    alone_step(&alone, (struct fanout_input){.kind = FANOUT_IN_WAKE});
    ck_assert_uint_eq(alone.out.want_version, 0);
    ck_assert_uint_eq(alone.out.wake_ns, UINT64_MAX);
}
END_TEST

// ---- hostile ----

START_TEST(an_answer_that_nobody_waits_for_is_dropped)
{
    alone_shards(&alone, 1, 2, 1);
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    const struct fanout_send sent = alone.sends[0];
    struct fanout_reply reply = {
        .request = sent.request, .part = sent.part, .attempt = sent.attempt, .node = sent.node};
    switch (_i) {
    case 0:
        reply.request += FANOUT_REQUESTS_MAX;
        break;
    case 1:
        reply.request = 0;
        break;
    case 2:
        reply.part = UINT32_MAX;
        break;
    case 3:
        reply.part = alone.fanout.part_room - 1; // free
        break;
    case 4:
        reply.part = alone.sends[1].part;
        break;
    case 5:
        reply.attempt = 0;
        break;
    case 6:
        reply.attempt = 99;
        break;
    case 7:
        reply.node++;
        break;
    }
    alone_step(&alone, (struct fanout_input){.kind = FANOUT_IN_REPLY, .reply = &reply});
    ck_assert(!alone.out.taken);
    ck_assert_uint_eq(alone.fanout.counters.late_replies, 1);
    ck_assert_uint_eq(alone.fanout.requests[sent.request % FANOUT_REQUESTS_MAX].waiting, 2);
}
END_TEST

START_TEST(an_answer_that_makes_no_sense_is_that_of_a_broken_copy)
{
    struct merge_hit hits[11];
    for (uint32_t i = 0; i < 11; i++)
        hits[i] = (struct merge_hit){.distance = (float)i, .number = i, .version = 1};
    struct fanout_reply reply = {.hits = {hits, 10}};
    alone_shards(&alone, 1, 1, 2);
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    const struct fanout_send sent = alone.sends[0];
    switch (_i) {
    case 0:
        reply.hits.count = 11; // more than were asked for
        break;
    case 1:
        hits[3].distance = NAN;
        break;
    case 2:
        hits[3].distance = 2;
        hits[3].number = 2;
        break;
    case 3:
        reply.term = FANOUT_NUMBER_MAX;
        break;
    case 4:
        reply.seq = UINT64_MAX;
        break;
    case 5:
        reply.map_version = FANOUT_NUMBER_MAX;
        break;
    case 6:
        reply.status = 1;
        break;
    }
    alone_reply(&alone, &sent, reply);
    ck_assert(!alone.out.taken);
    ck_assert_uint_eq(alone.fanout.counters.refused_replies, 1);
    ck_assert_uint_eq(alone.out.want_version, 0);
    ck_assert_uint_eq(alone.send_count, 2);
    ck_assert_uint_ne(alone.sends[1].node, sent.node);
}
END_TEST

START_TEST(statuses_that_do_not_fit_the_items_are_not_taken)
{
    const omen_status statuses[] = {OMEN_OK, 5, OMEN_OK};
    alone_shards(&alone, 1, 1, 1);
    alone_items(&alone, FANOUT_WRITE, _i == 0 ? 2 : 3, 100 * MS);
    const struct fanout_send sent = alone.sends[0];
    alone_reply(&alone, &sent, (struct fanout_reply){.statuses = statuses, .item_count = 3});
    ck_assert(!alone.out.taken);
    ck_assert_uint_eq(alone.fanout.counters.refused_replies, 1);
    alone_wait(&alone, 100 * MS);
    ck_assert_int_eq(alone.items[0].outcome, FANOUT_UNKNOWN); // it may have been done
}
END_TEST

START_TEST(what_a_copy_says_of_its_queue_is_bounded)
{
    alone_shards(&alone, 1, 1, 2);
    alone_search(&alone, FANOUT_ANY, false, 1000 * MS);
    const struct fanout_send sent = alone.sends[0];
    alone_reply(&alone, &sent, (struct fanout_reply){.queue = UINT32_MAX});
    ck_assert_uint_eq(alone.answer_count, 1);
}
END_TEST

static Suite *
reply_suite(void)
{
    Suite *suite = suite_create("router/reply");
    TCase *tcase = tcase_create("reply");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_write_is_answered_item_by_item_in_its_order);
    tcase_add_test(tcase, a_read_by_id_is_answered_item_by_item);
    tcase_add_test(tcase, a_read_of_which_one_shard_says_nothing_has_the_others);
    tcase_add_test(tcase, every_try_of_a_write_carries_the_same_operation);
    tcase_add_test(tcase, a_write_that_nobody_answered_is_unknown);
    tcase_add_test(tcase, a_write_that_everybody_refused_was_not_done);
    tcase_add_loop_test(tcase, one_unsure_try_makes_a_write_unknown_whatever_the_others_said, 0, 8);
    tcase_add_loop_test(tcase, a_shard_that_refuses_for_good_is_not_asked_again, 0, 6);
    tcase_add_test(tcase, a_refusal_for_good_behind_an_unanswered_try_leaves_it_unknown);
    tcase_add_test(tcase, a_late_answer_of_an_earlier_try_acknowledges_the_write);
    tcase_add_test(tcase,
                   a_write_that_a_shard_has_forgotten_is_of_unknown_outcome_and_not_tried_again);
    tcase_add_test(tcase, a_write_to_every_shard_has_reports_instead_of_items);
    tcase_add_loop_test(tcase, a_search_that_makes_no_sense_ends_at_the_first_shard_that_says_so, 0,
                        2);
    tcase_add_test(tcase, a_read_by_id_that_is_refused_for_good_calls_its_hedge_back);
    tcase_add_loop_test(tcase, an_answer_without_some_shards_is_given_where_it_is_wanted, 0, 2);
    tcase_add_test(tcase, an_answer_without_any_shard_is_an_error);
    tcase_add_loop_test(
        tcase, a_shard_out_of_tries_ends_a_search_that_must_be_whole_and_not_one_that_need_not, 0,
        2);
    tcase_add_test(tcase, a_search_without_hits_leaves_the_answers_to_the_shell);
    tcase_add_loop_test(tcase, reads_go_elsewhere_when_a_copy_is_broken, 0, 9);
    tcase_add_test(tcase, who_names_a_newer_map_makes_it_wanted_and_asked_for_again_after_a_while);
    tcase_add_test(tcase,
                   a_map_that_was_asked_for_in_vain_is_asked_for_again_when_no_request_is_left);
    tcase_add_loop_test(tcase, an_answer_that_nobody_waits_for_is_dropped, 0, 8);
    tcase_add_loop_test(tcase, an_answer_that_makes_no_sense_is_that_of_a_broken_copy, 0, 7);
    tcase_add_loop_test(tcase, statuses_that_do_not_fit_the_items_are_not_taken, 0, 2);
    tcase_add_test(tcase, what_a_copy_says_of_its_queue_is_bounded);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(reply_suite)
