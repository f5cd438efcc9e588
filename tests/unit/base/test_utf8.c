// tests/unit/base/test_utf8.c -- every code point, and every way to write one wrongly.
//
// Shape: shell. Encodings are made by a dumb encoder straight from RFC 3629's table.
#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

#include "tests/lib/check_main.h"

// As the table has it, without asking whether `code` may be written so.
static size_t
encode(uint32_t code, size_t length, unsigned char *bytes)
{
    static const unsigned char first[] = {0, 0x00, 0xc0, 0xe0, 0xf0};
    for (size_t i = length; i-- > 1; code >>= 6)
        bytes[i] = (unsigned char)(0x80 | (code & 0x3f));
    bytes[0] = (unsigned char)(first[length] | code);
    return length;
}

static size_t
shortest(uint32_t code)
{
    return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
}

START_TEST(every_code_point_but_the_surrogates_is_a_character)
{
    unsigned char bytes[4];
    for (uint32_t code = 0; code <= 0x10ffff; code++) {
        const size_t length = encode(code, shortest(code), bytes);
        const bool surrogate = code >= 0xd800 && code <= 0xdfff;
        if (utf8_char_bytes(bytes, length) != (surrogate ? 0 : length))
            ck_abort_msg("U+%04X", code);
    }
}
END_TEST

START_TEST(overlong_forms_are_refused)
{
    unsigned char bytes[4];
    for (uint32_t code = 0; code < 0x10000; code++) {
        for (size_t length = shortest(code) + 1; length <= 4; length++) {
            encode(code, length, bytes);
            if (utf8_valid(bytes, length))
                ck_abort_msg("U+%04X in %zu bytes", code, length);
        }
    }
}
END_TEST

START_TEST(beyond_the_last_code_point_is_refused)
{
    unsigned char bytes[4];
    encode(0x10ffff, 4, bytes);
    ck_assert(utf8_valid(bytes, 4));
    for (uint32_t code = 0x110000; code < 0x200000; code += 0x777) {
        encode(code, 4, bytes);
        ck_assert(!utf8_valid(bytes, 4));
    }
    encode(0x110000, 4, bytes);
    ck_assert(!utf8_valid(bytes, 4));
}
END_TEST

START_TEST(a_character_cut_short_is_refused)
{
    const uint32_t codes[] = {0xe9, 0x20ac, 0x1f600};
    for (size_t i = 0; i < 3; i++) {
        unsigned char bytes[4];
        const size_t length = encode(codes[i], shortest(codes[i]), bytes);
        for (size_t count = 1; count < length; count++) {
            unsigned char *cut = malloc(count); // so that a look past the end is seen
            ck_assert_ptr_nonnull(cut);
            memcpy(cut, bytes, count);
            ck_assert_uint_eq(utf8_char_bytes(cut, count), 0);
            ck_assert(!utf8_valid(cut, count));
            free(cut);
        }
    }
}
END_TEST

START_TEST(bytes_that_begin_no_character_are_refused)
{
    for (unsigned first = 0x80; first <= 0xff; first++) {
        const bool begins = first >= 0xc2 && first <= 0xf4;
        const unsigned char bytes[4] = {(unsigned char)first, 0x90, 0x80, 0x80};
        if (!begins)
            ck_assert_uint_eq(utf8_char_bytes(bytes, 4), 0);
    }
}
END_TEST

START_TEST(a_wrong_byte_anywhere_in_a_text_is_found)
{
    unsigned char text[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z";
    const size_t count = sizeof text - 1;
    ck_assert(utf8_valid(text, count));
    for (size_t i = 0; i < count; i++) {
        const unsigned char kept = text[i];
        text[i] = 0xff;
        ck_assert_msg(!utf8_valid(text, count), "byte %zu", i);
        text[i] = kept;
    }
}
END_TEST

START_TEST(no_bytes_are_a_text_and_a_nul_is_a_character)
{
    ck_assert(utf8_valid(NULL, 0));
    ck_assert(utf8_valid("a\0b", 3));
    ck_assert_uint_eq(utf8_char_bytes(NULL, 0), 0);
}
END_TEST

static Suite *
utf8_suite(void)
{
    Suite *suite = suite_create("base/utf8");
    TCase *tcase = tcase_create("utf8");
    tcase_add_test(tcase, every_code_point_but_the_surrogates_is_a_character);
    tcase_add_test(tcase, overlong_forms_are_refused);
    tcase_add_test(tcase, beyond_the_last_code_point_is_refused);
    tcase_add_test(tcase, a_character_cut_short_is_refused);
    tcase_add_test(tcase, bytes_that_begin_no_character_are_refused);
    tcase_add_test(tcase, a_wrong_byte_anywhere_in_a_text_is_found);
    tcase_add_test(tcase, no_bytes_are_a_text_and_a_nul_is_a_character);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(utf8_suite)
