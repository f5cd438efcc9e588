// tests/unit/storage/test_kv_lmdb.c -- what only a real file has: other processes, full disks, growth, damage.
//
// Halves: kv_lmdb
//
// Some system calls are defined here and go before the C library's, so that they can be made to fail, or to kill.
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

static void
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

static omen_status
try_open(enum kv_mode mode, struct omen_error *error)
{
    const struct kv_config config = store_config(mode);
    struct kv *kv;
    const omen_status status = kv_open(&config, &kv, error);
    ck_assert_int_eq(kv != NULL, status == OMEN_OK);
    kv_close(kv);
    return status;
}

static void
put_one(struct kv *kv, uint64_t key, size_t count)
{
    struct kv_txn *txn = store_begin_write(kv);
    store_put(txn, TABLE_BLOCKS, key, count);
    store_commit(txn);
}

static void
check_one(struct kv *kv, uint64_t key, size_t count)
{
    struct kv_txn *txn = store_begin_read(kv);
    store_check_value(txn, TABLE_BLOCKS, key, count);
    kv_abort(txn);
}

// ---- other processes ----

// Runs `child` in a process of its own until it says (by say_ready) that it is where the test wants it.
static int ready_pipe[2];

static void
say_ready(void)
{
    ck_assert_int_eq(write(ready_pipe[1], "!", 1), 1);
}

static pid_t
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

static void
end(pid_t pid, int signal)
{
    int state;
    kill(pid, signal);
    close(ready_pipe[0]);
    ck_assert_int_eq(waitpid(pid, &state, 0), pid);
}

static void
write_and_wait(void)
{
    struct kv *kv = store_open(KV_WRITE);
    put_one(kv, 1, 5000);
    struct kv_txn *txn = store_begin_write(kv);
    store_put(txn, TABLE_BLOCKS, 2, 5000);
    say_ready();
    pause();
}

START_TEST(second_process_cannot_write_and_can_read)
{
    const pid_t pid = start(write_and_wait);
    struct omen_error error;
    ck_assert_int_eq(try_open(KV_WRITE, &error), OMEN_E_LOCKED);
    ck_assert_ptr_nonnull(strstr(error.text, "another process"));
    ck_assert_int_eq(try_open(KV_EXISTING, &error), OMEN_E_LOCKED);
    struct kv *kv = store_open(KV_READ);
    check_one(kv, 1, 5000);
    kv_close(kv);
    end(pid, SIGKILL);
}
END_TEST

START_TEST(killed_writer_leaves_no_lock_and_what_it_committed)
{
    end(start(write_and_wait), SIGKILL);
    struct kv *kv = store_open(KV_WRITE);
    struct kv_txn *txn = store_begin_read(kv);
    struct kv_value value;
    store_check_value(txn, TABLE_BLOCKS, 1, 5000);
    ck_assert_int_eq(kv_get(txn, TABLE_BLOCKS, 2, &value, NULL), OMEN_E_NOT_FOUND);
    kv_abort(txn);
    put_one(kv, 2, 100); // its place in LMDB's own lock is free, too
    kv_close(kv);
}
END_TEST

static void
read_and_wait(void)
{
    struct kv *kv = store_open(KV_READ);
    struct kv_txn *txn = store_begin_read(kv);
    store_check_value(txn, TABLE_BLOCKS, 1, 100000);
    say_ready();
    pause();
}

START_TEST(killed_reader_does_not_hold_pages_back)
{
    struct kv *kv = store_open(KV_WRITE);
    put_one(kv, 1, 100000);
    kv_close(kv);
    end(start(read_and_wait), SIGKILL);
    kv = store_open(KV_WRITE);
    for (uint32_t i = 0; i < 100; i++)
        put_one(kv, 1, 100000 + i);
    struct kv_usage usage;
    ck_assert_int_eq(kv_usage(kv, &usage, NULL), OMEN_OK);
    ck_assert_uint_lt(usage.file_bytes, 2 << 20);
    kv_close(kv);
}
END_TEST

static struct kv *inherited;

static void
use_inherited(void)
{
    struct kv_txn *txn;
    struct omen_error error;
    ck_assert_int_eq(kv_begin_read(inherited, &txn, &error), OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "fork"));
    ck_assert_int_eq(kv_begin_write(inherited, &txn, NULL), OMEN_E_INVALID);
    ck_assert_int_eq(kv_shrink(inherited, NULL), OMEN_E_INVALID);
    ck_assert_int_eq(kv_copy(inherited, store_root, NULL), OMEN_E_INVALID);
    kv_close(inherited);
    struct kv *own = store_open(KV_READ);
    check_one(own, 1, 5000);
    kv_close(own);
    say_ready();
}

START_TEST(child_after_fork_must_open_for_itself)
{
    inherited = store_open(KV_WRITE);
    put_one(inherited, 1, 5000);
    struct kv_txn *txn = store_begin_read(inherited);
    end(start(use_inherited), 0);
    store_check_value(txn, TABLE_BLOCKS, 1, 5000);
    kv_abort(txn);
    put_one(inherited, 2, 5000);
    struct omen_error error;
    ck_assert_int_eq(try_open(KV_READ, &error), OMEN_E_LOCKED);
    kv_close(inherited);
}
END_TEST

// A writer that lets the map grow while a reader holds a transaction and begins others.
static void
grow_from_outside(void)
{
    struct kv *kv = store_open(KV_EXISTING);
    for (uint64_t i = 10; i < 18; i++)
        put_one(kv, i, 3000000);
    kv_close(kv);
    say_ready();
}

START_TEST(reader_with_an_open_transaction_follows_a_map_that_grew)
{
    struct kv *kv = store_open(KV_WRITE);
    put_one(kv, 1, 100000);
    kv_close(kv);
    struct kv_config config = store_config(KV_READ);
    config.map_bytes = 1 << 20;
    ck_assert_int_eq(kv_open(&config, &kv, NULL), OMEN_OK);
    struct kv_txn *early = store_begin_read(kv);
    struct kv_value value;
    const void *pinned;
    ck_assert_int_eq(kv_get(early, TABLE_BLOCKS, 1, &value, NULL), OMEN_OK);
    ck_assert_int_eq(kv_pin(early, &value, &pinned, NULL), OMEN_OK);
    end(start(grow_from_outside), 0);
    struct kv_txn *late = store_begin_read(kv);
    store_check_value(late, TABLE_BLOCKS, 17, 3000000);
    store_check(pinned, 1, 100000);
    store_check_value(early, TABLE_BLOCKS, 1, 100000);
    ck_assert_int_eq(kv_get(early, TABLE_BLOCKS, 17, &value, NULL), OMEN_E_NOT_FOUND);
    kv_abort(early);
    kv_abort(late);
    kv_close(kv);
}
END_TEST

START_TEST(values_stay_when_our_own_map_is_outgrown)
{
    struct kv_config config = store_config(KV_WRITE);
    struct kv *kv;
    struct kv_txn *txn;
    const void *pinned[30];
    config.map_bytes = 1 << 20;
    ck_assert_int_eq(kv_open(&config, &kv, NULL), OMEN_OK);
    for (uint64_t key = 0; key < 30; key++) {
        struct kv_value value;
        put_one(kv, key, 1000000);
        txn = store_begin_read(kv);
        ck_assert_int_eq(kv_get(txn, TABLE_BLOCKS, key, &value, NULL), OMEN_OK);
        ck_assert_int_eq(kv_pin(txn, &value, &pinned[key], NULL), OMEN_OK);
        kv_abort(txn);
    }
    for (uint64_t key = 0; key < 30; key++)
        store_check(pinned[key], key, 1000000);
    kv_close(kv);
}
END_TEST

// ---- disks ----

static void
fill_the_disk(struct kv *kv)
{
    struct kv_txn *txn;
    struct kv_value value;
    struct omen_error error = {.text = ""};
    put_one(kv, 0, 100000);
    omen_status status = OMEN_OK;
    uint64_t key = 0;
    while (status == OMEN_OK) {
        ck_assert_uint_lt(++key, 100);
        void *room;
        txn = store_begin_write(kv);
        ck_assert_int_eq(kv_put(txn, TABLE_BLOCKS, key, 300000, &room, NULL), OMEN_OK);
        store_fill(room, key, 300000);
        status = kv_commit(txn, &error);
    }
    ck_assert_msg(status == OMEN_E_DISK_FULL, "%d: %s", status, error.text);
    for (uint64_t i = 1; i < key; i++)
        check_one(kv, i, 300000);
    txn = store_begin_write(kv); // nothing was committed
    ck_assert_int_eq(kv_get(txn, TABLE_BLOCKS, key, &value, NULL), OMEN_E_NOT_FOUND);
    for (uint64_t i = 1; i < key; i++)
        ck_assert_int_eq(kv_delete(txn, TABLE_BLOCKS, i, NULL), OMEN_OK);
    store_commit(txn); // it can be cleaned
    put_one(kv, 1, 1000);
    put_one(kv, 2, 1000);
    put_one(kv, 3, 300000); // and then written again
    check_one(kv, 0, 100000);
    check_one(kv, 3, 300000);
}

// The file may have no more than 8 MiB: that limit is the process's own and needs no rights.
START_TEST(full_disk_refuses_a_commit_and_nothing_else)
{
    struct rlimit limit = {.rlim_cur = 8 << 20, .rlim_max = RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    fallocate_fails = _i == 1;
    struct kv *kv = store_open(KV_WRITE);
    fill_the_disk(kv);
    kv_close(kv);
    kv = store_open(KV_READ);
    check_one(kv, 3, 300000);
    kv_close(kv);
}
END_TEST

START_TEST(full_file_system_refuses_a_commit_and_nothing_else)
{
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", store_root, "tmpfs", 0, "size=8m") != 0) {
        fprintf(stderr, "SKIPPED: %s: no right to mount a small file system\n", __func__);
        return;
    }
    fallocate_fails = _i == 1;
    struct kv *kv = store_open(KV_WRITE);
    fill_the_disk(kv);
    char path[400];
    struct omen_error error;
    (void)snprintf(path, sizeof path, "%s.copy", store_path);
    put_one(kv, 4, 3000000);
    ck_assert_int_eq(kv_copy(kv, path, &error), OMEN_E_DISK_FULL);
    ck_assert_int_ne(access(path, F_OK), 0);
    ck_assert_int_eq(kv_shrink(kv, &error), OMEN_E_DISK_FULL);
    check_one(kv, 4, 3000000);
    put_one(kv, 5, 1000);
    kv_close(kv);
    ck_assert_int_eq(umount(store_root), 0);
}
END_TEST

START_TEST(failed_sync_ends_writing_and_not_reading)
{
    struct kv *kv = store_open(KV_WRITE);
    struct kv_txn *txn;
    struct omen_error error;
    put_one(kv, 1, 5000);
    txn = store_begin_write(kv);
    store_put(txn, TABLE_BLOCKS, 2, 5000);
    sync_fails = true;
    ck_assert_int_eq(kv_commit(txn, &error), OMEN_E_IO);
    sync_fails = false;
    ck_assert_ptr_nonnull(strstr(error.text, "writes are refused"));
    ck_assert_int_eq(kv_begin_write(kv, &txn, &error), OMEN_E_IO); // though the disk works again
    ck_assert_int_eq(kv_shrink(kv, &error), OMEN_E_IO);
    check_one(kv, 1, 5000);
    kv_close(kv);
    kv = store_open(KV_WRITE);
    check_one(kv, 1, 5000);
    put_one(kv, 2, 5000);
    kv_close(kv);
}
END_TEST

// ---- what is at the path ----

static void
write_file(const char *name, const void *content, size_t count)
{
    char path[600];
    (void)snprintf(path, sizeof path, "%s/%s", store_path, name);
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(content, 1, count, file), count);
    fclose(file);
}

static bool
has_file(const char *name)
{
    char path[600];
    (void)snprintf(path, sizeof path, "%s/%s", store_path, name);
    return access(path, F_OK) == 0;
}

START_TEST(something_else_at_the_path_is_named_and_left_alone)
{
    struct omen_error error;
    FILE *file = fopen(store_path, "wb");
    fclose(file);
    for (enum kv_mode mode = KV_WRITE; mode <= KV_READ; mode++) {
        ck_assert_int_eq(try_open(mode, &error), OMEN_E_INVALID);
        ck_assert_ptr_nonnull(strstr(error.text, "not a directory"));
    }
    remove(store_path);
    ck_assert_int_eq(mkdir(store_path, 0777), 0);
    write_file("letter.txt", "hello", 5);
    ck_assert_int_eq(try_open(KV_WRITE, &error), OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "letter.txt"));
    ck_assert_int_eq(try_open(KV_READ, &error), OMEN_E_NOT_FOUND);
    ck_assert(!has_file("data.mdb") && !has_file("lock.mdb"));
    static char text[20000];
    memset(text, 'x', sizeof text);
    for (size_t count = 1; count <= sizeof text; count += count < 200 ? 1 : 4900) {
        write_file("data.mdb", text, count);
        for (enum kv_mode mode = KV_WRITE; mode <= KV_READ; mode++)
            ck_assert_int_eq(try_open(mode, &error), OMEN_E_INVALID);
        ck_assert(!has_file("lock.mdb"));
    }
    char path[sizeof store_path];
    memcpy(path, store_path, sizeof path);
    (void)snprintf(store_path, sizeof store_path, "%.200s/no/such", store_root);
    ck_assert_int_eq(try_open(KV_WRITE, &error), OMEN_E_INVALID);
    store_path[0] = '\0';
    ck_assert_int_eq(try_open(KV_WRITE, &error), OMEN_E_INVALID);
    memcpy(store_path, path, sizeof path);
}
END_TEST

START_TEST(store_of_other_tables_is_refused)
{
    static const char *const others[] = {"this", "that", "more"};
    struct kv_config config = store_config(KV_WRITE);
    struct omen_error error;
    struct kv *kv;
    config.tables = others;
    ck_assert_int_eq(kv_open(&config, &kv, NULL), OMEN_OK);
    kv_close(kv);
    for (enum kv_mode mode = KV_WRITE; mode <= KV_READ; mode++)
        ck_assert_int_eq(try_open(mode, &error), OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "something else"));
}
END_TEST

static void
path_in_store(char *path, size_t room, const char *name)
{
    (void)snprintf(path, room, "%s/%s", store_path, name);
}

START_TEST(empty_file_beside_the_lock_file_of_a_store_is_refused_as_cut)
{
    struct omen_error error;
    struct stat stat_of;
    char data[400], lock[400];
    path_in_store(data, sizeof data, "data.mdb");
    path_in_store(lock, sizeof lock, "lock.mdb");
    struct kv *kv = store_open(KV_WRITE);
    put_one(kv, 1, 5000);
    kv_close(kv);
    ck_assert_int_eq(truncate(data, 0), 0);
    ck_assert_int_eq(try_open(KV_READ, &error), OMEN_E_NOT_FOUND);
    for (int tries = 0; tries < 2; tries++) {
        ck_assert_int_eq(try_open(KV_WRITE, &error), OMEN_E_CORRUPT);
        ck_assert_ptr_nonnull(strstr(error.text, "data.mdb: empty, but lock.mdb"));
        ck_assert_int_eq(stat(data, &stat_of), 0);
        ck_assert_int_eq(stat_of.st_size, 0);
    }
    // Who takes the file away wants a new one, which may be killed at once.
    ck_assert_int_eq(unlink(data), 0);
    kv = store_open(KV_WRITE);
    kv_close(kv);
    ck_assert_int_eq(truncate(data, 0), 0);
    ck_assert_int_eq(unlink(lock), 0);
    ck_assert_int_eq(try_open(KV_WRITE, &error), OMEN_OK);
}
END_TEST

// By the kernel, at the first byte.
START_TEST(maker_that_was_killed_beside_an_old_lock_file_can_be_followed)
{
    struct omen_error error;
    char data[400], lock[400];
    path_in_store(data, sizeof data, "data.mdb");
    path_in_store(lock, sizeof lock, "lock.mdb");
    struct kv *kv = store_open(KV_WRITE);
    put_one(kv, 1, 5000);
    kv_close(kv);
    ck_assert_int_eq(unlink(data), 0);
    const pid_t child = fork();
    int state;
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        const struct rlimit limit = {.rlim_cur = 0, .rlim_max = RLIM_INFINITY};
        (void)signal(SIGXFSZ, SIG_DFL);
        if (setrlimit(RLIMIT_CORE, &limit) == 0 && setrlimit(RLIMIT_FSIZE, &limit) == 0)
            (void)!try_open(KV_WRITE, &error);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &state, 0), child);
    ck_assert(WIFSIGNALED(state) && WTERMSIG(state) == SIGXFSZ);
    ck_assert_int_eq(access(data, F_OK), 0);
    ck_assert_int_eq(try_open(KV_WRITE, &error), OMEN_OK);
}
END_TEST

START_TEST(maker_that_was_killed_at_once_leaves_nothing_in_the_way)
{
    struct omen_error error;
    ck_assert_int_eq(mkdir(store_path, 0777), 0);
    ck_assert_int_eq(try_open(KV_WRITE, &error), OMEN_OK); // an empty directory
    store_teardown();
    store_setup();
    ck_assert_int_eq(mkdir(store_path, 0777), 0);
    write_file("data.mdb", "", 0);
    write_file("data.mdb.tmp", "half a copy", 11);
    ck_assert_int_eq(try_open(KV_READ, &error), OMEN_E_NOT_FOUND);
    ck_assert_int_eq(try_open(KV_WRITE, &error), OMEN_OK);
    ck_assert_int_eq(try_open(KV_READ, &error), OMEN_OK);
}
END_TEST

// Both heads are one write. A disk that lost its power has any sectors of it, and nothing else yet.
// What a maker leaves, whose lock file knows of no commit.
static void
leave_unfinished(const void *bytes, size_t count)
{
    char lock[400];
    path_in_store(lock, sizeof lock, "lock.mdb");
    (void)unlink(lock);
    write_file("data.mdb", bytes, count);
}

START_TEST(store_whose_making_lost_power_is_made_anew)
{
    static uint8_t heads[2 * 65536];
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct omen_error error;
    char path[600];
    kv_close(store_open(KV_WRITE));
    (void)snprintf(path, sizeof path, "%s/data.mdb", store_path);
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fread(heads, 1, 2 * page, file), 2 * page);
    fclose(file);
    static uint8_t cut[sizeof heads];
    memcpy(cut, heads, 2 * page);
    memset(cut, 0, 512);
    write_file("data.mdb", cut,
               2 * page); // of a store that has commits: no new one takes its place
    ck_assert_int_eq(try_open(KV_WRITE, &error), OMEN_E_INVALID);
    memcpy(heads + page, heads, page); // the first one was not written again since it was made
    heads[page] = 1;
    for (size_t bytes = 512; bytes <= page; bytes += 512) { // of a disk that was full
        leave_unfinished(heads, bytes);
        ck_assert_int_ne(try_open(KV_READ, &error), OMEN_OK);
        ck_assert_msg(try_open(KV_WRITE, &error) == OMEN_OK, "%d: %s", (int)bytes, error.text);
    }
    for (int lost = 0; lost < 3; lost++) {
        uint8_t torn[sizeof heads];
        memcpy(torn, heads, 2 * page);
        if (lost != 1)
            memset(torn, 0, 512);
        if (lost != 0)
            memset(torn + page, 0, 512);
        leave_unfinished(torn, 2 * page);
        ck_assert_int_ne(try_open(KV_READ, &error), OMEN_OK);
        ck_assert_msg(try_open(KV_WRITE, &error) == OMEN_OK, "%s", error.text);
        torn[2 * page - 1] = 1; // something else
        write_file("data.mdb", torn, 2 * page);
        ck_assert_int_eq(try_open(KV_WRITE, &error), OMEN_E_INVALID);
    }
}
END_TEST

// Heads of LMDB's, any byte of which is another: refused, or as before (a byte that says nothing).
START_TEST(damaged_heads_never_crash)
{
    struct kv *kv = store_open(KV_WRITE);
    put_one(kv, 1, 5000);
    put_one(kv, 2, 5000);
    kv_close(kv);
    char path[600];
    (void)snprintf(path, sizeof path, "%s/data.mdb", store_path);
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    for (off_t at = 0; at < 152; at++)
        for (off_t page = 0; page < 2; page++) {
            unsigned char byte, other;
            const off_t where = at + page * 4096;
            ck_assert_int_eq(pread(fd, &byte, 1, where), 1);
            other = byte ^ 0x80;
            ck_assert_int_eq(pwrite(fd, &other, 1, where), 1);
            struct omen_error error = {.text = ""};
            const omen_status status = try_open(KV_READ, &error);
            ck_assert_msg(status == OMEN_OK || status == OMEN_E_INVALID ||
                              status == OMEN_E_VERSION || status == OMEN_E_CORRUPT ||
                              status == OMEN_E_UNSUPPORTED || status == OMEN_E_NOT_FOUND,
                          "byte %d: %d %s", (int)where, status, error.text);
            ck_assert_int_eq(pwrite(fd, &byte, 1, where), 1);
        }
    close(fd);
    kv = store_open(KV_WRITE);
    check_one(kv, 2, 5000);
    kv_close(kv);
}
END_TEST

// Any one byte of a tree's page that is another: refused, or everything is read, perhaps not as it was.
START_TEST(damaged_trees_never_crash)
{
    struct kv *kv = store_open(KV_WRITE);
    for (uint64_t i = 0; i < 6; i++)
        put_one(kv, i, 300 + i * 600);
    struct kv_txn *txn = store_begin_write(kv);
    for (uint64_t i = 0; i < 400; i++) // a tree of two levels
        store_put(txn, TABLE_LOG, i, 30);
    store_commit(txn);
    kv_close(kv);
    char path[600];
    (void)snprintf(path, sizeof path, "%s/data.mdb", store_path);
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    const off_t bytes = lseek(fd, 0, SEEK_END);
    uint32_t refused = 0;
    for (off_t at = 0; at < bytes; at += at % 4096 < 128 ? 1 : 67) {
        unsigned char byte, other;
        uint64_t head[2];
        ck_assert_int_eq(pread(fd, head, sizeof head, at / 4096 * 4096), sizeof head);
        if (head[0] == 0 && head[1] == 0)
            continue; // never written
        ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
        other = byte ^ (unsigned char)(1 << (at % 8));
        ck_assert_int_eq(pwrite(fd, &other, 1, at), 1);
        const struct kv_config config = store_config(KV_READ);
        struct omen_error error = {.text = ""};
        if (kv_open(&config, &kv, &error) == OMEN_OK) {
            txn = store_begin_read(kv);
            for (uint32_t table = 0; table < TABLE_COUNT; table++) {
                struct kv_value value;
                omen_status status;
                uint64_t sum = 0;
                for (uint64_t key = 0;; key++) {
                    status = kv_next(txn, table, &key, &value, &error);
                    if (status != OMEN_OK)
                        break;
                    for (size_t i = 0; i < value.count; i++)
                        sum += ((const unsigned char *)value.bytes)[i];
                }
                ck_assert(sum < UINT64_MAX);
                ck_assert(status == OMEN_E_NOT_FOUND || status == OMEN_E_CORRUPT);
            }
            kv_abort(txn);
            kv_close(kv);
        } else {
            ck_assert_str_ne(error.text, "");
            refused++;
        }
        ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
    }
    close(fd);
    ck_assert_uint_gt(refused, 200);
    kv = store_open(KV_WRITE);
    check_one(kv, 5, 3300);
    kv_close(kv);
}
END_TEST

START_TEST(file_that_was_cut_is_found)
{
    struct kv *kv = store_open(KV_WRITE);
    put_one(kv, 1, 3000000);
    put_one(kv, 2, 5000);
    kv_close(kv);
    char path[600];
    struct omen_error error;
    (void)snprintf(path, sizeof path, "%s/data.mdb", store_path);
    ck_assert_int_eq(truncate(path, 1000000), 0);
    ck_assert_int_eq(try_open(KV_READ, &error), OMEN_E_CORRUPT);
    ck_assert_ptr_nonnull(strstr(error.text, "cut"));
    const struct kv_config config = store_config(KV_WRITE);
    if (kv_open(&config, &kv, &error) == OMEN_OK) { // where its trees were not in what is lost
        struct kv_txn *txn = store_begin_read(kv);
        struct kv_value value;
        const omen_status status = kv_get(txn, TABLE_BLOCKS, 1, &value, &error);
        ck_assert(status == OMEN_OK || status == OMEN_E_CORRUPT);
        kv_abort(txn);
        kv_close(kv);
    } else {
        struct stat stat_of;
        ck_assert_int_eq(error.status, OMEN_E_CORRUPT);
        ck_assert_ptr_nonnull(strstr(error.text, "cut"));
        ck_assert_int_eq(stat(path, &stat_of), 0);
        ck_assert_int_eq(stat_of.st_size, 1000000); // as it was found
    }
}
END_TEST

START_TEST(file_whose_trees_were_cut_off_stays_as_it_was)
{
    struct kv *kv = store_open(KV_WRITE);
    for (uint64_t i = 0; i < 500; i++)
        put_one(kv, i, 1000);
    kv_close(kv);
    char path[600];
    struct omen_error error;
    struct stat stat_of;
    (void)snprintf(path, sizeof path, "%s/data.mdb", store_path);
    ck_assert_int_eq(truncate(path, 8192), 0);
    ck_assert_int_eq(try_open(KV_WRITE, &error), OMEN_E_CORRUPT);
    ck_assert_ptr_nonnull(strstr(error.text, "8192 bytes of"));
    ck_assert_int_eq(stat(path, &stat_of), 0);
    ck_assert_int_eq(stat_of.st_size, 8192);
}
END_TEST

// ---- shrinking ----

static void
make_holes(struct kv *kv)
{
    for (uint64_t i = 0; i < 20; i++)
        put_one(kv, i, 200000);
    struct kv_txn *txn = store_begin_write(kv);
    for (uint64_t i = 0; i < 18; i++)
        ck_assert_int_eq(kv_delete(txn, TABLE_BLOCKS, i, NULL), OMEN_OK);
    store_commit(txn);
}

START_TEST(shrunk_file_has_only_what_it_holds)
{
    struct kv *kv = store_open(KV_WRITE);
    struct kv_usage before, after;
    struct omen_error error = {.text = ""};
    make_holes(kv);
    ck_assert_int_eq(kv_usage(kv, &before, NULL), OMEN_OK);
    ck_assert_uint_ge(before.free_bytes, 18 * 200000);
    ck_assert_msg(kv_shrink(kv, &error) == OMEN_OK, "%s", error.text);
    ck_assert_int_eq(kv_usage(kv, &after, NULL), OMEN_OK);
    ck_assert_uint_lt(after.file_bytes, 600000);
    ck_assert_uint_ge(before.file_bytes, 20 * 200000);
    put_one(kv, 0, 100);
    struct omen_error refused;
    ck_assert_int_eq(try_open(KV_READ, &refused), OMEN_E_LOCKED); // it is known under its new file
    kv_close(kv);
    kv = store_open(KV_READ);
    check_one(kv, 0, 100);
    check_one(kv, 19, 200000);
    kv_close(kv);
    ck_assert(!has_file("swap.mdb") && !has_file("shrunk.mdb") && !has_file("shrunk.mdb-lock"));
}
END_TEST

static void
shrink_from_outside(void)
{
    struct kv *kv = store_open(KV_EXISTING);
    ck_assert_int_eq(kv_shrink(kv, NULL), OMEN_OK);
    for (uint64_t i = 0; i < 50; i++) // the old reader's pages are not these
        put_one(kv, 100 + i % 3, 100000);
    say_ready();
    pause();
}

START_TEST(reader_of_the_old_file_keeps_it_until_it_opens_again)
{
    struct kv *kv = store_open(KV_WRITE);
    make_holes(kv);
    kv_close(kv);
    kv = store_open(KV_READ);
    struct kv_txn *txn = store_begin_read(kv);
    ck_assert(!kv_moved(kv));
    const pid_t pid = start(shrink_from_outside);
    ck_assert(kv_moved(kv));
    store_check_value(txn, TABLE_BLOCKS, 19, 200000);
    kv_abort(txn);
    check_one(kv, 19, 200000);
    kv_close(kv);
    kv = store_open(KV_READ);
    ck_assert(!kv_moved(kv));
    check_one(kv, 19, 200000);
    check_one(kv, 101, 100000);
    kv_close(kv);
    struct omen_error error;
    ck_assert_int_eq(try_open(KV_WRITE, &error), OMEN_E_LOCKED); // the lock moved along
    end(pid, SIGKILL);
}
END_TEST

static uint32_t shrink_killed_at;

static void
shrink_and_die(void)
{
    struct kv *kv = store_open(KV_EXISTING);
    say_ready();
    killed_at = shrink_killed_at;
    ck_assert_int_eq(kv_shrink(kv, NULL), OMEN_OK);
    killed_at = 0;
    kv_close(kv);
}

START_TEST(shrink_that_is_killed_anywhere_leaves_a_whole_store)
{
    struct kv *kv = store_open(KV_WRITE);
    make_holes(kv);
    kv_close(kv);
    for (shrink_killed_at = 1;; shrink_killed_at++) {
        ck_assert_uint_lt(shrink_killed_at, 30);
        const pid_t pid = start(shrink_and_die);
        int state;
        close(ready_pipe[0]);
        ck_assert_int_eq(waitpid(pid, &state, 0), pid);
        const enum kv_mode mode = shrink_killed_at % 2 == 0 ? KV_READ : KV_WRITE;
        kv = store_open(mode); // a reader repairs, too, where it may
        check_one(kv, 18, 200000);
        check_one(kv, 19, 200000);
        if (mode == KV_WRITE)
            put_one(kv, shrink_killed_at % 5, 200000);
        kv_close(kv);
        ck_assert(!has_file("swap.mdb"));
        if (WIFEXITED(state)) {
            ck_assert_int_eq(WEXITSTATUS(state), 0);
            break;
        }
    }
    ck_assert_uint_ge(shrink_killed_at, 5); // it was killed between the two names, too
}
END_TEST

START_TEST(failed_allocation_while_opening_leaves_nothing)
{
    put_one(store_open(KV_WRITE), 1, 5000);
    // The handle above stays open on purpose: this process may not open it again, another may.
    const pid_t pid = fork();
    if (pid == 0) {
        for (uint64_t n = 1;; n++) {
            const struct kv_config config = store_config(KV_READ);
            struct kv *kv;
            mem_fail_after(n);
            const omen_status status = kv_open(&config, &kv, NULL);
            const bool enough = mem_refused() == 0;
            mem_fail_after(0);
            if (n > 100 || status != (enough ? OMEN_OK : OMEN_E_NO_MEMORY))
                _exit(1);
            kv_close(kv);
            if (enough)
                _exit(0);
        }
    }
    int state;
    ck_assert_int_eq(waitpid(pid, &state, 0), pid);
    ck_assert(WIFEXITED(state) && WEXITSTATUS(state) == 0);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("storage/kv_lmdb");
    TCase *tcase = tcase_create("kv_lmdb");
    tcase_add_checked_fixture(tcase, store_setup, store_teardown);
    tcase_add_test(tcase, second_process_cannot_write_and_can_read);
    tcase_add_test(tcase, killed_writer_leaves_no_lock_and_what_it_committed);
    tcase_add_test(tcase, killed_reader_does_not_hold_pages_back);
    tcase_add_test(tcase, child_after_fork_must_open_for_itself);
    tcase_add_test(tcase, reader_with_an_open_transaction_follows_a_map_that_grew);
    tcase_add_test(tcase, values_stay_when_our_own_map_is_outgrown);
    tcase_add_loop_test(tcase, full_disk_refuses_a_commit_and_nothing_else, 0, 2);
    tcase_add_loop_test(tcase, full_file_system_refuses_a_commit_and_nothing_else, 0, 2);
    tcase_add_test(tcase, failed_sync_ends_writing_and_not_reading);
    tcase_add_test(tcase, something_else_at_the_path_is_named_and_left_alone);
    tcase_add_test(tcase, store_of_other_tables_is_refused);
    tcase_add_test(tcase, maker_that_was_killed_at_once_leaves_nothing_in_the_way);
    tcase_add_test(tcase, empty_file_beside_the_lock_file_of_a_store_is_refused_as_cut);
    tcase_add_test(tcase, maker_that_was_killed_beside_an_old_lock_file_can_be_followed);
    tcase_add_test(tcase, store_whose_making_lost_power_is_made_anew);
    tcase_add_test(tcase, damaged_heads_never_crash);
    tcase_add_test(tcase, damaged_trees_never_crash);
    tcase_add_test(tcase, file_that_was_cut_is_found);
    tcase_add_test(tcase, file_whose_trees_were_cut_off_stays_as_it_was);
    tcase_add_test(tcase, shrunk_file_has_only_what_it_holds);
    tcase_add_test(tcase, reader_of_the_old_file_keeps_it_until_it_opens_again);
    tcase_add_test(tcase, shrink_that_is_killed_anywhere_leaves_a_whole_store);
    tcase_add_test(tcase, failed_allocation_while_opening_leaves_nothing);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
