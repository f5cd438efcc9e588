// base/os_wait.c -- sleep until a word changes.
//
// Shape: shell. A private futex: the kernel compares and sleeps in one step, so that a change between the
// caller's look and its sleep is never missed.
#include "base/os_wait.h"

#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(sizeof(_Atomic uint32_t) == 4, "the kernel compares 32 bits");

void
os_wait(_Atomic uint32_t *word, uint32_t expected)
{
    // EAGAIN (changed already) and EINTR (a signal) are both answered by the caller's loop.
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

void
os_wake_all(_Atomic uint32_t *word)
{
    os_wake_some(word, INT_MAX);
}

void
os_wake_some(_Atomic uint32_t *word, uint32_t most)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, most, NULL, NULL, 0);
}
