// gpu/list_int.cuh -- sorted lists of keys that a warp holds in its registers, and small functions of searches.
//
// Shape: kernel.
//
// A list of KPL * 32 keys lies striped: place p is register p / 32 of lane p % 32. All lanes call with the same key. One key
// at a time is put at its place: most of what a walk meets is too far for the list, and two keys in a batch of 32 are cheaper
// put so than sorted.
#ifndef OMEN_GPU_LIST_INT_CUH
#define OMEN_GPU_LIST_INT_CUH
#include <cuda_fp16.h>

#include "gpu/cuda_int.cuh"
#include "gpu/search.h"

#define ALL_LANES 0xffffffffu
#define KEY_FLAG 1ull

template <int KPL>
static __device__ __forceinline__ void
list_clear(uint64_t (&list)[KPL])
{
#pragma unroll
    for (int j = 0; j < KPL; j++)
        list[j] = KEY_NONE;
}

// Puts a key, whose flag is not set, where it is near enough and not there with or without its flag.
template <int KPL>
static __device__ __forceinline__ void
list_put(uint64_t (&list)[KPL], uint64_t key, uint32_t lane)
{
    uint32_t place = 0;
    bool there = false;
#pragma unroll
    for (int j = 0; j < KPL; j++) {
        place += __popc(__ballot_sync(ALL_LANES, list[j] < key));
        there |= (list[j] | KEY_FLAG) == (key | KEY_FLAG);
    }
    if (__any_sync(ALL_LANES, there) || place >= KPL * 32)
        return;
#pragma unroll
    for (int j = KPL - 1; j >= 0; j--) {
        if (j * 32 + 31 < place) // all before it: stays
            continue;
        uint64_t before = __shfl_up_sync(ALL_LANES, list[j], 1);
        const uint64_t carried = j > 0 ? __shfl_sync(ALL_LANES, list[j > 0 ? j - 1 : 0], 31) : 0;
        if (lane == 0)
            before = carried;
        const uint32_t own = j * 32 + lane;
        list[j] = own < place ? list[j] : own == place ? key : before;
    }
}

// The key at a place.
template <int KPL>
static __device__ __forceinline__ uint64_t
list_at(const uint64_t (&list)[KPL], uint32_t place)
{
    uint64_t key = KEY_NONE;
#pragma unroll
    for (int j = 0; j < KPL; j++) {
        const uint64_t there = __shfl_sync(ALL_LANES, list[j], place % 32);
        key = place / 32 == j ? there : key;
    }
    return key;
}

// Keys whose distance may be below zero: bits that sort like the number.
static __device__ __forceinline__ uint64_t
ordered_key(float distance, uint32_t row)
{
    uint32_t bits = __float_as_uint(distance);
    bits ^= bits >> 31 != 0 ? 0xffffffffu : 0x80000000u;
    return (uint64_t)bits << 32 | (uint64_t)row << 1;
}

static __device__ __forceinline__ struct hit
ordered_hit(uint64_t key)
{
    struct hit hit;
    if (key == KEY_NONE) {
        hit.distance = __uint_as_float(0x7f800000u);
        hit.slot = 0xffffffffu;
        return hit;
    }
    uint32_t bits = (uint32_t)(key >> 32);
    bits ^= bits >> 31 != 0 ? 0x80000000u : 0xffffffffu;
    hit.distance = __uint_as_float(bits);
    hit.slot = key_row(key);
    return hit;
}

static __device__ __forceinline__ bool
may_answer(const uint32_t *erased, const uint32_t *allowed, uint32_t row)
{
    if (erased != NULL && (erased[row / 32] >> (row % 32) & 1) != 0)
        return false;
    return allowed == NULL || (allowed[row / 32] >> (row % 32) & 1) != 0;
}

// Component `at` of all components of all rows.
template <int TYPE>
static __device__ __forceinline__ float
load_component(const void *rows, size_t at)
{
    if (TYPE == VECTOR_F32)
        return ((const float *)rows)[at];
    if (TYPE == VECTOR_F16)
        return __half2float(((const __half *)rows)[at]);
    if (TYPE == VECTOR_BF16)
        return __uint_as_float((uint32_t)((const uint16_t *)rows)[at] << 16);
    if (TYPE == VECTOR_I8)
        return (float)((const int8_t *)rows)[at];
    return (float)((const uint8_t *)rows)[at];
}

static __device__ __forceinline__ float
metric_finish(enum metric metric, float sum, float norm2)
{
    if (metric == METRIC_L2)
        return sum;
    if (metric == METRIC_IP)
        return __fsub_rn(1.0f, sum);
    return norm2 > 0.0f ? __fsub_rn(1.0f, __fdiv_rn(sum, __fsqrt_rn(norm2))) : 1.0f;
}

#endif
