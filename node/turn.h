// node/turn.h -- one turn of a node's metadata: gossip, the raft group, the cluster map and the leases, wired together.
//
// Shape:   machine. The daemon and the simulator link this file; neither adds a decision to it.
// Threads: one.
// Memory:  the machines' own, and on the heap the encoded map (checkpoint, snapshots) and the results of a turn.
// Time:    now_ns of the inputs is monotonic; wall_ms is what a leader stamps commands with, and may be wrong.
//
// A turn takes one input. It steps raft at most once, gossip at most once, and applies at most config.raft.apply_bytes_max of
// committed commands; what is left goes on at the next WAKE, which is then due at once. A checkpoint encodes the whole map, once
// in config.checkpoint_entries.
//
//      raft commits ----> cluster_apply ----> the map's version ----> gossip's metadata
//                              |
//                              +--> every checkpoint_entries a checkpoint; when it was handed out, the log may go through it
//
//      any node:   not in the map, or an older boot of it --COMMAND--> leader        (node/turn_member.c)
//                  every renew_ms --ASK--> leader --GRANT--> lease, once the log is applied through its position
//      the leader: ASK --> raft's read round --> GRANT; who lives, whose guard has run out, the map --> rebalance --> propose
//                                                                                   (node/turn_lead.c)
//                  who is about to end (gossip) --> rebalance --> another primary for each of its shards
//                  raft's group, who answers it and who lives --> voters --> a change of the group, or another leader
//                                                                                   (node/turn_voters.c)
//
// What a node says of itself by gossip begins with the number that it goes by in raft's group, and whether it leads (node/turn_said.h);
// where its weight is 0 it says neither.
//
// What a disk holds is a checkpoint (the map's bytes, their position and the group of then) and the log behind it. Outputs
// become durable in order, whole or not at all; so no log is compacted that its checkpoint does not cover. Between checkpoints
// the applied position is not stored: a start applies the log from the checkpoint on again, as raft commits it.
#ifndef OMEN_NODE_TURN_H
#define OMEN_NODE_TURN_H
#include "cluster/apply.h"
#include "cluster/rebalance.h"
#include "cluster/snapshot.h"
#include "cluster/voters.h"
#include "gossip/gossip.h"
#include "node/turn_msg.h"
#include "node/turn_said.h"
#include "raft/raft.h"
#include "replica/lease.h"

#define TURN_APPLY_BYTES_MAX (4u << 20)
#define TURN_SENDS_MAX (LEASE_NODES_MAX + 4u)
// Names of raft's reads that are rounds of leases; a shell's own are below.
#define TURN_READ_LEASE (UINT64_C(1) << 63)

struct turn_config {
    struct raft_config raft; // apply_bytes_max <= TURN_APPLY_BYTES_MAX
    struct gossip_config gossip;
    uint32_t checkpoint_entries; // >= 1
    struct rebalance_config rebalance;
    struct voters_config voters; // wanted 0: raft's group is an operator's to change
    // How the node is written into the map, under gossip's id and boot. Weight 0: it is not.
    uint16_t weight;
    uint8_t roles;
    struct map_name zone;
    uint64_t features; // bits that this program knows
};

struct turn_durable {
    struct raft_durable raft; // `applied` and `group` are those of the checkpoint
    const uint8_t *map;       // the checkpoint; map_bytes 0: the empty map
    size_t map_bytes;
    const struct gossip_address *peers;
    uint32_t peer_count;
};

enum turn_input_kind {
    TURN_IN_START, // first, once
    TURN_IN_RAFT,
    TURN_IN_GOSSIP,
    TURN_IN_PERSISTED,
    TURN_IN_PROPOSE,  // out.raft.answer; later, when it is applied, one of out.results
    TURN_IN_READ,     // out.raft.answer; later one of out.raft.reads
    TURN_IN_CHANGE,   // of the members of raft's group, by an operator; out.raft.answer
    TURN_IN_TRANSFER, // another member shall lead; out.raft.answer
    TURN_IN_MSG,
    TURN_IN_WISH,    // a command that this node wants: it goes to the leader, if there is one
    TURN_IN_REFUSED, // nobody listens where a node is said to be (node/turn_gone.c)
    TURN_IN_REACHED, // it was connected to, or has connected to us
    TURN_IN_MEET,    // an operator says where a member of this cluster may be
    TURN_IN_LEAVE, // this process is about to end: what it leads goes to others (node/turn_leave.c)
    TURN_IN_GO,    // it ends now: the others need not find out
    TURN_IN_DISK,  // less than its reserve is left of this node's disk, or no longer so
    TURN_IN_WAKE,
};

struct turn_input {
    uint64_t now_ns;
    uint64_t wall_ms;
    // From then on the disk took nothing of what it was given; 0: it takes it.
    uint64_t put_off_since_ns;
    enum turn_input_kind kind;
    union {
        const struct turn_durable *durable; // START; borrowed for the turn, as are all pointers
        const struct raft_msg *raft;        // RAFT
        struct {
            const struct gossip_msg *message;
            enum gossip_lane lane;
        } gossip;                         // GOSSIP
        uint64_t persist_number;          // PERSISTED
        const struct command *command;    // PROPOSE; time_ms is stamped here. WISH
        uint64_t read_id;                 // READ; below TURN_READ_LEASE
        const struct raft_change *change; // CHANGE
        uint64_t member;                  // TRANSFER
        struct gossip_address meet;       // MEET
        struct cluster_uuid node;         // REFUSED, REACHED
        const struct turn_msg *msg;       // MSG; every field may be anything
        bool disk_low;                    // DISK
    };
};

// Why a node must end and start again from its disk. Nothing of that output may be done.
enum turn_halt {
    TURN_RUNS,
    TURN_HALT_NO_MEMORY, // a committed command could not be applied, or a snapshot not be kept
    TURN_HALT_CORRUPT,   // the checkpoint, or a snapshot that a leader sent, is no map
    TURN_HALT_INVALID,   // the log on the disk is none
    TURN_HALT_TOO_OLD,   // the cluster has switched on what this program does not know
};

struct turn_checkpoint {
    const uint8_t *bytes;
    size_t count; // 0: none
    uint64_t position;
    const struct raft_group *group;
};

struct turn_result {
    uint64_t term;
    struct command_result result;
    uint64_t position; // of this entry; result.position differs where the command was a repetition
};

// To the member of raft's group, or to the node of the map; it may be this one. Nothing of it depends on durability.
struct turn_send {
    uint64_t member; // 0: to `node`
    struct cluster_uuid node;
    struct turn_msg msg; // what it points to is borrowed until the next turn
};

// For replicas on this node that know the map of out.map's version, or a later one.
struct turn_lease {
    uint64_t sent_ns, lease_ns; // 0: none that is new
};

// What the failure detector has come to believe of a node. It may be wrong, and a word may be lost: it only shortens waits.
struct turn_word {
    struct cluster_uuid node;
    bool dead;
};

// The shell obeys the numbered steps in order.
struct turn_output {
    enum turn_halt halt;
    // 1. Make durable in one transaction: what raft.h says of step 1, and the checkpoint.
    struct turn_checkpoint checkpoint;
    // 2. Send raft.msgs (chunks are filled in), gossip.sends, and these.
    uint32_t send_count;
    struct turn_send sends[TURN_SENDS_MAX];
    // 3. Applied: map is the new one.
    const struct turn_result *results;
    uint32_t result_count;
    struct turn_lease lease;
    // The map has had a later process of this node: the disk is an old copy, and must not be gone on from.
    bool outdated;
    struct turn_word words[GOSSIP_NOTES_MAX]; // for the copies of this node
    uint32_t word_count;
    bool led; // somebody leads the metadata who did not before: what was wished may have been lost
    // 4. Step again (kind WAKE) no later than this.
    uint64_t wake_ns;
    bool raft_stepped, gossip_stepped; // else the machine's output is empty
    struct raft_output raft;
    struct gossip_output gossip;
};

// A node at whose address nobody listened.
struct turn_absent {
    struct cluster_uuid node;
    uint64_t since_ns; // the first time
    bool gone;         // and again later, so that its process is taken for gone
};

#define TURN_ABSENT_MAX 64u // of more the oldest is forgotten

struct turn_bytes {
    uint8_t *bytes;
    size_t count, room;
    uint64_t position; // of the map that they encode
};

// Fields are for node/ and tests.
struct turn {
    struct turn_config config;
    struct raft raft;
    struct gossip gossip;
    struct map map;
    uint64_t applied;
    struct raft_group group; // as of `applied`
    uint64_t raft_wake_ns, gossip_wake_ns;
    uint64_t told_version;                      // of the map, by gossip
    struct turn_said told;                      // by gossip
    struct turn_absent absent[TURN_ABSENT_MAX]; // in the order in which they were refused first
    uint32_t absent_count;
    uint64_t led_term, led_by; // out.led was last said of
    uint64_t compact_due;      // 0, or through where the log may go
    uint64_t made_due;         // 0, or the position of a snapshot that raft waits for
    struct turn_bytes checkpoint;
    struct turn_bytes offers[2]; // what raft streams, and what it will
    struct turn_bytes staged;    // what a leader streams to us
    uint64_t checkpoint_position;
    struct turn_result *results;
    uint32_t result_room;
    bool started;

    // as any node
    uint64_t own_version;               // of the map in which it looked for itself
    uint32_t own_at;                    // and where it was; UINT32_MAX: it is not there
    uint64_t process;                   // drawn at init, and written down with the boot
    bool leaving;                       // from LEAVE on
    bool disk_low;                      // as the last DISK said
    uint64_t leave_at_ns;               // the next time that another is to lead
    uint64_t register_at_ns, ask_at_ns; // the next time
    struct turn_msg grant;              // kind 0: none that waits for its position
    struct command wish;
    // as the leader
    struct lease lease;
    uint64_t lead_term;   // that the lease leads in
    uint64_t round_due;   // of the lease, to be asked of raft
    uint64_t round_at_ns; // not before
    // A quorum answered; it counts when the log is applied through round_position.
    uint64_t round_heard;
    uint64_t round_position;
    uint64_t plan_at_ns;   // the next look at the map
    uint64_t look_at_ns;   // not before, although it has changed
    uint32_t leaving_seen; // nodes that said that they are about to end
    uint64_t plan_version; // that was looked at
    uint64_t voters_at_ns; // the next look at raft's group
    struct voters voters;
    struct voters_member voters_members[VOTERS_MEMBERS_MAX];
    struct voters_node voters_nodes[VOTERS_NODES_MAX];
    struct rebalance rebalance;
    struct node_health health[MAP_NODES_MAX];
    struct rebalance_output plan;
    struct lease_output lease_out;
};

void turn_init(struct turn *turn, const struct turn_config *config, uint64_t seed);
void turn_fini(struct turn *turn);
void turn_step(struct turn *turn, const struct turn_input *in, struct turn_output *out);
// After LEAVE: whether nothing is led here any more that somebody else could lead.
bool turn_has_left(const struct turn *turn);
void turn_check(const struct turn *turn); // asserts all invariants
void turn_check_step(
    const struct turn *turn); // all but the map's, which changes only with what is applied
void turn_describe(const struct turn *turn, char *line, size_t cap); // one stable line

#endif
