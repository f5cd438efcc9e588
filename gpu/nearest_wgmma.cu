// gpu/nearest_wgmma.cu -- the k nearest by brute force on Hopper: products of whole warpgroups, and one comparison a product.
//
// Shape: kernel.
//
// A block keeps groups x 64 queries in shared memory and walks over the base in tiles of 128 rows. One thread asks the copy engine
// for what comes, some chunks of 128 components ahead; each of its warpgroups multiplies its 64 queries with every tile (wgmma), and
// while it looks through its products the tensor cores have those of the others.
//
// A product is looked at up to three times, each time more exactly and more rarely:
// 1. against the least product with which any row of this tile could be near enough: an integer comparison (the tile's extremes
//    are computed beforehand, struct tile_columns);
// 2. where many pass, against its own row's least product, dot * factor_b >= (norm_a + norm_b - limit) / (2 factor_a), rounded so
//    that what is near enough always passes (MARGIN);
// 3. as the exact distance, codec_pair's.
// What is not farther than the last key of its query's list then goes to the list (wgmma_lists_int.cuh). Factors are not negative.
//
// Queues lie in shared memory or, where too few stages of the base would fit, in a launch's scratch (enum queues_at).
//
// Where the factors of a large base are apart, the first of these comparisons lets far too much pass; then a copy of the base in the order
// of its factors is walked over (nearest_order.cu), and keys name the rows as they were.
//
// A large base is walked over twice. The first walk sees one tile of SAMPLE_STEP and keeps SAMPLE_KEPT; the farthest of those is
// where the second begins instead of at infinity, and three of five of its candidates are never met. It can be too near for k rows
// of the base to lie within (for k <= 64 and rows in no order: Poisson of mean 1 reaches 10, 1e-7): a list that is not full in
// the end is begun again without it, in a third walk.
#include <cudaTypedefs.h>
#include <string.h>

#include "gpu/wgmma_lists_int.cuh"

#define GROUP_THREADS 128u
#define GROUP_ROWS 64u
#define STAGE_WIDTH 128u // bytes of each row in one chunk
#define STAGE_BYTES (TILE * STAGE_WIDTH)
#define GROUP_BYTES (GROUP_ROWS * STAGE_WIDTH)
#define STAGES_MAX 6u
#define WARP_QUEUES_BYTES (WARP_ROWS * QUEUE * sizeof(uint64_t))
#define WAVES 2u // blocks of a processor in one launch, with QUEUES_OUTSIDE
#define SAMPLE_ROWS_MIN 262144u
#define ORDER_ROWS_MIN 262144u
#define APART 0.02f // by so much the largest factor of a tile may be above its least, on average
#define SAMPLE_STEP 64u
#define SAMPLE_KEPT 10u

// What one warp has in shared memory.
static __host__ __device__ constexpr size_t
warp_bytes(enum queues_at at)
{
    return sizeof(struct warp_lists) + (at == QUEUES_INSIDE ? WARP_QUEUES_BYTES : 0);
}

// ---- the base's tiles ----
static __global__ void
__launch_bounds__(TILE)
    columns_kernel(struct device_rows base, struct tile_columns *columns, float *apart)
{
    __shared__ float extremes[4][TILE / 32];
    const uint32_t row = blockIdx.x * TILE + threadIdx.x, lane = threadIdx.x % 32;
    const bool there = row < base.count;
    const struct byte_meta meta = there ? base.metas[row] : (struct byte_meta){0.0f, 0.0f};
    struct tile_columns *const tile = &columns[blockIdx.x];
    tile->metas[threadIdx.x] = meta;
    float least = there ? 1.0f / meta.factor : INFINITE, most = there ? 1.0f / meta.factor : 0.0f;
    float low = there ? column_low(meta.norm, base.ip != 0) : INFINITE;
    float high = column_high(meta.norm, base.ip != 0);
    for (uint32_t apart = 16; apart > 0; apart /= 2) {
        least = fminf(least, __shfl_xor_sync(WARP_ALL, least, apart));
        most = fmaxf(most, __shfl_xor_sync(WARP_ALL, most, apart));
        low = fminf(low, __shfl_xor_sync(WARP_ALL, low, apart));
        high = fmaxf(high, __shfl_xor_sync(WARP_ALL, high, apart));
    }
    if (lane == 0) {
        extremes[0][threadIdx.x / 32] = least;
        extremes[1][threadIdx.x / 32] = most;
        extremes[2][threadIdx.x / 32] = low;
        extremes[3][threadIdx.x / 32] = high;
    }
    __syncthreads();
    if (threadIdx.x != 0)
        return;
    for (uint32_t w = 0; w < TILE / 32; w++) {
        least = fminf(least, extremes[0][w]);
        most = fmaxf(most, extremes[1][w]);
        low = fminf(low, extremes[2][w]);
        high = fmaxf(high, extremes[3][w]);
    }
    tile->recip_min = least;
    tile->recip_max = most;
    tile->low_min = low;
    tile->high_max = high;
    atomicAdd(apart, fminf(most / least, 2.0f) - 1.0f); // a factor of 0: as far as that
}

#if HOPPER_CODE
struct barriers {
    uint64_t queries, came[STAGES_MAX], left[STAGES_MAX];
    uint32_t round;
};

#define LEFT_AFTER_CAME (offsetof(struct barriers, left) - offsetof(struct barriers, came))

struct view {
    uint32_t queries, stages;     // addresses: chunks x groups x GROUP_BYTES; stages x STAGE_BYTES
    uint32_t barriers;            // address: of struct barriers
    struct tile_columns *columns; // stages + 1
    uint8_t *lists;               // groups x 4 x warp_bytes
};

// Number of the block's first query.
template <uint32_t groups>
static __device__ __forceinline__ uint32_t
block_first(const struct plan &plan)
{
    return (plan.first_block + blockIdx.x) * groups * GROUP_ROWS;
}

// ---- what walks have in common ----
// Which walks there are: 0 the sample, 1 all, 2 what the sample made too narrow.
static __device__ __forceinline__ uint32_t
first_walk(const struct plan &plan)
{
    return plan.sample_step != 0 ? 0 : 1;
}

// Whether another walk comes; the same for all threads of the block. Asked once after walk 1.
static __device__ __forceinline__ bool
walk_again(const struct plan &plan, uint32_t walk, bool wanted)
{
    if (walk == 0)
        return true;
    if (walk != 1 || plan.sample_step == 0)
        return false;
    return __syncthreads_or(wanted) != 0;
}

// A stage is free when all warps say so.
static __device__ __forceinline__ void
leave_stage(uint32_t came)
{
    if (threadIdx.x % 32 == 0)
        barrier_arrive(came + LEFT_AFTER_CAME);
}

// ---- the warpgroup that copies: one thread of it ----
template <uint32_t groups>
static __device__ __forceinline__ void
copy_all(const struct plan &plan, const struct view &view, const CUtensorMap *queries,
         const CUtensorMap *base)
{
    const bool one = threadIdx.x % GROUP_THREADS == 0;
    if (one) {
        barrier_expect(view.barriers, plan.chunks * groups * GROUP_BYTES);
        for (uint32_t c = 0; c < plan.chunks; c++)
            for (uint32_t g = 0; g < groups; g++)
                copy_box(view.queries + (c * groups + g) * GROUP_BYTES, queries, c * STAGE_WIDTH,
                         block_first<groups>(plan) + g * GROUP_ROWS, view.barriers);
    }
    const uint32_t columns = kept_address(view.columns);
    uint32_t stage = 0, parity = 0, slot = 0;
    uint32_t walk = first_walk(plan);
    do {
        const uint32_t step = walk == 0 ? plan.sample_step : 1;
        for (uint32_t t = 0; t < plan.tiles && one; t += step) {
            for (uint32_t c = 0; c < plan.chunks; c++) {
                const uint32_t came = view.barriers + offsetof(struct barriers, came) + stage * 8;
                barrier_wait(came + LEFT_AFTER_CAME, parity ^ 1);
                barrier_expect(came, STAGE_BYTES + (c == 0 ? sizeof(struct tile_columns) : 0));
                copy_box(view.stages + stage * STAGE_BYTES, base, c * STAGE_WIDTH, t * TILE, came);
                if (c == 0)
                    copy_bytes(columns + slot * sizeof(struct tile_columns), &plan.columns[t],
                               sizeof(struct tile_columns), came);
                stage = stage + 1 == plan.stages ? 0 : stage + 1;
                parity ^= stage == 0 ? 1 : 0;
            }
            slot = slot == plan.stages ? 0 : slot + 1;
        }
        __syncwarp();
    } while (walk_again(plan, walk++, false));
}

// ---- the warpgroups that multiply ----
// Which chunk of the base comes next. All of it is known before its barrier opens.
struct turning {
    uint32_t came; // address of its barrier
    uint32_t rows; // low half of its descriptor
    uint32_t parity;
    uint32_t slot; // of the tile's columns
};

static __device__ __forceinline__ void
turn(const struct plan &plan, const struct view &view, struct turning &turning)
{
    const uint32_t first = view.barriers + offsetof(struct barriers, came);
    const bool around = turning.came == first + (plan.stages - 1) * 8;
    turning.came = around ? first : turning.came + 8;
    turning.rows = around ? descriptor_low(view.stages) : turning.rows + STAGE_BYTES / 16;
    turning.parity ^= around ? 1 : 0;
}

// Asks for the products of all chunks of a tile; returns the barrier of the last one, which they still read.
template <uint32_t groups>
static __device__ __forceinline__ uint32_t
multiply_tile(const struct plan &plan, const struct view &view, uint32_t queries,
              struct turning &turning, int32_t (&sums)[PRODUCTS])
{
    uint32_t before = 0;
    for (uint32_t c = 0; c < plan.chunks; c++) {
        barrier_wait(turning.came, turning.parity);
        __syncwarp();
        products_stand(sums);
        products_begin();
#pragma unroll
        for (uint32_t s = 0; s < STAGE_WIDTH / 32; s++) // 32 bytes are 2 in a descriptor
            multiply_group(sums, descriptor(queries + s * 2), descriptor(turning.rows + s * 2),
                           c + s);
        products_commit();
        products_stand(sums);
        if (c > 0) {
            products_wait<1>();
            leave_stage(before);
        }
        before = turning.came;
        queries += groups * GROUP_BYTES / 16;
        turn(plan, view, turning);
    }
    return before;
}

// The products of tile t, and what is made of them.
template <uint32_t groups, bool ip>
static __device__ __forceinline__ void
walk_tile(const struct plan &plan, const struct view &view, const struct own &own, uint32_t queries,
          uint32_t k, uint32_t t, struct turning &turning, struct asked &asked)
{
    int32_t sums[PRODUCTS];
    const uint32_t before = multiply_tile<groups>(plan, view, queries, turning, sums);
    const struct tile_columns *const columns = &view.columns[turning.slot];
    int32_t bars[2];
    tile_bars<ip>(asked, columns, bars);
    // Parts of tiles before are measured while the tensor cores have this one: when a warp of the block has many, and
    // when a list lets everything pass.
    const uint32_t round = shared_get(own.round);
    if (__any_sync(WARP_ALL, round != asked.round || min(bars[0], bars[1]) == INT32_MIN)) {
        asked.round = round;
        settle<ip>(plan, own, k, FLUSH_FROM, asked);
        tile_bars<ip>(asked, columns, bars);
    }
    products_wait<0>();
    products_stand(sums);
    leave_stage(before);
    look<ip>(plan, own, asked, columns, k, t, bars, sums);
    turning.slot = turning.slot == plan.stages ? 0 : turning.slot + 1;
}

template <uint32_t groups, bool ip, enum queues_at at>
static __device__ __forceinline__ void
multiply_all(const struct plan &plan, const struct view &view)
{
    // The same in all lanes, and the compiler sees it.
    const uint32_t warp = __shfl_sync(WARP_ALL, threadIdx.x / 32, 0), group = warp / 4;
    struct own own;
    own.lists = (struct warp_lists *)(view.lists + warp * warp_bytes(at));
    own.queues = at == QUEUES_OUTSIDE ? plan.queues[blockIdx.x * groups * 4 + warp]
                                      : (uint64_t(*)[QUEUE])(own.lists + 1);
    own.first = block_first<groups>(plan) + warp * WARP_ROWS;
    own.parts = kept_address(own.lists->parts);
    own.round = view.barriers + offsetof(struct barriers, round);
    struct asked asked;
    begin_asked<ip>(plan, own, asked);
    const uint32_t there =
        own.first < plan.in.queries.count ? plan.in.queries.count - own.first : 0;
    clear_lists(plan, own.first, there < WARP_ROWS ? (1u << there) - 1 : ~0u);
    struct turning turning = {view.barriers + (uint32_t)offsetof(struct barriers, came),
                              descriptor_low(view.stages), 0, 0};
    const uint32_t queries = descriptor_low(view.queries) + group * (GROUP_BYTES / 16);
    barrier_wait(view.barriers, 0);
    uint32_t walk = first_walk(plan);
    bool wanted = false;
    do {
        const uint32_t step = walk == 0 ? plan.sample_step : 1;
        const uint32_t k = walk == 0 ? SAMPLE_KEPT : plan.in.k;
        for (uint32_t t = 0; t < plan.tiles; t += step)
            walk_tile<groups, ip>(plan, view, own, queries, k, t, turning, asked);
        do
            settle<ip>(plan, own, k, 1, asked);
        while (asked.waiting != 0);
        if (plan.sample_step != 0 && walk < 2)
            wanted = begin_again<ip>(plan, own, walk, asked);
    } while (walk_again(plan, walk++, wanted));
}
#endif

template <uint32_t groups, bool ip, enum queues_at at>
static __global__ void __launch_bounds__((groups + 1) * GROUP_THREADS, 1)
    wgmma_kernel(const __grid_constant__ CUtensorMap queries,
                 const __grid_constant__ CUtensorMap base, const __grid_constant__ struct plan plan)
{
#if HOPPER_CODE
    extern __shared__ __align__(1024) uint8_t shared[];
    __shared__ struct barriers barriers; // tells the host that this is not the empty kernel
    struct view view;
    uint8_t *const tiles = shared + (1024 - shared_address(shared) % 1024) % 1024;
    uint8_t *const stages = tiles + plan.chunks * groups * GROUP_BYTES;
    view.queries = kept_address(tiles);
    view.stages = kept_address(stages);
    view.barriers = kept_address(&barriers);
    view.lists = stages + plan.stages * STAGE_BYTES;
    view.columns = (struct tile_columns *)(view.lists + groups * 4 * warp_bytes(at));
    if (threadIdx.x == 0) {
        barriers.round = 0;
        const uint32_t came = view.barriers + offsetof(struct barriers, came);
        barrier_init(view.barriers, 1);
        for (uint32_t s = 0; s < plan.stages; s++) {
            barrier_init(came + s * 8, 1);
            barrier_init(came + LEFT_AFTER_CAME + s * 8, groups * 4);
        }
        barriers_known();
    }
    __syncthreads();
    // With four groups a thread may have 96 registers; those that copy lend theirs.
    if (threadIdx.x / GROUP_THREADS == groups) {
        if (groups == 4)
            registers_to<24, true>();
        copy_all<groups>(plan, view, &queries, &base);
    } else {
        if (groups == 4)
            registers_to<112, false>();
        multiply_all<groups, ip, at>(plan, view);
    }
#endif
}

// ---- the host's half ----
// How a block is made up.
struct shape {
    uint32_t groups, chunks, stages;
    enum queues_at queues;
};

static size_t
shared_bytes(const struct shape *shape)
{
    return 1024 + (size_t)shape->chunks * shape->groups * GROUP_BYTES +
           (size_t)shape->stages * STAGE_BYTES + shape->groups * 4 * warp_bytes(shape->queues) +
           (shape->stages + 1) * sizeof(struct tile_columns);
}

// As many stages as fit. False when they are fewer than `least`.
static bool
stages_fit(const struct device *device, uint32_t least, struct shape *shape)
{
    shape->stages = STAGES_MAX;
    while (shape->stages >= least &&
           shared_bytes(shape) + 1024 > device->shared_max) // 1024: the barriers
        shape->stages--;
    return shape->stages >= least;
}

// The first of these that fits. Four warpgroups share each tile of the base, but not at the price of less than three stages: with two, one
// is multiplied while the other is on its way, which takes longer.
static bool
shape_for(const struct device *device, uint32_t chunks, struct shape *shape)
{
    static const struct {
        uint32_t groups, stages_min;
        enum queues_at queues;
    } shapes[] = {{4, 3, QUEUES_INSIDE}, {4, 3, QUEUES_OUTSIDE}, {2, 2, QUEUES_OUTSIDE}};
    for (uint32_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        *shape = (struct shape){shapes[s].groups, chunks, 0, shapes[s].queues};
        if (stages_fit(device, shapes[s].stages_min, shape))
            return true;
    }
    return false;
}

static omen_status
tensor_map(struct device *device, const struct device_rows *rows, uint32_t box_rows,
           CUtensorMap *map)
{
    void *entry = NULL;
    enum cudaDriverEntryPointQueryResult found;
    const omen_status status =
        cuda_status(device,
                    cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000,
                                                     cudaEnableDefault, &found),
                    "the driver's tensor maps");
    if (status != OMEN_OK)
        return status;
    const cuuint64_t sizes[2] = {rows->stride, rows->count}, strides[1] = {rows->stride};
    const cuuint32_t box[2] = {STAGE_WIDTH, box_rows}, steps[2] = {1, 1};
    const CUresult result = ((PFN_cuTensorMapEncodeTiled_v12000)entry)(
        map, CU_TENSOR_MAP_DATA_TYPE_UINT8, 2, (void *)rows->codes, sizes, strides, box, steps,
        CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
        CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return cuda_status(device, result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue,
                       "a tensor map of coded rows");
}

static uint32_t
blocks_of(const struct shape *shape, const struct plan *plan)
{
    const uint32_t rows = shape->groups * GROUP_ROWS;
    return (plan->in.queries.count + rows - 1) / rows;
}

// Blocks of one launch. With queues outside so many that the queues stay in the L2 cache (17 MB with four groups on 132 processors):
// all blocks take as long as each other, so nothing is lost where one launch ends and the next begins.
static uint32_t
blocks_at_once(const struct device *device, const struct shape *shape, const struct plan *plan)
{
    const uint32_t all = blocks_of(shape, plan), most = (uint32_t)device->processors * WAVES;
    return shape->queues == QUEUES_INSIDE || all < most ? all : most;
}

template <uint32_t groups, bool ip, enum queues_at at>
static omen_status
launch(struct device *device, const struct shape *shape, struct plan *plan)
{
    CUtensorMap queries, base;
    const auto kernel = wgmma_kernel<groups, ip, at>;
    const size_t bytes = shared_bytes(shape);
    omen_status status = tensor_map(device, &plan->in.queries, GROUP_ROWS, &queries);
    if (status == OMEN_OK)
        status = tensor_map(device, &plan->in.base, TILE, &base);
    if (status == OMEN_OK)
        status = cuda_status(
            device,
            cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes),
            "shared memory of nearest");
    const uint32_t all = blocks_of(shape, plan), most = blocks_at_once(device, shape, plan);
    for (uint32_t first = 0; first < all && status == OMEN_OK; first += most) {
        plan->first_block = first;
        const uint32_t blocks = all - first < most ? all - first : most;
        kernel<<<blocks, (groups + 1) * GROUP_THREADS, bytes, device->stream>>>(queries, base,
                                                                                *plan);
        status = cuda_launched(device, "nearest");
    }
    return status;
}

template <bool ip>
static omen_status
launch_shape(struct device *device, const struct shape *shape, struct plan *plan)
{
    if (shape->queues == QUEUES_INSIDE)
        return launch<4, ip, QUEUES_INSIDE>(device, shape, plan);
    return shape->groups == 4 ? launch<4, ip, QUEUES_OUTSIDE>(device, shape, plan)
                              : launch<2, ip, QUEUES_OUTSIDE>(device, shape, plan);
}

static uint32_t
chunks_of(const struct device_rows *rows)
{
    return (rows->stride + STAGE_WIDTH - 1) / STAGE_WIDTH;
}

bool
cuda_nearest_wgmma_can(const struct device *device, const struct device_nearest *in)
{
    struct shape shape;
    cudaFuncAttributes facts;
    if (device->major != 9 || in->places != NULL || in->base.count == 0 ||
        ((uintptr_t)in->queries.codes | (uintptr_t)in->base.codes) % 16 != 0 ||
        !shape_for(device, chunks_of(&in->base), &shape))
        return false;
    if (cudaFuncGetAttributes(&facts, wgmma_kernel<4, false, QUEUES_INSIDE>) != cudaSuccess) {
        (void)cudaGetLastError();
        return false;
    }
    return facts.sharedSizeBytes != 0; // else compiled for no Hopper
}

// What is known of each tile, and how far factors are apart within them, on average; the latter to device->cells.
static omen_status
make_columns(struct device *device, const struct device_rows *base, struct tile_columns *columns)
{
    const omen_status status =
        cuda_status(device, cudaMemsetAsync(device->cells, 0, sizeof(float), device->stream),
                    "a counter of nearest");
    if (status != OMEN_OK)
        return status;
    columns_kernel<<<(base->count + TILE - 1) / TILE, TILE, 0, device->stream>>>(
        *base, columns, (float *)device->cells);
    return cuda_launched(device, "columns of nearest");
}

// After make_columns: a copy in order, and its columns, where that is worth it and there is memory.
static omen_status
order_base(struct device *device, const struct device_rows *base, struct tile_columns *columns,
           struct cuda_ordered *ordered)
{
    float *const apart = (float *)device->host_cells;
    const uint32_t tiles = (base->count + TILE - 1) / TILE;
    *ordered = {};
    if (base->count < ORDER_ROWS_MIN)
        return OMEN_OK;
    omen_status status = cuda_status(device,
                                     cudaMemcpyAsync(apart, device->cells, sizeof *apart,
                                                     cudaMemcpyDeviceToHost, device->stream),
                                     "how far factors are apart");
    if (status == OMEN_OK)
        status =
            cuda_status(device, cudaStreamSynchronize(device->stream), "how far factors are apart");
    if (status != OMEN_OK || !(*apart > APART * (float)tiles))
        return status;
    status = cuda_order(device, base, ordered);
    if (status == OMEN_E_NO_MEMORY)
        return OMEN_OK;
    return status == OMEN_OK ? make_columns(device, &ordered->rows, columns) : status;
}

omen_status
cuda_nearest_wgmma(struct device *device, const struct device_nearest *in)
{
    struct plan plan = {.in = *in};
    struct shape shape;
    void *scratch = NULL;
    plan.tiles = (in->base.count + TILE - 1) / TILE;
    if (!shape_for(device, chunks_of(&in->base), &shape)) // never, after _can
        return OMEN_E_UNSUPPORTED;
    plan.chunks = shape.chunks;
    plan.stages = shape.stages;
    if (in->base.count >= SAMPLE_ROWS_MIN && in->k >= SAMPLE_KEPT)
        plan.sample_step = SAMPLE_STEP;
    const size_t queues =
        shape.queues == QUEUES_OUTSIDE
            ? (size_t)blocks_at_once(device, &shape, &plan) * shape.groups * 4 * WARP_QUEUES_BYTES
            : 0;
    omen_status status =
        cuda_take(device, queues + plan.tiles * sizeof(struct tile_columns), &scratch);
    if (status != OMEN_OK)
        return status;
    struct tile_columns *const columns = (struct tile_columns *)((uint8_t *)scratch + queues);
    plan.queues = (uint64_t(*)[WARP_ROWS][QUEUE])scratch;
    plan.columns = columns;
    struct cuda_ordered ordered = {};
    status = make_columns(device, &in->base, columns);
    if (status == OMEN_OK)
        status = order_base(device, &in->base, columns, &ordered);
    if (ordered.memory != NULL) {
        plan.in.base = ordered.rows;
        plan.numbers = ordered.numbers;
    }
    if (status == OMEN_OK)
        status = in->queries.ip != 0 ? launch_shape<true>(device, &shape, &plan)
                                     : launch_shape<false>(device, &shape, &plan);
    cuda_drop(device, ordered.memory);
    cuda_drop(device, scratch);
    return status;
}
