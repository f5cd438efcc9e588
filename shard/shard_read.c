// shard/shard_read.c -- searches: what all of them do, one query, and none that is only looked at.
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
#include "base/prng.h"
#include "index/scratch.h"
#include "shard/shard_int.h"
#include "shard/vector_input.h"

#define STOP_NS UINT64_C(100000000) // between two questions whether to stop

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
        .given = query->given,
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
        // What was given was found since the visit began.
        const uint64_t before = inner.given != NULL
                                    ? visit->replacing
                                    : atomic_load_explicit(&shard->replacing, memory_order_acquire);
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
        inner.given = NULL; // which is of fewer
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

bool
search_stopped(const omen_query_options *options, uint64_t *asked_ns)
{
    const uint64_t now_ns = options->stop != NULL ? os_clock_ns() : 0;
    if (options->stop == NULL || now_ns - *asked_ns < STOP_NS)
        return false;
    *asked_ns = now_ns;
    return options->stop(options->context) != 0;
}

omen_status
search_cancelled(struct omen_error *error)
{
    return error_set(error, OMEN_E_CANCELLED, "stopped by who called");
}

// In the gate.
omen_status
search_answer(struct visit *visit, struct search *search, const void *vector,
              const struct hnsw_given *given, const struct answer *answer, struct omen_error *error)
{
    struct search_query query = {.k = search->k,
                                 .excluded = HNSW_NONE,
                                 .exact = search->options->exact != 0,
                                 .given = given};
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
        status = search_answer(&visit, &search, vector, NULL, answer, error);
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
