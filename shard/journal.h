// shard/journal.h -- the durable side of a shard: its file, what was written to be, and the log.
//
// Shape:   handle, durable; knows entries and records, not rows or searches.
// Threads: whoever writes has the shard's write lock; journal_sync, journal_tail and journal_checkpointed are for any thread (a
//          small lock inside).
// Errors:  what storage/kv.h says. After OMEN_E_IO every write is refused, reads go on.
//
// An entry is acknowledged when its commit is durable (DURABLE_COMMIT), or at once, to be committed within the interval
// (DURABLE_INTERVAL); then journal_sync says when it is.
#ifndef OMEN_SHARD_JOURNAL_H
#define OMEN_SHARD_JOURNAL_H
#include <stdatomic.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/os_lock.h"
#include "include/omendb.h"
#include "shard/op.h"
#include "storage/blocks.h"
#include "storage/log.h"

#define JOURNAL_FORMAT 1u // of the file, as written; it reads 1 to this

// What an index is, as it is kept in its file. Fixed layout, little-endian; grows at its end.
struct journal_options {
    uint32_t bytes; // of this struct, as written
    uint32_t dimension, metric, dtype, algorithm, quantization;
    uint32_t m, ef_construction, slots_max, reserved;
    uint64_t seed, id_max;
};

struct journal_format {
    char magic[8];
    uint32_t format;     // that wrote it
    uint32_t format_min; // that can read it
    uint8_t uuid[16];    // of this copy of the shard; born with it
    uint64_t created_s;  // since 1970
    char library[32];    // version of the library that made it
};

struct journal {
    struct kv *kv;
    struct log log;
    struct journal_format format;
    struct manifest manifest; // of the last checkpoint
    bool read_only;
    struct lock lock; // of the log and the draft
    struct log_draft *draft;
    // Entries accepted but not committed (DURABLE_INTERVAL), oldest first.
    struct journal_pending *pending, *pending_last;
    size_t pending_bytes;
    _Atomic uint64_t accepted_seq; // the last entry given a number
    _Atomic int broken;            // status that ended writing, or 0
    _Atomic bool untrimmed; // the last checkpoint could not erase the log that it made needless
    bool interval, stalled; // stalled: what is pending could not be committed; writers try first
};

// Opens options->path, or makes it (for writing) with `wanted`. On success *kept is what the file says the index is. On
// failure nothing is held.
OMEN_MUST_CHECK omen_status journal_open(struct journal *journal, const omen_options *options,
                                         const struct journal_options *wanted,
                                         struct journal_options *kept, struct omen_error *error);
// Makes one where nothing is, else OMEN_E_EXISTS. Nothing is there for others before journal_publish, after which only
// journal_close may follow.
OMEN_MUST_CHECK omen_status journal_make(struct journal *journal, const char *path,
                                         const struct journal_options *wanted,
                                         struct omen_error *error);
OMEN_MUST_CHECK omen_status journal_publish(struct journal *journal, struct omen_error *error);
void journal_close(struct journal *journal); // commits what is pending, as far as it can

// Whether an operation is small enough for the log.
OMEN_MUST_CHECK omen_status journal_check_bytes(const struct op_parts *parts,
                                                struct omen_error *error);
// One operation as the next entry; its number in *seq. On failure nothing was written, unless OMEN_E_IO says so.
OMEN_MUST_CHECK omen_status journal_write(struct journal *journal, enum op_type type,
                                          const struct op_parts *parts, uint64_t *seq,
                                          struct omen_error *error);
// Several, in one commit, all or none; the first one's number in *first. Not with DURABLE_INTERVAL.
OMEN_MUST_CHECK omen_status journal_write_group(struct journal *journal, enum op_type type,
                                                const struct op_parts *const *list, uint32_t count,
                                                uint64_t *first, struct omen_error *error);
// Commits what is pending. From any thread.
OMEN_MUST_CHECK omen_status journal_sync(struct journal *journal, struct omen_error *error);
// Bytes of log behind the last checkpoint, whose manifest is copied.
uint64_t journal_tail(struct journal *journal, struct manifest *manifest);
// After a checkpoint: its manifest, and the log up to its seq is erased.
OMEN_MUST_CHECK omen_status journal_checkpointed(struct journal *journal,
                                                 const struct manifest *manifest,
                                                 struct omen_error *error);

#endif
