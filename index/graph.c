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
    *graph = (struct graph){0};
}

void
graph_clear(struct graph *graph, uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
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
graph_read_locked(const struct graph *graph, uint32_t slot, uint32_t *links)
{
    const uint8_t *row = arena_row(&graph->rows, slot);
    uint32_t count = 0;
    for (uint32_t block = 0; block < graph->blocks; block++)
        count += graph->unpack(row + (size_t)block * graph->block_bytes, link_empty(graph->width),
                               links + count);
    return count;
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

void
graph_write_locked(struct graph *graph, uint32_t slot, const uint32_t *links, uint32_t count)
{
    ASSERT(count <= graph->links_max);
    uint8_t row[LINK_ROW_MAX * LINKS_32];
    memset(row, 0xff, graph->rows.row_bytes);
    for (uint32_t i = 0; i < count; i++)
        put_link(row, graph->width, i, links[i]);
    memcpy(arena_row(&graph->rows, slot), row, graph->rows.row_bytes);
}

void
graph_append_locked(struct graph *graph, uint32_t slot, uint32_t count, uint32_t link)
{
    ASSERT(count < graph->links_max);
    put_link(arena_row(&graph->rows, slot), graph->width, count, link);
}
