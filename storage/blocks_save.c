// storage/blocks_save.c -- puts pieces, a few MiB a transaction, and the manifest with the last of them.
//
// Shape: handle, durable.
//
// What is put is copied to memory of ours first, and written when there is enough. So no transaction is open between two
// calls: the log's commits never wait for who saves, which may itself wait for a lock that they hold.
#include <string.h>

#include "base/alloc.h"
#include "storage/blocks_int.h"

#define BATCH_BYTES ((size_t)4 << 20)
#define CLEAN_PIECES 64u // erased in one transaction

// One put or, with count 0, drop in the batch; the value follows.
struct change {
    uint64_t key;
    size_t count;
};

struct blocks_save {
    struct kv *kv;
    struct manifest next;   // what the pieces are put under
    size_t value_bytes_min; // a value that is smaller would not have pages of its own
    omen_status (*first)(void *context, struct omen_error *error); // NULL, or before each batch
    void *first_context;
    size_t used; // of the batch
    struct omen_error error;
    _Alignas(16) char batch[BATCH_BYTES];
};

static omen_status put(void *context, uint32_t array, uint32_t piece, const void *bytes,
                       size_t count);
static omen_status drop(void *context, uint32_t array, uint32_t piece);
static uint64_t key_of(const struct blocks_save *save, const struct blocks_late *piece);
static size_t value_bytes(const struct blocks_save *save, size_t count);
static void fill_value(const struct blocks_save *save, const struct blocks_late *piece,
                       char *value);
static char *take(struct blocks_save *save, uint64_t key, size_t count, omen_status *status);
static omen_status write_batch(struct blocks_save *save, const struct manifest *manifest,
                               const struct blocks_late_list *late, struct omen_error *error);
static omen_status next_stale(struct kv_txn *txn, const struct manifest *manifest, uint64_t *key,
                              struct omen_error *error);

omen_status
blocks_save_open(struct kv *kv, const struct manifest *next, struct blocks_save **out,
                 struct omen_error *error)
{
    struct blocks_save *save = mem_alloc(sizeof *save);
    *out = save;
    if (save == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    save->kv = kv;
    save->next = *next;
    save->value_bytes_min = kv_pin_bytes_min(kv);
    save->first = NULL;
    save->used = 0;
    save->error = (struct omen_error){.status = OMEN_OK};
    return OMEN_OK;
}

void
blocks_save_close(struct blocks_save *save)
{
    mem_free(save);
}

void
blocks_save_behind(struct blocks_save *save,
                   omen_status (*first)(void *context, struct omen_error *error), void *context)
{
    save->first = first;
    save->first_context = context;
}

struct image_sink
blocks_save_sink(struct blocks_save *save)
{
    return (struct image_sink){.put = put, .drop = drop, .context = save};
}

const struct omen_error *
blocks_save_error(const struct blocks_save *save)
{
    return &save->error;
}

static omen_status
put(void *context, uint32_t array, uint32_t piece, const void *bytes, size_t count)
{
    struct blocks_save *save = context;
    const struct blocks_late given = {array, piece, count, bytes};
    omen_status status;
    if (count == 0 || count > IMAGE_PIECE_BYTES || array > 255)
        return error_set(&save->error, OMEN_E_INVALID, "a piece of %zu bytes of array %u", count,
                         array);
    char *value = take(save, key_of(save, &given), value_bytes(save, count), &status);
    if (value != NULL)
        fill_value(save, &given, value);
    return status;
}

static uint64_t
key_of(const struct blocks_save *save, const struct blocks_late *piece)
{
    return block_key(piece->array, block_version(&save->next, piece->array), piece->piece);
}

static size_t
value_bytes(const struct blocks_save *save, size_t count)
{
    const size_t whole = sizeof(struct block_head) + count;
    return whole < save->value_bytes_min ? save->value_bytes_min : whole;
}

static void
fill_value(const struct blocks_save *save, const struct blocks_late *piece, char *value)
{
    struct block_head head = {
        .magic = BLOCK_MAGIC,
        .format = BLOCK_FORMAT,
        .array = (uint16_t)piece->array,
        .version = block_version(&save->next, piece->array),
        .piece = piece->piece,
        .count = piece->count,
    };
    const size_t end = sizeof head + piece->count;
    memcpy(value + sizeof head, piece->bytes, piece->count);
    memset(value + end, 0, value_bytes(save, piece->count) - end);
    block_seal(&head, value + sizeof head); // of the copy: the original may change meanwhile
    memcpy(value, &head, sizeof head);
}

static omen_status
drop(void *context, uint32_t array, uint32_t piece)
{
    struct blocks_save *save = context;
    omen_status status;
    (void)take(save, block_key(array, block_version(&save->next, array), piece), 0, &status);
    return status;
}

// Room for a change in the batch, which is written first where it is full.
static char *
take(struct blocks_save *save, uint64_t key, size_t count, omen_status *status)
{
    const size_t whole = sizeof(struct change) + (count + 15) / 16 * 16;
    _Static_assert(sizeof(struct change) % 16 == 0, "values are aligned in the batch");
    *status = OMEN_OK;
    if (whole > sizeof save->batch - save->used)
        *status = write_batch(save, NULL, NULL, &save->error);
    if (*status != OMEN_OK)
        return NULL;
    const struct change change = {.key = key, .count = count};
    char *at = save->batch + save->used;
    memcpy(at, &change, sizeof change);
    save->used += whole;
    return at + sizeof change;
}

// A piece is made of what memory holds, and memory of the piece that it replaces: where that was damaged, a new checksum
// would hide it for good. What is read here was written by the last checkpoint or will be overwritten now.
static omen_status
check_replaced(const struct blocks_save *save, struct kv_txn *txn, uint64_t key,
               struct omen_error *error)
{
    struct kv_value value;
    const uint32_t array = (uint32_t)(key >> 56);
    if (array == IMAGE_FIELDS) // was checked when it was read, if it was
        return OMEN_OK;
    struct manifest last = save->next;
    last.checkpoint--;
    const uint64_t old = block_key(array, block_version(&last, array), (uint32_t)key);
    const omen_status status = kv_get(txn, TABLE_BLOCKS, old, &value, error);
    return status == OMEN_OK            ? block_check(old, &value, error)
           : status == OMEN_E_NOT_FOUND ? OMEN_OK
                                        : status;
}

static omen_status
write_changes(struct blocks_save *save, struct kv_txn *txn, struct omen_error *error)
{
    omen_status status = OMEN_OK;
    for (size_t at = 0; at < save->used && status == OMEN_OK;) {
        struct change change;
        void *room;
        memcpy(&change, save->batch + at, sizeof change);
        at += sizeof change;
        if (change.count == 0) {
            status = kv_delete(txn, TABLE_BLOCKS, change.key, error);
            continue;
        }
        status = check_replaced(save, txn, change.key, error);
        if (status == OMEN_OK)
            status = kv_put(txn, TABLE_BLOCKS, change.key, change.count, &room, error);
        if (status == OMEN_OK)
            memcpy(room, save->batch + at, change.count);
        at += (change.count + 15) / 16 * 16;
    }
    return status;
}

static omen_status
write_late(struct blocks_save *save, struct kv_txn *txn, const struct blocks_late_list *late,
           struct omen_error *error)
{
    omen_status status = OMEN_OK;
    for (uint32_t i = 0; i < late->count && status == OMEN_OK; i++) {
        const struct blocks_late *piece = &late->pieces[i];
        const uint64_t key = key_of(save, piece);
        void *room;
        if (piece->count == 0) {
            status = kv_delete(txn, TABLE_BLOCKS, key, error);
            continue;
        }
        status = check_replaced(save, txn, key, error);
        if (status == OMEN_OK)
            status = kv_put(txn, TABLE_BLOCKS, key, value_bytes(save, piece->count), &room, error);
        if (status == OMEN_OK)
            fill_value(save, piece, room);
    }
    return status;
}

// `late` is NULL, or what a transaction of usual size may have no room for.
static omen_status
begin_batch(struct blocks_save *save, const struct blocks_late_list *late, struct kv_txn **txn,
            struct omen_error *error)
{
    uint64_t bytes = KV_WRITE_BYTES;
    if (late == NULL)
        return kv_begin_write(save->kv, txn, error);
    for (uint32_t i = 0; i < late->count; i++)
        bytes += value_bytes(save, late->pieces[i].count);
    return kv_begin_write_large(save->kv, bytes, txn, error);
}

// After a failure the batch is kept: what is in it may be tried again.
static omen_status
write_batch(struct blocks_save *save, const struct manifest *manifest,
            const struct blocks_late_list *late, struct omen_error *error)
{
    struct kv_txn *txn;
    if (save->used == 0 && manifest == NULL)
        return OMEN_OK;
    omen_status status = save->first != NULL ? save->first(save->first_context, error) : OMEN_OK;
    if (status == OMEN_OK)
        status = begin_batch(save, late, &txn, error);
    if (status != OMEN_OK)
        return status;
    status = write_changes(save, txn, error);
    if (status == OMEN_OK && late != NULL)
        status = write_late(save, txn, late, error);
    if (status == OMEN_OK && manifest != NULL)
        status = meta_put(txn, META_MANIFEST, manifest, sizeof *manifest, error);
    if (status != OMEN_OK) {
        kv_abort(txn);
        return status;
    }
    status = kv_commit(txn, error);
    if (status == OMEN_OK)
        save->used = 0;
    return status;
}

omen_status
blocks_save_flush(struct blocks_save *save, struct omen_error *error)
{
    return write_batch(save, NULL, NULL, error);
}

omen_status
blocks_save_finish(struct blocks_save *save, const struct manifest *manifest,
                   struct omen_error *error)
{
    return write_batch(save, manifest, NULL, error);
}

omen_status
blocks_save_finish_late(struct blocks_save *save, const struct manifest *manifest,
                        const struct blocks_late_list *late, struct omen_error *error)
{
    return write_batch(save, manifest, late, error);
}

omen_status
blocks_clean(struct kv *kv, const struct manifest *manifest, bool *done, struct omen_error *error)
{
    struct kv_txn *txn;
    *done = false;
    omen_status status = kv_begin_write(kv, &txn, error);
    if (status != OMEN_OK)
        return status;
    uint64_t key = 0;
    uint32_t erased = 0;
    while (erased < CLEAN_PIECES && status == OMEN_OK) {
        status = next_stale(txn, manifest, &key, error);
        if (status == OMEN_OK)
            status = kv_delete(txn, TABLE_BLOCKS, key, error);
        erased += status == OMEN_OK;
    }
    const bool last = status == OMEN_E_NOT_FOUND;
    if ((status == OMEN_OK || last) && erased > 0) {
        status = kv_commit(txn, error);
    } else {
        kv_abort(txn);
        status = last ? OMEN_OK : status;
    }
    *done = last && status == OMEN_OK;
    return status;
}

// The next key from *key on that no manifest names.
static omen_status
next_stale(struct kv_txn *txn, const struct manifest *manifest, uint64_t *key,
           struct omen_error *error)
{
    struct kv_value value;
    for (;;) {
        const omen_status status = kv_next(txn, TABLE_BLOCKS, key, &value, error);
        if (status != OMEN_OK)
            return status;
        const uint32_t array = (uint32_t)(*key >> 56);
        const uint32_t version = block_version(manifest, array);
        if (((uint32_t)(*key >> 32) & VERSION_MASK) != version)
            return OMEN_OK;
        *key = block_key(array, version, UINT32_MAX) + 1; // behind its pieces
        if (*key == 0)
            return OMEN_E_NOT_FOUND;
    }
}
