// shard/shard_log.c -- operations on their way into the log, and out of it again.
//
// Shape: handle.
#include "shard/shard_log.h"

#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "shard/checkpoint.h"
#include "shard/keeper.h"

static omen_status write_entry(struct shard *shard, enum op_type type, struct op_parts *parts,
                               struct omen_error *error);
static omen_status replay_rows(struct shard *shard, const struct log_entry *entry,
                               struct omen_error *error);
static omen_status replay_field(struct shard *shard, const struct log_entry *entry,
                                struct omen_error *error);
static omen_status replay_field_drop(struct shard *shard, const struct log_entry *entry,
                                     struct omen_error *error);

omen_status
shard_log_rows(struct shard *shard, enum op_type type, const struct op_rows *rows,
               struct omen_error *error)
{
    struct op_parts parts;
    if (shard->journal == NULL)
        return OMEN_OK;
    const omen_status status = op_encode(rows, &parts);
    return status == OMEN_OK ? write_entry(shard, type, &parts, error)
                             : error_set_plain(error, status);
}

omen_status
shard_log_field(struct shard *shard, enum op_type type, const struct op_field *field,
                struct omen_error *error)
{
    struct op_parts parts;
    if (shard->journal == NULL)
        return OMEN_OK;
    const omen_status status = op_encode_field(field, &parts);
    return status == OMEN_OK ? write_entry(shard, type, &parts, error)
                             : error_set_plain(error, status);
}

omen_status
shard_log_delete(struct shard *shard, const uint64_t *keys, size_t count, struct omen_error *error)
{
    struct op_rows rows = {
        .kind = (enum id_kind)atomic_load(&shard->kind), .count = count, .ids = keys};
    const char **texts = NULL;
    if (shard->journal == NULL)
        return OMEN_OK;
    if (rows.kind == ID_KIND_TEXT) {
        texts = mem_alloc(count * sizeof *texts);
        if (texts == NULL)
            return error_set_plain(error, OMEN_E_NO_MEMORY);
        size_t bytes;
        for (size_t i = 0; i < count; i++)
            texts[i] = names_text(shard_target(shard)->names, keys[i], &bytes);
        rows.texts = texts;
    }
    const omen_status status = shard_log_rows(shard, OP_DELETE, &rows, error);
    mem_free(texts);
    return status;
}

static omen_status
write_entry(struct shard *shard, enum op_type type, struct op_parts *parts,
            struct omen_error *error)
{
    uint64_t seq;
    const omen_status status = journal_write(shard->journal, type, parts, &seq, error);
    op_parts_fini(parts);
    if (status == OMEN_OK)
        shard->applied_seq = seq; // it will be when the lock is given back
    return status;
}

void
shard_written(struct shard *shard, size_t erased)
{
    if (erased > 0 || atomic_load_explicit(&shard->compaction_due, memory_order_relaxed) != 0)
        compact_when_due(shard);
    bulk_burst(shard);
    bulk_when_due(shard);
    linkers_wake(&shard->linkers);
    if (shard->keeper != NULL && checkpoint_due(shard))
        keeper_wake(shard->keeper);
    else
        keeper_stir(shard->keeper);
}

omen_status
shard_replay(struct shard *shard, const struct log_entry *entry, struct omen_error *error)
{
    const uint64_t before = shard->applied_seq;
    omen_status status;
    shard->applied_seq = entry->seq; // the version of what it changes
    switch (entry->type) {
    case OP_WRITE:
    case OP_PAYLOADS:
    case OP_DELETE:
        status = replay_rows(shard, entry, error);
        break;
    case OP_FIELD:
        status = replay_field(shard, entry, error);
        break;
    case OP_FIELD_DROP:
        status = replay_field_drop(shard, entry, error);
        break;
    default:
        status = error_set(error, OMEN_E_VERSION, "its type %u was written by a newer version",
                           entry->type);
    }
    if (status == OMEN_OK)
        return OMEN_OK;
    shard->applied_seq = before;
    return error_set(error, status, "log entry %llu: %s", (unsigned long long)entry->seq,
                     error->text);
}

// How many rows come behind the entry, if what comes is like it.
static uint32_t
rows_behind(const struct log_entry *entry, size_t count)
{
    const double rows = (double)entry->behind / (double)(entry->count + 1) * (double)count;
    return rows < SLOTS_MAX ? (uint32_t)rows : SLOTS_MAX;
}

static omen_status
replay_rows(struct shard *shard, const struct log_entry *entry, struct omen_error *error)
{
    struct op_rows rows;
    void *memory;
    omen_status status = op_decode(entry->bytes, entry->count, &rows, &memory, error);
    if (status != OMEN_OK)
        return status;
    omen_batch batch = OMEN_BATCH_INIT;
    batch.count = rows.count;
    batch.vectors = rows.vectors;
    batch.dtype = shard->options.dtype;
    batch.ids = rows.ids;
    batch.text_ids = rows.texts;
    batch.payloads = rows.payloads;
    batch.payload_bytes = rows.payload_bytes;
    if (entry->type == OP_DELETE)
        shard_replay_delete(shard, &rows);
    else if (entry->type == OP_PAYLOADS)
        status = shard_replay_payloads(shard, &batch, error);
    else if (rows.vectors == NULL || rows.row_bytes != shard->row_bytes)
        status = error_set(error, OMEN_E_CORRUPT, "its rows have %zu bytes instead of %zu",
                           rows.row_bytes, shard->row_bytes);
    else
        status = shard_replay_rows(shard, &batch, rows_behind(entry, rows.count), error);
    mem_free(memory);
    return status;
}

omen_status
shard_forget(struct shard *shard, const struct log_entry *entry, struct omen_error *error)
{
    const struct generation *generation = shard->target;
    struct op_rows rows;
    void *memory;
    if (entry->type == OP_FIELD || entry->type == OP_FIELD_DROP)
        return OMEN_OK;
    const omen_status status = op_decode(entry->bytes, entry->count, &rows, &memory, error);
    if (status != OMEN_OK)
        return status;
    for (size_t i = 0; i < rows.count; i++) {
        const uint64_t key =
            rows.kind == ID_KIND_TEXT
                ? names_find(generation->names, rows.texts[i], strlen(rows.texts[i]))
                : rows.ids[i];
        const uint32_t slot = key != NAMES_NONE ? idmap_find(generation->ids, key) : IDMAP_NONE;
        if (slot != IDMAP_NONE)
            fields_forget(generation->fields, slot);
    }
    mem_free(memory);
    return OMEN_OK;
}

// A declaration that failed when it was made fails again in the same way, so its failure is what had been.
static omen_status
replay_field(struct shard *shard, const struct log_entry *entry, struct omen_error *error)
{
    struct op_field field;
    const omen_status status = op_decode_field(entry->bytes, entry->count, &field, error);
    if (status != OMEN_OK)
        return status;
    const omen_status declared = shard_replay_field(shard, &field, error);
    return declared == OMEN_E_NO_MEMORY ? declared : OMEN_OK;
}

// One whose declaration failed again is not there.
static omen_status
replay_field_drop(struct shard *shard, const struct log_entry *entry, struct omen_error *error)
{
    struct op_field field;
    const omen_status status = op_decode_field_drop(entry->bytes, entry->count, &field, error);
    if (status != OMEN_OK)
        return status;
    const omen_status dropped = shard_replay_field_drop(shard, &field, error);
    return dropped == OMEN_E_NOT_FOUND ? OMEN_OK : dropped;
}
