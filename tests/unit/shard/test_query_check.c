// tests/unit/shard/test_query_check.c -- what a search would refuse is refused by the same words, and nothing is searched.
//
// Shape: shell.
#include <math.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "shard/shard.h"
#include "tests/lib/check_main.h"

#define POINTS 2000u // enough to calibrate by
#define DIM 4u

static struct shard *shard;
static struct omen_error error;

static void
open_of(omen_metric metric, omen_dtype dtype)
{
    static float vectors[POINTS * DIM];
    static uint64_t ids[POINTS];
    omen_options options = OMEN_OPTIONS_INIT;
    omen_batch batch = OMEN_BATCH_INIT;
    options.dimension = DIM;
    options.metric = metric;
    options.dtype = dtype;
    options.threads = 1;
    ck_assert_int_eq(shard_open(&options, &shard, &error), OMEN_OK);
    for (uint32_t i = 0; i < POINTS; i++) {
        ids[i] = i;
        for (uint32_t d = 0; d < DIM; d++)
            vectors[DIM * i + d] = sinf((float)(DIM * i + d) * 1.7f);
    }
    batch.count = POINTS;
    batch.vectors = vectors;
    batch.ids = ids;
    ck_assert_int_eq(shard_add(shard, &batch, &error), OMEN_OK);
    ck_assert_int_eq(shard_build(shard, NULL, &error), OMEN_OK);
}

static void
setup(void)
{
    shard = NULL;
}

static void
teardown(void)
{
    shard_close(shard);
}

static omen_statistics
counted(void)
{
    omen_statistics statistics;
    shard_stats(shard, &statistics);
    return statistics;
}

static omen_status
search(const void *vector, const omen_query_options *options)
{
    static uint64_t ids[TOPK_MAX];
    uint32_t found;
    return shard_query(shard, vector, options, &(struct answer){ids, NULL, &found}, &error);
}

// Both say the same, and the check counts nothing.
static void
both_say(const void *vector, const omen_query_options *options, omen_status status,
         const char *words)
{
    const omen_statistics before = counted();
    error = (struct omen_error){.text = ""};
    ck_assert_int_eq(shard_query_check(shard, vector, options, &error), status);
    const struct omen_error checked = error;
    const omen_statistics after = counted();
    ck_assert_uint_eq(after.searches, before.searches);
    ck_assert_uint_eq(after.evaluations, before.evaluations);
    if (status == OMEN_OK)
        return;
    ck_assert_int_eq(search(vector, options), status);
    ck_assert_int_eq(checked.status, error.status);
    ck_assert_str_eq(checked.text, error.text);
    ck_assert_msg(strstr(error.text, words) != NULL, "%s", error.text);
}

static const float good[DIM] = {1, 2, 3, 4};

START_TEST(each_option_is_looked_at)
{
    open_of(OMEN_L2, OMEN_F32);
    const struct {
        omen_query_options options;
        omen_status status;
        const char *words;
    } cases[] = {
#define F32 .dtype = OMEN_F32
        {{F32, .k = TOPK_MAX, .ef = BEAM_MAX, .oversample = TOPK_MAX}, OMEN_OK, ""},
        {{F32, .k = 0}, OMEN_E_K, "k is 0"},
        {{F32, .k = TOPK_MAX + 1}, OMEN_E_K, "k is 10001"},
        {{F32, .k = 1, .ef = BEAM_MAX + 1}, OMEN_E_INVALID, "ef is"},
        {{F32, .k = 1, .target_recall = 0.49}, OMEN_E_INVALID, "target_recall is 0.49"},
        {{.k = 1, .dtype = (omen_dtype)0}, OMEN_E_DTYPE, "dtype of the query is 0"},
        {{.k = 1, .dtype = (omen_dtype)6}, OMEN_E_DTYPE, "dtype of the query is 6"},
        {{.k = 1, .dtype = OMEN_I8}, OMEN_OK, ""},
        {{F32, .k = 1, .filter = "a == 1", .filter_map = "\x80", .filter_map_bytes = 1},
         OMEN_E_INVALID,
         "filter and filter_map"},
        {{F32, .k = 1, .filter_map_bytes = 1}, OMEN_E_INVALID, "filter_map is NULL"},
        {{F32, .k = 1, .oversample = TOPK_MAX + 1}, OMEN_E_INVALID, "oversample is 10001"},
        {{F32, .k = 1, .backend = OMEN_BACKEND_CUDA},
         OMEN_E_UNSUPPORTED,
         "backend cuda is for batches"},
        {{F32, .k = 1, .deadline_us = UINT64_MAX}, OMEN_E_INVALID, "deadline_us"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        both_say(good, &cases[i].options, cases[i].status, cases[i].words);
}
END_TEST

START_TEST(of_a_filter_it_is_whether_it_is_one)
{
    open_of(OMEN_L2, OMEN_F32);
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    options.k = 1;
    options.filter = "nobody.has > 3";
    both_say(good, &options, OMEN_OK, "");
    options.filter = "nobody.has >";
    both_say(good, &options, OMEN_E_FILTER, "column");
    options.filter = NULL;
    options.filter_map = "\x81\xa1n\x01"; // {"n": 1}
    options.filter_map_bytes = 4;
    both_say(good, &options, OMEN_OK, "");
    options.filter_map_bytes = 3;
    both_say(good, &options, OMEN_E_FILTER, "");
}
END_TEST

START_TEST(a_vector_has_to_be_finite_and_to_have_a_direction)
{
    open_of(OMEN_COSINE, OMEN_F16);
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    options.k = 1;
    static const float nan[DIM] = {0, NAN, 0, 0}, large[DIM] = {1e30f}, zeros[DIM];
    static const uint16_t halves[DIM] = {0x3c00, 0, 0, 0}, infinite[DIM] = {0x3c00, 0, 0x7c00, 0};
    both_say(good, &options, OMEN_OK, "");
    both_say(nan, &options, OMEN_E_NOT_FINITE, "component 1 is NaN");
    both_say(large, &options, OMEN_E_NOT_FINITE, "above 1e37");
    both_say(zeros, &options, OMEN_E_ZERO_VECTOR, "all components are zero");
    options.dtype = OMEN_F16;
    both_say(halves, &options, OMEN_OK, "");
    both_say(infinite, &options, OMEN_E_NOT_FINITE, "component 2 is +infinity");
}
END_TEST

START_TEST(a_search_is_counted_and_a_check_is_none)
{
    open_of(OMEN_L2, OMEN_F32);
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    options.k = 1;
    const omen_statistics before = counted();
    both_say(good, &options, OMEN_OK, ""); // which counts nothing
    ck_assert_int_eq(search(good, &options), OMEN_OK);
    ck_assert_uint_eq(counted().searches, before.searches + 1);
    ck_assert_uint_gt(counted().evaluations, before.evaluations);
}
END_TEST

// Of two faults a search names the filter's, and so does the check.
START_TEST(of_two_faults_the_same_is_named)
{
    open_of(OMEN_L2, OMEN_F32);
    static const float nan[DIM] = {NAN};
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    options.k = 1;
    options.filter = "n >";
    both_say(nan, &options, OMEN_E_FILTER, "");
    options.ef = BEAM_MAX + 1;
    both_say(nan, &options, OMEN_E_INVALID, "ef is");
}
END_TEST

// A search with a target calibrates when none was before it: some hundred searches. The check leaves that to it.
START_TEST(nothing_is_calibrated)
{
    open_of(OMEN_L2, OMEN_F32);
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    options.k = 1;
    ck_assert_int_eq(search(good, &options), OMEN_OK); // whose memory is there from then on
    options.target_recall = 0.9;
    const uint64_t before = counted().bytes_search;
    both_say(good, &options, OMEN_OK, "");
    ck_assert_uint_eq(counted().bytes_search, before);
    ck_assert_int_eq(search(good, &options), OMEN_OK);
    ck_assert_uint_gt(counted().bytes_search, before); // a calibration is kept there
}
END_TEST

START_TEST(without_memory_it_says_so)
{
    open_of(OMEN_L2, OMEN_F16);
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    options.k = 1;
    options.filter = "n > 3";
    uint32_t failed = 0;
    for (uint64_t n = 1;; n++, failed++) {
        mem_fail_after(n);
        const omen_status status = shard_query_check(shard, good, &options, &error);
        mem_fail_after(0);
        if (status == OMEN_OK)
            break;
        ck_assert_int_eq(status, OMEN_E_NO_MEMORY);
    }
    ck_assert_uint_gt(failed, 0);
}
END_TEST

static Suite *
query_check_suite(void)
{
    Suite *suite = suite_create("query_check");
    TCase *tcase = tcase_create("query_check");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, each_option_is_looked_at);
    tcase_add_test(tcase, of_a_filter_it_is_whether_it_is_one);
    tcase_add_test(tcase, a_vector_has_to_be_finite_and_to_have_a_direction);
    tcase_add_test(tcase, a_search_is_counted_and_a_check_is_none);
    tcase_add_test(tcase, of_two_faults_the_same_is_named);
    tcase_add_test(tcase, nothing_is_calibrated);
    tcase_add_test(tcase, without_memory_it_says_so);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(query_check_suite)
