// tests/unit/base/test_filter.c -- both forms of a filter, their errors, and matching held to a
// dumb twin.
#include "base/filter.h"

#include <locale.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "tests/lib/check_main.h"
#include "tests/lib/random_filter.h"

#define DESCRIBE_BYTES 65536u

static struct filter *
parse(const char *text)
{
    struct filter *filter;
    struct omen_error error;
    const omen_status status = filter_parse_text(text, strlen(text), &filter, &error);
    ck_assert_msg(status == OMEN_OK, "%s: %s", text, error.text);
    return filter;
}

static const char *
describe(const struct filter *filter)
{
    static char text[2][DESCRIBE_BYTES];
    static int turn;
    turn = 1 - turn;
    ck_assert_uint_lt(filter_describe(filter, text[turn], DESCRIBE_BYTES), DESCRIBE_BYTES);
    return text[turn];
}

static void
expect_described(const char *text, const char *described)
{
    struct filter *filter = parse(text);
    ck_assert_str_eq(describe(filter), described);
    struct filter *again = parse(described);
    ck_assert_str_eq(describe(again), described);
    filter_close(filter);
    filter_close(again);
}

static void
expect_error(const char *text, const char *part)
{
    struct filter *filter = (struct filter *)(uintptr_t)1;
    struct omen_error error;
    ck_assert_int_eq(filter_parse_text(text, strlen(text), &filter, &error), OMEN_E_FILTER);
    ck_assert_ptr_null(filter);
    ck_assert_int_eq(error.status, OMEN_E_FILTER);
    ck_assert_msg(strstr(error.text, part) != NULL, "%s\n  says  %s\n  not   %s", text, error.text,
                  part);
}

START_TEST(text_forms_make_the_tree_they_mean)
{
    expect_described("age >= 30 and age < 40 and city in [\"Oslo\"] and not deleted",
                     "age >= 30 and age < 40 and city == \"Oslo\" and deleted != true");
    expect_described("a=1 or b=2 and c=3", "a == 1 or b == 2 and c == 3");
    expect_described("(a=1 or b=2) and c=3", "(a == 1 or b == 2) and c == 3");
    expect_described("a=1 and (b=2 and (c=3))", "a == 1 and b == 2 and c == 3");
    expect_described("(a=1 or b=2) or c=3", "a == 1 or b == 2 or c == 3");
    expect_described("NOT a=1 AND b", "a != 1 and b == true");
    expect_described("not (a or b)", "not (a == true or b == true)");
    expect_described("not not a", "not a != true");
    expect_described("not a > 3", "not a > 3");
    expect_described("a <> 'x' and a != \"x\"", "a != \"x\" and a != \"x\"");
    expect_described("a not in (3, 1, 2.0, 1, '1', true, 2,)", "a not in [true, 1, 2, 3, \"1\"]");
    expect_described("a in []", "a in []");
    expect_described("a in [7]", "a == 7");
    expect_described("a = null", "not exists(a)");
    expect_described("a != null", "exists(a)");
    expect_described("a in [null]", "not exists(a)");
    expect_described("a in [1, null]", "a == 1 or not exists(a)");
    expect_described("a not in [1, null] and b", "not (a == 1 or not exists(a)) and b == true");
    expect_described("exists (a) and prefix(name, 'Os') and name prefix \"B\"",
                     "exists(a) and name prefix \"Os\" and name prefix \"B\"");
    expect_described("exists and prefix and time > 3",
                     "exists == true and prefix == true and time > 3");
    expect_described("prefix prefix 'x'", "prefix prefix \"x\"");
    expect_error("`a b`.c", "column 6 (byte 5): malformed number");
}
END_TEST

START_TEST(names_and_values_keep_their_spelling)
{
    expect_described("`not` = 1 and `a b.c` and `x\\`y`",
                     "`not` == 1 and `a b.c` == true and `x\\`y` == true");
    expect_described("user-name.first_2 = 1", "user-name.first_2 == 1");
    expect_described("\xc3\xa9t\xc3\xa9 = '\xc3\xa9'", "\xc3\xa9t\xc3\xa9 == \"\xc3\xa9\"");
    expect_described("a = '\\u00e9\\ud83d\\ude00\\n\\\"\\'\\/'",
                     "a == \"\xc3\xa9\xf0\x9f\x98\x80\\u000a\\\"'/\"");
    expect_described("a = -0 and b = -0.0", "a == 0 and b == 0.0");
    expect_described("a = 9223372036854775807", "a == 9223372036854775807");
    expect_described("a = 18446744073709551615", "a == 18446744073709551615");
    expect_described("a = 18446744073709551616", "a == 1.8446744073709552e+19");
    expect_described("a = -9223372036854775808", "a == -9223372036854775808");
    expect_described("a = -9223372036854775809", "a == -9.223372036854776e+18");
    expect_described("a = 0.1 and b = 1e3 and c = +.5 and d = 3.",
                     "a == 0.1 and b == 1000.0 and c == 0.5 and d == 3.0");
    expect_described("a < 1e999 and a > -1e999", "a < 1e999 and a > -1e999");
    expect_described("a > time(\"2024-05-01T14:00:00.5+02:00\")",
                     "a > time(\"2024-05-01T12:00:00.500000000Z\")");
}
END_TEST

START_TEST(syntax_errors_name_the_place_and_what_was_expected)
{
    expect_error("", "column 1 (byte 0): expected a field name, \"not\" or \"(\", found the end");
    expect_error(
        "age >= ",
        "column 8 (byte 7): expected a value (number, string, true, false, null), found the end");
    expect_error(
        "age >= )",
        "column 8 (byte 7): expected a value (number, string, true, false, null), found )");
    expect_error("\xc3\xa9 = \xc3\xa9", "column 5 (byte 5): expected a value");
    expect_error("a = 1 b = 2", "column 7 (byte 6): expected \"and\", \"or\" or the end, found b");
    expect_error("(a = 1", "expected \")\", \"and\" or \"or\", found the end");
    expect_error("a in 3", "column 6 (byte 5): expected \"[\", found 3");
    expect_error("a in [1 2]", "column 9 (byte 8): expected \",\" or \"]\", found 2");
    expect_error("a in [,]", "expected a value");
    expect_error("a not 3", "expected \"in\", found 3");
    expect_error("a prefix 3", "expected a string, found 3");
    expect_error("prefix(a, 3)", "expected a string, found 3");
    expect_error("exists(3)", "expected a field name, found 3");
    expect_error("exists(a", "expected \")\", found the end");
    expect_error("and", "column 1 (byte 0): expected a field name");
    expect_error("a and", "found the end");
    expect_error("a = 'x", "column 5 (byte 4): string without a closing quote");
    expect_error("`x", "name without a closing `");
    expect_error("a = '\\q'", "column 6 (byte 5): unknown escape");
    expect_error("a = '\\u12g4'", "4 hexadecimal digits");
    expect_error("a = '\\ud800'", "surrogate");
    expect_error("a = '\\ud800\\u0041'", "surrogate");
    expect_error("a = '\xff'", "column 6 (byte 5): not UTF-8");
    expect_error("\xff = 1", "not UTF-8");
    expect_error("a = 30abc", "column 5 (byte 4): malformed number");
    expect_error("a = 1e", "malformed number");
    expect_error("a = -", "malformed number");
    expect_error("a & b", "column 3 (byte 2): unexpected character");
    expect_error("a > null", "column 3 (byte 2): null has no order");
    expect_error("a.b. = 1", "a field name is");
    expect_error("a > time('soon')", "expected a time such as");
    expect_error("a > time(3)", "expected a string");
    expect_error("a = 1 and @", "column 11 (byte 10): unexpected character");
    expect_error("a in [1, @", "unexpected character");
    expect_error("a not @", "unexpected character");
}
END_TEST

static char *
repeat(const char *first, const char *more, uint32_t count, const char *last)
{
    char *text = calloc(1, strlen(first) + strlen(more) * count + strlen(last) + 1);
    char *end = text;
    end = stpcpy(end, first);
    for (uint32_t i = 0; i < count; i++)
        end = stpcpy(end, more);
    stpcpy(end, last);
    return text;
}

static void
expect_limit(char *at, char *past, const char *part)
{
    filter_close(parse(at));
    expect_error(past, part);
    free(at);
    free(past);
}

START_TEST(limits_hold_at_the_limit_and_fail_one_past_it)
{
    expect_limit(repeat("a", " and a", FILTER_NODES_MAX - 2, ""),
                 repeat("a", " and a", FILTER_NODES_MAX - 1, ""), "more than 256 conditions");
    // A `!=` is two nodes, and the `and` above is one.
    expect_limit(repeat("a", " and a != 1", 127, ""), repeat("a and a", " and a != 1", 127, ""),
                 "more than 256 conditions");
}
END_TEST

START_TEST(depth_list_and_text_limits_hold)
{
    expect_limit(repeat("", "not ", FILTER_DEPTH_MAX - 1, "a > 1"),
                 repeat("", "not ", FILTER_DEPTH_MAX, "a > 1"), "nested deeper than 16");
    expect_limit(repeat("a in [", "1,", FILTER_LIST_MAX - 1, "1]"),
                 repeat("a in [", "1,", FILTER_LIST_MAX, "1]"), "a list has at most 4096 values");
    expect_limit(repeat("a", " ", FILTER_TEXT_BYTES_MAX - 1, ""),
                 repeat("a", " ", FILTER_TEXT_BYTES_MAX, ""),
                 "text of 65537 bytes, more than 65536");
    expect_limit(repeat("", "f", FIELD_NAME_BYTES_MAX, " = 1"),
                 repeat("", "f", FIELD_NAME_BYTES_MAX + 1, " = 1"), "a field name is 1..255 bytes");
}
END_TEST

START_TEST(brackets_nest_to_the_limit_and_no_deeper)
{
    char at[64] = "";
    char past[64] = "";
    for (uint32_t i = 0; i < FILTER_DEPTH_MAX - 1; i++) {
        at[i] = past[i] = '(';
        at[FILTER_DEPTH_MAX + i] = ')';
    }
    at[FILTER_DEPTH_MAX - 1] = 'a';
    past[FILTER_DEPTH_MAX - 1] = '(';
    past[FILTER_DEPTH_MAX] = 'a';
    memset(past + FILTER_DEPTH_MAX + 1, ')', FILTER_DEPTH_MAX);
    filter_close(parse(at));
    expect_error(past, "nested deeper than 16");
    char *many = repeat("", "(", 60000, "");
    expect_error(many, "nested deeper than 16");
    free(many);
}
END_TEST

// ---- dict form ----

static void
expect_map(const struct packer *packer, const char *described)
{
    struct filter *filter;
    struct omen_error error;
    const omen_status status = filter_parse_map(packer->bytes, packer->count, &filter, &error);
    ck_assert_msg(status == OMEN_OK, "%s", error.text);
    ck_assert_str_eq(describe(filter), described);
    filter_close(filter);
}

START_TEST(example_of_the_interfaces_reads_as_its_text)
{
    struct packer packer = {.count = 0};
    pack_map(&packer, 1);
    pack_text(&packer, "and");
    pack_array(&packer, 3);
    pack_map(&packer, 1);
    pack_text(&packer, "age");
    pack_map(&packer, 2);
    pack_text(&packer, "gte");
    pack_int(&packer, 30);
    pack_text(&packer, "lt");
    pack_int(&packer, 40);
    pack_map(&packer, 1);
    pack_text(&packer, "city");
    pack_map(&packer, 1);
    pack_text(&packer, "in");
    pack_array(&packer, 2);
    pack_text(&packer, "Oslo");
    pack_text(&packer, "Bergen");
    pack_map(&packer, 1);
    pack_text(&packer, "not");
    pack_map(&packer, 1);
    pack_text(&packer, "deleted");
    pack_map(&packer, 1);
    pack_text(&packer, "eq");
    pack_bool(&packer, true);
    struct filter *text =
        parse("age >= 30 and age < 40 and city in [\"Oslo\",\"Bergen\"] and not deleted");
    expect_map(&packer, describe(text));
    filter_close(text);
}
END_TEST

START_TEST(several_keys_mean_and_and_bare_values_mean_eq_or_in)
{
    struct packer packer = {.count = 0};
    pack_map(&packer, 4);
    pack_text(&packer, "city");
    pack_text(&packer, "Oslo");
    pack_text(&packer, "tag");
    pack_array(&packer, 2);
    pack_int(&packer, 2);
    pack_int(&packer, 1);
    pack_text(&packer, "gone");
    pack_nil(&packer);
    pack_text(&packer, "x.y");
    pack_map(&packer, 3);
    pack_text(&packer, "exists");
    pack_bool(&packer, false);
    pack_text(&packer, "exists");
    pack_bool(&packer, true);
    pack_text(&packer, "prefix");
    pack_text(&packer, "p");
    expect_map(&packer, "city == \"Oslo\" and tag in [1, 2] and not exists(gone) and not "
                        "exists(x.y) and exists(x.y) and "
                        "x.y prefix \"p\"");
}
END_TEST

static void
expect_map_error(const char *bytes, size_t count, const char *part)
{
    struct filter *filter;
    struct omen_error error;
    uint8_t *copy = malloc(count + (count == 0));
    memcpy(copy, bytes, count);
    ck_assert_int_eq(filter_parse_map(copy, count, &filter, &error), OMEN_E_FILTER);
    ck_assert_ptr_null(filter);
    ck_assert_msg(strstr(error.text, part) != NULL, "says %s, not %s", error.text, part);
    free(copy);
}
#define EXPECT_MAP_ERROR(literal, part) expect_map_error(literal, sizeof(literal) - 1, part)

START_TEST(malformed_maps_are_refused_with_the_byte)
{
    EXPECT_MAP_ERROR("", "byte 0 of the map: cut short");
    EXPECT_MAP_ERROR("\x80", "empty map");
    EXPECT_MAP_ERROR("\x01", "byte 0 of the map: expected a map, found integer");
    EXPECT_MAP_ERROR("\x81\xa3"
                     "and\x90",
                     "byte 5 of the map: expected a condition, found an empty array");
    EXPECT_MAP_ERROR("\x81\xa2"
                     "or\x80",
                     "expected an array of conditions, found map");
    EXPECT_MAP_ERROR("\x81\xa3"
                     "not\x90",
                     "expected a map, found array");
    EXPECT_MAP_ERROR("\x81\x01\x01", "expected a string of UTF-8, found integer");
    EXPECT_MAP_ERROR("\x81\xa1"
                     "a\x80",
                     "expected an operator");
    EXPECT_MAP_ERROR("\x81\xa1"
                     "a\x81\xa1"
                     "b\x01",
                     "byte 4 of the map: unknown operator \"b\"");
    EXPECT_MAP_ERROR("\x81\xa1"
                     "a\x81\xa2in\x01",
                     "expected an array of values, found integer");
    EXPECT_MAP_ERROR("\x81\xa1"
                     "a\x81\xa2gt\xc0",
                     "null has no order");
    EXPECT_MAP_ERROR("\x81\xa1"
                     "a\x81\xa6prefix\x01",
                     "prefix needs a string");
    EXPECT_MAP_ERROR("\x81\xa1"
                     "a\x81\xa6"
                     "exists\x01",
                     "expected true or false, found integer");
    EXPECT_MAP_ERROR("\x81\xa1"
                     "a\xc4\x01x",
                     "found binary");
    EXPECT_MAP_ERROR("\x81\xa1"
                     "a\xcb\x7f\xf8\0\0\0\0\0\0",
                     "NaN");
    EXPECT_MAP_ERROR("\x81\xa1"
                     "a\xc7\x0c\xff\0\0\0\0\x7f\0\0\0\0\0\0\0",
                     "years 0 to 9999");
    EXPECT_MAP_ERROR("\x81\xa1"
                     "a\xa1\xff",
                     "not UTF-8");
    EXPECT_MAP_ERROR("\x81\xa0\x01", "a field name is");
    EXPECT_MAP_ERROR("\x81\xa1"
                     "a\x01\x01",
                     "byte 4 of the map: expected the end");
    EXPECT_MAP_ERROR("\x81\xa1"
                     "a\x91",
                     "cut short");
}
END_TEST

START_TEST(map_limits_hold_at_the_limit_and_fail_one_past_it)
{
    for (uint32_t past = 0; past < 2; past++) {
        struct packer packer = {.count = 0};
        struct filter *filter;
        const omen_status expected = past ? OMEN_E_FILTER : OMEN_OK;
        for (uint32_t i = 0; i < FILTER_DEPTH_MAX - 1 + past; i++) {
            pack_map(&packer, 1);
            pack_text(&packer, "not");
        }
        pack_map(&packer, 1);
        pack_text(&packer, "a");
        pack_int(&packer, 1);
        ck_assert_int_eq(filter_parse_map(packer.bytes, packer.count, &filter, NULL), expected);
        filter_close(filter);

        packer.count = 0;
        pack_map(&packer, 1);
        pack_text(&packer, "or");
        pack_array(&packer, FILTER_NODES_MAX - 1 + past);
        for (uint32_t i = 0; i < FILTER_NODES_MAX - 1 + past; i++) {
            pack_map(&packer, 1);
            pack_text(&packer, "a");
            pack_int(&packer, 1);
        }
        ck_assert_int_eq(filter_parse_map(packer.bytes, packer.count, &filter, NULL), expected);
        filter_close(filter);

        packer.count = 0;
        pack_map(&packer, 1);
        pack_text(&packer, "a");
        pack_array(&packer, FILTER_LIST_MAX + past);
        for (uint32_t i = 0; i < FILTER_LIST_MAX + past; i++)
            pack_int(&packer, i);
        ck_assert_int_eq(filter_parse_map(packer.bytes, packer.count, &filter, NULL), expected);
        filter_close(filter);

        uint8_t *large = calloc(1, FILTER_MAP_BYTES_MAX + 1);
        memcpy(large,
               "\x81\xa1"
               "a\xdb",
               4);
        const uint32_t length = FILTER_MAP_BYTES_MAX - 8 + past;
        for (uint32_t i = 0; i < 4; i++)
            large[4 + i] = (uint8_t)(length >> (24 - 8 * i));
        ck_assert_int_eq(filter_parse_map(large, 8 + length, &filter, NULL), expected);
        filter_close(filter);
        free(large);
    }
}
END_TEST

// ---- matching ----

START_TEST(random_filters_match_as_the_twin_says_in_both_forms)
{
    struct prng prng;
    uint32_t matches = 0;
    uint32_t mismatches = 0;
    prng_init(&prng, (uint64_t)_i + 77);
    for (int round = 0; round < 300; round++) {
        static struct model_text text;
        static struct packer packer;
        text.count = packer.count = 0;
        struct model_filter *model = model_filter_draw(&prng, model_draw_any, 3);
        model_say_filter(&text, &prng, model);
        struct filter *filter;
        struct omen_error error;
        ck_assert_msg(filter_parse_text(text.bytes, text.count, &filter, &error) == OMEN_OK,
                      "%s: %s", text.bytes, error.text);
        const char *described = describe(filter);
        if (model_pack_filter(&packer, model))
            expect_map(&packer, described);
        struct filter *again = parse(described);
        ck_assert_str_eq(describe(again), described);

        for (int i = 0; i < 40; i++) {
            struct model_payload payload;
            model_payload_draw(&prng, model_draw_any, &payload);
            packer.count = 0;
            pack_payload(&packer, &payload);
            ck_assert_int_eq(msgpack_check_map(packer.bytes, packer.count, NULL), OMEN_OK);
            const bool expected = model_match(model, &payload);
            ck_assert_msg(filter_match(filter, packer.bytes, packer.count) == expected,
                          "seed %d round %d: %s", _i, round, described);
            ck_assert(filter_match(again, packer.bytes, packer.count) == expected);
            matches += expected;
            mismatches += !expected;
        }
        filter_close(filter);
        filter_close(again);
        model_filter_free(model);
    }
    ck_assert_uint_gt(matches, 500);
    ck_assert_uint_gt(mismatches, 500);
}
END_TEST

static bool
matches(const char *text, const struct packer *packer)
{
    struct filter *filter = parse(text);
    const bool match = filter_match(filter, packer->bytes, packer->count);
    filter_close(filter);
    return match;
}

START_TEST(nesting_wins_over_a_key_with_a_dot_where_it_reaches_something)
{
    struct packer packer = {.count = 0};
    pack_map(&packer, 5);
    pack_text(&packer, "a.b");
    pack_int(&packer, 1);
    pack_text(&packer, "a");
    pack_map(&packer, 1);
    pack_text(&packer, "b");
    pack_int(&packer, 2);
    pack_text(&packer, "c.d");
    pack_int(&packer, 3);
    pack_text(&packer, "c");
    pack_map(&packer, 1);
    pack_text(&packer, "e");
    pack_int(&packer, 4);
    pack_text(&packer, "m");
    pack_array(&packer, 3);
    pack_int(&packer, 9);
    pack_map(&packer, 1);
    pack_text(&packer, "x.y");
    pack_map(&packer, 1);
    pack_text(&packer, "z");
    pack_int(&packer, 5);
    pack_array(&packer, 1);
    pack_array(&packer, 0);
    ck_assert(matches("a.b = 2", &packer));
    ck_assert(!matches("a.b = 1", &packer));
    ck_assert(matches("c.d = 3", &packer));
    ck_assert(matches("c.e = 4", &packer));
    ck_assert(matches("m.x.y.z = 5", &packer));
    ck_assert(matches("m = 9", &packer));
    ck_assert(!matches("exists(m.q)", &packer));
    ck_assert(matches("exists(a)", &packer));
    ck_assert(!matches("a = 2", &packer));
}
END_TEST

START_TEST(no_payload_is_an_empty_map)
{
    struct filter *missing = parse("a = null and a != 3 and a not in [1, 2] and not exists(a)");
    struct filter *there = parse("exists(a) or a = 1 or a prefix ''");
    ck_assert(filter_match(missing, NULL, 0));
    ck_assert(filter_match(missing, "\x80", 1));
    ck_assert(!filter_match(there, NULL, 0));
    filter_close(missing);
    filter_close(there);
}
END_TEST

START_TEST(parsing_under_failing_allocations_reports_and_leaks_nothing)
{
    const char *good =
        "a in [1,2,3,4,5,6,7,8,9,10] and (b or c or d or e or f) and (g or h or i prefix 'x')";
    static struct packer packer;
    packer.count = 0;
    pack_map(&packer, 2);
    pack_text(&packer, "a");
    pack_array(&packer, 10);
    for (int i = 0; i < 10; i++)
        pack_int(&packer, i);
    pack_text(&packer, "b");
    pack_text(&packer, "text");

    uint64_t refused = 0;
    for (uint64_t n = 1;; n++) {
        struct filter *first;
        struct filter *second;
        struct omen_error error;
        mem_fail_after(n);
        const omen_status a = filter_parse_text(good, strlen(good), &first, &error);
        const omen_status b = filter_parse_map(packer.bytes, packer.count, &second, &error);
        refused = mem_refused();
        mem_fail_after(0);
        ck_assert(a == OMEN_OK || a == OMEN_E_NO_MEMORY);
        ck_assert((a == OMEN_OK) == (first != NULL));
        ck_assert((b == OMEN_OK) == (second != NULL));
        filter_close(first);
        filter_close(second);
        if (refused == 0)
            break;
        ck_assert_uint_lt(n, 100);
    }
}
END_TEST

START_TEST(a_locale_with_a_decimal_comma_changes_nothing)
{
    if (setlocale(LC_ALL, "de_DE.UTF-8") == NULL)
        (void)setlocale(LC_ALL, "C.UTF-8");
    expect_described("a > 0.1 and b < 2.5e300", "a > 0.1 and b < 2.5e+300");
    (void)setlocale(LC_ALL, "C");
}
END_TEST

static Suite *
filter_suite(void)
{
    Suite *suite = suite_create("base/filter");
    TCase *text = tcase_create("text");
    tcase_add_test(text, text_forms_make_the_tree_they_mean);
    tcase_add_test(text, names_and_values_keep_their_spelling);
    tcase_add_test(text, syntax_errors_name_the_place_and_what_was_expected);
    tcase_add_test(text, limits_hold_at_the_limit_and_fail_one_past_it);
    tcase_add_test(text, depth_list_and_text_limits_hold);
    tcase_add_test(text, brackets_nest_to_the_limit_and_no_deeper);
    tcase_add_test(text, a_locale_with_a_decimal_comma_changes_nothing);
    suite_add_tcase(suite, text);
    TCase *map = tcase_create("map");
    tcase_add_test(map, example_of_the_interfaces_reads_as_its_text);
    tcase_add_test(map, several_keys_mean_and_and_bare_values_mean_eq_or_in);
    tcase_add_test(map, malformed_maps_are_refused_with_the_byte);
    tcase_add_test(map, map_limits_hold_at_the_limit_and_fail_one_past_it);
    suite_add_tcase(suite, map);
    TCase *matching = tcase_create("matching");
    tcase_add_loop_test(matching, random_filters_match_as_the_twin_says_in_both_forms, 0, 10);
    tcase_add_test(matching, nesting_wins_over_a_key_with_a_dot_where_it_reaches_something);
    tcase_add_test(matching, no_payload_is_an_empty_map);
    tcase_add_test(matching, parsing_under_failing_allocations_reports_and_leaks_nothing);
    suite_add_tcase(suite, matching);
    return suite;
}

CHECK_MAIN(filter_suite)
