// raft/member.h -- configurations and their changes: one at a time, or jointly (thesis 4.3).
//
// Shape: value. A change takes a configuration and makes another one; after a refusal the output is the input.
//
// A joint configuration has an incoming half (RAFT_VOTER) and an outgoing half (RAFT_OUTGOING). Entering copies the voters to
// the outgoing half and changes the incoming one; leaving drops the outgoing half. A voter that is to become a learner
// cannot be one while its outgoing vote counts, so it waits as RAFT_LEARNER_NEXT.
//
// A change as the bytes of an entry: none to leave a joint configuration; else a byte that says how to go over (enum
// raft_transition), then per change a byte of its kind and the id, 8 bytes little-endian.
#ifndef OMEN_RAFT_MEMBER_H
#define OMEN_RAFT_MEMBER_H
#include <stddef.h>

#include "base/status.h"
#include "raft/raft_msg.h"

enum raft_transition {
    RAFT_TRANSITION_AUTO = 0,     // simple for one change, else as implicit
    RAFT_TRANSITION_IMPLICIT = 1, // joint, left by itself
    RAFT_TRANSITION_EXPLICIT = 2, // joint, left by a change without changes
};

enum raft_change_kind {
    RAFT_ADD_VOTER = 0,
    RAFT_ADD_LEARNER = 1, // also demotes a voter
    RAFT_REMOVE = 2,
    RAFT_UPDATE =
        3, // changes nothing here; its entry tells the owner that something about the member did
};

struct raft_change_item {
    enum raft_change_kind kind;
    uint64_t id; // 0 is ignored
};

struct raft_change {
    enum raft_transition transition;
    uint32_t count; // 0 with RAFT_TRANSITION_AUTO: leave the joint configuration
    struct raft_change_item items[RAFT_CHANGES_MAX];
};

enum member_status {
    MEMBER_OK,
    MEMBER_NOT_JOINT,
    MEMBER_ZERO_VOTERS,
    MEMBER_ALREADY_JOINT,
    MEMBER_SIMPLE_IN_JOINT,
    MEMBER_TWO_VOTERS,
    MEMBER_REMOVED_ALL,
    MEMBER_TOO_MANY, // RAFT_MEMBERS_MAX
    MEMBER_STATUSES,
};
const char *member_status_text(enum member_status status);

// `out` may be `group`. New members of `out` have RAFT_FRESH, which the caller clears.
enum member_status member_simple(const struct raft_group *group, const struct raft_change *change,
                                 struct raft_group *out);
enum member_status member_enter_joint(const struct raft_group *group,
                                      const struct raft_change *change, bool auto_leave,
                                      struct raft_group *out);
enum member_status member_leave_joint(const struct raft_group *group, struct raft_group *out);
// Whichever of the three the change is.
enum member_status member_change(const struct raft_group *group, const struct raft_change *change,
                                 struct raft_group *out);

bool member_leaves_joint(const struct raft_change *change);
bool member_is_joint(const struct raft_group *group);
// RAFT_MEMBERS_MAX where there is none.
uint32_t member_find(const struct raft_group *group, uint64_t id);
// A voter of either half.
static inline bool
member_votes(uint8_t roles)
{
    return (roles & (RAFT_VOTER | RAFT_OUTGOING)) != 0;
}
// Whether bytes of a peer or of a disk are a configuration at all: sorted, roles that go together.
bool member_valid(const struct raft_group *group);

// At most RAFT_CHANGE_BYTES_MAX; returns how many.
uint32_t member_encode(const struct raft_change *change, uint8_t *bytes);
OMEN_MUST_CHECK omen_status member_decode(const uint8_t *bytes, uint32_t count,
                                          struct raft_change *out);

// "voters=(1 2)&&(1) learners=(3) learners_next=(4) autoleave", cut to `cap`.
void member_describe(const struct raft_group *group, char *line, size_t cap);

#endif
