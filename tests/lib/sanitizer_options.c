// tests/lib/sanitizer_options.c -- how the sanitizers behave in our tests, also when one is run by hand.
//
// Shape: value. The runtimes ask these functions when they start; other builds never call them. An allocation that
// is too large must answer NULL, as without a sanitizer, because tests ask for it.
#define ANSWERS_THE_RUNTIME __attribute__((used, visibility("default")))

ANSWERS_THE_RUNTIME const char *__asan_default_options(void);
ANSWERS_THE_RUNTIME const char *__ubsan_default_options(void);
ANSWERS_THE_RUNTIME const char *__tsan_default_options(void);

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

const char *
__tsan_default_options(void)
{
    return "allocator_may_return_null=1:halt_on_error=1:second_deadlock_stack=1";
}
