// tests/lib/small_disk.h -- file systems of a test's own, which only its process sees.
//
// Shape: shell. Needs root, or a kernel that lets anybody make a user namespace; else the answer is false and the test
//        says that it is skipped.
#ifndef OMEN_TESTS_SMALL_DISK_H
#define OMEN_TESTS_SMALL_DISK_H
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static inline bool
small_disk_write(const char *path, const char *text)
{
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const bool done = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    (void)close(fd);
    return done;
}

// This process mounts for itself from now on.
static inline bool
small_disk_alone(void)
{
    if (unshare(CLONE_NEWNS) != 0) {
        char map[64];
        (void)snprintf(map, sizeof map, "0 %u 1", (unsigned)getuid());
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 ||
            !small_disk_write("/proc/self/uid_map", map))
            return false;
    }
    return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static inline bool
small_disk_mount(const char *where, const char *size)
{
    if (small_disk_alone() && mount("tmpfs", where, "tmpfs", 0, size) == 0)
        return true;
    (void)fprintf(stderr, "SKIPPED: no right to mount a small file system\n");
    return false;
}

// As root may write to what is read-only by its mode, so only the mount keeps it from that.
static inline bool
small_disk_read_only(const char *where)
{
    return mount(NULL, where, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0;
}

#endif
