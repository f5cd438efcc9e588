// index/mirror.h -- what a copy of an index elsewhere is made of, and what searches of the copy need besides.
//
// Shape:   value: it reads an index.
// Threads: any, beside writers and linkers. A copy is of the rows that were linked when its shape was asked for. Links that
//          change meanwhile are copied as they are at some moment; those to rows that are not in the copy are for whoever reads
//          it to pass over.
#ifndef OMEN_INDEX_MIRROR_H
#define OMEN_INDEX_MIRROR_H
#include <stdbool.h>
#include <stdint.h>

#include "index/hnsw.h"
#include "index/kernel/kernel.h"

#define MIRROR_ENTRIES_MAX 4096u

enum mirror_of {
    MIRROR_GRAPH, // rows, codes and links of what is linked: for walks
    MIRROR_ROWS,  // of all there is the rows: for comparing every one
};

struct mirror_shape {
    uint32_t rows; // slots below it
    uint32_t dim;
    enum vector_type type;
    enum metric metric;
    uint32_t links_max, link_bytes; // of a link; index/graph.h has the rows
    uint32_t row_bytes;             // of a plane of the codes
    bool ip;
    float radius2;
};

// False where there is nothing to copy: no row, or for walks none that is coded and linked.
bool hnsw_mirror_shape(const struct hnsw *hnsw, enum mirror_of of, struct mirror_shape *shape);

// Of `count` slots from `first` on, all below shape.rows, one behind the other.
void hnsw_mirror_codes(const struct hnsw *hnsw, uint32_t first, uint32_t count, uint8_t *high,
                       uint8_t *low, struct byte_meta *metas);
void hnsw_mirror_links(const struct hnsw *hnsw, uint32_t first, uint32_t count, uint8_t *blocks);
void hnsw_mirror_rows(const struct hnsw *hnsw, uint32_t first, uint32_t count, void *rows);
// Entries below `rows`, at most MIRROR_ENTRIES_MAX; returns how many. One at least where a row below it lives.
uint32_t hnsw_mirror_entries(const struct hnsw *hnsw, uint32_t rows, uint32_t *slots);

// A query as a copy is asked: its components signed and in their natural order, up to `stride`, which are zero behind; the
// numbers of struct byte_query; how much farther than the k-th by its code a row may be and still be among the k.
struct mirror_query {
    float offset, scale, norm_scale, margin;
};
// `vector` has dim components as the user gave them; `prepared` gets them as exact distances want them. The scratch fits
// (scratch_fit).
void hnsw_mirror_query(const struct hnsw *hnsw, const float *vector, struct scratch *scratch,
                       float *prepared, int8_t *codes, uint32_t stride, struct mirror_query *query);

// The same without a code: what comparing rows wants.
void hnsw_mirror_prepare(const struct hnsw *hnsw, const float *vector, float *prepared);

// Makes `count` hits, found among slots below `rows`, the answer of the whole index: without those erased since, and with the
// nearest of the rows from there on. `hits` has room for query->k, which count is not above; returns how many.
uint32_t hnsw_mirror_finish(const struct hnsw *hnsw, const struct hnsw_query *query, uint32_t rows,
                            struct scratch *scratch, struct hit *hits, uint32_t count);

#endif
