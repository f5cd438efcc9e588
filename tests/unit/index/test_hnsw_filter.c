// tests/unit/index/test_hnsw_filter.c -- searches in which only some rows may answer, against the scan of those.
#include "tests/lib/index_world.h"

#define ROWS 8000u
#define WORDS ((ROWS + 200) / 64 + 1)

static struct world world;
static uint64_t words[WORDS];
static struct bitmap allowed;
static float anchor[96]; // queries of the correlated filters lie around it

static void
setup(void)
{
    world_init(&world, 96, METRIC_L2, VECTOR_F32);
    world_build(&world, ROWS);
    law_draw(&world.law, &world.law.rows, anchor);
}

static void
teardown(void)
{
    world_fini(&world);
}

static void
allow_none(uint32_t count)
{
    memset(words, 0, sizeof words);
    allowed = (struct bitmap){.words = words, .count = count};
}

static void
allow_random(double share)
{
    struct prng prng = {.state = 17};
    allow_none(hnsw_count(world.hnsw));
    for (uint32_t slot = 0; slot < allowed.count; slot++)
        if ((double)prng_unit(&prng) < share)
            bitmap_set(&allowed, slot);
}

// The share of the rows that are nearest to the anchor, or farthest from it.
static void
allow_by_distance(double share, bool near)
{
    const uint32_t rows = hnsw_count(world.hnsw);
    static struct hit all[TOPK_MAX];
    const struct hnsw_query query = world_query(anchor, TOPK_MAX, 0);
    const uint32_t count = hnsw_scan(world.hnsw, &query, world.scratch, all);
    const uint32_t want = (uint32_t)((double)count * share);
    allow_none(rows);
    for (uint32_t i = 0; i < want; i++)
        bitmap_set(&allowed, all[near ? i : count - 1 - i].slot);
}

static struct hnsw_query
filtered(const float *vector, uint32_t k, uint32_t beam)
{
    struct hnsw_query query = world_query(vector, k, beam);
    query.allowed = &allowed;
    query.allowed_count = (uint32_t)bitmap_population(&allowed);
    return query;
}

// Mean recall at beam 64; every query finds as many as there are, for no more comparisons than about two scans.
static double
ask_filtered(uint32_t queries, bool around_anchor)
{
    struct prng prng = world.law.queries;
    double sum = 0.0;
    for (uint32_t q = 0; q < queries; q++) {
        float vector[96];
        struct hit hits[10];
        struct hnsw_work work = {0};
        law_draw(&world.law, &prng, vector);
        for (uint32_t i = 0; around_anchor && i < 96; i++)
            vector[i] = anchor[i] + 0.1f * (vector[i] - anchor[i]);
        struct hnsw_query query = filtered(vector, 10, 64);
        sum += world_ask(&world, &query);
        query.work = &work;
        const uint32_t count = hnsw_search(world.hnsw, &query, world.scratch, hits);
        const uint32_t there =
            hnsw_scan(world.hnsw,
                      &(struct hnsw_query){
                          .vector = vector, .k = 10, .allowed = &allowed, .excluded = HNSW_NONE},
                      world.scratch, hits);
        CLAIM(count == there, "%u of %u found", count, there);
        CLAIM(work.evaluations <= 2ull * query.allowed_count + 4000,
              "%u comparisons for %u that pass", (uint32_t)work.evaluations, query.allowed_count);
    }
    return sum / queries;
}

static const double shares[] = {0.9, 0.5, 0.3, 0.1, 0.01, 0.001};
#define SHARES 6

START_TEST(random_filters_are_answered)
{
    allow_random(shares[_i]);
    const double recall = ask_filtered(60, false);
    ck_assert_msg(recall >= 0.95, "share %g: recall %g", shares[_i], recall);
}
END_TEST

START_TEST(filters_that_hold_what_is_near_are_answered)
{
    allow_by_distance(shares[_i], true);
    const double recall = ask_filtered(60, true);
    ck_assert_msg(recall >= 0.95, "share %g: recall %g", shares[_i], recall);
}
END_TEST

START_TEST(filters_that_hold_what_is_far_are_answered)
{
    allow_by_distance(shares[_i], false);
    const double recall = ask_filtered(60, true);
    ck_assert_msg(recall >= 0.95, "share %g: recall %g", shares[_i], recall);
}
END_TEST

START_TEST(filters_that_know_nothing_of_the_query_s_place_are_answered)
{
    allow_by_distance(shares[_i], true);
    const double recall = ask_filtered(60, false);
    ck_assert_msg(recall >= 0.95, "share %g: recall %g", shares[_i], recall);
}
END_TEST

START_TEST(all_that_pass_are_found_when_they_are_fewer_than_k)
{
    static const uint32_t counts[] = {0, 1, 9, 10, 11, 100, 999};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        allow_none(ROWS);
        for (uint32_t i = 0; i < counts[c]; i++)
            bitmap_set(&allowed, i * 8 + 3);
        const struct hnsw_query query = filtered(anchor, 1000, 10);
        static struct hit hits[1000];
        const uint32_t count = hnsw_search(world.hnsw, &query, world.scratch, hits);
        ck_assert_uint_eq(count, counts[c]);
        world_check_hits(&world, &query, hits, count);
        ck_assert_double_ge(world_ask(&world, &query), 1.0);
    }
}
END_TEST

START_TEST(a_large_k_is_filled_under_any_filter)
{
    for (int s = 0; s < 4; s++) {
        allow_by_distance(shares[s], s % 2 == 0);
        const uint32_t k = 1000 < (uint32_t)bitmap_population(&allowed) ? 1000 : 700;
        struct hnsw_query query = filtered(anchor, k, 10);
        static struct hit hits[1000];
        ck_assert_uint_eq(hnsw_search(world.hnsw, &query, world.scratch, hits), k);
        world_check_hits(&world, &query, hits, k);
    }
}
END_TEST

START_TEST(rows_beyond_the_bitmap_do_not_answer)
{
    static const uint32_t counts[] = {1, 63, 64, 65, 3000, 7999};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        allow_none(counts[c]);
        for (uint32_t slot = 0; slot < counts[c]; slot++)
            bitmap_set(&allowed, slot);
        struct hnsw_query query = filtered(anchor, 10, 64);
        ck_assert_double_ge(world_ask(&world, &query), 0.9);
    }
}
END_TEST

START_TEST(erased_excluded_and_unlinked_rows_are_told_apart_under_a_filter)
{
    world_add(&world, 150);
    for (uint32_t slot = 0; slot < ROWS + 150; slot += 3)
        hnsw_erase(world.hnsw, slot);
    for (int s = 0; s < SHARES; s++) {
        allow_random(shares[s]);
        double sum = 0.0;
        for (uint32_t slot = 1; slot < ROWS + 150; slot += 200) {
            float vector[96];
            vector_to_f32(VECTOR_F32, hnsw_row(world.hnsw, slot), 96, vector);
            struct hnsw_query query = filtered(vector, 10, 64);
            query.excluded = slot;
            sum += world_ask(&world, &query) / 41;
        }
        ck_assert_msg(sum >= 0.94, "share %g: recall %g", shares[s], sum);
    }
}
END_TEST

START_TEST(the_way_is_chosen_by_how_many_pass)
{
    static const double shares_of[] = {0.97, 0.01};
    for (int e = 0; e < 2; e++) {
        allow_random(shares_of[e]);
        struct hnsw_work work = {0};
        struct hnsw_query query = filtered(anchor, 10, 16);
        struct hit hits[10];
        query.work = &work;
        hnsw_search(world.hnsw, &query, world.scratch, hits);
        ck_assert_int_eq(work.strategy == HNSW_SCANNED, e == 1);
    }
}
END_TEST

// Enough rows, and a narrow beam, that a walk among those that pass pays.
START_TEST(a_filtered_walk_compares_fewer_than_pass)
{
    allow_random(0.6);
    struct hnsw_work work = {0};
    double sum = 0.0;
    struct prng prng = world.law.queries;
    for (uint32_t q = 0; q < 60; q++) {
        float vector[96];
        law_draw(&world.law, &prng, vector);
        struct hnsw_query query = filtered(vector, 10, 16);
        query.work = &work;
        struct hit hits[10];
        hnsw_search(world.hnsw, &query, world.scratch, hits);
        ck_assert_uint_eq(work.strategy, HNSW_WALKED_FILTERED);
        query.work = NULL;
        sum += world_ask(&world, &query);
    }
    ck_assert_uint_lt(work.evaluations / 60, bitmap_population(&allowed));
    ck_assert_msg(sum / 60 >= 0.8, "recall %g", sum / 60);
}
END_TEST

// Of half the rows, drawn without regard to place, the walk over all rows need not meet twice as many.
START_TEST(a_walk_that_collects_half_the_rows_compares_less_than_twice_as_many)
{
    allow_random(0.5);
    struct prng prng = world.law.queries;
    struct hnsw_work plain = {0}, filtered_work = {0};
    double sum = 0.0;
    for (uint32_t q = 0; q < 60; q++) {
        float vector[96];
        struct hit hits[10];
        law_draw(&world.law, &prng, vector);
        struct hnsw_query query = world_query(vector, 10, 10);
        query.work = &plain;
        hnsw_search(world.hnsw, &query, world.scratch, hits);
        query = filtered(vector, 10, 10);
        query.work = &filtered_work;
        hnsw_search(world.hnsw, &query, world.scratch, hits);
        ck_assert_uint_eq(filtered_work.strategy, HNSW_WALKED_FILTERED);
        query.work = NULL;
        sum += world_ask(&world, &query);
    }
    ck_assert_uint_lt(filtered_work.evaluations, 2 * plain.evaluations);
    ck_assert_msg(sum / 60 >= 0.9, "recall %g", sum / 60);
}
END_TEST

// Comparisons that 60 walks for three fifths of the rows take, of a world of its own.
static uint64_t
collected_with(uint32_t dim, double *recall)
{
    teardown();
    world_init(&world, dim, METRIC_L2, VECTOR_F32);
    world_build(&world, ROWS);
    allow_random(0.6);
    struct prng prng = world.law.queries;
    struct hnsw_work work = {0};
    *recall = 0.0;
    for (uint32_t q = 0; q < 60; q++) {
        float vector[192];
        struct hit hits[10];
        law_draw(&world.law, &prng, vector);
        struct hnsw_query query = filtered(vector, 10, 16);
        query.work = &work;
        hnsw_search(world.hnsw, &query, world.scratch, hits);
        ck_assert_uint_eq(work.strategy, HNSW_WALKED_FILTERED);
        query.work = NULL;
        *recall += world_ask(&world, &query) / 60;
    }
    return work.evaluations;
}

// The last rows that pass are found behind nodes that are known; failing rows of the same distance are not compared.
START_TEST(a_walk_over_long_codes_ends_among_those_that_pass)
{
    double recall;
    const uint64_t compared = collected_with(192, &recall);
    ck_assert_uint_lt(compared, 60 * 316); // 328 where failing rows are compared to the end
    ck_assert_double_ge(recall, 0.98);
}
END_TEST

// Around the anchor nobody passes: the walk must notice early, and go where they are. Going on would take 954
// comparisons on average, where 568 are needed.
START_TEST(a_walk_that_meets_nobody_who_passes_begins_anew_early)
{
    allow_by_distance(0.5, false);
    struct prng prng = world.law.queries;
    struct hnsw_work work = {0};
    for (uint32_t q = 0; q < 60; q++) {
        float vector[96];
        struct hit hits[10];
        law_draw(&world.law, &prng, vector);
        for (uint32_t i = 0; i < 96; i++)
            vector[i] = anchor[i] + 0.1f * (vector[i] - anchor[i]);
        struct hnsw_query query = filtered(vector, 10, 10);
        query.work = &work;
        ck_assert_uint_eq(hnsw_search(world.hnsw, &query, world.scratch, hits), 10);
        ck_assert_uint_eq(work.strategy, HNSW_WALKED_FILTERED);
    }
    ck_assert_msg(work.evaluations / 60 < 750, "%u comparisons", (uint32_t)(work.evaluations / 60));
}
END_TEST

// Rows near the query that fail lead nowhere once some that pass are known, and must not fill the list in their place.
START_TEST(a_walk_among_far_rows_is_not_lost_in_near_ones)
{
    teardown();
    world_init(&world, 96, METRIC_L2, VECTOR_F32);
    world.config.quantization = HNSW_QUANTIZE_NONE; // long rows are not walked over where they fail
    world.law.clusters = 4;
    world_build(&world, ROWS);
    law_draw(&world.law, &world.law.rows, anchor);
    allow_by_distance(0.5, false);
    struct prng prng = world.law.queries;
    struct hnsw_work work = {0};
    double sum = 0.0;
    for (uint32_t q = 0; q < 60; q++) {
        float vector[96];
        struct hit hits[10];
        law_draw(&world.law, &prng, vector);
        for (uint32_t i = 0; i < 96; i++)
            vector[i] = anchor[i] + 0.1f * (vector[i] - anchor[i]);
        struct hnsw_query query = filtered(vector, 10, 10);
        query.work = &work;
        ck_assert_uint_eq(hnsw_search(world.hnsw, &query, world.scratch, hits), 10);
        ck_assert_uint_eq(work.strategy, HNSW_WALKED_FILTERED);
        query.work = NULL;
        sum += world_ask(&world, &query);
    }
    ck_assert_msg(work.evaluations / 60 < 500, "%u comparisons", (uint32_t)(work.evaluations / 60));
    ck_assert_msg(sum / 60 >= 0.5, "recall %g", sum / 60);
}
END_TEST

START_TEST(rows_that_are_walked_themselves_obey_filters_too)
{
    teardown();
    world_init(&world, 96, METRIC_COSINE, VECTOR_I8);
    world_build(&world, ROWS);
    for (int s = 0; s < SHARES; s++) {
        allow_random(shares[s]);
        const double recall = ask_filtered(40, false);
        ck_assert_msg(recall >= 0.95, "share %g: recall %g", shares[s], recall);
    }
}
END_TEST

START_TEST(a_deadline_in_the_past_cuts_the_scan_of_codes)
{
    allow_random(0.5);
    struct hnsw_work whole = {0}, cut = {0};
    static struct hit hits[10];
    struct hnsw_query query = filtered(anchor, 10, 128);
    query.work = &whole;
    query.deadline_ns = UINT64_MAX;
    ck_assert_uint_eq(hnsw_search(world.hnsw, &query, world.scratch, hits), 10);
    ck_assert_uint_eq(whole.strategy, HNSW_SCANNED);
    ck_assert_uint_eq(whole.evaluations, query.allowed_count);
    ck_assert(!whole.cut);
    query.work = &cut;
    query.deadline_ns = 1;
    const uint32_t count = hnsw_search(world.hnsw, &query, world.scratch, hits);
    world_check_hits(&world, &query, hits, count);
    ck_assert(cut.cut);
    ck_assert_uint_lt(cut.evaluations, whole.evaluations * 3 / 4);
}
END_TEST

static Suite *
hnsw_filter_suite(void)
{
    Suite *suite = suite_create("hnsw_filter");
    TCase *tcase = tcase_create("hnsw_filter");
    // One index for all; each test runs in a process of its own.
    tcase_add_unchecked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, random_filters_are_answered, 0, SHARES);
    tcase_add_loop_test(tcase, filters_that_hold_what_is_near_are_answered, 0, SHARES);
    tcase_add_loop_test(tcase, filters_that_hold_what_is_far_are_answered, 0, SHARES);
    tcase_add_loop_test(tcase, filters_that_know_nothing_of_the_query_s_place_are_answered, 0,
                        SHARES);
    tcase_add_test(tcase, a_deadline_in_the_past_cuts_the_scan_of_codes);
    tcase_add_test(tcase, all_that_pass_are_found_when_they_are_fewer_than_k);
    tcase_add_test(tcase, a_large_k_is_filled_under_any_filter);
    tcase_add_test(tcase, rows_beyond_the_bitmap_do_not_answer);
    tcase_add_test(tcase, the_way_is_chosen_by_how_many_pass);
    tcase_add_test(tcase, a_filtered_walk_compares_fewer_than_pass);
    tcase_add_test(tcase, a_walk_that_collects_half_the_rows_compares_less_than_twice_as_many);
    tcase_add_test(tcase, a_walk_over_long_codes_ends_among_those_that_pass);
    tcase_add_test(tcase, a_walk_that_meets_nobody_who_passes_begins_anew_early);
    // What changes the index comes last, for runs without a process each.
    tcase_add_test(tcase, erased_excluded_and_unlinked_rows_are_told_apart_under_a_filter);
    tcase_add_test(tcase, a_walk_among_far_rows_is_not_lost_in_near_ones);
    tcase_add_test(tcase, rows_that_are_walked_themselves_obey_filters_too);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(hnsw_filter_suite)
