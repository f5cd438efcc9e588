// node/clients.h -- the loop of a node's clients: requests about points go to the front, those about the map to node/admin.
//
// Shape:   shell. Decides nothing: router/front and node/admin do.
// Threads: a loop of its own, whose guests are the threads that read requests and those that searched (base/os_loop.h). clients_request,
//          clients_gone, clients_frame, clients_down and clients_near from any thread; clients_requested and clients_nears from any that holds no lock;
//          the others in the owner's.
//
//      a request about points ---> router/front --PEER_PART--> a copy's node, or this one (config.part) --PEER_REPLY--> front ---> answer
//      a request about the map --> admin_start on the newest map ---> answer; or
//                                    a command: proposed here, where this node leads the metadata; else as PEER_PART with shard 0 to
//                                    who does, which does the same and replies. Answered when the map that has it is here. Asked again,
//                                    as the same operation, when another leads, the lane is lost, or no answer comes (node/led.h)
//                                    copies are asked: PEER_PART to each, and what they say together
//
// An admin request has a deadline like any other; when it passes before an answer came, nobody knows whether the command was applied.
#ifndef OMEN_NODE_CLIENTS_H
#define OMEN_NODE_CLIENTS_H
#include "base/metrics.h"
#include "cluster/rebalance.h"
#include "node/admin.h"
#include "node/config.h"
#include "node/disk.h"
#include "node/meta.h"
#include "router/fanout.h"
#include "wire/bus.h"
#include "wire/rpc_server.h"

#define CLIENTS_CALLS_MAX 1024u // about the map, under way; one more is answered BUSY

struct clients; // opaque
struct hosts;   // node/hosts.h
struct metrics; // node/metrics.h
struct near;    // node/near.h

struct clients_config {
    struct disk_identity identity;
    struct map_name zone;
    const struct rebalance_config *rebalance; // copied; as the leader's
    struct bus *bus;                          // borrowed until clients_close, as the rest
    struct meta *meta;
    struct node_clock *clock;  // that operations are drawn by; NULL: this node's wall
    struct metrics *metrics;   // what is counted on the way; NULL: nothing is
    uint64_t slow_ns;          // a request that takes longer is logged; UINT64_MAX: none is
    uint64_t build_wait_ns;    // that a build waits for a builder, before the copies build
    uint64_t build_require_ns; // that one waits for a builder with a GPU, before it has failed
    void *context;
    // A PEER_PART or PEER_CANCEL for a copy on this node. NULL: it has none.
    void (*part)(void *context, const struct peer_head *head, struct wire_bytes body);
    struct hosts *hosts; // whose copies are read without their loop. NULL: none are
    // The text of system.metrics. NULL: there is none.
    void (*text)(void *context, struct metrics_text *text);
};

OMEN_MUST_CHECK omen_status clients_open(const struct clients_config *config, struct clients **out,
                                         struct omen_error *error);
struct loop *clients_loop(struct clients *clients); // for meta_feed

// From the clients' port, as rpc_server.h has it.
void clients_request(struct clients *clients, struct rpc_conn *conn,
                     const struct rpc_request *request);
// Behind requests that were read together. helps: it may serve one of them before it returns.
void clients_requested(struct clients *clients, bool helps);
void clients_gone(struct clients *clients, struct rpc_conn *conn);

// PEER_REPLY, and PEER_PART where its shard is 0; copied.
void clients_frame(struct clients *clients, struct cluster_uuid from, uint64_t boot,
                   const struct peer_head *head, struct wire_bytes body);

// A lane to that node is gone. A hint.
void clients_down(struct clients *clients, struct cluster_uuid node);

// Of config.hosts: it is done. From any thread; taken.
void clients_near(struct clients *clients, struct near *near);
// The same of several, by a worker: what they answer may have left when it returns.
void clients_nears(struct clients *clients, struct near *const *nears, uint32_t count);

// What the loop shows, once a second and whenever map or members are new.
struct clients_seen {
    uint64_t at_ns; // os_clock_ns; 0: there is no map yet
    struct admin_seen map;
    struct fanout_counters fanout;
    uint32_t points_under_way, map_under_way; // requests
};

// From any thread, without waiting for the loop.
void clients_look(struct clients *clients, struct clients_seen *out);

// What is under way is answered by nobody any more.
void clients_stop(struct clients *clients);
void clients_close(struct clients *clients); // accepts NULL

#endif
