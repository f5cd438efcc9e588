// tests/unit/index/test_hnsw_threads.c -- linkers, repairers, searchers and one writer at once.
//
// Labels: tsan
#include <pthread.h>
#include <sched.h>

#include "tests/lib/index_world.h"

#define FIRST 1100u // linked before the others come
#define ROWS 1900u
#define LINKERS 2
#define SEARCHERS 2

static struct world world;
static atomic_bool over;      // the writer has done all
static atomic_uint told_dead; // slots below it that are told by the rule of erasing are erased

static bool
to_be_erased(uint32_t slot)
{
    return slot % 5 == 2;
}

// Appends and erases in turn, as the caller's write lock would have it. What is erased is old.
static void *
write_rows(void *unused)
{
    (void)unused;
    float values[64];
    for (uint32_t slot = FIRST; slot < ROWS; slot++) {
        ck_assert_int_eq(hnsw_reserve(world.hnsw, slot + 1), OMEN_OK);
        law_draw(&world.law, &world.law.rows, values);
        world_put(&world, values);
        const uint32_t old = slot - FIRST;
        if (to_be_erased(old))
            hnsw_erase(world.hnsw, old);
        atomic_store(&told_dead, old + 1);
    }
    atomic_store(&over, true);
    return NULL;
}

static void *
work_off(void *unused)
{
    (void)unused;
    struct scratch *scratch;
    ck_assert_int_eq(scratch_open(&scratch), OMEN_OK);
    for (;;) {
        const bool last = atomic_load(&over);
        const bool worked =
            hnsw_link_next(world.hnsw, scratch) || hnsw_repair_next(world.hnsw, scratch);
        if (last && !worked)
            break;
    }
    scratch_close(scratch);
    return NULL;
}

// What was there before a search began is found by it, and what was erased before is not.
static void *
search(void *number)
{
    struct scratch *scratch;
    struct prng prng = {.state = (uintptr_t)number};
    uint64_t words[ROWS / 64 + 1];
    ck_assert_int_eq(scratch_open(&scratch), OMEN_OK);
    for (bool last = false; !last;) {
        last = atomic_load(&over);
        float vector[64];
        struct hit hits[10];
        const uint32_t dead = atomic_load(&told_dead), rows = hnsw_count(world.hnsw);
        const uint32_t newest = rows - 1;
        vector_to_f32(VECTOR_F32, hnsw_row(world.hnsw, newest), 64, vector);
        struct hnsw_query query = world_query(vector, 10, 64);
        struct bitmap allowed = {.words = words, .count = rows};
        if (prng_below(&prng, 3) == 0) {
            memset(words, 0, sizeof words);
            for (uint32_t slot = 0; slot < rows; slot++)
                if (slot == newest || prng_below(&prng, 2) == 0)
                    bitmap_set(&allowed, slot);
            query.allowed = &allowed;
            query.allowed_count = (uint32_t)bitmap_population(&allowed);
        }
        const uint32_t count = hnsw_search(world.hnsw, &query, scratch, hits);
        bool there = false;
        CLAIM(count == 10, "%u of 10", count);
        for (uint32_t i = 0; i < count; i++) {
            there |= hits[i].slot == newest;
            CLAIM(hits[i].slot >= dead || !to_be_erased(hits[i].slot), "erased slot %u answers",
                  hits[i].slot);
            CLAIM(world_allows(&query, hits[i].slot), "slot %u may not answer", hits[i].slot);
            for (uint32_t j = 0; j < i; j++)
                CLAIM(hits[j].slot != hits[i].slot, "slot %u answers twice", hits[i].slot);
        }
        CLAIM(there, "slot %u of %u was not found", newest, rows);
    }
    scratch_close(scratch);
    return NULL;
}

START_TEST(everybody_at_once_leaves_a_sound_index)
{
    // Coded, walked themselves, and with the products that grow a bound.
    static const enum metric metrics[] = {METRIC_L2, METRIC_COSINE, METRIC_IP};
    pthread_t threads[LINKERS + SEARCHERS + 1];
    atomic_store(&over, false);
    atomic_store(&told_dead, 0);
    world_init(&world, 64, metrics[_i], VECTOR_F32);
    world.config.build_beam = 40;
    world.config.links = 8;
    if (_i == 1)
        world.config.quantization = HNSW_QUANTIZE_NONE;
    world_build(&world, FIRST);
    int count = 0;
    for (int i = 0; i < LINKERS; i++)
        ck_assert_int_eq(pthread_create(&threads[count++], NULL, work_off, NULL), 0);
    // Under ip a row need not be its own nearest.
    for (uintptr_t i = 0; i < SEARCHERS && metrics[_i] != METRIC_IP; i++)
        ck_assert_int_eq(pthread_create(&threads[count++], NULL, search, (void *)(i + 1)), 0);
    ck_assert_int_eq(pthread_create(&threads[count++], NULL, write_rows, NULL), 0);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    ck_assert(hnsw_idle(world.hnsw));
    ck_assert_uint_eq(hnsw_count(world.hnsw), ROWS);
    ck_assert_uint_eq(hnsw_tail(world.hnsw), 0);
    // Rows linked since the last pass over all may have lost their links.
    ck_assert_uint_le(world_check(&world), 10);
    ck_assert_double_ge(world_recall(&world, 30, 10, 64), 0.9);
    world_fini(&world);
}
END_TEST

// From the very first row: all of them come to found the code at once.
START_TEST(linkers_that_found_together_found_one_code)
{
    pthread_t threads[LINKERS + 1];
    world_init(&world, 64, METRIC_L2, VECTOR_F32);
    world.config.build_beam = 40;
    world_add(&world, FIRST);
    atomic_store(&over, true);
    for (int i = 0; i <= LINKERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work_off, NULL), 0);
    for (int i = 0; i <= LINKERS; i++)
        pthread_join(threads[i], NULL);
    ck_assert(hnsw_idle(world.hnsw));
    ck_assert_str_eq(hnsw_code_name(world.hnsw), "nibble+byte");
    ck_assert_uint_le(world_check(&world), 2);
    ck_assert_double_ge(world_recall(&world, 30, 10, 64), 0.95);
    world_fini(&world);
}
END_TEST

// One row comes and the oldest goes, so that whoever links finds few that live and takes in dead ones: among them one that
// was alive when it was chosen.
#define FEW 12u
#define PASSED 64u
#define ROUNDS 60u

static void *
replace_rows(void *unused)
{
    (void)unused;
    float values[8];
    for (uint32_t i = 0; i < PASSED; i++) {
        law_draw(&world.law, &world.law.rows, values);
        world_put(&world, values);
        while (hnsw_tail(world.hnsw) > 1)
            sched_yield();
        hnsw_erase(world.hnsw, i);
    }
    atomic_store(&over, true);
    return NULL;
}

static void
replace_rows_beside_linkers(void)
{
    pthread_t threads[LINKERS + 1];
    world_reserve(&world, PASSED);
    atomic_store(&over, false);
    for (int i = 0; i < LINKERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work_off, NULL), 0);
    ck_assert_int_eq(pthread_create(&threads[LINKERS], NULL, replace_rows, NULL), 0);
    for (int i = 0; i <= LINKERS; i++)
        pthread_join(threads[i], NULL);
}

START_TEST(rows_linked_while_their_neighbours_are_erased_link_to_none_twice)
{
    world_init(&world, 8, METRIC_L2, VECTOR_F32);
    world_build(&world, FIRST);
    for (uint32_t slot = 0; slot < FIRST - FEW; slot++)
        hnsw_erase(world.hnsw, slot);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        world_compact(&world);
        replace_rows_beside_linkers();
        ck_assert_uint_eq(hnsw_live(world.hnsw), FEW);
        world_check(&world);
    }
    world_fini(&world);
}
END_TEST

static Suite *
hnsw_threads_suite(void)
{
    Suite *suite = suite_create("hnsw_threads");
    TCase *tcase = tcase_create("hnsw_threads");
    tcase_add_loop_test(tcase, everybody_at_once_leaves_a_sound_index, 0, 3);
    tcase_add_test(tcase, linkers_that_found_together_found_one_code);
    tcase_add_test(tcase, rows_linked_while_their_neighbours_are_erased_link_to_none_twice);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(hnsw_threads_suite)
