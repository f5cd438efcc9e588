// shard/shard_follow.c -- a shard that another process writes.
//
// Shape: handle.
#include "shard/shard_follow.h"

#include <string.h>

#include "base/alloc.h"
#include "base/os_timer.h"

#define LOOK_MS 1000u // a reader that nobody asks lets go of old pages within it

struct follower {
    struct lock lock;
    _Atomic(struct journal *)
        journal; // the shard's; exchanged when the file was, and read inside the gate
    char *path;
    _Atomic uint64_t seen;    // the commit up to which everything was taken over
    struct kv_txn *pin;       // what the generation's pieces are read in
    struct manifest manifest; // of that checkpoint
    uint32_t number;          // of the generation when it was loaded
    bool compacted;           // in loading it
    struct timer *timer;
    bool fetched; // the timer's own
};

static uint32_t look(void *context);
static omen_status refresh(struct shard *shard, struct omen_error *error);
static omen_status exchange(struct shard *shard, struct kv_txn *txn,
                            const struct manifest *manifest, struct omen_error *error);
static void give_number(struct shard *shard, const struct generation *old,
                        const struct manifest *manifest);
static omen_status open_anew(struct shard *shard, struct omen_error *error);

omen_status
shard_follow_begin(struct shard *shard, struct omen_error *error)
{
    struct follower *follower = mem_alloc_zero(1, sizeof *follower);
    if (follower == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    lock_init(&follower->lock);
    atomic_init(&follower->journal, shard->journal);
    shard->follower = follower; // shard_close ends what is begun here
    follower->path = mem_alloc(strlen(shard->options.path) + 1);
    if (follower->path == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    memcpy(follower->path, shard->options.path, strlen(shard->options.path) + 1);
    omen_status status = kv_begin_read(shard->journal->kv, &follower->pin, error);
    if (status == OMEN_OK)
        status = manifest_read(follower->pin, &follower->manifest, error);
    lock_acquire(&shard->writers);
    if (status == OMEN_OK)
        status = shard_load(shard, follower->pin, &follower->manifest, error);
    lock_release(&shard->writers);
    if (status != OMEN_OK)
        return status;
    give_number(shard, NULL, &follower->manifest);
    atomic_store_explicit(&shard->generation, shard->target, memory_order_release);
    atomic_store(&follower->seen, kv_snapshot(follower->pin));
    if (timer_open(look, shard, &follower->timer) != OMEN_OK)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    timer_wake(follower->timer);
    return OMEN_OK;
}

void
shard_follow_stop(struct shard *shard)
{
    if (shard->follower == NULL)
        return;
    timer_close(shard->follower->timer);
    shard->follower->timer = NULL;
}

void
shard_follow_end(struct shard *shard)
{
    struct follower *follower = shard->follower;
    if (follower == NULL)
        return;
    kv_abort(follower->pin);
    lock_fini(&follower->lock);
    mem_free(follower->path);
    mem_free(follower);
    shard->follower = NULL;
}

static uint32_t
look(void *context)
{
    struct shard *shard = context;
    struct omen_error ignored; // who asks next is told
    (void)!shard_follow(shard, &ignored);
    if (!shard->follower->fetched) {
        // Readers share one copy of the graph, in the page cache, instead of promoting it to one each.
        const uint32_t ticket = epoch_enter(&shard->gate);
        hnsw_will_need(shard_generation(shard)->hnsw);
        epoch_leave(&shard->gate, ticket);
        shard->follower->fetched = true;
    }
    shard_follow_hold(shard); // who applies the log may compact
    const bool more = shard_load_field(shard);
    shard_follow_let_go(shard);
    return more ? 0 : LOOK_MS;
}

// After a writer was killed between writing a head and LMDB's lock file, that head is seen here but by no transaction, until
// another writer comes. Each call looks in vain until then: 1.3 us, and one after the other.
static bool
is_behind(struct shard *shard)
{
    struct follower *follower = shard->follower;
    const uint32_t ticket = epoch_enter(&shard->gate);
    struct kv *kv = atomic_load_explicit(&follower->journal, memory_order_acquire)->kv;
    const bool behind =
        kv_commits(kv) != atomic_load_explicit(&follower->seen, memory_order_acquire) ||
        kv_moved(kv);
    epoch_leave(&shard->gate, ticket);
    return behind;
}

omen_status
shard_follow(struct shard *shard, struct omen_error *error)
{
    struct follower *follower = shard->follower;
    omen_status status = OMEN_OK;
    if (!is_behind(shard))
        return OMEN_OK;
    lock_acquire(&follower->lock);
    if (is_behind(shard))
        status = kv_moved(shard->journal->kv) ? open_anew(shard, error) : refresh(shard, error);
    lock_release(&follower->lock);
    return status;
}

void
shard_follow_hold(struct shard *shard)
{
    if (shard->follower != NULL)
        lock_acquire(&shard->follower->lock);
}

void
shard_follow_let_go(struct shard *shard)
{
    if (shard->follower != NULL)
        lock_release(&shard->follower->lock);
}

static omen_status
refresh(struct shard *shard, struct omen_error *error)
{
    struct follower *follower = shard->follower;
    struct manifest manifest;
    struct kv_txn *txn;
    omen_status status = kv_begin_read(shard->journal->kv, &txn, error);
    if (status != OMEN_OK)
        return status;
    const uint64_t seen = kv_snapshot(txn);
    status = manifest_read(txn, &manifest, error);
    if (status == OMEN_OK && manifest.checkpoint != follower->manifest.checkpoint) {
        status = exchange(shard, txn, &manifest, error); // `txn` is the pin then
        txn = status == OMEN_OK ? NULL : txn;
    } else if (status == OMEN_OK) {
        lock_acquire(&shard->writers);
        status = shard_catch_up(shard, txn, error);
        lock_release(&shard->writers);
    }
    kv_abort(txn);
    if (status == OMEN_OK)
        atomic_store_explicit(&follower->seen, seen, memory_order_release);
    return status;
}

// The new checkpoint takes the place of the old one, which ends when nobody uses it any more.
static omen_status
exchange(struct shard *shard, struct kv_txn *txn, const struct manifest *manifest,
         struct omen_error *error)
{
    struct follower *follower = shard->follower;
    struct generation *old = shard->target;
    const uint64_t applied = shard->applied_seq;
    lock_acquire(&shard->upkeep);
    lock_acquire(&shard->writers);
    shard->target = NULL;
    const omen_status status = shard_load(shard, txn, manifest, error);
    if (status != OMEN_OK) {
        generation_close(shard->target);
        shard->target = old;
        shard->applied_seq = applied;
        lock_release(&shard->writers);
        lock_release(&shard->upkeep);
        return status;
    }
    give_number(shard, old, manifest);
    atomic_store_explicit(&shard->generation, shard->target, memory_order_release);
    shard_changed(shard);
    epoch_wait(&shard->gate);
    generation_close(old);
    kv_abort(follower->pin);
    follower->pin = txn;
    follower->manifest = *manifest;
    lock_release(&shard->writers);
    lock_release(&shard->upkeep);
    return OMEN_OK;
}

// Cursors name a numbering of slots by its generation's number. Ours may have compacted by themselves, at another moment than
// the writer, so the file's numbers could name two. What is loaded goes on with the old number where it goes on with
// the old numbering; else it gets a new one, and cursors of before are refused.
static void
give_number(struct shard *shard, const struct generation *old, const struct manifest *manifest)
{
    struct follower *follower = shard->follower;
    struct generation *new = shard->target;
    const bool compacted = new->number != manifest->generation;
    const bool same = old != NULL && manifest->generation == follower->manifest.generation &&
                      old->number == follower->number && !follower->compacted && !compacted;
    if (old != NULL)
        new->number = same ? old->number : old->number + 1;
    follower->number = new->number;
    follower->compacted = compacted;
}

// The writer made the file small: there is another one. After a failure the old one is asked on.
static omen_status
open_anew(struct shard *shard, struct omen_error *error)
{
    struct follower *follower = shard->follower;
    struct journal *old = shard->journal;
    const struct journal_options wanted = {0};
    struct journal_options kept;
    omen_options options = shard->options;
    struct kv_txn *txn = NULL;
    struct manifest manifest;
    struct journal *journal = mem_alloc_zero(1, sizeof *journal);
    if (journal == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    options.path = follower->path;
    omen_status status = journal_open(journal, &options, &wanted, &kept, error);
    if (status != OMEN_OK) {
        mem_free(journal);
        return status;
    }
    status = kv_begin_read(journal->kv, &txn, error);
    if (status == OMEN_OK)
        status = manifest_read(txn, &manifest, error);
    if (status == OMEN_OK) {
        const uint64_t seen = kv_snapshot(txn);
        shard->journal = journal;
        atomic_store_explicit(&follower->journal, journal, memory_order_release);
        status = exchange(shard, txn, &manifest, error);
        if (status == OMEN_OK)
            atomic_store_explicit(&follower->seen, seen, memory_order_release);
    }
    if (status != OMEN_OK) {
        shard->journal = old;
        atomic_store_explicit(&follower->journal, old, memory_order_release);
        epoch_wait(&shard->gate); // somebody may look at the new one
        kv_abort(txn);
        old = journal;
    }
    journal_close(old);
    mem_free(old);
    return status;
}
