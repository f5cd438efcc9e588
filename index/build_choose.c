// index/build_choose.c -- which of its candidates a row links to.
//
// Shape: handle.
//
// From near to far, a candidate is passed over when one that was chosen is at least as near to it as the row is: the relative
// neighbourhood graph among the candidates. As in prune.c a second pass relaxes that rule and fills the places that are left:
// without it walks of a short beam find less than among inserted links (with 9,000 rows and ef 10 some 4 points of recall).
// In a clump that is as wide in all directions everybody would choose the one in the middle, which has room for few, and the
// others be lost; so who is left with less than a quarter takes the nearest of the rest.
//
// All candidates are packed once, so a chosen one is compared with all others in one go.
#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "index/build_int.h"

#define BLOCK_ROWS 256u
#define LEAST_SHARE 4u // of the links that a row may choose, it has at least one in so many

static uint64_t
distance_key(float distance, uint32_t row)
{
    uint32_t bits;
    memcpy(&bits, &distance, sizeof bits);
    return (uint64_t)bits << 32 | row;
}

// The bits of places below `count`.
static uint64_t
first_places(uint32_t count)
{
    return count >= 64 ? ~0ull : (1ull << count) - 1;
}

// Candidates of one row, and what those that were chosen say of the others.
struct candidates {
    const struct build *build;
    struct build_worker *worker; // has them packed
    uint32_t count;
    uint64_t taken;                     // a bit a place
    _Alignas(64) float own[CHOOSE_MAX]; // distances to the row
    float nearest[CHOOSE_MAX];          // to the nearest that was chosen
    uint8_t order[CHOOSE_MAX];          // places, near to far
};

static void
measure(struct candidates *from, uint32_t owner, const uint32_t *rows)
{
    const struct build *build = from->build;
    struct build_worker *worker = from->worker;
    const struct tile_packed packed = worker_packed(worker);
    uint64_t values[CHOOSE_MAX];
    rows_read(build, worker, rows, from->count, SKETCH_NONE);
    rows_pack(build, worker, from->count);
    build->rows.read(build->rows.context, owner, worker->ahead, &worker->ahead_numbers[0], NULL);
    const struct tile_side row = {.rows = worker->ahead, .numbers = worker->ahead_numbers};
    row_measure(build, &row, &packed, (from->count + TILE_LANES - 1) / TILE_LANES, from->own);
    for (uint32_t i = 0; i < CHOOSE_MAX; i++) {
        from->nearest[i] = INFINITY;
        if (i >= from->count)
            from->own[i] = INFINITY;
    }
    for (uint32_t i = 0; i < from->count; i++)
        values[i] = distance_key(from->own[i], rows[i]);
    build->tiles->order(values, from->count, from->order);
}

// Marks the one at `place` as chosen; returns the places of those that are nearer to the row than to any chosen one.
static uint64_t
take(struct candidates *from, uint32_t place)
{
    _Alignas(64) float between[CHOOSE_MAX];
    const struct build *build = from->build;
    struct build_worker *worker = from->worker;
    const struct tile_packed packed = worker_packed(worker);
    const struct tile_side side = {.rows = worker->rows, .numbers = worker->numbers, .at = {place}};
    for (uint32_t i = from->count; i < CHOOSE_MAX; i++)
        between[i] = INFINITY;
    row_measure(build, &side, &packed, (from->count + TILE_LANES - 1) / TILE_LANES, between);
    from->taken |= 1ull << place;
    return build->tiles->occlude(between, from->own, from->nearest);
}

uint32_t
choose(const struct build *build, struct build_worker *worker, uint32_t owner,
       const uint32_t *candidates, uint32_t count, uint32_t keep, uint32_t *out)
{
    ASSERT(count <= CHOOSE_MAX);
    if (count == 0)
        return 0;
    struct candidates from = {.build = build, .worker = worker, .count = count};
    measure(&from, owner, candidates);
    uint64_t open = first_places(count);
    uint32_t chosen = 0;
    for (uint32_t i = 0; i < count && chosen < keep; i++) {
        const uint32_t place = from.order[i];
        if ((open >> place & 1) == 0)
            continue;
        out[chosen++] = candidates[place];
        if (chosen < keep) // nobody asks what the last one says
            open = take(&from, place);
    }
    const float relaxed = build->config.relaxed;
    for (uint32_t i = 0; i < count && chosen < keep && relaxed > 0.0f; i++) {
        const uint32_t place = from.order[i];
        if ((from.taken >> place & 1) != 0 || from.own[place] > relaxed * from.nearest[place])
            continue;
        out[chosen++] = candidates[place];
        if (chosen < keep)
            (void)take(&from, place);
    }
    for (uint32_t i = 0; i < count && chosen < keep / LEAST_SHARE; i++)
        if ((from.taken >> from.order[i] & 1) == 0)
            out[chosen++] = candidates[from.order[i]];
    return chosen;
}

// The rows in the reservoir of a place of this pass; returns how many.
static uint32_t
candidates_of(const struct build *build, uint32_t place, uint32_t *rows)
{
    const uint32_t at = place - build->first;
    const uint32_t *places = build->reservoirs[at].ids;
    const uint32_t count =
        reservoir_count(atomic_load_explicit(&build->heads[at], memory_order_relaxed));
    for (uint32_t i = 0; i < count; i++)
        rows[i] = build->order[places[i]];
    return count;
}

static void
choose_block(void *context, uint32_t index, uint32_t worker)
{
    struct build *build = context;
    if (build_stopped(build))
        return;
    const uint32_t from = build->first + index * BLOCK_ROWS, links_max = build->config.links_max;
    const uint32_t left = build->end - from;
    const uint32_t end = from + (left < BLOCK_ROWS ? left : BLOCK_ROWS);
    uint32_t rows[2][RESERVOIR_SLOTS], counts[2];
    counts[from % 2] = candidates_of(build, from, rows[from % 2]);
    for (uint32_t place = from; place < end; place++) {
        const uint32_t next = place + 1, row = build->order[place];
        if (next < end) { // what will be read then
            counts[next % 2] = candidates_of(build, next, rows[next % 2]);
            for (uint32_t i = 0; i < counts[next % 2]; i++)
                build->rows.prefetch(build->rows.context, rows[next % 2][i]);
        }
        build->counts[row] =
            (uint8_t)choose(build, &build->workers[worker], row, rows[place % 2], counts[place % 2],
                            build->config.chosen, build->links + (size_t)row * links_max);
    }
    build_done(build, worker, end - from);
}

void
build_choose(struct build *build)
{
    const uint32_t blocks = (build->end - build->first + BLOCK_ROWS - 1) / BLOCK_ROWS;
    pool_run(build->config.threads, blocks, choose_block, build);
}
