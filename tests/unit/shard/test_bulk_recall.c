// tests/unit/shard/test_bulk_recall.c -- links made at once lead to as much as links made one by one.
//
// The same rows come to one index in a large batch, which is linked at once by itself, and to another in small ones.
#include "shard/shard_int.h"
#include "tests/lib/check_main.h"
#include "tests/lib/index_world.h"

#define ROWS 9000u
#define BATCH 1500u // linked one by one
#define DIM 72u
#define QUERIES 200u
#define K 10u
// Recall may be less by so much: one answer in a hundred.
#define MARGIN 0.01

static struct law law;
static float *vectors;

static void
setup(void)
{
    law_init(&law, DIM, 5);
    vectors = malloc((size_t)ROWS * DIM * sizeof *vectors);
}

static void
teardown(void)
{
    law_fini(&law);
    free(vectors);
}

static omen_index_t
open_with(omen_metric metric, omen_quantization quantization)
{
    omen_options options = OMEN_OPTIONS_INIT;
    omen_index_t index;
    options.dimension = DIM;
    options.metric = metric;
    options.quantization = quantization;
    options.threads = 1; // the writer links before its call returns
    options.ef_construction = 100;
    options.seed = 7;
    ck_assert_int_eq(omen_open(&options, &index), OMEN_OK);
    return index;
}

static void
add(omen_index_t index, uint32_t first, uint32_t count)
{
    uint64_t *ids = malloc(count * sizeof *ids);
    for (uint32_t i = 0; i < count; i++)
        ids[i] = first + i;
    omen_batch batch = OMEN_BATCH_INIT;
    batch.count = count;
    batch.vectors = vectors + (size_t)first * DIM;
    batch.ids = ids;
    ck_assert_int_eq(omen_add(index, &batch), OMEN_OK);
    free(ids);
}

static uint32_t
builds(omen_index_t index)
{
    return atomic_load(&((struct shard *)(void *)index)->bulk_builds);
}

static void
add_both(omen_index_t at_once, omen_index_t by_one)
{
    add(at_once, 0, ROWS);
    for (uint32_t first = 0; first < ROWS; first += BATCH)
        add(by_one, first, BATCH);
    ck_assert_uint_eq(builds(at_once), 1);
    ck_assert_uint_eq(builds(by_one), 0);
}

static double
recall(omen_index_t index, uint32_t ef)
{
    struct prng prng = law.queries;
    uint32_t right = 0;
    for (uint32_t q = 0; q < QUERIES; q++) {
        float vector[DIM], truth[K], distances[K];
        uint64_t ids[K];
        omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
        law_draw(&law, &prng, vector);
        options.k = K;
        options.exact = 1;
        ck_assert_int_eq(omen_query(index, vector, &options, ids, truth, NULL), OMEN_OK);
        options.exact = 0;
        options.ef = ef;
        ck_assert_int_eq(omen_query(index, vector, &options, ids, distances, NULL), OMEN_OK);
        for (uint32_t i = 0; i < K; i++)
            right += distances[i] <= truth[K - 1];
    }
    return (double)right / (QUERIES * K);
}

static const struct {
    omen_metric metric;
    float norms; // how much longer rows may be than others
} kinds[] = {{OMEN_L2, 1.0f}, {OMEN_COSINE, 1.0f}, {OMEN_IP, 1.0f}, {OMEN_IP, 3.0f}};
#define KINDS ((int)(sizeof kinds / sizeof *kinds))

START_TEST(a_large_batch_is_found_as_well_as_small_ones)
{
    static const uint32_t efs[] = {10, 32, 64};
    law.norms = kinds[_i].norms;
    for (uint32_t i = 0; i < ROWS; i++)
        law_draw(&law, &law.rows, vectors + (size_t)i * DIM);
    omen_index_t at_once = open_with(kinds[_i].metric, OMEN_QUANTIZE_INT8);
    omen_index_t by_one = open_with(kinds[_i].metric, OMEN_QUANTIZE_INT8);
    add_both(at_once, by_one);
    for (uint32_t e = 0; e < sizeof efs / sizeof *efs; e++) {
        const double made = recall(at_once, efs[e]), inserted = recall(by_one, efs[e]);
        ck_assert_msg(made >= inserted - MARGIN, "ef %u: %g at once, %g one by one", efs[e], made,
                      inserted);
    }
    omen_close(at_once);
    omen_close(by_one);
}
END_TEST

// Lengths of texts' embeddings that nobody made equal: answers are mostly long rows, which are near to nobody.
START_TEST(products_are_found_however_lengths_spread)
{
    static const float spreads[] = {0.25f, 1.0f, 1.5f};
    const omen_quantization quantization = _i % 2 == 0 ? OMEN_QUANTIZE_INT8 : OMEN_QUANTIZE_NONE;
    struct prng prng = {.state = 3};
    for (uint32_t i = 0; i < ROWS; i++) {
        float *const row = vectors + (size_t)i * DIM;
        law_draw(&law, &law.rows, row);
        const float longer = expf(spreads[_i / 2] * world_gauss(&prng));
        for (uint32_t c = 0; c < DIM; c++)
            row[c] *= longer;
    }
    omen_index_t at_once = open_with(OMEN_IP, quantization);
    omen_index_t by_one = open_with(OMEN_IP, quantization);
    add_both(at_once, by_one);
    const double made = recall(at_once, 32), inserted = recall(by_one, 32);
    ck_assert_msg(made > 0.995 && inserted > 0.98, "%g at once, %g one by one", made, inserted);
    omen_close(at_once);
    omen_close(by_one);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("bulk_recall");
    TCase *tcase = tcase_create("recall");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, a_large_batch_is_found_as_well_as_small_ones, 0, KINDS);
    tcase_add_loop_test(tcase, products_are_found_however_lengths_spread, 0, 6);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
