// node/disk.h -- a node's log environment: everything that machines want durable, all that waits in one commit.
//
// Shape:   shell, over storage/logs.h. One thread commits; what arrives meanwhile is the next commit.
// Threads: any, but disk_open .. disk_started and disk_close, which are the owner's. What writes never waits for the disk, copies what it
//          borrows, and keeps the order of its calls; when it is durable a struct disk_done comes to the loop.
// Errors:  a full disk: nothing is acknowledged, and all of it is tried again, trims and drops first; counters say so. A failed disk, or one
//          of which nobody knows what it holds, or no memory to take a job: `fatal` is called once, from any thread, and nothing is
//          acknowledged after it. A copy whose own bytes are damaged: DISK_DAMAGED, and nothing more is written for what was asked.
// Memory:  jobs wait without a bound of this file's own: machines have few on their way (REPLICA_TICKETS_MAX, RAFT_PERSISTS_MAX), and
//          who takes in writes looks at disk_stats.queued_bytes.
#ifndef OMEN_NODE_DISK_H
#define OMEN_NODE_DISK_H
#include "base/error.h"
#include "base/metrics.h"
#include "base/os_loop.h"
#include "node/copies.h"
#include "node/turn.h"

#define DISK_GROUP_BYTES (4u << 20) // of the jobs of one commit, where more than one wait

struct disk; // opaque

struct disk_config {
    const char *path; // of the environment; made when it is missing
    void (*fatal)(void *context, const char *sentence); // the process must end
    void *context;
    struct metric_times *commit_times; // of commits that were done; NULL: nobody wants them
};

struct disk_identity {
    struct cluster_uuid cluster, node; // none: not founded
    uint64_t boot;                     // one higher than at the last start, and durable
    uint64_t member;                   // of raft's group; 0: none
};

enum disk_done_kind {
    DISK_META_DONE,
    DISK_COPY_DONE,
    DISK_MADE,
    DISK_DROPPED,
    DISK_TRIMMED,
    DISK_INSTALLED,
    DISK_DAMAGED, // instead of any of those but DISK_META_DONE: bytes of `copy` fail their checksums
};

struct disk_done {
    struct loop_note note; // freed with mem_free
    enum disk_done_kind kind;
    struct cluster_uuid copy;
    uint64_t number; // persist_number, or the ticket; TRIMMED: the first seq that is left
};

// OMEN_E_LOCKED: another process has it.
OMEN_MUST_CHECK omen_status disk_open(const struct disk_config *config, struct disk **out,
                                      struct omen_error *error);
// Commits what waits, if the disk takes it. Loops that notes go to may be stopped by then, but not closed. Accepts NULL.
void disk_close(struct disk *disk);

struct disk_identity disk_identity(const struct disk *disk);
// Once: durable when it returns. `group` is raft's as it begins, with members for who founds the cluster, NULL for who joins one.
// OMEN_E_EXISTS when the environment is a node's already. identity->boot is not looked at.
OMEN_MUST_CHECK omen_status disk_found(struct disk *disk, const struct disk_identity *identity,
                                       const struct raft_group *group, struct omen_error *error);

// ---- what a start finds ----

// OMEN_E_NOT_FOUND before disk_found. What *out points to is the disk's until disk_started.
OMEN_MUST_CHECK omen_status disk_start_meta(struct disk *disk, struct turn_durable *out,
                                            struct omen_error *error);

struct disk_copy {
    // applied_seq is 0: the shard's file says it. Then commit_seq is at least that, see disk_copy_applied.
    struct copies_durable durable;
    // OMEN_E_CORRUPT: its log cannot be read, `durable` has the environment only: it is not to be held, but dropped.
    omen_status status;
};

// Sets what the shard's file has applied. OMEN_E_CORRUPT: the log and the file do not go together (the log begins later than
// the file ends, or ends before that), so the copy is not to be held.
OMEN_MUST_CHECK static inline omen_status
disk_copy_applied(struct replica_disk *disk, uint64_t applied_seq)
{
    if (applied_seq + 1 < disk->first_seq || applied_seq > disk->last_seq)
        return OMEN_E_CORRUPT;
    disk->applied_seq = applied_seq;
    if (disk->commit_seq < applied_seq)
        disk->commit_seq = applied_seq;
    return OMEN_OK;
}

// Calls `fn` for each environment; what it is given is borrowed for the call.
OMEN_MUST_CHECK omen_status disk_start_copies(struct disk *disk,
                                              void (*fn)(void *context,
                                                         const struct disk_copy *copy),
                                              void *context, struct omen_error *error);
void disk_started(struct disk *disk);

// ---- what machines want durable ----

// Step 1 of a turn. META_DONE with persist_number where out->raft.sync is set.
void disk_write_meta(struct disk *disk, const struct turn_output *out, struct loop *loop);
// Step 1 of a replica; nothing where it has no ticket. COPY_DONE. For a copy that was dropped nothing is done or said.
void disk_write_copy(struct disk *disk, struct cluster_uuid copy, const struct replica_output *out,
                     struct loop *loop);
void disk_make(struct disk *disk, const struct copies_env *env, struct loop *loop);
void disk_drop(struct disk *disk, struct cluster_uuid copy, struct loop *loop);

struct disk_trim {
    uint64_t through; // applied, and in the shard's file for good
    // Operations of trimmed entries are kept for that long, counted from the newest entry's stamp.
    uint64_t window_ms;
    uint32_t ops_max; // and at most about that many
};

// TRIMMED says where the log begins then: a very long one is trimmed in several calls.
void disk_trim(struct disk *disk, struct cluster_uuid copy, const struct disk_trim *trim,
               struct loop *loop);

// A snapshot takes the log's place, after it took that of the shard's file: INSTALLED, and the log is empty behind now->applied_seq, of
// now->terms the last counts, the operations are now->ops. Nothing may be appended in between.
void disk_install(struct disk *disk, struct cluster_uuid copy, const struct replica_disk *now,
                  struct loop *loop);
// Gossip's, some time soon; at most GOSSIP_PEERS_MAX. Nothing is said.
void disk_peers(struct disk *disk, const struct gossip_address *peers, uint32_t count);

// ---- reading a copy's log, from any thread ----

struct disk_entries {
    struct replica_entry *entries; // what they point to is in `memory`
    uint32_t count;
    void *memory;
};

// Entries from first_seq on: `count` at most, and of `bytes_max` bytes together, but one in any case; what is on its way to the disk is
// read as well. None at all, with OMEN_OK: the log ends before that. OMEN_E_NOT_FOUND: trimmed, or no such copy. OMEN_E_CORRUPT.
OMEN_MUST_CHECK omen_status disk_read(struct disk *disk, struct cluster_uuid copy,
                                      uint64_t first_seq, uint32_t count, size_t bytes_max,
                                      struct disk_entries *out, struct omen_error *error);
void disk_entries_fini(struct disk_entries *entries);

struct disk_stats {
    uint64_t commits, jobs, bytes; // of what became durable; bytes as they were reckoned with
    uint64_t jobs_max;             // in one commit
    uint64_t full, no_memory;      // commits that were put off
    uint64_t put_off_since_ns;     // os_clock_ns(): nothing was committed since; 0: it is
    uint64_t damaged;              // jobs refused for damaged bytes
    uint64_t queued, queued_bytes; // now
};
struct disk_stats disk_stats(struct disk *disk);

#endif
