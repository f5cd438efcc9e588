// index/mirror.c -- what a copy of an index elsewhere is made of, and what searches of the copy need besides.
//
// Shape: value.
#include "index/mirror.h"

#include <math.h>
#include <string.h>

#include "base/assert.h"
#include "index/hnsw_int.h"
#include "index/vector.h"

#define MARGIN_ERRORS 3.0f // as rerank.c has it for the finer code

_Static_assert(MIRROR_ENTRIES_MAX == ENTRIES_MAX, "all entries fit");

bool
hnsw_mirror_shape(const struct hnsw *hnsw, enum mirror_of of, struct mirror_shape *shape)
{
    *shape = (struct mirror_shape){
        .rows = atomic_load_explicit(&hnsw->published, memory_order_acquire),
        .dim = hnsw->config.dim,
        .type = hnsw->config.type,
        .metric = hnsw->config.metric,
    };
    if (of == MIRROR_ROWS)
        return shape->rows > 0;
    if (hnsw_kind(hnsw) != CODE_NIBBLE)
        return false;
    *shape = (struct mirror_shape){
        .rows = atomic_load_explicit(&hnsw->linked_prefix, memory_order_acquire),
        .dim = hnsw->config.dim,
        .type = hnsw->config.type,
        .metric = hnsw->config.metric,
        .links_max = hnsw->graph.links_max,
        .link_bytes = (uint32_t)hnsw->graph.width,
        .row_bytes = hnsw->codec.row_bytes,
        .ip = hnsw->config.metric == METRIC_IP,
        .radius2 = hnsw->codec.radius2,
    };
    return shape->rows > 0;
}

void
hnsw_mirror_codes(const struct hnsw *hnsw, uint32_t first, uint32_t count, uint8_t *high,
                  uint8_t *low, struct byte_meta *metas)
{
    const size_t bytes = hnsw->codec.row_bytes;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(high + i * bytes, arena_row(&hnsw->high, first + i), bytes);
        memcpy(low + i * bytes, arena_row(&hnsw->low, first + i), bytes);
        memcpy(&metas[i], arena_row(&hnsw->meta, first + i), sizeof *metas);
    }
}

void
hnsw_mirror_links(const struct hnsw *hnsw, uint32_t first, uint32_t count, uint8_t *blocks)
{
    const struct graph *graph = &hnsw->graph;
    const size_t bytes = graph->rows.row_bytes;
    for (uint32_t i = 0; i < count; i++) {
        graph_lock(graph, first + i);
        memcpy(blocks + i * bytes, arena_row(&graph->rows, first + i), bytes);
        graph_unlock(graph, first + i);
    }
}

void
hnsw_mirror_rows(const struct hnsw *hnsw, uint32_t first, uint32_t count, void *rows)
{
    for (uint32_t i = 0; i < count; i++)
        memcpy((uint8_t *)rows + i * hnsw->row_bytes, arena_row(&hnsw->rows, first + i),
               hnsw->row_bytes);
}

uint32_t
hnsw_mirror_entries(const struct hnsw *hnsw, uint32_t rows, uint32_t *slots)
{
    const struct entries *entries = &hnsw->entries;
    const uint32_t count = atomic_load_explicit(&entries->count, memory_order_acquire);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t slot = atomic_load_explicit(&entries->slots[i], memory_order_acquire);
        if (slot < rows)
            slots[kept++] = slot;
    }
    for (uint32_t slot = 0; kept == 0 && slot < rows; slot++)
        if (linked_alive(hnsw, slot))
            slots[kept++] = slot;
    return kept;
}

// From plane order, 64 and 64 of a block, to one behind the other; the last block may be narrower.
static void
natural_order(const struct codec *codec, const int8_t *components, int8_t *codes, uint32_t stride)
{
    memset(codes, 0, stride);
    for (uint32_t start = 0; start < codec->row_bytes; start += 64) {
        const uint32_t w = codec->row_bytes - start < 64 ? codec->row_bytes - start : 64;
        const int8_t *block = components + (size_t)start * 2;
        memcpy(codes + (size_t)start * 2, block, w);
        memcpy(codes + (size_t)start * 2 + w, block + 64, w);
    }
}

void
hnsw_mirror_prepare(const struct hnsw *hnsw, const float *vector, float *prepared)
{
    codec_prepare(&hnsw->codec, vector, VECTOR_F32, prepared);
}

void
hnsw_mirror_query(const struct hnsw *hnsw, const float *vector, struct scratch *scratch,
                  float *prepared, int8_t *codes, uint32_t stride, struct mirror_query *query)
{
    const struct codec *codec = &hnsw->codec;
    ASSERT(hnsw_kind(hnsw) == CODE_NIBBLE && stride >= codec->width);
    codec_prepare(codec, vector, VECTOR_F32, prepared);
    const bool ip = hnsw->config.metric == METRIC_IP;
    const float norm2 = ip ? vector_norm2(prepared, hnsw->config.dim) : 0.0f;
    const float norm_max2 =
        ip ? bits_float(atomic_load_explicit(&hnsw->norm_max2, memory_order_relaxed)) : 0.0f;
    codec_rotate(codec, prepared, scratch->rotated);
    codec_query(codec, scratch->rotated, norm2, norm_max2, scratch->components, &scratch->query);
    const struct byte_query *byte = &scratch->query.byte;
    natural_order(codec, byte->components, codes, stride);
    *query = (struct mirror_query){
        .offset = byte->offset,
        .scale = byte->scale,
        .norm_scale = byte->norm_scale,
        .margin = MARGIN_ERRORS * 2.0f * codec->both_error * scratch->query.spread2,
    };
}

uint32_t
hnsw_mirror_finish(const struct hnsw *hnsw, const struct hnsw_query *query, uint32_t rows,
                   struct scratch *scratch, struct hit *hits, uint32_t count)
{
    ASSERT(count <= query->k);
    const uint32_t published = atomic_load_explicit(&hnsw->published, memory_order_acquire);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++)
        if (may_answer(hnsw, query, hits[i].slot))
            hits[kept++] = hits[i];
    if (rows >= published)
        return kept;
    scratch_need(scratch, hnsw, query->k, 0);
    const struct row_query exact = exact_query(hnsw, query, scratch);
    struct hit_heap heap = {.hits = scratch->hits, .keep = query->k};
    exact_hits(hits, kept, &heap);
    exact_range(hnsw, query, &exact, rows, published, &heap);
    return hits_finish(&heap, query->k, hits);
}
