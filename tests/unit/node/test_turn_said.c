// tests/unit/node/test_turn_said.c -- what a node says of its part in the metadata is what others read.
//
// Shape: shell.
#include "node/turn_said.h"

#include "tests/lib/check_main.h"

START_TEST(what_is_written_is_read_and_a_name_behind_it_stays)
{
    const struct turn_said said = {0x0102030405060708, UINT64_MAX - 1, 255, (_i & 1) != 0,
                                   (_i & 2) != 0};
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

// What programs of before the bit of the disk wrote and read: 0, or 1 of who is about to end; and nothing else than 0 is handed anything.
START_TEST(who_has_room_says_what_it_always_said_and_a_low_disk_is_no_0)
{
    static const uint8_t said_before[2][TURN_SAID_BYTES] = {
        {7, 6, 5, 4, 3, 2, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0, 3, 0},
        {7, 6, 5, 4, 3, 2, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0, 3, 1}};
    for (uint8_t leaving = 0; leaving < 2; leaving++)
        for (uint8_t low = 0; low < 2; low++) {
            const struct turn_said said = {0x0001020304050607, 9, 3, leaving, low};
            struct gossip_meta meta = {0};
            turn_said_write(&said, &meta);
            ck_assert_uint_eq(meta.data_bytes, TURN_SAID_BYTES);
            if (!low)
                ck_assert_mem_eq(meta.data, said_before[leaving], TURN_SAID_BYTES);
            ck_assert_mem_eq(meta.data, said_before[leaving], TURN_SAID_BYTES - 1);
            ck_assert_uint_eq(meta.data[TURN_SAID_BYTES - 1], leaving + 2u * low);
            memcpy(meta.data, said_before[leaving], TURN_SAID_BYTES); // an older program says it
            const struct turn_said read = turn_said_read(&meta);
            ck_assert(read.leaving == leaving);
            ck_assert(!read.disk_low);
        }
}
END_TEST

// A newer one may have more reasons, of which this one knows nothing.
START_TEST(bits_that_nobody_knows_yet_say_nothing)
{
    struct gossip_meta meta = {.data_bytes = TURN_SAID_BYTES};
    meta.data[TURN_SAID_BYTES - 1] = 0xfc;
    const struct turn_said read = turn_said_read(&meta), nothing = {0};
    ck_assert(turn_said_equal(&read, &nothing));
}
END_TEST

START_TEST(who_says_too_little_says_nothing)
{
    const struct turn_said said = {1, 2, 3, true, true}, nothing = {0};
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
    const struct turn_said said = {1, 2, 3, true, true};
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
    const struct turn_said said = {1, 2, 3, false, false};
    const struct turn_said others[] = {{9, 2, 3, false, false},
                                       {1, 9, 3, false, false},
                                       {1, 2, 9, false, false},
                                       {1, 2, 3, true, false},
                                       {1, 2, 3, false, true}};
    for (int i = 0; i < 5; i++)
        ck_assert(!turn_said_equal(&said, &others[i]));
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("node/turn_said");
    TCase *tcase = tcase_create("said");
    tcase_add_loop_test(tcase, what_is_written_is_read_and_a_name_behind_it_stays, 0, 4);
    tcase_add_test(tcase, who_has_room_says_what_it_always_said_and_a_low_disk_is_no_0);
    tcase_add_test(tcase, bits_that_nobody_knows_yet_say_nothing);
    tcase_add_test(tcase, who_says_too_little_says_nothing);
    tcase_add_test(tcase, name_and_features_are_read_behind_what_changes);
    tcase_add_test(tcase, a_name_with_nothing_behind_it_is_a_name_of_who_knows_no_feature);
    tcase_add_test(tcase, two_that_differ_in_one_thing_differ);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
