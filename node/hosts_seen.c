// node/hosts_seen.c -- what the data loop shows to who watches it: once a second, whole, and read without waiting for the loop.
//
// Shape: shell.
//
// How much a copy holds is looked up by a worker, and less often (node/look.h): a count of points wants a reader of the shard, its
// memory that what links stands still for a moment, its file a system call.
#include <stdio.h>
#include <sys/stat.h>

#include "node/hosts_int.h"
#include "shard/hosted_build.h"

#define BLOCK_BYTES UINT64_C(512) // of st_blocks, whatever the file system's are

// ---- how much a copy holds ----

void
work_do_look(struct work *work)
{
    char path[HOST_PATH_BYTES + 16];
    struct stat file;
    work->look.points = hosted_points(work->hosted);
    work->look.memory = hosted_memory_bytes(work->hosted);
    (void)snprintf(path, sizeof path, "%s/data.mdb", work->path);
    if (stat(path, &file) == 0)
        work->look.bytes = (uint64_t)file.st_blocks * BLOCK_BYTES;
    work->look.builds =
        hosted_build_idle(work->hosted, os_clock_ns()); // of a builder that may be gone
}

void
host_looked(struct hosts *hosts, struct work *work)
{
    struct host_copy *copy = host_copy_of(hosts, work);
    ASSERT(copy != NULL);
    const bool news =
        work->look.builds || copy->points != work->look.points || copy->bytes != work->look.bytes;
    copy->users--;
    copy->looking = false;
    copy->points = work->look.points;
    copy->bytes = work->look.bytes;
    copy->memory = work->look.memory;
    copy->looked_log_bytes = work->look.log_bytes;
    look_made(&copy->look, work->look.at, news, os_clock_ns());
    host_unused(hosts, copy);
}

static void
look(struct hosts *hosts, struct host_copy *copy, uint64_t now_ns)
{
    if (copy->looking || copy->exclusive != NULL || !host_usable(copy))
        return;
    const struct look_at at = {hosted_applied(copy->hosted), hosted_durable(copy->hosted)};
    if (!look_is_due(&copy->look, at, now_ns))
        return;
    struct work *work = work_new(copy, WORK_LOOK);
    if (work == NULL)
        return;
    work->path = copy->path;
    work->look.at = at;
    work->look.log_bytes = copy->log_bytes;
    copy->looking = true;
    copy->users++;
    work_post(hosts, work);
}

// ---- what is shown ----

static enum hosts_role
role_of(const struct host_copy *copy, const struct replica *replica)
{
    if (copy->state == HOST_LOST || copy->corrupt)
        return HOSTS_LOST;
    if (replica == NULL || copy->hosted == NULL)
        return HOSTS_MAKING;
    switch (replica->role) {
    case REPLICA_OPENING:
        return HOSTS_OPENING;
    case REPLICA_PRIMARY:
        return replica_is_open(replica) ? HOSTS_PRIMARY : HOSTS_OPENING;
    case REPLICA_IDLE:
    case REPLICA_BACKUP:
        break;
    }
    return HOSTS_BACKUP;
}

static void
show_peers(const struct replica *replica, struct hosts_copy_seen *out)
{
    for (uint32_t i = 0; i < replica->peer_count; i++) {
        const struct replica_peer *peer = &replica->peers[i];
        if (peer->child != 0)
            continue; // it has a log of its own
        const uint64_t last = replica->last_seq;
        out->peers[out->peer_count++] =
            (struct hosts_peer_seen){.copy = {peer->uuid.high, peer->uuid.low},
                                     .lag = last > peer->match ? last - peer->match : 0};
    }
}

static void
show_copy(const struct hosts *hosts, const struct host_copy *copy, struct hosts_copy_seen *out)
{
    const struct replica *replica = host_replica(hosts, copy);
    const struct map_shard *shard;
    const struct map_collection *collection = host_collection(hosts, copy, &shard);
    *out = (struct hosts_copy_seen){.shard = copy->shard,
                                    .role = role_of(copy, replica),
                                    .points = copy->points,
                                    .bytes = copy->bytes,
                                    .memory = copy->memory};
    if (collection != NULL)
        out->collection = collection->name;
    if (replica == NULL)
        return;
    out->applied = replica->applied_seq;
    out->lag =
        replica->commit_seq > replica->applied_seq ? replica->commit_seq - replica->applied_seq : 0;
    if (out->role == HOSTS_PRIMARY)
        show_peers(replica, out);
}

void
hosts_show(struct hosts *hosts, uint64_t now_ns)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < HOST_BUCKETS; i++)
        for (const struct host_copy *copy = hosts->rows[i]; copy != NULL; copy = copy->next)
            count++;
    struct hosts_seen *seen = mem_alloc(sizeof *seen + count * sizeof seen->copies[0]);
    if (seen == NULL)
        return; // the older one holds
    atomic_init(&seen->users, 1);
    seen->at_ns = now_ns;
    seen->stats = hosts_stats(hosts);
    seen->reserve = hosts->reserve;
    seen->count = 0;
    for (uint32_t i = 0; i < HOST_BUCKETS; i++)
        for (struct host_copy *copy = hosts->rows[i]; copy != NULL; copy = copy->next) {
            show_copy(hosts, copy, &seen->copies[seen->count++]);
            look(hosts, copy, now_ns);
        }
    lock_acquire(&hosts->seen_lock);
    struct hosts_seen *older = hosts->seen;
    hosts->seen = seen;
    lock_release(&hosts->seen_lock);
    hosts_look_end(older);
}

// ---- for others ----

struct hosts_seen *
hosts_look(struct hosts *hosts)
{
    lock_acquire(&hosts->seen_lock);
    struct hosts_seen *seen = hosts->seen;
    if (seen != NULL)
        atomic_fetch_add(&seen->users, 1);
    lock_release(&hosts->seen_lock);
    return seen;
}

void
hosts_look_end(struct hosts_seen *seen)
{
    if (seen != NULL && atomic_fetch_sub(&seen->users, 1) == 1)
        mem_free(seen);
}
