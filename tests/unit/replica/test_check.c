// tests/unit/replica/test_check.c -- the checkers between copies see what they are for.
//
// Shape: shell. The copies here are made up, so that each is wrong in one way.
#include "tests/lib/check_main.h"
#include "tests/lib/replica_alone.h"

static struct replica a, b;
static const struct replica *const both[] = {&a, &b};

// A log of `count` entries: of term 1, and from `second` on of `term`.
static void
make(struct replica *replica, uint64_t uuid, uint64_t count, uint64_t second, uint64_t term)
{
    *replica = (struct replica){.config = {.uuid = {0, uuid}},
                                .role = REPLICA_BACKUP,
                                .promised = term,
                                .first_seq = 1,
                                .last_seq = count,
                                .terms = {.near = {{1, 1}, {term, second}}, .count = 2}};
}

START_TEST(equal_logs_and_one_that_is_behind_are_fine)
{
    make(&a, 1, 5, 3, 2);
    make(&b, 2, 4, 3, 2);
    a.commit_seq = b.commit_seq = 4;
    ck_assert_ptr_null(replicas_check_logs(both, 2));
}
END_TEST

START_TEST(tails_that_differ_above_what_is_committed_are_fine)
{
    make(&a, 1, 5, 3, 2);
    make(&b, 2, 5, 3, 3);
    a.commit_seq = 5;
    b.commit_seq = 2;
    ck_assert_ptr_null(replicas_check_logs(both, 2));
}
END_TEST

START_TEST(two_primaries_of_one_term_are_seen)
{
    make(&a, 1, 5, 3, 2);
    make(&b, 2, 5, 3, 2);
    a.role = b.role = REPLICA_PRIMARY;
    ck_assert_str_eq(replicas_check_logs(both, 2), "I1: two primaries of one term");
    a.promised = 3;
    ck_assert_ptr_null(replicas_check_logs(both, 2));
}
END_TEST

START_TEST(logs_that_agree_above_a_difference_are_seen)
{
    make(&a, 1, 5, 3, 2);
    make(&b, 2, 5, 4, 2);
    ck_assert_ptr_nonnull(strstr(replicas_check_logs(both, 2), "I3"));
}
END_TEST

START_TEST(two_committed_entries_at_one_place_are_seen)
{
    make(&a, 1, 5, 3, 2);
    make(&b, 2, 5, 3, 3);
    a.commit_seq = b.commit_seq = 3;
    ck_assert_ptr_nonnull(strstr(replicas_check_logs(both, 2), "I4"));
}
END_TEST

START_TEST(what_a_copy_does_not_remember_is_not_held_against_it)
{
    make(&a, 1, 9, 3, 2);
    make(&b, 2, 9, 9, 2);
    b.terms.near[0].first_seq = 8;
    b.terms.near[0].term = 2;
    b.terms.count = 1;
    ck_assert_ptr_null(replicas_check_logs(both, 2));
}
END_TEST

START_TEST(an_acknowledged_entry_that_is_missing_in_sync_is_seen)
{
    const struct replica_meta meta = {.in_sync = {{0, 1}, {0, 2}}, .in_sync_count = 2};
    make(&a, 1, 5, 3, 2);
    make(&b, 2, 5, 3, 2);
    ck_assert_ptr_null(replicas_check_acked(both, 2, &meta, 4, 2));
    b.last_seq = 3;
    ck_assert_ptr_nonnull(strstr(replicas_check_acked(both, 2, &meta, 4, 2), "I2"));
    b.config.uuid.low = 3; // not in sync
    ck_assert_ptr_null(replicas_check_acked(both, 2, &meta, 4, 2));
    b.config.uuid.low = 2;
    b.terms.count = 0; // it is below what it remembers
    ck_assert_ptr_null(replicas_check_acked(both, 2, &meta, 4, 2));
}
END_TEST

START_TEST(one_line_says_what_a_copy_is)
{
    static struct alone one;
    char line[512];
    alone_lead(&one);
    alone_ack(&one, 4, 1);
    replica_describe(&one.replica, line, sizeof line);
    ck_assert_str_eq(line,
                     "1 open primary cfg=1 promised=1/1 log=1..1@1 durable=1 commit=1 applied=1 "
                     "2:stream+=1/1 3:stream+=1/1 4:stream?=1/1 add(4)@1");
    make(&a, 1, 5, 3, 2);
    a.download = (struct replica_download){.active = true, .chunk = 1, .chunk_count = 4};
    replica_describe(&a, line, sizeof line);
    ck_assert_ptr_nonnull(strstr(line, " download=1/4"));
}
END_TEST

static Suite *
check_suite(void)
{
    Suite *suite = suite_create("replica/check");
    TCase *tcase = tcase_create("check");
    tcase_add_test(tcase, equal_logs_and_one_that_is_behind_are_fine);
    tcase_add_test(tcase, tails_that_differ_above_what_is_committed_are_fine);
    tcase_add_test(tcase, two_primaries_of_one_term_are_seen);
    tcase_add_test(tcase, logs_that_agree_above_a_difference_are_seen);
    tcase_add_test(tcase, two_committed_entries_at_one_place_are_seen);
    tcase_add_test(tcase, what_a_copy_does_not_remember_is_not_held_against_it);
    tcase_add_test(tcase, an_acknowledged_entry_that_is_missing_in_sync_is_seen);
    tcase_add_test(tcase, one_line_says_what_a_copy_is);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(check_suite)
