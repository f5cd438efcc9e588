// index/build_lens.c -- looks at rows along axes: what makes a short copy of a long row.
//
// Shape: handle.
//
// Axes are mixed, AXES_STEP at a time, by a Hadamard matrix, so that components are alike and one scale a row is enough;
// then the first of them are as good to draw hashes of as any.
//
// A row's copy is of the row alone, whoever else is looked at with it: integer products, and one float expression for each. So it is the
// same whether all rows are copied at once or one where it is wanted.
#include <math.h>
#include <string.h>

#include "index/build_int.h"

size_t
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

void
lens_widen(const struct build *build, struct lens *lens, const struct axes *axes)
{
    const uint32_t width = build->rows.width;
    const size_t room = axes_room(width), from = lens->count * room;
    memcpy(lens->mixed + from, axes_at(axes, lens->count), AXES_STEP * room * sizeof *lens->mixed);
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

// ---- a lens that is kept ----

static size_t
lens_lay_out_kept(struct lens *lens, uint32_t width, uint32_t count, uint8_t *base)
{
    size_t at = 0;
    lens->columns = memory_part(base, &at, (size_t)count * width);
    lens->starts = memory_part(base, &at, count * sizeof *lens->starts);
    lens->ones = memory_part(base, &at, count * sizeof *lens->ones);
    lens->bounds = memory_part(base, &at, count * sizeof *lens->bounds);
    return at;
}

size_t
lens_bytes_kept(uint32_t width, uint32_t count)
{
    struct lens none;
    return lens_lay_out_kept(&none, width, count, NULL);
}

bool
lens_keep(struct build *build, const struct lens *lens, struct lens *out)
{
    const uint32_t width = build->rows.width, count = lens->count;
    *out = (struct lens){.count = count, .scale = lens->scale, .bound = lens->bound};
    uint8_t *const memory = build_alloc(build, lens_bytes_kept(width, count));
    if (memory == NULL)
        return false;
    (void)lens_lay_out_kept(out, width, count, memory);
    memcpy(out->columns, lens->columns, (size_t)count * width);
    memcpy(out->starts, lens->starts, count * sizeof *out->starts);
    memcpy(out->ones, lens->ones, count * sizeof *out->ones);
    memcpy(out->bounds, lens->bounds, count * sizeof *out->bounds);
    return true;
}

void
lens_close_kept(struct build *build, struct lens *lens)
{
    build_free(build, lens->columns, lens_bytes_kept(build->source->width, lens->count));
    *lens = (struct lens){0};
}

// ---- through it ----

void
lens_copy(const struct build *build, struct build_worker *worker, const struct lens *lens,
          const struct build_rows *wide, const uint32_t *rows, uint32_t count, uint8_t *out,
          struct tile_numbers *numbers)
{
    _Alignas(64) float products[TILE_ROWS * TILE_COLUMNS];
    float seen[TILE_ROWS * AXES_MAX];
    struct tile_bytes tile = {.bytes = wide->width};
    const size_t stride = rows_stride(wide);
    rows_count_read(worker, wide, count);
    for (uint32_t r = 0; r < TILE_ROWS; r++) {
        uint8_t *const row = (uint8_t *)worker->wide + (r < count ? r : count - 1) * stride;
        tile.rows[r] = row;
        tile.numbers[r].scale = 1.0f;
        if (r < count)
            wide->read(wide->context, rows[r], row, &numbers[r], NULL);
    }
    for (uint32_t column = 0; column < lens->count; column += TILE_COLUMNS) {
        tile.columns = lens->columns + (size_t)column * wide->width;
        tile.starts = lens->starts + column;
        tile.scales = lens->ones + column;
        tile.adds = lens->bounds + column;
        tile_products(build, &tile, lens->bound, products);
        for (uint32_t r = 0; r < count; r++)
            memcpy(seen + (size_t)r * lens->count + column, products + (size_t)r * TILE_COLUMNS,
                   TILE_COLUMNS * sizeof *seen);
    }
    for (uint32_t r = 0; r < count; r++)
        numbers[r].scale *= lens->scale * bytes_of(seen + (size_t)r * lens->count, lens->count,
                                                   out + (size_t)r * lens->count);
}
