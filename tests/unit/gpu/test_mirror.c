// tests/unit/gpu/test_mirror.c -- searches of a copy of an index, on the plain device, beside the index's own.
#include "gpu/mirror.h"

#include "tests/lib/failing_device.h"
#include "tests/lib/index_world.h"

#define K 10u
#define BATCH 200u

static struct world world;
static struct device_handle device;
static struct gpu_mirror *mirror;
static float vectors[BATCH * 200];
static struct hit hits[BATCH * K];

static void
open_mirror(uint32_t dim, enum metric metric, enum vector_type type, uint32_t rows)
{
    struct omen_error error;
    world_init(&world, dim, metric, type);
    world_build(&world, rows);
    ck_assert_int_eq(device_open(DEVICE_NEVER, &device, &error), OMEN_OK);
    ck_assert_int_eq(gpu_mirror_open(&device, world.hnsw, MIRROR_GRAPH, &mirror, &error), OMEN_OK);
    ck_assert_uint_eq(gpu_mirror_rows(mirror), rows);
    for (uint32_t q = 0; q < BATCH; q++)
        law_draw(&world.law, &world.law.queries, vectors + (size_t)q * dim);
}

static void
close_mirror(void)
{
    gpu_mirror_close(mirror);
    device_close(&device);
    world_fini(&world);
}

static struct gpu_batch
make_batch(uint32_t beam)
{
    return (struct gpu_batch){
        .vectors = vectors, .count = BATCH, .k = K, .beam = beam, .threads = 2, .hits = hits};
}

static uint32_t
hits_of(uint32_t q)
{
    uint32_t count = 0;
    while (count < K && hits[q * K + count].slot != HNSW_NONE)
        count++;
    return count;
}

// Mean recall of what is in hits[] and of the index's own searches.
static void
recalls(const struct gpu_batch *batch, double *ours, double *own)
{
    *ours = *own = 0.0;
    for (uint32_t q = 0; q < BATCH; q++) {
        struct hit truth[K];
        struct hnsw_query query =
            world_query(vectors + (size_t)q * world.config.dim, K, batch->beam);
        query.allowed = batch->allowed;
        query.allowed_count = batch->allowed_count;
        const uint32_t wanted = hnsw_scan(world.hnsw, &query, world.scratch, truth);
        world_check_hits(&world, &query, hits + q * K, hits_of(q));
        // Sums in another order may differ in their last bits.
        if (wanted > 0)
            truth[wanted - 1].distance += 1e-5f * (1.0f + fabsf(truth[wanted - 1].distance));
        *ours += world_share(hits + q * K, hits_of(q), truth, wanted) / BATCH;
        *own += world_ask(&world, &query) / BATCH;
    }
}

static const struct {
    uint32_t dim;
    enum metric metric;
    enum vector_type type;
} kinds[] = {
    {128, METRIC_L2, VECTOR_F32},  {72, METRIC_COSINE, VECTOR_F16},  {96, METRIC_IP, VECTOR_F32},
    {130, METRIC_L2, VECTOR_BF16}, {200, METRIC_COSINE, VECTOR_F32},
};
#define KINDS ((int)(sizeof kinds / sizeof *kinds))

START_TEST(a_copy_answers_as_well_as_the_index)
{
    open_mirror(kinds[_i].dim, kinds[_i].metric, kinds[_i].type, 3000);
    static const uint32_t beams[] = {10, 40};
    for (uint32_t b = 0; b < 2; b++) {
        struct gpu_batch batch = make_batch(beams[b]);
        struct omen_error error;
        double ours, own;
        ck_assert_int_eq(gpu_mirror_search(mirror, &batch, &error), OMEN_OK);
        recalls(&batch, &ours, &own);
        ck_assert_msg(ours >= own - 0.01, "%g of the copy, %g of the index", ours, own);
        ck_assert_uint_gt(batch.evaluations, 0);
        ck_assert_uint_ge(batch.hops, (uint64_t)beams[b] * BATCH);
    }
    close_mirror();
}
END_TEST

START_TEST(knn_of_a_copy_is_the_scan_of_the_index)
{
    open_mirror(kinds[_i].dim, kinds[_i].metric, kinds[_i].type, 2000);
    struct gpu_batch batch = make_batch(0);
    struct omen_error error;
    double ours, own;
    ck_assert_int_eq(gpu_mirror_knn(mirror, &batch, &error), OMEN_OK);
    recalls(&batch, &ours, &own);
    ck_assert_double_ge(ours, 1.0 - 1e-9);
    close_mirror();
}
END_TEST

// An index of so few dimensions has no code.
START_TEST(rows_are_copied_where_there_is_no_code)
{
    struct omen_error error;
    world_init(&world, 7, METRIC_COSINE, VECTOR_F32);
    world_build(&world, 1500);
    ck_assert_int_eq(device_open(DEVICE_NEVER, &device, &error), OMEN_OK);
    ck_assert_int_eq(gpu_mirror_open(&device, world.hnsw, MIRROR_GRAPH, &mirror, &error),
                     OMEN_E_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(error.text, "exact"));
    ck_assert_int_eq(gpu_mirror_open(&device, world.hnsw, MIRROR_ROWS, &mirror, &error), OMEN_OK);
    for (uint32_t q = 0; q < BATCH; q++)
        law_draw(&world.law, &world.law.queries, vectors + (size_t)q * 7);
    struct gpu_batch batch = make_batch(10);
    double ours, own;
    ck_assert_int_eq(gpu_mirror_search(mirror, &batch, &error), OMEN_OK);
    recalls(&batch, &ours, &own);
    ck_assert_double_ge(ours, 1.0 - 1e-9);
    close_mirror();
}
END_TEST

START_TEST(what_is_erased_or_does_not_pass_is_not_answered)
{
    static uint64_t words[3000 / 64 + 1];
    static const uint32_t of_16[] = {16, 8, 3, 1};
    open_mirror(64, METRIC_L2, VECTOR_F32, 3000);
    struct prng prng = {.state = 3};
    for (uint32_t i = 0; i < 300; i++)
        hnsw_erase(world.hnsw, prng_below(&prng, 3000));
    struct bitmap allowed = {words, 3000};
    for (uint32_t slot = 0; slot < 3000; slot++)
        if (prng_below(&prng, 16) < of_16[_i])
            bitmap_set(&allowed, slot);
    struct gpu_batch batch = make_batch(40);
    struct omen_error error;
    batch.allowed = &allowed;
    batch.allowed_count = (uint32_t)bitmap_population(&allowed);
    ck_assert_int_eq(gpu_mirror_search(mirror, &batch, &error), OMEN_OK);
    double ours, own;
    recalls(&batch, &ours, &own); // checks each hit
    ck_assert_msg(ours >= 0.95, "%g of the copy, %g of the index", ours, own);
    close_mirror();
}
END_TEST

START_TEST(what_happened_since_the_copy_is_put_right_at_the_end)
{
    open_mirror(64, METRIC_L2, VECTOR_F32, 2000);
    struct gpu_batch batch = make_batch(60);
    struct omen_error error;
    ck_assert_int_eq(gpu_mirror_search(mirror, &batch, &error), OMEN_OK);
    const uint32_t first = hits[0].slot;
    hnsw_erase(world.hnsw, first);
    world_reserve(&world, 1);
    const uint32_t added = world_put(&world, vectors);
    const struct hnsw_query query = world_query(vectors, K, 60);
    const uint32_t found =
        hnsw_mirror_finish(world.hnsw, &query, gpu_mirror_rows(mirror), world.scratch, hits, K);
    ck_assert_uint_eq(found, K);
    ck_assert_uint_eq(hits[0].slot, added);
    world_check_hits(&world, &query, hits, found); // the erased one is not there
    close_mirror();
}
END_TEST

START_TEST(batches_longer_than_a_chunk_are_answered_whole)
{
    enum { MANY = 17000 };
    open_mirror(64, METRIC_L2, VECTOR_F32, 1100);
    float *many = malloc((size_t)MANY * 64 * sizeof *many);
    struct hit *found = malloc(MANY * sizeof *found);
    for (uint32_t q = 0; q < MANY; q++) {
        vector_to_f32(VECTOR_F32, hnsw_row(world.hnsw, q % 1100), 64, many + (size_t)q * 64);
        found[q].slot = HNSW_NONE;
    }
    struct gpu_batch batch = {
        .vectors = many, .count = MANY, .k = 1, .beam = 32, .threads = 3, .hits = found};
    struct omen_error error;
    ck_assert_int_eq(gpu_mirror_search(mirror, &batch, &error), OMEN_OK);
    uint32_t right = 0;
    for (uint32_t q = 0; q < MANY; q++)
        right += found[q].slot == q % 1100;
    ck_assert_uint_ge(right, MANY * 99 / 100);
    free(many);
    free(found);
    close_mirror();
}
END_TEST

START_TEST(what_a_device_cannot_do_is_said)
{
    struct omen_error error;
    world_init(&world, 64, METRIC_L2, VECTOR_F32);
    world_add(&world, 100);
    ck_assert_int_eq(device_open(DEVICE_NEVER, &device, &error), OMEN_OK);
    ck_assert_int_eq(gpu_mirror_open(&device, world.hnsw, MIRROR_GRAPH, &mirror, &error),
                     OMEN_E_UNSUPPORTED);
    ck_assert_ptr_null(mirror);
    ck_assert_ptr_nonnull(strstr(error.text, "none yet"));
    world_build(&world, 1500);
    ck_assert_int_eq(gpu_mirror_open(&device, world.hnsw, MIRROR_GRAPH, &mirror, &error), OMEN_OK);
    struct gpu_batch batch = make_batch(DEVICE_KEPT_MAX + 1);
    ck_assert_int_eq(gpu_mirror_search(mirror, &batch, &error), OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "ef is 513"));
    close_mirror();
}
END_TEST

// A copy, a search and the exact nearest, as far as nothing fails.
static omen_status
copy_and_search(enum mirror_of of, struct omen_error *error)
{
    mirror = NULL;
    struct gpu_batch batch = make_batch(20);
    batch.count = 3;
    omen_status status = gpu_mirror_open(&device, world.hnsw, of, &mirror, error);
    if (status == OMEN_OK && of == MIRROR_GRAPH)
        status = gpu_mirror_search(mirror, &batch, error);
    if (status == OMEN_OK)
        status = gpu_mirror_knn(mirror, &batch, error);
    gpu_mirror_close(mirror);
    return status;
}

START_TEST(whatever_call_fails_is_said_in_the_driver_s_words_and_leaves_no_memory)
{
    static const enum mirror_of ofs[] = {MIRROR_GRAPH, MIRROR_ROWS};
    open_mirror(64, METRIC_L2, VECTOR_F32, 1200);
    gpu_mirror_close(mirror);
    failing_device(&device);
    omen_status status = OMEN_E_INTERNAL;
    uint32_t calls = 0;
    for (; status != OMEN_OK; calls++) {
        struct omen_error error = {0};
        calls_left = calls + 1;
        failure = calls % 2 == 0 ? OMEN_E_INTERNAL : OMEN_E_NO_MEMORY;
        status = copy_and_search(ofs[_i], &error);
        CLAIM(held == 0, "call %u leaves %d pieces of memory", calls, (int)held);
        CLAIM(status == OMEN_OK ||
                  (status == failure && strstr(error.text, "the driver fell over")),
              "call %u: %d, %s", calls, (int)status, error.text);
    }
    ck_assert_uint_gt(calls, 10);
    mirror = NULL;
    close_mirror();
}
END_TEST

static Suite *
mirror_suite(void)
{
    Suite *suite = suite_create("gpu/mirror");
    TCase *tests = tcase_create("mirror");
    tcase_add_loop_test(tests, a_copy_answers_as_well_as_the_index, 0, KINDS);
    tcase_add_loop_test(tests, knn_of_a_copy_is_the_scan_of_the_index, 0, KINDS);
    tcase_add_test(tests, rows_are_copied_where_there_is_no_code);
    tcase_add_loop_test(tests, what_is_erased_or_does_not_pass_is_not_answered, 0, 4);
    tcase_add_test(tests, what_happened_since_the_copy_is_put_right_at_the_end);
    tcase_add_test(tests, batches_longer_than_a_chunk_are_answered_whole);
    tcase_add_loop_test(
        tests, whatever_call_fails_is_said_in_the_driver_s_words_and_leaves_no_memory, 0, 2);
    tcase_add_test(tests, what_a_device_cannot_do_is_said);
    suite_add_tcase(suite, tests);
    return suite;
}

CHECK_MAIN(mirror_suite)
