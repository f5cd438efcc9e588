// tests/unit/replica/test_mutants.c -- each deliberate error is caught by the same world that finds nothing wrong without one.
//
// Shape: shell. Links the machine with OMEN_TESTING. REPLICA_TABLE=1 prints how many seeds each took.
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bug.h"
#include "tests/lib/check_main.h"
#include "tests/lib/lease_world.h"
#include "tests/lib/replica_world.h"

#define SEEDS_MAX 1000u
#define TURNS 6000u

static struct world world;

// What the world of copies must catch; the world of leases has the other.
static const enum bug bugs[] = {
    BUG_ACK_BEFORE_REPLICA, BUG_ACK_BEFORE_FSYNC,  BUG_SKIP_PROMISE, BUG_SHRINK_EARLY,
    BUG_NO_PENDING_ADD,     BUG_RESUME_SAME_TERM,  BUG_LEASE_IGNORE, BUG_LEASE_NO_RECHECK,
    BUG_LEASE_OLD_VIEW,     BUG_APPLY_UNCOMMITTED, BUG_NO_DEDUPE,
};

// In a process of its own, because an assert may be what catches it.
static bool
is_caught(enum bug which, uint64_t seed)
{
    fflush(stdout);
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        if (getenv("REPLICA_TABLE") == NULL && freopen("/dev/null", "w", stderr) == NULL)
            _exit(2);
        bug_choose(which);
        world_open(&world, seed);
        const char *broken = world_run(&world, TURNS);
        if (broken != NULL && getenv("REPLICA_TABLE") != NULL)
            printf("  %s\n", broken);
        fflush(stdout);
        world_close(&world);
        _exit(broken != NULL);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

START_TEST(a_deliberate_error_is_caught_within_a_thousand_seeds)
{
    uint32_t seed = 0;
    while (seed < SEEDS_MAX && !is_caught(bugs[_i], seed))
        seed++;
    if (getenv("REPLICA_TABLE") != NULL)
        printf("%s: %u\n", bug_name(bugs[_i]), seed + 1);
    ck_assert_msg(seed < SEEDS_MAX, "%s was not caught", bug_name(bugs[_i]));
}
END_TEST

START_TEST(a_lease_that_no_quorum_confirmed_is_caught)
{
    static struct lease_world leases;
    const struct lease_config config = {.lease_ns = 100 * LEASE_MS, .guard_ns = 120 * LEASE_MS};
    uint64_t seed = 0;
    bug_choose(BUG_LEASE_GRANT_UNCONFIRMED);
    while (seed < SEEDS_MAX && lease_run(seed, &config, &leases) == NULL)
        seed++;
    ck_assert_msg(seed < SEEDS_MAX, "lease_grant_unconfirmed was not caught");
}
END_TEST

static Suite *
mutants_suite(void)
{
    Suite *suite = suite_create("replica/mutants");
    TCase *tcase = tcase_create("mutants");
    tcase_set_timeout(tcase, 600);
    tcase_add_loop_test(tcase, a_deliberate_error_is_caught_within_a_thousand_seeds, 0,
                        (int)(sizeof bugs / sizeof *bugs));
    tcase_add_test(tcase, a_lease_that_no_quorum_confirmed_is_caught);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(mutants_suite)
