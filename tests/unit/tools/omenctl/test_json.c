// tests/unit/tools/omenctl/test_json.c -- JSON becomes the msgpack that says the same, or is refused at a byte.
//
// Shape: shell.
#include "tools/omenctl/json.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/msgpack.h"
#include "tests/lib/check_main.h"
#include "tests/lib/packer.h"

static omen_status
convert(const char *text, size_t bytes, struct buffer *out, struct omen_error *error)
{
    char *copy = malloc(bytes > 0 ? bytes : 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, text, bytes);
    const omen_status status = json_to_msgpack(copy, bytes, out, error);
    free(copy);
    return status;
}

static void
check_packed(const char *text, const void *expected, size_t bytes)
{
    struct buffer out = {0};
    struct omen_error error = {0};
    ck_assert_msg(convert(text, strlen(text), &out, &error) == OMEN_OK, "%s: %s", text, error.text);
    ck_assert_uint_eq(out.count, bytes);
    ck_assert_mem_eq(out.bytes, expected, bytes);
    buffer_fini(&out);
}

#define PACKED(text, expected) check_packed(text, expected, sizeof expected - 1)

START_TEST(scalars_take_their_shortest_form)
{
    PACKED("null", "\xc0");
    PACKED(" true ", "\xc3");
    PACKED("false", "\xc2");
    PACKED("0", "\x00");
    PACKED("-0", "\x00");
    PACKED("127", "\x7f");
    PACKED("128", "\xcc\x80");
    PACKED("256", "\xcd\x01\x00");
    PACKED("65536", "\xce\x00\x01\x00\x00");
    PACKED("18446744073709551615", "\xcf\xff\xff\xff\xff\xff\xff\xff\xff");
    PACKED("-32", "\xe0");
    PACKED("-33", "\xd0\xdf");
    PACKED("-129", "\xd1\xff\x7f");
    PACKED("-9223372036854775808", "\xd3\x80\x00\x00\x00\x00\x00\x00\x00");
    PACKED("1.5", "\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00");
    PACKED("1e2", "\xcb\x40\x59\x00\x00\x00\x00\x00\x00");
    PACKED("18446744073709551616", "\xcb\x43\xf0\x00\x00\x00\x00\x00\x00"); // past u64: a double
}
END_TEST

START_TEST(texts_unescape_to_utf8)
{
    PACKED("\"\"", "\xa0");
    PACKED("\"a\\n\\t\\\"\\\\\\/\\b\\f\\r\"", "\xa9"
                                              "a\n\t\"\\/\b\f\r");
    PACKED("\"\\u0041\\u00e9\\u20ac\\ud83d\\ude00\"", "\xaa"
                                                      "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    PACKED("\"\xc3\xa9\"", "\xa2\xc3\xa9");
}
END_TEST

START_TEST(containers_nest_with_their_counts)
{
    PACKED("[]", "\x90");
    PACKED("{}", "\x80");
    PACKED(" { \"a\" : [ 1 , { \"b\" : null } ] , \"c\" : \"d\" } ", "\x82\xa1"
                                                                     "a\x92\x01\x81\xa1"
                                                                     "b\xc0\xa1"
                                                                     "c\xa1"
                                                                     "d");
}
END_TEST

START_TEST(lengths_take_8_16_and_32_bits_as_they_grow)
{
    static const size_t counts[] = {15, 16, 31, 32, 255, 256, 65535, 65536};
    static struct packer packer;
    char *text = malloc(3 * 65536 + 8);
    ck_assert_ptr_nonnull(text);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        const size_t count = counts[i];
        struct buffer out = {0};
        struct msgpack_value value;
        memset(text, 'x', count + 2);
        text[0] = text[count + 1] = '"';
        ck_assert_int_eq(json_to_msgpack(text, count + 2, &out, NULL), OMEN_OK);
        struct msgpack_reader reader = {out.bytes, out.bytes + out.count};
        ck_assert(msgpack_next(&reader, &value) && value.kind == MSGPACK_STRING);
        ck_assert_uint_eq(value.raw.length, count);
        ck_assert_ptr_eq(reader.at, reader.end);
        out.count = 0;
        size_t at = 0;
        for (size_t j = 0; j < count; j++) {
            text[at++] = j == 0 ? '[' : ',';
            text[at++] = '7';
        }
        text[at++] = ']';
        ck_assert_int_eq(json_to_msgpack(text, at, &out, NULL), OMEN_OK);
        packer.count = 0;
        if (count < 16) {
            pack_array(&packer, (uint32_t)count);
        } else {
            pack_byte(&packer, count < 65536 ? 0xdc : 0xdd);
            pack_big_endian(&packer, count, count < 65536 ? 2 : 4);
        }
        ck_assert_uint_eq(out.count, packer.count + count);
        ck_assert_mem_eq(out.bytes, packer.bytes, packer.count);
        buffer_fini(&out);
    }
    free(text);
}
END_TEST

START_TEST(what_is_not_json_is_refused_and_nothing_is_left_behind)
{
    static const char *const texts[] = {
        "",
        " ",
        "nul",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "-",
        "1e999",
        "Na",
        "[1,]",
        "[1 2]",
        "[",
        "]",
        "{",
        "{\"a\"}",
        "{\"a\":}",
        "{1:2}",
        "{,}",
        "[,]",
        "1 2",
        "\"",
        "\"\\x\"",
        "\"\n\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"\xff\"",
        "'a'",
        "{\"a\":1,}",
        "[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct buffer out = {0};
        struct omen_error error = {0};
        ck_assert_int_eq(buffer_add(&out, "before", 6), OMEN_OK);
        ck_assert_msg(convert(texts[i], strlen(texts[i]), &out, &error) == OMEN_E_INVALID,
                      "taken: %s", texts[i]);
        ck_assert_msg(strncmp(error.text, "JSON, byte ", 11) == 0, "%s: %s", texts[i], error.text);
        ck_assert_uint_eq(out.count, 6);
        buffer_fini(&out);
    }
}
END_TEST

START_TEST(what_others_write_for_numbers_that_json_does_not_have_is_named)
{
    static const char *const texts[] = {"NaN", "nan",  "Infinity",  "-Infinity",
                                        "inf", "-inf", "[1, -NaN]", "{\"a\": -nan}"};
    const char *text = texts[_i];
    struct buffer out = {0};
    struct omen_error error = {0};
    char words[64];
    ck_assert_int_eq(convert(text, strlen(text), &out, &error), OMEN_E_NOT_FINITE);
    const size_t at = _i < 6 ? 0 : _i == 6 ? 4 : 6;
    const int bytes = (int)strcspn(text + at, "]}");
    snprintf(words, sizeof words, "JSON, byte %zu: %.*s is no number that JSON has", at, bytes,
             text + at);
    ck_assert_str_eq(error.text, words);
    ck_assert_uint_eq(out.count, 0);
    buffer_fini(&out);
}
END_TEST

START_TEST(sixteen_levels_are_taken)
{
    struct buffer out = {0};
    ck_assert_int_eq(json_to_msgpack("[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]", 33, &out, NULL), OMEN_OK);
    ck_assert_uint_eq(out.count, 17);
    buffer_fini(&out);
}
END_TEST

START_TEST(a_vector_is_an_array_of_finite_numbers)
{
    struct buffer out = {0};
    struct omen_error error = {0};
    static const float expected[] = {1.0f, -2.5f, 1e-3f, 1.8446744e19f};
    static const char text[] = "[1, -2.5, 1e-3, 18446744073709551615]";
    ck_assert_int_eq(json_to_floats(text, sizeof text - 1, &out, &error), OMEN_OK);
    ck_assert_uint_eq(out.count, sizeof expected);
    ck_assert_mem_eq(out.bytes, expected, sizeof expected);
    ck_assert_int_eq(json_to_floats("[1, true]", 9, &out, &error), OMEN_E_INVALID);
    ck_assert_str_eq(error.text, "component 1 is no number but of type boolean");
    ck_assert_int_eq(json_to_floats("[1e300]", 7, &out, &error), OMEN_E_INVALID);
    ck_assert_int_eq(json_to_floats("3", 1, &out, &error), OMEN_E_INVALID);
    ck_assert_uint_eq(out.count, sizeof expected);
    buffer_fini(&out);
}
END_TEST

START_TEST(short_memory_is_reported_at_every_allocation)
{
    static const char text[] = "{\"a\": [1, 2, 3], \"b\": \"cccccccccccccccc\"}";
    for (uint64_t n = 1;; n++) {
        struct buffer out = {0};
        mem_fail_after(n);
        const omen_status status = json_to_msgpack(text, sizeof text - 1, &out, NULL);
        const bool was_refused = mem_refused() > 0;
        mem_fail_after(0);
        buffer_fini(&out);
        ck_assert_int_eq(status, was_refused ? OMEN_E_NO_MEMORY : OMEN_OK);
        if (!was_refused)
            break;
    }
}
END_TEST

static Suite *
json_suite(void)
{
    Suite *suite = suite_create("json");
    TCase *tcase = tcase_create("json");
    tcase_add_test(tcase, scalars_take_their_shortest_form);
    tcase_add_test(tcase, texts_unescape_to_utf8);
    tcase_add_test(tcase, containers_nest_with_their_counts);
    tcase_add_test(tcase, lengths_take_8_16_and_32_bits_as_they_grow);
    tcase_add_test(tcase, what_is_not_json_is_refused_and_nothing_is_left_behind);
    tcase_add_loop_test(tcase, what_others_write_for_numbers_that_json_does_not_have_is_named, 0,
                        8);
    tcase_add_test(tcase, sixteen_levels_are_taken);
    tcase_add_test(tcase, a_vector_is_an_array_of_finite_numbers);
    tcase_add_test(tcase, short_memory_is_reported_at_every_allocation);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(json_suite)
