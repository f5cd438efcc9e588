// index/graph.h -- who links to whom: one row of 24-bit slots per node.
//
// Shape:   handle in the owner's memory (_init/_fini).
// Threads: graph_read from anywhere beside writers, without a lock. Writers of one row hold its lock.
//
// A row is one or more blocks of 32 links, 96 bytes each, so that it never touches more than two cache lines a block.
// Unused links are GRAPH_EMPTY. A reader beside a writer may see a number that is half old and half new.
// It is harmless: numbers not below the reader's limit are dropped, and any slot below it has memory that may be
// read; what comes of it is one distance computed in vain, never an answer, for answers are compared by
// their rows. Under ThreadSanitizer, which cannot know that, reads take the row's lock.
#ifndef OMEN_INDEX_GRAPH_H
#define OMEN_INDEX_GRAPH_H
#include <stdatomic.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/prefetch.h"
#include "index/arena.h"
#include "index/kernel/kernel.h"

// gcc and clang say it in different ways.
#if defined(__SANITIZE_THREAD__)
#define OMEN_UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define OMEN_UNDER_TSAN 1
#endif
#endif

#define GRAPH_EMPTY 0xffffffu
#define GRAPH_BLOCK_LINKS 32u
#define GRAPH_BLOCK_BYTES 96u
#define GRAPH_LOCKS 4096u
#define LINK_ROW_MAX (2u * LINKS_PER_NODE_MAX) // 128: links of one node

struct graph {
    const struct kernels *kernels;
    struct arena rows;
    uint32_t links_max; // 2 M
    uint32_t blocks;
    _Atomic uint8_t *locks; // GRAPH_LOCKS spin locks, by slot
};

OMEN_MUST_CHECK omen_status graph_init(struct graph *graph, uint32_t links_max, uint32_t slots_max);
void graph_fini(struct graph *graph); // accepts all zeros

// Empties the rows of new slots, which nobody knows yet.
void graph_clear(struct graph *graph, uint32_t first, uint32_t count);

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
    uint32_t count = graph->kernels->unpack(row, limit, links);
    for (uint32_t block = 1; block < graph->blocks; block++)
        count +=
            graph->kernels->unpack(row + (size_t)block * GRAPH_BLOCK_BYTES, limit, links + count);
#ifdef OMEN_UNDER_TSAN
    graph_unlock(graph, slot);
#endif
    return count;
}

// For whoever holds the row's lock.
uint32_t graph_read_locked(const struct graph *graph, uint32_t slot, uint32_t *links);
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
