// bench/roofline.c -- what the processors of a machine can do at most.
//
// Shape: shell.
#include "bench/roofline.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/os_clock.h"
#include "base/pool.h"

#define ROUNDS 4000000u
#define CHAINS 12u // sums beside each other: more than a unit's latency times its width
#define MEMORY ((size_t)256 << 20)
#define TIMES 4u // over the memory
// The best of which counts: what else the machine does makes nothing faster.
#define ROUNDS_OF_ALL 3u

static _Atomic uint64_t sink; // so that nothing is left out

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx512f,avx512vnni"))) static void
products_512(void)
{
    __m512i sums[CHAINS];
    const __m512i a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(5);
    for (uint32_t i = 0; i < CHAINS; i++)
        sums[i] = _mm512_setzero_si512();
    for (uint32_t round = 0; round < ROUNDS; round++)
        for (uint32_t i = 0; i < CHAINS; i++)
            sums[i] = _mm512_dpbusd_epi32(sums[i], a, b);
    for (uint32_t i = 0; i < CHAINS; i++)
        sink += (uint64_t)_mm512_reduce_add_epi32(sums[i]);
}

__attribute__((target("avx2"))) static void
products_256(void)
{
    __m256i sums[CHAINS];
    const __m256i a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(5), ones = _mm256_set1_epi16(1);
    for (uint32_t i = 0; i < CHAINS; i++)
        sums[i] = _mm256_setzero_si256();
    for (uint32_t round = 0; round < ROUNDS; round++)
        for (uint32_t i = 0; i < CHAINS; i++) {
            const __m256i pairs = _mm256_maddubs_epi16(_mm256_xor_si256(a, sums[i]), b);
            sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(pairs, ones));
        }
    for (uint32_t i = 0; i < CHAINS; i++)
        sink += (uint64_t)_mm256_extract_epi32(sums[i], 0);
}

static void (*products_here(uint32_t *bytes))(void)
{
    *bytes = 64;
    if (__builtin_cpu_supports("avx512vnni"))
        return products_512;
    *bytes = 32;
    return __builtin_cpu_supports("avx2") ? products_256 : NULL;
}
#else
static void (*products_here(uint32_t *bytes))(void)
{
    *bytes = 0;
    return NULL;
}
#endif

static void
multiply(void *context, uint32_t index, uint32_t worker)
{
    (void)context;
    (void)index;
    (void)worker;
    uint32_t bytes;
    products_here (&bytes)();
}

struct reading {
    const uint64_t *words;
    size_t count; // of each thread
};

static void
read_through(void *context, uint32_t index, uint32_t worker)
{
    (void)worker;
    const struct reading *reading = context;
    const uint64_t *from = reading->words + index * reading->count;
    for (uint32_t time = 0; time < TIMES; time++) {
        uint64_t sums[8] = {time};
        for (size_t i = 0; i + 8 <= reading->count; i += 8)
            for (uint32_t lane = 0; lane < 8; lane++)
                sums[lane] += from[i + lane];
        for (uint32_t lane = 0; lane < 8; lane++)
            sink += sums[lane];
    }
}

// So much work of each thread a nanosecond.
static double
best_rate(uint32_t threads, double work, void (*fn)(void *, uint32_t, uint32_t), void *context)
{
    double best = 0;
    for (uint32_t round = 0; round < ROUNDS_OF_ALL; round++) {
        const uint64_t began_ns = os_clock_ns();
        pool_run(threads, threads, fn, context);
        const double rate = work / (double)(os_clock_ns() - began_ns);
        best = rate > best ? rate : best;
    }
    return best;
}

struct roofline
roofline_measure(uint32_t threads)
{
    struct roofline roofline = {0, 0};
    uint32_t bytes;
    if (products_here(&bytes) != NULL)
        roofline.products = best_rate(threads, (double)ROUNDS * CHAINS * bytes, multiply, NULL);
    uint64_t *words = malloc(MEMORY);
    if (words == NULL)
        return roofline;
    memset(words, 1, MEMORY);
    struct reading reading = {words, MEMORY / sizeof *words / threads};
    roofline.bytes =
        best_rate(threads, (double)(reading.count * sizeof *words * TIMES), read_through, &reading);
    free(words);
    return roofline;
}
