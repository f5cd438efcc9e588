// index/build_rows.c -- reads rows into a worker's memory, packs them, measures them.
//
// Shape: handle.
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/float_bits.h"
#include "index/build_int.h"

#define ROWS_AHEAD 8u           // prefetched
#define WORKER_BYTES (8u << 20) // of rows; where rows are long, leaves are smaller
#define ROWS_LEAST TILE_COLUMNS

static size_t
component_bytes(const struct build_rows *rows)
{
    return rows->kind == BUILD_BYTES ? 1 : sizeof(float);
}

size_t
rows_stride(const struct build_rows *rows)
{
    return (rows->width * component_bytes(rows) + 63) / 64 * 64;
}

void
rows_count_read(struct build_worker *worker, const struct build_rows *rows, uint32_t count)
{
    const size_t numbers = rows->kind == BUILD_BYTES ? sizeof(struct tile_numbers) : 0;
    worker->read += count * (rows->width * component_bytes(rows) + numbers);
}

uint64_t
rows_bytes_read(const struct build *build)
{
    uint64_t read = build->read;
    for (uint32_t i = 0; build->workers != NULL && i < build->config.threads; i++)
        read += build->workers[i].read;
    return read;
}

void
build_compare(struct build *build, const struct build_rows *rows)
{
    build->rows = *rows;
    build->stride = rows_stride(rows);
}

static size_t
whole_tiles(uint64_t rows)
{
    return (rows + TILE_COLUMNS - 1) / TILE_COLUMNS * TILE_COLUMNS;
}

// Of a leaf's members the lists lie where the best of their lanes were, from which the nearest have been taken by then.
static size_t
worker_lay_out(const struct build *build, struct build_worker *worker, uint8_t *base)
{
    const size_t room = build->rows_room, members = whole_tiles(build->leaf_room);
    const size_t stride = build->stride_room;
    size_t at = 0;
    worker->rows = memory_part(base, &at, room * stride);
    worker->columns = memory_part(base, &at, room * stride);
    worker->ahead = worker->wide = memory_part(base, &at, TILE_ROWS * stride);
    if (build->copies_room > 0) {
        worker->wide = memory_part(base, &at, TILE_ROWS * rows_stride(build->source));
        at += wanted_lay_out(&worker->wanted, build->copies_room, (uint32_t)stride,
                             base != NULL ? base + at : NULL);
    }
    worker->numbers = memory_part(base, &at, room * sizeof *worker->numbers);
    worker->scales = memory_part(base, &at, room * sizeof(float));
    worker->adds = memory_part(base, &at, room * sizeof(float));
    worker->extras = memory_part(base, &at, room * sizeof(float));
    worker->starts = memory_part(base, &at, room * sizeof(int32_t));
    worker->sketches = memory_part(base, &at, members * TILE_SKETCH * sizeof(float));
    worker->nearest = memory_part(base, &at, members * TILE_LANES * sizeof(uint32_t));
    worker->list_counts = memory_part(base, &at, members);
    size_t best_end = at;
    worker->row_best = memory_part(base, &best_end, members * TILE_ROW_BEST * sizeof(uint32_t));
    worker->column_best =
        memory_part(base, &best_end, members / TILE_LANES * TILE_COLUMN_BEST * sizeof(uint32_t));
    worker->lists = memory_part(base, &at, members * LEAF_LIST_ROOM * sizeof(uint32_t));
    return at > best_end ? at : best_end;
}

void
workers_shape(struct build *build)
{
    build->stride = build->stride_room = rows_stride(&build->rows);
    build->copies_room = 0;
    size_t fit = WORKER_BYTES / build->stride / TILE_COLUMNS * TILE_COLUMNS;
    fit = fit < ROWS_LEAST ? ROWS_LEAST : fit;
    build->rows_room = fit < TILE_IDS ? (uint32_t)fit : TILE_IDS;
    build->leaf_rows =
        build->config.leaf_rows < build->rows_room ? build->config.leaf_rows : build->rows_room;
    const uint32_t copies = narrow_can(build) ? build->config.copies.leaf_rows : 0;
    build->leaf_room = copies > build->leaf_rows ? copies : build->leaf_rows;
    build->leaf_room = build->leaf_room < build->rows_room ? build->leaf_room : build->rows_room;
    const uint64_t leaders = split_spread(build, build->source->count, 0).leaders;
    build->rows_room = (uint32_t)whole_tiles(larger(leaders, build->leaf_room));
}

void
workers_shape_wanted(struct build *build, uint32_t width)
{
    build->stride_room = width;
    build->copies_room = wanted_room(build->rows.count);
}

size_t
workers_bytes(const struct build *build)
{
    struct build_worker none;
    return build->config.threads * (sizeof none + worker_lay_out(build, &none, NULL));
}

omen_status
workers_open(struct build *build)
{
    build->workers = mem_alloc_zero(build->config.threads, sizeof *build->workers);
    if (build->workers == NULL)
        return OMEN_E_NO_MEMORY;
    for (uint32_t i = 0; i < build->config.threads; i++) {
        struct build_worker *worker = &build->workers[i];
        worker->memory = build_alloc(build, worker_lay_out(build, worker, NULL));
        if (worker->memory == NULL)
            return OMEN_E_NO_MEMORY;
        (void)worker_lay_out(build, worker, worker->memory);
    }
    return OMEN_OK;
}

void
workers_close(struct build *build)
{
    for (uint32_t i = 0; build->workers != NULL && i < build->config.threads; i++) {
        struct build_worker *worker = &build->workers[i], empty = {0};
        build_free(build, worker->memory, worker_lay_out(build, &empty, NULL));
        build->report->leaves += worker->leaves;
        build->report->members += worker->members;
        build->report->chopped += worker->chopped;
        build->report->pairs += worker->pairs;
        build->read += worker->read;
    }
    mem_free(build->workers);
    build->workers = NULL;
}

// The numbers of the i-th row to those of columns.
static void
number_column(const struct build *build, struct build_worker *worker, uint32_t i)
{
    const struct tile_numbers *numbers = &worker->numbers[i];
    worker->scales[i] = numbers->scale;
    worker->adds[i] = build->rows.kind == BUILD_BYTES ? numbers->add : 0.0f;
    worker->extras[i] = numbers->extra;
}

static void
row_read(const struct build *build, struct build_worker *worker, uint32_t id, uint32_t i,
         enum build_sketch sketch)
{
    const struct build_rows *rows = &build->rows;
    rows->read(rows->context, id, worker_row(build, worker->rows, i), &worker->numbers[i],
               sketch == SKETCH_READ ? worker->sketches + (size_t)i * TILE_SKETCH : NULL);
    number_column(build, worker, i);
}

void
rows_read_asked(const struct build *build, struct build_worker *worker, const uint32_t *ids,
                uint32_t count, enum build_sketch sketch)
{
    rows_count_read(worker, &build->rows, count);
    if (build->copies_room == 0) {
        for (uint32_t i = 0; i < count; i++)
            row_read(build, worker, ids[i], i, sketch);
        return;
    }
    wanted_fetch(build, worker, ids, count, worker->rows, worker->numbers,
                 sketch == SKETCH_READ ? worker->sketches : NULL);
    for (uint32_t i = 0; i < count; i++)
        number_column(build, worker, i);
}

void
rows_read_ahead(const struct build *build, struct build_worker *worker, const uint32_t *ids,
                uint32_t count)
{
    const struct build_rows *rows = &build->rows;
    rows_count_read(worker, rows, count);
    if (build->copies_room > 0) {
        wanted_fetch(build, worker, ids, count, worker->ahead, worker->ahead_numbers, NULL);
        return;
    }
    for (uint32_t r = 0; r < count; r++)
        rows->read(rows->context, ids[r], worker_row(build, worker->ahead, r),
                   &worker->ahead_numbers[r], NULL);
}

void
rows_read(const struct build *build, struct build_worker *worker, const uint32_t *ids,
          uint32_t count, enum build_sketch sketch)
{
    const struct build_rows *rows = &build->rows;
    if (build->copies_room > 0) {
        rows_read_asked(build, worker, ids, count, sketch);
        return;
    }
    rows_count_read(worker, rows, count);
    for (uint32_t i = 0; i < ROWS_AHEAD && i < count; i++)
        rows->prefetch(rows->context, ids[i]);
    for (uint32_t i = 0; i < count; i++) {
        if (i + ROWS_AHEAD < count)
            rows->prefetch(rows->context, ids[i + ROWS_AHEAD]);
        row_read(build, worker, ids[i], i, sketch);
    }
}

static void
pack_floats(const struct build *build, const struct build_worker *worker, uint32_t count)
{
    float *out = worker->columns;
    for (uint32_t first = 0; first < count; first += TILE_LANES)
        for (uint32_t i = 0; i < build->rows.width; i++)
            for (uint32_t lane = 0; lane < TILE_LANES; lane++) {
                const uint32_t row = first + lane < count ? first + lane : count - 1;
                *out++ = ((const float *)worker_row(build, worker->rows, row))[i];
            }
}

void
rows_pack(const struct build *build, struct build_worker *worker, uint32_t count)
{
    const uint32_t tiles = (count + TILE_COLUMNS - 1) / TILE_COLUMNS * TILE_COLUMNS;
    const uint32_t groups = (count + TILE_LANES - 1) / TILE_LANES * TILE_LANES;
    const size_t column = build->rows.width * component_bytes(&build->rows);
    if (build->rows.kind == BUILD_BYTES)
        build->tiles->pack_bytes(worker->rows, (uint32_t)build->stride, count, build->rows.width,
                                 worker->columns, worker->starts);
    else
        pack_floats(build, worker, count);
    memset((uint8_t *)worker->columns + groups * column, 0, (tiles - groups) * column);
    for (uint32_t i = count; i < tiles; i++) {
        worker->starts[i] = 0;
        worker->scales[i] = worker->extras[i] = 0.0f;
        worker->adds[i] = INFINITY;
    }
}

struct tile_packed
worker_packed(const struct build_worker *worker)
{
    return (struct tile_packed){worker->columns, worker->starts, worker->scales, worker->adds,
                                worker->extras};
}

static void
measure(const struct build *build, const struct tile_side *side, const struct tile_packed *packed,
        uint32_t column, uint32_t rows, uint32_t groups, float *out)
{
    const size_t skip = (size_t)column * build->rows.width;
    if (build->rows.kind == BUILD_FLOATS) {
        struct tile_floats tile = {.columns = (const float *)packed->columns + skip,
                                   .count = build->rows.width,
                                   .adds = packed->adds + column};
        for (uint32_t r = 0; r < rows; r++)
            tile.rows[r] = worker_row(build, side->rows, side->at[r]);
        if (rows == 1)
            build->tiles->floats_one(&tile, groups, out);
        else
            build->tiles->floats(&tile, out);
        return;
    }
    struct tile_bytes tile = {.columns = (const int8_t *)packed->columns + skip,
                              .starts = packed->starts + column,
                              .bytes = build->rows.width,
                              .scales = packed->scales + column,
                              .adds = packed->adds + column,
                              .extras = build->rows.extras ? packed->extras + column : NULL};
    for (uint32_t r = 0; r < rows; r++) {
        tile.rows[r] = worker_row(build, side->rows, side->at[r]);
        tile.numbers[r] = side->numbers[side->at[r]];
    }
    if (rows == 1)
        build->tiles->bytes_one(&tile, groups, out);
    else
        build->tiles->bytes(&tile, out);
}

void
tile_measure(const struct build *build, const struct tile_side *side,
             const struct tile_packed *packed, uint32_t column, float *out)
{
    measure(build, side, packed, column, TILE_ROWS, TILE_GROUPS, out);
}

void
row_measure(const struct build *build, const struct tile_side *side,
            const struct tile_packed *packed, uint32_t groups, float *out)
{
    measure(build, side, packed, 0, 1, groups, out);
}

void
lone_open(const struct build *build, const struct tile_packed *packed, struct tile_lone *out)
{
    *out = (struct tile_lone){
        .bytes = {.columns = packed->columns,
                  .starts = packed->starts,
                  .bytes = build->rows.width,
                  .scales = packed->scales,
                  .adds = packed->adds,
                  .extras = build->rows.extras ? packed->extras : NULL},
        .floats = {.columns = packed->columns, .count = build->rows.width, .adds = packed->adds}};
}

uint64_t
lone_occlude(const struct build *build, struct tile_lone *lone, const struct build_worker *worker,
             uint32_t row, uint32_t groups, const struct tile_occlusion *occlusion)
{
    if (build->rows.kind == BUILD_FLOATS) {
        lone->floats.rows[0] = worker_row(build, worker->rows, row);
        return build->tiles->floats_occlude(&lone->floats, groups, occlusion);
    }
    lone->bytes.rows[0] = worker_row(build, worker->rows, row);
    lone->bytes.numbers[0] = worker->numbers[row];
    return build->tiles->bytes_occlude(&lone->bytes, groups, occlusion);
}

void
tile_products(const struct build *build, struct tile_bytes *tile, float bound, float *out)
{
    for (uint32_t r = 0; r < TILE_ROWS; r++)
        tile->numbers[r].add = bound;
    build->tiles->bytes(tile, out);
    for (uint32_t i = 0; i < TILE_ROWS * TILE_COLUMNS; i++)
        out[i] = bound - 0.5f * out[i];
}

// The largest magnitude. As bits, which are in the order of magnitudes, because a float's maximum has rules of its own.
float
magnitude_of(const float *values, uint32_t count)
{
    int32_t top = 0;
    for (uint32_t i = 0; i < count; i++) {
        const int32_t bits = (int32_t)(float_bits(values[i]) & 0x7fffffffu);
        top = bits > top ? bits : top;
    }
    return bits_float((uint32_t)top);
}

float
bytes_of(const float *values, uint32_t count, uint8_t *out)
{
    const float top = magnitude_of(values, count), times = top > 0.0f ? 127.0f / top : 0.0f;
    for (uint32_t i = 0; i < count; i++)
        out[i] = (uint8_t)(int32_t)(values[i] * times + ((float)TILE_BIAS + 0.5f));
    return top / 127.0f;
}
