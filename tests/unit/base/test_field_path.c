// tests/unit/base/test_field_path.c -- what a dotted name reaches. Random payloads are in
// test_filter.c.
#include "base/field_path.h"

#include "base/limits.h"
#include "tests/lib/check_main.h"
#include "tests/lib/packer.h"

struct found {
    int64_t sum; // of the integers visited
    uint32_t count;
    uint32_t stop_at; // ends the walk at this visit; 0: never
};

static bool
visit(void *context, const struct msgpack_value *value)
{
    struct found *found = context;
    found->sum += value->kind == MSGPACK_INT ? value->integer : 0;
    return ++found->count == found->stop_at;
}

static struct found
walk(const struct packer *packer, const char *name)
{
    struct found found = {0};
    ck_assert(!field_walk(packer->bytes, packer->count, name, strlen(name), visit, &found));
    return found;
}

static void
pack_pair(struct packer *packer, const char *key, int64_t value)
{
    pack_text(packer, key);
    pack_int(packer, value);
}

START_TEST(arrays_are_transparent_wherever_they_stand)
{
    struct packer packer = {.count = 0};
    pack_map(&packer, 1);
    pack_text(&packer, "a");
    pack_array(&packer, 3);
    pack_map(&packer, 1);
    pack_pair(&packer, "b", 1);
    pack_array(&packer, 2);
    pack_map(&packer, 1);
    pack_pair(&packer, "b", 10);
    pack_int(&packer, 7);
    pack_map(&packer, 1);
    pack_text(&packer, "b");
    pack_array(&packer, 2);
    pack_int(&packer, 100);
    pack_array(&packer, 1);
    pack_int(&packer, 1000);
    ck_assert_int_eq(walk(&packer, "a.b").sum, 1111);
    ck_assert_uint_eq(walk(&packer, "a.b").count, 4);
    ck_assert_uint_eq(walk(&packer, "a").count, 4); // three maps and the 7
    ck_assert_uint_eq(walk(&packer, "a.c").count, 0);
    ck_assert_uint_eq(walk(&packer, "b").count, 0);
}
END_TEST

START_TEST(shorter_first_keys_win_when_they_lead_somewhere)
{
    struct packer packer = {.count = 0};
    pack_map(&packer, 3);
    pack_pair(&packer, "a.b.c", 1);
    pack_text(&packer, "a.b");
    pack_map(&packer, 2);
    pack_pair(&packer, "c", 2);
    pack_pair(&packer, "d", 4);
    pack_text(&packer, "a");
    pack_map(&packer, 1);
    pack_text(&packer, "b");
    pack_map(&packer, 1);
    pack_pair(&packer, "e", 8);
    ck_assert_int_eq(walk(&packer, "a.b.c").sum, 2);
    ck_assert_int_eq(walk(&packer, "a.b.d").sum, 4);
    ck_assert_int_eq(walk(&packer, "a.b.e").sum, 8);
    ck_assert_uint_eq(walk(&packer, "a.b").count, 1);
    ck_assert_uint_eq(walk(&packer, "a.b.c.x").count, 0);
}
END_TEST

START_TEST(visit_that_says_so_ends_the_walk)
{
    struct packer packer = {.count = 0};
    pack_map(&packer, 1);
    pack_text(&packer, "a");
    pack_array(&packer, 4);
    for (int i = 1; i <= 4; i++)
        pack_int(&packer, i);
    struct found found = {.stop_at = 2};
    ck_assert(field_walk(packer.bytes, packer.count, "a", 1, visit, &found));
    ck_assert_uint_eq(found.count, 2);
    ck_assert_int_eq(found.sum, 3);
}
END_TEST

START_TEST(names_are_checked_for_length_encoding_and_empty_parts)
{
    char longest[FIELD_NAME_BYTES_MAX + 1];
    memset(longest, 'f', sizeof longest);
    ck_assert(field_name_valid(longest, FIELD_NAME_BYTES_MAX));
    ck_assert(!field_name_valid(longest, FIELD_NAME_BYTES_MAX + 1));
    ck_assert(field_name_valid("a.b c.\xc3\xa9", 8));
    ck_assert(!field_name_valid("", 0));
    ck_assert(!field_name_valid(".a", 2));
    ck_assert(!field_name_valid("a.", 2));
    ck_assert(!field_name_valid("a..b", 4));
    ck_assert(!field_name_valid("a\0b", 3));
    ck_assert(!field_name_valid("\xff", 1));
}
END_TEST

static Suite *
field_path_suite(void)
{
    Suite *suite = suite_create("base/field_path");
    TCase *walking = tcase_create("walking");
    tcase_add_test(walking, arrays_are_transparent_wherever_they_stand);
    tcase_add_test(walking, shorter_first_keys_win_when_they_lead_somewhere);
    tcase_add_test(walking, visit_that_says_so_ends_the_walk);
    tcase_add_test(walking, names_are_checked_for_length_encoding_and_empty_parts);
    suite_add_tcase(suite, walking);
    return suite;
}

CHECK_MAIN(field_path_suite)
