// tests/unit/index/test_hnsw.c -- a row's life up to linking, and what is said about it.
#include "tests/lib/index_world.h"

static struct world world;

static void
refuse_each_allocation(omen_status (*call)(void), void (*unchanged)(void))
{
    uint64_t n = 1;
    for (;; n++) {
        mem_fail_after(n);
        const omen_status status = call();
        const bool refused = mem_refused() > 0;
        mem_fail_after(0);
        if (!refused) {
            ck_assert_int_eq(status, OMEN_OK);
            break;
        }
        ck_assert_int_eq(status, OMEN_E_NO_MEMORY);
        unchanged();
    }
    ck_assert_uint_gt(n, 2);
}

static omen_status
call_open(void)
{
    return hnsw_open(&world.config, &world.hnsw);
}

static void
nothing_opened(void)
{
    ck_assert_ptr_null(world.hnsw);
}

START_TEST(opening_without_memory_leaves_nothing)
{
    world_init(&world, 64, METRIC_L2, VECTOR_F32);
    world.config.flat = _i == 1;
    refuse_each_allocation(call_open, nothing_opened);
    world_check(&world);
    world_fini(&world);
}
END_TEST

static omen_status
call_reserve(void)
{
    return hnsw_reserve(world.hnsw, 20000);
}

static void
rows_as_before(void)
{
    ck_assert_uint_eq(world.hnsw->reserved, 2);
    ck_assert_uint_eq(hnsw_count(world.hnsw), 2);
    ck_assert_uint_eq(world_check(&world), 0);
}

START_TEST(reserving_without_memory_changes_nothing)
{
    world_init(&world, 4096, METRIC_L2, VECTOR_F32);
    world_add(&world, 2);
    refuse_each_allocation(call_reserve, rows_as_before);
    ck_assert_uint_eq(world.hnsw->reserved, 20000);
    world_fini(&world);
}
END_TEST

START_TEST(the_last_slot_is_given_and_none_beyond_it)
{
    world_init(&world, 1, METRIC_L2, VECTOR_F32);
    world.config.slots_max = 3000;
    world_open(&world);
    ck_assert_int_eq(hnsw_reserve(world.hnsw, 3001), OMEN_E_FULL);
    ck_assert_uint_eq(world.hnsw->reserved, 0);
    world_build(&world, 3000);
    ck_assert_int_eq(hnsw_reserve(world.hnsw, 3001), OMEN_E_FULL);
    ck_assert_int_eq(hnsw_reserve(world.hnsw, UINT32_MAX), OMEN_E_FULL);
    ck_assert_int_eq(hnsw_reserve(world.hnsw, 3000), OMEN_OK);
    ck_assert_uint_eq(hnsw_count(world.hnsw), 3000);
    ck_assert_uint_eq(world_check(&world), 0);
    ck_assert_double_gt(world_recall(&world, 20, 10, 50), 0.95);
    world_fini(&world);
}
END_TEST

START_TEST(an_index_of_all_slots_can_be_opened)
{
    world_init(&world, 1, METRIC_L2, VECTOR_U8);
    world.config.slots_max = SLOTS_MAX;
    world_open(&world);
    ck_assert_int_eq(hnsw_reserve(world.hnsw, SLOTS_MAX + 1), OMEN_E_FULL);
    world_add(&world, 5);
    ck_assert_uint_eq(hnsw_count(world.hnsw), 5);
    world_fini(&world);
}
END_TEST

// Builds, erases, repairs and compacts.
static void
world_live_through(struct world *each, uint32_t slots_max)
{
    world_init(each, 64, METRIC_L2, VECTOR_F32);
    each->config.slots_max = slots_max;
    each->config.links = 24; // two blocks a row
    world_build(each, 3000);
    for (uint32_t slot = 0; slot < 3000; slot += 3)
        hnsw_erase(each->hnsw, slot);
    world_drain(each);
    world_compact(each);
    world_build(each, 500);
    ck_assert_uint_eq(world_check(each), 0);
}

START_TEST(wide_links_answer_as_narrow_ones_do)
{
    static struct world wide;
    world_live_through(&world, 40000);
    world_live_through(&wide, GRAPH_SLOTS_24 + 1);
    ck_assert_int_eq(world.hnsw->graph.width, LINKS_24);
    ck_assert_int_eq(wide.hnsw->graph.width, LINKS_32);
    for (uint32_t q = 0; q < 200; q++) {
        float vector[64];
        struct hit hits[2][10];
        struct hnsw_work work[2] = {{0}, {0}};
        law_draw(&world.law, &world.law.queries, vector);
        struct hnsw_query query = world_query(vector, 10, 20);
        query.work = &work[0];
        const uint32_t count = hnsw_search(world.hnsw, &query, world.scratch, hits[0]);
        query.work = &work[1];
        ck_assert_uint_eq(hnsw_search(wide.hnsw, &query, wide.scratch, hits[1]), count);
        ck_assert_mem_eq(hits[0], hits[1], count * sizeof hits[0][0]);
        ck_assert_mem_eq(&work[0], &work[1], sizeof work[0]);
    }
    world_fini(&world);
    world_fini(&wide);
}
END_TEST

START_TEST(rows_are_kept_as_given_whatever_their_stride)
{
    world_init(&world, 5, METRIC_L2, VECTOR_I8);
    world_open(&world);
    // Over the edge of a chunk, side by side and apart.
    const uint32_t rows = 70000;
    int8_t *given = malloc((size_t)rows * 8);
    struct prng prng = {.state = 8};
    for (uint32_t i = 0; i < rows * 8; i++)
        given[i] = (int8_t)prng_below(&prng, 256);
    world.config.slots_max = 2 * rows;
    hnsw_close(world.hnsw);
    ck_assert_int_eq(hnsw_open(&world.config, &world.hnsw), OMEN_OK);
    ck_assert_int_eq(hnsw_reserve(world.hnsw, 2 * rows), OMEN_OK);
    ck_assert_uint_eq(hnsw_append(world.hnsw, given, 5, rows), 0);
    ck_assert_uint_eq(hnsw_append(world.hnsw, given, 8, rows), rows);
    for (uint32_t i = 0; i < rows; i++) {
        CLAIM(memcmp(hnsw_row(world.hnsw, i), given + (size_t)i * 5, 5) == 0, "row %u", i);
        CLAIM(memcmp(hnsw_row(world.hnsw, rows + i), given + (size_t)i * 8, 5) == 0, "row %u",
              rows + i);
    }
    free(given);
    world_fini(&world);
}
END_TEST

START_TEST(appended_rows_answer_once_they_are_published)
{
    world_init(&world, 2, METRIC_L2, VECTOR_F32);
    world_add(&world, 10);
    world_reserve(&world, 2);
    const float rows[4] = {50, 50, 51, 51};
    const struct hnsw_query query = world_query(rows, 12, 12);
    struct hit hits[12];
    ck_assert_uint_eq(hnsw_append(world.hnsw, rows, 8, 2), 10);
    ck_assert_uint_eq(hnsw_count(world.hnsw), 10);
    ck_assert_uint_eq(hnsw_search(world.hnsw, &query, world.scratch, hits), 10);
    ck_assert_float_gt(hits[0].distance, 0.0f);
    hnsw_publish(world.hnsw);
    ck_assert_uint_eq(hnsw_search(world.hnsw, &query, world.scratch, hits), 12);
    ck_assert_uint_eq(hits[0].slot, 10);
    ck_assert_float_eq(hits[0].distance, 0.0f);
    ck_assert_float_eq(hits[1].distance, 2.0f);
    world_fini(&world);
}
END_TEST

START_TEST(the_counts_follow_a_rows_life)
{
    world_init(&world, 64, METRIC_L2, VECTOR_F32);
    world_add(&world, HNSW_FOUND_ROWS - 1);
    ck_assert(!hnsw_founded(world.hnsw));
    ck_assert(hnsw_idle(world.hnsw));
    ck_assert(!hnsw_link_next(world.hnsw, world.scratch));
    ck_assert(!hnsw_repair_next(world.hnsw, world.scratch));
    ck_assert_str_eq(hnsw_code_name(world.hnsw), "none");
    ck_assert_uint_eq(hnsw_tail(world.hnsw), HNSW_FOUND_ROWS - 1);

    world_add(&world, 1);
    ck_assert(hnsw_founded(world.hnsw));
    ck_assert(!hnsw_idle(world.hnsw));
    ck_assert(hnsw_link_next(world.hnsw, world.scratch));
    ck_assert_uint_eq(hnsw_tail(world.hnsw), HNSW_FOUND_ROWS - 1);
    ck_assert_str_eq(hnsw_code_name(world.hnsw), "nibble+byte");

    ck_assert(hnsw_erase(world.hnsw, 700));
    ck_assert(!hnsw_erase(world.hnsw, 700));
    ck_assert(hnsw_erased(world.hnsw, 700));
    ck_assert(!hnsw_erased(world.hnsw, 701));
    ck_assert_uint_eq(hnsw_live(world.hnsw), HNSW_FOUND_ROWS - 1);
    ck_assert_uint_eq(hnsw_count(world.hnsw), HNSW_FOUND_ROWS);
    world_drain(&world);
    ck_assert(hnsw_idle(world.hnsw));
    ck_assert_uint_eq(hnsw_tail(world.hnsw), 0);
    ck_assert_double_gt(hnsw_links_mean(world.hnsw), 4.0);
    ck_assert_double_le(hnsw_links_mean(world.hnsw), 2.0 * world.config.links);
    world_check(&world);
    world_fini(&world);
}
END_TEST

START_TEST(a_flat_index_has_nothing_to_do)
{
    world_init(&world, 64, METRIC_L2, VECTOR_F32);
    world.config.flat = true;
    world_add(&world, 2000);
    ck_assert(!hnsw_founded(world.hnsw));
    ck_assert(!hnsw_link_next(world.hnsw, world.scratch));
    hnsw_erase(world.hnsw, 3);
    ck_assert(!hnsw_repair_next(world.hnsw, world.scratch));
    ck_assert(hnsw_idle(world.hnsw));
    ck_assert_uint_eq(world_check(&world), 0);
    ck_assert_double_eq(hnsw_links_mean(world.hnsw), 0.0);
    struct hnsw_memory memory;
    hnsw_memory(world.hnsw, &memory);
    ck_assert_uint_eq(memory.links, 0);
    ck_assert_uint_eq(memory.codes, 0);
    world_fini(&world);
}
END_TEST

START_TEST(memory_is_what_the_rows_take)
{
    world_init(&world, 128, METRIC_L2, VECTOR_F16);
    world_build(&world, 5000);
    struct hnsw_memory memory;
    hnsw_memory(world.hnsw, &memory);
    const size_t slack = 3 * 4096 + 1000;
    ck_assert_uint_ge(memory.rows, 5000 * 256);
    ck_assert_uint_le(memory.rows, 5000 * 256 + slack);
    ck_assert_uint_ge(memory.codes, 5000 * (128 + 8));
    ck_assert_uint_le(memory.codes, 5000 * (128 + 8) + slack);
    ck_assert_uint_ge(memory.links, 5000 * 96);
    ck_assert_uint_le(memory.links, 5000 * 96 + slack);
    ck_assert_uint_lt(memory.other, 60000);
    world_fini(&world);
}
END_TEST

START_TEST(closing_nothing_is_accepted)
{
    hnsw_close(NULL);
    scratch_close(NULL);
    world_init(&world, 3, METRIC_IP, VECTOR_BF16);
    world_open(&world); // an index without rows
    const float vector[3] = {1, 2, 3};
    struct hit hits[5];
    struct hnsw_query query = world_query(vector, 5, 5);
    ck_assert_uint_eq(hnsw_search(world.hnsw, &query, world.scratch, hits), 0);
    ck_assert_uint_eq(hnsw_scan(world.hnsw, &query, world.scratch, hits), 0);
    ck_assert_uint_eq(world_check(&world), 0);
    ck_assert(hnsw_idle(world.hnsw));
    world_fini(&world);
}
END_TEST

static Suite *
hnsw_suite(void)
{
    Suite *suite = suite_create("hnsw");
    TCase *tcase = tcase_create("hnsw");
    tcase_add_loop_test(tcase, opening_without_memory_leaves_nothing, 0, 2);
    tcase_add_test(tcase, reserving_without_memory_changes_nothing);
    tcase_add_test(tcase, the_last_slot_is_given_and_none_beyond_it);
    tcase_add_test(tcase, an_index_of_all_slots_can_be_opened);
    tcase_add_test(tcase, wide_links_answer_as_narrow_ones_do);
    tcase_add_test(tcase, rows_are_kept_as_given_whatever_their_stride);
    tcase_add_test(tcase, appended_rows_answer_once_they_are_published);
    tcase_add_test(tcase, the_counts_follow_a_rows_life);
    tcase_add_test(tcase, a_flat_index_has_nothing_to_do);
    tcase_add_test(tcase, memory_is_what_the_rows_take);
    tcase_add_test(tcase, closing_nothing_is_accepted);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(hnsw_suite)
