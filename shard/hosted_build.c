// shard/hosted_build.c -- a shard's graph built elsewhere: this copy's part.
//
// Shape: handle.
//
// A freeze is a list of slots, of which a numbering has each for ever: rows are immutable, so nothing is held while a builder reads. A
// compaction ends the numbering, and with it the freeze. Rows are coded for each chunk anew (index/hnsw_ship.h), so those that no
// linker has had yet go as well.
#include "shard/hosted_build.h"

#include "base/alloc.h"
#include "base/os_clock.h"
#include "shard/graft.h"
#include "shard/hosted_int.h"

static void hosted_build_forget(struct hosted *hosted);

static void
free_frozen(struct hosted_builds *builds)
{
    pages_free(builds->slots, (size_t)builds->rows * sizeof *builds->slots);
    builds->slots = NULL;
    builds->rows = 0;
}

// Under the lock.
static void
forget(struct hosted *hosted)
{
    struct hosted_builds *builds = &hosted->builds;
    if (builds->attempt == 0)
        return;
    free_frozen(builds);
    built_graph_fini(&builds->graph);
    scratch_close(builds->scratch);
    builds->scratch = NULL;
    builds->attempt = 0;
    atomic_store_explicit(&hosted->shard->bulk_after, 0, memory_order_relaxed);
}

// Meanwhile none begins here by itself.
static void
begin(struct hosted *hosted, uint64_t attempt)
{
    forget(hosted);
    hosted->builds.attempt = attempt;
    bulk_hold_on(hosted->shard, HOSTED_BUILD_IDLE_NS);
    atomic_store_explicit(&hosted->shard->bulk_after, UINT32_MAX, memory_order_relaxed);
}

// Under the lock.
static omen_status
goes_on(struct hosted *hosted, uint64_t attempt, struct omen_error *error)
{
    struct hosted_builds *builds = &hosted->builds;
    builds->used_ns = os_clock_ns();
    bulk_hold_on(hosted->shard, HOSTED_BUILD_IDLE_NS); // else rows are linked that the graph has
    return builds->attempt == attempt && attempt != 0
               ? OMEN_OK
               : error_set(error, OMEN_E_CONFLICT, "this build is not under way here any more");
}

void
hosted_builds_init(struct hosted *hosted)
{
    lock_init(&hosted->builds.lock);
}

void
hosted_builds_fini(struct hosted *hosted)
{
    hosted_build_forget(hosted);
    lock_fini(&hosted->builds.lock);
}

static void
hosted_build_forget(struct hosted *hosted)
{
    lock_acquire(&hosted->builds.lock);
    forget(hosted);
    lock_release(&hosted->builds.lock);
}

// Whoever is at it has not left it idle.
bool
hosted_build_idle(struct hosted *hosted, uint64_t now_ns)
{
    struct hosted_builds *builds = &hosted->builds;
    if (!lock_try(&builds->lock))
        return true;
    if (builds->attempt != 0 && builds->used_ns + HOSTED_BUILD_IDLE_NS < now_ns)
        forget(hosted);
    const bool goes_on = builds->attempt != 0;
    lock_release(&builds->lock);
    return goes_on;
}

// ---- rows ----

// What lives at this entry, under the write lock: bits first, for that is quick.
static omen_status
freeze_bits(struct hosted *hosted, uint64_t **bits, uint32_t *rows)
{
    struct shard *shard = hosted->shard;
    struct hosted_builds *builds = &hosted->builds;
    lock_acquire(&shard->writers);
    const struct generation *generation = shard->target;
    *rows = hnsw_count(generation->hnsw);
    const uint32_t words = (*rows + 63) / 64;
    *bits = mem_alloc((size_t)(words + 1) * sizeof **bits);
    for (uint32_t i = 0; *bits != NULL && i < words; i++)
        (*bits)[i] = hnsw_erased_word(generation->hnsw, i);
    builds->number = generation->number;
    builds->seq = shard->applied_seq;
    lock_release(&shard->writers);
    return *bits != NULL ? OMEN_OK : OMEN_E_NO_MEMORY;
}

static omen_status
list_slots(struct hosted_builds *builds, const uint64_t *erased, uint32_t rows)
{
    uint32_t live = 0;
    for (uint32_t slot = 0; slot < rows; slot++)
        live += (erased[slot / 64] >> slot % 64 & 1) == 0;
    if (live == 0)
        return OMEN_E_NOT_FOUND;
    builds->slots = pages_alloc((size_t)live * sizeof *builds->slots);
    if (builds->slots == NULL)
        return OMEN_E_NO_MEMORY;
    for (uint32_t slot = 0; slot < rows; slot++)
        if ((erased[slot / 64] >> slot % 64 & 1) == 0)
            builds->slots[builds->rows++] = slot;
    return OMEN_OK;
}

// The generation of the freeze, inside the gate; NULL: it has ended.
static struct generation *
frozen_generation(struct hosted *hosted)
{
    struct generation *generation = shard_generation(hosted->shard);
    return generation->number == hosted->builds.number ? generation : NULL;
}

// Founding the code takes a moment, and nobody may wait for the gate meanwhile: so under the locks that keep rows where they are, which
// a build of the shard's own may have for minutes.
static omen_status
find_shape(struct hosted *hosted)
{
    struct shard *shard = hosted->shard;
    struct hosted_builds *builds = &hosted->builds;
    omen_status status = scratch_open(&builds->scratch);
    if (status != OMEN_OK)
        return status;
    if (!lock_try(&shard->builds))
        return OMEN_E_BUSY;
    status = OMEN_E_BUSY;
    if (lock_try(&shard->upkeep)) {
        status = hnsw_ship_shape(shard->target->hnsw, builds->scratch, &builds->shape);
        lock_release(&shard->upkeep);
    }
    lock_release(&shard->builds);
    return status;
}

omen_status
hosted_build_freeze(struct hosted *hosted, uint64_t attempt, struct hosted_frozen *out,
                    struct omen_error *error)
{
    struct hosted_builds *builds = &hosted->builds;
    uint64_t *erased = NULL;
    uint32_t rows = 0;
    *out = (struct hosted_frozen){0};
    if (attempt == 0)
        return error_set(error, OMEN_E_INVALID, "a build has a number that is not 0");
    lock_acquire(&builds->lock);
    begin(hosted, attempt);
    omen_status status = find_shape(hosted);
    if (status == OMEN_OK)
        status = freeze_bits(hosted, &erased, &rows);
    if (status == OMEN_OK)
        status = list_slots(builds, erased, rows);
    mem_free(erased);
    if (status == OMEN_OK) {
        const uint32_t fit = built_rows_fit(&builds->shape);
        *out = (struct hosted_frozen){.seq = builds->seq,
                                      .rows = builds->rows,
                                      .chunks = builds->rows / fit + (builds->rows % fit > 0)};
    } else {
        forget(hosted);
    }
    builds->used_ns = os_clock_ns();
    lock_release(&builds->lock);
    if (status == OMEN_E_NOT_FOUND)
        return error_set(error, status, "there is nothing to be linked at once");
    return status == OMEN_OK ? status : error_set_plain(error, status);
}

static omen_status
read_rows(struct hosted *hosted, uint32_t number, uint8_t *chunk, size_t *bytes,
          struct omen_error *error)
{
    struct hosted_builds *builds = &hosted->builds;
    const uint32_t fit = built_rows_fit(&builds->shape);
    const size_t row_bytes = ship_row_bytes(&builds->shape);
    struct built_head head = {
        .shape = builds->shape, .seq = builds->seq, .total = builds->rows, .first = number * fit};
    if (builds->slots == NULL || number >= (builds->rows + fit - 1) / fit)
        return error_set(error, OMEN_E_INVALID, "the build has no chunk %u of rows", number);
    const uint32_t left = builds->rows - head.first;
    head.count = left < fit ? left : fit;
    uint8_t *const rows = built_rows_at(&head, chunk);
    const uint32_t ticket = epoch_enter(&hosted->shard->gate);
    struct generation *generation = frozen_generation(hosted);
    for (uint32_t i = 0; generation != NULL && i < head.count; i++) {
        const uint32_t slot = builds->slots[head.first + i];
        built_key_put(chunk, i, graft_key(hosted->shard, generation, slot));
        hnsw_ship_row(generation->hnsw, &builds->shape, slot, builds->scratch,
                      rows + i * row_bytes);
    }
    epoch_leave(&hosted->shard->gate, ticket);
    if (generation == NULL)
        return error_set(error, OMEN_E_CONFLICT, "the shard was compacted since the build began");
    *bytes = built_rows_seal(&head, chunk);
    return OMEN_OK;
}

omen_status
hosted_build_rows(struct hosted *hosted, uint64_t attempt, uint32_t number, uint8_t *chunk,
                  size_t *bytes, struct omen_error *error)
{
    lock_acquire(&hosted->builds.lock);
    omen_status status = goes_on(hosted, attempt, error);
    if (status == OMEN_OK)
        status = read_rows(hosted, number, chunk, bytes, error);
    lock_release(&hosted->builds.lock);
    return status;
}

// ---- the graph ----

omen_status
hosted_build_take(struct hosted *hosted, uint64_t attempt, const void *chunk, size_t bytes,
                  struct omen_error *error)
{
    struct hosted_builds *builds = &hosted->builds;
    struct built_graph graph = {0};
    lock_acquire(&builds->lock);
    omen_status status = OMEN_OK;
    if (builds->attempt != attempt && attempt != 0) { // a copy that was not frozen
        status = built_graph_take(&graph, chunk, bytes, error);
        if (status == OMEN_OK) {
            begin(hosted, attempt);
            builds->graph = graph;
        }
    }
    if (status == OMEN_OK)
        status = goes_on(hosted, attempt, error);
    if (status == OMEN_OK)
        status = built_graph_take(&builds->graph, chunk, bytes, error);
    if (status == OMEN_OK)
        free_frozen(builds); // the rows were all read
    lock_release(&builds->lock);
    return status;
}

static omen_status
install(struct hosted *hosted, const struct hosted_judged *judged, struct hosted_built *out,
        struct omen_error *error)
{
    struct hosted_builds *builds = &hosted->builds;
    struct graft_report report;
    if (!built_graph_whole(&builds->graph))
        return error_set(error, OMEN_E_CONFLICT, "of the graph's %u rows %u have come",
                         builds->graph.head.total, builds->graph.head.count);
    if (hosted_applied(hosted) < builds->graph.head.seq)
        return error_set(error, OMEN_E_BUSY, "the graph is of entry %llu, the copy at %llu",
                         (unsigned long long)builds->graph.head.seq,
                         (unsigned long long)hosted_applied(hosted));
    const struct graft_judged graft = {.gate = judged->gate == HOSTED_MEASURED ? GRAFT_MEASURED
                                                                               : GRAFT_TRUSTED,
                                       .recall = judged->recall};
    const omen_status status =
        graft_put(hosted->shard, &builds->graph, &graft, &builds->record, &report, error);
    *out = (struct hosted_built){.rows = report.rows,
                                 .matched = report.matched,
                                 .tail = report.tail,
                                 .recall = report.recall,
                                 .before = report.before};
    return status;
}

omen_status
hosted_build_install(struct hosted *hosted, uint64_t attempt, const struct hosted_judged *judged,
                     struct hosted_built *out, struct omen_error *error)
{
    *out = (struct hosted_built){0};
    lock_acquire(&hosted->builds.lock);
    omen_status status = goes_on(hosted, attempt, error);
    if (status == OMEN_OK)
        status = install(hosted, judged, out, error);
    if (status == OMEN_OK) {
        forget(hosted);
        bulk_let_go(hosted->shard);
    }
    hosted->builds.used_ns = os_clock_ns();
    lock_release(&hosted->builds.lock);
    return status;
}
