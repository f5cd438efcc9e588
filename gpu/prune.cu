// gpu/prune.cu -- which of its candidates each row links to.
//
// Shape: kernel.
//
// A block has one row: it gathers its candidates' codes chunk by chunk, makes all their products on the tensor cores (a warp has 16
// candidates against all 64), and keeps of the distances two bits each: whether candidate r, were it chosen, would occlude
// c, in the first pass and in the second. Choosing is then two walks over at most 64 masks.
#include "gpu/cuda_int.cuh"
#include "gpu/tensor_int.cuh"

#define THREADS 128u
#define LIST DEVICE_LIST_MAX
#define STAGES 4u
#define CHUNK_LIST (LIST * CHUNK_BYTES)

struct shared_candidates {
    uint64_t key[LIST];
    float factor[LIST], norm[LIST];
    uint64_t occluded[2][LIST]; // in each pass, by each
    uint8_t chosen[LIST];       // places in order
    uint32_t chosen_count;
};

static __device__ __forceinline__ void
copy_candidates(uint8_t *tile, const struct device_rows &rows, const uint32_t (&row)[2],
                uint32_t chunk)
{
    const uint32_t piece = threadIdx.x % CHUNK_PIECES;
#pragma unroll
    for (uint32_t half = 0; half < 2; half++) {
        const uint32_t i = threadIdx.x / CHUNK_PIECES + half * (LIST / 2);
        copy_16(shared_address(tile) + piece_offset(i, piece),
                rows.codes + (size_t)row[half] * rows.stride + chunk * CHUNK_BYTES + piece * 16);
    }
}

// Products of the warp's 16 candidates with all.
static __device__ __forceinline__ void
multiply_candidates(int32_t (&sums)[8][4], const struct device_rows &rows, const uint32_t (&row)[2],
                    uint8_t *tiles)
{
    const uint32_t chunks = rows.stride / CHUNK_BYTES, first = threadIdx.x / 32 * 16;
    for (uint32_t c = 0; c + 1 < STAGES; c++) {
        if (c < chunks)
            copy_candidates(tiles + c * CHUNK_LIST, rows, row, c);
        copy_commit();
    }
    for (uint32_t c = 0; c < chunks; c++) {
        copy_wait<STAGES - 2>();
        __syncthreads();
        const uint32_t next = c + STAGES - 1;
        if (next < chunks)
            copy_candidates(tiles + next % STAGES * CHUNK_LIST, rows, row, next);
        copy_commit();
        const uint32_t tile = shared_address(tiles + c % STAGES * CHUNK_LIST);
#pragma unroll
        for (uint32_t step = 0; step < 2; step++) {
            uint32_t of_a[4];
            load_rows_a(tile, first, step, of_a);
#pragma unroll
            for (uint32_t n = 0; n < 4; n++) {
                uint32_t of_b[4];
                load_rows_b(tile, n * 16, step, of_b);
                multiply_add(sums[n * 2], of_a, of_b[0], of_b[1]);
                multiply_add(sums[n * 2 + 1], of_a, of_b[2], of_b[3]);
            }
        }
    }
    copy_wait<0>();
}

// Whom the warp's candidates occlude.
static __device__ __forceinline__ void
note_occluded(const struct device_prune &prune, const int32_t (&sums)[8][4],
              struct shared_candidates *list, uint32_t count)
{
    const uint32_t lane = threadIdx.x % 32, first = threadIdx.x / 32 * 16 + lane / 4;
#pragma unroll
    for (uint32_t h = 0; h < 2; h++) {
        const uint32_t r = first + h * 8;
        uint32_t strict[2] = {0, 0}, relaxed[2] = {0, 0};
#pragma unroll
        for (uint32_t n = 0; n < 8; n++)
#pragma unroll
            for (uint32_t e = 0; e < 2; e++) {
                const uint32_t c = n * 8 + lane % 4 * 2 + e;
                const float between =
                    pair_distance(list->factor[r], list->norm[r], list->factor[c], list->norm[c],
                                  sums[n][h * 2 + e], prune.rows.ip != 0, prune.rows.radius2);
                const float own = key_distance(list->key[c]);
                const bool after = c > r && c < count;
                const bool out[2] = {after && own > between,
                                     after && own > __fmul_rn(prune.alpha2, between)};
                strict[n / 4] |= (uint32_t)out[0] << (c % 32);
                relaxed[n / 4] |= (uint32_t)out[1] << (c % 32);
            }
#pragma unroll
        for (uint32_t apart = 1; apart <= 2; apart *= 2)
#pragma unroll
            for (uint32_t w = 0; w < 2; w++) {
                strict[w] |= __shfl_xor_sync(0xffffffffu, strict[w], apart);
                relaxed[w] |= __shfl_xor_sync(0xffffffffu, relaxed[w], apart);
            }
        if (lane % 4 == 0) {
            list->occluded[0][r] = (uint64_t)strict[1] << 32 | strict[0];
            list->occluded[1][r] = (uint64_t)relaxed[1] << 32 | relaxed[0];
        }
    }
}

// One thread. `out` of a pass has the places that are occluded in it.
static __device__ __forceinline__ void
choose(const struct device_prune &prune, struct shared_candidates *list, uint32_t count)
{
    const uint32_t zeros_max = max(prune.keep / 4, 1u);
    uint64_t chosen = 0, out[2] = {0, 0};
    uint32_t taken = 0, zeros = 0;
    for (uint32_t i = 0; i < count && taken < prune.keep; i++) {
        if ((out[0] >> i & 1) != 0)
            continue;
        if (key_distance(list->key[i]) == 0.0f && zeros++ >= zeros_max) {
            out[1] |= 1ull << i;
            continue;
        }
        chosen |= 1ull << i;
        taken++;
        out[0] |= list->occluded[0][i];
        out[1] |= list->occluded[1][i];
    }
    for (uint32_t i = 0; i < count && taken < prune.keep; i++) {
        if (((chosen | out[1]) >> i & 1) != 0)
            continue;
        chosen |= 1ull << i;
        taken++;
        out[1] |= list->occluded[1][i];
    }
    uint32_t put = 0;
    for (uint64_t left = chosen; left != 0; left &= left - 1)
        list->chosen[put++] = (uint8_t)(__ffsll((long long)left) - 1);
    list->chosen_count = taken;
}

static __global__ void
__launch_bounds__(THREADS) prune_kernel(struct device_prune prune)
{
    __shared__ __align__(128) uint8_t tiles[STAGES * CHUNK_LIST];
    __shared__ struct shared_candidates list;
    const uint64_t *const keys = prune.candidates + (size_t)blockIdx.x * prune.width;
    const uint32_t i = threadIdx.x;
    const uint64_t own = i < prune.width ? keys[i] : KEY_NONE;
    if (i < LIST) {
        list.key[i] = own;
        const bool there = own != KEY_NONE;
        const struct byte_meta none = {0.0f, 0.0f};
        const struct byte_meta meta = there ? prune.rows.metas[key_row(own)] : none;
        list.factor[i] = meta.factor;
        list.norm[i] = meta.norm;
    }
    const uint32_t count = (uint32_t)__syncthreads_count(own != KEY_NONE);
    if (count > prune.whole && count > 1) {
        const uint32_t one = i / CHUNK_PIECES, other = one + LIST / 2;
        const uint32_t row[2] = {key_row(list.key[min(one, count - 1)]),
                                 key_row(list.key[min(other, count - 1)])};
        int32_t sums[8][4];
#pragma unroll
        for (uint32_t s = 0; s < 32; s++)
            sums[s / 4][s % 4] = 0;
        multiply_candidates(sums, prune.rows, row, tiles);
        note_occluded(prune, sums, &list, count);
    } else if (i < LIST) {
        list.occluded[0][i] = list.occluded[1][i] = 0;
    }
    __syncthreads();
    if (i == 0)
        choose(prune, &list, count);
    __syncthreads();
    uint64_t *const chosen = prune.chosen + (size_t)blockIdx.x * prune.keep;
    if (i < prune.keep)
        chosen[i] = i < list.chosen_count ? list.key[list.chosen[i]] : KEY_NONE;
}

omen_status
cuda_prune(struct device *device, const struct device_prune *prune)
{
    if (prune->count == 0)
        return OMEN_OK;
    prune_kernel<<<prune->count, THREADS, 0, device->stream>>>(*prune);
    return cuda_launched(device, "prune");
}
