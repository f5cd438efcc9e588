// gpu/nearest_wgmma.cu -- the k nearest by brute force on Hopper: products of whole warpgroups, and one comparison a product.
//
// Shape: kernel.
//
// A block keeps GROUPS x 64 queries in shared memory and walks over the base in tiles of 128 rows. One thread asks the copy engine
// for what comes, STAGES chunks ahead; each of GROUPS warpgroups multiplies its 64 queries with every tile (wgmma), and while it
// looks through its products the tensor cores have those of the others. A query belongs to one warp, four lanes of it, which
// keep its limit, its queue's length and its bar in registers: warps never wait for each other to keep a list.
//
// A product is looked at three times, each time more exactly and more rarely:
// 1. against the least product with which any row of this tile could be near enough: one integer comparison, eight products a
//    vote (the tile's extremes are computed beforehand, tile_columns);
// 2. against its own row's least product: |dot| * factor_b >= (norm_a + norm_b - limit) / (2 factor_a), rounded so that what is
//    near enough always passes (MARGIN);
// 3. as the exact distance, codec_pair's. What is not farther than the limit goes to the query's queue of 32; a queue that could
//    run over is sorted into the list, which stays in the output.
//
// A large base is walked over twice. The first walk sees one tile of SAMPLE_STEP and keeps SAMPLE_KEPT; the farthest of those is
// where the second begins instead of at infinity, and three of five of its candidates are never met. It can be too near for k rows
// of the base to lie within (for k <= 64 and rows in no order: Poisson of mean 1, more than 10 times 1e-7): a list that is not
// full in the end is begun again without it, in a third walk.
#include <cudaTypedefs.h>

#include "gpu/cuda_int.cuh"
#include "gpu/sort_int.cuh"
#include "gpu/wgmma_int.cuh"

#define GROUP_THREADS 128u
#define GROUP_ROWS 64u
#define TILE 128u
#define STAGE_WIDTH 128u // bytes of each row in one chunk
#define STAGE_BYTES (TILE * STAGE_WIDTH)
#define GROUP_BYTES (GROUP_ROWS * STAGE_WIDTH)
#define STAGES_MAX 6u
#define STAGES_MIN 3u
#define QUEUE 32u
#define QUAD 4u        // lanes of one query, and what one of its places can bring at once
#define FLUSH_FROM 12u // keys in a queue that is sorted in when another one of the warp is full
#define BLOCK_PRODUCTS 8u
#define SAMPLE_ROWS_MIN 262144u
#define SAMPLE_STEP 64u
#define SAMPLE_KEPT 10u
#define INFINITE __int_as_float(0x7f800000)
#define MARGIN 1.9073486e-6f // 2^-19: 32 half units of a float's last place; about twelve roundings are made

// Of a tile's rows, and what all of them have in common; as the copy engine brings it.
struct tile_columns {
    struct byte_meta metas[TILE];
    float recip_min, recip_max; // of 1 / factor
    float low_min, high_max;    // of column_low, and of the norm above 0
};

struct plan {
    struct device_nearest in;
    const struct tile_columns *columns;
    uint32_t tiles, chunks, stages;
    uint32_t sample_step; // 0: no first walk
    uint32_t ordered;
};

// A query: what is seldom needed, in shared memory.
struct query {
    float factor, norm;
    float start; // the limit while the list is not full
};

// What a lane knows of its two queries, 8 rows apart.
struct asked {
    uint32_t first; // number of the first
    uint32_t flags; // bit h: the list is full, or there is no such query
    uint32_t queued; // 16 bits each
    float limit[2]; // distance of the list's last key, or the start; below 0: no such query, or done
    float bar[2], scale[2], lean[2];
};

// The part of codec_pair's and codec_pair_ip's distance that grows with a row alone (never above the true one).
static __device__ __forceinline__ float
column_low(float norm, bool ip)
{
    if (ip)
        return norm < 0.0f ? norm * norm * (1.0f - MARGIN) : 0.0f;
    return norm - fabsf(norm) * MARGIN;
}

static __device__ __forceinline__ float
column_high(float norm, bool ip)
{
    return ip && norm > 0.0f ? norm : 0.0f;
}

// ---- the base's tiles ----
static __global__ void
__launch_bounds__(TILE) columns_kernel(struct device_rows base, struct tile_columns *columns)
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
}

#if HOPPER_CODE
struct barriers {
    uint64_t queries, came[STAGES_MAX], left[STAGES_MAX];
};

struct view {
    uint32_t queries, stages; // addresses: chunks x GROUPS x GROUP_BYTES; stages x STAGE_BYTES
    uint32_t queries_came, came, left;
    struct tile_columns *columns; // stages + 1
    uint64_t *queues;             // GROUPS x 64 x QUEUE
    struct query *own;            // GROUPS x 64
};

// ---- what walks have in common ----
// Which walks there are: 0 the sample, 1 all, 2 what the sample made too narrow.
static __device__ __forceinline__ uint32_t
first_walk(const struct plan &plan)
{
    return plan.sample_step != 0 ? 0 : 1;
}

// Whether another walk comes; the same for all threads of the block.
static __device__ __forceinline__ bool
walk_again(const struct plan &plan, uint32_t walk, bool wanted)
{
    if (walk == 0)
        return true;
    return walk == 1 && plan.sample_step != 0 && __syncthreads_or(wanted) != 0;
}

// ---- the warpgroup that copies: one thread of it ----
template <uint32_t groups>
static __device__ __forceinline__ void
copy_all(const struct plan &plan, const struct view &view, const CUtensorMap *queries,
         const CUtensorMap *base)
{
    const bool one = threadIdx.x % GROUP_THREADS == 0;
    if (one) {
        barrier_expect(view.queries_came, plan.chunks * groups * GROUP_BYTES);
        for (uint32_t c = 0; c < plan.chunks; c++)
            for (uint32_t g = 0; g < groups; g++)
                copy_box(view.queries + (c * groups + g) * GROUP_BYTES, queries, c * STAGE_WIDTH,
                         (blockIdx.x * groups + g) * GROUP_ROWS, view.queries_came);
    }
    const uint32_t columns = kept_address(view.columns);
    uint32_t stage = 0, parity = 0, slot = 0;
    uint32_t walk = first_walk(plan);
    do {
        const uint32_t step = walk == 0 ? plan.sample_step : 1;
        for (uint32_t t = 0; t < plan.tiles && one; t += step) {
            for (uint32_t c = 0; c < plan.chunks; c++) {
                const uint32_t came = view.came + stage * 8;
                barrier_wait(view.left + stage * 8, parity ^ 1);
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

// ---- bars ----
// From a limit to what products are compared with.
template <bool ip>
static __device__ __forceinline__ float
bar_of(const struct plan &plan, const struct query &query, float scale, float limit)
{
    if (limit < 0.0f)
        return INFINITE;
    if (scale == 0.0f)
        return -INFINITE;
    if (!ip)
        return ((query.norm - limit) - (fabsf(query.norm) + limit) * MARGIN) * scale;
    const float longer = (query.norm < 0.0f ? query.norm * query.norm : 0.0f) +
                         2.0f * plan.in.queries.radius2;
    return ((longer - limit) - (longer + limit) * MARGIN) * scale;
}

// `own`: the warp's 16 queries.
template <bool ip>
static __device__ __forceinline__ void
begin_asked(const struct plan &plan, uint32_t first, struct query *own, struct asked &asked)
{
    const uint32_t lane = threadIdx.x % 32;
    asked.first = first + lane / QUAD;
    asked.flags = asked.queued = 0;
#pragma unroll
    for (uint32_t h = 0; h < 2; h++) {
        const uint32_t row = asked.first + h * 8;
        const bool there = row < plan.in.queries.count;
        const struct byte_meta meta = plan.in.queries.metas[there ? row : 0];
        const struct query query = {meta.factor, meta.norm, there ? INFINITE : -1.0f};
        // Too little to divide by: then every row is measured.
        const float scale = meta.factor > 1e-18f ? __fdividef(0.5f, meta.factor) : 0.0f;
        asked.scale[h] = scale;
        asked.lean[h] = ip && meta.norm > 0.0f
                            ? 2.0f * meta.norm * scale * (1.0f + MARGIN)
                            : 0.0f;
        asked.limit[h] = query.start;
        asked.bar[h] = bar_of<ip>(plan, query, scale, query.start);
        asked.flags |= there ? 0 : 1u << h;
        if (lane % QUAD == 0)
            own[lane / QUAD + h * 8] = query;
    }
    __syncwarp();
}

// The least product with which a row of this tile can be near enough.
template <bool ip>
static __device__ __forceinline__ int32_t
tile_bar(const struct asked &asked, uint32_t h, const float4 &extremes)
{
    float rest = __fmaf_rn(extremes.z, asked.scale[h], asked.bar[h]);
    if (ip)
        rest = __fmaf_rn(-asked.lean[h], extremes.w, rest);
    const float bar = rest * (rest > 0.0f ? extremes.x : extremes.y);
    return bar > -2e9f ? __float2int_rd(bar) : INT32_MIN; // not a number: all of them
}

// ---- lists ----
// The keys of the warp's 16 queries; lane l writes what lane l reads when it sorts in (list_take).
static __device__ __forceinline__ void
clear_lists(const struct plan &plan, uint32_t first, uint32_t which)
{
    const uint32_t lane = threadIdx.x % 32;
    for (uint32_t i = 0; i < 16; i++) {
        const uint32_t of_quad = __shfl_sync(WARP_ALL, which, i % 8 * QUAD);
        for (uint32_t r = lane; r < plan.in.k && (of_quad >> (i / 8) & 1) != 0; r += 32)
            plan.in.keys[(size_t)(first + i) * plan.in.k + r] = KEY_NONE;
    }
}

// Sorts the queues with `least` keys or more into their lists.
template <bool ip>
static __device__ __forceinline__ void
flush_queues(const struct plan &plan, const uint64_t *queues, const struct query *own,
             uint32_t first, uint32_t k, uint32_t least, struct asked &asked)
{
    const uint32_t lane = threadIdx.x % 32;
    __syncwarp();
#pragma unroll 1
    for (uint32_t h = 0; h < 2; h++) {
        const uint32_t queued = asked.queued >> (h * 16) & 0xffffu;
        uint32_t leaders = __ballot_sync(WARP_ALL, queued >= least && lane % QUAD == 0);
        while (leaders != 0) {
            const uint32_t leader = __ffs((int)leaders) - 1, i = leader / QUAD + h * 8;
            leaders &= leaders - 1;
            const uint32_t count = __shfl_sync(WARP_ALL, queued, leader);
            const uint64_t key = lane < count ? queues[i * QUEUE + lane] : KEY_NONE;
            const uint64_t last =
                list_take<2>(plan.in.keys + (size_t)(first + i) * plan.in.k, k, key);
            const struct query query = own[i];
            const float limit = last != KEY_NONE ? key_distance(last) : query.start;
            const float bar =
                bar_of<ip>(plan, query, h != 0 ? asked.scale[1] : asked.scale[0], limit);
            const bool mine = lane / QUAD == leader / QUAD;
            asked.queued &= mine ? ~(0xffffu << (h * 16)) : ~0u;
            asked.flags |= mine && last != KEY_NONE ? 1u << h : 0u;
            asked.limit[0] = mine && h == 0 ? limit : asked.limit[0];
            asked.limit[1] = mine && h != 0 ? limit : asked.limit[1];
            asked.bar[0] = mine && h == 0 ? bar : asked.bar[0];
            asked.bar[1] = mine && h != 0 ? bar : asked.bar[1];
        }
    }
    __syncwarp();
}

// ---- a tile's products ----
// Eight products of rows that may be near: a bit for each that is. `metas`: of the lane's first column among them.
template <bool ip>
static __device__ __forceinline__ uint32_t
look_closer(const struct asked &asked, const struct byte_meta *metas,
            const int32_t (&part)[BLOCK_PRODUCTS])
{
    uint32_t near = 0;
#pragma unroll
    for (uint32_t i = 0; i < BLOCK_PRODUCTS; i += 4) {
        const float4 two = *(const float4 *)&metas[i * 2]; // factor, norm
#pragma unroll
        for (uint32_t e = 0; e < 2; e++) {
            const float factor = e != 0 ? two.z : two.x, norm = e != 0 ? two.w : two.y;
            const float low = column_low(norm, ip), high = column_high(norm, ip);
#pragma unroll
            for (uint32_t h = 0; h < 2; h++) {
                float rest = __fmaf_rn(low, asked.scale[h], asked.bar[h]);
                if (ip)
                    rest = __fmaf_rn(-asked.lean[h], high, rest);
                const float over =
                    __fmaf_rn(__int2float_rn(part[i + h * 2 + e]), factor, -rest);
                near |= over < 0.0f ? 0u : 1u << (i + h * 2 + e); // not a number: near
            }
        }
    }
    return near;
}

#define PART(b)                                                                                    \
    case b:                                                                                        \
        _Pragma("unroll") for (uint32_t i = 0; i < BLOCK_PRODUCTS; i++) part[i] =                  \
            sums[(b)*BLOCK_PRODUCTS + i];                                                          \
        break;

// A block of the products, the same in all lanes: registers have no numbers at run time.
static __device__ __forceinline__ void
pick_part(const int32_t (&sums)[PRODUCTS], uint32_t block, int32_t (&part)[BLOCK_PRODUCTS])
{
    switch (block) {
        PART(0) PART(1) PART(2) PART(3) PART(4) PART(5) PART(6)
    default:
        PART(7)
    }
}

static __device__ __forceinline__ int32_t
pick_one(const int32_t (&part)[BLOCK_PRODUCTS], uint32_t i)
{
    const int32_t a = (i & 1) != 0 ? part[1] : part[0], b = (i & 1) != 0 ? part[3] : part[2];
    const int32_t c = (i & 1) != 0 ? part[5] : part[4], d = (i & 1) != 0 ? part[7] : part[6];
    const int32_t ab = (i & 2) != 0 ? b : a, cd = (i & 2) != 0 ? d : c;
    return (i & 4) != 0 ? cd : ab;
}

// What is near enough of one place of the products goes to the queues; true when one could not take the next four.
// `base_row` is that of the lane's column.
template <bool ip>
static __device__ __forceinline__ bool
queue_near(const struct plan &plan, struct asked &asked, uint64_t *queues,
           const struct query *own, bool near, uint32_t h, int32_t dot, uint32_t base_row,
           const struct byte_meta &meta)
{
    const uint32_t lane = threadIdx.x % 32, i = lane / QUAD + h * 8;
    const float distance = pair_distance(own[i].factor, own[i].norm, meta.factor, meta.norm, dot,
                                         ip, plan.in.queries.radius2);
    near = near && base_row < plan.in.base.count &&
           (plan.in.skip_self == 0 || base_row != asked.first + h * 8) &&
           distance <= (h != 0 ? asked.limit[1] : asked.limit[0]);
    const uint32_t quad = __ballot_sync(WARP_ALL, near) >> (lane & ~(QUAD - 1)) & 15u;
    const uint32_t queued = asked.queued >> (h * 16) & 0xffffu;
    if (near)
        queues[i * QUEUE + queued + __popc(quad & ((1u << lane % QUAD) - 1))] =
            key_of(distance, base_row);
    asked.queued += __popc(quad) << (h * 16);
    return __any_sync(WARP_ALL, queued + __popc(quad) > QUEUE - QUAD);
}

// Looks through the products of tile t.
template <bool ip>
static __device__ __forceinline__ void
look(const struct plan &plan, struct asked &asked, const struct tile_columns *columns,
     uint64_t *queues, const struct query *own, uint32_t first, uint32_t k, uint32_t t,
     int32_t bar0, int32_t bar1, const int32_t (&sums)[PRODUCTS])
{
    uint32_t mine = 0;
#pragma unroll
    for (uint32_t block = 0; block < PRODUCTS / BLOCK_PRODUCTS; block++) {
        const uint32_t i = block * BLOCK_PRODUCTS;
        const int32_t most0 = max(max(sums[i], sums[i + 1]), max(sums[i + 4], sums[i + 5]));
        const int32_t most1 = max(max(sums[i + 2], sums[i + 3]), max(sums[i + 6], sums[i + 7]));
        mine |= most0 >= bar0 || most1 >= bar1 ? 1u << block : 0u;
    }
    uint32_t blocks = __reduce_or_sync(WARP_ALL, mine);
#pragma unroll 1
    while (blocks != 0) {
        const uint32_t block = __ffs((int)blocks) - 1;
        blocks &= blocks - 1;
        const uint32_t column = block * 16 + threadIdx.x % QUAD * 2;
        int32_t part[BLOCK_PRODUCTS];
        pick_part(sums, block, part);
        const uint32_t bits = look_closer<ip>(asked, &columns->metas[column], part);
        uint32_t hot = __reduce_or_sync(WARP_ALL, bits);
#pragma unroll 1
        while (hot != 0) {
            const uint32_t i = __ffs((int)hot) - 1, at = column + i / 4 * 8 + i % 2;
            hot &= hot - 1;
            if (queue_near<ip>(plan, asked, queues, own, (bits >> i & 1) != 0, i / 2 % 2,
                               pick_one(part, i), t * TILE + at, columns->metas[at]))
                flush_queues<ip>(plan, queues, own, first, k, FLUSH_FROM, asked);
        }
    }
}

// ---- the warpgroups that multiply ----
struct turning {
    uint32_t stage, parity, slot;
};

// Asks for the products of all chunks of a tile; returns the last one's stage, which they still read.
template <uint32_t groups>
static __device__ __forceinline__ uint32_t
multiply_tile(const struct plan &plan, const struct view &view, uint32_t group,
              struct turning &turning, int32_t (&sums)[PRODUCTS])
{
    const bool one = threadIdx.x % 32 == 0;
    uint32_t before = 0;
    for (uint32_t c = 0; c < plan.chunks; c++) {
        const uint64_t a = tile_descriptor(view.queries + (c * groups + group) * GROUP_BYTES);
        const uint64_t b = tile_descriptor(view.stages + turning.stage * STAGE_BYTES);
        barrier_wait(view.came + turning.stage * 8, turning.parity);
        __syncwarp();
        products_stand(sums);
        products_begin();
#pragma unroll
        for (uint32_t s = 0; s < STAGE_WIDTH / 32; s++) // 32 bytes are 2 in a descriptor
            multiply_group(sums, a + s * 2, b + s * 2, c + s);
        products_commit();
        products_stand(sums);
        if (c > 0) {
            products_wait<1>();
            if (one)
                barrier_arrive(view.left + before * 8);
        }
        before = turning.stage;
        turning.stage = turning.stage + 1 == plan.stages ? 0 : turning.stage + 1;
        turning.parity ^= turning.stage == 0 ? 1 : 0;
    }
    return before;
}

// Between walks: 0 is followed by 1, which begins with what 0 gave; 1 by 2, for the lists that are not full. True when one of
// these is not.
template <bool ip>
static __device__ __forceinline__ bool
begin_again(const struct plan &plan, struct query *own, uint32_t first, uint32_t walk,
            struct asked &asked)
{
    const uint32_t lane = threadIdx.x % 32;
    uint32_t cleared = 0;
#pragma unroll
    for (uint32_t h = 0; h < 2; h++) {
        const bool there = asked.first + h * 8 < plan.in.queries.count;
        const bool clear = there && (walk == 0 || (asked.flags >> h & 1) == 0);
        struct query query = own[lane / QUAD + h * 8];
        query.start = walk == 0 ? asked.limit[h] : clear ? INFINITE : -1.0f;
        cleared |= clear ? 1u << h : 0u;
        asked.limit[h] = query.start;
        asked.bar[h] = bar_of<ip>(plan, query, asked.scale[h], query.start);
        __syncwarp();
        if (lane % QUAD == 0)
            own[lane / QUAD + h * 8] = query;
    }
    __syncwarp();
    asked.flags &= ~cleared;
    clear_lists(plan, first, cleared);
    return cleared != 0;
}

template <uint32_t groups, bool ip>
static __device__ __forceinline__ void
multiply_all(const struct plan &plan, const struct view &view)
{
    // The same in all lanes, and the compiler sees it.
    const uint32_t warp = __shfl_sync(WARP_ALL, threadIdx.x / 32, 0), group = warp / 4;
    const uint32_t first = blockIdx.x * groups * GROUP_ROWS + warp * 16;
    uint64_t *const queues = view.queues + (size_t)warp * 16 * QUEUE;
    struct query *const own = view.own + warp * 16;
    const bool ordered = groups == 4 && plan.ordered != 0;
    struct asked asked;
    begin_asked<ip>(plan, first, own, asked);
    clear_lists(plan, first, ~asked.flags);
    struct turning turning = {0, 0, 0};
    if (ordered && group >= 2) // two at a time: the first two have their turn
        turn_pass(1 + (group + 2) % groups, 2 * GROUP_THREADS);
    barrier_wait(view.queries_came, 0);
    uint32_t walk = first_walk(plan);
    bool wanted = false;
    do {
        const uint32_t step = walk == 0 ? plan.sample_step : 1;
        const uint32_t k = walk == 0 ? SAMPLE_KEPT : plan.in.k;
        for (uint32_t t = 0; t < plan.tiles; t += step) {
            int32_t sums[PRODUCTS];
            if (ordered)
                turn_come(1 + group, 2 * GROUP_THREADS);
            const uint32_t stage = multiply_tile<groups>(plan, view, group, turning, sums);
            const struct tile_columns *const columns = &view.columns[turning.slot];
            const float4 extremes = *(const float4 *)&columns->recip_min;
            const int32_t bar0 = tile_bar<ip>(asked, 0, extremes);
            const int32_t bar1 = tile_bar<ip>(asked, 1, extremes);
            products_wait<0>();
            products_stand(sums);
            if (threadIdx.x % 32 == 0)
                barrier_arrive(view.left + stage * 8);
            if (ordered)
                turn_pass(1 + (group + 2) % groups, 2 * GROUP_THREADS);
            look<ip>(plan, asked, columns, queues, own, first, k, t, bar0, bar1, sums);
            turning.slot = turning.slot == plan.stages ? 0 : turning.slot + 1;
        }
        flush_queues<ip>(plan, queues, own, first, k, 1, asked);
        if (plan.sample_step != 0 && walk < 2)
            wanted = begin_again<ip>(plan, own, first, walk, asked);
    } while (walk_again(plan, walk++, wanted));
}
#endif

template <uint32_t groups, bool ip>
static __global__ void
__launch_bounds__((groups + 1) * GROUP_THREADS, 1)
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
    view.queries_came = kept_address(&barriers.queries);
    view.came = view.queries_came + offsetof(struct barriers, came);
    view.left = view.queries_came + offsetof(struct barriers, left);
    view.queues = (uint64_t *)(stages + plan.stages * STAGE_BYTES);
    view.columns = (struct tile_columns *)(view.queues + groups * GROUP_ROWS * QUEUE);
    view.own = (struct query *)(view.columns + plan.stages + 1);
    if (threadIdx.x == 0) {
        barrier_init(view.queries_came, 1);
        for (uint32_t s = 0; s < plan.stages; s++) {
            barrier_init(view.came + s * 8, 1);
            barrier_init(view.left + s * 8, groups * 4);
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
        multiply_all<groups, ip>(plan, view);
    }
#endif
}

// ---- the host's half ----
static size_t
shared_bytes(uint32_t groups, uint32_t chunks, uint32_t stages)
{
    return 1024 + (size_t)chunks * groups * GROUP_BYTES + (size_t)stages * STAGE_BYTES +
           (size_t)groups * GROUP_ROWS * (QUEUE * sizeof(uint64_t) + sizeof(struct query)) +
           (stages + 1) * sizeof(struct tile_columns);
}

// How many stages fit; 0 when too few.
static uint32_t
stages_that_fit(const struct device *device, uint32_t groups, uint32_t chunks)
{
    uint32_t stages = STAGES_MAX;
    while (stages >= STAGES_MIN &&
           shared_bytes(groups, chunks, stages) + 1024 > device->shared_max) // 1024: the barriers
        stages--;
    return stages >= STAGES_MIN ? stages : 0;
}

static omen_status
tensor_map(struct device *device, const struct device_rows *rows, uint32_t box_rows,
           CUtensorMap *map)
{
    void *entry = NULL;
    enum cudaDriverEntryPointQueryResult found;
    const omen_status status = cuda_status(
        device,
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000, cudaEnableDefault,
                                         &found),
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

template <uint32_t groups, bool ip>
static omen_status
launch(struct device *device, struct plan *plan)
{
    CUtensorMap queries, base;
    const auto kernel = wgmma_kernel<groups, ip>;
    const size_t bytes = shared_bytes(groups, plan->chunks, plan->stages);
    omen_status status = tensor_map(device, &plan->in.queries, GROUP_ROWS, &queries);
    if (status == OMEN_OK)
        status = tensor_map(device, &plan->in.base, TILE, &base);
    if (status == OMEN_OK)
        status = cuda_status(
            device,
            cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes),
            "shared memory of nearest");
    if (status != OMEN_OK)
        return status;
    const uint32_t rows = groups * GROUP_ROWS;
    kernel<<<(plan->in.queries.count + rows - 1) / rows, (groups + 1) * GROUP_THREADS, bytes,
             device->stream>>>(queries, base, *plan);
    return cuda_launched(device, "nearest");
}

// Four warpgroups share each tile where four times 64 queries fit, else two.
static uint32_t
groups_for(const struct device *device, uint32_t chunks, uint32_t *stages)
{
    *stages = stages_that_fit(device, 4, chunks);
    if (*stages >= 4)
        return 4;
    *stages = stages_that_fit(device, 2, chunks);
    return *stages != 0 ? 2 : 0;
}

static uint32_t
chunks_of(const struct device_rows *rows)
{
    return (rows->stride + STAGE_WIDTH - 1) / STAGE_WIDTH;
}

bool
cuda_nearest_wgmma_can(const struct device *device, const struct device_nearest *in)
{
    uint32_t stages;
    cudaFuncAttributes facts;
    if (device->major != 9 || in->places != NULL || in->base.count == 0 ||
        ((uintptr_t)in->queries.codes | (uintptr_t)in->base.codes) % 16 != 0 ||
        groups_for(device, chunks_of(&in->base), &stages) == 0)
        return false;
    if (cudaFuncGetAttributes(&facts, wgmma_kernel<4, false>) != cudaSuccess) {
        (void)cudaGetLastError();
        return false;
    }
    return facts.sharedSizeBytes != 0; // else compiled for no Hopper
}

#include <stdio.h>
#include <stdlib.h>
omen_status
cuda_nearest_wgmma(struct device *device, const struct device_nearest *in)
{
    struct plan plan = {.in = *in};
    void *columns = NULL;
    plan.tiles = (in->base.count + TILE - 1) / TILE;
    plan.chunks = chunks_of(&in->base);
    uint32_t groups = groups_for(device, plan.chunks, &plan.stages);
    plan.sample_step = in->base.count >= SAMPLE_ROWS_MIN ? SAMPLE_STEP : 0;
    plan.sample_step = in->k < SAMPLE_KEPT ? 0 : plan.sample_step;
    const char *lab = getenv("OMEN_GPU_LAB"); // LAB: groups,ordered,sample_step,stages
    uint32_t l[4];
    if (lab != NULL && sscanf(lab, "%u,%u,%u,%u", &l[0], &l[1], &l[2], &l[3]) == 4) {
        if (l[0] != 0 && stages_that_fit(device, l[0], plan.chunks) != 0)
            groups = l[0];
        plan.stages = stages_that_fit(device, groups, plan.chunks);
        plan.ordered = l[1];
        plan.sample_step = in->k < SAMPLE_KEPT ? 0 : l[2];
        if (l[3] != 0 && l[3] < plan.stages)
            plan.stages = l[3];
    }
    omen_status status = cuda_take(device, plan.tiles * sizeof(struct tile_columns), &columns);
    if (status != OMEN_OK)
        return status;
    plan.columns = (const struct tile_columns *)columns;
    columns_kernel<<<plan.tiles, TILE, 0, device->stream>>>(in->base,
                                                            (struct tile_columns *)columns);
    status = cuda_launched(device, "columns of nearest");
    if (status == OMEN_OK)
        status = in->queries.ip != 0
                     ? (groups == 4 ? launch<4, true>(device, &plan) : launch<2, true>(device, &plan))
                     : (groups == 4 ? launch<4, false>(device, &plan)
                                    : launch<2, false>(device, &plan));
    cuda_drop(device, columns);
    return status;
}
