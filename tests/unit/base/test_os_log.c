// tests/unit/base/test_os_log.c -- one line for each event, well-formed whatever it is about, and a flood is counted instead.
//
// Labels: tsan
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os_log.h"
#include "tests/lib/check_main.h"
#include "tests/lib/log_pipe.h"

static void
setup(void)
{
    log_pipe_open();
    log_level_set(LOG_LEVEL_INFO);
}

static uint32_t
lines(const char *text)
{
    uint32_t count = 0;
    for (; *text != '\0'; text++)
        count += *text == '\n';
    return count;
}

START_TEST(a_line_has_its_time_level_event_and_values)
{
    struct log_line line;
    ck_assert(log_begin(&line, NULL, LOG_LEVEL_WARN, "disk.slow"));
    log_number(&line, "ms", 812);
    log_text(&line, "lane", "bulk");
    log_uuid(&line, "copy", 0x0190000102030405, 0x8607080910111213);
    log_end(&line);
    const char *text = log_pipe_said();
    int year, month, day, hour, minute, second, ms;
    ck_assert_int_eq(sscanf(text, "time=%4d-%2d-%2dT%2d:%2d:%2d.%3dZ level=warn", &year, &month,
                            &day, &hour, &minute, &second, &ms),
                     7);
    ck_assert_int_ge(year, 2024);
    const char *rest = strstr(text, " level=warn");
    ck_assert_ptr_nonnull(rest);
    ck_assert_str_eq(rest, " level=warn event=disk.slow ms=812 lane=bulk"
                           " copy=01900001-0203-0405-8607-080910111213\n");
}
END_TEST

START_TEST(a_text_with_anything_in_it_stays_one_quoted_value_on_one_line)
{
    log_say(LOG_LEVEL_ERROR, "x", "why", "a \"b\"\n\\c=\x01");
    log_say(LOG_LEVEL_ERROR, "x", "why", "");
    const char *text = log_pipe_said();
    ck_assert_uint_eq(lines(text), 2);
    ck_assert_ptr_nonnull(strstr(text, " why=\"a \\\"b\\\"\\x0a\\\\c=\\x01\"\n"));
    ck_assert_ptr_nonnull(strstr(text, " why=\"\"\n"));
}
END_TEST

START_TEST(what_is_too_long_is_cut_and_still_one_line)
{
    char *text = malloc(5000);
    memset(text, 'y', 4999);
    text[4999] = '\0';
    log_say(LOG_LEVEL_INFO, "x", "why", text);
    free(text);
    const char *got = log_pipe_said();
    ck_assert_uint_eq(lines(got), 1);
    ck_assert_uint_lt(strlen(got), LOG_LINE_BYTES);
    ck_assert_ptr_nonnull(strstr(got, "yyy...\n"));
}
END_TEST

START_TEST(below_the_level_nothing_is_said)
{
    enum log_level level;
    log_say(LOG_LEVEL_DEBUG, "x", "a", "b");
    ck_assert(log_level_named("error", &level));
    log_level_set(level);
    log_say(LOG_LEVEL_WARN, "x", "a", "b");
    log_level_set(LOG_LEVEL_INFO);
    ck_assert(!log_level_named("loud", &level));
    ck_assert_str_eq(log_pipe_said(), "");
}
END_TEST

START_TEST(of_a_flood_a_burst_passes_and_the_rest_is_counted)
{
    static struct log_site site;
    struct log_line line;
    uint32_t passed = 0, tries = 0;
    // A second's turn may come in the middle: then another burst passes, and tells of what was kept before it.
    for (; tries < 1000; tries++) {
        if (!log_begin(&line, &site, LOG_LEVEL_INFO, "flood"))
            continue;
        passed++;
        log_end(&line);
    }
    ck_assert_uint_ge(passed, LOG_BURST);
    ck_assert_uint_le(passed, 3 * LOG_BURST);
    const uint32_t kept = atomic_load(&site.kept);
    ck_assert_uint_gt(kept, 0);
    ck_assert_uint_le(passed + kept, tries);
    atomic_store(&site.second, 0); // that second is over
    ck_assert(log_begin(&line, &site, LOG_LEVEL_INFO, "flood"));
    log_end(&line);
    char wanted[64];
    snprintf(wanted, sizeof wanted, " event=flood suppressed=%u\n", kept);
    ck_assert_ptr_nonnull(strstr(log_pipe_said(), wanted));
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("os_log");
    TCase *tcase = tcase_create("log");
    tcase_add_checked_fixture(tcase, setup, log_pipe_close);
    tcase_add_test(tcase, a_line_has_its_time_level_event_and_values);
    tcase_add_test(tcase, a_text_with_anything_in_it_stays_one_quoted_value_on_one_line);
    tcase_add_test(tcase, what_is_too_long_is_cut_and_still_one_line);
    tcase_add_test(tcase, below_the_level_nothing_is_said);
    tcase_add_test(tcase, of_a_flood_a_burst_passes_and_the_rest_is_counted);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
