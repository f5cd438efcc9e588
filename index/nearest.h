// index/nearest.h -- a short sorted list of the nearest slots seen so far.
//
// Shape: value. The memory is the caller's: capacity + 1 keys, or capacity + NEAREST_SPARE where kernels insert.
//
// A key is one u64: the bits of a distance >= 0 (which sort like the number), then the slot, then a flag that the
// owner may set ("its links were followed"). Sorted keys are sorted by distance, equal distances by slot. A slot has 31
// bits there, which is what SLOTS_MAX comes from: with 32, a table of ids would need more than 2^32 places besides. One array
// searched by halves and shifted beats two heaps up to a few thousand entries, because the shift is a
// straight copy and the list is its own result.
#ifndef OMEN_INDEX_NEAREST_H
#define OMEN_INDEX_NEAREST_H
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/float_bits.h"
#include "base/limits.h"

#define NEAREST_FLAG 1ull
#define NEAREST_SPARE 8u
_Static_assert(SLOTS_MAX < 1u << 31, "a key has 31 bits for a slot");

struct nearest {
    uint64_t *keys;
    uint32_t count;
    uint32_t capacity;
};

static inline uint64_t
nearest_key(float distance, uint32_t slot)
{
    return (uint64_t)float_bits(distance) << 32 | (uint64_t)slot << 1;
}

static inline float
nearest_distance(uint64_t key)
{
    return bits_float((uint32_t)(key >> 32));
}

static inline uint32_t
nearest_slot(uint64_t key)
{
    return (uint32_t)key >> 1;
}

// Puts the key at its place and drops the last one where the list is full. Returns the place; `capacity` when the
// key lies behind all of a full list.
static inline uint32_t
nearest_insert(struct nearest *list, uint64_t key)
{
    uint64_t *const keys = list->keys;
    if (list->count == list->capacity && (list->count == 0 || key >= keys[list->count - 1]))
        return list->capacity;
    // Steps of 64, of 8, of 1: more keys are looked at than by halves, but none waits for another.
    uint32_t low = 0, end = list->count;
    for (uint32_t step = 64; step > 0; step /= 8) {
        uint32_t below = 0;
        for (uint32_t i = low + step - 1; i < end; i += step)
            below += keys[i] < key;
        low += below * step;
        end = end - low < step ? end : low + step;
    }
    const uint32_t last = list->count < list->capacity ? list->count : list->capacity - 1;
    memmove(keys + low + 1, keys + low, (size_t)(last - low) * sizeof *keys);
    keys[low] = key;
    list->count = last + 1;
    return low;
}

// By insertion: for some dozens of keys, or nearly sorted ones.
static inline void
nearest_sort(uint64_t *keys, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        const uint64_t key = keys[i];
        uint32_t at = i;
        for (; at > 0 && keys[at - 1] > key; at--)
            keys[at] = keys[at - 1];
        keys[at] = key;
    }
}

#endif
