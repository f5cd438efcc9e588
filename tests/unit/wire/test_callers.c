// tests/unit/wire/test_callers.c -- connections of an address: counted exactly, whoever else comes and goes, up to the limit and not one more.
#include "wire/callers.h"

#include <string.h>

#include "base/prng.h"
#include "tests/lib/check_main.h"

#define HOSTS 40u

// Addresses that differ in one byte, at either end.
static void
address_of(uint32_t host, uint8_t ip[16])
{
    memset(ip, 0, 16);
    ip[host % 2 == 0 ? 0 : 15] = (uint8_t)(1 + host);
}

START_TEST(an_address_has_as_many_as_the_limit_and_not_one_more)
{
    struct callers callers;
    uint8_t one[16], other[16];
    address_of(1, one);
    address_of(2, other);
    ck_assert_int_eq(callers_init(&callers, 8, 7), OMEN_OK);
    for (uint32_t i = 0; i < 3; i++)
        ck_assert(callers_enter(&callers, one, 3));
    ck_assert(!callers_enter(&callers, one, 3));
    ck_assert(!callers_enter(&callers, one, 3)); // the refused one was not counted
    ck_assert(callers_enter(&callers, other, 3));
    callers_leave(&callers, one);
    ck_assert(callers_enter(&callers, one, 3));
    ck_assert(!callers_enter(&callers, one, 3));
    callers_fini(&callers);
}
END_TEST

// The twin has a number for each host. As many connections as the table was made for, so that chains are long and gaps are closed.
START_TEST(who_comes_and_goes_changes_nobody_elses_count)
{
    struct callers callers;
    struct prng prng;
    uint32_t twin[HOSTS] = {0}, open = 0;
    prng_init(&prng, (uint64_t)_i);
    ck_assert_int_eq(callers_init(&callers, HOSTS, (uint64_t)_i), OMEN_OK);
    for (uint32_t step = 0; step < 4000; step++) {
        const uint32_t host = prng_below(&prng, HOSTS);
        const uint32_t most = 1 + prng_below(&prng, 3);
        uint8_t ip[16];
        address_of(host, ip);
        if (twin[host] > 0 && (open == HOSTS || prng_below(&prng, 2) == 0)) {
            callers_leave(&callers, ip);
            twin[host]--;
            open--;
        } else if (open < HOSTS) {
            const bool entered = callers_enter(&callers, ip, most);
            ck_assert_msg(entered == (twin[host] < most), "seed %d, step %u", _i, step);
            twin[host] += entered;
            open += entered;
        }
    }
    for (uint32_t host = 0; host < HOSTS; host++)
        for (uint8_t ip[16]; twin[host] > 0; twin[host]--) {
            address_of(host, ip);
            ck_assert(!callers_enter(&callers, ip, twin[host]));
            callers_leave(&callers, ip);
        }
    for (uint32_t at = 0; at <= callers.mask; at++)
        ck_assert_uint_eq(callers.places[at].connections, 0);
    callers_fini(&callers);
}
END_TEST

static Suite *
callers_suite(void)
{
    Suite *suite = suite_create("wire/callers");
    TCase *tcase = tcase_create("callers");
    tcase_add_test(tcase, an_address_has_as_many_as_the_limit_and_not_one_more);
    tcase_add_loop_test(tcase, who_comes_and_goes_changes_nobody_elses_count, 0, 20);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(callers_suite)
