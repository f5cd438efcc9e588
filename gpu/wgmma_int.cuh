// gpu/wgmma_int.cuh -- Hopper's own instructions: barriers that count bytes, the copy engine, products of a warpgroup.
//
// Shape: kernel. Only what is compiled for sm_90a holds the instructions (PTX ISA 8.0: 9.7.13 mbarrier, 9.7.9.27 bulk copies,
// 9.7.15 wgmma); HOPPER_CODE says whether this is.
#ifndef OMEN_GPU_WGMMA_INT_CUH
#define OMEN_GPU_WGMMA_INT_CUH
#include <cuda.h>
#include <stdint.h>

#include "gpu/tensor_int.cuh"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define HOPPER_CODE 1
#else
#define HOPPER_CODE 0
#endif

#if HOPPER_CODE
// ---- barriers, by their addresses in shared memory ----
// An address that the compiler keeps: else it derives it anew from the block's place in its cluster, which takes 50 clocks.
static __device__ __forceinline__ uint32_t
kept_address(const void *memory)
{
    uint32_t kept;
    asm volatile("mov.u32 %0, %1;\n" : "=r"(kept) : "r"(shared_address(memory)));
    return kept;
}

static __device__ __forceinline__ void
barrier_init(uint32_t barrier, uint32_t arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;\n" ::"r"(barrier), "r"(arrivals)
                 : "memory");
}

// Makes the barriers that this thread began known to the copy engine.
static __device__ __forceinline__ void
barriers_known(void)
{
    asm volatile("fence.mbarrier_init.release.cluster;\n" ::: "memory");
    asm volatile("fence.proxy.async;\n" ::: "memory");
}

static __device__ __forceinline__ void
barrier_arrive(uint32_t barrier)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];\n" ::"r"(barrier) : "memory");
}

// Arrives, and says that so many bytes are on their way.
static __device__ __forceinline__ void
barrier_expect(uint32_t barrier, uint32_t bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;\n" ::"r"(barrier),
                 "r"(bytes)
                 : "memory");
}

// Waits for the end of the phase of this parity.
static __device__ __forceinline__ void
barrier_wait(uint32_t barrier, uint32_t parity)
{
    uint32_t done;
    do {
        asm volatile("{\n.reg .pred p;\n"
                     "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                     "selp.u32 %0, 1, 0, p;\n}\n"
                     : "=r"(done)
                     : "r"(barrier), "r"(parity)
                     : "memory");
    } while (done == 0);
}

// ---- copies ----
// A box of the tensor, whose first byte is at `column` of row `row`; what is outside of the tensor arrives as zeros.
static __device__ __forceinline__ void
copy_box(uint32_t to, const CUtensorMap *from, uint32_t column, uint32_t row, uint32_t barrier)
{
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%2, %3}], [%4];\n" ::"r"(to),
                 "l"(from), "r"(column), "r"(row), "r"(barrier)
                 : "memory");
}

// `bytes` and both addresses are multiples of 16.
static __device__ __forceinline__ void
copy_bytes(uint32_t to, const void *from, uint32_t bytes, uint32_t barrier)
{
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
                 "[%0], [%1], %2, [%3];\n" ::"r"(to),
                 "l"(from), "r"(bytes), "r"(barrier)
                 : "memory");
}

// ---- products ----
#define PRODUCTS 64u // of a thread: 64 rows x 128 columns in a warpgroup

// Rows of 128 bytes as copy_box leaves them (pieces of 16 swapped within eight rows), in tiles that begin at multiples of 1024; a
// descriptor's low half counts in 16 bytes.
static __device__ __forceinline__ uint32_t
descriptor_low(uint32_t tile)
{
    return tile >> 4 | 1u << 16;
}

static __device__ __forceinline__ uint64_t
descriptor(uint32_t low)
{
    return (uint64_t)(64u | 1u << 30) << 32 | low;
}

// The compiler may move nothing of the products across it.
static __device__ __forceinline__ void
products_stand(int32_t (&sums)[PRODUCTS])
{
#pragma unroll
    for (uint32_t i = 0; i < PRODUCTS; i++)
        asm volatile("" : "+r"(sums[i])::"memory");
}

static __device__ __forceinline__ void
products_begin(void)
{
    asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory");
}

static __device__ __forceinline__ void
products_commit(void)
{
    asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory");
}

template <int left>
static __device__ __forceinline__ void
products_wait(void)
{
    asm volatile("wgmma.wait_group.sync.aligned %0;\n" ::"n"(left) : "memory");
}

#define SUM4(i) "+r"(sums[i]), "+r"(sums[i + 1]), "+r"(sums[i + 2]), "+r"(sums[i + 3])
#define SUM16(i) SUM4(i), SUM4(i + 4), SUM4(i + 8), SUM4(i + 12)

// sums = a * b (+ sums): 64 rows of a by 128 rows of b, 32 components. In warp w of the group, lane l has of rows w * 16 + l / 4
// and 8 further on, of columns l % 4 * 2 + n * 8 and the next: sums[n * 4], [n * 4 + 1], and of the further row [n * 4 + 2], [n * 4 + 3].
static __device__ __forceinline__ void
multiply_group(int32_t (&sums)[PRODUCTS], uint64_t a, uint64_t b, uint32_t add)
{
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k32.s32.s8.s8 "
                 "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
                 "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
                 "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"
                 "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63},"
                 " %64, %65, p;\n}\n"
                 : SUM16(0), SUM16(16), SUM16(32), SUM16(48)
                 : "l"(a), "l"(b), "r"(add));
}

static __device__ __forceinline__ uint32_t
shared_get(uint32_t address)
{
    uint32_t value;
    asm volatile("ld.volatile.shared.u32 %0, [%1];\n" : "=r"(value) : "r"(address) : "memory");
    return value;
}

static __device__ __forceinline__ void
shared_put(uint32_t address, uint32_t value)
{
    asm volatile("st.volatile.shared.u32 [%0], %1;\n" ::"r"(address), "r"(value) : "memory");
}

static __device__ __forceinline__ void
store_if(uint32_t wanted, uint32_t to, uint32_t value)
{
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.u32 p, %0, 0;\n@p st.shared.u32 [%1], %2;\n}\n" ::"r"(wanted),
        "r"(to), "r"(value)
        : "memory");
}

// Stores eight of the products where `wanted` is not 0: without a jump, for which the other lanes would wait.
static __device__ __forceinline__ void
store_8_if(uint32_t wanted, uint32_t to, const int32_t *sums)
{
    asm volatile("{\n.reg .pred p;\nsetp.ne.u32 p, %0, 0;\n"
                 "@p st.shared.v4.s32 [%1], {%2,%3,%4,%5};\n"
                 "@p st.shared.v4.s32 [%1+16], {%6,%7,%8,%9};\n}\n" ::"r"(wanted),
                 "r"(to), "r"(sums[0]), "r"(sums[1]), "r"(sums[2]), "r"(sums[3]), "r"(sums[4]),
                 "r"(sums[5]), "r"(sums[6]), "r"(sums[7])
                 : "memory");
}

// How many registers a thread of this warpgroup may have from here on.
template <int registers, bool fewer>
static __device__ __forceinline__ void
registers_to(void)
{
    if (fewer)
        asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;\n" ::"n"(registers));
    else
        asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;\n" ::"n"(registers));
}
#endif

#endif
