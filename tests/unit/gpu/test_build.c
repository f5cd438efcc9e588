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

START_TEST(the_same_rows_and_seed_give_the_same_graph)
{
    begin(64, METRIC_L2, 0);
    must_build();
    uint8_t *const first = malloc(ROWS * block_bytes);
    memcpy(first, blocks, ROWS * block_bytes);
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
    const struct gpu_build_shape rows = {ROWS, stride};
    ck_assert_uint_eq(report.parts, 0);
    ck_assert_uint_gt(report.device_bytes, (uint64_t)ROWS * kinds[_i].dim);
    ck_assert_uint_le(report.device_bytes, gpu_build_bytes(&config, &rows));
    end();
}
END_TEST

static uint64_t told, told_last;
static uint64_t told_most; // then it says that the build is to end
static int
hear(void *context, uint64_t done, uint64_t total)
{
    ck_assert_ptr_eq(context, &told);
    ck_assert_uint_ge(done, told_last);
    ck_assert_uint_lt(done, total);
    told_last = done;
    return ++told > told_most;
}

START_TEST(a_build_tells_how_far_it_is_and_ends_at_any_stage)
{
    begin(64, METRIC_L2, _i == 0 ? ROWS : 0);
    struct omen_error error;
    const struct gpu_build_watch watch = {hear, &told};
    for (told_most = 0;; told_most++) {
        told = told_last = 0;
        const omen_status status =
            gpu_build_run(&device, &config, &input, blocks, &watch, &report, &error);
        if (status == OMEN_OK)
            break;
        ck_assert_int_eq(status, OMEN_E_CANCELLED);
        ck_assert_uint_eq(told, told_most + 1);
    }
    ck_assert_uint_eq(told, GPU_BUILD_REPAIR + 1);
    end();
}
END_TEST

START_TEST(rows_that_are_all_equal_are_left_to_the_inserter)
{
    begin(64, METRIC_L2, ROWS);
    for (uint32_t row = 1; row < ROWS; row++) {
        memcpy(codes + (size_t)row * stride, codes, stride);
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
    tcase_add_test(tests, the_same_rows_and_seed_give_the_same_graph);
    tcase_add_loop_test(tests, a_build_takes_no_more_memory_than_it_says, 0, KINDS);
    tcase_add_loop_test(tests, a_build_tells_how_far_it_is_and_ends_at_any_stage, 0, 2);
    tcase_add_test(tests, rows_that_are_all_equal_are_left_to_the_inserter);
    suite_add_tcase(suite, tests);
    return suite;
}

CHECK_MAIN(build_suite)
