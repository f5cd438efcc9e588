// tests/lib/disk_alone.h -- a node's disk by itself: what is given to it, and what it says of it.
//
// Shape: shell.
#ifndef OMEN_TESTS_DISK_ALONE_H
#define OMEN_TESTS_DISK_ALONE_H
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

static inline void
setup(void)
{
    folder_init(&folder);
    notes_open();
    disk = notes_disk(folder_path(&folder, "log"));
}

static inline void
teardown(void)
{
    loop_stop(notes_loop);
    disk_close(disk);
    loop_close(notes_loop);
    folder_fini(&folder);
}

static inline void
restart(void)
{
    disk_close(disk);
    disk = notes_disk(folder_path(&folder, "log"));
}

static inline void
ok(omen_status status)
{
    ck_assert_msg(status == OMEN_OK, "%d: %s", status, error.text);
}

static inline void
found(const struct raft_group *group)
{
    const struct disk_identity identity = {.cluster = {1, 2}, .node = {3, 4}, .member = 7};
    ok(disk_found(disk, &identity, group, &error));
}

static inline void
make(struct cluster_uuid copy)
{
    const uint32_t before = atomic_load(&note_count);
    disk_make(disk, &(struct copies_env){.uuid = copy, .shard = 9, .position = 33}, notes_loop);
    notes_wait(before + 1);
    ck_assert_int_eq(notes[before].kind, DISK_MADE);
}

static inline uint8_t
byte_of(uint64_t seq, uint32_t i)
{
    return (uint8_t)(seq * 31 + i * 7);
}

// Entries first..first + count - 1 of a term; whose operations are their seqs.
static inline void
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

static inline void
append(struct cluster_uuid copy, uint64_t first, uint32_t count, uint32_t bytes)
{
    append_term(copy, 3, first, count, bytes);
}

static inline void
append_and_wait(struct cluster_uuid copy, uint64_t first, uint32_t count, uint32_t bytes)
{
    const uint32_t before = atomic_load(&note_count);
    append(copy, first, count, bytes);
    notes_wait(before + 1);
    ck_assert_int_eq(notes[before].kind, DISK_COPY_DONE);
    ck_assert_uint_eq(notes[before].copy.low, copy.low);
    ck_assert_uint_eq(notes[before].number, first + count - 1);
}

static inline void
cut_to(struct cluster_uuid copy, uint64_t above)
{
    static struct replica_output out;
    out = (struct replica_output){
        .ticket = 1, .promised = 4, .truncate = true, .truncate_seq = above};
    disk_write_copy(disk, copy, &out, notes_loop);
}

// `count` entries from `first` on, of which those above `old` are of term 4.
static inline void
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
static inline struct kv_txn *
hold(void)
{
    struct kv_txn *txn;
    ok(kv_begin_write(disk->kv, &txn, &error));
    return txn;
}

static inline void
write_commit(uint64_t commit)
{
    static struct turn_output out;
    out = (struct turn_output){.raft_stepped = true};
    out.raft.hard_state_changed = true;
    out.raft.hard_state = (struct raft_hard_state){.term = 2, .vote = 7, .commit = commit};
    disk_write_meta(disk, &out, notes_loop);
}

static inline void
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

#endif
