// cluster/map_int.h -- changing the map's arrays; private to cluster/.
//
// Shape: value.
//
// A row is found by its key, which is its first member: a u64, or a name. Rows are put in where the order wants them; room was
// made before (map_reserve), so that nothing here can fail.
#ifndef OMEN_CLUSTER_MAP_INT_H
#define OMEN_CLUSTER_MAP_INT_H
#include "cluster/map.h"

// The first row whose key is not below `key`.
uint32_t rows_at_id(const void *rows, uint32_t count, size_t row_bytes, uint64_t key);
uint32_t rows_at_name(const void *rows, uint32_t count, size_t row_bytes,
                      const struct map_name *key);

// Makes a gap of one row, zeroed, at `at`, or closes it.
void *rows_insert(void *rows, uint32_t *count, size_t row_bytes, uint32_t at);
void rows_remove(void *rows, uint32_t *count, size_t row_bytes, uint32_t at);

// As in map.h, for changing them.
struct map_node *map_node_own(struct map *map, uint32_t number);
struct map_collection *map_collection_own(struct map *map, uint64_t id);
struct map_shard *map_shard_own(struct map *map, uint64_t id);
struct job *map_job_own(struct map *map, uint64_t id);
struct map_replica *shard_replica_own(struct map_shard *shard, struct cluster_uuid uuid);
struct map_replica *shard_replica_on_own(struct map_shard *shard, uint32_t node);

// At the end of the shards: ids only grow.
struct map_shard *map_shard_new(struct map *map, uint64_t collection, uint64_t first,
                                uint64_t last);
void map_shard_remove(struct map *map, uint64_t id); // and its jobs
void shard_replica_remove(struct map_shard *shard, struct map_replica *replica);

// Whether a node holds, or is about to hold, a replica.
bool map_node_is_used(const struct map *map, uint32_t number);

#endif
