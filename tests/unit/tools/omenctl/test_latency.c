// tests/unit/tools/omenctl/test_latency.c -- quantiles are those of sorting, but for a thirty-second.
#include "tools/omenctl/latency.h"

#include <stdlib.h>

#include "base/prng.h"
#include "tests/lib/check_main.h"

#define COUNT 10000u

static struct latency latency;

static int
compare(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

START_TEST(quantiles_are_those_of_sorting)
{
    static uint64_t all[COUNT];
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    for (uint32_t i = 0; i < COUNT; i++) {
        all[i] = prng_next(&prng) >> prng_below(&prng, 64);
        latency_note(&latency, all[i]);
    }
    qsort(all, COUNT, sizeof *all, compare);
    for (uint32_t i = 1; i <= 1000; i++) {
        const uint32_t rank = COUNT / 1000 * i; // the share is between two ranks, where nothing is rounded
        const uint64_t exact = all[rank - 1], got = latency_ns(&latency, (rank - 0.5) / COUNT);
        ck_assert_msg(got >= exact && got - exact <= exact / 32, "%u: %llu, not %llu", i,
                      (unsigned long long)got, (unsigned long long)exact);
    }
    ck_assert_uint_eq(latency_ns(&latency, 1), all[COUNT - 1]);
}
END_TEST

START_TEST(the_ends_have_classes_of_their_own)
{
    static const uint64_t ends[] = {0, 1, 31, 32, 33, 63, 64, 65, UINT64_MAX - 1, UINT64_MAX};
    ck_assert_uint_eq(latency_ns(&latency, 0.5), 0);
    for (uint32_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        latency = (struct latency){.count = 0};
        latency_note(&latency, ends[i]);
        ck_assert_uint_eq(latency_ns(&latency, 0.5), ends[i]);
        ck_assert_uint_eq(latency.most_ns, ends[i]);
    }
}
END_TEST

START_TEST(those_of_two_are_added_up)
{
    static struct latency more;
    latency_note(&latency, 10);
    latency_note(&more, 1000);
    latency_note(&more, 20);
    latency_add(&latency, &more);
    ck_assert_uint_eq(latency.count, 3);
    ck_assert_uint_eq(latency_ns(&latency, 0.33), 10);
    ck_assert_uint_eq(latency_ns(&latency, 0.6), 20);
    ck_assert_uint_eq(latency_ns(&latency, 1), 1000);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("tools/latency");
    TCase *tcase = tcase_create("latency");
    tcase_add_loop_test(tcase, quantiles_are_those_of_sorting, 0, 4);
    tcase_add_test(tcase, the_ends_have_classes_of_their_own);
    tcase_add_test(tcase, those_of_two_are_added_up);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
