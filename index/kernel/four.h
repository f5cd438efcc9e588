// index/kernel/four.h -- rows are compared by their codes four at a time: what of that does not depend on the table.
//
// Shape: kernel. For the tables. What x86's share is there where their flags are.
#ifndef OMEN_INDEX_KERNEL_FOUR_H
#define OMEN_INDEX_KERNEL_FOUR_H
#include <stdint.h>

#include "index/kernel/kernel.h"

// The last four are whole: the last row is there again.
static inline void
four_fill(const uint8_t **rows, uint32_t count)
{
    for (uint32_t i = count; (i & 3) != 0; i++)
        rows[i] = rows[count - 1];
}

// Of the rows by bits, those that were asked for.
static inline uint32_t
four_asked(uint32_t below, uint32_t count)
{
    return count < 32 ? below & ((1u << count) - 1) : below;
}

#ifdef __AVX2__
#include <immintrin.h>

// Of the bits that four rows lend: their factors, then their norms.
static inline __m256
four_meta(__m128i bits)
{
    const __m128i factors_first =
        _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
    return _mm256_cvtph_ps(_mm_shuffle_epi8(bits, factors_first));
}

static inline __m128
four_nibble(const struct nibble_query *query, __m128i dots, __m256 meta)
{
    const __m128 dot = _mm_cvtepi32_ps(dots);
    const __m128 factor =
        _mm_mul_ps(_mm256_castps256_ps128(meta), _mm_set1_ps(query->factor_scale));
    const __m128 norm = _mm_mul_ps(_mm256_extractf128_ps(meta, 1), _mm_set1_ps(query->norm_scale));
    const __m128 distance =
        _mm_sub_ps(_mm_add_ps(norm, _mm_set1_ps(query->offset)),
                   _mm_mul_ps(factor, _mm_sub_ps(dot, _mm_set1_ps(query->center))));
    return _mm_max_ps(distance, _mm_setzero_ps());
}

// `owns` are the sums of n (n - 15) of the nibbles n.
static inline __m128
four_glance(const struct glance_query *query, __m128i dots, __m128i owns, __m256 meta)
{
    const __m128 dot = _mm_cvtepi32_ps(dots);
    const __m128 own = _mm_add_ps(_mm_cvtepi32_ps(owns), _mm_set1_ps(112.5f * (float)query->bytes));
    const __m128 factor = _mm256_castps256_ps128(meta);
    const __m128 norm = _mm_mul_ps(_mm256_extractf128_ps(meta, 1), _mm_set1_ps(query->norm_scale));
    const __m128 squares = _mm_add_ps(
        _mm_mul_ps(_mm_mul_ps(factor, factor), _mm_mul_ps(own, _mm_set1_ps(query->own_scale))),
        _mm_set1_ps(query->offset));
    const __m128 product = _mm_mul_ps(_mm_mul_ps(factor, _mm_set1_ps(query->factor_scale)),
                                      _mm_sub_ps(dot, _mm_set1_ps(query->center)));
    return _mm_sub_ps(squares, _mm_add_ps(product, norm));
}
#endif

#endif
