// tests/unit/shard/test_field_index.c -- slot sets and ordered values beside plain arrays.
#include "shard/field_index.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/bitmap.h"
#include "base/prng.h"
#include "tests/lib/check_main.h"

// ---- slot sets ----

#define SET_SLOTS 5000u

static void
expect_set(const struct slot_set *set, const bool *twin, uint32_t slots)
{
    static uint64_t copied[SET_SLOTS / 64 + 1];
    static uint64_t united[SET_SLOTS / 64 + 1];
    memset(copied, 0xff, sizeof copied);
    memset(united, 0, sizeof united);
    slot_set_copy(set, copied, slots);
    slot_set_unite(set, united, slots);
    for (uint32_t i = 0; i < slots; i++)
        if ((copied[i / 64] >> (i % 64) & 1) != twin[i] ||
            (united[i / 64] >> (i % 64) & 1) != twin[i])
            ck_abort_msg("slot %u of %u", i, slots);
}

START_TEST(set_of_any_size_is_what_an_array_of_bools_is)
{
    // _i: how many of twenty steps add, so that it ends as a few, a list or bits.
    static bool twin[SET_SLOTS];
    struct slot_set set = {0};
    struct prng prng;
    uint32_t count = 0;
    prng_init(&prng, (uint64_t)_i + 1);
    for (uint32_t round = 0; round < 20000; round++) {
        const uint32_t limit = round < SET_SLOTS ? round + 1 : SET_SLOTS;
        const uint32_t slot =
            round < SET_SLOTS && prng_below(&prng, 3) ? round : prng_below(&prng, limit);
        if (prng_below(&prng, 20) < (uint32_t)_i) {
            if (!slot_set_claim(&set, limit))
                ck_abort_msg("no memory");
            if (prng_below(&prng, 10) == 0) {
                slot_set_unclaim(&set);
                continue;
            }
            if (slot_set_add(&set, slot) == twin[slot])
                ck_abort_msg("added slot %u", slot);
            count += !twin[slot];
            twin[slot] = true;
        } else {
            if (slot_set_remove(&set, slot) != twin[slot])
                ck_abort_msg("removed slot %u", slot);
            count -= twin[slot];
            twin[slot] = false;
        }
        if (round % 500 == 0) {
            ck_assert_uint_eq(set.count, count);
            expect_set(&set, twin, limit);
        }
    }
    for (uint32_t slots = 0; slots < SET_SLOTS; slots += 61)
        expect_set(&set, twin, slots);
    ck_assert_uint_le(slot_set_bytes(&set), SET_SLOTS / 8 * 9 / 8 + 16);
    slot_set_fini(&set);
    ck_assert(slot_set_idle(&set));
}
END_TEST

START_TEST(claims_of_a_batch_need_no_memory_when_they_are_used)
{
    struct slot_set set = {0};
    for (uint32_t i = 0; i < 3000; i++)
        ck_assert(slot_set_claim(&set, 100000));
    mem_fail_after(1);
    for (uint32_t i = 0; i < 3000; i++)
        ck_assert(slot_set_add(&set, i * 7 % 3000 * 33));
    ck_assert_uint_eq(mem_refused(), 0);
    mem_fail_after(0);
    ck_assert_uint_eq(set.count, 3000);
    ck_assert_uint_eq(set.claims, 0);
    slot_set_fini(&set);
}
END_TEST

START_TEST(refused_claim_changes_nothing)
{
    static bool twin[SET_SLOTS];
    struct slot_set set = {0};
    for (uint32_t slot = 0; slot < SET_SLOTS; slot++) {
        mem_fail_after(1);
        const bool refused = !slot_set_claim(&set, slot + 1);
        mem_fail_after(0);
        if (refused) {
            expect_set(&set, twin, slot);
            ck_assert_uint_eq(set.claims, 0);
            ck_assert(slot_set_claim(&set, slot + 1));
        }
        ck_assert(slot_set_add(&set, slot));
        twin[slot] = true;
    }
    expect_set(&set, twin, SET_SLOTS);
    slot_set_fini(&set);
}
END_TEST

// ---- the index ----

#define SLOTS 2000u
#define VALUES 3000u
#define KEY_BYTES 32

// Values v are even numbers' places on each type's own line: 2v is a value that may be there, 2v
// + 1 lies between.
static struct field_key
key_at(enum field_type type, uint32_t v, char *text)
{
    struct field_key key;
    struct value value = {.kind = VALUE_INT, .integer = (int64_t)v - VALUES};
    if (type == FIELD_KEYWORD) {
        value.kind = VALUE_STRING;
        value.string.length = (uint32_t)snprintf(text, KEY_BYTES, "common-%05u", v);
        value.string.bytes = text;
    } else if (type == FIELD_FLOAT) {
        value = (struct value){.kind = VALUE_FLOAT, .number = ((double)v - VALUES) * 0.25};
    } else if (type == FIELD_DATETIME) {
        value = (struct value){.kind = VALUE_TIME, .time = {(int64_t)v / 3 - 100, v % 3 * 1000}};
    } else if (type == FIELD_BOOL) {
        value = (struct value){.kind = VALUE_BOOL, .boolean = v % 2 != 0};
    }
    if (field_key_of_filter(type, &value, &key) != FIELD_KEY_OK)
        ck_abort_msg("value %u has no key", v);
    return key;
}

static void
expect_range(const struct field_index *index, enum field_type type, uint32_t (*rows)[2],
             uint32_t low, uint32_t high, enum field_bound low_bound, enum field_bound high_bound)
{
    char texts[2][KEY_BYTES];
    uint64_t words[SLOTS / 64 + 1] = {0};
    struct field_range range = {low_bound, high_bound, key_at(type, low, texts[0]),
                                key_at(type, high, texts[1])};
    field_index_range(index, &range, words, SLOTS);
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        bool expected = false;
        for (int i = 0; i < 2; i++) {
            const uint32_t v = rows[slot][i];
            expected = expected || (v != UINT32_MAX &&
                                    (low_bound == FIELD_UNBOUNDED || v > low ||
                                     (v == low && low_bound == FIELD_INCLUDED)) &&
                                    (high_bound == FIELD_UNBOUNDED || v < high ||
                                     (v == high && high_bound == FIELD_INCLUDED)));
        }
        if ((words[slot / 64] >> (slot % 64) & 1) != expected)
            ck_abort_msg("type %d slot %u [%u, %u] %d %d", type, slot, low, high, low_bound,
                         high_bound);
    }
}

static void
expect_answers(const struct field_index *index, enum field_type type, uint32_t (*rows)[2],
               struct prng *prng)
{
    for (int i = 0; i < 20; i++) {
        const uint32_t low = prng_below(prng, 2 * VALUES);
        const uint32_t high = i % 4 == 0 ? low + prng_below(prng, 3) : prng_below(prng, 2 * VALUES);
        const enum field_bound low_bound = (enum field_bound)prng_below(prng, 3);
        const enum field_bound high_bound = (enum field_bound)prng_below(prng, 3);
        expect_range(index, type, rows, low, high, low_bound, high_bound);
        char text[KEY_BYTES];
        const struct field_key key = key_at(type, low, text);
        const struct slot_set *set = field_index_find(index, &key);
        uint64_t words[SLOTS / 64 + 1] = {0};
        if (set != NULL)
            slot_set_unite(set, words, SLOTS);
        for (uint32_t slot = 0; slot < SLOTS; slot++)
            if ((words[slot / 64] >> (slot % 64) & 1) !=
                (rows[slot][0] == low || rows[slot][1] == low))
                ck_abort_msg("slot %u value %u", slot, low);
    }
}

static const enum field_type ordered_types[] = {FIELD_KEYWORD, FIELD_INTEGER, FIELD_FLOAT,
                                                FIELD_DATETIME};

START_TEST(values_come_and_go_and_ranges_stay_right)
{
    static uint32_t rows[SLOTS][2];
    const enum field_type type = ordered_types[_i / 2];
    const uint32_t distinct = _i % 2 == 0 ? VALUES : 5; // many values, then few
    struct field_index *index;
    struct prng prng;
    char text[KEY_BYTES];
    prng_init(&prng, (uint64_t)_i + 10);
    memset(rows, 0xff, sizeof rows);
    ck_assert_int_eq(field_index_open(type, &index), OMEN_OK);
    const size_t empty = field_index_bytes(index);
    for (uint32_t round = 0; round < 12000; round++) {
        const uint32_t slot = round < SLOTS ? round : prng_below(&prng, SLOTS);
        uint32_t *row = &rows[slot][prng_below(&prng, 2)];
        if (*row != UINT32_MAX) {
            const struct field_key key = key_at(type, *row, text);
            const bool twice = rows[slot][0] == rows[slot][1];
            if (!twice && !field_index_remove(index, &key, slot))
                ck_abort_msg("slot %u did not have value %u", slot, *row);
            *row = UINT32_MAX;
        }
        if (prng_below(&prng, 8 + round / 3000) < 8) {
            const uint32_t v = 2 * prng_below(&prng, distinct);
            const struct field_key key = key_at(type, v, text);
            const bool there = rows[slot][0] == v || rows[slot][1] == v;
            if (!field_index_claim(index, &key, SLOTS) ||
                field_index_add(index, &key, slot) == there)
                ck_abort_msg("slot %u value %u", slot, v);
            *row = v;
        }
        if (round % 3000 == 2999)
            expect_answers(index, type, rows, &prng);
    }
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        for (int i = 0; i < 2; i++) {
            if (rows[slot][i] == UINT32_MAX || (i == 1 && rows[slot][0] == rows[slot][1]))
                continue;
            const struct field_key key = key_at(type, rows[slot][i], text);
            if (!field_index_remove(index, &key, slot) || field_index_remove(index, &key, slot))
                ck_abort_msg("slot %u value %u", slot, rows[slot][i]);
        }
    }
    ck_assert_uint_eq(field_index_values(index), 0);
    ck_assert_uint_le(field_index_bytes(index), empty + 8192);
    field_index_close(index);
}
END_TEST

static const char *const prefix_words[] = {"",
                                           "a",
                                           "aa",
                                           "aa\0",
                                           "ab",
                                           "b",
                                           "commonbeginning",
                                           "commonbeginning-1",
                                           "commonbeginning-2",
                                           "commonbegin",
                                           "\xff\xff",
                                           "\xff",
                                           "zz"};
#define PREFIX_WORDS (sizeof prefix_words / sizeof prefix_words[0])

static struct field_key
keyword(const char *text)
{
    struct field_key key;
    struct value value = {.kind = VALUE_STRING};
    value.string.bytes = text;
    value.string.length = (uint32_t)strlen(text);
    ck_assert_int_eq(field_key_of_filter(FIELD_KEYWORD, &value, &key), FIELD_KEY_OK);
    return key;
}

START_TEST(prefixes_find_the_keywords_that_begin_so)
{
    struct field_index *index;
    ck_assert_int_eq(field_index_open(FIELD_KEYWORD, &index), OMEN_OK);
    for (uint32_t i = 0; i < PREFIX_WORDS; i++) {
        const struct field_key key = keyword(prefix_words[i]);
        ck_assert(field_index_claim(index, &key, PREFIX_WORDS));
        ck_assert(field_index_add(index, &key, i));
    }
    for (uint32_t p = 0; p < PREFIX_WORDS; p++) {
        uint64_t words[1] = {0};
        const size_t length = strlen(prefix_words[p]);
        field_index_prefix(index, prefix_words[p], length, words, PREFIX_WORDS);
        for (uint32_t i = 0; i < PREFIX_WORDS; i++)
            ck_assert((words[0] >> i & 1) ==
                      (strncmp(prefix_words[i], prefix_words[p], length) == 0));
    }
    field_index_close(index);
}
END_TEST

START_TEST(claimed_values_answer_nothing_and_leave_no_trace)
{
    struct field_index *index;
    char text[KEY_BYTES];
    ck_assert_int_eq(field_index_open(FIELD_KEYWORD, &index), OMEN_OK);
    for (uint32_t v = 0; v < 1000; v++) {
        const struct field_key key = key_at(FIELD_KEYWORD, v, text);
        ck_assert(field_index_claim(index, &key, 1000));
    }
    uint64_t words[16] = {0};
    const struct field_range all = {.low_bound = FIELD_UNBOUNDED};
    field_index_range(index, &all, words, 1000);
    for (uint32_t w = 0; w < 16; w++)
        ck_assert_uint_eq(words[w], 0);
    for (uint32_t v = 0; v < 1000; v++) {
        const struct field_key key = key_at(FIELD_KEYWORD, v * 7 % 1000, text);
        field_index_unclaim(index, &key);
    }
    ck_assert_uint_eq(field_index_values(index), 0);
    field_index_close(index);
}
END_TEST

START_TEST(failed_claims_change_no_answer)
{
    struct field_index *index;
    char text[KEY_BYTES];
    struct prng prng;
    uint32_t refused = 0;
    static uint32_t rows[SLOTS][2];
    prng_init(&prng, 4);
    memset(rows, 0xff, sizeof rows);
    ck_assert_int_eq(field_index_open(FIELD_KEYWORD, &index), OMEN_OK);
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        const uint32_t v = 2 * prng_below(&prng, 700);
        const struct field_key key = key_at(FIELD_KEYWORD, v, text);
        for (uint64_t n = 1;; n++) {
            const uint64_t values = field_index_values(index);
            mem_fail_after(n);
            const bool claimed = field_index_claim(index, &key, SLOTS);
            mem_fail_after(0);
            if (claimed)
                break;
            refused++;
            if (field_index_values(index) != values)
                ck_abort_msg("slot %u left a value behind", slot);
        }
        (void)field_index_add(index, &key, slot);
        rows[slot][0] = v;
    }
    ck_assert_uint_gt(refused, 1000);
    expect_answers(index, FIELD_KEYWORD, rows, &prng);
    field_index_close(index);
}
END_TEST

// ---- typed keys ----

static enum field_key_result
key_of(enum field_type type, const char *bytes, size_t count, struct field_key *key)
{
    struct msgpack_reader reader = {(const uint8_t *)bytes, (const uint8_t *)bytes + count};
    struct msgpack_value value;
    ck_assert(msgpack_next(&reader, &value));
    return field_key_of_payload(type, &value, key);
}
#define KEY_OF(type, literal, key) key_of(type, literal, sizeof(literal) - 1, key)

START_TEST(types_take_the_values_that_are_theirs)
{
    struct field_key key;
    for (int type = FIELD_KEYWORD; type <= FIELD_UUID; type++) {
        const enum field_type t = (enum field_type)type;
        ck_assert_int_eq(KEY_OF(t, "\xc0", &key), FIELD_KEY_NONE);
        ck_assert_int_eq(KEY_OF(t, "\xa1x", &key),
                         type == FIELD_KEYWORD ? FIELD_KEY_OK : FIELD_KEY_WRONG);
        ck_assert_int_eq(KEY_OF(t, "\x05", &key), type == FIELD_INTEGER || type == FIELD_FLOAT
                                                      ? FIELD_KEY_OK
                                                      : FIELD_KEY_WRONG);
        ck_assert_int_eq(KEY_OF(t, "\xcf\x80\0\0\0\0\0\0\0", &key),
                         type == FIELD_FLOAT ? FIELD_KEY_OK : FIELD_KEY_WRONG);
        ck_assert_int_eq(KEY_OF(t, "\xca\x3f\x80\0\0", &key),
                         type == FIELD_FLOAT ? FIELD_KEY_OK : FIELD_KEY_WRONG);
        ck_assert_int_eq(KEY_OF(t, "\xcb\x7f\xf8\0\0\0\0\0\0", &key),
                         type == FIELD_FLOAT ? FIELD_KEY_NONE : FIELD_KEY_WRONG);
        ck_assert_int_eq(KEY_OF(t, "\xc3", &key),
                         type == FIELD_BOOL ? FIELD_KEY_OK : FIELD_KEY_WRONG);
        ck_assert_int_eq(KEY_OF(t, "\x80", &key), FIELD_KEY_WRONG);
        ck_assert_int_eq(KEY_OF(t,
                                "\xc4\x10"
                                "0123456789abcdef",
                                &key),
                         type == FIELD_UUID ? FIELD_KEY_OK : FIELD_KEY_WRONG);
        ck_assert_int_eq(KEY_OF(t, "\xc4\x01x", &key), FIELD_KEY_WRONG);
        ck_assert_int_eq(KEY_OF(t, "\xd6\xff\0\0\0\x01", &key),
                         type == FIELD_DATETIME ? FIELD_KEY_OK : FIELD_KEY_WRONG);
        ck_assert_int_eq(KEY_OF(t,
                                "\xaa"
                                "2024-05-01",
                                &key),
                         type == FIELD_DATETIME || type == FIELD_KEYWORD ? FIELD_KEY_OK
                                                                         : FIELD_KEY_WRONG);
    }
}
END_TEST

START_TEST(spellings_of_one_instant_and_of_one_uuid_are_one_key)
{
    struct field_key a, b;
    ck_assert_int_eq(KEY_OF(FIELD_DATETIME,
                            "\xb9"
                            "1970-01-01T02:00:01+02:00",
                            &a),
                     FIELD_KEY_OK);
    ck_assert_int_eq(KEY_OF(FIELD_DATETIME, "\xd6\xff\0\0\0\x01", &b), FIELD_KEY_OK);
    ck_assert_int_eq(field_key_compare(&a, &b), 0);
    ck_assert_int_eq(KEY_OF(FIELD_UUID,
                            "\xd9\x20"
                            "30313233343536373839616263646566",
                            &a),
                     FIELD_KEY_OK);
    ck_assert_int_eq(KEY_OF(FIELD_UUID,
                            "\xc4\x10"
                            "0123456789abcdef",
                            &b),
                     FIELD_KEY_OK);
    ck_assert_int_eq(field_key_compare(&a, &b), 0);
}
END_TEST

static Suite *
field_index_suite(void)
{
    Suite *suite = suite_create("shard/field_index");
    TCase *sets = tcase_create("sets");
    tcase_add_loop_test(sets, set_of_any_size_is_what_an_array_of_bools_is, 0, 21);
    tcase_add_test(sets, claims_of_a_batch_need_no_memory_when_they_are_used);
    tcase_add_test(sets, refused_claim_changes_nothing);
    suite_add_tcase(suite, sets);
    TCase *index = tcase_create("index");
    tcase_add_loop_test(index, values_come_and_go_and_ranges_stay_right, 0, 8);
    tcase_add_test(index, prefixes_find_the_keywords_that_begin_so);
    tcase_add_test(index, claimed_values_answer_nothing_and_leave_no_trace);
    tcase_add_test(index, failed_claims_change_no_answer);
    suite_add_tcase(suite, index);
    TCase *keys = tcase_create("keys");
    tcase_add_test(keys, types_take_the_values_that_are_theirs);
    tcase_add_test(keys, spellings_of_one_instant_and_of_one_uuid_are_one_key);
    suite_add_tcase(suite, keys);
    return suite;
}

CHECK_MAIN(field_index_suite)
