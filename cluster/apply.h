// cluster/apply.h -- the metadata state machine: a committed command changes the map.
//
// Shape:   value over the map.
// Threads: the map's owner.
//
// Total and deterministic: the same map, position and bytes give the same map and the same answer on every node, and no bytes
// stop it. Nothing in here knows a clock, a random number, or how well a node is.
//
//      the states of a shard                               by (cluster/apply_shard.c, apply_split.c)
//
//      CREATING --born of the last pending one--> OPEN     shard_open
//      OPEN --split--> SPLITTING                           step_split: makes two of CHILD
//      SPLITTING --abort--> OPEN                           step_abort: they go
//      SPLITTING --cut--> RETIRED                          step_cut: they are OPEN
//      RETIRED --purge--> (no row)                         step_purge
//
//      the roles of a replica in it
//
//      (none) --assign, move--> PENDING --born--> LEARNER --add--> IN_SYNC      (CREATING: born makes it IN_SYNC)
//      IN_SYNC --remove; promote of another--> LEARNER
//      any --drop, lost; force of another--> (none)
//
//      the states of a node                                by (cluster/apply_node.c)
//
//      JOINING --> UP <--> DRAINING --> GONE --> (no row)  apply_node_state, apply_node_forget; JOINING may go, too
#ifndef OMEN_CLUSTER_APPLY_H
#define OMEN_CLUSTER_APPLY_H
#include "cluster/command.h"

// OMEN_OK: it was applied, and result->status says how it went. OMEN_E_NO_MEMORY: nothing was done, not even counted; the caller
// gives the same entry again when there is memory, and applies nothing else before. Positions grow: an entry at or
// below map->position was applied before, and is answered with OMEN_E_EXISTS and no change. An entry that is no
// command of ours (count 0, as raft's own) is applied as none.
OMEN_MUST_CHECK omen_status cluster_apply(struct map *map, uint64_t position, const void *bytes,
                                          size_t count, struct command_result *result);

// What the command of this op_id was answered; false: the map knows of none. Of a published map as well, so that who is asked for the same
// again says what came of it, and proposes nothing.
bool cluster_answered(const struct map *map, struct cluster_uuid op, struct command_result *result);

#endif
