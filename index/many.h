// index/many.h -- rows compared with several queries at once: each is fetched once for all of them.
//
// Shape:   value with memory of its own, which is kept between uses (many_fini).
// Threads: one at a time.
//
// What a scan, or a search beside a tail, waits for is the memory that rows come from. A tile of rows that stays in the second cache
// serves all queries before the next one comes. Comparisons are those of hnsw_scan, one by one, so the hits are the same.
//
//      many_begin --> many_add for each query --> many_compare --> many_given(i): hnsw_query.given of hnsw_search or hnsw_scan
//
// Between many_begin and the last search the caller stays in the gate that keeps rows findable (shard/shard_int.h). Rows that are
// published meanwhile each search compares itself.
#ifndef OMEN_INDEX_MANY_H
#define OMEN_INDEX_MANY_H
#include "index/hnsw.h"

#define MANY_MAX 32u     // queries
#define MANY_K_MAX 1024u // of each

struct many_query; // prepared

struct many {
    struct many_query *queries; // [MANY_MAX]
    uint8_t *vectors;           // [count_max], prepared
    struct hit *hits;           // [count_max][k], heaps
    size_t vectors_room, hits_room;
    size_t vector_bytes;
    uint32_t count_max, count, k;
    struct hnsw_given given; // alike for all; each has hits of its own
};

// For up to count_max queries of this k, all by hnsw_scan (exact) or all by hnsw_search without a filter. False: it is not worth it, or
// memory is short; then each search does it for itself.
bool many_begin(struct many *many, const struct hnsw *hnsw, uint32_t count_max, uint32_t k,
                bool exact);
// query: a finite vector, copied; scratch fits `hnsw` (scratch_fit).
void many_add(struct many *many, const struct hnsw *hnsw, const struct hnsw_query *query,
              struct scratch *scratch);
// `of` says whose rows: `allowed`, `excluded`, and the deadline, after which it stops where it is.
void many_compare(struct many *many, const struct hnsw *hnsw, const struct hnsw_query *of);
struct hnsw_given many_given(const struct many *many, uint32_t i);
void many_fini(struct many *many); // accepts zeros
size_t many_bytes(const struct many *many);

#endif
