// base/os_process.h -- what this process uses, as the system counts it.
//
// Shape: shell. Reads /proc; what cannot be read is 0.
#ifndef OMEN_BASE_OS_PROCESS_H
#define OMEN_BASE_OS_PROCESS_H
#include <stdint.h>

struct os_process {
    uint64_t cpu_ns; // user and system, of all threads
    uint64_t resident_bytes, virtual_bytes;
    uint32_t open_files, most_files; // descriptors; most: the soft limit
    uint32_t threads;
};

void os_process(struct os_process *out);

// Another one after a fork: threads and locks that were there before are not this process's.
uint32_t os_process_id(void);

#endif
