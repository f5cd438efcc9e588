// cluster/rebalance_int.h -- the parts of a plan; private to cluster/.
//
// Shape: value over the machine's state.
#ifndef OMEN_CLUSTER_REBALANCE_INT_H
#define OMEN_CLUSTER_REBALANCE_INT_H
#include "cluster/rebalance.h"

// One step of planning: what it looks at and what it fills.
struct plan {
    struct rebalance *state;
    const struct rebalance_input *input;
    const struct map *map;
    struct rebalance_output *output;
    bool full; // steps were left out
};

// A shard as the planner sees it. `stays` means: on a node that stays, and not leaving.
struct outlook {
    const struct map_shard *shard;
    uint32_t index; // in the map
    uint32_t replication;
    uint32_t units;
    uint32_t staying;      // copies that stay, in sync or not
    uint32_t safe;         // of these, in sync on a living node
    uint32_t on_their_way; // of these, not in sync
    uint32_t leaving;      // copies that do not stay
};

void plan_promotions(struct plan *plan);
void plan_leaving(struct plan *plan);
void plan_tidy(struct plan *plan);
void plan_repair(struct plan *plan);
void plan_moves(struct plan *plan);
void plan_primaries(struct plan *plan);
void plan_splits(struct plan *plan);

struct outlook plan_look(const struct plan *plan, uint32_t index);
bool plan_is_touched(const struct plan *plan, uint32_t index);
void plan_touch(struct plan *plan, uint32_t index);

// The row of a node in the tables; every replica's node has one.
uint32_t plan_row(const struct plan *plan, uint32_t node);
bool plan_stays(const struct plan *plan, const struct map_replica *replica);
bool plan_is_alive(const struct plan *plan, const struct map_replica *replica);

// The rows of the copies that stay, but for `but`.
uint32_t plan_members(const struct plan *plan, const struct map_shard *shard,
                      const struct map_replica *but, uint32_t *rows);

// Puts a step at the end, for the shard's present cfg_ver and `later` more, and touches the shard. False: no room.
bool plan_add(struct plan *plan, uint32_t index, struct shard_step step, uint32_t later);
void plan_note(struct plan *plan, enum rebalance_note note);

#endif
