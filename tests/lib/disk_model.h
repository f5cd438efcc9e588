// tests/lib/disk_model.h -- the simulated half of node/disk.h for copies: logs in memory, which outlive the host that writes them.
//
// Shape: shell, simulated. Included once in a program: it defines the seam's functions.
//
// What is written is there at once. While the disk is held nobody is told so: the notes come when it is let go.
#ifndef OMEN_TESTS_DISK_MODEL_H
#define OMEN_TESTS_DISK_MODEL_H
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/os_lock.h"
#include "node/disk.h"
#include "node/notes.h"
#include "tests/lib/hosted_model.h"

#define DISK_LOGS_MAX 16u
#define DISK_ENTRIES_MAX 32768u
#define DISK_HELD_MAX 4096u

struct disk_log {
    bool used;
    struct copies_env env;
    uint64_t promised, commit_seq, first_seq, last_seq, stamp_ms;
    struct replica_entry *entries; // [DISK_ENTRIES_MAX], by seq; with their bytes
    struct replica_term terms[REPLICA_TERMS_MAX];
    struct dedupe_op *ops; // [DISK_ENTRIES_MAX]
    uint32_t term_count, op_count;
};

struct disk {
    struct lock lock;
    struct disk_log logs[DISK_LOGS_MAX];
    bool held;
    struct disk_done *notes[DISK_HELD_MAX];
    struct loop *loops[DISK_HELD_MAX];
    uint32_t note_count;
    uint64_t rotten_seq; // an entry that fails its checksum; 0: none
    uint64_t trims, installs;
};

static inline struct disk_log *
disk_log_of(struct disk *disk, struct cluster_uuid copy)
{
    for (uint32_t i = 0; i < DISK_LOGS_MAX; i++)
        if (disk->logs[i].used && uuid_equal(disk->logs[i].env.uuid, copy))
            return &disk->logs[i];
    return NULL;
}

// Under the lock.
static inline void
disk_say(struct disk *disk, enum disk_done_kind kind, struct cluster_uuid copy, uint64_t number,
         struct loop *loop)
{
    struct disk_done *done = mem_alloc_zero(1, sizeof *done);
    ck_assert_ptr_nonnull(done);
    *done = (struct disk_done){.kind = kind, .copy = copy, .number = number};
    done->note.kind = NOTE_DISK;
    model_happened();
    if (!disk->held) {
        loop_post(loop, &done->note);
        return;
    }
    ck_assert_uint_lt(disk->note_count, DISK_HELD_MAX);
    disk->notes[disk->note_count] = done;
    disk->loops[disk->note_count++] = loop;
}

static inline void
disk_hold(struct disk *disk)
{
    lock_acquire(&disk->lock);
    disk->held = true;
    lock_release(&disk->lock);
}

static inline void
disk_let_go(struct disk *disk)
{
    lock_acquire(&disk->lock);
    disk->held = false;
    for (uint32_t i = 0; i < disk->note_count; i++)
        loop_post(disk->loops[i], &disk->notes[i]->note);
    disk->note_count = 0;
    lock_release(&disk->lock);
}

static inline uint32_t
disk_notes_held(struct disk *disk)
{
    lock_acquire(&disk->lock);
    const uint32_t count = disk->note_count;
    lock_release(&disk->lock);
    return count;
}

static inline void
disk_model_init(struct disk *disk)
{
    memset(disk, 0, sizeof *disk);
    lock_init(&disk->lock);
}

static inline void
disk_log_empty(struct disk_log *log)
{
    for (uint64_t seq = 0; log->entries != NULL && seq < DISK_ENTRIES_MAX; seq++) {
        free((void *)(uintptr_t)log->entries[seq].bytes);
        log->entries[seq].bytes = NULL;
    }
}

static inline void
disk_log_end(struct disk_log *log)
{
    disk_log_empty(log);
    free(log->entries);
    free(log->ops);
    memset(log, 0, sizeof *log);
}

static inline void
disk_model_fini(struct disk *disk)
{
    for (uint32_t i = 0; i < DISK_LOGS_MAX; i++)
        disk_log_end(&disk->logs[i]);
    for (uint32_t i = 0; i < disk->note_count; i++)
        mem_free(disk->notes[i]);
    lock_fini(&disk->lock);
}

// The disk of a node: what it has stays while the node is down.
static inline void
disk_place_start(struct disk **disk, const char *folder)
{
    (void)folder;
    if (*disk != NULL)
        return;
    *disk = malloc(sizeof **disk);
    ck_assert_ptr_nonnull(*disk);
    disk_model_init(*disk);
}

static inline void
disk_place_stop(struct disk **disk)
{
    disk_let_go(*disk); // into nothing
}

static inline void
disk_place_end(struct disk **disk)
{
    disk_model_fini(*disk);
    free(*disk);
}

// ---- what a start finds ----

static inline struct replica_disk
disk_log_read(const struct disk_log *log)
{
    return (struct replica_disk){.promised = log->promised,
                                 .first_seq = log->first_seq,
                                 .last_seq = log->last_seq,
                                 .commit_seq = log->commit_seq < log->last_seq ? log->commit_seq
                                                                               : log->last_seq,
                                 .stamp_ms = log->stamp_ms,
                                 .terms = log->terms,
                                 .term_count = log->term_count,
                                 .ops = log->ops,
                                 .op_count = log->op_count};
}

omen_status
disk_start_copies(struct disk *disk, void (*fn)(void *context, const struct disk_copy *copy),
                  void *context, struct omen_error *error)
{
    (void)error;
    for (uint32_t i = 0; i < DISK_LOGS_MAX; i++) {
        const struct disk_log *log = &disk->logs[i];
        struct disk_copy found = {.durable = {.env = log->env, .disk = disk_log_read(log)}};
        if (log->used)
            fn(context, &found);
    }
    return OMEN_OK;
}

// ---- what is written ----

void
disk_make(struct disk *disk, const struct copies_env *env, struct loop *loop)
{
    lock_acquire(&disk->lock);
    struct disk_log *log = &disk->logs[0];
    while (log->used)
        log++;
    ck_assert(log < disk->logs + DISK_LOGS_MAX);
    *log = (struct disk_log){.used = true, .env = *env, .first_seq = 1};
    log->entries = calloc(DISK_ENTRIES_MAX, sizeof *log->entries);
    log->ops = calloc(DISK_ENTRIES_MAX, sizeof *log->ops);
    ck_assert(log->entries != NULL && log->ops != NULL);
    disk_say(disk, DISK_MADE, env->uuid, 0, loop);
    lock_release(&disk->lock);
}

void
disk_drop(struct disk *disk, struct cluster_uuid copy, struct loop *loop)
{
    lock_acquire(&disk->lock);
    struct disk_log *log = disk_log_of(disk, copy);
    if (log != NULL)
        disk_log_end(log);
    disk_say(disk, DISK_DROPPED, copy, 0, loop);
    lock_release(&disk->lock);
}

static inline void
disk_log_append(struct disk_log *log, const struct replica_entry *entry)
{
    ck_assert_uint_eq(entry->seq, log->last_seq + 1);
    ck_assert_uint_lt(entry->seq, DISK_ENTRIES_MAX);
    uint8_t *bytes = malloc(entry->byte_count + 1);
    ck_assert_ptr_nonnull(bytes);
    if (entry->byte_count > 0)
        memcpy(bytes, entry->bytes, entry->byte_count);
    free((void *)(uintptr_t)log->entries[entry->seq].bytes);
    log->entries[entry->seq] = *entry;
    log->entries[entry->seq].bytes = bytes;
    log->last_seq = entry->seq;
    log->stamp_ms = entry->stamp_ms;
    if (log->term_count == 0 || log->terms[log->term_count - 1].term != entry->term)
        log->terms[log->term_count++] = (struct replica_term){entry->term, entry->seq};
    if (!replica_uuid_is_none(entry->op_id))
        log->ops[log->op_count++] = (struct dedupe_op){entry->op_id, entry->seq, entry->stamp_ms};
}

static inline void
disk_log_cut(struct disk_log *log, uint64_t seq)
{
    log->last_seq = seq;
    while (log->term_count > 0 && log->terms[log->term_count - 1].first_seq > seq)
        log->term_count--;
    while (log->op_count > 0 && log->ops[log->op_count - 1].seq > seq)
        log->op_count--;
}

void
disk_write_copy(struct disk *disk, struct cluster_uuid copy, const struct replica_output *out,
                struct loop *loop)
{
    lock_acquire(&disk->lock);
    struct disk_log *log = disk_log_of(disk, copy);
    if (log != NULL && out->ticket != 0) {
        log->promised = out->promised;
        log->commit_seq = out->commit_seq;
        if (out->truncate)
            disk_log_cut(log, out->truncate_seq);
        for (uint32_t i = 0; i < out->append_count; i++)
            disk_log_append(log, &out->append[i]);
        disk_say(disk, DISK_COPY_DONE, copy, out->ticket, loop);
    }
    lock_release(&disk->lock);
}

void
disk_trim(struct disk *disk, struct cluster_uuid copy, const struct disk_trim *trim,
          struct loop *loop)
{
    lock_acquire(&disk->lock);
    struct disk_log *log = disk_log_of(disk, copy);
    if (log != NULL) {
        log->first_seq = trim->through + 1;
        disk->trims++;
        disk_say(disk, DISK_TRIMMED, copy, log->first_seq, loop);
    }
    lock_release(&disk->lock);
}

void
disk_install(struct disk *disk, struct cluster_uuid copy, const struct replica_disk *now,
             struct loop *loop)
{
    lock_acquire(&disk->lock);
    struct disk_log *log = disk_log_of(disk, copy);
    if (log != NULL) {
        disk_log_empty(log);
        log->first_seq = now->applied_seq + 1;
        log->last_seq = log->commit_seq = now->applied_seq;
        log->stamp_ms = now->stamp_ms;
        log->term_count = now->term_count;
        log->op_count = now->op_count;
        memcpy(log->terms, now->terms, now->term_count * sizeof *now->terms);
        memcpy(log->ops, now->ops, now->op_count * sizeof *now->ops);
        disk->installs++;
        disk_say(disk, DISK_INSTALLED, copy, 0, loop);
    }
    lock_release(&disk->lock);
}

// ---- reading ----

// Under the lock. The block has the entries and, behind them, their bytes.
static inline void
disk_log_copy(const struct disk_log *log, uint64_t first_seq, struct disk_entries *out,
              size_t bytes)
{
    uint8_t *memory = malloc(out->count * sizeof *out->entries + bytes + 1);
    ck_assert_ptr_nonnull(memory);
    out->entries = (struct replica_entry *)(void *)memory;
    out->memory = memory;
    memory += out->count * sizeof *out->entries;
    for (uint32_t i = 0; i < out->count; i++) {
        out->entries[i] = log->entries[first_seq + i];
        if (out->entries[i].byte_count > 0)
            memcpy(memory, out->entries[i].bytes, out->entries[i].byte_count);
        out->entries[i].bytes = memory;
        memory += out->entries[i].byte_count;
    }
}

omen_status
disk_read(struct disk *disk, struct cluster_uuid copy, uint64_t first_seq, uint32_t count,
          size_t bytes_max, struct disk_entries *out, struct omen_error *error)
{
    (void)error;
    *out = (struct disk_entries){0};
    lock_acquire(&disk->lock);
    const struct disk_log *log = disk_log_of(disk, copy);
    omen_status status = log == NULL || first_seq < log->first_seq ? OMEN_E_NOT_FOUND : OMEN_OK;
    size_t bytes = 0;
    while (status == OMEN_OK && out->count < count && first_seq + out->count <= log->last_seq) {
        const struct replica_entry *entry = &log->entries[first_seq + out->count];
        if (entry->seq == disk->rotten_seq)
            status = OMEN_E_CORRUPT;
        if (out->count > 0 && bytes + entry->byte_count > bytes_max)
            break;
        bytes += entry->byte_count;
        out->count++;
    }
    if (status == OMEN_OK && out->count > 0)
        disk_log_copy(log, first_seq, out, bytes);
    else
        out->count = 0;
    lock_release(&disk->lock);
    return status;
}

void
disk_entries_fini(struct disk_entries *entries)
{
    free(entries->memory);
    *entries = (struct disk_entries){0};
}

#endif
