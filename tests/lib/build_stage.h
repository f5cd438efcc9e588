// tests/lib/build_stage.h -- a bulk build that has come to no stage yet, so that a test runs one of them alone.
//
// Shape: value. Header only, as tests/lib/build_world.h.
//
// Rows are whole numbers, so distances are exact in floats, whichever way they are summed, and many are equal.
#ifndef OMEN_TESTS_BUILD_STAGE_H
#define OMEN_TESTS_BUILD_STAGE_H
#include "index/build_int.h"
#include "tests/lib/build_world.h"

struct stage {
    struct build_world world;
    struct build_rows rows;
    struct build_report report;
    struct build build;
};

// The world's rows are there. As bytes, or the same numbers as floats.
static inline void
stage_open(struct stage *stage, const struct build_config *config)
{
    stage->rows = build_world_rows(&stage->world);
    stage->report = (struct build_report){0};
    stage->build = (struct build){.source = &stage->rows,
                                  .rows = stage->rows,
                                  .config = *config,
                                  .tiles = kernels_best()->tiles,
                                  .seed = config->seed,
                                  .report = &stage->report};
    workers_shape(&stage->build);
    ck_assert_int_eq(workers_open(&stage->build), OMEN_OK);
}

static inline void
stage_rows(struct stage *stage, uint32_t count, uint32_t dim, float scale, enum build_kind kind)
{
    build_world_init(&stage->world, count, dim);
    build_world_quantize(&stage->world, scale);
    if (kind == BUILD_FLOATS) {
        free(stage->world.bytes);
        stage->world.bytes = NULL;
    }
}

// Room for the links of all rows, without any.
static inline void
stage_links(struct stage *stage)
{
    struct build *build = &stage->build;
    build->links = build_alloc(build, links_bytes(build));
    build->counts = build_alloc(build, build->source->count);
    ck_assert(build->links != NULL && build->counts != NULL);
}

static inline uint32_t *
stage_links_of(const struct stage *stage, uint32_t row)
{
    return stage->build.links + (size_t)row * stage->build.config.links_max;
}

// What the stage took and did not give back is what it was to leave behind.
static inline void
stage_close(struct stage *stage)
{
    struct build *build = &stage->build;
    build_free(build, build->links, links_bytes(build));
    build_free(build, build->counts, build->source->count);
    build_free(build, build->twins, stage->report.twins * sizeof *build->twins);
    build_free(build, build->members,
               (size_t)(build->source->count - stage->report.twins) * sizeof *build->members);
    workers_close(build);
    ck_assert_uint_eq(atomic_load(&build->memory_now), 0);
    build_world_fini(&stage->world);
}

static inline float
stage_apart(const struct stage *stage, uint32_t a, uint32_t b)
{
    return build_world_distance(&stage->world, stage->world.floats + (size_t)a * stage->world.dim,
                                b);
}

static inline bool
stage_has(const uint32_t *rows, size_t count, uint32_t row)
{
    for (size_t i = 0; i < count; i++)
        if (rows[i] == row)
            return true;
    return false;
}

#endif
