// node/copies_int.h -- what the files of the held copies share.
//
// Shape: machine.
#ifndef OMEN_NODE_COPIES_INT_H
#define OMEN_NODE_COPIES_INT_H
#include "node/copies.h"

// copies_map.c
void copies_read_map(struct copies *copies, const struct map *map);
// What its replica is told of the row. False: nothing, nobody leads the shard.
bool copy_meta(const struct copy *copy, struct replica_meta *meta);
struct cluster_uuid copy_node_of(const struct copy *copy, struct replica_uuid uuid);
bool copy_is_pending(const struct copies *copies, const struct copy *copy);
bool copy_is_empty(const struct copy *copy);
void copies_expect_no_more(struct copies *copies); // after a lease
// Nodes that the failure detector holds for dead; and which members of a copy are on them, as bits.
void copies_hear(struct copies *copies, struct cluster_uuid node, bool dead);
void copies_hear_led(struct copies *copies); // somebody else leads the metadata
bool copies_is_dead(const struct copies *copies, struct cluster_uuid node);
uint16_t copy_members_dead(const struct copies *copies, const struct copy *copy);
bool copy_may_go(const struct copies *copies, const struct copy *copy);

#endif
