// tests/unit/wire/test_replica_codec.c -- every message of copies is read as it was written; cut, longer, flipped or beyond a limit it is
// refused or another message.
#include "wire/replica_codec.h"

#include <stdlib.h>

#include "tests/lib/check_main.h"
#include "tests/lib/wire_messages.h"

static struct encode encode, again;
static struct wire_pool pool;
static struct replica_room one, other;

static void
fresh(void)
{
    encode_init(&encode, 1 << 26);
    encode_init(&again, 1 << 26);
    pool.used = 0;
    one.msg = (struct replica_msg){.kind = REPLICA_APPEND};
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
    const bool sound = replica_msg_read((struct wire_bytes){copy, (uint32_t)count}, &other);
    free(copy);
    return sound;
}

static bool
reads(void)
{
    return replica_msg_read((struct wire_bytes){encode.bytes, (uint32_t)encode.count}, &other);
}

START_TEST(what_is_written_is_read_as_it_was)
{
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    for (uint32_t round = 0; round < 100; round++) {
        pool.used = 0;
        encode_reset(&encode);
        encode_reset(&again);
        random_replica(&prng, &pool, &one);
        replica_msg_write(&encode, &one.msg);
        ck_assert(reads());
        ck_assert(same_replica(&one.msg, &other.msg));
        replica_msg_write(&again, &other.msg);
        ck_assert_uint_eq(again.count, encode.count);
        ck_assert(memcmp(again.bytes, encode.bytes, again.count) == 0);
    }
}
END_TEST

START_TEST(every_cut_and_every_byte_more_is_refused)
{
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    random_replica(&prng, &pool, &one);
    replica_msg_write(&encode, &one.msg);
    for (size_t count = 0; count < encode.count; count++)
        ck_assert(!read_copy(count));
    encode_plain(&encode, 0, 1);
    ck_assert(!read_copy(encode.count));
}
END_TEST

START_TEST(every_flipped_bit_is_refused_or_another_message)
{
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    random_replica(&prng, &pool, &one);
    replica_msg_write(&encode, &one.msg);
    for (size_t bit = 0; bit < 8 * encode.count; bit++) {
        encode.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (reads()) {
            encode_reset(&again);
            replica_msg_write(&again, &other.msg);
            ck_assert_uint_eq(again.count, encode.count);
            ck_assert(memcmp(again.bytes, encode.bytes, again.count) == 0);
        }
        encode.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}
END_TEST

START_TEST(the_bytes_are_for_ever)
{
    one.msg = (struct replica_msg){.kind = REPLICA_ACK,
                                   .from = {.low = 1},
                                   .to = {.low = 2},
                                   .shard = 3,
                                   .term = 4,
                                   .cfg_ver = 5,
                                   .seq = 6};
    replica_msg_write(&encode, &one.msg);
    static const uint8_t expected[] = "\x02"         // ACK
                                      "\xfa\x00\x00" // from.low, to.low, shard, term, cfg_ver, seq
                                      "\1\0\0\0\0\0\0\0"
                                      "\2\0\0\0\0\0\0\0"
                                      "\3\0\0\0\0\0\0\0"
                                      "\4\0\0\0\0\0\0\0"
                                      "\5\0\0\0\0\0\0\0"
                                      "\6\0\0\0\0\0\0\0";
    ck_assert_uint_eq(encode.count, sizeof expected - 1);
    ck_assert(memcmp(encode.bytes, expected, encode.count) == 0);
}
END_TEST

START_TEST(a_kind_is_one_that_there_is)
{
    replica_msg_write(&encode, &one.msg);
    for (uint32_t kind = 0; kind < 256; kind++) {
        encode.bytes[0] = (uint8_t)kind;
        ck_assert(reads() == (kind > 0 && kind < REPLICA_MSG_KINDS));
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
    replica_msg_write(&encode, &one.msg);
    ck_assert(reads() && other.msg.entry_count == REPLICA_ENTRIES_MAX &&
              other.msg.bucket_count == REPLICA_BUCKETS_PER_MSG);
    static const uint8_t more[45] = {0};
    encode_raw(&encode, more, sizeof more);
    encode.bytes[4] =
        (uint8_t)(encode.bytes[4] + (_i == 0)); // one more of each, and the bytes for it
    encode.bytes[8] = (uint8_t)(encode.bytes[8] + (_i == 1));
    ck_assert(!reads());
}
END_TEST

START_TEST(an_entry_is_as_long_as_it_may_be)
{
    for (uint32_t more = 0; more < 2; more++) {
        encode_reset(&encode);
        one.entries[0] = (struct replica_entry){
            .seq = 1, .kind = REPLICA_ENTRY_OP, .byte_count = REPLICA_ENTRY_BYTES_MAX};
        one.entries[0].bytes = calloc(1, REPLICA_ENTRY_BYTES_MAX);
        one.msg.entries = one.entries;
        one.msg.entry_count = 1;
        replica_msg_write(&encode, &one.msg);
        free((void *)one.entries[0].bytes);
        if (more ==
            1) { // kind 1, mask 3, count 4, then the entry, whose length is its last four bytes
            encode.bytes[1 + 3 + 4 + 41] = 1;
            encode_plain(&encode, 0, 1);
        }
        ck_assert(reads() == (more == 0));
    }
}
END_TEST

static Suite *
replica_codec_suite(void)
{
    Suite *suite = suite_create("wire/replica_codec");
    TCase *tcase = tcase_create("replica_codec");
    tcase_add_checked_fixture(tcase, fresh, tidy_up);
    tcase_add_loop_test(tcase, what_is_written_is_read_as_it_was, 0, 10);
    tcase_add_loop_test(tcase, every_cut_and_every_byte_more_is_refused, 0, 30);
    tcase_add_loop_test(tcase, every_flipped_bit_is_refused_or_another_message, 0, 30);
    tcase_add_test(tcase, the_bytes_are_for_ever);
    tcase_add_test(tcase, a_kind_is_one_that_there_is);
    tcase_add_loop_test(tcase, entries_and_buckets_are_as_many_as_they_may_be, 0, 2);
    tcase_add_test(tcase, an_entry_is_as_long_as_it_may_be);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(replica_codec_suite)
