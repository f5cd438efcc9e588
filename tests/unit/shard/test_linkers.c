// tests/unit/shard/test_linkers.c -- everything published gets linked, draining waits for it, and a pause is a pause.
//
// Labels: tsan
#include <check.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/os_wait.h"
#include "base/prng.h"
#include "shard/linkers.h"
#include "tests/lib/check_main.h"

#define DIM 4u
#define ROWS 3000u
#define TURNOVER 2500u // rows that a compaction finds erased, and as many new ones
#define LATE_ROWS 50u  // one step between two compactions would do
#define COMPACTIONS_MAX 400u

static struct linkers linkers;
static struct hnsw *hnsw;
static struct scratch *scratch;

static void
open_with(uint32_t threads)
{
    const struct hnsw_config config = {.dim = DIM,
                                       .slots_max = 2 * ROWS,
                                       .links = 8,
                                       .build_beam = 20,
                                       .metric = METRIC_L2,
                                       .type = VECTOR_F32};
    ck_assert_int_eq(hnsw_open(&config, &hnsw), OMEN_OK);
    ck_assert_int_eq(scratch_open(&scratch), OMEN_OK);
    linkers_init(&linkers, hnsw, threads, config.build_beam);
}

static void
teardown(void)
{
    linkers_fini(&linkers);
    scratch_close(scratch);
    hnsw_close(hnsw);
}

static void
publish(uint32_t count)
{
    float *rows = malloc(count * DIM * sizeof *rows);
    struct prng prng;
    prng_init(&prng, count);
    for (uint32_t i = 0; i < count * DIM; i++)
        rows[i] = prng_unit(&prng);
    ck_assert_int_eq(hnsw_reserve(hnsw, hnsw_count(hnsw) + count), OMEN_OK);
    (void)hnsw_append(hnsw, rows, DIM * sizeof *rows, count);
    hnsw_publish(hnsw);
    free(rows);
}

START_TEST(draining_leaves_no_tail)
{
    open_with(_i == 0 ? 0 : (uint32_t)_i + 1);
    ck_assert_int_eq(linkers_reserve(&linkers), OMEN_OK);
    publish(ROWS);
    linkers_wake(&linkers);
    ck_assert_int_eq(linkers_drain(&linkers, NULL, scratch), OMEN_OK);
    ck_assert_uint_eq(hnsw_tail(hnsw), 0);
    for (uint32_t slot = 0; slot < 100; slot++)
        ck_assert(hnsw_erase(hnsw, slot));
    linkers_wake(&linkers);
    ck_assert_int_eq(linkers_drain(&linkers, NULL, scratch), OMEN_OK);
    ck_assert(!hnsw_repair_next(hnsw, scratch));
}
END_TEST

START_TEST(one_thread_links_in_the_call_that_wakes)
{
    open_with(1);
    ck_assert_int_eq(linkers_reserve(&linkers), OMEN_OK);
    ck_assert_ptr_null(linkers.pool);
    publish(ROWS);
    linkers_wake(&linkers);
    ck_assert_uint_eq(hnsw_tail(hnsw), 0);
}
END_TEST

START_TEST(nothing_is_linked_during_a_pause)
{
    open_with(2);
    ck_assert_int_eq(linkers_reserve(&linkers), OMEN_OK);
    linkers_pause(&linkers);
    publish(ROWS);
    linkers_wake(&linkers);
    ck_assert_int_eq(linkers_step(&linkers, scratch), LINKERS_PAUSED);
    ck_assert_uint_eq(hnsw_tail(hnsw), ROWS);
    linkers_resume(&linkers, hnsw);
    ck_assert_int_eq(linkers_drain(&linkers, NULL, scratch), OMEN_OK);
    ck_assert_uint_eq(hnsw_tail(hnsw), 0);
}
END_TEST

static uint32_t
link_all(void)
{
    uint32_t linked = 0;
    while (linkers_step(&linkers, scratch) == LINKERS_DID)
        linked++;
    return linked;
}

START_TEST(what_is_held_back_waits_while_it_is_few_rows_and_its_time_is_not_over)
{
    open_with(2);
    publish(ROWS);
    linkers_hold(&linkers, UINT64_MAX, ROWS + 1);
    ck_assert(linkers_held(&linkers, hnsw));
    ck_assert_uint_eq(link_all(), 0);
    ck_assert_uint_eq(hnsw_tail(hnsw), ROWS);
    // As many as may wait: it is linked until there are fewer again.
    linkers_hold(&linkers, UINT64_MAX, ROWS);
    ck_assert(!linkers_held(&linkers, hnsw));
    ck_assert_uint_ge(link_all(), 1);
    ck_assert_uint_eq(hnsw_tail_uncoded(hnsw), ROWS - 1);
    linkers_hold(&linkers, 0, 0);
    ck_assert(!linkers_held(&linkers, hnsw));
    (void)link_all();
    ck_assert_uint_eq(hnsw_tail(hnsw), 0);
    // What was erased is repaired none the less.
    publish(100);
    linkers_hold(&linkers, UINT64_MAX, ROWS);
    for (uint32_t slot = 0; slot < 100; slot++)
        ck_assert(hnsw_erase(hnsw, slot));
    ck_assert_uint_ge(link_all(), 1);
    ck_assert(!hnsw_repair_next(hnsw, scratch));
    ck_assert_uint_eq(hnsw_tail(hnsw), 100);
    linkers_hold(&linkers, 1, ROWS); // long ago
    ck_assert(!linkers_held(&linkers, hnsw));
    (void)link_all();
    ck_assert_uint_eq(hnsw_tail(hnsw), 0);
}
END_TEST

START_TEST(few_rows_are_all_tail_and_drain_at_once)
{
    open_with(2);
    ck_assert_int_eq(linkers_reserve(&linkers), OMEN_OK);
    publish(HNSW_FOUND_ROWS - 1);
    linkers_wake(&linkers);
    ck_assert_int_eq(linkers_drain(&linkers, NULL, scratch), OMEN_OK);
    ck_assert_uint_eq(hnsw_tail(hnsw), HNSW_FOUND_ROWS - 1);
}
END_TEST

static int
stop(void *context, uint64_t linked, uint64_t total)
{
    ++*(uint32_t *)context;
    ck_assert_uint_le(linked, total);
    return 1;
}

START_TEST(watcher_can_leave_the_wait)
{
    uint32_t calls = 0;
    const struct linkers_watch watch = {.progress = stop, .context = &calls};
    open_with(2);
    publish(ROWS); // nobody works on it yet
    ck_assert_int_eq(linkers_drain(&linkers, &watch, scratch), OMEN_E_CANCELLED);
    ck_assert_uint_eq(calls, 1);
    ck_assert_int_eq(linkers_drain(&linkers, NULL, scratch), OMEN_OK);
    ck_assert_uint_eq(hnsw_tail(hnsw), 0);
}
END_TEST

// Writes on after each report: without the drainer's leave this would not end.
static int
write_on(void *context, uint64_t linked, uint64_t total)
{
    (void)context;
    ck_assert_uint_le(linked, total);
    if (total < 2 * ROWS)
        publish(1);
    return 0;
}

START_TEST(drainer_leaves_when_its_rows_are_linked_and_others_write_on)
{
    const struct linkers_watch watch = {.progress = write_on};
    open_with(2);
    publish(ROWS); // nobody else works on it
    ck_assert_int_eq(linkers_drain(&linkers, &watch, scratch), OMEN_OK);
    ck_assert_uint_ge(hnsw_linked(hnsw), ROWS);
    ck_assert_uint_gt(hnsw_tail(hnsw), 0);
    ck_assert_int_eq(linkers_drain(&linkers, NULL, scratch), OMEN_OK);
    ck_assert_uint_eq(hnsw_tail(hnsw), 0);
}
END_TEST

static _Atomic bool drained;
static _Atomic uint32_t compacted; // times
static pthread_t compactor;
static bool compacts;

// The oldest rows make room for as many new ones, again and again. There is hardly a moment between two compactions.
static void *
compact_on(void *unused)
{
    struct scratch *own;
    (void)unused;
    ck_assert_int_eq(scratch_open(&own), OMEN_OK);
    while (!atomic_load(&drained) && atomic_load(&compacted) < COMPACTIONS_MAX) {
        struct hnsw *old = hnsw, *new;
        linkers_pause(&linkers);
        for (uint32_t slot = 0; slot < TURNOVER; slot++)
            ck_assert(hnsw_erase(hnsw, slot));
        publish(TURNOVER);
        ck_assert_int_eq(hnsw_compact(old, own, &new), OMEN_OK);
        hnsw = new;
        linkers_resume(&linkers, new);
        hnsw_close(old);
        atomic_fetch_add(&compacted, 1);
        os_wake_all(&compacted);
    }
    scratch_close(own);
    return unused;
}

static int
start_compacting(void *context, uint64_t linked, uint64_t total)
{
    (void)context;
    ck_assert_uint_le(linked, total);
    if (!compacts)
        ck_assert_int_eq(pthread_create(&compactor, NULL, compact_on, NULL), 0);
    compacts = true;
    while (atomic_load(&compacted) == 0) // before all is linked
        os_wait(&compacted, 0);
    return 0;
}

START_TEST(drainer_leaves_beside_compactions_without_end)
{
    const struct linkers_watch watch = {.progress = start_compacting};
    open_with(2);
    publish(ROWS);
    ck_assert_int_eq(linkers_drain(&linkers, NULL, scratch), OMEN_OK);
    publish(LATE_ROWS); // nobody else works on it
    ck_assert_int_eq(linkers_drain(&linkers, &watch, scratch), OMEN_OK);
    atomic_store(&drained, true);
    ck_assert_int_eq(pthread_join(compactor, NULL), 0);
    ck_assert_uint_lt(atomic_load(&compacted), COMPACTIONS_MAX);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/linkers");
    TCase *tcase = tcase_create("linkers");
    tcase_add_checked_fixture(tcase, NULL, teardown);
    tcase_add_loop_test(tcase, draining_leaves_no_tail, 0, 4);
    tcase_add_test(tcase, drainer_leaves_when_its_rows_are_linked_and_others_write_on);
    tcase_add_test(tcase, drainer_leaves_beside_compactions_without_end);
    tcase_add_test(tcase, one_thread_links_in_the_call_that_wakes);
    tcase_add_test(tcase, nothing_is_linked_during_a_pause);
    tcase_add_test(tcase, what_is_held_back_waits_while_it_is_few_rows_and_its_time_is_not_over);
    tcase_add_test(tcase, few_rows_are_all_tail_and_drain_at_once);
    tcase_add_test(tcase, watcher_can_leave_the_wait);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
