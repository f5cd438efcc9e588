// shard/checkpoint.h -- brings what a shard is to its file, so that opening maps it and the log can be cut.
//
// Shape:   handle; private to shard/. docs/internals/storage.md says why a walk beside writers is safe.
// Threads: one at a time (`upkeep`); searches, writers and linkers go on.
#ifndef OMEN_SHARD_CHECKPOINT_H
#define OMEN_SHARD_CHECKPOINT_H
#include <stddef.h>

#include "shard/journal.h"
#include "shard/shard_int.h"

// Counts that belong to no part. Fixed layout, little-endian; grows at its end.
struct shard_head {
    uint32_t bytes; // of this struct, as written
    uint32_t kind;  // enum id_kind
    uint64_t next_id;
    uint64_t names;
    uint32_t rows, live;
    struct hosted_mark mark; // not in the first files
};
#define SHARD_HEAD_BYTES_MIN offsetof(struct shard_head, mark)

// Whether enough was written since the last one. From any thread.
bool checkpoint_due(struct shard *shard);
// For who has written and holds nothing: where the log is far longer than that, until the checkpoint is made that somebody is at.
void checkpoint_wait(struct shard *shard);
// Whether anything changed since. With nobody beside it.
bool checkpoint_worthwhile(struct shard *shard);
// While others write: takes `upkeep`, and puts all links only now and then (hnsw_save_begin_grown). On failure the file holds
// the last one, and the log everything since.
OMEN_MUST_CHECK omen_status checkpoint_grown(struct shard *shard, struct omen_error *error);
// The same with all links.
OMEN_MUST_CHECK omen_status checkpoint(struct shard *shard, struct omen_error *error);
// After one: rows that are in the file are read from there, and their memory is given back. Not beside a bulk build, which
// reads them. Takes `builds` and `upkeep`.
void checkpoint_settle(struct shard *shard);
// Returns when nobody has an address in hand any more that he found before the call (settle.c says who may). For who holds
// `upkeep`; takes `writers`.
void checkpoint_wait_for_holders(struct shard *shard);
// The same as checkpoint for who holds `upkeep`, and into a journal that may be another one.
OMEN_MUST_CHECK omen_status checkpoint_into(struct shard *shard, struct journal *journal,
                                            struct omen_error *error);

// The state of a file's last checkpoint, read in `txn`, whose values must stay for as long as the generation. Linking is the
// caller's to start. On failure *out is NULL.
struct loaded {
    struct generation *generation;
    struct shard_head head;
    // The caller's, for shard/heads.h; NULL of a generation without rows.
    struct blocks_load *blocks;
};
OMEN_MUST_CHECK omen_status checkpoint_load(struct shard *shard, struct kv_txn *txn,
                                            const struct manifest *manifest, struct loaded *out,
                                            struct omen_error *error);
struct hnsw_config shard_index_config(const omen_options *options); // shard_open.c
struct journal_options shard_options_to_keep(const omen_options *options);
// A generation without rows.
OMEN_MUST_CHECK omen_status checkpoint_none(struct shard *shard, struct loaded *out);

#endif
