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

START_TEST(name_and_features_are_read_behind_what_changes)
{
    const struct turn_said said = {1, 2, 3, true};
    char longest[TURN_SAID_NAME_MAX];
    memset(longest, 'n', sizeof longest);
    for (uint32_t bytes = 0; bytes <= TURN_SAID_NAME_MAX; bytes++) {
        struct gossip_meta meta = {0};
        const char *name;
        turn_said_program(longest, bytes, UINT64_C(0x8070605040302010), &meta);
        turn_said_write(&said, &meta);
        ck_assert(gossip_meta_valid(
            &(struct gossip_meta){.address.port = 1, .data_bytes = meta.data_bytes}));
        ck_assert_uint_eq(turn_said_name(&meta, &name), bytes);
        ck_assert_mem_eq(name, longest, bytes);
        ck_assert_uint_eq(turn_said_features(&meta), UINT64_C(0x8070605040302010));
        meta.data_bytes--;
        ck_assert_uint_eq(turn_said_features(&meta), 0);
    }
}
END_TEST

// As programs of before said it.
START_TEST(a_name_with_nothing_behind_it_is_a_name_of_who_knows_no_feature)
{
    const char *name;
    struct gossip_meta meta = {.data_bytes = TURN_SAID_BYTES + 3};
    memcpy(meta.data + TURN_SAID_BYTES, "abc", 3);
    ck_assert_uint_eq(turn_said_name(&meta, &name), 3);
    ck_assert_uint_eq(turn_said_features(&meta), 0);
    meta.data_bytes = GOSSIP_DATA_BYTES_MAX;
    memset(meta.data + TURN_SAID_BYTES, 'n', GOSSIP_DATA_BYTES_MAX - TURN_SAID_BYTES);
    ck_assert_uint_eq(turn_said_name(&meta, &name), GOSSIP_DATA_BYTES_MAX - TURN_SAID_BYTES);
    ck_assert_uint_eq(turn_said_features(&meta), 0);
    meta.data_bytes = TURN_SAID_BYTES - 1;
    ck_assert_uint_eq(turn_said_name(&meta, &name), 0);
    ck_assert_uint_eq(turn_said_features(&meta), 0);
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
    tcase_add_test(tcase, name_and_features_are_read_behind_what_changes);
    tcase_add_test(tcase, a_name_with_nothing_behind_it_is_a_name_of_who_knows_no_feature);
    tcase_add_test(tcase, two_that_differ_in_one_thing_differ);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
