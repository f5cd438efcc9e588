// shard/linkers.c -- the workers that link published rows into the graph and repair around erased ones.
//
// Shape: handle in the shard's memory.
//
// A step counts itself into `active` and then looks at `paused`; pausing sets `paused` and then looks at `active`. Both
// sequentially consistent, so one of the two sees the other. Whoever leaves wakes those who wait for `active`, if
// there are any.
//
// Where pause follows upon pause, as in compactions without end, whoever drains would wake after the next has begun, each time.
// So drainers that found a pause are counted in `barred` until they made a step, and the next pause lets them go first.
//
// Draining asks more than "nothing to claim": a row that another thread is linking counts as not linked, and may leave
// work behind. So the drainer claims until nothing is there, waits until nobody is inside, and claims once more. While
// others write on that may never be; then it leaves when the rows that it found are linked.
//
// Where others compact, too, their slots change. But rows are claimed in their order, and so they stay: when the drainer has
// claimed as many as were not linked, or nothing was there to claim, those that it found are claimed. And an index takes another's
// place when nobody is inside: then what was claimed is linked.
#include "shard/linkers.h"

#include "base/assert.h"
#include "base/os_clock.h"
#include "base/os_cpu.h"
#include "base/os_wait.h"

#define PROGRESS_NS 50000000u // between two calls of a progress function

// What a drainer found when it came, or when another index was there.
struct found {
    uint32_t exchange; // in which index
    uint32_t rows, live;
    bool claimed;  // then already, all of what was there when it came
    uint32_t left; // of that, at the most so many are not claimed by now
    bool past;     // all of it is linked, and there is more by now
};

static bool work(void *context, uint32_t worker);
static enum linkers_did step(struct linkers *linkers, struct scratch *scratch, struct found *found);
static void step_leave(struct linkers *linkers);
static void wait_until_quiet(struct linkers *linkers);
static bool wait_for_leaving(struct linkers *linkers);
static void look(struct linkers *linkers, const struct hnsw *hnsw, struct found *found);
static int report(struct linkers *linkers, const struct linkers_watch *watch);

void
linkers_init(struct linkers *linkers, struct hnsw *hnsw, uint32_t threads, uint32_t beam)
{
    ASSERT(threads <= THREADS_MAX);
    *linkers = (struct linkers){.threads = threads, .beam = beam};
    atomic_init(&linkers->hnsw, hnsw);
}

void
linkers_spare(struct linkers *linkers, linkers_spare_fn spare, void *context)
{
    linkers->spare = spare;
    linkers->spare_context = context;
}

bool
linkers_have_workers(const struct linkers *linkers)
{
    return linkers->pool != NULL;
}

void
linkers_fini(struct linkers *linkers)
{
    pool_close(linkers->pool);
    linkers->pool = NULL; // a checkpoint at the end still waits for steps, of which there are none
    for (uint32_t i = 0; i < THREADS_MAX; i++) {
        scratch_close(linkers->scratches[i]);
        linkers->scratches[i] = NULL;
    }
}

omen_status
linkers_reserve(struct linkers *linkers)
{
    if (linkers->pool != NULL)
        return OMEN_OK;
    uint32_t threads = linkers->threads;
    if (threads == 0) {
        threads = os_cpu_count();
        threads = threads > THREADS_MAX ? THREADS_MAX : threads;
    }
    for (uint32_t i = 0; i < threads; i++)
        if (linkers->scratches[i] == NULL && scratch_open(&linkers->scratches[i]) != OMEN_OK)
            return OMEN_E_NO_MEMORY;
    if (linkers->threads == 1)
        return scratch_fit(linkers->scratches[0], atomic_load(&linkers->hnsw), 1, linkers->beam);
    struct pool *pool;
    const omen_status status = pool_open(threads, work, linkers, &pool);
    if (status == OMEN_OK)
        atomic_store(&linkers->pool, pool); // writers look without the lock
    return status;
}

void
linkers_hold(struct linkers *linkers, uint64_t until_ns, uint32_t rows)
{
    atomic_store_explicit(&linkers->held_rows, rows, memory_order_relaxed);
    atomic_store_explicit(&linkers->held_until_ns, until_ns, memory_order_relaxed);
}

bool
linkers_held(const struct linkers *linkers, const struct hnsw *hnsw)
{
    const uint64_t until_ns = atomic_load_explicit(&linkers->held_until_ns, memory_order_relaxed);
    return until_ns != 0 && atomic_load_explicit(&linkers->drains, memory_order_relaxed) == 0 &&
           hnsw_tail_uncoded(hnsw) <
               atomic_load_explicit(&linkers->held_rows, memory_order_relaxed) &&
           os_clock_ns() < until_ns;
}

void
linkers_wake(struct linkers *linkers)
{
    if (linkers->pool != NULL)
        pool_wake(linkers->pool);
    else if (linkers->threads == 1 && linkers->scratches[0] != NULL)
        while (linkers_step(linkers, linkers->scratches[0]) == LINKERS_DID)
            ;
}

enum linkers_did
linkers_step(struct linkers *linkers, struct scratch *scratch)
{
    return step(linkers, scratch, NULL);
}

// A step that comes before the next pause, if it met one.
static enum linkers_did
step_in_turn(struct linkers *linkers, struct scratch *scratch, struct found *found)
{
    enum linkers_did did = step(linkers, scratch, found);
    if (did != LINKERS_PAUSED)
        return did;
    atomic_fetch_add(&linkers->barred, 1);
    while (did == LINKERS_PAUSED) {
        for (uint32_t paused = atomic_load(&linkers->paused); paused != 0;
             paused = atomic_load(&linkers->paused))
            os_wait(&linkers->paused, paused);
        did = step(linkers, scratch, found);
    }
    atomic_fetch_sub(&linkers->barred, 1);
    os_wake_all(&linkers->barred);
    return did;
}

static omen_status
drain(struct linkers *linkers, const struct linkers_watch *watch, struct scratch *scratch)
{
    uint64_t reported_ns = 0;
    struct found found = {.exchange = UINT32_MAX, .left = UINT32_MAX};
    for (;;) {
        const enum linkers_did did = step_in_turn(linkers, scratch, &found);
        if (did == LINKERS_NO_MEMORY)
            return OMEN_E_NO_MEMORY;
        if (found.past)
            break;
        if (watch != NULL && watch->progress != NULL && os_clock_ns() - reported_ns > PROGRESS_NS) {
            reported_ns = os_clock_ns();
            if (report(linkers, watch) != 0)
                return OMEN_E_CANCELLED;
        }
        if (did == LINKERS_DID || wait_for_leaving(linkers))
            continue;
        if (step_in_turn(linkers, scratch, &found) == LINKERS_IDLE)
            break;
    }
    return watch != NULL && watch->progress != NULL && report(linkers, watch) != 0
               ? OMEN_E_CANCELLED
               : OMEN_OK;
}

omen_status
linkers_drain(struct linkers *linkers, const struct linkers_watch *watch, struct scratch *scratch)
{
    atomic_fetch_add(&linkers->drains, 1);
    const omen_status status = drain(linkers, watch, scratch);
    atomic_fetch_sub(&linkers->drains, 1);
    return status;
}

void
linkers_pause(struct linkers *linkers)
{
    // Within another's pause nobody could go first.
    for (uint32_t barred = atomic_load(&linkers->barred);
         barred != 0 && atomic_load(&linkers->paused) == 0; barred = atomic_load(&linkers->barred))
        os_wait(&linkers->barred, barred);
    atomic_fetch_add(&linkers->paused, 1);
    wait_until_quiet(linkers);
}

static void
go_on(struct linkers *linkers)
{
    const uint32_t before = atomic_fetch_sub(&linkers->paused, 1);
    ASSERT(before > 0);
    os_wake_all(&linkers->paused);
}

void
linkers_resume(struct linkers *linkers, struct hnsw *hnsw)
{
    if (atomic_exchange(&linkers->hnsw, hnsw) != hnsw)
        atomic_fetch_add(&linkers->exchanges, 1);
    go_on(linkers);
    linkers_wake(linkers);
}

void
linkers_wait(struct linkers *linkers)
{
    linkers_pause(linkers);
    go_on(linkers);
    if (linkers->pool != NULL)
        pool_wake(linkers->pool); // who came meanwhile went away again
}

size_t
linkers_bytes(const struct linkers *linkers)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < THREADS_MAX; i++)
        bytes += linkers->scratches[i] != NULL ? scratch_bytes(linkers->scratches[i]) : 0;
    return bytes;
}

static bool
work(void *context, uint32_t worker)
{
    struct linkers *linkers = context;
    if (linkers->spare != NULL && linkers->spare(linkers->spare_context))
        return true;
    return linkers_step(linkers, linkers->scratches[worker]) == LINKERS_DID;
}

// A row that it claims is one of those found; where none is to be claimed, none of them is.
static enum linkers_did
step(struct linkers *linkers, struct scratch *scratch, struct found *found)
{
    enum linkers_did did = LINKERS_PAUSED;
    atomic_fetch_add(&linkers->active, 1);
    if (atomic_load(&linkers->paused) == 0) {
        struct hnsw *hnsw = atomic_load(&linkers->hnsw);
        bool claims = false;
        // Without room for linking a row stays in the tail, where it is still found; workers then wait for a wake.
        if (scratch_fit(scratch, hnsw, 1, linkers->beam) != OMEN_OK) {
            did = LINKERS_NO_MEMORY;
        } else {
            claims = !linkers_held(linkers, hnsw) && hnsw_link_next(hnsw, scratch);
            did = claims || hnsw_repair_next(hnsw, scratch) ? LINKERS_DID : LINKERS_IDLE;
        }
        if (found != NULL) {
            found->left = claims && found->left > 0 ? found->left - 1 : 0;
            look(linkers, hnsw, found);
        }
    }
    step_leave(linkers);
    return did;
}

static void
step_leave(struct linkers *linkers)
{
    const uint32_t before = atomic_fetch_sub(&linkers->active, 1);
    ASSERT(before > 0);
    if (atomic_load(&linkers->waiting) > 0)
        os_wake_all(&linkers->active);
}

static void
wait_until_quiet(struct linkers *linkers)
{
    atomic_fetch_add(&linkers->waiting, 1);
    for (uint32_t active = atomic_load(&linkers->active); active != 0;
         active = atomic_load(&linkers->active))
        os_wait(&linkers->active, active);
    atomic_fetch_sub(&linkers->waiting, 1);
}

// Until one of those inside has left; false when nobody is there.
static bool
wait_for_leaving(struct linkers *linkers)
{
    atomic_fetch_add(&linkers->waiting, 1);
    const uint32_t active = atomic_load(&linkers->active);
    if (active != 0)
        os_wait(&linkers->active, active);
    atomic_fetch_sub(&linkers->waiting, 1);
    return active != 0;
}

// Within a step, so that the index is not exchanged meanwhile.
static void
look(struct linkers *linkers, const struct hnsw *hnsw, struct found *found)
{
    const uint32_t rows = hnsw_count(hnsw), live = hnsw_live(hnsw), tail = hnsw_tail(hnsw);
    const uint32_t exchange = atomic_load(&linkers->exchanges);
    found->left = tail < found->left ? tail : found->left;
    if (found->exchange == exchange) {
        found->past =
            hnsw_linked(hnsw) >= found->rows && (rows != found->rows || live != found->live);
        return;
    }
    found->past = found->claimed;
    found->claimed = found->left == 0;
    found->exchange = exchange;
    found->rows = rows;
    found->live = live;
}

// Counted as a step.
static int
report(struct linkers *linkers, const struct linkers_watch *watch)
{
    uint32_t total = 0;
    uint32_t tail = 0;
    atomic_fetch_add(&linkers->active, 1);
    const bool paused = atomic_load(&linkers->paused) != 0;
    if (!paused) {
        const struct hnsw *hnsw = atomic_load(&linkers->hnsw);
        tail = hnsw_tail(hnsw); // before the count, which only grows
        total = hnsw_count(hnsw);
    }
    step_leave(linkers);
    return paused ? 0
                  : watch->progress(watch->context, total - (tail < total ? tail : total), total);
}
