// tests/unit/gossip/test_suspect.c -- how long a suspect has, and what shortens it.
#include <check.h>
#include <math.h>
#include <string.h>

#include "tests/lib/gossip_alone.h"

static void
suspect_by(struct alone *alone, uint32_t number, uint32_t by)
{
    struct gossip_claim claim = alone_claim(number, GOSSIP_SUSPECT, 1, 0);
    claim.by = alone_id(by);
    alone_news(alone, by, claim);
}

static double
seconds_left(const struct alone *alone, uint32_t number)
{
    const struct gossip_suspicion *suspicion = &alone_see(alone, number)->suspicion;
    return (double)(suspicion->deadline_ns - suspicion->start_ns) / (double)ALONE_SECOND;
}

START_TEST(time_shrinks_with_each_confirmation_as_the_paper_says)
{
    struct alone *alone = alone_open_with(10);
    const double least = 4 * log10(11), most = 6 * least;
    suspect_by(alone, 1, 2);
    ck_assert_double_eq_tol(seconds_left(alone, 1), most, 0.01);
    suspect_by(alone, 1, 2);
    ck_assert_double_eq_tol(seconds_left(alone, 1), most, 0.01); // the same one again
    suspect_by(alone, 1, 3);
    ck_assert_double_eq_tol(seconds_left(alone, 1), most - log(2) / log(3) * (most - least), 0.01);
    suspect_by(alone, 1, 4);
    ck_assert_double_eq_tol(seconds_left(alone, 1), least, 0.01);
    suspect_by(alone, 1, 5);
    ck_assert_uint_eq(alone_see(alone, 1)->suspicion.count, 3);
    alone_close(alone);
}
END_TEST

START_TEST(too_few_to_confirm_means_the_least_time_at_once)
{
    struct alone *alone = alone_open_with(2);
    suspect_by(alone, 1, 2);
    ck_assert_double_eq_tol(seconds_left(alone, 1), 4, 0.01);
    alone_close(alone);
    alone = alone_open_with(3); // two others can confirm
    suspect_by(alone, 1, 2);
    ck_assert_double_eq_tol(seconds_left(alone, 1), 24, 0.01);
    alone_close(alone);
}
END_TEST

START_TEST(fast_profile_needs_one_confirmation_and_less_time)
{
    struct gossip_config config = alone_config();
    config.profile = GOSSIP_FAST;
    struct alone *alone = alone_open(&config);
    alone_meet(alone, 6);
    suspect_by(alone, 1, 2);
    ck_assert_double_eq_tol(seconds_left(alone, 1), 5.4, 0.01);
    suspect_by(alone, 1, 3);
    ck_assert_double_eq_tol(seconds_left(alone, 1), 0.9, 0.01);
    alone_close(alone);
}
END_TEST

START_TEST(suspect_that_refutes_lives_on)
{
    struct alone *alone = alone_open_with(10);
    suspect_by(alone, 1, 2);
    suspect_by(alone, 1, 3);
    suspect_by(alone, 1, 4);
    alone_run_answered(alone, 4 * ALONE_SECOND);
    alone_news(alone, 1, alone_claim(1, GOSSIP_ALIVE, 1, 1));
    alone_run_answered(alone, 60 * ALONE_SECOND);
    ck_assert_uint_eq(alone_see(alone, 1)->state, GOSSIP_ALIVE);
    ck_assert_uint_eq(alone->gossip.counters.declared, 0);
    alone_close(alone);
}
END_TEST

START_TEST(suspect_that_is_silent_is_dead_when_its_time_is_up)
{
    struct alone *alone = alone_open_with(10);
    suspect_by(alone, 1, 2);
    suspect_by(alone, 1, 3);
    suspect_by(alone, 1, 4);
    suspect_by(alone, 5, 2);
    alone_run_answered(alone, 4150 * (ALONE_SECOND / 1000)); // 4.166 s
    ck_assert_uint_eq(alone_see(alone, 1)->state, GOSSIP_SUSPECT);
    alone_run_answered(alone, 30 * (ALONE_SECOND / 1000));
    ck_assert_uint_eq(alone_see(alone, 1)->state, GOSSIP_DEAD);
    ck_assert_uint_eq(alone_see(alone, 5)->state, GOSSIP_SUSPECT);
    ck_assert_uint_eq(alone->gossip.counters.declared, 1);
    ck_assert_uint_eq(alone->notes[GOSSIP_NOTE_DEAD], 1);
    alone_run_answered(alone, 25 * ALONE_SECOND);
    ck_assert_uint_eq(alone_see(alone, 5)->state, GOSSIP_DEAD);
    alone_close(alone);
}
END_TEST

START_TEST(suspect_is_called_until_it_answers)
{
    struct alone *alone = alone_open_with(10);
    alone_run_answered(alone, 30 * ALONE_SECOND);
    const uint64_t probes = alone->gossip.counters.probes;
    const uint32_t pings = alone->said[GOSSIP_PING];
    suspect_by(alone, 1, 2);
    alone_run_answered(alone, 10 * ALONE_SECOND);
    const uint64_t probed = alone->gossip.counters.probes - probes;
    ck_assert_uint_eq(alone->said[GOSSIP_PING] - pings - probed, 9); // every 1.04 s
    alone_news(alone, 1, alone_claim(1, GOSSIP_ALIVE, 1, 1));
    const uint64_t later = alone->gossip.counters.probes;
    const uint32_t after = alone->said[GOSSIP_PING];
    alone_run_answered(alone, 10 * ALONE_SECOND);
    ck_assert_uint_eq(alone->said[GOSSIP_PING] - after, alone->gossip.counters.probes - later);
    alone_close(alone);
}
END_TEST

START_TEST(suspicion_of_a_newer_incarnation_begins_again)
{
    struct alone *alone = alone_open_with(10);
    suspect_by(alone, 1, 2);
    suspect_by(alone, 1, 3);
    alone->now_ns += ALONE_SECOND / 2;
    alone_news(alone, 4, alone_claim(1, GOSSIP_SUSPECT, 1, 1));
    ck_assert_uint_eq(alone_see(alone, 1)->suspicion.count, 1);
    ck_assert_uint_eq(alone_see(alone, 1)->suspicion.start_ns, alone->now_ns);
    alone_close(alone);
}
END_TEST

START_TEST(many_suspects_end_each_at_its_time)
{
    struct alone *alone = alone_open_with(30);
    for (uint32_t number = 1; number <= 20; number++) {
        suspect_by(alone, number, 25);
        alone_ack(alone);
        alone->now_ns += ALONE_SECOND / 20;
    }
    for (uint32_t number = 1; number <= 20; number += 2)
        alone_news(alone, number, alone_claim(number, GOSSIP_ALIVE, 1, 1));
    alone_run_answered(alone, 60 * ALONE_SECOND);
    for (uint32_t number = 1; number <= 20; number++)
        ck_assert_uint_eq(alone_see(alone, number)->state,
                          number % 2 != 0 ? GOSSIP_ALIVE : GOSSIP_DEAD);
    ck_assert_uint_eq(alone->gossip.suspect_first, 0);
    alone_close(alone);
}
END_TEST

static Suite *
suite(void)
{
    Suite *s = suite_create("gossip/suspect");
    TCase *time = tcase_create("time");
    tcase_add_test(time, time_shrinks_with_each_confirmation_as_the_paper_says);
    tcase_add_test(time, too_few_to_confirm_means_the_least_time_at_once);
    tcase_add_test(time, fast_profile_needs_one_confirmation_and_less_time);
    suite_add_tcase(s, time);
    TCase *ends = tcase_create("ends");
    tcase_add_test(ends, suspect_that_refutes_lives_on);
    tcase_add_test(ends, suspect_that_is_silent_is_dead_when_its_time_is_up);
    tcase_add_test(ends, suspect_is_called_until_it_answers);
    tcase_add_test(ends, suspicion_of_a_newer_incarnation_begins_again);
    tcase_add_test(ends, many_suspects_end_each_at_its_time);
    suite_add_tcase(s, ends);
    return s;
}

CHECK_MAIN(suite)
