// router/merge.c -- joins the shards' sorted hit lists into the k nearest.
//
// Shape: value. Allocates nothing; every buffer is the caller's.
//
// While a shard is split or moves, its old and its new owner may both answer, so one id can arrive twice with two versions. The
// newest version must win even if an older one lies nearer to the query, and the older one comes first in a
// nearest-first merge. Hence two passes: learn which hit of each id counts, then merge and let only that one through.
//
// The scratch is three arrays: the hash table of hits that count (list + 1 above, place below), the heap of lists ordered by their
// next hit, and each list's place.
#include "router/merge.h"

#include <math.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/prng.h"

struct merge {
    const struct merge_list *lists;
    uint64_t *table; // 0: free
    size_t mask;
    uint64_t *heap; // of list numbers, the nearest next hit first
    uint64_t *next; // place in each list
    uint32_t heap_count;
};

int
merge_id_compare(const struct merge_hit *a, const struct merge_hit *b)
{
    if (a->text_bytes == 0 || b->text_bytes == 0) {
        if (a->text_bytes != b->text_bytes)
            return a->text_bytes == 0 ? -1 : 1;
        return a->number < b->number ? -1 : a->number > b->number;
    }
    const uint32_t shared = a->text_bytes < b->text_bytes ? a->text_bytes : b->text_bytes;
    const int order = memcmp(a->text, b->text, shared);
    if (order != 0)
        return order;
    return a->text_bytes < b->text_bytes ? -1 : a->text_bytes > b->text_bytes;
}

static bool
hit_before(const struct merge_hit *a, const struct merge_hit *b)
{
    if (a->distance != b->distance)
        return a->distance < b->distance;
    return merge_id_compare(a, b) < 0;
}

bool
merge_list_is_sound(const struct merge_list *list)
{
    if (list->count > 0 && list->hits == NULL)
        return false;
    for (uint32_t i = 0; i < list->count; i++) {
        const struct merge_hit *hit = &list->hits[i];
        if (isnan(hit->distance) || hit->text_bytes > ID_TEXT_BYTES_MAX ||
            (hit->text_bytes > 0 && hit->text == NULL))
            return false;
        if (i > 0 && !hit_before(hit - 1, hit))
            return false;
    }
    return true;
}

// At most half full.
static size_t
table_slots(size_t hits)
{
    size_t slots = 16;
    while (slots < hits * 2)
        slots *= 2;
    return slots;
}

size_t
merge_scratch_words(uint32_t list_count, size_t hits)
{
    return table_slots(hits) + (size_t)list_count * 2;
}

// ---- which hit of an id counts ----

static uint64_t
hit_name(uint32_t list, uint64_t at)
{
    return ((uint64_t)list + 1) << 32 | at;
}

static const struct merge_hit *
hit_named(const struct merge *merge, uint64_t name)
{
    return &merge->lists[(name >> 32) - 1].hits[(uint32_t)name];
}

// The slot of that id, or the free one where it belongs.
static uint64_t *
slot_of(const struct merge *merge, const struct merge_hit *hit)
{
    const uint64_t hash =
        hit->text_bytes > 0 ? hash_bytes(hit->text, hit->text_bytes) : mix64(hit->number);
    size_t at = (size_t)hash & merge->mask;
    while (merge->table[at] != 0 && merge_id_compare(hit_named(merge, merge->table[at]), hit) != 0)
        at = (at + 1) & merge->mask;
    return &merge->table[at];
}

static void
learn(struct merge *merge, uint32_t list)
{
    for (uint32_t i = 0; i < merge->lists[list].count; i++) {
        const struct merge_hit *hit = &merge->lists[list].hits[i];
        uint64_t *slot = slot_of(merge, hit);
        const struct merge_hit *other = *slot == 0 ? NULL : hit_named(merge, *slot);
        if (other == NULL || hit->version > other->version ||
            (hit->version == other->version && hit_before(hit, other)))
            *slot = hit_name(list, i);
    }
}

// ---- the heap of lists ----

static const struct merge_hit *
head_of(const struct merge *merge, uint64_t list)
{
    return &merge->lists[list].hits[merge->next[list]];
}

static void
heap_sink(struct merge *merge, uint32_t at)
{
    const uint64_t list = merge->heap[at];
    const struct merge_hit *hit = head_of(merge, list);
    for (uint32_t child = at * 2 + 1; child < merge->heap_count; child = at * 2 + 1) {
        if (child + 1 < merge->heap_count &&
            hit_before(head_of(merge, merge->heap[child + 1]), head_of(merge, merge->heap[child])))
            child++;
        if (!hit_before(head_of(merge, merge->heap[child]), hit))
            break;
        merge->heap[at] = merge->heap[child];
        at = child;
    }
    merge->heap[at] = list;
}

static void
heap_pop(struct merge *merge)
{
    const uint64_t list = merge->heap[0];
    if (++merge->next[list] == merge->lists[list].count)
        merge->heap[0] = merge->heap[--merge->heap_count];
    if (merge->heap_count > 0)
        heap_sink(merge, 0);
}

static void
begin(struct merge *merge, const struct merge_input *in, uint64_t *scratch)
{
    size_t hits = 0;
    for (uint32_t i = 0; i < in->list_count; i++)
        hits += in->lists[i].count;
    const size_t slots = table_slots(hits);
    *merge = (struct merge){.lists = in->lists,
                            .table = scratch,
                            .mask = slots - 1,
                            .heap = scratch + slots,
                            .next = scratch + slots + in->list_count};
    memset(merge->table, 0, slots * sizeof *merge->table);
    for (uint32_t i = 0; i < in->list_count; i++) {
        learn(merge, i);
        merge->next[i] = 0;
        if (in->lists[i].count > 0)
            merge->heap[merge->heap_count++] = i;
    }
    for (uint32_t i = merge->heap_count / 2; i-- > 0;)
        heap_sink(merge, i);
}

uint32_t
merge_hits(const struct merge_input *in, uint64_t *scratch, struct merge_hit *out)
{
    struct merge merge;
    begin(&merge, in, scratch);
    uint32_t count = 0;
    while (count < in->k && merge.heap_count > 0) {
        const uint64_t list = merge.heap[0];
        const struct merge_hit *hit = head_of(&merge, list);
        if (*slot_of(&merge, hit) == hit_name((uint32_t)list, merge.next[list]))
            out[count++] = *hit;
        heap_pop(&merge);
    }
    ASSERT(count <= in->k);
    return count;
}
