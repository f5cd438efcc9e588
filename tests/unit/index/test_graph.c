// tests/unit/index/test_graph.c -- rows of links, of 24 and of 32 bits.
#include <string.h>

#include "base/alloc.h"
#include "base/prng.h"
#include "index/graph.h"
#include "tests/lib/check_main.h"

#define SLOTS 100u

static const uint32_t links_counts[] = {1, 4, 31, 32, 33, 64, 66, 96, 97, 128};
#define LINKS_COUNTS ((int)(sizeof links_counts / sizeof links_counts[0]))
#define CASES (2 * LINKS_COUNTS) // of each, narrow links and wide ones

static struct graph graph;
static uint32_t limit; // no link is as large

// Returns how many links its rows have.
static uint32_t
open_graph(int number)
{
    const uint32_t links_max = links_counts[number / 2];
    const uint32_t slots_max = number % 2 == 0 ? GRAPH_SLOTS_24 : GRAPH_SLOTS_24 + 1;
    limit = number % 2 == 0 ? GRAPH_SLOTS_24 : UINT32_MAX - 1;
    ck_assert_int_eq(graph_init(&graph, links_max, slots_max), OMEN_OK);
    ck_assert_int_eq(graph.width, number % 2 == 0 ? LINKS_24 : LINKS_32);
    ck_assert_int_eq(arena_reserve(&graph.rows, SLOTS), OMEN_OK);
    graph_clear(&graph, 0, SLOTS);
    return links_max;
}

START_TEST(links_are_wide_where_slots_do_not_fit_24_bits)
{
    ck_assert_int_eq(link_width_for(1), LINKS_24);
    ck_assert_int_eq(link_width_for((1u << 24) - 2), LINKS_24);
    ck_assert_int_eq(link_width_for((1u << 24) - 1), LINKS_32);
    ck_assert_int_eq(link_width_for(UINT32_MAX - 1), LINKS_32);
    ck_assert_uint_eq(link_row_bytes(32, LINKS_24), 96);
    ck_assert_uint_eq(link_row_bytes(32, LINKS_32), 128);
    ck_assert_uint_eq(link_row_bytes(33, LINKS_32), 256);
}
END_TEST

START_TEST(a_cleared_row_has_no_links)
{
    open_graph(_i);
    uint32_t links[LINK_ROW_MAX];
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        ck_assert_uint_eq(graph_read(&graph, slot, limit, links), 0);
        ck_assert_uint_eq(graph_read_locked(&graph, slot, link_empty(graph.width), links), 0);
    }
    graph_fini(&graph);
}
END_TEST

START_TEST(rows_that_are_expected_are_empty_and_take_memory_when_they_are_written)
{
    const uint32_t expected = 10000;
    uint32_t links[LINK_ROW_MAX];
    ck_assert_int_eq(graph_init(&graph, 32, 20000), OMEN_OK);
    ck_assert_int_eq(arena_reserve(&graph.rows, SLOTS), OMEN_OK);
    graph_clear(&graph, 0, SLOTS);
    ck_assert_int_eq(graph_expect(&graph, expected), OMEN_OK);
    ck_assert_int_eq(arena_reserve(&graph.rows, expected), OMEN_OK);
    graph_clear(&graph, SLOTS, expected - SLOTS);
    const uint32_t second = graph.rows.mask + 1, third = 2 * second;
    ck_assert_uint_lt(third, expected);
    ck_assert(!arena_is_lent(&graph.rows, 0)); // it was there
    ck_assert(arena_is_lent(&graph.rows, second));
    for (uint32_t slot = 0; slot < expected; slot++)
        ck_assert_uint_eq(graph_read(&graph, slot, expected, links), 0);
    const uint32_t link = 7;
    graph_lock(&graph, third + 1);
    graph_write_locked(&graph, third + 1, &link, 1);
    graph_unlock(&graph, third + 1);
    ck_assert(arena_is_lent(&graph.rows, second));
    for (uint32_t slot = 0; slot < expected; slot++)
        ck_assert_uint_eq(graph_read(&graph, slot, expected, links), slot == third + 1);
    ck_assert_uint_eq(graph_read(&graph, third + 1, expected, links), 1);
    ck_assert_uint_eq(links[0], link);
    graph_fini(&graph);
}
END_TEST

START_TEST(what_is_written_is_read_in_its_order)
{
    const uint32_t links_max = open_graph(_i);
    struct prng prng = {.state = links_max};
    for (uint32_t count = 0; count <= links_max; count++) {
        uint32_t wrote[LINK_ROW_MAX], links[LINK_ROW_MAX];
        for (uint32_t i = 0; i < count; i++)
            wrote[i] = prng_below(&prng, limit);
        graph_write_locked(&graph, 7, wrote, count);
        ck_assert_uint_eq(graph_read(&graph, 7, limit, links), count);
        ck_assert_mem_eq(links, wrote, count * sizeof *links);
        ck_assert_uint_eq(graph_read_locked(&graph, 7, link_empty(graph.width), links), count);
        ck_assert_mem_eq(links, wrote, count * sizeof *links);
        ck_assert_uint_eq(graph_read(&graph, 6, limit, links), 0);
        ck_assert_uint_eq(graph_read(&graph, 8, limit, links), 0);
    }
    graph_fini(&graph);
}
END_TEST

START_TEST(appending_gives_the_row_that_writing_gives)
{
    const uint32_t links_max = open_graph(_i);
    uint32_t wrote[LINK_ROW_MAX];
    for (uint32_t i = 0; i < links_max; i++) {
        wrote[i] = limit - 1000 * i;
        graph_append_locked(&graph, 1, i, wrote[i]);
        graph_write_locked(&graph, 2, wrote, i + 1);
        ck_assert_mem_eq(arena_row(&graph.rows, 1), arena_row(&graph.rows, 2),
                         graph.rows.row_bytes);
    }
    graph_fini(&graph);
}
END_TEST

START_TEST(links_not_below_the_limit_are_left_out)
{
    const uint32_t links_max = open_graph(_i);
    uint32_t wrote[LINK_ROW_MAX], links[LINK_ROW_MAX], below = 0;
    for (uint32_t i = 0; i < links_max; i++) {
        wrote[i] = i % 3 == 0 ? 5000 + i : i;
        below += i % 3 != 0;
    }
    graph_write_locked(&graph, 3, wrote, links_max);
    ck_assert_uint_eq(graph_read(&graph, 3, 5000, links), below);
    for (uint32_t i = 0; i < below; i++)
        ck_assert_uint_eq(links[i], i / 2 * 3 + 1 + i % 2);
    ck_assert_uint_eq(graph_read(&graph, 3, 0, links), 0);
    graph_fini(&graph);
}
END_TEST

START_TEST(a_lock_is_free_again_after_unlock)
{
    open_graph(0);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        graph_lock(&graph, slot);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        graph_unlock(&graph, slot);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        ck_assert_uint_eq(graph.locks[slot], 0);
    graph_fini(&graph);
}
END_TEST

START_TEST(refused_memory_leaves_nothing_behind)
{
    for (uint64_t n = 1; n <= 2; n++) {
        mem_fail_after(n);
        ck_assert_int_eq(graph_init(&graph, 32, SLOTS), OMEN_E_NO_MEMORY);
        mem_fail_after(0);
        ck_assert_ptr_null((void *)graph.locks);
        graph_fini(&graph);
    }
}
END_TEST

static Suite *
graph_suite(void)
{
    Suite *suite = suite_create("graph");
    TCase *tcase = tcase_create("graph");
    tcase_add_test(tcase, links_are_wide_where_slots_do_not_fit_24_bits);
    tcase_add_loop_test(tcase, a_cleared_row_has_no_links, 0, CASES);
    tcase_add_test(tcase, rows_that_are_expected_are_empty_and_take_memory_when_they_are_written);
    tcase_add_loop_test(tcase, what_is_written_is_read_in_its_order, 0, CASES);
    tcase_add_loop_test(tcase, appending_gives_the_row_that_writing_gives, 0, CASES);
    tcase_add_loop_test(tcase, links_not_below_the_limit_are_left_out, 0, CASES);
    tcase_add_test(tcase, a_lock_is_free_again_after_unlock);
    tcase_add_test(tcase, refused_memory_leaves_nothing_behind);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(graph_suite)
