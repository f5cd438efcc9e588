// gpu/graph.cu -- the finished links: what they reach, and their rows as the index has them.
//
// Shape: kernel.
#include "gpu/cuda_int.cuh"

#define THREADS 256u
#define WARPS (THREADS / 32u)

// ---- reach ----
static __global__ void
enter_kernel(uint32_t *seen, uint32_t *frontier, uint32_t entry)
{
    seen[entry / 32] = 1u << entry % 32;
    frontier[0] = entry;
}

// One warp a row of the frontier. Which place of the next frontier a row has differs from run to run; which rows are in it
// does not.
static __global__ void
step_kernel(struct device_reach reach, const uint32_t *frontier, uint32_t count, uint32_t *next,
            uint32_t *next_count)
{
    const uint32_t i = blockIdx.x * WARPS + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (i >= count)
        return;
    const uint64_t *const links = reach.links + (size_t)frontier[i] * reach.keep;
    for (uint32_t r = lane; r < reach.keep; r += 32) {
        const uint64_t key = links[r];
        if (key == KEY_NONE)
            break;
        const uint32_t row = key_row(key), bit = 1u << row % 32;
        volatile const uint32_t *word = reach.seen + row / 32;
        if ((*word & bit) != 0 || (atomicOr(reach.seen + row / 32, bit) & bit) != 0)
            continue;
        next[atomicAdd(next_count, 1u)] = row;
    }
}

static omen_status
walk_all(struct device *device, const struct device_reach *reach, uint32_t *frontiers)
{
    uint32_t *const cell = (uint32_t *)device->cells, *const host = (uint32_t *)device->host_cells;
    uint32_t count = 1, all = 1, steps = 0;
    enter_kernel<<<1, 1, 0, device->stream>>>(reach->seen, frontiers, reach->entry);
    omen_status status = cuda_launched(device, "reach");
    for (uint32_t turn = 0; count > 0 && status == OMEN_OK; turn ^= 1) {
        status =
            cuda_status(device, cudaMemsetAsync(cell, 0, sizeof *cell, device->stream), "reach");
        if (status != OMEN_OK)
            break;
        step_kernel<<<(count + WARPS - 1) / WARPS, THREADS, 0, device->stream>>>(
            *reach, frontiers + (size_t)turn * reach->count, count,
            frontiers + (size_t)(turn ^ 1) * reach->count, cell);
        status = cuda_launched(device, "a step of reach");
        if (status == OMEN_OK)
            status = cuda_status(
                device,
                cudaMemcpyAsync(host, cell, sizeof *cell, cudaMemcpyDeviceToHost, device->stream),
                "reach");
        if (status == OMEN_OK)
            status = cuda_status(device, cudaStreamSynchronize(device->stream), "reach");
        count = status == OMEN_OK ? *host : 0;
        all += count;
        steps += count > 0;
    }
    *reach->reached = all;
    *reach->steps = steps;
    return status;
}

omen_status
cuda_reach(struct device *device, const struct device_reach *reach)
{
    uint32_t *frontiers = NULL;
    omen_status status =
        cuda_take(device, (size_t)reach->count * 2 * sizeof *frontiers, (void **)&frontiers);
    const size_t words = ((size_t)reach->count + 31) / 32;
    if (status == OMEN_OK)
        status = cuda_status(
            device, cudaMemsetAsync(reach->seen, 0, words * sizeof *reach->seen, device->stream),
            "reach");
    if (status == OMEN_OK)
        status = walk_all(device, reach, frontiers);
    cuda_drop(device, frontiers);
    return status;
}

// ---- pack ----
// One warp a row; neighbouring lanes write neighbouring bytes.
static __global__ void
pack_kernel(struct device_pack pack, uint32_t places)
{
    const uint32_t row = blockIdx.x * WARPS + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= pack.count)
        return;
    uint8_t *const out = pack.blocks + (size_t)row * places * pack.width;
    for (uint32_t i = lane; i < places; i += 32) {
        const uint64_t key = i < pack.keep ? pack.links[(size_t)row * pack.keep + i] : KEY_NONE;
        const uint32_t link = key == KEY_NONE ? 0xffffffffu : key_row(key);
        for (uint32_t b = 0; b < pack.width; b++)
            out[i * pack.width + b] = (uint8_t)(link >> 8 * b);
    }
}

omen_status
cuda_pack(struct device *device, const struct device_pack *pack)
{
    if (pack->count == 0)
        return OMEN_OK;
    const uint32_t places = (pack->links_max + 31) / 32 * 32; // index/graph.h: GRAPH_BLOCK_LINKS
    pack_kernel<<<(pack->count + WARPS - 1) / WARPS, THREADS, 0, device->stream>>>(*pack, places);
    return cuda_launched(device, "pack");
}
