// tests/unit/shard/test_shard_range.c -- a radius against a scan, on data on which a short look misses much.
#include <check.h>

#include "base/prng.h"
#include "tests/lib/check_main.h"
#include "tests/lib/shard_model.h"

#define ROWS 4000u
#define QUERIES 20u
#define HITS_MAX 2000u

static const uint32_t dims[] = {64, 256, 784};

struct ground {
    omen_index_t index;
    uint32_t dim;
    struct prng prng;
};

static float *
draw(struct ground *ground, uint32_t count)
{
    float *vectors = malloc((size_t)count * ground->dim * sizeof *vectors);
    ck_assert_ptr_nonnull(vectors);
    for (size_t i = 0; i < (size_t)count * ground->dim; i++)
        vectors[i] = prng_unit(&ground->prng) - 0.5f;
    return vectors;
}

// Uniform rows: no data is harder for a graph.
static void
ground_open(struct ground *ground, uint32_t dim)
{
    omen_options options = OMEN_OPTIONS_INIT;
    omen_batch batch = OMEN_BATCH_INIT;
    ground->dim = dim;
    prng_init(&ground->prng, dim);
    float *vectors = draw(ground, ROWS);
    options.dimension = dim;
    options.metric = OMEN_L2;
    batch.count = ROWS;
    batch.vectors = vectors;
    ck_assert_int_eq(omen_open(&options, &ground->index), OMEN_OK);
    ck_assert_int_eq(omen_add(ground->index, &batch), OMEN_OK);
    ck_assert_int_eq(omen_build(ground->index, NULL), OMEN_OK);
    free(vectors);
}

// How much of what lies within radii of `there` points is found.
static double
recall(struct ground *ground, uint32_t there, const omen_query_options *asked,
       uint64_t *evaluations)
{
    static uint64_t ids[HITS_MAX];
    static float distances[HITS_MAX];
    size_t found = 0;
    *evaluations = 0;
    for (uint32_t q = 0; q < QUERIES; q++) {
        omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
        omen_query_report report;
        omen_points_t points;
        float *vector = draw(ground, 1);
        options.exact = 1;
        options.k = there;
        ck_assert_int_eq(omen_query(ground->index, vector, &options, ids, distances, NULL),
                         OMEN_OK);
        options = *asked;
        options.report = &report;
        const float radius = distances[there - 1];
        ck_assert_int_eq(omen_range(ground->index, vector, radius, &options, &points), OMEN_OK);
        for (size_t i = 0; i < omen_points_count(points); i++)
            ck_assert(omen_points_distance(points, i) <= radius);
        ck_assert_uint_le(omen_points_count(points), there);
        found += omen_points_count(points);
        *evaluations += report.evaluations;
        omen_points_free(points);
        free(vector);
    }
    return (double)found / (there * QUERIES);
}

START_TEST(by_default_nearly_all_is_found_in_many_dimensions_whether_one_or_thousands)
{
    static const uint32_t theres[] = {1, 10, 60, 200, 1000, 2000};
    const omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    struct ground ground;
    uint64_t evaluations;
    ground_open(&ground, dims[_i]);
    for (size_t i = 0; i < sizeof theres / sizeof theres[0]; i++) {
        const double found = recall(&ground, theres[i], &options, &evaluations);
        ck_assert_msg(found >= 0.95, "%u components, %u hits: %g", dims[_i], theres[i], found);
    }
    omen_close(ground.index);
}
END_TEST

START_TEST(ef_says_how_far_to_look_and_exact_misses_none)
{
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    struct ground ground;
    uint64_t all, little, much;
    ground_open(&ground, 256);
    (void)recall(&ground, 60, &options, &all);
    options.ef = 64;
    const double short_look = recall(&ground, 60, &options, &little);
    options.ef = 2000;
    const double long_look = recall(&ground, 60, &options, &much);
    ck_assert_uint_lt(little, all);
    ck_assert_uint_lt(little, much);
    ck_assert_msg(short_look < 0.95 && long_look >= 0.95, "%g and %g", short_look, long_look);
    options = (omen_query_options)OMEN_QUERY_OPTIONS_INIT;
    options.exact = 1;
    ck_assert(recall(&ground, 300, &options, &all) == 1.0);
    omen_close(ground.index);
}
END_TEST

static Suite *
shard_range_suite(void)
{
    Suite *suite = suite_create("shard/shard_range");
    TCase *radius = tcase_create("radius");
    tcase_add_loop_test(
        radius, by_default_nearly_all_is_found_in_many_dimensions_whether_one_or_thousands, 0, 3);
    tcase_add_test(radius, ef_says_how_far_to_look_and_exact_misses_none);
    suite_add_tcase(suite, radius);
    return suite;
}

CHECK_MAIN(shard_range_suite)
