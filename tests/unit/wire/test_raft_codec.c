// tests/unit/wire/test_raft_codec.c -- every message of raft is read as it was written; cut, longer, flipped or beyond a limit it is refused or
// another message.
#include "wire/raft_codec.h"

#include "tests/lib/check_main.h"
#include "tests/lib/codec_tests.h"
#include "tests/lib/wire_messages.h"

static struct wire_pool pool;
static struct raft_room one, other;

static void
fresh(void)
{
    codec_open(1 << 24);
    pool.used = 0;
    one.msg = (struct raft_msg){.kind = RAFT_APPEND};
}

static void
draw(struct prng *prng)
{
    pool.used = 0;
    random_raft(prng, &pool, &one);
}

static void
write_one(struct encode *to)
{
    raft_msg_write(to, &one.msg);
}

static bool
read_other(struct wire_bytes bytes)
{
    return raft_msg_read(bytes, &other);
}

static void
write_other(struct encode *to)
{
    raft_msg_write(to, &other.msg);
}

static bool
is_same(void)
{
    return same_raft(&one.msg, &other.msg);
}

static const struct codec_claims codec = {draw, write_one, read_other, write_other, is_same};

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
    raft_msg_write(&written, &one.msg);
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
    ck_assert_uint_eq(written.count, sizeof expected - 1);
    ck_assert(memcmp(written.bytes, expected, written.count) == 0);
}
END_TEST

// APPEND with `term`, and nothing else; the term is at byte 3.
START_TEST(numbers_stay_below_their_limit)
{
    one.msg.term = RAFT_NUMBER_MAX - 1;
    raft_msg_write(&written, &one.msg);
    ck_assert(codec_reads() && other.msg.term == RAFT_NUMBER_MAX - 1);
    written.bytes[3] = 0;
    written.bytes[10] = 0x40; // 2^62 = RAFT_NUMBER_MAX
    memset(written.bytes + 4, 0, 6);
    ck_assert(!codec_reads());
}
END_TEST

START_TEST(a_number_that_is_there_is_not_zero)
{
    one.msg.term = 1;
    raft_msg_write(&written, &one.msg);
    ck_assert(codec_reads());
    written.bytes[3] = 0;
    ck_assert(!codec_reads());
}
END_TEST

START_TEST(a_kind_is_one_that_there_is)
{
    raft_msg_write(&written, &one.msg);
    for (uint32_t kind = 0; kind < 256; kind++) {
        written.bytes[0] = (uint8_t)kind;
        ck_assert(codec_reads() == (kind > 0 && kind < RAFT_MSG_KINDS));
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
    raft_msg_write(&written, &one.msg);
    ck_assert(codec_reads() && other.msg.entry_count == RAFT_ENTRIES_MAX);
    written.bytes[3] += 1; // the count, and as many bytes
    static const uint8_t more[21] = {1};
    encode_raw(&written, more, sizeof more);
    ck_assert(!codec_reads());
}
END_TEST

START_TEST(a_count_is_compared_with_what_is_there)
{
    one.msg.entries = one.entries;
    one.msg.entry_count = 1;
    one.entries[0] = (struct raft_entry){.position = 1};
    raft_msg_write(&written, &one.msg);
    written.bytes[3] = 0xff;
    written.bytes[4] = 0x03; // 1,023 entries
    ck_assert(!codec_reads());
}
END_TEST

START_TEST(members_of_a_group_ascend)
{
    one.group =
        (struct raft_group){.count = 2, .members = {{.id = 1, .roles = 1}, {.id = 2, .roles = 1}}};
    one.msg.group = &one.group;
    raft_msg_write(&written, &one.msg);
    ck_assert(codec_reads() && other.msg.group->count == 2);
    written.bytes[written.count - 9] = 1; // the second's id
    ck_assert(!codec_reads());
}
END_TEST

static Suite *
raft_codec_suite(void)
{
    Suite *suite = suite_create("wire/raft_codec");
    TCase *tcase = tcase_create("raft_codec");
    tcase_add_checked_fixture(tcase, fresh, codec_close);
    codec_add_tests(tcase);
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
