// tests/unit/index/kernel/test_integer.c -- distances between rows of integers: the oracle's bits, and the oracle's bits are
// those of 64-bit sums.
#include <math.h>
#include <string.h>

#include "base/limits.h"
#include "index/kernel/kernel.h"
#include "tests/lib/check_main.h"
#include "tests/unit/index/kernel/blocks.h"

enum { DIM_MAX = 2100, ROWS = 7 };

static int64_t
component(enum vector_type type, const uint8_t *row, uint32_t i)
{
    return type == VECTOR_I8 ? (int8_t)row[i] : row[i];
}

// By numbers that are large enough for everything.
static float
plain(enum metric metric, enum vector_type type, const uint8_t *q, const uint8_t *x, uint32_t dim)
{
    int64_t apart2 = 0, product = 0, q2 = 0, x2 = 0;
    for (uint32_t i = 0; i < dim; i++) {
        const int64_t a = component(type, q, i), b = component(type, x, i);
        apart2 += (a - b) * (a - b);
        product += a * b;
        q2 += a * a;
        x2 += b * b;
    }
    if (metric == METRIC_COSINE)
        return q2 > 0 && x2 > 0 ? (float)(1.0 - (double)product / sqrt((double)q2 * (double)x2))
                                : 1.0f;
    return (float)(metric == METRIC_L2 ? apart2 : 1 - product);
}

// Every metric and table; counts ROWS and less, rows at odd addresses. `fill`: -1 for random bytes.
static void
check_integer(enum vector_type type, uint32_t dim, int fill)
{
    const struct kernels *list[4];
    const uint32_t tables = kernels_list(list);
    uint64_t seed = dim * 8u + type;
    struct block query = block_open(dim, dim % 5), rows[ROWS];
    const void *row[ROWS];
    random_fill(&seed, query.bytes, dim);
    for (uint32_t r = 0; r < ROWS; r++) {
        rows[r] = block_open(dim, (r * 5 + dim) % 9);
        row[r] = rows[r].bytes;
        random_fill(&seed, rows[r].bytes, dim);
        if (fill >= 0)
            memset(rows[r].bytes, r % 2 == 0 ? fill : fill ^ 0xff, dim);
    }
    memset(rows[1].bytes, 0, fill >= 0 ? 0 : dim);
    if (fill >= 0)
        memset(query.bytes, fill, dim);
    const struct integer_query asked = integer_query_of(type, query.bytes, dim);
    const uint32_t count = dim % 16 == 0 ? ROWS : 1 + dim % ROWS;
    for (uint32_t metric = 0; metric < 3; metric++)
        for (uint32_t t = 0; t < tables; t++) {
            struct block out = block_open(count * sizeof(float), 4);
            list[t]->integer[metric][type - VECTOR_I8](&asked, row, count,
                                                       (float *)(void *)out.bytes);
            for (uint32_t r = 0; r < count; r++) {
                float got;
                memcpy(&got, out.bytes + r * sizeof got, sizeof got);
                const float want =
                    plain((enum metric)metric, type, query.bytes, rows[r].bytes, dim);
                CLAIM(got == want, "%s, metric %u, type %d, dim %u, row %u: %.9g, not %.9g",
                      list[t]->name, metric, (int)type, dim, r, (double)got, (double)want);
            }
            block_close(out);
        }
    block_close(query);
    for (uint32_t r = 0; r < ROWS; r++)
        block_close(rows[r]);
}

START_TEST(integer_is_exact_for_every_dimension)
{
    for (uint32_t dim = 1; dim <= DIM_MAX; dim++)
        check_integer((enum vector_type)_i, dim, -1);
}
END_TEST

// The largest products, differences and sums that there are: of 255 and of -128, against themselves and each other.
START_TEST(integer_is_exact_at_the_ends_of_the_range)
{
    const uint32_t dims[] = {1, 15, 16, 17, 63, 64, 65, 784, VECTOR_DIM_MAX - 1, VECTOR_DIM_MAX};
    const int fills[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    for (uint32_t d = 0; d < sizeof dims / sizeof dims[0]; d++)
        for (uint32_t f = 0; f < sizeof fills / sizeof fills[0]; f++)
            check_integer((enum vector_type)_i, dims[d], fills[f]);
}
END_TEST

START_TEST(integer_of_no_rows_writes_nothing)
{
    const struct kernels *list[4];
    const uint32_t tables = kernels_list(list);
    const uint8_t components[3] = {1, 2, 3};
    const struct integer_query query = integer_query_of(VECTOR_U8, components, 3);
    ck_assert_uint_eq(query.norm2, 14);
    ck_assert_int_eq(query.sum, 6);
    for (uint32_t t = 0; t < tables; t++)
        for (uint32_t metric = 0; metric < 3; metric++) {
            float out = 42;
            list[t]->integer[metric][1](&query, NULL, 0, &out);
            ck_assert(out == 42);
        }
}
END_TEST

static Suite *
integer_suite(void)
{
    Suite *suite = suite_create("index/kernel integer");
    TCase *tcase = tcase_create("integer");
    tcase_add_loop_test(tcase, integer_is_exact_for_every_dimension, VECTOR_I8, VECTOR_U8 + 1);
    tcase_add_loop_test(tcase, integer_is_exact_at_the_ends_of_the_range, VECTOR_I8, VECTOR_U8 + 1);
    tcase_add_test(tcase, integer_of_no_rows_writes_nothing);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(integer_suite)
