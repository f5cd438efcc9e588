// tests/lib/await.h -- threads of a test wait for what others count.
//
// Shape: shell.
#ifndef OMEN_TESTS_AWAIT_H
#define OMEN_TESTS_AWAIT_H
#include <stdatomic.h>
#include <stdint.h>

#include "base/os_wait.h"

static inline void
await(_Atomic uint32_t *count, uint32_t least)
{
    for (uint32_t now; (now = atomic_load(count)) < least;)
        os_wait(count, now);
}

static inline void
await_tell(_Atomic uint32_t *count)
{
    atomic_fetch_add(count, 1);
    os_wake_all(count);
}

#endif
