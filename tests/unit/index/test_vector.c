// tests/unit/index/test_vector.c -- rows between their stored type and f32.
#include <math.h>
#include <string.h>

#include "base/prng.h"
#include "index/vector.h"
#include "tests/lib/check_main.h"

#define DIM_MAX 200u

static const enum vector_type types[] = {VECTOR_F32, VECTOR_F16, VECTOR_BF16, VECTOR_I8, VECTOR_U8};

static float
store_one(enum vector_type type, float value)
{
    uint8_t row[4];
    float out;
    vector_from_f32(type, &value, 1, row);
    vector_to_f32(type, row, 1, &out);
    return out;
}

START_TEST(what_a_type_holds_comes_back_from_it)
{
    for (int value = -128; value <= 255; value++) {
        for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
            if ((types[t] == VECTOR_I8 && value > 127) || (types[t] == VECTOR_U8 && value < 0))
                continue;
            ck_assert_float_eq(store_one(types[t], (float)value), (float)value);
        }
    }
    ck_assert_float_eq(store_one(VECTOR_F32, 0.1f), 0.1f);
}
END_TEST

START_TEST(integers_saturate_and_round_to_even)
{
    ck_assert_float_eq(store_one(VECTOR_I8, 1000.0f), 127.0f);
    ck_assert_float_eq(store_one(VECTOR_I8, -1000.0f), -128.0f);
    ck_assert_float_eq(store_one(VECTOR_U8, 1e30f), 255.0f);
    ck_assert_float_eq(store_one(VECTOR_U8, -0.6f), 0.0f);
    ck_assert_float_eq(store_one(VECTOR_I8, 2.5f), 2.0f);
    ck_assert_float_eq(store_one(VECTOR_I8, -3.5f), -4.0f);
    ck_assert_float_eq(store_one(VECTOR_U8, 254.5f), 254.0f);
}
END_TEST

START_TEST(halves_are_the_nearest_that_there_are)
{
    struct prng prng = {.state = 5};
    for (int i = 0; i < 20000; i++) {
        const float value = (prng_unit(&prng) - 0.5f) * 200.0f;
        // Half a step: 11 significant bits of f16, 8 of bf16; below its normal numbers f16 has steps of 2^-24.
        const float f16 = fmaxf(fabsf(value) * 0x1p-11f, 0x1p-25f);
        if (fabsf(store_one(VECTOR_F16, value) - value) > f16 ||
            fabsf(store_one(VECTOR_BF16, value) - value) > fabsf(value) * 0x1p-8f)
            ck_abort_msg("%.9g is stored as %.9g and %.9g", (double)value,
                         (double)store_one(VECTOR_F16, value),
                         (double)store_one(VECTOR_BF16, value));
    }
    ck_assert_float_eq(store_one(VECTOR_F16, 1.0f + 0x1p-11f), 1.0f); // ties to even
    ck_assert_float_eq(store_one(VECTOR_F16, 1.0f + 3 * 0x1p-11f), 1.0f + 0x1p-9f);
    ck_assert_float_eq(store_one(VECTOR_BF16, 1.0f + 0x1p-8f), 1.0f);
    ck_assert_float_eq(store_one(VECTOR_BF16, 1.0f + 3 * 0x1p-8f), 1.0f + 0x1p-6f);
    ck_assert(isnan(store_one(VECTOR_BF16, NAN)));
    ck_assert(isinf(store_one(VECTOR_F16, 1e6f)));
}
END_TEST

START_TEST(rows_need_no_alignment)
{
    float values[DIM_MAX], aligned[DIM_MAX], odd[DIM_MAX];
    for (uint32_t i = 0; i < DIM_MAX; i++)
        values[i] = (float)(i % 100);
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
        uint8_t rows[2][DIM_MAX * 4 + 1];
        vector_from_f32(types[t], values, DIM_MAX, rows[0]);
        vector_from_f32(types[t], values, DIM_MAX, rows[1] + 1);
        ck_assert_mem_eq(rows[0], rows[1] + 1, DIM_MAX * vector_type_bytes(types[t]));
        vector_to_f32(types[t], rows[0], DIM_MAX, aligned);
        vector_to_f32(types[t], rows[1] + 1, DIM_MAX, odd);
        ck_assert_mem_eq(aligned, odd, sizeof odd);
        ck_assert_mem_eq(aligned, values, sizeof values);
    }
}
END_TEST

START_TEST(sums_are_near_those_of_doubles_at_every_dimension)
{
    struct prng prng = {.state = 9};
    float a[DIM_MAX], b[DIM_MAX];
    for (uint32_t dim = 1; dim <= DIM_MAX; dim++) {
        double dot = 0.0, norm2 = 0.0, size = 0.0;
        for (uint32_t i = 0; i < dim; i++) {
            a[i] = prng_unit(&prng) - 0.5f;
            b[i] = prng_unit(&prng) - 0.5f;
            dot += (double)a[i] * (double)b[i];
            size += fabs((double)a[i] * (double)b[i]);
            norm2 += (double)a[i] * (double)a[i];
        }
        ck_assert_double_le(fabs((double)vector_dot(a, b, dim) - dot), 1e-6 * size);
        ck_assert_double_le(fabs((double)vector_norm2(a, dim) - norm2), 1e-6 * norm2);
    }
}
END_TEST

// The order of additions is part of the numbering: this is it, written plainly.
START_TEST(sums_add_in_sixteen_lanes)
{
    struct prng prng = {.state = 10};
    float a[DIM_MAX];
    for (uint32_t i = 0; i < DIM_MAX; i++)
        a[i] = prng_unit(&prng) * 10.0f - 5.0f;
    for (uint32_t dim = 1; dim <= DIM_MAX; dim++) {
        float lanes[16] = {0};
        for (uint32_t i = 0; i < dim; i++) {
            const float square = a[i] * a[i];
            lanes[i % 16] += square;
        }
        for (uint32_t width = 8; width >= 1; width /= 2)
            for (uint32_t j = 0; j < width; j++)
                lanes[j] += lanes[j + width];
        ck_assert_float_eq(vector_norm2(a, dim), lanes[0]);
    }
}
END_TEST

START_TEST(a_vector_of_integers_is_told_from_others)
{
    static const float outside[] = {-129.0f, -1.0f, 0.5f,     -0.25f,    127.5f, 128.0f, 255.5f,
                                    256.0f,  3e9f,  INFINITY, -INFINITY, 1e-30f, NAN};
    for (uint32_t type = VECTOR_I8; type <= VECTOR_U8; type++) {
        const int low = type == VECTOR_I8 ? -128 : 0, high = low + 255;
        float values[300];
        uint8_t row[300];
        for (int i = 0; i < 300; i++)
            values[i] = (float)(low + i % 256);
        values[299] = -0.0f;
        ck_assert(vector_to_integers((enum vector_type)type, values, 300, row));
        for (int i = 0; i < 299; i++)
            ck_assert_uint_eq(row[i], (uint8_t)(low + i % 256));
        ck_assert_uint_eq(row[299], 0);
        for (uint32_t o = 0; o < sizeof outside / sizeof outside[0]; o++)
            for (uint32_t at = 0; at < 300; at += 23) {
                const float value = outside[o], before = values[at];
                values[at] = value;
                const bool fits =
                    value >= (float)low && value <= (float)high && value == floorf(value);
                ck_assert(vector_to_integers((enum vector_type)type, values, 300, row) == fits);
                values[at] = before;
            }
    }
}
END_TEST

static Suite *
vector_suite(void)
{
    Suite *suite = suite_create("vector");
    TCase *tcase = tcase_create("vector");
    tcase_add_test(tcase, what_a_type_holds_comes_back_from_it);
    tcase_add_test(tcase, integers_saturate_and_round_to_even);
    tcase_add_test(tcase, halves_are_the_nearest_that_there_are);
    tcase_add_test(tcase, rows_need_no_alignment);
    tcase_add_test(tcase, sums_are_near_those_of_doubles_at_every_dimension);
    tcase_add_test(tcase, sums_add_in_sixteen_lanes);
    tcase_add_test(tcase, a_vector_of_integers_is_told_from_others);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(vector_suite)
