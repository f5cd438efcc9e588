// tests/unit/shard/test_query_many.c -- a batch whose queries share what they compare answers as each query does alone.
//
// Labels: tsan
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/prng.h"
#include "base/tsan.h"
#include "index/vector.h"
#include "shard/shard_int.h"
#include "tests/lib/check_main.h"

#define DIM 64u
#define ROWS 5000u // more than a mebibyte, where sharing begins
#define QUERIES 45u
#define K 7u
#define ROUNDS 100u

static omen_index_t index_;
static float rows[ROWS][DIM], asked[QUERIES][DIM];
static uint64_t ids[ROWS];

static void
must(omen_status status)
{
    ck_assert_msg(status == OMEN_OK, "%d: %s", status, omen_error_message());
}

static omen_batch
batch_of(uint32_t first, uint32_t count)
{
    omen_batch batch = OMEN_BATCH_INIT;
    batch.count = count;
    batch.vectors = rows[first];
    batch.ids = ids + first;
    return batch;
}

static struct shard *
shard(void)
{
    return (struct shard *)(void *)index_;
}

// linked: all rows; else nobody links any.
static void
open_index(omen_metric metric, bool linked)
{
    struct prng prng;
    omen_options options = OMEN_OPTIONS_INIT;
    prng_init(&prng, 1);
    options.dimension = DIM;
    options.metric = metric;
    must(omen_open(&options, &index_));
    if (!linked) {
        atomic_store(&shard()->bulk_after, UINT32_MAX);
        lock_acquire(&shard()->writers);
        linkers_pause(&shard()->linkers);
        lock_release(&shard()->writers);
    }
    for (uint32_t i = 0; i < ROWS; i++) {
        ids[i] = i;
        for (uint32_t d = 0; d < DIM; d++)
            rows[i][d] = prng_unit(&prng) - 0.5f;
    }
    for (uint32_t i = 0; i < QUERIES; i++)
        for (uint32_t d = 0; d < DIM; d++)
            asked[i][d] = prng_unit(&prng) - 0.5f;
    const omen_batch batch = batch_of(0, ROWS);
    must(omen_add(index_, &batch));
    if (linked)
        must(omen_flush(index_));
}

static void
close_index(bool linked)
{
    if (!linked) {
        lock_acquire(&shard()->writers);
        linkers_resume(&shard()->linkers, shard_generation(shard())->hnsw);
        lock_release(&shard()->writers);
    }
    omen_close(index_);
}

// The batch beside its queries one by one: ids, distances, and how many rows were compared.
static void
claim_same(omen_query_options options, const void *vectors, size_t row_bytes)
{
    static uint64_t found[QUERIES * K], alone[K];
    static float distances[QUERIES * K], near[K];
    omen_query_report many = {0}, one = {0};
    uint64_t compared = 0;
    options.k = K;
    options.report = &many;
    must(omen_query_batch(index_, vectors, QUERIES, &options, found, distances));
    for (uint32_t i = 0; i < QUERIES; i++) {
        uint32_t count;
        options.report = &one;
        must(omen_query(index_, (const char *)vectors + i * row_bytes, &options, alone, near,
                        &count));
        ck_assert_mem_eq(alone, found + i * K, count * sizeof *alone);
        ck_assert_mem_eq(near, distances + i * K, count * sizeof *near);
        compared += one.exact_distances;
    }
    ck_assert_uint_eq(many.exact_distances, compared);
    ck_assert_uint_ge(compared, (uint64_t)QUERIES * K);
}

START_TEST(rows_that_are_not_linked_are_compared_for_all_at_once)
{
    open_index((omen_metric)_i, false);
    claim_same((omen_query_options)OMEN_QUERY_OPTIONS_INIT, asked, sizeof asked[0]);
    close_index(false);
}
END_TEST

START_TEST(exact_answers_of_a_batch_are_those_of_each_query)
{
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    open_index((omen_metric)_i, true);
    options.exact = 1;
    claim_same(options, asked, sizeof asked[0]);
    options.threads = 1;
    claim_same(options, asked, sizeof asked[0]);
    // Of another type than the rows', so that each is made f32 first; and not one behind the other.
    static uint16_t halves[QUERIES][DIM + 3];
    for (uint32_t i = 0; i < QUERIES; i++)
        vector_from_f32(VECTOR_F16, asked[i], DIM, halves[i]);
    options.dtype = OMEN_F16;
    options.stride = sizeof halves[0];
    claim_same(options, halves, sizeof halves[0]);
    close_index(true);
}
END_TEST

START_TEST(a_query_that_is_none_is_named_and_ends_the_batch)
{
    static uint64_t found[QUERIES * K];
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    open_index(OMEN_L2, false);
    options.k = K;
    asked[11][5] = NAN;
    ck_assert_int_eq(omen_query_batch(index_, asked, QUERIES, &options, found, NULL),
                     OMEN_E_NOT_FINITE);
    ck_assert_msg(strstr(omen_error_message(), "query 11") != NULL, "%s", omen_error_message());
    close_index(false);
}
END_TEST

// Both rows of an id can be found for a moment: the answers have it once, and K of them all the same.
static _Atomic bool done;

static void *
replace(void *argument)
{
    struct prng prng;
    (void)argument;
    prng_init(&prng, 2);
    while (!atomic_load(&done)) {
        const omen_batch batch = batch_of(prng_below(&prng, ROWS - 1000), 1000);
        must(omen_upsert(index_, &batch));
    }
    return NULL;
}

START_TEST(rows_that_are_replaced_meanwhile_are_found_once)
{
    static uint64_t found[QUERIES * K];
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    pthread_t writer;
    open_index(OMEN_L2, true);
    options.k = K;
    options.exact = 1;
    atomic_store(&done, false);
    ck_assert_int_eq(pthread_create(&writer, NULL, replace, NULL), 0);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        must(omen_query_batch(index_, asked, QUERIES, &options, found, NULL));
        for (uint32_t i = 0; i < QUERIES; i++)
            for (uint32_t a = 0; a < K; a++) {
                ck_assert_uint_lt(found[i * K + a], ROWS);
                for (uint32_t b = 0; b < a; b++)
                    ck_assert_uint_ne(found[i * K + a], found[i * K + b]);
            }
    }
    atomic_store(&done, true);
    ck_assert_int_eq(pthread_join(writer, NULL), 0);
    close_index(true);
}
END_TEST

static Suite *
query_many_suite(void)
{
    Suite *suite = suite_create("shard/query_many");
    TCase *tcase = tcase_create("query_many");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, rows_that_are_not_linked_are_compared_for_all_at_once, 0, 3);
    tcase_add_loop_test(tcase, exact_answers_of_a_batch_are_those_of_each_query, 0, 3);
    tcase_add_test(tcase, a_query_that_is_none_is_named_and_ends_the_batch);
    tcase_add_test(tcase, rows_that_are_replaced_meanwhile_are_found_once);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(query_many_suite)
