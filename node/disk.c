// node/disk.c -- the queue of jobs, and the thread that does all that waits in one commit.
//
// Shape: shell.
//
//      push --> queue --take--> the commit under way --done--> notes to the loops
//                 ^                    |
//                 +---- full disk -----+      (tried again; what only erases goes first)
//
// A job stays in the queue until it is durable, so that disk_read finds what is on its way. A lazy job (raft's commit alone) waits for
// another one.
#include "node/disk.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/os_clock.h"
#include "node/disk_int.h"

#define RETRY_MS 200u
#define CLEAN_PARTS 256u
// A commit that erases wants pages for itself, the more the more it erases.
#define CLEAN_PARTS_FULL 4u

static omen_status begin_life(struct disk *disk, struct omen_error *error);
static uint32_t look(void *context);
static bool work(struct disk *disk);
static bool is_erasing(const struct disk *disk, const struct disk_job *job);
static struct disk_job *take(struct disk *disk, bool only_erasing);
static void put_back(struct disk *disk, struct disk_job *taken);
static void finish(struct disk *disk, struct disk_job *taken);
static omen_status commit(struct disk *disk, struct disk_job *taken, struct omen_error *error);
static bool clean_alone(struct disk *disk);
static void put_off_no_more(struct disk *disk);
static bool failed(struct disk *disk, omen_status status, const struct omen_error *error);

omen_status
disk_open(const struct disk_config *config, struct disk **out, struct omen_error *error)
{
    *out = NULL;
    struct disk *disk = mem_alloc_zero(1, sizeof *disk);
    if (disk == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    disk->config = *config;
    disk->clean_due = true; // of the life before
    lock_init(&disk->lock);
    omen_status status = logs_open(config->path, &disk->kv, error);
    if (status == OMEN_OK)
        status = begin_life(disk, error);
    if (status == OMEN_OK && timer_open(look, disk, &disk->timer) != OMEN_OK)
        status = error_set_plain(error, OMEN_E_NO_MEMORY);
    if (status != OMEN_OK) {
        kv_close(disk->kv);
        lock_fini(&disk->lock);
        mem_free(disk);
        return status;
    }
    *out = disk;
    return OMEN_OK;
}

// The boot counts up, before anybody can have heard of it.
static omen_status
begin_life(struct disk *disk, struct omen_error *error)
{
    struct kv_txn *txn;
    uint8_t *bytes;
    size_t count;
    omen_status status = kv_begin_write(disk->kv, &txn, error);
    if (status != OMEN_OK)
        return status;
    status = logs_record_get(txn, DISK_IDENTITY, &bytes, &count, error);
    if (status == OMEN_OK && count == sizeof disk->identity)
        memcpy(&disk->identity, bytes, sizeof disk->identity);
    else if (status == OMEN_OK)
        status = error_set(error, OMEN_E_CORRUPT, "the node's identity is cut off");
    mem_free(bytes);
    if (status == OMEN_OK || status == OMEN_E_NOT_FOUND) {
        disk->identity.boot++;
        status = logs_record_put(txn, DISK_IDENTITY, &disk->identity, sizeof disk->identity, error);
    }
    if (status == OMEN_OK)
        return kv_commit(txn, error);
    kv_abort(txn);
    return status;
}

// What the disk does not take any more was never acknowledged.
void
disk_close(struct disk *disk)
{
    if (disk == NULL)
        return;
    timer_close(disk->timer);
    disk->again_ns = 0;
    if (disk->last != NULL)
        disk->last->lazy = false; // it goes without waiting for others
    while (work(disk))
        ;
    while (disk->first != NULL) {
        struct disk_job *job = disk->first;
        disk->first = job->next;
        disk_job_release(job);
    }
    disk_started(disk);
    kv_close(disk->kv);
    lock_fini(&disk->lock);
    mem_free(disk);
}

struct disk_identity
disk_identity(const struct disk *disk)
{
    return disk->identity;
}

omen_status
disk_found(struct disk *disk, const struct disk_identity *identity, const struct raft_group *group,
           struct omen_error *error)
{
    const bool founds = group != NULL && group->count > 0;
    const struct raft_group nobody = {.count = 0};
    struct disk_checkpoint head = {.position = founds ? 1 : 0};
    const struct raft_hard_state hard_state = {.commit = founds ? 1 : 0};
    const struct logs_base base = {.seq = founds ? 1 : 0}; // as behind a snapshot
    struct disk_identity named = *identity;
    struct kv_txn *txn;
    ASSERT(!uuid_is_none(identity->cluster) && !uuid_is_none(identity->node));
    if (!uuid_is_none(disk->identity.cluster))
        return error_set(error, OMEN_E_EXISTS, "this folder is a node's already");
    disk_group_write(founds ? group : &nobody, &head);
    named.boot = disk->identity.boot;
    omen_status status = kv_begin_write(disk->kv, &txn, error);
    if (status != OMEN_OK)
        return status;
    status = logs_record_put(txn, DISK_IDENTITY, &named, sizeof named, error);
    if (status == OMEN_OK)
        status = logs_record_put(txn, DISK_CHECKPOINT, &head, sizeof head, error);
    if (status == OMEN_OK)
        status = logs_make(txn, disk_meta_name, &hard_state, sizeof hard_state, error);
    if (status == OMEN_OK)
        status = logs_empty(txn, disk_meta_name, &base, error);
    if (status != OMEN_OK) {
        kv_abort(txn);
        return status;
    }
    status = kv_commit(txn, error);
    if (status == OMEN_OK)
        disk->identity = named;
    return status;
}

struct disk_stats
disk_stats(struct disk *disk)
{
    lock_acquire(&disk->lock);
    const struct disk_stats stats = disk->stats;
    lock_release(&disk->lock);
    return stats;
}

void
disk_die(struct disk *disk, const char *sentence)
{
    lock_acquire(&disk->lock);
    const bool first = !disk->dead;
    disk->dead = true;
    lock_release(&disk->lock);
    if (first)
        disk->config.fatal(disk->config.context, sentence);
}

// ---- the queue ----

void
disk_push(struct disk *disk, struct disk_job *job)
{
    lock_acquire(&disk->lock);
    const bool dead = disk->dead;
    struct disk_job *last = disk->last;
    const bool joins = job->lazy && last != NULL && last->lazy && !last->taken;
    if (!dead && joins) {
        last->hard_state = job->hard_state;
    } else if (!dead) {
        if (last == NULL)
            disk->first = job;
        else
            last->next = job;
        disk->last = job;
        disk->stats.queued++;
        disk->stats.queued_bytes += job->bytes;
    }
    const bool wakes = !dead && !job->lazy; // afterwards it may be gone
    lock_release(&disk->lock);
    if (dead || joins)
        disk_job_release(job);
    if (wakes)
        timer_wake(disk->timer);
}

// Whether it frees space and may go before what was asked for earlier: entries on their way for the same log are no matter to it.
static bool
is_erasing(const struct disk *disk, const struct disk_job *job)
{
    if (job->kind != DISK_JOB_TRIM && job->kind != DISK_JOB_DROP)
        return false;
    for (const struct disk_job *before = disk->first; before != job; before = before->next)
        if (before->name.high == job->name.high && before->name.low == job->name.low &&
            before->kind != DISK_JOB_COPY && before->kind != DISK_JOB_TRIM)
            return false;
    return true;
}

// NULL: nothing is due. In the order of the queue, by next_taken.
static struct disk_job *
take(struct disk *disk, bool only_erasing)
{
    struct disk_job *taken = NULL, **end = &taken;
    uint64_t bytes = 0;
    bool due = false;
    lock_acquire(&disk->lock);
    for (struct disk_job *job = disk->dead ? NULL : disk->first; job != NULL; job = job->next) {
        if (only_erasing && !is_erasing(disk, job))
            continue;
        if (due && bytes + job->bytes > DISK_GROUP_BYTES)
            break;
        job->taken = true;
        job->next_taken = NULL;
        *end = job;
        end = &job->next_taken;
        bytes += job->bytes;
        due |= !job->lazy;
    }
    lock_release(&disk->lock);
    if (due || taken == NULL)
        return taken;
    put_back(disk, taken);
    return NULL;
}

static void
put_back(struct disk *disk, struct disk_job *taken)
{
    lock_acquire(&disk->lock);
    for (struct disk_job *job = taken; job != NULL; job = job->next_taken)
        job->taken = false;
    lock_release(&disk->lock);
}

// They are durable.
static void
finish(struct disk *disk, struct disk_job *taken)
{
    uint64_t jobs = 0;
    lock_acquire(&disk->lock);
    struct disk_job **link = &disk->first, *last = NULL;
    for (struct disk_job *job = disk->first; job != NULL; job = *link) {
        if (!job->taken) {
            last = job;
            link = &job->next;
            continue;
        }
        *link = job->next;
        jobs++;
        disk->stats.queued--;
        disk->stats.queued_bytes -= job->bytes;
        disk->stats.bytes += job->bytes;
        disk->stats.damaged += job->fate == DISK_JOB_REFUSED ? 1 : 0;
    }
    disk->last = last;
    disk->stats.commits++;
    disk->stats.jobs += jobs;
    if (jobs > disk->stats.jobs_max)
        disk->stats.jobs_max = jobs;
    lock_release(&disk->lock);
    while (taken != NULL) {
        struct disk_job *job = taken;
        taken = job->next_taken;
        if (job->done != NULL && job->fate != DISK_JOB_GONE) {
            if (job->fate == DISK_JOB_REFUSED)
                job->done->kind = DISK_DAMAGED;
            loop_post(job->loop, &job->done->note);
            job->done = NULL;
        }
        disk_job_release(job);
    }
}

// ---- the thread ----

static uint32_t
look(void *context)
{
    struct disk *disk = context;
    if (work(disk))
        return 0;
    return disk->put_off ? RETRY_MS : TIMER_RESTS;
}

// Where there is no room: first what erases, then erasing what was forgotten, then all of it, now and then. True: there may be more.
static bool
work(struct disk *disk)
{
    struct omen_error error = {.text = ""};
    const bool waits = disk->put_off && os_clock_ns() < disk->again_ns;
    struct disk_job *taken = disk->put_off ? take(disk, true) : NULL;
    if (taken == NULL && !waits && !(disk->put_off && disk->clean_due))
        taken = take(disk, false);
    if (taken == NULL)
        return clean_alone(disk);
    const uint64_t begun_ns = os_clock_ns();
    const omen_status status = commit(disk, taken, &error);
    if (status == OMEN_OK) {
        if (disk->config.commit_times != NULL)
            metric_time(disk->config.commit_times, os_clock_ns() - begun_ns);
        if (disk->put_off) {
            disk->clean_due = true; // it may have been given up
            disk->put_off = false;
            put_off_no_more(disk);
        }
        finish(disk, taken);
        return true;
    }
    put_back(disk, taken);
    return failed(disk, status, &error);
}

static void
put_off_no_more(struct disk *disk)
{
    lock_acquire(&disk->lock);
    disk->stats.put_off_since_ns = 0;
    lock_release(&disk->lock);
}

// What is not to be repaired by waiting ends the process.
static bool
failed(struct disk *disk, omen_status status, const struct omen_error *error)
{
    if (status != OMEN_E_DISK_FULL && status != OMEN_E_NO_MEMORY) {
        disk_die(disk, error->text);
        return false;
    }
    // What erases is tried alone, at once; all of it later.
    const bool again = !disk->put_off;
    lock_acquire(&disk->lock); // once, so that who sees it counted sees since when
    disk->stats.full += status == OMEN_E_DISK_FULL ? 1 : 0;
    disk->stats.no_memory += status == OMEN_E_NO_MEMORY ? 1 : 0;
    if (again)
        disk->stats.put_off_since_ns = os_clock_ns();
    lock_release(&disk->lock);
    disk->put_off = true;
    disk->again_ns = os_clock_ns() + RETRY_MS * UINT64_C(500000);
    return again;
}

static omen_status
clean(struct disk *disk, struct kv_txn *txn, struct omen_error *error)
{
    bool done = true;
    const uint32_t parts = disk->put_off ? CLEAN_PARTS_FULL : CLEAN_PARTS;
    const omen_status status = logs_clean(txn, &disk->clean_at, parts, &done, error);
    if (status == OMEN_OK && done) {
        disk->clean_at = 0;
        disk->clean_due = false;
    }
    return status;
}

// One job that cannot be done must not keep back the others: then all is done again, without it. OMEN_E_BUSY: do it again.
static omen_status
do_all(struct disk *disk, struct kv_txn *txn, struct disk_job *taken, struct omen_error *error)
{
    for (struct disk_job *job = taken; job != NULL; job = job->next_taken) {
        if (job->fate == DISK_JOB_REFUSED)
            continue;
        const omen_status status = disk_job_do(txn, job, error);
        job->fate = status == OMEN_E_NOT_FOUND ? DISK_JOB_GONE : DISK_JOB_WRITTEN;
        if (status == OMEN_OK || (status == OMEN_E_NOT_FOUND && job->kind != DISK_JOB_META))
            continue;
        const bool own = status == OMEN_E_CORRUPT || status == OMEN_E_VERSION ||
                         status == OMEN_E_INVALID || status == OMEN_E_FULL;
        if (!own || job->kind == DISK_JOB_META || job->kind == DISK_JOB_PEERS)
            return status == OMEN_E_BUSY ? OMEN_E_INTERNAL : status;
        job->fate = DISK_JOB_REFUSED;
        return OMEN_E_BUSY;
    }
    if (disk->clean_due)
        return clean(disk, txn, error);
    return OMEN_OK;
}

static bool
leaves_garbage(const struct disk_job *job)
{
    return job->kind == DISK_JOB_TRIM || job->kind == DISK_JOB_DROP ||
           job->kind == DISK_JOB_INSTALL || job->install || job->compact_through != 0;
}

static omen_status
commit(struct disk *disk, struct disk_job *taken, struct omen_error *error)
{
    uint64_t bytes = LOGS_CLEAN_BYTES;
    omen_status status;
    for (struct disk_job *job = taken; job != NULL; job = job->next_taken) {
        bytes += job->bytes;
        job->fate = DISK_JOB_WRITTEN;
        if (leaves_garbage(job)) {
            disk->clean_due = true;
            disk->clean_at = 0;
        }
    }
    const bool due = disk->clean_due;
    const uint32_t at = disk->clean_at;
    do {
        struct kv_txn *txn;
        disk->clean_due = due;
        disk->clean_at = at;
        status = kv_begin_write_large(disk->kv, bytes, &txn, error);
        if (status != OMEN_OK)
            return status;
        status = do_all(disk, txn, taken, error);
        if (status == OMEN_OK)
            status = kv_commit(txn, error);
        else
            kv_abort(txn);
    } while (status == OMEN_E_BUSY);
    if (status != OMEN_OK) { // what was not committed is still there
        disk->clean_due = due;
        disk->clean_at = at;
    }
    return status;
}

// While nothing else is to be done.
static bool
clean_alone(struct disk *disk)
{
    struct omen_error error = {.text = ""};
    struct kv_txn *txn;
    lock_acquire(&disk->lock);
    const bool dead = disk->dead;
    lock_release(&disk->lock);
    if (!disk->clean_due || dead)
        return false;
    const uint32_t at = disk->clean_at;
    omen_status status = kv_begin_write_large(disk->kv, LOGS_CLEAN_BYTES, &txn, &error);
    if (status == OMEN_OK) {
        status = clean(disk, txn, &error);
        if (status == OMEN_OK)
            status = kv_commit(txn, &error);
        else
            kv_abort(txn);
    }
    if (status == OMEN_OK) {
        if (!disk->clean_due)
            disk->again_ns = 0; // what waits for room may have it now
        return disk->clean_due || disk->put_off;
    }
    disk->clean_due = !disk->put_off; // it is still there, but twice is enough for now
    disk->clean_at = at;
    return failed(disk, status, &error);
}
