// tests/unit/replica/test_split_waits.c -- what a cut waits for, and what goes before it.
//
// Shape: shell.
#include "tests/lib/check_main.h"
#include "tests/lib/replica_halves.h"

static struct alone one;

// `count` entries that all of this shard's own copies have.
static void
write_many(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        alone_propose(&one, 100 + i, 100 + i);
        alone_persisted(&one);
        alone_ack(&one, 2, one.replica.last_seq);
        alone_ack(&one, 3, one.replica.last_seq);
        alone_applied(&one);
    }
}

START_TEST(one_that_streams_far_behind_is_not_proposed_to_its_child)
{
    halves_open(&one, 0);
    write_many(REPLICA_LAG_MAX + 1);
    halves_ack(&one, 11, 1);
    ck_assert(halves_wants(&one, REPLICA_CHANGE_NONE));
    halves_ack(&one, 11, 2);
    ck_assert(halves_wants(&one, REPLICA_CHANGE_ADD));
    ck_assert_uint_eq(one.out.change.uuid.low, 11);
}
END_TEST

START_TEST(intake_goes_on_while_a_half_is_far_behind)
{
    halves_open(&one, 2);
    write_many(REPLICA_LAG_MAX + 1);
    halves_ack_all(&one, 1);
    ck_assert(!one.replica.split.stopped);
    halves_ack_all(&one, 2);
    ck_assert(one.replica.split.stopped);
}
END_TEST

START_TEST(intake_goes_on_until_a_new_primary_has_committed_its_beginning)
{
    halves_open(&one, 2);
    alone_meta(&one, 2, 2);
    alone_meta(&one, 3, 1);
    alone_persisted(&one);
    halves_ack_all(&one, one.replica.last_seq);
    ck_assert(!one.replica.split.stopped);
    alone_ack(&one, 2, one.replica.last_seq);
    alone_ack(&one, 3, one.replica.last_seq);
    ck_assert(one.replica.split.stopped);
}
END_TEST

START_TEST(a_transfer_goes_before_a_cut)
{
    halves_open(&one, 2);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_TRANSFER, .uuid = uuid_of(11)});
    ck_assert_uint_eq(one.replica.transfer_to.low, 0); // it leads its child at most
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_TRANSFER, .uuid = uuid_of(2)});
    ck_assert_uint_eq(one.replica.transfer_to.low, 2);
    halves_ack_all(&one, 1);
    ck_assert(!one.replica.split.stopped);
}
END_TEST

START_TEST(a_change_of_this_shards_own_copies_goes_before_a_cut)
{
    halves_open(&one, 2);
    alone_ack(&one, 4, 1); // a learner
    ck_assert(halves_wants(&one, REPLICA_CHANGE_ADD));
    halves_ack_all(&one, 1);
    ck_assert(!one.replica.split.stopped);
    one.meta.in_sync[one.meta.in_sync_count++] = uuid_of(4);
    one.meta.learner_count = 0;
    alone_meta(&one, 1, 1);
    ck_assert(one.replica.split.stopped);
}
END_TEST

START_TEST(a_change_of_a_child_goes_before_a_cut)
{
    halves_open(&one, 2);
    write_many(1);
    halves_ack(&one, 12, 2);
    halves_ack(&one, 21, 2);
    halves_ack(&one, 22, 2);
    alone_wait(&one, one.replica.config.shrink_ns);
    ck_assert(halves_wants(&one, REPLICA_CHANGE_REMOVE));
    ck_assert_uint_eq(one.out.change.uuid.low, 11);
    halves_ack(&one, 11, 2); // it is there after all, but the metadata may say otherwise
    ck_assert(!one.replica.split.stopped);
    one.meta.children[0].cfg_ver++;
    halves_meta(&one); // it came too late
    ck_assert(one.replica.split.stopped);
}
END_TEST

START_TEST(a_change_that_is_told_again_goes_before_a_cut)
{
    halves_open(&one, 2);
    halves_ack_all(&one, 1);
    ck_assert(one.replica.split.stopped);
    alone_ack(&one, 4, 1); // a learner
    ck_assert(halves_wants(&one, REPLICA_CHANGE_ADD));
    alone_ack(&one, 4, 2); // for it may be in by now
    halves_vote(&one);
    halves_root(&one, 11, 4);
    halves_root(&one, 12, 4);
    halves_root(&one, 21, 5);
    one.now_ns += 4 * one.replica.config.retry_ns;
    halves_root(&one, 22, 5); // all it takes
    ck_assert(halves_wants(&one, REPLICA_CHANGE_ADD));
    ck_assert(!one.replica.split.proposed);
    alone_wait(&one, 1);
    ck_assert(halves_wants(&one, REPLICA_CHANGE_CUT));
}
END_TEST

START_TEST(one_that_streamed_and_is_silent_is_not_proposed_to_its_child)
{
    halves_open(&one, 0);
    halves_ack(&one, 21, 1);
    ck_assert(halves_wants(&one, REPLICA_CHANGE_ADD));
    halves_ack(&one, 11, 1); // it is its turn next
    write_many(1);
    alone_wait(&one, one.replica.config.shrink_ns);
    halves_ack(&one, 21, 2);
    one.meta.children[1].in_sync[one.meta.children[1].in_sync_count++] = uuid_of(21);
    one.meta.children[1].learners[0] = uuid_of(22);
    one.meta.children[1].learner_count = 1;
    one.meta.children[1].cfg_ver++;
    halves_meta(&one);
    ck_assert(halves_wants(&one, REPLICA_CHANGE_NONE));
    halves_ack(&one, 11, 2);
    ck_assert(halves_wants(&one, REPLICA_CHANGE_ADD));
    ck_assert_uint_eq(one.out.change.uuid.low, 11);
}
END_TEST

START_TEST(a_copy_that_still_learns_goes_before_a_cut)
{
    halves_open(&one, 2);
    one.meta.children[0].learners[one.meta.children[0].learner_count++] = uuid_of(13);
    one.meta.children[0].cfg_ver++;
    halves_meta(&one);
    halves_ack_all(&one, 1);
    ck_assert(!one.replica.split.stopped);
    halves_ack(&one, 13, 1);
    ck_assert(halves_wants(&one, REPLICA_CHANGE_ADD));
    one.meta.children[0].learner_count = 0;
    one.meta.children[0].in_sync[one.meta.children[0].in_sync_count++] = uuid_of(13);
    one.meta.children[0].cfg_ver++;
    halves_meta(&one);
    ck_assert(one.replica.split.stopped);
}
END_TEST

START_TEST(the_vote_of_this_shards_own_copies_goes_before_a_cut)
{
    halves_open(&one, 2);
    halves_ack_all(&one, 1);
    alone_persisted(&one);
    alone_ack(&one, 2, 2);
    alone_ack(&one, 3, 2);
    halves_ack_all(&one, 2);
    halves_root(&one, 11, 4);
    halves_root(&one, 12, 4);
    halves_root(&one, 21, 5);
    halves_root(&one, 22, 5);
    ck_assert(halves_wants(&one, REPLICA_CHANGE_NONE));
    halves_vote(&one);
    ck_assert(halves_wants(&one, REPLICA_CHANGE_CUT));
}
END_TEST

START_TEST(children_come_with_a_newer_version_of_their_parent)
{
    alone_lead(&one);
    one.meta.child_count = REPLICA_CHILDREN;
    for (uint32_t c = 0; c < REPLICA_CHILDREN; c++)
        one.meta.children[c] = halves_child(HALVES_FIRST + c, 2);
    halves_meta(&one);
    ck_assert_uint_eq(one.replica.meta.child_count, 0);
    alone_meta(&one, 1, 1);
    ck_assert_uint_eq(one.replica.meta.child_count, REPLICA_CHILDREN);
}
END_TEST

START_TEST(a_lost_copy_of_this_shard_is_told_before_a_change_of_a_child_is_told_again)
{
    halves_open(&one, 0);
    halves_ack(&one, 21, 1);
    ck_assert(halves_wants(&one, REPLICA_CHANGE_ADD));
    alone_propose(&one, 1, 1);
    alone_persisted(&one);
    alone_ack(&one, 2, 2);
    alone_wait(&one, one.replica.config.shrink_ns); // both are due
    ck_assert(halves_wants(&one, REPLICA_CHANGE_REMOVE));
    ck_assert_uint_eq(one.out.change.shard, 7);
    ck_assert_uint_eq(one.out.change.uuid.low, 3);
    ck_assert_uint_gt(one.out.wake_ns, one.now_ns);
    ck_assert_uint_le(one.out.wake_ns, one.now_ns + 4 * one.replica.config.retry_ns);
    one.meta.in_sync_count = 2; // it is out
    one.meta.learners[one.meta.learner_count++] = uuid_of(3);
    alone_meta(&one, 1, 1);
    ck_assert(halves_wants(&one, REPLICA_CHANGE_ADD));
    ck_assert_uint_eq(one.out.change.uuid.low, 21);
}
END_TEST

START_TEST(halves_that_differ_in_either_word_of_their_sums_end_the_split)
{
    for (uint64_t word = 0; word < 2; word++) {
        halves_open(&one, 2);
        halves_ack_all(&one, 1);
        halves_vote(&one);
        for (uint64_t copy = 11; copy <= 12; copy++) {
            struct replica_msg root = {
                .kind = REPLICA_ROOT, .seq = one.replica.split.check_seq, .sum = {4, 4}};
            halves_message(&one, copy, root);
            root.sum = (struct replica_sum){5 + word, 6 - word};
            halves_message(&one, copy + 10, root);
        }
        ck_assert(halves_wants(&one, REPLICA_CHANGE_ABORT));
        if (word == 0)
            replica_fini(&one.replica);
    }
}
END_TEST

START_TEST(a_primary_that_finds_itself_rotten_before_its_promise_is_durable_halts)
{
    alone_open(&one, 1, 1);
    ck_assert_int_eq(one.replica.role, REPLICA_OPENING);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_CORRUPT});
    ck_assert(one.replica.rotten && one.replica.halted);
}
END_TEST

static void
teardown(void)
{
    replica_fini(&one.replica);
}

static Suite *
split_waits_suite(void)
{
    Suite *suite = suite_create("replica/split_waits");
    TCase *tcase = tcase_create("split_waits");
    tcase_add_checked_fixture(tcase, NULL, teardown);
    tcase_add_test(tcase, one_that_streams_far_behind_is_not_proposed_to_its_child);
    tcase_add_test(tcase, intake_goes_on_while_a_half_is_far_behind);
    tcase_add_test(tcase, intake_goes_on_until_a_new_primary_has_committed_its_beginning);
    tcase_add_test(tcase, a_transfer_goes_before_a_cut);
    tcase_add_test(tcase, a_change_of_this_shards_own_copies_goes_before_a_cut);
    tcase_add_test(tcase, a_change_of_a_child_goes_before_a_cut);
    tcase_add_test(tcase, a_change_that_is_told_again_goes_before_a_cut);
    tcase_add_test(tcase, one_that_streamed_and_is_silent_is_not_proposed_to_its_child);
    tcase_add_test(tcase, a_copy_that_still_learns_goes_before_a_cut);
    tcase_add_test(tcase, the_vote_of_this_shards_own_copies_goes_before_a_cut);
    tcase_add_test(tcase, children_come_with_a_newer_version_of_their_parent);
    tcase_add_test(tcase,
                   a_lost_copy_of_this_shard_is_told_before_a_change_of_a_child_is_told_again);
    tcase_add_test(tcase, halves_that_differ_in_either_word_of_their_sums_end_the_split);
    tcase_add_test(tcase, a_primary_that_finds_itself_rotten_before_its_promise_is_durable_halts);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(split_waits_suite)
