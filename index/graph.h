// index/graph.h -- who links to whom: one row of slots per node, of 24 or 32 bits each.
//
// Shape:   handle in the owner's memory (_init/_fini).
// Threads: graph_read from anywhere beside writers, without a lock. Writers of one row hold its lock.
//
// A row is one or more blocks of 32 links. A block never touches more than two cache lines: 96 bytes where slots fit 24
// bits, and else 128, which are two whole ones. Unused links have all bits set. A reader beside a writer may see a number that is half old and half new.
// It is harmless: numbers not below the reader's limit are dropped, and any slot below it has memory that may be
// read; what comes of it is one distance computed in vain, never an answer, for answers are compared by
// their rows. Under ThreadSanitizer, which cannot know that, reads take the row's lock.
#ifndef OMEN_INDEX_GRAPH_H
#define OMEN_INDEX_GRAPH_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/limits.h"
#include "base/prefetch.h"
#include "base/tsan.h"
#include "index/kernel/kernel.h"

#define GRAPH_BLOCK_LINKS 32u
// The most slots that links of 24 bits lead to: none of them looks like an unused link.
#define GRAPH_SLOTS_24 0xfffffeu
#define GRAPH_LOCKS 4096u
#define LINK_ROW_MAX (2u * LINKS_PER_NODE_MAX) // 128: links of one node

enum link_width { LINKS_24 = 3, LINKS_32 = 4 }; // bytes

// Which links an index of so many slots has.
static inline enum link_width
link_width_for(uint32_t slots_max)
{
    return slots_max <= GRAPH_SLOTS_24 ? LINKS_24 : LINKS_32;
}

static inline uint32_t
link_empty(enum link_width width)
{
    return width == LINKS_24 ? 0xffffffu : UINT32_MAX;
}

// Bytes of a row of `links_max` links.
static inline uint32_t
link_row_bytes(uint32_t links_max, enum link_width width)
{
    const uint32_t blocks = (links_max + GRAPH_BLOCK_LINKS - 1) / GRAPH_BLOCK_LINKS;
    return blocks * GRAPH_BLOCK_LINKS * (uint32_t)width;
}

// Of links as they are unpacked.
static inline bool
links_contain(const uint32_t *links, uint32_t count, uint32_t slot)
{
    for (uint32_t i = 0; i < count; i++)
        if (links[i] == slot)
            return true;
    return false;
}

struct graph {
    uint32_t (*unpack)(const uint8_t *row, uint32_t limit, uint32_t *ids); // of the width's kernels
    struct arena rows;
    uint32_t links_max; // 2 M
    uint32_t blocks, block_bytes;
    enum link_width width;
    _Atomic uint8_t *locks; // GRAPH_LOCKS spin locks, by slot
    uint8_t *empty; // a piece of rows without links, lent where a loaded graph has many; or NULL
};

// Links are as wide as slots_max asks for (link_width_for).
OMEN_MUST_CHECK omen_status graph_init(struct graph *graph, uint32_t links_max, uint32_t slots_max);
void graph_fini(struct graph *graph); // accepts all zeros

// Empties the rows of new slots, which nobody knows yet.
void graph_clear(struct graph *graph, uint32_t first, uint32_t count);
// Room for the rows below `rows`, where pieces of which none is there yet are one and the same empty one, until they are
// written to: graph_clear has nothing to do there. After OMEN_E_NO_MEMORY nothing changed.
OMEN_MUST_CHECK omen_status graph_expect(struct graph *graph, uint32_t rows);

void graph_lock(const struct graph *graph, uint32_t slot);
void graph_unlock(const struct graph *graph, uint32_t slot);

// The links of a slot that are below `limit`, in order; returns how many. `links` has room for LINK_ROW_MAX.
static inline uint32_t
graph_read(const struct graph *graph, uint32_t slot, uint32_t limit, uint32_t *links)
{
    const uint8_t *row = arena_row(&graph->rows, slot);
#ifdef OMEN_UNDER_TSAN
    graph_lock(graph, slot);
#endif
    uint32_t count = graph->unpack(row, limit, links);
    for (uint32_t block = 1; block < graph->blocks; block++)
        count += graph->unpack(row + (size_t)block * graph->block_bytes, limit, links + count);
#ifdef OMEN_UNDER_TSAN
    graph_unlock(graph, slot);
#endif
    return count;
}

// Fills a new graph with `linked` rows from what graph_save put, and up to `rows` with empty ones. Rows that lie where they
// were put become ours when they are written to, for which there is memory then. OMEN_E_CORRUPT: see arena_load.
OMEN_MUST_CHECK omen_status graph_load(struct graph *graph, uint32_t rows, uint32_t linked,
                                       const struct image_source *source);
// Puts what changed of the pieces with rows of [from, end), without links to rows from there on. `buffer` has room for
// IMAGE_PIECE_BYTES.
struct graph_range {
    uint32_t from, end;
};
OMEN_MUST_CHECK omen_status graph_save(struct graph *graph, const struct graph_range *range,
                                       uint8_t *buffer, const struct image_sink *sink);

// For whoever holds the row's lock. The links below `limit`, at most links_max: a file's rows are not to be trusted.
uint32_t graph_read_locked(const struct graph *graph, uint32_t slot, uint32_t limit,
                           uint32_t *links);
void graph_write_locked(struct graph *graph, uint32_t slot, const uint32_t *links, uint32_t count);
// Appends to a row that has `count` < links_max links.
void graph_append_locked(struct graph *graph, uint32_t slot, uint32_t count, uint32_t link);

static inline void
graph_prefetch(const struct graph *graph, uint32_t slot)
{
    const uint8_t *row = arena_row(&graph->rows, slot);
    prefetch_line(row);
    prefetch_line(row + 64);
}

#endif
