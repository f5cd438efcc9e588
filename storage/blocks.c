// storage/blocks.c -- pieces and their heads, found again for loading.
//
// Shape: handle, durable.
#include <stddef.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "storage/blocks_int.h"
#include "storage/log.h"

const char *const table_names[TABLE_COUNT] = {"meta", "log", "blocks"};

struct unread {
    uint64_t key;
    struct kv_value value;
};

struct blocks_load {
    struct kv_txn *txn; // borrowed
    struct kv *kv;
    struct manifest manifest;
    struct unread *unread; // pieces whose heads nobody has looked at
    uint32_t unread_count, unread_room;
    omen_status status; // of the first lookup that failed
    struct omen_error error;
};

void
block_seal(struct block_head *head, const void *bytes)
{
    head->checksum = hash_bytes(bytes, (size_t)head->count);
    head->head_checksum = hash_bytes(head, offsetof(struct block_head, head_checksum));
}

static omen_status
bad_block(uint64_t key, const char *what, struct omen_error *error)
{
    return error_set(error, OMEN_E_CORRUPT, "piece %u of array %u, version %u: %s", (uint32_t)key,
                     (uint32_t)(key >> 56), (uint32_t)(key >> 32) & VERSION_MASK, what);
}

// Whether the head of a value (of one that has so many bytes) is that of this key's piece, and it is as long as that says. OMEN_E_CORRUPT, OMEN_E_VERSION.
static omen_status
block_check_head(uint64_t key, const struct kv_value *value, const struct block_head *head,
                 struct omen_error *error)
{
    if (value->count < sizeof *head)
        return bad_block(key, "it is shorter than its head", error);
    if (head->magic != BLOCK_MAGIC)
        return bad_block(key, "it does not begin as one", error);
    if (head->format > BLOCK_FORMAT)
        return error_set(error, OMEN_E_VERSION,
                         "a piece of format %u was written by a newer version", head->format);
    if (head->head_checksum != hash_bytes(head, offsetof(struct block_head, head_checksum)))
        return bad_block(key, "its head's checksum does not hold", error);
    if (block_key(head->array, head->version, head->piece) != key || head->array > 255 ||
        head->version > VERSION_MASK)
        return bad_block(key, "its head is another's", error);
    if (head->count == 0 || head->count > IMAGE_PIECE_BYTES ||
        head->count > value->count - sizeof *head)
        return bad_block(key, "it is not as long as its head says", error);
    return OMEN_OK;
}

omen_status
block_check(uint64_t key, const struct kv_value *value, struct omen_error *error)
{
    struct block_head head = {0};
    if (value->count >= sizeof head)
        memcpy(&head, value->bytes, sizeof head);
    const omen_status status = block_check_head(key, value, &head, error);
    if (status != OMEN_OK)
        return status;
    const char *bytes = (const char *)value->bytes + sizeof head;
    pages_will_need(bytes, (size_t)head.count);
    if (hash_bytes(bytes, (size_t)head.count) != head.checksum)
        return bad_block(key, "its checksum does not hold", error);
    for (const char *rest = bytes + head.count; rest < bytes + value->count - sizeof head; rest++)
        if (*rest != 0)
            return bad_block(key, "something lies behind its end", error);
    return OMEN_OK;
}

omen_status
blocks_load_open(struct kv_txn *txn, const struct manifest *manifest, struct blocks_load **out,
                 struct omen_error *error)
{
    *out = mem_alloc_zero(1, sizeof **out);
    if (*out == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    (*out)->txn = txn;
    (*out)->kv = kv_of(txn);
    (*out)->manifest = *manifest;
    return OMEN_OK;
}

void
blocks_load_close(struct blocks_load *load)
{
    if (load != NULL)
        mem_free(load->unread);
    mem_free(load);
}

// A value longer than the shortest is not padded, so its piece is as long as it.
static bool
may_stay_unread(const struct blocks_load *load, uint32_t array, const struct kv_value *value)
{
    return !image_is_whole(array) && value->alone && value->count > kv_pin_bytes_min(load->kv) &&
           value->count > BLOCK_HEAD_BYTES && value->count <= BLOCK_HEAD_BYTES + IMAGE_PIECE_BYTES;
}

// False where there is no memory to remember it in.
static bool
leave_unread(struct blocks_load *load, uint64_t key, const struct kv_value *value)
{
    if (load->unread_count == load->unread_room) {
        const uint32_t room = load->unread_room == 0 ? 512 : 2 * load->unread_room;
        struct unread *unread = mem_resize(load->unread, room * sizeof *unread);
        if (unread == NULL)
            return false;
        load->unread = unread;
        load->unread_room = room;
    }
    load->unread[load->unread_count++] = (struct unread){.key = key, .value = *value};
    return true;
}

static omen_status
read_head(struct kv *kv, uint64_t key, const struct kv_value *value, struct block_head *head,
          struct omen_error *error)
{
    omen_status status = OMEN_OK;
    *head = (struct block_head){0};
    if (value->alone && value->count >= sizeof *head)
        status = kv_read_head(kv, value, head, error);
    else if (value->count >= sizeof *head)
        memcpy(head, value->bytes, sizeof *head);
    return status == OMEN_OK ? block_check_head(key, value, head, error) : status;
}

static const void *
get(void *context, uint32_t array, uint32_t piece, size_t *count)
{
    struct blocks_load *load = context;
    const uint64_t key = block_key(array, block_version(&load->manifest, array), piece);
    struct kv_value value;
    struct block_head head;
    const void *pinned;
    struct omen_error *error = load->status == OMEN_OK ? &load->error : NULL;
    omen_status status = kv_get_unread(load->txn, TABLE_BLOCKS, key, &value, error);
    if (status == OMEN_OK && may_stay_unread(load, array, &value) &&
        leave_unread(load, key, &value))
        head.count = value.count - sizeof head;
    else if (status == OMEN_OK)
        status = read_head(load->kv, key, &value, &head, error);
    if (status == OMEN_OK)
        status = kv_pin(load->txn, &value, &pinned, error);
    if (status == OMEN_OK) {
        *count = (size_t)head.count;
        return (const char *)pinned + sizeof head;
    }
    if (status != OMEN_E_NOT_FOUND && load->status == OMEN_OK)
        load->status = status;
    return NULL;
}

uint32_t
blocks_load_heads(const struct blocks_load *load)
{
    return load->unread_count;
}

omen_status
blocks_load_check_heads(struct blocks_load *load, struct omen_error *error)
{
    omen_status status = OMEN_OK;
    for (uint32_t i = 0; i < load->unread_count && status == OMEN_OK; i++) {
        const struct unread *unread = &load->unread[i];
        struct block_head head;
        status = read_head(load->kv, unread->key, &unread->value, &head, error);
        if (status == OMEN_OK && head.count != unread->value.count - sizeof head)
            status = bad_block(unread->key, "it is not as long as its head says", error);
    }
    load->unread_count = 0;
    return status;
}

static bool
sound(const void *bytes, size_t count)
{
    struct block_head head;
    memcpy(&head, (const char *)bytes - sizeof head, sizeof head);
    pages_will_need(bytes, count);
    return head.count == count && head.checksum == hash_bytes(bytes, count) &&
           head.head_checksum == hash_bytes(&head, offsetof(struct block_head, head_checksum));
}

struct image_source
blocks_load_source(struct blocks_load *load)
{
    return (struct image_source){.get = get, .context = load, .sound = sound};
}

omen_status
blocks_load_status(const struct blocks_load *load, struct omen_error *error)
{
    if (load->status != OMEN_OK && error != NULL)
        *error = load->error;
    return load->status;
}

// Array 0 is none.
static omen_status
verify_all_but(struct kv_txn *txn, uint32_t array, struct blocks_report *report,
               struct omen_error *error)
{
    struct kv_value value;
    *report = (struct blocks_report){0};
    omen_status status = meta_verify(txn, error);
    if (status == OMEN_OK)
        status = log_verify(txn, TABLE_LOG, error);
    for (uint64_t key = 0; status == OMEN_OK;) {
        status = kv_next(txn, TABLE_BLOCKS, &key, &value, error);
        if (status == OMEN_OK && (array == 0 || key >> 56 != array))
            status = block_check(key, &value, error);
        report->pieces += status == OMEN_OK;
        report->bytes += status == OMEN_OK ? value.count : 0;
        if (++key == 0)
            break; // the last key there can be
    }
    return status == OMEN_E_NOT_FOUND ? OMEN_OK : status;
}

omen_status
blocks_verify(struct kv_txn *txn, struct blocks_report *report, struct omen_error *error)
{
    return verify_all_but(txn, 0, report, error);
}

omen_status
blocks_verify_sources(struct kv_txn *txn, struct omen_error *error)
{
    struct blocks_report report;
    return verify_all_but(txn, IMAGE_FIELDS, &report, error);
}
