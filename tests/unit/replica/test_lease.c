// tests/unit/replica/test_lease.c -- leases are granted by who certainly leads, and nobody is promoted while one holds.
//
// Shape: shell.
#include "tests/lib/check_main.h"
#include "tests/lib/lease_world.h"

static const struct lease_config lan = {.lease_ns = 100 * LEASE_MS, .guard_ns = 120 * LEASE_MS};
static struct lease_world world;
static struct lease lease;
static struct lease_output out;

static void
step(struct lease_input in)
{
    lease_step(&lease, &in, &out);
    lease_check(&lease);
}

static struct lease_input
ask(uint64_t now_ms, uint64_t boot)
{
    return (struct lease_input){.kind = LEASE_IN_ASK,
                                .node = 1,
                                .boot = boot,
                                .now_ns = now_ms * LEASE_MS,
                                .sent_ns = now_ms * LEASE_MS};
}

static void
node(uint64_t number, uint64_t boot, uint64_t now_ms)
{
    step((struct lease_input){
        .kind = LEASE_IN_NODE, .node = number, .boot = boot, .now_ns = now_ms * LEASE_MS});
}

static void
gone(uint64_t number, uint64_t now_ms)
{
    step((struct lease_input){.kind = LEASE_IN_GONE, .node = number, .now_ns = now_ms * LEASE_MS});
}

// Node 1 asks in its process 1 and gets its lease.
static void
grant(uint64_t now_ms)
{
    step(ask(now_ms, 1));
    step((struct lease_input){
        .kind = LEASE_IN_ROUND, .round = out.round, .now_ns = now_ms * LEASE_MS});
    ck_assert_uint_eq(out.grant_count, 1);
}

// The map has node 1, in its process 1.
static void
lead(void)
{
    lease_init(&lease, &lan);
    node(1, 1, 1);
    step((struct lease_input){.kind = LEASE_IN_LEAD, .now_ns = LEASE_MS});
}

START_TEST(no_promotion_while_a_lease_holds_whoever_leads)
{
    const char *broken = lease_run((uint64_t)_i, &lan, &world);
    ck_assert_msg(broken == NULL, "seed %d: %s", _i, broken);
    ck_assert_uint_gt(world.grants, 0);
}
END_TEST

START_TEST(a_question_waits_for_a_round_that_began_after_it)
{
    lead();
    step(ask(2, 1));
    const uint64_t first = out.round;
    ck_assert_uint_ne(first, 0);
    step(ask(3, 1));
    ck_assert_uint_eq(out.round + out.grant_count, 0);
    step((struct lease_input){.kind = LEASE_IN_ROUND, .round = first, .now_ns = 4 * LEASE_MS});
    ck_assert_uint_eq(out.grant_count, 0);
    ck_assert_uint_eq(out.round, first + 1);
    step((struct lease_input){.kind = LEASE_IN_ROUND, .round = out.round, .now_ns = 5 * LEASE_MS});
    ck_assert_uint_eq(out.grants[0].sent_ns, 3 * LEASE_MS);
}
END_TEST

START_TEST(a_new_leader_waits_one_guard_before_it_promotes)
{
    lead();
    node(9, 1, 120);
    ck_assert(!lease_may_promote(&lease, 1, 1));
    node(9, 1, 121);
    ck_assert(lease_may_promote(&lease, 1, 1));
}
END_TEST

START_TEST(a_newer_process_voids_the_lease_of_the_old_one)
{
    lead();
    node(1, 2, 2);
    ck_assert(lease_may_promote(&lease, 1, 1));
    ck_assert(!lease_may_promote(&lease, 1, 2));
    step(ask(3, 1));
    ck_assert_uint_eq(lease.refused, 1);
}
END_TEST

START_TEST(who_does_not_lead_grants_and_promotes_nothing)
{
    lease_init(&lease, &lan);
    node(1, 1, 1);
    step(ask(500, 1));
    ck_assert_uint_eq(out.round + out.grant_count, 0);
    ck_assert(!lease_may_promote(&lease, 1, 1));
}
END_TEST

START_TEST(an_answer_to_another_round_grants_nothing)
{
    lead();
    step(ask(2, 1));
    step((struct lease_input){.kind = LEASE_IN_ROUND, .round = out.round + 1, .now_ns = LEASE_MS});
    ck_assert_uint_eq(out.grant_count, 0);
    step((struct lease_input){.kind = LEASE_IN_FOLLOW, .now_ns = 3 * LEASE_MS});
    step((struct lease_input){.kind = LEASE_IN_ROUND, .round = lease.round_sent});
    ck_assert_uint_eq(out.grant_count, 0);
}
END_TEST

START_TEST(nodes_that_are_not_in_the_map_are_refused_and_take_no_row)
{
    struct lease_input in = ask(2, 1);
    lead();
    for (in.node = 2; in.node <= 2 * LEASE_NODES_MAX; in.node++)
        step(in);
    ck_assert_uint_eq(lease.refused, 2 * LEASE_NODES_MAX - 1);
    ck_assert_uint_eq(lease.row_count, 1);
    node(5, 1, 3); // it is in the map now
    in.node = 5;
    step(in);
    ck_assert_uint_eq(lease.refused, 2 * LEASE_NODES_MAX - 1);
}
END_TEST

START_TEST(a_process_that_the_map_does_not_have_gets_no_lease_and_voids_none)
{
    lead();
    grant(130);
    step(ask(131, 2));
    ck_assert_uint_eq(lease.refused, 1);
    ck_assert(!lease_may_promote(&lease, 1, 1));
    node(1, 2, 132);
    step(ask(132, 2));
    ck_assert_uint_eq(lease.refused, 1);
    ck_assert(lease_may_promote(&lease, 1, 1));
}
END_TEST

START_TEST(a_node_that_left_the_map_is_not_replaced_while_its_lease_holds)
{
    char line[128];
    lead();
    grant(130);
    gone(1, 140);
    step(ask(141, 1));
    ck_assert_uint_eq(lease.refused, 1);
    ck_assert(!lease_may_promote(&lease, 1, 1));
    lease_describe(&lease, line, sizeof line);
    ck_assert_str_eq(line, "lease leads round=2/2 1.1 gone");
    node(2, 1, 249);
    ck_assert_uint_eq(lease.row_count, 2);
    gone(2, 250); // that had none
    gone(2, 250);
    gone(1, 250);
    ck_assert(lease_may_promote(&lease, 1, 1));
    ck_assert_uint_eq(lease.row_count, 0);
}
END_TEST

START_TEST(a_node_that_came_back_to_the_map_may_ask_again)
{
    lead();
    grant(130);
    gone(1, 140);
    node(1, 1, 141);
    grant(142);
    gone(1, 143);
    step((struct lease_input){.kind = LEASE_IN_FOLLOW, .now_ns = 144 * LEASE_MS});
    ck_assert_uint_eq(lease.row_count, 0);
}
END_TEST

START_TEST(a_node_that_has_no_row_gets_no_lease_and_may_be_replaced)
{
    const uint64_t last = LEASE_NODES_MAX + 1;
    struct lease_input in = ask(200, 1);
    lead();
    for (uint64_t i = 2; i <= last; i++)
        node(i, 1, 2);
    ck_assert_uint_eq(lease.refused, 1);
    in.node = last;
    step(in);
    ck_assert_uint_eq(lease.refused, 2);
    ck_assert(lease_may_promote(&lease, last, 1));
    gone(2, 201);
    node(last, 1, 202);
    step(in);
    ck_assert_uint_eq(lease.refused, 2);
}
END_TEST

START_TEST(a_full_table_forgets_who_left_not_before_its_lease_has_ended)
{
    const uint64_t another = LEASE_NODES_MAX + 1;
    lead();
    for (uint64_t i = 2; i <= LEASE_NODES_MAX; i++)
        node(i, 1, 2);
    grant(130);
    gone(1, 140);
    node(another, 1, 249);
    ck_assert_uint_eq(lease.refused, 1);
    ck_assert(!lease_may_promote(&lease, 1, 1));
    node(another, 1, 250);
    ck_assert_uint_eq(lease.refused, 1);
    ck_assert_uint_eq(lease.row_count, LEASE_NODES_MAX);
    ck_assert(lease_may_promote(&lease, 1, 1));
}
END_TEST

START_TEST(a_look_at_all_nodes_compares_a_row_for_each_halving)
{
    lead();
    for (uint64_t i = LEASE_NODES_MAX; i > 0; i--)
        node(i, 1, 2);
    ck_assert_uint_eq(lease.row_count, LEASE_NODES_MAX);
    const uint64_t before = lease.compared;
    for (uint64_t i = 1; i <= LEASE_NODES_MAX; i++) {
        node(i, 1, 3);
        ck_assert(!lease_may_promote(&lease, i, 1)); // the guard of a new leader
    }
    ck_assert_uint_le(lease.compared - before, 2 * 11 * LEASE_NODES_MAX);
    const uint64_t looked = lease.compared;
    for (uint64_t i = 1; i <= LEASE_NODES_MAX; i++)
        gone(i, 4);
    ck_assert_uint_eq(lease.row_count, 0);
    ck_assert_uint_le(lease.compared - looked, 11 * LEASE_NODES_MAX);
}
END_TEST

START_TEST(all_nodes_that_ask_at_once_share_two_rounds)
{
    uint64_t granted = 0;
    lead();
    for (uint64_t i = 2; i <= LEASE_NODES_MAX; i++)
        node(i, 1, 2);
    const uint64_t before = lease.compared, first = lease.round;
    struct lease_input in = ask(3, 1);
    for (in.node = 1; in.node <= LEASE_NODES_MAX; in.node++)
        step(in);
    ck_assert_uint_le(lease.compared - before, 11 * LEASE_NODES_MAX);
    for (int round = 0; round < 2; round++) { // the first question began the first of them
        step((struct lease_input){
            .kind = LEASE_IN_ROUND, .round = lease.round_sent, .now_ns = 4 * LEASE_MS});
        granted += out.grant_count;
    }
    ck_assert_uint_eq(granted, LEASE_NODES_MAX);
    ck_assert_uint_eq(lease.round, first + 2);
    ck_assert_uint_eq(lease.asked_count, 0);
}
END_TEST

START_TEST(an_older_process_than_the_one_that_was_heard_changes_nothing)
{
    char line[128];
    lead();
    node(1, 2, 2);
    step(ask(2, 2));
    node(1, 1, 3);
    lease_describe(&lease, line, sizeof line);
    ck_assert_str_eq(line, "lease leads round=1/2 1.2?");
    step((struct lease_input){.kind = LEASE_IN_ROUND, .round = 2, .now_ns = 4 * LEASE_MS});
    ck_assert_uint_eq(out.grant_count, 1);
    step((struct lease_input){.kind = LEASE_IN_FOLLOW, .now_ns = 4 * LEASE_MS});
    lease_describe(&lease, line, sizeof line);
    ck_assert_str_eq(line, "lease follows round=3/3 1.2");
}
END_TEST

static Suite *
lease_suite(void)
{
    Suite *suite = suite_create("replica/lease");
    TCase *tcase = tcase_create("lease");
    tcase_add_loop_test(tcase, no_promotion_while_a_lease_holds_whoever_leads, 0, 50);
    tcase_add_test(tcase, a_question_waits_for_a_round_that_began_after_it);
    tcase_add_test(tcase, a_new_leader_waits_one_guard_before_it_promotes);
    tcase_add_test(tcase, a_newer_process_voids_the_lease_of_the_old_one);
    tcase_add_test(tcase, who_does_not_lead_grants_and_promotes_nothing);
    tcase_add_test(tcase, an_answer_to_another_round_grants_nothing);
    tcase_add_test(tcase, nodes_that_are_not_in_the_map_are_refused_and_take_no_row);
    tcase_add_test(tcase, a_process_that_the_map_does_not_have_gets_no_lease_and_voids_none);
    tcase_add_test(tcase, a_node_that_left_the_map_is_not_replaced_while_its_lease_holds);
    tcase_add_test(tcase, a_node_that_came_back_to_the_map_may_ask_again);
    tcase_add_test(tcase, a_node_that_has_no_row_gets_no_lease_and_may_be_replaced);
    tcase_add_test(tcase, a_full_table_forgets_who_left_not_before_its_lease_has_ended);
    tcase_add_test(tcase, a_look_at_all_nodes_compares_a_row_for_each_halving);
    tcase_add_test(tcase, all_nodes_that_ask_at_once_share_two_rounds);
    tcase_add_test(tcase, an_older_process_than_the_one_that_was_heard_changes_nothing);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(lease_suite)
