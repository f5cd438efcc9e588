// index/kernel/integer_four.h -- rows of integers, four at a time: what of that does not depend on the table.
//
// Shape: kernel. For the tables that sum four rows at once; whoever includes this defines integer4.
#ifndef OMEN_INDEX_KERNEL_INTEGER_FOUR_H
#define OMEN_INDEX_KERNEL_INTEGER_FOUR_H
#include "index/kernel/integer.h"
#include "index/kernel/kinds.h"

// What integer_distance takes of four rows.
INLINE void integer4(enum metric metric, enum vector_type type, const struct integer_query *query,
                     const void *const *rows, uint32_t sums_out[4], uint32_t norms2_out[4]);

// The last four are whole: their first row is there again.
INLINE void
integer(enum metric metric, enum vector_type type, const struct integer_query *query,
        const void *const *rows, uint32_t count, float *out)
{
    for (uint32_t i = 0; i < count; i += 4) {
        const uint32_t left = count - i < 4 ? count - i : 4;
        const void *row[4];
        uint32_t sums[4], norms2[4];
        for (uint32_t r = 0; r < 4; r++)
            row[r] = rows[r < left ? i + r : i];
        integer4(metric, type, query, row, sums, norms2);
        for (uint32_t r = 0; r < left; r++)
            out[i + r] = integer_distance(metric, type, query, sums[r], norms2[r]);
    }
}

#endif
