// tests/unit/node/test_led.c -- who leads is asked again when that may help, and nobody is told that nothing was done where it may have been.
//
// Shape: shell.
#include "node/led.h"

#include "tests/lib/check_main.h"

#define MS UINT64_C(1000000)
#define BEGUN (5000 * MS)

static const struct cluster_uuid none = {0, 0}, own = {1, 1}, a = {1, 2}, b = {1, 3};
static struct led led;

static void
setup(void)
{
    led = (struct led){.tries = 0};
}

START_TEST(the_first_try_goes_to_who_leads_or_is_refused)
{
    ck_assert_int_eq(led_look(&led, own, a, BEGUN), LED_ASK);
    ck_assert_int_eq(led_look(&led, own, own, BEGUN), LED_OURS);
    ck_assert_int_eq(led_look(&led, own, none, BEGUN), LED_NOBODY);
}
END_TEST

START_TEST(another_leader_is_asked_at_once_and_the_same_one_when_its_time_is_over)
{
    led_asked(&led, a, 7, BEGUN);
    ck_assert_uint_eq(led_due(&led, a), BEGUN + LED_TRY_NS);
    ck_assert_int_eq(led_look(&led, own, a, BEGUN + LED_TRY_NS - 1), LED_WAIT);
    ck_assert_int_eq(led_look(&led, own, a, BEGUN + LED_TRY_NS), LED_ASK);
    ck_assert_int_eq(led_look(&led, own, b, BEGUN), LED_ASK);
    ck_assert_uint_eq(led_due(&led, b), 0);
    ck_assert_int_eq(led_look(&led, own, own, BEGUN), LED_OURS); // this node, by now
}
END_TEST

START_TEST(what_was_asked_waits_where_nobody_leads)
{
    led_asked(&led, a, 7, BEGUN);
    ck_assert_int_eq(led_look(&led, own, none, BEGUN + 100 * LED_TRY_NS), LED_WAIT);
    ck_assert_uint_eq(led_due(&led, none), UINT64_MAX);
}
END_TEST

START_TEST(a_lost_try_is_followed_by_another_after_a_pause)
{
    led_asked(&led, a, 7, BEGUN);
    led_lost(&led, a, BEGUN + MS);
    ck_assert_int_eq(led_look(&led, own, a, BEGUN + MS + LED_PAUSE_NS - 1), LED_WAIT);
    ck_assert_int_eq(led_look(&led, own, a, BEGUN + MS + LED_PAUSE_NS), LED_ASK);
    led_lost(&led, b, BEGUN + MS); // who leads now cannot be reached either
    ck_assert_int_eq(led_look(&led, own, b, BEGUN + MS), LED_WAIT);
    ck_assert_int_eq(led_look(&led, own, a, BEGUN + MS), LED_ASK);
}
END_TEST

START_TEST(each_try_has_twice_the_time_of_the_one_before_up_to_a_minute)
{
    for (uint32_t i = 0; i < 10; i++) {
        led_asked(&led, a, i + 1, BEGUN);
        ck_assert_uint_eq(led_due(&led, a), BEGUN + (LED_TRY_NS << (i < 6 ? i : 6)));
    }
}
END_TEST

START_TEST(the_answers_of_the_last_eight_tries_are_taken)
{
    ck_assert(!led_is_last(&led, 0) && !led_is_ours(&led, 0));
    for (uint64_t i = 1; i <= LED_TRIES_KEPT + 1; i++)
        led_asked(&led, a, 100 + i, BEGUN);
    ck_assert(!led_is_ours(&led, 101));
    for (uint64_t i = 2; i <= LED_TRIES_KEPT + 1; i++) {
        ck_assert(led_is_ours(&led, 100 + i));
        ck_assert(led_is_last(&led, 100 + i) == (i == LED_TRIES_KEPT + 1));
    }
    led_asked(&led, own, 0, BEGUN); // by itself
    ck_assert(!led_is_ours(&led, 0));
    ck_assert(!led_is_last(&led, 100 + LED_TRIES_KEPT + 1));
}
END_TEST

START_TEST(a_refusal_is_the_answer_unless_it_leaves_open_what_was_done)
{
    led_asked(&led, a, 7, BEGUN);
    ck_assert(led_goes_on(&led, OMEN_E_TIMEOUT));
    ck_assert(!led_goes_on(&led, OMEN_E_BUSY));
    ck_assert(!led_goes_on(&led, OMEN_E_EXISTS));
    led_asked(&led, b, 8, BEGUN);
    ck_assert(led_goes_on(&led, OMEN_E_TIMEOUT));
    ck_assert(led_goes_on(&led, OMEN_E_BUSY)); // of this try; the first is not closed by it
    ck_assert(!led_goes_on(&led, OMEN_E_EXISTS));
}
END_TEST

START_TEST(nothing_is_said_not_to_be_done_that_an_earlier_try_may_have_done)
{
    static const struct {
        omen_status status;
        enum api_outcome first, later;
    } cases[] = {
        {OMEN_E_BUSY, API_NOT_APPLIED, API_UNKNOWN},
        {OMEN_E_INVALID, API_NOT_APPLIED, API_UNKNOWN},
        {OMEN_E_EXISTS, API_NOT_APPLIED, API_NOT_APPLIED},
        {OMEN_E_NOT_FOUND, API_NOT_APPLIED, API_NOT_APPLIED},
        {OMEN_E_CONFLICT, API_NOT_APPLIED, API_NOT_APPLIED},
        {OMEN_E_TIMEOUT, API_UNKNOWN, API_UNKNOWN},
        {OMEN_E_OP_EXPIRED, API_UNKNOWN, API_UNKNOWN},
    };
    led_asked(&led, a, 7, BEGUN);
    for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ck_assert_int_eq(led_outcome(&led, cases[i].status), cases[i].first);
    led_asked(&led, b, 8, BEGUN);
    for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ck_assert_int_eq(led_outcome(&led, cases[i].status), cases[i].later);
}
END_TEST

static Suite *
led_suite(void)
{
    Suite *suite = suite_create("node/led");
    TCase *tcase = tcase_create("led");
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, the_first_try_goes_to_who_leads_or_is_refused);
    tcase_add_test(tcase, another_leader_is_asked_at_once_and_the_same_one_when_its_time_is_over);
    tcase_add_test(tcase, what_was_asked_waits_where_nobody_leads);
    tcase_add_test(tcase, a_lost_try_is_followed_by_another_after_a_pause);
    tcase_add_test(tcase, each_try_has_twice_the_time_of_the_one_before_up_to_a_minute);
    tcase_add_test(tcase, the_answers_of_the_last_eight_tries_are_taken);
    tcase_add_test(tcase, a_refusal_is_the_answer_unless_it_leaves_open_what_was_done);
    tcase_add_test(tcase, nothing_is_said_not_to_be_done_that_an_earlier_try_may_have_done);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(led_suite)
