// node/copies.h -- the copies of shards that one node holds: a replica machine each, as the cluster's map gives them to it.
//
// Shape:   machine. The daemon and the simulator link this file; neither adds a decision to it.
// Threads: one.
// Memory:  one block for each copy. Where it is refused the copy is not made now; the next look at the map tries again.
// Time:    as replica/replica.h has it.
//
// One input steps one replica at most. A map, and a lease, concern them all: they are noted, and one copy after the other hears of
// them at the next WAKEs, which are then due at once.
//
//      the map has a pending replica here --> make an environment (out.make) --MADE--> held --COMMAND born--> a member
//      held --a map that is newer than it does not name it, and a lease came--> told to go (out.drop), and forgotten
//      the map names one here that is not held --> COMMAND lost
//      held: REPLICA_CHANGE_* --> COMMAND add, remove, transfer, cut, lost; a compare-and-swap on the cfg_ver that the replica saw
//      somebody else leads the metadata --> what waits for an outcome is commanded again at once
//      held, and filled by a primary whose map is newer: it waits for that map, until a lease came that was asked for since
//      a copy of a child --> a learner of its parent's primary, until the map has the cut; then of its own shard
//
// After a start the map may be older than what was made under it, because the log is applied again; so an environment
// carries the position that the map had then. That is not enough for one to go: between then and when the map names it there are
// maps that are newer than the environment and do not name it yet, and a start may meet them when the environment is full. But a
// lease counts for who knows all that was committed when it was asked for, so the maps behind the first one are none of those.
#ifndef OMEN_NODE_COPIES_H
#define OMEN_NODE_COPIES_H
#include "cluster/map.h"
#include "node/turn_msg.h"
#include "replica/replica.h"

struct copies_config {
    struct cluster_uuid node;
    uint64_t boot;
    uint64_t retry_ns; // of replicas, and of commands
    uint64_t idle_ns;
    uint32_t shrink_ms; // of replicas; 0: by the map's lease times
    uint32_t ops_max;
    uint64_t window_ms;
    uint32_t terms_max;
};

// An environment of a copy: what is written in it before anything else.
struct copies_env {
    struct cluster_uuid uuid;
    uint64_t shard;
    uint64_t position; // of the map under which it was made
};

// What a node finds on its disk.
struct copies_durable {
    struct copies_env env;
    struct replica_disk disk;
};

enum copies_input_kind {
    COPIES_IN_HELD,    // for each environment, before anything else
    COPIES_IN_MAP,     // there is a new one
    COPIES_IN_LEASE,   // of this node, good for the map that was given last
    COPIES_IN_MADE,    // the environment of out.make is durable
    COPIES_IN_REPLICA, // for the replica `uuid`
    COPIES_IN_WORD,    // of the failure detector, of another node
    COPIES_IN_LED,     // somebody leads the metadata who did not: commands may have been lost
    COPIES_IN_WAKE,
};

struct copies_input {
    uint64_t now_ns;
    uint64_t wall_ms;
    enum copies_input_kind kind;
    struct cluster_uuid uuid; // MADE, REPLICA
    union {
        const struct copies_durable *held; // HELD; borrowed for the step, as are all pointers
        const struct map *map;             // MAP
        struct {
            uint64_t sent_ns, lease_ns; // LEASE
        };
        struct replica_input *replica; // REPLICA; its times are set here
        struct {
            struct cluster_uuid node;
            bool dead;
        } word; // WORD
    };
};

// The shell obeys the numbered steps in order; those of `replica` stand between 1 and 2.
struct copies_output {
    struct copies_env make;   // 1. make it durable, with nothing in it; MADE. uuid none: nothing
    struct cluster_uuid drop; //    erase it. Nothing that is under way for it matters any more
    // HELD: no memory. Nothing more may be asked: it would take what it lacks for lost.
    bool refused;
    bool stepped;             //    else `replica` is not written
    struct cluster_uuid uuid; //    of the replica that was stepped
    uint64_t shard;
    struct cluster_uuid nodes[REPLICA_MSGS_MAX]; // where replica.msgs go; none: nobody knows
    struct command command; // 2. for the leader of the metadata. kind 0: nothing
    uint64_t wake_ns;
    struct replica_output replica;
};

struct copy_member {
    struct cluster_uuid uuid, node;
};

struct copy_row { // of the map
    struct map_shard row;
    struct copy_member members[SHARD_REPLICAS_MAX];
};

struct copy {
    struct copies_env env;
    bool made;          // and so there is a replica
    bool named;         // by the map
    bool awaited;       // a map had it pending, and none has its uuid yet
    bool expected;      // awaited, and the map has a pending copy for it still
    bool told;          // of the newest row
    bool leased;        // it was told of the newest lease, of which only those hear that lead
    bool led;           // it was told that somebody else leads the metadata
    uint16_t words_due; // bits of members: what the failure detector says of them
    uint64_t wake_ns;
    uint64_t filled_ns;   // since when there is something in it, in this process
    uint64_t born_at_ns;  // when the command may go out again
    struct map_shard row; // of the map
    struct copy_member members[SHARD_REPLICAS_MAX];
    struct copy_row kin[REPLICA_CHILDREN]; // the children, while it is split; of a child its parent
    uint32_t kin_count;
    struct replica replica; // while made
};

// One that the map has here and that is not held; or that is to be made.
struct copy_gap {
    uint64_t shard, cfg_ver;
    struct cluster_uuid uuid; // none: pending
};

#define COPIES_GAPS_MAX 64u // more are seen at a later map
// Of more the oldest is forgotten: its copies are waited for as those of the living.
#define COPIES_DEAD_MAX 64u

struct copies {
    struct copies_config config;
    struct prng prng;
    uint64_t map_version, map_position;
    uint32_t node; // its number in the map; 0: not there
    uint64_t lease_sent_ns, lease_ns;
    bool current;        // a lease came: the map is newer than any that an earlier process knew
    uint64_t current_ns; // since then
    uint64_t now_ns;     // of the last step
    uint32_t shrink_ms;  // of the map's lease times
    struct copy **rows;  // ascending by uuid; owned
    uint32_t count, room;
    uint32_t look_at; // the row, modulo count, that is looked at first when somebody is due
    struct copy_gap gaps[COPIES_GAPS_MAX];
    uint32_t gap_count;
    struct cluster_uuid dead[COPIES_DEAD_MAX]; // nodes, in the order in which it was said
    uint32_t dead_count;
    uint64_t gaps_at_ns; // when a command for them may go out again
};

void copies_init(struct copies *copies, const struct copies_config *config, uint64_t seed);
void copies_fini(struct copies *copies);
void copies_step(struct copies *copies, const struct copies_input *in, struct copies_output *out);
void copies_check(const struct copies *copies);                            // asserts all invariants
void copies_describe(const struct copies *copies, char *line, size_t cap); // one stable line

// The copy with that uuid, or of that shard that the map names; NULL. Valid until the next step.
const struct copy *copies_find(const struct copies *copies, struct cluster_uuid uuid);
const struct copy *copies_of_shard(const struct copies *copies, uint64_t shard);

#endif
