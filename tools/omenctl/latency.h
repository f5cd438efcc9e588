// tools/omenctl/latency.h -- how long many things took, in little memory.
//
// Shape: value. Times are counted in classes that are a thirty-second of their octave wide, so what is read is at most 3 % too much.
#ifndef OMEN_TOOLS_OMENCTL_LATENCY_H
#define OMEN_TOOLS_OMENCTL_LATENCY_H
#include <stdint.h>

#define LATENCY_CLASSES 1920u

struct latency {
    uint64_t count, most_ns;
    uint64_t classes[LATENCY_CLASSES];
};

void latency_note(struct latency *latency, uint64_t ns);
void latency_add(struct latency *latency, const struct latency *more);
// The time that `share` (0..1) of them took at most; 0 where there is none.
uint64_t latency_ns(const struct latency *latency, double share);

#endif
