// index/kernel/kinds.h -- a function for each metric and type of vectors, made of a table's one that takes both.
//
// Shape: kernel. For the tables.
//
// A table writes exact(metric, type, ...) and integer(metric, type, ...) once, to be inlined: the kind is then known when a function is
// compiled, and no loop asks for it. KINDS_EXACT(avx2) makes avx2_l2_f32 and its like of the one, KINDS_INTEGER(avx2)
// avx2_integer_l2_i8 and its like of the other; the ROWS are what `struct kernels` has of them. A table that sums four rows of integers at
// once (integer4) gets its `integer` by INTEGER_BY_FOURS.
#ifndef OMEN_INDEX_KERNEL_KINDS_H
#define OMEN_INDEX_KERNEL_KINDS_H
#include "index/kernel/integer.h"

#define INLINE static inline __attribute__((always_inline))

#define KIND_EXACT(table, metric, METRIC, type, TYPE)                                              \
    static void table##_##metric##_##type(const float *query, const void *const *rows,             \
                                          uint32_t count, uint32_t dim, float *out)                \
    {                                                                                              \
        exact(METRIC_##METRIC, VECTOR_##TYPE, query, rows, count, dim, out);                       \
    }
#define KIND_EXACT_TYPES(table, metric, METRIC)                                                    \
    KIND_EXACT(table, metric, METRIC, f32, F32)                                                    \
    KIND_EXACT(table, metric, METRIC, f16, F16)                                                    \
    KIND_EXACT(table, metric, METRIC, bf16, BF16)                                                  \
    KIND_EXACT(table, metric, METRIC, i8, I8)                                                      \
    KIND_EXACT(table, metric, METRIC, u8, U8)
#define KINDS_EXACT(table)                                                                         \
    KIND_EXACT_TYPES(table, cosine, COSINE)                                                        \
    KIND_EXACT_TYPES(table, l2, L2)                                                                \
    KIND_EXACT_TYPES(table, ip, IP)

#define KIND_INTEGER(table, metric, METRIC, type, TYPE)                                            \
    static void table##_integer_##metric##_##type(                                                 \
        const struct integer_query *query, const void *const *rows, uint32_t count, float *out)    \
    {                                                                                              \
        integer(METRIC_##METRIC, VECTOR_##TYPE, query, rows, count, out);                          \
    }
#define KIND_INTEGER_TYPES(table, metric, METRIC)                                                  \
    KIND_INTEGER(table, metric, METRIC, i8, I8)                                                    \
    KIND_INTEGER(table, metric, METRIC, u8, U8)
#define KINDS_INTEGER(table)                                                                       \
    KIND_INTEGER_TYPES(table, cosine, COSINE)                                                      \
    KIND_INTEGER_TYPES(table, l2, L2)                                                              \
    KIND_INTEGER_TYPES(table, ip, IP)

// Of `integer4(metric, type, query, four rows, sums, norms2)`, what integer_distance takes. The last four are whole: their first row
// is there again.
#define INTEGER_BY_FOURS(integer4)                                                                 \
    INLINE void integer(enum metric metric, enum vector_type type,                                 \
                        const struct integer_query *query, const void *const *rows,                \
                        uint32_t count, float *out)                                                \
    {                                                                                              \
        for (uint32_t i = 0; i < count; i += 4) {                                                  \
            const uint32_t left = count - i < 4 ? count - i : 4;                                   \
            const void *row[4];                                                                    \
            uint32_t sums[4], norms2[4];                                                           \
            for (uint32_t r = 0; r < 4; r++)                                                       \
                row[r] = rows[r < left ? i + r : i];                                               \
            integer4(metric, type, query, row, sums, norms2);                                      \
            for (uint32_t r = 0; r < left; r++)                                                    \
                out[i + r] = integer_distance(metric, type, query, sums[r], norms2[r]);            \
        }                                                                                          \
    }

#define KINDS_EXACT_ROW(table, metric)                                                             \
    {                                                                                              \
        table##_##metric##_f32, table##_##metric##_f16, table##_##metric##_bf16,                   \
            table##_##metric##_i8, table##_##metric##_u8                                           \
    }
#define KINDS_EXACT_ROWS(table)                                                                    \
    {                                                                                              \
        KINDS_EXACT_ROW(table, cosine), KINDS_EXACT_ROW(table, l2), KINDS_EXACT_ROW(table, ip)     \
    }
#define KINDS_INTEGER_ROW(table, metric)                                                           \
    {                                                                                              \
        table##_integer_##metric##_i8, table##_integer_##metric##_u8                               \
    }
#define KINDS_INTEGER_ROWS(table)                                                                  \
    {                                                                                              \
        KINDS_INTEGER_ROW(table, cosine), KINDS_INTEGER_ROW(table, l2),                            \
            KINDS_INTEGER_ROW(table, ip)                                                           \
    }

#endif
