// index/build_reach.c -- every row can be reached from row 0.
//
// Shape: handle.
//
// All links are followed from row 0, level by level, many threads a level. A row that was not met is given a link by one that it
// links to and that was met: appended where there is room, else in place of that one's last link, which the row takes over. So
// what is reached stays reached. Where a whole group links to nothing outside, its first row is linked from the nearest of
// some rows that were met. It is meant for a row in a thousand, and for clusters too far apart to be near each other. Where
// more than one row in a hundred needs a link of its own, the graph is not worth it.
//
// A look at all rows costs as much as following all links, so there are few of them, however many groups there are.
#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "base/prefetch.h"
#include "base/prng.h"
#include "index/build_int.h"

#define BLOCK_ROWS 512u
#define LINKS_AHEAD 8u
#define GIVEN_FEW 8u
#define GIVEN_SHARE 100u // of all rows, one in so many may be given a link
#define FAR_DRAWS 256u   // of rows that were met, for a group that links to none
#define LOOKS_NEAR 8u    // at all rows, for those that link to one that was met

// Who gets a link in a look: rows that link to one that was met, or all that were not.
enum reach_from { REACH_NEAR, REACH_FAR };

struct reach {
    struct build *build;
    _Atomic uint64_t *met; // a bit a row
    uint32_t *queue;       // of rows that were met
    uint32_t from, end;    // the level
    _Atomic uint32_t tail;
    uint32_t rows;
    uint32_t given, given_max; // links
};

static bool
was_met(const struct reach *reach, uint32_t row)
{
    return (atomic_load_explicit(&reach->met[row >> 6], memory_order_relaxed) >> (row & 63) & 1) !=
           0;
}

// True for whoever meets it first.
static bool
meet(struct reach *reach, uint32_t row)
{
    if (was_met(reach, row))
        return false;
    const uint64_t bit = 1ull << (row & 63);
    return (atomic_fetch_or_explicit(&reach->met[row >> 6], bit, memory_order_relaxed) & bit) == 0;
}

static const uint32_t *
links_of(const struct reach *reach, uint32_t row)
{
    return reach->build->links + (size_t)row * reach->build->config.links_max;
}

static void
level_block(void *context, uint32_t index, uint32_t worker)
{
    (void)worker;
    struct reach *reach = context;
    const struct build *build = reach->build;
    const uint32_t from = reach->from + index * BLOCK_ROWS, left = reach->end - from;
    const uint32_t end = from + (left < BLOCK_ROWS ? left : BLOCK_ROWS);
    for (uint32_t i = from; i < end; i++) {
        if (i + LINKS_AHEAD < end) {
            const uint32_t next = reach->queue[i + LINKS_AHEAD];
            prefetch_lines(links_of(reach, next), build->config.links_max * sizeof(uint32_t));
            prefetch_line(&build->counts[next]);
        }
        const uint32_t row = reach->queue[i], *links = links_of(reach, row);
        uint32_t fresh[LINK_ROW_MAX], count = 0;
        for (uint32_t k = 0; k < build->counts[row]; k++)
            if (meet(reach, links[k]))
                fresh[count++] = links[k];
        if (count == 0)
            continue;
        const uint32_t at = atomic_fetch_add_explicit(&reach->tail, count, memory_order_relaxed);
        memcpy(reach->queue + at, fresh, count * sizeof *fresh);
    }
}

// Follows links from the rows of [reach->from, tail) until there is nothing new.
static void
follow(struct reach *reach)
{
    for (;;) {
        reach->end = atomic_load_explicit(&reach->tail, memory_order_relaxed);
        if (reach->from == reach->end)
            return;
        const uint32_t blocks = (reach->end - reach->from + BLOCK_ROWS - 1) / BLOCK_ROWS;
        pool_run_behind(reach->build->config.threads, blocks, level_block, reach);
        reach->from = reach->end;
    }
}

static void
meet_and_follow(struct reach *reach, uint32_t row)
{
    if (!meet(reach, row))
        return;
    reach->queue[atomic_fetch_add_explicit(&reach->tail, 1, memory_order_relaxed)] = row;
    follow(reach);
}

static uint32_t *
writable(struct reach *reach, uint32_t row)
{
    return reach->build->links + (size_t)row * reach->build->config.links_max;
}

// `met` links to `row`; what it gives up for that, the row links to.
static void
give_link(struct reach *reach, uint32_t met, uint32_t row)
{
    struct build *build = reach->build;
    const uint32_t links_max = build->config.links_max;
    uint32_t *const theirs = writable(reach, met), *const own = writable(reach, row);
    reach->given++;
    if (build->counts[met] < links_max) {
        theirs[build->counts[met]++] = row;
        return;
    }
    const uint32_t moved = theirs[links_max - 1];
    theirs[links_max - 1] = row;
    if (links_contain(own, build->counts[row], moved))
        return;
    if (build->counts[row] < links_max)
        build->counts[row]++;
    own[build->counts[row] - 1] = moved;
}

// The row that is to link to `row`: the first of its links that was met and has room, or that was met; BUILD_NONE.
static uint32_t
giver(const struct reach *reach, uint32_t row)
{
    const struct build *build = reach->build;
    const uint32_t *links = links_of(reach, row);
    uint32_t any = BUILD_NONE;
    for (uint32_t i = 0; i < build->counts[row]; i++) {
        if (!was_met(reach, links[i]))
            continue;
        if (build->counts[links[i]] < build->config.links_max)
            return links[i];
        any = any == BUILD_NONE ? links[i] : any;
    }
    return any;
}

// The nearest of rows drawn from those that were met. Row 0 was, so there is one.
static uint32_t
far_giver(const struct reach *reach, uint32_t row)
{
    const struct build *build = reach->build;
    struct build_worker *worker = &build->workers[0];
    struct prng prng;
    uint32_t best = 0, drawn[TILE_COLUMNS] = {0};
    float nearest = INFINITY;
    prng_init(&prng, mix64(build->seed ^ row));
    rows_read_ahead(build, worker, &row, 1);
    const struct tile_side side = {.rows = worker->ahead, .numbers = worker->ahead_numbers};
    for (uint32_t draws = 0; draws < FAR_DRAWS;) {
        uint32_t count = 0;
        for (; draws < FAR_DRAWS && count < TILE_COLUMNS; draws++) {
            drawn[count] = prng_below(&prng, reach->rows);
            count += was_met(reach, drawn[count]);
        }
        if (count == 0)
            continue;
        _Alignas(64) float distances[TILE_COLUMNS];
        const struct tile_packed packed = worker_packed(worker);
        rows_read(build, worker, drawn, count, SKETCH_NONE);
        rows_pack(build, worker, count);
        row_measure(build, &side, &packed, TILE_GROUPS, distances);
        for (uint32_t i = 0; i < count; i++)
            if (distances[i] < nearest) {
                nearest = distances[i];
                best = drawn[i];
            }
    }
    return best;
}

// One look at all rows; true when one was linked.
static bool
link_round(struct reach *reach, enum reach_from from)
{
    struct build *build = reach->build;
    const uint32_t before = reach->given;
    build->report->looks++;
    for (uint32_t row = 0; row < reach->rows && reach->given <= reach->given_max; row++) {
        if (row % BLOCK_ROWS == 0)
            build_done(build, 0, 0); // may be told to stop
        if (build_stopped(build))
            break;
        if (was_met(reach, row))
            continue;
        uint32_t met = giver(reach, row);
        if (met == BUILD_NONE && from == REACH_FAR)
            met = far_giver(reach, row);
        if (met == BUILD_NONE)
            continue;
        give_link(reach, met, row);
        meet_and_follow(reach, row);
    }
    return reach->given > before;
}

static void
link_all(struct reach *reach)
{
    for (uint32_t i = 0; i < LOOKS_NEAR; i++) {
        if (atomic_load_explicit(&reach->tail, memory_order_relaxed) == reach->rows)
            return;
        if (!link_round(reach, REACH_NEAR))
            break;
    }
    (void)link_round(reach, REACH_FAR);
}

bool
build_reach(struct build *build, uint32_t rows)
{
    const size_t met_bytes = ((size_t)rows + 63) / 64 * sizeof(uint64_t);
    const size_t queue_bytes = (size_t)rows * sizeof(uint32_t);
    struct reach reach = {
        .build = build, .rows = rows, .given_max = GIVEN_FEW + rows / GIVEN_SHARE};
    bool all = false;
    reach.met = build_alloc(build, met_bytes);
    reach.queue = build_alloc(build, queue_bytes);
    if (!build_stopped(build)) {
        meet_and_follow(&reach, 0);
        build->report->unreached = rows - atomic_load(&reach.tail);
        link_all(&reach);
        build->report->links_given = reach.given;
        all = atomic_load(&reach.tail) == rows;
    }
    build_free(build, (void *)reach.met, met_bytes);
    build_free(build, reach.queue, queue_bytes);
    return all;
}
