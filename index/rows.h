// index/rows.h -- an array of fixed-size rows that grows without moving: reached through a chunk table.
//
// Shape:   handle, in memory.
// Threads: one thread reserves; readers of rows below an earlier reserve need no lock, provided that they learnt of
//          the rows through an acquire (the index's watermarks are that).
// Memory:  chunks of ROWS_PER_CHUNK rows are carved from blocks of huge pages, so neighbours in slot order are
//          neighbours in memory and little is lost at chunk ends. Never shrinks before rows_close.
#ifndef OMEN_INDEX_ROWS_H
#define OMEN_INDEX_ROWS_H
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define ROWS_SHIFT 13u
#define ROWS_PER_CHUNK (1u << ROWS_SHIFT)

struct rows {
    uint8_t **chunks;       // chunk i holds rows i << ROWS_SHIFT ..
    uint32_t  row_bytes;
    uint32_t  chunks_max;
    uint32_t  chunk_count;  // chunks with memory
    uint32_t  per_block;    // chunks carved from one block
    uint32_t  touched;      // rows ever reserved, for accounting
};

// Rows of row_bytes (>= 1) each, at most rows_max of them. On failure `rows` is as if closed.
OMEN_MUST_CHECK omen_status rows_open(struct rows *rows, uint32_t row_bytes, uint32_t rows_max);
void rows_close(struct rows *rows);

// Memory for rows [0, count), zeroed when new. On OMEN_E_NO_MEMORY the rows there stay usable.
OMEN_MUST_CHECK omen_status rows_reserve(struct rows *rows, uint32_t count);

// Bytes in use for `count` rows.
static inline size_t
rows_bytes(const struct rows *rows)
{
    return (size_t)rows->touched * rows->row_bytes;
}

static inline uint8_t *
rows_at(const struct rows *rows, uint32_t slot)
{
    return rows->chunks[slot >> ROWS_SHIFT] + (size_t)(slot & (ROWS_PER_CHUNK - 1)) * rows->row_bytes;
}

#endif
