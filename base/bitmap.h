// base/bitmap.h -- a set of u32 as bits, and its atomic twin for readers beside a writer.
//
// Shape: value. The words are the caller's memory; bit i is bit (i & 63) of word i / 64.
#ifndef OMEN_BASE_BITMAP_H
#define OMEN_BASE_BITMAP_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct bitmap {
    uint64_t *words;
    uint32_t count; // bits; bits from count to the end of the last word are zero
};

static inline uint32_t
bitmap_words(uint32_t count)
{
    return (uint32_t)(((uint64_t)count + 63) / 64);
}

static inline bool
bitmap_test(const struct bitmap *bitmap, uint32_t i)
{
    return i < bitmap->count && (bitmap->words[i >> 6] >> (i & 63) & 1) != 0;
}

static inline void
bitmap_set(struct bitmap *bitmap, uint32_t i)
{
    bitmap->words[i >> 6] |= 1ull << (i & 63);
}

static inline void
bitmap_clear(struct bitmap *bitmap, uint32_t i)
{
    bitmap->words[i >> 6] &= ~(1ull << (i & 63));
}

// How many bits are set.
uint64_t words_population(const uint64_t *words, uint32_t count);

static inline uint64_t
bitmap_population(const struct bitmap *bitmap)
{
    return words_population(bitmap->words, bitmap_words(bitmap->count));
}

// The atomic twin: words shared between one or more writers and any number of readers. Who sees a bit set also sees
// what its writer had written before; that is free on x86, and on ARM a load of another name.
static inline bool
atomic_bit_test(const _Atomic uint64_t *words, uint32_t i)
{
    return (atomic_load_explicit(&words[i >> 6], memory_order_acquire) >> (i & 63) & 1) != 0;
}

// Sets the bit; true when it was clear before.
static inline bool
atomic_bit_set(_Atomic uint64_t *words, uint32_t i)
{
    const uint64_t mask = 1ull << (i & 63);
    return (atomic_fetch_or_explicit(&words[i >> 6], mask, memory_order_acq_rel) & mask) == 0;
}

#endif
