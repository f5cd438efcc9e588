// tests/unit/tools/omenctl/test_npy.c -- NumPy heads as NumPy writes them are read, all others refused by name.
//
// Shape: shell. Heads lie on the heap with no byte to spare, so that AddressSanitizer sees a read past their end.
#include "tools/omenctl/npy.h"

#include <string.h>

#include "tests/lib/check_main.h"

// The parsed file of a version-1 head with this dictionary and `data` bytes behind it.
static omen_status
parse(const char *dictionary, uint64_t data, struct npy *npy, struct omen_error *error)
{
    const size_t length = strlen(dictionary);
    uint8_t *head = malloc(10 + length);
    ck_assert_ptr_nonnull(head);
    memcpy(head, "\x93NUMPY\x01\x00", 8);
    head[8] = (uint8_t)length;
    head[9] = (uint8_t)(length >> 8);
    memcpy(head + 10, dictionary, length);
    *error = (struct omen_error){0};
    const omen_status status = npy_parse(head, 10 + length, 10 + length + data, npy, error);
    free(head);
    ck_assert((status == OMEN_OK) == (error->text[0] == '\0'));
    return status;
}

static void
check_refused(const char *dictionary, uint64_t data, omen_status expected, const char *part)
{
    struct npy npy;
    struct omen_error error;
    ck_assert_int_eq(parse(dictionary, data, &npy, &error), expected);
    ck_assert_msg(strstr(error.text, part) != NULL, "\"%s\" lacks \"%s\"", error.text, part);
}

START_TEST(head_as_numpy_writes_it_is_read)
{
    struct npy npy;
    struct omen_error error;
    ck_assert_int_eq(parse("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 5), }     \n", 60,
                           &npy, &error),
                     OMEN_OK);
    ck_assert_int_eq(npy.kind, 'f');
    ck_assert_uint_eq(npy.item_bytes, 4);
    ck_assert_uint_eq(npy.dimensions, 2);
    ck_assert_uint_eq(npy.shape[0], 3);
    ck_assert_uint_eq(npy.shape[1], 5);
    ck_assert_uint_eq(npy.first_byte, 10 + 65);
    ck_assert_uint_eq(npy.data_bytes, 60);
}
END_TEST

START_TEST(keys_may_come_in_any_order_and_a_vector_has_one_dimension)
{
    struct npy npy;
    struct omen_error error;
    ck_assert_int_eq(
        parse("{\"shape\": (7,), \"fortran_order\": False, \"descr\": \"|u1\"}", 7, &npy, &error),
        OMEN_OK);
    ck_assert_int_eq(npy.kind, 'u');
    ck_assert_uint_eq(npy.dimensions, 1);
    ck_assert_uint_eq(npy.shape[0], 7);
    ck_assert_uint_eq(npy.shape[1], 1);
}
END_TEST

START_TEST(versions_two_and_three_have_four_bytes_of_length)
{
    static const char dictionary[] = "{'descr': '<i8', 'fortran_order': False, 'shape': (2,)}";
    uint8_t head[12 + sizeof dictionary - 1] = "\x93NUMPY\x02\x00";
    struct npy npy;
    head[8] = sizeof dictionary - 1;
    memcpy(head + 12, dictionary, sizeof dictionary - 1);
    for (uint8_t version = 2; version <= 3; version++) {
        head[6] = version;
        ck_assert_int_eq(npy_parse(head, sizeof head, sizeof head + 16, &npy, NULL), OMEN_OK);
        ck_assert_uint_eq(npy.first_byte, sizeof head);
    }
    head[6] = 4;
    ck_assert_int_eq(npy_parse(head, sizeof head, sizeof head + 16, &npy, NULL),
                     OMEN_E_UNSUPPORTED);
}
END_TEST

START_TEST(what_an_index_cannot_take_is_refused_by_name)
{
    check_refused("{'descr': '>f4', 'fortran_order': False, 'shape': (3, 5)}", 60,
                  OMEN_E_UNSUPPORTED, "big-endian");
    check_refused("{'descr': '<f4', 'fortran_order': True, 'shape': (3, 5)}", 60,
                  OMEN_E_UNSUPPORTED, "Fortran");
    check_refused("{'descr': '<c8', 'fortran_order': False, 'shape': (3, 5)}", 60,
                  OMEN_E_UNSUPPORTED, "<c8");
    check_refused("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,)}", 12,
                  OMEN_E_UNSUPPORTED, "structured");
    check_refused("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, 5)}", 60,
                  OMEN_E_UNSUPPORTED, "two dimensions");
    check_refused("{'descr': '<f4', 'fortran_order': False, 'shape': ()}", 4, OMEN_E_UNSUPPORTED,
                  "single number");
    check_refused("{'descr': '<f1', 'fortran_order': False, 'shape': (4,)}", 4, OMEN_E_UNSUPPORTED,
                  "<f1");
}
END_TEST

START_TEST(malformed_heads_are_refused)
{
    static const char *const heads[] = {
        "",
        "{",
        "{'descr'",
        "{'descr': '<f4'",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 5)",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 5}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3 5)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 5)}",
        "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (3, 5)}",
        "{'descr': '<f4', 'fortran_order': False}",
        "{'fortran_order': False, 'shape': (3, 5)}",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (3, 5)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 5), 'more': 1}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 5)} x",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 5)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 99999)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 1)}",
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        check_refused(heads[i], 60, OMEN_E_INVALID, "npy: ");
}
END_TEST

START_TEST(a_byte_too_few_or_too_many_is_refused)
{
    static const char dictionary[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 5)}";
    check_refused(dictionary, 59, OMEN_E_INVALID, "59");
    check_refused(dictionary, 61, OMEN_E_INVALID, "61");
    check_refused(dictionary, 0, OMEN_E_INVALID, "60");
}
END_TEST

START_TEST(a_head_cut_anywhere_is_refused)
{
    static const char dictionary[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 5)}";
    uint8_t whole[10 + sizeof dictionary - 1] = "\x93NUMPY\x01\x00";
    struct npy npy;
    whole[8] = sizeof dictionary - 1;
    memcpy(whole + 10, dictionary, sizeof dictionary - 1);
    ck_assert_int_eq(npy_parse(whole, sizeof whole, sizeof whole, &npy, NULL), OMEN_OK);
    for (size_t count = 0; count < sizeof whole; count++) {
        uint8_t *cut = malloc(count + 1);
        ck_assert_ptr_nonnull(cut);
        memcpy(cut, whole, count);
        ck_assert_int_eq(npy_parse(cut, count, count, &npy, NULL), OMEN_E_INVALID);
        free(cut);
    }
}
END_TEST

static Suite *
npy_suite(void)
{
    Suite *suite = suite_create("npy");
    TCase *tcase = tcase_create("npy");
    tcase_add_test(tcase, head_as_numpy_writes_it_is_read);
    tcase_add_test(tcase, keys_may_come_in_any_order_and_a_vector_has_one_dimension);
    tcase_add_test(tcase, versions_two_and_three_have_four_bytes_of_length);
    tcase_add_test(tcase, what_an_index_cannot_take_is_refused_by_name);
    tcase_add_test(tcase, malformed_heads_are_refused);
    tcase_add_test(tcase, a_byte_too_few_or_too_many_is_refused);
    tcase_add_test(tcase, a_head_cut_anywhere_is_refused);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(npy_suite)
