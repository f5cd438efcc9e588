// tests/lib/sanitizer_options.c -- how the sanitizers behave in our tests, also when one is run by hand.
//
// Shape: value. The runtimes ask these functions when they start; other builds never call them. An allocation that
// is too large must answer NULL, as without a sanitizer, because tests ask for it.
#define ANSWERS_THE_RUNTIME __attribute__((used, visibility("default")))

ANSWERS_THE_RUNTIME const char *__asan_default_options(void);
ANSWERS_THE_RUNTIME const char *__ubsan_default_options(void);
ANSWERS_THE_RUNTIME const char *__tsan_default_options(void);
ANSWERS_THE_RUNTIME const char *__tsan_default_suppressions(void);

const char *
__asan_default_options(void)
{
    return "allocator_may_return_null=1:detect_stack_use_after_return=1:strict_string_checks=1";
}

const char *
__ubsan_default_options(void)
{
    return "print_stacktrace=1";
}

// At the end of each test whose threads live on, as NNG's do, the runtime waits a second for races of theirs: a twentieth has to do.
const char *
__tsan_default_options(void)
{
    return "allocator_may_return_null=1:halt_on_error=1:second_deadlock_stack=1:atexit_sleep_ms=50";
}

// NNG counts who uses a dialer's mutex by an atomic number of its own, which the runtime does not see: Debian's library is
// not compiled for it. The end of a mutex is all that is not looked at.
const char *
__tsan_default_suppressions(void)
{
    return "race_top:pthread_mutex_destroy\n";
}
