// tests/unit/shard/test_shard_write.c -- every way in which a write is refused, by its message, and that nothing changed.
#include <check.h>
#include <limits.h>

#include "base/limits.h"
#include "tests/lib/check_main.h"
#include "tests/lib/shard_fixture.h"

START_TEST(bad_rows_change_nothing_and_are_named)
{
    const uint64_t ids[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    omen_batch batch = batch_of(8, ids);
    rows[3 * 4 + 1] = NAN;
    ck_assert_says(omen_add(index_of, &batch), OMEN_E_NOT_FINITE, "row 3: component 1 is NaN");
    rows[3 * 4 + 1] = -INFINITY;
    ck_assert_says(omen_upsert(index_of, &batch), OMEN_E_NOT_FINITE,
                   "row 3: component 1 is -infinity");
    rows[3 * 4 + 1] = 1e30f;
    ck_assert_says(omen_add(index_of, &batch), OMEN_E_NOT_FINITE, "row 3: its squared length");
    memset(rows + 5 * 4, 0, 4 * sizeof *rows);
    rows[3 * 4 + 1] = 1;
    ck_assert_says(omen_add(index_of, &batch), OMEN_E_ZERO_VECTOR,
                   "row 5: all components are zero");
    rows[5 * 4] = 1e-30f;
    ck_assert_says(omen_add(index_of, &batch), OMEN_E_ZERO_VECTOR, "row 5: too short");
    rows[5 * 4] = 1;
    ck_assert_uint_eq(count_of(index_of), 0);
    ck_assert_int_eq(omen_add(index_of, &batch), OMEN_OK);
    ck_assert_uint_eq(count_of(index_of), 8);
}
END_TEST

START_TEST(zero_vector_is_fine_where_it_has_a_distance)
{
    const omen_options options = options_of(_i == 0 ? OMEN_L2 : OMEN_IP, OMEN_F32);
    omen_index_t index;
    const float zero[4] = {0};
    omen_batch batch = batch_of(1, NULL);
    uint64_t id;
    float distance;
    batch.vectors = zero;
    ck_assert_int_eq(omen_open(&options, &index), OMEN_OK);
    ck_assert_int_eq(omen_add(index, &batch), OMEN_OK);
    ck_assert_int_eq(omen_query(index, zero, NULL, &id, &distance, &(uint32_t){0}), OMEN_OK);
    ck_assert_float_eq(distance, _i == 0 ? 0.0f : 1.0f);
    omen_close(index);
}
END_TEST

START_TEST(ids_are_checked_against_the_batch_and_the_index)
{
    const uint64_t twice[3] = {9, 4, 9};
    omen_batch batch = batch_of(3, twice);
    ck_assert_says(omen_add(index_of, &batch), OMEN_E_DUPLICATE_ID, "row 2: id 9 is that of row 0");
    ck_assert_says(omen_upsert(index_of, &batch), OMEN_E_DUPLICATE_ID, "row 2: id 9");
    const uint64_t above[2] = {INT64_MAX, 1ull << 63};
    batch = batch_of(2, above);
    ck_assert_says(omen_add(index_of, &batch), OMEN_E_ID_RANGE, "row 1: id 9223372036854775808");
    batch.count = 1;
    ck_assert_int_eq(omen_add(index_of, &batch), OMEN_OK);
    ck_assert_says(omen_add(index_of, &batch), OMEN_E_EXISTS,
                   "row 0: id 9223372036854775807 exists already");
    batch.ids = NULL;
    ck_assert_says(omen_add(index_of, &batch), OMEN_E_ID_RANGE, "the next number");
    const uint64_t missing = 5;
    batch = batch_of(1, &missing);
    ck_assert_says(omen_set_payloads(index_of, &batch), OMEN_E_NOT_FOUND,
                   "row 0: id 5 is not there");
    ck_assert_uint_eq(count_of(index_of), 1);
}
END_TEST

START_TEST(text_ids_are_checked_and_keep_their_keys)
{
    char long_id[300];
    memset(long_id, 'x', sizeof long_id);
    long_id[256] = '\0';
    const char *bad[] = {"", long_id, "\xff", NULL};
    omen_batch batch = batch_of(1, NULL);
    batch.text_ids = bad;
    ck_assert_says(omen_add(index_of, &batch), OMEN_E_ID_LENGTH, "row 0: its text id is empty");
    batch.text_ids = bad + 1;
    ck_assert_says(omen_add(index_of, &batch), OMEN_E_ID_LENGTH, "longer than 255");
    batch.text_ids = bad + 2;
    ck_assert_says(omen_add(index_of, &batch), OMEN_E_ID_LENGTH, "not UTF-8");
    batch.text_ids = bad + 3;
    ck_assert_says(omen_add(index_of, &batch), OMEN_E_INVALID, "is NULL");
    const char *twice[] = {"a", "b", "a"};
    batch = batch_of(3, NULL);
    batch.text_ids = twice;
    ck_assert_says(omen_add(index_of, &batch), OMEN_E_DUPLICATE_ID, "row 2: id \"a\"");

    long_id[255] = '\0';
    const char *good[] = {"a", "b", long_id};
    uint64_t keys[3], key, ids[10];
    uint32_t found;
    char text[256];
    batch.text_ids = good;
    batch.ids_out = keys;
    ck_assert_int_eq(omen_add(index_of, &batch), OMEN_OK);
    ck_assert_says(omen_add(index_of, &batch), OMEN_E_EXISTS, "row 0: id \"a\" exists");
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(omen_id_key(index_of, good[i], &key), OMEN_OK);
        ck_assert_uint_eq(key, keys[i]);
        ck_assert_int_eq(omen_id_text(index_of, key, text, sizeof text), OMEN_OK);
        ck_assert_str_eq(text, good[i]);
    }
    ck_assert_says(omen_id_text(index_of, keys[2], text, 255), OMEN_E_INVALID, "capacity is 255");
    ck_assert_says(omen_id_key(index_of, "c", &key), OMEN_E_NOT_FOUND, "\"c\"");
    ck_assert_says(omen_id_text(index_of, 77, text, sizeof text), OMEN_E_NOT_FOUND, "key 77");
    ck_assert_int_eq(omen_query(index_of, rows, NULL, ids, NULL, &found), OMEN_OK);
    ck_assert_uint_eq(found, 3);

    size_t deleted;
    ck_assert_int_eq(omen_delete_text(index_of, (const char *[]){"b", "nobody"}, 2, &deleted),
                     OMEN_OK);
    ck_assert_uint_eq(deleted, 1);
    ck_assert_int_eq(omen_contains(index_of, keys[1]), 0);
    batch.count = 1;
    batch.text_ids = good + 1;
    ck_assert_int_eq(omen_add(index_of, &batch), OMEN_OK);
    ck_assert_int_eq(omen_id_key(index_of, "b", &key), OMEN_OK);
    ck_assert_uint_eq(key, keys[0]); // ids_out of this batch: the same key as before the delete
    ck_assert_int_eq(omen_contains(index_of, key), 1);
}
END_TEST

START_TEST(kinds_of_ids_do_not_mix)
{
    const uint64_t id = 1;
    const char *text = "a";
    omen_batch integers = batch_of(1, &id), texts = batch_of(1, NULL), both = batch_of(1, &id);
    texts.text_ids = both.text_ids = &text;
    ck_assert_says(omen_add(index_of, &both), OMEN_E_INVALID, "ids and text_ids are both given");
    ck_assert_int_eq(omen_add(index_of, &integers), OMEN_OK);
    ck_assert_says(omen_add(index_of, &texts), OMEN_E_ID_KIND, "holds integer ids");
    ck_assert_says(omen_delete_text(index_of, &text, 1, NULL), OMEN_E_ID_KIND, "holds integer ids");

    const omen_options options = options_of(OMEN_L2, OMEN_F32);
    omen_index_t other;
    ck_assert_int_eq(omen_open(&options, &other), OMEN_OK);
    ck_assert_int_eq(omen_add(other, &texts), OMEN_OK);
    ck_assert_says(omen_add(other, &integers), OMEN_E_ID_KIND, "holds text ids");
    texts.text_ids = NULL;
    ck_assert_says(omen_add(other, &texts), OMEN_E_ID_KIND, "does not number rows");
    omen_close(other);
}
END_TEST

START_TEST(rows_without_ids_are_numbered_on)
{
    const uint64_t id = 41;
    uint64_t out[2];
    omen_batch batch = batch_of(1, &id);
    ck_assert_int_eq(omen_add(index_of, &batch), OMEN_OK);
    batch = batch_of(2, NULL);
    batch.ids_out = out;
    ck_assert_int_eq(omen_add(index_of, &batch), OMEN_OK);
    ck_assert_uint_eq(out[0], 42);
    ck_assert_uint_eq(out[1], 43);
    ck_assert_int_eq(omen_delete(index_of, out, 2, NULL), OMEN_OK);
    ck_assert_int_eq(omen_add(index_of, &batch), OMEN_OK);
    ck_assert_uint_eq(out[0], 44); // a number is not given twice
}
END_TEST

START_TEST(layout_of_rows_is_checked)
{
    omen_batch batch = batch_of(2, NULL);
    batch.vectors = NULL;
    ck_assert_says(omen_add(index_of, &batch), OMEN_E_INVALID, "vectors is NULL");
    batch = batch_of(2, NULL);
    batch.stride = 15;
    ck_assert_says(omen_add(index_of, &batch), OMEN_E_DIMENSION, "stride is 15 bytes");
    batch.stride = 0;
    batch.dtype = (omen_dtype)99;
    ck_assert_says(omen_add(index_of, &batch), OMEN_E_DTYPE, "dtype of the rows is 99");
    batch.dtype = (omen_dtype)0;
    ck_assert_says(omen_add(index_of, &batch), OMEN_E_DTYPE, "dtype of the rows is 0");
    batch = batch_of(2, NULL);
    batch.payloads = (const void *[]){"\x80", NULL};
    ck_assert_says(omen_add(index_of, &batch), OMEN_E_INVALID, "payload_bytes");
    batch.count = (1ull << 24) - 1; // one more than the default of slots_max
    ck_assert_says(omen_add(index_of, &batch), OMEN_E_FULL, "at most 16777214 rows");
    batch.count = SLOTS_MAX + 1ull;
    ck_assert_says(omen_add(index_of, &batch), OMEN_E_FULL, "2147483647");
    batch.count = 0;
    batch.vectors = NULL;
    ck_assert_int_eq(omen_add(index_of, &batch), OMEN_OK);
}
END_TEST

START_TEST(strided_and_unaligned_rows_are_read_right)
{
    char bytes[3 * 24 + 1];
    const float row[4] = {1, 2, 3, 4};
    uint64_t ids[3];
    omen_points_t points;
    omen_batch batch = batch_of(3, NULL);
    memset(bytes, 0xff, sizeof bytes);
    for (int i = 0; i < 3; i++)
        memcpy(bytes + 1 + i * 24, row, sizeof row);
    batch.vectors = bytes + 1;
    batch.stride = 24;
    batch.ids_out = ids;
    ck_assert_int_eq(omen_add(index_of, &batch), OMEN_OK);
    ck_assert_int_eq(omen_get(index_of, ids, 3, OMEN_WITH_VECTOR, &points), OMEN_OK);
    for (size_t i = 0; i < 3; i++)
        ck_assert_mem_eq(omen_points_vector(points, i), row, sizeof row);
    omen_points_free(points);
    uint64_t hits[10];
    float distances[10];
    ck_assert_int_eq(omen_query(index_of, bytes + 1, NULL, hits, distances, NULL), OMEN_OK);
    ck_assert_float_le(distances[0], 1e-6f);
}
END_TEST

START_TEST(slots_end_at_their_limit_and_come_back_by_compaction)
{
    omen_options options = options_of(OMEN_L2, OMEN_F32);
    omen_index_t index;
    uint64_t ids[8];
    omen_batch batch = batch_of(8, NULL);
    options.slots_max = 8;
    batch.ids_out = ids;
    ck_assert_int_eq(omen_open(&options, &index), OMEN_OK);
    ck_assert_int_eq(omen_add(index, &batch), OMEN_OK);
    batch.count = 1;
    ck_assert_says(omen_add(index, &batch), OMEN_E_FULL, "8 of 8 slots");
    ck_assert_int_eq(omen_delete(index, ids, 2, NULL), OMEN_OK);
    ck_assert_says(omen_add(index, &batch), OMEN_E_FULL, "deleted rows included");
    ck_assert_int_eq(omen_compact(index), OMEN_OK);
    batch.count = 2;
    ck_assert_int_eq(omen_add(index, &batch), OMEN_OK);
    ck_assert_uint_eq(count_of(index), 8);
    omen_close(index);
}
END_TEST

START_TEST(memory_limit_refuses_before_anything_is_done)
{
    omen_options options = options_of(OMEN_L2, OMEN_F32);
    omen_index_t index;
    omen_batch batch = batch_of(8, NULL);
    options.max_memory = 1;
    ck_assert_int_eq(omen_open(&options, &index), OMEN_OK);
    ck_assert_says(omen_add(index, &batch), OMEN_E_NO_MEMORY, "max_memory is 1 bytes");
    ck_assert_uint_eq(count_of(index), 0);
    omen_close(index);
}
END_TEST

START_TEST(read_only_index_refuses_every_write)
{
    omen_options options = options_of(OMEN_L2, OMEN_F32);
    omen_index_t index;
    omen_batch batch = batch_of(1, NULL);
    const uint64_t id = 0;
    const char *text = "a";
    options.read_only = 1;
    ck_assert_int_eq(omen_open(&options, &index), OMEN_OK);
    ck_assert_says(omen_add(index, &batch), OMEN_E_READ_ONLY, "read-only");
    ck_assert_int_eq(omen_upsert(index, &batch), OMEN_E_READ_ONLY);
    ck_assert_int_eq(omen_set_payloads(index, &batch), OMEN_E_READ_ONLY);
    ck_assert_int_eq(omen_delete(index, &id, 1, NULL), OMEN_E_READ_ONLY);
    ck_assert_int_eq(omen_delete_text(index, &text, 1, NULL), OMEN_E_READ_ONLY);
    ck_assert_int_eq(omen_delete_where(index, "a", NULL), OMEN_E_READ_ONLY);
    ck_assert_int_eq(omen_field_index(index, "a", OMEN_FIELD_BOOL), OMEN_E_READ_ONLY);
    ck_assert_int_eq(omen_compact(index), OMEN_E_READ_ONLY);
    ck_assert_uint_eq(count_of(index), 0);
    omen_close(index);
}
END_TEST

START_TEST(payloads_and_fields_are_checked_by_row)
{
    uint8_t bytes[MODEL_PAYLOAD_MAX];
    const size_t length = model_payload(bytes, 7, "Oslo");
    static uint8_t large[PAYLOAD_BYTES_MAX + 1];
    const void *payloads[2] = {bytes, "\x93"};
    size_t sizes[2] = {length, 1};
    omen_batch batch = batch_of(2, NULL);
    batch.payloads = payloads;
    batch.payload_bytes = sizes;
    ck_assert_says(omen_add(index_of, &batch), OMEN_E_PAYLOAD, "row 1: ");
    payloads[1] = large;
    sizes[1] = sizeof large;
    ck_assert_says(omen_add(index_of, &batch), OMEN_E_PAYLOAD,
                   "row 1: its payload has 65537 bytes");
    batch.count = 1;
    ck_assert_int_eq(omen_add(index_of, &batch), OMEN_OK);
    ck_assert_says(omen_field_index(index_of, "city", OMEN_FIELD_INTEGER), OMEN_E_FIELD_TYPE,
                   "id 0: ");
    ck_assert_says(omen_field_index(index_of, "city", (omen_field_type)0), OMEN_E_INVALID,
                   "field type is 0");
    ck_assert_int_eq(omen_field_index(index_of, "", OMEN_FIELD_BOOL), OMEN_E_INVALID);
    ck_assert_int_eq(omen_field_index(index_of, "city", OMEN_FIELD_KEYWORD), OMEN_OK);
    ck_assert_int_eq(omen_field_index(index_of, "age", OMEN_FIELD_BOOL), OMEN_E_FIELD_TYPE);
    ck_assert_int_eq(omen_field_index(index_of, "city", OMEN_FIELD_UUID), OMEN_E_EXISTS);
    // {"city": 7}
    payloads[0] = "\x81\xa4"
                  "city\x07";
    sizes[0] = 7;
    ck_assert_int_eq(omen_add(index_of, &batch), OMEN_E_FIELD_TYPE);
    ck_assert_uint_eq(count_of(index_of), 1);
}
END_TEST

START_TEST(every_dtype_takes_what_it_can_hold_gives_it_back_and_is_searched_by_all)
{
    static const omen_dtype types[] = {OMEN_F32, OMEN_F16, OMEN_BF16, OMEN_I8, OMEN_U8};
    static const uint16_t halves[4] = {0x3c00, 0x4000, 0x4200, 0x4400}; // f16 1 2 3 4
    static const uint16_t brains[4] = {0x3f80, 0x4000, 0x4040, 0x4080}; // bf16 1 2 3 4
    static const uint8_t small[4] = {1, 2, 3, 4};
    static const float wide[4] = {1, 2, 3, 4};
    const void *const given[] = {wide, halves, brains, small, small};
    const size_t bytes[] = {16, 8, 8, 4, 4};
    const omen_options options = options_of(OMEN_L2, types[_i]);
    omen_index_t index;
    omen_points_t points;
    uint64_t ids[5], hit;
    float distance;
    uint32_t found;
    omen_batch batch = batch_of(1, NULL);
    ck_assert_int_eq(omen_open(&options, &index), OMEN_OK);
    batch.dtype = types[_i];
    batch.vectors = given[_i];
    batch.ids_out = &ids[0];
    ck_assert_int_eq(omen_add(index, &batch), OMEN_OK);
    const bool converts = types[_i] != OMEN_I8 && types[_i] != OMEN_U8;
    size_t count = 1;
    for (int other = 0; other < 5; other++) {
        if (other == _i)
            continue;
        batch.dtype = types[other];
        batch.vectors = given[other];
        batch.ids_out = &ids[count];
        count += converts;
        ck_assert_int_eq(omen_add(index, &batch), converts ? OMEN_OK : OMEN_E_DTYPE);
    }
    ck_assert_int_eq(omen_get(index, ids, count, OMEN_WITH_VECTOR, &points), OMEN_OK);
    for (size_t i = 0; i < omen_points_count(points); i++)
        ck_assert_mem_eq(omen_points_vector(points, i), given[_i], bytes[_i]);
    omen_points_free(points);
    omen_query_options query = OMEN_QUERY_OPTIONS_INIT;
    for (int type = 0; type < 5; type++) {
        query.k = 1;
        query.dtype = types[type];
        ck_assert_int_eq(omen_query(index, given[type], &query, &hit, &distance, &found), OMEN_OK);
        ck_assert_uint_eq(hit, ids[0]); // equal distances by older row
        ck_assert_float_eq(distance, 0.0f);
    }
    omen_close(index);
}
END_TEST

START_TEST(number_that_f16_cannot_hold_is_refused)
{
    const omen_options options = options_of(OMEN_COSINE, OMEN_F16);
    omen_index_t index;
    omen_batch batch = batch_of(1, NULL);
    float row[4] = {1, 65520, 0, 0};
    batch.vectors = row;
    ck_assert_int_eq(omen_open(&options, &index), OMEN_OK);
    ck_assert_says(omen_add(index, &batch), OMEN_E_NOT_FINITE,
                   "row 0: component 1 is 65520, which f16 cannot hold");
    row[1] = 65519;
    ck_assert_int_eq(omen_add(index, &batch), OMEN_OK);
    memcpy(row, (const float[4]){1e-8f, 0, 0, 0}, sizeof row);
    ck_assert_says(omen_add(index, &batch), OMEN_E_ZERO_VECTOR, "2^-24");
    omen_close(index);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/shard_write");
    TCase *writing = case_of("writing");
    tcase_add_test(writing, bad_rows_change_nothing_and_are_named);
    tcase_add_loop_test(writing, zero_vector_is_fine_where_it_has_a_distance, 0, 2);
    tcase_add_test(writing, ids_are_checked_against_the_batch_and_the_index);
    tcase_add_test(writing, text_ids_are_checked_and_keep_their_keys);
    tcase_add_test(writing, kinds_of_ids_do_not_mix);
    tcase_add_test(writing, rows_without_ids_are_numbered_on);
    tcase_add_test(writing, layout_of_rows_is_checked);
    tcase_add_test(writing, strided_and_unaligned_rows_are_read_right);
    tcase_add_test(writing, slots_end_at_their_limit_and_come_back_by_compaction);
    tcase_add_test(writing, memory_limit_refuses_before_anything_is_done);
    tcase_add_test(writing, read_only_index_refuses_every_write);
    tcase_add_test(writing, payloads_and_fields_are_checked_by_row);
    tcase_add_test(writing, number_that_f16_cannot_hold_is_refused);
    tcase_add_loop_test(
        writing, every_dtype_takes_what_it_can_hold_gives_it_back_and_is_searched_by_all, 0, 5);
    suite_add_tcase(suite, writing);
    return suite;
}

CHECK_MAIN(suite)
