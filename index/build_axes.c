// index/build_axes.c -- directions in which the rows differ most, without an eigenvector.
//
// Shape: handle.
//
// A basis is carried through the matrix of a sample's second moments, made orthogonal, and carried through it once more
// (orthogonal iteration; in Halko, Martinsson & Tropp 2011 a range finder). What comes of it holds of the rows' lengths but one
// part in a hundred less than the eigenvectors would, and more rounds add little. It begins with rows of the sample, which lean to
// where rows are long already.
//
// What the first axes are does not depend on how many follow, so they are found as they are asked for, AXES_STEP at a time.
// Products are those of tiles, of bytes, so the axes are the same on every kernel; one that is a little off says the same of all
// rows.
#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "base/prng.h"
#include "index/build_int.h"

#define SAMPLE 2048u
#define BATCH 64u      // rows of the sample that are turned to columns at a time
#define LANES 16u      // sums of a product that do not wait for each other
#define NOTHING 1e-10f // of a vector's square: what is left of it is rounding

struct axes {
    struct build *build;
    uint32_t width, count; // components of a row; axes that were found
    uint32_t room;         // components in memory, the last of them zero
    uint8_t *sample;       // biased, component by component, SAMPLE bytes each
    int8_t *columns;       // packed: the sample, then what is carried
    int32_t *starts;
    float *ones, *bounds; // of columns
    uint8_t *moments;     // biased, room bytes each
    float *moment_scales; // 1 at most
    uint8_t *begin;       // AXES_MAX rows of the sample, biased
    uint8_t *bytes;       // AXES_STEP that are carried, biased
    float *once, *twice;  // AXES_MAX vectors, carried so often
    size_t memory_bytes;
};

// A NULL base only counts.
static size_t
axes_lay_out(struct axes *axes, uint8_t *base)
{
    const size_t room = axes->room;
    size_t at = 0;
    (void)memory_part(base, &at, sizeof *axes);
    axes->sample = memory_part(base, &at, room * SAMPLE);
    axes->columns = memory_part(base, &at, room * SAMPLE);
    axes->starts = memory_part(base, &at, room * sizeof *axes->starts);
    axes->ones = memory_part(base, &at, room * sizeof *axes->ones);
    axes->bounds = memory_part(base, &at, room * sizeof *axes->bounds);
    axes->moments = memory_part(base, &at, room * room);
    axes->moment_scales = memory_part(base, &at, room * sizeof *axes->moment_scales);
    axes->begin = memory_part(base, &at, AXES_MAX * room);
    axes->bytes = memory_part(base, &at, AXES_STEP * room);
    axes->once = memory_part(base, &at, AXES_MAX * room * sizeof *axes->once);
    axes->twice = memory_part(base, &at, AXES_MAX * room * sizeof *axes->twice);
    return at;
}

size_t
axes_room(uint32_t width)
{
    return ((size_t)width + 63) / 64 * 64;
}

size_t
axes_bytes(uint32_t width)
{
    struct axes none = {.room = (uint32_t)axes_room(width)};
    return axes_lay_out(&none, NULL);
}

// ---- the sample and its moments ----

// Rows of a batch, read into the worker's memory, and turned.
static void
sample_batch(void *context, uint32_t batch, uint32_t worker)
{
    struct axes *axes = context;
    struct build *build = axes->build;
    struct build_worker *const own = &build->workers[worker];
    uint32_t rows[BATCH];
    struct prng prng;
    prng_init(&prng, mix64(build->seed ^ 0x61786573ull) + batch);
    for (uint32_t i = 0; i < BATCH; i++)
        rows[i] = prng_below(&prng, build->rows.count);
    rows_read(build, own, rows, BATCH, SKETCH_NONE);
    for (uint32_t c = 0; c < axes->width; c++) {
        uint8_t *const out = axes->sample + (size_t)c * SAMPLE + (size_t)batch * BATCH;
        for (uint32_t i = 0; i < BATCH; i++)
            out[i] = ((const uint8_t *)worker_row(build, own->rows, i))[c];
    }
    for (uint32_t i = 0; i < BATCH && batch * BATCH + i < AXES_MAX; i++)
        memcpy(axes->begin + (size_t)(batch * BATCH + i) * axes->room,
               worker_row(build, own->rows, i), axes->width);
}

static struct tile_bytes
axes_tile(const struct axes *axes, uint32_t bytes)
{
    return (struct tile_bytes){.columns = axes->columns,
                               .starts = axes->starts,
                               .bytes = bytes,
                               .scales = axes->ones,
                               .adds = axes->bounds};
}

static void
set_bound(const struct axes *axes, float bound)
{
    for (uint32_t i = 0; i < axes->room; i++) {
        axes->ones[i] = 1.0f;
        axes->bounds[i] = bound;
    }
}

#define MOMENT_MAX ((float)SAMPLE * 128 * 128)

// Some components' moments with all.
static void
moments_some(void *context, uint32_t index, uint32_t worker)
{
    struct axes *axes = context;
    struct build *build = axes->build;
    float *const values = build->workers[worker].rows; // TILE_ROWS of room
    _Alignas(64) float products[TILE_ROWS * TILE_COLUMNS];
    const uint32_t first = index * TILE_ROWS, left = axes->width - first;
    const uint32_t rows = left < TILE_ROWS ? left : TILE_ROWS;
    struct tile_bytes tile = axes_tile(axes, SAMPLE);
    for (uint32_t r = 0; r < TILE_ROWS; r++) {
        tile.rows[r] = axes->sample + (size_t)(first + (r < rows ? r : rows - 1)) * SAMPLE;
        tile.numbers[r] = (struct tile_numbers){.scale = 1.0f};
    }
    for (uint32_t column = 0; column < axes->room; column += TILE_COLUMNS) {
        tile.columns = axes->columns + (size_t)column * SAMPLE;
        tile.starts = axes->starts + column;
        tile_products(build, &tile, MOMENT_MAX, products);
        for (uint32_t r = 0; r < rows; r++)
            memcpy(values + (size_t)r * axes->room + column, products + (size_t)r * TILE_COLUMNS,
                   TILE_COLUMNS * sizeof(float));
    }
    for (uint32_t r = 0; r < rows; r++)
        axes->moment_scales[first + r] = bytes_of(values + (size_t)r * axes->room, axes->room,
                                                  axes->moments + (size_t)(first + r) * axes->room);
}

static void
make_moments(struct axes *axes)
{
    struct build *build = axes->build;
    const uint32_t threads = build->config.threads;
    memset(axes->sample, TILE_BIAS, (size_t)axes->room * SAMPLE);
    memset(axes->begin, TILE_BIAS, (size_t)AXES_MAX * axes->room);
    pool_run_behind(threads, SAMPLE / BATCH, sample_batch, axes);
    build->tiles->pack_bytes(axes->sample, SAMPLE, axes->room, SAMPLE, axes->columns, axes->starts);
    set_bound(axes, MOMENT_MAX);
    pool_run_behind(threads, (axes->width + TILE_ROWS - 1) / TILE_ROWS, moments_some, axes);
    const float top = magnitude_of(axes->moment_scales, axes->width);
    for (uint32_t i = 0; i < axes->width && top > 0.0f; i++)
        axes->moment_scales[i] /= top * 127.0f * 127.0f;
}

struct axes *
axes_open(struct build *build)
{
    struct axes none = {
        .build = build, .width = build->rows.width, .room = (uint32_t)axes_room(build->rows.width)};
    none.memory_bytes = axes_lay_out(&none, NULL);
    struct axes *axes = build_alloc(build, none.memory_bytes);
    if (axes == NULL)
        return NULL;
    (void)axes_lay_out(&none, (uint8_t *)axes);
    *axes = none;
    make_moments(axes);
    return axes;
}

void
axes_close(struct axes *axes)
{
    if (axes != NULL)
        build_free(axes->build, axes, axes->memory_bytes);
}

const float *
axes_at(const struct axes *axes, uint32_t axis)
{
    return axes->twice + (size_t)axis * axes->room;
}

// ---- the axes ----

// AXES_STEP vectors, biased bytes of which 127 is the most, through the moments.
static void
carry(struct axes *axes, const uint8_t *vectors, float *out)
{
    struct build *build = axes->build;
    _Alignas(64) float products[TILE_ROWS * TILE_COLUMNS];
    const float bound = (float)axes->width;
    build->tiles->pack_bytes(vectors, axes->room, AXES_STEP, axes->room, axes->columns,
                             axes->starts);
    set_bound(axes, bound);
    struct tile_bytes tile = axes_tile(axes, axes->room);
    for (uint32_t first = 0; first < axes->width; first += TILE_ROWS) {
        const uint32_t left = axes->width - first, rows = left < TILE_ROWS ? left : TILE_ROWS;
        for (uint32_t r = 0; r < TILE_ROWS; r++) {
            const uint32_t row = first + (r < rows ? r : rows - 1);
            tile.rows[r] = axes->moments + (size_t)row * axes->room;
            tile.numbers[r] = (struct tile_numbers){.scale = axes->moment_scales[row]};
        }
        tile_products(build, &tile, bound, products);
        for (uint32_t r = 0; r < rows; r++)
            for (uint32_t v = 0; v < AXES_STEP; v++)
                out[(size_t)v * axes->room + first + r] = products[r * TILE_COLUMNS + v];
    }
}

static float
product_of(const float *a, const float *b, uint32_t count)
{
    float sums[LANES] = {0.0f};
    for (uint32_t i = 0; i < count; i += LANES)
        for (uint32_t lane = 0; lane < LANES; lane++)
            sums[lane] += a[i + lane] * b[i + lane];
    for (uint32_t half = LANES / 2; half > 0; half /= 2)
        for (uint32_t lane = 0; lane < half; lane++)
            sums[lane] += sums[lane + half];
    return sums[0];
}

static void
take_off(float *vector, const float *axis, uint32_t room)
{
    const float much = product_of(vector, axis, room);
    for (uint32_t i = 0; i < room; i++)
        vector[i] -= much * axis[i];
}

struct straight {
    const struct axes *axes;
    float *vectors;
};

// One of the new vectors without what the axes before them hold.
static void
straighten_one(void *context, uint32_t index, uint32_t worker)
{
    (void)worker;
    const struct straight *straight = context;
    const uint32_t room = straight->axes->room, before = straight->axes->count;
    float *const vector = straight->vectors + (size_t)(before + index) * room;
    const float length2 = product_of(vector, vector, room);
    if (length2 > 0.0f) { // so that what is left can be compared with 1
        const float times = 1.0f / sqrtf(length2);
        for (uint32_t i = 0; i < room; i++)
            vector[i] *= times;
    }
    for (uint32_t axis = 0; axis < before; axis++)
        take_off(vector, straight->vectors + (size_t)axis * room, room);
}

// Makes the last AXES_STEP vectors an orthogonal basis with those before them; one that they hold already is zero.
static void
straighten(const struct axes *axes, float *vectors)
{
    const uint32_t room = axes->room;
    struct straight straight = {.axes = axes, .vectors = vectors};
    pool_run_behind(axes->build->config.threads, AXES_STEP, straighten_one, &straight);
    float *const last = vectors + (size_t)axes->count * room;
    for (uint32_t v = 0; v < AXES_STEP; v++) {
        float *const vector = last + (size_t)v * room;
        for (uint32_t axis = 0; axis < v; axis++)
            take_off(vector, last + (size_t)axis * room, room);
        const float length2 = product_of(vector, vector, room);
        const float times = length2 > NOTHING ? 1.0f / sqrtf(length2) : 0.0f;
        for (uint32_t i = 0; i < room; i++)
            vector[i] *= times;
    }
}

void
axes_more(struct axes *axes)
{
    const size_t room = axes->room, from = axes->count * room;
    ASSERT(axes->count + AXES_STEP <= AXES_MAX);
    carry(axes, axes->begin + from, axes->once + from);
    straighten(axes, axes->once);
    for (uint32_t v = 0; v < AXES_STEP; v++)
        (void)bytes_of(axes->once + from + v * room, axes->room, axes->bytes + v * room);
    carry(axes, axes->bytes, axes->twice + from);
    straighten(axes, axes->twice);
    axes->count += AXES_STEP;
}
