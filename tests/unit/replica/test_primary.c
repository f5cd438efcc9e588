// tests/unit/replica/test_primary.c -- when an operation counts as done, who is in sync, and what a strong read may say.
//
// Shape: shell.
#include "base/alloc.h"
#include "tests/lib/check_main.h"
#include "tests/lib/replica_alone.h"

static struct alone one;

static void
lease(uint64_t boot, uint64_t known_ver)
{
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_LEASE,
                                            .boot = boot,
                                            .sent_ns = one.now_ns,
                                            .lease_ns = 100 * MS,
                                            .known_ver = known_ver});
}

START_TEST(a_term_that_an_earlier_process_was_named_for_is_not_begun)
{
    alone_open(&one, 1, 2);
    one.meta.primary_boot = 4; // this process is 5
    alone_meta(&one, 2, 1);
    ck_assert_int_eq(one.replica.role, REPLICA_BACKUP);
    ck_assert_int_eq(one.out.notes[0].kind, REPLICA_NOTE_NEEDS_TERM);
    one.meta.primary_boot = 5;
    alone_meta(&one, 3, 1);
    ck_assert_int_eq(one.replica.role, REPLICA_OPENING);
}
END_TEST

START_TEST(nothing_leaves_before_the_promise_is_durable)
{
    alone_open(&one, 1, 1);
    ck_assert_uint_eq(one.out.msg_count + one.out.read_count, 0);
    ck_assert_uint_eq(one.out.promised, 1);
    ck_assert_int_eq(one.out.append[0].kind, REPLICA_ENTRY_TERM_START);
    alone_persisted(&one);
    ck_assert_uint_gt(one.out.msg_count + one.out.read_count, 0);
}
END_TEST

START_TEST(it_is_open_when_its_term_start_is_committed)
{
    alone_open(&one, 1, 1);
    alone_persisted(&one);
    alone_propose(&one, 1, 1);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_BUSY);
    alone_ack(&one, 2, 1);
    ck_assert(!replica_is_open(&one.replica));
    alone_ack(&one, 3, 1);
    ck_assert(replica_is_open(&one.replica));
}
END_TEST

START_TEST(a_write_is_done_when_all_in_sync_have_it_and_it_is_applied)
{
    alone_lead(&one);
    alone_propose(&one, 11, 1);
    ck_assert_uint_eq(one.out.append[0].seq, 2);
    alone_ack(&one, 2, 2);
    alone_ack(&one, 3, 2);
    ck_assert_uint_eq(one.replica.commit_seq, 1); // not durable here
    alone_persisted(&one);
    ck_assert_uint_eq(one.out.apply_last, 2);
    ck_assert_uint_eq(one.out.answer_count, 0);
    alone_applied(&one);
    ck_assert_uint_eq(one.out.answers[0].request, 11);
    ck_assert_uint_eq(one.out.answers[0].seq, 2);
    ck_assert_uint_eq(one.out.answers[0].term, 1);
}
END_TEST

START_TEST(an_operation_sent_twice_is_done_once_and_answered_twice)
{
    alone_lead(&one);
    alone_propose(&one, 11, 1);
    alone_propose(&one, 12, 1);
    ck_assert_uint_eq(one.out.append_count, 0);
    alone_persisted(&one);
    alone_ack(&one, 2, 2);
    alone_ack(&one, 3, 2);
    alone_applied(&one);
    ck_assert_uint_eq(one.out.answer_count, 2);
    ck_assert_uint_eq(one.out.answers[1].seq, 2);
    alone_propose(&one, 13, 1);
    ck_assert_uint_eq(one.out.answers[0].seq, 2);
}
END_TEST

START_TEST(an_old_or_a_newer_map_of_the_router_is_refused)
{
    alone_lead(&one);
    const struct replica_proposal proposal = {.request = 1};
    struct replica_input in = {
        .kind = REPLICA_IN_PROPOSE, .proposals = &proposal, .proposal_count = 1, .cfg_ver = 0};
    alone_step(&one, in);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_STALE_MAP);
    in.cfg_ver = 99;
    alone_step(&one, in);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_BUSY);
    ck_assert_int_eq(one.out.notes[0].kind, REPLICA_NOTE_WANT_META);
}
END_TEST

START_TEST(fewer_in_sync_than_the_minimum_stops_writes)
{
    alone_lead(&one);
    one.meta.in_sync_count = 1;
    alone_meta(&one, 1, 1);
    alone_propose(&one, 1, 1);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_BUSY);
}
END_TEST

START_TEST(what_was_not_answered_is_unknown_when_the_term_ends)
{
    alone_lead(&one);
    alone_propose(&one, 11, 1);
    alone_meta(&one, 2, 2);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_TIMEOUT);
    alone_propose(&one, 12, 1);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_STALE_MAP);
}
END_TEST

START_TEST(a_restarted_primary_does_not_go_on_in_its_term)
{
    const struct replica_term term = {1, 1};
    const struct replica_disk disk = {
        .promised = 1, .first_seq = 1, .last_seq = 1, .terms = &term, .term_count = 1};
    alone_open(&one, 1, 1);
    alone_restart(&one, &disk);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_META, .meta = &one.meta});
    ck_assert_int_eq(one.replica.role, REPLICA_BACKUP);
    ck_assert_int_eq(one.out.notes[0].kind, REPLICA_NOTE_NEEDS_TERM);
    alone_meta(&one, 2, 1);
    ck_assert_int_eq(one.replica.role, REPLICA_OPENING);
    ck_assert_uint_eq(one.replica.last_seq, 2);
}
END_TEST

START_TEST(a_silent_copy_counts_until_its_removal_is_seen)
{
    alone_lead(&one);
    alone_propose(&one, 11, 1);
    alone_persisted(&one);
    alone_ack(&one, 2, 2);
    alone_wait(&one, 199 * MS);
    ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_NONE);
    alone_wait(&one, 1 * MS);
    ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_REMOVE);
    ck_assert_uint_eq(one.out.change.uuid.low, 3);
    ck_assert_uint_eq(one.out.change.cfg_ver, 1);
    ck_assert_uint_eq(one.replica.commit_seq, 1);
    one.meta.in_sync_count = 2;
    alone_meta(&one, 1, 1);
    ck_assert_uint_eq(one.replica.commit_seq, 2);
}
END_TEST

START_TEST(a_proposal_goes_out_again_when_somebody_else_leads_the_metadata)
{
    const struct replica_input led = {.kind = REPLICA_IN_LED};
    alone_lead(&one);
    alone_step(&one, led); // nothing was proposed
    ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_NONE);
    alone_propose(&one, 11, 1);
    alone_persisted(&one);
    alone_ack(&one, 2, 2);
    alone_wait(&one, 200 * MS);
    ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_REMOVE);
    alone_wait(&one, 1 * MS);
    ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_NONE);
    alone_step(&one, led);
    ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_REMOVE);
    ck_assert_uint_eq(one.out.change.uuid.low, 3);
    alone_wait(&one, 1 * MS);
    ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_NONE);
}
END_TEST

START_TEST(the_dead_are_waited_for_a_quarter_unless_they_answer)
{
    alone_lead(&one);
    alone_propose(&one, 11, 1);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_DEAD, .uuid = uuid_of(3)});
    alone_wait(&one, 49 * MS);
    ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_NONE);
    alone_ack(&one, 3, 1);
    alone_wait(&one, 60 * MS);
    ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_NONE);
}
END_TEST

START_TEST(a_copy_that_answers_and_makes_nothing_durable_is_removed)
{
    alone_lead(&one);
    alone_propose(&one, 11, 1);
    alone_persisted(&one);
    alone_ack(&one, 2, 2);
    for (uint32_t i = 0; i < 5; i++) {
        ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_NONE);
        alone_wait(&one, 39 * MS);
        alone_ack(&one, 3, 1);
    }
    alone_wait(&one, 5 * MS);
    ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_REMOVE);
    ck_assert_uint_eq(one.out.change.uuid.low, 3);
}
END_TEST

START_TEST(a_dead_learner_whose_add_was_proposed_counts_until_it_is_in_and_removed)
{
    alone_lead(&one);
    alone_ack(&one, 4, 1);
    alone_propose(&one, 11, 1);
    alone_persisted(&one);
    alone_ack(&one, 2, 2);
    alone_ack(&one, 3, 2);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_DEAD, .uuid = uuid_of(4)});
    alone_wait(&one, 900 * MS);
    ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_ADD); // it may have been lost
    ck_assert_uint_eq(one.replica.commit_seq, 1);
    one.meta.in_sync[one.meta.in_sync_count++] = uuid_of(4);
    one.meta.learner_count = 0;
    alone_meta(&one, 1, 1);
    ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_REMOVE);
    ck_assert_uint_eq(one.out.change.uuid.low, 4);
    one.meta.in_sync_count--;
    alone_meta(&one, 1, 1);
    ck_assert_uint_eq(one.replica.commit_seq, 2);
}
END_TEST

START_TEST(nobody_is_removed_below_the_minimum)
{
    alone_lead(&one);
    one.meta.min_insync = 3;
    alone_meta(&one, 1, 1);
    alone_propose(&one, 11, 1);
    alone_wait(&one, 900 * MS);
    ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_NONE);
}
END_TEST

START_TEST(a_learner_that_caught_up_counts_before_it_is_proposed)
{
    alone_lead(&one);
    alone_ack(&one, 4, 1);
    ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_ADD);
    ck_assert_uint_eq(one.out.change.uuid.low, 4);
    alone_propose(&one, 11, 1);
    alone_persisted(&one);
    alone_ack(&one, 2, 2);
    alone_ack(&one, 3, 2);
    ck_assert_uint_eq(one.replica.commit_seq, 1);
    alone_ack(&one, 4, 2);
    ck_assert_uint_eq(one.replica.commit_seq, 2);
}
END_TEST

START_TEST(a_transfer_waits_until_everything_is_everywhere)
{
    alone_lead(&one);
    alone_propose(&one, 11, 1);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_TRANSFER, .uuid = uuid_of(2)});
    ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_NONE);
    alone_propose(&one, 12, 2);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_BUSY);
    alone_persisted(&one);
    alone_ack(&one, 2, 2);
    alone_ack(&one, 3, 2);
    ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_TRANSFER);
}
END_TEST

START_TEST(a_strong_read_is_answered_under_the_lease)
{
    alone_lead(&one);
    lease(5, 1);
    alone_read(&one, 21);
    ck_assert_uint_eq(one.out.serve_reads[0], 21);
    alone_read_done(&one, 21);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_OK);
}
END_TEST

START_TEST(a_lease_that_ran_out_while_reading_is_not_enough)
{
    alone_lead(&one);
    lease(5, 1);
    alone_read(&one, 21);
    one.now_ns += 100 * MS;
    alone_read_done(&one, 21);
    ck_assert_uint_eq(one.out.answer_count, 0);
    ck_assert_ptr_nonnull(alone_sent(&one, REPLICA_CONFIRM));
}
END_TEST

START_TEST(a_lease_says_nothing_while_a_transfer_may_have_happened)
{
    alone_lead(&one);
    lease(5, 1);
    alone_read(&one, 21);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_TRANSFER, .uuid = uuid_of(2)});
    ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_TRANSFER);
    alone_read_done(&one, 21);
    ck_assert_uint_eq(one.out.answer_count, 0);
    ck_assert_ptr_nonnull(alone_sent(&one, REPLICA_CONFIRM));
    alone_read(&one, 22);
    ck_assert_uint_eq(one.out.serve_read_count, 0);
    alone_wait(&one, 200 * MS); // it is not tried again
    alone_meta(&one, 1, 1);     // and did not happen
    lease(5, 2);
    alone_read(&one, 23);
    ck_assert_uint_eq(one.out.serve_read_count, 1);
    ck_assert_uint_eq(one.out.serve_reads[0], 23);
}
END_TEST

START_TEST(a_lease_of_another_process_or_a_newer_map_is_none)
{
    alone_lead(&one);
    lease(4, 1);
    lease(5, 2);
    ck_assert_uint_eq(one.replica.lease_until_ns, 0);
}
END_TEST

START_TEST(a_lease_from_the_future_is_none_and_an_older_one_takes_nothing_away)
{
    struct replica_input in = {.kind = REPLICA_IN_LEASE,
                               .boot = 5,
                               .sent_ns = 1001 * MS,
                               .lease_ns = 100 * MS,
                               .known_ver = 1};
    alone_lead(&one);
    alone_step(&one, in);
    ck_assert_uint_eq(one.replica.lease_until_ns, 0);
    lease(5, 1);
    in.sent_ns = 990 * MS;
    alone_step(&one, in);
    ck_assert_uint_eq(one.replica.lease_until_ns, 1100 * MS);
}
END_TEST

START_TEST(a_read_waits_until_what_was_committed_before_it_is_applied)
{
    alone_lead(&one);
    lease(5, 1);
    alone_propose(&one, 11, 1);
    alone_persisted(&one);
    alone_ack(&one, 2, 2);
    alone_ack(&one, 3, 2);
    alone_read(&one, 21);
    ck_assert_uint_eq(one.out.serve_read_count, 0);
    alone_applied(&one);
    ck_assert_uint_eq(one.out.serve_reads[0], 21);
}
END_TEST

START_TEST(without_a_lease_all_in_sync_are_asked)
{
    alone_lead(&one);
    alone_read(&one, 21);
    ck_assert_uint_eq(one.out.serve_read_count, 0);
    struct replica_msg yes = {
        .kind = REPLICA_CONFIRM_ACK, .from = uuid_of(2), .term = 1, .round = 1};
    alone_message(&one, yes);
    ck_assert_uint_eq(one.out.serve_read_count, 0);
    yes.from = uuid_of(3);
    alone_message(&one, yes);
    ck_assert_uint_eq(one.out.serve_reads[0], 21);
}
END_TEST

START_TEST(the_minority_of_a_checksum_counts_as_lost)
{
    alone_lead(&one);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_CHECKSUM});
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_ROOT, .seq = 2, .sum = {1, 1}});
    struct replica_msg root = {
        .kind = REPLICA_ROOT, .from = uuid_of(2), .term = 1, .seq = 2, .sum = {1, 1}};
    alone_message(&one, root);
    root.from = uuid_of(3);
    root.sum.low = 2;
    alone_message(&one, root);
    ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_LOST);
    ck_assert_uint_eq(one.out.change.uuid.low, 3);
    ck_assert_ptr_nonnull(alone_sent(&one, REPLICA_BUCKETS_ASK));
}
END_TEST

START_TEST(refused_memory_refuses_the_proposal_and_nothing_else)
{
    alone_lead(&one);
    mem_fail_after(1);
    alone_propose(&one, 11, 1);
    mem_fail_after(0);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_NO_MEMORY);
    ck_assert_uint_eq(one.replica.last_seq, 1);
    alone_propose(&one, 12, 1);
    ck_assert_uint_eq(one.replica.last_seq, 2);
}
END_TEST

static Suite *
primary_suite(void)
{
    Suite *suite = suite_create("replica/primary");
    TCase *tcase = tcase_create("primary");
    tcase_add_test(tcase, a_term_that_an_earlier_process_was_named_for_is_not_begun);
    tcase_add_test(tcase, nothing_leaves_before_the_promise_is_durable);
    tcase_add_test(tcase, it_is_open_when_its_term_start_is_committed);
    tcase_add_test(tcase, a_write_is_done_when_all_in_sync_have_it_and_it_is_applied);
    tcase_add_test(tcase, an_operation_sent_twice_is_done_once_and_answered_twice);
    tcase_add_test(tcase, an_old_or_a_newer_map_of_the_router_is_refused);
    tcase_add_test(tcase, fewer_in_sync_than_the_minimum_stops_writes);
    tcase_add_test(tcase, what_was_not_answered_is_unknown_when_the_term_ends);
    tcase_add_test(tcase, a_restarted_primary_does_not_go_on_in_its_term);
    tcase_add_test(tcase, a_silent_copy_counts_until_its_removal_is_seen);
    tcase_add_test(tcase, a_proposal_goes_out_again_when_somebody_else_leads_the_metadata);
    tcase_add_test(tcase, the_dead_are_waited_for_a_quarter_unless_they_answer);
    tcase_add_test(tcase, a_copy_that_answers_and_makes_nothing_durable_is_removed);
    tcase_add_test(tcase, a_dead_learner_whose_add_was_proposed_counts_until_it_is_in_and_removed);
    tcase_add_test(tcase, nobody_is_removed_below_the_minimum);
    tcase_add_test(tcase, a_learner_that_caught_up_counts_before_it_is_proposed);
    tcase_add_test(tcase, a_transfer_waits_until_everything_is_everywhere);
    tcase_add_test(tcase, a_strong_read_is_answered_under_the_lease);
    tcase_add_test(tcase, a_lease_that_ran_out_while_reading_is_not_enough);
    tcase_add_test(tcase, a_lease_says_nothing_while_a_transfer_may_have_happened);
    tcase_add_test(tcase, a_lease_of_another_process_or_a_newer_map_is_none);
    tcase_add_test(tcase, a_lease_from_the_future_is_none_and_an_older_one_takes_nothing_away);
    tcase_add_test(tcase, a_read_waits_until_what_was_committed_before_it_is_applied);
    tcase_add_test(tcase, without_a_lease_all_in_sync_are_asked);
    tcase_add_test(tcase, the_minority_of_a_checksum_counts_as_lost);
    tcase_add_test(tcase, refused_memory_refuses_the_proposal_and_nothing_else);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(primary_suite)
