// tests/unit/base/test_os_lock.c -- who waits for a lock gets it.
//
// Labels: tsan
#include "base/os_lock.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/lib/check_main.h"

enum { TIMES = 500 };

struct turns {
    struct lock lock;
    _Atomic bool over;
    uint32_t others;      // that had the lock; under it, as is
    uint32_t passed_over; // how often nobody had it between two of ours, although somebody waited
};

// Whether somebody waits for the lock, which we have.
static bool
is_waited_for(struct lock *lock)
{
    if (pthread_mutex_trylock(&lock->next) != 0)
        return true;
    ck_assert_int_eq(pthread_mutex_unlock(&lock->next), 0);
    return false;
}

static void *
come_again_at_once(void *context)
{
    struct turns *turns = context;
    for (uint32_t i = 0; i < TIMES; i++) {
        lock_acquire_in_turn(&turns->lock);
        while (!is_waited_for(&turns->lock))
            (void)sched_yield();
        const uint32_t before = turns->others;
        lock_release(&turns->lock);
        lock_acquire_in_turn(&turns->lock);
        turns->passed_over += turns->others == before;
        lock_release(&turns->lock);
    }
    atomic_store(&turns->over, true);
    return NULL;
}

START_TEST(who_comes_again_at_once_lets_whoever_waits_go_first)
{
    struct turns turns = {.others = 0};
    lock_init(&turns.lock);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, come_again_at_once, &turns), 0);
    while (!atomic_load(&turns.over)) {
        lock_acquire(&turns.lock);
        turns.others++;
        lock_release(&turns.lock);
    }
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_uint_eq(turns.passed_over, 0);
    lock_fini(&turns.lock);
}
END_TEST

static void *
wait_for_it(void *context)
{
    struct turns *turns = context;
    lock_acquire(&turns->lock);
    while (!atomic_load(&turns->over))
        (void)sched_yield();
    lock_release(&turns->lock);
    return NULL;
}

START_TEST(who_tries_in_turn_lets_whoever_waits_go_first)
{
    struct turns turns = {.others = 0};
    pthread_t thread;
    lock_init(&turns.lock);
    ck_assert(lock_try_in_turn(&turns.lock));
    ck_assert(!lock_try_in_turn(&turns.lock));
    ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_it, &turns), 0);
    while (!is_waited_for(&turns.lock))
        (void)sched_yield();
    lock_release(&turns.lock);
    for (int i = 0; i < TIMES; i++)
        ck_assert(!lock_try_in_turn(&turns.lock));
    atomic_store(&turns.over, true);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert(lock_try_in_turn(&turns.lock));
    lock_release(&turns.lock);
    lock_fini(&turns.lock);
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
    tcase_add_test(cases, who_tries_in_turn_lets_whoever_waits_go_first);
    tcase_add_test(cases, a_lock_that_is_held_is_not_had_by_trying);
    suite_add_tcase(suite, cases);
    return suite;
}

CHECK_MAIN(lock_suite)
