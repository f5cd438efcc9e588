// index/flat.c -- exact comparison of rows: the scan, the tail, the last word on what a walk found.
//
// Shape: handle (reads only).
//
// The nearest are kept in a heap whose top is the worst, ordered by distance and then by slot, so that equal rows
// come out oldest first. No slot is put in twice: a walk's finds below the tail, the tail's own above.
#include <math.h>

#include "base/assert.h"
#include "base/os_clock.h"
#include "index/hnsw_int.h"
#include "index/vector.h"

#define DEADLINE_ROWS 4096u
#define PART 256u // components of a row that are made f32 at a time

static inline bool
hit_worse(const struct hit *a, const struct hit *b)
{
    return a->distance > b->distance || (a->distance == b->distance && a->slot > b->slot);
}

static void
sift_down(struct hit *hits, uint32_t count, uint32_t at)
{
    const struct hit moving = hits[at];
    for (uint32_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && hit_worse(&hits[child + 1], &hits[child]))
            child++;
        if (!hit_worse(&hits[child], &moving))
            break;
        hits[at] = hits[child];
        at = child;
    }
    hits[at] = moving;
}

static void
sift_up(struct hit *hits, uint32_t at)
{
    const struct hit moving = hits[at];
    while (at > 0 && hit_worse(&moving, &hits[(at - 1) / 2])) {
        hits[at] = hits[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    hits[at] = moving;
}

static void
heap_put(struct hit_heap *heap, float distance, uint32_t slot)
{
    const struct hit hit = {.distance = distance, .slot = slot};
    if (heap->count < heap->keep) {
        heap->hits[heap->count] = hit;
        sift_up(heap->hits, heap->count++);
    } else if (hit_worse(&heap->hits[0], &hit)) {
        heap->hits[0] = hit;
        sift_down(heap->hits, heap->count, 0);
    }
}

void
exact_hits(const struct hit *hits, uint32_t count, struct hit_heap *heap)
{
    for (uint32_t i = 0; i < count; i++)
        heap_put(heap, hits[i].distance, hits[i].slot);
}

bool
may_answer(const struct hnsw *hnsw, const struct hnsw_query *query, uint32_t slot)
{
    if (slot == query->excluded || atomic_bit_test(hnsw->erased, slot))
        return false;
    return query->allowed == NULL || bitmap_test(query->allowed, slot);
}

// A query that could be a row of the index is compared with rows in integers: faster, and without a rounding.
struct row_query
exact_query(const struct hnsw *hnsw, const struct hnsw_query *query, struct scratch *scratch)
{
    const struct hnsw_config *config = &hnsw->config;
    struct row_query exact = {.vector = query->vector};
    if ((config->type == VECTOR_I8 || config->type == VECTOR_U8) &&
        vector_to_integers(config->type, query->vector, config->dim, scratch->components))
        exact.whole = integer_query_of(config->type, scratch->components, config->dim);
    if (config->metric == METRIC_COSINE) {
        codec_prepare(&hnsw->codec, query->vector, VECTOR_F32, scratch->vector);
        exact.vector = scratch->vector;
    }
    return exact;
}

void
exact_slots(const struct hnsw *hnsw, const struct row_query *exact, const uint32_t *slots,
            uint32_t count, struct hit_heap *heap)
{
    if (count == 0)
        return;
    ASSERT(count <= BATCH_MAX);
    const void *rows[BATCH_MAX] = {NULL};
    float distances[BATCH_MAX];
    for (uint32_t i = 0; i < count; i++)
        rows[i] = arena_row(&hnsw->rows, slots[i]);
    rows_measure(hnsw, exact, rows, count, distances);
    for (uint32_t i = 0; i < count; i++)
        heap_put(heap, distances[i], slots[i]);
}

// Slots of [first, end) that the filter lets through, word by word; NULL lets all through.
static inline uint64_t
allowed_word(const struct bitmap *allowed, uint32_t word)
{
    if (allowed == NULL)
        return UINT64_MAX;
    return word < bitmap_words(allowed->count) ? allowed->words[word] : 0;
}

void
exact_range(const struct hnsw *hnsw, const struct hnsw_query *query, const struct row_query *exact,
            uint32_t first, uint32_t end, struct hit_heap *heap)
{
    uint32_t slots[BATCH_MAX], count = 0, since_clock = 0;
    uint64_t compared = 0;
    for (uint32_t word = first / 64; word < (uint32_t)(((uint64_t)end + 63) / 64); word++) {
        uint64_t live = allowed_word(query->allowed, word) &
                        ~atomic_load_explicit(&hnsw->erased[word], memory_order_relaxed);
        if (word == first / 64)
            live &= UINT64_MAX << (first & 63);
        if (word == end / 64)
            live &= (1ull << (end & 63)) - 1;
        for (; live != 0; live &= live - 1) {
            const uint32_t slot = word * 64 + (uint32_t)__builtin_ctzll(live);
            if (slot == query->excluded)
                continue;
            if (query->allowed != NULL)
                prefetch_line(arena_row(&hnsw->rows, slot));
            slots[count++] = slot;
            if (count < BATCH_MAX)
                continue;
            exact_slots(hnsw, exact, slots, count, heap);
            compared += count;
            since_clock += count;
            count = 0;
        }
        if (query->deadline_ns != 0 && since_clock >= DEADLINE_ROWS) {
            since_clock = 0;
            if (os_clock_ns() > query->deadline_ns) {
                if (query->work != NULL)
                    query->work->cut = true;
                break;
            }
        }
    }
    exact_slots(hnsw, exact, slots, count, heap);
    if (query->work != NULL)
        query->work->exact_distances += compared + count;
}

void
exact_rest(const struct hnsw *hnsw, const struct hnsw_query *query, const struct row_query *exact,
           uint32_t first, uint32_t end, struct hit_heap *heap)
{
    const struct hnsw_given *given = query->given;
    if (given != NULL) {
        if (first < given->from)
            exact_range(hnsw, query, exact, first, given->from, heap);
        exact_hits(given->hits, given->count, heap);
        if (query->work != NULL)
            query->work->exact_distances += given->compared;
        first = given->end;
    }
    if (first < end)
        exact_range(hnsw, query, exact, first, end, heap);
}

uint32_t
hits_finish(struct hit_heap *heap, uint32_t k, struct hit *out)
{
    for (uint32_t left = heap->count; left > 1; left--) {
        const struct hit worst = heap->hits[0];
        heap->hits[0] = heap->hits[left - 1];
        heap->hits[left - 1] = worst;
        sift_down(heap->hits, left - 1, 0);
    }
    const uint32_t count = heap->count < k ? heap->count : k;
    memcpy(out, heap->hits, count * sizeof *out);
    heap->count = 0;
    return count;
}

uint32_t
hnsw_scan(const struct hnsw *hnsw, const struct hnsw_query *query, struct scratch *scratch,
          struct hit *hits)
{
    ASSERT(query->k >= 1 && query->k <= TOPK_MAX);
    scratch_need(scratch, hnsw, query->k, 0);
    const uint32_t end = atomic_load_explicit(&hnsw->published, memory_order_acquire);
    const struct row_query exact = exact_query(hnsw, query, scratch);
    struct hit_heap heap = {.hits = scratch->hits, .keep = query->k};
    exact_rest(hnsw, query, &exact, 0, end, &heap);
    if (query->work != NULL)
        query->work->strategy = HNSW_SCANNED;
    return hits_finish(&heap, query->k, hits);
}

// In double and part by part, so that a query of any length needs no copy of length 1.
static float
cosine_distance(const struct hnsw *hnsw, const float *vector, const uint8_t *row)
{
    const enum vector_type type = hnsw->config.type;
    double dot = 0.0, query2 = 0.0, row2 = 0.0;
    for (uint32_t from = 0; from < hnsw->config.dim; from += PART) {
        const uint32_t count = hnsw->config.dim - from < PART ? hnsw->config.dim - from : PART;
        float part[PART];
        vector_to_f32(type, row + (size_t)from * vector_type_bytes(type), count, part);
        for (uint32_t i = 0; i < count; i++) {
            dot += (double)vector[from + i] * (double)part[i];
            query2 += (double)vector[from + i] * (double)vector[from + i];
            row2 += (double)part[i] * (double)part[i];
        }
    }
    const double lengths = sqrt(query2) * sqrt(row2);
    return lengths > 0.0 ? (float)(1.0 - dot / lengths) : 1.0f;
}

float
hnsw_distance(const struct hnsw *hnsw, const float *vector, uint32_t slot)
{
    const void *row = arena_row(&hnsw->rows, slot);
    if (hnsw->config.metric == METRIC_COSINE)
        return cosine_distance(hnsw, vector, row);
    float distance;
    hnsw->kernels->exact[hnsw->config.metric][hnsw->config.type - 1](vector, &row, 1,
                                                                     hnsw->config.dim, &distance);
    return distance;
}
