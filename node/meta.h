// node/meta.h -- the metadata loop: node/turn on a thread, with the disk, the bus and the clock.
//
// Shape:   shell. Decides nothing: what turn.h and raft.h say of an output is done, in their order.
// Threads: calls from any. What it says goes as notes to the loops that meta_feed named, and to whoever asked.
// Memory:  an answer's note is allocated with its question, so that a question that was taken is answered.
//
//      frames (raft, gossip, turn, map_ask, map), datagrams --> turn --> disk, bus
//      disk_done ----------------------------------------> turn
//      meta_propose, meta_wish --------------------------> turn --> struct meta_answer, to who asked
//      turn --> struct meta_map, meta_lease, meta_word, LED, meta_members --> the loops of this node
//
// A node whose weight is 0 does not have the metadata's log. It hears by gossip who leads and which version of the map there is, and
// asks somebody for it (router/watch.h): map_ask ~~> other node ~~> map.
//
// What its start says is wished for as long as the map does not have it (node/meta_wish.c): that this node is up, and the lease times of a
// cluster that has chosen none.
//
// A newer map is posted before the lease that is good for it, and before the answers to what changed it.
#ifndef OMEN_NODE_META_H
#define OMEN_NODE_META_H
#include "node/clock.h"
#include "node/disk.h"
#include "node/notes.h"
#include "node/turn.h"
#include "wire/bus.h"

#define META_LISTENERS_MAX 3u
#define META_WAITS_MAX 4096u                     // proposals that wait for their entry
#define META_WAIT_NS (UINT64_C(10) * 1000000000) // so long; then the outcome is not known

struct meta; // opaque

struct meta_config {
    const struct turn_config *turn;     // copied
    const struct turn_durable *durable; // borrowed for meta_open
    uint8_t lease_profile;              // enum lease_profile, of a cluster that has chosen none
    struct disk *disk;                  // borrowed until meta_close, as the bus
    struct bus *bus;
    struct node_clock *clock; // that others are asked for; borrowed. NULL: it is this node's wall
    uint64_t seed;
    void *context;
    // The machine cannot go on; the process must end, and start again from its disk. In the loop's thread; after it nothing more is
    // said to anybody.
    void (*halt)(void *context, const char *why);
    // A newer process of this node is there, and this one shall end. In the loop's thread.
    void (*superseded)(void *context);
    // The disk lacks what this node acknowledged (the leader has seen it, or the map has a later process): an old copy of it was put back. This process shall end, and whoever comes back joins
    // anew; a majority that such a node is part of might lose what was agreed on. In the loop's thread.
    void (*outdated)(void *context);
};

// To those loops. Whoever takes a note frees it with mem_free.
struct meta_map {
    struct loop_note note; // NOTE_META_MAP
    const struct map *map; // the taker's, who ends it with map_publish_end
};

struct meta_lease {
    struct loop_note note; // NOTE_META_LEASE: of this node, good for the map that was given last
    uint64_t sent_ns, lease_ns;
};

struct meta_word {
    struct loop_note note; // NOTE_META_WORD: of the failure detector
    struct cluster_uuid node;
    bool dead;
};

// Whenever one of these changes; the newest counts.
struct meta_members {
    struct loop_note note;      // NOTE_META_MEMBERS
    struct cluster_uuid leader; // of the metadata; none: nobody is known
    uint64_t term;
    uint32_t voters; // of raft's group
    uint32_t voting_count;
    uint64_t voting
        [RAFT_MEMBERS_MAX]; // their numbers, as this node has the group; while it changes, of then and before
    uint32_t count;
    struct gossip_claim members[]; // all that gossip knows, this node first; each has meta
};

enum meta_outcome {
    META_DONE, // applied: `result` says how it went; or, for a change of the group and a transfer, taken
    META_NOT_LEADER, // nothing was done; ask `leader`
    META_BUSY,       // nothing was done; later
    META_INVALID,    // nothing was done; not in this way
    META_NOT_DONE,   // somebody else led before it was committed: nothing was done
    META_UNKNOWN,    // it may be applied, now or later
};

struct meta_answer {
    struct loop_note note; // NOTE_META_ANSWER
    void *tag;
    enum meta_outcome outcome;
    omen_status status; // OMEN_OK for DONE; BUSY, INVALID, TIMEOUT
    struct cluster_uuid leader;
    // The published map of its version was posted before, where the asker is one of those loops.
    struct command_result result;
    uint64_t position;
};

// Starts the machine from what the disk had, and returns when it runs. OMEN_E_NO_MEMORY; OMEN_E_VERSION: the cluster has features in use
// that this program does not know; OMEN_E_CORRUPT: what the disk had is no
// log, or no map.
OMEN_MUST_CHECK omen_status meta_open(const struct meta_config *config, struct meta **out);
// Ends the thread; what comes later is dropped. The rest of its memory goes with meta_close, when nobody calls any more.
void meta_stop(struct meta *meta);
void meta_close(struct meta *meta); // accepts NULL

// From now on this loop is told of maps, leases, words and members, beginning with what there is. At most META_LISTENERS_MAX.
void meta_feed(struct meta *meta, struct loop *data);

// From the bus; copied.
void meta_frame(struct meta *meta, struct cluster_uuid from, uint64_t boot,
                const struct peer_head *head, struct wire_bytes body);
void meta_datagram(struct meta *meta, struct wire_bytes packet);

// Copied. One answer comes to `answer_to`, with the tag, unless that loop is stopped.
void meta_propose(struct meta *meta, const struct command *command, struct loop *answer_to,
                  void *tag);
// There is a map of this version. Who has the log gets it anyway; who does not asks for it.
void meta_want(struct meta *meta, uint64_t version);
// Somebody of this cluster may be at that address.
void meta_meet(struct meta *meta, const struct gossip_address *address);
// Of the bus: nobody listens where that node is; it was connected to, or has connected to us.
void meta_refused(struct meta *meta, struct cluster_uuid node);
void meta_reached(struct meta *meta, struct cluster_uuid node);
// A command that this node wants; it goes to the leader, if there is one. It may be lost: who wants it says so again.
void meta_wish(struct meta *meta, const struct command *command);

// Less than its reserve is left of this node's disk, or no longer so: the others are told.
enum meta_disk { META_DISK_FINE, META_DISK_LOW };
void meta_disk(struct meta *meta, enum meta_disk disk);

// This process is about to end: what it leads shall go to others. meta_has_left: nothing is led here any more that another could lead.
void meta_leave(struct meta *meta);
bool meta_has_left(struct meta *meta);
// It ends: the others are told, so that they need not find out. From here on nobody sends it anything. meta_is_gone: they were told.
void meta_go(struct meta *meta);
bool meta_is_gone(struct meta *meta);

// As last known; none: nobody.
struct cluster_uuid meta_leader(struct meta *meta);
// Of the newest map; false: it has none of that name.
bool meta_key(struct meta *meta, const struct map_name *name, struct api_key *out);
bool meta_has_keys(struct meta *meta); // any; without waiting
// Grows when the keys of the map change; without waiting. What is looked up behind it is no older.
uint64_t meta_keys_seen(struct meta *meta);
// Whether the map is as new as any that there was when this process began; without waiting. What is looked up behind it is of such a one.
bool meta_is_current(struct meta *meta);

struct meta_stats {
    uint64_t term, lead, commit, applied, map_version; // lead: a number of raft's group, 0 none
    uint32_t state;                                    // enum raft_state
    uint32_t voters, living;                           // living: by gossip, with this node
    uint64_t clock_apart_ns;         // this node's wall and the cluster's clock, either way
    uint64_t turns, frames, refused; // refused: frames and datagrams that were no message
};

void meta_stats(struct meta *meta, struct meta_stats *out);

#endif
