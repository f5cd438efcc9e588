// raft/raft_int.h -- what the files of raft/ share; private to it.
//
// Shape: machine.
#ifndef OMEN_RAFT_RAFT_INT_H
#define OMEN_RAFT_RAFT_INT_H
#include "base/assert.h"
#include "raft/raft.h"

// What a leader has to send to a member; output.c does when there is room.
enum raft_want {
    WANT_APPEND = 1,      // one APPEND, empty if there is nothing new: it carries the commit
    WANT_MORE = 2,        // APPENDs while there are entries and room on the way
    WANT_HEARTBEAT = 4,   //
    WANT_TIMEOUT_NOW = 8, //
    WANT_SNAPSHOT = 16,   // the log does not reach back to what it has
};

enum raft_campaign { CAMPAIGN_PRE, CAMPAIGN_REAL, CAMPAIGN_TRANSFER };

static inline uint32_t
raft_self(const struct raft *raft)
{
    return member_find(&raft->group, raft->config.id);
}

void raft_note(struct raft *raft, enum raft_note_kind kind, uint64_t a, uint64_t b);

// ---- election.c ----
void election_tick(struct raft *raft);
void election_campaign(struct raft *raft, enum raft_campaign campaign);
void election_become_follower(struct raft *raft, uint64_t term, uint64_t lead);
void election_receive_request(struct raft *raft, const struct raft_msg *msg);
void election_receive_answer(struct raft *raft, const struct raft_msg *msg);
void election_own_vote_durable(struct raft *raft, uint64_t term);
enum raft_answer election_transfer(struct raft *raft, uint64_t to);
// Whose process is gone; and that a leader was heard.
void election_leader_gone(struct raft *raft, uint64_t leader);
void election_leader_heard(struct raft *raft);
bool election_promotable(const struct raft *raft);
// Whether a leader's lease may count on this node's not voting for another one, itself included.
bool election_bound(const struct raft *raft);

// ---- replicate.c ----
// Appends an entry of the own term and wants it sent. False: no room or no memory, and nothing happened.
bool replicate_own(struct raft *raft, enum raft_entry_kind kind, struct raft_entry entry);
bool replicate_make_room(struct raft *raft, uint32_t entries, uint64_t bytes);
void replicate_want_all(struct raft *raft, uint8_t wants);
void replicate_own_durable(struct raft *raft);
void replicate_group_changed(struct raft *raft);
void replicate_receive_append(struct raft *raft, const struct raft_msg *msg);
void replicate_receive_heartbeat(struct raft *raft, const struct raft_msg *msg);
void replicate_receive_append_resp(struct raft *raft, const struct raft_msg *msg, uint32_t from);
void replicate_receive_heartbeat_resp(struct raft *raft, const struct raft_msg *msg, uint32_t from);

// ---- progress.c ----
void progress_init(struct raft_progress *progress, uint64_t next);
void progress_probe(struct raft_progress *progress);
void progress_replicate(struct raft_progress *progress);
void progress_stream(struct raft_progress *progress, uint64_t snapshot_position);
bool progress_paused(const struct raft_progress *progress);
bool progress_full(const struct raft_progress *progress, const struct raft_config *config);
void progress_sent(struct raft_progress *progress, const struct raft_config *config,
                   const struct raft_msg *append);
void progress_freed(struct raft_progress *progress, uint64_t through);
bool progress_advance(struct raft_progress *progress, uint64_t match);
bool progress_retreat(struct raft_progress *progress, uint64_t rejected, uint64_t hint);
// Makes `next` the configuration; what is known of members that stay moves with them.
void progress_regroup(struct raft *raft, const struct raft_group *next);

// ---- snapshot.c ----
void snapshot_receive(struct raft *raft, const struct raft_msg *msg);
void snapshot_receive_resp(struct raft *raft, const struct raft_msg *msg, uint32_t from);
bool snapshot_begin(struct raft *raft, uint32_t member); // to stream one to the member
// The next chunk, if one is to be sent to the member now.
bool snapshot_chunk(struct raft *raft, uint32_t member, struct raft_msg *msg);
void snapshot_made(struct raft *raft, uint64_t position, uint64_t total_bytes);
void snapshot_failed(struct raft *raft, uint64_t peer);
void snapshot_tick(struct raft *raft);
// POLITELY waits for snapshots that are on their way: what is behind them would be missing there.
enum snapshot_compaction { COMPACT_POLITELY, COMPACT_NOW };
void snapshot_compact(struct raft *raft, uint64_t through, enum snapshot_compaction how);

// ---- read.c ----
void read_request(struct raft *raft, uint64_t read_id);
void read_term_committed(struct raft *raft); // reads that waited for it begin their rounds
void read_confirmed(struct raft *raft);
void read_drop_all(struct raft *raft);
void read_beat(struct raft *raft); // before the heartbeats of a beat
uint64_t read_context(const struct raft *raft);

// ---- receive.c ----
void receive(struct raft *raft, const struct raft_msg *msg);

// ---- output.c ----
void output_hold(struct raft *raft, struct raft_msg msg); // an answer or a request for a vote
void output_persisted(struct raft *raft, uint64_t number);
void output_finish(struct raft *raft, const struct raft_input *in);

#endif
