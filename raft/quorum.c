// raft/quorum.c -- what a majority of a configuration holds durable, and how it votes.
//
// Shape: value.
#include "raft/quorum.h"

#include "base/assert.h"

uint64_t
quorum_half_position(const struct raft_group *group, enum raft_role role, const uint64_t *reached)
{
    ASSERT(group->count <= RAFT_MEMBERS_MAX);
    uint64_t sorted[RAFT_MEMBERS_MAX]; // ascending
    uint32_t count = 0;
    for (uint32_t i = 0; i < group->count; i++) {
        if ((group->members[i].roles & role) == 0)
            continue;
        uint32_t at = count++;
        for (; at > 0 && sorted[at - 1] > reached[i]; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = reached[i];
    }
    if (count == 0)
        return UINT64_MAX;
    return sorted[count - (count / 2 + 1)]; // it and all above it are a majority
}

static enum quorum_result
quorum_half_vote(const struct raft_group *group, enum raft_role role,
                 const enum quorum_ballot *ballots)
{
    ASSERT(group->count <= RAFT_MEMBERS_MAX);
    uint32_t voters = 0, yes = 0, missing = 0;
    for (uint32_t i = 0; i < group->count; i++) {
        if ((group->members[i].roles & role) == 0)
            continue;
        voters++;
        yes += ballots[i] == BALLOT_YES;
        missing += ballots[i] == BALLOT_NONE;
    }
    const uint32_t majority = voters / 2 + 1;
    if (voters == 0 || yes >= majority)
        return QUORUM_WON;
    return yes + missing >= majority ? QUORUM_PENDING : QUORUM_LOST;
}

uint64_t
quorum_position(const struct raft_group *group, const uint64_t *reached)
{
    const uint64_t incoming = quorum_half_position(group, RAFT_VOTER, reached);
    const uint64_t outgoing = quorum_half_position(group, RAFT_OUTGOING, reached);
    return incoming < outgoing ? incoming : outgoing;
}

enum quorum_result
quorum_vote(const struct raft_group *group, const enum quorum_ballot *ballots)
{
    const enum quorum_result incoming = quorum_half_vote(group, RAFT_VOTER, ballots);
    const enum quorum_result outgoing = quorum_half_vote(group, RAFT_OUTGOING, ballots);
    if (incoming == QUORUM_LOST || outgoing == QUORUM_LOST)
        return QUORUM_LOST;
    return incoming == QUORUM_WON ? outgoing : incoming;
}
