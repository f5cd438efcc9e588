// tests/unit/index/test_many.c -- rows compared with several queries at once give what each of them finds alone.
#include "index/many.h"

#include "base/os_clock.h"
#include "tests/lib/index_world.h"

#define QUERIES 7u
#define K 9u

static struct world world;
static struct many many;
static float vectors[MANY_MAX][WORLD_DIM_MAX];

static const enum vector_type types[] = {VECTOR_F32, VECTOR_F16, VECTOR_BF16, VECTOR_I8, VECTOR_U8};
#define CASES (5 * 3)

// So many rows that comparing them together is worth it.
static uint32_t
rows_for(uint32_t dim, enum vector_type type)
{
    return (uint32_t)((1u << 20) / (dim * vector_type_bytes(type))) + 100;
}

static void
draw(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        law_draw(&world.law, &world.law.queries, vectors[i]);
}

static bool
begin(uint32_t count, uint32_t k, bool exact)
{
    if (!many_begin(&many, world.hnsw, count, k, exact))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        const struct hnsw_query query = world_query(vectors[i], k, 0);
        ck_assert_int_eq(scratch_fit(world.scratch, world.hnsw, k, 0), OMEN_OK);
        many_add(&many, world.hnsw, &query, world.scratch);
    }
    return true;
}

// Whatever is written to the users' vectors meanwhile: they were copied.
static void
compare(const struct hnsw_query *of)
{
    float kept[MANY_MAX][WORLD_DIM_MAX];
    memcpy(kept, vectors, sizeof kept);
    memset(vectors, 0, sizeof vectors);
    many_compare(&many, world.hnsw, of);
    memcpy(vectors, kept, sizeof kept);
}

typedef uint32_t search_fn(const struct hnsw *, const struct hnsw_query *, struct scratch *,
                           struct hit *);

// Each query, given what was compared, answers as it does alone, and counts as many rows.
static void
claim_same(search_fn *search, const struct hnsw_query *like)
{
    struct hit alone[K], given_hits[K];
    for (uint32_t i = 0; i < many.count; i++) {
        struct hnsw_query query = *like;
        struct hnsw_work work = {0}, with = {0};
        const struct hnsw_given given = many_given(&many, i);
        query.vector = vectors[i];
        query.work = &work;
        const uint32_t count = search(world.hnsw, &query, world.scratch, alone);
        query.work = &with;
        query.given = &given;
        ck_assert_uint_eq(search(world.hnsw, &query, world.scratch, given_hits), count);
        ck_assert_mem_eq(alone, given_hits, count * sizeof *alone);
        ck_assert_uint_eq(work.exact_distances, with.exact_distances);
        ck_assert_uint_eq(work.tail, with.tail);
        ck_assert_int_eq(work.strategy, with.strategy);
    }
}

static void
finish(void)
{
    many_fini(&many);
    world_fini(&world);
}

START_TEST(scans_of_several_queries_are_those_of_each)
{
    const enum vector_type type = types[_i % 5];
    world_init(&world, 96, (enum metric)(_i / 5), type);
    world.config.flat = true;
    const uint32_t rows = rows_for(96, type);
    world_add(&world, rows);
    for (uint32_t slot = 0; slot < rows; slot += 13)
        hnsw_erase(world.hnsw, slot);
    draw(QUERIES);
    const struct hnsw_query of = world_query(NULL, K, 0);
    ck_assert(begin(QUERIES, K, true));
    compare(&of);
    claim_same(hnsw_scan, &of);
    finish();
}
END_TEST

START_TEST(a_filters_rows_and_one_left_out_are_those_of_each)
{
    world_init(&world, 96, METRIC_L2, VECTOR_F32);
    world.config.flat = true;
    const uint32_t rows = rows_for(96, VECTOR_F32);
    world_add(&world, rows);
    uint64_t *words = calloc(bitmap_words(rows), sizeof *words);
    const struct bitmap allowed = {.words = words, .count = rows};
    struct hnsw_query of = world_query(NULL, K, 0);
    for (uint32_t slot = 0; slot < rows; slot += 3)
        words[slot / 64] |= UINT64_C(1) << slot % 64;
    draw(QUERIES);
    of.allowed = &allowed;
    of.allowed_count = (rows + 2) / 3;
    of.excluded = 3 * 5;
    ck_assert(begin(QUERIES, K, true));
    compare(&of);
    claim_same(hnsw_scan, &of);
    free(words);
    finish();
}
END_TEST

// Of a graph with a tail; and what is linked, or published, between the comparing and the searches is found once.
START_TEST(searches_beside_a_tail_are_those_of_each)
{
    world_init(&world, 64, METRIC_COSINE, VECTOR_F32);
    world_add(&world, 3000);
    world_link(&world);
    world_add(&world, rows_for(64, VECTOR_F32));
    hnsw_erase(world.hnsw, hnsw_count(world.hnsw) - 1);
    draw(QUERIES);
    const struct hnsw_query of = world_query(NULL, K, 64);
    ck_assert(begin(QUERIES, K, false));
    ck_assert_uint_eq(many.given.from, 3000);
    compare(&of);
    claim_same(hnsw_search, &of);
    for (uint32_t i = 0; i < 500; i++) // of the tail
        ck_assert(hnsw_link_next(world.hnsw, world.scratch));
    world_add(&world, 50);
    for (uint32_t i = 0; i < QUERIES; i++) {
        struct hit hits[K];
        const struct hnsw_given given = many_given(&many, i);
        struct hnsw_query query = of;
        query.vector = vectors[i];
        query.given = &given;
        const uint32_t count = hnsw_search(world.hnsw, &query, world.scratch, hits);
        world_check_hits(&world, &query, hits, count); // none twice
        struct hit nearest[K];
        query.given = NULL;
        ck_assert_uint_eq(hnsw_scan(world.hnsw, &query, world.scratch, nearest), count);
        for (uint32_t n = 0; n < count; n++)
            if (nearest[n].slot >= 3000) { // the tail is compared whole
                bool found = false;
                for (uint32_t h = 0; h < count; h++)
                    found |= hits[h].slot == nearest[n].slot;
                ck_assert(found);
            }
    }
    finish();
}
END_TEST

START_TEST(a_deadline_ends_it_and_the_rest_is_each_ones)
{
    world_init(&world, 96, METRIC_IP, VECTOR_F32);
    world.config.flat = true;
    const uint32_t rows = 2 * rows_for(96, VECTOR_F32);
    world_add(&world, rows);
    draw(QUERIES);
    struct hnsw_query of = world_query(NULL, K, 0);
    of.deadline_ns = os_clock_ns() - 1;
    ck_assert(begin(QUERIES, K, true));
    compare(&of);
    ck_assert_uint_lt(many.given.end, rows);
    ck_assert_uint_gt(many.given.end, 0);
    of.deadline_ns = 0;
    claim_same(hnsw_scan, &of);
    finish();
}
END_TEST

START_TEST(what_is_not_worth_it_or_too_much_is_left_to_each)
{
    world_init(&world, 64, METRIC_L2, VECTOR_F32);
    world.config.flat = true;
    world_add(&world, rows_for(64, VECTOR_F32) - 101);
    ck_assert(!many_begin(&many, world.hnsw, QUERIES, K, true)); // a row less than is worth it
    world_add(&world, 1);
    ck_assert(many_begin(&many, world.hnsw, QUERIES, K, true));
    ck_assert(!many_begin(&many, world.hnsw, 1, K, true));
    ck_assert(many_begin(&many, world.hnsw, 2, MANY_K_MAX, true));
    ck_assert(!many_begin(&many, world.hnsw, 2, MANY_K_MAX + 1, true));
    ck_assert(many_begin(&many, world.hnsw, MANY_MAX + 1, K, true));
    ck_assert_uint_eq(many.count_max, MANY_MAX);
    finish();
}
END_TEST

START_TEST(without_memory_each_does_it_for_itself)
{
    world_init(&world, 64, METRIC_L2, VECTOR_F32);
    world.config.flat = true;
    world_add(&world, rows_for(64, VECTOR_F32));
    for (uint64_t n = 1;; n++) {
        mem_fail_after(n);
        const bool begun = many_begin(&many, world.hnsw, MANY_MAX, MANY_K_MAX, true);
        const uint64_t refused = mem_refused();
        mem_fail_after(0);
        ck_assert_int_eq(begun, refused == 0);
        if (begun)
            break;
    }
    draw(2);
    ck_assert(begin(2, K, true)); // with what there is
    const struct hnsw_query of = world_query(NULL, K, 0);
    compare(&of);
    claim_same(hnsw_scan, &of);
    finish();
}
END_TEST

static Suite *
index_many_suite(void)
{
    Suite *suite = suite_create("index/many");
    TCase *tcase = tcase_create("many");
    tcase_add_loop_test(tcase, scans_of_several_queries_are_those_of_each, 0, CASES);
    tcase_add_test(tcase, a_filters_rows_and_one_left_out_are_those_of_each);
    tcase_add_test(tcase, searches_beside_a_tail_are_those_of_each);
    tcase_add_test(tcase, a_deadline_ends_it_and_the_rest_is_each_ones);
    tcase_add_test(tcase, what_is_not_worth_it_or_too_much_is_left_to_each);
    tcase_add_test(tcase, without_memory_each_does_it_for_itself);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(index_many_suite)
