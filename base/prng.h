// base/prng.h -- small deterministic random numbers: same seed, same sequence, on every machine.
//
// Shape: value. splitmix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators").
// Not for secrets.
#ifndef OMEN_BASE_PRNG_H
#define OMEN_BASE_PRNG_H
#include <stdint.h>

struct prng {
    uint64_t state;
};

static inline uint64_t
mix64(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

static inline void
prng_init(struct prng *prng, uint64_t seed)
{
    prng->state = seed;
}

static inline uint64_t
prng_next(struct prng *prng)
{
    prng->state += 0x9e3779b97f4a7c15ull;
    return mix64(prng->state);
}

// Uniform in [0, bound); bound > 0. Multiply-shift: its bias is below bound / 2^32, which no use here sees.
static inline uint32_t
prng_below(struct prng *prng, uint32_t bound)
{
    return (uint32_t)(((prng_next(prng) >> 32) * bound) >> 32);
}

// Uniform in [0, 1), 24 bits.
static inline float
prng_unit(struct prng *prng)
{
    return (float)(prng_next(prng) >> 40) * 0x1p-24f;
}

#endif
