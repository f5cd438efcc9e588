// tests/unit/base/test_spin.c -- who asks alone is looked out for as long as that brings something, and ever more seldom where it does not.
#include "base/spin.h"

#include "tests/lib/check_main.h"

static struct spin
after_a_run(void)
{
    struct spin spin = {0};
    for (uint32_t i = 0; i < SPIN_RUN; i++)
        spin_asked(&spin, true);
    return spin;
}

// Chances that are left out until the next one is taken.
static uint32_t
left_out(struct spin *spin)
{
    uint32_t count = 0;
    while (!spin_begins(spin))
        count++;
    return count;
}

START_TEST(it_takes_a_run_of_requests_that_were_alone_and_one_that_was_not_ends_it)
{
    struct spin spin = {0};
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < SPIN_RUN; i++) {
            ck_assert(!spin_begins(&spin));
            spin_asked(&spin, true);
        }
        ck_assert(spin_begins(&spin));
        spin_ended(&spin, true);
        spin_asked(&spin, true);
        ck_assert(spin_begins(&spin));
        spin_ended(&spin, true);
        spin_asked(&spin, false);
    }
}
END_TEST

START_TEST(what_is_no_chance_is_not_counted_as_one_that_was_left_out)
{
    struct spin spin = after_a_run();
    spin_ended(&spin, false); // one is left out
    spin_asked(&spin, false);
    for (uint32_t i = 0; i < SPIN_RUN; i++) {
        ck_assert(!spin_begins(&spin));
        spin_asked(&spin, true);
    }
    ck_assert_uint_eq(left_out(&spin), 1);
}
END_TEST

START_TEST(as_long_as_it_brings_something_every_chance_is_taken)
{
    struct spin spin = after_a_run();
    for (uint32_t i = 0; i < 1000; i++) {
        ck_assert(spin_begins(&spin));
        spin_ended(&spin, true);
    }
}
END_TEST

START_TEST(each_look_in_vain_doubles_the_chances_up_to_256)
{
    static const uint32_t expected[] = {0, 1, 3, 7, 15, 31, 63, 127, 255, 255, 255};
    struct spin spin = after_a_run();
    for (uint32_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        ck_assert_uint_eq(left_out(&spin), expected[i]);
        spin_ended(&spin, false);
    }
}
END_TEST

START_TEST(one_that_brings_something_makes_good_for_all_in_vain)
{
    struct spin spin = after_a_run();
    for (uint32_t i = 0; i < 20; i++) {
        (void)left_out(&spin);
        spin_ended(&spin, false);
    }
    ck_assert_uint_eq(left_out(&spin), 255);
    spin_ended(&spin, true);
    ck_assert_uint_eq(left_out(&spin), 0);
    spin_ended(&spin, false);
    ck_assert_uint_eq(left_out(&spin), 1);
}
END_TEST

START_TEST(a_look_takes_a_quarter_of_what_was_done_but_neither_less_nor_more_than_a_moment)
{
    ck_assert_uint_eq(spin_ns(0), SPIN_NS);
    ck_assert_uint_eq(spin_ns(4 * SPIN_NS), SPIN_NS);
    ck_assert_uint_eq(spin_ns(8 * SPIN_NS), 2 * SPIN_NS);
    ck_assert_uint_eq(spin_ns(4 * SPIN_MOST_NS), SPIN_MOST_NS);
    ck_assert_uint_eq(spin_ns(UINT64_MAX), SPIN_MOST_NS);
}
END_TEST

static Suite *
spin_suite(void)
{
    Suite *suite = suite_create("base/spin");
    TCase *tests = tcase_create("spin");
    tcase_add_test(tests, it_takes_a_run_of_requests_that_were_alone_and_one_that_was_not_ends_it);
    tcase_add_test(tests, what_is_no_chance_is_not_counted_as_one_that_was_left_out);
    tcase_add_test(tests, as_long_as_it_brings_something_every_chance_is_taken);
    tcase_add_test(tests, each_look_in_vain_doubles_the_chances_up_to_256);
    tcase_add_test(tests, one_that_brings_something_makes_good_for_all_in_vain);
    tcase_add_test(tests,
                   a_look_takes_a_quarter_of_what_was_done_but_neither_less_nor_more_than_a_moment);
    suite_add_tcase(suite, tests);
    return suite;
}

CHECK_MAIN(spin_suite)
