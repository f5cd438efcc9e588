// index/scratch.c -- the memory of one search or one insertion.
//
// Shape: handle.
//
// Everything grows to what was asked for and stays. A buffer is replaced rather than resized: what it holds is of no
// use to the next search.
#include "index/scratch.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "index/hnsw_int.h"

#define ALIGNMENT 64u
#define POOL_SPARE 64u
#define POOL_TIMES 8u // for walks that meet that many rows for one that passes

omen_status
scratch_open(struct scratch **out)
{
    *out = mem_alloc_zero(1, sizeof **out);
    return *out != NULL ? OMEN_OK : OMEN_E_NO_MEMORY;
}

void
scratch_close(struct scratch *scratch)
{
    if (scratch == NULL)
        return;
    void *const buffers[] = {
        scratch->visited,   scratch->touched,    scratch->pool.keys, scratch->members.keys,
        scratch->hits,      scratch->vector,     scratch->rotated,   scratch->components,
        scratch->codes,     scratch->one,        scratch->dots,      scratch->distances,
        scratch->occlusion, scratch->candidates, scratch->chosen,    scratch->metas};
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++)
        mem_free(buffers[i]);
    pages_free(scratch->joined, scratch->joined_room);
    mem_free(scratch);
}

// Replaces *buffer by one of `bytes`, uninitialised; false leaves the old one.
static bool
renew(void *buffer, size_t bytes)
{
    void *new = mem_alloc_aligned(ALIGNMENT, bytes);
    void **slot = buffer;
    if (new == NULL)
        return false;
    mem_free(*slot);
    *slot = new;
    return true;
}

static bool
fit_visited(struct scratch *scratch, uint32_t slots)
{
    // Grown by halves, so that an index that grows row by row does not renew it row by row.
    const uint32_t words = bitmap_words(slots) + bitmap_words(slots) / 2 + 64;
    if (bitmap_words(slots) <= scratch->visited_words)
        return true;
    scratch_clear_visited(scratch); // the list of what to clear does not outlive the next line
    if (!renew(&scratch->touched, (size_t)(words + 1) * sizeof *scratch->touched))
        return false;
    if (!renew(&scratch->visited, (size_t)words * sizeof *scratch->visited))
        return false;
    memset(scratch->visited, 0, (size_t)words * sizeof *scratch->visited);
    scratch->visited_words = words;
    return true;
}

static bool
fit_vectors(struct scratch *scratch, const struct codec *codec)
{
    if (codec->dim > scratch->vector_room || scratch->vector == NULL) {
        if (!renew(&scratch->vector, (size_t)codec->dim * sizeof *scratch->vector))
            return false;
        scratch->vector_room = codec->dim;
    }
    const size_t joined = codec->joined_bytes;
    if (joined <= scratch->code_room)
        return true;
    if (!renew(&scratch->rotated, joined * sizeof *scratch->rotated) ||
        !renew(&scratch->components, joined) || !renew(&scratch->codes, joined) ||
        !renew(&scratch->one, joined))
        return false;
    scratch->code_room = joined;
    return true;
}

static uint32_t
lists_room(uint32_t k, uint32_t beam)
{
    return (beam > 2 * k ? beam : 2 * k) + POOL_SPARE;
}

static bool
fit_lists(struct scratch *scratch, uint32_t k, uint32_t beam)
{
    const uint32_t want = lists_room(k, beam), longer = want * POOL_TIMES;
    if (longer > scratch->pool_room) {
        if (!renew(&scratch->pool.keys,
                   (size_t)(longer + NEAREST_SPARE) * sizeof *scratch->pool.keys))
            return false;
        scratch->pool_room = longer;
    }
    if (want > scratch->members_room) {
        if (!renew(&scratch->members.keys,
                   (size_t)(want + NEAREST_SPARE) * sizeof *scratch->members.keys))
            return false;
        scratch->members_room = want;
    }
    // A heap of candidates from the graph and one of the tail's meet in it.
    if (want > scratch->hits_room) {
        if (!renew(&scratch->hits, (size_t)want * sizeof *scratch->hits))
            return false;
        scratch->hits_room = want;
    }
    return true;
}

omen_status
scratch_fit(struct scratch *scratch, const struct hnsw *hnsw, uint32_t k, uint32_t beam)
{
    // The count may grow before the search begins; a walk never looks beyond what its visited set holds.
    const uint32_t slots = atomic_load_explicit(&hnsw->published, memory_order_acquire);
    return fit_visited(scratch, slots) && fit_vectors(scratch, &hnsw->codec) &&
                   fit_lists(scratch, k, beam)
               ? OMEN_OK
               : OMEN_E_NO_MEMORY;
}

void
scratch_need(struct scratch *scratch, const struct hnsw *hnsw, uint32_t k, uint32_t beam)
{
    if (scratch_fit(scratch, hnsw, k, beam) == OMEN_OK)
        return;
    // Where only the visited set could not grow with the index, a walk stays below what it holds.
    const uint32_t want = lists_room(k, beam);
    ASSERT(scratch->vector != NULL && scratch->code_room >= hnsw->codec.joined_bytes);
    ASSERT(scratch->vector_room >= hnsw->codec.dim && scratch->pool_room >= want);
    ASSERT(scratch->members_room >= want && scratch->hits_room >= want);
}

// Pruning's buffers are asked for by linkers only, so that searches do not carry them. The largest has room for more than
// most rows have candidates.
omen_status
scratch_fit_prune(struct scratch *scratch, const struct hnsw *hnsw)
{
    const size_t n = PRUNE_CANDIDATES_MAX;
    const size_t each = hnsw->codec.joined_bytes;
    if (scratch->joined_room < n * each) {
        uint8_t *joined = pages_alloc_small(n * each);
        if (joined == NULL)
            return OMEN_E_NO_MEMORY;
        pages_free(scratch->joined, scratch->joined_room);
        scratch->joined = joined;
        scratch->joined_room = n * each;
    }
    if (scratch->chosen != NULL)
        return OMEN_OK;
    if (!renew(&scratch->dots, (n + 4) * sizeof *scratch->dots) ||
        !renew(&scratch->distances, (n + 4) * sizeof *scratch->distances) ||
        !renew(&scratch->occlusion, n * sizeof *scratch->occlusion) ||
        !renew(&scratch->candidates, n * sizeof *scratch->candidates) ||
        !renew(&scratch->metas, n * sizeof *scratch->metas) ||
        !renew(&scratch->chosen, (size_t)LINK_ROW_MAX * sizeof *scratch->chosen))
        return OMEN_E_NO_MEMORY;
    return OMEN_OK;
}

size_t
scratch_bytes(const struct scratch *scratch)
{
    const size_t n = scratch->chosen != NULL ? PRUNE_CANDIDATES_MAX : 0;
    return sizeof *scratch + (size_t)scratch->visited_words * 12 + (size_t)scratch->pool_room * 8 +
           (size_t)scratch->members_room * 8 + (size_t)scratch->hits_room * sizeof *scratch->hits +
           scratch->vector_room * 4 + scratch->code_room * 7 + scratch->joined_room +
           n * (4 + 4 + 4 + 8 + 8);
}

void
scratch_clear_visited(struct scratch *scratch)
{
    // A word cleared alone costs as much as a line in a row.
    if (scratch->touched_count > scratch->visited_words / 8) {
        memset(scratch->visited, 0, (size_t)scratch->visited_words * sizeof *scratch->visited);
    } else {
        for (uint32_t i = 0; i < scratch->touched_count; i++)
            scratch->visited[scratch->touched[i]] = 0;
    }
    scratch->touched_count = 0;
}
