// tests/unit/node/test_disk.c -- what machines want durable is durable when it is said, in groups, and is read meanwhile.
//
// Shape:  shell.
// Labels: tsan
#include "tests/lib/disk_alone.h"

// ---- who the node is ----

START_TEST(each_start_is_another_boot_and_a_folder_is_founded_once)
{
    ck_assert_uint_eq(disk_identity(disk).boot, 1);
    ck_assert(uuid_is_none(disk_identity(disk).cluster));
    restart();
    ck_assert_uint_eq(disk_identity(disk).boot, 2);
    found(NULL);
    restart();
    const struct disk_identity identity = disk_identity(disk);
    ck_assert_uint_eq(identity.boot, 3);
    ck_assert_uint_eq(identity.cluster.low, 2);
    ck_assert_uint_eq(identity.node.low, 4);
    ck_assert_uint_eq(identity.member, 7);
    ck_assert_int_eq(disk_found(disk, &identity, NULL, &error), OMEN_E_EXISTS);
    struct disk *second;
    const struct disk_config config = {.path = folder_path(&folder, "log"), .fatal = notes_fatal};
    ck_assert_int_eq(disk_open(&config, &second, &error), OMEN_E_LOCKED);
    ck_assert_ptr_null(second);
}
END_TEST

START_TEST(before_it_is_founded_a_folder_has_no_metadata)
{
    struct turn_durable durable;
    ck_assert_int_eq(disk_start_meta(disk, &durable, &error), OMEN_E_NOT_FOUND);
}
END_TEST

START_TEST(who_founds_begins_behind_a_snapshot_and_who_joins_with_nothing)
{
    struct turn_durable durable;
    found(NULL);
    ok(disk_start_meta(disk, &durable, &error));
    ck_assert_uint_eq(durable.raft.base_position, 0);
    ck_assert_uint_eq(durable.raft.applied, 0);
    ck_assert_uint_eq(durable.raft.group.count, 0);
    ck_assert_uint_eq(durable.raft.hard_state.commit, 0);
    disk_close(disk);
    disk = notes_disk(folder_path(&folder, "other"));
    struct raft_group group = {.count = 1};
    group.members[0] = (struct raft_member){.id = 7, .roles = RAFT_VOTER};
    found(&group);
    ok(disk_start_meta(disk, &durable, &error));
    ck_assert_uint_eq(durable.raft.base_position, 1);
    ck_assert_uint_eq(durable.raft.applied, 1);
    ck_assert_uint_eq(durable.raft.hard_state.commit, 1);
    ck_assert_uint_eq(durable.raft.group.members[0].id, 7);
    ck_assert_uint_eq(durable.raft.entry_count, 0);
    ck_assert_uint_eq(durable.map_bytes, 0);
    disk_started(disk);
}
END_TEST

START_TEST(peers_are_found_again)
{
    static struct gossip_address peers[GOSSIP_PEERS_MAX];
    struct turn_durable durable;
    found(NULL);
    for (uint32_t i = 0; i < GOSSIP_PEERS_MAX; i++)
        peers[i].port = (uint16_t)(i + 1);
    disk_peers(disk, peers, 3);
    disk_peers(disk, peers, GOSSIP_PEERS_MAX);
    restart();
    ok(disk_start_meta(disk, &durable, &error));
    ck_assert_uint_eq(durable.peer_count, GOSSIP_PEERS_MAX);
    ck_assert_mem_eq(durable.peers, peers, sizeof peers);
}
END_TEST

// ---- raft's ----

START_TEST(a_commit_alone_waits_for_company)
{
    struct turn_durable durable;
    found(NULL);
    write_entry(1);
    notes_wait(1);
    write_commit(1);
    ck_assert_uint_eq(disk_stats(disk).commits, 1);
    write_commit(1);
    ck_assert_uint_eq(disk_stats(disk).queued, 1); // the newer took the other's place
    make(one);
    notes_wait(2);
    ck_assert_uint_eq(disk_stats(disk).commits, 2);
    write_commit(1);
    restart(); // a close is company enough
    ok(disk_start_meta(disk, &durable, &error));
    ck_assert_uint_eq(durable.raft.hard_state.commit, 1);
    ck_assert_uint_eq(durable.raft.hard_state.vote, 7);
    ck_assert_uint_eq(durable.raft.entry_count, 1);
    ck_assert_mem_eq(durable.raft.entries[0].bytes, "abc", 3);
    ck_assert_uint_eq(atomic_load(&note_count), 2);
}
END_TEST

// ---- group commit ----

START_TEST(what_waits_becomes_one_commit)
{
    make(one);
    make(two);
    found(NULL);
    const struct disk_stats before = disk_stats(disk);
    struct kv_txn *txn = hold();
    for (uint64_t seq = 1; seq <= 150; seq++) {
        append(one, seq, 1, 100);
        append(two, seq, 1, 100);
        write_entry(seq);
    }
    ck_assert_uint_ge(disk_stats(disk).queued, 449);
    ck_assert_uint_eq(atomic_load(&note_count), 2);
    kv_abort(txn);
    notes_wait(2 + 450);
    const struct disk_stats after = disk_stats(disk);
    ck_assert_uint_le(after.commits - before.commits,
                      2); // one may have been begun with the first job
    ck_assert_uint_eq(after.jobs - before.jobs, 450);
    ck_assert_uint_ge(after.jobs_max, 225);
    ck_assert_uint_eq(after.queued, 0);
    ck_assert_uint_eq(after.queued_bytes, 0);
    uint64_t last[3] = {0};
    for (uint32_t i = 2; i < 452; i++) { // each in its order
        const uint32_t whose = notes[i].kind == DISK_META_DONE ? 2 : notes[i].copy.low == 2;
        ck_assert_uint_eq(notes[i].number, ++last[whose]);
    }
    check_read(one, 1, 200, 1u << 20, 150, 150);
    check_read(two, 1, 200, 1u << 20, 150, 150);
}
END_TEST

START_TEST(a_commit_takes_a_few_mib_and_one_job_in_any_case)
{
    make(one);
    const struct disk_stats before = disk_stats(disk);
    struct kv_txn *txn = hold();
    for (uint64_t i = 0; i < 4; i++)
        append(one, 1 + i * 64, 64, 70000); // 4.3 MiB each
    kv_abort(txn);
    notes_wait(1 + 4);
    ck_assert_uint_eq(disk_stats(disk).commits - before.commits, 4);
    check_read(one, 1, 300, (size_t)1 << 30, 256, 256);
}
END_TEST

struct poster {
    struct cluster_uuid copy;
    pthread_t thread;
};

static void *
post_many(void *argument)
{
    const struct poster *poster = argument;
    static _Thread_local struct replica_output out;
    for (uint64_t seq = 1; seq <= 500; seq++) {
        out = (struct replica_output){.ticket = seq, .promised = 3, .append_count = 1};
        out.entries[0] = (struct replica_entry){.seq = seq, .term = 3, .kind = REPLICA_ENTRY_OP};
        out.append = out.entries;
        disk_write_copy(disk, poster->copy, &out, notes_loop);
        struct disk_entries entries;
        struct omen_error own;
        if (disk_read(disk, poster->copy, seq, 1, 1000, &entries, &own) != OMEN_OK ||
            entries.count != 1)
            return argument;
        disk_entries_fini(&entries);
    }
    return NULL;
}

START_TEST(many_threads_write_and_read_at_once)
{
    struct poster posters[4];
    for (uint32_t i = 0; i < 4; i++) {
        posters[i].copy = (struct cluster_uuid){8, i + 1};
        make(posters[i].copy);
    }
    for (uint32_t i = 0; i < 4; i++)
        ck_assert_int_eq(os_thread_start(&posters[i].thread, post_many, &posters[i]), 0);
    for (uint32_t i = 0; i < 4; i++) {
        void *wrong;
        ck_assert_int_eq(pthread_join(posters[i].thread, &wrong), 0);
        ck_assert_ptr_null(wrong);
    }
    notes_wait(4 + 2000);
    uint64_t last[5] = {0};
    for (uint32_t i = 4; i < 2004; i++)
        ck_assert_uint_eq(notes[i].number, ++last[notes[i].copy.low]);
    ck_assert_uint_lt(disk_stats(disk).commits, 2004);
}
END_TEST

// ---- reading ----

START_TEST(a_read_has_its_limits_and_one_entry_in_any_case)
{
    make(one);
    append_and_wait(one, 1, 10, 1000);
    append_and_wait(one, 11, 10, 1000);
    check_read(one, 1, 64, 1u << 20, 20, 20);
    check_read(one, 5, 8, 1u << 20, 8, 20);
    check_read(one, 5, 64, 3000, 3, 20);
    check_read(one, 5, 64, 3999, 3, 20);
    check_read(one, 5, 64, 0, 1, 20);
    check_read(one, 20, 64, 1u << 20, 1, 20);
    check_read(one, 21, 64, 1u << 20, 0, 20);
    check_read(one, 5, 0, 1u << 20, 0, 20);
    struct disk_entries entries;
    ck_assert_int_eq(disk_read(disk, two, 1, 1, 1, &entries, &error), OMEN_E_NOT_FOUND);
    ck_assert_ptr_null(entries.entries);
}
END_TEST

START_TEST(what_is_on_its_way_is_read_as_it_will_be)
{
    make(one);
    append_and_wait(one, 1, 10, 100);
    struct kv_txn *txn = hold();
    append(one, 11, 3, 100);
    check_read(one, 1, 64, 1u << 20, 13, 13);
    check_read(one, 12, 64, 1u << 20, 2, 13);
    cut_to(one, 12); // of what is on its way
    check_read(one, 1, 64, 1u << 20, 12, 12);
    cut_to(one, 7); // of what is durable
    check_read(one, 1, 64, 1u << 20, 7, 7);
    check_read(one, 8, 64, 1u << 20, 0, 7);
    append_term(one, 4, 8, 4, 100);
    check_read(one, 5, 64, 1u << 20, 7, 7);
    check_read(one, 5, 64, 450, 4, 7);
    append_term(one, 4, 12, 1, 100);
    check_read(one, 1, 11, 1u << 20, 11, 7);
    kv_abort(txn);
    notes_wait(2 + 5);
    check_read(one, 1, 64, 1u << 20, 12, 7);
    restart();
    check_read(one, 1, 64, 1u << 20, 12, 7);
}
END_TEST

static Suite *
node_disk_suite(void)
{
    Suite *suite = suite_create("node/disk");
    TCase *tcase = tcase_create("disk");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, each_start_is_another_boot_and_a_folder_is_founded_once);
    tcase_add_test(tcase, before_it_is_founded_a_folder_has_no_metadata);
    tcase_add_test(tcase, who_founds_begins_behind_a_snapshot_and_who_joins_with_nothing);
    tcase_add_test(tcase, peers_are_found_again);
    tcase_add_test(tcase, a_commit_alone_waits_for_company);
    tcase_add_test(tcase, what_waits_becomes_one_commit);
    tcase_add_test(tcase, a_commit_takes_a_few_mib_and_one_job_in_any_case);
    tcase_add_test(tcase, many_threads_write_and_read_at_once);
    tcase_add_test(tcase, a_read_has_its_limits_and_one_entry_in_any_case);
    tcase_add_test(tcase, what_is_on_its_way_is_read_as_it_will_be);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(node_disk_suite)
