// tests/unit/index/test_build_narrow_tables.c -- short copies by every table of kernels, on every processor that has tests.
//
// Labels: arm64
#include "tests/lib/build_world.h"

#define ROWS 8192u // the fewest that are copied
#define DIM 260u   // no multiple of what a table takes at a time

// All of them copied at once, and where there is no room for that as they are wanted.
START_TEST(every_table_of_kernels_makes_the_same_graph)
{
    const struct kernels *list[4];
    const uint32_t tables = kernels_list(list);
    struct build_world world;
    struct build_config config = build_world_config(1);
    build_world_init(&world, ROWS, DIM);
    build_world_quantize(&world, 30.0f);
    const size_t limits[] = {0, build_world_memory(&world, &config).most - 1};
    uint64_t hash = 0;
    for (uint32_t i = 0; i < 2 * tables; i++) {
        config.tiles = list[i / 2]->tiles;
        config.memory_max = limits[i % 2];
        build_world_make(&world, &config);
        ck_assert_uint_gt(world.report.narrow, 0);
        hash = i == 0 ? build_world_hash(&world) : hash;
        ck_assert_msg(build_world_hash(&world) == hash, "%s", list[i / 2]->name);
    }
    build_world_fini(&world);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("build_narrow_tables");
    TCase *tcase = tcase_create("tables");
    tcase_add_test(tcase, every_table_of_kernels_makes_the_same_graph);
    tcase_set_timeout(tcase, 300);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
