// cluster/map_find.c -- finding and changing single rows of the map.
//
// Shape: value.
#include <string.h>

#include "base/assert.h"
#include "cluster/map_int.h"

static const struct lease_times lease_profiles[] = {
    [LEASE_LAN] = {.lease_ms = 3000, .renew_ms = 500, .guard_ms = 3600, .shrink_ms = 2000},
    [LEASE_FAST] = {.lease_ms = 1000, .renew_ms = 200, .guard_ms = 1200, .shrink_ms = 500},
};

bool
map_name_is_valid(const struct map_name *name)
{
    if (name->count == 0 || name->count > MAP_NAME_BYTES_MAX)
        return false;
    for (uint32_t i = 0; i < MAP_NAME_BYTES_MAX; i++) {
        const char c = name->bytes[i];
        const bool allowed = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                             (c >= '0' && c <= '9') || c == '_' || c == '-';
        if (i < name->count ? !allowed : c != 0)
            return false;
    }
    return true;
}

bool
map_name_set(struct map_name *name, const char *bytes, size_t count)
{
    *name = (struct map_name){0};
    if (count > MAP_NAME_BYTES_MAX)
        return false;
    name->count = (uint8_t)count;
    memcpy(name->bytes, bytes, count);
    return map_name_is_valid(name);
}

// The zeros behind a name make a shorter one come first.
int
map_name_compare(const struct map_name *a, const struct map_name *b)
{
    return memcmp(a->bytes, b->bytes, MAP_NAME_BYTES_MAX);
}

struct map_node *
map_node_own(struct map *map, uint32_t number)
{
    uint32_t low = 0, high = map->node_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (map->nodes[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < map->node_count && map->nodes[low].number == number ? &map->nodes[low] : NULL;
}

const struct map_node *
map_node(const struct map *map, uint32_t number)
{
    return map_node_own((struct map *)map, number);
}

const struct map_node *
map_node_by_uuid(const struct map *map, struct cluster_uuid uuid)
{
    for (uint32_t i = 0; i < map->node_count; i++)
        if (uuid_equal(map->nodes[i].uuid, uuid))
            return &map->nodes[i];
    return NULL;
}

struct map_collection *
map_collection_own(struct map *map, uint64_t id)
{
    const uint32_t at =
        rows_at_id(map->collections, map->collection_count, sizeof *map->collections, id);
    return at < map->collection_count && map->collections[at].id == id ? &map->collections[at]
                                                                       : NULL;
}

const struct map_collection *
map_collection(const struct map *map, uint64_t id)
{
    return map_collection_own((struct map *)map, id);
}

const struct map_collection *
map_collection_named(const struct map *map, const struct map_name *name)
{
    for (uint32_t i = 0; i < map->collection_count; i++)
        if (map_name_compare(&map->collections[i].name, name) == 0)
            return &map->collections[i];
    return NULL;
}

const struct map_alias *
map_alias(const struct map *map, const struct map_name *name)
{
    const uint32_t at = rows_at_name(map->aliases, map->alias_count, sizeof *map->aliases, name);
    const bool found = at < map->alias_count && map_name_compare(&map->aliases[at].name, name) == 0;
    return found ? &map->aliases[at] : NULL;
}

const struct map_collection *
map_resolve(const struct map *map, const struct map_name *name)
{
    const struct map_alias *alias = map_alias(map, name);
    return alias != NULL ? map_collection(map, alias->collection) : map_collection_named(map, name);
}

const struct api_key *
map_key(const struct map *map, const struct map_name *name)
{
    const uint32_t at = rows_at_name(map->keys, map->key_count, sizeof *map->keys, name);
    const bool found = at < map->key_count && map_name_compare(&map->keys[at].name, name) == 0;
    return found ? &map->keys[at] : NULL;
}

const struct setting *
map_setting(const struct map *map, const struct map_name *name)
{
    const uint32_t at =
        rows_at_name(map->settings, map->setting_count, sizeof *map->settings, name);
    const bool found =
        at < map->setting_count && map_name_compare(&map->settings[at].name, name) == 0;
    return found ? &map->settings[at] : NULL;
}

struct job *
map_job_own(struct map *map, uint64_t id)
{
    const uint32_t at = rows_at_id(map->jobs, map->job_count, sizeof *map->jobs, id);
    return at < map->job_count && map->jobs[at].id == id ? &map->jobs[at] : NULL;
}

const struct job *
map_job(const struct map *map, uint64_t id)
{
    return map_job_own((struct map *)map, id);
}

struct lease_times
map_lease_times(const struct map *map)
{
    struct lease_times times = lease_profiles[map->leases.profile];
    const struct lease_times *before = &lease_profiles[map->leases.previous];
    if (before->guard_ms > times.guard_ms)
        times.guard_ms = before->guard_ms;
    return times;
}

// ---- shards ----

struct map_shard *
map_shard_own(struct map *map, uint64_t id)
{
    const uint32_t at = rows_at_id(map->shards, map->shard_count, sizeof *map->shards, id);
    return at < map->shard_count && map->shards[at].id == id ? &map->shards[at] : NULL;
}

const struct map_shard *
map_shard(const struct map *map, uint64_t id)
{
    return map_shard_own((struct map *)map, id);
}

struct map_shard *
map_shard_new(struct map *map, uint64_t collection, uint64_t first, uint64_t last)
{
    ASSERT(map->shard_count < map->shard_room);
    struct map_shard *shard = &map->shards[map->shard_count++];
    *shard = (struct map_shard){.id = map->next_id++,
                                .collection = collection,
                                .first = first,
                                .last = last,
                                .version = map->version + 1,
                                .cfg_ver = 1,
                                .status = SHARD_CREATING};
    return shard;
}

void
map_shard_remove(struct map *map, uint64_t id)
{
    const uint32_t at = rows_at_id(map->shards, map->shard_count, sizeof *map->shards, id);
    ASSERT(at < map->shard_count && map->shards[at].id == id);
    rows_remove(map->shards, &map->shard_count, sizeof *map->shards, at);
    for (uint32_t i = map->job_count; i-- > 0;)
        if (map->jobs[i].shard == id)
            rows_remove(map->jobs, &map->job_count, sizeof *map->jobs, i);
}

const struct map_replica *
shard_replica(const struct map_shard *shard, struct cluster_uuid uuid)
{
    return shard_replica_own((struct map_shard *)shard, uuid);
}

struct map_replica *
shard_replica_own(struct map_shard *shard, struct cluster_uuid uuid)
{
    for (uint32_t i = 0; i < shard->replica_count; i++)
        if (uuid_equal(shard->replicas[i].uuid, uuid) && !uuid_is_none(uuid))
            return &shard->replicas[i];
    return NULL;
}

const struct map_replica *
shard_replica_on(const struct map_shard *shard, uint32_t node)
{
    return shard_replica_on_own((struct map_shard *)shard, node);
}

struct map_replica *
shard_replica_on_own(struct map_shard *shard, uint32_t node)
{
    for (uint32_t i = 0; i < shard->replica_count; i++)
        if (shard->replicas[i].node == node)
            return &shard->replicas[i];
    return NULL;
}

uint32_t
shard_in_sync(const struct map_shard *shard)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < shard->replica_count; i++)
        count += shard->replicas[i].role == MAP_REPLICA_IN_SYNC;
    return count;
}

void
shard_replica_remove(struct map_shard *shard, struct map_replica *replica)
{
    const uint32_t at = (uint32_t)(replica - shard->replicas);
    ASSERT(at < shard->replica_count);
    shard->replica_count--;
    memmove(replica, replica + 1, (shard->replica_count - at) * sizeof *replica);
    shard->replicas[shard->replica_count] = (struct map_replica){0};
}

bool
map_node_is_used(const struct map *map, uint32_t number)
{
    for (uint32_t i = 0; i < map->shard_count; i++)
        if (shard_replica_on(&map->shards[i], number) != NULL)
            return true;
    return false;
}
