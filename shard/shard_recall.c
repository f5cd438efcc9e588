// shard/shard_recall.c -- recall: measured, and reached when asked for by number.
//
// Shape: handle, in memory; the readers' side.
//
// target_recall needs a calibration (index/calibrate.h). It is measured when the first such query comes, and again when
// the graph has doubled or a fifth of it was erased, by whichever query notices; it holds `upkeep` meanwhile, so that
// compaction does not take the generation away, and stays outside of the gate, so that upserts do not wait for it.
// Other queries never wait: they go by the last calibration, or look as far as is safe on any data, and say so.
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/os_clock.h"
#include "index/vector.h"
#include "shard/shard_int.h"

#define RECENT_MAX 256u                    // queries kept
#define RECENT_BYTES_MAX ((size_t)1 << 20) // together, but at least RECENT_MIN
#define RECENT_MIN 16u
#define NOTE_EVERY 16u // queries of one reader, one of which is kept
#define SAMPLES_MAX 1000000u
#define WILSON_Z 1.959964 // 95 %

struct growth {
    uint32_t rows, linked;
};

void
tuning_init(struct tuning *tuning)
{
    atomic_init(&tuning->calibration, NULL);
    lock_init(&tuning->recent_lock);
}

void
tuning_fini(struct tuning *tuning)
{
    mem_free(atomic_load(&tuning->calibration));
    mem_free(tuning->recent);
    lock_fini(&tuning->recent_lock);
}

size_t
tuning_bytes(struct shard *shard)
{
    struct tuning *tuning = &shard->tuning;
    size_t bytes = atomic_load(&tuning->calibration) != NULL ? sizeof(struct calibration) : 0;
    if (!lock_try(&tuning->recent_lock))
        return bytes; // being measured with at the moment
    bytes += (size_t)tuning->recent_room * shard->options.dimension * sizeof *tuning->recent;
    lock_release(&tuning->recent_lock);
    return bytes;
}

static struct growth
growth_of(const struct hnsw *hnsw)
{
    const uint32_t tail = hnsw_tail(hnsw); // before the count, which only grows
    const uint32_t rows = hnsw_count(hnsw);
    return (struct growth){.rows = rows,
                           .linked = hnsw_founded(hnsw) && tail < rows ? rows - tail : 0};
}

// While much is not linked yet, the graph is not the one that will be asked.
static bool
is_due(struct tuning *tuning, const struct hnsw *hnsw)
{
    const struct growth growth = growth_of(hnsw);
    if (growth.linked == 0 || growth.linked < growth.rows / 4 * 3)
        return false;
    if (atomic_load(&tuning->calibration) == NULL)
        return growth.rows >= 2 * atomic_load(&tuning->too_small);
    const uint64_t before = atomic_load(&tuning->linked);
    return growth.linked >= 2 * before || atomic_load(&tuning->turnover) * 5 >= before;
}

// Under `upkeep`.
static omen_status
measure(struct shard *shard, uint64_t deadline_ns)
{
    struct tuning *tuning = &shard->tuning;
    const struct hnsw *hnsw = shard_generation(shard)->hnsw;
    const uint32_t dim = shard->options.dimension;
    struct calibration *calibration = mem_alloc_zero(1, sizeof *calibration);
    struct reader *reader;
    if (calibration == NULL)
        return OMEN_E_NO_MEMORY;
    if (readers_take(&shard->readers, 0, &reader) != OMEN_OK) {
        mem_free(calibration);
        return OMEN_E_NO_MEMORY;
    }
    const uint64_t turnover = atomic_load(&tuning->turnover);
    const struct growth growth = growth_of(hnsw);
    lock_acquire(&tuning->recent_lock);
    const struct calibrate_queries queries = {
        .vectors = tuning->recent, .count = tuning->recent_rows, .deadline_ns = deadline_ns};
    omen_status status =
        calibrate(hnsw, &queries, shard->options.seed, reader->scratch, calibration);
    if (tuning->recent == NULL && status == OMEN_OK) {
        size_t room = RECENT_BYTES_MAX / (dim * sizeof(float));
        room = room > RECENT_MAX ? RECENT_MAX : room < RECENT_MIN ? RECENT_MIN : room;
        tuning->recent = mem_alloc(room * dim * sizeof *tuning->recent);
        tuning->recent_room = tuning->recent != NULL ? (uint32_t)room : 0;
    }
    lock_release(&tuning->recent_lock);
    readers_give(&shard->readers, 0, reader);
    if (status != OMEN_OK) {
        mem_free(calibration);
        if (status == OMEN_E_NOT_FOUND)
            atomic_store(&tuning->too_small, growth.rows);
        return status;
    }
    atomic_store(&tuning->linked, growth.linked);
    atomic_fetch_sub(&tuning->turnover, turnover);
    struct calibration *before = atomic_exchange(&tuning->calibration, calibration);
    if (before != NULL)
        epoch_retire(&shard->gate, before, mem_free);
    return OMEN_OK;
}

// A search with a deadline gives half of its time to it, once; then only one that has twice as much tries again.
void
tuning_refresh(struct shard *shard, uint64_t deadline_ns)
{
    struct tuning *tuning = &shard->tuning;
    const uint32_t ticket = epoch_enter(&shard->gate);
    const bool due = is_due(tuning, shard_generation(shard)->hnsw);
    epoch_leave(&shard->gate, ticket);
    if (!due)
        return;
    uint64_t left = 0;
    if (deadline_ns != 0) {
        const uint64_t now = os_clock_ns();
        left = deadline_ns > now ? (deadline_ns - now) / 2 : 0;
        if (left == 0 || left / 2 < atomic_load(&tuning->cut_ns))
            return;
        deadline_ns = now + left;
    }
    if (!lock_try(&shard->upkeep))
        return;
    // Or another query has measured meanwhile. Without it the search is on the safe side.
    if (is_due(tuning, shard_generation(shard)->hnsw)) {
        const omen_status status = measure(shard, deadline_ns);
        if (status == OMEN_OK || status == OMEN_E_TIMEOUT)
            atomic_store(&tuning->cut_ns, status == OMEN_OK ? 0 : left);
    }
    lock_release(&shard->upkeep);
}

omen_status
shard_calibrate(struct shard *shard, struct omen_error *error)
{
    lock_acquire(&shard->upkeep);
    const omen_status status = measure(shard, 0);
    lock_release(&shard->upkeep);
    if (status == OMEN_E_NOT_FOUND)
        return error_set(
            error, status,
            "the index has too few linked rows to calibrate with; below %u it is exact",
            HNSW_FOUND_ROWS);
    return status == OMEN_OK ? OMEN_OK : error_set_plain(error, status);
}

bool
tuning_apply(struct shard *shard, double target, struct hnsw_query *query)
{
    const struct calibration *calibration =
        atomic_load_explicit(&shard->tuning.calibration, memory_order_acquire);
    if (calibration != NULL) {
        calibration_apply(calibration, target, query);
        return true;
    }
    const uint32_t safe = target <= 0.9 ? 200 : target <= 0.95 ? 400 : target <= 0.99 ? 1000 : 3000;
    query->beam = query->k > safe / 2 ? query->k * 2 : safe;
    if (query->beam > BEAM_MAX)
        query->beam = BEAM_MAX;
    return shard->options.algorithm == OMEN_FLAT;
}

void
tuning_note(struct shard *shard, struct reader *reader, const float *vector)
{
    struct tuning *tuning = &shard->tuning;
    if (reader->queries++ % NOTE_EVERY != 0 || !lock_try(&tuning->recent_lock))
        return;
    if (tuning->recent_room > 0) {
        const size_t dim = shard->options.dimension;
        memcpy(tuning->recent + tuning->recent_next * dim, vector, dim * sizeof *vector);
        tuning->recent_next = (tuning->recent_next + 1) % tuning->recent_room;
        if (tuning->recent_rows < tuning->recent_room)
            tuning->recent_rows++;
    }
    lock_release(&tuning->recent_lock);
}

// ---- measuring ----

struct sampling {
    struct search search, exact;
    struct hit *truth; // room for k
    uint64_t wanted, right;
    uint32_t samples;
};

// The index's own row as a query that it does not know. In the gate.
static omen_status
sample_one(struct visit *visit, struct sampling *sampling, uint32_t slot, struct omen_error *error)
{
    const struct shard *shard = visit->shard;
    const uint32_t k = sampling->search.k;
    omen_status status = reader_fit_vector(visit->reader, shard->options.dimension);
    if (status != OMEN_OK)
        return error_set_plain(error, status);
    vector_to_f32((enum vector_type)shard->options.dtype, hnsw_row(visit->generation->hnsw, slot),
                  shard->options.dimension, visit->reader->vector);
    struct search_query query = {
        .vector = visit->reader->vector, .k = k, .excluded = slot, .exact = true};
    uint32_t wanted, found;
    status = search_run(visit, &sampling->exact, &query, &wanted, error);
    if (status != OMEN_OK)
        return status;
    memcpy(sampling->truth, visit->reader->hits, wanted * sizeof *sampling->truth);
    query.exact = sampling->search.options->exact != 0;
    status = search_run(visit, &sampling->search, &query, &found, error);
    if (status != OMEN_OK)
        return status;
    sampling->samples++;
    sampling->wanted += wanted;
    if (wanted == 0)
        return OMEN_OK;
    // By distance, not by slot: among equals any will do.
    const float worst = sampling->truth[wanted - 1].distance;
    const float bound = worst + 1e-6f * fabsf(worst);
    uint32_t right = 0;
    while (right < found && right < wanted && visit->reader->hits[right].distance <= bound)
        right++;
    sampling->right += right;
    return OMEN_OK;
}

// One live row out of each of `samples` equal stretches of the slots.
static omen_status
sample_all(struct shard *shard, uint32_t samples, struct sampling *sampling,
           struct omen_error *error)
{
    omen_status status = OMEN_OK;
    uint32_t last = HNSW_NONE;
    uint64_t asked_ns = os_clock_ns();
    for (uint32_t i = 0; i < samples && status == OMEN_OK; i++) {
        struct visit visit;
        if (search_stopped(sampling->search.options, &asked_ns))
            return search_cancelled(error);
        status = visit_begin(shard, &visit, error);
        if (status != OMEN_OK)
            return status;
        const struct hnsw *hnsw = visit.generation->hnsw;
        const uint32_t rows = hnsw_count(hnsw);
        uint32_t slot = (uint32_t)((uint64_t)rows * i / samples);
        while (slot < rows && hnsw_erased(hnsw, slot))
            slot++;
        const bool there = slot < rows && (last == HNSW_NONE || slot > last);
        if (there) {
            status = search_filter(&visit, &sampling->search, error);
            sampling->exact.view = sampling->search.view;
        }
        if (there && status == OMEN_OK)
            status = sample_one(&visit, sampling, slot, error);
        last = there ? slot : last;
        visit_finish(&visit, there && status == OMEN_OK ? &sampling->search.view : NULL);
    }
    return status;
}

// Wilson's score interval (1927): unlike the normal one it stays within 0..1 and is right for a share near 1.
static void
wilson(double share, double trials, double *low, double *high)
{
    const double z2 = WILSON_Z * WILSON_Z;
    const double middle = share + z2 / (2.0 * trials);
    const double half =
        WILSON_Z * sqrt(share * (1.0 - share) / trials + z2 / (4.0 * trials * trials));
    // At the ends middle and half are equal but for rounding.
    *low = share <= 0.0 ? 0.0 : fmax(0.0, (middle - half) / (1.0 + z2 / trials));
    *high = share >= 1.0 ? 1.0 : fmin(1.0, (middle + half) / (1.0 + z2 / trials));
}

omen_status
shard_measure_recall(struct shard *shard, uint32_t samples, const omen_query_options *options,
                     omen_recall *out, struct omen_error *error)
{
    if (samples < 1 || samples > SAMPLES_MAX)
        return error_set(error, OMEN_E_INVALID, "samples is %u; it must be 1..%u", samples,
                         SAMPLES_MAX);
    struct sampling sampling = {0};
    omen_status status = search_init_here(shard, options, &sampling.search, error);
    if (status != OMEN_OK)
        return status;
    sampling.exact = sampling.search;
    sampling.exact.deadline_ns = 0;
    sampling.truth = mem_alloc(sampling.search.k * sizeof *sampling.truth);
    if (sampling.truth == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    status = sample_all(shard, samples, &sampling, error);
    mem_free(sampling.truth);
    if (status != OMEN_OK)
        return status;
    if (sampling.wanted == 0)
        return error_set(error, OMEN_E_NOT_FOUND, "no row has a neighbour to be found: %s",
                         sampling.samples == 0 ? "the index is empty"
                                               : "there is one, or the filter lets none through");
    out->samples = sampling.samples;
    out->k = sampling.search.k;
    out->recall = (double)sampling.right / (double)sampling.wanted;
    wilson(out->recall, (double)sampling.wanted, &out->low, &out->high);
    out->evaluations = (double)sampling.search.work.evaluations / sampling.samples;
    atomic_store(&shard->recall, out->recall);
    search_report(&sampling.search, options->report);
    return OMEN_OK;
}
