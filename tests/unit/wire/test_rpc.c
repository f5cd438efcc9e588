// tests/unit/wire/test_rpc.c -- requests and answers as bytes that were written down by hand, the forms that old clients send, and
// every form of an error.
#include "wire/rpc.h"

#include <string.h>

#include "base/limits.h"
#include "tests/lib/check_main.h"
#include "tests/lib/packer.h"

static struct packer packed;
static struct encode encode;
static struct omen_error error;
static struct rpc_message message;

static void
fresh(void)
{
    packed.count = 0;
    error = (struct omen_error){0};
    encode_init(&encode, 1 << 24);
}

static void
tidy_up(void)
{
    encode_fini(&encode);
}

static omen_status
read_packed(void)
{
    return rpc_read((struct wire_bytes){packed.bytes, (uint32_t)packed.count}, &decode_after_hello,
                    &message, &error);
}

static omen_status
read_encoded(void)
{
    ck_assert_int_eq(encode.status, OMEN_OK);
    return rpc_read((struct wire_bytes){encode.bytes, (uint32_t)encode.count}, &decode_after_hello,
                    &message, &error);
}

static bool
is(struct wire_text text, const char *expected)
{
    return text.count == strlen(expected) && memcmp(text.bytes, expected, text.count) == 0;
}

static const struct method *
method_named(const char *name)
{
    const struct method *method = method_find(wire_text_of(name));
    ck_assert_ptr_nonnull(method);
    return method;
}

// [0, 7, "point.get", [{"collection": "docs", "ids": [1, "a"], "with": ["vector"]}]], byte for byte as the specification has it.
static const uint8_t get_bytes[] = "\x94\x00\x07\xa9point.get\x91\x83\xaa"
                                   "collection\xa4"
                                   "docs\xa3ids\x92\x01\xa1"
                                   "a\xa4with\x91\xa6vector";

START_TEST(a_request_is_read_and_written_as_the_specification_has_it)
{
    pack_raw(&packed, get_bytes, sizeof get_bytes - 1);
    ck_assert_int_eq(read_packed(), OMEN_OK);
    ck_assert_int_eq(message.kind, RPC_REQUEST);
    ck_assert_uint_eq(message.id, 7);
    ck_assert(is(message.method, "point.get"));
    struct api_point_get get;
    const struct method *method = method_find(message.method);
    ck_assert_int_eq(rpc_read_ask(&message, method, &decode_after_hello, &get, &error), OMEN_OK);
    ck_assert(is(get.collection, "docs"));
    ck_assert_uint_eq(get.with, API_WITH_VECTOR);
    ck_assert_uint_eq(get.ids.count, 2);
    struct list_cursor cursor;
    struct wire_id id;
    ids_begin(&cursor, &get.ids);
    ck_assert(list_next(&cursor, &id) && id.number == 1 && id.text_bytes == 0);
    ck_assert(list_next(&cursor, &id) && id.text_bytes == 1 && id.text[0] == 'a');
    ck_assert(!list_next(&cursor, &id));

    const struct wire_id ids[] = {{.number = 1, .given = 1},
                                  {.text = "a", .text_bytes = 1, .given = 1}};
    const struct api_point_get same = {.collection = wire_text_of("docs"),
                                       .ids = {.count = 2, .items = ids},
                                       .with = API_WITH_VECTOR};
    rpc_write_ask(&encode, 7, method, &same);
    ck_assert_uint_eq(encode.count, sizeof get_bytes - 1);
    ck_assert(memcmp(encode.bytes, get_bytes, encode.count) == 0);
}
END_TEST

START_TEST(an_answer_comes_back_with_the_number_of_its_request)
{
    const struct wire_token token = {.shard = 3, .term = 2, .seq = 99};
    const struct api_written written = {.count = 5, .token = {.count = 1, .items = &token}};
    rpc_write_answer(&encode, UINT32_MAX, method_named("point.upsert"), &written);
    ck_assert_int_eq(read_encoded(), OMEN_OK);
    ck_assert_int_eq(message.kind, RPC_ANSWER);
    ck_assert_uint_eq(message.id, UINT32_MAX);
    ck_assert_uint_eq(message.error.count, 0);
    struct api_written got;
    ck_assert_int_eq(rpc_read_answer(&message, method_named("point.upsert"), &got, &error),
                     OMEN_OK);
    ck_assert_uint_eq(got.count, 5);
    struct list_cursor cursor;
    struct wire_token came;
    token_begin(&cursor, &got.token);
    ck_assert(list_next(&cursor, &came) && memcmp(&came, &token, sizeof token) == 0);
}
END_TEST

static void
pack_head(uint32_t count, int64_t kind)
{
    pack_array(&packed, count);
    pack_int(&packed, kind);
}

START_TEST(what_is_no_message_is_refused_and_nobody_is_answered)
{
    switch (_i) {
    case 0: // a kind that there is not
        pack_head(4, 3);
        break;
    case 1: // a notification of four
        pack_head(4, 2);
        break;
    case 2: // a request of three
        pack_head(3, 0);
        break;
    case 3:
        pack_map(&packed, 2);
        break;
    case 4: // a number beyond 32 bits
        pack_head(4, 0);
        pack_uint(&packed, 1ull << 32);
        break;
    default: // the number is a text
        pack_head(4, 0);
        pack_text(&packed, "1");
    }
    for (uint32_t i = 0; i < 4; i++)
        pack_text(&packed, "x");
    ck_assert_int_eq(read_packed(), OMEN_E_INVALID);
    ck_assert_int_ne(message.kind, RPC_REQUEST);
    ck_assert_uint_gt(strlen(error.text), 10);
}
END_TEST

// Each would be sound if only its kind had so many elements.
START_TEST(a_message_has_as_many_elements_as_its_kind)
{
    static const struct {
        int64_t kind;
        uint32_t count;
    } cases[] = {{0, 3}, {0, 4}, {1, 3}, {1, 4}, {2, 3}, {2, 4}};
    const int64_t kind = cases[_i].kind;
    pack_head(cases[_i].count, kind);
    if (kind != 2)
        pack_int(&packed, 1);
    if (kind == 1)
        pack_nil(&packed);
    else
        pack_text(&packed, "system.ping");
    if (kind == 2 && cases[_i].count == 4) // one more than it should have
        pack_nil(&packed);
    if (cases[_i].count == 4 || kind == 2)
        pack_array(&packed, 0);
    const bool right = cases[_i].count == (kind == 2 ? 3 : 4);
    ck_assert_int_eq(read_packed(), right ? OMEN_OK : OMEN_E_INVALID);
    if (!right)
        ck_assert_ptr_nonnull(strstr(error.text, "elements, expected"));
}
END_TEST

START_TEST(a_request_that_is_wrong_behind_its_number_can_be_answered)
{
    pack_head(4, 0);
    pack_int(&packed, 9);
    if (_i == 0) {
        pack_int(&packed, 1);
        pack_array(&packed, 0);
    } else { // a method's name that is too long
        static const char name[RPC_METHOD_BYTES_MAX + 1];
        pack_string(&packed, name, sizeof name);
        pack_array(&packed, 0);
    }
    ck_assert_int_eq(read_packed(), OMEN_E_INVALID);
    ck_assert_int_eq(message.kind, RPC_REQUEST);
    ck_assert_uint_eq(message.id, 9);
}
END_TEST

START_TEST(a_notification_has_no_number)
{
    pack_head(3, 2);
    pack_text(&packed, "nvim_set_client_info");
    pack_array(&packed, 2);
    pack_text(&packed, "x");
    pack_map(&packed, 0);
    ck_assert_int_eq(read_packed(), OMEN_OK);
    ck_assert_int_eq(message.kind, RPC_NOTIFICATION);
    ck_assert_ptr_null(method_find(message.method));
}
END_TEST

START_TEST(params_may_be_missing_nil_or_a_map_without_its_array)
{
    pack_head(4, 0);
    pack_int(&packed, 1);
    if (_i == 0)
        pack_binary(&packed, "system.ping", 11); // as old clients pack names
    else
        pack_text(&packed, "system.ping");
    switch (_i) {
    case 0:
    case 1:
        pack_array(&packed, 0);
        break;
    case 2:
        pack_array(&packed, 1);
        pack_nil(&packed);
        break;
    case 3:
        pack_map(&packed, 0);
        break;
    default:
        pack_array(&packed, 1);
        pack_map(&packed, 0);
    }
    ck_assert_int_eq(read_packed(), OMEN_OK);
    struct api_nothing ping;
    ck_assert_int_eq(
        rpc_read_ask(&message, method_named("system.ping"), &decode_after_hello, &ping, &error),
        OMEN_OK);
}
END_TEST

START_TEST(params_that_are_no_map_are_refused_by_the_methods_name)
{
    pack_head(4, 0);
    pack_int(&packed, 1);
    pack_text(&packed, "collection.get");
    pack_array(&packed, _i == 0 ? 2 : _i == 1 ? 1 : 0);
    if (_i < 2)
        pack_text(&packed, "docs");
    if (_i == 0)
        pack_map(&packed, 0);
    ck_assert_int_eq(read_packed(), OMEN_OK);
    struct api_of_collection get;
    ck_assert_int_eq(
        rpc_read_ask(&message, method_named("collection.get"), &decode_after_hello, &get, &error),
        OMEN_E_INVALID);
    static const char *const sentences[] = {
        "collection.get: the message has 2 parameters, expected one map (byte 1)",
        "collection.get: the message is a string, expected a map (byte 1)",
        "collection.get: the message lacks the key 'collection' (byte 1)"};
    ck_assert_str_eq(error.text, sentences[_i]);
}
END_TEST

START_TEST(the_limits_before_hello_are_those_of_a_hello)
{
    const struct api_hello hello = {.client = wire_text_of("test"),
                                    .api_key = wire_text_of("omen_1234"),
                                    .errors = API_ERRORS_MAP};
    rpc_write_ask(&encode, 1, method_named("system.hello"), &hello);
    struct wire_bytes frame = {encode.bytes, (uint32_t)encode.count};
    ck_assert_int_eq(rpc_read(frame, &decode_before_hello, &message, &error), OMEN_OK);
    struct api_hello got;
    ck_assert_int_eq(
        rpc_read_ask(&message, method_named("system.hello"), &decode_before_hello, &got, &error),
        OMEN_OK);
    ck_assert(is(got.api_key, "omen_1234"));
    encode_reset(&encode);
    encode_array(&encode, 4);
    encode_u64(&encode, 0);
    encode_u64(&encode, 1);
    encode_word(&encode, "system.hello");
    static const uint8_t zeros[WIRE_HELLO_BYTES_MAX];
    encode_bytes(&encode, (struct wire_bytes){zeros, WIRE_HELLO_BYTES_MAX - 19 + (uint32_t)_i});
    frame = (struct wire_bytes){encode.bytes, (uint32_t)encode.count};
    ck_assert_int_eq(frame.count > WIRE_HELLO_BYTES_MAX, _i);
    ck_assert_int_eq(rpc_read(frame, &decode_before_hello, &message, &error),
                     _i == 0 ? OMEN_OK : OMEN_E_INVALID);
}
END_TEST

START_TEST(an_error_is_a_text_unless_maps_were_asked_for)
{
    error_set(&error, OMEN_E_NOT_FOUND, "there is no collection 'docs'");
    const struct rpc_error sent = rpc_error_of(&error, API_NOT_APPLIED);
    rpc_write_error(&encode, 3, _i == 0 ? API_ERRORS_TEXT : API_ERRORS_MAP, &sent);
    ck_assert_int_eq(read_encoded(), OMEN_OK);
    ck_assert_uint_gt(message.error.count, 0);
    if (_i == 0) {
        static const char text[] = "\xd9\x28NOT_FOUND: there is no collection 'docs'";
        ck_assert_uint_eq(message.error.count, sizeof text - 1);
        ck_assert(memcmp(message.error.bytes, text, sizeof text - 1) == 0);
    }
    struct rpc_error got;
    ck_assert_int_eq(rpc_read_error(&message, &got, &error), OMEN_OK);
    ck_assert_int_eq(got.status, OMEN_E_NOT_FOUND);
    ck_assert(is(got.name, "NOT_FOUND"));
    ck_assert(is(got.message, "there is no collection 'docs'"));
    ck_assert_uint_eq(got.retryable, 0);
    ck_assert_uint_eq(got.outcome, _i == 0 ? 0 : API_NOT_APPLIED);
}
END_TEST

START_TEST(who_is_refused_for_a_while_is_told_for_how_long)
{
    static const uint32_t waits[] = {0, 1, 127, 65536, UINT32_MAX};
    error_set(&error, OMEN_E_BUSY, "too fast");
    struct rpc_error sent = rpc_error_of(&error, API_NOT_APPLIED), got;
    sent.retry_after_ms = waits[_i];
    rpc_write_error(&encode, 3, API_ERRORS_MAP, &sent);
    ck_assert_int_eq(read_encoded(), OMEN_OK);
    ck_assert_int_eq(rpc_read_error(&message, &got, &error), OMEN_OK);
    ck_assert_uint_eq(got.retry_after_ms, waits[_i]);
    ck_assert_uint_eq(got.details.count > 0, waits[_i] > 0);
    ck_assert_uint_eq(got.retryable, 1);
}
END_TEST

// Of another version: what else there is, before or behind it, and what is no time at all.
START_TEST(what_else_the_details_say_is_passed_over)
{
    static const struct {
        const char *details;
        uint32_t ms;
    } said[] = {
        {"\x83\x07\x91\x01\xaeretry_after_ms\x05\xa1x\xc0", 5},
        {"\x82\xa1x\x81\xa1y\x01\xaeretry_after_ms\xcd\x01\x00", 256},
        {"\x81\xaeretry_after_ms\xa1x", 0},
        {"\x81\xaeretry_after_ms\xcf\x00\x00\x00\x01\x00\x00\x00\x00", 0},
        {"\x93\x01\x02\x03", 0},
        {"\xa1x", 0},
        {"\x80", 0},
    };
    static const size_t counts[] = {23, 25, 18, 25, 4, 2, 1};
    encode_array(&encode, 4);
    encode_u64(&encode, 1);
    encode_u64(&encode, 3);
    encode_map(&encode, 5);
    encode_word(&encode, "code");
    encode_i64(&encode, OMEN_E_BUSY);
    encode_word(&encode, "name");
    encode_word(&encode, "BUSY");
    encode_word(&encode, "message");
    encode_word(&encode, "too fast");
    encode_word(&encode, "retryable");
    encode_bool(&encode, 1);
    encode_word(&encode, "details");
    encode_raw(&encode, said[_i].details, counts[_i]);
    encode_nil(&encode);
    struct rpc_error got;
    ck_assert_int_eq(read_encoded(), OMEN_OK);
    ck_assert_int_eq(rpc_read_error(&message, &got, &error), OMEN_OK);
    ck_assert_int_eq(got.status, OMEN_E_BUSY);
    ck_assert_uint_eq(got.retry_after_ms, said[_i].ms);
}
END_TEST

START_TEST(what_is_worth_trying_again_says_so)
{
    static const omen_status statuses[] = {OMEN_E_BUSY, OMEN_E_STALE_MAP, OMEN_E_TIMEOUT,
                                           OMEN_E_INVALID};
    error_set_plain(&error, statuses[_i]);
    const struct rpc_error sent = rpc_error_of(&error, API_UNKNOWN);
    ck_assert_uint_eq(sent.retryable, _i < 2);
    rpc_write_error(&encode, 3, API_ERRORS_TEXT, &sent);
    ck_assert_int_eq(read_encoded(), OMEN_OK);
    struct rpc_error got;
    ck_assert_int_eq(rpc_read_error(&message, &got, &error), OMEN_OK);
    ck_assert_int_eq(got.status, statuses[_i]);
    ck_assert_uint_eq(got.retryable, _i < 2);
}
END_TEST

START_TEST(an_error_of_another_server_is_still_an_error)
{
    static const char *const texts[] = {"no such method", "WEIRD_NAME: told so", "", ": x"};
    pack_head(4, 1);
    pack_int(&packed, 1);
    pack_text(&packed, texts[_i]);
    pack_nil(&packed);
    ck_assert_int_eq(read_packed(), OMEN_OK);
    struct rpc_error got;
    ck_assert_int_eq(rpc_read_error(&message, &got, &error), OMEN_OK);
    ck_assert_int_eq(got.status, OMEN_E_INTERNAL);
    ck_assert(is(got.message, _i == 1 ? "told so" : _i == 3 ? "x" : texts[_i]));
}
END_TEST

START_TEST(an_error_that_is_neither_text_nor_map_is_refused)
{
    pack_head(4, 1);
    pack_int(&packed, 1);
    pack_int(&packed, -7);
    pack_nil(&packed);
    ck_assert_int_eq(read_packed(), OMEN_OK);
    struct rpc_error got;
    ck_assert_int_eq(rpc_read_error(&message, &got, &error), OMEN_E_INVALID);
}
END_TEST

START_TEST(every_method_is_found_by_its_name_and_no_other_is)
{
    for (uint32_t i = 0; i < METHODS_END; i++) {
        const struct method *method = method_at((enum method_number)i);
        ck_assert_ptr_eq(method_find(wire_text_of(method->name)), method);
        ck_assert_uint_eq(method->number, i);
        ck_assert_uint_le(strlen(method->name), RPC_METHOD_BYTES_MAX);
    }
    ck_assert_ptr_null(method_find(wire_text_of("point.gets")));
    ck_assert_ptr_null(method_find(wire_text_of("point.ge")));
    ck_assert_ptr_null(method_find((struct wire_text){0}));
}
END_TEST

static Suite *
rpc_suite(void)
{
    Suite *suite = suite_create("wire/rpc");
    TCase *tcase = tcase_create("rpc");
    tcase_add_checked_fixture(tcase, fresh, tidy_up);
    tcase_add_test(tcase, a_request_is_read_and_written_as_the_specification_has_it);
    tcase_add_test(tcase, an_answer_comes_back_with_the_number_of_its_request);
    tcase_add_loop_test(tcase, what_is_no_message_is_refused_and_nobody_is_answered, 0, 6);
    tcase_add_loop_test(tcase, a_message_has_as_many_elements_as_its_kind, 0, 6);
    tcase_add_loop_test(tcase, a_request_that_is_wrong_behind_its_number_can_be_answered, 0, 2);
    tcase_add_test(tcase, a_notification_has_no_number);
    tcase_add_loop_test(tcase, params_may_be_missing_nil_or_a_map_without_its_array, 0, 5);
    tcase_add_loop_test(tcase, params_that_are_no_map_are_refused_by_the_methods_name, 0, 3);
    tcase_add_loop_test(tcase, the_limits_before_hello_are_those_of_a_hello, 0, 2);
    tcase_add_loop_test(tcase, an_error_is_a_text_unless_maps_were_asked_for, 0, 2);
    tcase_add_loop_test(tcase, who_is_refused_for_a_while_is_told_for_how_long, 0, 5);
    tcase_add_loop_test(tcase, what_else_the_details_say_is_passed_over, 0, 7);
    tcase_add_loop_test(tcase, what_is_worth_trying_again_says_so, 0, 4);
    tcase_add_loop_test(tcase, an_error_of_another_server_is_still_an_error, 0, 4);
    tcase_add_test(tcase, an_error_that_is_neither_text_nor_map_is_refused);
    tcase_add_test(tcase, every_method_is_found_by_its_name_and_no_other_is);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(rpc_suite)
