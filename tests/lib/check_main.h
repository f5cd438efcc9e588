// tests/lib/check_main.h -- the main() of a Check test program.
//
// Shape: shell. A test file ends with CHECK_MAIN(suite_fn), where `Suite *suite_fn(void)` makes its suite.
//
// Check prints its closing line ("100%: Checks: 7, Failures: 0, Errors: 0") and then what failed. Its own
// variables work: CK_FORK=no runs all tests in this process (for a debugger), CK_RUN_CASE=name runs one case,
// CK_VERBOSITY=verbose names every test. The time a test may take is 120 s where the file does not say
// otherwise, because sanitizers and emulators are slow; CK_DEFAULT_TIMEOUT overrides it.
#ifndef OMEN_TESTS_CHECK_MAIN_H
#define OMEN_TESTS_CHECK_MAIN_H
#include <check.h>
#include <signal.h> // for tests that expect SIGABRT
#include <stdbool.h>
#include <stdlib.h>
#include <sys/single_threaded.h>

#include "base/tsan.h"

#define CHECK_TIMEOUT_SECONDS "120"

static inline int
check_main(Suite *(*suite_fn)(void))
{
    setenv("CK_DEFAULT_TIMEOUT", CHECK_TIMEOUT_SECONDS, 0); // read when a test case is made
    SRunner *runner = srunner_create(suite_fn());
    srunner_run_all(runner, CK_ENV);
    const int failures = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

// How much of something a test of threads has: they meet over few rows and in few rounds as they do over many, for each of which
// ThreadSanitizer takes ten times as long.
#ifdef OMEN_UNDER_TSAN
#define FEWER_UNDER_TSAN(few, many) (few)
#else
#define FEWER_UNDER_TSAN(few, many) (many)
#endif

static bool check_had_threads;

static inline void
check_remember_threads(void)
{
    check_had_threads = !__libc_single_threaded;
}

// What libc says is for good: a thread that has ended counts, too.
static inline void
check_made_no_thread(void)
{
    ck_assert_msg(__libc_single_threaded || check_had_threads,
                  "a test for one thread made another: ThreadSanitizer does not get to see it");
}

// A case whose tests have one thread. ThreadSanitizer compares what threads do, so its build leaves these to the others, in
// which a test that makes a thread fails.
static inline void
suite_add_one_thread(Suite *suite, TCase *tcase)
{
#ifndef OMEN_UNDER_TSAN
    tcase_add_checked_fixture(tcase, check_remember_threads, check_made_no_thread);
    suite_add_tcase(suite, tcase);
#else
    (void)suite, (void)tcase;
#endif
}

#define CHECK_MAIN(suite_fn)                                                                       \
    int main(void)                                                                                 \
    {                                                                                              \
        return check_main(suite_fn);                                                               \
    }

#endif
