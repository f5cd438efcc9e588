// node/hosts_work.c -- what takes time: queues of work, which the workers of a pool take from.
//
// Shape: shell.
//
// There is a queue for each kind of thing, and a worker takes from them in turn. Of two workers and more none of these kinds has all, so a
// snapshot that takes minutes keeps nobody from being answered. Works of one queue begin in their order; what must not run beside
// each other is not given away at once.
#include "node/hosts_int.h"

#include "base/limits.h"
#include "wire/inner.h"

struct work *
work_new(const struct host_copy *copy, enum work_kind kind)
{
    struct work *work = mem_alloc_zero(1, sizeof *work);
    if (work == NULL)
        return NULL;
    work->note.kind = HOST_NOTE_WORK;
    work->kind = kind;
    work->copy = copy->uuid;
    work->serial = copy->serial;
    work->hosted = copy->hosted;
    return work;
}

// What nobody has taken out of it goes with it.
void
work_free(struct work *work)
{
    if (work == NULL)
        return;
    switch (work->kind) {
    case WORK_MAKE:
    case WORK_ERASE:
        hosted_close(work->opened);
        break;
    case WORK_APPLY:
        work_results_free(work->apply.results);
        mem_free(work->apply.buckets);
        break;
    case WORK_LOG:
        disk_entries_fini(&work->log.entries);
        break;
    case WORK_LOOK:
    case WORK_READ:
    case WORK_PREPARE:
        break; // the part is in the loop's table
    case WORK_NEAR:
        host_near_end(work);
        return; // it is a part of that
    case WORK_SNAPSHOT:
    case WORK_SEAL:
    case WORK_CHUNK:
    case WORK_STORE:
    case WORK_INSTALL:
    case WORK_FORGET:
        hosted_close(work->opened);
        hosted_snapshot_close(work->snapshot.made);
        hosted_receive_close(work->snapshot.receive);
        host_image_free(work->snapshot.image);
        mem_free(work->snapshot.bytes);
        break;
    }
    mem_free(work);
}

// A part that takes as long as a snapshot does: an operator's, or a builder's for which all rows are looked at.
static bool
is_long(const struct wire_part *part)
{
    const bool builds = part->method == METHOD_COLLECTION_BUILD;
    if (builds && part->kind == WIRE_PART_SEARCH)
        return part->part == INNER_BUILD_FREEZE || part->part == INNER_BUILD_INSTALL;
    return builds || part->method == METHOD_COLLECTION_OPTIMIZE;
}

static enum work_lane
lane_of(const struct work *work)
{
    switch (work->kind) {
    case WORK_APPLY:
        return LANE_APPLY;
    case WORK_READ:
        return is_long(&work->part->part) ? LANE_SLOW : LANE_PARTS;
    case WORK_PREPARE:
    case WORK_NEAR:
        return LANE_PARTS;
    case WORK_LOG:
    case WORK_CHUNK:
    case WORK_STORE:
    case WORK_LOOK:
        return LANE_LOG;
    default:
        return LANE_SLOW;
    }
}

// The next one, or NULL. Under the lock.
static struct work *
take(struct work_queue *queue)
{
    for (uint32_t i = 0; i < LANES; i++) {
        const uint32_t lane = (queue->turn + i) % LANES;
        struct work *work = queue->first[lane];
        if (work == NULL || queue->running[lane] == queue->most[lane])
            continue;
        queue->first[lane] = work->next;
        queue->running[lane]++;
        queue->turn = (lane + 1) % LANES;
        return work;
    }
    return NULL;
}

static void
perform(struct hosts *hosts, struct work *work)
{
    switch (work->kind) {
    case WORK_MAKE:
    case WORK_ERASE:
        work_do_shard(work);
        break;
    case WORK_APPLY:
        work_do_apply(hosts, work);
        break;
    case WORK_LOG:
        work_do_log(hosts, work);
        break;
    case WORK_READ:
    case WORK_PREPARE:
    case WORK_NEAR:
        work_do_part(work);
        break;
    case WORK_SNAPSHOT:
    case WORK_SEAL:
    case WORK_CHUNK:
    case WORK_STORE:
    case WORK_INSTALL:
    case WORK_FORGET:
        work_do_snapshot(hosts, work);
        break;
    case WORK_LOOK:
        work_do_look(work);
        break;
    }
}

static bool
work_one(void *context, uint32_t worker)
{
    struct hosts *hosts = context;
    struct work_queue *queue = &hosts->works;
    (void)worker;
    lock_acquire(&queue->lock);
    struct work *work = queue->closed ? NULL : take(queue);
    lock_release(&queue->lock);
    if (work == NULL)
        return false;
    const enum work_lane lane = (enum work_lane)work->lane;
    perform(hosts, work);
    lock_acquire(&queue->lock);
    queue->running[lane]--;
    lock_release(&queue->lock);
    if (work->kind != WORK_NEAR || !host_near_done(hosts, work))
        loop_post(hosts->loop, &work->note);
    return true;
}

void
work_post(struct hosts *hosts, struct work *work)
{
    struct work_queue *queue = &hosts->works;
    const enum work_lane lane = lane_of(work);
    work->lane = (uint8_t)lane;
    work->next = NULL;
    lock_acquire(&queue->lock);
    if (queue->first[lane] == NULL)
        queue->first[lane] = work;
    else
        queue->last[lane]->next = work;
    queue->last[lane] = work;
    lock_release(&queue->lock);
    pool_wake(queue->pool);
}

omen_status
work_open(struct hosts *hosts, uint32_t threads)
{
    struct work_queue *queue = &hosts->works;
    const uint32_t quarter = threads / 4;
    for (uint32_t i = 0; i < LANES; i++)
        queue->most[i] = threads > 1 ? threads - 1 : 1;
    queue->most[LANE_SLOW] = quarter > 0 ? quarter : 1;
    return pool_open(threads, work_one, hosts, &queue->pool);
}

void
work_close(struct hosts *hosts)
{
    struct work_queue *queue = &hosts->works;
    lock_acquire(&queue->lock);
    queue->closed = true;
    lock_release(&queue->lock);
    pool_close(queue->pool);
    queue->pool = NULL;
    for (uint32_t i = 0; i < LANES; i++)
        while (queue->first[i] != NULL) {
            struct work *work = queue->first[i];
            queue->first[i] = work->next;
            work_free(work);
        }
}
