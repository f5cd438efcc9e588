// tests/golden/golden.h -- what the index of format 1 holds, by formula, so that maker and test agree.
//
// Shape: value. Never changed: the file that was made from it is kept for ever. A new format has a new header.
//
// Components are multiples of 1/8 below 16: f16 keeps them, and every squared distance is exact in f32, in any order of
// addition. There are enough rows and components for a graph over codes.
#ifndef OMEN_TESTS_GOLDEN_GOLDEN_H
#define OMEN_TESTS_GOLDEN_GOLDEN_H
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "tests/lib/packer.h"

enum { GOLDEN_DIM = 64, GOLDEN_ROWS = 1150, GOLDEN_CHECKPOINTED = 1050 };

// Rows of the final state: what the checkpoint has, and what the log behind it did.
static inline bool
golden_lives(uint32_t row)
{
    return !(row >= 10 && row < 20) && !(row >= 200 && row < 210);
}

// Upserted by the log: vector and payload are another row's.
static inline uint32_t
golden_source(uint32_t row)
{
    return row >= 100 && row < 110 ? row + 10000 : row;
}

// The payload's "n": of five rows the log replaced the payload alone.
static inline int64_t
golden_n(uint32_t row)
{
    return row >= 300 && row < 305 ? (int64_t)row + 20000 : (int64_t)golden_source(row);
}

static inline void
golden_vector(uint32_t source, float out[GOLDEN_DIM])
{
    for (uint32_t i = 0; i < GOLDEN_DIM; i++) {
        const uint32_t mixed = (source * 2654435761u) ^ ((i + 1) * 2246822519u);
        out[i] = (float)((int32_t)((mixed >> 13) % 201) - 100) / 8.0f;
    }
}

static inline const char *
golden_city(uint32_t row)
{
    static const char *const cities[] = {"Oslo", "Bergen", "Troms\xc3\xb8"};
    return cities[row % 3];
}

static inline void
golden_id(uint32_t row, char out[16])
{
    snprintf(out, 16, "doc-%04u", row % 10000);
}

static inline void
golden_payload(uint32_t row, int64_t n, struct packer *packer)
{
    packer->count = 0;
    pack_map(packer, 3);
    pack_text(packer, "n");
    pack_int(packer, n);
    pack_text(packer, "city");
    pack_text(packer, golden_city(row));
    pack_text(packer, "score");
    pack_double(packer, (double)row / 4.0);
}

#endif
