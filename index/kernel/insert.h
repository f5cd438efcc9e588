// index/kernel/insert.h -- `insert` (kernel.h) where instructions have nothing better to offer.
//
// Shape: kernel.
#ifndef OMEN_INDEX_KERNEL_INSERT_H
#define OMEN_INDEX_KERNEL_INSERT_H
#include "index/nearest.h"

static inline uint32_t
insert_plain(uint64_t *keys, uint32_t *count, uint32_t capacity, const float *distances,
             const uint32_t *slots, uint32_t below)
{
    struct nearest list = {.keys = keys, .count = *count, .capacity = capacity};
    uint32_t first = UINT32_MAX;
    for (; below != 0; below &= below - 1) {
        const uint32_t i = (uint32_t)__builtin_ctz(below);
        const uint32_t place = nearest_insert(&list, nearest_key(distances[i], slots[i]));
        if (place < first && place < capacity)
            first = place;
    }
    *count = list.count;
    return first;
}

#endif
