// tests/unit/tools/omenctl/test_contexts.c -- names of clusters come back as they were written, and a file that is none says where.
#include "tools/omenctl/contexts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/check_main.h"

static struct contexts contexts;
static struct omen_error error;

// From a block exactly as large.
static omen_status
read_bytes(const char *text, size_t bytes)
{
    char *exact = malloc(bytes > 0 ? bytes : 1);
    ck_assert_ptr_nonnull(exact);
    memcpy(exact, text, bytes);
    error = (struct omen_error){0};
    const omen_status status = contexts_read(exact, bytes, &contexts, &error);
    free(exact);
    return status;
}

static omen_status
read_text(const char *text)
{
    return read_bytes(text, strlen(text));
}

START_TEST(what_was_written_is_read)
{
    char text[4096], again[4096];
    struct context *prod = contexts_add(&contexts, "prod");
    (void)snprintf(prod->endpoints, sizeof prod->endpoints, "db1:7700,[::1]:7701");
    (void)snprintf(prod->api_key_file, sizeof prod->api_key_file, "/etc/o'brien/a key");
    struct context *dev = contexts_add(&contexts, "dev");
    (void)snprintf(dev->api_key, sizeof dev->api_key, "'root'.s3cr'et'");
    ck_assert_ptr_eq(contexts_add(&contexts, "prod"), prod); // it is there
    (void)snprintf(contexts.current, sizeof contexts.current, "dev");
    const size_t count = contexts_write(&contexts, text, sizeof text);
    ck_assert_uint_lt(count, sizeof text);
    ck_assert_uint_eq(strlen(text), count);
    for (size_t room = 0; room < count; room += 7) {
        memset(again, 'x', sizeof again);
        ck_assert_uint_eq(contexts_write(&contexts, again, room), count);
        ck_assert_int_eq(again[room], 'x');
    }
    const struct contexts before = contexts;
    ck_assert_msg(read_text(text) == OMEN_OK, "%s", error.text);
    ck_assert_str_eq(contexts.current, "dev");
    ck_assert_uint_eq(contexts.count, 2);
    for (uint32_t i = 0; i < 2; i++) {
        ck_assert_str_eq(contexts.list[i].name, before.list[i].name);
        ck_assert_str_eq(contexts.list[i].endpoints, before.list[i].endpoints);
        ck_assert_str_eq(contexts.list[i].api_key, before.list[i].api_key);
        ck_assert_str_eq(contexts.list[i].api_key_file, before.list[i].api_key_file);
    }
}
END_TEST

START_TEST(what_people_write_is_read)
{
    ck_assert_msg(read_text("# mine\n\ncurrent: a-1\r\ncontexts:\n  # of the lab\n  a-1:\n"
                            "    endpoints:   h:1,h:2  \n    api_key: ''\n  b:\n") == OMEN_OK,
                  "%s", error.text);
    ck_assert_str_eq(contexts.list[0].endpoints, "h:1,h:2");
    ck_assert_str_eq(contexts.list[0].api_key, "");
    ck_assert_str_eq(contexts.list[1].name, "b");
    ck_assert_int_eq(read_text(""), OMEN_OK);
    ck_assert_uint_eq(contexts.count, 0);
    ck_assert_int_eq(read_text("contexts:"), OMEN_OK);
}
END_TEST

START_TEST(what_is_none_is_refused_with_its_line)
{
    static const struct {
        const char *text, *words;
    } wrong[] = {
        {"current: 'a'\n", "current is 'a', of which nothing is said"},
        {"current: a b\n", "line 1: a name is"},
        {"contexts\n", "line 1: this is no 'key: value'"},
        {"contexts:x\n", "line 1: this is no"},
        {": x\n", "line 1: this is no"},
        {"contexts: x\n", "line 1: current, contexts"},
        {"servers:\n", "line 1: current, contexts"},
        {"  a:\n", "line 1: current, contexts"},
        {"contexts:\n a:\n", "line 2: current, contexts"},
        {"contexts:\n    endpoints: x\n", "line 2: current, contexts"},
        {"contexts:\n  a:\n    secret: x\n", "line 3: current, contexts"},
        {"contexts:\n  a: x\n", "line 2: current, contexts"},
        {"contexts:\n  a b:\n", "line 2: a name is"},
        {"contexts:\n  a:\n  a:\n", "line 3: this context was there before"},
        {"contexts:\n  a:\n    endpoints: 'x\n", "line 3: this is no"},
        {"contexts:\n  a:\n    endpoints: 'x''\n", "line 3: this is no"},
        {"contexts:\n  a:\n    endpoints: 'x'y\n", "line 3: this is no"},
        {"contexts:\n  a:\n    endpoints: '\n", "line 3: this is no"},
        {"contexts:\n  a:\n    endpoints: \"x\"\n", "line 3: this is no"},
        {"contexts:\n  a:\n    endpoints: [x]\n", "line 3: this is no"},
        {"contexts:\n  a:\n    endpoints: a\tb\n", "line 3: this is no"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ck_assert_msg(read_text(wrong[i].text) == OMEN_E_INVALID, "%s", wrong[i].text);
        ck_assert_msg(strstr(error.text, wrong[i].words) != NULL, "%s: %s", wrong[i].text,
                      error.text);
    }
    ck_assert_int_eq(read_bytes("current: a\0b\n", 13), OMEN_E_INVALID);
}
END_TEST

START_TEST(limits_hold_to_the_one)
{
    static char text[CONTEXTS_MAX * 16 + 2 * CONTEXT_VALUE_MAX];
    char name[CONTEXT_NAME_MAX + 2], value[CONTEXT_VALUE_MAX + 2];
    memset(name, 'a', sizeof name);
    name[CONTEXT_NAME_MAX] = '\0';
    ck_assert(context_name_valid(name) && !context_name_valid("") && !context_name_valid("a.b"));
    name[CONTEXT_NAME_MAX] = 'a';
    name[CONTEXT_NAME_MAX + 1] = '\0';
    ck_assert(!context_name_valid(name));
    memset(value, 'v', sizeof value);
    value[CONTEXT_VALUE_MAX] = '\0';
    ck_assert(context_value_valid(value) && context_value_valid("") &&
              !context_value_valid("a\nb"));
    snprintf(text, sizeof text, "contexts:\n  a:\n    api_key: %s\n", value);
    ck_assert_int_eq(read_text(text), OMEN_OK);
    ck_assert_str_eq(contexts.list[0].api_key, value);
    value[CONTEXT_VALUE_MAX] = 'v';
    value[CONTEXT_VALUE_MAX + 1] = '\0';
    ck_assert(!context_value_valid(value));
    snprintf(text, sizeof text, "contexts:\n  a:\n    api_key: %s\n", value);
    ck_assert_int_eq(read_text(text), OMEN_E_INVALID);
    (void)snprintf(text, sizeof text, "contexts:\n");
    for (uint32_t i = 0; i < CONTEXTS_MAX; i++)
        snprintf(text + strlen(text), 16, "  c%u:\n", i);
    ck_assert_int_eq(read_text(text), OMEN_OK);
    ck_assert_uint_eq(contexts.count, CONTEXTS_MAX);
    ck_assert_ptr_null(contexts_add(&contexts, "one-more"));
    ck_assert_ptr_nonnull(contexts_add(&contexts, "c7"));
    (void)snprintf(text + strlen(text), 16, "  one-more:\n");
    ck_assert_int_eq(read_text(text), OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "line 66: there are 64 contexts"));
}
END_TEST

START_TEST(one_that_is_removed_leaves_the_others_and_is_current_no_more)
{
    ck_assert_int_eq(read_text("current: b\ncontexts:\n  a:\n  b:\n  c:\n"), OMEN_OK);
    contexts_remove(&contexts, contexts_find(&contexts, "a"));
    ck_assert_str_eq(contexts.current, "b");
    contexts_remove(&contexts, contexts_find(&contexts, "b"));
    ck_assert_str_eq(contexts.current, "");
    ck_assert_uint_eq(contexts.count, 1);
    ck_assert_str_eq(contexts.list[0].name, "c");
    ck_assert_ptr_null(contexts_find(&contexts, "b"));
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("tools/contexts");
    TCase *tcase = tcase_create("contexts");
    tcase_add_test(tcase, what_was_written_is_read);
    tcase_add_test(tcase, what_people_write_is_read);
    tcase_add_test(tcase, what_is_none_is_refused_with_its_line);
    tcase_add_test(tcase, limits_hold_to_the_one);
    tcase_add_test(tcase, one_that_is_removed_leaves_the_others_and_is_current_no_more);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
