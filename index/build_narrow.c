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
// like them. Where there is no memory for all copies they are made where they are wanted (build_wanted.c), if that pays, or rows are compared
// whole.
#include <string.h>

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
// Of one in so many directions at most; of fewer, and of rows that are in so many clusters at most, where copies are made as they are wanted.
#define SHARE 2u
#define WANTED_SHARE 4u
#define WANTED_CLUSTERS 8u

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
    const uint32_t share = build->narrow_how == NARROW_WANTED ? WANTED_SHARE : SHARE;
    const uint32_t some = rows->width / share / AXES_STEP * AXES_STEP;
    return some < AXES_MAX ? some : AXES_MAX;
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
    const struct narrow *out = making->out;
    const uint32_t from = index * BLOCK_ROWS, left = making->count - from;
    const uint32_t end = from + (left < BLOCK_ROWS ? left : BLOCK_ROWS);
    if (build_stopped(build))
        return;
    for (uint32_t first = from; first < end; first += TILE_ROWS) {
        const uint32_t count = end - first < TILE_ROWS ? end - first : TILE_ROWS;
        uint32_t rows[TILE_ROWS];
        for (uint32_t r = 0; r < count; r++)
            rows[r] = row_at(making, first + r);
        for (uint32_t i = first + TILE_ROWS; i < first + 2 * TILE_ROWS && i < end; i++)
            build->rows.prefetch(build->rows.context, row_at(making, i));
        lens_copy(build, &build->workers[worker], &making->lens, &build->rows, rows, count,
                  out->rows + (size_t)first * out->width, out->numbers + first);
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
    pool_run_behind(build->config.threads, (count + BLOCK_ROWS - 1) / BLOCK_ROWS, make_block,
                    making);
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
    if (sketch != NULL)
        copy_sketch(from, numbers, sketch);
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
    pool_run_behind(build->config.threads, TRIALS, ask, trial);
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
    pool_run_behind(build->config.threads, TRIALS, ask, trial);
    build_compare(build, &wide);
    copies_close(build, &copies);
    for (uint32_t t = 0; t < TRIALS; t++) {
        kept += trial->kept[t];
        least = trial->kept[t] < least ? trial->kept[t] : least;
    }
    return kept >= KEPT_LEAST * TRIALS * asked && least >= KEPT_EACH * asked;
}

// ---- for all rows ----

// A copy takes the products of a row with all axes, each time anew: where rows are in many clusters, and so have others' rows among
// their candidates, that is more than comparing whole ones. (Of 90,000 sentences of 384 components, 192 axes, a row is in 11 clusters, and
// 66 copies of it would be made; of 60,000 pictures, 128 of 784, it is in 6, and they are 17.)
static bool
may_pay(const struct build *build)
{
    return build->narrow_how == NARROW_ALL ||
           build->starts[build->leaders] <= (uint64_t)WANTED_CLUSTERS * build->rows.count;
}

static void
open_wanted(struct making *making)
{
    struct narrow *const narrow = &making->build->narrow;
    if (!lens_keep(making->build, &making->lens, &narrow->lens))
        return;
    narrow->count = making->count;
    narrow->width = making->lens.count;
}

static void
copy_all(struct making *making, uint32_t most)
{
    struct build *build = making->build;
    struct trial trial;
    trial_open(build, &trial);
    while (making->lens.count < most && !build_stopped(build)) {
        axes_more(making->axes);
        lens_widen(build, &making->lens, making->axes);
        if (!will_do(making, &trial))
            continue;
        making->rows = NULL;
        making->count = build->rows.count;
        if (build->narrow_how == NARROW_ALL)
            (void)copies_open(making, &build->narrow);
        else if (wanted_fits(build, making->lens.count))
            open_wanted(making);
        return;
    }
}

// Workers with memory of another shape.
static void
reopen_workers(struct build *build, uint32_t wanted)
{
    workers_close(build);
    workers_shape(build);
    if (wanted > 0)
        workers_shape_wanted(build, wanted);
    if (workers_open(build) != OMEN_OK)
        build_fail(build, OMEN_E_NO_MEMORY);
}

static void
find_copies(struct build *build)
{
    const uint32_t most = axes_most(build), width = build->rows.width;
    struct making making = {.build = build, .axes = axes_open(build)};
    const size_t bytes = lens_lay_out(&making.lens, width, most, NULL);
    uint8_t *const memory = build_alloc(build, bytes);
    (void)lens_lay_out(&making.lens, width, most, memory);
    if (!build_stopped(build))
        copy_all(&making, most);
    build_free(build, memory, bytes);
    axes_close(making.axes);
}

void
build_narrow(struct build *build)
{
    if (narrow_can(build) && may_pay(build))
        find_copies(build);
    if (build->narrow_how == NARROW_WANTED && build->narrow.width == 0) {
        build->narrow_how = NARROW_NEVER; // whole rows have smaller leaves
        reopen_workers(build, 0);
    }
}

// How links are chosen of copies.
static void
configure(struct build *build)
{
    struct build_config *config = &build->config;
    const struct build_copies *how = &config->copies;
    const uint32_t chosen = config->chosen + how->chosen_more;
    config->chosen = chosen < config->links_max ? chosen : config->links_max;
    config->leaf_near = how->leaf_near;
    config->relaxed = how->relaxed;
}

static void
prefetch_wanted(const void *context, uint32_t row)
{
    (void)context;
    (void)row;
}

// Copies that are made where they are wanted are no rows that somebody else could read.
static struct build_rows
rows_wanted(const struct narrow *narrow, const struct build_rows *wide)
{
    struct build_rows rows = *wide;
    rows.width = narrow->width;
    rows.read = NULL;
    rows.prefetch = prefetch_wanted;
    return rows;
}

void
narrow_use(struct build *build)
{
    struct narrow *const narrow = &build->narrow;
    const struct build_copies *how = &build->config.copies;
    if (narrow->width == 0)
        return;
    build->report->narrow = narrow->width;
    narrow->wide = build->rows;
    narrow->config = build->config;
    narrow->leaf_rows = build->leaf_rows;
    if (narrow->rows == NULL)
        reopen_workers(build, narrow->width);
    const struct build_rows rows =
        narrow->rows != NULL ? rows_of(narrow, &build->rows) : rows_wanted(narrow, &build->rows);
    build_compare(build, &rows);
    build->leaf_rows = how->leaf_rows < build->leaf_room ? how->leaf_rows : build->leaf_room;
    configure(build);
}

bool
narrow_can(const struct build *build)
{
    return build->narrow_how != NARROW_NEVER && axes_most(build) > 0;
}

void
narrow_shape_wanted(struct build *build)
{
    configure(build);
    workers_shape_wanted(build, build->narrow.width);
}

void
narrow_close(struct build *build)
{
    struct narrow *const narrow = &build->narrow;
    if (narrow->width == 0)
        return;
    build_compare(build, &narrow->wide);
    build->config = narrow->config;
    build->leaf_rows = narrow->leaf_rows;
    if (narrow->rows == NULL) {
        lens_close_kept(build, &narrow->lens);
        build->narrow_how = NARROW_NEVER;
        reopen_workers(build, 0);
    }
    copies_close(build, narrow);
}

size_t
narrow_bytes(const struct build *build)
{
    const struct narrow *copies = &build->narrow;
    const uint32_t wide = build->source->width;
    if (copies->rows != NULL)
        return copies_bytes(copies->count, copies->width);
    if (copies->width > 0)
        return lens_bytes_kept(wide, copies->width);
    if (!narrow_can(build))
        return 0;
    return build->narrow_how == NARROW_ALL ? copies_bytes(build->rows.count, axes_most(build))
                                           : lens_bytes_kept(wide, axes_most(build));
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
