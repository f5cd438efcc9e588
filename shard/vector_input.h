// shard/vector_input.h -- are these rows fit to be stored, and how do they become the index's own type?
//
// Shape:  value. Allocates nothing; work space is the caller's.
// Errors: say which row and which component ("row 3: component 17 is NaN"); of a query, which component.
#ifndef OMEN_SHARD_VECTOR_INPUT_H
#define OMEN_SHARD_VECTOR_INPUT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "index/metric.h"

// A squared length above this is refused: differences of two such rows would leave what f32 can hold.
#define VECTOR_NORM2_MAX 1e37f

struct vector_rows {
    const void *rows; // borrowed
    size_t count;
    size_t stride; // bytes from row to row
    uint32_t dim;
    enum vector_type type;
};

static inline const void *
vector_rows_at(const struct vector_rows *rows, size_t i)
{
    return (const char *)rows->rows + i * rows->stride;
}

static inline bool
vector_type_is_known(int type)
{
    return type >= VECTOR_F32 && type <= VECTOR_U8;
}

// Can rows of `type` be stored in an index of type `stored`? Floats hold any: integers of 8 bits exactly, f16 and bf16 in f32 exactly,
// the others rounded as the index says it stores them. Integers hold their own only, since what would become of a fraction, or of 200
// as an i8, is nobody's guess.
static inline bool
vector_type_fits(enum vector_type type, enum vector_type stored)
{
    return type == stored || (stored != VECTOR_I8 && stored != VECTOR_U8);
}

// Every row must be finite, also after conversion to `stored`, short enough for VECTOR_NORM2_MAX, and have a
// direction when the metric is cosine. `work` has room for dim floats.
OMEN_MUST_CHECK omen_status vector_input_check(const struct vector_rows *rows,
                                               enum vector_type stored, enum metric metric,
                                               float *work, struct omen_error *error);

// One row, of a type that fits, to the stored type; `work` has room for dim floats.
void vector_input_convert(const struct vector_rows *rows, size_t i, enum vector_type stored,
                          float *work, void *out);

// A query of `type` as f32: itself when it is f32 already (then aligned or not is the caller's affair), else in
// `work`. The same checks; a query that has no direction under cosine is refused too.
OMEN_MUST_CHECK omen_status vector_input_query(const struct vector_rows *query, enum metric metric,
                                               float *work, const float **out,
                                               struct omen_error *error);

#endif
