// index/kernel/avx512.c -- AVX-512 with VNNI and VBMI.
//
// Shape: kernel. Compiled with its own flags; called only when kernels_list found the features.
//
// The two loops that searches live in, nibble and exact, take four rows at once: the query's
// registers are shared, four chains hide the latency of vpdpbusd, and one transposed reduction
// replaces four.
#include <immintrin.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "index/kernel/cosine.h"
#include "index/kernel/four.h"
#include "index/kernel/kernel.h"
#include "index/kernel/kinds.h"
#include "index/nearest.h"

INLINE __mmask64
first_bytes(uint32_t count)
{
    return count >= 64 ? ~0ull : (1ull << count) - 1;
}

INLINE __mmask16
first_lanes(uint32_t count)
{
    return (__mmask16)(count >= 16 ? 0xffffu : (1u << count) - 1);
}

// A mask of which the compiler knows that it keeps everything costs nothing: gcc 12 does not find
// that out by itself.
#define KEEPS_ALL(keep, all) (__builtin_constant_p(keep) && (keep) == (all))

// Block of a row at `at`; the last one may be shorter.
INLINE __m512i
load_block(const uint8_t *row, uint32_t at, __mmask64 keep)
{
    if (KEEPS_ALL(keep, ~0ull))
        return _mm512_loadu_si512(row + at);
    return _mm512_maskz_loadu_epi8(keep, row + at);
}

// Sums of the four registers' lanes, one per lane of the result.
INLINE __m128i
reduce4_epi32(const __m512i s[4])
{
    const __m512i ab =
        _mm512_add_epi32(_mm512_unpacklo_epi32(s[0], s[1]), _mm512_unpackhi_epi32(s[0], s[1]));
    const __m512i cd =
        _mm512_add_epi32(_mm512_unpacklo_epi32(s[2], s[3]), _mm512_unpackhi_epi32(s[2], s[3]));
    const __m512i all =
        _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    const __m256i half =
        _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

INLINE __m128
reduce4_ps(__m512 a, __m512 b, __m512 c, __m512 d)
{
    const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    const __m512 all = _mm512_add_ps(
        _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd))),
        _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd))));
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps(all, 1));
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

// The f16 numbers lent by the first 32 bytes of two rows.
INLINE uint64_t
meta_bits2(const uint8_t *first, const uint8_t *second)
{
    const __m512i bytes =
        _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)first)),
                           _mm256_loadu_si256((const __m256i *)second), 1);
    return _mm512_test_epi8_mask(bytes, _mm512_set1_epi8(1));
}

// The factors of four rows, then their norms.
INLINE __m256
meta4(const uint8_t *const *rows)
{
    const __m128i bits = _mm_set_epi64x((long long)meta_bits2(rows[2], rows[3]),
                                        (long long)meta_bits2(rows[0], rows[1]));
    return four_meta(bits);
}

// High nibbles are multiplied where they stand, 16 times too large, into a sum of their own: one
// mask instead of a shift and a mask, and eight chains in flight instead of four.
struct nibble_sums {
    __m512i low[4], high[4];
};

INLINE void
nibble_block(struct nibble_sums *sums, const int8_t *components, const uint8_t *const *rows,
             uint32_t at, __mmask64 keep)
{
    const __m512i fifteen = _mm512_set1_epi8(15);
    const __m512i low = _mm512_loadu_si512(components + (size_t)at * 2);
    const __m512i high = _mm512_loadu_si512(components + (size_t)at * 2 + 64);
    for (uint32_t r = 0; r < 4; r++) {
        const __m512i bytes = load_block(rows[r], at, keep);
        sums->low[r] = _mm512_dpbusd_epi32(sums->low[r], _mm512_and_si512(bytes, fifteen), low);
        sums->high[r] =
            _mm512_dpbusd_epi32(sums->high[r], _mm512_andnot_si512(fifteen, bytes), high);
    }
}

INLINE __m128i
nibble_dot4(const int8_t *components, const uint8_t *const *rows, uint32_t row_bytes)
{
    const __m512i zero = _mm512_setzero_si512();
    struct nibble_sums sums = {{zero, zero, zero, zero}, {zero, zero, zero, zero}};
    uint32_t at = 0;
    for (; at + 64 <= row_bytes; at += 64)
        nibble_block(&sums, components, rows, at, ~0ull);
    if (at < row_bytes)
        nibble_block(&sums, components, rows, at, first_bytes(row_bytes - at));
    for (uint32_t r = 0; r < 4; r++)
        sums.low[r] = _mm512_add_epi32(sums.low[r], _mm512_srai_epi32(sums.high[r], 4));
    return reduce4_epi32(sums.low);
}

INLINE __m128
nibble4(const struct nibble_query *query, const uint8_t *const *rows)
{
    const __m128i dots = nibble_dot4(query->components, rows, query->row_bytes);
    return four_nibble(query, dots, meta4(rows));
}

static uint32_t
avx512_nibble(const struct nibble_query *query, const uint8_t **rows, uint32_t count, float bound,
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

// Where a key is put, every other key stays or moves up by one: keys[i] = max(keys[i - 1], min(keys[i], key)). So nothing
// is searched for, and no jump depends on where the place is; only of long lists the first part is skipped.
#define INSERT_SKIP 64u

INLINE __m512i
insert_one(__m512i at, __m512i before, __m512i key, uint32_t *place)
{
    *place += (uint32_t)__builtin_popcount(_mm512_cmplt_epu64_mask(at, key));
    return _mm512_max_epu64(_mm512_alignr_epi64(at, before, 7), _mm512_min_epu64(at, key));
}

static uint32_t
avx512_insert(uint64_t *keys, uint32_t *count, uint32_t capacity, const float *distances,
              const uint32_t *slots, uint32_t below)
{
    const __m512i none = _mm512_set1_epi64(-1);
    uint32_t held = *count, first = UINT32_MAX;
    for (; below != 0; below &= below - 1) {
        const uint32_t b = (uint32_t)__builtin_ctz(below);
        const uint64_t key = nearest_key(distances[b], slots[b]);
        if (held == capacity && (held == 0 || key >= keys[held - 1]))
            continue;
        uint32_t i = 0;
        for (uint32_t last = INSERT_SKIP - 1; last < held; last += INSERT_SKIP)
            i += keys[last] < key ? INSERT_SKIP : 0;
        uint32_t place = i;
        __m512i before = i > 0 ? _mm512_loadu_si512(keys + i - 8) : _mm512_setzero_si512();
        const __m512i wanted = _mm512_set1_epi64((long long)key);
        for (; i + 8 <= held; i += 8) {
            const __m512i at = _mm512_loadu_si512(keys + i);
            _mm512_storeu_si512(keys + i, insert_one(at, before, wanted, &place));
            before = at;
        }
        const __mmask8 keep = (__mmask8)((1u << (held - i)) - 1);
        const __m512i at = _mm512_mask_loadu_epi64(none, keep, keys + i);
        _mm512_storeu_si512(keys + i, insert_one(at, before, wanted, &place));
        held += held < capacity;
        first = place < first ? place : first;
    }
    *count = held;
    return first;
}

// n (n - 15) is never above zero, and fits a signed byte's product: the unsigned side is the nibble.
struct glance_sums {
    __m512i dot[4], own[4];
};

INLINE void
glance_block(struct glance_sums *sums, const int8_t *components, const uint8_t *const *rows,
             uint32_t at)
{
    const __m512i fifteen = _mm512_set1_epi8(15);
    const __m512i low = _mm512_loadu_si512(components + (size_t)at * 2);
    const __m512i high = _mm512_loadu_si512(components + (size_t)at * 2 + 64);
    for (uint32_t r = 0; r < 4; r++) {
        const __m512i bytes = _mm512_loadu_si512(rows[r] + at);
        const __m512i l = _mm512_and_si512(bytes, fifteen);
        const __m512i h = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), fifteen);
        sums->dot[r] = _mm512_dpbusd_epi32(sums->dot[r], l, low);
        sums->own[r] = _mm512_dpbusd_epi32(sums->own[r], l, _mm512_sub_epi8(l, fifteen));
        sums->dot[r] = _mm512_dpbusd_epi32(sums->dot[r], h, high);
        sums->own[r] = _mm512_dpbusd_epi32(sums->own[r], h, _mm512_sub_epi8(h, fifteen));
    }
}

INLINE __m128
glance4(const struct glance_query *query, const uint8_t *const *rows)
{
    const __m512i zero = _mm512_setzero_si512();
    struct glance_sums sums = {{zero, zero, zero, zero}, {zero, zero, zero, zero}};
    for (uint32_t at = 0; at < query->bytes; at += 64)
        glance_block(&sums, query->components, rows, at);
    const __m128i dot = reduce4_epi32(sums.dot), own = reduce4_epi32(sums.own);
    return four_glance(query, dot, own, meta4(rows));
}

static uint32_t
avx512_glance(const struct glance_query *query, const uint8_t **rows, uint32_t count, float bound)
{
    four_fill(rows, count);
    const __m128 limit = _mm_set1_ps(bound);
    uint32_t below = 0;
    for (uint32_t i = 0; i < count; i += 4)
        below |= (uint32_t)_mm_movemask_ps(_mm_cmplt_ps(glance4(query, rows + i), limit)) << i;
    return four_asked(below, count);
}

// The 8-bit components of one block. Selecting bits with the ternary operation joins two nibbles at
// once: upper four bits from one register, lower four from the other.
INLINE __m512i
select_bits(__m512i mask, __m512i ones, __m512i zeros)
{
    return _mm512_ternarylogic_epi32(mask, ones, zeros, 0xca);
}

struct joined {
    __m512i first, second; // what the low nibbles hold, and the high ones
};

INLINE struct joined
join_planes(__m512i high, __m512i low)
{
    const __m512i fifteen = _mm512_set1_epi8(15);
    return (struct joined){select_bits(fifteen, low, _mm512_slli_epi16(high, 4)),
                           select_bits(fifteen, _mm512_srli_epi16(low, 4), high)};
}

// Block 0, whose first 32 bytes lend the high plane's lowest bit; there the low plane holds
// bits 4..1.
INLINE struct joined
join_first(__m512i high, __m512i low)
{
    struct joined joined = join_planes(high, low);
    const __m512i lent =
        select_bits(_mm512_set1_epi8(0x1e), _mm512_add_epi8(low, low),
                    _mm512_slli_epi16(_mm512_and_si512(high, _mm512_set1_epi8(14)), 4));
    joined.first = _mm512_mask_blend_epi8(0xffffffffull, joined.first, lent);
    return joined;
}

INLINE void
byte_block(__m512i sums[4], const int8_t *components, const uint8_t *const *high,
           const uint8_t *const *low, uint32_t at, __mmask64 keep)
{
    const __m512i query_first = _mm512_loadu_si512(components + (size_t)at * 2);
    const __m512i query_second = _mm512_loadu_si512(components + (size_t)at * 2 + 64);
    for (uint32_t r = 0; r < 4; r++) {
        const __m512i h = load_block(high[r], at, keep), l = load_block(low[r], at, keep);
        const struct joined joined = at == 0 ? join_first(h, l) : join_planes(h, l);
        sums[r] = _mm512_dpbusd_epi32(sums[r], joined.first, query_first);
        sums[r] = _mm512_dpbusd_epi32(sums[r], joined.second, query_second);
    }
}

INLINE __m128i
byte_dot4(const struct byte_query *query, const uint8_t *const *high, const uint8_t *const *low)
{
    const __m512i zero = _mm512_setzero_si512();
    const uint32_t row_bytes = query->row_bytes;
    __m512i sums[4] = {zero, zero, zero, zero};
    byte_block(sums, query->components, high, low, 0, first_bytes(row_bytes));
    uint32_t at = 64;
    for (; at + 64 <= row_bytes; at += 64)
        byte_block(sums, query->components, high, low, at, ~0ull);
    if (at < row_bytes)
        byte_block(sums, query->components, high, low, at, first_bytes(row_bytes - at));
    return reduce4_epi32(sums);
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
join_block(const uint8_t *high, const uint8_t *low, uint32_t at, __mmask64 keep, uint8_t *out)
{
    const __m512i h = load_block(high, at, keep), l = load_block(low, at, keep);
    const struct joined joined = at == 0 ? join_first(h, l) : join_planes(h, l);
    _mm512_storeu_si512(out + (size_t)at * 2, joined.first);
    _mm512_storeu_si512(out + (size_t)at * 2 + 64, joined.second);
}

static void
avx512_join(const uint8_t *high, const uint8_t *low, uint32_t row_bytes, uint8_t *out)
{
    join_block(high, low, 0, first_bytes(row_bytes), out);
    uint32_t at = 64;
    for (; at + 64 <= row_bytes; at += 64)
        join_block(high, low, at, ~0ull, out);
    if (at < row_bytes)
        join_block(high, low, at, first_bytes(row_bytes - at), out);
}

// `bytes` is a multiple of 128, so two chains per row come out even.
static void
avx512_dots(const int8_t *one, const uint8_t *rows, uint32_t bytes, uint32_t count, int32_t *out)
{
    const __m512i zero = _mm512_setzero_si512();
    for (uint32_t i = 0; i < count; i += 4) {
        const uint8_t *row[4];
        for (uint32_t r = 0; r < 4; r++)
            row[r] = rows + (size_t)(i + r < count ? i + r : count - 1) * bytes;
        __m512i even[4] = {zero, zero, zero, zero}, odd[4] = {zero, zero, zero, zero};
        for (uint32_t j = 0; j < bytes; j += 128) {
            const __m512i q0 = _mm512_loadu_si512(one + j), q1 = _mm512_loadu_si512(one + j + 64);
            for (uint32_t r = 0; r < 4; r++) {
                even[r] = _mm512_dpbusd_epi32(even[r], _mm512_loadu_si512(row[r] + j), q0);
                odd[r] = _mm512_dpbusd_epi32(odd[r], _mm512_loadu_si512(row[r] + j + 64), q1);
            }
        }
        for (uint32_t r = 0; r < 4; r++)
            even[r] = _mm512_add_epi32(even[r], odd[r]);
        _mm_storeu_si128((__m128i *)(out + i), reduce4_epi32(even));
    }
}

INLINE __m512
load_floats(const void *at, __mmask16 keep)
{
    return KEEPS_ALL(keep, 0xffff) ? _mm512_loadu_ps(at) : _mm512_maskz_loadu_ps(keep, at);
}

INLINE __m256i
load_words(const void *at, __mmask16 keep)
{
    return KEEPS_ALL(keep, 0xffff) ? _mm256_loadu_si256(at) : _mm256_maskz_loadu_epi16(keep, at);
}

INLINE __m128i
load_bytes(const void *at, __mmask16 keep)
{
    return KEEPS_ALL(keep, 0xffff) ? _mm_loadu_si128(at) : _mm_maskz_loadu_epi8(keep, at);
}

// Components i..i+15 of a row that `keep` names. `type` is a constant wherever this is inlined.
INLINE __m512
load16(enum vector_type type, const void *row, uint32_t i, __mmask16 keep)
{
    const uint8_t *at = (const uint8_t *)row + (size_t)i * vector_type_bytes(type);
    switch (type) {
    case VECTOR_F32:
        return load_floats(at, keep);
    case VECTOR_F16:
        return _mm512_cvtph_ps(load_words(at, keep));
    case VECTOR_BF16:
        return _mm512_castsi512_ps(
            _mm512_slli_epi32(_mm512_cvtepu16_epi32(load_words(at, keep)), 16));
    case VECTOR_I8:
        return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load_bytes(at, keep)));
    case VECTOR_U8:
        break;
    }
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(load_bytes(at, keep)));
}

// What is summed over one row. Under cosine `other` is |x|^2; else it is a second chain for every
// other step, because four rows alone do not fill the multiplier's pipeline.
struct chains {
    __m512 sum, other;
};

INLINE void
exact_step(enum metric metric, struct chains *row, int odd, __m512 q, __m512 x)
{
    __m512 *sum = odd && metric != METRIC_COSINE ? &row->other : &row->sum;
    if (metric == METRIC_L2) {
        const __m512 difference = _mm512_sub_ps(q, x);
        *sum = _mm512_fmadd_ps(difference, difference, *sum);
        return;
    }
    *sum = _mm512_fmadd_ps(q, x, *sum);
    if (metric == METRIC_COSINE)
        row->other = _mm512_fmadd_ps(x, x, row->other);
}

INLINE void
exact_step4(enum metric metric, enum vector_type type, struct chains chains[4], int odd,
            const float *query, const void *const *rows, uint32_t i, __mmask16 keep)
{
    const __m512 q = load_floats(query + i, keep);
    for (uint32_t r = 0; r < 4; r++)
        exact_step(metric, &chains[r], odd, q, load16(type, rows[r], i, keep));
}

// NaN where index/kernel/cosine.h says so.
INLINE __m128
cosine_of(__m128 dot, __m128 norm2)
{
    const __mmask8 kept = _mm_cmp_ps_mask(norm2, _mm_set1_ps(COSINE_NORM2_MIN), _CMP_GE_OQ) &
                          _mm_cmp_ps_mask(norm2, _mm_set1_ps(COSINE_NORM2_MAX), _CMP_LE_OQ);
    const __m128 cosine = _mm_div_ps(dot, _mm_sqrt_ps(norm2));
    return _mm_mask_sub_ps(_mm_set1_ps(NAN), kept, _mm_set1_ps(1.0f), cosine);
}

INLINE __m128
exact4(enum metric metric, enum vector_type type, const float *query, const void *const *rows,
       uint32_t dim)
{
    const __m512 zero = _mm512_setzero_ps();
    struct chains chains[4] = {{zero, zero}, {zero, zero}, {zero, zero}, {zero, zero}};
    uint32_t i = 0;
    for (; i + 32 <= dim; i += 32) {
        exact_step4(metric, type, chains, 0, query, rows, i, 0xffff);
        exact_step4(metric, type, chains, 1, query, rows, i + 16, 0xffff);
    }
    for (; i < dim; i += 16)
        exact_step4(metric, type, chains, 0, query, rows, i, first_lanes(dim - i));
    const __m128 one = _mm_set1_ps(1.0f);
    if (metric != METRIC_COSINE) {
        const __m128 sum = reduce4_ps(_mm512_add_ps(chains[0].sum, chains[0].other),
                                      _mm512_add_ps(chains[1].sum, chains[1].other),
                                      _mm512_add_ps(chains[2].sum, chains[2].other),
                                      _mm512_add_ps(chains[3].sum, chains[3].other));
        return metric == METRIC_L2 ? sum : _mm_sub_ps(one, sum);
    }
    const __m128 dot = reduce4_ps(chains[0].sum, chains[1].sum, chains[2].sum, chains[3].sum);
    const __m128 norm2 =
        reduce4_ps(chains[0].other, chains[1].other, chains[2].other, chains[3].other);
    return cosine_of(dot, norm2);
}

INLINE void
exact(enum metric metric, enum vector_type type, const float *query, const void *const *rows,
      uint32_t count, uint32_t dim, float *out)
{
    for (uint32_t i = 0; i < count; i += 4) {
        const void *row[4];
        for (uint32_t r = 0; r < 4; r++)
            row[r] = rows[i + r < count ? i + r : count - 1];
        const __mmask8 keep = (__mmask8)(count - i >= 4 ? 15 : (1u << (count - i)) - 1);
        _mm_mask_storeu_ps(out + i, keep, exact4(metric, type, query, row, dim));
    }
    if (metric == METRIC_COSINE)
        cosine_again(type, query, rows, count, dim, out);
}

KINDS_EXACT(avx512)

// The byte product of VNNI takes one side unsigned and one signed. A row is both: as it is stored, and with the upper bit
// of each component flipped, which adds or takes 128. With u the unsigned and s = u - 128 the signed form, what is asked
// for is made of the sums of u s', u s and u, and of what is known of the query. |q - x| is the same in both forms.
struct integer_sums {
    __m512i product, square, sum; // u(x) s(q), or u(q) s(x); u(x) s(x); u(x)
};

INLINE void
integer_step(enum metric metric, enum vector_type type, struct integer_sums *sums, __m512i q,
             const uint8_t *row, __mmask64 keep)
{
    const __m512i upper = _mm512_set1_epi8((char)0x80);
    const __m512i stored = load_block(row, 0, keep);
    const __m512i flipped = KEEPS_ALL(keep, ~0ull) ? _mm512_xor_si512(stored, upper)
                                                   : _mm512_maskz_add_epi8(keep, stored, upper);
    const __m512i u = type == VECTOR_U8 ? stored : flipped;
    const __m512i s = type == VECTOR_U8 ? flipped : stored;
    if (metric == METRIC_L2)
        sums->product = _mm512_dpbusd_epi32(sums->product, u,
                                            type == VECTOR_U8 ? _mm512_xor_si512(q, upper) : q);
    else
        sums->product = type == VECTOR_U8 ? _mm512_dpbusd_epi32(sums->product, q, s)
                                          : _mm512_dpbusd_epi32(sums->product, u, q);
    if (metric == METRIC_IP)
        return;
    sums->square = _mm512_dpbusd_epi32(sums->square, u, s);
    sums->sum = _mm512_dpbusd_epi32(sums->sum, u, _mm512_set1_epi8(1));
}

INLINE void
integer4(enum metric metric, enum vector_type type, const struct integer_query *query,
         const void *const *rows, uint32_t sums_out[4], uint32_t norms2_out[4])
{
    const __m512i zero = _mm512_setzero_si512();
    const struct integer_sums none = {zero, zero, zero};
    struct integer_sums sums[4] = {none, none, none, none};
    uint32_t i = 0;
    for (; i + 64 <= query->dim; i += 64) {
        const __m512i q = load_block(query->components, i, ~0ull);
        for (uint32_t r = 0; r < 4; r++)
            integer_step(metric, type, &sums[r], q, (const uint8_t *)rows[r] + i, ~0ull);
    }
    if (i < query->dim) {
        const __mmask64 keep = first_bytes(query->dim - i);
        const __m512i q = load_block(query->components, i, keep);
        for (uint32_t r = 0; r < 4; r++)
            integer_step(metric, type, &sums[r], q, (const uint8_t *)rows[r] + i, keep);
    }
    uint32_t product[4], square[4], sum[4];
    _mm_storeu_si128((__m128i *)product,
                     reduce4_epi32((const __m512i[4]){sums[0].product, sums[1].product,
                                                      sums[2].product, sums[3].product}));
    _mm_storeu_si128((__m128i *)square,
                     reduce4_epi32((const __m512i[4]){sums[0].square, sums[1].square,
                                                      sums[2].square, sums[3].square}));
    _mm_storeu_si128((__m128i *)sum, reduce4_epi32((const __m512i[4]){sums[0].sum, sums[1].sum,
                                                                      sums[2].sum, sums[3].sum}));
    const uint32_t own = (uint32_t)query->sum, extra = 16384u * query->dim;
    // |u(q)|^2
    const uint32_t norm2 = type == VECTOR_U8 ? query->norm2 : query->norm2 + 256u * own + extra;
    for (uint32_t r = 0; r < 4; r++) {
        if (metric == METRIC_L2)
            sums_out[r] = norm2 + square[r] - 2u * product[r] - 128u * sum[r];
        else
            sums_out[r] = type == VECTOR_U8 ? product[r] + 128u * own : product[r] - 128u * own;
        norms2_out[r] =
            type == VECTOR_U8 ? square[r] + 128u * sum[r] : square[r] - 128u * sum[r] + extra;
    }
}

INTEGER_BY_FOURS(integer4)
KINDS_INTEGER(avx512)

// 16 ids out of 48 bytes, widened to 32 bits.
INLINE __m512i
widen24(const uint8_t *bytes)
{
    const __m512i order =
        _mm512_set_epi32(0x002f2e2d, 0x002c2b2a, 0x00292827, 0x00262524, 0x00232221, 0x00201f1e,
                         0x001d1c1b, 0x001a1918, 0x00171615, 0x00141312, 0x0011100f, 0x000e0d0c,
                         0x000b0a09, 0x00080706, 0x00050403, 0x00020100);
    const __m512i data = _mm512_maskz_loadu_epi8(0xffffffffffffull, bytes);
    return _mm512_maskz_permutexvar_epi8(0x7777777777777777ull, order, data);
}

// Of 32 ids those that are below the limit.
INLINE uint32_t
keep_below(__m512i first, __m512i second, uint32_t limit, uint32_t *ids)
{
    const __m512i bound = _mm512_set1_epi32((int)limit);
    const __mmask16 keep1 = _mm512_cmplt_epu32_mask(first, bound);
    const __mmask16 keep2 = _mm512_cmplt_epu32_mask(second, bound);
    const uint32_t count1 = (uint32_t)__builtin_popcount(keep1);
    // Compress into registers and store whole: compressing stores are microcoded on some
    // processors.
    _mm512_storeu_si512(ids, _mm512_maskz_compress_epi32(keep1, first));
    const uint32_t count2 = (uint32_t)__builtin_popcount(keep2);
    _mm512_mask_storeu_epi32(ids + count1, first_lanes(count2),
                             _mm512_maskz_compress_epi32(keep2, second));
    return count1 + count2;
}

static uint32_t
avx512_unpack(const uint8_t *row, uint32_t limit, uint32_t *ids)
{
    return keep_below(widen24(row), widen24(row + 48), limit, ids);
}

static uint32_t
avx512_unpack32(const uint8_t *row, uint32_t limit, uint32_t *ids)
{
    return keep_below(_mm512_loadu_si512(row), _mm512_loadu_si512(row + 64), limit, ids);
}

// The four stages inside a register. A stage is x * sign + swapped: the product is exact, so the
// sum rounds as the oracle's plain addition and subtraction do.
INLINE __m512
butterfly16(__m512 x)
{
    const __m512 one = _mm512_set1_ps(1.0f), minus = _mm512_set1_ps(-1.0f);
    x = _mm512_fmadd_ps(x, _mm512_mask_blend_ps(0xaaaa, one, minus), _mm512_permute_ps(x, 0xb1));
    x = _mm512_fmadd_ps(x, _mm512_mask_blend_ps(0xcccc, one, minus), _mm512_permute_ps(x, 0x4e));
    x = _mm512_fmadd_ps(x, _mm512_mask_blend_ps(0xf0f0, one, minus),
                        _mm512_shuffle_f32x4(x, x, 0xb1));
    return _mm512_fmadd_ps(x, _mm512_mask_blend_ps(0xff00, one, minus),
                           _mm512_shuffle_f32x4(x, x, 0x4e));
}

// Two stages at once, over groups of four registers that lie `half` apart, then times `scale`: 1,
// which changes nothing, but in the last pass. Values are loaded and stored half as often as with a
// stage a pass.
INLINE void
butterfly_pass4(float *values, uint32_t count, uint32_t half, float scale)
{
    const __m512 factor = _mm512_set1_ps(scale);
    for (uint32_t i = 0; i < count; i += 4 * half)
        for (uint32_t j = i; j < i + half; j += 16) {
            float *at[4] = {values + j, values + j + half, values + j + 2 * (size_t)half,
                            values + j + 3 * (size_t)half};
            const __m512 a = _mm512_loadu_ps(at[0]), b = _mm512_loadu_ps(at[1]);
            const __m512 c = _mm512_loadu_ps(at[2]), d = _mm512_loadu_ps(at[3]);
            const __m512 ab = _mm512_add_ps(a, b), cd = _mm512_add_ps(c, d);
            const __m512 ab_minus = _mm512_sub_ps(a, b), cd_minus = _mm512_sub_ps(c, d);
            _mm512_storeu_ps(at[0], _mm512_mul_ps(_mm512_add_ps(ab, cd), factor));
            _mm512_storeu_ps(at[1], _mm512_mul_ps(_mm512_add_ps(ab_minus, cd_minus), factor));
            _mm512_storeu_ps(at[2], _mm512_mul_ps(_mm512_sub_ps(ab, cd), factor));
            _mm512_storeu_ps(at[3], _mm512_mul_ps(_mm512_sub_ps(ab_minus, cd_minus), factor));
        }
}

INLINE void
butterfly_pass2(float *values, uint32_t count, uint32_t half, float scale)
{
    const __m512 factor = _mm512_set1_ps(scale);
    for (uint32_t i = 0; i < count; i += 2 * half)
        for (uint32_t j = i; j < i + half; j += 16) {
            const __m512 a = _mm512_loadu_ps(values + j), b = _mm512_loadu_ps(values + j + half);
            _mm512_storeu_ps(values + j, _mm512_mul_ps(_mm512_add_ps(a, b), factor));
            _mm512_storeu_ps(values + j + half, _mm512_mul_ps(_mm512_sub_ps(a, b), factor));
        }
}

static void
avx512_butterfly(float *values, uint32_t count)
{
    const float scale = 1.0f / sqrtf((float)count);
    const __m512 factor = _mm512_set1_ps(count == 16 ? scale : 1.0f);
    for (uint32_t i = 0; i < count; i += 16)
        _mm512_storeu_ps(values + i,
                         _mm512_mul_ps(butterfly16(_mm512_loadu_ps(values + i)), factor));
    uint32_t half = 16;
    for (; half * 2 < count; half *= 4)
        butterfly_pass4(values, count, half, half * 4 == count ? scale : 1.0f);
    if (half < count)
        butterfly_pass2(values, count, half, scale);
}

static void
avx512_encode(const float *values, uint32_t count, float inverse, uint8_t *codes)
{
    const __m512 scale = _mm512_set1_ps(inverse);
    const __m512i middle = _mm512_set1_epi32(128);
    for (uint32_t i = 0; i < count; i += 16) {
        const __m512i rounded =
            _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(values + i), scale));
        _mm_storeu_si128((__m128i *)(codes + i),
                         _mm512_cvtepi32_epi8(_mm512_add_epi32(rounded, middle)));
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
        const __m512 x = type == VECTOR_F32   ? load16(VECTOR_F32, row, i, keep)
                         : type == VECTOR_F16 ? load16(VECTOR_F16, row, i, keep)
                                              : load16(VECTOR_BF16, row, i, keep);
        bad |= _mm512_fpclass_ps_mask(x, 0x99); // quiet and signalling NaN, both infinities
    }
    return bad == 0;
}

static void
avx512_within(const uint8_t *bytes, uint32_t word_count, uint8_t first, uint8_t last,
              uint64_t *words)
{
    const __m512i low = _mm512_set1_epi8((char)first), high = _mm512_set1_epi8((char)last);
    for (uint32_t w = 0; w < word_count; w++) {
        const __m512i at = _mm512_loadu_si512(bytes + (size_t)w * 64);
        words[w] |= _mm512_mask_cmple_epu8_mask(_mm512_cmpge_epu8_mask(at, low), at, high);
    }
}

const struct kernels kernels_avx512 = {
    .name = "avx512",
    .nibble = avx512_nibble,
    .glance = avx512_glance,
    .byte = avx512_byte,
    .join = avx512_join,
    .dots = avx512_dots,
    .insert = avx512_insert,
    .exact = KINDS_EXACT_ROWS(avx512),
    .integer = KINDS_INTEGER_ROWS(avx512),
    .unpack = avx512_unpack,
    .unpack32 = avx512_unpack32,
    .butterfly = avx512_butterfly,
    .encode = avx512_encode,
    .finite = avx512_finite,
    .within = avx512_within,
    .tiles = &tiles_avx512,
};
