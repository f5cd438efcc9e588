// base/os_lock.c -- mutual exclusion between writers.
//
// Shape: shell. The only errors a default mutex has are the caller's mistakes, so they are asserted.
#include "base/os_lock.h"

#include <errno.h>

#include "base/assert.h"

void
lock_init(struct lock *lock)
{
    int failed = pthread_mutex_init(&lock->mutex, NULL);
    ASSERT(failed == 0);
    failed = pthread_mutex_init(&lock->next, NULL);
    ASSERT(failed == 0);
}

void
lock_fini(struct lock *lock)
{
    int failed = pthread_mutex_destroy(&lock->mutex);
    ASSERT(failed == 0);
    failed = pthread_mutex_destroy(&lock->next);
    ASSERT(failed == 0);
}

bool
lock_try(struct lock *lock)
{
    const int failed = pthread_mutex_trylock(&lock->mutex);
    ASSERT(failed == 0 || failed == EBUSY);
    return failed == 0;
}

bool
lock_try_in_turn(struct lock *lock)
{
    int failed = pthread_mutex_trylock(&lock->next);
    ASSERT(failed == 0 || failed == EBUSY);
    if (failed != 0)
        return false;
    const bool acquired = lock_try(lock);
    failed = pthread_mutex_unlock(&lock->next);
    ASSERT(failed == 0);
    return acquired;
}

void
lock_acquire_in_turn(struct lock *lock)
{
    int failed = pthread_mutex_lock(&lock->next);
    ASSERT(failed == 0);
    failed = pthread_mutex_lock(&lock->mutex);
    ASSERT(failed == 0);
    failed = pthread_mutex_unlock(&lock->next);
    ASSERT(failed == 0);
}

void
lock_acquire(struct lock *lock)
{
#ifndef __SANITIZE_THREAD__ // which learns the order of locks from those that are waited for only
    if (lock_try(lock))
        return;
#endif
    lock_acquire_in_turn(lock);
}

void
lock_release(struct lock *lock)
{
    const int failed = pthread_mutex_unlock(&lock->mutex);
    ASSERT(failed == 0);
}
