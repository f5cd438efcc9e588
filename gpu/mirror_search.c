// gpu/mirror_search.c -- batches of searches of a copy of an index on a device.
//
// Shape: handle.
//
// A batch is cut into chunks. Threads code the queries of one chunk after the other, 32 at a time, into pinned memory; as soon
// as a chunk is whole the caller's thread sends it to the device and goes on coding. Answers are written by the device to
// pinned memory directly. So the device works from the first chunk on, and one wait ends the batch.
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/pool.h"
#include "gpu/mirror_int.h"

#define ROUND_QUERIES 16384u // of a batch, before it is waited for
#define CHUNK_QUERIES 2048u
#define UNIT_QUERIES 32u
#define ALIGN 256u
#define KEPT_LEAST 32u
#define SCAN_SHARE 8u // a filter that lets through less than one in so many rows is a scan
#define STOP_DEPTH 10u

// ---- batches ----

// Where the parts of a chunk lie in staged and sent memory.
struct chunk_layout {
    size_t queries, prepared, bytes; // codes are at 0
};

struct round {
    struct gpu_mirror *mirror;
    struct gpu_batch *batch;
    uint32_t first, count; // of the batch's queries
    uint32_t kept, beam, parents;
    bool scan, filtered;
    struct chunk_layout layout;
    uint32_t issued; // chunks; the caller's thread
    omen_status status;
    _Atomic uint32_t coded[ROUND_QUERIES / CHUNK_QUERIES]; // units of each chunk
};

static size_t
aligned(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

static struct chunk_layout
chunk_layout(const struct gpu_mirror *mirror, uint32_t queries)
{
    struct chunk_layout layout;
    layout.queries = aligned((size_t)queries * mirror->rows.stride);
    layout.prepared = layout.queries + aligned(queries * sizeof(struct device_query));
    layout.bytes = layout.prepared + aligned((size_t)queries * mirror->shape.dim * sizeof(float));
    return layout;
}

static uint32_t
chunk_queries(const struct round *round, uint32_t chunk)
{
    const uint32_t left = round->count - chunk * CHUNK_QUERIES;
    return left < CHUNK_QUERIES ? left : CHUNK_QUERIES;
}

// Codes one query of a chunk.
static void
code_query(const struct round *round, uint32_t at, struct scratch *scratch)
{
    const struct gpu_mirror *mirror = round->mirror;
    const uint32_t dim = mirror->shape.dim, stride = mirror->rows.stride;
    uint8_t *chunk = (uint8_t *)mirror->staged.memory + at / CHUNK_QUERIES * round->layout.bytes;
    const uint32_t i = at % CHUNK_QUERIES;
    const float *vector = round->batch->vectors + (size_t)(round->first + at) * dim;
    float *prepared = (float *)(void *)(chunk + round->layout.prepared) + (size_t)i * dim;
    struct mirror_query query;
    if (mirror->of == MIRROR_ROWS) {
        hnsw_mirror_prepare(mirror->hnsw, vector, prepared);
        return;
    }
    hnsw_mirror_query(mirror->hnsw, vector, scratch, prepared, (int8_t *)chunk + (size_t)i * stride,
                      stride, &query);
    ((struct device_query *)(void *)(chunk + round->layout.queries))[i] =
        (struct device_query){query.offset, query.scale, query.norm_scale, query.margin};
}

static omen_status
issue_walk(const struct round *round, uint32_t count, const uint8_t *sent, uint64_t *keys,
           struct device_work *work)
{
    const struct gpu_mirror *mirror = round->mirror;
    const struct gpu_batch *batch = round->batch;
    const uint32_t stop_k = batch->k > STOP_DEPTH ? batch->k : STOP_DEPTH;
    const struct device_walk walk = {
        .rows = mirror->rows,
        .blocks = mirror->blocks,
        .links_max = mirror->shape.links_max,
        .width = mirror->shape.link_bytes,
        .entries = mirror->entries,
        .entry_count = mirror->entry_count,
        .erased = mirror->erased_count > 0 ? mirror->erased : NULL,
        .allowed = round->filtered ? mirror->allowed : NULL,
        .codes = (const int8_t *)sent,
        .queries = (const struct device_query *)(const void *)(sent + round->layout.queries),
        .count = count,
        .beam = round->beam,
        .kept = round->kept,
        .parents = round->parents,
        .stop_k = stop_k < round->kept ? stop_k : round->kept,
        .stop = batch->stop,
        .keys = keys,
        .work = work,
    };
    return mirror->device.ops->walk(mirror->device.device, &walk);
}

// Sends the next chunk and has the device search for it.
static omen_status
issue(struct round *round)
{
    const struct gpu_mirror *mirror = round->mirror;
    const struct device_ops *ops = mirror->device.ops;
    struct device *device = mirror->device.device;
    const uint32_t chunk = round->issued, count = chunk_queries(round, chunk);
    const uint32_t k = round->batch->k;
    uint8_t *sent = (uint8_t *)mirror->sent.memory + chunk * round->layout.bytes;
    struct hit *hits = (struct hit *)mirror->hits.memory + (size_t)chunk * CHUNK_QUERIES * k;
    const float *prepared = (const float *)(const void *)(sent + round->layout.prepared);
    const uint32_t *erased = mirror->erased_count > 0 ? mirror->erased : NULL;
    const uint32_t *allowed = round->filtered ? mirror->allowed : NULL;
    omen_status status =
        ops->put(device, sent, (const uint8_t *)mirror->staged.memory + chunk * round->layout.bytes,
                 round->layout.prepared + (size_t)count * mirror->shape.dim * sizeof(float));
    if (status == OMEN_OK && round->scan) {
        const struct device_knn knn = {mirror->vectors, prepared, erased, allowed, count, k, hits};
        return ops->knn(device, &knn);
    }
    uint64_t *keys = (uint64_t *)mirror->keys.memory + (size_t)chunk * CHUNK_QUERIES * round->kept;
    if (status == OMEN_OK)
        status =
            issue_walk(round, count, sent, keys,
                       (struct device_work *)mirror->work.memory + (size_t)chunk * CHUNK_QUERIES);
    const struct device_rerank rerank = {
        .vectors = mirror->vectors,
        .prepared = prepared,
        .queries = (const struct device_query *)(const void *)(sent + round->layout.queries),
        .erased = erased,
        .allowed = allowed,
        .keys = keys,
        .count = count,
        .width = round->kept,
        .k = k,
        .hits = hits,
    };
    return status == OMEN_OK ? ops->rerank(device, &rerank) : status;
}

static void
issue_ready(struct round *round)
{
    const uint32_t chunks = (round->count + CHUNK_QUERIES - 1) / CHUNK_QUERIES;
    while (round->status == OMEN_OK && round->issued < chunks) {
        const uint32_t units =
            (chunk_queries(round, round->issued) + UNIT_QUERIES - 1) / UNIT_QUERIES;
        if (atomic_load_explicit(&round->coded[round->issued], memory_order_acquire) < units)
            return;
        round->status = issue(round);
        round->issued++;
    }
}

static void
code_unit(void *context, uint32_t index, uint32_t worker)
{
    struct round *round = context;
    const uint32_t first = index * UNIT_QUERIES;
    const uint32_t left = round->count - first;
    for (uint32_t i = 0; i < (left < UNIT_QUERIES ? left : UNIT_QUERIES); i++)
        code_query(round, first + i, round->mirror->scratch[worker]);
    atomic_fetch_add_explicit(&round->coded[first / CHUNK_QUERIES], 1, memory_order_release);
    if (worker == 0)
        issue_ready(round);
}

static omen_status
room_fit(struct gpu_mirror *mirror, struct room *room, size_t bytes, bool pinned)
{
    const struct device_ops *ops = mirror->device.ops;
    struct device *device = mirror->device.device;
    if (room->bytes >= bytes)
        return OMEN_OK;
    (pinned ? ops->host_free : ops->free)(device, room->memory);
    *room = (struct room){NULL, 0};
    const omen_status status =
        (pinned ? ops->host_alloc : ops->alloc)(device, bytes, &room->memory);
    if (status == OMEN_OK)
        room->bytes = bytes;
    return status;
}

// Memory for the round.
static omen_status
round_fit(struct round *round, uint32_t threads)
{
    struct gpu_mirror *mirror = round->mirror;
    const uint32_t chunks = (round->count + CHUNK_QUERIES - 1) / CHUNK_QUERIES;
    round->layout =
        chunk_layout(mirror, round->count < CHUNK_QUERIES ? round->count : CHUNK_QUERIES);
    const size_t queries = (size_t)chunks * CHUNK_QUERIES;
    omen_status status = room_fit(mirror, &mirror->staged, chunks * round->layout.bytes, true);
    if (status == OMEN_OK)
        status = room_fit(mirror, &mirror->sent, chunks * round->layout.bytes, false);
    if (status == OMEN_OK)
        status = room_fit(mirror, &mirror->keys, queries * round->kept * sizeof(uint64_t), false);
    if (status == OMEN_OK)
        status =
            room_fit(mirror, &mirror->hits, queries * round->batch->k * sizeof(struct hit), true);
    if (status == OMEN_OK)
        status = room_fit(mirror, &mirror->work, queries * sizeof(struct device_work), true);
    for (uint32_t i = 0; i < threads && status == OMEN_OK; i++) {
        if (mirror->scratch[i] == NULL)
            status = scratch_open(&mirror->scratch[i]);
        if (status == OMEN_OK)
            status = scratch_fit(mirror->scratch[i], mirror->hnsw, round->batch->k, 0);
    }
    return status;
}

static void
round_collect(const struct round *round)
{
    const struct gpu_mirror *mirror = round->mirror;
    struct gpu_batch *batch = round->batch;
    memcpy(batch->hits + (size_t)round->first * batch->k, mirror->hits.memory,
           (size_t)round->count * batch->k * sizeof *batch->hits);
    const struct device_work *work = mirror->work.memory;
    for (uint32_t i = 0; i < round->count && !round->scan; i++) {
        batch->evaluations += work[i].evaluations;
        batch->hops += work[i].hops;
    }
    if (round->scan)
        batch->evaluations += (uint64_t)round->count * mirror->shape.rows;
}

static omen_status
round_run(struct round *round, struct omen_error *error)
{
    struct gpu_mirror *mirror = round->mirror;
    const uint32_t units = (round->count + UNIT_QUERIES - 1) / UNIT_QUERIES;
    const uint32_t threads = round->batch->threads < units ? round->batch->threads : units;
    omen_status status = round_fit(round, threads);
    if (status != OMEN_OK)
        return mirror_say(mirror, status, "memory for a batch on the device", error);
    memset(round->coded, 0, sizeof round->coded);
    round->issued = 0;
    round->status = OMEN_OK;
    pool_run(threads, units, code_unit, round);
    issue_ready(round);
    status = mirror->device.ops->wait(mirror->device.device);
    if (round->status != OMEN_OK)
        status = round->status;
    if (status != OMEN_OK)
        return mirror_say(mirror, status, "searching on the device", error);
    round_collect(round);
    return OMEN_OK;
}

// ---- what may answer ----

static omen_status
send_erased(struct gpu_mirror *mirror)
{
    const uint32_t words = bitmap_words(mirror->shape.rows);
    const uint32_t erased = hnsw_count(mirror->hnsw) - hnsw_live(mirror->hnsw);
    if (erased == mirror->erased_count)
        return OMEN_OK;
    uint64_t *copy = mem_alloc(mirror_bit_bytes(mirror));
    if (copy == NULL)
        return OMEN_E_NO_MEMORY;
    for (uint32_t i = 0; i < words; i++)
        copy[i] = hnsw_erased_word(mirror->hnsw, i);
    omen_status status = mirror->device.ops->put(mirror->device.device, mirror->erased, copy,
                                                 mirror_bit_bytes(mirror));
    if (status == OMEN_OK)
        status = mirror->device.ops->wait(mirror->device.device);
    mem_free(copy);
    if (status == OMEN_OK)
        mirror->erased_count = erased;
    return status;
}

static omen_status
send_allowed(struct gpu_mirror *mirror, const struct bitmap *allowed)
{
    const struct device_ops *ops = mirror->device.ops;
    struct device *device = mirror->device.device;
    const size_t whole = mirror_bit_bytes(mirror);
    const size_t there = (size_t)bitmap_words(allowed->count) * sizeof(uint64_t);
    omen_status status = ops->fill(device, mirror->allowed, 0, whole);
    if (status == OMEN_OK)
        status = ops->put(device, mirror->allowed, allowed->words, there < whole ? there : whole);
    return status == OMEN_OK ? ops->wait(device) : status;
}

// ---- how to walk ----

static uint32_t
kept_for(uint32_t least)
{
    uint32_t kept = KEPT_LEAST;
    while (kept < least && kept < DEVICE_KEPT_MAX)
        kept *= 2;
    return kept;
}

// Few queries leave a device idle: then a step of each asks for more at once.
static uint32_t
parents_for(uint32_t count)
{
    return count >= 1024 ? 1 : count >= 256 ? 2 : 4;
}

static void
plan_walk(struct round *round)
{
    const struct gpu_batch *batch = round->batch;
    const uint32_t k = batch->k, beam = batch->beam > k ? batch->beam : k;
    // A half more than is asked for, so that rows can decide about those beside the k-th.
    const uint32_t room = k + k / 2 + 6;
    round->beam = beam;
    round->kept = kept_for(beam > room ? beam : room);
    round->parents = batch->parents > 0 ? batch->parents : parents_for(round->count);
    if (!round->filtered)
        return;
    const double share = (double)batch->allowed_count / (double)round->mirror->shape.rows;
    round->beam = k + (uint32_t)((double)(beam - k) * sqrt(share < 1.0 ? share : 1.0));
    // What leads on must hold as many as have that number among them.
    round->kept = kept_for((uint32_t)((double)round->kept / (share < 1.0 ? share : 1.0)));
}

static omen_status
run(struct gpu_mirror *mirror, struct gpu_batch *batch, bool scan, struct omen_error *error)
{
    ASSERT(batch->k >= 1 && batch->threads >= 1 && batch->threads <= THREADS_MAX);
    if (batch->k > DEVICE_KEPT_MAX || (!scan && batch->beam > DEVICE_KEPT_MAX))
        return error_set(error, OMEN_E_INVALID, "%s is %u; a search on a device has at most %u",
                         batch->k > DEVICE_KEPT_MAX ? "k" : "ef",
                         batch->k > DEVICE_KEPT_MAX ? batch->k : batch->beam, DEVICE_KEPT_MAX);
    omen_status status = send_erased(mirror);
    if (status == OMEN_OK && batch->allowed != NULL)
        status = send_allowed(mirror, batch->allowed);
    if (status != OMEN_OK)
        return mirror_say(mirror, status, "sending what may answer to the device", error);
    const bool few =
        batch->allowed != NULL && batch->allowed_count < mirror->shape.rows / SCAN_SHARE;
    for (uint32_t first = 0; first < batch->count; first += ROUND_QUERIES) {
        const uint32_t left = batch->count - first;
        struct round round = {.mirror = mirror,
                              .batch = batch,
                              .first = first,
                              .count = left < ROUND_QUERIES ? left : ROUND_QUERIES,
                              .scan = scan || few || mirror->of == MIRROR_ROWS,
                              .filtered = batch->allowed != NULL};
        plan_walk(&round);
        status = round_run(&round, error);
        if (status != OMEN_OK)
            return status;
    }
    return OMEN_OK;
}

omen_status
gpu_mirror_search(struct gpu_mirror *mirror, struct gpu_batch *batch, struct omen_error *error)
{
    return run(mirror, batch, false, error);
}

omen_status
gpu_mirror_knn(struct gpu_mirror *mirror, struct gpu_batch *batch, struct omen_error *error)
{
    return run(mirror, batch, true, error);
}
