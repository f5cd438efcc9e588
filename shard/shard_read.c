// shard/shard_read.c -- searches: one query, none that is only looked at, and many.
//
// Shape: handle, in memory; the readers' side.
//
// A search takes no lock and, once its reader has grown, no memory. What it adds to hnsw_search is: two counters of the
// gate, one exchange each for taking and giving back the reader, and the ids of the hits.
//
// While an upsert exchanges rows (see shard_int.h), one id can be hit twice. `replacing` is read before and after: even
// and unchanged means that this search overlapped no exchange. Otherwise hits are told apart by id and the newer row
// stays; since only one batch is exchanged at a time, an id is hit at most twice, and asking for 2 k hits is enough.
#include <math.h>
#include <string.h>

#include "base/assert.h"
#include "base/filter.h"
#include "base/limits.h"
#include "base/os_clock.h"
#include "base/os_cpu.h"
#include "base/prng.h"
#include "index/scratch.h"
#include "shard/shard_int.h"
#include "shard/vector_input.h"

#define CHUNK_QUERIES 32u  // of a batch, handed to a thread at once, at the most
#define THREAD_QUERIES 16u // fewer do not pay for starting one
#define BATCH_QUERIES_MAX ((size_t)UINT32_MAX * 8)

static omen_status check_query(const omen_query_options *options, struct omen_error *error);

// ---- what every search does ----

static struct filter_key
key_of(const omen_query_options *options)
{
    if (options->filter != NULL)
        return filter_key_of_text(options->filter);
    if (options->filter_map != NULL)
        return (struct filter_key){.form = FILTER_FORM_MAP,
                                   .bytes = options->filter_map,
                                   .count = options->filter_map_bytes};
    return (struct filter_key){.form = FILTER_FORM_NONE};
}

omen_status
search_init(struct shard *shard, const omen_query_options *options, struct search *search,
            struct omen_error *error)
{
    const omen_status status = check_query(options, error);
    if (status != OMEN_OK)
        return status;
    *search = (struct search){.options = options, .k = options->k, .beam = options->ef};
    if (options->deadline_us > 0)
        search->deadline_ns = os_clock_ns() + options->deadline_us * 1000;
    search->view.deadline_ns = search->deadline_ns;
    search->view.key = key_of(options);
    if (options->exact != 0)
        return OMEN_OK;
    search->target = options->target_recall;
    if (search->target == 0.0 && search->beam == 0 &&
        atomic_load_explicit(&shard->aims, memory_order_relaxed))
        search->target = shard->options.target_recall;
    if (search->beam == 0)
        search->beam = atomic_load_explicit(&shard->ef, memory_order_relaxed);
    if (search->target != 0.0)
        tuning_refresh(shard, search->deadline_ns);
    return OMEN_OK;
}

omen_status
search_filter(struct visit *visit, struct search *search, struct omen_error *error)
{
    if (search->view.key.form == FILTER_FORM_NONE)
        return OMEN_OK;
    const omen_status status = filter_view_make(visit, &search->view, error);
    if (status == OMEN_OK && search->view.cut)
        search->warnings |= OMEN_WARN_DEADLINE;
    return status;
}

omen_status
search_vector(struct visit *visit, const struct search *search, const void *vector,
              const float **out, struct omen_error *error)
{
    const struct shard *shard = visit->shard;
    const struct vector_rows query = {
        .rows = vector,
        .count = 1,
        .dim = shard->options.dimension,
        .type = (enum vector_type)search->options->dtype,
    };
    if (query.type != VECTOR_F32 || (uintptr_t)vector % _Alignof(float) != 0) {
        const omen_status status = reader_fit_vector(visit->reader, query.dim);
        if (status != OMEN_OK)
            return error_set_plain(error, status);
    }
    const omen_status status = vector_input_query(&query, (enum metric)shard->options.metric,
                                                  visit->reader->vector, out, error);
    if (status == OMEN_OK && search->target != 0.0)
        tuning_note(visit->shard, visit->reader, *out);
    return status;
}

omen_status
search_run(struct visit *visit, struct search *search, const struct search_query *query,
           uint32_t *found, struct omen_error *error)
{
    struct shard *shard = visit->shard;
    const struct hnsw *hnsw = visit->generation->hnsw;
    struct hnsw_query inner = {
        .vector = query->vector,
        .k = query->k,
        .beam = search->beam,
        .rerank = search->options->oversample,
        .excluded = query->excluded,
        .deadline_ns = search->deadline_ns,
        .work = &search->work,
    };
    if (search->view.key.form != FILTER_FORM_NONE) {
        inner.allowed = &search->view.answer.allowed;
        inner.allowed_count = search->view.answer.count;
    }
    if (search->target != 0.0 && !query->exact && !tuning_apply(shard, search->target, &inner))
        search->warnings |= OMEN_WARN_NOT_CALIBRATED;

    for (;;) {
        // Who gives an ef, or leaves it to the default, means at least k. A calibrated beam was measured as it is.
        if (search->target == 0.0 && inner.beam < inner.k)
            inner.beam = inner.k;
        const uint32_t room = inner.beam > inner.rerank ? inner.beam : inner.rerank;
        const uint64_t before = atomic_load_explicit(&shard->replacing, memory_order_acquire);
        omen_status status = reader_fit(visit->reader, hnsw, inner.k, room);
        if (status == OMEN_OK && query->excluded != HNSW_NONE)
            status = scratch_fit_prune(visit->reader->scratch, hnsw); // to walk around a row
        if (status != OMEN_OK)
            return error_set_plain(error, status);
        const uint32_t full =
            query->exact ? hnsw_scan(hnsw, &inner, visit->reader->scratch, visit->reader->hits)
                         : hnsw_search(hnsw, &inner, visit->reader->scratch, visit->reader->hits);
        *found = full;
        if (before % 2 == 0 &&
            atomic_load_explicit(&shard->replacing, memory_order_acquire) == before)
            break; // the second time round there may be 2 k of them
        if (reader_fit_places(visit->reader, full) != OMEN_OK)
            return error_set_plain(error, OMEN_E_NO_MEMORY);
        *found = search_drop_older(visit, full);
        if (*found >= query->k || full < inner.k || inner.k > query->k || inner.k == TOPK_MAX)
            break;
        inner.k = query->k > TOPK_MAX / 2 ? TOPK_MAX : 2 * query->k;
    }
    if (*found > query->k)
        *found = query->k;
    return OMEN_OK;
}

void
search_report(const struct search *search, omen_query_report *report)
{
    if (report == NULL)
        return;
    *report = (omen_query_report){
        .evaluations = search->work.evaluations,
        .exact_distances = search->work.exact_distances,
        .tail = search->work.tail,
        .strategy = search->work.strategy,
        .warnings = search->warnings,
        .matches = UINT64_MAX,
    };
    if (search->work.cut)
        report->warnings |= OMEN_WARN_DEADLINE;
    if (search->view.key.form != FILTER_FORM_NONE) {
        report->matches = search->view.answer.count;
        if (search->view.answer.scanned)
            report->warnings |= OMEN_WARN_UNINDEXED_FIELD;
    }
}

static omen_status
check_query(const omen_query_options *options, struct omen_error *error)
{
    const int dtype = (int)options->dtype;
    if (options->k < 1 || options->k > TOPK_MAX)
        return error_set(error, OMEN_E_K, "k is %u; it must be 1..%u", options->k, TOPK_MAX);
    if (options->ef > BEAM_MAX)
        return error_set(error, OMEN_E_INVALID, "ef is %u; it must be at most %u", options->ef,
                         BEAM_MAX);
    if (options->target_recall != 0.0 &&
        !(options->target_recall >= 0.5 && options->target_recall <= 0.9999))
        return error_set(error, OMEN_E_INVALID,
                         "target_recall is %g; it must be 0 (unused) or 0.5..0.9999",
                         options->target_recall);
    if (!vector_type_is_known(dtype))
        return error_set(error, OMEN_E_DTYPE,
                         "dtype of the query is %d; there are 1 (f32) to 5 (u8)", dtype);
    if (options->filter != NULL && options->filter_map != NULL)
        return error_set(error, OMEN_E_INVALID,
                         "filter and filter_map are both given; a query has one of them");
    if (options->filter_map == NULL && options->filter_map_bytes > 0)
        return error_set(error, OMEN_E_INVALID, "filter_map_bytes is %zu, but filter_map is NULL",
                         options->filter_map_bytes);
    if (options->oversample > TOPK_MAX)
        return error_set(error, OMEN_E_INVALID, "oversample is %u; it must be at most %u",
                         options->oversample, TOPK_MAX);
    if (options->threads > THREADS_MAX)
        return error_set(error, OMEN_E_INVALID, "threads is %u; it must be at most %u",
                         options->threads, THREADS_MAX);
    if (options->backend != OMEN_BACKEND_AUTO && options->backend != OMEN_BACKEND_CPU &&
        options->backend != OMEN_BACKEND_CUDA)
        return error_set(error, OMEN_E_INVALID,
                         "backend %d: there are 0 (auto), 1 (cpu) and 2 (cuda)",
                         (int)options->backend);
    if (options->deadline_us > UINT64_MAX / 2000)
        return error_set(error, OMEN_E_INVALID, "deadline_us is beyond any clock");
    return OMEN_OK;
}

// Of two hits with one id the larger slot is the newer row. Keeps the order of the hits.
uint32_t
search_drop_older(struct visit *visit, uint32_t found)
{
    struct reader *reader = visit->reader;
    const uint32_t mask = reader->places_room - 1;
    uint32_t kept = 0;
    memset(reader->places, 0xff, reader->places_room * sizeof *reader->places);
    for (uint32_t i = 0; i < found; i++) {
        const uint64_t id = idmap_id(visit->generation->ids, reader->hits[i].slot);
        uint32_t place = (uint32_t)mix64(id) & mask;
        while (reader->places[place] != UINT32_MAX &&
               idmap_id(visit->generation->ids, reader->hits[reader->places[place]].slot) != id)
            place = (place + 1) & mask;
        if (reader->places[place] == UINT32_MAX)
            reader->places[place] = i;
        else if (reader->hits[reader->places[place]].slot < reader->hits[i].slot)
            reader->places[place] = i;
    }
    for (uint32_t i = 0; i < found; i++) {
        const uint64_t id = idmap_id(visit->generation->ids, reader->hits[i].slot);
        uint32_t place = (uint32_t)mix64(id) & mask;
        while (idmap_id(visit->generation->ids, reader->hits[reader->places[place]].slot) != id)
            place = (place + 1) & mask;
        if (reader->places[place] != i)
            continue;
        // What moves lies before what is looked at, but a place may still lead to it.
        reader->places[place] = kept;
        reader->hits[kept++] = reader->hits[i];
    }
    return kept;
}

// ---- one query ----

void
search_answer_fill(const struct visit *visit, uint32_t found, uint32_t k,
                   const struct answer *answer)
{
    const struct hit *hits = visit->reader->hits;
    for (uint32_t i = 0; i < found; i++)
        answer->ids[i] = idmap_id(visit->generation->ids, hits[i].slot);
    if (answer->distances != NULL)
        for (uint32_t i = 0; i < found; i++)
            answer->distances[i] = hits[i].distance;
    if (answer->found != NULL) {
        *answer->found = found;
        return;
    }
    for (uint32_t i = found; i < k; i++) {
        answer->ids[i] = UINT64_MAX;
        if (answer->distances != NULL)
            answer->distances[i] = INFINITY;
    }
}

// In the gate.
omen_status
search_answer(struct visit *visit, struct search *search, const void *vector,
              const struct answer *answer, struct omen_error *error)
{
    struct search_query query = {
        .k = search->k, .excluded = HNSW_NONE, .exact = search->options->exact != 0};
    const struct hnsw_work before = search->work;
    uint32_t found = 0;
    omen_status status = search_vector(visit, search, vector, &query.vector, error);
    if (status == OMEN_OK)
        status = search_run(visit, search, &query, &found, error);
    if (status != OMEN_OK)
        return status;
    search_answer_fill(visit, found, search->k, answer);
    readers_count(&visit->shard->readers, visit_hint(visit), &before, &search->work);
    return OMEN_OK;
}

static omen_status
check_backend(const omen_query_options *options, struct omen_error *error)
{
    if (options->backend == OMEN_BACKEND_CUDA)
        return error_set(
            error, OMEN_E_UNSUPPORTED,
            "backend cuda is for batches of queries (omen_query_batch, omen_knn_exact)");
    return OMEN_OK;
}

omen_status
search_init_here(struct shard *shard, const omen_query_options *options, struct search *search,
                 struct omen_error *error)
{
    const omen_status status = check_backend(options, error);
    return status != OMEN_OK ? status : search_init(shard, options, search, error);
}

omen_status
shard_query(struct shard *shard, const void *vector, const omen_query_options *options,
            const struct answer *answer, struct omen_error *error)
{
    struct search search;
    struct visit visit;
    omen_status status = search_init_here(shard, options, &search, error);
    if (status == OMEN_OK)
        status = visit_begin(shard, &visit, error);
    if (status != OMEN_OK)
        return status;
    status = search_filter(&visit, &search, error);
    if (status == OMEN_OK)
        status = search_answer(&visit, &search, vector, answer, error);
    visit_finish(&visit, status == OMEN_OK ? &search.view : NULL);
    if (status == OMEN_OK)
        search_report(&search, options->report);
    return status;
}

// ---- none ----

static omen_status
check_filter(const omen_query_options *options, struct omen_error *error)
{
    const struct filter_key key = key_of(options);
    struct filter *filter = NULL;
    if (key.form == FILTER_FORM_NONE)
        return OMEN_OK;
    const omen_status status = filter_key_parse(&key, &filter, error);
    filter_close(filter);
    return status;
}

// In the order of shard_query, so that of two faults the same one is named.
omen_status
shard_query_check(struct shard *shard, const void *vector, const omen_query_options *options,
                  struct omen_error *error)
{
    const struct search aimless = {.options =
                                       options}; // what has no target is not kept to calibrate by
    const float *values;
    struct visit visit;
    omen_status status = check_backend(options, error);
    if (status == OMEN_OK)
        status = check_query(options, error);
    if (status == OMEN_OK)
        status = visit_begin(shard, &visit, error);
    if (status != OMEN_OK)
        return status;
    status = check_filter(options, error);
    if (status == OMEN_OK)
        status = search_vector(&visit, &aimless, vector, &values, error);
    visit_finish(&visit, NULL);
    return status;
}

// ---- many ----

struct batch_search {
    struct shard *shard;
    const struct queries *queries;
    const struct answers *answers;
    const struct search *search;
    size_t stride;
    uint32_t threads;
    _Atomic size_t next;     // the first query that nobody has taken
    _Atomic uint32_t failed; // 1: somebody failed, the rest may stop
    struct lock lock;        // of what follows
    struct search sum;
    size_t
        first_failure; // the smallest query that failed, so that the message does not depend on luck
    struct omen_error *error;
};

static omen_status
batch_chunk(struct batch_search *batch, size_t first, size_t end, struct search *search, size_t *at,
            struct omen_error *error)
{
    struct visit visit;
    *at = first;
    omen_status status = visit_begin(batch->shard, &visit, error);
    if (status != OMEN_OK)
        return status;
    status = search_filter(&visit, search, error);
    const uint32_t k = search->k;
    for (size_t i = first; i < end && status == OMEN_OK; i++) {
        const struct answer answer = {
            .ids = batch->answers->ids + i * k,
            .distances =
                batch->answers->distances != NULL ? batch->answers->distances + i * k : NULL,
        };
        *at = i;
        status =
            search_answer(&visit, search, (const char *)batch->queries->vectors + i * batch->stride,
                          &answer, error);
    }
    visit_finish(&visit, status == OMEN_OK ? &search->view : NULL);
    return status;
}

// The next queries for a thread: half of its share of what is left, so that all threads end at about the same time, whatever a query
// takes. False: none is left.
static bool
batch_take(struct batch_search *batch, size_t *first, size_t *end)
{
    size_t at = atomic_load_explicit(&batch->next, memory_order_relaxed);
    do {
        const size_t share = (batch->queries->count - at) / (2 * (size_t)batch->threads);
        if (at == batch->queries->count)
            return false;
        *first = at;
        *end = at + (share < 1 ? 1 : share < CHUNK_QUERIES ? share : CHUNK_QUERIES);
    } while (!atomic_compare_exchange_weak_explicit(&batch->next, &at, *end, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

static void
batch_note(struct batch_search *batch, const struct search *search)
{
    struct search *sum = &batch->sum;
    sum->work.evaluations += search->work.evaluations;
    sum->work.exact_distances += search->work.exact_distances;
    sum->work.tail += search->work.tail;
    sum->work.cut |= search->work.cut;
    sum->work.strategy = search->work.strategy;
    sum->warnings |= search->warnings;
    sum->view = search->view;
}

// The next queries; false: none is left. What was taken is searched even if others fail meanwhile.
static bool
batch_piece(void *context)
{
    struct batch_search *batch = context;
    struct search search = *batch->search;
    struct omen_error error;
    size_t first, end, at;
    if (atomic_load_explicit(&batch->failed, memory_order_relaxed) != 0 ||
        !batch_take(batch, &first, &end))
        return false;
    const omen_status status = batch_chunk(batch, first, end, &search, &at, &error);
    lock_acquire(&batch->lock);
    if (status == OMEN_OK) {
        batch_note(batch, &search);
    } else {
        atomic_store_explicit(&batch->failed, 1, memory_order_relaxed);
        if (at < batch->first_failure) {
            batch->first_failure = at;
            *batch->error = error;
        }
    }
    lock_release(&batch->lock);
    return true;
}

static void
batch_thread(void *context, uint32_t index, uint32_t worker)
{
    (void)index;
    (void)worker;
    while (batch_piece(context)) {
    }
}

// By whoever of the pool has nothing else to do, or by threads that are started for it.
static void
batch_run(struct batch_search *batch, const omen_query_options *options)
{
    struct pool *pool = batch->queries->pool;
    const size_t useful = batch->queries->count / THREAD_QUERIES + 1;
    uint32_t threads = pool != NULL            ? pool_threads(pool)
                       : options->threads != 0 ? options->threads
                                               : os_cpu_count();
    if (threads > useful)
        threads = (uint32_t)useful;
    if (threads > THREADS_MAX)
        threads = THREADS_MAX;
    batch->threads = threads;
    lock_init(&batch->lock);
    if (pool != NULL)
        pool_share(pool, threads, batch_piece, batch);
    else
        pool_run(threads, threads, batch_thread, batch);
    lock_fini(&batch->lock);
}

omen_status
shard_query_batch(struct shard *shard, const struct queries *queries,
                  const omen_query_options *options, const struct answers *answers,
                  struct omen_error *error)
{
    struct search search;
    omen_status status = search_init(shard, options, &search, error);
    if (status != OMEN_OK)
        return status;
    const size_t row_bytes =
        (size_t)shard->options.dimension * vector_type_bytes((enum vector_type)options->dtype);
    if (options->stride != 0 && options->stride < row_bytes)
        return error_set(error, OMEN_E_DIMENSION,
                         "stride is %zu bytes, but a query of %u components has %zu",
                         options->stride, shard->options.dimension, row_bytes);
    if (queries->count > BATCH_QUERIES_MAX)
        return error_set(error, OMEN_E_INVALID, "count is %zu; a batch has at most %zu queries",
                         queries->count, BATCH_QUERIES_MAX);
    const size_t stride = options->stride != 0 ? options->stride : row_bytes;
    if (options->backend == OMEN_BACKEND_CUDA) {
        const struct device_queries asked = {queries, answers, stride};
        return shard_query_device(shard, &asked, &search, error);
    }
    struct batch_search batch = {
        .shard = shard,
        .queries = queries,
        .answers = answers,
        .search = &search,
        .stride = stride,
        .sum = search,
        .first_failure = SIZE_MAX,
        .error = error,
    };
    batch_run(&batch, options);
    if (batch.first_failure != SIZE_MAX) {
        if (error->status == OMEN_E_NOT_FINITE || error->status == OMEN_E_ZERO_VECTOR)
            return error_set(error, error->status, "query %zu: %s", batch.first_failure,
                             error->text);
        return error->status;
    }
    search_report(&batch.sum, options->report);
    return OMEN_OK;
}
