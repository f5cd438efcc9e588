// tests/unit/gossip/test_spread.c -- news are told often enough and no more, and no datagram is too large.
#include <check.h>
#include <string.h>

#include "tests/lib/gossip_alone.h"

START_TEST(claim_is_told_as_often_as_the_limit_says_then_never)
{
    struct alone *alone = alone_open_with(20); // 4 * ceil(log10(22)) = 8
    alone_run_answered(alone, 60 * ALONE_SECOND);
    ck_assert_uint_eq(alone->gossip.queue_count, 0);
    alone_news(alone, 1, alone_claim(2, GOSSIP_ALIVE, 1, 1));
    uint32_t told = 0;
    const uint64_t until_ns = alone->now_ns + 20 * ALONE_SECOND;
    for (;;) {
        for (uint32_t i = 0; i < alone->out.send_count; i++) {
            const struct gossip_send *send = &alone->out.sends[i];
            told += alone_said_of(&send->msg, 2) != NULL;
        }
        if (alone->out.wake_ns > until_ns)
            break;
        alone->now_ns = alone->out.wake_ns;
        alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_WAKE});
        for (uint32_t i = 0; i < alone->out.send_count; i++)
            told += alone_said_of(&alone->out.sends[i].msg, 2) != NULL;
        alone->out.send_count = 0;
        alone_ack(alone);
    }
    ck_assert_uint_eq(told, 8);
    alone_close(alone);
}
END_TEST

START_TEST(old_news_are_not_told_again)
{
    struct alone *alone = alone_open_with(5);
    alone_run_answered(alone, 30 * ALONE_SECOND);
    alone_meet(alone, 5); // known
    ck_assert_uint_eq(alone->gossip.queue_count, 0);
    alone_close(alone);
}
END_TEST

START_TEST(datagrams_are_filled_to_their_limit_and_not_beyond)
{
    struct gossip_config config = alone_config();
    config.members_max = 1000;
    struct alone *alone = alone_open(&config);
    size_t most = 0;
    for (uint32_t number = 1; number < 90; number++) {
        struct gossip_claim claim = alone_claim(number, GOSSIP_ALIVE, 1, 0);
        claim.meta.zone_bytes = (uint8_t)(number % 33);
        claim.meta.data_bytes = (uint8_t)(number % 65);
        alone_news(alone, 1, claim);
    }
    for (int i = 0; i < 50; i++) {
        alone_run_answered(alone, ALONE_SECOND / 10);
        for (uint32_t j = 0; j < alone->out.send_count; j++)
            if (gossip_msg_bytes(&alone->out.sends[j].msg) > most)
                most = gossip_msg_bytes(&alone->out.sends[j].msg);
    }
    ck_assert_uint_le(most + GOSSIP_SEAL_BYTES, GOSSIP_DATAGRAM_BYTES_MAX);
    ck_assert_uint_gt(most, GOSSIP_PACKET_BYTES_MAX - GOSSIP_CLAIM_BYTES_MAX);
    alone_close(alone);
}
END_TEST

START_TEST(those_told_least_go_first)
{
    struct alone *alone = alone_open_with(20);
    alone_run_answered(alone, 60 * ALONE_SECOND);
    alone_news(alone, 1, alone_claim(2, GOSSIP_ALIVE, 1, 1));
    alone_run_answered(alone, ALONE_SECOND / 10);
    alone_news(alone, 1, alone_claim(3, GOSSIP_ALIVE, 1, 1));
    alone->gossip.gossip_ns = alone->now_ns;
    alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_WAKE});
    const struct gossip_msg *msg = &alone->last[GOSSIP_NEWS].msg;
    ck_assert_uint_ge(msg->claim_count, 2);
    ck_assert(gossip_id_equal(msg->claims[0].subject, alone_id(3)));
    alone_close(alone);
}
END_TEST

START_TEST(suspect_hears_of_it_first_when_it_is_pinged)
{
    struct alone *alone = alone_open_with(5);
    alone_run_answered(alone, 30 * ALONE_SECOND);
    alone_news(alone, 1, alone_claim(2, GOSSIP_SUSPECT, 1, 0));
    for (int i = 0; i < 20; i++) {
        alone_run_answered(alone, ALONE_SECOND / 2);
        const struct gossip_msg *ping = &alone->last[GOSSIP_PING].msg;
        if (!gossip_id_equal(ping->target, alone_id(2)))
            continue;
        ck_assert_uint_gt(ping->claim_count, 0);
        ck_assert(gossip_id_equal(ping->claims[0].subject, alone_id(2)));
        ck_assert_uint_eq(ping->claims[0].state, GOSSIP_SUSPECT);
        alone_close(alone);
        return;
    }
    ck_abort_msg("the suspect was not probed");
}
END_TEST

START_TEST(accusing_ping_is_refuted_in_its_answer_however_often)
{
    struct alone *alone = alone_open_with(5);
    alone_news(alone, 1, alone_claim(ALONE_NUMBER, GOSSIP_SUSPECT, 10, 0));
    alone_run_answered(alone, 30 * ALONE_SECOND); // told to all, and no news any more
    ck_assert_uint_eq(alone->gossip.queue_count, 0);
    for (uint32_t i = 0; i < 3; i++) {
        alone_msg(alone, 2, GOSSIP_PING);
        alone->msg.target = alone_id(ALONE_NUMBER);
        alone->msg.target_boot = 10;
        alone->msg.claims[alone->msg.claim_count++] =
            alone_claim(ALONE_NUMBER, GOSSIP_SUSPECT, 10, 0);
        alone_say(alone);
        const struct gossip_claim *claim =
            alone_said_of(&alone->last[GOSSIP_ACK].msg, ALONE_NUMBER);
        ck_assert_ptr_nonnull(claim);
        ck_assert_uint_eq(claim->state, GOSSIP_ALIVE);
        ck_assert_uint_eq(claim->incarnation, 1);
    }
    alone_close(alone);
}
END_TEST

START_TEST(whoever_we_think_dead_hears_it_when_it_speaks_to_us)
{
    struct alone *alone = alone_open_with(5);
    alone_news(alone, 1, alone_claim(2, GOSSIP_DEAD, 1, 3));
    alone_run_answered(alone, 60 * ALONE_SECOND);
    alone_msg(alone, 2, GOSSIP_PING);
    alone->msg.target = alone_id(ALONE_NUMBER);
    alone->msg.target_boot = 10;
    alone_say(alone);
    const struct gossip_msg *ack = &alone->last[GOSSIP_ACK].msg;
    ck_assert(gossip_id_equal(ack->claims[0].subject, alone_id(2)));
    ck_assert_uint_eq(ack->claims[0].state, GOSSIP_DEAD);
    ck_assert_uint_eq(ack->claims[0].incarnation, 3);
    alone_close(alone);
}
END_TEST

START_TEST(suspectors_take_turns_so_that_all_become_known)
{
    struct alone *alone = alone_open_with(10);
    alone_run_answered(alone, 30 * ALONE_SECOND);
    for (uint32_t by = 2; by <= 4; by++) {
        struct gossip_claim claim = alone_claim(1, GOSSIP_SUSPECT, 1, 0);
        claim.by = alone_id(by);
        alone_news(alone, by, claim);
    }
    const uint32_t slot = member_slot(&alone->gossip, alone_id(1));
    bool named[5] = {0};
    for (int i = 0; i < 3; i++) {
        struct gossip_claim claim;
        claim_of(&alone->gossip, slot, &claim);
        named[claim.by.low] = true;
    }
    ck_assert(named[2] && named[3] && named[4]);
    alone_close(alone);
}
END_TEST

START_TEST(the_dead_are_told_for_a_while)
{
    struct alone *alone = alone_open_with(1);
    alone_run_answered(alone, 30 * ALONE_SECOND);
    alone_news(alone, 1, alone_claim(1, GOSSIP_DEAD, 1, 0));
    const uint32_t news = alone->said[GOSSIP_NEWS];
    ck_assert_msg(news > 0, "said at once");
    const struct gossip_address to = alone_address(1);
    ck_assert(gossip_address_equal(&alone->last[GOSSIP_NEWS].to, &to));
    alone_run(alone, 40 * ALONE_SECOND);
    const uint32_t later = alone->said[GOSSIP_NEWS];
    queue_put(&alone->gossip, SLOT_SELF);
    alone_run(alone, 5 * ALONE_SECOND);
    ck_assert_msg(alone->said[GOSSIP_NEWS] == later, "not for ever");
    alone_close(alone);
}
END_TEST

START_TEST(leaving_is_told_and_then_there_is_silence)
{
    struct alone *alone = alone_open_with(5);
    alone_run_answered(alone, 30 * ALONE_SECOND);
    alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_LEAVE});
    alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_LEAVE});
    alone_news(alone, 1, alone_claim(ALONE_NUMBER, GOSSIP_SUSPECT, 10, 1));
    alone_run(alone, 3 * ALONE_SECOND);
    const struct gossip_claim *claim = alone_said_of(&alone->last[GOSSIP_NEWS].msg, ALONE_NUMBER);
    ck_assert_uint_eq(claim->state, GOSSIP_LEFT);
    ck_assert_uint_eq(claim->incarnation, 1);
    ck_assert_uint_eq(alone->notes[GOSSIP_NOTE_GONE], 1);
    ck_assert_uint_eq(alone->out.wake_ns, UINT64_MAX);
    alone_close(alone);

    const struct gossip_config config = alone_config();
    alone = alone_open(&config); // nobody to tell
    alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_LEAVE});
    ck_assert_uint_eq(alone->notes[GOSSIP_NOTE_GONE], 1);
    alone_close(alone);
}
END_TEST

START_TEST(metadata_that_change_often_are_announced_once_a_period)
{
    struct alone *alone = alone_open_with(5);
    alone_run_answered(alone, 10 * ALONE_SECOND);
    struct gossip_meta meta = alone_meta(ALONE_NUMBER);
    for (uint32_t load = 1; load <= 30; load++) {
        meta.load = load;
        alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_META, .meta = &meta});
        alone_run_answered(alone, ALONE_SECOND / 10);
    }
    ck_assert_uint_le(alone->gossip.self.incarnation, 4);
    alone_run_answered(alone, 2 * ALONE_SECOND);
    ck_assert_uint_eq(alone->gossip.self.meta.load, 30);
    const uint32_t incarnation = alone->gossip.self.incarnation;
    alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_META, .meta = &meta}); // no change
    alone_run_answered(alone, 2 * ALONE_SECOND);
    ck_assert_uint_eq(alone->gossip.self.incarnation, incarnation);
    alone_close(alone);
}
END_TEST

static Suite *
suite(void)
{
    Suite *s = suite_create("gossip/spread");
    TCase *queue = tcase_create("queue");
    tcase_add_test(queue, claim_is_told_as_often_as_the_limit_says_then_never);
    tcase_add_test(queue, old_news_are_not_told_again);
    tcase_add_test(queue, datagrams_are_filled_to_their_limit_and_not_beyond);
    tcase_add_test(queue, those_told_least_go_first);
    suite_add_tcase(s, queue);
    TCase *who = tcase_create("who");
    tcase_add_test(who, suspect_hears_of_it_first_when_it_is_pinged);
    tcase_add_test(who, accusing_ping_is_refuted_in_its_answer_however_often);
    tcase_add_test(who, whoever_we_think_dead_hears_it_when_it_speaks_to_us);
    tcase_add_test(who, suspectors_take_turns_so_that_all_become_known);
    tcase_add_test(who, the_dead_are_told_for_a_while);
    suite_add_tcase(s, who);
    TCase *self = tcase_create("self");
    tcase_add_test(self, leaving_is_told_and_then_there_is_silence);
    tcase_add_test(self, metadata_that_change_often_are_announced_once_a_period);
    suite_add_tcase(s, self);
    return s;
}

CHECK_MAIN(suite)
