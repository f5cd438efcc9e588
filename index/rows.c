// index/rows.c -- chunks carved from blocks of huge pages.
//
// Shape: handle, in memory.
//
// A block holds as many chunks as fit into BLOCK_BYTES (at least one). Its memory is touched only as rows are
// written, so a block that is half used costs half.
#include "index/rows.h"

#include "base/alloc.h"
#include "base/assert.h"

#define BLOCK_BYTES ((size_t)32 << 20)

static size_t
block_bytes(const struct rows *rows)
{
    return (size_t)rows->per_block * ROWS_PER_CHUNK * rows->row_bytes;
}

omen_status
rows_open(struct rows *rows, uint32_t row_bytes, uint32_t rows_max)
{
    ASSERT(row_bytes > 0 && rows_max > 0);
    const size_t chunk_bytes = (size_t)ROWS_PER_CHUNK * row_bytes;
    *rows = (struct rows){
        .row_bytes = row_bytes,
        .chunks_max = (uint32_t)(((uint64_t)rows_max + ROWS_PER_CHUNK - 1) >> ROWS_SHIFT),
        .per_block = chunk_bytes >= BLOCK_BYTES ? 1 : (uint32_t)(BLOCK_BYTES / chunk_bytes),
    };
    rows->chunks = mem_alloc_zero(rows->chunks_max, sizeof *rows->chunks);
    if (rows->chunks == NULL)
        return OMEN_E_NO_MEMORY;
    return OMEN_OK;
}

void
rows_close(struct rows *rows)
{
    for (uint32_t chunk = 0; chunk < rows->chunk_count; chunk += rows->per_block)
        pages_free(rows->chunks[chunk], block_bytes(rows));
    mem_free(rows->chunks);
    *rows = (struct rows){0};
}

omen_status
rows_reserve(struct rows *rows, uint32_t count)
{
    const uint32_t wanted = (uint32_t)(((uint64_t)count + ROWS_PER_CHUNK - 1) >> ROWS_SHIFT);
    ASSERT(wanted <= rows->chunks_max);
    while (rows->chunk_count < wanted) {
        uint8_t *block = pages_alloc(block_bytes(rows));
        if (block == NULL)
            return OMEN_E_NO_MEMORY;
        for (uint32_t i = 0; i < rows->per_block && rows->chunk_count < rows->chunks_max; i++) {
            rows->chunks[rows->chunk_count++] = block;
            block += (size_t)ROWS_PER_CHUNK * rows->row_bytes;
        }
    }
    if (count > rows->touched)
        rows->touched = count;
    return OMEN_OK;
}
