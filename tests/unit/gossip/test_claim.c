// tests/unit/gossip/test_claim.c -- which of two claims holds, whoever comes first.
#include <check.h>
#include <string.h>

#include "tests/lib/gossip_alone.h"

START_TEST(greatest_claim_wins_in_every_order_of_arrival)
{
    struct prng prng;
    prng_init(&prng, (uint64_t)_i);
    const struct gossip_config config = alone_config();
    for (int round = 0; round < 100; round++) {
        struct gossip_claim claims[6], greatest = alone_claim(1, GOSSIP_ALIVE, 1, 0);
        for (uint32_t i = 0; i < 6; i++) {
            const enum gossip_state state = (enum gossip_state)prng_below(&prng, 4);
            const uint64_t boot = 1 + prng_below(&prng, 2);
            const uint32_t incarnation = prng_below(&prng, 3);
            claims[i] = alone_claim(1, state, boot, incarnation);
            const struct gossip_claim *c = &claims[i];
            const uint64_t a = c->boot << 32 | (uint64_t)c->incarnation << 8 | c->state;
            const uint64_t b =
                greatest.boot << 32 | (uint64_t)greatest.incarnation << 8 | greatest.state;
            if (a > b)
                greatest = *c;
        }
        struct alone *alone = alone_open(&config);
        alone_meet(alone, 3);
        for (uint32_t i = 6; i > 0; i--) {
            const uint32_t j = prng_below(&prng, i);
            alone_news(alone, 2, claims[j]);
            claims[j] = claims[i - 1];
        }
        const struct gossip_member *member = alone_see(alone, 1);
        CLAIM(member->boot == greatest.boot && member->incarnation == greatest.incarnation &&
                  member->state == greatest.state,
              "boot %llu incarnation %u state %u", (unsigned long long)member->boot,
              member->incarnation, member->state);
        alone_close(alone);
    }
}
END_TEST

START_TEST(accused_machine_refutes_with_the_next_incarnation)
{
    struct alone *alone = alone_open_with(3);
    alone_run_answered(alone, 20 * ALONE_SECOND); // the first announcement is no news any more
    alone_news(alone, 1, alone_claim(ALONE_NUMBER, GOSSIP_SUSPECT, 10, 0));
    ck_assert_uint_eq(alone->gossip.self.incarnation, 1);
    ck_assert_uint_eq(alone->gossip.awareness, 1);
    alone_run_answered(alone, ALONE_SECOND);
    const struct gossip_claim *claim = alone_said_of(&alone->last[GOSSIP_NEWS].msg, ALONE_NUMBER);
    ck_assert_ptr_nonnull(claim);
    ck_assert_uint_eq(claim->state, GOSSIP_ALIVE);
    ck_assert_uint_eq(claim->incarnation, 1);
    alone_news(alone, 1, alone_claim(ALONE_NUMBER, GOSSIP_SUSPECT, 10, 0));
    ck_assert_msg(alone->gossip.self.incarnation == 1, "an old accusation is answered already");
    alone_news(alone, 1, alone_claim(ALONE_NUMBER, GOSSIP_DEAD, 10, 7));
    ck_assert_uint_eq(alone->gossip.self.incarnation, 8);
    alone_news(alone, 1, alone_claim(ALONE_NUMBER, GOSSIP_LEFT, 10, 8));
    ck_assert_uint_eq(alone->gossip.self.incarnation, 9);
    ck_assert_uint_eq(alone->notes[GOSSIP_NOTE_REFUTED], 3);
    alone_close(alone);
}
END_TEST

START_TEST(last_incarnation_is_not_passed)
{
    struct alone *alone = alone_open_with(3);
    alone_news(alone, 1, alone_claim(ALONE_NUMBER, GOSSIP_DEAD, 10, GOSSIP_INCARNATION_MAX));
    ck_assert_uint_eq(alone->gossip.self.incarnation, 0);
    alone_news(alone, 1, alone_claim(ALONE_NUMBER, GOSSIP_DEAD, 10, GOSSIP_INCARNATION_MAX - 1));
    ck_assert_uint_eq(alone->gossip.self.incarnation, GOSSIP_INCARNATION_MAX);
    alone_news(alone, 1, alone_claim(ALONE_NUMBER, GOSSIP_DEAD, 10, GOSSIP_INCARNATION_MAX));
    ck_assert_uint_eq(alone->gossip.self.incarnation, GOSSIP_INCARNATION_MAX);
    struct gossip_meta meta = alone_meta(ALONE_NUMBER);
    meta.load = 5;
    alone->now_ns += 2 * ALONE_SECOND;
    alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_META, .meta = &meta});
    ck_assert_uint_eq(alone->gossip.self.incarnation, GOSSIP_INCARNATION_MAX);
    alone_close(alone);
}
END_TEST

START_TEST(newer_process_of_our_id_silences_us)
{
    struct alone *alone = alone_open_with(3);
    alone_news(alone, 1, alone_claim(ALONE_NUMBER, GOSSIP_ALIVE, 11, 0));
    ck_assert_uint_eq(alone->notes[GOSSIP_NOTE_SUPERSEDED], 1);
    ck_assert_uint_eq(alone->out.wake_ns, UINT64_MAX);
    alone_msg(alone, 1, GOSSIP_PING);
    alone->msg.target = alone_id(ALONE_NUMBER);
    alone->msg.target_boot = 10;
    alone_say(alone);
    ck_assert_uint_eq(alone->out.send_count, 0);
    alone_close(alone);

    alone = alone_open_with(3);
    alone_msg(alone, ALONE_NUMBER, GOSSIP_NEWS); // it speaks to us itself
    alone->msg.from_boot = 11;
    alone_say(alone);
    ck_assert_uint_eq(alone->notes[GOSSIP_NOTE_SUPERSEDED], 1);
    alone_close(alone);
}
END_TEST

START_TEST(older_process_of_our_id_is_told_of_us)
{
    struct alone *alone = alone_open_with(3);
    alone_run_answered(alone, 20 * ALONE_SECOND);
    ck_assert_uint_eq(alone->gossip.queue_count, 0);
    alone_news(alone, 1, alone_claim(ALONE_NUMBER, GOSSIP_DEAD, 9, 4));
    ck_assert_uint_eq(alone->gossip.self.incarnation, 0);
    ck_assert_ptr_nonnull(alone_said_of(&alone->last[GOSSIP_NEWS].msg, ALONE_NUMBER));
    alone_msg(alone, ALONE_NUMBER, GOSSIP_PING);
    alone->msg.from_boot = 9;
    alone->msg.target = alone_id(ALONE_NUMBER);
    alone_say(alone);
    ck_assert(!alone->gossip.gone);
    alone_close(alone);
}
END_TEST

START_TEST(twin_with_our_boot_is_noted)
{
    struct alone *alone = alone_open_with(3);
    struct gossip_claim claim = alone_claim(ALONE_NUMBER, GOSSIP_ALIVE, 10, 0);
    alone_news(alone, 1, claim);
    ck_assert_msg(alone->notes[GOSSIP_NOTE_TWIN] == 0, "our own words");
    claim.meta.address = alone_address(77);
    alone_news(alone, 1, claim);
    ck_assert_uint_eq(alone->notes[GOSSIP_NOTE_TWIN], 1);
    claim.incarnation = 5;
    alone_news(alone, 1, claim);
    ck_assert_uint_eq(alone->notes[GOSSIP_NOTE_TWIN], 2);
    ck_assert_uint_eq(alone->gossip.self.incarnation, 6);
    alone_close(alone);
}
END_TEST

START_TEST(new_boot_generation_revives_whatever_was_said_of_the_old)
{
    struct alone *alone = alone_open_with(3);
    alone_news(alone, 2, alone_claim(1, GOSSIP_DEAD, 1, 1000));
    ck_assert_uint_eq(alone_see(alone, 1)->state, GOSSIP_DEAD);
    alone_news(alone, 2, alone_claim(1, GOSSIP_ALIVE, 2, 0));
    ck_assert_uint_eq(alone_see(alone, 1)->state, GOSSIP_ALIVE);
    alone_news(alone, 2, alone_claim(1, GOSSIP_LEFT, 1, 2000));
    ck_assert_uint_eq(alone_see(alone, 1)->state, GOSSIP_ALIVE);
    alone_close(alone);
}
END_TEST

// A new process may be heard of by an accusation first, from who knew it before us.
START_TEST(accused_new_process_is_noted_to_be_there_and_supersedes)
{
    const struct gossip_config config = alone_config();
    struct alone *alone = alone_open(&config);
    alone_meet(alone, 3);
    alone_news(alone, 3, alone_claim(1, GOSSIP_DEAD, 1, 0));
    const uint32_t noted = alone->notes[GOSSIP_NOTE_ALIVE];
    struct gossip_claim claim = alone_claim(1, GOSSIP_SUSPECT, 2, 0);
    claim.has_meta = 1;
    claim.meta.address = alone_address(2);
    alone_msg(alone, 3, GOSSIP_STATE);
    alone->msg.claims[alone->msg.claim_count++] = claim;
    alone_say(alone);
    ck_assert_int_eq(alone_see(alone, 1)->state, GOSSIP_SUSPECT);
    ck_assert_uint_eq(alone->notes[GOSSIP_NOTE_ALIVE], noted + 1);
    ck_assert_int_eq(alone_see(alone, 2)->state, GOSSIP_DEAD); // its address is the new one's
    ck_assert(alone_see(alone, 2)->superseded);
    alone_close(alone);
}
END_TEST

START_TEST(new_process_on_an_old_address_supersedes_the_old_one)
{
    struct alone *alone = alone_open_with(3);
    struct gossip_claim claim = alone_claim(9, GOSSIP_ALIVE, 2, 0);
    claim.meta.address = alone_address(1); // a wiped host: another id, started later
    alone_news(alone, 2, claim);
    ck_assert_uint_eq(alone_see(alone, 1)->state, GOSSIP_DEAD);
    ck_assert(alone_see(alone, 1)->superseded);
    ck_assert_uint_eq(alone_see(alone, 9)->state, GOSSIP_ALIVE);
    struct gossip_address peers[8];
    ck_assert_uint_eq(gossip_peers(&alone->gossip, peers, 8), 3);
    alone_news(alone, 2, alone_claim(1, GOSSIP_ALIVE, 1, 1)); // was alive after all
    ck_assert_uint_eq(alone_see(alone, 1)->state, GOSSIP_ALIVE);
    ck_assert_uint_eq(alone_see(alone, 9)->state, GOSSIP_ALIVE);
    alone_news(alone, 2, alone_claim(1, GOSSIP_DEAD, 1, 1));
    ck_assert(alone_see(alone, 1)->superseded);
    alone_close(alone);
}
END_TEST

START_TEST(older_process_on_an_address_supersedes_nobody)
{
    struct alone *alone = alone_open_with(3);
    struct gossip_claim claim = alone_claim(9, GOSSIP_ALIVE, 1, 0);
    claim.meta.address = alone_address(1);
    alone_news(alone, 2, claim);
    ck_assert_uint_eq(alone_see(alone, 1)->state, GOSSIP_ALIVE);
    claim.subject = alone_id(10);
    claim.meta.address = alone_address(ALONE_NUMBER);
    alone_news(alone, 2, claim);
    ck_assert_uint_eq(alone->notes[GOSSIP_NOTE_TWIN], 1);
    alone_close(alone);
}
END_TEST

START_TEST(superseded_members_are_dropped_after_a_while)
{
    struct alone *alone = alone_open_with(3);
    struct gossip_claim claim = alone_claim(9, GOSSIP_ALIVE, 2, 0);
    claim.meta.address = alone_address(1);
    alone_news(alone, 2, claim);
    alone_news(alone, 2, alone_claim(3, GOSSIP_LEFT, 1, 1));
    alone_run_answered(alone, 3500 * ALONE_SECOND);
    ck_assert_ptr_nonnull(alone_see(alone, 1));
    ck_assert_ptr_nonnull(alone_see(alone, 3));
    alone_run_answered(alone, 200 * ALONE_SECOND);
    ck_assert_ptr_null(alone_see(alone, 1));
    ck_assert_ptr_null(alone_see(alone, 3));
    alone_close(alone);
}
END_TEST

START_TEST(death_in_a_whole_state_is_only_a_suspicion)
{
    struct alone *alone = alone_open_with(3);
    alone_msg(alone, 2, GOSSIP_STATE);
    alone->msg.claims[0] = alone_claim(1, GOSSIP_DEAD, 1, 0);
    alone->msg.claims[0].has_meta = 1;
    alone->msg.claim_count = 1;
    alone_say(alone);
    ck_assert_uint_eq(alone_see(alone, 1)->state, GOSSIP_SUSPECT);
    alone_say(alone); // again
    ck_assert_uint_eq(alone_see(alone, 1)->state, GOSSIP_SUSPECT);
    alone_news(alone, 2, alone_claim(1, GOSSIP_DEAD, 1, 0));
    ck_assert_uint_eq(alone_see(alone, 1)->state, GOSSIP_DEAD);
    alone_close(alone);
}
END_TEST

START_TEST(dead_stranger_is_kept_as_an_address_only)
{
    struct alone *alone = alone_open_with(2);
    alone_run_answered(alone, 20 * ALONE_SECOND);
    struct gossip_claim claim = alone_claim(8, GOSSIP_DEAD, 1, 0);
    alone_news(alone, 2, claim);
    ck_assert_msg(alone_see(alone, 8) == NULL, "nothing to keep without an address");
    claim.has_meta = 1;
    alone_news(alone, 2, claim);
    ck_assert_uint_eq(alone_see(alone, 8)->state, GOSSIP_DEAD);
    ck_assert_uint_eq(alone->gossip.queue_count, 0);
    claim = alone_claim(7, GOSSIP_DEAD, 1, 0);
    claim.has_meta = 1;
    claim.meta.address = alone_address(2); // somebody lives there
    alone_news(alone, 2, claim);
    ck_assert_ptr_null(alone_see(alone, 7));
    claim = alone_claim(6, GOSSIP_LEFT, 1, 0);
    claim.has_meta = 1;
    alone_news(alone, 2, claim);
    ck_assert_ptr_null(alone_see(alone, 6));
    claim = alone_claim(5, GOSSIP_SUSPECT, 1, 0);
    claim.has_meta = 1;
    alone_news(alone, 2, claim);
    ck_assert_uint_eq(alone_see(alone, 5)->state, GOSSIP_SUSPECT);
    alone_close(alone);
}
END_TEST

START_TEST(member_that_moved_is_found_at_its_new_address)
{
    struct alone *alone = alone_open_with(2);
    struct gossip_claim claim = alone_claim(1, GOSSIP_ALIVE, 2, 0);
    claim.meta.address = alone_address(55);
    alone_news(alone, 1, claim);
    struct gossip_address peers[4], wanted = alone_address(55);
    ck_assert_uint_eq(gossip_peers(&alone->gossip, peers, 4), 2);
    ck_assert(gossip_address_equal(&peers[0], &wanted) || gossip_address_equal(&peers[1], &wanted));
    alone_close(alone);
}
END_TEST

START_TEST(forgotten_member_is_told_to_have_left)
{
    struct alone *alone = alone_open_with(3);
    alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_FORGET, .forget = alone_id(1)});
    ck_assert_msg(alone_see(alone, 1)->state == GOSSIP_ALIVE, "it lives");
    alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_FORGET, .forget = alone_id(99)});
    alone_news(alone, 2, alone_claim(1, GOSSIP_DEAD, 1, 0));
    alone_step(alone, (struct gossip_input){.kind = GOSSIP_IN_FORGET, .forget = alone_id(1)});
    ck_assert_uint_eq(alone_see(alone, 1)->state, GOSSIP_LEFT);
    ck_assert_uint_eq(gossip_peers(&alone->gossip, NULL, 0), 2);
    alone_news(alone, 2, alone_claim(1, GOSSIP_DEAD, 1, 0));
    ck_assert_uint_eq(alone_see(alone, 1)->state, GOSSIP_LEFT);
    alone_close(alone);
}
END_TEST

static Suite *
suite(void)
{
    Suite *s = suite_create("gossip/claim");
    TCase *order = tcase_create("order");
    tcase_add_loop_test(order, greatest_claim_wins_in_every_order_of_arrival, 0, 5);
    tcase_add_test(order, new_boot_generation_revives_whatever_was_said_of_the_old);
    tcase_add_test(order, death_in_a_whole_state_is_only_a_suspicion);
    tcase_add_test(order, dead_stranger_is_kept_as_an_address_only);
    tcase_add_test(order, forgotten_member_is_told_to_have_left);
    suite_add_tcase(s, order);
    TCase *self = tcase_create("self");
    tcase_add_test(self, accused_machine_refutes_with_the_next_incarnation);
    tcase_add_test(self, last_incarnation_is_not_passed);
    tcase_add_test(self, newer_process_of_our_id_silences_us);
    tcase_add_test(self, older_process_of_our_id_is_told_of_us);
    tcase_add_test(self, twin_with_our_boot_is_noted);
    suite_add_tcase(s, self);
    TCase *address = tcase_create("address");
    tcase_add_test(address, accused_new_process_is_noted_to_be_there_and_supersedes);
    tcase_add_test(address, new_process_on_an_old_address_supersedes_the_old_one);
    tcase_add_test(address, older_process_on_an_address_supersedes_nobody);
    tcase_add_test(address, superseded_members_are_dropped_after_a_while);
    tcase_add_test(address, member_that_moved_is_found_at_its_new_address);
    suite_add_tcase(s, address);
    return s;
}

CHECK_MAIN(suite)
