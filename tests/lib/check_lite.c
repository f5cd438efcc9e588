// tests/lib/check_lite.c -- the few functions behind <check.h> that our tests use, for cross builds.
//
// Shape: shell.
//
// Debian installs Check's library for the machine at hand only, and a foreign architecture in dpkg is too much
// to ask of whoever runs the tests. The header serves every machine, so this file stands in for the library:
// each test runs in a child process, as with Check, and the closing line is Check's. There are no timeouts here
// (ctest has one), no tags, no logs.
#include <check.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TESTS_MAX = 512, CASES_MAX = 64, FIXTURES_MAX = 4 };

struct test {
    const TTest *test;
    int signal, exit_value, first, past;
};

struct TCase {
    const char *name;
    struct test tests[TESTS_MAX];
    int test_count;
    SFun setup[FIXTURES_MAX], teardown[FIXTURES_MAX];
    int fixture_count;
};

struct Suite {
    const char *name;
    TCase *cases[CASES_MAX];
    int case_count;
};

struct SRunner {
    Suite *suite;
    int checks, failures, errors;
};

static _Noreturn void usage(const char *what);
static void run_test(SRunner *runner, const TCase *tcase, const struct test *test, int i);
static _Noreturn void run_child(const TCase *tcase, const struct test *test, int i);

Suite *
suite_create(const char *name)
{
    Suite *suite = calloc(1, sizeof *suite);
    if (suite == NULL)
        usage("out of memory");
    suite->name = name;
    return suite;
}

TCase *
tcase_create(const char *name)
{
    TCase *tcase = calloc(1, sizeof *tcase);
    if (tcase == NULL)
        usage("out of memory");
    tcase->name = name;
    return tcase;
}

void
suite_add_tcase(Suite *suite, TCase *tcase)
{
    if (suite->case_count == CASES_MAX)
        usage("too many cases in one suite");
    suite->cases[suite->case_count++] = tcase;
}

void
_tcase_add_test(TCase *tcase, const TTest *test, int raised, int exit_value, int first, int past)
{
    if (tcase->test_count == TESTS_MAX)
        usage("too many tests in one case");
    tcase->tests[tcase->test_count++] = (struct test){test, raised, exit_value, first, past};
}

void
tcase_add_checked_fixture(TCase *tcase, SFun setup, SFun teardown)
{
    if (tcase->fixture_count == FIXTURES_MAX)
        usage("too many fixtures in one case");
    tcase->setup[tcase->fixture_count] = setup;
    tcase->teardown[tcase->fixture_count++] = teardown;
}

void
tcase_set_timeout(TCase *tcase, double timeout)
{
    (void)tcase;
    (void)timeout;
}

SRunner *
srunner_create(Suite *suite)
{
    SRunner *runner = calloc(1, sizeof *runner);
    if (runner == NULL)
        usage("out of memory");
    runner->suite = suite;
    return runner;
}

void
srunner_run_all(SRunner *runner, enum print_output mode)
{
    (void)mode;
    const Suite *suite = runner->suite;
    printf("Running suite(s): %s\n", suite->name);
    for (int c = 0; c < suite->case_count; c++) {
        const TCase *tcase = suite->cases[c];
        for (int t = 0; t < tcase->test_count; t++)
            for (int i = tcase->tests[t].first; i < tcase->tests[t].past; i++)
                run_test(runner, tcase, &tcase->tests[t], i);
    }
    const int passed = runner->checks - runner->failures - runner->errors;
    printf("%d%%: Checks: %d, Failures: %d, Errors: %d\n",
           runner->checks > 0 ? passed * 100 / runner->checks : 100, runner->checks,
           runner->failures, runner->errors);
}

int
srunner_ntests_failed(SRunner *runner)
{
    return runner->failures + runner->errors;
}

void
srunner_free(SRunner *runner)
{
    for (int c = 0; c < runner->suite->case_count; c++)
        free(runner->suite->cases[c]);
    free(runner->suite);
    free(runner);
}

void
_mark_point(const char *file, int line)
{
    (void)file;
    (void)line;
}

void
_ck_assert_failed(const char *file, int line, const char *expression, const char *message, ...)
{
    printf("%s:%d: ", file, line);
    if (message != NULL) {
        va_list arguments;
        va_start(arguments, message);
        vprintf(message, arguments);
        va_end(arguments);
    } else {
        printf("%s", expression);
    }
    printf("\n");
    fflush(stdout);
    _exit(EXIT_FAILURE);
}

static void
usage(const char *what)
{
    fprintf(stderr, "check_lite: %s\n", what);
    exit(EXIT_FAILURE);
}

static void
run_test(SRunner *runner, const TCase *tcase, const struct test *test, int i)
{
    fflush(NULL);
    const pid_t child = fork();
    if (child < 0)
        usage("cannot fork");
    if (child == 0)
        run_child(tcase, test, i);
    int status = 0;
    if (waitpid(child, &status, 0) != child)
        usage("cannot wait for a test");

    runner->checks++;
    const int raised = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    const int value = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    if (raised == test->signal && (raised != 0 || value == test->exit_value))
        return;
    const bool failure = raised == 0 && test->signal == 0 && value == EXIT_FAILURE;
    runner->failures += failure;
    runner->errors += !failure;
    printf("%s:%d:%s:%s:%d: signal %d (expected %d), exit value %d (expected %d)\n",
           test->test->file, test->test->line, tcase->name, test->test->name, i, raised,
           test->signal, value, test->exit_value);
}

static void
run_child(const TCase *tcase, const struct test *test, int i)
{
    for (int f = 0; f < tcase->fixture_count; f++)
        if (tcase->setup[f] != NULL)
            tcase->setup[f]();
    test->test->fn(i);
    for (int f = tcase->fixture_count - 1; f >= 0; f--)
        if (tcase->teardown[f] != NULL)
            tcase->teardown[f]();
    exit(EXIT_SUCCESS);
}
