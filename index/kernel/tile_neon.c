// index/kernel/tile_neon.c -- tiles with the dot-product extension.
//
// Shape: kernel.
//
// sdot multiplies signed bytes, so the rows' bias is taken off too: what is left of the start is zero.
#include <arm_neon.h>

#include "index/kernel/tile_plain.h"

static void
neon_rows(const struct tile_bytes *tile, uint32_t rows, uint32_t groups, float *out)
{
    for (uint32_t group = 0; group < groups; group++) {
        const int8_t *at = tile->columns + (size_t)group * tile->bytes * TILE_LANES;
        int32x4_t sums[TILE_ROWS][4];
        for (uint32_t row = 0; row < rows; row++)
            for (uint32_t q = 0; q < 4; q++)
                sums[row][q] = vdupq_n_s32(0);
        for (uint32_t b = 0; b < tile->bytes; b += 4, at += 64) {
            int8x16_t columns[4];
            for (uint32_t q = 0; q < 4; q++)
                columns[q] = vld1q_s8(at + q * 16);
            for (uint32_t row = 0; row < rows; row++) {
                uint32_t unit;
                memcpy(&unit, tile->rows[row] + b, sizeof unit);
                const int8x16_t one = vreinterpretq_s8_u32(vdupq_n_u32(unit ^ 0x80808080u));
                for (uint32_t q = 0; q < 4; q++)
                    sums[row][q] = vdotq_s32(sums[row][q], columns[q], one);
            }
        }
        for (uint32_t row = 0; row < rows; row++)
            for (uint32_t q = 0; q < 4; q++) {
                int32_t dots[4];
                vst1q_s32(dots, sums[row][q]);
                for (uint32_t lane = 0; lane < 4; lane++) {
                    const uint32_t column = group * TILE_LANES + q * 4 + lane;
                    out[(size_t)row * TILE_COLUMNS + column] =
                        plain_distance(tile, row, column, dots[lane]);
                }
            }
    }
}

static void
neon_bytes(const struct tile_bytes *tile, float *out)
{
    neon_rows(tile, TILE_ROWS, TILE_GROUPS, out);
}

static void
neon_bytes_one(const struct tile_bytes *tile, uint32_t groups, float *out)
{
    neon_rows(tile, 1, groups, out);
}

static uint64_t
neon_bytes_occlude(const struct tile_bytes *tile, uint32_t groups,
                   const struct tile_occlusion *occlusion)
{
    float between[TILE_COLUMNS];
    neon_rows(tile, 1, groups, between);
    return plain_occlude(between, groups, occlusion);
}

const struct tile_kernels tiles_neon = {
    .pack_bytes = plain_pack_bytes,
    .bytes = neon_bytes,
    .floats = plain_floats,
    .bytes_one = neon_bytes_one,
    .floats_one = plain_floats_one,
    .gram = plain_gram,
    .gram_finish = plain_gram_finish,
    .assign = plain_assign,
    .assign_finish = plain_assign_finish,
    .candidates = plain_candidates,
    .keep = plain_keep,
    .order = plain_order,
    .bytes_occlude = neon_bytes_occlude,
    .floats_occlude = plain_floats_occlude,
};
