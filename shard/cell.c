// shard/cell.c -- arenas whose rows are 8 bytes, saved in steps.
//
// Shape: value.
#include "shard/cell.h"

omen_status
cells_save_step(struct arena *arena, enum image_array array, uint32_t rows, uint32_t *next,
                const struct image_sink *sink, bool *done)
{
    const uint32_t pieces = (uint32_t)(((uint64_t)rows + (1u << CELL_SHIFT) - 1) >> CELL_SHIFT);
    *done = false;
    while (*next < pieces) {
        const uint32_t piece = *next;
        if (arena_save_next(arena, piece, rows)) {
            const uint32_t left = rows - (piece << CELL_SHIFT);
            const size_t count = left < 1u << CELL_SHIFT ? left : 1u << CELL_SHIFT;
            const omen_status status = sink->put(
                sink->context, array, piece, arena_piece(arena, piece), count * sizeof(uint64_t));
            if (status != OMEN_OK)
                arena_save_again(arena, piece);
            *next += status == OMEN_OK;
            return status;
        }
        ++*next;
    }
    arena_save_done(arena, rows);
    *done = true;
    return OMEN_OK;
}
