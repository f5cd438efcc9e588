// shard/write.h -- one add or upsert on its way: checked, with room made, logged, applied.
//
// Shape:   handle in the caller's memory; private to shard/.
// Threads: under the shard's write lock.
//
// Several are prepared before the first of them is applied, so that one commit makes all of them durable. What the earlier
// ones will have done is in `struct pending`; two that touch the same id do not go together.
#ifndef OMEN_SHARD_WRITE_H
#define OMEN_SHARD_WRITE_H
#include "shard/batch.h"
#include "shard/op.h"
#include "shard/vector_input.h"

// The rows of a batch as they will be stored.
struct staged {
    struct vector_rows rows;
    float *work;  // not NULL: `rows` are converted on the way, with this and what lies behind it
    void *memory; // not NULL: `rows` are a converted copy
};

struct write {
    const omen_batch *given; // borrowed
    enum batch_mode mode;
    struct omen_error *error;
    omen_status status;
    struct batch batch;
    struct payload_sums sums;
    uint64_t wanted_bytes; // of memory; with max_memory
    struct field_rows rows;
    struct staged staged;
    struct op_parts parts; // with a log
    uint64_t seq;
    bool claims; // of fields are held
    // shard_write.c: its place in the queue
    struct write *next;
    _Atomic uint32_t turn;
};

// What can be said of a batch without knowing the index's rows. Needs no lock.
OMEN_MUST_CHECK omen_status write_check(const struct shard *shard, const omen_batch *given,
                                        struct omen_error *error);

void pending_init(struct pending *pending, struct shard *shard);
void pending_fini(struct pending *pending);

// Everything that can fail. OMEN_OK: only write_apply or write_cancel may follow, then write_fini. OMEN_E_BUSY: it touches what
// an earlier one of the group touches. On failure there is nothing to _fini.
OMEN_MUST_CHECK omen_status write_prepare(struct shard *shard, struct pending *pending,
                                          struct write *write);
void write_apply(struct shard *shard, struct write *write);
void write_cancel(struct shard *shard, struct write *write);
void write_fini(struct write *write);

#endif
