// bench/roofline.h -- what the processors of a machine can do at most: products of bytes, and bytes from memory.
//
// Shape: shell.
#ifndef OMEN_BENCH_ROOFLINE_H
#define OMEN_BENCH_ROOFLINE_H
#include <stdint.h>

struct roofline {
    // Of an unsigned and a signed byte, with their sum, a nanosecond and thread; 0: nobody here knows how.
    double products;
    double bytes; // read in order from memory, a nanosecond and thread
};

// With so many threads (1..THREADS_MAX) at once, which share what they have to. Takes about half a second, and 256 MiB.
struct roofline roofline_measure(uint32_t threads);

#endif
