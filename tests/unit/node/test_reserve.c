// tests/unit/node/test_reserve.c -- a disk is low below its reserve, and fine again with a tenth more than it.
//
// Shape: shell.
#include "node/reserve.h"

#include "tests/lib/check_main.h"

#define GIB (UINT64_C(1) << 30)

static struct reserve reserve;

static void
setup(void)
{
    reserve = (struct reserve){0};
}

static bool
look(uint32_t percent, uint64_t bytes, uint64_t available_bytes)
{
    return reserve_look(&reserve, percent, (struct reserve_disk){bytes, available_bytes});
}

START_TEST(a_disk_with_just_its_reserve_is_fine_and_with_a_byte_less_is_low)
{
    ck_assert(!look(5, 2000, 100));
    ck_assert_uint_eq(reserve.bytes, 100);
    ck_assert(!reserve.low);
    ck_assert(look(5, 2000, 99));
    ck_assert(reserve.low);
    ck_assert_uint_eq(reserve.disk.bytes, 2000);
    ck_assert_uint_eq(reserve.disk.available_bytes, 99);
}
END_TEST

START_TEST(a_low_disk_is_fine_with_a_tenth_more_than_its_reserve_and_not_with_a_byte_less)
{
    ck_assert(look(5, 2000, 99));
    ck_assert(!look(5, 2000, 100));
    ck_assert(!look(5, 2000, 109));
    ck_assert(reserve.low);
    ck_assert(look(5, 2000, 110));
    ck_assert(!reserve.low);
    ck_assert(!look(5, 2000, 100)); // and what is fine may go down to the reserve
    ck_assert(!reserve.low);
}
END_TEST

START_TEST(without_a_reserve_an_empty_disk_is_fine)
{
    ck_assert(!look(0, 2000, 0));
    ck_assert_uint_eq(reserve.bytes, 0);
    ck_assert(!reserve.low);
    ck_assert(look(RESERVE_PERCENT_MAX, 2000, 999));
    ck_assert_uint_eq(reserve.bytes, 1000);
    ck_assert(look(0, 2000, 0)); // an operator has switched it off
    ck_assert(!reserve.low);
}
END_TEST

START_TEST(a_file_system_that_says_no_size_is_never_low)
{
    ck_assert(!look(5, 0, 0));
    ck_assert(!reserve.low);
}
END_TEST

START_TEST(the_reserve_of_a_large_disk_is_64_gib)
{
    look(5, 1279 * GIB, 65 * GIB);
    ck_assert_uint_lt(reserve.bytes, RESERVE_BYTES_MAX);
    look(5, 1280 * GIB, 65 * GIB);
    ck_assert_uint_eq(reserve.bytes, 64 * GIB);
    look(5, 1281 * GIB, 65 * GIB);
    ck_assert_uint_eq(reserve.bytes, 64 * GIB);
    look(RESERVE_PERCENT_MAX, UINT64_MAX, UINT64_MAX);
    ck_assert_uint_eq(reserve.bytes, 64 * GIB);
    ck_assert(!reserve.low);
}
END_TEST

START_TEST(a_reserve_is_a_percentage_to_the_byte)
{
    look(7, 199, 199);
    ck_assert_uint_eq(reserve.bytes, 13);
    look(1, 99, 99);
    ck_assert_uint_eq(reserve.bytes, 0);
    look(1, 100, 100);
    ck_assert_uint_eq(reserve.bytes, 1);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("node/reserve");
    TCase *tcase = tcase_create("reserve");
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, a_disk_with_just_its_reserve_is_fine_and_with_a_byte_less_is_low);
    tcase_add_test(tcase,
                   a_low_disk_is_fine_with_a_tenth_more_than_its_reserve_and_not_with_a_byte_less);
    tcase_add_test(tcase, without_a_reserve_an_empty_disk_is_fine);
    tcase_add_test(tcase, a_file_system_that_says_no_size_is_never_low);
    tcase_add_test(tcase, the_reserve_of_a_large_disk_is_64_gib);
    tcase_add_test(tcase, a_reserve_is_a_percentage_to_the_byte);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
