// tests/unit/router/test_property.c -- whole lives by seed: ROUTER_SEEDS of them, or only ROUTER_SEED.
//
// Shape: shell. See tests/lib/router_world.h.
#include <stdio.h>

#include "tests/lib/check_main.h"
#include "tests/lib/router_world.h"

#define SEEDS 60u
#define TURNS 2500u

static struct world world;

START_TEST(no_life_breaks_a_promise)
{
    const char *one = getenv("ROUTER_SEED"), *many = getenv("ROUTER_SEEDS");
    const uint64_t first = one != NULL ? strtoull(one, NULL, 10) : 0;
    const uint64_t count = one != NULL ? 1 : many != NULL ? strtoull(many, NULL, 10) : SEEDS;
    uint64_t ok = 0, partial = 0, failed = 0, acked = 0, hedges = 0, cuts = 0;
    for (uint64_t seed = first; seed < first + count; seed++) {
        world_open(&world, seed);
        const char *broken = world_run(&world, TURNS);
        char line[256];
        fanout_describe(&world.fanout, line, sizeof line);
        ck_assert_msg(broken == NULL, "ROUTER_SEED=%llu: not so: %s (%s)", (unsigned long long)seed,
                      broken, line);
        ok += world.answers_ok;
        partial += world.answers_partial;
        failed += world.answers_failed;
        acked += world.writes_acked;
        hedges += world.fanout.counters.hedges;
        cuts += world.fanout.counters.splits;
        world_close(&world);
    }
    if (many != NULL)
        printf("%llu whole, %llu partial, %llu failed; %llu items acknowledged, %llu hedges, "
               "%llu parts cut again\n",
               (unsigned long long)ok, (unsigned long long)partial, (unsigned long long)failed,
               (unsigned long long)acked, (unsigned long long)hedges, (unsigned long long)cuts);
    // The lives are worth something.
    ck_assert(one != NULL ||
              (ok > 0 && partial > 0 && failed > 0 && acked > 0 && hedges > 0 && cuts > 0));
}
END_TEST

static uint64_t
fold(uint64_t seed)
{
    char line[256];
    world_open(&world, seed);
    ck_assert_ptr_null(world_run(&world, 300));
    fanout_describe(&world.fanout, line, sizeof line);
    const uint64_t sum = hash_bytes(line, strlen(line)) ^ world.now_ns ^ world.answers_ok << 32;
    world_close(&world);
    return sum;
}

START_TEST(the_same_seed_lives_the_same_life)
{
    ck_assert_uint_eq(fold(7), fold(7));
    ck_assert_uint_ne(fold(7), fold(8));
}
END_TEST

static Suite *
property_suite(void)
{
    Suite *suite = suite_create("router/property");
    TCase *tcase = tcase_create("property");
    tcase_set_timeout(tcase, 600);
    tcase_add_test(tcase, no_life_breaks_a_promise);
    tcase_add_test(tcase, the_same_seed_lives_the_same_life);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(property_suite)
