// base/os_lock.h -- mutual exclusion between writers.
//
// Shape:   shell. A pthread mutex under a name of ours, so that <pthread.h> has one home.
// Threads: any; whoever acquired it releases it. Not recursive.
#ifndef OMEN_BASE_OS_LOCK_H
#define OMEN_BASE_OS_LOCK_H
#include <pthread.h>
#include <stdbool.h>

struct lock {
    pthread_mutex_t mutex;
    pthread_mutex_t next; // of whoever is the next to have it
};

#define LOCK_INIT                                                                                  \
    {                                                                                              \
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER                                       \
    }

void lock_init(struct lock *lock);
void lock_fini(struct lock *lock); // nobody may hold it
void lock_acquire(struct lock *lock);
// As lock_acquire, but never before whoever waits already. For who holds it long and comes again at once: a mutex goes to who
// runs, and a thread that is woken for it finds it taken again, for minutes.
void lock_acquire_in_turn(struct lock *lock);
bool lock_try(struct lock *lock);         // true: acquired; false: somebody holds it
bool lock_try_in_turn(struct lock *lock); // or waits for it
void lock_release(struct lock *lock);

#endif
