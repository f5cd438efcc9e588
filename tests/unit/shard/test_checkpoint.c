// tests/unit/shard/test_checkpoint.c -- what a checkpoint beside writers leaves, and when one is made.
#include "shard/checkpoint.h"

#include <sched.h>

#include "base/os_clock.h"
#include "base/prng.h"
#include "tests/lib/check_main.h"
#include "tests/lib/folder.h"

#define DIM 64u
#define ROWS 3000u
#define MORE 1000u

static struct folder folder;
static omen_index_t shared;
static char path[320], image[320];
static float vectors[ROWS + MORE][DIM];

static omen_index_t
open_at(const char *where, uint32_t threads)
{
    omen_options options = OMEN_OPTIONS_INIT;
    omen_index_t index;
    options.path = where;
    options.dimension = DIM;
    options.metric = OMEN_L2;
    options.m = 8;
    options.ef_construction = 40;
    options.threads = threads;
    ck_assert_msg(omen_open(&options, &index) == OMEN_OK, "%s", omen_error_message());
    return index;
}

static void
setup(void)
{
    struct prng prng;
    folder_init(&folder);
    (void)snprintf(path, sizeof path, "%s", folder_path(&folder, "shard"));
    (void)snprintf(image, sizeof image, "%s", folder_path(&folder, "image"));
    prng_init(&prng, 5);
    for (uint32_t row = 0; row < ROWS + MORE; row++)
        for (uint32_t i = 0; i < DIM; i++)
            vectors[row][i] = prng_unit(&prng);
    shared = open_at(path, 1);
}

static void
teardown(void)
{
    omen_close(shared);
    folder_fini(&folder);
}

static void
put(uint32_t first, uint32_t count, uint64_t id)
{
    omen_batch batch = OMEN_BATCH_INIT;
    uint64_t ids[ROWS];
    for (uint32_t i = 0; i < count; i++)
        ids[i] = id + i;
    batch.count = count;
    batch.vectors = vectors[first];
    batch.ids = ids;
    ck_assert_msg(omen_upsert(shared, &batch) == OMEN_OK, "%s", omen_error_message());
}

static omen_statistics
statistics_of(omen_index_t index)
{
    omen_statistics statistics = {.struct_size = sizeof statistics};
    ck_assert_int_eq(omen_stats(index, &statistics), OMEN_OK);
    return statistics;
}

// What a kill leaves: the file as it is while nobody writes.
static void
copy_file(void)
{
    char from[340], to[340], bytes[1 << 16];
    (void)snprintf(from, sizeof from, "%s/data.mdb", path);
    (void)snprintf(to, sizeof to, "%s/data.mdb", image);
    ck_assert_int_eq(mkdir(image, 0777), 0);
    FILE *in = fopen(from, "r"), *out = fopen(to, "w");
    ck_assert(in != NULL && out != NULL);
    for (size_t count; (count = fread(bytes, 1, sizeof bytes, in)) > 0;)
        ck_assert_uint_eq(fwrite(bytes, 1, count, out), count);
    ck_assert_int_eq(fclose(in) | fclose(out), 0);
}

static bool
is_found(omen_index_t index, uint32_t row, uint64_t id)
{
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    uint64_t ids[2];
    uint32_t found;
    options.k = 1;
    options.ef = 100;
    ck_assert_int_eq(omen_query(index, vectors[row], &options, ids, NULL, &found), OMEN_OK);
    return found == 1 && ids[0] == id;
}

// A walk among rows without any order misses one now and then.
static void
check_found(omen_index_t index)
{
    uint32_t asked = 0, found = 0;
    for (uint32_t row = ROWS; row < ROWS + MORE; row += 9) {
        if ((row - MORE / 2) % 100 == 7)
            continue; // deleted
        found += is_found(index, row, row - MORE / 2);
        asked++;
    }
    for (uint32_t row = 10; row < ROWS - MORE / 2; row += 50, asked++)
        found += is_found(index, row, row);
    ck_assert_msg(found * 20 >= asked * 19, "%u of %u found", found, asked);
}

START_TEST(a_kill_behind_a_checkpoint_beside_writers_loses_nothing)
{
    struct omen_error error;
    put(0, ROWS, 0);
    ck_assert_int_eq(omen_flush(shared), OMEN_OK);
    // Half of them replace rows of before, and some are deleted.
    put(ROWS, MORE, ROWS - MORE / 2);
    for (uint64_t id = 7; id < ROWS + MORE / 2; id += 100)
        ck_assert_int_eq(omen_delete(shared, &id, 1, NULL), OMEN_OK);
    ck_assert_uint_eq(statistics_of(shared).tail, 0);
    ck_assert_msg(checkpoint_grown((struct shard *)(void *)shared, &error) == OMEN_OK, "%s",
                  error.text);
    const uint64_t last = 9;
    ck_assert_int_eq(omen_delete(shared, &last, 1, NULL), OMEN_OK); // in the log
    copy_file();
    omen_index_t index = open_at(image, 0);
    ck_assert_uint_eq(statistics_of(index).count, ROWS + MORE / 2 - 35 - 1);
    for (int built = 0; built < 2; built++) {
        ck_assert_msg(omen_verify(index) == OMEN_OK, "%s", omen_error_message());
        ck_assert_int_eq(omen_contains(index, 7), 0);
        ck_assert_int_eq(omen_contains(index, last), 0);
        ck_assert_int_eq(omen_contains(index, 8), 1);
        check_found(index);
        ck_assert_int_eq(omen_flush(index), OMEN_OK);
    }
    ck_assert_uint_eq(statistics_of(index).tail, 0);
    omen_close(index);
}
END_TEST

START_TEST(a_log_that_outgrows_its_share_is_cut_by_itself)
{
    struct journal *journal = ((struct shard *)(void *)shared)->journal;
    struct manifest manifest;
    for (uint32_t round = 0; round < 8; round++) // 6 MB
        put(0, ROWS, 0);
    do {
        checkpoint_wait((struct shard *)(void *)shared);
        sched_yield();
    } while (journal_tail(journal, &manifest) >= (uint64_t)4 << 20);
    ck_assert_uint_ge(manifest.checkpoint, 1);
    ck_assert_uint_eq(statistics_of(shared).count, ROWS);
}
END_TEST

// Until the keeper has begun to look after it once more.
static void
wait_for_keeper(struct journal *journal)
{
    bool pending = true;
    while (pending) {
        sched_yield();
        lock_acquire(&journal->lock);
        pending = journal->pending != NULL;
        lock_release(&journal->lock);
    }
}

static void
damage_log(struct kv *kv)
{
    struct omen_error error;
    struct kv_txn *txn;
    struct kv_value value;
    uint64_t key = 0;
    void *room;
    ck_assert_int_eq(kv_begin_write(kv, &txn, &error), OMEN_OK);
    ck_assert_int_eq(kv_next(txn, TABLE_LOG, &key, &value, &error), OMEN_OK);
    ck_assert_int_eq(kv_put(txn, TABLE_LOG, key, 100, &room, &error), OMEN_OK);
    memset(room, 0, 100);
    ck_assert_int_eq(kv_commit(txn, &error), OMEN_OK);
}

START_TEST(a_log_that_cannot_be_cut_does_not_make_checkpoints_follow_each_other)
{
    enum { LOOKS = 40 };
    omen_options options = OMEN_OPTIONS_INIT;
    struct manifest manifest;
    options.path = image;
    options.dimension = DIM;
    options.algorithm = OMEN_FLAT;
    options.durability = OMEN_DURABLE_INTERVAL;
    options.interval_ms = 1;
    omen_close(shared);
    ck_assert_msg(omen_open(&options, &shared) == OMEN_OK, "%s", omen_error_message());
    struct journal *journal = ((struct shard *)(void *)shared)->journal;
    put(0, 1, 0);
    wait_for_keeper(journal);
    damage_log(journal->kv);
    for (uint32_t round = 0; round < 8; round++) // 6 MB
        put(0, ROWS, 0);
    do {
        sched_yield();
        ck_assert_uint_ge(journal_tail(journal, &manifest), (uint64_t)4 << 20);
    } while (manifest.checkpoint == 0);
    const uint64_t begun_ns = os_clock_ns();
    for (uint32_t look = 0; look < LOOKS; look++) {
        put(0, 1, 0);
        wait_for_keeper(journal);
    }
    ck_assert_uint_ge(journal_tail(journal, &manifest), (uint64_t)4 << 20);
    const uint64_t seconds = (os_clock_ns() - begun_ns) / 1000000000;
    ck_assert_uint_le(manifest.checkpoint, 3 + seconds / 5);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/checkpoint");
    TCase *tcase = tcase_create("checkpoint");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_kill_behind_a_checkpoint_beside_writers_loses_nothing);
    tcase_add_test(tcase, a_log_that_outgrows_its_share_is_cut_by_itself);
    tcase_add_test(tcase, a_log_that_cannot_be_cut_does_not_make_checkpoints_follow_each_other);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
