// tests/unit/wire/test_peer.c -- a head is read as it was written, and no flipped bit of head or body passes.
#include "wire/peer.h"

#include <string.h>

#include "base/hash.h"
#include "tests/lib/check_main.h"

static uint8_t bytes[PEER_HEAD_BYTES];
static struct peer_head head;
static const struct wire_bytes body = {(const uint8_t *)"hello", 5};

static struct peer_head
some_head(void)
{
    return (struct peer_head){.correlation = 0x0102030405060708,
                              .deadline_ms = 250,
                              .kind = PEER_PART,
                              .lane = PEER_BULK};
}

START_TEST(a_head_is_read_as_it_was_written)
{
    peer_head_write(some_head(), body, bytes);
    ck_assert_int_eq(peer_head_read(bytes, PEER_BULK, PEER_KNOWN, &head), PEER_FINE);
    ck_assert_uint_eq(head.correlation, 0x0102030405060708);
    ck_assert_uint_eq(head.deadline_ms, 250);
    ck_assert_uint_eq(head.kind, PEER_PART);
    ck_assert_uint_eq(head.lane, PEER_BULK);
    ck_assert_uint_eq(head.body_bytes, 5);
    ck_assert(peer_body_is_whole(&head, body));
}
END_TEST

START_TEST(the_first_24_bytes_are_for_ever)
{
    static const uint8_t expected[] = "OMPR\1\0\x08\2\5\0\0\0\xfa\0\0\0\x08\7\6\5\4\3\2\1";
    peer_head_write(some_head(), body, bytes);
    ck_assert(memcmp(bytes, expected, sizeof expected - 1) == 0);
}
END_TEST

START_TEST(no_flipped_bit_of_a_head_passes)
{
    peer_head_write(some_head(), body, bytes);
    for (uint32_t bit = 0; bit < 8 * PEER_HEAD_BYTES; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_int_ne(peer_head_read(bytes, PEER_BULK, PEER_KNOWN, &head), PEER_FINE);
        ck_assert_uint_eq(head.body_bytes, 0);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}
END_TEST

START_TEST(no_flipped_bit_of_a_body_passes_and_no_cut)
{
    uint8_t copy[5];
    memcpy(copy, body.bytes, sizeof copy);
    peer_head_write(some_head(), body, bytes);
    ck_assert_int_eq(peer_head_read(bytes, PEER_BULK, PEER_KNOWN, &head), PEER_FINE);
    for (uint32_t bit = 0; bit < 40; bit++) {
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert(!peer_body_is_whole(&head, (struct wire_bytes){copy, 5}));
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (uint32_t count = 0; count < 5; count++)
        ck_assert(!peer_body_is_whole(&head, (struct wire_bytes){copy, count}));
}
END_TEST

START_TEST(every_refusal_has_its_reason)
{
    peer_head_write(some_head(), body, bytes);
    ck_assert_int_eq(peer_head_read(bytes, PEER_CONTROL, PEER_KNOWN, &head), PEER_WRONG_LANE);
    ck_assert_int_eq(peer_head_read(bytes, PEER_BULK, PEER_STRANGER, &head), PEER_NOT_WELCOME);
    bytes[4] = 2;
    ck_assert_int_eq(peer_head_read(bytes, PEER_BULK, PEER_KNOWN, &head), PEER_OTHER_VERSION);
    bytes[0] = 'G';
    ck_assert_int_eq(peer_head_read(bytes, PEER_BULK, PEER_KNOWN, &head), PEER_NOT_PEER);
    ck_assert_str_eq(peer_refusal_name(PEER_NOT_PEER), "not_peer");
    ck_assert_str_eq(peer_refusal_name(PEER_NO_MESSAGE), "no_message");
}
END_TEST

// Writing asserts what reading refuses; so the head of a newer program is made by hand: same checks, other fields.
static void
seal_head(void)
{
    const uint32_t check = (uint32_t)hash_bytes(bytes, PEER_HEAD_BYTES - 4);
    for (uint32_t i = 0; i < 4; i++)
        bytes[28 + i] = (uint8_t)(check >> (8 * i));
}

START_TEST(a_kind_is_one_that_there_is_and_on_its_lane)
{
    for (uint32_t kind = 0; kind < 256; kind++) {
        peer_head_write(some_head(), body, bytes);
        bytes[6] = (uint8_t)kind;
        seal_head();
        const enum peer_refusal refusal = peer_head_read(bytes, PEER_BULK, PEER_KNOWN, &head);
        if (kind == 0 || kind >= PEER_KINDS)
            ck_assert_int_eq(refusal, PEER_NO_KIND);
        else if (kind <= PEER_CONFIRM)
            ck_assert_int_eq(refusal, PEER_NOT_WELCOME);
        else if (kind == PEER_GOSSIP || kind == PEER_TURN || kind == PEER_MAP_ASK)
            ck_assert_int_eq(refusal, PEER_WRONG_LANE);
        else
            ck_assert_int_eq(refusal, PEER_FINE);
        ck_assert_int_eq(strcmp(peer_kind_name((uint8_t)kind), "?") == 0,
                         kind == 0 || kind >= PEER_KINDS);
    }
}
END_TEST

START_TEST(a_body_is_as_long_as_its_lane_allows)
{
    static const struct {
        enum peer_lane lane;
        enum peer_trust trust;
        uint8_t kind;
        uint32_t most;
    } cases[] = {{PEER_CONTROL, PEER_STRANGER, PEER_HELLO, PEER_STRANGER_BYTES_MAX},
                 {PEER_BULK, PEER_STRANGER, PEER_HELLO, PEER_STRANGER_BYTES_MAX},
                 {PEER_CONTROL, PEER_KNOWN, PEER_RAFT, PEER_CONTROL_BYTES_MAX},
                 {PEER_BULK, PEER_KNOWN, PEER_RAFT, PEER_BULK_BYTES_MAX}};
    for (uint32_t more = 0; more < 3; more++) {
        peer_head_write((struct peer_head){.kind = cases[_i].kind, .lane = (uint8_t)cases[_i].lane},
                        (struct wire_bytes){0}, bytes);
        const uint32_t length = more == 2 ? UINT32_MAX : cases[_i].most + more;
        for (uint32_t i = 0; i < 4; i++)
            bytes[8 + i] = (uint8_t)(length >> (8 * i));
        seal_head();
        ck_assert_int_eq(peer_head_read(bytes, cases[_i].lane, cases[_i].trust, &head),
                         more == 0 ? PEER_FINE : PEER_TOO_LONG);
    }
}
END_TEST

static Suite *
peer_suite(void)
{
    Suite *suite = suite_create("wire/peer");
    TCase *tcase = tcase_create("peer");
    tcase_add_test(tcase, a_head_is_read_as_it_was_written);
    tcase_add_test(tcase, the_first_24_bytes_are_for_ever);
    tcase_add_test(tcase, no_flipped_bit_of_a_head_passes);
    tcase_add_test(tcase, no_flipped_bit_of_a_body_passes_and_no_cut);
    tcase_add_test(tcase, every_refusal_has_its_reason);
    tcase_add_test(tcase, a_kind_is_one_that_there_is_and_on_its_lane);
    tcase_add_loop_test(tcase, a_body_is_as_long_as_its_lane_allows, 0, 4);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(peer_suite)
