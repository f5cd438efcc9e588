// gpu/knn_cpu.c -- the oracle of knn: every query with every row.
//
// Shape: handle (reads only).
#include <math.h>

#include "base/assert.h"
#include "gpu/exact_int.h"
#include "gpu/search.h"
#include "index/nearest.h"

// From the first component to the last, each with one rounding.
static float
knn_distance(const struct device_vectors *vectors, const float *query, uint32_t row)
{
    float sum = 0.0f, norm2 = 0.0f;
    for (uint32_t i = 0; i < vectors->dim; i++) {
        const float x = vector_component(vectors, row, i), q = query[i];
        const float apart = q - x;
        sum = vectors->metric == METRIC_L2 ? fmaf(apart, apart, sum) : fmaf(q, x, sum);
        norm2 = fmaf(x, x, norm2);
    }
    return metric_finish(vectors->metric, sum, norm2);
}

omen_status
device_cpu_knn(struct device *device, const struct device_knn *knn)
{
    (void)device;
    ASSERT(knn->k >= 1 && knn->k <= DEVICE_KNN_MAX);
    uint64_t keys[DEVICE_KNN_MAX + 1];
    for (uint32_t q = 0; q < knn->count; q++) {
        const float *query = knn->prepared + (size_t)q * knn->vectors.dim;
        struct hit *hits = knn->hits + (size_t)q * knn->k;
        struct nearest best = {.keys = keys, .capacity = knn->k};
        for (uint32_t row = 0; row < knn->vectors.count; row++)
            if (row_may_answer(knn->erased, knn->allowed, row))
                nearest_insert(&best, ordered_key(knn_distance(&knn->vectors, query, row), row));
        for (uint32_t i = 0; i < knn->k; i++)
            hits[i] = i < best.count ? ordered_hit(keys[i]) : (struct hit){INFINITY, UINT32_MAX};
    }
    return OMEN_OK;
}
