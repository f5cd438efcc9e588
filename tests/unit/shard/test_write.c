// tests/unit/shard/test_write.c -- writes that share a commit are checked as if they had come one by one.
//
// Labels: tsan
#include <pthread.h>
#include <sched.h>

#include "shard/write.h"
#include "tests/lib/check_main.h"
#include "tests/lib/folder.h"

#define DIM 256u
#define WRITERS 6u
#define ROWS 64u

static struct folder folder;
static omen_index_t shared;
static float vectors[ROWS][DIM];

struct writer {
    pthread_t thread;
    uint64_t first_id;
    omen_status status;
};

static void
setup(void)
{
    omen_options options = OMEN_OPTIONS_INIT;
    folder_init(&folder);
    options.path = folder_path(&folder, "shard");
    options.dimension = DIM;
    options.metric = OMEN_L2;
    options.algorithm = OMEN_FLAT;
    options.threads = 1;
    ck_assert_msg(omen_open(&options, &shared) == OMEN_OK, "%s", omen_error_message());
}

static void
teardown(void)
{
    omen_close(shared);
    folder_fini(&folder);
}

static void *
add_rows(void *argument)
{
    struct writer *writer = argument;
    uint64_t ids[ROWS];
    omen_batch batch = OMEN_BATCH_INIT;
    for (uint32_t i = 0; i < ROWS; i++)
        ids[i] = writer->first_id + i;
    batch.count = ROWS;
    batch.vectors = vectors;
    batch.ids = ids;
    writer->status = omen_add(shared, &batch);
    return NULL;
}

static uint32_t
queued(struct shard *shard)
{
    uint32_t count = 0;
    lock_acquire(&shard->queue.lock);
    for (const struct write *write = shard->queue.first; write != NULL; write = write->next)
        count++;
    lock_release(&shard->queue.lock);
    return count;
}

// The write lock is held until all of them have queued up, so that they are one group.
START_TEST(writes_of_one_commit_share_what_max_memory_leaves)
{
    struct shard *shard = (struct shard *)(void *)shared;
    struct writer writers[WRITERS];
    uint32_t refused = 0;
    lock_acquire(&shard->writers);
    shard->options.max_memory = shard_bytes(shard) + ROWS * DIM * sizeof(float) * 5 / 2;
    for (uint32_t i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.first_id = (uint64_t)i * ROWS};
        ck_assert_int_eq(pthread_create(&writers[i].thread, NULL, add_rows, &writers[i]), 0);
    }
    while (queued(shard) < WRITERS)
        sched_yield();
    lock_release(&shard->writers);
    for (uint32_t i = 0; i < WRITERS; i++) {
        ck_assert_int_eq(pthread_join(writers[i].thread, NULL), 0);
        ck_assert(writers[i].status == OMEN_OK || writers[i].status == OMEN_E_NO_MEMORY);
        refused += writers[i].status != OMEN_OK;
    }
    ck_assert_uint_eq(refused, WRITERS - 2);
}
END_TEST

static Suite *
suite(void)
{
    Suite *all = suite_create("shard/write");
    TCase *tcase = tcase_create("write");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, writes_of_one_commit_share_what_max_memory_leaves);
    suite_add_tcase(all, tcase);
    return all;
}

CHECK_MAIN(suite)
