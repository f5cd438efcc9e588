// index/hnsw_bulk_rows.c -- what the rows of an index are compared by while links are made at once.
//
// Shape: handle.
#include <math.h>
#include <string.h>

#include "base/prefetch.h"
#include "index/hnsw_bulk_int.h"
#include "index/vector.h"

static struct tile_numbers code_numbers(const struct codec *codec, const struct byte_meta *meta);

static struct byte_meta
meta_of(const struct hnsw *hnsw, uint32_t slot)
{
    struct byte_meta meta;
    memcpy(&meta, arena_row(&hnsw->meta, slot), sizeof meta);
    return meta;
}

// What a row has under ip besides its components, of a code or made of the row.
static float
norm_of(const struct hnsw_bulk *bulk, uint32_t slot)
{
    const struct hnsw *hnsw = bulk->hnsw;
    if (bulk->bare == NULL)
        return meta_of(hnsw, slot).norm;
    float *const vector = bulk->bare->vector;
    codec_prepare(&hnsw->codec, arena_row(&hnsw->rows, slot), hnsw->config.type, vector);
    return codec_extra_signed(&hnsw->codec, vector_norm2(vector, hnsw->config.dim));
}

// Under ip `norm` is the component that is thought to be there besides, or says how much longer the row is than R (codec.h).
static struct tile_numbers
numbers_ip(const struct codec *codec, float factor, float norm)
{
    const float longer = norm < 0.0f ? norm * norm : 0.0f;
    return (struct tile_numbers){
        .scale = factor, .add = codec->radius2 + longer, .extra = norm > 0.0f ? norm : 0.0f};
}

static void
prefetch_code(const void *context, uint32_t row)
{
    const struct hnsw_bulk *bulk = context;
    const struct hnsw *hnsw = bulk->hnsw;
    const uint32_t slot = bulk_slot(bulk, row);
    prefetch_lines(arena_row(&hnsw->high, slot), hnsw->codec.row_bytes);
    prefetch_lines(arena_row(&hnsw->low, slot), hnsw->codec.row_bytes);
    prefetch_line(arena_row(&hnsw->meta, slot));
}

// Both planes joined, without the gaps of the last block. The components are rotated, so the first are directions as good as any.
static void
read_code(const void *context, uint32_t row, void *components, struct tile_numbers *numbers,
          float *sketch)
{
    const struct hnsw_bulk *bulk = context;
    const struct hnsw *hnsw = bulk->hnsw;
    const struct codec *codec = &hnsw->codec;
    const uint32_t slot = bulk_slot(bulk, row), row_bytes = codec->row_bytes;
    const uint32_t whole = row_bytes / 64 * 128, w = row_bytes % 64;
    uint8_t *const out = components;
    if (w == 0) {
        hnsw->kernels->join(arena_row(&hnsw->high, slot), arena_row(&hnsw->low, slot), row_bytes,
                            out);
    } else {
        uint8_t joined[VECTOR_DIM_MAX + 128];
        hnsw->kernels->join(arena_row(&hnsw->high, slot), arena_row(&hnsw->low, slot), row_bytes,
                            joined);
        memcpy(out, joined, whole + w);
        memcpy(out + whole + w, joined + whole + 64, w);
    }
    const struct byte_meta meta = meta_of(hnsw, slot);
    *numbers = code_numbers(codec, &meta);
    for (uint32_t i = 0; sketch != NULL && i < TILE_SKETCH; i++)
        sketch[i] = meta.factor * (float)(out[i] - 128);
}

static struct tile_numbers
code_numbers(const struct codec *codec, const struct byte_meta *meta)
{
    return codec->metric == METRIC_IP
               ? numbers_ip(codec, meta->factor, meta->norm)
               : (struct tile_numbers){.scale = meta->factor, .add = meta->norm};
}

// The same of a row as it is, whether it has a code or not.
static void
make_code(const void *context, uint32_t row, void *components, struct tile_numbers *numbers,
          float *sketch)
{
    const struct hnsw_bulk *bulk = context;
    const struct hnsw *hnsw = bulk->hnsw;
    const struct codec *codec = &hnsw->codec;
    struct scratch *const scratch = bulk->bare;
    struct byte_meta meta;
    uint8_t planes[2][VECTOR_DIM_MAX / 2 + 64];
    codec_prepare(codec, arena_row(&hnsw->rows, bulk_slot(bulk, row)), codec->type,
                  scratch->vector);
    const float norm2 =
        codec->metric == METRIC_IP ? vector_norm2(scratch->vector, codec->dim) : 0.0f;
    codec_rotate(codec, scratch->vector, scratch->rotated);
    codec_encode(codec, scratch->rotated, norm2, scratch->codes, planes[0], planes[1], &meta);
    const uint8_t *codes = scratch->codes;
    memcpy(components, codes, codec->width);
    *numbers = code_numbers(codec, &meta);
    for (uint32_t i = 0; sketch != NULL && i < TILE_SKETCH; i++)
        sketch[i] = meta.factor * (float)(codes[i] - 128);
}

// Sums of the row's components with signs of their own for each bit: integers or not, near rows are on the same side.
void
bulk_sketch(const struct hnsw *hnsw, uint32_t slot, float *vector, float *sketch)
{
    codec_prepare(&hnsw->codec, arena_row(&hnsw->rows, slot), hnsw->config.type, vector);
    for (uint32_t s = 0; s < TILE_SKETCH; s++) {
        // The signs of the rotation's rounds, of which there are half as many as sketches have bits, and their products.
        const float *first = hnsw->codec.signs + (size_t)(s % 4) * hnsw->codec.width;
        const float *second = hnsw->codec.signs + (size_t)((s + 1) % 4) * hnsw->codec.width;
        float sum = 0.0f;
        for (uint32_t i = 0; i < hnsw->config.dim; i++)
            sum += vector[i] * (s < 4 ? first[i] : first[i] * second[i]);
        sketch[s] = sum;
    }
}

static void
prefetch_row(const void *context, uint32_t row)
{
    const struct hnsw_bulk *bulk = context;
    prefetch_lines(arena_row(&bulk->hnsw->rows, bulk_slot(bulk, row)), bulk->hnsw->row_bytes);
}

static void
copy_sketch(const struct hnsw_bulk *bulk, uint32_t row, float *sketch)
{
    if (sketch != NULL && bulk->bare != NULL)
        bulk_sketch(bulk->hnsw, bulk_slot(bulk, row), bulk->bare->vector, sketch);
    else if (sketch != NULL)
        memcpy(sketch, bulk->sketches + (size_t)row * TILE_SKETCH, TILE_SKETCH * sizeof *sketch);
}

// Rows of integers as they are; u8, of which L2 needs only differences, less 128.
static void
read_integers(const void *context, uint32_t row, void *components, struct tile_numbers *numbers,
              float *sketch)
{
    const struct hnsw_bulk *bulk = context;
    const struct hnsw *hnsw = bulk->hnsw;
    const uint32_t slot = bulk_slot(bulk, row), dim = hnsw->config.dim;
    const uint8_t *from = arena_row(&hnsw->rows, slot);
    const uint8_t bias = hnsw->config.type == VECTOR_U8 ? 0 : 0x80;
    uint8_t *out = components;
    uint32_t norm2 = 0; // at most 65,536 * 128^2
    for (uint32_t i = 0; i < dim; i++)
        out[i] = from[i] ^ bias;
    for (uint32_t i = 0; i < dim; i++)
        norm2 += (uint32_t)((out[i] - 128) * (out[i] - 128));
    for (uint32_t i = dim; i < bulk->width; i++)
        out[i] = 128;
    if (hnsw->config.metric == METRIC_IP)
        *numbers = numbers_ip(&hnsw->codec, 1.0f, norm_of(bulk, slot));
    else if (hnsw->config.metric == METRIC_COSINE)
        *numbers = (struct tile_numbers){.scale = norm2 > 0 ? 1.0f / sqrtf((float)norm2) : 0.0f,
                                         .add = 1.0f};
    else
        *numbers = (struct tile_numbers){.scale = 1.0f, .add = (float)norm2};
    copy_sketch(bulk, row, sketch);
}

// Rows as floats, prepared; under ip with the component that is thought to be there besides.
static void
read_floats(const void *context, uint32_t row, void *components, struct tile_numbers *numbers,
            float *sketch)
{
    const struct hnsw_bulk *bulk = context;
    const struct hnsw *hnsw = bulk->hnsw;
    const uint32_t slot = bulk_slot(bulk, row), dim = hnsw->config.dim;
    float *out = components;
    codec_prepare(&hnsw->codec, arena_row(&hnsw->rows, slot), hnsw->config.type, out);
    if (hnsw->config.metric == METRIC_IP) {
        const float norm = norm_of(bulk, slot);
        out[dim] = norm > 0.0f ? norm : 0.0f;
    }
    *numbers = (struct tile_numbers){0};
    copy_sketch(bulk, row, sketch);
}

struct build_rows
bulk_rows(struct hnsw_bulk *bulk, enum code_kind kind)
{
    const struct hnsw_config *config = &bulk->hnsw->config;
    const bool ip = config->metric == METRIC_IP;
    struct build_rows rows = {
        .context = bulk, .count = bulk->count, .extras = ip, .prefetch = prefetch_row};
    if (kind == CODE_NIBBLE) {
        rows.kind = BUILD_BYTES;
        rows.width = bulk->hnsw->codec.width;
        rows.read = bulk->bare != NULL ? make_code : read_code;
        rows.prefetch = prefetch_code;
    } else if (config->type == VECTOR_I8 ||
               (config->type == VECTOR_U8 && config->metric == METRIC_L2)) {
        rows.kind = BUILD_BYTES;
        rows.width = (config->dim + 3) / 4 * 4;
        rows.read = read_integers;
    } else {
        rows.kind = BUILD_FLOATS;
        rows.width = config->dim + ip;
        rows.read = read_floats;
    }
    bulk->width = rows.width;
    return rows;
}
