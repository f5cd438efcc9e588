// tests/unit/replica/test_checksum.c -- copies that hold different things are found, and nobody is trusted without a majority.
//
// Shape: shell.
#include "tests/lib/check_main.h"
#include "tests/lib/replica_alone.h"

static struct alone one;

static void
own_root(uint64_t seq, uint64_t sum)
{
    alone_step(&one,
               (struct replica_input){.kind = REPLICA_IN_ROOT, .seq = seq, .sum = {sum, sum}});
}

static void
root_of(uint64_t from, uint64_t seq, uint64_t sum)
{
    alone_message(&one, (struct replica_msg){.kind = REPLICA_ROOT,
                                             .from = uuid_of(from),
                                             .term = one.replica.promised,
                                             .seq = seq,
                                             .sum = {sum, sum}});
}

// A CHECKSUM at place 2.
static void
begin(void)
{
    alone_lead(&one);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_CHECKSUM});
    ck_assert_int_eq(one.out.append[0].kind, REPLICA_ENTRY_CHECKSUM);
}

static uint32_t
notes_of(enum replica_note_kind kind)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < one.out.note_count; i++)
        count += one.out.notes[i].kind == kind;
    return count;
}

START_TEST(equal_sums_end_the_comparison)
{
    begin();
    root_of(2, 2, 5);
    own_root(2, 5);
    ck_assert_uint_eq(one.replica.check_seq, 2);
    root_of(3, 2, 5);
    ck_assert_uint_eq(one.replica.check_seq, 0);
    ck_assert_uint_eq(one.out.note_count, 0);
}
END_TEST

START_TEST(sums_of_another_place_or_of_nobody_do_not_count)
{
    begin();
    own_root(1, 9); // of an older one
    ck_assert(!one.replica.own_root_known);
    own_root(2, 5);
    root_of(2, 1, 5);
    root_of(9, 2, 5);
    root_of(3, 2, 5);
    ck_assert_uint_eq(one.replica.check_seq, 2);
    root_of(2, 2, 5);
    root_of(2, 2, 6); // after it ended
    root_of(2, 0, 6);
    ck_assert_uint_eq(one.out.note_count, 0);
}
END_TEST

START_TEST(a_primary_in_the_minority_halts)
{
    begin();
    own_root(2, 6);
    root_of(2, 2, 5);
    root_of(3, 2, 5);
    ck_assert(one.replica.halted);
    ck_assert_uint_eq(notes_of(REPLICA_NOTE_HALTED), 1);
    root_of(3, 2, 6); // nothing is decided twice
    ck_assert_uint_eq(one.out.note_count, 0);
}
END_TEST

START_TEST(a_halted_shard_takes_nothing_until_the_operator_resumes_it)
{
    char line[512];
    begin();
    own_root(2, 6);
    root_of(2, 2, 7);
    root_of(3, 2, 8);
    ck_assert(one.replica.halted);
    alone_propose(&one, 11, 1);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_READ_ONLY);
    alone_read(&one, 21);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_BUSY);
    replica_describe(&one.replica, line, sizeof line);
    ck_assert_ptr_nonnull(strstr(line, " halted"));
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_RESUME});
    alone_propose(&one, 12, 1);
    ck_assert_uint_eq(one.out.answer_count, 0);
}
END_TEST

// 3 differs.
static void
expel(void)
{
    begin();
    own_root(2, 5);
    root_of(2, 2, 5);
    root_of(3, 2, 6);
    ck_assert_uint_eq(notes_of(REPLICA_NOTE_DIVERGED), 1);
}

START_TEST(who_differs_has_no_vote_in_the_next_comparison_and_gets_no_shard)
{
    char line[512];
    expel();
    ck_assert_uint_eq(alone_sent(&one, REPLICA_BUCKETS_ASK)->to.low, 3);
    replica_describe(&one.replica, line, sizeof line);
    ck_assert_ptr_nonnull(strstr(line, "!"));
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_TRANSFER, .uuid = uuid_of(3)});
    ck_assert_uint_eq(one.replica.transfer_to.low, 0);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_CHECKSUM});
    own_root(3, 5);
    root_of(3, 3, 6);
    root_of(2, 3, 5);
    ck_assert_uint_eq(one.replica.check_seq, 0);
    ck_assert(!one.replica.halted);
}
END_TEST

START_TEST(who_differs_is_never_taken_in_again)
{
    expel();
    one.meta.in_sync_count = 2;
    one.meta.learners[one.meta.learner_count++] = uuid_of(3);
    alone_meta(&one, 1, 1);
    alone_ack(&one, 3, 1);
    alone_ack(&one, 3, 2);
    ck_assert(one.out.change.kind != REPLICA_CHANGE_ADD || one.out.change.uuid.low != 3);
}
END_TEST

START_TEST(who_differs_is_proposed_as_lost_even_where_too_few_are_left)
{
    begin();
    one.meta.min_insync = 3;
    alone_meta(&one, 1, 1);
    own_root(2, 5);
    root_of(2, 2, 5);
    root_of(3, 2, 6);
    ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_LOST);
    ck_assert_uint_eq(one.out.change.uuid.low, 3);
    one.meta.in_sync_count =
        2; // somebody else was faster, and it is a learner: it is to go all the same
    one.meta.learners[one.meta.learner_count++] = uuid_of(3);
    alone_meta(&one, 1, 1);
    ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_LOST);
    ck_assert_uint_eq(one.out.change.uuid.low, 3);
}
END_TEST

START_TEST(a_primary_that_most_contradict_stops_and_proposes_itself_as_lost)
{
    char line[512];
    begin();
    root_of(2, 2, 5);
    root_of(3, 2, 5);
    own_root(2, 6);
    ck_assert(one.replica.halted && one.replica.rotten);
    ck_assert_uint_eq(notes_of(REPLICA_NOTE_DIVERGED), 1);
    ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_LOST);
    ck_assert_uint_eq(one.out.change.uuid.low, 1);
    replica_describe(&one.replica, line, sizeof line);
    ck_assert_ptr_nonnull(strstr(line, " rotten"));
    alone_wait(&one, one.replica.config.retry_ns); // not every time
    ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_NONE);
    alone_wait(&one, 4 * one.replica.config.retry_ns);
    ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_LOST);
    alone_meta(&one, 2,
               1); // as the last in sync, say: it brings in others by its log, and that is all
    ck_assert_int_eq(one.replica.role, REPLICA_OPENING);
    ck_assert(one.replica.halted);
}
END_TEST

START_TEST(a_copy_whose_bytes_are_bad_needs_no_vote_and_serves_nothing)
{
    alone_lead(&one);
    alone_read(&one, 21);
    ck_assert_uint_eq(one.out.answer_count, 0);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_CORRUPT});
    ck_assert_uint_eq(notes_of(REPLICA_NOTE_CORRUPT), 1);
    ck_assert_uint_eq(one.out.answer_count, 1); // what it read may be wrong
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_STALE_MAP);
    ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_LOST);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_CORRUPT});
    ck_assert_uint_eq(one.out.note_count, 0); // known
    alone_propose(&one, 11, 1);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_READ_ONLY);
    one.meta.learners[one.meta.learner_count++] = uuid_of(4);
    alone_meta(&one, 1, 1);
    alone_message(
        &one, (struct replica_msg){.kind = REPLICA_SNAPSHOT_ASK, .from = uuid_of(4), .term = 1});
    ck_assert_int_eq(one.out.serve.kind, REPLICA_SERVE_NONE);
    alone_step(&one,
               (struct replica_input){.kind = REPLICA_IN_RESUME}); // the operator knows better
    alone_message(
        &one, (struct replica_msg){.kind = REPLICA_SNAPSHOT_ASK, .from = uuid_of(4), .term = 1});
    ck_assert_int_eq(one.out.serve.kind, REPLICA_SERVE_SNAPSHOT);
}
END_TEST

START_TEST(a_bad_copy_that_the_metadata_do_not_name_asks_for_nothing)
{
    alone_open(&one, 1, 2);
    one.meta.in_sync[0] = uuid_of(5);
    alone_meta(&one, 1, 2);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_CORRUPT});
    ck_assert(one.replica.rotten && !one.replica.halted);
    ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_NONE);
}
END_TEST

START_TEST(a_bad_copy_that_learns_is_proposed_as_lost_too)
{
    alone_open(&one, 1, 2);
    one.meta.in_sync[0] = uuid_of(2);
    one.meta.in_sync[1] = uuid_of(3);
    one.meta.in_sync_count = 2;
    one.meta.learners[0] = uuid_of(1);
    alone_meta(&one, 1, 2);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_CORRUPT});
    ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_LOST);
    ck_assert_uint_eq(one.out.change.uuid.low, 1);
}
END_TEST

START_TEST(a_change_that_is_due_goes_before_the_report_of_bad_bytes)
{
    alone_lead(&one);
    alone_propose(&one, 1, 1);
    alone_persisted(&one);
    alone_ack(&one, 2, 2);
    one.now_ns += one.replica.config.shrink_ns;
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_CORRUPT});
    ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_REMOVE);
    ck_assert_uint_eq(one.out.change.uuid.low, 3);
    alone_wait(&one, 1);
    ck_assert_int_eq(one.out.change.kind, REPLICA_CHANGE_LOST);
    ck_assert_uint_eq(one.out.change.uuid.low, 1);
}
END_TEST

START_TEST(its_buckets_are_fetched_to_the_last)
{
    static const struct replica_sum sums[REPLICA_BUCKETS_PER_MSG];
    struct replica_msg are = {.kind = REPLICA_BUCKETS_ARE,
                              .from = uuid_of(3),
                              .term = 1,
                              .seq = 2,
                              .buckets = sums,
                              .bucket_count = REPLICA_BUCKETS_PER_MSG};
    expel();
    alone_message(&one, are);
    ck_assert_int_eq(one.out.serve.kind, REPLICA_SERVE_COMPARE);
    ck_assert_uint_eq(alone_sent(&one, REPLICA_BUCKETS_ASK)->chunk, REPLICA_BUCKETS_PER_MSG);
    are.chunk = REPLICA_BUCKETS - REPLICA_BUCKETS_PER_MSG;
    alone_message(&one, are);
    ck_assert_int_eq(one.out.serve.kind, REPLICA_SERVE_COMPARE);
    ck_assert_ptr_null(alone_sent(&one, REPLICA_BUCKETS_ASK));
    are.bucket_count = 0;
    alone_message(&one, are);
    ck_assert_int_eq(one.out.serve.kind, REPLICA_SERVE_NONE);
    are.bucket_count = 1;
    are.from = uuid_of(2); // nobody asked it
    alone_message(&one, are);
    are.from = uuid_of(9);
    alone_message(&one, are);
    ck_assert_int_eq(one.out.serve.kind, REPLICA_SERVE_NONE);
}
END_TEST

START_TEST(a_copy_that_follows_tells_its_leader_its_sum_and_its_buckets)
{
    static const struct replica_sum sums[2];
    struct replica_msg ask = {.kind = REPLICA_BUCKETS_ASK, .from = uuid_of(2), .term = 1, .seq = 1};
    alone_open(&one, 1, 2);
    own_root(1, 5);
    ck_assert_uint_eq(one.out.msg_count, 0); // nobody was heard yet
    alone_append(&one, 2, 1, 0, 0, 1, 1, 0);
    alone_persisted(&one);
    own_root(1, 5);
    ck_assert_uint_eq(alone_sent(&one, REPLICA_ROOT)->sum.low, 5);
    alone_message(&one, ask);
    ck_assert_int_eq(one.out.serve.kind, REPLICA_SERVE_BUCKETS);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_BUCKETS,
                                            .uuid = uuid_of(2),
                                            .seq = 1,
                                            .buckets = sums,
                                            .bucket_count = 2});
    ck_assert_uint_eq(alone_sent(&one, REPLICA_BUCKETS_ARE)->bucket_count, 2);
    ask.from = uuid_of(3);
    alone_message(&one, ask);
    ask.from = uuid_of(2);
    ask.term = 0;
    alone_message(&one, ask);
    root_of(3, 1, 5); // it does not lead
    ck_assert_int_eq(one.out.serve.kind, REPLICA_SERVE_NONE);
}
END_TEST

START_TEST(only_an_open_primary_begins_a_comparison)
{
    alone_open(&one, 1, 2);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_CHECKSUM});
    ck_assert_uint_eq(one.out.append_count, 0);
    alone_open(&one, 1, 1);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_CHECKSUM});
    ck_assert_uint_eq(one.out.append_count, 0);
    own_root(1, 5);
    ck_assert_uint_eq(one.out.msg_count, 0);
}
END_TEST

START_TEST(the_buckets_that_differ_are_named)
{
    const struct replica_sum a[] = {{1, 1}, {2, 2}, {3, 3}}, b[] = {{1, 1}, {2, 9}, {9, 3}};
    uint32_t which[3];
    ck_assert_uint_eq(replica_buckets_differ(a, b, 3, which), 2);
    ck_assert_uint_eq(which[0], 1);
    ck_assert_uint_eq(which[1], 2);
}
END_TEST

START_TEST(a_sum_that_was_not_asked_for_compares_nothing)
{
    alone_lead(&one);
    own_root(0, 5); // of no place, as when nothing is compared
    ck_assert(!one.replica.halted);
    ck_assert_uint_eq(one.out.note_count, 0);
}
END_TEST

// Learner 4 has nothing; the log begins at 3.
static void
lead_learner(void)
{
    alone_lead(&one);
    alone_propose(&one, 1, 1);
    alone_persisted(&one);
    alone_ack(&one, 2, 2);
    alone_ack(&one, 3, 2);
    alone_applied(&one);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_TRIMMED, .seq = 2});
    alone_message(&one, (struct replica_msg){.kind = REPLICA_NACK,
                                             .from = uuid_of(4),
                                             .term = 1,
                                             .prev_seq = one.replica.peers[2].next - 1});
    ck_assert_int_eq(one.replica.peers[2].state, REPLICA_SNAPSHOT);
}

// What one copy has wrong would be most copies' when the learner has it too.
START_TEST(a_learner_gets_a_snapshot_when_all_in_sync_have_agreed)
{
    lead_learner();
    ck_assert_ptr_null(alone_sent(&one, REPLICA_NEED_SNAPSHOT));
    ck_assert_int_eq(one.out.append[0].kind, REPLICA_ENTRY_CHECKSUM);
    own_root(3, 5);
    root_of(2, 3, 5);
    ck_assert_ptr_null(alone_sent(&one, REPLICA_NEED_SNAPSHOT));
    root_of(3, 3, 5);
    ck_assert_uint_eq(alone_sent(&one, REPLICA_NEED_SNAPSHOT)->to.low, 4);
    alone_wait(&one, 20 * MS);
    ck_assert_ptr_nonnull(alone_sent(&one, REPLICA_NEED_SNAPSHOT));
    ck_assert_uint_eq(one.replica.check_seq, 0);
    alone_meta(&one, 1, 1); // others may have come
    alone_wait(&one, 20 * MS);
    ck_assert_ptr_null(alone_sent(&one, REPLICA_NEED_SNAPSHOT));
    ck_assert_uint_eq(one.replica.check_seq, 4);
}
END_TEST

START_TEST(a_learner_gets_no_snapshot_where_copies_differ_and_nobody_can_say_which_is_right)
{
    lead_learner();
    own_root(3, 5);
    root_of(2, 3, 6);
    root_of(3, 3, 7);
    ck_assert(one.replica.halted);
    for (int i = 0; i < 8; i++) {
        alone_wait(&one, 20 * MS);
        ck_assert_ptr_null(alone_sent(&one, REPLICA_NEED_SNAPSHOT));
        ck_assert_uint_eq(one.out.append_count, 0);
    }
}
END_TEST

START_TEST(a_sum_that_was_lost_on_its_way_is_made_again)
{
    lead_learner();
    own_root(3, 5);
    root_of(2, 3, 5);
    alone_persisted(&one);
    for (int i = 0; i < 3; i++) {
        alone_wait(&one, 20 * MS);
        ck_assert_uint_eq(one.replica.check_seq, 3);
    }
    alone_wait(&one, 20 * MS);
    ck_assert_uint_eq(one.replica.check_seq, 4);
    ck_assert_int_eq(one.out.append[0].kind, REPLICA_ENTRY_CHECKSUM);
}
END_TEST

START_TEST(where_one_is_silent_or_alone_a_learner_waits_for_no_sum)
{
    lead_learner();
    for (int i = 0; i < 10; i++)
        alone_wait(&one, 20 * MS); // 2 and 3 owe an ACK of the checksum
    ck_assert_uint_eq(alone_sent(&one, REPLICA_NEED_SNAPSHOT)->to.low, 4);
    replica_fini(&one.replica);
    lead_learner();
    one.meta.in_sync_count = one.meta.min_insync = 1;
    alone_meta(&one, 1, 1);
    alone_wait(&one, 20 * MS);
    ck_assert_uint_eq(alone_sent(&one, REPLICA_NEED_SNAPSHOT)->to.low, 4);
}
END_TEST

static void
teardown(void)
{
    replica_fini(&one.replica);
}

static Suite *
checksum_suite(void)
{
    Suite *suite = suite_create("replica/checksum");
    TCase *tcase = tcase_create("checksum");
    tcase_add_checked_fixture(tcase, NULL, teardown);
    tcase_add_test(tcase, equal_sums_end_the_comparison);
    tcase_add_test(tcase, sums_of_another_place_or_of_nobody_do_not_count);
    tcase_add_test(tcase, a_primary_in_the_minority_halts);
    tcase_add_test(tcase, a_halted_shard_takes_nothing_until_the_operator_resumes_it);
    tcase_add_test(tcase, who_differs_has_no_vote_in_the_next_comparison_and_gets_no_shard);
    tcase_add_test(tcase, who_differs_is_never_taken_in_again);
    tcase_add_test(tcase, who_differs_is_proposed_as_lost_even_where_too_few_are_left);
    tcase_add_test(tcase, a_primary_that_most_contradict_stops_and_proposes_itself_as_lost);
    tcase_add_test(tcase, a_copy_whose_bytes_are_bad_needs_no_vote_and_serves_nothing);
    tcase_add_test(tcase, a_bad_copy_that_the_metadata_do_not_name_asks_for_nothing);
    tcase_add_test(tcase, a_bad_copy_that_learns_is_proposed_as_lost_too);
    tcase_add_test(tcase, a_change_that_is_due_goes_before_the_report_of_bad_bytes);
    tcase_add_test(tcase, its_buckets_are_fetched_to_the_last);
    tcase_add_test(tcase, a_copy_that_follows_tells_its_leader_its_sum_and_its_buckets);
    tcase_add_test(tcase, only_an_open_primary_begins_a_comparison);
    tcase_add_test(tcase, the_buckets_that_differ_are_named);
    tcase_add_test(tcase, a_sum_that_was_not_asked_for_compares_nothing);
    tcase_add_test(tcase, a_learner_gets_a_snapshot_when_all_in_sync_have_agreed);
    tcase_add_test(
        tcase, a_learner_gets_no_snapshot_where_copies_differ_and_nobody_can_say_which_is_right);
    tcase_add_test(tcase, a_sum_that_was_lost_on_its_way_is_made_again);
    tcase_add_test(tcase, where_one_is_silent_or_alone_a_learner_waits_for_no_sum);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(checksum_suite)
