// tests/unit/wire/test_api_check.c -- what belongs together in a request and what excludes each other, and every form of a vector.
#include "wire/api_admin.h"

#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "tests/lib/check_main.h"

static struct encode encode;
static struct omen_error error;
static const struct wire_id ids[3] = {
    {.number = 1, .given = 1}, {.number = 2, .given = 1}, {.number = 3, .given = 1}};
static const struct wire_bytes no_payloads[3];
static const float floats[12];

static void
fresh(void)
{
    encode_init(&encode, 1 << 24);
    error = (struct omen_error){0};
}

static void
tidy_up(void)
{
    encode_fini(&encode);
}

static struct api_point_upsert
three_points(void)
{
    return (struct api_point_upsert){.ids = {.count = 3, .items = ids},
                                     .vectors = {.form = VECTORS_RAW,
                                                 .dtype = WIRE_F32,
                                                 .count = 12,
                                                 .bytes = {(const uint8_t *)floats, 48}}};
}

START_TEST(a_matrix_divides_among_its_ids)
{
    struct api_point_upsert upsert = three_points();
    ck_assert_int_eq(api_point_upsert_check(&upsert, &error), OMEN_OK);
    upsert.vectors.count = 11;
    ck_assert_int_eq(api_point_upsert_check(&upsert, &error), OMEN_E_DIMENSION);
    upsert.vectors = (struct wire_vectors){.form = VECTORS_ROWS, .count = 2};
    ck_assert_int_eq(api_point_upsert_check(&upsert, &error), OMEN_E_INVALID);
    upsert.vectors.count = 3;
    ck_assert_int_eq(api_point_upsert_check(&upsert, &error), OMEN_OK);
}
END_TEST

START_TEST(there_are_as_many_payloads_as_ids_or_none)
{
    struct api_point_upsert upsert = three_points();
    upsert.payloads = (struct wire_list){.count = 3, .items = no_payloads};
    ck_assert_int_eq(api_point_upsert_check(&upsert, &error), OMEN_OK);
    upsert.payloads.count = 2;
    ck_assert_int_eq(api_point_upsert_check(&upsert, &error), OMEN_E_INVALID);
    ck_assert_str_eq(error.text, "payloads has 2 items for 3 ids");
}
END_TEST

START_TEST(only_an_update_goes_without_vectors)
{
    struct api_point_upsert upsert = three_points();
    upsert.vectors = (struct wire_vectors){0};
    upsert.payloads = (struct wire_list){.count = 3, .items = no_payloads};
    for (uint8_t mode = 0; mode <= API_UPDATE; mode++) {
        upsert.mode = mode;
        ck_assert_int_eq(api_point_upsert_check(&upsert, &error),
                         mode == API_UPDATE ? OMEN_OK : OMEN_E_INVALID);
    }
    upsert.payloads.count = 0;
    ck_assert_int_eq(api_point_upsert_check(&upsert, &error), OMEN_E_INVALID);
}
END_TEST

START_TEST(a_version_is_of_one_point)
{
    struct api_point_upsert upsert = three_points();
    upsert.if_version.given = 1;
    ck_assert_int_eq(api_point_upsert_check(&upsert, &error), OMEN_E_INVALID);
    upsert.ids.count = 1;
    ck_assert_int_eq(api_point_upsert_check(&upsert, &error), OMEN_OK);
    struct api_point_delete del = {.filter = {.form = FILTER_FORM_TEXT},
                                   .if_version = {.given = 1}};
    ck_assert_int_eq(api_point_delete_check(&del, &error), OMEN_E_INVALID);
}
END_TEST

START_TEST(a_delete_and_a_patch_have_ids_or_a_filter)
{
    struct api_point_delete del = {0};
    struct api_point_patch patch = {.unset = {.count = 1}};
    for (uint32_t has = 0; has < 4; has++) {
        del.ids.count = patch.ids.count = has & 1;
        del.filter.form = patch.filter.form = has & 2 ? FILTER_FORM_MAP : FILTER_FORM_NONE;
        const omen_status expected = has == 1 || has == 2 ? OMEN_OK : OMEN_E_INVALID;
        ck_assert_int_eq(api_point_delete_check(&del, &error), expected);
        ck_assert_int_eq(api_point_patch_check(&patch, &error), expected);
    }
    patch = (struct api_point_patch){.ids = {.count = 1}};
    ck_assert_int_eq(api_point_patch_check(&patch, &error), OMEN_E_INVALID);
}
END_TEST

START_TEST(a_search_has_a_vector_or_an_id)
{
    for (uint32_t has = 0; has < 4; has++) {
        struct api_query_search search = {.vector.form = has & 1 ? VECTORS_RAW : VECTORS_NONE,
                                          .id.given = has >> 1 & 1};
        const struct api_query_range range = {.vector = search.vector, .id = search.id};
        const omen_status expected = has == 1 || has == 2 ? OMEN_OK : OMEN_E_INVALID;
        ck_assert_int_eq(api_query_search_check(&search, &error), expected);
        ck_assert_int_eq(api_query_range_check(&range, &error), expected);
    }
}
END_TEST

START_TEST(a_target_recall_is_one)
{
    static const struct {
        double target;
        omen_status status;
    } cases[] = {{0, OMEN_OK},
                 {0.49, OMEN_E_INVALID},
                 {0.5, OMEN_OK},
                 {0.9999, OMEN_OK},
                 {0.99991, OMEN_E_INVALID}};
    const double target = cases[_i].target;
    ck_assert_int_eq(
        api_query_batch_check(&(struct api_query_batch){.target_recall = target}, &error),
        cases[_i].status);
    ck_assert_int_eq(
        api_query_recommend_check(&(struct api_query_recommend){.target_recall = target}, &error),
        cases[_i].status);
    ck_assert_int_eq(
        api_query_why_not_check(&(struct api_query_why_not){.target_recall = target}, &error),
        cases[_i].status);
    ck_assert_int_eq(
        api_recall_measure_check(&(struct api_recall_measure){.target_recall = target}, &error),
        cases[_i].status);
}
END_TEST

// ---- vectors, as a search and a batch read them ----

static omen_status
read_shape(const struct shape *shape, void *out)
{
    struct decode decode;
    decode_init(&decode, (struct wire_bytes){encode.bytes, (uint32_t)encode.count},
                &decode_after_hello, &error);
    shape_read(&decode, shape, out);
    return decode_end(&decode);
}

static void
begin(const char *key)
{
    encode_reset(&encode);
    encode_map(&encode, 2);
    encode_word(&encode, "collection");
    encode_word(&encode, "docs");
    encode_word(&encode, key);
}

START_TEST(a_vector_is_a_binary_an_ext_a_string_or_numbers)
{
    struct api_query_search search;
    const struct wire_bytes eight = {(const uint8_t *)"abcdefgh", 8};
    begin("vector");
    encode_bytes(&encode, eight);
    ck_assert_int_eq(read_shape(&api_query_search, &search), OMEN_OK);
    ck_assert_uint_eq(search.vector.count, 2);
    ck_assert_uint_eq(search.vector.dtype, WIRE_F32);
    ck_assert(memcmp(search.vector.bytes.bytes, "abcdefgh", 8) == 0);
    ck_assert(search.vector.bytes.bytes > encode.bytes); // in the frame

    begin("vector");
    encode_word(&encode, "abcdefgh");
    ck_assert_int_eq(read_shape(&api_query_search, &search), OMEN_OK);
    ck_assert_uint_eq(search.vector.count, 2);

    static const uint32_t counts[] = {0, 2, 4, 4, 8, 8};
    for (int8_t type = -1; type <= 6; type++) {
        begin("vector");
        encode_ext(&encode, type, eight);
        const omen_status status = read_shape(&api_query_search, &search);
        ck_assert_int_eq(status, type >= 1 && type <= 5 ? OMEN_OK : OMEN_E_DTYPE);
        if (status == OMEN_OK)
            ck_assert_uint_eq(search.vector.count, counts[type]);
    }

    begin("vector");
    encode_array(&encode, 2);
    encode_real(&encode, 0.5);
    encode_i64(&encode, -3);
    ck_assert_int_eq(read_shape(&api_query_search, &search), OMEN_OK);
    ck_assert_uint_eq(search.vector.form, VECTORS_NUMBERS);
    float out[2];
    decode_numbers_read(search.vector.bytes, out, search.vector.count);
    ck_assert(out[0] == 0.5f && out[1] == -3.0f);
}
END_TEST

START_TEST(a_vector_is_whole_and_not_too_long)
{
    static const uint8_t zeros[4 * (VECTOR_DIM_MAX + 1)];
    static const uint32_t bytes[] = {0, 3, 4, 4 * VECTOR_DIM_MAX, 4 * (VECTOR_DIM_MAX + 1)};
    begin("vector");
    encode_bytes(&encode, (struct wire_bytes){zeros, bytes[_i]});
    struct api_query_search search;
    ck_assert_int_eq(read_shape(&api_query_search, &search),
                     _i == 2 || _i == 3 ? OMEN_OK : OMEN_E_DIMENSION);
}
END_TEST

START_TEST(rows_of_a_batch_may_differ_in_form)
{
    begin("vectors");
    encode_array(&encode, 3);
    encode_bytes(&encode, (struct wire_bytes){(const uint8_t *)"abcd", 4});
    encode_ext(&encode, WIRE_U8, (struct wire_bytes){(const uint8_t *)"ab", 2});
    encode_array(&encode, 2);
    encode_u64(&encode, 1);
    encode_u64(&encode, 2);
    struct api_query_batch batch;
    ck_assert_int_eq(read_shape(&api_query_batch, &batch), OMEN_OK);
    ck_assert_uint_eq(batch.vectors.form, VECTORS_ROWS);
    struct list_cursor cursor;
    struct wire_vectors row;
    rows_begin(&cursor, &batch.vectors);
    ck_assert(list_next(&cursor, &row) && row.dtype == WIRE_F32 && row.count == 1);
    ck_assert(list_next(&cursor, &row) && row.dtype == WIRE_U8 && row.count == 2);
    ck_assert(list_next(&cursor, &row) && row.form == VECTORS_NUMBERS && row.count == 2);
    ck_assert(!list_next(&cursor, &row));
}
END_TEST

START_TEST(a_batch_has_as_many_rows_as_it_may)
{
    static const uint32_t counts[] = {0, 1, WIRE_BATCH_MAX, WIRE_BATCH_MAX + 1};
    begin("vectors");
    encode_array(&encode, counts[_i]);
    for (uint32_t i = 0; i < counts[_i]; i++)
        encode_bytes(&encode, (struct wire_bytes){(const uint8_t *)"abcd", 4});
    struct api_query_batch batch;
    ck_assert_int_eq(read_shape(&api_query_batch, &batch),
                     _i == 1 || _i == 2 ? OMEN_OK : OMEN_E_INVALID);
}
END_TEST

START_TEST(an_id_out_of_range_says_so)
{
    struct api_query_search search;
    begin("id");
    if (_i == 0)
        encode_i64(&encode, -1);
    else if (_i == 1)
        encode_u64(&encode, ID_MAX + 1);
    else
        encode_text(&encode, (struct wire_text){(const char *)"", 0});
    ck_assert_int_eq(read_shape(&api_query_search, &search),
                     _i == 2 ? OMEN_E_ID_LENGTH : OMEN_E_ID_RANGE);
    begin("id");
    static const char text[ID_TEXT_BYTES_MAX + 1];
    encode_text(&encode, (struct wire_text){text, ID_TEXT_BYTES_MAX + (_i > 0)});
    ck_assert_int_eq(read_shape(&api_query_search, &search), _i > 0 ? OMEN_E_ID_LENGTH : OMEN_OK);
}
END_TEST

START_TEST(what_is_neither_an_integer_nor_a_text_is_no_id_and_hears_of_both)
{
    static const char *const kinds[] = {"null", "a boolean", "a float", "a binary", "an array"};
    struct api_point_get get;
    begin("ids");
    encode_array(&encode, 1);
    if (_i == 0)
        encode_nil(&encode);
    else if (_i == 1)
        encode_bool(&encode, true);
    else if (_i == 2)
        encode_real(&encode, 1.5);
    else if (_i == 3)
        encode_bytes(&encode, (struct wire_bytes){(const uint8_t *)"ab", 2});
    else
        encode_array(&encode, 0);
    char sentence[80];
    snprintf(sentence, sizeof sentence, "ids[0] is %s, expected an integer or a text", kinds[_i]);
    ck_assert_int_eq(read_shape(&api_point_get, &get), OMEN_E_INVALID);
    ck_assert_msg(strstr(error.text, sentence) != NULL, "%s", error.text);
}
END_TEST

START_TEST(a_k_out_of_range_says_so)
{
    static const struct {
        int64_t k;
        omen_status status;
    } cases[] = {
        {-1, OMEN_E_K}, {0, OMEN_E_K}, {1, OMEN_OK}, {TOPK_MAX, OMEN_OK}, {TOPK_MAX + 1, OMEN_E_K}};
    struct api_query_search search;
    begin("k");
    encode_i64(&encode, cases[_i].k);
    ck_assert_int_eq(read_shape(&api_query_search, &search), cases[_i].status);
    begin("k");
    encode_word(&encode, "ten");
    ck_assert_int_eq(read_shape(&api_query_search, &search), OMEN_E_INVALID);
}
END_TEST

// ---- tokens ----

static omen_status
read_token(struct wire_token *token, void (*put_shard)(void))
{
    struct api_point_count count;
    begin("after");
    encode_map(&encode, 1);
    put_shard();
    encode_array(&encode, 2);
    encode_u64(&encode, token->term);
    encode_u64(&encode, token->seq);
    const omen_status status = read_shape(&api_point_count, &count);
    if (status == OMEN_OK) {
        const struct wire_token given = *token;
        struct list_cursor cursor;
        token_begin(&cursor, &count.after);
        ck_assert(list_next(&cursor, token));
        ck_assert(token->term == given.term && token->seq == given.seq);
    }
    return status;
}

static const char *shard_text;
static uint64_t shard_number;

static void
put_text(void)
{
    encode_word(&encode, shard_text);
}

static void
put_number(void)
{
    encode_u64(&encode, shard_number);
}

START_TEST(a_token_has_texts_for_keys)
{
    static const struct {
        const char *text;
        uint64_t shard; // 0: refused
    } cases[] = {{"42", 42},
                 {"1", 1},
                 {"4611686018427387903", UINT64_MAX / 4},
                 {"4611686018427387904", 0},
                 {"18446744073709551617", 0},
                 {"99999999999999999999", 0},
                 {"4x", 0},
                 {"-4", 0},
                 {"0", 0},
                 {"", 0}};
    struct wire_token token = {.term = 3, .seq = 4};
    shard_text = cases[_i].text;
    const omen_status status = read_token(&token, put_text);
    ck_assert_int_eq(status, cases[_i].shard > 0 ? OMEN_OK : OMEN_E_INVALID);
    ck_assert(status != OMEN_OK || token.shard == cases[_i].shard);
}
END_TEST

// As earlier builds wrote it.
START_TEST(a_token_may_have_numbers_for_keys)
{
    static const uint64_t shards[] = {0, 1, 42, UINT64_MAX / 4, UINT64_MAX / 4 + 1};
    struct wire_token token = {.term = 3, .seq = 4};
    shard_number = shards[_i];
    const bool fits = _i >= 1 && _i <= 3;
    ck_assert_int_eq(read_token(&token, put_number), fits ? OMEN_OK : OMEN_E_INVALID);
    ck_assert(!fits || token.shard == shards[_i]);
}
END_TEST

// A node that was told of a larger one could not tell it to another.
START_TEST(a_token_has_no_term_and_no_place_that_nodes_do_not_tell_each_other)
{
    shard_text = "7";
    struct wire_token token = {.term = WIRE_STATE_MAX, .seq = WIRE_STATE_MAX};
    ck_assert_int_eq(read_token(&token, put_text), OMEN_OK);
    token = (struct wire_token){.term = 1, .seq = WIRE_STATE_MAX + 1};
    ck_assert_int_eq(read_token(&token, put_text), OMEN_E_INVALID);
    token = (struct wire_token){.term = WIRE_STATE_MAX + 1, .seq = 1};
    ck_assert_int_eq(read_token(&token, put_text), OMEN_E_INVALID);
}
END_TEST

START_TEST(a_token_is_written_with_a_text_for_a_key)
{
    static const struct {
        uint64_t shard;
        const char *packed;
    } cases[] = {{1, "\xa1\x31"}, {42, "\xa2\x34\x32"}, {UINT64_MAX / 4, "\xb3\x34\x36\x31\x31"}};
    const struct wire_token token = {.shard = cases[_i].shard, .term = 3, .seq = 4};
    const struct api_written written = {.token = {.count = 1, .items = &token}};
    encode_reset(&encode);
    shape_write(&encode, &api_written, &written);
    ck_assert_ptr_nonnull(
        memmem(encode.bytes, encode.count, cases[_i].packed, strlen(cases[_i].packed)));
}
END_TEST

START_TEST(an_alias_is_another_name_of_its_key)
{
    encode_map(&encode, 1);
    encode_word(&encode, "name");
    encode_word(&encode, "docs");
    struct api_of_collection of;
    ck_assert_int_eq(read_shape(&api_of_collection, &of), OMEN_OK);
    ck_assert_uint_eq(of.collection.count, 4);
}
END_TEST

static Suite *
api_check_suite(void)
{
    Suite *suite = suite_create("wire/api_check");
    TCase *tcase = tcase_create("api_check");
    tcase_add_checked_fixture(tcase, fresh, tidy_up);
    tcase_add_test(tcase, a_matrix_divides_among_its_ids);
    tcase_add_test(tcase, there_are_as_many_payloads_as_ids_or_none);
    tcase_add_test(tcase, only_an_update_goes_without_vectors);
    tcase_add_test(tcase, a_version_is_of_one_point);
    tcase_add_test(tcase, a_delete_and_a_patch_have_ids_or_a_filter);
    tcase_add_test(tcase, a_search_has_a_vector_or_an_id);
    tcase_add_loop_test(tcase, a_target_recall_is_one, 0, 5);
    tcase_add_test(tcase, a_vector_is_a_binary_an_ext_a_string_or_numbers);
    tcase_add_loop_test(tcase, a_vector_is_whole_and_not_too_long, 0, 5);
    tcase_add_test(tcase, rows_of_a_batch_may_differ_in_form);
    tcase_add_loop_test(tcase, a_batch_has_as_many_rows_as_it_may, 0, 4);
    tcase_add_loop_test(tcase, an_id_out_of_range_says_so, 0, 3);
    tcase_add_loop_test(tcase, what_is_neither_an_integer_nor_a_text_is_no_id_and_hears_of_both, 0,
                        5);
    tcase_add_loop_test(tcase, a_k_out_of_range_says_so, 0, 5);
    tcase_add_loop_test(tcase, a_token_has_texts_for_keys, 0, 10);
    tcase_add_loop_test(tcase, a_token_may_have_numbers_for_keys, 0, 5);
    tcase_add_test(tcase, a_token_has_no_term_and_no_place_that_nodes_do_not_tell_each_other);
    tcase_add_loop_test(tcase, a_token_is_written_with_a_text_for_a_key, 0, 3);
    tcase_add_test(tcase, an_alias_is_another_name_of_its_key);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(api_check_suite)
