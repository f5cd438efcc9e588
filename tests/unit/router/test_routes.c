// tests/unit/router/test_routes.c -- every hash finds its shard, and a table that makes no sense is refused.
//
// Shape: shell.
#include "router/routes.h"

#include "base/alloc.h"
#include "base/prng.h"
#include "tests/lib/check_main.h"

static struct routes routes;

static struct route
row(uint64_t collection, uint64_t shard, uint64_t first, uint64_t last)
{
    return (struct route){.collection = collection,
                          .shard = shard,
                          .first = first,
                          .last = last,
                          .copy_count = 1,
                          .copies = {{.low = shard, .node = (uint32_t)shard}}};
}

static void
add(struct route given)
{
    ck_assert_int_eq(routes_add(&routes, &given), OMEN_OK);
}

static void
setup(void)
{
    routes_init(&routes, 1);
}

static void
teardown(void)
{
    routes_check(&routes);
    routes_fini(&routes);
}

static void
seal(omen_status expected)
{
    ck_assert_int_eq(routes_seal(&routes), expected);
}

START_TEST(rows_are_found_by_hash_in_whatever_order_they_came)
{
    add(row(2, 21, 0, UINT64_MAX));
    add(row(1, 12, 100, 199));
    add(row(1, 11, 0, 99));
    add(row(1, 13, 200, UINT64_MAX));
    seal(OMEN_OK);
    ck_assert_uint_eq(routes_find(&routes, 1, 0)->shard, 11);
    ck_assert_uint_eq(routes_find(&routes, 1, 99)->shard, 11);
    ck_assert_uint_eq(routes_find(&routes, 1, 100)->shard, 12);
    ck_assert_uint_eq(routes_find(&routes, 1, 200)->shard, 13);
    ck_assert_uint_eq(routes_find(&routes, 1, UINT64_MAX)->shard, 13);
    ck_assert_uint_eq(routes_find(&routes, 2, 5)->shard, 21);
    ck_assert_ptr_null(routes_find(&routes, 0, 5));
    ck_assert_ptr_null(routes_find(&routes, 3, 5));
}
END_TEST

START_TEST(nobody_answers_in_a_gap)
{
    add(row(1, 11, 10, 19));
    add(row(1, 12, 30, 39));
    seal(OMEN_OK);
    ck_assert_ptr_null(routes_find(&routes, 1, 9));
    ck_assert_ptr_null(routes_find(&routes, 1, 25));
    ck_assert_ptr_null(routes_find(&routes, 1, 40));
    ck_assert_uint_eq(routes_from(&routes, 1, 25), 1);
    ck_assert_uint_eq(routes_from(&routes, 1, 40), 2);
}
END_TEST

START_TEST(a_table_finds_what_a_walk_over_its_rows_finds)
{
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    for (uint64_t shard = 1, first = 0; shard <= 40; shard++) {
        first += prng_below(&prng, 3) * 5;
        const uint64_t last = first + prng_below(&prng, 20);
        add(row(1 + shard % 2, shard, first, last));
        first = last + 1;
    }
    seal(OMEN_OK);
    for (uint64_t hash = 0; hash < 1000; hash++)
        for (uint64_t collection = 0; collection < 4; collection++) {
            const struct route *found = NULL;
            for (uint32_t i = 0; i < routes.count; i++)
                if (routes.rows[i].collection == collection && routes.rows[i].first <= hash &&
                    hash <= routes.rows[i].last)
                    found = &routes.rows[i];
            ck_assert_ptr_eq(routes_find(&routes, collection, hash), found);
            for (uint32_t hint = 0; hint < routes.count + 2; hint++)
                ck_assert_ptr_eq(routes_find_near(&routes, collection, hash, hint), found);
        }
}
END_TEST

START_TEST(overlapping_ranges_are_refused)
{
    add(row(1, 11, 0, 100));
    add(row(1, 12, 100, 200));
    seal(OMEN_E_INVALID);
}
END_TEST

START_TEST(a_row_that_makes_no_sense_is_refused)
{
    struct route bad = row(1, 11, 0, 100);
    switch (_i) {
    case 0:
        bad.shard = 0;
        break;
    case 1:
        bad.first = 101;
        break;
    case 2:
        bad.copy_count = ROUTE_COPIES_MAX + 1;
        break;
    case 3:
        bad.primary = 1;
        break;
    case 4:
        bad.copies[0].node = 0;
        break;
    }
    add(bad);
    seal(OMEN_E_INVALID);
}
END_TEST

START_TEST(nodes_are_listed_once_and_in_order)
{
    struct route many = row(1, 11, 0, 100);
    many.copy_count = 3;
    many.primary = ROUTE_NONE;
    many.copies[1].node = 3;
    many.copies[2].node = 7;
    add(many);
    add(row(1, 3, 101, 200));
    seal(OMEN_OK);
    ck_assert_uint_eq(routes.node_count, 3);
    ck_assert_uint_eq(routes.nodes[0], 3);
    ck_assert_uint_eq(routes.nodes[1], 7);
    ck_assert_uint_eq(routes.nodes[2], 11);
}
END_TEST

// Every pattern of near and far copies, with each of them as the primary, or none.
START_TEST(near_copies_come_first_and_the_primary_stays_who_it_was)
{
    const uint32_t near_mask = (uint32_t)_i / 5, primary = (uint32_t)_i % 5;
    struct route mixed = row(1, 11, 0, 100);
    mixed.copy_count = 4;
    mixed.primary = primary == 4 ? ROUTE_NONE : primary;
    for (uint32_t i = 0; i < 4; i++)
        mixed.copies[i] =
            (struct route_copy){.low = i + 1, .node = 9 - i, .near = (near_mask >> i & 1) != 0};
    add(mixed);
    seal(OMEN_OK);
    routes_check(&routes);
    const struct route *sealed = &routes.rows[0];
    ck_assert_uint_eq(sealed->near_count, (uint32_t)__builtin_popcount(near_mask));
    if (primary == 4)
        ck_assert_uint_eq(sealed->primary, ROUTE_NONE);
    else
        ck_assert_uint_eq(sealed->copies[sealed->primary].low, primary + 1);
    for (uint32_t i = 0; i < 4; i++) {
        const struct route_copy *copy = &sealed->copies[i];
        ck_assert_uint_eq(copy->node, 10 - copy->low);
        ck_assert_int_eq(copy->near, near_mask >> (copy->low - 1) & 1);
        if (i > 0 && copy->near == copy[-1].near) // else in their order
            ck_assert_uint_lt(copy[-1].low, copy->low);
    }
}
END_TEST

START_TEST(more_nodes_than_there_can_be_are_refused)
{
    for (uint32_t i = 0; i <= ROUTES_NODES_MAX; i++)
        add(row(1, i + 1, i * 10ull, i * 10ull + 9));
    seal(OMEN_E_INVALID);
    routes.count--;
    seal(OMEN_OK);
    ck_assert_uint_eq(routes.node_count, ROUTES_NODES_MAX);
}
END_TEST

START_TEST(one_row_too_many_is_refused_and_changes_nothing)
{
    for (uint32_t i = 0; i < ROUTES_MAX; i++)
        add(row(1, i % 1000 + 1, i * 10ull, i * 10ull + 9));
    const struct route more = row(1, 1, 1u << 30, 1u << 30);
    ck_assert_int_eq(routes_add(&routes, &more), OMEN_E_FULL);
    ck_assert_uint_eq(routes.count, ROUTES_MAX);
    seal(OMEN_OK);
}
END_TEST

START_TEST(without_memory_nothing_is_changed)
{
    const struct route one = row(1, 11, 0, 100);
    mem_fail_after(1);
    ck_assert_int_eq(routes_add(&routes, &one), OMEN_E_NO_MEMORY);
    mem_fail_after(0);
    ck_assert_uint_eq(routes.count, 0);
    add(one);
    mem_fail_after(1);
    seal(OMEN_E_NO_MEMORY);
    mem_fail_after(0);
    seal(OMEN_OK);
    ck_assert_uint_eq(routes_find(&routes, 1, 50)->shard, 11);
}
END_TEST

START_TEST(an_empty_table_has_nobody)
{
    struct route nobody = row(1, 11, 0, 100);
    seal(OMEN_OK);
    ck_assert_ptr_null(routes_find(&routes, 1, 5));
    routes_fini(&routes);
    nobody.copy_count = 0;
    nobody.primary = ROUTE_NONE;
    add(nobody);
    seal(OMEN_OK);
    ck_assert_uint_eq(routes_find(&routes, 1, 5)->shard, 11);
    ck_assert_uint_eq(routes.node_count, 0);
}
END_TEST

static Suite *
routes_suite(void)
{
    Suite *suite = suite_create("router/routes");
    TCase *tcase = tcase_create("routes");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, rows_are_found_by_hash_in_whatever_order_they_came);
    tcase_add_test(tcase, nobody_answers_in_a_gap);
    tcase_add_loop_test(tcase, a_table_finds_what_a_walk_over_its_rows_finds, 0, 20);
    tcase_add_test(tcase, overlapping_ranges_are_refused);
    tcase_add_loop_test(tcase, a_row_that_makes_no_sense_is_refused, 0, 5);
    tcase_add_test(tcase, nodes_are_listed_once_and_in_order);
    tcase_add_loop_test(tcase, near_copies_come_first_and_the_primary_stays_who_it_was, 0, 16 * 5);
    tcase_add_test(tcase, more_nodes_than_there_can_be_are_refused);
    tcase_add_test(tcase, one_row_too_many_is_refused_and_changes_nothing);
    tcase_add_test(tcase, without_memory_nothing_is_changed);
    tcase_add_test(tcase, an_empty_table_has_nobody);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(routes_suite)
