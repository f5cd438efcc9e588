// index/codec.c -- centre, rotate, round.
//
// Shape: handle, in memory, constant after opening.
//
// Order of float operations is fixed here (vector_norm2, the butterfly, one multiplication, one rounding), so that
// a row has the same code on every machine; checksums of copies rest on that.
#include "index/codec.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/prng.h"
#include "index/vector.h"

#define ROUNDS 4u

// The row as a code vector: f32, of length 1 under cosine, with the added component under ip. Returns it in
// out[0..width), zero beyond, and the surplus of |x|^2 over M^2 (rows longer than any of the sample; else 0).
static float
code_vector(const struct codec *codec, const void *row, float *out)
{
    vector_to_f32(codec->type, row, codec->dim, out);
    memset(out + codec->dim, 0, (codec->width - codec->dim) * sizeof *out);
    if (codec->metric == METRIC_L2)
        return 0.0f;
    const float norm2 = vector_norm2(out, codec->dim);
    if (codec->metric == METRIC_COSINE) {
        const float scale = norm2 > 0.0f ? 1.0f / sqrtf(norm2) : 0.0f;
        for (uint32_t i = 0; i < codec->dim; i++)
            out[i] *= scale;
        return 0.0f;
    }
    const float rest = codec->norm_max2 - norm2;
    out[codec->dim] = rest > 0.0f ? sqrtf(rest) : 0.0f;
    return rest < 0.0f ? -rest : 0.0f;
}

static void
flip(float *values, const uint32_t *signs, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], 4);
        bits ^= signs[i];
        memcpy(&values[i], &bits, 4);
    }
}

static void
centre_and_rotate(const struct codec *codec, float *values)
{
    for (uint32_t i = 0; i < codec->width; i++)
        values[i] -= codec->mean[i];
    for (uint32_t round = 0; round < ROUNDS; round++) {
        flip(values, codec->signs + (size_t)round * codec->width, codec->width);
        codec->kernels->butterfly((round & 1) != 0 ? values + (codec->width - codec->window) : values,
                                  codec->window);
    }
}

static float
largest_magnitude(const float *values, uint32_t count)
{
    float lane[16] = {0};
    for (uint32_t i = 0; i < count; i += 16)
        for (uint32_t j = 0; j < 16; j++) {
            const float magnitude = fabsf(values[i + j]);
            lane[j] = magnitude > lane[j] ? magnitude : lane[j];
        }
    float largest = 0.0f;
    for (uint32_t j = 0; j < 16; j++)
        largest = lane[j] > largest ? lane[j] : largest;
    return largest;
}

// Components to plane order and back: block b of a plane holds 128 components from 128 b, its low nibbles the
// first half.
static void
split_planes(const struct codec *codec, const uint8_t *codes, uint8_t *high, uint8_t *low)
{
    for (uint32_t start = 0; start < codec->row_bytes; start += 64) {
        const uint32_t width = codec->row_bytes - start < 64 ? codec->row_bytes - start : 64;
        const uint8_t *first = codes + (size_t)start * 2, *second = first + width;
        for (uint32_t j = 0; j < width; j++) {
            high[start + j] = (uint8_t)(first[j] >> 4 | (second[j] & 0xf0));
            low[start + j] = (uint8_t)((first[j] & 15) | (uint8_t)(second[j] << 4));
        }
    }
    for (uint32_t j = 0; j < NIBBLE_META_BYTES; j++)  // the lent bit's component keeps bits 4..1 in the low plane
        low[j] = (uint8_t)((low[j] & 0xf0) | (codes[j] >> 1 & 15));
}

static void
lend_bits(uint8_t *high, float factor, float norm)
{
    const uint32_t bits = (uint32_t)float_to_half(factor) | (uint32_t)float_to_half(norm) << 16;
    for (uint32_t j = 0; j < NIBBLE_META_BYTES; j++)
        high[j] = (uint8_t)((high[j] & 0xfe) | (bits >> j & 1));
}

// sum over components of (nibble - 7.5) * value, as the high plane has them.
static float
nibble_product(const struct codec *codec, const uint8_t *high, const float *values)
{
    float lane[16] = {0};
    for (uint32_t start = 0; start < codec->row_bytes; start += 64) {
        const uint32_t width = codec->row_bytes - start < 64 ? codec->row_bytes - start : 64;
        const float *first = values + (size_t)start * 2, *second = first + width;
        for (uint32_t i = 0; i < width; i += 16)
            for (uint32_t j = 0; j < 16; j++) {
                const uint8_t byte = high[start + i + j];
                lane[j] += ((float)(byte & 15) - 7.5f) * first[i + j];
                lane[j] += ((float)(byte >> 4) - 7.5f) * second[i + j];
            }
    }
    float sum = 0.0f;
    for (uint32_t j = 0; j < 16; j++)
        sum += lane[j];
    return sum;
}

static float
byte_product(const uint8_t *codes, const float *values, uint32_t count)
{
    float lane[16] = {0};
    for (uint32_t i = 0; i < count; i += 16)
        for (uint32_t j = 0; j < 16; j++)
            lane[j] += ((float)codes[i + j] - 128.0f) * values[i + j];
    float sum = 0.0f;
    for (uint32_t j = 0; j < 16; j++)
        sum += lane[j];
    return sum;
}

void
codec_encode(const struct codec *codec, const void *row, float *work, uint8_t *high, uint8_t *low,
             struct byte_meta *meta)
{
    if (codec->kind == CODEC_EXACT) {
        if (codec->metric == METRIC_IP) {
            code_vector(codec, row, work);
            meta->factor = work[codec->dim];
        }
        return;
    }
    const float surplus = code_vector(codec, row, work);
    centre_and_rotate(codec, work);
    const float norm2 = vector_norm2(work, codec->width);
    const float largest = largest_magnitude(work, codec->width);
    uint8_t *codes = (uint8_t *)(work + codec->width);
    codec->kernels->encode(work, codec->width, largest > 0.0f ? 127.0f / largest : 0.0f, codes);
    split_planes(codec, codes, high, low);

    const float product = byte_product(codes, work, codec->width);
    meta->factor = product > 0.0f ? norm2 / product : 0.0f;
    meta->norm2 = norm2 - surplus;
    // Lending bits changes the nibbles a little, and so the factor: the second pass settles it.
    for (uint32_t pass = 0; pass < 2; pass++) {
        const float nibbles = nibble_product(codec, high, work);
        const float factor = nibbles > 0.0f ? norm2 / nibbles : 0.0f;
        lend_bits(high, factor * codec->factor_unit, meta->norm2 * codec->norm_unit);
    }
}

// What both kinds of query share once components, scale and norm are known.
static void
query_fill(const struct codec *codec, float scale, float norm2, int32_t sum, struct code_query *query)
{
    query->nibble = (struct nibble_query){
        .components = query->components,
        .row_bytes = codec->row_bytes,
        .offset = norm2,
        .factor_scale = 2.0f * scale / codec->factor_unit,
        .norm_scale = 1.0f / codec->norm_unit,
        .center = 7.5f * (float)sum,
    };
    query->byte = (struct byte_query){
        .components = query->components,
        .row_bytes = codec->row_bytes,
        .offset = norm2,
        .scale = 2.0f * scale,
        .center = 128 * sum,
    };
}

static int32_t
to_plane_order(const struct codec *codec, const uint8_t *codes, int8_t *components)
{
    int32_t sum = 0;
    for (uint32_t start = 0; start < codec->row_bytes; start += 64) {
        const uint32_t width = codec->row_bytes - start < 64 ? codec->row_bytes - start : 64;
        const uint8_t *first = codes + (size_t)start * 2;
        int8_t *block = components + (size_t)start * 2;
        for (uint32_t half = 0; half < 2; half++) {
            for (uint32_t j = 0; j < width; j++) {
                block[half * 64 + j] = (int8_t)(first[half * width + j] - 128);
                sum += block[half * 64 + j];
            }
            memset(block + half * 64 + width, 0, 64 - width);
        }
    }
    return sum;
}

void
codec_query(const struct codec *codec, const float *vector, struct code_query *query)
{
    float *work = query->vector;
    memcpy(work, vector, codec->dim * sizeof *work);
    memset(work + codec->dim, 0, (codec->width - codec->dim) * sizeof *work);
    if (codec->metric != METRIC_L2) {
        const float norm2 = vector_norm2(work, codec->dim);
        const float target = codec->metric == METRIC_IP ? sqrtf(codec->norm_max2) : 1.0f;
        const float scale = norm2 > 0.0f ? target / sqrtf(norm2) : 0.0f;
        for (uint32_t i = 0; i < codec->dim; i++)
            work[i] *= scale;
    }
    if (codec->kind == CODEC_EXACT)
        return;
    centre_and_rotate(codec, work);
    const float norm2 = vector_norm2(work, codec->width);
    const float largest = largest_magnitude(work, codec->width);
    uint8_t *codes = (uint8_t *)(work + codec->width);
    codec->kernels->encode(work, codec->width, largest > 0.0f ? 127.0f / largest : 0.0f, codes);
    query_fill(codec, largest / 127.0f, norm2, to_plane_order(codec, codes, query->components), query);
}

void
codec_query_row(const struct codec *codec, const void *row, const uint8_t *high, const uint8_t *low,
                const struct byte_meta *meta, struct code_query *query)
{
    if (codec->kind == CODEC_EXACT) {
        code_vector(codec, row, query->vector);
        if (codec->metric == METRIC_IP)
            query->nibble.offset = query->vector[codec->dim];
        return;
    }
    int32_t sum = 0;
    for (uint32_t start = 0; start < codec->row_bytes; start += 64) {
        const uint32_t width = codec->row_bytes - start < 64 ? codec->row_bytes - start : 64;
        int8_t *block = query->components + (size_t)start * 2;
        for (uint32_t j = 0; j < width; j++) {
            const uint8_t h = high[start + j], l = low[start + j];
            const int32_t first = start + j < NIBBLE_META_BYTES ? (h & 14) << 4 | (l & 15) << 1
                                                                : (h & 15) << 4 | (l & 15);
            block[j] = (int8_t)(first - 128);
            block[64 + j] = (int8_t)((int32_t)((h & 0xf0) | l >> 4) - 128);
            sum += block[j] + block[64 + j];
        }
        memset(block + width, 0, 64 - width);
        memset(block + 64 + width, 0, 64 - width);
    }
    query_fill(codec, meta->factor, meta->norm2, sum, query);
}

float
codec_to_metric(const struct codec *codec, float distance, float query_norm)
{
    if (codec->metric == METRIC_L2)
        return distance;
    if (codec->metric == METRIC_COSINE)
        return 0.5f * distance;
    const float length = sqrtf(codec->norm_max2);  // |q'| = M, so distance = 2 M^2 - 2 <q',x>
    return 1.0f - (codec->norm_max2 - 0.5f * distance) * query_norm / length;
}

// ---- learning ----

static void
learn_longest(struct codec *codec, const void *const *sample, uint32_t count, float *work)
{
    float longest = 0.0f;
    for (uint32_t s = 0; s < count; s++) {
        vector_to_f32(codec->type, sample[s], codec->dim, work);
        const float norm2 = vector_norm2(work, codec->dim);
        longest = norm2 > longest ? norm2 : longest;
    }
    // Rows walked themselves have no per-row correction for rows longer than M: leave room.
    codec->norm_max2 = longest > 0.0f ? (codec->kind == CODEC_EXACT ? 4.0f * longest : longest) : 1.0f;
}

static void
learn_mean(struct codec *codec, const void *const *sample, uint32_t count, float *work)
{
    // Partial sums of 64 rows keep the float sums of a large sample accurate.
    float *partial = work + codec->width;
    memset(partial, 0, codec->width * sizeof *partial);
    for (uint32_t s = 0; s < count; s++) {
        code_vector(codec, sample[s], work);
        for (uint32_t i = 0; i < codec->width; i++)
            partial[i] += work[i];
        if ((s & 63) == 63 || s + 1 == count)
            for (uint32_t i = 0; i < codec->width; i++) {
                codec->mean[i] += partial[i];
                partial[i] = 0.0f;
            }
    }
    for (uint32_t i = 0; i < codec->width; i++)
        codec->mean[i] /= (float)count;
}

// Units that put the f16 numbers of typical rows near 1, where f16 is most precise and farthest from its ends.
static void
learn_units(struct codec *codec, const void *const *sample, uint32_t count, float *work)
{
    double total = 0;
    for (uint32_t s = 0; s < count; s++) {
        code_vector(codec, sample[s], work);
        for (uint32_t i = 0; i < codec->width; i++)
            work[i] -= codec->mean[i];
        total += (double)vector_norm2(work, codec->width);
    }
    const float norm2 = (float)(total / count);
    codec->norm_unit = norm2 > 0.0f && isfinite(1.0f / norm2) ? 1.0f / norm2 : 1.0f;
    // A nibble is worth about 4.5 sigma / 7.5 = 0.6 |x| / sqrt(width).
    const float factor = 0.6f * sqrtf(norm2 / (float)codec->width);
    codec->factor_unit = factor > 0.0f && isfinite(1.0f / factor) ? 1.0f / factor : 1.0f;
}

static uint32_t
code_width(enum metric metric, uint32_t dim)
{
    const uint32_t width = (dim + (metric == METRIC_IP) + 31) & ~31u;
    return width < 64 ? 64 : width;
}

omen_status
codec_open(enum codec_kind kind, enum metric metric, enum vector_type type, uint32_t dim, uint64_t seed,
           const void *const *sample, uint32_t count, struct codec **out)
{
    ASSERT(dim > 0 && count > 0);
    *out = NULL;
    const uint32_t width = code_width(metric, dim);
    struct codec *codec = mem_alloc_zero(1, sizeof *codec);
    float *work = mem_alloc((size_t)width * 2 * sizeof *work);
    if (codec == NULL || work == NULL)
        goto fail;
    *codec = (struct codec){
        .kind = kind,
        .metric = metric,
        .type = type,
        .dim = dim,
        .width = width,
        .row_bytes = width / 2,
        .window = 1u << (31 - (uint32_t)__builtin_clz(width)),
        .norm_max2 = 1.0f,
        .factor_unit = 1.0f,
        .norm_unit = 1.0f,
        .kernels = kernels_best(),
    };
    codec->mean = mem_alloc_zero(width, sizeof *codec->mean);
    codec->signs = mem_alloc_zero((size_t)width * ROUNDS, sizeof *codec->signs);
    if (codec->mean == NULL || codec->signs == NULL)
        goto fail;
    struct prng prng;
    prng_init(&prng, seed);
    for (uint32_t i = 0; i < width * ROUNDS; i++)
        codec->signs[i] = (uint32_t)(prng_next(&prng) >> 63) << 31;
    if (metric == METRIC_IP)
        learn_longest(codec, sample, count, work);
    if (kind == CODEC_NIBBLE_BYTE) {
        learn_mean(codec, sample, count, work);
        learn_units(codec, sample, count, work);
    }
    mem_free(work);
    *out = codec;
    return OMEN_OK;
fail:
    mem_free(work);
    codec_close(codec);
    return OMEN_E_NO_MEMORY;
}

void
codec_close(struct codec *codec)
{
    if (codec == NULL)
        return;
    mem_free(codec->mean);
    mem_free(codec->signs);
    mem_free(codec);
}
