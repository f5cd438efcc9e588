// tests/unit/gpu/test_build.c -- graphs that the plain device builds, beside those of the ordinary inserter.
#include "tests/lib/gpu_build_world.h"

static const struct {
    uint32_t dim;
    enum metric metric;
    uint32_t exact_rows;
} kinds[] = {
    {64, METRIC_L2, ROWS}, {96, METRIC_COSINE, ROWS}, {72, METRIC_IP, ROWS},
    {64, METRIC_L2, 0},    {96, METRIC_COSINE, 0},    {72, METRIC_IP, 0},
};
#define KINDS ((int)(sizeof kinds / sizeof *kinds))

// At a short beam not at the same one: links differ in number, and who compares more rows should find more.
START_TEST(a_built_graph_is_as_good_as_an_inserted_one_for_the_same_comparisons)
{
    begin(kinds[_i].dim, kinds[_i].metric, kinds[_i].exact_rows);
    static const uint32_t beams[] = {K, 40};
    struct walks own[2], built[2];
    for (uint32_t b = 0; b < 2; b++)
        own[b] = walk(beams[b]);
    must_build();
    ck_assert_uint_eq(report.leaders == 0, kinds[_i].exact_rows == ROWS);
    install();
    for (uint32_t b = 0; b < 2; b++) {
        struct walks next = built[b] = walk(beams[b]);
        if (b == 1)
            ck_assert_msg(next.recall >= own[b].recall - 0.005, "%g built, %g inserted",
                          next.recall, own[b].recall);
        for (uint32_t beam = beams[b] + 1; next.evaluations <= own[b].evaluations; beam++) {
            built[b] = next;
            next = walk(beam);
        }
        ck_assert_uint_le(built[b].evaluations, own[b].evaluations);
        ck_assert_msg(own[b].recall > 0.9 && built[b].recall >= own[b].recall - 0.005,
                      "beam %u: %g built, %g inserted", beams[b], built[b].recall, own[b].recall);
    }
    end();
}
END_TEST

START_TEST(the_same_rows_give_the_same_graph_in_one_piece_or_three)
{
    begin(64, METRIC_L2, 0);
    must_build();
    uint8_t *const first = malloc(ROWS * block_bytes);
    memcpy(first, blocks, ROWS * block_bytes);
    static const uint32_t starts[] = {0, 700, 701, ROWS};
    for (uint32_t p = 0; p < 3; p++)
        pieces[p] = (struct gpu_build_piece){high + (size_t)starts[p] * shape.row_bytes,
                                             low + (size_t)starts[p] * shape.row_bytes,
                                             metas + starts[p], starts[p + 1] - starts[p]};
    input.piece_count = 3;
    config.threads = 2;
    must_build();
    ck_assert_mem_eq(first, blocks, ROWS * block_bytes);
    config.seed++; // other leaders, other links
    must_build();
    ck_assert_int_ne(memcmp(first, blocks, ROWS * block_bytes), 0);
    free(first);
    end();
}
END_TEST

START_TEST(a_build_takes_no_more_memory_than_it_says)
{
    begin(kinds[_i].dim, kinds[_i].metric, kinds[_i].exact_rows);
    must_build();
    const struct gpu_build_shape rows = {ROWS, shape.row_bytes};
    ck_assert_uint_eq(report.parts, 0);
    ck_assert_uint_gt(report.device_bytes, (uint64_t)ROWS * kinds[_i].dim);
    ck_assert_uint_le(report.device_bytes, gpu_build_bytes(&config, &rows));
    end();
}
END_TEST

START_TEST(a_build_that_is_cancelled_says_so)
{
    begin(64, METRIC_L2, ROWS);
    struct omen_error error;
    const _Atomic uint32_t cancel = 1;
    ck_assert_int_eq(gpu_build_run(&device, &config, &input, blocks, &cancel, &report, &error),
                     OMEN_E_CANCELLED);
    end();
}
END_TEST

START_TEST(rows_that_are_all_equal_are_left_to_the_inserter)
{
    begin(64, METRIC_L2, ROWS);
    for (uint32_t row = 1; row < ROWS; row++) {
        memcpy(high + (size_t)row * shape.row_bytes, high, shape.row_bytes);
        memcpy(low + (size_t)row * shape.row_bytes, low, shape.row_bytes);
        metas[row] = metas[0];
    }
    struct omen_error error;
    ck_assert_int_eq(build(&error), OMEN_E_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(error.text, "reached"));
    end();
}
END_TEST

static Suite *
build_suite(void)
{
    Suite *suite = suite_create("gpu/build");
    TCase *tests = tcase_create("build");
    tcase_add_loop_test(tests, a_built_graph_is_as_good_as_an_inserted_one_for_the_same_comparisons,
                        0, KINDS);
    tcase_add_test(tests, the_same_rows_give_the_same_graph_in_one_piece_or_three);
    tcase_add_loop_test(tests, a_build_takes_no_more_memory_than_it_says, 0, KINDS);
    tcase_add_test(tests, a_build_that_is_cancelled_says_so);
    tcase_add_test(tests, rows_that_are_all_equal_are_left_to_the_inserter);
    suite_add_tcase(suite, tests);
    return suite;
}

CHECK_MAIN(build_suite)
