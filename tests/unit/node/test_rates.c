// tests/unit/node/test_rates.c -- buckets of many keys: each its own, kept while something is owed, and none of those that are gone.
#include "node/rates.h"

#include <stdio.h>

#include "tests/lib/check_main.h"

#define NOW UINT64_C(5000000000)
#define KEYS 1088u // of a configuration and of a map

static struct rate *
bucket(struct rates *rates, uint32_t number, uint64_t now_ns)
{
    char name[WIRE_NAME_BYTES_MAX + 1];
    snprintf(name, sizeof name, "key-%u", number);
    struct rate *rate = rates_of(rates, name, now_ns);
    ck_assert_ptr_nonnull(rate);
    return rate;
}

START_TEST(each_key_has_its_own_bucket_however_many_come)
{
    struct rates rates;
    rates_init(&rates);
    for (uint32_t i = 0; i < KEYS; i++)
        rate_pay(bucket(&rates, i, NOW), NOW, i + 1, 1);
    for (uint32_t i = 0; i < KEYS; i++)
        ck_assert_uint_eq(bucket(&rates, i, NOW)->paid_until_ns, NOW + (i + 1) * 1000000000ull);
    ck_assert_uint_eq(rates.used, KEYS);
    rates_fini(&rates);
}
END_TEST

START_TEST(what_nobody_owes_for_takes_no_room_for_ever_and_a_debt_is_kept)
{
    struct rates rates;
    rates_init(&rates);
    rate_pay(bucket(&rates, 0, NOW), NOW, UINT32_MAX, 1);
    for (uint32_t i = 1; i < 100000; i++) {
        const uint64_t now_ns = NOW + i * 2000000000ull;
        rate_pay(bucket(&rates, i, now_ns), now_ns, 1, 1);
    }
    ck_assert_uint_le(rates.room, 64);
    ck_assert_uint_eq(bucket(&rates, 0, NOW)->paid_until_ns, NOW + UINT32_MAX * 1000000000ull);
    rates_fini(&rates);
}
END_TEST

static Suite *
rates_suite(void)
{
    Suite *suite = suite_create("node/rates");
    TCase *tcase = tcase_create("rates");
    tcase_add_test(tcase, each_key_has_its_own_bucket_however_many_come);
    tcase_add_test(tcase, what_nobody_owes_for_takes_no_room_for_ever_and_a_debt_is_kept);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(rates_suite)
