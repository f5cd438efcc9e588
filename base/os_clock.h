// base/os_clock.h -- the monotonic clock, and the date.
//
// Shape: shell. Machines and kernels never ask the time: it is pushed into them.
#ifndef OMEN_BASE_OS_CLOCK_H
#define OMEN_BASE_OS_CLOCK_H
#include <stdint.h>

// Nanoseconds since some moment before the process began; never steps back, not even when the date is set.
uint64_t os_clock_ns(void);
// Nanoseconds that processors have spent on all threads of this process; what others on the machine take is not in it.
uint64_t os_processor_ns(void);

// The date, for records that people read; it may step.
uint64_t os_seconds_since_1970(void);
uint64_t os_ms_since_1970(void);

#endif
