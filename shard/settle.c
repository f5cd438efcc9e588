// shard/settle.c -- gives the memory of rows that are in the file back.
//
// Shape: handle.
//
// A row never changes, so a piece of rows that a checkpoint put is as good in the file's map as in our memory. Searches
// read only the few that they rerank; linking reads more, so this comes after a checkpoint and not with every write.
//
// A piece moves three ways, and whoever found its address before may still read it there:
// - settled (rows only): from our memory to the map. Our memory is given back after checkpoint_wait_for_holders.
// - ours (links, codes by promotion; links when they are written; a begun piece of any when a row comes behind it): from the
//   map to our memory. Where it lay stays as it was until the piece is put again. A begun piece can be put once a row is
//   behind it, and is ours then; a checkpoint waits for holders between counting rows and the first put. Codes and
//   rows do not change otherwise. Links do, at any time, and are put without waiting: a save reads each row under its lock
//   and so after all who hold it, and who reads without it takes any bytes for links (index/graph.h).
// - with its generation (compaction, the small file, a follower's new checkpoint): the gate is waited for, with `writers`
//   held and linkers paused, before the old generation, the old map or the follower's pinned snapshot ends.
//
// Addresses are held: by searches and promotion inside the gate; by linkers and repairers inside a step; by verifying and
// statistics under `writers`; by saves, calibration and compaction under `upkeep`, which keeps settling and checkpoints
// out. The first three are the holders that are waited for. A bulk build is none: it reads rows and codes, of which none
// moves while it holds `builds` (no settling, no promotion; a begun piece is ours before it begins). A follower has no linkers, promotes and settles nothing, and
// reads in one snapshot, from which no page is used again.
#include "shard/checkpoint.h"

static omen_status settle(struct shard *shard, uint32_t *settled, struct omen_error *error);

void
checkpoint_settle(struct shard *shard)
{
    struct omen_error ignored; // what could not be looked up stays where it is
    uint32_t settled = 0;
    if (!lock_try(&shard->builds))
        return;                   // the next one will
    lock_acquire(&shard->upkeep); // no other generation meanwhile, and no save
    (void)!settle(shard, &settled, &ignored);
    if (settled > 0) {
        checkpoint_wait_for_holders(shard);
        hnsw_settled_release(shard->target->hnsw);
    }
    lock_release(&shard->upkeep);
    lock_release(&shard->builds);
}

void
checkpoint_wait_for_holders(struct shard *shard)
{
    lock_acquire(&shard->writers);
    linkers_wait(&shard->linkers);
    lock_release(&shard->writers);
    epoch_wait(&shard->gate);
}

static omen_status
settle(struct shard *shard, uint32_t *settled, struct omen_error *error)
{
    struct manifest manifest;
    struct blocks_load *load;
    struct kv_txn *txn;
    (void)journal_tail(shard->journal, &manifest);
    if (manifest.checkpoint == 0 || manifest.generation != shard->target->number)
        return OMEN_OK;
    omen_status status = kv_begin_read(shard->journal->kv, &txn, error);
    if (status != OMEN_OK)
        return status;
    status = blocks_load_open(txn, &manifest, &load, error);
    if (status == OMEN_OK) {
        const struct image_source source = blocks_load_source(load);
        *settled = hnsw_settle(shard->target->hnsw, &source);
        blocks_load_close(load);
    }
    kv_abort(txn);
    return status;
}
