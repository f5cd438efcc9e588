// cluster/voters.h -- who votes on the metadata: from raft's group and from who is well, the next change, one at a time.
//
// Shape:   machine.
// Threads: the loop of the metadata leader, which alone runs it; a new leader begins with an empty one.
// Memory:  all inside.
//
// Every node that keeps data learns the log; of those, `wanted` vote. A look plans the first of these that there is to do:
//
//      a joint group that nobody leaves ----- leave it
//      a learner that is nobody any more ---- it goes (prune)
//      a node that is no member ------------- it learns (admit)
//      more vote than are wanted ------------ two vote no more (shrink)
//      the leader is to go ------------------ another leads (hand_over)
//      a voter is dead, drained or gone ----- a learner votes in its place, jointly (replace)
//      an even number votes ----------------- one more, or one fewer (make_odd)
//      two to be replaced, and by nobody ---- both vote no more, where the group then bears more, or they are drained (let_go)
//      a voter is to be no node any more, and
//      nobody can vote in its place --------- it votes no more, and one more with it, so that an odd number does (release)
//      fewer vote than are wanted ----------- two more, jointly (grow)
//      zones are uneven --------------------- a learner elsewhere votes in a place of a full zone (spread)
//
// Why it ends: shrink and grow bring the number to what is wanted and nodes allow, replace and release lower how many are to go, spread the sum
// of the squares of voters a zone; none raises what one before it lowers, but for the world. A node must be ill for
// replace_delay before it is replaced and well for steady before it votes, so what comes and goes moves nothing.
//
// What it never does: plan a change while another is under way; one after which, or during which, those who are well are no
// majority; take away the vote of one that is well while that of one that is ill could be taken; hold a member for gone because the
// leader has not heard who it is, while it may be a node that the map has and that is only down.
#ifndef OMEN_CLUSTER_VOTERS_H
#define OMEN_CLUSTER_VOTERS_H
#include "cluster/map.h"

#define VOTERS_MEMBERS_MAX 32u // of raft's group; raft's own limit
#define VOTERS_NODES_MAX MAP_NODES_MAX
#define VOTERS_WANTED_MAX 7u
#define VOTERS_ITEMS_MAX 2u // of one change
// The setting of the map that goes before config.wanted: 1, 3, 5 or 7. Any other value is as if there were none.
#define VOTERS_SETTING "metadata-voters"

struct voters_config {
    uint32_t wanted;           // 1, 3, 5 or 7. 0: nothing is planned
    uint32_t members_max;      // who learn included; 1..VOTERS_MEMBERS_MAX
    uint64_t replace_delay_ns; // ill for so long: another votes instead
    uint64_t steady_ns;        // well for so long before it votes
    uint64_t interval_ns;      // between looks
    uint64_t retry_ns;         // a change without effect is made again
};

struct voters_member {
    uint64_t member; // its number in raft's group
    uint64_t reached;
    bool votes;
    bool current; // it answers the leader and lacks little of the log
};

// Whoever may be in the group. Two with one number: the first counts.
struct voters_node {
    struct cluster_uuid uuid;
    uint64_t member; // that it goes by in raft's group, 0: by none
    struct map_name zone;
    bool alive; // the failure detector does not hold it for dead
    bool data;  // it keeps data, so it needs the map
};

enum voters_group {
    VOTERS_SETTLED,
    VOTERS_CHANGING, // a change is under way, or leadership is being handed over
    VOTERS_JOINT,    // and not left by itself
};

struct voters_input {
    uint64_t now_ns;
    uint64_t self; // the leader's number
    enum voters_group group;
    const struct map *map;               // borrowed, as the rest, for the step
    const struct voters_member *members; // ascending by number
    const struct voters_node *nodes;
    uint32_t member_count, node_count;
};

enum voters_kind { VOTERS_REST, VOTERS_CHANGE, VOTERS_LEAVE, VOTERS_TRANSFER };
enum voters_part { VOTERS_VOTES, VOTERS_LEARNS, VOTERS_GOES };

struct voters_item {
    uint64_t member;
    enum voters_part part; // that it shall have; nothing for a TRANSFER
};

struct voters_output {
    enum voters_kind kind;
    uint32_t count; // CHANGE: 1, or 2 that are one joint change. TRANSFER: 1, to whom
    struct voters_item items[VOTERS_ITEMS_MAX];
    const char *why; // of enum voters_kind's reasons above, for the log: "replace"
    uint64_t wake_ns;
};

// Of a member: what it was when it was last looked at, and since when.
struct voters_seen {
    uint64_t member, since_ns;
    bool well;
};

// A member, as a look sees it.
struct voters_row {
    uint64_t member, reached;
    uint32_t zone; // a number for each
    bool votes;    //
    bool known;    // some node goes by its number
    bool stays;    // it may be a member
    bool may;      // it may vote
    bool leaves;   // it is gone, or it is drained and holds nothing any more
    bool well;     //
    bool lost;     // ill for replace_delay
    bool steady;   // well for steady
};

struct voters {
    struct voters_config config;
    uint64_t looked_at_ns; // 0: never
    uint64_t retry_at_ns, transfer_at_ns;
    uint32_t seen_count;
    struct voters_seen seen[VOTERS_MEMBERS_MAX]; // ascending
    // Within a step.
    uint32_t row_count, zone_count, wanted;
    bool may_be_unheard; // a node of the map may go by a number that nobody is known to go by
    uint64_t self;
    struct voters_row rows[VOTERS_MEMBERS_MAX];
    struct map_name zones[VOTERS_MEMBERS_MAX];
};

void voters_init(struct voters *voters, const struct voters_config *config);
void voters_step(struct voters *voters, const struct voters_input *input,
                 struct voters_output *output);
void voters_check(const struct voters *voters); // asserts all invariants
void voters_describe(const struct voters *voters, char *line, size_t capacity);

#endif
