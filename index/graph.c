// index/graph.c -- who links to whom: one row of slots per node, of 24 or 32 bits each.
//
// Shape: handle.
#include "index/graph.h"

#include <sched.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

#define SPINS_BEFORE_YIELD 100u // a lock is held for the pruning of one row: about 10 us

omen_status
graph_init(struct graph *graph, uint32_t links_max, uint32_t slots_max)
{
    ASSERT(links_max >= 1 && links_max <= LINK_ROW_MAX);
    const enum link_width width = link_width_for(slots_max);
    const struct kernels *kernels = kernels_best();
    *graph = (struct graph){.unpack = width == LINKS_24 ? kernels->unpack : kernels->unpack32,
                            .links_max = links_max,
                            .block_bytes = GRAPH_BLOCK_LINKS * (uint32_t)width,
                            .width = width};
    graph->blocks = link_row_bytes(links_max, width) / graph->block_bytes;
    graph->locks = mem_alloc_zero(GRAPH_LOCKS, sizeof *graph->locks);
    if (graph->locks == NULL)
        return OMEN_E_NO_MEMORY;
    const omen_status status =
        arena_init(&graph->rows, link_row_bytes(links_max, width), slots_max);
    if (status != OMEN_OK)
        graph_fini(graph);
    return status;
}

void
graph_fini(struct graph *graph)
{
    arena_fini(&graph->rows);
    mem_free((void *)graph->locks);
    mem_free(graph->empty);
    *graph = (struct graph){0};
}

void
graph_clear(struct graph *graph, uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!arena_is_lent(&graph->rows, first + i)) // else it is empty, since nobody linked it
            memset(arena_row(&graph->rows, first + i), 0xff, graph->rows.row_bytes);
}

void
graph_lock(const struct graph *graph, uint32_t slot)
{
    _Atomic uint8_t *lock = &graph->locks[slot % GRAPH_LOCKS];
    for (uint32_t spins = 1; atomic_exchange_explicit(lock, 1, memory_order_acquire) != 0; spins++)
        if (spins % SPINS_BEFORE_YIELD == 0)
            sched_yield();
}

void
graph_unlock(const struct graph *graph, uint32_t slot)
{
    atomic_store_explicit(&graph->locks[slot % GRAPH_LOCKS], 0, memory_order_release);
}

uint32_t
graph_read_locked(const struct graph *graph, uint32_t slot, uint32_t limit, uint32_t *links)
{
    const uint8_t *row = arena_row(&graph->rows, slot);
    uint32_t count = 0;
    for (uint32_t block = 0; block < graph->blocks; block++)
        count += graph->unpack(row + (size_t)block * graph->block_bytes, limit, links + count);
    return count < graph->links_max ? count : graph->links_max;
}

static void
put_link(uint8_t *row, enum link_width width, uint32_t place, uint32_t link)
{
    uint8_t *at = row + (size_t)place * (uint32_t)width;
    at[0] = (uint8_t)link;
    at[1] = (uint8_t)(link >> 8);
    at[2] = (uint8_t)(link >> 16);
    if (width == LINKS_32)
        at[3] = (uint8_t)(link >> 24);
}

static void
pack(const struct graph *graph, const uint32_t *links, uint32_t count, uint8_t *row)
{
    memset(row, 0xff, graph->rows.row_bytes);
    for (uint32_t i = 0; i < count; i++)
        put_link(row, graph->width, i, links[i]);
}

// Memory for all rows was made when they were loaded or reserved.
static uint8_t *
own_row(struct graph *graph, uint32_t slot)
{
    uint8_t *row = arena_own(&graph->rows, slot);
    ASSERT(row != NULL);
    return row;
}

void
graph_write_locked(struct graph *graph, uint32_t slot, const uint32_t *links, uint32_t count)
{
    ASSERT(count <= graph->links_max);
    uint8_t row[LINK_ROW_MAX * LINKS_32];
    pack(graph, links, count, row);
    memcpy(own_row(graph, slot), row, graph->rows.row_bytes);
    arena_mark_locked(&graph->rows, slot);
}

void
graph_append_locked(struct graph *graph, uint32_t slot, uint32_t count, uint32_t link)
{
    ASSERT(count < graph->links_max);
    put_link(own_row(graph, slot), graph->width, count, link);
    arena_mark_locked(&graph->rows, slot);
}

// Many rows that are not linked yet would be as many empty ones to write: whole pieces of them are one and the same.
static omen_status
lend_empty(struct graph *graph, uint32_t first, uint32_t end)
{
    const size_t bytes = arena_piece_bytes(&graph->rows);
    if (first >= end)
        return OMEN_OK;
    if (graph->empty == NULL) {
        graph->empty = mem_alloc_aligned(64, bytes);
        if (graph->empty == NULL)
            return OMEN_E_NO_MEMORY;
        memset(graph->empty, 0xff, bytes);
    }
    omen_status status = OMEN_OK;
    for (uint32_t piece = first; piece < end && status == OMEN_OK; piece++)
        status = arena_lend(&graph->rows, piece, graph->empty);
    return status;
}

omen_status
graph_expect(struct graph *graph, uint32_t rows)
{
    const omen_status status = arena_reserve_own(&graph->rows, rows);
    return status == OMEN_OK ? lend_empty(graph, graph->rows.reserved, rows >> graph->rows.shift)
                             : status;
}

omen_status
graph_load(struct graph *graph, uint32_t rows, uint32_t linked, const struct image_source *source)
{
    ASSERT(linked <= rows);
    struct arena *arena = &graph->rows;
    omen_status status = arena_load(arena, IMAGE_LINKS, linked, source);
    if (status != OMEN_OK)
        return status;
    // The rows from `linked` on: those in the piece that linked ones begin, whole pieces, and those of the last one.
    const uint32_t piece_rows = arena->mask + 1, begun = linked & arena->mask;
    uint32_t next = linked;
    if (begun > 0 && rows > linked) {
        const uint32_t left = rows - linked, room = piece_rows - begun;
        next += left < room ? left : room;
        status = arena_reserve(arena, next); // the piece is ours then
        if (status != OMEN_OK)
            return status;
        graph_clear(graph, linked, next - linked);
    }
    status = lend_empty(graph, (uint32_t)(((uint64_t)next + arena->mask) >> arena->shift),
                        rows >> arena->shift);
    if (status == OMEN_OK)
        status = arena_reserve(arena, rows);
    if (status == OMEN_OK)
        status = arena_reserve_own(arena, rows);
    const uint32_t last = rows & ~arena->mask;
    if (status == OMEN_OK && next < rows)
        graph_clear(graph, last, rows - last);
    return status;
}

// Copies the first `rows` rows of a piece; whether any of them had a link that the copy has not.
static bool
copy_piece(struct graph *graph, uint32_t first, uint32_t rows, uint32_t linked, uint8_t *out)
{
    uint32_t links[LINK_ROW_MAX];
    bool lost = false;
    for (uint32_t i = 0; i < rows; i++) {
        graph_lock(graph, first + i);
        const uint32_t all = graph_read_locked(graph, first + i, link_empty(graph->width), links);
        const uint32_t count = graph_read_locked(graph, first + i, linked, links);
        graph_unlock(graph, first + i);
        lost |= count < all;
        pack(graph, links, count, out + i * graph->rows.row_bytes);
    }
    return lost;
}

omen_status
graph_save(struct graph *graph, const struct graph_range *range, uint8_t *buffer,
           const struct image_sink *sink)
{
    struct arena *arena = &graph->rows;
    const uint32_t linked = range->end;
    for (uint32_t piece = range->from >> arena->shift; (uint64_t)piece << arena->shift < linked;
         piece++) {
        if (!arena_save_next(arena, piece, linked))
            continue;
        const uint32_t first = piece << arena->shift;
        const uint32_t left = linked - first, rows = left > arena->mask ? arena->mask + 1 : left;
        const bool lost = copy_piece(graph, first, rows, linked, buffer);
        const omen_status status =
            sink->put(sink->context, IMAGE_LINKS, piece, buffer, rows * arena->row_bytes);
        // What was left out is put when both ends are below the next save's `linked`.
        if (lost || status != OMEN_OK)
            arena_save_again(arena, piece);
        if (status != OMEN_OK)
            return status;
    }
    arena_save_done(arena, linked);
    return OMEN_OK;
}
