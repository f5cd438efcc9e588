// tests/unit/shard/test_vector_input.c -- which rows are fit, and what is said of the others.
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "index/vector.h"
#include "shard/vector_input.h"
#include "tests/lib/check_main.h"

#define DIM_MAX 130u

static float values[DIM_MAX + 1], work[DIM_MAX];
static struct omen_error error;

static struct vector_rows
rows_of(const void *rows, uint32_t dim, enum vector_type type)
{
    return (struct vector_rows){.rows = rows,
                                .count = 1,
                                .stride = dim * vector_type_bytes(type),
                                .dim = dim,
                                .type = type};
}

static void
setup(void)
{
    for (uint32_t i = 0; i < DIM_MAX + 1; i++)
        values[i] = 0.25f + (float)i;
}

// Every place of the row is looked at, whatever the kernel's step is.
START_TEST(one_bad_component_anywhere_is_named)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    static const char *names[] = {"NaN", "+infinity", "-infinity"};
    static const uint32_t dims[] = {1, 3, 16, 17, 64, 100, 130};
    for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
        const struct vector_rows rows = rows_of(values, dims[d], VECTOR_F32);
        for (uint32_t i = 0; i < dims[d]; i++) {
            char text[64];
            const float before = values[i];
            const float *out;
            values[i] = bad[_i];
            (void)snprintf(text, sizeof text, "row 0: component %u is %s", i, names[_i]);
            ck_assert_int_eq(vector_input_check(&rows, VECTOR_F32, METRIC_L2, work, &error),
                             OMEN_E_NOT_FINITE);
            ck_assert_str_eq(error.text, text);
            ck_assert_int_eq(vector_input_query(&rows, METRIC_L2, work, &out, &error),
                             OMEN_E_NOT_FINITE);
            ck_assert_str_eq(error.text, text + strlen("row 0: "));
            values[i] = before;
        }
        ck_assert_int_eq(vector_input_check(&rows, VECTOR_F32, METRIC_L2, work, &error), OMEN_OK);
    }
}
END_TEST

START_TEST(half_rows_are_checked_in_their_own_type)
{
    const enum vector_type type = _i == 0 ? VECTOR_F16 : VECTOR_BF16;
    uint16_t row[8];
    vector_from_f32(type, values, 8, row);
    const struct vector_rows rows = rows_of(row, 8, type);
    ck_assert_int_eq(vector_input_check(&rows, type, METRIC_COSINE, work, &error), OMEN_OK);
    row[5] = type == VECTOR_F16 ? 0x7c00 : 0x7f80;
    ck_assert_int_eq(vector_input_check(&rows, type, METRIC_COSINE, work, &error),
                     OMEN_E_NOT_FINITE);
    ck_assert_str_eq(error.text, "row 0: component 5 is +infinity");
    memset(row, 0, sizeof row);
    row[3] = 0x8000; // minus zero is zero
    ck_assert_int_eq(vector_input_check(&rows, type, METRIC_COSINE, work, &error),
                     OMEN_E_ZERO_VECTOR);
    ck_assert_int_eq(vector_input_check(&rows, type, METRIC_L2, work, &error), OMEN_OK);
}
END_TEST

START_TEST(integer_rows_need_a_direction_under_cosine_only)
{
    uint8_t row[7] = {0};
    const struct vector_rows rows = rows_of(row, 7, _i == 0 ? VECTOR_I8 : VECTOR_U8);
    ck_assert_int_eq(vector_input_check(&rows, rows.type, METRIC_IP, work, &error), OMEN_OK);
    ck_assert_int_eq(vector_input_check(&rows, rows.type, METRIC_COSINE, work, &error),
                     OMEN_E_ZERO_VECTOR);
    row[6] = 255;
    ck_assert_int_eq(vector_input_check(&rows, rows.type, METRIC_COSINE, work, &error), OMEN_OK);
}
END_TEST

START_TEST(short_query_is_judged_by_its_length)
{
    const float *out;
    const struct vector_rows query = rows_of(values, 4, VECTOR_F32);
    memcpy(values, (const float[4]){1e-16f, 0, 0, 0}, 16);
    ck_assert_int_eq(vector_input_query(&query, METRIC_COSINE, work, &out, &error), OMEN_OK);
    memcpy(values, (const float[4]){1e-25f, 0, 0, 0}, 16);
    ck_assert_int_eq(vector_input_query(&query, METRIC_COSINE, work, &out, &error),
                     OMEN_E_ZERO_VECTOR);
    ck_assert_int_eq(vector_input_query(&query, METRIC_L2, work, &out, &error), OMEN_OK);
    ck_assert_ptr_eq(out, values); // not copied
}
END_TEST

// Else its distances would be infinite, which nobody can rank.
START_TEST(a_query_that_is_too_long_is_refused_under_every_metric_as_a_row_is)
{
    static const uint32_t dims[] = {1, 3, 16, 17, 130};
    const enum metric metric = (enum metric)_i;
    const float *out;
    for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
        const struct vector_rows query = rows_of(values, dims[d], VECTOR_F32);
        for (uint32_t i = 0; i < dims[d]; i++) {
            memset(values, 0, sizeof values);
            values[i] = -3.1622e18f; // its square is below 1e37
            ck_assert_int_eq(vector_input_query(&query, metric, work, &out, &error), OMEN_OK);
            ck_assert_int_eq(vector_input_check(&query, VECTOR_F32, metric, work, &error), OMEN_OK);
            values[i] = -3.1624e18f; // and above
            ck_assert_int_eq(vector_input_query(&query, metric, work, &out, &error),
                             OMEN_E_NOT_FINITE);
            ck_assert_str_eq(error.text, "its squared length is above 1e37");
            ck_assert_int_eq(vector_input_check(&query, VECTOR_F32, metric, work, &error),
                             OMEN_E_NOT_FINITE);
        }
    }
    for (uint32_t i = 0; i < DIM_MAX; i++)
        values[i] = 3e17f; // each is fine by itself
    const struct vector_rows query = rows_of(values, DIM_MAX, VECTOR_F32);
    ck_assert_int_eq(vector_input_query(&query, metric, work, &out, &error), OMEN_E_NOT_FINITE);
    for (uint32_t i = 0; i < DIM_MAX; i++)
        values[i] = i == 7 ? 1e30f : 1; // its direction is plain to see
    ck_assert_int_eq(vector_input_query(&query, metric, work, &out, &error), OMEN_E_NOT_FINITE);
}
END_TEST

START_TEST(unaligned_query_is_copied_whole)
{
    char bytes[4 * 4 + 1];
    const float *out;
    memcpy(bytes + 1, values, 16);
    const struct vector_rows query = rows_of(bytes + 1, 4, VECTOR_F32);
    ck_assert_int_eq(vector_input_query(&query, METRIC_COSINE, work, &out, &error), OMEN_OK);
    ck_assert_ptr_eq(out, work);
    ck_assert_mem_eq(out, values, 16);
}
END_TEST

START_TEST(conversion_rounds_to_nearest)
{
    const float one[3] = {1.0f, 1.0f + 0x1p-11f, 1.0f + 3 * 0x1p-12f};
    uint16_t out[3];
    const struct vector_rows rows = rows_of(one, 3, VECTOR_F32);
    vector_input_convert(&rows, 0, VECTOR_F16, work, out);
    ck_assert_uint_eq(out[0], 0x3c00);
    ck_assert_uint_eq(out[1], 0x3c00); // half-way, to even
    ck_assert_uint_eq(out[2], 0x3c01);
}
END_TEST

START_TEST(every_type_fits_floats_and_itself)
{
    for (int type = VECTOR_F32; type <= VECTOR_U8; type++)
        for (int stored = VECTOR_F32; stored <= VECTOR_U8; stored++)
            ck_assert_int_eq(vector_type_fits((enum vector_type)type, (enum vector_type)stored),
                             type == stored || stored <= VECTOR_BF16);
}
END_TEST

// Whole numbers up to 127, which all hold exactly.
START_TEST(a_row_of_any_type_becomes_the_same_numbers_of_the_stored)
{
    const float numbers[5] = {1, 0, 127, 64, 3};
    for (int type = VECTOR_F32; type <= VECTOR_U8; type++)
        for (int stored = VECTOR_F32; stored <= VECTOR_BF16; stored++) {
            char row[5 * 4], out[5 * 4], expected[5 * 4];
            vector_from_f32((enum vector_type)type, numbers, 5, row);
            vector_from_f32((enum vector_type)stored, numbers, 5, expected);
            const struct vector_rows rows = rows_of(row, 5, (enum vector_type)type);
            ck_assert_int_eq(
                vector_input_check(&rows, (enum vector_type)stored, METRIC_COSINE, work, &error),
                OMEN_OK);
            vector_input_convert(&rows, 0, (enum vector_type)stored, work, out);
            ck_assert_mem_eq(out, expected, 5 * vector_type_bytes((enum vector_type)stored));
        }
}
END_TEST

// They went through f32 as if they were f32, and more than they have was read.
START_TEST(regress_a_row_of_the_stored_type_that_does_not_lie_dense_is_copied_as_it_is)
{
    for (int type = VECTOR_F32; type <= VECTOR_U8; type++) {
        const size_t bytes = 3 * vector_type_bytes((enum vector_type)type);
        char row[16], out[12];
        vector_from_f32((enum vector_type)type, (const float[3]){7, 1, 100}, 3, row);
        const struct vector_rows rows = rows_of(row, 3, (enum vector_type)type);
        vector_input_convert(&rows, 0, (enum vector_type)type, work, out);
        ck_assert_mem_eq(out, row, bytes);
    }
}
END_TEST

START_TEST(a_bf16_that_f16_cannot_hold_is_refused_as_an_f32_is)
{
    const float big[3] = {1, 65536, 1}, tiny[3] = {0, 0x1p-25f, 0};
    uint16_t row[3];
    const struct vector_rows rows = rows_of(row, 3, VECTOR_BF16);
    vector_from_f32(VECTOR_BF16, big, 3, row);
    ck_assert_int_eq(vector_input_check(&rows, VECTOR_F32, METRIC_L2, work, &error), OMEN_OK);
    ck_assert_int_eq(vector_input_check(&rows, VECTOR_F16, METRIC_L2, work, &error),
                     OMEN_E_NOT_FINITE);
    ck_assert_str_eq(error.text, "row 0: component 1 is 65536, which f16 cannot hold");
    vector_from_f32(VECTOR_BF16, tiny, 3, row);
    ck_assert_int_eq(vector_input_check(&rows, VECTOR_F16, METRIC_COSINE, work, &error),
                     OMEN_E_ZERO_VECTOR);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/vector_input");
    TCase *tcase = tcase_create("vector_input");
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_loop_test(tcase, one_bad_component_anywhere_is_named, 0, 3);
    tcase_add_loop_test(tcase, half_rows_are_checked_in_their_own_type, 0, 2);
    tcase_add_loop_test(tcase, integer_rows_need_a_direction_under_cosine_only, 0, 2);
    tcase_add_test(tcase, short_query_is_judged_by_its_length);
    tcase_add_loop_test(tcase, a_query_that_is_too_long_is_refused_under_every_metric_as_a_row_is,
                        0, 3);
    tcase_add_test(tcase, unaligned_query_is_copied_whole);
    tcase_add_test(tcase, conversion_rounds_to_nearest);
    tcase_add_test(tcase, every_type_fits_floats_and_itself);
    tcase_add_test(tcase, a_row_of_any_type_becomes_the_same_numbers_of_the_stored);
    tcase_add_test(tcase,
                   regress_a_row_of_the_stored_type_that_does_not_lie_dense_is_copied_as_it_is);
    tcase_add_test(tcase, a_bf16_that_f16_cannot_hold_is_refused_as_an_f32_is);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
