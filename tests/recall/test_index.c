// tests/recall/test_index.c -- floors: the least recall at 10 of every metric, type and dimension.
//
// Labels: recall
//
// 2,500 rows from clusters in ten bent dimensions, M = 16, efConstruction = 100, a beam of 16. The floors lie a point
// or two below what was measured when they were written; what falls through has become worse.
#include <stdio.h>

#include "tests/lib/index_world.h"

#define ROWS 2500u

struct floor_case {
    enum metric metric;
    enum vector_type type;
    uint32_t dim;
    float norms; // ip: the longest row is so many times the shortest
    double floor;
};

static const struct floor_case cases[] = {
    {METRIC_L2, VECTOR_F32, 1, 1, 0.99},         {METRIC_L2, VECTOR_F32, 2, 1, 0.99},
    {METRIC_L2, VECTOR_F32, 3, 1, 0.99},         {METRIC_L2, VECTOR_F32, 64, 1, 0.985},
    {METRIC_L2, VECTOR_F32, 127, 1, 0.985},      {METRIC_L2, VECTOR_F32, 128, 1, 0.985},
    {METRIC_L2, VECTOR_F32, 384, 1, 0.985},      {METRIC_L2, VECTOR_F32, 784, 1, 0.985},
    {METRIC_L2, VECTOR_F32, 1536, 1, 0.985},     {METRIC_L2, VECTOR_F32, 4096, 1, 0.985},
    {METRIC_COSINE, VECTOR_F32, 2, 1, 0.99},     {METRIC_COSINE, VECTOR_F32, 64, 1, 0.985},
    {METRIC_COSINE, VECTOR_F32, 128, 1, 0.985},  {METRIC_COSINE, VECTOR_F32, 384, 1, 0.985},
    {METRIC_COSINE, VECTOR_F32, 1536, 1, 0.985}, {METRIC_IP, VECTOR_F32, 3, 1, 0.965},
    {METRIC_IP, VECTOR_F32, 64, 1, 0.965},       {METRIC_IP, VECTOR_F32, 128, 1, 0.965},
    {METRIC_IP, VECTOR_F32, 784, 1, 0.965},      {METRIC_IP, VECTOR_F32, 64, 10, 0.965},
    {METRIC_IP, VECTOR_F32, 128, 10, 0.965},     {METRIC_IP, VECTOR_F32, 3, 10, 0.965},
    {METRIC_IP, VECTOR_F32, 16, 10, 0.965},      {METRIC_L2, VECTOR_F16, 128, 1, 0.985},
    {METRIC_COSINE, VECTOR_F16, 384, 1, 0.985},  {METRIC_IP, VECTOR_F16, 128, 10, 0.965},
    {METRIC_L2, VECTOR_BF16, 128, 1, 0.985},     {METRIC_COSINE, VECTOR_BF16, 100, 1, 0.985},
    {METRIC_L2, VECTOR_I8, 128, 1, 0.985},       {METRIC_COSINE, VECTOR_I8, 384, 1, 0.985},
    {METRIC_IP, VECTOR_I8, 128, 1, 0.965},       {METRIC_L2, VECTOR_U8, 128, 1, 0.985},
    {METRIC_COSINE, VECTOR_U8, 784, 1, 0.985},   {METRIC_L2, VECTOR_U8, 3, 1, 0.985},
};
#define CASES ((int)(sizeof cases / sizeof cases[0]))

static void
check_floor(const struct floor_case *of, enum hnsw_quantization quantization)
{
    struct world world;
    world_init(&world, of->dim, of->metric, of->type);
    world.config.quantization = quantization;
    world.law.norms = of->norms;
    world_build(&world, ROWS);
    const double recall = world_recall(&world, 200, 10, 16);
    if (getenv("RECALL_SHOWN") != NULL)
        (void)printf("%u %u %4u x%g %s: %g\n", of->metric, of->type, of->dim, (double)of->norms,
                     hnsw_code_name(world.hnsw), recall);
    ck_assert_uint_eq(world_check(&world), 0);
    ck_assert_msg(recall >= of->floor,
                  "metric %u, type %u, %u components, %s: recall %g, at least %g", of->metric,
                  of->type, of->dim, hnsw_code_name(world.hnsw), recall, of->floor);
    world_fini(&world);
}

START_TEST(recall_is_above_its_floor)
{
    check_floor(&cases[_i], HNSW_QUANTIZE_INT8);
}
END_TEST

START_TEST(recall_without_quantization_is_above_its_floor)
{
    static const struct floor_case exact[] = {{METRIC_L2, VECTOR_F32, 128, 1, 0.985},
                                              {METRIC_COSINE, VECTOR_F16, 384, 1, 0.985},
                                              {METRIC_IP, VECTOR_F32, 128, 1, 0.965},
                                              {METRIC_IP, VECTOR_F32, 128, 10, 0.965}};
    check_floor(&exact[_i], HNSW_QUANTIZE_NONE);
}
END_TEST

static Suite *
index_recall_suite(void)
{
    Suite *suite = suite_create("index recall");
    TCase *tcase = tcase_create("floors");
    tcase_add_loop_test(tcase, recall_is_above_its_floor, 0, CASES);
    tcase_add_loop_test(tcase, recall_without_quantization_is_above_its_floor, 0, 4);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(index_recall_suite)
