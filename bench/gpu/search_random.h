// bench/gpu/search_random.h -- searches of made-up rows, links and queries: what a device answers beside the oracle.
//
// Shape: shell. Header only.
//
// Graphs here lead nowhere in particular: what is asked is whether the device walks as the oracle does, on every width
// of codes and lists, with and without filters, erased rows, stops and ties.
#ifndef OMEN_BENCH_GPU_SEARCH_RANDOM_H
#define OMEN_BENCH_GPU_SEARCH_RANDOM_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/prng.h"
#include "gpu/search.h"
#include "index/graph.h"
#include "index/vector.h"

static inline void
must(omen_status status, const char *what)
{
    if (status == OMEN_OK)
        return;
    fprintf(stderr, "%s: %s\n", what, status_text(status));
    exit(1);
}

static inline void *
take(size_t bytes)
{
    void *memory = mem_alloc_aligned(256, bytes > 0 ? bytes : 1);
    if (memory == NULL) {
        fprintf(stderr, "no memory for %zu bytes\n", bytes);
        exit(1);
    }
    return memory;
}

// Memory of the device with what the host has; `host` may be NULL.
static inline void *
on_device(const struct device_handle *device, const void *host, size_t bytes)
{
    void *memory;
    must(device->ops->alloc(device->device, bytes, &memory), "device memory");
    if (host != NULL) {
        must(device->ops->put(device->device, memory, host, bytes), "put");
        must(device->ops->wait(device->device), "put");
    }
    return memory;
}

struct random_shape {
    uint32_t rows, width, links_max, link_width, queries;
    uint32_t kept, beam, parents, k, entries;
    float stop;
    enum vector_type type;
    enum metric metric;
    uint32_t dim;
    int erased, allowed, ties;
};

struct random_world {
    struct random_shape shape;
    int8_t *codes, *query_codes;
    struct byte_meta *metas;
    uint8_t *blocks;
    uint32_t *entries, *erased, *allowed;
    struct device_query *queries;
    void *vectors;
    float *prepared;
    size_t stride, block_bytes, vector_bytes, bit_bytes;
};

static inline void
random_bits(struct prng *prng, uint32_t *words, uint32_t rows, uint32_t of_256)
{
    for (uint32_t i = 0; i < rows; i++)
        if (prng_below(prng, 256) < of_256)
            words[i / 32] |= 1u << i % 32;
}

static inline struct random_world
random_world_make(const struct random_shape *shape, uint64_t seed)
{
    struct prng prng;
    prng_init(&prng, seed);
    struct random_world world = {.shape = *shape};
    const uint32_t n = shape->rows, q = shape->queries;
    world.stride = (shape->width + DEVICE_STRIDE - 1) / DEVICE_STRIDE * DEVICE_STRIDE;
    world.block_bytes = link_row_bytes(shape->links_max, (enum link_width)shape->link_width);
    world.vector_bytes = (size_t)shape->dim * vector_type_bytes(shape->type);
    world.bit_bytes = ((size_t)n + 63) / 64 * 8;
    world.codes = take(n * world.stride);
    world.query_codes = take(q * world.stride);
    world.metas = take(n * sizeof *world.metas);
    world.blocks = take(n * world.block_bytes);
    world.entries = take(shape->entries * sizeof *world.entries);
    world.erased = take(world.bit_bytes);
    world.allowed = take(world.bit_bytes);
    world.queries = take(q * sizeof *world.queries);
    world.vectors = take(n * world.vector_bytes);
    world.prepared = take((size_t)q * shape->dim * sizeof *world.prepared);
    memset(world.codes, 0, n * world.stride);
    memset(world.query_codes, 0, q * world.stride);
    memset(world.blocks, 0xff, n * world.block_bytes);
    memset(world.erased, 0, world.bit_bytes);
    memset(world.allowed, 0, world.bit_bytes);
    const uint32_t spread = shape->ties ? 3 : 255;
    for (uint32_t row = 0; row < n; row++) {
        for (uint32_t i = 0; i < shape->width; i++)
            world.codes[row * world.stride + i] =
                (int8_t)((int32_t)prng_below(&prng, spread) - (int32_t)spread / 2);
        world.metas[row] = shape->ties ? (struct byte_meta){1.0f, 4.0f}
                                       : (struct byte_meta){0.01f + prng_unit(&prng) * 0.01f,
                                                            1.0f + prng_unit(&prng)};
        const uint32_t links = prng_below(&prng, shape->links_max + 1);
        for (uint32_t i = 0; i < links; i++) {
            const uint32_t to = prng_below(&prng, n);
            memcpy(world.blocks + row * world.block_bytes + (size_t)i * shape->link_width, &to,
                   shape->link_width);
        }
        float values[4096];
        for (uint32_t i = 0; i < shape->dim; i++)
            values[i] = shape->type >= VECTOR_I8 ? (float)prng_below(&prng, 100) - 20.0f
                                                 : prng_unit(&prng) * 2.0f - 1.0f;
        vector_from_f32(shape->type, values, shape->dim,
                        (uint8_t *)world.vectors + row * world.vector_bytes);
    }
    for (uint32_t i = 0; i < shape->entries; i++)
        world.entries[i] = prng_below(&prng, n);
    for (uint32_t i = 0; i < q; i++) {
        for (uint32_t j = 0; j < shape->width; j++)
            world.query_codes[i * world.stride + j] =
                (int8_t)((int32_t)prng_below(&prng, 255) - 127);
        world.queries[i] = (struct device_query){.offset = 1.0f + prng_unit(&prng) * 400.0f,
                                                 .scale = 0.01f * prng_unit(&prng),
                                                 .norm_scale = 1.0f,
                                                 .margin = prng_unit(&prng) * 2.0f};
        for (uint32_t j = 0; j < shape->dim; j++)
            world.prepared[(size_t)i * shape->dim + j] = prng_unit(&prng) * 2.0f - 1.0f;
    }
    random_bits(&prng, world.erased, n, 40);
    random_bits(&prng, world.allowed, n, 120);
    return world;
}

static inline void
random_world_free(struct random_world *world)
{
    void *const all[] = {world->codes,   world->query_codes, world->metas,   world->blocks,
                         world->entries, world->erased,      world->allowed, world->queries,
                         world->vectors, world->prepared};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        mem_free(all[i]);
}

static inline struct device_walk
random_walk(const struct random_world *world)
{
    const struct random_shape *shape = &world->shape;
    return (struct device_walk){.rows = {.codes = world->codes,
                                         .metas = world->metas,
                                         .count = shape->rows,
                                         .stride = (uint32_t)world->stride},
                                .blocks = world->blocks,
                                .links_max = shape->links_max,
                                .width = shape->link_width,
                                .entries = world->entries,
                                .entry_count = shape->entries,
                                .erased = shape->erased ? world->erased : NULL,
                                .allowed = shape->allowed ? world->allowed : NULL,
                                .codes = world->query_codes,
                                .queries = world->queries,
                                .count = shape->queries,
                                .beam = shape->beam,
                                .kept = shape->kept,
                                .parents = shape->parents,
                                .stop_k = shape->k,
                                .stop = shape->stop};
}

// How many of the answers of walk, rerank and knn differ from the oracle's.
static inline uint64_t
random_differences(const struct device_handle *device, const struct random_world *world)
{
    const struct random_shape *shape = &world->shape;
    const struct device_ops *ops = device->ops;
    const uint32_t n = shape->rows, q = shape->queries;
    const size_t key_bytes = (size_t)q * shape->kept * sizeof(uint64_t);
    const size_t hit_bytes = (size_t)q * shape->k * sizeof(struct hit);
    uint64_t *keys = take(key_bytes), *ours = take(key_bytes);
    struct hit *hits = take(hit_bytes), *own = take(hit_bytes);

    struct device_walk walk = random_walk(world);
    walk.keys = ours;
    must(device_cpu_walk(NULL, &walk), "the oracle's walk");
    walk.rows.codes = on_device(device, world->codes, n * world->stride);
    walk.rows.metas = on_device(device, world->metas, n * sizeof *world->metas);
    walk.blocks = on_device(device, world->blocks, n * world->block_bytes);
    walk.entries = on_device(device, world->entries, shape->entries * sizeof *world->entries);
    uint32_t *erased = on_device(device, world->erased, world->bit_bytes);
    uint32_t *allowed = on_device(device, world->allowed, world->bit_bytes);
    walk.erased = shape->erased ? erased : NULL;
    walk.allowed = shape->allowed ? allowed : NULL;
    walk.codes = on_device(device, world->query_codes, q * world->stride);
    walk.queries = on_device(device, world->queries, q * sizeof *world->queries);
    walk.keys = on_device(device, NULL, key_bytes);
    must(ops->fill(device->device, walk.keys, 0xa5, key_bytes), "fill");
    must(ops->walk(device->device, &walk), "walk");
    must(ops->get(device->device, keys, walk.keys, key_bytes), "walk");
    uint64_t differences = 0;
    for (size_t i = 0; i < (size_t)q * shape->kept; i++)
        differences += keys[i] != ours[i];

    struct device_rerank rerank = {
        .vectors = {world->vectors, n, shape->dim, shape->type, shape->metric},
        .prepared = world->prepared,
        .queries = world->queries,
        .erased = shape->erased ? world->erased : NULL,
        .allowed = shape->allowed ? world->allowed : NULL,
        .keys = ours,
        .count = q,
        .width = shape->kept,
        .k = shape->k,
        .hits = own};
    must(device_cpu_rerank(NULL, &rerank), "the oracle's rerank");
    void *vectors = on_device(device, world->vectors, n * world->vector_bytes);
    float *prepared =
        on_device(device, world->prepared, (size_t)q * shape->dim * sizeof *world->prepared);
    struct hit *device_hits = on_device(device, NULL, hit_bytes);
    rerank.vectors.rows = vectors;
    rerank.prepared = prepared;
    rerank.queries = walk.queries;
    rerank.erased = walk.erased;
    rerank.allowed = walk.allowed;
    must(ops->put(device->device, walk.keys, ours, key_bytes), "put");
    rerank.keys = walk.keys;
    rerank.hits = device_hits;
    must(ops->fill(device->device, device_hits, 0xa5, hit_bytes), "fill");
    must(ops->rerank(device->device, &rerank), "rerank");
    must(ops->get(device->device, hits, device_hits, hit_bytes), "rerank");
    for (size_t i = 0; i < (size_t)q * shape->k; i++)
        differences += memcmp(&hits[i], &own[i], sizeof *hits) != 0;

    struct device_knn knn = {.vectors = {world->vectors, n, shape->dim, shape->type, shape->metric},
                             .prepared = world->prepared,
                             .erased = shape->erased ? world->erased : NULL,
                             .allowed = shape->allowed ? world->allowed : NULL,
                             .count = q,
                             .k = shape->k,
                             .hits = own};
    must(device_cpu_knn(NULL, &knn), "the oracle's knn");
    knn.vectors.rows = vectors;
    knn.prepared = prepared;
    knn.erased = walk.erased;
    knn.allowed = walk.allowed;
    knn.hits = device_hits;
    must(ops->fill(device->device, device_hits, 0xa5, hit_bytes), "fill");
    must(ops->knn(device->device, &knn), "knn");
    must(ops->get(device->device, hits, device_hits, hit_bytes), "knn");
    for (size_t i = 0; i < (size_t)q * shape->k; i++)
        differences += memcmp(&hits[i], &own[i], sizeof *hits) != 0;

    const void *const all[] = {walk.rows.codes, walk.rows.metas, walk.blocks, walk.entries,
                               erased,          allowed,         walk.codes,  walk.queries,
                               walk.keys,       vectors,         prepared,    device_hits};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        ops->free(device->device, (void *)(uintptr_t)all[i]);
    mem_free(keys);
    mem_free(ours);
    mem_free(hits);
    mem_free(own);
    return differences;
}

static const struct random_shape random_shapes[] = {
    {.rows = 700,
     .width = 128,
     .links_max = 32,
     .link_width = 3,
     .queries = 40,
     .kept = 64,
     .beam = 40,
     .parents = 1,
     .k = 10,
     .entries = 96,
     .type = VECTOR_F32,
     .metric = METRIC_L2,
     .dim = 128},
    {.rows = 700,
     .width = 128,
     .links_max = 32,
     .link_width = 3,
     .queries = 3,
     .kept = 64,
     .beam = 64,
     .parents = 4,
     .k = 64,
     .entries = 33,
     .type = VECTOR_F16,
     .metric = METRIC_COSINE,
     .dim = 100,
     .erased = 1},
    {.rows = 5000,
     .width = 64,
     .links_max = 20,
     .link_width = 4,
     .queries = 70,
     .kept = 32,
     .beam = 1,
     .parents = 2,
     .k = 1,
     .entries = 3,
     .type = VECTOR_BF16,
     .metric = METRIC_IP,
     .dim = 33,
     .allowed = 1},
    {.rows = 3000,
     .width = 96,
     .links_max = 64,
     .link_width = 3,
     .queries = 20,
     .kept = 128,
     .beam = 50,
     .parents = 3,
     .k = 20,
     .entries = 64,
     .stop = 1.02f,
     .type = VECTOR_I8,
     .metric = METRIC_L2,
     .dim = 70,
     .erased = 1,
     .allowed = 1},
    {.rows = 3000,
     .width = 352,
     .links_max = 128,
     .link_width = 3,
     .queries = 20,
     .kept = 256,
     .beam = 256,
     .parents = 2,
     .k = 100,
     .entries = 64,
     .type = VECTOR_U8,
     .metric = METRIC_COSINE,
     .dim = 352},
    {.rows = 4000,
     .width = 768,
     .links_max = 48,
     .link_width = 4,
     .queries = 16,
     .kept = 512,
     .beam = 300,
     .parents = 1,
     .k = 130,
     .entries = 200,
     .stop = 1.1f,
     .type = VECTOR_F32,
     .metric = METRIC_IP,
     .dim = 768},
    {.rows = 4000,
     .width = 128,
     .links_max = 32,
     .link_width = 3,
     .queries = 16,
     .kept = 512,
     .beam = 100,
     .parents = 4,
     .k = 500,
     .entries = 200,
     .type = VECTOR_F32,
     .metric = METRIC_L2,
     .dim = 128,
     .erased = 1,
     .allowed = 1},
    {.rows = 900,
     .width = 128,
     .links_max = 32,
     .link_width = 3,
     .queries = 50,
     .kept = 64,
     .beam = 64,
     .parents = 2,
     .k = 10,
     .entries = 64,
     .type = VECTOR_I8,
     .metric = METRIC_L2,
     .dim = 3,
     .ties = 1},
    {.rows = 1,
     .width = 64,
     .links_max = 32,
     .link_width = 3,
     .queries = 2,
     .kept = 32,
     .beam = 10,
     .parents = 4,
     .k = 10,
     .entries = 1,
     .type = VECTOR_F32,
     .metric = METRIC_L2,
     .dim = 2},
};

#endif
