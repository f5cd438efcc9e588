// shard/compact.c -- rewrites a shard without its deleted rows, under a new numbering.
//
// Shape: handle, in memory.
//
// The next generation is built beside the one that is searched, with writers and linkers kept out, and takes its place
// by one store. The old one ends when the last reader that saw it has left. Twice the memory is needed meanwhile; when
// it is not there, nothing has changed.
//
// It is due by itself when deleted rows are more than a quarter: so one that lives is copied at most three times for each
// row that was deleted, and no search walks through more than a third too many. The writer that notices leaves it to
// a linking worker, or does it where there is none; or leaves it to the keeper, or the next writer, where it would have to wait.
//
// A checkpoint would put deleted rows, and the next, after a compaction, everything anew beside them: the file would grow by both.
// So before a checkpoint it is due earlier, where there are workers: without them the same calls give the same index. In a small
// index the log that makes a checkpoint due replaces more than a tenth of the rows, and all of them are soon written: there
// nearly each checkpoint of a log of nothing but upserts is one of a new numbering.
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "shard/shard_file.h"

#define DUE_DEAD_MIN 1000u
#define DUE_SHARE 4u        // of all rows, one in so many
#define DUE_SHARE_SAVED 6u  // the same before a checkpoint,
#define DUE_SHARE_SMALL 12u // and where the rows have at most so many bytes
#define SMALL_BYTES ((uint64_t)64 << 20)

static bool is_due(struct shard *shard, uint32_t share);
static omen_status compact(struct shard *shard, struct omen_error *error);
static omen_status next_generation(struct shard *shard, struct generation *from,
                                   struct generation **out, struct renumbering **renumbering,
                                   struct omen_error *error);
static struct renumbering *show(struct shard *shard, const struct generation *old,
                                struct generation *new, struct renumbering *renumbering);
static omen_status fill(const struct generation *from, struct generation *to,
                        struct omen_error *error);
static omen_status copy_fields(const struct generation *from, struct generation *to,
                               struct omen_error *error);
static omen_status renumbering_open(const struct generation *generation, struct renumbering **out);

omen_status
shard_compact(struct shard *shard, struct omen_error *error)
{
    if (shard->options.read_only != 0)
        return error_set_plain(error, OMEN_E_READ_ONLY);
    const omen_status status = compact_for_room(shard, error);
    return status == OMEN_OK ? shard_file_shrink(shard, error) : status;
}

omen_status
compact_for_room(struct shard *shard, struct omen_error *error)
{
    // In turn: somebody may compact again and again, and who builds or writes is to get in between.
    lock_acquire_in_turn(&shard->builds);
    lock_acquire_in_turn(&shard->upkeep);
    lock_acquire_in_turn(&shard->writers);
    const omen_status status = compact(shard, error);
    lock_release(&shard->writers);
    lock_release(&shard->upkeep);
    lock_release(&shard->builds);
    return status;
}

static bool
try_locks(struct shard *shard)
{
    if (!lock_try(&shard->builds))
        return false;
    if (lock_try(&shard->upkeep))
        return true;
    lock_release(&shard->builds);
    return false;
}

void
compact_when_due(struct shard *shard)
{
    // The locks are taken against their order, hence without waiting. Where whoever calibrates or builds holds one, the next write
    // looks again, or the keeper does.
    const bool due = is_due(shard, DUE_SHARE);
    const bool here = due && !linkers_have_workers(&shard->linkers) && try_locks(shard);
    atomic_store_explicit(&shard->compaction_due, due && !here ? 1 : 0, memory_order_release);
    if (!here)
        return;
    struct omen_error error;
    (void)!compact(shard, &error);
    lock_release(&shard->upkeep);
    lock_release(&shard->builds);
}

bool
compact_spare(void *context)
{
    struct shard *shard = context;
    if (atomic_load_explicit(&shard->compaction_due, memory_order_relaxed) == 0 ||
        atomic_exchange_explicit(&shard->compaction_due, 0, memory_order_acquire) == 0)
        return false;
    struct omen_error error;
    lock_acquire_in_turn(&shard->builds); // it comes again at once, where much is upserted
    lock_acquire_in_turn(&shard->upkeep);
    lock_acquire(&shard->writers);
    if (is_due(shard, DUE_SHARE))
        (void)!compact(shard, &error);
    lock_release(&shard->writers);
    lock_release(&shard->upkeep);
    lock_release(&shard->builds);
    return true;
}

void
compact_before_checkpoint(struct shard *shard)
{
    struct omen_error error;
    if (!linkers_have_workers(&shard->linkers) || !lock_try(&shard->builds))
        return; // the checkpoint does not wait for a build
    lock_acquire(&shard->upkeep);
    lock_acquire(&shard->writers);
    const bool small = hnsw_count(shard->target->hnsw) * (uint64_t)shard->row_bytes <= SMALL_BYTES;
    if (is_due(shard, small ? DUE_SHARE_SMALL : DUE_SHARE_SAVED))
        (void)!compact(shard, &error);
    lock_release(&shard->writers);
    lock_release(&shard->upkeep);
    lock_release(&shard->builds);
}

// Under `writers`. Where the second copy would not fit into max_memory it is left to omen_compact.
static bool
is_due(struct shard *shard, uint32_t share)
{
    const struct hnsw *hnsw = shard_generation(shard)->hnsw;
    const uint32_t rows = hnsw_count(hnsw), live = hnsw_live(hnsw), dead = rows - live;
    if (dead < DUE_DEAD_MIN || dead <= rows / share || dead < shard->compaction_after)
        return false;
    const uint64_t limit = shard->options.max_memory;
    if (limit == 0)
        return true;
    const uint64_t used = shard_bytes(shard);
    return used < limit && (double)used * live / rows <= (double)(limit - used);
}

// Under `builds`, `upkeep` and `writers`.
static omen_status
compact(struct shard *shard, struct omen_error *error)
{
    omen_status status = OMEN_OK;
    struct generation *old = shard_generation(shard);
    struct generation *new = NULL;
    struct renumbering *renumbering = NULL;
    if (hnsw_live(old->hnsw) < hnsw_count(old->hnsw)) {
        linkers_pause(&shard->linkers);
        status = next_generation(shard, old, &new, &renumbering, error);
        if (status == OMEN_OK)
            renumbering = show(shard, old, new, renumbering);
        linkers_resume(&shard->linkers, new != NULL ? new->hnsw : old->hnsw);
        // Copying in vain is dear: the next try by itself waits for a quarter more.
        const uint32_t dead = hnsw_count(old->hnsw) - hnsw_live(old->hnsw);
        shard->compaction_after = new != NULL ? 0 : dead + dead / 4;
    }
    if (new != NULL) {
        epoch_wait(&shard->gate);
        mem_free(renumbering); // of four compactions ago
        old->names = NULL;
        generation_close(old);
    }
    return status;
}

// Whoever sees the new generation with a cursor of the old one looks for the way there. Returns the way of four
// compactions ago.
static struct renumbering *
show(struct shard *shard, const struct generation *old, struct generation *new,
     struct renumbering *renumbering)
{
    renumbering =
        atomic_exchange(&shard->renumberings[old->number % RENUMBERINGS_MAX], renumbering);
    new->names = old->names;
    shard->target = new;
    atomic_store_explicit(&shard->generation, new, memory_order_release);
    shard_changed(shard);
    return renumbering;
}

omen_status
compact_target(struct shard *shard, struct omen_error *error)
{
    struct generation *old = shard->target, *new;
    struct renumbering *renumbering;
    const omen_status status = next_generation(shard, old, &new, &renumbering, error);
    if (status != OMEN_OK)
        return status;
    if (shard_generation(shard) == old) {
        renumbering = show(shard, old, new, renumbering);
    } else {
        new->names = old->names;
        shard->target = new;
    }
    epoch_wait(&shard->gate);
    mem_free(renumbering);
    old->names = NULL;
    generation_close(old);
    return OMEN_OK;
}

static omen_status
next_generation(struct shard *shard, struct generation *from, struct generation **out,
                struct renumbering **renumbering, struct omen_error *error)
{
    struct hnsw *hnsw;
    struct reader *reader;
    *out = NULL;
    // Everything is written anew: what was damaged would pass for sound.
    omen_status status = shard_file_verify_sources(shard, error);
    if (status != OMEN_OK)
        return status;
    status = renumbering_open(from, renumbering);
    if (status == OMEN_OK)
        status = readers_take(&shard->readers, 0, &reader);
    if (status != OMEN_OK) {
        mem_free(*renumbering);
        return error_set_plain(error, status);
    }
    status = hnsw_compact(from->hnsw, reader->scratch, &hnsw);
    readers_give(&shard->readers, 0, reader);
    if (status == OMEN_OK)
        status = generation_open(hnsw, from->slots_max, &shard->gate, out);
    if (status == OMEN_OK) {
        (*out)->number = from->number + 1;
        status = fill(from, *out, error);
    } else {
        (void)error_set_plain(error, status);
    }
    if (status == OMEN_OK)
        return OMEN_OK;
    mem_free(*renumbering);
    generation_close(*out);
    *out = NULL;
    return status;
}

// Ids, payloads and fields of what lives, in the order of the slots: as hnsw_compact numbers them.
static omen_status
fill(const struct generation *from, struct generation *to, struct omen_error *error)
{
    const uint32_t rows = hnsw_count(from->hnsw);
    struct payload_room room = {.slots = hnsw_live(from->hnsw)};
    size_t bytes;
    for (uint32_t slot = 0; slot < rows; slot++) {
        if (!hnsw_erased(from->hnsw, slot) && payloads_get(from->payloads, slot, &bytes) != NULL) {
            room.count++;
            room.bytes += bytes;
        }
    }
    omen_status status = generation_reserve(to, room.slots, room.slots);
    if (status == OMEN_OK && room.count > 0)
        status = payloads_reserve(to->payloads, &room);
    if (status == OMEN_OK && from->versions != NULL && (status = generation_version(to)) == OMEN_OK)
        status = versions_reserve(to->versions, room.slots);
    if (status != OMEN_OK)
        return error_set_plain(error, status);
    uint32_t next = 0;
    for (uint32_t slot = 0; slot < rows; slot++) {
        if (hnsw_erased(from->hnsw, slot))
            continue;
        idmap_name(to->ids, next, idmap_id(from->ids, slot));
        (void)idmap_put(to->ids, next);
        if (to->versions != NULL)
            versions_set(to->versions, next, versions_get(from->versions, slot));
        const void *payload = payloads_get(from->payloads, slot, &bytes);
        if (payload != NULL)
            payloads_set(to->payloads, next, payload, bytes);
        next++;
    }
    ASSERT(next == room.slots && next == hnsw_count(to->hnsw));
    return copy_fields(from, to, error);
}

static omen_status
copy_fields(const struct generation *from, struct generation *to, struct omen_error *error)
{
    omen_status status = OMEN_OK;
    for (uint32_t i = 0; i < fields_count(from->fields) && status == OMEN_OK; i++) {
        struct field_spec spec;
        uint32_t bad_slot;
        fields_spec(from->fields, i, &spec);
        status =
            fields_declare(to->fields, &spec, to->payloads, hnsw_count(to->hnsw), &bad_slot, error);
    }
    return status;
}

static omen_status
renumbering_open(const struct generation *generation, struct renumbering **out)
{
    const uint32_t rows = hnsw_count(generation->hnsw);
    *out = mem_alloc(sizeof **out + bitmap_words(rows) * sizeof(uint64_t));
    if (*out == NULL)
        return OMEN_E_NO_MEMORY;
    (*out)->number = generation->number;
    (*out)->lived = (struct bitmap){.words = (*out)->words, .count = rows};
    memset((*out)->words, 0, bitmap_words(rows) * sizeof(uint64_t));
    for (uint32_t slot = 0; slot < rows; slot++)
        if (!hnsw_erased(generation->hnsw, slot))
            bitmap_set(&(*out)->lived, slot);
    return OMEN_OK;
}
