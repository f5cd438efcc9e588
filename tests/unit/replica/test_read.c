// tests/unit/replica/test_read.c -- strong reads and proposals at the limits: what has no room, or no right, is told so at once.
//
// Shape: shell.
#include "tests/lib/check_main.h"
#include "tests/lib/replica_alone.h"

static struct alone one;

static void
yes(uint64_t from, uint64_t term, uint64_t round)
{
    alone_message(&one, (struct replica_msg){.kind = REPLICA_CONFIRM_ACK,
                                             .from = uuid_of(from),
                                             .term = term,
                                             .round = round});
}

static void
propose(uint32_t count, const struct replica_proposal *proposals)
{
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_PROPOSE,
                                            .proposals = proposals,
                                            .proposal_count = count,
                                            .cfg_ver = one.replica.meta.cfg_ver});
}

START_TEST(reads_go_to_the_primary_only_and_wait_until_it_is_open)
{
    alone_open(&one, 1, 2);
    alone_read(&one, 1);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_STALE_MAP);
    alone_open(&one, 1, 1);
    alone_read(&one, 1);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_BUSY);
}
END_TEST

START_TEST(reads_stop_below_the_minimum_and_at_the_limit)
{
    alone_lead(&one);
    for (uint64_t i = 0; i < REPLICA_READS_MAX; i++)
        alone_read(&one, i);
    ck_assert_uint_eq(one.out.answer_count, 0);
    alone_read(&one, 99);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_BUSY);
    one.meta.in_sync_count = 1;
    alone_meta(&one, 1, 1);
    alone_read(&one, 100);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_BUSY);
}
END_TEST

START_TEST(reads_under_way_are_sent_elsewhere_when_the_term_ends)
{
    alone_lead(&one);
    alone_read(&one, 1);
    alone_read(&one, 2);
    alone_meta(&one, 2, 2);
    ck_assert_uint_eq(one.out.answer_count, 2);
    ck_assert_int_eq(one.out.answers[1].status, OMEN_E_STALE_MAP);
    alone_read_done(&one, 1);
    ck_assert_uint_eq(one.out.answer_count, 0);
}
END_TEST

START_TEST(confirmations_of_nobody_or_another_term_or_round_do_not_count)
{
    alone_lead(&one);
    alone_read(&one, 1);
    yes(2, 1, 1);
    yes(3, 0, 1);
    yes(3, 1, 2);
    yes(9, 1, 1);
    ck_assert_uint_eq(one.out.serve_read_count, 0);
    alone_read_done(&one, 1); // it is not being read
    ck_assert_uint_eq(one.out.answer_count, 0);
    yes(3, 1, 1);
    ck_assert_uint_eq(one.out.serve_read_count, 1);
    yes(3, 1, 1);
    alone_read_done(&one, 7);
    ck_assert_uint_eq(one.out.answer_count, 0);
    alone_read_done(&one, 1);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_OK);
}
END_TEST

START_TEST(a_confirmation_that_is_lost_is_asked_for_again)
{
    alone_lead(&one);
    alone_read(&one, 1);
    ck_assert_uint_le(one.out.wake_ns, one.now_ns + 20 * MS);
    alone_wait(&one, 20 * MS);
    ck_assert_ptr_nonnull(alone_sent(&one, REPLICA_CONFIRM));
}
END_TEST

START_TEST(one_operation_twice_in_a_batch_is_one_entry)
{
    const struct replica_proposal two[] = {{.request = 1, .op_id = alone_op(1)},
                                           {.request = 2, .op_id = alone_op(2)},
                                           {.request = 3, .op_id = alone_op(1)},
                                           {.request = 4}};
    alone_lead(&one);
    propose(4, two);
    ck_assert_uint_eq(one.out.append_count, 3);
    alone_persisted(&one);
    alone_ack(&one, 2, 4);
    alone_ack(&one, 3, 4);
    alone_applied(&one);
    ck_assert_uint_eq(one.out.answer_count, 4);
    ck_assert_uint_eq(one.out.answers[1].request, 3);
    ck_assert_uint_eq(one.out.answers[1].seq, 2);
}
END_TEST

START_TEST(what_asks_for_the_primary_only_is_answered_when_durable_there)
{
    const struct replica_proposal proposal = {.request = 1, .primary_only = true};
    alone_lead(&one);
    propose(1, &proposal);
    ck_assert_uint_eq(one.out.answer_count, 0);
    alone_persisted(&one);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_OK);
    ck_assert_int_eq(one.out.answers[0].outcome, REPLICA_NOT_REPLICATED);
}
END_TEST

START_TEST(an_entry_that_is_too_large_is_refused_alone)
{
    const struct replica_proposal two[] = {
        {.request = 1, .byte_count = REPLICA_ENTRY_BYTES_MAX + 1}, {.request = 2}};
    alone_lead(&one);
    propose(2, two);
    ck_assert_uint_eq(one.out.answer_count, 1);
    ck_assert_uint_eq(one.out.answers[0].request, 1);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_INVALID);
    ck_assert_uint_eq(one.out.append_count, 1);
}
END_TEST

// `count` proposals without op_id, so that the table of operations does not matter.
static void
propose_many(uint32_t count)
{
    struct replica_proposal proposals[REPLICA_ENTRIES_MAX];
    memset(proposals, 0, sizeof proposals);
    propose(count, proposals);
}

START_TEST(proposals_that_nobody_could_remember_are_refused)
{
    alone_lead(&one);
    one.replica.ops.room_max = DEDUPE_OPS_MAX;
    for (uint32_t i = 0; i < REPLICA_WAITS_MAX / REPLICA_ENTRIES_MAX; i++) {
        propose_many(REPLICA_ENTRIES_MAX);
        ck_assert_uint_eq(one.out.answer_count, 0);
        alone_persisted(&one);
    }
    propose_many(1);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_BUSY);
}
END_TEST

START_TEST(answers_that_do_not_fit_come_at_the_next_wake)
{
    alone_lead(&one);
    one.replica.ops.room_max = DEDUPE_OPS_MAX;
    for (uint32_t i = 0; i < 3; i++)
        propose_many(REPLICA_ENTRIES_MAX);
    alone_persisted(&one);
    alone_meta(&one, 2, 2);
    ck_assert_uint_eq(one.out.answer_count, REPLICA_ANSWERS_MAX);
    ck_assert_uint_eq(one.out.wake_ns, one.now_ns);
    alone_wait(&one, 0);
    ck_assert_uint_eq(one.out.answer_count, 3 * REPLICA_ENTRIES_MAX - REPLICA_ANSWERS_MAX);
    ck_assert_uint_eq(one.replica.wait_count, 0);
}
END_TEST

START_TEST(a_new_term_takes_nothing_before_all_of_the_old_one_were_told)
{
    alone_lead(&one);
    one.replica.ops.room_max = DEDUPE_OPS_MAX;
    for (uint32_t i = 0; i < REPLICA_WAITS_MAX / REPLICA_ENTRIES_MAX; i++) {
        propose_many(REPLICA_ENTRIES_MAX);
        alone_persisted(&one);
    }
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_LEASE,
                                            .boot = 5,
                                            .sent_ns = one.now_ns,
                                            .lease_ns = 100 * MS,
                                            .known_ver = 1});
    alone_read(&one, 21);
    ck_assert_uint_eq(one.out.serve_reads[0], 21);
    alone_meta(&one, 2, 2);
    alone_meta(&one, 3, 1);
    alone_persisted(&one);
    alone_read_done(&one, 21); // it was read, but the answers before it come first
    alone_ack(&one, 2, one.replica.last_seq);
    alone_ack(&one, 3, one.replica.last_seq);
    ck_assert(replica_is_open(&one.replica));
    propose_many(1);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_BUSY);
    alone_read(&one, 22);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_BUSY);
    while (one.replica.wait_count > 0)
        alone_wait(&one, 0);
    alone_wait(&one, 0);
    ck_assert_uint_eq(one.replica.read_count, 0);
    propose_many(1);
    ck_assert_uint_eq(one.out.answer_count, 0);
}
END_TEST

START_TEST(no_more_than_a_window_waits_to_be_committed)
{
    struct replica_proposal proposals[REPLICA_ENTRIES_MAX];
    memset(proposals, 0, sizeof proposals);
    for (uint32_t i = 0; i < REPLICA_ENTRIES_MAX; i++)
        proposals[i].primary_only = true; // answered, and so not waited for
    alone_lead(&one);
    one.replica.ops.room_max = DEDUPE_OPS_MAX;
    for (uint32_t i = 0; i < REPLICA_WINDOW / REPLICA_ENTRIES_MAX; i++) {
        propose(REPLICA_ENTRIES_MAX, proposals);
        alone_persisted(&one);
        ck_assert_int_eq(one.out.answers[0].status, OMEN_OK);
    }
    propose(1, proposals);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_BUSY);
}
END_TEST

START_TEST(a_disk_that_takes_no_more_commits_stops_the_intake)
{
    alone_lead(&one);
    for (uint32_t i = 0; i < REPLICA_TICKETS_MAX; i++)
        propose_many(1);
    ck_assert_uint_eq(one.out.answer_count, 0);
    propose_many(1);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_BUSY);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_CHECKSUM});
    ck_assert_uint_eq(one.out.append_count, 0);
    alone_meta(&one, 2, 2);
    alone_append(&one, 2, 2, 1, 1, 2, 1, 1); // its promise would need a ticket
    ck_assert_uint_eq(one.replica.promised, 1);
    alone_meta(&one, 3, 1); // and so would leading again
    ck_assert_int_eq(one.replica.role, REPLICA_BACKUP);
    ck_assert_uint_eq(one.out.wake_ns, one.now_ns);
    alone_persisted(&one);
    ck_assert_int_eq(one.replica.role, REPLICA_OPENING);
}
END_TEST

START_TEST(a_transfer_goes_to_who_is_in_sync_and_ends_at_its_deadline)
{
    alone_lead(&one);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_TRANSFER, .uuid = uuid_of(4)});
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_TRANSFER, .uuid = uuid_of(9)});
    ck_assert_uint_eq(one.replica.transfer_to.low, 0);
    alone_propose(&one, 11, 1);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_TRANSFER, .uuid = uuid_of(2)});
    alone_wait(&one, 200 * MS);
    ck_assert_uint_eq(one.replica.transfer_to.low, 0);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_TRANSFER, .uuid = uuid_of(2)});
    one.meta.in_sync[1] = uuid_of(4); // it fell out
    one.meta.learners[0] = uuid_of(2);
    alone_meta(&one, 1, 1);
    ck_assert_uint_eq(one.replica.transfer_to.low, 0);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_TRANSFER, .uuid = uuid_of(3)});
    one.meta.in_sync_count = 2; // or left altogether
    alone_meta(&one, 1, 1);
    ck_assert_uint_eq(one.replica.transfer_to.low, 0);
    replica_fini(&one.replica);
    alone_open(&one, 1, 2);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_TRANSFER, .uuid = uuid_of(2)});
    ck_assert_uint_eq(one.replica.transfer_to.low, 0);
}
END_TEST

START_TEST(the_log_is_kept_for_who_lacks_it)
{
    alone_lead(&one);
    alone_ack(&one, 4, 1);
    alone_propose(&one, 11, 1);
    alone_persisted(&one);
    alone_ack(&one, 2, 2);
    ck_assert_uint_eq(replica_keep_from(&one.replica), 2);
    alone_ack(&one, 3, 2);
    alone_ack(&one, 4, 2);
    alone_applied(&one);
    ck_assert_uint_eq(replica_keep_from(&one.replica), 3);
}
END_TEST

static void
teardown(void)
{
    replica_fini(&one.replica);
}

static Suite *
read_suite(void)
{
    Suite *suite = suite_create("replica/read");
    TCase *tcase = tcase_create("read");
    tcase_add_checked_fixture(tcase, NULL, teardown);
    tcase_add_test(tcase, reads_go_to_the_primary_only_and_wait_until_it_is_open);
    tcase_add_test(tcase, reads_stop_below_the_minimum_and_at_the_limit);
    tcase_add_test(tcase, reads_under_way_are_sent_elsewhere_when_the_term_ends);
    tcase_add_test(tcase, confirmations_of_nobody_or_another_term_or_round_do_not_count);
    tcase_add_test(tcase, a_confirmation_that_is_lost_is_asked_for_again);
    tcase_add_test(tcase, one_operation_twice_in_a_batch_is_one_entry);
    tcase_add_test(tcase, what_asks_for_the_primary_only_is_answered_when_durable_there);
    tcase_add_test(tcase, an_entry_that_is_too_large_is_refused_alone);
    tcase_add_test(tcase, proposals_that_nobody_could_remember_are_refused);
    tcase_add_test(tcase, answers_that_do_not_fit_come_at_the_next_wake);
    tcase_add_test(tcase, a_new_term_takes_nothing_before_all_of_the_old_one_were_told);
    tcase_add_test(tcase, no_more_than_a_window_waits_to_be_committed);
    tcase_add_test(tcase, a_disk_that_takes_no_more_commits_stops_the_intake);
    tcase_add_test(tcase, a_transfer_goes_to_who_is_in_sync_and_ends_at_its_deadline);
    tcase_add_test(tcase, the_log_is_kept_for_who_lacks_it);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(read_suite)
