// tests/system/failing_disk.c -- preloaded into a node: while the file that OMEN_DISK_FAILS names is there, writing to files fails;
// while that of OMEN_SYNC_FAILS is, writing works, and fsync and fdatasync fail.
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
is_there(const char *variable)
{
    const char *path = getenv(variable);
    return path != NULL && access(path, F_OK) == 0;
}

static bool
is_file(int fd)
{
    struct stat is;
    return fstat(fd, &is) == 0 && S_ISREG(is.st_mode);
}

static bool
write_fails(int fd)
{
    return is_there("OMEN_DISK_FAILS") && is_file(fd);
}

static bool
sync_fails(int fd)
{
    return (is_there("OMEN_DISK_FAILS") || is_there("OMEN_SYNC_FAILS")) && is_file(fd);
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
    return write_fails(fd) ? fail() : syscall(SYS_pwrite64, fd, bytes, count, at);
}

ssize_t
writev(int fd, const struct iovec *parts, int count)
{
    return write_fails(fd) ? fail() : syscall(SYS_writev, fd, parts, count);
}

int
fsync(int fd)
{
    return (int)(sync_fails(fd) ? fail() : syscall(SYS_fsync, fd));
}

int
fdatasync(int fd)
{
    return (int)(sync_fails(fd) ? fail() : syscall(SYS_fdatasync, fd));
}
