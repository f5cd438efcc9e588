// index/kernel/tile_avx2.c -- tiles with AVX2.
//
// Shape: kernel. Compiled with its own flags; called only when kernels_list found the features.
//
// Products of unsigned and signed bytes would saturate in pairs, so both are widened to 16 bits: even bytes and odd ones apart,
// which needs no shuffle. The other loops are the oracle's, which the compiler makes vectors of.
#include <immintrin.h>

#include "index/kernel/kinds.h"
#include "index/kernel/tile_plain.h"

#define ROWS_AT_ONCE 3u

// `rows` rows against the eight columns at `columns`.
INLINE void
dots8(const uint8_t *const *rows, uint32_t count, const int8_t *columns, uint32_t bytes,
      __m256i *sums)
{
    const __m256i low = _mm256_set1_epi16(255);
    for (uint32_t b = 0; b < bytes; b += 4, columns += (size_t)4 * TILE_LANES) {
        const __m256i eight = _mm256_loadu_si256((const __m256i *)columns);
        const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(eight, 8), 8);
        const __m256i odd = _mm256_srai_epi16(eight, 8);
        for (uint32_t r = 0; r < count; r++) {
            int32_t unit;
            memcpy(&unit, rows[r] + b, sizeof unit);
            const __m256i one = _mm256_set1_epi32(unit);
            const __m256i one_even = _mm256_and_si256(one, low);
            const __m256i one_odd = _mm256_srli_epi16(one, 8);
            sums[r] = _mm256_add_epi32(sums[r], _mm256_add_epi32(_mm256_madd_epi16(even, one_even),
                                                                 _mm256_madd_epi16(odd, one_odd)));
        }
    }
}

INLINE void
distances8(const struct tile_bytes *tile, uint32_t row, uint32_t column, __m256i dots, float *out)
{
    const struct tile_numbers *numbers = &tile->numbers[row];
    const __m256 scales =
        _mm256_mul_ps(_mm256_set1_ps(numbers->scale), _mm256_loadu_ps(tile->scales + column));
    __m256 product = _mm256_mul_ps(scales, _mm256_cvtepi32_ps(dots));
    if (tile->extras != NULL)
        product = _mm256_add_ps(product, _mm256_mul_ps(_mm256_set1_ps(numbers->extra),
                                                       _mm256_loadu_ps(tile->extras + column)));
    const __m256 sum =
        _mm256_add_ps(_mm256_set1_ps(numbers->add), _mm256_loadu_ps(tile->adds + column));
    const __m256 distance = _mm256_sub_ps(sum, _mm256_add_ps(product, product));
    _mm256_storeu_ps(out, _mm256_max_ps(distance, _mm256_setzero_ps()));
}

INLINE void
rows_of_bytes(const struct tile_bytes *tile, uint32_t first, uint32_t count, uint32_t groups,
              float *out)
{
    for (uint32_t column = 0; column < groups * TILE_LANES; column += 8) {
        const int8_t *at = tile->columns +
                           (size_t)(column / TILE_LANES) * tile->bytes * TILE_LANES +
                           (size_t)(column % TILE_LANES) * 4;
        const __m256i starts = _mm256_loadu_si256((const __m256i *)(tile->starts + column));
        __m256i sums[ROWS_AT_ONCE];
        for (uint32_t r = 0; r < count; r++)
            sums[r] = starts;
        dots8(tile->rows + first, count, at, tile->bytes, sums);
        for (uint32_t r = 0; r < count; r++)
            distances8(tile, first + r, column, sums[r],
                       out + (size_t)(first + r) * TILE_COLUMNS + column);
    }
}

static void
avx2_bytes(const struct tile_bytes *tile, float *out)
{
    for (uint32_t first = 0; first < TILE_ROWS; first += ROWS_AT_ONCE)
        rows_of_bytes(tile, first, ROWS_AT_ONCE, TILE_GROUPS, out);
}

static void
avx2_bytes_one(const struct tile_bytes *tile, uint32_t groups, float *out)
{
    rows_of_bytes(tile, 0, 1, groups, out);
}

static uint64_t
avx2_bytes_occlude(const struct tile_bytes *tile, uint32_t groups,
                   const struct tile_occlusion *occlusion)
{
    float between[TILE_COLUMNS];
    rows_of_bytes(tile, 0, 1, groups, between);
    return plain_occlude(between, groups, occlusion);
}

static void
avx2_candidates(const uint32_t *keys, uint32_t count, const uint32_t *ids, const float *sketches,
                const float *own, uint64_t *out)
{
    const __m256 mine = _mm256_loadu_ps(own);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t member = keys[i] & TILE_ID_MASK;
        const __m256 theirs = _mm256_loadu_ps(sketches + (size_t)member * TILE_SKETCH);
        const uint64_t hash = (uint64_t)_mm256_movemask_ps(_mm256_cmp_ps(theirs, mine, _CMP_GE_OQ));
        out[i] = (uint64_t)(keys[i] >> TILE_KEY_SHIFT) << 40 | hash << 32 | ids[member];
    }
}

const struct tile_kernels tiles_avx2 = {
    .pack_bytes = plain_pack_bytes,
    .bytes = avx2_bytes,
    .floats = plain_floats,
    .bytes_one = avx2_bytes_one,
    .floats_one = plain_floats_one,
    .gram = plain_gram,
    .gram_finish = plain_gram_finish,
    .assign = plain_assign,
    .assign_finish = plain_assign_finish,
    .candidates = avx2_candidates,
    .keep = plain_keep,
    .order = plain_order,
    .bytes_occlude = avx2_bytes_occlude,
    .floats_occlude = plain_floats_occlude,
};
