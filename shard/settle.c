// shard/settle.c -- gives the memory of rows that are in the file back.
//
// Shape: handle.
//
// A row never changes, so a piece of rows that a checkpoint put is as good in the file's map as in our memory. Searches
// read only the few that they rerank; linking reads more, so this comes after a checkpoint and not with every write.
// Readers hold addresses of rows inside the gate, linkers inside a step, writers never: once both were empty, nobody
// has an address of before.
#include "shard/checkpoint.h"

static omen_status settle(struct shard *shard, uint32_t *settled, struct omen_error *error);

void
checkpoint_settle(struct shard *shard)
{
    struct omen_error ignored; // what could not be looked up stays where it is
    uint32_t settled = 0;
    lock_acquire(&shard->upkeep); // no other generation meanwhile, and no save
    (void)!settle(shard, &settled, &ignored);
    if (settled > 0) {
        struct hnsw *hnsw = shard->target->hnsw;
        lock_acquire(&shard->writers); // without workers the writer links, and whoever resumes does
        linkers_pause(&shard->linkers);
        linkers_resume(&shard->linkers, hnsw);
        lock_release(&shard->writers);
        epoch_wait(&shard->gate);
        hnsw_settled_release(hnsw);
    }
    lock_release(&shard->upkeep);
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
