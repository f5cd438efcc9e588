// storage/meta.c -- small records with a checksum, and the manifest among them.
//
// Shape: value in a store.
#include <string.h>

#include "base/hash.h"
#include "storage/blocks_int.h"

#define META_BYTES_MAX 65536u

struct meta_head {
    uint64_t checksum; // of the head without it and of the record, see below
    uint32_t key;
    uint32_t count;
};

static uint64_t
checksum_of(const struct meta_head *head, const void *bytes)
{
    const struct meta_head sealed = {
        .checksum = hash_bytes(bytes, head->count), .key = head->key, .count = head->count};
    return hash_bytes(&sealed, sizeof sealed);
}

omen_status
meta_put(struct kv_txn *txn, enum meta_key key, const void *bytes, size_t count,
         struct omen_error *error)
{
    void *room;
    if (count > META_BYTES_MAX)
        return error_set(error, OMEN_E_INVALID, "record %d has %zu bytes; at most %u are kept",
                         (int)key, count, META_BYTES_MAX);
    struct meta_head head = {.key = (uint32_t)key, .count = (uint32_t)count};
    head.checksum = checksum_of(&head, bytes);
    const omen_status status =
        kv_put(txn, TABLE_META, (uint64_t)key, sizeof head + count, &room, error);
    if (status != OMEN_OK)
        return status;
    memcpy(room, &head, sizeof head);
    if (count > 0)
        memcpy((char *)room + sizeof head, bytes, count);
    return OMEN_OK;
}

static omen_status
check(uint64_t key, const struct kv_value *value, struct omen_error *error)
{
    struct meta_head head;
    if (value->count < sizeof head)
        return error_set(error, OMEN_E_CORRUPT, "record %llu is cut off", (unsigned long long)key);
    memcpy(&head, value->bytes, sizeof head);
    if (head.key != key || head.count != value->count - sizeof head ||
        head.checksum != checksum_of(&head, (const char *)value->bytes + sizeof head))
        return error_set(error, OMEN_E_CORRUPT, "record %llu fails its checksum",
                         (unsigned long long)key);
    return OMEN_OK;
}

omen_status
meta_get(struct kv_txn *txn, enum meta_key key, struct kv_value *value, struct omen_error *error)
{
    omen_status status = kv_get(txn, TABLE_META, (uint64_t)key, value, error);
    if (status == OMEN_OK)
        status = check((uint64_t)key, value, error);
    if (status != OMEN_OK)
        return status;
    value->bytes = (const char *)value->bytes + sizeof(struct meta_head);
    value->count -= sizeof(struct meta_head);
    return OMEN_OK;
}

omen_status
meta_verify(struct kv_txn *txn, struct omen_error *error)
{
    struct kv_value value;
    omen_status status = OMEN_OK;
    for (uint64_t key = 0; status == OMEN_OK;) {
        status = kv_next(txn, TABLE_META, &key, &value, error);
        if (status == OMEN_OK)
            status = check(key, &value, error);
        if (++key == 0)
            break; // the last key there can be
    }
    return status == OMEN_E_NOT_FOUND ? OMEN_OK : status;
}

omen_status
manifest_read(struct kv_txn *txn, struct manifest *out, struct omen_error *error)
{
    struct kv_value value;
    *out = (struct manifest){0};
    const omen_status status = meta_get(txn, META_MANIFEST, &value, error);
    if (status == OMEN_E_NOT_FOUND)
        return OMEN_OK;
    if (status != OMEN_OK)
        return status;
    if (value.count < sizeof *out)
        return error_set(error, OMEN_E_CORRUPT, "the manifest is cut off");
    struct manifest found;
    memcpy(&found, value.bytes, sizeof found);
    if (found.linked > found.rows)
        return error_set(error, OMEN_E_CORRUPT, "the manifest says that %u of %u rows are linked",
                         found.linked, found.rows);
    *out = found;
    return OMEN_OK;
}
