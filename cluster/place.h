// cluster/place.h -- which node shall hold one more copy of a shard.
//
// Shape: value. Fixed point, so that every machine answers alike.
//
// First the disks: one that is low gets nothing where another can. Then the zones: a copy goes where the fewest copies of its shard are. Then the fill: to the node which is least full for its
// weight once it has the copy. Then weighted rendezvous: among equals each node draws a number from the shard's and its
// own name, and the lowest wins, in proportion to the weights. So what is empty is spread by rendezvous alone (a node
// that comes or goes changes the answer for its own share only), and what is full is levelled.
#ifndef OMEN_CLUSTER_PLACE_H
#define OMEN_CLUSTER_PLACE_H
#include <stdbool.h>
#include <stdint.h>

#include "cluster/uuid.h"

#define PLACE_NONE UINT32_MAX
#define PLACE_UNITS_MAX 65536u // of one copy

struct place_node {
    uint64_t key;    // place_key of its uuid
    uint64_t load;   // in units of a copy's size
    uint32_t number; // the caller's
    uint16_t zone;   // equal numbers, one zone
    uint16_t weight; // >= 1
    bool eligible;   // may get a copy
    bool disk_low;   // but only where no other may
};

struct place_query {
    uint64_t shard;
    const uint32_t *members; // rows of nodes that have a copy already
    uint32_t member_count;
    uint32_t units;           // that the copy will add
    const uint32_t *excluded; // rows that cannot have it, and whose zones do not count
    uint32_t excluded_count;
};

uint64_t place_key(struct cluster_uuid uuid);

// The row of the node, or PLACE_NONE.
uint32_t place_pick(const struct place_node *nodes, uint32_t count,
                    const struct place_query *query);

// How full a node is with so many units more, in 2^-16 of a unit for one of weight.
uint64_t place_fill(const struct place_node *node, uint32_t units);

// What the node draws for the shard: exponential with rate `weight`, in 2^-32.
uint64_t place_draw(uint64_t shard, uint64_t key, uint16_t weight);

#endif
