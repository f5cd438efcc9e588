// tests/unit/replica/test_split.c -- the copies of both halves are filled, and the cut waits until they have everything.
//
// Shape: shell.
#include "tests/lib/check_main.h"
#include "tests/lib/replica_halves.h"

static struct alone one;

static const struct replica_msg *
sent_to(uint64_t to)
{
    for (uint32_t i = 0; i < one.out.msg_count; i++)
        if (replica_uuid_equal(one.out.msgs[i].to, uuid_of(to)))
            return &one.out.msgs[i];
    return NULL;
}

static void
propose(uint64_t op)
{
    alone_propose(&one, op, op);
}

// All of this shard's own copies have everything.
static void
settle_own(void)
{
    alone_persisted(&one);
    alone_ack(&one, 2, one.replica.last_seq);
    alone_ack(&one, 3, one.replica.last_seq);
    alone_applied(&one);
}

static void
cut(void)
{
    halves_open(&one, 2);
    halves_ack_all(&one, 1);
    ck_assert_int_eq(one.out.append[0].kind, REPLICA_ENTRY_CHECKSUM);
    halves_compare(&one, 4, 5);
    ck_assert(halves_wants(&one, REPLICA_CHANGE_CUT));
}

START_TEST(copies_of_children_are_sent_the_log_under_their_own_shard)
{
    halves_open(&one, 0);
    ck_assert_ptr_nonnull(sent_to(11));
    ck_assert_int_eq(sent_to(11)->kind, REPLICA_APPEND);
    ck_assert_uint_eq(sent_to(11)->shard, 71);
    ck_assert_uint_eq(sent_to(22)->shard, 72);
    propose(1);
    ck_assert_uint_eq(sent_to(2)->shard, 7);
}
END_TEST

START_TEST(they_never_hold_up_a_commit)
{
    halves_open(&one, 2);
    propose(1);
    settle_own();
    ck_assert_uint_eq(one.replica.commit_seq, 2);
    ck_assert_uint_eq(one.out.answer_count, 1);
    ck_assert_int_eq(one.out.answers[0].outcome, REPLICA_COMMITTED);
}
END_TEST

START_TEST(one_that_has_caught_up_is_proposed_to_its_child)
{
    halves_open(&one, 0);
    halves_ack(&one, 21, 1);
    ck_assert(halves_wants(&one, REPLICA_CHANGE_ADD));
    ck_assert_uint_eq(one.out.change.uuid.low, 21);
    ck_assert_uint_eq(one.out.change.shard, 72);
    ck_assert_uint_eq(one.out.change.cfg_ver, 5);
    halves_ack(&one, 11, 1); // one at a time
    ck_assert(halves_wants(&one, REPLICA_CHANGE_NONE));
    alone_wait(&one, 4 * one.replica.config.retry_ns); // again: it may have been lost
    ck_assert(halves_wants(&one, REPLICA_CHANGE_ADD));
    ck_assert_uint_eq(one.out.change.uuid.low, 21);
    one.meta.children[1].in_sync[one.meta.children[1].in_sync_count++] = uuid_of(21);
    one.meta.children[1].learners[0] = uuid_of(22);
    one.meta.children[1].learner_count = 1;
    one.meta.children[1].cfg_ver++;
    halves_meta(&one); // it is in: the next
    ck_assert(halves_wants(&one, REPLICA_CHANGE_ADD));
    ck_assert_uint_eq(one.out.change.uuid.low, 11);
    ck_assert_uint_eq(one.out.change.shard, 71);
}
END_TEST

START_TEST(what_says_another_shard_than_its_child_is_refused)
{
    halves_open(&one, 0);
    struct replica_msg ack = {.kind = REPLICA_ACK, .from = uuid_of(11), .to = uuid_of(1)};
    ack.term = 1;
    ack.seq = ack.prev_seq = 1;
    ack.shard = 72;
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_MESSAGE, .message = &ack});
    ack.shard = 7;
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_MESSAGE, .message = &ack});
    ck_assert_uint_eq(one.replica.counters.refused_msgs, 2);
    ck_assert(halves_wants(&one, REPLICA_CHANGE_NONE));
}
END_TEST

START_TEST(one_in_sync_that_is_silent_is_removed_from_its_child)
{
    halves_open(&one, 2);
    propose(1);
    settle_own();
    halves_ack(&one, 12, 2);
    halves_ack(&one, 21, 2);
    halves_ack(&one, 22, 2);
    alone_wait(&one, one.replica.config.shrink_ns);
    ck_assert(halves_wants(&one, REPLICA_CHANGE_REMOVE));
    ck_assert_uint_eq(one.out.change.uuid.low, 11);
    ck_assert_uint_eq(one.out.change.shard, 71);
}
END_TEST

START_TEST(a_cut_names_the_last_place_and_the_versions_of_all_three)
{
    cut();
    ck_assert_uint_eq(one.out.change.shard, 7);
    ck_assert_uint_eq(one.out.change.cfg_ver, one.meta.cfg_ver);
    ck_assert_uint_eq(one.out.change.seq, 2);
    ck_assert_uint_eq(one.out.change.child_cfg_ver[0], 5);
    ck_assert_uint_eq(one.out.change.child_cfg_ver[1], 5);
    alone_wait(&one, 4 * one.replica.config.retry_ns);
    ck_assert(halves_wants(&one, REPLICA_CHANGE_CUT)); // again, until it is known what came of it
}
END_TEST

START_TEST(no_cut_before_a_child_has_all_its_copies)
{
    halves_open(&one, 2);
    one.meta.children[0].unborn = 1;
    one.meta.children[0].cfg_ver++;
    halves_meta(&one);
    halves_ack_all(&one, 1);
    ck_assert(halves_wants(&one, REPLICA_CHANGE_NONE));
    one.meta.children[0].unborn = 0;
    one.meta.children[0].in_sync_count = 1; // fewer than writes need
    one.meta.children[0].cfg_ver++;
    halves_meta(&one);
    halves_ack_all(&one, 1);
    ck_assert(halves_wants(&one, REPLICA_CHANGE_NONE) && !one.replica.split.stopped);
}
END_TEST

START_TEST(a_cut_waits_without_intake_until_all_is_everywhere)
{
    halves_open(&one, 2);
    propose(1); // before they have said how much they have
    settle_own();
    halves_ack(&one, 11, 2);
    halves_ack(&one, 12, 2);
    halves_ack(&one, 21, 2);
    halves_ack(&one, 22, 1);
    ck_assert(one.replica.split.stopped && halves_wants(&one, REPLICA_CHANGE_NONE));
    propose(2);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_BUSY);
    ck_assert_uint_eq(one.replica.last_seq, 2);
    halves_ack(&one, 22, 2);
    ck_assert_int_eq(one.out.append[0].kind, REPLICA_ENTRY_CHECKSUM);
    halves_compare(&one, 4, 5);
    ck_assert(halves_wants(&one, REPLICA_CHANGE_CUT));
    ck_assert_uint_eq(one.out.change.seq, 3);
}
END_TEST

START_TEST(intake_that_waited_in_vain_goes_on_for_a_while)
{
    halves_open(&one, 2);
    propose(1);
    settle_own();
    halves_ack(&one, 11, 2);
    halves_ack(&one, 12, 2);
    halves_ack(&one, 21, 2);
    halves_ack(&one, 22, 1);
    alone_wait(&one, one.replica.config.shrink_ns);
    ck_assert(!one.replica.split.stopped);
    propose(2);
    ck_assert_uint_eq(one.out.answer_count, 0);
    ck_assert_uint_eq(one.replica.last_seq, 3);
}
END_TEST

START_TEST(halves_that_do_not_add_up_end_the_split)
{
    halves_open(&one, 2);
    halves_ack_all(&one, 1);
    halves_compare(&one, 4, 6);
    ck_assert(halves_wants(&one, REPLICA_CHANGE_ABORT));
    ck_assert_uint_eq(one.out.change.shard, 7);
    ck_assert_uint_eq(one.out.change.cfg_ver, one.meta.cfg_ver);
    ck_assert_uint_eq(one.out.note_count, 1);
    ck_assert_int_eq(one.out.notes[0].kind, REPLICA_NOTE_HALVES);
    ck_assert(!one.replica.split.proposed);
    alone_wait(&one, one.replica.config.shrink_ns); // the parent goes on meanwhile
    propose(2);
    ck_assert_uint_eq(one.out.answer_count, 0);
}
END_TEST

START_TEST(one_copy_of_a_half_that_differs_ends_the_split_too)
{
    halves_open(&one, 2);
    halves_ack_all(&one, 1);
    halves_vote(&one);
    halves_root(&one, 11, 4);
    halves_root(&one, 12, 5);
    halves_root(&one, 21, 5);
    ck_assert(halves_wants(&one, REPLICA_CHANGE_NONE));
    halves_root(&one, 22, 5);
    ck_assert(halves_wants(&one, REPLICA_CHANGE_ABORT));
}
END_TEST

START_TEST(no_cut_without_the_sum_of_every_copy)
{
    halves_open(&one, 2);
    halves_ack_all(&one, 1);
    halves_vote(&one);
    halves_root(&one, 11, 4);
    halves_root(&one, 12, 4);
    halves_root(&one, 21, 5);
    ck_assert(halves_wants(&one, REPLICA_CHANGE_NONE));
    alone_wait(&one, one.replica.config.shrink_ns);
    ck_assert(!one.replica.split.stopped);
    ck_assert_uint_eq(one.replica.split.check_seq, 0);
    alone_wait(&one, one.replica.config.shrink_ns); // another try
    ck_assert_uint_eq(one.replica.split.check_seq, 3);
    ck_assert_uint_eq(one.replica.last_seq, 3);
}
END_TEST

START_TEST(a_parent_whose_own_copies_disagree_is_not_cut)
{
    halves_open(&one, 2);
    halves_ack_all(&one, 1);
    alone_persisted(&one);
    alone_ack(&one, 2, 2);
    alone_ack(&one, 3, 2);
    halves_ack_all(&one, 2);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_ROOT, .seq = 2, .sum = {8, 8}});
    for (uint64_t copy = 2; copy <= 3; copy++)
        alone_message(
            &one,
            (struct replica_msg){
                .kind = REPLICA_ROOT, .from = uuid_of(copy), .term = 1, .seq = 2, .sum = {9, 9}});
    ck_assert(one.replica.halted && one.replica.rotten);
    ck_assert(halves_wants(&one, REPLICA_CHANGE_LOST));
    halves_root(&one, 11, 4);
    halves_root(&one, 12, 4);
    halves_root(&one, 21, 4);
    halves_root(&one, 22, 4);
    ck_assert(!one.replica.split.proposed);
}
END_TEST

START_TEST(nothing_is_read_or_written_from_a_cut_to_its_outcome)
{
    halves_open(&one, 2);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_LEASE,
                                            .boot = 5,
                                            .sent_ns = one.now_ns,
                                            .lease_ns = 1000 * MS});
    alone_read(&one, 20);
    ck_assert_uint_eq(one.out.serve_read_count, 1);
    halves_ack_all(&one, 1);
    halves_compare(&one, 4, 5);
    ck_assert(halves_wants(&one, REPLICA_CHANGE_CUT));
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_STALE_MAP); // the read that was under way
    alone_read(&one, 21);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_BUSY);
    propose(2);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_BUSY);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_CHECKSUM});
    ck_assert_uint_eq(one.out.append_count, 0);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_TRANSFER, .uuid = uuid_of(2)});
    ck_assert_uint_eq(one.replica.transfer_to.low, 0);
    alone_wait(&one, 10 * one.replica.config.shrink_ns); // however long it takes
    propose(3);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_BUSY);
}
END_TEST

START_TEST(a_cut_that_was_too_late_lets_the_parent_go_on)
{
    cut();
    one.meta.children[1].cfg_ver++;
    halves_meta(&one);
    ck_assert(!one.replica.split.proposed && !one.replica.split.stopped);
    propose(2);
    ck_assert_uint_eq(one.out.answer_count, 0);
    ck_assert_uint_eq(one.replica.last_seq, 3);
}
END_TEST

START_TEST(a_parent_that_was_cut_answers_nothing_and_leads_no_more)
{
    cut();
    one.meta.child_count = 0;
    one.meta.retired = true;
    alone_meta(&one, 1, 1);
    ck_assert_int_eq(one.replica.role, REPLICA_BACKUP);
    propose(2);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_STALE_MAP);
    alone_read(&one, 21);
    ck_assert_int_eq(one.out.answers[0].status, OMEN_E_STALE_MAP);
    alone_meta(&one, 2, 1); // whatever metadata say
    ck_assert_int_eq(one.replica.role, REPLICA_BACKUP);
}
END_TEST

START_TEST(a_split_that_is_given_up_forgets_its_children)
{
    cut();
    one.meta.child_count = 0;
    alone_meta(&one, 1, 1);
    ck_assert_uint_eq(one.replica.peer_count, 3);
    propose(2);
    ck_assert_uint_eq(one.out.answer_count, 0);
    halves_ack(&one, 11, 1); // it is nobody's any more
    ck_assert_uint_eq(one.replica.counters.refused_msgs, 1);
}
END_TEST

START_TEST(a_change_of_a_child_leaves_what_this_shard_has_on_its_way)
{
    halves_open(&one, 0);
    alone_ack(&one, 4, 1); // a learner of this shard
    ck_assert(halves_wants(&one, REPLICA_CHANGE_ADD));
    ck_assert_uint_eq(one.out.change.shard, 7);
    one.meta.children[0].cfg_ver++;
    halves_meta(&one);
    ck_assert_int_eq(one.replica.change.kind, REPLICA_CHANGE_ADD);
    ck_assert_uint_eq(one.replica.change.uuid.low, 4);
}
END_TEST

static bool
equal_children(const struct replica_child *a, const struct replica_child *b)
{
    return a->shard == b->shard && a->cfg_ver == b->cfg_ver &&
           a->in_sync_count == b->in_sync_count && a->learner_count == b->learner_count &&
           a->unborn == b->unborn && memcmp(a->in_sync, b->in_sync, sizeof a->in_sync) == 0 &&
           memcmp(a->learners, b->learners, sizeof a->learners) == 0;
}

START_TEST(metadata_of_children_that_are_older_or_unsound_are_refused)
{
    halves_open(&one, 1);
    const struct replica_meta good = one.meta;
    for (int i = 0; i < 8; i++) {
        one.meta = good;
        one.meta.cfg_ver += i < 5;
        struct replica_child *child = &one.meta.children[1];
        switch (i) {
        case 0:
            one.meta.child_count = 1;
            break;
        case 1:
            child->learners[0] = uuid_of(11); // the other's
            break;
        case 2:
            child->in_sync[0] = uuid_of(0);
            break;
        case 3:
            child->in_sync_count = REPLICA_MEMBERS_MAX + 1;
            break;
        case 4:
            child->learner_count = REPLICA_MEMBERS_MAX;
            break;
        case 5:
            child->cfg_ver--;
            break;
        case 6:
            child->shard++;
            child->cfg_ver++;
            break;
        default: // nothing is new
            break;
        }
        halves_meta(&one);
        ck_assert_msg(one.replica.meta.cfg_ver == good.cfg_ver &&
                          one.replica.meta.child_count == good.child_count &&
                          equal_children(&one.replica.meta.children[0], &good.children[0]) &&
                          equal_children(&one.replica.meta.children[1], &good.children[1]),
                      "case %d", i);
    }
}
END_TEST

START_TEST(a_snapshot_is_for_those_that_learn)
{
    halves_open(&one, 1);
    halves_message(&one, 12, (struct replica_msg){.kind = REPLICA_SNAPSHOT_ASK});
    ck_assert_int_eq(one.out.serve.kind, REPLICA_SERVE_SNAPSHOT);
    halves_message(&one, 11, (struct replica_msg){.kind = REPLICA_SNAPSHOT_ASK});
    ck_assert_int_eq(one.out.serve.kind, REPLICA_SERVE_NONE);
}
END_TEST

START_TEST(copies_of_children_have_no_vote_on_what_the_parent_holds)
{
    halves_open(&one, 2);
    one.meta.children[0].unborn = 1; // no cut
    one.meta.children[0].cfg_ver++;
    halves_meta(&one);
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_CHECKSUM});
    alone_step(&one, (struct replica_input){.kind = REPLICA_IN_ROOT, .seq = 2, .sum = {5, 5}});
    for (uint64_t copy = 2; copy <= 3; copy++)
        alone_message(
            &one,
            (struct replica_msg){
                .kind = REPLICA_ROOT, .from = uuid_of(copy), .term = 1, .seq = 2, .sum = {5, 5}});
    ck_assert_uint_eq(one.replica.check_seq, 0);
    halves_message(&one, 11, (struct replica_msg){.kind = REPLICA_ROOT, .seq = 2, .sum = {6, 6}});
    ck_assert(!one.replica.halted);
    ck_assert_uint_eq(one.out.note_count, 0);
}
END_TEST

START_TEST(a_new_primary_counts_anew)
{
    cut();
    alone_meta(&one, 2, 2);
    ck_assert(!one.replica.split.stopped && !one.replica.split.proposed);
    alone_meta(&one, 3, 1);
    alone_persisted(&one);
    ck_assert_int_eq(one.replica.role, REPLICA_PRIMARY);
    ck_assert_uint_eq(one.replica.peer_count, 3 + 4);
    for (uint32_t i = 0; i < one.replica.peer_count; i++)
        ck_assert_uint_eq(one.replica.peers[i].match, 0);
}
END_TEST

static void
teardown(void)
{
    replica_fini(&one.replica);
}

static Suite *
split_suite(void)
{
    Suite *suite = suite_create("replica/split");
    TCase *tcase = tcase_create("split");
    tcase_add_checked_fixture(tcase, NULL, teardown);
    tcase_add_test(tcase, copies_of_children_are_sent_the_log_under_their_own_shard);
    tcase_add_test(tcase, they_never_hold_up_a_commit);
    tcase_add_test(tcase, one_that_has_caught_up_is_proposed_to_its_child);
    tcase_add_test(tcase, what_says_another_shard_than_its_child_is_refused);
    tcase_add_test(tcase, one_in_sync_that_is_silent_is_removed_from_its_child);
    tcase_add_test(tcase, a_cut_names_the_last_place_and_the_versions_of_all_three);
    tcase_add_test(tcase, no_cut_before_a_child_has_all_its_copies);
    tcase_add_test(tcase, a_cut_waits_without_intake_until_all_is_everywhere);
    tcase_add_test(tcase, intake_that_waited_in_vain_goes_on_for_a_while);
    tcase_add_test(tcase, halves_that_do_not_add_up_end_the_split);
    tcase_add_test(tcase, one_copy_of_a_half_that_differs_ends_the_split_too);
    tcase_add_test(tcase, no_cut_without_the_sum_of_every_copy);
    tcase_add_test(tcase, a_parent_whose_own_copies_disagree_is_not_cut);
    tcase_add_test(tcase, nothing_is_read_or_written_from_a_cut_to_its_outcome);
    tcase_add_test(tcase, a_cut_that_was_too_late_lets_the_parent_go_on);
    tcase_add_test(tcase, a_parent_that_was_cut_answers_nothing_and_leads_no_more);
    tcase_add_test(tcase, a_split_that_is_given_up_forgets_its_children);
    tcase_add_test(tcase, a_change_of_a_child_leaves_what_this_shard_has_on_its_way);
    tcase_add_test(tcase, metadata_of_children_that_are_older_or_unsound_are_refused);
    tcase_add_test(tcase, a_snapshot_is_for_those_that_learn);
    tcase_add_test(tcase, copies_of_children_have_no_vote_on_what_the_parent_holds);
    tcase_add_test(tcase, a_new_primary_counts_anew);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(split_suite)
