// tests/unit/base/test_error.c -- a status with a sentence: filled, cut, quoted, or wanted by nobody.
//
// Shape: shell.
#include "base/error.h"

#include <string.h>

#include "base/utf8.h"
#include "tests/lib/check_main.h"

START_TEST(the_status_comes_back_and_the_sentence_is_kept)
{
    struct omen_error error;
    ck_assert_int_eq(error_set(&error, OMEN_E_K, "k is %d", 0), OMEN_E_K);
    ck_assert_int_eq(error.status, OMEN_E_K);
    ck_assert_str_eq(error.text, "k is 0");
}
END_TEST

START_TEST(null_gives_the_status_alone)
{
    ck_assert_int_eq(error_set(NULL, OMEN_E_FULL, "%s", "unheard"), OMEN_E_FULL);
    ck_assert_int_eq(error_set_plain(NULL, OMEN_E_FULL), OMEN_E_FULL);
}
END_TEST

START_TEST(a_sentence_may_quote_the_one_it_replaces)
{
    struct omen_error error;
    error_set(&error, OMEN_E_NOT_FINITE, "component %d is NaN", 17);
    error_set(&error, error.status, "row %d: %s", 3, error.text);
    ck_assert_str_eq(error.text, "row 3: component 17 is NaN");
    ck_assert_int_eq(error.status, OMEN_E_NOT_FINITE);
}
END_TEST

START_TEST(the_longest_sentence_fits_and_one_byte_more_is_cut_with_dots)
{
    struct omen_error error;
    char long_text[sizeof error.text + 1];
    memset(long_text, 'x', sizeof long_text);
    long_text[sizeof error.text - 1] = '\0';
    error_set(&error, OMEN_E_INVALID, "%s", long_text);
    ck_assert_str_eq(error.text, long_text);

    long_text[sizeof error.text - 1] = 'x';
    long_text[sizeof error.text] = '\0';
    error_set(&error, OMEN_E_INVALID, "%s", long_text);
    ck_assert_uint_eq(strlen(error.text), sizeof error.text - 1);
    ck_assert_ptr_nonnull(strstr(error.text, "x...x"));

    // A path with characters of two bytes, which are not cut in half.
    for (size_t i = 0; i + 1 < sizeof long_text; i += 2)
        memcpy(long_text + i, "\xc3\xb8", 2);
    long_text[sizeof long_text - 1] = '\0';
    error_set(&error, OMEN_E_INVALID, "%s%s: not a directory", _i == 0 ? "" : "/", long_text);
    ck_assert(utf8_valid(error.text, strlen(error.text)));
    ck_assert_ptr_nonnull(strstr(error.text, "...\xc3\xb8"));
    ck_assert_str_eq(error.text + strlen(error.text) - 17, ": not a directory");
}
END_TEST

START_TEST(plain_says_what_the_status_says)
{
    struct omen_error error;
    ck_assert_int_eq(error_set_plain(&error, OMEN_E_CLOSED), OMEN_E_CLOSED);
    ck_assert_str_eq(error.text, status_text(OMEN_E_CLOSED));
}
END_TEST

START_TEST(what_it_is_about_is_said_once)
{
    struct omen_error error;
    error_set(&error, OMEN_E_LOCKED, "another process writes to it");
    ck_assert_int_eq(error_about(&error, error.status, "shop"), OMEN_E_LOCKED);
    ck_assert_str_eq(error.text, "shop: another process writes to it");
    ck_assert_int_eq(error_about(&error, error.status, "shop"), OMEN_E_LOCKED);
    ck_assert_str_eq(error.text, "shop: another process writes to it");
    ck_assert_int_eq(error_about(NULL, OMEN_E_IO, "shop"), OMEN_E_IO);
}
END_TEST

static Suite *
error_suite(void)
{
    Suite *suite = suite_create("base/error");
    TCase *tcase = tcase_create("error");
    tcase_add_test(tcase, the_status_comes_back_and_the_sentence_is_kept);
    tcase_add_test(tcase, null_gives_the_status_alone);
    tcase_add_test(tcase, a_sentence_may_quote_the_one_it_replaces);
    tcase_add_loop_test(tcase, the_longest_sentence_fits_and_one_byte_more_is_cut_with_dots, 0, 2);
    tcase_add_test(tcase, what_it_is_about_is_said_once);
    tcase_add_test(tcase, plain_says_what_the_status_says);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(error_suite)
