// cluster/apply_int.h -- one function a command; private to cluster/.
//
// Shape: value.
//
// Each checks everything, then changes everything: a status other than OMEN_OK means that nothing was changed. Rows that were
// changed carry `map->version + 1`, which is the map's version when the command is through.
#ifndef OMEN_CLUSTER_APPLY_INT_H
#define OMEN_CLUSTER_APPLY_INT_H
#include "cluster/command.h"
#include "cluster/map_int.h"

static inline bool
version_differs(uint64_t expected, uint64_t version)
{
    return expected != VERSION_ANY && expected != version;
}

omen_status apply_node_register(struct map *map, const struct command_node *node, uint64_t *value);
omen_status apply_node_state(struct map *map, const struct command_node_state *change);
omen_status apply_node_forget(struct map *map, const struct command_node_state *change);
omen_status apply_features(struct map *map, uint64_t features);
omen_status apply_lease_profile(struct map *map, const struct command_lease *lease);
omen_status apply_lease_settle(struct map *map, const struct command_lease *lease);

omen_status apply_collection_create(struct map *map, const struct command_collection *wanted,
                                    uint64_t *value);
omen_status apply_collection_alter(struct map *map, const struct command_alter *alter);
omen_status apply_collection_drop(struct map *map, const struct command_alter *alter);
omen_status apply_collection_ids(struct map *map, const struct command_ids *ids);
omen_status apply_aliases(struct map *map, const struct command_aliases *aliases);

omen_status apply_job(struct map *map, const struct command *command, uint64_t *value);
// The map's clock is about to be set: what runs keeps as much of its lease as it had left.
void jobs_shift(struct map *map, uint64_t clock_ms);
omen_status apply_key_put(struct map *map, const struct command_key *key);
omen_status apply_key_drop(struct map *map, const struct command_key *key);
omen_status apply_setting_put(struct map *map, const struct command_setting *setting);
omen_status apply_setting_drop(struct map *map, const struct command_setting *setting);

// One step, by the cfg_ver that it saw.
omen_status apply_step(struct map *map, const struct shard_step *step, uint64_t *value);

// Begins a new term of a shard, with this member as its primary.
void shard_begin_term(const struct map *map, struct map_shard *shard, struct cluster_uuid primary);

// Opens a shard that is being created when all of its copies are there and they are enough.
void shard_open_when_born(const struct map *map, struct map_shard *shard);

// apply_split.c. `shard` is the one that the step names; it may move or go.
omen_status step_split(struct map *map, struct map_shard *shard, const struct shard_step *step,
                       uint64_t *value);
omen_status step_cut(struct map *map, struct map_shard *shard, const struct shard_step *step);
omen_status step_abort(struct map *map, struct map_shard *shard);
omen_status step_purge(struct map *map, struct map_shard *shard);

#endif
