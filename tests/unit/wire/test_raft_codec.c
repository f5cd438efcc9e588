// tests/unit/wire/test_raft_codec.c -- every message of raft is read as it was written; cut, longer, flipped or beyond a limit it is refused or
// another message.
#include "wire/raft_codec.h"

#include <stdlib.h>

#include "tests/lib/check_main.h"
#include "tests/lib/wire_messages.h"

static struct encode encode, again;
static struct wire_pool pool;
static struct raft_room one, other;

static void
fresh(void)
{
    encode_init(&encode, 1 << 24);
    encode_init(&again, 1 << 24);
    pool.used = 0;
    one.msg = (struct raft_msg){.kind = RAFT_APPEND};
}

static void
tidy_up(void)
{
    encode_fini(&encode);
    encode_fini(&again);
}

static bool
read_copy(size_t count)
{
    uint8_t *copy = malloc(count > 0 ? count : 1);
    memcpy(copy, encode.bytes, count);
    const bool sound = raft_msg_read((struct wire_bytes){copy, (uint32_t)count}, &other);
    free(copy);
    return sound;
}

static bool
reads(void)
{
    return raft_msg_read((struct wire_bytes){encode.bytes, (uint32_t)encode.count}, &other);
}

START_TEST(what_is_written_is_read_as_it_was)
{
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    for (uint32_t round = 0; round < 100; round++) {
        pool.used = 0;
        encode_reset(&encode);
        encode_reset(&again);
        random_raft(&prng, &pool, &one);
        raft_msg_write(&encode, &one.msg);
        ck_assert(reads());
        ck_assert(same_raft(&one.msg, &other.msg));
        raft_msg_write(&again, &other.msg);
        ck_assert_uint_eq(again.count, encode.count);
        ck_assert(memcmp(again.bytes, encode.bytes, again.count) == 0);
    }
}
END_TEST

START_TEST(every_cut_and_every_byte_more_is_refused)
{
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    random_raft(&prng, &pool, &one);
    raft_msg_write(&encode, &one.msg);
    for (size_t count = 0; count < encode.count; count++)
        ck_assert(!read_copy(count));
    encode_plain(&encode, 0, 1);
    ck_assert(!read_copy(encode.count));
}
END_TEST

// A message has one encoding, so what is read from flipped bits is written to these bytes again.
START_TEST(every_flipped_bit_is_refused_or_another_message)
{
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    random_raft(&prng, &pool, &one);
    raft_msg_write(&encode, &one.msg);
    for (size_t bit = 0; bit < 8 * encode.count; bit++) {
        encode.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (reads()) {
            encode_reset(&again);
            raft_msg_write(&again, &other.msg);
            ck_assert_uint_eq(again.count, encode.count);
            ck_assert(memcmp(again.bytes, encode.bytes, again.count) == 0);
        }
        encode.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}
END_TEST

START_TEST(the_bytes_are_for_ever)
{
    static const uint8_t entry_bytes[] = {'h', 'i'};
    one.entries[0] = (struct raft_entry){
        .position = 6, .term = 3, .kind = RAFT_ENTRY_NORMAL, .byte_count = 2, .bytes = entry_bytes};
    one.msg = (struct raft_msg){.kind = RAFT_APPEND,
                                .from = 1,
                                .to = 2,
                                .term = 3,
                                .position = 5,
                                .commit = 4,
                                .entries = one.entries,
                                .entry_count = 1};
    raft_msg_write(&encode, &one.msg);
    static const uint8_t expected[] = "\x01"     // APPEND
                                      "\x2f\x04" // from, to, term, position, commit; entry_count
                                      "\1\0\0\0\0\0\0\0"
                                      "\2\0\0\0\0\0\0\0"
                                      "\3\0\0\0\0\0\0\0"
                                      "\5\0\0\0\0\0\0\0"
                                      "\4\0\0\0\0\0\0\0"
                                      "\1\0\0\0" // one entry
                                      "\0"       // no group
                                      "\6\0\0\0\0\0\0\0"
                                      "\3\0\0\0\0\0\0\0"
                                      "\0"
                                      "\2\0\0\0"
                                      "hi";
    ck_assert_uint_eq(encode.count, sizeof expected - 1);
    ck_assert(memcmp(encode.bytes, expected, encode.count) == 0);
}
END_TEST

// APPEND with `term`, and nothing else; the term is at byte 3.
START_TEST(numbers_stay_below_their_limit)
{
    one.msg.term = RAFT_NUMBER_MAX - 1;
    raft_msg_write(&encode, &one.msg);
    ck_assert(reads() && other.msg.term == RAFT_NUMBER_MAX - 1);
    encode.bytes[3] = 0;
    encode.bytes[10] = 0x40; // 2^62 = RAFT_NUMBER_MAX
    memset(encode.bytes + 4, 0, 6);
    ck_assert(!reads());
}
END_TEST

START_TEST(a_number_that_is_there_is_not_zero)
{
    one.msg.term = 1;
    raft_msg_write(&encode, &one.msg);
    ck_assert(reads());
    encode.bytes[3] = 0;
    ck_assert(!reads());
}
END_TEST

START_TEST(a_kind_is_one_that_there_is)
{
    raft_msg_write(&encode, &one.msg);
    for (uint32_t kind = 0; kind < 256; kind++) {
        encode.bytes[0] = (uint8_t)kind;
        ck_assert(reads() == (kind > 0 && kind < RAFT_MSG_KINDS));
    }
}
END_TEST

START_TEST(entries_are_as_many_as_they_may_be)
{
    static const struct raft_entry empty = {.position = 1, .term = 1};
    for (uint32_t i = 0; i < RAFT_ENTRIES_MAX; i++)
        one.entries[i] = empty;
    one.msg.entries = one.entries;
    one.msg.entry_count = RAFT_ENTRIES_MAX;
    raft_msg_write(&encode, &one.msg);
    ck_assert(reads() && other.msg.entry_count == RAFT_ENTRIES_MAX);
    encode.bytes[3] += 1; // the count, and as many bytes
    static const uint8_t more[21] = {1};
    encode_raw(&encode, more, sizeof more);
    ck_assert(!reads());
}
END_TEST

START_TEST(a_count_is_compared_with_what_is_there)
{
    one.msg.entries = one.entries;
    one.msg.entry_count = 1;
    one.entries[0] = (struct raft_entry){.position = 1};
    raft_msg_write(&encode, &one.msg);
    encode.bytes[3] = 0xff;
    encode.bytes[4] = 0x03; // 1,023 entries
    ck_assert(!reads());
}
END_TEST

START_TEST(members_of_a_group_ascend)
{
    one.group =
        (struct raft_group){.count = 2, .members = {{.id = 1, .roles = 1}, {.id = 2, .roles = 1}}};
    one.msg.group = &one.group;
    raft_msg_write(&encode, &one.msg);
    ck_assert(reads() && other.msg.group->count == 2);
    encode.bytes[encode.count - 9] = 1; // the second's id
    ck_assert(!reads());
}
END_TEST

static Suite *
raft_codec_suite(void)
{
    Suite *suite = suite_create("wire/raft_codec");
    TCase *tcase = tcase_create("raft_codec");
    tcase_add_checked_fixture(tcase, fresh, tidy_up);
    tcase_add_loop_test(tcase, what_is_written_is_read_as_it_was, 0, 10);
    tcase_add_loop_test(tcase, every_cut_and_every_byte_more_is_refused, 0, 30);
    tcase_add_loop_test(tcase, every_flipped_bit_is_refused_or_another_message, 0, 30);
    tcase_add_test(tcase, the_bytes_are_for_ever);
    tcase_add_test(tcase, numbers_stay_below_their_limit);
    tcase_add_test(tcase, a_number_that_is_there_is_not_zero);
    tcase_add_test(tcase, a_kind_is_one_that_there_is);
    tcase_add_test(tcase, entries_are_as_many_as_they_may_be);
    tcase_add_test(tcase, a_count_is_compared_with_what_is_there);
    tcase_add_test(tcase, members_of_a_group_ascend);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(raft_codec_suite)
