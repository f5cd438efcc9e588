// tests/unit/raft/test_raft.c -- beginnings, bounds, refused memory, and what the shell is told.
//
// Shape: shell.
#include "base/alloc.h"
#include "tests/lib/raft_cluster.h"

static enum raft_answer
started_with(const struct raft_durable *durable)
{
    static struct raft raft;
    static struct raft_output out;
    struct raft_config config = cluster_config();
    config.id = 1;
    raft_init(&raft, &config, 1);
    const struct raft_input in = {.kind = RAFT_IN_START, .durable = durable};
    raft_step(&raft, &in, &out);
    raft_check(&raft);
    const struct raft_input wake = {.kind = RAFT_IN_WAKE, .now_ns = 5};
    const enum raft_answer answer = out.answer;
    raft_step(&raft, &wake, &out); // nothing comes of one that did not start
    raft_fini(&raft);
    return answer;
}

START_TEST(disk_that_contradicts_itself_starts_nothing)
{
    const struct raft_entry entries[] = {{.position = 4, .term = 2}, {.position = 5, .term = 3}};
    const struct raft_durable good = {
        .hard_state = {.term = 3, .commit = 4},
        .applied = 3,
        .base_position = 3,
        .base_term = 1,
        .group = {.count = 1, .members = {{1, RAFT_VOTER}}},
        .entries = entries,
        .entry_count = 2,
    };
    ck_assert_int_eq(started_with(&good), RAFT_ANSWER_OK);
    struct raft_durable bad = good;
    bad.hard_state.commit = 6; // entries are lost
    ck_assert_int_eq(started_with(&bad), RAFT_ANSWER_INVALID);
    bad = good;
    bad.applied = 6;
    ck_assert_int_eq(started_with(&bad), RAFT_ANSWER_INVALID);
    bad = good;
    bad.applied = 2;
    ck_assert_int_eq(started_with(&bad), RAFT_ANSWER_INVALID);
    bad = good;
    bad.base_position = 2;
    bad.applied = 2;
    ck_assert_int_eq(started_with(&bad), RAFT_ANSWER_INVALID);
    bad = good;
    bad.hard_state.term = 2;
    ck_assert_int_eq(started_with(&bad), RAFT_ANSWER_INVALID);
    bad = good;
    bad.base_term = 3;
    ck_assert_int_eq(started_with(&bad), RAFT_ANSWER_INVALID);
    bad = good;
    bad.group.members[0].roles = 0;
    ck_assert_int_eq(started_with(&bad), RAFT_ANSWER_INVALID);
    bad = good;
    bad.base_position = bad.applied = RAFT_NUMBER_MAX;
    ck_assert_int_eq(started_with(&bad), RAFT_ANSWER_INVALID);
    bad = good;
    bad.base_term = RAFT_NUMBER_MAX;
    ck_assert_int_eq(started_with(&bad), RAFT_ANSWER_INVALID);
    struct raft_entry odd[] = {entries[0], entries[1]};
    bad = good;
    bad.entries = odd;
    odd[1].position = 7;
    ck_assert_int_eq(started_with(&bad), RAFT_ANSWER_INVALID);
    odd[1].position = 5;
    odd[1].byte_count = RAFT_ENTRY_BYTES_MAX + 1;
    ck_assert_int_eq(started_with(&bad), RAFT_ANSWER_INVALID);
    odd[1].byte_count = 0;
    odd[1].kind = (enum raft_entry_kind)2;
    ck_assert_int_eq(started_with(&bad), RAFT_ANSWER_INVALID);
    bad = good;
    bad.hard_state.term = RAFT_NUMBER_MAX;
    ck_assert_int_eq(started_with(&bad), RAFT_ANSWER_INVALID);
}
END_TEST

START_TEST(start_without_memory_is_refused)
{
    const struct raft_entry entries[] = {{.position = 1, .term = 1}};
    const struct raft_durable durable = {
        .hard_state = {.term = 1}, .entries = entries, .entry_count = 1};
    mem_fail_after(1);
    ck_assert_int_eq(started_with(&durable), RAFT_ANSWER_NO_MEMORY);
    mem_fail_after(0);
    ck_assert_int_eq(started_with(&durable), RAFT_ANSWER_OK);
}
END_TEST

START_TEST(committed_entries_are_applied_at_start)
{
    struct cluster *cluster = cluster_led(1, 1, NULL);
    cluster_propose(cluster, 0, "a");
    cluster_sync(cluster, 0); // committed and applied, of which the disk knows nothing
    struct cluster_disk *disk = &cluster->peers[0].durable;
    ck_assert_uint_eq(disk->applied, 1);
    disk->hard_state.commit = 2;
    cluster_crash(cluster, 0);
    cluster_start(cluster, 0);
    ck_assert_uint_eq(cluster->peers[0].cache.applied, 2);
    cluster_close(cluster);
}
END_TEST

START_TEST(refused_memory_refuses_proposals_and_drops_messages)
{
    struct cluster *cluster = cluster_led(3, 3, NULL);
    mem_fail_after(1);
    const enum raft_answer answer = cluster_propose(cluster, 0, "a");
    mem_fail_after(0);
    ck_assert_int_eq(answer, RAFT_ANSWER_NO_MEMORY);
    ck_assert_uint_eq(tail_last(&cluster->peers[0].raft.tail), 1);
    ck_assert_int_eq(cluster_propose(cluster, 0, "b"), RAFT_ANSWER_OK);
    mem_fail_after(1);
    cluster_run(cluster);
    mem_fail_after(0);
    ck_assert_uint_eq(tail_last(&cluster->peers[1].raft.tail), 1);
    cluster_elapse(cluster, 4);
    ck_assert_uint_eq(cluster->peers[1].raft.applied, 2);
    cluster_close(cluster);
}
END_TEST

START_TEST(leader_without_memory_for_its_first_entry_steps_down)
{
    struct raft_config config = cluster_config();
    config.pre_vote = false;
    mem_fail_after(1); // from the beginning: later it needs none
    struct cluster *cluster = cluster_open(1, 1, &config, 1);
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_CAMPAIGN});
    cluster_sync(cluster, 0);
    mem_fail_after(0);
    ck_assert_int_eq(cluster->peers[0].raft.state, RAFT_FOLLOWER);
    cluster_elapse(cluster, 25);
    ck_assert_int_eq(cluster->peers[0].raft.state, RAFT_LEADER);
    cluster_close(cluster);
}
END_TEST

START_TEST(full_tail_forgets_what_is_applied_and_then_refuses)
{
    struct raft_config config = cluster_config();
    config.tail_entries_max = 16;
    struct cluster *cluster = cluster_led(1, 1, &config);
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(cluster_propose(cluster, 0, "a"), RAFT_ANSWER_OK);
        cluster_run(cluster);
    }
    cluster->hold_sync = true;
    uint32_t taken = 0;
    while (cluster_propose(cluster, 0, "a") == RAFT_ANSWER_OK)
        taken++;
    ck_assert_int_eq(cluster->peers[0].answer, RAFT_ANSWER_BUSY);
    ck_assert_uint_ge(taken, 10);
    ck_assert_uint_le(taken, 14);
    cluster->hold_sync = false;
    cluster_run(cluster);
    ck_assert_int_eq(cluster_propose(cluster, 0, "a"), RAFT_ANSWER_OK);
    cluster_close(cluster);
}
END_TEST

START_TEST(more_messages_than_fit_go_on_at_the_next_wake)
{
    struct raft_config config = cluster_config();
    config.append_bytes_max = 1; // an entry a message
    config.inflight_max = RAFT_INFLIGHTS_MAX;
    struct cluster *cluster = cluster_led(2, 2, &config);
    cluster_isolate(cluster, 1, true);
    for (int i = 0; i < 150; i++)
        cluster_propose(cluster, 0, "a");
    cluster_run(cluster);
    cluster_drop_all(cluster);
    cluster_isolate(cluster, 1, false);
    cluster_elapse(cluster, 3);
    ck_assert_uint_eq(cluster->peers[1].raft.commit, 151);
    cluster_close(cluster);
}
END_TEST

START_TEST(inflight_messages_are_bounded_by_count_and_by_bytes)
{
    for (int by_bytes = 0; by_bytes < 2; by_bytes++) {
        struct raft_config config = cluster_config();
        config.inflight_max = by_bytes ? 100 : 3;
        config.inflight_bytes_max = by_bytes ? 24 : 1u << 20;
        struct cluster *cluster = cluster_led(2, 2, &config);
        for (int i = 0; i < 10; i++)
            cluster_propose(cluster, 0, "12345678");
        uint32_t full = 0;
        for (uint32_t i = 0; i < cluster->flight_count; i++)
            full += cluster->flights[i]->msg.entry_count > 0;
        ck_assert_uint_eq(full, 3);
        cluster_run(cluster);
        ck_assert_uint_eq(cluster->peers[1].raft.commit, 11);
        cluster_close(cluster);
    }
}
END_TEST

START_TEST(commit_is_given_out_in_bounded_parts)
{
    struct raft_config config = cluster_config();
    config.apply_bytes_max = 1;
    struct cluster *cluster = cluster_led(1, 1, &config);
    for (int i = 0; i < 5; i++)
        cluster_propose(cluster, 0, "a");
    cluster_sync(cluster, 0);
    ck_assert_uint_eq(cluster->peers[0].raft.commit, 6);
    ck_assert_uint_eq(cluster->peers[0].wake_ns, cluster->peers[0].now_ns);
    cluster_settle(cluster, 0);
    ck_assert_uint_eq(cluster->peers[0].raft.applied, 2);
    ck_assert_uint_eq(cluster->peers[0].wake_ns, cluster->peers[0].now_ns);
    cluster_run(cluster);
    ck_assert_uint_eq(cluster->peers[0].raft.applied, 6);
    cluster_close(cluster);
}
END_TEST

START_TEST(change_that_would_come_to_nothing_is_refused)
{
    struct cluster *cluster = cluster_led(3, 3, NULL);
    const struct raft_change leave = {0};
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_CONF_CHANGE, .change = &leave});
    ck_assert_int_eq(cluster->peers[0].answer, RAFT_ANSWER_INVALID);
    const struct raft_change bad = {.count = RAFT_CHANGES_MAX + 1};
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_CONF_CHANGE, .change = &bad});
    ck_assert_int_eq(cluster->peers[0].answer, RAFT_ANSWER_INVALID);
    ck_assert_int_eq(cluster_change(cluster, 0, (enum raft_change_kind)9, 4), RAFT_ANSWER_INVALID);
    cluster_close(cluster);
}
END_TEST

START_TEST(committed_bytes_that_are_no_change_change_nothing)
{
    struct cluster *cluster = cluster_open(3, 3, NULL, 1);
    const uint8_t junk[] = {9, 9, 9};
    const struct raft_entry entries[] = {
        {.position = 1, .term = 1, .kind = RAFT_ENTRY_CHANGE, .bytes = junk, .byte_count = 3},
        {.position = 2, .term = 1, .kind = RAFT_ENTRY_CHANGE}, // leaves no joint configuration
    };
    const struct raft_group before = cluster->peers[0].raft.group;
    cluster_hear(cluster, (struct raft_msg){.kind = RAFT_APPEND,
                                            .from = 2,
                                            .to = 1,
                                            .term = 1,
                                            .commit = 2,
                                            .entries = entries,
                                            .entry_count = 2});
    cluster_settle(cluster, 0);
    ck_assert_uint_eq(cluster->peers[0].raft.applied, 2);
    ck_assert(cluster_noted(&cluster->peers[0], RAFT_NOTE_CHANGE_FAILED));
    ck_assert_mem_eq(&cluster->peers[0].raft.group, &before, sizeof before);
    cluster_close(cluster);
}
END_TEST

START_TEST(unchecked_change_that_comes_to_nothing_changes_nothing)
{
    struct raft_config config = cluster_config();
    config.changes_unchecked = true;
    struct cluster *cluster = cluster_led(3, 3, &config);
    const struct raft_change leave = {0};
    struct raft_change odd = {.transition = (enum raft_transition)7, .count = 1};
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_CONF_CHANGE, .change = &odd});
    ck_assert_int_eq(cluster->peers[0].answer, RAFT_ANSWER_INVALID);
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_CONF_CHANGE, .change = &leave});
    ck_assert_int_eq(cluster->peers[0].answer, RAFT_ANSWER_OK);
    cluster_run(cluster);
    ck_assert(cluster_noted(&cluster->peers[0], RAFT_NOTE_CHANGE_FAILED));
    ck_assert_uint_eq(cluster->peers[0].raft.group.count, 3);
    cluster_close(cluster);
}
END_TEST

// ---- hostile values, field by field ----

static struct raft_entry hostile_entry;
static struct raft_group hostile_group;

static void
spoil_any(struct raft_msg *msg, int field)
{
    switch (field) {
    case 0:
        msg->kind = (enum raft_msg_kind)0;
        break;
    case 1:
        msg->kind = RAFT_MSG_KINDS;
        break;
    case 2:
        msg->from = RAFT_NODE_NONE;
        break;
    case 3:
        msg->from = msg->to;
        break;
    case 4:
        msg->to = 2;
        break;
    case 5:
        msg->term = 0;
        break;
    case 6:
        msg->term = RAFT_NUMBER_MAX;
        break;
    case 7:
        msg->position = RAFT_NUMBER_MAX;
        break;
    case 8:
        msg->commit = RAFT_NUMBER_MAX;
        break;
    case 9:
        msg->hint = RAFT_NUMBER_MAX;
        break;
    case 10:
        msg->log_term = RAFT_NUMBER_MAX;
        break;
    default:
        msg->log_term = msg->term + 1;
        break;
    }
}

static void
spoil_entries(struct raft_msg *msg, int field)
{
    struct raft_entry *entry = &hostile_entry;
    switch (field) {
    case 0:
        msg->entry_count = RAFT_ENTRIES_MAX + 1;
        break;
    case 1:
        msg->entries = NULL;
        break;
    case 2:
        msg->position = RAFT_NUMBER_MAX - 1;
        break;
    case 3:
        entry->position = 2;
        break;
    case 4:
        entry->term = msg->term + 1;
        break;
    case 5:
        entry->term = 0;
        break;
    case 6:
        entry->byte_count = RAFT_ENTRY_BYTES_MAX + 1;
        break;
    case 7:
        entry->bytes = NULL;
        break;
    default:
        entry->kind = (enum raft_entry_kind)2;
        break;
    }
}

static void
spoil_snapshot(struct raft_msg *msg, int field)
{
    switch (field) {
    case 0:
        msg->position = 0;
        break;
    case 1:
        msg->log_term = 0;
        break;
    case 2:
        msg->group = NULL;
        break;
    case 3:
        hostile_group.members[0].roles = RAFT_FRESH;
        break;
    case 4:
        msg->chunk_bytes = RAFT_CHUNK_BYTES_MAX + 1;
        break;
    case 5:
        msg->total_bytes = RAFT_NUMBER_MAX;
        break;
    case 6:
        msg->offset = msg->total_bytes + 1;
        break;
    case 7:
        msg->offset = msg->total_bytes - 1;
        break;
    case 8:
        msg->chunk = NULL;
        break;
    default:
        msg->chunk_hash++;
        break;
    }
}

START_TEST(message_with_any_field_out_of_its_limits_is_refused)
{
    static const uint8_t bytes[4] = {1, 2, 3, 4};
    static const struct {
        void (*spoil)(struct raft_msg *, int);
        int fields;
        enum raft_msg_kind kind;
    } parts[] = {{spoil_any, 12, RAFT_APPEND},
                 {spoil_entries, 9, RAFT_APPEND},
                 {spoil_any, 12, RAFT_SNAPSHOT},
                 {spoil_snapshot, 10, RAFT_SNAPSHOT}};
    for (size_t part = 0; part < sizeof parts / sizeof parts[0]; part++)
        for (int field = -1; field < parts[part].fields; field++) {
            const bool append = parts[part].kind == RAFT_APPEND;
            struct cluster *cluster = cluster_open(3, 3, NULL, 1);
            hostile_entry = (struct raft_entry){
                .position = 1, .term = 1, .bytes = bytes, .byte_count = sizeof bytes};
            hostile_group = (struct raft_group){.count = 1, .members = {{1, RAFT_VOTER}}};
            struct raft_msg msg = {.kind = parts[part].kind, .from = 2, .to = 1, .term = 1};
            if (append) {
                msg.entries = &hostile_entry;
                msg.entry_count = 1;
            } else {
                msg.position = 9;
                msg.log_term = 1;
                msg.group = &hostile_group;
                msg.total_bytes = 8;
                msg.chunk = bytes;
                msg.chunk_bytes = sizeof bytes;
                msg.chunk_hash = hash_bytes(bytes, sizeof bytes);
            }
            if (field >= 0)
                parts[part].spoil(&msg, field);
            cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_MESSAGE, .message = &msg});
            ck_assert_msg(cluster_noted(&cluster->peers[0], RAFT_NOTE_MESSAGE_REFUSED) ==
                              (field >= 0),
                          "part %zu, field %d", part, field);
            ck_assert_uint_eq(cluster->peers[0].raft.term, field < 0); // nothing came of it
            cluster_close(cluster);
        }
}
END_TEST

START_TEST(unreachable_follower_is_probed)
{
    struct cluster *cluster = cluster_led(3, 3, NULL);
    struct raft_input in = {.kind = RAFT_IN_REPORT};
    in.report.kind = RAFT_REPORT_UNREACHABLE;
    in.report.peer = 2;
    cluster_step(cluster, 0, in);
    ck_assert_int_eq(cluster->peers[0].raft.progress[1].state, RAFT_PROBE);
    cluster_elapse(cluster, 2);
    ck_assert_int_eq(cluster->peers[0].raft.progress[1].state, RAFT_REPLICATE);
    cluster_close(cluster);
}
END_TEST

START_TEST(snapshot_that_failed_is_tried_again)
{
    struct cluster *cluster = cluster_led(3, 3, NULL);
    cluster_isolate(cluster, 2, true);
    cluster_propose(cluster, 0, "a");
    cluster_run(cluster);
    cluster_step(cluster, 0, (struct raft_input){.kind = RAFT_IN_COMPACT, .position = 2});
    cluster_isolate(cluster, 2, false);
    for (int round = 0; round < 40 && cluster->peers[0].snapshot_wanted == 0; round++) {
        cluster_tick(cluster, 0);
        while (cluster->flight_count > 0)
            cluster_deliver(cluster, cluster_take(cluster, 0));
        cluster_sync(cluster, 1);
        cluster_sync(cluster, 2);
    }
    ck_assert_uint_eq(cluster->peers[0].snapshot_wanted, 2);
    cluster->peers[0].snapshot_wanted = 0;
    struct raft_input in = {.kind = RAFT_IN_REPORT};
    in.report.kind = RAFT_REPORT_SNAPSHOT_FAILED;
    cluster_step(cluster, 0, in);
    ck_assert_int_eq(cluster->peers[0].raft.progress[2].state, RAFT_PROBE);
    cluster_elapse(cluster, 5);
    ck_assert_uint_eq(cluster->peers[2].cache.applied, 2);
    cluster_close(cluster);
}
END_TEST

START_TEST(quiet_node_wakes_for_its_timeout_and_a_leader_for_its_heartbeat)
{
    struct cluster *cluster = cluster_open(3, 3, NULL, 1);
    const struct cluster_peer *peer = &cluster->peers[0];
    ck_assert_uint_eq(peer->wake_ns, peer->raft.random_ticks * (uint64_t)CLUSTER_TICK_NS);
    cluster_elect(cluster, 0);
    ck_assert_uint_eq(peer->wake_ns, peer->now_ns + CLUSTER_TICK_NS);
    cluster_close(cluster);
}
END_TEST

START_TEST(state_is_told_in_a_line)
{
    struct cluster *cluster = cluster_open(2, 2, NULL, 1);
    char line[512];
    cluster_elect(cluster, 0);
    raft_describe(&cluster->peers[0].raft, line, sizeof line);
    ck_assert_str_eq(line, "1 leader term=1 vote=1 lead=1 commit=1 applied=1 stable=1 log=1..1 "
                           "voters=(1 2) 1:replicate,match=1,next=2 2:replicate,match=1,next=2");
    raft_describe(&cluster->peers[1].raft, line, sizeof line);
    ck_assert_str_eq(line, "2 follower term=1 vote=1 lead=1 commit=1 applied=1 stable=1 "
                           "log=1..1 voters=(1 2)");
    cluster_close(cluster);
}
END_TEST

static Suite *
suite(void)
{
    Suite *s = suite_create("raft/raft");
    TCase *c = tcase_create("raft");
    tcase_add_test(c, disk_that_contradicts_itself_starts_nothing);
    tcase_add_test(c, start_without_memory_is_refused);
    tcase_add_test(c, committed_entries_are_applied_at_start);
    tcase_add_test(c, refused_memory_refuses_proposals_and_drops_messages);
    tcase_add_test(c, leader_without_memory_for_its_first_entry_steps_down);
    tcase_add_test(c, full_tail_forgets_what_is_applied_and_then_refuses);
    tcase_add_test(c, more_messages_than_fit_go_on_at_the_next_wake);
    tcase_add_test(c, inflight_messages_are_bounded_by_count_and_by_bytes);
    tcase_add_test(c, commit_is_given_out_in_bounded_parts);
    tcase_add_test(c, change_that_would_come_to_nothing_is_refused);
    tcase_add_test(c, committed_bytes_that_are_no_change_change_nothing);
    tcase_add_test(c, unchecked_change_that_comes_to_nothing_changes_nothing);
    tcase_add_test(c, message_with_any_field_out_of_its_limits_is_refused);
    tcase_add_test(c, unreachable_follower_is_probed);
    tcase_add_test(c, snapshot_that_failed_is_tried_again);
    tcase_add_test(c, quiet_node_wakes_for_its_timeout_and_a_leader_for_its_heartbeat);
    tcase_add_test(c, state_is_told_in_a_line);
    suite_add_tcase(s, c);
    return s;
}

CHECK_MAIN(suite)
