// shard/shard_device.c -- batches of searches by a GPU, over a copy of the index there.
//
// Shape: handle, in memory; the readers' side.
//
// The copy is made by the first batch that asks for a device and kept for the next ones; it is made anew when the index was
// compacted or has many rows more. What happened since is put right at the end, by rows: erased ones leave, later ones are
// compared exactly, and an id that is hit twice while an upsert exchanges rows is told apart as in shard_read.c.
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/os_cpu.h"
#include "gpu/mirror.h"
#include "shard/shard_int.h"

#define PIECE_QUERIES 16384u
#define SPARE_HITS 16u      // for those that are erased since, or the older row of an id
#define LATER_ROWS 1024u    // which are compared exactly before a new copy is worth it, and
#define LATER_SHARE 64u     // one in so many of the copy's
#define AUTO_COMPONENTS 1e9 // so many are compared before `auto` asks for a GPU

struct shard_device {
    struct device_handle device;
    struct gpu_mirror *mirror; // NULL, or of this generation
    uint32_t generation;
};

static void
mirror_drop(struct shard_device *own)
{
    gpu_mirror_close(own->mirror);
    own->mirror = NULL;
}

void
shard_device_close(struct shard *shard)
{
    struct shard_device *own = shard->device;
    if (own == NULL)
        return;
    mirror_drop(own);
    device_close(&own->device);
    mem_free(own);
    shard->device = NULL;
}

static omen_status
device_ready(struct shard *shard, struct omen_error *error)
{
    if (shard->device != NULL)
        return OMEN_OK;
    struct shard_device *own = mem_alloc_zero(1, sizeof *own);
    if (own == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    const omen_status status = device_open(DEVICE_REQUIRE, &own->device, error);
    if (status != OMEN_OK) {
        mem_free(own);
        return error_about(error, status, "backend cuda");
    }
    shard->device = own;
    return OMEN_OK;
}

// A copy that is good for the search: of this generation, of what it wants, and not far behind.
static omen_status
mirror_ready(struct shard_device *own, const struct generation *generation, enum mirror_of of,
             struct omen_error *error)
{
    const struct hnsw *hnsw = generation->hnsw;
    if (own->mirror != NULL) {
        const enum mirror_of has = gpu_mirror_has(own->mirror);
        const uint32_t rows = gpu_mirror_rows(own->mirror);
        const uint32_t now = has == MIRROR_GRAPH ? hnsw_linked(hnsw) : hnsw_count(hnsw);
        if (own->generation == generation->number && (has == of || has == MIRROR_GRAPH) &&
            now - rows <= LATER_ROWS + rows / LATER_SHARE)
            return OMEN_OK;
        mirror_drop(own);
    }
    own->generation = generation->number;
    return gpu_mirror_open(&own->device, hnsw, of, &own->mirror, error);
}

// ---- one piece of a batch ----

struct piece {
    struct visit *visit;
    struct search *search;
    const struct queries *queries;
    const struct answers *answers;
    size_t stride, first;
    uint32_t count;
    float *vectors;
    struct hit *hits;
    struct hnsw_query inner;
    uint64_t replacing;
};

static omen_status
piece_vectors(struct piece *piece, struct omen_error *error)
{
    const size_t dim = piece->visit->shard->options.dimension;
    for (uint32_t i = 0; i < piece->count; i++) {
        const size_t q = piece->first + i;
        const float *vector;
        const omen_status status = search_vector(
            piece->visit, piece->search, (const char *)piece->queries->vectors + q * piece->stride,
            &vector, error);
        if (status == OMEN_E_NOT_FINITE || status == OMEN_E_ZERO_VECTOR)
            return error_set(error, status, "query %zu: %s", q, error->text);
        if (status != OMEN_OK)
            return status;
        memcpy(piece->vectors + i * dim, vector, dim * sizeof *vector);
    }
    return OMEN_OK;
}

// What the device found for one query, made the answer of the index as it is now.
static omen_status
piece_finish(struct piece *piece, uint32_t i, uint32_t mirrored, struct omen_error *error)
{
    struct visit *visit = piece->visit;
    struct shard *shard = visit->shard;
    const struct hnsw *hnsw = visit->generation->hnsw;
    const uint32_t k = piece->search->k, wanted = piece->inner.k;
    const size_t q = piece->first + i;
    const struct answer answer = {
        .ids = piece->answers->ids + q * k,
        .distances = piece->answers->distances != NULL ? piece->answers->distances + q * k : NULL};
    struct hit *hits = visit->reader->hits;
    uint32_t found = 0;
    while (found < wanted && piece->hits[(size_t)i * wanted + found].slot != HNSW_NONE)
        found++;
    memcpy(hits, piece->hits + (size_t)i * wanted, found * sizeof *hits);
    piece->inner.vector = piece->vectors + (size_t)i * shard->options.dimension;
    const uint32_t full = found =
        hnsw_mirror_finish(hnsw, &piece->inner, mirrored, visit->reader->scratch, hits, found);
    if (piece->replacing % 2 != 0 ||
        atomic_load_explicit(&shard->replacing, memory_order_acquire) != piece->replacing) {
        if (reader_fit_places(visit->reader, full) != OMEN_OK)
            return error_set_plain(error, OMEN_E_NO_MEMORY);
        found = search_drop_older(visit, full);
    }
    if (found < k && full == wanted) // more were beside the point than there were to spare
        return search_answer(visit, piece->search,
                             (const char *)piece->queries->vectors + q * piece->stride, NULL,
                             &answer, error);
    search_answer_fill(visit, found < k ? found : k, k, &answer);
    const struct hnsw_work none = {0};
    readers_count(&shard->readers, visit_hint(visit), &none, &none);
    return OMEN_OK;
}

static omen_status
piece_run(struct piece *piece, struct gpu_mirror *mirror, struct omen_error *error)
{
    struct visit *visit = piece->visit;
    const omen_query_options *options = piece->search->options;
    struct gpu_batch batch = {
        .vectors = piece->vectors,
        .count = piece->count,
        .k = piece->inner.k,
        .beam = piece->inner.beam,
        .stop = piece->inner.stop,
        .allowed = piece->inner.allowed,
        .allowed_count = piece->inner.allowed_count,
        .threads = options->threads != 0 ? options->threads : os_cpu_count(),
        .hits = piece->hits,
    };
    if (batch.threads > THREADS_MAX)
        batch.threads = THREADS_MAX;
    omen_status status = piece_vectors(piece, error);
    if (status == OMEN_OK)
        status = options->exact != 0 ? gpu_mirror_knn(mirror, &batch, error)
                                     : gpu_mirror_search(mirror, &batch, error);
    const struct hnsw_work before = piece->search->work;
    piece->search->work.evaluations += options->exact != 0 ? 0 : batch.evaluations;
    piece->search->work.exact_distances += options->exact != 0 ? batch.evaluations : 0;
    piece->search->work.hops += batch.hops;
    piece->search->work.strategy = options->exact != 0     ? HNSW_SCANNED
                                   : batch.allowed != NULL ? HNSW_WALKED_FILTERED
                                                           : HNSW_WALKED;
    piece->inner.work = &piece->search->work;
    for (uint32_t i = 0; i < piece->count && status == OMEN_OK; i++)
        status = piece_finish(piece, i, gpu_mirror_rows(mirror), error);
    if (status == OMEN_OK)
        readers_count(&visit->shard->readers, visit_hint(visit), &before, &piece->search->work);
    return status;
}

// ---- a batch ----

// How the device is to search: as search_run would.
static void
plan(const struct visit *visit, struct search *search, struct hnsw_query *inner)
{
    const uint32_t spare =
        search->k + SPARE_HITS < DEVICE_KEPT_MAX ? search->k + SPARE_HITS : DEVICE_KEPT_MAX;
    *inner = (struct hnsw_query){
        .k = search->k > spare ? search->k : spare, .beam = search->beam, .excluded = HNSW_NONE};
    if (search->view.key.form != FILTER_FORM_NONE) {
        inner->allowed = &search->view.answer.allowed;
        inner->allowed_count = search->view.answer.count;
    }
    struct hnsw_query asked = *inner;
    asked.k = search->k;
    if (search->target != 0.0 && search->options->exact == 0) {
        if (!tuning_apply(visit->shard, search->target, &asked))
            search->warnings |= OMEN_WARN_NOT_CALIBRATED;
        inner->beam = asked.beam < DEVICE_KEPT_MAX ? asked.beam : DEVICE_KEPT_MAX;
        inner->stop = asked.stop;
    }
}

static omen_status
run_pieces(struct piece *piece, struct shard_device *own, struct omen_error *error)
{
    const size_t count = piece->queries->count;
    const size_t most = count < PIECE_QUERIES ? count : PIECE_QUERIES;
    const size_t dim = piece->visit->shard->options.dimension;
    piece->vectors = mem_alloc(most * dim * sizeof *piece->vectors);
    piece->hits = mem_alloc(most * piece->inner.k * sizeof *piece->hits);
    omen_status status = piece->vectors != NULL && piece->hits != NULL
                             ? OMEN_OK
                             : error_set_plain(error, OMEN_E_NO_MEMORY);
    for (piece->first = 0; piece->first < count && status == OMEN_OK;
         piece->first += PIECE_QUERIES) {
        const size_t left = count - piece->first;
        piece->count = (uint32_t)(left < PIECE_QUERIES ? left : PIECE_QUERIES);
        status = piece_run(piece, own->mirror, error);
    }
    mem_free(piece->vectors);
    mem_free(piece->hits);
    return status;
}

// In the gate, under the device's lock.
static omen_status
batch_run(struct piece *piece, struct omen_error *error)
{
    struct visit *visit = piece->visit;
    struct shard *shard = visit->shard;
    const struct hnsw *hnsw = visit->generation->hnsw;
    const enum mirror_of of = piece->search->options->exact != 0 ? MIRROR_ROWS : MIRROR_GRAPH;
    omen_status status = device_ready(shard, error);
    if (status == OMEN_OK)
        status = mirror_ready(shard->device, visit->generation, of, error);
    plan(visit, piece->search, &piece->inner);
    piece->replacing = atomic_load_explicit(&shard->replacing, memory_order_acquire);
    if (status == OMEN_OK &&
        reader_fit(visit->reader, hnsw, piece->inner.k, piece->inner.beam) != OMEN_OK)
        status = error_set_plain(error, OMEN_E_NO_MEMORY);
    if (status == OMEN_OK)
        status = run_pieces(piece, shard->device, error);
    if (status == OMEN_E_INTERNAL)
        shard_device_close(shard);
    return status;
}

static omen_status
check_device_query(const omen_query_options *options, struct omen_error *error)
{
    if (options->deadline_us != 0)
        return error_set(error, OMEN_E_UNSUPPORTED, "backend cuda keeps no deadline_us");
    if (options->oversample != 0)
        return error_set(error, OMEN_E_UNSUPPORTED,
                         "backend cuda chooses oversample by itself; it is %u",
                         options->oversample);
    return OMEN_OK;
}

omen_status
shard_query_device(struct shard *shard, const struct device_queries *asked, struct search *search,
                   struct omen_error *error)
{
    struct visit visit;
    omen_status status = check_device_query(search->options, error);
    if (status == OMEN_OK)
        status = visit_begin(shard, &visit, error);
    if (status != OMEN_OK)
        return status;
    status = search_filter(&visit, search, error);
    struct piece piece = {.visit = &visit,
                          .search = search,
                          .queries = asked->queries,
                          .answers = asked->answers,
                          .stride = asked->stride};
    lock_acquire(&shard->device_lock);
    if (status == OMEN_OK && asked->queries->count > 0)
        status = batch_run(&piece, error);
    lock_release(&shard->device_lock);
    visit_finish(&visit, status == OMEN_OK ? &search->view : NULL);
    if (status == OMEN_OK)
        search_report(search, search->options->report);
    return status;
}

omen_status
shard_knn_exact(struct shard *shard, const struct queries *queries,
                const omen_query_options *options, const struct answers *answers,
                struct omen_error *error)
{
    omen_query_options exact = *options;
    exact.exact = 1;
    if (options->backend != OMEN_BACKEND_AUTO)
        return shard_query_batch(shard, queries, &exact, answers, error);
    uint64_t rows = 0;
    const omen_status counted = shard_count(shard, NULL, &rows, error);
    if (counted != OMEN_OK)
        return counted;
    const double components =
        (double)queries->count * (double)rows * (double)shard->options.dimension;
    if (components >= AUTO_COMPONENTS && options->k + SPARE_HITS <= DEVICE_KNN_MAX &&
        options->deadline_us == 0 && options->oversample == 0) {
        exact.backend = OMEN_BACKEND_CUDA;
        const omen_status status = shard_query_batch(shard, queries, &exact, answers, error);
        if (status != OMEN_E_UNSUPPORTED && status != OMEN_E_NO_MEMORY && status != OMEN_E_INTERNAL)
            return status;
    }
    exact.backend = OMEN_BACKEND_CPU;
    return shard_query_batch(shard, queries, &exact, answers, error);
}
