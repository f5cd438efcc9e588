// raft/raft_msg.h -- what raft's nodes say to each other, and the limits of every field. wire/ includes it.
//
// Shape: value. Plain structs; the codec is in wire/.
// Units: `position` is a place in the log (the paper's index); 0 is before the first entry.
//
// Every field of a message that arrived is untrusted: raft_step drops what breaks the limits below.
#ifndef OMEN_RAFT_RAFT_MSG_H
#define OMEN_RAFT_RAFT_MSG_H
#include <stdbool.h>
#include <stdint.h>

// Of one configuration, all roles together.
#define RAFT_MEMBERS_MAX 32u
// In one configuration change.
#define RAFT_CHANGES_MAX 32u
#define RAFT_CHANGE_BYTES_MAX (1u + 9u * RAFT_CHANGES_MAX)
// In one APPEND.
#define RAFT_ENTRIES_MAX 1024u
// Of one entry, and of one snapshot chunk.
#define RAFT_ENTRY_BYTES_MAX (1u << 20)
#define RAFT_CHUNK_BYTES_MAX (1u << 20)
// Terms and positions stay below it, so that adding to one never wraps.
#define RAFT_NUMBER_MAX (UINT64_MAX / 4)

#define RAFT_NODE_NONE 0u

enum raft_entry_kind {
    RAFT_ENTRY_NORMAL = 0, // bytes are the owner's; none at all is the no-op of a new leader
    RAFT_ENTRY_CHANGE =
        1, // bytes are those of raft/member.h; none at all leaves a joint configuration
};

struct raft_entry {
    uint64_t position;
    uint64_t term;
    enum raft_entry_kind kind;
    uint32_t byte_count;
    const uint8_t *bytes;
};

enum raft_role {
    RAFT_VOTER = 1,    // of the incoming configuration, the only one unless it is joint
    RAFT_OUTGOING = 2, // voter of the outgoing half of a joint configuration
    RAFT_LEARNER = 4,  // gets the log, has no vote
    RAFT_LEARNER_NEXT =
        8,            // outgoing voter that becomes a learner when the joint configuration is left
    RAFT_FRESH = 128, // in the result of a change: its progress begins anew
};

struct raft_member {
    uint64_t id;
    uint8_t roles; // enum raft_role, at least one
};

// A configuration: members by ascending id. It is joint while any member is RAFT_OUTGOING.
struct raft_group {
    struct raft_member members[RAFT_MEMBERS_MAX];
    uint32_t count;
    bool auto_leave; // the leader proposes to leave the joint configuration by itself
};

enum raft_msg_kind {
    RAFT_APPEND = 1,
    RAFT_APPEND_RESP,
    RAFT_VOTE,
    RAFT_VOTE_RESP,
    RAFT_PRE_VOTE,
    RAFT_PRE_VOTE_RESP,
    RAFT_HEARTBEAT,
    RAFT_HEARTBEAT_RESP,
    RAFT_SNAPSHOT,
    RAFT_SNAPSHOT_RESP,
    RAFT_TIMEOUT_NOW,
    RAFT_MSG_KINDS,
};

// What a kind does not name is 0.
struct raft_msg {
    enum raft_msg_kind kind;
    uint64_t from, to;
    uint64_t term; // of PRE_VOTE and a granted PRE_VOTE_RESP: the term that an election would have
    // APPEND: of the entry before. *VOTE: the last. APPEND_RESP: durable, or what was rejected. SNAPSHOT*: of the snapshot.
    uint64_t position;
    uint64_t log_term; // of the entry at `position`; of a rejected APPEND_RESP: at `hint`
    // APPEND, HEARTBEAT; refused *VOTE_RESP of a node that was removed, then log_term is its term.
    uint64_t commit;
    uint64_t hint;                    // rejected APPEND_RESP: where the follower may agree
    uint64_t context;                 // HEARTBEAT*: the newest read round, returned as it came
    bool reject;                      // *RESP
    bool transfer;                    // VOTE: by order of the leader, so its lease does not count
    const struct raft_entry *entries; // APPEND; borrowed
    uint32_t entry_count;
    // SNAPSHOT: `chunk_bytes` at `offset` of `total_bytes`. SNAPSHOT_RESP: `offset` is the next one wanted. The machine
    // that sends knows no bytes: the shell fills in `chunk` and `chunk_hash` (hash_bytes) before the message leaves.
    uint64_t offset, total_bytes;
    const uint8_t *chunk; // borrowed
    uint32_t chunk_bytes;
    uint64_t chunk_hash;
    const struct raft_group *group; // SNAPSHOT: the configuration at `position`; borrowed
};

#endif
