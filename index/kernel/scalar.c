// index/kernel/scalar.c -- the oracle: every kernel in the plainest C that says what it means.
//
// Shape: kernel. Slow on purpose where plainness asks for it; runs everywhere.
#include <math.h>
#include <string.h>

#include "index/kernel/insert.h"
#include "index/kernel/integer.h"
#include "index/kernel/kernel.h"
#include "index/kernel/kinds.h"

static float
max_zero(float value)
{
    return value > 0.0f ? value : 0.0f;
}

// Width of block b of a row, in bytes: 64, but for the last.
static uint32_t
block_width(uint32_t row_bytes, uint32_t start)
{
    return row_bytes - start < 64 ? row_bytes - start : 64;
}

static uint32_t
meta_bits(const uint8_t *row)
{
    uint32_t bits = 0;
    for (uint32_t j = 0; j < NIBBLE_META_BYTES; j++)
        bits |= (uint32_t)(row[j] & 1u) << j;
    return bits;
}

static int32_t
nibble_dot(const int8_t *components, const uint8_t *row, uint32_t row_bytes)
{
    int32_t dot = 0;
    for (uint32_t start = 0; start < row_bytes; start += 64) {
        const int8_t *block = components + (size_t)start * 2;
        const uint32_t width = block_width(row_bytes, start);
        for (uint32_t j = 0; j < width; j++)
            dot += (row[start + j] & 15) * block[j] + (row[start + j] >> 4) * block[64 + j];
    }
    return dot;
}

static uint32_t
scalar_nibble(const struct nibble_query *query, const uint8_t **rows, uint32_t count, float bound,
              float *out)
{
    uint32_t below = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t bits = meta_bits(rows[i]);
        const float factor = half_to_float((uint16_t)bits) * query->factor_scale;
        const float norm = half_to_float((uint16_t)(bits >> 16)) * query->norm_scale;
        const float dot = (float)nibble_dot(query->components, rows[i], query->row_bytes);
        out[i] = max_zero((norm + query->offset) - factor * (dot - query->center));
        below |= (uint32_t)(out[i] < bound) << i;
    }
    return below;
}

// The sum of n (n - 15) over the nibbles n, which is that of (n - 7.5)^2 less 56.25 for each.
static int32_t
nibble_own(const uint8_t *row, uint32_t bytes)
{
    int32_t sum = 0;
    for (uint32_t j = 0; j < bytes; j++) {
        const int32_t low = row[j] & 15, high = row[j] >> 4;
        sum += low * (low - 15) + high * (high - 15);
    }
    return sum;
}

static uint32_t
scalar_glance(const struct glance_query *query, const uint8_t **rows, uint32_t count, float bound)
{
    uint32_t below = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t bits = meta_bits(rows[i]);
        const float factor = half_to_float((uint16_t)bits);
        const float norm = half_to_float((uint16_t)(bits >> 16)) * query->norm_scale;
        const float dot = (float)nibble_dot(query->components, rows[i], query->bytes);
        const float own = (float)nibble_own(rows[i], query->bytes) + 112.5f * (float)query->bytes;
        const float squares = (factor * factor) * (own * query->own_scale) + query->offset;
        const float product = (factor * query->factor_scale) * (dot - query->center);
        below |= (uint32_t)(squares - (product + norm) < bound) << i;
    }
    return below;
}

// The 8-bit component in the low nibble of byte j. In the first 32 bytes the high plane's lowest bit is lent out,
// and the low plane holds bits 4..1 instead of 3..0.
static int32_t
low_component(uint8_t high, uint8_t low, uint32_t j)
{
    if (j < NIBBLE_META_BYTES)
        return (high & 14) << 4 | (low & 15) << 1;
    return (high & 15) << 4 | (low & 15);
}

static int32_t
byte_dot(const int8_t *components, const uint8_t *high, const uint8_t *low, uint32_t row_bytes)
{
    int32_t dot = 0;
    for (uint32_t start = 0; start < row_bytes; start += 64) {
        const int8_t *block = components + (size_t)start * 2;
        const uint32_t width = block_width(row_bytes, start);
        for (uint32_t j = 0; j < width; j++) {
            const uint8_t h = high[start + j], l = low[start + j];
            dot +=
                low_component(h, l, start + j) * block[j] + ((h & 0xf0) | l >> 4) * block[64 + j];
        }
    }
    return dot;
}

static void
scalar_byte(const struct byte_query *query, const uint8_t *const *high, const uint8_t *const *low,
            const struct byte_meta *const *meta, uint32_t count, float *out)
{
    for (uint32_t i = 0; i < count; i++) {
        const int32_t dot =
            byte_dot(query->components, high[i], low[i], query->row_bytes) - query->center;
        const float norm = meta[i]->norm * query->norm_scale + query->offset;
        out[i] = max_zero(norm - meta[i]->factor * query->scale * (float)dot);
    }
}

static void
scalar_join(const uint8_t *high, const uint8_t *low, uint32_t row_bytes, uint8_t *out)
{
    memset(out, 0, (size_t)(row_bytes + 63) / 64 * 128);
    for (uint32_t start = 0; start < row_bytes; start += 64, out += 128) {
        const uint32_t width = block_width(row_bytes, start);
        for (uint32_t j = 0; j < width; j++) {
            const uint8_t h = high[start + j], l = low[start + j];
            out[j] = (uint8_t)low_component(h, l, start + j);
            out[64 + j] = (uint8_t)((h & 0xf0) | l >> 4);
        }
    }
}

static void
scalar_dots(const int8_t *one, const uint8_t *rows, uint32_t bytes, uint32_t count, int32_t *out)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *row = rows + (size_t)i * bytes;
        int32_t dot = 0;
        for (uint32_t j = 0; j < bytes; j++)
            dot += one[j] * row[j];
        out[i] = dot;
    }
}

static float
load_f32(const void *row, uint32_t i)
{
    float value;
    memcpy(&value, (const uint8_t *)row + (size_t)i * 4, 4);
    return value;
}

static float
load_f16(const void *row, uint32_t i)
{
    uint16_t half;
    memcpy(&half, (const uint8_t *)row + (size_t)i * 2, 2);
    return half_to_float(half);
}

static float
load_bf16(const void *row, uint32_t i)
{
    uint16_t upper;
    memcpy(&upper, (const uint8_t *)row + (size_t)i * 2, 2);
    const uint32_t bits = (uint32_t)upper << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static float
load_i8(const void *row, uint32_t i)
{
    return (float)((const int8_t *)row)[i];
}

static float
load_u8(const void *row, uint32_t i)
{
    return (float)((const uint8_t *)row)[i];
}

// Sums in double: the oracle is allowed to be slow, and the tables are held to it within a tolerance.
#define SCALAR_EXACT(type)                                                                         \
    static void scalar_l2_##type(const float *query, const void *const *rows, uint32_t count,      \
                                 uint32_t dim, float *out)                                         \
    {                                                                                              \
        for (uint32_t r = 0; r < count; r++) {                                                     \
            double sum = 0;                                                                        \
            for (uint32_t i = 0; i < dim; i++) {                                                   \
                const double difference = (double)query[i] - (double)load_##type(rows[r], i);      \
                sum += difference * difference;                                                    \
            }                                                                                      \
            out[r] = (float)sum;                                                                   \
        }                                                                                          \
    }                                                                                              \
    static void scalar_ip_##type(const float *query, const void *const *rows, uint32_t count,      \
                                 uint32_t dim, float *out)                                         \
    {                                                                                              \
        for (uint32_t r = 0; r < count; r++) {                                                     \
            double dot = 0;                                                                        \
            for (uint32_t i = 0; i < dim; i++)                                                     \
                dot += (double)query[i] * (double)load_##type(rows[r], i);                         \
            out[r] = (float)(1.0 - dot);                                                           \
        }                                                                                          \
    }                                                                                              \
    static void scalar_cosine_##type(const float *query, const void *const *rows, uint32_t count,  \
                                     uint32_t dim, float *out)                                     \
    {                                                                                              \
        for (uint32_t r = 0; r < count; r++) {                                                     \
            double dot = 0, norm2 = 0;                                                             \
            for (uint32_t i = 0; i < dim; i++) {                                                   \
                const double x = (double)load_##type(rows[r], i);                                  \
                dot += (double)query[i] * x;                                                       \
                norm2 += x * x;                                                                    \
            }                                                                                      \
            out[r] = norm2 > 0 ? (float)(1.0 - dot / sqrt(norm2)) : 1.0f;                          \
        }                                                                                          \
    }
SCALAR_EXACT(f32)
SCALAR_EXACT(f16)
SCALAR_EXACT(bf16)
SCALAR_EXACT(i8)
SCALAR_EXACT(u8)

// A component as the number that it is, modulo 2^32.
static uint32_t
component(enum vector_type type, const void *row, uint32_t i)
{
    return type == VECTOR_I8 ? (uint32_t)((const int8_t *)row)[i] : ((const uint8_t *)row)[i];
}

struct integer_query
integer_query_of(enum vector_type type, const void *components, uint32_t dim)
{
    uint32_t norm2 = 0, sum = 0;
    for (uint32_t i = 0; i < dim; i++) {
        const uint32_t q = component(type, components, i);
        norm2 += q * q;
        sum += q;
    }
    return (struct integer_query){
        .components = components, .dim = dim, .norm2 = norm2, .sum = (int32_t)sum};
}

static void
integer(enum metric metric, enum vector_type type, const struct integer_query *query,
        const void *const *rows, uint32_t count, float *out)
{
    for (uint32_t r = 0; r < count; r++) {
        uint32_t sum = 0, norm2 = 0;
        for (uint32_t i = 0; i < query->dim; i++) {
            const uint32_t q = component(type, query->components, i);
            const uint32_t x = component(type, rows[r], i);
            sum += metric == METRIC_L2 ? (q - x) * (q - x) : q * x;
            norm2 += x * x;
        }
        out[r] = integer_distance(metric, type, query, sum, norm2);
    }
}

KINDS_INTEGER(scalar)

static uint32_t
scalar_unpack(const uint8_t *row, uint32_t limit, uint32_t *ids)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < 32; i++) {
        const uint8_t *at = row + 3 * (size_t)i;
        const uint32_t id = (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16;
        if (id < limit)
            ids[count++] = id;
    }
    return count;
}

static uint32_t
scalar_unpack32(const uint8_t *row, uint32_t limit, uint32_t *ids)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < 32; i++) {
        const uint8_t *at = row + 4 * (size_t)i;
        const uint32_t id =
            (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
        if (id < limit)
            ids[count++] = id;
    }
    return count;
}

static void
scalar_butterfly(float *values, uint32_t count)
{
    for (uint32_t half = 1; half < count; half *= 2)
        for (uint32_t i = 0; i < count; i += 2 * half)
            for (uint32_t j = i; j < i + half; j++) {
                const float a = values[j], b = values[j + half];
                values[j] = a + b;
                values[j + half] = a - b;
            }
    const float scale = 1.0f / sqrtf((float)count);
    for (uint32_t i = 0; i < count; i++)
        values[i] *= scale;
}

static void
scalar_encode(const float *values, uint32_t count, float inverse, uint8_t *codes)
{
    for (uint32_t i = 0; i < count; i++)
        codes[i] = (uint8_t)(lrintf(values[i] * inverse) + 128);
}

static int
scalar_finite(const void *row, uint32_t dim, enum vector_type type)
{
    if (type == VECTOR_I8 || type == VECTOR_U8)
        return 1;
    for (uint32_t i = 0; i < dim; i++) {
        const float value = type == VECTOR_F32   ? load_f32(row, i)
                            : type == VECTOR_F16 ? load_f16(row, i)
                                                 : load_bf16(row, i);
        if (!isfinite(value))
            return 0;
    }
    return 1;
}

static void
scalar_within(const uint8_t *bytes, uint32_t word_count, uint8_t first, uint8_t last,
              uint64_t *words)
{
    for (uint32_t w = 0; w < word_count; w++)
        for (uint32_t i = 0; i < 64; i++)
            words[w] |= (uint64_t)(bytes[w * 64u + i] >= first && bytes[w * 64u + i] <= last) << i;
}

const struct kernels kernels_scalar = {
    .name = "scalar",
    .nibble = scalar_nibble,
    .glance = scalar_glance,
    .byte = scalar_byte,
    .join = scalar_join,
    .dots = scalar_dots,
    .insert = insert_plain,
    .exact = KINDS_EXACT_ROWS(scalar),
    .integer = KINDS_INTEGER_ROWS(scalar),
    .unpack = scalar_unpack,
    .unpack32 = scalar_unpack32,
    .butterfly = scalar_butterfly,
    .encode = scalar_encode,
    .finite = scalar_finite,
    .within = scalar_within,
    .tiles = &tiles_scalar,
};
