// index/metric.h -- how far two vectors are, and how their components are stored.
//
// Shape: value. The numbers are those of include/omendb.h.
#ifndef OMEN_INDEX_METRIC_H
#define OMEN_INDEX_METRIC_H
#include <stdint.h>

enum metric {
    METRIC_COSINE = 0, // 1 - <q,x> / (|q| |x|)
    METRIC_L2 = 1,     // |q - x|^2
    METRIC_IP = 2,     // 1 - <q,x>
};

enum vector_type {
    VECTOR_F32 = 1,
    VECTOR_F16 = 2,  // IEEE binary16
    VECTOR_BF16 = 3, // upper half of a binary32
    VECTOR_I8 = 4,
    VECTOR_U8 = 5,
};

static inline uint32_t
vector_type_bytes(enum vector_type type)
{
    return type == VECTOR_F32 ? 4 : type == VECTOR_F16 || type == VECTOR_BF16 ? 2 : 1;
}

// One answer of a search.
struct hit {
    float distance;
    uint32_t slot;
};

#endif
