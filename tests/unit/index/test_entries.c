// tests/unit/index/test_entries.c -- where walks begin: a uniform sample of what lives.
#include "tests/lib/index_world.h"

static struct world world;

START_TEST(there_are_about_half_as_many_as_the_root_of_the_rows)
{
    world_init(&world, 8, METRIC_L2, VECTOR_F32);
    world.config.build_beam = 16;
    world.config.links = 4;
    static const uint32_t rows[] = {1100, 2500, 6400};
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        world_build(&world, rows[r] - (world.hnsw != NULL ? hnsw_count(world.hnsw) : 0));
        const uint32_t count = world.hnsw->entries.count,
                       half = (uint32_t)sqrt((double)rows[r]) / 2;
        ck_assert_uint_ge(count, half > 32 ? half : 32);
        ck_assert_uint_le(count, half + 33);
    }
    world_fini(&world);
}
END_TEST

START_TEST(old_and_new_rows_are_sampled_alike)
{
    uint32_t quarters[4] = {0}, all = 0;
    for (uint64_t seed = 0; seed < 12; seed++) {
        world_init(&world, 2, METRIC_L2, VECTOR_F32);
        world.config.build_beam = 8;
        world.config.links = 2;
        world.config.seed = seed;
        world_add(&world, 4000);
        world_link(&world);
        for (uint32_t i = 0; i < world.hnsw->entries.count; i++, all++)
            quarters[world.hnsw->entries.slots[i] / 1000]++;
        world_fini(&world);
    }
    // About 96 each, with a standard deviation of 9.
    for (int q = 0; q < 4; q++)
        ck_assert_msg(quarters[q] * 4 > all * 7 / 10 && quarters[q] * 4 < all * 13 / 10,
                      "quarter %d has %u of %u", q, quarters[q], all);
}
END_TEST

START_TEST(erased_rows_are_replaced_by_live_ones)
{
    world_init(&world, 64, METRIC_L2, VECTOR_F32);
    world_build(&world, 2000);
    for (uint32_t slot = 0; slot < 2000; slot++)
        if (slot % 4 != 0)
            hnsw_erase(world.hnsw, slot);
    world_drain(&world);
    ck_assert_uint_ge(world.hnsw->entries.count, 20);
    for (uint32_t i = 0; i < world.hnsw->entries.count; i++)
        ck_assert_uint_eq(world.hnsw->entries.slots[i] % 4, 0);
    world_check(&world);
    world_fini(&world);
}
END_TEST

START_TEST(none_are_left_when_nothing_lives_and_they_come_back)
{
    world_init(&world, 64, METRIC_L2, VECTOR_F32);
    world_build(&world, 1100);
    for (uint32_t slot = 0; slot < 1100; slot++)
        hnsw_erase(world.hnsw, slot);
    world_drain(&world);
    ck_assert_uint_eq(world.hnsw->entries.count, 0);
    world_build(&world, 200);
    ck_assert_uint_ge(world.hnsw->entries.count, 32);
    for (uint32_t i = 0; i < world.hnsw->entries.count; i++)
        ck_assert_uint_ge(world.hnsw->entries.slots[i], 1100);
    world_check(&world);
    world_fini(&world);
}
END_TEST

// So few live that 64 draws find none of them.
START_TEST(the_last_entry_is_a_row_that_lives_if_any_does)
{
    world_init(&world, 8, METRIC_L2, VECTOR_F32);
    world.config.build_beam = 16;
    world.config.links = 4;
    world_build(&world, 2000);
    const uint32_t kept = 1234;
    for (uint32_t slot = 0; slot < 2000; slot++)
        if (slot != kept)
            hnsw_erase(world.hnsw, slot);
    world.hnsw->entries.slots[0] = 1999; // repaired last, so that one entry is all there ever is
    world.hnsw->entries.count = 1;
    world_drain(&world);
    ck_assert_uint_eq(world.hnsw->entries.count, 1);
    ck_assert_uint_eq(world.hnsw->entries.slots[0], kept);
    struct hit hit;
    const struct hnsw_query query = world_query(hnsw_row(world.hnsw, kept), 1, 16);
    ck_assert_uint_eq(hnsw_search(world.hnsw, &query, world.scratch, &hit), 1);
    ck_assert_uint_eq(hit.slot, kept);
    ck_assert_uint_eq(world_check(&world), 0);
    world_fini(&world);
}
END_TEST

START_TEST(a_row_erased_while_it_was_linked_is_no_entry)
{
    world_init(&world, 64, METRIC_L2, VECTOR_F32);
    world_build(&world, 1100);
    hnsw_erase(world.hnsw, 5);
    world_drain(&world);
    for (uint32_t times = 0; times < 1000; times++)
        entries_note_linked(world.hnsw, 5, world.hnsw->entries.count);
    for (uint32_t i = 0; i < world.hnsw->entries.count; i++)
        ck_assert_uint_ne(world.hnsw->entries.slots[i], 5);
    world_fini(&world);
}
END_TEST

static Suite *
entries_suite(void)
{
    Suite *suite = suite_create("entries");
    TCase *tcase = tcase_create("entries");
    tcase_add_test(tcase, there_are_about_half_as_many_as_the_root_of_the_rows);
    tcase_add_test(tcase, old_and_new_rows_are_sampled_alike);
    tcase_add_test(tcase, erased_rows_are_replaced_by_live_ones);
    tcase_add_test(tcase, none_are_left_when_nothing_lives_and_they_come_back);
    tcase_add_test(tcase, the_last_entry_is_a_row_that_lives_if_any_does);
    tcase_add_test(tcase, a_row_erased_while_it_was_linked_is_no_entry);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(entries_suite)
