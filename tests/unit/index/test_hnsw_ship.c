// tests/unit/index/test_hnsw_ship.c -- a graph that is built elsewhere is the one that would have been built here, and takes its place.
#include <math.h>

#include "index/gauge.h"
#include "index/hnsw_bulk_int.h"
#include "tests/lib/ship_world.h"

struct kind {
    uint32_t dim;
    enum metric metric;
    enum vector_type type;
    enum hnsw_quantization quantization;
};

static const struct kind kinds[] = {
    {96, METRIC_L2, VECTOR_F32, HNSW_QUANTIZE_INT8},
    {96, METRIC_COSINE, VECTOR_F32, HNSW_QUANTIZE_INT8},
    {100, METRIC_IP, VECTOR_F16, HNSW_QUANTIZE_INT8},
    {2, METRIC_L2, VECTOR_F32, HNSW_QUANTIZE_INT8},
    {20, METRIC_IP, VECTOR_F32, HNSW_QUANTIZE_INT8},
    {64, METRIC_COSINE, VECTOR_U8, HNSW_QUANTIZE_INT8},
    {6, METRIC_L2, VECTOR_U8, HNSW_QUANTIZE_INT8},
    {64, METRIC_IP, VECTOR_I8, HNSW_QUANTIZE_INT8},
};
enum { KINDS = sizeof kinds / sizeof kinds[0], ROWS = 3000 };

static void
check_same(const struct build_graph *a, const struct build_graph *b)
{
    ck_assert_uint_eq(a->count, b->count);
    ck_assert_uint_eq(a->links_max, b->links_max);
    ck_assert_mem_eq(a->counts, b->counts, a->count);
    for (uint32_t row = 0; row < a->count; row++) {
        const size_t at = (size_t)row * a->links_max;
        CLAIM(memcmp(a->links + at, b->links + at, a->counts[row] * sizeof *a->links) == 0,
              "row %u has other links", row);
    }
}

START_TEST(a_graph_built_elsewhere_is_the_graph_built_here_whether_rows_are_linked_or_not)
{
    const struct kind *kind = &kinds[_i % KINDS];
    struct world world;
    struct shipped shipped;
    struct build_graph graph;
    world_init(&world, kind->dim, kind->metric, kind->type);
    world.config.quantization = kind->quantization;
    world_add(&world, ROWS);
    if (_i >= KINDS)
        for (uint32_t i = 0; i < ROWS / 2; i++)
            ck_assert(hnsw_link_next(world.hnsw, world.scratch));
    ship(&world, ROWS, &shipped);
    build_there(&shipped, &graph);
    struct hnsw_bulk *made;
    struct hnsw_bulk_report report;
    const struct hnsw_bulk_options options = {.threads = 1};
    ck_assert_int_eq(hnsw_bulk_make(world.hnsw, &options, &report, &made), OMEN_OK);
    check_same(&graph, &made->graph);
    hnsw_bulk_close(made);
    build_graph_close(&graph);
    free(shipped.bytes);
    world_fini(&world);
}
END_TEST

// 0: nothing was linked; 1: a part; 2: all, and rows behind those of the graph as well.
START_TEST(links_from_elsewhere_take_their_place_and_what_lies_behind_them_is_tail_again)
{
    struct world world;
    struct shipped shipped;
    struct build_graph graph;
    struct hnsw_links links;
    world_init_usual(&world);
    world_add(&world, ROWS);
    ship(&world, ROWS, &shipped);
    build_there(&shipped, &graph);
    if (_i == 1)
        for (uint32_t i = 0; i < ROWS / 2; i++)
            ck_assert(hnsw_link_next(world.hnsw, world.scratch));
    world_add(&world, 500);
    if (_i == 2)
        world_drain(&world);
    links_without(&graph, ROWS, 0, &links);
    put_in_place(&world, &links);
    ck_assert_uint_eq(hnsw_linked(world.hnsw), ROWS);
    ck_assert_uint_eq(hnsw_tail(world.hnsw), 500);
    world_check(&world);
    world_check_recall(&world, 60, 64, 0.97);
    world_drain(&world);
    ck_assert_uint_eq(hnsw_tail(world.hnsw), 0);
    ck_assert_uint_eq(world_check(&world), 0);
    world_check_recall(&world, 60, 64, 0.97);
    build_graph_close(&graph);
    free(shipped.bytes);
    world_fini(&world);
}
END_TEST

START_TEST(rows_that_went_leave_gaps_and_all_others_are_reached)
{
    struct world world;
    struct shipped shipped;
    struct build_graph graph;
    struct hnsw_links links;
    world_init_usual(&world);
    world_add(&world, ROWS);
    ship(&world, ROWS, &shipped);
    build_there(&shipped, &graph);
    for (uint32_t slot = 0; slot < ROWS; slot += 5)
        hnsw_erase(world.hnsw, slot);
    links_without(&graph, ROWS, 5, &links);
    put_in_place(&world, &links);
    world_check(&world);
    world_drain(&world);
    ck_assert(hnsw_idle(world.hnsw));
    ck_assert_uint_eq(world_check(&world), 0);
    world_check_recall(&world, 60, 64, 0.96);
    world_compact(&world);
    ck_assert_uint_eq(world_check(&world), 0);
    build_graph_close(&graph);
    free(shipped.bytes);
    world_fini(&world);
}
END_TEST

START_TEST(too_few_rows_and_flat_indexes_have_nothing_to_ship)
{
    struct world world;
    struct ship_shape shape;
    world_init_usual(&world);
    world.config.flat = _i == 1;
    world_add(&world, _i == 1 ? 2 * HNSW_FOUND_ROWS : HNSW_FOUND_ROWS - 1);
    ck_assert_int_eq(hnsw_ship_shape(world.hnsw, world.scratch, &shape), OMEN_E_NOT_FOUND);
    world_fini(&world);
}
END_TEST

START_TEST(shapes_and_rows_that_nothing_can_be_built_of_are_told)
{
    const struct ship_shape good = {.kind = BUILD_BYTES, .width = 64, .links_max = 32},
                            floats = {.kind = BUILD_FLOATS,
                                      .sketched = 1,
                                      .width = VECTOR_DIM_MAX + 1,
                                      .links_max = LINK_ROW_MAX};
    ck_assert(ship_shape_is_sound(&good));
    ck_assert(ship_shape_is_sound(&floats));
#define BAD(from, member, value)                                                                   \
    do {                                                                                           \
        struct ship_shape bad = from;                                                              \
        bad.member = value;                                                                        \
        ck_assert_msg(!ship_shape_is_sound(&bad), #member " = " #value);                           \
    } while (0)
    BAD(good, kind, 2);
    BAD(good, sketched, 2);
    BAD(good, extras, 2);
    BAD(good, far, 2);
    BAD(good, width, 0);
    BAD(good, width, 62);
    BAD(good, width, 4); // no sketch in so few
    BAD(good, width, VECTOR_DIM_MAX + 4);
    BAD(good, links_max, 1);
    BAD(good, links_max, LINK_ROW_MAX + 1);
    BAD(floats, sketched, 0);
    BAD(floats, width, 0);
    BAD(floats, width, VECTOR_DIM_MAX + 2);
#undef BAD
    struct ship_shape small = {.kind = BUILD_BYTES, .width = 8, .links_max = 2};
    float row[16] = {0};
    ck_assert_uint_eq(ship_row_bytes(&small), 3 * sizeof(float) + 8);
    ck_assert(ship_row_is_sound(&small, (const uint8_t *)row));
    row[3] = NAN; // components of bytes are whatever they are
    ck_assert(ship_row_is_sound(&small, (const uint8_t *)row));
    row[2] = INFINITY;
    ck_assert(!ship_row_is_sound(&small, (const uint8_t *)row));
    small.kind = BUILD_FLOATS;
    small.sketched = 1;
    row[2] = row[3] = 0.0f;
    ck_assert_uint_eq(ship_row_bytes(&small), sizeof row);
    ck_assert(ship_row_is_sound(&small, (const uint8_t *)row));
    row[15] = NAN;
    ck_assert(!ship_row_is_sound(&small, (const uint8_t *)row));
}
END_TEST

// ---- how good links are ----

static double
recall_of(struct gauge *gauge, const struct build_graph *graph)
{
    double recall = -1.0;
    ck_assert_int_eq(gauge_measure(gauge, graph, &recall), OMEN_OK);
    return recall;
}

START_TEST(a_gauge_tells_good_links_from_bad_ones_of_every_kind_of_rows)
{
    const struct kind *kind = &kinds[_i];
    struct world world;
    struct shipped shipped;
    struct build_graph graph;
    struct gauge *gauge;
    uint32_t *slots = malloc(ROWS * sizeof *slots);
    world_init(&world, kind->dim, kind->metric, kind->type);
    world_build(&world, ROWS);
    for (uint32_t i = 0; i < ROWS; i++)
        slots[i] = i;
    hnsw_erase(world.hnsw, 17); // is no answer, and no harm
    ship(&world, ROWS, &shipped);
    build_there(&shipped, &graph);
    ck_assert_int_eq(gauge_open(world.hnsw, slots, ROWS, 2, &gauge), OMEN_OK);
    const double built = recall_of(gauge, &graph), inserted = recall_of(gauge, NULL);
    ck_assert_double_ge(built, 0.95);
    ck_assert_double_ge(inserted, 0.95);
    ck_assert_double_eq(recall_of(gauge, &graph), built); // nothing is drawn
    // The same links, of other rows.
    for (uint32_t row = 0; row < ROWS; row++)
        for (uint32_t i = 0; i < graph.counts[row]; i++) {
            uint32_t *link = &graph.links[(size_t)row * graph.links_max + i];
            *link = (*link * 7u + 1u) % ROWS;
        }
    ck_assert_double_le(recall_of(gauge, &graph), built - 0.3);
    gauge_close(gauge);
    build_graph_close(&graph);
    free(shipped.bytes);
    free(slots);
    world_fini(&world);
}
END_TEST

START_TEST(a_gauge_of_few_rows_or_none)
{
    static const uint32_t slots[] = {3, 8, 1200};
    struct world world;
    struct gauge *gauge;
    struct build_graph graph;
    ck_assert_int_eq(build_graph_open(&graph, 3, 4), OMEN_OK); // without links
    world_init_usual(&world);
    world_build(&world, 1500);
    ck_assert_int_eq(gauge_open(world.hnsw, NULL, 0, 1, &gauge), OMEN_OK);
    ck_assert_ptr_null(gauge);
    ck_assert_int_eq(gauge_open(world.hnsw, slots, 3, 1, &gauge), OMEN_OK);
    ck_assert_double_eq(recall_of(gauge, &graph), 1.0); // they are the starts
    gauge_close(gauge);
    hnsw_erase(world.hnsw, 8);
    hnsw_erase(world.hnsw, 1200);
    ck_assert_int_eq(gauge_open(world.hnsw, slots, 3, 1, &gauge), OMEN_OK);
    ck_assert_double_eq(recall_of(gauge, &graph), 1.0);
    gauge_close(gauge);
    gauge_close(NULL);
    build_graph_close(&graph);
    world_fini(&world);
}
END_TEST

static Suite *
ship_suite(void)
{
    Suite *suite = suite_create("hnsw_ship");
    TCase *tcase = tcase_create("ship");
    tcase_set_timeout(tcase, 300);
    tcase_add_loop_test(
        tcase, a_graph_built_elsewhere_is_the_graph_built_here_whether_rows_are_linked_or_not, 0,
        2 * KINDS);
    tcase_add_loop_test(
        tcase, links_from_elsewhere_take_their_place_and_what_lies_behind_them_is_tail_again, 0, 3);
    tcase_add_test(tcase, rows_that_went_leave_gaps_and_all_others_are_reached);
    tcase_add_loop_test(tcase, too_few_rows_and_flat_indexes_have_nothing_to_ship, 0, 2);
    tcase_add_test(tcase, shapes_and_rows_that_nothing_can_be_built_of_are_told);
    tcase_add_loop_test(tcase, a_gauge_tells_good_links_from_bad_ones_of_every_kind_of_rows, 0,
                        KINDS);
    tcase_add_test(tcase, a_gauge_of_few_rows_or_none);
    suite_add_tcase(suite, tcase);
    return suite;
}
CHECK_MAIN(ship_suite)
