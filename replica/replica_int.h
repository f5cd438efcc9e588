// replica/replica_int.h -- what the files of replica/ share.
//
// Shape: machine; private to replica/.
#ifndef OMEN_REPLICA_REPLICA_INT_H
#define OMEN_REPLICA_REPLICA_INT_H
#include "base/bug.h"
#include "replica/replica.h"

// A step under way.
struct step {
    struct replica *replica;
    const struct replica_input *in;
    struct replica_output *out;
    bool dirty;                // something is to be made durable
    bool again;                // something did not fit: WAKE at once
    struct replica_msg unsent; // one that did not fit is written here
};

// replica.c
void note_add(struct step *step, enum replica_note_kind kind, struct replica_uuid uuid,
              uint64_t number);
// The next message to be filled in, addressed. One that does not fit goes nowhere, as if the network had lost it.
struct replica_msg *msg_add(struct step *step, enum replica_msg_kind kind, struct replica_uuid to);
bool meta_in_sync(const struct replica_meta *meta, struct replica_uuid uuid);
bool meta_learner(const struct replica_meta *meta, struct replica_uuid uuid);
void wake_by(struct step *step, uint64_t at_ns);

// log.c: what is known of the log, and what is on its way to the disk
bool persist_room(const struct replica *replica);
void persist(struct step *step); // a ticket for what stands in the output
void persist_done(struct replica *replica, uint64_t ticket);
bool log_knows(const struct replica *replica, uint64_t seq); // its term
void log_append(struct step *step, const struct replica_entry *entries, uint32_t count);
void log_truncate(struct step *step, uint64_t seq);
void log_load(struct step *step, const struct replica_disk *disk);
void promise(struct step *step, uint64_t term);
void commit_to(struct step *step, uint64_t seq);
void apply_more(struct step *step);

// backup.c
void backup_append(struct step *step, const struct replica_msg *msg);
void backup_persisted(struct step *step);
void backup_timers(struct step *step);
void backup_confirm(struct step *step, const struct replica_msg *msg);

// primary.c
void primary_persisted(struct step *step);
void primary_end(struct step *step);
void primary_propose(struct step *step);
void primary_checksum(struct step *step);
void primary_check(struct step *step);    // there is room, and nothing is appended in this step yet
void primary_consider(struct step *step); // whether to begin
void primary_transfer(struct step *step);
void primary_advance(struct step *step);
bool primary_counts(const struct replica *replica, const struct replica_peer *peer);
struct replica_peer *peer_find(struct replica *replica, struct replica_uuid uuid);

// peer.c: what a primary sends to a copy
void peer_pump(struct step *step, struct replica_peer *peer);
void peer_ack(struct step *step, const struct replica_msg *msg);
void peer_nack(struct step *step, const struct replica_msg *msg);
void peer_entries(struct step *step);
void peer_send(struct step *step, struct replica_peer *peer, const struct replica_entry *entries,
               uint32_t count);
void peer_timers(struct step *step, struct replica_peer *peer);

// member.c: who is in sync
void member_timers(struct step *step);
void member_ready(struct step *step, struct replica_peer *peer);
void member_sync(struct step *step); // the peers are those of the metadata

bool peer_is_lost(struct step *step, const struct replica_peer *peer);

// split.c
const struct replica_child *child_of(const struct replica_meta *meta, struct replica_uuid uuid);
bool child_learner(const struct replica_meta *meta, struct replica_uuid uuid);
void split_sync(struct step *step); // as member_sync
void split_timers(struct step *step);
void split_agreed(struct replica *replica, struct replica_sum root); // at check_seq

// read.c
void read_begin(struct step *step);
void read_done(struct step *step);
void read_confirm_ack(struct step *step, const struct replica_msg *msg);
void read_advance(struct step *step);
void read_timers(struct step *step);

// answer.c
void answer(struct step *step, const struct replica_answer *answer);
void wait_add(struct replica *replica, const struct replica_wait *wait); // there is room
void answers_advance(struct step *step);

// catchup.c
void catchup_need(struct step *step, const struct replica_msg *msg);
void catchup_message(struct step *step, const struct replica_msg *msg);
void catchup_input(struct step *step);
void catchup_timers(struct step *step);

// checksum.c
bool checksum_vouches(struct step *step); // for a snapshot; false: one is due
void checksum_root(struct step *step);
void checksum_corrupt(struct step *step);
void checksum_timers(struct step *step);
void checksum_message(struct step *step, const struct replica_msg *msg);
void checksum_buckets(struct step *step);

#endif
