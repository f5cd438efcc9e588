// tests/unit/replica/test_terms.c -- which terms of a log are remembered.
#include "replica/terms.h"

#include "base/alloc.h"
#include "tests/lib/check_main.h"

static struct terms terms;

static void
fini(void)
{
    terms_fini(&terms);
}

// Term t begins at 10 t.
static void
begin(uint64_t first, uint64_t last, uint32_t most, uint64_t applied_seq)
{
    for (uint64_t term = first; term <= last; term++)
        ck_assert(terms_begin(&terms, (struct replica_term){term, 10 * term}, most, applied_seq));
}

START_TEST(an_entry_is_of_the_term_that_began_last_before_it)
{
    begin(1, 3, 4, 0);
    ck_assert_uint_eq(terms_of(&terms, 9), 0);
    ck_assert_uint_eq(terms_of(&terms, 10), 1);
    ck_assert_uint_eq(terms_of(&terms, 19), 1);
    ck_assert_uint_eq(terms_of(&terms, 20), 2);
    ck_assert_uint_eq(terms_of(&terms, 1000), 3);
    ck_assert(terms_begin(&terms, (struct replica_term){3, 35}, 4, 0)); // goes on
    ck_assert_uint_eq(terms.count, 3);
    terms_cut(&terms, 20);
    ck_assert_uint_eq(terms_of(&terms, 1000), 2);
    terms_cut(&terms, 9);
    ck_assert_uint_eq(terms.count, 0);
}
END_TEST

START_TEST(of_what_is_applied_the_oldest_are_forgotten)
{
    begin(1, 4, 4, 1000);
    ck_assert_uint_eq(terms.count, 4);
    begin(5, 5, 4, 1000);
    ck_assert_uint_eq(terms.count, 4);
    ck_assert_uint_eq(terms_of(&terms, 19), 0);
    ck_assert_uint_eq(terms_of(&terms, 20), 2);
}
END_TEST

// 45 is of the fourth term.
START_TEST(all_from_that_of_the_last_applied_entry_on_are_remembered)
{
    const uint64_t many = 5 * REPLICA_TERMS_MAX;
    begin(1, many, 4, 45);
    ck_assert_uint_eq(terms.count, many - 3);
    ck_assert_uint_eq(terms_of(&terms, 39), 0);
    for (uint64_t term = 4; term <= many; term++) {
        ck_assert_uint_eq(terms_of(&terms, 10 * term), term);
        ck_assert_uint_eq(terms_of(&terms, 10 * term + 9), term);
    }
    begin(many + 1, many + 1, 4, 10 * many); // all of it was applied
    ck_assert_uint_eq(terms.count, 4);
    ck_assert_uint_eq(terms_of(&terms, 10 * many), many);
    terms_fini(&terms);
    ck_assert_uint_eq(terms.count, 0);
    begin(1, 2, 2, 0);
    ck_assert_uint_eq(terms_of(&terms, 10), 1);
}
END_TEST

START_TEST(without_memory_the_oldest_is_forgotten)
{
    begin(1, REPLICA_TERMS_MAX, 4, 0);
    mem_fail_once(1);
    ck_assert(!terms_begin(&terms, (struct replica_term){100, 1000}, 4, 0));
    mem_fail_once(0);
    ck_assert_uint_eq(terms.count, REPLICA_TERMS_MAX);
    ck_assert_uint_eq(terms_of(&terms, 10), 0);
    ck_assert_uint_eq(terms_of(&terms, 20), 2);
    ck_assert_uint_eq(terms_of(&terms, 1000), 100);
}
END_TEST

static Suite *
terms_suite(void)
{
    Suite *suite = suite_create("replica/terms");
    TCase *cases = tcase_create("terms");
    tcase_add_checked_fixture(cases, NULL, fini);
    tcase_add_test(cases, an_entry_is_of_the_term_that_began_last_before_it);
    tcase_add_test(cases, of_what_is_applied_the_oldest_are_forgotten);
    tcase_add_test(cases, all_from_that_of_the_last_applied_entry_on_are_remembered);
    tcase_add_test(cases, without_memory_the_oldest_is_forgotten);
    suite_add_tcase(suite, cases);
    return suite;
}

CHECK_MAIN(terms_suite)
