// base/os_process.c -- what this process uses, as the system counts it.
//
// Shape: shell.
#include "base/os_process.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static uint32_t
entries_of(const char *path)
{
    uint32_t count = 0;
    DIR *folder = opendir(path);
    if (folder == NULL)
        return 0;
    for (const struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder))
        count += entry->d_name[0] != '.';
    (void)closedir(folder);
    return count;
}

static void
read_memory(struct os_process *out)
{
    unsigned long long whole = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL)
        return;
    if (fscanf(file, "%llu %llu", &whole, &resident) == 2) {
        const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
        out->virtual_bytes = whole * page;
        out->resident_bytes = resident * page;
    }
    (void)fclose(file);
}

static uint64_t
ns_of(struct timeval time)
{
    return (uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_usec * UINT64_C(1000);
}

void
os_process(struct os_process *out)
{
    struct rusage usage;
    struct rlimit limit;
    *out = (struct os_process){0};
    read_memory(out);
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        out->cpu_ns = ns_of(usage.ru_utime) + ns_of(usage.ru_stime);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        out->most_files = limit.rlim_cur > UINT32_MAX ? UINT32_MAX : (uint32_t)limit.rlim_cur;
    const uint32_t files = entries_of("/proc/self/fd");
    out->open_files = files > 0 ? files - 1 : 0; // without the one that looks
    out->threads = entries_of("/proc/self/task");
}

uint32_t
os_process_id(void)
{
    return (uint32_t)getpid();
}
