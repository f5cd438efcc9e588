// index/kernel/half.c -- IEEE binary16 in plain integer arithmetic.
//
// Shape: value. The vector tables use the processor's conversions, which round the same way; a test holds them
// to these for all 65,536 halves and for the ties.
#include <string.h>

#include "index/kernel/kernel.h"

float
half_to_float(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    const uint32_t exponent = half >> 10 & 31u;
    uint32_t fraction = half & 1023u;
    uint32_t bits;
    if (exponent == 31) {
        bits = sign | 0x7f800000u | fraction << 13;
    } else if (exponent != 0) {
        bits = sign | (exponent + 112) << 23 | fraction << 13;
    } else if (fraction == 0) {
        bits = sign;
    } else { // subnormal: fraction * 2^-24, normalised
        uint32_t shift = 0;
        while ((fraction & 1024u) == 0) {
            fraction <<= 1;
            shift++;
        }
        bits = sign | (113 - shift) << 23 | (fraction & 1023u) << 13;
    }
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

uint16_t
float_to_half(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u);
    if (bits >= 0x477ff000u) // rounds to 65536 or more
        return (uint16_t)(sign | 0x7c00u);
    if (bits < 0x33000001u) // at most half of the smallest subnormal: ties to zero
        return sign;
    const uint32_t exponent = bits >> 23;
    uint32_t fraction = (bits & 0x7fffffu) | 0x800000u;
    const uint32_t drop = exponent < 113 ? 126 - exponent : 13;
    const uint32_t half_way = 1u << (drop - 1);
    const uint32_t rest = fraction & ((1u << drop) - 1);
    fraction >>= drop;
    if (rest > half_way || (rest == half_way && (fraction & 1) != 0))
        fraction++;
    if (exponent < 113)
        return (uint16_t)(sign | fraction);
    return (uint16_t)(sign | (((exponent - 113) << 10) + fraction));
}
