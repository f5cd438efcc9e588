// gpu/nearest_order.cu -- a copy of rows in the order of their factors, so that 128 neighbours have factors alike.
//
// Shape: kernel. A counting sort by the upper half of a factor's bits: within 1/128 of each other rows come in any order, which is another
// one each time.
#include "gpu/cuda_int.cuh"

#define THREADS 256u
#define BUCKETS                                                                                    \
    32768u // of a float that is not below 0: its exponent and seven bits of its fraction
#define BUCKET_SHIFT 16u
#define SCAN_THREADS 1024u
#define WARP_ALL 0xffffffffu

// The lanes of this warp whose rows are in the same bucket count and take places together: where all factors are one, all rows
// of the base would meet at one counter.
struct bucket {
    uint32_t number, mates; // `mates`: their lanes; 0: no such row
    bool leads;
};

static __device__ __forceinline__ struct bucket
bucket_of(const struct device_rows &rows, uint32_t row)
{
    const bool there = row < rows.count;
    const uint32_t number =
        there ? (__float_as_uint(rows.metas[row].factor) & 0x7fffffffu) >> BUCKET_SHIFT : BUCKETS;
    const uint32_t mates = __match_any_sync(WARP_ALL, number);
    return {number, there ? mates : 0,
            there && threadIdx.x % 32 == (uint32_t)__ffs((int)mates) - 1};
}

static __global__ void
__launch_bounds__(THREADS) count_kernel(struct device_rows rows, uint32_t *counts)
{
    const struct bucket bucket = bucket_of(rows, blockIdx.x * THREADS + threadIdx.x);
    if (bucket.leads)
        atomicAdd(&counts[bucket.number], __popc(bucket.mates));
}

// Counts become where each bucket begins. One block.
static __global__ void
__launch_bounds__(SCAN_THREADS) starts_kernel(uint32_t *counts)
{
    __shared__ uint32_t sums[SCAN_THREADS];
    const uint32_t each = BUCKETS / SCAN_THREADS;
    uint32_t *const own = counts + threadIdx.x * each;
    uint32_t sum = 0;
    for (uint32_t i = 0; i < each; i++)
        sum += own[i];
    sums[threadIdx.x] = sum;
    for (uint32_t back = 1; back < SCAN_THREADS; back *= 2) {
        __syncthreads();
        const uint32_t before = threadIdx.x >= back ? sums[threadIdx.x - back] : 0;
        __syncthreads();
        sums[threadIdx.x] += before;
    }
    uint32_t start = sums[threadIdx.x] - sum;
    for (uint32_t i = 0; i < each; i++) {
        const uint32_t count = own[i];
        own[i] = start;
        start += count;
    }
}

static __global__ void
__launch_bounds__(THREADS)
    place_kernel(struct device_rows rows, uint32_t *starts, uint32_t *numbers)
{
    const uint32_t row = blockIdx.x * THREADS + threadIdx.x, lane = threadIdx.x % 32;
    const struct bucket bucket = bucket_of(rows, row);
    uint32_t first = 0;
    if (bucket.leads)
        first = atomicAdd(&starts[bucket.number], __popc(bucket.mates));
    first = __shfl_sync(WARP_ALL, first, bucket.mates != 0 ? __ffs((int)bucket.mates) - 1 : 0);
    if (bucket.mates != 0)
        numbers[first + __popc(bucket.mates & ((1u << lane) - 1))] = row;
}

static size_t
rounded(size_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

omen_status
cuda_order(struct device *device, const struct device_rows *rows, struct cuda_ordered *out)
{
    const size_t codes = rounded((size_t)rows->count * rows->stride),
                 metas = rounded(rows->count * sizeof *rows->metas),
                 numbers = rounded(rows->count * sizeof(uint32_t));
    const uint32_t blocks = (rows->count + THREADS - 1) / THREADS;
    *out = {};
    omen_status status =
        cuda_take(device, codes + metas + numbers + BUCKETS * sizeof(uint32_t), &out->memory);
    if (status != OMEN_OK)
        return status;
    uint8_t *const at = (uint8_t *)out->memory;
    uint32_t *const order = (uint32_t *)(at + codes + metas);
    out->numbers = order;
    out->rows = *rows;
    out->rows.codes = (int8_t *)at;
    out->rows.metas = (struct byte_meta *)(at + codes);
    uint32_t *const counts = (uint32_t *)(at + codes + metas + numbers);
    status =
        cuda_status(device, cudaMemsetAsync(counts, 0, BUCKETS * sizeof *counts, device->stream),
                    "counters of factors");
    if (status == OMEN_OK) {
        count_kernel<<<blocks, THREADS, 0, device->stream>>>(*rows, counts);
        starts_kernel<<<1, SCAN_THREADS, 0, device->stream>>>(counts);
        place_kernel<<<blocks, THREADS, 0, device->stream>>>(*rows, counts, order);
        status = cuda_launched(device, "the order of factors");
    }
    const struct device_gather gather = {*rows, order, rows->count, (int8_t *)at,
                                         (struct byte_meta *)(at + codes)};
    if (status == OMEN_OK)
        status = cuda_gather(device, &gather);
    if (status != OMEN_OK) {
        cuda_drop(device, out->memory);
        *out = {};
    }
    return status;
}
