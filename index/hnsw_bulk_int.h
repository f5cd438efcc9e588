// index/hnsw_bulk_int.h -- what the parts of bulk builds of an index share; nobody else includes it.
//
// Shape: handle. hnsw_bulk.c makes the links; hnsw_bulk_rows.c says what rows are compared by; hnsw_bulk_install.c puts the
// links in place.
#ifndef OMEN_INDEX_HNSW_BULK_INT_H
#define OMEN_INDEX_HNSW_BULK_INT_H
#include "index/hnsw_bulk.h"
#include "index/hnsw_int.h"

#define BULK_BLOCK_ROWS 256u // that a thread takes at a time

struct hnsw_bulk {
    struct hnsw *hnsw;
    struct hnsw_bulk_options options;
    uint32_t rows;   // slots below it are looked at
    uint32_t count;  // that live: the rows that are built
    uint32_t *slots; // of each; NULL: row i is slot i
    float *sketches; // of each, TILE_SKETCH; NULL: a code's own components are as good
    uint32_t width;  // components that are compared
    struct scratch *
        bare; // not NULL: of rows nothing is read but themselves, and codes are made here (hnsw_ship.c)
    size_t codes_before; // bytes
    struct build_graph graph;
    struct scratch **scratches; // one a thread
    uint32_t yielded; // hnsw_bulk_yield: rows before it were linked; 0: none was taken back
    bool gaps;        // rows are missing that others led to
    _Atomic int status;
    uint64_t asked_ns; // the caller's thread's: when it last asked whether to go on
};

static inline uint32_t
bulk_slot(const struct hnsw_bulk *bulk, uint32_t row)
{
    return bulk->slots != NULL ? bulk->slots[row] : row;
}

// ---- hnsw_bulk_rows.c ----
// As rows with such codes are compared.
struct build_rows bulk_rows(struct hnsw_bulk *bulk, enum code_kind kind);
// TILE_SKETCH sums of a row, of which near rows have near ones; `vector` is memory of dim floats.
void bulk_sketch(const struct hnsw *hnsw, uint32_t slot, float *vector, float *sketch);

#endif
