// tests/unit/base/test_status.c -- the numbers are frozen, and each has a text, a name and a reaction.
//
// Shape: shell. The list below is written out a second time on purpose: it is the copy that does not change with
// base/status.h, so a renumbered status fails here.
#include "base/status.h"

#include <limits.h>
#include <string.h>

#include "tests/lib/check_main.h"

static const struct {
    int number;
    const char *name;
    enum status_act act;
} frozen[] = {
    {0, "OK", ACT_NONE},
    {-1, "NOT_FOUND", ACT_REPORT},
    {-2, "STALE_MAP", ACT_REROUTE},
    {-3, "BUSY", ACT_RETRY},
    {-4, "TIMEOUT", ACT_ASK},
    {-5, "CORRUPT", ACT_QUARANTINE},
    {-6, "NO_MEMORY", ACT_REPORT},
    {-7, "INVALID", ACT_REPORT},
    {-8, "DIMENSION", ACT_REPORT},
    {-9, "NOT_FINITE", ACT_REPORT},
    {-10, "ZERO_VECTOR", ACT_REPORT},
    {-11, "DUPLICATE_ID", ACT_REPORT},
    {-12, "EXISTS", ACT_REPORT},
    {-13, "ID_RANGE", ACT_REPORT},
    {-14, "ID_LENGTH", ACT_REPORT},
    {-15, "ID_KIND", ACT_REPORT},
    {-16, "K", ACT_REPORT},
    {-17, "DTYPE", ACT_REPORT},
    {-18, "FILTER", ACT_REPORT},
    {-19, "FIELD_TYPE", ACT_REPORT},
    {-20, "PAYLOAD", ACT_REPORT},
    {-21, "FULL", ACT_REPORT},
    {-22, "UNSUPPORTED", ACT_REPORT},
    {-23, "READ_ONLY", ACT_REPORT},
    {-24, "CLOSED", ACT_REPORT},
    {-25, "CANCELLED", ACT_REPORT},
    {-26, "INTERNAL", ACT_REPORT},
    {-27, "IO", ACT_QUARANTINE},
    {-28, "DISK_FULL", ACT_REPORT},
    {-29, "VERSION", ACT_REPORT},
    {-30, "LOCKED", ACT_REPORT},
    {-31, "CONFLICT", ACT_REPORT},
    {-32, "OP_EXPIRED", ACT_REPORT},
    {-33, "AUTH", ACT_REPORT},
    {-34, "METHOD", ACT_REPORT},
    {-35, "QUOTA", ACT_REPORT},
};
#define FROZEN_COUNT ((int)(sizeof frozen / sizeof frozen[0]))

START_TEST(every_status_keeps_its_number_name_and_reaction)
{
    ck_assert_str_eq(status_name(frozen[_i].number), frozen[_i].name);
    ck_assert_int_eq((int)status_act(frozen[_i].number), (int)frozen[_i].act);
    ck_assert_str_ne(status_text(frozen[_i].number), "unknown status");
    ck_assert_uint_gt(strlen(status_text(frozen[_i].number)), 1);
}
END_TEST

START_TEST(the_frozen_list_is_complete)
{
    int count = 0;
#define COUNT(name, number, act, text) count++;
    OMEN_STATUS_LIST(COUNT)
#undef COUNT
    ck_assert_int_eq(count, FROZEN_COUNT);
}
END_TEST

START_TEST(a_number_outside_the_list_is_answered_too)
{
    const int outside[] = {1, -FROZEN_COUNT, INT_MIN, INT_MAX};
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
        ck_assert_str_eq(status_text(outside[i]), "unknown status");
        ck_assert_str_eq(status_name(outside[i]), "UNKNOWN");
        ck_assert_int_eq((int)status_act(outside[i]), (int)ACT_REPORT);
    }
}
END_TEST

static Suite *
status_suite(void)
{
    Suite *suite = suite_create("base/status");
    TCase *tcase = tcase_create("status");
    tcase_add_loop_test(tcase, every_status_keeps_its_number_name_and_reaction, 0, FROZEN_COUNT);
    tcase_add_test(tcase, the_frozen_list_is_complete);
    tcase_add_test(tcase, a_number_outside_the_list_is_answered_too);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(status_suite)
