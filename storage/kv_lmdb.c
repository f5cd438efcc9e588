// storage/kv_lmdb.c -- SEAM, the real half: transactions on LMDB.
//
// Shape: handle, durable. storage/kv_lmdb_int.h says how the maps of the file and the locks go together.
//
// What LMDB does not do for us: it answers EIO when the disk is full, because a write was short, so we allocate the
// file's space before a commit and ask the file system when one failed. It goes on after a failed fsync, which the
// kernel reports once only while it forgets the pages (what a second fsync says is worthless), so we stop ourselves.
#include "storage/kv_lmdb_int.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"

#define READER_CHECK_EVERY 256u // write transactions

enum seek { SEEK_EXACT, SEEK_NEXT, SEEK_PREVIOUS };

static struct kv_txn *txn_make(struct kv *kv, bool writes, omen_status *status,
                               struct omen_error *error);
static void txn_end(struct kv_txn *txn);
static omen_status make_room(struct kv *kv, uint64_t bytes, struct omen_error *error);
static void allocate(struct kv_txn *txn);
static omen_status commit_failed(struct kv_txn *txn, int code, struct omen_error *error);
static omen_status look_up(struct kv_txn *txn, uint32_t table, uint64_t *key, enum seek seek,
                           struct kv_value *value, bool unread, struct omen_error *error);

omen_status
kv_failed(struct omen_error *error, int code, const char *what)
{
    omen_status status = OMEN_E_IO;
    switch (code) {
    case ENOMEM:
        status = OMEN_E_NO_MEMORY;
        break;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: // the process's limit
        status = OMEN_E_DISK_FULL;
        break;
    case EACCES:
    case EPERM:
    case EROFS:
        status = OMEN_E_READ_ONLY;
        break;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_CURSOR_FULL:
        status = OMEN_E_CORRUPT;
        break;
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE:
        status = OMEN_E_INVALID;
        break;
    case MDB_READERS_FULL:
        status = OMEN_E_BUSY;
        break;
    case MDB_MAP_FULL: // the transaction put more than it said
    case MDB_TXN_FULL:
    case MDB_BAD_TXN:
    case MDB_BAD_VALSIZE:
    case EINVAL:
        status = OMEN_E_INTERNAL;
        break;
    default: // EIO, MDB_PANIC and the system's others
        break;
    }
    return error_set(error, status, "%s: %s", what, mdb_strerror(code));
}

omen_status
kv_usable(const struct kv *kv, struct omen_error *error)
{
    if (getpid() != kv->pid)
        return error_set(error, OMEN_E_INVALID,
                         "opened before a fork: the child must open it for itself");
    if (atomic_load_explicit(&kv->unmapped, memory_order_relaxed))
        return error_set(error, OMEN_E_IO, "the map was lost; open it again");
    return OMEN_OK;
}

// ---- transactions ----

omen_status
kv_begin_read(struct kv *kv, struct kv_txn **out, struct omen_error *error)
{
    *out = NULL;
    omen_status status;
    struct kv_txn *txn = txn_make(kv, false, &status, error);
    if (txn == NULL)
        return status;
    int code;
    bool checked = false;
    for (;;) {
        rwlock_acquire_shared(&kv->gate);
        code = mdb_txn_begin(kv->file.env, NULL, MDB_RDONLY, &txn->txn);
        rwlock_release_shared(&kv->gate);
        if (code == MDB_READERS_FULL && !checked) {
            int dead;
            checked = true;
            mdb_reader_check(kv->file.env, &dead);
        } else if (code == MDB_MAP_RESIZED && kv->mode == KV_READ) {
            status = kv_map_resize(kv, 0, error);
            if (status != OMEN_OK)
                break;
        } else {
            break;
        }
    }
    if (status == OMEN_OK && code != 0)
        status = kv_failed(error, code, "beginning to read");
    if (status != OMEN_OK) {
        txn_end(txn);
        return status;
    }
    *out = txn;
    return OMEN_OK;
}

omen_status
kv_begin_write(struct kv *kv, struct kv_txn **out, struct omen_error *error)
{
    return kv_begin_write_large(kv, KV_WRITE_BYTES, out, error);
}

omen_status
kv_begin_write_large(struct kv *kv, uint64_t bytes, struct kv_txn **out, struct omen_error *error)
{
    *out = NULL;
    if (kv->mode == KV_READ)
        return error_set(error, OMEN_E_READ_ONLY, "opened for reading only");
    omen_status status;
    struct kv_txn *txn = txn_make(kv, true, &status, error);
    if (txn == NULL)
        return status;
    lock_acquire(&kv->writer);
    if (atomic_load(&kv->failed))
        status = error_set(error, OMEN_E_IO, "an earlier write failed; open it again");
    if (status == OMEN_OK)
        status = make_room(kv, bytes, error);
    if (status == OMEN_OK) {
        int dead;
        if (kv->begun++ % READER_CHECK_EVERY == 0)
            mdb_reader_check(kv->file.env, &dead);
        const int code = mdb_txn_begin(kv->file.env, NULL, 0, &txn->txn);
        if (code != 0)
            status = kv_failed(error, code, "beginning to write");
    }
    if (status != OMEN_OK) {
        lock_release(&kv->writer);
        txn_end(txn);
        return status;
    }
    txn->room_bytes = bytes;
    *out = txn;
    return OMEN_OK;
}

static struct kv_txn *
txn_make(struct kv *kv, bool writes, omen_status *status, struct omen_error *error)
{
    *status = kv_usable(kv, error);
    if (*status != OMEN_OK)
        return NULL;
    struct kv_txn *txn = mem_alloc_zero(1, sizeof *txn);
    if (txn == NULL) {
        *status = error_set_plain(error, OMEN_E_NO_MEMORY);
        return NULL;
    }
    txn->kv = kv;
    txn->writes = writes;
    atomic_fetch_add(&kv->open_transactions, 1);
    return txn;
}

static void
txn_end(struct kv_txn *txn)
{
    atomic_fetch_sub(&txn->kv->open_transactions, 1);
    mem_free(txn);
}

// A value may need a page more than its bytes fill, hence the 2; what is left of the map after it is a fifth at least.
static omen_status
make_room(struct kv *kv, uint64_t bytes, struct omen_error *error)
{
    MDB_envinfo info;
    mdb_env_info(kv->file.env, &info);
    const uint64_t used = ((uint64_t)info.me_last_pgno + 1) * kv->file.page_bytes;
    const uint64_t need = used + 2 * bytes + KV_ROOM_BYTES;
    uint64_t map_bytes = info.me_mapsize;
    while (need > map_bytes / 5 * 4)
        map_bytes *= 2;
    return map_bytes == info.me_mapsize ? OMEN_OK : kv_map_resize(kv, map_bytes, error);
}

omen_status
kv_commit(struct kv_txn *txn, struct omen_error *error)
{
    struct kv *kv = txn->kv;
    ASSERT(txn->writes);
    omen_status status = OMEN_OK;
    allocate(txn);
    const int code = mdb_txn_commit(txn->txn);
    if (code == 0)
        atomic_fetch_add(&kv->commits, 1);
    else
        status = commit_failed(txn, code, error);
    lock_release(&kv->writer);
    txn_end(txn);
    return status;
}

// Space on the disk for what will be written, before anything is. It may not be needed, where pages came free; so the
// commit is tried all the same, and if it fails we know why. However that ends, the file is made as long as its pages say:
// LMDB does not write the last ones if they came free again, but a reader takes a short file for a damaged one.
static void
allocate(struct kv_txn *txn)
{
    struct kv_file *file = &txn->kv->file;
    MDB_envinfo info;
    if (txn->put_bytes == 0)
        return;
    mdb_env_info(file->env, &info);
    const uint64_t end =
        ((uint64_t)info.me_last_pgno + 1) * file->page_bytes + txn->put_bytes + KV_COMMIT_BYTES;
    const uint64_t bytes = kv_file_bytes(file->data_fd);
    if (end <= bytes)
        return;
    int code;
    do {
        code = fallocate(file->data_fd, 0, (off_t)bytes, (off_t)(end - bytes)) == 0 ? 0 : errno;
    } while (code == EINTR);
    if (code != 0 && ftruncate(file->data_fd, (off_t)end) != 0 && errno == EFBIG)
        code = EFBIG;
    txn->full = code == ENOSPC || code == EDQUOT || code == EFBIG;
}

// Whether LMDB goes on: it does not when it failed to write a head, which may be on the disk or not.
static bool
is_sound(struct kv *kv)
{
    MDB_txn *probe;
    const int code = mdb_txn_begin(kv->file.env, NULL, 0, &probe);
    if (code == 0)
        mdb_txn_abort(probe);
    return code != MDB_PANIC;
}

// A short write is EIO to LMDB. Nothing was synced yet then, and what was written lies on free pages.
static omen_status
commit_failed(struct kv_txn *txn, int code, struct omen_error *error)
{
    struct kv *kv = txn->kv;
    code = code == EIO && txn->full ? ENOSPC : kv_full_or(kv->file.data_fd, txn->put_bytes, code);
    switch (code) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case ENOMEM:
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_BAD_TXN:
        if (is_sound(kv))
            break; // it never came to a sync
        // fall through
    default:
        atomic_store(&kv->failed, true);
        return error_set(error, OMEN_E_IO, "committing: %s; writes are refused from now on",
                         mdb_strerror(code));
    }
    return kv_failed(error, code, "committing");
}

int
kv_full_or(int fd, uint64_t bytes, int code)
{
    struct statvfs space;
    const bool full = code == EIO && fstatvfs(fd, &space) == 0 &&
                      (uint64_t)space.f_bavail * space.f_frsize < bytes + KV_COMMIT_BYTES;
    return full ? ENOSPC : code;
}

void
kv_abort(struct kv_txn *txn)
{
    if (txn == NULL)
        return;
    struct kv *kv = txn->kv;
    if (getpid() == kv->pid)
        mdb_txn_abort(txn->txn); // of a child it would end the parent's
    if (txn->writes)
        lock_release(&kv->writer);
    txn_end(txn);
}

uint64_t
kv_snapshot(const struct kv_txn *txn)
{
    return mdb_txn_id(txn->txn) - (txn->writes ? 1 : 0);
}

// ---- values ----

omen_status
kv_get(struct kv_txn *txn, uint32_t table, uint64_t key, struct kv_value *value,
       struct omen_error *error)
{
    return look_up(txn, table, &key, SEEK_EXACT, value, false, error);
}

omen_status
kv_get_unread(struct kv_txn *txn, uint32_t table, uint64_t key, struct kv_value *value,
              struct omen_error *error)
{
    return look_up(txn, table, &key, SEEK_EXACT, value, true, error);
}

omen_status
kv_next(struct kv_txn *txn, uint32_t table, uint64_t *key, struct kv_value *value,
        struct omen_error *error)
{
    return look_up(txn, table, key, SEEK_NEXT, value, false, error);
}

omen_status
kv_previous(struct kv_txn *txn, uint32_t table, uint64_t *key, struct kv_value *value,
            struct omen_error *error)
{
    return look_up(txn, table, key, SEEK_PREVIOUS, value, false, error);
}

static int
cursor_find(struct kv_txn *txn, MDB_dbi table, uint64_t key, enum seek seek, MDB_val *found_key,
            MDB_val *found)
{
    MDB_cursor *cursor;
    int code = mdb_cursor_open(txn->txn, table, &cursor);
    if (code != 0)
        return code;
    *found_key = (MDB_val){.mv_size = sizeof key, .mv_data = &key};
    code = mdb_cursor_get(cursor, found_key, found, MDB_SET_RANGE);
    if (seek == SEEK_PREVIOUS) {
        if (code == MDB_NOTFOUND)
            code = mdb_cursor_get(cursor, found_key, found, MDB_LAST);
        else if (code == 0 && found_key->mv_size == sizeof key &&
                 memcmp(found_key->mv_data, &key, sizeof key) != 0)
            code = mdb_cursor_get(cursor, found_key, found, MDB_PREV);
    }
    mdb_cursor_close(cursor);
    return code;
}

static omen_status
look_up(struct kv_txn *txn, uint32_t table, uint64_t *key, enum seek seek, struct kv_value *value,
        bool unread, struct omen_error *error)
{
    struct kv *kv = txn->kv;
    const MDB_dbi dbi = kv->file.tables[table];
    MDB_val found_key = {.mv_size = sizeof *key, .mv_data = key}, found;
    omen_status status;
    ASSERT(table < kv->table_count);
    if (!txn->writes) // a write transaction is beside no move of the map
        rwlock_acquire_shared(&kv->gate);
    const int code = seek == SEEK_EXACT ? mdb_get(txn->txn, dbi, &found_key, &found)
                                        : cursor_find(txn, dbi, *key, seek, &found_key, &found);
    if (code == MDB_NOTFOUND)
        status = OMEN_E_NOT_FOUND;
    else if (code != 0)
        status = kv_failed(error, code, "reading");
    else if (found_key.mv_size != sizeof *key)
        status = error_set(error, OMEN_E_CORRUPT, "%s: a key of %zu bytes", KV_DATA_FILE,
                           found_key.mv_size);
    else if (txn->writes) {
        *value = (struct kv_value){.bytes = found.mv_data, .count = found.mv_size};
        status = OMEN_OK;
    } else
        status = kv_map_find(kv, &found, value, unread, error);
    if (status == OMEN_OK && seek != SEEK_EXACT) {
        uint64_t place;
        memcpy(&place, found_key.mv_data, sizeof place);
        if (seek == SEEK_NEXT ? place < *key : place > *key) // or a walk would never end
            status = error_set(error, OMEN_E_CORRUPT, "%s: a key out of order", KV_DATA_FILE);
        else
            *key = place;
    }
    if (!txn->writes)
        rwlock_release_shared(&kv->gate);
    return status;
}

omen_status
kv_put(struct kv_txn *txn, uint32_t table, uint64_t key, size_t count, void **room,
       struct omen_error *error)
{
    struct kv *kv = txn->kv;
    MDB_val key_val = {.mv_size = sizeof key, .mv_data = &key};
    MDB_val value = {.mv_size = count};
    ASSERT(txn->writes && table < kv->table_count);
    ASSERT(count >= 1 && count <= KV_VALUE_BYTES_MAX);
    if (count > txn->room_bytes)
        return error_set(error, OMEN_E_INTERNAL, "a transaction puts more bytes than it said");
    const int code = mdb_put(txn->txn, kv->file.tables[table], &key_val, &value, MDB_RESERVE);
    if (code != 0)
        return kv_failed(error, code, "putting a value");
    const uint64_t page = kv->file.page_bytes;
    txn->room_bytes -= count;
    txn->put_bytes +=
        count < kv_pin_bytes_min(kv) ? 2 * count : (count + 16 + page - 1) / page * page;
    *room = value.mv_data;
    return OMEN_OK;
}

omen_status
kv_delete(struct kv_txn *txn, uint32_t table, uint64_t key, struct omen_error *error)
{
    struct kv *kv = txn->kv;
    MDB_val key_val = {.mv_size = sizeof key, .mv_data = &key};
    ASSERT(txn->writes && table < kv->table_count);
    const int code = mdb_del(txn->txn, kv->file.tables[table], &key_val, NULL);
    return code == 0 || code == MDB_NOTFOUND ? OMEN_OK : kv_failed(error, code, "erasing a value");
}

// ---- what it uses ----

omen_status
kv_usage(struct kv *kv, struct kv_usage *usage, struct omen_error *error)
{
    struct kv_txn *txn;
    MDB_cursor *cursor;
    MDB_envinfo info;
    omen_status status = kv_begin_read(kv, &txn, error);
    if (status != OMEN_OK)
        return status;
    rwlock_acquire_shared(&kv->gate);
    mdb_env_info(kv->file.env, &info);
    uint64_t free_pages = 0;
    int code = mdb_cursor_open(txn->txn, 0, &cursor); // table 0 is LMDB's own: its free pages
    if (code == 0) {
        MDB_val key, value;
        while ((code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
            uint64_t count = 0;
            if (value.mv_size >= sizeof count)
                memcpy(&count, value.mv_data, sizeof count);
            free_pages += count;
        }
        mdb_cursor_close(cursor);
    }
    rwlock_release_shared(&kv->gate);
    kv_abort(txn);
    if (code != MDB_NOTFOUND)
        return kv_failed(error, code, "counting free pages");
    const uint64_t bytes = kv_file_bytes(kv->file.data_fd);
    const uint64_t used = ((uint64_t)info.me_last_pgno + 1) * kv->file.page_bytes;
    *usage = (struct kv_usage){
        .file_bytes = bytes,
        .free_bytes = free_pages * kv->file.page_bytes + (bytes > used ? bytes - used : 0),
        .commits = atomic_load(&kv->commits),
        .syncs_at_least = 2 * atomic_load(&kv->commits),
    };
    return OMEN_OK;
}

struct kv *
kv_of(const struct kv_txn *txn)
{
    return txn->kv;
}
