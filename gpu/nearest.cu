// gpu/nearest.cu -- the k nearest by brute force: rows against rows on the tensor cores, lists kept on the way.
//
// Shape: kernel.
//
// A block has 128 places and walks over its base in tiles of 128 rows. Their products stand in the registers of 8 warps (32 x 64
// each); each becomes a distance there and is compared with the k-th of its place's list. What is not farther goes to the place's queue
// of 32 in shared memory. When a queue is full, what did not find room waits in its register while the fuller queues are
// sorted into their lists (one warp a list; the lists themselves stay in the output, which the caches hold), and then is
// compared again: nothing is lost and nothing depends on who came first, because a list has a total order.
//
// Rows come in chunks of 64 components by cp.async, STAGES of them ahead or on their way. Where all chunks of the 128 places fit
// (up to 256 components), they are read once and stay.
#include "gpu/cuda_int.cuh"
#include "gpu/sort_int.cuh"
#include "gpu/tensor_int.cuh"

#define THREADS 256u
#define WARPS (THREADS / 32u)
#define TILE 128u
#define QUEUE 32u
#define FLUSH_FROM 12u // keys in a queue that is sorted in when another one is full
#define STAGES 4u
#define CHUNK_TILE (TILE * CHUNK_BYTES)
#define RESIDENT_CHUNKS 4u
#define TAKEN __int_as_float(0x7fc00000) // a NaN: compares false with everything

struct shared_lists {
    uint64_t queue[TILE][QUEUE];
    uint32_t queued[TILE];
    float limit
        [TILE]; // distance of the list's last key; infinite while it is not full; below 0: no such place
    uint32_t place[TILE];
    uint32_t row[TILE];
    float factor[TILE], norm[TILE];
    uint32_t base_row[TILE]; // of the tile's base
    float base_factor[TILE], base_norm[TILE];
};

struct walk {
    struct device_nearest in;
    uint32_t chunks;
    uint8_t *a, *b; // shared: chunk tiles
    struct shared_lists *lists;
    struct device_tile tile;
};

static __device__ __forceinline__ uint32_t
base_row_of(const struct walk &walk, uint32_t j)
{
    const uint32_t at = walk.tile.base_first + min(j, walk.tile.base_count - 1);
    return walk.in.places != NULL ? walk.in.places[at] / walk.in.fanout : at;
}

// Puts a list's queue in order and into the list; the whole warp, for one place.
template <int registers>
static __device__ __forceinline__ void
flush_place(const struct walk &walk, uint32_t i)
{
    struct shared_lists *lists = walk.lists;
    const uint32_t lane = threadIdx.x % 32, k = walk.in.k;
    const uint32_t count = min(lists->queued[i], QUEUE);
    const uint64_t key = lane < count ? lists->queue[i][lane] : KEY_NONE;
    const uint64_t last = list_take<registers>(walk.in.keys + (size_t)lists->place[i] * k, k, key);
    if (lane == 0) {
        lists->limit[i] = last == KEY_NONE ? __int_as_float(0x7f800000) : key_distance(last);
        lists->queued[i] = 0;
    }
    __syncwarp();
}

template <int registers>
static __device__ __forceinline__ void
flush_from(const struct walk &walk, uint32_t least)
{
    const uint32_t warp = threadIdx.x / 32;
    for (uint32_t i = warp * (TILE / WARPS); i < (warp + 1) * (TILE / WARPS); i++)
        if (walk.lists->queued[i] >= least)
            flush_place<registers>(walk, i);
}

// Reads one chunk of 128 rows.
static __device__ __forceinline__ void
copy_chunk(uint8_t *tile, const struct device_rows &rows, const uint32_t (&row)[2], uint32_t chunk)
{
    const uint32_t piece = threadIdx.x % CHUNK_PIECES;
#pragma unroll
    for (uint32_t half = 0; half < 2; half++) {
        const uint32_t i = threadIdx.x / CHUNK_PIECES + half * (TILE / 2);
        copy_16(shared_address(tile) + piece_offset(i, piece),
                rows.codes + (size_t)row[half] * rows.stride + chunk * CHUNK_BYTES + piece * 16);
    }
}

// 32 x 64 products of a warp over one chunk.
static __device__ __forceinline__ void
multiply_chunk(int32_t (&sums)[2][8][4], const uint8_t *a, const uint8_t *b)
{
    const uint32_t warp = threadIdx.x / 32, row = warp / 2 * 32, column = warp % 2 * 64;
    const uint32_t a_tile = shared_address(a), b_tile = shared_address(b);
#pragma unroll
    for (uint32_t step = 0; step < 2; step++) {
        uint32_t of_a[2][4];
#pragma unroll
        for (uint32_t m = 0; m < 2; m++)
            load_rows_a(a_tile, row + m * 16, step, of_a[m]);
#pragma unroll
        for (uint32_t n = 0; n < 4; n++) {
            uint32_t of_b[4];
            load_rows_b(b_tile, column + n * 16, step, of_b);
#pragma unroll
            for (uint32_t m = 0; m < 2; m++) {
                multiply_add(sums[m][n * 2], of_a[m], of_b[0], of_b[1]);
                multiply_add(sums[m][n * 2 + 1], of_a[m], of_b[2], of_b[3]);
            }
        }
    }
}

// From products to distances, in the same registers.
template <bool ip>
static __device__ __forceinline__ void
measure(const struct walk &walk, int32_t (&sums)[2][8][4], uint32_t base_left)
{
    const struct shared_lists *lists = walk.lists;
    const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const uint32_t first_row = warp / 2 * 32 + lane / 4,
                   first_column = warp % 2 * 64 + lane % 4 * 2;
#pragma unroll
    for (uint32_t n = 0; n < 8; n++)
#pragma unroll
        for (uint32_t e = 0; e < 2; e++) {
            const uint32_t j = first_column + n * 8 + e;
            const float factor = lists->base_factor[j], norm = lists->base_norm[j];
            const uint32_t other = lists->base_row[j];
#pragma unroll
            for (uint32_t m = 0; m < 2; m++)
#pragma unroll
                for (uint32_t h = 0; h < 2; h++) {
                    const uint32_t i = first_row + m * 16 + h * 8;
                    const float distance =
                        pair_distance(lists->factor[i], lists->norm[i], factor, norm,
                                      sums[m][n][h * 2 + e], ip, walk.in.queries.radius2);
                    const bool out =
                        j >= base_left || (walk.in.skip_self != 0 && other == lists->row[i]);
                    sums[m][n][h * 2 + e] = __float_as_int(out ? TAKEN : distance);
                }
        }
}

// Queues what is near enough; true when something found no room.
static __device__ __forceinline__ bool
queue_near(const struct walk &walk, int32_t (&sums)[2][8][4])
{
    struct shared_lists *lists = walk.lists;
    const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const uint32_t first_row = warp / 2 * 32 + lane / 4,
                   first_column = warp % 2 * 64 + lane % 4 * 2;
    bool left = false;
#pragma unroll
    for (uint32_t m = 0; m < 2; m++)
#pragma unroll
        for (uint32_t h = 0; h < 2; h++) {
            const uint32_t i = first_row + m * 16 + h * 8;
            const float limit = lists->limit[i];
#pragma unroll
            for (uint32_t n = 0; n < 8; n++)
#pragma unroll
                for (uint32_t e = 0; e < 2; e++) {
                    const float distance = __int_as_float(sums[m][n][h * 2 + e]);
                    if (!(distance <= limit))
                        continue;
                    const uint32_t at = atomicAdd(&lists->queued[i], 1u);
                    if (at < QUEUE) {
                        lists->queue[i][at] =
                            key_of(distance, lists->base_row[first_column + n * 8 + e]);
                        sums[m][n][h * 2 + e] = __float_as_int(TAKEN);
                    } else {
                        left = true;
                    }
                }
        }
    return left;
}

static __device__ __forceinline__ void
begin_lists(const struct walk &walk, uint32_t first)
{
    struct shared_lists *lists = walk.lists;
    const uint32_t i = threadIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    if (i < TILE) {
        const uint32_t at = first + min(i, walk.tile.count - 1);
        const uint32_t place = walk.in.places != NULL ? walk.in.places[at] : at;
        const uint32_t row = walk.in.places != NULL ? place / walk.in.fanout : place;
        const bool near_one =
            walk.in.near_turns == 0 || place % walk.in.fanout < walk.in.near_turns;
        lists->place[i] = walk.in.one_each != 0 ? row : place;
        lists->row[i] = row;
        lists->factor[i] = walk.in.queries.metas[row].factor;
        const float norm = walk.in.queries.metas[row].norm;
        lists->norm[i] = near_one ? norm : fminf(norm, 0.0f);
        lists->limit[i] = i < walk.tile.count ? __int_as_float(0x7f800000) : -1.0f;
        lists->queued[i] = 0;
    }
    __syncthreads();
    // Each lane clears what it will read again (flush_place).
    for (uint32_t p = warp * (TILE / WARPS); p < (warp + 1) * (TILE / WARPS); p++)
        for (uint32_t r = lane; r < walk.in.k && p < walk.tile.count; r += 32)
            walk.in.keys[(size_t)lists->place[p] * walk.in.k + r] = KEY_NONE;
}

// Turn t is chunk t % chunks of base tile t / chunks; what is copied is STAGES - 1 turns ahead of what is multiplied.
struct copying {
    uint32_t turns, next, chunk, base_first;
    uint32_t own[2], base[2]; // the rows of which this thread copies pieces
};

template <bool resident>
static __device__ __forceinline__ void
copy_next(const struct walk &walk, struct copying &copying)
{
    if (copying.next < copying.turns) {
        const uint32_t stage = copying.next % STAGES, quarter = threadIdx.x / CHUNK_PIECES;
        if (!resident)
            copy_chunk(walk.a + stage * CHUNK_TILE, walk.in.queries, copying.own, copying.chunk);
        copy_chunk(walk.b + stage * CHUNK_TILE, walk.in.base, copying.base, copying.chunk);
        copying.chunk++;
        if (copying.chunk == walk.chunks) {
            copying.chunk = 0;
            copying.base_first += TILE;
            copying.base[0] = base_row_of(walk, copying.base_first + quarter);
            copying.base[1] = base_row_of(walk, copying.base_first + quarter + TILE / 2);
        }
    }
    copying.next++;
    copy_commit();
}

template <bool resident>
static __device__ __forceinline__ void
begin_copying(const struct walk &walk, struct copying &copying)
{
    const uint32_t quarter = threadIdx.x / CHUNK_PIECES;
    copying.turns = (walk.tile.base_count + TILE - 1) / TILE * walk.chunks;
    copying.next = copying.chunk = copying.base_first = 0;
#pragma unroll
    for (uint32_t half = 0; half < 2; half++) {
        copying.own[half] = walk.lists->row[quarter + half * (TILE / 2)];
        copying.base[half] = base_row_of(walk, quarter + half * (TILE / 2));
    }
    if (resident)
        for (uint32_t c = 0; c < walk.chunks; c++)
            copy_chunk(walk.a + c * CHUNK_TILE, walk.in.queries, copying.own, c);
    for (uint32_t s = 0; s + 1 < STAGES; s++)
        copy_next<resident>(walk, copying);
}

template <bool ip, int registers>
static __device__ __forceinline__ void
finish_tile(const struct walk &walk, int32_t (&sums)[2][8][4], uint32_t base_left)
{
    measure<ip>(walk, sums, base_left);
    while (__syncthreads_or(queue_near(walk, sums))) {
        flush_from<registers>(walk, FLUSH_FROM);
        __syncthreads();
    }
}

template <bool ip, int registers, bool resident>
static __device__ __forceinline__ void
walk_base(const struct walk &walk)
{
    struct copying copying;
    begin_copying<resident>(walk, copying);
    int32_t sums[2][8][4];
    uint32_t chunk = 0, base_first = 0;
    for (uint32_t turn = 0; turn < copying.turns; turn++) {
        copy_wait<STAGES - 2>();
        __syncthreads();
        copy_next<resident>(walk, copying);
        // Asked for before the products and needed behind them.
        uint32_t base_row = 0;
        struct byte_meta base_meta = {0.0f, 0.0f};
        const bool ends = chunk + 1 == walk.chunks;
        if (ends && threadIdx.x < TILE) {
            base_row = base_row_of(walk, base_first + threadIdx.x);
            base_meta = walk.in.base.metas[base_row];
        }
        if (chunk == 0)
#pragma unroll
            for (uint32_t i = 0; i < 64; i++)
                sums[i / 32][i / 4 % 8][i % 4] = 0;
        const uint32_t stage = turn % STAGES;
        multiply_chunk(sums, walk.a + (resident ? chunk : stage) * CHUNK_TILE,
                       walk.b + stage * CHUNK_TILE);
        chunk++;
        if (!ends)
            continue;
        chunk = 0;
        if (threadIdx.x < TILE) {
            walk.lists->base_row[threadIdx.x] = base_row;
            walk.lists->base_factor[threadIdx.x] = base_meta.factor;
            walk.lists->base_norm[threadIdx.x] = base_meta.norm;
        }
        __syncthreads();
        finish_tile<ip, registers>(walk, sums, walk.tile.base_count - base_first);
        base_first += TILE;
    }
    copy_wait<0>();
    __syncthreads();
}

template <bool ip, int registers, bool resident>
static __global__ void
__launch_bounds__(THREADS, 2) nearest_kernel(struct device_nearest in, uint32_t chunks)
{
    extern __shared__ __align__(128) uint8_t shared[];
    struct walk walk;
    walk.in = in;
    walk.chunks = chunks;
    walk.a = shared;
    walk.b = shared + (resident ? chunks : STAGES) * CHUNK_TILE;
    walk.lists = (struct shared_lists *)(walk.b + STAGES * CHUNK_TILE);
    if (in.tiles != NULL) {
        walk.tile = in.tiles[blockIdx.x];
    } else {
        walk.tile.first = blockIdx.x * TILE;
        walk.tile.count = min(TILE, in.queries.count - walk.tile.first);
        walk.tile.base_first = 0;
        walk.tile.base_count = in.base.count;
    }
    begin_lists(walk, walk.tile.first);
    walk_base<ip, registers, resident>(walk);
    flush_from<registers>(walk, 1);
}

template <bool ip, int registers, bool resident>
static omen_status
launch(struct device *device, const struct device_nearest *in, uint32_t chunks)
{
    const size_t bytes =
        ((resident ? chunks : STAGES) + STAGES) * CHUNK_TILE + sizeof(struct shared_lists);
    const uint32_t blocks =
        in->tiles != NULL ? in->tile_count : (in->queries.count + TILE - 1) / TILE;
    const auto kernel = nearest_kernel<ip, registers, resident>;
    const omen_status status = cuda_status(
        device,
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes),
        "shared memory of nearest");
    if (status != OMEN_OK)
        return status;
    kernel<<<blocks, THREADS, bytes, device->stream>>>(*in, chunks);
    return cuda_launched(device, "nearest");
}

template <bool ip, int registers>
static omen_status
launch_for(struct device *device, const struct device_nearest *in)
{
    const uint32_t chunks = in->queries.stride / CHUNK_BYTES;
    return chunks <= RESIDENT_CHUNKS ? launch<ip, registers, true>(device, in, chunks)
                                     : launch<ip, registers, false>(device, in, chunks);
}

omen_status
cuda_nearest(struct device *device, const struct device_nearest *in)
{
    const uint32_t asked = in->tiles != NULL ? in->tile_count : in->queries.count;
    if (asked == 0)
        return OMEN_OK;
    if (in->base.count == 0)
        return cuda_status(device,
                           cudaMemsetAsync(in->keys, 0xff,
                                           (size_t)in->queries.count * in->k * sizeof *in->keys,
                                           device->stream),
                           "nearest of nothing");
    if (device->nearest_by != NEAREST_BY_MMA && cuda_nearest_wgmma_can(device, in))
        return cuda_nearest_wgmma(device, in);
    if (in->queries.ip != 0)
        return in->k <= 32 ? launch_for<true, 1>(device, in) : launch_for<true, 2>(device, in);
    return in->k <= 32 ? launch_for<false, 1>(device, in) : launch_for<false, 2>(device, in);
}
