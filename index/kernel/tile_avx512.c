// index/kernel/tile_avx512.c -- tiles with AVX-512 and VNNI.
//
// Shape: kernel. Compiled with its own flags; called only when kernels_list found the features.
//
// The products of a tile are in assembler: gcc 12 spills the 24 sums of the same loop written with intrinsics, which halves
// its rate. What picks the best has no branches: a comparison of keys that is a coin toss costs more than a tile's products.
#include <immintrin.h>
#include <stdbool.h>

#include "index/kernel/kinds.h"
#include "index/kernel/tile_plain.h"

// 16 registers of 16 words, transposed.
INLINE void
transpose16(__m512i *r)
{
    __m512i t[16];
    for (size_t i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    for (size_t i = 0; i < 4; i++) {
        r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    for (int c = 0; c < 4; c++) {
        const __m512i a = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x88);
        const __m512i b = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xdd);
        const __m512i e = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x88);
        const __m512i f = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xdd);
        t[c] = _mm512_shuffle_i32x4(a, e, 0x88);
        t[8 + c] = _mm512_shuffle_i32x4(a, e, 0xdd);
        t[4 + c] = _mm512_shuffle_i32x4(b, f, 0x88);
        t[12 + c] = _mm512_shuffle_i32x4(b, f, 0xdd);
    }
    for (int i = 0; i < 16; i++)
        r[i] = t[i];
}

static void
avx512_pack_bytes(const uint8_t *rows, uint32_t stride, uint32_t count, uint32_t bytes, int8_t *out,
                  int32_t *starts)
{
    const __m512i bias = _mm512_set1_epi8((char)0x80), ones = _mm512_set1_epi8(1);
    for (uint32_t first = 0; first < count;
         first += TILE_LANES, out += (size_t)bytes * TILE_LANES) {
        const uint8_t *at[TILE_LANES];
        __m512i even = _mm512_setzero_si512(), odd = even;
        for (uint32_t lane = 0; lane < TILE_LANES; lane++)
            at[lane] = rows + (size_t)(first + lane < count ? first + lane : count - 1) * stride;
        for (uint32_t b = 0; b < bytes; b += 64) {
            const uint32_t units = bytes - b < 64 ? (bytes - b) / 4 : 16;
            __m512i r[16];
            for (uint32_t lane = 0; lane < TILE_LANES; lane++)
                r[lane] = _mm512_xor_si512(_mm512_loadu_si512(at[lane] + b), bias);
            transpose16(r);
            for (uint32_t unit = 0; unit < units; unit++) {
                _mm512_storeu_si512(out + (size_t)b * TILE_LANES + (size_t)unit * 64, r[unit]);
                if (unit % 2 == 0)
                    even = _mm512_dpbusd_epi32(even, ones, r[unit]);
                else
                    odd = _mm512_dpbusd_epi32(odd, ones, r[unit]);
            }
        }
        const __m512i sums = _mm512_slli_epi32(_mm512_add_epi32(even, odd), 7);
        _mm512_storeu_si512(starts + first, _mm512_sub_epi32(_mm512_setzero_si512(), sums));
    }
}

// Four sums of a row begin as those of the first row do: as the columns' starts.
#define ROW_START(a, b, c, d)                                                                      \
    "vmovdqa64 %%zmm0, %%zmm" #a "\n"                                                              \
    "vmovdqa64 %%zmm1, %%zmm" #b "\n"                                                              \
    "vmovdqa64 %%zmm2, %%zmm" #c "\n"                                                              \
    "vmovdqa64 %%zmm3, %%zmm" #d "\n"
// Four components of a row times those of 64 columns.
#define ROW_STEP(row, one, a, b, c, d)                                                             \
    "vpbroadcastd (%[" #row "],%[at]), %%zmm" #one "\n"                                            \
    "vpdpbusd %%zmm24, %%zmm" #one ", %%zmm" #a "\n"                                               \
    "vpdpbusd %%zmm25, %%zmm" #one ", %%zmm" #b "\n"                                               \
    "vpdpbusd %%zmm26, %%zmm" #one ", %%zmm" #c "\n"                                               \
    "vpdpbusd %%zmm27, %%zmm" #one ", %%zmm" #d "\n"
#define ROW_END(offset, a, b, c, d)                                                                \
    "vmovdqa64 %%zmm" #a ", " #offset "(%[out])\n"                                                 \
    "vmovdqa64 %%zmm" #b ", 64+" #offset "(%[out])\n"                                              \
    "vmovdqa64 %%zmm" #c ", 128+" #offset "(%[out])\n"                                             \
    "vmovdqa64 %%zmm" #d ", 192+" #offset "(%[out])\n"

static __attribute__((noinline)) void
tile_dots(const struct tile_bytes *tile, int32_t *out)
{
    const long stride = (long)tile->bytes * TILE_LANES;
    const int8_t *columns = tile->columns, *fourth = columns + 3 * stride;
    long at = -(long)tile->bytes; // runs to 0
    const uint8_t *const r0 = tile->rows[0] - at, *const r1 = tile->rows[1] - at,
                         *const r2 = tile->rows[2] - at, *const r3 = tile->rows[3] - at,
                         *const r4 = tile->rows[4] - at, *const r5 = tile->rows[5] - at;
    // clang-format off
    __asm__ volatile(
        "vmovdqu64 (%[starts]), %%zmm0\n"
        "vmovdqu64 64(%[starts]), %%zmm1\n"
        "vmovdqu64 128(%[starts]), %%zmm2\n"
        "vmovdqu64 192(%[starts]), %%zmm3\n"
        ROW_START(4, 5, 6, 7)
        ROW_START(8, 9, 10, 11)
        ROW_START(12, 13, 14, 15)
        ROW_START(16, 17, 18, 19)
        ROW_START(20, 21, 22, 23)
        ".p2align 5\n"
        "1:\n"
        "vmovdqa64 (%[columns]), %%zmm24\n"
        "vmovdqa64 (%[columns],%[stride]), %%zmm25\n"
        "vmovdqa64 (%[columns],%[stride],2), %%zmm26\n"
        "vmovdqa64 (%[fourth]), %%zmm27\n"
        ROW_STEP(r0, 28, 0, 1, 2, 3)
        ROW_STEP(r1, 29, 4, 5, 6, 7)
        ROW_STEP(r2, 28, 8, 9, 10, 11)
        ROW_STEP(r3, 29, 12, 13, 14, 15)
        ROW_STEP(r4, 28, 16, 17, 18, 19)
        ROW_STEP(r5, 29, 20, 21, 22, 23)
        "add $64, %[columns]\n"
        "add $64, %[fourth]\n"
        "add $4, %[at]\n"
        "jnz 1b\n"
        ROW_END(0, 0, 1, 2, 3)
        ROW_END(256, 4, 5, 6, 7)
        ROW_END(512, 8, 9, 10, 11)
        ROW_END(768, 12, 13, 14, 15)
        ROW_END(1024, 16, 17, 18, 19)
        ROW_END(1280, 20, 21, 22, 23)
        : [columns] "+r"(columns), [fourth] "+r"(fourth), [at] "+r"(at)
        : [stride] "r"(stride), [r0] "r"(r0), [r1] "r"(r1), [r2] "r"(r2), [r3] "r"(r3),
          [r4] "r"(r4), [r5] "r"(r5), [starts] "r"(tile->starts), [out] "r"(out)
        : "memory", "cc", "zmm0", "zmm1", "zmm2", "zmm3", "zmm4", "zmm5", "zmm6", "zmm7", "zmm8",
          "zmm9", "zmm10", "zmm11", "zmm12", "zmm13", "zmm14", "zmm15", "zmm16", "zmm17", "zmm18",
          "zmm19", "zmm20", "zmm21", "zmm22", "zmm23", "zmm24", "zmm25", "zmm26", "zmm27", "zmm28",
          "zmm29");
    // clang-format on
}

INLINE __m512
distances16(const struct tile_bytes *tile, const struct tile_numbers *numbers, uint32_t column,
            __m512i dots)
{
    const __m512 scales =
        _mm512_mul_ps(_mm512_set1_ps(numbers->scale), _mm512_loadu_ps(tile->scales + column));
    __m512 product = _mm512_mul_ps(scales, _mm512_cvtepi32_ps(dots));
    if (tile->extras != NULL)
        product = _mm512_add_ps(product, _mm512_mul_ps(_mm512_set1_ps(numbers->extra),
                                                       _mm512_loadu_ps(tile->extras + column)));
    const __m512 sum =
        _mm512_add_ps(_mm512_set1_ps(numbers->add), _mm512_loadu_ps(tile->adds + column));
    // Twice the product is exact, so taking it off in one operation rounds as two do.
    const __m512 distance = _mm512_fnmadd_ps(_mm512_set1_ps(2.0f), product, sum);
    return _mm512_max_ps(distance, _mm512_setzero_ps());
}

static void
avx512_bytes(const struct tile_bytes *tile, float *out)
{
    _Alignas(64) int32_t dots[TILE_ROWS * TILE_COLUMNS];
    tile_dots(tile, dots);
    for (uint32_t row = 0; row < TILE_ROWS; row++)
        for (uint32_t column = 0; column < TILE_COLUMNS; column += TILE_LANES) {
            const size_t at = (size_t)row * TILE_COLUMNS + column;
            _mm512_store_ps(out + at, distances16(tile, &tile->numbers[row], column,
                                                  _mm512_load_si512(dots + at)));
        }
}

// Products of row 0 with up to four groups at once, each in two sums, so that no product waits for the one before.
INLINE void
one_dots(const struct tile_bytes *tile, uint32_t first, uint32_t groups, __m512i *dots)
{
    const size_t stride = (size_t)tile->bytes * TILE_LANES;
    const uint8_t *row = tile->rows[0];
    const int8_t *columns = tile->columns + first * stride;
    __m512i even[TILE_GROUPS], odd[TILE_GROUPS];
    for (uint32_t g = 0; g < groups; g++) {
        even[g] = _mm512_loadu_si512(tile->starts + (size_t)(first + g) * TILE_LANES);
        odd[g] = _mm512_setzero_si512();
    }
    uint32_t b = 0;
    for (; b + 8 <= tile->bytes; b += 8, columns += 128) {
        int32_t units[2];
        memcpy(units, row + b, sizeof units);
        const __m512i one = _mm512_set1_epi32(units[0]), two = _mm512_set1_epi32(units[1]);
        for (uint32_t g = 0; g < groups; g++) {
            even[g] = _mm512_dpbusd_epi32(even[g], one, _mm512_loadu_si512(columns + g * stride));
            odd[g] =
                _mm512_dpbusd_epi32(odd[g], two, _mm512_loadu_si512(columns + g * stride + 64));
        }
    }
    if (b < tile->bytes) {
        int32_t unit;
        memcpy(&unit, row + b, sizeof unit);
        for (uint32_t g = 0; g < groups; g++)
            even[g] = _mm512_dpbusd_epi32(even[g], _mm512_set1_epi32(unit),
                                          _mm512_loadu_si512(columns + g * stride));
    }
    for (uint32_t g = 0; g < groups; g++)
        dots[g] = _mm512_add_epi32(even[g], odd[g]);
}

INLINE void
one_block(const struct tile_bytes *tile, uint32_t first, uint32_t groups, float *out)
{
    __m512i dots[TILE_GROUPS];
    one_dots(tile, first, groups, dots);
    for (uint32_t g = 0; g < groups; g++) {
        const uint32_t column = (first + g) * TILE_LANES;
        _mm512_storeu_ps(out + column, distances16(tile, &tile->numbers[0], column, dots[g]));
    }
}

static void
avx512_bytes_one(const struct tile_bytes *tile, uint32_t groups, float *out)
{
    uint32_t group = 0;
    for (; group + TILE_GROUPS <= groups; group += TILE_GROUPS)
        one_block(tile, group, TILE_GROUPS, out);
    switch (groups - group) {
    case 3:
        one_block(tile, group, 3, out);
        break;
    case 2:
        one_block(tile, group, 2, out);
        break;
    case 1:
        one_block(tile, group, 1, out);
        break;
    default:
        break;
    }
}

static void
avx512_floats(const struct tile_floats *tile, float *out)
{
    const size_t stride = (size_t)tile->count * TILE_LANES;
    for (uint32_t first = 0; first < TILE_ROWS; first += 3) {
        __m512 sums[3][TILE_GROUPS];
        for (uint32_t r = 0; r < 3; r++)
            for (uint32_t g = 0; g < TILE_GROUPS; g++)
                sums[r][g] = _mm512_setzero_ps();
        for (uint32_t i = 0; i < tile->count; i++) {
            __m512 columns[TILE_GROUPS];
            for (uint32_t g = 0; g < TILE_GROUPS; g++)
                columns[g] = _mm512_loadu_ps(tile->columns + g * stride + (size_t)i * TILE_LANES);
            for (uint32_t r = 0; r < 3; r++) {
                const __m512 one = _mm512_set1_ps(tile->rows[first + r][i]);
                for (uint32_t g = 0; g < TILE_GROUPS; g++) {
                    const __m512 apart = _mm512_sub_ps(one, columns[g]);
                    sums[r][g] = _mm512_add_ps(sums[r][g], _mm512_mul_ps(apart, apart));
                }
            }
        }
        for (uint32_t r = 0; r < 3; r++)
            for (uint32_t g = 0; g < TILE_GROUPS; g++)
                _mm512_storeu_ps(
                    out + (size_t)(first + r) * TILE_COLUMNS + (size_t)g * TILE_LANES,
                    _mm512_add_ps(sums[r][g],
                                  _mm512_loadu_ps(tile->adds + (size_t)g * TILE_LANES)));
    }
}

static void
avx512_floats_one(const struct tile_floats *tile, uint32_t groups, float *out)
{
    for (uint32_t g = 0; g < groups; g++) {
        const float *columns = tile->columns + (size_t)g * tile->count * TILE_LANES;
        __m512 sum = _mm512_setzero_ps();
        for (uint32_t i = 0; i < tile->count; i++, columns += TILE_LANES) {
            const __m512 apart =
                _mm512_sub_ps(_mm512_set1_ps(tile->rows[0][i]), _mm512_loadu_ps(columns));
            sum = _mm512_add_ps(sum, _mm512_mul_ps(apart, apart));
        }
        _mm512_storeu_ps(out + (size_t)g * TILE_LANES,
                         _mm512_add_ps(sum, _mm512_loadu_ps(tile->adds + (size_t)g * TILE_LANES)));
    }
}

INLINE __m512i
lanes(void)
{
    return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

// (distance & ~TILE_ID_MASK) | id
INLINE __m512i
keys16(__m512 distances, __m512i ids)
{
    return _mm512_ternarylogic_epi32(_mm512_castps_si512(distances),
                                     _mm512_set1_epi32(TILE_ID_MASK), ids, 0xba);
}

// Puts keys among the two smallest of each lane.
INLINE void
sink2(__m512i *first, __m512i *second, __m512i keys)
{
    *second = _mm512_min_epu32(*second, _mm512_max_epu32(*first, keys));
    *first = _mm512_min_epu32(*first, keys);
}

static void
avx512_gram(const struct tile_gram *gram)
{
    for (uint32_t r = 0; r < gram->rows; r++) {
        const uint32_t row = gram->row + r;
        const bool among = row < gram->column + TILE_COLUMNS;
        uint32_t *own = gram->row_best + (size_t)row * TILE_ROW_BEST;
        __m512i first = _mm512_loadu_si512(own), second = _mm512_loadu_si512(own + TILE_LANES);
        for (uint32_t g = 0; g < TILE_GROUPS; g++) {
            const uint32_t column = gram->column + g * TILE_LANES;
            const __m512 distances =
                _mm512_load_ps(gram->distances + (size_t)r * TILE_COLUMNS + (size_t)g * TILE_LANES);
            __m512i keys =
                keys16(distances, _mm512_add_epi32(lanes(), _mm512_set1_epi32((int)column)));
            if (among) {
                if (row >= column && row < column + TILE_LANES)
                    keys = _mm512_mask_mov_epi32(keys, (__mmask16)(1u << (row - column)),
                                                 _mm512_set1_epi32(-1));
            } else {
                uint32_t *theirs = gram->column_best +
                                   (size_t)(column / TILE_LANES) * TILE_COLUMN_BEST +
                                   (size_t)r * 2 * TILE_LANES;
                __m512i one = _mm512_loadu_si512(theirs),
                        two = _mm512_loadu_si512(theirs + TILE_LANES);
                sink2(&one, &two, keys16(distances, _mm512_set1_epi32((int)row)));
                _mm512_storeu_si512(theirs, one);
                _mm512_storeu_si512(theirs + TILE_LANES, two);
            }
            sink2(&first, &second, keys);
        }
        _mm512_storeu_si512(own, first);
        _mm512_storeu_si512(own + TILE_LANES, second);
    }
}

static void
avx512_assign(const float *distances, uint32_t column, uint32_t *best)
{
    for (uint32_t row = 0; row < TILE_ROWS; row++, best += TILE_ASSIGN_BEST) {
        __m512i first = _mm512_loadu_si512(best), second = _mm512_loadu_si512(best + TILE_LANES),
                third = _mm512_loadu_si512(best + (size_t)2 * TILE_LANES);
        for (uint32_t g = 0; g < TILE_GROUPS; g++) {
            const __m512i ids = _mm512_add_epi32(
                lanes(), _mm512_set1_epi32((int)(column + (size_t)g * TILE_LANES)));
            const __m512i keys = keys16(
                _mm512_load_ps(distances + (size_t)row * TILE_COLUMNS + (size_t)g * TILE_LANES),
                ids);
            const __m512i past = _mm512_max_epu32(first, keys);
            first = _mm512_min_epu32(first, keys);
            third = _mm512_min_epu32(third, _mm512_max_epu32(second, past));
            second = _mm512_min_epu32(second, past);
        }
        _mm512_storeu_si512(best, first);
        _mm512_storeu_si512(best + TILE_LANES, second);
        _mm512_storeu_si512(best + (size_t)2 * TILE_LANES, third);
    }
}

// Bitonic networks (Batcher 1968) on 16 words. In a step each lane meets the one `distance` apart; the lanes of `upper` keep the
// larger. A step of runs of `run` lanes that it puts in alternate order has its mask from UPPER, which is constant.
#define UPPER_LANE(lane, run, distance)                                                            \
    (((((lane) & (distance)) != 0) == (((lane) & (run)) == 0)) << (lane))
#define UPPER_FOUR(lane, run, distance)                                                            \
    (UPPER_LANE(lane, run, distance) | UPPER_LANE((lane) + 1, run, distance) |                     \
     UPPER_LANE((lane) + 2, run, distance) | UPPER_LANE((lane) + 3, run, distance))
#define UPPER(run, distance)                                                                       \
    ((__mmask16)(UPPER_FOUR(0, run, distance) | UPPER_FOUR(4, run, distance) |                     \
                 UPPER_FOUR(8, run, distance) | UPPER_FOUR(12, run, distance)))
#define STEP(v, run, distance)                                                                     \
    exchange(v, _mm512_xor_si512(lanes(), _mm512_set1_epi32(distance)), UPPER(run, distance))

INLINE __m512i
exchange(__m512i v, __m512i partner, __mmask16 upper)
{
    const __m512i other = _mm512_permutexvar_epi32(partner, v);
    return _mm512_mask_max_epu32(_mm512_min_epu32(v, other), upper, v, other);
}

INLINE __m512i
merge16(__m512i v)
{
    v = STEP(v, 16, 8);
    v = STEP(v, 16, 4);
    v = STEP(v, 16, 2);
    return STEP(v, 16, 1);
}

INLINE __m512i
sort16(__m512i v)
{
    v = STEP(v, 2, 1);
    v = STEP(v, 4, 2);
    v = STEP(v, 4, 1);
    v = STEP(v, 8, 4);
    v = STEP(v, 8, 2);
    v = STEP(v, 8, 1);
    return merge16(v);
}

// The 16 smallest of two sorted ones.
INLINE __m512i
smaller16(__m512i a, __m512i b)
{
    const __m512i reverse = _mm512_setr_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    return merge16(_mm512_min_epu32(a, _mm512_permutexvar_epi32(reverse, b)));
}

INLINE __m512i
drop_infinite(__m512i keys)
{
    const __m512i none = _mm512_set1_epi32(-1);
    return _mm512_mask_mov_epi32(
        keys, _mm512_cmpge_epu32_mask(keys, _mm512_set1_epi32(TILE_KEY_INFINITE)), none);
}

static void
avx512_gram_finish(const uint32_t *row_best, const uint32_t *column_best, uint32_t *out)
{
    __m512i columns[TILE_LANES];
    for (uint32_t i = 0; i < TILE_LANES; i++)
        columns[i] = i < 2 * TILE_ROWS ? _mm512_loadu_si512(column_best + (size_t)i * TILE_LANES)
                                       : _mm512_set1_epi32(-1);
    transpose16(columns);
    for (uint32_t member = 0; member < TILE_LANES; member++, row_best += TILE_ROW_BEST) {
        const __m512i row = smaller16(sort16(_mm512_loadu_si512(row_best)),
                                      sort16(_mm512_loadu_si512(row_best + TILE_LANES)));
        const __m512i best = smaller16(row, sort16(columns[member]));
        _mm512_storeu_si512(out + (size_t)member * TILE_LANES, drop_infinite(best));
    }
}

#define FEW 2u // that are taken one by one sooner than all are sorted

// Takes the smallest of all lanes, and lets the next of its lane come forward.
INLINE void
few_smallest(const uint32_t *best, uint32_t want, uint32_t *out)
{
    __m512i first = drop_infinite(_mm512_loadu_si512(best));
    const __m512i second = drop_infinite(_mm512_loadu_si512(best + TILE_LANES));
    for (uint32_t i = 0; i < want; i++) {
        out[i] = _mm512_reduce_min_epu32(first);
        first = _mm512_mask_mov_epi32(
            first, _mm512_cmpeq_epu32_mask(first, _mm512_set1_epi32((int)out[i])), second);
    }
}

static void
avx512_assign_finish(const uint32_t *best, uint32_t want, uint32_t *out)
{
    if (want <= FEW) {
        few_smallest(best, want, out);
        return;
    }
    const __m512i two =
        smaller16(sort16(_mm512_loadu_si512(best)), sort16(_mm512_loadu_si512(best + TILE_LANES)));
    const __m512i all = smaller16(two, sort16(_mm512_loadu_si512(best + (size_t)2 * TILE_LANES)));
    _mm512_storeu_si512(out, drop_infinite(all));
}

INLINE __mmask64
first_of_64(uint32_t count)
{
    return count >= 64 ? ~0ull : (1ull << count) - 1;
}

INLINE uint32_t
largest_u16(__m512i v)
{
    const __m256i half =
        _mm256_max_epu16(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    const __m128i quarter =
        _mm_max_epu16(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    const __m128i turned = _mm_xor_si128(quarter, _mm_set1_epi16(-1));
    return 65535u - (uint32_t)(_mm_cvtsi128_si32(_mm_minpos_epu16(turned)) & 65535);
}

// plain_full_head
INLINE uint32_t
full_head(const struct reservoir *reservoir)
{
    const __m512i low = _mm512_loadu_si512(reservoir->keys),
                  high = _mm512_loadu_si512(reservoir->keys + 32);
    const uint32_t key = largest_u16(_mm512_max_epu16(low, high));
    const __m512i same = _mm512_set1_epi16((short)key);
    uint64_t at = (uint64_t)_mm512_cmpeq_epi16_mask(low, same) |
                  (uint64_t)_mm512_cmpeq_epi16_mask(high, same) << 32;
    uint32_t hash = 0;
    for (; at != 0; at &= at - 1) {
        const uint32_t other = reservoir->hashes[__builtin_ctzll(at)];
        hash = other > hash ? other : hash;
    }
    return (key << 8 | hash) << 8 | RESERVOIR_SLOTS;
}

// Those of 64 candidates that are not above the bound, a bit each.
INLINE uint64_t
within(const uint64_t *candidates, uint32_t count, uint32_t bound)
{
    const __m512i last = _mm512_set1_epi64((long long)((uint64_t)bound << 32 | UINT32_MAX));
    uint64_t in = 0;
    for (uint32_t i = 0; i < count; i += 8) {
        const __mmask8 there = (__mmask8)(count - i >= 8 ? 255u : (1u << (count - i)) - 1);
        const __m512i eight = _mm512_maskz_loadu_epi64(there, candidates + i);
        in |= (uint64_t)_mm512_mask_cmple_epu64_mask(there, eight, last) << i;
    }
    return in;
}

// Of one that is full or gets full. Most candidates are above the bound: asked one by one, each answer would be a guess.
static uint32_t
keep_full(struct reservoir *reservoir, uint32_t head, const uint64_t *candidates, uint32_t count)
{
    uint64_t left = within(candidates, count, reservoir_bound(head));
    for (; left != 0; left &= left - 1) {
        const uint64_t candidate = candidates[__builtin_ctzll(left)];
        const uint32_t rank = (uint32_t)(candidate >> 32), held = reservoir_count(head);
        if (rank > reservoir_bound(head))
            continue;
        const __m512i hashes = _mm512_loadu_si512(reservoir->hashes);
        const uint64_t same = _mm512_mask_cmpeq_epi8_mask(first_of_64(held), hashes,
                                                          _mm512_set1_epi8((char)(uint8_t)rank));
        uint32_t at;
        bool recount = held == RESERVOIR_SLOTS;
        if (same != 0) {
            at = (uint32_t)__builtin_ctzll(same);
            const uint64_t before = plain_held(reservoir, at);
            if (candidate >= before)
                continue;
            recount = recount && (uint32_t)(before >> 32) == head >> 8;
        } else if (held < RESERVOIR_SLOTS) {
            at = held;
            head++;
            recount = held + 1 == RESERVOIR_SLOTS;
        } else {
            at = (uint32_t)__builtin_ctzll(
                _mm512_cmpeq_epi8_mask(hashes, _mm512_set1_epi8((char)(uint8_t)(head >> 8))));
        }
        plain_put(reservoir, at, candidate);
        if (recount)
            head = full_head(reservoir);
    }
    return head;
}

// Puts a candidate in the place of one of the same hash, if it is smaller: half of them are, so that asking would be a guess.
INLINE void
put_smaller(struct reservoir *reservoir, uint32_t at, uint64_t candidate)
{
    const uint64_t hash = candidate & 0xff00000000u;
    const uint64_t before = (uint64_t)reservoir->keys[at] << 40 | hash | reservoir->ids[at];
    const uint64_t smaller = candidate < before ? candidate : before;
    reservoir->ids[at] = (uint32_t)smaller;
    reservoir->keys[at] = (uint16_t)(smaller >> 40);
}

INLINE uint64_t
places_of_hash(__m512i hashes, uint32_t held, uint64_t candidate)
{
    return _mm512_mask_cmpeq_epi8_mask(first_of_64(held), hashes,
                                       _mm512_set1_epi8((char)(uint8_t)(candidate >> 32)));
}

// The candidates of `fresh`, whose hashes are not among the first `held`: each but the first of a hash meets one of its own.
INLINE uint32_t
append(struct reservoir *reservoir, uint32_t held, const uint64_t *candidates, uint64_t fresh)
{
    __m512i hashes = _mm512_loadu_si512(reservoir->hashes);
    for (; fresh != 0; fresh &= fresh - 1) {
        const uint64_t candidate = candidates[__builtin_ctzll(fresh)];
        const uint64_t same = places_of_hash(hashes, held, candidate);
        if (same != 0) {
            put_smaller(reservoir, (uint32_t)__builtin_ctzll(same), candidate);
            continue;
        }
        hashes =
            _mm512_mask_set1_epi8(hashes, 1ull << (held & 63), (char)(uint8_t)(candidate >> 32));
        reservoir->ids[held] = (uint32_t)candidate;
        reservoir->keys[held++] = (uint16_t)(candidate >> 40);
    }
    _mm512_storeu_si512(reservoir->hashes, hashes);
    return held;
}

// Most hashes are there already, and are looked for at once, in what nobody has just written to a part of.
static uint32_t
avx512_keep_some(struct reservoir *reservoir, uint32_t head, const uint64_t *candidates,
                 uint32_t count)
{
    const uint32_t held = reservoir_count(head);
    const __m512i hashes = _mm512_loadu_si512(reservoir->hashes);
    uint8_t at[64];
    uint64_t fresh = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t same = places_of_hash(hashes, held, candidates[i]);
        at[i] = (uint8_t)_tzcnt_u64(same);
        fresh |= (uint64_t)(same == 0) << i;
    }
    if (held + (uint32_t)__builtin_popcountll(fresh) > RESERVOIR_SLOTS || held == RESERVOIR_SLOTS)
        return keep_full(reservoir, head, candidates, count);
    for (uint64_t left = first_of_64(count) & ~fresh; left != 0; left &= left - 1) {
        const uint32_t i = (uint32_t)__builtin_ctzll(left);
        put_smaller(reservoir, at[i], candidates[i]);
    }
    const uint32_t now = append(reservoir, held, candidates, fresh);
    return now < RESERVOIR_SLOTS ? head + (now - held) : full_head(reservoir);
}

static uint32_t
avx512_keep(struct reservoir *reservoir, uint32_t head, const uint64_t *candidates, uint32_t count)
{
    for (uint32_t i = 0; i < count; i += 64)
        head = avx512_keep_some(reservoir, head, candidates + i, count - i < 64 ? count - i : 64);
    return head;
}

static void
avx512_candidates(const uint32_t *keys, uint32_t count, const uint32_t *ids, const float *sketches,
                  const float *own, uint64_t *out)
{
    const __m256 mine = _mm256_loadu_ps(own);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t member = keys[i] & TILE_ID_MASK;
        const __m256 theirs = _mm256_loadu_ps(sketches + (size_t)member * TILE_SKETCH);
        const uint64_t hash = _mm256_cmp_ps_mask(theirs, mine, _CMP_GE_OQ);
        out[i] = (uint64_t)(keys[i] >> TILE_KEY_SHIFT) << 40 | hash << 32 | ids[member];
    }
}

// By the upper half of each value: a value's place is how many are smaller. False where two of them are equal.
INLINE bool
order_by_upper(const uint64_t *values, uint32_t count, uint8_t *order)
{
    const __m512i odd =
        _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    const uint32_t vectors = (count + 15) / 16;
    __m512i all[4];
    for (uint32_t v = 0; v < vectors; v++) {
        const uint64_t there = first_of_64(count) >> (v * 16);
        const __m512i none = _mm512_set1_epi64(-1);
        const uint64_t *const from = values + (size_t)v * 16;
        all[v] = _mm512_permutex2var_epi32(
            _mm512_mask_loadu_epi64(none, (__mmask8)there, from), odd,
            _mm512_mask_loadu_epi64(none, (__mmask8)(there >> 8), from + 8));
    }
    uint64_t places = 0;
    for (uint32_t i = 0; i < count; i++) {
        const __m512i one = _mm512_set1_epi32((int)(uint32_t)(values[i] >> 32));
        uint64_t smaller = 0;
        for (uint32_t v = 0; v < vectors; v++)
            smaller = smaller << 16 | _mm512_cmplt_epu32_mask(all[v], one);
        const uint32_t place = (uint32_t)__builtin_popcountll(smaller);
        order[place] = (uint8_t)i;
        places |= 1ull << place;
    }
    return places == first_of_64(count);
}

// As above of whole values, of which no two are equal.
static void
avx512_order(const uint64_t *values, uint32_t count, uint8_t *order)
{
    if (order_by_upper(values, count, order))
        return;
    const uint32_t vectors = (count + 7) / 8;
    __m512i all[8];
    for (uint32_t v = 0; v < vectors; v++) {
        const uint32_t left = count - v * 8;
        const __mmask8 there = (__mmask8)(left >= 8 ? 255u : (1u << left) - 1);
        all[v] = _mm512_mask_loadu_epi64(_mm512_set1_epi64(-1), there, values + (size_t)v * 8);
    }
    for (uint32_t i = 0; i < count; i++) {
        const __m512i one = _mm512_set1_epi64((long long)values[i]);
        uint64_t smaller = 0;
        for (uint32_t v = 0; v < vectors; v++)
            smaller = smaller << 8 | _mm512_cmplt_epu64_mask(all[v], one);
        order[__builtin_popcountll(smaller)] = (uint8_t)i;
    }
}

// Takes a group's distances into the nearest; a bit for each column whose nearest is farther than its own.
INLINE uint64_t
occlude16(__m512 between, uint32_t group, const struct tile_occlusion *occlusion)
{
    const size_t at = (size_t)group * TILE_LANES;
    const __m512 near = _mm512_min_ps(between, _mm512_load_ps(occlusion->nearest + at));
    _mm512_store_ps(occlusion->nearest + at, near);
    return (uint64_t)_mm512_cmp_ps_mask(near, _mm512_load_ps(occlusion->own + at), _CMP_GT_OQ)
           << at;
}

// Bit i of the result: bit order[i].
INLINE uint64_t
bits_in_order(uint64_t bits, const uint8_t *order)
{
    return _mm512_movepi8_mask(
        _mm512_permutexvar_epi8(_mm512_loadu_si512(order), _mm512_movm_epi8(bits)));
}

INLINE uint64_t
occlude_groups(const struct tile_bytes *tile, uint32_t groups,
               const struct tile_occlusion *occlusion)
{
    __m512i dots[TILE_GROUPS];
    one_dots(tile, 0, groups, dots);
    uint64_t farther = 0;
    for (uint32_t g = 0; g < groups; g++)
        farther |=
            occlude16(distances16(tile, &tile->numbers[0], g * TILE_LANES, dots[g]), g, occlusion);
    return bits_in_order(farther, occlusion->order);
}

static uint64_t
avx512_bytes_occlude(const struct tile_bytes *tile, uint32_t groups,
                     const struct tile_occlusion *occlusion)
{
    switch (groups) {
    case 4:
        return occlude_groups(tile, 4, occlusion);
    case 3:
        return occlude_groups(tile, 3, occlusion);
    case 2:
        return occlude_groups(tile, 2, occlusion);
    default:
        return occlude_groups(tile, 1, occlusion);
    }
}

static uint64_t
avx512_floats_occlude(const struct tile_floats *tile, uint32_t groups,
                      const struct tile_occlusion *occlusion)
{
    _Alignas(64) float between[TILE_COLUMNS];
    uint64_t farther = 0;
    avx512_floats_one(tile, groups, between);
    for (uint32_t g = 0; g < groups; g++)
        farther |= occlude16(_mm512_load_ps(between + (size_t)g * TILE_LANES), g, occlusion);
    return bits_in_order(farther, occlusion->order);
}

const struct tile_kernels tiles_avx512 = {
    .pack_bytes = avx512_pack_bytes,
    .bytes = avx512_bytes,
    .floats = avx512_floats,
    .bytes_one = avx512_bytes_one,
    .floats_one = avx512_floats_one,
    .gram = avx512_gram,
    .gram_finish = avx512_gram_finish,
    .assign = avx512_assign,
    .assign_finish = avx512_assign_finish,
    .candidates = avx512_candidates,
    .keep = avx512_keep,
    .order = avx512_order,
    .bytes_occlude = avx512_bytes_occlude,
    .floats_occlude = avx512_floats_occlude,
};
