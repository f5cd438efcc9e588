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
#include <stdlib.h>

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

#define CHECK_MAIN(suite_fn)                                                                       \
    int main(void)                                                                                 \
    {                                                                                              \
        return check_main(suite_fn);                                                               \
    }

#endif
