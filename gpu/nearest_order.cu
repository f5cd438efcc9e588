// gpu/nearest_order.cu -- a copy of rows in the order of their factors, so that 128 neighbours have factors alike.
//
// Shape: kernel. Grouped by the upper half of a factor's bits; within 1/128 of each other rows stay in the order that they had.
#include "gpu/cuda_int.cuh"

#define THREADS 256u
#define BUCKETS                                                                                    \
    32768u // of a float that is not below 0: its exponent and seven bits of its fraction
#define BUCKET_SHIFT 16u

static __global__ void
__launch_bounds__(THREADS) bucket_kernel(struct device_rows rows, uint64_t *keys)
{
    const uint32_t row = blockIdx.x * THREADS + threadIdx.x;
    if (row < rows.count)
        keys[row] = (__float_as_uint(rows.metas[row].factor) & 0x7fffffffu) >> BUCKET_SHIFT;
}

static size_t
rounded(size_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

// order[i] is the row that comes i-th.
static omen_status
order_of(struct device *device, const struct device_rows *rows, uint32_t *order)
{
    const size_t keys = rounded(rows->count * sizeof(uint64_t));
    void *memory = NULL;
    omen_status status = cuda_take(device, keys + (BUCKETS + 1) * sizeof(uint32_t), &memory);
    if (status != OMEN_OK)
        return status;
    const struct device_group group = {
        (uint64_t *)memory, rows->count, 1, BUCKETS, order, (uint32_t *)((uint8_t *)memory + keys)};
    bucket_kernel<<<(rows->count + THREADS - 1) / THREADS, THREADS, 0, device->stream>>>(
        *rows, (uint64_t *)memory);
    status = cuda_launched(device, "the order of factors");
    if (status == OMEN_OK)
        status = cuda_group(device, &group);
    cuda_drop(device, memory);
    return status;
}

omen_status
cuda_order(struct device *device, const struct device_rows *rows, struct cuda_ordered *out)
{
    const size_t codes = rounded((size_t)rows->count * rows->stride),
                 metas = rounded(rows->count * sizeof *rows->metas);
    *out = {};
    omen_status status =
        cuda_take(device, codes + metas + rows->count * sizeof(uint32_t), &out->memory);
    if (status != OMEN_OK)
        return status;
    uint8_t *const at = (uint8_t *)out->memory;
    uint32_t *const order = (uint32_t *)(at + codes + metas);
    out->numbers = order;
    out->rows = *rows;
    out->rows.codes = (int8_t *)at;
    out->rows.metas = (struct byte_meta *)(at + codes);
    status = order_of(device, rows, order);
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
