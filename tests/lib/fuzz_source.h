// tests/lib/fuzz_source.h -- a fuzzer's bytes, taken from the front; behind the last there are zeros.
//
// Shape: value.
#ifndef OMEN_TESTS_FUZZ_SOURCE_H
#define OMEN_TESTS_FUZZ_SOURCE_H
#include <stddef.h>
#include <stdint.h>

struct source {
    const uint8_t *bytes;
    size_t left;
};

static inline uint8_t
source_byte(struct source *source)
{
    if (source->left == 0)
        return 0;
    source->left--;
    return *source->bytes++;
}

// Small in most cases, so that it comes near to what is there; else around `max`, or among the largest there are.
static inline uint64_t
source_number(struct source *source, uint64_t max)
{
    const uint8_t first = source_byte(source);
    return first < 240 ? first % 24 : first < 248 ? max - 4 + first % 8 : UINT64_MAX - first % 8;
}

#endif
