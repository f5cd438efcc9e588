// storage/logs.c -- the logs there are: a row each, found by its name; made, changed, trimmed, dropped.
//
// Shape: value in a store.
//
//      (no row) --logs_make--> live --logs_drop--> doomed --logs_clean has erased all--> free, or no row
//      free --logs_make of a name that belongs there--> live
//
// Rows lie as in a hash table with open addressing: a free row says that others may lie behind it.
#include "storage/logs.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "storage/logs_int.h"

static const char *const tables[LOGS_TABLES] = {"log_rows", "log_entries", "log_ops",
                                                "log_records"};
static const char format[] = "omendb logs 1";

static omen_status check_format(struct kv *kv, struct omen_error *error);
static omen_status write_row(struct kv_txn *txn, uint32_t slot, struct logs_row *row,
                             const struct logs_change *change, struct omen_error *error);
static omen_status keep_ops(struct kv_txn *txn, uint32_t slot, struct logs_row *row,
                            const struct logs_trim *trim, uint64_t through,
                            struct omen_error *error);
static omen_status release(struct kv_txn *txn, uint32_t slot, struct omen_error *error);

omen_status
logs_open(const char *path, struct kv **out, struct omen_error *error)
{
    const struct kv_config config = {
        .path = path, .mode = KV_WRITE, .tables = tables, .table_count = LOGS_TABLES};
    *out = NULL;
    struct kv *kv;
    omen_status status = kv_open(&config, &kv, error);
    if (status != OMEN_OK)
        return status;
    status = check_format(kv, error);
    if (status != OMEN_OK) {
        kv_close(kv);
        return status;
    }
    *out = kv;
    return OMEN_OK;
}

static bool
holds_something(struct kv_txn *txn)
{
    struct kv_value value;
    for (uint32_t table = 0; table < LOGS_TABLES; table++) {
        uint64_t key = 0;
        if (kv_next(txn, table, &key, &value, NULL) != OMEN_E_NOT_FOUND)
            return true;
    }
    return false;
}

// What is new gets its format in a commit of its own, before anything else.
static omen_status
check_format(struct kv *kv, struct omen_error *error)
{
    struct kv_txn *txn;
    uint8_t *bytes = NULL;
    size_t count = 0;
    omen_status status = kv_begin_write(kv, &txn, error);
    if (status != OMEN_OK)
        return status;
    status = logs_value_get(txn, LOGS_FORMAT, LOGS_FORMAT, &bytes, &count, error);
    if (status == OMEN_E_NOT_FOUND && holds_something(txn))
        status =
            error_set(error, OMEN_E_INVALID, "logs: the record that says what this is, is missing");
    else if (status == OMEN_OK && (count != sizeof format || memcmp(bytes, format, count) != 0))
        status = error_set(error, OMEN_E_VERSION, "logs: written by a newer version");
    const bool fresh = status == OMEN_E_NOT_FOUND;
    if (fresh)
        status = logs_value_put(txn, LOGS_FORMAT, LOGS_FORMAT, format, sizeof format, error);
    mem_free(bytes);
    if (fresh && status == OMEN_OK)
        return kv_commit(txn, error);
    kv_abort(txn);
    return status;
}

// ---- rows ----

static bool
row_is_sound(const struct logs_row *row)
{
    if (row->state == LOGS_FREE)
        return true;
    return (row->state == LOGS_LIVE || row->state == LOGS_DOOMED) &&
           !logs_name_is_none(row->name) && row->first_seq >= 1 && row->last_seq <= LOGS_SEQ_MAX &&
           row->first_seq <= row->last_seq + 1 && row->kept_part <= row->first_part &&
           row->first_part <= row->next_part && row->next_part <= LOGS_NUMBER_MAX &&
           row->first_ops <= row->next_ops && row->next_ops <= LOGS_NUMBER_MAX &&
           row->note_bytes <= LOGS_NOTE_BYTES_MAX &&
           (row->first_seq <= row->last_seq) == (row->first_part < row->next_part);
}

static omen_status
logs_row_get(struct kv_txn *txn, uint32_t slot, struct logs_row *row, struct omen_error *error)
{
    struct kv_value value;
    struct logs_head head;
    omen_status status = kv_get(txn, LOGS_ROWS, slot, &value, error);
    if (status == OMEN_OK)
        status = logs_head_check(&value, LOGS_ROW_MAGIC, slot, "a row", &head, error);
    if (status == OMEN_OK)
        status = logs_bytes_check(&value, &head, "a row", error);
    if (status != OMEN_OK)
        return status;
    if (value.count != sizeof head + sizeof *row)
        return error_set(error, OMEN_E_CORRUPT, "logs: row %u has another size", slot);
    memcpy(row, (const char *)value.bytes + sizeof head, sizeof *row);
    if (!row_is_sound(row))
        return error_set(error, OMEN_E_CORRUPT, "logs: row %u contradicts itself", slot);
    return OMEN_OK;
}

static omen_status
logs_row_put(struct kv_txn *txn, uint32_t slot, const struct logs_row *row,
             struct omen_error *error)
{
    ASSERT(row_is_sound(row));
    const struct logs_head head = {.magic = LOGS_ROW_MAGIC, .slot = (uint16_t)slot};
    return logs_put(txn, LOGS_ROWS, slot, head, slot, row, sizeof *row, error);
}

static uint32_t
first_slot(struct logs_name name)
{
    return (uint32_t)(logs_owner(name) % LOGS_SLOTS);
}

// The row with the name; or OMEN_E_NOT_FOUND and where one could be made, LOGS_SLOTS: nowhere.
static omen_status
look_for(struct kv_txn *txn, struct logs_name name, uint32_t *slot, struct logs_row *row,
         struct omen_error *error)
{
    const uint32_t first = first_slot(name);
    *slot = LOGS_SLOTS;
    for (uint32_t i = 0; i < LOGS_SLOTS; i++) {
        const uint32_t at = (first + i) % LOGS_SLOTS;
        const omen_status status = logs_row_get(txn, at, row, error);
        const bool empty =
            status == OMEN_E_NOT_FOUND || (status == OMEN_OK && row->state == LOGS_FREE);
        if (empty && *slot == LOGS_SLOTS)
            *slot = at;
        if (status != OMEN_OK)
            return status;
        if (row->state == LOGS_LIVE && row->name.high == name.high && row->name.low == name.low) {
            *slot = at;
            return OMEN_OK;
        }
    }
    return OMEN_E_NOT_FOUND;
}

omen_status
logs_row_find(struct kv_txn *txn, struct logs_name name, uint32_t *slot, struct logs_row *row,
              struct omen_error *error)
{
    const omen_status status = look_for(txn, name, slot, row, error);
    if (status == OMEN_E_NOT_FOUND)
        return error_set(error, OMEN_E_NOT_FOUND, "logs: there is no log %016llx%016llx",
                         (unsigned long long)name.high, (unsigned long long)name.low);
    return status;
}

static void
state_of(const struct logs_row *row, struct logs_state *state)
{
    *state = (struct logs_state){.name = row->name,
                                 .first_seq = row->first_seq,
                                 .last_seq = row->last_seq,
                                 .base_term = row->base_term,
                                 .stamp_ms = row->stamp_ms,
                                 .forgot_ms = row->forgot_s * UINT64_C(1000),
                                 .note_bytes = row->note_bytes};
    memcpy(state->note, row->note, row->note_bytes);
}

omen_status
logs_find(struct kv_txn *txn, struct logs_name name, struct logs_state *state,
          struct omen_error *error)
{
    struct logs_row row;
    uint32_t slot;
    const omen_status status = logs_row_find(txn, name, &slot, &row, error);
    if (status == OMEN_OK)
        state_of(&row, state);
    return status;
}

omen_status
logs_next(struct kv_txn *txn, uint32_t *at, struct logs_state *state, struct omen_error *error)
{
    struct kv_value value;
    struct logs_row row;
    for (;;) {
        uint64_t key = *at;
        omen_status status = kv_next(txn, LOGS_ROWS, &key, &value, error);
        if (status == OMEN_OK && key >= LOGS_SLOTS)
            status = error_set(error, OMEN_E_CORRUPT, "logs: no row has the number %llu",
                               (unsigned long long)key);
        if (status == OMEN_OK)
            status = logs_row_get(txn, (uint32_t)key, &row, error);
        if (status != OMEN_OK)
            return status;
        *at = (uint32_t)key + 1;
        if (row.state == LOGS_LIVE) {
            state_of(&row, state);
            return OMEN_OK;
        }
    }
}

// ---- writing ----

omen_status
logs_make(struct kv_txn *txn, struct logs_name name, const void *note, uint32_t note_bytes,
          struct omen_error *error)
{
    struct logs_row row;
    uint32_t slot;
    if (logs_name_is_none(name) || note_bytes > LOGS_NOTE_BYTES_MAX)
        return error_set(error, OMEN_E_INVALID,
                         "logs: a log wants a name, and a note of at most %u bytes",
                         LOGS_NOTE_BYTES_MAX);
    const omen_status status = look_for(txn, name, &slot, &row, error);
    if (status == OMEN_OK)
        return error_set(error, OMEN_E_EXISTS, "logs: there is such a log already");
    if (status != OMEN_E_NOT_FOUND)
        return status;
    if (slot == LOGS_SLOTS)
        return error_set(error, OMEN_E_FULL, "logs: there are %u logs already", LOGS_MAX);
    row = (struct logs_row){
        .name = name, .state = LOGS_LIVE, .first_seq = 1, .note_bytes = note_bytes};
    if (note_bytes > 0)
        memcpy(row.note, note, note_bytes);
    return logs_row_put(txn, slot, &row, error);
}

omen_status
logs_write(struct kv_txn *txn, struct logs_name name, const struct logs_change *change,
           struct omen_error *error)
{
    struct logs_row row;
    uint32_t slot;
    const omen_status status = logs_row_find(txn, name, &slot, &row, error);
    return status == OMEN_OK ? write_row(txn, slot, &row, change, error) : status;
}

static omen_status
write_row(struct kv_txn *txn, uint32_t slot, struct logs_row *row, const struct logs_change *change,
          struct omen_error *error)
{
    omen_status status = OMEN_OK;
    const bool appends = change->append != NULL && change->append->entries > 0;
    if (change->cut)
        status = logs_cut(txn, slot, row, change->above, error);
    if (status == OMEN_OK && appends)
        status = logs_append(txn, slot, row, change->append, error);
    if (status == OMEN_OK && change->note != NULL) {
        const uint64_t end = (uint64_t)change->note_at + change->note_bytes;
        if (end > row->note_bytes)
            return error_set(error, OMEN_E_INVALID, "logs: the note has %u bytes, not %llu",
                             row->note_bytes, (unsigned long long)end);
        memcpy(row->note + change->note_at, change->note, change->note_bytes);
    }
    return status == OMEN_OK ? logs_row_put(txn, slot, row, error) : status;
}

omen_status
logs_trim(struct kv_txn *txn, struct logs_name name, const struct logs_trim *trim,
          uint64_t *first_seq, struct omen_error *error)
{
    struct logs_row row;
    struct logs_entry_head entry;
    uint32_t slot;
    omen_status status = logs_row_find(txn, name, &slot, &row, error);
    if (status != OMEN_OK)
        return status;
    *first_seq = row.first_seq;
    uint64_t through = trim->through < row.last_seq ? trim->through : row.last_seq;
    if (through < row.first_seq)
        return OMEN_OK;
    if (trim->ops_max > 0 && through - row.first_seq >= LOGS_TRIM_ENTRIES)
        through = row.first_seq + LOGS_TRIM_ENTRIES - 1;
    if (trim->ops_max > 0)
        status = keep_ops(txn, slot, &row, trim, through, error);
    if (status == OMEN_OK)
        status = logs_entry_find(txn, slot, &row, through, &entry, error);
    uint64_t first_part = row.next_part;
    if (status == OMEN_OK && through < row.last_seq)
        status = logs_group_find(txn, slot, &row, through + 1, &first_part, error);
    if (status != OMEN_OK)
        return status;
    row.base_term = entry.term;
    row.base_stamp_ms = entry.stamp_ms;
    row.first_part = first_part;
    row.first_seq = *first_seq = through + 1;
    return logs_row_put(txn, slot, &row, error);
}

static omen_status
keep_ops(struct kv_txn *txn, uint32_t slot, struct logs_row *row, const struct logs_trim *trim,
         uint64_t through, struct omen_error *error)
{
    struct logs_reader *reader;
    struct logs_entry entry;
    struct logs_known kept = {0};
    const uint64_t since = row->stamp_ms > trim->window_ms ? row->stamp_ms - trim->window_ms : 0;
    omen_status status =
        logs_reader_make(txn, slot, row, row->first_seq, LOGS_HEADS, &reader, error);
    for (uint64_t seq = row->first_seq; status == OMEN_OK && seq <= through; seq++) {
        status = logs_reader_next(reader, &entry, error);
        if (status != OMEN_OK || logs_name_is_none(entry.op) || entry.stamp_ms < since)
            continue;
        const struct logs_op op = {entry.op, entry.seq, entry.stamp_ms};
        status = logs_known_add_op(&kept, &op);
    }
    logs_reader_close(reader);
    if (status == OMEN_OK)
        status = logs_ops_add(txn, slot, row, kept.ops, kept.op_count, error);
    if (status == OMEN_OK)
        status = logs_ops_expire(txn, slot, row, since, trim->ops_max, error);
    logs_known_fini(&kept);
    return status;
}

omen_status
logs_empty(struct kv_txn *txn, struct logs_name name, const struct logs_base *base,
           struct omen_error *error)
{
    struct logs_row row;
    uint32_t slot;
    if (base->seq > LOGS_SEQ_MAX || base->op_count > LOGS_OPS_MAX)
        return error_set(error, OMEN_E_INVALID,
                         "logs: %u operations behind entry %llu are too many", base->op_count,
                         (unsigned long long)base->seq);
    omen_status status = logs_row_find(txn, name, &slot, &row, error);
    if (status == OMEN_OK)
        status = logs_ops_clear(txn, slot, &row, error);
    if (status == OMEN_OK)
        status = logs_ops_add(txn, slot, &row, base->ops, base->op_count, error);
    if (status != OMEN_OK)
        return status;
    row.first_part = row.next_part;
    row.first_seq = base->seq + 1;
    row.last_seq = base->seq;
    row.base_term = base->term;
    row.base_stamp_ms = row.stamp_ms = base->stamp_ms;
    row.forgot_s = 0; // base->ops say it
    return logs_row_put(txn, slot, &row, error);
}

omen_status
logs_drop(struct kv_txn *txn, struct logs_name name, struct omen_error *error)
{
    struct logs_row row;
    uint32_t slot;
    const omen_status status = logs_row_find(txn, name, &slot, &row, error);
    if (status != OMEN_OK)
        return status;
    row.state = LOGS_DOOMED;
    row.first_part = row.next_part;
    row.first_seq = row.last_seq + 1;
    return logs_row_put(txn, slot, &row, error);
}

// ---- erasing what was forgotten ----

static omen_status
clean_one(struct kv_txn *txn, uint32_t slot, struct logs_row *row, uint32_t *budget,
          struct omen_error *error)
{
    uint64_t next;
    omen_status status = logs_erase(txn, LOGS_ENTRIES, logs_key(slot, row->kept_part),
                                    logs_key(slot, row->first_part), budget, &next, error);
    if (status != OMEN_OK)
        return status;
    row->kept_part = next - logs_key(slot, 0);
    if (row->state == LOGS_DOOMED && row->kept_part == row->first_part) {
        status = logs_erase(txn, LOGS_OPS, logs_key(slot, row->first_ops),
                            logs_key(slot, row->next_ops), budget, &next, error);
        if (status != OMEN_OK)
            return status;
        row->first_ops = next - logs_key(slot, 0);
        if (row->first_ops == row->next_ops)
            return release(txn, slot, error);
    }
    return logs_row_put(txn, slot, row, error);
}

// Where no row is behind it, a free one need not be there, nor those right before it.
static omen_status
release(struct kv_txn *txn, uint32_t slot, struct omen_error *error)
{
    struct logs_row row;
    omen_status status = logs_row_get(txn, (slot + 1) % LOGS_SLOTS, &row, error);
    if (status == OMEN_OK)
        return logs_row_put(txn, slot, &(struct logs_row){.state = LOGS_FREE}, error);
    if (status != OMEN_E_NOT_FOUND)
        return status;
    do {
        status = kv_delete(txn, LOGS_ROWS, slot, error);
        slot = (slot + LOGS_SLOTS - 1) % LOGS_SLOTS;
        if (status == OMEN_OK)
            status = logs_row_get(txn, slot, &row, error);
    } while (status == OMEN_OK && row.state == LOGS_FREE);
    return status == OMEN_E_NOT_FOUND ? OMEN_OK : status;
}

omen_status
logs_clean(struct kv_txn *txn, uint32_t *at, uint32_t parts, bool *done, struct omen_error *error)
{
    struct kv_value value;
    struct logs_row row;
    uint32_t budget = parts;
    *done = false;
    while (budget > 0) {
        uint64_t key = *at;
        omen_status status = kv_next(txn, LOGS_ROWS, &key, &value, error);
        if (status == OMEN_E_NOT_FOUND || (status == OMEN_OK && key >= LOGS_SLOTS)) {
            *done = true;
            return OMEN_OK;
        }
        if (status == OMEN_OK)
            status = logs_row_get(txn, (uint32_t)key, &row, error);
        if (status == OMEN_E_CORRUPT || status == OMEN_E_VERSION) { // whoever wants it will say so
            *at = (uint32_t)key + 1;
            continue;
        }
        if (status == OMEN_OK && (row.kept_part < row.first_part || row.state == LOGS_DOOMED))
            status = clean_one(txn, (uint32_t)key, &row, &budget, error);
        if (status != OMEN_OK)
            return status;
        *at = (uint32_t)key + (budget > 0 ? 1 : 0);
    }
    return OMEN_OK;
}
