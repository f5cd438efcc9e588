// gpu/rows.cu -- coded rows: planes joined to signed components, and some rows copied one behind the other.
//
// Shape: kernel. Both are bound by memory.
#include "gpu/cuda_int.cuh"

#define THREADS 256u
#define LENT_BYTES 32u // index/kernel/kernel.h: NIBBLE_META_BYTES

// One thread a byte of a row's planes: two components. Threads of a warp read and write side by side.
static __global__ void
join_kernel(struct device_join join)
{
    const uint32_t row = blockIdx.x;
    const uint8_t *high = join.high + (size_t)row * join.row_bytes;
    const uint8_t *low = join.low + (size_t)row * join.row_bytes;
    int8_t *out = join.codes + (size_t)row * join.stride;
    for (uint32_t i = threadIdx.x; i < join.row_bytes; i += blockDim.x) {
        const uint32_t start = i / 64 * 64, j = i - start;
        const uint32_t width = join.row_bytes - start < 64 ? join.row_bytes - start : 64;
        const uint32_t h = high[i], l = low[i];
        // Where the high plane lends its lowest bit, the low plane has bits 4..1.
        const uint32_t first =
            i < LENT_BYTES ? (h & 14) << 4 | (l & 15) << 1 : (h & 15) << 4 | (l & 15);
        const uint32_t second = (h & 0xf0) | l >> 4;
        out[start * 2 + j] = (int8_t)(first ^ 0x80);
        out[start * 2 + width + j] = (int8_t)(second ^ 0x80);
    }
    for (uint32_t i = join.row_bytes * 2 + threadIdx.x; i < join.stride; i += blockDim.x)
        out[i] = 0;
}

omen_status
cuda_join(struct device *device, const struct device_join *join)
{
    if (join->count == 0)
        return OMEN_OK;
    const uint32_t threads =
        join->row_bytes >= THREADS ? THREADS : (join->row_bytes + 31) / 32 * 32;
    join_kernel<<<join->count, threads, 0, device->stream>>>(*join);
    return cuda_launched(device, "join");
}

static __global__ void
gather_kernel(struct device_gather gather)
{
    const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const uint32_t i = blockIdx.x * (THREADS / 32) + warp;
    if (i >= gather.count)
        return;
    const uint32_t row = gather.numbers[i], stride = gather.rows.stride;
    const int4 *from = (const int4 *)(gather.rows.codes + (size_t)row * stride);
    int4 *to = (int4 *)(gather.codes + (size_t)i * stride);
    for (uint32_t j = lane; j < stride / 16; j += 32)
        to[j] = from[j];
    if (lane == 0)
        gather.metas[i] = gather.rows.metas[row];
}

omen_status
cuda_gather(struct device *device, const struct device_gather *gather)
{
    if (gather->count == 0)
        return OMEN_OK;
    const uint32_t rows = THREADS / 32;
    gather_kernel<<<(gather->count + rows - 1) / rows, THREADS, 0, device->stream>>>(*gather);
    return cuda_launched(device, "gather");
}
