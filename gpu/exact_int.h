// gpu/exact_int.h -- distances to rows in the one order of additions that devices keep to.
//
// Shape: kernel. For the oracles; list_int.cuh has the same for the device.
//
// Component i is added by lane i % 32, each lane from its first to its last, and then the lanes in pairs 16, 8, 4, 2, 1
// apart. knn adds from the first component to the last, each with one rounding (fma).
#ifndef OMEN_GPU_EXACT_INT_H
#define OMEN_GPU_EXACT_INT_H
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "gpu/search.h"
#include "index/vector.h"

#define EXACT_LANES 32u

static inline bool
row_may_answer(const uint32_t *erased, const uint32_t *allowed, uint32_t row)
{
    if (erased != NULL && (erased[row / 32] >> (row % 32) & 1) != 0)
        return false;
    return allowed == NULL || (allowed[row / 32] >> (row % 32) & 1) != 0;
}

// Keys whose distance may be below zero: bits that sort like the number.
static inline uint64_t
ordered_key(float distance, uint32_t row)
{
    uint32_t bits;
    memcpy(&bits, &distance, sizeof bits);
    bits ^= (bits >> 31) != 0 ? UINT32_MAX : 0x80000000u;
    return (uint64_t)bits << 32 | (uint64_t)row << 1;
}

static inline struct hit
ordered_hit(uint64_t key)
{
    uint32_t bits = (uint32_t)(key >> 32);
    bits ^= (bits >> 31) != 0 ? 0x80000000u : UINT32_MAX;
    struct hit hit = {.slot = (uint32_t)key >> 1};
    memcpy(&hit.distance, &bits, sizeof bits);
    return hit;
}

static inline float
vector_component(const struct device_vectors *vectors, uint32_t row, uint32_t i)
{
    const size_t bytes = vector_type_bytes(vectors->type);
    float value;
    vector_to_f32(vectors->type,
                  (const uint8_t *)vectors->rows + ((size_t)row * vectors->dim + i) * bytes, 1,
                  &value);
    return value;
}

static inline float
lanes_sum(float *lanes)
{
    for (uint32_t apart = EXACT_LANES / 2; apart > 0; apart /= 2)
        for (uint32_t i = 0; i < apart; i++)
            lanes[i] += lanes[i + apart];
    return lanes[0];
}

// What a sum over components is as a distance.
static inline float
metric_finish(enum metric metric, float sum, float norm2)
{
    if (metric == METRIC_L2)
        return sum;
    if (metric == METRIC_IP)
        return 1.0f - sum;
    return norm2 > 0.0f ? 1.0f - sum / sqrtf(norm2) : 1.0f;
}

static inline float
exact_distance(const struct device_vectors *vectors, const float *query, uint32_t row)
{
    float sums[EXACT_LANES] = {0}, norms[EXACT_LANES] = {0};
    for (uint32_t i = 0; i < vectors->dim; i++) {
        const float x = vector_component(vectors, row, i), q = query[i];
        const float apart = q - x;
        sums[i % EXACT_LANES] += vectors->metric == METRIC_L2 ? apart * apart : q * x;
        norms[i % EXACT_LANES] += x * x;
    }
    const float sum = lanes_sum(sums);
    return metric_finish(vectors->metric, sum, lanes_sum(norms));
}

#endif
