// tests/unit/raft/test_paper.c -- the rules of the Raft paper (Ongaro & Ousterhout 2014) and of the thesis, by section.
//
// Shape: shell.
#include "tests/lib/raft_cluster.h"

static struct cluster *
of(uint32_t count)
{
    struct raft_config config = cluster_config();
    config.pre_vote = config.check_quorum = false; // the paper's
    return cluster_open(count, count, &config, 1);
}

static void
campaign(struct cluster *cluster, uint32_t i)
{
    cluster_step(cluster, i, (struct raft_input){.kind = RAFT_IN_CAMPAIGN});
    cluster_sync(cluster, i);
}

// Puts entries of these terms into peer i's log, by an honest leader of `term` that nobody knows.
static void
fill(struct cluster *cluster, uint32_t i, const uint64_t *terms, uint32_t count, uint64_t term)
{
    struct raft_entry entries[16] = {{0}};
    for (uint32_t e = 0; e < count; e++)
        entries[e] = (struct raft_entry){.position = e + 1, .term = terms[e]};
    cluster_hear(cluster, (struct raft_msg){.kind = RAFT_APPEND,
                                            .from = 99,
                                            .to = i + 1,
                                            .term = term,
                                            .entries = entries,
                                            .entry_count = count});
    cluster_sync(cluster, i);
    cluster_drop_all(cluster);
    ck_assert_uint_eq(tail_last(&cluster->peers[i].raft.tail), count);
}

// ---- 5.1 ----

START_TEST(s5_1_any_state_follows_a_newer_term)
{
    for (int state = 0; state < 3; state++) {
        struct cluster *cluster = of(3);
        struct raft *raft = &cluster->peers[0].raft;
        if (state > 0)
            campaign(cluster, 0);
        if (state > 1)
            cluster_run(cluster);
        cluster_hear(cluster,
                     (struct raft_msg){.kind = RAFT_APPEND, .from = 2, .to = 1, .term = 8});
        ck_assert_int_eq(raft->state, RAFT_FOLLOWER);
        ck_assert_uint_eq(raft->term, 8);
        ck_assert_uint_eq(raft->lead, 2);
        ck_assert_uint_eq(raft->vote, RAFT_NODE_NONE);
        cluster_close(cluster);
    }
}
END_TEST

START_TEST(s5_1_message_of_an_older_term_is_ignored)
{
    struct cluster *cluster = of(3);
    cluster_elect(cluster, 0);
    cluster_hear(cluster, (struct raft_msg){.kind = RAFT_APPEND, .from = 3, .to = 2, .term = 9});
    cluster_hear(cluster, (struct raft_msg){.kind = RAFT_APPEND, .from = 1, .to = 2, .term = 2});
    ck_assert_uint_eq(cluster->peers[1].raft.term, 9);
    ck_assert_uint_eq(cluster->peers[1].raft.lead, 3);
    cluster_close(cluster);
}
END_TEST

START_TEST(s5_1_candidate_of_an_older_term_learns_the_newer_one)
{
    struct cluster *cluster = of(3);
    cluster_hear(cluster, (struct raft_msg){.kind = RAFT_APPEND, .from = 3, .to = 2, .term = 9});
    cluster_sync(cluster, 1);
    cluster_drop_all(cluster);
    cluster->cut[0][2] = cluster->cut[2][0] = true;
    campaign(cluster, 0);
    cluster_run(cluster);
    ck_assert_uint_eq(cluster->peers[0].raft.term, 9);
    ck_assert_int_eq(cluster->peers[0].raft.state, RAFT_FOLLOWER);
    cluster_close(cluster);
}
END_TEST

// ---- 5.2 ----

START_TEST(s5_2_node_starts_as_follower)
{
    struct cluster *cluster = of(3);
    ck_assert_int_eq(cluster->peers[0].raft.state, RAFT_FOLLOWER);
    ck_assert_uint_eq(cluster->peers[0].raft.term, 0);
    cluster_close(cluster);
}
END_TEST

START_TEST(s5_2_leader_sends_heartbeats_each_interval)
{
    struct cluster *cluster = of(3);
    cluster_elect(cluster, 0);
    cluster_tick(cluster, 0);
    ck_assert_uint_eq(cluster_count_kind(cluster, RAFT_HEARTBEAT), 2);
    cluster_close(cluster);
}
END_TEST

START_TEST(s5_2_follower_campaigns_after_one_to_two_timeouts_that_vary)
{
    struct cluster *cluster = of(3);
    bool seen[21] = {false};
    uint32_t kinds = 0;
    for (int round = 0; round < 300; round++) {
        struct raft *raft = &cluster->peers[0].raft;
        cluster_hear(
            cluster,
            (struct raft_msg){.kind = RAFT_HEARTBEAT, .from = 2, .to = 1, .term = raft->term + 1});
        uint32_t ticks = 0;
        while (raft->state == RAFT_FOLLOWER) {
            cluster_tick(cluster, 0);
            ticks++;
            ck_assert_uint_le(ticks, 20);
        }
        ck_assert_uint_ge(ticks, 10);
        kinds += !seen[ticks];
        seen[ticks] = true;
        cluster_sync(cluster, 0);
        cluster_drop_all(cluster);
    }
    ck_assert_uint_eq(kinds, 10); // 10..19
    cluster_close(cluster);
}
END_TEST

START_TEST(s5_2_candidate_raises_its_term_votes_for_itself_and_asks_all)
{
    struct cluster *cluster = of(3);
    campaign(cluster, 0);
    ck_assert_uint_eq(cluster->peers[0].raft.term, 1);
    ck_assert_uint_eq(cluster->peers[0].raft.vote, 1);
    ck_assert_uint_eq(cluster_count_kind(cluster, RAFT_VOTE), 2);
    cluster_close(cluster);
}
END_TEST

START_TEST(s5_2_majority_of_yes_makes_a_leader_and_of_no_a_follower)
{
    for (uint32_t size = 1; size <= 5; size++)
        for (uint32_t yes = 0; yes < size; yes++) { // of the others, the rest says no
            struct cluster *cluster = of(size);
            campaign(cluster, 0);
            for (uint32_t i = 1; i < size; i++)
                cluster_hear(cluster, (struct raft_msg){.kind = RAFT_VOTE_RESP,
                                                        .from = i + 1,
                                                        .to = 1,
                                                        .term = 1,
                                                        .reject = i > yes});
            ck_assert_int_eq(cluster->peers[0].raft.state,
                             yes + 1 > size / 2 ? RAFT_LEADER : RAFT_FOLLOWER);
            cluster_close(cluster);
        }
}
END_TEST

START_TEST(s5_2_missing_votes_leave_a_candidate_that_tries_again)
{
    struct cluster *cluster = of(5);
    campaign(cluster, 0);
    cluster_hear(cluster, (struct raft_msg){.kind = RAFT_VOTE_RESP, .from = 2, .to = 1, .term = 1});
    cluster_hear(cluster, (struct raft_msg){.kind = RAFT_VOTE_RESP, .from = 2, .to = 1, .term = 1});
    ck_assert_int_eq(cluster->peers[0].raft.state, RAFT_CANDIDATE);
    for (int t = 0; t < 20; t++)
        cluster_tick(cluster, 0);
    ck_assert_int_eq(cluster->peers[0].raft.state, RAFT_CANDIDATE);
    ck_assert_uint_eq(cluster->peers[0].raft.term, 2);
    cluster_close(cluster);
}
END_TEST

START_TEST(s5_2_one_vote_a_term_first_come_first_served)
{
    struct cluster *cluster = of(3);
    struct raft *raft = &cluster->peers[0].raft;
    for (uint64_t from = 2; from <= 3; from++)
        cluster_hear(cluster,
                     (struct raft_msg){.kind = RAFT_VOTE, .from = from, .to = 1, .term = 1});
    cluster_hear(cluster, (struct raft_msg){.kind = RAFT_VOTE, .from = 2, .to = 1, .term = 1});
    cluster_sync(cluster, 0);
    ck_assert_uint_eq(raft->vote, 2);
    ck_assert_uint_eq(cluster->flight_count, 3);
    ck_assert(!cluster->flights[0]->msg.reject);
    ck_assert(cluster->flights[1]->msg.reject);
    ck_assert(!cluster->flights[2]->msg.reject); // asked twice
    cluster_close(cluster);
}
END_TEST

START_TEST(s5_2_candidate_gives_way_to_the_leader_of_its_term)
{
    struct cluster *cluster = of(3);
    campaign(cluster, 0);
    cluster_hear(cluster, (struct raft_msg){.kind = RAFT_APPEND, .from = 2, .to = 1, .term = 1});
    ck_assert_int_eq(cluster->peers[0].raft.state, RAFT_FOLLOWER);
    ck_assert_uint_eq(cluster->peers[0].raft.lead, 2);
    ck_assert_uint_eq(cluster->peers[0].raft.term, 1);
    cluster_close(cluster);
}
END_TEST

// ---- 5.3 ----

START_TEST(s5_3_leader_appends_replicates_and_commits_by_majority)
{
    for (uint32_t size = 1; size <= 5; size++)
        for (uint32_t acks = 0; acks < size; acks++) {
            struct cluster *cluster = of(size);
            cluster_elect(cluster, 0);
            cluster_propose(cluster, 0, "a");
            ck_assert_uint_eq(cluster_count_kind(cluster, RAFT_APPEND), size - 1);
            cluster_drop_all(cluster);
            cluster_sync(cluster, 0);
            for (uint32_t i = 1; i <= acks; i++)
                cluster_hear(cluster, (struct raft_msg){.kind = RAFT_APPEND_RESP,
                                                        .from = i + 1,
                                                        .to = 1,
                                                        .term = 1,
                                                        .position = 2});
            ck_assert_uint_eq(cluster->peers[0].raft.commit, acks + 1 > size / 2 ? 2 : 1);
            cluster_settle(cluster, 0);
            ck_assert_uint_eq(cluster->peers[0].raft.applied, cluster->peers[0].raft.commit);
            cluster_close(cluster);
        }
}
END_TEST

START_TEST(s5_3_followers_learn_the_commit_and_apply_in_order)
{
    struct cluster *cluster = of(3);
    cluster_elect(cluster, 0);
    cluster_propose(cluster, 0, "a");
    cluster_propose(cluster, 0, "b");
    cluster_run(cluster);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(cluster->peers[i].cache.applied, 3);
        ck_assert_uint_eq(cluster->peers[i].cache.state, cluster->peers[0].cache.state);
    }
    cluster_close(cluster);
}
END_TEST

START_TEST(s5_3_follower_rejects_what_does_not_follow_its_log)
{
    static const uint64_t terms[] = {1, 2};
    static const struct {
        uint64_t position, log_term;
        bool reject;
        uint64_t answer;
    } cases[] = {
        {0, 0, false, 0}, {1, 1, false, 1}, {2, 2, false, 2}, {1, 2, true, 1}, {3, 3, true, 3},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct cluster *cluster = of(3);
        fill(cluster, 0, terms, 2, 2);
        cluster_hear(cluster, (struct raft_msg){.kind = RAFT_APPEND,
                                                .from = 2,
                                                .to = 1,
                                                .term = 3,
                                                .position = cases[c].position,
                                                .log_term = cases[c].log_term});
        cluster_sync(cluster, 0);
        ck_assert_uint_eq(cluster->flight_count, 1);
        ck_assert_int_eq(cluster->flights[0]->msg.reject, cases[c].reject);
        ck_assert_uint_eq(cluster->flights[0]->msg.position, cases[c].answer);
        cluster_close(cluster);
    }
}
END_TEST

START_TEST(s5_3_follower_replaces_a_conflicting_end_and_keeps_the_rest)
{
    static const uint64_t terms[] = {1, 2};
    static const struct {
        uint64_t position, log_term, entries[2];
        uint32_t count, last;
        uint64_t wanted[3];
    } cases[] = {
        {2, 2, {3}, 1, 3, {1, 2, 3}},
        {1, 1, {3, 4}, 2, 3, {1, 3, 4}},
        {0, 0, {1}, 1, 2, {1, 2}}, // late: shortens nothing
        {0, 0, {3}, 1, 1, {3}},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct cluster *cluster = of(3);
        fill(cluster, 0, terms, 2, 2);
        struct raft_entry entries[2];
        for (uint32_t i = 0; i < 2; i++)
            entries[i] = (struct raft_entry){.position = cases[c].position + 1 + i,
                                             .term = cases[c].entries[i]};
        cluster_hear(cluster, (struct raft_msg){.kind = RAFT_APPEND,
                                                .from = 2,
                                                .to = 1,
                                                .term = 4,
                                                .position = cases[c].position,
                                                .log_term = cases[c].log_term,
                                                .entries = entries,
                                                .entry_count = cases[c].count});
        const struct raft_tail *tail = &cluster->peers[0].raft.tail;
        ck_assert_uint_eq(tail_last(tail), cases[c].last);
        for (uint64_t at = 1; at <= tail_last(tail); at++)
            ck_assert_uint_eq(tail_at(tail, at)->term, cases[c].wanted[at - 1]);
        ck_assert_uint_eq(cluster->peers[0].cache.last, cases[c].last);
        cluster_close(cluster);
    }
}
END_TEST

START_TEST(s5_3_leader_brings_the_followers_of_figure_7_in_line)
{
    static const uint64_t leader[] = {1, 1, 1, 4, 4, 5, 5, 6, 6, 6};
    static const struct {
        uint64_t terms[12];
        uint32_t count;
        uint64_t term;
    } followers[] = {
        {{1, 1, 1, 4, 4, 5, 5, 6, 6}, 9, 6},
        {{1, 1, 1, 4}, 4, 4},
        {{1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6}, 11, 6},
        {{1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7}, 12, 7},
        {{1, 1, 1, 4, 4, 4, 4}, 7, 4},
        {{1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3}, 11, 3},
    };
    for (size_t c = 0; c < sizeof followers / sizeof followers[0]; c++) {
        struct cluster *cluster = of(3);
        fill(cluster, 0, leader, 10, 7);
        fill(cluster, 1, followers[c].terms, followers[c].count, followers[c].term);
        campaign(cluster, 0);
        cluster_drop_all(cluster);
        cluster_hear(cluster,
                     (struct raft_msg){.kind = RAFT_VOTE_RESP, .from = 3, .to = 1, .term = 8});
        ck_assert_int_eq(cluster->peers[0].raft.state, RAFT_LEADER);
        cluster->cut[2][0] = cluster->cut[0][2] = true;
        cluster_run(cluster);
        cluster_elapse(cluster, 2);
        const struct raft_tail *tail = &cluster->peers[1].raft.tail;
        ck_assert_uint_eq(tail_last(tail), 11);
        for (uint64_t at = 1; at <= 11; at++)
            ck_assert_uint_eq(tail_at(tail, at)->term, at < 11 ? leader[at - 1] : 8);
        cluster_close(cluster);
    }
}
END_TEST

START_TEST(s5_3_rejections_skip_a_term_at_a_time)
{
    struct cluster *cluster = of(3);
    static const uint64_t leader[] = {1, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5};
    static const uint64_t follower[] = {1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2};
    fill(cluster, 0, leader, 12, 5);
    fill(cluster, 1, follower, 12, 4);
    campaign(cluster, 0);
    cluster_drop_all(cluster);
    cluster_hear(cluster, (struct raft_msg){.kind = RAFT_VOTE_RESP, .from = 3, .to = 1, .term = 6});
    cluster->cut[0][2] = true;
    uint32_t rejected = 0;
    for (int round = 0; round < 20; round++) {
        for (uint32_t i = 0; i < 3; i++)
            cluster_settle(cluster, i);
        for (uint32_t i = 0; i < cluster->flight_count; i++)
            rejected += cluster->flights[i]->msg.reject;
        for (uint32_t left = cluster->flight_count; left > 0; left--)
            cluster_deliver(cluster, cluster_take(cluster, 0));
    }
    ck_assert_uint_le(rejected, 2);
    ck_assert_uint_eq(tail_last(&cluster->peers[1].raft.tail), 13);
    cluster_close(cluster);
}
END_TEST

// ---- 5.4 ----

START_TEST(s5_4_1_voter_denies_who_knows_less)
{
    static const uint64_t terms[] = {1, 2, 2};
    static const struct {
        uint64_t log_term, position;
        bool reject;
    } cases[] = {{3, 1, false}, {2, 3, false}, {2, 4, false}, {2, 2, true}, {1, 9, true}};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct cluster *cluster = of(3);
        fill(cluster, 0, terms, 3, 2);
        cluster_hear(cluster, (struct raft_msg){.kind = RAFT_VOTE,
                                                .from = 2,
                                                .to = 1,
                                                .term = 9,
                                                .position = cases[c].position,
                                                .log_term = cases[c].log_term});
        cluster_sync(cluster, 0);
        ck_assert_uint_eq(cluster->flight_count, 1);
        ck_assert_int_eq(cluster->flights[0]->msg.reject, cases[c].reject);
        ck_assert_uint_eq(cluster->flights[0]->msg.term, 9);
        cluster_close(cluster);
    }
}
END_TEST

START_TEST(s5_4_2_leader_commits_older_terms_only_by_an_entry_of_its_own)
{
    static const uint64_t terms[] = {1, 2};
    struct cluster *cluster = of(3);
    fill(cluster, 0, terms, 2, 2);
    campaign(cluster, 0);
    cluster_drop_all(cluster);
    cluster_hear(cluster, (struct raft_msg){.kind = RAFT_VOTE_RESP, .from = 2, .to = 1, .term = 3});
    cluster_sync(cluster, 0);
    for (uint64_t at = 1; at <= 3; at++) {
        cluster_hear(cluster,
                     (struct raft_msg){
                         .kind = RAFT_APPEND_RESP, .from = 2, .to = 1, .term = 3, .position = at});
        ck_assert_uint_eq(cluster->peers[0].raft.commit, at == 3 ? 3 : 0);
    }
    cluster_close(cluster);
}
END_TEST

// ---- 5.5, 5.6 ----

START_TEST(s5_5_lost_and_doubled_messages_do_no_harm)
{
    struct cluster *cluster = of(3);
    cluster_elect(cluster, 0);
    cluster_propose(cluster, 0, "a");
    cluster_drop_all(cluster);
    cluster_elapse(cluster, 3); // heartbeats find out
    ck_assert_uint_eq(cluster->peers[1].cache.applied, 2);
    cluster_propose(cluster, 0, "b");
    const struct raft_msg msg = cluster->flights[0]->msg;
    cluster_send(cluster, &msg, 0);
    cluster_run(cluster);
    ck_assert_uint_eq(cluster->peers[1].cache.applied, 3);
    cluster_close(cluster);
}
END_TEST

START_TEST(s5_6_some_leader_is_elected_in_a_few_timeouts)
{
    struct cluster *cluster = cluster_open(5, 5, NULL, (uint64_t)_i);
    cluster_elapse(cluster, 100);
    ck_assert_uint_lt(cluster_leader(cluster), 5);
    cluster_close(cluster);
}
END_TEST

// ---- 6 (and 4 of the thesis) ----

START_TEST(s6_joint_configuration_needs_both_majorities)
{
    struct cluster *cluster = cluster_led(5, 3, NULL);
    struct raft_change change = {
        .transition = RAFT_TRANSITION_EXPLICIT,
        .count = 4,
        .items = {{RAFT_REMOVE, 2}, {RAFT_REMOVE, 3}, {RAFT_ADD_VOTER, 4}, {RAFT_ADD_VOTER, 5}}};
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_CONF_CHANGE, .change = &change});
    cluster_run(cluster);
    ck_assert(member_is_joint(&cluster->peers[0].raft.group));
    const uint64_t commit = cluster->peers[0].raft.commit;
    cluster_isolate(cluster, 1, true);
    cluster_isolate(cluster, 2, true);
    cluster_propose(cluster, 0, "a");
    cluster_run(cluster);
    ck_assert_uint_eq(cluster->peers[0].raft.commit, commit); // the old half lacks one
    cluster_isolate(cluster, 1, false);
    cluster_elapse(cluster, 3);
    ck_assert_uint_eq(cluster->peers[0].raft.commit, commit + 1);
    change = (struct raft_change){0};
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_CONF_CHANGE, .change = &change});
    cluster_run(cluster);
    ck_assert(!member_is_joint(&cluster->peers[0].raft.group));
    ck_assert_uint_eq(member_find(&cluster->peers[0].raft.group, 2), RAFT_MEMBERS_MAX);
    cluster_close(cluster);
}
END_TEST

START_TEST(s6_joint_configuration_is_left_by_itself_when_implicit)
{
    struct cluster *cluster = cluster_led(4, 3, NULL);
    const struct raft_change change = {.transition = RAFT_TRANSITION_AUTO,
                                       .count = 2,
                                       .items = {{RAFT_ADD_VOTER, 4}, {RAFT_ADD_LEARNER, 3}}};
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_CONF_CHANGE, .change = &change});
    cluster_run(cluster);
    cluster_elapse(cluster, 3);
    for (uint32_t i = 0; i < 4; i++) {
        const struct raft_group *group = &cluster->peers[i].raft.group;
        ck_assert(!member_is_joint(group));
        ck_assert_uint_eq(group->count, 4);
        ck_assert_uint_eq(group->members[2].roles, RAFT_LEARNER);
        ck_assert_uint_eq(group->members[3].roles, RAFT_VOTER);
    }
    cluster_close(cluster);
}
END_TEST

START_TEST(s6_leader_that_removes_itself_steps_down_when_that_is_committed)
{
    struct cluster *cluster = cluster_led(3, 3, NULL);
    cluster_change(cluster, 0, RAFT_REMOVE, 1);
    ck_assert_int_eq(cluster->peers[0].raft.state, RAFT_LEADER);
    cluster_run(cluster);
    ck_assert_int_eq(cluster->peers[0].raft.state, RAFT_FOLLOWER);
    cluster_elapse(cluster, 60);
    const uint32_t leader = cluster_leader(cluster);
    ck_assert(leader == 1 || leader == 2);
    cluster_close(cluster);
}
END_TEST

START_TEST(s6_new_server_catches_up_as_learner_without_a_vote)
{
    struct cluster *cluster = cluster_led(2, 1, NULL);
    cluster_propose(cluster, 0, "a");
    cluster_run(cluster);
    cluster_change(cluster, 0, RAFT_ADD_LEARNER, 2);
    cluster_run(cluster);
    cluster_isolate(cluster, 1, true);
    cluster_propose(cluster, 0, "b");
    cluster_run(cluster);
    ck_assert_uint_eq(cluster->peers[0].raft.commit, 5); // it does not count
    cluster_isolate(cluster, 1, false);
    cluster_elapse(cluster, 3);
    ck_assert_uint_eq(cluster->peers[1].cache.state, cluster->peers[0].cache.state);
    cluster_close(cluster);
}
END_TEST

START_TEST(s6_who_hears_a_leader_votes_for_nobody)
{
    struct cluster *cluster = cluster_led(3, 3, NULL);
    cluster_hear(
        cluster,
        (struct raft_msg){
            .kind = RAFT_VOTE, .from = 3, .to = 2, .term = 9, .position = 9, .log_term = 8});
    ck_assert_uint_eq(cluster->peers[1].raft.term, 1);
    ck_assert_uint_eq(cluster->flight_count, 0);
    cluster_close(cluster);
}
END_TEST

// ---- 3.10 of the thesis ----

START_TEST(s3_10_transfer_elects_the_target_and_refuses_proposals_meanwhile)
{
    struct cluster *cluster = cluster_led(3, 3, NULL);
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_TRANSFER, .peer = 3});
    ck_assert_int_eq(cluster_propose(cluster, 0, "a"), RAFT_ANSWER_BUSY);
    cluster_run(cluster);
    ck_assert_uint_eq(cluster_leader(cluster), 2);
    ck_assert_int_eq(cluster->peers[0].raft.state, RAFT_FOLLOWER);
    cluster_close(cluster);
}
END_TEST

START_TEST(s3_10_transfer_is_given_up_after_an_election_timeout)
{
    struct cluster *cluster = cluster_led(3, 3, NULL);
    cluster_isolate(cluster, 2, true);
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_TRANSFER, .peer = 3});
    cluster_elapse(cluster, 11);
    ck_assert_int_eq(cluster->peers[0].raft.state, RAFT_LEADER);
    ck_assert_int_eq(cluster_propose(cluster, 0, "a"), RAFT_ANSWER_OK);
    cluster_close(cluster);
}
END_TEST

START_TEST(s3_10_learner_stranger_and_follower_refuse_a_transfer)
{
    struct cluster *cluster = cluster_led(4, 3, NULL);
    cluster_change(cluster, 0, RAFT_ADD_LEARNER, 4);
    cluster_run(cluster);
    static const uint64_t bad[] = {0, 4, 9};
    for (size_t i = 0; i < 3; i++) {
        cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_TRANSFER, .peer = bad[i]});
        ck_assert_int_eq(cluster->peers[0].answer, RAFT_ANSWER_INVALID);
    }
    cluster_step(cluster, 1, (struct raft_input){.kind = RAFT_IN_TRANSFER, .peer = 3});
    ck_assert_int_eq(cluster->peers[1].answer, RAFT_ANSWER_NOT_LEADER);
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_TRANSFER, .peer = 1});
    ck_assert_int_eq(cluster->peers[0].answer, RAFT_ANSWER_OK); // to itself: nothing to do
    cluster_close(cluster);
}
END_TEST

// ---- 6.2, 6.4 of the thesis ----

START_TEST(s6_2_follower_names_the_leader)
{
    struct cluster *cluster = cluster_led(3, 3, NULL);
    ck_assert_int_eq(cluster_propose(cluster, 1, "a"), RAFT_ANSWER_NOT_LEADER);
    ck_assert_uint_eq(cluster->peers[1].raft.lead, 1);
    ck_assert_int_eq(cluster_change(cluster, 1, RAFT_REMOVE, 1), RAFT_ANSWER_NOT_LEADER);
    cluster_step(cluster, 1, (struct raft_input){.kind = RAFT_IN_READ_INDEX});
    ck_assert_int_eq(cluster->peers[1].answer, RAFT_ANSWER_NOT_LEADER);
    cluster_close(cluster);
}
END_TEST

START_TEST(s6_4_read_waits_for_a_round_that_began_after_it)
{
    struct cluster *cluster = cluster_led(3, 3, NULL);
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_READ_INDEX, .read_id = 5});
    const uint64_t first = cluster->flights[0]->msg.context;
    cluster_drop_all(cluster);
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_READ_INDEX, .read_id = 6});
    const uint64_t second = cluster->flights[0]->msg.context;
    ck_assert_uint_gt(second, first); // a context of its own
    cluster_drop_all(cluster);
    const struct raft_msg answer = {
        .kind = RAFT_HEARTBEAT_RESP, .from = 2, .to = 1, .term = 1, .context = first};
    cluster_hear(cluster, answer);
    ck_assert_uint_eq(cluster->peers[0].read_count, 1); // the other one began later
    ck_assert_uint_eq(cluster->peers[0].reads[0].read_id, 5);
    ck_assert_uint_eq(cluster->peers[0].reads[0].position, 1);
    cluster_hear(cluster, answer);
    ck_assert_uint_eq(cluster->peers[0].read_count, 1);
    struct raft_msg forged = answer;
    forged.context = second + 1;
    cluster_hear(cluster, forged);
    ck_assert_uint_eq(cluster->peers[0].read_count, 1); // a round that never was
    cluster_elapse(cluster, 1);
    ck_assert_uint_eq(cluster->peers[0].read_count, 2);
    cluster_close(cluster);
}
END_TEST

START_TEST(s6_4_new_leader_answers_no_read_before_its_term_committed)
{
    struct cluster *cluster = of(3);
    campaign(cluster, 0);
    cluster_drop_all(cluster);
    cluster_hear(cluster, (struct raft_msg){.kind = RAFT_VOTE_RESP, .from = 2, .to = 1, .term = 1});
    cluster_drop_all(cluster);
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_READ_INDEX, .read_id = 5});
    ck_assert_int_eq(cluster->peers[0].answer, RAFT_ANSWER_OK);
    ck_assert_uint_eq(cluster->flight_count, 0);
    cluster_tick(cluster, 0);
    for (uint32_t i = 0; i < cluster->flight_count; i++)
        ck_assert_uint_eq(cluster->flights[i]->msg.context, 0);
    ck_assert_uint_eq(cluster->peers[0].read_count, 0);
    cluster_run(cluster);
    ck_assert_uint_eq(cluster->peers[0].read_count, 1);
    ck_assert_uint_eq(cluster->peers[0].reads[0].position, 1);
    cluster_close(cluster);
}
END_TEST

START_TEST(s6_4_single_node_answers_at_once)
{
    struct cluster *cluster = of(1);
    cluster_elect(cluster, 0);
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_READ_INDEX, .read_id = 5});
    ck_assert_uint_eq(cluster->peers[0].read_count, 1);
    cluster_close(cluster);
}
END_TEST

START_TEST(s6_4_round_of_a_read_is_a_beat)
{
    struct raft_config config = cluster_config();
    config.heartbeat_ticks = 3;
    struct cluster *cluster = cluster_led(3, 3, &config);
    struct cluster_peer *leader = &cluster->peers[0];
    while (leader->raft.heartbeat_elapsed != 2)
        cluster_tick(cluster, 0);
    cluster_drop_all(cluster);
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_READ_INDEX, .read_id = 5});
    ck_assert_uint_eq(cluster_count_kind(cluster, RAFT_HEARTBEAT), 2);
    const uint64_t round = cluster->flights[0]->msg.context;
    cluster_drop_all(cluster); // both are lost
    cluster_tick(cluster, 0);  // when a beat was due
    cluster_tick(cluster, 0);
    ck_assert_uint_eq(cluster->flight_count, 0);
    ck_assert_uint_eq(leader->wake_ns, leader->now_ns + CLUSTER_TICK_NS);
    cluster_tick(cluster, 0);
    ck_assert_uint_eq(cluster_count_kind(cluster, RAFT_HEARTBEAT), 2);
    ck_assert_uint_eq(cluster->flights[0]->msg.context, round); // and the round goes out again
    cluster_run(cluster);
    ck_assert_uint_eq(leader->read_count, 1);
    cluster_close(cluster);
}
END_TEST

START_TEST(s6_4_who_is_asked_more_often_than_it_beats_is_heard_and_notices_a_lost_quorum)
{
    struct raft_config config = cluster_config();
    config.heartbeat_ticks = 3;
    struct cluster *cluster = cluster_led(3, 3, &config);
    struct raft *raft = &cluster->peers[0].raft;
    for (uint32_t t = 0; t < 5 * config.election_ticks; t++) {
        cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_READ_INDEX, .read_id = t + 1});
        cluster_elapse(cluster, 1);
    }
    ck_assert_int_eq(raft->state, RAFT_LEADER);
    ck_assert_uint_eq(raft->term, 1);
    ck_assert_uint_eq(cluster->peers[0].read_count, 5 * config.election_ticks);
    cluster_isolate(cluster, 0, true);
    for (uint32_t t = 0; t < 2 * config.election_ticks; t++) {
        cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_READ_INDEX, .read_id = t + 1});
        cluster_tick(cluster, 0);
        cluster_drop_all(cluster);
    }
    ck_assert_int_ne(raft->state, RAFT_LEADER);
    cluster_close(cluster);
}
END_TEST

START_TEST(s6_4_reads_do_not_put_off_the_beat_that_renews_their_lease)
{
    struct raft_config config = cluster_config();
    config.heartbeat_ticks = 3;
    config.reads = RAFT_READS_LEASE;
    struct cluster *cluster = cluster_led(3, 3, &config);
    struct raft *raft = &cluster->peers[0].raft;
    while (raft->heartbeat_elapsed != 2)
        cluster_tick(cluster, 0);
    cluster_drop_all(cluster);
    ck_assert(!raft->lease_held && raft->lease_round == 0); // its first beat is still to come
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_READ_INDEX, .read_id = 5});
    ck_assert_uint_eq(cluster_count_kind(cluster, RAFT_HEARTBEAT), 2);
    ck_assert_uint_eq(raft->heartbeat_elapsed, 2);
    cluster_drop_all(cluster);
    cluster_tick(cluster, 0);
    ck_assert_uint_eq(cluster_count_kind(cluster, RAFT_HEARTBEAT), 2);
    ck_assert_uint_ne(raft->lease_round, 0);
    cluster_run(cluster);
    ck_assert(raft->lease_held);
    cluster_close(cluster);
}
END_TEST

// ---- 7 ----

START_TEST(s7_follower_behind_the_log_gets_a_snapshot_in_chunks_and_goes_on)
{
    struct cluster *cluster = cluster_led(3, 3, NULL);
    cluster_isolate(cluster, 2, true);
    for (int i = 0; i < 8; i++)
        cluster_propose(cluster, 0, "a");
    cluster_run(cluster);
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_COMPACT, .position = 9});
    ck_assert_uint_eq(tail_first(&cluster->peers[0].raft.tail), 10);
    ck_assert_uint_eq(cluster->peers[0].cache.base_position, 9);
    cluster_isolate(cluster, 2, false);
    cluster_elapse(cluster, 5);
    ck_assert_uint_eq(cluster->peers[2].cache.applied, 9);
    ck_assert_uint_eq(cluster->peers[2].cache.state, cluster->peers[0].cache.state);
    cluster_propose(cluster, 0, "b");
    cluster_run(cluster);
    ck_assert_uint_eq(cluster->peers[2].cache.applied, 10);
    cluster_crash(cluster, 2);
    cluster_start(cluster, 2);
    ck_assert_uint_eq(cluster->peers[2].raft.applied, 10);
    cluster_close(cluster);
}
END_TEST

START_TEST(s7_lost_chunk_goes_out_again)
{
    struct cluster *cluster = cluster_led(3, 3, NULL);
    cluster_isolate(cluster, 2, true);
    cluster_propose(cluster, 0, "a");
    cluster_run(cluster);
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_COMPACT, .position = 2});
    cluster_isolate(cluster, 2, false);
    for (int t = 0; t < 60; t++) {
        for (uint32_t i = 0; i < 3; i++)
            cluster_tick(cluster, i);
        bool moved = true;
        while (moved) {
            moved = false;
            for (uint32_t i = 0; i < 3; i++)
                moved |= cluster_settle(cluster, i);
            while (cluster->flight_count > 0) {
                struct cluster_flight *flight = cluster_take(cluster, 0);
                if (flight->msg.kind == RAFT_SNAPSHOT && t % 3 != 2)
                    cluster_free_flight(flight);
                else
                    cluster_deliver(cluster, flight);
                moved = true;
            }
        }
    }
    ck_assert_uint_eq(cluster->peers[2].cache.applied, 2);
    cluster_close(cluster);
}
END_TEST

START_TEST(s7_compaction_leaves_a_tail_and_nothing_unapplied_goes)
{
    struct raft_config config = cluster_config();
    config.tail_retain = 3;
    struct cluster *cluster = cluster_led(1, 1, &config);
    for (int i = 0; i < 8; i++)
        cluster_propose(cluster, 0, "a");
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_COMPACT, .position = 9});
    ck_assert_uint_eq(tail_first(&cluster->peers[0].raft.tail), 1);
    cluster_run(cluster);
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_COMPACT, .position = 99});
    ck_assert_uint_eq(tail_first(&cluster->peers[0].raft.tail), 7);
    cluster_close(cluster);
}
END_TEST

static Suite *
suite(void)
{
    Suite *s = suite_create("raft/paper");
    TCase *c = tcase_create("sections");
    tcase_add_test(c, s5_1_any_state_follows_a_newer_term);
    tcase_add_test(c, s5_1_message_of_an_older_term_is_ignored);
    tcase_add_test(c, s5_1_candidate_of_an_older_term_learns_the_newer_one);
    tcase_add_test(c, s5_2_node_starts_as_follower);
    tcase_add_test(c, s5_2_leader_sends_heartbeats_each_interval);
    tcase_add_test(c, s5_2_follower_campaigns_after_one_to_two_timeouts_that_vary);
    tcase_add_test(c, s5_2_candidate_raises_its_term_votes_for_itself_and_asks_all);
    tcase_add_test(c, s5_2_majority_of_yes_makes_a_leader_and_of_no_a_follower);
    tcase_add_test(c, s5_2_missing_votes_leave_a_candidate_that_tries_again);
    tcase_add_test(c, s5_2_one_vote_a_term_first_come_first_served);
    tcase_add_test(c, s5_2_candidate_gives_way_to_the_leader_of_its_term);
    tcase_add_test(c, s5_3_leader_appends_replicates_and_commits_by_majority);
    tcase_add_test(c, s5_3_followers_learn_the_commit_and_apply_in_order);
    tcase_add_test(c, s5_3_follower_rejects_what_does_not_follow_its_log);
    tcase_add_test(c, s5_3_follower_replaces_a_conflicting_end_and_keeps_the_rest);
    tcase_add_test(c, s5_3_leader_brings_the_followers_of_figure_7_in_line);
    tcase_add_test(c, s5_3_rejections_skip_a_term_at_a_time);
    tcase_add_test(c, s5_4_1_voter_denies_who_knows_less);
    tcase_add_test(c, s5_4_2_leader_commits_older_terms_only_by_an_entry_of_its_own);
    tcase_add_test(c, s5_5_lost_and_doubled_messages_do_no_harm);
    tcase_add_loop_test(c, s5_6_some_leader_is_elected_in_a_few_timeouts, 0, 20);
    tcase_add_test(c, s6_joint_configuration_needs_both_majorities);
    tcase_add_test(c, s6_joint_configuration_is_left_by_itself_when_implicit);
    tcase_add_test(c, s6_leader_that_removes_itself_steps_down_when_that_is_committed);
    tcase_add_test(c, s6_new_server_catches_up_as_learner_without_a_vote);
    tcase_add_test(c, s6_who_hears_a_leader_votes_for_nobody);
    tcase_add_test(c, s3_10_transfer_elects_the_target_and_refuses_proposals_meanwhile);
    tcase_add_test(c, s3_10_transfer_is_given_up_after_an_election_timeout);
    tcase_add_test(c, s3_10_learner_stranger_and_follower_refuse_a_transfer);
    tcase_add_test(c, s6_2_follower_names_the_leader);
    tcase_add_test(c, s6_4_read_waits_for_a_round_that_began_after_it);
    tcase_add_test(c, s6_4_new_leader_answers_no_read_before_its_term_committed);
    tcase_add_test(c, s6_4_single_node_answers_at_once);
    tcase_add_test(c, s6_4_round_of_a_read_is_a_beat);
    tcase_add_test(c, s6_4_reads_do_not_put_off_the_beat_that_renews_their_lease);
    tcase_add_test(c,
                   s6_4_who_is_asked_more_often_than_it_beats_is_heard_and_notices_a_lost_quorum);
    tcase_add_test(c, s7_follower_behind_the_log_gets_a_snapshot_in_chunks_and_goes_on);
    tcase_add_test(c, s7_lost_chunk_goes_out_again);
    tcase_add_test(c, s7_compaction_leaves_a_tail_and_nothing_unapplied_goes);
    suite_add_tcase(s, c);
    return s;
}

CHECK_MAIN(suite)
