// tests/unit/shard/test_op.c -- operations come out of their bytes as they went in, and damaged bytes are refused.
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/prng.h"
#include "shard/op.h"
#include "tests/lib/check_main.h"

#define ROWS_MAX 20u

// Random rows in memory of their own.
struct world {
    struct op_rows rows;
    uint64_t ids[ROWS_MAX];
    char texts[ROWS_MAX][ID_TEXT_BYTES_MAX + 1];
    const char *text_list[ROWS_MAX];
    uint8_t vectors[ROWS_MAX * 64];
    uint8_t payloads[ROWS_MAX][300];
    const void *payload_list[ROWS_MAX];
    size_t payload_bytes[ROWS_MAX];
};

static void
fill(struct world *world, struct prng *prng)
{
    struct op_rows *rows = &world->rows;
    *rows = (struct op_rows){.kind = prng_below(prng, 2) != 0 ? ID_KIND_TEXT : ID_KIND_INTEGER};
    rows->count = 1 + prng_below(prng, ROWS_MAX);
    for (size_t i = 0; i < rows->count; i++) {
        world->ids[i] = prng_next(prng) >> 1;
        const size_t bytes = 1 + prng_below(prng, ID_TEXT_BYTES_MAX);
        memset(world->texts[i], 'a' + (int)prng_below(prng, 26), bytes);
        world->texts[i][bytes] = '\0';
        world->text_list[i] = world->texts[i];
        world->payload_bytes[i] = 1 + prng_below(prng, 300);
        memset(world->payloads[i], (int)prng_below(prng, 256), world->payload_bytes[i]);
        world->payload_list[i] = prng_below(prng, 3) == 0 ? NULL : world->payloads[i];
    }
    for (size_t i = 0; i < sizeof world->vectors; i++)
        world->vectors[i] = (uint8_t)prng_next(prng);
    if (rows->kind == ID_KIND_TEXT)
        rows->texts = world->text_list;
    else
        rows->ids = world->ids;
    if (prng_below(prng, 3) != 0) {
        rows->vectors = world->vectors;
        rows->row_bytes = 1 + prng_below(prng, 64);
    }
    if (prng_below(prng, 3) != 0) {
        rows->payloads = world->payload_list;
        rows->payload_bytes = world->payload_bytes;
    }
}

// The parts as one block, as the log would give it back.
static uint64_t *
joined(const struct op_parts *parts)
{
    uint64_t *bytes = malloc(parts->bytes + 8);
    size_t at = 0;
    for (uint32_t i = 0; i < parts->count; i++) {
        memcpy((char *)bytes + at, parts->parts[i].bytes, parts->parts[i].count);
        at += parts->parts[i].count;
    }
    ck_assert_uint_eq(at, parts->bytes);
    return bytes;
}

START_TEST(rows_come_out_as_they_went_in)
{
    struct world *world = malloc(sizeof *world);
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    fill(world, &prng);
    const struct op_rows *in = &world->rows;
    struct op_parts parts;
    ck_assert_int_eq(op_encode(in, &parts), OMEN_OK);
    uint64_t *bytes = joined(&parts);
    struct op_rows out;
    void *memory;
    struct omen_error error = {0};
    ck_assert_int_eq(op_decode(bytes, parts.bytes, &out, &memory, &error), OMEN_OK);
    ck_assert_int_eq((int)out.kind, (int)in->kind);
    ck_assert_uint_eq(out.count, in->count);
    ck_assert_int_eq(out.vectors != NULL, in->vectors != NULL);
    ck_assert_int_eq(out.payloads != NULL, in->payloads != NULL);
    if (in->vectors != NULL) {
        ck_assert_uint_eq(out.row_bytes, in->row_bytes);
        ck_assert_mem_eq(out.vectors, in->vectors, in->count * in->row_bytes);
        ck_assert_uint_eq((uintptr_t)out.vectors % 8, 0);
    }
    for (size_t i = 0; i < in->count; i++) {
        if (in->kind == ID_KIND_TEXT)
            ck_assert_str_eq(out.texts[i], in->texts[i]);
        else
            ck_assert_uint_eq(out.ids[i], in->ids[i]);
        if (in->payloads == NULL)
            continue;
        ck_assert_int_eq(out.payloads[i] != NULL, in->payloads[i] != NULL);
        if (in->payloads[i] == NULL)
            continue;
        ck_assert_uint_eq(out.payload_bytes[i], in->payload_bytes[i]);
        ck_assert_mem_eq(out.payloads[i], in->payloads[i], in->payload_bytes[i]);
    }
    mem_free(memory);
    free(bytes);
    op_parts_fini(&parts);
    free(world);
}
END_TEST

START_TEST(every_shorter_entry_is_refused)
{
    struct world *world = malloc(sizeof *world);
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    fill(world, &prng);
    struct op_parts parts;
    ck_assert_int_eq(op_encode(&world->rows, &parts), OMEN_OK);
    uint64_t *bytes = joined(&parts);
    for (size_t count = 0; count < parts.bytes; count++) {
        struct op_rows out;
        void *memory;
        struct omen_error error = {0};
        ck_assert_int_eq(op_decode(bytes, count, &out, &memory, &error), OMEN_E_CORRUPT);
        ck_assert_ptr_null(memory);
        ck_assert_str_ne(error.text, "");
    }
    free(bytes);
    op_parts_fini(&parts);
    free(world);
}
END_TEST

START_TEST(a_newer_version_is_told_apart_from_damage)
{
    const uint64_t id = 7;
    const struct op_rows rows = {.kind = ID_KIND_INTEGER, .count = 1, .ids = &id};
    struct op_parts parts;
    struct op_rows out;
    void *memory;
    struct omen_error error = {0};
    ck_assert_int_eq(op_encode(&rows, &parts), OMEN_OK);
    uint64_t *bytes = joined(&parts);
    uint16_t *version = (uint16_t *)(void *)bytes;
    uint32_t *sections = (uint32_t *)(void *)bytes + 1;
    *version = 2;
    ck_assert_int_eq(op_decode(bytes, parts.bytes, &out, &memory, &error), OMEN_E_VERSION);
    *version = 1;
    *sections |= 1u << 7;
    ck_assert_int_eq(op_decode(bytes, parts.bytes, &out, &memory, &error), OMEN_E_VERSION);
    *sections = 0;
    *version = 0;
    ck_assert_int_eq(op_decode(bytes, parts.bytes, &out, &memory, &error), OMEN_E_CORRUPT);
    free(bytes);
    op_parts_fini(&parts);
}
END_TEST

START_TEST(a_field_comes_out_as_it_went_in)
{
    const struct op_field in = {.name = "a.b", .type = OMEN_FIELD_FLOAT};
    struct op_parts parts;
    struct op_field out;
    struct omen_error error = {0};
    ck_assert_int_eq(op_encode_field(&in, &parts), OMEN_OK);
    uint64_t *bytes = joined(&parts);
    ck_assert_int_eq(op_decode_field(bytes, parts.bytes, &out, &error), OMEN_OK);
    ck_assert_str_eq(out.name, "a.b");
    ck_assert_int_eq(out.type, OMEN_FIELD_FLOAT);
    for (size_t count = 0; count < parts.bytes; count++)
        ck_assert_int_eq(op_decode_field(bytes, count, &out, &error), OMEN_E_CORRUPT);
    free(bytes);
    op_parts_fini(&parts);
}
END_TEST

START_TEST(a_field_that_is_given_up_has_a_name_and_no_type)
{
    struct op_field field = {.name = "a.b"};
    struct op_parts parts;
    struct op_field out;
    struct omen_error error = {0};
    ck_assert_int_eq(op_encode_field(&field, &parts), OMEN_OK);
    uint64_t *bytes = joined(&parts);
    ck_assert_int_eq(op_decode_field_drop(bytes, parts.bytes, &out, &error), OMEN_OK);
    ck_assert_str_eq(out.name, "a.b");
    for (size_t count = 0; count < parts.bytes; count++)
        ck_assert_int_eq(op_decode_field_drop(bytes, count, &out, &error), OMEN_E_CORRUPT);
    ck_assert_int_eq(op_decode_field(bytes, parts.bytes, &out, &error), OMEN_E_CORRUPT);
    ((uint16_t *)(void *)bytes)[1] = OMEN_FIELD_BOOL;
    ck_assert_int_eq(op_decode_field_drop(bytes, parts.bytes, &out, &error), OMEN_E_CORRUPT);
    ck_assert_str_eq(error.text, "log entry: a field that is given up has no type");
    ((uint16_t *)(void *)bytes)[0] = 2;
    ck_assert_int_eq(op_decode_field_drop(bytes, parts.bytes, &out, &error), OMEN_E_VERSION);
    free(bytes);
    op_parts_fini(&parts);
}
END_TEST

START_TEST(encoding_without_memory_is_refused)
{
    const uint64_t id = 7;
    const struct op_rows rows = {.kind = ID_KIND_INTEGER, .count = 1, .ids = &id};
    struct op_parts parts;
    mem_fail_after(1);
    ck_assert_int_eq(op_encode(&rows, &parts), OMEN_E_NO_MEMORY);
    mem_fail_after(0);
    op_parts_fini(&parts);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("op");
    TCase *tcase = tcase_create("op");
    tcase_add_loop_test(tcase, rows_come_out_as_they_went_in, 0, 60);
    tcase_add_loop_test(tcase, every_shorter_entry_is_refused, 0, 20);
    tcase_add_test(tcase, a_newer_version_is_told_apart_from_damage);
    tcase_add_test(tcase, a_field_comes_out_as_it_went_in);
    tcase_add_test(tcase, a_field_that_is_given_up_has_a_name_and_no_type);
    tcase_add_test(tcase, encoding_without_memory_is_refused);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
