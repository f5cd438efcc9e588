// node/build.h -- the builder of a node that keeps no data: node/builder on a thread, with the map, the bus and a thread that builds.
//
// Shape:   shell. Decides nothing.
// Threads: calls from any; build_close when nobody calls any more.
// Memory:  of one shard at a time: its rows as they are compared (about a quarter of the vectors), what a build takes beside them
//          (docs/internals/bulk.md), and the graph.
//
//      meta --maps--> loop: builder --wishes--> meta
//                       |  ^
//        parts ~~> bus ~~> copies ~~> PEER_REPLY ~~> build_frame
//                       |  ^
//                       v  |
//                     the thread that builds, one at a time
#ifndef OMEN_NODE_BUILD_H
#define OMEN_NODE_BUILD_H
#include "node/meta.h"

struct build; // opaque

struct build_loop_config {
    struct cluster_uuid node;
    uint64_t boot;
    uint64_t features; // that its program knows
    uint8_t roles;
    uint32_t threads; // 1..THREADS_MAX
    struct bus *bus;  // borrowed until build_close, as meta
    struct meta *meta;
};

OMEN_MUST_CHECK omen_status build_open(const struct build_loop_config *config, struct build **out,
                                       struct omen_error *error);
struct loop *build_loop(struct build *build); // for meta_feed
// Whether a reply is to one of our parts: then it goes to build_frame, which copies it.
bool build_is_ours(struct wire_bytes body);
void build_frame(struct build *build, struct cluster_uuid from, uint64_t boot,
                 const struct peer_head *head, struct wire_bytes body);
// The loop ends, and what is built is given up.
void build_stop(struct build *build);
void build_close(struct build *build); // accepts NULL

struct build_stats {
    uint64_t jobs;   // that were taken
    uint64_t graphs; // that were made
    uint64_t rows;   // of them
    uint64_t failed; // jobs that came to nothing
};
struct build_stats build_stats(struct build *build);

#endif
