// tests/unit/tools/omenctl/test_remote.c -- the table of verbs that ask a cluster says only what the protocol's tables have.
#include "tools/omenctl/remote.h"

#include <string.h>

#include "tests/lib/check_main.h"

// The row of a key, which may have '-' for '_'.
static const struct field *
find_key(const struct shape *shape, const char *name, size_t bytes)
{
    for (uint32_t i = 0; i < shape->field_count; i++) {
        const char *key = shape->fields[i].key;
        size_t at = 0;
        while (at < bytes && (key[at] == name[at] || (key[at] == '_' && name[at] == '-')))
            at++;
        if (at == bytes && key[bytes] == '\0')
            return &shape->fields[i];
    }
    return NULL;
}

static void
expect_keys(const struct shape *shape, const char *keys, const char *verb)
{
    while (*keys != '\0') {
        const size_t bytes = strcspn(keys, " ");
        ck_assert_msg(find_key(shape, keys, bytes) != NULL, "%s: %s has no '%.*s'", verb,
                      shape->name, (int)bytes, keys);
        keys += bytes + (keys[bytes] == ' ');
    }
}

// Of each verb whose row is a method: how many there are.
static uint32_t
for_each_verb(void (*look)(const struct verb *verb, const struct method *method))
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < noun_count; i++) {
        for (uint32_t j = 0; j < nouns[i]->verb_count; j++) {
            const struct verb *verb = &nouns[i]->verbs[j];
            if (verb->remote == NULL || verb->remote->method == METHODS_END)
                continue;
            look(verb, method_at(verb->remote->method));
            count++;
        }
    }
    return count;
}

static void
look_at_keys(const struct verb *verb, const struct method *method)
{
    const struct remote *remote = verb->remote;
    if (remote->keys != NULL)
        expect_keys(method->ask, remote->keys, method->name);
    ck_assert_msg((remote->keys == NULL) == (verb->arguments_max == 0), "%s", method->name);
    if (remote->always != NULL)
        expect_keys(method->ask, remote->always, method->name);
    if (remote->word != NULL)
        expect_keys(method->ask, remote->word, method->name);
    if (remote->inside != NULL)
        expect_keys(shape_field(method->answer, remote->rows)->shape, remote->inside, method->name);
    for (uint32_t i = 0; i < verb_option_count(verb); i++)
        if (!verb->options[i].is_own)
            expect_keys(method->ask, verb->options[i].name, method->name);
}

static void
look_at_answer(const struct verb *verb, const struct method *method)
{
    const struct remote *remote = verb->remote;
    const struct shape *shape = method->answer;
    if (remote->rows != NULL) {
        const struct field *rows = find_key(shape, remote->rows, strlen(remote->rows));
        ck_assert_msg(rows != NULL && rows->kind == FIELD_LIST, "%s: %s", method->name,
                      remote->rows);
        shape = rows->shape;
    }
    if (remote->columns != NULL)
        expect_keys(shape, remote->columns, method->name);
    if (remote->waits)
        ck_assert_ptr_eq(method->answer, &api_started);
    if (method->answer == &api_started)
        ck_assert_msg(remote->waits, "%s has a job and no --wait", method->name);
}

static void
look_at_kind(const struct verb *verb, const struct method *method)
{
    ck_assert_msg((verb->kind == VERB_READS) == client_reads(method), "%s", method->name);
    ck_assert_msg((verb->kind == VERB_CHANGES) == (verb->remote->question != NULL), "%s",
                  method->name);
}

START_TEST(arguments_and_options_are_keys_of_what_the_method_is_asked_with)
{
    ck_assert_uint_gt(for_each_verb(look_at_keys), 50);
}
END_TEST

START_TEST(rows_and_columns_are_keys_of_what_the_method_answers)
{
    ck_assert_uint_gt(for_each_verb(look_at_answer), 50);
}
END_TEST

START_TEST(what_changes_something_asks_first_and_what_reads_does_not)
{
    ck_assert_uint_gt(for_each_verb(look_at_kind), 50);
}
END_TEST

static bool seen[METHODS_END];

static void
note_method(const struct verb *verb, const struct method *method)
{
    (void)verb;
    seen[method->number] = true;
}

START_TEST(every_method_of_the_protocol_is_a_verb)
{
    seen[METHOD_SYSTEM_HELLO] = true; // every verb says it
    for_each_verb(note_method);
    for (int i = 0; i < METHODS_END; i++)
        ck_assert_msg(seen[i], "no verb asks %s", method_at((enum method_number)i)->name);
}
END_TEST

START_TEST(a_setting_is_what_was_given_else_the_environments_unless_that_is_empty)
{
    ck_assert_int_eq(setenv("OMEN_TEST_SETTING", "set", 1), 0);
    ck_assert_str_eq(call_setting("given", "OMEN_TEST_SETTING"), "given");
    ck_assert_str_eq(call_setting(NULL, "OMEN_TEST_SETTING"), "set");
    ck_assert_int_eq(setenv("OMEN_TEST_SETTING", "", 1), 0);
    ck_assert_ptr_null(call_setting(NULL, "OMEN_TEST_SETTING"));
    ck_assert_int_eq(unsetenv("OMEN_TEST_SETTING"), 0);
    ck_assert_ptr_null(call_setting(NULL, "OMEN_TEST_SETTING"));
}
END_TEST

static Suite *
remote_suite(void)
{
    Suite *suite = suite_create("tools/omenctl/remote");
    TCase *tests = tcase_create("remote");
    tcase_add_test(tests, arguments_and_options_are_keys_of_what_the_method_is_asked_with);
    tcase_add_test(tests, rows_and_columns_are_keys_of_what_the_method_answers);
    tcase_add_test(tests, what_changes_something_asks_first_and_what_reads_does_not);
    tcase_add_test(tests, every_method_of_the_protocol_is_a_verb);
    tcase_add_test(tests, a_setting_is_what_was_given_else_the_environments_unless_that_is_empty);
    suite_add_tcase(suite, tests);
    return suite;
}

CHECK_MAIN(remote_suite)
