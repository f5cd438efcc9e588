// replica/replica_msg.h -- what the copies of one shard say to each other, and the limits of every field. wire/ includes it.
//
// Shape: value. Plain structs; the codec is in wire/.
// Units: `seq` is a place in the shard's log; 0 is before the first entry.
//
// Every field of a message that arrived is untrusted: replica_step drops what breaks the limits below.
#ifndef OMEN_REPLICA_REPLICA_MSG_H
#define OMEN_REPLICA_REPLICA_MSG_H
#include <stdbool.h>
#include <stdint.h>

// In-sync copies and learners of one shard together.
#define REPLICA_MEMBERS_MAX 8u
// In one APPEND, and in one proposal.
#define REPLICA_ENTRIES_MAX 64u
#define REPLICA_ENTRY_BYTES_MAX (8u << 20)
#define REPLICA_CHUNK_BYTES_MAX (4u << 20)
#define REPLICA_CHUNKS_MAX (1u << 20)
// Starts of terms that a copy remembers; what is older is caught up with by a snapshot.
#define REPLICA_TERMS_MAX 64u
// Terms, places and versions stay below it, so that adding to one never wraps.
#define REPLICA_NUMBER_MAX (UINT64_MAX / 4)
// Buckets of the logical checksum, and how many of them one message carries.
#define REPLICA_BUCKETS 4096u
#define REPLICA_BUCKETS_PER_MSG 256u

// Of a replica, and of a client's operation. All zeros stand for "none".
struct replica_uuid {
    uint64_t high, low;
};

struct replica_sum {
    uint64_t high, low;
};

enum replica_entry_kind {
    REPLICA_ENTRY_OP = 1,
    REPLICA_ENTRY_TERM_START = 2, // the first of a primary's entries
    REPLICA_ENTRY_CHECKSUM = 3,   // every copy says its sum at exactly this place
};

struct replica_entry {
    uint64_t seq, term;
    uint64_t stamp_ms; // never less than that of the entry before
    enum replica_entry_kind kind;
    uint32_t byte_count;
    struct replica_uuid op_id; // none: the operation is not remembered
    const uint8_t *bytes;      // borrowed
};

struct replica_term {
    uint64_t term, first_seq;
};

enum replica_msg_kind {
    REPLICA_APPEND = 1,  // primary: entries behind prev_seq; none at all carries `commit`
    REPLICA_ACK,         // durable up to `seq`, where it agrees with the primary of `term`
    REPLICA_NACK,        // term: what was promised; prev_seq as it came; seq: where they may agree
    REPLICA_CONFIRM,     // primary: is `term` still what you promised? `round` comes back
    REPLICA_CONFIRM_ACK, //
    REPLICA_NEED_SNAPSHOT, // primary: my log begins later; `source` has a copy
    REPLICA_SNAPSHOT_ASK,  // learner to source: chunk `chunk` of snapshot `snapshot`; 0: a new one
    REPLICA_SNAPSHOT_HEAD, // source: `snapshot` is at `seq` and has `chunk_count` chunks; none: not now
    REPLICA_CHUNK,         // source: bytes
    REPLICA_ROOT,          // backup: `sum` at `seq`
    REPLICA_BUCKETS_ASK, // primary: which are your buckets at `seq`, from `chunk` on?
    REPLICA_BUCKETS_ARE, // backup
    REPLICA_MSG_KINDS,
};

// What a kind does not name is 0.
struct replica_msg {
    enum replica_msg_kind kind;
    struct replica_uuid from, to;
    uint64_t shard;   // the child's, where a parent and a copy of its child talk
    uint64_t term;    // of the sender; that of the primary in every message of and to a primary
    uint64_t cfg_ver; // of the metadata that the sender knows
    uint64_t seq;
    uint64_t prev_seq, prev_term; // APPEND; of a NACK: prev_seq of what was refused
    uint64_t commit;              // APPEND
    uint64_t round;               // CONFIRM*
    struct replica_uuid source;   // NEED_SNAPSHOT
    uint64_t snapshot;            // of a source, for the time that it runs
    uint64_t hash;                // CHUNK: of the bytes
    uint32_t chunk, chunk_count;
    uint32_t entry_count, byte_count, bucket_count;
    const struct replica_entry *entries; // APPEND; borrowed
    const uint8_t *bytes;                // CHUNK; borrowed
    const struct replica_sum *buckets;   // BUCKETS_ARE; borrowed
    struct replica_sum sum;              // ROOT
};

static inline bool
replica_uuid_equal(struct replica_uuid a, struct replica_uuid b)
{
    return a.high == b.high && a.low == b.low;
}

static inline bool
replica_uuid_is_none(struct replica_uuid uuid)
{
    return (uuid.high | uuid.low) == 0;
}

#endif
