// shard/graft_record.c -- what a shard's graphs have been worth, in its file.
//
// Shape: value in a store.
//
// A record of its own and a commit of its own: links come to the file with the next checkpoint, but what has once been measured is to be
// asked of every later graph, also where the process or the copy is another by then. It is in the file, so it goes with snapshots.
#include <string.h>

#include "shard/graft.h"
#include "shard/journal.h"

// As it is kept. Little-endian; grows at its end.
struct kept_record {
    double best;
    uint32_t rows, reserved;
};

omen_status
graft_record_load(const struct shard *shard, struct graft_record *out, struct omen_error *error)
{
    struct kept_record kept = {0};
    struct kv_value value;
    struct kv_txn *txn;
    *out = (struct graft_record){0};
    omen_status status = kv_begin_read(shard->journal->kv, &txn, error);
    if (status != OMEN_OK)
        return status;
    status = meta_get(txn, META_GRAPHS, &value, error);
    if (status == OMEN_OK && value.count >= sizeof kept)
        memcpy(&kept, value.bytes, sizeof kept);
    else if (status == OMEN_OK)
        kept.best = -1.0;
    kv_abort(txn);
    if (status == OMEN_E_NOT_FOUND)
        return OMEN_OK;
    if (status != OMEN_OK)
        return status;
    if (!(kept.best >= 0.0 && kept.best <= 1.0))
        return error_set(error, OMEN_E_CORRUPT,
                         "the record of what graphs have been worth is none");
    *out = (struct graft_record){.best = kept.best, .rows = kept.rows};
    return OMEN_OK;
}

omen_status
graft_record_keep(struct shard *shard, const struct graft_record *record, struct omen_error *error)
{
    const struct kept_record kept = {.best = record->best, .rows = record->rows};
    struct kv_txn *txn;
    omen_status status = kv_begin_write(shard->journal->kv, &txn, error);
    if (status != OMEN_OK)
        return status;
    status = meta_put(txn, META_GRAPHS, &kept, sizeof kept, error);
    if (status == OMEN_OK)
        return kv_commit(txn, error);
    kv_abort(txn);
    return status;
}
