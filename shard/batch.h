// shard/batch.h -- one batch on its way in: which key and which old row belongs to each of its rows.
//
// Shape:   handle in the caller's memory (_init/_fini).
// Threads: under the shard's write lock.
// Memory:  one block for all arrays; 12 bytes a row, and 8 more where ids may repeat.
#ifndef OMEN_SHARD_BATCH_H
#define OMEN_SHARD_BATCH_H
#include "shard/shard_int.h"

#define BATCH_NEW_TEXT UINT64_MAX // a row whose text has no key yet

// REPLAY: an upsert that comes from the log, in which it is already.
enum batch_mode { BATCH_ADD, BATCH_UPSERT, BATCH_SET_PAYLOADS, BATCH_REPLAY };

// What writes that are checked but not applied yet will have done, when the next one is. All zero but for next_id and kind:
// there are none.
struct pending {
    uint32_t rows, payloads, texts;
    uint64_t payload_bytes;
    size_t text_bytes;
    uint64_t next_id;
    enum id_kind kind;
    // Ids that they touch, as a set of hashes (shard/write.c); only with `grouped`.
    bool grouped;
    uint64_t *touched;
    size_t room, touches;
    // With max_memory: what was used before the first of them, and what they will need.
    uint64_t used_bytes, wanted_bytes;
};

struct batch {
    const omen_batch *given; // borrowed
    enum batch_mode mode;
    enum id_kind kind;
    uint64_t *keys;    // of each row, or BATCH_NEW_TEXT
    uint32_t *old;     // slot of the row to be replaced, or IDMAP_NONE
    uint32_t replaced; // rows that have one
    uint32_t new_texts;
    size_t new_bytes; // of those texts
    uint64_t next_id; // for the row after this batch
    void *memory;
};

// Resolves and checks ids: their kind, range and length, that none comes twice, that they exist (SET_PAYLOADS) or do
// not (ADD), that they have the versions they should. Nothing is changed. On failure there is nothing to _fini.
OMEN_MUST_CHECK omen_status batch_init(struct shard *shard, const struct pending *pending,
                                       const omen_batch *given, enum batch_mode mode,
                                       struct batch *batch, struct omen_error *error);
void batch_fini(struct batch *batch);

// Gives the rows with new texts their keys; names_reserve must have made the room.
void batch_name_texts(struct batch *batch, struct names *names);

struct payload_sums {
    uint32_t count; // rows that have a payload
    uint64_t bytes;
};
// Every payload must be a msgpack map within the limits whose indexed fields have their types.
OMEN_MUST_CHECK omen_status batch_check_payloads(struct shard *shard, const omen_batch *given,
                                                 struct payload_sums *sums,
                                                 struct omen_error *error);

#endif
