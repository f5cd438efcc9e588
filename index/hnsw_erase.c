// index/hnsw_erase.c -- erasing rows, and mending the graph around them.
//
// Shape: handle.
//
// Erasing sets a bit: no search answers the row from then on, but walks still pass through it. A worker then takes it
// out of the way, in place (IP-DiskANN: Xu et al. 2025, arXiv 2502.13826): it walks to where the row is, and every
// node met there that links to it gets the nearest of its neighbours instead; its own neighbours, which lose an in-link,
// are offered to others. Links from nodes that were not met remain and do no harm: the row's own links stay, so a
// walk that comes to it goes on.
#include "base/assert.h"
#include "index/hnsw_int.h"

#define REPAIR_BEAM 128u
#define REPAIR_CANDIDATES 50u // live rows near the erased one, from which links are replaced
#define REPLACEMENTS 3u       // for each link that is lost

bool
hnsw_erase(struct hnsw *hnsw, uint32_t slot)
{
    ASSERT(slot < hnsw_count(hnsw));
    if (!atomic_bit_set(hnsw->erased, slot))
        return false;
    atomic_fetch_add_explicit(&hnsw->erased_count, 1, memory_order_acq_rel);
    return true;
}

// A place of this thread's; THREADS_MAX when there is none, which nobody needs to be told: another time there is one.
static uint32_t
mending_enter(struct hnsw *hnsw)
{
    for (uint32_t i = 0; i < THREADS_MAX; i++) {
        uint32_t free = 0;
        if (atomic_load_explicit(&hnsw->mending[i], memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong_explicit(&hnsw->mending[i], &free, UINT32_MAX,
                                                    memory_order_relaxed, memory_order_relaxed))
            return i;
    }
    return THREADS_MAX;
}

static void
mending_leave(struct hnsw *hnsw, uint32_t place)
{
    atomic_store_explicit(&hnsw->mending[place], 0, memory_order_release);
}

// Who reads a bit that a repairer set reads afterwards that its row is in its hands, or that it was and that all is written.
void
mending_clear(const struct hnsw *hnsw, uint64_t *repaired, uint32_t rows)
{
    for (uint32_t i = 0; i < THREADS_MAX; i++) {
        const uint32_t row = atomic_load_explicit(&hnsw->mending[i], memory_order_acquire) - 1;
        if (row < rows)
            repaired[row >> 6] &= ~(1ull << (row & 63));
    }
}

// An erased row that nobody has taken yet, from where the last one was found; HNSW_NONE when there is none.
static uint32_t
claim_erased(struct hnsw *hnsw, uint32_t place)
{
    const uint32_t words =
        bitmap_words(atomic_load_explicit(&hnsw->linked_prefix, memory_order_acquire));
    const uint32_t from = atomic_load_explicit(&hnsw->repair_cursor, memory_order_relaxed);
    for (uint32_t i = 0; i < words; i++) {
        const uint32_t word = (from + i) % words;
        uint64_t open = atomic_load_explicit(&hnsw->erased[word], memory_order_acquire) &
                        atomic_load_explicit(&hnsw->linked[word], memory_order_acquire) &
                        ~atomic_load_explicit(&hnsw->repaired[word], memory_order_acquire);
        for (; open != 0; open &= open - 1) {
            const uint32_t slot = word * 64 + (uint32_t)__builtin_ctzll(open);
            atomic_store_explicit(&hnsw->mending[place], slot + 1, memory_order_relaxed);
            if (!atomic_bit_set(hnsw->repaired, slot))
                continue;
            atomic_store_explicit(&hnsw->repair_cursor, word, memory_order_relaxed);
            atomic_fetch_add_explicit(&hnsw->repaired_count, 1, memory_order_acq_rel);
            return slot;
        }
    }
    return HNSW_NONE;
}

// The nearest of `near` to `node` that it does not link to yet, behind its `count` links; returns the new count.
static uint32_t
add_replacements(const struct hnsw *hnsw, struct scratch *scratch, uint32_t node,
                 const uint32_t *near, uint32_t near_count, uint32_t *links, uint32_t count)
{
    code_distances(hnsw, scratch, node, near, near_count);
    for (uint32_t r = 0; r < REPLACEMENTS; r++) {
        uint32_t best = HNSW_NONE;
        for (uint32_t i = 0; i < near_count; i++)
            if (near[i] != node && !links_contain(links, count, near[i]) &&
                (best == HNSW_NONE || scratch->distances[i] < scratch->distances[best]))
                best = i;
        if (best == HNSW_NONE)
            break;
        links[count++] = near[best];
    }
    return count;
}

// Where `node` links to the erased slot: links to others instead.
static void
replace_link(struct hnsw *hnsw, struct scratch *scratch, uint32_t node, uint32_t erased,
             const uint32_t *near, uint32_t near_count)
{
    struct graph *graph = &hnsw->graph;
    uint32_t links[LINK_ROW_MAX + REPLACEMENTS];
    graph_lock(graph, node);
    const uint32_t before = graph_read_locked(graph, node, hnsw_count(hnsw), links);
    if (links_contain(links, before, erased)) {
        // Links to other erased rows stay until those are repaired: each is worth its own replacements.
        uint32_t count = 0;
        for (uint32_t i = 0; i < before; i++)
            if (links[i] != erased)
                links[count++] = links[i];
        count = add_replacements(hnsw, scratch, node, near, near_count, links, count);
        graph_choose_locked(hnsw, scratch, node, links, count, graph->links_max);
    }
    graph_unlock(graph, node);
}

// Walks to where `erased` is; gathers the nodes met and, of them, the nearest that live.
static uint32_t
look_around(const struct hnsw *hnsw, struct scratch *scratch, uint32_t erased, uint32_t *met,
            uint32_t *met_count)
{
    const uint32_t found = hnsw_neighbours(hnsw, erased, scratch);
    uint32_t own[LINK_ROW_MAX], near_count = 0;
    const uint32_t own_count = graph_read(&hnsw->graph, erased, hnsw_count(hnsw), own);
    *met_count = 0;
    for (uint32_t i = 0; i < found && *met_count < REPAIR_BEAM; i++)
        met[(*met_count)++] = nearest_slot(scratch->pool.keys[i]);
    near_count = *met_count < REPAIR_CANDIDATES ? *met_count : REPAIR_CANDIDATES;
    for (uint32_t i = 0; i < own_count; i++)
        if (linked_alive(hnsw, own[i]) && !links_contain(met, *met_count, own[i]))
            met[(*met_count)++] = own[i];
    return near_count;
}

static void
repair(struct hnsw *hnsw, struct scratch *scratch, uint32_t erased)
{
    uint32_t met[REPAIR_BEAM + LINK_ROW_MAX], met_count, own[LINK_ROW_MAX];
    const uint32_t near_count = look_around(hnsw, scratch, erased, met, &met_count);
    for (uint32_t i = 0; i < met_count; i++)
        replace_link(hnsw, scratch, met[i], erased, met, near_count);
    const uint32_t own_count = graph_read(&hnsw->graph, erased, hnsw_count(hnsw), own);
    for (uint32_t i = 0; i < own_count; i++) {
        if (!linked_alive(hnsw, own[i]))
            continue;
        uint32_t nearest[REPLACEMENTS];
        const uint32_t count = add_replacements(hnsw, scratch, own[i], met, near_count, nearest, 0);
        for (uint32_t r = 0; r < count; r++)
            link_offer(hnsw, scratch, nearest[r], own[i]);
    }
    entries_note_erased(hnsw, erased);
}

// Where most rows are dead, each repair would look far for a live neighbour, and the walk from one entry that follows
// (hnsw_reach.c) or a compaction mends all of it at once.
static bool
worth_mending(const struct hnsw *hnsw)
{
    const uint32_t erased = atomic_load_explicit(&hnsw->erased_count, memory_order_relaxed);
    return erased <= atomic_load_explicit(&hnsw->linked_count, memory_order_relaxed) / 4 * 3;
}

bool
hnsw_repair_next(struct hnsw *hnsw, struct scratch *scratch)
{
    if (hnsw->config.flat || hnsw_kind(hnsw) == CODE_NONE)
        return false;
    if (!scratch_ready(scratch, hnsw))
        return false;
    const uint32_t place = mending_enter(hnsw);
    if (place == THREADS_MAX)
        return false;
    const uint32_t slot = claim_erased(hnsw, place);
    if (slot != HNSW_NONE && worth_mending(hnsw))
        repair(hnsw, scratch, slot);
    else if (slot != HNSW_NONE)
        entries_note_erased(hnsw, slot);
    mending_leave(hnsw, place);
    return slot != HNSW_NONE || reach_next(hnsw, scratch);
}

bool
hnsw_idle(const struct hnsw *hnsw)
{
    if (hnsw->config.flat || hnsw_kind(hnsw) == CODE_NONE)
        return !hnsw_founded(hnsw) || hnsw_tail(hnsw) == 0;
    return hnsw_tail(hnsw) == 0 &&
           atomic_load_explicit(&hnsw->repaired_count, memory_order_acquire) >=
               atomic_load_explicit(&hnsw->erased_count, memory_order_acquire) &&
           !reach_due(hnsw);
}
