// index/hnsw_filter.c -- searching when only some rows may answer.
//
// Shape: handle (reads only).
//
// Four ways, chosen by how many rows the filter lets through:
// - few: their codes are compared, all of them, in slot order. Nothing beats it, and nothing is missed;
// - most: the plain walk with a longer list, from which the others are struck out at the end;
// - many: a walk over all rows that collects those that pass, until the next in line is farther than enough of
//   them; so where few pass it goes on longer. It compares rows that fail, which is cheap only while codes are short
//   and not too many fail. What it asks for grows with the square root of the share, which makes a beam's recall
//   about what it is without a filter. Where it meets hardly any that pass, it begins anew as:
// - fewer: only rows that may answer are compared and kept. Where most of a node's links fail, the links of the
//   failing ones are taken in their place (the two hops of ACORN, Patel et al. 2024), which keeps the graph of those
//   that pass connected. The choice is made at each node by how many of its links pass (NaviX, Sehgal & Salihoglu
//   2025), because filters are correlated with place. While nobody that passes is known, the nearest failing
//   rows lead on; afterwards they would fill the list, where the query lies among them.
//
// A walk that has compared more rows than the filter lets through, or that came home with fewer than k, has lost to
// the scan, which then finishes the job: so a filtered search costs at most about two scans.
#include <math.h>

#include "base/assert.h"
#include "base/os_clock.h"
#include "index/hnsw_int.h"

// Of the rows: from there on the plain walk.
#define PLAIN_SHARE 0.9f
// Rows that a scan compares in the time of one comparison of a filtered walk, 13 ns to 60, and then some, because a
// scan misses nothing.
#define SCAN_FACTOR 6.0f
#define EVALUATIONS_PER_BEAM 18u
#define EVALUATIONS_BASE 400u
#define SEEDS 4u
// Of the rows: from there on a walk collects, with codes of at most LINES_SHORT lines and with longer ones. Measured at
// 10 % of 90,000 x 384 (3 lines): 62 us, stepping over failing rows 86; of 60,000 x 784 (7 lines), at 10 %: 73 and 48, at
// half: 30 and 30, and 43 and 36 where the query lies among those that fail.
#define COLLECT_SHARE 0.05f
#define COLLECT_SHARE_LONG 0.6f
#define LINES_SHORT 4u
// Of the members that a walk looks for: as far as those failing rows lead on. At 90,000 x 384 a walk compares a fifth less
// and takes 6 to 9 % less time for the same recall, at 10 % and at half; with a third it is as fast, but needs a longer
// beam. A code of one line is compared in less time than the nodes take that are followed in its place (200,000 x 128).
#define GUIDED_SHARE 0.6f
// Looked at when a filter of no place would have let 32 through. Around here fewer pass than collecting is good for, or far
// fewer than elsewhere.
#define PROBE_EXPECTED 32.0f
#define PROBE_PASSES_MIN 8u
// Behind failing rows the links looked at for one that passes grow as one over the share, and with them what is worth
// scanning: at 1 % of 90,000 such a walk takes 450 us, the scan 20.
#define SCAN_SHARE 0.64f
#define DEADLINE_CODES 2048u
// A filter up to this size, of 262,144 rows, is asked for whole: 512 lines at most.
#define BITS_AHEAD_BYTES 32768u

void
scan_codes(struct walk *walk, const struct hnsw_query *query, uint32_t tail_from)
{
    const struct hnsw *hnsw = walk->hnsw;
    const struct arena *arena = walk->kind == CODE_NIBBLE ? &hnsw->high : &hnsw->rows;
    const struct bitmap *allowed = query->allowed;
    uint32_t slots[2][BATCH_MAX], counts[2] = {0, 0}, turn = 0, since_clock = 0;
    const uint32_t end = allowed == NULL || tail_from < allowed->count ? tail_from : allowed->count;
    walk->scratch->pool.count = 0;
    for (uint32_t word = 0; word <= bitmap_words(end); word++) {
        uint64_t bits = 0;
        if (word < bitmap_words(end))
            bits = (allowed != NULL ? allowed->words[word] : UINT64_MAX) &
                   ~atomic_load_explicit(&hnsw->erased[word], memory_order_relaxed);
        if (word == end / 64)
            bits &= (1ull << (end & 63)) - 1;
        const bool last = word == bitmap_words(end);
        while (bits != 0 || last) {
            if (bits != 0) {
                const uint32_t slot = word * 64 + (uint32_t)__builtin_ctzll(bits);
                bits &= bits - 1;
                if (slot == query->excluded)
                    continue;
                prefetch_lines(arena_row(arena, slot), arena->row_bytes);
                slots[turn][counts[turn]++] = slot;
            }
            if (counts[turn] < BATCH_MAX && !last)
                continue;
            // The other batch's codes have had one batch's time to arrive.
            turn ^= 1;
            walk_collect(walk, slots[turn], counts[turn]);
            since_clock += counts[turn];
            counts[turn] = 0;
            if (walk->deadline_ns != 0 && since_clock >= DEADLINE_CODES) {
                since_clock = 0;
                walk->cut = os_clock_ns() > walk->deadline_ns;
                if (walk->cut)
                    return;
            }
            if (last && counts[turn ^ 1] == 0)
                return;
        }
    }
}

// Rows that pass and are near: the sampled ones, and a few at even distances where the sample holds none.
static void
seed(struct walk *walk, const struct hnsw_query *query, uint32_t tail_from)
{
    const struct bitmap *allowed = query->allowed;
    struct nearest *pool = &walk->scratch->pool;
    uint32_t slots[SEEDS], count = 0;
    const uint32_t words = bitmap_words(tail_from < allowed->count ? tail_from : allowed->count);
    for (uint32_t s = 0; s < SEEDS && words > 0; s++) {
        const uint32_t from = (uint32_t)((uint64_t)words * s / SEEDS);
        const uint32_t to = (uint32_t)((uint64_t)words * (s + 1) / SEEDS);
        uint32_t word = from;
        while (word < to && allowed->words[word] == 0)
            word++;
        if (word == to)
            continue;
        const uint32_t slot = word * 64 + (uint32_t)__builtin_ctzll(allowed->words[word]);
        if (slot < walk->limit && slot < tail_from && !scratch_visit(walk->scratch, slot))
            slots[count++] = slot;
    }
    if (count == 0)
        return;
    float distances[BATCH_MAX];
    walk_measure(walk, slots, count, INFINITY, distances);
    for (uint32_t i = 0; i < count; i++)
        nearest_insert(pool, nearest_key(distances[i], slots[i]));
    walk->evaluations += count;
}

static uint32_t
count_members(const struct walk *walk, const struct hnsw_query *query)
{
    const struct nearest *pool = &walk->scratch->pool;
    uint32_t members = 0;
    for (uint32_t i = 0; i < pool->count && members < query->k; i++)
        members += may_answer(walk->hnsw, query, nearest_slot(pool->keys[i]));
    return members;
}

// Bytes of a comparison.
static size_t
code_bytes(const struct walk *walk)
{
    const struct hnsw *hnsw = walk->hnsw;
    return walk->kind == CODE_NIBBLE ? hnsw->high.row_bytes : hnsw->rows.row_bytes;
}

static float
collect_share(const struct walk *walk)
{
    return code_bytes(walk) <= (size_t)LINES_SHORT * 64 ? COLLECT_SHARE : COLLECT_SHARE_LONG;
}

static void
exchange_lists(struct scratch *scratch)
{
    const struct nearest pool = scratch->pool;
    scratch->pool = scratch->members;
    scratch->members = pool;
}

// A walk over all rows that leaves those that pass in scratch->members; true when it found enough, or was cut.
static bool
collect(struct walk *walk, const struct hnsw_query *query, float share)
{
    struct scratch *scratch = walk->scratch;
    struct nearest *pool = &scratch->pool, *members = &scratch->members;
    const uint32_t k = query->k;
    uint32_t wanted = k;
    if (walk->beam > k)
        wanted += (uint32_t)ceilf((float)(walk->beam - k) * sqrtf(share));
    const uint32_t room = scratch->pool_room;
    const float twice = 2.0f * (float)wanted / share;
    pool->capacity = twice < (float)room ? (uint32_t)twice : room;
    *members = (struct nearest){.keys = members->keys, .capacity = walk->capacity};
    walk->members_of = query;
    walk->members_wanted = wanted;
    walk->members_guiding = wanted;
    if (code_bytes(walk) > 64)
        walk->members_guiding = (uint32_t)ceilf((float)wanted * GUIDED_SHARE);
    walk->by_answers = query->rerank == 0;
    walk->evaluations_max = query->allowed_count;
    walk_enter(walk, 1, NULL);
    const float probed = PROBE_EXPECTED / share, due = probed * collect_share(walk);
    walk->probe_at = walk->evaluations + (uint64_t)probed;
    walk->probe_passes = due > PROBE_PASSES_MIN ? (uint32_t)due : PROBE_PASSES_MIN;
    for (uint32_t i = 0; i < pool->count; i++)
        if (may_answer(walk->hnsw, query, nearest_slot(pool->keys[i])))
            nearest_insert(members, pool->keys[i]);
    walk_run(walk);
    walk->members_of = NULL;
    const bool lost = walk->evaluations > walk->evaluations_max || walk->strayed;
    return walk->cut || (!lost && members->count >= wanted);
}

// Forgets a walk, but not what it cost.
static void
begin_anew(struct walk *walk)
{
    struct scratch *scratch = walk->scratch;
    scratch_clear_visited(scratch);
    if (walk->excluded < walk->limit)
        scratch_visit(scratch, walk->excluded);
    scratch->pool.count = 0;
    scratch->pool.capacity = walk->capacity;
    walk->passed = 0;
    walk->by_answers = false;
    walk->strayed = false;
}

// Leaves in the pool, among others, rows that pass; true when it found enough, or was cut.
static bool
step_over(struct walk *walk, const struct hnsw_query *query, uint32_t tail_from)
{
    // The bits of links are looked at as soon as the links are known, too late to ask for them.
    const size_t bytes = (size_t)bitmap_words(query->allowed->count) * sizeof(uint64_t);
    if (bytes <= BITS_AHEAD_BYTES)
        prefetch_lines(query->allowed->words, bytes);
    walk->allowed = query->allowed;
    walk->evaluations_max = query->allowed_count;
    walk_enter(walk, 1, NULL);
    walk_enter(walk, SEEDS, query->allowed);
    seed(walk, query, tail_from);
    walk->passed = count_members(walk, query);
    walk_run(walk);
    if (walk->cut)
        return true;
    return walk->evaluations <= walk->evaluations_max && count_members(walk, query) >= query->k;
}

static bool
walk_longer(struct walk *walk, const struct hnsw_query *query, float share)
{
    // As many that pass in the list as without a filter.
    const float longer = share < 1.0f ? (float)walk->beam / share : (float)walk->beam;
    const uint32_t room = walk->scratch->pool_room;
    walk->beam = (uint32_t)longer < room ? (uint32_t)longer : room;
    walk->capacity = walk->capacity > walk->beam ? walk->capacity : walk->beam;
    walk->scratch->pool.capacity = walk->capacity;
    walk_enter(walk, 1, NULL);
    walk_run(walk);
    return walk->cut || count_members(walk, query) >= query->k;
}

enum hnsw_strategy
filter_search(struct walk *walk, const struct hnsw_query *query, const struct row_query *exact,
              uint32_t tail_from, struct hit_heap *heap)
{
    struct scratch *scratch = walk->scratch;
    const uint32_t rows = tail_from > 0 ? tail_from : 1;
    const float share = (float)query->allowed_count / (float)rows;
    const float factor = SCAN_SHARE > share * SCAN_FACTOR ? SCAN_SHARE / share : SCAN_FACTOR;
    const float few = (float)(EVALUATIONS_PER_BEAM * walk->beam + EVALUATIONS_BASE) * factor;
    if ((float)query->allowed_count > few) {
        if (share >= PLAIN_SHARE) {
            if (walk_longer(walk, query, share)) {
                rerank(walk, query, exact, tail_from, heap);
                return HNSW_WALKED;
            }
        } else {
            const bool may_collect = share >= collect_share(walk);
            if (may_collect && collect(walk, query, share)) {
                exchange_lists(scratch); // what was collected is the pool
                rerank(walk, query, exact, tail_from, heap);
                exchange_lists(scratch);
                return HNSW_WALKED_FILTERED;
            }
            if (may_collect)
                begin_anew(walk);
            if (step_over(walk, query, tail_from)) {
                rerank(walk, query, exact, tail_from, heap);
                return HNSW_WALKED_FILTERED;
            }
        }
    }
    scratch->pool.capacity = walk->capacity;
    scan_codes(walk, query, tail_from);
    rerank(walk, query, exact, tail_from, heap);
    return HNSW_SCANNED;
}
