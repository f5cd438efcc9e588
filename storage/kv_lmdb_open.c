// storage/kv_lmdb_open.c -- opening and closing, and who may.
//
// Shape: handle, durable.
//
// Three locks. The list of this process's stores refuses a second handle, because LMDB's lock file is held by a lock
// of the process that any second close would drop. The writer's lock goes with an open file (not with a process) and vanishes
// with it. And whoever opens holds the directory meanwhile, so that kv_shrink can exchange two files as if they were one.
#include "storage/kv_lmdb_int.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"

// Where no page will ever lie.
#define WRITER_LOCK_AT ((off_t)1 << 62)

static struct lock stores_lock = LOCK_INIT;
static struct kv *stores; // open ones of this process

static omen_status open_held(struct kv *kv, const struct kv_config *config,
                             struct omen_error *error);
static omen_status open_new(struct kv *kv, const struct kv_config *config,
                            struct omen_error *error);
static omen_status keep_path(struct kv *kv, const char *path, struct omen_error *error);
static bool can_lock(const struct kv *kv);
static omen_status claim(struct kv *kv, const char *path, struct omen_error *error);
static omen_status tables_open(const struct kv *kv, struct kv_file *file, enum kv_mode mode,
                               struct omen_error *error);
static omen_status take_over(struct kv_file *file, struct omen_error *error);
static omen_status length_check(struct kv_file *file, enum kv_mode mode, struct omen_error *error);
static omen_status was_cut(const struct kv_file *file, uint64_t bytes, struct omen_error *error);
static omen_status kv_file_open(const struct kv *kv, struct kv_file *file, enum kv_mode mode,
                                const char *path, unsigned flags, uint64_t map_bytes,
                                struct omen_error *error);
static void kv_release(struct kv *kv);
static int kv_lock_file(int fd);

omen_status
kv_open(const struct kv_config *config, struct kv **out, struct omen_error *error)
{
    *out = NULL;
    ASSERT(config->table_count >= 1 && config->table_count <= KV_TABLES_MAX);
    struct kv *kv = mem_alloc_zero(1, sizeof *kv);
    if (kv == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    kv->mode = config->mode;
    kv->pid = getpid();
    kv->table_count = config->table_count;
    memcpy(kv->tables, config->tables, kv->table_count * sizeof kv->tables[0]);
    kv->directory_fd = -1;
    kv->file.data_fd = -1;
    rwlock_init(&kv->gate);
    lock_init(&kv->writer);
    lock_init(&kv->map_lock);

    bool made;
    omen_status status = kv_directory_open(config, &kv->directory_fd, &made, error);
    const bool new = config->mode == KV_NEW;
    if (status == OMEN_OK) {
        const int code = kv_directory_hold(kv->directory_fd, new ? LOCK_EX : LOCK_SH);
        if (code != 0)
            status = kv_failed(error, code, config->path);
        else
            status = new ? open_new(kv, config, error) : open_held(kv, config, error);
        if (!new)
            (void)kv_directory_hold(kv->directory_fd, LOCK_UN);
    }
    if (status != OMEN_OK) {
        kv_release(kv);
        if (made)
            rmdir(config->path); // leaves it where something is in it
        return status;
    }
    kv->made_directory = made;
    *out = kv;
    return OMEN_OK;
}

// The directory is held alone until it is published, or closed: nobody sees what is in it before.
static omen_status
open_new(struct kv *kv, const struct kv_config *config, struct omen_error *error)
{
    omen_status status = keep_path(kv, config->path, error);
    if (status != OMEN_OK)
        return status;
    if (kv_directory_empty(kv->directory_fd, config->path, error) != OMEN_OK)
        return error_set(error, OMEN_E_EXISTS, "%s: something is there already", config->path);
    const struct kv_place place = {kv->directory_fd, kv->path, KV_COPY_FILE};
    kv->unpublished = KV_COPY_FILE;
    status = kv_file_make(kv, &kv->file, &place, MDB_NOLOCK, config->map_bytes, error);
    return status == OMEN_OK ? claim(kv, config->path, error) : status;
}

omen_status
kv_publish(struct kv *kv, struct omen_error *error)
{
    ASSERT(kv->unpublished != NULL && atomic_load(&kv->open_transactions) == 0);
    omen_status status = kv_usable(kv, error);
    if (status != OMEN_OK)
        return status;
    const int code = mdb_env_sync(kv->file.env, 1);
    if (code != 0)
        return kv_failed(error, kv_full_or(kv->file.data_fd, 0, code), kv->path);
    if (renameat(kv->directory_fd, kv->unpublished, kv->directory_fd, KV_DATA_FILE) != 0)
        return kv_failed(error, errno, kv->path);
    kv->unpublished = KV_DATA_FILE;
    status = kv_directory_sync(kv->directory_fd, error);
    if (status != OMEN_OK)
        return status;
    kv->unpublished = NULL;
    (void)kv_directory_hold(kv->directory_fd, LOCK_UN);
    return OMEN_OK;
}

static omen_status
open_held(struct kv *kv, const struct kv_config *config, struct omen_error *error)
{
    if (faccessat(kv->directory_fd, KV_SWAP_FILE, F_OK, 0) == 0) {
        const int code = kv_directory_hold(kv->directory_fd, LOCK_EX);
        if (code != 0)
            return kv_failed(error, code, config->path);
        kv_swap_repair(kv->directory_fd);
        if (faccessat(kv->directory_fd, KV_SWAP_FILE, F_OK, 0) == 0)
            return error_set(error, OMEN_E_BUSY, "%s: was being shrunk; open it for writing first",
                             config->path);
    }
    omen_status status = kv_directory_data(kv->directory_fd, config, &kv->file.data_fd, error);
    if (status == OMEN_OK)
        status = claim(kv, config->path, error);
    if (status != OMEN_OK)
        return status;
    // Now nobody else is making it.
    const bool unfinished = kv->mode != KV_READ && kv_directory_unfinished(kv->file.data_fd);
    const bool fresh = unfinished || kv_file_bytes(kv->file.data_fd) == 0;
    if (fresh && kv_directory_lock_used(kv->directory_fd))
        return error_set(error, OMEN_E_CORRUPT,
                         "%s/%s: empty, but %s is of a store that held something: it was cut; "
                         "without both files a new one can be made",
                         config->path, KV_DATA_FILE, KV_LOCK_FILE);
    if (unfinished && ftruncate(kv->file.data_fd, 0) != 0)
        return kv_failed(error, errno, config->path);

    if (kv->mode != KV_READ) { // of a kv_shrink that was killed
        (void)unlinkat(kv->directory_fd, KV_SHRUNK_FILE, 0);
        (void)unlinkat(kv->directory_fd, KV_SHRUNK_LOCK_FILE, 0);
    }
    status = keep_path(kv, config->path, error);
    if (status != OMEN_OK)
        return status;
    const unsigned flags = kv->mode == KV_READ && !can_lock(kv) ? MDB_NOLOCK : 0;
    if (flags == 0)
        status = kv_directory_lock_file(kv->directory_fd, KV_LOCK_FILE, error);
    if (status != OMEN_OK)
        return status;
    status = kv_file_open(kv, &kv->file, kv->mode, kv->path, flags, config->map_bytes, error);
    if (status == OMEN_OK && fresh)
        status = kv_directory_sync(kv->directory_fd, error);
    return status;
}

static omen_status
keep_path(struct kv *kv, const char *path, struct omen_error *error)
{
    char absolute[PATH_MAX];
    if (realpath(path, absolute) == NULL)
        return kv_failed(error, errno, path);
    const size_t bytes = strlen(absolute) + 1;
    kv->path = mem_alloc(bytes);
    if (kv->path == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    memcpy(kv->path, absolute, bytes);
    return OMEN_OK;
}

// A reader takes a place in LMDB's lock file, if it may write there.
static bool
can_lock(const struct kv *kv)
{
    if (faccessat(kv->directory_fd, KV_LOCK_FILE, W_OK, AT_EACCESS) == 0)
        return true;
    return errno == ENOENT && faccessat(kv->directory_fd, ".", W_OK, AT_EACCESS) == 0;
}

// This process's only handle, and of all processes the only writer.
static omen_status
claim(struct kv *kv, const char *path, struct omen_error *error)
{
    struct stat stat_of;
    if (fstat(kv->file.data_fd, &stat_of) != 0)
        return kv_failed(error, errno, path);
    omen_status status = OMEN_OK;
    lock_acquire(&stores_lock);
    for (const struct kv *other = stores; other != NULL; other = other->next)
        if (other->file.device == stat_of.st_dev && other->file.inode == stat_of.st_ino &&
            other->pid == kv->pid)
            status = error_set(error, OMEN_E_LOCKED, "%s: already open in this process", path);
    if (status == OMEN_OK) {
        kv->file.device = stat_of.st_dev;
        kv->file.inode = stat_of.st_ino;
        kv->next = stores;
        stores = kv;
    }
    lock_release(&stores_lock);
    if (status != OMEN_OK || kv->mode == KV_READ)
        return status;
    const int code = kv_lock_file(kv->file.data_fd);
    if (code == EAGAIN || code == EACCES)
        return error_set(error, OMEN_E_LOCKED, "%s: another process writes to it", path);
    return code == 0 ? OMEN_OK : kv_failed(error, code, path);
}

// The writer's lock, which goes with the open file: 0 or an errno.
static int
kv_lock_file(int fd)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = WRITER_LOCK_AT, .l_len = 1};
    return fcntl(fd, F_OFD_SETLK, &lock) == 0 ? 0 : errno;
}

// Opens LMDB's environment on a file and the tables in it, which are made where the mode allows.
static omen_status
kv_file_open(const struct kv *kv, struct kv_file *file, enum kv_mode mode, const char *path,
             unsigned flags, uint64_t map_bytes, struct omen_error *error)
{
    const uint64_t bytes = kv_file_bytes(file->data_fd);
    MDB_stat stat_of;
    int dead;
    if (map_bytes == 0)
        map_bytes = KV_MAP_BYTES_MIN;
    if (map_bytes < 2 * bytes)
        map_bytes = 2 * bytes;
    file->map_bytes = (map_bytes + 65535) / 65536 * 65536;
    flags |= MDB_NOTLS | MDB_NORDAHEAD | (mode == KV_READ ? MDB_RDONLY : 0);
    int code = mdb_env_create(&file->env);
    if (code == 0)
        code = mdb_env_set_maxreaders(file->env, KV_READERS_MAX);
    if (code == 0)
        code = mdb_env_set_maxdbs(file->env, KV_TABLES_MAX);
    if (code == 0)
        code = mdb_env_set_mapsize(file->env, file->map_bytes);
    if (code == 0)
        code = mdb_env_open(file->env, path, flags, 0666);
    if (code == 0 && bytes == 0 && mode != KV_READ && fdatasync(file->data_fd) != 0)
        code = errno; // see kv_directory_unfinished
    if (code != 0)
        return kv_failed(error, code, path);
    mdb_env_stat(file->env, &stat_of);
    file->page_bytes = stat_of.ms_psize;
    if ((flags & MDB_NOLOCK) == 0)
        mdb_reader_check(file->env, &dead);
    omen_status status = mode == KV_READ ? OMEN_OK : take_over(file, error);
    if (status == OMEN_OK)
        status = length_check(file, mode, error);
    if (status == OMEN_OK)
        status = kv_map_open(file, error);
    if (status == OMEN_OK)
        status = tables_open(kv, file, mode, error);
    if (status == OMEN_E_CORRUPT && bytes > 0 && bytes < kv_file_bytes(file->data_fd) &&
        ftruncate(file->data_fd, (off_t)bytes) == 0) // made longer here, and in vain
        return was_cut(file, bytes, error);
    return status;
}

omen_status
kv_file_make(const struct kv *kv, struct kv_file *file, const struct kv_place *place,
             unsigned flags, uint64_t map_bytes, struct omen_error *error)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", place->directory, place->name) >= (int)sizeof path)
        return error_set(error, OMEN_E_INVALID, "%s: the path is too long", place->directory);
    (void)unlinkat(place->directory_fd, place->name, 0);
    file->data_fd =
        openat(place->directory_fd, place->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file->data_fd < 0)
        return kv_failed(error, errno, path);
    const int code = kv_lock_file(file->data_fd);
    if (code != 0)
        return kv_failed(error, code, path);
    return kv_file_open(kv, file, KV_WRITE, path, flags | MDB_NOSUBDIR | MDB_NOSYNC, map_bytes,
                        error);
}

// A writer that was killed between writing a head and telling the lock file its number leaves a lock file, where a
// reader keeps it alive, from which a transaction that reads begins one commit too early: on top of that we would write
// what the last commit has written already. LMDB mends the number when it finds that the owner of its mutex died, which
// is when the next transaction that writes begins. So one begins before anything is read.
static omen_status
take_over(struct kv_file *file, struct omen_error *error)
{
    MDB_txn *txn;
    const int code = mdb_txn_begin(file->env, NULL, 0, &txn);
    if (code != 0)
        return kv_failed(error, code, KV_DATA_FILE);
    mdb_txn_abort(txn);
    return OMEN_OK;
}

// Reading behind a file's end kills the process. LMDB leaves out the last pages if they came free again; a file that
// was cut is as short. Made longer, both read as pages of zeros, which are found out.
static omen_status
length_check(struct kv_file *file, enum kv_mode mode, struct omen_error *error)
{
    MDB_envinfo info;
    mdb_env_info(file->env, &info);
    const uint64_t bytes = kv_file_bytes(file->data_fd);
    const uint64_t pages = (uint64_t)info.me_last_pgno + 1;
    if (bytes >= pages * file->page_bytes)
        return OMEN_OK;
    if (mode != KV_READ && pages * file->page_bytes - bytes <= KV_SHORT_BYTES_MAX &&
        ftruncate(file->data_fd, (off_t)(pages * file->page_bytes)) == 0)
        return OMEN_OK;
    return was_cut(file, bytes, error);
}

static omen_status
was_cut(const struct kv_file *file, uint64_t bytes, struct omen_error *error)
{
    MDB_envinfo info;
    mdb_env_info(file->env, &info);
    return error_set(error, OMEN_E_CORRUPT, "%s: has %llu bytes of %llu; it was cut", KV_DATA_FILE,
                     (unsigned long long)bytes,
                     ((unsigned long long)info.me_last_pgno + 1) * file->page_bytes);
}

static int
tables_find(const struct kv *kv, struct kv_file *file, MDB_txn *txn, unsigned flags)
{
    for (uint32_t i = 0; i < kv->table_count; i++) {
        unsigned has;
        const int code = mdb_dbi_open(txn, kv->tables[i], flags, &file->tables[i]);
        if (code != 0)
            return code;
        if (mdb_dbi_flags(txn, file->tables[i], &has) != 0 || has != MDB_INTEGERKEY)
            return MDB_INCOMPATIBLE;
    }
    return 0;
}

// All tables are made by one commit. So a file that has some has all, and one that has others is not ours.
static omen_status
tables_open(const struct kv *kv, struct kv_file *file, enum kv_mode mode, struct omen_error *error)
{
    MDB_txn *txn;
    MDB_stat stat_of = {.ms_entries = 0};
    int code = mdb_txn_begin(file->env, NULL, MDB_RDONLY, &txn);
    if (code != 0)
        return kv_failed(error, code, KV_DATA_FILE);
    const omen_status sound = kv_check_trees(file, mdb_txn_id(txn), error);
    if (sound != OMEN_OK) {
        mdb_txn_abort(txn);
        return sound;
    }
    code = tables_find(kv, file, txn, 0);
    if (code == MDB_NOTFOUND) {
        MDB_dbi names;
        int found = mdb_dbi_open(txn, NULL, 0, &names);
        if (found == 0)
            found = mdb_stat(txn, names, &stat_of);
        if (found != 0)
            code = found;
    }
    if (code != 0)
        mdb_txn_abort(txn);
    else
        code = mdb_txn_commit(txn); // keeps the tables open
    if (code == MDB_INCOMPATIBLE || (code == MDB_NOTFOUND && stat_of.ms_entries > 0))
        return error_set(error, OMEN_E_INVALID, "%s: has tables of something else", KV_DATA_FILE);
    if (code == MDB_NOTFOUND && mode == KV_READ)
        return error_set(error, OMEN_E_NOT_FOUND, "%s: holds nothing yet", KV_DATA_FILE);
    if (code != MDB_NOTFOUND)
        return code == 0 ? OMEN_OK : kv_failed(error, code, KV_DATA_FILE);

    code = mdb_txn_begin(file->env, NULL, 0, &txn);
    if (code != 0)
        return kv_failed(error, code, KV_DATA_FILE);
    code = tables_find(kv, file, txn, MDB_CREATE | MDB_INTEGERKEY);
    if (code != 0)
        mdb_txn_abort(txn);
    else
        code = mdb_txn_commit(txn);
    return code == 0 ? OMEN_OK : kv_failed(error, code, "making the tables");
}

void
kv_close(struct kv *kv)
{
    if (kv == NULL)
        return;
    if (getpid() != kv->pid) {
        // The environment is the parent's: ending it here would take its readers' places. What the child has of it goes
        // with the child, but not an open file that would keep the writer's lock.
        close(kv->file.data_fd);
        close(kv->directory_fd);
        return;
    }
    ASSERT(atomic_load(&kv->open_transactions) == 0);
    kv_release(kv);
}

static void
kv_release(struct kv *kv)
{
    kv_shrunk(kv);
    if (kv->unpublished != NULL) {
        (void)unlinkat(kv->directory_fd, kv->unpublished, 0);
        if (kv->made_directory)
            (void)rmdir(kv->path);
    }
    kv_file_close(&kv->file);
    if (kv->directory_fd >= 0)
        close(kv->directory_fd);
    lock_acquire(&stores_lock);
    struct kv **link = &stores;
    while (*link != NULL && *link != kv)
        link = &(*link)->next;
    if (*link != NULL)
        *link = kv->next;
    lock_release(&stores_lock);
    lock_fini(&kv->map_lock);
    lock_fini(&kv->writer);
    rwlock_fini(&kv->gate);
    mem_free(kv->path);
    mem_free(kv);
}

void
kv_file_close(struct kv_file *file)
{
    if (file->env != NULL)
        mdb_env_close(file->env);
    kv_map_close(file);
    if (file->data_fd >= 0)
        close(file->data_fd); // lets the writer's lock go last
    file->env = NULL;
    file->data_fd = -1;
}

bool
kv_moved(struct kv *kv)
{
    struct stat stat_of;
    return fstatat(kv->directory_fd, KV_DATA_FILE, &stat_of, 0) != 0 ||
           stat_of.st_dev != kv->file.device || stat_of.st_ino != kv->file.inode;
}

// Where the store lies now.
void
kv_claim_moved(struct kv *kv, int data_fd)
{
    struct stat stat_of;
    if (fstat(data_fd, &stat_of) != 0)
        return;
    lock_acquire(&stores_lock);
    kv->file.device = stat_of.st_dev;
    kv->file.inode = stat_of.st_ino;
    lock_release(&stores_lock);
}
