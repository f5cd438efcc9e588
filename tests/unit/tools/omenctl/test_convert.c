// tests/unit/tools/omenctl/test_convert.c -- every good row reaches the index under its id, every bad one is named.
//
// Shape: shell. Files are made in a folder of the test's own; the index is in memory.
#include "tools/omenctl/convert.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/check_main.h"

enum { DIMENSION = 4, ROWS = 1000 };

static char folder[] = "/tmp/omenctl-test-XXXXXX";
static char name_of[4][sizeof folder + 16];

static const char *
path(int which, const char *name)
{
    snprintf(name_of[which], sizeof name_of[which], "%s/%s", folder, name);
    return name_of[which];
}

static void
write_file(const char *name, const void *bytes, size_t count)
{
    FILE *file = fopen(name, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, count, file), count);
    ck_assert_int_eq(fclose(file), 0);
}

// Rows {row, 1, 2, 3}, of which some are bad: NaN at 10 and 999, no direction at 500.
static void
write_rows(void)
{
    static float rows[2 + ROWS * DIMENSION];
    const uint32_t head[2] = {ROWS, DIMENSION};
    memcpy(rows, head, sizeof head);
    for (int row = 0; row < ROWS; row++)
        for (int i = 0; i < DIMENSION; i++)
            rows[2 + row * DIMENSION + i] = i == 0 ? (float)row : (float)i;
    rows[2 + 10 * DIMENSION + 1] = NAN;
    rows[2 + 999 * DIMENSION] = NAN;
    memset(&rows[2 + 500 * DIMENSION], 0, DIMENSION * sizeof *rows);
    write_file(path(0, "rows.fbin"), rows, sizeof rows);
}

static omen_index_t
open_index(omen_dtype dtype)
{
    omen_options options = OMEN_OPTIONS_INIT;
    omen_index_t index;
    options.dimension = DIMENSION;
    options.dtype = dtype;
    options.threads = 1;
    ck_assert_int_eq(omen_open(&options, &index), OMEN_OK);
    return index;
}

static void
open_convert(struct convert *convert, omen_dtype dtype)
{
    struct omen_error error = {0};
    *convert = (struct convert){.index = open_index(dtype), .type = (enum vector_type)dtype};
    ck_assert_int_eq(source_open(path(0, "rows.fbin"), ROWS_FORMATS, &convert->source, &error),
                     OMEN_OK);
}

static omen_status
run(struct convert *convert, uint64_t step, struct omen_error *error)
{
    omen_status status = OMEN_OK;
    while (status == OMEN_OK && convert->source.next < ROWS) {
        const uint64_t left = ROWS - convert->source.next;
        status = convert_batch(convert, left < step ? left : step, error);
    }
    return status;
}

static void
close_convert(struct convert *convert)
{
    omen_close(convert->index);
    refusals_fini(&convert->refusals);
    convert_fini(convert);
}

static void
setup(void)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
    write_rows();
}

static void
teardown(void)
{
    static const char *const names[] = {"rows.fbin", "ids.txt", "payloads", "ids.npy"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(path(3, names[i]));
    rmdir(folder);
}

START_TEST(bad_rows_are_refused_by_number_and_the_others_keep_theirs)
{
    struct convert convert;
    struct omen_error error = {0};
    uint64_t count;
    open_convert(&convert, OMEN_F32);
    convert.first_id = 7000;
    ck_assert_int_eq(convert_prepare(&convert, &error), OMEN_OK);
    ck_assert_int_eq(run(&convert, 300, &error), OMEN_OK);
    ck_assert_uint_eq(convert.added, ROWS - 3);
    ck_assert_uint_eq(convert.refusals.count, 3);
    ck_assert_uint_eq(convert.refusals.reason_count, 2);
    ck_assert_int_eq(convert.refusals.reasons[0].status, OMEN_E_NOT_FINITE);
    ck_assert_uint_eq(convert.refusals.reasons[0].count, 2);
    ck_assert_uint_eq(convert.refusals.reasons[0].first_row, 10);
    ck_assert_str_eq(convert.refusals.reasons[0].example, "component 1 is NaN");
    ck_assert_int_eq(convert.refusals.reasons[1].status, OMEN_E_ZERO_VECTOR);
    ck_assert_uint_eq(convert.refusals.reasons[1].first_row, 500);
    ck_assert_int_eq(omen_count(convert.index, NULL, &count), OMEN_OK);
    ck_assert_uint_eq(count, ROWS - 3);
    for (uint64_t row = 0; row < ROWS; row++)
        ck_assert_int_eq(omen_contains(convert.index, 7000 + row),
                         row != 10 && row != 500 && row != 999);
    close_convert(&convert);
}
END_TEST

START_TEST(text_ids_and_payloads_stay_with_their_rows)
{
    struct convert convert;
    struct omen_error error = {0};
    char lines[64];
    uint64_t key, count;
    FILE *ids = fopen(path(1, "ids.txt"), "w"), *payloads = fopen(path(2, "payloads"), "w");
    ck_assert(ids != NULL && payloads != NULL);
    for (int row = 0; row < ROWS; row++) {
        if (row == 20) // an empty id; a payload that is no JSON; one that is no object
            fputs("\n", ids);
        else
            fprintf(ids, "id-%d\r\n", row);
        if (row == 21)
            fputs("{\"row\": }\n", payloads);
        else if (row == 22)
            fputs("[1]\n", payloads);
        else if (row == 23)
            fputs("\n", payloads);
        else
            fprintf(payloads, "{\"row\": %d}\n", row);
    }
    fclose(ids);
    fclose(payloads);
    open_convert(&convert, OMEN_F32);
    ck_assert_int_eq(id_source_open(name_of[1], ID_FORM_AUTO, &convert.ids, &error), OMEN_OK);
    ck_assert_int_eq(convert.ids.form, ID_FORM_TEXT);
    ck_assert_int_eq(payload_source_open(name_of[2], &convert.payloads, &error), OMEN_OK);
    ck_assert_int_eq(convert_prepare(&convert, &error), OMEN_OK);
    ck_assert_int_eq(run(&convert, 64, &error), OMEN_OK);
    ck_assert_uint_eq(convert.added, ROWS - 6);
    ck_assert_int_eq(omen_id_key(convert.index, "id-20", &key), OMEN_E_NOT_FOUND);
    ck_assert_int_eq(omen_id_key(convert.index, "id-21", &key), OMEN_E_NOT_FOUND);
    for (int row = 24; row < ROWS; row += 25) {
        if (row == 999)
            continue;
        omen_points_t points;
        snprintf(lines, sizeof lines, "row == %d", row);
        ck_assert_int_eq(omen_count(convert.index, lines, &count), OMEN_OK);
        ck_assert_uint_eq(count, 1);
        snprintf(lines, sizeof lines, "id-%d", row);
        ck_assert_int_eq(omen_id_key(convert.index, lines, &key), OMEN_OK);
        ck_assert_int_eq(omen_get(convert.index, &key, 1, OMEN_WITH_VECTOR, &points), OMEN_OK);
        ck_assert_float_eq(((const float *)omen_points_vector(points, 0))[0], (float)row);
        omen_points_free(points);
    }
    close_convert(&convert);
}
END_TEST

START_TEST(ids_that_end_early_end_the_work)
{
    struct convert convert;
    struct omen_error error = {0};
    write_file(path(1, "ids.txt"), "5\n6\n7", 5);
    open_convert(&convert, OMEN_F32);
    ck_assert_int_eq(id_source_open(name_of[1], ID_FORM_AUTO, &convert.ids, &error), OMEN_OK);
    ck_assert_int_eq(convert.ids.form, ID_FORM_INTEGER);
    ck_assert_int_eq(convert_prepare(&convert, &error), OMEN_OK);
    ck_assert_int_eq(run(&convert, 3, &error), OMEN_E_NOT_FOUND);
    ck_assert_str_eq(error.text, "the ids end before the vectors");
    ck_assert_uint_eq(convert.added, 3);
    ck_assert_int_eq(omen_contains(convert.index, 7), 1);
    close_convert(&convert);
}
END_TEST

START_TEST(a_mark_before_utf_8_makes_no_text_of_integers)
{
    static const char ids[] = "\xef\xbb\xbf"
                              "5\r\n6\r\n";
    static const char payloads[] = "\xef\xbb\xbf{\"a\": 1}\r\n";
    struct id_source source;
    struct payload_source lines;
    struct omen_error error = {0};
    const char *text;
    uint64_t id = 0;
    write_file(path(1, "ids.txt"), ids, sizeof ids - 1);
    for (int form = ID_FORM_AUTO; form <= ID_FORM_INTEGER; form++) {
        ck_assert_int_eq(id_source_open(name_of[1], (enum id_form)form, &source, &error), OMEN_OK);
        ck_assert_int_eq(source.form, ID_FORM_INTEGER);
        ck_assert_int_eq(id_source_next(&source, &id, &text, &error), OMEN_OK);
        ck_assert_uint_eq(id, 5);
        id_source_close(&source);
    }
    struct buffer packed = {0};
    size_t bytes = 0;
    write_file(path(2, "payloads"), payloads, sizeof payloads - 1);
    ck_assert_int_eq(payload_source_open(name_of[2], &lines, &error), OMEN_OK);
    ck_assert_int_eq(payload_source_next(&lines, &packed, &bytes, &error), OMEN_OK);
    ck_assert_uint_eq(bytes, 4);
    payload_source_close(&lines);
    buffer_fini(&packed);
}
END_TEST

START_TEST(rows_of_another_dimension_are_refused_before_anything_is_made)
{
    struct source source;
    struct omen_error error = {0};
    const uint8_t file[] = {2, 0, 0, 0, 1, 2, 2, 0, 0, 0, 3, 4, 3, 0, 0, 0, 5, 6};
    write_file(path(1, "ids.npy"), file, sizeof file);
    ck_assert_int_eq(source_open(name_of[1], ROWS_BVECS, &source, &error), OMEN_E_INVALID);
    ck_assert_ptr_nonnull(
        strstr(error.text, "ids.npy: bvecs: row 2 has 3 components, row 0 has 2"));
    write_file(path(1, "ids.npy"), file, 12);
    ck_assert_int_eq(source_open(name_of[1], ROWS_BVECS, &source, &error), OMEN_OK);
    uint8_t rows[12];
    ck_assert_int_eq(source_read(&source, 2, rows, &error), OMEN_OK);
    ck_assert_mem_eq(rows, "\x01\x02\x03\x04", 4);
    source_close(&source);
}
END_TEST

START_TEST(ids_of_an_npy_file_are_read_and_negative_ones_refused)
{
    struct convert convert;
    struct omen_error error = {0};
    static const char head[] = "{'descr': '<i4', 'fortran_order': False, 'shape': (1000,)}";
    uint8_t file[10 + sizeof head - 1 + 4 * ROWS] = "\x93NUMPY\x01\x00";
    file[8] = sizeof head - 1;
    memcpy(file + 10, head, sizeof head - 1);
    for (int32_t row = 0; row < ROWS; row++) {
        const int32_t id = row == 3 ? -1 : 2 * row;
        memcpy(file + 10 + sizeof head - 1 + 4 * (size_t)row, &id, sizeof id);
    }
    write_file(path(1, "ids.npy"), file, sizeof file);
    open_convert(&convert, OMEN_F32);
    ck_assert_int_eq(id_source_open(name_of[1], ID_FORM_AUTO, &convert.ids, &error), OMEN_OK);
    ck_assert_int_eq(convert_prepare(&convert, &error), OMEN_OK);
    ck_assert_int_eq(run(&convert, 128, &error), OMEN_OK);
    ck_assert_uint_eq(convert.added, ROWS - 4);
    ck_assert_int_eq(convert.refusals.reasons[0].status, OMEN_E_ID_RANGE);
    ck_assert_int_eq(omen_contains(convert.index, 2 * 998), 1);
    close_convert(&convert);
}
END_TEST

START_TEST(skipped_rows_take_their_ids_and_payloads_with_them)
{
    struct convert convert;
    struct omen_error error = {0};
    FILE *ids = fopen(path(1, "ids.txt"), "w");
    ck_assert_ptr_nonnull(ids);
    for (int row = 0; row < ROWS; row++)
        fprintf(ids, "%d\n", 3 * row);
    fclose(ids);
    open_convert(&convert, OMEN_F32);
    ck_assert_int_eq(id_source_open(name_of[1], ID_FORM_AUTO, &convert.ids, &error), OMEN_OK);
    ck_assert_int_eq(convert_prepare(&convert, &error), OMEN_OK);
    ck_assert_int_eq(convert_skip(&convert, 990, &error), OMEN_OK);
    ck_assert_int_eq(run(&convert, 128, &error), OMEN_OK);
    ck_assert_uint_eq(convert.added, 9);
    ck_assert_int_eq(omen_contains(convert.index, 3 * 989), 0);
    ck_assert_int_eq(omen_contains(convert.index, 3 * 990), 1);
    ck_assert_int_eq(convert_skip(&convert, ROWS + 1, &error), OMEN_E_INVALID);
    close_convert(&convert);
}
END_TEST

START_TEST(halves_take_f32_and_integers_take_nothing_else)
{
    struct convert convert;
    struct omen_error error = {0};
    open_convert(&convert, OMEN_BF16);
    ck_assert_int_eq(convert_prepare(&convert, &error), OMEN_OK);
    ck_assert_int_eq(run(&convert, 500, &error), OMEN_OK);
    ck_assert_uint_eq(convert.added, ROWS - 3);
    close_convert(&convert);
    open_convert(&convert, OMEN_U8);
    ck_assert_int_eq(convert_prepare(&convert, &error), OMEN_E_DTYPE);
    close_convert(&convert);
}
END_TEST

START_TEST(a_missing_file_is_told_from_a_wrong_one)
{
    struct source source;
    struct omen_error error = {0};
    ck_assert_int_eq(source_open(path(1, "none.npy"), ROWS_FORMATS, &source, &error),
                     OMEN_E_NOT_FOUND);
    ck_assert_int_eq(source_open(folder, ROWS_NPY, &source, &error), OMEN_E_INVALID);
    ck_assert_int_eq(source_open(path(1, "none.pdf"), ROWS_FORMATS, &source, &error),
                     OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "Parquet and HDF5: python -m omendb import"));
    ck_assert_int_eq(source_open(path(0, "rows.fbin"), ROWS_NPY, &source, &error), OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "rows.fbin: npy: the file does not begin"));
    struct id_source ids;
    write_file(path(1, "ids.npy"), "\x93NUMPY", 6);
    ck_assert_int_eq(id_source_open(path(1, "ids.npy"), ID_FORM_AUTO, &ids, &error),
                     OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "ids.npy: npy: the file does not begin"));
}
END_TEST

static Suite *
convert_suite(void)
{
    Suite *suite = suite_create("convert");
    TCase *tcase = tcase_create("convert");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, bad_rows_are_refused_by_number_and_the_others_keep_theirs);
    tcase_add_test(tcase, text_ids_and_payloads_stay_with_their_rows);
    tcase_add_test(tcase, ids_that_end_early_end_the_work);
    tcase_add_test(tcase, a_mark_before_utf_8_makes_no_text_of_integers);
    tcase_add_test(tcase, rows_of_another_dimension_are_refused_before_anything_is_made);
    tcase_add_test(tcase, ids_of_an_npy_file_are_read_and_negative_ones_refused);
    tcase_add_test(tcase, skipped_rows_take_their_ids_and_payloads_with_them);
    tcase_add_test(tcase, halves_take_f32_and_integers_take_nothing_else);
    tcase_add_test(tcase, a_missing_file_is_told_from_a_wrong_one);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(convert_suite)
