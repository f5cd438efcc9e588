// tests/unit/index/test_hnsw_save_grown.c -- saves that leave old rows' links out, and what becomes of them when loaded.
#include "tests/lib/image_world.h"

#define WHOLE 5000u
#define GROWN 2000u

static struct world world, loaded;
static struct image_table *table;

// An index whose links were put at WHOLE rows, and since then only those of new rows.
static void
make_grown(uint32_t kind)
{
    table = image_table_open();
    world_init_kind(&world, &image_kinds[kind]);
    world_build(&world, WHOLE);
    world_save(&world, table);
    image_table_reset_counts(table);
    world_build(&world, GROWN);
    world_save_grown(&world, table);
    ck_assert(hnsw_links_behind(world.hnsw));
}

static void
drop_grown(void)
{
    world_fini(&loaded);
    world_fini(&world);
    image_table_close(table);
}

START_TEST(a_grown_save_puts_links_where_new_rows_are)
{
    make_grown(0); // 2048 rows of links a piece
    ck_assert_uint_eq(image_table_puts(table, IMAGE_LINKS), 2);
    image_table_reset_counts(table);
    world_save_grown(&world, table);
    ck_assert_uint_eq(image_table_puts(table, 0), 3); // the head and two bitmaps
    world_build(&world, 100);
    image_table_reset_counts(table);
    world_save_grown(&world, table);
    ck_assert_uint_eq(image_table_puts(table, IMAGE_LINKS), 1);
    world_load(&loaded, &world, table);
    drop_grown();
}
END_TEST

START_TEST(links_are_put_whole_when_the_index_has_grown_by_enough)
{
    make_grown(0);
    uint32_t rounds = 0;
    for (; hnsw_links_behind(world.hnsw); rounds++) {
        ck_assert_uint_lt(rounds, 10);
        world_build(&world, 500);
        world_save_grown(&world, table);
    }
    ck_assert_uint_ge(rounds, 1);
    world_load(&loaded, &world, table);
    world_check_equal(&world, &loaded);
    drop_grown();
}
END_TEST

START_TEST(rows_whose_links_are_not_whole_are_found_at_once)
{
    make_grown((uint32_t)_i);
    world_load(&loaded, &world, table);
    ck_assert_uint_eq(hnsw_count(loaded.hnsw), WHOLE + GROWN);
    ck_assert_uint_eq(hnsw_linked(loaded.hnsw), WHOLE);
    ck_assert_uint_eq(hnsw_tail(loaded.hnsw), GROWN);
    ck_assert_uint_eq(hnsw_tail_uncoded(loaded.hnsw), 0);
    ck_assert(hnsw_links_behind(loaded.hnsw));
    world_check(&loaded);
    const double before = world_recall(&world, 50, 10, 64);
    ck_assert_double_ge(world_recall(&loaded, 50, 10, 64), before - 0.01);
    // Linked again they are what they were, nearly.
    world_drain(&loaded);
    ck_assert_uint_eq(hnsw_tail(loaded.hnsw), 0);
    ck_assert_uint_le(world_check(&loaded), 10);
    ck_assert_double_ge(world_recall(&loaded, 50, 10, 64), before - 0.02);
    drop_grown();
}
END_TEST

START_TEST(a_loaded_row_of_its_own_is_answered_once)
{
    make_grown(0);
    world_load(&loaded, &world, table);
    for (uint32_t slot = WHOLE - 20; slot < WHOLE + GROWN; slot += 31) {
        float vector[64];
        struct hit hits[20];
        vector_to_f32(world.config.type, hnsw_row(loaded.hnsw, slot), 64, vector);
        const struct hnsw_query query = world_query(vector, 20, 40);
        CLAIM(hnsw_search(loaded.hnsw, &query, loaded.scratch, hits) == 20, "slot %u", slot);
        CLAIM(hits[0].slot == slot, "slot %u: %u is nearer", slot, hits[0].slot);
        for (uint32_t i = 0; i < 20; i++)
            for (uint32_t j = 0; j < i; j++)
                CLAIM(hits[i].slot != hits[j].slot, "slot %u twice", hits[i].slot);
        if (slot % 2 == 0)
            hnsw_link_next(loaded.hnsw, loaded.scratch);
    }
    drop_grown();
}
END_TEST

// Their neighbours' links may be of before: what was repaired is repaired again.
START_TEST(rows_repaired_since_the_links_were_put_are_repaired_again)
{
    table = image_table_open();
    world_init_kind(&world, &image_kinds[0]);
    world_build(&world, WHOLE);
    for (uint32_t slot = 3; slot < WHOLE; slot += 50)
        hnsw_erase(world.hnsw, slot);
    world_drain(&world);
    world_save(&world, table);
    world_build(&world, GROWN);
    for (uint32_t slot = 4; slot < WHOLE + GROWN; slot += 50)
        hnsw_erase(world.hnsw, slot);
    world_drain(&world);
    ck_assert_uint_eq(world.hnsw->repaired_count, 240);
    world_save_grown(&world, table);
    for (int again = 0; again < 2; again++) { // the second time from a save of what was loaded
        world_load(&loaded, &world, table);
        ck_assert_uint_eq(hnsw_live(loaded.hnsw), WHOLE + GROWN - 240);
        ck_assert_uint_eq(loaded.hnsw->repaired_count, 100);
        ck_assert(!hnsw_idle(loaded.hnsw));
        world_drain(&loaded);
        ck_assert_uint_eq(loaded.hnsw->repaired_count, 240);
        ck_assert_uint_le(world_check(&loaded), 10);
        ck_assert_double_ge(world_recall(&loaded, 50, 10, 64), 0.9);
        world_save_grown(&loaded, table);
        if (again == 0)
            world_fini(&loaded);
    }
    drop_grown();
}
END_TEST

START_TEST(a_grown_save_while_loaded_rows_are_linked_loses_none_of_their_links)
{
    make_grown(0);
    world_load(&loaded, &world, table);
    for (uint32_t i = 0; i < GROWN / 2; i++)
        ck_assert(hnsw_link_next(loaded.hnsw, loaded.scratch));
    world_add(&loaded, 10);
    image_table_reset_counts(table);
    world_save_grown(&loaded, table);
    ck_assert_uint_eq(image_table_puts(table, IMAGE_HIGH), 0);
    struct world again;
    world_load(&again, &loaded, table);
    ck_assert_uint_eq(hnsw_linked(again.hnsw), WHOLE);
    ck_assert_uint_eq(hnsw_tail_uncoded(again.hnsw), 10);
    world_drain(&again);
    ck_assert_uint_le(world_check(&again), 10);
    ck_assert_double_ge(world_recall(&again, 50, 10, 64), 0.9);
    world_fini(&again);
    // And whole, from the middle.
    world_save(&loaded, table);
    world_load(&again, &loaded, table);
    ck_assert_uint_eq(hnsw_linked(again.hnsw), WHOLE + GROWN / 2);
    world_drain(&again);
    ck_assert_uint_le(world_check(&again), 10);
    ck_assert_double_ge(world_recall(&again, 50, 10, 64), 0.9);
    world_fini(&again);
    drop_grown();
}
END_TEST

START_TEST(a_grown_save_that_fails_anywhere_is_made_good_by_the_next)
{
    make_grown(0);
    world_build(&world, 300);
    omen_status status = OMEN_E_DISK_FULL;
    for (uint32_t n = 1; status != OMEN_OK; n++) {
        ck_assert_uint_lt(n, 100);
        image_table_fail_after(table, n);
        status = world_try_save_grown(&world, table);
        ck_assert(status == OMEN_OK || status == OMEN_E_DISK_FULL);
        image_table_fail_after(table, 0);
    }
    world_load(&loaded, &world, table);
    ck_assert_uint_eq(hnsw_tail(loaded.hnsw), GROWN + 300);
    world_drain(&loaded);
    ck_assert_uint_le(world_check(&loaded), 10);
    drop_grown();
}
END_TEST

static void
check_step(uint32_t step)
{
    world_check(&loaded);
    const double recall = world_recall(&loaded, 10, 10, 64);
    CLAIM(recall >= 0.85, "step %u: recall %g", step, recall);
}

// In orders drawn from: append, link some, erase, drain, compact to another table, save either way, die and load.
START_TEST(indexes_that_die_again_and_again_stay_sound)
{
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    make_grown(_i % 2 == 0 ? 0 : 3);
    world_load(&loaded, &world, table);
    for (uint32_t step = 0; step < 25; step++) {
        const uint32_t from = prng_below(&prng, 80);
        struct world again;
        switch (prng_below(&prng, 8)) {
        case 0:
            world_add(&loaded, 1 + prng_below(&prng, 500));
            break;
        case 1:
            for (uint32_t i = 0; i < 700; i++)
                hnsw_link_next(loaded.hnsw, loaded.scratch);
            break;
        case 2:
            for (uint32_t slot = from; slot < hnsw_count(loaded.hnsw); slot += 80)
                hnsw_erase(loaded.hnsw, slot);
            break;
        case 3:
            world_drain(&loaded);
            break;
        case 4:
            for (uint32_t i = 0; i < 2; i++)
                hnsw_promote_next(loaded.hnsw);
            break;
        case 5:
            world_save(&loaded, table);
            break;
        case 6:
            world_save_grown(&loaded, table);
            break;
        case 7:
            world_save_grown(&loaded, table);
            world_load(&again, &loaded, table);
            world_fini(&loaded);
            loaded = again;
            break;
        }
        check_step(step);
    }
    world_drain(&loaded);
    // A group that lost its links waits for the index to change by a twenty-fifth.
    ck_assert_uint_le(world_check(&loaded), hnsw_count(loaded.hnsw) / 20);
    ck_assert_double_ge(world_recall(&loaded, 30, 10, 64), 0.9);
    drop_grown();
}
END_TEST

static Suite *
hnsw_save_grown_suite(void)
{
    Suite *suite = suite_create("hnsw_save_grown");
    TCase *tcase = tcase_create("hnsw_save_grown");
    tcase_add_test(tcase, a_grown_save_puts_links_where_new_rows_are);
    tcase_add_test(tcase, links_are_put_whole_when_the_index_has_grown_by_enough);
    tcase_add_loop_test(tcase, rows_whose_links_are_not_whole_are_found_at_once, 0, 6);
    tcase_add_test(tcase, a_loaded_row_of_its_own_is_answered_once);
    tcase_add_test(tcase, rows_repaired_since_the_links_were_put_are_repaired_again);
    tcase_add_test(tcase, a_grown_save_while_loaded_rows_are_linked_loses_none_of_their_links);
    tcase_add_test(tcase, a_grown_save_that_fails_anywhere_is_made_good_by_the_next);
    tcase_add_loop_test(tcase, indexes_that_die_again_and_again_stay_sound, 0, 8);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(hnsw_save_grown_suite)
