// tests/unit/index/test_hnsw_reach.c -- rows that lost their last link are given another.
#include "tests/lib/index_world.h"

#define ROWS 2000u

static struct world world;

static void
make_due(void)
{
    atomic_store(&world.hnsw->reach_events, 0);
}

enum inside { LINKS_INSIDE_STAY, LINKS_INSIDE_GO };

// Takes away the links to the slots from `first` on, and all entries but one that lies before them.
static void
cut_off(uint32_t first, enum inside inside)
{
    for (uint32_t slot = 0; slot < ROWS; slot++) {
        uint32_t links[LINK_ROW_MAX], kept = 0;
        const uint32_t count = graph_read(&world.hnsw->graph, slot, ROWS, links);
        for (uint32_t i = 0; i < count; i++)
            if (links[i] < first || (slot >= first && inside == LINKS_INSIDE_STAY))
                links[kept++] = links[i];
        graph_write_locked(&world.hnsw->graph, slot, links, kept);
    }
    struct entries *entries = &world.hnsw->entries;
    uint32_t place = 0;
    while (entries->slots[place] >= first)
        place++;
    entries->slots[0] = entries->slots[place];
    memmove(entries->codes, entries->codes + place * world.hnsw->codec.row_bytes,
            world.hnsw->codec.row_bytes);
    atomic_store(&entries->count, 1);
}

static void
setup(void)
{
    world_init(&world, 64, METRIC_L2, VECTOR_F32);
    world_build(&world, ROWS);
}

static void
teardown(void)
{
    world_fini(&world);
}

START_TEST(rows_without_links_to_them_are_reached_again)
{
    static const uint32_t firsts[] = {ROWS - 1, ROWS - 20, ROWS / 2, 100};
    cut_off(firsts[_i / 2], _i % 2 == 0 ? LINKS_INSIDE_STAY : LINKS_INSIDE_GO);
    ck_assert_uint_ge(world_check(&world), _i % 2 == 0 ? 1 : ROWS - firsts[_i / 2]);
    make_due();
    ck_assert(!hnsw_idle(world.hnsw));
    ck_assert(hnsw_repair_next(world.hnsw, world.scratch));
    ck_assert_uint_eq(world_check(&world), 0);
    ck_assert(hnsw_idle(world.hnsw));
    ck_assert(!hnsw_repair_next(world.hnsw, world.scratch));
}
END_TEST

START_TEST(nothing_is_looked_for_before_the_index_has_changed)
{
    ck_assert(!reach_due(world.hnsw));
    world_add(&world, 255);
    world_link(&world);
    ck_assert(!reach_due(world.hnsw));
    world_add(&world, 1);
    world_link(&world);
    ck_assert(reach_due(world.hnsw));
    ck_assert(hnsw_repair_next(world.hnsw, world.scratch));
    ck_assert(!reach_due(world.hnsw));
}
END_TEST

START_TEST(without_memory_nothing_is_changed)
{
    cut_off(ROWS - 20, LINKS_INSIDE_GO);
    const uint32_t unreached = world_check(&world);
    make_due();
    mem_fail_after(1);
    hnsw_repair_next(world.hnsw, world.scratch);
    mem_fail_after(0);
    ck_assert_uint_eq(world_check(&world), unreached);
    make_due();
    ck_assert(hnsw_repair_next(world.hnsw, world.scratch));
    ck_assert_uint_eq(world_check(&world), 0);
}
END_TEST

START_TEST(erased_rows_need_not_be_reached)
{
    for (uint32_t slot = ROWS - 50; slot < ROWS; slot++)
        hnsw_erase(world.hnsw, slot);
    cut_off(ROWS - 50, LINKS_INSIDE_GO);
    ck_assert_uint_eq(world_check(&world), 0);
    world_drain(&world);
    ck_assert_uint_eq(world_check(&world), 0);
}
END_TEST

START_TEST(no_link_leads_to_a_repaired_row_afterwards)
{
    for (uint32_t slot = 0; slot < ROWS; slot += 4)
        hnsw_erase(world.hnsw, slot);
    world_drain(&world);
    make_due();
    ck_assert(hnsw_repair_next(world.hnsw, world.scratch));
    uint32_t links[LINK_ROW_MAX];
    for (uint32_t slot = 0; slot < ROWS; slot++) {
        const uint32_t count =
            slot % 4 == 0 ? 0 : graph_read(&world.hnsw->graph, slot, ROWS, links);
        for (uint32_t i = 0; i < count; i++)
            CLAIM(!hnsw_erased(world.hnsw, links[i]), "slot %u links to %u, which is dead", slot,
                  links[i]);
    }
    ck_assert_uint_eq(world_check(&world), 0);
}
END_TEST

static Suite *
hnsw_reach_suite(void)
{
    Suite *suite = suite_create("hnsw_reach");
    TCase *tcase = tcase_create("hnsw_reach");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, rows_without_links_to_them_are_reached_again, 0, 8);
    tcase_add_test(tcase, nothing_is_looked_for_before_the_index_has_changed);
    tcase_add_test(tcase, without_memory_nothing_is_changed);
    tcase_add_test(tcase, erased_rows_need_not_be_reached);
    tcase_add_test(tcase, no_link_leads_to_a_repaired_row_afterwards);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(hnsw_reach_suite)
