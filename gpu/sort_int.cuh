// gpu/sort_int.cuh -- keys of one warp in order: key i * 32 + l of the list is in register i of lane l.
//
// Shape: kernel. Bitonic (Batcher 1968): no branch depends on a key.
#ifndef OMEN_GPU_SORT_INT_CUH
#define OMEN_GPU_SORT_INT_CUH
#include <stdint.h>

#define WARP_ALL 0xffffffffu

static __device__ __forceinline__ uint64_t
key_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static __device__ __forceinline__ uint64_t
key_max(uint64_t a, uint64_t b)
{
    return a < b ? b : a;
}

// Compares keys `stride` apart; those whose index has no bit of `size` end ascending, the others descending.
template <int registers>
static __device__ __forceinline__ void
sort_step(uint64_t (&keys)[registers], uint32_t size, uint32_t stride)
{
    const uint32_t lane = threadIdx.x % 32;
    if (stride >= 32) {
        const uint32_t apart = stride / 32;
#pragma unroll
        for (uint32_t i = 0; i < registers; i++) {
            if ((i & apart) != 0)
                continue;
            const bool ascending = (i * 32 & size) == 0; // size > stride >= 32
            const uint64_t low = key_min(keys[i], keys[i ^ apart]);
            const uint64_t high = key_max(keys[i], keys[i ^ apart]);
            keys[i] = ascending ? low : high;
            keys[i ^ apart] = ascending ? high : low;
        }
        return;
    }
#pragma unroll
    for (uint32_t i = 0; i < registers; i++) {
        const uint64_t other = __shfl_xor_sync(WARP_ALL, keys[i], stride);
        const bool ascending = ((i * 32 + lane) & size) == 0, lower = (lane & stride) == 0;
        keys[i] = ascending == lower ? key_min(keys[i], other) : key_max(keys[i], other);
    }
}

// Puts all in order. registers is a power of two.
template <int registers>
static __device__ __forceinline__ void
sort_keys(uint64_t (&keys)[registers])
{
#pragma unroll
    for (uint32_t size = 2; size <= registers * 32; size *= 2)
#pragma unroll
        for (uint32_t stride = size / 2; stride > 0; stride /= 2)
            sort_step<registers>(keys, size, stride);
}

// Puts in order what rises and then falls, or falls and then rises.
template <int registers>
static __device__ __forceinline__ void
sort_bitonic(uint64_t (&keys)[registers])
{
#pragma unroll
    for (uint32_t stride = registers * 16; stride > 0; stride /= 2)
        sort_step<registers>(keys, registers * 32, stride);
}

// Puts a warp's keys, one a lane, into a sorted list of k <= registers * 32 in memory; returns the list's last key. Lane l reads
// what lane l wrote.
template <int registers>
static __device__ __forceinline__ uint64_t
list_take(uint64_t *list, uint32_t k, uint64_t key)
{
    const uint32_t lane = threadIdx.x % 32;
    uint64_t queue[1] = {key}, keys[registers];
#pragma unroll
    for (uint32_t r = 0; r < registers; r++) { // volatile: on its way while the queue is sorted
        const uint32_t at = r * 32 + lane;
        keys[r] = *(const volatile uint64_t *)&list[at < k ? at : k - 1];
        keys[r] = at < k ? keys[r] : ~0ull;
    }
    sort_keys<1>(queue);
    // The least of a sorted list and a sorted queue that runs the other way rise and then fall.
    const uint64_t turned = __shfl_sync(WARP_ALL, queue[0], 31 - lane);
    keys[registers - 1] = key_min(keys[registers - 1], turned);
    sort_bitonic<registers>(keys);
    uint64_t last = 0;
#pragma unroll
    for (uint32_t r = 0; r < registers; r++) {
        if (r * 32 + lane < k)
            list[r * 32 + lane] = keys[r];
        const uint64_t here = __shfl_sync(WARP_ALL, keys[r], (k - 1) % 32);
        last = (k - 1) / 32 == r ? here : last;
    }
    return last;
}

#endif
