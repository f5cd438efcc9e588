// index/hnsw_walk.c -- the walk: from where it has begun to the nearest there are.
//
// Shape: handle (reads only).
//
// A walk is bound by memory, not by arithmetic: a code is compared in a few ns and fetched in a hundred. So every
// code of a node's links is asked for before the first is compared, and the links of the next nodes are followed, and
// their codes asked for, before the oldest batch is compared: IN_FLIGHT batches are on their way at any time. The
// price is that a node is chosen before the batches in flight are known. On the way to where the query lies each batch
// has a nearer node than all before, and what was chosen without it is passed by; so as long as that goes on, one batch
// is on its way. Afterwards it is about 1 % more comparisons.
//
// A long code is asked for in two parts. The first tells of half the rows that they are too far (codec.c, codec_glance), and
// only the others' second part is fetched. On the way to where the query lies codes are read whole: few are refused
// there, and nothing else is done meanwhile.
#include <math.h>

#include "base/assert.h"
#include "base/os_clock.h"
#include "index/hnsw_int.h"
#include "index/vector.h"

#define IN_FLIGHT 2u
#define RING 2u        // a power of two, not below IN_FLIGHT
#define LINKS_AHEAD 2u // link rows of the next nodes in line that are prefetched
#define DEADLINE_BATCHES 32u
#define FILTER_BATCH 32u // rows that pass and are looked for behind failing ones
#define ROWS_BEHIND 8u   // failing rows whose links are on their way
#define BRIDGES 4u
#define DETOURS 2u

struct batch {
    uint32_t slots[LINK_ROW_MAX];
    // Where what is compared of each lies; kernels pad the last four.
    const uint8_t *rows[LINK_ROW_MAX + 3];
    uint32_t count;
    bool sifted; // what is far by its first bytes was taken out, and the rest asked for
};

// Finds where the codes of a batch lie, and asks for them.
static inline void
prefetch_codes(const struct walk *walk, struct batch *batch)
{
    const struct hnsw *hnsw = walk->hnsw;
    const struct arena *arena = walk->kind == CODE_NIBBLE ? &hnsw->high : &hnsw->rows;
    const uint32_t bytes = walk->glances && !walk->homing ? walk->scratch->query.glance.bytes
                                                          : (uint32_t)arena->row_bytes;
    for (uint32_t i = 0; i < batch->count; i++) {
        batch->rows[i] = arena_row(arena, batch->slots[i]);
        prefetch_lines(batch->rows[i], bytes);
    }
}

// Who is among the first k once the way to the query is over is nearly always an answer. Long rows, which codes are long for,
// are asked for while the walk leaves room; all at its end they would be waited for.
static inline void
prefetch_row(const struct walk *walk, uint32_t slot)
{
    if (walk->glances)
        prefetch_lines(arena_row(&walk->hnsw->rows, slot), walk->hnsw->row_bytes);
}

// Whether these may answer is asked when they are compared. A filter is seldom in a near cache: many queries bring one
// of their own.
static inline void
prefetch_bits(const struct bitmap *allowed, const uint32_t *slots, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        prefetch_line(allowed->words + (slots[i] >> 6));
}

static uint32_t
measure_exact(const struct walk *walk, const uint8_t *const *rows, uint32_t count, float bound,
              float *out)
{
    const void *untyped[BATCH_MAX] = {NULL};
    for (uint32_t i = 0; i < count; i++)
        untyped[i] = rows[i];
    rows_measure(walk->hnsw, &walk->exact, untyped, count, out);
    uint32_t below = 0;
    for (uint32_t i = 0; i < count; i++) {
        const float distance = out[i] + walk->shift;
        out[i] = distance > 0.0f ? distance : 0.0f;
        below |= (uint32_t)(out[i] < bound) << i;
    }
    return below;
}

// walk_measure of what lies there; kernels may write up to three rows behind the last.
static inline uint32_t
measure(const struct walk *walk, const uint8_t **rows, uint32_t count, float bound, float *out)
{
    return walk->kind == CODE_EXACT
               ? measure_exact(walk, rows, count, bound, out)
               : walk->hnsw->kernels->nibble(&walk->scratch->query.nibble, rows, count, bound, out);
}

uint32_t
walk_measure(const struct walk *walk, const uint32_t *slots, uint32_t count, float bound,
             float *out)
{
    const struct hnsw *hnsw = walk->hnsw;
    const struct arena *arena = walk->kind == CODE_EXACT ? &hnsw->rows : &hnsw->high;
    const uint8_t *rows[BATCH_MAX];
    for (uint32_t i = 0; i < count; i++)
        rows[i] = arena_row(arena, slots[i]);
    return measure(walk, rows, count, bound, out);
}

void
walk_collect(struct walk *walk, const uint32_t *slots, uint32_t count)
{
    struct nearest *pool = &walk->scratch->pool;
    float distances[BATCH_MAX];
    const float bound =
        pool->count == pool->capacity ? nearest_distance(pool->keys[pool->count - 1]) : INFINITY;
    uint32_t below = count > 0 ? walk_measure(walk, slots, count, bound, distances) : 0;
    for (; below != 0; below &= below - 1) {
        const uint32_t i = (uint32_t)__builtin_ctz(below);
        nearest_insert(pool, nearest_key(distances[i], slots[i]));
    }
    walk->evaluations += count;
}

void
walk_init(struct walk *walk, const struct hnsw *hnsw, struct scratch *scratch,
          const struct row_query *query)
{
    const float *prepared = query->vector;
    walk->hnsw = hnsw;
    walk->scratch = scratch;
    walk->kind = hnsw_kind(hnsw);
    const uint32_t published = atomic_load_explicit(&hnsw->published, memory_order_acquire);
    const uint64_t visitable = (uint64_t)scratch->visited_words * 64;
    walk->published = published;
    walk->limit = published < visitable ? published : (uint32_t)visitable;
    const bool ip = hnsw->config.metric == METRIC_IP;
    const float norm2 = ip ? vector_norm2(prepared, hnsw->config.dim) : 0.0f;
    const float norm_max2 =
        ip ? bits_float(atomic_load_explicit(&hnsw->norm_max2, memory_order_relaxed)) : 0.0f;
    if (walk->kind == CODE_EXACT) {
        walk->exact = *query;
        walk->shift = ip ? sqrtf(norm2 * norm_max2) : 0.0f;
        return;
    }
    codec_rotate(&hnsw->codec, prepared, scratch->rotated);
    codec_query(&hnsw->codec, scratch->rotated, norm2, norm_max2, scratch->components,
                &scratch->query);
    walk->slack = rerank_margin(&hnsw->codec, &scratch->query);
}

// The pool's next node in line whose links were not followed.
static inline uint32_t
next_open(const struct nearest *pool, uint32_t from)
{
    while (from < pool->count && (pool->keys[from] & NEAREST_FLAG) != 0)
        from++;
    return from;
}

// A walk that collects goes on until the next in line is farther than the members that it looks for, so its length
// follows from how many pass around here, which nobody knows before.
static inline bool
members_over(const struct walk *walk, const struct nearest *pool, uint32_t next)
{
    const struct nearest *members = &walk->scratch->members;
    if (next >= pool->count)
        return true;
    if (members->count >= walk->members_wanted &&
        pool->keys[next] > members->keys[walk->members_wanted - 1])
        return true;
    return walk->stop > 0.0f && members->count >= walk->k &&
           nearest_distance(pool->keys[next]) >
               nearest_distance(members->keys[walk->k - 1]) * walk->stop;
}

static inline bool
walk_over(const struct walk *walk, const struct nearest *pool, uint32_t next)
{
    if (walk->members_of != NULL)
        return members_over(walk, pool, next);
    // A beam below k is not raised to it, but the walk goes on until k were found.
    if (next >= pool->count || (next >= walk->beam && pool->count >= walk->k))
        return true;
    return walk->stop > 0.0f && pool->count >= walk->k &&
           nearest_distance(pool->keys[next]) >
               nearest_distance(pool->keys[walk->k - 1]) * walk->stop;
}

// The distance of the k-th in the pool that may be an answer; infinite where there are fewer.
static inline float
kth_distance(const struct walk *walk, const struct nearest *pool)
{
    uint32_t left = walk->k;
    if (pool->count < left)
        return INFINITY;
    if (!walk->beside_erased)
        return nearest_distance(pool->keys[left - 1]);
    for (uint32_t i = 0; i < pool->count; i++) {
        left -= !atomic_bit_test(walk->hnsw->erased, nearest_slot(pool->keys[i]));
        if (left == 0)
            return nearest_distance(pool->keys[i]);
    }
    return INFINITY;
}

// Of a list: what lies beyond it has no room.
static inline float
last_distance(const struct nearest *list)
{
    return list->count == list->capacity ? nearest_distance(list->keys[list->count - 1]) : INFINITY;
}

// What lies beyond the bound is of no use: it would neither lead on nor be an answer.
static inline float
pool_bound(const struct walk *walk, const struct nearest *pool)
{
    const float last = last_distance(pool);
    float reach;
    if (walk->stop > 0.0f && pool->count >= walk->k) {
        const float kth = nearest_distance(pool->keys[walk->k - 1]);
        reach = kth * walk->stop > kth + walk->slack ? kth * walk->stop : kth + walk->slack;
    } else if (walk->by_answers && pool->count >= walk->beam) {
        const float leads = nearest_distance(pool->keys[walk->beam - 1]);
        const float answers = kth_distance(walk, pool) + walk->slack;
        reach = leads > answers ? leads : answers;
    } else {
        return last;
    }
    return reach < last ? reach : last;
}

// A row that is treated as if it were not there is treated as if it had been erased and repaired: who links to it links
// to the nearest of its neighbours instead, as hnsw_erase.c would have it. Without that, what only it leads to would
// be lost, and the index would look worse to its own rows than it is to strangers. A repair offers three of them, and
// the choice that follows leaves some out; with two, rows are found as often as strangers (to half a point, above 0.85,
// on 75,000 x 384; 50,000 x 784: 1.2 points less at 0.9, 0.5 at 0.95), with one 1 to 3 points less, with three up to 4 more.
static __attribute__((noinline)) uint32_t
detour(const struct walk *walk, uint32_t slot, uint32_t *links, uint32_t count)
{
    const struct hnsw *hnsw = walk->hnsw;
    struct scratch *scratch = walk->scratch;
    bool excluded = false;
    for (uint32_t i = 0; i < count && !excluded; i++)
        excluded = links[i] == walk->excluded;
    if (!excluded)
        return count;
    uint32_t beyond[LINK_ROW_MAX];
    const uint32_t others = graph_read(&hnsw->graph, walk->excluded, walk->limit, beyond);
    code_distances(hnsw, scratch, slot, beyond, others);
    for (uint32_t r = 0; r < DETOURS && count < LINK_ROW_MAX; r++) {
        uint32_t best = HNSW_NONE;
        for (uint32_t i = 0; i < others; i++)
            if (beyond[i] != slot &&
                (best == HNSW_NONE || scratch->distances[i] < scratch->distances[best]))
                best = i;
        if (best == HNSW_NONE)
            break;
        links[count++] = beyond[best]; // visited twice is visited once
        beyond[best] = slot;
    }
    return count;
}

// Follows the links of a node: what was not visited goes into the batch, its codes on their way.
static inline void
follow(struct walk *walk, uint32_t slot, struct batch *batch)
{
    struct scratch *scratch = walk->scratch;
    uint32_t links[LINK_ROW_MAX];
    uint32_t count = graph_read(&walk->hnsw->graph, slot, walk->limit, links);
    if (walk->excluded != HNSW_NONE)
        count = detour(walk, slot, links, count);
    const uint32_t fresh = scratch_visit_all(scratch, links, count, batch->slots);
    batch->count = fresh;
    batch->sifted = walk->homing;
    prefetch_codes(walk, batch);
    if (walk->members_of != NULL)
        prefetch_bits(walk->members_of->allowed, batch->slots, fresh);
    walk->hops++;
}

// Which of at most 64 links pass. Few of the many that are looked at do, so what follows is done for those alone.
static inline uint64_t
passing(const struct bitmap *allowed, const uint32_t *links, uint32_t count)
{
    uint64_t mask = 0;
    for (uint32_t i = 0; i < count; i++)
        mask |= (allowed->words[links[i] >> 6] >> (links[i] & 63) & 1) << i;
    return mask;
}

static inline uint32_t
take_passing(struct scratch *scratch, uint64_t pass, const uint32_t *links, uint32_t *out,
             uint32_t count)
{
    for (; pass != 0 && count < LINK_ROW_MAX - 1; pass &= pass - 1) {
        out[count] = links[__builtin_ctzll(pass)];
        count += !scratch_visit(scratch, out[count]);
    }
    return count;
}

// Before a walk that collects is where the members lie, it has met most rows that could lead it on. Of the last nodes' links it
// compares those that pass alone.
static inline bool
is_guided(const struct walk *walk, uint64_t key)
{
    const struct nearest *members = &walk->scratch->members;
    return members->count < walk->members_guiding ||
           key <= members->keys[walk->members_guiding - 1];
}

static void
follow_passing(struct walk *walk, uint32_t slot, struct batch *batch)
{
    const struct bitmap *allowed = walk->members_of->allowed;
    const uint32_t limit = walk->limit < allowed->count ? walk->limit : allowed->count;
    uint32_t links[LINK_ROW_MAX], fresh = 0;
    const uint32_t count = graph_read(&walk->hnsw->graph, slot, limit, links);
    for (uint32_t from = 0; from < count; from += 64) {
        const uint32_t part = count - from < 64 ? count - from : 64;
        const uint64_t pass = passing(allowed, links + from, part);
        fresh = take_passing(walk->scratch, pass, links + from, batch->slots, fresh);
    }
    batch->count = fresh;
    prefetch_codes(walk, batch);
    walk->hops++;
}

// The same where only some rows may answer: those that pass, first of the node's own links, then of the failing
// ones' links; and failing rows themselves where nobody passes.
static void
follow_filtered(struct walk *walk, uint32_t slot, struct batch *batch)
{
    struct scratch *scratch = walk->scratch;
    const struct graph *graph = &walk->hnsw->graph;
    const struct bitmap *allowed = walk->allowed;
    const uint32_t limit = walk->limit < allowed->count ? walk->limit : allowed->count;
    uint32_t links[LINK_ROW_MAX], failing[LINK_ROW_MAX];
    const uint32_t count = graph_read(graph, slot, limit, links);
    uint32_t fresh = 0, failed = 0;
    for (uint32_t from = 0; from < count; from += 64) {
        const uint32_t part = count - from < 64 ? count - from : 64;
        const uint64_t pass = passing(allowed, links + from, part);
        fresh = take_passing(scratch, pass, links + from, batch->slots, fresh);
        for (uint32_t i = 0; i < part; i++) {
            failing[failed] = links[from + i];
            failed += !(pass >> i & 1);
        }
    }
    if (failed * 2 > count) {
        for (uint32_t i = 0; i < failed && i < ROWS_BEHIND; i++)
            graph_prefetch(graph, failing[i]);
        for (uint32_t i = 0; i < failed && fresh < FILTER_BATCH; i++) {
            if (i + ROWS_BEHIND < failed)
                graph_prefetch(graph, failing[i + ROWS_BEHIND]);
            if (scratch_visit(scratch, failing[i])) // its links were taken before
                continue;
            const uint32_t others = graph_read(graph, failing[i], limit, links);
            for (uint32_t from = 0; from < others; from += 64) {
                const uint32_t part = others - from < 64 ? others - from : 64;
                fresh = take_passing(scratch, passing(allowed, links + from, part), links + from,
                                     batch->slots, fresh);
            }
        }
    }
    walk->passed += fresh;
    if (fresh == 0 && walk->passed == 0)
        for (; fresh < failed && fresh < BRIDGES; fresh++)
            batch->slots[fresh] = failing[fresh];
    batch->count = fresh;
    prefetch_codes(walk, batch);
    walk->hops++;
}

// Takes out of a batch what looks far by its first bytes, and asks for the other bytes of the rest.
static inline void
sift(struct walk *walk, const struct nearest *pool, struct batch *batch)
{
    const struct hnsw *hnsw = walk->hnsw;
    const struct glance_query *query = &walk->scratch->query.glance;
    const float bound = pool_bound(walk, pool);
    uint32_t kept = 0;
    for (uint32_t from = 0; from < batch->count; from += BATCH_MAX) {
        const uint32_t count = batch->count - from < BATCH_MAX ? batch->count - from : BATCH_MAX;
        uint32_t near = hnsw->kernels->glance(query, batch->rows + from, count, bound);
        for (; near != 0; near &= near - 1, kept++) {
            const uint32_t i = from + (uint32_t)__builtin_ctz(near);
            batch->rows[kept] = batch->rows[i];
            batch->slots[kept] = batch->slots[i];
            prefetch_lines(batch->rows[kept] + query->bytes, hnsw->codec.row_bytes - query->bytes);
        }
    }
    walk->evaluations += batch->count - kept; // refused, but looked at
    batch->count = kept;
    batch->sifted = true;
}

// Compares a batch and puts what is near enough into the pool; returns the first place that changed.
static inline uint32_t
compare(struct walk *walk, struct nearest *pool, struct batch *batch)
{
    const struct kernels *kernels = walk->hnsw->kernels;
    float distances[BATCH_MAX];
    uint32_t first = UINT32_MAX;
    if (walk->glances && !batch->sifted)
        sift(walk, pool, batch);
    float bound = pool_bound(walk, pool);
    for (uint32_t from = 0; from < batch->count; from += BATCH_MAX) {
        const uint32_t count = batch->count - from < BATCH_MAX ? batch->count - from : BATCH_MAX;
        const uint32_t below = measure(walk, batch->rows + from, count, bound, distances);
        const uint32_t place = kernels->insert(pool->keys, &pool->count, pool->capacity, distances,
                                               batch->slots + from, below);
        if (place < first) {
            first = place;
            graph_prefetch(&walk->hnsw->graph, nearest_slot(pool->keys[place]));
        }
        bound = pool_bound(walk, pool);
    }
    walk->evaluations += batch->count;
    return first;
}

// What lies beyond it is of no use to a walk that collects: it neither leads on nor may be an answer. While it is asked
// how many pass (probe_at), those beyond are counted as well.
static inline float
members_bound(const struct walk *walk, const struct nearest *pool)
{
    const struct nearest *members = &walk->scratch->members;
    float leads = last_distance(pool), answers = last_distance(members);
    if (members->count >= walk->members_wanted)
        leads = fminf(leads, nearest_distance(members->keys[walk->members_wanted - 1]));
    if (walk->by_answers && walk->probe_at == 0 && members->count >= walk->members_of->k)
        answers =
            fminf(answers, nearest_distance(members->keys[walk->members_of->k - 1]) + walk->slack);
    return fmaxf(leads, answers);
}

// The same where the rows that may answer are collected beside the pool, which leads on over all of them.
static uint32_t
compare_members(struct walk *walk, struct nearest *pool, struct batch *batch)
{
    struct nearest *members = &walk->scratch->members;
    const uint32_t wanted = walk->members_wanted;
    float distances[BATCH_MAX];
    uint32_t first = UINT32_MAX;
    for (uint32_t from = 0; from < batch->count; from += BATCH_MAX) {
        const uint32_t count = batch->count - from < BATCH_MAX ? batch->count - from : BATCH_MAX;
        uint32_t below =
            measure(walk, batch->rows + from, count, members_bound(walk, pool), distances);
        for (; below != 0; below &= below - 1) {
            const uint32_t i = (uint32_t)__builtin_ctz(below);
            const uint32_t slot = batch->slots[from + i];
            const uint64_t key = nearest_key(distances[i], slot);
            if (may_answer(walk->hnsw, walk->members_of, slot)) {
                nearest_insert(members, key);
                walk->passed++;
            }
            if (members->count >= wanted && key > members->keys[wanted - 1])
                continue; // near enough for rerank, too far to lead on
            const uint32_t place = nearest_insert(pool, key);
            if (place < first) {
                first = place;
                graph_prefetch(&walk->hnsw->graph, slot);
            }
        }
    }
    walk->evaluations += batch->count;
    if (walk->probe_at != 0 && walk->evaluations >= walk->probe_at) {
        walk->probe_at = 0;
        walk->strayed = walk->passed < walk->probe_passes;
    }
    return first;
}

void
walk_run(struct walk *walk)
{
    struct nearest *pool = &walk->scratch->pool;
    struct batch ring[RING];
    uint32_t oldest = 0, flying = 0, next = next_open(pool, 0), compared = 0;
    uint32_t depth = 1;
    for (;;) {
        while (flying < depth && !walk_over(walk, pool, next)) {
            const uint32_t place = next;
            const uint64_t key = pool->keys[place];
            const uint32_t slot = nearest_slot(key);
            pool->keys[place] |= NEAREST_FLAG;
            next = next_open(pool, next);
            for (uint32_t ahead = next, seen = 0; ahead < pool->count && seen < LINKS_AHEAD;
                 ahead++)
                if ((pool->keys[ahead] & NEAREST_FLAG) == 0) {
                    graph_prefetch(&walk->hnsw->graph, nearest_slot(pool->keys[ahead]));
                    seen++;
                }
            walk->homing = depth == 1;
            if (!walk->homing && place < walk->k)
                prefetch_row(walk, slot);
            if (walk->members_of != NULL && !is_guided(walk, key))
                follow_passing(walk, slot, &ring[(oldest + flying) % RING]);
            else if (walk->allowed == NULL)
                follow(walk, slot, &ring[(oldest + flying) % RING]);
            else
                follow_filtered(walk, slot, &ring[(oldest + flying) % RING]);
            flying++;
        }
        if (flying == 0)
            break;
        const uint32_t first = walk->members_of == NULL
                                   ? compare(walk, pool, &ring[oldest])
                                   : compare_members(walk, pool, &ring[oldest]);
        oldest = (oldest + 1) % RING;
        flying--;
        next = next_open(pool, first < next ? first : next);
        depth = first == 0 ? 1 : IN_FLIGHT;
        if ((walk->allowed != NULL || walk->members_of != NULL) &&
            (walk->evaluations > walk->evaluations_max || walk->strayed))
            break;
        if (walk->deadline_ns != 0 && ++compared % DEADLINE_BATCHES == 0 &&
            os_clock_ns() > walk->deadline_ns) {
            walk->cut = true;
            break;
        }
    }
}
