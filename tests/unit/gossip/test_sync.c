// tests/unit/gossip/test_sync.c -- whole states travel in pieces, and the lost are looked for without end.
#include <check.h>
#include <string.h>

#include "base/alloc.h"
#include "tests/lib/gossip_alone.h"

static struct alone *
open_seeded(uint32_t first, uint32_t count)
{
    const struct gossip_config config = alone_config();
    struct gossip_address peers[32];
    struct alone *alone = calloc(1, sizeof *alone);
    ck_assert_ptr_nonnull(alone);
    gossip_init(&alone->gossip, &config, 1);
    alone->now_ns = ALONE_SECOND;
    for (uint32_t i = 0; i < count; i++)
        peers[i] = alone_address(first + i);
    alone_step(alone,
               (struct gossip_input){.kind = GOSSIP_IN_START, .peers = peers, .peer_count = count});
    return alone;
}

START_TEST(nothing_happens_before_start)
{
    const struct gossip_config config = alone_config();
    struct alone *alone = calloc(1, sizeof *alone);
    gossip_init(&alone->gossip, &config, 1);
    alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_WAKE});
    ck_assert_uint_eq(alone->out.wake_ns, UINT64_MAX);
    alone_meet(alone, 1);
    ck_assert_ptr_null(alone_see(alone, 1));
    alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_LEAVE});
    alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_FORGET, .forget = alone_id(1)});
    struct gossip_meta meta = alone_meta(ALONE_NUMBER);
    meta.load = 3;
    alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_META, .meta = &meta});
    ck_assert_uint_eq(alone->out.wake_ns, UINT64_MAX);
    alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_START});
    alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_START}); // again is nothing
    alone_run(alone, 2 * ALONE_SECOND);
    ck_assert_uint_eq(alone->gossip.self.meta.load, 3);
    alone_close(alone);
}
END_TEST

START_TEST(start_without_memory_is_said_and_may_be_tried_again)
{
    const struct gossip_config config = alone_config();
    struct alone *alone = calloc(1, sizeof *alone);
    const struct gossip_address peer = alone_address(1);
    const struct gossip_input start = {.kind = GOSSIP_IN_START, .peers = &peer, .peer_count = 1};
    gossip_init(&alone->gossip, &config, 1);
    mem_fail_after(1);
    alone_step(alone, start);
    mem_fail_after(0);
    ck_assert_uint_eq(alone->notes[GOSSIP_NOTE_NO_MEMORY], 1);
    ck_assert(!alone->gossip.started);
    alone_step(alone, start);
    ck_assert(alone->gossip.started);
    ck_assert_uint_gt(alone->said[GOSSIP_ASK], 0);
    alone_close(alone);
}
END_TEST

START_TEST(own_and_impossible_addresses_are_no_seeds)
{
    const struct gossip_config config = alone_config();
    struct alone *alone = calloc(1, sizeof *alone);
    const struct gossip_address peers[3] = {
        alone_address(ALONE_NUMBER), {.port = 0}, alone_address(4)};
    gossip_init(&alone->gossip, &config, 1);
    alone_step(alone,
               (struct gossip_input){.kind = GOSSIP_IN_START, .peers = peers, .peer_count = 3});
    ck_assert_uint_eq(alone->gossip.seed_count, 1);
    alone_close(alone);
}
END_TEST

START_TEST(an_address_to_meet_is_asked_at_once_and_kept_until_a_member_has_it)
{
    struct alone *alone = open_seeded(1, 0);
    const struct gossip_address there = alone_address(7);
    alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_MEET, .meet = there});
    ck_assert_uint_eq(alone->said[GOSSIP_ASK], 1);
    ck_assert(gossip_address_equal(&alone->last[GOSSIP_ASK].to, &there));
    alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_MEET, .meet = there});
    ck_assert_uint_eq(alone->gossip.seed_count, 1);
    struct gossip_address peers[2];
    ck_assert_uint_eq(gossip_peers(&alone->gossip, peers, 2), 1);
    alone_meet(alone, 7);
    ck_assert_uint_eq(alone->gossip.seed_count, 0);
    alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_MEET, .meet = there});
    ck_assert_uint_eq(alone->gossip.seed_count, 0); // it is a member's
    alone_close(alone);
}
END_TEST

START_TEST(what_is_no_address_of_another_is_not_met)
{
    struct alone *alone = open_seeded(1, 0);
    const struct gossip_address none = {.port = 0}, own = alone_address(ALONE_NUMBER);
    alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_MEET, .meet = none});
    alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_MEET, .meet = own});
    ck_assert_uint_eq(alone->said[GOSSIP_ASK], 0);
    mem_fail_after(1);
    alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_MEET, .meet = alone_address(7)});
    mem_fail_after(0);
    ck_assert_uint_eq(alone->notes[GOSSIP_NOTE_NO_MEMORY], 1);
    ck_assert_uint_eq(alone->said[GOSSIP_ASK], 1); // this once
    ck_assert_uint_eq(alone->gossip.seed_count, 0);
    alone_close(alone);
}
END_TEST

START_TEST(lonely_machine_asks_its_seeds_soon_then_seldom_but_for_ever)
{
    struct alone *alone = open_seeded(1, 5);
    ck_assert_uint_eq(alone->said[GOSSIP_ASK], 3);
    ck_assert_int_eq(alone->last[GOSSIP_ASK].lane, GOSSIP_LANE_CONTROL);
    ck_assert_ptr_nonnull(alone_said_of(&alone->last[GOSSIP_ASK].msg, ALONE_NUMBER));
    alone_run(alone, 60 * ALONE_SECOND);
    ck_assert_uint_ge(alone->said[GOSSIP_ASK], 9);
    alone_run(alone, 24 * 3600 * ALONE_SECOND);
    const uint32_t asked = alone->said[GOSSIP_ASK];
    ck_assert_uint_lt(asked, 3 * 24 * 3600 / 14);
    alone_run(alone, 90 * ALONE_SECOND);
    ck_assert_uint_gt(alone->said[GOSSIP_ASK], asked);
    alone_close(alone);
}
END_TEST

START_TEST(seed_that_is_a_member_is_kept_with_the_member)
{
    struct alone *alone = open_seeded(1, 5);
    alone_meet(alone, 3);
    ck_assert_uint_eq(alone->gossip.seed_count, 2);
    struct gossip_address peers[8];
    ck_assert_uint_eq(gossip_peers(&alone->gossip, peers, 8), 5);
    ck_assert_uint_eq(gossip_peers(&alone->gossip, peers, 2), 5);
    alone_run_answered(alone, 2 * ALONE_SECOND);
    ck_assert_uint_gt(alone->persists, 0);
    const uint32_t persists = alone->persists;
    alone_run_answered(alone, 20 * ALONE_SECOND);
    ck_assert_msg(alone->persists == persists, "nothing has changed");
    alone_close(alone);
}
END_TEST

START_TEST(the_dead_are_asked_for_ever_and_those_who_left_are_not)
{
    struct alone *alone = open_seeded(0, 0);
    alone_meet(alone, 3);
    alone_news(alone, 3, alone_claim(1, GOSSIP_DEAD, 1, 0));
    alone_news(alone, 3, alone_claim(2, GOSSIP_LEFT, 1, 0));
    alone_run_answered(alone, 3 * 3600 * ALONE_SECOND);
    uint32_t dead = 0, left = 0;
    const struct gossip_address one = alone_address(1), two = alone_address(2);
    const uint64_t until_ns = alone->now_ns + 300 * ALONE_SECOND;
    while (alone->out.wake_ns < until_ns) {
        alone->now_ns = alone->out.wake_ns;
        alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_WAKE});
        for (uint32_t i = 0; i < alone->out.send_count; i++) {
            dead += gossip_address_equal(&alone->out.sends[i].to, &one);
            left += gossip_address_equal(&alone->out.sends[i].to, &two);
        }
        alone_ack(alone);
    }
    ck_assert_uint_ge(dead, 6);
    ck_assert_uint_eq(left, 0);
    alone_close(alone);
}
END_TEST

// What `asked` says to an ASK of a peer with that digest; returns the pieces.
static uint32_t
answer_to(struct alone *alone, uint64_t digest)
{
    const uint32_t before = alone->said[GOSSIP_STATE];
    alone_msg(alone, 1, GOSSIP_ASK);
    alone->msg.digest = digest;
    alone_say(alone);
    while (alone->gossip.stream_count > 0) {
        ck_assert_uint_eq(alone->out.wake_ns, alone->now_ns);
        alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_WAKE});
    }
    return alone->said[GOSSIP_STATE] - before;
}

START_TEST(equal_states_have_nothing_to_say)
{
    struct alone *alone = open_seeded(1, 0), *other = open_seeded(1, 0);
    alone_meet(alone, 10);
    for (uint32_t number = 10; number >= 1; number--) // in another order
        alone_news(other, number, alone_claim(number, GOSSIP_ALIVE, 1, 0));
    alone_run_answered(other, 60 * ALONE_SECOND);
    const uint64_t digest = other->last[GOSSIP_ASK].msg.digest;
    ck_assert_uint_eq(answer_to(alone, digest), 0);
    ck_assert_uint_gt(answer_to(alone, digest + 1), 0);
    alone_news(alone, 1, alone_claim(3, GOSSIP_DEAD, 1, 0));
    ck_assert_uint_gt(answer_to(alone, digest), 0);
    alone_close(alone);
    alone_close(other);
}
END_TEST

START_TEST(state_in_pieces_makes_the_other_know_everybody)
{
    struct gossip_config config = alone_config();
    config.members_max = 1000;
    struct alone *alone = alone_open(&config);
    struct gossip_config joining = alone_config();
    joining.members_max = 1000;
    joining.id = alone_id(500);
    joining.meta = alone_meta(500);
    struct alone *other = alone_open(&joining);
    alone_meet(alone, 60);
    for (uint32_t number = 101; number <= 400; number++)
        alone_news(alone, 1, alone_claim(number, GOSSIP_ALIVE, 1, 0));
    alone_news(alone, 2, alone_claim(7, GOSSIP_DEAD, 1, 0));
    alone_msg(alone, 500, GOSSIP_ASK);
    alone_say(alone);
    uint32_t pieces = 0, wants = 0;
    for (;;) {
        for (uint32_t i = 0; i < alone->out.send_count; i++) {
            const struct gossip_send *send = &alone->out.sends[i];
            if (send->msg.kind != GOSSIP_STATE)
                continue;
            pieces++;
            wants += send->msg.flags;
            other->msg = send->msg;
            alone_say(other);
        }
        if (alone->gossip.stream_count == 0)
            break;
        alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_WAKE});
    }
    ck_assert_uint_gt(pieces, 361 * 80 / GOSSIP_PACKET_BYTES_MAX);
    ck_assert_uint_eq(wants, 1);
    ck_assert_uint_gt(other->said[GOSSIP_STATE], 0);
    ck_assert_uint_eq(gossip_living(&other->gossip), gossip_living(&alone->gossip) + 1);
    ck_assert_uint_eq(alone_see(other, 7)->state, GOSSIP_DEAD);
    alone_close(alone);
    alone_close(other);
}
END_TEST

START_TEST(more_who_ask_than_streams_are_left_to_ask_again)
{
    struct gossip_config config = alone_config();
    config.members_max = 1000;
    struct alone *alone = alone_open(&config);
    alone_meet(alone, 60);
    for (uint32_t number = 101; number <= 800; number++)
        alone_news(alone, 1, alone_claim(number, GOSSIP_ALIVE, 1, 0));
    for (uint32_t from = 1; from <= GOSSIP_STREAMS_MAX + 4; from++) {
        alone_msg(alone, from, GOSSIP_ASK);
        alone_say(alone);
        alone_say(alone); // twice is once
    }
    ck_assert_uint_le(alone->gossip.stream_count, GOSSIP_STREAMS_MAX);
    for (uint32_t i = 0; i < 100 && alone->gossip.stream_count > 0; i++)
        alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_WAKE});
    ck_assert_uint_eq(alone->gossip.stream_count, 0);
    alone_close(alone);
}
END_TEST

START_TEST(syncs_are_rarer_in_large_clusters)
{
    struct gossip_config config = alone_config();
    config.members_max = 1000;
    struct alone *alone = alone_open(&config);
    alone_meet(alone, 20);
    alone_run_answered(alone, 600 * ALONE_SECOND);
    const uint32_t small = alone->said[GOSSIP_ASK];
    ck_assert_uint_ge(small, 16);
    ck_assert_uint_le(small, 24);
    for (uint32_t number = 101; number <= 300; number++)
        alone_news(alone, 1, alone_claim(number, GOSSIP_ALIVE, 1, 0));
    alone_run_answered(alone, 600 * ALONE_SECOND);
    ck_assert_uint_lt(alone->said[GOSSIP_ASK] - small, 8); // 256 members: every 120 s
    alone_close(alone);
}
END_TEST

static Suite *
suite(void)
{
    Suite *s = suite_create("gossip/sync");
    TCase *start = tcase_create("start");
    tcase_add_test(start, an_address_to_meet_is_asked_at_once_and_kept_until_a_member_has_it);
    tcase_add_test(start, what_is_no_address_of_another_is_not_met);
    tcase_add_test(start, nothing_happens_before_start);
    tcase_add_test(start, start_without_memory_is_said_and_may_be_tried_again);
    tcase_add_test(start, own_and_impossible_addresses_are_no_seeds);
    tcase_add_test(start, lonely_machine_asks_its_seeds_soon_then_seldom_but_for_ever);
    tcase_add_test(start, seed_that_is_a_member_is_kept_with_the_member);
    tcase_add_test(start, the_dead_are_asked_for_ever_and_those_who_left_are_not);
    suite_add_tcase(s, start);
    TCase *state = tcase_create("state");
    tcase_add_test(state, equal_states_have_nothing_to_say);
    tcase_add_test(state, state_in_pieces_makes_the_other_know_everybody);
    tcase_add_test(state, more_who_ask_than_streams_are_left_to_ask_again);
    tcase_add_test(state, syncs_are_rarer_in_large_clusters);
    suite_add_tcase(s, state);
    return s;
}

CHECK_MAIN(suite)
