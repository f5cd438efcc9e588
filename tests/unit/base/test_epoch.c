// tests/unit/base/test_epoch.c -- a writer waits for the readers it must wait for, and for no others.
//
// Shape: shell.
// Labels: tsan
//
// The stress tests write to an old version with plain stores once the gate says that its readers left, while
// readers use plain loads: ThreadSanitizer then checks the gate's ordering, not only its luck.
#include "base/epoch.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "tests/lib/check_main.h"

enum { READERS = 4, VERSIONS = 2000, MANY_THREADS = 2 * EPOCH_STRIPES };

static struct epoch epoch;
static uint32_t ended_count;

static void
setup(void)
{
    epoch_init(&epoch);
    ended_count = 0;
}

static void
teardown(void)
{
    epoch_fini(&epoch);
}

static void
count_end(void *memory)
{
    (void)memory;
    ended_count++;
}

// ---- one thread ----

START_TEST(with_nobody_inside_a_wait_returns)
{
    for (int i = 0; i < 1000; i++)
        epoch_wait(&epoch);
    ck_assert_uint_eq(atomic_load(&epoch.waiting), 0);
}
END_TEST

START_TEST(readers_nest_and_leave_in_any_order)
{
    const uint32_t first = epoch_enter(&epoch);
    const uint32_t second = epoch_enter(&epoch);
    epoch_leave(&epoch, first);
    epoch_leave(&epoch, second);
    epoch_wait(&epoch);
}
END_TEST

START_TEST(leaving_twice_aborts)
{
    const uint32_t ticket = epoch_enter(&epoch);
    epoch_leave(&epoch, ticket);
    epoch_leave(&epoch, ticket);
}
END_TEST

START_TEST(a_ticket_that_nobody_gave_aborts)
{
    epoch_leave(&epoch, EPOCH_STRIPES << 1);
}
END_TEST

START_TEST(the_end_with_a_reader_inside_aborts)
{
    epoch_enter(&epoch);
    epoch_fini(&epoch);
}
END_TEST

START_TEST(retired_with_nobody_inside_ends_at_once)
{
    epoch_retire(&epoch, NULL, count_end);
    ck_assert_uint_eq(ended_count, 1);
}
END_TEST

START_TEST(retired_lives_until_its_reader_left)
{
    const uint32_t ticket = epoch_enter(&epoch);
    epoch_retire(&epoch, NULL, count_end);
    for (int i = 0; i < 10; i++)
        epoch_reclaim(&epoch);
    ck_assert_uint_eq(ended_count, 0);
    epoch_leave(&epoch, ticket);
    epoch_reclaim(&epoch);
    ck_assert_uint_eq(ended_count, 1);
}
END_TEST

START_TEST(a_reader_that_came_later_does_not_hold_what_was_retired)
{
    const uint32_t early = epoch_enter(&epoch);
    epoch_retire(&epoch, NULL, count_end);
    const uint32_t late = epoch_enter(&epoch);
    epoch_leave(&epoch, early);
    epoch_reclaim(&epoch);
    ck_assert_uint_eq(ended_count, 1);
    epoch_leave(&epoch, late);
}
END_TEST

START_TEST(retired_during_a_period_waits_for_the_next_one)
{
    const uint32_t early = epoch_enter(&epoch);
    epoch_retire(&epoch, NULL, count_end); // its period begins
    const uint32_t late = epoch_enter(&epoch);
    epoch_retire(&epoch, NULL, count_end); // `late` may see this one
    epoch_leave(&epoch, early);
    epoch_reclaim(&epoch);
    ck_assert_uint_eq(ended_count, 1);
    epoch_leave(&epoch, late);
    epoch_reclaim(&epoch);
    ck_assert_uint_eq(ended_count, 2);
}
END_TEST

START_TEST(a_wait_ends_everything_retired)
{
    const uint32_t ticket = epoch_enter(&epoch);
    for (int i = 0; i < 5; i++)
        epoch_retire(&epoch, NULL, count_end);
    ck_assert_uint_eq(ended_count, 0);
    epoch_leave(&epoch, ticket);
    epoch_wait(&epoch);
    ck_assert_uint_eq(ended_count, 5);
}
END_TEST

START_TEST(fini_ends_everything_retired)
{
    const uint32_t ticket = epoch_enter(&epoch);
    epoch_retire(&epoch, NULL, count_end);
    epoch_leave(&epoch, ticket);
    epoch_fini(&epoch);
    ck_assert_uint_eq(ended_count, 1);
    epoch_init(&epoch);
}
END_TEST

// ---- threads ----

static _Atomic bool leaving;

static void *
leave_ticket(void *argument)
{
    atomic_store(&leaving, true);
    epoch_leave(&epoch, *(const uint32_t *)argument);
    return NULL;
}

static void *
retire_one(void *argument)
{
    (void)argument;
    epoch_retire(&epoch, NULL, count_end);
    return NULL;
}

START_TEST(a_ticket_may_be_given_back_on_another_thread)
{
    for (int round = 0; round < 200; round++) {
        uint32_t ticket = epoch_enter(&epoch);
        pthread_t thread;
        atomic_store(&leaving, false);
        ck_assert_int_eq(pthread_create(&thread, NULL, leave_ticket, &ticket), 0);
        epoch_wait(&epoch); // returns only because the other thread leaves
        ck_assert(atomic_load(&leaving));
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
    }
}
END_TEST

START_TEST(one_more_retired_than_fits_waits_for_a_reader)
{
    const uint32_t ticket = epoch_enter(&epoch);
    for (uint32_t i = 0; i < EPOCH_RETIRED_MAX; i++)
        epoch_retire(&epoch, NULL, count_end);
    ck_assert_uint_eq(ended_count, 0);
    ck_assert_uint_eq(epoch.retired_count, EPOCH_RETIRED_MAX);

    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, retire_one, NULL), 0);
    epoch_leave(&epoch, ticket); // without this the thread would never end
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    epoch_reclaim(&epoch);
    ck_assert_uint_eq(ended_count, EPOCH_RETIRED_MAX + 1);
}
END_TEST

struct version {
    uint64_t number;
    uint64_t inverse; // ~number while the version lives
};

static struct version *_Atomic current;
static _Atomic bool stop;

static void *
read_versions(void *argument)
{
    uint64_t *const wrong = argument;
    uint64_t last = 0;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        const uint32_t ticket = epoch_enter(&epoch);
        const struct version *version = atomic_load_explicit(&current, memory_order_acquire);
        *wrong += version->inverse != ~version->number || version->number < last;
        last = version->number;
        epoch_leave(&epoch, ticket);
        sched_yield(); // many threads on few processors: the writer waits for each
    }
    return NULL;
}

static void
end_version(void *memory)
{
    struct version *version = memory;
    version->inverse =
        version->number; // a reader that is still there sees it, and so does the sanitizer
    mem_free(version);
}

static void
publish(uint64_t number)
{
    struct version *version = mem_alloc(sizeof *version);
    ck_assert_ptr_nonnull(version);
    *version = (struct version){.number = number, .inverse = ~number};
    atomic_store_explicit(&current, version, memory_order_release);
}

// Publishes version after version beside `count` readers; even versions end by waiting, odd ones by retiring.
static void
stress(uint32_t count, uint64_t versions)
{
    pthread_t threads[MANY_THREADS];
    uint64_t wrong[MANY_THREADS] = {0};
    publish(0);
    for (uint32_t i = 0; i < count; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, read_versions, &wrong[i]), 0);
    for (uint64_t number = 1; number <= versions; number++) {
        struct version *old = atomic_load_explicit(&current, memory_order_relaxed);
        publish(number);
        if (number % 2 == 0) {
            epoch_wait(&epoch);
            end_version(old);
        } else {
            epoch_retire(&epoch, old, end_version);
        }
    }
    atomic_store(&stop, true);
    for (uint32_t i = 0; i < count; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert_uint_eq(wrong[i], 0);
    }
    end_version(atomic_load(&current));
}

START_TEST(no_reader_sees_a_version_that_ended)
{
    stress(READERS, VERSIONS);
}
END_TEST

START_TEST(more_readers_than_stripes_see_no_version_that_ended)
{
    stress(MANY_THREADS, VERSIONS / 100);
}
END_TEST

static void *
wait_often(void *argument)
{
    (void)argument;
    for (int i = 0; i < 500; i++) {
        epoch_wait(&epoch);
        const uint32_t ticket = epoch_enter(&epoch);
        epoch_leave(&epoch, ticket);
    }
    return NULL;
}

START_TEST(writers_that_wait_at_the_same_time_all_return)
{
    pthread_t threads[READERS];
    for (int i = 0; i < READERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, wait_often, NULL), 0);
    for (int i = 0; i < READERS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}
END_TEST

static Suite *
epoch_suite(void)
{
    Suite *suite = suite_create("base/epoch");
    TCase *alone = tcase_create("one thread");
    tcase_add_checked_fixture(alone, setup, teardown);
    tcase_add_test(alone, with_nobody_inside_a_wait_returns);
    tcase_add_test(alone, readers_nest_and_leave_in_any_order);
    tcase_add_test_raise_signal(alone, leaving_twice_aborts, SIGABRT);
    tcase_add_test_raise_signal(alone, a_ticket_that_nobody_gave_aborts, SIGABRT);
    tcase_add_test_raise_signal(alone, the_end_with_a_reader_inside_aborts, SIGABRT);
    tcase_add_test(alone, retired_with_nobody_inside_ends_at_once);
    tcase_add_test(alone, retired_lives_until_its_reader_left);
    tcase_add_test(alone, a_reader_that_came_later_does_not_hold_what_was_retired);
    tcase_add_test(alone, retired_during_a_period_waits_for_the_next_one);
    tcase_add_test(alone, a_wait_ends_everything_retired);
    tcase_add_test(alone, fini_ends_everything_retired);
    suite_add_tcase(suite, alone);

    TCase *threads = tcase_create("threads");
    tcase_add_checked_fixture(threads, setup, teardown);
    tcase_add_test(threads, a_ticket_may_be_given_back_on_another_thread);
    tcase_add_test(threads, one_more_retired_than_fits_waits_for_a_reader);
    tcase_add_test(threads, no_reader_sees_a_version_that_ended);
    tcase_add_test(threads, more_readers_than_stripes_see_no_version_that_ended);
    tcase_add_test(threads, writers_that_wait_at_the_same_time_all_return);
    suite_add_tcase(suite, threads);
    return suite;
}

CHECK_MAIN(epoch_suite)
