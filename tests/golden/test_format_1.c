// tests/golden/test_format_1.c -- an index that the first version wrote is read and written by this one, for ever.
//
// Shape: shell. tests/golden/format-1 is copied for each test and never opened itself.
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "include/omendb.h"
#include "index/vector.h"
#include "tests/golden/golden.h"
#include "tests/lib/check_main.h"

#define GOLDEN_FILE "tests/golden/format-1/data.mdb" // from the root, where ctest runs tests
#define QUERIES 25

static char folder[] = "/tmp/omendb-golden-XXXXXX";
static char copy[sizeof folder + 16], lock[sizeof folder + 16];

static void
setup(void)
{
    char bytes[8192];
    size_t got;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(copy, sizeof copy, "%s/data.mdb", folder);
    snprintf(lock, sizeof lock, "%s/lock.mdb", folder);
    FILE *from = fopen(GOLDEN_FILE, "rb"), *to = fopen(copy, "wb");
    ck_assert_msg(from != NULL, "%s is missing; tests run from the root", GOLDEN_FILE);
    ck_assert_ptr_nonnull(to);
    while ((got = fread(bytes, 1, sizeof bytes, from)) > 0)
        ck_assert_uint_eq(fwrite(bytes, 1, got, to), got);
    fclose(from);
    ck_assert_int_eq(fclose(to), 0);
}

static void
teardown(void)
{
    unlink(copy);
    unlink(lock);
    rmdir(folder);
}

static omen_index_t
open_copy(int read_only)
{
    omen_options options = OMEN_OPTIONS_INIT;
    omen_index_t index;
    options.path = folder;
    options.read_only = read_only;
    ck_assert_msg(omen_open(&options, &index) == OMEN_OK, "%s", omen_error_message());
    return index;
}

static uint32_t
living(void)
{
    uint32_t count = 0;
    for (uint32_t row = 0; row < GOLDEN_ROWS; row++)
        count += golden_lives(row);
    return count;
}

static void
check_points(omen_index_t index)
{
    static struct packer packer;
    for (uint32_t row = 0; row < GOLDEN_ROWS; row++) {
        char id[16], text[256];
        float expected[GOLDEN_DIM], stored[GOLDEN_DIM];
        uint64_t key;
        size_t bytes;
        omen_points_t points;
        golden_id(row, id);
        ck_assert_int_eq(omen_id_key(index, id, &key), OMEN_OK);
        ck_assert_int_eq(omen_id_text(index, key, text, sizeof text), OMEN_OK);
        ck_assert_str_eq(text, id);
        ck_assert_int_eq(omen_get(index, &key, 1, OMEN_WITH_VECTOR | OMEN_WITH_PAYLOAD, &points),
                         OMEN_OK);
        ck_assert_int_eq(omen_points_found(points, 0), golden_lives(row));
        if (golden_lives(row)) {
            golden_vector(golden_source(row), expected);
            vector_to_f32(VECTOR_F16, omen_points_vector(points, 0), GOLDEN_DIM, stored);
            ck_assert_mem_eq(stored, expected, sizeof expected);
            golden_payload(row, golden_n(row), &packer);
            const void *payload = omen_points_payload(points, 0, &bytes);
            ck_assert_uint_eq(bytes, packer.count);
            ck_assert_mem_eq(payload, packer.bytes, bytes);
        }
        omen_points_free(points);
    }
}

static void
check_count(omen_index_t index, const char *filter, uint32_t expected)
{
    uint64_t count;
    ck_assert_int_eq(omen_count(index, filter, &count), OMEN_OK);
    ck_assert_msg(count == expected, "%s: %llu, not %u", filter, (unsigned long long)count,
                  expected);
}

static void
check_filters(omen_index_t index)
{
    uint32_t bergen = 0, large = 0, scored = 0;
    for (uint32_t row = 0; row < GOLDEN_ROWS; row++) {
        bergen += golden_lives(row) && row % 3 == 1;
        large += golden_lives(row) && golden_n(row) >= 300;
        scored += golden_lives(row) && (double)row / 4.0 < 10.5;
    }
    check_count(index, NULL, living());
    check_count(index, "city == \"Bergen\"", bergen);
    check_count(index, "n >= 300", large);
    check_count(index, "score < 10.5", scored);
    check_count(index, "n >= 10100 and n < 10110", 10);
}

static float
distance(uint32_t source, const float query[GOLDEN_DIM])
{
    float vector[GOLDEN_DIM], sum = 0.0f;
    golden_vector(source, vector);
    for (uint32_t i = 0; i < GOLDEN_DIM; i++)
        sum += (vector[i] - query[i]) * (vector[i] - query[i]);
    return sum;
}

static int
compare_floats(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

// Ids by the model, distances to the bit.
static void
check_searches(omen_index_t index, int exact)
{
    for (uint32_t query = 0; query < QUERIES; query++) {
        float vector[GOLDEN_DIM], all[GOLDEN_ROWS], distances[10];
        uint64_t ids[10];
        uint32_t count = 0, found;
        omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
        options.exact = exact;
        options.ef = GOLDEN_ROWS; // the graph is walked whole
        golden_vector(50000 + query, vector);
        for (uint32_t row = 0; row < GOLDEN_ROWS; row++)
            if (golden_lives(row))
                all[count++] = distance(golden_source(row), vector);
        qsort(all, count, sizeof *all, compare_floats);
        ck_assert_int_eq(omen_query(index, vector, &options, ids, distances, &found), OMEN_OK);
        ck_assert_uint_eq(found, 10);
        for (uint32_t i = 0; i < found; i++) {
            char text[256];
            ck_assert_float_eq(distances[i], all[i]);
            ck_assert_int_eq(omen_id_text(index, ids[i], text, sizeof text), OMEN_OK);
            const uint32_t row = (uint32_t)strtoul(text + 4, NULL, 10);
            ck_assert(golden_lives(row));
            ck_assert_float_eq(distance(golden_source(row), vector), distances[i]);
        }
    }
}

static void
check_all(omen_index_t index)
{
    omen_statistics stats = {.struct_size = sizeof stats};
    ck_assert_int_eq(omen_stats(index, &stats), OMEN_OK);
    ck_assert_uint_eq(stats.count, living());
    ck_assert_uint_eq(stats.dimension, GOLDEN_DIM);
    ck_assert_int_eq(stats.metric, OMEN_L2);
    ck_assert_int_eq(stats.dtype, OMEN_F16);
    check_points(index);
    check_filters(index);
    check_searches(index, 1);
    check_searches(index, 0);
    ck_assert_msg(omen_verify(index) == OMEN_OK, "%s", omen_error_message());
}

START_TEST(read_only_it_answers_as_it_did_and_stays_as_it_is)
{
    struct stat before, after;
    ck_assert_int_eq(stat(copy, &before), 0);
    omen_index_t index = open_copy(1);
    check_all(index);
    omen_close(index);
    ck_assert_int_eq(stat(copy, &after), 0);
    ck_assert_int_eq(before.st_size, after.st_size);
    ck_assert_int_eq(before.st_mtim.tv_sec, after.st_mtim.tv_sec);
    ck_assert_int_eq(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
}
END_TEST

START_TEST(writable_it_answers_as_it_did_before_and_after_a_checkpoint)
{
    omen_index_t index = open_copy(0);
    check_all(index);
    ck_assert_int_eq(omen_flush(index), OMEN_OK);
    check_all(index);
    omen_close(index);
    index = open_copy(0);
    check_all(index);
    ck_assert_int_eq(omen_compact(index), OMEN_OK);
    check_all(index);
    omen_close(index);
    index = open_copy(1);
    check_all(index);
    omen_close(index);
}
END_TEST

START_TEST(writes_go_on_where_the_first_version_stopped)
{
    omen_index_t index = open_copy(0);
    float vector[GOLDEN_DIM];
    const char *id = "new";
    uint64_t key, count;
    omen_batch batch = OMEN_BATCH_INIT;
    golden_vector(77777, vector);
    batch.count = 1;
    batch.vectors = vector;
    batch.text_ids = &id;
    ck_assert_int_eq(omen_add(index, &batch), OMEN_OK);
    ck_assert_int_eq(omen_add(index, &batch), OMEN_E_EXISTS);
    id = "doc-0007";
    ck_assert_int_eq(omen_add(index, &batch), OMEN_E_EXISTS);
    id = "doc-0010"; // deleted before the checkpoint
    ck_assert_int_eq(omen_add(index, &batch), OMEN_OK);
    omen_close(index);
    index = open_copy(1);
    ck_assert_int_eq(omen_count(index, NULL, &count), OMEN_OK);
    ck_assert_uint_eq(count, living() + 2);
    ck_assert_int_eq(omen_id_key(index, "new", &key), OMEN_OK);
    ck_assert_int_eq(omen_contains(index, key), 1);
    omen_close(index);
}
END_TEST

static Suite *
format_1_suite(void)
{
    Suite *suite = suite_create("format_1");
    TCase *tcase = tcase_create("format_1");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, read_only_it_answers_as_it_did_and_stays_as_it_is);
    tcase_add_test(tcase, writable_it_answers_as_it_did_before_and_after_a_checkpoint);
    tcase_add_test(tcase, writes_go_on_where_the_first_version_stopped);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(format_1_suite)
