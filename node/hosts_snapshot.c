// node/hosts_snapshot.c -- a shard as a whole, for a copy that lacks more than the log has: made, handed out by chunks, taken in.
//
// Shape: shell.
//
// A snapshot is made while nothing is applied, out of what is applied, and stays for other learners as long as the log goes on behind it.
// What came is verified, then the disk is told what its log will be, then the files are exchanged, then the log is: a crash
// leaves the old shard with its log or the new one with its own.
#include "node/hosts_int.h"

#include <stdio.h>

#define IDLE_NS (UINT64_C(60) * 1000000000)

static void
give_ready(struct hosts *hosts, struct host_copy *copy, struct replica_uuid uuid,
           const struct host_snapshot *snapshot)
{
    struct replica_input given = {.kind = REPLICA_IN_SNAPSHOT_READY};
    given.uuid = uuid;
    if (snapshot != NULL) {
        given.snapshot = snapshot->number;
        given.seq = snapshot->seq;
        given.snapshot_term = snapshot->term;
        given.chunk_count = snapshot->chunk_count;
    }
    hosts_give_later(hosts, copy, &given);
}

// ---- those that are served ----

static void
end_snapshot(struct host_snapshot *snapshot)
{
    hosted_snapshot_close(snapshot->snapshot);
    *snapshot = (struct host_snapshot){0};
}

void
host_snapshots_close(struct host_copy *copy)
{
    for (uint32_t i = 0; i < HOST_SNAPSHOTS_MAX; i++)
        end_snapshot(&copy->snapshots[i]);
}

void
host_snapshots_idle(struct host_copy *copy, uint64_t now_ns)
{
    for (uint32_t i = 0; i < HOST_SNAPSHOTS_MAX; i++) {
        struct host_snapshot *snapshot = &copy->snapshots[i];
        if (snapshot->number != 0 && snapshot->readers == 0 && snapshot->used_ns + IDLE_NS < now_ns)
            end_snapshot(snapshot);
    }
}

static struct host_snapshot *
find_snapshot(struct host_copy *copy, uint64_t number)
{
    for (uint32_t i = 0; i < HOST_SNAPSHOTS_MAX; i++)
        if (copy->snapshots[i].number == number)
            return &copy->snapshots[i];
    return NULL;
}

// One behind which the log goes on.
static struct host_snapshot *
good_snapshot(struct host_copy *copy, const struct replica *replica)
{
    for (uint32_t i = 0; i < HOST_SNAPSHOTS_MAX; i++) {
        struct host_snapshot *snapshot = &copy->snapshots[i];
        if (snapshot->number != 0 && snapshot->seq + 1 >= replica->first_seq)
            return snapshot;
    }
    return NULL;
}

// A free place, or that of the one which nobody has asked for longest; NULL: all are being read.
static struct host_snapshot *
snapshot_place(struct host_copy *copy)
{
    struct host_snapshot *oldest = NULL;
    for (uint32_t i = 0; i < HOST_SNAPSHOTS_MAX; i++) {
        struct host_snapshot *snapshot = &copy->snapshots[i];
        if (snapshot->number == 0)
            return snapshot;
        if (snapshot->readers == 0 && (oldest == NULL || snapshot->used_ns < oldest->used_ns))
            oldest = snapshot;
    }
    if (oldest != NULL)
        end_snapshot(oldest);
    return oldest;
}

static void
serve_snapshot(struct hosts *hosts, struct host_copy *copy, struct replica_uuid uuid)
{
    const struct replica *replica = host_replica(hosts, copy);
    struct host_snapshot *snapshot = good_snapshot(copy, replica);
    if (snapshot != NULL)
        snapshot->used_ns = os_clock_ns();
    if (snapshot != NULL || copy->snapshot_wanted || copy->snapshot_busy || !host_usable(copy) ||
        replica->applied_seq == 0) {
        give_ready(hosts, copy, uuid, snapshot);
        return;
    }
    copy->snapshot_wanted = true;
    copy->snapshot_for = uuid;
    host_snapshot_begin(hosts, copy);
}

void
host_snapshot_begin(struct hosts *hosts, struct host_copy *copy)
{
    if (!copy->snapshot_wanted || copy->applying || copy->snapshot_busy || copy->again_ns != 0)
        return;
    if (!host_usable(copy)) {
        copy->snapshot_wanted = false;
        return;
    }
    struct work *work = work_new(copy, WORK_SNAPSHOT);
    if (work != NULL)
        work->snapshot.bytes = host_image_write(host_replica(hosts, copy), &work->snapshot.count);
    if (work == NULL || work->snapshot.bytes == NULL) {
        work_free(work);
        host_again(hosts, copy);
        return;
    }
    copy->snapshot_wanted = false;
    copy->snapshot_busy = true;
    copy->users++;
    work_post(hosts, work);
}

static void
snapshot_made(struct hosts *hosts, struct host_copy *copy, struct work *work)
{
    copy->snapshot_busy = false;
    struct host_snapshot *place =
        work->status == OMEN_OK && host_usable(copy) ? snapshot_place(copy) : NULL;
    if (place != NULL) {
        const uint64_t seq = hosted_snapshot_seq(work->snapshot.made);
        *place =
            (struct host_snapshot){.snapshot = work->snapshot.made,
                                   .number = hosts->config.boot << 32 | ++hosts->snapshot_serials,
                                   .seq = seq,
                                   .term = replica_term_at(host_replica(hosts, copy), seq),
                                   .chunk_count = hosted_snapshot_chunk_count(work->snapshot.made),
                                   .used_ns = os_clock_ns()};
        work->snapshot.made = NULL;
        hosts->stats.snapshots_made++;
        if (place->term == 0) { // so old that nobody could go on behind it
            end_snapshot(place);
            place = NULL;
        }
    }
    if (work->status == OMEN_E_CORRUPT)
        host_corrupt(hosts, copy);
    else if (copy->state == HOST_OPEN)
        give_ready(hosts, copy, copy->snapshot_for, place);
    host_apply(hosts, copy);
}

// ---- chunks ----

static void
give_no_chunk(struct hosts *hosts, struct host_copy *copy, const struct replica_serve *serve)
{
    struct replica_input given = {.kind = REPLICA_IN_CHUNK_READ};
    given.uuid = serve->uuid;
    given.snapshot = serve->snapshot;
    given.chunk = serve->chunk;
    hosts_give_later(hosts, copy, &given);
}

static void
serve_chunk(struct hosts *hosts, struct host_copy *copy, const struct replica_serve *serve)
{
    struct host_snapshot *snapshot =
        serve->snapshot != 0 ? find_snapshot(copy, serve->snapshot) : NULL;
    struct work *work =
        snapshot != NULL && host_usable(copy) && serve->chunk < snapshot->chunk_count
            ? work_new(copy, WORK_CHUNK)
            : NULL;
    if (work == NULL) {
        give_no_chunk(hosts, copy, serve);
        return;
    }
    snapshot->used_ns = os_clock_ns();
    snapshot->readers++;
    work->snapshot.uuid = serve->uuid;
    work->snapshot.number = serve->snapshot;
    work->snapshot.chunk = serve->chunk;
    work->snapshot.snapshot = snapshot->snapshot;
    copy->users++;
    work_post(hosts, work);
}

static void
chunk_read(struct hosts *hosts, struct host_copy *copy, struct work *work)
{
    struct host_snapshot *snapshot = find_snapshot(copy, work->snapshot.number);
    ASSERT(snapshot != NULL && snapshot->readers > 0);
    snapshot->readers--;
    if (copy->state != HOST_OPEN)
        return;
    struct replica_input given = {.kind = REPLICA_IN_CHUNK_READ};
    given.uuid = work->snapshot.uuid;
    given.snapshot = work->snapshot.number;
    given.chunk = work->snapshot.chunk;
    if (work->status == OMEN_OK) {
        given.bytes = work->snapshot.bytes;
        given.byte_count = (uint32_t)work->snapshot.count;
        given.hash = hash_bytes(given.bytes, given.byte_count);
    }
    hosts_give(hosts, copy->uuid, given);
}

// ---- one that comes ----

static void
give_stored(struct hosts *hosts, struct host_copy *copy, uint32_t chunk, omen_status status)
{
    struct replica_input given = {.kind = REPLICA_IN_CHUNK_STORED};
    given.chunk = chunk;
    given.status = status;
    hosts_give_later(hosts, copy, &given);
}

static void
serve_store(struct hosts *hosts, struct host_copy *copy, const struct replica_serve *serve)
{
    struct work *work = copy->storing ? NULL : work_new(copy, WORK_STORE);
    if (work != NULL)
        work->snapshot.bytes = mem_alloc(serve->byte_count);
    if (work == NULL || work->snapshot.bytes == NULL) {
        work_free(work);
        give_stored(hosts, copy, serve->chunk, OMEN_E_BUSY);
        return;
    }
    memcpy(work->snapshot.bytes, serve->bytes, serve->byte_count);
    work->snapshot.count = serve->byte_count;
    work->snapshot.chunk = serve->chunk;
    work->path = copy->staging;
    copy->storing = true;
    copy->users++;
    work_post(hosts, work);
}

static void
serve_install(struct hosts *hosts, struct host_copy *copy, const struct replica_serve *serve)
{
    struct work *work =
        copy->storing || !host_options(hosts, copy) ? NULL : work_new(copy, WORK_VERIFY);
    if (work == NULL) {
        struct replica_input given = {.kind = REPLICA_IN_INSTALLED};
        given.disk = NULL;
        hosts_give_later(hosts, copy, &given);
        return;
    }
    work->path = copy->staging;
    work->snapshot.seq = serve->seq;
    copy->users++;
    work_post(hosts, work);
}

static struct replica_disk
disk_of(const struct hosts *hosts, const struct host_copy *copy)
{
    const struct host_image *image = copy->image;
    return (struct replica_disk){.promised = host_replica(hosts, copy)->promised,
                                 .first_seq = image->seq + 1,
                                 .last_seq = image->seq,
                                 .commit_seq = image->seq,
                                 .applied_seq = image->seq,
                                 .stamp_ms = image->stamp_ms,
                                 .terms = image->terms,
                                 .term_count = image->term_count,
                                 .ops = image->ops,
                                 .op_count = image->op_count};
}

static void
give_installed(struct hosts *hosts, struct host_copy *copy, const struct replica_disk *disk)
{
    hosts_give(hosts, copy->uuid,
               (struct replica_input){.kind = REPLICA_IN_INSTALLED, .disk = disk});
    host_image_free(copy->image);
    copy->image = NULL;
}

static void
was_verified(struct hosts *hosts, struct host_copy *copy, struct work *work)
{
    copy->image = work->snapshot.image;
    work->snapshot.image = NULL;
    if (copy->image == NULL) {
        give_installed(hosts, copy, NULL);
        return;
    }
    const struct replica_disk disk = disk_of(hosts, copy);
    copy->state = HOST_INSTALLING;
    disk_prepare(hosts->config.disk, copy->uuid, &disk, hosts->loop);
}

void
host_prepared(struct hosts *hosts, struct host_copy *copy)
{
    if (copy->state != HOST_INSTALLING)
        return;
    struct work *work = work_new(copy, WORK_INSTALL);
    if (work == NULL) {
        copy->state = HOST_OPEN;
        give_installed(hosts, copy, NULL);
        return;
    }
    host_snapshots_close(copy);
    work->path = copy->staging;
    work->options = copy->options;
    work->opened = copy->hosted;
    copy->hosted = NULL;
    copy->exclusive = work;
    host_unused(hosts, copy);
}

static void
was_exchanged(struct hosts *hosts, struct host_copy *copy, struct work *work)
{
    copy->hosted = work->opened;
    work->opened = NULL;
    if (work->status == OMEN_OK) {
        const struct replica_disk disk = disk_of(hosts, copy);
        disk_install(hosts->config.disk, copy->uuid, &disk, hosts->loop);
        return;
    }
    copy->state = HOST_OPEN;
    give_installed(hosts, copy, NULL);
    if (copy->hosted == NULL)
        host_corrupt(hosts, copy);
}

void
host_installed(struct hosts *hosts, struct host_copy *copy)
{
    if (copy->state != HOST_INSTALLING || copy->image == NULL)
        return; // it was dropped; or a start has put it in place
    const struct replica_disk disk = disk_of(hosts, copy);
    copy->state = HOST_OPEN;
    copy->apply_next = disk.applied_seq + 1;
    copy->apply_last = disk.applied_seq;
    copy->mark_count = 0;
    copy->check_seq = 0;
    host_results_end(copy);
    hosts->stats.snapshots_installed++;
    give_installed(hosts, copy, &disk);
}

// ---- what a replica wants, and what came of it ----

void
host_serve(struct hosts *hosts, struct host_copy *copy, const struct replica_serve *serve)
{
    switch (serve->kind) {
    case REPLICA_SERVE_NONE:
        break;
    case REPLICA_SERVE_SNAPSHOT:
        serve_snapshot(hosts, copy, serve->uuid);
        break;
    case REPLICA_SERVE_CHUNK:
        serve_chunk(hosts, copy, serve);
        break;
    case REPLICA_SERVE_STORE:
        serve_store(hosts, copy, serve);
        break;
    case REPLICA_SERVE_INSTALL:
        serve_install(hosts, copy, serve);
        break;
    case REPLICA_SERVE_BUCKETS:
        host_say_buckets(hosts, copy, serve);
        break;
    case REPLICA_SERVE_COMPARE:
        host_compare(hosts, copy, serve);
        break;
    }
}

void
host_served(struct hosts *hosts, struct work *work)
{
    struct host_copy *copy = host_copy_of(hosts, work);
    ASSERT(copy != NULL);
    copy->users--;
    copy->storing = copy->storing && work->kind != WORK_STORE;
    if (work->kind == WORK_CHUNK) {
        chunk_read(hosts, copy, work);
    } else if (copy->state == HOST_GOING) {
        copy->hosted = copy->hosted != NULL ? copy->hosted : work->opened;
        work->opened = NULL;
    } else if (work->kind == WORK_SNAPSHOT) {
        snapshot_made(hosts, copy, work);
    } else if (work->kind == WORK_STORE) {
        give_stored(hosts, copy, work->snapshot.chunk, work->status);
    } else if (work->kind == WORK_VERIFY) {
        was_verified(hosts, copy, work);
    } else {
        was_exchanged(hosts, copy, work);
    }
    host_unused(hosts, copy);
}

// ---- at the worker ----

static omen_status
read_chunk(struct work_snapshot *snapshot, struct omen_error *error)
{
    snapshot->bytes = mem_alloc(HOSTED_CHUNK_BYTES);
    if (snapshot->bytes == NULL)
        return OMEN_E_NO_MEMORY;
    return hosted_snapshot_read(snapshot->snapshot, snapshot->chunk, snapshot->bytes,
                                &snapshot->count, error);
}

static omen_status
store_chunk(struct work *work)
{
    if (work->snapshot.chunk == 0)
        host_remove(work->path); // of one that was given up
    return hosted_receive_store(work->path, work->snapshot.chunk, work->snapshot.bytes,
                                work->snapshot.count, &work->error);
}

static omen_status
verify(struct work *work)
{
    struct hosted_received received = {0};
    const omen_status status = hosted_receive_finish(work->path, &received, &work->error);
    if (status == OMEN_OK && received.seq == work->snapshot.seq)
        work->snapshot.image = host_image_read(received.extra, received.extra_bytes, received.seq);
    mem_free(received.extra);
    return status;
}

static omen_status
exchange(struct work *work)
{
    hosted_abandon(work->opened);
    work->opened = NULL;
    const omen_status status = hosted_install(&work->options, work->path, &work->error);
    return status == OMEN_OK ? hosted_open(&work->options, &work->opened, &work->error) : status;
}

void
work_do_snapshot(struct hosts *hosts, struct work *work)
{
    struct work_snapshot *snapshot = &work->snapshot;
    if (work->kind == WORK_SNAPSHOT) {
        char folder[HOST_PATH_BYTES];
        (void)snprintf(folder, sizeof folder, "%s/tmp/out-%llu-%llu", hosts->folder,
                       (unsigned long long)work->serial,
                       (unsigned long long)hosted_applied(work->hosted));
        work->status = hosted_snapshot_make(work->hosted, folder, snapshot->bytes, snapshot->count,
                                            &snapshot->made, &work->error);
    } else if (work->kind == WORK_CHUNK) {
        work->status = read_chunk(snapshot, &work->error);
    } else if (work->kind == WORK_STORE) {
        work->status = store_chunk(work);
    } else if (work->kind == WORK_VERIFY) {
        work->status = verify(work);
    } else {
        work->status = exchange(work);
    }
}
