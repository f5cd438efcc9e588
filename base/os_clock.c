// base/os_clock.c -- the monotonic clock, and the date.
//
// Shape: shell.
#include "base/os_clock.h"

#include <time.h>

#include "base/assert.h"

static uint64_t
ns_of(clockid_t clock)
{
    struct timespec now;
    const int failed = clock_gettime(clock, &now);
    ASSERT(failed == 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t
os_clock_ns(void)
{
    return ns_of(CLOCK_MONOTONIC);
}

uint64_t
os_processor_ns(void)
{
    return ns_of(CLOCK_PROCESS_CPUTIME_ID);
}

static struct timespec
date(void)
{
    struct timespec now;
    const int refused = clock_gettime(CLOCK_REALTIME, &now);
    ASSERT(refused == 0);
    return now.tv_sec > 0 ? now : (struct timespec){0};
}

uint64_t
os_seconds_since_1970(void)
{
    return (uint64_t)date().tv_sec;
}

uint64_t
os_ms_since_1970(void)
{
    const struct timespec now = date();
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}
