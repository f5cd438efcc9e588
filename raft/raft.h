// raft/raft.h -- one node of a Raft group: elects, replicates, changes its members. Opaque bytes in, the same bytes in one
// order out.
//
// Shape:   machine. raft_step takes one input and says what is to be done; it waits for nothing and asks nobody.
// Threads: one.
// Memory:  in the struct, but for the log's entries (raft/tail.h). Where memory is short a proposal is refused and a message
//          is dropped, which the protocol heals like one that was lost.
// Time:    in ticks of config.tick_ns, counted from `now_ns` of the inputs, which is monotonic.
//
// The shell obeys the numbered steps of the output in order; each is complete (or, for 1, handed to a writer that keeps the
// order) before the next begins. Where out.sync is set it answers with PERSISTED{out.persist_number} when that and everything
// before it is durable. What depends on durability is kept back here until then: answers to a leader or candidate, requests
// for votes (their term must not be forgotten), and the leader's own vote on what is committed.
// Entries are applied only when they are durable here, so that a log is never shorter than what was applied; and only by a
// WAKE (asked for at once, wake_ns = now), so that what a turn's messages commit is one span and one transaction.
//
// docs/internals/raft.md tells the protocol; the papers are Ongaro & Ousterhout 2014 ("the paper") and Ongaro's thesis.
#ifndef OMEN_RAFT_RAFT_H
#define OMEN_RAFT_RAFT_H
#include <stddef.h>

#include "base/prng.h"
#include "base/status.h"
#include "raft/member.h"
#include "raft/quorum.h"
#include "raft/raft_msg.h"
#include "raft/tail.h"

#define RAFT_MSGS_MAX 64u
#define RAFT_NOTES_MAX 16u
// Answers kept back until what they depend on is durable.
#define RAFT_OUTBOX_MAX 128u
// Reads that wait for a round or for the first commit of a term.
#define RAFT_READS_MAX 64u
// Outputs that are being made durable and are told apart; more are taken together.
#define RAFT_PERSISTS_MAX 64u
#define RAFT_INFLIGHTS_MAX 256u
#define RAFT_TICKS_MAX 10000u

enum raft_state { RAFT_FOLLOWER, RAFT_PRE_CANDIDATE, RAFT_CANDIDATE, RAFT_LEADER };
enum raft_reads { RAFT_READS_SAFE, RAFT_READS_LEASE };

struct raft_config {
    uint64_t id;
    uint64_t tick_ns;
    // A follower waits 1..2 times as long, drawn anew each time; <= RAFT_TICKS_MAX.
    uint32_t election_ticks;
    uint32_t heartbeat_ticks; // below election_ticks
    bool pre_vote;
    bool check_quorum;
    bool step_down_on_removal;
    // For tests: proposes configuration changes that are sure to come to nothing.
    bool changes_unchecked;
    enum raft_reads reads; // LEASE trusts that clocks run alike; needs check_quorum
    uint32_t inflight_max; // APPENDs on their way to one follower; 1..RAFT_INFLIGHTS_MAX
    uint64_t inflight_bytes_max;
    uint64_t append_bytes_max; // of the entries of one APPEND; one entry may have more
    uint64_t apply_bytes_max;  // of the entries of one output's commit
    uint64_t uncommitted_bytes_max;
    uint32_t chunk_bytes; // of snapshots; 1..RAFT_CHUNK_BYTES_MAX
    uint32_t tail_entries_max;
    uint64_t tail_bytes_max;
    uint32_t tail_retain; // applied entries that compaction leaves for slow followers
};

struct raft_hard_state {
    uint64_t term, vote, commit;
};

// What a node finds on its disk. A group that begins with members must begin as behind a snapshot (base_position >= 1): those
// who join later get the first configuration, which no entry holds, by one. Who joins begins with nothing at all.
struct raft_durable {
    struct raft_hard_state hard_state;
    uint64_t applied;                  // and of that moment the group
    uint64_t base_position, base_term; // before the first entry
    struct raft_group group;
    const struct raft_entry *entries;
    uint32_t entry_count;
};

enum raft_input_kind {
    RAFT_IN_START,         // first, once
    RAFT_IN_MESSAGE,       //
    RAFT_IN_PERSISTED,     //
    RAFT_IN_PROPOSE,       // answered
    RAFT_IN_WAKE,          //
    RAFT_IN_READ_INDEX,    // answered, and later by out.reads
    RAFT_IN_CONF_CHANGE,   // answered
    RAFT_IN_TRANSFER,      // answered; to `peer`
    RAFT_IN_COMPACT,       // applied entries through `position`, less tail_retain, may go
    RAFT_IN_REPORT,        //
    RAFT_IN_SNAPSHOT,      // what out.snapshot_wanted asked for is made
    RAFT_IN_CAMPAIGN,      //
    RAFT_IN_FORGET_LEADER, // so that a vote is not refused for its sake
    RAFT_IN_LEADER_GONE, // `peer` has no process any more: if it led, another need not be waited for so long
    RAFT_INPUT_KINDS,
};

enum raft_report {
    RAFT_REPORT_UNREACHABLE,     // what was sent to `peer` was lost, more than one would expect
    RAFT_REPORT_SNAPSHOT_FAILED, // one could not be sent to `peer`; or, with no peer, not be made
};

struct raft_input {
    uint64_t now_ns;
    enum raft_input_kind kind;
    union {
        // START; borrowed for the step, as are all pointers here.
        const struct raft_durable *durable;
        const struct raft_msg *message; // MESSAGE
        uint64_t persist_number;        // PERSISTED
        struct {
            const uint8_t *bytes;
            uint32_t count;               // 1..RAFT_ENTRY_BYTES_MAX
        } proposal;                       // PROPOSE
        uint64_t read_id;                 // READ_INDEX; comes back with the answer
        const struct raft_change *change; // CONF_CHANGE
        uint64_t peer;                    // TRANSFER, LEADER_GONE
        uint64_t position;                // COMPACT
        struct {
            enum raft_report kind;
            uint64_t peer;
        } report; // REPORT
        struct {
            uint64_t position, total_bytes;
        } snapshot; // SNAPSHOT
    };
};

// How a request was taken. Append, never renumber.
enum raft_answer {
    RAFT_ANSWER_NONE,       // the input is not of the kind that is answered
    RAFT_ANSWER_OK,         // taken; a proposal has out.answer_position and out.term
    RAFT_ANSWER_NOT_LEADER, // ask out.lead
    RAFT_ANSWER_BUSY,       // a bound is reached, or leadership is being transferred; later
    RAFT_ANSWER_NO_MEMORY,  // nothing was done
    RAFT_ANSWER_INVALID,    // not now and not in this way
};

enum raft_note_kind {
    RAFT_NOTE_STATE, // became out.state; a: term
    RAFT_NOTE_QUORUM_LOST, // the leader did not hear from a majority for an election timeout and stepped down
    RAFT_NOTE_MESSAGE_REFUSED, // a: kind, b: from. A field is out of its limits
    RAFT_NOTE_NO_MEMORY,       //
    RAFT_NOTE_TAIL_FULL,       //
    RAFT_NOTE_OUTBOX_FULL,     // an answer is lost
    RAFT_NOTE_CHANGE_FAILED, // a: position, b: enum member_status. A committed change changes nothing
    RAFT_NOTE_LOG_LOST, // a: commit that the leader b believes we have. A disk was wiped or restored
    RAFT_NOTE_RESTORED,         // a: position of the snapshot
    RAFT_NOTE_TRANSFER_ABORTED, // a: to whom
    RAFT_NOTE_DISK_SLOW,        // a: ticks without an answer, b: who shall lead instead
};

struct raft_note {
    enum raft_note_kind kind;
    uint64_t a, b;
};

struct raft_read {
    uint64_t read_id;
    uint64_t position; // with OK: read when this is applied
    enum raft_answer answer;
};

struct raft_output {
    // 1. Make durable, all of it in one transaction, after that of the output before.
    bool sync; // answer PERSISTED{persist_number}
    // Where only the commit did, sync may be unset: any later transaction takes it along.
    bool hard_state_changed;
    uint64_t persist_number;
    struct raft_hard_state hard_state;
    // SNAPSHOT: write its bytes at its offset (0: a new one); need not be durable yet.
    const struct raft_msg *chunk;
    bool install; // the snapshot is whole: it is the state from now on, the log begins behind it
    uint64_t truncate_from;   // 0: nothing; else erase entries at it and above before `append`
    uint64_t compact_through; // 0: nothing; else erase entries at it and below
    struct raft_span append;
    // 2. Send.
    struct raft_msg msgs[RAFT_MSGS_MAX];
    uint32_t msg_count;
    // 3. Apply, in order, in one transaction with `applied`, the commit, and `group` where it is not NULL.
    struct raft_span commit;
    uint64_t applied;
    const struct raft_group *group;
    // 0, or: make a snapshot of the state now, which is at this position; answer SNAPSHOT.
    uint64_t snapshot_wanted;
    // 4. Step again (kind WAKE) no later than this.
    uint64_t wake_ns;
    // What became of the input, and of reads.
    enum raft_answer answer;
    uint64_t answer_position;
    struct raft_read reads[RAFT_READS_MAX];
    uint32_t read_count;
    enum raft_state state;
    uint64_t term, lead;
    struct raft_note notes[RAFT_NOTES_MAX];
    uint32_t note_count; // more are not kept
};

enum raft_progress_state { RAFT_PROBE, RAFT_REPLICATE, RAFT_STREAM };

struct raft_inflight {
    uint64_t position; // of the last entry
    uint64_t bytes;
};

// What a leader knows of a member (raft/progress.c).
struct raft_progress {
    enum raft_progress_state state;
    uint8_t wants;              // enum raft_want: what to send it when there is room
    bool recent_active;         // heard of since the last check of the quorum
    uint64_t heard_tick;        // when, last in this term; 0: not yet
    bool paused;                // nothing more until it answers
    bool chunk_sent;            // and not answered
    uint32_t chunk_ticks;       // since then
    uint64_t match, next;       // it has `match` durable; `next` goes to it next
    uint64_t sent_commit;       // the highest it was told
    uint64_t snapshot_position; // STREAM: of what it gets
    uint64_t chunk_offset;
    uint64_t round; // of reads, that it has confirmed
    uint32_t inflight_first, inflight_count;
    uint64_t inflight_bytes;
    struct raft_inflight inflights[RAFT_INFLIGHTS_MAX]; // ring
};

struct raft_persist {
    uint64_t number;
    uint64_t position; // log end of then, or less when it was truncated since
};

struct raft_held {
    struct raft_msg msg;
    uint64_t number; // leaves when this is persisted
};

struct raft_snapshot_offer {
    uint64_t position, term, total_bytes; // position 0: none
    struct raft_group group;
};

struct raft_read_wait {
    uint64_t read_id, position, round; // round 0: until an entry of the own term is committed
};

// Fields are for raft/ and its tests; shells read outputs.
struct raft {
    struct raft_config config;
    struct prng prng;
    bool started;

    enum raft_state state;
    uint64_t term, vote, lead;
    uint64_t transferee;     // RAFT_NODE_NONE, or to whom leadership is being handed
    uint64_t pending_change; // no change is proposed before this is applied
    bool leave_due;          // something was applied since: a joint configuration may be left
    uint64_t uncommitted_bytes;

    struct raft_group group; // as applied; the three below go with its members
    struct raft_progress progress[RAFT_MEMBERS_MAX];
    enum quorum_ballot ballots[RAFT_MEMBERS_MAX];
    bool group_changed; // since the last output

    struct raft_tail tail;
    uint64_t commit, applied;
    uint64_t applied_told; // as of the last output: only what is behind it may be forgotten
    uint64_t handed;       // last entry given to the shell to make durable
    uint64_t stable;       // last one that is
    uint64_t truncate_from, compact_through; // for the next output

    struct raft_hard_state hard_state; // as given to the shell
    uint64_t persist_last, persisted;
    uint64_t ballot_number;                          // of the output with the present term and vote
    struct raft_persist persists[RAFT_PERSISTS_MAX]; // ring of what is on its way
    uint32_t persist_first, persist_count;
    struct raft_held outbox[RAFT_OUTBOX_MAX]; // in order
    uint32_t outbox_count;

    uint64_t tick_at_ns; // of the last tick
    uint64_t tick_count;
    uint32_t election_elapsed, heartbeat_elapsed, random_ticks;
    uint32_t hurries;    // timeouts that are still drawn short, since the leader is gone
    bool hurried;        // random_ticks was
    uint32_t disk_ticks; // of a leader since its disk answered last, while it should

    struct raft_read_wait reads[RAFT_READS_MAX]; // in order of arrival
    uint32_t read_count;
    uint64_t read_round;                    // the newest; unique for this node's life
    uint64_t lease_round, lease_round_tick; // a round whose confirmation extends the lease
    uint64_t lease_tick;                    // the lease counts from here
    // With leases no vote before: a timeout after a leader was heard, or the start.
    uint64_t bound_tick;
    bool lease_held, lease_void; // void: a transfer began in this term, so others may vote at once

    struct raft_snapshot_offer offer;    // what can be streamed
    struct raft_snapshot_offer making;   // asked for
    bool making_told;                    // in an output
    struct raft_snapshot_offer incoming; // what a leader streams to us
    uint64_t incoming_from, incoming_offset;
    uint64_t install_number; // persisted below it: the snapshot is not durable yet, no campaign
    bool installing;         // for the next output
    const struct raft_msg *chunk;

    bool more;               // a WAKE goes on
    struct raft_output *out; // of the step that is being taken; NULL between steps
};

// config is copied; its values are ours to choose, so bad ones assert.
void raft_init(struct raft *raft, const struct raft_config *config, uint64_t seed);
void raft_fini(struct raft *raft);
void raft_step(struct raft *raft, const struct raft_input *in, struct raft_output *out);
void raft_check(const struct raft *raft);                            // asserts all invariants
void raft_describe(const struct raft *raft, char *line, size_t cap); // one stable line, for scripts

#endif
