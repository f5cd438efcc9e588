// tests/unit/shard/test_op_change.c -- conditional changes come out of their bytes as they went in; damaged ones are refused.
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/prng.h"
#include "shard/op.h"
#include "tests/lib/check_main.h"

#define ROWS 5u

static const uint64_t ids[ROWS] = {3, 1, 4, 15, 9};
static const char *const texts[ROWS] = {"a", "bc", "def", "x", "yz"};
static const uint64_t versions[ROWS] = {0, UINT64_MAX, 7, 8, 9};
static const float vectors[ROWS][3] = {{1}, {2}, {3}, {4}, {5}};
static const uint8_t map[] = {0x81, 0xa1, 'k', 5}, names[] = {0x91, 0xa1, 'u'};
static const void *const payloads[ROWS] = {map, NULL, map, NULL, map};
static const size_t payload_bytes[ROWS] = {4, 0, 4, 0, 4};

static struct op_change
change_of(enum op_mode mode, bool text, bool conditional)
{
    struct op_change change = {
        .mode = mode,
        .rows = {.kind = text ? ID_KIND_TEXT : ID_KIND_INTEGER,
                 .count = ROWS,
                 .ids = text ? NULL : ids,
                 .texts = text ? texts : NULL},
        .if_versions = conditional ? versions : NULL,
    };
    if (mode <= OP_MODE_UPDATE) {
        change.rows.vectors = vectors;
        change.rows.row_bytes = sizeof vectors[0];
    }
    if (mode <= OP_MODE_PAYLOADS) {
        change.rows.payloads = payloads;
        change.rows.payload_bytes = payload_bytes;
    }
    if (mode == OP_MODE_PATCH) {
        change.set = map;
        change.set_bytes = sizeof map;
        change.unset = names;
        change.unset_bytes = sizeof names;
    }
    return change;
}

START_TEST(changes_come_out_as_they_went_in)
{
    const struct op_change in =
        change_of((enum op_mode)(1 + _i % 6), _i / 6 % 2 == 1, _i / 12 % 2 == 1);
    struct op_change got;
    struct omen_error error;
    void *bytes, *memory;
    size_t count;
    ck_assert_int_eq(op_encode_change(&in, &bytes, &count), OMEN_OK);
    const struct op_begin *begin = bytes;
    ck_assert_uint_eq(begin->type, OP_CHANGE);
    ck_assert_uint_eq(begin->flags, 0);
    ck_assert_int_eq(op_decode_change(begin + 1, count - sizeof *begin, &got, &memory, &error),
                     OMEN_OK);
    ck_assert_int_eq(got.mode, in.mode);
    ck_assert_int_eq(got.rows.kind, in.rows.kind);
    ck_assert_uint_eq(got.rows.count, ROWS);
    for (uint32_t i = 0; i < ROWS; i++) {
        if (in.rows.kind == ID_KIND_TEXT)
            ck_assert_str_eq(got.rows.texts[i], texts[i]);
        else
            ck_assert_uint_eq(got.rows.ids[i], ids[i]);
        if (in.rows.payloads != NULL)
            ck_assert_uint_eq(got.rows.payload_bytes[i], payload_bytes[i]);
    }
    ck_assert(in.rows.vectors == NULL ? got.rows.vectors == NULL
                                      : memcmp(got.rows.vectors, vectors, sizeof vectors) == 0);
    ck_assert(in.if_versions == NULL ? got.if_versions == NULL
                                     : memcmp(got.if_versions, versions, sizeof versions) == 0);
    ck_assert_uint_eq(got.set_bytes, in.set_bytes);
    ck_assert_uint_eq(got.unset_bytes, in.unset_bytes);
    if (in.mode == OP_MODE_PATCH) {
        ck_assert_mem_eq(got.set, map, sizeof map);
        ck_assert_mem_eq(got.unset, names, sizeof names);
    }
    mem_free(memory);
    mem_free(bytes);
}
END_TEST

// Logs of hosts are kept as long as files are.
START_TEST(the_bytes_of_a_change_are_frozen)
{
    static const uint8_t expected[] = {
        5,    0,    0,   0, 0, 0, 0, 0, // its type
        1,    0,    5,   0, 3, 0, 0, 0,
        1,    0,    0,   0, 0, 0, 0, 0, // version, mode, sections, count
        4,    0,    0,   0, 3, 0, 0, 0, // bytes of set and unset
        7,    0,    0,   0, 0, 0, 0, 0, // version
        0x81, 0xa1, 'k', 5, 0, 0, 0, 0, // set
        0x91, 0xa1, 'u', 0, 0, 0, 0, 0, // unset
        1,    0,    1,   0, 0, 0, 0, 0,
        1,    0,    0,   0, 0, 0, 0, 0, // rows: version, kind, sections, count
        0,    0,    0,   0, 0, 0, 0, 0,
        0,    0,    0,   0, 0, 0, 0, 0, // bytes of a row, of texts
        0,    0,    0,   0, 0, 0, 0, 0,
        3,    0,    0,   0, 0, 0, 0, 0, // of payloads; the id
    };
    struct op_change change = change_of(OP_MODE_PATCH, false, true);
    const uint64_t version = 7;
    void *bytes;
    size_t count;
    change.rows.count = 1;
    change.if_versions = &version;
    ck_assert_int_eq(op_encode_change(&change, &bytes, &count), OMEN_OK);
    ck_assert_uint_eq(count, sizeof expected);
    ck_assert_mem_eq(bytes, expected, count);
    mem_free(bytes);
}
END_TEST

static omen_status
decode(const uint64_t *bytes, size_t count, struct omen_error *error)
{
    struct op_change got;
    void *memory;
    const omen_status status = op_decode_change(bytes, count, &got, &memory, error);
    mem_free(memory);
    return status;
}

START_TEST(what_is_cut_off_or_newer_is_refused)
{
    const struct op_change change = change_of(OP_MODE_PATCH, true, true);
    struct omen_error error;
    void *bytes;
    size_t count;
    ck_assert_int_eq(op_encode_change(&change, &bytes, &count), OMEN_OK);
    uint64_t *body = (uint64_t *)bytes + 1;
    count -= sizeof *body;
    for (size_t cut = 0; cut < count; cut++)
        ck_assert_int_eq(decode(body, cut, &error), OMEN_E_CORRUPT);
    ck_assert_int_eq(decode(body, count, &error), OMEN_OK);
    uint8_t *head = (uint8_t *)body;
    head[0] = 2;
    ck_assert_int_eq(decode(body, count, &error), OMEN_E_VERSION);
    head[0] = 1;
    head[2] = 7;
    ck_assert_int_eq(decode(body, count, &error), OMEN_E_VERSION);
    head[2] = OP_MODE_DELETE; // whose changes have no patch
    ck_assert_int_eq(decode(body, count, &error), OMEN_E_CORRUPT);
    head[2] = 0;
    ck_assert_int_eq(decode(body, count, &error), OMEN_E_CORRUPT);
    head[2] = OP_MODE_PATCH;
    head[4] = 7;
    ck_assert_int_eq(decode(body, count, &error), OMEN_E_VERSION);
    mem_free(bytes);
}
END_TEST

START_TEST(damaged_bytes_are_refused_or_mean_something)
{
    const struct op_change change = change_of((enum op_mode)(1 + _i % 6), _i % 2 == 1, true);
    struct omen_error error;
    struct prng prng;
    void *bytes;
    size_t count;
    prng_init(&prng, (uint64_t)_i);
    ck_assert_int_eq(op_encode_change(&change, &bytes, &count), OMEN_OK);
    uint64_t *body = (uint64_t *)bytes + 1;
    count -= sizeof *body;
    for (int turn = 0; turn < 2000; turn++) {
        uint8_t *at = (uint8_t *)body + prng_below(&prng, (uint32_t)count);
        const uint8_t was = *at;
        *at ^= (uint8_t)(1u << prng_below(&prng, 8));
        const omen_status status = decode(body, count, &error);
        ck_assert(status == OMEN_OK || status == OMEN_E_CORRUPT || status == OMEN_E_VERSION);
        *at = was;
    }
    mem_free(bytes);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/op_change");
    TCase *tcase = tcase_create("changes");
    tcase_add_loop_test(tcase, changes_come_out_as_they_went_in, 0, 24);
    tcase_add_test(tcase, the_bytes_of_a_change_are_frozen);
    tcase_add_test(tcase, what_is_cut_off_or_newer_is_refused);
    tcase_add_loop_test(tcase, damaged_bytes_are_refused_or_mean_something, 0, 6);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
