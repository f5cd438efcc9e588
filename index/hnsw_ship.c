// index/hnsw_ship.c -- rows of an index as a bulk build compares them, for one that happens elsewhere.
//
// Shape: value.
//
// What goes along is what build_rows.read gives, and not rows and a codec: whoever builds needs neither metric nor rotation, and a
// row costs a quarter of its floats.
#include "index/hnsw_ship.h"

#include <math.h>
#include <string.h>

#include "base/assert.h"
#include "index/hnsw_bulk_int.h"

#define NUMBERS_BYTES (3 * sizeof(float))
#define SKETCH_BYTES (TILE_SKETCH * sizeof(float))
#define WIDTH_MAX (VECTOR_DIM_MAX + 1u) // under ip rows have a component more

_Static_assert(sizeof(struct tile_numbers) == NUMBERS_BYTES, "numbers go along as they lie");

static size_t
numbers_bytes(const struct ship_shape *shape)
{
    return shape->kind == BUILD_BYTES ? NUMBERS_BYTES : 0;
}

static size_t
sketch_bytes(const struct ship_shape *shape)
{
    return shape->sketched ? SKETCH_BYTES : 0;
}

size_t
ship_row_bytes(const struct ship_shape *shape)
{
    const size_t component = shape->kind == BUILD_BYTES ? 1 : sizeof(float);
    return numbers_bytes(shape) + sketch_bytes(shape) + shape->width * component;
}

bool
ship_shape_is_sound(const struct ship_shape *shape)
{
    const bool bytes = shape->kind == BUILD_BYTES;
    const bool flags = shape->sketched <= 1 && shape->extras <= 1 && shape->far <= 1;
    const bool sketch = shape->sketched == 1 || shape->width >= TILE_SKETCH;
    const bool width =
        bytes ? shape->width % 4 == 0 && sketch && shape->width <= VECTOR_DIM_MAX
              : shape->kind == BUILD_FLOATS && shape->sketched == 1 && shape->width <= WIDTH_MAX;
    return flags && width && shape->width > 0 && shape->links_max >= 2 &&
           shape->links_max <= LINK_ROW_MAX;
}

bool
ship_row_is_sound(const struct ship_shape *shape, const uint8_t *row)
{
    size_t floats = (numbers_bytes(shape) + sketch_bytes(shape)) / sizeof(float);
    if (shape->kind == BUILD_FLOATS)
        floats += shape->width;
    bool sound = true;
    for (size_t i = 0; i < floats; i++) {
        float value;
        memcpy(&value, row + i * sizeof value, sizeof value);
        sound &= isfinite(value) != 0;
    }
    return sound;
}

// ---- at the index ----

omen_status
hnsw_ship_shape(struct hnsw *hnsw, struct scratch *scratch, struct ship_shape *shape)
{
    struct hnsw_bulk bulk = {.hnsw = hnsw, .bare = scratch};
    const omen_status status = scratch_fit(scratch, hnsw, 1, 1);
    if (status != OMEN_OK)
        return status;
    if (hnsw->config.flat || !hnsw_founded(hnsw))
        return OMEN_E_NOT_FOUND;
    if (!hnsw_found(hnsw, scratch))
        return OMEN_E_NO_MEMORY;
    const struct build_rows rows = bulk_rows(&bulk, hnsw_kind(hnsw));
    *shape = (struct ship_shape){.kind = (uint8_t)rows.kind,
                                 .sketched = hnsw_kind(hnsw) == CODE_EXACT,
                                 .extras = rows.extras,
                                 .far = hnsw->config.metric == METRIC_IP,
                                 .width = rows.width,
                                 .links_max = hnsw->graph.links_max,
                                 .seed = hnsw->config.seed};
    return OMEN_OK;
}

void
hnsw_ship_row(struct hnsw *hnsw, const struct ship_shape *shape, uint32_t slot,
              struct scratch *scratch, uint8_t *row)
{
    struct hnsw_bulk bulk = {.hnsw = hnsw, .bare = scratch};
    const struct build_rows rows = bulk_rows(&bulk, hnsw_kind(hnsw));
    const size_t numbers_at = numbers_bytes(shape), sketch_at = sketch_bytes(shape);
    struct tile_numbers numbers;
    float sketch[TILE_SKETCH];
    ASSERT(rows.width == shape->width && (uint8_t)rows.kind == shape->kind);
    rows.read(rows.context, slot, row + numbers_at + sketch_at, &numbers,
              sketch_at > 0 ? sketch : NULL);
    memcpy(row, &numbers, numbers_at);
    memcpy(row + numbers_at, sketch, sketch_at);
}

// ---- where it is built ----

static void
read_row(const void *context, uint32_t row, void *components, struct tile_numbers *numbers,
         float *sketch)
{
    const struct ship_rows *rows = context;
    const struct ship_shape *shape = &rows->shape;
    const uint8_t *from = rows->bytes + (size_t)row * rows->row_bytes;
    const size_t head = numbers_bytes(shape) + sketch_bytes(shape);
    *numbers = (struct tile_numbers){0};
    memcpy(numbers, from, numbers_bytes(shape));
    memcpy(components, from + head, rows->row_bytes - head);
    if (sketch != NULL && shape->sketched)
        memcpy(sketch, from + numbers_bytes(shape), SKETCH_BYTES);
    else if (sketch != NULL)
        for (uint32_t i = 0; i < TILE_SKETCH; i++)
            sketch[i] = numbers->scale * (float)(((const uint8_t *)components)[i] - 128);
}

static void
prefetch_row(const void *context, uint32_t row)
{
    const struct ship_rows *rows = context;
    prefetch_lines(rows->bytes + (size_t)row * rows->row_bytes, (uint32_t)rows->row_bytes);
}

struct build_rows
ship_build_rows(const struct ship_rows *rows)
{
    return (struct build_rows){.context = rows,
                               .kind = (enum build_kind)rows->shape.kind,
                               .count = rows->count,
                               .width = rows->shape.width,
                               .extras = rows->shape.extras,
                               .read = read_row,
                               .prefetch = prefetch_row};
}

struct build_config
ship_build_config(const struct ship_shape *shape)
{
    struct build_config config = build_config_for(shape->links_max);
    config.seed = shape->seed;
    config.threads = 1;
    if (shape->far)
        config.fanout_far = INFINITY;
    return config;
}
