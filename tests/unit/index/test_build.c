// tests/unit/index/test_build.c -- bulk builds: whole graphs that lead as near as walks need, the same ones every time.
//
// Labels: tsan
#include <stdio.h>

#include "tests/lib/build_world.h"

START_TEST(walks_find_what_a_scan_finds)
{
    struct build_world world;
    const struct build_config config = build_world_config(1);
    build_world_init(&world, 6000, 64);
    if (_i == 1)
        build_world_quantize(&world, 40.0f);
    build_world_make(&world, &config);
    const double recall = build_world_recall(&world, 100, 64, 10);
    ck_assert_msg(recall >= 0.99, "recall %g", recall);
    ck_assert_uint_gt(world.report.leaves, 10);
    ck_assert_uint_eq(world.report.draws, 1);
    build_world_fini(&world);
}
END_TEST

START_TEST(few_rows_make_whole_graphs)
{
    static const uint32_t counts[] = {1, 2, 3, 5, 17, 63, 64, 65, 400, 1000, 1001, 1030, 2100};
    for (uint32_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        struct build_world world;
        const struct build_config config = build_world_config(2);
        build_world_init(&world, counts[c], 24);
        if (_i == 1)
            build_world_quantize(&world, 40.0f);
        build_world_make(&world, &config);
        if (counts[c] >= 10) {
            const double recall = build_world_recall(&world, 50, 64, 10);
            ck_assert_msg(recall >= 0.98, "%u rows: recall %g", counts[c], recall);
        }
        build_world_fini(&world);
    }
}
END_TEST

START_TEST(no_rows_make_an_empty_graph)
{
    struct build_world world = {.dim = 8, .width = 8};
    const struct build_config config = build_world_config(1);
    ck_assert_int_eq(build_world_run(&world, &config), OMEN_OK);
    ck_assert_uint_eq(world.graph.count, 0);
    build_world_fini(&world);
}
END_TEST

START_TEST(any_number_of_threads_and_any_memory_make_the_same_graph)
{
    struct build_world world;
    struct build_config config = build_world_config(1);
    build_world_init(&world, 4000, 40);
    if (_i == 1)
        build_world_quantize(&world, 30.0f);
    build_world_make(&world, &config);
    const uint64_t hash = build_world_hash(&world);
    config.threads = 3;
    build_world_make(&world, &config);
    ck_assert_uint_eq(build_world_hash(&world), hash);
    const struct build_memory memory = build_world_memory(&world, &config);
    config.memory_max = (memory.least + memory.most) / 2;
    build_world_make(&world, &config);
    const uint32_t passes = world.report.passes;
    ck_assert_uint_gt(passes, 1);
    ck_assert_uint_eq(build_world_hash(&world), hash);
    config.memory_max = memory.least;
    build_world_make(&world, &config);
    ck_assert_uint_gt(world.report.passes, passes);
    ck_assert_uint_eq(build_world_hash(&world), hash);
    build_world_fini(&world);
}
END_TEST

// The first pass has the whole block. In equal parts, with room for the links of all, it would be three.
START_TEST(a_pass_has_the_room_of_those_whose_turn_is_later)
{
    struct build_world world;
    struct build_config config = build_world_config(2);
    build_world_init(&world, 12000, 16);
    build_world_make(&world, &config);
    const uint64_t hash = build_world_hash(&world);
    const size_t all = world.count * (sizeof(struct reservoir) + sizeof(uint32_t));
    const size_t beside = world.report.memory_peak - all; // with clusters as they are
    ck_assert_uint_eq(world.report.passes, 1);
    config.memory_max = beside + all / 100 * 62;
    ck_assert_uint_ge(config.memory_max, build_world_memory(&world, &config).least);
    build_world_make(&world, &config);
    ck_assert_uint_eq(world.report.passes, 2);
    ck_assert_uint_le(world.report.memory_peak, config.memory_max);
    ck_assert_uint_eq(build_world_hash(&world), hash);
    build_world_fini(&world);
}
END_TEST

START_TEST(every_table_of_kernels_makes_the_same_graph)
{
    static const uint32_t dims[] = {2, 33, 128, 200};
    const struct kernels *list[4];
    const uint32_t tables = kernels_list(list);
    struct build_world world;
    struct build_config config = build_world_config(1);
    build_world_init(&world, 1500, dims[_i / 2]);
    if (_i % 2 == 1)
        build_world_quantize(&world, 30.0f);
    uint64_t hash = 0;
    for (uint32_t t = 0; t < tables; t++) {
        config.tiles = list[t]->tiles;
        build_world_make(&world, &config);
        hash = t == 0 ? build_world_hash(&world) : hash;
        ck_assert_msg(build_world_hash(&world) == hash, "%s", list[t]->name);
    }
    build_world_fini(&world);
}
END_TEST

START_TEST(leaves_may_be_small)
{
    static const uint32_t leaf_rows[] = {2, 20, 63, 64};
    struct build_world world;
    struct build_config config = build_world_config(2);
    config.leaf_rows = leaf_rows[_i];
    build_world_init(&world, 3000, 16);
    // Of leaves of two no whole graph may come.
    const omen_status status = build_world_run(&world, &config);
    if (status == OMEN_OK)
        build_world_check(&world);
    else
        ck_assert_int_eq(status, OMEN_E_UNSUPPORTED);
    ck_assert(status == OMEN_OK || leaf_rows[_i] < 20);
    build_world_fini(&world);
}
END_TEST

START_TEST(another_seed_makes_another_graph)
{
    struct build_world world;
    struct build_config config = build_world_config(1);
    build_world_init(&world, 3000, 16);
    build_world_make(&world, &config);
    const uint64_t hash = build_world_hash(&world);
    config.seed++;
    build_world_make(&world, &config);
    ck_assert_uint_ne(build_world_hash(&world), hash);
    build_world_fini(&world);
}
END_TEST

START_TEST(rows_of_any_length_are_built)
{
    static const uint32_t dims[] = {2, 3, 7, 100, 784, 1536, 4096};
    const uint32_t dim = dims[_i / 2], count = dim > 1000 ? 1100 : 2000;
    struct build_world world;
    const struct build_config config = build_world_config(2);
    build_world_init(&world, count, dim);
    if (_i % 2 == 1)
        build_world_quantize(&world, 40.0f);
    build_world_make(&world, &config);
    const double recall = build_world_recall(&world, 30, 64, 10);
    ck_assert_msg(recall >= 0.97, "recall %g", recall);
    build_world_fini(&world);
}
END_TEST

static void
copy_row(struct build_world *world, uint32_t from, uint32_t to)
{
    memcpy(world->floats + (size_t)to * world->dim, world->floats + (size_t)from * world->dim,
           world->dim * sizeof *world->floats);
}

// Without twins, with a few (all that is known of them is there, and nearly all rows are built), and with many.
START_TEST(a_limit_of_memory_is_kept_and_one_below_the_least_is_refused)
{
    static const uint32_t firsts[] = {5000, 4990, 2500};
    struct build_world world;
    struct build_config config = build_world_config(1 + (uint32_t)_i % 2 * 2);
    build_world_init(&world, 5000, 24);
    for (uint32_t row = firsts[_i / 2]; row < world.count; row++)
        copy_row(&world, row - firsts[_i / 2], row);
    if (_i % 2 == 1)
        build_world_quantize(&world, 40.0f);
    const struct build_memory memory = build_world_memory(&world, &config);
    const size_t limits[] = {memory.least, (memory.least + memory.most) / 2, memory.most};
    for (uint32_t i = 0; i < 3; i++) {
        config.memory_max = limits[i];
        build_world_make(&world, &config);
        ck_assert_uint_le(world.report.memory_peak, limits[i]);
    }
    ck_assert_uint_eq(world.report.passes, 1);
    config.memory_max = memory.least - 1;
    ck_assert_int_eq(build_world_run(&world, &config), OMEN_E_NO_MEMORY);
    ck_assert_ptr_null(world.graph.links);
    build_world_fini(&world);
}
END_TEST

// Each stage holds no more than was held at most, and one that much; who compares rows has read them. In one pass, and in several.
START_TEST(stages_hold_what_is_counted_and_read_what_they_compare)
{
    struct build_world world;
    struct build_config config = build_world_config(2);
    build_world_init(&world, 5000, 24);
    build_world_quantize(&world, 40.0f);
    if (_i == 1)
        config.memory_max = build_world_memory(&world, &config).least;
    build_world_make(&world, &config);
    const struct build_report *report = &world.report;
    const uint64_t row = world.width + sizeof(struct tile_numbers), all = world.count * row;
    uint64_t most = 0;
    for (int stage = 0; stage < BUILD_STAGES; stage++) {
        most = report->memory[stage] > most ? report->memory[stage] : most;
        ck_assert_int_eq(report->memory[stage] > 0, stage != BUILD_MAKER);
    }
    ck_assert_uint_eq(most, report->memory_peak);
    ck_assert(config.memory_max == 0 || most <= config.memory_max);
    const uint64_t graph = (uint64_t)world.count * (config.links_max * sizeof(uint32_t) + 1);
    ck_assert_uint_ge(report->memory_left, graph);
    ck_assert_uint_le(report->memory_left, graph + 8192); // two arrays' last pages
    ck_assert_uint_ge(report->memory[BUILD_LEAVES], report->memory[BUILD_CHOOSE]);
    ck_assert_uint_ge(report->read[BUILD_SAME], all);
    ck_assert_uint_ge(report->read[BUILD_PARTITION], all);
    ck_assert_uint_ge(report->read[BUILD_LEAVES], report->members * row);
    ck_assert_uint_ge(report->read[BUILD_CHOOSE], all);
    ck_assert_uint_ge(report->read[BUILD_REVERSE], report->chosen_again * row);
    ck_assert_uint_eq(report->read[BUILD_NARROW], 0);
    build_world_fini(&world);
}
END_TEST

// Near-copies of one row are all nearest to one leader: the cluster is larger than was thought.
START_TEST(a_limit_that_turns_out_too_small_is_kept)
{
    struct build_world world;
    struct build_config config = build_world_config(2);
    build_world_init(&world, 5000, 24);
    struct prng prng;
    prng_init(&prng, 3);
    for (uint32_t row = 1; row < world.count; row++) {
        if (row % 10 != 0)
            copy_row(&world, 0, row);
        world.floats[(size_t)row * world.dim] += 1e-3f * world_gauss(&prng);
    }
    const struct build_memory memory = build_world_memory(&world, &config);
    for (config.memory_max = memory.least; config.memory_max < memory.most;
         config.memory_max += (memory.most - memory.least) / 8) {
        const omen_status status = build_world_run(&world, &config);
        ck_assert(status == OMEN_OK || status == OMEN_E_NO_MEMORY);
        ck_assert_uint_le(world.report.memory_peak, config.memory_max);
        ck_assert_int_eq(world.graph.links != NULL, status == OMEN_OK);
        ck_assert_int_eq(world.report.memory_left > 0, status == OMEN_OK);
    }
    build_world_fini(&world);
}
END_TEST

START_TEST(equal_rows_are_found_and_keep_nobody_away)
{
    struct build_world world;
    const struct build_config config = build_world_config(2);
    build_world_init(&world, 6000, 32);
    for (uint32_t row = 0; row < world.count; row++)
        if (mix64(row) % 10 < 3 && row >= 5)
            copy_row(&world, (uint32_t)(mix64(row + 7) % 5), row);
    if (_i == 1)
        build_world_quantize(&world, 100.0f);
    build_world_make(&world, &config);
    ck_assert_uint_ge(world.report.twins, 1500);
    const double recall = build_world_recall(&world, 50, 64, 10);
    ck_assert_msg(recall >= 0.98, "recall %g", recall);
    build_world_fini(&world);
}
END_TEST

START_TEST(rows_that_are_all_equal_make_one_tree)
{
    struct build_world world;
    struct build_config config = build_world_config(2);
    build_world_init(&world, 5000, 16);
    for (uint32_t row = 1; row < world.count; row++)
        copy_row(&world, 0, row);
    config.links_max = _i == 0 ? 32 : 4;
    config.chosen = config.links_max * 3 / 4;
    build_world_make(&world, &config);
    ck_assert_uint_eq(world.report.twins, 4999);
    build_world_fini(&world);
}
END_TEST

// Three in ten rows lie in five clumps, each row as good as equal to the others.
START_TEST(clumps_of_near_copies_are_left_again)
{
    struct build_world world;
    const struct build_config config = build_world_config(2);
    build_world_init(&world, 8000, 48);
    struct prng prng;
    prng_init(&prng, 3);
    for (uint32_t row = 5; row < world.count; row++) {
        if (mix64(row) % 10 >= 3)
            continue;
        copy_row(&world, (uint32_t)(mix64(row + 7) % 5), row);
        for (uint32_t i = 0; i < world.dim; i++)
            world.floats[(size_t)row * world.dim + i] += 0.02f * world_gauss(&prng);
    }
    build_world_make(&world, &config);
    ck_assert_uint_lt(world.report.unreached, 80);
    const double recall = build_world_recall(&world, 50, 64, 10);
    ck_assert_msg(recall >= 0.95, "recall %g", recall);
    build_world_fini(&world);
}
END_TEST

// A row in the middle of others that are all as far from each other: everybody chooses it, and nobody is nearer to another.
START_TEST(a_row_that_many_choose_fills_all_its_places)
{
    static const uint32_t links_max[] = {32, 64, 128};
    struct build_world world;
    struct build_config config = build_config_for(links_max[_i]);
    config.threads = 2;
    build_world_init(&world, 600, 256);
    for (uint32_t row = 0; row < world.count; row++)
        for (uint32_t i = 0; i < world.dim; i++) {
            struct prng prng;
            prng_init(&prng, mix64(row) + i);
            world.floats[(size_t)row * world.dim + i] = row == 0 ? 0.0f : world_gauss(&prng);
        }
    build_world_make(&world, &config);
    ck_assert_uint_gt(world.report.chosen_again, 0);
    ck_assert_uint_eq(world.graph.counts[0], links_max[_i]);
    build_world_fini(&world);
}
END_TEST

// Clusters so far apart that no row has a neighbour in another.
START_TEST(clusters_far_apart_hang_together)
{
    struct build_world world;
    const struct build_config config = build_world_config(1);
    build_world_init(&world, 6000, 16);
    for (uint32_t row = 0; row < world.count; row++)
        world.floats[(size_t)row * world.dim] += 1e4f * (float)(row % 7);
    build_world_make(&world, &config);
    build_world_fini(&world);
}
END_TEST

// As many as may be given a link: each looked for in all rows would take the square of the rows.
START_TEST(many_clusters_far_apart_are_joined_in_a_few_looks_at_the_rows)
{
    struct build_world world;
    const struct build_config config = build_world_config(2);
    build_world_init(&world, 20000, 8);
    for (uint32_t row = 0; row < world.count; row++)
        for (uint32_t i = 0; i < world.dim; i++) {
            float *const at = &world.floats[(size_t)row * world.dim + i];
            *at = 0.1f * *at + 1e3f * (float)(mix64(row % 100 * world.dim + i) % 1000);
        }
    build_world_make(&world, &config);
    ck_assert_uint_gt(world.report.links_given, 50);
    ck_assert_uint_le(world.report.looks, 9);
    build_world_fini(&world);
}
END_TEST

struct watch {
    uint32_t calls, stop_at;
    uint64_t last;
};

static int
watch_progress(void *context, uint64_t done, uint64_t total)
{
    struct watch *watch = context;
    ck_assert_uint_le(done, total);
    ck_assert_uint_ge(done, watch->last);
    watch->last = done;
    return ++watch->calls == watch->stop_at;
}

START_TEST(a_progress_function_that_says_so_ends_the_build)
{
    struct build_world world;
    struct watch watch = {.stop_at = 1};
    struct build_config config = build_world_config(2);
    config.progress = watch_progress;
    config.context = &watch;
    build_world_init(&world, 20000, 96);
    ck_assert_int_eq(build_world_run(&world, &config), OMEN_E_CANCELLED);
    ck_assert_uint_eq(watch.calls, 1);
    ck_assert_ptr_null(world.graph.links);
    build_world_fini(&world);
}
END_TEST

// At its first call, its second, and so on, in longer and longer steps, until there are no more; how many there are is a matter of time.
START_TEST(a_build_that_is_ended_at_any_moment_leaves_nothing_behind)
{
    struct build_world world;
    struct watch watch = {.stop_at = 0};
    struct build_config config = build_world_config(2);
    omen_status status = OMEN_E_CANCELLED;
    config.progress = watch_progress;
    config.context = &watch;
    build_world_init(&world, 12000, 64);
    for (uint32_t row = 11000; row < world.count; row++)
        copy_row(&world, row - 11000, row);
    if (_i == 1)
        config.memory_max = build_world_memory(&world, &config).least;
    while (status != OMEN_OK) {
        watch = (struct watch){.stop_at = watch.stop_at + 1 + watch.stop_at / 4};
        status = build_world_run(&world, &config);
        ck_assert(status == OMEN_OK || status == OMEN_E_CANCELLED);
        ck_assert_int_eq(status == OMEN_E_CANCELLED, watch.calls == watch.stop_at);
        ck_assert_int_eq(world.graph.links != NULL, status == OMEN_OK);
        ck_assert_int_eq(world.report.memory_left > 0, status == OMEN_OK);
    }
    ck_assert_uint_gt(watch.stop_at, 1);
    build_world_check(&world);
    build_world_fini(&world);
}
END_TEST

START_TEST(refused_memory_leaves_nothing_behind)
{
    struct build_world world;
    const struct build_config config = build_world_config(1);
    build_world_init(&world, 2600, 16);
    for (uint32_t row = 2000; row < world.count; row++)
        copy_row(&world, row - 2000, row);
    for (uint64_t n = 1;; n++) {
        mem_fail_after(n);
        const omen_status status = build_world_run(&world, &config);
        mem_fail_after(0);
        if (status == OMEN_OK)
            break;
        ck_assert_int_eq(status, OMEN_E_NO_MEMORY);
        ck_assert_ptr_null(world.graph.links);
        ck_assert_uint_eq(world.report.memory_left, 0);
        ck_assert_uint_lt(n, 2000);
    }
    build_world_check(&world);
    build_world_fini(&world);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("build");
    TCase *graphs = tcase_create("graphs");
    tcase_add_loop_test(graphs, walks_find_what_a_scan_finds, 0, 2 * ALONE);
    tcase_add_loop_test(graphs, few_rows_make_whole_graphs, 0, 2);
    tcase_add_test(graphs, no_rows_make_an_empty_graph);
    // Not the long ones: what is done for each component has no thread.
    tcase_add_loop_test(graphs, rows_of_any_length_are_built, 0, FEWER_UNDER_TSAN(8, 14));
    tcase_add_loop_test(graphs, leaves_may_be_small, 0, 4);
    suite_add_tcase(suite, graphs);
    TCase *same = tcase_create("same");
    tcase_add_loop_test(same, any_number_of_threads_and_any_memory_make_the_same_graph, 0, 2);
    tcase_add_test(same, a_pass_has_the_room_of_those_whose_turn_is_later);
    tcase_add_loop_test(same, every_table_of_kernels_makes_the_same_graph, 0, 8 * ALONE);
    tcase_add_test(same, another_seed_makes_another_graph);
    suite_add_tcase(suite, same);
    TCase *hard = tcase_create("hard");
    tcase_add_loop_test(hard, equal_rows_are_found_and_keep_nobody_away, 0, 2);
    tcase_add_loop_test(hard, rows_that_are_all_equal_make_one_tree, 0, 2);
    tcase_add_test(hard, clumps_of_near_copies_are_left_again);
    tcase_add_loop_test(hard, a_row_that_many_choose_fills_all_its_places, 0, 3);
    tcase_add_test(hard, clusters_far_apart_hang_together);
    tcase_add_test(hard, many_clusters_far_apart_are_joined_in_a_few_looks_at_the_rows);
    suite_add_tcase(suite, hard);
    TCase *ends = tcase_create("ends");
    tcase_add_test(ends, a_progress_function_that_says_so_ends_the_build);
    tcase_add_loop_test(ends, a_build_that_is_ended_at_any_moment_leaves_nothing_behind, 0,
                        2 * ALONE);
    tcase_add_loop_test(ends, refused_memory_leaves_nothing_behind, 0, ALONE);
    tcase_add_loop_test(ends, stages_hold_what_is_counted_and_read_what_they_compare, 0, 2);
    tcase_add_loop_test(ends, a_limit_of_memory_is_kept_and_one_below_the_least_is_refused, 0, 6);
    tcase_add_test(ends, a_limit_that_turns_out_too_small_is_kept);
    suite_add_tcase(suite, ends);
    return suite;
}
CHECK_MAIN(suite)
