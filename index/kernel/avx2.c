// index/kernel/avx2.c -- AVX2 with FMA, F16C and BMI2.
//
// Shape: kernel. Compiled with its own flags; called only when kernels_list found the features.
//
// There is no byte product that adds into 32 bits here, only vpmaddubsw, which adds two products
// into 16 bits and saturates. Nibbles never reach that: a pair is at most 2 * 15 * 127 = 3810, so
// eight pairs fit in 16 bits, and only then is the sum widened. Whole bytes would, so the byte code
// is multiplied as two planes of nibbles (16 * high + low), and `dots` splits even and odd bytes
// into 16-bit lanes for vpmaddwd.
#include <immintrin.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "index/kernel/cosine.h"
#include "index/kernel/four.h"
#include "index/kernel/insert.h"
#include "index/kernel/kernel.h"
#include "index/kernel/kinds.h"

// One 32-bit sum per row for four rows.
struct sums {
    __m256i a, b, c, d;
};

INLINE struct sums
sums_zero(void)
{
    const __m256i zero = _mm256_setzero_si256();
    return (struct sums){zero, zero, zero, zero};
}

INLINE __m128i
sums_reduce(struct sums s)
{
    const __m256i all = _mm256_hadd_epi32(_mm256_hadd_epi32(s.a, s.b), _mm256_hadd_epi32(s.c, s.d));
    return _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
}

// Row bytes from `at`: 32, or the 16 that a row may end with and zeros.
INLINE __m256i
load_part(const uint8_t *row, uint32_t at, uint32_t width)
{
    if (width == 32)
        return _mm256_loadu_si256((const __m256i *)(row + at));
    return _mm256_zextsi128_si256(_mm_loadu_si128((const __m128i *)(row + at)));
}

// The components that meet the low nibbles of row bytes at..at+31; those for the high nibbles lie
// 64 further.
INLINE const __m256i *
part_components(const int8_t *components, uint32_t at)
{
    return (const __m256i *)(components + (size_t)(at & ~63u) * 2 + (at & 32u));
}

INLINE __m256i
low_nibbles(__m256i bytes)
{
    return _mm256_and_si256(bytes, _mm256_set1_epi8(15));
}

INLINE __m256i
high_nibbles(__m256i bytes)
{
    return _mm256_and_si256(_mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(15));
}

// Two pairs of products per 16-bit lane.
INLINE __m256i
nibble_products(__m256i bytes, __m256i low, __m256i high)
{
    return _mm256_add_epi16(_mm256_maddubs_epi16(low_nibbles(bytes), low),
                            _mm256_maddubs_epi16(high_nibbles(bytes), high));
}

INLINE void
nibble_part(struct sums *narrow, const int8_t *components, const uint8_t *const *rows, uint32_t at,
            uint32_t width)
{
    const __m256i *part = part_components(components, at);
    const __m256i low = _mm256_loadu_si256(part), high = _mm256_loadu_si256(part + 2);
    narrow->a =
        _mm256_add_epi16(narrow->a, nibble_products(load_part(rows[0], at, width), low, high));
    narrow->b =
        _mm256_add_epi16(narrow->b, nibble_products(load_part(rows[1], at, width), low, high));
    narrow->c =
        _mm256_add_epi16(narrow->c, nibble_products(load_part(rows[2], at, width), low, high));
    narrow->d =
        _mm256_add_epi16(narrow->d, nibble_products(load_part(rows[3], at, width), low, high));
}

INLINE void
sums_widen(struct sums *wide, struct sums narrow)
{
    const __m256i ones = _mm256_set1_epi16(1);
    wide->a = _mm256_add_epi32(wide->a, _mm256_madd_epi16(narrow.a, ones));
    wide->b = _mm256_add_epi32(wide->b, _mm256_madd_epi16(narrow.b, ones));
    wide->c = _mm256_add_epi32(wide->c, _mm256_madd_epi16(narrow.c, ones));
    wide->d = _mm256_add_epi32(wide->d, _mm256_madd_epi16(narrow.d, ones));
}

INLINE __m128i
nibble_dot4(const int8_t *components, const uint8_t *const *rows, uint32_t row_bytes)
{
    struct sums wide = sums_zero();
    uint32_t at = 0;
    for (; at + 128 <= row_bytes; at += 128) { // four parts of two pairs: what 16 bits hold
        struct sums narrow = sums_zero();
        nibble_part(&narrow, components, rows, at, 32);
        nibble_part(&narrow, components, rows, at + 32, 32);
        nibble_part(&narrow, components, rows, at + 64, 32);
        nibble_part(&narrow, components, rows, at + 96, 32);
        sums_widen(&wide, narrow);
    }
    if (at < row_bytes) {
        struct sums narrow = sums_zero();
        for (; at + 32 <= row_bytes; at += 32)
            nibble_part(&narrow, components, rows, at, 32);
        if (at < row_bytes)
            nibble_part(&narrow, components, rows, at, 16);
        sums_widen(&wide, narrow);
    }
    return sums_reduce(wide);
}

// The two f16 numbers lent by the first 32 bytes of a row.
INLINE int
meta_bits(const uint8_t *row)
{
    return _mm256_movemask_epi8(_mm256_slli_epi16(_mm256_loadu_si256((const __m256i *)row), 7));
}

// The factors of four rows, then their norms.
INLINE __m256
meta4(const uint8_t *const *rows)
{
    const __m128i bits = _mm_setr_epi32(meta_bits(rows[0]), meta_bits(rows[1]), meta_bits(rows[2]),
                                        meta_bits(rows[3]));
    return four_meta(bits);
}

INLINE __m128
nibble4(const struct nibble_query *query, const uint8_t *const *rows)
{
    const __m128i dots = nibble_dot4(query->components, rows, query->row_bytes);
    return four_nibble(query, dots, meta4(rows));
}

static uint32_t
avx2_nibble(const struct nibble_query *query, const uint8_t **rows, uint32_t count, float bound,
            float *out)
{
    four_fill(rows, count);
    const __m128 limit = _mm_set1_ps(bound);
    uint32_t below = 0;
    for (uint32_t i = 0; i < count; i += 4) {
        const __m128 distance = nibble4(query, rows + i);
        _mm_storeu_ps(out + i, distance);
        below |= (uint32_t)_mm_movemask_ps(_mm_cmplt_ps(distance, limit)) << i;
    }
    return four_asked(below, count);
}

// The nibbles n of one part of one row: their products with the query's, and n (n - 15). A pair of
// those is at most 112 away from zero, so 16 bits hold what nibble_dot4 puts into them.
INLINE void
glance_row(__m256i *dot, __m256i *own, __m256i bytes, __m256i low, __m256i high)
{
    const __m256i fifteen = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
    const __m256i l = low_nibbles(bytes), h = high_nibbles(bytes);
    const __m256i squares = _mm256_add_epi16(_mm256_maddubs_epi16(l, _mm256_sub_epi8(l, fifteen)),
                                             _mm256_maddubs_epi16(h, _mm256_sub_epi8(h, fifteen)));
    *dot = _mm256_add_epi32(*dot, _mm256_madd_epi16(nibble_products(bytes, low, high), ones));
    *own = _mm256_add_epi32(*own, _mm256_madd_epi16(squares, ones));
}

INLINE __m128
glance4(const struct glance_query *query, const uint8_t *const *rows)
{
    struct sums dots = sums_zero(), owns = sums_zero();
    for (uint32_t at = 0; at < query->bytes; at += 32) {
        const __m256i *part = part_components(query->components, at);
        const __m256i low = _mm256_loadu_si256(part), high = _mm256_loadu_si256(part + 2);
        glance_row(&dots.a, &owns.a, load_part(rows[0], at, 32), low, high);
        glance_row(&dots.b, &owns.b, load_part(rows[1], at, 32), low, high);
        glance_row(&dots.c, &owns.c, load_part(rows[2], at, 32), low, high);
        glance_row(&dots.d, &owns.d, load_part(rows[3], at, 32), low, high);
    }
    const __m128i dot = sums_reduce(dots), own = sums_reduce(owns);
    return four_glance(query, dot, own, meta4(rows));
}

static uint32_t
avx2_glance(const struct glance_query *query, const uint8_t **rows, uint32_t count, float bound)
{
    four_fill(rows, count);
    const __m128 limit = _mm_set1_ps(bound);
    uint32_t below = 0;
    for (uint32_t i = 0; i < count; i += 4)
        below |= (uint32_t)_mm_movemask_ps(_mm_cmplt_ps(glance4(query, rows + i), limit)) << i;
    return four_asked(below, count);
}

// Both planes of one part of one row, in 32 bits. In the part that lends its lowest bits (the first
// 32 bytes) a component of the low nibbles is 16 * (high & 14) + 2 * low.
INLINE __m256i
byte_products(__m256i high, __m256i low, __m256i first, __m256i second, int lent)
{
    const __m256i low_first = low_nibbles(low);
    const __m256i upper_first = _mm256_and_si256(high, _mm256_set1_epi8(lent ? 14 : 15));
    const __m256i lower_first = lent ? _mm256_add_epi8(low_first, low_first) : low_first;
    const __m256i upper = _mm256_add_epi16(_mm256_maddubs_epi16(upper_first, first),
                                           _mm256_maddubs_epi16(high_nibbles(high), second));
    const __m256i lower = _mm256_add_epi16(_mm256_maddubs_epi16(lower_first, first),
                                           _mm256_maddubs_epi16(high_nibbles(low), second));
    return _mm256_add_epi32(_mm256_madd_epi16(upper, _mm256_set1_epi16(16)),
                            _mm256_madd_epi16(lower, _mm256_set1_epi16(1)));
}

#define BYTE_ROW(sum, r)                                                                           \
    sum = _mm256_add_epi32(sum, byte_products(load_part(high[r], at, width),                       \
                                              load_part(low[r], at, width), first, second, lent))

INLINE void
byte_part(struct sums *sums, const int8_t *components, const uint8_t *const *high,
          const uint8_t *const *low, uint32_t at, uint32_t width, int lent)
{
    const __m256i *part = part_components(components, at);
    const __m256i first = _mm256_loadu_si256(part), second = _mm256_loadu_si256(part + 2);
    BYTE_ROW(sums->a, 0);
    BYTE_ROW(sums->b, 1);
    BYTE_ROW(sums->c, 2);
    BYTE_ROW(sums->d, 3);
}

INLINE __m128i
byte_dot4(const struct byte_query *query, const uint8_t *const *high, const uint8_t *const *low)
{
    struct sums sums = sums_zero();
    byte_part(&sums, query->components, high, low, 0, 32, 1);
    uint32_t at = 32;
    for (; at + 32 <= query->row_bytes; at += 32)
        byte_part(&sums, query->components, high, low, at, 32, 0);
    if (at < query->row_bytes)
        byte_part(&sums, query->components, high, low, at, 16, 0);
    return sums_reduce(sums);
}

static void
avx2_byte(const struct byte_query *query, const uint8_t *const *high, const uint8_t *const *low,
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
        const __m128 dot = _mm_cvtepi32_ps(
            _mm_sub_epi32(byte_dot4(query, high4, low4), _mm_set1_epi32(query->center)));
        const __m128 scale = _mm_mul_ps(_mm_loadu_ps(factor), _mm_set1_ps(query->scale));
        const __m128 norms = _mm_mul_ps(_mm_loadu_ps(norm), _mm_set1_ps(query->norm_scale));
        const __m128 sum =
            _mm_sub_ps(_mm_add_ps(norms, _mm_set1_ps(query->offset)), _mm_mul_ps(scale, dot));
        _mm_storeu_ps(distance, _mm_max_ps(sum, _mm_setzero_ps()));
        memcpy(out + i, distance, sizeof(float) * (count - i < 4 ? count - i : 4));
    }
}

INLINE void
join_part(const uint8_t *high, const uint8_t *low, uint32_t at, uint32_t width, int lent,
          uint8_t *out)
{
    const __m256i h = load_part(high, at, width), l = load_part(low, at, width);
    const __m256i lower = low_nibbles(l);
    const __m256i upper = _mm256_and_si256(h, _mm256_set1_epi8(lent ? 14 : 15));
    const __m256i first =
        _mm256_or_si256(_mm256_slli_epi16(upper, 4), lent ? _mm256_add_epi8(lower, lower) : lower);
    const __m256i second =
        _mm256_or_si256(_mm256_andnot_si256(_mm256_set1_epi8(15), h), high_nibbles(l));
    uint8_t *to = out + (size_t)(at & ~63u) * 2 + (at & 32u);
    _mm256_storeu_si256((__m256i *)to, first);
    _mm256_storeu_si256((__m256i *)(to + 64), second);
}

static void
avx2_join(const uint8_t *high, const uint8_t *low, uint32_t row_bytes, uint8_t *out)
{
    join_part(high, low, 0, 32, 1, out);
    uint32_t at = 32;
    for (; at + 32 <= row_bytes; at += 32)
        join_part(high, low, at, 32, 0, out);
    if (at < row_bytes) {
        join_part(high, low, at, 16, 0, out);
        at += 32;
    }
    if ((at & 63u) != 0) { // the last block's second half
        uint8_t *to = out + (size_t)(at & ~63u) * 2 + 32;
        _mm256_storeu_si256((__m256i *)to, _mm256_setzero_si256());
        _mm256_storeu_si256((__m256i *)(to + 64), _mm256_setzero_si256());
    }
}

// Even and odd bytes as 16-bit numbers: two products of them fit in 32 bits with room to spare.
INLINE __m256i
dots_step(__m256i sum, const uint8_t *row, __m256i even, __m256i odd)
{
    const __m256i bytes = _mm256_loadu_si256((const __m256i *)row);
    const __m256i row_even = _mm256_and_si256(bytes, _mm256_set1_epi16(255));
    const __m256i row_odd = _mm256_srli_epi16(bytes, 8);
    return _mm256_add_epi32(
        sum, _mm256_add_epi32(_mm256_madd_epi16(row_even, even), _mm256_madd_epi16(row_odd, odd)));
}

static void
avx2_dots(const int8_t *one, const uint8_t *rows, uint32_t bytes, uint32_t count, int32_t *out)
{
    for (uint32_t i = 0; i < count; i += 4) {
        const uint8_t *row[4];
        for (uint32_t r = 0; r < 4; r++)
            row[r] = rows + (size_t)(i + r < count ? i + r : count - 1) * bytes;
        struct sums sums = sums_zero();
        for (uint32_t j = 0; j < bytes; j += 32) {
            const __m256i q = _mm256_loadu_si256((const __m256i *)(one + j));
            const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(q, 8), 8),
                          odd = _mm256_srai_epi16(q, 8);
            sums.a = dots_step(sums.a, row[0] + j, even, odd);
            sums.b = dots_step(sums.b, row[1] + j, even, odd);
            sums.c = dots_step(sums.c, row[2] + j, even, odd);
            sums.d = dots_step(sums.d, row[3] + j, even, odd);
        }
        _mm_storeu_si128((__m128i *)(out + i), sums_reduce(sums));
    }
}

// Components i..i+7 of a row. `type` is a constant wherever this is inlined.
INLINE __m256
load8(enum vector_type type, const void *row, uint32_t i)
{
    const uint8_t *at = (const uint8_t *)row + (size_t)i * vector_type_bytes(type);
    switch (type) {
    case VECTOR_F32:
        return _mm256_loadu_ps((const float *)(const void *)at);
    case VECTOR_F16:
        return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)at));
    case VECTOR_BF16:
        return _mm256_castsi256_ps(
            _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)at)), 16));
    case VECTOR_I8:
        return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)at)));
    case VECTOR_U8:
        break;
    }
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)at)));
}

// What is summed over one row. Under cosine `other` is |x|^2; else it is a second chain for every
// other step, because four rows alone do not fill the multiplier's pipeline.
struct chains {
    __m256 sum, other;
};

INLINE void
exact_step(enum metric metric, struct chains *row, int odd, __m256 q, __m256 x)
{
    __m256 *sum = odd && metric != METRIC_COSINE ? &row->other : &row->sum;
    if (metric == METRIC_L2) {
        const __m256 difference = _mm256_sub_ps(q, x);
        *sum = _mm256_fmadd_ps(difference, difference, *sum);
        return;
    }
    *sum = _mm256_fmadd_ps(q, x, *sum);
    if (metric == METRIC_COSINE)
        row->other = _mm256_fmadd_ps(x, x, row->other);
}

// All ones in the last `left` of 8 lanes.
INLINE __m256
last_lanes(uint32_t left)
{
    const __m256i lanes = _mm256_setr_epi32(7, 6, 5, 4, 3, 2, 1, 0);
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32((int)left), lanes));
}

// Components i..i+7 of four rows, of which the last `left` count; the others were counted before.
INLINE void
exact_step4(enum metric metric, enum vector_type type, struct chains chains[4], int odd,
            const float *query, const void *const *rows, uint32_t i, uint32_t left)
{
    const __m256 keep = last_lanes(left);
    const int whole = __builtin_constant_p(left) && left == 8;
    const __m256 q = _mm256_loadu_ps(query + i), q_kept = whole ? q : _mm256_and_ps(q, keep);
    for (uint32_t r = 0; r < 4; r++) {
        const __m256 x = load8(type, rows[r], i);
        exact_step(metric, &chains[r], odd, q_kept, whole ? x : _mm256_and_ps(x, keep));
    }
}

INLINE __m128
reduce4_ps(__m256 a, __m256 b, __m256 c, __m256 d)
{
    const __m256 all = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    return _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1));
}

// NaN where index/kernel/cosine.h says so.
INLINE __m128
cosine_of(__m128 dot, __m128 norm2)
{
    const __m128 lost = _mm_or_ps(_mm_cmpnge_ps(norm2, _mm_set1_ps(COSINE_NORM2_MIN)),
                                  _mm_cmpnle_ps(norm2, _mm_set1_ps(COSINE_NORM2_MAX)));
    const __m128 cosine = _mm_div_ps(dot, _mm_sqrt_ps(norm2));
    return _mm_or_ps(_mm_sub_ps(_mm_set1_ps(1.0f), cosine), lost); // all ones is a NaN
}

// Needs dim >= 8: what is left beyond whole steps is read with the eight last components.
INLINE __m128
exact4(enum metric metric, enum vector_type type, const float *query, const void *const *rows,
       uint32_t dim)
{
    const __m256 zero = _mm256_setzero_ps();
    struct chains chains[4] = {{zero, zero}, {zero, zero}, {zero, zero}, {zero, zero}};
    uint32_t i = 0;
    for (; i + 16 <= dim; i += 16) {
        exact_step4(metric, type, chains, 0, query, rows, i, 8);
        exact_step4(metric, type, chains, 1, query, rows, i + 8, 8);
    }
    if (i + 8 <= dim) {
        exact_step4(metric, type, chains, 0, query, rows, i, 8);
        i += 8;
    }
    if (i < dim)
        exact_step4(metric, type, chains, 1, query, rows, dim - 8, dim - i);
    const __m128 sum = reduce4_ps(chains[0].sum, chains[1].sum, chains[2].sum, chains[3].sum);
    const __m128 other =
        reduce4_ps(chains[0].other, chains[1].other, chains[2].other, chains[3].other);
    const __m128 one = _mm_set1_ps(1.0f);
    if (metric == METRIC_L2)
        return _mm_add_ps(sum, other);
    if (metric == METRIC_IP)
        return _mm_sub_ps(one, _mm_add_ps(sum, other));
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
                row[r] = memcpy(short_rows[r], row[r], (size_t)dim * vector_type_bytes(type));
        }
        _mm_storeu_ps(distance,
                      exact4(metric, type, dim < 8 ? short_query : query, row, dim < 8 ? 8 : dim));
        memcpy(out + i, distance, sizeof(float) * (count - i < 4 ? count - i : 4));
    }
    if (metric == METRIC_COSINE)
        cosine_again(type, query, rows, count, dim, out);
}

KINDS_EXACT(avx2)

// Sixteen components as 16-bit numbers: the difference of two fits, and two products of them fit in 32 bits.
INLINE __m256i
load_words(enum vector_type type, const uint8_t *at)
{
    const __m128i bytes = _mm_loadu_si128((const __m128i *)at);
    return type == VECTOR_I8 ? _mm256_cvtepi8_epi16(bytes) : _mm256_cvtepu8_epi16(bytes);
}

INLINE void
integer_step(enum metric metric, __m256i *sum, __m256i *norm2, __m256i q, __m256i x)
{
    const __m256i a = metric == METRIC_L2 ? _mm256_sub_epi16(q, x) : q;
    const __m256i b = metric == METRIC_L2 ? a : x;
    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(a, b));
    if (metric == METRIC_COSINE)
        *norm2 = _mm256_add_epi32(*norm2, _mm256_madd_epi16(x, x));
}

INLINE void
integer4(enum metric metric, enum vector_type type, const struct integer_query *query,
         const void *const *rows, uint32_t sums_out[4], uint32_t norms2_out[4])
{
    const __m256i zero = _mm256_setzero_si256();
    const uint8_t *one = query->components;
    __m256i sum[4] = {zero, zero, zero, zero}, norm2[4] = {zero, zero, zero, zero};
    uint32_t i = 0;
    for (; i + 16 <= query->dim; i += 16) {
        const __m256i q = load_words(type, one + i);
        for (uint32_t r = 0; r < 4; r++)
            integer_step(metric, &sum[r], &norm2[r], q,
                         load_words(type, (const uint8_t *)rows[r] + i));
    }
    if (i < query->dim) {
        uint8_t rest[5][16] = {{0}};
        memcpy(rest[4], one + i, query->dim - i);
        for (uint32_t r = 0; r < 4; r++) {
            memcpy(rest[r], (const uint8_t *)rows[r] + i, query->dim - i);
            integer_step(metric, &sum[r], &norm2[r], load_words(type, rest[4]),
                         load_words(type, rest[r]));
        }
    }
    _mm_storeu_si128((__m128i *)sums_out,
                     sums_reduce((struct sums){sum[0], sum[1], sum[2], sum[3]}));
    _mm_storeu_si128((__m128i *)norms2_out,
                     sums_reduce((struct sums){norm2[0], norm2[1], norm2[2], norm2[3]}));
}

INTEGER_BY_FOURS(integer4)
KINDS_INTEGER(avx2)

// Eight ids out of 24 bytes, widened to 32 bits. Two loads of 16 bytes that overlap stay within
// the 24.
INLINE __m256i
widen24(const uint8_t *bytes)
{
    const __m128i first = _mm_loadu_si128((const __m128i *)bytes);
    const __m128i second = _mm_loadu_si128((const __m128i *)(bytes + 8));
    const __m256i order =
        _mm256_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1, //
                         4, 5, 6, -1, 7, 8, 9, -1, 10, 11, 12, -1, 13, 14, 15, -1);
    return _mm256_shuffle_epi8(_mm256_set_m128i(second, first), order);
}

// Of eight ids those whose lanes are below the bound, both as signed numbers; returns how many. `ids` has room for all.
INLINE uint32_t
keep_below(__m256i wide, __m256i as_signed, __m256i bound, uint32_t *ids)
{
    const uint32_t keep =
        (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(bound, as_signed)));
    // Lane numbers of the kept lanes, packed: a byte of ones per kept lane picks from 0..7.
    const uint64_t picked =
        _pext_u64(0x0706050403020100u, _pdep_u64(keep, 0x0101010101010101u) * 255);
    const __m256i order = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)picked));
    _mm256_storeu_si256((__m256i *)ids, _mm256_permutevar8x32_epi32(wide, order));
    return (uint32_t)__builtin_popcount(keep);
}

static uint32_t
avx2_unpack(const uint8_t *row, uint32_t limit, uint32_t *ids)
{
    const __m256i bound = _mm256_set1_epi32((int)(limit < 1u << 24 ? limit : 1u << 24));
    uint32_t count = 0;
    for (uint32_t i = 0; i < 4; i++) {
        const __m256i wide = widen24(row + (size_t)24 * i);
        count += keep_below(wide, wide, bound, ids + count);
    }
    return count;
}

// There is no comparison of unsigned numbers: with their upper bits flipped, signed ones are in the same order.
static uint32_t
avx2_unpack32(const uint8_t *row, uint32_t limit, uint32_t *ids)
{
    const __m256i flip = _mm256_set1_epi32(INT32_MIN);
    const __m256i bound = _mm256_xor_si256(_mm256_set1_epi32((int)limit), flip);
    uint32_t count = 0;
    for (uint32_t i = 0; i < 4; i++) {
        const __m256i wide = _mm256_loadu_si256((const __m256i *)(row + (size_t)32 * i));
        count += keep_below(wide, _mm256_xor_si256(wide, flip), bound, ids + count);
    }
    return count;
}

INLINE __m256
alternate(__m256 x, __m256 swapped, __m256 minus)
{
    return _mm256_add_ps(_mm256_xor_ps(x, minus), swapped);
}

// The three stages inside a register: x + swapped in lower lanes, swapped - x in upper ones.
INLINE __m256
butterfly8(__m256 x)
{
    const float m = -0.0f;
    x = alternate(x, _mm256_permute_ps(x, 0xb1), _mm256_setr_ps(0, m, 0, m, 0, m, 0, m));
    x = alternate(x, _mm256_permute_ps(x, 0x4e), _mm256_setr_ps(0, 0, m, m, 0, 0, m, m));
    return alternate(x, _mm256_permute2f128_ps(x, x, 0x01), _mm256_setr_ps(0, 0, 0, 0, m, m, m, m));
}

// Two stages at once, over groups of four registers that lie `half` apart, then times `scale`: 1,
// which changes nothing, but in the last pass. Values are loaded and stored half as often as with a
// stage a pass.
INLINE void
butterfly_pass4(float *values, uint32_t count, uint32_t half, float scale)
{
    const __m256 factor = _mm256_set1_ps(scale);
    for (uint32_t i = 0; i < count; i += 4 * half)
        for (uint32_t j = i; j < i + half; j += 8) {
            float *at[4] = {values + j, values + j + half, values + j + 2 * (size_t)half,
                            values + j + 3 * (size_t)half};
            const __m256 a = _mm256_loadu_ps(at[0]), b = _mm256_loadu_ps(at[1]);
            const __m256 c = _mm256_loadu_ps(at[2]), d = _mm256_loadu_ps(at[3]);
            const __m256 ab = _mm256_add_ps(a, b), cd = _mm256_add_ps(c, d);
            const __m256 ab_minus = _mm256_sub_ps(a, b), cd_minus = _mm256_sub_ps(c, d);
            _mm256_storeu_ps(at[0], _mm256_mul_ps(_mm256_add_ps(ab, cd), factor));
            _mm256_storeu_ps(at[1], _mm256_mul_ps(_mm256_add_ps(ab_minus, cd_minus), factor));
            _mm256_storeu_ps(at[2], _mm256_mul_ps(_mm256_sub_ps(ab, cd), factor));
            _mm256_storeu_ps(at[3], _mm256_mul_ps(_mm256_sub_ps(ab_minus, cd_minus), factor));
        }
}

INLINE void
butterfly_pass2(float *values, uint32_t count, uint32_t half, float scale)
{
    const __m256 factor = _mm256_set1_ps(scale);
    for (uint32_t i = 0; i < count; i += 2 * half)
        for (uint32_t j = i; j < i + half; j += 8) {
            const __m256 a = _mm256_loadu_ps(values + j), b = _mm256_loadu_ps(values + j + half);
            _mm256_storeu_ps(values + j, _mm256_mul_ps(_mm256_add_ps(a, b), factor));
            _mm256_storeu_ps(values + j + half, _mm256_mul_ps(_mm256_sub_ps(a, b), factor));
        }
}

static void
avx2_butterfly(float *values, uint32_t count)
{
    const float scale = 1.0f / sqrtf((float)count);
    const __m256 factor = _mm256_set1_ps(count == 8 ? scale : 1.0f);
    for (uint32_t i = 0; i < count; i += 8)
        _mm256_storeu_ps(values + i,
                         _mm256_mul_ps(butterfly8(_mm256_loadu_ps(values + i)), factor));
    uint32_t half = 8;
    for (; half * 2 < count; half *= 4)
        butterfly_pass4(values, count, half, half * 4 == count ? scale : 1.0f);
    if (half < count)
        butterfly_pass2(values, count, half, scale);
}

static void
avx2_encode(const float *values, uint32_t count, float inverse, uint8_t *codes)
{
    const __m256 scale = _mm256_set1_ps(inverse);
    for (uint32_t i = 0; i < count; i += 16) {
        const __m256i first = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(values + i), scale));
        const __m256i second =
            _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(values + i + 8), scale));
        // Packing works within halves, so the quarters come out as 0 2 1 3.
        const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(first, second), 0xd8);
        const __m128i bytes =
            _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
        _mm_storeu_si128((__m128i *)(codes + i), _mm_xor_si128(bytes, _mm_set1_epi8((char)0x80)));
    }
}

// Ones in every lane whose exponent is all ones: NaN or infinity. `exponent` fills 32 bits.
INLINE __m256i
not_finite(__m256i lanes, __m256i exponent, int halves)
{
    const __m256i masked = _mm256_and_si256(lanes, exponent);
    return halves ? _mm256_cmpeq_epi16(masked, exponent) : _mm256_cmpeq_epi32(masked, exponent);
}

static int
avx2_finite(const void *row, uint32_t dim, enum vector_type type)
{
    if (type == VECTOR_I8 || type == VECTOR_U8)
        return 1;
    const uint8_t *bytes = row;
    const size_t size = (size_t)(size_t)dim * vector_type_bytes(type);
    const int halves = type != VECTOR_F32;
    const __m256i exponent = type == VECTOR_F32   ? _mm256_set1_epi32(0x7f800000)
                             : type == VECTOR_F16 ? _mm256_set1_epi16(0x7c00)
                                                  : _mm256_set1_epi16(0x7f80);
    __m256i bad = _mm256_setzero_si256();
    size_t at = 0;
    for (; at + 32 <= size; at += 32)
        bad = _mm256_or_si256(
            bad, not_finite(_mm256_loadu_si256((const __m256i *)(bytes + at)), exponent, halves));
    uint8_t rest[32] = {0};
    memcpy(rest, bytes + at, size - at);
    bad = _mm256_or_si256(bad,
                          not_finite(_mm256_loadu_si256((const __m256i *)rest), exponent, halves));
    return _mm256_testz_si256(bad, bad);
}

static void
avx2_within(const uint8_t *bytes, uint32_t word_count, uint8_t first, uint8_t last, uint64_t *words)
{
    const __m256i low = _mm256_set1_epi8((char)first);
    const __m256i most = _mm256_set1_epi8((char)(last - first));
    if (first > last)
        return;
    for (uint32_t w = 0; w < word_count; w++) {
        uint64_t word = 0;
        for (uint32_t i = 0; i < 64; i += 32) {
            const __m256i at = _mm256_loadu_si256((const __m256i *)(bytes + (size_t)w * 64 + i));
            const __m256i above = _mm256_sub_epi8(at, low);
            const __m256i inside = _mm256_cmpeq_epi8(_mm256_min_epu8(above, most), above);
            word |= (uint64_t)(uint32_t)_mm256_movemask_epi8(inside) << i;
        }
        words[w] |= word;
    }
}

const struct kernels kernels_avx2 = {
    .name = "avx2",
    .nibble = avx2_nibble,
    .glance = avx2_glance,
    .byte = avx2_byte,
    .join = avx2_join,
    .dots = avx2_dots,
    .insert = insert_plain,
    .exact = KINDS_EXACT_ROWS(avx2),
    .integer = KINDS_INTEGER_ROWS(avx2),
    .unpack = avx2_unpack,
    .unpack32 = avx2_unpack32,
    .butterfly = avx2_butterfly,
    .encode = avx2_encode,
    .finite = avx2_finite,
    .within = avx2_within,
    .tiles = &tiles_avx2,
};
