// tests/unit/base/test_os_lock.c -- who waits for a lock gets it.
//
// Labels: tsan
#include "base/os_lock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/os_clock.h"
#include "tests/lib/check_main.h"

enum { TIMES = 200, HELD_NS = 100000 };

struct greedy {
    struct lock lock;
    _Atomic bool stop;
    _Atomic uint64_t times;
};

// Holds it all the time but for the moment between two.
static void *
hold_again_and_again(void *context)
{
    struct greedy *greedy = context;
    while (!atomic_load(&greedy->stop)) {
        lock_acquire_in_turn(&greedy->lock);
        const uint64_t until_ns = os_clock_ns() + HELD_NS;
        while (os_clock_ns() < until_ns)
            ;
        atomic_fetch_add(&greedy->times, 1);
        lock_release(&greedy->lock);
    }
    return NULL;
}

START_TEST(who_comes_again_at_once_lets_whoever_waits_go_first)
{
    struct greedy greedy = {.times = 0};
    lock_init(&greedy.lock);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, hold_again_and_again, &greedy), 0);
    while (atomic_load(&greedy.times) == 0)
        ;
    uint64_t waited = 0;
    for (uint32_t i = 0; i < TIMES; i++) {
        const uint64_t before = atomic_load(&greedy.times);
        lock_acquire(&greedy.lock);
        waited += atomic_load(&greedy.times) - before;
        lock_release(&greedy.lock);
    }
    atomic_store(&greedy.stop, true);
    pthread_join(thread, NULL);
    lock_fini(&greedy.lock);
    // Ours, and those that came to an end before we stood in the line, as this thread was not run meanwhile.
    ck_assert_uint_le(waited, TIMES * 20);
}
END_TEST

START_TEST(a_lock_that_is_held_is_not_had_by_trying)
{
    struct lock lock = LOCK_INIT;
    lock_acquire(&lock);
    ck_assert(!lock_try(&lock));
    lock_release(&lock);
    ck_assert(lock_try(&lock));
    lock_release(&lock);
    lock_acquire_in_turn(&lock);
    ck_assert(!lock_try(&lock));
    lock_release(&lock);
    lock_fini(&lock);
}
END_TEST

static Suite *
lock_suite(void)
{
    Suite *suite = suite_create("base/os_lock");
    TCase *cases = tcase_create("turns");
    tcase_add_test(cases, who_comes_again_at_once_lets_whoever_waits_go_first);
    tcase_add_test(cases, a_lock_that_is_held_is_not_had_by_trying);
    suite_add_tcase(suite, cases);
    return suite;
}

CHECK_MAIN(lock_suite)
