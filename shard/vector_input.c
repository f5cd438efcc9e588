// shard/vector_input.c -- are these rows fit to be stored, and how do they become the index's own type?
//
// Shape: value.
//
// A batch of 10,000 x 1536 passes through here before anything is changed, so the good case is two passes over a
// row that the first has brought into the cache: the kernel's "all finite?" and the squared length. Only when one
// of them says no does a slow loop look for the component to name.
#include "shard/vector_input.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/float_bits.h"
#include "base/text.h"
#include "index/kernel/kernel.h"
#include "index/vector.h"

// A query with a component of this size surely has a direction, so that its length need not be computed twice.
#define COMPONENT_PLAIN 1e-15f
#define ROW_QUERY SIZE_MAX // stands for "no row: a query"
#define HALF_MAX 65504.0f  // largest f16
#define HALF_MIN 0x1p-24f  // smallest above zero

// The start of a message: which row it is about. A query has no number.
struct place {
    char text[32];
};

static const char *
where(struct place *place, size_t row)
{
    struct text text;
    text_init(&text, place->text, sizeof place->text);
    if (row != ROW_QUERY)
        text_add(&text, "row %zu: ", row);
    return place->text;
}

static omen_status check_f32(const float *values, const struct vector_rows *rows, size_t row,
                             enum metric metric, struct omen_error *error);
static omen_status check_integers(const uint8_t *values, const struct vector_rows *rows, size_t row,
                                  enum metric metric, struct omen_error *error);
static omen_status refuse_component(const float *values, const struct vector_rows *rows, size_t row,
                                    struct omen_error *error);
static omen_status check_half(const float *values, const struct vector_rows *rows, size_t row,
                              enum metric metric, struct omen_error *error);

omen_status
vector_input_check(const struct vector_rows *rows, enum vector_type stored, enum metric metric,
                   float *work, struct omen_error *error)
{
    for (size_t i = 0; i < rows->count; i++) {
        const void *row = vector_rows_at(rows, i);
        omen_status status = OMEN_OK;
        if (rows->type == VECTOR_I8 || rows->type == VECTOR_U8) {
            status = check_integers(row, rows, i, metric, error);
        } else {
            const float *values = row;
            if (rows->type != VECTOR_F32 || (uintptr_t)row % _Alignof(float) != 0) {
                vector_to_f32(rows->type, row, rows->dim, work);
                values = work;
            }
            status = check_f32(values, rows, i, metric, error);
            if (status == OMEN_OK && rows->type != stored && stored == VECTOR_F16)
                status = check_half(values, rows, i, metric, error);
        }
        if (status != OMEN_OK)
            return status;
    }
    return OMEN_OK;
}

void
vector_input_convert(const struct vector_rows *rows, size_t i, enum vector_type stored, float *work,
                     void *out)
{
    const void *row = vector_rows_at(rows, i);
    if (rows->type == stored) {
        memcpy(out, row, rows->dim * vector_type_bytes(stored));
        return;
    }
    vector_to_f32(rows->type, row, rows->dim, work);
    vector_from_f32(stored, work, rows->dim, out);
}

// Whether every component is finite, and none so large that VECTOR_NORM2_MAX might be passed. By bits, which are ordered as magnitudes are, so that it
// becomes a loop over vectors.
static bool
is_plain(const float *values, uint32_t dim)
{
    const int32_t most = (int32_t)float_bits(1.0f / COMPONENT_PLAIN);
    int32_t beyond = 0;
    for (uint32_t i = 0; i < dim; i++)
        beyond |= (int32_t)(float_bits(values[i]) & INT32_MAX) > most;
    return beyond == 0;
}

// Under cosine, without its length being computed.
static bool
has_direction(const float *values, uint32_t dim)
{
    for (uint32_t i = 0; i < dim; i++)
        if (fabsf(values[i]) >= COMPONENT_PLAIN)
            return true;
    return false;
}

omen_status
vector_input_query(const struct vector_rows *query, enum metric metric, float *work,
                   const float **out, struct omen_error *error)
{
    const float *values = query->rows;
    if (query->type != VECTOR_F32) {
        vector_to_f32(query->type, query->rows, query->dim, work);
        values = work;
    } else if ((uintptr_t)query->rows % _Alignof(float) != 0) {
        values = memcpy(work, query->rows, query->dim * sizeof *work);
    }
    *out = values;
    if (is_plain(values, query->dim) &&
        (metric != METRIC_COSINE || has_direction(values, query->dim)))
        return OMEN_OK;
    return check_f32(values, query, ROW_QUERY, metric, error);
}

static omen_status
check_f32(const float *values, const struct vector_rows *rows, size_t row, enum metric metric,
          struct omen_error *error)
{
    struct place place;
    if (kernels_best()->finite(values, rows->dim, VECTOR_F32) == 0)
        return refuse_component(values, rows, row, error);
    const float norm2 = vector_norm2(values, rows->dim);
    if (!(norm2 <= VECTOR_NORM2_MAX))
        return error_set(error, OMEN_E_NOT_FINITE, "%sits squared length is above 1e37",
                         where(&place, row));
    if (metric != METRIC_COSINE || norm2 >= FLT_MIN)
        return OMEN_OK;
    for (uint32_t i = 0; i < rows->dim; i++)
        if (values[i] != 0.0f)
            return error_set(error, OMEN_E_ZERO_VECTOR,
                             "%stoo short to have a direction under cosine (squared length %g)",
                             where(&place, row), (double)norm2);
    return error_set(error, OMEN_E_ZERO_VECTOR,
                     "%sall components are zero: no direction under cosine", where(&place, row));
}

static omen_status
check_integers(const uint8_t *values, const struct vector_rows *rows, size_t row,
               enum metric metric, struct omen_error *error)
{
    struct place place;
    if (metric != METRIC_COSINE)
        return OMEN_OK;
    for (uint32_t i = 0; i < rows->dim; i++)
        if (values[i] != 0)
            return OMEN_OK;
    return error_set(error, OMEN_E_ZERO_VECTOR,
                     "%sall components are zero: no direction under cosine", where(&place, row));
}

static omen_status
refuse_component(const float *values, const struct vector_rows *rows, size_t row,
                 struct omen_error *error)
{
    struct place place;
    for (uint32_t i = 0; i < rows->dim; i++)
        if (!isfinite(values[i]))
            return error_set(error, OMEN_E_NOT_FINITE, "%scomponent %u is %s", where(&place, row),
                             i,
                             isnan(values[i]) ? "NaN"
                             : values[i] > 0  ? "+infinity"
                                              : "-infinity");
    return error_set(error, OMEN_E_INTERNAL, "%skernel %s calls finite numbers infinite",
                     where(&place, row), kernels_best()->name);
}

// A finite float may be infinite in f16, and a short one zero. (A bf16 overflows only where the squared length does.)
static omen_status
check_half(const float *values, const struct vector_rows *rows, size_t row, enum metric metric,
           struct omen_error *error)
{
    struct place place;
    float high = 0.0f;
    for (uint32_t i = 0; i < rows->dim; i++)
        high = fabsf(values[i]) > high ? fabsf(values[i]) : high;

    if (high > HALF_MAX) {
        for (uint32_t i = 0; i < rows->dim; i++) {
            if (isinf(half_to_float(float_to_half(values[i]))))
                return error_set(error, OMEN_E_NOT_FINITE,
                                 "%scomponent %u is %g, which f16 cannot hold", where(&place, row),
                                 i, (double)values[i]);
        }
    }
    if (high < HALF_MIN && metric == METRIC_COSINE)
        return error_set(error, OMEN_E_ZERO_VECTOR,
                         "%sall components are below 2^-24, which f16 cannot tell from zero",
                         where(&place, row));
    return OMEN_OK;
}
