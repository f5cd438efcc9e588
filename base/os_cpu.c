// base/os_cpu.c -- how many processors this process may use.
//
// Shape: shell. The affinity mask is asked rather than the number of processors online, because in a
// container with a cpuset the latter counts processors that this process never gets.
#include "base/os_cpu.h"

#include <sched.h>
#include <stddef.h>
#include <unistd.h>

// A machine with more processors than the first mask holds answers EINVAL; the mask doubles until it fits.
#define MASK_CPUS_FIRST 1024
#define MASK_CPUS_LAST (1 << 18)

uint32_t
os_cpu_count(void)
{
    for (int cpus = MASK_CPUS_FIRST; cpus <= MASK_CPUS_LAST; cpus *= 2) {
        cpu_set_t *mask = CPU_ALLOC((size_t)cpus);
        if (mask == NULL)
            break;
        const size_t bytes = CPU_ALLOC_SIZE((size_t)cpus);
        const int count = sched_getaffinity(0, bytes, mask) == 0 ? CPU_COUNT_S(bytes, mask) : 0;
        CPU_FREE(mask);
        if (count > 0)
            return (uint32_t)count;
    }
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (uint32_t)online : 1;
}
