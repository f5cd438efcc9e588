// storage/logs.h -- many logs and small records in one store, so that one commit makes durable what all of them want.
//
// Shape:   value in a store: functions over transactions of storage/kv.h. What there is, is in the store alone, so a transaction
//          that is aborted, or fails, leaves nothing to be undone.
// Threads: as kv's: one writes, any read, each in a transaction of its own.
// Units:   seq counts the entries of one log without a gap, from 1.
// Errors:  OMEN_E_NOT_FOUND: no such log (or what else is asked for). OMEN_E_CORRUPT: damaged bytes. OMEN_E_INVALID: what is asked for does not
//          fit the log. *error says what. After a failure of what writes, the transaction can only be aborted.
//
// Entries that are appended together are a group: the heads of all of them, then their bytes, cut into parts of LOGS_PART_BYTES, each with a
// checksum of its own. So what is known of entries (terms, operations) is read without their bytes. docs/internals/storage.md draws it.
#ifndef OMEN_STORAGE_LOGS_H
#define OMEN_STORAGE_LOGS_H
#include "storage/kv.h"

#define LOGS_PART_BYTES 65520u
#define LOGS_ENTRY_BYTES_MAX ((size_t)16 << 20)
#define LOGS_GROUP_ENTRIES_MAX 4096u
#define LOGS_GROUP_BYTES_MAX ((size_t)1 << 30)
#define LOGS_MAX 4096u // at a time; those that were dropped count until they are erased
#define LOGS_NOTE_BYTES_MAX 128u
#define LOGS_RECORD_BYTES_MAX ((size_t)64 << 20)
#define LOGS_RECORDS_MAX 65536u // their numbers are below
#define LOGS_SEQ_MAX (UINT64_MAX / 4)
#define LOGS_TRIM_ENTRIES 16384u // that one call of logs_trim looks at, where operations are kept
#define LOGS_OPS_MAX (1u << 20)

struct logs_name { // a uuid; all zeros is none
    uint64_t high, low;
};

struct logs_entry {
    uint64_t seq, term, stamp_ms;
    struct logs_name op; // none: it is not remembered
    uint16_t kind;       // the owner's
    uint32_t count;
    const void *bytes;
};

struct logs_op {
    struct logs_name op;
    uint64_t seq, stamp_ms;
};

// Opens or makes the store. OMEN_E_VERSION: a newer one's. OMEN_E_INVALID: a store that is none of logs.
OMEN_MUST_CHECK omen_status logs_open(const char *path, struct kv **out, struct omen_error *error);

// How many bytes a transaction may put at most (kv_begin_write_large) is the sum over what is done in it.
#define LOGS_JOB_BYTES ((uint64_t)2048)                        // each call of what writes
#define LOGS_TRIM_BYTES (LOGS_JOB_BYTES + ((uint64_t)1 << 20)) // of logs_trim
#define LOGS_CLEAN_BYTES ((uint64_t)LOGS_MAX * 512)            // of logs_clean
static inline uint64_t
logs_bytes(uint64_t count) // of a record, a group, or operations, with `count` bytes
{
    return count + (count / (LOGS_PART_BYTES - 48) + 1) * 48 + LOGS_JOB_BYTES;
}

// ---- a group in the making, in the owner's memory ----

struct logs_group {
    uint8_t *heads, *bodies;
    size_t head_bytes, head_room, body_bytes, body_room;
    uint64_t first_seq; // 0: it has none yet
    uint32_t entries;
};
// Zeros are an empty one.
void logs_group_fini(struct logs_group *group);
// Copies the entry, whose seq is the next. OMEN_E_INVALID past the limits, OMEN_E_NO_MEMORY.
OMEN_MUST_CHECK omen_status logs_group_add(struct logs_group *group,
                                           const struct logs_entry *entry);
static inline uint64_t
logs_group_bytes(const struct logs_group *group)
{
    return group->head_bytes + group->body_bytes;
}

// Goes through a group in memory. Zeros are its begin; false at the end. What entry points to is the group's.
struct logs_place {
    uint32_t entry;
    size_t body_at;
};
bool logs_group_next(const struct logs_group *group, struct logs_place *place,
                     struct logs_entry *entry);

// ---- writing, in a write transaction ----

// A new log, empty, with a note of the owner's. OMEN_E_EXISTS, OMEN_E_FULL (LOGS_MAX).
OMEN_MUST_CHECK omen_status logs_make(struct kv_txn *txn, struct logs_name name, const void *note,
                                      uint32_t note_bytes, struct omen_error *error);

struct logs_change { // in this order
    // Entries above `above` go; where there are none nothing happens. Not below what was trimmed.
    bool cut;
    uint64_t above;
    const struct logs_group *append; // NULL or empty: nothing; begins behind the last entry
    const void *note;                // NULL: as it is; else these bytes of it, from note_at on
    uint32_t note_at, note_bytes;
};
OMEN_MUST_CHECK omen_status logs_write(struct kv_txn *txn, struct logs_name name,
                                       const struct logs_change *change, struct omen_error *error);

struct logs_trim {
    uint64_t through; // entries up to there go
    // Operations of them whose stamp is not older than that before the newest entry's are kept.
    uint64_t window_ms;
    // The oldest are forgotten while there would be more than that many. 0: none is kept.
    uint32_t ops_max;
};
// *first_seq: where the log begins then: not behind `through` + 1, and before it where LOGS_TRIM_ENTRIES were looked at.
OMEN_MUST_CHECK omen_status logs_trim(struct kv_txn *txn, struct logs_name name,
                                      const struct logs_trim *trim, uint64_t *first_seq,
                                      struct omen_error *error);

struct logs_base { // what a log is empty behind
    uint64_t seq, term, stamp_ms;
    const struct logs_op *ops; // ascending by seq; instead of those that were kept
    uint32_t op_count;         // <= LOGS_OPS_MAX
};
OMEN_MUST_CHECK omen_status logs_empty(struct kv_txn *txn, struct logs_name name,
                                       const struct logs_base *base, struct omen_error *error);

OMEN_MUST_CHECK omen_status logs_drop(struct kv_txn *txn, struct logs_name name,
                                      struct omen_error *error);

// Trimmed and dropped entries are forgotten at once, but erased here, `parts` of them at most. True: nothing is left to erase. `*at` is 0
// at first, and whenever something was trimmed, emptied or dropped since.
OMEN_MUST_CHECK omen_status logs_clean(struct kv_txn *txn, uint32_t *at, uint32_t parts, bool *done,
                                       struct omen_error *error);

// A record that belongs to no log; count 0 erases it.
OMEN_MUST_CHECK omen_status logs_record_put(struct kv_txn *txn, uint32_t record, const void *bytes,
                                            size_t count, struct omen_error *error);

// ---- reading, in any transaction ----

struct logs_state {
    struct logs_name name;
    uint64_t first_seq, last_seq; // last_seq + 1 == first_seq: empty
    uint64_t base_term;           // of the entry before the first
    uint64_t stamp_ms;            // of the newest entry there ever was
    // Operations drawn before (base/opid.h) may have been forgotten for newer ones; 0: none was.
    uint64_t forgot_ms;
    uint8_t note[LOGS_NOTE_BYTES_MAX];
    uint32_t note_bytes;
};
OMEN_MUST_CHECK omen_status logs_find(struct kv_txn *txn, struct logs_name name,
                                      struct logs_state *state, struct omen_error *error);
// The next log; *at is 0 at first.
OMEN_MUST_CHECK omen_status logs_next(struct kv_txn *txn, uint32_t *at, struct logs_state *state,
                                      struct omen_error *error);

struct logs_term {
    uint64_t term, first_seq;
};

struct logs_known { // of a log, without the entries' bytes
    // Of the entry before the first, where there was one, and each change from there on.
    struct logs_term *terms;
    struct logs_op *ops; // kept from trimmed entries, then of entries
    uint32_t term_count, term_room, op_count, op_room;
};
OMEN_MUST_CHECK omen_status logs_know(struct kv_txn *txn, struct logs_name name,
                                      struct logs_known *out, struct omen_error *error);
void logs_known_fini(struct logs_known *known);

// The caller frees *bytes (mem_free).
OMEN_MUST_CHECK omen_status logs_record_get(struct kv_txn *txn, uint32_t record, uint8_t **bytes,
                                            size_t *count, struct omen_error *error);

struct logs_reader; // opaque
enum logs_reading {
    LOGS_WHOLE,
    LOGS_HEADS, // entries come without bytes, which are not looked at
};
// Reads from the entry `seq` on. OMEN_E_NOT_FOUND also where it was trimmed.
OMEN_MUST_CHECK omen_status logs_reader_open(struct kv_txn *txn, struct logs_name name,
                                             uint64_t seq, enum logs_reading how,
                                             struct logs_reader **out, struct omen_error *error);
void logs_reader_close(struct logs_reader *reader); // accepts NULL
// OMEN_E_NOT_FOUND at the end. entry->bytes is valid until the next call.
OMEN_MUST_CHECK omen_status logs_reader_next(struct logs_reader *reader, struct logs_entry *entry,
                                             struct omen_error *error);

// Reads everything and checks everything.
OMEN_MUST_CHECK omen_status logs_verify(struct kv_txn *txn, struct omen_error *error);

#endif
