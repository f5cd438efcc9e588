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
//
// What is shared has so many places, and wakes so many workers: each more would cost a call to another processor, for nothing. `asleep`
// stays, since others may sleep on; a worker that is about to sleep sees the new turn.
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"
#include "base/os_clock.h"
#include "base/os_lock.h"
#include "base/os_thread.h"
#include "base/os_wait.h"
#include "base/pool.h"
#include "base/spin.h"

struct worker {
    struct pool *pool;
    pthread_t thread;
    uint32_t index;
    // Of what is shared.
    struct spin spin;
    uint64_t number; // of the last that it took part in
    // That one, so far; 0: it has done something else since, or looked out for the next.
    uint64_t took_ns;
};

struct share { // of who is within pool_share
    struct share *next;
    bool (*fn)(void *context);
    void *context;
    uint64_t number, begun_ns;
    bool alone;              // no other was there when it began
    uint32_t places;         // for workers that may come yet; under the pool's lock
    bool over;               // nobody comes any more; under the pool's lock
    _Atomic uint32_t inside; // workers; and AWAITED
};

#define AWAITED (UINT32_C(1) << 31) // who shares waits until nobody is inside
// Who shares looks so long for the end of the others' last pieces before it sleeps. To sleep and be woken takes 15 us, and 40 where the
// processor sleeps meanwhile; pieces get small towards the end.
#define END_LOOK_NS UINT64_C(50000)

struct pool {
    _Atomic uint32_t turn;   // advanced by every wake that had somebody to wake
    _Atomic uint32_t asleep; // 1: a worker sleeps or is about to
    _Atomic uint32_t stop;
    _Atomic uint32_t places; // of all shares
    _Atomic bool looking;    // a worker looks out for a share
    _Atomic uint64_t looks, looks_found;
    struct lock lock;     // of what follows
    struct share *shares; // the oldest first
    uint64_t share_count; // there have been so many
    uint32_t threads;
    pool_work_fn work;
    void *context;
    struct worker workers[];
};

static void *worker_main(void *argument);
static bool do_one(struct worker *worker);
static bool take_part(struct worker *worker);
static bool look_out(struct worker *worker, uint32_t turn);
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

void
pool_stats(const struct pool *pool, struct pool_stats *out)
{
    *out = (struct pool_stats){
        .looks = atomic_load(&pool->looks),
        .looks_found = atomic_load(&pool->looks_found),
    };
}

static void *
worker_main(void *argument)
{
    struct worker *worker = argument;
    struct pool *pool = worker->pool;

    while (atomic_load_explicit(&pool->stop, memory_order_acquire) == 0) {
        if (do_one(worker))
            continue;
        const uint32_t turn = atomic_load_explicit(&pool->turn, memory_order_acquire);
        atomic_exchange_explicit(&pool->asleep, 1, memory_order_acq_rel);
        // pool_stop sets `stop` before it advances `turn`: whoever read the new turn sees the stop here.
        if (atomic_load_explicit(&pool->stop, memory_order_acquire) != 0)
            break;
        if (do_one(worker) || look_out(worker, turn))
            continue;
        while (atomic_load_explicit(&pool->turn, memory_order_acquire) == turn)
            os_wait(&pool->turn, turn);
    }
    return NULL;
}

static bool
do_one(struct worker *worker)
{
    struct pool *pool = worker->pool;
    if (!pool->work(pool->context, worker->index))
        return take_part(worker);
    worker->took_ns = 0;
    return true;
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

static void
note_share(struct worker *worker, const struct share *share)
{
    if (worker->number != share->number)
        spin_asked(&worker->spin, share->alone);
    worker->number = share->number;
    worker->took_ns = os_clock_ns() - share->begun_ns + 1;
}

static bool
take_part(struct worker *worker)
{
    struct pool *pool = worker->pool;
    if (atomic_load_explicit(&pool->places, memory_order_acquire) == 0)
        return false;
    struct share *share = enter(pool);
    if (share == NULL)
        return false;
    const bool more = share->fn(share->context);
    note_share(worker, share);
    leave(pool, share, more);
    return true;
}

// Where one thing is shared after the other, the next comes soon: a worker that took part looks out for it, and need not be woken. One at a
// time. It has found nothing, and is about to sleep; whether it looked, and so has to look for work again.
//
// Who shares next sees that it looks, and wakes one fewer, or it sees what is shared: see share_begin.
static bool
look_out(struct worker *worker, uint32_t turn)
{
    struct pool *pool = worker->pool;
    const uint64_t took_ns = worker->took_ns;
    worker->took_ns = 0;
    if (took_ns == 0 || !spin_begins(&worker->spin) || atomic_exchange(&pool->looking, true))
        return false;
    atomic_fetch_add_explicit(&pool->looks, 1, memory_order_relaxed);
    const uint64_t until_ns = os_clock_ns() + spin_ns(took_ns);
    bool found = false, early = true;
    while (!found && early) {
        (void)sched_yield();
        found = atomic_load(&pool->places) > 0 || atomic_load(&pool->turn) != turn;
        early = os_clock_ns() < until_ns;
    }
    atomic_store(&pool->looking, false);
    found = found || atomic_load(&pool->places) > 0;
    // Another program may have had the processor: what came after the moment would have been seen by who is woken, too.
    spin_ended(&worker->spin, found && early);
    if (found)
        atomic_fetch_add_explicit(&pool->looks_found, 1, memory_order_relaxed);
    return true;
}

// As pool_wake, but for so many workers only.
static void
wake_some(struct pool *pool, uint32_t most)
{
    if (atomic_fetch_or_explicit(&pool->asleep, 0, memory_order_acq_rel) == 0)
        return;
    atomic_fetch_add_explicit(&pool->turn, 1, memory_order_release);
    os_wake_some(&pool->turn, most);
}

// A worker that stops to look out clears `looking` and then reads `places`, and here it is the other way round, all four in one order for
// all (seq_cst): so it sees the places, or we see that it is on its way to sleep.
static void
share_begin(struct pool *pool, struct share *share)
{
    const uint32_t places = share->places; // under the lock afterwards
    share->begun_ns = os_clock_ns();
    lock_acquire(&pool->lock);
    struct share **end = &pool->shares;
    share->alone = *end == NULL;
    share->number = ++pool->share_count;
    while (*end != NULL)
        end = &(*end)->next;
    *end = share;
    atomic_fetch_add(&pool->places, places);
    lock_release(&pool->lock);
    const uint32_t looking = atomic_load(&pool->looking) ? 1 : 0;
    if (places > looking)
        wake_some(pool, places - looking);
}

// Until nobody is inside.
static void
await(struct share *share)
{
    uint32_t inside =
        AWAITED | atomic_fetch_or_explicit(&share->inside, AWAITED, memory_order_acq_rel);
    const uint64_t until_ns = inside == AWAITED ? 0 : os_clock_ns() + END_LOOK_NS;
    while (inside != AWAITED && os_clock_ns() < until_ns)
        inside = atomic_load_explicit(&share->inside, memory_order_acquire);
    while (inside != AWAITED) {
        os_wait(&share->inside, inside);
        inside = atomic_load_explicit(&share->inside, memory_order_acquire);
    }
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
    await(share);
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
    bool behind;
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

static void
run_on(uint32_t threads, struct run *run)
{
    ASSERT(threads >= 1 && threads <= THREADS_MAX);
    struct runner runners[THREADS_MAX];
    const uint32_t useful = threads < run->count ? threads : run->count;
    uint32_t started = 0;
    for (uint32_t worker = 1; worker < useful; worker++) {
        struct runner *runner = &runners[started];
        *runner = (struct runner){.run = run, .worker = worker};
        if (os_thread_start(&runner->thread, runner_main, runner) != 0)
            break; // the caller and those that did start share the indexes
        started++;
    }
    run_indexes(run, 0);
    for (uint32_t i = 0; i < started; i++) {
        const int failed = pthread_join(runners[i].thread, NULL);
        ASSERT(failed == 0);
    }
}

void
pool_run(uint32_t threads, uint32_t count,
         void (*fn)(void *context, uint32_t index, uint32_t worker), void *context)
{
    run_on(threads, &(struct run){.count = count, .fn = fn, .context = context});
}

void
pool_run_behind(uint32_t threads, uint32_t count,
                void (*fn)(void *context, uint32_t index, uint32_t worker), void *context)
{
    run_on(threads, &(struct run){.count = count, .behind = true, .fn = fn, .context = context});
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
    if (runner->run->behind)
        os_thread_lower(OS_THREAD_BEHIND);
    run_indexes(runner->run, runner->worker);
    return NULL;
}
