// tests/unit/shard/test_omendb.c -- every status of opening, searching and upkeep provoked, with its message; structs of
// other versions; the calls of the product plan.
#include <check.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "tests/lib/check_main.h"
#include "tests/lib/shard_fixture.h"

// ---- opening ----

START_TEST(options_outside_their_limits_are_refused_by_name)
{
    static const struct {
        size_t at, bytes;
        uint64_t value;
        omen_status status;
        const char *text;
    } cases[] = {
#define CASE(field, value, status, text)                                                           \
    {offsetof(omen_options, field), sizeof(((omen_options *)0)->field), (uint64_t)(value), status, \
     text}
        CASE(dimension, 0, OMEN_E_DIMENSION, "dimension is 0"),
        CASE(dimension, VECTOR_DIM_MAX + 1, OMEN_E_DIMENSION, "65537"),
        CASE(metric, 3, OMEN_E_INVALID, "metric is 3"),
        CASE(dtype, 0, OMEN_E_DTYPE, "dtype is 0"),
        CASE(dtype, 6, OMEN_E_DTYPE, "dtype is 6"),
        CASE(algorithm, 2, OMEN_E_INVALID, "algorithm"),
        CASE(quantization, 2, OMEN_E_INVALID, "quantization"),
        CASE(m, 1, OMEN_E_INVALID, "m is 1"),
        CASE(m, 65, OMEN_E_INVALID, "m is 65"),
        CASE(ef_construction, 7, OMEN_E_INVALID, "ef_construction is 7"),
        CASE(ef_construction, 10001, OMEN_E_INVALID, "ef_construction"),
        CASE(ef_search, 0, OMEN_E_INVALID, "ef_search is 0"),
        CASE(ef_search, 10001, OMEN_E_INVALID, "ef_search"),
        CASE(threads, 257, OMEN_E_INVALID, "threads is 257"),
        CASE(slots_max, 0, OMEN_E_INVALID, "slots_max is 0"),
        CASE(slots_max, SLOTS_MAX + 1, OMEN_E_INVALID, "slots_max"),
        CASE(durability, 2, OMEN_E_INVALID, "durability is 2"),
        CASE(id_max, 1ull << 63, OMEN_E_INVALID, "id_max"),
#undef CASE
    };
    omen_options options = options_of(OMEN_L2, OMEN_F32);
    memcpy((char *)&options + cases[_i].at, &cases[_i].value, cases[_i].bytes);
    omen_index_t index = index_of;
    ck_assert_says(omen_open(&options, &index), cases[_i].status, cases[_i].text);
    ck_assert_ptr_null(index);
}
END_TEST

START_TEST(options_at_their_limits_are_taken)
{
    omen_options options = options_of(OMEN_L2, OMEN_U8);
    omen_index_t index;
    options.dimension = _i == 0 ? 1 : VECTOR_DIM_MAX;
    options.m = _i == 0 ? 2 : 64;
    options.ef_construction = _i == 0 ? 8 : 10000;
    options.ef_search = _i == 0 ? 1 : 10000;
    options.slots_max = _i == 0 ? 1 : SLOTS_MAX;
    options.id_max = _i == 0 ? 0 : INT64_MAX;
    options.target_recall = _i == 0 ? 0.5 : 0.9999;
    ck_assert_int_eq(omen_open(&options, &index), OMEN_OK);
    omen_close(index);
}
END_TEST

// Resident bytes of this process.
static size_t
resident(void)
{
    size_t total, pages;
    FILE *file = fopen("/proc/self/statm", "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%zu %zu", &total, &pages), 2);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

START_TEST(room_for_two_billion_rows_costs_little_before_they_come)
{
    omen_options options = options_of(OMEN_L2, OMEN_F32);
    omen_index_t index;
    options.slots_max = SLOTS_MAX;
    const size_t before = resident();
    ck_assert_int_eq(omen_open(&options, &index), OMEN_OK);
    const omen_batch batch = batch_of(2, NULL);
    ck_assert_int_eq(omen_add(index, &batch), OMEN_OK);
    ck_assert_uint_lt(resident() - before, 6u << 20);
    omen_close(index);
}
END_TEST

START_TEST(target_recall_outside_its_limits_is_refused)
{
    static const double values[] = {0.4999, 0.99991, -1.0, NAN};
    omen_options options = options_of(OMEN_L2, OMEN_F32);
    omen_query_options query = OMEN_QUERY_OPTIONS_INIT;
    omen_index_t index;
    uint64_t ids[10];
    options.target_recall = values[_i];
    query.target_recall = values[_i];
    ck_assert_says(omen_open(&options, &index), OMEN_E_INVALID, "target_recall");
    ck_assert_says(omen_query(index_of, rows, &query, ids, NULL, NULL), OMEN_E_INVALID,
                   "target_recall");
}
END_TEST

START_TEST(shorter_struct_takes_defaults_for_the_rest)
{
    omen_options options = options_of(OMEN_L2, OMEN_F32);
    omen_index_t index;
    options.struct_size = offsetof(omen_options, m);
    options.m = 9999; // beyond the caller's struct: not looked at
    ck_assert_int_eq(omen_open(&options, &index), OMEN_OK);
    omen_statistics stats = {.struct_size = sizeof stats};
    ck_assert_int_eq(omen_stats(index, &stats), OMEN_OK);
    ck_assert_uint_eq(stats.m, 16);
    ck_assert_uint_eq(stats.ef_search, 64);
    omen_close(index);
}
END_TEST

START_TEST(longer_struct_passes_only_with_an_empty_rest)
{
    struct {
        omen_options options;
        uint64_t later;
    } longer = {.options = options_of(OMEN_L2, OMEN_F32)};
    omen_index_t index;
    longer.options.struct_size = sizeof longer;
    ck_assert_int_eq(omen_open(&longer.options, &index), OMEN_OK);
    omen_close(index);
    longer.later = 1;
    ck_assert_says(omen_open(&longer.options, &index), OMEN_E_UNSUPPORTED, "omen_options");

    struct {
        omen_query_options options;
        uint64_t later;
    } query = {.options = OMEN_QUERY_OPTIONS_INIT, .later = 7};
    uint64_t ids[10];
    query.options.struct_size = sizeof query;
    ck_assert_says(omen_query(index_of, rows, &query.options, ids, NULL, NULL), OMEN_E_UNSUPPORTED,
                   "omen_query_options");
}
END_TEST

START_TEST(struct_without_its_size_is_refused)
{
    omen_options options = options_of(OMEN_L2, OMEN_F32);
    omen_batch batch = batch_of(1, NULL);
    omen_query_options query = OMEN_QUERY_OPTIONS_INIT;
    omen_build_options build = OMEN_BUILD_OPTIONS_INIT;
    omen_statistics stats = {0};
    omen_recall recall = {0};
    omen_index_t index;
    uint64_t ids[10];
    options.struct_size = batch.struct_size = query.struct_size = build.struct_size = 0;
    ck_assert_says(omen_open(&options, &index), OMEN_E_INVALID, "struct_size");
    ck_assert_says(omen_add(index_of, &batch), OMEN_E_INVALID, "struct_size");
    ck_assert_says(omen_query(index_of, rows, &query, ids, NULL, NULL), OMEN_E_INVALID,
                   "struct_size");
    ck_assert_says(omen_build(index_of, &build), OMEN_E_INVALID, "struct_size");
    ck_assert_says(omen_stats(index_of, &stats), OMEN_E_INVALID, "struct_size");
    ck_assert_says(omen_measure_recall(index_of, 1, NULL, &recall), OMEN_E_INVALID, "struct_size");
    query.struct_size = recall.struct_size =
        SIZE_MAX / 2; // as a struct that nobody filled may have it
    ck_assert_says(omen_query(index_of, rows, &query, ids, NULL, NULL), OMEN_E_INVALID,
                   "struct_size");
    ck_assert_says(omen_measure_recall(index_of, 1, NULL, &recall), OMEN_E_INVALID, "struct_size");
}
END_TEST

START_TEST(shorter_statistics_are_filled_as_far_as_they_go)
{
    omen_statistics stats;
    memset(&stats, 0x5a, sizeof stats);
    stats.struct_size = offsetof(omen_statistics, tail);
    ck_assert_int_eq(omen_stats(index_of, &stats), OMEN_OK);
    ck_assert_uint_eq(stats.count, 0);
    ck_assert_uint_eq(stats.struct_size, offsetof(omen_statistics, tail));
    ck_assert_uint_eq(stats.tail, 0x5a5a5a5a5a5a5a5aull);
}
END_TEST

START_TEST(null_arguments_are_named)
{
    omen_options options = options_of(OMEN_L2, OMEN_F32);
    omen_batch batch = batch_of(1, NULL);
    omen_points_t points;
    omen_index_t index;
    uint64_t id = 0;
    ck_assert_says(omen_open(NULL, &index), OMEN_E_INVALID, "options is NULL");
    ck_assert_says(omen_open(&options, NULL), OMEN_E_INVALID, "out is NULL");
    ck_assert_says(omen_add(NULL, &batch), OMEN_E_INVALID, "index is NULL");
    ck_assert_says(omen_add(index_of, NULL), OMEN_E_INVALID, "batch is NULL");
    ck_assert_says(omen_upsert(NULL, &batch), OMEN_E_INVALID, "index is NULL");
    ck_assert_says(omen_set_payloads(NULL, &batch), OMEN_E_INVALID, "index is NULL");
    ck_assert_says(omen_delete(index_of, NULL, 1, NULL), OMEN_E_INVALID, "ids is NULL");
    ck_assert_says(omen_delete_text(index_of, NULL, 1, NULL), OMEN_E_INVALID, "ids is NULL");
    ck_assert_says(omen_delete_where(index_of, NULL, NULL), OMEN_E_INVALID, "filter is NULL");
    ck_assert_says(omen_id_text(index_of, 0, NULL, 0), OMEN_E_INVALID, "text is NULL");
    ck_assert_says(omen_id_key(index_of, NULL, &id), OMEN_E_INVALID, "text is NULL");
    ck_assert_says(omen_id_key(index_of, "a", NULL), OMEN_E_INVALID, "key is NULL");
    ck_assert_says(omen_get(index_of, NULL, 1, 0, &points), OMEN_E_INVALID, "ids is NULL");
    ck_assert_says(omen_get(index_of, &id, 1, 0, NULL), OMEN_E_INVALID, "out is NULL");
    ck_assert_says(omen_scroll(index_of, NULL, 0, 1, NULL, &points), OMEN_E_INVALID,
                   "cursor is NULL");
    ck_assert_says(omen_query(index_of, NULL, NULL, &id, NULL, NULL), OMEN_E_INVALID,
                   "vector is NULL");
    ck_assert_says(omen_query(index_of, rows, NULL, NULL, NULL, NULL), OMEN_E_INVALID,
                   "ids is NULL");
    ck_assert_says(omen_query_batch(index_of, NULL, 1, NULL, &id, NULL), OMEN_E_INVALID,
                   "vectors is NULL");
    ck_assert_says(omen_range(index_of, NULL, 1, NULL, &points), OMEN_E_INVALID, "vector is NULL");
    ck_assert_says(omen_count(index_of, NULL, NULL), OMEN_E_INVALID, "count is NULL");
    ck_assert_says(omen_field_index(index_of, NULL, OMEN_FIELD_BOOL), OMEN_E_INVALID,
                   "name is NULL");
    ck_assert_says(omen_measure_recall(index_of, 1, NULL, NULL), OMEN_E_INVALID, "out is NULL");
    ck_assert_says(omen_stats(index_of, NULL), OMEN_E_INVALID, "out is NULL");
    ck_assert_says(omen_options_of(index_of, NULL), OMEN_E_INVALID, "out is NULL");
    ck_assert_says(omen_copy(index_of, NULL), OMEN_E_INVALID, "path is NULL");
    ck_assert_says(omen_flush(NULL), OMEN_E_INVALID, "index is NULL");
    ck_assert_says(omen_compact(NULL), OMEN_E_INVALID, "index is NULL");
    ck_assert_says(omen_calibrate(NULL), OMEN_E_INVALID, "index is NULL");
    ck_assert_says(omen_verify(NULL), OMEN_E_INVALID, "index is NULL");
    ck_assert_says(omen_set_ef(NULL, 1), OMEN_E_INVALID, "index is NULL");
    ck_assert_int_eq(omen_contains(NULL, 1), 0);
    omen_close(NULL);
    omen_points_free(NULL);
    ck_assert_uint_eq(omen_points_count(NULL), 0);
}
END_TEST

// ---- searching ----

START_TEST(filters_are_checked_and_report_what_they_did)
{
    uint8_t bytes[MODEL_PAYLOAD_MAX];
    const void *payload = bytes;
    const size_t length = model_payload(bytes, 7, "Oslo");
    omen_batch batch = batch_of(1, NULL);
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    omen_query_report report;
    uint64_t ids[10], count, cursor = 0;
    uint32_t found;
    omen_points_t points;
    batch.payloads = &payload;
    batch.payload_bytes = &length;
    ck_assert_int_eq(omen_add(index_of, &batch), OMEN_OK);
    options.report = &report;
    options.filter = "age >=";
    ck_assert_int_eq(omen_query(index_of, rows, &options, ids, NULL, &found), OMEN_E_FILTER);
    ck_assert_int_eq(omen_query_batch(index_of, rows, 2, &options, ids, NULL), OMEN_E_FILTER);
    ck_assert_int_eq(omen_count(index_of, "age >=", &count), OMEN_E_FILTER);
    ck_assert_int_eq(omen_delete_where(index_of, "age >=", NULL), OMEN_E_FILTER);
    ck_assert_int_eq(omen_scroll(index_of, "age >=", 0, 1, &cursor, &points), OMEN_E_FILTER);
    options.filter = "age >= 7";
    ck_assert_int_eq(omen_query(index_of, rows, &options, ids, NULL, &found), OMEN_OK);
    ck_assert_uint_eq(found, 1);
    ck_assert_uint_eq(report.matches, 1);
    ck_assert_uint_eq(report.warnings, OMEN_WARN_UNINDEXED_FIELD);
    ck_assert_int_eq(omen_field_index(index_of, "age", OMEN_FIELD_INTEGER), OMEN_OK);
    for (int again = 0; again < 2; again++) { // computed, then from the cache
        ck_assert_int_eq(omen_query(index_of, rows, &options, ids, NULL, &found), OMEN_OK);
        ck_assert_uint_eq(found, 1);
        ck_assert_uint_eq(report.warnings, 0);
    }
    options.filter = NULL;
    options.filter_map = "\x81\xa3"
                         "age\x08"; // {"age": 8}
    options.filter_map_bytes = 6;
    ck_assert_int_eq(omen_query(index_of, rows, &options, ids, NULL, &found), OMEN_OK);
    ck_assert_uint_eq(found, 0);
    options.filter = "age = 7";
    ck_assert_says(omen_query(index_of, rows, &options, ids, NULL, &found), OMEN_E_INVALID,
                   "both given");
    options.filter = NULL;
    options.filter_map = NULL;
    ck_assert_says(omen_query(index_of, rows, &options, ids, NULL, &found), OMEN_E_INVALID,
                   "filter_map is NULL");
}
END_TEST

START_TEST(query_options_outside_their_limits_are_refused)
{
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    omen_points_t points;
    uint64_t ids[10];
    options.k = 0;
    ck_assert_says(omen_query(index_of, rows, &options, ids, NULL, NULL), OMEN_E_K, "k is 0");
    options.k = 10001;
    ck_assert_says(omen_query(index_of, rows, &options, ids, NULL, NULL), OMEN_E_K, "k is 10001");
    ck_assert_int_eq(omen_query_batch(index_of, rows, 1, &options, ids, NULL), OMEN_E_K);
    options.k = 10;
    options.ef = 10001;
    ck_assert_says(omen_query(index_of, rows, &options, ids, NULL, NULL), OMEN_E_INVALID,
                   "ef is 10001");
    options.ef = 0;
    options.dtype = (omen_dtype)(OMEN_U8 + 1);
    ck_assert_says(omen_query(index_of, rows, &options, ids, NULL, NULL), OMEN_E_DTYPE,
                   "dtype of the query");
    options.dtype = OMEN_F32;
    options.threads = 257;
    ck_assert_says(omen_query(index_of, rows, &options, ids, NULL, NULL), OMEN_E_INVALID,
                   "threads is 257");
    options.threads = 0;
    options.oversample = 10001;
    ck_assert_says(omen_query(index_of, rows, &options, ids, NULL, NULL), OMEN_E_INVALID,
                   "oversample");
    options.oversample = 0;
    options.stride = 8;
    ck_assert_says(omen_query_batch(index_of, rows, 1, &options, ids, NULL), OMEN_E_DIMENSION,
                   "stride is 8");
    ck_assert_says(omen_range(index_of, rows, NAN, NULL, &points), OMEN_E_INVALID, "radius is NaN");
    ck_assert_says(omen_set_ef(index_of, 0), OMEN_E_INVALID, "ef is 0");
    ck_assert_says(omen_set_ef(index_of, 10001), OMEN_E_INVALID, "ef is 10001");
    ck_assert_says(omen_scroll(index_of, NULL, 4, 1, &ids[0], &points), OMEN_E_INVALID,
                   "with is 4");
    ids[0] = 0;
    ck_assert_says(omen_scroll(index_of, NULL, 0, 0, &ids[0], &points), OMEN_E_INVALID,
                   "limit is 0");
    ids[0] = 5ull << 32;
    ck_assert_says(omen_scroll(index_of, NULL, 0, 1, &ids[0], &points), OMEN_E_INVALID,
                   "not given by this index");
}
END_TEST

START_TEST(bad_queries_are_refused_and_numbered_in_a_batch)
{
    uint64_t ids[8 * 10];
    const float zero[4] = {0};
    omen_batch batch = batch_of(8, NULL);
    ck_assert_int_eq(omen_add(index_of, &batch), OMEN_OK);
    rows[4 * 5 + 2] = NAN;
    ck_assert_says(omen_query(index_of, rows + 4 * 5, NULL, ids, NULL, NULL), OMEN_E_NOT_FINITE,
                   "component 2 is NaN");
    ck_assert_says(omen_query_batch(index_of, rows, 8, NULL, ids, NULL), OMEN_E_NOT_FINITE,
                   "query 5: component 2 is NaN");
    ck_assert_says(omen_query(index_of, zero, NULL, ids, NULL, NULL), OMEN_E_ZERO_VECTOR,
                   "all components are zero");
}
END_TEST

START_TEST(fewer_hits_than_k_are_marked)
{
    uint64_t ids[2 * 10];
    float distances[2 * 10];
    omen_batch batch = batch_of(3, NULL);
    ck_assert_int_eq(omen_query_batch(index_of, rows, 2, NULL, ids, distances), OMEN_OK);
    ck_assert_uint_eq(ids[0], UINT64_MAX);
    ck_assert_int_eq(omen_add(index_of, &batch), OMEN_OK);
    ck_assert_int_eq(omen_query_batch(index_of, rows, 2, NULL, ids, distances), OMEN_OK);
    for (int q = 0; q < 2; q++)
        for (int i = 0; i < 10; i++) {
            ck_assert_int_eq(ids[q * 10 + i] == UINT64_MAX, i >= 3);
            ck_assert_int_eq(isinf(distances[q * 10 + i]) != 0, i >= 3);
        }
    ck_assert_int_eq(omen_query_batch(index_of, NULL, 0, NULL, NULL, NULL), OMEN_OK);
}
END_TEST

START_TEST(batch_and_single_queries_agree)
{
    enum { COUNT = 200 };
    static float queries[COUNT * 4], distances[COUNT * 10], one_distances[10];
    static uint64_t ids[COUNT * 10], one[10];
    struct prng prng;
    prng_init(&prng, 1);
    for (int i = 0; i < COUNT * 4; i++)
        queries[i] = prng_unit(&prng) - 0.5f;
    omen_batch batch = batch_of(COUNT, NULL);
    batch.vectors = queries;
    ck_assert_int_eq(omen_add(index_of, &batch), OMEN_OK);
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    omen_query_report report;
    options.threads = 1 + (uint32_t)_i;
    options.report = &report;
    ck_assert_int_eq(omen_query_batch(index_of, queries, COUNT, &options, ids, distances), OMEN_OK);
    ck_assert_uint_ge(report.evaluations + report.exact_distances, COUNT);
    for (int q = 0; q < COUNT; q++) {
        ck_assert_int_eq(omen_query(index_of, queries + q * 4, &options, one, one_distances, NULL),
                         OMEN_OK);
        ck_assert_mem_eq(one, ids + q * 10, sizeof one);
        ck_assert_mem_eq(one_distances, distances + q * 10, sizeof one_distances);
    }
}
END_TEST

// ---- recall and upkeep ----

static void
add_random(omen_index_t index, uint32_t count, uint64_t seed)
{
    float *vectors = malloc(count * 4 * sizeof *vectors);
    omen_batch batch = batch_of(count, NULL);
    struct prng prng;
    prng_init(&prng, seed);
    for (uint32_t i = 0; i < count * 4; i++)
        vectors[i] = prng_unit(&prng) - 0.5f;
    batch.vectors = vectors;
    ck_assert_int_eq(omen_add(index, &batch), OMEN_OK);
    free(vectors);
}

START_TEST(deadline_cuts_a_search_with_a_warning)
{
    omen_options options = options_of(OMEN_L2, OMEN_F32);
    omen_query_options query = OMEN_QUERY_OPTIONS_INIT;
    omen_query_report report;
    omen_index_t index;
    uint64_t ids[10];
    options.algorithm = OMEN_FLAT;
    ck_assert_int_eq(omen_open(&options, &index), OMEN_OK);
    add_random(index, 50000, 1);
    query.report = &report;
    query.deadline_us = UINT64_MAX;
    ck_assert_says(omen_query(index, rows, &query, ids, NULL, NULL), OMEN_E_INVALID, "deadline_us");
    query.deadline_us = 60000000;
    ck_assert_int_eq(omen_query(index, rows, &query, ids, NULL, NULL), OMEN_OK);
    ck_assert_uint_eq(report.warnings, 0);
    query.deadline_us = 1;
    ck_assert_int_eq(omen_query(index, rows, &query, ids, NULL, NULL), OMEN_OK);
    ck_assert_uint_eq(report.warnings, OMEN_WARN_DEADLINE);
    omen_close(index);
}
END_TEST

START_TEST(recall_is_measured_and_kept)
{
    omen_recall recall = {.struct_size = sizeof recall};
    omen_statistics stats = {.struct_size = sizeof stats};
    ck_assert_says(omen_measure_recall(index_of, 10, NULL, &recall), OMEN_E_NOT_FOUND, "empty");
    ck_assert_says(omen_measure_recall(index_of, 0, NULL, &recall), OMEN_E_INVALID, "samples is 0");
    add_random(index_of, 2000, 1);
    ck_assert_int_eq(omen_stats(index_of, &stats), OMEN_OK);
    ck_assert_double_lt(stats.recall, 0.0);
    ck_assert_int_eq(omen_measure_recall(index_of, 100, NULL, &recall), OMEN_OK);
    ck_assert_uint_eq(recall.samples, 100);
    ck_assert_uint_eq(recall.k, 10);
    ck_assert_double_ge(recall.recall, 0.9);
    ck_assert_double_le(recall.low, recall.recall);
    ck_assert_double_ge(recall.high, recall.recall);
    ck_assert_double_lt(recall.low, recall.high);
    ck_assert_int_eq(omen_stats(index_of, &stats), OMEN_OK);
    ck_assert_double_eq(stats.recall, recall.recall);
}
END_TEST

// A fresh index each time: what a search has once taken it keeps.
START_TEST(recall_that_memory_is_short_for_is_refused)
{
    uint64_t refused = 1;
    for (uint64_t n = 1; refused > 0; n++) {
        omen_options options = options_of(OMEN_L2, OMEN_F32);
        omen_recall recall = {.struct_size = sizeof recall};
        omen_index_t index;
        ck_assert_int_eq(omen_open(&options, &index), OMEN_OK);
        add_random(index, 1100, n);
        mem_fail_after(n);
        const omen_status status = omen_measure_recall(index, 3, NULL, &recall);
        refused = mem_refused();
        mem_fail_after(0);
        ck_assert_int_eq(status, refused > 0 ? OMEN_E_NO_MEMORY : OMEN_OK);
        omen_close(index);
    }
}
END_TEST

START_TEST(interval_ends_at_1_when_everything_was_found)
{
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    omen_recall recall = {.struct_size = sizeof recall};
    options.exact = 1;
    add_random(index_of, 300, 1);
    for (options.k = 1; options.k <= 20; options.k++)
        for (uint32_t samples = 1; samples <= 50; samples++) {
            ck_assert_int_eq(omen_measure_recall(index_of, samples, &options, &recall), OMEN_OK);
            if (recall.recall != 1.0 || recall.high != 1.0 || recall.low >= 1.0)
                ck_abort_msg("k %u, samples %u: %.17g", options.k, samples, recall.high);
        }
}
END_TEST

static uint64_t
evaluations_of(const omen_query_options *given)
{
    omen_query_options options = *given;
    omen_query_report report;
    uint64_t ids[100];
    uint32_t found;
    options.report = &report;
    ck_assert_int_eq(omen_query(index_of, rows, &options, ids, NULL, &found), OMEN_OK);
    ck_assert_uint_eq(found, options.k);
    return report.evaluations;
}

START_TEST(ef_below_k_means_k_and_a_target_may_do_with_less)
{
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    add_random(index_of, 3000, 1);
    ck_assert_int_eq(omen_flush(index_of), OMEN_OK);
    options.k = options.ef = 100;
    const uint64_t at_k = evaluations_of(&options);
    options.ef = 1;
    ck_assert_uint_eq(evaluations_of(&options), at_k);
    options.ef = 0;
    ck_assert_int_eq(omen_set_ef(index_of, 1), OMEN_OK);
    ck_assert_uint_eq(evaluations_of(&options), at_k);
    ck_assert_int_eq(omen_set_ef(index_of, 400), OMEN_OK);
    ck_assert_uint_gt(evaluations_of(&options), at_k);
    options.target_recall = 0.8;
    ck_assert_uint_lt(evaluations_of(&options), at_k);
}
END_TEST

START_TEST(an_ef_that_is_set_takes_the_place_of_a_default_target)
{
    omen_options open = OMEN_OPTIONS_INIT;
    open.dimension = 4;
    open.target_recall = 0.8;
    omen_close(index_of);
    ck_assert_int_eq(omen_open(&open, &index_of), OMEN_OK);
    add_random(index_of, 3000, 1);
    ck_assert_int_eq(omen_flush(index_of), OMEN_OK);
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    const uint64_t aimed = evaluations_of(&options);
    ck_assert_int_eq(omen_set_ef(index_of, 1000), OMEN_OK);
    ck_assert_uint_gt(evaluations_of(&options), aimed);
}
END_TEST

#define WIDE_DIM 32u
#define WIDE_ROWS 6000u

static void
draw_wide(struct prng *prng, float *out, size_t count)
{
    for (size_t i = 0; i < count * WIDE_DIM; i++)
        out[i] = prng_unit(prng) - 0.5f;
}

// How many of the `there` points of 100 radii are found, at the default ef.
static size_t
range_found(omen_index_t index, struct prng *prng, uint32_t there)
{
    static uint64_t ids[TOPK_MAX];
    static float distances[TOPK_MAX];
    size_t found = 0;
    for (int q = 0; q < 100; q++) {
        omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
        omen_points_t points;
        float query[WIDE_DIM];
        draw_wide(prng, query, 1);
        options.exact = 1;
        options.k = there;
        ck_assert_int_eq(omen_query(index, query, &options, ids, distances, NULL), OMEN_OK);
        options.exact = 0;
        ck_assert_int_eq(omen_range(index, query, distances[there - 1], &options, &points),
                         OMEN_OK);
        found += omen_points_count(points);
        omen_points_free(points);
    }
    return found;
}

START_TEST(range_finds_nearly_all_that_lies_within)
{
    static const uint32_t theres[] = {20, 63, 250};
    static float vectors[WIDE_ROWS * WIDE_DIM];
    struct prng prng;
    omen_options options = options_of(OMEN_L2, OMEN_F32);
    omen_batch batch = batch_of(WIDE_ROWS, NULL);
    omen_index_t index;
    options.dimension = WIDE_DIM;
    prng_init(&prng, 1);
    draw_wide(&prng, vectors, WIDE_ROWS);
    batch.vectors = vectors;
    ck_assert_int_eq(omen_open(&options, &index), OMEN_OK);
    ck_assert_int_eq(omen_add(index, &batch), OMEN_OK);
    for (size_t i = 0; i < sizeof theres / sizeof theres[0]; i++) {
        const size_t found = range_found(index, &prng, theres[i]);
        ck_assert_msg(found >= 98u * theres[i], "%zu of %u", found, 100 * theres[i]);
    }
    omen_close(index);
}
END_TEST

START_TEST(target_recall_calibrates_when_there_is_enough)
{
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    omen_query_report report;
    uint64_t ids[10];
    options.target_recall = 0.95;
    options.report = &report;
    add_random(index_of, 100, 1);
    ck_assert_int_eq(omen_query(index_of, rows, &options, ids, NULL, NULL), OMEN_OK);
    ck_assert_uint_eq(report.warnings, OMEN_WARN_NOT_CALIBRATED);
    ck_assert_int_eq(omen_calibrate(index_of), OMEN_E_NOT_FOUND);
    add_random(index_of, 3000, 2);
    ck_assert_int_eq(omen_flush(index_of), OMEN_OK);
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(omen_query(index_of, rows, &options, ids, NULL, NULL), OMEN_OK);
        ck_assert_uint_eq(report.warnings, 0);
    }
    ck_assert_int_eq(omen_calibrate(index_of), OMEN_OK);
}
END_TEST

static int
progress(void *context, uint64_t linked, uint64_t total)
{
    uint64_t *last = context;
    ck_assert_uint_le(linked, total);
    last[0] = linked;
    last[1] = total;
    return (int)last[2];
}

START_TEST(build_tells_its_progress_and_can_be_left)
{
    omen_build_options build = OMEN_BUILD_OPTIONS_INIT;
    uint64_t last[3] = {0, 0, 0};
    add_random(index_of, 2000, 1);
    build.progress = progress;
    build.context = last;
    ck_assert_int_eq(omen_build(index_of, &build), OMEN_OK);
    ck_assert_uint_eq(last[0], 2000);
    ck_assert_uint_eq(last[1], 2000);
    last[2] = 1;
    ck_assert_says(omen_build(index_of, &build), OMEN_E_CANCELLED, "progress");
    build.progress = NULL;
    build.backend = OMEN_BACKEND_CUDA;
    ck_assert_says(omen_build(index_of, &build), OMEN_E_UNSUPPORTED, "cuda");
    build.backend = (omen_backend)9;
    ck_assert_says(omen_build(index_of, &build), OMEN_E_INVALID, "backend 9");
}
END_TEST

struct within {
    omen_index_t other; // whose progress function calls for index_of
    uint32_t calls;
};

static int
wait_within(void *context, uint64_t linked, uint64_t total)
{
    static const char said[] = "by the progress function of a build";
    struct within *within = context;
    uint64_t ids[10];
    (void)linked, (void)total;
    within->calls++;
    if (within->other != NULL) {
        omen_build_options build = OMEN_BUILD_OPTIONS_INIT;
        struct within inner = {0};
        build.progress = wait_within;
        build.context = &inner;
        ck_assert_int_eq(omen_build(within->other, &build), OMEN_OK);
        ck_assert_uint_gt(inner.calls, 0);
        return 0;
    }
    ck_assert_says(omen_flush(index_of), OMEN_E_INVALID, said);
    ck_assert_says(omen_build(index_of, NULL), OMEN_E_INVALID, said);
    ck_assert_says(omen_compact(index_of), OMEN_E_INVALID, said);
    ck_assert_says(omen_copy(index_of, "nowhere"), OMEN_E_INVALID, said);
    ck_assert_says(omen_verify(index_of), OMEN_E_INVALID, said);
    ck_assert_int_eq(omen_query(index_of, rows, NULL, ids, NULL, NULL), OMEN_OK);
    return 0;
}

// It waited for itself, for ever.
START_TEST(what_waits_for_a_build_is_refused_within_its_progress_function)
{
    omen_build_options build = OMEN_BUILD_OPTIONS_INIT;
    const omen_options options = options_of(OMEN_L2, OMEN_F32);
    struct within within = {0};
    add_random(index_of, 3000, 1);
    build.progress = wait_within;
    build.context = &within;
    build.again = 1;
    ck_assert_int_eq(omen_build(index_of, &build), OMEN_OK);
    ck_assert_uint_gt(within.calls, 0);
    ck_assert_int_eq(omen_open(&options, &within.other), OMEN_OK);
    add_random(within.other, 3000, 1);
    ck_assert_int_eq(omen_build(index_of, &build), OMEN_OK);
    ck_assert_int_eq(omen_verify(index_of), OMEN_OK); // and afterwards none is
    omen_close(within.other);
}
END_TEST

static int
count_and_stop(void *context)
{
    (*(uint64_t *)context)++;
    return 1;
}

// More than can be done before it is asked for the first time.
START_TEST(what_takes_long_ends_when_it_is_told_to_stop)
{
    const uint32_t count = 200000;
    float *vectors = malloc(sizeof(float) * 4 * count);
    uint64_t *ids = malloc(sizeof *ids * count);
    uint64_t asked = 0;
    omen_statistics stats = {.struct_size = sizeof stats};
    omen_recall recall = {.struct_size = sizeof recall};
    omen_query_options query = OMEN_QUERY_OPTIONS_INIT;
    add_random(index_of, 20000, 1);
    for (uint32_t i = 0; i < 4 * count; i++)
        vectors[i] = (float)(i % 1000) + 1;
    query.k = 1;
    query.exact = 1;
    query.stop = count_and_stop;
    query.context = &asked;
    ck_assert_says(omen_query_batch(index_of, vectors, count, &query, ids, NULL), OMEN_E_CANCELLED,
                   "stopped by who called");
    ck_assert_uint_eq(asked, 1);
    ck_assert_int_eq(omen_stats(index_of, &stats), OMEN_OK);
    ck_assert_uint_lt(stats.searches, count);
    query.backend = OMEN_BACKEND_CPU;
    ck_assert_int_eq(omen_knn_exact(index_of, vectors, count, &query, ids, NULL), OMEN_E_CANCELLED);
    ck_assert_uint_eq(asked, 2);
    ck_assert_int_eq(omen_measure_recall(index_of, 20000, &query, &recall), OMEN_E_CANCELLED);
    ck_assert_uint_eq(asked, 3);
    ck_assert_int_eq(omen_query_batch(index_of, vectors, 2, &query, ids, NULL), OMEN_OK);
    ck_assert_uint_eq(asked, 3);
    free(vectors);
    free(ids);
}
END_TEST

START_TEST(statistics_add_up)
{
    omen_statistics stats = {.struct_size = sizeof stats};
    uint64_t ids[10];
    add_random(index_of, 2000, 1);
    ck_assert_int_eq(omen_delete(index_of, (const uint64_t[]){0, 1, 2}, 3, NULL), OMEN_OK);
    ck_assert_int_eq(omen_query(index_of, rows, NULL, ids, NULL, NULL), OMEN_OK);
    ck_assert_int_eq(omen_stats(index_of, &stats), OMEN_OK);
    ck_assert_uint_eq(stats.count, 1997);
    ck_assert_uint_eq(stats.rows, 2000);
    ck_assert_uint_eq(stats.deleted, 3);
    ck_assert_uint_eq(stats.tail, 0);
    ck_assert_uint_eq(stats.threads, 1);
    ck_assert_uint_eq(stats.searches, 1);
    ck_assert_uint_ge(stats.bytes_vectors, 2000 * 16);
    ck_assert_uint_ge(stats.bytes_ids, 2000 * 8);
    ck_assert_uint_gt(stats.bytes_search, 0);
    ck_assert_double_gt(stats.bytes_per_vector, 8.0);
    ck_assert_ptr_nonnull(stats.kernel);
    ck_assert_ptr_nonnull(stats.code);
    ck_assert_msg(omen_verify(index_of) == OMEN_OK, "%s", omen_error_message());
}
END_TEST

START_TEST(flat_index_is_exact)
{
    omen_options options = options_of(OMEN_L2, OMEN_F32);
    omen_index_t index;
    options.algorithm = OMEN_FLAT;
    ck_assert_int_eq(omen_open(&options, &index), OMEN_OK);
    add_random(index, 3000, 1);
    omen_recall recall = {.struct_size = sizeof recall};
    ck_assert_int_eq(omen_measure_recall(index, 20, NULL, &recall), OMEN_OK);
    ck_assert_double_eq(recall.recall, 1.0);
    ck_assert_int_eq(omen_flush(index), OMEN_OK);
    omen_close(index);
}
END_TEST

// ---- the calls of the product plan, and texts ----

START_TEST(plan_calls_find_and_mark)
{
    omen_index_t index = omen_create(4);
    int results[10];
    ck_assert_ptr_nonnull(index);
    const uint64_t ids[2] = {INT_MAX, INT_MAX + 1ull};
    omen_batch batch = batch_of(2, ids);
    ck_assert_int_eq(omen_add(index, &batch), OMEN_E_ID_RANGE);
    batch.count = 1;
    ck_assert_int_eq(omen_add(index, &batch), OMEN_OK);
    omen_search(index, rows, results);
    ck_assert_int_eq(results[0], INT_MAX);
    for (int i = 1; i < 10; i++)
        ck_assert_int_eq(results[i], -1);
    rows[0] = NAN;
    omen_search(index, rows, results);
    ck_assert_int_eq(results[0], -1);
    omen_search(NULL, rows, results);
    ck_assert_int_eq(results[9], -1);
    omen_search(index, rows, NULL);
    omen_close(index);
    ck_assert_ptr_null(omen_create(0));
    ck_assert_ptr_null(omen_create(-5));
    ck_assert_msg(strstr(omen_error_message(), "dimension") != NULL, "%s", omen_error_message());
}
END_TEST

START_TEST(every_status_has_a_text)
{
    ck_assert_str_eq(omen_version(), "0.1.0");
    for (omen_status status = OMEN_E_INTERNAL; status <= OMEN_OK; status++)
        ck_assert_str_ne(omen_strerror(status), omen_strerror(1));
    ck_assert_str_eq(omen_strerror(INT_MIN), omen_strerror(1));
}
END_TEST

START_TEST(questions_beyond_the_last_point_have_empty_answers)
{
    omen_points_t points;
    size_t bytes = 1;
    const uint64_t id = 3;
    ck_assert_int_eq(omen_get(index_of, &id, 1, OMEN_WITH_PAYLOAD, &points), OMEN_OK);
    ck_assert_int_eq(omen_points_found(points, 0), 0);
    ck_assert_uint_eq(omen_points_id(points, 0), 3);
    ck_assert_uint_eq(omen_points_id(points, 1), UINT64_MAX);
    ck_assert_int_eq(omen_points_found(points, 1), 0);
    ck_assert_ptr_null(omen_points_payload(points, 1, &bytes));
    ck_assert_uint_eq(bytes, 0);
    ck_assert_float_eq(omen_points_distance(points, 7), 0.0f);
    omen_points_free(points);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/omendb");
    TCase *opening = case_of("opening"), *reading = case_of("reading");
    tcase_add_loop_test(opening, options_outside_their_limits_are_refused_by_name, 0, 18);
    tcase_add_test(opening, room_for_two_billion_rows_costs_little_before_they_come);
    tcase_add_loop_test(opening, options_at_their_limits_are_taken, 0, 2);
    tcase_add_loop_test(opening, target_recall_outside_its_limits_is_refused, 0, 4);
    tcase_add_test(opening, shorter_struct_takes_defaults_for_the_rest);
    tcase_add_test(opening, longer_struct_passes_only_with_an_empty_rest);
    tcase_add_test(opening, struct_without_its_size_is_refused);
    tcase_add_test(opening, shorter_statistics_are_filled_as_far_as_they_go);
    tcase_add_test(opening, null_arguments_are_named);
    tcase_add_test(opening, plan_calls_find_and_mark);
    tcase_add_test(opening, every_status_has_a_text);
    tcase_add_test(reading, filters_are_checked_and_report_what_they_did);
    tcase_add_test(reading, query_options_outside_their_limits_are_refused);
    tcase_add_test(reading, bad_queries_are_refused_and_numbered_in_a_batch);
    tcase_add_test(reading, fewer_hits_than_k_are_marked);
    tcase_add_loop_test(reading, batch_and_single_queries_agree, 0, 3);
    tcase_add_test(reading, deadline_cuts_a_search_with_a_warning);
    tcase_add_test(reading, recall_is_measured_and_kept);
    tcase_add_test(reading, recall_that_memory_is_short_for_is_refused);
    tcase_add_test(reading, interval_ends_at_1_when_everything_was_found);
    tcase_add_test(reading, ef_below_k_means_k_and_a_target_may_do_with_less);
    tcase_add_test(reading, an_ef_that_is_set_takes_the_place_of_a_default_target);
    tcase_add_test(reading, range_finds_nearly_all_that_lies_within);
    tcase_add_test(reading, target_recall_calibrates_when_there_is_enough);
    tcase_add_test(reading, build_tells_its_progress_and_can_be_left);
    tcase_add_test(reading, what_waits_for_a_build_is_refused_within_its_progress_function);
    tcase_add_test(reading, what_takes_long_ends_when_it_is_told_to_stop);
    tcase_add_test(reading, statistics_add_up);
    tcase_add_test(reading, flat_index_is_exact);
    tcase_add_test(reading, questions_beyond_the_last_point_have_empty_answers);
    suite_add_tcase(suite, opening);
    suite_add_tcase(suite, reading);
    return suite;
}

CHECK_MAIN(suite)
