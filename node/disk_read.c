// node/disk_read.c -- entries of a copy's log for whoever applies or sends them: what is durable, and what is on its way.
//
// Shape: shell.
//
// The queue comes first: what is there is newer than the store, and says with its cuts what of the store does not count any more. A
// job that is not in the queue any more is durable, so the store's transaction, which begins later, sees it. Everything
// is copied: no transaction outlives the call, since one that is held keeps the store from using its free pages.
#include <string.h>

#include "base/alloc.h"
#include "node/disk_int.h"

struct want {
    struct logs_name name;
    uint64_t seq;   // the next
    uint32_t count; // that are wanted still
    size_t bytes_max;
};

// What the queue says of an entry.
struct waiting {
    struct disk_job *job; // has it; held. NULL: the store has it, if anybody
    bool gone;            // nobody has
    uint64_t limit;       // what is behind it, is elsewhere
};

static struct waiting look(struct disk *disk, const struct want *want);
static omen_status from_job(const struct waiting *waiting, struct want *want,
                            struct disk_gather *gather, bool *full);
static omen_status from_store(struct disk *disk, uint64_t limit, struct want *want,
                              struct disk_gather *gather, bool *full, struct omen_error *error);
static omen_status hand_over(struct disk_gather *gather, struct disk_entries *out,
                             struct omen_error *error);

omen_status
disk_read(struct disk *disk, struct cluster_uuid copy, uint64_t first_seq, uint32_t count,
          size_t bytes_max, struct disk_entries *out, struct omen_error *error)
{
    struct want want = {disk_name(copy), first_seq, count, bytes_max};
    struct disk_gather gather = {0};
    omen_status status = OMEN_OK;
    bool full = false;
    *out = (struct disk_entries){0};
    while (status == OMEN_OK && want.count > 0 && !full) {
        const uint32_t before = gather.count;
        const struct waiting waiting = look(disk, &want);
        if (waiting.job != NULL)
            status = from_job(&waiting, &want, &gather, &full);
        else if (!waiting.gone)
            status = from_store(disk, waiting.limit, &want, &gather, &full, error);
        disk_job_release(waiting.job);
        if (gather.count == before)
            break;
    }
    // What lies behind entries that were found is asked for again, and said then.
    if (gather.count > 0 && status != OMEN_E_NO_MEMORY)
        status = OMEN_OK;
    if (status == OMEN_OK)
        status = hand_over(&gather, out, error);
    else if (status == OMEN_E_NO_MEMORY)
        (void)error_set_plain(error, status);
    disk_gather_fini(&gather);
    return status;
}

void
disk_entries_fini(struct disk_entries *entries)
{
    mem_free(entries->entries);
    mem_free(entries->memory);
    *entries = (struct disk_entries){0};
}

static struct waiting
look(struct disk *disk, const struct want *want)
{
    struct waiting waiting = {.limit = UINT64_MAX};
    lock_acquire(&disk->lock);
    for (struct disk_job *job = disk->first; job != NULL; job = job->next) {
        if (job->name.high != want->name.high || job->name.low != want->name.low)
            continue;
        const bool ends = job->kind == DISK_JOB_INSTALL || job->kind == DISK_JOB_DROP;
        if (ends || (job->cut && job->above < want->seq))
            waiting = (struct waiting){.gone = true};
        else if (job->cut && job->above < waiting.limit)
            waiting.limit = job->above;
        if (job->group.entries == 0)
            continue;
        const uint64_t first = job->group.first_seq, last = first + job->group.entries - 1;
        if (first <= want->seq && want->seq <= last)
            waiting = (struct waiting){.job = job, .limit = last};
        else if (first > want->seq && first - 1 < waiting.limit)
            waiting.limit = first - 1;
    }
    if (waiting.job != NULL)
        atomic_fetch_add(&waiting.job->holders, 1);
    lock_release(&disk->lock);
    return waiting;
}

// False: no more fits, and it is not the first one.
static bool
takes(const struct want *want, const struct disk_gather *gather, uint32_t bytes)
{
    return gather->count == 0 || gather->used + bytes <= want->bytes_max;
}

static omen_status
from_job(const struct waiting *waiting, struct want *want, struct disk_gather *gather, bool *full)
{
    struct logs_place place = {0};
    struct logs_entry entry;
    while (want->count > 0 && want->seq <= waiting->limit &&
           logs_group_next(&waiting->job->group, &place, &entry)) {
        if (entry.seq < want->seq)
            continue;
        if (!takes(want, gather, entry.count)) {
            *full = true;
            return OMEN_OK;
        }
        const omen_status status = disk_gather_add(gather, &entry);
        if (status != OMEN_OK)
            return status;
        want->seq++;
        want->count--;
    }
    return OMEN_OK;
}

static omen_status
from_store(struct disk *disk, uint64_t limit, struct want *want, struct disk_gather *gather,
           bool *full, struct omen_error *error)
{
    struct kv_txn *txn;
    struct logs_reader *reader;
    struct logs_entry entry;
    omen_status status = kv_begin_read(disk->kv, &txn, error);
    if (status != OMEN_OK)
        return status;
    status = logs_reader_open(txn, want->name, want->seq, LOGS_WHOLE, &reader, error);
    const bool opened = status == OMEN_OK;
    while (status == OMEN_OK && want->count > 0 && want->seq <= limit) {
        status = logs_reader_next(reader, &entry, error);
        if (status != OMEN_OK)
            break;
        *full = !takes(want, gather, entry.count);
        if (*full)
            break;
        status = disk_gather_add(gather, &entry);
        want->seq++;
        want->count--;
    }
    logs_reader_close(reader);
    kv_abort(txn);
    return opened && status == OMEN_E_NOT_FOUND ? OMEN_OK : status; // its end
}

static omen_status
hand_over(struct disk_gather *gather, struct disk_entries *out, struct omen_error *error)
{
    if (gather->count == 0)
        return OMEN_OK;
    out->entries = mem_alloc_zero(gather->count, sizeof *out->entries);
    if (out->entries == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    size_t at = 0;
    for (uint32_t i = 0; i < gather->count; i++) {
        const struct logs_entry *from = &gather->entries[i];
        out->entries[i] =
            (struct replica_entry){.seq = from->seq,
                                   .term = from->term,
                                   .stamp_ms = from->stamp_ms,
                                   .kind = (enum replica_entry_kind)from->kind,
                                   .byte_count = from->count,
                                   .op_id = {from->op.high, from->op.low},
                                   .bytes = from->count > 0 ? gather->bytes + at : NULL};
        at += from->count;
    }
    out->count = gather->count;
    out->memory = gather->bytes;
    gather->bytes = NULL;
    return OMEN_OK;
}
