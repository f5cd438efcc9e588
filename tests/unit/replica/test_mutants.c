// tests/unit/replica/test_mutants.c -- each deliberate error is caught by the same world that finds nothing wrong without one.
//
// Shape: shell. Links the machine with OMEN_TESTING. REPLICA_TABLE=1 prints how many seeds each took.
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/check_main.h"
#include "tests/lib/lease_world.h"
#include "tests/lib/mutants.h"
#include "tests/lib/replica_halves.h"
#include "tests/lib/replica_world.h"

#define TURNS 6000u

static struct world world;

// What the world of copies must catch; the world of leases has the other.
static const enum bug bugs[] = {
    BUG_ACK_BEFORE_REPLICA, BUG_ACK_BEFORE_FSYNC,  BUG_SKIP_PROMISE, BUG_SHRINK_EARLY,
    BUG_NO_PENDING_ADD,     BUG_RESUME_SAME_TERM,  BUG_LEASE_IGNORE, BUG_LEASE_NO_RECHECK,
    BUG_LEASE_OLD_VIEW,     BUG_APPLY_UNCOMMITTED, BUG_NO_DEDUPE,
};

static bool
finds(uint64_t seed)
{
    world_open(&world, seed);
    const char *broken = world_run(&world, TURNS);
    if (broken != NULL && getenv("REPLICA_TABLE") != NULL)
        printf("  %s\n", broken);
    world_close(&world);
    return broken != NULL;
}

START_TEST(a_deliberate_error_is_caught_within_a_thousand_seeds)
{
    mutant_check(bugs[_i], finds, "REPLICA_TABLE");
}
END_TEST

START_TEST(a_lease_that_no_quorum_confirmed_is_caught)
{
    static struct lease_world leases;
    const struct lease_config config = {.lease_ns = 100 * LEASE_MS, .guard_ns = 120 * LEASE_MS};
    uint64_t seed = 0;
    bug_choose(BUG_LEASE_GRANT_UNCONFIRMED);
    while (seed < MUTANT_SEEDS_MAX && lease_run(seed, &config, &leases) == NULL)
        seed++;
    ck_assert_msg(seed < MUTANT_SEEDS_MAX, "lease_grant_unconfirmed was not caught");
}
END_TEST

// A cut is proposed, or a read goes on, although a copy of a child lacks what is committed. There is nothing to draw.
static bool
cuts_too_early(uint64_t seed)
{
    static struct alone one;
    (void)seed;
    halves_open(&one, 2);
    alone_propose(&one, 1, 1);
    alone_persisted(&one);
    alone_ack(&one, 2, 2);
    alone_ack(&one, 3, 2);
    halves_ack_all(&one, 1);
    return one.out.change.kind == REPLICA_CHANGE_CUT;
}

static bool
reads_behind_a_cut(uint64_t seed)
{
    static struct alone one;
    (void)seed;
    halves_open(&one, 2);
    halves_ack_all(&one, 1);
    halves_compare(&one, 4, 5);
    alone_read(&one, 21);
    return one.out.answer_count == 0;
}

START_TEST(a_cut_before_all_is_everywhere_is_caught)
{
    bug_choose(BUG_NONE);
    ck_assert(!cuts_too_early(0));
    mutant_check(BUG_CUT_EARLY, cuts_too_early, "REPLICA_TABLE");
}
END_TEST

START_TEST(a_read_while_a_cut_is_on_its_way_is_caught)
{
    bug_choose(BUG_NONE);
    ck_assert(!reads_behind_a_cut(0));
    mutant_check(BUG_CUT_READ_ON, reads_behind_a_cut, "REPLICA_TABLE");
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
    tcase_add_test(tcase, a_cut_before_all_is_everywhere_is_caught);
    tcase_add_test(tcase, a_read_while_a_cut_is_on_its_way_is_caught);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(mutants_suite)
