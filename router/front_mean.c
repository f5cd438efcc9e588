// router/front_mean.c -- the middle of some vectors, pushed away from that of others.
//
// Shape: value.
#include "router/front_mean.h"

#include <math.h>
#include <string.h>

#include "base/assert.h"
#include "base/float_bits.h"

#define COSINE 0 // omen_metric

static float
half_to_float(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31;
    const uint32_t fraction = half & 1023u;
    if (exponent == 31)
        return bits_float(sign | 0x7f800000u | fraction << 13);
    if (exponent == 0) // below the normal ones: so many 2^-24
        return ldexpf((float)fraction, -24) * (sign != 0 ? -1.0f : 1.0f);
    return bits_float(sign | (exponent + 112) << 23 | fraction << 13);
}

static void
to_floats(const struct wire_vectors *vector, float *out)
{
    const uint8_t *at = vector->bytes.bytes;
    for (uint32_t i = 0; i < vector->count; i++) {
        const uint16_t two = vector->dtype == WIRE_F16 || vector->dtype == WIRE_BF16
                                 ? (uint16_t)(at[2 * i] | at[2 * i + 1] << 8)
                                 : 0;
        switch (vector->dtype) {
        case WIRE_F16:
            out[i] = half_to_float(two);
            break;
        case WIRE_BF16:
            out[i] = bits_float((uint32_t)two << 16);
            break;
        case WIRE_I8:
            out[i] = (float)(int8_t)at[i];
            break;
        case WIRE_U8:
            out[i] = (float)at[i];
            break;
        default:
            memcpy(&out[i], at + 4 * i, 4);
        }
    }
}

void
mean_add(struct mean *mean, enum mean_side side, const struct wire_vectors *vector, float *row)
{
    double *sums = mean->sums + (side == MEAN_NEGATIVE ? mean->dimension : 0);
    double length = 1;
    ASSERT(vector->form == VECTORS_RAW && vector->count == mean->dimension);
    to_floats(vector, row);
    if (mean->metric == COSINE) {
        double norm2 = 0;
        for (uint32_t i = 0; i < mean->dimension; i++)
            norm2 += (double)row[i] * row[i];
        length = norm2 > 0 ? sqrt(norm2) : 1;
    }
    for (uint32_t i = 0; i < mean->dimension; i++)
        sums[i] += row[i] / length;
    mean->counts[side]++;
}

void
mean_end(const struct mean *mean, float *out)
{
    const double *negative = mean->sums + mean->dimension;
    ASSERT(mean->counts[MEAN_POSITIVE] > 0);
    for (uint32_t i = 0; i < mean->dimension; i++) {
        const double middle = mean->sums[i] / mean->counts[MEAN_POSITIVE];
        out[i] = (float)(mean->counts[MEAN_NEGATIVE] == 0
                             ? middle
                             : 2 * middle - negative[i] / mean->counts[MEAN_NEGATIVE]);
    }
}
