// shard/shard_file.c -- a shard's file as a whole: flushing, copying, verifying, making it small.
//
// Shape: handle.
#include "shard/shard_file.h"

#include "shard/checkpoint.h"
#include "shard/shard_follow.h"

#define SHRINK_SHARE 8u // worth it when one part in so many of the file holds nothing

static omen_status copy_memory(struct shard *shard, const char *path, struct omen_error *error);
static omen_status shrink(struct shard *shard, struct omen_error *error);

static bool
writes_a_file(const struct shard *shard)
{
    return shard->journal != NULL && shard->options.read_only == 0;
}

omen_status
shard_flush(struct shard *shard, struct omen_error *error)
{
    const omen_status status = shard_build(shard, NULL, error);
    if (status != OMEN_OK || !writes_a_file(shard))
        return status;
    compact_before_checkpoint(shard);
    return checkpoint(shard, error);
}

static omen_status
copy_file(struct shard *shard, const char *path, struct omen_error *error)
{
    shard_follow_hold(shard);
    const omen_status status = kv_copy(shard->journal->kv, path, error);
    shard_follow_let_go(shard);
    return status;
}

// What was copied from a host's is an index of its own.
static omen_status
let_go(const char *path, struct omen_error *error)
{
    omen_options options = OMEN_OPTIONS_INIT;
    struct shard *copy;
    options.path = path;
    options.threads = 1;
    omen_status status = shard_open(&options, &copy, error);
    if (status != OMEN_OK)
        return status;
    copy->mark.let_go = 1;
    status = checkpoint(copy, error);
    shard_close(copy);
    return status;
}

omen_status
shard_copy(struct shard *shard, const char *path, struct omen_error *error)
{
    omen_status status = OMEN_OK;
    if (shard->journal == NULL)
        return copy_memory(shard, path, error);
    if (writes_a_file(shard))
        status = checkpoint(shard, error); // so that the copy opens without a log
    if (status == OMEN_OK)
        status = copy_file(shard, path, error);
    if (status == OMEN_OK && atomic_load_explicit(&shard->is_anothers, memory_order_relaxed))
        status = let_go(path, error);
    return status == OMEN_OK ? OMEN_OK : error_about(error, status, path);
}

// A new file, into which everything is put at once; before all of it is there, there is none.
static omen_status
copy_memory(struct shard *shard, const char *path, struct omen_error *error)
{
    struct journal journal;
    const struct journal_options wanted = shard_options_to_keep(&shard->options);
    omen_status status = journal_make(&journal, path, &wanted, error);
    if (status == OMEN_OK) {
        lock_acquire(&shard->builds);
        lock_acquire(&shard->upkeep);
        lock_acquire(&shard->writers);
        hnsw_touch_all(shard->target->hnsw);
        generation_unsaved(shard->target); // nothing of an index in memory is lent
        lock_release(&shard->writers);
        status = checkpoint_into(shard, &journal, error);
        lock_release(&shard->upkeep);
        lock_release(&shard->builds);
        if (status == OMEN_OK)
            status = journal_publish(&journal, error);
        journal_close(&journal);
    }
    return status == OMEN_OK ? OMEN_OK : error_about(error, status, path);
}

omen_status
shard_file_verify(struct shard *shard, struct omen_error *error)
{
    struct kv_txn *txn;
    struct blocks_report report;
    if (shard->journal == NULL)
        return OMEN_OK;
    shard_follow_hold(shard);
    omen_status status = kv_begin_read(shard->journal->kv, &txn, error);
    if (status == OMEN_OK) {
        status = blocks_verify(txn, &report, error);
        kv_abort(txn);
    }
    shard_follow_let_go(shard);
    return status;
}

omen_status
shard_file_verify_sources(struct shard *shard, struct omen_error *error)
{
    struct kv_txn *txn;
    if (!writes_a_file(shard))
        return OMEN_OK;
    omen_status status = kv_begin_read(shard->journal->kv, &txn, error);
    if (status == OMEN_OK) {
        status = blocks_verify_sources(txn, error);
        kv_abort(txn);
    }
    return status;
}

omen_status
shard_file_shrink(struct shard *shard, struct omen_error *error)
{
    struct kv_usage usage;
    if (!writes_a_file(shard))
        return OMEN_OK;
    omen_status status = checkpoint(shard, error);
    if (status == OMEN_OK)
        status = kv_usage(shard->journal->kv, &usage, error);
    if (status != OMEN_OK || usage.free_bytes < usage.file_bytes / SHRINK_SHARE)
        return status;
    lock_acquire(&shard->builds);
    lock_acquire(&shard->upkeep);
    lock_acquire(&shard->writers);
    linkers_pause(&shard->linkers);
    status = shrink(shard, error);
    if (status == OMEN_E_BUSY) // somebody copies it, say: the next compaction will
        status = OMEN_OK;
    linkers_resume(&shard->linkers, shard->target->hnsw);
    lock_release(&shard->writers);
    lock_release(&shard->upkeep);
    lock_release(&shard->builds);
    return status;
}

// Maps the small file in place of the large one. What the shard holds stays the same: its last checkpoint, and the log.
static omen_status
shrink(struct shard *shard, struct omen_error *error)
{
    struct journal *journal = shard->journal;
    struct generation *old = shard->target;
    const uint64_t applied = shard->applied_seq, next_id = shard->next_id;
    struct kv_txn *txn;
    if (shard->outside != NULL && journal->manifest.seq != applied)
        return OMEN_E_BUSY; // an entry came behind the checkpoint, and no log here has it
    omen_status status = journal_sync(journal, error); // what is only in memory would be lost
    if (status == OMEN_OK)
        status = kv_shrink(journal->kv, error);
    if (status == OMEN_OK)
        status = kv_begin_read(journal->kv, &txn, error);
    if (status != OMEN_OK)
        return status;
    shard->target = NULL;
    status = shard_load(shard, txn, &journal->manifest, error);
    kv_abort(txn);
    if (status != OMEN_OK) {
        generation_close(shard->target);
        shard->target = old;
        shard->applied_seq = applied;
        shard->next_id = next_id;
        return status;
    }
    atomic_store_explicit(&shard->generation, shard->target, memory_order_release);
    shard_changed(shard);
    epoch_wait(&shard->gate);
    generation_close(old);
    kv_shrunk(journal->kv);
    return OMEN_OK;
}
