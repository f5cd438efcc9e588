// tests/unit/wire/test_handshake.c -- two nodes of one cluster and one key find each other; nobody else, and no recording, does.
#include "wire/handshake.h"

#include <string.h>

#include "tests/lib/check_main.h"

static struct seal_keys keys, other_keys;
static struct handshake alice, bob, theirs;
static uint8_t hello[HANDSHAKE_HELLO_BYTES], welcome[HANDSHAKE_WELCOME_BYTES],
    confirm[HANDSHAKE_CONFIRM_BYTES];

static const struct wire_bytes hello_bytes = {hello, sizeof hello};
static const struct wire_bytes welcome_bytes = {welcome, sizeof welcome};
static const struct wire_bytes confirm_bytes = {confirm, sizeof confirm};

static void
fresh(void)
{
    static const uint8_t file[32] = "a key of thirty-two bytes, and o";
    static const uint8_t other_file[32] = "another of thirty-two bytes, an";
    ck_assert_int_eq(seal_init(), OMEN_OK);
    ck_assert_int_eq(seal_keys_of((struct wire_bytes){file, 32}, &keys), OMEN_OK);
    ck_assert_int_eq(seal_keys_of((struct wire_bytes){other_file, 32}, &other_keys), OMEN_OK);
    alice = (struct handshake){.cluster = {1, 2},
                               .node = {3, 4},
                               .boot = 5,
                               .features = 6,
                               .version_least = 1,
                               .version_most = 3,
                               .nonce = "alice's thirty-two random bytes"};
    bob = alice;
    bob.node.low = 40;
    bob.version_most = 2;
    memcpy(bob.nonce, "bob's own thirty-two random byte", 32);
    handshake_hello(&alice, hello);
    handshake_welcome(keys.peer, &bob, hello, welcome);
    handshake_confirm(keys.peer, hello, welcome, confirm);
}

START_TEST(two_of_one_cluster_and_one_key_find_each_other)
{
    ck_assert_int_eq(handshake_take_hello(&bob, hello_bytes, &theirs), HANDSHAKE_FINE);
    ck_assert(memcmp(&theirs, &alice, sizeof theirs) == 0);
    ck_assert_int_eq(handshake_take_welcome(keys.peer, &alice, hello, welcome_bytes, &theirs),
                     HANDSHAKE_FINE);
    ck_assert(memcmp(&theirs, &bob, sizeof theirs) == 0);
    ck_assert_int_eq(handshake_take_confirm(keys.peer, hello, welcome, confirm_bytes),
                     HANDSHAKE_FINE);
}
END_TEST

START_TEST(another_key_is_found_out_by_both)
{
    ck_assert_int_eq(handshake_take_welcome(other_keys.peer, &alice, hello, welcome_bytes, &theirs),
                     HANDSHAKE_BAD_MAC);
    ck_assert_int_eq(handshake_take_confirm(other_keys.peer, hello, welcome, confirm_bytes),
                     HANDSHAKE_BAD_MAC);
}
END_TEST

START_TEST(no_flipped_bit_passes)
{
    for (uint32_t bit = 0; bit < 8 * sizeof welcome; bit++) {
        welcome[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_int_ne(handshake_take_welcome(keys.peer, &alice, hello, welcome_bytes, &theirs),
                         HANDSHAKE_FINE);
        ck_assert_int_ne(handshake_take_confirm(keys.peer, hello, welcome, confirm_bytes),
                         HANDSHAKE_FINE);
        welcome[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (uint32_t bit = 0; bit < 8 * sizeof confirm; bit++) {
        confirm[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_int_ne(handshake_take_confirm(keys.peer, hello, welcome, confirm_bytes),
                         HANDSHAKE_FINE);
        confirm[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}
END_TEST

// What was recorded of an earlier handshake is of other nonces.
START_TEST(a_recording_passes_on_neither_side)
{
    uint8_t new_hello[HANDSHAKE_HELLO_BYTES], new_welcome[HANDSHAKE_WELCOME_BYTES];
    alice.nonce[0] ^= 1;
    handshake_hello(&alice, new_hello);
    ck_assert_int_eq(handshake_take_welcome(keys.peer, &alice, new_hello, welcome_bytes, &theirs),
                     HANDSHAKE_BAD_MAC);
    bob.nonce[0] ^= 1;
    handshake_welcome(keys.peer, &bob, hello, new_welcome);
    ck_assert_int_eq(handshake_take_confirm(keys.peer, hello, new_welcome, confirm_bytes),
                     HANDSHAKE_BAD_MAC);
}
END_TEST

START_TEST(what_one_side_said_is_no_answer_of_the_other)
{
    // Alice's own MAC, as if it were a CONFIRM.
    memcpy(confirm, welcome + HANDSHAKE_HELLO_BYTES, sizeof confirm);
    ck_assert_int_eq(handshake_take_confirm(keys.peer, hello, welcome, confirm_bytes),
                     HANDSHAKE_BAD_MAC);
    // Her HELLO, sent back to her.
    memcpy(welcome, hello, sizeof hello);
    ck_assert_int_eq(handshake_take_welcome(keys.peer, &alice, hello, welcome_bytes, &theirs),
                     HANDSHAKE_OURSELVES);
}
END_TEST

START_TEST(who_does_not_fit_is_told_apart)
{
    struct handshake bad = alice;
    switch (_i) {
    case HANDSHAKE_MALFORMED:
        bad.node = (struct wire_uuid){0};
        break;
    case HANDSHAKE_OTHER_CLUSTER:
        bad.cluster.low++;
        break;
    case HANDSHAKE_OURSELVES:
        bad.node = bob.node;
        break;
    default:
        bad.version_least = bad.version_most = 3;
    }
    handshake_hello(&bad, hello);
    ck_assert_int_eq(handshake_take_hello(&bob, hello_bytes, &theirs), _i);
    ck_assert_str_ne(handshake_verdict_name((enum handshake_verdict)_i), "fine");
}
END_TEST

START_TEST(who_has_no_cluster_learns_it_and_is_told_apart_from_a_member)
{
    alice.cluster = (struct wire_uuid){0};
    handshake_hello(&alice, hello);
    ck_assert_int_eq(handshake_take_hello(&bob, hello_bytes, &theirs), HANDSHAKE_JOINS);
    handshake_welcome(keys.peer, &bob, hello, welcome);
    ck_assert_int_eq(handshake_take_welcome(keys.peer, &alice, hello, welcome_bytes, &theirs),
                     HANDSHAKE_FINE);
    ck_assert_uint_eq(theirs.cluster.high, bob.cluster.high);
    ck_assert_uint_eq(theirs.cluster.low, bob.cluster.low);
    ck_assert_int_eq(handshake_take_welcome(other_keys.peer, &alice, hello, welcome_bytes, &theirs),
                     HANDSHAKE_BAD_MAC);
}
END_TEST

START_TEST(two_without_a_cluster_do_not_make_one)
{
    alice.cluster = bob.cluster = (struct wire_uuid){0};
    handshake_hello(&alice, hello);
    ck_assert_int_eq(handshake_take_hello(&bob, hello_bytes, &theirs), HANDSHAKE_OTHER_CLUSTER);
    handshake_welcome(keys.peer, &bob, hello, welcome);
    ck_assert_int_eq(handshake_take_welcome(keys.peer, &alice, hello, welcome_bytes, &theirs),
                     HANDSHAKE_OTHER_CLUSTER);
}
END_TEST

START_TEST(another_length_is_malformed)
{
    static const uint8_t zeros[HANDSHAKE_WELCOME_BYTES + 1];
    for (uint32_t count = 0; count <= sizeof zeros; count++) {
        const struct wire_bytes bytes = {zeros, count};
        if (count != HANDSHAKE_HELLO_BYTES)
            ck_assert_int_eq(handshake_take_hello(&bob, bytes, &theirs), HANDSHAKE_MALFORMED);
        if (count != HANDSHAKE_WELCOME_BYTES)
            ck_assert_int_eq(handshake_take_welcome(keys.peer, &alice, hello, bytes, &theirs),
                             HANDSHAKE_MALFORMED);
        if (count != HANDSHAKE_CONFIRM_BYTES)
            ck_assert_int_eq(handshake_take_confirm(keys.peer, hello, welcome, bytes),
                             HANDSHAKE_MALFORMED);
    }
}
END_TEST

static Suite *
handshake_suite(void)
{
    Suite *suite = suite_create("wire/handshake");
    TCase *tcase = tcase_create("handshake");
    tcase_add_checked_fixture(tcase, fresh, NULL);
    tcase_add_test(tcase, two_of_one_cluster_and_one_key_find_each_other);
    tcase_add_test(tcase, another_key_is_found_out_by_both);
    tcase_add_test(tcase, no_flipped_bit_passes);
    tcase_add_test(tcase, a_recording_passes_on_neither_side);
    tcase_add_test(tcase, what_one_side_said_is_no_answer_of_the_other);
    tcase_add_loop_test(tcase, who_does_not_fit_is_told_apart, HANDSHAKE_MALFORMED,
                        HANDSHAKE_NO_VERSION + 1);
    tcase_add_test(tcase, who_has_no_cluster_learns_it_and_is_told_apart_from_a_member);
    tcase_add_test(tcase, two_without_a_cluster_do_not_make_one);
    tcase_add_test(tcase, another_length_is_malformed);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(handshake_suite)
