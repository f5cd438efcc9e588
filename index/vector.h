// index/vector.h -- rows of components between their stored type and f32.
//
// Shape: value. No alignment is required of rows.
#ifndef OMEN_INDEX_VECTOR_H
#define OMEN_INDEX_VECTOR_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "index/metric.h"

// out[0..dim) from a stored row.
void vector_to_f32(enum vector_type type, const void *row, uint32_t dim, float *out);

// A stored row from f32: f16 and bf16 round to nearest even; i8 and u8 round and saturate.
void vector_from_f32(enum vector_type type, const float *values, uint32_t dim, void *row);

// A row of VECTOR_I8 or VECTOR_U8 that is the vector; false, and nothing useful in `row`, where there is none.
bool vector_to_integers(enum vector_type type, const float *values, uint32_t dim, void *row);

// Sum of squares in 16 lanes with one fixed order of addition: the same on every machine.
float vector_norm2(const float *values, uint32_t dim);
float vector_dot(const float *a, const float *b, uint32_t dim);

#endif
