// index/kernel/integer.h -- distances from the sums that the tables make of rows of integers.
//
// Shape: kernel. For the tables.
//
// Sums are counted modulo 2^32. Each that is asked for fits: 65,536 components of u8 make at most 65,536 * 255^2, which is
// below 2^32, and of i8 at most 65,536 * 128^2, below 2^31. So it does not matter that what they are made of may not.
#ifndef OMEN_INDEX_KERNEL_INTEGER_H
#define OMEN_INDEX_KERNEL_INTEGER_H
#include <math.h>

#include "index/kernel/kernel.h"

// `sum` is |q-x|^2 under L2 and else <q,x>; `norm2` is |x|^2, used under cosine. Rounded once, cosine a few times.
static inline float
integer_distance(enum metric metric, enum vector_type type, const struct integer_query *query,
                 uint32_t sum, uint32_t norm2)
{
    if (metric == METRIC_L2)
        return (float)sum;
    const int64_t product = type == VECTOR_I8 ? (int64_t)(int32_t)sum : (int64_t)sum;
    if (metric == METRIC_IP)
        return (float)(1 - product);
    const double lengths2 = (double)query->norm2 * (double)norm2;
    return lengths2 > 0.0 ? (float)(1.0 - (double)product / sqrt(lengths2)) : 1.0f;
}

#endif
