// tests/unit/node/test_clock.c -- the clock in the middle, and the time by it.
#include "node/clock.h"

#include <stdlib.h>

#include "base/os_clock.h"
#include "base/prng.h"
#include "tests/lib/check_main.h"

#define MS UINT64_C(1000000)
#define HOUR_MS INT64_C(3600000)

static struct clocks_row
row_of(uint64_t node, int64_t off_ms)
{
    return (struct clocks_row){{1, node}, off_ms, node};
}

static struct clocks
clocks_of(const int64_t *offs, uint32_t count)
{
    struct clocks clocks = {.count = 0};
    for (uint32_t i = 0; i < count; i++) {
        const struct clocks_row row = row_of(i + 1, offs[i]);
        clocks_hear(&clocks, &row);
    }
    return clocks;
}

static int
compare(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

// Of who stands at `self`, by what the others said.
static int64_t
middle_at(const int64_t *offs, uint32_t count, uint32_t self)
{
    struct clocks clocks = {.count = 0};
    for (uint32_t i = 0; i < count; i++) {
        const struct clocks_row row = row_of(i + 1, offs[i]);
        if (i != self)
            clocks_hear(&clocks, &row);
    }
    const struct clocks_bounds bounds = clocks_bounds(&clocks);
    const int64_t own = offs[self];
    return own < bounds.least_ms ? bounds.least_ms : own > bounds.most_ms ? bounds.most_ms : own;
}

START_TEST(every_node_finds_the_same_clock_in_the_middle_and_the_earlier_of_two)
{
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    int64_t offs[CLOCKS_MAX + 1], sorted[CLOCKS_MAX + 1];
    const uint32_t count = 1 + prng_below(&prng, CLOCKS_MAX + 1);
    for (uint32_t i = 0; i < count; i++)
        offs[i] = sorted[i] = (int64_t)prng_below(&prng, 20) - 10;
    qsort(sorted, count, sizeof sorted[0], compare);
    for (uint32_t self = 0; self < count; self++)
        ck_assert_int_eq(middle_at(offs, count, self), sorted[(count - 1) / 2]);
}
END_TEST

START_TEST(what_a_node_says_takes_the_place_of_what_it_said_or_of_who_was_heard_longest_ago)
{
    struct clocks clocks = {.count = 0};
    for (uint32_t i = 1; i <= CLOCKS_MAX; i++) {
        const struct clocks_row row = row_of(i, (int64_t)i);
        clocks_hear(&clocks, &row);
    }
    struct clocks_row again = row_of(1, 100);
    again.heard_ns = 1000;
    clocks_hear(&clocks, &again);
    ck_assert_uint_eq(clocks.count, CLOCKS_MAX);
    ck_assert_int_eq(clocks_find(&clocks, again.node)->off_ms, 100);
    const struct clocks_row more = row_of(99, 7);
    clocks_hear(&clocks, &more);
    ck_assert_uint_eq(clocks.count, CLOCKS_MAX);
    ck_assert_int_eq(clocks_find(&clocks, more.node)->off_ms, 7);
    ck_assert_ptr_null(clocks_find(&clocks, (struct cluster_uuid){1, 2}));
    ck_assert_ptr_nonnull(clocks_find(&clocks, again.node));
    clocks_forget(&clocks, 0);
    ck_assert_uint_eq(clocks.count, CLOCKS_MAX - 1);
    ck_assert_ptr_null(clocks_find(&clocks, again.node));
}
END_TEST

static int64_t
apart_ms(uint64_t ms)
{
    return (int64_t)ms - (int64_t)os_ms_since_1970();
}

START_TEST(a_wall_that_is_ahead_of_two_others_is_not_gone_by)
{
    struct node_clock clock;
    struct clocks seen;
    node_clock_init(&clock);
    ck_assert_int_eq(node_clock_ahead_ms(&clock), 0);
    ck_assert_int_lt(llabs(apart_ms(node_clock_ms(&clock))), HOUR_MS / 60);
    ck_assert_int_lt(llabs(apart_ms(node_clock_ms(NULL))), HOUR_MS / 60);
    const int64_t own_ms = (int64_t)os_ms_since_1970() - (int64_t)(os_clock_ns() / MS);
    const int64_t right[] = {own_ms - HOUR_MS, own_ms - HOUR_MS - 5};
    const struct clocks clocks = clocks_of(right, 2);
    node_clock_show(&clock, &clocks);
    ck_assert_int_lt(llabs(node_clock_ahead_ms(&clock) - HOUR_MS), HOUR_MS / 60);
    ck_assert_int_lt(llabs(apart_ms(node_clock_ms(&clock)) + HOUR_MS), HOUR_MS / 60);
    node_clock_look(&clock, &seen);
    ck_assert_uint_eq(seen.count, 2);
    ck_assert_int_eq(clocks_find(&seen, (struct cluster_uuid){1, 1})->off_ms, 0);
    ck_assert_int_eq(clocks_find(&seen, (struct cluster_uuid){1, 2})->off_ms, -5);
    node_clock_look(NULL, &seen);
    ck_assert_uint_eq(seen.count, 0);
    node_clock_fini(&clock);
}
END_TEST

START_TEST(another_wall_that_is_apart_moves_nothing_and_is_seen_to_be)
{
    struct node_clock clock;
    struct clocks seen;
    node_clock_init(&clock);
    const int64_t own_ms = (int64_t)os_ms_since_1970() - (int64_t)(os_clock_ns() / MS);
    const int64_t others[] = {own_ms + 2 * HOUR_MS, own_ms - HOUR_MS};
    const struct clocks clocks = clocks_of(others, 2);
    node_clock_show(&clock, &clocks);
    ck_assert_int_eq(node_clock_ahead_ms(&clock), 0);
    ck_assert_int_lt(llabs(apart_ms(node_clock_ms(&clock))), HOUR_MS / 60);
    node_clock_look(&clock, &seen);
    const int64_t ahead_ms = clocks_find(&seen, (struct cluster_uuid){1, 1})->off_ms;
    ck_assert_int_lt(llabs(ahead_ms - 2 * HOUR_MS), HOUR_MS / 60);
    node_clock_fini(&clock);
}
END_TEST

static Suite *
node_clock_suite(void)
{
    Suite *suite = suite_create("node/clock");
    TCase *tcase = tcase_create("clock");
    tcase_add_loop_test(tcase, every_node_finds_the_same_clock_in_the_middle_and_the_earlier_of_two,
                        0, 200);
    tcase_add_test(
        tcase, what_a_node_says_takes_the_place_of_what_it_said_or_of_who_was_heard_longest_ago);
    tcase_add_test(tcase, a_wall_that_is_ahead_of_two_others_is_not_gone_by);
    tcase_add_test(tcase, another_wall_that_is_apart_moves_nothing_and_is_seen_to_be);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(node_clock_suite)
