// gpu/lists.cu -- lists of keys: places by group, lists of one row merged, links offered the other way.
//
// Shape: kernel.
//
// A warp has one row's list in its registers. What has to be found by another row's number is sorted by it first (CUB's radix
// sort, which keeps the order of equals), so that no result depends on which thread came first.
#include <cub/device/device_radix_sort.cuh>

#include "gpu/cuda_int.cuh"
#include "gpu/sort_int.cuh"

#define THREADS 256u
#define WARPS (THREADS / 32u)

static uint32_t
blocks_for(uint64_t items, uint32_t each)
{
    return (uint32_t)((items + each - 1) / each);
}

// Bits that tell numbers up to `most` apart.
static int
bits_for(uint32_t most)
{
    int bits = 1;
    while (bits < 32 && most >> bits != 0)
        bits++;
    return bits;
}

// ---- merge ----
// Writes different keys of a sorted list, at most `kept`, and DEVICE_NONE behind them.
template <int registers>
static __device__ __forceinline__ void
write_unique(const uint64_t (&keys)[registers], uint32_t kept, uint64_t *out)
{
    const uint32_t lane = threadIdx.x % 32, below = (1u << lane) - 1;
    uint32_t count = 0;
    uint64_t before = KEY_NONE; // of lane 0: the last key of the register before
#pragma unroll
    for (uint32_t i = 0; i < registers; i++) {
        const uint64_t left = __shfl_up_sync(WARP_ALL, keys[i], 1);
        const uint64_t previous = lane == 0 ? before : left;
        const bool new_key = keys[i] != KEY_NONE && keys[i] != previous;
        const uint32_t mask = __ballot_sync(WARP_ALL, new_key);
        const uint32_t at = count + __popc(mask & below);
        if (new_key && at < kept)
            out[at] = keys[i];
        count += __popc(mask);
        before = __shfl_sync(WARP_ALL, keys[i], 31);
    }
    for (uint32_t i = count + lane; i < kept; i += 32)
        out[i] = KEY_NONE;
}

template <int registers>
static __global__ void
merge_kernel(struct device_merge merge)
{
    const uint32_t row = blockIdx.x * WARPS + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= merge.count)
        return;
    const uint64_t *const in = merge.keys + (size_t)row * merge.width;
    uint64_t keys[registers];
#pragma unroll
    for (uint32_t i = 0; i < registers; i++)
        keys[i] = i * 32 + lane < merge.width ? in[i * 32 + lane] : KEY_NONE;
    sort_keys<registers>(keys);
    write_unique<registers>(keys, merge.kept, merge.merged + (size_t)row * merge.kept);
}

omen_status
cuda_merge(struct device *device, const struct device_merge *merge)
{
    if (merge->count == 0)
        return OMEN_OK;
    const uint32_t blocks = blocks_for(merge->count, WARPS);
    if (merge->width <= 64)
        merge_kernel<2><<<blocks, THREADS, 0, device->stream>>>(*merge);
    else if (merge->width <= 128)
        merge_kernel<4><<<blocks, THREADS, 0, device->stream>>>(*merge);
    else
        merge_kernel<8><<<blocks, THREADS, 0, device->stream>>>(*merge);
    return cuda_launched(device, "merge");
}

// ---- group ----
static __global__ void
group_keys_kernel(struct device_group group, uint32_t *names, uint32_t *places, uint32_t all)
{
    const uint32_t i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= all)
        return;
    const uint64_t key = group.keys[i];
    names[i] = key == KEY_NONE ? group.groups : key_row(key);
    places[i] = i;
}

// starts[g] for every g that begins at place i or between the one before and it.
template <typename name_type>
static __global__ void
starts_kernel(const name_type *names, uint64_t all, int shift, uint32_t groups, uint32_t *starts)
{
    const uint64_t i = (uint64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i > all)
        return;
    const uint32_t name = i == all ? groups : min((uint32_t)(names[i] >> shift), groups);
    const int64_t before = i == 0 ? -1 : (int64_t)min((uint32_t)(names[i - 1] >> shift), groups);
    for (int64_t g = before + 1; g <= (int64_t)name; g++)
        starts[g] = (uint32_t)i;
}

// Sorts in two pairs of buffers; tells in which the result lies.
template <typename key_type>
static omen_status
sort_pairs(struct device *device, cub::DoubleBuffer<key_type> &keys,
           cub::DoubleBuffer<uint32_t> &values, uint32_t count, int bits)
{
    size_t bytes = 0;
    void *scratch = NULL;
    omen_status status = cuda_status(
        device,
        cub::DeviceRadixSort::SortPairs(NULL, bytes, keys, values, count, 0, bits, device->stream),
        "size of a sort");
    if (status == OMEN_OK)
        status = cuda_take(device, bytes, &scratch);
    if (status == OMEN_OK)
        status = cuda_status(device,
                             cub::DeviceRadixSort::SortPairs(scratch, bytes, keys, values, count, 0,
                                                             bits, device->stream),
                             "a sort");
    cuda_drop(device, scratch);
    return status;
}

omen_status
cuda_group(struct device *device, const struct device_group *group)
{
    const uint32_t all = group->count * group->fanout;
    uint32_t *names = NULL; // two of names, one more of places
    omen_status status = cuda_take(device, (size_t)all * 3 * sizeof *names, (void **)&names);
    if (status != OMEN_OK)
        return status;
    if (all > 0) {
        group_keys_kernel<<<blocks_for(all, THREADS), THREADS, 0, device->stream>>>(
            *group, names, names + (size_t)all * 2, all);
        status = cuda_launched(device, "group");
    }
    cub::DoubleBuffer<uint32_t> keys(names, names + all);
    cub::DoubleBuffer<uint32_t> places(names + (size_t)all * 2, group->places);
    if (status == OMEN_OK && all > 0)
        status = sort_pairs(device, keys, places, all, bits_for(group->groups));
    if (status == OMEN_OK && all > 0 && places.Current() != group->places)
        status = cuda_status(device,
                             cudaMemcpyAsync(group->places, places.Current(),
                                             (size_t)all * sizeof *names, cudaMemcpyDeviceToDevice,
                                             device->stream),
                             "copying sorted places");
    if (status == OMEN_OK) {
        starts_kernel<uint32_t>
            <<<blocks_for((uint64_t)all + 1, THREADS), THREADS, 0, device->stream>>>(
                keys.Current(), all, 0, group->groups, group->starts);
        status = cuda_launched(device, "starts of groups");
    }
    cuda_drop(device, names);
    return status;
}

// ---- reverse ----
// One thread a link: whom it leads to and how far, and whose it is.
static __global__ void
offer_kernel(struct device_reverse reverse, uint64_t *keys, uint32_t *from, uint32_t all)
{
    const uint32_t i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= all)
        return;
    const uint64_t link = reverse.links[i];
    keys[i] = link == KEY_NONE ? (uint64_t)reverse.count << 32
                               : (uint64_t)key_row(link) << 32 | link >> 32;
    from[i] = i / reverse.keep;
}

// One warp a row. Offers lie nearest first, equals by their row's number, and are taken from there or from their end.
static __global__ void
accept_kernel(struct device_reverse reverse, const uint64_t *offers, const uint32_t *from,
              const uint32_t *starts)
{
    __shared__ uint64_t lists[WARPS][DEVICE_LIST_MAX], taken[WARPS][DEVICE_LIST_MAX];
    const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32, below = (1u << lane) - 1;
    const uint32_t row = blockIdx.x * WARPS + warp;
    if (row >= reverse.count)
        return;
    uint64_t *const list = lists[warp], *const others = taken[warp];
    const uint64_t *const own = reverse.links + (size_t)row * reverse.keep;
    uint32_t own_count = 0;
    for (uint32_t r = 0; r < DEVICE_LIST_MAX; r += 32) {
        const uint64_t key = r + lane < reverse.keep ? own[r + lane] : KEY_NONE;
        list[r + lane] = key;
        own_count += __popc(__ballot_sync(WARP_ALL, key != KEY_NONE));
    }
    __syncwarp();
    const uint32_t first = starts[row], offered = starts[row + 1] - first;
    const uint32_t most = max(reverse.farthest, reverse.width - own_count);
    uint32_t count = 0;
    for (uint32_t i = 0; i < offered && count < most; i += 32) {
        uint64_t key = KEY_NONE;
        if (i + lane < offered) {
            const uint32_t at = first + (reverse.farthest > 0 ? offered - 1 - i - lane : i + lane);
            key = offers[at] << 32 | (uint64_t)from[at] << 1;
        }
        for (uint32_t o = 0; o < own_count; o++)
            if (key == list[o])
                key = KEY_NONE;
        const uint32_t mask = __ballot_sync(WARP_ALL, key != KEY_NONE);
        const uint32_t place = count + __popc(mask & below);
        if (key != KEY_NONE && place < most)
            others[place] = key;
        count += __popc(mask);
    }
    __syncwarp();
    count = min(count, most);
    const uint32_t own_kept = min(own_count, reverse.width - count);
    uint64_t keys[2];
#pragma unroll
    for (uint32_t r = 0; r < 2; r++) {
        const uint32_t i = r * 32 + lane;
        keys[r] = i < own_kept ? list[i] : i < own_kept + count ? others[i - own_kept] : KEY_NONE;
    }
    sort_keys<2>(keys);
    uint64_t *const out = reverse.candidates + (size_t)row * reverse.width;
    for (uint32_t r = 0; r < 2; r++)
        if (r * 32 + lane < reverse.width)
            out[r * 32 + lane] = keys[r];
}

// Scratch of a reverse: two of keys, two of rows, the starts.
struct offers {
    uint64_t *keys;
    uint32_t *from, *starts;
};

static omen_status
offer_sorted(struct device *device, const struct device_reverse *reverse,
             const struct offers *offers, uint32_t all)
{
    offer_kernel<<<blocks_for(all, THREADS), THREADS, 0, device->stream>>>(*reverse, offers->keys,
                                                                           offers->from, all);
    omen_status status = cuda_launched(device, "offers");
    cub::DoubleBuffer<uint64_t> keys(offers->keys, offers->keys + all);
    cub::DoubleBuffer<uint32_t> from(offers->from, offers->from + all);
    if (status == OMEN_OK)
        status = sort_pairs(device, keys, from, all, 32 + bits_for(reverse->count));
    if (status == OMEN_OK) {
        starts_kernel<uint64_t>
            <<<blocks_for((uint64_t)all + 1, THREADS), THREADS, 0, device->stream>>>(
                keys.Current(), all, 32, reverse->count, offers->starts);
        status = cuda_launched(device, "starts of offers");
    }
    if (status == OMEN_OK) {
        accept_kernel<<<blocks_for(reverse->count, WARPS), THREADS, 0, device->stream>>>(
            *reverse, keys.Current(), from.Current(), offers->starts);
        status = cuda_launched(device, "accepting offers");
    }
    return status;
}

omen_status
cuda_reverse(struct device *device, const struct device_reverse *reverse)
{
    if (reverse->count == 0)
        return OMEN_OK;
    const uint32_t all = reverse->count * reverse->keep;
    struct offers offers = {NULL, NULL, NULL};
    omen_status status =
        cuda_take(device, (size_t)all * 2 * sizeof *offers.keys, (void **)&offers.keys);
    if (status == OMEN_OK)
        status = cuda_take(device, (size_t)all * 2 * sizeof *offers.from, (void **)&offers.from);
    if (status == OMEN_OK)
        status = cuda_take(device, ((size_t)reverse->count + 1) * sizeof *offers.starts,
                           (void **)&offers.starts);
    if (status == OMEN_OK)
        status = offer_sorted(device, reverse, &offers, all);
    cuda_drop(device, offers.keys);
    cuda_drop(device, offers.from);
    cuda_drop(device, offers.starts);
    return status;
}
