// tests/unit/node/test_disk.c -- what machines want durable is durable when it is said, and is what a start finds.
//
// Shape:  shell.
// Labels: tsan
#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>

#include "base/os_clock.h"
#include "base/os_thread.h"
#include "storage/logs_int.h"
#include "tests/lib/check_main.h"
#include "tests/lib/disk_notes.h"
#include "tests/lib/folder.h"

static struct folder folder;
static struct disk *disk;
static struct omen_error error;
static const struct cluster_uuid one = {5, 1}, two = {5, 2};

static void
setup(void)
{
    folder_init(&folder);
    notes_open();
    disk = notes_disk(folder_path(&folder, "log"));
}

static void
teardown(void)
{
    loop_stop(notes_loop);
    disk_close(disk);
    loop_close(notes_loop);
    folder_fini(&folder);
}

static void
restart(void)
{
    disk_close(disk);
    disk = notes_disk(folder_path(&folder, "log"));
}

static void
ok(omen_status status)
{
    ck_assert_msg(status == OMEN_OK, "%d: %s", status, error.text);
}

static void
found(const struct raft_group *group)
{
    const struct disk_identity identity = {.cluster = {1, 2}, .node = {3, 4}, .member = 7};
    ok(disk_found(disk, &identity, group, &error));
}

static void
make(struct cluster_uuid copy)
{
    const uint32_t before = atomic_load(&note_count);
    disk_make(disk, &(struct copies_env){.uuid = copy, .shard = 9, .position = 33}, notes_loop);
    notes_wait(before + 1);
    ck_assert_int_eq(notes[before].kind, DISK_MADE);
}

static uint8_t
byte_of(uint64_t seq, uint32_t i)
{
    return (uint8_t)(seq * 31 + i * 7);
}

// Entries first..first + count - 1 of a term; whose operations are their seqs.
static void
append_term(struct cluster_uuid copy, uint64_t term, uint64_t first, uint32_t count, uint32_t bytes)
{
    static uint8_t payload[REPLICA_ENTRIES_MAX][70000];
    static struct replica_output out;
    ck_assert_uint_le(bytes, sizeof payload[0]);
    out = (struct replica_output){.ticket = first + count - 1, .promised = term};
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < bytes; k++)
            payload[i][k] = byte_of(first + i, k);
        out.entries[i] = (struct replica_entry){.seq = first + i,
                                                .term = term,
                                                .stamp_ms = (first + i) * 10,
                                                .kind = REPLICA_ENTRY_OP,
                                                .byte_count = bytes,
                                                .op_id = {6, first + i},
                                                .bytes = payload[i]};
    }
    out.append = out.entries;
    out.append_count = count;
    disk_write_copy(disk, copy, &out, notes_loop);
}

static void
append(struct cluster_uuid copy, uint64_t first, uint32_t count, uint32_t bytes)
{
    append_term(copy, 3, first, count, bytes);
}

static void
append_and_wait(struct cluster_uuid copy, uint64_t first, uint32_t count, uint32_t bytes)
{
    const uint32_t before = atomic_load(&note_count);
    append(copy, first, count, bytes);
    notes_wait(before + 1);
    ck_assert_int_eq(notes[before].kind, DISK_COPY_DONE);
    ck_assert_uint_eq(notes[before].copy.low, copy.low);
    ck_assert_uint_eq(notes[before].number, first + count - 1);
}

static void
cut_to(struct cluster_uuid copy, uint64_t above)
{
    static struct replica_output out;
    out = (struct replica_output){
        .ticket = 1, .promised = 4, .truncate = true, .truncate_seq = above};
    disk_write_copy(disk, copy, &out, notes_loop);
}

// `count` entries from `first` on, of which those above `old` are of term 4.
static void
check_read(struct cluster_uuid copy, uint64_t first, uint32_t wanted, size_t bytes_max,
           uint32_t count, uint64_t old)
{
    struct disk_entries entries;
    ok(disk_read(disk, copy, first, wanted, bytes_max, &entries, &error));
    ck_assert_uint_eq(entries.count, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct replica_entry *entry = &entries.entries[i];
        ck_assert_uint_eq(entry->seq, first + i);
        ck_assert_uint_eq(entry->term, first + i > old ? 4 : 3);
        ck_assert_uint_eq(entry->stamp_ms, entry->seq * 10);
        ck_assert_int_eq(entry->kind, REPLICA_ENTRY_OP);
        ck_assert_uint_eq(entry->op_id.low, entry->seq);
        for (uint32_t k = 0; k < entry->byte_count; k++)
            if (entry->bytes[k] != byte_of(entry->seq, k))
                ck_abort_msg("byte %u of entry %llu", k, (unsigned long long)entry->seq);
    }
    disk_entries_fini(&entries);
}

// Nothing is committed between the two, but what was begun.
static struct kv_txn *
hold(void)
{
    struct kv_txn *txn;
    ok(kv_begin_write(disk->kv, &txn, &error));
    return txn;
}

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

static void
write_commit(uint64_t commit)
{
    static struct turn_output out;
    out = (struct turn_output){.raft_stepped = true};
    out.raft.hard_state_changed = true;
    out.raft.hard_state = (struct raft_hard_state){.term = 2, .vote = 7, .commit = commit};
    disk_write_meta(disk, &out, notes_loop);
}

static void
write_entry(uint64_t position)
{
    static struct turn_output out;
    static struct raft_entry entry;
    out = (struct turn_output){.raft_stepped = true};
    entry = (struct raft_entry){
        .position = position, .term = 2, .byte_count = 3, .bytes = (const uint8_t *)"abc"};
    out.raft.sync = true;
    out.raft.persist_number = position;
    out.raft.hard_state = (struct raft_hard_state){.term = 2, .vote = 7};
    out.raft.append = (struct raft_span){.entries = &entry, .count = 1};
    disk_write_meta(disk, &out, notes_loop);
}

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

// ---- copies ----

static struct disk_copy held; // of the last start
static struct replica_term held_terms[8];
static struct dedupe_op held_ops[256];
static struct replica_disk held_install;
static struct dedupe_op install_ops[8];
static uint32_t held_count;

static void
hold_copy(void *context, const struct disk_copy *copy)
{
    (void)context;
    held = *copy;
    held_count++;
    ck_assert_uint_le(copy->durable.disk.term_count, 8);
    ck_assert_uint_le(copy->durable.disk.op_count, 256);
    if (copy->durable.disk.term_count > 0)
        memcpy(held_terms, copy->durable.disk.terms,
               copy->durable.disk.term_count * sizeof held_terms[0]);
    if (copy->durable.disk.op_count > 0)
        memcpy(held_ops, copy->durable.disk.ops, copy->durable.disk.op_count * sizeof held_ops[0]);
    if (copy->install == NULL)
        return;
    held_install = *copy->install;
    ck_assert_uint_le(held_install.op_count, 8);
    memcpy(install_ops, held_install.ops, held_install.op_count * sizeof install_ops[0]);
    ck_assert_uint_eq(held_install.term_count, 2);
    ck_assert_uint_eq(held_install.terms[1].term, 9);
}

static void
start_copies(uint32_t count)
{
    held_count = 0;
    ok(disk_start_copies(disk, hold_copy, NULL, &error));
    ck_assert_uint_eq(held_count, count);
}

START_TEST(a_start_finds_a_copy_as_it_was_acknowledged)
{
    static struct replica_output out;
    make(one);
    append_and_wait(one, 1, 10, 100);
    append_term(one, 5, 11, 2, 100);
    out = (struct replica_output){.ticket = 13, .promised = 6, .commit_seq = 11};
    disk_write_copy(disk, one, &out, notes_loop);
    notes_wait(4);
    restart();
    start_copies(1);
    ck_assert_int_eq(held.status, OMEN_OK);
    ck_assert_ptr_null(held.install);
    ck_assert_uint_eq(held.durable.env.uuid.low, 1);
    ck_assert_uint_eq(held.durable.env.shard, 9);
    ck_assert_uint_eq(held.durable.env.position, 33);
    struct replica_disk *now = &held.durable.disk;
    ck_assert_uint_eq(now->promised, 6);
    ck_assert_uint_eq(now->commit_seq, 11);
    ck_assert_uint_eq(now->first_seq, 1);
    ck_assert_uint_eq(now->last_seq, 12);
    ck_assert_uint_eq(now->stamp_ms, 120);
    ck_assert_uint_eq(now->term_count, 2);
    ck_assert_uint_eq(held_terms[1].term, 5);
    ck_assert_uint_eq(held_terms[1].first_seq, 11);
    ck_assert_uint_eq(now->op_count, 12);
    ck_assert_uint_eq(held_ops[11].id.low, 12);
    ok(disk_copy_applied(now, 12));
    ck_assert_uint_eq(now->commit_seq, 12);
    ck_assert_int_eq(disk_copy_applied(now, 13), OMEN_E_CORRUPT);
}
END_TEST

START_TEST(a_trimmed_log_keeps_its_operations_and_says_where_it_begins)
{
    make(one);
    for (uint64_t first = 1; first <= 91; first += 10)
        append_and_wait(one, first, 10, 100);
    const struct disk_trim trim = {.through = 55, .window_ms = 700, .ops_max = 100};
    disk_trim(disk, one, &trim, notes_loop);
    notes_wait(12);
    ck_assert_int_eq(notes[11].kind, DISK_TRIMMED);
    ck_assert_uint_eq(notes[11].number, 56);
    struct disk_entries entries;
    ck_assert_int_eq(disk_read(disk, one, 55, 1, 1, &entries, &error), OMEN_E_NOT_FOUND);
    check_read(one, 56, 64, 1u << 20, 45, 100);
    restart();
    start_copies(1);
    struct replica_disk *now = &held.durable.disk;
    ck_assert_uint_eq(now->first_seq, 56);
    ck_assert_uint_eq(now->term_count, 1);
    ck_assert_uint_eq(held_terms[0].first_seq, 55);
    ck_assert_uint_eq(held_ops[0].seq, 30);
    ck_assert_uint_eq(now->op_count, 71);
    ck_assert_int_eq(disk_copy_applied(now, 54), OMEN_E_CORRUPT);
    ok(disk_copy_applied(now, 55));
}
END_TEST

START_TEST(a_dropped_copy_is_gone_with_what_is_on_its_way)
{
    make(one);
    make(two);
    append_and_wait(two, 1, 2, 100);
    struct kv_txn *txn = hold();
    disk_drop(disk, one, notes_loop);
    append(one, 1, 1, 100);
    append(two, 3, 1, 100);
    struct disk_entries entries;
    kv_abort(txn);
    notes_wait(5);
    ck_assert_int_eq(notes[3].kind, DISK_DROPPED);
    ck_assert_int_eq(notes[4].kind, DISK_COPY_DONE);
    ck_assert_uint_eq(notes[4].copy.low, 2);
    ck_assert_int_eq(disk_read(disk, one, 1, 1, 1, &entries, &error), OMEN_E_NOT_FOUND);
    disk_drop(disk, one, notes_loop); // twice is once
    notes_wait(6);
    ck_assert_int_eq(notes[5].kind, DISK_DROPPED);
    restart();
    start_copies(1);
    ck_assert_uint_eq(held.durable.env.uuid.low, 2);
    ck_assert_uint_eq(held.durable.disk.last_seq, 3);
}
END_TEST

static const struct replica_term install_terms[2] = {{4, 20}, {9, 40}};
static const struct dedupe_op now_ops[2] = {{{6, 41}, 41, 410}, {{6, 50}, 50, 500}};
static const struct replica_disk now = {.promised = 9,
                                        .first_seq = 51,
                                        .last_seq = 50,
                                        .commit_seq = 50,
                                        .applied_seq = 50,
                                        .stamp_ms = 500,
                                        .terms = install_terms,
                                        .term_count = 2,
                                        .ops = now_ops,
                                        .op_count = 2};

static void
check_installed(void)
{
    start_copies(1);
    ck_assert_ptr_null(held.install);
    struct replica_disk *disk_now = &held.durable.disk;
    ck_assert_uint_eq(disk_now->promised, 3); // its own
    ck_assert_uint_eq(disk_now->first_seq, 51);
    ck_assert_uint_eq(disk_now->last_seq, 50);
    ck_assert_uint_eq(disk_now->commit_seq, 50);
    ck_assert_uint_eq(disk_now->stamp_ms, 500);
    ck_assert_uint_eq(disk_now->term_count, 1);
    ck_assert_uint_eq(held_terms[0].term, 9);
    ck_assert_uint_eq(held_terms[0].first_seq, 50);
    ck_assert_uint_eq(disk_now->op_count, 2);
    ck_assert_mem_eq(held_ops, now_ops, sizeof now_ops);
}

// Killed between the exchange of the shard's file and the log's, or before both.
START_TEST(a_snapshot_takes_the_place_of_the_log_in_two_steps)
{
    make(one);
    append_and_wait(one, 1, 10, 100);
    disk_prepare(disk, one, &now, notes_loop);
    notes_wait(3);
    ck_assert_int_eq(notes[2].kind, DISK_PREPARED);
    restart();
    start_copies(1);
    ck_assert_ptr_nonnull(held.install);
    ck_assert_uint_eq(held.durable.disk.last_seq, 10); // if the file is still the old one
    ck_assert_uint_eq(held_install.promised, 3);
    ck_assert_uint_eq(held_install.first_seq, 51);
    ck_assert_uint_eq(held_install.applied_seq, 50);
    ck_assert_uint_eq(held_install.commit_seq, 50);
    ck_assert_uint_eq(held_install.op_count, 2);
    ck_assert_mem_eq(install_ops, now_ops, sizeof now_ops);
    held_install.ops = now_ops;
    held_install.terms = install_terms;
    disk_install(disk, one, &held_install, notes_loop);
    notes_wait(4);
    ck_assert_int_eq(notes[3].kind, DISK_INSTALLED);
    check_installed();
    restart();
    check_installed();
    append_and_wait(one, 51, 2, 100);
    check_read(one, 51, 10, 1000, 2, 60);
}
END_TEST

START_TEST(a_log_that_goes_on_forgets_what_was_prepared)
{
    make(one);
    append_and_wait(one, 1, 10, 100);
    disk_prepare(disk, one, &now, notes_loop);
    append(one, 11, 1, 100);
    restart();
    start_copies(1);
    ck_assert_ptr_null(held.install);
    ck_assert_uint_eq(held.durable.disk.last_seq, 11);
}
END_TEST

// ---- what fails ----

// As a page that the disk gives back changed.
static void
damage(struct cluster_uuid copy, uint32_t table, uint64_t number)
{
    struct kv_value value;
    void *room;
    static uint8_t bytes[LOGS_PART_BYTES];
    const uint32_t slot = (uint32_t)(logs_owner(disk_name(copy)) % LOGS_SLOTS);
    const uint64_t key = table == LOGS_ROWS ? slot : logs_key(slot, number);
    struct kv_txn *txn = hold();
    ok(kv_get(txn, table, key, &value, &error));
    const size_t count = value.count;
    memcpy(bytes, value.bytes, count);
    bytes[count - 1] ^= 1;
    ok(kv_put(txn, table, key, count, &room, &error));
    memcpy(room, bytes, count);
    ok(kv_commit(txn, &error));
}

START_TEST(a_damaged_copy_is_said_and_keeps_nobody_back)
{
    make(one);
    make(two);
    append_and_wait(one, 1, 3, 100);
    append_and_wait(two, 1, 3, 100);
    damage(one, LOGS_ENTRIES, 0);
    struct disk_entries entries;
    ck_assert_int_eq(disk_read(disk, one, 1, 3, 1000, &entries, &error), OMEN_E_CORRUPT);
    struct kv_txn *txn = hold();
    append(two, 4, 1, 100);
    cut_to(one, 2); // wants to know where entry 2 is
    disk_trim(disk, one, &(struct disk_trim){.through = 3, .ops_max = 1}, notes_loop);
    append(two, 5, 1, 100);
    kv_abort(txn);
    notes_wait(8);
    static const enum disk_done_kind kinds[] = {DISK_COPY_DONE, DISK_DAMAGED, DISK_DAMAGED,
                                                DISK_COPY_DONE};
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_int_eq(notes[4 + i].kind, kinds[i]);
        ck_assert_uint_eq(notes[4 + i].copy.low, kinds[i] == DISK_DAMAGED ? 1 : 2);
    }
    ck_assert_uint_eq(disk_stats(disk).damaged, 2);
    check_read(two, 1, 10, 1000, 5, 5);
    start_copies(2);
    disk_drop(disk, one, notes_loop);
    notes_wait(9);
    ck_assert_int_eq(notes[8].kind, DISK_DROPPED);
    ck_assert_uint_eq(atomic_load(&fatals), 0);
}
END_TEST

static omen_status statuses[3];

static void
keep_status(void *context, const struct disk_copy *copy)
{
    (void)context;
    ck_assert_uint_eq(copy->durable.env.shard, 9);
    statuses[copy->durable.env.uuid.low] = copy->status;
}

START_TEST(a_start_tells_which_copy_cannot_be_read)
{
    make(one);
    make(two);
    append_and_wait(one, 1, 3, 100);
    append_and_wait(two, 1, 3, 100);
    damage(two, LOGS_ENTRIES, 0);
    restart();
    ok(disk_start_copies(disk, keep_status, NULL, &error));
    ck_assert_int_eq(statuses[1], OMEN_OK);
    ck_assert_int_eq(statuses[2], OMEN_E_CORRUPT);
}
END_TEST

START_TEST(damaged_metadata_end_the_process_and_nothing_is_said_after)
{
    struct turn_durable durable;
    found(NULL);
    make(one);
    damage(disk_uuid(disk_meta_name), LOGS_ROWS, 0);
    write_entry(1);
    fatal_wait();
    ck_assert_ptr_nonnull(strstr(fatal_sentence, "checksum"));
    append(one, 1, 1, 100);
    write_entry(2);
    ck_assert_int_eq(disk_start_meta(disk, &durable, &error), OMEN_E_CORRUPT);
    restart();
    ck_assert_uint_eq(atomic_load(&note_count), 1);
    ck_assert_uint_eq(atomic_load(&fatals), 1);
}
END_TEST

// Every write to the data file fails from now on.
static void
fail_disk(void)
{
    const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    uint32_t failed = 0;
    ck_assert_int_ge(null, 0);
    for (int fd = 0; fd < 256; fd++) {
        char link[64], path[512];
        (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        const ssize_t length = readlink(link, path, sizeof path - 1);
        if (length <= 0)
            continue;
        path[length] = '\0';
        if (strstr(path, "/log/data.mdb") == NULL)
            continue;
        ck_assert_int_eq(dup2(null, fd), fd);
        failed++;
    }
    ck_assert_uint_ge(failed, 1);
}

START_TEST(a_failed_disk_ends_the_process_once_and_nothing_is_said_after)
{
    make(one);
    fail_disk();
    append(one, 1, 1, 100);
    fatal_wait();
    append(one, 2, 1, 100);
    disk_drop(disk, one, notes_loop);
    disk_close(disk);
    ck_assert_uint_eq(atomic_load(&fatals), 1);
    ck_assert_uint_eq(atomic_load(&note_count), 1);
    disk = NULL;
}
END_TEST

START_TEST(no_memory_for_a_job_ends_the_process)
{
    static struct replica_output out;
    make(one);
    out = (struct replica_output){.ticket = 1, .promised = 3};
    mem_fail_after(1);
    disk_write_copy(disk, one, &out, notes_loop);
    mem_fail_after(0);
    ck_assert_uint_eq(atomic_load(&fatals), 1);
    append(one, 1, 1, 100);
    disk_close(disk);
    ck_assert_uint_eq(atomic_load(&note_count), 1);
    disk = NULL;
}
END_TEST

static void
limit_files(rlim_t bytes)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

// No file grows beyond what the log's has.
static void
fill_disk(void)
{
    struct stat now_is;
    (void)signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(stat(folder_path(&folder, "log/data.mdb"), &now_is), 0);
    limit_files((rlim_t)now_is.st_size);
}

static uint64_t
full_wait(uint64_t more_than)
{
    for (;;) { // a round comes every 200 ms
        const uint64_t full = disk_stats(disk).full;
        if (full > more_than)
            return full;
        sched_yield();
    }
}

// The limit of a file's size stands for the disk's.
START_TEST(a_full_disk_is_waited_for_and_nothing_is_said_meanwhile)
{
    make(one);
    make(two);
    uint64_t last = 0;
    for (uint32_t i = 0; i < 16; i++, last += 16)
        append_and_wait(one, last + 1, 16, 60000);
    const uint32_t before = atomic_load(&note_count);
    ck_assert_uint_eq(disk_stats(disk).put_off_since_ns, 0);
    const uint64_t began_ns = os_clock_ns();
    fill_disk();
    append(two, 1, 64, 70000);
    append(two, 65, 64, 70000);
    const uint64_t full = full_wait(0);
    ck_assert_uint_eq(atomic_load(&note_count), before);
    ck_assert_uint_eq(disk_stats(disk).queued, 2);
    const uint64_t since_ns = disk_stats(disk).put_off_since_ns;
    ck_assert(since_ns >= began_ns && since_ns <= os_clock_ns());
    (void)full_wait(full);
    ck_assert_uint_eq(disk_stats(disk).put_off_since_ns, since_ns);
    check_read(two, 1, 200, (size_t)1 << 30, 128, 128); // as they will be
    limit_files(RLIM_INFINITY);
    notes_wait(before + 2);
    ck_assert_uint_eq(notes[before].number, 64);
    ck_assert_uint_eq(notes[before + 1].number, 128);
    ck_assert_uint_eq(disk_stats(disk).put_off_since_ns, 0);
    ck_assert_uint_eq(atomic_load(&fatals), 0);
    restart();
    check_read(two, 1, 200, (size_t)1 << 30, 128, 128);
}
END_TEST

START_TEST(on_a_full_disk_trims_go_first_and_make_room)
{
    make(one);
    make(two);
    uint64_t last = 0;
    for (uint32_t i = 0; i < 32; i++, last += 16)
        append_and_wait(one, last + 1, 16, 60000);
    const uint32_t before = atomic_load(&note_count);
    fill_disk();
    append(two, 1, 64, 70000);
    (void)full_wait(0);
    disk_trim(disk, one, &(struct disk_trim){.through = last}, notes_loop);
    notes_wait(before + 2);
    ck_assert_int_eq(notes[before].kind, DISK_TRIMMED);
    ck_assert_int_eq(notes[before + 1].kind, DISK_COPY_DONE);
    check_read(two, 1, 100, (size_t)1 << 30, 64, 64);
}
END_TEST

static Suite *
disk_suite(void)
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
    tcase_add_test(tcase, a_start_finds_a_copy_as_it_was_acknowledged);
    tcase_add_test(tcase, a_trimmed_log_keeps_its_operations_and_says_where_it_begins);
    tcase_add_test(tcase, a_dropped_copy_is_gone_with_what_is_on_its_way);
    tcase_add_test(tcase, a_snapshot_takes_the_place_of_the_log_in_two_steps);
    tcase_add_test(tcase, a_log_that_goes_on_forgets_what_was_prepared);
    tcase_add_test(tcase, a_damaged_copy_is_said_and_keeps_nobody_back);
    tcase_add_test(tcase, a_start_tells_which_copy_cannot_be_read);
    tcase_add_test(tcase, damaged_metadata_end_the_process_and_nothing_is_said_after);
    tcase_add_test(tcase, a_failed_disk_ends_the_process_once_and_nothing_is_said_after);
    tcase_add_test(tcase, no_memory_for_a_job_ends_the_process);
    tcase_add_test(tcase, a_full_disk_is_waited_for_and_nothing_is_said_meanwhile);
    tcase_add_test(tcase, on_a_full_disk_trims_go_first_and_make_room);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(disk_suite)
