// node/disk_jobs.c -- what machines want durable, copied into jobs.
//
// Shape: shell.
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "node/disk_int.h"
#include "node/notes.h"

static omen_status add_raft(struct disk_job *job, const struct turn_output *out);
static omen_status add_entries(struct disk_job *job, const struct replica_output *out);
static omen_status keep(struct disk_job *job, const void *bytes, size_t count);

void
disk_job_release(struct disk_job *job)
{
    if (job == NULL || atomic_fetch_sub(&job->holders, 1) > 1)
        return;
    logs_group_fini(&job->group);
    mem_free(job->done);
    mem_free(job->memory);
    mem_free(job);
}

// NULL without memory. Where a loop is given, a note is made as well.
static struct disk_job *
make(enum disk_job_kind kind, struct logs_name name, struct loop *loop, enum disk_done_kind says)
{
    struct disk_job *job = mem_alloc_zero(1, sizeof *job);
    if (job == NULL)
        return NULL;
    atomic_init(&job->holders, 1);
    job->kind = kind;
    job->name = name;
    job->bytes = LOGS_JOB_BYTES;
    job->loop = loop;
    if (loop == NULL)
        return job;
    job->done = mem_alloc_zero(1, sizeof *job->done);
    if (job->done == NULL) {
        disk_job_release(job);
        return NULL;
    }
    job->done->note.kind = NOTE_DISK;
    job->done->kind = says;
    job->done->copy = disk_uuid(name);
    return job;
}

// What was promised to be handed over cannot be left out.
static void
push(struct disk *disk, struct disk_job *job, omen_status status)
{
    if (job != NULL && status == OMEN_OK) {
        disk_push(disk, job);
        return;
    }
    disk_job_release(job);
    disk_die(disk, status == OMEN_E_INVALID ? "an entry is larger than a log takes"
                                            : "no memory for what is to be made durable");
}

// ---- raft's ----

void
disk_write_meta(struct disk *disk, const struct turn_output *out, struct loop *loop)
{
    const struct raft_output *raft = &out->raft;
    const bool more = raft->sync || raft->compact_through != 0 || out->checkpoint.count > 0;
    if (!out->raft_stepped || (!more && !raft->hard_state_changed))
        return;
    struct disk_job *job =
        make(DISK_JOB_META, disk_meta_name, raft->sync ? loop : NULL, DISK_META_DONE);
    omen_status status = OMEN_E_NO_MEMORY;
    if (job != NULL) {
        job->lazy = !more;
        job->hard_state = raft->hard_state;
        job->cut = raft->truncate_from != 0;
        job->above = job->cut ? raft->truncate_from - 1 : 0;
        job->compact_through = raft->compact_through;
        if (job->done != NULL)
            job->done->number = raft->persist_number;
        status = add_raft(job, out);
    }
    push(disk, job, status);
}

static omen_status
add_raft(struct disk_job *job, const struct turn_output *out)
{
    const struct raft_output *raft = &out->raft;
    if (raft->install) { // the last chunk says behind what the log begins
        ASSERT(raft->chunk != NULL && out->checkpoint.count > 0);
        job->install = true;
        job->base_position = raft->chunk->position;
        job->base_term = raft->chunk->log_term;
    }
    omen_status status = OMEN_OK;
    for (uint32_t i = 0; i < raft->append.count && status == OMEN_OK; i++) {
        const struct raft_entry *entry = &raft->append.entries[i];
        status = logs_group_add(&job->group, &(struct logs_entry){.seq = entry->position,
                                                                  .term = entry->term,
                                                                  .kind = (uint16_t)entry->kind,
                                                                  .count = entry->byte_count,
                                                                  .bytes = entry->bytes});
    }
    job->bytes = 4 * LOGS_JOB_BYTES + logs_bytes(logs_group_bytes(&job->group));
    if (status != OMEN_OK || out->checkpoint.count == 0)
        return status;
    job->checkpoint = true;
    job->head.position = out->checkpoint.position;
    disk_group_write(out->checkpoint.group, &job->head);
    job->bytes += logs_bytes(sizeof job->head) + logs_bytes(out->checkpoint.count);
    return keep(job, out->checkpoint.bytes, out->checkpoint.count);
}

void
disk_peers(struct disk *disk, const struct gossip_address *peers, uint32_t count)
{
    ASSERT(count <= GOSSIP_PEERS_MAX);
    struct disk_job *job = make(DISK_JOB_PEERS, disk_meta_name, NULL, DISK_META_DONE);
    omen_status status = OMEN_E_NO_MEMORY;
    if (job != NULL) {
        status = keep(job, peers, count * sizeof *peers);
        job->bytes = logs_bytes(job->memory_bytes);
    }
    push(disk, job, status);
}

// ---- a copy's ----

void
disk_write_copy(struct disk *disk, struct cluster_uuid copy, const struct replica_output *out,
                struct loop *loop)
{
    if (out->ticket == 0)
        return;
    struct disk_job *job = make(DISK_JOB_COPY, disk_name(copy), loop, DISK_COPY_DONE);
    omen_status status = OMEN_E_NO_MEMORY;
    if (job != NULL) {
        job->done->number = out->ticket;
        job->note.promised = out->promised;
        job->note.commit_seq = out->commit_seq;
        job->cut = out->truncate;
        job->above = out->truncate_seq;
        status = add_entries(job, out);
    }
    push(disk, job, status);
}

static omen_status
add_entries(struct disk_job *job, const struct replica_output *out)
{
    omen_status status = OMEN_OK;
    for (uint32_t i = 0; i < out->append_count && status == OMEN_OK; i++) {
        const struct replica_entry *entry = &out->append[i];
        status = logs_group_add(&job->group,
                                &(struct logs_entry){.seq = entry->seq,
                                                     .term = entry->term,
                                                     .stamp_ms = entry->stamp_ms,
                                                     .kind = (uint16_t)entry->kind,
                                                     .op = {entry->op_id.high, entry->op_id.low},
                                                     .count = entry->byte_count,
                                                     .bytes = entry->bytes});
    }
    if (out->append_count > 0)
        job->bytes += logs_bytes(logs_group_bytes(&job->group));
    return status;
}

void
disk_make(struct disk *disk, const struct copies_env *env, struct loop *loop)
{
    struct disk_job *job = make(DISK_JOB_MAKE, disk_name(env->uuid), loop, DISK_MADE);
    if (job != NULL)
        job->note = (struct disk_note){.shard = env->shard, .position = env->position};
    push(disk, job, job != NULL ? OMEN_OK : OMEN_E_NO_MEMORY);
}

void
disk_drop(struct disk *disk, struct cluster_uuid copy, struct loop *loop)
{
    struct disk_job *job = make(DISK_JOB_DROP, disk_name(copy), loop, DISK_DROPPED);
    push(disk, job, job != NULL ? OMEN_OK : OMEN_E_NO_MEMORY);
}

void
disk_trim(struct disk *disk, struct cluster_uuid copy, const struct disk_trim *trim,
          struct loop *loop)
{
    struct disk_job *job = make(DISK_JOB_TRIM, disk_name(copy), loop, DISK_TRIMMED);
    if (job != NULL) {
        job->trim = *trim;
        job->bytes = LOGS_TRIM_BYTES;
    }
    push(disk, job, job != NULL ? OMEN_OK : OMEN_E_NO_MEMORY);
}

void
disk_install(struct disk *disk, struct cluster_uuid copy, const struct replica_disk *now,
             struct loop *loop)
{
    struct disk_job *job = make(DISK_JOB_INSTALL, disk_name(copy), loop, DISK_INSTALLED);
    omen_status status = OMEN_E_NO_MEMORY;
    if (job != NULL)
        status = keep(job, now->ops, now->op_count * sizeof *now->ops);
    if (status == OMEN_OK) {
        job->base = (struct logs_base){
            .seq = now->applied_seq,
            .term = now->term_count > 0 ? now->terms[now->term_count - 1].term : 0,
            .stamp_ms = now->stamp_ms,
            .ops = (const struct logs_op *)(const void *)job->memory,
            .op_count = now->op_count,
        };
        job->bytes = LOGS_JOB_BYTES + logs_bytes(job->memory_bytes);
        job->note.commit_seq = now->applied_seq;
    }
    push(disk, job, status);
}

static omen_status
keep(struct disk_job *job, const void *bytes, size_t count)
{
    job->memory = mem_alloc(count);
    if (job->memory == NULL)
        return OMEN_E_NO_MEMORY;
    if (count > 0)
        memcpy(job->memory, bytes, count);
    job->memory_bytes = count;
    return OMEN_OK;
}

// ---- in the transaction ----

static omen_status
do_meta(struct kv_txn *txn, struct disk_job *job, struct omen_error *error)
{
    const struct logs_change change = {.cut = job->cut,
                                       .above = job->above,
                                       .append = &job->group,
                                       .note = &job->hard_state,
                                       .note_bytes = sizeof job->hard_state};
    omen_status status = OMEN_OK;
    uint64_t first;
    if (job->install) {
        const struct logs_base base = {.seq = job->base_position, .term = job->base_term};
        status = logs_empty(txn, disk_meta_name, &base, error);
    }
    if (status == OMEN_OK)
        status = logs_write(txn, disk_meta_name, &change, error);
    if (status == OMEN_OK && job->checkpoint)
        status = logs_record_put(txn, DISK_CHECKPOINT, &job->head, sizeof job->head, error);
    if (status == OMEN_OK && job->checkpoint)
        status = logs_record_put(txn, DISK_MAP, job->memory, job->memory_bytes, error);
    if (status == OMEN_OK && job->compact_through != 0)
        status = logs_trim(txn, disk_meta_name,
                           &(struct logs_trim){.through = job->compact_through}, &first, error);
    return status;
}

static omen_status
do_copy(struct kv_txn *txn, struct disk_job *job, struct omen_error *error)
{
    const struct logs_change change = {.cut = job->cut,
                                       .above = job->above,
                                       .append = &job->group,
                                       .note = (const uint8_t *)&job->note +
                                               offsetof(struct disk_note, promised),
                                       .note_at = offsetof(struct disk_note, promised),
                                       .note_bytes = sizeof(uint64_t) * 2};
    return logs_write(txn, job->name, &change, error);
}

static omen_status
do_install(struct kv_txn *txn, struct disk_job *job, struct omen_error *error)
{
    const struct logs_change change = {.note = &job->note.commit_seq,
                                       .note_at = offsetof(struct disk_note, commit_seq),
                                       .note_bytes = sizeof(uint64_t)};
    const omen_status status = logs_empty(txn, job->name, &job->base, error);
    return status == OMEN_OK ? logs_write(txn, job->name, &change, error) : status;
}

omen_status
disk_job_do(struct kv_txn *txn, struct disk_job *job, struct omen_error *error)
{
    omen_status status = OMEN_OK;
    switch (job->kind) {
    case DISK_JOB_META:
        return do_meta(txn, job, error);
    case DISK_JOB_COPY:
        return do_copy(txn, job, error);
    case DISK_JOB_MAKE: // one that is there was made by the same word
        status = logs_make(txn, job->name, &job->note, sizeof job->note, error);
        return status == OMEN_E_EXISTS ? OMEN_OK : status;
    case DISK_JOB_DROP:
        status = logs_drop(txn, job->name, error);
        return status == OMEN_E_NOT_FOUND ? OMEN_OK : status;
    case DISK_JOB_TRIM: {
        const struct logs_trim trim = {job->trim.through, job->trim.window_ms, job->trim.ops_max};
        return logs_trim(txn, job->name, &trim, &job->done->number, error);
    }
    case DISK_JOB_INSTALL:
        return do_install(txn, job, error);
    case DISK_JOB_PEERS:
        return logs_record_put(txn, DISK_PEERS, job->memory, job->memory_bytes, error);
    }
    return status;
}
