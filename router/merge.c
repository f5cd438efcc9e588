// router/merge.c -- joins the shards' sorted hit lists into the k nearest.
//
// Shape: value. Allocates nothing; every buffer is the caller's.
//
// While a shard is split or moves, its old and its new owner may both answer, so one id can arrive twice with two versions. The
// newest version must win even if an older one lies nearer to the query, and the older one comes first in a nearest-first merge.
// So whoever comes out of the merge is a candidate only. k of them are taken; then all hits are looked at once, and a candidate
// of whose id there is a newer one falls. Where too few stand it begins again with twice as many: nearly never, and then at most
// as often as the hits can be halved. Of 64 lists of 10 hits the table has 10 ids and stays in the first level of the cache; a
// table of all 640 took three times as long.
//
// The lists meet in a tree of winners (Knuth, TAOCP 3, 5.4.1): a leaf has a list's next hit, an inner node the nearer of its two.
// Which of two is nearer is chance, so it must not be a jump, as in a heap, where most are mispredicted: of 64 lists of 10, never the
// same ones twice, 1.30 us instead of 1.45. Most of both is the look at all hits.
//
// The scratch is four arrays: the hash table of the candidates' ids, each with the hit that counts (list + 1 above, place below),
// the candidates in their order, the tree, and each list's place. An entry of the tree holds the distance as a number that orders
// as it does, so hits are looked at only where two are equally far.
#include "router/merge.h"

#include <math.h>
#include <string.h>

#include "base/assert.h"
#include "base/float_bits.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/prng.h"

#define MARK_BITS 10u
#define NO_MORE UINT64_MAX // behind every hit: no distance orders so high that is a number

struct merge {
    const struct merge_list *lists;
    uint64_t *table; // 0: free
    size_t mask;
    uint64_t *candidates;
    // Of list i at leaves + i: the order of its next hit's distance above, i below; NO_MORE behind its last hit. The children of j are
    // 2 j and 2 j + 1.
    uint64_t *tree;
    uint64_t *next; // place in each list
    uint32_t leaves;
    uint8_t marks[1u << MARK_BITS]; // of the candidates' ids: not 0 says "perhaps"
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
table_slots(size_t candidates)
{
    size_t slots = 16;
    while (slots < candidates * 2)
        slots *= 2;
    return slots;
}

static uint32_t
leaves_for(uint32_t list_count)
{
    uint32_t leaves = 1;
    while (leaves < list_count)
        leaves *= 2;
    return leaves;
}

size_t
merge_scratch_words(uint32_t list_count, size_t hits)
{
    return table_slots(hits) + hits + (size_t)leaves_for(list_count) * 2 + list_count;
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

static inline uint64_t
hash_of(const struct merge_hit *hit)
{
    return hit->text_bytes > 0 ? hash_bytes(hit->text, hit->text_bytes) : mix64(hit->number);
}

// The slot of that id, or the free one where it belongs.
static uint64_t *
slot_of(const struct merge *merge, const struct merge_hit *hit)
{
    size_t at = (size_t)hash_of(hit) & merge->mask;
    while (merge->table[at] != 0 && merge_id_compare(hit_named(merge, merge->table[at]), hit) != 0)
        at = (at + 1) & merge->mask;
    return &merge->table[at];
}

// Whether the hit counts and not the other one of its id.
static bool
is_newer(const struct merge_hit *hit, const struct merge_hit *other)
{
    return hit->version > other->version ||
           (hit->version == other->version && hit_before(hit, other));
}

// One multiplication, for what is asked of every hit.
static inline uint32_t
mark_of(const struct merge_hit *hit)
{
    const uint64_t id = hit->text_bytes > 0 ? hash_bytes(hit->text, hit->text_bytes) : hit->number;
    return (uint32_t)(id * 0x9e3779b97f4a7c15ull >> (64 - MARK_BITS));
}

// Who is no candidate's is left out.
static void
compare_all(struct merge *merge, const struct merge_input *in)
{
    for (uint32_t list = 0; list < in->list_count; list++) {
        const struct merge_hit *hits = in->lists[list].hits;
        const uint32_t count = in->lists[list].count;
        for (uint32_t i = 0; i < count; i++) {
            if (merge->marks[mark_of(&hits[i])] == 0)
                continue; // mostly
            uint64_t *slot = slot_of(merge, &hits[i]);
            if (*slot != 0 && is_newer(&hits[i], hit_named(merge, *slot)))
                *slot = hit_name(list, i);
        }
    }
}

// ---- the tree of lists ----

static const struct merge_hit *
head_of(const struct merge *merge, uint64_t entry)
{
    const uint32_t list = (uint32_t)entry;
    return &merge->lists[list].hits[merge->next[list]];
}

// The bits of a distance so that they grow as it does. Both zeros are one.
static inline uint64_t
order_of(float distance)
{
    const uint32_t bits = float_bits(distance + 0.0f);
    return bits ^ (bits >> 31 != 0 ? UINT32_MAX : UINT32_C(1) << 31);
}

static inline uint64_t
entry_of(const struct merge *merge, uint32_t list)
{
    const struct merge_list *from = &merge->lists[list];
    const uint64_t at = merge->next[list];
    return at == from->count ? NO_MORE : order_of(from->hits[at].distance) << 32 | list;
}

// Seldom asked.
static uint64_t
nearer_of_equals(const struct merge *merge, uint64_t a, uint64_t b)
{
    if (a == NO_MORE || b == NO_MORE)
        return a < b ? a : b;
    return merge_id_compare(head_of(merge, b), head_of(merge, a)) < 0 ? b : a;
}

static inline void
match(struct merge *merge, uint32_t node)
{
    const uint64_t a = merge->tree[2 * node], b = merge->tree[2 * node + 1];
    if (__builtin_expect(a >> 32 == b >> 32, 0))
        merge->tree[node] = nearer_of_equals(merge, a, b);
    else
        merge->tree[node] = a < b ? a : b;
}

// The winner's list goes on to its next hit.
static void
advance(struct merge *merge, uint32_t list)
{
    uint32_t node = merge->leaves + list;
    merge->next[list]++;
    merge->tree[node] = entry_of(merge, list);
    while ((node /= 2) > 0)
        match(merge, node);
}

static void
begin(struct merge *merge, const struct merge_input *in, uint32_t candidates)
{
    merge->mask = table_slots(candidates) - 1;
    memset(merge->marks, 0, sizeof merge->marks);
    memset(merge->table, 0, (merge->mask + 1) * sizeof *merge->table);
    for (uint32_t i = 0; i < in->list_count; i++) {
        merge->next[i] = 0;
        merge->tree[merge->leaves + i] = entry_of(merge, i);
    }
    for (uint32_t i = in->list_count; i < merge->leaves; i++)
        merge->tree[merge->leaves + i] = NO_MORE;
    for (uint32_t node = merge->leaves; --node > 0;)
        match(merge, node);
}

// The nearest ones, at most so many, and of each id one into the table.
static uint32_t
take_candidates(struct merge *merge, uint32_t wanted)
{
    uint32_t count = 0;
    for (; count < wanted && merge->tree[1] != NO_MORE; count++) {
        const uint32_t list = (uint32_t)merge->tree[1];
        const struct merge_hit *hit = head_of(merge, list);
        uint64_t *slot = slot_of(merge, hit);
        merge->candidates[count] = hit_name(list, merge->next[list]);
        merge->marks[mark_of(hit)] = 1;
        if (*slot == 0)
            *slot = merge->candidates[count];
        advance(merge, list);
    }
    return count;
}

uint32_t
merge_hits(const struct merge_input *in, uint64_t *scratch, struct merge_hit *out)
{
    size_t hits = 0;
    for (uint32_t i = 0; i < in->list_count; i++)
        hits += in->lists[i].count;
    struct merge merge = {.lists = in->lists, .table = scratch};
    merge.leaves = leaves_for(in->list_count);
    merge.candidates = scratch + table_slots(hits);
    merge.tree = merge.candidates + hits;
    merge.next = merge.tree + (size_t)merge.leaves * 2;
    uint32_t count = 0;
    for (size_t wanted = in->k;; wanted *= 2) {
        wanted = wanted < hits ? wanted : hits;
        begin(&merge, in, (uint32_t)wanted);
        const uint32_t taken = take_candidates(&merge, (uint32_t)wanted);
        compare_all(&merge, in);
        count = 0;
        for (uint32_t i = 0; i < taken && count < in->k; i++) {
            const struct merge_hit *hit = hit_named(&merge, merge.candidates[i]);
            if (*slot_of(&merge, hit) == merge.candidates[i])
                out[count++] = *hit;
        }
        if (count == in->k || wanted == hits)
            break;
    }
    ASSERT(count <= in->k);
    return count;
}
