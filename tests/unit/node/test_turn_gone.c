// tests/unit/node/test_turn_gone.c -- connections that are refused: when a process is taken for gone, and what follows.
//
// Shape: shell.
#include "tests/lib/turn_alone.h"

static void
refuse(uint64_t low)
{
    step((struct turn_input){.kind = TURN_IN_REFUSED, .node = {0, low}});
}

static void
reach(uint64_t low)
{
    step((struct turn_input){.kind = TURN_IN_REACHED, .node = {0, low}});
}

static void
lose(uint64_t low)
{
    refuse(low);
    now_ns += 50 * MS;
    refuse(low);
}

START_TEST(who_is_refused_twice_is_gone_until_it_is_reached)
{
    begin(100);
    claim_of_node_2(GOSSIP_ALIVE, 1);
    refuse(2);
    ck_assert_uint_eq(out.word_count, 0);
    now_ns += 40 * MS - 1;
    refuse(2);
    ck_assert_uint_eq(out.word_count, 0);
    now_ns += 1;
    refuse(2);
    is_said(true);
    now_ns += 50 * MS;
    refuse(2);
    ck_assert_uint_eq(out.word_count, 0);
    reach(2);
    is_said(false);
    reach(2);
    ck_assert_uint_eq(out.word_count, 0);
    end();
}
END_TEST

START_TEST(a_process_that_starts_again_at_once_is_not_gone)
{
    begin(100);
    claim_of_node_2(GOSSIP_ALIVE, 1);
    refuse(2);
    now_ns += 20 * MS;
    reach(2);
    ck_assert_uint_eq(out.word_count, 0);
    now_ns += 50 * MS;
    refuse(2);
    ck_assert_uint_eq(out.word_count, 0);
    claim_of_node_2(GOSSIP_DEAD, 1);
    claim_of_node_2(GOSSIP_ALIVE, 3); // says gossip
    now_ns += 50 * MS;
    refuse(2);
    ck_assert_uint_eq(out.word_count, 0);
    ck_assert_uint_eq(turn.absent_count, 1);
    end();
}
END_TEST

START_TEST(a_refusal_of_long_ago_says_nothing)
{
    begin(100);
    refuse(2);
    now_ns += 2000 * MS + 1;
    refuse(2);
    ck_assert_uint_eq(out.word_count, 0);
    now_ns += 2000 * MS;
    refuse(2);
    is_said(true);
    end();
}
END_TEST

START_TEST(whom_gossip_holds_for_dead_is_not_said_to_live_because_it_was_reached)
{
    begin(100);
    claim_of_node_2(GOSSIP_ALIVE, 1);
    lose(2);
    claim_of_node_2(GOSSIP_DEAD, 1);
    reach(2);
    ck_assert_uint_eq(out.word_count, 0);
    ck_assert_uint_eq(turn.absent_count, 0);
    end();
}
END_TEST

START_TEST(of_more_absent_than_are_kept_the_first_are_forgotten)
{
    begin(100);
    for (uint64_t low = 100; low < 100 + TURN_ABSENT_MAX + 1; low++)
        refuse(low);
    ck_assert_uint_eq(turn.absent_count, TURN_ABSENT_MAX);
    ck_assert_uint_eq(turn.absent[0].node.low, 101);
    end();
}
END_TEST

START_TEST(a_leader_that_is_gone_is_forgotten_and_another_is_not)
{
    const struct raft_group group = {.members = {{1, RAFT_VOTER}, {2, RAFT_VOTER}}, .count = 2};
    const struct raft_msg beat = {.kind = RAFT_HEARTBEAT, .from = 2, .to = 1, .term = 7};
    now_ns = MS;
    sim_disk_init(&disk, &group);
    start(100);
    settle();
    number = 2;
    claim_of_node_2(GOSSIP_ALIVE, 1);
    step((struct turn_input){.kind = TURN_IN_RAFT, .raft = &beat});
    ck_assert(out.led);
    ck_assert_uint_eq(turn.raft.lead, 2);
    refuse(9); // somebody else, of whom gossip knows nothing
    refuse(2);
    now_ns += 50 * MS;
    refuse(9);
    ck_assert_uint_eq(out.word_count, 1);
    ck_assert_uint_eq(turn.raft.lead, 2);
    refuse(2);
    is_said(true);
    ck_assert_uint_eq(turn.raft.lead, RAFT_NODE_NONE);
    step((struct turn_input){.kind = TURN_IN_RAFT, .raft = &beat}); // it was wrong
    ck_assert_uint_eq(turn.raft.lead, 2);
    ck_assert(out.led); // what was wished meanwhile went nowhere
    number = 0;
    end();
}
END_TEST

static Suite *
turn_gone_suite(void)
{
    Suite *suite = suite_create("node/turn_gone");
    TCase *tcase = tcase_create("turn_gone");
    tcase_add_test(tcase, who_is_refused_twice_is_gone_until_it_is_reached);
    tcase_add_test(tcase, a_process_that_starts_again_at_once_is_not_gone);
    tcase_add_test(tcase, a_refusal_of_long_ago_says_nothing);
    tcase_add_test(tcase, whom_gossip_holds_for_dead_is_not_said_to_live_because_it_was_reached);
    tcase_add_test(tcase, of_more_absent_than_are_kept_the_first_are_forgotten);
    tcase_add_test(tcase, a_leader_that_is_gone_is_forgotten_and_another_is_not);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(turn_gone_suite)
