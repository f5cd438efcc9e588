// index/arena.c -- an array of equal rows that grows in chunks and never moves one.
//
// Shape: handle.
//
// A chunk has 65,536 rows, so that for every row size that is a multiple of 32 bytes it is whole huge pages; wide
// rows get fewer, because a kernel that counts its promises refuses one mapping beyond its memory.
#include "index/arena.h"

#include "base/alloc.h"
#include "base/assert.h"

#define CHUNK_SHIFT_MAX 16u
#define CHUNK_BYTES_MAX ((size_t)64 << 20)
#define PAGE_BYTES ((size_t)4096)

static size_t
chunk_bytes(const struct arena *arena)
{
    return arena->row_bytes << arena->shift;
}

omen_status
arena_init(struct arena *arena, size_t row_bytes, uint32_t slots_max)
{
    *arena = (struct arena){.row_bytes = row_bytes};
    while (arena->shift < CHUNK_SHIFT_MAX && chunk_bytes(arena) * 2 <= CHUNK_BYTES_MAX)
        arena->shift++;
    arena->mask = (1u << arena->shift) - 1;
    arena->chunks_max = (uint32_t)(((uint64_t)slots_max + arena->mask) >> arena->shift);
    arena->chunks = mem_alloc_zero(arena->chunks_max, sizeof *arena->chunks);
    return arena->chunks != NULL ? OMEN_OK : OMEN_E_NO_MEMORY;
}

void
arena_fini(struct arena *arena)
{
    for (uint32_t i = 0; i < arena->chunk_count; i++)
        pages_free(arena->chunks[i], chunk_bytes(arena));
    mem_free(arena->chunks);
    *arena = (struct arena){0};
}

omen_status
arena_reserve(struct arena *arena, uint32_t slots)
{
    const uint32_t want = (uint32_t)(((uint64_t)slots + arena->mask) >> arena->shift);
    ASSERT(want <= arena->chunks_max);
    while (arena->chunk_count < want) {
        uint8_t *chunk = pages_alloc(chunk_bytes(arena));
        if (chunk == NULL)
            return OMEN_E_NO_MEMORY;
        arena->chunks[arena->chunk_count++] = chunk;
    }
    return OMEN_OK;
}

size_t
arena_bytes(const struct arena *arena, uint32_t slots)
{
    const size_t used = (size_t)slots * arena->row_bytes;
    return (used + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES +
           arena->chunks_max * sizeof *arena->chunks;
}
