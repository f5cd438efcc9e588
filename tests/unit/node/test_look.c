// tests/unit/node/test_look.c -- a copy that goes on is looked at every few seconds, one that stands still once a minute.
#include "node/look.h"

#include <check.h>

#include "tests/lib/check_main.h"

#define SECOND UINT64_C(1000000000)

static struct look look;

static void
setup(void)
{
    look = (struct look){0};
}

// Looks as the data loop does, once a second; how many were made.
static uint32_t
run(struct look_at *at, uint64_t *now_ns, uint32_t seconds, uint64_t applied_each, bool news)
{
    uint32_t made = 0;
    for (uint32_t i = 0; i < seconds; i++, *now_ns += SECOND) {
        at->applied += applied_each;
        if (!look_is_due(&look, *at, *now_ns))
            continue;
        look_made(&look, *at, news, *now_ns);
        made++;
    }
    return made;
}

START_TEST(a_new_one_is_looked_at_at_once)
{
    ck_assert(look_is_due(&look, (struct look_at){0}, 0));
}
END_TEST

START_TEST(what_is_written_or_changes_by_itself_is_looked_at_every_four_seconds)
{
    struct look_at at = {0};
    uint64_t now_ns = 1;
    ck_assert_uint_eq(run(&at, &now_ns, 400, _i == 0 ? 1 : 0, _i == 1), 100);
}
END_TEST

// With every four seconds it was 64 looks a second for 256 copies; now it is 4.3.
START_TEST(what_stands_still_is_looked_at_once_a_minute)
{
    struct look_at at = {7, 7};
    uint64_t now_ns = 1;
    (void)run(&at, &now_ns, 60, 0, false);
    ck_assert_uint_eq(run(&at, &now_ns, 3600, 0, false), 60);
}
END_TEST

START_TEST(what_goes_on_again_is_looked_at_at_once_and_then_every_four_seconds)
{
    struct look_at at = {7, 7};
    uint64_t now_ns = 1;
    (void)run(&at, &now_ns, 600, 0, false);
    ck_assert(!look_is_due(&look, at, now_ns));
    if (_i == 0)
        at.applied++;
    else
        at.durable++; // a checkpoint
    ck_assert(look_is_due(&look, at, now_ns));
    look_made(&look, at, false, now_ns);
    ck_assert(!look_is_due(&look, at, now_ns + LOOK_SOON_NS - 1));
    ck_assert(look_is_due(&look, at, now_ns + LOOK_SOON_NS));
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("node/look");
    TCase *tcase = tcase_create("look");
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, a_new_one_is_looked_at_at_once);
    tcase_add_loop_test(tcase, what_is_written_or_changes_by_itself_is_looked_at_every_four_seconds,
                        0, 2);
    tcase_add_test(tcase, what_stands_still_is_looked_at_once_a_minute);
    tcase_add_loop_test(tcase, what_goes_on_again_is_looked_at_at_once_and_then_every_four_seconds,
                        0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
