// tests/unit/shard/test_patch.c -- a patch sets and takes away keys, keeps the order of the others, and refuses what is none.
#include "shard/patch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/msgpack.h"
#include "tests/lib/check_main.h"
#include "tests/lib/packer.h"

static struct packer old, set, unset, expected;
static uint8_t out[PATCH_ROOM];

// "a=1 b=2" as a map. NULL: no bytes at all.
static void
pack_pairs(struct packer *packer, const char *pairs)
{
    uint32_t count = 0;
    packer->count = 0;
    if (pairs == NULL)
        return;
    for (const char *at = pairs; *at != '\0'; at++)
        count += *at == '=';
    pack_map(packer, count);
    for (const char *at = pairs; *at != '\0'; at++) {
        if (*at != '=')
            continue;
        pack_string(packer, at - 1, 1);
        pack_int(packer, at[1] - '0');
    }
}

static void
pack_names(const char *names)
{
    unset.count = 0;
    if (names == NULL)
        return;
    pack_array(&unset, (uint32_t)strlen(names));
    for (const char *at = names; *at != '\0'; at++)
        pack_string(&unset, at, 1);
}

static void
check_patch(const char *before, const char *setting, const char *unsetting, const char *after)
{
    struct patch *patch;
    struct omen_error error;
    pack_pairs(&old, before);
    pack_pairs(&set, setting);
    pack_names(unsetting);
    pack_pairs(&expected, after);
    ck_assert_msg(patch_open(set.bytes, set.count, unset.bytes, unset.count, &patch, &error) ==
                      OMEN_OK,
                  "%s", error.text);
    for (int again = 0; again < 2; again++) {
        const size_t bytes =
            patch_payload(patch, before != NULL ? old.bytes : NULL, old.count, out);
        ck_assert_uint_eq(bytes, expected.count);
        ck_assert_mem_eq(out, expected.bytes, bytes);
    }
    patch_close(patch);
}

START_TEST(keys_are_set_where_they_are_or_at_the_end)
{
    check_patch("a=1 b=2 c=3", "b=7", NULL, "a=1 b=7 c=3");
    check_patch("a=1 b=2 c=3", "d=4 e=5", NULL, "a=1 b=2 c=3 d=4 e=5");
    check_patch("a=1", "b=2 a=9", NULL, "a=9 b=2");
    check_patch("", "a=1", NULL, "a=1");
    check_patch(NULL, "a=1 b=2", NULL, "a=1 b=2");
}
END_TEST

START_TEST(keys_are_taken_away_and_the_rest_keeps_its_order)
{
    check_patch("a=1 b=2 c=3", NULL, "b", "a=1 c=3");
    check_patch("a=1 b=2 c=3", "c=5", "ax", "b=2 c=5");
    check_patch("a=1", NULL, "a", "");
    check_patch(NULL, NULL, "a", NULL);
    check_patch(NULL, "b=1", "a", "b=1");
}
END_TEST

START_TEST(many_keys_make_a_longer_head)
{
    struct patch *patch;
    struct omen_error error;
    struct msgpack_reader reader;
    struct msgpack_value value;
    set.count = old.count = 0;
    pack_map(&old, 14);
    for (int i = 0; i < 14; i++) {
        pack_string(&old, (const char[]){(char)('a' + i)}, 1);
        pack_int(&old, i);
    }
    pack_map(&set, 2000);
    for (int i = 0; i < 2000; i++) {
        char name[16];
        const int bytes = snprintf(name, sizeof name, "key%d", i);
        pack_string(&set, name, (size_t)bytes);
        pack_int(&set, i % 100);
    }
    ck_assert_int_eq(patch_open(set.bytes, set.count, NULL, 0, &patch, &error), OMEN_OK);
    const size_t bytes = patch_payload(patch, old.bytes, old.count, out);
    ck_assert_int_eq(msgpack_check_map(out, bytes, &error), OMEN_OK);
    reader = (struct msgpack_reader){.at = out, .end = out + bytes};
    ck_assert(msgpack_next(&reader, &value));
    ck_assert_uint_eq(value.count, 2014);
    patch_close(patch);
}
END_TEST

static void
refused(omen_status status, const char *sentence)
{
    struct patch *patch;
    struct omen_error error;
    ck_assert_int_eq(patch_open(set.bytes, set.count, unset.bytes, unset.count, &patch, &error),
                     status);
    ck_assert_ptr_null(patch);
    ck_assert_msg(strstr(error.text, sentence) != NULL, "%s", error.text);
}

START_TEST(what_is_no_patch_is_refused_by_what_it_is)
{
    pack_pairs(&set, "a=1");
    pack_names("ba");
    refused(OMEN_E_INVALID, "key \"a\" is set or unset twice");
    pack_names("bb");
    refused(OMEN_E_INVALID, "key \"b\" is set or unset twice");
    unset.count = 0;
    pack_map(&unset, 0);
    refused(OMEN_E_INVALID, "unset is no list");
    unset.count = 0;
    pack_array(&unset, 1);
    pack_int(&unset, 4);
    refused(OMEN_E_INVALID, "unset is no list of texts");
    unset.count = 0;
    set.count = 0;
    pack_int(&set, 4);
    refused(OMEN_E_INVALID, "set is no map");
    set.count = 0;
    pack_map(&set, 1);
    pack_int(&set, 4);
    pack_int(&set, 4);
    refused(OMEN_E_INVALID, "set is no map of texts to values");
    set.count = PAYLOAD_BYTES_MAX + 1;
    refused(OMEN_E_PAYLOAD, "set has 65537 bytes; a payload has at most 65536");
}
END_TEST

// A copy whose disk has rotted must not write beyond what it has.
START_TEST(a_damaged_payload_makes_no_more_than_there_is_room_for)
{
    struct patch *patch;
    struct omen_error error;
    static uint8_t text[60000];
    memset(text, 'x', sizeof text);
    set.count = old.count = 0;
    pack_map(&set, 1);
    pack_string(&set, "a", 1);
    pack_string(&set, (const char *)text, sizeof text);
    pack_map(&old, 1000);
    for (int i = 0; i < 1000; i++) {
        pack_string(&old, "a", 1);
        pack_int(&old, 1);
    }
    ck_assert_int_eq(patch_open(set.bytes, set.count, NULL, 0, &patch, &error), OMEN_OK);
    ck_assert_uint_eq(patch_payload(patch, old.bytes, old.count, out), set.count);
    ck_assert_mem_eq(out, set.bytes, set.count);
    ck_assert_uint_eq(patch_payload(patch, old.bytes, 1, out), set.count); // cut off
    patch_close(patch);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/patch");
    TCase *tcase = tcase_create("patch");
    tcase_add_test(tcase, keys_are_set_where_they_are_or_at_the_end);
    tcase_add_test(tcase, keys_are_taken_away_and_the_rest_keeps_its_order);
    tcase_add_test(tcase, many_keys_make_a_longer_head);
    tcase_add_test(tcase, what_is_no_patch_is_refused_by_what_it_is);
    tcase_add_test(tcase, a_damaged_payload_makes_no_more_than_there_is_room_for);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
