// base/os_clock.c -- the monotonic clock.
//
// Shape: shell.
#include "base/os_clock.h"

#include <time.h>

#include "base/assert.h"

uint64_t
os_clock_ns(void)
{
    struct timespec now;
    const int failed = clock_gettime(CLOCK_MONOTONIC, &now);
    ASSERT(failed == 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
