// tests/unit/tools/omenctl/test_records.c -- rows of NDJSON and CSV are the points that they say, and each that is none says why.
#include "tools/omenctl/records.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "tests/lib/check_main.h"
#include "tests/lib/folder.h"
#include "tools/omenctl/refusals.h"

static struct folder folder;
static struct records records;
static struct omen_error error;

static void
setup(void)
{
    folder_init(&folder);
}

static void
teardown(void)
{
    records_close(&records);
    folder_fini(&folder);
}

static omen_status
open_bytes(enum rows_format format, const char *text, size_t count)
{
    const char *path = folder_path(&folder, "rows");
    FILE *file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(text, 1, count, file), count);
    ck_assert_int_eq(fclose(file), 0);
    records_close(&records);
    error = (struct omen_error){0};
    return records_open(path, format, &records, &error);
}

static omen_status
open_as(enum rows_format format, const char *text)
{
    return open_bytes(format, text, strlen(text));
}

static void
open_text(enum rows_format format, const char *text)
{
    ck_assert_msg(open_as(format, text) == OMEN_OK, "%s", error.text);
}

static struct record
next(void)
{
    struct record record;
    ck_assert_msg(records_next(&records, &record, &error) == OMEN_OK, "%s", error.text);
    return record;
}

static void
expect_refused(omen_status status, const char *words)
{
    struct record record;
    const omen_status got = records_next(&records, &record, &error);
    ck_assert_msg(got == status, "%s: %s", status_name(got), error.text);
    ck_assert(refusals_is_about_row(got));
    ck_assert_msg(strstr(error.text, words) != NULL, "'%s' lacks '%s'", error.text, words);
}

static void
expect_end(void)
{
    struct record record;
    ck_assert_int_eq(records_next(&records, &record, &error), OMEN_E_NOT_FOUND);
}

static void
expect_payload(const struct record *record, const char *packed)
{
    ck_assert_ptr_nonnull(record->payload);
    ck_assert_uint_eq(record->payload_bytes, strlen(packed));
    ck_assert_mem_eq(record->payload, packed, strlen(packed));
}

START_TEST(a_line_of_json_is_a_point)
{
    open_text(ROWS_NDJSON, "{\"id\": 7, \"vector\": [1, -2.5], \"payload\": {\"a\": 1}}\r\n"
                           "\n  \n"
                           "{\"b\": true, \"vector\": [3, 4], \"id\": 8, \"c\": \"x\"}\n"
                           "{\"vector\": [5, 6], \"id\": 9}");
    ck_assert_uint_eq(records.count, 3);
    ck_assert_uint_eq(records.dimension, 2);
    struct record record = next();
    ck_assert_int_eq(record.id_kind, RECORD_INTEGER);
    ck_assert_uint_eq(record.id, 7);
    ck_assert_uint_eq(record.components, 2);
    ck_assert(record.vector[0] == 1 && record.vector[1] == -2.5f);
    expect_payload(&record, "\x81\xa1"
                            "a\x01");
    record = next();
    expect_payload(&record, "\x82\xa1"
                            "b\xc3\xa1"
                            "c\xa1x");
    record = next();
    ck_assert_ptr_null(record.payload);
    expect_end();
    ck_assert_int_eq(records_rewind(&records, &error), OMEN_OK);
    ck_assert_int_eq(records_pass(&records, &error), OMEN_OK);
    ck_assert_uint_eq(next().id, 8);
}
END_TEST

START_TEST(ids_are_numbers_texts_or_not_there)
{
    open_text(ROWS_NDJSON,
              "{\"vector\": [1]}\n{\"id\": null, \"vector\": [1]}\n{\"id\": 1, \"vector\": [1]}\n");
    ck_assert_int_eq(next().id_kind, RECORD_NO_ID);
    ck_assert_int_eq(next().id_kind, RECORD_NO_ID);
    expect_refused(OMEN_E_ID_KIND, "there is an \"id\", and the first row has none");
    open_text(ROWS_NDJSON, "{\"id\": 1, \"vector\": [1]}\n{\"vector\": [1]}\n");
    ck_assert_uint_eq(next().id, 1);
    expect_refused(OMEN_E_ID_KIND, "there is no \"id\", and the first row has one");
    open_text(ROWS_NDJSON,
              "{\"id\": \"42\", \"vector\": [1]}\n{\"id\": 42, \"vector\": [1]}\n"
              "{\"id\": \"\", \"vector\": [1]}\n{\"id\": \"a\\u0000b\", \"vector\": [1]}\n");
    ck_assert_str_eq(next().text, "42");
    expect_refused(OMEN_E_ID_KIND, "of another kind");
    expect_refused(OMEN_E_ID_LENGTH, "1 to 255 bytes");
    expect_refused(OMEN_E_ID_LENGTH, "1 to 255 bytes");
    open_text(ROWS_NDJSON, "{\"id\": 9223372036854775807, \"vector\": [1]}\n"
                           "{\"id\": 9223372036854775808, \"vector\": [1]}\n"
                           "{\"id\": -1, \"vector\": [1]}\n{\"id\": 1.5, \"vector\": [1]}\n");
    ck_assert_uint_eq(next().id, ID_MAX);
    for (int i = 0; i < 3; i++)
        expect_refused(OMEN_E_ID_RANGE, "no integer in 0..2^63-1");
}
END_TEST

START_TEST(a_line_that_is_no_point_says_why)
{
    static const struct {
        const char *line;
        omen_status status;
        const char *words;
    } wrong[] = {
        {"nope", OMEN_E_PAYLOAD, "JSON, byte 0"},
        {"[1]", OMEN_E_PAYLOAD, "no JSON object"},
        {"{\"vector\": [1], \"vector\": [2]}", OMEN_E_PAYLOAD, "a key comes twice"},
        {"{\"vector\": [1], \"payload\": {}, \"x\": 1}", OMEN_E_PAYLOAD, "other keys"},
        {"{\"vector\": [1], \"payload\": 5}", OMEN_E_PAYLOAD, "map"},
        {"{\"vector\": [1], \"x\": 1, \"x\": 2}", OMEN_E_PAYLOAD, "twice"},
        {"{\"id\": 1}", OMEN_E_DIMENSION, "no \"vector\""},
        {"{\"vector\": []}", OMEN_E_DIMENSION, "no \"vector\""},
        {"{\"vector\": \"1,2\"}", OMEN_E_DIMENSION, "no \"vector\""},
        {"{\"vector\": [1, 2]}", OMEN_E_DIMENSION, "2 components, that of the first 1"},
        {"{\"vector\": [\"a\"]}", OMEN_E_NOT_FINITE, "component 0"},
        {"{\"vector\": [1e39]}", OMEN_E_NOT_FINITE, "component 0"},
        {"{\"vector\": [NaN]}", OMEN_E_NOT_FINITE, "byte 12: NaN is no number that JSON has"},
        {"{\"vector\": [-Infinity]}", OMEN_E_NOT_FINITE, "-Infinity is no number that JSON has"},
        {"{\"vector\": [1], \"x\": nan}", OMEN_E_NOT_FINITE, "nan is no number that JSON has"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char text[256];
        (void)snprintf(text, sizeof text, "{\"vector\": [1]}\n%s\n{\"vector\": [3]}\n",
                       wrong[i].line);
        open_text(ROWS_NDJSON, text);
        (void)next();
        expect_refused(wrong[i].status, wrong[i].words);
        ck_assert(next().vector[0] == 3); // and reading goes on
    }
}
END_TEST

START_TEST(cells_of_a_csv_are_a_point)
{
    open_text(ROWS_CSV, "id,vector,city,n,ok,note\r\n"
                        "1,\"[1, 2]\",Oslo,-1,true,\"a \"\"b\"\"\r\nc\"\r\n"
                        "\n"
                        "2,\"[3,4]\",,007,no,\r\n"
                        "3,[5],,,,\n"
                        "4,\"[5,6]\",x\n"
                        "x,\"[5,6]\",,,,\n"
                        "99999999999999999999,\"[5,6]\",,,,\n"
                        "5,\"5 6\",,,,\n"
                        "6,\"[7,8]\",,,,");
    ck_assert_uint_eq(records.count, 8);
    struct record record = next();
    ck_assert_uint_eq(record.id, 1);
    ck_assert(record.vector[0] == 1 && record.vector[1] == 2);
    expect_payload(&record, "\x84\xa4"
                            "city\xa4"
                            "Oslo\xa1n\xff\xa2ok\xc3\xa4note\xa8"
                            "a \"b\"\r\nc");
    record = next();
    expect_payload(&record, "\x82\xa1n\xa3"
                            "007\xa2ok\xa2no");
    expect_refused(OMEN_E_DIMENSION, "1 components, that of the first 2");
    expect_refused(OMEN_E_PAYLOAD, "it has 3 columns, the first line 6");
    expect_refused(OMEN_E_ID_KIND, "of another kind");
    expect_refused(OMEN_E_ID_RANGE, "above 2^63-1");
    expect_refused(OMEN_E_DIMENSION, "JSON");
    record = next();
    ck_assert_uint_eq(record.id, 6);
    ck_assert_ptr_null(record.payload);
    expect_end();
    ck_assert_int_eq(records_rewind(&records, &error), OMEN_OK);
    ck_assert_uint_eq(next().id, 1);
}
END_TEST

START_TEST(files_without_a_point_are_refused)
{
    ck_assert_int_eq(open_as(ROWS_NDJSON, ""), OMEN_E_DIMENSION);
    ck_assert_int_eq(open_as(ROWS_NDJSON, "x\n"), OMEN_E_DIMENSION);
    ck_assert_ptr_nonnull(strstr(error.text, "ndjson: no row is a point"));
    ck_assert_ptr_nonnull(strstr(error.text, "row 0: JSON, byte 0"));
    ck_assert_int_eq(open_as(ROWS_CSV, ""), OMEN_E_INVALID);
    ck_assert_int_eq(open_as(ROWS_CSV, "id,name\n1,a\n"), OMEN_E_DIMENSION);
    ck_assert_ptr_nonnull(strstr(error.text, "no column \"vector\""));
    ck_assert_int_eq(open_as(ROWS_CSV, "vector\n\"[1]\"\n\"[2"), OMEN_E_INVALID);
    ck_assert_ptr_nonnull(
        strstr(error.text, "rows: row 1: a quote is not closed before the file ends"));
    ck_assert_int_eq(records_open(folder_path(&folder, "none"), ROWS_CSV, &records, &error),
                     OMEN_E_NOT_FOUND);
}
END_TEST

START_TEST(a_row_that_is_too_long_is_named)
{
    static char text[RECORD_BYTES_MAX + 64];
    static const char first[] = "{\"vector\": [1]}\n";
    memset(text, 'x', sizeof text);
    memcpy(text, first, sizeof first - 1);
    ck_assert_int_eq(open_bytes(ROWS_NDJSON, text, sizeof text), OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "rows: row 1 has more than 16777216 bytes"));
    ck_assert_ptr_null(strstr(error.text, "quote"));
}
END_TEST

// Spreadsheets write it. The ids were numbers of rows, and what was to be the ids a payload named "\ufeffid".
START_TEST(a_mark_before_utf_8_is_no_part_of_the_first_row)
{
    open_text(ROWS_CSV, "\xef\xbb\xbfid,vector\n7,[1]\n8,[2]\n");
    ck_assert_uint_eq(records.count, 2);
    ck_assert_int_eq(records.id_kind, RECORD_INTEGER);
    const struct record record = next();
    ck_assert_uint_eq(record.id, 7);
    ck_assert_ptr_null(record.payload);
    open_text(ROWS_NDJSON,
              "\xef\xbb\xbf{\"id\": 7, \"vector\": [1]}\n{\"id\": 8, \"vector\": [2]}\n");
    ck_assert_uint_eq(records.count, 2);
    ck_assert_uint_eq(next().id, 7);
    ck_assert_int_eq(records_rewind(&records, &error), OMEN_OK);
    ck_assert_uint_eq(next().id, 7);
    ck_assert_uint_eq(next().id, 8);
    expect_end();
    ck_assert_int_eq(open_as(ROWS_NDJSON, "\xef\xbb\xbf"), OMEN_E_DIMENSION);
}
END_TEST

START_TEST(as_many_columns_as_there_may_be)
{
    static char text[RECORD_COLUMNS_MAX * 16];
    for (uint32_t columns = RECORD_COLUMNS_MAX; columns <= RECORD_COLUMNS_MAX + 1; columns++) {
        size_t at = 0;
        for (uint32_t i = 1; i < columns; i++)
            at += (size_t)snprintf(text + at, 16, "c%u,", i);
        at += (size_t)snprintf(text + at, 16, "vector\n");
        for (uint32_t i = 1; i < columns; i++)
            text[at++] = ',';
        at += (size_t)snprintf(text + at, 16, "[1]\n");
        ck_assert_int_eq(open_bytes(ROWS_CSV, text, at),
                         columns == RECORD_COLUMNS_MAX ? OMEN_OK : OMEN_E_INVALID);
    }
    ck_assert_ptr_nonnull(strstr(error.text, "1024 columns"));
}
END_TEST

START_TEST(no_memory_is_said_and_nothing_leaks)
{
    static const char text[] = "id,vector,a\n1,[1],x\n";
    omen_status status = OMEN_E_NO_MEMORY;
    for (uint64_t nth = 1; status != OMEN_OK; nth++) {
        mem_fail_after(nth);
        status = open_bytes(ROWS_CSV, text, sizeof text - 1);
        mem_fail_after(0);
        ck_assert(status == OMEN_OK || status == OMEN_E_NO_MEMORY);
    }
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("tools/records");
    TCase *tcase = tcase_create("records");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_line_of_json_is_a_point);
    tcase_add_test(tcase, ids_are_numbers_texts_or_not_there);
    tcase_add_test(tcase, a_line_that_is_no_point_says_why);
    tcase_add_test(tcase, cells_of_a_csv_are_a_point);
    tcase_add_test(tcase, files_without_a_point_are_refused);
    tcase_add_test(tcase, a_row_that_is_too_long_is_named);
    tcase_add_test(tcase, a_mark_before_utf_8_is_no_part_of_the_first_row);
    tcase_add_test(tcase, as_many_columns_as_there_may_be);
    tcase_add_test(tcase, no_memory_is_said_and_nothing_leaks);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
