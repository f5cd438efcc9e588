// tests/unit/raft/test_mutants.c -- each deliberate error is caught by the same storms that find nothing wrong without one.
//
// Shape: shell. Links the machine with OMEN_TESTING. RAFT_TABLE=1 prints how many seeds each took, and what caught it.
#include <sys/wait.h>

#include "base/bug.h"
#include "tests/lib/raft_storm.h"

#define SEEDS_MAX 1000u

static const enum bug bugs[] = {BUG_VOTE_NOT_PERSISTED, BUG_SINGLE_CHANGE_BUG,
                                BUG_READINDEX_CTX_REUSE, BUG_COMMIT_OLD_TERM};

// In a process of its own, because an assert may be what catches it.
static bool
is_caught(enum bug which, uint64_t seed)
{
    fflush(stdout);
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        if (getenv("RAFT_TABLE") == NULL && freopen("/dev/null", "w", stderr) == NULL)
            _exit(2);
        bug_choose(which);
        cluster_is_trial = true;
        storm_run(seed);
        _exit(0);
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
    if (getenv("RAFT_TABLE") != NULL)
        printf("%s: %u\n", bug_name(bugs[_i]), seed + 1);
    ck_assert_msg(seed < SEEDS_MAX, "%s was not caught", bug_name(bugs[_i]));
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
