// base/os_cpu.h -- how many processors this process may use.
//
// Shape: shell.
#ifndef OMEN_BASE_OS_CPU_H
#define OMEN_BASE_OS_CPU_H
#include <stdint.h>

// At least 1. Respects the affinity mask (taskset, cpusets of a container), as it is at the call.
uint32_t os_cpu_count(void);

#endif
