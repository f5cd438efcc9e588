// shard/shard_batch.c -- many queries at once: by threads that share them, or by a device.
//
// Shape: handle, in memory; the readers' side.
//
// Threads take a few queries at a time and are in the gate for those alone, so a long batch keeps nothing from being freed that writers
// gave up. A query that fails ends the batch; of several the first is told, so that the message does not depend on luck.
#include "base/limits.h"
#include "base/os_clock.h"
#include "base/os_cpu.h"
#include "base/pool.h"
#include "shard/shard_int.h"
#include "shard/vector_input.h"

#define CHUNK_QUERIES 32u  // handed to a thread at once, at the most
#define THREAD_QUERIES 16u // fewer do not pay for starting one
#define BATCH_QUERIES_MAX ((size_t)UINT32_MAX * 8)

struct batch_search {
    struct shard *shard;
    const struct queries *queries;
    const struct answers *answers;
    const struct search *search;
    size_t stride;
    uint32_t threads;
    _Atomic size_t next;     // the first query that nobody has taken
    _Atomic uint32_t failed; // 1: somebody failed, the rest may stop
    bool stopped;            // by who called; that thread's
    struct lock lock;        // of what follows
    struct search sum;
    size_t first_failure; // the first query that failed
    struct omen_error *error;
};

static const void *
batch_vector(const struct batch_search *batch, size_t i)
{
    return (const char *)batch->queries->vectors + i * batch->stride;
}

// Compares the rows that each query of [first, end) would compare with all of them at once. False: each does it for itself; also where
// one cannot be asked, which is then told of that one.
static bool
chunk_compare(struct batch_search *batch, struct visit *visit, const struct search *search,
              size_t first, size_t end)
{
    const struct hnsw *hnsw = visit->generation->hnsw;
    struct reader *reader = visit->reader;
    const uint32_t count = (uint32_t)(end - first), dim = batch->shard->options.dimension;
    const bool exact = search->options->exact != 0,
               filtered = search->view.key.form != FILTER_FORM_NONE;
    struct hnsw_query of = {.excluded = HNSW_NONE, .deadline_ns = search->deadline_ns};
    struct omen_error error;
    if ((filtered && !exact) || !many_begin(&reader->many, hnsw, count, search->k, exact) ||
        reader_fit(reader, hnsw, search->k, 0) != OMEN_OK ||
        reader_fit_vector(reader, dim) != OMEN_OK)
        return false;
    for (size_t i = first; i < end; i++) {
        const struct vector_rows row = {.rows = batch_vector(batch, i),
                                        .count = 1,
                                        .dim = dim,
                                        .type = (enum vector_type)search->options->dtype};
        if (vector_input_query(&row, (enum metric)batch->shard->options.metric, reader->vector,
                               &of.vector, &error) != OMEN_OK)
            return false;
        many_add(&reader->many, hnsw, &of, reader->scratch);
    }
    if (filtered) {
        of.allowed = &search->view.answer.allowed;
        of.allowed_count = search->view.answer.count;
    }
    many_compare(&reader->many, hnsw, &of);
    return true;
}

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
    const bool many = status == OMEN_OK && chunk_compare(batch, &visit, search, first, end);
    for (size_t i = first; i < end && status == OMEN_OK; i++) {
        const struct answer answer = {
            .ids = batch->answers->ids + i * k,
            .distances =
                batch->answers->distances != NULL ? batch->answers->distances + i * k : NULL,
        };
        struct hnsw_given given;
        if (many)
            given = many_given(&visit.reader->many, (uint32_t)(i - first));
        *at = i;
        status = search_answer(&visit, search, batch_vector(batch, i), many ? &given : NULL,
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
    struct batch_search *batch = context;
    uint64_t asked_ns = os_clock_ns();
    (void)index;
    while (batch_piece(batch)) {
        if (worker != 0 || !search_stopped(batch->search->options, &asked_ns))
            continue;
        batch->stopped = true;
        atomic_store_explicit(&batch->failed, 1, memory_order_relaxed);
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
    if (batch.stopped)
        return search_cancelled(error);
    search_report(&batch.sum, options->report);
    return OMEN_OK;
}
