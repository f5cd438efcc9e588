// shard/shard_log.h -- what writing calls and the log have to do with each other.
//
// Shape:   handle; private to shard/.
// Threads: whoever has the shard's write lock, where not said otherwise.
#ifndef OMEN_SHARD_SHARD_LOG_H
#define OMEN_SHARD_SHARD_LOG_H
#include "shard/batch.h"
#include "shard/journal.h"
#include "shard/op.h"

// Makes an operation durable before it is applied; nothing to do for a shard in memory. On failure it must not be applied.
OMEN_MUST_CHECK omen_status shard_log_rows(struct shard *shard, enum op_type type,
                                           const struct op_rows *rows, struct omen_error *error);
// OP_FIELD, OP_FIELD_DROP.
OMEN_MUST_CHECK omen_status shard_log_field(struct shard *shard, enum op_type type,
                                            const struct op_field *field, struct omen_error *error);
// A delete of keys that are there.
OMEN_MUST_CHECK omen_status shard_log_delete(struct shard *shard, const uint64_t *keys,
                                             size_t count, struct omen_error *error);
// After an operation of a caller was applied: wakes whoever has work now. `erased` rows of it are dead.
void shard_written(struct shard *shard, size_t erased);
// And then, holding nothing: links where rows that are not linked are too many, and waits for a checkpoint that is late.
void shard_writer_rests(struct shard *shard);

// Applies one entry of the log.
OMEN_MUST_CHECK omen_status shard_replay(struct shard *shard, const struct log_entry *entry,
                                         struct omen_error *error);

// ---- shard_write.c, shard_payloads.c, shard_erase.c: what the log says ----
// `behind`: about how many rows more will come.
OMEN_MUST_CHECK omen_status shard_replay_rows(struct shard *shard, const omen_batch *given,
                                              uint32_t behind, struct omen_error *error);
OMEN_MUST_CHECK omen_status shard_replay_payloads(struct shard *shard, const omen_batch *given,
                                                  struct omen_error *error);
OMEN_MUST_CHECK omen_status shard_replay_field(struct shard *shard, const struct op_field *field,
                                               struct omen_error *error);
OMEN_MUST_CHECK omen_status shard_replay_field_drop(struct shard *shard,
                                                    const struct op_field *field,
                                                    struct omen_error *error);
void shard_replay_delete(struct shard *shard, const struct op_rows *rows);

// Before the log behind a checkpoint is applied to it: fields forget the rows that the entry changes. Nobody is beside it.
OMEN_MUST_CHECK omen_status shard_forget(struct shard *shard, const struct log_entry *entry,
                                         struct omen_error *error);

#endif
