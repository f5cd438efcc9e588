// gpu/measure.cu -- how far apart rows are that lists name: products of single pairs.
//
// Shape: kernel.
//
// A warp has a list, of which it measures PAIRS keys at a time: each lane multiplies four components, 32 lanes a line of a row. What
// binds is the reading of rows that lie anywhere, so several are asked for before the first is needed. Tensor cores would multiply
// rows of a list with each other, which nobody asks for.
#include "gpu/cuda_int.cuh"

#define THREADS 256u
#define WARPS (THREADS / 32u)
#define PAIRS 4u

static __device__ __forceinline__ const int *
words_of(const struct device_rows &rows, uint32_t row)
{
    return (const int *)(rows.codes + (size_t)row * rows.stride);
}

// Products of the row with others; the whole warp gets them.
static __device__ __forceinline__ void
multiply_pairs(const struct device_rows &rows, uint32_t row, const uint32_t (&others)[PAIRS],
               int32_t (&dots)[PAIRS])
{
    const int *const own = words_of(rows, row);
#pragma unroll
    for (uint32_t p = 0; p < PAIRS; p++)
        dots[p] = 0;
    for (uint32_t w = threadIdx.x % 32; w < rows.stride / 4; w += 32) {
        const int word = own[w];
#pragma unroll
        for (uint32_t p = 0; p < PAIRS; p++)
            dots[p] = __dp4a(word, words_of(rows, others[p])[w], dots[p]);
    }
#pragma unroll
    for (uint32_t p = 0; p < PAIRS; p++)
        for (uint32_t apart = 16; apart > 0; apart /= 2)
            dots[p] += __shfl_xor_sync(0xffffffffu, dots[p], apart);
}

static __global__ void
__launch_bounds__(THREADS) measure_kernel(struct device_measure measure)
{
    const uint32_t i = blockIdx.x * WARPS + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (i >= measure.count) // the whole warp
        return;
    const struct device_rows rows = measure.rows;
    const uint32_t row = measure.first + i;
    const struct byte_meta own = rows.metas[row];
    uint64_t *const keys = measure.keys + (size_t)i * measure.width;
    for (uint32_t k = 0; k < measure.width; k += PAIRS) {
        uint64_t key[PAIRS];
        uint32_t others[PAIRS];
        int32_t dots[PAIRS];
#pragma unroll
        for (uint32_t p = 0; p < PAIRS; p++) {
            key[p] = k + p < measure.width ? keys[k + p] : KEY_NONE;
            others[p] = key[p] != KEY_NONE ? key_row(key[p]) : row;
        }
        multiply_pairs(rows, row, others, dots);
#pragma unroll
        for (uint32_t p = 0; p < PAIRS; p++) {
            if (lane != p || key[p] == KEY_NONE)
                continue;
            const struct byte_meta other = rows.metas[others[p]];
            keys[k + p] = key_of(pair_distance(own.factor, own.norm, other.factor, other.norm,
                                               dots[p], rows.ip != 0, rows.radius2),
                                 others[p]);
        }
    }
}

omen_status
cuda_measure(struct device *device, const struct device_measure *measure)
{
    if (measure->count == 0)
        return OMEN_OK;
    measure_kernel<<<(measure->count + WARPS - 1) / WARPS, THREADS, 0, device->stream>>>(*measure);
    return cuda_launched(device, "measure");
}
