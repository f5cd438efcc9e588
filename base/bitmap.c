// base/bitmap.c -- counting bits.
//
// Shape: value.
#include "base/bitmap.h"

#if defined(__x86_64__)
__attribute__((target("popcnt"))) static uint64_t
population_popcnt(const uint64_t *words, uint32_t count)
{
    uint64_t bits = 0;
    for (uint32_t w = 0; w < count; w++)
        bits += (uint64_t)__builtin_popcountll(words[w]);
    return bits;
}
#endif

// The baseline of x86-64 has no instruction for it, and the library's table costs ten times as much.
uint64_t
words_population(const uint64_t *words, uint32_t count)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("popcnt"))
        return population_popcnt(words, count);
#endif
    uint64_t bits = 0;
    for (uint32_t w = 0; w < count; w++)
        bits += (uint64_t)__builtin_popcountll(words[w]);
    return bits;
}
