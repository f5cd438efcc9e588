// index/hnsw_search.c -- a search: where its walk begins, and the answer that is made of what the walk met.
//
// Shape: handle (reads only).
//
// Codes guide, rows decide: the nearest of the pool are compared by their rows (rerank.c), and rows that are not linked
// yet are all compared (the tail), so what was acknowledged is found.
#include <math.h>

#include "base/assert.h"
#include "index/hnsw_int.h"

#define ENTRIES_TAKEN 1u
#define FILTER_DIRECT 100u // so few rows that a filter lets through are compared as they are
#define ANSWERS_COUNTED                                                                            \
    32u // more would take longer to count, where some are erased, than it spares
// The stop is relative to the 10th at least: the distance of the very nearest says little
#define STOP_DEPTH 10u
#define LIVE_LEAST 4u // of so many rows that a walk holds one has to be alive,
#define WIDER 4u      // or it goes again, with so many times the beam

void
walk_enter(struct walk *walk, uint32_t want, const struct bitmap *allowed)
{
    ASSERT(want <= ENTER_MAX);
    const struct hnsw *hnsw = walk->hnsw;
    const struct entries *entries = &hnsw->entries;
    const uint32_t count = atomic_load_explicit(&entries->count, memory_order_acquire);
    uint64_t keys[ENTER_MAX + 1];
    struct nearest best = {.keys = keys, .capacity = want};
    float distances[BATCH_MAX], bound = INFINITY;
    entries_hold(entries);
    for (uint32_t from = 0; from < count; from += BATCH_MAX) {
        const uint32_t batch = count - from < BATCH_MAX ? count - from : BATCH_MAX;
        uint32_t slots[BATCH_MAX], below;
        if (walk->kind == CODE_NIBBLE) {
            const uint8_t *rows[BATCH_MAX];
            for (uint32_t i = 0; i < batch; i++)
                rows[i] = entries->codes + (size_t)(from + i) * hnsw->codec.row_bytes;
            below =
                hnsw->kernels->nibble(&walk->scratch->query.nibble, rows, batch, bound, distances);
        } else {
            for (uint32_t i = 0; i < batch; i++)
                slots[i] = atomic_load_explicit(&entries->slots[from + i], memory_order_acquire);
            below = walk_measure(walk, slots, batch, bound, distances);
        }
        for (; below != 0; below &= below - 1) {
            const uint32_t i = (uint32_t)__builtin_ctz(below);
            const uint32_t slot =
                atomic_load_explicit(&entries->slots[from + i], memory_order_acquire);
            // The row that asks, or one that is excluded, may be an entry: it must not take the place of another.
            if (slot < walk->limit && !scratch_visited(walk->scratch, slot) &&
                (allowed == NULL || bitmap_test(allowed, slot)))
                nearest_insert(&best, nearest_key(distances[i], from + i));
        }
        if (best.count == want)
            bound = nearest_distance(keys[want - 1]);
    }
    entries_let_go(entries);
    walk->evaluations += count;
    for (uint32_t i = 0; i < best.count; i++) {
        const uint32_t slot =
            atomic_load_explicit(&entries->slots[nearest_slot(keys[i])], memory_order_acquire);
        if (slot < walk->limit && !scratch_visit(walk->scratch, slot)) {
            nearest_insert(&walk->scratch->pool, nearest_key(nearest_distance(keys[i]), slot));
            graph_prefetch(&hnsw->graph, slot);
        }
    }
}

// Puts what is nearest of [from, end) into the pool: rows that have codes and are not linked (hnsw_save.c). What the walk
// met is there, or was too far.
static void
scan_chosen(struct walk *walk, uint32_t from, uint32_t end)
{
    const struct hnsw *hnsw = walk->hnsw;
    uint32_t slots[BATCH_MAX], count = 0;
    for (uint32_t slot = from; slot <= end; slot++) {
        if (slot < end && !atomic_bit_test(hnsw->erased, slot) &&
            !(slot < walk->limit && scratch_visited(walk->scratch, slot)))
            slots[count++] = slot;
        if (count < BATCH_MAX && slot < end)
            continue;
        walk_collect(walk, slots, count);
        count = 0;
    }
}

// Whether hardly anybody that the walk holds may answer: around the query are rows that were erased, and not taken out of the way
// yet, and those that live may lie behind them.
static bool
among_erased(const struct walk *walk)
{
    const struct nearest *pool = &walk->scratch->pool;
    const uint32_t held = pool->count < walk->beam ? pool->count : walk->beam;
    uint32_t alive = 0;
    if (!walk->beside_erased || walk->cut || (pool->count < walk->beam && walk->stop == 0.0f))
        return false; // or all that can be reached was met
    for (uint32_t i = 0; i < held; i++)
        alive += !atomic_bit_test(walk->hnsw->erased, nearest_slot(pool->keys[i]));
    return alive < held / LIVE_LEAST;
}

static void
note_walk(const struct walk *walk, const struct hnsw_query *query)
{
    if (query->work == NULL)
        return;
    query->work->evaluations += walk->evaluations;
    query->work->hops += walk->hops;
    query->work->cut |= walk->cut;
}

// A walk of this query with nothing in its pool.
static struct walk
walk_begin(const struct hnsw *hnsw, const struct hnsw_query *query, const struct row_query *exact,
           uint32_t beam, struct scratch *scratch)
{
    struct walk walk = {.beam = beam,
                        .capacity = rerank_room(query, beam),
                        .k = query->k > STOP_DEPTH ? query->k : STOP_DEPTH,
                        .stop = query->stop,
                        .deadline_ns = query->deadline_ns,
                        .excluded = query->excluded};
    // Whoever asks for a number of rows to be compared gets that number.
    walk.beside_erased = atomic_load_explicit(&hnsw->erased_count, memory_order_relaxed) > 0;
    walk.by_answers = query->allowed == NULL && query->rerank == 0 &&
                      (!walk.beside_erased || walk.k <= ANSWERS_COUNTED);
    if (query->excluded != HNSW_NONE) {
        const omen_status fits = scratch_fit_prune(scratch, hnsw);
        ASSERT(fits == OMEN_OK);
    }
    walk_init(&walk, hnsw, scratch, exact);
    // Walks of inserts and of filters read codes whole.
    walk.glances =
        walk.kind == CODE_NIBBLE && query->allowed == NULL && hnsw->codec.glance_bytes > 0;
    scratch->pool = (struct nearest){.keys = scratch->pool.keys, .capacity = walk.capacity};
    scratch_clear_visited(scratch);
    if (query->excluded < walk.limit)
        scratch_visit(scratch, query->excluded);
    return walk;
}

// False: hardly anybody lives among those that were met, and it may go again; there are no hits.
static bool
search_once(const struct hnsw *hnsw, const struct hnsw_query *query, struct scratch *scratch,
            bool again, struct hit *hits, uint32_t *found)
{
    const uint32_t beam = query->beam > 0 ? query->beam : query->k;
    scratch_need(scratch, hnsw, query->k, rerank_room(query, beam));

    // Read before the walk: a row linked since is compared twice at most, never left out.
    const struct hnsw_given *given = query->given;
    const uint32_t tail_from =
        given != NULL ? given->tail_from
                      : atomic_load_explicit(&hnsw->linked_prefix, memory_order_acquire);
    const struct row_query exact = exact_query(hnsw, query, scratch);
    struct walk walk = walk_begin(hnsw, query, &exact, beam, scratch);
    struct hit_heap heap = {.hits = scratch->hits, .keep = query->k};

    uint32_t rows_from = tail_from; // what is compared by rows
    enum hnsw_strategy strategy = HNSW_WALKED;
    if (query->allowed != NULL) {
        strategy = filter_search(&walk, query, &exact, tail_from, &heap);
    } else if (query->every_code) {
        strategy = HNSW_SCANNED;
        scan_codes(&walk, query, tail_from);
        rerank(&walk, query, &exact, tail_from, &heap);
    } else {
        walk_enter(&walk, ENTRIES_TAKEN, NULL);
        walk_run(&walk);
        if (again && beam < BEAM_MAX && among_erased(&walk)) {
            note_walk(&walk, query);
            return false;
        }
        if (given != NULL)
            rows_from = given->from;
        else if (hnsw->chosen > tail_from)
            rows_from = hnsw->chosen;
        if (rows_from > tail_from)
            scan_chosen(&walk, tail_from, rows_from);
        rerank(&walk, query, &exact, rows_from, &heap);
    }
    if (rows_from < walk.published)
        exact_rest(hnsw, query, &exact, rows_from, walk.published, &heap);
    note_walk(&walk, query);
    if (query->work != NULL) {
        query->work->strategy = strategy;
        query->work->tail += walk.published > tail_from ? walk.published - tail_from : 0;
    }
    *found = hits_finish(&heap, query->k, hits);
    return true;
}

// Nothing is asked to stop early that goes again: what it would stop by is the erased rows' distances. False: no memory; it stays as it was.
static bool
widen(struct hnsw_query *query, const struct hnsw *hnsw, struct scratch *scratch)
{
    const uint32_t beam = query->beam > 0 ? query->beam : query->k;
    const uint32_t wider = beam < BEAM_MAX / WIDER ? beam * WIDER : BEAM_MAX;
    if (scratch_fit(scratch, hnsw, query->k, rerank_room(query, wider)) != OMEN_OK)
        return false;
    query->beam = wider;
    query->stop = 0.0f;
    return true;
}

uint32_t
hnsw_search(const struct hnsw *hnsw, const struct hnsw_query *query, struct scratch *scratch,
            struct hit *hits)
{
    ASSERT(query->k >= 1 && query->k <= TOPK_MAX);
    ASSERT(query->given == NULL || (query->allowed == NULL && !query->every_code));
    if (hnsw_kind(hnsw) == CODE_NONE ||
        atomic_load_explicit(&hnsw->linked_count, memory_order_acquire) == 0 ||
        (query->allowed != NULL && query->allowed_count <= FILTER_DIRECT))
        return hnsw_scan(hnsw, query, scratch, hits);
    struct hnsw_query asked = *query;
    uint32_t found;
    bool again = true;
    while (!search_once(hnsw, &asked, scratch, again, hits, &found))
        again = widen(&asked, hnsw, scratch);
    return found;
}
