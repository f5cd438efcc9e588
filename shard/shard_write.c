// shard/shard_write.c -- adds and upserts, in groups: what arrives during one commit is the next.
//
// Shape: handle.
//
// Whoever finds no leader leads: it takes what has queued up, prepares all of it, makes it durable in one commit, applies
// it in order, and hands on to the first of those that have come meanwhile. Nobody waits for a timer.
#include "base/os_wait.h"
#include "shard/checkpoint.h"
#include "shard/shard_log.h"
#include "shard/write.h"

#define GROUP_BYTES_MAX ((size_t)4 << 20) // then what is left is for the next commit
#define GROUP_WRITES_MAX 256u
#define TAIL_BYTES_MAX ((uint64_t)16 << 20) // of codes to be made

enum turn { TURN_WAITING, TURN_LEADS, TURN_DONE };

static omen_status write_rows(struct shard *shard, const omen_batch *given, enum batch_mode mode,
                              struct omen_error *error);
static void write_alone(struct shard *shard, struct write *write);
static void write_one(struct shard *shard, struct write *write);
static void write_queued(struct shard *shard, struct write *write);
static void bound_tail(struct shard *shard);
static struct write *lead_group(struct shard *shard, struct write *queued);

omen_status
shard_add(struct shard *shard, const omen_batch *batch, struct omen_error *error)
{
    return write_rows(shard, batch, BATCH_ADD, error);
}

omen_status
shard_upsert(struct shard *shard, const omen_batch *batch, struct omen_error *error)
{
    return write_rows(shard, batch, BATCH_UPSERT, error);
}

// Whoever wrote the log may have compacted since the checkpoint, and used the slots again.
static omen_status
make_slots(struct shard *shard, size_t count, struct omen_error *error)
{
    const uint32_t slots_max = shard->options.slots_max;
    const struct hnsw *hnsw = shard_target(shard)->hnsw;
    if (count <= slots_max - hnsw_count(hnsw))
        return OMEN_OK;
    if (count > slots_max - hnsw_live(hnsw))
        return error_set(error, OMEN_E_FULL, "%zu rows do not fit: %u of %u slots are used", count,
                         hnsw_live(hnsw), slots_max);
    return compact_target(shard, error);
}

// Room for all that is about to come at once: a table of ids that grows by and by is built anew each time, and pages that
// become full one by one are joined one by one. What comes may be something else, so that there is none is no failure.
static void
make_room_behind(struct shard *shard, size_t count, uint32_t behind)
{
    struct generation *generation = shard_target(shard);
    const uint32_t rows = hnsw_count(generation->hnsw);
    const uint64_t wanted = (uint64_t)count + behind, left = shard->options.slots_max - rows;
    const uint32_t added = (uint32_t)(wanted < left ? wanted : left);
    if (behind == 0 || hnsw_expect(generation->hnsw, rows + added) != OMEN_OK ||
        generation_reserve(generation, rows + added, added) != OMEN_OK)
        return;
    if (behind * (uint64_t)shard->row_bytes >= AHEAD_BYTES_MIN && added > count)
        ahead_begin(&generation->ahead, generation->hnsw, rows + (uint32_t)count, rows + added);
}

omen_status
shard_replay_rows(struct shard *shard, const omen_batch *given, uint32_t behind,
                  struct omen_error *error)
{
    struct write write = {.given = given, .mode = BATCH_REPLAY, .error = error};
    omen_status status = write_check(shard, given, error);
    if (status == OMEN_OK)
        status = make_slots(shard, given->count, error);
    if (status != OMEN_OK || given->count == 0)
        return status;
    make_room_behind(shard, given->count, behind);
    write_one(shard, &write);
    return write.status;
}

static omen_status
write_rows(struct shard *shard, const omen_batch *given, enum batch_mode mode,
           struct omen_error *error)
{
    struct write write = {.given = given, .mode = mode, .error = error};
    omen_status status = shard_may_write(shard, error);
    if (status == OMEN_OK)
        status = write_check(shard, given, error);
    if (status != OMEN_OK || given->count == 0)
        return status;
    if (shard->journal != NULL && !shard->journal->interval)
        write_queued(shard, &write);
    else
        write_alone(shard, &write);
    if (write.status == OMEN_OK)
        shard_writer_rests(shard);
    return write.status;
}

void
shard_writer_rests(struct shard *shard)
{
    if (shard->journal != NULL)
        bound_tail(shard);
    checkpoint_wait(shard);
}

// Rows that are not linked are scanned by every search, and by the first after opening: a writer that is so far ahead links.
static void
bound_tail(struct shard *shard)
{
    struct reader *reader;
    const uint64_t rows_max = TAIL_BYTES_MAX / shard->options.dimension;
    if (!linkers_have_workers(&shard->linkers) ||
        readers_take(&shard->readers, 0, &reader) != OMEN_OK)
        return;
    for (enum linkers_did did = LINKERS_DID; did == LINKERS_DID;) {
        const uint32_t ticket = epoch_enter(&shard->gate);
        const uint32_t tail = hnsw_tail_uncoded(shard_generation(shard)->hnsw);
        epoch_leave(&shard->gate, ticket);
        if (tail <= rows_max)
            break;
        did = linkers_step(&shard->linkers, reader->scratch);
    }
    readers_give(&shard->readers, 0, reader);
}

static void
write_alone(struct shard *shard, struct write *write)
{
    lock_acquire(&shard->writers);
    write_one(shard, write);
    lock_release(&shard->writers);
}

// Under `writers`.
static void
write_one(struct shard *shard, struct write *write)
{
    struct pending pending;
    pending_init(&pending, shard);
    write->status = write_prepare(shard, &pending, write);
    pending_fini(&pending);
    if (write->status == OMEN_OK) {
        if (write->mode != BATCH_REPLAY && shard->journal != NULL) {
            write->status =
                journal_write(shard->journal, OP_WRITE, &write->parts, &write->seq, write->error);
            if (write->status == OMEN_OK)
                shard->applied_seq = write->seq;
        }
        if (write->status == OMEN_OK)
            write_apply(shard, write);
        else
            write_cancel(shard, write);
        if (write->status == OMEN_OK && write->mode != BATCH_REPLAY)
            shard_written(shard, write->batch.replaced);
        write_fini(write);
    }
}

// ---- groups ----

static void
give_turn(struct write *write, enum turn turn)
{
    atomic_store_explicit(&write->turn, turn, memory_order_release);
    os_wake_all(&write->turn); // the address only: its owner may have gone
}

static struct write *
take_queue(struct shard *shard)
{
    lock_acquire(&shard->queue.lock);
    struct write *first = shard->queue.first;
    shard->queue.first = shard->queue.last = NULL;
    lock_release(&shard->queue.lock);
    return first;
}

static void
hand_on(struct shard *shard)
{
    lock_acquire(&shard->queue.lock);
    struct write *next = shard->queue.first;
    shard->queue.led = next != NULL;
    if (next != NULL)
        give_turn(next, TURN_LEADS);
    lock_release(&shard->queue.lock);
}

static void
write_queued(struct shard *shard, struct write *write)
{
    struct write_queue *queue = &shard->queue;
    lock_acquire(&queue->lock);
    if (queue->last != NULL)
        queue->last->next = write;
    else
        queue->first = write;
    queue->last = write;
    const bool leads = !queue->led;
    queue->led = true;
    lock_release(&queue->lock);
    while (!leads && atomic_load_explicit(&write->turn, memory_order_acquire) == TURN_WAITING)
        os_wait(&write->turn, TURN_WAITING);
    if (!leads && atomic_load_explicit(&write->turn, memory_order_acquire) == TURN_DONE)
        return;
    lock_acquire(&shard->writers);
    for (struct write *left = take_queue(shard); left != NULL;)
        left = lead_group(shard, left);
    lock_release(&shard->writers);
    hand_on(shard);
}

static void
finish(struct shard *shard, struct write *const *group, uint32_t count, omen_status status,
       const struct omen_error *error)
{
    size_t replaced = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct write *write = group[i];
        write->status = status;
        if (status == OMEN_OK) {
            shard->applied_seq = write->seq;
            write_apply(shard, write);
            replaced += write->batch.replaced;
        } else {
            *write->error = *error;
            write_cancel(shard, write);
        }
        write_fini(write);
        give_turn(write, TURN_DONE);
    }
    if (status == OMEN_OK)
        shard_written(shard, replaced);
}

// Under `writers`. Brings as many of the queued as go together to their end; returns the rest.
static struct write *
lead_group(struct shard *shard, struct write *queued)
{
    struct write *group[GROUP_WRITES_MAX];
    const struct op_parts *parts[GROUP_WRITES_MAX];
    struct pending pending;
    uint32_t count = 0;
    size_t bytes = 0;
    pending_init(&pending, shard);
    pending.grouped = queued->next != NULL;
    while (queued != NULL && count < GROUP_WRITES_MAX && bytes < GROUP_BYTES_MAX) {
        struct write *write = queued;
        struct write *next = write->next; // before it may go
        write->status = write_prepare(shard, &pending, write);
        if (write->status == OMEN_E_BUSY)
            break;
        queued = next;
        if (write->status != OMEN_OK) {
            give_turn(write, TURN_DONE);
            continue;
        }
        parts[count] = &write->parts;
        group[count++] = write;
        bytes += write->parts.bytes;
    }
    pending_fini(&pending);
    struct omen_error error = {0};
    uint64_t seq = 0;
    omen_status status = OMEN_OK;
    if (count > 0)
        status = journal_write_group(shard->journal, OP_WRITE, parts, count, &seq, &error);
    for (uint32_t i = 0; i < count; i++)
        group[i]->seq = seq + i;
    finish(shard, group, count, status, &error);
    return queued;
}
