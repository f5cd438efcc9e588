// tests/unit/wire/test_frame.c -- the end of a message is found wherever the stream is cut, and never looked for twice.
#include "wire/frame.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/prng.h"
#include "tests/lib/check_main.h"
#include "tests/lib/packer.h"

static const struct decode_limits wide = {.bytes_max = 1 << 20, .depth_max = 8};
static struct packer packed;
static struct frame frame;

static void
fresh(void)
{
    packed.count = 0;
    frame_init(&frame, &wide);
}

static void
pack_call(void)
{
    pack_array(&packed, 4);
    pack_int(&packed, 0);
    pack_uint(&packed, 77);
    pack_text(&packed, "point.get");
    pack_array(&packed, 1);
    pack_map(&packed, 2);
    pack_text(&packed, "collection");
    pack_text(&packed, "docs");
    pack_text(&packed, "ids");
    pack_array(&packed, 3);
    pack_int(&packed, 1);
    pack_double(&packed, 2.0);
    pack_time(&packed, 3, 4);
}

START_TEST(a_message_ends_where_its_array_does)
{
    pack_call();
    const size_t first = packed.count;
    pack_array(&packed, 3);
    pack_int(&packed, 2);
    pack_text(&packed, "hello");
    pack_array(&packed, 0);
    size_t message;
    ck_assert_int_eq(frame_find(&frame, packed.bytes, packed.count, &message), FRAME_WHOLE);
    ck_assert_uint_eq(message, first);
    ck_assert_int_eq(frame_find(&frame, packed.bytes + first, packed.count - first, &message),
                     FRAME_WHOLE);
    ck_assert_uint_eq(first + message, packed.count);
    ck_assert_int_eq(frame_find(&frame, packed.bytes, 0, &message), FRAME_MORE);
}
END_TEST

START_TEST(every_cut_needs_more_and_wants_no_more_than_there_is)
{
    pack_call();
    for (size_t cut = 0; cut < packed.count; cut++) {
        fresh();
        pack_call();
        size_t message;
        ck_assert_int_eq(frame_find(&frame, packed.bytes, cut, &message), FRAME_MORE);
        ck_assert_uint_eq(message, 0);
        ck_assert_uint_le(frame_wanted(&frame), packed.count);
        ck_assert_int_eq(frame_find(&frame, packed.bytes, packed.count, &message), FRAME_WHOLE);
        ck_assert_uint_eq(message, packed.count);
    }
}
END_TEST

// The last object's body is there only together with the next message.
START_TEST(a_late_body_does_not_eat_the_next_message)
{
    pack_array(&packed, 3);
    pack_int(&packed, 2);
    pack_text(&packed, "x");
    pack_binary(&packed, "0123456789", 10);
    const size_t first = packed.count;
    pack_call();
    size_t message;
    ck_assert_int_eq(frame_find(&frame, packed.bytes, first - 4, &message), FRAME_MORE);
    ck_assert_uint_eq(frame_wanted(&frame), first);
    ck_assert_int_eq(frame_find(&frame, packed.bytes, packed.count, &message), FRAME_WHOLE);
    ck_assert_uint_eq(message, first);
}
END_TEST

static void
pack_random(struct prng *prng, uint32_t depth)
{
    static const char bytes[70000];
    const uint32_t kind = prng_below(prng, depth < 6 ? 11 : 8);
    const uint32_t length =
        prng_below(prng, 8) == 0 ? prng_below(prng, 3000) : prng_below(prng, 40);
    switch (kind) {
    case 0:
        pack_nil(&packed);
        return;
    case 1:
        pack_int(&packed, (int64_t)prng_next(prng));
        return;
    case 2:
        pack_double(&packed, 0.5);
        return;
    case 3:
        pack_time(&packed, 1, 2);
        return;
    case 4:
    case 5:
        pack_string(&packed, bytes, length);
        return;
    case 6:
        pack_binary(&packed, bytes, length);
        return;
    case 7: // the heads that packer.h does not write: fixext1..16, ext8, bin8, str8, u8, u16, f32
        pack_byte(&packed, 0xd4 + prng_below(prng, 5));
        pack_raw(&packed, bytes, 1 + ((size_t)1 << (packed.bytes[packed.count - 1] - 0xd4)));
        return;
    default:
        break;
    }
    const uint32_t count = prng_below(prng, 4);
    const uint32_t objects = kind == 8 ? 2 * count : count;
    if (kind == 8)
        pack_map(&packed, count);
    else
        pack_array(&packed, count);
    for (uint32_t i = 0; i < objects; i++)
        pack_random(prng, depth + 1);
}

START_TEST(random_streams_in_random_pieces_split_as_msgpack_skip_does)
{
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    while (packed.count < 20000) {
        pack_array(&packed, 3);
        pack_int(&packed, 2);
        pack_random(&prng, 1);
        pack_random(&prng, 1);
    }
    size_t start = 0, there = 0;
    while (start < packed.count) {
        struct msgpack_reader reader = {packed.bytes + start, packed.bytes + packed.count};
        ck_assert(msgpack_skip(&reader));
        const size_t expected = (size_t)(reader.at - packed.bytes) - start;
        size_t message = 0;
        enum frame_result result;
        while ((result = frame_find(&frame, packed.bytes + start, there - start, &message)) ==
               FRAME_MORE) {
            ck_assert_uint_lt(there - start, expected);
            ck_assert_uint_le(frame_wanted(&frame), expected);
            there += 1 + prng_below(&prng, prng_below(&prng, 2) == 0 ? 3 : 2000);
            there = there < packed.count ? there : packed.count;
        }
        ck_assert_int_eq(result, FRAME_WHOLE);
        ck_assert_uint_eq(message, expected);
        start += message;
    }
}
END_TEST

START_TEST(what_is_not_rpc_is_refused_at_its_first_byte)
{
    static const char *const others[] = {"GET / HTTP/1.1", "\x16\x03\x01", "\x90",
                                         "\x91\x00",       "\x92\x00\x00", "\x95",
                                         "\x82",           "\xc0",         "\xa3get"};
    size_t message;
    ck_assert_int_eq(frame_find(&frame, (const uint8_t *)others[_i], 1, &message), FRAME_REFUSED);
    ck_assert_int_eq(frame.reason, FRAME_NOT_RPC);
    ck_assert_uint_eq(frame.refused[FRAME_NOT_RPC], 1);
    pack_call();
    ck_assert_int_eq(frame_find(&frame, packed.bytes, packed.count, &message), FRAME_REFUSED);
    ck_assert_uint_eq(frame.refused[FRAME_NOT_RPC], 1); // once for a connection
}
END_TEST

START_TEST(long_heads_of_the_array_are_rpc_too)
{
    static const uint8_t heads[2][5] = {{0xdc, 0, 3}, {0xdd, 0, 0, 0, 3}};
    pack_raw(&packed, heads[_i], _i == 0 ? 3 : 5);
    pack_int(&packed, 2);
    pack_text(&packed, "x");
    pack_array(&packed, 0);
    size_t message;
    ck_assert_int_eq(frame_find(&frame, packed.bytes, packed.count, &message), FRAME_WHOLE);
    ck_assert_uint_eq(message, packed.count);
}
END_TEST

START_TEST(the_byte_that_never_is_is_refused)
{
    size_t message;
    ck_assert_int_eq(frame_find(&frame, (const uint8_t *)"\x93\xc1", 2, &message), FRAME_REFUSED);
    ck_assert_int_eq(frame.reason, FRAME_MALFORMED);
}
END_TEST

START_TEST(a_message_may_be_as_long_as_the_limit_and_no_longer)
{
    for (uint32_t more = 0; more < 2; more++) {
        const struct decode_limits limits = {.bytes_max = WIRE_HELLO_BYTES_MAX, .depth_max = 4};
        packed.count = 0;
        frame_init(&frame, &limits);
        pack_array(&packed, 3);
        pack_int(&packed, 2);
        pack_text(&packed, "x");
        static const char zeros[WIRE_HELLO_BYTES_MAX];
        pack_binary(&packed, zeros, WIRE_HELLO_BYTES_MAX - packed.count - 5 + more);
        ck_assert_uint_eq(packed.count, WIRE_HELLO_BYTES_MAX + more);
        size_t message;
        // It is refused at the head of the binary, 12 bytes in all, not when 4 KiB have come.
        const enum frame_result early = frame_find(&frame, packed.bytes, 12, &message);
        ck_assert_int_eq(early, more == 0 ? FRAME_MORE : FRAME_REFUSED);
        if (more == 0)
            ck_assert_int_eq(frame_find(&frame, packed.bytes, packed.count, &message), FRAME_WHOLE);
        else
            ck_assert_int_eq(frame.reason, FRAME_TOO_LONG);
    }
}
END_TEST

START_TEST(what_is_announced_is_compared_with_the_limit_at_once)
{
    static const struct {
        uint8_t bytes[8];
        uint8_t count;
    } bombs[] = {
        {{0x93, 0xdd, 0xff, 0xff, 0xff, 0xff}, 6},
        {{0x93, 0xdf, 0xff, 0xff, 0xff, 0xff}, 6},
        {{0x93, 0xdb, 0xff, 0xff, 0xff, 0xff}, 6},
        {{0x93, 0xc6, 0xff, 0xff, 0xff, 0xff}, 6},
        {{0x93, 0xc9, 0xff, 0xff, 0xff, 0xff, 0x01}, 7},
        {{0x93, 0xdf, 0x80, 0, 0, 0}, 6},
        {{0x93, 0xdd, 0, 0x10, 0, 0}, 6}, // 2^20 objects in 2^20 bytes, of which some are gone
    };
    size_t message;
    ck_assert_int_eq(frame_find(&frame, bombs[_i].bytes, bombs[_i].count, &message), FRAME_REFUSED);
    ck_assert_int_eq(frame.reason, FRAME_TOO_LONG);
}
END_TEST

// Each array alone is within the limit; what all of them owe together is not.
START_TEST(bombs_do_not_add_up)
{
    const struct decode_limits limits = {.bytes_max = 100, .depth_max = 8};
    frame_init(&frame, &limits);
    static const uint8_t bytes[] = {0x93, 0xdc, 0, 60, 0xdc, 0, 60};
    size_t message;
    ck_assert_int_eq(frame_find(&frame, bytes, 4, &message), FRAME_MORE);
    ck_assert_int_eq(frame_find(&frame, bytes, sizeof bytes, &message), FRAME_REFUSED);
    ck_assert_int_eq(frame.reason, FRAME_TOO_LONG);
}
END_TEST

START_TEST(depth_is_limited)
{
    for (uint32_t depth = 8; depth < 10; depth++) {
        fresh();
        pack_array(&packed, 3);
        pack_int(&packed, 2);
        pack_text(&packed, "x");
        for (uint32_t i = 1; i < depth; i++)
            pack_array(&packed, 1);
        pack_nil(&packed);
        size_t message;
        const enum frame_result result = frame_find(&frame, packed.bytes, packed.count, &message);
        ck_assert_int_eq(result, depth == 8 ? FRAME_WHOLE : FRAME_REFUSED);
        ck_assert_int_eq(frame.reason, depth == 8 ? FRAME_FINE : FRAME_TOO_DEEP);
    }
}
END_TEST

START_TEST(the_limit_grows_after_hello)
{
    const struct decode_limits small = {.bytes_max = 16, .depth_max = 8};
    frame_init(&frame, &small);
    pack_array(&packed, 3);
    pack_int(&packed, 2);
    pack_text(&packed, "hi");
    pack_array(&packed, 0);
    size_t message;
    ck_assert_int_eq(frame_find(&frame, packed.bytes, packed.count, &message), FRAME_WHOLE);
    frame_limit(&frame, &wide);
    packed.count = 0;
    pack_call();
    ck_assert_int_eq(frame_find(&frame, packed.bytes, packed.count, &message), FRAME_WHOLE);
}
END_TEST

// One look at each head: a million calls, each with one byte more, are a million steps.
START_TEST(a_message_that_comes_byte_by_byte_takes_linear_time)
{
    enum { BYTES = 1000000 };
    uint8_t *bytes = malloc(BYTES + 16);
    memcpy(bytes, "\x93\x02\xa1x\xdd\x00\x0f\x42\x40", 9); // 1,000,000 objects
    memset(bytes + 9, 7, BYTES);
    const struct decode_limits limits = {.bytes_max = 2 * BYTES, .depth_max = 4};
    frame_init(&frame, &limits);
    size_t message;
    for (size_t count = 1; count < BYTES + 9; count++)
        ck_assert(frame_find(&frame, bytes, count, &message) == FRAME_MORE);
    ck_assert_int_eq(frame_find(&frame, bytes, BYTES + 9, &message), FRAME_WHOLE);
    ck_assert_uint_eq(message, BYTES + 9);
    free(bytes);
}
END_TEST

START_TEST(reasons_have_names)
{
    ck_assert_str_eq(frame_reason_name(FRAME_NOT_RPC), "not_rpc");
    ck_assert_str_eq(frame_reason_name(FRAME_TOO_DEEP), "too_deep");
}
END_TEST

static Suite *
frame_suite(void)
{
    Suite *suite = suite_create("wire/frame");
    TCase *tcase = tcase_create("frame");
    tcase_add_checked_fixture(tcase, fresh, NULL);
    tcase_add_test(tcase, a_message_ends_where_its_array_does);
    tcase_add_test(tcase, every_cut_needs_more_and_wants_no_more_than_there_is);
    tcase_add_test(tcase, a_late_body_does_not_eat_the_next_message);
    tcase_add_loop_test(tcase, random_streams_in_random_pieces_split_as_msgpack_skip_does, 0, 20);
    tcase_add_loop_test(tcase, what_is_not_rpc_is_refused_at_its_first_byte, 0, 9);
    tcase_add_loop_test(tcase, long_heads_of_the_array_are_rpc_too, 0, 2);
    tcase_add_test(tcase, the_byte_that_never_is_is_refused);
    tcase_add_test(tcase, a_message_may_be_as_long_as_the_limit_and_no_longer);
    tcase_add_loop_test(tcase, what_is_announced_is_compared_with_the_limit_at_once, 0, 7);
    tcase_add_test(tcase, bombs_do_not_add_up);
    tcase_add_test(tcase, depth_is_limited);
    tcase_add_test(tcase, the_limit_grows_after_hello);
    tcase_add_test(tcase, a_message_that_comes_byte_by_byte_takes_linear_time);
    tcase_add_test(tcase, reasons_have_names);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(frame_suite)
