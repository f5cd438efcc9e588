// tests/unit/gpu/test_search_cpu.c -- the oracle of walk and rerank beside a search of all that links lead to.
#include <math.h>
#include <string.h>

#include "base/prng.h"
#include "gpu/search.h"
#include "index/graph.h"
#include "index/nearest.h"
#include "tests/lib/check_main.h"

#define ROWS 300u
#define STRIDE 64u
#define LINKS 6u
#define QUERIES 5u
#define KEPT 512u

static int8_t codes[ROWS][STRIDE], asked[QUERIES][STRIDE];
static struct byte_meta metas[ROWS];
static uint8_t blocks[ROWS][GRAPH_BLOCK_LINKS * LINKS_24];
static struct device_query queries[QUERIES];
static uint32_t entries[7], erased[(ROWS + 31) / 32], allowed[(ROWS + 31) / 32];
static uint64_t keys[QUERIES][KEPT];
static struct device_work work[QUERIES];

static void
make_world(int seed)
{
    struct prng prng = {.state = (uint64_t)seed};
    memset(blocks, 0xff, sizeof blocks);
    memset(erased, 0, sizeof erased);
    memset(allowed, 0, sizeof allowed);
    for (uint32_t row = 0; row < ROWS; row++) {
        for (uint32_t i = 0; i < STRIDE; i++)
            codes[row][i] = (int8_t)((int32_t)prng_below(&prng, 255) - 127);
        metas[row] = (struct byte_meta){0.01f, 40.0f + prng_unit(&prng)};
        for (uint32_t i = 0; i < LINKS; i++) {
            const uint32_t to = prng_below(&prng, ROWS);
            memcpy(&blocks[row][i * LINKS_24], &to, LINKS_24);
        }
        if (prng_below(&prng, 4) == 0)
            erased[row / 32] |= 1u << row % 32;
        if (prng_below(&prng, 2) == 0)
            allowed[row / 32] |= 1u << row % 32;
    }
    for (uint32_t q = 0; q < QUERIES; q++) {
        for (uint32_t i = 0; i < STRIDE; i++)
            asked[q][i] = (int8_t)((int32_t)prng_below(&prng, 255) - 127);
        queries[q] = (struct device_query){.offset = 60.0f, .scale = 0.01f, .norm_scale = 1.0f};
    }
    for (uint32_t i = 0; i < sizeof entries / sizeof *entries; i++)
        entries[i] = prng_below(&prng, ROWS);
}

static struct device_walk
make_walk(uint32_t kept, uint32_t beam, uint32_t parents)
{
    return (struct device_walk){
        .rows = {.codes = codes[0], .metas = metas, .count = ROWS, .stride = STRIDE},
        .blocks = blocks[0],
        .links_max = LINKS,
        .width = LINKS_24,
        .entries = entries,
        .entry_count = sizeof entries / sizeof *entries,
        .codes = asked[0],
        .queries = queries,
        .count = QUERIES,
        .beam = beam,
        .kept = kept,
        .parents = parents,
        .stop_k = 10,
        .keys = keys[0],
        .work = work};
}

static float
distance(uint32_t q, uint32_t row)
{
    int32_t dot = 0;
    for (uint32_t i = 0; i < STRIDE; i++)
        dot += codes[row][i] * asked[q][i];
    const float norm = metas[row].norm + 60.0f;
    const float apart = norm - 0.01f * 0.01f * (float)dot;
    return apart > 0.0f ? apart : 0.0f;
}

static bool
bit(const uint32_t *words, uint32_t row)
{
    return (words[row / 32] >> row % 32 & 1) != 0;
}

// All that links lead to from the four best entries, by distance; returns how many.
static uint32_t
reachable(uint32_t q, uint64_t *list)
{
    bool seen[ROWS] = {false};
    uint32_t line[ROWS], count = 0;
    for (uint32_t class = 0; class < DEVICE_STARTS; class ++) {
        uint32_t best = UINT32_MAX;
        for (uint32_t i = class; i < sizeof entries / sizeof *entries; i += DEVICE_STARTS)
            if (best == UINT32_MAX || nearest_key(distance(q, entries[i]), entries[i]) <
                                          nearest_key(distance(q, best), best))
                best = entries[i];
        if (!seen[best])
            line[count++] = best;
        seen[best] = true;
    }
    for (uint32_t at = 0; at < count; at++)
        for (uint32_t i = 0; i < LINKS; i++) {
            uint32_t to = 0;
            memcpy(&to, &blocks[line[at]][i * LINKS_24], LINKS_24);
            if (!seen[to])
                line[count++] = to;
            seen[to] = true;
        }
    struct nearest all = {.keys = list, .capacity = ROWS};
    for (uint32_t i = 0; i < count; i++)
        nearest_insert(&all, nearest_key(distance(q, line[i]), line[i]));
    return count;
}

START_TEST(a_walk_that_keeps_all_finds_all_that_links_lead_to)
{
    make_world(_i + 1);
    uint64_t list[ROWS + 1];
    const struct device_walk walk = make_walk(KEPT, KEPT, 1 + (uint32_t)_i % DEVICE_PARENTS_MAX);
    ck_assert_int_eq(device_cpu_walk(NULL, &walk), OMEN_OK);
    for (uint32_t q = 0; q < QUERIES; q++) {
        const uint32_t count = reachable(q, list);
        ck_assert_int_eq(memcmp(keys[q], list, count * sizeof *list), 0);
        ck_assert_uint_eq(keys[q][count], DEVICE_NONE);
        ck_assert_uint_eq(work[q].hops, count);
    }
}
END_TEST

START_TEST(a_filtered_walk_that_keeps_all_finds_all_that_may_answer)
{
    make_world(_i + 1);
    uint64_t list[ROWS + 1];
    struct device_walk walk = make_walk(KEPT, KEPT, 1);
    walk.erased = erased;
    walk.allowed = allowed;
    ck_assert_int_eq(device_cpu_walk(NULL, &walk), OMEN_OK);
    for (uint32_t q = 0; q < QUERIES; q++) {
        const uint32_t count = reachable(q, list);
        uint32_t kept = 0;
        for (uint32_t i = 0; i < count; i++)
            if (bit(allowed, nearest_slot(list[i])) && !bit(erased, nearest_slot(list[i])))
                ck_assert_uint_eq(keys[q][kept++], list[i]);
        ck_assert_uint_eq(keys[q][kept], DEVICE_NONE);
    }
}
END_TEST

START_TEST(a_short_walk_keeps_the_nearest_of_what_it_met)
{
    make_world(_i + 1);
    const struct device_walk walk = make_walk(32, 8, 2);
    ck_assert_int_eq(device_cpu_walk(NULL, &walk), OMEN_OK);
    for (uint32_t q = 0; q < QUERIES; q++) {
        const uint64_t *list = keys[0] + q * 32;
        ck_assert_uint_ge(work[q].hops, 8);
        ck_assert_uint_lt(work[q].hops, ROWS);
        for (uint32_t i = 0; i < 32 && list[i] != DEVICE_NONE; i++) {
            ck_assert(i == 0 || list[i - 1] < list[i]);
            ck_assert_uint_eq(
                list[i], nearest_key(distance(q, nearest_slot(list[i])), nearest_slot(list[i])));
        }
    }
}
END_TEST

START_TEST(a_stop_of_one_follows_only_what_is_as_near_as_the_kth)
{
    make_world(_i + 1);
    struct device_walk walk = make_walk(KEPT, KEPT, 1);
    ck_assert_int_eq(device_cpu_walk(NULL, &walk), OMEN_OK);
    const uint32_t without = work[0].hops;
    walk.stop = 1.0f;
    ck_assert_int_eq(device_cpu_walk(NULL, &walk), OMEN_OK);
    ck_assert_uint_lt(work[0].hops, without);
    ck_assert_uint_ge(work[0].hops, walk.stop_k);
}
END_TEST

// Rows of whole numbers, so that sums are exact in any order.
START_TEST(rerank_answers_the_nearest_rows_of_the_list)
{
    enum { DIM = 7, K = 5, WIDTH = 32 };
    static int8_t rows[ROWS][DIM];
    float prepared[DIM];
    struct prng prng = {.state = (uint64_t)_i};
    make_world(_i + 1);
    for (uint32_t row = 0; row < ROWS; row++)
        for (uint32_t i = 0; i < DIM; i++)
            rows[row][i] = (int8_t)((int32_t)prng_below(&prng, 9) - 4);
    for (uint32_t i = 0; i < DIM; i++)
        prepared[i] = (float)prng_below(&prng, 9) - 4.0f;
    uint64_t list[WIDTH], expected[WIDTH + 1];
    struct nearest best = {.keys = expected, .capacity = K};
    uint32_t may = 0;
    float limit = INFINITY;
    for (uint32_t i = 0; i < WIDTH; i++) {
        const uint32_t row = i * 9 + prng_below(&prng, 9);
        list[i] = nearest_key((float)i, row);
        if (bit(erased, row) || (float)i > limit)
            continue;
        if (++may == K)
            limit = (float)i + 6.0f;
        float sum = 0.0f;
        for (uint32_t j = 0; j < DIM; j++)
            sum += (prepared[j] - rows[row][j]) * (prepared[j] - rows[row][j]);
        nearest_insert(&best, nearest_key(sum, row));
    }
    struct hit hits[K];
    queries[0].margin = 6.0f;
    const struct device_rerank rerank = {.vectors = {rows, ROWS, DIM, VECTOR_I8, METRIC_L2},
                                         .prepared = prepared,
                                         .queries = queries,
                                         .erased = erased,
                                         .keys = list,
                                         .count = 1,
                                         .width = WIDTH,
                                         .k = K,
                                         .hits = hits};
    ck_assert_int_eq(device_cpu_rerank(NULL, &rerank), OMEN_OK);
    for (uint32_t i = 0; i < K; i++) {
        ck_assert_uint_eq(hits[i].slot, nearest_slot(expected[i]));
        ck_assert_float_eq(hits[i].distance, nearest_distance(expected[i]));
    }
}
END_TEST

// Of random lists: what knn answers is what sorting says, with ties by number, under every metric.
START_TEST(knn_answers_what_sorting_all_rows_does)
{
    enum { DIM = 5, K = 12 };
    static uint8_t rows[ROWS][DIM];
    float prepared[QUERIES][DIM];
    struct hit hits[QUERIES][K];
    struct prng prng = {.state = (uint64_t)_i};
    make_world(_i + 1);
    for (uint32_t row = 0; row < ROWS; row++)
        for (uint32_t i = 0; i < DIM; i++)
            rows[row][i] = (uint8_t)prng_below(&prng, 4);
    for (uint32_t q = 0; q < QUERIES; q++)
        for (uint32_t i = 0; i < DIM; i++)
            prepared[q][i] = (float)prng_below(&prng, 4);
    const enum metric metric = (enum metric)(_i % 3);
    const struct device_knn knn = {.vectors = {rows, ROWS, DIM, VECTOR_U8, metric},
                                   .prepared = prepared[0],
                                   .erased = erased,
                                   .allowed = _i % 2 == 0 ? allowed : NULL,
                                   .count = QUERIES,
                                   .k = K,
                                   .hits = hits[0]};
    ck_assert_int_eq(device_cpu_knn(NULL, &knn), OMEN_OK);
    for (uint32_t q = 0; q < QUERIES; q++) {
        uint64_t list[ROWS + 1];
        struct nearest best = {.keys = list, .capacity = ROWS};
        for (uint32_t row = 0; row < ROWS; row++) {
            if (bit(erased, row) || (knn.allowed != NULL && !bit(allowed, row)))
                continue;
            float sum = 0.0f, dot = 0.0f, norm2 = 0.0f;
            for (uint32_t j = 0; j < DIM; j++) {
                sum += (prepared[q][j] - rows[row][j]) * (prepared[q][j] - rows[row][j]);
                dot += prepared[q][j] * rows[row][j];
                norm2 += (float)rows[row][j] * rows[row][j];
            }
            const float cosine = norm2 > 0.0f ? 1.0f - dot / sqrtf(norm2) : 1.0f;
            const float apart = metric == METRIC_L2   ? sum
                                : metric == METRIC_IP ? 1.0f - dot
                                                      : cosine;
            nearest_insert(&best, nearest_key(apart + 1000.0f, row)); // none below zero
        }
        for (uint32_t i = 0; i < K; i++) {
            if (metric != METRIC_COSINE) // whose distances 1000 makes coarser
                ck_assert_uint_eq(hits[q][i].slot, nearest_slot(list[i]));
            ck_assert(fabsf(hits[q][i].distance + 1000.0f - nearest_distance(list[i])) < 2e-4f);
        }
    }
}
END_TEST

START_TEST(fewer_rows_than_k_are_filled_up)
{
    const float rows[2] = {3.0f, 1.0f}, asked_for = 0.0f;
    struct hit hits[3];
    const struct device_knn knn = {.vectors = {rows, 2, 1, VECTOR_F32, METRIC_L2},
                                   .prepared = &asked_for,
                                   .count = 1,
                                   .k = 3,
                                   .hits = hits};
    ck_assert_int_eq(device_cpu_knn(NULL, &knn), OMEN_OK);
    ck_assert_uint_eq(hits[0].slot, 1);
    ck_assert_uint_eq(hits[1].slot, 0);
    ck_assert_float_eq(hits[1].distance, 9.0f);
    ck_assert_uint_eq(hits[2].slot, UINT32_MAX);
    ck_assert(isinf(hits[2].distance));
}
END_TEST

static Suite *
search_cpu_suite(void)
{
    Suite *suite = suite_create("gpu/search_cpu");
    TCase *walks = tcase_create("walk");
    tcase_add_loop_test(walks, a_walk_that_keeps_all_finds_all_that_links_lead_to, 0, 8);
    tcase_add_loop_test(walks, a_filtered_walk_that_keeps_all_finds_all_that_may_answer, 0, 8);
    tcase_add_loop_test(walks, a_short_walk_keeps_the_nearest_of_what_it_met, 0, 8);
    tcase_add_loop_test(walks, a_stop_of_one_follows_only_what_is_as_near_as_the_kth, 0, 4);
    suite_add_tcase(suite, walks);
    TCase *rows = tcase_create("rows");
    tcase_add_loop_test(rows, rerank_answers_the_nearest_rows_of_the_list, 0, 8);
    tcase_add_loop_test(rows, knn_answers_what_sorting_all_rows_does, 0, 12);
    tcase_add_test(rows, fewer_rows_than_k_are_filled_up);
    suite_add_tcase(suite, rows);
    return suite;
}

CHECK_MAIN(search_cpu_suite)
