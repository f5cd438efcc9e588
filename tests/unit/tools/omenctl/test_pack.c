// tests/unit/tools/omenctl/test_pack.c -- words of a command line as values of the protocol.
#include "tools/omenctl/pack.h"

#include <string.h>

#include "tests/lib/check_main.h"

static void
expect(enum field_kind kind, const char *text, const char *packed, size_t bytes)
{
    const struct field field = {.key = "x", .kind = (uint8_t)kind};
    char copy[256];
    char *texts[] = {copy};
    struct omen_error error = {0};
    struct encode encode;
    memcpy(copy, text, strlen(text) + 1);
    encode_init(&encode, 1u << 20);
    ck_assert_msg(pack_value(&encode, &field, texts, 1, &error) == OMEN_OK, "%s", error.text);
    ck_assert_msg(encode.count == bytes && memcmp(encode.bytes, packed, bytes) == 0, "'%s'", text);
    encode_fini(&encode);
}
#define EXPECT(kind, text, packed) expect(kind, text, packed, sizeof(packed) - 1)

static void
expect_refused(enum field_kind kind, const char *text, const char *said)
{
    const struct field field = {.key = "x", .kind = (uint8_t)kind};
    char copy[256];
    char *texts[] = {copy};
    struct omen_error error = {0};
    struct encode encode;
    memcpy(copy, text, strlen(text) + 1);
    encode_init(&encode, 1u << 20);
    ck_assert_int_ne(pack_value(&encode, &field, texts, 1, &error), OMEN_OK);
    ck_assert_msg(strstr(error.text, said) != NULL, "%s", error.text);
    encode_fini(&encode);
}

START_TEST(numbers_are_numbers_and_nothing_else_is)
{
    EXPECT(FIELD_U32, "0", "\x00");
    EXPECT(FIELD_U64, "300", "\xcd\x01\x2c");
    EXPECT(FIELD_MAYBE, "7", "\x07");
    EXPECT(FIELD_REAL, "0.5", "\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00");
    expect_refused(FIELD_U32, "", "'' is no whole number");
    expect_refused(FIELD_U32, "-1", "'-1'");
    expect_refused(FIELD_U64, "1.5", "'1.5'");
    expect_refused(FIELD_U64, "18446744073709551616", "no whole number");
    expect_refused(FIELD_REAL, "nan", "'nan' is no number");
    expect_refused(FIELD_REAL, "1x", "'1x' is no number");
}
END_TEST

START_TEST(ids_of_digits_are_integers_and_all_others_texts)
{
    EXPECT(FIELD_ID, "42", "\x2a");
    EXPECT(FIELD_ID, "4a",
           "\xa2"
           "4a");
    EXPECT(FIELD_ID, "\"42\"",
           "\xa2"
           "42");
    EXPECT(FIELD_ID, "99999999999999999999",
           "\xb4"
           "99999999999999999999");
    EXPECT(FIELD_IDS, "1,b,\"3\"",
           "\x93\x01\xa1"
           "b\xa1"
           "3");
    expect_refused(FIELD_IDS, "1,,2", "empty item");
}
END_TEST

START_TEST(several_words_are_one_list)
{
    static const uint8_t packed[] = {0x93, 1, 2, 3};
    const struct field field = {.key = "ids", .kind = FIELD_IDS};
    char first[] = "1,2", second[] = "3";
    char *texts[] = {first, second};
    struct encode encode;
    encode_init(&encode, 100);
    ck_assert_int_eq(pack_value(&encode, &field, texts, 2, NULL), OMEN_OK);
    ck_assert_uint_eq(encode.count, sizeof packed);
    ck_assert_int_eq(memcmp(encode.bytes, packed, sizeof packed), 0);
    encode_fini(&encode);
}
END_TEST

START_TEST(words_texts_and_filters_are_as_they_were_said)
{
    EXPECT(FIELD_NAME, "docs",
           "\xa4"
           "docs");
    EXPECT(FIELD_WORD, "l2",
           "\xa2"
           "l2");
    EXPECT(FIELD_WORDS, "payload,vector",
           "\x92\xa7"
           "payload\xa6"
           "vector");
    EXPECT(FIELD_BOOL, "", "\xc3");
    EXPECT(FIELD_FILTER, "a = 1",
           "\xa5"
           "a = 1");
    EXPECT(FIELD_FILTER, "{\"a\": 1}",
           "\x81\xa1"
           "a\x01");
    expect_refused(FIELD_FILTER, "{\"a\"", "byte");
}
END_TEST

START_TEST(vectors_are_bytes_and_lists_of_them_are_lists)
{
    EXPECT(FIELD_VECTOR, "[1, 0.5]", "\xc4\x08\x00\x00\x80\x3f\x00\x00\x00\x3f");
    EXPECT(FIELD_VECTORS, "[[1],[2]]", "\x92\x91\x01\x91\x02");
    EXPECT(FIELD_PAYLOAD, "{\"a\": null}",
           "\x81\xa1"
           "a\xc0");
    expect_refused(FIELD_VECTOR, "[1, \"a\"]", "component 1");
    expect_refused(FIELD_VECTOR, "@/nowhere/at/all", "/nowhere/at/all");
}
END_TEST

static Suite *
pack_suite(void)
{
    Suite *suite = suite_create("tools/omenctl/pack");
    TCase *tests = tcase_create("pack");
    tcase_add_test(tests, numbers_are_numbers_and_nothing_else_is);
    tcase_add_test(tests, ids_of_digits_are_integers_and_all_others_texts);
    tcase_add_test(tests, several_words_are_one_list);
    tcase_add_test(tests, words_texts_and_filters_are_as_they_were_said);
    tcase_add_test(tests, vectors_are_bytes_and_lists_of_them_are_lists);
    suite_add_tcase(suite, tests);
    return suite;
}

CHECK_MAIN(pack_suite)
