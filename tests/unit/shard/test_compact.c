// tests/unit/shard/test_compact.c -- deleted rows go by themselves once they are many, and not before.
//
// Labels: tsan
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "base/alloc.h"
#include "shard/shard_int.h"
#include "tests/lib/check_main.h"
#include "tests/lib/folder.h"
#include "tests/lib/shard_fixture.h"

#define POINTS 4000u
#define QUARTER (POINTS / 4)

static void
open_with(uint32_t threads, uint64_t max_memory)
{
    omen_options options = options_of(OMEN_L2, OMEN_F32);
    options.threads = threads;
    options.max_memory = max_memory;
    options.m = 8;
    options.ef_construction = 20;
    open_index(&options);
}

// Ids 0 to POINTS - 1.
static void
upsert_all(void)
{
    static float vectors[POINTS * 4];
    static uint64_t ids[POINTS];
    struct prng prng;
    prng_init(&prng, 7);
    for (uint32_t i = 0; i < POINTS * 4; i++)
        vectors[i] = prng_unit(&prng);
    for (uint64_t i = 0; i < POINTS; i++)
        ids[i] = i;
    omen_batch batch = batch_of(POINTS, ids);
    batch.vectors = vectors;
    ck_assert_int_eq(omen_upsert(index_of, &batch), OMEN_OK);
}

static void
delete_range(uint64_t from, uint64_t to)
{
    static uint64_t ids[POINTS];
    size_t deleted;
    for (uint64_t id = from; id < to; id++)
        ids[id - from] = id;
    ck_assert_int_eq(omen_delete(index_of, ids, to - from, &deleted), OMEN_OK);
    ck_assert_uint_eq(deleted, to - from);
}

static omen_statistics
stats_now(void)
{
    omen_statistics stats = {.struct_size = sizeof stats};
    ck_assert_int_eq(omen_stats(index_of, &stats), OMEN_OK);
    return stats;
}

// Check ends the test when it never comes.
static void
await_compaction(void)
{
    while (stats_now().deleted > 0)
        sched_yield();
}

static void
verify(uint64_t count)
{
    ck_assert_uint_eq(count_of(index_of), count);
    ck_assert_msg(omen_verify(index_of) == OMEN_OK, "%s", omen_error_message());
}

START_TEST(more_than_a_quarter_deleted_is_compacted_by_the_only_thread)
{
    open_with(1, 0);
    upsert_all();
    delete_range(0, QUARTER);
    ck_assert_uint_eq(stats_now().deleted, QUARTER);
    delete_range(QUARTER, QUARTER + 1);
    ck_assert_uint_eq(stats_now().deleted, 0);
    ck_assert_uint_eq(stats_now().rows, POINTS - QUARTER - 1);
    verify(POINTS - QUARTER - 1);
}
END_TEST

START_TEST(fewer_than_a_thousand_deleted_stay)
{
    open_with(1, 0);
    upsert_all();
    delete_range(0, 1001); // 2999 are left
    ck_assert_uint_eq(stats_now().deleted, 0);
    delete_range(1001, 2000); // 999 of 2999
    ck_assert_uint_eq(stats_now().deleted, 999);
    delete_range(2000, 2001);
    ck_assert_uint_eq(stats_now().deleted, 0);
    verify(1999);
}
END_TEST

START_TEST(rows_replaced_by_upserts_count_as_deleted)
{
    open_with(1, 0);
    upsert_all();
    upsert_all();
    ck_assert_uint_eq(stats_now().deleted, 0);
    ck_assert_uint_eq(stats_now().rows, POINTS);
    verify(POINTS);
}
END_TEST

START_TEST(everything_deleted_leaves_an_empty_index_that_goes_on)
{
    open_with(1, 0);
    upsert_all();
    delete_range(0, POINTS);
    ck_assert_uint_eq(stats_now().rows, 0);
    ck_assert_double_eq(stats_now().drift, 0.0);
    upsert_all();
    verify(POINTS);
}
END_TEST

START_TEST(no_second_copy_is_made_past_max_memory)
{
    open_with(1, 0);
    upsert_all();
    omen_statistics stats = stats_now();
    const uint64_t used = stats.bytes_links + stats.bytes_codes + stats.bytes_ids +
                          stats.bytes_vectors + stats.bytes_payloads + stats.bytes_fields +
                          stats.bytes_other;
    omen_close(index_of);
    open_with(1, used + used / 2);
    upsert_all();
    delete_range(0, QUARTER + 1);
    ck_assert_uint_eq(stats_now().deleted, QUARTER + 1);
    ck_assert_int_eq(omen_compact(index_of), OMEN_OK);
    ck_assert_uint_eq(stats_now().deleted, 0);
}
END_TEST

START_TEST(compaction_that_fails_leaves_the_delete_done_and_is_tried_later)
{
    open_with(1, 0);
    upsert_all();
    mem_fail_after(2); // the first is the list of what is deleted
    delete_range(0, QUARTER + 1);
    mem_fail_after(0);
    ck_assert_uint_eq(stats_now().deleted, QUARTER + 1);
    verify(POINTS - QUARTER - 1);
    delete_range(QUARTER + 1, QUARTER + 2);
    ck_assert_uint_eq(stats_now().deleted, QUARTER + 2);
    delete_range(QUARTER + 2, QUARTER + QUARTER / 4 + 1);
    ck_assert_uint_eq(stats_now().deleted, 0);
    verify(POINTS - QUARTER - QUARTER / 4 - 1);
}
END_TEST

START_TEST(workers_compact_beside_searches_and_writes)
{
    open_with(2, 0);
    upsert_all();
    for (uint32_t round = 0; round < 3; round++) {
        const float query[4] = {0.5f, 0.5f, 0.5f, 0.5f};
        uint64_t ids[10];
        uint32_t found;
        delete_range(0, QUARTER + 500);
        ck_assert_int_eq(omen_query(index_of, query, NULL, ids, NULL, &found), OMEN_OK);
        ck_assert_uint_eq(found, 10);
        for (uint32_t i = 0; i < found; i++)
            ck_assert_uint_ge(ids[i], QUARTER + 500);
        upsert_all();
        await_compaction();
        verify(POINTS);
    }
}
END_TEST

// A quarter deleted while somebody else holds what compaction needs.
static void
delete_beside_upkeep(void)
{
    struct shard *shard = (struct shard *)(void *)index_of;
    upsert_all();
    lock_acquire(&shard->upkeep);
    delete_range(0, QUARTER + 1);
    ck_assert_uint_eq(stats_now().deleted, QUARTER + 1);
    lock_release(&shard->upkeep);
}

START_TEST(compaction_that_had_to_wait_is_done_by_the_next_write)
{
    const uint64_t id = POINTS;
    open_with(1, 0);
    delete_beside_upkeep();
    omen_batch batch = batch_of(1, &id);
    batch.vectors = &(const float[4]){1, 2, 3, 4};
    ck_assert_int_eq(omen_add(index_of, &batch), OMEN_OK);
    ck_assert_uint_eq(stats_now().deleted, 0);
    verify(POINTS - QUARTER);
}
END_TEST

START_TEST(compaction_that_had_to_wait_is_done_by_the_keeper)
{
    struct folder folder;
    omen_options options = options_of(OMEN_L2, OMEN_F32);
    folder_init(&folder);
    options.path = folder_path(&folder, "shard");
    options.interval_ms = 5;
    options.m = 8;
    options.ef_construction = 20;
    open_index(&options);
    delete_beside_upkeep();
    await_compaction();
    verify(POINTS - QUARTER - 1);
    omen_close(index_of);
    folder_fini(&folder);
    index_of = NULL;
}
END_TEST

// ---- a scroll beside compactions ----

#define SHOWN 60u
#define SCROLLS 5000u

static _Atomic uint32_t scrolls; // begun so far

// What went wrong, or NULL. Points beyond SHOWN come and go.
static const char *
scroll_once(void)
{
    uint64_t cursor = 0, count = 0;
    for (int page = 0; page < 2; page++) {
        omen_points_t points;
        if (omen_scroll(index_of, NULL, 0, page == 0 ? 10 : SIZE_MAX, &cursor, &points) != OMEN_OK)
            return "a cursor was refused";
        for (size_t i = 0; i < omen_points_count(points); i++)
            count += omen_points_id(points, i) < SHOWN;
        omen_points_free(points);
    }
    return count == SHOWN ? NULL : "not every point was shown once";
}

static void *
scroll_on(void *context)
{
    const char **failed = context;
    while (atomic_fetch_add(&scrolls, 1) < SCROLLS && *failed == NULL)
        *failed = scroll_once();
    atomic_store(&scrolls, UINT32_MAX);
    return NULL;
}

START_TEST(cursor_survives_the_compaction_beside_it)
{
    static uint64_t ids[SHOWN];
    static float vectors[SHOWN * 4];
    const uint64_t passing = 1000;
    const char *failed = NULL;
    pthread_t thread;
    open_with(1, 0);
    for (uint64_t i = 0; i < SHOWN; i++)
        ids[i] = i;
    omen_batch batch = batch_of(1, &passing); // before the others, so that its end moves them
    batch.vectors = vectors;
    ck_assert_int_eq(omen_add(index_of, &batch), OMEN_OK);
    batch.count = SHOWN;
    batch.ids = ids;
    ck_assert_int_eq(omen_add(index_of, &batch), OMEN_OK);
    batch.count = 1;
    batch.ids = &passing;
    atomic_store(&scrolls, 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, scroll_on, &failed), 0);
    // One a scroll, since a cursor does not outlive many.
    for (uint32_t seen = 0, now; (now = atomic_load(&scrolls)) != UINT32_MAX; seen = now) {
        if (now == seen) {
            sched_yield();
            continue;
        }
        ck_assert_int_eq(omen_delete(index_of, &passing, 1, NULL), OMEN_OK);
        ck_assert_int_eq(omen_compact(index_of), OMEN_OK);
        ck_assert_int_eq(omen_add(index_of, &batch), OMEN_OK);
    }
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_msg(failed == NULL, "%s", failed);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/compact");
    TCase *tcase = tcase_create("compact");
    tcase_add_checked_fixture(tcase, NULL, teardown);
    tcase_add_test(tcase, more_than_a_quarter_deleted_is_compacted_by_the_only_thread);
    tcase_add_test(tcase, fewer_than_a_thousand_deleted_stay);
    tcase_add_test(tcase, rows_replaced_by_upserts_count_as_deleted);
    tcase_add_test(tcase, everything_deleted_leaves_an_empty_index_that_goes_on);
    tcase_add_test(tcase, no_second_copy_is_made_past_max_memory);
    tcase_add_test(tcase, compaction_that_fails_leaves_the_delete_done_and_is_tried_later);
    tcase_add_test(tcase, workers_compact_beside_searches_and_writes);
    tcase_add_test(tcase, compaction_that_had_to_wait_is_done_by_the_next_write);
    tcase_add_test(tcase, compaction_that_had_to_wait_is_done_by_the_keeper);
    tcase_add_test(tcase, cursor_survives_the_compaction_beside_it);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
