// node/seen.h -- a node as it is seen from outside: the text of its metrics, whether it lives, whether it serves.
//
// Shape:   shell. Asks every part of the node for what it shows; waits for none of them.
// Threads: any, after seen_begin; what its parts are must stay until nobody asks any more.
#ifndef OMEN_NODE_SEEN_H
#define OMEN_NODE_SEEN_H
#include "node/metrics.h"

struct seen {
    struct metrics counted;
    uint64_t begun_ns;
    _Atomic bool whole; // the rest is there
    struct disk *disk;
    struct bus *bus;
    struct rpc_server *rpc;
    struct meta *meta;
    struct hosts *hosts;
    struct clients *clients;
    struct build *build; // NULL: it is no builder
};

void seen_begin(struct seen *seen); // zeroed at first
void seen_text(struct seen *seen, struct metrics_text *text);

// Static; NULL: nothing keeps it from it. A node that has yet to find its cluster lives and does not serve.
const char *seen_not_live(struct seen *seen);
const char *seen_not_ready(struct seen *seen);

#endif
