// node/hosts_part.c -- parts of clients' requests that come for a copy on this node: reads out of what it has applied, writes into its log.
//
// Shape: shell.
//
//   part --admitted: ADMIT_SERVE--> WORKING --read--> answered
//        --ADMIT_READ--> ASKED --the replica says when--> WORKING --read--> READ --the replica agrees--> answered
//        --ADMIT_WRITE--> WORKING --packed--> READY --its turn--> PROPOSED --committed and applied here--> answered
//
// Who waits is bounded, by number and by bytes; one more is told BUSY, and nothing was done. While a commit of the copy is on its way to
// the disk what is ready waits and goes in together: the disk would not begin sooner.
#include "node/hosts_int.h"

#include "base/limits.h"
#include "node/quota.h"
#include "wire/found.h"

#define CHAINS (sizeof((struct hosts *)0)->chains / sizeof((struct hosts *)0)->chains[0])

// ---- the table ----

static struct host_part **
chain_of(struct hosts *hosts, struct cluster_uuid from, uint64_t correlation)
{
    const uint64_t words[] = {from.high, from.low, correlation};
    return &hosts->chains[hash_bytes(words, sizeof words) % CHAINS];
}

static bool
is_from(const struct host_part *part, const struct frame_note *frame)
{
    return uuid_equal(part->frame->from, frame->from) && part->frame->boot == frame->boot &&
           part->frame->head.correlation == frame->head.correlation;
}

static struct host_part *
part_of_frame(struct hosts *hosts, const struct frame_note *frame)
{
    struct host_part *part = *chain_of(hosts, frame->from, frame->head.correlation);
    while (part != NULL && !is_from(part, frame))
        part = part->chain;
    return part;
}

struct host_part *
host_part_find(const struct hosts *hosts, uint64_t id)
{
    struct host_part *part = hosts->parts[id % HOST_PARTS_MAX];
    return part != NULL && part->id == id ? part : NULL;
}

static void
part_free(struct hosts *hosts, struct host_part *part)
{
    const struct frame_note *frame = part->frame;
    struct host_part **link = chain_of(hosts, frame->from, frame->head.correlation);
    while (*link != part)
        link = &(*link)->chain;
    *link = part->chain;
    const uint32_t place = (uint32_t)(part->id % HOST_PARTS_MAX);
    hosts->parts[place] = NULL;
    hosts->free_parts[hosts->free_count++] = place;
    hosts->part_bytes -= frame->count;
    struct host_copy *copy = host_copy_find(hosts, part->copy);
    if (copy != NULL && copy->serial == part->serial) {
        copy->part_count--;
        copy->proposed_count -= part->state == PART_PROPOSED;
    }
    hosted_bytes_fini(&part->op);
    hosted_results_fini(&part->results);
    encode_fini(&part->answer);
    mem_free(part->failures);
    mem_free(part->frame);
    mem_free(part);
}

uint32_t
host_parts_under_way(const struct hosts *hosts)
{
    return HOST_PARTS_MAX - hosts->free_count + hosts->near_count;
}

bool
host_has_room(const struct hosts *hosts, const struct host_copy *copy, size_t bytes)
{
    return host_parts_under_way(hosts) < HOST_PARTS_MAX && copy->part_count < HOST_COPY_PARTS_MAX &&
           hosts->part_bytes + bytes <= hosts->config.part_bytes_max;
}

// NULL: no room, or no memory.
static struct host_part *
part_new(struct hosts *hosts, struct host_copy *copy, struct frame_note *frame,
         const struct wire_part *given)
{
    if (!host_has_room(hosts, copy, frame->count))
        return NULL;
    struct host_part *part = mem_alloc_zero(1, sizeof *part);
    if (part == NULL)
        return NULL;
    const uint32_t place = hosts->free_parts[--hosts->free_count];
    part->id = ++hosts->part_serials * HOST_PARTS_MAX + place;
    part->copy = copy->uuid;
    part->serial = copy->serial;
    part->frame = frame;
    part->part = *given;
    part->arrived_ns = os_clock_ns();
    part->deadline_ns = UINT64_MAX;
    if (frame->head.deadline_ms > 0)
        part->deadline_ns = part->arrived_ns + frame->head.deadline_ms * UINT64_C(1000000);
    encode_init(&part->answer, WIRE_FRAME_BYTES_MAX);
    struct host_part **chain = chain_of(hosts, frame->from, frame->head.correlation);
    part->chain = *chain;
    *chain = part;
    hosts->parts[place] = part;
    hosts->part_bytes += frame->count;
    copy->part_count++;
    return part;
}

// ---- replies ----

void
host_reply_fill(struct hosts *hosts, const struct wire_part *part, struct wire_reply *reply)
{
    if (hosts->config.metrics != NULL)
        metric_add(&hosts->config.metrics->parts[part->kind][reply->failure], 1);
    reply->method = part->method;
    reply->part = part->part;
    reply->attempt = part->attempt;
    reply->request = part->request;
    reply->queue = host_parts_under_way(hosts);
    reply->map_version = hosts->copies.map_version;
}

struct wire_reply
host_reply_well(const struct host_part *part, uint64_t term, uint64_t seq)
{
    return (struct wire_reply){.term = term,
                               .seq = seq,
                               .item_count = part->item_count,
                               .failures = part->failures,
                               .answer_bytes = (uint32_t)part->answer.count,
                               .answer = part->answer.bytes};
}

struct wire_reply
host_reply_refused(struct hosts *hosts, omen_status status, const struct omen_error *error)
{
    struct wire_reply reply = {.failure = (uint32_t)-status};
    hosts->stats.busy += status == OMEN_E_BUSY;
    hosts->stats.stale += status == OMEN_E_STALE_MAP;
    if (error != NULL && error->status == status) {
        reply.reason = (const uint8_t *)error->text;
        reply.reason_bytes = (uint32_t)strnlen(error->text, WIRE_REASON_BYTES_MAX);
    }
    return reply;
}

static void
send_reply(struct hosts *hosts, const struct frame_note *frame, const struct wire_part *part,
           struct wire_reply *reply)
{
    host_reply_fill(hosts, part, reply);
    encode_reset(&hosts->encode);
    wire_reply_write(&hosts->encode, reply);
    if (hosts->encode.status != OMEN_OK)
        return; // lost: nobody knows what became of it
    host_send(hosts, frame->from,
              &(struct bus_frame){.lane = hosts->encode.count > HOST_LINE_BYTES ? PEER_BULK
                                                                                : PEER_CONTROL,
                                  .kind = PEER_REPLY,
                                  .correlation = frame->head.correlation,
                                  .body = {hosts->encode.bytes, (uint32_t)hosts->encode.count}});
}

static void
refuse(struct hosts *hosts, const struct frame_note *frame, const struct wire_part *part,
       omen_status status, const struct omen_error *error)
{
    struct wire_reply reply = host_reply_refused(hosts, status, error);
    send_reply(hosts, frame, part, &reply);
}

void
host_end_with(struct hosts *hosts, struct host_part *part, omen_status status)
{
    if (!part->gone)
        refuse(hosts, part->frame, &part->part, part->begun ? OMEN_E_TIMEOUT : status,
               &part->error);
    part_free(hosts, part);
}

void
host_refused(struct hosts *hosts, struct host_part *part, omen_status status)
{
    if (part->state != PART_WORKING) {
        host_end_with(hosts, part, status);
        return;
    }
    if (!part->gone)
        refuse(hosts, part->frame, &part->part, status, &part->error);
    atomic_store(&part->gone, true);
}

// The token is what had been applied when it was read, or its place in the log.
void
host_end_well(struct hosts *hosts, struct host_part *part, uint64_t term, uint64_t seq)
{
    struct wire_reply reply = host_reply_well(part, term, seq);
    if (!part->gone)
        send_reply(hosts, part->frame, &part->part, &reply);
    part_free(hosts, part);
}

// Statuses as they go over the wire. False: no memory.
bool
host_take_items(struct host_part *part, const struct serve_items *items)
{
    mem_free(part->failures);
    part->failures = NULL;
    part->item_count = 0;
    if (items->count == 0)
        return true;
    part->failures = mem_alloc(items->count);
    if (part->failures == NULL)
        return false;
    part->item_count = items->count;
    for (uint32_t i = 0; i < items->count; i++)
        part->failures[i] = (uint8_t)-items->statuses[i];
    return true;
}

// ---- what comes ----

struct fanout_send
host_send_of(const struct wire_part *part)
{
    return (struct fanout_send){.request = part->request,
                                .part = part->part,
                                .attempt = part->attempt,
                                .kind = (enum fanout_kind)part->kind,
                                .consistency = (enum fanout_consistency)part->consistency,
                                .copy_high = part->copy_high,
                                .copy_low = part->copy_low,
                                .shard = part->shard,
                                .term = part->term,
                                .cfg_ver = part->cfg_ver,
                                .map_version = part->map_version,
                                .first = part->first,
                                .last = part->last,
                                .after_term = part->after_term,
                                .after_seq = part->after_seq,
                                .op_id = {part->op_high, part->op_low}};
}

// All other writes take back, or are as small as the operation that says so.
static bool
adds(const struct wire_part *part)
{
    return part->method == METHOD_POINT_UPSERT || part->method == METHOD_POINT_PATCH ||
           part->method == METHOD_COLLECTION_INDEX_FIELD;
}

static bool
is_logged(const struct hosts *hosts, const struct host_copy *copy, const struct wire_part *part)
{
    const struct replica_uuid op_id = {part->op_high, part->op_low};
    return !replica_uuid_is_none(op_id) && dedupe_find(&host_replica(hosts, copy)->ops, op_id) != 0;
}

static omen_status
has_quota(const struct hosts *hosts, const struct host_copy *copy, const struct wire_part *part,
          struct omen_error *error)
{
    const struct map_shard *shard;
    const struct map_collection *collection = host_collection(hosts, copy, &shard);
    const struct quota_used used = {
        .known = copy->look.due_ns != 0,
        .bytes = {[QUOTA_MEMORY] = copy->memory, [QUOTA_DISK] = copy->bytes},
        .since = copy->log_bytes - copy->looked_log_bytes};
    return collection != NULL ? quota_check(collection, shard, &used, part->ask_bytes, error)
                              : OMEN_E_STALE_MAP;
}

// What a filter lets through is found before the write is in the log, so all that was acknowledged must be there. The operation is looked
// at by the replica as well; but of several entries only the last one has it.
static omen_status
may_write(const struct hosts *hosts, const struct host_copy *copy, const struct wire_part *part,
          struct omen_error *error)
{
    const struct replica *replica = host_replica(hosts, copy);
    if (replica->role == REPLICA_BACKUP)
        return OMEN_E_STALE_MAP;
    if (!replica_is_open(replica) || replica->applied_seq < replica->start_seq)
        return OMEN_E_BUSY;
    omen_status status = host_check_op(hosts, copy, part, error);
    if (status != OMEN_OK || !adds(part))
        return status;
    status = host_check_room(hosts, copy, error);
    if (status == OMEN_OK)
        status = has_quota(hosts, copy, part, error);
    // What is in the log already adds nothing: who asks again shall hear what came of it.
    return status != OMEN_OK && is_logged(hosts, copy, part) ? OMEN_OK : status;
}

bool
host_give_worker(struct hosts *hosts, struct host_copy *copy, struct host_part *part)
{
    const bool writes = part->part.kind == WIRE_PART_WRITE;
    struct work *work = work_new(copy, writes ? WORK_PREPARE : WORK_READ);
    if (work == NULL)
        return false;
    work->part = part;
    work->brief = host_is_brief(copy);
    part->state = PART_WORKING;
    copy->users++;
    work_post(hosts, work);
    return true;
}

static void
begin(struct hosts *hosts, struct host_copy *copy, struct host_part *part, enum admit_how how)
{
    if (how == ADMIT_READ) {
        struct replica_input given = {.kind = REPLICA_IN_READ};
        given.request = part->id;
        part->strong = true;
        part->state = PART_ASKED;
        hosts_give(hosts, copy->uuid, given);
    } else if (!host_give_worker(hosts, copy, part)) {
        host_end_with(hosts, part, OMEN_E_BUSY);
    }
}

void
hosts_part(struct hosts *hosts, struct frame_note *frame)
{
    struct wire_part given;
    struct omen_error error = {0};
    hosts->stats.parts++;
    if (!wire_part_read((struct wire_bytes){frame->body, frame->count}, &given) ||
        given.shard == 0 || part_of_frame(hosts, frame) != NULL) {
        hosts->stats.bad_frames++;
        mem_free(frame);
        return;
    }
    const struct fanout_send send = host_send_of(&given);
    const struct admission admission = copies_admit(&hosts->copies, &send);
    struct host_copy *copy = NULL;
    omen_status status = admission.how == ADMIT_REFUSE ? admission.status : OMEN_OK;
    if (status == OMEN_OK) {
        copy = host_copy_find(hosts, (struct cluster_uuid){given.copy_high, given.copy_low});
        status = host_usable(copy) ? OMEN_OK : OMEN_E_STALE_MAP;
    }
    if (status == OMEN_OK && admission.how == ADMIT_WRITE)
        status = may_write(hosts, copy, &given, &error);
    struct host_part *part = status == OMEN_OK ? part_new(hosts, copy, frame, &given) : NULL;
    if (part != NULL) {
        begin(hosts, copy, part, admission.how);
        return;
    }
    refuse(hosts, frame, &given, status == OMEN_OK ? OMEN_E_BUSY : status, &error);
    mem_free(frame);
}

// What nobody has begun is not done. What is in the log stays there.
void
hosts_cancel(struct hosts *hosts, const struct frame_note *frame)
{
    struct host_part *part = part_of_frame(hosts, frame);
    if (part == NULL || part->gone)
        return;
    hosts->stats.cancelled++;
    atomic_store(&part->gone, true);
    if (part->state == PART_ASKED || part->state == PART_READ)
        part_free(hosts, part); // the replica's word finds nobody
}

// ---- at the worker ----

static void
read_part(struct hosts *hosts, struct work *work)
{
    omen_status statuses[WIRE_BATCH_MAX];
    struct host_part *part = work->part;
    struct serve_items items = {statuses, WIRE_BATCH_MAX, 0};
    encode_reset(&part->answer);
    part->seq = hosted_applied(work->hosted); // what is read is that new, or newer
    work->status = serve_read(work->hosted, &part->part, hosts->works.pool, &part->answer, &items,
                              &work->error);
    if (work->status == OMEN_OK && part->answer.status != OMEN_OK)
        work->status = error_set_plain(&work->error, part->answer.status);
    if (work->status == OMEN_OK && !host_take_items(part, &items))
        work->status = error_set_plain(&work->error, OMEN_E_NO_MEMORY);
}

// Whether what it is answered is wire/found.h.
static bool
finds(const struct host_part *part)
{
    const uint8_t method = part->part.method;
    return method == METHOD_QUERY_SEARCH || method == METHOD_QUERY_BATCH ||
           method == METHOD_QUERY_RANGE;
}

void
work_do_part(struct hosts *hosts, struct work *work)
{
    struct host_part *part = work->part;
    work->begun_ns = os_clock_ns();
    if (atomic_load(&part->gone) || work->begun_ns >= part->deadline_ns)
        work->status = OMEN_E_BUSY; // nothing was done
    else if (work->kind != WORK_PREPARE)
        read_part(hosts, work);
    else
        work->status = serve_prepare(work->hosted, &part->part, &part->op, &work->error);
    if (!finds(part) || work->status != OMEN_OK)
        work->ended_ns = os_clock_ns(); // what was found says how long it took
}

// ---- and back ----

// One that was interrupted says little of the next.
static void
note_search(struct host_copy *copy, uint64_t took_ns)
{
    const uint64_t counted_ns = took_ns < HOST_SEARCH_MOST_NS ? took_ns : HOST_SEARCH_MOST_NS;
    copy->search_ns = copy->search_ns == 0 ? counted_ns : (7 * copy->search_ns + counted_ns) / 8;
}

// What takes long says so at once, and it takes many that do not until that is forgotten.
static void
note_read(struct host_copy *copy, uint64_t took_ns)
{
    copy->read_ns = copy->read_ns == 0 ? took_ns : (7 * copy->read_ns + took_ns) / 8;
}

bool
host_is_brief(const struct host_copy *copy)
{
    return copy->read_ns > 0 && copy->read_ns <= HOST_BRIEF_NS;
}

// What a worker did, counted under hosts->state: workers would fight over the counters.
void
host_count_worked(struct hosts *hosts, struct host_copy *copy, const struct work *work)
{
    struct metrics *metrics = hosts->config.metrics;
    const struct host_part *part = work->part;
    struct found found = {.took_us = 0};
    uint64_t took_ns = work->ended_ns - work->begun_ns;
    if (finds(part) && work->status == OMEN_OK) {
        const struct wire_bytes answer = {part->answer.bytes, (uint32_t)part->answer.count};
        struct plain plain = plain_of(answer);
        found_read(&plain, &found);
        took_ns = found.took_us * 1000;
        if (part->part.method == METHOD_QUERY_SEARCH)
            note_search(copy, took_ns);
    }
    if (work->status == OMEN_OK && work->kind != WORK_PREPARE && work->lane != LANE_SLOW)
        note_read(copy, took_ns);
    if (metrics == NULL)
        return;
    metric_time(&metrics->part_waits, work->begun_ns - part->arrived_ns);
    metric_add(&metrics->evaluations, found.evaluations);
    metric_add(&metrics->exact_distances, found.exact_distances);
    metric_add(&metrics->tail, found.tail);
    metric_time(&metrics->part_times[part->part.kind], took_ns);
}

static void
was_read(struct hosts *hosts, struct host_copy *copy, struct host_part *part)
{
    const struct replica *replica = host_replica(hosts, copy);
    if (!part->strong) {
        host_end_well(hosts, part, replica_term_at(replica, part->seq), part->seq);
        return;
    }
    struct replica_input given = {.kind = REPLICA_IN_READ_DONE};
    given.request = part->id;
    part->state = PART_READ;
    hosts_give(hosts, copy->uuid, given); // host_answer, now or when it was confirmed once more
}

// A strong read that failed, or that nobody waits for: the replica has it under way still.
static void
end_read(struct hosts *hosts, struct host_copy *copy, struct host_part *part, omen_status status)
{
    struct replica_input given = {.kind = REPLICA_IN_READ_DONE};
    const bool strong = part->strong;
    given.request = part->id;
    host_end_with(hosts, part, status);
    if (strong)
        hosts_give(hosts, copy->uuid, given);
}

static void
was_prepared(struct hosts *hosts, struct host_copy *copy, struct host_part *part)
{
    if (part->op.bytes == NULL) { // it is about no point
        const struct replica *replica = host_replica(hosts, copy);
        const uint64_t seq = replica->applied_seq;
        host_end_written(
            hosts, part, &(struct hosted_results){NULL, 0},
            &(struct replica_answer){.term = replica_term_at(replica, seq), .seq = seq});
        return;
    }
    part->state = PART_READY;
    part->next = NULL;
    if (copy->ready_first == NULL)
        copy->ready_first = part;
    else
        copy->ready_last->next = part;
    copy->ready_last = part;
    host_flush(hosts, copy);
}

void
host_part_worked(struct hosts *hosts, struct work *work)
{
    struct host_part *part = work->part;
    struct host_copy *copy = host_copy_of(hosts, work);
    ASSERT(copy != NULL);
    copy->users--;
    host_count_worked(hosts, copy, work);
    part->error = work->error;
    part->error.status = work->status;
    if (!host_usable(copy)) {
        host_end_with(hosts, part, OMEN_E_STALE_MAP);
    } else if (work->status != OMEN_OK || part->gone) {
        hosts->stats.late += work->status == OMEN_E_BUSY && !part->gone;
        end_read(hosts, copy, part, work->status);
        if (work->status == OMEN_E_CORRUPT)
            host_corrupt(hosts, copy);
    } else if (work->kind == WORK_READ) {
        was_read(hosts, copy, part);
    } else {
        was_prepared(hosts, copy, part);
    }
    host_unused(hosts, copy);
}

// ---- their end ----

void
host_parts_end(struct hosts *hosts, struct host_copy *copy)
{
    copy->ready_first = NULL;
    for (uint32_t i = 0; i < HOST_PARTS_MAX && copy->part_count > 0; i++) {
        struct host_part *part = hosts->parts[i];
        if (part == NULL || part->serial != copy->serial || part->state == PART_WORKING)
            continue; // a worker brings it back
        host_end_with(hosts, part,
                      part->state == PART_PROPOSED ? OMEN_E_TIMEOUT : OMEN_E_STALE_MAP);
    }
}

void
host_parts_close(struct hosts *hosts)
{
    for (uint32_t i = 0; hosts->parts != NULL && i < HOST_PARTS_MAX; i++)
        if (hosts->parts[i] != NULL)
            part_free(hosts, hosts->parts[i]);
}
