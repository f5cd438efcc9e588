// tests/unit/replica/test_backup.c -- what a copy that follows accepts, and what it says when.
//
// Shape: shell.
#include "base/alloc.h"
#include "tests/lib/check_main.h"
#include "tests/lib/replica_alone.h"

static struct alone one;

START_TEST(an_ack_leaves_only_when_the_entries_are_durable)
{
    alone_open(&one, 1, 2);
    alone_append(&one, 2, 1, 0, 0, 1, 3, 0);
    ck_assert_ptr_null(alone_sent(&one, REPLICA_ACK));
    ck_assert_uint_eq(one.out.append_count, 3);
    ck_assert_uint_eq(one.out.promised, 1);
    alone_persisted(&one);
    ck_assert_uint_eq(alone_sent(&one, REPLICA_ACK)->seq, 3);
}
END_TEST

// Three entries of term 1, of which so many were known to be committed.
static void
restart_with(uint64_t commit_seq)
{
    const struct replica_term terms[] = {{1, 1}};
    const struct replica_disk disk = {.promised = 1,
                                      .first_seq = 1,
                                      .last_seq = 3,
                                      .commit_seq = commit_seq,
                                      .applied_seq = commit_seq,
                                      .terms = terms,
                                      .term_count = 1};
    alone_open(&one, 1, 2);
    alone_restart(&one, &disk);
    alone_meta(&one, 1, 2);
}

START_TEST(who_was_started_tells_its_primary_what_it_knows_until_it_is_heard)
{
    restart_with(1);
    for (int i = 0; i < 3; i++) { // it may be lost
        const struct replica_msg *ack = alone_sent(&one, REPLICA_ACK);
        ck_assert_ptr_nonnull(ack);
        ck_assert_uint_eq(ack->to.low, 2);
        ck_assert_uint_eq(ack->term, 1);
        ck_assert_uint_eq(ack->commit, 1);
        ck_assert_uint_eq(ack->seq, 0); // it agrees with nobody yet
        ck_assert_uint_eq(ack->prev_seq, 0);
        alone_wait(&one, 79 * MS);
        ck_assert_ptr_null(alone_sent(&one, REPLICA_ACK));
        alone_wait(&one, MS);
    }
    alone_append(&one, 2, 1, 3, 1, 1, 0, 3);
    ck_assert_uint_eq(one.replica.commit_seq, 3);
    ck_assert_uint_eq(alone_sent(&one, REPLICA_ACK)->seq, 3);
    alone_wait(&one, 1000 * MS);
    ck_assert_ptr_null(alone_sent(&one, REPLICA_ACK));
}
END_TEST

START_TEST(who_was_started_and_knows_that_all_it_has_is_committed_tells_nobody)
{
    restart_with(3);
    ck_assert_ptr_null(alone_sent(&one, REPLICA_ACK));
    alone_wait(&one, 1000 * MS);
    ck_assert_ptr_null(alone_sent(&one, REPLICA_ACK));
}
END_TEST

START_TEST(a_newer_term_is_promised_in_the_same_commit)
{
    alone_open(&one, 1, 2);
    alone_append(&one, 2, 1, 0, 0, 1, 1, 0);
    alone_persisted(&one);
    alone_append(&one, 3, 2, 1, 1, 2, 1, 0);
    ck_assert_uint_eq(one.out.promised, 2);
    ck_assert_uint_ne(one.out.ticket, 0);
}
END_TEST

START_TEST(an_older_term_is_refused_and_told_the_promise)
{
    alone_open(&one, 1, 2);
    alone_append(&one, 3, 2, 0, 0, 2, 1, 0);
    alone_append(&one, 2, 1, 0, 0, 1, 1, 0);
    ck_assert_uint_eq(alone_sent(&one, REPLICA_NACK)->term, 2);
    ck_assert_uint_eq(one.out.append_count, 0);
}
END_TEST

START_TEST(the_metadata_fence_a_term_before_any_message_does)
{
    alone_open(&one, 1, 2);
    alone_meta(&one, 2, 3);
    alone_append(&one, 2, 1, 0, 0, 1, 1, 0);
    ck_assert_uint_eq(alone_sent(&one, REPLICA_NACK)->term, 2);
}
END_TEST

START_TEST(another_than_the_primary_of_the_term_is_ignored)
{
    alone_open(&one, 1, 2);
    alone_append(&one, 3, 1, 0, 0, 1, 1, 0);
    ck_assert_uint_eq(one.out.msg_count, 0);
    ck_assert_uint_eq(one.replica.last_seq, 0);
}
END_TEST

START_TEST(a_gap_is_refused_with_the_end_of_the_log)
{
    alone_open(&one, 1, 2);
    alone_append(&one, 2, 1, 0, 0, 1, 2, 0);
    alone_append(&one, 2, 1, 5, 1, 1, 1, 0);
    ck_assert_uint_eq(alone_sent(&one, REPLICA_NACK)->seq, 2);
}
END_TEST

START_TEST(another_term_at_prev_is_refused_with_where_it_began)
{
    alone_open(&one, 1, 2);
    alone_append(&one, 2, 1, 0, 0, 1, 4, 0);
    alone_append(&one, 3, 3, 4, 2, 3, 1, 0);
    ck_assert_uint_eq(alone_sent(&one, REPLICA_NACK)->seq, 0);
}
END_TEST

START_TEST(a_conflicting_tail_is_cut_off_and_its_operations_are_forgotten)
{
    alone_open(&one, 1, 2);
    alone_append(&one, 2, 1, 0, 0, 1, 4, 1);
    alone_persisted(&one);
    alone_append(&one, 3, 2, 2, 1, 2, 1, 1);
    ck_assert(one.out.truncate);
    ck_assert_uint_eq(one.out.truncate_seq, 2);
    ck_assert_uint_eq(one.replica.last_seq, 3);
    ck_assert_uint_eq(dedupe_find(&one.replica.ops, (struct replica_uuid){1, 4}), 0);
    ck_assert_uint_eq(dedupe_find(&one.replica.ops, (struct replica_uuid){2, 3}), 3);
}
END_TEST

START_TEST(what_was_cut_off_is_not_durable_when_its_commit_comes_back_late)
{
    alone_open(&one, 1, 2);
    alone_append(&one, 2, 1, 0, 0, 1, 4, 0);
    alone_append(&one, 3, 2, 1, 1, 2, 1, 0);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_PERSISTED, .ticket = 1});
    ck_assert_uint_eq(one.replica.durable_seq, 1);
    ck_assert_ptr_null(alone_sent(&one, REPLICA_ACK));
    alone_persisted(&one);
    ck_assert_uint_eq(alone_sent(&one, REPLICA_ACK)->seq, 2);
}
END_TEST

START_TEST(nothing_committed_is_ever_cut_off)
{
    alone_open(&one, 1, 2);
    alone_append(&one, 2, 1, 0, 0, 1, 4, 3);
    alone_append(&one, 3, 2, 1, 1, 2, 1, 3);
    ck_assert_uint_eq(one.replica.last_seq, 4);
    ck_assert_uint_eq(one.replica.counters.conflicts, 1);
    ck_assert_int_eq(one.out.notes[0].kind, REPLICA_NOTE_CONFLICT);
}
END_TEST

START_TEST(only_what_is_committed_and_durable_is_applied)
{
    alone_open(&one, 1, 2);
    alone_append(&one, 2, 1, 0, 0, 1, 4, 3);
    ck_assert_uint_eq(one.out.apply_last, 0);
    alone_persisted(&one);
    ck_assert_uint_eq(one.out.apply_first, 1);
    ck_assert_uint_eq(one.out.apply_last, 3);
}
END_TEST

START_TEST(a_commit_beyond_what_agrees_is_not_believed)
{
    alone_open(&one, 1, 2);
    alone_append(&one, 2, 1, 0, 0, 1, 4, 0);
    alone_append(&one, 3, 2, 1, 1, 0, 0, 4);
    ck_assert_uint_eq(one.replica.commit_seq, 1);
}
END_TEST

START_TEST(a_confirmation_needs_the_promise_on_the_disk)
{
    alone_open(&one, 1, 2);
    alone_append(&one, 2, 1, 0, 0, 1, 1, 0);
    const struct replica_msg ask = {
        .kind = REPLICA_CONFIRM, .from = uuid_of(2), .term = 1, .round = 9};
    alone_message(&one, ask);
    ck_assert_ptr_null(alone_sent(&one, REPLICA_CONFIRM_ACK));
    alone_persisted(&one);
    alone_message(&one, ask);
    ck_assert_uint_eq(alone_sent(&one, REPLICA_CONFIRM_ACK)->round, 9);
    alone_meta(&one, 2, 3);
    alone_message(&one, ask);
    ck_assert_ptr_null(alone_sent(&one, REPLICA_CONFIRM_ACK));
}
END_TEST

START_TEST(a_full_table_of_operations_learns_what_is_committed_and_goes_on)
{
    alone_open(&one, 1, 2);
    alone_append(&one, 2, 1, 0, 0, 1, 64, 0); // all that there is room for
    alone_persisted(&one);
    alone_append(&one, 2, 1, 64, 1, 1, 1, 64);
    ck_assert_uint_eq(one.replica.last_seq, 65);
    ck_assert_uint_eq(one.replica.counters.no_memory, 0);
    replica_fini(&one.replica);
}
END_TEST

START_TEST(metadata_that_name_a_copy_twice_or_none_are_refused)
{
    alone_open(&one, 1, 2);
    one.meta.learners[0] = uuid_of(3);
    alone_meta(&one, 2, 3);
    ck_assert_uint_eq(one.replica.meta.term, 1);
    one.meta.learners[0] = uuid_of(0);
    alone_meta(&one, 2, 3);
    ck_assert_uint_eq(one.replica.meta.term, 1);
    ck_assert_uint_eq(one.replica.counters.refused_meta, 2);
}
END_TEST

START_TEST(a_promise_alone_acknowledges_nothing)
{
    alone_open(&one, 1, 2);
    alone_append(&one, 2, 1, 5, 1, 1, 1, 0); // a gap, but the term is promised
    ck_assert_uint_ne(one.out.ticket, 0);
    alone_persisted(&one);
    ck_assert_ptr_null(alone_sent(&one, REPLICA_ACK));
}
END_TEST

START_TEST(what_a_new_primary_did_not_confirm_is_not_acknowledged_to_it)
{
    alone_open(&one, 1, 2);
    alone_append(&one, 2, 1, 0, 0, 1, 4, 0);
    alone_persisted(&one);
    alone_append(&one, 3, 2, 2, 1, 2, 0, 0);
    alone_persisted(&one);
    ck_assert_uint_eq(alone_sent(&one, REPLICA_ACK)->seq, 2);
    ck_assert_uint_eq(one.replica.durable_seq, 4);
}
END_TEST

START_TEST(a_primary_of_this_term_listens_to_no_other)
{
    alone_lead(&one);
    alone_append(&one, 2, 1, 1, 1, 1, 1, 1);
    alone_message(&one, (struct replica_msg){
                            .kind = REPLICA_CONFIRM, .from = uuid_of(2), .term = 1, .round = 1});
    ck_assert_uint_eq(one.out.msg_count, 0);
    ck_assert_uint_eq(one.replica.last_seq, 1);
    ck_assert_uint_eq(one.replica.counters.fenced_msgs, 2);
    replica_fini(&one.replica);
}
END_TEST

START_TEST(memory_that_is_refused_leaves_the_log_as_it_was)
{
    alone_open(&one, 1, 2);
    mem_fail_after(1);
    alone_append(&one, 2, 1, 0, 0, 1, 3, 0);
    mem_fail_after(0);
    ck_assert_uint_eq(one.replica.last_seq, 0);
    ck_assert_uint_eq(one.replica.counters.no_memory, 1);
    ck_assert_int_eq(one.out.notes[0].kind, REPLICA_NOTE_NO_MEMORY);
    alone_append(&one, 2, 1, 0, 0, 1, 3, 0); // it comes again
    ck_assert_uint_eq(one.replica.last_seq, 3);
    replica_fini(&one.replica);
}
END_TEST

START_TEST(a_copy_that_could_not_load_its_operations_does_not_lead)
{
    const struct replica_term term = {1, 1};
    const struct dedupe_op op = {{1, 1}, 1, 0};
    const struct replica_disk disk = {.promised = 1,
                                      .first_seq = 1,
                                      .last_seq = 1,
                                      .terms = &term,
                                      .term_count = 1,
                                      .ops = &op,
                                      .op_count = 1};
    alone_open(&one, 1, 2);
    mem_fail_after(1);
    alone_restart(&one, &disk);
    mem_fail_after(0);
    alone_meta(&one, 2, 1);
    ck_assert_int_eq(one.replica.role, REPLICA_BACKUP);
    replica_fini(&one.replica);
}
END_TEST

START_TEST(a_log_goes_on_behind_what_it_has_and_not_behind_what_was_trimmed)
{
    const struct replica_term term = {1, 1};
    const struct replica_disk disk = {
        .promised = 1, .first_seq = 5, .last_seq = 8, .terms = &term, .term_count = 1};
    alone_open(&one, 1, 2);
    alone_restart(&one, &disk);
    ck_assert(!replica_can_follow(&one.replica, 3));
    ck_assert(replica_can_follow(&one.replica, 4));
    ck_assert(replica_can_follow(&one.replica, 8));
    ck_assert(!replica_can_follow(&one.replica, 9));
    replica_fini(&one.replica);
}
END_TEST

START_TEST(any_message_at_all_is_survived)
{
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    alone_open(&one, 2, 1 + (uint64_t)_i % 2);
    for (int i = 0; i < 3000; i++) {
        static const uint8_t bytes[64];
        static struct replica_sum sums[REPLICA_BUCKETS_PER_MSG];
        struct replica_entry entries[4];
        struct replica_msg msg;
        for (size_t at = 0; at < sizeof msg; at++)
            ((uint8_t *)&msg)[at] = prng_below(&prng, 3) == 0 ? (uint8_t)prng_next(&prng) : 0;
        msg.kind = prng_below(&prng, REPLICA_MSG_KINDS + 1);
        msg.from = uuid_of(prng_below(&prng, 6));
        msg.source = uuid_of(prng_below(&prng, 6));
        msg.bytes = bytes;
        msg.byte_count = prng_below(&prng, 64);
        msg.buckets = sums;
        msg.bucket_count = prng_below(&prng, REPLICA_BUCKETS_PER_MSG);
        msg.entries = entries;
        msg.entry_count = prng_below(&prng, 5);
        if (prng_below(&prng, 4) != 0) {
            msg.term = prng_below(&prng, 6);
            msg.prev_seq = prng_below(&prng, 8);
            msg.prev_term = msg.prev_seq == 0 ? 0 : prng_below(&prng, 3);
            msg.seq = prng_below(&prng, 8);
            msg.commit = prng_below(&prng, 8);
            msg.chunk = prng_below(&prng, 4);
            msg.chunk_count = prng_below(&prng, 4);
            msg.snapshot = prng_below(&prng, 3);
            msg.round = prng_below(&prng, 3);
            msg.cfg_ver = prng_below(&prng, 3);
        }
        for (uint32_t j = 0; j < 4; j++) {
            entries[j] = (struct replica_entry){.seq = msg.prev_seq + j + 1};
            entries[j].term = prng_below(&prng, 4);
            entries[j].kind = prng_below(&prng, 5);
            entries[j].op_id.high = prng_below(&prng, 2);
            entries[j].op_id.low = prng_below(&prng, 9);
        }
        alone_message(&one, msg);
        if (prng_below(&prng, 3) == 0)
            alone_persisted(&one);
        alone_applied(&one);
        alone_wait(&one, prng_below(&prng, 30) * MS);
    }
    replica_fini(&one.replica);
}
END_TEST

static Suite *
backup_suite(void)
{
    Suite *suite = suite_create("replica/backup");
    TCase *tcase = tcase_create("backup");
    tcase_add_test(tcase, an_ack_leaves_only_when_the_entries_are_durable);
    tcase_add_test(tcase, who_was_started_tells_its_primary_what_it_knows_until_it_is_heard);
    tcase_add_test(tcase, who_was_started_and_knows_that_all_it_has_is_committed_tells_nobody);
    tcase_add_test(tcase, a_newer_term_is_promised_in_the_same_commit);
    tcase_add_test(tcase, an_older_term_is_refused_and_told_the_promise);
    tcase_add_test(tcase, the_metadata_fence_a_term_before_any_message_does);
    tcase_add_test(tcase, another_than_the_primary_of_the_term_is_ignored);
    tcase_add_test(tcase, a_gap_is_refused_with_the_end_of_the_log);
    tcase_add_test(tcase, another_term_at_prev_is_refused_with_where_it_began);
    tcase_add_test(tcase, a_conflicting_tail_is_cut_off_and_its_operations_are_forgotten);
    tcase_add_test(tcase, what_was_cut_off_is_not_durable_when_its_commit_comes_back_late);
    tcase_add_test(tcase, nothing_committed_is_ever_cut_off);
    tcase_add_test(tcase, only_what_is_committed_and_durable_is_applied);
    tcase_add_test(tcase, a_commit_beyond_what_agrees_is_not_believed);
    tcase_add_test(tcase, a_confirmation_needs_the_promise_on_the_disk);
    tcase_add_test(tcase, a_full_table_of_operations_learns_what_is_committed_and_goes_on);
    tcase_add_test(tcase, metadata_that_name_a_copy_twice_or_none_are_refused);
    tcase_add_test(tcase, a_promise_alone_acknowledges_nothing);
    tcase_add_test(tcase, what_a_new_primary_did_not_confirm_is_not_acknowledged_to_it);
    tcase_add_test(tcase, a_primary_of_this_term_listens_to_no_other);
    tcase_add_test(tcase, memory_that_is_refused_leaves_the_log_as_it_was);
    tcase_add_test(tcase, a_copy_that_could_not_load_its_operations_does_not_lead);
    tcase_add_test(tcase, a_log_goes_on_behind_what_it_has_and_not_behind_what_was_trimmed);
    tcase_add_loop_test(tcase, any_message_at_all_is_survived, 0, 8);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(backup_suite)
