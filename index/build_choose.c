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
// Where copies are made as they are wanted, and kept for the next row.
#define BLOCK_ROWS_WANTED 1024u
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

// Candidates of one row, and what those that were chosen say of the others. Ranks count from near to far.
struct candidates {
    const struct build *build;
    struct build_worker *worker; // has them packed
    struct tile_lone lone;
    uint32_t count, groups;
    uint64_t taken;                         // a bit a rank
    _Alignas(64) float own[CHOOSE_MAX];     // distances to the row
    _Alignas(64) float nearest[CHOOSE_MAX]; // to the nearest that was chosen
    uint8_t order[CHOOSE_MAX];              // rank -> place
};

static void
measure(struct candidates *from, uint32_t owner, const uint32_t *rows)
{
    const struct build *build = from->build;
    struct build_worker *worker = from->worker;
    const struct tile_packed packed = worker_packed(worker);
    uint64_t values[CHOOSE_MAX];
    rows_read_asked(build, worker, rows, from->count, SKETCH_NONE);
    rows_pack(build, worker, from->count);
    rows_read_ahead(build, worker, &owner, 1);
    const struct tile_side row = {.rows = worker->ahead, .numbers = worker->ahead_numbers};
    row_measure(build, &row, &packed, from->groups, from->own);
    for (uint32_t i = 0; i < CHOOSE_MAX; i++)
        from->nearest[i] = INFINITY;
    for (uint32_t i = from->count; i < CHOOSE_MAX; i++)
        from->own[i] = INFINITY;
    for (uint32_t i = 0; i < from->count; i++)
        values[i] = distance_key(from->own[i], rows[i]);
    memset(from->order, 0, sizeof from->order);
    build->tiles->order(values, from->count, from->order);
    lone_open(build, &packed, &from->lone);
}

// Marks the one of a rank as chosen; returns the ranks of those that are nearer to the row than to any chosen one.
static uint64_t
take(struct candidates *from, uint32_t rank)
{
    const struct tile_occlusion occlusion = {
        .own = from->own, .nearest = from->nearest, .order = from->order};
    from->taken |= 1ull << rank;
    return lone_occlude(from->build, &from->lone, from->worker, from->order[rank], from->groups,
                        &occlusion);
}

static bool
is_loose(const struct candidates *from, uint32_t rank)
{
    const uint32_t place = from->order[rank];
    return from->own[place] <= from->build->config.relaxed * from->nearest[place];
}

// The ranks of those that are not taken and that the relaxed rule lets in. Later it lets in no others, but perhaps fewer.
static uint64_t
loose_ranks(const struct candidates *from)
{
    uint64_t loose = 0;
    for (uint32_t rank = 0; rank < from->count; rank++)
        loose |= (uint64_t)is_loose(from, rank) << rank;
    return loose & ~from->taken;
}

uint32_t
choose(const struct build *build, struct build_worker *worker, uint32_t owner,
       const uint32_t *candidates, uint32_t count, uint32_t keep, uint32_t *out)
{
    ASSERT(count <= CHOOSE_MAX);
    if (count == 0)
        return 0;
    struct candidates from = {.build = build,
                              .worker = worker,
                              .count = count,
                              .groups = (count + TILE_LANES - 1) / TILE_LANES};
    measure(&from, owner, candidates);
    uint64_t open = first_places(count);
    uint32_t chosen = 0;
    while (open != 0 && chosen < keep) {
        const uint32_t rank = (uint32_t)__builtin_ctzll(open);
        out[chosen++] = candidates[from.order[rank]];
        if (chosen < keep) // nobody asks what the last one says
            open &= take(&from, rank) & ~from.taken & first_places(count);
    }
    uint64_t loose = build->config.relaxed > 0.0f ? loose_ranks(&from) : 0;
    for (; loose != 0 && chosen < keep; loose &= loose - 1) {
        const uint32_t rank = (uint32_t)__builtin_ctzll(loose);
        if (!is_loose(&from, rank))
            continue;
        out[chosen++] = candidates[from.order[rank]];
        if (chosen < keep)
            (void)take(&from, rank);
    }
    for (uint32_t rank = 0; rank < count && chosen < keep / LEAST_SHARE; rank++)
        if ((from.taken >> rank & 1) == 0)
            out[chosen++] = candidates[from.order[rank]];
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

static uint32_t
block_rows(const struct build *build)
{
    return build->copies_room > 0 ? BLOCK_ROWS_WANTED : BLOCK_ROWS;
}

static void
choose_block(void *context, uint32_t index, uint32_t worker)
{
    struct build *build = context;
    if (build_stopped(build))
        return;
    const uint32_t from = build->first + index * block_rows(build);
    const uint32_t left = build->end - from;
    const uint32_t end = from + (left < block_rows(build) ? left : block_rows(build));
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
                            build->config.chosen, build->reservoirs[place - build->first].ids);
    }
    build_done(build, worker, end - from);
}

void
build_choose(struct build *build)
{
    const uint32_t each = block_rows(build);
    const uint32_t blocks = (build->end - build->first + each - 1) / each;
    pool_run_behind(build->config.threads, blocks, choose_block, build);
}
