// tests/unit/index/kernel/test_half.c -- binary16 against a definition in doubles.
#include <math.h>
#include <string.h>

#include "index/kernel/kernel.h"
#include "tests/lib/check_main.h"
#include "tests/unit/index/kernel/blocks.h"

// What the standard says a half is worth.
static double
half_value(uint32_t half)
{
    const int exponent = (int)(half >> 10 & 31u);
    const double fraction = half & 1023u;
    const double sign = (half & 0x8000u) != 0 ? -1.0 : 1.0;
    if (exponent == 31)
        return fraction > 0 ? (double)NAN : sign * (double)INFINITY;
    return sign * (exponent == 0 ? ldexp(fraction, -24) : ldexp(fraction + 1024, exponent - 25));
}

START_TEST(every_half_widens_to_its_value)
{
    for (uint32_t half = 0; half < 65536; half++) {
        const float got = half_to_float((uint16_t)half);
        const double want = half_value(half);
        if (isnan(want))
            CLAIM(isnan(got), "%#x", half);
        else
            CLAIM((double)got == want && !signbit(got) == !signbit(want), "%#x", half);
    }
}
END_TEST

START_TEST(every_half_narrows_to_itself)
{
    for (uint32_t half = 0; half < 65536; half++) {
        const uint16_t got = float_to_half(half_to_float((uint16_t)half));
        if (isnan(half_value(half)))
            CLAIM((got & 0x7c00) == 0x7c00 && (got & 1023) != 0, "%#x", half);
        else
            CLAIM(got == half, "%#x became %#x", half, got);
    }
}
END_TEST

// Between every two neighbours: the tie goes to the even one, a hair to either side to the nearer
// one.
START_TEST(ties_go_to_even_and_all_else_to_the_nearest)
{
    for (uint32_t half = 0; half < 0x7c00; half++) {
        // The neighbour of the largest half is 2^16, which is infinity's place.
        const double next = half + 1 == 0x7c00 ? 65536.0 : half_value(half + 1);
        const float middle = (float)((half_value(half) + next) / 2);
        const uint32_t even = half + (half & 1);
        CLAIM(float_to_half(middle) == even, "tie above %#x", half);
        CLAIM(float_to_half(-middle) == (even | 0x8000), "tie below -%#x", half);
        CLAIM(float_to_half(nextafterf(middle, 0.0f)) == half, "under the tie above %#x", half);
        CLAIM(float_to_half(nextafterf(middle, INFINITY)) == half + 1, "over the tie above %#x",
              half);
    }
}
END_TEST

START_TEST(what_no_half_can_hold_becomes_infinity_or_nan)
{
    ck_assert_uint_eq(float_to_half(65520.0f), 0x7c00);
    ck_assert_uint_eq(float_to_half(3e38f), 0x7c00);
    ck_assert_uint_eq(float_to_half(-3e38f), 0xfc00);
    ck_assert_uint_eq(float_to_half(INFINITY), 0x7c00);
    ck_assert_uint_eq(float_to_half(-INFINITY), 0xfc00);
    ck_assert_uint_eq(float_to_half(NAN) & 0x7e00, 0x7e00);
    ck_assert_uint_eq(float_to_half(1e-40f), 0);
    ck_assert_uint_eq(float_to_half(-0.0f), 0x8000);
}
END_TEST

static Suite *
half_suite(void)
{
    Suite *suite = suite_create("index/kernel/half");
    TCase *tcase = tcase_create("half");
    tcase_add_test(tcase, every_half_widens_to_its_value);
    tcase_add_test(tcase, every_half_narrows_to_itself);
    tcase_add_test(tcase, ties_go_to_even_and_all_else_to_the_nearest);
    tcase_add_test(tcase, what_no_half_can_hold_becomes_infinity_or_nan);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(half_suite)
