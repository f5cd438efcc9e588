// node/hosts_near.c -- reads for this node's own clients: admitted, served and ended by whoever has them, without the data loop.
//
// Shape: shell.
//
//   hosts_near --admitted, under the lock of the loop's state--> hosts_near_serve, or hosts_near_work and a worker --> read
//        --under the lock again--> its reply; or, where more is to be done than to count it, a note to the loop, which does that first
//
// The loop holds the lock while it has a note in hand, so what is looked at here is what it is between two notes, and a copy whose
// shard is in use here is counted as by any other work. No machine is stepped here. The clients' loop never waits for the lock: where the
// data loop is at work the part goes the way of all frames, which is a moment longer. Workers wait for it, as they do for their queue.
#include <stddef.h>

#include "node/hosts_int.h"

static struct host_near *
near_of(struct near *near)
{
    return (struct host_near *)near; // its first member
}

static struct host_near *
near_of_work(struct work *work)
{
    return (struct host_near *)((uint8_t *)work - offsetof(struct host_near, work));
}

// ---- it begins ----

static struct host_near *
make(struct hosts *hosts, const struct wire_part *given, uint32_t deadline_ms)
{
    struct host_near *near = mem_alloc_zero(1, sizeof *near);
    if (near == NULL)
        return NULL;
    near->hosts = hosts;
    near->near.note.kind = NOTE_NEAR;
    near->near.part = near->part.part = *given;
    near->part.arrived_ns = os_clock_ns();
    near->part.deadline_ns = UINT64_MAX;
    if (deadline_ms > 0)
        near->part.deadline_ns = near->part.arrived_ns + deadline_ms * UINT64_C(1000000);
    encode_init(&near->part.answer, WIRE_FRAME_BYTES_MAX);
    near->work.note.kind = HOST_NOTE_WORK;
    near->work.kind = WORK_NEAR;
    near->work.part = &near->part;
    return near;
}

// Under the lock.
static bool
begin(struct hosts *hosts, struct host_near *near)
{
    const struct wire_part *part = &near->near.part;
    const struct fanout_send send = host_send_of(part);
    if (copies_admit(&hosts->copies, &send).how != ADMIT_SERVE)
        return false;
    struct host_copy *copy =
        host_copy_find(hosts, (struct cluster_uuid){part->copy_high, part->copy_low});
    if (copy == NULL || !host_usable(copy) || !host_has_room(hosts, copy, part->ask_bytes))
        return false;
    near->near.light = copy->search_ns > 0 && copy->search_ns <= HOST_LIGHT_NS;
    near->near.brief = near->work.brief = host_is_brief(copy);
    near->work.copy = copy->uuid;
    near->work.serial = copy->serial;
    near->work.hosted = copy->hosted;
    copy->users++;
    copy->part_count++;
    hosts->part_bytes += part->ask_bytes;
    hosts->near_count++;
    hosts->stats.parts++;
    hosts->stats.near++;
    return true;
}

struct near *
hosts_near(struct hosts *hosts, const struct wire_part *part, uint32_t deadline_ms)
{
    if (part->kind == WIRE_PART_WRITE || part->consistency == WIRE_STRONG)
        return NULL;
    struct host_near *near = make(hosts, part, deadline_ms);
    if (near == NULL)
        return NULL;
    bool begun = false;
    if (lock_try(&hosts->state)) {
        begun = begin(hosts, near);
        lock_release(&hosts->state);
    }
    if (begun)
        return &near->near;
    hosts_near_free(&near->near);
    return NULL;
}

// ---- and ends ----

// Whether the end of it is nothing but its reply.
static bool
ends_plainly(const struct host_copy *copy, const struct work *work)
{
    return host_usable(copy) && copy->exclusive == NULL && work->status != OMEN_E_CORRUPT;
}

// Under the lock. Its reply is there then.
static void
finish(struct hosts *hosts, struct host_copy *copy, struct host_near *near)
{
    struct host_part *part = &near->part;
    omen_status status = near->work.status;
    copy->users--;
    copy->part_count--;
    hosts->part_bytes -= part->part.ask_bytes;
    hosts->near_count--;
    host_count_worked(hosts, copy, &near->work);
    part->error = near->work.error;
    part->error.status = status;
    if (!host_usable(copy))
        status = OMEN_E_STALE_MAP;
    hosts->stats.late += status == OMEN_E_BUSY && !atomic_load(&part->gone);
    if (status == OMEN_OK)
        near->near.reply =
            host_reply_well(part, replica_term_at(host_replica(hosts, copy), part->seq), part->seq);
    else
        near->near.reply = host_reply_refused(hosts, status, &part->error);
    host_reply_fill(hosts, &part->part, &near->near.reply);
}

static bool
finish_plainly(struct hosts *hosts, struct host_near *near)
{
    struct host_copy *copy = host_copy_of(hosts, &near->work);
    ASSERT(copy != NULL);
    const bool plainly = ends_plainly(copy, &near->work);
    if (plainly)
        finish(hosts, copy, near);
    return plainly;
}

void
host_near_worked(struct hosts *hosts, struct work *work)
{
    struct host_near *near = near_of_work(work);
    struct host_copy *copy = host_copy_of(hosts, work);
    ASSERT(copy != NULL);
    finish(hosts, copy, near);
    if (work->status == OMEN_E_CORRUPT)
        host_corrupt(hosts, copy);
    host_unused(hosts, copy);
    hosts->config.near(hosts->config.context, &near->near);
}

void
host_nears_done(struct hosts *hosts, struct work *const *works, uint32_t count)
{
    struct near *done[NEARS_TOGETHER];
    struct work *others[NEARS_TOGETHER];
    uint32_t done_count = 0, other_count = 0;
    ASSERT(count <= NEARS_TOGETHER);
    lock_acquire(&hosts->state);
    for (uint32_t i = 0; i < count; i++) {
        if (finish_plainly(hosts, near_of_work(works[i])))
            done[done_count++] = &near_of_work(works[i])->near;
        else
            others[other_count++] = works[i];
    }
    lock_release(&hosts->state);
    for (uint32_t i = 0; i < other_count; i++)
        loop_post(hosts->loop, &others[i]->note);
    if (done_count > 0)
        hosts->config.nears(hosts->config.context, done, done_count);
}

bool
host_near_is_light(struct work *work)
{
    return near_of_work(work)->near.light;
}

void
host_near_end(struct work *work)
{
    struct host_near *near = near_of_work(work);
    const struct hosts *hosts = near->hosts;
    near->near.reply = (struct wire_reply){.method = near->part.part.method,
                                           .failure = (uint32_t)-OMEN_E_BUSY,
                                           .part = near->part.part.part,
                                           .attempt = near->part.part.attempt,
                                           .request = near->part.part.request};
    hosts->config.near(hosts->config.context, &near->near);
}

bool
hosts_near_serve(struct hosts *hosts, struct near *near)
{
    struct host_near *ours = near_of(near);
    bool done = false;
    work_do_part(hosts, &ours->work);
    if (lock_try(&hosts->state)) {
        done = finish_plainly(hosts, ours);
        lock_release(&hosts->state);
    }
    if (!done)
        loop_post(hosts->loop, &ours->work.note);
    return done;
}

void
hosts_near_work(struct hosts *hosts, struct near *const *nears, uint32_t count)
{
    struct work *works[NEARS_TOGETHER];
    ASSERT(count <= NEARS_TOGETHER);
    for (uint32_t i = 0; i < count; i++)
        works[i] = &near_of(nears[i])->work;
    work_post_all(hosts, works, count);
}

void
hosts_near_help(struct hosts *hosts, struct near *near)
{
    struct work *work = &near_of(near)->work;
    work_do_part(hosts, work);
    host_nears_done(hosts, &work, 1);
}

void
hosts_near_cancel(struct near *near)
{
    atomic_store(&near_of(near)->part.gone, true);
}

void
hosts_near_free(struct near *near)
{
    if (near == NULL)
        return;
    struct host_near *ours = near_of(near);
    encode_fini(&ours->part.answer);
    mem_free(ours->part.failures);
    mem_free(ours);
}
