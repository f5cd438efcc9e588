// tests/unit/shard/test_shard_recall.c -- what a search's deadline bounds beside the search: looking into payloads, and
// the calibration that it would start.
#include <check.h>

#include "base/prng.h"
#include "tests/lib/check_main.h"
#include "tests/lib/shard_model.h"

#define DIM 16u
#define ROWS 20000u

static omen_index_t
open_with_ages(void)
{
    omen_options options = OMEN_OPTIONS_INIT;
    omen_batch batch = OMEN_BATCH_INIT;
    omen_index_t index;
    struct prng prng;
    float *vectors = malloc(ROWS * DIM * sizeof *vectors);
    uint8_t *bytes = malloc((size_t)ROWS * MODEL_PAYLOAD_MAX);
    const void **payloads = malloc(ROWS * sizeof *payloads);
    size_t *sizes = malloc(ROWS * sizeof *sizes);
    prng_init(&prng, 1);
    for (uint32_t i = 0; i < ROWS; i++) {
        for (uint32_t j = 0; j < DIM; j++)
            vectors[i * DIM + j] = prng_unit(&prng);
        payloads[i] = bytes + (size_t)i * MODEL_PAYLOAD_MAX;
        sizes[i] = model_payload(bytes + (size_t)i * MODEL_PAYLOAD_MAX, i % 2, "Oslo");
    }
    options.dimension = DIM;
    options.metric = OMEN_L2;
    options.threads = 1;
    options.ef_construction = 20;
    batch.count = ROWS;
    batch.vectors = vectors;
    batch.payloads = payloads;
    batch.payload_bytes = sizes;
    ck_assert_int_eq(omen_open(&options, &index), OMEN_OK);
    ck_assert_int_eq(omen_add(index, &batch), OMEN_OK);
    free(vectors);
    free(bytes);
    free(payloads);
    free(sizes);
    return index;
}

START_TEST(deadline_bounds_looking_into_payloads_and_spoils_no_later_answer)
{
    static const char *const filters[] = {"age = 1", "not age = 0", "age = 1 or age = 7"};
    omen_index_t index = open_with_ages();
    omen_query_options query = OMEN_QUERY_OPTIONS_INIT;
    omen_query_report report;
    float vector[DIM] = {0};
    uint64_t ids[10], count;
    uint32_t found;
    query.report = &report;
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        query.filter = filters[i];
        query.deadline_us = 1;
        ck_assert_int_eq(omen_query(index, vector, &query, ids, NULL, &found), OMEN_OK);
        ck_assert((report.warnings & OMEN_WARN_DEADLINE) != 0);
        ck_assert((report.warnings & OMEN_WARN_UNINDEXED_FIELD) != 0);
        ck_assert_uint_lt(report.matches, ROWS / 2);
        for (uint32_t hit = 0; hit < found; hit++)
            ck_assert_uint_eq(ids[hit] % 2, 1); // ids count from 0
        ck_assert_int_eq(omen_count(index, filters[i], &count), OMEN_OK);
        ck_assert_uint_eq(count, ROWS / 2);
        query.deadline_us = 0;
        ck_assert_int_eq(omen_query(index, vector, &query, ids, NULL, &found), OMEN_OK);
        ck_assert_uint_eq(report.warnings, OMEN_WARN_UNINDEXED_FIELD);
        ck_assert_uint_eq(report.matches, ROWS / 2);
        ck_assert_uint_eq(found, 10);
    }
    omen_close(index);
}
END_TEST

START_TEST(deadline_bounds_a_calibration_and_goes_on_without)
{
    omen_index_t index = open_with_ages();
    omen_query_options query = OMEN_QUERY_OPTIONS_INIT;
    omen_query_report report;
    float vector[DIM] = {0};
    uint64_t ids[10];
    uint32_t found;
    query.report = &report;
    query.target_recall = 0.95;
    for (uint64_t deadline_us = 1; deadline_us <= 1000; deadline_us *= 10) {
        query.deadline_us = deadline_us;
        ck_assert_int_eq(omen_query(index, vector, &query, ids, NULL, &found), OMEN_OK);
        ck_assert((report.warnings & OMEN_WARN_NOT_CALIBRATED) != 0);
    }
    query.deadline_us = 600000000; // enough for it
    ck_assert_int_eq(omen_query(index, vector, &query, ids, NULL, &found), OMEN_OK);
    ck_assert_uint_eq(report.warnings, 0);
    query.deadline_us = 1;
    ck_assert_int_eq(omen_query(index, vector, &query, ids, NULL, &found), OMEN_OK);
    ck_assert((report.warnings & OMEN_WARN_NOT_CALIBRATED) == 0);
    omen_close(index);
}
END_TEST

static Suite *
shard_recall_suite(void)
{
    Suite *suite = suite_create("shard/shard_recall");
    TCase *deadline = tcase_create("deadline");
    tcase_add_test(deadline, deadline_bounds_looking_into_payloads_and_spoils_no_later_answer);
    tcase_add_test(deadline, deadline_bounds_a_calibration_and_goes_on_without);
    suite_add_tcase(suite, deadline);
    return suite;
}

CHECK_MAIN(shard_recall_suite)
