// index/build_wanted.c -- short copies that are made where they are wanted, for want of room for all of them.
//
// Shape: handle.
//
// A leaf's rows are those of the leaf before in part, and so are candidates of rows whose places follow each other: a thread keeps
// the copies that it made last. A copy is the same whoever makes it, and however often, so the graph is that of copies that are all there.
// Of 60,000 pictures of 784 components nine copies of each row are made for the leaves of two passes, six for choices, two for what turns
// links round.
#include <string.h>

#include "index/build_int.h"

#define WAYS 4u // of a set
#define ROOM_LEAST 2048u
#define ROOM_MOST 32768u
#define SHARE 16u // a thread keeps the copies of one row in so many

uint32_t
wanted_room(uint32_t rows)
{
    uint32_t room = ROOM_LEAST;
    while (room < rows / SHARE && room < ROOM_MOST)
        room *= 2;
    return room;
}

size_t
wanted_lay_out(struct wanted *wanted, uint32_t room, uint32_t width, uint8_t *base)
{
    size_t at = 0;
    wanted->rows = memory_part(base, &at, room * sizeof *wanted->rows);
    wanted->copies = memory_part(base, &at, (size_t)room * width);
    wanted->numbers = memory_part(base, &at, room * sizeof *wanted->numbers);
    wanted->next = memory_part(base, &at, room / WAYS);
    return at;
}

// Where the set of a row begins. Rows that are near may have numbers that are a step apart, so numbers are stirred.
static uint32_t
set_of(const struct build *build, uint32_t row)
{
    return (row * 0x9e3779b1u >> 16) % (build->copies_room / WAYS) * WAYS;
}

// The place of a row's copy among those that are kept; BUILD_NONE where it is not.
static uint32_t
kept_at(const struct build *build, const struct wanted *wanted, uint32_t row)
{
    const uint32_t set = set_of(build, row);
    for (uint32_t way = 0; way < WAYS; way++)
        if (wanted->rows[set + way] == row + 1)
            return set + way;
    return BUILD_NONE;
}

struct fetch {
    const struct build *build;
    struct build_worker *worker;
    void *to;
    struct tile_numbers *numbers;
    float *sketches;
    // Rows that have no copy yet, and which of those that are fetched each is.
    uint32_t count, rows[TILE_ROWS], at[TILE_ROWS];
};

static void
give(const struct fetch *fetch, uint32_t i, const uint8_t *copy, const struct tile_numbers *numbers)
{
    memcpy(worker_row(fetch->build, fetch->to, i), copy, fetch->build->rows.width);
    fetch->numbers[i] = *numbers;
    if (fetch->sketches != NULL)
        copy_sketch(copy, numbers, fetch->sketches + (size_t)i * TILE_SKETCH);
}

// In place of the one of its set that came first.
static void
keep(const struct fetch *fetch, uint32_t row, const uint8_t *copy,
     const struct tile_numbers *numbers)
{
    const uint32_t width = fetch->build->rows.width, set = set_of(fetch->build, row);
    struct wanted *const wanted = &fetch->worker->wanted;
    const uint32_t at = set + wanted->next[set / WAYS]++ % WAYS;
    wanted->rows[at] = row + 1;
    wanted->numbers[at] = *numbers;
    memcpy(wanted->copies + (size_t)at * width, copy, width);
}

static void
make_some(struct fetch *fetch)
{
    const struct narrow *narrow = &fetch->build->narrow;
    const uint32_t width = narrow->width;
    _Alignas(64) uint8_t copies[TILE_ROWS * AXES_MAX];
    struct tile_numbers numbers[TILE_ROWS];
    if (fetch->count == 0)
        return;
    lens_copy(fetch->build, fetch->worker, &narrow->lens, &narrow->wide, fetch->rows, fetch->count,
              copies, numbers);
    for (uint32_t i = 0; i < fetch->count; i++) {
        const uint8_t *const copy = copies + (size_t)i * width;
        give(fetch, fetch->at[i], copy, &numbers[i]);
        keep(fetch, fetch->rows[i], copy, &numbers[i]);
    }
    fetch->count = 0;
}

void
wanted_fetch(const struct build *build, struct build_worker *worker, const uint32_t *ids,
             uint32_t count, void *to, struct tile_numbers *numbers, float *sketches)
{
    const struct build_rows *wide = &build->narrow.wide;
    const struct wanted *wanted = &worker->wanted;
    struct fetch fetch = {
        .build = build, .worker = worker, .to = to, .numbers = numbers, .sketches = sketches};
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t row = build->called != NULL ? build->called[ids[i]] : ids[i];
        const uint32_t at = kept_at(build, wanted, row);
        if (at != BUILD_NONE) {
            give(&fetch, i, wanted->copies + (size_t)at * build->rows.width, &wanted->numbers[at]);
            continue;
        }
        wide->prefetch(wide->context, row);
        fetch.rows[fetch.count] = row;
        fetch.at[fetch.count++] = i;
        if (fetch.count == TILE_ROWS)
            make_some(&fetch);
    }
    make_some(&fetch);
}
