// tests/unit/router/test_mutants.c -- the deliberate error of the router is caught by the world that finds nothing without it.
//
// Shape: shell. Links the machine with OMEN_TESTING. ROUTER_TABLE=1 prints how many seeds it took, and what caught it.
#include <stdio.h>

#include "base/bug.h"
#include "tests/lib/check_main.h"
#include "tests/lib/router_world.h"

#define SEEDS_MAX 1000u
#define TURNS 2500u

static struct world world;

START_TEST(a_part_that_follows_an_old_route_is_caught)
{
    const char *broken = NULL;
    uint64_t seed = 0;
    bug_choose(BUG_STALE_ROUTE);
    for (; seed < SEEDS_MAX && broken == NULL; seed++) {
        world_open(&world, seed);
        broken = world_run(&world, TURNS);
        world_close(&world);
    }
    if (getenv("ROUTER_TABLE") != NULL)
        printf("stale_route: %llu, %s\n", (unsigned long long)seed, broken);
    ck_assert_msg(broken != NULL, "stale_route was not caught");
}
END_TEST

static Suite *
mutants_suite(void)
{
    Suite *suite = suite_create("router/mutants");
    TCase *tcase = tcase_create("mutants");
    tcase_set_timeout(tcase, 600);
    tcase_add_test(tcase, a_part_that_follows_an_old_route_is_caught);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(mutants_suite)
