// node/events.h -- what has happened in the cluster, as this node has seen it: the last EVENTS_MAX things, numbered from 1.
//
// Shape:   value; about 300 KiB. Numbers are this node's own, and begin anew when it starts.
// Threads: one at a time.
//
// Events are read off two states, one after the other: the map before and after, gossip's members before and after. What came and went
// in between two looks is not told.
#ifndef OMEN_NODE_EVENTS_H
#define OMEN_NODE_EVENTS_H
#include "cluster/map.h"
#include "gossip/gossip_msg.h"

#define EVENTS_MAX 1024u

struct event {
    uint64_t number, time_ms;
    const char *kind;           // static: "node-up"
    struct cluster_uuid node;   // none: it is not about one
    uint64_t shard;             // 0: it is not about one
    struct map_name collection; // count 0: it is not about one
    char text[96];
};

struct event_ring {
    uint64_t count; // ever; the last EVENTS_MAX are kept
    struct event events[EVENTS_MAX];
};

void events_init(struct event_ring *ring);
// NULL for `before`: nothing is known yet, and nothing is told.
void events_of_map(struct event_ring *ring, uint64_t time_ms, const struct map *before,
                   const struct map *after);
struct event_members {
    const struct gossip_claim *members;
    uint32_t count;
};
void events_of_members(struct event_ring *ring, uint64_t time_ms, struct event_members before,
                       struct event_members after);

// The first with a number above `after` that is still there; NULL: none.
const struct event *event_after(const struct event_ring *ring, uint64_t after);

#endif
