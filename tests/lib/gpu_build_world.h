// tests/lib/gpu_build_world.h -- an index that the inserter built, and builds by a device of the same codes.
//
// Shape: value. Header only: one test each includes it.
#ifndef OMEN_TESTS_GPU_BUILD_WORLD_H
#define OMEN_TESTS_GPU_BUILD_WORLD_H
#include "base/tsan.h"
#include "gpu/build.h"
#include "index/graph.h"
#include "index/mirror.h"
#include "tests/lib/index_world.h"

#ifdef OMEN_UNDER_TSAN // which is slow, and sees the same threads
#define ROWS 1100u
#else
#define ROWS 2000u
#endif
#define QUERIES 100u
#define K 10u

static struct world world;
static struct device_handle device;
static struct mirror_shape shape;
static struct gpu_build_config config;
static struct gpu_build_input input;
static struct gpu_build_report report;
static int8_t *codes;
static uint8_t *blocks;
static struct byte_meta *metas;
static size_t block_bytes;
static uint32_t stride;

// An index that the inserter built, and a build of the same codes, by leaves or by exact lists.
static inline void
begin(uint32_t dim, enum metric metric, uint32_t exact_rows)
{
    struct omen_error error;
    world_init(&world, dim, metric, VECTOR_F32);
    world_build(&world, ROWS);
    ck_assert(hnsw_mirror_shape(world.hnsw, MIRROR_GRAPH, &shape));
    ck_assert_uint_eq(shape.rows, ROWS);
    uint8_t *const planes = malloc((size_t)ROWS * shape.row_bytes * 2);
    uint8_t *const low = planes + (size_t)ROWS * shape.row_bytes;
    stride = (shape.row_bytes * 2 + DEVICE_STRIDE - 1) / DEVICE_STRIDE * DEVICE_STRIDE;
    codes = malloc((size_t)ROWS * stride);
    metas = malloc(ROWS * sizeof *metas);
    hnsw_mirror_codes(world.hnsw, 0, ROWS, planes, low, metas);
    const struct device_join join = {planes, low, ROWS, shape.row_bytes, stride, codes};
    ck_assert_int_eq(device_cpu.join(NULL, &join), OMEN_OK);
    free(planes);
    block_bytes = link_row_bytes(shape.links_max, (enum link_width)shape.link_bytes);
    blocks = malloc(ROWS * block_bytes);
    ck_assert_int_eq(device_open(DEVICE_NEVER, &device, &error), OMEN_OK);
    config = (metric == METRIC_IP ? gpu_build_config_for_ip
                                  : gpu_build_config_for)(ROWS, shape.links_max / 2);
    config.link_width = shape.link_bytes;
    config.exact_rows = exact_rows;
    config.leaf_rows = 128;
    config.leaf_max = 256;
    hnsw_mirror_entries(world.hnsw, 1, &config.entry);
    input = (struct gpu_build_input){.codes = codes,
                                     .metas = metas,
                                     .count = ROWS,
                                     .stride = stride,
                                     .ip = shape.ip,
                                     .radius2 = shape.radius2};
}

static inline void
end(void)
{
    device_close(&device);
    free(codes);
    free(metas);
    free(blocks);
    world_fini(&world);
}

static inline omen_status
build(struct omen_error *error)
{
    return gpu_build_run(&device, &config, &input, blocks, NULL, &report, error);
}

static inline void
must_build(void)
{
    struct omen_error error;
    ck_assert_msg(build(&error) == OMEN_OK, "%s", error.text);
}

// What walks of one beam find, and how many rows they compare.
struct walks {
    double recall;
    uint64_t evaluations;
};

static inline struct walks
walk(uint32_t beam)
{
    struct prng prng = world.law.queries;
    struct walks walks = {0};
    for (uint32_t i = 0; i < QUERIES; i++) {
        float vector[WORLD_DIM_MAX];
        struct hnsw_work work = {0};
        law_draw(&world.law, &prng, vector);
        struct hnsw_query query = world_query(vector, K, beam);
        query.work = &work;
        walks.recall += world_ask(&world, &query) / QUERIES;
        walks.evaluations += work.evaluations;
    }
    return walks;
}

static inline void
install(void)
{
    for (uint32_t row = 0; row < ROWS; row++)
        memcpy(arena_row(&world.hnsw->graph.rows, row), blocks + row * block_bytes, block_bytes);
    ck_assert_uint_eq(world_check(&world), 0);
}

#endif
