// index/hnsw_insert.c -- linking a row into the graph.
//
// Shape: handle.
//
// A linker claims the next row, codes it, walks to its neighbours with the paper's efConstruction, chooses links among
// what it found (prune.c), writes its own row and then offers itself to each of those it links to. Nobody can
// meet the node before its row is whole. Each writer holds one row's lock at a time, so no two wait for each
// other.
//
// A full row is pruned to less than full, so that the next few offers are appends: choosing anew costs 10 us,
// appending 50 ns. A node whom nobody takes in would never be found: it is put between its nearest neighbour and
// one of that one's links, and takes that link over.
#include "base/assert.h"
#include "index/hnsw_int.h"
#include "index/vector.h"

#define WIDER 4u // times the beam, where those that were found are dead

static uint32_t claim(struct hnsw *hnsw);
static void link_row(struct hnsw *hnsw, uint32_t slot, struct scratch *scratch);
static bool link_chosen(struct hnsw *hnsw, uint32_t slot, struct scratch *scratch);
static void finish(struct hnsw *hnsw, uint32_t slot);

// Links that a full row keeps when it is chosen anew.
static uint32_t
links_kept(const struct hnsw *hnsw)
{
    return hnsw->graph.links_max - hnsw->graph.links_max / 8;
}

// Asked before a row is claimed, because a claimed row has to be linked: without memory the tail just stays.
bool
scratch_ready(struct scratch *scratch, const struct hnsw *hnsw)
{
    return scratch_fit(scratch, hnsw, 1, hnsw->config.build_beam) == OMEN_OK &&
           scratch_fit_prune(scratch, hnsw) == OMEN_OK;
}

// The first rows, and the first after all were erased, are linked one at a time: two linkers that see no graph would
// each begin one of their own, and rows near the one would never meet rows near the other.
#define ALONE_ROWS 256u

static bool link_one(struct hnsw *hnsw, struct scratch *scratch);

bool
hnsw_link_next(struct hnsw *hnsw, struct scratch *scratch)
{
    if (hnsw->config.flat || !hnsw_found(hnsw, scratch))
        return false;
    if (!scratch_ready(scratch, hnsw))
        return false;
    if (atomic_load_explicit(&hnsw->linked_count, memory_order_acquire) >= ALONE_ROWS &&
        atomic_load_explicit(&hnsw->entries.count, memory_order_acquire) > 0)
        return link_one(hnsw, scratch);
    lock_acquire(&hnsw->found_lock);
    const bool linked = link_one(hnsw, scratch);
    lock_release(&hnsw->found_lock);
    return linked;
}

static bool
link_one(struct hnsw *hnsw, struct scratch *scratch)
{
    const uint32_t slot = claim(hnsw);
    if (slot == HNSW_NONE)
        return false;
    const bool erased = atomic_bit_test(hnsw->erased, slot);
    if (slot >= hnsw->chosen)
        hnsw_encode(hnsw, slot, scratch);
    if (!erased && !(slot < hnsw->chosen && link_chosen(hnsw, slot, scratch)))
        link_row(hnsw, slot, scratch);
    finish(hnsw, slot);
    return true;
}

// So few live neighbours that a walk has to be longer, or that nearly all was erased.
static uint32_t
neighbours_least(const struct hnsw *hnsw)
{
    const uint32_t quarter = hnsw->config.build_beam / 4u;
    return quarter < hnsw->config.links ? quarter : hnsw->config.links;
}

// Behind `count` chosen links: the nearest of the pool, from `from` on, that were erased. Walks still begin and pass there
// until those are repaired, and would not come to a row that only few others, far away, link to. A chosen one may have been
// erased since.
static uint32_t
add_erased(const struct hnsw *hnsw, const struct nearest *pool, uint32_t from, uint32_t *chosen,
           uint32_t count)
{
    const uint32_t most = count + neighbours_least(hnsw);
    for (uint32_t i = from; i < pool->count && count < most && count < hnsw->graph.links_max; i++) {
        const uint32_t slot = nearest_slot(pool->keys[i]);
        if (atomic_bit_test(hnsw->linked, slot) && atomic_bit_test(hnsw->erased, slot) &&
            !links_contain(chosen, count, slot))
            chosen[count++] = slot;
    }
    return count;
}

static void
link_row(struct hnsw *hnsw, uint32_t slot, struct scratch *scratch)
{
    const uint32_t found = hnsw_neighbours(hnsw, slot, scratch);
    uint32_t chosen[LINK_ROW_MAX];
    uint32_t count =
        prune(hnsw, scratch, slot, scratch->pool.keys, found, hnsw->graph.links_max, chosen);
    if (found < neighbours_least(hnsw) || scratch->pool.capacity > hnsw->config.build_beam)
        count = add_erased(hnsw, &scratch->pool, found, chosen, count);
    graph_lock(&hnsw->graph, slot);
    graph_write_locked(&hnsw->graph, slot, chosen, count);
    graph_unlock(&hnsw->graph, slot);

    uint32_t taken = 0;
    for (uint32_t i = 0; i < count; i++)
        taken += link_offer(hnsw, scratch, chosen[i], slot);
    if (taken == 0 && count > 0)
        link_squeeze(hnsw, slot, chosen[0]);
}

// A row that was loaded with links of its own offers itself to those that it links to, as it did when it chose them; false
// where there is none any more, or none that takes it.
static bool
link_chosen(struct hnsw *hnsw, uint32_t slot, struct scratch *scratch)
{
    uint32_t links[LINK_ROW_MAX], taken = 0;
    graph_lock(&hnsw->graph, slot);
    const uint32_t count = graph_read_locked(&hnsw->graph, slot, hnsw_count(hnsw), links);
    graph_unlock(&hnsw->graph, slot);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t other = links[i];
        const bool there = other < hnsw->chosen || atomic_bit_test(hnsw->linked, other);
        if (there && other != slot && !atomic_bit_test(hnsw->erased, other))
            taken += link_offer(hnsw, scratch, other, slot);
    }
    return taken > 0;
}

static uint32_t
claim(struct hnsw *hnsw)
{
    uint32_t slot = atomic_load_explicit(&hnsw->claimed, memory_order_relaxed);
    do {
        if (slot >= atomic_load_explicit(&hnsw->published, memory_order_acquire))
            return HNSW_NONE;
    } while (!atomic_compare_exchange_weak_explicit(&hnsw->claimed, &slot, slot + 1,
                                                    memory_order_relaxed, memory_order_relaxed));
    return slot;
}

void
hnsw_encode(struct hnsw *hnsw, uint32_t slot, struct scratch *scratch)
{
    const struct codec *codec = &hnsw->codec;
    struct byte_meta meta = {0};
    float *const prepared = scratch->vector;
    codec_prepare(codec, arena_row(&hnsw->rows, slot), codec->type, prepared);
    const float norm2 = codec->metric == METRIC_IP ? vector_norm2(prepared, codec->dim) : 0.0f;
    if (hnsw_kind(hnsw) == CODE_NIBBLE) {
        codec_rotate(codec, prepared, scratch->rotated);
        codec_encode(codec, scratch->rotated, norm2, scratch->codes, arena_row(&hnsw->high, slot),
                     arena_row(&hnsw->low, slot), &meta);
    } else {
        meta.norm = codec->metric == METRIC_IP ? codec_extra_signed(codec, norm2) : 0.0f;
    }
    memcpy(arena_row(&hnsw->meta, slot), &meta, sizeof meta);
}

// Walks with a beam to the row's neighbours; of those in the pool, the live linked ones go to `slots`. Under ip it asks as a user
// would, for the largest products: what it links to is then what leads to answers. The nearest rows, all lengths made equal, are as
// short as itself, and of rows whose lengths differ walks found half as much or less (20,000 x 384, lengths e^N(0, 0.25), ef 64:
// 0.61 instead of 0.98).
static uint32_t
walk_to_neighbours(const struct hnsw *hnsw, uint32_t slot, struct scratch *scratch, uint32_t beam,
                   uint32_t *slots)
{
    struct walk walk = {.beam = beam, .capacity = beam, .k = 1, .excluded = HNSW_NONE};
    codec_prepare(&hnsw->codec, arena_row(&hnsw->rows, slot), hnsw->config.type, scratch->vector);
    const struct row_query exact = {.vector = scratch->vector,
                                    .whole = row_as_integers(hnsw, slot)};
    walk_init(&walk, hnsw, scratch, &exact);
    scratch->pool = (struct nearest){.keys = scratch->pool.keys, .capacity = beam};
    scratch_clear_visited(scratch);
    scratch_visit(scratch, slot);
    walk_enter(&walk, 1, NULL);
    walk_run(&walk);

    uint32_t count = 0;
    for (uint32_t i = 0; i < scratch->pool.count && count < PRUNE_CANDIDATES_MAX; i++) {
        const uint32_t other = nearest_slot(scratch->pool.keys[i]);
        if (linked_alive(hnsw, other))
            slots[count++] = other;
    }
    return count;
}

uint32_t
hnsw_neighbours(const struct hnsw *hnsw, uint32_t slot, struct scratch *scratch)
{
    uint32_t slots[PRUNE_CANDIDATES_MAX], beam = hnsw->config.build_beam;
    uint32_t count = walk_to_neighbours(hnsw, slot, scratch, beam, slots);
    // Among rows that were erased together and not repaired yet, the list fills with them: look beyond.
    const uint32_t least = neighbours_least(hnsw);
    while (count < least && scratch->pool.count == beam && beam < BEAM_MAX) {
        beam = beam < BEAM_MAX / WIDER ? beam * WIDER : BEAM_MAX;
        if (scratch_fit(scratch, hnsw, 1, beam) != OMEN_OK)
            break;
        count = walk_to_neighbours(hnsw, slot, scratch, beam, slots);
    }
    uint64_t *keys = scratch->pool.keys;
    code_distances(hnsw, scratch, slot, slots, count);
    for (uint32_t i = 0; i < count; i++)
        keys[i] = nearest_key(scratch->distances[i], slots[i]);
    nearest_sort(keys, count); // nearly: by the high plane, corrected by both planes
    return count;
}

void
graph_choose_locked(struct hnsw *hnsw, struct scratch *scratch, uint32_t node,
                    const uint32_t *links, uint32_t count, uint32_t keep)
{
    if (count <= hnsw->graph.links_max) {
        graph_write_locked(&hnsw->graph, node, links, count);
        return;
    }
    code_distances(hnsw, scratch, node, links, count);
    for (uint32_t i = 0; i < count; i++)
        scratch->candidates[i] = nearest_key(scratch->distances[i], links[i]);
    nearest_sort(scratch->candidates, count);
    const uint32_t kept =
        prune(hnsw, scratch, node, scratch->candidates, count, keep, scratch->chosen);
    graph_write_locked(&hnsw->graph, node, scratch->chosen, kept);
}

// Whether the target is equal to the node, whose row has its share of such links. Choosing anew would cut off the others
// of them, as near as it, and where thousands of rows are equal leave most without a link.
static bool
twin_too_many(const struct hnsw *hnsw, struct scratch *scratch, uint32_t node,
              const uint32_t *links, uint32_t count, uint32_t target)
{
    code_distances(hnsw, scratch, node, &target, 1);
    if (scratch->distances[0] > 0.0f)
        return false;
    code_distances(hnsw, scratch, node, links, count);
    uint32_t twins = 0;
    for (uint32_t i = 0; i < count; i++)
        twins += scratch->distances[i] == 0.0f;
    return twins >= links_kept(hnsw) / 4;
}

bool
link_offer(struct hnsw *hnsw, struct scratch *scratch, uint32_t node, uint32_t target)
{
    struct graph *graph = &hnsw->graph;
    uint32_t links[LINK_ROW_MAX + 1];
    bool there = true;
    graph_lock(graph, node);
    uint32_t count = graph_read_locked(graph, node, hnsw_count(hnsw), links);
    if (links_contain(links, count, target)) {
        // Somebody else was first.
    } else if (count < graph->links_max) {
        graph_append_locked(graph, node, count, target);
    } else if (twin_too_many(hnsw, scratch, node, links, count, target)) {
        there = false;
    } else {
        links[count++] = target;
        graph_choose_locked(hnsw, scratch, node, links, count, links_kept(hnsw));
        count = graph_read_locked(graph, node, hnsw_count(hnsw), links);
        there = links_contain(links, count, target);
    }
    graph_unlock(graph, node);
    return there;
}

bool
link_append(struct hnsw *hnsw, uint32_t node, uint32_t target)
{
    struct graph *graph = &hnsw->graph;
    uint32_t links[LINK_ROW_MAX];
    graph_lock(graph, node);
    const uint32_t count = graph_read_locked(graph, node, hnsw_count(hnsw), links);
    bool there = links_contain(links, count, target);
    if (!there && count < graph->links_max) {
        graph_append_locked(graph, node, count, target);
        there = true;
    }
    graph_unlock(graph, node);
    return there;
}

void
link_squeeze(struct hnsw *hnsw, uint32_t slot, uint32_t neighbour)
{
    struct graph *graph = &hnsw->graph;
    uint32_t links[LINK_ROW_MAX], moved = HNSW_NONE;
    graph_lock(graph, neighbour);
    uint32_t count = graph_read_locked(graph, neighbour, hnsw_count(hnsw), links);
    if (links_contain(links, count, slot)) {
        // Somebody else was first.
    } else if (count == graph->links_max) {
        moved = links[count - 1];
        links[count - 1] = slot;
        graph_write_locked(graph, neighbour, links, count);
    } else {
        graph_append_locked(graph, neighbour, count, slot);
    }
    graph_unlock(graph, neighbour);
    if (moved == HNSW_NONE || moved == slot)
        return;
    graph_lock(graph, slot);
    count = graph_read_locked(graph, slot, hnsw_count(hnsw), links);
    if (!links_contain(links, count, moved)) {
        if (count < graph->links_max)
            count++;
        links[count - 1] = moved;
        graph_write_locked(graph, slot, links, count);
    }
    graph_unlock(graph, slot);
}

static bool
linked_now(const struct hnsw *hnsw, uint32_t slot)
{
    return (atomic_load_explicit(&hnsw->linked[slot >> 6], memory_order_seq_cst) >> (slot & 63) &
            1) != 0;
}

// Moves the prefix over what is linked without a gap. Every linker sets its bit and then looks from the prefix on; the
// bits are set and read in one order that all threads agree on, so of two neighbours the later one sees both.
static void
finish(struct hnsw *hnsw, uint32_t slot)
{
    atomic_fetch_or_explicit(&hnsw->linked[slot >> 6], 1ull << (slot & 63), memory_order_seq_cst);
    const uint32_t nth =
        atomic_fetch_add_explicit(&hnsw->linked_count, 1, memory_order_acq_rel) + 1;
    entries_note_linked(hnsw, slot, nth);
    uint32_t prefix = atomic_load_explicit(&hnsw->linked_prefix, memory_order_seq_cst);
    while (prefix < hnsw->config.slots_max && linked_now(hnsw, prefix)) {
        if (atomic_compare_exchange_weak_explicit(&hnsw->linked_prefix, &prefix, prefix + 1,
                                                  memory_order_seq_cst, memory_order_seq_cst))
            prefix++;
    }
}
