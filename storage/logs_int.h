// storage/logs_int.h -- the bytes of logs.
//
// Shape: value; private to storage/logs*.c.
//
// Every value is a head and what belongs to it. A log has a slot, which its name's hash chooses (the next free one, where another has
// it); so it is found without a table in memory. Its parts are numbered through, from the first it ever had; those from first_part to
// next_part are its entries, and a binary search finds the one with an entry. Cut entries stay in a group that has others before them:
// a group ends where the next one begins, or with the row's last_seq. All little-endian.
#ifndef OMEN_STORAGE_LOGS_INT_H
#define OMEN_STORAGE_LOGS_INT_H
#include "storage/logs.h"

enum { LOGS_ROWS, LOGS_ENTRIES, LOGS_OPS, LOGS_RECORDS, LOGS_TABLES };

#define LOGS_VERSION 1u
#define LOGS_ROW_MAGIC 0x524e4d4fu    // "OMNR"
#define LOGS_PART_MAGIC 0x504e4d4fu   // "OMNP"
#define LOGS_OPS_MAGIC 0x4f4e4d4fu    // "OMNO"
#define LOGS_RECORD_MAGIC 0x534e4d4fu // "OMNS"
#define LOGS_ENTRY_MAGIC 0x544e4d4fu  // "OMNT"

#define LOGS_SLOT_BITS 12u
#define LOGS_SLOTS ((uint32_t)1 << LOGS_SLOT_BITS)
#define LOGS_NUMBER_BITS (64 - LOGS_SLOT_BITS)
#define LOGS_NUMBER_MAX (((uint64_t)1 << LOGS_NUMBER_BITS) - 1)
#define LOGS_PART_ROOM (LOGS_PART_BYTES - sizeof(struct logs_head))
#define LOGS_PAGE_OPS ((uint32_t)(LOGS_PART_ROOM / sizeof(struct logs_op)))
#define LOGS_FORMAT (LOGS_RECORDS_MAX + LOGS_SLOTS) // number of the record that says what this is
#define LOGS_RECORD_BITS 20u                        // parts of one

struct logs_head {
    uint32_t magic;
    uint16_t version;
    uint16_t slot;
    uint32_t count; // of entries of the group, or of operations
    uint32_t part;  // of the group, or record
    // Seq of the group's first entry; number of the page of operations; of the record.
    uint64_t first;
    uint64_t total;     // bytes of the group, or record; newest stamp of the operations
    uint64_t bytes_sum; // checksum of the bytes behind
    uint64_t head_sum;  // checksum of the head with the owner in the place of this field
};

enum logs_row_state { LOGS_LIVE = 1, LOGS_DOOMED = 2, LOGS_FREE = 3 };

struct logs_row {
    struct logs_name name;
    uint64_t first_seq, last_seq;
    uint64_t base_term, base_stamp_ms; // of the entry before the first
    uint64_t stamp_ms;                 // of the newest
    uint64_t kept_part;                // those before first_part are to be erased
    uint64_t first_part, next_part;
    uint64_t first_ops, next_ops; // pages of operations
    uint64_t op_count;            // in them
    uint32_t state;               // enum logs_row_state
    uint32_t reserved;            // 0
    uint32_t note_bytes;
    uint32_t forgot_s; // logs_state.forgot_ms, in whole seconds; older programs wrote 0
    uint8_t note[LOGS_NOTE_BYTES_MAX];
};

struct logs_entry_head {
    uint32_t magic;
    uint16_t kind;
    uint16_t flags; // 0; reserved
    uint64_t seq, term, stamp_ms;
    uint64_t count;
    struct logs_name op;
};

_Static_assert(sizeof(struct logs_head) == 48 && sizeof(struct logs_row) == 248 &&
                   sizeof(struct logs_entry_head) == 56 && sizeof(struct logs_op) == 32,
               "part of the format");
_Static_assert(LOGS_MAX == LOGS_SLOTS && sizeof(struct logs_head) + sizeof(struct logs_row) <= 512,
               "LOGS_CLEAN_BYTES");
_Static_assert(LOGS_TRIM_ENTRIES + LOGS_GROUP_ENTRIES_MAX <= ((uint32_t)1 << 20) / 48,
               "LOGS_TRIM_BYTES");
_Static_assert(LOGS_RECORD_BYTES_MAX / LOGS_PART_ROOM < (1u << LOGS_RECORD_BITS) - 1,
               "a record's parts have their keys");

static inline size_t
logs_padded(size_t count)
{
    return (count + 7) & ~(size_t)7;
}

static inline uint64_t
logs_parts(uint64_t bytes)
{
    return (bytes + LOGS_PART_ROOM - 1) / LOGS_PART_ROOM;
}

static inline uint64_t
logs_key(uint32_t slot, uint64_t number)
{
    return (uint64_t)slot << LOGS_NUMBER_BITS | number;
}

static inline bool
logs_name_is_none(struct logs_name name)
{
    return (name.high | name.low) == 0;
}

// ---- values: storage/logs_value.c ----

uint64_t logs_owner(struct logs_name name);
// Sets the checksums.
void logs_seal(struct logs_head *head, uint64_t owner, const void *bytes, size_t count);
// Copies the head and checks it; the bytes are not looked at. OMEN_E_CORRUPT, OMEN_E_VERSION; `what` is named.
OMEN_MUST_CHECK omen_status logs_head_check(const struct kv_value *value, uint32_t magic,
                                            uint64_t owner, const char *what,
                                            struct logs_head *head, struct omen_error *error);
OMEN_MUST_CHECK omen_status logs_bytes_check(const struct kv_value *value,
                                             const struct logs_head *head, const char *what,
                                             struct omen_error *error);
// Puts a value of a head and bytes.
OMEN_MUST_CHECK omen_status logs_put(struct kv_txn *txn, uint32_t table, uint64_t key,
                                     struct logs_head head, uint64_t owner, const void *bytes,
                                     size_t count, struct omen_error *error);
// Erases values with keys in [from, to), as many as *budget says, which is lowered; *next: the first that may be left, or `to`.
OMEN_MUST_CHECK omen_status logs_erase(struct kv_txn *txn, uint32_t table, uint64_t from,
                                       uint64_t to, uint32_t *budget, uint64_t *next,
                                       struct omen_error *error);

// ---- rows: storage/logs.c ----

OMEN_MUST_CHECK omen_status logs_row_find(struct kv_txn *txn, struct logs_name name, uint32_t *slot,
                                          struct logs_row *row, struct omen_error *error);

// ---- groups: storage/logs_group.c ----

// A group in the store; its parts begin with `part`.
struct logs_at {
    uint64_t part;
    struct logs_head head; // of its first part
    uint64_t end_seq;      // behind its last entry that counts
    struct logs_entry_head *heads;
    uint32_t room;
};
void logs_at_fini(struct logs_at *at);
// The value of a part of the log, with its head checked against the row.
OMEN_MUST_CHECK omen_status logs_part_get(struct kv_txn *txn, uint32_t slot,
                                          const struct logs_row *row, uint64_t part,
                                          struct kv_value *value, struct logs_head *head,
                                          struct omen_error *error);
// Where the group with the entry begins; the entry is one of the log's.
OMEN_MUST_CHECK omen_status logs_group_find(struct kv_txn *txn, uint32_t slot,
                                            const struct logs_row *row, uint64_t seq,
                                            uint64_t *part, struct omen_error *error);
// Loads and checks the heads of the entries of the group that begins with that part.
OMEN_MUST_CHECK omen_status logs_group_load(struct kv_txn *txn, uint32_t slot,
                                            const struct logs_row *row, uint64_t part,
                                            struct logs_at *at, struct omen_error *error);
// The head of one entry, of those of the log.
OMEN_MUST_CHECK omen_status logs_entry_find(struct kv_txn *txn, uint32_t slot,
                                            const struct logs_row *row, uint64_t seq,
                                            struct logs_entry_head *out, struct omen_error *error);
OMEN_MUST_CHECK omen_status logs_append(struct kv_txn *txn, uint32_t slot, struct logs_row *row,
                                        const struct logs_group *group, struct omen_error *error);
OMEN_MUST_CHECK omen_status logs_cut(struct kv_txn *txn, uint32_t slot, struct logs_row *row,
                                     uint64_t above, struct omen_error *error);

// A reader of a row that is known.
OMEN_MUST_CHECK omen_status logs_reader_make(struct kv_txn *txn, uint32_t slot,
                                             const struct logs_row *row, uint64_t seq,
                                             enum logs_reading how, struct logs_reader **out,
                                             struct omen_error *error);

// ---- operations of trimmed entries: storage/logs_ops.c ----

OMEN_MUST_CHECK omen_status logs_ops_add(struct kv_txn *txn, uint32_t slot, struct logs_row *row,
                                         const struct logs_op *ops, uint32_t count,
                                         struct omen_error *error);
// Forgets pages whose newest stamp is below `since_ms`, and the oldest while there are more than ops_max without them.
OMEN_MUST_CHECK omen_status logs_ops_expire(struct kv_txn *txn, uint32_t slot, struct logs_row *row,
                                            uint64_t since_ms, uint32_t ops_max,
                                            struct omen_error *error);
OMEN_MUST_CHECK omen_status logs_ops_clear(struct kv_txn *txn, uint32_t slot, struct logs_row *row,
                                           struct omen_error *error);
// Reads all of them behind what `known` has.
OMEN_MUST_CHECK omen_status logs_ops_read(struct kv_txn *txn, uint32_t slot,
                                          const struct logs_row *row, struct logs_known *known,
                                          struct omen_error *error);
OMEN_MUST_CHECK omen_status logs_known_add_op(struct logs_known *known, const struct logs_op *op);

// ---- records: storage/logs_record.c ----

OMEN_MUST_CHECK omen_status logs_value_put(struct kv_txn *txn, uint64_t number, uint64_t owner,
                                           const void *bytes, size_t count,
                                           struct omen_error *error);
OMEN_MUST_CHECK omen_status logs_value_get(struct kv_txn *txn, uint64_t number, uint64_t owner,
                                           uint8_t **bytes, size_t *count,
                                           struct omen_error *error);
OMEN_MUST_CHECK omen_status logs_value_erase(struct kv_txn *txn, uint64_t number,
                                             struct omen_error *error);

#endif
