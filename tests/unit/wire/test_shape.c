// tests/unit/wire/test_shape.c -- every shape of every method: what is written is read as it was; cut, flipped, doubled, unknown, missing
// and one past a limit it is refused by name.
//
// The loop index is a method, or a shape of wire/inner.h behind the last; asks and answers are looked at alike.
#include "wire/shape.h"

#include <stdlib.h>

#include "tests/lib/check_main.h"
#include "tests/lib/wire_random.h"
#include "wire/inner.h"
#include "wire/method.h"

enum { ROUNDS = 12, INNER = 5 };

static struct encode encode, again;
static struct wire_pool pool;
static struct omen_error error;
static union method_body one, other;

static void
fresh(void)
{
    encode_init(&encode, 1 << 24);
    encode_init(&again, 1 << 24);
    pool.used = 0;
}

static void
tidy_up(void)
{
    encode_fini(&encode);
    encode_fini(&again);
}

static const struct shape *
shape_of(int index)
{
    static const struct shape *const inner[INNER] = {&inner_why_ask, &inner_why, &inner_page,
                                                     &inner_build_ask, &inner_build};
    if (index >= 2 * METHODS_END)
        return inner[index - 2 * METHODS_END];
    const struct method *method = method_at((enum method_number)(index / 2));
    return index % 2 == 0 ? method->ask : method->answer;
}

// From a copy of exactly its size.
static omen_status
read_copy(const struct shape *shape, const uint8_t *bytes, size_t count, void *out)
{
    uint8_t *copy = malloc(count > 0 ? count : 1);
    memcpy(copy, bytes, count);
    struct decode decode;
    error.text[0] = '\0';
    decode_init(&decode, (struct wire_bytes){copy, (uint32_t)count}, &decode_answers, &error);
    shape_read(&decode, shape, out);
    const omen_status status = decode_end(&decode);
    free(copy);
    return status;
}

static omen_status
read_here(const struct shape *shape, const struct encode *from, void *out)
{
    struct decode decode;
    error.text[0] = '\0';
    decode_init(&decode, (struct wire_bytes){from->bytes, (uint32_t)from->count}, &decode_answers,
                &error);
    shape_read(&decode, shape, out);
    return decode_end(&decode);
}

START_TEST(what_is_written_is_read_as_it_was)
{
    const struct shape *shape = shape_of(_i);
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        pool.used = 0;
        encode_reset(&encode);
        encode_reset(&again);
        random_struct(&prng, &pool, shape, &one);
        shape_write(&encode, shape, &one);
        ck_assert_int_eq(encode.status, OMEN_OK);
        ck_assert_msg(read_here(shape, &encode, &other) == OMEN_OK, "%s", error.text);
        ck_assert(same_struct(shape, &one, &other));
        shape_write(&again, shape, &other); // its lists are packed now
        ck_assert_uint_eq(again.count, encode.count);
        ck_assert(memcmp(again.bytes, encode.bytes, again.count) == 0);
    }
}
END_TEST

START_TEST(every_cut_is_refused)
{
    const struct shape *shape = shape_of(_i);
    struct prng prng;
    prng_init(&prng, 1000 + (uint64_t)_i);
    random_struct(&prng, &pool, shape, &one);
    shape_write(&encode, shape, &one);
    const size_t step = 1 + encode.count / 600;
    for (size_t count = 0; count < encode.count; count += step) {
        ck_assert_int_ne(read_copy(shape, encode.bytes, count, &other), OMEN_OK);
        ck_assert_uint_gt(strlen(error.text), 10);
    }
}
END_TEST

// Refused, or something else that reads as it is written.
START_TEST(every_flipped_bit_is_refused_or_another_message)
{
    const struct shape *shape = shape_of(_i);
    struct prng prng;
    prng_init(&prng, 2000 + (uint64_t)_i);
    random_struct(&prng, &pool, shape, &one);
    shape_write(&encode, shape, &one);
    const size_t step = 1 + encode.count / 80;
    for (size_t bit = 0; bit < 8 * encode.count; bit += step) {
        encode.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        encode_reset(&again);
        if (read_copy(shape, encode.bytes, encode.count, &other) == OMEN_OK) {
            ck_assert_int_eq(read_here(shape, &encode, &other), OMEN_OK);
            shape_write(&again, shape, &other);
            union method_body third;
            ck_assert_int_eq(read_here(shape, &again, &third), OMEN_OK);
            ck_assert(same_struct(shape, &other, &third));
        }
        encode.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}
END_TEST

START_TEST(an_unknown_key_is_refused_by_name)
{
    encode_map(&encode, 1);
    encode_word(&encode, "bogus");
    encode_nil(&encode);
    ck_assert_int_eq(read_here(shape_of(_i), &encode, &other), OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "has no key 'bogus'"));
}
END_TEST

static void
write_value(const struct field *field, const void *at)
{
    if (field_is_list(field))
        list_write(&encode, field, at);
    else if (field->kind == FIELD_INSIDE)
        shape_write(&encode, field->shape, at);
    else
        value_write(&encode, field, at);
}

START_TEST(a_key_that_comes_twice_is_refused_by_name)
{
    const struct shape *shape = shape_of(_i);
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    for (uint32_t i = 0; i < shape->field_count; i++) {
        const struct field *row = &shape->fields[i];
        const struct field *field = (row->flags & FIELD_ALIAS) != 0 ? row - 1 : row;
        encode_reset(&encode);
        random_field(&prng, &pool, field, &one);
        encode_map(&encode, 2);
        encode_word(&encode, field->key);
        write_value(field, &one);
        encode_word(&encode, row->key); // the other name of an alias
        write_value(field, &one);
        ck_assert_int_eq(read_here(shape, &encode, &other), OMEN_E_INVALID);
        ck_assert_ptr_nonnull(strstr(error.text, "has twice the key"));
        ck_assert_ptr_nonnull(strstr(error.text, row->key));
    }
}
END_TEST

START_TEST(what_is_required_and_missing_is_refused_by_name)
{
    const struct shape *shape = shape_of(_i);
    for (uint32_t i = 0; i < shape->field_count; i++) {
        if ((shape->fields[i].flags & FIELD_REQUIRED) == 0)
            continue;
        struct prng prng;
        prng_init(&prng, i);
        encode_reset(&encode);
        pool.used = 0;
        uint32_t count = 0;
        for (uint32_t j = 0; j < shape->field_count; j++)
            count += j != i && (shape->fields[j].flags & FIELD_REQUIRED) != 0;
        encode_map(&encode, count);
        for (uint32_t j = 0; j < shape->field_count; j++) {
            const struct field *field = &shape->fields[j];
            if (j == i || (field->flags & FIELD_REQUIRED) == 0)
                continue;
            random_field(&prng, &pool, field, &one);
            encode_word(&encode, field->key);
            write_value(field, &one);
        }
        ck_assert_int_eq(read_here(shape, &encode, &other), OMEN_E_INVALID);
        ck_assert_ptr_nonnull(strstr(error.text, "lacks the key"));
        ck_assert_ptr_nonnull(strstr(error.text, shape->fields[i].key));
    }
}
END_TEST

// A map with this key alone. What is refused is the value if the sentence is about it and not about keys that are missing.
static bool
takes(const struct shape *shape, const struct field *field)
{
    const omen_status status = read_here(shape, &encode, &other);
    if (status == OMEN_OK || strstr(error.text, "lacks the key") != NULL)
        return true;
    ck_assert_msg(strstr(error.text, field->key) != NULL, "%s", error.text);
    return false;
}

static void
begin_value(const struct field *field)
{
    encode_reset(&encode);
    encode_map(&encode, 1);
    encode_word(&encode, field->key);
}

static bool
takes_number(const struct shape *shape, const struct field *field, uint64_t number)
{
    begin_value(field);
    encode_u64(&encode, number);
    return takes(shape, field);
}

static bool
takes_length(const struct shape *shape, const struct field *field, uint64_t length)
{
    static char zeros[1 << 20];
    memset(zeros, 'a', sizeof zeros);
    begin_value(field);
    if (field->kind == FIELD_BYTES)
        encode_bytes(&encode, (struct wire_bytes){(uint8_t *)zeros, (uint32_t)length});
    else
        encode_text(&encode, (struct wire_text){zeros, (uint32_t)length});
    return takes(shape, field);
}

START_TEST(every_number_and_length_passes_at_its_limits_and_not_one_past_them)
{
    const struct shape *shape = shape_of(_i);
    for (uint32_t i = 0; i < shape->field_count; i++) {
        const struct field *field = &shape->fields[i];
        const bool number =
            field->kind == FIELD_U32 || field->kind == FIELD_U64 || field->kind == FIELD_MAYBE;
        const bool length =
            (field->kind == FIELD_TEXT || field->kind == FIELD_BYTES) && field->most < 1 << 20;
        if (!number && !length)
            continue;
        bool (*const takes_it)(const struct shape *, const struct field *, uint64_t) =
            number ? takes_number : takes_length;
        ck_assert(takes_it(shape, field, field->least));
        ck_assert(takes_it(shape, field, field->most));
        ck_assert(field->least == 0 || !takes_it(shape, field, field->least - 1));
        ck_assert(field->most == UINT64_MAX || !takes_it(shape, field, field->most + 1));
    }
}
END_TEST

START_TEST(every_list_of_ids_passes_at_its_limits_and_not_one_past_them)
{
    const struct shape *shape = shape_of(_i);
    for (uint32_t i = 0; i < shape->field_count; i++) {
        const struct field *field = &shape->fields[i];
        if (field->kind != FIELD_IDS && field->kind != FIELD_PAYLOADS)
            continue;
        const uint64_t counts[] = {field->least, field->most, field->most + 1, field->least - 1};
        for (uint32_t j = 0; j < (field->least > 0 ? 4 : 3); j++) {
            begin_value(field);
            encode_array(&encode, (uint32_t)counts[j]);
            for (uint64_t item = 0; item < counts[j]; item++)
                field->kind == FIELD_IDS ? encode_u64(&encode, item) : encode_nil(&encode);
            ck_assert(takes(shape, field) == (j < 2));
        }
    }
}
END_TEST

// Each field is given every kind of object: nil passes where nothing is required, and else only what it is.
START_TEST(every_field_refuses_what_is_of_another_kind)
{
    const struct shape *shape = shape_of(_i);
    for (uint32_t i = 0; i < shape->field_count; i++) {
        const struct field *field = &shape->fields[i];
        for (uint32_t kind = 0; kind < 7; kind++) {
            begin_value(field);
            switch (kind) {
            case 0:
                encode_nil(&encode);
                break;
            case 1:
                encode_bool(&encode, 1);
                break;
            case 2:
                encode_real(&encode, 0.25);
                break;
            case 3:
                encode_ext(&encode, 77, (struct wire_bytes){(const uint8_t *)"1234", 4});
                break;
            case 4:
                encode_i64(&encode, -1);
                break;
            case 5:
                encode_array(&encode, 1);
                encode_bool(&encode, 1);
                break;
            default:
                encode_map(&encode, 1);
                encode_word(&encode, "bogus");
                encode_nil(&encode);
            }
            const bool any = field->kind == FIELD_ANY;
            const bool expected =
                any || (kind == 0 && (field->flags & (FIELD_REQUIRED | FIELD_ALIAS)) == 0) ||
                (kind == 1 && field->kind == FIELD_BOOL) ||
                (kind == 2 && (field->kind == FIELD_REAL || field->kind == FIELD_FLOAT)) ||
                (kind == 4 && (field->kind == FIELD_I64 || field->kind == FIELD_FLOAT ||
                               (field->kind == FIELD_REAL && field->most == 0))) ||
                (kind == 6 && (field->kind == FIELD_PAYLOAD || field->kind == FIELD_FILTER));
            if ((field->flags & FIELD_ALIAS) != 0)
                continue; // its row was looked at
            ck_assert_msg(takes(shape, field) == expected, "%s.%s kind %u: %s", shape->name,
                          field->key, kind, error.text);
        }
    }
}
END_TEST

START_TEST(another_order_of_the_keys_is_the_same_struct)
{
    const struct shape *shape = shape_of(_i);
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    random_struct(&prng, &pool, shape, &one);
    encode_map(&encode, 0);
    uint32_t count = 0;
    for (uint32_t i = shape->field_count; i-- > 0;) {
        const struct field *field = &shape->fields[i];
        const void *at = (const uint8_t *)&one + field->at;
        const bool inside = field->kind == FIELD_INSIDE;
        if ((field->flags & FIELD_ALIAS) != 0 ||
            ((field->flags & FIELD_REQUIRED) == 0 &&
             (inside || (field_is_list(field) ? ((const struct wire_list *)at)->count == 0
                                              : value_is_zero(field, at)))))
            continue;
        encode_word(&encode, field->key);
        write_value(field, at);
        count++;
    }
    ck_assert_uint_lt(count, 16); // so that the head is one byte
    encode.bytes[0] = (uint8_t)(0x80 | count);
    ck_assert_msg(read_here(shape, &encode, &other) == OMEN_OK, "%s", error.text);
    ck_assert(same_struct(shape, &one, &other));
}
END_TEST

static Suite *
shape_suite(void)
{
    Suite *suite = suite_create("wire/shape");
    TCase *tcase = tcase_create("shape");
    tcase_add_checked_fixture(tcase, fresh, tidy_up);
    const int shapes = 2 * METHODS_END + INNER;
    tcase_add_loop_test(tcase, what_is_written_is_read_as_it_was, 0, shapes);
    tcase_add_loop_test(tcase, every_cut_is_refused, 0, shapes);
    tcase_add_loop_test(tcase, every_flipped_bit_is_refused_or_another_message, 0, shapes);
    tcase_add_loop_test(tcase, an_unknown_key_is_refused_by_name, 0, shapes);
    tcase_add_loop_test(tcase, a_key_that_comes_twice_is_refused_by_name, 0, shapes);
    tcase_add_loop_test(tcase, what_is_required_and_missing_is_refused_by_name, 0, shapes);
    tcase_add_loop_test(tcase, every_number_and_length_passes_at_its_limits_and_not_one_past_them,
                        0, shapes);
    tcase_add_loop_test(tcase, every_list_of_ids_passes_at_its_limits_and_not_one_past_them, 0,
                        shapes);
    tcase_add_loop_test(tcase, every_field_refuses_what_is_of_another_kind, 0, shapes);
    tcase_add_loop_test(tcase, another_order_of_the_keys_is_the_same_struct, 0, shapes);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(shape_suite)
