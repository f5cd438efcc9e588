// node/hosts_work.c -- what takes time: queues of work, which the workers of a pool take from.
//
// Shape: shell.
//
// There is a queue for each kind of thing, and a worker takes from them in turn. Of two workers and more none of these kinds has all, so a
// snapshot that takes minutes keeps nobody from being answered; but parts that are over soon may have all. Works of one queue
// begin in their order; what must not run beside each other is not given away at once.
//
// Many queries are searched by the worker that took them, and by all that find nothing else to do meanwhile (pool_share).
#include "node/hosts_int.h"

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
lane_of(struct work *work)
{
    switch (work->kind) {
    case WORK_APPLY:
        return LANE_APPLY;
    case WORK_READ:
        if (is_long(&work->part->part))
            return LANE_SLOW;
        return work->brief ? LANE_BRIEF : LANE_PARTS;
    case WORK_NEAR:
        if (host_near_is_light(work))
            return LANE_LIGHT;
        return work->brief ? LANE_BRIEF : LANE_PARTS;
    case WORK_PREPARE:
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

static struct work *
take_first(struct work_queue *queue, uint32_t lane)
{
    struct work *work = queue->first[lane];
    queue->first[lane] = work->next;
    queue->waiting[lane]--;
    return work;
}

// How many of a lane's works a worker takes at once: of those that are over in no time its share, that others have theirs.
static uint32_t
share_of(const struct work_queue *queue, uint32_t lane)
{
    const uint32_t threads = pool_threads(queue->pool);
    const uint32_t share = (queue->waiting[lane] + threads - 1) / threads;
    if (lane != LANE_LIGHT)
        return 1;
    return share < NEARS_TOGETHER ? share : NEARS_TOGETHER;
}

// The next ones of one lane; how many, or 0. Under the lock.
static uint32_t
take(struct work_queue *queue, struct work **works)
{
    for (uint32_t i = 0; i < LANES; i++) {
        const uint32_t lane = (queue->turn + i) % LANES;
        if (queue->first[lane] == NULL || queue->running[lane] == queue->most[lane])
            continue;
        const uint32_t count = share_of(queue, lane);
        for (uint32_t k = 0; k < count; k++)
            works[k] = take_first(queue, lane);
        queue->running[lane]++;
        queue->turn = (lane + 1) % LANES;
        return count;
    }
    return 0;
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
        work_do_part(hosts, work);
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
    struct work *works[NEARS_TOGETHER];
    (void)worker;
    lock_acquire(&queue->lock);
    const uint32_t count = queue->closed ? 0 : take(queue, works);
    lock_release(&queue->lock);
    if (count == 0)
        return false;
    const enum work_lane lane = (enum work_lane)works[0]->lane;
    for (uint32_t i = 0; i < count; i++)
        perform(hosts, works[i]);
    lock_acquire(&queue->lock);
    queue->running[lane]--;
    lock_release(&queue->lock);
    if (works[0]->kind == WORK_NEAR)
        host_nears_done(hosts, works, count);
    else
        loop_post(hosts->loop, &works[0]->note);
    return true;
}

// Under the lock.
static void
append(struct work_queue *queue, struct work *work)
{
    const enum work_lane lane = lane_of(work);
    work->lane = (uint8_t)lane;
    work->next = NULL;
    if (queue->first[lane] == NULL)
        queue->first[lane] = work;
    else
        queue->last[lane]->next = work;
    queue->last[lane] = work;
    queue->waiting[lane]++;
}

void
work_post_all(struct hosts *hosts, struct work *const *works, uint32_t count)
{
    struct work_queue *queue = &hosts->works;
    lock_acquire(&queue->lock);
    for (uint32_t i = 0; i < count; i++)
        append(queue, works[i]);
    lock_release(&queue->lock);
    pool_wake(queue->pool);
}

void
work_post(struct hosts *hosts, struct work *work)
{
    work_post_all(hosts, &work, 1);
}

omen_status
work_open(struct hosts *hosts, uint32_t threads)
{
    struct work_queue *queue = &hosts->works;
    const uint32_t quarter = threads / 4;
    for (uint32_t i = 0; i < LANES; i++)
        queue->most[i] = threads > 1 ? threads - 1 : 1;
    queue->most[LANE_LIGHT] = queue->most[LANE_BRIEF] = threads;
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
