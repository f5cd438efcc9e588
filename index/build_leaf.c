// index/build_leaf.c -- compares all rows of a leaf with each other and offers what is near to their reservoirs.
//
// Shape: handle.
//
// Half of the tiles are enough: a tile off the diagonal serves its rows and its columns. Of a member the best few keys are
// kept lane by lane, and sorted once at the end; a member that has more than two of its nearest in one lane loses the
// third, which costs no recall that could be measured.
//
// A reservoir is visited once for all of a leaf's candidates. It lies anywhere in memory, so its head is asked for well
// before, and its lines only where the head says that something can enter.
#include <string.h>

#include "base/prefetch.h"
#include "index/build_int.h"

// Of fewer members each takes fewer: they are not near because they are alone.
#define SMALL_LEAF 128u
#define SMALL_NEAR 4u
#define HEADS_AHEAD 12u
#define AHEAD 6u // members whose candidates are made before the first reservoir is touched
#define HEAD_BUSY 128u

static void leaf_lists(struct build_worker *worker, uint32_t count, uint32_t near);
static void leaf_offer(struct build *build, struct build_worker *worker, const uint32_t *ids,
                       uint32_t count);

static bool
in_pass(const struct build *build, uint32_t place)
{
    return place >= build->first && place < build->end;
}

static bool
any_in_pass(const struct build *build, const uint32_t *ids, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (in_pass(build, ids[i]))
            return true;
    return false;
}

// How many of its nearest a member takes. Where all rows are one leaf there is no other to find neighbours in.
static uint32_t
near_of(const struct build *build, uint32_t count)
{
    uint32_t near = build->config.leaf_near;
    if (count == build->rows.count)
        near = TILE_LANES;
    else if (count < SMALL_LEAF && near > SMALL_NEAR)
        near = SMALL_NEAR;
    return near < count ? near : count - 1;
}

void
leaf_run(struct build *build, struct build_worker *worker, const uint32_t *ids, uint32_t count)
{
    ASSERT(count <= build->leaf_rows);
    build_done(build, (uint32_t)(worker - build->workers), 0); // may be told to stop
    if (count < 2 || build_stopped(build) || !any_in_pass(build, ids, count))
        return;
    rows_read(build, worker, ids, count, SKETCH_READ);
    rows_pack(build, worker, count);
    rows_by_product(build, worker, count);
    leaf_gram(build, worker, count);
    leaf_lists(worker, count, near_of(build, count));
    leaf_offer(build, worker, ids, count);
    worker->leaves++;
    worker->members += count;
    worker->pairs += (uint64_t)count * (count - 1) / 2;
}

void
leaf_gram(const struct build *build, struct build_worker *worker, uint32_t count)
{
    _Alignas(64) float distances[TILE_ROWS * TILE_COLUMNS];
    const uint32_t groups = (count + TILE_LANES - 1) / TILE_LANES;
    const struct tile_packed packed = worker_packed(worker);
    memset(worker->row_best, 255, (size_t)groups * TILE_LANES * TILE_ROW_BEST * sizeof(uint32_t));
    const uint32_t tiles = (count + TILE_COLUMNS - 1) / TILE_COLUMNS;
    memset(worker->column_best, 255,
           (size_t)tiles * TILE_GROUPS * TILE_COLUMN_BEST * sizeof(uint32_t));
    struct tile_side side = {.rows = worker->rows, .numbers = worker->numbers};
    for (uint32_t column = 0; column < count; column += TILE_COLUMNS)
        for (uint32_t row = column; row < count; row += TILE_ROWS) {
            const uint32_t left = count - row;
            for (uint32_t r = 0; r < TILE_ROWS; r++)
                side.at[r] = r < left ? row + r : count - 1;
            tile_measure(build, &side, &packed, column, distances);
            const struct tile_gram gram = {.distances = distances,
                                           .row = row,
                                           .rows = left < TILE_ROWS ? left : TILE_ROWS,
                                           .column = column,
                                           .row_best = worker->row_best,
                                           .column_best = worker->column_best};
            build->tiles->gram(&gram);
        }
    for (uint32_t group = 0; group < groups; group++)
        build->tiles->gram_finish(worker->row_best + (size_t)group * TILE_LANES * TILE_ROW_BEST,
                                  worker->column_best + (size_t)group * TILE_COLUMN_BEST,
                                  worker->nearest + (size_t)group * TILE_LANES * TILE_LANES);
}

static uint32_t *
leaf_list(const struct build_worker *worker, uint32_t member)
{
    return worker->lists + (size_t)member * LEAF_LIST_ROOM;
}

// A member's candidates: its own nearest, and those whose nearest it is among.
static void
leaf_lists(struct build_worker *worker, uint32_t count, uint32_t near)
{
    memset(worker->list_counts, 0, count);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t *nearest = worker->nearest + (size_t)i * TILE_LANES;
        for (uint32_t k = 0; k < near && nearest[k] != TILE_NO_KEY; k++) {
            const uint32_t key = nearest[k], other = key & TILE_ID_MASK;
            uint8_t *const own = &worker->list_counts[i], *const theirs =
                                                              &worker->list_counts[other];
            leaf_list(worker, i)[(*own)++] = key;
            // Written in any case and then counted or not, which is no guess.
            const uint32_t back = (key & ~TILE_ID_MASK) | i;
            const uint32_t last = worker->nearest[(size_t)other * TILE_LANES + near - 1];
            leaf_list(worker, other)[*theirs] = back;
            *theirs += (back > last) & (*theirs < LEAF_CANDIDATES_MAX - near);
        }
    }
}

struct offer {
    uint64_t candidates[LEAF_CANDIDATES_MAX];
    uint32_t count;
};

// Leaves those of a member's keys that may enter its reservoir; returns how many. What does not enter now does not later either.
static uint32_t
leave_near(uint32_t *keys, uint32_t count, uint32_t head)
{
    const uint32_t bound = reservoir_bound(head) >> 8;
    uint32_t left = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t key = keys[i];
        keys[left] = key; // in any case, which is no guess
        left += key >> TILE_KEY_SHIFT <= bound;
    }
    return left;
}

// Makes a member's candidates; none where none may enter.
static void
offer_make(const struct build *build, const struct build_worker *worker, const uint32_t *ids,
           uint32_t member, struct offer *offer)
{
    const uint32_t at = ids[member] - build->first;
    const uint32_t head =
        atomic_load_explicit(&build->heads[at], memory_order_relaxed) & ~HEAD_BUSY;
    uint32_t *const keys = leaf_list(worker, member);
    offer->count = leave_near(keys, worker->list_counts[member], head);
    if (offer->count == 0)
        return;
    prefetch_lines(&build->reservoirs[at], sizeof build->reservoirs[at]);
    build->tiles->candidates(keys, offer->count, ids, worker->sketches,
                             worker->sketches + (size_t)member * TILE_SKETCH, offer->candidates);
}

static void
offer_put(struct build *build, uint32_t place, const struct offer *offer)
{
    const uint32_t place_in_pass = place - build->first;
    _Atomic uint32_t *const at = &build->heads[place_in_pass];
    uint32_t head;
    do
        head = atomic_fetch_or_explicit(at, HEAD_BUSY, memory_order_acquire);
    while ((head & HEAD_BUSY) != 0);
    head = build->tiles->keep(&build->reservoirs[place_in_pass], head, offer->candidates,
                              offer->count);
    atomic_store_explicit(at, head, memory_order_release);
}

static void
leaf_offer(struct build *build, struct build_worker *worker, const uint32_t *ids, uint32_t count)
{
    struct offer offers[AHEAD];
    for (uint32_t i = 0; i < count + AHEAD; i++) {
        if (i >= AHEAD) {
            const uint32_t place = ids[i - AHEAD];
            if (in_pass(build, place) && offers[i % AHEAD].count > 0)
                offer_put(build, place, &offers[i % AHEAD]);
        }
        if (i + HEADS_AHEAD < count && in_pass(build, ids[i + HEADS_AHEAD]))
            prefetch_line((const void *)&build->heads[ids[i + HEADS_AHEAD] - build->first]);
        if (i < count && in_pass(build, ids[i]))
            offer_make(build, worker, ids, i, &offers[i % AHEAD]);
    }
}
