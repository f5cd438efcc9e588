// base/os_rwlock.c -- many readers or one writer.
//
// Shape: shell. The errors these calls have are the caller's mistakes, so they are asserted. The
//        kind prefers
// writers: the default kind of glibc lets readers in for ever while one of them is inside.
#include "base/os_rwlock.h"

#include "base/assert.h"

void
rwlock_init(struct rwlock *lock)
{
    pthread_rwlockattr_t attributes;
    int failed = pthread_rwlockattr_init(&attributes);
    ASSERT(failed == 0);
#ifdef __GLIBC__
    failed =
        pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    ASSERT(failed == 0);
#endif
    failed = pthread_rwlock_init(&lock->rwlock, &attributes);
    ASSERT(failed == 0);
    failed = pthread_rwlockattr_destroy(&attributes);
    ASSERT(failed == 0);
}

void
rwlock_fini(struct rwlock *lock)
{
    const int failed = pthread_rwlock_destroy(&lock->rwlock);
    ASSERT(failed == 0);
}

void
rwlock_acquire_shared(struct rwlock *lock)
{
    const int failed = pthread_rwlock_rdlock(&lock->rwlock);
    ASSERT(failed == 0);
}

void
rwlock_release_shared(struct rwlock *lock)
{
    const int failed = pthread_rwlock_unlock(&lock->rwlock);
    ASSERT(failed == 0);
}

void
rwlock_acquire_exclusive(struct rwlock *lock)
{
    const int failed = pthread_rwlock_wrlock(&lock->rwlock);
    ASSERT(failed == 0);
}

void
rwlock_release_exclusive(struct rwlock *lock)
{
    const int failed = pthread_rwlock_unlock(&lock->rwlock);
    ASSERT(failed == 0);
}
