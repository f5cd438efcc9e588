// base/os_rwlock.h -- many readers or one writer.
//
// Shape:   shell. A pthread rwlock under a name of ours, so that <pthread.h> has one home.
// Threads: any; whoever acquired it releases it. Not recursive, not even for readers: a writer
//          that waits goes before readers that come later, so that a stream of readers cannot
//          keep it out.
#ifndef OMEN_BASE_OS_RWLOCK_H
#define OMEN_BASE_OS_RWLOCK_H
#include <pthread.h>

struct rwlock {
    pthread_rwlock_t rwlock;
};

void rwlock_init(struct rwlock *lock);
void rwlock_fini(struct rwlock *lock); // nobody may hold it
void rwlock_acquire_shared(struct rwlock *lock);
void rwlock_release_shared(struct rwlock *lock);
void rwlock_acquire_exclusive(struct rwlock *lock);
void rwlock_release_exclusive(struct rwlock *lock);

#endif
