// tests/unit/base/test_bug.c -- a deliberate error is in force by its name, and a wrong name is not taken for "none".
//
// Shape: shell. Compiled with OMEN_TESTING.
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "tests/lib/check_main.h"

START_TEST(every_error_is_found_by_its_name)
{
    for (int i = BUG_NONE; i < BUGS_END; i++)
        ck_assert_int_eq(bug_parse(bug_name((enum bug)i)), i);
    ck_assert_int_eq(bug_parse("no_such_error"), BUGS_END);
}
END_TEST

START_TEST(the_environment_names_the_error_in_force)
{
    setenv("OMEN_BUG", "no_dedupe", 1);
    ck_assert(bug(BUG_NO_DEDUPE));
    ck_assert(!bug(BUG_NONE));
    setenv("OMEN_BUG", "skip_promise", 1); // was read already
    ck_assert(!bug(BUG_SKIP_PROMISE));
    bug_choose(BUG_SKIP_PROMISE);
    ck_assert(bug(BUG_SKIP_PROMISE));
}
END_TEST

START_TEST(a_name_that_is_in_no_list_ends_the_process)
{
    setenv("OMEN_BUG", "skip_promises", 1);
    ck_assert(!bug(BUG_NONE)); // does not come back
}
END_TEST

static Suite *
bug_suite(void)
{
    Suite *suite = suite_create("base/bug");
    TCase *tcase = tcase_create("bug");
    tcase_add_test(tcase, every_error_is_found_by_its_name);
    tcase_add_test(tcase, the_environment_names_the_error_in_force);
    tcase_add_exit_test(tcase, a_name_that_is_in_no_list_ends_the_process, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(bug_suite)
