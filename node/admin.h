// node/admin.h -- the methods that are about the map and not about points: collections, aliases, nodes, shards, the cluster, keys, jobs.
//
// Shape:   value: functions of a published map. Clock, randomness and what gossip knows are in the view.
// Threads: any.
// Memory:  cluster.rebalance takes a planner from the heap for the call; an answer grows in the caller's encode.
//
//      any node      admin_is_led, and it does not lead the metadata: PEER_PART {shard 0, method, ask} to the leader, whose answer is
//                    handed on when the own map is as new as the leader's; else
//                    admin_start on its own map:  ANSWERED, REFUSED; or
//                      ASK_SHARDS  PEER_PARTs to the copies that step->whom names (node/admin_gather.h puts them together)
//                      MEET        gossip is given step->address; the answer is there already
//      the leader    admin_start on its map:      PROPOSE: step->command goes through the log, is applied
//                    admin_finish on a map that has it: the answer, or why there is none
//
// Whatever changes something is a compare-and-swap on what admin_start saw, so a node with an old map changes nothing by mistake; and
// admin_finish looks again at the map of then, so that whoever comes second is told what the first one did. A request with an op_id is an
// operation: asked again, of whichever leader, within ten minutes it is answered as the first time, and nothing is proposed.
//
// A job that moves a copy or splits a shard is the shard itself: its state stands in the map, and its number is the shard's, which no
// job has. Such a job ends by itself and is cancelled by taking the step back.
//
// A node's own name is what its gossip says behind its part in the metadata (gossip_meta.data, node/turn_said.h); one that
// says none, or is not heard of, is "node-<number>".
#ifndef OMEN_NODE_ADMIN_H
#define OMEN_NODE_ADMIN_H
#include "cluster/rebalance.h"
#include "node/clock.h"
#include "node/turn_said.h"
#include "wire/method.h"

#define ADMIN_SECRET_BYTES 32u
#define ADMIN_REPLICAS_DEFAULT 3u
#define ADMIN_SHARDS_DEFAULT_MAX 16u // a collection begins with one a node, but no more than that

struct event_ring; // node/events.h

struct admin_view {
    const struct map *map; // published
    // As this node's gossip has them, itself among them; all with meta.
    const struct gossip_claim *members;
    uint32_t member_count;
    uint32_t voters;        // of raft's group; 0: not known
    const uint64_t *voting; // their numbers, as this node has the group
    uint32_t voting_count;
    struct cluster_uuid cluster, node,
        leader;                               // leader: of the metadata; none where nobody is known
    uint64_t boot, term, wall_ms, uptime_ms;  // of this process
    const char *version;                      // of the program
    struct wire_text metrics;                 // of system.metrics; none: there are none
    const struct event_ring *events;          // NULL: none
    const struct rebalance_config *rebalance; // as the leader's
    struct clocks clocks; // of others, each by how much it is ahead of the cluster's
    int64_t ahead_ms;     // the same of this node's
};

// What the map and gossip say of the cluster as a whole.
struct admin_seen {
    uint64_t map_version;
    uint32_t nodes, collections;
    uint32_t shards, degraded, lost; // as of cluster.info
    uint32_t members[4];             // by enum gossip_state
    const char *not_ready;           // static; NULL: this node serves
};
void admin_look_at(const struct admin_view *view, struct admin_seen *out);
// Whether gossip says that a node is dead or has left. What it only suspects, and who it has not heard of, may live.
bool admin_node_gone(const struct admin_view *view, struct cluster_uuid node);
// Whether a node is alive that builds and keeps no data. Who keeps data links his own copies.
bool admin_builder_lives(const struct admin_view *view);

struct admin_call {
    const struct method *method;
    const void *ask; // a struct of method->ask, as it was read and completed
};

// The clock that operations of the cluster are drawn and judged by: the map's, or this node's where that is later. `map` may be NULL.
uint64_t admin_now_ms(const struct map *map, uint64_t wall_ms);
// Fills in what only needs drawing, where the client left it open: op_id and seed. Before the request goes anywhere, so that each of
// its tries is the same.
void admin_complete(const struct method *method, union method_body *ask, uint64_t now_ms,
                    const struct wire_uuid random[2]);

enum admin_next {
    ADMIN_ANSWERED,
    ADMIN_REFUSED, // *error
    ADMIN_PROPOSE, // step->command; only the leader can
    ADMIN_ASK_SHARDS,
    ADMIN_MEET, // answered, and gossip shall look for step->address
};

enum admin_whom {
    ADMIN_ANY_COPY = 1, // one in sync of each shard
    ADMIN_PRIMARIES,
    ADMIN_EVERY_COPY, // in sync
};

struct admin_step {
    struct command command;                  // PROPOSE. Of no kind where an earlier try did it
    enum admin_whom whom;                    // ASK_SHARDS: these copies, of all routed shards
    uint64_t collection, shard;              // ASK_SHARDS, of these; 0: of all
    struct gossip_address address;           // MEET
    char secret[2 * ADMIN_SECRET_BYTES + 1]; // key.create: what admin_finish says once
};

// Whether a method is one of these; the others are about points, or hello.
bool admin_has(enum method_number number);
// Whether it may change something. Then the leader is asked at once: another node's map may be too old to say even that there is nothing
// to do ("it exists already", "it is gone").
bool admin_is_led(enum method_number number);

// The answer is the packed map of method->answer, behind what is there. After a failure nothing was added.
OMEN_MUST_CHECK enum admin_next admin_start(const struct admin_view *view,
                                            const struct admin_call *call, struct admin_step *step,
                                            struct encode *answer, struct omen_error *error);

// After `step->command` was applied. The view's map is of the result's version or later; the step is spent. What another status than
// OMEN_OK leaves in *error says what is there now.
OMEN_MUST_CHECK omen_status admin_finish(const struct admin_view *view,
                                         const struct admin_call *call, struct admin_step *step,
                                         const struct command_result *result, struct encode *answer,
                                         struct omen_error *error);

// The key that a client says ("name.secret"). OMEN_E_AUTH and a sentence that does not tell a wrong name from a wrong secret.
OMEN_MUST_CHECK omen_status admin_key(const struct map *map, struct wire_text text,
                                      uint64_t wall_ms, const struct api_key **key,
                                      struct omen_error *error);
// Whether a key's glob lets through this name of a collection.
bool admin_key_opens(const struct map_name *glob, struct wire_text collection);

#endif
