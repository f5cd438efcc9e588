// shard/built.h -- rows on their way to a builder, and the graph that comes back: chunks with checksums, and who puts them together.
//
// Shape:   value; built_rows and built_graph own memory (_fini).
// Threads: any, one at a time on each.
// Errors:  a status, and in *error (never NULL) what exactly was wrong. Nothing that a peer sends is believed.
//
// Both have the rows of a moment in one order, each by a key that every copy makes of the row's id and vector alike: so the graph fits
// copies whose slots are others. A chunk is a head of BUILT_HEAD_BYTES, the rows' keys, and then either the rows (index/hnsw_ship.h)
// or how many links each has, and these: numbers of rows, of three bytes or four.
//
//   hash of all behind it 8 | magic 4 | version 2 | kind 1 | flags 1 | width 4 | links_max 4 | seed 8 | seq 8 | rows in all 4 | first 4 |
//   count 4 | bytes of a row, or of a link 4
#ifndef OMEN_SHARD_BUILT_H
#define OMEN_SHARD_BUILT_H
#include "base/error.h"
#include "index/hnsw_ship.h"
#include "omendb.h"

#define BUILT_CHUNK_BYTES ((size_t)1 << 20)
#define BUILT_HEAD_BYTES 56u

struct built_head {
    struct ship_shape shape;
    uint64_t seq;   // entry of the log: rows as of then
    uint32_t total; // rows in all
    uint32_t first, count;
};

// ---- rows ----
uint32_t built_rows_fit(const struct ship_shape *shape); // in a chunk
// Where the keys and the rows of a chunk with head->count rows lie, which the caller fills before built_rows_seal.
uint8_t *built_rows_at(const struct built_head *head, uint8_t *chunk);
void built_key_put(uint8_t *chunk, uint32_t row, uint64_t key);
size_t built_rows_seal(const struct built_head *head,
                       uint8_t *chunk); // returns the chunk's bytes

struct built_rows {
    struct built_head head; // count: rows that are there
    uint64_t *keys;
    uint8_t *bytes;
    size_t row_bytes;
};
// The next chunk; one that came before may come again. OMEN_E_CORRUPT, OMEN_E_VERSION, OMEN_E_NO_MEMORY; OMEN_E_CONFLICT: of other
// rows than those before, or not the next.
OMEN_MUST_CHECK omen_status built_rows_take(struct built_rows *rows, const uint8_t *chunk,
                                            size_t bytes, struct omen_error *error);
void built_rows_fini(struct built_rows *rows); // accepts zeros
static inline bool
built_rows_whole(const struct built_rows *rows)
{
    return rows->head.total > 0 && rows->head.count == rows->head.total;
}

// ---- the graph ----
struct built_graph {
    struct built_head head; // count: rows that are there
    uint64_t *keys;
    struct build_graph graph;
};
// Who made the links.
struct built_by {
    omen_backend backend;
    char device[256]; // the GPU; "": none
    char reason[256]; // with AUTO why no GPU; ""
};
struct built_work {
    uint32_t threads;
    omen_backend
        backend; // AUTO: a GPU where there is one and there is enough to do. CUDA: one, or an error
    struct built_by *by; // NULL, or filled; after an error `reason` says what was wrong
    // As of struct build_config.
    int (*progress)(void *context, uint64_t done, uint64_t total);
    void *context;
};
// Builds. Errors of backend_open. Takes the keys of `rows`, which are whole, and on success the memory of their bytes goes. Errors of build_run.
OMEN_MUST_CHECK omen_status built_graph_make(struct built_rows *rows, const struct built_work *work,
                                             struct built_graph *out);
uint32_t built_graph_chunks(const struct built_graph *graph);
// `chunk` has room for BUILT_CHUNK_BYTES; returns its bytes.
size_t built_graph_write(const struct built_graph *graph, uint32_t number, uint8_t *chunk);
OMEN_MUST_CHECK omen_status built_graph_take(struct built_graph *graph, const uint8_t *chunk,
                                             size_t bytes, struct omen_error *error);
void built_graph_fini(struct built_graph *graph); // accepts zeros
static inline bool
built_graph_whole(const struct built_graph *graph)
{
    return graph->head.total > 0 && graph->head.count == graph->head.total;
}

#endif
