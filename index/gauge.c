// index/gauge.c -- how well links lead to rows' own nearest neighbours.
//
// Shape: handle that lives for some measurements.
#include "index/gauge.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/pool.h"
#include "index/hnsw_int.h"
#include "index/vector.h"

#define STARTS 64u // rows of which the nearest begin
#define BEGIN 4u
#define COST_MAX (UINT64_C(256) << 30) // bytes of rows that exact search may read
#define QUERIES_MIN 100u

struct gauge {
    const struct hnsw *hnsw;
    const uint32_t *slots;
    uint32_t count, queries, threads;
    struct bitmap counted; // the slots of the list
    float *farthest;       // of each query, the last of its nearest
    uint32_t *found;       // how many there were
    const struct build_graph *graph;
    _Atomic uint64_t right, wanted;
    _Atomic int status;
    struct scratch **scratches; // one a thread
};

static uint32_t
query_row(const struct gauge *gauge, uint32_t query)
{
    return (uint32_t)((uint64_t)gauge->count * query / gauge->queries);
}

// A stored row as a user's query.
static struct hnsw_query
query_of(const struct gauge *gauge, uint32_t slot, float *vector)
{
    const struct hnsw_config *config = &gauge->hnsw->config;
    vector_to_f32(config->type, arena_row(&gauge->hnsw->rows, slot), config->dim, vector);
    return (struct hnsw_query){.vector = vector,
                               .k = GAUGE_K,
                               .excluded = slot,
                               .allowed = &gauge->counted,
                               .allowed_count = gauge->count};
}

static void
find_truth(void *context, uint32_t index, uint32_t worker)
{
    struct gauge *gauge = context;
    struct hit hits[GAUGE_K];
    float *vector = mem_alloc(gauge->hnsw->config.dim * sizeof *vector);
    if (vector == NULL) {
        atomic_store(&gauge->status, OMEN_E_NO_MEMORY);
        return;
    }
    const struct hnsw_query query = query_of(gauge, gauge->slots[query_row(gauge, index)], vector);
    gauge->found[index] = hnsw_scan(gauge->hnsw, &query, gauge->scratches[worker], hits);
    gauge->farthest[index] =
        gauge->found[index] > 0 ? hits[gauge->found[index] - 1].distance : 0.0f;
    mem_free(vector);
}

static omen_status
open_memory(struct gauge *gauge)
{
    const uint32_t rows = hnsw_count(gauge->hnsw);
    gauge->counted.count = rows;
    gauge->counted.words = mem_alloc_zero(bitmap_words(rows) + 1, sizeof *gauge->counted.words);
    gauge->farthest = mem_alloc_zero(gauge->queries, sizeof *gauge->farthest);
    gauge->found = mem_alloc_zero(gauge->queries, sizeof *gauge->found);
    gauge->scratches = mem_alloc_zero(gauge->threads, sizeof *gauge->scratches);
    if (gauge->counted.words == NULL || gauge->farthest == NULL || gauge->found == NULL ||
        gauge->scratches == NULL)
        return OMEN_E_NO_MEMORY;
    omen_status status = OMEN_OK;
    for (uint32_t i = 0; i < gauge->threads && status == OMEN_OK; i++) {
        status = scratch_open(&gauge->scratches[i]);
        if (status == OMEN_OK)
            status = scratch_fit(gauge->scratches[i], gauge->hnsw, GAUGE_K, GAUGE_BEAM);
    }
    return status;
}

omen_status
gauge_open(const struct hnsw *hnsw, const uint32_t *slots, uint32_t count, uint32_t threads,
           struct gauge **out)
{
    *out = NULL;
    if (count == 0)
        return OMEN_OK;
    struct gauge *gauge = mem_alloc_zero(1, sizeof *gauge);
    if (gauge == NULL)
        return OMEN_E_NO_MEMORY;
    const uint64_t affordable = COST_MAX / ((uint64_t)count * hnsw->row_bytes);
    const uint32_t queries = affordable < QUERIES_MIN     ? QUERIES_MIN
                             : affordable < GAUGE_QUERIES ? (uint32_t)affordable
                                                          : GAUGE_QUERIES;
    gauge->hnsw = hnsw;
    gauge->slots = slots;
    gauge->count = count;
    gauge->queries = queries < count ? queries : count;
    gauge->threads = threads;
    omen_status status = open_memory(gauge);
    if (status == OMEN_OK) {
        for (uint32_t row = 0; row < count; row++)
            bitmap_set(&gauge->counted, slots[row]);
        pool_run(threads, gauge->queries, find_truth, gauge);
        status = atomic_load(&gauge->status);
    }
    if (status == OMEN_OK)
        *out = gauge;
    else
        gauge_close(gauge);
    return status;
}

void
gauge_close(struct gauge *gauge)
{
    if (gauge == NULL)
        return;
    for (uint32_t i = 0; gauge->scratches != NULL && i < gauge->threads; i++)
        scratch_close(gauge->scratches[i]);
    mem_free(gauge->scratches);
    mem_free(gauge->counted.words);
    mem_free(gauge->farthest);
    mem_free(gauge->found);
    mem_free(gauge);
}

// ---- walks ----

struct gauge_walk {
    const struct gauge *gauge;
    const struct row_query *exact;
    float shift; // so that no distance is below zero
    struct nearest list;
    uint64_t keys[GAUGE_BEAM + NEAREST_SPARE];
    uint64_t *visited;
};

static bool
is_new(struct gauge_walk *walk, uint32_t slot)
{
    const uint64_t bit = UINT64_C(1) << (slot & 63);
    const bool fresh = (walk->visited[slot >> 6] & bit) == 0;
    walk->visited[slot >> 6] |= bit;
    return fresh;
}

static void
meet(struct gauge_walk *walk, const uint32_t *slots, uint32_t count)
{
    const struct hnsw *hnsw = walk->gauge->hnsw;
    const void *rows[BATCH_MAX];
    float distances[BATCH_MAX];
    uint32_t fresh[BATCH_MAX], kept = 0;
    for (uint32_t i = 0; i < count; i++)
        if (is_new(walk, slots[i]))
            fresh[kept++] = slots[i];
    for (uint32_t i = 0; i < kept; i++)
        rows[i] = arena_row(&hnsw->rows, fresh[i]);
    if (kept > 0)
        rows_measure(hnsw, walk->exact, rows, kept, distances);
    for (uint32_t i = 0; i < kept; i++) {
        const float distance = distances[i] + walk->shift;
        nearest_insert(&walk->list, nearest_key(distance > 0.0f ? distance : 0.0f, fresh[i]));
    }
}

static uint32_t
row_of(const struct gauge *gauge, uint32_t slot)
{
    uint32_t low = 0, end = gauge->count;
    while (low < end) {
        const uint32_t middle = low + (end - low) / 2;
        if (gauge->slots[middle] < slot)
            low = middle + 1;
        else
            end = middle;
    }
    return low;
}

static uint32_t
links_of(const struct gauge *gauge, uint32_t slot, uint32_t *links)
{
    const struct build_graph *graph = gauge->graph;
    if (graph == NULL)
        return graph_read(&gauge->hnsw->graph, slot, gauge->counted.count, links);
    const uint32_t row = row_of(gauge, slot);
    const uint32_t *rows = graph->links + (size_t)row * graph->links_max;
    for (uint32_t i = 0; i < graph->counts[row]; i++)
        links[i] = gauge->slots[rows[i]];
    return graph->counts[row];
}

static void
meet_all(struct gauge_walk *walk, const uint32_t *slots, uint32_t count)
{
    for (uint32_t at = 0; at < count; at += BATCH_MAX)
        meet(walk, slots + at, count - at < BATCH_MAX ? count - at : BATCH_MAX);
}

// Of the starts, the nearest alone lead on.
static void
enter(struct gauge_walk *walk)
{
    const struct gauge *gauge = walk->gauge;
    uint32_t slots[STARTS];
    const uint32_t starts = gauge->count < STARTS ? gauge->count : STARTS;
    for (uint32_t i = 0; i < starts; i++)
        slots[i] = gauge->slots[(uint64_t)gauge->count * i / starts];
    walk->list.capacity = BEGIN;
    meet_all(walk, slots, starts);
    walk->list.capacity = GAUGE_BEAM;
}

static void
walk_on(struct gauge_walk *walk)
{
    uint32_t links[LINK_ROW_MAX];
    for (uint32_t at = 0; at < walk->list.count;) {
        uint64_t *const key = &walk->list.keys[at];
        if ((*key & NEAREST_FLAG) != 0) {
            at++;
            continue;
        }
        const uint32_t slot = nearest_slot(*key);
        *key |= NEAREST_FLAG;
        meet_all(walk, links, links_of(walk->gauge, slot, links));
        at = 0;
    }
}

// An answer counts when it is no farther than the last of the nearest, so that equal distances do no harm.
static void
count_right(struct gauge *gauge, uint32_t query, uint32_t own, const struct gauge_walk *walk)
{
    struct hit hits[GAUGE_BEAM];
    struct hit_heap heap = {.hits = hits, .keep = gauge->found[query]};
    uint32_t slots[GAUGE_BEAM], count = 0, right = 0;
    for (uint32_t i = 0; i < walk->list.count; i++) {
        const uint32_t slot = nearest_slot(walk->list.keys[i]);
        if (slot != own && bitmap_test(&gauge->counted, slot) &&
            !atomic_bit_test(gauge->hnsw->erased, slot))
            slots[count++] = slot;
    }
    for (uint32_t at = 0; at < count; at += BATCH_MAX)
        exact_slots(gauge->hnsw, walk->exact, slots + at,
                    count - at < BATCH_MAX ? count - at : BATCH_MAX, &heap);
    for (uint32_t i = 0; i < heap.count; i++)
        right += hits[i].distance <= gauge->farthest[query];
    atomic_fetch_add(&gauge->right, right);
    atomic_fetch_add(&gauge->wanted, gauge->found[query]);
}

static void
ask(void *context, uint32_t index, uint32_t worker)
{
    struct gauge *gauge = context;
    const struct hnsw *hnsw = gauge->hnsw;
    const uint32_t own = gauge->slots[query_row(gauge, index)];
    float *vector = mem_alloc(hnsw->config.dim * sizeof *vector);
    struct gauge_walk *walk = mem_alloc_zero(1, sizeof *walk);
    uint64_t *visited = mem_alloc_zero(bitmap_words(gauge->counted.count) + 1, sizeof *visited);
    if (gauge->found[index] > 0 && vector != NULL && walk != NULL && visited != NULL) {
        const struct hnsw_query query = query_of(gauge, own, vector);
        const struct row_query exact = exact_query(hnsw, &query, gauge->scratches[worker]);
        walk->gauge = gauge;
        walk->exact = &exact;
        walk->shift = hnsw->config.metric == METRIC_IP
                          ? 1e-3f + bits_float(atomic_load(&hnsw->norm_max2))
                          : 0.0f;
        walk->visited = visited;
        walk->list.keys = walk->keys;
        (void)is_new(walk, own); // as if it were not there
        enter(walk);
        walk_on(walk);
        count_right(gauge, index, own, walk);
    } else if (gauge->found[index] > 0) {
        atomic_store(&gauge->status, OMEN_E_NO_MEMORY);
    }
    mem_free(visited);
    mem_free(walk);
    mem_free(vector);
}

omen_status
gauge_measure(struct gauge *gauge, const struct build_graph *graph, double *recall)
{
    ASSERT(graph == NULL || graph->count == gauge->count);
    gauge->graph = graph;
    atomic_store(&gauge->right, 0);
    atomic_store(&gauge->wanted, 0);
    pool_run(gauge->threads, gauge->queries, ask, gauge);
    const uint64_t wanted = atomic_load(&gauge->wanted);
    *recall = wanted > 0 ? (double)atomic_load(&gauge->right) / (double)wanted : 1.0;
    return atomic_load(&gauge->status);
}
