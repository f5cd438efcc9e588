// tests/lib/disk.c -- a disk that a test has in its hand.
//
// Shape: shell. A program's own functions come before those of the libraries that it uses. They go to the kernel
// directly, except that nothing is synced: what a test leaves behind need not outlive the machine.
#undef _FORTIFY_SOURCE
#include "tests/lib/disk.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/os_lock.h"
#include "base/prng.h"

#define SECTOR_BYTES 512u
#define NAME_BYTES 32u
#define FILES_MAX 256u

enum kind { WRITE, RESIZE, SYNC, MAKE, RENAME, UNLINK, SYNC_NAMES, NOTE };

struct op {
    enum kind kind;
    bool synced;            // a write through an O_DSYNC file
    uint64_t file;          // inode
    uint64_t offset, count; // RESIZE: count is the new length; NOTE: count is the note
    uint8_t *bytes;
    char name[NAME_BYTES], to[NAME_BYTES];
};

static struct lock disk_lock = LOCK_INIT;
static char watched[PATH_MAX]; // absolute; "": nothing
static struct op *ops;
static size_t op_count, op_room;
static uint64_t fail_at, write_count, failed_count;
static enum disk_calls fail_calls;
static int fail_code;
static uint64_t kill_at;
static enum disk_calls kill_calls;
static enum disk_moment kill_moment;
static _Atomic uint64_t call_count;

// ---- the calls ----

// The name of an open file in the watched directory; "" for the directory itself. False where it is another's.
static bool
is_here(int fd, char *name)
{
    char link[64], path[PATH_MAX];
    if (watched[0] == '\0')
        return false;
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t bytes = readlink(link, path, sizeof path - 1);
    const size_t prefix = strlen(watched);
    if (bytes < (ssize_t)prefix || memcmp(path, watched, prefix) != 0)
        return false;
    path[bytes] = '\0';
    if (path[prefix] == '\0') {
        name[0] = '\0';
        return true;
    }
    if (path[prefix] != '/')
        return false;
    (void)snprintf(name, NAME_BYTES, "%.31s", path + prefix + 1);
    return true;
}

static bool
is_watched(int fd, char *name)
{
    return is_here(fd, name) && strstr(name, "lock") == NULL;
}

// Under the lock.
static struct op *
keep(enum kind kind)
{
    if (op_count == op_room) {
        op_room = op_room == 0 ? 1024 : 2 * op_room;
        ops = realloc(ops, op_room * sizeof *ops);
    }
    ops[op_count] = (struct op){.kind = kind};
    return &ops[op_count++];
}

static uint64_t
inode_of(int fd)
{
    struct stat stat_of;
    return fstat(fd, &stat_of) == 0 ? stat_of.st_ino : 0;
}

static bool
in_place(int fd)
{
    return (fcntl(fd, F_GETFL) & O_DSYNC) != 0;
}

// The number of a call in the watched directory, which may be the one to end at; 0: another one.
static uint64_t
call_begins(bool here, bool synced)
{
    if (!here || (kill_calls != DISK_ALL && synced != (kill_calls == DISK_IN_PLACE)))
        return 0;
    const uint64_t call = atomic_fetch_add(&call_count, 1) + 1;
    if (call == kill_at && kill_moment == DISK_BEFORE)
        (void)kill(getpid(), SIGKILL);
    return call;
}

static void
call_ends(uint64_t call)
{
    const int code = errno;
    if (call != 0 && call == kill_at && kill_moment == DISK_AFTER)
        (void)kill(getpid(), SIGKILL);
    errno = code;
}

static uint64_t
file_call_begins(int fd)
{
    char name[NAME_BYTES];
    return watched[0] != '\0' ? call_begins(is_here(fd, name), in_place(fd)) : 0;
}

static uint64_t
name_call_begins(int directory_fd)
{
    char none[NAME_BYTES];
    return call_begins(is_here(directory_fd, none) && none[0] == '\0', false);
}

// Through another open file, where the one given would wait for the disk.
static ssize_t
write_unsynced(int fd, const void *bytes, size_t count, off_t offset)
{
    char link[64];
    if (!in_place(fd))
        return syscall(SYS_pwrite64, fd, bytes, count, offset);
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const int other = (int)syscall(SYS_openat, AT_FDCWD, link, O_WRONLY | O_CLOEXEC, 0);
    if (other < 0)
        return -1;
    const ssize_t done = syscall(SYS_pwrite64, other, bytes, count, offset);
    const int code = errno;
    (void)syscall(SYS_close, other);
    errno = code;
    return done;
}

// Whether this one is to fail. Under the lock.
static bool
fails(int fd)
{
    if (fail_calls != DISK_ALL && in_place(fd) != (fail_calls == DISK_IN_PLACE))
        return false;
    if (fail_at == 0 || ++write_count != fail_at)
        return false;
    failed_count++;
    errno = fail_code;
    return true;
}

static ssize_t
write_at(int fd, const void *bytes, size_t count, off_t offset)
{
    char name[NAME_BYTES];
    if (!is_watched(fd, name))
        return write_unsynced(fd, bytes, count, offset);
    const uint64_t call = file_call_begins(fd);
    lock_acquire(&disk_lock);
    ssize_t done = -1;
    if (!fails(fd) && (done = write_unsynced(fd, bytes, count, offset)) > 0) {
        struct op *op = keep(WRITE);
        op->synced = in_place(fd);
        op->file = inode_of(fd);
        op->offset = (uint64_t)offset;
        op->count = (uint64_t)done;
        op->bytes = malloc(op->count);
        memcpy(op->bytes, bytes, op->count);
    }
    lock_release(&disk_lock);
    call_ends(call);
    return done;
}

static int
resize(int fd, uint64_t bytes, long code(int fd, off_t from, off_t count), off_t from, off_t count)
{
    char name[NAME_BYTES];
    const uint64_t call = file_call_begins(fd);
    int result = -1;
    if (!is_watched(fd, name)) {
        result = (int)code(fd, from, count);
    } else {
        lock_acquire(&disk_lock);
        if (!fails(fd) && (result = (int)code(fd, from, count)) == 0) {
            struct op *op = keep(RESIZE);
            op->file = inode_of(fd);
            op->count = bytes;
        }
        lock_release(&disk_lock);
    }
    call_ends(call);
    return result;
}

static long
truncate_to(int fd, off_t from, off_t count)
{
    return syscall(SYS_ftruncate, fd, from + count);
}

static long
allocate(int fd, off_t from, off_t count)
{
    return syscall(SYS_fallocate, fd, 0, from, count);
}

static int
sync_file(int fd)
{
    char name[NAME_BYTES];
    if (!is_watched(fd, name))
        return 0;
    const uint64_t call = file_call_begins(fd);
    lock_acquire(&disk_lock);
    const int result = fails(fd) ? -1 : 0;
    if (result == 0)
        keep(name[0] == '\0' ? SYNC_NAMES : SYNC)->file = inode_of(fd);
    lock_release(&disk_lock);
    call_ends(call);
    return result;
}

static void
keep_name(enum kind kind, int directory_fd, const char *name, const char *to, int fd)
{
    char none[NAME_BYTES];
    if (strstr(name, "lock") != NULL || !is_watched(directory_fd, none) || none[0] != '\0')
        return;
    lock_acquire(&disk_lock);
    struct op *op = keep(kind);
    op->file = fd >= 0 ? inode_of(fd) : 0;
    (void)snprintf(op->name, sizeof op->name, "%.31s", name);
    (void)snprintf(op->to, sizeof op->to, "%.31s", to);
    lock_release(&disk_lock);
}

#pragma GCC visibility push(default)

ssize_t
pwrite(int fd, const void *bytes, size_t count, off_t offset)
{
    return write_at(fd, bytes, count, offset);
}

ssize_t
write(int fd, const void *bytes, size_t count)
{
    char name[NAME_BYTES];
    if (!is_watched(fd, name))
        return syscall(SYS_write, fd, bytes, count);
    const off_t offset = lseek(fd, 0, SEEK_CUR);
    const ssize_t done = write_at(fd, bytes, count, offset);
    if (done > 0)
        (void)lseek(fd, offset + done, SEEK_SET);
    return done;
}

ssize_t
writev(int fd, const struct iovec *parts, int count)
{
    char name[NAME_BYTES];
    if (!is_watched(fd, name))
        return syscall(SYS_writev, fd, parts, count);
    size_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += parts[i].iov_len;
    uint8_t *all = malloc(bytes + 1), *at = all;
    for (int i = 0; i < count; i++) {
        memcpy(at, parts[i].iov_base, parts[i].iov_len);
        at += parts[i].iov_len;
    }
    const ssize_t done = write(fd, all, bytes);
    const int code = errno;
    free(all);
    errno = code;
    return done;
}

int
fdatasync(int fd)
{
    return sync_file(fd);
}

int
fsync(int fd)
{
    return sync_file(fd);
}

int
ftruncate(int fd, off_t bytes)
{
    return resize(fd, (uint64_t)bytes, truncate_to, 0, bytes);
}

int
fallocate(int fd, int mode, off_t from, off_t count)
{
    (void)mode; // nobody here uses another one than 0
    return resize(fd, (uint64_t)(from + count), allocate, from, count);
}

int
openat(int directory_fd, const char *name, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    const bool fresh =
        (flags & O_CREAT) != 0 && faccessat(directory_fd, name, F_OK, 0) != 0 && name[0] != '/';
    const uint64_t call = fresh ? name_call_begins(directory_fd) : 0;
    const int fd = (int)syscall(SYS_openat, directory_fd, name, flags, mode);
    if (fd >= 0 && fresh)
        keep_name(MAKE, directory_fd, name, "", fd);
    call_ends(call);
    return fd;
}

int
renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    const uint64_t call = name_call_begins(from_fd);
    const int result = (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, 0);
    if (result == 0)
        keep_name(RENAME, from_fd, from, to, -1);
    call_ends(call);
    return result;
}

int
unlinkat(int directory_fd, const char *name, int flags)
{
    const uint64_t call = name_call_begins(directory_fd);
    const int result = (int)syscall(SYS_unlinkat, directory_fd, name, flags);
    if (result == 0)
        keep_name(UNLINK, directory_fd, name, "", -1);
    call_ends(call);
    return result;
}

#pragma GCC visibility pop

// ---- what was kept ----

static void forget(void);

void
disk_watch(const char *directory)
{
    lock_acquire(&disk_lock);
    watched[0] = '\0';
    if (directory != NULL) {
        forget();
        ck_assert_ptr_nonnull(realpath(directory, watched));
    }
    lock_release(&disk_lock);
}

void
disk_note(uint64_t note)
{
    lock_acquire(&disk_lock);
    keep(NOTE)->count = note;
    lock_release(&disk_lock);
}

size_t
disk_count(void)
{
    return op_count;
}

int
disk_is_sync(size_t i)
{
    return ops[i].kind == SYNC || ops[i].kind == SYNC_NAMES || ops[i].synced;
}

uint64_t
disk_noted(size_t count)
{
    while (count > 0)
        if (ops[--count].kind == NOTE)
            return ops[count].count;
    return 0;
}

void
disk_fail(uint64_t n, enum disk_calls calls, int code)
{
    lock_acquire(&disk_lock);
    fail_at = n;
    fail_calls = calls;
    fail_code = code;
    write_count = failed_count = 0;
    lock_release(&disk_lock);
}

uint64_t
disk_failed(void)
{
    return failed_count;
}

void
disk_kill(uint64_t n, enum disk_calls calls, enum disk_moment moment)
{
    kill_calls = calls;
    kill_moment = moment;
    atomic_store(&call_count, 0);
    kill_at = n;
}

// ---- what the disk holds: files as they were synced, and what came after ----

struct file {
    uint64_t inode;
    uint8_t *bytes;
    size_t count, room;
    size_t *pending; // operations since its last sync
    size_t pending_count, pending_room;
};

struct name {
    char name[NAME_BYTES];
    uint64_t inode;
};

static struct file files[FILES_MAX];
static uint32_t file_count;
static struct name names[FILES_MAX]; // synced
static uint32_t name_count;
static size_t names_from; // operations on names from here on are not synced
static size_t replayed;   // operations that are in `files`

static void
forget(void)
{
    for (size_t i = 0; i < op_count; i++)
        free(ops[i].bytes);
    for (uint32_t i = 0; i < file_count; i++) {
        free(files[i].bytes);
        free(files[i].pending);
    }
    op_count = 0;
    file_count = name_count = 0;
    names_from = replayed = 0;
}

static struct file *
file_of(uint64_t inode)
{
    for (uint32_t i = 0; i < file_count; i++)
        if (files[i].inode == inode)
            return &files[i];
    ck_assert_uint_lt(file_count, FILES_MAX);
    files[file_count] = (struct file){.inode = inode};
    return &files[file_count++];
}

static void
set_length(struct file *file, size_t count)
{
    if (count > file->room) {
        file->room = 2 * count;
        file->bytes = realloc(file->bytes, file->room);
    }
    if (count > file->count)
        memset(file->bytes + file->count, 0, count - file->count);
    file->count = count;
}

// prng is NULL for a whole operation, else sectors of it are drawn.
static void
apply(struct file *file, const struct op *op, struct prng *prng)
{
    if (op->kind == RESIZE) {
        set_length(file, op->count);
        return;
    }
    if (op->offset + op->count > file->count)
        set_length(file, op->offset + op->count);
    for (uint64_t at = 0; at < op->count;) {
        const uint64_t place = op->offset + at;
        uint64_t count = SECTOR_BYTES - place % SECTOR_BYTES;
        count = count < op->count - at ? count : op->count - at;
        if (prng == NULL || prng_below(prng, 2) == 0)
            memcpy(file->bytes + place, op->bytes + at, count);
        at += count;
    }
}

static uint32_t
find_name(const struct name *list, uint32_t count, const char *name)
{
    uint32_t i = 0;
    while (i < count && strcmp(list[i].name, name) != 0)
        i++;
    return i;
}

static void
apply_name(struct name *list, uint32_t *count, const struct op *op)
{
    uint32_t at = find_name(list, *count, op->name);
    if (op->kind == MAKE) {
        if (at == *count)
            (*count)++;
        (void)snprintf(list[at].name, NAME_BYTES, "%s", op->name);
        list[at].inode = op->file;
    } else if (at < *count) {
        const uint64_t inode = list[at].inode;
        list[at] = list[--*count];
        if (op->kind == RENAME) {
            const struct op made = {.kind = MAKE, .file = inode};
            struct op named = made;
            memcpy(named.name, op->to, NAME_BYTES);
            apply_name(list, count, &named);
        }
    }
}

static bool
is_name(const struct op *op)
{
    return op->kind == MAKE || op->kind == RENAME || op->kind == UNLINK;
}

static void
replay(size_t i)
{
    const struct op *op = &ops[i];
    if (op->kind == SYNC_NAMES) {
        for (; names_from < i; names_from++)
            if (is_name(&ops[names_from]))
                apply_name(names, &name_count, &ops[names_from]);
        return;
    }
    if (op->kind != WRITE && op->kind != RESIZE && op->kind != SYNC)
        return;
    struct file *file = file_of(op->file);
    if (op->kind == SYNC) {
        for (size_t p = 0; p < file->pending_count; p++)
            apply(file, &ops[file->pending[p]], NULL);
        file->pending_count = 0;
    } else if (op->synced) {
        apply(file, op, NULL);
    } else {
        if (file->pending_count == file->pending_room) {
            file->pending_room = 2 * file->pending_room + 64;
            file->pending = realloc(file->pending, file->pending_room * sizeof *file->pending);
        }
        file->pending[file->pending_count++] = i;
    }
}

static void
put_file(const char *directory, const struct name *name, enum disk_keeps keeps, struct prng *prng)
{
    const struct file *synced = file_of(name->inode);
    struct file file = {.count = synced->count, .room = synced->count + 1};
    file.bytes = malloc(file.room);
    if (synced->count > 0)
        memcpy(file.bytes, synced->bytes, synced->count);
    for (size_t p = 0; p < synced->pending_count && keeps != DISK_KEEPS_SYNCED; p++)
        if (keeps != DISK_KEEPS_WRITES || prng_below(prng, 2) == 0)
            apply(&file, &ops[synced->pending[p]], keeps == DISK_KEEPS_SECTORS ? prng : NULL);
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/%.31s", directory, name->name);
    FILE *out = fopen(path, "wb");
    ck_assert_ptr_nonnull(out);
    ck_assert_uint_eq(fwrite(file.bytes, 1, file.count, out), file.count);
    ck_assert_int_eq(fclose(out), 0);
    free(file.bytes);
}

static void
empty(const char *directory)
{
    DIR *list = opendir(directory);
    ck_assert_ptr_nonnull(list);
    for (const struct dirent *entry; (entry = readdir(list)) != NULL;)
        if (entry->d_name[0] != '.')
            ck_assert_int_eq(unlinkat(dirfd(list), entry->d_name, 0), 0);
    (void)closedir(list);
}

void
disk_crash(const char *directory, size_t count, enum disk_keeps keeps, uint64_t seed)
{
    struct prng prng;
    ck_assert(replayed <= count && count <= op_count);
    prng_init(&prng, seed);
    while (replayed < count)
        replay(replayed++);
    struct name now[FILES_MAX];
    uint32_t now_count = name_count, unsynced = 0;
    memcpy(now, names, sizeof now);
    for (size_t i = names_from; i < count; i++)
        unsynced += is_name(&ops[i]);
    uint32_t kept = keeps == DISK_KEEPS_SYNCED ? 0
                    : keeps == DISK_KEEPS_ALL  ? unsynced
                                               : prng_below(&prng, unsynced + 1);
    for (size_t i = names_from; i < count && kept > 0; i++) {
        if (!is_name(&ops[i]))
            continue;
        apply_name(now, &now_count, &ops[i]);
        kept--;
    }
    empty(directory);
    for (uint32_t i = 0; i < now_count; i++)
        put_file(directory, &now[i], keeps, &prng);
}
