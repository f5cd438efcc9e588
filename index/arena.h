// index/arena.h -- an array of equal rows that grows in chunks and never moves one.
//
// Shape:   handle in the owner's memory (_init/_fini).
// Threads: arena_reserve by one writer; arena_row from anywhere, for slots that were reserved before the reader
//          learnt of them (by an acquire load of the count that the writer released).
// Memory:  chunks are anonymous, zeroed, huge-page backed where they are large enough; a page that no row was
//          written to costs address space only.
#ifndef OMEN_INDEX_ARENA_H
#define OMEN_INDEX_ARENA_H
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct arena {
    uint8_t **chunks;
    size_t row_bytes;
    uint32_t shift; // a chunk holds 1 << shift rows
    uint32_t mask;
    uint32_t chunk_count;
    uint32_t chunks_max;
};

OMEN_MUST_CHECK omen_status arena_init(struct arena *arena, size_t row_bytes, uint32_t slots_max);
void arena_fini(struct arena *arena); // an arena of all zeros is accepted

// Room for slots below `slots` (at most slots_max). After OMEN_E_NO_MEMORY what was there still is.
OMEN_MUST_CHECK omen_status arena_reserve(struct arena *arena, uint32_t slots);

// Bytes that `slots` rows in use make resident, in whole pages.
size_t arena_bytes(const struct arena *arena, uint32_t slots);

static inline uint8_t *
arena_row(const struct arena *arena, uint32_t slot)
{
    return arena->chunks[slot >> arena->shift] + (size_t)(slot & arena->mask) * arena->row_bytes;
}

#endif
