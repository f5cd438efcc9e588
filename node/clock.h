// node/clock.h -- the cluster's clock: of the clocks of this node and of those that it asks, the one in the middle.
//
// Shape:   value (the table); shell (what reads clocks).
// Threads: node_clock_ms and node_clock_look from any; clocks_* who owns the table.
// Units:   milliseconds since 1970. An offset is a wall less this node's monotonic clock, so that it stays right when walls jump.
//
// Ids of operations carry the time at which they were drawn, and a shard refuses what was drawn far ahead of its clock (base/opid.h). So
// whoever draws, and whoever judges, goes by one clock, which one wrong wall among three does not move. Of an even number it is the earlier
// one of the two in the middle, which is alike at all of them. Who has heard of nobody has its own wall.
#ifndef OMEN_NODE_CLOCK_H
#define OMEN_NODE_CLOCK_H
#include <stdatomic.h>
#include <stdint.h>

#include "base/os_lock.h"
#include "cluster/uuid.h"

#define CLOCKS_MAX 15u // of others; with more nodes than that, those that were heard last

struct clocks_row {
    struct cluster_uuid node;
    int64_t off_ms;
    uint64_t heard_ns;
};

struct clocks {
    struct clocks_row rows[CLOCKS_MAX];
    uint32_t count;
};

// The own offset is kept within these: then it is the middle one.
struct clocks_bounds {
    int64_t least_ms, most_ms; // INT64_MIN, INT64_MAX: it may be any
};

// Takes the place of what this node said before, or else, where there is no room, of who was heard longest ago.
void clocks_hear(struct clocks *clocks, const struct clocks_row *row);
void clocks_forget(struct clocks *clocks, uint32_t at);
// NULL: it was not heard.
const struct clocks_row *clocks_find(const struct clocks *clocks, struct cluster_uuid node);
struct clocks_bounds clocks_bounds(const struct clocks *clocks);

// What a node's threads share. Written by the metadata's loop.
struct node_clock {
    _Atomic int64_t least_ms, most_ms;
    struct lock lock;
    struct clocks heard; // under `lock`
};

void node_clock_init(struct node_clock *clock);
void node_clock_fini(struct node_clock *clock);
void node_clock_show(struct node_clock *clock, const struct clocks *heard);
// What others said last; off_ms is then how far each wall is ahead of the cluster's clock. Of NULL nobody's.
void node_clock_look(struct node_clock *clock, struct clocks *heard);

// The cluster's; of NULL this node's wall.
uint64_t node_clock_ms(const struct node_clock *clock);
int64_t
node_clock_ahead_ms(const struct node_clock *clock); // by how much this node's wall is ahead of it

#endif
