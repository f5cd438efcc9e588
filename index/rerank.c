// index/rerank.c -- from the pool of a walk, sorted by rough codes, to answers, sorted by rows.
//
// Shape: handle (reads only).
//
// Two steps, each as long as it may still change the answer: the pool's candidates are compared by all eight bits
// while their rough distance is within MARGIN errors of the k-th fine one, and the finer list by rows while the fine
// distance is within MARGIN errors of the k-th exact one. How large an error is was measured when the code was founded;
// so easy data reads a dozen rows a query and hard data as many as it takes, where any fixed number is too many
// for the one and too few for the other. A fine code costs one or a few lines beside the rough one, a row ten times that.
#include <math.h>

#include "index/hnsw_int.h"

// Errors: 2.5 changes nothing up to 0.99, 1.5 cannot reach 0.999 at d = 128
#define ROUGH_MARGIN 2.0f
#define FINE_MARGIN 3.0f
#define ROOM_SPARE 30u
#define FINE_BATCH 16u
#define ROW_BATCH 8u
// Rows of the nearest candidates that are on their way before the first is compared
#define ROWS_AHEAD 12u

float
rerank_margin(const struct codec *codec, const struct code_query *query)
{
    return ROUGH_MARGIN * 2.0f * codec->high_error * query->spread2;
}

uint32_t
rerank_room(const struct hnsw_query *query, uint32_t beam)
{
    const uint32_t spare = query->k > ROOM_SPARE ? query->k : ROOM_SPARE;
    const uint32_t least = query->rerank > query->k ? query->rerank : query->k + spare;
    return beam > least ? beam : least;
}

// Exactly the first `want` that may answer.
static void
rerank_fixed(const struct walk *walk, const struct hnsw_query *query, const struct row_query *exact,
             uint32_t want, uint32_t tail_from, struct hit_heap *heap)
{
    const struct hnsw *hnsw = walk->hnsw;
    const struct nearest *pool = &walk->scratch->pool;
    uint32_t slots[BATCH_MAX], count = 0, taken = 0;
    for (uint32_t i = 0; i < pool->count && taken < want; i++) {
        const uint32_t slot = nearest_slot(pool->keys[i]);
        if (slot >= tail_from || !may_answer(hnsw, query, slot))
            continue;
        prefetch_lines(arena_row(&hnsw->rows, slot), hnsw->row_bytes);
        slots[count++] = slot;
        taken++;
        if (count == BATCH_MAX) {
            exact_slots(hnsw, exact, slots, count, heap);
            count = 0;
        }
    }
    exact_slots(hnsw, exact, slots, count, heap);
    if (query->work != NULL)
        query->work->exact_distances += taken;
}

static void
prefetch_fine(const struct hnsw *hnsw, uint32_t slot)
{
    prefetch_lines(arena_row(&hnsw->low, slot), hnsw->codec.row_bytes);
    prefetch_line(arena_row(&hnsw->meta, slot));
}

// Compares by all eight bits what is gathered.
static void
compare_fine(const struct walk *walk, const uint32_t *slots, uint32_t count, struct nearest *fine)
{
    const struct hnsw *hnsw = walk->hnsw;
    const uint8_t *high[FINE_BATCH], *low[FINE_BATCH];
    const struct byte_meta *meta[FINE_BATCH];
    float distances[FINE_BATCH];
    for (uint32_t i = 0; i < count; i++) {
        high[i] = arena_row(&hnsw->high, slots[i]);
        low[i] = arena_row(&hnsw->low, slots[i]);
        meta[i] = (const struct byte_meta *)(const void *)arena_row(&hnsw->meta, slots[i]);
    }
    hnsw->kernels->byte(&walk->scratch->query.byte, high, low, meta, count, distances);
    hnsw->kernels->insert(fine->keys, &fine->count, fine->capacity, distances, slots,
                          (uint32_t)((1ull << count) - 1));
}

// The nearest by rough codes are nearly all among those that rows decide about. Asked for behind the first finer codes, which
// are needed earlier.
static void
prefetch_rows(const struct walk *walk, const struct hnsw_query *query)
{
    const struct hnsw *hnsw = walk->hnsw;
    const struct nearest *pool = &walk->scratch->pool;
    for (uint32_t i = 0; i < pool->count && i < ROWS_AHEAD && i < query->k; i++)
        prefetch_lines(arena_row(&hnsw->rows, nearest_slot(pool->keys[i])), hnsw->row_bytes);
}

// The pool's candidates in finer order, to scratch->members.
static void
sift_fine(const struct walk *walk, const struct hnsw_query *query, uint32_t tail_from)
{
    const struct hnsw *hnsw = walk->hnsw;
    const struct code_query *coded = &walk->scratch->query;
    const struct nearest *pool = &walk->scratch->pool;
    struct nearest *fine = &walk->scratch->members;
    const float margin = rerank_margin(&hnsw->codec, coded);
    *fine = (struct nearest){.keys = fine->keys, .capacity = walk->scratch->members_room};
    // Until k are compared, rough distances say how many are worth it: the k-th finer one is seldom nearer.
    float guess =
        pool->count >= query->k ? nearest_distance(pool->keys[query->k - 1]) + margin : INFINITY;
    uint32_t slots[2][FINE_BATCH], counts[2] = {0, 0}, at = 0;
    bool sure = false;
    // One batch is fetched while the one before is compared.
    for (uint32_t turn = 0;; turn ^= 1) {
        const bool known = fine->count >= query->k;
        const float limit = known ? nearest_distance(fine->keys[query->k - 1]) + margin : guess;
        uint32_t count = 0;
        for (; at < pool->count && count < FINE_BATCH; at++) {
            if (nearest_distance(pool->keys[at]) > limit) {
                sure = known;
                break;
            }
            const uint32_t slot = nearest_slot(pool->keys[at]);
            if (slot >= tail_from || !may_answer(hnsw, query, slot))
                continue;
            prefetch_fine(hnsw, slot);
            slots[turn][count++] = slot;
        }
        counts[turn] = count;
        if (fine->count == 0 && turn == 0)
            prefetch_rows(walk, query);
        if (counts[turn ^ 1] > 0)
            compare_fine(walk, slots[turn ^ 1], counts[turn ^ 1], fine);
        else if (count == 0 && (known || guess == INFINITY))
            break;
        else if (count == 0)
            guess = INFINITY;
        counts[turn ^ 1] = 0;
    }
    // What the list had no room for might have been an answer all the same.
    if (query->work != NULL && !sure && pool->count == pool->capacity)
        query->work->rerank_misses++;
}

void
rerank(const struct walk *walk, const struct hnsw_query *query, const struct row_query *exact,
       uint32_t tail_from, struct hit_heap *heap)
{
    const struct hnsw *hnsw = walk->hnsw;
    if (walk->kind == CODE_EXACT || query->rerank > 0) {
        const uint32_t given = query->rerank > query->k ? query->rerank : query->k;
        const uint32_t want = query->rerank > 0 ? given : query->k + query->k / 4;
        rerank_fixed(walk, query, exact, want, tail_from, heap);
        return;
    }
    sift_fine(walk, query, tail_from);

    const struct nearest *fine = &walk->scratch->members;
    const struct code_query *coded = &walk->scratch->query;
    const float margin = FINE_MARGIN * 2.0f * hnsw->codec.both_error * coded->spread2;
    uint32_t at = 0;
    while (at < fine->count) {
        float limit = 3.0e38f;
        if (heap->count == heap->keep)
            limit = heap->hits[0].distance * coded->metric_scale + coded->metric_shift + margin;
        const uint32_t batch = heap->count < heap->keep ? BATCH_MAX : ROW_BATCH;
        const uint32_t room = heap->count < heap->keep ? heap->keep - heap->count : batch;
        uint32_t slots[BATCH_MAX], count = 0;
        for (; at < fine->count && count < batch && count < room; at++) {
            if (nearest_distance(fine->keys[at]) > limit) {
                at = fine->count;
                break;
            }
            slots[count++] = nearest_slot(fine->keys[at]);
            prefetch_lines(arena_row(&hnsw->rows, slots[count - 1]), hnsw->row_bytes);
        }
        exact_slots(hnsw, exact, slots, count, heap);
        if (query->work != NULL)
            query->work->exact_distances += count;
    }
}
