// gpu/device_cuda.cu -- the device of the plugin: opening, memory, copies, moments, and errors in words.
//
// Shape: shell. All work goes through one stream, which is what makes the order of operations that of the calls.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/cuda_int.cuh"

omen_status
cuda_status(struct device *device, cudaError_t code, const char *what)
{
    if (code == cudaSuccess)
        return OMEN_OK;
    snprintf(device->trouble, sizeof device->trouble, "%s: %s (%s)", what, cudaGetErrorString(code),
             cudaGetErrorName(code));
    (void)cudaGetLastError(); // what is not sticky is forgotten
    return code == cudaErrorMemoryAllocation ? OMEN_E_NO_MEMORY : OMEN_E_INTERNAL;
}

omen_status
cuda_launched(struct device *device, const char *what)
{
    return cuda_status(device, cudaGetLastError(), what);
}

omen_status
cuda_take(struct device *device, size_t bytes, void **memory)
{
    *memory = NULL;
    return cuda_status(
        device,
        cudaMallocFromPoolAsync(memory, bytes > 0 ? bytes : 1, device->pool, device->stream),
        "device memory for an operation");
}

void
cuda_drop(struct device *device, void *memory)
{
    if (memory != NULL)
        (void)cuda_status(device, cudaFreeAsync(memory, device->stream), "freeing device memory");
}

static void
cuda_close(struct device *device)
{
    if (device == NULL)
        return;
    if (device->stream != NULL)
        (void)cudaStreamSynchronize(device->stream);
    for (uint32_t i = 0; i < DEVICE_MARKS_MAX; i++)
        if (device->marks[i] != NULL)
            (void)cudaEventDestroy(device->marks[i]);
    if (device->cells != NULL)
        (void)cudaFree(device->cells);
    if (device->host_cells != NULL)
        (void)cudaFreeHost(device->host_cells);
    if (device->stream != NULL)
        (void)cudaStreamDestroy(device->stream);
    if (device->pool != NULL)
        (void)cudaMemPoolDestroy(device->pool);
    mem_free(device);
}

// Scratch memory stays with the pool: an operation's next run finds it there.
static cudaError_t
pool_make(struct device *device)
{
    cudaMemPoolProps props;
    memset(&props, 0, sizeof props);
    props.allocType = cudaMemAllocationTypePinned;
    props.location.type = cudaMemLocationTypeDevice;
    props.location.id = device->ordinal;
    cudaError_t code = cudaMemPoolCreate(&device->pool, &props);
    uint64_t kept = UINT64_MAX;
    if (code == cudaSuccess)
        code = cudaMemPoolSetAttribute(device->pool, cudaMemPoolAttrReleaseThreshold, &kept);
    return code;
}

static cudaError_t
device_fill_in(struct device *device)
{
    int shared = 0;
    const char *by = getenv("OMEN_GPU_NEAREST");
    device->nearest_by = by != NULL && strcmp(by, "mma") == 0 ? NEAREST_BY_MMA : NEAREST_BY_BEST;
    cudaError_t code = cudaSetDevice(device->ordinal);
    if (code == cudaSuccess)
        code = cudaDeviceGetAttribute(&device->processors, cudaDevAttrMultiProcessorCount,
                                      device->ordinal);
    if (code == cudaSuccess)
        code = cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin,
                                      device->ordinal);
    device->shared_max = (size_t)shared;
    if (code == cudaSuccess)
        code = cudaStreamCreateWithFlags(&device->stream, cudaStreamNonBlocking);
    if (code == cudaSuccess)
        code = pool_make(device);
    for (uint32_t i = 0; i < DEVICE_MARKS_MAX && code == cudaSuccess; i++)
        code = cudaEventCreate(&device->marks[i]);
    if (code == cudaSuccess)
        code = cudaMalloc(&device->cells, CUDA_CELLS_BYTES);
    if (code == cudaSuccess)
        code = cudaMallocHost(&device->host_cells, CUDA_CELLS_BYTES);
    return code;
}

static omen_status
cuda_open(uint32_t ordinal, struct device **out, struct omen_error *error)
{
    *out = NULL;
    int count = 0;
    cudaError_t code = cudaGetDeviceCount(&count);
    if (code != cudaSuccess || ordinal >= (uint32_t)count) {
        (void)cudaGetLastError();
        int driver = 0;
        (void)cudaDriverGetVersion(&driver); // 0: there is none
        if (code == cudaErrorInsufficientDriver && driver == 0)
            return error_set(error, OMEN_E_UNSUPPORTED, "there is no NVIDIA driver");
        if (code == cudaErrorInsufficientDriver)
            return error_set(error, OMEN_E_UNSUPPORTED,
                             "the NVIDIA driver is for CUDA %d.%d, and %d.%d is wanted",
                             driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000,
                             CUDART_VERSION % 1000 / 10);
        return error_set(error, OMEN_E_UNSUPPORTED, "no CUDA device %u here: %s", ordinal,
                         code != cudaSuccess ? cudaGetErrorString(code) : "there are fewer");
    }
    struct device *device = (struct device *)mem_alloc_zero(1, sizeof *device);
    if (device == NULL)
        return error_set(error, OMEN_E_NO_MEMORY, "no memory for a device");
    device->ordinal = (int)ordinal;
    (void)cudaDeviceGetAttribute(&device->major, cudaDevAttrComputeCapabilityMajor,
                                 device->ordinal);
    if (device->major < 8) {
        (void)error_set(error, OMEN_E_UNSUPPORTED,
                        "CUDA device %u has compute capability %d.x; 8.0 is needed", ordinal,
                        device->major);
        mem_free(device);
        return OMEN_E_UNSUPPORTED;
    }
    code = device_fill_in(device);
    if (code != cudaSuccess) {
        const omen_status status = cuda_status(device, code, "opening a CUDA device");
        (void)error_set(error, status, "%s", device->trouble);
        cuda_close(device);
        return status;
    }
    *out = device;
    return OMEN_OK;
}

// What the pool holds and nobody has.
static uint64_t
pool_spare(const struct device *device)
{
    uint64_t held = 0, used = 0;
    if (cudaMemPoolGetAttribute(device->pool, cudaMemPoolAttrReservedMemCurrent, &held) !=
            cudaSuccess ||
        cudaMemPoolGetAttribute(device->pool, cudaMemPoolAttrUsedMemCurrent, &used) != cudaSuccess)
        return 0;
    return held - used;
}

static void
cuda_facts(struct device *device, struct device_facts *facts)
{
    memset(facts, 0, sizeof *facts);
    struct cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, device->ordinal) != cudaSuccess)
        return;
    snprintf(facts->name, sizeof facts->name, "%s", properties.name);
    size_t unused = 0, all = 0;
    if (cudaMemGetInfo(&unused, &all) == cudaSuccess) {
        facts->bytes = all;
        facts->bytes_free = unused + pool_spare(device);
    }
    facts->major = (uint32_t)properties.major;
    facts->minor = (uint32_t)properties.minor;
    facts->processors = (uint32_t)properties.multiProcessorCount;
    int clock = 0, memory_khz = 0, memory_bits = 0;
    if (cudaDeviceGetAttribute(&clock, cudaDevAttrClockRate, device->ordinal) == cudaSuccess)
        facts->clock_khz = (uint32_t)clock;
    if (cudaDeviceGetAttribute(&memory_khz, cudaDevAttrMemoryClockRate, device->ordinal) ==
            cudaSuccess &&
        cudaDeviceGetAttribute(&memory_bits, cudaDevAttrGlobalMemoryBusWidth, device->ordinal) ==
            cudaSuccess) // twice a clock
        facts->memory_bytes_s = (uint64_t)memory_khz * 1000 * 2 * (uint64_t)memory_bits / 8;
}

static const char *
cuda_trouble(const struct device *device)
{
    return device->trouble;
}

// From the pool as well: a build takes and gives back gigabytes at every stage, and the pool has them at hand.
static omen_status
cuda_alloc(struct device *device, size_t bytes, void **memory)
{
    return cuda_take(device, bytes, memory);
}

static void
cuda_free(struct device *device, void *memory)
{
    cuda_drop(device, memory);
}

static omen_status
cuda_host_alloc(struct device *device, size_t bytes, void **memory)
{
    *memory = NULL;
    return cuda_status(device, cudaMallocHost(memory, bytes > 0 ? bytes : 1), "pinned host memory");
}

static void
cuda_host_free(struct device *device, void *memory)
{
    if (memory != NULL)
        (void)cuda_status(device, cudaFreeHost(memory), "freeing pinned host memory");
}

static omen_status
cuda_put(struct device *device, void *to, const void *host, size_t bytes)
{
    return cuda_status(device,
                       cudaMemcpyAsync(to, host, bytes, cudaMemcpyHostToDevice, device->stream),
                       "copying to the device");
}

static omen_status
cuda_wait(struct device *device)
{
    return cuda_status(device, cudaStreamSynchronize(device->stream), "the device's work");
}

static omen_status
cuda_get(struct device *device, void *host, const void *from, size_t bytes)
{
    const omen_status status = cuda_status(
        device, cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, device->stream),
        "copying from the device");
    return status == OMEN_OK ? cuda_wait(device) : status;
}

static omen_status
cuda_fill(struct device *device, void *memory, uint8_t byte, size_t bytes)
{
    return cuda_status(device, cudaMemsetAsync(memory, byte, bytes, device->stream),
                       "filling device memory");
}

static omen_status
cuda_mark(struct device *device, uint32_t mark)
{
    return cuda_status(device, cudaEventRecord(device->marks[mark], device->stream),
                       "marking a moment");
}

static omen_status
cuda_between(struct device *device, uint32_t from, uint32_t to, float *ms)
{
    *ms = 0.0f;
    const omen_status status =
        cuda_status(device, cudaEventSynchronize(device->marks[to]), "waiting for a moment");
    return status != OMEN_OK
               ? status
               : cuda_status(device,
                             cudaEventElapsedTime(ms, device->marks[from], device->marks[to]),
                             "the time between two moments");
}

static const struct device_ops cuda_ops = {
    DEVICE_ABI,   "cuda",     cuda_open,       cuda_close,     cuda_facts, cuda_trouble,
    cuda_alloc,   cuda_free,  cuda_host_alloc, cuda_host_free, cuda_put,   cuda_get,
    cuda_fill,    cuda_wait,  cuda_mark,       cuda_between,   cuda_join,  cuda_gather,
    cuda_nearest, cuda_group, cuda_merge,      cuda_measure,   cuda_prune, cuda_reverse,
    cuda_reach,   cuda_pack,  cuda_walk,       cuda_rerank,    cuda_knn,
};

extern "C" __attribute__((visibility("default"))) const struct device_ops *
omendb_gpu_ops(void)
{
    return &cuda_ops;
}
