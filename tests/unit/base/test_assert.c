// tests/unit/base/test_assert.c -- a true condition costs nothing, a false one ends the process.
//
// Shape: shell.
#include "base/assert.h"

#include "tests/lib/check_main.h"

START_TEST(a_true_condition_is_evaluated_once_and_passes)
{
    int evaluated = 0;
    ASSERT(++evaluated == 1);
    ck_assert_int_eq(evaluated, 1);
}
END_TEST

START_TEST(a_false_condition_aborts)
{
    volatile int zero = 0;
    ASSERT(zero != 0);
}
END_TEST

START_TEST(slow_checks_are_evaluated_only_where_they_are_on)
{
    volatile int evaluated = 0;
    ASSERT_SLOW(++evaluated > 0);
#ifdef OMEN_SLOW_CHECKS
    ck_assert_int_eq(evaluated, 1);
#else
    ck_assert_int_eq(evaluated, 0);
#endif
}
END_TEST

static Suite *
assert_suite(void)
{
    Suite *suite = suite_create("base/assert");
    TCase *tcase = tcase_create("assert");
    tcase_add_test(tcase, a_true_condition_is_evaluated_once_and_passes);
    tcase_add_test_raise_signal(tcase, a_false_condition_aborts, SIGABRT);
    tcase_add_test(tcase, slow_checks_are_evaluated_only_where_they_are_on);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(assert_suite)
