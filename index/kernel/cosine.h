// index/kernel/cosine.h -- rows whose length a float's square cannot hold.
//
// Shape: kernel. For the vector tables.
//
// A row of length 1e-20 or 1e20 is a good row, but its squared length in a float has lost its
// digits, is zero or is infinite. The tables answer NaN for a row whose squared length lies outside
// COSINE_NORM2_MIN..COSINE_NORM2_MAX, and cosine_again has the oracle, which sums in double, answer
// those. Rows of zeros take that way too.
#ifndef OMEN_INDEX_KERNEL_COSINE_H
#define OMEN_INDEX_KERNEL_COSINE_H
#include <float.h>
#include <math.h>

#include "index/kernel/kernel.h"

// Components that add to it are above the smallest normal float, or do not matter.
#define COSINE_NORM2_MIN 1e-30f
#define COSINE_NORM2_MAX FLT_MAX

static inline void
cosine_again(enum vector_type type, const float *query, const void *const *rows, uint32_t count,
             uint32_t dim, float *out)
{
    for (uint32_t i = 0; i < count; i++)
        if (isnan(out[i]))
            kernels_scalar.exact[METRIC_COSINE][type - 1](query, rows + i, 1, dim, out + i);
}

#endif
