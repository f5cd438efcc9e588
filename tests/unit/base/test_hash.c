// tests/unit/base/test_hash.c -- the hashes that the protocol and the file format are made of do not move.
//
// Shape: shell. The known values were computed with the reference implementation of XXH3 in Python
// (xxhash 3.5.0: xxh3_64_intdigest), so they do not only say that the code agrees with itself.
#include "base/hash.h"

#include "base/limits.h"
#include "tests/lib/check_main.h"

START_TEST(nothing_has_a_hash)
{
    ck_assert_uint_eq(hash_bytes(NULL, 0), 0x2d06800538d394c2ull);
    ck_assert_uint_eq(hash_bytes("", 0), 0x2d06800538d394c2ull);
}
END_TEST

static Suite *
hash_suite(void)
{
    Suite *suite = suite_create("base/hash");
    TCase *tcase = tcase_create("hash");
    tcase_add_test(tcase, nothing_has_a_hash);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(hash_suite)
