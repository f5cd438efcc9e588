// tests/system/jumping_clock.c -- preloaded into a node: its wall clock is off by what the file says that OMEN_CLOCK_OFF names.
//
// Shape: shell. The file is an int64 of seconds and may change at any time. Clocks that no one sets, as the monotonic one, go on as they do.
#define _GNU_SOURCE 1
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *off_s;

__attribute__((constructor)) static void
find_file(void)
{
    const char *path = getenv("OMEN_CLOCK_OFF");
    const int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *found = fd >= 0 ? mmap(NULL, sizeof *off_s, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (found == MAP_FAILED) {
        (void)fprintf(stderr, "jumping_clock: OMEN_CLOCK_OFF names no file\n");
        abort();
    }
    off_s = found;
    (void)close(fd);
}

int
clock_gettime(clockid_t clock, struct timespec *now)
{
    const int done = (int)syscall(SYS_clock_gettime, clock, now);
    if (done == 0 && off_s != NULL && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += *off_s;
    return done;
}
