// tests/unit/index/kernel/test_insert.c -- putting keys into a sorted list, against the oracle.
#include <math.h>
#include <string.h>

#include "base/prng.h"
#include "index/kernel/kernel.h"
#include "index/nearest.h"
#include "tests/lib/check_main.h"

#define CAPACITY_MAX 300u
#define GUARD 0x0123456789abcdefull

struct list {
    uint64_t keys[CAPACITY_MAX + NEAREST_SPARE + 1];
    uint32_t count, capacity;
};

static void
open_list(struct list *list, uint32_t capacity, struct prng *prng)
{
    for (uint32_t i = 0; i < CAPACITY_MAX + NEAREST_SPARE + 1; i++)
        list->keys[i] = i < capacity + NEAREST_SPARE ? prng_next(prng) : GUARD;
    list->count = 0;
    list->capacity = capacity;
}

static uint32_t
insert(const struct kernels *kernels, struct list *list, const float *distances,
       const uint32_t *slots, uint32_t below)
{
    return kernels->insert(list->keys, &list->count, list->capacity, distances, slots, below);
}

// Of few distances, so that most are equal to others, and now and then none.
static void
draw(struct prng *prng, uint32_t distinct, uint32_t *slots, float *distances)
{
    for (uint32_t i = 0; i < 32; i++) {
        slots[i] = prng_below(prng, SLOTS_MAX);
        distances[i] =
            prng_below(prng, 50) == 0 ? INFINITY : (float)prng_below(prng, distinct) / 64.0f;
    }
}

START_TEST(lists_are_the_oracles)
{
    static const uint32_t capacities[] = {1, 2, 7, 8, 9, 63, 64, 65, 71, 72, 73, 128, 200, 300};
    const uint32_t capacity = capacities[_i];
    const struct kernels *tables[4];
    const uint32_t count = kernels_list(tables);
    for (uint32_t t = 0; t < count; t++) {
        struct prng prng = {.state = (uint64_t)_i};
        struct list oracle, list;
        open_list(&oracle, capacity, &prng);
        open_list(&list, capacity, &prng);
        for (uint32_t turn = 0; turn < 200; turn++) {
            uint32_t slots[32];
            float distances[32];
            draw(&prng, turn % 2 == 0 ? 30 : 1u << 20, slots, distances);
            const uint32_t below = (uint32_t)prng_next(&prng) & (uint32_t)prng_next(&prng);
            const uint32_t first = insert(&kernels_scalar, &oracle, distances, slots, below);
            ck_assert_uint_eq(insert(tables[t], &list, distances, slots, below), first);
            ck_assert_uint_eq(list.count, oracle.count);
            ck_assert_mem_eq(list.keys, oracle.keys, oracle.count * sizeof *oracle.keys);
            ck_assert_uint_eq(list.keys[capacity + NEAREST_SPARE], GUARD);
            // As a walk does: some are marked.
            const uint32_t marked = oracle.count > 0 ? prng_below(&prng, oracle.count) : 0;
            oracle.keys[marked] |= NEAREST_FLAG;
            list.keys[marked] |= NEAREST_FLAG;
        }
    }
}
END_TEST

START_TEST(the_lowest_place_is_told_and_none_where_nothing_was_put)
{
    static const uint32_t slots[] = {11, 12, 13, 14};
    static const float distances[] = {4.0f, 2.0f, 3.0f, 9.0f};
    const struct kernels *tables[4];
    const uint32_t count = kernels_list(tables);
    for (uint32_t t = 0; t < count; t++) {
        struct prng prng = {.state = t};
        struct list list;
        open_list(&list, 3, &prng);
        ck_assert_uint_eq(insert(tables[t], &list, distances, slots, 0), UINT32_MAX);
        ck_assert_uint_eq(insert(tables[t], &list, distances, slots, 1), 0);
        ck_assert_uint_eq(insert(tables[t], &list, distances, slots, 8), 1);
        ck_assert_uint_eq(insert(tables[t], &list, distances, slots, 6), 0);
        ck_assert_uint_eq(insert(tables[t], &list, distances, slots, 8), UINT32_MAX);
        ck_assert_uint_eq(list.count, 3);
        ck_assert_uint_eq(nearest_slot(list.keys[0]), 12);
        ck_assert_uint_eq(nearest_slot(list.keys[1]), 13);
        ck_assert_uint_eq(nearest_slot(list.keys[2]), 11);
    }
}
END_TEST

static Suite *
insert_suite(void)
{
    Suite *suite = suite_create("insert");
    TCase *tcase = tcase_create("insert");
    tcase_add_loop_test(tcase, lists_are_the_oracles, 0, 14);
    tcase_add_test(tcase, the_lowest_place_is_told_and_none_where_nothing_was_put);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(insert_suite)
