// tests/unit/shard/test_keeper.c -- what a shard does by itself, with nobody asking.
//
// Labels: tsan
#include "shard/keeper.h"

#include <sched.h>

#include "shard/fields_int.h"
#include "shard/journal.h"
#include "tests/lib/check_main.h"
#include "tests/lib/folder.h"
#include "tests/lib/shard_model.h"
#include "tests/lib/shard_world.h"

#define POINTS 500u

static struct folder folder;
static omen_options options;
static omen_index_t shared;
static struct model_point points[POINTS];

static void
open_shared(int read_only)
{
    options.read_only = read_only;
    ck_assert_msg(omen_open(&options, &shared) == OMEN_OK, "%s", omen_error_message());
}

// A file with two field indexes.
static void
setup(void)
{
    struct prng prng;
    struct model_batch batch;
    folder_init(&folder);
    options = (omen_options)OMEN_OPTIONS_INIT;
    options.path = folder_path(&folder, "shard");
    options.dimension = MODEL_DIM;
    options.interval_ms = 5;
    prng_init(&prng, 3);
    for (uint32_t i = 0; i < POINTS; i++)
        model_draw(&prng, i, &points[i]);
    open_shared(0);
    ck_assert_int_eq(omen_field_index(shared, "age", OMEN_FIELD_INTEGER), OMEN_OK);
    ck_assert_int_eq(omen_field_index(shared, "city", OMEN_FIELD_KEYWORD), OMEN_OK);
    model_batch_init(&batch, points, POINTS);
    ck_assert_int_eq(omen_upsert(shared, &batch.batch), OMEN_OK);
    model_batch_fini(&batch);
}

static void
teardown(void)
{
    omen_close(shared);
    folder_fini(&folder);
}

static uint32_t
pending(uint32_t *damaged)
{
    struct shard *shard = (struct shard *)(void *)shared;
    *damaged = 0;
    lock_acquire(&shard->upkeep);
    struct fields *fields = shard->target->fields;
    rwlock_acquire_shared(&fields->lock);
    const uint32_t count = fields->pending;
    for (uint32_t i = 0; i < fields->count; i++)
        *damaged += fields->list[i]->damaged;
    rwlock_release_shared(&fields->lock);
    lock_release(&shard->upkeep);
    return count;
}

static void
check_filter(void)
{
    const struct model_filter filter = {.low = 40, .city = "Oslo"};
    uint64_t expected = 0, count;
    for (uint32_t i = 0; i < POINTS; i++)
        expected += model_match(&points[i], &filter);
    ck_assert_int_eq(omen_count(shared, "age >= 40 and city == 'Oslo'", &count), OMEN_OK);
    ck_assert_uint_eq(count, expected);
}

// Check ends the test when it never comes.
START_TEST(fields_come_in_by_themselves_after_opening)
{
    uint32_t damaged;
    for (int asks_first = 0; asks_first < 2; asks_first++) {
        omen_close(shared);
        open_shared(_i);
        if (asks_first != 0)
            check_filter();
        while (pending(&damaged) > 0)
            sched_yield();
        check_filter();
    }
}
END_TEST

// The last byte of the fields' only piece.
static void
damage_fields(struct kv *kv)
{
    struct omen_error error;
    struct kv_txn *txn;
    struct kv_value value;
    uint64_t key = (uint64_t)IMAGE_FIELDS << 56, bytes;
    char copy[65536];
    void *room;
    ck_assert_int_eq(kv_begin_write(kv, &txn, &error), OMEN_OK);
    ck_assert_int_eq(kv_next(txn, TABLE_BLOCKS, &key, &value, &error), OMEN_OK);
    ck_assert_uint_eq(key >> 56, IMAGE_FIELDS);
    ck_assert_uint_le(value.count, sizeof copy);
    memcpy(copy, value.bytes, value.count);
    memcpy(&bytes, copy + 16, sizeof bytes); // of the piece: its head has 48
    copy[48 + bytes - 1] ^= 1;
    const size_t count = value.count;
    ck_assert_int_eq(kv_put(txn, TABLE_BLOCKS, key, count, &room, &error), OMEN_OK);
    memcpy(room, copy, count);
    ck_assert_int_eq(kv_commit(txn, &error), OMEN_OK);
}

START_TEST(damaged_fields_are_left_to_who_asks_for_them)
{
    uint32_t damaged = 0;
    ck_assert_int_eq(omen_flush(shared), OMEN_OK);
    damage_fields(((struct shard *)(void *)shared)->journal->kv);
    omen_close(shared);
    open_shared(_i);
    while (pending(&damaged) != damaged || damaged == 0)
        sched_yield();
    check_filter();
    ck_assert_uint_eq(pending(&damaged), 0);
}
END_TEST

// ---- deleted rows and checkpoints ----

// A sixth of all rows, and not a quarter.
enum { MANY = 6000, DELETED = 1200, PAYLOAD = 1000, PAYLOADS = 4800 };

static omen_statistics
stats_now(void)
{
    omen_statistics stats = {.struct_size = sizeof stats};
    ck_assert_int_eq(omen_stats(shared, &stats), OMEN_OK);
    return stats;
}

static struct manifest
last_checkpoint(void)
{
    struct manifest manifest;
    (void)journal_tail(((struct shard *)(void *)shared)->journal, &manifest);
    return manifest;
}

static uint64_t many_ids[MANY];

// As many workers link them as that.
static void
write_many(uint32_t threads)
{
    static float vectors[MANY][MODEL_DIM];
    struct prng prng;
    omen_batch batch = OMEN_BATCH_INIT;
    omen_close(shared);
    options.threads = threads;
    open_shared(0);
    prng_init(&prng, 9);
    for (uint32_t i = 0; i < MANY; i++) {
        many_ids[i] = 10000 + i;
        for (uint32_t j = 0; j < MODEL_DIM; j++)
            vectors[i][j] = prng_unit(&prng);
    }
    batch.count = MANY;
    batch.ids = many_ids;
    batch.vectors = vectors;
    ck_assert_int_eq(omen_upsert(shared, &batch), OMEN_OK);
}

// Two workers, and what is there is in the file.
static void
make_deleted(void)
{
    size_t deleted;
    write_many(2);
    ck_assert_int_eq(omen_flush(shared), OMEN_OK);
    ck_assert_int_eq(omen_delete(shared, many_ids, DELETED, &deleted), OMEN_OK);
    ck_assert_uint_eq(stats_now().deleted, DELETED);
}

// Nearly 5 MiB of log.
static void
write_payloads(void)
{
    static uint8_t payload[PAYLOAD] = {
        0x81, 0xa1, 't', 0xda, (PAYLOAD - 6) >> 8, (PAYLOAD - 6) & 0xff};
    static const void *payloads[PAYLOADS];
    static size_t bytes[PAYLOADS];
    static uint64_t ids[PAYLOADS];
    omen_batch batch = OMEN_BATCH_INIT;
    memset(payload + 6, 'x', PAYLOAD - 6);
    for (uint32_t i = 0; i < PAYLOADS; i++) {
        ids[i] = 10000 + DELETED + i;
        payloads[i] = payload;
        bytes[i] = PAYLOAD;
    }
    batch.count = PAYLOADS;
    batch.ids = ids;
    batch.payloads = payloads;
    batch.payload_bytes = bytes;
    ck_assert_msg(omen_set_payloads(shared, &batch) == OMEN_OK, "%s", omen_error_message());
}

START_TEST(a_sixth_that_is_deleted_does_not_go_to_the_file)
{
    make_deleted();
    if (_i == 0)
        ck_assert_int_eq(omen_flush(shared), OMEN_OK);
    else
        write_payloads();
    while (last_checkpoint().rows !=
           POINTS + MANY - DELETED) // Check ends the test when it never comes
        sched_yield();
    ck_assert_uint_eq(stats_now().deleted, 0);
    ck_assert_msg(omen_verify(shared) == OMEN_OK, "%s", omen_error_message());
}
END_TEST

// What is left does not hold a second index.
START_TEST(deleted_rows_go_to_the_file_where_a_compaction_has_no_room)
{
    make_deleted();
    const uint64_t before = last_checkpoint().checkpoint;
    struct shard *shard = (struct shard *)(void *)shared;
    lock_acquire(&shard->writers);
    shard->options.max_memory = 1;
    lock_release(&shard->writers);
    ck_assert_int_eq(omen_flush(shared), OMEN_OK);
    ck_assert_uint_gt(last_checkpoint().checkpoint, before);
    ck_assert_uint_eq(stats_now().deleted, DELETED);
    ck_assert_uint_eq(last_checkpoint().rows, POINTS + MANY);
}
END_TEST

// ---- nothing to do ----

static void
wait_for_rest(void)
{
    const struct shard *shard = (const struct shard *)(const void *)shared;
    while (!keeper_rests(shard->keeper)) // Check ends the test when it never comes
        sched_yield();
}

START_TEST(who_has_nothing_to_do_rests_again_and_again)
{
    for (uint32_t i = 0; i < 3; i++) {
        wait_for_rest();
        keeper_wake(((struct shard *)(void *)shared)->keeper);
    }
    wait_for_rest();
}
END_TEST

// A compaction that was due while somebody built is left to the keeper, which would look in a minute.
START_TEST(who_rests_is_stirred_by_a_write)
{
    size_t deleted;
    write_many(1);
    struct shard *shard = (struct shard *)(void *)shared;
    wait_for_rest();
    lock_acquire(&shard->builds);
    ck_assert_int_eq(omen_delete(shared, many_ids, MANY / 2, &deleted), OMEN_OK);
    lock_release(&shard->builds);
    while (stats_now().deleted != 0) // Check ends the test when it never comes
        sched_yield();
}
END_TEST

static Suite *
suite(void)
{
    Suite *all = suite_create("shard/keeper");
    TCase *tcase = tcase_create("keeper");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, fields_come_in_by_themselves_after_opening, 0, 2);
    tcase_add_loop_test(tcase, damaged_fields_are_left_to_who_asks_for_them, 0, 2);
    tcase_add_loop_test(tcase, a_sixth_that_is_deleted_does_not_go_to_the_file, 0, 2);
    tcase_add_test(tcase, deleted_rows_go_to_the_file_where_a_compaction_has_no_room);
    tcase_add_test(tcase, who_has_nothing_to_do_rests_again_and_again);
    tcase_add_test(tcase, who_rests_is_stirred_by_a_write);
    suite_add_tcase(all, tcase);
    return all;
}

CHECK_MAIN(suite)
