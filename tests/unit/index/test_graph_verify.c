// tests/unit/index/test_graph_verify.c -- link rows from elsewhere: what a graph wrote passes, every kind of damage does not.
#include <string.h>

#include "index/graph.h"
#include "index/graph_verify.h"
#include "tests/lib/check_main.h"

#define ROWS 40u

static uint8_t rows[ROWS * 4 * GRAPH_BLOCK_BYTES];
static struct omen_error error;

static uint32_t
row_bytes(uint32_t links_max)
{
    return (links_max + GRAPH_BLOCK_LINKS - 1) / GRAPH_BLOCK_LINKS * GRAPH_BLOCK_BYTES;
}

static void
put(uint32_t links_max, uint32_t slot, uint32_t place, uint32_t link)
{
    uint8_t *at = rows + slot * row_bytes(links_max) + place * 3;
    at[0] = (uint8_t)link;
    at[1] = (uint8_t)(link >> 8);
    at[2] = (uint8_t)(link >> 16);
}

static void
refused_for(uint32_t links_max, const char *why)
{
    ck_assert_int_eq(graph_verify(rows, ROWS, links_max, &error), OMEN_E_CORRUPT);
    ck_assert_msg(strstr(error.text, why) != NULL, "\"%s\" does not say \"%s\"", error.text, why);
}

START_TEST(what_a_graph_wrote_is_accepted)
{
    static const uint32_t links_max[] = {1, 4, 32, 33, 128};
    struct graph graph;
    ck_assert_int_eq(graph_init(&graph, links_max[_i], ROWS), OMEN_OK);
    ck_assert_int_eq(arena_reserve(&graph.rows, ROWS), OMEN_OK);
    graph_clear(&graph, 0, ROWS);
    const uint32_t count = links_max[_i] < ROWS - 1 ? links_max[_i] : ROWS - 1;
    for (uint32_t slot = 0; slot < ROWS; slot++) {
        uint32_t links[LINK_ROW_MAX];
        for (uint32_t i = 0; i < count; i++)
            links[i] = (slot + 1 + i) % ROWS;
        graph_lock(&graph, slot);
        graph_write_locked(&graph, slot, links, slot % (count + 1));
        graph_unlock(&graph, slot);
        memcpy(rows + slot * row_bytes(links_max[_i]), arena_row(&graph.rows, slot),
               row_bytes(links_max[_i]));
    }
    ck_assert_int_eq(graph_verify(rows, ROWS, links_max[_i], &error), OMEN_OK);
    graph_fini(&graph);
}
END_TEST

START_TEST(every_kind_of_damage_is_named)
{
    memset(rows, 0xff, sizeof rows);
    ck_assert_int_eq(graph_verify(rows, ROWS, 32, &error), OMEN_OK);
    put(32, 7, 0, ROWS - 1);
    ck_assert_int_eq(graph_verify(rows, ROWS, 32, &error), OMEN_OK);
    put(32, 7, 0, ROWS);
    refused_for(32, "row 7: a link to 40 of 40 rows");
    put(32, 7, 0, 7);
    refused_for(32, "row 7: a link to itself");
    put(32, 7, 0, 3);
    put(32, 7, 1, 3);
    refused_for(32, "row 7: two links to 3");
    put(32, 7, 1, GRAPH_EMPTY);
    put(32, 7, 2, 4);
    refused_for(32, "row 7: a link in place 2 behind an empty one");
}
END_TEST

START_TEST(one_link_more_than_the_most_is_refused)
{
    memset(rows, 0xff, sizeof rows);
    for (uint32_t i = 0; i < 4; i++)
        put(4, 0, i, i + 1);
    ck_assert_int_eq(graph_verify(rows, ROWS, 4, &error), OMEN_OK);
    put(4, 0, 4, 9);
    refused_for(4, "row 0: more than 4 links");
}
END_TEST

static Suite *
graph_verify_suite(void)
{
    Suite *suite = suite_create("graph_verify");
    TCase *tcase = tcase_create("graph_verify");
    tcase_add_loop_test(tcase, what_a_graph_wrote_is_accepted, 0, 5);
    tcase_add_test(tcase, every_kind_of_damage_is_named);
    tcase_add_test(tcase, one_link_more_than_the_most_is_refused);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(graph_verify_suite)
