// tests/unit/wire/test_decode.c -- every limit at it and one past it, every kind where another is expected, and the sentences.
#include "wire/decode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/check_main.h"
#include "tests/lib/packer.h"

static const struct decode_limits tight = {.bytes_max = 1 << 20, .depth_max = 4, .nodes_max = 16};

static struct packer packed;
static struct omen_error error;
static uint8_t *copy; // exactly as long as what was packed, so that one byte too many is seen

static void
fresh(void)
{
    packed.count = 0;
    error = (struct omen_error){0};
    copy = NULL;
}

static void
tidy_up(void)
{
    free(copy);
}

static struct decode
begin(const struct decode_limits *limits)
{
    free(copy);
    copy = malloc(packed.count > 0 ? packed.count : 1);
    memcpy(copy, packed.bytes, packed.count);
    struct decode decode;
    decode_init(&decode, (struct wire_bytes){copy, (uint32_t)packed.count}, limits, &error);
    return decode;
}

START_TEST(scalars_come_as_they_were_packed)
{
    pack_array(&packed, 7);
    pack_bool(&packed, true);
    pack_int(&packed, 41);
    pack_int(&packed, -7);
    pack_double(&packed, 0.5);
    pack_text(&packed, "Troms\xc3\xb8");
    pack_binary(&packed, "\0\1", 2);
    pack_nil(&packed);
    struct decode decode = begin(&tight);
    ck_assert_uint_eq(decode_array(&decode), 7);
    ck_assert(decode_bool(&decode));
    ck_assert_uint_eq(decode_u64(&decode, 41, 41), 41);
    ck_assert_int_eq(decode_i64(&decode), -7);
    ck_assert(decode_real(&decode) == 0.5);
    const struct wire_text text = decode_text(&decode, 1, 8);
    ck_assert(text.count == 7 && memcmp(text.bytes, "Troms\xc3\xb8", 7) == 0);
    ck_assert(text.bytes > (const char *)copy &&
              text.bytes < (const char *)copy + packed.count); // borrowed
    const struct wire_bytes bytes = decode_bytes(&decode, 2, 2);
    ck_assert(bytes.count == 2 && memcmp(bytes.bytes, "\0\1", 2) == 0);
    ck_assert(decode_take_nil(&decode));
    decode_close(&decode);
    ck_assert_int_eq(decode_end(&decode), OMEN_OK);
}
END_TEST

START_TEST(an_integer_is_a_real_and_a_real_is_no_integer)
{
    pack_int(&packed, 3);
    struct decode decode = begin(&tight);
    ck_assert(decode_real(&decode) == 3.0);
    packed.count = 0;
    pack_double(&packed, 3.0);
    decode = begin(&tight);
    ck_assert_uint_eq(decode_u64(&decode, 0, 9), 0);
    ck_assert_str_eq(error.text, "the message is a float, expected an integer (byte 0)");
}
END_TEST

START_TEST(what_is_not_finite_is_no_real)
{
    static const double bad[] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
    pack_double(&packed, bad[_i]);
    struct decode decode = begin(&tight);
    ck_assert(decode_real(&decode) == 0.0);
    ck_assert_int_eq(decode_end(&decode), OMEN_E_INVALID);
}
END_TEST

START_TEST(an_integer_is_refused_one_past_each_limit)
{
    static const int64_t numbers[] = {1, 2, 9, 10, -1};
    pack_int(&packed, numbers[_i]);
    struct decode decode = begin(&tight);
    const uint64_t got = decode_u64(&decode, 2, 9);
    ck_assert_int_eq(decode_end(&decode) == OMEN_OK, _i == 1 || _i == 2);
    ck_assert_uint_eq(got, _i == 1 ? 2 : _i == 2 ? 9 : 0);
    if (_i == 4)
        ck_assert_str_eq(error.text, "the message is -1, expected 2..9 (byte 0)");
}
END_TEST

START_TEST(the_largest_integers_pass_whole)
{
    pack_uint(&packed, UINT64_MAX);
    struct decode decode = begin(&tight);
    ck_assert(decode_u64(&decode, 0, UINT64_MAX) == UINT64_MAX);
    decode = begin(&tight);
    ck_assert_int_eq(decode_i64(&decode), 0);
    ck_assert_int_eq(decode_end(&decode), OMEN_E_INVALID);
}
END_TEST

START_TEST(lengths_are_limited_on_both_sides)
{
    for (uint32_t length = 0; length < 6; length++) {
        packed.count = 0;
        pack_string(&packed, "abcdef", length);
        pack_binary(&packed, "abcdef", length);
        struct decode decode = begin(&tight);
        ck_assert_uint_eq(decode_text(&decode, 2, 4).count,
                          length >= 2 && length <= 4 ? length : 0);
        ck_assert_int_eq(decode.status == OMEN_OK, length >= 2 && length <= 4);
        if (decode.status == OMEN_OK)
            ck_assert_uint_eq(decode_bytes(&decode, 2, 4).count, length);
    }
}
END_TEST

START_TEST(a_text_is_utf8)
{
    pack_string(&packed, "\xff", 1);
    struct decode decode = begin(&tight);
    decode_text(&decode, 0, 9);
    ck_assert_int_eq(decode_end(&decode), OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "UTF-8"));
}
END_TEST

START_TEST(a_count_needs_a_byte_for_each_object_before_anybody_believes_it)
{
    static const uint8_t heads[][6] = {
        {0xdd, 0xff, 0xff, 0xff, 0xff, 0}, {0xdf, 0xff, 0xff, 0xff, 0xff, 0},
        {0xdd, 0x10, 0, 0, 0, 0},          {0xdf, 0x80, 0, 0, 0, 0},
        {0xdb, 0xff, 0xff, 0xff, 0xff, 0}, {0xc6, 0xff, 0xff, 0xff, 0xff, 0},
        {0xc9, 0xff, 0xff, 0xff, 0xff, 0}, {0xdc, 0, 2, 0, 0, 0},
    };
    const size_t count = heads[_i][0] == 0xdc ? 4 : 6;
    pack_raw(&packed, heads[_i], count);
    struct decode decode = begin(&decode_after_hello);
    ck_assert_uint_eq(decode_raw(&decode).count, 0);
    ck_assert_int_eq(decode_end(&decode), OMEN_E_INVALID);
    decode = begin(&decode_after_hello);
    ck_assert_uint_eq(decode_array(&decode), 0);
    decode = begin(&decode_after_hello);
    ck_assert_uint_eq(decode_map(&decode), 0);
    decode = begin(&decode_after_hello);
    uint32_t numbers;
    ck_assert_uint_eq(decode_numbers(&decode, 0, UINT32_MAX, &numbers).count, 0);
    ck_assert_int_eq(decode_end(&decode), OMEN_E_INVALID);
}
END_TEST

START_TEST(depth_is_limited_for_what_is_read_and_for_what_is_passed_over)
{
    for (uint32_t i = 0; i < 4; i++)
        pack_array(&packed, 1);
    pack_int(&packed, 1);
    struct decode decode = begin(&tight);
    ck_assert_uint_eq(decode_raw(&decode).count, 5);
    ck_assert_int_eq(decode_end(&decode), OMEN_OK);
    decode = begin(&tight);
    for (uint32_t i = 0; i < 4; i++)
        ck_assert_uint_eq(decode_array(&decode), 1);
    ck_assert_uint_eq(decode_u64(&decode, 0, 1), 1);
    for (uint32_t i = 0; i < 4; i++)
        decode_close(&decode);
    ck_assert_int_eq(decode_end(&decode), OMEN_OK);

    packed.count = 0;
    for (uint32_t i = 0; i < 5; i++) {
        pack_map(&packed, 1);
        pack_int(&packed, 1);
    }
    pack_int(&packed, 1);
    decode = begin(&tight);
    ck_assert_uint_eq(decode_raw(&decode).count, 0);
    ck_assert_ptr_nonnull(strstr(error.text, "deeper than 4"));
    decode = begin(&tight);
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_uint_eq(decode_map(&decode), 1);
        ck_assert_uint_eq(decode_u64(&decode, 0, 1), 1);
    }
    ck_assert_uint_eq(decode_map(&decode), 0);
    ck_assert_int_eq(decode_end(&decode), OMEN_E_INVALID);
}
END_TEST

START_TEST(what_is_passed_over_is_as_deep_as_where_it_lies)
{
    for (uint32_t inside = 2; inside < 4; inside++) {
        packed.count = 0;
        for (uint32_t i = 0; i < 2 + inside; i++)
            pack_array(&packed, 1);
        pack_int(&packed, 1);
        struct decode decode = begin(&tight);
        ck_assert_uint_eq(decode_array(&decode), 1);
        ck_assert_uint_eq(decode_array(&decode), 1);
        ck_assert_uint_eq(decode_raw(&decode).count, inside == 2 ? 3 : 0);
        ck_assert_int_eq(decode.status == OMEN_OK, inside == 2);
    }
}
END_TEST

START_TEST(objects_are_limited_and_what_is_raw_is_one)
{
    for (uint32_t extra = 0; extra < 2; extra++) {
        packed.count = 0;
        pack_array(&packed, 15 + extra);
        for (uint32_t i = 0; i + 1 < 15 + extra; i++)
            pack_int(&packed, 1);
        pack_array(&packed, 3);
        for (uint32_t i = 0; i < 3; i++)
            pack_nil(&packed);
        struct decode decode = begin(&tight);
        const uint32_t count = decode_array(&decode);
        for (uint32_t i = 0; i + 1 < count; i++)
            decode_u64(&decode, 1, 1);
        ck_assert_uint_eq(decode_raw(&decode).count, extra == 0 ? 4 : 0);
        decode_close(&decode);
        ck_assert_int_eq(decode_end(&decode) == OMEN_OK, extra == 0);
    }
}
END_TEST

START_TEST(a_message_is_not_longer_than_its_limit)
{
    const struct decode_limits limits = {.bytes_max = 3, .depth_max = 2, .nodes_max = 9};
    pack_string(&packed, "ab", 2);
    struct decode decode = begin(&limits);
    ck_assert_uint_eq(decode_text(&decode, 0, 9).count, 2);
    ck_assert_int_eq(decode_end(&decode), OMEN_OK);
    packed.count = 0;
    pack_string(&packed, "abc", 3);
    decode = begin(&limits);
    ck_assert_uint_eq(decode_text(&decode, 0, 9).count, 0);
    ck_assert_int_eq(decode_end(&decode), OMEN_E_INVALID);
    ck_assert_str_eq(error.text, "the message has 4 bytes, more than 3 (byte 0)");
}
END_TEST

START_TEST(numbers_become_floats)
{
    pack_array(&packed, 4);
    pack_int(&packed, -3);
    pack_double(&packed, 0.25);
    pack_uint(&packed, UINT64_MAX);
    pack_byte(&packed, 0xca);
    pack_big_endian(&packed, 0x3f800000, 4);
    struct decode decode = begin(&tight);
    uint32_t count;
    const struct wire_bytes numbers = decode_numbers(&decode, 4, 4, &count);
    ck_assert_int_eq(decode_end(&decode), OMEN_OK);
    ck_assert_uint_eq(count, 4);
    float out[4];
    decode_numbers_read(numbers, out, count);
    ck_assert(out[0] == -3.0f && out[1] == 0.25f && out[2] == 18446744073709551616.0f &&
              out[3] == 1.0f);
}
END_TEST

START_TEST(numbers_are_numbers_that_a_float_can_hold)
{
    pack_array(&packed, 2);
    pack_int(&packed, 1);
    if (_i == 0)
        pack_text(&packed, "x");
    else
        pack_double(&packed, _i == 1 ? 1e39 : (double)NAN);
    struct decode decode = begin(&tight);
    uint32_t count;
    ck_assert_uint_eq(decode_numbers(&decode, 0, 9, &count).count, 0);
    ck_assert_int_eq(decode_end(&decode), _i == 0 ? OMEN_E_INVALID : OMEN_E_NOT_FINITE);
    ck_assert_ptr_nonnull(strstr(error.text, "place 1"));
}
END_TEST

START_TEST(numbers_are_counted_and_not_against_the_objects)
{
    pack_array(&packed, 40);
    for (uint32_t i = 0; i < 40; i++)
        pack_int(&packed, 1);
    for (uint32_t most = 39; most < 41; most++) {
        struct decode decode = begin(&tight);
        uint32_t count;
        decode_numbers(&decode, 1, most, &count);
        ck_assert_uint_eq(count, most == 40 ? 40 : 0);
    }
}
END_TEST

START_TEST(the_first_failure_stays_and_reads_are_zeros_afterwards)
{
    pack_array(&packed, 3);
    pack_text(&packed, "x");
    pack_int(&packed, 7);
    pack_bool(&packed, true);
    struct decode decode = begin(&tight);
    decode_array(&decode);
    decode_enter_key(&decode, "points");
    decode_enter_index(&decode, 3);
    decode_enter_key(&decode, "id");
    decode.about = "point.get";
    ck_assert_uint_eq(decode_u64(&decode, 0, 9), 0);
    decode_leave(&decode);
    decode_leave(&decode);
    decode_leave(&decode);
    ck_assert_uint_eq(decode_u64(&decode, 0, 9), 0);
    ck_assert(!decode_bool(&decode));
    ck_assert(!decode_take_nil(&decode));
    ck_assert_uint_eq(decode_map(&decode), 0);
    ck_assert_int_eq(decode_end(&decode), OMEN_E_INVALID);
    ck_assert_str_eq(error.text,
                     "point.get: points[3].id is a string, expected an integer (byte 1)");
}
END_TEST

START_TEST(nothing_may_follow)
{
    pack_nil(&packed);
    pack_nil(&packed);
    struct decode decode = begin(&tight);
    ck_assert(decode_take_nil(&decode));
    ck_assert_int_eq(decode_end(&decode), OMEN_E_INVALID);
}
END_TEST

START_TEST(nobody_has_to_want_the_sentence)
{
    struct decode decode;
    decode_init(&decode, (struct wire_bytes){(const uint8_t *)"\xc1", 1}, &tight, NULL);
    ck_assert_uint_eq(decode_raw(&decode).count, 0);
    ck_assert_int_eq(decode_end(&decode), OMEN_E_INVALID);
}
END_TEST

START_TEST(every_cut_of_a_message_is_refused)
{
    pack_array(&packed, 3);
    pack_map(&packed, 2);
    pack_text(&packed, "a");
    pack_double(&packed, 1.5);
    pack_text(&packed, "b");
    pack_binary(&packed, "12345", 5);
    pack_time(&packed, 12, 1);
    pack_uint(&packed, UINT64_MAX);
    const size_t whole = packed.count;
    for (size_t count = 0; count <= whole; count++) {
        packed.count = count;
        struct decode decode = begin(&tight);
        ck_assert_uint_eq(decode_raw(&decode).count, count == whole ? whole : 0);
        ck_assert_int_eq(decode_end(&decode) == OMEN_OK, count == whole);
    }
}
END_TEST

static Suite *
decode_suite(void)
{
    Suite *suite = suite_create("wire/decode");
    TCase *tcase = tcase_create("decode");
    tcase_add_checked_fixture(tcase, fresh, tidy_up);
    tcase_add_test(tcase, scalars_come_as_they_were_packed);
    tcase_add_test(tcase, an_integer_is_a_real_and_a_real_is_no_integer);
    tcase_add_loop_test(tcase, what_is_not_finite_is_no_real, 0, 3);
    tcase_add_loop_test(tcase, an_integer_is_refused_one_past_each_limit, 0, 5);
    tcase_add_test(tcase, the_largest_integers_pass_whole);
    tcase_add_test(tcase, lengths_are_limited_on_both_sides);
    tcase_add_test(tcase, a_text_is_utf8);
    tcase_add_loop_test(tcase, a_count_needs_a_byte_for_each_object_before_anybody_believes_it, 0,
                        8);
    tcase_add_test(tcase, depth_is_limited_for_what_is_read_and_for_what_is_passed_over);
    tcase_add_test(tcase, what_is_passed_over_is_as_deep_as_where_it_lies);
    tcase_add_test(tcase, objects_are_limited_and_what_is_raw_is_one);
    tcase_add_test(tcase, a_message_is_not_longer_than_its_limit);
    tcase_add_test(tcase, numbers_become_floats);
    tcase_add_loop_test(tcase, numbers_are_numbers_that_a_float_can_hold, 0, 3);
    tcase_add_test(tcase, numbers_are_counted_and_not_against_the_objects);
    tcase_add_test(tcase, the_first_failure_stays_and_reads_are_zeros_afterwards);
    tcase_add_test(tcase, nothing_may_follow);
    tcase_add_test(tcase, nobody_has_to_want_the_sentence);
    tcase_add_test(tcase, every_cut_of_a_message_is_refused);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(decode_suite)
