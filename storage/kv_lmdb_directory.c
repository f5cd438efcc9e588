// storage/kv_lmdb_directory.c -- what is looked at, and refused, before LMDB touches anything.
//
// Shape: handle, durable.
//
// LMDB makes its lock file before it looks at the data file, and trusts what it finds there. So whether a directory
// is a store of ours is found out first, by reading only; what is wrong is said by name and stays as it was.
#include "storage/kv_lmdb_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define DATA_MAGIC 0xBEEFC0DEu
#define DATA_MAGIC_AT 16u
#define DATA_COMMIT_AT (DATA_HEAD_BYTES - 8u)
#define DATA_VERSION 1u
#define DATA_HEAD_BYTES 152u // a page's head and LMDB's meta
#define PAGE_META 0x08u
#define LOCK_FORMAT 0x00010001u // the head of LMDB's lock file is a struct lock_head
// Places for KV_READERS_MAX readers, nearly; LMDB makes no fewer than its file has room for.
#define LOCK_FILE_BYTES ((off_t)KV_READERS_MAX * 64)

static omen_status directory_check(int fd, const char *path, struct omen_error *error);
static omen_status data_check(int fd, const char *path, struct omen_error *error);
static omen_status data_make(int directory_fd, const char *path, int *fd, struct omen_error *error);

omen_status
kv_directory_open(const struct kv_config *config, int *fd, bool *made, struct omen_error *error)
{
    const char *path = config->path;
    struct stat stat_of;
    *fd = -1;
    *made = false;
    if (path[0] == '\0')
        return error_set(error, OMEN_E_INVALID, "the path is empty");
    if (stat(path, &stat_of) != 0) {
        if (errno != ENOENT)
            return error_set(error, errno == EACCES ? OMEN_E_READ_ONLY : OMEN_E_INVALID, "%s: %s",
                             path, strerror(errno));
        if (config->mode != KV_WRITE && config->mode != KV_NEW)
            return error_set(error, OMEN_E_NOT_FOUND, "%s: nothing is there", path);
        if (mkdir(path, 0777) != 0 && errno != EEXIST) {
            const omen_status status = errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG
                                           ? OMEN_E_INVALID
                                           : kv_failed(NULL, errno, "");
            return error_set(error, status, "%s: cannot make the directory: %s", path,
                             strerror(errno));
        }
        *made = true;
    } else if (!S_ISDIR(stat_of.st_mode)) {
        return error_set(error, OMEN_E_INVALID, "%s: not a directory", path);
    }
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    omen_status status =
        *fd >= 0 ? directory_check(*fd, path, error) : kv_failed(error, errno, path);
    if (status == OMEN_OK)
        return OMEN_OK;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    if (*made)
        rmdir(path);
    return status;
}

// Maps of such files are not coherent between machines, and locks are kept badly or not at all.
static omen_status
directory_check(int fd, const char *path, struct omen_error *error)
{
    static const struct {
        uint32_t type;
        const char *name;
    } network[] = {
        {0x6969, "NFS"},      {0x517B, "SMB"},        {0xFF534D42, "CIFS"}, {0xFE534D42, "SMB2"},
        {0x01021997, "9P"},   {0x00C36400, "Ceph"},   {0x5346414F, "AFS"},  {0x6B414653, "AFS"},
        {0x73757245, "Coda"}, {0x0BD00BD0, "Lustre"},
    };
    struct statfs system;
    if (fstatfs(fd, &system) != 0)
        return kv_failed(error, errno, path);
    for (size_t i = 0; i < sizeof network / sizeof network[0]; i++)
        if ((uint32_t)system.f_type == network[i].type)
            return error_set(error, OMEN_E_UNSUPPORTED,
                             "%s: lies on a network file system (%s): files there cannot be shared",
                             path, network[i].name);
    return OMEN_OK;
}

omen_status
kv_directory_data(int directory_fd, const struct kv_config *config, int *fd,
                  struct omen_error *error)
{
    const bool writes = config->mode != KV_READ;
    struct stat stat_of;
    *fd = openat(directory_fd, KV_DATA_FILE, (writes ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    if (*fd < 0 && errno == ENOENT) {
        if (config->mode != KV_WRITE)
            return error_set(error, OMEN_E_NOT_FOUND, "%s: no %s is there", config->path,
                             KV_DATA_FILE);
        const omen_status status = data_make(directory_fd, config->path, fd, error);
        if (status != OMEN_OK)
            return status;
    }
    if (*fd < 0)
        return error_set(error, errno == EISDIR ? OMEN_E_INVALID : kv_failed(NULL, errno, ""),
                         "%s/%s: %s", config->path, KV_DATA_FILE, strerror(errno));
    omen_status status = OMEN_OK;
    if (fstat(*fd, &stat_of) != 0 || !S_ISREG(stat_of.st_mode))
        status = error_set(error, OMEN_E_INVALID, "%s/%s: not a file", config->path, KV_DATA_FILE);
    else if (stat_of.st_size > 0 && (!writes || !kv_directory_unfinished(*fd)))
        status = data_check(*fd, config->path, error);
    else if (!writes) // its maker was killed at once, or is about to go on
        status = error_set(error, OMEN_E_NOT_FOUND, "%s/%s: empty", config->path, KV_DATA_FILE);
    if (status != OMEN_OK) {
        close(*fd);
        *fd = -1;
    }
    return status;
}

// A lock file that is there is of a store that is gone. While nobody else is between opening one file and the other, it goes
// too, and first: an empty data file beside it would be taken for one that was cut (kv_directory_lock_used).
static omen_status
data_make(int directory_fd, const char *path, int *fd, struct omen_error *error)
{
    const int code = kv_directory_hold(directory_fd, LOCK_EX);
    if (code != 0)
        return kv_failed(error, code, path);
    omen_status status = OMEN_OK;
    if (faccessat(directory_fd, KV_DATA_FILE, F_OK, 0) != 0) {
        status = kv_directory_empty(directory_fd, path, error);
        if (status == OMEN_OK)
            (void)unlinkat(directory_fd, KV_LOCK_FILE, 0);
    }
    if (status == OMEN_OK)
        *fd = openat(directory_fd, KV_DATA_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    const int failed = errno;
    (void)kv_directory_hold(directory_fd, LOCK_SH);
    errno = failed;
    return status;
}

bool
kv_directory_lock_used(int directory_fd)
{
    struct lock_head {
        uint32_t magic, format;
        pthread_mutex_t mutex;
        size_t commit; // the number of the last one; 0 while the file is made
    } head;
    const int fd = openat(directory_fd, KV_LOCK_FILE, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const bool whole = pread(fd, &head, sizeof head, 0) == (ssize_t)sizeof head;
    close(fd);
    return whole && head.magic == DATA_MAGIC && head.format == LOCK_FORMAT && head.commit > 0;
}

// Whether a part of a page holds nothing, or at its page's begin a head that no commit has replaced.
static bool
part_unfinished(const uint8_t *part, size_t count, bool begins, bool *has_head)
{
    size_t head_bytes = 0;
    uint32_t magic;
    uint64_t commit;
    if (begins && count >= DATA_HEAD_BYTES) {
        memcpy(&magic, part + DATA_MAGIC_AT, sizeof magic);
        memcpy(&commit, part + DATA_COMMIT_AT, sizeof commit);
        if (magic == DATA_MAGIC && commit == 0)
            head_bytes = DATA_HEAD_BYTES;
    }
    *has_head = head_bytes > 0;
    for (size_t i = head_bytes; i < count; i++)
        if (part[i] != 0)
            return false;
    return true;
}

// LMDB makes both heads by one write of two pages, of which a full disk takes the first part.
bool
kv_directory_unfinished(int fd)
{
    const uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE), bytes = kv_file_bytes(fd);
    uint32_t heads = 0;
    if (bytes == 0 || bytes > 2 * page_bytes || bytes % 512 != 0)
        return false;
    for (uint64_t at = 0; at < bytes; at += 512) {
        uint8_t part[512];
        bool has_head;
        if (pread(fd, part, sizeof part, (off_t)at) != (ssize_t)sizeof part ||
            !part_unfinished(part, sizeof part, at % page_bytes == 0, &has_head))
            return false;
        heads += has_head;
    }
    return heads < 2;
}

// Both of LMDB's heads, of which it takes the newer one; it writes them whole when it makes the file.
static omen_status
data_check(int fd, const char *path, struct omen_error *error)
{
    struct head {
        uint64_t page;
        uint16_t pad, flags;
        uint32_t pad2;
        uint32_t magic, version;
        uint64_t address, map_bytes;
        uint32_t page_bytes; // the first field of the table of free pages
        uint16_t table_flags, depth;
        uint64_t trees[11]; // of the two tables
        uint64_t last_page, commit;
    } head;
    _Static_assert(sizeof head == DATA_HEAD_BYTES, "as in LMDB's format");
    uint64_t page_bytes = 0;
    for (unsigned i = 0; i < 2; i++) {
        const ssize_t got = pread(fd, &head, sizeof head, (off_t)(i * page_bytes));
        if (got < 0)
            return kv_failed(error, errno, path);
        if (got != (ssize_t)sizeof head || head.magic != DATA_MAGIC ||
            (head.flags & PAGE_META) == 0 || head.page != i)
            return error_set(error, OMEN_E_INVALID,
                             "%s/%s: not a file of LMDB, or its head is damaged", path,
                             KV_DATA_FILE);
        if (head.version != DATA_VERSION)
            return error_set(error, OMEN_E_VERSION, "%s/%s: version %u of LMDB's format, not %u",
                             path, KV_DATA_FILE, head.version, DATA_VERSION);
        if (head.page_bytes < 512 || head.page_bytes > 65536 ||
            (head.page_bytes & (head.page_bytes - 1)) != 0 ||
            (i == 1 && head.page_bytes != page_bytes))
            return error_set(error, OMEN_E_CORRUPT, "%s/%s: pages of %u bytes", path, KV_DATA_FILE,
                             head.page_bytes);
        page_bytes = head.page_bytes;
        if (head.last_page >= KV_FILE_BYTES_MAX / page_bytes)
            return error_set(error, OMEN_E_CORRUPT, "%s/%s: says that it has %llu pages", path,
                             KV_DATA_FILE, (unsigned long long)head.last_page);
    }
    if (page_bytes > (uint64_t)sysconf(_SC_PAGESIZE))
        return error_set(error, OMEN_E_UNSUPPORTED,
                         "%s/%s: made on a machine with pages of %u bytes; this one's have %ld",
                         path, KV_DATA_FILE, head.page_bytes, sysconf(_SC_PAGESIZE));
    return OMEN_OK;
}

// What a killed maker left behind does not count.
omen_status
kv_directory_empty(int directory_fd, const char *path, struct omen_error *error)
{
    static const char *const ours[] = {
        ".",
        "..",
        KV_LOCK_FILE,
        KV_COPY_FILE,
    };
    const int fd = openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
    if (directory == NULL) {
        const int code = errno;
        if (fd >= 0)
            close(fd);
        return kv_failed(error, code, path);
    }
    omen_status status = OMEN_OK;
    for (const struct dirent *entry; status == OMEN_OK && (entry = readdir(directory)) != NULL;) {
        bool known = false;
        for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
            known = known || strcmp(entry->d_name, ours[i]) == 0;
        if (!known)
            status = error_set(error, OMEN_E_INVALID,
                               "%s: holds '%s' and no %s: not a directory of ours", path,
                               entry->d_name, KV_DATA_FILE);
    }
    closedir(directory);
    return status;
}

int
kv_directory_hold(int fd, int how)
{
    int code;
    do {
        code = flock(fd, how) == 0 ? 0 : errno;
    } while (code == EINTR);
    return code;
}

// LMDB writes to its lock file through a map: on a full disk that kills the process, unless the file has its space. What
// others wrote there stays.
omen_status
kv_directory_lock_file(int directory_fd, const char *name, struct omen_error *error)
{
    const int fd = openat(directory_fd, name, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        return OMEN_OK; // LMDB says what is wrong, or goes without
    int code;
    do {
        code = fallocate(fd, 0, 0, LOCK_FILE_BYTES) == 0 ? 0 : errno;
    } while (code == EINTR);
    close(fd);
    const bool full = code == ENOSPC || code == EDQUOT || code == EFBIG;
    return full ? kv_failed(error, code, name) : OMEN_OK;
}

// The names in the directory, and its own.
omen_status
kv_directory_sync(int fd, struct omen_error *error)
{
    const int parent = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    // Who may not read the directory above cannot sync it.
    const int code = fsync(fd) != 0 || (parent >= 0 && fsync(parent) != 0) ? errno : 0;
    if (parent >= 0)
        close(parent);
    return code == 0 ? OMEN_OK : kv_failed(error, code, "syncing the directory");
}
