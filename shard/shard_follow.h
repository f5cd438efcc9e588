// shard/shard_follow.h -- a shard that another process writes: complete and fresh at every call.
//
// Shape:   handle; private to shard/.
// Threads: beginning and ending by who opens and closes; the rest by any. The follower's own lock comes before all others.
//
// A read transaction pins the checkpoint that is mapped. The log behind it is applied to memory of our own, each time that a
// commit is noticed; when the manifest changes, the new checkpoint is mapped beside the old one and takes its place.
// Nothing is linked here: what was written since the checkpoint is scanned.
#ifndef OMEN_SHARD_SHARD_FOLLOW_H
#define OMEN_SHARD_SHARD_FOLLOW_H
#include "shard/journal.h"
#include "shard/shard_int.h"

// shard->journal is open for reading. On failure nothing is held.
OMEN_MUST_CHECK omen_status shard_follow_begin(struct shard *shard, struct omen_error *error);
void shard_follow_stop(struct shard *shard); // no more looking by itself; accepts the same
void shard_follow_end(
    struct shard *shard); // accepts a shard that does not follow; after the generations

// Meanwhile shard->journal stays what it is; nothing for a shard that does not follow.
void shard_follow_hold(struct shard *shard);
void shard_follow_let_go(struct shard *shard);

// ---- shard_open.c: under the shard's write lock ----
// Makes what the manifest names the writers' target and applies the log behind it.
OMEN_MUST_CHECK omen_status shard_load(struct shard *shard, struct kv_txn *txn,
                                       const struct manifest *manifest, struct omen_error *error);
// Applies the log behind applied_seq to the target.
OMEN_MUST_CHECK omen_status shard_catch_up(struct shard *shard, struct kv_txn *txn,
                                           struct omen_error *error);

#endif
