// storage/kv_lmdb_int.h -- what the files of the real half of storage/kv.h share.
//
// Shape: handle, durable. Only storage/kv_lmdb*.c include it, and only they know LMDB.
//
// Three maps of one file. LMDB has one, which it may move when the file outgrows it; values in it are gone then, and it
// says that no transaction may be open when it moves. We cannot promise that: a reader process holds a transaction for
// as long as it uses what it saw, and begins others meanwhile. So no pointer into LMDB's map leaves these files:
// what a read transaction finds is translated into a map of ours, which stays (storage/kv_lmdb_map.c), no cursor lives
// longer than a call, and `gate` keeps the calls themselves apart from the move. What is left in a read transaction of
// LMDB are page numbers.
#ifndef OMEN_STORAGE_KV_LMDB_INT_H
#define OMEN_STORAGE_KV_LMDB_INT_H
#include <lmdb.h>

#include <stdatomic.h>
#include <sys/types.h>

#include "base/os_lock.h"
#include "base/os_rwlock.h"
#include "storage/kv.h"

#define KV_DATA_FILE "data.mdb"
#define KV_LOCK_FILE "lock.mdb"
#define KV_COPY_FILE "data.mdb.tmp"           // a copy in the making
#define KV_SHRUNK_FILE "shrunk.mdb"           // kv_shrink's new file,
#define KV_SHRUNK_LOCK_FILE "shrunk.mdb-lock" // LMDB's lock file of it,
#define KV_SWAP_FILE "swap.mdb"               // and the mark that they are taking their places

#define KV_SHORT_BYTES_MAX ((uint64_t)64 << 20) // that a file may miss of its pages
#define KV_FILE_BYTES_MAX ((uint64_t)1 << 46)
#define KV_MAP_BYTES_MIN ((uint64_t)1 << 30)
// Of a commit, besides the values: pages of the trees, and lists of free pages.
#define KV_COMMIT_BYTES ((uint64_t)256 << 10)
#define KV_ROOM_BYTES ((uint64_t)64 << 20) // of the map, free before a write transaction begins
#define KV_READERS_MAX 1024u

// A map of ours. Older, smaller ones stay for those who hold addresses in them.
struct kv_map {
    const uint8_t *base;
    size_t bytes;
    struct kv_map *older;
};

// What is exchanged when the store is shrunk.
struct kv_file {
    int data_fd; // carries the writer's lock
    dev_t device;
    ino_t inode;
    MDB_env *env;
    MDB_dbi tables[KV_TABLES_MAX];
    uint32_t page_bytes;
    uint64_t map_bytes;         // of LMDB's map
    _Atomic uintptr_t map_base; // where page 0 lies in it; 0: not known yet, or it moved
    struct kv_map *_Atomic map;
    _Atomic uint64_t bytes; // the file has at least as many
};

struct kv {
    struct kv_file file;
    // Shared: a call into LMDB's map; exclusive: moving it, or exchanging the file.
    struct rwlock gate;
    struct lock writer;   // of this process
    struct lock map_lock; // of who makes a larger map
    char *path;           // absolute
    int directory_fd;
    enum kv_mode mode;
    pid_t pid; // a child after fork has the addresses but must not use them
    const char *tables[KV_TABLES_MAX];
    uint32_t table_count;
    _Atomic uint32_t open_transactions;
    _Atomic bool failed;      // it is not known what a commit made durable
    _Atomic bool unmapped;    // LMDB has no map any more
    uint64_t begun;           // write transactions, to look for dead readers now and then
    _Atomic uint64_t commits; // of this handle
    struct kv_map *old_maps;  // of the file before it was shrunk
    const char *unpublished;  // the file that goes with the handle, or NULL
    bool made_directory;      // which goes with it
    struct kv *next;          // in the list of this process's open stores
};

struct kv_txn {
    struct kv *kv;
    MDB_txn *txn;
    bool writes;
    uint64_t room_bytes; // that it may still put
    uint64_t put_bytes;  // in whole pages
    bool full;           // the disk had no space for them when it was asked
};

// ---- kv_lmdb.c ----
// Says in *error what LMDB's or the system's code means, and for what.
omen_status kv_failed(struct omen_error *error, int code, const char *what);
int kv_full_or(int fd, uint64_t bytes, int code); // ENOSPC where EIO means that
omen_status kv_usable(const struct kv *kv, struct omen_error *error);

// ---- kv_lmdb_map.c ----
OMEN_MUST_CHECK omen_status kv_map_open(struct kv_file *file, struct omen_error *error);
void kv_map_close(struct kv_file *file);
// The address of a value of LMDB's map in ours, its page checked against what it says of itself; unless it is to stay unread
// and has pages of its own.
OMEN_MUST_CHECK omen_status kv_map_find(struct kv *kv, const MDB_val *found, struct kv_value *value,
                                        bool unread, struct omen_error *error);
// Moves LMDB's map to where there is room for `bytes`; 0: to what another process made of it. Under the writer's
// lock, or in a reader process.
OMEN_MUST_CHECK omen_status kv_map_resize(struct kv *kv, uint64_t bytes, struct omen_error *error);
uint64_t kv_file_bytes(int fd); // 0 when it cannot be told

// ---- kv_lmdb_open.c ----
// Opens LMDB's environment on a new file, whatever had its name, and makes the tables in it; with `flags` of LMDB's.
struct kv_place {
    int directory_fd;
    const char *directory, *name;
};
OMEN_MUST_CHECK omen_status kv_file_make(const struct kv *kv, struct kv_file *file,
                                         const struct kv_place *place, unsigned flags,
                                         uint64_t map_bytes, struct omen_error *error);
void kv_file_close(struct kv_file *file);
void kv_claim_moved(struct kv *kv, int data_fd);

// ---- kv_lmdb_directory.c ----
// Opens the directory, makes it where the mode says so (*made), and looks at what is in it.
OMEN_MUST_CHECK omen_status kv_directory_open(const struct kv_config *config, int *fd, bool *made,
                                              struct omen_error *error);
// Opens data.mdb in it and makes sure that it can be LMDB's. *fd is -1 where the status is not OMEN_OK.
OMEN_MUST_CHECK omen_status kv_directory_data(int directory_fd, const struct kv_config *config,
                                              int *fd, struct omen_error *error);
// Whether a file holds nothing but zeros and at most one of LMDB's two heads, which no commit has replaced: what is left when
// the power failed or the disk was full while it was made, before the sync that comes before anything else is written.
bool kv_directory_unfinished(int fd);
// Whether LMDB's lock file there says that something was committed. False where it cannot be told.
bool kv_directory_lock_used(int directory_fd);
// Whether a store can be made here: nothing else may be in it.
OMEN_MUST_CHECK omen_status kv_directory_empty(int directory_fd, const char *path,
                                               struct omen_error *error);
OMEN_MUST_CHECK omen_status kv_directory_lock_file(int directory_fd, const char *name,
                                                   struct omen_error *error);
int kv_directory_hold(int fd, int how); // flock; 0 or an errno
OMEN_MUST_CHECK omen_status kv_directory_sync(int fd, struct omen_error *error);

// ---- kv_lmdb_check.c ----
// Whether the trees of a snapshot that a transaction holds can be walked.
OMEN_MUST_CHECK omen_status kv_check_trees(const struct kv_file *file, uint64_t snapshot,
                                           struct omen_error *error);

// ---- kv_lmdb_copy.c ----
// What a kv_shrink that was killed left behind. Under an exclusive hold of the directory.
void kv_swap_repair(int directory_fd);

#endif
