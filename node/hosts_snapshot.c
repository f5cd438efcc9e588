// node/hosts_snapshot.c -- a shard as a whole, for a copy that lacks more than the log has: made, handed out by chunks, taken in.
//
// Shape: shell.
//
// A snapshot is made beside everything else and stays for other learners as long as the log goes on behind it. What the log knew of terms and
// operations goes with it: the files are exchanged first, and a start that finds a shard which is ahead of its log makes the log
// of that (hosts_shard.c).
#include "node/hosts_int.h"

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
        if (snapshot->number != 0 && replica_can_follow(replica, snapshot->seq))
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
    const bool wanted =
        snapshot == NULL && !copy->snapshot_busy && host_usable(copy) && replica->applied_seq > 0;
    struct work *work = wanted ? work_new(copy, WORK_SNAPSHOT) : NULL;
    if (work == NULL) { // it is there, or it is asked for again
        give_ready(hosts, copy, uuid, snapshot);
        return;
    }
    work->snapshot.number = hosts->config.boot << 32 | ++hosts->snapshot_serials;
    copy->snapshot_for = uuid;
    copy->snapshot_busy = true;
    copy->users++;
    work_post(hosts, work);
}

// What the log knows of it by now: a little more, which whoever gets it leaves away.
static bool
seal(struct hosts *hosts, struct host_copy *copy, struct work *made)
{
    struct work *work = work_new(copy, WORK_SEAL);
    if (work != NULL)
        work->snapshot.bytes = host_image_write(host_replica(hosts, copy), &work->snapshot.count);
    if (work == NULL || work->snapshot.bytes == NULL) {
        work_free(work);
        return false;
    }
    work->snapshot.number = made->snapshot.number;
    work->snapshot.made = made->snapshot.made;
    made->snapshot.made = NULL;
    copy->users++;
    work_post(hosts, work);
    return true;
}

static struct host_snapshot *
keep_snapshot(struct hosts *hosts, struct host_copy *copy, struct work *work)
{
    const uint64_t seq = hosted_snapshot_seq(work->snapshot.made);
    const uint64_t term = replica_term_at(host_replica(hosts, copy), seq);
    struct host_snapshot *place = term != 0 ? snapshot_place(copy) : NULL;
    if (place == NULL)
        return NULL; // or so old that nobody could go on behind it
    *place = (struct host_snapshot){.snapshot = work->snapshot.made,
                                    .number = work->snapshot.number,
                                    .seq = seq,
                                    .term = term,
                                    .chunk_count = hosted_snapshot_chunks(work->snapshot.made),
                                    .used_ns = os_clock_ns()};
    work->snapshot.made = NULL;
    hosts->stats.snapshots_made++;
    return place;
}

static void
snapshot_made(struct hosts *hosts, struct host_copy *copy, struct work *work)
{
    const bool good = work->status == OMEN_OK && host_usable(copy);
    if (good && work->kind == WORK_SNAPSHOT && seal(hosts, copy, work))
        return;
    copy->snapshot_busy = false;
    if (copy->state != HOST_OPEN)
        return;
    const bool sealed = good && work->kind == WORK_SEAL;
    give_ready(hosts, copy, copy->snapshot_for, sealed ? keep_snapshot(hosts, copy, work) : NULL);
    if (work->status != OMEN_OK)
        host_say_error(copy, "copy.no_snapshot", work->status, &work->error);
    if (work->status == OMEN_E_CORRUPT)
        host_corrupt(hosts, copy);
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
    work->snapshot.chunk.number = serve->chunk;
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
    given.chunk = work->snapshot.chunk.number;
    if (work->status == OMEN_OK) {
        given.bytes = work->snapshot.bytes;
        given.byte_count = (uint32_t)work->snapshot.chunk.count;
        given.hash = work->snapshot.chunk.hash;
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
    struct work *work = copy->receiving ? NULL : work_new(copy, WORK_STORE);
    if (work != NULL)
        work->snapshot.bytes = mem_alloc(serve->byte_count);
    if (work == NULL || work->snapshot.bytes == NULL) {
        work_free(work);
        give_stored(hosts, copy, serve->chunk, OMEN_E_BUSY);
        return;
    }
    memcpy(work->snapshot.bytes, serve->bytes, serve->byte_count);
    work->snapshot.chunk = (struct hosted_chunk){
        .number = serve->chunk, .count = serve->byte_count, .hash = serve->hash};
    work->snapshot.receive = copy->receive;
    work->path = copy->staging;
    copy->receive = NULL;
    copy->receiving = true;
    copy->users++;
    work_post(hosts, work);
}

static void
was_stored(struct hosts *hosts, struct host_copy *copy, struct work *work)
{
    copy->receiving = false;
    copy->receive = work->snapshot.receive;
    work->snapshot.receive = NULL;
    if (copy->state == HOST_OPEN)
        give_stored(hosts, copy, work->snapshot.chunk.number, work->status);
}

static void
give_installed(struct hosts *hosts, struct host_copy *copy, const struct replica_disk *disk)
{
    hosts_give(hosts, copy->uuid,
               (struct replica_input){.kind = REPLICA_IN_INSTALLED, .disk = disk});
    host_image_free(copy->image);
    copy->image = NULL;
}

// Nobody may have the shard meanwhile: the work waits for who has.
static void
serve_install(struct hosts *hosts, struct host_copy *copy, const struct replica_serve *serve)
{
    const bool whole = copy->receive != NULL && copy->state == HOST_OPEN;
    struct work *work = whole && host_options(hosts, copy) ? work_new(copy, WORK_INSTALL) : NULL;
    if (work == NULL) {
        struct replica_input given = {.kind = REPLICA_IN_INSTALLED};
        given.disk = NULL;
        hosts_give_later(hosts, copy, &given);
        return;
    }
    copy->state = HOST_INSTALLING;
    work->options = copy->options;
    work->snapshot.seq = serve->seq;
    work->snapshot.receive = copy->receive;
    work->opened = copy->hosted;
    copy->receive = NULL;
    copy->hosted = NULL;
    copy->exclusive = work;
    host_unused(hosts, copy);
}

static void
was_exchanged(struct hosts *hosts, struct host_copy *copy, struct work *work)
{
    copy->hosted = work->opened;
    copy->image = work->snapshot.image;
    work->opened = NULL;
    work->snapshot.image = NULL;
    const uint64_t promised = host_replica(hosts, copy)->promised;
    const bool fits = copy->image != NULL && host_image_fits(copy->image, promised);
    const bool lost = copy->hosted == NULL || (work->status == OMEN_OK && !fits);
    if (work->status == OMEN_OK && fits) {
        const struct replica_disk disk = host_image_disk(copy->image, promised);
        disk_install(hosts->config.disk, copy->uuid, &disk, hosts->loop);
        return;
    }
    host_say_error(copy, "copy.snapshot_refused", work->status, &work->error);
    copy->state = HOST_OPEN;
    give_installed(hosts, copy, NULL);
    if (lost)
        host_corrupt(hosts, copy);
}

void
host_installed(struct hosts *hosts, struct host_copy *copy)
{
    if (copy->state == HOST_INSTALLING && copy->image != NULL) {
        const struct replica_disk disk =
            host_image_disk(copy->image, host_replica(hosts, copy)->promised);
        copy->state = HOST_OPEN;
        copy->apply_next = disk.applied_seq + 1;
        copy->apply_last = disk.applied_seq;
        copy->mark_count = 0;
        copy->check_seq = 0;
        host_results_end(copy);
        hosts->stats.snapshots_installed++;
        host_say(copy, "copy.snapshot_installed", "seq", disk.applied_seq);
        give_installed(hosts, copy, &disk);
    }
    if (copy->state == HOST_OPEN)
        host_forget(hosts, copy);
}

// What came with a snapshot is of no use once the log is as it says. Where there is no memory the next start does it.
void
host_forget(struct hosts *hosts, struct host_copy *copy)
{
    struct work *work = work_new(copy, WORK_FORGET);
    if (work == NULL)
        return;
    work->path = copy->path;
    copy->users++;
    work_post(hosts, work);
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
    if (work->kind == WORK_CHUNK) {
        chunk_read(hosts, copy, work);
    } else if (work->kind == WORK_STORE) {
        was_stored(hosts, copy, work);
    } else if (work->kind == WORK_INSTALL && copy->state == HOST_GOING) {
        copy->hosted = work->opened;
        work->opened = NULL;
    } else if (work->kind == WORK_INSTALL) {
        was_exchanged(hosts, copy, work);
    } else if (work->kind != WORK_FORGET) {
        snapshot_made(hosts, copy, work);
    }
    host_unused(hosts, copy);
}
