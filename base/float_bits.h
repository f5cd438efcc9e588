// base/float_bits.h -- a float's or a double's bits as a number, and back.
//
// Shape:   value.
// Threads: any.
#ifndef OMEN_BASE_FLOAT_BITS_H
#define OMEN_BASE_FLOAT_BITS_H
#include <stdint.h>
#include <string.h>

static inline float
bits_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t
float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline double
bits_double(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint64_t
double_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

#endif
