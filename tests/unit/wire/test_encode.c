// tests/unit/wire/test_encode.c -- what is packed is read back, in its shortest form, within the limit, and when memory is short.
#include "wire/encode.h"

#include <string.h>

#include "base/alloc.h"
#include "tests/lib/check_main.h"

static struct encode encode;

static void
fresh(void)
{
    encode_init(&encode, 1 << 20);
}

static void
tidy_up(void)
{
    mem_fail_after(0);
    encode_fini(&encode);
}

static struct wire_bytes
packed(void)
{
    ck_assert_int_eq(encode.status, OMEN_OK);
    return (struct wire_bytes){encode.bytes, (uint32_t)encode.count};
}

START_TEST(what_is_packed_is_read_back)
{
    encode_array(&encode, 10);
    encode_nil(&encode);
    encode_bool(&encode, 1);
    encode_u64(&encode, UINT64_MAX);
    encode_i64(&encode, INT64_MIN);
    encode_real(&encode, -0.125);
    encode_float(&encode, 0.5f);
    encode_text(&encode, wire_text_of("Oslo"));
    encode_bytes(&encode, (struct wire_bytes){(const uint8_t *)"\1\2", 2});
    encode_ext(&encode, 3, (struct wire_bytes){(const uint8_t *)"abc", 3});
    encode_map(&encode, 0);
    struct decode decode;
    decode_init(&decode, packed(), &decode_after_hello, NULL);
    ck_assert_uint_eq(decode_array(&decode), 10);
    ck_assert(decode_take_nil(&decode));
    ck_assert(decode_bool(&decode));
    ck_assert(decode_u64(&decode, 0, UINT64_MAX) == UINT64_MAX);
    ck_assert(decode_i64(&decode) == INT64_MIN);
    ck_assert(decode_real(&decode) == -0.125);
    ck_assert(decode_real(&decode) == 0.5);
    ck_assert_uint_eq(decode_text(&decode, 4, 4).count, 4);
    ck_assert_uint_eq(decode_bytes(&decode, 2, 2).count, 2);
    struct msgpack_value value;
    ck_assert(decode_next(&decode, &value) && value.kind == MSGPACK_EXT && value.ext_type == 3);
    ck_assert_uint_eq(decode_map(&decode), 0);
    decode_close(&decode);
    decode_close(&decode);
    ck_assert_int_eq(decode_end(&decode), OMEN_OK);
}
END_TEST

START_TEST(integers_take_the_shortest_form)
{
    static const struct {
        uint64_t number;
        size_t bytes;
    } forms[] = {{127, 1}, {128, 2}, {255, 2}, {256, 3}, {65536, 5}, {UINT32_MAX + 1ull, 9}};
    encode_u64(&encode, forms[_i].number);
    ck_assert_uint_eq(packed().count, forms[_i].bytes);
}
END_TEST

START_TEST(plain_numbers_are_little_endian)
{
    encode_plain(&encode, 0x0102030405060708, 8);
    encode_plain(&encode, 0xabcd, 2);
    ck_assert_uint_eq(packed().count, 10);
    ck_assert(memcmp(encode.bytes, "\x08\x07\x06\x05\x04\x03\x02\x01\xcd\xab", 10) == 0);
}
END_TEST

START_TEST(the_buffer_ends_at_its_limit)
{
    for (uint32_t more = 0; more < 2; more++) {
        encode_fini(&encode);
        encode_init(&encode, 1000);
        static const uint8_t zeros[1001];
        encode_raw(&encode, zeros, 1000 + more);
        ck_assert_int_eq(encode.status, more == 0 ? OMEN_OK : OMEN_E_FULL);
        ck_assert_uint_eq(encode.count, more == 0 ? 1000 : 0);
        encode_nil(&encode);
        ck_assert_int_eq(encode.status, OMEN_E_FULL);
        ck_assert_ptr_null(encode_reserve(&encode, 0));
    }
}
END_TEST

START_TEST(a_failure_stays_until_it_is_rewound)
{
    encode_u64(&encode, 7);
    const size_t before = encode.count;
    ck_assert_ptr_null(encode_reserve(&encode, 2 << 20));
    encode_u64(&encode, 8);
    ck_assert_int_eq(encode.status, OMEN_E_FULL);
    ck_assert_uint_eq(encode.count, before);
    encode_rewind(&encode, before);
    encode_u64(&encode, 9);
    ck_assert_uint_eq(packed().count, 2);
    encode_reset(&encode);
    ck_assert_uint_eq(packed().count, 0);
}
END_TEST

START_TEST(memory_that_is_short_is_a_status)
{
    static const uint8_t zeros[5000];
    encode_raw(&encode, zeros, 100);
    mem_fail_after(1);
    encode_raw(&encode, zeros, sizeof zeros);
    ck_assert_int_eq(encode.status, OMEN_E_NO_MEMORY);
    ck_assert_uint_eq(encode.count, 100);
    mem_fail_after(0);
    encode_rewind(&encode, 100);
    encode_raw(&encode, zeros, sizeof zeros);
    ck_assert_uint_eq(packed().count, 5100);
}
END_TEST

static Suite *
encode_suite(void)
{
    Suite *suite = suite_create("wire/encode");
    TCase *tcase = tcase_create("encode");
    tcase_add_checked_fixture(tcase, fresh, tidy_up);
    tcase_add_test(tcase, what_is_packed_is_read_back);
    tcase_add_loop_test(tcase, integers_take_the_shortest_form, 0, 6);
    tcase_add_test(tcase, plain_numbers_are_little_endian);
    tcase_add_test(tcase, the_buffer_ends_at_its_limit);
    tcase_add_test(tcase, a_failure_stays_until_it_is_rewound);
    tcase_add_test(tcase, memory_that_is_short_is_a_status);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(encode_suite)
