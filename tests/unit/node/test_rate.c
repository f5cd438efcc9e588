// tests/unit/node/test_rate.c -- how fast a key may ask: a second's worth at once, then the rate and not a point more, whatever a request costs.
#include "node/rate.h"

#include "base/prng.h"
#include "tests/lib/check_main.h"

#define SECOND UINT64_C(1000000000)
#define NOW (UINT64_C(77) * SECOND)

START_TEST(an_idle_key_may_ask_a_seconds_worth_and_one_more_waits)
{
    static const uint32_t rates[] = {1, 2, 3, 7, 100, 999, 12345};
    const uint32_t per_second = rates[_i];
    struct rate rate = {0};
    for (uint32_t i = 0; i < per_second; i++) {
        ck_assert_uint_eq(rate_wait_ns(&rate, NOW), 0);
        rate_pay(&rate, NOW, 1, per_second);
    }
    const uint64_t wait_ns = rate_wait_ns(&rate, NOW);
    ck_assert_uint_eq(wait_ns, 1); // all of them are paid off after exactly a second
    ck_assert_uint_eq(rate_wait_ns(&rate, NOW + wait_ns - 1), 1);
    ck_assert_uint_eq(rate_wait_ns(&rate, NOW + wait_ns), 0);
}
END_TEST

START_TEST(a_batch_beyond_the_burst_is_let_in_and_the_next_waits_for_its_debt)
{
    struct rate rate = {0};
    ck_assert_uint_eq(rate_wait_ns(&rate, NOW), 0);
    rate_pay(&rate, NOW, 1, 100);
    rate_pay(&rate, NOW, 9999, 100);
    ck_assert_uint_eq(rate.paid_until_ns, NOW + 100 * SECOND);
    ck_assert_uint_eq(rate_wait_ns(&rate, NOW), 99 * SECOND + 1);
    ck_assert_uint_eq(rate_wait_ns(&rate, NOW + 99 * SECOND), 1);
    ck_assert_uint_eq(rate_wait_ns(&rate, NOW + 99 * SECOND + 1), 0);
}
END_TEST

START_TEST(the_least_and_the_greatest_rate_wrap_nowhere)
{
    struct rate slow = {0}, fast = {0};
    rate_pay(&slow, NOW, 10000, 1);
    ck_assert_uint_eq(slow.paid_until_ns, NOW + 10000 * SECOND);
    ck_assert_uint_eq(rate_wait_ns(&slow, NOW), 9999 * SECOND + 1);
    slow = (struct rate){0};
    rate_pay(&slow, NOW, UINT32_MAX, 1);
    ck_assert_uint_eq(slow.paid_until_ns, NOW + UINT32_MAX * SECOND);
    for (uint32_t i = 0; i < 429497; i++) // of less than a nanosecond each
        rate_pay(&fast, NOW, 10000, UINT32_MAX);
    ck_assert_uint_ge(fast.paid_until_ns, NOW + SECOND);
    ck_assert_uint_le(fast.paid_until_ns, NOW + SECOND + 1000);
}
END_TEST

START_TEST(what_is_paid_in_parts_is_paid_as_at_once)
{
    struct rate parts = {0}, whole = {0};
    for (uint32_t i = 0; i < 700; i++)
        rate_pay(&parts, NOW, 1, 700000007);
    rate_pay(&whole, NOW, 700, 700000007);
    ck_assert_uint_eq(parts.paid_until_ns, whole.paid_until_ns);
    ck_assert_uint_eq(parts.remainder, whole.remainder);
}
END_TEST

START_TEST(who_was_idle_for_long_has_no_more_than_the_burst)
{
    struct rate rate = {0};
    rate_pay(&rate, NOW, 1, 10);
    uint32_t let_in = 0;
    while (rate_wait_ns(&rate, NOW + 3600 * SECOND) == 0) {
        rate_pay(&rate, NOW + 3600 * SECOND, 1, 10);
        let_in++;
    }
    ck_assert_uint_eq(let_in, 10);
}
END_TEST

// The twin counts what is owed, in points times nanoseconds: exact, and with no time in it but what goes by.
START_TEST(many_arrivals_are_judged_as_a_dumb_bucket_judges_them)
{
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    static const uint32_t rates[] = {1, 3, 50, 999, 1000003, 4294967295u};
    const uint32_t per_second = rates[prng_below(&prng, 6)];
    struct rate rate = {0};
    unsigned __int128 owed = 0; // of 10^9 a point; a nanosecond pays `per_second` of it off
    uint64_t now_ns = NOW, refused = 0;
    for (uint32_t i = 0; i < 20000; i++) {
        const uint64_t passed_ns =
            prng_below(&prng, 3) == 0 ? prng_below(&prng, 3000000000u) : prng_below(&prng, 2000);
        const unsigned __int128 paid = (unsigned __int128)passed_ns * per_second;
        now_ns += passed_ns;
        owed = owed > paid ? owed - paid : 0;
        // Of the debt only whole nanoseconds are looked at, as the bucket does.
        const bool open = owed / per_second < RATE_BURST_NS;
        const uint64_t wait_ns = rate_wait_ns(&rate, now_ns);
        ck_assert_msg((wait_ns == 0) == open, "seed %d, arrival %u", _i, i);
        if (!open) {
            const unsigned __int128 then = owed - (unsigned __int128)wait_ns * per_second;
            ck_assert(then / per_second < RATE_BURST_NS);
            ck_assert((then + per_second) / per_second >= RATE_BURST_NS); // not a nanosecond before
            refused++;
            continue;
        }
        const uint32_t cost = 1 + prng_below(&prng, prng_below(&prng, 50) == 0 ? 10000 : 3);
        if (owed < per_second) // less than a nanosecond's is let go, as what is paid off was
            owed = 0;
        owed += (unsigned __int128)cost * SECOND;
        rate_pay(&rate, now_ns, cost, per_second);
    }
    ck_assert(refused > 0 || per_second > 1000);
}
END_TEST

static Suite *
rate_suite(void)
{
    Suite *suite = suite_create("node/rate");
    TCase *tcase = tcase_create("rate");
    tcase_add_loop_test(tcase, an_idle_key_may_ask_a_seconds_worth_and_one_more_waits, 0, 7);
    tcase_add_test(tcase, a_batch_beyond_the_burst_is_let_in_and_the_next_waits_for_its_debt);
    tcase_add_test(tcase, the_least_and_the_greatest_rate_wrap_nowhere);
    tcase_add_test(tcase, what_is_paid_in_parts_is_paid_as_at_once);
    tcase_add_test(tcase, who_was_idle_for_long_has_no_more_than_the_burst);
    tcase_add_loop_test(tcase, many_arrivals_are_judged_as_a_dumb_bucket_judges_them, 0, 30);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(rate_suite)
