// tests/unit/raft/test_replicate.c -- corners of replication, elections and reads that no story comes by.
//
// Shape: shell.
#include "tests/lib/raft_cluster.h"

static void
transfer(struct cluster *cluster, uint64_t to)
{
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_TRANSFER, .peer = to});
}

START_TEST(removal_of_a_member_commits_what_it_held_up)
{
    struct cluster *cluster = cluster_led(2, 2, NULL);
    cluster_change(cluster, 0, RAFT_REMOVE, 2);
    cluster_propose(cluster, 0, "a");
    cluster_drop_all(cluster);
    cluster_sync(cluster, 0);
    cluster_hear(
        cluster,
        (struct raft_msg){.kind = RAFT_APPEND_RESP, .from = 2, .to = 1, .term = 1, .position = 2});
    ck_assert_uint_eq(cluster->peers[0].raft.commit, 2);
    cluster_settle(cluster, 0);
    ck_assert_uint_eq(cluster->peers[0].raft.commit, 3);
    cluster_close(cluster);
}
END_TEST

START_TEST(removal_of_the_target_aborts_the_transfer)
{
    struct cluster *cluster = cluster_led(3, 3, NULL);
    cluster_change(cluster, 0, RAFT_REMOVE, 3);
    transfer(cluster, 3);
    transfer(cluster, 3); // twice is once
    ck_assert_int_eq(cluster->peers[0].answer, RAFT_ANSWER_OK);
    ck_assert_uint_eq(cluster->peers[0].raft.transferee, 3);
    cluster->cut[0][2] = true;
    cluster_run(cluster);
    ck_assert_uint_eq(cluster->peers[0].raft.transferee, RAFT_NODE_NONE);
    ck_assert(cluster_noted(&cluster->peers[0], RAFT_NOTE_TRANSFER_ABORTED));
    cluster_close(cluster);
}
END_TEST

START_TEST(demotion_of_the_target_aborts_the_transfer_and_another_change_does_not)
{
    for (int demote = 0; demote < 2; demote++) {
        struct cluster *cluster = cluster_led(3, 3, NULL);
        cluster_change(cluster, 0, RAFT_ADD_LEARNER, demote ? 3 : 2);
        transfer(cluster, 3);
        cluster->cut[0][2] = true;
        cluster_run(cluster);
        ck_assert_uint_eq(cluster->peers[0].raft.transferee, demote ? RAFT_NODE_NONE : 3);
        cluster_close(cluster);
    }
}
END_TEST

START_TEST(removed_leader_that_stays_takes_no_proposals_and_does_not_count)
{
    struct raft_config config = cluster_config();
    config.step_down_on_removal = false;
    struct cluster *cluster = cluster_led(3, 3, &config);
    cluster_change(cluster, 0, RAFT_REMOVE, 1);
    cluster_propose(cluster, 0, "a");
    cluster_propose(cluster, 0, "b");
    cluster_run(cluster);
    ck_assert_int_eq(cluster->peers[0].raft.state, RAFT_LEADER);
    ck_assert_uint_eq(cluster->peers[1].raft.commit, 4);
    ck_assert_int_eq(cluster_propose(cluster, 0, "c"), RAFT_ANSWER_NOT_LEADER);
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_READ_INDEX});
    cluster_elapse(cluster, 2); // by the others
    ck_assert_uint_eq(cluster->peers[0].read_count, 1);
    cluster_close(cluster);
}
END_TEST

START_TEST(joint_configuration_is_left_after_a_transfer_was_given_up)
{
    struct cluster *cluster = cluster_led(4, 4, NULL);
    const struct raft_change change = {.count = 2,
                                       .items = {{RAFT_ADD_LEARNER, 3}, {RAFT_REMOVE, 4}}};
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_CONF_CHANGE, .change = &change});
    transfer(cluster, 2);
    cluster->cut[1][0] = true; // it does not come to it
    cluster_run(cluster);
    ck_assert(member_is_joint(&cluster->peers[0].raft.group));
    cluster_elapse(cluster, 8);
    ck_assert(member_is_joint(&cluster->peers[0].raft.group));
    cluster->cut[1][0] = false;
    cluster_drop_all(cluster);
    cluster_elapse(cluster, 60);
    const uint32_t leader = cluster_leader(cluster);
    ck_assert(!member_is_joint(&cluster->peers[leader].raft.group));
    cluster_close(cluster);
}
END_TEST

START_TEST(follower_with_a_full_tail_drops_what_does_not_fit)
{
    struct raft_config config = cluster_config();
    config.tail_entries_max = 16;
    struct cluster *cluster = cluster_open(3, 3, &config, 1);
    struct raft_entry entries[20];
    for (uint32_t i = 0; i < 20; i++)
        entries[i] = (struct raft_entry){.position = i + 1, .term = 1};
    struct raft_msg append = {
        .kind = RAFT_APPEND, .from = 2, .to = 1, .term = 1, .entries = entries, .entry_count = 17};
    cluster_hear(cluster, append);
    ck_assert_uint_eq(tail_last(&cluster->peers[0].raft.tail), 0);
    ck_assert(cluster_noted(&cluster->peers[0], RAFT_NOTE_TAIL_FULL));
    append.entry_count = 16;
    cluster_hear(cluster, append);
    ck_assert_uint_eq(tail_last(&cluster->peers[0].raft.tail), 16);
    for (uint32_t i = 0; i < 20; i++)
        entries[i].term = 2; // as many in place of those
    append.term = 2;
    cluster_hear(cluster, append);
    ck_assert_uint_eq(tail_last(&cluster->peers[0].raft.tail), 16);
    ck_assert_uint_eq(tail_last_term(&cluster->peers[0].raft.tail), 2);
    cluster_close(cluster);
}
END_TEST

START_TEST(rejection_behind_a_compacted_log_hints_without_a_term)
{
    struct cluster *cluster = cluster_open(3, 3, NULL, 1);
    const struct raft_group one = {.count = 1, .members = {{1, RAFT_VOTER}}};
    cluster_hear(cluster, (struct raft_msg){.kind = RAFT_SNAPSHOT,
                                            .from = 2,
                                            .to = 1,
                                            .term = 5,
                                            .position = 7,
                                            .log_term = 4,
                                            .group = &one});
    cluster_sync(cluster, 0);
    cluster_drop_all(cluster);
    cluster_hear(
        cluster,
        (struct raft_msg){
            .kind = RAFT_APPEND, .from = 2, .to = 1, .term = 5, .position = 8, .log_term = 3});
    ck_assert_uint_eq(cluster->flight_count, 1);
    ck_assert(cluster->flights[0]->msg.reject);
    ck_assert_uint_eq(cluster->flights[0]->msg.hint, 6);
    ck_assert_uint_eq(cluster->flights[0]->msg.log_term, 0);
    cluster_close(cluster);
}
END_TEST

START_TEST(heartbeats_that_do_not_fit_go_with_the_next_wake)
{
    struct raft_config config = cluster_config();
    config.append_bytes_max = 1;
    config.inflight_max = RAFT_INFLIGHTS_MAX;
    struct cluster *cluster = cluster_led(3, 3, &config);
    struct raft *raft = &cluster->peers[0].raft;
    cluster_isolate(cluster, 1, true);
    for (int i = 0; i < 100; i++)
        cluster_propose(cluster, 0, "a");
    cluster_run(cluster);
    raft->progress[1].next = raft->progress[1].match + 1; // all was lost
    raft->progress[1].inflight_count = 0;
    raft->progress[1].inflight_bytes = 0;
    raft->progress[1].wants |= 2; // more
    cluster->peers[0].now_ns += CLUSTER_TICK_NS;
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_TRANSFER, .peer = 3});
    ck_assert_uint_eq(cluster->flight_count, RAFT_MSGS_MAX);
    ck_assert_uint_eq(cluster_count_kind(cluster, RAFT_HEARTBEAT), 1);
    ck_assert_uint_eq(cluster->peers[0].wake_ns, cluster->peers[0].now_ns);
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_WAKE});
    ck_assert_uint_eq(cluster_count_kind(cluster, RAFT_HEARTBEAT), 2);
    ck_assert_uint_eq(cluster_count_kind(cluster, RAFT_TIMEOUT_NOW), 1);
    cluster_close(cluster);
}
END_TEST

START_TEST(full_outbox_loses_answers_and_says_so)
{
    struct cluster *cluster = cluster_open(3, 3, NULL, 1);
    cluster->hold_sync = true;
    for (uint32_t i = 0; i <= RAFT_OUTBOX_MAX; i++)
        cluster_hear(cluster,
                     (struct raft_msg){.kind = RAFT_APPEND, .from = 2, .to = 1, .term = 1});
    ck_assert_uint_eq(cluster->peers[0].raft.outbox_count, RAFT_OUTBOX_MAX);
    ck_assert(cluster_noted(&cluster->peers[0], RAFT_NOTE_OUTBOX_FULL));
    cluster_sync(cluster, 0);
    ck_assert_uint_eq(cluster->flight_count, RAFT_MSGS_MAX);
    cluster_settle(cluster, 0);
    ck_assert_uint_eq(cluster->flight_count, RAFT_OUTBOX_MAX);
    cluster_close(cluster);
}
END_TEST

START_TEST(many_writes_on_their_way_are_taken_together)
{
    struct cluster *cluster = cluster_led(1, 1, NULL);
    for (uint32_t i = 0; i < RAFT_PERSISTS_MAX + 10; i++)
        cluster_propose(cluster, 0, "a");
    struct raft *raft = &cluster->peers[0].raft;
    ck_assert_uint_eq(raft->persist_count, RAFT_PERSISTS_MAX);
    const uint64_t last = raft->persist_last;
    cluster_step(cluster, 0,
                 (struct raft_input){.kind = RAFT_IN_PERSISTED, .persist_number = last - 1});
    ck_assert_uint_eq(raft->stable, RAFT_PERSISTS_MAX); // all but those taken together
    cluster_step(cluster, 0,
                 (struct raft_input){.kind = RAFT_IN_PERSISTED, .persist_number = last - 2});
    ck_assert_uint_eq(raft->persisted, last - 1); // an older one is no news
    cluster->peers[0].durable = cluster->peers[0].cache;
    cluster_run(cluster);
    ck_assert_uint_eq(raft->commit, RAFT_PERSISTS_MAX + 11);
    cluster_close(cluster);
}
END_TEST

START_TEST(follower_with_a_snapshot_and_not_what_was_compacted_since_gets_another)
{
    struct cluster *cluster = cluster_led(3, 3, NULL);
    struct raft *raft = &cluster->peers[0].raft;
    for (int i = 0; i < 5; i++)
        cluster_propose(cluster, 0, "a");
    cluster_run(cluster);
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_COMPACT, .position = 6});
    raft->offer = (struct raft_snapshot_offer){
        .position = 3, .term = 1, .total_bytes = 8, .group = raft->group};
    struct raft_progress *progress = &raft->progress[2];
    progress->state = RAFT_STREAM; // whose last answer was lost
    progress->snapshot_position = progress->match = 3;
    progress->next = 4;
    progress->inflight_count = 0;
    progress->inflight_bytes = 0;
    progress->chunk_sent = true;
    cluster_hear(
        cluster,
        (struct raft_msg){.kind = RAFT_APPEND_RESP, .from = 3, .to = 1, .term = 1, .position = 3});
    ck_assert_int_eq(progress->state, RAFT_STREAM);
    ck_assert_uint_eq(progress->snapshot_position, 6);
    cluster_close(cluster);
}
END_TEST

// ---- elections ----

START_TEST(refusal_of_a_removed_node_brings_the_commit_that_removed_it)
{
    struct cluster *cluster = cluster_led(2, 2, NULL);
    cluster_change(cluster, 0, RAFT_REMOVE, 1);
    cluster_propose(cluster, 0, "a"); // which makes its log the longer one
    while (cluster->flight_count > 1)
        cluster_free_flight(cluster_take(cluster, 1));
    cluster_deliver(cluster, cluster_take(cluster, 0)); // the removal, and no more
    cluster_sync(cluster, 0);
    cluster_sync(cluster, 1);
    cluster->cut[0][1] = true;
    cluster_run(cluster);
    ck_assert_uint_eq(cluster->peers[0].raft.group.count, 1);
    ck_assert_int_eq(cluster->peers[0].raft.state, RAFT_FOLLOWER);
    ck_assert_uint_eq(cluster->peers[1].raft.group.count, 2);
    cluster->cut[0][1] = false;
    cluster_elapse(cluster, 60);
    ck_assert_uint_eq(cluster->peers[1].raft.group.count, 1);
    ck_assert_int_eq(cluster->peers[1].raft.state, RAFT_LEADER);
    cluster_close(cluster);
}
END_TEST

START_TEST(candidate_that_was_removed_does_not_lead)
{
    struct raft_config config = cluster_config();
    config.pre_vote = false;
    struct cluster *cluster = cluster_open(3, 3, &config, 1);
    struct raft *raft = &cluster->peers[0].raft;
    uint8_t bytes[RAFT_CHANGE_BYTES_MAX];
    const struct raft_change change = {.count = 1, .items = {{RAFT_REMOVE, 1}}};
    const struct raft_entry entry = {.position = 1,
                                     .term = 1,
                                     .kind = RAFT_ENTRY_CHANGE,
                                     .bytes = bytes,
                                     .byte_count = member_encode(&change, bytes)};
    cluster_hear(cluster, (struct raft_msg){.kind = RAFT_APPEND,
                                            .from = 2,
                                            .to = 1,
                                            .term = 1,
                                            .entries = &entry,
                                            .entry_count = 1});
    cluster_sync(cluster, 0);
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_CAMPAIGN});
    ck_assert_int_eq(raft->state, RAFT_CANDIDATE);
    raft->commit = 1; // which it learns in a way that does not end its candidacy
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_WAKE});
    ck_assert_uint_eq(raft->group.count, 2);
    cluster_sync(cluster, 0);
    for (uint64_t from = 2; from <= 3; from++)
        cluster_hear(cluster,
                     (struct raft_msg){.kind = RAFT_VOTE_RESP, .from = from, .to = 1, .term = 2});
    ck_assert_int_eq(raft->state, RAFT_FOLLOWER);
    cluster_close(cluster);
}
END_TEST

START_TEST(own_vote_of_an_election_that_is_over_does_not_count)
{
    struct raft_config config = cluster_config();
    config.pre_vote = false;
    struct cluster *cluster = cluster_open(3, 3, &config, 1);
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_CAMPAIGN});
    cluster_hear(cluster, (struct raft_msg){.kind = RAFT_APPEND, .from = 2, .to = 1, .term = 1});
    cluster_sync(cluster, 0);
    ck_assert_int_eq(cluster->peers[0].raft.state, RAFT_FOLLOWER);
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_CAMPAIGN});
    for (int t = 0; t < 20; t++) // again, and of a later term
        cluster_tick(cluster, 0);
    cluster_sync(cluster, 0);
    ck_assert_uint_eq(cluster->peers[0].raft.ballots[0], BALLOT_YES);
    cluster_close(cluster);
}
END_TEST

START_TEST(answers_of_other_elections_and_of_strangers_do_not_count)
{
    struct cluster *cluster = cluster_open(3, 3, NULL, 1);
    struct raft *raft = &cluster->peers[0].raft;
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_CAMPAIGN});
    ck_assert_int_eq(raft->state, RAFT_PRE_CANDIDATE);
    cluster_hear(cluster,
                 (struct raft_msg){.kind = RAFT_PRE_VOTE_RESP, .from = 2, .to = 1, .term = 7});
    cluster_hear(cluster,
                 (struct raft_msg){.kind = RAFT_PRE_VOTE_RESP, .from = 9, .to = 1, .term = 1});
    cluster_hear(cluster, (struct raft_msg){.kind = RAFT_VOTE_RESP, .from = 2, .to = 1, .term = 0});
    ck_assert_int_eq(raft->state, RAFT_PRE_CANDIDATE);
    cluster_hear(cluster,
                 (struct raft_msg){.kind = RAFT_PRE_VOTE_RESP, .from = 2, .to = 1, .term = 1});
    ck_assert_int_eq(raft->state, RAFT_CANDIDATE);
    cluster_hear(cluster,
                 (struct raft_msg){.kind = RAFT_TIMEOUT_NOW, .from = 2, .to = 1, .term = 1});
    ck_assert_uint_eq(raft->term, 1); // it has begun already
    cluster_close(cluster);
}
END_TEST

START_TEST(no_term_comes_after_the_last)
{
    struct cluster *cluster = cluster_open(3, 3, NULL, 1);
    cluster_hear(
        cluster,
        (struct raft_msg){.kind = RAFT_HEARTBEAT, .from = 2, .to = 1, .term = RAFT_NUMBER_MAX - 1});
    for (int t = 0; t < 40; t++)
        cluster_tick(cluster, 0);
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_CAMPAIGN});
    ck_assert_int_eq(cluster->peers[0].raft.state, RAFT_FOLLOWER);
    cluster_close(cluster);
}
END_TEST

START_TEST(forgotten_leader_is_no_reason_to_refuse_a_vote_but_with_leases_it_is_remembered)
{
    for (int leases = 0; leases < 2; leases++) {
        struct raft_config config = cluster_config();
        config.reads = leases ? RAFT_READS_LEASE : RAFT_READS_SAFE;
        struct cluster *cluster = cluster_led(3, 3, &config);
        for (uint32_t i = 0; i < 2; i++) // the leader does not forget itself
            cluster_step(cluster, i, (struct raft_input){.kind = RAFT_IN_FORGET_LEADER});
        ck_assert_uint_eq(cluster->peers[0].raft.lead, 1);
        ck_assert_uint_eq(cluster->peers[1].raft.lead, leases ? 1 : RAFT_NODE_NONE);
        cluster_close(cluster);
    }
}
END_TEST

START_TEST(clock_that_stands_or_goes_back_is_borne)
{
    struct cluster *cluster = cluster_led(3, 3, NULL);
    cluster->peers[0].now_ns = 50 * CLUSTER_TICK_NS;
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_WAKE});
    const uint64_t ticks = cluster->peers[0].raft.tick_count;
    cluster->peers[0].now_ns = 3;
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_WAKE});
    ck_assert_uint_eq(cluster->peers[0].raft.tick_count, ticks);
    cluster_close(cluster);
}
END_TEST

START_TEST(proposal_over_the_limit_is_refused)
{
    struct cluster *cluster = cluster_led(1, 1, NULL);
    struct raft_input in = {.kind = RAFT_IN_PROPOSE};
    in.proposal.bytes = (const uint8_t *)"";
    in.proposal.count = RAFT_ENTRY_BYTES_MAX + 1;
    cluster_step(cluster, 0, in);
    ck_assert_int_eq(cluster->peers[0].answer, RAFT_ANSWER_INVALID);
    cluster_close(cluster);
}
END_TEST

static Suite *
suite(void)
{
    Suite *s = suite_create("raft/replicate");
    TCase *c = tcase_create("replicate");
    tcase_add_test(c, removal_of_a_member_commits_what_it_held_up);
    tcase_add_test(c, removal_of_the_target_aborts_the_transfer);
    tcase_add_test(c, demotion_of_the_target_aborts_the_transfer_and_another_change_does_not);
    tcase_add_test(c, removed_leader_that_stays_takes_no_proposals_and_does_not_count);
    tcase_add_test(c, joint_configuration_is_left_after_a_transfer_was_given_up);
    tcase_add_test(c, follower_with_a_full_tail_drops_what_does_not_fit);
    tcase_add_test(c, rejection_behind_a_compacted_log_hints_without_a_term);
    tcase_add_test(c, heartbeats_that_do_not_fit_go_with_the_next_wake);
    tcase_add_test(c, full_outbox_loses_answers_and_says_so);
    tcase_add_test(c, many_writes_on_their_way_are_taken_together);
    tcase_add_test(c, proposal_over_the_limit_is_refused);
    tcase_add_test(c, follower_with_a_snapshot_and_not_what_was_compacted_since_gets_another);
    suite_add_tcase(s, c);
    TCase *e = tcase_create("election");
    tcase_add_test(e, refusal_of_a_removed_node_brings_the_commit_that_removed_it);
    tcase_add_test(e, candidate_that_was_removed_does_not_lead);
    tcase_add_test(e, own_vote_of_an_election_that_is_over_does_not_count);
    tcase_add_test(e, answers_of_other_elections_and_of_strangers_do_not_count);
    tcase_add_test(e, no_term_comes_after_the_last);
    tcase_add_test(e,
                   forgotten_leader_is_no_reason_to_refuse_a_vote_but_with_leases_it_is_remembered);
    tcase_add_test(e, clock_that_stands_or_goes_back_is_borne);
    suite_add_tcase(s, e);
    return s;
}

CHECK_MAIN(suite)
