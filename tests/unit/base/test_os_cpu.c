// tests/unit/base/test_os_cpu.c -- the processors counted are those this process may use.
//
// Shape: shell.
#include "base/os_cpu.h"

#include <sched.h>
#include <unistd.h>

#include "tests/lib/check_main.h"

START_TEST(the_count_is_that_of_the_affinity_mask)
{
    cpu_set_t mask;
    ck_assert_int_eq(sched_getaffinity(0, sizeof mask, &mask), 0);
    ck_assert_uint_eq(os_cpu_count(), (unsigned)CPU_COUNT(&mask));
    ck_assert_uint_ge(os_cpu_count(), 1);
}
END_TEST

START_TEST(a_process_bound_to_one_processor_counts_one)
{
    cpu_set_t mask, one;
    ck_assert_int_eq(sched_getaffinity(0, sizeof mask, &mask), 0);
    size_t cpu = 0;
    while (!CPU_ISSET(cpu, &mask))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
    ck_assert_uint_eq(os_cpu_count(), 1);
    ck_assert_int_eq(sched_setaffinity(0, sizeof mask, &mask), 0);
}
END_TEST

static Suite *
os_cpu_suite(void)
{
    Suite *suite = suite_create("base/os_cpu");
    TCase *tcase = tcase_create("os_cpu");
    tcase_add_test(tcase, the_count_is_that_of_the_affinity_mask);
    tcase_add_test(tcase, a_process_bound_to_one_processor_counts_one);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(os_cpu_suite)
