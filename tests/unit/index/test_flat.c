// tests/unit/index/test_flat.c -- the scan, against distances in double and a sort.
#include "tests/lib/index_world.h"

#define ROWS 700u
#define QUERIES 5u

static const uint32_t dims[] = {1, 2, 3, 64, 127, 384};
static const enum vector_type types[] = {VECTOR_F32, VECTOR_F16, VECTOR_BF16, VECTOR_I8, VECTOR_U8};
#define DIMS 6
#define CASES (DIMS * 5 * 3)

static struct world world;

static void
open_flat(uint32_t dim, enum metric metric, enum vector_type type)
{
    world_init(&world, dim, metric, type);
    world.config.flat = true;
}

// From what the index keeps, added up in double.
static double
plain_distance(const float *query, uint32_t slot)
{
    const uint32_t dim = world.config.dim;
    float row[WORLD_DIM_MAX];
    double dot = 0.0, qq = 0.0, xx = 0.0, apart2 = 0.0;
    vector_to_f32(world.config.type, hnsw_row(world.hnsw, slot), dim, row);
    for (uint32_t i = 0; i < dim; i++) {
        const double q = (double)query[i], x = (double)row[i];
        dot += q * x;
        qq += q * q;
        xx += x * x;
        apart2 += (q - x) * (q - x);
    }
    if (world.config.metric == METRIC_L2)
        return apart2;
    if (world.config.metric == METRIC_IP)
        return 1.0 - dot;
    return qq > 0.0 && xx > 0.0 ? 1.0 - dot / sqrt(qq * xx) : 1.0;
}

static double
tolerance(const float *query, double distance)
{
    const double size =
        world.config.metric == METRIC_COSINE ? 1.0 : (double)vector_norm2(query, world.config.dim);
    return 1e-5 * (1.0 + size + fabs(distance));
}

// Every answer is as near as the row at its place in the sorted list, whatever rounding did to near ties.
static void
check_scan(const struct hnsw_query *query)
{
    static struct hit hits[ROWS + 10];
    static double sorted[ROWS + 10];
    uint32_t there = 0;
    for (uint32_t slot = 0; slot < hnsw_count(world.hnsw); slot++) {
        if (hnsw_erased(world.hnsw, slot) || !world_allows(query, slot))
            continue;
        const double distance = plain_distance(query->vector, slot);
        uint32_t at = there++;
        for (; at > 0 && sorted[at - 1] > distance; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = distance;
    }
    const uint32_t count = hnsw_scan(world.hnsw, query, world.scratch, hits);
    ck_assert_uint_eq(count, there < query->k ? there : query->k);
    world_check_hits(&world, query, hits, count);
    for (uint32_t i = 0; i < count; i++) {
        const double distance = plain_distance(query->vector, hits[i].slot);
        const double slack = tolerance(query->vector, distance);
        CLAIM(fabs(distance - (double)hits[i].distance) <= slack, "hit %u is at %g, said %g", i,
              distance, (double)hits[i].distance);
        CLAIM(fabs(distance - sorted[i]) <= 2.0 * slack, "hit %u is at %g, the true one at %g", i,
              distance, sorted[i]);
    }
}

START_TEST(the_scan_finds_the_nearest_of_every_metric_and_type)
{
    open_flat(dims[_i % DIMS], (enum metric)(_i / DIMS % 3), types[_i / DIMS / 3]);
    world_add(&world, ROWS);
    for (uint32_t slot = 0; slot < ROWS; slot += 13)
        hnsw_erase(world.hnsw, slot);
    for (uint32_t q = 0; q < QUERIES; q++) {
        float vector[384];
        law_draw(&world.law, &world.law.queries, vector);
        struct hnsw_query query = world_query(vector, q == 0 ? ROWS + 9 : q * 7, 0);
        check_scan(&query);
        query.excluded = 5 + q;
        check_scan(&query);
        // A search of a flat index is the scan.
        struct hit scanned[40], searched[40];
        query.k = 40;
        const uint32_t count = hnsw_scan(world.hnsw, &query, world.scratch, scanned);
        ck_assert_uint_eq(hnsw_search(world.hnsw, &query, world.scratch, searched), count);
        ck_assert_mem_eq(scanned, searched, count * sizeof *scanned);
    }
    world_fini(&world);
}
END_TEST

START_TEST(equal_rows_answer_in_the_order_of_their_slots)
{
    open_flat(8, METRIC_L2, VECTOR_F32);
    world_reserve(&world, 300);
    for (uint32_t i = 0; i < 300; i++) {
        const float row[8] = {(float)(i % 3)};
        world_put(&world, row);
    }
    const float zero[8] = {0};
    const struct hnsw_query query = world_query(zero, 120, 0);
    struct hit hits[120];
    ck_assert_uint_eq(hnsw_scan(world.hnsw, &query, world.scratch, hits), 120);
    for (uint32_t i = 0; i < 120; i++)
        ck_assert_uint_eq(hits[i].slot, i < 100 ? 3 * i : 3 * (i - 100) + 1);
    world_fini(&world);
}
END_TEST

START_TEST(only_allowed_rows_answer_and_slots_beyond_the_bitmap_do_not)
{
    open_flat(16, METRIC_COSINE, VECTOR_F32);
    world_add(&world, ROWS);
    static const uint32_t counts[] = {0, 1, 63, 64, 65, 100, 640, ROWS, 768};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        uint64_t words[12] = {0};
        struct bitmap allowed = {.words = words, .count = counts[c]};
        for (uint32_t i = 0; i < counts[c]; i++)
            if (i % 3 != 1)
                bitmap_set(&allowed, i);
        float vector[16];
        law_draw(&world.law, &world.law.queries, vector);
        for (uint32_t k = 1; k <= ROWS; k += 333) {
            struct hnsw_query query = world_query(vector, k, 0);
            query.allowed = &allowed;
            query.allowed_count = (uint32_t)bitmap_population(&allowed);
            check_scan(&query);
            query.excluded = 2;
            check_scan(&query);
        }
    }
    world_fini(&world);
}
END_TEST

START_TEST(a_range_ends_where_it_should)
{
    open_flat(4, METRIC_L2, VECTOR_F32);
    world_add(&world, 200);
    float vector[4];
    law_draw(&world.law, &world.law.queries, vector);
    const struct hnsw_query query = world_query(vector, 200, 0);
    const struct row_query exact = {.vector = vector};
    static const uint32_t edges[] = {0, 1, 31, 32, 33, 63, 64, 65, 127, 128, 129, 199, 200};
    const uint32_t edge_count = sizeof edges / sizeof edges[0];
    for (uint32_t a = 0; a < edge_count; a++) {
        for (uint32_t b = a; b < edge_count; b++) {
            struct hit space[200], hits[200];
            struct hit_heap heap = {.hits = space, .keep = 200};
            exact_range(world.hnsw, &query, &exact, edges[a], edges[b], &heap);
            const uint32_t count = hits_finish(&heap, 200, hits);
            ck_assert_uint_eq(count, edges[b] - edges[a]);
            uint64_t seen = 0;
            for (uint32_t i = 0; i < count; i++) {
                CLAIM(hits[i].slot >= edges[a] && hits[i].slot < edges[b], "slot %u", hits[i].slot);
                seen += hits[i].slot;
            }
            // No slot twice: they add up to what all of them add up to.
            uint64_t all = 0;
            for (uint32_t slot = edges[a]; slot < edges[b]; slot++)
                all += slot;
            ck_assert_uint_eq(seen, all);
        }
    }
    world_fini(&world);
}
END_TEST

START_TEST(a_deadline_in_the_past_cuts_a_long_scan)
{
    open_flat(2, METRIC_L2, VECTOR_F32);
    world_add(&world, 20000);
    const float vector[2] = {0};
    struct hnsw_work work = {0};
    struct hnsw_query query = world_query(vector, 10, 0);
    struct hit hits[10];
    query.work = &work;
    query.deadline_ns = 1;
    ck_assert_uint_eq(hnsw_scan(world.hnsw, &query, world.scratch, hits), 10);
    ck_assert(work.cut);
    ck_assert_uint_lt(work.exact_distances, 10000);
    ck_assert_uint_eq(work.strategy, HNSW_SCANNED);
    work = (struct hnsw_work){0};
    query.deadline_ns = UINT64_MAX;
    hnsw_scan(world.hnsw, &query, world.scratch, hits);
    ck_assert(!work.cut);
    ck_assert_uint_eq(work.exact_distances, 20000);
    world_fini(&world);
}
END_TEST

START_TEST(cosine_distances_hold_for_queries_of_any_length)
{
    open_flat(32, METRIC_COSINE, VECTOR_F32);
    world_add(&world, 50);
    static const float sizes[] = {1e-37f, 1e-20f, 1.0f, 1e15f, 1e20f, 1e37f};
    float vector[32], longer[32];
    law_draw(&world.law, &world.law.queries, vector);
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        for (uint32_t i = 0; i < 32; i++)
            longer[i] = vector[i] * sizes[s];
        const struct hnsw_query query = world_query(longer, 50, 0);
        struct hit hits[50];
        ck_assert_uint_eq(hnsw_scan(world.hnsw, &query, world.scratch, hits), 50);
        for (uint32_t i = 0; i < 50; i++) {
            const float distance = (float)plain_distance(vector, hits[i].slot);
            ck_assert_float_eq_tol(hits[i].distance, distance, 1e-5f);
            ck_assert_float_eq_tol(hnsw_distance(world.hnsw, longer, hits[i].slot), distance,
                                   1e-5f);
        }
    }
    world_fini(&world);
}
END_TEST

static Suite *
flat_suite(void)
{
    Suite *suite = suite_create("flat");
    TCase *tcase = tcase_create("flat");
    tcase_add_loop_test(tcase, the_scan_finds_the_nearest_of_every_metric_and_type, 0, CASES);
    tcase_add_test(tcase, equal_rows_answer_in_the_order_of_their_slots);
    tcase_add_test(tcase, only_allowed_rows_answer_and_slots_beyond_the_bitmap_do_not);
    tcase_add_test(tcase, a_range_ends_where_it_should);
    tcase_add_test(tcase, a_deadline_in_the_past_cuts_a_long_scan);
    tcase_add_test(tcase, cosine_distances_hold_for_queries_of_any_length);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(flat_suite)
