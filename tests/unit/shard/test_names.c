// tests/unit/shard/test_names.c -- a text gets one key for good, whatever comes between.
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "shard/names.h"
#include "tests/lib/check_main.h"

#define TEXTS 20000u

static struct epoch gate;
static struct names *names;

static void
setup(void)
{
    epoch_init(&gate);
    ck_assert_int_eq(names_open(&gate, &names), OMEN_OK);
}

static void
teardown(void)
{
    names_close(names);
    epoch_fini(&gate);
}

static size_t
text_of(uint32_t i, char text[32])
{
    return (size_t)snprintf(text, 32, "document-%u", i);
}

START_TEST(keys_are_dense_and_lead_back)
{
    char text[32];
    size_t bytes;
    for (uint32_t i = 0; i < TEXTS; i++) {
        const size_t length = text_of(i, text);
        ck_assert_uint_eq(names_find(names, text, length), NAMES_NONE);
        ck_assert_int_eq(names_reserve(names, 1, length), OMEN_OK);
        ck_assert_uint_eq(names_add(names, text, length), i);
    }
    ck_assert_uint_eq(names_count(names), TEXTS);
    for (uint32_t i = 0; i < TEXTS; i++) {
        const size_t length = text_of(i, text);
        ck_assert_uint_eq(names_find(names, text, length), i);
        ck_assert_str_eq(names_text(names, i, &bytes), text);
        ck_assert_uint_eq(bytes, length);
    }
    ck_assert_uint_gt(names_bytes(names), TEXTS * 20);
}
END_TEST

START_TEST(lengths_at_their_limits_are_kept_and_beyond_are_unknown)
{
    char text[ID_TEXT_BYTES_MAX + 1];
    size_t bytes;
    memset(text, 'y', sizeof text);
    ck_assert_int_eq(names_reserve(names, 2, 1 + ID_TEXT_BYTES_MAX), OMEN_OK);
    ck_assert_uint_eq(names_add(names, text, 1), 0);
    ck_assert_uint_eq(names_add(names, text, ID_TEXT_BYTES_MAX), 1);
    ck_assert_uint_eq(names_find(names, text, 1), 0);
    ck_assert_uint_eq(names_find(names, text, ID_TEXT_BYTES_MAX), 1);
    ck_assert_uint_eq(names_find(names, text, ID_TEXT_BYTES_MAX + 1), NAMES_NONE);
    ck_assert_uint_eq(names_find(names, text, 0), NAMES_NONE);
    ck_assert_ptr_null(names_text(names, 2, &bytes));
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/names");
    TCase *tcase = tcase_create("names");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, keys_are_dense_and_lead_back);
    tcase_add_test(tcase, lengths_at_their_limits_are_kept_and_beyond_are_unknown);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
