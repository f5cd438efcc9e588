// shard/readers.h -- what a search works with, kept between searches: scratch, hits, buffers.
//
// Shape:   handle in the shard's memory (_init/_fini).
// Threads: any number take and give back at once, without locks. A reader belongs to whoever took it.
//
// Thread-local storage would be simpler to take from, but threads end and indexes close in any order. So readers lie
// in places of the shard, found by the number of the thread, and no thread has anything to clean up.
#ifndef OMEN_SHARD_READERS_H
#define OMEN_SHARD_READERS_H
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "index/hnsw.h"
#include "index/many.h"
#include "shard/filter_plan.h"

#define READER_PLACES 64u

struct reader {
    struct scratch *scratch;
    struct hit *hits;
    uint32_t hits_room;
    uint32_t *places;     // for finding one id twice among hits
    uint32_t places_room; // a power of two, or 0
    float *vector;        // a query converted to f32
    uint32_t vector_room;
    uint32_t queries; // made with a target_recall; every so many is kept for calibration
    struct filter_buffer selection;
    struct many many; // of several queries of a batch
};

// Padded so that two threads' places are two cache lines apart.
struct reader_place {
    _Atomic(struct reader *) reader;
    _Atomic uint64_t searches; // of threads that look here first
    _Atomic uint64_t evaluations;
    _Atomic uint64_t rerank_misses;
    uint64_t padding[12];
};

struct readers {
    struct reader_place places[READER_PLACES];
};

void readers_init(struct readers *readers);
void readers_fini(struct readers *readers); // every reader must be back

// `hint` is a small number of the thread.
OMEN_MUST_CHECK omen_status readers_take(struct readers *readers, uint32_t hint,
                                         struct reader **out);
void readers_give(struct readers *readers, uint32_t hint, struct reader *reader);
// One more search, whose work led from `before` to `after`.
void readers_count(struct readers *readers, uint32_t hint, const struct hnsw_work *before,
                   const struct hnsw_work *after);

// Room for k hits of a search in `hnsw`, and for a converted query.
OMEN_MUST_CHECK omen_status reader_fit(struct reader *reader, const struct hnsw *hnsw, uint32_t k,
                                       uint32_t beam);
OMEN_MUST_CHECK omen_status reader_fit_vector(struct reader *reader, uint32_t dim);
// Room for telling `count` ids apart.
OMEN_MUST_CHECK omen_status reader_fit_places(struct reader *reader, uint32_t count);

struct readers_totals {
    uint64_t bytes, searches, evaluations, rerank_misses;
};
// Bytes of the readers that nobody holds at the moment.
void readers_totals(struct readers *readers, struct readers_totals *totals);

#endif
