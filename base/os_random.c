// base/os_random.c -- bytes that nobody can foresee.
//
// Shape: shell.
#include "base/os_random.h"

#include <sys/random.h>

#include "base/assert.h"

void
os_random(void *bytes, size_t count)
{
    ASSERT(count <= 256); // up to which the kernel always gives all of them
    const ssize_t given = getrandom(bytes, count, 0);
    ASSERT(given == (ssize_t)count);
}
