// replica/replica.h -- one copy of one shard: its log, who leads, and when an operation counts as done. A pure machine.
//
// Shape:   machine. Knows no disk, socket, clock or other engine; base/ only.
// Threads: one at a time.
// Memory:  all but the table of operations (replica/dedupe.h) is inside the struct. Where memory is refused a proposal is
//          answered so, and a message is dropped and comes again.
// Units:   nanoseconds of a monotonic clock, and milliseconds of the wall clock for stamps, both pushed in.
//
// Primary and backups after PacificA, the set of copies that are in sync being held by the cluster's metadata: see
// docs/internals/replica.md. The log is not in memory: what is to be sent later is asked for (`reads`) and comes back as an input.
#ifndef OMEN_REPLICA_REPLICA_H
#define OMEN_REPLICA_REPLICA_H
#include <stddef.h>

#include "base/prng.h"
#include "base/status.h"
#include "replica/dedupe.h"
#include "replica/replica_msg.h"
#include "replica/terms.h"

#define REPLICA_MSGS_MAX 32u
#define REPLICA_ANSWERS_MAX 128u // more go out at the next WAKE, which is then due at once
#define REPLICA_NOTES_MAX 8u
// Proposals that wait for their answer; strong reads under way; durable commits that are not finished.
#define REPLICA_WAITS_MAX 1024u
#define REPLICA_READS_MAX 64u
#define REPLICA_TICKETS_MAX 64u
// What a backup may lack when it is sent entries before it has answered, and when it is taken in.
#define REPLICA_WINDOW 4096u
#define REPLICA_LAG_MAX 64u
// Of a shard that is split.
#define REPLICA_CHILDREN 2u
#define REPLICA_PEERS_MAX ((1 + REPLICA_CHILDREN) * REPLICA_MEMBERS_MAX)

struct replica_config {
    struct replica_uuid uuid; // not none; born with the copy's environment
    uint64_t shard;
    uint64_t boot;     // of this node: leases of another one are not ours
    uint64_t retry_ns; // an unanswered message goes out again
    // Without an ACK for what is outstanding: out of the set; a quarter of it for the dead.
    uint64_t shrink_ns;
    uint64_t idle_ns; // a backup hears of a new commit no later than this
    uint32_t ops_max; // 1..DEDUPE_OPS_MAX
    // An operation is remembered for that long, and taken until two thirds of it.
    uint64_t window_ms;
    uint32_t terms_max; // 2..REPLICA_TERMS_MAX: so many are remembered (replica/terms.h)
};

// A half of a shard that is being split: its copies are filled by the parent's primary.
struct replica_child {
    uint64_t shard, cfg_ver;
    struct replica_uuid in_sync[REPLICA_MEMBERS_MAX];
    struct replica_uuid learners[REPLICA_MEMBERS_MAX];
    uint32_t in_sync_count, learner_count;
    uint32_t unborn; // copies that have no name yet
};

// What the metadata say about the shard. A set of uuids, never of addresses (I8). A copy of a child hears of its parent's primary
// and term until the cut, and of a cfg_ver that grows with the versions of both.
struct replica_meta {
    uint64_t cfg_ver; // grows with every change; 0: nothing is known
    uint64_t term;    // grows with every new primary
    struct replica_uuid primary;
    // Of its node when the term began; another process of it waits for a new term. 0: any.
    uint64_t primary_boot;
    struct replica_uuid in_sync[REPLICA_MEMBERS_MAX]; // the primary among them
    struct replica_uuid learners[REPLICA_MEMBERS_MAX];
    uint32_t in_sync_count, learner_count, min_insync;
    struct replica_child children[REPLICA_CHILDREN];
    uint32_t child_count; // 0, or 2 while it is split
    bool retired;         // it was split: its children answer
};

enum replica_role {
    REPLICA_IDLE,    // before START
    REPLICA_BACKUP,  // in sync, learner, or not known to the metadata
    REPLICA_OPENING, // primary whose promise is not durable: says nothing
    REPLICA_PRIMARY,
};

enum replica_peer_state { REPLICA_PROBE, REPLICA_STREAM, REPLICA_SNAPSHOT };

// A copy as its primary sees it.
struct replica_peer {
    struct replica_uuid uuid;
    enum replica_peer_state state;
    uint32_t child;    // 1 or 2: it is a copy of that child, not of this shard
    bool in_sync;      // by the metadata, of its shard
    bool pending;      // counts in E although the metadata do not have it in sync
    bool add_proposed; // so it counts until the metadata say what came of it
    bool dead;         // says the failure detector
    bool diverged;     // says its checksum: never taken in again
    bool reading;      // of the log, for it
    bool waiting;      // PROBE: for an answer
    uint64_t match, next;
    uint64_t commit_known; // it said
    uint64_t heard_ns;     // the last ACK, or when something became outstanding
    uint64_t sent_ns;
    uint64_t round;    // confirmed
    uint64_t root_seq; // of `root`
    struct replica_sum root;
};

// A group of changes on its way to the disk.
struct replica_ticket {
    uint64_t number, last_seq, promised;
};

struct replica_wait {
    uint64_t request, seq;
    bool primary_only; // an answer is due when it is durable here
};

enum replica_read_state { READ_CONFIRM, READ_APPLY, READ_SERVING };

struct replica_read {
    uint64_t request, seq, round;
    enum replica_read_state state;
    bool by_lease;
};

enum replica_change_kind {
    REPLICA_CHANGE_NONE,
    REPLICA_CHANGE_ADD,
    REPLICA_CHANGE_REMOVE,
    REPLICA_CHANGE_TRANSFER,
    REPLICA_CHANGE_CUT,   // the children answer behind `seq`
    REPLICA_CHANGE_ABORT, // the children are not what this shard is: they go
    REPLICA_CHANGE_LOST,  // what it holds is wrong, so it counts as gone; another is made
};

// A proposal to the metadata: a compare-and-set on cfg_ver (I11).
struct replica_change {
    enum replica_change_kind kind;
    struct replica_uuid uuid;
    uint64_t shard, cfg_ver, term;
    uint64_t seq, child_cfg_ver[REPLICA_CHILDREN]; // CUT
};

struct replica_split { // replica/split.c
    struct replica_change change;
    uint64_t sent_ns;
    uint64_t again_ns;       // stopped: until then; else: not before
    uint64_t check_seq;      // of the CHECKSUM before the cut
    struct replica_sum root; // what most copies of this shard have there, once they agreed
    bool stopped, agreed, proposed;
};

struct replica_download { // a snapshot that is coming
    struct replica_uuid source;
    uint64_t snapshot, seq, snapshot_term;
    uint32_t chunk, chunk_count;
    uint64_t sent_ns;
    uint32_t retries; // without an answer
    bool active, storing, installing;
};

struct replica_counters {
    uint64_t refused_msgs, fenced_msgs, dropped_msgs, conflicts, refused_meta;
    uint64_t bad_chunks, no_memory, notes_lost;
};

struct replica {
    struct replica_config config;
    struct prng prng;
    enum replica_role role;
    uint64_t now_ns;

    // the log
    uint64_t first_seq; // the oldest entry that is there
    uint64_t last_seq, durable_seq;
    uint64_t found_seq; // the newest of those that were there when it began, or when a snapshot came
    uint64_t commit_seq, applying_seq, applied_seq;
    uint64_t stamp_ms; // of the newest entry
    struct terms terms;

    uint64_t promised, durable_promised;
    uint64_t tickets_made;
    struct replica_ticket tickets[REPLICA_TICKETS_MAX]; // a ring
    uint32_t ticket_first, ticket_count;

    struct replica_meta meta;
    struct dedupe ops;
    bool ops_short; // memory was refused while they were loaded: it must not lead

    // as a backup
    struct replica_uuid leader; // of `promised`, once heard
    uint64_t agreed_seq;        // the log agrees with the leader's up to here
    uint64_t returned_sent_ns;  // it told a leader it has not heard that it was started; 0: never
    uint64_t stale_cfg_ver;     // NEEDS_TERM was said
    struct replica_download download;

    // as a primary
    struct replica_peer peers[REPLICA_PEERS_MAX];
    uint32_t peer_count;
    uint64_t start_seq; // of TERM_START
    struct replica_change change;
    uint64_t change_sent_ns;
    struct replica_split split;
    struct replica_uuid transfer_to;
    uint64_t transfer_ns;                         // deadline
    struct replica_wait waits[REPLICA_WAITS_MAX]; // by seq
    uint32_t wait_count;
    bool waits_lost; // the role is: their outcome is unknown
    struct replica_read reads[REPLICA_READS_MAX];
    uint32_t read_count;
    bool reads_lost;
    uint64_t round; // of CONFIRM, the newest
    uint64_t confirm_ns;
    uint64_t lease_until_ns;          // strong reads may be answered before
    uint64_t check_seq;               // of the checksum whose roots are compared
    uint64_t check_cfg_ver, check_ns; // when it began
    uint64_t vouched_cfg_ver;         // under which a checksum began that all in sync agreed on
    bool check_due;                   // a snapshot waits for one
    struct replica_sum own_root;
    bool own_root_known, halted; // halted: copies differ and nobody can say which is right
    bool rotten;                 // what this copy holds is wrong: it answers nothing, and is to go
    uint64_t rotten_sent_ns;

    struct replica_counters counters;
};

enum replica_input_kind {
    REPLICA_IN_START, // first, once
    REPLICA_IN_META,
    REPLICA_IN_MESSAGE,
    REPLICA_IN_PERSISTED,
    REPLICA_IN_PROPOSE,
    REPLICA_IN_ENTRIES, // of the log, as was asked for
    REPLICA_IN_APPLIED,
    REPLICA_IN_TRIMMED, // the log begins at `seq` now
    REPLICA_IN_READ,
    REPLICA_IN_READ_DONE,
    REPLICA_IN_LEASE,
    REPLICA_IN_DEAD,
    REPLICA_IN_ALIVE,
    REPLICA_IN_LED, // somebody else leads the metadata: what was proposed to the one before may be lost
    REPLICA_IN_TRANSFER,
    REPLICA_IN_CHECKSUM,
    REPLICA_IN_ROOT, // the buckets added up, high and low each: so those of two halves make the whole's
    REPLICA_IN_BUCKETS,
    REPLICA_IN_SNAPSHOT_READY, // source: one was made for `uuid`, or not (snapshot 0)
    REPLICA_IN_CHUNK_READ,     // source: for `uuid`
    REPLICA_IN_CHUNK_STORED,   // learner
    REPLICA_IN_INSTALLED,      // learner: what the disk has now; no disk: it was bad
    REPLICA_IN_CORRUPT,        // bytes of this copy fail their own checksums
    REPLICA_IN_RESUME,         // operator: a halted primary goes on; what it holds is right
    REPLICA_IN_WAKE,
};

// What a copy has on its disk when it starts, or after a snapshot was installed.
struct replica_disk {
    uint64_t promised;
    uint64_t first_seq, last_seq; // last_seq + 1 == first_seq: the log is empty
    uint64_t commit_seq, applied_seq;
    uint64_t stamp_ms;
    // Operations drawn before may have been forgotten for newer ones; 0: none was.
    uint64_t forgot_ms;
    const struct replica_term *terms; // borrowed
    uint32_t term_count;
    const struct dedupe_op *ops; // borrowed, by seq: of the environment, then of the log
    uint32_t op_count;
};

struct replica_proposal {
    uint64_t request; // comes back with the answer
    struct replica_uuid op_id;
    const uint8_t *bytes; // borrowed for the step; it is in the output's entries
    uint32_t byte_count;
    bool primary_only; // "primary" instead of "committed"
};

struct replica_input {
    uint64_t now_ns; // monotonic
    uint64_t wall_ms;
    enum replica_input_kind kind;
    union {
        const struct replica_disk *disk;   // START, INSTALLED
        const struct replica_meta *meta;   // borrowed for the step
        const struct replica_msg *message; // borrowed for the step; every field may be anything
        uint64_t ticket;                   // PERSISTED: it and all before it
        struct {
            const struct replica_proposal *proposals;
            uint32_t proposal_count; // 1..REPLICA_ENTRIES_MAX
            uint64_t cfg_ver;        // that the router knew
        };
        struct { // ENTRIES: none at all when they are not there any more
            struct replica_uuid reader;
            const struct replica_entry *entries;
            uint32_t entry_count;
            uint64_t reader_term;
        };
        uint64_t request; // READ, READ_DONE
        struct {
            uint64_t boot, sent_ns, lease_ns; // LEASE
            uint64_t known_ver;               // cfg_ver as of the grant, or later
        };
        struct { // everything else names what it needs
            struct replica_uuid uuid;
            uint64_t seq, snapshot, snapshot_term, hash;
            uint32_t chunk, chunk_count, byte_count, bucket_count;
            omen_status status;
            const uint8_t *bytes;
            const struct replica_sum *buckets;
            struct replica_sum sum;
        };
    };
};

enum replica_outcome { REPLICA_COMMITTED, REPLICA_NOT_REPLICATED, REPLICA_FAILED };

struct replica_answer {
    uint64_t request;
    omen_status status; // OMEN_E_TIMEOUT, OMEN_E_OP_EXPIRED: it may have happened
    enum replica_outcome outcome;
    uint64_t term, seq; // the token; term 0: done long ago
};

// A stretch of the log, wanted for a peer.
struct replica_log_read {
    struct replica_uuid reader;
    uint64_t first_seq, term;
    uint32_t count;
};

enum replica_serve_kind {
    REPLICA_SERVE_NONE,
    REPLICA_SERVE_SNAPSHOT, // make one for `uuid`, then SNAPSHOT_READY
    REPLICA_SERVE_CHUNK,    // read it for `uuid`, then CHUNK_READ
    REPLICA_SERVE_STORE,    // store `bytes`, then CHUNK_STORED
    REPLICA_SERVE_INSTALL,  // verify, sync, put in place with our own uuid; then INSTALLED
    REPLICA_SERVE_BUCKETS,  // of the checksum at `seq`, for `uuid`: then BUCKETS
    REPLICA_SERVE_COMPARE,  // `buckets` are those of `uuid`: compare with replica_buckets_differ
};

struct replica_serve {
    enum replica_serve_kind kind;
    struct replica_uuid uuid;
    uint64_t snapshot, seq, hash;
    uint32_t chunk, byte_count, bucket_count;
    const uint8_t *bytes;              // borrowed from the input
    const struct replica_sum *buckets; // borrowed from the input
};

enum replica_note_kind {
    REPLICA_NOTE_OPEN, // primary: reads and writes from here on
    REPLICA_NOTE_STEPPED_DOWN,
    REPLICA_NOTE_NEEDS_TERM, // primary by the metadata, but it was restarted: promote somebody
    REPLICA_NOTE_WANT_META,  // somebody knows version `number`
    REPLICA_NOTE_CONFLICT,   // a primary wants committed entries cut off: refused
    REPLICA_NOTE_DIVERGED,   // the sum of `uuid` at `number` is not that of the others
    REPLICA_NOTE_HALTED,     // nobody can say which copy is right, or it is not this one
    REPLICA_NOTE_CORRUPT,    // bytes of this copy fail their own checksums
    REPLICA_NOTE_HALVES,     // the halves of a split hold something else than the whole
    REPLICA_NOTE_BELOW_MIN,  // fewer copies in sync than writes need
    REPLICA_NOTE_BAD_CHUNK,
    REPLICA_NOTE_NO_MEMORY,
};

struct replica_note {
    enum replica_note_kind kind;
    struct replica_uuid uuid;
    uint64_t number;
};

// The shell obeys the numbered steps in order; each is complete before the next begins.
struct replica_output {
    // 1. make durable, in this order in one commit; PERSISTED brings it back. 0: nothing.
    uint64_t ticket;
    uint64_t promised; //    hard state, and a hint: what was committed
    uint64_t commit_seq;
    bool truncate; //    entries above truncate_seq are cut off
    uint64_t truncate_seq;
    const struct replica_entry *append;
    uint32_t append_count;
    uint32_t msg_count; // 2. send
    struct replica_msg msgs[REPLICA_MSGS_MAX];
    uint64_t apply_first,
        apply_last;        // 3. apply from the log, in order; APPLIED comes back. 0: nothing
                           //    Exactly at an entry CHECKSUM: ROOT with the copy's sum
    uint32_t answer_count; //    then answer
    struct replica_answer answers[REPLICA_ANSWERS_MAX];
    uint32_t serve_read_count; //    read for these strong reads, then READ_DONE
    uint64_t serve_reads[REPLICA_READS_MAX];
    struct replica_change change; //    propose to the metadata
    uint32_t read_count;          //    read from the log, then ENTRIES
    struct replica_log_read reads[REPLICA_PEERS_MAX];
    struct replica_serve serve;
    uint64_t wake_ns; // 4. step again (kind WAKE) no later than this; UINT64_MAX: never
    uint32_t note_count;
    struct replica_note notes[REPLICA_NOTES_MAX];
    struct replica_entry entries[REPLICA_ENTRIES_MAX]; //    what `append` and messages may point to
};

// The configuration is ours: it is asserted to be within its limits.
void replica_init(struct replica *replica, const struct replica_config *config, uint64_t seed);
void replica_fini(struct replica *replica);
void replica_step(struct replica *replica, const struct replica_input *in,
                  struct replica_output *out);
void replica_check(const struct replica *replica); // asserts all invariants
void replica_describe(const struct replica *replica, char *line, size_t cap); // one stable line

// Entries at or above it are wanted by somebody: the log may be trimmed below.
uint64_t replica_keep_from(const struct replica *replica);
// The term of the entry at `seq`; 0 when it is not known any more, or `seq` is 0.
uint64_t replica_term_at(const struct replica *replica, uint64_t seq);
// Whether a copy that has all up to `seq` can go on with what follows in the log: that is there, and the term of `seq` is known.
bool replica_can_follow(const struct replica *replica, uint64_t seq);
bool replica_is_open(const struct replica *replica); // primary, and its TERM_START is committed
// Whether an operation may be proposed: it is none, it is known, or it was never done (base/opid.h). A proposal of another is answered
// with this status; *error (NULL is allowed) says why.
OMEN_MUST_CHECK omen_status replica_check_op(const struct replica *replica,
                                             struct replica_uuid op_id, uint64_t wall_ms,
                                             struct omen_error *error);

// Which of `count` buckets differ; the indexes are written to `out`, at most `count`; returns how many.
uint32_t replica_buckets_differ(const struct replica_sum *a, const struct replica_sum *b,
                                uint32_t count, uint32_t *out);

// ---- checkers over all copies, for simulations; they answer NULL, or what is broken ----
// I1, I3: one primary per term; logs agree up to any place where their terms do.
const char *replicas_check_logs(const struct replica *const *replicas, uint32_t count);
// I2: entry (seq, term) was acknowledged: every running copy that the metadata have in sync has it.
const char *replicas_check_acked(const struct replica *const *replicas, uint32_t count,
                                 const struct replica_meta *meta, uint64_t seq, uint64_t term);

#endif
