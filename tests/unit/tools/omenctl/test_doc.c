// tests/unit/tools/omenctl/test_doc.c -- one document, four ways to print it, and no terminal is ever commanded.
//
// Shape: shell.
#include "tools/omenctl/doc.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "tests/lib/check_main.h"
#include "tests/lib/packer.h"

static void
check_printed(const struct doc *doc, enum doc_format format, const char *expected)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    ck_assert_ptr_nonnull(out);
    ck_assert_int_eq(doc_print(doc, format, out), OMEN_OK);
    fclose(out);
    ck_assert_str_eq(text, expected);
    free(text);
}

static struct doc *
hits(void)
{
    struct doc *doc;
    static struct packer packer;
    packer.count = 0;
    pack_map(&packer, 2);
    pack_text(&packer, "city");
    pack_text(&packer, "Oslo");
    pack_text(&packer, "at");
    pack_time(&packer, 0, 0);
    ck_assert_int_eq(doc_open(DOC_LIST, &doc), OMEN_OK);
    struct doc_node *hit = doc_map(doc, doc_root(doc), NULL);
    doc_text(doc, hit, "id", "a");
    doc_single(doc, hit, "distance", 0.1f);
    doc_msgpack(doc, hit, "payload", packer.bytes, packer.count);
    hit = doc_map(doc, doc_root(doc), NULL);
    doc_text(doc, hit, "id", "\xc3\xa9\xc3\xa9");
    doc_single(doc, hit, "distance", 12.5f);
    doc_msgpack(doc, hit, "payload", NULL, 0);
    return doc;
}

START_TEST(rows_print_alike_in_every_format)
{
    struct doc *doc = hits();
    check_printed(doc, DOC_AS_TABLE,
                  "ID  DISTANCE  PAYLOAD\n"
                  "a        0.1  {\"city\": \"Oslo\", \"at\": \"1970-01-01T00:00:00Z\"}\n"
                  "\xc3\xa9\xc3\xa9      12.5  -\n");
    check_printed(doc, DOC_AS_NDJSON,
                  "{\"id\": \"a\", \"distance\": 0.1, \"payload\": {\"city\": \"Oslo\", \"at\": "
                  "\"1970-01-01T00:00:00Z\"}}\n"
                  "{\"id\": \"\xc3\xa9\xc3\xa9\", \"distance\": 12.5, \"payload\": null}\n");
    check_printed(doc, DOC_AS_JSON,
                  "[\n  {\n    \"id\": \"a\",\n    \"distance\": 0.1,\n    \"payload\": {\n"
                  "      \"city\": \"Oslo\",\n      \"at\": \"1970-01-01T00:00:00Z\"\n    }\n  },\n"
                  "  {\n    \"id\": \"\xc3\xa9\xc3\xa9\",\n    \"distance\": 12.5,\n"
                  "    \"payload\": null\n  }\n]\n");
    check_printed(
        doc, DOC_AS_YAML,
        "-\n  \"id\": \"a\"\n  \"distance\": 0.1\n  \"payload\":\n    \"city\": \"Oslo\"\n"
        "    \"at\": \"1970-01-01T00:00:00Z\"\n"
        "-\n  \"id\": \"\xc3\xa9\xc3\xa9\"\n  \"distance\": 12.5\n  \"payload\": null\n");
    doc_close(doc);
}
END_TEST

START_TEST(a_map_is_a_line_a_key_with_sections_indented)
{
    struct doc *doc;
    ck_assert_int_eq(doc_open(DOC_MAP, &doc), OMEN_OK);
    doc_text(doc, doc_root(doc), "path", "x");
    struct doc_node *rows = doc_map(doc, doc_root(doc), "rows");
    doc_uint(doc, rows, "live", 3);
    doc_bytes(doc, rows, "file_bytes", 1536);
    doc_bool(doc, doc_root(doc), "whole", true);
    check_printed(doc, DOC_AS_TABLE,
                  "path   x\nrows\n  live        3\n  file_bytes  1.5 KiB\nwhole  true\n");
    check_printed(doc, DOC_AS_NDJSON,
                  "{\"path\": \"x\", \"rows\": {\"live\": 3, \"file_bytes\": 1536}, "
                  "\"whole\": true}\n");
    doc_close(doc);
}
END_TEST

START_TEST(times_are_utc_in_tables_and_milliseconds_elsewhere)
{
    struct doc *doc;
    ck_assert_int_eq(doc_open(DOC_LIST, &doc), OMEN_OK);
    static const uint64_t times[] = {0, 1795790601510, UINT64_MAX};
    for (size_t i = 0; i < 3; i++) {
        struct doc_node *row = doc_map(doc, doc_root(doc), NULL);
        doc_time(doc, row, "time_ms", times[i]);
        doc_uint(doc, row, "n", i);
    }
    check_printed(doc, DOC_AS_TABLE,
                  "TIME                      N\n"
                  "1970-01-01T00:00:00.000Z  0\n"
                  "2026-11-27T14:43:21.510Z  1\n"
                  "18446744073709551615      2\n");
    check_printed(doc, DOC_AS_NDJSON,
                  "{\"time_ms\": 0, \"n\": 0}\n"
                  "{\"time_ms\": 1795790601510, \"n\": 1}\n"
                  "{\"time_ms\": 18446744073709551615, \"n\": 2}\n");
    doc_close(doc);
    ck_assert_int_eq(doc_open(DOC_MAP, &doc), OMEN_OK);
    doc_time(doc, doc_root(doc), "expires_ms", 1795790601510);
    check_printed(doc, DOC_AS_TABLE, "expires  2026-11-27T14:43:21.510Z\n");
    doc_close(doc);
}
END_TEST

START_TEST(a_text_takes_the_place_of_another)
{
    struct doc *doc;
    ck_assert_int_eq(doc_open(DOC_MAP, &doc), OMEN_OK);
    doc_text(doc, doc_root(doc), "node", "01a21d75");
    doc_retext(doc, doc_root(doc)->children.first, "db1 and more", 3);
    check_printed(doc, DOC_AS_NDJSON, "{\"node\": \"db1\"}\n");
    doc_close(doc);
}
END_TEST

START_TEST(numbers_read_back_as_they_were_and_json_knows_no_nan)
{
    struct doc *doc;
    ck_assert_int_eq(doc_open(DOC_MAP, &doc), OMEN_OK);
    doc_single(doc, doc_root(doc), "a", 0.1f);
    doc_single(doc, doc_root(doc), "b", 16777217.0f * 1.0000001f);
    doc_double(doc, doc_root(doc), "c", 0.1);
    doc_double(doc, doc_root(doc), "d", 1.0 / 3.0);
    doc_double(doc, doc_root(doc), "e", NAN);
    doc_double(doc, doc_root(doc), "f", INFINITY);
    doc_uint(doc, doc_root(doc), "g", UINT64_MAX);
    doc_int(doc, doc_root(doc), "h", INT64_MIN);
    check_printed(
        doc, DOC_AS_NDJSON,
        "{\"a\": 0.1, \"b\": 16777218, \"c\": 0.1, \"d\": 0.3333333333333333, \"e\": null, "
        "\"f\": null, \"g\": 18446744073709551615, \"h\": -9223372036854775808}\n");
    doc_close(doc);
}
END_TEST

START_TEST(control_characters_and_broken_utf8_reach_no_terminal)
{
    struct doc *doc;
    ck_assert_int_eq(doc_open(DOC_LIST, &doc), OMEN_OK);
    struct doc_node *row = doc_map(doc, doc_root(doc), NULL);
    doc_text_bytes(doc, row, "t", "\x1b[2J\n\x7f\xc2\x9b\xff\"\\\0z", 13);
    check_printed(doc, DOC_AS_NDJSON,
                  "{\"t\": \"\\u001b[2J\\n\\u007f\\u009b\xef\xbf\xbd\\\"\\\\\\u0000z\"}\n");
    check_printed(doc, DOC_AS_TABLE, "T\n\\u001b[2J\\n\\u007f\\u009b\xef\xbf\xbd\"\\\\\\u0000z\n");
    doc_close(doc);
}
END_TEST

START_TEST(a_long_cell_is_cut_between_characters)
{
    struct doc *doc;
    char text[401], expected[512];
    for (int i = 0; i < 200; i++)
        memcpy(text + (size_t)i * 2, "\xc3\xa9", 3);
    ck_assert_int_eq(doc_open(DOC_LIST, &doc), OMEN_OK);
    doc_text(doc, doc_map(doc, doc_root(doc), NULL), "t", text);
    snprintf(expected, sizeof expected, "T\n%.152s...\n", text);
    check_printed(doc, DOC_AS_TABLE, expected);
    doc_close(doc);
}
END_TEST

START_TEST(empty_documents_are_valid)
{
    struct doc *doc;
    ck_assert_int_eq(doc_open(DOC_LIST, &doc), OMEN_OK);
    check_printed(doc, DOC_AS_TABLE, "");
    check_printed(doc, DOC_AS_JSON, "[]\n");
    check_printed(doc, DOC_AS_YAML, "[]\n");
    check_printed(doc, DOC_AS_NDJSON, "");
    doc_close(doc);
}
END_TEST

START_TEST(msgpack_that_is_damaged_is_said_to_be)
{
    static const struct {
        const char *bytes;
        size_t count;
    } damaged[] = {
        {"", 0},
        {"\x81", 1},
        {"\x81\xa1", 2},
        {"\x81\x01\x01", 3},
        {"\xc1", 1},
        {"\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x01", 18}};
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        struct doc *doc;
        char *text = NULL;
        size_t bytes;
        ck_assert_int_eq(doc_open(DOC_MAP, &doc), OMEN_OK);
        doc_msgpack(doc, doc_root(doc), "payload", damaged[i].bytes, damaged[i].count);
        FILE *out = open_memstream(&text, &bytes);
        ck_assert_ptr_nonnull(out);
        ck_assert_int_eq(doc_print(doc, DOC_AS_NDJSON, out), OMEN_OK);
        fclose(out);
        ck_assert_msg(strstr(text, "not well-formed") != NULL, "%zu: %s", i, text);
        free(text);
        doc_close(doc);
    }
}
END_TEST

START_TEST(short_memory_is_reported_when_printing)
{
    for (uint64_t n = 1; n < 20; n++) {
        struct doc *doc;
        char wide[70000];
        mem_fail_after(n);
        if (doc_open(DOC_MAP, &doc) != OMEN_OK) {
            mem_fail_after(0);
            continue;
        }
        memset(wide, 'x', sizeof wide - 1);
        wide[sizeof wide - 1] = '\0';
        doc_text(doc, doc_root(doc), "a", wide);
        doc_text(doc, doc_map(doc, doc_root(doc), "m"), "b", wide);
        const bool was_refused = mem_refused() > 0;
        mem_fail_after(0);
        ck_assert((doc_tree(doc) == NULL) == was_refused);
        if (was_refused)
            ck_assert_int_eq(doc_print(doc, DOC_AS_JSON, stdout), OMEN_E_NO_MEMORY);
        doc_close(doc);
    }
}
END_TEST

static Suite *
doc_suite(void)
{
    Suite *suite = suite_create("doc");
    TCase *tcase = tcase_create("doc");
    tcase_add_test(tcase, rows_print_alike_in_every_format);
    tcase_add_test(tcase, a_map_is_a_line_a_key_with_sections_indented);
    tcase_add_test(tcase, times_are_utc_in_tables_and_milliseconds_elsewhere);
    tcase_add_test(tcase, a_text_takes_the_place_of_another);
    tcase_add_test(tcase, numbers_read_back_as_they_were_and_json_knows_no_nan);
    tcase_add_test(tcase, control_characters_and_broken_utf8_reach_no_terminal);
    tcase_add_test(tcase, a_long_cell_is_cut_between_characters);
    tcase_add_test(tcase, empty_documents_are_valid);
    tcase_add_test(tcase, msgpack_that_is_damaged_is_said_to_be);
    tcase_add_test(tcase, short_memory_is_reported_when_printing);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(doc_suite)
