// gpu/cuda_int.cuh -- what the .cu files share: the open device, errors of the driver, small device functions.
//
// Shape: handle.
#ifndef OMEN_GPU_CUDA_INT_CUH
#define OMEN_GPU_CUDA_INT_CUH
#include <cuda_runtime.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {
#include "base/alloc.h"
#include "base/error.h"
#include "gpu/device.h"
}

// What `nearest` multiplies with; OMEN_GPU_NEAREST=mma takes what every device has, for comparisons.
enum nearest_by {
    NEAREST_BY_BEST,
    NEAREST_BY_MMA,
};

struct device {
    int ordinal;
    cudaStream_t stream;
    cudaMemPool_t pool; // of scratch memory: kept between operations, given back at close
    cudaEvent_t marks[DEVICE_MARKS_MAX];
    int processors;
    int major; // of the compute capability
    enum nearest_by nearest_by;
    size_t shared_max; // bytes of shared memory one block may ask for
    void *cells;       // 4 KiB of device memory for counters
    void *host_cells;  // as much pinned host memory
    char trouble[256];
};

#define CUDA_CELLS_BYTES 4096u

// Translates; notes `what` failed and why in device->trouble.
omen_status cuda_status(struct device *device, cudaError_t code, const char *what);
// Of the launch just made.
omen_status cuda_launched(struct device *device, const char *what);
// Scratch memory in the order of operations; cuda_drop accepts NULL.
omen_status cuda_take(struct device *device, size_t bytes, void **memory);
void cuda_drop(struct device *device, void *memory);

// ---- operations, one file each ----
omen_status cuda_join(struct device *device, const struct device_join *join);
omen_status cuda_gather(struct device *device, const struct device_gather *gather);
omen_status cuda_nearest(struct device *device, const struct device_nearest *nearest);
// With wgmma (Hopper): whether this call can be made so, and the call.
bool cuda_nearest_wgmma_can(const struct device *device, const struct device_nearest *nearest);
omen_status cuda_nearest_wgmma(struct device *device, const struct device_nearest *nearest);
// A copy of rows in the order of their factors; it ends with cuda_drop of `memory`. OMEN_E_NO_MEMORY: there is none, NULL.
struct cuda_ordered {
    void *memory;
    struct device_rows rows;
    const uint32_t *numbers; // of the rows, as they were
};
omen_status cuda_order(struct device *device, const struct device_rows *rows,
                       struct cuda_ordered *out);
omen_status cuda_group(struct device *device, const struct device_group *group);
omen_status cuda_merge(struct device *device, const struct device_merge *merge);
omen_status cuda_measure(struct device *device, const struct device_measure *measure);
omen_status cuda_prune(struct device *device, const struct device_prune *prune);
omen_status cuda_reverse(struct device *device, const struct device_reverse *reverse);
omen_status cuda_reach(struct device *device, const struct device_reach *reach);
omen_status cuda_pack(struct device *device, const struct device_pack *pack);
omen_status cuda_walk(struct device *device, const struct device_walk *walk);
omen_status cuda_rerank(struct device *device, const struct device_rerank *rerank);
omen_status cuda_knn(struct device *device, const struct device_knn *knn);

// ---- small device functions ----
#define KEY_NONE 0xffffffffffffffffull

static __device__ __forceinline__ uint64_t
key_of(float distance, uint32_t row)
{
    return (uint64_t)__float_as_uint(distance) << 32 | (uint64_t)row << 1;
}

static __device__ __forceinline__ uint32_t
key_row(uint64_t key)
{
    return (uint32_t)key >> 1;
}

static __device__ __forceinline__ float
key_distance(uint64_t key)
{
    return __uint_as_float((uint32_t)(key >> 32));
}

// codec_pair (index/codec.h), its roundings in its order. 2 * product is exact, so that the one fma rounds as the
// subtraction does.
static __device__ __forceinline__ float
pair_lengths(float factor_a, float norm_a, float factor_b, float norm_b, int32_t dot)
{
    const float product = __fmul_rn(__fmul_rn(factor_a, factor_b), __int2float_rn(dot));
    const float distance = __fmaf_rn(-2.0f, product, __fadd_rn(norm_a, norm_b));
    return distance > 0.0f ? distance : 0.0f;
}

static __device__ __forceinline__ float
pair_ip(float factor_a, float norm_a, float factor_b, float norm_b, int32_t dot, float radius2)
{
    const float product = __fmul_rn(__fmul_rn(factor_a, factor_b), __int2float_rn(dot));
    const float longer = __fadd_rn(norm_a < 0.0f ? __fmul_rn(norm_a, norm_a) : 0.0f,
                                   norm_b < 0.0f ? __fmul_rn(norm_b, norm_b) : 0.0f);
    const float extras = norm_a > 0.0f && norm_b > 0.0f ? __fmul_rn(norm_a, norm_b) : 0.0f;
    const float distance =
        __fmaf_rn(-2.0f, product, __fmaf_rn(2.0f, __fsub_rn(radius2, extras), longer));
    return distance > 0.0f ? distance : 0.0f;
}

static __device__ __forceinline__ float
pair_distance(float factor_a, float norm_a, float factor_b, float norm_b, int32_t dot, bool ip,
              float radius2)
{
    return ip ? pair_ip(factor_a, norm_a, factor_b, norm_b, dot, radius2)
              : pair_lengths(factor_a, norm_a, factor_b, norm_b, dot);
}

#endif
