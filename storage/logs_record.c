// storage/logs_record.c -- records: bytes under a number, in parts.
//
// Shape: value in a store.
//
// `total` of each part's head is that of the record, `count` the lower half of the whole record's checksum: parts of two
// different records under one number do not pass for one.
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "storage/logs_int.h"

static omen_status read_part(struct kv_txn *txn, uint64_t number, uint64_t owner, uint32_t part,
                             struct kv_value *value, struct logs_head *head,
                             struct omen_error *error);

static uint64_t
key_of(uint64_t number, uint64_t part)
{
    return number << LOGS_RECORD_BITS | part;
}

static uint32_t
whole_sum(const void *bytes, size_t count)
{
    return (uint32_t)hash_bytes(bytes, count);
}

static omen_status
erase_from(struct kv_txn *txn, uint64_t number, uint64_t part, struct omen_error *error)
{
    uint32_t budget = UINT32_MAX;
    uint64_t next;
    return logs_erase(txn, LOGS_RECORDS, key_of(number, part), key_of(number + 1, 0), &budget,
                      &next, error);
}

omen_status
logs_value_put(struct kv_txn *txn, uint64_t number, uint64_t owner, const void *bytes, size_t count,
               struct omen_error *error)
{
    if (count > LOGS_RECORD_BYTES_MAX)
        return error_set(error, OMEN_E_INVALID, "logs: a record has at most %zu bytes, not %zu",
                         LOGS_RECORD_BYTES_MAX, count);
    const uint32_t sum = whole_sum(bytes, count);
    const uint64_t parts = count == 0 ? 1 : logs_parts(count);
    omen_status status = OMEN_OK;
    for (uint64_t part = 0; part < parts && status == OMEN_OK; part++) {
        const size_t from = (size_t)part * LOGS_PART_ROOM;
        const size_t use = count - from < LOGS_PART_ROOM ? count - from : LOGS_PART_ROOM;
        const struct logs_head head = {.magic = LOGS_RECORD_MAGIC,
                                       .count = sum,
                                       .part = (uint32_t)part,
                                       .first = number,
                                       .total = count};
        status = logs_put(txn, LOGS_RECORDS, key_of(number, part), head, owner,
                          use > 0 ? (const uint8_t *)bytes + from : NULL, use, error);
    }
    return status == OMEN_OK ? erase_from(txn, number, parts, error) : status;
}

omen_status
logs_value_erase(struct kv_txn *txn, uint64_t number, struct omen_error *error)
{
    return erase_from(txn, number, 0, error);
}

omen_status
logs_value_get(struct kv_txn *txn, uint64_t number, uint64_t owner, uint8_t **bytes, size_t *count,
               struct omen_error *error)
{
    struct kv_value value;
    struct logs_head first, head;
    *bytes = NULL;
    *count = 0;
    omen_status status = read_part(txn, number, owner, 0, &value, &first, error);
    if (status != OMEN_OK)
        return status;
    uint8_t *whole = mem_alloc(first.total + 1);
    if (whole == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    head = first;
    size_t done = value.count - sizeof head;
    memcpy(whole, (const uint8_t *)value.bytes + sizeof head, done);
    for (uint32_t part = 1; status == OMEN_OK && done < first.total; part++) {
        status = read_part(txn, number, owner, part, &value, &head, error);
        const bool fits = status == OMEN_OK && head.total == first.total &&
                          value.count - sizeof head <= first.total - done;
        if (status == OMEN_E_NOT_FOUND || (status == OMEN_OK && !fits))
            status = error_set(error, OMEN_E_CORRUPT, "logs: record %llu has lost a part",
                               (unsigned long long)number);
        if (status != OMEN_OK)
            break;
        memcpy(whole + done, (const uint8_t *)value.bytes + sizeof head, value.count - sizeof head);
        done += value.count - sizeof head;
    }
    if (status == OMEN_OK && (done != first.total || whole_sum(whole, done) != first.count))
        status = error_set(error, OMEN_E_CORRUPT, "logs: the checksum of record %llu does not hold",
                           (unsigned long long)number);
    if (status != OMEN_OK) {
        mem_free(whole);
        return status;
    }
    *bytes = whole;
    *count = done;
    return OMEN_OK;
}

// Of a part that is not the last there is as much as fits, so a record has no more parts than bytes.
static omen_status
read_part(struct kv_txn *txn, uint64_t number, uint64_t owner, uint32_t part,
          struct kv_value *value, struct logs_head *head, struct omen_error *error)
{
    omen_status status = kv_get(txn, LOGS_RECORDS, key_of(number, part), value, error);
    if (status == OMEN_OK)
        status = logs_head_check(value, LOGS_RECORD_MAGIC, owner, "a record", head, error);
    if (status == OMEN_OK)
        status = logs_bytes_check(value, head, "a record", error);
    if (status != OMEN_OK)
        return status;
    const uint64_t before = (uint64_t)part * LOGS_PART_ROOM;
    const uint64_t rest = head->total < before ? 0 : head->total - before;
    if (head->first != number || head->part != part || head->total > LOGS_RECORD_BYTES_MAX ||
        value->count - sizeof *head != (rest < LOGS_PART_ROOM ? rest : LOGS_PART_ROOM))
        return error_set(error, OMEN_E_CORRUPT, "logs: record %llu contradicts itself",
                         (unsigned long long)number);
    return OMEN_OK;
}

omen_status
logs_record_put(struct kv_txn *txn, uint32_t record, const void *bytes, size_t count,
                struct omen_error *error)
{
    if (record >= LOGS_RECORDS_MAX)
        return error_set(error, OMEN_E_INVALID, "logs: records have numbers below %u, not %u",
                         LOGS_RECORDS_MAX, record);
    return count == 0 ? logs_value_erase(txn, record, error)
                      : logs_value_put(txn, record, record, bytes, count, error);
}

omen_status
logs_record_get(struct kv_txn *txn, uint32_t record, uint8_t **bytes, size_t *count,
                struct omen_error *error)
{
    *bytes = NULL;
    *count = 0;
    if (record >= LOGS_RECORDS_MAX)
        return OMEN_E_NOT_FOUND;
    return logs_value_get(txn, record, record, bytes, count, error);
}
