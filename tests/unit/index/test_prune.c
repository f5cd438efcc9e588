// tests/unit/index/test_prune.c -- the links that are chosen, against the rule written plainly.
#include "tests/lib/index_world.h"

#define CANDIDATES 200u

static struct world world;

static void
setup(void)
{
    world_init(&world, 64, METRIC_L2, VECTOR_F32);
    world_build(&world, 1500);
    ck_assert_int_eq(scratch_fit_prune(world.scratch, world.hnsw), OMEN_OK);
}

static void
teardown(void)
{
    world_fini(&world);
}

// By the code of both planes, as links are chosen.
static float
between(uint32_t a, uint32_t b)
{
    code_distances(world.hnsw, world.scratch, a, &b, 1);
    return world.scratch->distances[0];
}

static uint32_t
candidates_of(uint32_t owner, uint64_t *keys)
{
    const uint32_t count = hnsw_neighbours(world.hnsw, owner, world.scratch);
    memcpy(keys, world.scratch->pool.keys, count * sizeof *keys);
    return count;
}

START_TEST(distances_by_code_are_near_those_of_the_rows)
{
    uint32_t others[300];
    for (uint32_t i = 0; i < 300; i++)
        others[i] = 2 * i + 1;
    code_distances(world.hnsw, world.scratch, 0, others, 300);
    float vector[64];
    vector_to_f32(VECTOR_F32, hnsw_row(world.hnsw, 0), 64, vector);
    for (uint32_t i = 0; i < 300; i++) {
        const float distance = hnsw_distance(world.hnsw, vector, others[i]);
        CLAIM(fabsf(world.scratch->distances[i] - distance) <=
                  0.02f * (distance + world.hnsw->codec.variance),
              "slot %u is at %g by code, %g", others[i], (double)world.scratch->distances[i],
              (double)distance);
    }
}
END_TEST

START_TEST(neighbours_come_nearest_first_without_the_row_itself)
{
    uint64_t keys[CANDIDATES];
    for (uint32_t owner = 0; owner < 1500; owner += 100) {
        const uint32_t count = candidates_of(owner, keys);
        ck_assert_uint_ge(count, 50);
        for (uint32_t i = 0; i < count; i++) {
            CLAIM(nearest_slot(keys[i]) != owner, "slot %u is its own neighbour", owner);
            CLAIM(i == 0 || keys[i - 1] < keys[i], "neighbour %u is out of order", i);
        }
    }
}
END_TEST

// The first pass: the nearest is taken, and whoever has no taken one nearer than the owner.
START_TEST(the_links_of_the_relative_neighbourhood_are_among_the_chosen)
{
    uint64_t keys[CANDIDATES];
    for (uint32_t owner = 0; owner < 1500; owner += 100) {
        uint32_t chosen[LINK_ROW_MAX], plain[LINK_ROW_MAX], wanted = 0;
        const uint32_t count = candidates_of(owner, keys);
        for (uint32_t i = 0; i < count && wanted < 32; i++) {
            bool occluded = false;
            for (uint32_t j = 0; j < wanted && !occluded; j++)
                occluded = between(plain[j], nearest_slot(keys[i])) < nearest_distance(keys[i]);
            if (!occluded)
                plain[wanted++] = nearest_slot(keys[i]);
        }
        const uint32_t taken = prune(world.hnsw, world.scratch, owner, keys, count, 32, chosen);
        ck_assert_uint_ge(taken, wanted);
        ck_assert_uint_le(taken, 32);
        ck_assert_mem_eq(chosen, plain, wanted * sizeof *chosen);
    }
}
END_TEST

START_TEST(no_more_are_kept_than_asked_for_and_none_twice)
{
    uint64_t keys[CANDIDATES];
    for (uint32_t keep = 1; keep <= 128; keep = keep * 2 + 1) {
        uint32_t chosen[LINK_ROW_MAX];
        uint32_t count = candidates_of(7, keys);
        keys[count++] = nearest_key(3.0e38f, 7); // the owner is passed over
        const uint32_t taken = prune(world.hnsw, world.scratch, 7, keys, count, keep, chosen);
        ck_assert_uint_le(taken, keep);
        ck_assert_uint_ge(taken, 1);
        for (uint32_t i = 0; i < taken; i++) {
            ck_assert_uint_ne(chosen[i], 7);
            for (uint32_t j = 0; j < i; j++)
                ck_assert_uint_ne(chosen[i], chosen[j]);
        }
    }
    uint32_t chosen[LINK_ROW_MAX];
    ck_assert_uint_eq(prune(world.hnsw, world.scratch, 7, keys, 0, 32, chosen), 0);
}
END_TEST

START_TEST(equal_rows_do_not_take_all_links)
{
    float row[64];
    vector_to_f32(VECTOR_F32, hnsw_row(world.hnsw, 3), 64, row);
    world_reserve(&world, 60);
    for (int i = 0; i < 60; i++)
        world_put(&world, row);
    world_drain(&world);
    uint64_t keys[CANDIDATES];
    uint32_t chosen[LINK_ROW_MAX], twins = 0;
    const uint32_t count = candidates_of(3, keys);
    const uint32_t taken = prune(world.hnsw, world.scratch, 3, keys, count, 32, chosen);
    for (uint32_t i = 0; i < taken; i++)
        twins += between(3, chosen[i]) == 0.0f;
    ck_assert_uint_ge(twins, 1);
    ck_assert_uint_le(twins, 8);
    ck_assert_uint_gt(taken, twins);
}
END_TEST

static Suite *
prune_suite(void)
{
    Suite *suite = suite_create("prune");
    TCase *tcase = tcase_create("prune");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, distances_by_code_are_near_those_of_the_rows);
    tcase_add_test(tcase, neighbours_come_nearest_first_without_the_row_itself);
    tcase_add_test(tcase, the_links_of_the_relative_neighbourhood_are_among_the_chosen);
    tcase_add_test(tcase, no_more_are_kept_than_asked_for_and_none_twice);
    tcase_add_test(tcase, equal_rows_do_not_take_all_links);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(prune_suite)
