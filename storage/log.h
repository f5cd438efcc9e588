// storage/log.h -- the operations of a shard in their order, kept until a checkpoint holds what they did.
//
// Shape:   handle in the owner's memory (_init/_fini), over one table of a kv.
// Threads: appends and trims take turns (the owner's lock); iterators read in a transaction of their own.
// Units:   seq counts entries from 1 without a gap.
//
// Entries that arrive together are one group and one commit. A group is cut into parts of LOG_PART_BYTES under the keys
// first seq << 16, +1, +2, ...; each begins with a head that says how many bytes and entries the group has, and carries a
// checksum of the part.
// What an entry means is not known here.
#ifndef OMEN_STORAGE_LOG_H
#define OMEN_STORAGE_LOG_H
#include "storage/kv.h"

#define LOG_PART_BYTES 65520u                 // with LMDB's page head sixteen whole pages
#define LOG_ENTRY_BYTES_MAX ((size_t)1 << 30) // of one entry
#define LOG_GROUP_BYTES_MAX ((size_t)2 << 30)

struct log_entry {
    uint64_t seq;
    uint64_t term;  // 0 in an embedded index
    uint16_t type;  // the owner's
    uint16_t flags; // 0; reserved
    const void *bytes;
    size_t count;
    uint64_t behind; // of one that was read: about how many bytes of later ones there are
};

struct log_part {
    const void *bytes;
    size_t count;
};

struct log {
    struct kv *kv; // borrowed
    uint32_t table;
    uint64_t first_seq, last_seq; // first_seq == last_seq + 1: empty
    uint64_t bytes;               // of groups kept
    uint64_t stream_at;           // bytes of all groups there ever were
};

// Finds out where the log begins and ends. `after`: what a checkpoint holds already; an empty log goes on from there.
OMEN_MUST_CHECK omen_status log_init(struct log *log, struct kv *kv, uint32_t table, uint64_t after,
                                     struct omen_error *error);

// A group in the making, in the owner's memory: entries whose bytes are given in parts and borrowed until log_commit.
struct log_draft;
OMEN_MUST_CHECK omen_status log_draft_open(struct log_draft **out);
void log_draft_close(struct log_draft *draft); // accepts NULL
void log_draft_reset(struct log_draft *draft);
// The entry's bytes are those of all parts one behind the other. OMEN_E_INVALID past the limits.
OMEN_MUST_CHECK omen_status log_draft_add(struct log_draft *draft, const struct log_entry *head,
                                          const struct log_part *parts, uint32_t part_count);
uint32_t log_draft_entries(const struct log_draft *draft);
size_t log_draft_bytes(const struct log_draft *draft);

// Makes the draft's entries durable, as last_seq + 1, ... in their order (head->seq is not looked at). On failure nothing
// was appended, unless it says OMEN_E_IO.
OMEN_MUST_CHECK omen_status log_commit(struct log *log, const struct log_draft *draft,
                                       struct omen_error *error);

// Erases whole groups whose entries all have seq <= `through`, in transactions of a few hundred parts; may be called again
// after a failure.
OMEN_MUST_CHECK omen_status log_trim(struct log *log, uint64_t through, struct omen_error *error);

// Reads entries with seq > after in order, in a transaction of the caller's.
struct log_reader;
OMEN_MUST_CHECK omen_status log_reader_open(struct kv_txn *txn, uint32_t table, uint64_t after,
                                            struct log_reader **out, struct omen_error *error);
void log_reader_close(struct log_reader *reader); // accepts NULL
// OMEN_E_NOT_FOUND at the end; OMEN_E_CORRUPT for a gap or a checksum that does not hold. entry->bytes is aligned to 8
// and valid until the next call.
OMEN_MUST_CHECK omen_status log_reader_next(struct log_reader *reader, struct log_entry *entry,
                                            struct omen_error *error);

// Reads the whole log and checks everything.
OMEN_MUST_CHECK omen_status log_verify(struct kv_txn *txn, uint32_t table,
                                       struct omen_error *error);

#endif
