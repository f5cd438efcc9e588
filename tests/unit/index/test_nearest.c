// tests/unit/index/test_nearest.c -- the short sorted list, against a sort.
#include <stdlib.h>

#include "base/prng.h"
#include "index/nearest.h"
#include "tests/lib/check_main.h"

#define KEYS 600u

static int
compare_keys(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

START_TEST(keys_sort_by_distance_and_then_by_slot)
{
    static const float distances[] = {0.0f, 0x1p-149f, 1e-30f, 0.5f, 1.0f, 1.0000001f, 3e38f};
    for (size_t i = 0; i + 1 < sizeof distances / sizeof distances[0]; i++)
        ck_assert_uint_lt(nearest_key(distances[i], 0x7fffffffu), nearest_key(distances[i + 1], 0));
    ck_assert_uint_lt(nearest_key(1.0f, 6), nearest_key(1.0f, 7));
    ck_assert_uint_lt(nearest_key(1.0f, 6) | NEAREST_FLAG, nearest_key(1.0f, 7));
}
END_TEST

START_TEST(a_key_holds_distance_slot_and_flag)
{
    const uint64_t key = nearest_key(0.7f, SLOTS_MAX);
    ck_assert_float_eq(nearest_distance(key), 0.7f);
    ck_assert_uint_eq(nearest_slot(key), SLOTS_MAX);
    ck_assert_uint_eq(nearest_slot(key | NEAREST_FLAG), SLOTS_MAX);
    ck_assert_float_eq(nearest_distance(key | NEAREST_FLAG), 0.7f);
    ck_assert_uint_eq(key & NEAREST_FLAG, 0);
}
END_TEST

START_TEST(the_list_is_the_beginning_of_the_sorted_keys)
{
    static const uint32_t capacities[] = {1, 2, 3, 7, 64, 599, 600, 1000};
    struct prng prng = {.state = (uint64_t)_i};
    uint64_t keys[1001], all[KEYS];
    struct nearest list = {.keys = keys, .capacity = capacities[_i % 8]};
    for (uint32_t i = 0; i < KEYS; i++) {
        // Few distances, so that most are equal to others.
        all[i] = nearest_key((float)prng_below(&prng, _i < 8 ? 20 : 100000), i);
        const uint64_t last = list.count > 0 ? list.keys[list.count - 1] : 0;
        const uint32_t full = list.count == list.capacity;
        const uint32_t place = nearest_insert(&list, all[i]);
        if (full && all[i] > last) {
            ck_assert_uint_eq(place, list.capacity);
        } else {
            ck_assert_uint_lt(place, list.count);
            ck_assert_uint_eq(list.keys[place], all[i]);
        }
    }
    qsort(all, KEYS, sizeof *all, compare_keys);
    ck_assert_uint_eq(list.count, list.capacity < KEYS ? list.capacity : KEYS);
    ck_assert_mem_eq(list.keys, all, list.count * sizeof *all);
}
END_TEST

START_TEST(a_list_without_room_takes_nothing)
{
    uint64_t keys[1] = {0};
    struct nearest list = {.keys = keys, .capacity = 0};
    ck_assert_uint_eq(nearest_insert(&list, nearest_key(1.0f, 1)), 0);
    ck_assert_uint_eq(list.count, 0);
    ck_assert_uint_eq(keys[0], 0);
}
END_TEST

static Suite *
nearest_suite(void)
{
    Suite *suite = suite_create("nearest");
    TCase *tcase = tcase_create("nearest");
    tcase_add_test(tcase, keys_sort_by_distance_and_then_by_slot);
    tcase_add_test(tcase, a_key_holds_distance_slot_and_flag);
    tcase_add_loop_test(tcase, the_list_is_the_beginning_of_the_sorted_keys, 0, 16);
    tcase_add_test(tcase, a_list_without_room_takes_nothing);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(nearest_suite)
