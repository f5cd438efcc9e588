// tests/unit/clients/c/test_endpoints.c -- where a cluster is, as people write it.
#include "clients/c/endpoints.h"

#include <string.h>

#include "base/text.h"
#include "tests/lib/check_main.h"

START_TEST(endpoints_are_taken_apart_and_a_port_that_is_missing_is_7700)
{
    static const struct {
        const char *text, *host, *port, *shown;
    } cases[] = {
        {"db1", "db1", "7700", "db1:7700"},
        {"omen://db1:1", "db1", "1", "db1:1"},
        {"127.0.0.1:65535", "127.0.0.1", "65535", "127.0.0.1:65535"},
        {"[::1]:9", "::1", "9", "[::1]:9"},
        {"[fe80::1]", "fe80::1", "7700", "[fe80::1]:7700"},
        {"::1", "::1", "7700", "[::1]:7700"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct endpoints endpoints;
        struct omen_error error = {0};
        ck_assert_int_eq(endpoints_parse(cases[i].text, &endpoints, &error), OMEN_OK);
        ck_assert_uint_eq(endpoints.count, 1);
        ck_assert_str_eq(endpoints.at[0].host, cases[i].host);
        ck_assert_str_eq(endpoints.at[0].port, cases[i].port);
        ck_assert_str_eq(endpoints.at[0].text, cases[i].shown);
    }
}
END_TEST

START_TEST(several_endpoints_keep_their_order)
{
    struct endpoints endpoints;
    ck_assert_int_eq(endpoints_parse("omen://a:1,b,c:3", &endpoints, NULL), OMEN_OK);
    ck_assert_uint_eq(endpoints.count, 3);
    ck_assert_str_eq(endpoints.at[0].text, "a:1");
    ck_assert_str_eq(endpoints.at[1].text, "b:7700");
    ck_assert_str_eq(endpoints.at[2].text, "c:3");
}
END_TEST

START_TEST(what_is_no_endpoint_is_named)
{
    static const char *const cases[][2] = {
        {"", "has no host"},
        {"a:1,,b", "has no host"},
        {":1", "has no host"},
        {"a:", "'a:' has no port"},
        {"a:0", "'a:0' has no port"},
        {"a:65536", "has no port"},
        {"a:1x", "has no port"},
        {"[::1", "no closing bracket"},
        {"[::1]x", "behind its bracket"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct endpoints endpoints;
        struct omen_error error = {0};
        ck_assert_int_eq(endpoints_parse(cases[i][0], &endpoints, &error), OMEN_E_INVALID);
        ck_assert_msg(strstr(error.text, cases[i][1]) != NULL, "%s", error.text);
    }
}
END_TEST

START_TEST(more_endpoints_than_there_may_be_are_refused)
{
    char text[4 * ENDPOINTS_MAX];
    struct endpoints endpoints;
    struct text builder;
    text_init(&builder, text, sizeof text);
    text_add(&builder, "a");
    for (uint32_t i = 1; i < ENDPOINTS_MAX; i++)
        text_add(&builder, ",a");
    ck_assert_int_eq(endpoints_parse(text, &endpoints, NULL), OMEN_OK);
    ck_assert_uint_eq(endpoints.count, ENDPOINTS_MAX);
    text_add(&builder, ",a");
    ck_assert_int_eq(endpoints_parse(text, &endpoints, NULL), OMEN_E_INVALID);
}
END_TEST

static Suite *
endpoints_suite(void)
{
    Suite *suite = suite_create("clients/c/endpoints");
    TCase *tests = tcase_create("endpoints");
    tcase_add_test(tests, endpoints_are_taken_apart_and_a_port_that_is_missing_is_7700);
    tcase_add_test(tests, several_endpoints_keep_their_order);
    tcase_add_test(tests, what_is_no_endpoint_is_named);
    tcase_add_test(tests, more_endpoints_than_there_may_be_are_refused);
    suite_add_tcase(suite, tests);
    return suite;
}

CHECK_MAIN(endpoints_suite)
