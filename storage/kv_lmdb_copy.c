// storage/kv_lmdb_copy.c -- the store's entries in a new file: beside it, or in its place.
//
// Shape: handle, durable.
//
// mdb_env_copy2 would do it, but it reads through LMDB's map for as long as it takes, and the map must not move meanwhile:
// a writer that needs room would wait. So entries are copied by our own transactions, in the order of their keys, which
// lays the pieces of an array side by side.
//
// A store is two files, data and lock, and the lock file has the number of the data's last commit and the readers of
// its pages; a new data file must never meet the old lock file. Two files cannot be renamed at once. So:
//
//   1. shrunk.mdb and shrunk.mdb-lock are complete and durable, and locked by the writer; killed here: they are erased
//   2. the directory is held alone: nobody is between opening one file and the other
//   3. swap.mdb is made: who finds it when opening knows that 4 and 5 may be half done
//   4. shrunk.mdb becomes data.mdb
//   5. shrunk.mdb-lock becomes lock.mdb
//   6. swap.mdb is erased, and the directory let go
//
// Repair (kv_swap_repair): where shrunk.mdb is still there, 4 did not happen and all three are erased; else 5 and 6 are
// done again. Readers of the old files keep both until they close them.
#include "storage/kv_lmdb_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/alloc.h"

#define COPY_BYTES ((uint64_t)4 << 20) // of a transaction

static omen_status copy_tables(struct kv *kv, struct kv_file *to, struct omen_error *error);
static omen_status copy_table(struct kv_txn *from, uint32_t table, struct kv_file *to,
                              struct omen_error *error);
static omen_status swap(struct kv *kv, struct omen_error *error);
static void keep_maps(struct kv *kv, struct kv_file *old);

// To begin with. Not of the old map's size: a store that is shrunk again and again would get a larger one each time.
static uint64_t
copy_map_bytes(const struct kv *kv)
{
    MDB_envinfo info;
    mdb_env_info(kv->file.env, &info);
    const uint64_t bytes = 2 * ((uint64_t)info.me_last_pgno + 1) * kv->file.page_bytes;
    return bytes < KV_MAP_BYTES_MIN ? KV_MAP_BYTES_MIN : bytes;
}

omen_status
kv_copy(struct kv *kv, const char *path, struct omen_error *error)
{
    struct kv *copy;
    omen_status status = kv_usable(kv, error);
    if (status != OMEN_OK)
        return status;
    const struct kv_config config = {.path = path,
                                     .mode = KV_NEW,
                                     .tables = kv->tables,
                                     .table_count = kv->table_count,
                                     .map_bytes = copy_map_bytes(kv)};
    status = kv_open(&config, &copy, error);
    if (status != OMEN_OK)
        return status;
    status = copy_tables(kv, &copy->file, error);
    if (status == OMEN_OK)
        status = kv_publish(copy, error);
    kv_close(copy);
    return status;
}

// The complete and durable file that will take the store's place. `file` is to be closed also after a failure.
static omen_status
make_shrunk(struct kv *kv, struct kv_file *file, struct omen_error *error)
{
    const struct kv_place place = {kv->directory_fd, kv->path, KV_SHRUNK_FILE};
    (void)unlinkat(kv->directory_fd, KV_SHRUNK_LOCK_FILE, 0);
    omen_status status = kv_directory_lock_file(kv->directory_fd, KV_SHRUNK_LOCK_FILE, error);
    if (status == OMEN_OK)
        status = kv_file_make(kv, file, &place, 0, copy_map_bytes(kv), error);
    if (status == OMEN_OK)
        status = copy_tables(kv, file, error);
    if (status != OMEN_OK)
        return status;
    int code = mdb_env_sync(file->env, 1);
    if (code == 0)
        code = mdb_env_set_flags(file->env, MDB_NOSYNC, 0);
    return code == 0 ? OMEN_OK : kv_failed(error, code, kv->path);
}

static omen_status
copy_tables(struct kv *kv, struct kv_file *to, struct omen_error *error)
{
    struct kv_txn *from;
    omen_status status = kv_begin_read(kv, &from, error);
    for (uint32_t i = 0; status == OMEN_OK && i < kv->table_count; i++)
        status = copy_table(from, i, to, error);
    kv_abort(from);
    return status;
}

// Some entries from *key on, in one transaction; OMEN_E_NOT_FOUND: there are no more.
static omen_status
copy_some(struct kv_txn *from, uint32_t table, uint64_t *key, struct kv_file *to,
          struct omen_error *error)
{
    MDB_txn *txn;
    struct kv_value value;
    uint64_t bytes = 0;
    int code = mdb_txn_begin(to->env, NULL, 0, &txn);
    if (code != 0)
        return kv_failed(error, code, "copying");
    omen_status status = OMEN_OK;
    while (bytes < COPY_BYTES) {
        status = kv_next(from, table, key, &value, error);
        if (status != OMEN_OK)
            break;
        MDB_val put_key = {.mv_size = sizeof *key, .mv_data = key};
        MDB_val put = {.mv_size = value.count};
        code = mdb_put(txn, to->tables[table], &put_key, &put, MDB_RESERVE | MDB_APPEND);
        if (code != 0)
            break;
        pages_will_need(value.bytes, value.count);
        memcpy(put.mv_data, value.bytes, value.count);
        bytes += value.count + 64;
        if (++*key == 0) { // the last key there can be
            status = OMEN_E_NOT_FOUND;
            break;
        }
    }
    if (code != 0 || (status != OMEN_OK && status != OMEN_E_NOT_FOUND)) {
        mdb_txn_abort(txn);
        return code != 0 ? kv_failed(error, code, "copying") : status;
    }
    code = kv_full_or(to->data_fd, bytes, mdb_txn_commit(txn));
    return code == 0 ? status : kv_failed(error, code, "copying");
}

static omen_status
copy_table(struct kv_txn *from, uint32_t table, struct kv_file *to, struct omen_error *error)
{
    uint64_t key = 0;
    omen_status status;
    do {
        status = copy_some(from, table, &key, to, error);
    } while (status == OMEN_OK);
    return status == OMEN_E_NOT_FOUND ? OMEN_OK : status;
}

omen_status
kv_shrink(struct kv *kv, struct omen_error *error)
{
    struct kv_file next = {.data_fd = -1};
    omen_status status = kv_usable(kv, error);
    if (status != OMEN_OK)
        return status;
    if (kv->mode == KV_READ)
        return error_set(error, OMEN_E_READ_ONLY, "opened for reading only");
    lock_acquire(&kv->writer);
    if (atomic_load(&kv->failed))
        status = error_set(error, OMEN_E_IO, "an earlier write failed; open it again");
    else if (atomic_load(&kv->open_transactions) != 0)
        status = error_set(error, OMEN_E_BUSY, "a transaction is open");
    else if (kv_moved(kv))
        status = error_set(error, OMEN_E_IO, "%s: another file is there now", kv->path);
    if (status == OMEN_OK) {
        status = make_shrunk(kv, &next, error);
        // Who began to read meanwhile does so in the file that would be closed.
        rwlock_acquire_exclusive(&kv->gate);
        if (status == OMEN_OK && atomic_load(&kv->open_transactions) != 0)
            status = error_set(error, OMEN_E_BUSY, "a transaction is open");
        if (status == OMEN_OK)
            status = swap(kv, error);
        if (status == OMEN_OK) {
            kv_claim_moved(kv, next.data_fd);
            struct kv_file old = kv->file;
            next.device = old.device;
            next.inode = old.inode;
            kv->file = next;
            rwlock_release_exclusive(&kv->gate);
            keep_maps(kv, &old);
            kv_file_close(&old);
        } else {
            rwlock_release_exclusive(&kv->gate);
            kv_file_close(&next);
            (void)unlinkat(kv->directory_fd, KV_SHRUNK_FILE, 0);
            (void)unlinkat(kv->directory_fd, KV_SHRUNK_LOCK_FILE, 0);
        }
    }
    lock_release(&kv->writer);
    return status;
}

// Addresses in the maps of the old file are still in use, and in those of the one before if nobody said that it is kv_shrunk.
static void
keep_maps(struct kv *kv, struct kv_file *old)
{
    struct kv_map *map = atomic_load(&old->map);
    atomic_store(&old->map, NULL);
    while (map != NULL) {
        struct kv_map *older = map->older;
        map->older = kv->old_maps;
        kv->old_maps = map;
        map = older;
    }
}

void
kv_shrunk(struct kv *kv)
{
    struct kv_file old = {.data_fd = -1};
    atomic_init(&old.map, kv->old_maps);
    kv->old_maps = NULL;
    kv_map_close(&old);
}

// Steps 2 to 6. From 4 on the new file is the store, whatever becomes of the rest, which the next who opens will do.
static omen_status
swap(struct kv *kv, struct omen_error *error)
{
    const int fd = kv->directory_fd;
    int code = kv_directory_hold(fd, LOCK_EX);
    if (code == 0) {
        const int mark = openat(fd, KV_SWAP_FILE, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
        code = mark < 0 || fsync(fd) != 0 || renameat(fd, KV_SHRUNK_FILE, fd, KV_DATA_FILE) != 0
                   ? errno
                   : 0;
        if (mark >= 0)
            close(mark);
        if (code == 0)
            kv_swap_repair(fd);
        else
            (void)unlinkat(fd, KV_SWAP_FILE, 0);
    }
    // Which file is there after a power failure is not known then, so that nothing can be acknowledged any more.
    if (fsync(fd) != 0 && code == 0)
        atomic_store(&kv->failed, true);
    (void)kv_directory_hold(fd, LOCK_UN);
    return code == 0 ? OMEN_OK : kv_failed(error, code, "exchanging the file");
}

void
kv_swap_repair(int directory_fd)
{
    if (faccessat(directory_fd, KV_SHRUNK_FILE, F_OK, 0) == 0) {
        (void)unlinkat(directory_fd, KV_SHRUNK_LOCK_FILE, 0);
        if (unlinkat(directory_fd, KV_SHRUNK_FILE, 0) != 0)
            return;
    } else if (renameat(directory_fd, KV_SHRUNK_LOCK_FILE, directory_fd, KV_LOCK_FILE) != 0 &&
               errno != ENOENT) {
        return;
    }
    (void)unlinkat(directory_fd, KV_SWAP_FILE, 0);
}
