// base/pool_os.c -- threads that do work which comes in units: the half that is real threads.
//
// Shape: shell.
//
// Going to sleep without losing a wake-up. A worker that found nothing
//   1. reads `turn`,  2. exchanges true into `asleep`,  3. looks for work once more,  4. sleeps while turn is
//   what it read.
// pool_wake, called after work was published, exchanges false into `asleep`; if that gave true, it advances
// `turn` and wakes everybody. The two exchanges are on one word, so one comes first:
// - the worker's first: the waker gets true (or a waker between them did, whose advance of `turn` is as good
//   as this one's, because the worker read `turn` before its exchange), so step 4 does not sleep, or ends;
// - the waker's first: the worker's exchange reads from it or from something later, so it sees what was
//   published before, and step 3 finds it.
// A flag rather than a count of sleepers, because a worker whose step 3 finds work then has nothing to take
// back, and a waker in a tight loop of adds makes at most one system call for each time a worker dozed off.
// Read-modify-writes rather than fences, because ThreadSanitizer understands only the former.
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"
#include "base/os_lock.h"
#include "base/os_thread.h"
#include "base/os_wait.h"
#include "base/pool.h"

struct worker {
    struct pool *pool;
    pthread_t thread;
    uint32_t index;
};

struct share { // of who is within pool_share
    struct share *next;
    bool (*fn)(void *context);
    void *context;
    uint32_t places;         // for workers that may come yet; under the pool's lock
    bool over;               // nobody comes any more; under the pool's lock
    _Atomic uint32_t inside; // workers; and AWAITED
};

#define AWAITED (UINT32_C(1) << 31) // who shares waits until nobody is inside

struct pool {
    _Atomic uint32_t turn;   // advanced by every wake that had somebody to wake
    _Atomic uint32_t asleep; // 1: a worker sleeps or is about to
    _Atomic uint32_t stop;
    _Atomic uint32_t places; // of all shares
    struct lock lock;        // of what follows
    struct share *shares;    // the oldest first
    uint32_t threads;
    pool_work_fn work;
    void *context;
    struct worker workers[];
};

static void *worker_main(void *argument);
static bool take_part(struct pool *pool);
static void pool_stop(struct pool *pool, uint32_t started);

omen_status
pool_open(uint32_t threads, pool_work_fn work, void *context, struct pool **out)
{
    ASSERT(threads >= 1 && threads <= THREADS_MAX);
    *out = NULL;
    struct pool *pool = mem_alloc_zero(1, sizeof *pool + threads * sizeof pool->workers[0]);
    if (pool == NULL)
        return OMEN_E_NO_MEMORY;
    pool->threads = threads;
    pool->work = work;
    pool->context = context;
    lock_init(&pool->lock);
    for (uint32_t i = 0; i < threads; i++) {
        struct worker *worker = &pool->workers[i];
        worker->pool = pool;
        worker->index = i;
        if (os_thread_start(&worker->thread, worker_main, worker) != 0) {
            pool_stop(pool, i);
            return OMEN_E_NO_MEMORY;
        }
    }
    *out = pool;
    return OMEN_OK;
}

void
pool_close(struct pool *pool)
{
    if (pool != NULL)
        pool_stop(pool, pool->threads);
}

void
pool_wake(struct pool *pool)
{
    if (atomic_exchange_explicit(&pool->asleep, 0, memory_order_acq_rel) == 0)
        return;
    atomic_fetch_add_explicit(&pool->turn, 1, memory_order_release);
    os_wake_all(&pool->turn);
}

uint32_t
pool_threads(const struct pool *pool)
{
    return pool->threads;
}

static void *
worker_main(void *argument)
{
    const struct worker *worker = argument;
    struct pool *pool = worker->pool;

    while (atomic_load_explicit(&pool->stop, memory_order_acquire) == 0) {
        if (pool->work(pool->context, worker->index) || take_part(pool))
            continue;
        const uint32_t turn = atomic_load_explicit(&pool->turn, memory_order_acquire);
        atomic_exchange_explicit(&pool->asleep, 1, memory_order_acq_rel);
        // pool_stop sets `stop` before it advances `turn`: whoever read the new turn sees the stop here.
        if (atomic_load_explicit(&pool->stop, memory_order_acquire) != 0)
            break;
        if (pool->work(pool->context, worker->index) || take_part(pool))
            continue;
        while (atomic_load_explicit(&pool->turn, memory_order_acquire) == turn)
            os_wait(&pool->turn, turn);
    }
    return NULL;
}

static void
pool_stop(struct pool *pool, uint32_t started)
{
    atomic_store_explicit(&pool->stop, 1, memory_order_release);
    atomic_fetch_add_explicit(&pool->turn, 1, memory_order_acq_rel);
    os_wake_all(&pool->turn);
    for (uint32_t i = 0; i < started; i++) {
        const int failed = pthread_join(pool->workers[i].thread, NULL);
        ASSERT(failed == 0);
    }
    ASSERT(pool->shares == NULL);
    lock_fini(&pool->lock);
    mem_free(pool);
}

// ---- pool_share ----

static struct share *
enter(struct pool *pool)
{
    lock_acquire(&pool->lock);
    struct share *share = pool->shares;
    while (share != NULL && share->places == 0)
        share = share->next;
    if (share != NULL) {
        share->places--;
        atomic_fetch_sub_explicit(&pool->places, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&share->inside, 1, memory_order_relaxed);
    }
    lock_release(&pool->lock);
    return share;
}

// Whoever shares goes on when nobody is inside: of the share nothing may be read afterwards, and os_wake_all does not.
static void
leave(struct pool *pool, struct share *share, bool more)
{
    lock_acquire(&pool->lock);
    if (more && !share->over) {
        share->places++;
        atomic_fetch_add_explicit(&pool->places, 1, memory_order_relaxed);
    }
    lock_release(&pool->lock);
    if (atomic_fetch_sub_explicit(&share->inside, 1, memory_order_acq_rel) == (AWAITED | 1))
        os_wake_all(&share->inside);
}

static bool
take_part(struct pool *pool)
{
    if (atomic_load_explicit(&pool->places, memory_order_acquire) == 0)
        return false;
    struct share *share = enter(pool);
    if (share == NULL)
        return false;
    leave(pool, share, share->fn(share->context));
    return true;
}

static void
share_begin(struct pool *pool, struct share *share)
{
    lock_acquire(&pool->lock);
    struct share **end = &pool->shares;
    while (*end != NULL)
        end = &(*end)->next;
    *end = share;
    atomic_fetch_add_explicit(&pool->places, share->places, memory_order_release);
    lock_release(&pool->lock);
    pool_wake(pool);
}

static void
share_end(struct pool *pool, struct share *share)
{
    lock_acquire(&pool->lock);
    struct share **at = &pool->shares;
    while (*at != share)
        at = &(*at)->next;
    *at = share->next;
    share->over = true;
    atomic_fetch_sub_explicit(&pool->places, share->places, memory_order_relaxed);
    lock_release(&pool->lock);
    uint32_t inside = atomic_fetch_or_explicit(&share->inside, AWAITED, memory_order_acq_rel);
    for (inside |= AWAITED; inside != AWAITED;) {
        os_wait(&share->inside, inside);
        inside = atomic_load_explicit(&share->inside, memory_order_acquire);
    }
}

void
pool_share(struct pool *pool, uint32_t most, bool (*fn)(void *context), void *context)
{
    ASSERT(most >= 1);
    struct share share = {.fn = fn, .context = context, .places = most - 1};
    if (most > 1)
        share_begin(pool, &share);
    while (fn(context)) {
    }
    if (most > 1)
        share_end(pool, &share);
}

// ---- pool_run ----

struct run {
    _Atomic uint32_t next;
    uint32_t count;
    void (*fn)(void *context, uint32_t index, uint32_t worker);
    void *context;
};

struct runner {
    struct run *run;
    pthread_t thread;
    uint32_t worker;
};

static void run_indexes(struct run *run, uint32_t worker);
static void *runner_main(void *argument);

void
pool_run(uint32_t threads, uint32_t count,
         void (*fn)(void *context, uint32_t index, uint32_t worker), void *context)
{
    ASSERT(threads >= 1 && threads <= THREADS_MAX);
    struct run run = {.count = count, .fn = fn, .context = context};

    struct runner runners[THREADS_MAX];
    const uint32_t useful = threads < count ? threads : count;
    uint32_t started = 0;
    for (uint32_t worker = 1; worker < useful; worker++) {
        struct runner *runner = &runners[started];
        *runner = (struct runner){.run = &run, .worker = worker};
        if (os_thread_start(&runner->thread, runner_main, runner) != 0)
            break; // the caller and those that did start share the indexes
        started++;
    }
    run_indexes(&run, 0);
    for (uint32_t i = 0; i < started; i++) {
        const int failed = pthread_join(runners[i].thread, NULL);
        ASSERT(failed == 0);
    }
}

static void
run_indexes(struct run *run, uint32_t worker)
{
    for (;;) {
        // Never wraps: at most count + THREADS_MAX increments, and a 64-bit count does not exist here.
        const uint32_t index = atomic_load_explicit(&run->next, memory_order_relaxed) < run->count
                                   ? atomic_fetch_add_explicit(&run->next, 1, memory_order_relaxed)
                                   : run->count;
        if (index >= run->count)
            return;
        run->fn(run->context, index, worker);
    }
}

static void *
runner_main(void *argument)
{
    const struct runner *runner = argument;
    run_indexes(runner->run, runner->worker);
    return NULL;
}
