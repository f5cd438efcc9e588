// node/disk_int.h -- what is shared between the files of node/disk.
//
// Shape: shell; private to node/disk*.c and its tests.
//
// The environment: a log for raft, whose note is the hard state; a log a copy, whose note is struct disk_note; and records.
#ifndef OMEN_NODE_DISK_INT_H
#define OMEN_NODE_DISK_INT_H
#include <stdatomic.h>

#include "base/os_lock.h"
#include "base/os_timer.h"
#include "node/disk.h"
#include "storage/logs.h"

enum disk_record {
    DISK_IDENTITY = 1,
    DISK_CHECKPOINT = 2, // position and group of the map
    DISK_MAP = 3,        // its bytes
    DISK_PEERS = 4,
};

static const struct logs_name disk_meta_name = {
    0, 1}; // no copy has it: their uuids are drawn with high != 0

struct disk_note { // of a copy's log
    uint64_t shard, position;
    uint64_t promised, commit_seq;
};

struct disk_checkpoint {
    uint64_t position;
    uint32_t count, auto_leave; // of the group
    struct {
        uint64_t id, roles;
    } members[RAFT_MEMBERS_MAX];
};

_Static_assert(sizeof(struct dedupe_op) == sizeof(struct logs_op) &&
                   sizeof(struct replica_term) == sizeof(struct logs_term) &&
                   sizeof(struct disk_note) <= LOGS_NOTE_BYTES_MAX,
               "they are copied as they are");

enum disk_job_kind {
    DISK_JOB_META,
    DISK_JOB_COPY,
    DISK_JOB_MAKE,
    DISK_JOB_DROP,
    DISK_JOB_TRIM,
    DISK_JOB_INSTALL,
    DISK_JOB_PEERS,
};

// What came of a job in the transaction at hand.
enum disk_job_fate { DISK_JOB_WRITTEN, DISK_JOB_GONE /* its log is not there */, DISK_JOB_REFUSED };

struct disk_job {
    struct disk_job *next, *next_taken;
    enum disk_job_kind kind;
    _Atomic uint32_t holders; // the queue, and who reads its entries
    bool lazy;                // it goes with another one
    bool taken;               // under the lock: it is in the commit under way
    enum disk_job_fate fate;
    struct logs_name name;
    uint64_t bytes; // that it puts at most
    struct loop *loop;
    struct disk_done *done; // NULL: nothing is said

    struct logs_group group; // META, COPY
    bool cut;
    uint64_t above;
    struct raft_hard_state hard_state; // META
    bool install, checkpoint;
    uint64_t base_position, base_term, compact_through;
    struct disk_checkpoint head;
    struct disk_note note; // COPY: promised and commit_seq; MAKE
    struct disk_trim trim; // TRIM
    struct logs_base base; // INSTALL
    uint8_t *memory;       // the map; operations; peers
    size_t memory_bytes;
};

struct disk {
    struct disk_config config;
    struct kv *kv;
    struct disk_identity identity;
    struct timer *timer;
    // of what a start finds
    struct raft_entry *entries;
    uint8_t *bytes, *map, *peers;

    struct lock lock; // of what follows
    struct disk_job *first, *last;
    struct disk_stats stats;
    bool dead;

    // the committing thread's
    bool put_off; // the last commit found no room; the next is tried at again_ns
    uint64_t again_ns;
    uint32_t clean_at;
    bool clean_due;
};

static inline struct logs_name
disk_name(struct cluster_uuid uuid)
{
    return (struct logs_name){uuid.high, uuid.low};
}

static inline struct cluster_uuid
disk_uuid(struct logs_name name)
{
    return (struct cluster_uuid){name.high, name.low};
}

// Ends it: `fatal` is called, once.
void disk_die(struct disk *disk, const char *sentence);

// ---- jobs ----

void disk_job_release(struct disk_job *job); // accepts NULL
// Takes it over.
void disk_push(struct disk *disk, struct disk_job *job);
// Does it in the transaction. OMEN_E_NOT_FOUND: its log is not there. After another failure the transaction can only be aborted.
OMEN_MUST_CHECK omen_status disk_job_do(struct kv_txn *txn, struct disk_job *job,
                                        struct omen_error *error);

// ---- records ----

void disk_group_write(const struct raft_group *group, struct disk_checkpoint *out);
// False: it is none.
bool disk_group_read(const struct disk_checkpoint *in, struct raft_group *out);

// ---- entries gathered in memory ----

struct disk_gather {
    // Their bytes lie in `bytes`, from the beginning on, one behind the other.
    struct logs_entry *entries;
    uint32_t count, room;
    uint8_t *bytes;
    size_t used, bytes_room;
};
// Appends a copy. OMEN_E_NO_MEMORY: nothing happened.
OMEN_MUST_CHECK omen_status disk_gather_add(struct disk_gather *gather,
                                            const struct logs_entry *entry);
void disk_gather_fini(struct disk_gather *gather);

#endif
