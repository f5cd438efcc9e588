// tests/unit/index/test_build_narrow.c -- short copies of long rows: made where they will do, and only there.
//
// Labels: tsan
#include "base/alloc.h"
#include "tests/lib/build_world.h"

#define ROWS 8192u // the fewest that are copied
#define DIM 256u   // the shortest rows that are
// So many that with so many bytes a row copies are made as they are wanted, in several passes.
#define WANTED_ROWS 16384u
#define WANTED_BYTES 450u

// Rows of bytes that differ in few directions.
static void
open_world(struct build_world *world, uint32_t rows, uint32_t dim)
{
    build_world_init(world, rows, dim);
    build_world_quantize(world, 30.0f);
}

// The rows anew, of numbers by chance, which differ in all directions alike.
static void
fill_by_chance(struct build_world *world, uint32_t from)
{
    struct prng prng;
    prng_init(&prng, 9);
    for (uint32_t row = from; row < world->count; row++)
        for (uint32_t i = 0; i < world->dim; i++) {
            const float value = rintf(30.0f * world_gauss(&prng));
            world->bytes[(size_t)row * world->width + i] =
                (int8_t)fminf(fmaxf(value, -127.0f), 127.0f);
        }
}

START_TEST(copies_lead_to_as_much_as_whole_rows)
{
    struct build_world world;
    struct build_config config = build_world_config(2);
    open_world(&world, ROWS, DIM);
    build_world_make(&world, &config);
    ck_assert_uint_gt(world.report.narrow, 0);
    ck_assert_uint_le(world.report.narrow, DIM / 2);
    const double copies = build_world_recall(&world, 100, 64, 10);
    config.memory_max = build_world_memory(&world, &config).least;
    build_world_make(&world, &config);
    ck_assert_uint_eq(world.report.narrow, 0);
    const double whole = build_world_recall(&world, 100, 64, 10);
    ck_assert_msg(copies >= whole - 0.01, "recall %g, of whole rows %g", copies, whole);
    build_world_fini(&world);
}
END_TEST

// One thread, three, and three that make copies as they are wanted, in several passes.
START_TEST(any_number_of_threads_and_any_room_for_copies_make_the_same_graph)
{
    static const size_t limits[] = {0, 0, (size_t)WANTED_BYTES * WANTED_ROWS};
    struct build_world world;
    uint64_t hash = 0;
    open_world(&world, WANTED_ROWS, DIM);
    for (uint32_t i = 0; i < 3; i++) {
        struct build_config config = build_world_config(i == 0 ? 1 : 3);
        config.memory_max = limits[i];
        build_world_make(&world, &config);
        ck_assert_uint_gt(world.report.narrow, 0);
        ck_assert_int_eq(world.report.passes > 1, config.memory_max > 0);
        ck_assert(config.memory_max == 0 || world.report.memory_peak <= config.memory_max);
        hash = i == 0 ? build_world_hash(&world) : hash;
        ck_assert_uint_eq(build_world_hash(&world), hash);
    }
    build_world_fini(&world);
}
END_TEST

static const struct {
    uint32_t rows, dim;
    bool copied;
} shapes[] = {{ROWS, DIM, true}, {ROWS - 1, DIM, false}, {ROWS, DIM - 4, false}};
#define SHAPES ((int)(sizeof shapes / sizeof *shapes))

START_TEST(few_rows_and_short_ones_are_compared_whole)
{
    struct build_world world;
    const struct build_config config = build_world_config(2);
    open_world(&world, shapes[_i].rows, shapes[_i].dim);
    ck_assert_int_eq(build_world_run(&world, &config), OMEN_OK);
    ck_assert_int_eq(world.report.narrow > 0, shapes[_i].copied);
    build_world_fini(&world);
}
END_TEST

// What would find the axes of long rows takes the square of their length; queries under ip are not like the rows. Copies would be most
// of the memory.
START_TEST(rows_that_are_too_long_or_have_extras_are_compared_whole)
{
    const struct build_config config = build_world_config(1);
    struct build_rows rows = {.kind = BUILD_BYTES, .count = ROWS, .width = 4096};
    const size_t copied = build_memory(&rows, &config).most;
    rows.width = 4100;
    ck_assert_uint_lt(build_memory(&rows, &config).most, copied);
    rows.width = 4096;
    rows.extras = true;
    ck_assert_uint_lt(build_memory(&rows, &config).most, copied);
}
END_TEST

START_TEST(rows_that_differ_in_all_directions_are_compared_whole)
{
    struct build_world world;
    const struct build_config config = build_world_config(2);
    open_world(&world, ROWS, DIM);
    fill_by_chance(&world, 0);
    build_world_make(&world, &config);
    ck_assert_uint_eq(world.report.narrow, 0);
    build_world_fini(&world);
}
END_TEST

// Half of the rows lie in clumps of near-copies, which differ in all directions: of those copies would keep nothing apart.
START_TEST(clumps_of_near_copies_are_compared_whole)
{
    struct build_world world;
    const struct build_config config = build_world_config(2);
    open_world(&world, ROWS, DIM);
    struct prng prng;
    prng_init(&prng, 3);
    for (uint32_t row = 5; row < ROWS; row += 2)
        for (uint32_t i = 0; i < DIM; i++) {
            const int8_t of = world.bytes[(size_t)(row % 5) * world.width + i];
            const float value = (float)of + rintf(3.0f * world_gauss(&prng));
            world.bytes[(size_t)row * world.width + i] =
                (int8_t)fminf(fmaxf(value, -127.0f), 127.0f);
        }
    build_world_make(&world, &config);
    ck_assert_uint_eq(world.report.narrow, 0);
    build_world_fini(&world);
}
END_TEST

// Of rows in 20 dimensions the axes after those are zero, and copies as good as the rows.
START_TEST(rows_of_few_dimensions_have_no_more_axes)
{
    struct build_world world;
    const struct build_config config = build_world_config(2);
    open_world(&world, ROWS, DIM);
    for (uint32_t row = 0; row < ROWS; row++)
        for (uint32_t i = 20; i < DIM; i++) {
            world.bytes[(size_t)row * world.width + i] = 0;
            world.floats[(size_t)row * world.dim + i] = 0.0f;
        }
    build_world_make(&world, &config);
    ck_assert_uint_eq(world.report.narrow, 64);
    const double recall = build_world_recall(&world, 100, 64, 10);
    ck_assert_msg(recall >= 0.98, "recall %g", recall);
    build_world_fini(&world);
}
END_TEST

// The graph of a limit is that of copies or that of whole rows, and from some limit on that of copies, which are made as they are
// wanted where there is no room for all.
#define LIMITS 8u
START_TEST(a_limit_of_memory_is_kept_and_makes_one_of_two_graphs)
{
    struct build_world world;
    struct build_config config = build_world_config(2);
    open_world(&world, ROWS, DIM);
    const struct build_memory memory = build_world_memory(&world, &config);
    uint64_t hashes[2] = {0};
    uint32_t wanted = 0;
    for (uint32_t i = 0; i <= LIMITS; i++) {
        config.memory_max = memory.least + (memory.most - memory.least) * i / LIMITS;
        build_world_make(&world, &config);
        ck_assert_uint_le(world.report.memory_peak, config.memory_max);
        ck_assert(world.report.narrow > 0 || wanted == 0);
        wanted += world.report.narrow > 0 && i < LIMITS;
        uint64_t *const hash = &hashes[world.report.narrow > 0];
        ck_assert(*hash == 0 || *hash == build_world_hash(&world));
        *hash = build_world_hash(&world);
    }
    ck_assert_uint_gt(wanted, 0);
    ck_assert_uint_eq(world.report.passes, 1);
    ck_assert(hashes[0] != 0 && hashes[1] != 0);
    build_world_fini(&world);
}
END_TEST

// Each copy would be made too often.
START_TEST(rows_in_many_clusters_are_compared_whole_where_not_all_copies_have_room)
{
    struct build_world world;
    struct build_config config = build_world_config(2);
    config.fanout_far = INFINITY;
    open_world(&world, ROWS, DIM);
    build_world_make(&world, &config);
    ck_assert_uint_gt(world.report.narrow, 0);
    config.memory_max = build_world_memory(&world, &config).most - 1;
    build_world_make(&world, &config);
    ck_assert_uint_eq(world.report.narrow, 0);
    ck_assert_uint_le(world.report.memory_peak, config.memory_max);
    build_world_fini(&world);
}
END_TEST

// Copies of all rows, and those that are made as they are wanted.
START_TEST(refused_memory_leaves_nothing_behind)
{
    struct build_world world;
    struct build_config config = build_world_config(1);
    open_world(&world, ROWS, DIM);
    if (_i == 1)
        config.memory_max = build_world_memory(&world, &config).most - 1;
    for (uint64_t n = 1; n == 1 || world.report.narrow == 0; n++) {
        mem_fail_after(n);
        ck_assert_int_eq(build_world_run(&world, &config), OMEN_E_NO_MEMORY);
        mem_fail_after(0);
        ck_assert_ptr_null(world.graph.links);
        ck_assert_uint_eq(world.report.memory_left, 0);
        ck_assert_uint_lt(n, 100);
    }
    build_world_make(&world, &config);
    build_world_fini(&world);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("build_narrow");
    TCase *tcase = tcase_create("narrow");
    tcase_add_loop_test(tcase, copies_lead_to_as_much_as_whole_rows, 0, ALONE);
    tcase_add_test(tcase, any_number_of_threads_and_any_room_for_copies_make_the_same_graph);
    tcase_add_loop_test(tcase, few_rows_and_short_ones_are_compared_whole, 0, SHAPES * ALONE);
    tcase_add_test(tcase, rows_that_are_too_long_or_have_extras_are_compared_whole);
    tcase_add_loop_test(tcase, rows_that_differ_in_all_directions_are_compared_whole, 0, ALONE);
    tcase_add_loop_test(tcase, clumps_of_near_copies_are_compared_whole, 0, ALONE);
    tcase_add_loop_test(tcase, rows_of_few_dimensions_have_no_more_axes, 0, ALONE);
    tcase_add_loop_test(tcase, a_limit_of_memory_is_kept_and_makes_one_of_two_graphs, 0, ALONE);
    tcase_add_loop_test(
        tcase, rows_in_many_clusters_are_compared_whole_where_not_all_copies_have_room, 0, ALONE);
    tcase_add_loop_test(tcase, refused_memory_leaves_nothing_behind, 0, 2 * ALONE);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
