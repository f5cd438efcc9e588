// cluster/rebalance.h -- what to do about the map: from who lives and how much each holds, the next steps.
//
// Shape:   machine.
// Threads: the loop of the metadata leader, which alone runs it; a new leader starts with an empty one.
// Memory:  all inside, 100 KiB or so.
//
// It remembers next to nothing: what is under way stands in the map (a replica that is pending, a learner, or leaving; a wanted
// primary; a splitting shard), so every step looks at the whole map and plans what is missing. A leader that is
// replaced in the middle of a move, a command that comes too late, a node that dies and comes back: each is only
// another map to look at.
//
//      no copies yet --------- assign x replication (plan_repair) ----------> created by its nodes
//      too few copies -------- assign (plan_repair) ------------------------> pending, learner, in sync
//      uneven zones or loads - move (plan_moves) ---------------------------> the old copy is leaving
//      leaving, draining, dead and replaced: drop (plan_tidy); the primary among them: prefer another first
//      a leaving one is needed after all: keep (plan_tidy); too many: drop (plan_tidy)
//      primary's node dead or restarted: promote (plan_promotions)
//      primary's node about to end: prefer another (plan_leaving), and the primary transfers
//      primaries uneven: prefer (plan_primaries), the same
//      too large: split (plan_splits); its children: assign beside the parent's copies; cut by the primary: purge
//      splitting, and the primary is to go: abort (plan_splits); it is split where it will be
//
// Why it ends: a move is planned only if it makes the zones of a shard more even, or leaves them and makes the sum of
// load^2 / weight smaller; drops follow from moves. Both sums cannot shrink for ever, and nothing else makes them grow
// but the world.
//
// A node whose disk is low gets new copies only of collections that are made, which are empty, and only where no other node can have them; it is
// made primary only where nobody else can be. A copy of a shard with points would take what its deletes need: that one waits, as do splits.
//
// What it never does: drop a copy that is in sync while fewer than `replication` others are in sync on living nodes that stay;
// have more than `moves_max` shards with a copy on its way (new collections aside: their copies are empty).
#ifndef OMEN_CLUSTER_REBALANCE_H
#define OMEN_CLUSTER_REBALANCE_H
#include "base/prng.h"
#include "cluster/command.h"
#include "cluster/place.h"

struct rebalance_config {
    uint64_t replace_delay_ns; // a node is dead so long before its copies are made elsewhere
    uint64_t interval_ns;      // between looks at a map that does not change
    uint64_t retry_ns;         // a proposal without effect is made again
    uint32_t moves_max;        // shards with a copy on its way
    uint32_t transfers_max;    // primaries that shall hand over
    uint32_t splits_max;
    uint32_t split_units;    // a shard of this size is split; 0: none is
    uint32_t slack_permille; // of the mean fill, that are not worth a move
};

struct node_health {
    uint32_t node;   // its number
    bool alive;      // gossip does not hold it for dead
    bool lease_void; // its lease's guard has run out: it cannot be primary of anything
    // Its process is about to end: it shall be primary of nothing, and keeps its copies.
    bool leaving;
    // Its disk is nearly full: it keeps what it has, and gets nothing new where another can have it.
    bool disk_low;
};

// How far a copy was when it was last heard of. Any in-sync copy may be promoted; the one with the most in its log is best.
struct replica_seen {
    uint64_t shard;
    struct cluster_uuid replica;
    uint64_t last_term, last_seq;
};

struct rebalance_input {
    uint64_t now_ns;
    const struct map *map;            // borrowed, as the rest, for the step
    const struct node_health *health; // ascending by node; one that is missing counts as dead
    const struct replica_seen *seen;  // may be NULL
    const uint32_t *units;            // size of each row of map->shards; NULL: 1 each
    uint32_t health_count, seen_count;
};

enum rebalance_note {
    REBALANCE_PROMOTED,  // shards that get a new primary
    REBALANCE_ORPHANED,  // shards without a primary, and nobody who could be
    REBALANCE_ASSIGNED,  // copies that are missing
    REBALANCE_HOMELESS,  // copies that are missing, and no node for them
    REBALANCE_MOVED,     // copies that go elsewhere
    REBALANCE_DROPPED,   // copies that go
    REBALANCE_PREFERRED, // primaries that shall hand over
    REBALANCE_SPLIT,     // shards that are split
    REBALANCE_PURGED,    // shards that were split
    REBALANCE_ABORTED,   // splits that were given up
    REBALANCE_NOTES,
};

struct rebalance_output {
    struct command command; // to propose, once it is stamped with the time; kind 0: none
    uint64_t wake_ns;
    uint32_t notes[REBALANCE_NOTES]; // how many of each
};

struct dead_node {
    uint32_t node;
    uint64_t since_ns;
};

// What a step works out; its rows are the map's nodes.
struct rebalance_row {
    uint64_t primaries;
    bool alive, lease_void, leaving, disk_low;
    bool stays; // up, for data, and not dead for longer than the delay
};

struct rebalance {
    struct rebalance_config config;
    struct prng prng;
    uint64_t proposed_version; // the map that the last proposal was made for
    uint64_t retry_at_ns;
    uint32_t dead_count;
    struct dead_node dead[MAP_NODES_MAX]; // ascending
    // Within a step.
    uint64_t weight_total, load_total, primaries_total;
    uint32_t moving, transferring, splitting;
    uint32_t zone_count;
    uint16_t zone_row[MAP_NODES_MAX]; // a node of each zone
    bool zone_eligible[MAP_NODES_MAX];
    struct place_node nodes[MAP_NODES_MAX];
    struct rebalance_row rows[MAP_NODES_MAX];
    uint64_t touched[MAP_SHARDS_MAX / 64]; // shards that have a step in this plan
};

void rebalance_init(struct rebalance *rebalance, const struct rebalance_config *config,
                    uint64_t seed);
void rebalance_step(struct rebalance *rebalance, const struct rebalance_input *input,
                    struct rebalance_output *output);
void rebalance_check(const struct rebalance *rebalance);
void rebalance_describe(const struct rebalance *rebalance, char *line, size_t capacity);

#endif
