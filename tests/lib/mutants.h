// tests/lib/mutants.h -- how many seeds a deliberate error takes to be caught, each seed in a process of its own.
//
// Shape: shell.
#ifndef OMEN_TESTS_MUTANTS_H
#define OMEN_TESTS_MUTANTS_H
#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bug.h"

#define MUTANT_SEEDS_MAX 1000u

#ifdef OMEN_TESTING // without it there are no deliberate errors
// In a process of its own, because an assert may be what catches it. `finds` runs a seed and says whether something is wrong.
static inline bool
mutant_is_caught(enum bug which, uint64_t seed, bool (*finds)(uint64_t seed), bool loud)
{
    fflush(stdout);
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        if (!loud && freopen("/dev/null", "w", stderr) == NULL)
            _exit(2);
        bug_choose(which);
        const bool found = finds(seed);
        fflush(stdout);
        _exit(found);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

// Fails the test where none of MUTANT_SEEDS_MAX seeds catches it. With the variable `table` in the environment the number
// of seeds is printed, and what the processes say.
static inline void
mutant_check(enum bug which, bool (*finds)(uint64_t seed), const char *table)
{
    const bool loud = getenv(table) != NULL;
    uint32_t seed = 0;
    while (seed < MUTANT_SEEDS_MAX && !mutant_is_caught(which, seed, finds, loud))
        seed++;
    if (loud)
        printf("%s: %u\n", bug_name(which), seed + 1);
    ck_assert_msg(seed < MUTANT_SEEDS_MAX, "%s was not caught", bug_name(which));
}
#endif

#endif
