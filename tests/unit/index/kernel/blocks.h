// tests/unit/index/kernel/blocks.h -- random bytes, and memory that ends where a kernel must stop
// reading.
//
// Shape: value. For the tests of this folder.
#ifndef OMEN_TESTS_KERNEL_BLOCKS_H
#define OMEN_TESTS_KERNEL_BLOCKS_H
#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// ck_assert_msg for innermost loops: Check writes to a pipe for every assertion that it passes,
// which takes longer than the kernels do.
#define CLAIM(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg(__VA_ARGS__);                                                             \
    } while (0)

// splitmix64: any state is a good one.
static inline uint64_t
random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline void
random_fill(uint64_t *state, void *out, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        ((uint8_t *)out)[i] = (uint8_t)(random_next(state) >> 56);
}

// In -1..1.
static inline float
random_float(uint64_t *state)
{
    return (float)((double)(random_next(state) >> 40) / (double)(1 << 23) - 1.0);
}

// `bytes` of memory at `offset` from an aligned address, whose last byte is the last of the
// allocation: under AddressSanitizer a read beyond it is an error.
struct block {
    void *base;
    uint8_t *bytes;
};

static inline struct block
block_open(size_t bytes, size_t offset)
{
    struct block block;
    block.base = malloc(bytes + offset + (bytes + offset == 0));
    if (block.base == NULL)
        abort();
    block.bytes = (uint8_t *)block.base + offset;
    return block;
}

static inline void
block_close(struct block block)
{
    free(block.base);
}

#endif
