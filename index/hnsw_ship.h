// index/hnsw_ship.h -- rows of an index as a bulk build compares them, for one that happens elsewhere.
//
// Shape:   value; hnsw_ship_row reads a handle.
// Threads: hnsw_ship_row beside everything, one scratch a thread; the numbering must not end meanwhile. Nothing that is read of
//          rows changes: codes are made of the rows themselves, so it matters to nobody whether one is linked yet.
// Memory:  the caller's.
//
// A row of ship_row_bytes: three floats that go with its bytes (struct tile_numbers; none where rows are floats), TILE_SKETCH
// floats where `sketched`, then its components. Little-endian, as everything that is saved.
#ifndef OMEN_INDEX_HNSW_SHIP_H
#define OMEN_INDEX_HNSW_SHIP_H
#include "index/build.h"
#include "index/hnsw.h"

// What all rows of a build have in common.
struct ship_shape {
    uint8_t kind;       // enum build_kind
    uint8_t sketched;   // 0 or 1; 0: a row's first components are its sketch
    uint8_t extras;     // 0 or 1
    uint8_t far;        // 0 or 1: queries are not like the rows, so that overlap is not spared
    uint32_t width;     // components of a row
    uint32_t links_max; // of the graph that is wanted
    uint64_t seed;
};

// Whether a build can be made of what says so: for bytes of a peer.
bool ship_shape_is_sound(const struct ship_shape *shape);
size_t ship_row_bytes(const struct ship_shape *shape);
// Whether all floats of a row are finite.
bool ship_row_is_sound(const struct ship_shape *shape, const uint8_t *row);

// Founds the index where that is due. OMEN_E_NOT_FOUND: there is no graph to be (a flat index, or too few rows); OMEN_E_NO_MEMORY.
// The scratch is made large enough for hnsw_ship_row.
OMEN_MUST_CHECK omen_status hnsw_ship_shape(struct hnsw *hnsw, struct scratch *scratch,
                                            struct ship_shape *shape);
void hnsw_ship_row(struct hnsw *hnsw, const struct ship_shape *shape, uint32_t slot,
                   struct scratch *scratch, uint8_t *row);

// ---- where it is built ----
struct ship_rows {
    struct ship_shape shape;
    const uint8_t *bytes; // of all rows, one behind the other; borrowed
    size_t row_bytes;
    uint32_t count;
};
struct build_rows ship_build_rows(const struct ship_rows *rows);
struct build_config ship_build_config(const struct ship_shape *shape);

#endif
