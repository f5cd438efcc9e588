// tests/unit/raft/test_mutants.c -- each deliberate error is caught by the same storms that find nothing wrong without one.
//
// Shape: shell. Links the machine with OMEN_TESTING. RAFT_TABLE=1 prints how many seeds each took, and what caught it.
#include "tests/lib/mutants.h"
#include "tests/lib/raft_storm.h"

static const enum bug bugs[] = {BUG_VOTE_NOT_PERSISTED, BUG_SINGLE_CHANGE_BUG,
                                BUG_READINDEX_CTX_REUSE, BUG_COMMIT_OLD_TERM};

static bool
finds(uint64_t seed)
{
    cluster_is_trial = true;
    storm_run(seed);
    return false; // else an assert has ended the process
}

START_TEST(a_deliberate_error_is_caught_within_a_thousand_seeds)
{
    mutant_check(bugs[_i], finds, "RAFT_TABLE");
}
END_TEST

static Suite *
suite(void)
{
    Suite *s = suite_create("raft/mutants");
    TCase *tcase = tcase_create("mutants");
    tcase_set_timeout(tcase, 600);
    tcase_add_loop_test(tcase, a_deliberate_error_is_caught_within_a_thousand_seeds, 0,
                        (int)(sizeof bugs / sizeof *bugs));
    suite_add_tcase(s, tcase);
    return s;
}

CHECK_MAIN(suite)
