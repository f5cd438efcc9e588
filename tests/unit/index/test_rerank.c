// tests/unit/index/test_rerank.c -- from what a walk found to what is answered.
#include "tests/lib/index_world.h"

static struct world world;

static void
setup(void)
{
    world_init(&world, 128, METRIC_L2, VECTOR_F32);
    world_build(&world, 4000);
}

static void
teardown(void)
{
    world_fini(&world);
}

START_TEST(a_fixed_number_is_compared_when_it_is_given)
{
    static const uint32_t reranks[] = {10, 25, 50, 100};
    double last = 0.0;
    for (size_t r = 0; r < sizeof reranks / sizeof reranks[0]; r++) {
        struct prng prng = world.law.queries;
        double sum = 0.0;
        for (uint32_t q = 0; q < 40; q++) {
            float vector[128];
            struct hnsw_work work = {0};
            struct hit hits[10];
            law_draw(&world.law, &prng, vector);
            struct hnsw_query query = world_query(vector, 10, 100);
            query.rerank = reranks[r];
            query.work = &work;
            ck_assert_uint_eq(hnsw_search(world.hnsw, &query, world.scratch, hits), 10);
            ck_assert_uint_eq(work.exact_distances, reranks[r]);
            query.work = NULL;
            sum += world_ask(&world, &query);
        }
        ck_assert_double_ge(sum, last);
        last = sum;
    }
    ck_assert_double_ge(last / 40, 0.97);
}
END_TEST

START_TEST(easy_queries_read_few_rows_and_lose_nothing_by_it)
{
    struct prng prng = world.law.queries;
    struct hnsw_work work = {0};
    double chosen = 0.0, fixed = 0.0;
    for (uint32_t q = 0; q < 60; q++) {
        float vector[128];
        struct hit hits[10];
        law_draw(&world.law, &prng, vector);
        struct hnsw_query query = world_query(vector, 10, 100);
        query.work = &work;
        hnsw_search(world.hnsw, &query, world.scratch, hits);
        query.work = NULL;
        chosen += world_ask(&world, &query);
        query.rerank = 100;
        fixed += world_ask(&world, &query);
    }
    ck_assert_double_ge(chosen / 60, fixed / 60 - 0.01);
    ck_assert_uint_lt(work.exact_distances, 60 * 60);
}
END_TEST

START_TEST(room_is_made_for_k_rerank_and_beam)
{
    static const uint32_t ks[] = {1, 10, 100, TOPK_MAX};
    for (size_t i = 0; i < sizeof ks / sizeof ks[0]; i++) {
        struct hnsw_query query = world_query(NULL, ks[i], 0);
        ck_assert_uint_ge(rerank_room(&query, 1), ks[i]);
        ck_assert_uint_ge(rerank_room(&query, 5000), 5000);
        query.rerank = 777;
        ck_assert_uint_ge(rerank_room(&query, 1), 777);
    }
}
END_TEST

// Misses of 40 searches.
static uint64_t
misses_at(uint32_t beam)
{
    struct prng prng = world.law.queries;
    struct hnsw_work work = {0};
    for (uint32_t q = 0; q < 40; q++) {
        float vector[128];
        struct hit hits[10];
        law_draw(&world.law, &prng, vector);
        struct hnsw_query query = world_query(vector, 10, beam);
        query.work = &work;
        hnsw_search(world.hnsw, &query, world.scratch, hits);
    }
    return work.rerank_misses;
}

START_TEST(lists_too_short_to_be_sure_are_counted)
{
    // A list of 1,000 of 4,000 rows reaches beyond what a code can be wrong by.
    ck_assert_uint_eq(misses_at(1000), 0);
    // And where codes are a hundred times as wrong, no short list does.
    world.hnsw->codec.high_error *= 100.0f;
    ck_assert_uint_eq(misses_at(10), 40);
}
END_TEST

static Suite *
rerank_suite(void)
{
    Suite *suite = suite_create("rerank");
    TCase *tcase = tcase_create("rerank");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_fixed_number_is_compared_when_it_is_given);
    tcase_add_test(tcase, easy_queries_read_few_rows_and_lose_nothing_by_it);
    tcase_add_test(tcase, room_is_made_for_k_rerank_and_beam);
    tcase_add_test(tcase, lists_too_short_to_be_sure_are_counted);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(rerank_suite)
