// tests/unit/node/test_turn_said.c -- what a node says of its part in the metadata is what others read.
//
// Shape: shell.
#include "node/turn_said.h"

#include "tests/lib/check_main.h"

START_TEST(what_is_written_is_read_and_a_name_behind_it_stays)
{
    const struct turn_said said = {0x0102030405060708, UINT64_MAX - 1, 255, true};
    struct gossip_meta meta = {.data_bytes = TURN_SAID_BYTES + 1};
    meta.data[TURN_SAID_BYTES] = 'n';
    turn_said_write(&said, &meta);
    ck_assert_uint_eq(meta.data_bytes, TURN_SAID_BYTES + 1);
    ck_assert_uint_eq(meta.data[TURN_SAID_BYTES], 'n');
    ck_assert_uint_eq(meta.data[0], 8); // little-endian
    const struct turn_said read = turn_said_read(&meta);
    ck_assert(turn_said_equal(&read, &said));
}
END_TEST

START_TEST(who_says_too_little_says_nothing)
{
    const struct turn_said said = {1, 2, 3, true}, nothing = {0};
    struct gossip_meta meta = {0};
    turn_said_write(&said, &meta);
    ck_assert_uint_eq(meta.data_bytes, TURN_SAID_BYTES);
    meta.data_bytes--;
    const struct turn_said read = turn_said_read(&meta);
    ck_assert(turn_said_equal(&read, &nothing));
}
END_TEST

START_TEST(two_that_differ_in_one_thing_differ)
{
    const struct turn_said said = {1, 2, 3, false};
    const struct turn_said others[] = {
        {9, 2, 3, false}, {1, 9, 3, false}, {1, 2, 9, false}, {1, 2, 3, true}};
    for (int i = 0; i < 4; i++)
        ck_assert(!turn_said_equal(&said, &others[i]));
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("node/turn_said");
    TCase *tcase = tcase_create("said");
    tcase_add_test(tcase, what_is_written_is_read_and_a_name_behind_it_stays);
    tcase_add_test(tcase, who_says_too_little_says_nothing);
    tcase_add_test(tcase, two_that_differ_in_one_thing_differ);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
