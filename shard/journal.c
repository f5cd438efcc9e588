// shard/journal.c -- the durable side of a shard: its file, what was written to be, and the log.
//
// Shape: handle, durable.
#include "shard/journal.h"

#include <string.h>

#include "base/alloc.h"
#include "base/os_clock.h"
#include "base/os_random.h"

#define PENDING_BYTES_MAX ((size_t)4 << 20) // then the writer commits by itself

static const char magic[8] = {'O', 'M', 'E', 'N', 'D', 'B', '\r', '\n'};

// An entry that waits for its commit: a copy, because its caller has gone on.
struct journal_pending {
    struct journal_pending *next;
    uint16_t type;
    size_t count;
    char bytes[];
};

static omen_status open_at(struct journal *journal, const struct kv_config *config,
                           const struct journal_options *wanted, struct journal_options *kept,
                           struct omen_error *error);
static omen_status open_records(struct journal *journal, const struct journal_options *wanted,
                                struct journal_options *kept, struct omen_error *error);
static omen_status make_records(struct journal *journal, const struct journal_options *wanted,
                                struct omen_error *error);
static omen_status read_records(struct journal *journal, struct kv_txn *txn,
                                struct journal_options *kept, struct omen_error *error);
static omen_status commit_pending(struct journal *journal, struct omen_error *error);
static void drop_pending(struct journal *journal);

omen_status
journal_open(struct journal *journal, const omen_options *options,
             const struct journal_options *wanted, struct journal_options *kept,
             struct omen_error *error)
{
    *journal = (struct journal){.read_only = options->read_only != 0,
                                .interval = options->durability == OMEN_DURABLE_INTERVAL};
    const struct kv_config config = {
        .path = options->path,
        .mode = journal->read_only       ? KV_READ
                : wanted->dimension == 0 ? KV_EXISTING
                                         : KV_WRITE,
        .tables = table_names,
        .table_count = TABLE_COUNT,
    };
    return open_at(journal, &config, wanted, kept, error);
}

omen_status
journal_make(struct journal *journal, const char *path, const struct journal_options *wanted,
             struct omen_error *error)
{
    *journal = (struct journal){0};
    struct journal_options kept;
    const struct kv_config config = {
        .path = path, .mode = KV_NEW, .tables = table_names, .table_count = TABLE_COUNT};
    return open_at(journal, &config, wanted, &kept, error);
}

omen_status
journal_publish(struct journal *journal, struct omen_error *error)
{
    return kv_publish(journal->kv, error);
}

static omen_status
open_at(struct journal *journal, const struct kv_config *config,
        const struct journal_options *wanted, struct journal_options *kept,
        struct omen_error *error)
{
    lock_init(&journal->lock);
    omen_status status = kv_open(config, &journal->kv, error);
    if (status == OMEN_OK)
        status = open_records(journal, wanted, kept, error);
    if (status == OMEN_OK)
        status = log_init(&journal->log, journal->kv, TABLE_LOG, journal->manifest.seq, error);
    if (status == OMEN_OK && log_draft_open(&journal->draft) != OMEN_OK)
        status = error_set_plain(error, OMEN_E_NO_MEMORY);
    if (status != OMEN_OK) {
        journal_close(journal);
        return status;
    }
    atomic_init(&journal->accepted_seq, journal->log.last_seq);
    return OMEN_OK;
}

void
journal_close(struct journal *journal)
{
    struct omen_error error;
    if (journal->pending != NULL)
        (void)!journal_sync(journal, &error);
    drop_pending(journal);
    log_draft_close(journal->draft);
    kv_close(journal->kv);
    lock_fini(&journal->lock);
    *journal = (struct journal){0};
}

static omen_status
open_records(struct journal *journal, const struct journal_options *wanted,
             struct journal_options *kept, struct omen_error *error)
{
    struct kv_txn *txn;
    omen_status status = kv_begin_read(journal->kv, &txn, error);
    if (status != OMEN_OK)
        return status;
    status = read_records(journal, txn, kept, error);
    kv_abort(txn);
    if (status != OMEN_E_NOT_FOUND)
        return status;
    if (journal->read_only || wanted->dimension == 0)
        return error_set(error, OMEN_E_NOT_FOUND, "its maker has not finished making it");
    *kept = *wanted;
    return make_records(journal, wanted, error);
}

static omen_status
read_records(struct journal *journal, struct kv_txn *txn, struct journal_options *kept,
             struct omen_error *error)
{
    struct kv_value value;
    omen_status status = meta_get(txn, META_FORMAT, &value, error);
    if (status != OMEN_OK)
        return status;
    if (value.count < sizeof journal->format || memcmp(value.bytes, magic, sizeof magic) != 0)
        return error_set(error, OMEN_E_INVALID, "it holds something else than an OmenDB shard");
    memcpy(&journal->format, value.bytes, sizeof journal->format);
    if (journal->format.format_min > JOURNAL_FORMAT)
        return error_set(error, OMEN_E_VERSION,
                         "it has format %u, which needs a reader of %u; this library (%s) reads up "
                         "to %u",
                         journal->format.format, journal->format.format_min, omen_version(),
                         JOURNAL_FORMAT);
    if (journal->format.format > JOURNAL_FORMAT && !journal->read_only)
        return error_set(error, OMEN_E_VERSION,
                         "it has format %u; this library (%s) writes %u and can only read it",
                         journal->format.format, omen_version(), JOURNAL_FORMAT);
    status = meta_get(txn, META_OPTIONS, &value, error);
    if (status == OMEN_E_NOT_FOUND)
        return error_set(error, OMEN_E_CORRUPT, "its options are missing");
    if (status != OMEN_OK)
        return status;
    if (value.count < sizeof *kept)
        return error_set(error, OMEN_E_CORRUPT, "its options are %zu bytes; they have at least %zu",
                         value.count, sizeof *kept);
    memcpy(kept, value.bytes, sizeof *kept);
    return manifest_read(txn, &journal->manifest, error);
}

static omen_status
make_records(struct journal *journal, const struct journal_options *wanted,
             struct omen_error *error)
{
    struct journal_format *format = &journal->format;
    *format = (struct journal_format){.format = JOURNAL_FORMAT, .format_min = 1};
    memcpy(format->magic, magic, sizeof magic);
    os_random(format->uuid, sizeof format->uuid);
    format->uuid[6] = (uint8_t)((format->uuid[6] & 0x0f) | 0x40); // RFC 9562, version 4
    format->uuid[8] = (uint8_t)((format->uuid[8] & 0x3f) | 0x80);
    format->created_s = os_seconds_since_1970();
    strncpy(format->library, omen_version(), sizeof format->library - 1);
    struct kv_txn *txn;
    omen_status status = kv_begin_write(journal->kv, &txn, error);
    if (status != OMEN_OK)
        return status;
    status = meta_put(txn, META_FORMAT, format, sizeof *format, error);
    if (status == OMEN_OK)
        status = meta_put(txn, META_OPTIONS, wanted, sizeof *wanted, error);
    if (status == OMEN_OK)
        return kv_commit(txn, error);
    kv_abort(txn);
    return status;
}

// Under `lock`.
static omen_status
commit_draft(struct journal *journal, struct omen_error *error)
{
    const omen_status status = log_commit(&journal->log, journal->draft, error);
    if (status == OMEN_E_IO)
        atomic_store(&journal->broken, status);
    log_draft_reset(journal->draft);
    return status;
}

static omen_status
refuse_broken(const struct journal *journal, struct omen_error *error)
{
    if (atomic_load(&journal->broken) == 0)
        return OMEN_OK;
    return error_set(error, OMEN_E_IO,
                     "an earlier write to the disk failed; open the index anew to write on");
}

omen_status
journal_check_bytes(const struct op_parts *parts, struct omen_error *error)
{
    if (parts->bytes <= LOG_ENTRY_BYTES_MAX)
        return OMEN_OK;
    return error_set(error, OMEN_E_INVALID,
                     "the batch has %zu bytes; a durable one has at most %zu: split it",
                     parts->bytes, LOG_ENTRY_BYTES_MAX);
}

// Under `lock`.
static omen_status
hold_pending(struct journal *journal, enum op_type type, const struct op_parts *parts)
{
    struct journal_pending *entry = mem_alloc(sizeof *entry + parts->bytes);
    if (entry == NULL)
        return OMEN_E_NO_MEMORY;
    *entry = (struct journal_pending){.type = (uint16_t)type, .count = parts->bytes};
    char *at = entry->bytes;
    for (uint32_t i = 0; i < parts->count; i++) {
        memcpy(at, parts->parts[i].bytes, parts->parts[i].count);
        at += parts->parts[i].count;
    }
    if (journal->pending_last != NULL)
        journal->pending_last->next = entry;
    else
        journal->pending = entry;
    journal->pending_last = entry;
    journal->pending_bytes += parts->bytes;
    return OMEN_OK;
}

static omen_status
add_to_draft(struct journal *journal, enum op_type type, const struct op_parts *parts)
{
    const struct log_entry head = {.type = (uint16_t)type};
    struct log_part list[OP_PARTS_MAX];
    for (uint32_t i = 0; i < parts->count; i++)
        list[i] = (struct log_part){.bytes = parts->parts[i].bytes, .count = parts->parts[i].count};
    return log_draft_add(journal->draft, &head, list, parts->count);
}

omen_status
journal_write(struct journal *journal, enum op_type type, const struct op_parts *parts,
              uint64_t *seq, struct omen_error *error)
{
    if (!journal->interval)
        return journal_write_group(journal, type, &parts, 1, seq, error);
    lock_acquire(&journal->lock);
    omen_status status = refuse_broken(journal, error);
    if (status == OMEN_OK)
        status = journal_check_bytes(parts, error);
    if (status == OMEN_OK &&
        (journal->stalled || journal->pending_bytes + parts->bytes > PENDING_BYTES_MAX))
        status = commit_pending(journal, error);
    if (status == OMEN_OK && hold_pending(journal, type, parts) != OMEN_OK)
        status = error_set_plain(error, OMEN_E_NO_MEMORY);
    if (status == OMEN_OK)
        *seq = atomic_fetch_add(&journal->accepted_seq, 1) + 1;
    lock_release(&journal->lock);
    return status;
}

omen_status
journal_write_group(struct journal *journal, enum op_type type, const struct op_parts *const *list,
                    uint32_t count, uint64_t *first, struct omen_error *error)
{
    lock_acquire(&journal->lock);
    omen_status status = refuse_broken(journal, error);
    for (uint32_t i = 0; i < count && status == OMEN_OK; i++) {
        status = journal_check_bytes(list[i], error);
        if (status == OMEN_OK && add_to_draft(journal, type, list[i]) != OMEN_OK)
            status = error_set_plain(error, OMEN_E_NO_MEMORY);
    }
    if (status == OMEN_OK)
        status = commit_draft(journal, error);
    else
        log_draft_reset(journal->draft);
    if (status == OMEN_OK)
        *first = atomic_fetch_add(&journal->accepted_seq, count) + 1;
    lock_release(&journal->lock);
    return status;
}

omen_status
journal_sync(struct journal *journal, struct omen_error *error)
{
    lock_acquire(&journal->lock);
    omen_status status = refuse_broken(journal, error);
    if (status == OMEN_OK)
        status = commit_pending(journal, error);
    lock_release(&journal->lock);
    return status;
}

// Under `lock`. On a full disk they stay pending.
static omen_status
commit_pending(struct journal *journal, struct omen_error *error)
{
    if (journal->pending == NULL)
        return OMEN_OK;
    omen_status status = OMEN_OK;
    for (struct journal_pending *entry = journal->pending; entry != NULL && status == OMEN_OK;
         entry = entry->next) {
        const struct op_parts parts = {.parts = {{.bytes = entry->bytes, .count = entry->count}},
                                       .count = 1};
        status = add_to_draft(journal, entry->type, &parts);
    }
    if (status != OMEN_OK) {
        log_draft_reset(journal->draft);
        return error_set_plain(error, status);
    }
    status = commit_draft(journal, error);
    journal->stalled = status != OMEN_OK;
    if (status != OMEN_OK)
        return status;
    drop_pending(journal);
    return OMEN_OK;
}

static void
drop_pending(struct journal *journal)
{
    while (journal->pending != NULL) {
        struct journal_pending *entry = journal->pending;
        journal->pending = entry->next;
        mem_free(entry);
    }
    journal->pending_last = NULL;
    journal->pending_bytes = 0;
}

uint64_t
journal_tail(struct journal *journal, struct manifest *manifest)
{
    lock_acquire(&journal->lock);
    *manifest = journal->manifest;
    const uint64_t bytes = journal->log.bytes + journal->pending_bytes;
    lock_release(&journal->lock);
    return bytes;
}

omen_status
journal_checkpointed(struct journal *journal, const struct manifest *manifest,
                     struct omen_error *error)
{
    lock_acquire(&journal->lock);
    journal->manifest = *manifest;
    const omen_status status = log_trim(&journal->log, manifest->seq, error);
    atomic_store(&journal->untrimmed, status != OMEN_OK);
    lock_release(&journal->lock);
    return status;
}
