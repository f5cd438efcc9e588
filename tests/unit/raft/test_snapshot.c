// tests/unit/raft/test_snapshot.c -- who streams what to whom, and what compaction leaves.
//
// Shape: shell.
#include "tests/lib/raft_cluster.h"

// Delivers everything, has followers sync, and does neither for the leader's snapshot.
static void
exchange(struct cluster *cluster, int rounds)
{
    for (int round = 0; round < rounds; round++) {
        while (cluster->flight_count > 0)
            cluster_deliver(cluster, cluster_take(cluster, 0));
        for (uint32_t i = 0; i < cluster->count; i++)
            cluster_sync(cluster, i);
    }
}

// Peer 0 leads, peer 2 (the third) was away while `entries` were committed and compacted, and is back.
static struct cluster *
behind(int entries)
{
    struct cluster *cluster = cluster_led(4, 4, NULL);
    cluster_isolate(cluster, 2, true);
    for (int i = 0; i < entries; i++)
        cluster_propose(cluster, 0, "a");
    cluster_run(cluster);
    cluster_step(cluster, 0,
                 (struct raft_input){.kind = RAFT_IN_COMPACT, .position = (uint64_t)entries + 1});
    ck_assert_uint_eq(cluster->peers[0].raft.tail.base_position, (uint64_t)entries + 1);
    cluster_isolate(cluster, 2, false);
    return cluster;
}

static struct cluster *
wanted(int entries)
{
    struct cluster *cluster = behind(entries);
    for (int round = 0; round < 20 && cluster->peers[0].snapshot_wanted == 0; round++) {
        cluster_tick(cluster, 0);
        exchange(cluster, 3);
    }
    ck_assert_uint_eq(cluster->peers[0].snapshot_wanted, (uint64_t)entries + 1);
    return cluster;
}

// As if the follower had been away from the beginning.
static void
forget(struct cluster *cluster, uint32_t i)
{
    struct raft_progress *progress = &cluster->peers[0].raft.progress[i];
    progress->match = 0;
    progress->next = 1;
    progress->state = RAFT_PROBE;
    progress->inflight_count = 0;
    progress->inflight_bytes = 0;
}

static void
made(struct cluster *cluster, uint64_t position)
{
    struct raft_input in = {.kind = RAFT_IN_SNAPSHOT};
    in.snapshot.position = position;
    in.snapshot.total_bytes = 8;
    cluster->peers[0].snapshot_wanted = 0;
    cluster->peers[0].offered_state = cluster->peers[0].made_state;
    cluster_step(cluster, 0, in);
}

START_TEST(follower_that_is_away_gets_no_snapshot)
{
    struct cluster *cluster = cluster_led(3, 3, NULL);
    cluster_isolate(cluster, 2, true);
    cluster_propose(cluster, 0, "a");
    cluster_run(cluster);
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_COMPACT, .position = 2});
    struct raft_input in = {.kind = RAFT_IN_REPORT};
    in.report.kind = RAFT_REPORT_UNREACHABLE;
    in.report.peer = 3;
    cluster_step(cluster, 0, in);
    cluster_elapse(cluster, 12); // two checks of the quorum forget it
    cluster_elapse(cluster, 12);
    cluster_propose(cluster, 0, "b");
    cluster_run(cluster);
    ck_assert_uint_eq(cluster->peers[0].raft.making.position, 0);
    ck_assert_int_eq(cluster->peers[0].raft.progress[2].state, RAFT_PROBE);
    cluster_close(cluster);
}
END_TEST

START_TEST(snapshot_of_another_position_than_was_asked_for_is_not_taken)
{
    struct cluster *cluster = wanted(3);
    made(cluster, 3);
    ck_assert_uint_eq(cluster->peers[0].raft.offer.position, 0);
    made(cluster, 4);
    ck_assert_uint_eq(cluster->peers[0].raft.offer.position, 4);
    made(cluster, 4); // twice
    ck_assert_uint_eq(cluster->peers[0].raft.making.position, 0);
    cluster_run(cluster);
    ck_assert_uint_eq(cluster->peers[2].raft.applied, 4);
    cluster_close(cluster);
}
END_TEST

START_TEST(compaction_waits_for_a_snapshot_that_is_made_or_on_its_way)
{
    struct cluster *cluster = wanted(3);
    cluster_propose(cluster, 0, "b");
    exchange(cluster, 4);
    cluster_tick(cluster, 0); // applies it
    ck_assert_uint_eq(cluster->peers[0].raft.applied, 5);
    const struct raft_input compact = {.kind = RAFT_IN_COMPACT, .position = 5};
    cluster_step(cluster, 0, compact);
    ck_assert_uint_eq(cluster->peers[0].raft.tail.base_position, 4);
    made(cluster, 4);
    cluster_step(cluster, 0, compact);
    ck_assert_uint_eq(cluster->peers[0].raft.tail.base_position, 4);
    cluster_run(cluster);
    ck_assert_uint_eq(cluster->peers[2].raft.applied, 5);
    cluster_step(cluster, 0, compact);
    ck_assert_uint_eq(cluster->peers[0].raft.tail.base_position, 5);
    cluster_close(cluster);
}
END_TEST

START_TEST(second_follower_joins_the_stream_that_there_is)
{
    struct cluster *cluster = wanted(3);
    made(cluster, 4);
    cluster_drop_all(cluster);
    struct raft *raft = &cluster->peers[0].raft;
    forget(cluster, 3);
    cluster_hear(cluster, (struct raft_msg){
                              .kind = RAFT_HEARTBEAT_RESP, .from = 4, .to = 1, .term = raft->term});
    ck_assert_int_eq(raft->progress[3].state, RAFT_STREAM);
    ck_assert_uint_eq(raft->progress[3].snapshot_position, 4);
    ck_assert_uint_eq(cluster_count_kind(cluster, RAFT_SNAPSHOT), 1);
    cluster_close(cluster);
}
END_TEST

START_TEST(member_that_joined_after_the_snapshot_waits_for_the_next_one)
{
    const bool is_made = _i == 1; // or is still being made
    struct cluster *cluster = cluster_open(5, 4, NULL, 1);
    struct raft *raft = &cluster->peers[0].raft;
    cluster_elect(cluster, 0);
    cluster_isolate(cluster, 2, true);
    cluster_propose(cluster, 0, "a");
    cluster_run(cluster);
    const uint64_t position = raft->applied;
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_COMPACT, .position = position});
    cluster_isolate(cluster, 2, false);
    for (int round = 0; round < 20 && cluster->peers[0].snapshot_wanted == 0; round++) {
        cluster_tick(cluster, 0);
        exchange(cluster, 3);
    }
    if (is_made)
        made(cluster, position);
    cluster_drop_all(cluster); // a chunk is lost, but the snapshot is there
    ck_assert_int_eq(raft->progress[2].state, RAFT_STREAM);
    ck_assert_int_eq(cluster_change(cluster, 0, RAFT_ADD_VOTER, 5), RAFT_ANSWER_OK);
    for (int round = 0; round < 4; round++) {
        exchange(cluster, 3);
        cluster_tick(cluster, 0);
    }
    ck_assert_uint_eq(raft->group.count, 5);
    ck_assert_int_eq(raft->progress[4].state, is_made ? RAFT_STREAM : RAFT_PROBE);
    if (!is_made)
        made(cluster, position);
    cluster_elapse(cluster, 40);
    for (uint32_t i = 2; i < 5; i++)
        ck_assert_uint_eq(cluster->peers[i].raft.applied, raft->applied);
    ck_assert_uint_eq(cluster->peers[4].raft.group.count, 5);
    cluster_close(cluster);
}
END_TEST

START_TEST(full_tail_does_not_wait_for_a_slow_stream)
{
    struct raft_config config = cluster_config();
    config.tail_entries_max = 16;
    struct cluster *cluster = cluster_open(3, 3, &config, 1);
    struct raft *raft = &cluster->peers[0].raft;
    cluster_elect(cluster, 0);
    cluster_isolate(cluster, 2, true);
    for (int i = 0; i < 3; i++)
        cluster_propose(cluster, 0, "a");
    cluster_run(cluster);
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_COMPACT, .position = 4});
    cluster_isolate(cluster, 2, false);
    for (int round = 0; round < 20 && cluster->peers[0].snapshot_wanted == 0; round++) {
        cluster_tick(cluster, 0);
        exchange(cluster, 3);
    }
    made(cluster, 4);
    for (int i = 0; i < 40; i++) { // while its chunks are lost one by one
        for (uint32_t at = 0; at < cluster->flight_count; at++)
            if (cluster->flights[at]->msg.kind == RAFT_SNAPSHOT)
                cluster_free_flight(cluster_take(cluster, at--));
        exchange(cluster, 3);
        cluster_tick(cluster, 0);
        cluster_settle(cluster, 1);
        ck_assert_int_eq(raft->progress[2].state, RAFT_STREAM);
        ck_assert_int_eq(cluster_propose(cluster, 0, "b"), RAFT_ANSWER_OK);
    }
    cluster_elapse(cluster, 40);
    ck_assert_uint_eq(cluster->peers[2].raft.applied, raft->applied);
    cluster_close(cluster);
}
END_TEST

START_TEST(answers_that_fit_no_stream_are_ignored)
{
    struct cluster *cluster = wanted(3);
    struct raft *raft = &cluster->peers[0].raft;
    struct raft_msg answer = {.kind = RAFT_SNAPSHOT_RESP,
                              .from = 3,
                              .to = 1,
                              .term = raft->term,
                              .position = 4,
                              .offset = 3};
    cluster_hear(cluster, answer); // not made yet
    ck_assert_uint_eq(raft->progress[2].chunk_offset, 0);
    made(cluster, 4);
    cluster_drop_all(cluster);
    answer.position = 3;
    cluster_hear(cluster, answer);
    answer.position = 4;
    answer.offset = 9;
    cluster_hear(cluster, answer);
    answer.offset = 0; // doubled
    cluster_hear(cluster, answer);
    ck_assert_uint_eq(raft->progress[2].chunk_offset, 0);
    ck_assert_uint_eq(cluster->flight_count, 0);
    answer.from = 2; // gets none
    answer.offset = 3;
    cluster_hear(cluster, answer);
    ck_assert_uint_eq(raft->progress[1].chunk_offset, 0);
    answer.from = 3;
    cluster_hear(cluster, answer);
    ck_assert_uint_eq(raft->progress[2].chunk_offset, 3);
    ck_assert_uint_eq(cluster_count_kind(cluster, RAFT_SNAPSHOT), 1);
    cluster_close(cluster);
}
END_TEST

START_TEST(older_acknowledgement_does_not_end_a_stream_and_a_newer_one_does)
{
    struct cluster *cluster = wanted(3);
    struct raft *raft = &cluster->peers[0].raft;
    struct raft_msg ack = {
        .kind = RAFT_APPEND_RESP, .from = 3, .to = 1, .term = raft->term, .position = 2};
    cluster_hear(cluster, ack);
    ck_assert_int_eq(raft->progress[2].state, RAFT_STREAM);
    ck_assert_uint_eq(raft->progress[2].match, 2);
    ack.position = 4;
    cluster_hear(cluster, ack);
    ck_assert_int_eq(raft->progress[2].state, RAFT_REPLICATE);
    cluster_close(cluster);
}
END_TEST

START_TEST(failure_to_send_makes_the_leader_probe)
{
    struct cluster *cluster = wanted(3);
    struct raft *raft = &cluster->peers[0].raft;
    made(cluster, 4);
    struct raft_input in = {.kind = RAFT_IN_REPORT};
    in.report.kind = RAFT_REPORT_SNAPSHOT_FAILED;
    in.report.peer = 2; // gets none
    cluster_step(cluster, 0, in);
    ck_assert_int_eq(raft->progress[2].state, RAFT_STREAM);
    in.report.peer = 3;
    cluster_step(cluster, 0, in);
    ck_assert_int_eq(raft->progress[2].state, RAFT_PROBE);
    ck_assert(raft->progress[2].paused);
    cluster_step(cluster, 1, in); // a follower has nothing to do with it
    cluster_elapse(cluster, 3);
    ck_assert_uint_eq(cluster->peers[2].raft.applied, 4);
    cluster_close(cluster);
}
END_TEST

START_TEST(newer_snapshot_replaces_one_that_nobody_takes)
{
    struct cluster *cluster = wanted(3);
    struct raft *raft = &cluster->peers[0].raft;
    made(cluster, 4);
    cluster_drop_all(cluster);
    raft->progress[2].recent_active = false; // it went away in the middle
    cluster_propose(cluster, 0, "b");
    cluster->cut[0][2] = true;
    exchange(cluster, 4);
    cluster_tick(cluster, 0);
    exchange(cluster, 4);
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_COMPACT, .position = 5});
    ck_assert_uint_eq(raft->tail.base_position, 5);
    forget(cluster, 3);
    cluster_hear(cluster, (struct raft_msg){
                              .kind = RAFT_HEARTBEAT_RESP, .from = 4, .to = 1, .term = raft->term});
    ck_assert_uint_eq(raft->making.position, 5);
    made(cluster, 5);
    ck_assert_uint_eq(raft->progress[2].snapshot_position, 5);
    ck_assert_uint_eq(raft->progress[3].snapshot_position, 5);
    cluster_close(cluster);
}
END_TEST

// ---- the follower ----

static const struct raft_group one = {.count = 1, .members = {{1, RAFT_VOTER}}};

START_TEST(snapshot_of_what_the_log_has_only_commits)
{
    struct cluster *cluster = cluster_open(3, 3, NULL, 1);
    const struct raft_entry entries[] = {{.position = 1, .term = 1}, {.position = 2, .term = 1}};
    cluster_hear(cluster, (struct raft_msg){.kind = RAFT_APPEND,
                                            .from = 2,
                                            .to = 1,
                                            .term = 1,
                                            .entries = entries,
                                            .entry_count = 2});
    cluster_hear(cluster, (struct raft_msg){.kind = RAFT_SNAPSHOT,
                                            .from = 2,
                                            .to = 1,
                                            .term = 1,
                                            .position = 2,
                                            .log_term = 1,
                                            .group = &one});
    ck_assert_uint_eq(cluster->peers[0].raft.commit, 2);
    ck_assert_uint_eq(cluster->peers[0].raft.tail.count, 2);
    ck_assert_uint_eq(cluster->peers[0].raft.group.count, 3);
    cluster_close(cluster);
}
END_TEST

START_TEST(snapshot_of_a_group_without_us_is_not_taken)
{
    struct cluster *cluster = cluster_open(3, 3, NULL, 1);
    const struct raft_group others = {.count = 1, .members = {{9, RAFT_VOTER}}};
    cluster_hear(cluster, (struct raft_msg){.kind = RAFT_SNAPSHOT,
                                            .from = 2,
                                            .to = 1,
                                            .term = 1,
                                            .position = 2,
                                            .log_term = 1,
                                            .group = &others});
    ck_assert_uint_eq(cluster->peers[0].raft.applied, 0);
    ck_assert_uint_eq(cluster->peers[0].raft.tail.base_position, 0);
    cluster_close(cluster);
}
END_TEST

START_TEST(another_snapshot_begins_anew_and_needs_its_beginning)
{
    struct cluster *cluster = cluster_open(3, 3, NULL, 1);
    const struct raft *raft = &cluster->peers[0].raft;
    struct raft_msg chunk = {.kind = RAFT_SNAPSHOT,
                             .from = 2,
                             .to = 1,
                             .term = 3,
                             .position = 5,
                             .log_term = 2,
                             .total_bytes = 8,
                             .chunk_bytes = 3,
                             .group = &one};
    cluster_hear(cluster, chunk);
    ck_assert_uint_eq(raft->incoming_offset, 3);
    struct raft_msg other = chunk;
    other.offset = 3;
    static const int fields = 4;
    for (int field = 0; field < fields; field++) { // not of the one that is coming
        struct raft_msg wrong = other;
        wrong.from = field == 0 ? 3 : 2;
        wrong.position = field == 1 ? 6 : 5;
        wrong.log_term = field == 2 ? 1 : 2;
        wrong.total_bytes = field == 3 ? 7 : 8;
        cluster_sync(cluster, 0);
        cluster_drop_all(cluster);
        cluster_hear(cluster, wrong);
        ck_assert_uint_eq(raft->incoming_offset, 3);
        ck_assert_uint_eq(cluster->flight_count, 1);
        ck_assert_int_eq(cluster->flights[0]->msg.kind, RAFT_SNAPSHOT_RESP);
        ck_assert_uint_eq(cluster->flights[0]->msg.offset, 0);
    }
    struct raft_msg empty = other;
    empty.chunk_bytes = 0;
    cluster_hear(cluster, empty); // would go on for ever
    ck_assert_uint_eq(raft->incoming_offset, 3);
    other.offset = 0;
    other.position = 6;
    cluster_hear(cluster, other);
    ck_assert_uint_eq(raft->incoming.position, 6);
    ck_assert_uint_eq(raft->incoming_offset, 3);
    cluster_close(cluster);
}
END_TEST

static Suite *
suite(void)
{
    Suite *s = suite_create("raft/snapshot");
    TCase *leader = tcase_create("leader");
    tcase_add_test(leader, follower_that_is_away_gets_no_snapshot);
    tcase_add_test(leader, snapshot_of_another_position_than_was_asked_for_is_not_taken);
    tcase_add_test(leader, compaction_waits_for_a_snapshot_that_is_made_or_on_its_way);
    tcase_add_test(leader, second_follower_joins_the_stream_that_there_is);
    tcase_add_loop_test(leader, member_that_joined_after_the_snapshot_waits_for_the_next_one, 0, 2);
    tcase_add_test(leader, full_tail_does_not_wait_for_a_slow_stream);
    tcase_add_test(leader, answers_that_fit_no_stream_are_ignored);
    tcase_add_test(leader, older_acknowledgement_does_not_end_a_stream_and_a_newer_one_does);
    tcase_add_test(leader, failure_to_send_makes_the_leader_probe);
    tcase_add_test(leader, newer_snapshot_replaces_one_that_nobody_takes);
    suite_add_tcase(s, leader);
    TCase *follower = tcase_create("follower");
    tcase_add_test(follower, snapshot_of_what_the_log_has_only_commits);
    tcase_add_test(follower, snapshot_of_a_group_without_us_is_not_taken);
    tcase_add_test(follower, another_snapshot_begins_anew_and_needs_its_beginning);
    suite_add_tcase(s, follower);
    return s;
}

CHECK_MAIN(suite)
