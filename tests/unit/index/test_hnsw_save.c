// tests/unit/index/test_hnsw_save.c -- what is saved, how little of it the second time, and beside whom.
//
// Labels: tsan
#include <pthread.h>

#include "base/epoch.h"
#include "tests/lib/image_world.h"

static struct world world, loaded;

START_TEST(a_loaded_index_answers_as_the_saved_one)
{
    const struct image_kind *kind = &image_kinds[_i];
    struct image_table *table = image_table_open();
    world_init_kind(&world, kind);
    world_add(&world, kind->rows);
    world_drain(&world);
    for (uint32_t slot = 3; slot < kind->rows; slot += 10)
        hnsw_erase(world.hnsw, slot);
    world_drain(&world);
    world_save(&world, table);
    world_load(&loaded, &world, table);
    ck_assert_str_eq(hnsw_code_name(loaded.hnsw), hnsw_code_name(world.hnsw));
    world_check_equal(&world, &loaded);
    ck_assert_uint_eq(world_check(&loaded), world_check(&world));
    ck_assert(hnsw_idle(loaded.hnsw) == hnsw_idle(world.hnsw));
    // Both go the same way from here.
    world_add(&world, 200);
    world_add(&loaded, 200);
    world_drain(&world);
    world_drain(&loaded);
    world_check_equal(&world, &loaded);
    world_fini(&loaded);
    world_fini(&world);
    image_table_close(table);
}
END_TEST

START_TEST(a_second_save_puts_only_what_changed)
{
    struct image_table *table = image_table_open();
    world_init_kind(&world, &image_kinds[0]); // 1024 rows a piece of rows, 2730 -> 2048 of links
    world_build(&world, 5000);
    world_save(&world, table);
    const uint32_t all = image_table_puts(table, IMAGE_ROWS);
    ck_assert_uint_eq(all, 5);
    ck_assert_uint_ge(image_table_puts(table, IMAGE_LINKS), 2);
    image_table_reset_counts(table);
    world_save(&world, table);
    ck_assert_uint_eq(image_table_puts(table, 0), 3); // the head and two bitmaps
    image_table_reset_counts(table);
    world_add(&world, 10);
    world_save(&world, table); // not linked: rows only
    ck_assert_uint_eq(image_table_puts(table, IMAGE_ROWS), 1);
    ck_assert_uint_eq(image_table_puts(table, 0), 4);
    image_table_reset_counts(table);
    world_link(&world);
    world_save(&world, table);
    ck_assert_uint_eq(image_table_puts(table, IMAGE_ROWS), 0);
    ck_assert_uint_eq(image_table_puts(table, IMAGE_HIGH), 1);
    ck_assert_uint_ge(image_table_puts(table, IMAGE_LINKS), 1);
    world_load(&loaded, &world, table);
    world_check_equal(&world, &loaded);
    image_table_reset_counts(table);
    world_save(&loaded, table);
    ck_assert_uint_eq(image_table_puts(table, 0), 3);
    // Elsewhere, all of it.
    struct image_table *other = image_table_open();
    hnsw_touch_all(loaded.hnsw);
    world_save(&loaded, other);
    ck_assert_uint_eq(image_table_puts(other, IMAGE_ROWS), 5);
    struct world third;
    world_load(&third, &world, other);
    world_check_equal(&world, &third);
    world_fini(&third);
    world_fini(&loaded);
    world_fini(&world);
    image_table_close(other);
    image_table_close(table);
}
END_TEST

START_TEST(a_save_that_fails_anywhere_is_made_good_by_the_next)
{
    struct image_table *table = image_table_open();
    world_init_kind(&world, &image_kinds[0]);
    world_build(&world, 2500);
    omen_status status = OMEN_E_DISK_FULL;
    for (uint32_t n = 1; status != OMEN_OK; n++) {
        ck_assert_uint_lt(n, 100);
        image_table_fail_after(table, n);
        status = world_try_save(&world, table);
        ck_assert(status == OMEN_OK || status == OMEN_E_DISK_FULL);
    }
    image_table_fail_after(table, 0);
    world_load(&loaded, &world, table);
    world_check_equal(&world, &loaded);
    world_fini(&loaded);
    world_fini(&world);
    image_table_close(table);
}
END_TEST

START_TEST(a_save_survives_refused_memory)
{
    struct image_table *table = image_table_open();
    world_init_kind(&world, &image_kinds[0]);
    world_build(&world, 1200);
    omen_status status = OMEN_E_NO_MEMORY;
    for (uint64_t n = 1; status != OMEN_OK; n++) {
        struct hnsw_save *save;
        const struct image_sink sink = image_table_sink(table);
        ck_assert_uint_lt(n, 100);
        mem_fail_after(n);
        status = hnsw_save_begin(world.hnsw, &save);
        if (status == OMEN_OK) {
            status = hnsw_save_arrays(save, &sink);
            if (status == OMEN_OK)
                status = hnsw_save_head(save, &sink);
            hnsw_save_close(save, status == OMEN_OK ? HNSW_SAVED : HNSW_NOT_SAVED);
        }
        mem_fail_after(0);
        ck_assert(status == OMEN_OK || status == OMEN_E_NO_MEMORY);
    }
    world_load(&loaded, &world, table);
    world_check_equal(&world, &loaded);
    world_fini(&loaded);
    world_fini(&world);
    image_table_close(table);
}
END_TEST

START_TEST(a_save_is_of_the_moment_when_it_began)
{
    struct image_table *table = image_table_open();
    const struct image_sink sink = image_table_sink(table);
    world_init_kind(&world, &image_kinds[0]);
    world_build(&world, 1300);
    world_add(&world, 100); // a tail
    hnsw_erase(world.hnsw, 5);
    struct hnsw_save *save;
    ck_assert_int_eq(hnsw_save_begin(world.hnsw, &save), OMEN_OK);
    ck_assert_uint_eq(hnsw_save_rows(save), 1400);
    ck_assert_uint_eq(hnsw_save_linked(save), 1300);
    hnsw_erase(world.hnsw, 6);
    world_add(&world, 300);
    world_drain(&world);
    ck_assert_int_eq(hnsw_save_arrays(save, &sink), OMEN_OK);
    hnsw_erase(world.hnsw, 7);
    world_drain(&world);
    ck_assert_int_eq(hnsw_save_head(save, &sink), OMEN_OK);
    hnsw_save_close(save, HNSW_SAVED);

    world_load(&loaded, &world, table);
    ck_assert_uint_eq(hnsw_count(loaded.hnsw), 1400);
    ck_assert_uint_eq(hnsw_linked(loaded.hnsw), 1300);
    ck_assert_uint_eq(hnsw_tail(loaded.hnsw), 100);
    ck_assert(hnsw_erased(loaded.hnsw, 5));
    ck_assert(!hnsw_erased(loaded.hnsw, 6) && !hnsw_erased(loaded.hnsw, 7));
    world_check(&loaded);
    ck_assert_double_ge(world_recall(&loaded, 30, 10, 64), 0.9);
    world_drain(&loaded);
    ck_assert_uint_le(world_check(&loaded), 5);
    ck_assert_double_ge(world_recall(&loaded, 30, 10, 64), 0.9);
    // Links to rows that were not linked then are in the next save.
    world_fini(&loaded);
    world_save(&world, table);
    world_load(&loaded, &world, table);
    world_check_equal(&world, &loaded);
    world_fini(&loaded);
    world_fini(&world);
    image_table_close(table);
}
END_TEST

// ---- beside everybody ----

#define FIRST 1100u
#define ROWS 2300u

static atomic_bool over;
static pthread_mutex_t write_lock = PTHREAD_MUTEX_INITIALIZER;
// Who reads the index is inside; a put of a piece waits for them, as a checkpoint does.
static struct epoch gate;

static void *
write_rows(void *unused)
{
    (void)unused;
    float values[64];
    struct prng prng = world.law.rows;
    for (uint32_t slot = hnsw_count(world.hnsw); slot < ROWS; slot++) {
        law_draw(&world.law, &prng, values);
        pthread_mutex_lock(&write_lock);
        ck_assert_int_eq(hnsw_reserve(world.hnsw, slot + 1), OMEN_OK);
        world_put(&world, values);
        if (slot % 5 == 2)
            hnsw_erase(world.hnsw, slot - FIRST);
        pthread_mutex_unlock(&write_lock);
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
    for (bool worked = true; worked || !atomic_load(&over);) {
        const uint32_t ticket = epoch_enter(&gate);
        worked = hnsw_link_next(world.hnsw, scratch) || hnsw_repair_next(world.hnsw, scratch) ||
                 hnsw_promote_next(world.hnsw);
        epoch_leave(&gate, ticket);
    }
    scratch_close(scratch);
    return NULL;
}

static void *
search(void *unused)
{
    (void)unused;
    struct scratch *scratch;
    ck_assert_int_eq(scratch_open(&scratch), OMEN_OK);
    while (!atomic_load(&over)) {
        float vector[64];
        struct hit hits[10];
        const uint32_t ticket = epoch_enter(&gate);
        const uint32_t newest = hnsw_count(world.hnsw) - 1;
        vector_to_f32(world.config.type, hnsw_row(world.hnsw, newest), 64, vector);
        // Wide: once it is linked the row is looked for like any other, and this is not about recall.
        const struct hnsw_query query = world_query(vector, 10, 512);
        const uint32_t count = hnsw_search(world.hnsw, &query, scratch, hits);
        bool there = false;
        for (uint32_t i = 0; i < count; i++)
            there |= hits[i].slot == newest;
        // The writer goes on meanwhile, and comes round to this row in the end.
        there |= hnsw_erased(world.hnsw, newest);
        epoch_leave(&gate, ticket);
        CLAIM(count == 10 && there, "slot %u was not found", newest);
    }
    scratch_close(scratch);
    return NULL;
}

// Where a piece lay, something else lies once it is put anew: whoever came upon it before it was ours has to be gone.
static omen_status
put_after_readers(void *context, uint32_t array, uint32_t piece, const void *bytes, size_t count)
{
    const struct image_sink sink = image_table_sink(context);
    epoch_wait(&gate);
    return sink.put(sink.context, array, piece, bytes, count);
}

static uint32_t
save_beside(struct image_table *table)
{
    struct hnsw_save *save;
    struct image_sink sink = image_table_sink(table);
    sink.put = put_after_readers;
    sink.context = table;
    pthread_mutex_lock(&write_lock);
    ck_assert_int_eq(hnsw_save_begin(world.hnsw, &save), OMEN_OK);
    pthread_mutex_unlock(&write_lock);
    const uint32_t rows = hnsw_save_rows(save);
    ck_assert_int_eq(hnsw_save_arrays(save, &sink), OMEN_OK);
    ck_assert_int_eq(hnsw_save_head(save, &sink), OMEN_OK);
    hnsw_save_close(save, HNSW_SAVED);
    return rows;
}

// Every other time of an index that was loaded itself, so that lent pieces become ours meanwhile.
START_TEST(saves_beside_everybody_are_sound)
{
    struct image_table *table = image_table_open();
    world_init_kind(&world, &image_kinds[_i / 2 == 0 ? 0 : 3]);
    world.config.metric = METRIC_L2;
    hnsw_close(world.hnsw);
    world.hnsw = NULL;
    world_build(&world, FIRST);
    if (_i % 2 == 1) {
        world_save(&world, table);
        struct world again;
        world_load(&again, &world, table);
        world_fini(&world);
        world = again;
    }
    pthread_t threads[4];
    float drawn[64];
    epoch_init(&gate);
    atomic_store(&over, false);
    ck_assert_int_eq(pthread_create(&threads[0], NULL, write_rows, NULL), 0);
    ck_assert_int_eq(pthread_create(&threads[1], NULL, work_off, NULL), 0);
    ck_assert_int_eq(pthread_create(&threads[2], NULL, work_off, NULL), 0);
    ck_assert_int_eq(pthread_create(&threads[3], NULL, search, NULL), 0);
    for (bool last = false; !last;) {
        last = atomic_load(&over);
        const uint32_t rows = save_beside(table);
        world_load(&loaded, &world, table);
        ck_assert_uint_eq(hnsw_count(loaded.hnsw), rows);
        world_check(&loaded);
        // Links to rows behind the save are not in it, and they may have taken the place of others: whole again when those
        // rows have come from the log.
        for (uint32_t slot = FIRST; slot < rows; slot++)
            law_draw(&loaded.law, &loaded.law.rows, drawn);
        world_build(&loaded, ROWS - rows);
        CLAIM(world_recall(&loaded, 20, 10, 64) >= 0.85, "of %u rows", rows);
        world_fini(&loaded);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    world_drain(&world);
    save_beside(table);
    world_load(&loaded, &world, table);
    world_check_equal(&world, &loaded);
    ck_assert_uint_le(world_check(&loaded), 10);
    world_fini(&loaded);
    world_fini(&world);
    epoch_fini(&gate);
    image_table_close(table);
}
END_TEST

static Suite *
hnsw_save_suite(void)
{
    Suite *suite = suite_create("hnsw_save");
    TCase *tcase = tcase_create("hnsw_save");
    tcase_add_loop_test(tcase, a_loaded_index_answers_as_the_saved_one, 0, IMAGE_KINDS);
    tcase_add_test(tcase, a_second_save_puts_only_what_changed);
    tcase_add_test(tcase, a_save_that_fails_anywhere_is_made_good_by_the_next);
    tcase_add_test(tcase, a_save_survives_refused_memory);
    tcase_add_test(tcase, a_save_is_of_the_moment_when_it_began);
    suite_add_one_thread(suite, tcase);
    TCase *threads = tcase_create("threads");
    tcase_add_loop_test(threads, saves_beside_everybody_are_sound, 0, 4);
    suite_add_tcase(suite, threads);
    return suite;
}

CHECK_MAIN(hnsw_save_suite)
