// tests/unit/node/test_admit.c -- a copy answers who has its map, and refuses everybody else.
//
// Shape: shell.
#include "node/admit.h"
#include "tests/lib/check_main.h"

static struct copies copies;
static struct copy copy;
static struct copy *rows[] = {&copy};
static struct fanout_send request;

// A copy in sync on this node, which leads its shard, and a strong search that was routed by the same map.
static void
setup(void)
{
    copy = (struct copy){.env = {.uuid = {1, 2}, .shard = 7},
                         .made = true,
                         .named = true,
                         .row = {.id = 7,
                                 .first = 100,
                                 .last = 200,
                                 .term = 3,
                                 .cfg_ver = 9,
                                 .primary = {1, 2},
                                 .status = SHARD_OPEN,
                                 .replica_count = 2},
                         .replica = {.applied_seq = 50}};
    copy.row.replicas[0] =
        (struct map_replica){.uuid = {1, 3}, .node = 2, .role = MAP_REPLICA_IN_SYNC};
    copy.row.replicas[1] =
        (struct map_replica){.uuid = {1, 2}, .node = 1, .role = MAP_REPLICA_IN_SYNC};
    copies = (struct copies){.rows = rows, .count = 1, .room = 1, .node = 1, .current = true};
    request = (struct fanout_send){.kind = FANOUT_SEARCH,
                                   .consistency = FANOUT_STRONG,
                                   .copy_high = 1,
                                   .copy_low = 2,
                                   .shard = 7,
                                   .term = 3,
                                   .cfg_ver = 9,
                                   .first = 100,
                                   .last = 200};
}

static void
claim_refused(omen_status status)
{
    const struct admission admission = copies_admit(&copies, &request);
    ck_assert_int_eq(admission.how, ADMIT_REFUSE);
    ck_assert_int_eq(admission.status, status);
}

static void
claim_how(enum admit_how how)
{
    const struct admission admission = copies_admit(&copies, &request);
    ck_assert_int_eq(admission.how, how);
    ck_assert_int_eq(admission.status, OMEN_OK);
}

START_TEST(a_strong_read_and_a_write_are_for_the_replica_and_others_for_what_is_applied)
{
    claim_how(ADMIT_READ);
    request.kind = FANOUT_WRITE;
    claim_how(ADMIT_WRITE);
    request.consistency = FANOUT_ANY; // of a write it says nothing
    claim_how(ADMIT_WRITE);
    request.kind = FANOUT_GET;
    claim_how(ADMIT_SERVE);
}
END_TEST

START_TEST(after_a_start_others_answer_reads_until_the_map_is_as_new_as_before_it)
{
    copies.current = false;
    claim_how(ADMIT_READ);
    request.consistency = FANOUT_ANY;
    claim_refused(OMEN_E_BUSY);
    request.consistency = FANOUT_SESSION;
    claim_refused(OMEN_E_BUSY);
    copies.current = true;
    claim_how(ADMIT_SERVE);
}
END_TEST

START_TEST(after_a_start_a_copy_answers_when_it_has_applied_what_its_log_held)
{
    copies.current_ns = 7;
    copies.now_ns = 7 + 9999999999;
    copy.replica.found_seq = 51; // of which 50 is applied
    request.consistency = FANOUT_ANY;
    claim_how(ADMIT_READ);
    request.consistency = FANOUT_SESSION;
    claim_how(ADMIT_READ);
    copy.row.primary.low = 3; // the other leads
    claim_refused(OMEN_E_BUSY);
    copy.replica.applied_seq = 51;
    claim_how(ADMIT_SERVE);
}
END_TEST

START_TEST(a_copy_that_cannot_catch_up_answers_after_a_while_unless_it_commits_alone)
{
    copies.now_ns = 10000000000;
    copy.replica.found_seq = 51;
    request.consistency = FANOUT_ANY;
    claim_how(ADMIT_SERVE); // too few may be there for a write
    copy.row.replicas[0] = copy.row.replicas[1];
    copy.row.replica_count = 1;
    copy.row.min_insync = 2;
    claim_how(ADMIT_SERVE);
    copy.row.min_insync = 1;
    claim_how(ADMIT_READ);
}
END_TEST

START_TEST(another_copy_or_shard_is_refused)
{
    request.copy_low = 4;
    claim_refused(OMEN_E_STALE_MAP);
    request.copy_low = 2;
    request.shard = 8;
    claim_refused(OMEN_E_STALE_MAP);
    request.shard = 7;
    copy.made = false;
    claim_refused(OMEN_E_STALE_MAP);
}
END_TEST

START_TEST(an_older_map_and_a_newer_one_are_refused)
{
    request.consistency = FANOUT_ANY;
    request.cfg_ver = 8;
    claim_refused(OMEN_E_STALE_MAP);
    request.cfg_ver = 10;
    claim_refused(OMEN_E_STALE_MAP);
    request.cfg_ver = 9;
    request.term = 2;
    claim_refused(OMEN_E_STALE_MAP);
}
END_TEST

START_TEST(a_copy_that_is_not_in_sync_or_not_in_the_map_answers_nothing)
{
    request.consistency = FANOUT_ANY;
    copy.row.replicas[1].role = MAP_REPLICA_LEARNER;
    claim_refused(OMEN_E_STALE_MAP);
    copy.row.replicas[1].role = MAP_REPLICA_IN_SYNC;
    copy.row.replicas[1].uuid.low = 5;
    claim_refused(OMEN_E_STALE_MAP);
    copy.row.replicas[1].uuid.low = 2;
    copy.named = false;
    claim_refused(OMEN_E_STALE_MAP);
}
END_TEST

START_TEST(a_shard_that_was_split_answers_nothing_and_one_that_is_being_split_does)
{
    copy.row.status = SHARD_SPLITTING;
    claim_how(ADMIT_READ);
    copy.row.status = SHARD_RETIRED;
    claim_refused(OMEN_E_STALE_MAP);
}
END_TEST

START_TEST(hashes_that_are_not_all_the_shards_are_refused)
{
    request.first = 99;
    claim_refused(OMEN_E_STALE_MAP);
    request.first = 150;
    claim_how(ADMIT_READ);
    request.last = 201;
    claim_refused(OMEN_E_STALE_MAP);
    request.last = 149;
    claim_refused(OMEN_E_STALE_MAP);
}
END_TEST

START_TEST(who_is_not_primary_refuses_writes_and_strong_reads_only)
{
    copy.row.primary.low = 3;
    claim_refused(OMEN_E_STALE_MAP);
    request.kind = FANOUT_WRITE;
    request.consistency = FANOUT_ANY;
    claim_refused(OMEN_E_STALE_MAP);
    request.kind = FANOUT_GET;
    claim_how(ADMIT_SERVE);
}
END_TEST

START_TEST(a_session_is_answered_by_who_has_applied_what_it_has_seen)
{
    request.consistency = FANOUT_SESSION;
    request.after_seq = 50;
    claim_how(ADMIT_SERVE);
    copy.row.primary.low = 3;
    claim_how(ADMIT_SERVE);
    request.after_seq = 51;
    claim_refused(OMEN_E_BUSY);
    request.after_seq = UINT64_MAX;
    claim_refused(OMEN_E_BUSY);
}
END_TEST

START_TEST(a_primary_reads_strongly_for_a_session_that_has_seen_more_than_it)
{
    request.consistency = FANOUT_SESSION;
    request.after_seq = 51;
    claim_how(ADMIT_READ);
    request.after_seq = UINT64_MAX;
    claim_how(ADMIT_READ);
    copies.current = false; // it may be that others have it
    claim_refused(OMEN_E_BUSY);
    copies.current = true;
    request.consistency = FANOUT_ANY; // says nothing of tokens
    claim_how(ADMIT_SERVE);
}
END_TEST

START_TEST(a_child_answers_when_it_has_applied_what_its_parent_had)
{
    copy.row.base_seq = 51;
    request.consistency = FANOUT_ANY;
    claim_refused(OMEN_E_BUSY);
    copy.replica.applied_seq = 51;
    claim_how(ADMIT_SERVE);
}
END_TEST

static Suite *
admit_suite(void)
{
    Suite *suite = suite_create("node/admit");
    TCase *tcase = tcase_create("admit");
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase,
                   a_strong_read_and_a_write_are_for_the_replica_and_others_for_what_is_applied);
    tcase_add_test(tcase, after_a_start_others_answer_reads_until_the_map_is_as_new_as_before_it);
    tcase_add_test(tcase, after_a_start_a_copy_answers_when_it_has_applied_what_its_log_held);
    tcase_add_test(tcase,
                   a_copy_that_cannot_catch_up_answers_after_a_while_unless_it_commits_alone);
    tcase_add_test(tcase, another_copy_or_shard_is_refused);
    tcase_add_test(tcase, an_older_map_and_a_newer_one_are_refused);
    tcase_add_test(tcase, a_copy_that_is_not_in_sync_or_not_in_the_map_answers_nothing);
    tcase_add_test(tcase, a_shard_that_was_split_answers_nothing_and_one_that_is_being_split_does);
    tcase_add_test(tcase, hashes_that_are_not_all_the_shards_are_refused);
    tcase_add_test(tcase, who_is_not_primary_refuses_writes_and_strong_reads_only);
    tcase_add_test(tcase, a_session_is_answered_by_who_has_applied_what_it_has_seen);
    tcase_add_test(tcase, a_primary_reads_strongly_for_a_session_that_has_seen_more_than_it);
    tcase_add_test(tcase, a_child_answers_when_it_has_applied_what_its_parent_had);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(admit_suite)
