// base/os_random.h -- bytes that nobody can foresee.
//
// Shape: shell. For names that must differ everywhere; whatever must be repeatable takes base/prng.h.
#ifndef OMEN_BASE_OS_RANDOM_H
#define OMEN_BASE_OS_RANDOM_H
#include <stddef.h>

// Fills `count` (at most 256) bytes from the kernel's generator.
void os_random(void *bytes, size_t count);

#endif
