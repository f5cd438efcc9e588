// bench/clock.h -- what every timing program in C needs: ending with a reason, numbers of options, and clocks.
//
// Shape: shell. Header only: each program is one file besides.
#ifndef OMEN_BENCH_CLOCK_H
#define OMEN_BENCH_CLOCK_H
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

__attribute__((format(printf, 1, 2))) static _Noreturn inline void
die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

// What an option was given.
static inline size_t
number(const char *text, const char *name)
{
    char *end;
    errno = 0;
    const unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0')
        die("%s: %s is not a number", name, text);
    return (size_t)value;
}

static inline double
clock_s(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// For qsort, of doubles or of structs that begin with one.
static inline int
by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

#endif
