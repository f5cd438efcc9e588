// tests/unit/base/test_prng.c -- the generator is splitmix64, the same everywhere, and evenly spread.
//
// Shape: shell.
#include "base/prng.h"

#include "tests/lib/check_main.h"

START_TEST(seeds_give_the_published_sequences)
{
    // From the reference implementation (S. Vigna, splitmix64.c).
    struct prng prng;
    prng_init(&prng, 0);
    ck_assert_uint_eq(prng_next(&prng), 0xe220a8397b1dcdaf);
    ck_assert_uint_eq(prng_next(&prng), 0x6e789e6aa1b965f4);
    ck_assert_uint_eq(prng_next(&prng), 0x06c45d188009454f);
    prng_init(&prng, 1234567);
    ck_assert_uint_eq(prng_next(&prng), 6457827717110365317ull);
    ck_assert_uint_eq(prng_next(&prng), 3203168211198807973ull);
    ck_assert_uint_eq(prng_next(&prng), 9817491932198370423ull);
}
END_TEST

START_TEST(below_stays_below_at_the_smallest_and_largest_bound)
{
    struct prng prng;
    prng_init(&prng, 5);
    for (int i = 0; i < 1000; i++) {
        ck_assert_uint_eq(prng_below(&prng, 1), 0);
        ck_assert_uint_lt(prng_below(&prng, UINT32_MAX), UINT32_MAX);
    }
}
END_TEST

START_TEST(below_reaches_every_value_about_equally_often)
{
    enum { BOUND = 7, DRAWS = 70000 };
    int counts[BOUND] = {0};
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    for (int i = 0; i < DRAWS; i++)
        counts[prng_below(&prng, BOUND)]++;
    for (int value = 0; value < BOUND; value++) // 10000 +- 5.4 standard deviations
        ck_assert_msg(counts[value] > 9500 && counts[value] < 10500, "%d came %d times, seed %d",
                      value, counts[value], _i);
}
END_TEST

START_TEST(unit_is_at_least_0_below_1_and_half_on_average)
{
    enum { DRAWS = 100000 };
    struct prng prng;
    prng_init(&prng, 11);
    double sum = 0;
    for (int i = 0; i < DRAWS; i++) {
        const float value = prng_unit(&prng);
        ck_assert(value >= 0.0f && value < 1.0f);
        sum += (double)value;
    }
    ck_assert_double_eq_tol(sum / DRAWS, 0.5, 0.005);
}
END_TEST

START_TEST(the_mix_is_one_to_one_on_neighbours)
{
    // A bijection: neighbours that met would be a wrong constant or shift.
    for (uint64_t x = 0; x < 10000; x++)
        ck_assert_uint_ne(mix64(x), mix64(x + 1));
    ck_assert_uint_eq(mix64(0), 0);
}
END_TEST

static Suite *
prng_suite(void)
{
    Suite *suite = suite_create("base/prng");
    TCase *tcase = tcase_create("prng");
    tcase_add_test(tcase, seeds_give_the_published_sequences);
    tcase_add_test(tcase, below_stays_below_at_the_smallest_and_largest_bound);
    tcase_add_loop_test(tcase, below_reaches_every_value_about_equally_often, 0, 4);
    tcase_add_test(tcase, unit_is_at_least_0_below_1_and_half_on_average);
    tcase_add_test(tcase, the_mix_is_one_to_one_on_neighbours);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(prng_suite)
