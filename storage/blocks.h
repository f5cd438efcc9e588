// storage/blocks.h -- the arrays of a shard, in pieces (base/image.h), and the manifest that says which versions hold.
//
// Shape:   handle, durable, over two tables of a kv: blocks and meta.
// Threads: one save at a time; loading from any thread.
//
// A piece is a value: 48 bytes of head {magic, array, version, piece, count, checksum of the bytes, checksum of the
// head}, then its bytes, so that they begin at a multiple of 64 in the map. Key: array << 56 | version << 32 | piece.
// `version` is the generation for arrays that are rewritten in pieces; for whole ones it is the checkpoint's number.
// docs/internals/storage.md.
#ifndef OMEN_STORAGE_BLOCKS_H
#define OMEN_STORAGE_BLOCKS_H
#include "base/image.h"
#include "storage/kv.h"

#define BLOCK_HEAD_BYTES 48u

// What a shard's file holds as of its last checkpoint. A record in meta.
struct manifest {
    uint64_t checkpoint; // 1, 2, ...; 0: none yet
    uint64_t seq;        // everything up to it is in the blocks
    uint32_t generation; // of the numbering of slots
    uint32_t rows;       // slots there are
    uint32_t linked;     // of which this many, from the first on, are linked
    uint32_t reserved;
};

// Tables by their numbers in the kv.
enum { TABLE_META, TABLE_LOG, TABLE_BLOCKS, TABLE_COUNT };
extern const char *const table_names[TABLE_COUNT];

// Zeroes when there is none yet.
OMEN_MUST_CHECK omen_status manifest_read(struct kv_txn *txn, struct manifest *out,
                                          struct omen_error *error);

// ---- saving ----
struct blocks_save; // opaque; its transactions are its own, a few MiB each
// A piece that takes the place of a damaged one is refused, since it may be made of that: OMEN_E_CORRUPT.
OMEN_MUST_CHECK omen_status blocks_save_open(struct kv *kv, const struct manifest *next,
                                             struct blocks_save **out, struct omen_error *error);
// Called before anything that was put is written, with no transaction open: for what must be durable before it.
void blocks_save_behind(struct blocks_save *save,
                        omen_status (*first)(void *context, struct omen_error *error),
                        void *context);
struct image_sink blocks_save_sink(struct blocks_save *save);
// Commits what was put so far, so that the log's turn comes.
OMEN_MUST_CHECK omen_status blocks_save_flush(struct blocks_save *save, struct omen_error *error);
// Writes the manifest in one transaction with what was put since the last flush.
OMEN_MUST_CHECK omen_status blocks_save_finish(struct blocks_save *save,
                                               const struct manifest *manifest,
                                               struct omen_error *error);
// The same, and in that transaction these too, however many: so that they hold with this manifest, and none of them before.
struct blocks_late {
    uint32_t array, piece;
    size_t count;      // 0: dropped
    const void *bytes; // borrowed
};
struct blocks_late_list {
    const struct blocks_late *pieces;
    uint32_t count;
};
OMEN_MUST_CHECK omen_status blocks_save_finish_late(struct blocks_save *save,
                                                    const struct manifest *manifest,
                                                    const struct blocks_late_list *late,
                                                    struct omen_error *error);
void blocks_save_close(
    struct blocks_save *save); // accepts NULL; without _finish the manifest is as before
const struct omen_error *
blocks_save_error(const struct blocks_save *save); // of the last sink call that failed
// Erases versions that no manifest names, a few at a time; true when nothing is left to erase.
OMEN_MUST_CHECK omen_status blocks_clean(struct kv *kv, const struct manifest *manifest, bool *done,
                                         struct omen_error *error);

// ---- loading ----
struct blocks_load; // opaque; finds pieces in one read transaction, which is borrowed
OMEN_MUST_CHECK omen_status blocks_load_open(struct kv_txn *txn, const struct manifest *manifest,
                                             struct blocks_load **out, struct omen_error *error);
struct image_source blocks_load_source(
    struct blocks_load *load); // checks bytes where `sound` is asked. Addresses are pinned
void blocks_load_close(struct blocks_load *load); // accepts NULL
// Whether every lookup went well (a missing piece is fine, a bad head is not).
OMEN_MUST_CHECK omen_status blocks_load_status(const struct blocks_load *load,
                                               struct omen_error *error);
// The heads of large pieces that are used where they lie are not looked at by lookups: there are thousands. How many are left,
// and a check of them all, in any thread, while there are no lookups; the transaction may be over, the pieces must still be pinned.
// Until it is OMEN_OK nothing may become durable that rests on what was loaded.
uint32_t blocks_load_heads(const struct blocks_load *load);
OMEN_MUST_CHECK omen_status blocks_load_check_heads(struct blocks_load *load,
                                                    struct omen_error *error);

// ---- records in meta ----
enum meta_key {
    META_FORMAT = 1,
    META_OPTIONS = 2,
    META_MANIFEST = 3,
    META_TERMS = 4,
    META_DEDUPE = 5,
    META_GRAPHS = 6 // what graphs that were built elsewhere have been worth (shard/graft.h)
};
// A record is at most 64 KiB; it carries a checksum.
OMEN_MUST_CHECK omen_status meta_put(struct kv_txn *txn, enum meta_key key, const void *bytes,
                                     size_t count, struct omen_error *error);
OMEN_MUST_CHECK omen_status meta_get(struct kv_txn *txn, enum meta_key key, struct kv_value *value,
                                     struct omen_error *error);

// ---- verifying ----
struct blocks_report {
    uint64_t pieces, bytes;
};
// Reads everything and checks every checksum of all three tables; OMEN_E_CORRUPT names the first that fails.
OMEN_MUST_CHECK omen_status blocks_verify(struct kv_txn *txn, struct blocks_report *report,
                                          struct omen_error *error);
// The same, for who makes new pieces of what the old ones hold: else damage would get a good checksum. Field indexes are
// left out: whoever reads them asks `sound`.
OMEN_MUST_CHECK omen_status blocks_verify_sources(struct kv_txn *txn, struct omen_error *error);

#endif
