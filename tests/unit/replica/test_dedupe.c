// tests/unit/replica/test_dedupe.c -- the table of operations follows the log and forgets only what is committed.
//
// Shape: shell.
#include "base/alloc.h"
#include "replica/dedupe.h"
#include "tests/lib/check_main.h"

static struct dedupe table;

static void
add(uint64_t seq, uint64_t stamp_ms)
{
    ck_assert_int_eq(dedupe_reserve(&table, 1, seq), OMEN_OK);
    dedupe_add(&table, &(struct dedupe_op){{7, seq}, seq, stamp_ms});
    dedupe_check(&table);
}

START_TEST(the_oldest_committed_leaves_when_room_is_needed)
{
    dedupe_init(&table, 100, DEDUPE_WINDOW_MS);
    for (uint64_t seq = 1; seq <= 150; seq++)
        add(seq, 0);
    ck_assert_uint_eq(dedupe_find(&table, (struct replica_uuid){7, 50}), 0);
    ck_assert_uint_eq(dedupe_find(&table, (struct replica_uuid){7, 51}), 51);
    dedupe_fini(&table);
}
END_TEST

START_TEST(what_is_not_committed_is_never_forgotten)
{
    dedupe_init(&table, 2, DEDUPE_WINDOW_MS);
    add(1, 0);
    add(2, 0);
    ck_assert_int_eq(dedupe_reserve(&table, 1, 0), OMEN_E_BUSY);
    dedupe_expire(&table, 0, UINT64_MAX);
    ck_assert_uint_eq(table.count, 2);
    dedupe_fini(&table);
}
END_TEST

START_TEST(an_operation_is_remembered_for_the_window)
{
    dedupe_init(&table, 100, 600);
    add(1, 1000);
    dedupe_expire(&table, 1, 1600);
    ck_assert_uint_eq(table.count, 1);
    dedupe_expire(&table, 1, 1601);
    ck_assert_uint_eq(table.count, 0);
    dedupe_fini(&table);
}
END_TEST

START_TEST(refused_memory_changes_nothing)
{
    dedupe_init(&table, 1000, 600);
    for (uint64_t seq = 1; seq <= 64; seq++)
        add(seq, 0);
    for (uint64_t nth = 1; nth <= 2; nth++) {
        mem_fail_once(nth);
        ck_assert_int_eq(dedupe_reserve(&table, 1, 0), OMEN_E_NO_MEMORY);
        mem_fail_once(0);
    }
    ck_assert_uint_eq(dedupe_find(&table, (struct replica_uuid){7, 64}), 64);
    dedupe_fini(&table);
}
END_TEST

START_TEST(an_empty_table_knows_nothing)
{
    dedupe_init(&table, 100, 600);
    ck_assert_uint_eq(dedupe_find(&table, (struct replica_uuid){7, 1}), 0);
    dedupe_expire(&table, 1, 1);
    ck_assert_uint_eq(table.count, 0);
}
END_TEST

START_TEST(an_operation_of_a_clock_that_was_ahead_is_kept)
{
    dedupe_init(&table, 100, 600);
    add(1, 5000);
    dedupe_expire(&table, 1, 1000);
    ck_assert_uint_eq(dedupe_find(&table, (struct replica_uuid){7, 1}), 1);
    dedupe_fini(&table);
}
END_TEST

static Suite *
dedupe_suite(void)
{
    Suite *suite = suite_create("replica/dedupe");
    TCase *tcase = tcase_create("dedupe");
    tcase_add_test(tcase, the_oldest_committed_leaves_when_room_is_needed);
    tcase_add_test(tcase, what_is_not_committed_is_never_forgotten);
    tcase_add_test(tcase, an_operation_is_remembered_for_the_window);
    tcase_add_test(tcase, refused_memory_changes_nothing);
    tcase_add_test(tcase, an_empty_table_knows_nothing);
    tcase_add_test(tcase, an_operation_of_a_clock_that_was_ahead_is_kept);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(dedupe_suite)
