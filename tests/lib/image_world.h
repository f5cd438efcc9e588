// tests/lib/image_world.h -- an index of tests/lib/index_world.h, saved to a table and loaded again.
//
// Shape: value. Header only, because tests/lib/*.c is linked into tests that have no index.
#ifndef OMEN_TESTS_IMAGE_WORLD_H
#define OMEN_TESTS_IMAGE_WORLD_H
#include "tests/lib/image_table.h"
#include "tests/lib/index_world.h"

// How indexes differ in what is saved of them.
struct image_kind {
    const char *name;
    uint32_t dim, rows;
    enum metric metric;
    enum vector_type type;
    enum hnsw_quantization quantization;
    bool flat;
};

static const struct image_kind image_kinds[] = {
    {"nibble l2", 64, 1500, METRIC_L2, VECTOR_F32, HNSW_QUANTIZE_INT8, false},
    {"nibble ip", 96, 1500, METRIC_IP, VECTOR_F32, HNSW_QUANTIZE_INT8, false},
    {"nibble cosine f16", 64, 1500, METRIC_COSINE, VECTOR_F16, HNSW_QUANTIZE_INT8, false},
    {"exact ip", 64, 1500, METRIC_IP, VECTOR_F32, HNSW_QUANTIZE_NONE, false},
    {"exact u8", 48, 1500, METRIC_L2, VECTOR_U8, HNSW_QUANTIZE_INT8, false},
    {"exact narrow", 7, 4000, METRIC_L2, VECTOR_F32, HNSW_QUANTIZE_INT8, false},
    {"not founded", 64, 500, METRIC_L2, VECTOR_F32, HNSW_QUANTIZE_INT8, false},
    {"empty", 64, 0, METRIC_L2, VECTOR_F32, HNSW_QUANTIZE_INT8, false},
    {"flat", 64, 1500, METRIC_COSINE, VECTOR_F32, HNSW_QUANTIZE_INT8, true},
    {"wide", 900, 1200, METRIC_L2, VECTOR_F32, HNSW_QUANTIZE_INT8, false},
};
#define IMAGE_KINDS ((int)(sizeof image_kinds / sizeof image_kinds[0]))

static inline void
world_init_kind(struct world *world, const struct image_kind *kind)
{
    world_init(world, kind->dim, kind->metric, kind->type);
    world->config.quantization = kind->quantization;
    world->config.flat = kind->flat;
    world->config.links = 8;
    world->config.build_beam = 40;
    if (kind->metric == METRIC_IP)
        world->law.norms = 2.0f;
    world_open(world);
}

static inline omen_status
world_try_save(struct world *world, struct image_table *table)
{
    struct hnsw_save *save;
    const struct image_sink sink = image_table_sink(table);
    ck_assert_int_eq(hnsw_save_begin(world->hnsw, &save), OMEN_OK);
    omen_status status = hnsw_save_arrays(save, &sink);
    if (status == OMEN_OK)
        status = hnsw_save_head(save, &sink);
    hnsw_save_close(save, status == OMEN_OK ? HNSW_SAVED : HNSW_NOT_SAVED);
    return status;
}

// With the links of new rows, or all where it is time to.
static inline omen_status
world_try_save_grown(struct world *world, struct image_table *table)
{
    struct hnsw_save *save;
    const struct image_sink sink = image_table_sink(table);
    ck_assert_int_eq(hnsw_save_begin_grown(world->hnsw, &save), OMEN_OK);
    omen_status status = hnsw_save_arrays(save, &sink);
    if (status == OMEN_OK)
        status = hnsw_save_head(save, &sink);
    hnsw_save_close(save, status == OMEN_OK ? HNSW_SAVED : HNSW_NOT_SAVED);
    return status;
}

static inline void
world_save_grown(struct world *world, struct image_table *table)
{
    ck_assert_int_eq(world_try_save_grown(world, table), OMEN_OK);
}

static inline void
world_save(struct world *world, struct image_table *table)
{
    ck_assert_int_eq(world_try_save(world, table), OMEN_OK);
}

// Another world of the same law with the index that the table holds.
static inline void
world_load(struct world *world, const struct world *from, struct image_table *table)
{
    const struct image_source source = image_table_source(table);
    world_init(world, from->config.dim, from->config.metric, from->config.type);
    world->config = from->config;
    world->law.norms = from->law.norms;
    world->law.rows = from->law.rows;
    ck_assert_int_eq(hnsw_load(&world->config, &source, &world->hnsw), OMEN_OK);
}

// Both answer alike, with the same work.
static inline void
world_check_equal(const struct world *a, const struct world *b)
{
    CLAIM(hnsw_count(a->hnsw) == hnsw_count(b->hnsw), "rows");
    CLAIM(hnsw_live(a->hnsw) == hnsw_live(b->hnsw), "live");
    CLAIM(hnsw_linked(a->hnsw) == hnsw_linked(b->hnsw), "linked");
    struct prng prng = a->law.queries;
    for (uint32_t i = 0; i < 40; i++) {
        float vector[WORLD_DIM_MAX];
        struct hit hits[2][20];
        struct hnsw_work works[2] = {0};
        law_draw(&a->law, &prng, vector);
        struct hnsw_query query = world_query(vector, 20, 40);
        query.work = &works[0];
        const uint32_t count = hnsw_search(a->hnsw, &query, a->scratch, hits[0]);
        query.work = &works[1];
        CLAIM(hnsw_search(b->hnsw, &query, b->scratch, hits[1]) == count, "query %u", i);
        for (uint32_t j = 0; j < count; j++)
            CLAIM(hits[0][j].slot == hits[1][j].slot && hits[0][j].distance == hits[1][j].distance,
                  "query %u, hit %u: slots %u, %u", i, j, hits[0][j].slot, hits[1][j].slot);
        CLAIM(works[0].evaluations == works[1].evaluations && works[0].hops == works[1].hops,
              "query %u works differently", i);
    }
}

#endif
