// tests/unit/shard/test_outside.c -- when a checkpoint of a hosted shard is due, and who waits for one.
//
// Labels: tsan
#include "shard/outside.h"

#include <pthread.h>

#include "base/os_clock.h"
#include "tests/lib/check_main.h"

#define MIB ((uint64_t)1 << 20)

START_TEST(a_checkpoint_is_due_after_a_second_or_many_bytes_and_costs_a_twentieth_of_the_time)
{
    struct outside outside = {0};
    atomic_store(&outside.saved_ns, os_clock_ns());
    ck_assert(!outside_due(&outside));
    atomic_store(&outside.saved_ns, 0);
    ck_assert(!outside_due(&outside)); // nothing was applied
    atomic_store(&outside.bytes, 1);
    ck_assert(outside_due(&outside));
    atomic_store(&outside.saved_ns, os_clock_ns());
    ck_assert(!outside_due(&outside));
    atomic_store(&outside.bytes, 64 * MIB);
    ck_assert(outside_due(&outside));
    atomic_store(&outside.bytes, 64 * MIB - 1);
    atomic_store(&outside.saved_ns, os_clock_ns() - 2000000000ull);
    ck_assert(outside_due(&outside));
    atomic_store(&outside.cost_ns,
                 1000000000ull); // one that took a second: not before 19 have passed
    ck_assert(!outside_due(&outside));
    atomic_store(&outside.saved_ns, os_clock_ns() - 20000000000ull);
    ck_assert(outside_due(&outside));
}
END_TEST

static void *
wait_for_it(void *context)
{
    outside_wait(context);
    return NULL;
}

START_TEST(who_is_far_ahead_waits_for_the_checkpoint_that_is_made_and_for_no_other)
{
    struct outside outside = {0};
    struct outside_save save = {.bytes = 128 * MIB};
    pthread_t waiter;
    outside_wait(&outside); // nothing is made
    atomic_store(&outside.bytes, 200 * MIB);
    outside_wait(&outside);
    atomic_store(&outside.saving, 1);
    atomic_store(&outside.bytes, 100 * MIB);
    outside_wait(&outside); // not far enough
    for (int saved = 0; saved < 2; saved++) {
        atomic_store(&outside.saving, 1);
        atomic_store(&outside.bytes, 200 * MIB);
        save.bytes = 128 * MIB;
        ck_assert_int_eq(pthread_create(&waiter, NULL, wait_for_it, &outside), 0);
        outside_save_end(&outside, &save, 9, saved == 1);
        ck_assert_int_eq(pthread_join(waiter, NULL), 0);
        ck_assert_uint_eq(atomic_load(&outside.bytes), (saved == 1 ? 72 : 200) * MIB);
        ck_assert_uint_eq(atomic_load(&outside.durable_seq), saved == 1 ? 9 : 0);
    }
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/outside");
    TCase *tcase = tcase_create("outside");
    tcase_add_test(
        tcase, a_checkpoint_is_due_after_a_second_or_many_bytes_and_costs_a_twentieth_of_the_time);
    tcase_add_test(tcase, who_is_far_ahead_waits_for_the_checkpoint_that_is_made_and_for_no_other);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
