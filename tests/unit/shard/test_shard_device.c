// tests/unit/shard/test_shard_device.c -- searches with backend cuda: where there is no GPU, and on the plain device.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "omendb.h"
#include "tests/lib/check_main.h"

#define DIM 64u
#define ROWS 3000u
#define QUERIES 100u
#define K 10u

static omen_index_t index_;
static float rows[ROWS][DIM], asked[QUERIES][DIM];
static uint64_t ids[QUERIES * K], own[QUERIES * K];
static float distances[QUERIES * K], own_distances[QUERIES * K];

static void
draw(struct prng *prng, float *row)
{
    float inner[6];
    for (uint32_t i = 0; i < 6; i++)
        inner[i] = prng_unit(prng) * 2.0f - 1.0f;
    for (uint32_t i = 0; i < DIM; i++) {
        const uint32_t turn = i / 6 + 1;
        row[i] = sinf(inner[i % 6] * (float)turn) + 0.3f * inner[(i + 1) % 6];
    }
}

static void
must(omen_status status)
{
    ck_assert_msg(status == OMEN_OK, "%d: %s", status, omen_error_message());
}

static void
open_index(const char *plugin)
{
    setenv("OMEN_GPU_PLUGIN", plugin, 1);
    struct prng prng = {.state = 5};
    omen_options options = OMEN_OPTIONS_INIT;
    options.dimension = DIM;
    options.metric = OMEN_L2;
    must(omen_open(&options, &index_));
    for (uint32_t i = 0; i < ROWS; i++)
        draw(&prng, rows[i]);
    for (uint32_t i = 0; i < QUERIES; i++)
        draw(&prng, asked[i]);
    uint64_t numbers[ROWS];
    for (uint32_t i = 0; i < ROWS; i++)
        numbers[i] = i;
    const omen_batch batch = {.struct_size = sizeof batch,
                              .dtype = OMEN_F32,
                              .count = ROWS,
                              .vectors = rows,
                              .ids = numbers};
    must(omen_upsert(index_, &batch));
    must(omen_build(index_, NULL));
}

static omen_query_options
options_of(omen_backend backend)
{
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    options.k = K;
    options.ef = 80;
    options.backend = backend;
    return options;
}

// How much of the exact answer a batch on the device has; each answer lives and is no nearer than the exact ones.
static double
share_right(const omen_query_options *wanted)
{
    omen_query_options exact = *wanted;
    exact.backend = OMEN_BACKEND_CPU;
    exact.exact = 1;
    exact.report = NULL;
    must(omen_query_batch(index_, asked, QUERIES, wanted, ids, distances));
    must(omen_query_batch(index_, asked, QUERIES, &exact, own, own_distances));
    uint32_t right = 0, all = 0;
    for (uint32_t i = 0; i < QUERIES * K; i++) {
        if (own[i] == UINT64_MAX)
            continue;
        all++;
        ck_assert(ids[i] == UINT64_MAX || omen_contains(index_, ids[i]) == 1);
        ck_assert_float_ge(distances[i], own_distances[i] - 1e-4f);
        for (uint32_t j = i / K * K; j < i / K * K + K; j++)
            right += ids[j] == own[i];
    }
    return all > 0 ? (double)right / all : 1.0;
}

START_TEST(without_a_gpu_a_search_that_wants_one_says_why)
{
    open_index("/nowhere/omendb_gpu.so");
    const omen_query_options options = options_of(OMEN_BACKEND_CUDA);
    ck_assert_int_eq(omen_query_batch(index_, asked, QUERIES, &options, ids, distances),
                     OMEN_E_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(omen_error_message(), "no GPU"));
    ck_assert_ptr_nonnull(strstr(omen_error_message(), "/nowhere/omendb_gpu.so"));
    omen_close(index_);
}
END_TEST

static void
is_refused(omen_status status)
{
    ck_assert_int_eq(status, OMEN_E_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(omen_error_message(), "backend cuda"));
}

// Never quietly done by the CPU, also where there is a device.
START_TEST(a_gpu_is_asked_in_vain_for_anything_but_a_batch)
{
    open_index(PLAIN_DEVICE);
    const omen_query_options options = options_of(OMEN_BACKEND_CUDA);
    uint32_t found;
    omen_points_t points;
    omen_recall recall = {.struct_size = sizeof recall};
    omen_build_options build = OMEN_BUILD_OPTIONS_INIT;
    build.backend = OMEN_BACKEND_CUDA;
    is_refused(omen_query(index_, asked[0], &options, ids, distances, &found));
    is_refused(omen_range(index_, asked[0], 1.0f, &options, &points));
    is_refused(omen_measure_recall(index_, 10, &options, &recall));
    must(omen_build(index_, &build)); // of which nothing is left to do
    omen_close(index_);
}
END_TEST

START_TEST(without_a_gpu_exact_neighbours_are_found_by_the_cpu)
{
    open_index("/nowhere/omendb_gpu.so");
    omen_query_options options = options_of(OMEN_BACKEND_AUTO);
    must(omen_knn_exact(index_, asked, QUERIES, &options, ids, distances));
    options.exact = 1;
    must(omen_query_batch(index_, asked, QUERIES, &options, own, own_distances));
    ck_assert_int_eq(memcmp(ids, own, sizeof ids), 0);
    for (uint32_t i = 0; i < QUERIES * K; i++)
        ck_assert_float_eq(distances[i], own_distances[i]);
    omen_close(index_);
}
END_TEST

START_TEST(a_device_answers_as_the_cpu_does)
{
    open_index(PLAIN_DEVICE);
    omen_query_options options = options_of(OMEN_BACKEND_CUDA);
    omen_query_report report;
    options.report = &report;
    ck_assert_double_ge(share_right(&options), 0.97);
    ck_assert_uint_gt(report.evaluations, 0);
    must(omen_knn_exact(index_, asked, QUERIES, &options, ids, distances));
    ck_assert_int_eq(memcmp(ids, own, sizeof ids), 0);
    ck_assert_uint_eq(report.exact_distances, (uint64_t)QUERIES * ROWS);
    omen_close(index_);
}
END_TEST

START_TEST(what_is_written_between_batches_is_seen)
{
    open_index(PLAIN_DEVICE);
    const omen_query_options options = options_of(OMEN_BACKEND_CUDA);
    ck_assert_double_ge(share_right(&options), 0.97);
    // The nearest of each query goes, and of some a row comes that is nearer than all.
    uint64_t gone[QUERIES];
    for (uint32_t q = 0; q < QUERIES; q++)
        gone[q] = ids[q * K];
    must(omen_delete(index_, gone, QUERIES, NULL));
    uint64_t numbers[10];
    for (uint32_t q = 0; q < 10; q++)
        numbers[q] = 10000 + q;
    const omen_batch batch = {.struct_size = sizeof batch,
                              .dtype = OMEN_F32,
                              .count = 10,
                              .vectors = asked,
                              .ids = numbers};
    must(omen_upsert(index_, &batch));
    ck_assert_double_ge(share_right(&options), 0.97);
    for (uint32_t q = 0; q < 10; q++)
        ck_assert_uint_eq(ids[q * K], 10000 + q);
    // An old id moves to where another query is.
    const omen_batch moved = {.struct_size = sizeof moved,
                              .dtype = OMEN_F32,
                              .count = 1,
                              .vectors = asked[50],
                              .ids = &(uint64_t){2}};
    must(omen_upsert(index_, &moved));
    ck_assert_double_ge(share_right(&options), 0.97);
    ck_assert_uint_eq(ids[50 * K], 2);
    must(omen_compact(index_));
    ck_assert_double_ge(share_right(&options), 0.97);
    ck_assert_uint_eq(ids[50 * K], 2);
    omen_close(index_);
}
END_TEST

START_TEST(what_a_device_does_not_do_is_refused)
{
    open_index(PLAIN_DEVICE);
    omen_query_options options = options_of(OMEN_BACKEND_CUDA);
    options.deadline_us = 1000000;
    ck_assert_int_eq(omen_query_batch(index_, asked, QUERIES, &options, ids, distances),
                     OMEN_E_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(omen_error_message(), "deadline_us"));
    options.deadline_us = 0;
    options.oversample = 50;
    ck_assert_int_eq(omen_query_batch(index_, asked, QUERIES, &options, ids, distances),
                     OMEN_E_UNSUPPORTED);
    options.oversample = 0;
    options.ef = 513;
    ck_assert_int_eq(omen_query_batch(index_, asked, QUERIES, &options, ids, distances),
                     OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(omen_error_message(), "ef is 513"));
    options.ef = 50;
    asked[7][3] = NAN;
    ck_assert_int_eq(omen_query_batch(index_, asked, QUERIES, &options, ids, distances),
                     OMEN_E_NOT_FINITE);
    ck_assert_ptr_nonnull(strstr(omen_error_message(), "query 7"));
    options.backend = (omen_backend)3;
    ck_assert_int_eq(omen_query_batch(index_, asked, QUERIES, &options, ids, distances),
                     OMEN_E_INVALID);
    omen_close(index_);
}
END_TEST

static Suite *
shard_device_suite(void)
{
    Suite *suite = suite_create("shard/shard_device");
    TCase *tests = tcase_create("device");
    tcase_add_test(tests, without_a_gpu_a_search_that_wants_one_says_why);
    tcase_add_test(tests, a_gpu_is_asked_in_vain_for_anything_but_a_batch);
    tcase_add_test(tests, without_a_gpu_exact_neighbours_are_found_by_the_cpu);
    tcase_add_test(tests, a_device_answers_as_the_cpu_does);
    tcase_add_test(tests, what_is_written_between_batches_is_seen);
    tcase_add_test(tests, what_a_device_does_not_do_is_refused);
    suite_add_tcase(suite, tests);
    return suite;
}

CHECK_MAIN(shard_device_suite)
