// tests/unit/base/test_text.c -- a line fits or is cut where a reader can see it, and never runs over.
//
// Shape: shell. Every buffer is exactly as large as the builder is told and lies on the heap, so that
// AddressSanitizer sees a byte too many.
#include "base/text.h"

#include <string.h>

#include "base/utf8.h"
#include "tests/lib/check_main.h"

// What is left of `what` in a buffer of `capacity` bytes, by each of the two ways to add it.
static void
check_cut(size_t capacity, const char *what, const char *expected)
{
    for (int way = 0; way < 2; way++) {
        char *bytes = malloc(capacity);
        ck_assert_ptr_nonnull(bytes);
        struct text text;
        text_init(&text, bytes, capacity);
        if (way == 0)
            text_add(&text, "%s", what);
        else
            text_add_bytes(&text, what, strlen(what));
        ck_assert_str_eq(bytes, expected);
        ck_assert(text.truncated == (strcmp(what, expected) != 0));
        ck_assert_uint_eq(text.length, strlen(expected));
        free(bytes);
    }
}

START_TEST(a_new_text_is_empty)
{
    char bytes[4] = "zzz";
    struct text text;
    text_init(&text, bytes, sizeof bytes);
    ck_assert_str_eq(bytes, "");
    ck_assert_uint_eq(text.length, 0);
    ck_assert(!text.truncated);
}
END_TEST

START_TEST(a_buffer_of_no_bytes_aborts)
{
    char bytes[1];
    struct text text;
    text_init(&text, bytes, 0);
}
END_TEST

START_TEST(additions_follow_each_other)
{
    char bytes[32];
    struct text text;
    text_init(&text, bytes, sizeof bytes);
    text_add(&text, "row %d", 3);
    text_add_bytes(&text, ": xyz", 3);
    text_add(&text, "%s", "NaN");
    text_add_bytes(&text, NULL, 0);
    ck_assert_str_eq(bytes, "row 3: xNaN");
    ck_assert_uint_eq(text.length, 11);
    ck_assert(!text.truncated);
}
END_TEST

START_TEST(what_fits_to_the_last_byte_is_not_cut)
{
    check_cut(8, "1234567", "1234567");
    check_cut(8, "12345678", "1234...");
    check_cut(4, "123", "123");
    check_cut(4, "1234", "...");
    check_cut(1, "", "");
}
END_TEST

START_TEST(a_buffer_too_small_for_dots_is_filled)
{
    check_cut(3, "1234", "12");
    check_cut(2, "1234", "1");
    check_cut(1, "1234", "");
}
END_TEST

START_TEST(a_cut_never_leaves_half_a_character)
{
    // 1 + 2 + 3 + 4 bytes, twice.
    const char *what = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"
                       "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80";
    for (size_t capacity = 1; capacity <= strlen(what) + 1; capacity++) {
        char *bytes = malloc(capacity);
        ck_assert_ptr_nonnull(bytes);
        struct text text;
        text_init(&text, bytes, capacity);
        text_add(&text, "%s", what);
        ck_assert_msg(utf8_valid(bytes, strlen(bytes)), "capacity %zu", capacity);
        ck_assert_uint_eq(strlen(bytes), text.length);
        free(bytes);
    }
}
END_TEST

START_TEST(after_a_cut_nothing_is_added)
{
    char bytes[8];
    struct text text;
    text_init(&text, bytes, sizeof bytes);
    text_add(&text, "123456789");
    text_add(&text, "x");
    text_add_bytes(&text, "y", 1);
    ck_assert_str_eq(bytes, "1234...");
}
END_TEST

START_TEST(a_cut_reaches_back_into_an_earlier_addition)
{
    char bytes[8];
    struct text text;
    text_init(&text, bytes, sizeof bytes);
    text_add(&text, "12345\xc3\xa9");
    text_add(&text, "x");
    ck_assert_str_eq(bytes, "1234...");
    ck_assert(text.truncated);
}
END_TEST

static Suite *
text_suite(void)
{
    Suite *suite = suite_create("base/text");
    TCase *tcase = tcase_create("text");
    tcase_add_test(tcase, a_new_text_is_empty);
    tcase_add_test_raise_signal(tcase, a_buffer_of_no_bytes_aborts, SIGABRT);
    tcase_add_test(tcase, additions_follow_each_other);
    tcase_add_test(tcase, what_fits_to_the_last_byte_is_not_cut);
    tcase_add_test(tcase, a_buffer_too_small_for_dots_is_filled);
    tcase_add_test(tcase, a_cut_never_leaves_half_a_character);
    tcase_add_test(tcase, after_a_cut_nothing_is_added);
    tcase_add_test(tcase, a_cut_reaches_back_into_an_earlier_addition);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(text_suite)
