// tests/unit/base/test_hash.c -- the hashes that the protocol and the file format are made of do not move.
//
// Shape: shell. The known values come from another implementation (PyPI xxhash 4.1.0, libxxhash 0.8.4), so they
// say more than that the code agrees with itself. The lengths are those where XXH3 changes its way.
#include "base/hash.h"

#include <string.h>

#include "base/limits.h"
#include "tests/lib/check_main.h"

static const struct {
    size_t count; // of the bytes 0, 1, 2 ... 255, 0, 1 ...
    uint64_t hash;
} known[] = {
    {0, 0x2d06800538d394c2},   {16, 0x8355e3a6f61770db},   {17, 0x9ef341a99de37328},
    {128, 0x85c6174c7ff4c46b}, {129, 0xec7642b431ba3e5a},  {240, 0x375a384d957fe865},
    {241, 0x02e8cd95421c6d02}, {1025, 0x78c86e91ee939852},
};

START_TEST(bytes_hash_to_the_published_values)
{
    unsigned char bytes[1025];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)i;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        ck_assert_msg(hash_bytes(bytes, known[i].count) == known[i].hash, "%zu bytes",
                      known[i].count);
}
END_TEST

START_TEST(alignment_does_not_change_a_hash)
{
    unsigned char bytes[1025 + 8];
    for (size_t shift = 0; shift < 8; shift++) {
        for (size_t i = 0; i < 1025; i++)
            bytes[shift + i] = (unsigned char)i;
        ck_assert_uint_eq(hash_bytes(bytes + shift, 1025), 0x78c86e91ee939852);
    }
}
END_TEST

START_TEST(null_is_allowed_for_no_bytes)
{
    ck_assert_uint_eq(hash_bytes(NULL, 0), 0x2d06800538d394c2);
}
END_TEST

START_TEST(integer_ids_hash_to_their_frozen_values)
{
    ck_assert_uint_eq(hash_id_u64(0), 0x34499569f0391857);
    ck_assert_uint_eq(hash_id_u64(1), 0x4ac0e8d997f93b82);
    ck_assert_uint_eq(hash_id_u64(7), 0xe58edf1db21ca0b8);
    ck_assert_uint_eq(hash_id_u64(ID_MAX), 0x912a512ebb885c6a);
}
END_TEST

START_TEST(text_ids_hash_to_their_frozen_values)
{
    ck_assert_uint_eq(hash_id_text("", 0), 0xe12ef9d2eb86ceeb);
    ck_assert_uint_eq(hash_id_text("7", 1), 0x1a66d6b9c18bc9cc);
    ck_assert_uint_eq(hash_id_text("doc-1", 5), 0x72c408f25f9bc6be);
    ck_assert_uint_eq(hash_id_text("\xc3\xa9", 2), 0xa90096eafbe26869);
}
END_TEST

START_TEST(the_longest_text_id_hashes_and_one_byte_more_aborts)
{
    char id[ID_TEXT_BYTES_MAX + 1];
    memset(id, 'x', sizeof id);
    ck_assert_uint_eq(hash_id_text(id, ID_TEXT_BYTES_MAX), 0xda8f682dad71c693);
    hash_id_text(id, ID_TEXT_BYTES_MAX + 1);
    ck_abort_msg("a text id of 256 bytes was hashed");
}
END_TEST

static Suite *
hash_suite(void)
{
    Suite *suite = suite_create("base/hash");
    TCase *tcase = tcase_create("hash");
    tcase_add_test(tcase, bytes_hash_to_the_published_values);
    tcase_add_test(tcase, alignment_does_not_change_a_hash);
    tcase_add_test(tcase, null_is_allowed_for_no_bytes);
    tcase_add_test(tcase, integer_ids_hash_to_their_frozen_values);
    tcase_add_test(tcase, text_ids_hash_to_their_frozen_values);
    tcase_add_test_raise_signal(tcase, the_longest_text_id_hashes_and_one_byte_more_aborts,
                                SIGABRT);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(hash_suite)
