// tools/omenctl/latency.c -- how long many things took, in little memory.
//
// Shape: value.
#include "tools/omenctl/latency.h"

#define OCTAVE 32u // classes

static uint32_t
class_of(uint64_t ns)
{
    if (ns < OCTAVE)
        return (uint32_t)ns;
    const uint32_t shift = 58 - (uint32_t)__builtin_clzll(ns); // leaves 32..63
    return (shift + 1) * OCTAVE + (uint32_t)(ns >> shift) - OCTAVE;
}

// The longest time of a class.
static uint64_t
end_of(uint32_t class)
{
    if (class < OCTAVE)
        return class;
    const uint32_t shift = class / OCTAVE - 1;
    return ((uint64_t)(class % OCTAVE + OCTAVE) << shift) + ((UINT64_C(1) << shift) - 1);
}

void
latency_note(struct latency *latency, uint64_t ns)
{
    latency->classes[class_of(ns)]++;
    latency->count++;
    latency->most_ns = ns > latency->most_ns ? ns : latency->most_ns;
}

void
latency_add(struct latency *latency, const struct latency *more)
{
    for (uint32_t i = 0; i < LATENCY_CLASSES; i++)
        latency->classes[i] += more->classes[i];
    latency->count += more->count;
    latency->most_ns = more->most_ns > latency->most_ns ? more->most_ns : latency->most_ns;
}

uint64_t
latency_ns(const struct latency *latency, double share)
{
    const double wanted = share * (double)latency->count;
    uint64_t below = 0;
    for (uint32_t i = 0; i < LATENCY_CLASSES; i++) {
        below += latency->classes[i];
        if (below > 0 && (double)below >= wanted)
            return end_of(i) < latency->most_ns ? end_of(i) : latency->most_ns;
    }
    return 0;
}
