// shard/outside.h -- what a shard has whose log is its host's: nothing is appended to its own.
//
// Shape:   handle; private to shard/. shard/hosted.h is what others see.
// Threads: under the shard's write lock where not said otherwise.
//
// Whoever applies such a log decides conditions by what the points are, and a patch makes a payload of the one before. So what a
// checkpoint leaves must be exactly the shard as of its entry, where that of an embedded index may hold effects of later ones:
// what changes in place is copied at the moment, and goes into the file in one transaction with the manifest
// (docs/internals/storage.md).
#ifndef OMEN_SHARD_OUTSIDE_H
#define OMEN_SHARD_OUTSIDE_H
#include "shard/shard_int.h"
#include "shard/sums.h"
#include "storage/blocks.h"

#define OUTSIDE_ENTRY_BYTES 64u // that an entry counts for besides its own

struct outside {
    struct sums *sums;       // of what is applied
    bool sums_known;         // else they are neither right nor saved
    bool abandoned;          // closing makes no checkpoint
    struct hosted_mark mark; // as it will be saved
    _Atomic uint64_t bytes;  // of entries applied since the last checkpoint began
    _Atomic uint64_t durable_seq;
    _Atomic uint32_t saving;            // 1: a checkpoint is made
    _Atomic uint64_t saved_ns, cost_ns; // when the last one ended, and how long it took
};

// `outside` is borrowed until shard_close. An entry of the file's own log is applied as ever.
OMEN_MUST_CHECK omen_status shard_open_outside(const omen_options *options, struct outside *outside,
                                               struct shard **out, struct omen_error *error);

// From any thread.
bool outside_due(struct outside *outside);
// While a checkpoint is made, and the entries behind the last one are far too many. Not where whoever is at upkeep makes none: what is applied costs no more memory by waiting, and the host keeps its log.
void outside_wait(struct outside *outside);

// Of every live row. Nobody may write; reads all vectors.
OMEN_MUST_CHECK omen_status outside_compute_sums(struct shard *shard, struct sums *sums);
// The term of a live row as it is now.
struct hosted_sum outside_row_term(const struct shard *shard, uint32_t slot, uint64_t id_hash);
uint64_t outside_id_hash(const struct shard *shard, uint64_t key);
// The same from inside the gate, with the generation that was found there.
uint64_t outside_id_hash_in(const struct shard *shard, const struct generation *generation,
                            uint64_t key);

// ---- a checkpoint's part (shard/checkpoint.c) ----
struct outside_save {
    struct blocks_late *pieces; // each with memory of its own
    uint32_t count, room;
    uint32_t next;  // of those that need not wait
    uint64_t bytes; // that were counted when it began
    uint64_t begun_ns;
    bool sums_known;
    struct hosted_sum *buckets;
};
// Copies what changes in place, and the sums.
OMEN_MUST_CHECK omen_status outside_save_begin(struct shard *shard, uint32_t rows,
                                               struct outside_save *save);
// Holding nothing: puts what may be there before the manifest, and the sums. What is left is to be put with the manifest.
OMEN_MUST_CHECK omen_status outside_save_put(struct outside_save *save,
                                             const struct image_sink *sink);
struct blocks_late_list outside_save_late(const struct outside_save *save);
void outside_save_end(struct outside *outside, struct outside_save *save, uint64_t seq, bool saved);

#endif
