// tests/unit/wire/test_seal.c -- a datagram opens with its key and no other, no flipped bit and no cut passes; hashes and MACs are those of
// the standards.
#include "wire/seal.h"

#include <stdlib.h>
#include <string.h>

#include "tests/lib/check_main.h"

static struct seal_keys keys, other_keys;
static uint8_t nonce[SEAL_NONCE_BYTES] = "twenty-four random byte";
static uint8_t datagram[GOSSIP_DATAGRAM_BYTES_MAX], opened[GOSSIP_PACKET_BYTES_MAX];
static uint8_t packet[GOSSIP_PACKET_BYTES_MAX];

static void
fresh(void)
{
    uint8_t file[32] = "a key of thirty-two bytes, and o";
    ck_assert_int_eq(seal_init(), OMEN_OK);
    ck_assert_int_eq(seal_keys_of((struct wire_bytes){file, 32}, &keys), OMEN_OK);
    file[31] ^= 1;
    ck_assert_int_eq(seal_keys_of((struct wire_bytes){file, 32}, &other_keys), OMEN_OK);
    for (uint32_t i = 0; i < sizeof packet; i++)
        packet[i] = (uint8_t)(i * 7);
}

static size_t
seal(uint32_t count)
{
    return seal_datagram(&keys, nonce, (struct wire_bytes){packet, count}, datagram);
}

static size_t
open_copy(const struct seal_keys *with, size_t count)
{
    uint8_t *copy = malloc(count > 0 ? count : 1);
    memcpy(copy, datagram, count);
    const size_t got = seal_open_datagram(with, (struct wire_bytes){copy, (uint32_t)count}, opened);
    free(copy);
    return got;
}

START_TEST(a_packet_of_any_size_opens_as_it_was)
{
    for (uint32_t count = 1; count <= GOSSIP_PACKET_BYTES_MAX; count += count < 80 ? 1 : 80) {
        const size_t sealed = seal(count);
        ck_assert_uint_eq(sealed, count + GOSSIP_SEAL_BYTES);
        ck_assert_uint_eq(open_copy(&keys, sealed), count);
        ck_assert(memcmp(opened, packet, count) == 0);
    }
    ck_assert_uint_eq(seal(GOSSIP_PACKET_BYTES_MAX), GOSSIP_DATAGRAM_BYTES_MAX);
}
END_TEST

START_TEST(nobody_else_opens_it)
{
    ck_assert_uint_eq(open_copy(&other_keys, seal(100)), 0);
}
END_TEST

START_TEST(nobody_reads_it)
{
    const size_t sealed = seal(100);
    for (size_t i = 0; i + 8 <= sealed; i++)
        ck_assert(memcmp(datagram + i, packet, 8) != 0);
}
END_TEST

START_TEST(no_flipped_bit_and_no_cut_passes)
{
    const size_t sealed = seal(60);
    for (size_t bit = 0; bit < 8 * sealed; bit++) {
        datagram[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_uint_eq(open_copy(&keys, sealed), 0);
        datagram[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t count = 0; count < sealed; count++)
        ck_assert_uint_eq(open_copy(&keys, count), 0);
    ck_assert_uint_eq(open_copy(&keys, sealed + 1), 0);
}
END_TEST

START_TEST(a_datagram_that_is_too_long_is_not_looked_at)
{
    static const uint8_t zeros[GOSSIP_DATAGRAM_BYTES_MAX + 1];
    ck_assert_uint_eq(seal_open_datagram(&keys, (struct wire_bytes){zeros, sizeof zeros}, opened),
                      0);
}
END_TEST

START_TEST(a_key_file_has_enough_bytes_and_not_too_many)
{
    static const uint8_t zeros[SEAL_KEY_FILE_BYTES_MAX + 1];
    static const uint32_t counts[] = {0, 31, 32, SEAL_KEY_FILE_BYTES_MAX,
                                      SEAL_KEY_FILE_BYTES_MAX + 1};
    ck_assert_int_eq(seal_keys_of((struct wire_bytes){zeros, counts[_i]}, &keys),
                     _i == 2 || _i == 3 ? OMEN_OK : OMEN_E_INVALID);
}
END_TEST

START_TEST(each_use_has_its_own_key)
{
    ck_assert(memcmp(keys.gossip, keys.peer, 32) != 0);
    ck_assert(memcmp(keys.gossip, other_keys.gossip, 32) != 0);
    seal_keys_forget(&keys);
    static const struct seal_keys zeros;
    ck_assert(memcmp(&keys, &zeros, sizeof keys) == 0);
}
END_TEST

// FIPS 180-2, appendix B.1: SHA-256 of "abc".
START_TEST(a_secret_is_hashed_by_sha_256)
{
    static const uint64_t expected[4] = {0xba7816bf8f01cfea, 0x414140de5dae2223, 0xb00361a396177a9c,
                                         0xb410ff61f20015ad};
    uint64_t words[4];
    seal_hash_secret((struct wire_text){"abc", 3}, words);
    ck_assert(memcmp(words, expected, sizeof words) == 0);
    ck_assert(seal_hash_equal(words, expected));
    words[3] ^= 1;
    ck_assert(!seal_hash_equal(words, expected));
}
END_TEST

// Where one piece ends and the next begins is part of what is said.
START_TEST(a_mac_covers_each_piece_by_itself)
{
    uint8_t macs[4][SEAL_MAC_BYTES];
    const uint8_t *text = (const uint8_t *)"abcd";
    seal_mac(keys.peer, "x", (struct wire_bytes){text, 2}, (struct wire_bytes){text + 2, 2},
             macs[0]);
    seal_mac(keys.peer, "x", (struct wire_bytes){text, 3}, (struct wire_bytes){text + 3, 1},
             macs[1]);
    seal_mac(keys.peer, "y", (struct wire_bytes){text, 2}, (struct wire_bytes){text + 2, 2},
             macs[2]);
    seal_mac(keys.gossip, "x", (struct wire_bytes){text, 2}, (struct wire_bytes){text + 2, 2},
             macs[3]);
    for (uint32_t i = 0; i < 4; i++)
        for (uint32_t j = 0; j < 4; j++)
            ck_assert(seal_mac_equal(macs[i], macs[j]) == (i == j));
}
END_TEST

static Suite *
seal_suite(void)
{
    Suite *suite = suite_create("wire/seal");
    TCase *tcase = tcase_create("seal");
    tcase_add_checked_fixture(tcase, fresh, NULL);
    tcase_add_test(tcase, a_packet_of_any_size_opens_as_it_was);
    tcase_add_test(tcase, nobody_else_opens_it);
    tcase_add_test(tcase, nobody_reads_it);
    tcase_add_test(tcase, no_flipped_bit_and_no_cut_passes);
    tcase_add_test(tcase, a_datagram_that_is_too_long_is_not_looked_at);
    tcase_add_loop_test(tcase, a_key_file_has_enough_bytes_and_not_too_many, 0, 5);
    tcase_add_test(tcase, each_use_has_its_own_key);
    tcase_add_test(tcase, a_secret_is_hashed_by_sha_256);
    tcase_add_test(tcase, a_mac_covers_each_piece_by_itself);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(seal_suite)
