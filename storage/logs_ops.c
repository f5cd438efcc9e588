// storage/logs_ops.c -- operations whose entries were trimmed, in pages, oldest first.
//
// Shape: value in a store.
#include <string.h>

#include "base/opid.h"
#include "storage/logs_int.h"

static omen_status read_page(struct kv_txn *txn, uint32_t slot, const struct logs_row *row,
                             uint64_t page, struct kv_value *value, struct logs_head *head,
                             struct omen_error *error);

omen_status
logs_ops_add(struct kv_txn *txn, uint32_t slot, struct logs_row *row, const struct logs_op *ops,
             uint32_t count, struct omen_error *error)
{
    for (uint32_t done = 0; done < count;) {
        const uint32_t use = count - done < LOGS_PAGE_OPS ? count - done : LOGS_PAGE_OPS;
        uint64_t newest_ms = 0;
        for (uint32_t i = 0; i < use; i++)
            if (ops[done + i].stamp_ms > newest_ms)
                newest_ms = ops[done + i].stamp_ms;
        if (row->next_ops >= LOGS_NUMBER_MAX)
            return error_set(error, OMEN_E_FULL, "logs: a log has given all its numbers");
        const struct logs_head head = {.magic = LOGS_OPS_MAGIC,
                                       .slot = (uint16_t)slot,
                                       .count = use,
                                       .first = row->next_ops,
                                       .total = newest_ms};
        const omen_status status =
            logs_put(txn, LOGS_OPS, logs_key(slot, row->next_ops), head, logs_owner(row->name),
                     ops + done, use * sizeof *ops, error);
        if (status != OMEN_OK)
            return status;
        row->next_ops++;
        row->op_count += use;
        done += use;
    }
    return OMEN_OK;
}

static omen_status
read_page(struct kv_txn *txn, uint32_t slot, const struct logs_row *row, uint64_t page,
          struct kv_value *value, struct logs_head *head, struct omen_error *error)
{
    omen_status status = kv_get(txn, LOGS_OPS, logs_key(slot, page), value, error);
    if (status == OMEN_E_NOT_FOUND)
        return error_set(error, OMEN_E_CORRUPT, "logs: page %llu of operations is missing",
                         (unsigned long long)page);
    if (status == OMEN_OK)
        status = logs_head_check(value, LOGS_OPS_MAGIC, logs_owner(row->name),
                                 "a page of operations", head, error);
    if (status == OMEN_OK)
        status = logs_bytes_check(value, head, "a page of operations", error);
    if (status == OMEN_OK &&
        (head->first != page || head->slot != slot || head->count > LOGS_PAGE_OPS ||
         value->count != sizeof *head + head->count * sizeof(struct logs_op)))
        return error_set(error, OMEN_E_CORRUPT, "logs: page %llu of operations contradicts itself",
                         (unsigned long long)page);
    return status;
}

// These go although they are not too old. Nobody takes what was drawn further ahead of the stamp; so the bytes of an id that is no
// UUIDv7 do no harm.
static void
forget(struct logs_row *row, const struct kv_value *page, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct logs_op op;
        memcpy(&op, (const char *)page->bytes + sizeof(struct logs_head) + i * sizeof op,
               sizeof op);
        const uint64_t drawn_ms = opid_ms((struct opid){op.op.high, op.op.low});
        const uint64_t most_ms = op.stamp_ms + OPID_AHEAD_MS;
        const uint64_t behind_s = (drawn_ms < most_ms ? drawn_ms : most_ms) / 1000 + 1;
        if (behind_s > row->forgot_s && behind_s <= UINT32_MAX)
            row->forgot_s = (uint32_t)behind_s;
    }
}

omen_status
logs_ops_expire(struct kv_txn *txn, uint32_t slot, struct logs_row *row, uint64_t since_ms,
                uint32_t ops_max, struct omen_error *error)
{
    while (row->first_ops < row->next_ops) {
        struct kv_value value;
        struct logs_head head;
        omen_status status = read_page(txn, slot, row, row->first_ops, &value, &head, error);
        if (status != OMEN_OK)
            return status;
        const uint64_t left = row->op_count < head.count ? 0 : row->op_count - head.count;
        if (head.total >= since_ms && left < ops_max)
            return OMEN_OK;
        if (head.total >= since_ms)
            forget(row, &value, head.count);
        status = kv_delete(txn, LOGS_OPS, logs_key(slot, row->first_ops), error);
        if (status != OMEN_OK)
            return status;
        row->first_ops++;
        row->op_count = left;
    }
    return OMEN_OK;
}

omen_status
logs_ops_clear(struct kv_txn *txn, uint32_t slot, struct logs_row *row, struct omen_error *error)
{
    uint32_t budget = UINT32_MAX;
    uint64_t next;
    const omen_status status = logs_erase(txn, LOGS_OPS, logs_key(slot, row->first_ops),
                                          logs_key(slot, row->next_ops), &budget, &next, error);
    row->first_ops = row->next_ops;
    row->op_count = 0;
    return status;
}

omen_status
logs_ops_read(struct kv_txn *txn, uint32_t slot, const struct logs_row *row,
              struct logs_known *known, struct omen_error *error)
{
    for (uint64_t page = row->first_ops; page < row->next_ops; page++) {
        struct kv_value value;
        struct logs_head head;
        omen_status status = read_page(txn, slot, row, page, &value, &head, error);
        for (uint32_t i = 0; status == OMEN_OK && i < head.count; i++) {
            struct logs_op op;
            memcpy(&op, (const char *)value.bytes + sizeof head + i * sizeof op, sizeof op);
            status = logs_known_add_op(known, &op);
        }
        if (status != OMEN_OK)
            return status;
    }
    return OMEN_OK;
}
