// tests/unit/base/test_msgpack.c -- the bounded reader and the payload check, held to msgpack-c.
//
// Libraries: msgpackc
#include "base/msgpack.h"

#include <math.h>
#include <msgpack.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/prng.h"
#include "tests/lib/check_main.h"
#include "tests/lib/packer.h"

static omen_status
check(const struct packer *packer, struct omen_error *error)
{
    // A copy that ends where the payload does, so that sanitizers see a read past it.
    uint8_t *copy = malloc(packer->count > 0 ? packer->count : 1);
    memcpy(copy, packer->bytes, packer->count);
    const omen_status status = msgpack_check_map(copy, packer->count, error);
    free(copy);
    return status;
}

static struct msgpack_value
first_value(const void *bytes, size_t count)
{
    struct msgpack_reader reader = {bytes, (const uint8_t *)bytes + count};
    struct msgpack_value value;
    ck_assert(msgpack_next(&reader, &value));
    ck_assert_ptr_eq(reader.at, reader.end);
    return value;
}

START_TEST(integers_of_every_width_read_as_their_value)
{
    static const struct {
        uint8_t bytes[9];
        size_t count;
        int64_t value;
    } cases[] = {
        {{0x00}, 1, 0},
        {{0x7f}, 1, 127},
        {{0xff}, 1, -1},
        {{0xe0}, 1, -32},
        {{0xcc, 0xff}, 2, 255},
        {{0xcd, 0xff, 0xff}, 3, 65535},
        {{0xce, 0xff, 0xff, 0xff, 0xff}, 5, 4294967295},
        {{0xcf, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 9, INT64_MAX},
        {{0xd0, 0x80}, 2, -128},
        {{0xd1, 0x80, 0x00}, 3, -32768},
        {{0xd2, 0x80, 0x00, 0x00, 0x00}, 5, INT32_MIN},
        {{0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0}, 9, INT64_MIN},
        {{0xd3, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 9, INT64_MAX},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct msgpack_value value = first_value(cases[i].bytes, cases[i].count);
        ck_assert_int_eq(value.kind, MSGPACK_INT);
        ck_assert_int_eq(value.integer, cases[i].value);
    }
    const uint8_t large[] = {0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0};
    const struct msgpack_value value = first_value(large, sizeof large);
    ck_assert_int_eq(value.kind, MSGPACK_UINT);
    ck_assert_uint_eq(value.unsigned_, 1ull << 63);
}
END_TEST

START_TEST(floats_and_timestamps_read_as_their_value)
{
    const uint8_t narrow[] = {0xca, 0x3f, 0xc0, 0, 0};
    ck_assert(first_value(narrow, sizeof narrow).number == 1.5);
    const uint8_t wide[] = {0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0};
    ck_assert(first_value(wide, sizeof wide).number == 1.5);

    int64_t seconds;
    uint32_t nanoseconds;
    const uint8_t t32[] = {0xd6, 0xff, 0, 0, 1, 0};
    struct msgpack_value value = first_value(t32, sizeof t32);
    ck_assert(msgpack_read_timestamp(&value, &seconds, &nanoseconds) && seconds == 256 &&
              nanoseconds == 0);
    const uint8_t t64[] = {0xd7, 0xff, 0, 0, 0, 4, 0, 0, 0, 9}; // 1 ns, 9 s
    value = first_value(t64, sizeof t64);
    ck_assert(msgpack_read_timestamp(&value, &seconds, &nanoseconds) && seconds == 9 &&
              nanoseconds == 1);
    const uint8_t t96[] = {0xc7, 12,   0xff, 0,    0,    0,    5,   0xff,
                           0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe};
    value = first_value(t96, sizeof t96);
    ck_assert(msgpack_read_timestamp(&value, &seconds, &nanoseconds) && seconds == -2 &&
              nanoseconds == 5);
}
END_TEST

START_TEST(head_that_announces_more_than_is_there_is_refused_and_reader_stays)
{
    static const uint8_t cases[][6] = {
        {0xdd, 0xff, 0xff, 0xff, 0xff, 0},
        {0xdf, 0xff, 0xff, 0xff, 0xff, 0},
        {0xdf, 0, 0, 0, 1, 0},
        {0xdb, 0, 0, 0, 2, 'a'},
        {0xc6, 0xff, 0xff, 0xff, 0xff, 0},
        {0xc9, 0, 0, 0, 1, 0},
        {0xcf, 0, 0, 0, 0, 0},
        {0xc1, 0, 0, 0, 0, 0},
        {0xd8, 0, 0, 0, 0, 0},
        {0x9f, 0, 0, 0, 0, 0},
        {0x83, 0, 0, 0, 0, 0},
        {0xa6, 0, 0, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct msgpack_reader reader = {cases[i], cases[i] + 6};
        struct msgpack_value value;
        ck_assert_msg(!msgpack_next(&reader, &value), "case %zu", i);
        ck_assert_ptr_eq(reader.at, cases[i]);
    }
    struct msgpack_reader empty = {cases[0], cases[0]};
    struct msgpack_value value;
    ck_assert(!msgpack_next(&empty, &value));
    ck_assert(!msgpack_skip(&empty));
}
END_TEST

// ---- held to msgpack-c ----

static bool same(const msgpack_object *theirs, struct msgpack_reader *reader);

static bool
same_raw(const void *bytes, size_t count, const struct msgpack_value *ours)
{
    return ours->raw.length == count && (count == 0 || memcmp(ours->raw.bytes, bytes, count) == 0);
}

static bool
same(const msgpack_object *theirs, struct msgpack_reader *reader)
{
    struct msgpack_value ours;
    if (!msgpack_next(reader, &ours))
        return false;
    switch (theirs->type) {
    case MSGPACK_OBJECT_NIL:
        return ours.kind == MSGPACK_NIL;
    case MSGPACK_OBJECT_BOOLEAN:
        return ours.kind == MSGPACK_BOOL && ours.boolean == theirs->via.boolean;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        return ours.kind == MSGPACK_UINT
                   ? ours.unsigned_ == theirs->via.u64
                   : ours.kind == MSGPACK_INT && (uint64_t)ours.integer == theirs->via.u64;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return ours.kind == MSGPACK_INT && ours.integer == theirs->via.i64;
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        return ours.kind == MSGPACK_FLOAT &&
               (ours.number == theirs->via.f64 || (isnan(ours.number) && isnan(theirs->via.f64)));
    case MSGPACK_OBJECT_STR:
        return ours.kind == MSGPACK_STRING &&
               same_raw(theirs->via.str.ptr, theirs->via.str.size, &ours);
    case MSGPACK_OBJECT_BIN:
        return ours.kind == MSGPACK_BINARY &&
               same_raw(theirs->via.bin.ptr, theirs->via.bin.size, &ours);
    case MSGPACK_OBJECT_EXT:
        return ours.kind == MSGPACK_EXT && ours.ext_type == theirs->via.ext.type &&
               same_raw(theirs->via.ext.ptr, theirs->via.ext.size, &ours);
    case MSGPACK_OBJECT_ARRAY:
        if (ours.kind != MSGPACK_ARRAY || ours.count != theirs->via.array.size)
            return false;
        for (uint32_t i = 0; i < ours.count; i++)
            if (!same(&theirs->via.array.ptr[i], reader))
                return false;
        return true;
    case MSGPACK_OBJECT_MAP:
        if (ours.kind != MSGPACK_MAP || ours.count != theirs->via.map.size)
            return false;
        for (uint32_t i = 0; i < ours.count; i++)
            if (!same(&theirs->via.map.ptr[i].key, reader) ||
                !same(&theirs->via.map.ptr[i].val, reader))
                return false;
        return true;
    }
    return false;
}

// Random bytes with heads that lead somewhere, cut anywhere. Left out are 32-bit container heads,
// for which msgpack-c allocates what they announce (its issue 1013), and lengths at which it
// would reach its own depth limit.
static size_t
random_bytes(struct prng *prng, uint8_t *bytes, size_t capacity)
{
    const size_t count = 1 + prng_below(prng, (uint32_t)capacity);
    for (size_t i = 0; i < count; i++) {
        static const uint8_t heads[] = {0x81, 0x92, 0xa1, 0xa3, 0xc0, 0xc3, 0xc4, 0xc7,
                                        0xca, 0xcb, 0xcc, 0xcd, 0xce, 0xcf, 0xd0, 0xd3,
                                        0xd4, 0xd6, 0xd9, 0xda, 0xdc, 0xde, 0x00, 0x01};
        bytes[i] = prng_below(prng, 3) == 0 ? (uint8_t)prng_next(prng)
                                            : heads[prng_below(prng, sizeof heads)];
        if (bytes[i] == 0xdd || bytes[i] == 0xdf)
            bytes[i]--;
    }
    return count;
}

START_TEST(random_bytes_read_as_msgpack_c_reads_them)
{
    struct prng prng;
    uint32_t agreed_well = 0;
    prng_init(&prng, (uint64_t)_i + 1);
    for (int round = 0; round < 20000; round++) {
        uint8_t bytes[30];
        const size_t count = random_bytes(&prng, bytes, sizeof bytes);
        msgpack_unpacked unpacked;
        msgpack_unpacked_init(&unpacked);
        size_t used = 0;
        const msgpack_unpack_return result =
            msgpack_unpack_next(&unpacked, (const char *)bytes, count, &used);
        struct msgpack_reader reader = {bytes, bytes + count};
        const bool skipped = msgpack_skip(&reader);
        if (result == MSGPACK_UNPACK_SUCCESS || result == MSGPACK_UNPACK_EXTRA_BYTES) {
            ck_assert_msg(skipped, "seed %d round %d", _i, round);
            ck_assert_uint_eq((size_t)(reader.at - bytes), used);
            struct msgpack_reader again = {bytes, bytes + count};
            ck_assert_msg(same(&unpacked.data, &again), "seed %d round %d", _i, round);
            agreed_well += used > 1;
        } else {
            ck_assert_msg(!skipped, "seed %d round %d", _i, round);
        }
        msgpack_unpacked_destroy(&unpacked);
    }
    ck_assert_uint_gt(agreed_well, 1000);
}
END_TEST

// ---- payloads ----

START_TEST(every_prefix_of_a_payload_is_refused_and_the_whole_is_not)
{
    struct packer packer = {.count = 0};
    const uint8_t binary[3] = {1, 2, 3};
    pack_map(&packer, 5);
    pack_text(&packer, "name");
    pack_text(&packer, "\xc3\x85se");
    pack_text(&packer, "tags");
    pack_array(&packer, 3);
    pack_int(&packer, 1);
    pack_double(&packer, 2.5);
    pack_nil(&packer);
    pack_text(&packer, "inner");
    pack_map(&packer, 1);
    pack_text(&packer, "at");
    pack_time(&packer, 5, 6);
    pack_text(&packer, "blob");
    pack_binary(&packer, binary, sizeof binary);
    pack_text(&packer, "");
    pack_bool(&packer, true);

    const size_t whole = packer.count;
    ck_assert_int_eq(check(&packer, NULL), OMEN_OK);
    for (packer.count = 0; packer.count < whole; packer.count++) {
        struct omen_error error;
        ck_assert_int_eq(check(&packer, &error), OMEN_E_PAYLOAD);
        ck_assert_int_eq(error.status, OMEN_E_PAYLOAD);
    }
    packer.count = whole;
    pack_nil(&packer);
    struct omen_error error;
    ck_assert_int_eq(check(&packer, &error), OMEN_E_PAYLOAD);
    ck_assert_ptr_nonnull(strstr(error.text, "goes on"));
}
END_TEST

static void
expect_refused(const char *bytes, size_t count, const char *part)
{
    struct packer packer = {.count = 0};
    struct omen_error error;
    pack_raw(&packer, bytes, count);
    ck_assert_int_eq(check(&packer, &error), OMEN_E_PAYLOAD);
    ck_assert_msg(strstr(error.text, part) != NULL, "\"%s\" does not say \"%s\"", error.text, part);
}
#define EXPECT_REFUSED(literal, part) expect_refused(literal, sizeof(literal) - 1, part)

START_TEST(malformed_payloads_are_refused_with_what_is_wrong)
{
    EXPECT_REFUSED("", "empty");
    EXPECT_REFUSED("\x01", "one integer");
    EXPECT_REFUSED("\x90", "one array");
    EXPECT_REFUSED("\xc1", "byte 0");
    EXPECT_REFUSED("\x81\x01\x02", "no string but integer");
    EXPECT_REFUSED("\x81\xa1\xff\x02", "not UTF-8, at byte 1");
    EXPECT_REFUSED("\x81\xa1"
                   "a\xa2\xed\xa0",
                   "not UTF-8, at byte 3");
    EXPECT_REFUSED("\x82\xa1"
                   "a\x01\xa1"
                   "a\x02",
                   "\"a\" twice, at byte 4");
    EXPECT_REFUSED("\x81\xa1"
                   "b\x82\xa1"
                   "a\x01\xa1"
                   "a\x02",
                   "\"a\" twice, at byte 7");
    EXPECT_REFUSED("\x81\xa1"
                   "a\xd4\xff\x01",
                   "timestamp at byte 3");
    EXPECT_REFUSED("\x81\xa1"
                   "a\xd7\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                   "timestamp at byte 3");
}
END_TEST

static void
pack_nested(struct packer *packer, uint32_t depth)
{
    packer->count = 0;
    for (uint32_t i = 0; i < depth; i++) {
        pack_map(packer, 1);
        pack_text(packer, "a");
    }
    pack_int(packer, 1);
}

START_TEST(depth_at_the_limit_passes_and_one_deeper_does_not)
{
    struct packer packer;
    struct omen_error error;
    pack_nested(&packer, PAYLOAD_DEPTH_MAX);
    ck_assert_int_eq(check(&packer, NULL), OMEN_OK);
    pack_nested(&packer, PAYLOAD_DEPTH_MAX + 1);
    ck_assert_int_eq(check(&packer, &error), OMEN_E_PAYLOAD);
    ck_assert_ptr_nonnull(strstr(error.text, "deeper than 16"));
}
END_TEST

START_TEST(size_at_the_limit_passes_and_one_byte_more_does_not)
{
    static const uint8_t zeros[PAYLOAD_BYTES_MAX];
    for (size_t more = 0; more < 2; more++) {
        struct packer packer = {.count = 0};
        pack_map(&packer, 1);
        pack_text(&packer, "a");
        pack_binary(&packer, zeros, PAYLOAD_BYTES_MAX - 8 + more);
        ck_assert_uint_eq(packer.count, PAYLOAD_BYTES_MAX + more);
        ck_assert_int_eq(check(&packer, NULL), more == 0 ? OMEN_OK : OMEN_E_PAYLOAD);
    }
    // As many values as bytes allow: the node limit cannot be passed within the size limit.
    struct packer packer = {.count = 0};
    pack_map(&packer, 1);
    pack_text(&packer, "a");
    pack_array(&packer, PAYLOAD_BYTES_MAX - 8);
    for (uint32_t i = 0; i < PAYLOAD_BYTES_MAX - 8; i++)
        pack_nil(&packer);
    ck_assert_uint_eq(packer.count, PAYLOAD_BYTES_MAX);
    ck_assert_int_eq(check(&packer, NULL), OMEN_OK);
}
END_TEST

START_TEST(map_of_thirteen_thousand_keys_is_searched_for_duplicates)
{
    for (int twice = 0; twice < 2; twice++) {
        struct packer packer = {.count = 0};
        const uint32_t keys = 13000;
        pack_map(&packer, keys);
        for (uint32_t i = 0; i < keys; i++) {
            const uint32_t name = twice && i == keys - 1 ? 17 : i;
            const char key[3] = {(char)('0' + name % 50), (char)('0' + name / 50 % 50),
                                 (char)('0' + name / 2500)};
            pack_string(&packer, key, sizeof key);
            pack_nil(&packer);
        }
        ck_assert_int_eq(check(&packer, NULL), twice ? OMEN_E_PAYLOAD : OMEN_OK);
    }
}
END_TEST

static Suite *
msgpack_suite(void)
{
    Suite *suite = suite_create("base/msgpack");
    TCase *reader = tcase_create("reader");
    tcase_add_test(reader, integers_of_every_width_read_as_their_value);
    tcase_add_test(reader, floats_and_timestamps_read_as_their_value);
    tcase_add_test(reader, head_that_announces_more_than_is_there_is_refused_and_reader_stays);
    tcase_add_loop_test(reader, random_bytes_read_as_msgpack_c_reads_them, 0, 5);
    suite_add_tcase(suite, reader);
    TCase *payloads = tcase_create("payloads");
    tcase_add_test(payloads, every_prefix_of_a_payload_is_refused_and_the_whole_is_not);
    tcase_add_test(payloads, malformed_payloads_are_refused_with_what_is_wrong);
    tcase_add_test(payloads, depth_at_the_limit_passes_and_one_deeper_does_not);
    tcase_add_test(payloads, size_at_the_limit_passes_and_one_byte_more_does_not);
    tcase_add_test(payloads, map_of_thirteen_thousand_keys_is_searched_for_duplicates);
    suite_add_tcase(suite, payloads);
    return suite;
}

CHECK_MAIN(msgpack_suite)
