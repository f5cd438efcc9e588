// tests/unit/replica/test_op.c -- which operations a primary takes: what is known, whatever its age, and what was never done.
//
// Shape: shell.
#include "tests/lib/check_main.h"
#include "tests/lib/replica_alone.h"

#define START_MS 10000000u // on the primary's clock, in a year when little happened

static struct alone one;

static struct replica_uuid
drawn(uint64_t ms, uint64_t chance)
{
    const struct opid id = opid_draw(ms, (struct opid){0, chance});
    return (struct replica_uuid){id.high, id.low};
}

static uint64_t
now_ms(void)
{
    return one.now_ns / MS;
}

static void
lead(void)
{
    alone_lead(&one);
    one.now_ns = START_MS * MS;
    alone_wait(&one, 0);
}

// The status that it is answered with at once; OMEN_OK: it waits, or is done.
static omen_status
propose(struct replica_uuid op_id)
{
    struct omen_error error;
    const struct replica_proposal proposal = {.request = 1, .op_id = op_id};
    const uint64_t last = one.replica.last_seq;
    const omen_status said = replica_check_op(&one.replica, op_id, now_ms(), &error);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_PROPOSE,
                                            .proposals = &proposal,
                                            .proposal_count = 1,
                                            .cfg_ver = one.replica.meta.cfg_ver});
    const omen_status status = one.out.answer_count > 0 ? one.out.answers[0].status : OMEN_OK;
    ck_assert_int_eq(said, status);
    if (status != OMEN_OK) {
        ck_assert_int_eq(one.out.answers[0].outcome, REPLICA_FAILED);
        ck_assert_ptr_null(one.out.append);
        ck_assert_uint_eq(one.replica.last_seq, last);
        ck_assert_ptr_nonnull(strstr(error.text, "op_id"));
        return status;
    }
    alone_persisted(&one);
    alone_ack(&one, 2, one.replica.last_seq);
    alone_ack(&one, 3, one.replica.last_seq);
    alone_applied(&one);
    return status;
}

START_TEST(what_was_drawn_long_ago_is_taken_where_nothing_was_forgotten)
{
    lead();
    ck_assert_int_eq(propose(drawn(1, 1)), OMEN_OK);
    ck_assert_uint_eq(one.replica.last_seq, 2);
}
END_TEST

// The primary's clock jumps two hours forward, and then back behind where it was; clients' go right.
START_TEST(a_clock_that_jumps_keeps_nothing_new_out_and_lets_nothing_old_in)
{
    lead();
    const uint64_t right_ms = now_ms();
    const struct replica_uuid first = drawn(right_ms, 1);
    ck_assert_int_eq(propose(first), OMEN_OK);
    one.now_ns += 7200000 * MS; // its stamps are as far ahead
    ck_assert_int_eq(propose(drawn(right_ms + 1, 2)), OMEN_OK);
    ck_assert_int_eq(propose(drawn(right_ms + 2, 3)), OMEN_OK);
    ck_assert_int_eq(propose(first), OMEN_E_OP_EXPIRED); // it was forgotten for its age
    one.now_ns = START_MS / 2 * MS;
    ck_assert_int_eq(propose(drawn(right_ms + 3, 4)), OMEN_OK);
    ck_assert_int_eq(propose(drawn(right_ms + 2, 3)), OMEN_OK); // known
    ck_assert_int_eq(propose(first), OMEN_E_OP_EXPIRED);
    ck_assert_uint_eq(one.replica.last_seq, 5);
}
END_TEST

START_TEST(what_was_drawn_five_minutes_ahead_is_taken_and_a_millisecond_more_is_invalid)
{
    lead();
    ck_assert_int_eq(propose(drawn(now_ms() + OPID_AHEAD_MS, 1)), OMEN_OK);
    ck_assert_int_eq(propose(drawn(now_ms() + OPID_AHEAD_MS + 1, 2)), OMEN_E_INVALID);
    ck_assert_uint_eq(one.replica.last_seq, 2);
}
END_TEST

START_TEST(what_is_no_uuid7_is_invalid_and_none_is_taken_each_time)
{
    lead();
    ck_assert_int_eq(propose((struct replica_uuid){now_ms() << 16 | 0x4000, UINT64_C(1) << 63}),
                     OMEN_E_INVALID);
    ck_assert_int_eq(propose((struct replica_uuid){now_ms() << 16 | 0x7000, UINT64_C(1) << 62}),
                     OMEN_E_INVALID);
    ck_assert_int_eq(propose((struct replica_uuid){0, 0}), OMEN_OK);
    ck_assert_int_eq(propose((struct replica_uuid){0, 0}), OMEN_OK);
    ck_assert_uint_eq(one.replica.last_seq, 3);
}
END_TEST

START_TEST(what_is_known_is_answered_whatever_its_age)
{
    lead();
    const struct replica_uuid op = drawn(now_ms() - OPID_OLD_MS, 1);
    ck_assert_int_eq(propose(op), OMEN_OK);
    one.now_ns += 3600000 * MS; // nothing was written meanwhile, so nothing was forgotten
    ck_assert_int_eq(propose(op), OMEN_OK);
    ck_assert_uint_eq(one.replica.last_seq, 2);
}
END_TEST

START_TEST(what_the_time_has_forgotten_is_refused)
{
    lead();
    const struct replica_uuid op =
        drawn(now_ms() + OPID_AHEAD_MS, 1); // the longest that one may be asked again
    ck_assert_int_eq(propose(op), OMEN_OK);
    one.now_ns += (uint64_t)DEDUPE_WINDOW_MS * MS;
    ck_assert_int_eq(propose(drawn(now_ms(), 2)), OMEN_OK);
    ck_assert_int_eq(propose(op), OMEN_OK);
    ck_assert_uint_eq(one.replica.last_seq, 3); // known
    one.now_ns += MS;
    ck_assert_int_eq(propose(drawn(now_ms(), 3)), OMEN_OK);
    ck_assert_int_eq(propose(op), OMEN_E_OP_EXPIRED);
    ck_assert_uint_eq(one.replica.last_seq, 4);
}
END_TEST

START_TEST(what_was_forgotten_for_others_is_refused_although_it_is_new)
{
    lead();
    for (uint64_t i = 0; i <= one.replica.config.ops_max; i++) {
        one.now_ns += MS;
        ck_assert_int_eq(propose(drawn(now_ms(), 1)), OMEN_OK);
    }
    ck_assert_uint_eq(one.replica.ops.forgot_ms, START_MS + 2);
    // Room is made for each proposal before it is looked at.
    ck_assert_int_eq(propose(drawn(START_MS + 1, 1)), OMEN_E_OP_EXPIRED);
    ck_assert_uint_eq(one.replica.ops.forgot_ms, START_MS + 3);
    const uint64_t last = one.replica.last_seq;
    ck_assert_int_eq(propose(drawn(START_MS + 3, 1)), OMEN_OK);
    ck_assert_uint_eq(one.replica.last_seq, last); // known
    ck_assert_int_eq(propose(drawn(START_MS + 3, 2)), OMEN_OK);
    ck_assert_uint_eq(one.replica.last_seq, last + 1); // never done
}
END_TEST

// The log's stamps were made by a clock that was ten minutes ahead of this one's.
START_TEST(a_new_primary_with_a_slower_clock_refuses_what_the_old_one_forgot)
{
    alone_open(&one, 1, 2);
    one.now_ns = START_MS * MS;
    const struct replica_uuid op = drawn(now_ms() - 1000, 1);
    struct replica_entry entries[] = {
        {.seq = 1, .term = 1, .stamp_ms = now_ms(), .kind = REPLICA_ENTRY_TERM_START},
        {.seq = 2, .term = 1, .stamp_ms = now_ms(), .kind = REPLICA_ENTRY_OP, .op_id = op},
        {.seq = 3, .term = 1, .kind = REPLICA_ENTRY_OP, .op_id = drawn(now_ms(), 2)}};
    entries[2].stamp_ms = now_ms() + DEDUPE_WINDOW_MS + 1;
    alone_message(&one, (struct replica_msg){.kind = REPLICA_APPEND,
                                             .from = uuid_of(2),
                                             .term = 1,
                                             .commit = 3,
                                             .entries = entries,
                                             .entry_count = 3});
    alone_persisted(&one);
    alone_applied(&one);
    ck_assert_uint_eq(dedupe_find(&one.replica.ops, op), 0);
    alone_meta(&one, 2, 1);
    alone_persisted(&one);
    alone_ack(&one, 2, 4);
    alone_ack(&one, 3, 4);
    alone_applied(&one);
    ck_assert(replica_is_open(&one.replica));
    ck_assert_int_eq(propose(op), OMEN_E_OP_EXPIRED);
    ck_assert_int_eq(propose(drawn(now_ms(), 2)), OMEN_OK); // known
    ck_assert_uint_eq(one.replica.last_seq, 4);
    ck_assert_int_eq(propose(drawn(now_ms(), 3)), OMEN_OK);
    ck_assert_uint_eq(one.replica.last_seq, 5);
}
END_TEST

START_TEST(one_that_is_refused_takes_none_of_its_batch_with_it)
{
    lead();
    const struct replica_proposal three[] = {
        {.request = 1, .op_id = drawn(now_ms(), 1)},
        {.request = 2, .op_id = drawn(now_ms() + OPID_AHEAD_MS + 1, 2)},
        {.request = 3, .op_id = drawn(now_ms(), 3)}};
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_PROPOSE,
                                            .proposals = three,
                                            .proposal_count = 3,
                                            .cfg_ver = one.replica.meta.cfg_ver});
    ck_assert_uint_eq(one.out.answer_count, 1);
    ck_assert_uint_eq(one.out.answers[0].request, 2);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_INVALID);
    ck_assert_uint_eq(one.out.append_count, 2);
}
END_TEST

static void
teardown(void)
{
    replica_fini(&one.replica);
}

static Suite *
op_suite(void)
{
    Suite *suite = suite_create("replica/op");
    TCase *tcase = tcase_create("op");
    tcase_add_checked_fixture(tcase, NULL, teardown);
    tcase_add_test(tcase, what_was_drawn_long_ago_is_taken_where_nothing_was_forgotten);
    tcase_add_test(tcase, a_clock_that_jumps_keeps_nothing_new_out_and_lets_nothing_old_in);
    tcase_add_test(tcase,
                   what_was_drawn_five_minutes_ahead_is_taken_and_a_millisecond_more_is_invalid);
    tcase_add_test(tcase, what_is_no_uuid7_is_invalid_and_none_is_taken_each_time);
    tcase_add_test(tcase, what_is_known_is_answered_whatever_its_age);
    tcase_add_test(tcase, what_the_time_has_forgotten_is_refused);
    tcase_add_test(tcase, what_was_forgotten_for_others_is_refused_although_it_is_new);
    tcase_add_test(tcase, a_new_primary_with_a_slower_clock_refuses_what_the_old_one_forgot);
    tcase_add_test(tcase, one_that_is_refused_takes_none_of_its_batch_with_it);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(op_suite)
