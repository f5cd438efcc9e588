// tests/system/failing_disk.c -- preloaded into a node: while the file that OMEN_DISK_FAILS names is there, writing to files fails.
//
// Shape: shell. What a process writes by its log and its sockets goes through other calls, or is passed on: only regular files fail.
#define _GNU_SOURCE 1
#undef _FORTIFY_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static bool
fails(int fd)
{
    const char *path = getenv("OMEN_DISK_FAILS");
    struct stat is;
    return path != NULL && access(path, F_OK) == 0 && fstat(fd, &is) == 0 && S_ISREG(is.st_mode);
}

static long
fail(void)
{
    errno = EIO;
    return -1;
}

ssize_t
pwrite(int fd, const void *bytes, size_t count, off_t at)
{
    return fails(fd) ? fail() : syscall(SYS_pwrite64, fd, bytes, count, at);
}

ssize_t
writev(int fd, const struct iovec *parts, int count)
{
    return fails(fd) ? fail() : syscall(SYS_writev, fd, parts, count);
}

int
fsync(int fd)
{
    return (int)(fails(fd) ? fail() : syscall(SYS_fsync, fd));
}

int
fdatasync(int fd)
{
    return (int)(fails(fd) ? fail() : syscall(SYS_fdatasync, fd));
}
