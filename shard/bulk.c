// shard/bulk.c -- links made at once where a batch is large against what is there.
//
// Shape: handle.
//
// A row linked alone costs a walk; a row of a bulk build costs much less, but all rows that live are built, the linked ones
// too. So it is worth it from a fifth of the rows on, and not for a thousand or two, which are linked in a moment.
//
// Where rows come many at once, others follow, mostly, and all are linked at once before long. So until that is due, or none have come for
// a moment, none is linked alone: of four shards that got 15,000 rows each a node's linkers linked most, which took the processor
// from the writes for twice as long as these took.
//
// `builds` is held all the while: no compaction, no row moves, and the generation stays; `upkeep` only while the links are put in
// place, so that checkpoints go on and the log does not grow by what is written meanwhile. Linkers are paused. Searches and
// writes go on; what is written is found in the tail. Under max_memory the build may have half of what is left, which counts as
// used meanwhile, though no more than it has a use for; it makes do with less than it would take, and where that is too little the rows are linked one by one.
#include <string.h>

#include "base/assert.h"
#include "base/os_clock.h"
#include "base/os_cpu.h"
#include "base/os_thread.h"
#include "base/os_wait.h"
#include "index/hnsw_bulk.h"
#include "shard/backend.h"
#include "shard/keeper.h"
#include "shard/shard_int.h"

#define TAIL_MIN 2048u
#define BURST_TAIL 8192u // as many wait while rows come many at once
#define TAIL_SHARE 5u    // of all rows, one in so many
// Of codes of rows that are held back, which every search looks at.
#define HELD_BYTES_MAX ((uint64_t)64 << 20)

struct bulk_watch {
    struct shard *shard;
    const struct linkers_watch *watch; // may be NULL
    bool gives_way;                    // to whoever waits for that
    uint64_t rows;
    bool cancelled;
};

// Rows of the tail that were saved with links have them as soon as they are offered, and do not count.
static bool
is_worth_it(const struct hnsw *hnsw)
{
    const uint32_t tail = hnsw_tail_uncoded(hnsw), rows = hnsw_count(hnsw);
    return hnsw_founded(hnsw) && tail >= TAIL_MIN && tail >= rows / TAIL_SHARE;
}

// The same by itself: after a build that came to nothing not before there are twice as many rows.
static bool
is_due(const struct shard *shard, const struct hnsw *hnsw)
{
    return is_worth_it(hnsw) &&
           hnsw_tail(hnsw) > atomic_load_explicit(&shard->bulk_after, memory_order_relaxed);
}

// For whoever waits for it (wait_for_other).
static void
tell(struct shard *shard, bool going, uint64_t done, uint64_t rows)
{
    atomic_store_explicit(&shard->bulk_done, done, memory_order_relaxed);
    atomic_store_explicit(&shard->bulk_rows, rows, memory_order_relaxed);
    atomic_store_explicit(&shard->bulk_going, going, memory_order_release);
    atomic_fetch_add_explicit(&shard->bulk_turns, 1, memory_order_acq_rel);
    os_wake_all(&shard->bulk_turns);
}

// While somebody else builds, `watch` is told how far that is; false when it says so.
static bool
wait_for_other(struct shard *shard, const struct linkers_watch *watch)
{
    if (watch == NULL || watch->progress == NULL)
        return true;
    for (;;) {
        const uint32_t turns = atomic_load_explicit(&shard->bulk_turns, memory_order_acquire);
        if (!atomic_load_explicit(&shard->bulk_going, memory_order_acquire))
            return true;
        const uint64_t rows = atomic_load_explicit(&shard->bulk_rows, memory_order_relaxed);
        const uint64_t done = atomic_load_explicit(&shard->bulk_done, memory_order_relaxed);
        if (watch->progress(watch->context, done < rows ? done : rows, rows) != 0)
            return false;
        os_wait(&shard->bulk_turns, turns);
    }
}

// Takes `builds`; false: `watch` said that nobody wants it any more. Who builds holds it, and is not waited for in a lock, where nobody
// would ask.
static bool
builds_take(struct shard *shard, const struct linkers_watch *watch)
{
    while (watch != NULL && watch->progress != NULL) {
        if (!wait_for_other(shard, watch))
            return false;
        if (lock_try(&shard->builds))
            return true;
        if (!atomic_load_explicit(&shard->bulk_going, memory_order_acquire))
            break; // it is no build
    }
    lock_acquire(&shard->builds);
    return true;
}

// In rows, as whoever waits for linking counts.
static int
report(void *context, uint64_t done, uint64_t total)
{
    struct bulk_watch *bulk = context;
    if (atomic_load_explicit(&bulk->shard->closing, memory_order_relaxed))
        return 1;
    const uint64_t rows = (uint64_t)((double)bulk->rows * (double)done / (double)total);
    tell(bulk->shard, true, rows, bulk->rows);
    if (bulk->gives_way &&
        atomic_load_explicit(&bulk->shard->bulk_give_way, memory_order_relaxed) != 0)
        return 1;
    if (bulk->watch == NULL || bulk->watch->progress == NULL)
        return 0;
    bulk->cancelled = bulk->watch->progress(bulk->watch->context, rows, bulk->rows) != 0;
    return bulk->cancelled;
}

static uint32_t
threads_of(const struct shard *shard)
{
    const uint32_t asked = shard->options.threads, there = os_cpu_count();
    return asked != 0 ? asked : there < THREADS_MAX ? there : THREADS_MAX;
}

// Under `writers`. How much a build may take, at most `asked` where that is not 0; 0: there is no limit. False: nothing. It counts as
// used until memory_return.
static bool
memory_take(struct shard *shard, uint64_t asked, size_t *memory)
{
    const uint64_t limit = shard->options.max_memory;
    *memory = (size_t)asked;
    if (limit == 0)
        return true;
    const uint64_t used = shard_bytes(shard);
    const size_t half = used < limit ? (size_t)(limit - used) / 2 : 0;
    const size_t most = hnsw_bulk_most(shard->target->hnsw, threads_of(shard));
    *memory = half < most ? half : most;
    if (asked != 0 && asked < *memory)
        *memory = (size_t)asked;
    atomic_store_explicit(&shard->bulk_bytes, *memory, memory_order_relaxed);
    return *memory > 0;
}

static void
memory_return(struct shard *shard)
{
    atomic_store_explicit(&shard->bulk_bytes, 0, memory_order_relaxed);
}

// A piece of rows that was not whole when it was loaded becomes ours when a row comes behind it, and a checkpoint may then set
// free where it lay. Builds read rows without being holders (settle.c), so it is made ours before they begin. Under `writers`.
bool
bulk_own_begun(struct hnsw *hnsw)
{
    const omen_status status = hnsw_reserve(hnsw, hnsw_count(hnsw) + 1);
    return status == OMEN_OK || status == OMEN_E_FULL; // then none ever comes
}

// Links by the backend, or where that is AUTO and its GPU fails by the CPU.
static omen_status
make_links(struct hnsw *hnsw, struct hnsw_bulk_options *options, struct backend *backend,
           struct bulk_made *made, struct hnsw_bulk_report *report, struct hnsw_bulk **bulk)
{
    options->maker = backend != NULL ? backend_maker(backend) : NULL;
    omen_status status = hnsw_bulk_make(hnsw, options, report, bulk);
    if (status != OMEN_OK && options->maker != NULL && backend_gives_up(backend, status)) {
        options->maker = NULL;
        status = hnsw_bulk_make(hnsw, options, report, bulk);
    }
    if (status == OMEN_OK && *bulk != NULL)
        made->backend = options->maker != NULL ? OMEN_BACKEND_CUDA : OMEN_BACKEND_CPU;
    if (status != OMEN_OK && backend != NULL && options->maker != NULL)
        made->error = backend->gpu.error;
    else if (status != OMEN_OK)
        (void)error_set_plain(&made->error, status);
    else if (backend != NULL)
        made->error = backend->why;
    return status;
}

_Static_assert(HNSW_BULK_STAGES <= OMEN_BUILD_STAGES_MAX, "all stages have room");

static void
list_stages(const struct hnsw_bulk_report *report, struct bulk_made *made)
{
    struct hnsw_bulk_stage stages[HNSW_BULK_STAGES];
    made->memory = report->memory_peak;
    made->stage_count = hnsw_bulk_stages(report, stages);
    for (uint32_t i = 0; i < made->stage_count; i++) {
        omen_build_stage *const out = &made->stages[i];
        *out = (omen_build_stage){.seconds = (double)stages[i].ns * 1e-9,
                                  .memory = stages[i].memory,
                                  .read = stages[i].read};
        ASSERT(strlen(stages[i].name) < sizeof out->name);
        memcpy(out->name, stages[i].name, strlen(stages[i].name));
    }
}

// Under `builds`, with linkers paused; and `upkeep`, where *installing is NULL, else that lock is taken for the links' moment.
static omen_status
build_and_install(struct shard *shard, struct hnsw *hnsw, size_t memory, struct bulk_watch *watch,
                  struct backend *backend, struct lock *installing, struct bulk_made *made)
{
    struct hnsw_bulk *bulk = NULL;
    struct hnsw_bulk_options options = {
        .threads = threads_of(shard), .memory_max = memory, .progress = report, .context = watch};
    const uint64_t began_ns = os_clock_ns();
    watch->rows = hnsw_count(hnsw);
    tell(shard, true, 0, watch->rows);
    struct hnsw_bulk_report done = {0};
    omen_status status = make_links(hnsw, &options, backend, made, &done, &bulk);
    made->built = status == OMEN_OK && bulk != NULL;
    if (made->built) {
        if (installing != NULL)
            lock_acquire(installing);
        const uint64_t install_ns = os_clock_ns();
        status = hnsw_bulk_install(bulk);
        done.install_ns = os_clock_ns() - install_ns;
        if (installing != NULL)
            lock_release(installing);
        ASSERT(status == OMEN_OK); // else we wrote what is no graph
        hnsw_bulk_close(bulk);
        atomic_fetch_add_explicit(&shard->bulk_builds, 1, memory_order_relaxed);
        atomic_store_explicit(&shard->bulk_after, 0, memory_order_relaxed);
        made->rows = (uint32_t)watch->rows;
        made->ns = os_clock_ns() - began_ns;
        list_stages(&done, made);
    } else if (status != OMEN_OK && status != OMEN_E_CANCELLED) {
        // In vain, which is dear: the next try by itself waits for twice as many.
        atomic_store_explicit(&shard->bulk_after, 2 * hnsw_tail(hnsw), memory_order_relaxed);
    }
    memory_return(shard);
    tell(shard, false, watch->rows, watch->rows);
    made->cancelled = watch->cancelled;
    return status;
}

static bool
is_wanted(const struct shard *shard, const struct hnsw *hnsw, const struct bulk_order *order)
{
    if (order == NULL)
        return is_due(shard, hnsw);
    if (order->again)
        return hnsw_founded(hnsw) && hnsw_count(hnsw) > 0;
    return order->backend != OMEN_BACKEND_CUDA ? is_worth_it(hnsw)
                                               : hnsw_founded(hnsw) && hnsw_tail(hnsw) > 0;
}

// Under `builds`. `order` and `backend` NULL: nobody asked for it.
static omen_status
build(struct shard *shard, const struct bulk_order *order, struct backend *backend,
      struct bulk_made *made)
{
    struct bulk_watch bulk = {
        .shard = shard, .watch = order != NULL ? order->watch : NULL, .gives_way = order == NULL};
    omen_status status = OMEN_OK;
    lock_acquire(&shard->writers);
    struct hnsw *hnsw = shard->target->hnsw;
    size_t memory = 0;
    const bool wanted = is_wanted(shard, hnsw, order);
    const bool begun = wanted && bulk_own_begun(hnsw) &&
                       memory_take(shard, order != NULL ? order->memory_max : 0, &memory);
    if (begun)
        linkers_pause(&shard->linkers);
    else if (wanted)
        status = error_set(&made->error, OMEN_E_NO_MEMORY, "max_memory leaves no room for a build");
    lock_release(&shard->writers);
    if (begun) {
        status = build_and_install(shard, hnsw, memory, &bulk, backend, &shard->upkeep, made);
        lock_acquire(&shard->writers);
        linkers_resume(&shard->linkers, hnsw);
        lock_release(&shard->writers);
    }
    return status;
}

// Who is to build what is there now.
static omen_status
backend_for(struct shard *shard, const struct bulk_order *order, struct backend *backend,
            struct omen_error *error)
{
    lock_acquire(&shard->writers);
    const struct hnsw *hnsw = shard->target->hnsw;
    const uint32_t rows = hnsw_count(hnsw), tail = hnsw_tail(hnsw);
    const bool wanted = is_wanted(shard, hnsw, order), founded = hnsw_founded(hnsw);
    lock_release(&shard->writers);
    const omen_status status = backend_open(
        backend, order->backend, wanted ? (uint64_t)rows * shard->options.dimension : 0, error);
    if (status != OMEN_OK || order->backend != OMEN_BACKEND_CUDA || founded ||
        (tail == 0 && !order->again))
        return status;
    backend_close(backend);
    return error_set(error, OMEN_E_UNSUPPORTED,
                     shard->options.algorithm == OMEN_FLAT
                         ? "backend cuda: a flat index has no links to build"
                         : "backend cuda: %u rows are too few for a graph, which begins at %u",
                     rows, HNSW_FOUND_ROWS);
}

static omen_status
build_by(struct shard *shard, const struct bulk_order *order, struct backend *backend,
         struct bulk_made *made)
{
    const bool device = backend_maker(backend) != NULL;
    if (device)
        atomic_fetch_add_explicit(&shard->bulk_give_way, 1, memory_order_relaxed);
    made->cancelled = !builds_take(shard, device ? NULL : order->watch);
    omen_status status = OMEN_OK;
    if (!made->cancelled) {
        status = build(shard, order, backend, made);
        lock_release(&shard->builds);
    }
    if (device)
        atomic_fetch_sub_explicit(&shard->bulk_give_way, 1, memory_order_relaxed);
    return status;
}

omen_status
bulk_build(struct shard *shard, const struct bulk_order *order, struct bulk_made *made)
{
    struct backend backend;
    *made = (struct bulk_made){0};
    omen_status status = backend_for(shard, order, &backend, &made->error);
    if (status != OMEN_OK)
        return status;
    status = build_by(shard, order, &backend, made);
    memcpy(made->device, backend.device, sizeof made->device);
    backend_close(&backend);
    if (status == OMEN_OK || made->cancelled || order->backend != OMEN_BACKEND_CUDA)
        return OMEN_OK;
    return error_about(&made->error, status, "backend cuda");
}

void
bulk_hold(struct shard *shard, uint64_t for_ns)
{
    const uint64_t rows = HELD_BYTES_MAX / shard->options.dimension;
    linkers_hold(&shard->linkers, os_clock_ns() + for_ns, (uint32_t)rows);
}

void
bulk_hold_on(struct shard *shard, uint64_t for_ns)
{
    const uint64_t now_ns = os_clock_ns();
    const uint64_t until_ns =
        atomic_load_explicit(&shard->linkers.held_until_ns, memory_order_relaxed);
    if (until_ns > now_ns && until_ns < now_ns + for_ns)
        bulk_hold(shard, for_ns);
}

void
bulk_burst(struct shard *shard)
{
    const uint32_t rows = hnsw_count(shard->target->hnsw), before = shard->rows_seen;
    struct linkers *linkers = &shard->linkers;
    shard->rows_seen = rows;
    // The keeper lets go of them, which looks seldom where nothing is held back.
    if (shard->keeper == NULL || !linkers_have_workers(linkers) ||
        rows < before + BULK_BURST_ROWS || rows > BULK_BURST_OF)
        return;
    const uint64_t now_ns = os_clock_ns(), until_ns = now_ns + BULK_BURST_NS;
    const uint64_t held_ns = atomic_load_explicit(&linkers->held_until_ns, memory_order_relaxed);
    if (held_ns >= until_ns)
        return;
    linkers_hold(linkers, until_ns, BURST_TAIL);
    if (held_ns < now_ns)
        keeper_wake(shard->keeper);
}

void
bulk_let_go(struct shard *shard)
{
    if (atomic_exchange_explicit(&shard->linkers.held_until_ns, 0, memory_order_relaxed) == 0)
        return;
    lock_acquire(&shard->writers);
    bulk_when_due(shard);
    linkers_wake(&shard->linkers);
    lock_release(&shard->writers);
}

void
bulk_look(struct shard *shard)
{
    const uint64_t until_ns =
        atomic_load_explicit(&shard->linkers.held_until_ns, memory_order_relaxed);
    if (until_ns != 0 && os_clock_ns() >= until_ns)
        bulk_let_go(shard);
}

bool
bulk_ask(struct shard *shard, uint64_t *linked, uint64_t *rows)
{
    bulk_let_go(shard);
    lock_acquire(&shard->writers);
    // Not by the mark: what it was set for may have been built by somebody else.
    const bool due = linkers_have_workers(&shard->linkers) && is_due(shard, shard->target->hnsw);
    if (due)
        atomic_store_explicit(&shard->bulk_due, 1, memory_order_release);
    const bool goes_on = due || atomic_load_explicit(&shard->bulk_going, memory_order_acquire);
    *rows = hnsw_count(shard->target->hnsw);
    if (goes_on)
        linkers_wake(&shard->linkers);
    lock_release(&shard->writers);
    const uint64_t done = atomic_load_explicit(&shard->bulk_done, memory_order_relaxed);
    *linked = done < *rows ? done : *rows;
    return goes_on;
}

static void
build_at_writer(struct shard *shard, struct hnsw *hnsw)
{
    size_t memory;
    struct bulk_watch watch = {.shard = shard};
    struct bulk_made made = {0};
    if (!memory_take(shard, 0, &memory))
        return;
    linkers_pause(&shard->linkers);
    (void)!build_and_install(shard, hnsw, memory, &watch, NULL, NULL, &made);
    linkers_resume(&shard->linkers, hnsw);
}

void
bulk_when_due(struct shard *shard)
{
    struct hnsw *hnsw = shard->target->hnsw;
    // What is due stays so, even if a linker takes a row meanwhile and there are few enough to wait again.
    if (shard->target != shard_generation(shard) || linkers_held(&shard->linkers, hnsw) ||
        !is_due(shard, hnsw))
        return;
    if (shard->options.threads != 1) {
        atomic_store_explicit(&shard->bulk_due, 1, memory_order_release);
        return;
    }
    // The writer links. The locks are taken against their order, hence without waiting: where somebody has one, these rows are
    // linked one by one. A checkpoint would wait for `writers` anyway.
    if (!lock_try(&shard->builds))
        return;
    if (lock_try(&shard->upkeep)) {
        build_at_writer(shard, hnsw);
        lock_release(&shard->upkeep);
    }
    lock_release(&shard->builds);
}

struct unasked {
    struct shard *shard;
    struct bulk_made made;
};

static void
build_unasked(void *context)
{
    struct unasked *unasked = context;
    (void)!build(unasked->shard, NULL, NULL, &unasked->made);
}

// On a thread of its own: a linker's priority could not be raised again. Said before there is one, so that who wants to build sees why
// he has to wait.
static void
build_behind(struct unasked *unasked)
{
    struct shard *shard = unasked->shard;
    lock_acquire(&shard->writers);
    const struct hnsw *hnsw = shard->target->hnsw;
    const bool due = is_due(shard, hnsw); // or somebody else has built it meanwhile
    if (due)
        tell(shard, true, 0, hnsw_count(hnsw));
    lock_release(&shard->writers);
    if (!due)
        return;
    os_thread_run_behind(build_unasked, unasked);
    if (atomic_load_explicit(&shard->bulk_going, memory_order_relaxed))
        tell(shard, false, 0, 0); // it was not begun: too much was deleted, or there is no memory
}

// Does not wait for whoever builds or compacts, or is about to: there are rows to be linked meanwhile.
bool
shard_spare(void *context)
{
    struct shard *shard = context;
    if (compact_spare(context))
        return true;
    if (atomic_load_explicit(&shard->bulk_due, memory_order_relaxed) == 0 ||
        !lock_try_in_turn(&shard->builds))
        return false;
    struct unasked unasked = {.shard = shard};
    if (atomic_exchange_explicit(&shard->bulk_due, 0, memory_order_acquire) != 0)
        build_behind(&unasked);
    lock_release(&shard->builds);
    return unasked.made.built;
}
