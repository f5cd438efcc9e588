// raft/quorum.h -- what a majority of a configuration holds durable, and how it votes.
//
// Shape: value. Pure functions over a configuration and one number a member.
//
// A joint configuration decides by both of its majorities (thesis 4.3): a position is committed when both committed it, an
// election is won when both won it and lost as soon as one did. A majority of nobody agrees to everything, which makes the
// simple configuration the joint one with an empty outgoing half.
#ifndef OMEN_RAFT_QUORUM_H
#define OMEN_RAFT_QUORUM_H
#include "raft/raft_msg.h"

enum quorum_ballot { BALLOT_NONE, BALLOT_YES, BALLOT_NO };
enum quorum_result { QUORUM_PENDING, QUORUM_WON, QUORUM_LOST };

// The largest position that a majority of the members with `role` has reached; UINT64_MAX where there is no such member.
// Member i has reached reached[i].
uint64_t quorum_half_position(const struct raft_group *group, enum raft_role role,
                              const uint64_t *reached);

// Of both halves.
uint64_t quorum_position(const struct raft_group *group, const uint64_t *reached);
enum quorum_result quorum_vote(const struct raft_group *group, const enum quorum_ballot *ballots);

#endif
