// tests/unit/gpu/test_repair.c -- rows that no walk meets are met after the repair, and nothing is lost by it.
#include "gpu/repair.h"

#include <string.h>

#include "base/prng.h"
#include "index/graph.h"
#include "index/graph_verify.h"
#include "tests/lib/check_main.h"

#define ROWS 200u
#define LINKS 4u
#define WIDTH LINKS_24
#define BYTES (GRAPH_BLOCK_LINKS * 3u)
#define WORDS ((ROWS + 31) / 32)

static uint8_t blocks[ROWS * BYTES];
static uint32_t seen[WORDS];
static struct prng prng;

static uint32_t
link_at(uint32_t row, uint32_t place)
{
    uint32_t link = 0;
    memcpy(&link, blocks + row * BYTES + place * WIDTH, WIDTH);
    return link;
}

static void
add_link(uint32_t row, uint32_t to)
{
    uint32_t place = 0;
    for (; link_at(row, place) != link_empty(WIDTH); place++)
        if (link_at(row, place) == to)
            return;
    if (place < LINKS && to != row)
        memcpy(blocks + row * BYTES + place * WIDTH, &to, WIDTH);
}

// What row 0 leads to, by sweeps until nothing changes; returns how many rows.
static uint32_t
sweep(uint32_t *met)
{
    uint32_t count = 1;
    memset(met, 0, WORDS * sizeof *met);
    met[0] = 1;
    for (bool grew = true; grew;) {
        grew = false;
        for (uint32_t row = 0; row < ROWS; row++)
            for (uint32_t i = 0; i < LINKS && (met[row / 32] >> row % 32 & 1) != 0; i++) {
                const uint32_t to = link_at(row, i);
                if (to == link_empty(WIDTH) || (met[to / 32] >> to % 32 & 1) != 0)
                    continue;
                met[to / 32] |= 1u << to % 32;
                count++;
                grew = true;
            }
    }
    return count;
}

// Rows in a ring with links across it; `lost` of them are led to by none but each other.
static uint32_t
make_rows(uint32_t lost, uint32_t links_most)
{
    memset(blocks, 0xff, sizeof blocks);
    const uint32_t ring = ROWS - lost;
    for (uint32_t row = 0; row < ROWS; row++) {
        if (row < ring)
            add_link(row, (row + 1) % ring);
        for (uint32_t i = prng_below(&prng, links_most); i > 0; i--)
            add_link(row, prng_below(&prng, row < ring ? ring : ROWS));
    }
    return sweep(seen);
}

static struct repair_rows
rows_of(void)
{
    return (struct repair_rows){
        .blocks = blocks, .count = ROWS, .links_max = LINKS, .width = WIDTH, .seen = seen};
}

static void
is_whole(void)
{
    const struct link_rows rows = {
        .bytes = blocks, .count = ROWS, .links_max = LINKS, .width = WIDTH, .slots = ROWS};
    struct omen_error error;
    uint32_t met[WORDS];
    ck_assert_msg(graph_verify(&rows, &error) == OMEN_OK, "%s", error.text);
    ck_assert_uint_eq(sweep(met), ROWS);
    ck_assert_mem_eq(met, seen, sizeof met);
}

START_TEST(every_row_is_reached_after_a_repair)
{
    prng_init(&prng, (uint64_t)_i + 1);
    const uint32_t lost = 1 + prng_below(&prng, ROWS / 10);
    ck_assert_uint_eq(make_rows(lost, _i % 2 == 0 ? LINKS + 1 : LINKS * 4), ROWS - lost);
    const struct repair_rows rows = rows_of();
    struct repair_report report;
    ck_assert_int_eq(repair_unreached(&rows, &report), OMEN_OK);
    ck_assert_uint_ge(report.linked, 1);
    ck_assert_uint_le(report.linked, lost);
    ck_assert_uint_le(report.stranded, report.linked);
    is_whole();
}
END_TEST

START_TEST(a_row_without_links_is_linked_from_some_row)
{
    prng_init(&prng, 5);
    ck_assert_uint_eq(make_rows(1, 1), ROWS - 1);
    const struct repair_rows rows = rows_of();
    struct repair_report report;
    ck_assert_int_eq(repair_unreached(&rows, &report), OMEN_OK);
    ck_assert_uint_eq(report.linked, 1);
    ck_assert_uint_eq(report.stranded, 1);
    is_whole();
}
END_TEST

START_TEST(a_graph_that_is_whole_is_left_alone)
{
    prng_init(&prng, 6);
    ck_assert_uint_eq(make_rows(0, LINKS), ROWS);
    static uint8_t before[sizeof blocks];
    memcpy(before, blocks, sizeof blocks);
    const struct repair_rows rows = rows_of();
    struct repair_report report;
    ck_assert_int_eq(repair_unreached(&rows, &report), OMEN_OK);
    ck_assert_uint_eq(report.linked, 0);
    ck_assert_mem_eq(before, blocks, sizeof blocks);
}
END_TEST

START_TEST(a_graph_that_is_broken_is_refused_and_not_touched)
{
    prng_init(&prng, 7);
    ck_assert_uint_eq(make_rows(ROWS / 10 + 2, LINKS), ROWS - ROWS / 10 - 2);
    static uint8_t before[sizeof blocks];
    memcpy(before, blocks, sizeof blocks);
    const struct repair_rows rows = rows_of();
    struct repair_report report;
    ck_assert_int_eq(repair_unreached(&rows, &report), OMEN_E_UNSUPPORTED);
    ck_assert_mem_eq(before, blocks, sizeof blocks);
}
END_TEST

static Suite *
repair_suite(void)
{
    Suite *suite = suite_create("gpu/repair");
    TCase *tests = tcase_create("repair");
    tcase_add_loop_test(tests, every_row_is_reached_after_a_repair, 0, 40);
    tcase_add_test(tests, a_row_without_links_is_linked_from_some_row);
    tcase_add_test(tests, a_graph_that_is_whole_is_left_alone);
    tcase_add_test(tests, a_graph_that_is_broken_is_refused_and_not_touched);
    suite_add_tcase(suite, tests);
    return suite;
}

CHECK_MAIN(repair_suite)
