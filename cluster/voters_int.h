// cluster/voters_int.h -- the two halves of a look at who votes; private to cluster/.
//
// Shape: value over the machine's state.
#ifndef OMEN_CLUSTER_VOTERS_INT_H
#define OMEN_CLUSTER_VOTERS_INT_H
#include "cluster/voters.h"

// The first change that there is to make of the group that the rows describe, if any.
void voters_plan(struct voters *voters, const struct voters_input *input,
                 struct voters_output *output);

// The zone's number; VOTERS_MEMBERS_MAX where it is none of the members' and there is no room to remember it.
uint32_t voters_zone(struct voters *voters, const struct map_name *zone);

// What the map says of a node, or what it says itself where the map does not have it.
struct voters_place {
    const struct map_name *zone; // of the map or of the node
    bool stays;                  // it may be a member
    bool may;                    // it may vote
    bool leaves;                 // it holds nothing any more, and is not to
};
struct voters_place voters_place(const struct voters_input *input, const struct voters_node *node);

#endif
