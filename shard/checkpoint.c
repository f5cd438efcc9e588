// shard/checkpoint.c -- brings what a shard is to its file.
//
// Shape: handle.
//
// What must be as of one moment is copied under the write lock: counts, erased bits, field indexes. What only grows is
// walked afterwards without it. What changes in place (payload places) is copied under it a few pieces at a time, or, where the
// log is a host's, all of it at the moment (shard/outside.h).
// The write lock is never waited for while a transaction is open: a writer holds it while it waits for one.
#include "shard/checkpoint.h"

#include <string.h>

#include "base/alloc.h"
#include "shard/outside.h"

#define HELD_MAX 8u // pieces copied in one stay under the write lock
// Of log that make a checkpoint due: an eighth of what the rows have, which is what the file needs besides.
#define LOG_BYTES_MIN ((uint64_t)4 << 20)
#define LOG_BYTES_USUAL ((uint64_t)16 << 20)
#define LOG_BYTES_MAX ((uint64_t)64 << 20)
#define LOG_SHARE 8u
#define LOG_AHEAD 2u // times that, and writers wait for the checkpoint that is being made
// Of log a row where there are many: each checkpoint puts the whole table of ids, a quarter of it.
#define TABLE_BYTES 24u

struct held {
    uint32_t array, piece;
    size_t count; // 0: dropped
    void *bytes;  // IMAGE_PIECE_BYTES of room
};

struct save {
    struct shard *shard;
    struct journal *journal;
    bool grown; // not all links
    struct generation *generation;
    struct hnsw_save *index;
    struct fields_frozen *fields;
    struct names_mark names;
    struct blocks_save *blocks;
    struct image_sink sink;
    struct shard_head head;
    struct manifest manifest;
    struct outside_save outside; // where the log is a host's: in place of `held`
    struct held held[HELD_MAX];
    uint32_t held_count;
};

static omen_status save_all(struct save *save, struct omen_error *error);
static omen_status save_begin(struct save *save, struct omen_error *error);
static omen_status sync_first(void *journal, struct omen_error *error);
static void save_end(struct save *save, bool saved);
static omen_status put_grown(struct save *save);
static omen_status put_changed(struct save *save, struct omen_error *error);
static omen_status put_heads(struct save *save);
static omen_status finish(struct save *save, struct omen_error *error);

// Bytes of log that make a checkpoint due.
static uint64_t
log_bytes_wanted(const struct shard *shard, const struct manifest *manifest)
{
    const uint64_t rows = manifest->rows;
    const uint64_t share = rows * shard->row_bytes / LOG_SHARE;
    uint64_t wanted = share < LOG_BYTES_USUAL ? share : LOG_BYTES_USUAL;
    if (wanted < rows * TABLE_BYTES)
        wanted = rows * TABLE_BYTES;
    if (wanted < LOG_BYTES_MIN)
        return LOG_BYTES_MIN;
    return wanted < LOG_BYTES_MAX ? wanted : LOG_BYTES_MAX;
}

static bool
writes_a_file(const struct shard *shard)
{
    return shard->journal != NULL && shard->options.read_only == 0;
}

bool
checkpoint_due(struct shard *shard)
{
    struct manifest manifest;
    if (!writes_a_file(shard))
        return false;
    if (shard->outside != NULL)
        return outside_due(shard->outside);
    const uint64_t bytes = journal_tail(shard->journal, &manifest);
    return bytes >= log_bytes_wanted(shard, &manifest);
}

// Behind a compaction the file holds two numberings until the checkpoint is made, so the log waits at half of that.
void
checkpoint_wait(struct shard *shard)
{
    struct manifest manifest;
    if (!writes_a_file(shard))
        return;
    if (shard->outside != NULL) {
        outside_wait(shard->outside);
        return;
    }
    const uint64_t bytes = journal_tail(shard->journal, &manifest);
    const uint32_t ticket = epoch_enter(&shard->gate);
    const bool compacted = shard_generation(shard)->number != manifest.generation;
    epoch_leave(&shard->gate, ticket);
    if (bytes < (compacted ? 1 : LOG_AHEAD) * log_bytes_wanted(shard, &manifest))
        return;
    lock_acquire(&shard->upkeep);
    lock_release(&shard->upkeep);
}

bool
checkpoint_worthwhile(struct shard *shard)
{
    struct manifest last;
    (void)journal_tail(shard->journal, &last);
    const struct generation *generation = shard->target;
    return last.seq != shard->applied_seq || last.generation != generation->number ||
           last.linked != hnsw_linked(generation->hnsw) || hnsw_links_behind(generation->hnsw);
}

omen_status
checkpoint_grown(struct shard *shard, struct omen_error *error)
{
    struct save save = {.shard = shard, .journal = shard->journal, .grown = true};
    lock_acquire(&shard->upkeep);
    const omen_status status = save_all(&save, error);
    lock_release(&shard->upkeep);
    return status;
}

omen_status
checkpoint(struct shard *shard, struct omen_error *error)
{
    lock_acquire(&shard->upkeep);
    const omen_status status = checkpoint_into(shard, shard->journal, error);
    lock_release(&shard->upkeep);
    return status;
}

omen_status
checkpoint_into(struct shard *shard, struct journal *journal, struct omen_error *error)
{
    struct save save = {.shard = shard, .journal = journal};
    return save_all(&save, error);
}

static omen_status
save_all(struct save *save, struct omen_error *error)
{
    omen_status status = save_begin(save, error);
    if (status != OMEN_OK)
        return status;
    error->status = OMEN_OK;
    status = put_grown(save);
    if (status == OMEN_OK)
        status = put_changed(save, error);
    if (status == OMEN_OK)
        status = put_heads(save);
    if (status != OMEN_OK && blocks_save_error(save->blocks)->status == status)
        *error = *blocks_save_error(save->blocks);
    else if (status != OMEN_OK && error->status != status)
        (void)error_set_plain(error, status);
    if (status == OMEN_OK)
        status = blocks_save_flush(save->blocks, error);
    if (status == OMEN_OK)
        status = finish(save, error);
    save_end(save, status == OMEN_OK);
    return status;
}

static omen_status
make_room_for_held(struct save *save)
{
    for (uint32_t i = 0; i < HELD_MAX; i++) {
        save->held[i].bytes = mem_alloc(IMAGE_PIECE_BYTES);
        if (save->held[i].bytes == NULL)
            return OMEN_E_NO_MEMORY;
    }
    return OMEN_OK;
}

// Under `writers`: each part notes what it has now, and the heads say how much that is. `last` is the checkpoint before.
static omen_status
mark_all(struct save *save, const struct manifest *last)
{
    struct shard *shard = save->shard;
    struct generation *generation = shard_generation(shard);
    save->generation = generation;
    omen_status status = idmap_own(generation->ids); // its table will lie elsewhere
    if (status == OMEN_OK)
        status = save->grown ? hnsw_save_begin_grown(generation->hnsw, &save->index)
                             : hnsw_save_begin(generation->hnsw, &save->index);
    if (status == OMEN_OK)
        status = fields_freeze(generation->fields, hnsw_count(generation->hnsw), &save->fields);
    if (status == OMEN_OK)
        status = names_mark(generation->names, &save->names);
    save->head = (struct shard_head){
        .bytes = sizeof save->head,
        .kind = atomic_load(&shard->kind),
        .next_id = shard->next_id,
        .names = save->names.count,
        .rows = hnsw_count(generation->hnsw),
        .live = hnsw_live(generation->hnsw),
        .mark = shard->mark,
    };
    if (shard->outside != NULL) {
        save->head.mark = shard->outside->mark;
        save->head.mark.seq = shard->applied_seq;
        if (status == OMEN_OK)
            status = outside_save_begin(shard, save->head.rows, &save->outside);
    }
    save->manifest = (struct manifest){
        .checkpoint = last->checkpoint + 1,
        .seq = shard->applied_seq,
        .generation = generation->number,
        .rows = save->head.rows,
        .linked = status == OMEN_OK ? hnsw_save_linked(save->index) : 0,
    };
    return status;
}

static omen_status
save_begin(struct save *save, struct omen_error *error)
{
    struct shard *shard = save->shard;
    struct manifest last;
    (void)journal_tail(save->journal, &last);
    omen_status status = make_room_for_held(save);
    if (status == OMEN_OK) {
        lock_acquire(&shard->writers);
        status = mark_all(save, &last);
        lock_release(&shard->writers);
    }
    if (status == OMEN_OK)
        status = blocks_save_open(save->journal->kv, &save->manifest, &save->blocks, error);
    else
        (void)error_set_plain(error, status);
    if (status != OMEN_OK) {
        save_end(save, false);
        return status;
    }
    // A piece that was not whole when it was loaded is ours since a row came behind it, which the counts above include. The
    // first transaction that puts it sets the pages free that it lay in, and a later one of this checkpoint may use them.
    checkpoint_wait_for_holders(shard);
    blocks_save_behind(save->blocks, sync_first, save->journal);
    save->sink = blocks_save_sink(save->blocks);
    return OMEN_OK;
}

// What a piece has of a write that is not durable would outlive it: part of it, a payload gone, or a row that nothing
// links to any more, because it was replaced.
static omen_status
sync_first(void *journal, struct omen_error *error)
{
    return journal_sync(journal, error);
}

static void
save_end(struct save *save, bool saved)
{
    blocks_save_close(save->blocks);
    fields_frozen_close(save->fields);
    if (save->index != NULL)
        hnsw_save_close(save->index, saved ? HNSW_SAVED : HNSW_NOT_SAVED);
    if (!saved && save->generation != NULL) {
        lock_acquire(&save->shard->writers);
        generation_unsaved(save->generation);
        lock_release(&save->shard->writers);
    }
    for (uint32_t i = 0; i < HELD_MAX; i++)
        mem_free(save->held[i].bytes);
    if (save->shard->outside != NULL)
        outside_save_end(save->shard->outside, &save->outside, save->manifest.seq, saved);
}

static omen_status
put_grown(struct save *save)
{
    struct generation *generation = save->generation;
    const uint32_t rows = save->head.rows;
    omen_status status = hnsw_save_arrays(save->index, &save->sink);
    if (status == OMEN_OK)
        status = idmap_save_ids(generation->ids, rows, &save->sink);
    if (status == OMEN_OK)
        status =
            idmap_save_table(generation->ids, rows, hnsw_save_erased(save->index), &save->sink);
    if (status == OMEN_OK)
        status = names_save(generation->names, &save->names, &save->sink);
    if (status == OMEN_OK)
        status = fields_frozen_put(save->fields, &save->sink);
    return status;
}

// ---- under the write lock, a few pieces at a time ----

static omen_status
hold_put(void *context, uint32_t array, uint32_t piece, const void *bytes, size_t count)
{
    struct save *save = context;
    struct held *held = &save->held[save->held_count++];
    held->array = array;
    held->piece = piece;
    held->count = count;
    memcpy(held->bytes, bytes, count);
    return OMEN_OK;
}

static omen_status
hold_drop(void *context, uint32_t array, uint32_t piece)
{
    struct save *save = context;
    struct held *held = &save->held[save->held_count++];
    held->array = array;
    held->piece = piece;
    held->count = 0;
    return OMEN_OK;
}

static omen_status
put_held(struct save *save)
{
    omen_status status = OMEN_OK;
    for (uint32_t i = 0; i < save->held_count && status == OMEN_OK; i++) {
        const struct held *held = &save->held[i];
        status = held->count > 0 ? save->sink.put(save->sink.context, held->array, held->piece,
                                                  held->bytes, held->count)
                                 : save->sink.drop(save->sink.context, held->array, held->piece);
    }
    save->held_count = 0;
    return status;
}

static omen_status
put_changed(struct save *save, struct omen_error *error)
{
    struct shard *shard = save->shard;
    struct generation *generation = save->generation;
    const struct image_sink hold = {.put = hold_put, .drop = hold_drop, .context = save};
    struct generation_saving at = {0};
    bool more = true;
    if (shard->outside != NULL)
        return outside_save_put(&save->outside, &save->sink);
    while (more) {
        omen_status status = blocks_save_flush(save->blocks, error);
        if (status != OMEN_OK)
            return status;
        lock_acquire(&shard->writers);
        while (more && status == OMEN_OK && save->held_count < HELD_MAX)
            status = generation_save_step(generation, save->head.rows, &at, &hold, &more);
        lock_release(&shard->writers);
        epoch_wait(&shard->gate); // a search may be where a piece lay before it was ours
        if (status == OMEN_OK)
            status = put_held(save);
        if (status != OMEN_OK)
            return status;
    }
    return OMEN_OK;
}

static omen_status
put_heads(struct save *save)
{
    omen_status status = hnsw_save_head(save->index, &save->sink);
    if (status == OMEN_OK)
        status =
            save->sink.put(save->sink.context, IMAGE_SHARD_HEAD, 0, &save->head, sizeof save->head);
    return status;
}

static omen_status
finish(struct save *save, struct omen_error *error)
{
    struct journal *journal = save->journal;
    const struct blocks_late_list late = outside_save_late(&save->outside);
    omen_status status = save->shard->outside == NULL
                             ? blocks_save_finish(save->blocks, &save->manifest, error)
                             : blocks_save_finish_late(save->blocks, &save->manifest, &late, error);
    if (status != OMEN_OK)
        return status;
    // From here on it is the last checkpoint; what fails now is tried again after the next one.
    struct omen_error ignored;
    bool done = false;
    epoch_wait(&save->shard->gate); // as above, for what is erased now
    status = journal_checkpointed(journal, &save->manifest, &ignored);
    while (status == OMEN_OK && !done)
        status = blocks_clean(journal->kv, &save->manifest, &done, &ignored);
    return OMEN_OK;
}
