// node/hosts.h -- the data loop of a node: its copies with their shards, the parts of requests that come for them, and the front.
//
// Shape:   shell; a handle.
// Threads: a loop of its own, and a pool of workers. hosts_frame and hosts_near* from any thread; the others in the owner's.
//
// The loop steps node/copies and does what it says, and never waits: the disk answers by notes, workers apply entries, read parts and
// make snapshots, the bus takes or drops. A write is answered when it is committed and applied here, with what came of it.
#ifndef OMEN_NODE_HOSTS_H
#define OMEN_NODE_HOSTS_H
#include "base/error.h"
#include "base/os_loop.h"
#include "node/disk.h"
#include "node/meta.h"
#include "node/near.h"
#include "node/reserve.h"
#include "wire/bus.h"

struct hosts;   // opaque
struct metrics; // node/metrics.h

struct hosts_config {
    struct cluster_uuid node;
    uint64_t boot;
    const char *folder; // of the node: shards/ and tmp/ are ours
    uint32_t threads;   // of the pool
    // Zeros are replaced by what the comments say.
    size_t part_bytes_max;    // of parts that wait: 256 MiB
    uint64_t keep_entries;    // of a log that everybody has, for who comes back: 65,536,
    uint64_t keep_bytes;      // but not more than 1 GiB
    uint32_t reserve_percent; // of the disk, which writes that add leave (node/reserve.h); 0: none
    uint32_t shrink_ms; // a copy that owes an answer so long is removed: by the map's lease times
    struct disk *disk;
    struct bus *bus;
    struct meta *meta;
    const struct node_clock *clock; // that entries are stamped by; NULL: this node's wall
    struct metrics *metrics;        // what is counted on the way; NULL: nothing is
    void *context;
    void (*halt)(void *context, const char *why); // the process must end; in the loop's thread
    // A PEER_REPLY to a part of this node's own clients.
    void (*reply)(void *context, const struct peer_head *head, struct wire_bytes body);
    // A near part that was given away is done, and the callee's again; in any thread, with a lock held. NULL where nobody begins one.
    void (*near)(void *context, struct near *near);
    // The same of several, by a worker that holds no lock.
    void (*nears)(void *context, struct near *const *nears, uint32_t count);
};

struct hosts_stats {
    uint64_t frames, bad_frames; // bad: no message
    uint64_t parts, busy, stale, cancelled, late;
    uint64_t near; // of `parts`
    uint64_t proposed, applied;
    uint64_t snapshots_made, snapshots_installed, shards_lost;
    uint64_t notes[REPLICA_NOTE_NO_MEMORY + 1]; // by enum replica_note_kind
    uint64_t buckets_differ;
    uint32_t copies, parts_under_way;
};

// What the loop shows, once a second.
enum hosts_role {
    HOSTS_MAKING, // its shard is not there yet, or another takes its place
    HOSTS_BACKUP,
    HOSTS_OPENING, // it is to be the primary
    HOSTS_PRIMARY,
    HOSTS_LOST, // damaged, or not to be found
    HOSTS_ROLES,
};

struct hosts_peer_seen {
    struct cluster_uuid copy;
    uint64_t lag; // entries that it is not known to have
};

struct hosts_copy_seen {
    uint64_t shard;
    struct map_name collection; // none where the map has none
    enum hosts_role role;
    uint64_t applied, lag;          // lag: committed entries that are not applied
    uint64_t points, bytes, memory; // of some seconds ago; 0 before the first look
    uint32_t peer_count;            // of a primary
    struct hosts_peer_seen peers[REPLICA_PEERS_MAX];
};

struct hosts_seen {
    _Atomic uint32_t users;
    uint64_t at_ns; // os_clock_ns
    struct hosts_stats stats;
    struct reserve reserve;
    uint32_t count;
    struct hosts_copy_seen copies[];
};

// Opens every shard of which the disk has a log; one that does not open is lost, and the cluster hears of it. The disk's start is not over
// yet. OMEN_E_NO_MEMORY, OMEN_E_LOCKED, OMEN_E_VERSION: a shard may be fine, so nothing is begun.
OMEN_MUST_CHECK omen_status hosts_open(const struct hosts_config *config, struct hosts **out,
                                       struct omen_error *error);

struct loop *hosts_loop(struct hosts *hosts); // for meta_feed

// A frame of another node: PEER_REPLICA, PEER_PART, PEER_CANCEL. It is copied.
void hosts_frame(struct hosts *hosts, struct cluster_uuid from, uint64_t boot,
                 const struct peer_head *head, struct wire_bytes body);

// Reads for this node's own clients, without the loop (node/near.h). From any thread, but not after hosts_stop.
//
// NULL, and nothing was done: it is no read of what the copy has applied, it is not admitted, there is no room for it, no memory, or the
// loop has something in hand. Then it goes by hosts_frame, and hears why.
struct near *hosts_near(struct hosts *hosts, const struct wire_part *part, uint32_t deadline_ms);
// Serves it, in the caller's thread. False: the loop has to hear of it first, and config.near will have it.
bool hosts_near_serve(struct hosts *hosts, struct near *near);
// Workers serve them, NEARS_TOGETHER at the most; config.near or nears has each.
void hosts_near_work(struct hosts *hosts, struct near *const *nears, uint32_t count);
// Serves it as a worker would, in the caller's thread, which holds no lock; config.near or nears has it before this returns, or soon.
void hosts_near_help(struct hosts *hosts, struct near *near);
void hosts_near_cancel(struct near *near); // nobody waits for it; where it was not begun it is not
void hosts_near_free(struct near *near);   // of one that is done. Accepts NULL

// The loop and the workers end; what is posted to it from then on is thrown away. Before who posts to it is closed.
void hosts_stop(struct hosts *hosts);
void hosts_close(struct hosts *hosts); // accepts NULL. Shards have their last checkpoints

// From any thread, without waiting for the loop: what it showed last, until hosts_look_end. NULL: nothing yet.
struct hosts_seen *hosts_look(struct hosts *hosts);
void hosts_look_end(struct hosts_seen *seen); // accepts NULL

// For tests; of a hosts that was stopped, or in its thread.
struct hosts_stats hosts_stats(const struct hosts *hosts);

#endif
