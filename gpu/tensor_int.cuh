// gpu/tensor_int.cuh -- tiles of coded rows in shared memory, and their products by the tensor cores.
//
// Shape: kernel.
//
// A tile is rows of 64 bytes, one K-chunk of each row, in pieces of 16 bytes. Piece c of row r lies at place c ^ (r / 2 % 4): eight
// rows that are read together then lie in different banks.
#ifndef OMEN_GPU_TENSOR_INT_CUH
#define OMEN_GPU_TENSOR_INT_CUH
#include <stdint.h>

#define CHUNK_BYTES 64u
#define CHUNK_PIECES 4u

static __device__ __forceinline__ uint32_t
shared_address(const void *memory)
{
    return (uint32_t)__cvta_generic_to_shared(memory);
}

static __device__ __forceinline__ uint32_t
piece_offset(uint32_t row, uint32_t piece)
{
    return row * CHUNK_BYTES + ((piece ^ (row >> 1 & 3u)) << 4);
}

static __device__ __forceinline__ void
copy_16(uint32_t to, const void *from)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;\n" ::"r"(to), "l"(from) : "memory");
}

static __device__ __forceinline__ void
copy_commit(void)
{
    asm volatile("cp.async.commit_group;\n" ::: "memory");
}

// Waits until at most `left` of this thread's last groups are on their way.
template <int left>
static __device__ __forceinline__ void
copy_wait(void)
{
    asm volatile("cp.async.wait_group %0;\n" ::"n"(left) : "memory");
}

static __device__ __forceinline__ void
load_matrices(uint32_t address, uint32_t (&out)[4])
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(address)
                 : "memory");
}

// 16 rows of a tile by 32 components, from component 32 * step of the chunk on.
static __device__ __forceinline__ void
load_rows_a(uint32_t tile, uint32_t first, uint32_t step, uint32_t (&out)[4])
{
    const uint32_t lane = threadIdx.x % 32, part = lane / 8;
    load_matrices(tile + piece_offset(first + (part & 1) * 8 + lane % 8, step * 2 + (part >> 1)),
                  out);
}

// 16 rows as columns: two groups of eight, {0, 1} and {2, 3}.
static __device__ __forceinline__ void
load_rows_b(uint32_t tile, uint32_t first, uint32_t step, uint32_t (&out)[4])
{
    const uint32_t lane = threadIdx.x % 32, part = lane / 8;
    load_matrices(tile + piece_offset(first + (part >> 1) * 8 + lane % 8, step * 2 + (part & 1)),
                  out);
}

// sum += a * b: of 16 rows and 8 columns, lane l has rows l / 4 and l / 4 + 8, columns l % 4 * 2 and the next.
static __device__ __forceinline__ void
multiply_add(int32_t (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
                 : "+r"(sum[0]), "+r"(sum[1]), "+r"(sum[2]), "+r"(sum[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

#endif
