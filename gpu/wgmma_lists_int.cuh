// gpu/wgmma_lists_int.cuh -- what a warp makes of the products of its 16 queries and a tile: bars, parts that wait, queues, lists.
//
// Shape: kernel. For nearest_wgmma.cu, whose head tells the idea. All lanes call together.
//
// A query belongs to one warp, and its products to four lanes of it, its quad. The four warps of a group multiply together, so that
// each waits for the slowest at every tile. What happens seldom is therefore kept short or done by all at the same time: a
// product that may be near waits, with the seven beside it, as it is (a part), until one warp of the block has many; then each
// measures its own, one part a lane, into the queues of 32 keys that each query has, and sorts full queues into the lists. What each
// step of this was worth is in docs/internals/gpu.md.
#ifndef OMEN_GPU_WGMMA_LISTS_INT_CUH
#define OMEN_GPU_WGMMA_LISTS_INT_CUH
#include "gpu/cuda_int.cuh"
#include "gpu/sort_int.cuh"
#include "gpu/wgmma_int.cuh"

#define TILE 128u
#define WARP_ROWS 16u
#define QUAD 4u // lanes of one query
#define QUEUE 32u
#define FLUSH_FROM 29u // keys in a queue that is sorted in
#define PARTS_MAX 64u
#define PARTS_MANY 30u // that wait, after which all warps of the block measure theirs
#define PART 8u        // products
#define CROWD 12u      // lanes with something near: with more, each looks closer first
#define INFINITE __int_as_float(0x7f800000)
#define MARGIN                                                                                     \
    1.9073486e-6f // 2^-19: 32 half units of a float's last place; about twelve roundings are made

// Of a tile's rows, and what all of them have in common; as the copy engine brings it.
struct tile_columns {
    struct byte_meta metas[TILE];
    float recip_min, recip_max; // of 1 / factor
    float low_min, high_max;    // of column_low, and of the norm above 0
};

struct plan {
    struct device_nearest in;
    const struct tile_columns *columns;
    const uint32_t *numbers; // of the base's rows, which are in another order; NULL: as they are
    uint64_t (*queues)[WARP_ROWS][QUEUE]; // of each warp of a launch, where QUEUES_OUTSIDE
    uint32_t first_block;                 // of all, that this launch begins with
    uint32_t tiles, chunks, stages;
    uint32_t sample_step; // of tiles; 0: no first walk
};

// Where a warp's queues lie: 4 KiB that are written and read seldom. Inside is shared memory; outside, a launch's scratch, which the
// L2 cache holds and which leaves shared memory to the stages and queries.
//
// Outside as inside one lane writes a key and another reads it, and both are of one warp: __syncwarp (flush_queues begins with it and
// ends with it) orders what its lanes did to any memory, and a processor's L1 cache never shows its own lanes what was there before
// their stores. No other block sees a queue until the launch is over, and what it leaves there is not read: a queue's first keys are
// always those that were counted.
enum queues_at {
    QUEUES_INSIDE,
    QUEUES_OUTSIDE,
};

// A query of a warp, in shared memory.
struct query {
    float factor, norm;
    float start; // the limit while the list is not full
    float limit; // distance of the list's last key, or the start; below 0: no such query, or done
    uint32_t queued; // may be more than QUEUE while some wait for room
    uint32_t full;   // 1: the list is full
};

// What a warp keeps of its 16 queries, in shared memory; with QUEUES_INSIDE its queues lie right behind.
struct warp_lists {
    int4 parts[PARTS_MAX][2];
    uint32_t tags[PARTS_MAX]; // right behind: tile << 8 | part << 5 | lane
    struct query queries[WARP_ROWS];
};

// Where a warp has what it keeps.
struct own {
    struct warp_lists *lists;
    uint64_t (*queues)[QUEUE]; // keys of each query, not in order
    uint32_t first;            // of its queries
    uint32_t parts;            // address in shared memory: of lists->parts
    uint32_t round;            // address: of the block's number of rounds
};

// What a lane knows of its two queries, 8 rows apart.
struct asked {
    float bar[2], scale[2], lean[2]; // near: dot * factor_b >= bar + scale * low_b - lean * high_b
    uint32_t waiting;                // parts
    uint32_t round;                  // of the block's: its warps measure their parts together
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

#if HOPPER_CODE
// ---- bars ----
// From a query's limit to what products are compared with.
template <bool ip>
static __device__ __forceinline__ float
bar_of(const struct plan &plan, const struct query &query, float scale)
{
    if (query.limit < 0.0f)
        return INFINITE;
    if (scale == 0.0f)
        return -INFINITE;
    if (!ip)
        return ((query.norm - query.limit) - (fabsf(query.norm) + query.limit) * MARGIN) * scale;
    const float longer =
        (query.norm < 0.0f ? query.norm * query.norm : 0.0f) + 2.0f * plan.in.queries.radius2;
    return ((longer - query.limit) - (longer + query.limit) * MARGIN) * scale;
}

template <bool ip>
static __device__ __forceinline__ void
begin_asked(const struct plan &plan, const struct own &own, struct asked &asked)
{
    const uint32_t lane = threadIdx.x % 32;
    asked.waiting = asked.round = 0;
#pragma unroll
    for (uint32_t h = 0; h < 2; h++) {
        const uint32_t i = lane / QUAD + h * 8;
        const bool there = own.first + i < plan.in.queries.count;
        const struct byte_meta meta = plan.in.queries.metas[there ? own.first + i : 0];
        const float start = there ? INFINITE : -1.0f;
        const struct query query = {meta.factor, meta.norm, start, start, 0, there ? 0u : 1u};
        // Too little to divide by: then every row is measured.
        const float scale = meta.factor > 1e-18f ? __fdividef(0.5f, meta.factor) : 0.0f;
        asked.scale[h] = scale;
        asked.lean[h] = ip && meta.norm > 0.0f ? 2.0f * meta.norm * scale * (1.0f + MARGIN) : 0.0f;
        asked.bar[h] = bar_of<ip>(plan, query, scale);
        if (lane % QUAD == 0)
            own.lists->queries[i] = query;
    }
    __syncwarp();
}

// The least products with which a row of this tile can be near enough.
template <bool ip>
static __device__ __forceinline__ void
tile_bars(const struct asked &asked, const struct tile_columns *columns, int32_t (&bars)[2])
{
    const float4 extremes = *(const float4 *)&columns->recip_min;
#pragma unroll
    for (uint32_t h = 0; h < 2; h++) {
        float rest = __fmaf_rn(extremes.z, asked.scale[h], asked.bar[h]);
        if (ip)
            rest = __fmaf_rn(-asked.lean[h], extremes.w, rest);
        const float bar = rest * (rest > 0.0f ? extremes.x : extremes.y);
        bars[h] = bar > -2e9f ? __float2int_rd(bar) : INT32_MIN; // not a number: all of them
    }
}

// ---- lists ----
// Empties the lists of those of the warp's queries of which `which` has the bit; lane l writes what lane l reads when it sorts in
// (list_take).
static __device__ __forceinline__ void
clear_lists(const struct plan &plan, uint32_t first, uint32_t which)
{
    for (uint32_t i = 0; i < WARP_ROWS; i++)
        for (uint32_t r = threadIdx.x % 32; r < plan.in.k && (which >> i & 1) != 0; r += 32)
            plan.in.keys[(size_t)(first + i) * plan.in.k + r] = KEY_NONE;
}

// Sorts the queues with `least` keys or more into their lists.
template <bool ip>
static __device__ __forceinline__ void
flush_queues(const struct plan &plan, const struct own &own, uint32_t k, uint32_t least,
             struct asked &asked)
{
    const uint32_t lane = threadIdx.x % 32;
    struct warp_lists *const lists = own.lists;
    __syncwarp();
    uint32_t rows = __ballot_sync(WARP_ALL, lists->queries[lane % WARP_ROWS].queued >= least &&
                                                lane < WARP_ROWS);
    if (rows == 0)
        return;
#pragma unroll 1
    for (; rows != 0; rows &= rows - 1) {
        const uint32_t i = __ffs((int)rows) - 1;
        struct query *const query = &lists->queries[i];
        const uint64_t key = lane < min(query->queued, QUEUE) ? own.queues[i][lane] : KEY_NONE;
        const uint64_t last =
            list_take<2>(plan.in.keys + (size_t)(own.first + i) * plan.in.k, k, key);
        if (lane == 0) {
            query->queued = 0;
            query->full |= last != KEY_NONE ? 1u : 0u;
            query->limit = last != KEY_NONE ? key_distance(last) : query->start;
        }
    }
    __syncwarp();
#pragma unroll
    for (uint32_t h = 0; h < 2; h++)
        asked.bar[h] = bar_of<ip>(plan, lists->queries[lane / QUAD + h * 8], asked.scale[h]);
}

// Of product p of a part: its place in the base.
static __device__ __forceinline__ uint32_t
part_place(uint32_t tag, uint32_t p)
{
    return (tag >> 8) * TILE + (tag >> 5 & 7u) * 16 + tag % QUAD * 2 + p / 4 * 8 + p % 2;
}

static __device__ __forceinline__ uint32_t
row_at(const struct plan &plan, uint32_t place)
{
    return plan.numbers != NULL ? plan.numbers[place] : place;
}

// Measures up to 32 of the parts that wait, one a lane: what is near enough goes to the queues, and queues with `least` keys or
// more are sorted in.
template <bool ip>
static __device__ __forceinline__ void
settle(const struct plan &plan, const struct own &own, uint32_t k, uint32_t least,
       struct asked &asked)
{
    struct warp_lists *const lists = own.lists;
    const uint32_t lane = threadIdx.x % 32, count = min(asked.waiting, 32u);
    const uint32_t at = asked.waiting - count + (lane < count ? lane : 0);
    __syncwarp();
    const uint32_t tag = lane < count ? lists->tags[at] : 0;
    const int4 half0 = lists->parts[at % PARTS_MAX][0], half1 = lists->parts[at % PARTS_MAX][1];
    const int32_t part[PART] = {half0.x, half0.y, half0.z, half0.w,
                                half1.x, half1.y, half1.z, half1.w};
    const uint32_t column = (tag >> 5 & 7u) * 16 + tag % QUAD * 2, i = tag % 32 / QUAD;
    const float4 *const metas = (const float4 *)&plan.columns[tag >> 8].metas[column];
    const float4 two[2] = {metas[0], metas[4]}; // factor, norm, of columns 0 and 1, 8 and 9
    float distances[PART];
    uint32_t near = 0;
#pragma unroll
    for (uint32_t p = 0; p < PART; p++) {
        const struct query *const query = &lists->queries[i + p / 2 % 2 * 8];
        const float4 &metas_two = two[p / 4];
        distances[p] = pair_distance(
            query->factor, query->norm, p % 2 != 0 ? metas_two.z : metas_two.x,
            p % 2 != 0 ? metas_two.w : metas_two.y, part[p], ip, plan.in.queries.radius2);
        const bool out = lane >= count || part_place(tag, p) >= plan.in.base.count;
        near |= !out && distances[p] <= query->limit ? 1u << p : 0u;
    }
    asked.waiting -= count;
    bool left;
    do {
#pragma unroll
        for (uint32_t p = 0; p < PART; p++) {
            struct query *const query = &lists->queries[i + p / 2 % 2 * 8];
            if ((near >> p & 1) == 0 || !(distances[p] <= query->limit)) {
                near &= ~(1u << p);
                continue;
            }
            const uint32_t row = row_at(plan, part_place(tag, p));
            if (plan.in.skip_self != 0 && row == own.first + i + p / 2 % 2 * 8) {
                near &= ~(1u << p);
                continue;
            }
            const uint32_t place = atomicAdd(&query->queued, 1u);
            if (place >= QUEUE)
                continue;
            own.queues[i + p / 2 % 2 * 8][place] = key_of(distances[p], row);
            near &= ~(1u << p);
        }
        left = __any_sync(WARP_ALL, near != 0); // something found no room
        flush_queues<ip>(plan, own, k, least, asked);
    } while (left);
}

// ---- a tile's products ----
// Whether one of eight products may be of a row that is near. `metas`: of the lane's first column among them.
template <bool ip>
static __device__ __forceinline__ bool
look_closer(const struct asked &asked, const struct byte_meta *metas, const int32_t (&part)[PART])
{
    bool near = false;
#pragma unroll
    for (uint32_t i = 0; i < PART; i += 4) {
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
                const float over = __fmaf_rn(__int2float_rn(part[i + h * 2 + e]), factor, -rest);
                near = near || !(over < 0.0f); // not a number: near
            }
        }
    }
    return near;
}

#define PART_CASE(b)                                                                               \
    case b:                                                                                        \
        _Pragma("unroll") for (uint32_t i = 0; i < PART; i++) part[i] = sums[(b)*PART + i];        \
        break;

// A part of the products, the same in all lanes: registers have no numbers at run time.
static __device__ __forceinline__ void
pick_part(const int32_t (&sums)[PRODUCTS], uint32_t number, int32_t (&part)[PART])
{
    switch (number) {
        PART_CASE(0)
        PART_CASE(1)
        PART_CASE(2)
        PART_CASE(3)
        PART_CASE(4)
        PART_CASE(5)
        PART_CASE(6)
    default:
        PART_CASE(7)
    }
}

// Of the parts that the extremes of the tile let pass, those that their own rows let pass.
template <bool ip>
static __device__ __forceinline__ uint32_t
look_at_crowd(const struct asked &asked, const struct tile_columns *columns, uint32_t mine,
              const int32_t (&sums)[PRODUCTS])
{
    uint32_t all = __reduce_or_sync(WARP_ALL, mine);
#pragma unroll 1
    for (; all != 0; all &= all - 1) {
        const uint32_t number = __ffs((int)all) - 1;
        int32_t part[PART];
        pick_part(sums, number, part);
        if (!look_closer<ip>(asked, &columns->metas[number * 16 + threadIdx.x % QUAD * 2], part))
            mine &= ~(1u << number);
    }
    return mine;
}

// A bit for each of the lane's parts in which a product reaches the bar of its query.
static __device__ __forceinline__ uint32_t
parts_above(const int32_t (&bars)[2], const int32_t (&sums)[PRODUCTS])
{
    uint32_t mine = 0;
#pragma unroll
    for (uint32_t number = 0; number < PRODUCTS / PART; number++) {
        const uint32_t i = number * PART;
        const int32_t most0 = max(max(sums[i], sums[i + 1]), max(sums[i + 4], sums[i + 5]));
        const int32_t most1 = max(max(sums[i + 2], sums[i + 3]), max(sums[i + 6], sums[i + 7]));
        mine |= most0 >= bars[0] || most1 >= bars[1] ? 1u << number : 0u;
    }
    return mine;
}

// Looks through the products of tile t: the parts with something near wait to be measured.
template <bool ip>
static __device__ __forceinline__ void
look(const struct plan &plan, const struct own &own, struct asked &asked,
     const struct tile_columns *columns, uint32_t k, uint32_t t, const int32_t (&bars)[2],
     const int32_t (&sums)[PRODUCTS])
{
    const uint32_t lane = threadIdx.x % 32;
    uint32_t mine = parts_above(bars, sums);
    uint32_t those = __ballot_sync(WARP_ALL, mine != 0);
    bool looked = false;
#pragma unroll 1
    while (those != 0) { // once: a lane has seldom more than one
        uint32_t count = __popc(those);
        if (count > CROWD || asked.waiting + count > PARTS_MAX) {
            if (!looked && count > CROWD)
                mine = look_at_crowd<ip>(asked, columns, mine, sums);
            looked = true;
            those = __ballot_sync(WARP_ALL, mine != 0);
            count = __popc(those);
            if (asked.waiting + count > PARTS_MAX)
                settle<ip>(plan, own, k, FLUSH_FROM, asked);
        }
        const uint32_t more = __ballot_sync(WARP_ALL, (mine & (mine - 1)) != 0);
        const uint32_t at = asked.waiting + __popc(those & ((1u << lane) - 1));
        const uint32_t bit = mine & (0u - mine), to = own.parts + at * sizeof own.lists->parts[0];
#pragma unroll
        for (uint32_t number = 0; number < PRODUCTS / PART; number++)
            store_8_if(bit & 1u << number, to, &sums[number * PART]);
        store_if(bit, own.parts + sizeof own.lists->parts + at * 4,
                 t << 8 | (31u - (uint32_t)__clz((int)bit)) << 5 | lane);
        asked.waiting += count;
        mine ^= bit;
        those = more;
        if (more == 0 && asked.waiting >= PARTS_MANY && lane == 0)
            shared_put(own.round, asked.round + 1);
    }
}

// Between walks: 0 is followed by 1, which begins with what 0 gave; 1 by 2, for the lists that are not full. True when one of
// these is not.
template <bool ip>
static __device__ __forceinline__ bool
begin_again(const struct plan &plan, const struct own &own, uint32_t walk, struct asked &asked)
{
    const uint32_t lane = threadIdx.x % 32;
    struct warp_lists *const lists = own.lists;
    struct query *const query = &lists->queries[lane % WARP_ROWS];
    const bool there = own.first + lane % WARP_ROWS < plan.in.queries.count && lane < WARP_ROWS;
    const bool clear = there && (walk == 0 || query->full == 0);
    const uint32_t cleared = __ballot_sync(WARP_ALL, clear);
    if (lane < WARP_ROWS) {
        query->start = walk == 0 ? query->limit : clear ? INFINITE : -1.0f;
        query->limit = query->start;
        query->full = clear ? 0 : query->full;
    }
    __syncwarp();
#pragma unroll
    for (uint32_t h = 0; h < 2; h++)
        asked.bar[h] = bar_of<ip>(plan, lists->queries[lane / QUAD + h * 8], asked.scale[h]);
    clear_lists(plan, own.first, cleared);
    return cleared != 0;
}
#endif

#endif
