// index/build_narrow.c -- short copies of long rows, which all else is compared by.
//
// Shape: handle.
//
// Where rows have many components few directions say most of how far two are apart: of 384 of a text's 192, of 784 of a
// picture's 128. Distances are of the parts along those, and of the lengths, which stay whole: what two rows have in the other directions
// is taken to have nothing to do with each other, which is wrong by little, and by the same for all that are near.
// (Of the 281 rows of a leaf the eight nearest: 0.90 are found so with 192 directions, 0.87 by lengths of the parts, and with 192
// directions by chance 0.72.) So leaves, choices and what turns them round read and multiply half or less.
//
// Whether that is so is tried: rows that lie together after the first split are asked for their nearest both ways. Rows of
// which no half of the directions will do are compared whole, as are short ones, those of floats, those under ip, whose queries are not
// like them, and all where there is no memory.
//
// Axes are mixed, AXES_STEP at a time, by a Hadamard matrix, so that components are alike and one scale a row is enough;
// then the first of them are as good to draw hashes of as any.
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/float_bits.h"
#include "base/pool.h"
#include "base/prefetch.h"
#include "base/prng.h"
#include "index/build_int.h"

#define WIDTH_LEAST 256u // of rows that are worth it
#define WIDTH_MOST 4096u // whose moments are
#define ROWS_LEAST 8192u // that pay for finding the axes
#define BLOCK_ROWS 1024u
#define TRIALS 24u // neighbourhoods that are asked, of so many rows
#define TRIAL_ROWS 256u
#define TRIAL_NEAR 8u
// Of what is near, so much must be near still, and so much in each neighbourhood: near-copies of a row differ in all directions.
#define KEPT_LEAST 0.83
#define KEPT_EACH 0.6

// A matrix that rows are multiplied with.
struct lens {
    const struct axes *axes;
    uint32_t count; // of the axes that are looked along
    float scale;    // what a byte of the matrix stands for
    float bound;    // of a row's product with one
    float *mixed;   // the axes
    uint8_t *bytes; // biased
    int8_t *columns;
    int32_t *starts;
    float *ones, *bounds; // of columns
};

// What makes short copies, beside the axes.
struct making {
    struct build *build;
    struct axes *axes;
    struct lens lens;
    struct narrow *out;
    const uint32_t *rows; // of `out`; NULL: all of them
    uint32_t count;
};

// How many axes are tried at most; 0: none.
static uint32_t
axes_most(const struct build *build)
{
    const struct build_rows *rows = &build->rows;
    if (build->config.maker != NULL || rows->kind != BUILD_BYTES || rows->extras ||
        rows->width < WIDTH_LEAST || rows->width > WIDTH_MOST || rows->count < ROWS_LEAST)
        return 0;
    const uint32_t half = rows->width / 2 / AXES_STEP * AXES_STEP;
    return half < AXES_MAX ? half : AXES_MAX;
}

// ---- along the axes ----

static size_t
lens_lay_out(struct lens *lens, uint32_t width, uint32_t most, uint8_t *base)
{
    const size_t room = axes_room(width);
    size_t at = 0;
    lens->mixed = memory_part(base, &at, most * room * sizeof *lens->mixed);
    lens->bytes = memory_part(base, &at, most * room);
    lens->columns = memory_part(base, &at, most * room);
    lens->starts = memory_part(base, &at, most * sizeof *lens->starts);
    lens->ones = memory_part(base, &at, most * sizeof *lens->ones);
    lens->bounds = memory_part(base, &at, most * sizeof *lens->bounds);
    return at;
}

// The axes of a step times a Hadamard matrix.
static void
mix(float *axes, size_t room)
{
    const float half = sqrtf(0.5f);
    for (uint32_t apart = 1; apart < AXES_STEP; apart *= 2)
        for (uint32_t i = 0; i < AXES_STEP; i++) {
            float *const a = axes + i * room, *const b = a + apart * room;
            for (size_t c = 0; (i & apart) == 0 && c < room; c++) {
                const float sum = half * (a[c] + b[c]);
                b[c] = half * (a[c] - b[c]);
                a[c] = sum;
            }
        }
}

// Looks along the next AXES_STEP axes too.
static void
lens_widen(const struct build *build, struct lens *lens)
{
    const uint32_t width = build->rows.width;
    const size_t room = axes_room(width), from = lens->count * room;
    memcpy(lens->mixed + from, axes_at(lens->axes, lens->count),
           AXES_STEP * room * sizeof *lens->mixed);
    mix(lens->mixed + from, room);
    lens->count += AXES_STEP;
    lens->bound = 128.0f * 128.0f * (float)width;
    lens->scale = bytes_of(lens->mixed, (uint32_t)(lens->count * room), lens->bytes);
    build->tiles->pack_bytes(lens->bytes, (uint32_t)room, lens->count, width, lens->columns,
                             lens->starts);
    for (uint32_t i = 0; i < lens->count; i++) {
        lens->ones[i] = 1.0f;
        lens->bounds[i] = lens->bound;
    }
}

// Reads up to TILE_ROWS rows and looks at them through the lens.
static void
look(const struct making *making, struct build_worker *worker, const uint32_t *rows, uint32_t count,
     float *out)
{
    const struct build *build = making->build;
    const struct lens *lens = &making->lens;
    _Alignas(64) float products[TILE_ROWS * TILE_COLUMNS];
    struct tile_bytes tile = {.bytes = build->rows.width};
    for (uint32_t r = 0; r < TILE_ROWS; r++) {
        const uint32_t at = r < count ? r : count - 1;
        tile.rows[r] = worker_row(build, worker->ahead, at);
        tile.numbers[r].scale = 1.0f;
        if (r < count)
            build->rows.read(build->rows.context, rows[r], worker_row(build, worker->ahead, r),
                             &worker->ahead_numbers[r], NULL);
    }
    for (uint32_t column = 0; column < lens->count; column += TILE_COLUMNS) {
        tile.columns = lens->columns + (size_t)column * build->rows.width;
        tile.starts = lens->starts + column;
        tile.scales = lens->ones + column;
        tile.adds = lens->bounds + column;
        tile_products(build, &tile, lens->bound, products);
        for (uint32_t r = 0; r < count; r++)
            memcpy(out + (size_t)r * lens->count + column, products + (size_t)r * TILE_COLUMNS,
                   TILE_COLUMNS * sizeof *out);
    }
}

static uint32_t
row_at(const struct making *making, uint32_t i)
{
    return making->rows != NULL ? making->rows[i] : i;
}

static void
make_block(void *context, uint32_t index, uint32_t worker)
{
    const struct making *making = context;
    struct build *build = making->build;
    struct build_worker *const own = &build->workers[worker];
    const uint32_t from = index * BLOCK_ROWS, left = making->count - from;
    const uint32_t end = from + (left < BLOCK_ROWS ? left : BLOCK_ROWS);
    const uint32_t width = making->lens.count;
    float seen[TILE_ROWS * AXES_MAX];
    if (build_stopped(build))
        return;
    for (uint32_t first = from; first < end; first += TILE_ROWS) {
        const uint32_t count = end - first < TILE_ROWS ? end - first : TILE_ROWS;
        uint32_t rows[TILE_ROWS];
        for (uint32_t r = 0; r < count; r++)
            rows[r] = row_at(making, first + r);
        for (uint32_t i = first + TILE_ROWS; i < first + 2 * TILE_ROWS && i < end; i++)
            build->rows.prefetch(build->rows.context, row_at(making, i));
        look(making, own, rows, count, seen);
        for (uint32_t r = 0; r < count; r++) {
            struct tile_numbers numbers = own->ahead_numbers[r];
            numbers.scale *=
                making->lens.scale * bytes_of(seen + (size_t)r * width, width,
                                              making->out->rows + (size_t)(first + r) * width);
            making->out->numbers[first + r] = numbers;
        }
    }
    build_done(build, worker, 0);
}

// ---- short copies ----

static size_t
copies_bytes(uint32_t count, uint32_t width)
{
    const size_t rows = ((size_t)count * width + 63) / 64 * 64;
    return rows + count * sizeof(struct tile_numbers);
}

// Copies of making->count rows; false where there is no memory, and the build says so.
static bool
copies_open(struct making *making, struct narrow *out)
{
    struct build *build = making->build;
    const uint32_t width = making->lens.count, count = making->count;
    *out = (struct narrow){.count = count, .width = width};
    out->rows = build_alloc(build, copies_bytes(count, width));
    if (out->rows == NULL)
        return false;
    out->numbers = (struct tile_numbers *)(void *)(out->rows + copies_bytes(count, width) -
                                                   count * sizeof *out->numbers);
    making->out = out;
    pool_run(build->config.threads, (count + BLOCK_ROWS - 1) / BLOCK_ROWS, make_block, making);
    return true;
}

static void
copies_close(struct build *build, struct narrow *copies)
{
    build_free(build, copies->rows, copies_bytes(copies->count, copies->width));
    *copies = (struct narrow){0};
}

static void
read_copy(const void *context, uint32_t row, void *components, struct tile_numbers *numbers,
          float *sketch)
{
    const struct narrow *copies = context;
    const uint8_t *from = copies->rows + (size_t)row * copies->width;
    memcpy(components, from, copies->width);
    *numbers = copies->numbers[row];
    for (uint32_t i = 0; sketch != NULL && i < TILE_SKETCH; i++)
        sketch[i] = numbers->scale * (float)(from[i] - TILE_BIAS);
}

static void
prefetch_copy(const void *context, uint32_t row)
{
    const struct narrow *copies = context;
    prefetch_lines(copies->rows + (size_t)row * copies->width, copies->width);
    prefetch_line(&copies->numbers[row]);
}

static struct build_rows
rows_of(const struct narrow *copies, const struct build_rows *wide)
{
    struct build_rows rows = *wide;
    rows.context = copies;
    rows.count = copies->count;
    rows.width = copies->width;
    rows.read = read_copy;
    rows.prefetch = prefetch_copy;
    return rows;
}

// ---- whether they will do ----

struct trial {
    struct build *build;
    uint32_t each; // rows of a neighbourhood
    uint32_t rows[TRIALS * TRIAL_ROWS];
    uint16_t nearest[TRIALS * TRIAL_ROWS]
                    [TRIAL_NEAR]; // of all components, within the neighbourhood
    const uint32_t *asked;        // the rows, or their copies
    uint32_t kept[TRIALS];        // of the nearest, that are nearest by the copies
};

static bool
is_among(uint16_t member, const uint16_t *nearest)
{
    bool there = false;
    for (uint32_t i = 0; i < TRIAL_NEAR; i++)
        there |= nearest[i] == member;
    return there;
}

// The nearest of each row of a neighbourhood, as rows are compared now.
static void
ask(void *context, uint32_t index, uint32_t worker)
{
    struct trial *trial = context;
    struct build *build = trial->build;
    struct build_worker *const own = &build->workers[worker];
    const uint32_t first = index * trial->each;
    rows_read(build, own, trial->asked + first, trial->each, SKETCH_NONE);
    rows_pack(build, own, trial->each);
    leaf_gram(build, own, trial->each);
    trial->kept[index] = 0;
    for (uint32_t i = 0; i < trial->each; i++)
        for (uint32_t k = 0; k < TRIAL_NEAR; k++) {
            const uint16_t member =
                (uint16_t)(own->nearest[(size_t)i * TILE_LANES + k] & TILE_ID_MASK);
            if (build->rows.read == read_copy)
                trial->kept[index] += is_among(member, trial->nearest[first + i]);
            else
                trial->nearest[first + i][k] = member;
        }
}

// Places that follow each other are of rows that are near.
static void
trial_open(struct build *build, struct trial *trial)
{
    struct prng prng;
    prng_init(&prng, mix64(build->seed ^ 0x747269616cull));
    trial->build = build;
    trial->each = build->leaf_rows < TRIAL_ROWS ? build->leaf_rows : TRIAL_ROWS;
    for (uint32_t t = 0; t < TRIALS; t++) {
        const uint32_t first = prng_below(&prng, build->rows.count - trial->each + 1);
        memcpy(trial->rows + (size_t)t * trial->each, build->order + first,
               trial->each * sizeof *trial->rows);
    }
    trial->asked = trial->rows;
    pool_run(build->config.threads, TRIALS, ask, trial);
}

// Whether copies through this lens have the same rows near.
static bool
will_do(struct making *making, struct trial *trial)
{
    struct build *build = making->build;
    const struct build_rows wide = build->rows;
    const double asked = (double)trial->each * TRIAL_NEAR;
    struct narrow copies;
    uint32_t numbers[TRIALS * TRIAL_ROWS], kept = 0, least = UINT32_MAX;
    making->rows = trial->rows;
    making->count = TRIALS * trial->each;
    if (!copies_open(making, &copies))
        return false;
    for (uint32_t i = 0; i < making->count; i++)
        numbers[i] = i;
    trial->asked = numbers;
    const struct build_rows rows = rows_of(&copies, &wide);
    build_compare(build, &rows);
    pool_run(build->config.threads, TRIALS, ask, trial);
    build_compare(build, &wide);
    copies_close(build, &copies);
    for (uint32_t t = 0; t < TRIALS; t++) {
        kept += trial->kept[t];
        least = trial->kept[t] < least ? trial->kept[t] : least;
    }
    return kept >= KEPT_LEAST * TRIALS * asked && least >= KEPT_EACH * asked;
}

// ---- for all rows ----

static void
copy_all(struct making *making, uint32_t most)
{
    struct build *build = making->build;
    struct trial trial;
    trial_open(build, &trial);
    while (making->lens.count < most && !build_stopped(build)) {
        axes_more(making->axes);
        lens_widen(build, &making->lens);
        if (!will_do(making, &trial))
            continue;
        making->rows = NULL;
        making->count = build->rows.count;
        if (copies_open(making, &build->narrow))
            build->report->narrow = build->narrow.width;
        return;
    }
}

void
build_narrow(struct build *build)
{
    const uint32_t most = axes_most(build), width = build->rows.width;
    if (!narrow_can(build))
        return;
    struct making making = {.build = build, .axes = axes_open(build)};
    const size_t bytes = lens_lay_out(&making.lens, width, most, NULL);
    uint8_t *const memory = build_alloc(build, bytes);
    (void)lens_lay_out(&making.lens, width, most, memory);
    making.lens.axes = making.axes;
    if (!build_stopped(build))
        copy_all(&making, most);
    build_free(build, memory, bytes);
    axes_close(making.axes);
}

void
narrow_use(struct build *build)
{
    const struct build_copies *how = &build->config.copies;
    if (build->narrow.rows == NULL)
        return;
    build->narrow.wide = build->rows;
    build->narrow.config = build->config;
    build->narrow.leaf_rows = build->leaf_rows;
    const struct build_rows rows = rows_of(&build->narrow, &build->rows);
    build_compare(build, &rows);
    build->leaf_rows = how->leaf_rows < build->leaf_room ? how->leaf_rows : build->leaf_room;
    const uint32_t chosen = build->config.chosen + how->chosen_more;
    build->config.chosen = chosen < build->config.links_max ? chosen : build->config.links_max;
    build->config.leaf_near = how->leaf_near;
    build->config.relaxed = how->relaxed;
}

bool
narrow_can(const struct build *build)
{
    return build->narrow_may && axes_most(build) > 0;
}

void
narrow_close(struct build *build)
{
    struct narrow *const narrow = &build->narrow;
    if (narrow->rows == NULL)
        return;
    build_compare(build, &narrow->wide);
    build->config = narrow->config;
    build->leaf_rows = narrow->leaf_rows;
    copies_close(build, narrow);
}

size_t
narrow_bytes(const struct build *build)
{
    const struct narrow *copies = &build->narrow;
    return copies->rows != NULL ? copies_bytes(copies->count, copies->width)
           : narrow_can(build)  ? copies_bytes(build->rows.count, axes_most(build))
                                : 0;
}

size_t
narrow_bytes_making(const struct build *build)
{
    struct lens lens;
    const uint32_t most = axes_most(build), width = build->rows.width;
    if (!narrow_can(build))
        return 0;
    return axes_bytes(width) + lens_lay_out(&lens, width, most, NULL) +
           larger(narrow_bytes(build), copies_bytes(TRIALS * TRIAL_ROWS, most));
}
