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

// The world's arrays as the device has them.
struct random_copy {
    struct device_walk walk;
    void *vectors;
    float *prepared;
    struct hit *hits;
    void *memory[12];
};

static inline struct random_copy
random_copy_make(const struct device_handle *device, const struct random_world *world)
{
    const struct random_shape *shape = &world->shape;
    const uint32_t n = shape->rows, q = shape->queries;
    struct random_copy copy = {.walk = random_walk(world)};
    void **m = copy.memory;
    m[0] = on_device(device, world->codes, n * world->stride);
    m[1] = on_device(device, world->metas, n * sizeof *world->metas);
    m[2] = on_device(device, world->blocks, n * world->block_bytes);
    m[3] = on_device(device, world->entries, shape->entries * sizeof *world->entries);
    m[4] = on_device(device, world->erased, world->bit_bytes);
    m[5] = on_device(device, world->allowed, world->bit_bytes);
    m[6] = on_device(device, world->query_codes, q * world->stride);
    m[7] = on_device(device, world->queries, q * sizeof *world->queries);
    m[8] = on_device(device, NULL, (size_t)q * shape->kept * sizeof(uint64_t));
    m[9] = on_device(device, world->vectors, n * world->vector_bytes);
    m[10] = on_device(device, world->prepared, (size_t)q * shape->dim * sizeof(float));
    m[11] = on_device(device, NULL, (size_t)q * shape->k * sizeof(struct hit));
    copy.walk.rows.codes = m[0];
    copy.walk.rows.metas = m[1];
    copy.walk.blocks = m[2];
    copy.walk.entries = m[3];
    copy.walk.erased = shape->erased ? m[4] : NULL;
    copy.walk.allowed = shape->allowed ? m[5] : NULL;
    copy.walk.codes = m[6];
    copy.walk.queries = m[7];
    copy.walk.keys = m[8];
    copy.vectors = m[9];
    copy.prepared = m[10];
    copy.hits = m[11];
    return copy;
}

static inline void
random_copy_free(const struct device_handle *device, const struct random_copy *copy)
{
    for (size_t i = 0; i < sizeof copy->memory / sizeof *copy->memory; i++)
        device->ops->free(device->device, copy->memory[i]);
}

// What a walk left differently; `keys` gets the oracle's.
static inline uint64_t
walk_differences(const struct device_handle *device, const struct random_world *world,
                 const struct random_copy *copy, uint64_t *keys)
{
    const size_t count = (size_t)world->shape.queries * world->shape.kept;
    uint64_t *theirs = take(count * sizeof *theirs), differences = 0;
    struct device_walk walk = random_walk(world);
    walk.keys = keys;
    must(device_cpu_walk(NULL, &walk), "the oracle's walk");
    must(device->ops->fill(device->device, copy->walk.keys, 0xa5, count * sizeof *theirs), "fill");
    must(device->ops->walk(device->device, &copy->walk), "walk");
    must(device->ops->get(device->device, theirs, copy->walk.keys, count * sizeof *theirs), "walk");
    for (size_t i = 0; i < count; i++)
        differences += keys[i] != theirs[i];
    mem_free(theirs);
    return differences;
}

static inline uint64_t
hit_differences(const struct device_handle *device, const struct random_copy *copy,
                const struct hit *hits, size_t count)
{
    struct hit *theirs = take(count * sizeof *theirs);
    uint64_t differences = 0;
    must(device->ops->get(device->device, theirs, copy->hits, count * sizeof *theirs), "hits");
    for (size_t i = 0; i < count; i++)
        differences += memcmp(&hits[i], &theirs[i], sizeof *hits) != 0;
    must(device->ops->fill(device->device, copy->hits, 0xa5, count * sizeof *theirs), "fill");
    mem_free(theirs);
    return differences;
}

static inline uint64_t
rerank_differences(const struct device_handle *device, const struct random_world *world,
                   const struct random_copy *copy, const uint64_t *keys)
{
    const struct random_shape *shape = &world->shape;
    const size_t count = (size_t)shape->queries * shape->k;
    struct hit *hits = take(count * sizeof *hits);
    struct device_rerank rerank = {
        .vectors = {world->vectors, shape->rows, shape->dim, shape->type, shape->metric},
        .prepared = world->prepared,
        .queries = world->queries,
        .erased = shape->erased ? world->erased : NULL,
        .allowed = shape->allowed ? world->allowed : NULL,
        .keys = keys,
        .count = shape->queries,
        .width = shape->kept,
        .k = shape->k,
        .hits = hits};
    must(device_cpu_rerank(NULL, &rerank), "the oracle's rerank");
    must(device->ops->put(device->device, copy->walk.keys, keys,
                          (size_t)shape->queries * shape->kept * sizeof *keys),
         "put");
    rerank.vectors.rows = copy->vectors;
    rerank.prepared = copy->prepared;
    rerank.queries = copy->walk.queries;
    rerank.erased = copy->walk.erased;
    rerank.allowed = copy->walk.allowed;
    rerank.keys = copy->walk.keys;
    rerank.hits = copy->hits;
    must(device->ops->rerank(device->device, &rerank), "rerank");
    const uint64_t differences = hit_differences(device, copy, hits, count);
    mem_free(hits);
    return differences;
}

static inline uint64_t
knn_differences(const struct device_handle *device, const struct random_world *world,
                const struct random_copy *copy)
{
    const struct random_shape *shape = &world->shape;
    const size_t count = (size_t)shape->queries * shape->k;
    struct hit *hits = take(count * sizeof *hits);
    struct device_knn knn = {
        .vectors = {world->vectors, shape->rows, shape->dim, shape->type, shape->metric},
        .prepared = world->prepared,
        .erased = shape->erased ? world->erased : NULL,
        .allowed = shape->allowed ? world->allowed : NULL,
        .count = shape->queries,
        .k = shape->k,
        .hits = hits};
    must(device_cpu_knn(NULL, &knn), "the oracle's knn");
    knn.vectors.rows = copy->vectors;
    knn.prepared = copy->prepared;
    knn.erased = copy->walk.erased;
    knn.allowed = copy->walk.allowed;
    knn.hits = copy->hits;
    must(device->ops->knn(device->device, &knn), "knn");
    const uint64_t differences = hit_differences(device, copy, hits, count);
    mem_free(hits);
    return differences;
}

// How many of the answers of walk, rerank and knn differ from the oracle's.
static inline uint64_t
random_differences(const struct device_handle *device, const struct random_world *world)
{
    const struct random_shape *shape = &world->shape;
    uint64_t *keys = take((size_t)shape->queries * shape->kept * sizeof *keys);
    const struct random_copy copy = random_copy_make(device, world);
    uint64_t differences = walk_differences(device, world, &copy, keys);
    differences += rerank_differences(device, world, &copy, keys);
    differences += knn_differences(device, world, &copy);
    random_copy_free(device, &copy);
    mem_free(keys);
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
