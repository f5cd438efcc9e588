// index/vector.c -- conversions and the sums that must come out the same everywhere.
//
// Shape: value.
#include "index/vector.h"

#include <math.h>
#include <string.h>

#include "base/float_bits.h"
#include "index/kernel/kernel.h"

static uint16_t
float_to_bfloat(float value)
{
    const uint32_t bits = float_bits(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u); // keep a NaN a NaN
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

void
vector_to_f32(enum vector_type type, const void *row, uint32_t dim, float *out)
{
    const uint8_t *bytes = row;
    switch (type) {
    case VECTOR_F32:
        memcpy(out, row, (size_t)dim * sizeof *out);
        break;
    case VECTOR_F16:
        for (uint32_t i = 0; i < dim; i++) {
            uint16_t half;
            memcpy(&half, bytes + (size_t)i * 2, 2);
            out[i] = half_to_float(half);
        }
        break;
    case VECTOR_BF16:
        for (uint32_t i = 0; i < dim; i++) {
            uint16_t upper;
            memcpy(&upper, bytes + (size_t)i * 2, 2);
            out[i] = bits_float((uint32_t)upper << 16);
        }
        break;
    case VECTOR_I8:
        for (uint32_t i = 0; i < dim; i++)
            out[i] = (float)(int8_t)bytes[i];
        break;
    case VECTOR_U8:
        for (uint32_t i = 0; i < dim; i++)
            out[i] = (float)bytes[i];
        break;
    }
}

static float
clamp(float value, float low, float high)
{
    return value < low ? low : value > high ? high : value;
}

void
vector_from_f32(enum vector_type type, const float *values, uint32_t dim, void *row)
{
    uint8_t *bytes = row;
    switch (type) {
    case VECTOR_F32:
        memcpy(row, values, (size_t)dim * sizeof *values);
        break;
    case VECTOR_F16:
    case VECTOR_BF16:
        for (uint32_t i = 0; i < dim; i++) {
            const uint16_t half =
                type == VECTOR_F16 ? float_to_half(values[i]) : float_to_bfloat(values[i]);
            memcpy(bytes + (size_t)i * 2, &half, 2);
        }
        break;
    case VECTOR_I8:
        for (uint32_t i = 0; i < dim; i++)
            bytes[i] = (uint8_t)(int8_t)lrintf(clamp(values[i], -128.0f, 127.0f));
        break;
    case VECTOR_U8:
        for (uint32_t i = 0; i < dim; i++)
            bytes[i] = (uint8_t)lrintf(clamp(values[i], 0.0f, 255.0f));
        break;
    }
}

// Clamped before it is converted, because what does not fit an integer must not be; NaN becomes `low`, which it is not.
static inline uint32_t
integer_or_not(float value, float low, float high, uint8_t *out)
{
    const float above = value > low ? value : low;
    const int32_t whole = (int32_t)(above < high ? above : high);
    *out = (uint8_t)whole;
    return (float)whole != value;
}

bool
vector_to_integers(enum vector_type type, const float *values, uint32_t dim, void *row)
{
    uint8_t *bytes = row;
    uint32_t others = 0;
    if (type == VECTOR_I8)
        for (uint32_t i = 0; i < dim; i++)
            others |= integer_or_not(values[i], -128.0f, 127.0f, &bytes[i]);
    else
        for (uint32_t i = 0; i < dim; i++)
            others |= integer_or_not(values[i], 0.0f, 255.0f, &bytes[i]);
    return others == 0;
}

#define LANES 16u

// In vectors of the width that every processor has, because compilers make poor ones of loops over lanes.
float
vector_dot(const float *a, const float *b, uint32_t dim)
{
    typedef float quad __attribute__((vector_size(16)));
    quad sums[LANES / 4] = {{0}};
    uint32_t i = 0;
    for (; i + LANES <= dim; i += LANES)
        for (uint32_t q = 0; q < LANES / 4; q++) {
            quad x, y;
            memcpy(&x, a + i + q * 4, sizeof x);
            memcpy(&y, b + i + q * 4, sizeof y);
            sums[q] += x * y;
        }
    float sum[LANES];
    memcpy(sum, sums, sizeof sum);
    for (uint32_t j = 0; i + j < dim; j++)
        sum[j] += a[i + j] * b[i + j];
    for (uint32_t half = LANES / 2; half > 0; half /= 2)
        for (uint32_t j = 0; j < half; j++)
            sum[j] += sum[j + half];
    return sum[0];
}

float
vector_norm2(const float *values, uint32_t dim)
{
    return vector_dot(values, values, dim);
}
