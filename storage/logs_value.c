// storage/logs_value.c -- heads and checksums of the values of logs.
//
// Shape: value in a store.
#include <string.h>

#include "base/hash.h"
#include "storage/logs_int.h"

uint64_t
logs_owner(struct logs_name name)
{
    return hash_bytes(&name, sizeof name);
}

static uint64_t
head_sum(const struct logs_head *head, uint64_t owner)
{
    struct logs_head sealed = *head;
    sealed.head_sum = owner;
    return hash_bytes(&sealed, sizeof sealed);
}

void
logs_seal(struct logs_head *head, uint64_t owner, const void *bytes, size_t count)
{
    head->version = LOGS_VERSION;
    head->bytes_sum = hash_bytes(bytes, count);
    head->head_sum = head_sum(head, owner);
}

omen_status
logs_head_check(const struct kv_value *value, uint32_t magic, uint64_t owner, const char *what,
                struct logs_head *head, struct omen_error *error)
{
    if (value->count < sizeof *head || value->count > LOGS_PART_BYTES)
        return error_set(error, OMEN_E_CORRUPT, "logs: %s has a size that none has", what);
    memcpy(head, value->bytes, sizeof *head);
    if (head->magic != magic)
        return error_set(error, OMEN_E_CORRUPT, "logs: %s does not begin as one", what);
    if (head->version > LOGS_VERSION)
        return error_set(error, OMEN_E_VERSION, "logs: version %u was written by a newer version",
                         head->version);
    if (head->head_sum != head_sum(head, owner))
        return error_set(error, OMEN_E_CORRUPT, "logs: the checksum of %s's head does not hold",
                         what);
    return OMEN_OK;
}

omen_status
logs_bytes_check(const struct kv_value *value, const struct logs_head *head, const char *what,
                 struct omen_error *error)
{
    const char *bytes = (const char *)value->bytes + sizeof *head;
    if (head->bytes_sum == hash_bytes(bytes, value->count - sizeof *head))
        return OMEN_OK;
    return error_set(error, OMEN_E_CORRUPT, "logs: the checksum of %s does not hold", what);
}

omen_status
logs_put(struct kv_txn *txn, uint32_t table, uint64_t key, struct logs_head head, uint64_t owner,
         const void *bytes, size_t count, struct omen_error *error)
{
    void *room;
    const omen_status status = kv_put(txn, table, key, sizeof head + count, &room, error);
    if (status != OMEN_OK)
        return status;
    logs_seal(&head, owner, bytes, count);
    memcpy(room, &head, sizeof head);
    if (count > 0)
        memcpy((char *)room + sizeof head, bytes, count);
    return OMEN_OK;
}

// Asks for the next key each time, so that numbers which nothing has cost nothing.
omen_status
logs_erase(struct kv_txn *txn, uint32_t table, uint64_t from, uint64_t to, uint32_t *budget,
           uint64_t *next, struct omen_error *error)
{
    struct kv_value value;
    omen_status status = OMEN_OK;
    for (*next = from; *next<to && * budget> 0; (*budget)--) {
        uint64_t key = *next;
        status = kv_next(txn, table, &key, &value, error);
        if (status == OMEN_E_NOT_FOUND || (status == OMEN_OK && key >= to)) {
            *next = to;
            return OMEN_OK;
        }
        if (status == OMEN_OK)
            status = kv_delete(txn, table, key, error);
        if (status != OMEN_OK)
            return status;
        *next = key + 1;
    }
    return status;
}
