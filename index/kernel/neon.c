// index/kernel/neon.c -- 64-bit ARM with the dot-product extension.
//
// Shape: kernel. Compiled with its own flags; called only when kernels_list found the feature.
//
// The extension multiplies bytes of one signedness only, and a query is signed while codes are not.
// Nibbles fit a signed byte as they are, so the byte code is multiplied as two planes of nibbles
// (16 * high + low). `dots`, whose rows are whole bytes, flips their top bit, which takes 128 off
// each, and adds 128 times the query's sum.
//
// Rows of codes come in multiples of 16 bytes, a register's width, so nothing here needs a mask.
#include <arm_neon.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "index/kernel/cosine.h"
#include "index/kernel/four.h"
#include "index/kernel/insert.h"
#include "index/kernel/kernel.h"
#include "index/kernel/kinds.h"

// The components that meet the low nibbles of row bytes at..at+15; those for the high nibbles lie
// 64 further.
INLINE const int8_t *
part_components(const int8_t *components, uint32_t at)
{
    return components + (size_t)(at & ~63u) * 2 + (at & 63u);
}

INLINE int8x16_t
low_nibbles(uint8x16_t bytes)
{
    return vreinterpretq_s8_u8(vandq_u8(bytes, vdupq_n_u8(15)));
}

INLINE int8x16_t
high_nibbles(uint8x16_t bytes)
{
    return vreinterpretq_s8_u8(vshrq_n_u8(bytes, 4));
}

INLINE int32x4_t
reduce4_s32(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d)
{
    return vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d));
}

INLINE float32x4_t
reduce4_f32(float32x4_t a, float32x4_t b, float32x4_t c, float32x4_t d)
{
    return vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d));
}

// As the oracle says it: what is not above zero, NaN too, is zero.
INLINE float32x4_t
max_zero(float32x4_t values)
{
    const float32x4_t zero = vdupq_n_f32(0);
    return vbslq_f32(vcgtq_f32(values, zero), values, zero);
}

// A bit per lane that is all ones.
INLINE uint32_t
lane_bits(uint32x4_t lanes)
{
    const uint32x4_t bits = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(lanes, bits));
}

// Two chains per row, one per nibble: four would not fill the pipeline of sdot.
#define NIBBLE_ROW(r)                                                                              \
    do {                                                                                           \
        const uint8x16_t bytes_ = vld1q_u8(rows[r] + at);                                          \
        low_sums[r] = vdotq_s32(low_sums[r], low_nibbles(bytes_), low);                            \
        high_sums[r] = vdotq_s32(high_sums[r], high_nibbles(bytes_), high);                        \
    } while (0)

INLINE int32x4_t
nibble_dot4(const int8_t *components, const uint8_t *const *rows, uint32_t row_bytes)
{
    const int32x4_t zero = vdupq_n_s32(0);
    int32x4_t low_sums[4] = {zero, zero, zero, zero}, high_sums[4] = {zero, zero, zero, zero};
    for (uint32_t at = 0; at < row_bytes; at += 16) {
        const int8_t *part = part_components(components, at);
        const int8x16_t low = vld1q_s8(part), high = vld1q_s8(part + 64);
        NIBBLE_ROW(0);
        NIBBLE_ROW(1);
        NIBBLE_ROW(2);
        NIBBLE_ROW(3);
    }
    return reduce4_s32(vaddq_s32(low_sums[0], high_sums[0]), vaddq_s32(low_sums[1], high_sums[1]),
                       vaddq_s32(low_sums[2], high_sums[2]), vaddq_s32(low_sums[3], high_sums[3]));
}

// The lowest bit of each of a row's first 32 bytes, moved to its place in its byte of the answer,
// as pairs of such bytes: three more pairwise sums of these give the 32 bits.
INLINE uint8x16_t
meta_pairs(const uint8_t *row)
{
    const int8x16_t places = {0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7};
    const uint8x16_t one = vdupq_n_u8(1);
    return vpaddq_u8(vshlq_u8(vandq_u8(vld1q_u8(row), one), places),
                     vshlq_u8(vandq_u8(vld1q_u8(row + 16), one), places));
}

// Of four rows.
struct meta4 {
    float32x4_t factors, norms;
};

INLINE struct meta4
meta4(const uint8_t *const *rows)
{
    const uint8x16_t first = vpaddq_u8(meta_pairs(rows[0]), meta_pairs(rows[1]));
    const uint8x16_t last = vpaddq_u8(meta_pairs(rows[2]), meta_pairs(rows[3]));
    const uint16x8_t meta =
        vreinterpretq_u16_u8(vpaddq_u8(first, last)); // factor, norm, factor, ...
    const uint16x4_t factors = vget_low_u16(vuzp1q_u16(meta, meta));
    const uint16x4_t norms = vget_low_u16(vuzp2q_u16(meta, meta));
    return (struct meta4){vcvt_f32_f16(vreinterpret_f16_u16(factors)),
                          vcvt_f32_f16(vreinterpret_f16_u16(norms))};
}

INLINE float32x4_t
nibble4(const struct nibble_query *query, const uint8_t *const *rows)
{
    const float32x4_t dot = vcvtq_f32_s32(nibble_dot4(query->components, rows, query->row_bytes));
    const struct meta4 meta = meta4(rows);
    const float32x4_t factor = vmulq_n_f32(meta.factors, query->factor_scale);
    const float32x4_t norm = vmulq_n_f32(meta.norms, query->norm_scale);
    return max_zero(vsubq_f32(vaddq_f32(norm, vdupq_n_f32(query->offset)),
                              vmulq_f32(factor, vsubq_f32(dot, vdupq_n_f32(query->center)))));
}

static uint32_t
neon_nibble(const struct nibble_query *query, const uint8_t **rows, uint32_t count, float bound,
            float *out)
{
    four_fill(rows, count);
    const float32x4_t limit = vdupq_n_f32(bound);
    uint32_t below = 0;
    for (uint32_t i = 0; i < count; i += 4) {
        const float32x4_t distance = nibble4(query, rows + i);
        vst1q_f32(out + i, distance);
        below |= lane_bits(vcltq_f32(distance, limit)) << i;
    }
    return four_asked(below, count);
}

#define GLANCE_ROW(r)                                                                              \
    do {                                                                                           \
        const uint8x16_t bytes_ = vld1q_u8(rows[r] + at);                                          \
        const int8x16_t l_ = low_nibbles(bytes_), h_ = high_nibbles(bytes_);                       \
        dots[r] = vdotq_s32(vdotq_s32(dots[r], l_, low), h_, high);                                \
        owns[r] =                                                                                  \
            vdotq_s32(vdotq_s32(owns[r], l_, vsubq_s8(l_, fifteen)), h_, vsubq_s8(h_, fifteen));   \
    } while (0)

INLINE float32x4_t
glance4(const struct glance_query *query, const uint8_t *const *rows)
{
    const int32x4_t zero = vdupq_n_s32(0);
    const int8x16_t fifteen = vdupq_n_s8(15);
    int32x4_t dots[4] = {zero, zero, zero, zero}, owns[4] = {zero, zero, zero, zero};
    for (uint32_t at = 0; at < query->bytes; at += 16) {
        const int8_t *part = part_components(query->components, at);
        const int8x16_t low = vld1q_s8(part), high = vld1q_s8(part + 64);
        GLANCE_ROW(0);
        GLANCE_ROW(1);
        GLANCE_ROW(2);
        GLANCE_ROW(3);
    }
    const float32x4_t dot = vcvtq_f32_s32(reduce4_s32(dots[0], dots[1], dots[2], dots[3]));
    const float32x4_t own =
        vaddq_f32(vcvtq_f32_s32(reduce4_s32(owns[0], owns[1], owns[2], owns[3])),
                  vdupq_n_f32(112.5f * (float)query->bytes));
    const struct meta4 meta = meta4(rows);
    const float32x4_t squares = vaddq_f32(
        vmulq_f32(vmulq_f32(meta.factors, meta.factors), vmulq_n_f32(own, query->own_scale)),
        vdupq_n_f32(query->offset));
    const float32x4_t product = vmulq_f32(vmulq_n_f32(meta.factors, query->factor_scale),
                                          vsubq_f32(dot, vdupq_n_f32(query->center)));
    return vsubq_f32(squares, vaddq_f32(product, vmulq_n_f32(meta.norms, query->norm_scale)));
}

static uint32_t
neon_glance(const struct glance_query *query, const uint8_t **rows, uint32_t count, float bound)
{
    four_fill(rows, count);
    const float32x4_t limit = vdupq_n_f32(bound);
    uint32_t below = 0;
    for (uint32_t i = 0; i < count; i += 4)
        below |= lane_bits(vcltq_f32(glance4(query, rows + i), limit)) << i;
    return four_asked(below, count);
}

// In the first 32 bytes a component of the low nibbles is 16 * (high & 14) + 2 * low.
#define BYTE_ROW(r)                                                                                \
    do {                                                                                           \
        const uint8x16_t high_ = vld1q_u8(high[r] + at), low_ = vld1q_u8(low[r] + at);             \
        const int8x16_t upper_ = vreinterpretq_s8_u8(vandq_u8(high_, upper_mask));                 \
        const int8x16_t lower_ = vshlq_s8(low_nibbles(low_), lent);                                \
        upper[r] = vdotq_s32(upper[r], upper_, first);                                             \
        upper[r] = vdotq_s32(upper[r], high_nibbles(high_), second);                               \
        lower[r] = vdotq_s32(lower[r], lower_, first);                                             \
        lower[r] = vdotq_s32(lower[r], high_nibbles(low_), second);                                \
    } while (0)

INLINE int32x4_t
byte_dot4(const struct byte_query *query, const uint8_t *const *high, const uint8_t *const *low)
{
    const int32x4_t zero = vdupq_n_s32(0);
    int32x4_t upper[4] = {zero, zero, zero, zero}, lower[4] = {zero, zero, zero, zero};
    for (uint32_t at = 0; at < query->row_bytes; at += 16) {
        const int8_t *part = part_components(query->components, at);
        const int8x16_t first = vld1q_s8(part), second = vld1q_s8(part + 64);
        const uint8x16_t upper_mask = vdupq_n_u8(at < NIBBLE_META_BYTES ? 14 : 15);
        const int8x16_t lent = vdupq_n_s8(at < NIBBLE_META_BYTES);
        BYTE_ROW(0);
        BYTE_ROW(1);
        BYTE_ROW(2);
        BYTE_ROW(3);
    }
    return vaddq_s32(vshlq_n_s32(reduce4_s32(upper[0], upper[1], upper[2], upper[3]), 4),
                     reduce4_s32(lower[0], lower[1], lower[2], lower[3]));
}

static void
neon_byte(const struct byte_query *query, const uint8_t *const *high, const uint8_t *const *low,
          const struct byte_meta *const *meta, uint32_t count, float *out)
{
    for (uint32_t i = 0; i < count; i += 4) {
        const uint8_t *high4[4], *low4[4];
        float factor[4], norm[4], distance[4];
        for (uint32_t r = 0; r < 4; r++) {
            const uint32_t from = i + r < count ? i + r : count - 1;
            high4[r] = high[from];
            low4[r] = low[from];
            factor[r] = meta[from]->factor;
            norm[r] = meta[from]->norm;
        }
        const float32x4_t dot =
            vcvtq_f32_s32(vsubq_s32(byte_dot4(query, high4, low4), vdupq_n_s32(query->center)));
        const float32x4_t scale = vmulq_n_f32(vld1q_f32(factor), query->scale);
        const float32x4_t norms = vmulq_n_f32(vld1q_f32(norm), query->norm_scale);
        const float32x4_t sum =
            vsubq_f32(vaddq_f32(norms, vdupq_n_f32(query->offset)), vmulq_f32(scale, dot));
        vst1q_f32(distance, max_zero(sum));
        memcpy(out + i, distance, sizeof(float) * (count - i < 4 ? count - i : 4));
    }
}

static void
neon_join(const uint8_t *high, const uint8_t *low, uint32_t row_bytes, uint8_t *out)
{
    for (uint32_t at = 0; at < (row_bytes + 63) / 64 * 64; at += 16) {
        uint8_t *to = out + (size_t)(at & ~63u) * 2 + (at & 63u);
        if (at >= row_bytes) { // the rest of the last block
            vst1q_u8(to, vdupq_n_u8(0));
            vst1q_u8(to + 64, vdupq_n_u8(0));
            continue;
        }
        const uint8x16_t h = vld1q_u8(high + at), l = vld1q_u8(low + at);
        const uint8x16_t upper = vandq_u8(h, vdupq_n_u8(at < NIBBLE_META_BYTES ? 14 : 15));
        const uint8x16_t lower =
            vshlq_u8(vandq_u8(l, vdupq_n_u8(15)), vdupq_n_s8(at < NIBBLE_META_BYTES));
        vst1q_u8(to, vorrq_u8(vshlq_n_u8(upper, 4), lower));
        vst1q_u8(to + 64, vsriq_n_u8(h, l, 4)); // h's upper four bits above l's
    }
}

INLINE int32x4_t
dots_step(int32x4_t sum, const uint8_t *row, int8x16_t q)
{
    return vdotq_s32(sum, vreinterpretq_s8_u8(veorq_u8(vld1q_u8(row), vdupq_n_u8(128))), q);
}

static void
neon_dots(const int8_t *one, const uint8_t *rows, uint32_t bytes, uint32_t count, int32_t *out)
{
    int32x4_t total = vdupq_n_s32(0);
    for (uint32_t j = 0; j < bytes; j += 16)
        total = vdotq_s32(total, vld1q_s8(one + j), vdupq_n_s8(1));
    const int32x4_t flipped = vdupq_n_s32(128 * vaddvq_s32(total));
    for (uint32_t i = 0; i < count; i += 4) {
        const uint8_t *row[4];
        for (uint32_t r = 0; r < 4; r++)
            row[r] = rows + (size_t)(i + r < count ? i + r : count - 1) * bytes;
        const int32x4_t zero = vdupq_n_s32(0);
        int32x4_t even[4] = {zero, zero, zero, zero}, odd[4] = {zero, zero, zero, zero};
        for (uint32_t j = 0; j < bytes; j += 32) {
            const int8x16_t q0 = vld1q_s8(one + j), q1 = vld1q_s8(one + j + 16);
            for (uint32_t r = 0; r < 4; r++) {
                even[r] = dots_step(even[r], row[r] + j, q0);
                odd[r] = dots_step(odd[r], row[r] + j + 16, q1);
            }
        }
        const int32x4_t sum = vaddq_s32(reduce4_s32(even[0], even[1], even[2], even[3]),
                                        reduce4_s32(odd[0], odd[1], odd[2], odd[3]));
        vst1q_s32(out + i, vaddq_s32(sum, flipped));
    }
}

// Eight components, in two registers.
struct eight {
    float32x4_t low, high;
};

INLINE struct eight
widen_s16(int16x8_t words)
{
    return (struct eight){vcvtq_f32_s32(vmovl_s16(vget_low_s16(words))),
                          vcvtq_f32_s32(vmovl_high_s16(words))};
}

// Components i..i+7 of a row, at any address. `type` is a constant wherever this is inlined.
INLINE struct eight
load8(enum vector_type type, const void *row, uint32_t i)
{
    const uint8_t *at = (const uint8_t *)row + (size_t)i * vector_type_bytes(type);
    if (type == VECTOR_F32)
        return (struct eight){vreinterpretq_f32_u8(vld1q_u8(at)),
                              vreinterpretq_f32_u8(vld1q_u8(at + 16))};
    if (type == VECTOR_F16) {
        const float16x8_t halves = vreinterpretq_f16_u8(vld1q_u8(at));
        return (struct eight){vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves)};
    }
    if (type == VECTOR_BF16) {
        const uint16x8_t uppers = vreinterpretq_u16_u8(vld1q_u8(at));
        return (struct eight){vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(uppers), 16)),
                              vreinterpretq_f32_u32(vshll_high_n_u16(uppers, 16))};
    }
    if (type == VECTOR_I8)
        return widen_s16(vmovl_s8(vreinterpret_s8_u8(vld1_u8(at))));
    return widen_s16(vreinterpretq_s16_u16(vmovl_u8(vld1_u8(at))));
}

INLINE struct eight
eight_and(struct eight x, uint32x4_t low, uint32x4_t high)
{
    return (struct eight){vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x.low), low)),
                          vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x.high), high))};
}

// What is summed over one row. Under cosine `other` is |x|^2; else it is a second chain, for the
// upper four of eight components, because four rows alone do not fill the multiplier's pipeline.
struct chains {
    float32x4_t sum, other;
};

INLINE void
exact_step(enum metric metric, struct chains *row, struct eight q, struct eight x)
{
    if (metric == METRIC_L2) {
        const float32x4_t low = vsubq_f32(q.low, x.low), high = vsubq_f32(q.high, x.high);
        row->sum = vfmaq_f32(row->sum, low, low);
        row->other = vfmaq_f32(row->other, high, high);
    } else if (metric == METRIC_IP) {
        row->sum = vfmaq_f32(row->sum, q.low, x.low);
        row->other = vfmaq_f32(row->other, q.high, x.high);
    } else {
        row->sum = vfmaq_f32(vfmaq_f32(row->sum, q.low, x.low), q.high, x.high);
        row->other = vfmaq_f32(vfmaq_f32(row->other, x.low, x.low), x.high, x.high);
    }
}

// NaN where index/kernel/cosine.h says so.
INLINE float32x4_t
cosine_of(float32x4_t dot, float32x4_t norm2)
{
    const uint32x4_t kept = vandq_u32(vcgeq_f32(norm2, vdupq_n_f32(COSINE_NORM2_MIN)),
                                      vcleq_f32(norm2, vdupq_n_f32(COSINE_NORM2_MAX)));
    const float32x4_t cosine = vdivq_f32(dot, vsqrtq_f32(norm2));
    return vbslq_f32(kept, vsubq_f32(vdupq_n_f32(1), cosine), vdupq_n_f32(NAN));
}

// Needs dim >= 8: what is left beyond whole steps is read with the eight last components, of which
// those counted before are zeroed.
INLINE float32x4_t
exact4(enum metric metric, enum vector_type type, const float *query, const void *const *rows,
       uint32_t dim)
{
    const float32x4_t zero = vdupq_n_f32(0);
    struct chains chains[4] = {{zero, zero}, {zero, zero}, {zero, zero}, {zero, zero}};
    uint32_t i = 0;
    for (; i + 8 <= dim; i += 8) {
        const struct eight q = load8(VECTOR_F32, query, i);
        for (uint32_t r = 0; r < 4; r++)
            exact_step(metric, &chains[r], q, load8(type, rows[r], i));
    }
    if (i < dim) {
        const uint32x4_t lanes = {7, 6, 5, 4}, left = vdupq_n_u32(dim - i);
        const uint32x4_t low = vcltq_u32(lanes, left);
        const uint32x4_t high = vcltq_u32(vsubq_u32(lanes, vdupq_n_u32(4)), left);
        const struct eight q = eight_and(load8(VECTOR_F32, query, dim - 8), low, high);
        for (uint32_t r = 0; r < 4; r++)
            exact_step(metric, &chains[r], q, eight_and(load8(type, rows[r], dim - 8), low, high));
    }
    const float32x4_t sum = reduce4_f32(chains[0].sum, chains[1].sum, chains[2].sum, chains[3].sum);
    const float32x4_t other =
        reduce4_f32(chains[0].other, chains[1].other, chains[2].other, chains[3].other);
    const float32x4_t one = vdupq_n_f32(1);
    if (metric == METRIC_L2)
        return vaddq_f32(sum, other);
    if (metric == METRIC_IP)
        return vsubq_f32(one, vaddq_f32(sum, other));
    return cosine_of(sum, other);
}

INLINE void
exact(enum metric metric, enum vector_type type, const float *query, const void *const *rows,
      uint32_t count, uint32_t dim, float *out)
{
    float short_query[8] = {0};
    uint8_t short_rows[4][32] = {{0}};
    if (dim < 8)
        memcpy(short_query, query, dim * sizeof(float));
    for (uint32_t i = 0; i < count; i += 4) {
        const void *row[4];
        float distance[4];
        for (uint32_t r = 0; r < 4; r++) {
            row[r] = rows[i + r < count ? i + r : count - 1];
            if (dim < 8)
                row[r] = memcpy(short_rows[r], row[r], dim * vector_type_bytes(type));
        }
        vst1q_f32(distance,
                  exact4(metric, type, dim < 8 ? short_query : query, row, dim < 8 ? 8 : dim));
        memcpy(out + i, distance, sizeof(float) * (count - i < 4 ? count - i : 4));
    }
    if (metric == METRIC_COSINE)
        cosine_again(type, query, rows, count, dim, out);
}

KINDS_EXACT(neon)

// The dot products of the extension are for one signedness, which is what rows of one type have; a difference of signed
// components without its sign fits an unsigned one.
INLINE uint32x4_t
integer_dot(enum vector_type type, uint32x4_t sum, uint8x16_t a, uint8x16_t b)
{
    if (type == VECTOR_U8)
        return vdotq_u32(sum, a, b);
    return vreinterpretq_u32_s32(
        vdotq_s32(vreinterpretq_s32_u32(sum), vreinterpretq_s8_u8(a), vreinterpretq_s8_u8(b)));
}

INLINE void
integer_step(enum metric metric, enum vector_type type, uint32x4_t *sum, uint32x4_t *norm2,
             uint8x16_t q, uint8x16_t x)
{
    if (metric == METRIC_L2) {
        const uint8x16_t apart =
            type == VECTOR_U8
                ? vabdq_u8(q, x)
                : vreinterpretq_u8_s8(vabdq_s8(vreinterpretq_s8_u8(q), vreinterpretq_s8_u8(x)));
        *sum = vdotq_u32(*sum, apart, apart);
        return;
    }
    *sum = integer_dot(type, *sum, q, x);
    if (metric == METRIC_COSINE)
        *norm2 = integer_dot(type, *norm2, x, x);
}

INLINE void
integer4(enum metric metric, enum vector_type type, const struct integer_query *query,
         const void *const *rows, uint32_t sums_out[4], uint32_t norms2_out[4])
{
    const uint32x4_t zero = vdupq_n_u32(0);
    const uint8_t *one = query->components;
    uint32x4_t sum[4] = {zero, zero, zero, zero}, norm2[4] = {zero, zero, zero, zero};
    uint32_t i = 0;
    for (; i + 16 <= query->dim; i += 16)
        for (uint32_t r = 0; r < 4; r++)
            integer_step(metric, type, &sum[r], &norm2[r], vld1q_u8(one + i),
                         vld1q_u8((const uint8_t *)rows[r] + i));
    if (i < query->dim) {
        uint8_t rest[5][16] = {{0}};
        memcpy(rest[4], one + i, query->dim - i);
        for (uint32_t r = 0; r < 4; r++) {
            memcpy(rest[r], (const uint8_t *)rows[r] + i, query->dim - i);
            integer_step(metric, type, &sum[r], &norm2[r], vld1q_u8(rest[4]), vld1q_u8(rest[r]));
        }
    }
    for (uint32_t r = 0; r < 4; r++) {
        sums_out[r] = vaddvq_u32(sum[r]);
        norms2_out[r] = vaddvq_u32(norm2[r]);
    }
}

INTEGER_BY_FOURS(integer4)
KINDS_INTEGER(neon)

// Four ids out of 12 bytes, widened to 32 bits. The last four of a row are read with the four bytes
// before them
// (`skip` 4), so that nothing beyond the row is.
INLINE uint32x4_t
widen24(const uint8_t *bytes, uint8_t skip)
{
    const uint8x16_t order = {0, 1, 2, 128, 3, 4, 5, 128, 6, 7, 8, 128, 9, 10, 11, 128};
    return vreinterpretq_u32_u8(
        vqtbl1q_u8(vld1q_u8(bytes - skip), vaddq_u8(order, vdupq_n_u8(skip))));
}

#define LANE(n) 4 * (n), 4 * (n) + 1, 4 * (n) + 2, 4 * (n) + 3
#define LANES(a, b, c, d)                                                                          \
    {                                                                                              \
        LANE(a), LANE(b), LANE(c), LANE(d)                                                         \
    }
// For each set of kept lanes, which lanes to take; what follows the kept ones does not matter.
static const uint8_t kept_lanes[16][16] = {
    LANES(0, 0, 0, 0), LANES(0, 0, 0, 0), LANES(1, 0, 0, 0), LANES(0, 1, 0, 0),
    LANES(2, 0, 0, 0), LANES(0, 2, 0, 0), LANES(1, 2, 0, 0), LANES(0, 1, 2, 0),
    LANES(3, 0, 0, 0), LANES(0, 3, 0, 0), LANES(1, 3, 0, 0), LANES(0, 1, 3, 0),
    LANES(2, 3, 0, 0), LANES(0, 2, 3, 0), LANES(1, 2, 3, 0), LANES(0, 1, 2, 3),
};

// Of four ids those below the bound; returns how many. `ids` has room for all.
INLINE uint32_t
keep_below(uint32x4_t wide, uint32x4_t bound, uint32_t *ids)
{
    const uint32_t keep = lane_bits(vcltq_u32(wide, bound));
    const uint8x16_t kept = vqtbl1q_u8(vreinterpretq_u8_u32(wide), vld1q_u8(kept_lanes[keep]));
    vst1q_u32(ids, vreinterpretq_u32_u8(kept));
    return (uint32_t)__builtin_popcount(keep);
}

static uint32_t
neon_unpack(const uint8_t *row, uint32_t limit, uint32_t *ids)
{
    const uint32x4_t bound = vdupq_n_u32(limit);
    uint32_t count = 0;
    for (uint32_t i = 0; i < 8; i++)
        count += keep_below(widen24(row + (size_t)12 * i, i == 7 ? 4 : 0), bound, ids + count);
    return count;
}

static uint32_t
neon_unpack32(const uint8_t *row, uint32_t limit, uint32_t *ids)
{
    const uint32x4_t bound = vdupq_n_u32(limit);
    uint32_t count = 0;
    for (uint32_t i = 0; i < 8; i++)
        count +=
            keep_below(vreinterpretq_u32_u8(vld1q_u8(row + (size_t)16 * i)), bound, ids + count);
    return count;
}

INLINE float32x4_t
alternate(float32x4_t x, float32x4_t swapped, uint32x4_t minus)
{
    return vaddq_f32(vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(x), minus)), swapped);
}

// The two stages inside a register: x + swapped in lower lanes, swapped - x in upper ones.
INLINE float32x4_t
butterfly4(float32x4_t x)
{
    const uint32x4_t odd = {0, 1u << 31, 0, 1u << 31}, upper = {0, 0, 1u << 31, 1u << 31};
    x = alternate(x, vrev64q_f32(x), odd);
    return alternate(x, vextq_f32(x, x, 2), upper);
}

static void
neon_butterfly(float *values, uint32_t count)
{
    for (uint32_t i = 0; i < count; i += 4)
        vst1q_f32(values + i, butterfly4(vld1q_f32(values + i)));
    for (uint32_t half = 4; half < count; half *= 2)
        for (uint32_t i = 0; i < count; i += 2 * half)
            for (uint32_t j = i; j < i + half; j += 4) {
                const float32x4_t a = vld1q_f32(values + j), b = vld1q_f32(values + j + half);
                vst1q_f32(values + j, vaddq_f32(a, b));
                vst1q_f32(values + j + half, vsubq_f32(a, b));
            }
    const float scale = 1.0f / sqrtf((float)count);
    for (uint32_t i = 0; i < count; i += 4)
        vst1q_f32(values + i, vmulq_n_f32(vld1q_f32(values + i), scale));
}

INLINE int16x4_t
encode4(const float *values, float inverse)
{
    return vqmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(values), inverse)));
}

static void
neon_encode(const float *values, uint32_t count, float inverse, uint8_t *codes)
{
    for (uint32_t i = 0; i < count; i += 8) {
        const int16x8_t words =
            vcombine_s16(encode4(values + i, inverse), encode4(values + i + 4, inverse));
        vst1_u8(codes + i, veor_u8(vreinterpret_u8_s8(vqmovn_s16(words)), vdup_n_u8(128)));
    }
}

// Ones in every lane whose exponent is all ones: NaN or infinity.
INLINE uint8x16_t
not_finite(uint8x16_t bytes, enum vector_type type)
{
    if (type == VECTOR_F32) {
        const uint32x4_t exponent = vdupq_n_u32(0x7f800000);
        return vreinterpretq_u8_u32(
            vceqq_u32(vandq_u32(vreinterpretq_u32_u8(bytes), exponent), exponent));
    }
    const uint16x8_t exponent = vdupq_n_u16(type == VECTOR_F16 ? 0x7c00 : 0x7f80);
    return vreinterpretq_u8_u16(
        vceqq_u16(vandq_u16(vreinterpretq_u16_u8(bytes), exponent), exponent));
}

static int
neon_finite(const void *row, uint32_t dim, enum vector_type type)
{
    if (type == VECTOR_I8 || type == VECTOR_U8)
        return 1;
    const uint8_t *bytes = row;
    const size_t size = (size_t)dim * vector_type_bytes(type);
    uint8x16_t bad = vdupq_n_u8(0);
    size_t at = 0;
    for (; at + 16 <= size; at += 16)
        bad = vorrq_u8(bad, not_finite(vld1q_u8(bytes + at), type));
    uint8_t rest[16] = {0};
    memcpy(rest, bytes + at, size - at);
    bad = vorrq_u8(bad, not_finite(vld1q_u8(rest), type));
    return vmaxvq_u8(bad) == 0;
}

static void
neon_within(const uint8_t *bytes, uint32_t word_count, uint8_t first, uint8_t last, uint64_t *words)
{
    static const uint8_t weights[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t low = vdupq_n_u8(first), high = vdupq_n_u8(last), weight = vld1q_u8(weights);
    for (uint32_t w = 0; w < word_count; w++) {
        uint64_t word = 0;
        for (uint32_t i = 0; i < 64; i += 16) {
            const uint8x16_t at = vld1q_u8(bytes + w * 64u + i);
            const uint8x16_t inside = vandq_u8(vcgeq_u8(at, low), vcleq_u8(at, high));
            const uint8x16_t bits = vandq_u8(inside, weight);
            word |= (uint64_t)vaddv_u8(vget_low_u8(bits)) << i;
            word |= (uint64_t)vaddv_u8(vget_high_u8(bits)) << (i + 8);
        }
        words[w] |= word;
    }
}

const struct kernels kernels_neon = {
    .name = "neon",
    .nibble = neon_nibble,
    .glance = neon_glance,
    .byte = neon_byte,
    .join = neon_join,
    .dots = neon_dots,
    .insert = insert_plain,
    .exact = KINDS_EXACT_ROWS(neon),
    .integer = KINDS_INTEGER_ROWS(neon),
    .unpack = neon_unpack,
    .unpack32 = neon_unpack32,
    .butterfly = neon_butterfly,
    .encode = neon_encode,
    .finite = neon_finite,
    .within = neon_within,
    .tiles = &tiles_neon,
};
