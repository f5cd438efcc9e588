// storage/kv.h -- SEAM: an ordered store of values under u64 keys, in transactions that are durable when committed.
//
// Shape:   handle, durable. kv_lmdb.c is the real half; tests and the simulator link tests/lib/kv_sim.c.
// Threads: kv_begin_write waits for another writer of this process; read transactions run beside it. A read transaction
//          may pass between threads but is used by one at a time; a write transaction ends in the thread that began it.
//          A child after fork must open for itself (OMEN_E_INVALID).
// Errors:  OMEN_E_DISK_FULL: nothing was committed, and the store works on once there is space. OMEN_E_IO: it is not
//          known what became durable; every later write is refused with OMEN_E_IO, reads go on. OMEN_E_CORRUPT: the store's own
//          structure is damaged. *error (may be NULL) says what.
// Memory:  values are not copied: they are read where they lie.
//
// Several tables with fixed numbers live in one store. Never more than one handle a store in a process; kv_open sees to
// that. One process writes (a lock that dies with it), any number read.
#ifndef OMEN_STORAGE_KV_H
#define OMEN_STORAGE_KV_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct kv;     // opaque
struct kv_txn; // opaque

#define KV_TABLES_MAX 8u
#define KV_VALUE_BYTES_MAX ((size_t)64 << 20)
#define KV_WRITE_BYTES ((uint64_t)32 << 20) // of values that a write transaction may put

enum kv_mode {
    KV_WRITE,    // opens or makes; OMEN_E_LOCKED when another process, or this one, writes to it
    KV_EXISTING, // as KV_WRITE, but OMEN_E_NOT_FOUND when there is none
    KV_READ,     // OMEN_E_NOT_FOUND when there is none
    KV_NEW,      // makes one where nothing is, else OMEN_E_EXISTS; see kv_publish
};

struct kv_config {
    const char *path; // a directory; made when it is missing and the mode is KV_WRITE or KV_NEW
    enum kv_mode mode;
    const char *const *
        tables; // names, 1..KV_TABLES_MAX; borrowed until kv_close; a table's number is its place here
    uint32_t table_count;
    uint64_t map_bytes; // address space to begin with; 0: 1 GiB. It grows by itself
};

// OMEN_E_INVALID for something that is not a store (named in *error), OMEN_E_READ_ONLY for a file system that is, or a
// directory that may not be written to (KV_READ works there, but is not seen by a writer, which may take away what it
// reads), OMEN_E_UNSUPPORTED for a network file system, whose maps and locks do not hold what they promise (FUSE is
// let through), and for a file that was made on a machine with larger pages of memory, OMEN_E_LOCKED also where this process
// has it open already, in any mode.
OMEN_MUST_CHECK omen_status kv_open(const struct kv_config *config, struct kv **out,
                                    struct omen_error *error);
void kv_close(struct kv *kv); // accepts NULL; no transaction may be open. Pinned values are gone

// What was opened with KV_NEW is durable now, and there for others; before, a kv_close or a kill leaves nothing that counts, and
// whoever opens the path waits. By one thread; only kv_close may follow.
OMEN_MUST_CHECK omen_status kv_publish(struct kv *kv, struct omen_error *error);

OMEN_MUST_CHECK omen_status kv_begin_read(struct kv *kv, struct kv_txn **out,
                                          struct omen_error *error);
OMEN_MUST_CHECK omen_status kv_begin_write(struct kv *kv, struct kv_txn **out,
                                           struct omen_error *error);
// For more than KV_WRITE_BYTES: all values that will be put have at most `bytes` together. A put beyond that answers
// OMEN_E_INTERNAL, because there may be no room for it in the map, which cannot grow under a transaction.
OMEN_MUST_CHECK omen_status kv_begin_write_large(struct kv *kv, uint64_t bytes, struct kv_txn **out,
                                                 struct omen_error *error);
// Ends a write transaction either way. OMEN_OK: durable.
OMEN_MUST_CHECK omen_status kv_commit(struct kv_txn *txn, struct omen_error *error);
// Ends a transaction and forgets what it wrote; accepts NULL.
void kv_abort(struct kv_txn *txn);

struct kv_value {
    // Valid until the transaction ends, or for a write transaction until its next put or delete.
    const void *bytes;
    size_t count;
    bool alone; // on its pages, as kv_pin wants it; where that can be asked
};

// OMEN_E_NOT_FOUND without touching *error.
OMEN_MUST_CHECK omen_status kv_get(struct kv_txn *txn, uint32_t table, uint64_t key,
                                   struct kv_value *value, struct omen_error *error);
// The same for a value that will be pinned, without a look at its pages: where it lies is taken from the tree that leads to it.
// Each of them that is touched first costs a page fault, 3.5 us. Until kv_read_head has found the value to be there, what
// lies at value->bytes may be anything, but it can be read.
OMEN_MUST_CHECK omen_status kv_get_unread(struct kv_txn *txn, uint32_t table, uint64_t key,
                                          struct kv_value *value, struct omen_error *error);
// Whether a value that is alone on its pages, as kv_get_unread gave it, is where the tree says: OMEN_E_CORRUPT. And the first
// KV_HEAD_BYTES of it, which must be there, read from the file (0.9 us). From any thread, for as long as a pinned value may be
// read, and before kv_shrink.
#define KV_HEAD_BYTES 48u
OMEN_MUST_CHECK omen_status kv_read_head(struct kv *kv, const struct kv_value *value, void *head,
                                         struct omen_error *error);
// The first key at or after *key, which is set to it; OMEN_E_NOT_FOUND when there is none.
OMEN_MUST_CHECK omen_status kv_next(struct kv_txn *txn, uint32_t table, uint64_t *key,
                                    struct kv_value *value, struct omen_error *error);
// The last key at or before *key.
OMEN_MUST_CHECK omen_status kv_previous(struct kv_txn *txn, uint32_t table, uint64_t *key,
                                        struct kv_value *value, struct omen_error *error);
// Room for a value of `count` (1..KV_VALUE_BYTES_MAX) bytes in place of whatever the key had, to be filled before the
// next call on the transaction.
OMEN_MUST_CHECK omen_status kv_put(struct kv_txn *txn, uint32_t table, uint64_t key, size_t count,
                                   void **room, struct omen_error *error);
// A key that is not there is fine.
OMEN_MUST_CHECK omen_status kv_delete(struct kv_txn *txn, uint32_t table, uint64_t key,
                                      struct omen_error *error);

// Where a value of at least kv_pin_bytes_min, read in a read transaction, can be read from after the transaction's end:
// for as long as the key keeps its value (in this process), or (when another process writes) a transaction that saw
// it is open. Any growth of the store leaves it there. OMEN_E_INVALID for a smaller value, which may move.
// The address is 16 bytes behind a multiple of 64.
OMEN_MUST_CHECK omen_status kv_pin(struct kv_txn *txn, const struct kv_value *value,
                                   const void **pinned, struct omen_error *error);
size_t kv_pin_bytes_min(const struct kv *kv); // 2 KiB where pages have 4 KiB
struct kv *kv_of(const struct kv_txn *txn);

// Changes with every commit of any process; one load. It may run ahead of what a transaction that begins now sees, by as
// long as a sync takes: who waits for changes compares it with the kv_snapshot of what was read.
uint64_t kv_commits(struct kv *kv);
// The number of the last commit that the transaction sees.
uint64_t kv_snapshot(const struct kv_txn *txn);

// A consistent copy of what is committed, without free pages, into a directory that must be empty or not there
// (OMEN_E_EXISTS); beside readers and the writer. Durable when it returns; after a failure what was made is gone.
OMEN_MUST_CHECK omen_status kv_copy(struct kv *kv, const char *path, struct omen_error *error);
// The same in place of the store itself: the file shrinks to what it holds. Only by the writer, with no transaction
// open (OMEN_E_BUSY) and nobody in another call; pinned values can be read until kv_shrunk. Other processes' readers keep the old file until they see
// that kv_moved. Commits are numbered anew. On failure the store is as before.
OMEN_MUST_CHECK omen_status kv_shrink(struct kv *kv, struct omen_error *error);
void kv_shrunk(struct kv *kv); // nobody uses what was pinned before kv_shrink any more
bool
kv_moved(struct kv *kv); // another file, or none, is at the path now: open again; one system call

struct kv_usage {
    uint64_t file_bytes, free_bytes; // of which free_bytes hold nothing
    uint64_t commits, syncs_at_least;
};
OMEN_MUST_CHECK omen_status kv_usage(struct kv *kv, struct kv_usage *usage,
                                     struct omen_error *error);

#endif
