// shard/shard.c -- what is asked of a shard as a whole: building, verifying, figures.
//
// Shape: handle.
#include "shard/shard_int.h"

#include <sched.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/os_clock.h"
#include "base/os_cpu.h"
#include "index/kernel/kernel.h"
#include "shard/shard_file.h"

static void stats_memory(struct shard *shard, omen_statistics *out);
static omen_status check_ids(const struct generation *generation, struct omen_error *error);

static void
fill_build_report(const struct bulk_made *made, omen_build_report *report)
{
    report->backend = made->built ? made->backend : OMEN_BACKEND_AUTO;
    report->rows = made->built ? made->rows : 0;
    report->seconds = made->built ? (double)made->ns * 1e-9 : 0.0;
    memcpy(report->device, made->device, sizeof report->device);
    memcpy(report->reason, made->error.text, sizeof report->reason);
    report->memory = made->memory;
    report->stage_count = made->stage_count;
    memcpy(report->stages, made->stages, sizeof report->stages);
}

// Links at once where that is worth it; OMEN_E_CANCELLED where the progress function said so.
static omen_status
build_at_once(struct shard *shard, const omen_build_options *options,
              const struct linkers_watch *watch, struct omen_error *error)
{
    const struct bulk_order order = {.watch = watch,
                                     .backend = options->backend,
                                     .again = options->again != 0,
                                     .memory_max = options->max_memory};
    struct bulk_made made;
    const omen_status status = bulk_build(shard, &order, &made);
    if (options->report != NULL)
        fill_build_report(&made, options->report);
    if (made.cancelled)
        return error_set(error, OMEN_E_CANCELLED,
                         "the progress function stopped the build; linking goes on");
    return status == OMEN_OK ? OMEN_OK : error_set(error, status, "%s", made.error.text);
}

omen_status
shard_build(struct shard *shard, const omen_build_options *options, struct omen_error *error)
{
    static const omen_build_options plain = {.backend = OMEN_BACKEND_CPU};
    if (options == NULL)
        options = &plain;
    const struct linkers_watch watch = {.progress = options->progress, .context = options->context};
    if (shard->follower !=
        NULL) // whoever writes the file links; what is here ends with its checkpoint
        return error_set_plain(error, OMEN_E_READ_ONLY);
    bulk_let_go(shard);
    omen_status status = build_at_once(shard, options, &watch, error);
    if (status != OMEN_OK)
        return status;
    struct reader *reader;
    status = readers_take(&shard->readers, 0, &reader);
    if (status != OMEN_OK)
        return error_set_plain(error, status);
    status = linkers_drain(&shard->linkers, &watch, reader->scratch);
    readers_give(&shard->readers, 0, reader);
    if (status == OMEN_E_CANCELLED)
        return error_set(error, status, "the progress function stopped the wait; linking goes on");
    return status == OMEN_OK ? OMEN_OK : error_set_plain(error, status);
}

void
shard_hold(struct shard *shard, uint64_t for_ns)
{
    bulk_hold(shard, for_ns);
}

bool
shard_builds(struct shard *shard, uint64_t *linked, uint64_t *rows)
{
    return bulk_ask(shard, linked, rows);
}

// Nobody links while we look. Who verifies again at once links for as long as the last one took, or nothing came to be linked.
static void
link_before_verifying(struct shard *shard)
{
    struct reader *reader;
    if (shard->follower != NULL || os_clock_ns() >= atomic_load(&shard->verify_after_ns) ||
        readers_take(&shard->readers, 0, &reader) != OMEN_OK)
        return;
    while (linkers_step(&shard->linkers, reader->scratch) == LINKERS_DID &&
           os_clock_ns() < atomic_load(&shard->verify_after_ns))
        ;
    readers_give(&shard->readers, 0, reader);
}

omen_status
shard_verify(struct shard *shard, struct omen_error *error)
{
    link_before_verifying(shard);
    // In turn: somebody may verify again and again, and what is written meanwhile is to get in between.
    lock_acquire_in_turn(&shard->builds); // one puts links in place without the others
    lock_acquire_in_turn(&shard->upkeep);
    lock_acquire_in_turn(&shard->writers);
    linkers_pause(&shard->linkers);
    const uint64_t began_ns = os_clock_ns();
    const struct generation *generation = shard_generation(shard);
    char text[sizeof error->text - 32];
    uint32_t unreached = 0;
    text[0] = '\0';
    omen_status status = hnsw_check(generation->hnsw, &unreached, text, sizeof text);
    if (status == OMEN_OK)
        status = check_ids(generation, error);
    else
        (void)error_set(error, status, "index: %s", text);
    shard->unreached = unreached;
    const uint64_t now_ns = os_clock_ns();
    atomic_store(&shard->verify_after_ns, now_ns + (now_ns - began_ns));
    linkers_resume(&shard->linkers, generation->hnsw);
    lock_release(&shard->writers);
    lock_release(&shard->upkeep);
    lock_release(&shard->builds);
    return status == OMEN_OK ? shard_file_verify(shard, error) : status;
}

omen_status
shard_set_ef(struct shard *shard, uint32_t ef, struct omen_error *error)
{
    if (ef < 1 || ef > BEAM_MAX)
        return error_set(error, OMEN_E_INVALID, "ef is %u; it must be 1..%u", ef, BEAM_MAX);
    atomic_store_explicit(&shard->ef, ef, memory_order_relaxed);
    atomic_store_explicit(&shard->aims, false, memory_order_relaxed);
    return OMEN_OK;
}

void
shard_options(const struct shard *shard, omen_options *out)
{
    *out = shard->options;
    out->ef_search = atomic_load_explicit(&shard->ef, memory_order_relaxed);
}

void
shard_stats(struct shard *shard, omen_statistics *out)
{
    const omen_options *options = &shard->options;
    lock_acquire(&shard->writers);
    const struct hnsw *hnsw = shard_generation(shard)->hnsw;
    out->rows = hnsw_count(hnsw);
    out->count = hnsw_live(hnsw);
    out->deleted = out->rows - out->count;
    out->tail = hnsw_tail(hnsw);
    out->dimension = options->dimension;
    out->m = options->m;
    out->ef_construction = options->ef_construction;
    out->ef_search = atomic_load_explicit(&shard->ef, memory_order_relaxed);
    out->threads = options->threads != 0 ? options->threads : os_cpu_count();
    out->metric = (int)options->metric;
    out->dtype = (int)options->dtype;
    out->algorithm = (int)options->algorithm;
    out->quantization = (int)options->quantization;
    out->code = hnsw_code_name(hnsw);
    out->kernel = kernels_best()->name;
    out->links_mean = hnsw_links_mean(hnsw);
    out->unreached = shard->unreached;
    out->drift = (double)hnsw_drift(hnsw);
    out->recall = atomic_load(&shard->recall);
    out->open_seconds = shard->open_seconds;
    stats_memory(shard, out);
    lock_release(&shard->writers);
}

uint64_t
shard_stats_memory(const omen_statistics *stats)
{
    return stats->bytes_links + stats->bytes_codes + stats->bytes_ids + stats->bytes_vectors +
           stats->bytes_payloads + stats->bytes_fields + stats->bytes_search + stats->bytes_other;
}

// Under `writers`. Scratch memory of workers can be looked at only while they stand still: for as long as it takes to
// link a row.
static void
stats_memory(struct shard *shard, omen_statistics *out)
{
    struct generation_memory memory;
    struct readers_totals totals;
    struct generation *generation = shard_generation(shard);
    generation_memory(generation, &memory);
    readers_totals(&shard->readers, &totals);
    out->searches = totals.searches;
    out->evaluations = totals.evaluations;
    out->rerank_misses = totals.rerank_misses;
    out->bytes_links = memory.hnsw.links;
    out->bytes_codes = memory.hnsw.codes;
    out->bytes_vectors = memory.hnsw.rows;
    out->bytes_ids = memory.ids + names_bytes(generation->names);
    out->bytes_payloads = payloads_bytes(generation->payloads);
    out->bytes_fields = memory.fields;
    linkers_pause(&shard->linkers);
    out->bytes_search = totals.bytes + linkers_bytes(&shard->linkers) +
                        filter_cache_bytes(&shard->filters) + tuning_bytes(shard);
    linkers_resume(&shard->linkers, generation->hnsw);
    out->bytes_other = memory.hnsw.other + memory.other + sizeof *shard;
    const uint64_t index_bytes = out->bytes_links + out->bytes_codes + out->bytes_ids +
                                 out->bytes_fields + out->bytes_search + out->bytes_other;
    out->bytes_per_vector = out->count > 0 ? (double)index_bytes / (double)out->count : 0.0;
}

omen_status
shard_may_write(const struct shard *shard, struct omen_error *error)
{
    if (shard->options.read_only != 0)
        return error_set_plain(error, OMEN_E_READ_ONLY);
    if (shard->outside != NULL)
        return error_set(error, OMEN_E_READ_ONLY, "only the log of its host changes this copy");
    if (atomic_load_explicit(&shard->is_anothers, memory_order_relaxed))
        return error_set(error, OMEN_E_READ_ONLY,
                         "a copy of a cluster's shard, to which only its node writes; copy it, and "
                         "write to the copy");
    return OMEN_OK;
}

uint64_t
shard_bytes(struct shard *shard)
{
    struct generation_memory memory;
    generation_memory(shard_generation(shard), &memory);
    return memory.hnsw.links + memory.hnsw.codes + memory.hnsw.rows + memory.hnsw.other +
           payloads_bytes(shard_generation(shard)->payloads) + memory.ids + memory.fields +
           memory.other + names_bytes(shard_generation(shard)->names) + sizeof *shard +
           atomic_load_explicit(&shard->bulk_bytes, memory_order_relaxed);
}

void
shard_changed(struct shard *shard)
{
    atomic_fetch_add_explicit(&shard->version, 1, memory_order_release);
}

bool
shard_load_field(struct shard *shard)
{
    if (!lock_try(&shard->upkeep))
        return false;
    const omen_status status = fields_load_next(shard->target->fields);
    lock_release(&shard->upkeep);
    return status == OMEN_OK || status == OMEN_E_CORRUPT || status == OMEN_E_BUSY;
}

omen_status
visit_begin(struct shard *shard, struct visit *visit, struct omen_error *error)
{
    visit->shard = shard;
    const omen_status entered = shard_enter(shard, &visit->ticket, error);
    if (entered != OMEN_OK)
        return entered;
    visit->replacing = atomic_load_explicit(&shard->replacing, memory_order_acquire);
    visit->generation = shard_generation(shard);
    const omen_status status = readers_take(&shard->readers, visit_hint(visit), &visit->reader);
    if (status == OMEN_OK)
        return OMEN_OK;
    epoch_leave(&shard->gate, visit->ticket);
    return error_set_plain(error, status);
}

uint32_t
visit_rows(const struct visit *visit)
{
    _Atomic uint64_t *moving = &visit->shard->moving;
    for (;;) {
        const uint64_t before = atomic_load_explicit(moving, memory_order_acquire);
        const uint32_t rows = hnsw_count(visit->generation->hnsw);
        atomic_thread_fence(memory_order_acquire);
        if (before % 2 == 0 && atomic_load_explicit(moving, memory_order_relaxed) == before)
            return rows;
        sched_yield();
    }
}

void
visit_leave(struct visit *visit)
{
    epoch_leave(&visit->shard->gate, visit->ticket);
}

void
visit_end(struct visit *visit)
{
    readers_give(&visit->shard->readers, visit_hint(visit), visit->reader);
}

// Every live row is found by its id, and nothing else is.
static omen_status
check_ids(const struct generation *generation, struct omen_error *error)
{
    const uint32_t rows = hnsw_count(generation->hnsw);
    uint32_t live = 0;
    for (uint32_t slot = 0; slot < rows; slot++) {
        const bool dead = hnsw_erased(generation->hnsw, slot);
        if (dead != generation_is_dead(generation, slot))
            return error_set(error, OMEN_E_CORRUPT,
                             "slot %u: erased in one place, not in the other", slot);
        if (dead)
            continue;
        live++;
        const uint64_t id = idmap_id(generation->ids, slot);
        const uint32_t found = idmap_find(generation->ids, id);
        if (found != slot)
            return error_set(error, OMEN_E_CORRUPT,
                             "slot %u holds id %llu, which is found at slot %u", slot,
                             (unsigned long long)id, found);
    }
    if (idmap_count(generation->ids) != live)
        return error_set(error, OMEN_E_CORRUPT, "%u ids lead to %u live rows",
                         idmap_count(generation->ids), live);
    return OMEN_OK;
}
