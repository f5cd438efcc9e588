// gpu/knn.cu -- the exact nearest of all rows: tiles of queries against rows, and lists that only near ones reach.
//
// Shape: kernel.
//
// A block compares QUERIES queries with ROWS rows at a time, component after component, each thread 4 x 8 of the pairs in its
// registers. Then every warp looks through the distances of its own queries: a key that is nearer than the last of
// the query's list is put there. That is seldom, so lists lie in memory and are fetched when they change. The rows are
// cut into slices, so that few queries keep all processors busy; at the end a query's lists of all slices become one.
#include "gpu/list_int.cuh"

#define QUERIES 64u
#define ROWS 128u
#define DEPTH 16u // components in shared memory at a time
#define THREADS 256u
#define WARPS (THREADS / 32u)
#define PAD 4u // floats: rows of a tile begin at different banks

struct knn_plan {
    struct device_vectors vectors;
    const float *queries; // in the device's memory
    const uint32_t *erased, *allowed;
    uint32_t count, slices, slice_rows; // slice_rows: a multiple of ROWS
    uint64_t *lists;                    // slices x count x (KPL * 32)
};

struct knn_tile {
    float queries[DEPTH][QUERIES + PAD];
    float rows[DEPTH][ROWS + PAD];
    float distances[QUERIES][ROWS + 1];
    uint32_t alive[ROWS / 32]; // rows that may answer
    uint64_t last[QUERIES];
};

// Some components of the tile's queries and rows to shared memory; zero where there are none.
template <int TYPE>
static __device__ __forceinline__ void
fill_tile(struct knn_tile &tile, const struct knn_plan &plan, uint32_t query_first,
          uint32_t row_first, uint32_t depth_first)
{
    const uint32_t dim = plan.vectors.dim;
    const uint32_t k = threadIdx.x % DEPTH, i = depth_first + k;
    for (uint32_t q = threadIdx.x / DEPTH; q < QUERIES; q += THREADS / DEPTH) {
        const bool there = query_first + q < plan.count && i < dim;
        tile.queries[k][q] = there ? plan.queries[(size_t)(query_first + q) * dim + i] : 0.0f;
    }
    for (uint32_t r = threadIdx.x / DEPTH; r < ROWS; r += THREADS / DEPTH) {
        const bool there = row_first + r < plan.vectors.count && i < dim;
        tile.rows[k][r] =
            there ? load_component<TYPE>(plan.vectors.rows, (size_t)(row_first + r) * dim + i)
                  : 0.0f;
    }
}

// Thread (x, y) has queries 4 y .. 4 y + 3 and rows 4 x .. 4 x + 3 of either half of the tile.
template <int TYPE, int METRIC>
static __device__ __forceinline__ void
compare_tile(struct knn_tile &tile, const struct knn_plan &plan, uint32_t query_first,
             uint32_t row_first)
{
    const uint32_t x = threadIdx.x % 16, y = threadIdx.x / 16;
    float sums[4][8], norms[8];
#pragma unroll
    for (int r = 0; r < 8; r++) {
        norms[r] = 0.0f;
#pragma unroll
        for (int q = 0; q < 4; q++)
            sums[q][r] = 0.0f;
    }
    for (uint32_t first = 0; first < plan.vectors.dim; first += DEPTH) {
        fill_tile<TYPE>(tile, plan, query_first, row_first, first);
        __syncthreads();
#pragma unroll
        for (uint32_t k = 0; k < DEPTH; k++) {
            const float4 q4 = *(const float4 *)&tile.queries[k][y * 4];
            const float4 low = *(const float4 *)&tile.rows[k][x * 4];
            const float4 high = *(const float4 *)&tile.rows[k][ROWS / 2 + x * 4];
            const float qs[4] = {q4.x, q4.y, q4.z, q4.w};
            const float rs[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
            for (int r = 0; r < 8; r++) {
                if (METRIC == METRIC_COSINE)
                    norms[r] = __fmaf_rn(rs[r], rs[r], norms[r]);
#pragma unroll
                for (int q = 0; q < 4; q++) {
                    const float apart = __fsub_rn(qs[q], rs[r]);
                    sums[q][r] = METRIC == METRIC_L2 ? __fmaf_rn(apart, apart, sums[q][r])
                                                     : __fmaf_rn(qs[q], rs[r], sums[q][r]);
                }
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int q = 0; q < 4; q++)
#pragma unroll
        for (int r = 0; r < 8; r++)
            tile.distances[y * 4 + q][(r < 4 ? 0 : ROWS / 2 - 4) + x * 4 + r] =
                metric_finish((enum metric)METRIC, sums[q][r], norms[r]);
}

// Puts what is near enough into the lists of the warp's queries.
template <int KPL>
static __device__ __forceinline__ void
put_tile(struct knn_tile &tile, const struct knn_plan &plan, uint32_t query_first,
         uint32_t row_first, uint64_t *lists)
{
    const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (uint32_t q = warp; q < QUERIES && query_first + q < plan.count; q += WARPS) {
        uint64_t last = tile.last[q], keys[ROWS / 32];
        bool near = false;
#pragma unroll
        for (uint32_t part = 0; part < ROWS / 32; part++) {
            const uint32_t r = part * 32 + lane;
            keys[part] = (tile.alive[part] >> lane & 1) != 0
                             ? ordered_key(tile.distances[q][r], row_first + r)
                             : KEY_NONE;
            near |= keys[part] < last;
        }
        if (!__any_sync(ALL_LANES, near))
            continue;
        uint64_t *own = lists + (size_t)q * (KPL * 32);
        uint64_t list[KPL];
#pragma unroll
        for (int j = 0; j < KPL; j++)
            list[j] = own[j * 32 + lane];
#pragma unroll
        for (uint32_t part = 0; part < ROWS / 32; part++) {
            uint32_t fit = __ballot_sync(ALL_LANES, keys[part] < last);
            for (; fit != 0; fit &= fit - 1)
                list_put(list, __shfl_sync(ALL_LANES, keys[part], __ffs(fit) - 1), lane);
            last = __shfl_sync(ALL_LANES, list[KPL - 1], 31);
        }
#pragma unroll
        for (int j = 0; j < KPL; j++)
            own[j * 32 + lane] = list[j];
        __syncwarp(); // all lanes have read last[q]
        if (lane == 0)
            tile.last[q] = last;
    }
}

template <int KPL, int TYPE, int METRIC>
static __global__ void __launch_bounds__(THREADS)
knn_kernel(struct knn_plan plan)
{
    __shared__ __align__(16) struct knn_tile tile;
    const uint32_t query_first = blockIdx.x * QUERIES;
    const uint32_t first = blockIdx.y * plan.slice_rows, rest = plan.vectors.count - first;
    const uint32_t end = first + (rest < plan.slice_rows ? rest : plan.slice_rows);
    uint64_t *lists =
        plan.lists + ((size_t)blockIdx.y * plan.count + query_first) * (size_t)(KPL * 32);
    const uint32_t left = plan.count - query_first, queries = left < QUERIES ? left : QUERIES;
    for (uint32_t i = threadIdx.x; i < queries * (KPL * 32); i += THREADS)
        lists[i] = KEY_NONE;
    if (threadIdx.x < QUERIES)
        tile.last[threadIdx.x] = KEY_NONE;
    for (uint32_t row = first; row < end; row += ROWS) {
        if (threadIdx.x < ROWS) {
            const uint32_t r = row + threadIdx.x;
            const uint32_t alive =
                __ballot_sync(ALL_LANES, r < end && may_answer(plan.erased, plan.allowed, r));
            if (threadIdx.x % 32 == 0)
                tile.alive[threadIdx.x / 32] = alive;
        }
        compare_tile<TYPE, METRIC>(tile, plan, query_first, row);
        __syncthreads();
        put_tile<KPL>(tile, plan, query_first, row, lists);
        // The next tile's distances are written behind barriers of its components, but alive[] is not.
        __syncthreads();
    }
}

// The lists of all slices to one, and that to hits.
template <int KPL>
static __global__ void __launch_bounds__(32)
gather_lists_kernel(struct knn_plan plan, uint32_t k, struct hit *hits)
{
    const uint32_t lane = threadIdx.x, q = blockIdx.x;
    uint64_t list[KPL], last = KEY_NONE;
    list_clear(list);
    for (uint32_t slice = 0; slice < plan.slices; slice++) {
        const uint64_t *own = plan.lists + ((size_t)slice * plan.count + q) * (size_t)(KPL * 32);
        for (uint32_t j = 0; j < KPL; j++) {
            const uint64_t key = own[j * 32 + lane];
            uint32_t fit = __ballot_sync(ALL_LANES, key < last);
            if (fit == 0)
                break; // what follows is farther
            for (; fit != 0; fit &= fit - 1)
                list_put(list, __shfl_sync(ALL_LANES, key, __ffs(fit) - 1), lane);
            last = __shfl_sync(ALL_LANES, list[KPL - 1], 31);
        }
    }
#pragma unroll
    for (int j = 0; j < KPL; j++)
        if (j * 32 + lane < k)
            hits[(size_t)q * k + j * 32 + lane] = ordered_hit(list[j]);
}

template <int KPL, int TYPE>
static void
knn_launch(struct device *device, const struct knn_plan *plan)
{
    const dim3 grid((plan->count + QUERIES - 1) / QUERIES, plan->slices);
    if (plan->vectors.metric == METRIC_L2)
        knn_kernel<KPL, TYPE, METRIC_L2><<<grid, THREADS, 0, device->stream>>>(*plan);
    else if (plan->vectors.metric == METRIC_IP)
        knn_kernel<KPL, TYPE, METRIC_IP><<<grid, THREADS, 0, device->stream>>>(*plan);
    else
        knn_kernel<KPL, TYPE, METRIC_COSINE><<<grid, THREADS, 0, device->stream>>>(*plan);
}

template <int KPL>
static omen_status
knn_of_width(struct device *device, const struct device_knn *knn, const struct knn_plan *plan)
{
    switch (plan->vectors.type) {
    case VECTOR_F32:
        knn_launch<KPL, VECTOR_F32>(device, plan);
        break;
    case VECTOR_F16:
        knn_launch<KPL, VECTOR_F16>(device, plan);
        break;
    case VECTOR_BF16:
        knn_launch<KPL, VECTOR_BF16>(device, plan);
        break;
    case VECTOR_I8:
        knn_launch<KPL, VECTOR_I8>(device, plan);
        break;
    default:
        knn_launch<KPL, VECTOR_U8>(device, plan);
        break;
    }
    const omen_status status = cuda_launched(device, "knn");
    if (status != OMEN_OK)
        return status;
    gather_lists_kernel<KPL><<<plan->count, 32, 0, device->stream>>>(*plan, knn->k, knn->hits);
    return cuda_launched(device, "lists of knn");
}

// Enough slices for all processors, but none so short that its lists are what takes the time.
static void
plan_slices(const struct device *device, struct knn_plan *plan)
{
    const uint32_t tiles = (plan->count + QUERIES - 1) / QUERIES;
    const uint32_t row_tiles = (plan->vectors.count + ROWS - 1) / ROWS;
    uint32_t slices = ((uint32_t)device->processors * 4 + tiles - 1) / tiles;
    if (slices > (row_tiles + 15) / 16)
        slices = (row_tiles + 15) / 16;
    if (slices < 1)
        slices = 1;
    const uint32_t slice_tiles = (row_tiles + slices - 1) / slices;
    plan->slice_rows = (slice_tiles > 0 ? slice_tiles : 1) * ROWS;
    plan->slices = (row_tiles + plan->slice_rows / ROWS - 1) / (plan->slice_rows / ROWS);
}

omen_status
cuda_knn(struct device *device, const struct device_knn *knn)
{
    if (knn->count == 0)
        return OMEN_OK;
    struct knn_plan plan;
    plan.vectors = knn->vectors;
    plan.erased = knn->erased;
    plan.allowed = knn->allowed;
    plan.count = knn->count;
    plan_slices(device, &plan);
    const uint32_t width = knn->k <= 32    ? 32
                           : knn->k <= 128 ? 128
                                           : 512;
    const size_t query_bytes = (size_t)knn->count * knn->vectors.dim * sizeof(float);
    void *queries = NULL, *lists = NULL;
    omen_status status = cuda_take(device, query_bytes, &queries);
    if (status == OMEN_OK)
        status = cuda_take(device, (size_t)plan.slices * knn->count * width * 8, &lists);
    if (status == OMEN_OK) // each tile reads them, which may be the host's
        status = cuda_status(device,
                             cudaMemcpyAsync(queries, knn->prepared, query_bytes, cudaMemcpyDefault,
                                             device->stream),
                             "copying queries");
    plan.queries = (const float *)queries;
    plan.lists = (uint64_t *)lists;
    if (status == OMEN_OK)
        status = width == 32    ? knn_of_width<1>(device, knn, &plan)
                 : width == 128 ? knn_of_width<4>(device, knn, &plan)
                                : knn_of_width<16>(device, knn, &plan);
    cuda_drop(device, lists);
    cuda_drop(device, queries);
    return status;
}
