// tests/unit/index/kernel/test_rows.c -- what works on stored rows: exact distances, and whether
// all is finite.
//
// The oracle sums in double, the tables in float in another order: they may differ by 1e-5 of the
// sum of the magnitudes that are added up, and by nothing else.
#include <math.h>
#include <string.h>

#include "index/kernel/kernel.h"
#include "tests/lib/check_main.h"
#include "tests/unit/index/kernel/blocks.h"

enum { DIM_MAX = 2100, ROWS = 7 };

static const enum vector_type types[5] = {VECTOR_F32, VECTOR_F16, VECTOR_BF16, VECTOR_I8,
                                          VECTOR_U8};

// Stores `value`, or for integers what lies nearest, as component i.
static void
put(enum vector_type type, uint8_t *row, uint32_t i, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint16_t half = float_to_half(value), upper = (uint16_t)(bits >> 16);
    const int8_t small = (int8_t)lrintf(fmaxf(-128, fminf(127, value)));
    const uint8_t positive = (uint8_t)lrintf(fmaxf(0, fminf(255, value)));
    const void *from = type == VECTOR_F32    ? (const void *)&value
                       : type == VECTOR_F16  ? (const void *)&half
                       : type == VECTOR_BF16 ? (const void *)&upper
                       : type == VECTOR_I8   ? (const void *)&small
                                             : (const void *)&positive;
    const uint32_t bytes = vector_type_bytes(type);
    memcpy(row + (size_t)i * bytes, from, bytes);
}

// The sum of the magnitudes that a distance is added up from. Under L2 that is the distance; else
// the components as they were before they were stored are near enough.
static double
magnitude(enum metric metric, const float *q, const float *x, uint32_t dim, float want)
{
    if (metric == METRIC_L2)
        return (double)want;
    double sum = 0, norm2 = 0;
    for (uint32_t i = 0; i < dim; i++) {
        sum += fabs((double)q[i] * (double)x[i]);
        norm2 += (double)x[i] * (double)x[i];
    }
    if (metric == METRIC_COSINE)
        sum = norm2 > 0 ? sum / sqrt(norm2) : 0;
    return 1 + sum;
}

// One dimension, one type: every metric, every table, counts 0..ROWS, rows at odd addresses.
static void
check_exact(enum vector_type type, uint32_t dim, float scale)
{
    const struct kernels *list[4];
    const uint32_t tables = kernels_list(list);
    uint64_t seed = dim * 8u + type;
    const uint32_t count = dim % 16 == 0 ? ROWS : 1 + dim % ROWS;
    struct block query = block_open(dim * sizeof(float), dim % 5 * 4), rows[ROWS];
    static float x[ROWS][DIM_MAX];
    const void *row[ROWS];
    float *q = (float *)(void *)query.bytes;
    for (uint32_t i = 0; i < dim; i++)
        q[i] = random_float(&seed) * scale;
    for (uint32_t r = 0; r < count; r++) {
        rows[r] = block_open((size_t)dim * vector_type_bytes(type), (r * 5 + dim) % 9);
        row[r] = rows[r].bytes;
        for (uint32_t i = 0; i < dim; i++) {
            x[r][i] = r == 1 ? 0 : random_float(&seed) * scale + (type == VECTOR_U8 ? 100 : 0);
            put(type, rows[r].bytes, i, x[r][i]);
        }
    }
    for (uint32_t metric = 0; metric < 3; metric++) {
        float want[ROWS];
        double slack[ROWS];
        kernels_scalar.exact[metric][type - 1](q, row, count, dim, want);
        for (uint32_t r = 0; r < count; r++)
            slack[r] = 1e-5 * magnitude((enum metric)metric, q, x[r], dim, want[r]);
        for (uint32_t t = 1; t < tables; t++)
            for (uint32_t n = count > 2 ? count - 2 : 0; n <= count; n++) {
                struct block out = block_open(n * sizeof(float), 4);
                const float *got = (const float *)(const void *)out.bytes;
                list[t]->exact[metric][type - 1](q, row, n, dim, (float *)(void *)out.bytes);
                for (uint32_t r = 0; r < n; r++)
                    CLAIM(fabs((double)got[r] - (double)want[r]) <= slack[r],
                          "%s, metric %u, type %d, dim %u, row %u of %u: %g, not %g", list[t]->name,
                          metric, type, dim, r, n, (double)got[r], (double)want[r]);
                block_close(out);
            }
    }
    block_close(query);
    for (uint32_t r = 0; r < count; r++)
        block_close(rows[r]);
}

START_TEST(exact_keeps_to_the_oracle_for_every_dimension)
{
    const enum vector_type type = types[_i];
    for (uint32_t dim = 1; dim <= DIM_MAX; dim++)
        check_exact(type, dim, type == VECTOR_I8 || type == VECTOR_U8 ? 127 : 1);
}
END_TEST

START_TEST(exact_keeps_to_the_oracle_for_large_and_small_numbers)
{
    for (uint32_t dim = 1; dim <= 70; dim++) {
        check_exact(VECTOR_F32, dim, 1e15f);
        check_exact(VECTOR_F32, dim, 1e-10f);
        check_exact(VECTOR_BF16, dim, 1e15f);
        check_exact(VECTOR_BF16, dim, 1e-10f);
        check_exact(VECTOR_F16, dim, 60000.0f);
        check_exact(VECTOR_F16, dim, 1e-6f); // subnormal
    }
}
END_TEST

// Lengths whose squares no float holds, beside one that is ordinary.
START_TEST(cosine_knows_rows_of_any_length)
{
    const struct kernels *list[4];
    const uint32_t tables = kernels_list(list);
    const float lengths[] = {1e-40f, 1e-30f, 1e-20f, 1e-15f, 1, 1e15f, 1e20f, 1e30f, 1e38f};
    float query[19], rows[9][19];
    const void *row[9];
    for (uint32_t r = 0; r < 9; r++) {
        row[r] = rows[r];
        for (uint32_t i = 0; i < 19; i++) {
            query[i] = i < 16 ? 0.25f : 0;
            rows[r][i] = i % 2 == 0 ? lengths[r] : 0;
        }
    }
    const float want = 1 - 8 * 0.25f / sqrtf(10);
    for (uint32_t t = 0; t < tables; t++) {
        float got[9];
        list[t]->exact[METRIC_COSINE][VECTOR_F32 - 1](query, row, 9, 19, got);
        for (uint32_t r = 0; r < 9; r++)
            CLAIM(fabsf(got[r] - want) < 1e-5f, "%s, length %g: %g, not %g", list[t]->name,
                  (double)lengths[r], (double)got[r], (double)want);
    }
}
END_TEST

START_TEST(exact_of_no_rows_writes_nothing)
{
    const struct kernels *list[4];
    const uint32_t tables = kernels_list(list);
    const float query[3] = {1, 2, 3};
    for (uint32_t t = 0; t < tables; t++)
        for (uint32_t metric = 0; metric < 3; metric++)
            for (uint32_t type = 0; type < 5; type++) {
                float out = 42;
                list[t]->exact[metric][type](query, NULL, 0, 3, &out);
                ck_assert(out == 42);
            }
}
END_TEST

START_TEST(cosine_of_a_zero_row_is_one)
{
    const struct kernels *list[4];
    const uint32_t tables = kernels_list(list);
    const float query[37] = {1};
    const uint8_t zeros[37 * 4] = {0};
    const void *rows[5] = {zeros, zeros, zeros, zeros, zeros};
    for (uint32_t t = 0; t < tables; t++)
        for (uint32_t type = 0; type < 5; type++) {
            float out[5] = {0};
            list[t]->exact[METRIC_COSINE][type](query, rows, 5, 37, out);
            for (uint32_t r = 0; r < 5; r++)
                ck_assert(out[r] == 1);
        }
}
END_TEST

static int
same_or_close(float got, float want)
{
    if (isnan(want) || isinf(want))
        return isnan(want) ? isnan(got) != 0 : got == want;
    return fabs((double)got - (double)want) <= 1e-6 * fabs((double)want) + 1e-44;
}

// All 65,536 patterns of the two short types, by rows of one component: infinities, NaN and
// subnormals too.
START_TEST(exact_widens_every_short_float)
{
    const struct kernels *list[4];
    const uint32_t tables = kernels_list(list);
    static uint16_t patterns[65536];
    static const void *rows[65536];
    static float want[65536], got[65536];
    for (uint32_t i = 0; i < 65536; i++) {
        patterns[i] = (uint16_t)i;
        rows[i] = &patterns[i];
    }
    const float queries[2] = {0, 1};
    for (uint32_t type = VECTOR_F16; type <= VECTOR_BF16; type++)
        for (uint32_t metric = METRIC_L2; metric <= METRIC_IP; metric++) {
            const float *query = &queries[metric == METRIC_IP];
            kernels_scalar.exact[metric][type - 1](query, rows, 65536, 1, want);
            for (uint32_t t = 1; t < tables; t++) {
                list[t]->exact[metric][type - 1](query, rows, 65536, 1, got);
                for (uint32_t i = 0; i < 65536; i++)
                    CLAIM(same_or_close(got[i], want[i]), "%s, metric %u, type %u, %#x: %g, not %g",
                          list[t]->name, metric, type, i, (double)got[i], (double)want[i]);
            }
        }
}
END_TEST

// Bit patterns of each float type that are not finite, and the largest that is.
static const uint32_t not_finite_f32[] = {0x7f800000, 0xff800000, 0x7fc00000,
                                          0xffc00001, 0x7f800001, 0xffffffff};
static const uint32_t not_finite_f16[] = {0x7c00, 0xfc00, 0x7e00, 0xfe01, 0x7c01, 0xffff};
static const uint32_t not_finite_bf16[] = {0x7f80, 0xff80, 0x7fc0, 0xffc1, 0x7f81, 0xffff};
static const uint32_t largest[3] = {0xff7fffff, 0xfbff, 0xff7f};

static void
check_finite(enum vector_type type, uint32_t dim, uint32_t step)
{
    const struct kernels *list[4];
    const uint32_t tables = kernels_list(list);
    const uint32_t *patterns = type == VECTOR_F32   ? not_finite_f32
                               : type == VECTOR_F16 ? not_finite_f16
                                                    : not_finite_bf16;
    const uint32_t bytes = vector_type_bytes(type);
    struct block row = block_open((size_t)dim * bytes, dim % 5);
    for (uint32_t i = 0; i < dim; i++)
        memcpy(row.bytes + (size_t)i * bytes, &largest[type - VECTOR_F32], bytes);
    for (uint32_t t = 0; t < tables; t++) {
        CLAIM(list[t]->finite(row.bytes, dim, type), "%s, type %d, dim %u", list[t]->name, type,
              dim);
        for (uint32_t i = 0; i < dim; i += step)
            for (uint32_t p = 0; p < 6; p++) {
                const uint32_t at = dim - 1 - i;
                memcpy(row.bytes + (size_t)at * bytes, &patterns[p], bytes);
                CLAIM(!list[t]->finite(row.bytes, dim, type), "%s, type %d, dim %u, %#x at %u",
                      list[t]->name, type, dim, patterns[p], at);
                memcpy(row.bytes + (size_t)at * bytes, &largest[type - VECTOR_F32], bytes);
            }
    }
    block_close(row);
}

START_TEST(finite_finds_a_bad_component_wherever_it_is)
{
    for (uint32_t type = VECTOR_F32; type <= VECTOR_BF16; type++) {
        for (uint32_t dim = 1; dim <= 130; dim++)
            check_finite((enum vector_type)type, dim, 1);
        for (uint32_t dim = 131; dim <= DIM_MAX; dim++)
            check_finite((enum vector_type)type, dim, dim - 1);
    }
}
END_TEST

START_TEST(integers_are_always_finite)
{
    const struct kernels *list[4];
    const uint32_t tables = kernels_list(list);
    uint8_t row[300];
    memset(row, 0xff, sizeof row);
    for (uint32_t t = 0; t < tables; t++) {
        ck_assert(list[t]->finite(row, 300, VECTOR_I8));
        ck_assert(list[t]->finite(row, 300, VECTOR_U8));
    }
}
END_TEST

// Of every byte, at every place of a word, between bounds that touch, cross and reach the ends.
START_TEST(within_sets_the_bits_of_bytes_between_two_others)
{
    static const uint8_t bounds[][2] = {{0, 0},     {0, 255}, {255, 255}, {7, 9},
                                        {127, 128}, {200, 3}, {1, 254},   {64, 64}};
    const struct kernels *list[4];
    const uint32_t tables = kernels_list(list);
    struct block bytes = block_open(256 * 3, 1);
    for (uint32_t i = 0; i < 256 * 3; i++)
        bytes.bytes[i] = (uint8_t)(i * 37 + i / 256);
    for (uint32_t t = 0; t < tables; t++)
        for (uint32_t b = 0; b < 8; b++) {
            uint64_t words[13] = {[0] = 1, [12] = 42};
            list[t]->within(bytes.bytes, 12, bounds[b][0], bounds[b][1], words);
            for (uint32_t i = 0; i < 256 * 3; i++) {
                const uint8_t byte = bytes.bytes[i];
                const uint64_t want = (byte >= bounds[b][0] && byte <= bounds[b][1]) || i == 0;
                CLAIM((words[i / 64] >> (i % 64) & 1) == want, "%s, byte %u, %u to %u",
                      list[t]->name, byte, bounds[b][0], bounds[b][1]);
            }
            ck_assert_uint_eq(words[12], 42);
        }
    block_close(bytes);
}
END_TEST

static Suite *
rows_suite(void)
{
    Suite *suite = suite_create("index/kernel rows");
    TCase *tcase = tcase_create("rows");
    tcase_add_loop_test(tcase, exact_keeps_to_the_oracle_for_every_dimension, 0, 5);
    tcase_add_test(tcase, exact_keeps_to_the_oracle_for_large_and_small_numbers);
    tcase_add_test(tcase, cosine_knows_rows_of_any_length);
    tcase_add_test(tcase, exact_of_no_rows_writes_nothing);
    tcase_add_test(tcase, cosine_of_a_zero_row_is_one);
    tcase_add_test(tcase, exact_widens_every_short_float);
    tcase_add_test(tcase, finite_finds_a_bad_component_wherever_it_is);
    tcase_add_test(tcase, integers_are_always_finite);
    tcase_add_test(tcase, within_sets_the_bits_of_bytes_between_two_others);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(rows_suite)
