// index/build_reverse.c -- the other direction of each link.
//
// Shape: handle.
//
// Links are sorted by where they lead to (counted, then put), so every row knows who chose it. It takes them all where there
// is room, in the order of their numbers; else it chooses anew, of its own and theirs, as many at a time as can be compared.
// What a row does depends on lists that nobody changes, so threads share nothing.
//
// Rows are gone through in the order of their places. They link to rows that are near, as do those whose turn it was just before,
// so what is counted, put and compared is in the cache still; in the order of their numbers each link was a miss, which made putting
// them a seventh of the whole build (1,000,000 x 128).
#include <string.h>

#include "base/pool.h"
#include "base/prefetch.h"
#include "index/build_int.h"

#define BLOCK_ROWS 1024u
#define ROWS_AHEAD 16u // whose links are prefetched
#define ENDS_AHEAD 8u  // and where they lead to
#define FROM_AHEAD 4u  // and where they will be put
#define SORT_FEW 64u   // that the tables' order can sort
// Of a row that chooses anew: the rest is room for the next that come.
#define KEEP_MAX (CHOOSE_MAX * 3 / 4)

struct reverse {
    struct build *build;
    _Atomic uint64_t *
        ends; // of each row: first how many chose it, then where its part of `from` begins, at last ends
    uint32_t *from;
    void *memory; // of both, where it is not the build's block
    size_t memory_bytes;
    _Atomic uint32_t chosen_again;
};

static void
block_range(const struct build *build, uint32_t index, uint32_t *from, uint32_t *end)
{
    *from = index * BLOCK_ROWS;
    const uint32_t left = build->rows.count - *from;
    *end = *from + (left < BLOCK_ROWS ? left : BLOCK_ROWS);
}

static uint32_t *
links_of(const struct build *build, uint32_t row)
{
    return build->links + (size_t)row * build->config.links_max;
}

// Asks for the links of a row whose turn comes soon.
static void
links_ahead(const struct build *build, uint32_t place)
{
    if (place >= build->rows.count)
        return;
    const uint32_t row = build->order[place];
    prefetch_line(&build->counts[row]);
    prefetch_lines(links_of(build, row), build->config.links_max * sizeof(uint32_t));
}

// Asks for the ends of those that a row links to, whose links have been asked for. An addition that other threads may see waits for
// all stores before it, so each miss would be waited for.
static void
ends_ahead(const struct reverse *reverse, uint32_t place)
{
    const struct build *build = reverse->build;
    if (place >= build->rows.count)
        return;
    const uint32_t row = build->order[place], *links = links_of(build, row);
    for (uint32_t i = 0; i < build->counts[row]; i++)
        prefetch_line((const void *)&reverse->ends[links[i]]);
}

// And for the places where the row will be put, whose ends have been asked for.
static void
from_ahead(const struct reverse *reverse, uint32_t place)
{
    const struct build *build = reverse->build;
    if (place >= build->rows.count)
        return;
    const uint32_t row = build->order[place], *links = links_of(build, row);
    for (uint32_t i = 0; i < build->counts[row]; i++)
        prefetch_line(
            &reverse->from[atomic_load_explicit(&reverse->ends[links[i]], memory_order_relaxed)]);
}

static void
count_block(void *context, uint32_t index, uint32_t worker)
{
    (void)worker;
    struct reverse *reverse = context;
    const struct build *build = reverse->build;
    uint32_t from, end;
    block_range(build, index, &from, &end);
    for (uint32_t place = from; place < end; place++) {
        const uint32_t row = build->order[place], *links = links_of(build, row);
        links_ahead(build, place + ROWS_AHEAD);
        ends_ahead(reverse, place + ENDS_AHEAD);
        for (uint32_t i = 0; i < build->counts[row]; i++)
            atomic_fetch_add_explicit(&reverse->ends[links[i]], 1, memory_order_relaxed);
    }
}

static void
put_block(void *context, uint32_t index, uint32_t worker)
{
    (void)worker;
    struct reverse *reverse = context;
    const struct build *build = reverse->build;
    uint32_t from, end;
    block_range(build, index, &from, &end);
    for (uint32_t place = from; place < end; place++) {
        const uint32_t row = build->order[place], *links = links_of(build, row);
        links_ahead(build, place + ROWS_AHEAD);
        ends_ahead(reverse, place + ENDS_AHEAD);
        from_ahead(reverse, place + FROM_AHEAD);
        for (uint32_t i = 0; i < build->counts[row]; i++)
            reverse->from[atomic_fetch_add_explicit(&reverse->ends[links[i]], 1,
                                                    memory_order_relaxed)] = row;
    }
}

// From counts to starts.
static void
place_counts(struct reverse *reverse)
{
    uint64_t at = 0;
    for (uint32_t row = 0; row < reverse->build->rows.count; row++) {
        const uint64_t count = atomic_load_explicit(&reverse->ends[row], memory_order_relaxed);
        atomic_store_explicit(&reverse->ends[row], at, memory_order_relaxed);
        at += count;
    }
}

// A list that is as short as most are, without a branch.
static void
sort_few(const struct build *build, uint32_t *rows, uint32_t count)
{
    uint64_t values[SORT_FEW] = {0};
    uint8_t order[SORT_FEW];
    for (uint32_t i = 0; i < count; i++)
        values[i] = (uint64_t)rows[i] << 32;
    build->tiles->order(values, count, order);
    for (uint32_t i = 0; i < count; i++)
        rows[i] = (uint32_t)(values[order[i]] >> 32);
}

// Else Shell's sort, by Knuth's steps, in place.
static void
sort_rows(const struct build *build, uint32_t *rows, size_t count)
{
    if (count <= SORT_FEW) {
        sort_few(build, rows, (uint32_t)count);
        return;
    }
    size_t step = 1;
    while (step < count / 9)
        step = 3 * step + 1;
    for (; step > 0; step /= 3)
        for (size_t i = step; i < count; i++) {
            const uint32_t row = rows[i];
            size_t at = i;
            for (; at >= step && rows[at - step] > row; at -= step)
                rows[at] = rows[at - step];
            rows[at] = row;
        }
}

static bool
contains(const uint32_t *rows, uint32_t count, uint32_t row)
{
    bool there = false;
    for (uint32_t i = 0; i < count; i++)
        there |= rows[i] == row;
    return there;
}

// Chooses `keep` <= KEEP_MAX of `rows` and of the `held` candidates, which have room for CHOOSE_MAX: as many at a time as can be
// compared, those that were chosen with the next. Returns how many the candidates are then.
static uint32_t
best_of(const struct reverse *reverse, struct build_worker *worker, uint32_t row,
        const uint32_t *rows, size_t count, uint32_t keep, uint32_t *candidates, uint32_t held)
{
    for (size_t i = 0; i < count || held > keep;) {
        for (; i < count && held < CHOOSE_MAX; i++)
            candidates[held++] = rows[i];
        uint32_t chosen[CHOOSE_MAX];
        held = choose(reverse->build, worker, row, candidates, held, keep, chosen);
        memcpy(candidates, chosen, held * sizeof *candidates);
    }
    return held;
}

// Moves those of `rows` that are not among `listed` to the front; returns how many they are.
static size_t
leave_out(uint32_t *rows, size_t count, const uint32_t *listed, uint32_t listed_count)
{
    size_t left = 0;
    for (size_t i = 0; i < count; i++)
        if (!contains(listed, listed_count, rows[i]))
            rows[left++] = rows[i];
    return left;
}

// Fills the places that a row has left with the best of `rows`, and goes on with the others as long as all that are asked for
// are worth it; returns how many links it has then.
static uint32_t
fill_places(const struct reverse *reverse, struct build_worker *worker, uint32_t row,
            uint32_t *rows, size_t count)
{
    const uint32_t links_max = reverse->build->config.links_max;
    uint32_t *const links = links_of(reverse->build, row);
    uint32_t own = reverse->build->counts[row], best, keep;
    do {
        uint32_t candidates[CHOOSE_MAX];
        keep = links_max - own < KEEP_MAX ? links_max - own : KEEP_MAX;
        best = best_of(reverse, worker, row, rows, count, keep, candidates, 0);
        memcpy(links + own, candidates, best * sizeof *links);
        own += best;
        count = leave_out(rows, count, candidates, best);
    } while (best == keep && own < links_max && count > 0);
    return own;
}

// A row and who comes to its links: those that chose it and that it did not choose, in the order of their numbers.
struct taker {
    uint32_t row;
    uint32_t *rows;
    size_t count;
};

static bool
chooses(const struct build *build, const struct taker *taker)
{
    return build->counts[taker->row] + taker->count > build->config.links_max;
}

// Takes them into the row's links. Where all places cannot be chosen at once, its own stay.
static void
take(struct reverse *reverse, struct build_worker *worker, const struct taker *taker)
{
    struct build *build = reverse->build;
    const uint32_t links_max = build->config.links_max, row = taker->row;
    uint32_t *const links = links_of(build, row), *const rows = taker->rows;
    uint32_t own = build->counts[row];
    const size_t count = taker->count;
    if (!chooses(build, taker)) {
        memcpy(links + own, rows, count * sizeof *links);
        own += (uint32_t)count;
    } else if (links_max > KEEP_MAX) {
        own = fill_places(reverse, worker, row, rows, count);
    } else {
        uint32_t candidates[CHOOSE_MAX];
        memcpy(candidates, links, own * sizeof *candidates);
        own = best_of(reverse, worker, row, rows, count, links_max, candidates, own);
        memcpy(links, candidates, own * sizeof *links);
    }
    build->counts[row] = (uint8_t)own;
}

// Who chose the row; returns how many.
static size_t
choosers(const struct reverse *reverse, uint32_t row, uint32_t **rows)
{
    const uint64_t first =
        row > 0 ? atomic_load_explicit(&reverse->ends[row - 1], memory_order_relaxed) : 0;
    const uint64_t end = atomic_load_explicit(&reverse->ends[row], memory_order_relaxed);
    *rows = reverse->from + first;
    return (size_t)(end - first);
}

// Says who comes to the links of the row at a place, and asks for what will be compared then.
static struct taker
taker_of(const struct reverse *reverse, uint32_t place)
{
    const struct build *build = reverse->build;
    struct taker taker = {.row = build->order[place]};
    const uint32_t *links = links_of(build, taker.row), own = build->counts[taker.row];
    const size_t count = choosers(reverse, taker.row, &taker.rows);
    sort_rows(build, taker.rows, count);
    taker.count = leave_out(taker.rows, count, links, own);
    if (!chooses(build, &taker))
        return taker;
    for (size_t i = 0; i < taker.count && i < CHOOSE_MAX; i++)
        build->rows.prefetch(build->rows.context, taker.rows[i]);
    for (uint32_t i = 0; i < own; i++)
        build->rows.prefetch(build->rows.context, links[i]);
    return taker;
}

static void
take_block(void *context, uint32_t index, uint32_t worker)
{
    struct reverse *reverse = context;
    struct build *build = reverse->build;
    if (build_stopped(build))
        return;
    uint32_t from, end, again = 0;
    block_range(build, index, &from, &end);
    struct taker next = taker_of(reverse, from);
    for (uint32_t place = from; place < end; place++) {
        const struct taker taker = next;
        uint32_t *rows;
        if (place + ROWS_AHEAD < build->rows.count) {
            links_ahead(build, place + ROWS_AHEAD);
            const size_t ahead = choosers(reverse, build->order[place + ROWS_AHEAD], &rows);
            prefetch_lines(rows, ahead * sizeof *rows);
        }
        if (place + 1 < end)
            next = taker_of(reverse, place + 1);
        again += chooses(build, &taker);
        take(reverse, &build->workers[worker], &taker);
    }
    atomic_fetch_add_explicit(&reverse->chosen_again, again, memory_order_relaxed);
    build_done(build, worker, end - from);
}

size_t
reverse_bytes(const struct build *build)
{
    const uint64_t links = build->chosen_count > 0
                               ? build->chosen_count
                               : (uint64_t)build->rows.count * build->config.chosen;
    return build->rows.count * sizeof(uint64_t) + links * sizeof(uint32_t);
}

// Where reservoirs were, or anew if that is too small.
static void
reverse_open(struct reverse *reverse)
{
    struct build *build = reverse->build;
    const size_t ends_bytes = build->rows.count * sizeof *reverse->ends;
    const size_t bytes = reverse_bytes(build);
    void *memory = build->block;
    if (bytes > build->block_bytes) {
        block_close(build);
        memory = reverse->memory = build_alloc(build, bytes);
        reverse->memory_bytes = bytes;
    }
    if (memory == NULL)
        return;
    memset(memory, 0, ends_bytes);
    reverse->ends = memory;
    reverse->from = (uint32_t *)(void *)((uint8_t *)memory + ends_bytes);
}

void
build_reverse(struct build *build)
{
    const uint32_t blocks = (build->rows.count + BLOCK_ROWS - 1) / BLOCK_ROWS;
    struct reverse reverse = {.build = build};
    reverse_open(&reverse);
    if (reverse.ends != NULL) {
        pool_run_behind(build->config.threads, blocks, count_block, &reverse);
        place_counts(&reverse);
        pool_run_behind(build->config.threads, blocks, put_block, &reverse);
        pool_run_behind(build->config.threads, blocks, take_block, &reverse);
    }
    build->report->chosen_again = atomic_load(&reverse.chosen_again);
    build_free(build, reverse.memory, reverse.memory_bytes);
}
