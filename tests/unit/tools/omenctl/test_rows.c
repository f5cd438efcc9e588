// tests/unit/tools/omenctl/test_rows.c -- files of vectors are what their format says to the byte, or refused.
//
// Shape: shell.
#include "tools/omenctl/rows.h"

#include <string.h>

#include "base/limits.h"
#include "tests/lib/check_main.h"

static omen_status
parse(enum rows_format format, const void *bytes, size_t count, struct rows *rows)
{
    struct omen_error error = {0};
    uint8_t *copy = malloc(count > 0 ? count : 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, bytes, count);
    const struct rows_file file = {.head = copy, .head_bytes = count, .file_bytes = count};
    const omen_status status = rows_parse(format, &file, rows, &error);
    free(copy);
    ck_assert((status == OMEN_OK) == (error.text[0] == '\0'));
    return status;
}

START_TEST(format_comes_from_the_ending_of_the_name)
{
    enum rows_format format = ROWS_FORMATS;
    ck_assert(rows_format_of("dir.npy/base.FVECS", &format));
    ck_assert_int_eq(format, ROWS_FVECS);
    ck_assert(rows_format_of("x.u8bin", &format));
    ck_assert_int_eq(format, ROWS_U8BIN);
    ck_assert(!rows_format_of("npy", &format));
    ck_assert(!rows_format_of("x.bin", &format));
    ck_assert(!rows_format_of("", &format));
}
END_TEST

START_TEST(fvecs_say_their_dimension_in_each_row)
{
    static const uint8_t two[] = {2, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, //
                                  2, 0, 0, 0, 3, 3, 3, 3, 4, 4, 4, 4};
    struct rows rows;
    uint8_t dense[sizeof two];
    ck_assert_int_eq(parse(ROWS_FVECS, two, sizeof two, &rows), OMEN_OK);
    ck_assert_uint_eq(rows.dimension, 2);
    ck_assert_uint_eq(rows.count, 2);
    ck_assert_int_eq(rows.type, VECTOR_F32);
    memcpy(dense, two, sizeof two);
    ck_assert_int_eq(rows_unpack(&rows, 0, 2, dense, dense, NULL), OMEN_OK);
    ck_assert_mem_eq(dense, "\1\1\1\1\2\2\2\2\3\3\3\3\4\4\4\4", 16);
}
END_TEST

START_TEST(a_row_of_another_dimension_is_named)
{
    static const uint8_t bad[] = {2, 0, 0, 0, 1, 1, 3, 0, 0, 0, 2, 2};
    struct rows rows;
    uint8_t dense[4];
    struct omen_error error = {0};
    ck_assert_int_eq(parse(ROWS_BVECS, bad, sizeof bad, &rows), OMEN_OK);
    ck_assert_int_eq(rows_unpack(&rows, 100, 2, bad, dense, &error), OMEN_E_INVALID);
    ck_assert_str_eq(error.text, "bvecs: row 101 has 3 components, row 0 has 2");
}
END_TEST

START_TEST(a_cut_row_is_refused)
{
    static const uint8_t cut[] = {2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 2};
    struct rows rows;
    ck_assert_int_eq(parse(ROWS_BVECS, cut, sizeof cut, &rows), OMEN_E_INVALID);
    ck_assert_int_eq(parse(ROWS_BVECS, cut, 3, &rows), OMEN_E_INVALID);
    ck_assert_int_eq(parse(ROWS_BVECS, cut, 0, &rows), OMEN_E_INVALID);
}
END_TEST

START_TEST(bin_has_exactly_the_rows_that_its_head_says)
{
    uint8_t file[8 + 6 + 1] = {3, 0, 0, 0, 2, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7};
    struct rows rows;
    ck_assert_int_eq(parse(ROWS_U8BIN, file, 14, &rows), OMEN_OK);
    ck_assert_uint_eq(rows.count, 3);
    ck_assert_uint_eq(rows.dimension, 2);
    ck_assert_uint_eq(rows.first_byte, 8);
    ck_assert_int_eq(parse(ROWS_I8BIN, file, 14, &rows), OMEN_OK);
    ck_assert_int_eq(rows.type, VECTOR_I8);
    ck_assert_int_eq(parse(ROWS_U8BIN, file, 15, &rows), OMEN_E_INVALID);
    ck_assert_int_eq(parse(ROWS_U8BIN, file, 13, &rows), OMEN_E_INVALID);
    ck_assert_int_eq(parse(ROWS_U8BIN, file, 7, &rows), OMEN_E_INVALID);
    ck_assert_int_eq(parse(ROWS_FBIN, file, 14, &rows), OMEN_E_INVALID);
    memset(file, 0xff, 4);
    ck_assert_int_eq(parse(ROWS_U8BIN, file, 14, &rows), OMEN_E_INVALID);
}
END_TEST

START_TEST(dimension_is_within_what_an_index_takes)
{
    uint8_t file[8] = {0};
    struct rows rows;
    for (int format = ROWS_FVECS; format < ROWS_NDJSON; format++) {
        memset(file, 0, sizeof file);
        ck_assert_int_eq(parse((enum rows_format)format, file, 8, &rows), OMEN_E_DIMENSION);
        memset(file, 0xff, sizeof file);
        ck_assert_int_eq(parse((enum rows_format)format, file, 8, &rows), OMEN_E_DIMENSION);
    }
    memset(file, 0, sizeof file);
    file[6] = 1; // no rows of 65536 components
    ck_assert_int_eq(parse(ROWS_FBIN, file, 8, &rows), OMEN_OK);
    ck_assert_uint_eq(rows.dimension, VECTOR_DIM_MAX);
    file[4] = 1;
    ck_assert_int_eq(parse(ROWS_FBIN, file, 8, &rows), OMEN_E_DIMENSION);
}
END_TEST

// An npy file of `count` bytes of zeroes with this head.
static omen_status
parse_npy(const char *dictionary, size_t count, struct rows *rows)
{
    uint8_t file[512] = "\x93NUMPY\x01\x00";
    const size_t length = strlen(dictionary);
    ck_assert_uint_le(10 + length + count, sizeof file);
    file[8] = (uint8_t)length;
    memcpy(file + 10, dictionary, length);
    return parse(ROWS_NPY, file, 10 + length + count, rows);
}

START_TEST(npy_is_taken_in_the_types_of_an_index)
{
    struct rows rows;
    static const struct {
        const char *head;
        size_t bytes;
        int type; // or a status
    } cases[] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}", 24, VECTOR_F32},
        {"{'descr': '<f2', 'fortran_order': False, 'shape': (2, 3)}", 12, VECTOR_F16},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3)}", 6, VECTOR_U8},
        {"{'descr': '|i1', 'fortran_order': False, 'shape': (2, 3)}", 6, VECTOR_I8},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3)}", 48, OMEN_E_UNSUPPORTED},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3)}", 24, OMEN_E_UNSUPPORTED},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,)}", 24, OMEN_E_DIMENSION},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 0)}", 0, OMEN_E_DIMENSION},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const omen_status status = parse_npy(cases[i].head, cases[i].bytes, &rows);
        ck_assert_int_eq(status, cases[i].type < 0 ? cases[i].type : OMEN_OK);
        if (status == OMEN_OK)
            ck_assert_int_eq(rows.type, cases[i].type);
    }
}
END_TEST

static Suite *
rows_suite(void)
{
    Suite *suite = suite_create("rows");
    TCase *tcase = tcase_create("rows");
    tcase_add_test(tcase, format_comes_from_the_ending_of_the_name);
    tcase_add_test(tcase, fvecs_say_their_dimension_in_each_row);
    tcase_add_test(tcase, a_row_of_another_dimension_is_named);
    tcase_add_test(tcase, a_cut_row_is_refused);
    tcase_add_test(tcase, bin_has_exactly_the_rows_that_its_head_says);
    tcase_add_test(tcase, dimension_is_within_what_an_index_takes);
    tcase_add_test(tcase, npy_is_taken_in_the_types_of_an_index);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(rows_suite)
