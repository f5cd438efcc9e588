// tests/unit/shard/test_settle.c -- rows that are in the file cost no memory, and are what they were.
//
// Labels: tsan
#include <pthread.h>
#include <stdatomic.h>

#include "base/prng.h"
#include "shard/checkpoint.h"
#include "tests/lib/check_main.h"
#include "tests/lib/folder.h"

#define DIM 1024u // 64 rows a piece
#define BATCH 100u
#define ROWS 1300u

static struct folder folder;
static omen_index_t shared;
static atomic_bool ending;
static float vectors[ROWS][DIM];

static void
setup(void)
{
    struct prng prng;
    folder_init(&folder);
    atomic_init(&ending, false);
    prng_init(&prng, 3);
    for (uint32_t row = 0; row < ROWS; row++)
        for (uint32_t i = 0; i < DIM; i++)
            vectors[row][i] = (float)prng_below(&prng, 1000) + 1.0F;
    omen_options options = OMEN_OPTIONS_INIT;
    options.path = folder_path(&folder, "shard");
    options.dimension = DIM;
    options.metric = OMEN_L2;
    options.m = 8;
    options.ef_construction = 20;
    ck_assert_msg(omen_open(&options, &shared) == OMEN_OK, "%s", omen_error_message());
}

static void
teardown(void)
{
    omen_close(shared);
    folder_fini(&folder);
}

static void
add(uint32_t first, uint32_t count)
{
    omen_batch batch = OMEN_BATCH_INIT;
    batch.count = count;
    batch.vectors = vectors[first];
    ck_assert_msg(omen_add(shared, &batch) == OMEN_OK, "%s", omen_error_message());
}

static void
save_and_settle(void)
{
    struct omen_error error;
    struct shard *shard = (struct shard *)(void *)shared;
    ck_assert_msg(checkpoint(shard, &error) == OMEN_OK, "%s", error.text);
    checkpoint_settle(shard);
}

static uint64_t
vector_bytes(void)
{
    omen_statistics statistics = {.struct_size = sizeof statistics};
    ck_assert_int_eq(omen_stats(shared, &statistics), OMEN_OK);
    return statistics.bytes_vectors;
}

static void
check_rows(uint32_t rows, uint32_t step)
{
    for (uint32_t row = 0; row < rows; row += step) {
        const uint64_t id = row;
        omen_points_t points;
        ck_assert_int_eq(omen_get(shared, &id, 1, OMEN_WITH_VECTOR, &points), OMEN_OK);
        ck_assert_mem_eq(omen_points_vector(points, 0), vectors[row], sizeof vectors[row]);
        omen_points_free(points);

        uint64_t found_id;
        float distance;
        uint32_t found;
        omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
        options.k = 1;
        options.exact = 1;
        ck_assert_int_eq(omen_query(shared, vectors[row], &options, &found_id, &distance, &found),
                         OMEN_OK);
        ck_assert(found == 1 && found_id == row && distance == 0.0F);
    }
}

START_TEST(rows_that_were_saved_cost_no_memory_and_are_what_they_were)
{
    const uint64_t piece = IMAGE_PIECE_BYTES, row = sizeof vectors[0];
    checkpoint_settle((struct shard *)(void *)shared); // no checkpoint yet: nothing happens
    add(0, 600);
    ck_assert_uint_ge(vector_bytes(), 600 * row);
    save_and_settle();
    ck_assert_uint_lt(vector_bytes(), piece + 8192); // the last piece, and tables
    check_rows(600, 101);
    add(600, 700);
    ck_assert_uint_ge(vector_bytes(), 700 * row);
    check_rows(ROWS, 101);
    save_and_settle();
    save_and_settle(); // nothing is left to do
    ck_assert_uint_lt(vector_bytes(), piece + 8192);
    check_rows(ROWS, 101);
    ck_assert_int_eq(omen_flush(shared), OMEN_OK);
    ck_assert_msg(omen_verify(shared) == OMEN_OK, "%s", omen_error_message());
}
END_TEST

static void *
read_on(void *argument)
{
    (void)argument;
    while (!atomic_load(&ending))
        check_rows(BATCH, 31);
    return NULL;
}

START_TEST(readers_and_linkers_go_on_while_rows_settle)
{
    pthread_t thread;
    add(0, BATCH);
    ck_assert_int_eq(pthread_create(&thread, NULL, read_on, NULL), 0);
    for (uint32_t first = BATCH; first < ROWS; first += BATCH) {
        add(first, BATCH);
        save_and_settle();
        if (first == ROWS / 2)
            ck_assert_int_eq(omen_delete(shared, &(uint64_t){first}, 1, NULL), OMEN_OK);
    }
    atomic_store(&ending, true);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(omen_flush(shared), OMEN_OK);
    ck_assert_msg(omen_verify(shared) == OMEN_OK, "%s", omen_error_message());
    check_rows(BATCH, 31);
}
END_TEST

static Suite *
suite(void)
{
    Suite *all = suite_create("shard/settle");
    TCase *tcase = tcase_create("settle");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 180);
    tcase_add_test(tcase, rows_that_were_saved_cost_no_memory_and_are_what_they_were);
    tcase_add_test(tcase, readers_and_linkers_go_on_while_rows_settle);
    suite_add_tcase(all, tcase);
    return all;
}

CHECK_MAIN(suite)
