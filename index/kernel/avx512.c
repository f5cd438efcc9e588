// index/kernel/avx512.c -- AVX-512 with VNNI and VBMI.
//
// Shape: kernel. Compiled with its own flags; called only when kernels_list found the features.
//
// The two loops that searches live in, nibble and exact, take four rows at once: the query's registers are shared,
// four chains hide the latency of vpdpbusd, and one transposed reduction replaces four.
#include <immintrin.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "index/kernel/kernel.h"

static inline __mmask64
first_bytes(uint32_t count)
{
    return count >= 64 ? ~0ull : (1ull << count) - 1;
}

static inline __mmask16
first_lanes(uint32_t count)
{
    return (__mmask16)(count >= 16 ? 0xffffu : (1u << count) - 1);
}

// Sums of the four registers' lanes, one per lane of the result.
static inline __m128i
reduce4_epi32(__m512i a, __m512i b, __m512i c, __m512i d)
{
    const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    const __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    const __m512i all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

static inline __m128
reduce4_ps(__m512 a, __m512 b, __m512 c, __m512 d)
{
    const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    const __m512 all =
        _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd))),
                      _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd))));
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps(all, 1));
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

// The two f16 numbers lent by the first 32 bytes of a row.
static inline uint32_t
meta_bits(const uint8_t *row)
{
    return _mm256_test_epi8_mask(_mm256_loadu_si256((const __m256i *)row), _mm256_set1_epi8(1));
}

#define NIBBLE_STEP(sum, row)                                                                                 \
    do {                                                                                                      \
        const __m512i bytes_ = _mm512_maskz_loadu_epi8(keep, (row) + start);                                  \
        sum = _mm512_dpbusd_epi32(sum, _mm512_and_si512(bytes_, fifteen), low);                               \
        sum = _mm512_dpbusd_epi32(sum, _mm512_and_si512(_mm512_srli_epi16(bytes_, 4), fifteen), high);        \
    } while (0)

static inline __m128
nibble4(const struct nibble_query *query, const uint8_t *const *rows)
{
    const __m512i fifteen = _mm512_set1_epi8(15);
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
    for (uint32_t start = 0; start < query->row_bytes; start += 64) {
        const __mmask64 keep = first_bytes(query->row_bytes - start);
        const __m512i low = _mm512_loadu_si512(query->components + (size_t)start * 2);
        const __m512i high = _mm512_loadu_si512(query->components + (size_t)start * 2 + 64);
        NIBBLE_STEP(a, rows[0]);
        NIBBLE_STEP(b, rows[1]);
        NIBBLE_STEP(c, rows[2]);
        NIBBLE_STEP(d, rows[3]);
    }
    const __m128 dot = _mm_cvtepi32_ps(reduce4_epi32(a, b, c, d));
    const __m128i bits = _mm_setr_epi32((int)meta_bits(rows[0]), (int)meta_bits(rows[1]),
                                        (int)meta_bits(rows[2]), (int)meta_bits(rows[3]));
    const __m128i even = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
    const __m256 meta = _mm256_cvtph_ps(_mm_shuffle_epi8(bits, even));
    const __m128 factor = _mm_mul_ps(_mm256_castps256_ps128(meta), _mm_set1_ps(query->factor_scale));
    const __m128 norm = _mm_mul_ps(_mm256_extractf128_ps(meta, 1), _mm_set1_ps(query->norm_scale));
    const __m128 distance = _mm_sub_ps(_mm_add_ps(norm, _mm_set1_ps(query->offset)),
                                       _mm_mul_ps(factor, _mm_sub_ps(dot, _mm_set1_ps(query->center))));
    return _mm_max_ps(distance, _mm_setzero_ps());
}

static uint32_t
avx512_nibble(const struct nibble_query *query, const uint8_t **rows, uint32_t count, float bound, float *out)
{
    for (uint32_t i = count; (i & 3) != 0; i++)
        rows[i] = rows[count - 1];
    const __m128 limit = _mm_set1_ps(bound);
    uint32_t below = 0;
    for (uint32_t i = 0; i < count; i += 4) {
        const __m128 distance = nibble4(query, rows + i);
        _mm_storeu_ps(out + i, distance);
        below |= (uint32_t)_mm_movemask_ps(_mm_cmplt_ps(distance, limit)) << i;
    }
    return count < 32 ? below & ((1u << count) - 1) : below;
}

// The 8-bit components of one block: low nibbles' and high nibbles'.
static inline void
join_planes(__m512i high, __m512i low, __mmask64 lent, __m512i *first, __m512i *second)
{
    const __m512i fifteen = _mm512_set1_epi8(15);
    const __m512i upper = _mm512_slli_epi16(_mm512_and_si512(high, fifteen), 4);
    const __m512i lower = _mm512_and_si512(low, fifteen);
    const __m512i lent_upper = _mm512_and_si512(upper, _mm512_set1_epi8((char)0xe0));
    const __m512i lent_whole = _mm512_or_si512(lent_upper, _mm512_add_epi8(lower, lower));
    *first = _mm512_mask_blend_epi8(lent, _mm512_or_si512(upper, lower), lent_whole);
    *second = _mm512_or_si512(_mm512_andnot_si512(fifteen, high),
                              _mm512_and_si512(_mm512_srli_epi16(low, 4), fifteen));
}

#define BYTE_STEP(sum, r)                                                                                     \
    do {                                                                                                      \
        __m512i first_, second_;                                                                              \
        join_planes(_mm512_maskz_loadu_epi8(keep, high[r] + start),                                           \
                    _mm512_maskz_loadu_epi8(keep, low[r] + start), lent, &first_, &second_);                  \
        sum = _mm512_dpbusd_epi32(sum, first_, query_low);                                                    \
        sum = _mm512_dpbusd_epi32(sum, second_, query_high);                                                  \
    } while (0)

static inline __m128i
byte_dot4(const struct byte_query *query, const uint8_t *const *high, const uint8_t *const *low)
{
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
    for (uint32_t start = 0; start < query->row_bytes; start += 64) {
        const __mmask64 keep = first_bytes(query->row_bytes - start);
        const __mmask64 lent = start == 0 ? 0xffffffffull : 0;
        const __m512i query_low = _mm512_loadu_si512(query->components + (size_t)start * 2);
        const __m512i query_high = _mm512_loadu_si512(query->components + (size_t)start * 2 + 64);
        BYTE_STEP(a, 0);
        BYTE_STEP(b, 1);
        BYTE_STEP(c, 2);
        BYTE_STEP(d, 3);
    }
    return reduce4_epi32(a, b, c, d);
}

static void
avx512_byte(const struct byte_query *query, const uint8_t *const *high, const uint8_t *const *low,
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
        const __m128 dot =
            _mm_cvtepi32_ps(_mm_sub_epi32(byte_dot4(query, high4, low4), _mm_set1_epi32(query->center)));
        const __m128 scale = _mm_mul_ps(_mm_loadu_ps(factor), _mm_set1_ps(query->scale));
        const __m128 norms = _mm_mul_ps(_mm_loadu_ps(norm), _mm_set1_ps(query->norm_scale));
        const __m128 sum =
            _mm_sub_ps(_mm_add_ps(norms, _mm_set1_ps(query->offset)), _mm_mul_ps(scale, dot));
        _mm_storeu_ps(distance, _mm_max_ps(sum, _mm_setzero_ps()));
        memcpy(out + i, distance, sizeof(float) * (count - i < 4 ? count - i : 4));
    }
}

static void
avx512_join(const uint8_t *high, const uint8_t *low, uint32_t row_bytes, uint8_t *out)
{
    for (uint32_t start = 0; start < row_bytes; start += 64, out += 128) {
        const __mmask64 keep = first_bytes(row_bytes - start);
        __m512i first, second;
        join_planes(_mm512_maskz_loadu_epi8(keep, high + start), _mm512_maskz_loadu_epi8(keep, low + start),
                    start == 0 ? 0xffffffffull : 0, &first, &second);
        _mm512_storeu_si512(out, first);
        _mm512_storeu_si512(out + 64, second);
    }
}

static void
avx512_dots(const int8_t *one, const uint8_t *rows, uint32_t bytes, uint32_t count, int32_t *out)
{
    for (uint32_t i = 0; i < count; i += 4) {
        const uint8_t *row[4];
        for (uint32_t r = 0; r < 4; r++)
            row[r] = rows + (size_t)(i + r < count ? i + r : count - 1) * bytes;
        __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
        for (uint32_t j = 0; j < bytes; j += 64) {
            const __m512i q = _mm512_loadu_si512(one + j);
            a = _mm512_dpbusd_epi32(a, _mm512_loadu_si512(row[0] + j), q);
            b = _mm512_dpbusd_epi32(b, _mm512_loadu_si512(row[1] + j), q);
            c = _mm512_dpbusd_epi32(c, _mm512_loadu_si512(row[2] + j), q);
            d = _mm512_dpbusd_epi32(d, _mm512_loadu_si512(row[3] + j), q);
        }
        _mm_storeu_si128((__m128i *)(out + i), reduce4_epi32(a, b, c, d));
    }
}

static inline __m512
load_f32(const void *row, uint32_t i, __mmask16 keep)
{
    return _mm512_maskz_loadu_ps(keep, (const uint8_t *)row + (size_t)i * 4);
}

static inline __m512
load_f16(const void *row, uint32_t i, __mmask16 keep)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(keep, (const uint8_t *)row + (size_t)i * 2));
}

static inline __m512
load_bf16(const void *row, uint32_t i, __mmask16 keep)
{
    const __m256i upper = _mm256_maskz_loadu_epi16(keep, (const uint8_t *)row + (size_t)i * 2);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(upper), 16));
}

static inline __m512
load_i8(const void *row, uint32_t i, __mmask16 keep)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(keep, (const uint8_t *)row + i)));
}

static inline __m512
load_u8(const void *row, uint32_t i, __mmask16 keep)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(keep, (const uint8_t *)row + i)));
}

// Calls step(sum register, row register index) for four rows over all components.
#define EXACT_LOOP(type, STEP)                                                                                \
    for (uint32_t i = 0; i < dim; i += 16) {                                                                  \
        const __mmask16 keep = first_lanes(dim - i);                                                          \
        const __m512 q = _mm512_maskz_loadu_ps(keep, query + i);                                              \
        const __m512 x0 = load_##type(row[0], i, keep), x1 = load_##type(row[1], i, keep);                    \
        const __m512 x2 = load_##type(row[2], i, keep), x3 = load_##type(row[3], i, keep);                    \
        STEP(0) STEP(1) STEP(2) STEP(3)                                                                       \
    }
#define STEP_L2(r)                                                                                            \
    {                                                                                                         \
        const __m512 difference = _mm512_sub_ps(q, x##r);                                                     \
        s[r] = _mm512_fmadd_ps(difference, difference, s[r]);                                                 \
    }
#define STEP_DOT(r) s[r] = _mm512_fmadd_ps(q, x##r, s[r]);
#define STEP_COSINE(r)                                                                                        \
    s[r] = _mm512_fmadd_ps(q, x##r, s[r]);                                                                    \
    n[r] = _mm512_fmadd_ps(x##r, x##r, n[r]);

static inline void
four_rows(const void *const *rows, uint32_t i, uint32_t count, const void *row[4])
{
    for (uint32_t r = 0; r < 4; r++)
        row[r] = rows[i + r < count ? i + r : count - 1];
}

static inline void
store4(float *out, uint32_t i, uint32_t count, __m128 values)
{
    _mm_mask_storeu_ps(out + i, (__mmask8)(count - i >= 4 ? 15 : (1u << (count - i)) - 1), values);
}

static inline __m128
cosine_from(__m128 dot, __m128 norm2)
{
    const __m128 one = _mm_set1_ps(1.0f);
    const __m128 cosine = _mm_div_ps(dot, _mm_sqrt_ps(norm2));
    const __mmask8 live = _mm_cmp_ps_mask(norm2, _mm_setzero_ps(), _CMP_GT_OQ);
    return _mm_mask_sub_ps(one, live, one, cosine);
}

#define AVX512_EXACT(type)                                                                                    \
    static void avx512_l2_##type(const float *query, const void *const *rows, uint32_t count, uint32_t dim,   \
                                 float *out)                                                                  \
    {                                                                                                         \
        for (uint32_t at = 0; at < count; at += 4) {                                                          \
            const void *row[4];                                                                               \
            four_rows(rows, at, count, row);                                                                  \
            __m512 s[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),                     \
                           _mm512_setzero_ps()};                                                              \
            EXACT_LOOP(type, STEP_L2)                                                                         \
            store4(out, at, count, reduce4_ps(s[0], s[1], s[2], s[3]));                                       \
        }                                                                                                     \
    }                                                                                                         \
    static void avx512_ip_##type(const float *query, const void *const *rows, uint32_t count, uint32_t dim,   \
                                 float *out)                                                                  \
    {                                                                                                         \
        for (uint32_t at = 0; at < count; at += 4) {                                                          \
            const void *row[4];                                                                               \
            four_rows(rows, at, count, row);                                                                  \
            __m512 s[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),                     \
                           _mm512_setzero_ps()};                                                              \
            EXACT_LOOP(type, STEP_DOT)                                                                        \
            store4(out, at, count,                                                                            \
                   _mm_sub_ps(_mm_set1_ps(1.0f), reduce4_ps(s[0], s[1], s[2], s[3])));                        \
        }                                                                                                     \
    }                                                                                                         \
    static void avx512_cosine_##type(const float *query, const void *const *rows, uint32_t count,             \
                                     uint32_t dim, float *out)                                                \
    {                                                                                                         \
        for (uint32_t at = 0; at < count; at += 4) {                                                          \
            const void *row[4];                                                                               \
            four_rows(rows, at, count, row);                                                                  \
            __m512 s[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),                     \
                           _mm512_setzero_ps()};                                                              \
            __m512 n[4] = {s[0], s[0], s[0], s[0]};                                                           \
            EXACT_LOOP(type, STEP_COSINE)                                                                     \
            store4(out, at, count,                                                                            \
                   cosine_from(reduce4_ps(s[0], s[1], s[2], s[3]), reduce4_ps(n[0], n[1], n[2], n[3])));      \
        }                                                                                                     \
    }
AVX512_EXACT(f32)
AVX512_EXACT(f16)
AVX512_EXACT(bf16)
AVX512_EXACT(i8)
AVX512_EXACT(u8)

// 16 ids out of 48 bytes, widened to 32 bits.
static inline __m512i
widen24(const uint8_t *bytes)
{
    const __m512i order = _mm512_set_epi32(
        0x002f2e2d, 0x002c2b2a, 0x00292827, 0x00262524, 0x00232221, 0x00201f1e, 0x001d1c1b, 0x001a1918,
        0x00171615, 0x00141312, 0x0011100f, 0x000e0d0c, 0x000b0a09, 0x00080706, 0x00050403, 0x00020100);
    const __m512i data = _mm512_maskz_loadu_epi8(0xffffffffffffull, bytes);
    return _mm512_maskz_permutexvar_epi8(0x7777777777777777ull, order, data);
}

static uint32_t
avx512_unpack(const uint8_t *row, uint32_t limit, uint32_t *ids)
{
    const __m512i bound = _mm512_set1_epi32((int)limit);
    const __m512i first = widen24(row), second = widen24(row + 48);
    const __mmask16 keep1 = _mm512_cmplt_epu32_mask(first, bound);
    const __mmask16 keep2 = _mm512_cmplt_epu32_mask(second, bound);
    const uint32_t count1 = (uint32_t)__builtin_popcount(keep1);
    // Compress into registers and store whole: compressing stores are microcoded on some processors.
    _mm512_storeu_si512(ids, _mm512_maskz_compress_epi32(keep1, first));
    const uint32_t count2 = (uint32_t)__builtin_popcount(keep2);
    _mm512_mask_storeu_epi32(ids + count1, first_lanes(count2), _mm512_maskz_compress_epi32(keep2, second));
    return count1 + count2;
}

// The four stages inside a register. A stage is x * sign + swapped: the product is exact, so the sum rounds as the
// oracle's plain addition and subtraction do.
static inline __m512
butterfly16(__m512 x)
{
    const __m512 one = _mm512_set1_ps(1.0f), minus = _mm512_set1_ps(-1.0f);
    x = _mm512_fmadd_ps(x, _mm512_mask_blend_ps(0xaaaa, one, minus), _mm512_permute_ps(x, 0xb1));
    x = _mm512_fmadd_ps(x, _mm512_mask_blend_ps(0xcccc, one, minus), _mm512_permute_ps(x, 0x4e));
    x = _mm512_fmadd_ps(x, _mm512_mask_blend_ps(0xf0f0, one, minus), _mm512_shuffle_f32x4(x, x, 0xb1));
    return _mm512_fmadd_ps(x, _mm512_mask_blend_ps(0xff00, one, minus), _mm512_shuffle_f32x4(x, x, 0x4e));
}

static void
avx512_butterfly(float *values, uint32_t count)
{
    for (uint32_t i = 0; i < count; i += 16)
        _mm512_storeu_ps(values + i, butterfly16(_mm512_loadu_ps(values + i)));
    for (uint32_t half = 16; half < count; half *= 2)
        for (uint32_t i = 0; i < count; i += 2 * half)
            for (uint32_t j = i; j < i + half; j += 16) {
                const __m512 a = _mm512_loadu_ps(values + j), b = _mm512_loadu_ps(values + j + half);
                _mm512_storeu_ps(values + j, _mm512_add_ps(a, b));
                _mm512_storeu_ps(values + j + half, _mm512_sub_ps(a, b));
            }
    const __m512 scale = _mm512_set1_ps(1.0f / sqrtf((float)count));
    for (uint32_t i = 0; i < count; i += 16)
        _mm512_storeu_ps(values + i, _mm512_mul_ps(_mm512_loadu_ps(values + i), scale));
}

static void
avx512_encode(const float *values, uint32_t count, float inverse, uint8_t *codes)
{
    const __m512 scale = _mm512_set1_ps(inverse);
    const __m512i middle = _mm512_set1_epi32(128);
    for (uint32_t i = 0; i < count; i += 16) {
        const __m512i rounded = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(values + i), scale));
        _mm_storeu_si128((__m128i *)(codes + i), _mm512_cvtepi32_epi8(_mm512_add_epi32(rounded, middle)));
    }
}

static int
avx512_finite(const void *row, uint32_t dim, enum vector_type type)
{
    if (type == VECTOR_I8 || type == VECTOR_U8)
        return 1;
    uint32_t bad = 0;
    for (uint32_t i = 0; i < dim; i += 16) {
        const __mmask16 keep = first_lanes(dim - i);
        const __m512 x = type == VECTOR_F32   ? load_f32(row, i, keep)
                         : type == VECTOR_F16 ? load_f16(row, i, keep)
                                              : load_bf16(row, i, keep);
        bad |= _mm512_fpclass_ps_mask(x, 0x99);  // quiet and signalling NaN, both infinities
    }
    return bad == 0;
}

#define EXACT_ROW(metric)                                                                                     \
    {                                                                                                         \
        avx512_##metric##_f32, avx512_##metric##_f16, avx512_##metric##_bf16, avx512_##metric##_i8,           \
            avx512_##metric##_u8                                                                              \
    }

const struct kernels kernels_avx512 = {
    .name = "avx512",
    .nibble = avx512_nibble,
    .byte = avx512_byte,
    .join = avx512_join,
    .dots = avx512_dots,
    .exact = {EXACT_ROW(cosine), EXACT_ROW(l2), EXACT_ROW(ip)},
    .unpack = avx512_unpack,
    .butterfly = avx512_butterfly,
    .encode = avx512_encode,
    .finite = avx512_finite,
};
