// storage/logs_group.c -- groups of entries: made in memory, put as parts, found, cut.
//
// Shape: value in a store.
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "storage/logs_int.h"

static omen_status grow(uint8_t **bytes, size_t *room, size_t need);
static void copy_out(const struct logs_group *group, size_t from, uint8_t *room, size_t count);
static omen_status end_of(struct kv_txn *txn, uint32_t slot, const struct logs_row *row,
                          struct logs_at *at, struct omen_error *error);
static omen_status load_heads(struct kv_txn *txn, uint32_t slot, const struct logs_row *row,
                              struct logs_at *at, struct omen_error *error);
static omen_status check_heads(const struct logs_at *at, struct omen_error *error);

// ---- in memory ----

void
logs_group_fini(struct logs_group *group)
{
    mem_free(group->heads);
    mem_free(group->bodies);
    *group = (struct logs_group){0};
}

omen_status
logs_group_add(struct logs_group *group, const struct logs_entry *entry)
{
    const size_t padded = logs_padded(entry->count);
    if (entry->count > LOGS_ENTRY_BYTES_MAX || group->entries == LOGS_GROUP_ENTRIES_MAX ||
        entry->seq == 0 || entry->seq > LOGS_SEQ_MAX ||
        (group->entries > 0 && entry->seq != group->first_seq + group->entries) ||
        logs_group_bytes(group) + sizeof(struct logs_entry_head) + padded > LOGS_GROUP_BYTES_MAX)
        return OMEN_E_INVALID;
    omen_status status =
        grow(&group->heads, &group->head_room, group->head_bytes + sizeof(struct logs_entry_head));
    if (status == OMEN_OK)
        status = grow(&group->bodies, &group->body_room, group->body_bytes + padded);
    if (status != OMEN_OK)
        return status;
    const struct logs_entry_head head = {.magic = LOGS_ENTRY_MAGIC,
                                         .kind = entry->kind,
                                         .seq = entry->seq,
                                         .term = entry->term,
                                         .stamp_ms = entry->stamp_ms,
                                         .count = entry->count,
                                         .op = entry->op};
    memcpy(group->heads + group->head_bytes, &head, sizeof head);
    group->head_bytes += sizeof head;
    if (entry->count > 0) {
        memcpy(group->bodies + group->body_bytes, entry->bytes, entry->count);
        memset(group->bodies + group->body_bytes + entry->count, 0, padded - entry->count);
    }
    group->body_bytes += padded;
    if (group->entries++ == 0)
        group->first_seq = entry->seq;
    return OMEN_OK;
}

static omen_status
grow(uint8_t **bytes, size_t *room, size_t need)
{
    if (need <= *room)
        return OMEN_OK;
    size_t wanted = *room == 0 ? 256 : *room * 2;
    if (wanted < need)
        wanted = need;
    uint8_t *grown = mem_resize(*bytes, wanted);
    if (grown == NULL)
        return OMEN_E_NO_MEMORY;
    *bytes = grown;
    *room = wanted;
    return OMEN_OK;
}

bool
logs_group_next(const struct logs_group *group, struct logs_place *place, struct logs_entry *entry)
{
    struct logs_entry_head head;
    if (place->entry == group->entries)
        return false;
    memcpy(&head, group->heads + place->entry++ * sizeof head, sizeof head);
    *entry = (struct logs_entry){.seq = head.seq,
                                 .term = head.term,
                                 .stamp_ms = head.stamp_ms,
                                 .op = head.op,
                                 .kind = head.kind,
                                 .count = (uint32_t)head.count,
                                 .bytes = head.count > 0 ? group->bodies + place->body_at : NULL};
    place->body_at += logs_padded((size_t)head.count);
    return true;
}

// ---- appended ----

omen_status
logs_append(struct kv_txn *txn, uint32_t slot, struct logs_row *row, const struct logs_group *group,
            struct omen_error *error)
{
    const uint64_t bytes = logs_group_bytes(group);
    const uint64_t parts = logs_parts(bytes), owner = logs_owner(row->name);
    if (group->first_seq != row->last_seq + 1)
        return error_set(error, OMEN_E_INVALID, "logs: entry %llu is next, not %llu",
                         (unsigned long long)row->last_seq + 1,
                         (unsigned long long)group->first_seq);
    if (group->entries > LOGS_SEQ_MAX - row->last_seq || parts > LOGS_NUMBER_MAX - row->next_part)
        return error_set(error, OMEN_E_FULL, "logs: a log has given all its numbers");
    for (uint64_t part = 0; part < parts; part++) {
        const uint64_t from = part * LOGS_PART_ROOM;
        const size_t count = bytes - from < LOGS_PART_ROOM ? bytes - from : LOGS_PART_ROOM;
        void *room;
        struct logs_head head = {.magic = LOGS_PART_MAGIC,
                                 .slot = (uint16_t)slot,
                                 .count = group->entries,
                                 .part = (uint32_t)part,
                                 .first = group->first_seq,
                                 .total = bytes};
        const omen_status status = kv_put(txn, LOGS_ENTRIES, logs_key(slot, row->next_part + part),
                                          sizeof head + count, &room, error);
        if (status != OMEN_OK)
            return status;
        uint8_t *filled = (uint8_t *)room + sizeof head;
        copy_out(group, from, filled, count);
        logs_seal(&head, owner, filled, count);
        memcpy(room, &head, sizeof head);
    }
    struct logs_entry_head last;
    memcpy(&last, group->heads + group->head_bytes - sizeof last, sizeof last);
    row->next_part += parts;
    row->last_seq += group->entries;
    row->stamp_ms = last.stamp_ms;
    return OMEN_OK;
}

static void
copy_out(const struct logs_group *group, size_t from, uint8_t *room, size_t count)
{
    if (from < group->head_bytes) {
        const size_t left = group->head_bytes - from;
        const size_t use = left < count ? left : count;
        memcpy(room, group->heads + from, use);
        room += use;
        count -= use;
        from = group->head_bytes;
    }
    if (count > 0)
        memcpy(room, group->bodies + (from - group->head_bytes), count);
}

// ---- in the store ----

void
logs_at_fini(struct logs_at *at)
{
    mem_free(at->heads);
    *at = (struct logs_at){0};
}

omen_status
logs_part_get(struct kv_txn *txn, uint32_t slot, const struct logs_row *row, uint64_t part,
              struct kv_value *value, struct logs_head *head, struct omen_error *error)
{
    omen_status status = kv_get(txn, LOGS_ENTRIES, logs_key(slot, part), value, error);
    if (status == OMEN_E_NOT_FOUND)
        return error_set(error, OMEN_E_CORRUPT, "logs: part %llu of log %u is missing",
                         (unsigned long long)part, slot);
    if (status == OMEN_OK)
        status =
            logs_head_check(value, LOGS_PART_MAGIC, logs_owner(row->name), "a part", head, error);
    if (status != OMEN_OK)
        return status;
    const uint64_t before = (uint64_t)head->part * LOGS_PART_ROOM;
    const bool sound = head->slot == slot && head->count >= 1 &&
                       head->count <= LOGS_GROUP_ENTRIES_MAX && head->first >= 1 &&
                       head->first <= LOGS_SEQ_MAX && head->total <= LOGS_GROUP_BYTES_MAX &&
                       head->total >= head->count * sizeof(struct logs_entry_head) &&
                       before < head->total && head->part <= part - row->first_part &&
                       logs_parts(head->total) - head->part <= row->next_part - part;
    const uint64_t rest = sound ? head->total - before : 0;
    if (!sound || value->count - sizeof *head != (rest < LOGS_PART_ROOM ? rest : LOGS_PART_ROOM))
        return error_set(error, OMEN_E_CORRUPT, "logs: part %llu of log %u contradicts itself",
                         (unsigned long long)part, slot);
    return OMEN_OK;
}

static omen_status
misplaced(uint64_t seq, struct omen_error *error)
{
    return error_set(error, OMEN_E_CORRUPT, "logs: entry %llu is not where it should be",
                     (unsigned long long)seq);
}

omen_status
logs_group_find(struct kv_txn *txn, uint32_t slot, const struct logs_row *row, uint64_t seq,
                uint64_t *part, struct omen_error *error)
{
    struct kv_value value;
    struct logs_head head;
    ASSERT(seq >= row->first_seq && seq <= row->last_seq);
    uint64_t low = row->first_part, high = row->next_part; // it begins at or before `low`
    while (high - low > 1) {
        const uint64_t middle = low + (high - low) / 2;
        const omen_status status = logs_part_get(txn, slot, row, middle, &value, &head, error);
        if (status != OMEN_OK)
            return status;
        if (head.first <= seq)
            low = middle;
        else
            high = middle;
    }
    const omen_status status = logs_part_get(txn, slot, row, low, &value, &head, error);
    if (status != OMEN_OK)
        return status;
    *part = low - head.part;
    return head.first <= seq && seq - head.first < head.count ? OMEN_OK : misplaced(seq, error);
}

omen_status
logs_group_load(struct kv_txn *txn, uint32_t slot, const struct logs_row *row, uint64_t part,
                struct logs_at *at, struct omen_error *error)
{
    struct kv_value value;
    omen_status status = logs_part_get(txn, slot, row, part, &value, &at->head, error);
    if (status == OMEN_OK && at->head.part != 0)
        status = misplaced(at->head.first, error);
    at->part = part;
    if (status == OMEN_OK)
        status = end_of(txn, slot, row, at, error);
    if (status == OMEN_OK)
        status = load_heads(txn, slot, row, at, error);
    return status == OMEN_OK ? check_heads(at, error) : status;
}

static omen_status
end_of(struct kv_txn *txn, uint32_t slot, const struct logs_row *row, struct logs_at *at,
       struct omen_error *error)
{
    struct kv_value value;
    struct logs_head next;
    const uint64_t after = at->part + logs_parts(at->head.total);
    at->end_seq = row->last_seq + 1;
    if (after < row->next_part) {
        const omen_status status = logs_part_get(txn, slot, row, after, &value, &next, error);
        if (status != OMEN_OK)
            return status;
        if (next.part != 0 || next.first > row->last_seq)
            return misplaced(next.first, error);
        at->end_seq = next.first;
    }
    if (at->end_seq <= at->head.first || at->end_seq - at->head.first > at->head.count)
        return misplaced(at->head.first, error);
    return OMEN_OK;
}

static omen_status
load_heads(struct kv_txn *txn, uint32_t slot, const struct logs_row *row, struct logs_at *at,
           struct omen_error *error)
{
    const size_t bytes = at->head.count * sizeof *at->heads;
    if (at->head.count > at->room) {
        struct logs_entry_head *grown = mem_resize(at->heads, bytes);
        if (grown == NULL)
            return error_set_plain(error, OMEN_E_NO_MEMORY);
        at->heads = grown;
        at->room = at->head.count;
    }
    size_t done = 0;
    for (uint64_t part = 0; done < bytes; part++) {
        struct kv_value value;
        struct logs_head head;
        omen_status status = logs_part_get(txn, slot, row, at->part + part, &value, &head, error);
        if (status == OMEN_OK)
            status = logs_bytes_check(&value, &head, "a part", error);
        if (status == OMEN_OK && (head.part != part || head.first != at->head.first ||
                                  head.total != at->head.total || head.count != at->head.count))
            status = misplaced(at->head.first, error);
        if (status != OMEN_OK)
            return status;
        const size_t there = value.count - sizeof head;
        const size_t use = there < bytes - done ? there : bytes - done;
        memcpy((uint8_t *)at->heads + done, (const uint8_t *)value.bytes + sizeof head, use);
        done += use;
    }
    return OMEN_OK;
}

static omen_status
check_heads(const struct logs_at *at, struct omen_error *error)
{
    uint64_t bytes = at->head.count * sizeof *at->heads;
    for (uint32_t i = 0; i < at->head.count; i++) {
        const struct logs_entry_head *entry = &at->heads[i];
        if (entry->magic != LOGS_ENTRY_MAGIC || entry->seq != at->head.first + i ||
            entry->count > LOGS_ENTRY_BYTES_MAX)
            return misplaced(at->head.first + i, error);
        bytes += logs_padded((size_t)entry->count);
    }
    return bytes == at->head.total ? OMEN_OK : misplaced(at->head.first, error);
}

omen_status
logs_entry_find(struct kv_txn *txn, uint32_t slot, const struct logs_row *row, uint64_t seq,
                struct logs_entry_head *out, struct omen_error *error)
{
    struct logs_at at = {0};
    uint64_t part;
    omen_status status = logs_group_find(txn, slot, row, seq, &part, error);
    if (status == OMEN_OK)
        status = logs_group_load(txn, slot, row, part, &at, error);
    if (status == OMEN_OK && (seq < at.head.first || seq >= at.end_seq))
        status = misplaced(seq, error);
    if (status == OMEN_OK)
        *out = at.heads[seq - at.head.first];
    logs_at_fini(&at);
    return status;
}

omen_status
logs_cut(struct kv_txn *txn, uint32_t slot, struct logs_row *row, uint64_t above,
         struct omen_error *error)
{
    if (above >= row->last_seq)
        return OMEN_OK;
    if (above + 1 < row->first_seq)
        return error_set(error, OMEN_E_INVALID, "logs: entry %llu cannot be cut, it is trimmed",
                         (unsigned long long)above + 1);
    struct logs_entry_head last = {.stamp_ms = row->base_stamp_ms};
    uint64_t end_part = row->first_part;
    if (above >= row->first_seq) {
        struct kv_value value;
        struct logs_head head;
        omen_status status = logs_entry_find(txn, slot, row, above, &last, error);
        if (status == OMEN_OK)
            status = logs_group_find(txn, slot, row, above, &end_part, error);
        if (status == OMEN_OK)
            status = logs_part_get(txn, slot, row, end_part, &value, &head, error);
        if (status != OMEN_OK)
            return status;
        end_part += logs_parts(head.total);
    }
    uint32_t budget = UINT32_MAX;
    uint64_t next;
    const omen_status status = logs_erase(txn, LOGS_ENTRIES, logs_key(slot, end_part),
                                          logs_key(slot, row->next_part), &budget, &next, error);
    row->next_part = end_part;
    row->last_seq = above;
    row->stamp_ms = last.stamp_ms;
    return status;
}
