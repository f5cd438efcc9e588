// tests/unit/base/test_pool.c -- every unit is done once, no wake-up is lost, and the end is an end.
//
// Shape: shell. Tests base/pool.h as base/pool_os.c has it.
// Labels: tsan
#include "base/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/os_clock.h"
#include "base/os_thread.h"
#include "base/os_wait.h"
#include "base/prng.h"
#include "base/spin.h"
#include "tests/lib/check_main.h"

enum { UNITS = 20000, ROUNDS = 5000, WORKERS_MAX = 4 };

// Work that is known to the owner's data: units from `taken` to `published`.
struct work {
    _Atomic uint32_t taken, published, done;
    _Atomic uint32_t wrong;        // units seen twice, workers out of range
    _Atomic uint32_t times[UNITS]; // how often each unit was done
    uint32_t plain[WORKERS_MAX];   // one a worker: "tells them apart" makes plain writes safe
    uint32_t threads;
    struct pool *pool;
};

static struct work *
work_new(uint32_t threads)
{
    struct work *work = mem_alloc_zero(1, sizeof *work);
    ck_assert_ptr_nonnull(work);
    work->threads = threads;
    ck_assert_uint_le(threads, WORKERS_MAX);
    return work;
}

// A few microseconds, sometimes none: threads that meet at a bad moment do so by chance, and this gives it many.
static void
dawdle(void)
{
    static _Thread_local struct prng prng = {1};
    for (volatile uint32_t spins = prng_below(&prng, 5000); spins > 0; spins--)
        ;
}

static bool
do_unit(void *context, uint32_t worker)
{
    struct work *work = context;
    uint32_t unit = atomic_load(&work->taken);
    do {
        if (unit == atomic_load(&work->published)) {
            dawdle(); // what is published meanwhile must be found, too
            return false;
        }
    } while (!atomic_compare_exchange_weak(&work->taken, &unit, unit + 1));
    if (worker < work->threads)
        work->plain[worker]++;
    else
        atomic_fetch_add(&work->wrong, 1);
    atomic_fetch_add(&work->times[unit], 1);
    atomic_fetch_add(&work->done, 1);
    os_wake_all(&work->done);
    return true;
}

// Looks for a while before it sleeps, so that the next unit comes while the workers are about to doze off.
static void
wait_done(struct work *work, uint32_t count)
{
    for (int looks = 0; looks < 20000 && atomic_load(&work->done) != count; looks++)
        ;
    for (uint32_t done; (done = atomic_load(&work->done)) != count;)
        os_wait(&work->done, done);
}

static void
check_done(const struct work *work, uint32_t count)
{
    ck_assert_uint_eq(atomic_load(&work->wrong), 0);
    for (uint32_t unit = 0; unit < UNITS; unit++)
        ck_assert_uint_eq(atomic_load(&work->times[unit]), unit < count ? 1 : 0);
    uint32_t sum = 0;
    for (uint32_t i = 0; i < WORKERS_MAX; i++)
        sum += work->plain[i];
    ck_assert_uint_eq(sum, count);
}

START_TEST(work_that_is_there_at_the_start_is_done_without_a_wake)
{
    struct work *work = work_new((uint32_t)_i);
    atomic_store(&work->published, UNITS);
    ck_assert_int_eq(pool_open((uint32_t)_i, do_unit, work, &work->pool), OMEN_OK);
    ck_assert_uint_eq(pool_threads(work->pool), (uint32_t)_i);
    wait_done(work, UNITS);
    pool_close(work->pool);
    check_done(work, UNITS);
    mem_free(work);
}
END_TEST

// The loop that a lost wake-up would hang: one unit at a time, and the next one only when it was done, so that
// the workers doze off again and again at every possible moment.
START_TEST(no_wake_is_lost)
{
    struct work *work = work_new((uint32_t)_i);
    ck_assert_int_eq(pool_open((uint32_t)_i, do_unit, work, &work->pool), OMEN_OK);
    for (uint32_t unit = 1; unit <= ROUNDS; unit++) {
        dawdle();
        atomic_store(&work->published, unit);
        pool_wake(work->pool);
        wait_done(work, unit);
    }
    pool_close(work->pool);
    check_done(work, ROUNDS);
    mem_free(work);
}
END_TEST

static void *
publish_some(void *argument)
{
    struct work *work = argument;
    for (int i = 0; i < ROUNDS / 4; i++) {
        atomic_fetch_add(&work->published, 1);
        pool_wake(work->pool);
    }
    return NULL;
}

START_TEST(wakes_from_many_threads_lose_nothing)
{
    struct work *work = work_new(2);
    ck_assert_int_eq(pool_open(2, do_unit, work, &work->pool), OMEN_OK);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, publish_some, work), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    wait_done(work, ROUNDS / 4 * 4);
    pool_close(work->pool);
    check_done(work, ROUNDS / 4 * 4);
    mem_free(work);
}
END_TEST

static bool
do_unit_and_wake(void *context, uint32_t worker)
{
    struct work *work = context;
    if (!do_unit(work, worker))
        return false;
    if (atomic_load(&work->published) < ROUNDS) {
        uint32_t published = atomic_load(&work->published);
        while (published < ROUNDS &&
               !atomic_compare_exchange_weak(&work->published, &published, published + 1))
            ;
        pool_wake(work->pool);
    }
    return true;
}

START_TEST(a_worker_may_wake_its_own_pool)
{
    struct work *work = work_new(3);
    ck_assert_int_eq(pool_open(3, do_unit_and_wake, work, &work->pool), OMEN_OK);
    atomic_store(&work->published, 1);
    pool_wake(work->pool);
    wait_done(work, ROUNDS);
    pool_close(work->pool);
    check_done(work, ROUNDS);
    mem_free(work);
}
END_TEST

START_TEST(close_ends_sleeping_workers)
{
    for (int i = 0; i < 200; i++) {
        struct work *work = work_new(2);
        ck_assert_int_eq(pool_open(2, do_unit, work, &work->pool), OMEN_OK);
        pool_close(work->pool);
        mem_free(work); // nobody touches it any more, or the sanitizer tells
    }
    pool_close(NULL);
}
END_TEST

static bool
endless_unit(void *context, uint32_t worker)
{
    (void)worker;
    atomic_fetch_add(&((struct work *)context)->done, 1);
    os_wake_all(&((struct work *)context)->done);
    return true;
}

START_TEST(close_leaves_the_work_that_is_left)
{
    struct work *work = work_new(2);
    ck_assert_int_eq(pool_open(2, endless_unit, work, &work->pool), OMEN_OK);
    while (atomic_load(&work->done) == 0)
        os_wait(&work->done, 0);
    pool_close(work->pool);
    const uint32_t done = atomic_load(&work->done);
    ck_assert_uint_ge(done, 1);
    ck_assert_uint_eq(atomic_load(&work->done), done); // nobody is at work any more
    mem_free(work);
}
END_TEST

START_TEST(no_memory_leaves_no_pool)
{
    struct pool *pool = (struct pool *)&pool;
    mem_fail_after(1);
    ck_assert_int_eq(pool_open(2, do_unit, NULL, &pool), OMEN_E_NO_MEMORY);
    mem_fail_after(0);
    ck_assert_ptr_null(pool);
}
END_TEST

START_TEST(the_most_threads_are_opened)
{
    struct work *work = work_new(1);
    work->threads = 0; // nothing is published, so no worker looks
    ck_assert_int_eq(pool_open(THREADS_MAX, do_unit, work, &work->pool), OMEN_OK);
    ck_assert_uint_eq(pool_threads(work->pool), THREADS_MAX);
    pool_close(work->pool);
    mem_free(work);
}
END_TEST

START_TEST(no_threads_abort)
{
    struct pool *pool;
    if (pool_open(0, do_unit, NULL, &pool) == OMEN_OK)
        pool_close(pool);
}
END_TEST

START_TEST(more_threads_than_the_most_abort)
{
    struct pool *pool;
    if (pool_open(THREADS_MAX + 1, do_unit, NULL, &pool) == OMEN_OK)
        pool_close(pool);
}
END_TEST

static bool
look_at_signals(void *context, uint32_t worker)
{
    (void)worker;
    struct work *work = context;
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    const int asked[] = {SIGINT, SIGTERM, SIGALRM, SIGUSR1, SIGCHLD};
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++)
        atomic_fetch_add(&work->wrong, sigismember(&blocked, asked[i]) == 0);
    atomic_store(&work->done, 1);
    os_wake_all(&work->done);
    return false;
}

START_TEST(workers_take_no_signals_and_the_opener_keeps_its_own)
{
    struct work *work = work_new(1);
    sigset_t blocked;
    ck_assert_int_eq(pool_open(1, look_at_signals, work, &work->pool), OMEN_OK);
    wait_done(work, 1);
    pool_close(work->pool);
    ck_assert_uint_eq(atomic_load(&work->wrong), 0);
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    ck_assert_int_eq(sigismember(&blocked, SIGUSR1), 0);
    mem_free(work);
}
END_TEST

// ---- pool_run ----

static void
run_unit(void *context, uint32_t index, uint32_t worker)
{
    struct work *work = context;
    if (worker < work->threads)
        work->plain[worker]++;
    else
        atomic_fetch_add(&work->wrong, 1);
    atomic_fetch_add(&work->times[index], 1);
}

START_TEST(run_does_every_index_once)
{
    const uint32_t counts[] = {0, 1, 2, 3, UNITS};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct work *work = work_new((uint32_t)_i);
        pool_run((uint32_t)_i, counts[i], run_unit, work);
        check_done(work, counts[i]);
        mem_free(work);
    }
}
END_TEST

static void
run_in_order(void *context, uint32_t index, uint32_t worker)
{
    uint32_t *next = context;
    ck_assert_uint_eq(worker, 0);
    ck_assert_uint_eq(index, (*next)++);
}

START_TEST(run_on_one_thread_keeps_the_order)
{
    uint32_t next = 0;
    pool_run(1, 1000, run_in_order, &next);
    ck_assert_uint_eq(next, 1000);
}
END_TEST

static void
count_index(void *context, uint32_t index, uint32_t worker)
{
    (void)index;
    ck_assert_uint_lt(worker, THREADS_MAX);
    atomic_fetch_add((_Atomic uint32_t *)context, 1);
}

START_TEST(run_on_the_most_threads_does_everything)
{
    _Atomic uint32_t count = 0;
    pool_run(THREADS_MAX, 4 * THREADS_MAX, count_index, &count);
    ck_assert_uint_eq(atomic_load(&count), 4 * THREADS_MAX);
}
END_TEST

struct priorities {
    _Atomic uint32_t met; // workers that have a unit: each waits for all
    int nice[3];
};

static void
note_priority(void *context, uint32_t index, uint32_t worker)
{
    struct priorities *priorities = context;
    (void)index;
    priorities->nice[worker] = getpriority(PRIO_PROCESS, 0);
    atomic_fetch_add(&priorities->met, 1);
    os_wake_all(&priorities->met);
    uint32_t met;
    while ((met = atomic_load(&priorities->met)) < 3)
        os_wait(&priorities->met, met);
}

START_TEST(who_is_started_to_run_behind_gives_way_and_the_caller_stays_as_it_is)
{
    struct priorities priorities = {0};
    const int own = getpriority(PRIO_PROCESS, 0), lower = own + 5 < 19 ? own + 5 : 19;
    pool_run_behind(3, 3, note_priority, &priorities);
    ck_assert_int_eq(priorities.nice[0], own);
    ck_assert_int_eq(priorities.nice[1], lower);
    ck_assert_int_eq(priorities.nice[2], lower);
    ck_assert_int_eq(getpriority(PRIO_PROCESS, 0), own);
    atomic_store(&priorities.met, 0);
    pool_run(3, 3, note_priority, &priorities);
    for (uint32_t worker = 0; worker < 3; worker++)
        ck_assert_int_eq(priorities.nice[worker], own);
}
END_TEST

static void
tell_priority(void *context)
{
    *(int *)context = getpriority(PRIO_PROCESS, 0);
}

START_TEST(what_runs_behind_gives_way_and_is_over_when_the_call_returns)
{
    const int own = getpriority(PRIO_PROCESS, 0);
    int told = own;
    os_thread_run_behind(tell_priority, &told);
    ck_assert_int_eq(told, own + 5 < 19 ? own + 5 : 19);
    ck_assert_int_eq(getpriority(PRIO_PROCESS, 0), own);
}
END_TEST

// As a user who has nothing else: root has no limit.
static void
give_up_threads(uint32_t most)
{
    const struct rlimit limit = {most, most};
    const uint32_t user = 10000 + (uint32_t)getpid() % 50000;
    ck_assert_int_eq(setgid(user), 0);
    ck_assert_int_eq(setuid(user), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NPROC, &limit), 0);
}

START_TEST(there_is_room_for_threads_up_to_the_systems_limit_and_all_of_it_is_given_back)
{
    enum { MOST = 40 };
    ck_assert(os_thread_room(0));
    ck_assert(os_thread_room(OS_THREAD_ROOM_MAX));
    if (getuid() != 0)
        return; // a limit of this user would count all that he has
    give_up_threads(MOST);
    uint32_t room = 0;
    while (room < MOST && os_thread_room(room + 1))
        room++;
    ck_assert_uint_ge(room, 1);
    ck_assert_uint_lt(room, MOST); // this thread is one
    for (uint32_t again = 0; again < 20; again++) {
        ck_assert(os_thread_room(room));
        ck_assert(!os_thread_room(room + 1));
    }
}
END_TEST

// ---- pool_share ----

struct shared {
    struct pool *pool;
    _Atomic uint32_t begun, ended;
    uint32_t wanted;       // threads, of which none is ready before all are there
    _Atomic uint32_t gate; // 1: workers have something else to do until it is 0
    _Atomic uint32_t busy;
    uint32_t plain[64]; // what each wrote, by its number
};

static bool
busy_or_idle(void *context, uint32_t worker)
{
    struct shared *shared = context;
    (void)worker;
    if (atomic_load(&shared->gate) == 0)
        return false;
    atomic_fetch_add(&shared->busy, 1);
    os_wake_all(&shared->busy);
    while (atomic_load(&shared->gate) != 0)
        os_wait(&shared->gate, 1);
    return true;
}

static bool
meet(void *context)
{
    struct shared *shared = context;
    const uint32_t number = atomic_fetch_add(&shared->begun, 1);
    shared->plain[number] = number + 1;
    os_wake_all(&shared->begun);
    uint32_t begun;
    while ((begun = atomic_load(&shared->begun)) < shared->wanted)
        os_wait(&shared->begun, begun);
    atomic_fetch_add(&shared->ended, 1);
    return false;
}

START_TEST(idle_workers_take_part_in_what_is_shared_and_no_more_than_it_has_places_for)
{
    for (uint32_t most = 1; most <= 4; most++) {
        struct shared shared = {.wanted = most};
        ck_assert_int_eq(pool_open(3, busy_or_idle, &shared, &shared.pool), OMEN_OK);
        for (uint32_t times = 0; times < 200; times++) {
            atomic_store(&shared.begun, 0);
            atomic_store(&shared.ended, 0);
            pool_share(shared.pool, most, meet, &shared);
            ck_assert_uint_eq(atomic_load(&shared.ended), most);
            for (uint32_t i = 0; i < most; i++)
                ck_assert_uint_eq(shared.plain[i], i + 1); // written by others, and seen here
        }
        pool_close(shared.pool);
    }
}
END_TEST

START_TEST(who_shares_does_all_alone_where_workers_are_busy_and_does_not_wait_for_them)
{
    struct shared shared = {.wanted = 1, .gate = 1};
    ck_assert_int_eq(pool_open(2, busy_or_idle, &shared, &shared.pool), OMEN_OK);
    uint32_t busy;
    while ((busy = atomic_load(&shared.busy)) < 2)
        os_wait(&shared.busy, busy);
    pool_share(shared.pool, 3, meet, &shared);
    ck_assert_uint_eq(atomic_load(&shared.begun), 1);
    atomic_store(&shared.gate, 0); // they find nothing of it afterwards
    os_wake_all(&shared.gate);
    pool_close(shared.pool);
    ck_assert_uint_eq(atomic_load(&shared.begun), 1);
}
END_TEST

// A worker that shares, and has other work to do from its first piece on.
struct between {
    pthread_t sharer;
    _Atomic uint32_t waits, done, pieces, wrong;
};

static bool
do_what_waits(void *context, uint32_t worker)
{
    struct between *between = context;
    (void)worker;
    if (atomic_exchange(&between->waits, 0) == 0)
        return false;
    atomic_fetch_add(&between->done, 1);
    os_wake_all(&between->done);
    return true;
}

static bool
piece_between(void *context)
{
    struct between *between = context;
    uint32_t done;
    if (pthread_equal(pthread_self(), between->sharer)) {
        while ((done = atomic_load(&between->done)) < 100)
            os_wait(&between->done, done);
        return false;
    }
    atomic_fetch_add(&between->wrong, atomic_load(&between->waits));
    atomic_fetch_add(&between->pieces, 1);
    atomic_store(&between->waits, 1);
    return true;
}

START_TEST(a_worker_does_other_work_between_two_pieces_and_comes_back)
{
    struct between between = {.sharer = pthread_self()};
    struct pool *pool;
    ck_assert_int_eq(pool_open(1, do_what_waits, &between, &pool), OMEN_OK);
    pool_share(pool, 2, piece_between, &between);
    pool_close(pool);
    ck_assert_uint_eq(atomic_load(&between.wrong), 0);
    ck_assert_uint_ge(atomic_load(&between.pieces), 100);
}
END_TEST

static void *
share_again_and_again(void *context)
{
    struct shared *shared = context;
    for (uint32_t i = 0; i < 500; i++) {
        struct shared own = {.wanted = 1};
        pool_share(shared->pool, 4, meet, &own);
        if (atomic_load(&own.begun) != atomic_load(&own.ended) || atomic_load(&own.ended) == 0)
            atomic_fetch_add(&shared->ended, 1);
    }
    return NULL;
}

START_TEST(several_share_at_once_and_each_has_its_own_back_when_it_returns)
{
    struct shared shared = {.pool = NULL};
    pthread_t threads[3];
    ck_assert_int_eq(pool_open(2, busy_or_idle, &shared, &shared.pool), OMEN_OK);
    for (uint32_t i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, share_again_and_again, &shared), 0);
    for (uint32_t i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    pool_close(shared.pool);
    ck_assert_uint_eq(atomic_load(&shared.ended), 0);
}
END_TEST

// The caller is through at once, and a worker takes longer than who shares looks for it.
struct slow {
    pthread_t sharer;
    _Atomic uint32_t inside, left, ended;
};

static bool
one_is_slow(void *context)
{
    struct slow *slow = context;
    if (pthread_equal(pthread_self(), slow->sharer)) {
        while (atomic_load(&slow->inside) == 0)
            os_wait(&slow->inside, 0);
        atomic_store(&slow->left, 1);
        os_wake_all(&slow->left);
        return false;
    }
    atomic_store(&slow->inside, 1);
    os_wake_all(&slow->inside);
    while (atomic_load(&slow->left) == 0)
        os_wait(&slow->left, 0);
    const uint64_t until_ns = os_clock_ns() + 2000000;
    while (os_clock_ns() < until_ns)
        ;
    atomic_store(&slow->ended, 1);
    return false;
}

START_TEST(who_shares_waits_for_the_last_piece_however_long_it_takes)
{
    struct shared shared = {.wanted = 0};
    ck_assert_int_eq(pool_open(2, busy_or_idle, &shared, &shared.pool), OMEN_OK);
    for (uint32_t i = 0; i < 20; i++) {
        struct slow slow = {.sharer = pthread_self()};
        pool_share(shared.pool, 2, one_is_slow, &slow);
        ck_assert_uint_eq(atomic_load(&slow.ended), 1);
    }
    pool_close(shared.pool);
}
END_TEST

// ---- who looks out for what is shared next ----

static void
share_once(struct shared *shared, uint32_t most)
{
    shared->wanted = most;
    atomic_store(&shared->begun, 0);
    atomic_store(&shared->ended, 0);
    pool_share(shared->pool, most, meet, shared);
    ck_assert_uint_eq(atomic_load(&shared->ended), most);
}

static struct pool_stats
stats_of(const struct pool *pool)
{
    struct pool_stats stats;
    pool_stats(pool, &stats);
    return stats;
}

// All meet in each, so a share that nobody came to would hang.
START_TEST(a_worker_looks_out_where_one_share_follows_the_other)
{
    struct shared shared = {.wanted = 2};
    const uint32_t workers = (uint32_t)_i;
    ck_assert_int_eq(pool_open(workers, busy_or_idle, &shared, &shared.pool), OMEN_OK);
    for (uint32_t i = 0; i < SPIN_RUN - 1; i++) {
        share_once(&shared, workers + 1);
        ck_assert_uint_eq(stats_of(shared.pool).looks, 0); // not a run yet
    }
    while (stats_of(shared.pool).looks_found == 0)
        share_once(&shared, workers + 1);
    pool_close(shared.pool);
}
END_TEST

// A worker that looks out is on its way to sleep as well: what is published and shared, at every possible moment, is found.
START_TEST(who_looks_out_loses_no_wake)
{
    struct work *work = work_new(2);
    struct shared shared = {.wanted = 2};
    struct prng prng = {7};
    ck_assert_int_eq(pool_open(2, do_unit, work, &work->pool), OMEN_OK);
    shared.pool = work->pool;
    uint32_t published = 0;
    while (published < 200 || stats_of(work->pool).looks_found == 0) {
        dawdle();
        share_once(&shared, 2 + prng_below(&prng, 2));
        if (prng_below(&prng, 3) != 0)
            continue;
        ck_assert_uint_lt(published, UNITS);
        atomic_store(&work->published, ++published);
        pool_wake(work->pool);
        if (prng_below(&prng, 2) == 0)
            wait_done(work, published);
    }
    wait_done(work, published);
    pool_close(work->pool);
    check_done(work, published);
    mem_free(work);
}
END_TEST

START_TEST(close_ends_who_looks_out)
{
    for (uint32_t i = 0, looked = 0; i < 30 || looked == 0; i++) {
        struct shared shared = {.wanted = 2};
        ck_assert_int_eq(pool_open(1, busy_or_idle, &shared, &shared.pool), OMEN_OK);
        for (uint32_t k = 0; k <= SPIN_RUN; k++)
            share_once(&shared, 2);
        looked += stats_of(shared.pool).looks > 0;
        pool_close(shared.pool);
    }
}
END_TEST

// One worker, which has something else to do after each share.
struct owed {
    pthread_t sharer;
    _Atomic uint32_t owes, came;
};

static bool
do_what_it_owes(void *context, uint32_t worker)
{
    struct owed *owed = context;
    (void)worker;
    return atomic_exchange(&owed->owes, 0) != 0;
}

static bool
owe(void *context)
{
    struct owed *owed = context;
    if (!pthread_equal(pthread_self(), owed->sharer)) {
        atomic_store(&owed->owes, 1);
        atomic_store(&owed->came, 1);
        os_wake_all(&owed->came);
    }
    while (atomic_load(&owed->came) == 0)
        os_wait(&owed->came, 0);
    return false;
}

START_TEST(who_has_done_something_else_since_does_not_look_out)
{
    struct owed owed = {.sharer = pthread_self()};
    struct pool *pool;
    ck_assert_int_eq(pool_open(1, do_what_it_owes, &owed, &pool), OMEN_OK);
    for (uint32_t i = 0; i < 500; i++) {
        atomic_store(&owed.came, 0);
        pool_share(pool, 2, owe, &owed);
    }
    ck_assert_uint_eq(stats_of(pool).looks, 0);
    pool_close(pool);
}
END_TEST

static Suite *
pool_suite(void)
{
    Suite *suite = suite_create("base/pool");
    TCase *workers = tcase_create("workers");
    tcase_add_loop_test(workers, work_that_is_there_at_the_start_is_done_without_a_wake, 1,
                        WORKERS_MAX + 1);
    tcase_add_loop_test(workers, no_wake_is_lost, 1, WORKERS_MAX + 1);
    tcase_add_test(workers, wakes_from_many_threads_lose_nothing);
    tcase_add_test(workers, a_worker_may_wake_its_own_pool);
    tcase_add_test(workers, close_ends_sleeping_workers);
    tcase_add_test(workers, close_leaves_the_work_that_is_left);
    tcase_add_test(workers, no_memory_leaves_no_pool);
    tcase_add_test(workers, the_most_threads_are_opened);
    tcase_add_test_raise_signal(workers, no_threads_abort, SIGABRT);
    tcase_add_test_raise_signal(workers, more_threads_than_the_most_abort, SIGABRT);
    tcase_add_test(workers, workers_take_no_signals_and_the_opener_keeps_its_own);
    suite_add_tcase(suite, workers);

    TCase *run = tcase_create("run");
    tcase_add_loop_test(run, run_does_every_index_once, 1, WORKERS_MAX + 1);
    tcase_add_test(run, run_on_one_thread_keeps_the_order);
    tcase_add_test(run, run_on_the_most_threads_does_everything);
    tcase_add_test(run, who_is_started_to_run_behind_gives_way_and_the_caller_stays_as_it_is);
    tcase_add_test(run,
                   there_is_room_for_threads_up_to_the_systems_limit_and_all_of_it_is_given_back);
    tcase_add_test(run, what_runs_behind_gives_way_and_is_over_when_the_call_returns);
    suite_add_tcase(suite, run);

    TCase *share = tcase_create("share");
    tcase_add_test(share,
                   idle_workers_take_part_in_what_is_shared_and_no_more_than_it_has_places_for);
    tcase_add_test(share,
                   who_shares_does_all_alone_where_workers_are_busy_and_does_not_wait_for_them);
    tcase_add_test(share, a_worker_does_other_work_between_two_pieces_and_comes_back);
    tcase_add_test(share, several_share_at_once_and_each_has_its_own_back_when_it_returns);
    tcase_add_test(share, who_shares_waits_for_the_last_piece_however_long_it_takes);
    suite_add_tcase(suite, share);

    TCase *look = tcase_create("look");
    tcase_add_loop_test(look, a_worker_looks_out_where_one_share_follows_the_other, 1, 4);
    tcase_add_test(look, who_looks_out_loses_no_wake);
    tcase_add_test(look, close_ends_who_looks_out);
    tcase_add_test(look, who_has_done_something_else_since_does_not_look_out);
    suite_add_tcase(suite, look);
    return suite;
}

CHECK_MAIN(pool_suite)
