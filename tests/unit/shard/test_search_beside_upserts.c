// tests/unit/shard/test_search_beside_upserts.c -- what a search answers while rows are exchanged.
//
// Labels: tsan
#include <pthread.h>
#include <stdatomic.h>

#include "tests/lib/check_main.h"
#include "tests/lib/shard_fixture.h"

#define POINTS 500u
#define BATCH_POINTS 500u // all of them, so that every answer is there twice for a while
#define UPSERTS 1500
#define K 10u
#define CANARY 0x5ca1ab1e5ca1ab1eull

static _Atomic bool done;
static float vectors[POINTS][4];

static void
upsert_some(uint32_t from)
{
    static float batch_rows[BATCH_POINTS][4];
    uint64_t ids[BATCH_POINTS];
    for (uint32_t i = 0; i < BATCH_POINTS; i++) {
        ids[i] = (from + i) % POINTS;
        memcpy(batch_rows[i], vectors[ids[i]], sizeof batch_rows[i]);
    }
    omen_batch batch = OMEN_BATCH_INIT;
    batch.count = BATCH_POINTS;
    batch.vectors = batch_rows;
    batch.ids = ids;
    ck_assert_int_eq(omen_upsert(index_of, &batch), OMEN_OK);
}

static void *
write_on(void *unused)
{
    for (uint32_t i = 0; i < UPSERTS; i++)
        upsert_some(i * 37 % POINTS);
    atomic_store(&done, true);
    return unused;
}

START_TEST(a_search_writes_k_answers_and_not_one_more)
{
    for (uint32_t i = 0; i < POINTS; i++)
        for (uint32_t d = 0; d < 4; d++)
            vectors[i][d] = (float)((i * 7 + d * 13) % 101) + 1.0f;
    for (uint32_t from = 0; from < POINTS; from += BATCH_POINTS)
        upsert_some(from);
    atomic_store(&done, false);
    pthread_t writer;
    ck_assert_int_eq(pthread_create(&writer, NULL, write_on, NULL), 0);
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    options.k = K;
    for (uint32_t q = 0; !atomic_load(&done); q = (q + 1) % POINTS) {
        uint64_t ids[2 * K + 1];
        float distances[2 * K + 1];
        uint32_t found = 0;
        for (uint32_t i = 0; i < 2 * K + 1; i++)
            ids[i] = CANARY;
        ck_assert_int_eq(omen_query(index_of, vectors[q], &options, ids, distances, &found),
                         OMEN_OK);
        ck_assert_uint_eq(found, K);
        for (uint32_t i = K; i < 2 * K + 1; i++)
            ck_assert_msg(ids[i] == CANARY, "answer %u was written, k is %u", i, K);
        for (uint32_t i = 0; i < K; i++)
            for (uint32_t j = 0; j < i; j++)
                ck_assert_uint_ne(ids[i], ids[j]);
    }
    pthread_join(writer, NULL);
}
END_TEST

static Suite *
search_beside_upserts_suite(void)
{
    Suite *suite = suite_create("shard/search_beside_upserts");
    TCase *tcase = tcase_create("search_beside_upserts");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, a_search_writes_k_answers_and_not_one_more);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(search_beside_upserts_suite)
