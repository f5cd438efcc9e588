// shard/cell.h -- arenas whose rows are 8 bytes: an id, a place, a pointer.
//
// Shape: value.
//
// How many of them a piece has is a constant here, because they are looked up once a hit.
#ifndef OMEN_SHARD_CELL_H
#define OMEN_SHARD_CELL_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/assert.h"

#define CELL_SHIFT 15u // a piece of them: 256 KiB

OMEN_MUST_CHECK static inline omen_status
cells_init(struct arena *arena, uint32_t count_max)
{
    const omen_status status = arena_init(arena, sizeof(uint64_t), count_max);
    ASSERT(status != OMEN_OK || arena->shift == CELL_SHIFT);
    return status;
}

// Of a row that was reserved; to be written only where it is ours.
static inline void *
cell_at(const struct arena *arena, uint32_t row)
{
    uint64_t *piece = (uint64_t *)(void *)arena_piece(arena, row >> CELL_SHIFT);
    return &piece[row & ((1u << CELL_SHIFT) - 1)];
}

// Puts the next piece that is to be saved from *next on, of those below `rows`; after the last one *done.
OMEN_MUST_CHECK omen_status cells_save_step(struct arena *arena, enum image_array array,
                                            uint32_t rows, uint32_t *next,
                                            const struct image_sink *sink, bool *done);

#endif
