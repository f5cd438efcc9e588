// index/hnsw_reach.c -- every live row can be reached from the entries.
//
// Shape: handle.
//
// Rows lose in-links when their neighbours choose anew, and about one in a thousand loses the last one; a group may
// lose its last link from outside. So, when the index has grown by a part and nobody has anything else to do, a
// worker follows all links from one entry and gives every live row that it did not meet a link from its nearest row that
// it did. It walks 1M rows in about half a second, against minutes for linking them.
//
// On the way it ends the links to rows that were erased and repaired, which repair did not meet. Few lead from the living
// to the dead, but where many neighbours were erased together, a walk that takes one finds its list full of them.
#include "base/alloc.h"
#include "base/assert.h"
#include "index/hnsw_int.h"

#define NEIGHBOURS_TRIED 8u
#define STACK_FIRST 4096u

struct stack {
    uint32_t *slots;
    size_t count, capacity;
};

static bool
stack_push(struct stack *stack, uint32_t slot)
{
    if (stack->count == stack->capacity) {
        const size_t capacity = stack->capacity > 0 ? stack->capacity * 2 : STACK_FIRST;
        uint32_t *slots = mem_resize(stack->slots, capacity * sizeof *slots);
        if (slots == NULL)
            return false;
        stack->slots = slots;
        stack->capacity = capacity;
    }
    stack->slots[stack->count++] = slot;
    return true;
}

static bool
mark(uint64_t *reached, uint32_t slot)
{
    const uint64_t bit = 1ull << (slot & 63);
    const bool fresh = (reached[slot >> 6] & bit) == 0;
    reached[slot >> 6] |= bit;
    return fresh;
}

// Marks what the stack's slots lead to.
static bool
spread(const struct hnsw *hnsw, uint32_t limit, uint64_t *reached, struct stack *stack)
{
    uint32_t links[LINK_ROW_MAX];
    while (stack->count > 0) {
        const uint32_t slot = stack->slots[--stack->count];
        const uint32_t count = graph_read(&hnsw->graph, slot, limit, links);
        for (uint32_t i = 0; i < count; i++) {
            if (!mark(reached, links[i]))
                continue;
            graph_prefetch(&hnsw->graph, links[i]);
            if (!stack_push(stack, links[i]))
                return false;
        }
    }
    return true;
}

// From one entry only: rows that only another one leads to are a graph of their own, whose members and ours would not
// find each other.
static bool
mark_from_entry(const struct hnsw *hnsw, uint32_t limit, uint64_t *reached, struct stack *stack)
{
    if (atomic_load_explicit(&hnsw->entries.count, memory_order_acquire) == 0)
        return true;
    const uint32_t slot = atomic_load_explicit(&hnsw->entries.slots[0], memory_order_acquire);
    if (slot < limit && mark(reached, slot) && !stack_push(stack, slot))
        return false;
    return spread(hnsw, limit, reached, stack);
}

bool
reach_mark(const struct hnsw *hnsw, uint32_t limit, uint64_t *reached)
{
    struct stack stack = {0};
    const bool whole = mark_from_entry(hnsw, limit, reached, &stack);
    mem_free(stack.slots);
    return whole;
}

static bool
is_reached(const uint64_t *reached, uint32_t slot)
{
    return (reached[slot >> 6] >> (slot & 63) & 1) != 0;
}

// The nearest of the entries that are reached; HNSW_NONE when there is none.
static uint32_t
nearest_entry(const struct hnsw *hnsw, struct scratch *scratch, uint32_t slot,
              const uint64_t *reached, uint32_t limit)
{
    uint32_t slots[PRUNE_CANDIDATES_MAX], count = 0, best = 0;
    const uint32_t entries = atomic_load_explicit(&hnsw->entries.count, memory_order_acquire);
    for (uint32_t i = 0; i < entries && count < PRUNE_CANDIDATES_MAX; i++) {
        const uint32_t entry = atomic_load_explicit(&hnsw->entries.slots[i], memory_order_acquire);
        if (entry < limit && entry != slot && is_reached(reached, entry))
            slots[count++] = entry;
    }
    if (count == 0)
        return HNSW_NONE;
    code_distances(hnsw, scratch, slot, slots, count);
    for (uint32_t i = 1; i < count; i++)
        if (scratch->distances[i] < scratch->distances[best])
            best = i;
    return slots[best];
}

// Gives `slot` a link from a near row that is reached. No row chooses anew for it, which might cut off another: the link
// is appended where there is room, else it takes the place of one whose end `slot` then links to.
static void
connect(struct hnsw *hnsw, struct scratch *scratch, uint32_t slot, const uint64_t *reached,
        uint32_t limit)
{
    const uint32_t found = hnsw_neighbours(hnsw, slot, scratch);
    uint32_t nearest[NEIGHBOURS_TRIED], count = 0;
    for (uint32_t i = 0; i < found && count < NEIGHBOURS_TRIED; i++) {
        const uint32_t other = nearest_slot(scratch->pool.keys[i]);
        if (other < limit && is_reached(reached, other))
            nearest[count++] = other;
    }
    if (count == 0) { // all that is near is cut off as well
        nearest[0] = nearest_entry(hnsw, scratch, slot, reached, limit);
        count = nearest[0] != HNSW_NONE;
    }
    for (uint32_t i = 0; i < count; i++)
        if (link_append(hnsw, nearest[i], slot))
            return;
    // Not always the nearest: where thousands of rows are equal, all of them have the same one.
    if (count > 0)
        link_squeeze(hnsw, slot, nearest[slot % count]);
}

// Where `slot` links to repaired rows: links to what these link to and lives instead.
static void
forget_repaired(struct hnsw *hnsw, struct scratch *scratch, uint32_t slot, uint32_t limit)
{
    uint32_t own[LINK_ROW_MAX], theirs[LINK_ROW_MAX], links[PRUNE_CANDIDATES_MAX],
        beyond[PRUNE_CANDIDATES_MAX];
    uint32_t own_count = graph_read(&hnsw->graph, slot, limit, own), others = 0, dead = 0,
             count = 0;
    for (uint32_t i = 0; i < own_count; i++) {
        if (!atomic_bit_test(hnsw->repaired, own[i]))
            continue;
        dead++;
        const uint32_t their_count = graph_read(&hnsw->graph, own[i], limit, theirs);
        for (uint32_t j = 0; j < their_count && others < PRUNE_CANDIDATES_MAX - LINK_ROW_MAX; j++)
            if (!atomic_bit_test(hnsw->erased, theirs[j]) &&
                atomic_bit_test(hnsw->linked, theirs[j]))
                beyond[others++] = theirs[j];
    }
    if (dead == 0)
        return;
    // Read again: others may have written meanwhile. No second row is read while this one's lock is held.
    graph_lock(&hnsw->graph, slot);
    own_count = graph_read_locked(&hnsw->graph, slot, hnsw_count(hnsw), own);
    for (uint32_t i = 0; i < own_count; i++)
        if (!atomic_bit_test(hnsw->repaired, own[i]))
            links[count++] = own[i];
    for (uint32_t i = 0; i < others; i++)
        if (beyond[i] != slot && !links_contain(links, count, beyond[i]))
            links[count++] = beyond[i];
    graph_choose_locked(hnsw, scratch, slot, links, count, hnsw->graph.links_max);
    graph_unlock(&hnsw->graph, slot);
}

static void
reach_repair(struct hnsw *hnsw, struct scratch *scratch)
{
    const uint32_t limit = atomic_load_explicit(&hnsw->linked_prefix, memory_order_acquire);
    struct stack stack = {0};
    uint64_t *reached = mem_alloc_zero(bitmap_words(hnsw_count(hnsw)) + 1, sizeof *reached);
    for (uint32_t slot = 0; slot < limit; slot++)
        if (!atomic_bit_test(hnsw->erased, slot))
            forget_repaired(hnsw, scratch, slot, limit);
    // Without memory for it there is no repair now; the next growth asks again.
    if (reached != NULL && mark_from_entry(hnsw, limit, reached, &stack)) {
        for (uint32_t slot = 0; slot < limit; slot++) {
            if (is_reached(reached, slot) || atomic_bit_test(hnsw->erased, slot))
                continue;
            connect(hnsw, scratch, slot, reached, limit);
            mark(reached, slot);
            if (!stack_push(&stack, slot) || !spread(hnsw, limit, reached, &stack))
                break;
        }
    }
    mem_free(stack.slots);
    mem_free(reached);
}

// Due again when a twenty-fifth more rows were linked or repaired, at least 256.
static uint32_t
events(const struct hnsw *hnsw)
{
    return atomic_load_explicit(&hnsw->linked_count, memory_order_acquire) +
           atomic_load_explicit(&hnsw->repaired_count, memory_order_acquire);
}

bool
reach_due(const struct hnsw *hnsw)
{
    const uint32_t done = atomic_load_explicit(&hnsw->reach_events, memory_order_acquire);
    const uint32_t grown = events(hnsw) - done;
    return grown >= 256 && grown >= done / 25;
}

bool
reach_next(struct hnsw *hnsw, struct scratch *scratch)
{
    if (!reach_due(hnsw) || !lock_try(&hnsw->reach_lock))
        return false;
    const bool due = reach_due(hnsw);
    if (due) {
        const uint32_t now = events(hnsw);
        reach_repair(hnsw, scratch);
        atomic_store_explicit(&hnsw->reach_events, now, memory_order_release);
    }
    lock_release(&hnsw->reach_lock);
    return due;
}
