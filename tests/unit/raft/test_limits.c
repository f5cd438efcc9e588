// tests/unit/raft/test_limits.c -- where numbers and rooms end, and inputs that come out of order.
//
// Shape: shell.
#include "base/alloc.h"
#include "tests/lib/raft_cluster.h"

static void
hear_durable(struct cluster *cluster, uint64_t from, uint64_t position)
{
    cluster_hear(cluster, (struct raft_msg){.kind = RAFT_APPEND_RESP,
                                            .from = from,
                                            .to = 1,
                                            .term = cluster->peers[0].raft.term,
                                            .position = position});
}

START_TEST(log_at_its_last_position_takes_no_proposal)
{
    static struct raft raft;
    static struct raft_output out;
    struct raft_config config = cluster_config();
    config.id = 1;
    const uint64_t base = RAFT_NUMBER_MAX - 2;
    const struct raft_durable durable = {.hard_state = {.term = 1},
                                         .applied = base,
                                         .base_position = base,
                                         .base_term = 1,
                                         .group = {.count = 1, .members = {{1, RAFT_VOTER}}}};
    raft_init(&raft, &config, 1);
    struct raft_input in = {.kind = RAFT_IN_START, .durable = &durable};
    raft_step(&raft, &in, &out);
    ck_assert_int_eq(out.answer, RAFT_ANSWER_OK);
    raft_step(&raft, &(struct raft_input){.kind = RAFT_IN_CAMPAIGN}, &out);
    in = (struct raft_input){.kind = RAFT_IN_PERSISTED, .persist_number = out.persist_number};
    raft_step(&raft, &in, &out);
    ck_assert_int_eq(out.state, RAFT_LEADER);
    ck_assert_uint_eq(tail_last(&raft.tail), RAFT_NUMBER_MAX - 1);
    in = (struct raft_input){.kind = RAFT_IN_PROPOSE};
    in.proposal.bytes = (const uint8_t *)"a";
    in.proposal.count = 1;
    raft_step(&raft, &in, &out);
    raft_check(&raft);
    ck_assert_int_eq(out.answer, RAFT_ANSWER_NO_MEMORY);
    ck_assert_uint_eq(tail_last(&raft.tail), RAFT_NUMBER_MAX - 1);
    raft_fini(&raft);
}
END_TEST

START_TEST(follower_without_memory_for_many_entries_keeps_its_log)
{
    enum { MANY = 100 };
    struct cluster *cluster = cluster_led(2, 2, NULL);
    struct cluster_peer *leader = &cluster->peers[0];
    struct raft_entry entries[MANY];
    for (uint32_t i = 0; i < MANY; i++)
        entries[i] = (struct raft_entry){.position = 2 + i, .term = 2};
    const struct raft_msg msg = {.kind = RAFT_APPEND,
                                 .from = 2,
                                 .to = 1,
                                 .term = 2,
                                 .position = 1,
                                 .log_term = 1,
                                 .entries = entries,
                                 .entry_count = MANY};
    mem_fail_after(1);
    cluster_hear(cluster, msg);
    mem_fail_after(0);
    ck_assert_uint_eq(tail_last(&leader->raft.tail), 1);
    ck_assert(cluster_noted(leader, RAFT_NOTE_NO_MEMORY));
    cluster_hear(cluster, msg);
    ck_assert_uint_eq(tail_last(&leader->raft.tail), 1 + MANY);
    cluster_close(cluster);
}
END_TEST

START_TEST(leader_wakes_for_its_quorum_before_the_next_heartbeat)
{
    struct raft_config config = cluster_config();
    config.election_ticks = 3;
    config.heartbeat_ticks = 2;
    struct cluster *cluster = cluster_led(3, 3, &config);
    struct cluster_peer *leader = &cluster->peers[0];
    cluster_tick(cluster, 0);
    ck_assert_uint_eq(leader->wake_ns, leader->now_ns + CLUSTER_TICK_NS); // a heartbeat
    cluster_tick(cluster, 0);
    ck_assert_uint_eq(leader->wake_ns, leader->now_ns + CLUSTER_TICK_NS);
    ck_assert_uint_eq(leader->raft.heartbeat_elapsed, 0);
    cluster_tick(cluster, 0);
    ck_assert_uint_eq(leader->raft.election_elapsed, 0);
    cluster_close(cluster);
}
END_TEST

START_TEST(removed_leader_does_not_count_what_is_durable_later)
{
    struct raft_config config = cluster_config();
    config.step_down_on_removal = false;
    struct cluster *cluster = cluster_led(3, 3, &config);
    struct raft *raft = &cluster->peers[0].raft;
    cluster_change(cluster, 0, RAFT_REMOVE, 1);
    cluster_sync(cluster, 0);
    cluster_propose(cluster, 0, "a");
    hear_durable(cluster, 2, 2);
    hear_durable(cluster, 3, 2);
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_WAKE});
    ck_assert_uint_eq(member_find(&raft->group, 1), RAFT_MEMBERS_MAX);
    hear_durable(cluster, 2, 3);
    cluster_sync(cluster, 0);
    ck_assert_uint_eq(raft->stable, 3);
    ck_assert_uint_eq(raft->commit, 2);
    hear_durable(cluster, 3, 3);
    ck_assert_uint_eq(raft->commit, 3);
    cluster_close(cluster);
}
END_TEST

START_TEST(leader_does_not_campaign)
{
    struct cluster *cluster = cluster_led(3, 3, NULL);
    const struct raft *raft = &cluster->peers[0].raft;
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_CAMPAIGN});
    ck_assert_int_eq(raft->state, RAFT_LEADER);
    ck_assert_uint_eq(raft->term, 1);
    cluster_close(cluster);
}
END_TEST

START_TEST(snapshot_that_nobody_asked_for_is_offered_to_nobody)
{
    struct cluster *cluster = cluster_led(3, 3, NULL);
    struct raft_input in = {.kind = RAFT_IN_SNAPSHOT};
    for (uint64_t position = 0; position < 3; position++) {
        in.snapshot.position = position;
        in.snapshot.total_bytes = 8;
        cluster_step(cluster, 0, in);
        ck_assert_uint_eq(cluster->peers[0].raft.offer.position, 0);
    }
    cluster_close(cluster);
}
END_TEST

static Suite *
suite(void)
{
    Suite *s = suite_create("raft/limits");
    TCase *c = tcase_create("limits");
    tcase_add_test(c, log_at_its_last_position_takes_no_proposal);
    tcase_add_test(c, follower_without_memory_for_many_entries_keeps_its_log);
    tcase_add_test(c, leader_wakes_for_its_quorum_before_the_next_heartbeat);
    tcase_add_test(c, removed_leader_does_not_count_what_is_durable_later);
    tcase_add_test(c, leader_does_not_campaign);
    tcase_add_test(c, snapshot_that_nobody_asked_for_is_offered_to_nobody);
    suite_add_tcase(s, c);
    return s;
}

CHECK_MAIN(suite)
