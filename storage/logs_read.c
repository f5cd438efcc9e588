// storage/logs_read.c -- entries out of a log, each checked, and what is known of a log without their bytes.
//
// Shape: value in a store; a reader is a handle.
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "storage/logs_int.h"

struct logs_reader {
    struct kv_txn *txn; // borrowed
    uint32_t slot;
    struct logs_row row;
    enum logs_reading how;
    uint64_t next_seq;
    struct logs_at at; // the group at hand, once `loaded`
    bool loaded;
    uint32_t entry; // of it, whose bytes begin at `body_at` of the group's
    uint64_t body_at;
    uint64_t checked_part; // whose bytes are `checked`; UINT64_MAX: none
    const uint8_t *checked;
    uint8_t *buffer; // of an entry that lies in several parts
    size_t room;
};

static omen_status next_group(struct logs_reader *reader, struct omen_error *error);
static omen_status fetch(struct logs_reader *reader, uint64_t from, size_t count,
                         const void **bytes, struct omen_error *error);
static omen_status part_bytes(struct logs_reader *reader, uint64_t part, const uint8_t **bytes,
                              struct omen_error *error);
static omen_status add_term(struct logs_known *known, uint64_t term, uint64_t seq);
static omen_status verify_log(struct kv_txn *txn, uint32_t row_slot, const struct logs_state *state,
                              struct omen_error *error);

omen_status
logs_reader_make(struct kv_txn *txn, uint32_t slot, const struct logs_row *row, uint64_t seq,
                 enum logs_reading how, struct logs_reader **out, struct omen_error *error)
{
    *out = NULL;
    if (seq < row->first_seq)
        return error_set(error, OMEN_E_NOT_FOUND, "logs: entry %llu was trimmed",
                         (unsigned long long)seq);
    struct logs_reader *reader = mem_alloc_zero(1, sizeof *reader);
    if (reader == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    reader->txn = txn;
    reader->slot = slot;
    reader->row = *row;
    reader->how = how;
    reader->next_seq = seq;
    reader->checked_part = UINT64_MAX;
    *out = reader;
    return OMEN_OK;
}

omen_status
logs_reader_open(struct kv_txn *txn, struct logs_name name, uint64_t seq, enum logs_reading how,
                 struct logs_reader **out, struct omen_error *error)
{
    struct logs_row row;
    uint32_t slot;
    *out = NULL;
    const omen_status status = logs_row_find(txn, name, &slot, &row, error);
    return status == OMEN_OK ? logs_reader_make(txn, slot, &row, seq, how, out, error) : status;
}

void
logs_reader_close(struct logs_reader *reader)
{
    if (reader == NULL)
        return;
    logs_at_fini(&reader->at);
    mem_free(reader->buffer);
    mem_free(reader);
}

omen_status
logs_reader_next(struct logs_reader *reader, struct logs_entry *entry, struct omen_error *error)
{
    if (reader->next_seq > reader->row.last_seq)
        return OMEN_E_NOT_FOUND;
    if (!reader->loaded || reader->next_seq >= reader->at.end_seq) {
        const omen_status status = next_group(reader, error);
        if (status != OMEN_OK)
            return status;
    }
    const uint32_t wanted = (uint32_t)(reader->next_seq - reader->at.head.first);
    for (; reader->entry < wanted; reader->entry++)
        reader->body_at += logs_padded((size_t)reader->at.heads[reader->entry].count);
    const struct logs_entry_head *head = &reader->at.heads[wanted];
    *entry = (struct logs_entry){.seq = head->seq,
                                 .term = head->term,
                                 .stamp_ms = head->stamp_ms,
                                 .op = head->op,
                                 .kind = head->kind,
                                 .count = (uint32_t)head->count};
    if (reader->how == LOGS_WHOLE && head->count > 0) {
        const omen_status status =
            fetch(reader, reader->body_at, (size_t)head->count, &entry->bytes, error);
        if (status != OMEN_OK)
            return status;
    }
    reader->next_seq++;
    return OMEN_OK;
}

static omen_status
next_group(struct logs_reader *reader, struct omen_error *error)
{
    uint64_t part = reader->at.part + logs_parts(reader->at.head.total);
    omen_status status = OMEN_OK;
    if (!reader->loaded)
        status = logs_group_find(reader->txn, reader->slot, &reader->row, reader->next_seq, &part,
                                 error);
    if (status == OMEN_OK)
        status = logs_group_load(reader->txn, reader->slot, &reader->row, part, &reader->at, error);
    if (status != OMEN_OK)
        return status;
    if (reader->next_seq < reader->at.head.first || reader->next_seq >= reader->at.end_seq)
        return error_set(error, OMEN_E_CORRUPT, "logs: entry %llu is not where it should be",
                         (unsigned long long)reader->next_seq);
    reader->loaded = true;
    reader->entry = 0;
    reader->body_at = reader->at.head.count * sizeof(struct logs_entry_head);
    reader->checked_part = UINT64_MAX;
    return OMEN_OK;
}

static omen_status
fetch(struct logs_reader *reader, uint64_t from, size_t count, const void **bytes,
      struct omen_error *error)
{
    const uint64_t first = from / LOGS_PART_ROOM, last = (from + count - 1) / LOGS_PART_ROOM;
    const uint8_t *part;
    omen_status status;
    if (first == last) {
        status = part_bytes(reader, first, &part, error);
        *bytes = part + from % LOGS_PART_ROOM;
        return status;
    }
    if (count > reader->room) {
        uint8_t *grown = mem_resize(reader->buffer, count);
        if (grown == NULL)
            return error_set_plain(error, OMEN_E_NO_MEMORY);
        reader->buffer = grown;
        reader->room = count;
    }
    for (size_t done = 0; done < count;) {
        const uint64_t at = from + done;
        const size_t left = LOGS_PART_ROOM - at % LOGS_PART_ROOM;
        const size_t use = left < count - done ? left : count - done;
        status = part_bytes(reader, at / LOGS_PART_ROOM, &part, error);
        if (status != OMEN_OK)
            return status;
        memcpy(reader->buffer + done, part + at % LOGS_PART_ROOM, use);
        done += use;
    }
    *bytes = reader->buffer;
    return OMEN_OK;
}

static omen_status
part_bytes(struct logs_reader *reader, uint64_t part, const uint8_t **bytes,
           struct omen_error *error)
{
    struct kv_value value;
    struct logs_head head;
    if (reader->checked_part == part) {
        *bytes = reader->checked;
        return OMEN_OK;
    }
    const struct logs_head *group = &reader->at.head;
    omen_status status = logs_part_get(reader->txn, reader->slot, &reader->row,
                                       reader->at.part + part, &value, &head, error);
    if (status == OMEN_OK &&
        (head.part != part || head.first != group->first || head.total != group->total))
        status = error_set(error, OMEN_E_CORRUPT, "logs: another part was expected at %llu",
                           (unsigned long long)(reader->at.part + part));
    if (status == OMEN_OK)
        status = logs_bytes_check(&value, &head, "a part", error);
    if (status != OMEN_OK)
        return status;
    reader->checked_part = part;
    reader->checked = *bytes = (const uint8_t *)value.bytes + sizeof head;
    return OMEN_OK;
}

// ---- what is known ----

omen_status
logs_know(struct kv_txn *txn, struct logs_name name, struct logs_known *out,
          struct omen_error *error)
{
    struct logs_row row;
    struct logs_reader *reader = NULL;
    struct logs_entry entry;
    uint32_t slot;
    *out = (struct logs_known){0};
    omen_status status = logs_row_find(txn, name, &slot, &row, error);
    if (status == OMEN_OK)
        status = logs_ops_read(txn, slot, &row, out, error);
    if (status == OMEN_OK && row.first_seq > 1)
        status = add_term(out, row.base_term, row.first_seq - 1);
    if (status == OMEN_OK)
        status = logs_reader_make(txn, slot, &row, row.first_seq, LOGS_HEADS, &reader, error);
    for (uint64_t seq = row.first_seq; status == OMEN_OK && seq <= row.last_seq; seq++) {
        status = logs_reader_next(reader, &entry, error);
        if (status == OMEN_OK)
            status = add_term(out, entry.term, entry.seq);
        if (status != OMEN_OK || logs_name_is_none(entry.op))
            continue;
        const struct logs_op op = {entry.op, entry.seq, entry.stamp_ms};
        status = logs_known_add_op(out, &op);
    }
    logs_reader_close(reader);
    if (status != OMEN_OK)
        logs_known_fini(out);
    return status;
}

void
logs_known_fini(struct logs_known *known)
{
    mem_free(known->terms);
    mem_free(known->ops);
    *known = (struct logs_known){0};
}

static omen_status
add_term(struct logs_known *known, uint64_t term, uint64_t seq)
{
    if (known->term_count > 0 && known->terms[known->term_count - 1].term == term)
        return OMEN_OK;
    if (known->term_count == known->term_room) {
        const uint32_t room = known->term_room == 0 ? 16 : known->term_room * 2;
        struct logs_term *grown = mem_resize(known->terms, room * sizeof *grown);
        if (grown == NULL)
            return OMEN_E_NO_MEMORY;
        known->terms = grown;
        known->term_room = room;
    }
    known->terms[known->term_count++] = (struct logs_term){term, seq};
    return OMEN_OK;
}

omen_status
logs_known_add_op(struct logs_known *known, const struct logs_op *op)
{
    if (known->op_count == known->op_room) {
        if (known->op_room > UINT32_MAX / 2)
            return OMEN_E_NO_MEMORY;
        const uint32_t room = known->op_room == 0 ? 64 : known->op_room * 2;
        struct logs_op *grown = mem_resize(known->ops, room * sizeof *grown);
        if (grown == NULL)
            return OMEN_E_NO_MEMORY;
        known->ops = grown;
        known->op_room = room;
    }
    known->ops[known->op_count++] = *op;
    return OMEN_OK;
}

// ---- all of it ----

omen_status
logs_verify(struct kv_txn *txn, struct omen_error *error)
{
    struct logs_state state;
    uint8_t *bytes;
    size_t count;
    omen_status status = OMEN_OK;
    for (uint32_t at = 0; status == OMEN_OK;) {
        status = logs_next(txn, &at, &state, error);
        if (status == OMEN_OK)
            status = verify_log(txn, at - 1, &state, error);
    }
    if (status != OMEN_E_NOT_FOUND)
        return status;
    for (uint64_t key = 0;;) {
        struct kv_value value;
        status = kv_next(txn, LOGS_RECORDS, &key, &value, error);
        const uint64_t number = key >> LOGS_RECORD_BITS;
        if (status == OMEN_OK) {
            status = logs_value_get(txn, number, number, &bytes, &count, error);
            mem_free(bytes);
            if (status == OMEN_E_NOT_FOUND)
                status = error_set(error, OMEN_E_CORRUPT, "logs: record %llu has lost its begin",
                                   (unsigned long long)number);
        }
        if (status != OMEN_OK)
            return status == OMEN_E_NOT_FOUND ? OMEN_OK : status;
        if (number >= UINT64_MAX >> LOGS_RECORD_BITS)
            return OMEN_OK;
        key = (number + 1) << LOGS_RECORD_BITS;
    }
}

static omen_status
verify_log(struct kv_txn *txn, uint32_t row_slot, const struct logs_state *state,
           struct omen_error *error)
{
    struct logs_row row;
    uint32_t slot;
    struct logs_known known;
    struct logs_reader *reader;
    struct logs_entry entry;
    omen_status status = logs_row_find(txn, state->name, &slot, &row, error);
    if (status == OMEN_E_NOT_FOUND || (status == OMEN_OK && slot != row_slot))
        status = error_set(error, OMEN_E_CORRUPT, "logs: row %u is not where its name belongs",
                           row_slot);
    if (status == OMEN_OK)
        status = logs_know(txn, state->name, &known, error);
    if (status != OMEN_OK)
        return status;
    logs_known_fini(&known);
    status = logs_reader_open(txn, state->name, state->first_seq, LOGS_WHOLE, &reader, error);
    while (status == OMEN_OK)
        status = logs_reader_next(reader, &entry, error);
    logs_reader_close(reader);
    return status == OMEN_E_NOT_FOUND ? OMEN_OK : status;
}
