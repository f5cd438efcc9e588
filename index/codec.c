// index/codec.c -- vectors as rotated 8-bit codes, in two planes of four bits.
//
// Shape: value.
#include "index/codec.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/float_bits.h"
#include "base/prng.h"
#include "index/vector.h"

#define ROUNDS 4u
#define HALF_MAX 65504.0f // the largest f16
#define LANES 16u         // looked at together
#define GLANCE_LINES 6u   // of shorter rows the first bytes say too little, or save too little
#define GLANCE_BYTES 192u // or a third of the row
#define GLANCE_DEVIATIONS 2.5f
#define GLANCE_NOISE 1.25f // rows differ in how wrong their codes are, by a fifth or so
#define LENT_NOISE 6.0f    // what a component whose lowest bit is lent is wrong by beyond others

static void draw_signs(struct codec *codec, uint64_t seed);
static void lend_meta(uint8_t *high, uint16_t factor, uint16_t norm);
static uint32_t glance_bytes(uint32_t row_bytes, enum metric metric);
static struct glance_query codec_glance(const struct codec *codec, const int8_t *components,
                                        float scale);

omen_status
codec_init(struct codec *codec, uint32_t dim, enum metric metric, enum vector_type type,
           uint64_t seed)
{
    const uint32_t rounded = (dim + 31) / 32 * 32;
    const uint32_t width = rounded < 64 ? 64 : rounded;
    *codec = (struct codec){.kernels = kernels_best(),
                            .metric = metric,
                            .type = type,
                            .dim = dim,
                            .width = width,
                            .row_bytes = width / 2,
                            .joined_bytes = (width / 2 + 63) / 64 * 128,
                            .hadamard = 64,
                            .glance_bytes = glance_bytes(width / 2, metric),
                            .factor_unit = 1.0f,
                            .norm_unit = 1.0f};
    while (codec->hadamard * 2 <= width)
        codec->hadamard *= 2;
    codec->mean = mem_alloc_zero(dim, sizeof *codec->mean);
    codec->signs = mem_alloc((size_t)ROUNDS * width * sizeof *codec->signs);
    if (codec->mean == NULL || codec->signs == NULL) {
        codec_fini(codec);
        return OMEN_E_NO_MEMORY;
    }
    draw_signs(codec, seed);
    return OMEN_OK;
}

void
codec_fini(struct codec *codec)
{
    mem_free(codec->mean);
    mem_free(codec->signs);
    *codec = (struct codec){0};
}

// Under ip no distance is the sum of what the components differ by: the one that is never stored has a share of its own.
static uint32_t
glance_bytes(uint32_t row_bytes, enum metric metric)
{
    if (metric == METRIC_IP || row_bytes < GLANCE_LINES * 64)
        return 0;
    const uint32_t third = row_bytes / 3 / 64 * 64;
    return third > GLANCE_BYTES ? third : GLANCE_BYTES;
}

static void
draw_signs(struct codec *codec, uint64_t seed)
{
    struct prng prng;
    prng_init(&prng, seed);
    for (uint32_t i = 0; i < ROUNDS * codec->width; i++)
        codec->signs[i] = (prng_next(&prng) >> 63) != 0 ? -1.0f : 1.0f;
}

void
codec_prepare(const struct codec *codec, const void *row, enum vector_type type, float *out)
{
    const uint32_t dim = codec->dim;
    vector_to_f32(type, row, dim, out);
    if (codec->metric != METRIC_COSINE)
        return;
    float norm2 = vector_norm2(out, dim);
    if (!(norm2 > 1e-30f && norm2 < 1e30f)) {
        // Squares of 1e30 or 1e-30 do not fit a float: scaled by the largest magnitude first.
        float largest = 0.0f;
        for (uint32_t i = 0; i < dim; i++)
            largest = fmaxf(largest, fabsf(out[i]));
        if (largest == 0.0f)
            return;
        for (uint32_t i = 0; i < dim; i++)
            out[i] /= largest;
        norm2 = vector_norm2(out, dim);
    }
    const float inverse = 1.0f / sqrtf(norm2);
    for (uint32_t i = 0; i < dim; i++)
        out[i] *= inverse;
}

void
codec_rotate(const struct codec *codec, const float *prepared, float *rotated)
{
    const float *signs = codec->signs;
    for (uint32_t i = 0; i < codec->dim; i++)
        rotated[i] = (prepared[i] - codec->mean[i]) * signs[i];
    memset(rotated + codec->dim, 0, (size_t)(codec->width - codec->dim) * sizeof *rotated);
    codec->kernels->butterfly(rotated, codec->hadamard);
    for (uint32_t round = 1; round < ROUNDS; round++) {
        signs += codec->width;
        for (uint32_t i = 0; i < codec->width; i++)
            rotated[i] *= signs[i];
        codec->kernels->butterfly(
            round % 2 == 1 ? rotated + codec->width - codec->hadamard : rotated, codec->hadamard);
    }
}

// Floats above zero are ordered as the integers of the same bits are. Written in vectors of the width that every
// processor has, because compilers make poor ones of loops over lanes.
static float
largest_magnitude(const float *values, uint32_t count)
{
    typedef int32_t quad __attribute__((vector_size(16)));
    quad largest[LANES / 4] = {{0}};
    for (uint32_t i = 0; i < count; i += LANES)
        for (uint32_t q = 0; q < LANES / 4; q++) {
            quad bits;
            memcpy(&bits, values + i + (size_t)q * 4, sizeof bits);
            bits &= INT32_MAX;
            const quad larger = bits > largest[q];
            largest[q] = (bits & larger) | (largest[q] & ~larger);
        }
    int32_t most = 0;
    for (uint32_t l = 0; l < LANES; l++)
        most = largest[l / 4][l % 4] > most ? largest[l / 4][l % 4] : most;
    return bits_float((uint32_t)most);
}

// From stored components to signed ones; returns their sum. `count` by value: bytes that are written might be anything,
// and a loop whose end they could move is not made a vector.
static int32_t
make_signed(const uint8_t *codes, uint32_t count, int8_t *components)
{
    int32_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        components[i] = (int8_t)(codes[i] ^ 0x80);
        sum += components[i];
    }
    return sum;
}

float
codec_extra(const struct codec *codec, float norm2)
{
    const float left = codec->radius2 - norm2;
    return left > 0.0f ? sqrtf(left) : 0.0f;
}

float
codec_extra_signed(const struct codec *codec, float norm2)
{
    const float left = codec->radius2 - norm2;
    return left > 0.0f ? sqrtf(left) : -sqrtf(-left);
}

void
codec_found(struct codec *codec, const float *vectors, uint32_t count, float *rotated)
{
    ASSERT(count > 0);
    double largest2 = 0.0;
    if (codec->metric == METRIC_IP) {
        for (uint32_t r = 0; r < count; r++) {
            const double norm2 = (double)vector_norm2(vectors + (size_t)r * codec->dim, codec->dim);
            largest2 = norm2 > largest2 ? norm2 : largest2;
        }
        codec->radius2 = (float)largest2;
    } else {
        // Sums of f32 in row order: part of the numbering, so the same everywhere.
        memset(codec->mean, 0, codec->dim * sizeof *codec->mean);
        for (uint32_t r = 0; r < count; r++)
            for (uint32_t i = 0; i < codec->dim; i++)
                codec->mean[i] += vectors[(size_t)r * codec->dim + i];
        for (uint32_t i = 0; i < codec->dim; i++)
            codec->mean[i] /= (float)count;
    }
    double norm_sum = 0.0, factor_sum = 0.0;
    const uint32_t step = count > 1024 ? count / 1024 : 1;
    uint32_t seen = 0;
    for (uint32_t r = 0; r < count; r += step, seen++) {
        codec_rotate(codec, vectors + (size_t)r * codec->dim, rotated);
        norm_sum += (double)vector_norm2(rotated, codec->width);
        // A step of the upper four bits is 16 of 127 parts of the largest component.
        factor_sum += (double)largest_magnitude(rotated, codec->width) * 16.0 / 127.0;
    }
    codec->variance = (float)(norm_sum / seen);
    const double norm_unit = codec->metric == METRIC_IP ? sqrt(largest2) : norm_sum / seen;
    codec->norm_unit = norm_unit > 0.0 ? (float)norm_unit : 1.0f;
    codec->factor_unit = factor_sum > 0.0 ? (float)(factor_sum / seen) : 1.0f;
}

// A row a thousand times farther out than the founding ones is as far as can be said: at infinity it would be compared
// with nothing, and never found.
static uint16_t
half_at_most(float value)
{
    return float_to_half(value < HALF_MAX ? value : HALF_MAX);
}

// Bytes of a plane in a block. Of a block's components the first half are low nibbles, the others high ones.
#define BLOCK 64u

static uint32_t
block_bytes(const struct codec *codec, uint32_t start)
{
    return codec->row_bytes - start < BLOCK ? codec->row_bytes - start : BLOCK;
}

// What the high plane of one block says times the components: sums side by side, as none then waits for the one before.
static double
high_dot(const uint8_t *high, const float *components, uint32_t bytes)
{
    float levels[2 * BLOCK];
    for (uint32_t j = 0; j < bytes; j++) {
        levels[j] = (float)(high[j] & 15) - 7.5f;
        levels[bytes + j] = (float)(high[j] >> 4) - 7.5f;
    }
    return (double)vector_dot(levels, components, 2 * bytes);
}

// The same of whole codes.
static double
codes_dot(const uint8_t *codes, const float *components, uint32_t count)
{
    float levels[2 * BLOCK];
    for (uint32_t i = 0; i < count; i++)
        levels[i] = (float)(codes[i] - 128);
    return (double)vector_dot(levels, components, count);
}

void
codec_encode(const struct codec *codec, const float *rotated, float norm2, uint8_t *codes,
             uint8_t *high, uint8_t *low, struct byte_meta *meta)
{
    const float largest = largest_magnitude(rotated, codec->width);
    codec->kernels->encode(rotated, codec->width, largest > 0.0f ? 127.0f / largest : 0.0f, codes);
    for (uint32_t start = 0; start < codec->row_bytes; start += BLOCK) {
        const uint32_t w = block_bytes(codec, start);
        const uint8_t *left = codes + (size_t)start * 2, *right = left + w;
        for (uint32_t j = 0; j < w; j++) {
            high[start + j] = (uint8_t)(left[j] >> 4 | (right[j] & 0xf0));
            low[start + j] = (uint8_t)((left[j] & 15) | (right[j] & 15) << 4);
        }
    }
    // Where the high plane lends its lowest bit, the low plane holds bits 4..1 and bit 0 is given up.
    for (uint32_t j = 0; j < NIBBLE_META_BYTES; j++)
        low[j] = (uint8_t)((low[j] & 0xf0) | (codes[j] >> 1 & 15));

    const float own2 = vector_norm2(rotated, codec->width);
    const bool ip = codec->metric == METRIC_IP;
    const float norm = ip ? codec_extra(codec, norm2) : own2;
    const uint16_t norm_half = half_at_most(norm / codec->norm_unit);
    // The lent bits stand in the code that they describe: first with bits that are nearly right, then with them.
    uint16_t factor_half = half_at_most(largest * (16.0f / 127.0f) / codec->factor_unit);
    const uint32_t first = block_bytes(codec, 0); // no other block lends bits
    double others = 0.0;
    for (uint32_t start = first; start < codec->row_bytes; start += BLOCK)
        others += high_dot(high + start, rotated + (size_t)start * 2, block_bytes(codec, start));
    for (int pass = 0; pass < 2; pass++) {
        lend_meta(high, factor_half, norm_half);
        const double dot = high_dot(high, rotated, first) + others;
        factor_half =
            half_at_most(dot > 0.0 ? (float)((double)own2 / dot) / codec->factor_unit : 0.0f);
    }
    lend_meta(high, factor_half, norm_half);

    for (uint32_t j = 0; j < NIBBLE_META_BYTES; j++)
        codes[j] &= 0xfe;
    double dot = 0.0;
    for (uint32_t start = 0; start < codec->row_bytes; start += BLOCK)
        dot += codes_dot(codes + (size_t)start * 2, rotated + (size_t)start * 2,
                         block_bytes(codec, start) * 2);
    meta->factor = dot > 0.0 ? (float)((double)own2 / dot) : 0.0f;
    meta->norm = ip ? codec_extra_signed(codec, norm2) : own2;
}

static void
lend_meta(uint8_t *high, uint16_t factor, uint16_t norm)
{
    const uint32_t bits = (uint32_t)factor | (uint32_t)norm << 16;
    for (uint32_t j = 0; j < NIBBLE_META_BYTES; j++)
        high[j] = (uint8_t)((high[j] & 0xfe) | (bits >> j & 1));
}

void
codec_query(const struct codec *codec, const float *rotated, float norm2, float norm_max2,
            int8_t *components, struct code_query *query)
{
    const float largest = largest_magnitude(rotated, codec->width);
    uint8_t *codes = (uint8_t *)components;
    codec->kernels->encode(rotated, codec->width, largest > 0.0f ? 127.0f / largest : 0.0f, codes);
    const int32_t sum = make_signed(codes, codec->width, components);
    // The last block's halves are moved to where the kernels look for them.
    const uint32_t whole = codec->width / 128 * 128, w = (codec->width - whole) / 2;
    if (w > 0) {
        memmove(components + whole + 64, components + whole + w, w);
        memset(components + whole + w, 0, 64 - w);
        memset(components + whole + 64 + w, 0, 64 - w);
    }
    float scale = 2.0f * (largest / 127.0f);
    float offset, norm_scale = 1.0f;
    query->metric_scale = codec->metric == METRIC_COSINE ? 2.0f : 1.0f;
    query->metric_shift = 0.0f;
    if (codec->metric == METRIC_IP) {
        const float bound2 = norm_max2 > codec->radius2 ? norm_max2 : codec->radius2;
        // No row and no query is longer than the bound, so no product of theirs makes a distance below zero.
        offset = 2.0f * bound2;
        norm_scale = 0.0f;
        // Only a query's direction matters: made as long as the longest row, its distances are those of one more row.
        const float stretch = norm2 > 0.0f ? sqrtf(bound2 / norm2) : 0.0f;
        scale *= stretch;
        query->metric_scale = 2.0f * stretch;
        query->metric_shift =
            offset - 2.0f * stretch; // offset - 2 stretch <q,x>, where <q,x> = 1 - distance
        query->spread2 = bound2;
    } else {
        offset = vector_norm2(rotated, codec->width);
        query->spread2 = offset;
    }
    query->nibble = (struct nibble_query){.components = components,
                                          .row_bytes = codec->row_bytes,
                                          .offset = offset,
                                          .factor_scale = scale * codec->factor_unit,
                                          .norm_scale = norm_scale * codec->norm_unit,
                                          .center = 7.5f * (float)sum};
    query->byte = (struct byte_query){.components = components,
                                      .row_bytes = codec->row_bytes,
                                      .offset = offset,
                                      .scale = scale,
                                      .norm_scale = norm_scale,
                                      .center = 128 * sum};
    query->glance = codec->glance_bytes > 0 ? codec_glance(codec, components, scale)
                                            : (struct glance_query){.components = components};
}

// Of m of D rotated components |q - x|^2 is D/m times what these differ by, wrong by sqrt(2/m (1 - m/D)) of itself, as
// far as components are normal and independent. A row is refused where that is above the bound by GLANCE_DEVIATIONS of
// such errors.
//
// What is summed is |q - f u|^2, where f u = x + e: the code's own error must come off. It is perpendicular to x, so its
// length is known from how wrong estimates are: |e|^2 = D high_error^2 |x|^2. Where the lowest bit is lent, a component is
// wrong by one step more half the time: half a step squared in the mean, beside the twelfth of all others. All that lend
// theirs are among the first, so what is theirs has a larger share in the part than in the whole.
static struct glance_query
codec_glance(const struct codec *codec, const int8_t *components, float scale)
{
    const uint32_t bytes = codec->glance_bytes;
    const float looked_at = (float)(2 * bytes), all = (float)codec->width;
    int32_t sum = 0, squares = 0;
    for (uint32_t i = 0; i < 2 * bytes; i++) {
        sum += components[i];
        squares += components[i] * components[i];
    }
    const float error = sqrtf(2.0f / looked_at * (1.0f - looked_at / all));
    const float slack = 1.0f + GLANCE_DEVIATIONS * error;
    const float to_all = all / looked_at / slack; // the bound stays what it is
    const float lent = LENT_NOISE * (float)NIBBLE_META_BYTES;
    const float noise = GLANCE_NOISE * codec->high_error * codec->high_error * all *
                        (all + lent * all / looked_at) / (all + lent);
    const float step = scale / 2.0f; // of the query's components
    return (struct glance_query){.components = components,
                                 .bytes = bytes,
                                 .offset = to_all * (step * step) * (float)squares,
                                 .factor_scale = to_all * scale * codec->factor_unit,
                                 .own_scale = to_all * codec->factor_unit * codec->factor_unit,
                                 .norm_scale = noise / slack * codec->norm_unit,
                                 .center = 7.5f * (float)sum};
}
