// tests/twin/hnsw_flat.c -- the dumb twin of index/hnsw.h: every search compares everything.
//
// Shape: handle, in memory.
//
// What a caller of index/hnsw.h may rely on holds here too (order of slots, publishing, erasing, linking in units,
// compaction to a new numbering), with exact answers, so it is the oracle for whoever stands on that header.
// "Linking" a row only counts it. Distances are computed by the index's own kernels: one row at a time.
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"
#include "base/os_clock.h"
#include "index/hnsw.h"
#include "index/kernel/kernel.h"
#include "index/vector.h"

#define DEADLINE_ROWS 256u // rows between two looks at the clock
#define CHUNK_SHIFT 10u
#define CHUNK_ROWS (1u << CHUNK_SHIFT)

struct hnsw {
    struct hnsw_config config;
    uint32_t row_bytes;
    uint32_t chunk_count;
    char **chunks;            // of CHUNK_ROWS rows
    _Atomic uint64_t *erased; // a bit per slot, slots_max of them
    uint32_t appended;
    _Atomic uint32_t published;
    _Atomic uint32_t claimed; // rows taken by linkers
    _Atomic uint32_t linked;
    _Atomic uint32_t live;
    _Atomic uint32_t repairs; // erased rows that nobody repaired yet
};

struct scratch {
    float *query; // normalised under cosine
    size_t room;
};

static size_t
bits_bytes(uint32_t slots)
{
    return (size_t)bitmap_words(slots) * sizeof(uint64_t);
}

omen_status
hnsw_open(const struct hnsw_config *config, struct hnsw **out)
{
    *out = NULL;
    struct hnsw *hnsw = mem_alloc_zero(1, sizeof *hnsw);
    if (hnsw == NULL)
        return OMEN_E_NO_MEMORY;
    hnsw->config = *config;
    hnsw->erased = pages_reserve(bits_bytes(config->slots_max));
    hnsw->row_bytes = config->dim * vector_type_bytes(config->type);
    hnsw->chunks = mem_alloc_zero((config->slots_max >> CHUNK_SHIFT) + 1, sizeof *hnsw->chunks);
    if (hnsw->erased == NULL || hnsw->chunks == NULL) {
        hnsw_close(hnsw);
        return OMEN_E_NO_MEMORY;
    }
    *out = hnsw;
    return OMEN_OK;
}

void
hnsw_close(struct hnsw *hnsw)
{
    if (hnsw == NULL)
        return;
    for (uint32_t i = 0; i < hnsw->chunk_count; i++)
        mem_free(hnsw->chunks[i]);
    mem_free(hnsw->chunks);
    pages_free((void *)hnsw->erased, bits_bytes(hnsw->config.slots_max));
    mem_free(hnsw);
}

omen_status
hnsw_reserve(struct hnsw *hnsw, uint32_t count)
{
    if (count > hnsw->config.slots_max)
        return OMEN_E_FULL;
    if (pages_grow((void *)hnsw->erased, 0, bits_bytes(count)) == NULL)
        return OMEN_E_NO_MEMORY;
    while ((uint64_t)hnsw->chunk_count * CHUNK_ROWS < count) {
        char *chunk = mem_alloc((size_t)CHUNK_ROWS * hnsw->row_bytes);
        if (chunk == NULL)
            return OMEN_E_NO_MEMORY;
        hnsw->chunks[hnsw->chunk_count++] = chunk;
    }
    return OMEN_OK;
}

static char *
row_at(const struct hnsw *hnsw, uint32_t slot)
{
    return hnsw->chunks[slot >> CHUNK_SHIFT] + (size_t)(slot & (CHUNK_ROWS - 1)) * hnsw->row_bytes;
}

uint32_t
hnsw_append(struct hnsw *hnsw, const void *rows, size_t stride, uint32_t count)
{
    const uint32_t first = hnsw->appended;
    for (uint32_t i = 0; i < count; i++)
        memcpy(row_at(hnsw, first + i), (const char *)rows + i * stride, hnsw->row_bytes);
    hnsw->appended += count;
    return first;
}

void
hnsw_publish(struct hnsw *hnsw)
{
    atomic_fetch_add(&hnsw->live, hnsw->appended - atomic_load(&hnsw->published));
    atomic_store_explicit(&hnsw->published, hnsw->appended, memory_order_release);
}

const void *
hnsw_row(const struct hnsw *hnsw, uint32_t slot)
{
    return row_at(hnsw, slot);
}

bool
hnsw_erase(struct hnsw *hnsw, uint32_t slot)
{
    ASSERT(slot < hnsw_count(hnsw));
    if (!atomic_bit_set(hnsw->erased, slot))
        return false;
    atomic_fetch_sub(&hnsw->live, 1);
    atomic_fetch_add(&hnsw->repairs, 1);
    return true;
}

bool
hnsw_erased(const struct hnsw *hnsw, uint32_t slot)
{
    return atomic_bit_test(hnsw->erased, slot);
}

bool
hnsw_link_next(struct hnsw *hnsw, struct scratch *scratch)
{
    (void)scratch;
    uint32_t next = atomic_load(&hnsw->claimed);
    do {
        if (!hnsw_founded(hnsw) || next >= hnsw_count(hnsw))
            return false;
    } while (!atomic_compare_exchange_weak(&hnsw->claimed, &next, next + 1));
    atomic_fetch_add(&hnsw->linked, 1);
    return true;
}

bool
hnsw_repair_next(struct hnsw *hnsw, struct scratch *scratch)
{
    (void)scratch;
    uint32_t left = atomic_load(&hnsw->repairs);
    do {
        if (left == 0)
            return false;
    } while (!atomic_compare_exchange_weak(&hnsw->repairs, &left, left - 1));
    return true;
}

uint32_t
hnsw_count(const struct hnsw *hnsw)
{
    return atomic_load_explicit(&hnsw->published, memory_order_acquire);
}

uint32_t
hnsw_live(const struct hnsw *hnsw)
{
    return atomic_load(&hnsw->live);
}

uint32_t
hnsw_tail(const struct hnsw *hnsw)
{
    const uint32_t linked = atomic_load(&hnsw->linked);
    return hnsw_count(hnsw) - linked;
}

bool
hnsw_founded(const struct hnsw *hnsw)
{
    return !hnsw->config.flat && hnsw_count(hnsw) >= HNSW_FOUND_ROWS;
}

// The k best so far as a heap whose top is the worst.
static bool
is_worse(struct hit a, struct hit b)
{
    return a.distance > b.distance || (a.distance == b.distance && a.slot > b.slot);
}

static void
sift_down(struct hit *hits, uint32_t count, uint32_t at)
{
    for (;;) {
        uint32_t worst = at;
        for (uint32_t child = 2 * at + 1; child <= 2 * at + 2 && child < count; child++)
            if (is_worse(hits[child], hits[worst]))
                worst = child;
        if (worst == at)
            return;
        const struct hit hit = hits[at];
        hits[at] = hits[worst];
        hits[worst] = hit;
        at = worst;
    }
}

static void
offer(struct hit *hits, uint32_t *count, uint32_t k, struct hit hit)
{
    if (*count < k) {
        uint32_t at = (*count)++;
        hits[at] = hit;
        while (at > 0 && is_worse(hits[at], hits[(at - 1) / 2])) {
            const struct hit parent = hits[(at - 1) / 2];
            hits[(at - 1) / 2] = hits[at];
            hits[at] = parent;
            at = (at - 1) / 2;
        }
    } else if (is_worse(hits[0], hit)) {
        hits[0] = hit;
        sift_down(hits, k, 0);
    }
}

// The kernels want a cosine query of length one.
static const float *
prepared(const struct hnsw *hnsw, const float *vector, float *room)
{
    if (hnsw->config.metric != METRIC_COSINE)
        return vector;
    const float inverse = 1.0f / __builtin_sqrtf(vector_norm2(vector, hnsw->config.dim));
    for (uint32_t i = 0; i < hnsw->config.dim; i++)
        room[i] = vector[i] * inverse;
    return room;
}

static float
distance_to(const struct hnsw *hnsw, const float *query, uint32_t slot)
{
    const void *row = hnsw_row(hnsw, slot);
    float distance[4];
    kernels_best()->exact[hnsw->config.metric][hnsw->config.type - 1](query, &row, 1,
                                                                      hnsw->config.dim, distance);
    return distance[0];
}

uint32_t
hnsw_scan(const struct hnsw *hnsw, const struct hnsw_query *query, struct scratch *scratch,
          struct hit *hits)
{
    ASSERT(query->k >= 1 && query->k <= TOPK_MAX);
    const omen_status fit = scratch_fit(scratch, hnsw, query->k, query->beam);
    ASSERT(fit == OMEN_OK);
    const float *vector = prepared(hnsw, query->vector, scratch->query);
    const uint32_t rows = hnsw_count(hnsw);
    const uint32_t tail = rows - atomic_load(&hnsw->linked);
    uint32_t found = 0;
    uint64_t compared = 0;
    bool cut = false;
    for (uint32_t slot = 0; slot < rows; slot++) {
        if (hnsw_erased(hnsw, slot) || slot == query->excluded ||
            (query->allowed != NULL && !bitmap_test(query->allowed, slot)))
            continue;
        cut = query->deadline_ns != 0 && compared % DEADLINE_ROWS == 0 &&
              os_clock_ns() > query->deadline_ns;
        if (cut)
            break;
        compared++;
        offer(hits, &found, query->k,
              (struct hit){.distance = distance_to(hnsw, vector, slot), .slot = slot});
    }
    for (uint32_t end = found; end > 1; end--) { // heap sort: the worst goes last
        const struct hit worst = hits[0];
        hits[0] = hits[end - 1];
        hits[end - 1] = worst;
        sift_down(hits, end - 1, 0);
    }
    if (query->work != NULL) {
        query->work->exact_distances += compared;
        query->work->tail += tail;
        query->work->cut |= cut;
        query->work->strategy = HNSW_SCANNED;
    }
    return found;
}

uint32_t
hnsw_search(const struct hnsw *hnsw, const struct hnsw_query *query, struct scratch *scratch,
            struct hit *hits)
{
    const uint32_t found = hnsw_scan(hnsw, query, scratch, hits);
    if (query->work != NULL && !hnsw->config.flat)
        query->work->strategy = query->allowed == NULL ? HNSW_WALKED : HNSW_WALKED_FILTERED;
    return found;
}

float
hnsw_distance(const struct hnsw *hnsw, const float *vector, uint32_t slot)
{
    const float distance = distance_to(hnsw, vector, slot);
    if (hnsw->config.metric != METRIC_COSINE)
        return distance;
    return 1.0f - (1.0f - distance) / __builtin_sqrtf(vector_norm2(vector, hnsw->config.dim));
}

omen_status
scratch_open(struct scratch **out)
{
    *out = mem_alloc_zero(1, sizeof **out);
    return *out == NULL ? OMEN_E_NO_MEMORY : OMEN_OK;
}

void
scratch_close(struct scratch *scratch)
{
    if (scratch == NULL)
        return;
    mem_free(scratch->query);
    mem_free(scratch);
}

omen_status
scratch_fit(struct scratch *scratch, const struct hnsw *hnsw, uint32_t k, uint32_t beam)
{
    (void)k, (void)beam;
    if (scratch->room >= hnsw->config.dim)
        return OMEN_OK;
    float *query = mem_resize(scratch->query, hnsw->config.dim * sizeof *query);
    if (query == NULL)
        return OMEN_E_NO_MEMORY;
    scratch->query = query;
    scratch->room = hnsw->config.dim;
    return OMEN_OK;
}

size_t
scratch_bytes(const struct scratch *scratch)
{
    return sizeof *scratch + scratch->room * sizeof(float);
}

omen_status
hnsw_compact(const struct hnsw *hnsw, struct scratch *scratch, struct hnsw **out)
{
    (void)scratch;
    struct hnsw *new;
    omen_status status = hnsw_open(&hnsw->config, &new);
    if (status == OMEN_OK)
        status = hnsw_reserve(new, hnsw_live(hnsw));
    if (status != OMEN_OK) {
        if (new != NULL)
            hnsw_close(new);
        *out = NULL;
        return status;
    }
    for (uint32_t slot = 0; slot < hnsw_count(hnsw); slot++)
        if (!hnsw_erased(hnsw, slot))
            hnsw_append(new, hnsw_row(hnsw, slot), hnsw->row_bytes, 1);
    hnsw_publish(new);
    *out = new;
    return OMEN_OK;
}

void
hnsw_memory(const struct hnsw *hnsw, struct hnsw_memory *memory)
{
    *memory = (struct hnsw_memory){.rows = (size_t)hnsw->chunk_count * CHUNK_ROWS * hnsw->row_bytes,
                                   .other = sizeof *hnsw};
    memory->other += bits_bytes(hnsw_count(hnsw));
}

const char *
hnsw_code_name(const struct hnsw *hnsw)
{
    (void)hnsw;
    return "none";
}

float
hnsw_drift(const struct hnsw *hnsw)
{
    (void)hnsw;
    return 0.0f;
}

double
hnsw_links_mean(const struct hnsw *hnsw)
{
    (void)hnsw;
    return 0.0;
}

omen_status
hnsw_check(const struct hnsw *hnsw, uint32_t *unreached, char *text, size_t capacity)
{
    uint32_t live = 0;
    *unreached = 0;
    for (uint32_t slot = 0; slot < hnsw_count(hnsw); slot++)
        live += !hnsw_erased(hnsw, slot);
    if (live == hnsw_live(hnsw))
        return OMEN_OK;
    (void)snprintf(text, capacity, "%u live rows, counted %u", live, hnsw_live(hnsw));
    return OMEN_E_CORRUPT;
}
