// tests/unit/wire/test_replica_codec.c -- every message of copies is read as it was written; cut, longer, flipped or beyond a limit it is
// refused or another message.
#include "wire/replica_codec.h"

#include <stdlib.h>

#include "tests/lib/check_main.h"
#include "tests/lib/codec_tests.h"
#include "tests/lib/wire_messages.h"

static struct wire_pool pool;
static struct replica_room one, other;

static void
fresh(void)
{
    codec_open(1 << 26);
    pool.used = 0;
    one.msg = (struct replica_msg){.kind = REPLICA_APPEND};
}

static void
draw(struct prng *prng)
{
    pool.used = 0;
    random_replica(prng, &pool, &one);
}

static void
write_one(struct encode *to)
{
    replica_msg_write(to, &one.msg);
}

static bool
read_other(struct wire_bytes bytes)
{
    return replica_msg_read(bytes, &other);
}

static void
write_other(struct encode *to)
{
    replica_msg_write(to, &other.msg);
}

static bool
is_same(void)
{
    return same_replica(&one.msg, &other.msg);
}

static const struct codec_claims codec = {draw, write_one, read_other, write_other, is_same};

START_TEST(the_bytes_are_for_ever)
{
    one.msg = (struct replica_msg){.kind = REPLICA_ACK,
                                   .from = {.low = 1},
                                   .to = {.low = 2},
                                   .shard = 3,
                                   .term = 4,
                                   .cfg_ver = 5,
                                   .seq = 6};
    replica_msg_write(&written, &one.msg);
    static const uint8_t expected[] = "\x02"         // ACK
                                      "\xfa\x00\x00" // from.low, to.low, shard, term, cfg_ver, seq
                                      "\1\0\0\0\0\0\0\0"
                                      "\2\0\0\0\0\0\0\0"
                                      "\3\0\0\0\0\0\0\0"
                                      "\4\0\0\0\0\0\0\0"
                                      "\5\0\0\0\0\0\0\0"
                                      "\6\0\0\0\0\0\0\0";
    ck_assert_uint_eq(written.count, sizeof expected - 1);
    ck_assert(memcmp(written.bytes, expected, written.count) == 0);
}
END_TEST

START_TEST(a_kind_is_one_that_there_is)
{
    replica_msg_write(&written, &one.msg);
    for (uint32_t kind = 0; kind < 256; kind++) {
        written.bytes[0] = (uint8_t)kind;
        ck_assert(codec_reads() == (kind > 0 && kind < REPLICA_MSG_KINDS));
    }
}
END_TEST

START_TEST(entries_and_buckets_are_as_many_as_they_may_be)
{
    for (uint32_t i = 0; i < REPLICA_ENTRIES_MAX; i++)
        one.entries[i] = (struct replica_entry){.seq = i, .kind = REPLICA_ENTRY_OP};
    one.msg.entries = one.entries;
    one.msg.entry_count = REPLICA_ENTRIES_MAX;
    one.msg.buckets = one.buckets;
    one.msg.bucket_count = REPLICA_BUCKETS_PER_MSG;
    replica_msg_write(&written, &one.msg);
    ck_assert(codec_reads() && other.msg.entry_count == REPLICA_ENTRIES_MAX &&
              other.msg.bucket_count == REPLICA_BUCKETS_PER_MSG);
    static const uint8_t more[45] = {0};
    encode_raw(&written, more, sizeof more);
    written.bytes[4] =
        (uint8_t)(written.bytes[4] + (_i == 0)); // one more of each, and the bytes for it
    written.bytes[8] = (uint8_t)(written.bytes[8] + (_i == 1));
    ck_assert(!codec_reads());
}
END_TEST

START_TEST(an_entry_is_as_long_as_it_may_be)
{
    for (uint32_t more = 0; more < 2; more++) {
        encode_reset(&written);
        one.entries[0] = (struct replica_entry){
            .seq = 1, .kind = REPLICA_ENTRY_OP, .byte_count = REPLICA_ENTRY_BYTES_MAX};
        one.entries[0].bytes = calloc(1, REPLICA_ENTRY_BYTES_MAX);
        one.msg.entries = one.entries;
        one.msg.entry_count = 1;
        replica_msg_write(&written, &one.msg);
        free((void *)one.entries[0].bytes);
        if (more ==
            1) { // kind 1, mask 3, count 4, then the entry, whose length is its last four bytes
            written.bytes[1 + 3 + 4 + 41] = 1;
            encode_plain(&written, 0, 1);
        }
        ck_assert(codec_reads() == (more == 0));
    }
}
END_TEST

static Suite *
replica_codec_suite(void)
{
    Suite *suite = suite_create("wire/replica_codec");
    TCase *tcase = tcase_create("replica_codec");
    tcase_add_checked_fixture(tcase, fresh, codec_close);
    codec_add_tests(tcase);
    tcase_add_test(tcase, the_bytes_are_for_ever);
    tcase_add_test(tcase, a_kind_is_one_that_there_is);
    tcase_add_loop_test(tcase, entries_and_buckets_are_as_many_as_they_may_be, 0, 2);
    tcase_add_test(tcase, an_entry_is_as_long_as_it_may_be);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(replica_codec_suite)
