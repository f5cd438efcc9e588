// base/os_clock.h -- the monotonic clock.
//
// Shape: shell. Machines and kernels never ask the time: it is pushed into them.
#ifndef OMEN_BASE_OS_CLOCK_H
#define OMEN_BASE_OS_CLOCK_H
#include <stdint.h>

// Nanoseconds since some moment before the process began; never steps back, not even when the date is set.
uint64_t os_clock_ns(void);

#endif
