// tests/unit/index/test_hnsw_found.c -- which rows are coded, and which are walked themselves.
#include "tests/lib/index_world.h"

static struct world world;

static void
expect_code(const char *name)
{
    ck_assert(hnsw_link_next(world.hnsw, world.scratch));
    ck_assert_str_eq(hnsw_code_name(world.hnsw), name);
}

START_TEST(wide_rows_of_floats_are_coded)
{
    static const uint32_t dims[] = {64, 128, 784, 4096};
    static const enum vector_type types[] = {VECTOR_F32, VECTOR_F16, VECTOR_BF16};
    world_init(&world, dims[_i % 4], (enum metric)(_i % 3), types[_i / 4]);
    world_add(&world, HNSW_FOUND_ROWS);
    expect_code("nibble+byte");
    ck_assert_float_gt(world.hnsw->codec.variance, 0.0f);
    ck_assert_float_gt(world.hnsw->codec.high_error, world.hnsw->codec.both_error);
    ck_assert_float_gt(world.hnsw->codec.both_error, 0.0f);
    ck_assert_float_lt(world.hnsw->codec.high_error, 0.05f);
    world_fini(&world);
}
END_TEST

START_TEST(narrow_rows_bytes_and_rows_without_quantization_are_walked_themselves)
{
    world_init(&world, _i == 0 ? 3 : 128, METRIC_L2,
               _i == 1   ? VECTOR_I8
               : _i == 2 ? VECTOR_U8
                         : VECTOR_F32);
    if (_i == 3)
        world.config.quantization = HNSW_QUANTIZE_NONE;
    world_add(&world, HNSW_FOUND_ROWS);
    expect_code("exact");
    world_fini(&world);
}
END_TEST

// A code's step is a part of a row's distance from the mean of all, so what lies inside a far cluster is beyond it.
START_TEST(clusters_a_hundred_spreads_from_the_origin_are_walked_themselves_and_found)
{
    world_init(&world, 128, METRIC_L2, VECTOR_F32);
    struct prng prng = {.state = 3};
    float centres[40][128];
    for (uint32_t c = 0; c < 40; c++)
        for (uint32_t i = 0; i < 128; i++)
            centres[c][i] = 100.0f * world_gauss(&prng);
    world_reserve(&world, 3000);
    for (uint32_t r = 0; r < 3000; r++) {
        float row[128];
        for (uint32_t i = 0; i < 128; i++)
            row[i] = centres[r % 40][i] + world_gauss(&prng);
        world_put(&world, row);
    }
    world_drain(&world);
    ck_assert_str_eq(hnsw_code_name(world.hnsw), "exact");
    ck_assert_uint_eq(world_check(&world), 0);
    double sum = 0.0;
    for (uint32_t q = 0; q < 80; q++) {
        float vector[128];
        for (uint32_t i = 0; i < 128; i++)
            vector[i] = centres[q % 40][i] + world_gauss(&prng);
        const struct hnsw_query query = world_query(vector, 10, 64);
        sum += world_ask(&world, &query);
    }
    ck_assert_msg(sum / 80 >= 0.95, "recall %g", sum / 80);
    world_fini(&world);
}
END_TEST

START_TEST(rows_that_are_all_equal_can_be_founded)
{
    world_init(&world, 64, (enum metric)_i, VECTOR_F32);
    world_reserve(&world, HNSW_FOUND_ROWS);
    float row[64];
    for (uint32_t i = 0; i < 64; i++)
        row[i] = _i == METRIC_COSINE ? 0.3f : 1e4f;
    for (uint32_t i = 0; i < HNSW_FOUND_ROWS; i++)
        world_put(&world, row);
    world_drain(&world);
    ck_assert_uint_eq(world_check(&world), 0);
    ck_assert(isfinite(world.hnsw->codec.high_error));
    ck_assert_float_eq_tol(hnsw_drift(world.hnsw), 0.0f, 0.01f);
    world_fini(&world);
}
END_TEST

START_TEST(drift_is_seen_when_later_rows_lie_elsewhere)
{
    world_init(&world, 64, METRIC_L2, VECTOR_F32);
    ck_assert_float_eq(hnsw_drift((world_open(&world), world.hnsw)), 0.0f);
    world_build(&world, 1100);
    ck_assert_float_lt(hnsw_drift(world.hnsw), 0.05f);
    world.law.shift = 3.0f;
    world_build(&world, 3000);
    ck_assert_float_gt(hnsw_drift(world.hnsw), 0.5f);
    world_fini(&world);
}
END_TEST

START_TEST(founding_and_linking_without_memory_wait_for_it)
{
    world_init(&world, 64, METRIC_L2, VECTOR_F32);
    world_add(&world, 1100);
    uint64_t n = 0;
    do {
        mem_fail_after(++n);
        const bool linked = hnsw_link_next(world.hnsw, world.scratch);
        mem_fail_after(0);
        ck_assert_uint_eq(hnsw_tail(world.hnsw), linked ? 1099 : 1100);
    } while (hnsw_tail(world.hnsw) == 1100);
    ck_assert_uint_gt(n, 5);
    world_drain(&world);
    ck_assert_uint_eq(world_check(&world), 0);
    world_fini(&world);
}
END_TEST

static Suite *
hnsw_found_suite(void)
{
    Suite *suite = suite_create("hnsw_found");
    TCase *tcase = tcase_create("hnsw_found");
    tcase_add_loop_test(tcase, wide_rows_of_floats_are_coded, 0, 12);
    tcase_add_loop_test(
        tcase, narrow_rows_bytes_and_rows_without_quantization_are_walked_themselves, 0, 4);
    tcase_add_test(tcase,
                   clusters_a_hundred_spreads_from_the_origin_are_walked_themselves_and_found);
    tcase_add_loop_test(tcase, rows_that_are_all_equal_can_be_founded, 0, 3);
    tcase_add_test(tcase, drift_is_seen_when_later_rows_lie_elsewhere);
    tcase_add_test(tcase, founding_and_linking_without_memory_wait_for_it);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(hnsw_found_suite)
