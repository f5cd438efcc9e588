// index/scratch.h -- the memory of one search or one insertion; one per thread at a time.
//
// Shape:   handle.
// Threads: one at a time. May serve many indexes in turn.
#ifndef OMEN_INDEX_SCRATCH_H
#define OMEN_INDEX_SCRATCH_H
#include <stddef.h>
#include <stdint.h>

#include "index/codec.h"
#include "index/hnsw.h"
#include "index/nearest.h"

#define PRUNE_CANDIDATES_MAX 512u // of which a node chooses its links

struct scratch {
    // The set of visited slots: a bitmap, and which of its words were touched, so that a search of a large index
    // need not clear all of it.
    uint64_t *visited;
    uint32_t visited_words;
    uint32_t *touched; // visited_words + 1
    uint32_t touched_count;

    struct nearest pool;    // what the walk keeps; keys has room for pool_room
    struct nearest members; // of a filtered walk: those that may answer
    uint32_t pool_room, members_room;

    struct hit *hits; // being put in order
    uint32_t hits_room;

    float *vector;      // dim: prepared
    float *rotated;     // width
    int8_t *components; // joined_bytes
    uint8_t *codes;     // width
    struct code_query query;
    size_t vector_room, code_room; // components, bytes that the above hold

    // Pruning: the candidates' codes joined, and numbers about each.
    uint8_t *joined;
    size_t joined_room;
    int8_t *one;             // joined_bytes: one of them as s8
    int32_t *dots;           // PRUNE_CANDIDATES_MAX + 4
    float *distances;        // PRUNE_CANDIDATES_MAX + 4
    float *occlusion;        // PRUNE_CANDIDATES_MAX
    uint64_t *candidates;    // PRUNE_CANDIDATES_MAX, for rows that are pruned again
    uint32_t *chosen;        // LINK_ROW_MAX
    struct byte_meta *metas; // PRUNE_CANDIDATES_MAX
};

// Forgets what was visited.
void scratch_clear_visited(struct scratch *scratch);

// Marks a slot; true when it was marked before.
static inline bool
scratch_visit(struct scratch *scratch, uint32_t slot)
{
    uint64_t *const word = &scratch->visited[slot >> 6];
    const uint64_t before = *word;
    *word = before | 1ull << (slot & 63);
    // Without a branch: at some sizes it would be a coin toss.
    scratch->touched[scratch->touched_count] = slot >> 6;
    scratch->touched_count += before == 0;
    return (before >> (slot & 63) & 1) != 0;
}

// Marks all of them and writes those that were not marked before to `fresh`; returns how many. What is counted stays in
// registers: through the scratch each row would wait for what the one before stored.
static inline uint32_t
scratch_visit_all(struct scratch *scratch, const uint32_t *slots, uint32_t count, uint32_t *fresh)
{
    uint64_t *const visited = scratch->visited;
    uint32_t *const touched = scratch->touched;
    uint32_t touched_count = scratch->touched_count, fresh_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t slot = slots[i];
        const uint64_t before = visited[slot >> 6], bit = 1ull << (slot & 63);
        visited[slot >> 6] = before | bit;
        touched[touched_count] = slot >> 6;
        touched_count += before == 0;
        fresh[fresh_count] = slot;
        fresh_count += (before & bit) == 0;
    }
    scratch->touched_count = touched_count;
    return fresh_count;
}

static inline bool
scratch_visited(const struct scratch *scratch, uint32_t slot)
{
    return (scratch->visited[slot >> 6] >> (slot & 63) & 1) != 0;
}

// scratch_fit for callers that cannot report: aborts when memory is short, but for the visited set's.
void scratch_need(struct scratch *scratch, const struct hnsw *hnsw, uint32_t k, uint32_t beam);
// What pruning needs besides.
OMEN_MUST_CHECK omen_status scratch_fit_prune(struct scratch *scratch, const struct hnsw *hnsw);

#endif
