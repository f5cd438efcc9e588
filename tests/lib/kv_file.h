// tests/lib/kv_file.h -- a real store's file, whose system calls can be made to fail or to kill, and other processes that use it.
//
// Shape: shell.
//
// Some system calls are defined here and go before the C library's.
#ifndef OMEN_TESTS_KV_FILE_H
#define OMEN_TESTS_KV_FILE_H
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "tests/lib/check_main.h"
#include "tests/lib/store.h"

#define INTERPOSED __attribute__((visibility("default")))

static bool sync_fails, fallocate_fails;
static uint32_t killed_at; // the n-th change of a name from now kills the process
static uint32_t steps;

static inline void
step(void)
{
    steps++;
    if (killed_at > 0 && --killed_at == 0)
        kill(getpid(), SIGKILL);
}

INTERPOSED int
fdatasync(int fd)
{
    if (!sync_fails)
        return (int)syscall(SYS_fdatasync, fd);
    errno = EIO;
    return -1;
}

INTERPOSED int
fallocate(int fd, int mode, off_t offset, off_t count)
{
    if (!fallocate_fails || offset == 0) // the lock file is not meant
        return (int)syscall(SYS_fallocate, fd, mode, offset, count);
    errno = EOPNOTSUPP;
    return -1;
}

INTERPOSED int
renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    step();
    return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, 0);
}

INTERPOSED int
unlinkat(int fd, const char *path, int flags)
{
    step();
    return (int)syscall(SYS_unlinkat, fd, path, flags);
}

static inline omen_status
try_open(enum kv_mode mode, struct omen_error *error)
{
    const struct kv_config config = store_config(mode);
    struct kv *kv;
    const omen_status status = kv_open(&config, &kv, error);
    ck_assert_int_eq(kv != NULL, status == OMEN_OK);
    kv_close(kv);
    return status;
}

static inline void
put_one(struct kv *kv, uint64_t key, size_t count)
{
    struct kv_txn *txn = store_begin_write(kv);
    store_put(txn, TABLE_BLOCKS, key, count);
    store_commit(txn);
}

static inline void
check_one(struct kv *kv, uint64_t key, size_t count)
{
    struct kv_txn *txn = store_begin_read(kv);
    store_check_value(txn, TABLE_BLOCKS, key, count);
    kv_abort(txn);
}

// ---- other processes ----

// Runs `child` in a process of its own until it says (by say_ready) that it is where the test wants it.
static int ready_pipe[2];

static inline void
say_ready(void)
{
    ck_assert_int_eq(write(ready_pipe[1], "!", 1), 1);
}

static inline pid_t
start(void (*child)(void))
{
    ck_assert_int_eq(pipe(ready_pipe), 0);
    const pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        close(ready_pipe[0]);
        child();
        _exit(0);
    }
    char byte;
    close(ready_pipe[1]);
    ck_assert_int_eq(read(ready_pipe[0], &byte, 1), 1);
    return pid;
}

static inline void
end(pid_t pid, int signal)
{
    int state;
    kill(pid, signal);
    close(ready_pipe[0]);
    ck_assert_int_eq(waitpid(pid, &state, 0), pid);
}

static inline void
write_and_wait(void)
{
    struct kv *kv = store_open(KV_WRITE);
    put_one(kv, 1, 5000);
    struct kv_txn *txn = store_begin_write(kv);
    store_put(txn, TABLE_BLOCKS, 2, 5000);
    say_ready();
    pause();
}

static inline bool
has_file(const char *name)
{
    char path[600];
    (void)snprintf(path, sizeof path, "%s/%s", store_path, name);
    return access(path, F_OK) == 0;
}

#endif
