// tests/unit/shard/test_shard_file.c -- what is done to a file as a whole, beside writers, loses none of their writes.
//
// Labels: tsan
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "tests/lib/check_main.h"
#include "tests/lib/folder.h"
#include "tests/lib/shard_world.h"

#define COMPACTIONS 12
#define PAD 400u // points that come and go, so that there is something to compact

static struct folder folder;
static omen_index_t shared;
static atomic_bool ending;

static void
setup(void)
{
    folder_init(&folder);
    atomic_init(&ending, false);
}

static void
teardown(void)
{
    folder_fini(&folder);
}

static void
upsert(struct prng *prng, uint64_t first, uint32_t count)
{
    static _Thread_local struct model_point points[PAD];
    struct model_batch batch;
    for (uint32_t i = 0; i < count; i++)
        model_draw(prng, first + i, &points[i]);
    model_batch_init(&batch, points, count);
    ck_assert_msg(omen_upsert(shared, &batch.batch) == OMEN_OK, "%s", omen_error_message());
    model_batch_fini(&batch);
}

// Returns how many ids, from 0 on, were acknowledged.
static void *
write_on(void *argument)
{
    struct prng prng;
    uint64_t *written = argument;
    prng_init(&prng, 5);
    while (!atomic_load(&ending))
        upsert(&prng, (*written)++, 1);
    return NULL;
}

static void
check_written(uint64_t written)
{
    uint64_t count;
    ck_assert_msg(omen_verify(shared) == OMEN_OK, "%s", omen_error_message());
    for (uint64_t id = 0; id < written; id++)
        ck_assert_msg(omen_contains(shared, id) == 1, "%llu of %llu is gone",
                      (unsigned long long)id, (unsigned long long)written);
    ck_assert_int_eq(omen_count(shared, NULL, &count), OMEN_OK);
    ck_assert_uint_eq(count, written + PAD);
}

START_TEST(a_file_that_is_made_small_beside_a_writer_loses_nothing)
{
    omen_options options = OMEN_OPTIONS_INIT;
    struct prng prng;
    pthread_t thread;
    uint64_t written = 0;
    prng_init(&prng, 6);
    options.path = folder_path(&folder, "shard");
    options.dimension = MODEL_DIM;
    options.durability = _i == 0 ? OMEN_DURABLE_COMMIT : OMEN_DURABLE_INTERVAL;
    options.interval_ms = 5;
    ck_assert_msg(omen_open(&options, &shared) == OMEN_OK, "%s", omen_error_message());
    ck_assert_int_eq(pthread_create(&thread, NULL, write_on, &written), 0);
    for (int i = 0; i < COMPACTIONS; i++) {
        upsert(&prng, 1u << 30, PAD);
        upsert(&prng, 1u << 30, PAD);
        ck_assert_msg(omen_compact(shared) == OMEN_OK, "%s", omen_error_message());
    }
    atomic_store(&ending, true);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    check_written(written);
    omen_close(shared);
    ck_assert_msg(omen_open(&options, &shared) == OMEN_OK, "%s", omen_error_message());
    check_written(written);
    omen_close(shared);
}
END_TEST

static Suite *
suite(void)
{
    Suite *all = suite_create("shard/shard_file");
    TCase *tcase = tcase_create("shard_file");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, a_file_that_is_made_small_beside_a_writer_loses_nothing, 0, 2);
    suite_add_tcase(all, tcase);
    return all;
}

CHECK_MAIN(suite)
