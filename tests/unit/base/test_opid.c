// tests/unit/base/test_opid.c -- ids of operations at every limit, and one millisecond past each.
//
// Shape: shell.
#include "base/opid.h"

#include <string.h>

#include "tests/lib/check_main.h"

#define NOW_MS UINT64_C(1700000000000)

static const struct opid_clock clock_now = {
    .now_ms = NOW_MS, .old_ms = OPID_OLD_MS, .ahead_ms = OPID_AHEAD_MS};

static struct opid
drawn_at(uint64_t ms)
{
    return opid_draw(ms, (struct opid){0, 0});
}

static void
claim(struct opid id, const struct opid_clock *clock, omen_status status, const char *says)
{
    struct omen_error error = {.text = ""};
    ck_assert_int_eq(opid_check(id, clock, "shard 7", &error), status);
    ck_assert_msg(strstr(error.text, says) != NULL, "says '%s', not '%s'", error.text, says);
    ck_assert_msg(strstr(error.text, "...") == NULL, "too long: '%s'", error.text);
    ck_assert_int_eq(opid_check(id, clock, "shard 7", NULL), status);
}

// RFC 9562, A.6: 017F22E2-79B0-7CC3-98C4-DC0C0C07398F was drawn at 0x017F22E279B0 with the chance 0xCC3 and 0x18C4DC0C0C07398F.
START_TEST(an_id_is_drawn_as_rfc_9562_has_it)
{
    const struct opid id =
        opid_draw(0x017F22E279B0, (struct opid){0xCC3, UINT64_C(0x18C4DC0C0C07398F)});
    ck_assert_uint_eq(id.high, UINT64_C(0x017F22E279B07CC3));
    ck_assert_uint_eq(id.low, UINT64_C(0x98C4DC0C0C07398F));
    ck_assert(opid_is_uuid7(id));
    ck_assert_uint_eq(opid_ms(id), UINT64_C(0x017F22E279B0));
}
END_TEST

START_TEST(whatever_the_chance_is_it_is_a_uuid7_of_its_time)
{
    const struct opid all = opid_draw(UINT64_MAX, (struct opid){UINT64_MAX, UINT64_MAX});
    ck_assert(opid_is_uuid7(all));
    ck_assert_uint_eq(opid_ms(all), (UINT64_C(1) << 48) - 1);
    ck_assert(opid_is_uuid7(drawn_at(0)));
    ck_assert_uint_eq(opid_ms(drawn_at(0)), 0);
    ck_assert(!opid_is_none(drawn_at(0)));
    ck_assert(opid_is_none((struct opid){0, 0}));
    ck_assert(!opid_is_none((struct opid){1, 0}));
    ck_assert(!opid_is_none((struct opid){0, 1}));
}
END_TEST

START_TEST(any_other_version_and_variant_is_none_and_is_named)
{
    for (uint64_t bits = 0; bits < 64; bits++) {
        const struct opid id = {NOW_MS << 16 | (bits & 15) << 12, bits >> 4 << 62 | 5};
        const bool fine = (bits & 15) == 7 && bits >> 4 == 2;
        ck_assert(opid_is_uuid7(id) == fine);
        ck_assert_int_eq(opid_judge(id, &clock_now), fine ? OPID_FRESH : OPID_FOREIGN);
    }
    claim((struct opid){NOW_MS << 16 | 4 << 12, UINT64_C(3) << 62}, &clock_now, OMEN_E_INVALID,
          "no UUIDv7: version 4 and variant 3, expected 7 and 2");
}
END_TEST

START_TEST(one_drawn_ten_minutes_before_is_fresh_and_a_millisecond_more_is_old)
{
    ck_assert_int_eq(opid_judge(drawn_at(NOW_MS - OPID_OLD_MS), &clock_now), OPID_FRESH);
    ck_assert_int_eq(opid_judge(drawn_at(NOW_MS - OPID_OLD_MS - 1), &clock_now), OPID_OLD);
    ck_assert_int_eq(opid_judge(drawn_at(0), &clock_now), OPID_OLD);
    struct opid_clock marked = clock_now;
    marked.old_ms = 0;
    ck_assert_int_eq(opid_judge(drawn_at(0), &marked), OPID_FRESH);
    claim(drawn_at(NOW_MS - OPID_OLD_MS - 61000), &clock_now, OMEN_E_OP_EXPIRED,
          "drawn 661 s before the clock of shard 7, which answers for 600 s");
}
END_TEST

START_TEST(one_drawn_five_minutes_ahead_is_fresh_and_a_millisecond_more_is_ahead)
{
    ck_assert_int_eq(opid_judge(drawn_at(NOW_MS + OPID_AHEAD_MS), &clock_now), OPID_FRESH);
    ck_assert_int_eq(opid_judge(drawn_at(NOW_MS + OPID_AHEAD_MS + 1), &clock_now), OPID_AHEAD);
    ck_assert_int_eq(opid_judge(drawn_at(UINT64_MAX), &clock_now), OPID_AHEAD);
    claim(drawn_at(NOW_MS + 372999), &clock_now, OMEN_E_INVALID,
          "drawn 372 s ahead of the clock of shard 7, of 300 s at most");
}
END_TEST

START_TEST(a_clock_near_1970_or_the_end_of_time_does_not_wrap)
{
    struct opid_clock clock = clock_now;
    clock.now_ms = 0;
    ck_assert_int_eq(opid_judge(drawn_at(0), &clock), OPID_FRESH);
    ck_assert_int_eq(opid_judge(drawn_at(OPID_AHEAD_MS), &clock), OPID_FRESH);
    ck_assert_int_eq(opid_judge(drawn_at(OPID_AHEAD_MS + 1), &clock), OPID_AHEAD);
    clock.now_ms = UINT64_MAX;
    ck_assert_int_eq(opid_judge(drawn_at(NOW_MS), &clock), OPID_OLD);
}
END_TEST

START_TEST(what_was_drawn_before_the_mark_may_be_forgotten_and_what_came_later_is_not)
{
    struct opid_clock clock = clock_now;
    clock.forgot_ms = NOW_MS - 1000;
    ck_assert_int_eq(opid_judge(drawn_at(clock.forgot_ms - 1), &clock), OPID_FORGOTTEN);
    ck_assert_int_eq(opid_judge(drawn_at(clock.forgot_ms), &clock), OPID_FRESH);
    claim(drawn_at(clock.forgot_ms - 1), &clock, OMEN_E_OP_EXPIRED,
          "drawn before others that shard 7 had to forget");
}
END_TEST

START_TEST(a_fresh_one_is_fine_and_nothing_is_said)
{
    claim(drawn_at(NOW_MS), &clock_now, OMEN_OK, "");
}
END_TEST

static Suite *
opid_suite(void)
{
    Suite *suite = suite_create("base/opid");
    TCase *tcase = tcase_create("opid");
    tcase_add_test(tcase, an_id_is_drawn_as_rfc_9562_has_it);
    tcase_add_test(tcase, whatever_the_chance_is_it_is_a_uuid7_of_its_time);
    tcase_add_test(tcase, any_other_version_and_variant_is_none_and_is_named);
    tcase_add_test(tcase, one_drawn_ten_minutes_before_is_fresh_and_a_millisecond_more_is_old);
    tcase_add_test(tcase, one_drawn_five_minutes_ahead_is_fresh_and_a_millisecond_more_is_ahead);
    tcase_add_test(tcase, a_clock_near_1970_or_the_end_of_time_does_not_wrap);
    tcase_add_test(tcase,
                   what_was_drawn_before_the_mark_may_be_forgotten_and_what_came_later_is_not);
    tcase_add_test(tcase, a_fresh_one_is_fine_and_nothing_is_said);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(opid_suite)
