// index/many.c -- rows compared with several queries at once: each is fetched once for all of them.
//
// Shape: handle (reads only).
#include "index/many.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/os_clock.h"
#include "index/hnsw_int.h"

#define ALIGNMENT 64u
#define TILE_BYTES (128u << 10) // of rows; beside the queries they stay in a second cache
#define TILE_MAX 256u           // rows
#define WORTH_BYTES (1u << 20)  // of rows; fewer stay in the second cache as they are
#define CLOCK_ROWS 4096u        // comparisons between two looks at a deadline

struct many_query {
    struct row_query exact;
    struct hit_heap heap;
};

static size_t
rounded(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

// Floats, and behind them the same as integers where rows are.
static size_t
floats_bytes(const struct hnsw *hnsw)
{
    return rounded(hnsw->config.dim * sizeof(float));
}

static bool
renew(void *buffer, size_t *room, size_t bytes)
{
    void **slot = buffer;
    if (*room >= bytes)
        return true;
    void *new = mem_alloc_aligned(ALIGNMENT, bytes);
    if (new == NULL)
        return false;
    mem_free(*slot);
    *slot = new;
    *room = bytes;
    return true;
}

static bool
reserve(struct many *many, const struct hnsw *hnsw)
{
    many->vector_bytes = floats_bytes(hnsw) + rounded(hnsw->config.dim);
    if (many->queries == NULL)
        many->queries = mem_alloc(MANY_MAX * sizeof *many->queries);
    return many->queries != NULL &&
           renew(&many->vectors, &many->vectors_room, many->count_max * many->vector_bytes) &&
           renew(&many->hits, &many->hits_room,
                 (size_t)many->count_max * many->k * sizeof *many->hits);
}

bool
many_begin(struct many *many, const struct hnsw *hnsw, uint32_t count_max, uint32_t k, bool exact)
{
    many->count_max = count_max < MANY_MAX ? count_max : MANY_MAX;
    many->k = k;
    many->count = 0;
    many->given = (struct hnsw_given){0};
    // As hnsw_search decides whether it walks. Where nothing is linked yet all rows are compared, and what a walk finds since is less.
    const bool walks = !exact && hnsw_kind(hnsw) != CODE_NONE &&
                       atomic_load_explicit(&hnsw->linked_count, memory_order_acquire) > 0;
    // Read before any walk: a row linked since is compared here, and not taken from the graph.
    many->given.tail_from =
        walks ? atomic_load_explicit(&hnsw->linked_prefix, memory_order_acquire) : 0;
    many->given.from =
        walks && hnsw->chosen > many->given.tail_from ? hnsw->chosen : many->given.tail_from;
    many->given.end = atomic_load_explicit(&hnsw->published, memory_order_acquire);
    const uint64_t rows =
        many->given.end > many->given.from ? many->given.end - many->given.from : 0;
    return count_max > 1 && k <= MANY_K_MAX && rows * hnsw->row_bytes >= WORTH_BYTES &&
           reserve(many, hnsw);
}

// What exact_query borrows of the scratch, and of the caller, is copied.
void
many_add(struct many *many, const struct hnsw *hnsw, const struct hnsw_query *query,
         struct scratch *scratch)
{
    ASSERT(many->count < many->count_max);
    const uint32_t dim = hnsw->config.dim, at = many->count++;
    uint8_t *const own = many->vectors + at * many->vector_bytes;
    struct many_query *const out = &many->queries[at];
    out->exact = exact_query(hnsw, query, scratch);
    memcpy(own, out->exact.vector, dim * sizeof(float));
    out->exact.vector = (const float *)(const void *)own;
    if (out->exact.whole.components != NULL) {
        memcpy(own + floats_bytes(hnsw), out->exact.whole.components, dim);
        out->exact.whole.components = own + floats_bytes(hnsw);
    }
    out->heap = (struct hit_heap){.hits = many->hits + (size_t)at * many->k, .keep = many->k};
}

static void
compare_tile(const struct many *many, const struct hnsw *hnsw, const uint32_t *slots,
             uint32_t count)
{
    for (uint32_t i = 0; i < many->count; i++)
        for (uint32_t from = 0; from < count; from += BATCH_MAX)
            exact_slots(hnsw, &many->queries[i].exact, slots + from,
                        count - from < BATCH_MAX ? count - from : BATCH_MAX,
                        &many->queries[i].heap);
}

static uint32_t
tile_rows(const struct hnsw *hnsw)
{
    const size_t rows = TILE_BYTES / hnsw->row_bytes / BATCH_MAX * BATCH_MAX;
    return rows < BATCH_MAX ? BATCH_MAX : rows < TILE_MAX ? (uint32_t)rows : TILE_MAX;
}

void
many_compare(struct many *many, const struct hnsw *hnsw, const struct hnsw_query *of)
{
    const uint32_t rows = tile_rows(hnsw);
    uint32_t slots[TILE_MAX], at = many->given.from, since_clock = 0;
    while (at < many->given.end) {
        uint32_t count = 0;
        for (; at < many->given.end && count < rows; at++)
            if (may_answer(hnsw, of, at))
                slots[count++] = at;
        compare_tile(many, hnsw, slots, count);
        many->given.compared += count;
        since_clock += count * many->count;
        if (of->deadline_ns == 0 || since_clock < CLOCK_ROWS)
            continue;
        since_clock = 0;
        if (os_clock_ns() > of->deadline_ns)
            many->given.end = at; // each search looks at the rest, and finds that it is late
    }
}

struct hnsw_given
many_given(const struct many *many, uint32_t i)
{
    ASSERT(i < many->count);
    struct hnsw_given given = many->given;
    given.hits = many->queries[i].heap.hits;
    given.count = many->queries[i].heap.count;
    return given;
}

void
many_fini(struct many *many)
{
    mem_free(many->queries);
    mem_free(many->vectors);
    mem_free(many->hits);
    *many = (struct many){0};
}

size_t
many_bytes(const struct many *many)
{
    return many->vectors_room + many->hits_room +
           (many->queries != NULL ? MANY_MAX * sizeof *many->queries : 0);
}
