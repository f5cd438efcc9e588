// node/turn_int.h -- what the files of a turn share.
//
// Shape: machine.
#ifndef OMEN_NODE_TURN_INT_H
#define OMEN_NODE_TURN_INT_H
#include "node/turn.h"

// Why a snapshot that does not decode ends the process. A newer format is that of a feature which this program does not know.
static inline enum turn_halt
turn_halt_of(omen_status status)
{
    return status == OMEN_E_NO_MEMORY ? TURN_HALT_NO_MEMORY
           : status == OMEN_E_VERSION ? TURN_HALT_TOO_OLD
                                      : TURN_HALT_CORRUPT;
}

// The map as bytes. False: no memory; *into is as it was.
bool turn_encode(const struct turn *turn, struct turn_bytes *into);
void turn_bytes_fini(struct turn_bytes *bytes);

// Keeps the chunk of out.raft, and where the snapshot is whole makes it the map and a checkpoint.
enum turn_halt turn_receive_snapshot(struct turn *turn, struct turn_output *out);
// Encodes the snapshot that raft wants; WAKE gives it.
enum turn_halt turn_make_snapshot(struct turn *turn, uint64_t position);
// Gives the chunks their bytes; drops those of a snapshot that is no more.
void turn_fill_chunks(const struct turn *turn, struct raft_output *out);

// turn.c
void turn_step_raft(struct turn *turn, const struct raft_input *in, struct turn_output *out);
void turn_propose(struct turn *turn, const struct turn_input *in, const struct command *given,
                  struct turn_output *out);
// The next message to be filled in; NULL when they do not fit, as if it were lost.
struct turn_send *turn_send(struct turn_output *out);

// turn_gone.c
// Steps raft, where it led.
void turn_hear_of(struct turn *turn, const struct turn_input *in, struct turn_output *out);
void turn_forget_absent(struct turn *turn, struct cluster_uuid node);

// turn_member.c
void turn_member_wake(struct turn *turn, const struct turn_input *in, struct turn_output *out);
void turn_granted(struct turn *turn, const struct turn_input *in);
// What has become of a grant, after the log was applied.
void turn_member_settle(struct turn *turn, uint64_t now_ns, struct turn_output *out);
uint64_t turn_member_wake_ns(const struct turn *turn);
const struct map_node *turn_own(const struct turn *turn);

// turn_lead.c
void turn_lead_settle(struct turn *turn, uint64_t now_ns, struct turn_output *out);
void turn_lease_ask(struct turn *turn, const struct turn_input *in, struct turn_output *out);
// Steps raft, where something is due.
void turn_lead_wake(struct turn *turn, const struct turn_input *in, struct turn_output *out);
uint64_t turn_lead_wake_ns(const struct turn *turn);

// What all nodes know, and is not switched on yet.
uint64_t turn_new_features(const struct turn *turn);

// turn_leave.c
// Steps raft: another shall lead.
void turn_leave_wake(struct turn *turn, const struct turn_input *in, struct turn_output *out);
uint64_t turn_leave_wake_ns(const struct turn *turn);

// turn_voters.c
// Among what gossip says of this node, its number in raft's group, and its zone.
void turn_voters_say(struct turn_config *config);
struct turn_said turn_voters_said(const struct turn *turn); // what gossip is to say now
uint32_t turn_voters_count(const struct turn *turn);
void turn_voters_lead(struct turn *turn, uint64_t now_ns); // begins anew
// Steps raft, where there is something to change.
void turn_voters_wake(struct turn *turn, const struct turn_input *in, struct turn_output *out);

#endif
