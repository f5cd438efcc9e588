// tests/unit/gossip/test_probe.c -- who is probed, by whom, and what is made of silence.
#include <check.h>
#include <string.h>

#include "tests/lib/gossip_alone.h"

#define MS (ALONE_SECOND / 1000)

// Runs until a direct ping is under way.
static void
run_to_probe(struct alone *alone)
{
    while (alone->gossip.probe.phase != GOSSIP_PROBE_DIRECT)
        alone_run(alone, 10 * MS);
}

START_TEST(everybody_is_probed_once_in_a_walk)
{
    struct alone *alone = alone_open_with(20);
    uint32_t times[21] = {0};
    alone_run_answered(alone, ALONE_SECOND); // to a walk's beginning
    while (alone->gossip.order_next != alone->gossip.order_count)
        alone_run_answered(alone, ALONE_SECOND);
    for (uint32_t i = 0; i < 60; i++) {
        run_to_probe(alone);
        times[alone->gossip.probe.id.low]++;
        alone_ack(alone);
    }
    for (uint32_t number = 1; number <= 20; number++)
        CLAIM(times[number] == 3, "%u was probed %u times in 3 walks", number, times[number]);
    ck_assert_uint_eq(alone->gossip.counters.probes_failed, 0);
    alone_close(alone);
}
END_TEST

START_TEST(silence_asks_three_helpers_and_the_control_lane)
{
    struct alone *alone = alone_open_with(6);
    run_to_probe(alone);
    const struct gossip_id target = alone->gossip.probe.id;
    const uint32_t pings = alone->said[GOSSIP_PING];
    alone_run(alone, 510 * MS);
    ck_assert_int_eq(alone->gossip.probe.phase, GOSSIP_PROBE_INDIRECT);
    ck_assert_uint_eq(alone->said[GOSSIP_PING_REQ], 3);
    ck_assert(gossip_id_equal(alone->last[GOSSIP_PING_REQ].msg.target, target));
    ck_assert_uint_eq(alone->said[GOSSIP_PING], pings + 1);
    ck_assert_int_eq(alone->last[GOSSIP_PING].lane, GOSSIP_LANE_CONTROL);
    ck_assert(gossip_id_equal(alone->last[GOSSIP_PING].msg.target, target));
    alone_ack(alone); // by whichever way
    ck_assert_int_eq(alone->gossip.probe.phase, GOSSIP_PROBE_NONE);
    alone_close(alone);
}
END_TEST

START_TEST(without_fallback_nothing_goes_by_the_control_lane)
{
    struct gossip_config config = alone_config();
    config.no_fallback = true;
    struct alone *alone = alone_open(&config);
    alone_meet(alone, 6);
    run_to_probe(alone);
    const uint32_t pings = alone->said[GOSSIP_PING];
    alone_run(alone, 510 * MS);
    ck_assert_uint_eq(alone->said[GOSSIP_PING], pings);
    alone_close(alone);
}
END_TEST

START_TEST(silence_for_a_period_makes_a_suspect)
{
    struct alone *alone = alone_open_with(6);
    run_to_probe(alone);
    const uint32_t target = (uint32_t)alone->gossip.probe.id.low;
    alone_run(alone, 900 * MS);
    ck_assert_uint_eq(alone_see(alone, target)->state, GOSSIP_ALIVE);
    alone_run(alone, 200 * MS);
    ck_assert_uint_eq(alone_see(alone, target)->state, GOSSIP_SUSPECT);
    ck_assert_uint_eq(alone->gossip.counters.probes_failed, 1);
    alone_close(alone);
}
END_TEST

START_TEST(missing_nacks_make_us_doubt_ourselves)
{
    struct alone *alone = alone_open_with(6);
    run_to_probe(alone);
    alone_run(alone, 510 * MS);
    alone_msg(alone, 2, GOSSIP_NACK);
    alone->msg.seq = alone->gossip.probe.seq;
    alone_say(alone);
    alone_run(alone, 600 * MS);
    ck_assert_uint_eq(alone->gossip.awareness, 2); // of three helpers two were silent
    alone_close(alone);

    alone = alone_open_with(6);
    run_to_probe(alone);
    alone_run(alone, 510 * MS);
    alone_msg(alone, 2, GOSSIP_NACK);
    alone->msg.seq = alone->gossip.probe.seq;
    for (int i = 0; i < 9; i++)
        alone_say(alone); // more than were asked for count for nothing
    alone_run(alone, 600 * MS);
    ck_assert_uint_eq(alone->gossip.awareness, 0);
    ck_assert_uint_eq(alone->gossip.counters.probes_failed, 1);
    alone_close(alone);
}
END_TEST

START_TEST(doubt_slows_our_probes_and_success_ends_it)
{
    struct alone *alone = alone_open_with(3);
    awareness_add(&alone->gossip, 100);
    ck_assert_uint_eq(alone->gossip.awareness, GOSSIP_AWARENESS_MAX);
    alone_run_answered(alone, 2 * ALONE_SECOND);
    const uint64_t probes = alone->gossip.counters.probes;
    ck_assert_uint_le(probes, 2);
    alone_run_answered(alone, 60 * ALONE_SECOND);
    ck_assert_uint_eq(alone->gossip.awareness, 0);
    awareness_add(&alone->gossip, -3);
    ck_assert_uint_eq(alone->gossip.awareness, 0);
    alone_close(alone);
}
END_TEST

START_TEST(answer_to_another_ping_or_of_another_process_counts_for_nothing)
{
    struct alone *alone = alone_open_with(6);
    run_to_probe(alone);
    alone_msg(alone, 1, GOSSIP_ACK);
    alone->msg.seq = alone->gossip.probe.seq + 1;
    alone->msg.target = alone->gossip.probe.id;
    alone->msg.target_boot = 1;
    alone_say(alone);
    alone->msg.seq--;
    alone->msg.target_boot = 2;
    alone_say(alone);
    alone->msg.target_boot = 1;
    alone->msg.target.low++;
    alone_say(alone);
    ck_assert_int_eq(alone->gossip.probe.phase, GOSSIP_PROBE_DIRECT);
    alone->msg.target.low--;
    alone_say(alone);
    ck_assert_int_eq(alone->gossip.probe.phase, GOSSIP_PROBE_NONE);
    alone_msg(alone, 1, GOSSIP_NACK);
    alone_say(alone);
    alone_close(alone);
}
END_TEST

static void
ping_us(struct alone *alone, struct gossip_id target, uint64_t boot)
{
    alone_msg(alone, 1, GOSSIP_PING);
    alone->msg.seq = 7;
    alone->msg.target = target;
    alone->msg.target_boot = boot;
    alone->out.send_count = 0;
    alone_say(alone);
}

START_TEST(ping_is_answered_on_the_lane_it_came_by)
{
    struct alone *alone = alone_open_with(3);
    ping_us(alone, alone_id(ALONE_NUMBER), 10);
    ck_assert_uint_eq(alone->said[GOSSIP_ACK], 1);
    ck_assert_uint_eq(alone->last[GOSSIP_ACK].msg.seq, 7);
    ck_assert_int_eq(alone->last[GOSSIP_ACK].lane, GOSSIP_LANE_DATAGRAM);
    alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_MESSAGE,
                                            .message = &alone->msg,
                                            .lane = GOSSIP_LANE_CONTROL});
    ck_assert_int_eq(alone->last[GOSSIP_ACK].lane, GOSSIP_LANE_CONTROL);
    alone_close(alone);
}
END_TEST

START_TEST(ping_for_another_process_at_our_address_is_answered_with_who_is_here)
{
    struct alone *alone = alone_open_with(3);
    ping_us(alone, alone_id(ALONE_NUMBER), 9);
    ping_us(alone, alone_id(77), 1);
    ck_assert_uint_eq(alone->said[GOSSIP_ACK], 0);
    bool told = false;
    for (uint32_t i = 0; i < alone->out.send_count; i++) {
        const struct gossip_msg *msg = &alone->out.sends[i].msg;
        const struct gossip_claim *claim = alone_said_of(msg, ALONE_NUMBER);
        told = told || (claim != NULL && claim->boot == 10 && claim->state == GOSSIP_ALIVE);
    }
    ck_assert(told);
    alone_close(alone);
}
END_TEST

static void
request(struct alone *alone, uint32_t from, struct gossip_id target, uint32_t seq)
{
    alone_msg(alone, from, GOSSIP_PING_REQ);
    alone->msg.seq = seq;
    alone->msg.target = target;
    alone->msg.target_boot = 1;
    alone_say(alone);
}

START_TEST(helper_passes_the_answer_on)
{
    struct alone *alone = alone_open_with(3);
    request(alone, 1, alone_id(2), 50);
    ck_assert_uint_eq(alone->gossip.relay_count, 1);
    ck_assert(gossip_id_equal(alone->last[GOSSIP_PING].msg.target, alone_id(2)));
    alone_msg(alone, 2, GOSSIP_ACK);
    alone->msg.seq = alone->last[GOSSIP_PING].msg.seq;
    alone->msg.target = alone_id(2);
    alone->msg.target_boot = 1;
    alone_say(alone);
    ck_assert_uint_eq(alone->said[GOSSIP_ACK], 1);
    const struct gossip_address origin = alone_address(1);
    ck_assert(gossip_address_equal(&alone->last[GOSSIP_ACK].to, &origin));
    ck_assert_uint_eq(alone->last[GOSSIP_ACK].msg.seq, 50);
    ck_assert(gossip_id_equal(alone->last[GOSSIP_ACK].msg.target, alone_id(2)));
    alone_run(alone, 450 * MS);
    ck_assert_msg(alone->said[GOSSIP_NACK] == 0, "it was answered");
    alone_close(alone);
}
END_TEST

START_TEST(helper_nacks_before_the_period_ends)
{
    struct alone *alone = alone_open_with(3);
    request(alone, 1, alone_id(2), 50);
    alone_run(alone, 390 * MS);
    ck_assert_uint_eq(alone->said[GOSSIP_NACK], 0);
    alone_run(alone, 20 * MS);
    ck_assert_uint_eq(alone->said[GOSSIP_NACK], 1);
    ck_assert_uint_eq(alone->last[GOSSIP_NACK].msg.seq, 50);
    ck_assert_uint_eq(alone->gossip.relay_count, 0);
    alone_close(alone);
}
END_TEST

START_TEST(helper_sends_to_nobody_it_does_not_know)
{
    struct alone *alone = alone_open_with(3);
    request(alone, 1, alone_id(55), 50);
    ck_assert_uint_eq(alone->said[GOSSIP_NACK], 1);
    alone_news(alone, 1, alone_claim(2, GOSSIP_ALIVE, 2, 0));
    request(alone, 1, alone_id(2), 51); // its old process: the nack says so
    ck_assert_uint_eq(alone->said[GOSSIP_NACK], 2);
    ck_assert_uint_eq(alone_said_of(&alone->last[GOSSIP_NACK].msg, 2)->boot, 2);
    ck_assert_uint_eq(alone->gossip.relay_count, 0);
    alone_close(alone);
}
END_TEST

START_TEST(request_for_ourselves_is_a_ping)
{
    struct alone *alone = alone_open_with(3);
    alone_msg(alone, 1, GOSSIP_PING_REQ);
    alone->msg.target = alone_id(ALONE_NUMBER);
    alone->msg.target_boot = 10;
    alone_say(alone);
    ck_assert_uint_eq(alone->said[GOSSIP_ACK], 1);
    alone->msg.target_boot = 9;
    alone_say(alone);
    ck_assert_uint_eq(alone->said[GOSSIP_NACK], 1);
    alone_close(alone);
}
END_TEST

START_TEST(more_requests_than_relays_are_nacked_and_all_nacks_leave_in_bounded_steps)
{
    struct alone *alone = alone_open_with(3);
    for (uint32_t i = 0; i < GOSSIP_RELAYS_MAX + 5; i++)
        request(alone, 1, alone_id(2), i);
    ck_assert_uint_eq(alone->gossip.relay_count, GOSSIP_RELAYS_MAX);
    ck_assert_uint_eq(alone->said[GOSSIP_NACK], 5);
    alone_run(alone, ALONE_SECOND / 2);
    ck_assert_uint_eq(alone->gossip.relay_count, 0);
    ck_assert_uint_eq(alone->said[GOSSIP_NACK], 5 + GOSSIP_RELAYS_MAX);
    alone_close(alone);
}
END_TEST

START_TEST(late_tick_accuses_nobody_and_leaves_a_round_out)
{
    struct alone *alone = alone_open_with(6);
    run_to_probe(alone);
    const uint64_t probes = alone->gossip.counters.probes;
    alone->now_ns += 60 * ALONE_SECOND; // stopped
    alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_WAKE});
    ck_assert_uint_eq(alone->notes[GOSSIP_NOTE_LATE], 1);
    ck_assert_uint_eq(alone->gossip.awareness, 1);
    ck_assert_uint_eq(alone->gossip.counters.probes_failed, 0);
    ck_assert_uint_eq(alone->gossip.counters.probes, probes);
    ck_assert_uint_eq(alone->gossip.counts[GOSSIP_SUSPECT], 0);
    alone_run(alone, ALONE_SECOND);
    ck_assert_msg(alone->gossip.counters.probes == probes, "a round is left out");
    alone_run(alone, 2 * ALONE_SECOND);
    ck_assert_uint_gt(alone->gossip.counters.probes, probes);
    alone_close(alone);
}
END_TEST

START_TEST(tick_that_is_less_late_is_a_tick)
{
    struct alone *alone = alone_open_with(6);
    alone_run_answered(alone, 10 * ALONE_SECOND);
    alone->now_ns = alone->gossip.tick_ns + 900 * MS;
    alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_WAKE});
    ck_assert_uint_eq(alone->notes[GOSSIP_NOTE_LATE], 0);
    alone_close(alone);
}
END_TEST

START_TEST(suspects_get_the_time_back_that_we_were_stopped)
{
    struct alone *alone = alone_open_with(6);
    alone_news(alone, 1, alone_claim(2, GOSSIP_SUSPECT, 1, 0));
    const uint64_t deadline_ns = alone_see(alone, 2)->suspicion.deadline_ns;
    alone->now_ns += 600 * ALONE_SECOND;
    alone_news(alone, 1,
               alone_claim(3, GOSSIP_SUSPECT, 1, 0)); // from before, perhaps: not believed
    ck_assert_uint_eq(alone_see(alone, 3)->state, GOSSIP_ALIVE);
    ck_assert_uint_eq(alone_see(alone, 2)->state, GOSSIP_SUSPECT);
    ck_assert_uint_gt(alone_see(alone, 2)->suspicion.deadline_ns, deadline_ns + 599 * ALONE_SECOND);
    alone_news(alone, 1, alone_claim(2, GOSSIP_ALIVE, 1, 1)); // good news are good at any time
    ck_assert_uint_eq(alone_see(alone, 2)->state, GOSSIP_ALIVE);
    alone_run_answered(alone, 3 * ALONE_SECOND);
    alone_news(alone, 1, alone_claim(3, GOSSIP_SUSPECT, 1, 0));
    ck_assert_uint_eq(alone_see(alone, 3)->state, GOSSIP_SUSPECT);
    alone_close(alone);
}
END_TEST

START_TEST(busy_inbox_does_not_delay_probes)
{
    struct alone *alone = alone_open_with(6);
    const uint64_t probes = alone->gossip.counters.probes;
    for (uint32_t i = 0; i < 500; i++) { // messages only, never a wake
        alone->now_ns += 10 * MS;
        alone_msg(alone, 1, GOSSIP_NEWS);
        alone_say(alone);
        alone_ack(alone);
    }
    ck_assert_uint_ge(alone->gossip.counters.probes - probes, 4);
    alone_close(alone);
}
END_TEST

START_TEST(target_that_is_gone_meanwhile_is_not_accused)
{
    struct alone *alone = alone_open_with(6);
    run_to_probe(alone);
    const uint32_t target = (uint32_t)alone->gossip.probe.id.low;
    alone_news(alone, target == 1 ? 2 : 1, alone_claim(target, GOSSIP_LEFT, 1, 0));
    alone_run(alone, 510 * MS);
    ck_assert_uint_eq(alone->said[GOSSIP_PING_REQ], 0);
    alone_close(alone);

    alone = alone_open_with(6);
    run_to_probe(alone);
    const uint32_t other = (uint32_t)alone->gossip.probe.id.low;
    alone_run(alone, 510 * MS);
    alone_news(alone, other == 1 ? 2 : 1, alone_claim(other, GOSSIP_ALIVE, 2, 0)); // restarted
    alone_run(alone, 600 * MS);
    ck_assert_uint_eq(alone_see(alone, other)->state, GOSSIP_ALIVE);
    ck_assert_uint_eq(alone->gossip.counters.probes_failed, 0);
    alone_close(alone);
}
END_TEST

static Suite *
suite(void)
{
    Suite *s = suite_create("gossip/probe");
    TCase *probe = tcase_create("probe");
    tcase_add_test(probe, everybody_is_probed_once_in_a_walk);
    tcase_add_test(probe, silence_asks_three_helpers_and_the_control_lane);
    tcase_add_test(probe, without_fallback_nothing_goes_by_the_control_lane);
    tcase_add_test(probe, silence_for_a_period_makes_a_suspect);
    tcase_add_test(probe, answer_to_another_ping_or_of_another_process_counts_for_nothing);
    tcase_add_test(probe, target_that_is_gone_meanwhile_is_not_accused);
    tcase_add_test(probe, busy_inbox_does_not_delay_probes);
    suite_add_tcase(s, probe);
    TCase *doubt = tcase_create("doubt");
    tcase_add_test(doubt, missing_nacks_make_us_doubt_ourselves);
    tcase_add_test(doubt, doubt_slows_our_probes_and_success_ends_it);
    tcase_add_test(doubt, late_tick_accuses_nobody_and_leaves_a_round_out);
    tcase_add_test(doubt, tick_that_is_less_late_is_a_tick);
    tcase_add_test(doubt, suspects_get_the_time_back_that_we_were_stopped);
    suite_add_tcase(s, doubt);
    TCase *answers = tcase_create("answers");
    tcase_add_test(answers, ping_is_answered_on_the_lane_it_came_by);
    tcase_add_test(answers, ping_for_another_process_at_our_address_is_answered_with_who_is_here);
    tcase_add_test(answers, helper_passes_the_answer_on);
    tcase_add_test(answers, helper_nacks_before_the_period_ends);
    tcase_add_test(answers, helper_sends_to_nobody_it_does_not_know);
    tcase_add_test(answers, request_for_ourselves_is_a_ping);
    tcase_add_test(answers,
                   more_requests_than_relays_are_nacked_and_all_nacks_leave_in_bounded_steps);
    suite_add_tcase(s, answers);
    return s;
}

CHECK_MAIN(suite)
