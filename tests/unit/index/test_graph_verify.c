// tests/unit/index/test_graph_verify.c -- link rows from elsewhere: what a graph wrote passes, every kind of damage does not.
#include <string.h>

#include "index/graph.h"
#include "index/graph_verify.h"
#include "tests/lib/check_main.h"

#define ROWS 40u

static uint8_t bytes[ROWS * 4 * GRAPH_BLOCK_LINKS * LINKS_32];
static struct link_rows rows;
static struct omen_error error;

// Every test runs with narrow links and with wide ones.
static void
rows_of(uint32_t links_max, int wide)
{
    rows = (struct link_rows){.bytes = bytes,
                              .count = ROWS,
                              .links_max = links_max,
                              .width = wide != 0 ? LINKS_32 : LINKS_24,
                              .slots = ROWS};
    memset(bytes, 0xff, sizeof bytes);
}

static void
put(uint32_t slot, uint32_t place, uint32_t link)
{
    const uint32_t width = (uint32_t)rows.width;
    uint8_t *at = bytes + slot * link_row_bytes(rows.links_max, rows.width) + place * width;
    for (uint32_t b = 0; b < width; b++)
        at[b] = (uint8_t)(link >> 8 * b);
}

static void
refused_for(const char *why)
{
    ck_assert_int_eq(graph_verify(&rows, &error), OMEN_E_CORRUPT);
    ck_assert_msg(strstr(error.text, why) != NULL, "\"%s\" does not say \"%s\"", error.text, why);
}

START_TEST(what_a_graph_wrote_is_accepted)
{
    static const uint32_t links_max[] = {1, 4, 32, 33, 128};
    struct graph graph;
    rows_of(links_max[_i / 2], _i % 2);
    const uint32_t slots_max = _i % 2 == 0 ? ROWS : 1u << 24;
    ck_assert_int_eq(graph_init(&graph, rows.links_max, slots_max), OMEN_OK);
    ck_assert_int_eq(graph.width, rows.width);
    ck_assert_int_eq(arena_reserve(&graph.rows, ROWS), OMEN_OK);
    graph_clear(&graph, 0, ROWS);
    const uint32_t row_bytes = link_row_bytes(rows.links_max, rows.width);
    const uint32_t count = rows.links_max < ROWS - 1 ? rows.links_max : ROWS - 1;
    for (uint32_t slot = 0; slot < ROWS; slot++) {
        uint32_t links[LINK_ROW_MAX];
        for (uint32_t i = 0; i < count; i++)
            links[i] = (slot + 1 + i) % ROWS;
        graph_lock(&graph, slot);
        graph_write_locked(&graph, slot, links, slot % (count + 1));
        graph_unlock(&graph, slot);
        memcpy(bytes + slot * row_bytes, arena_row(&graph.rows, slot), row_bytes);
    }
    ck_assert_int_eq(graph_verify(&rows, &error), OMEN_OK);
    // The same rows from the tenth on.
    rows.bytes = bytes + 10 * row_bytes;
    rows.first = 10;
    rows.count = ROWS - 10;
    ck_assert_int_eq(graph_verify(&rows, &error), OMEN_OK);
    graph_fini(&graph);
}
END_TEST

START_TEST(every_kind_of_damage_is_named)
{
    rows_of(32, _i);
    ck_assert_int_eq(graph_verify(&rows, &error), OMEN_OK);
    put(7, 0, ROWS - 1);
    ck_assert_int_eq(graph_verify(&rows, &error), OMEN_OK);
    put(7, 0, ROWS);
    refused_for("row 7: a link to 40 of 40 rows");
    put(7, 0, 7);
    refused_for("row 7: a link to itself");
    put(7, 0, 3);
    put(7, 1, 3);
    refused_for("row 7: two links to 3");
    put(7, 1, UINT32_MAX);
    put(7, 2, 4);
    refused_for("row 7: a link in place 2 behind an empty one");
    rows.first = 20;
    refused_for("row 27: a link in place 2 behind an empty one");
}
END_TEST

START_TEST(an_upper_byte_belongs_to_a_wide_link)
{
    rows_of(32, 1);
    put(7, 0, 1u << 24 | 3);
    refused_for("row 7: a link to 16777219 of 40 rows");
}
END_TEST

START_TEST(one_link_more_than_the_most_is_refused)
{
    rows_of(4, _i);
    for (uint32_t i = 0; i < 4; i++)
        put(0, i, i + 1);
    ck_assert_int_eq(graph_verify(&rows, &error), OMEN_OK);
    put(0, 4, 9);
    refused_for("row 0: more than 4 links");
}
END_TEST

static Suite *
graph_verify_suite(void)
{
    Suite *suite = suite_create("graph_verify");
    TCase *tcase = tcase_create("graph_verify");
    tcase_add_loop_test(tcase, what_a_graph_wrote_is_accepted, 0, 10);
    tcase_add_loop_test(tcase, every_kind_of_damage_is_named, 0, 2);
    tcase_add_test(tcase, an_upper_byte_belongs_to_a_wide_link);
    tcase_add_loop_test(tcase, one_link_more_than_the_most_is_refused, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(graph_verify_suite)
