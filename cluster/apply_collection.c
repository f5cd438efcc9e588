// cluster/apply_collection.c -- commands about collections and their aliases.
//
// Shape: value.
//
// A new collection has shards without replicas: where they go is the rebalancer's to plan, so that no opinion about placement is
// part of what every version of the program must do alike.
#include <string.h>

#include "base/assert.h"
#include "base/bug.h"
#include "cluster/apply_int.h"

static uint64_t range_first(uint32_t i, uint32_t count);

uint8_t
map_min_insync_default(uint8_t replication)
{
    return replication <= 2 ? 1 : (uint8_t)(replication / 2 + 1);
}

omen_status
apply_collection_create(struct map *map, const struct command_collection *wanted, uint64_t *value)
{
    const uint8_t min_insync =
        wanted->min_insync > 0 ? wanted->min_insync : map_min_insync_default(wanted->replication);
    if (wanted->dimension == 0 || wanted->shards == 0 || min_insync > wanted->replication)
        return OMEN_E_INVALID;
    if (quotas_any(wanted->quotas) && !map_has(map, MAP_FEATURE_LIMITS))
        return OMEN_E_UNSUPPORTED;
    if (map_resolve(map, &wanted->name) != NULL)
        return OMEN_E_EXISTS;
    if (map->collection_count == MAP_COLLECTIONS_MAX ||
        map->shard_count + wanted->shards > MAP_SHARDS_MAX)
        return OMEN_E_FULL;
    ASSERT(map->collection_count < map->collection_room);
    struct map_collection *collection = &map->collections[map->collection_count++];
    *collection = (struct map_collection){
        .id = map->next_id++,
        .version = map->version + 1,
        .name = wanted->name,
        .dimension = wanted->dimension,
        .links_max = wanted->links_max,
        .build_beam = wanted->build_beam,
        .metric = wanted->metric,
        .dtype = wanted->dtype,
        .quantization = wanted->quantization,
        .replication = wanted->replication,
        .min_insync = min_insync,
        .id_kind = map_has(map, MAP_FEATURE_ID_KINDS) ? MAP_IDS_OPEN : MAP_IDS_UNKEPT};
    memcpy(collection->quotas, wanted->quotas, sizeof collection->quotas);
    for (uint32_t i = 0; i < wanted->shards; i++) {
        const uint64_t behind = i + 1 < wanted->shards ? range_first(i + 1, wanted->shards) : 0;
        struct map_shard *shard =
            map_shard_new(map, collection->id, range_first(i, wanted->shards), behind - 1);
        shard->min_insync = min_insync;
    }
    *value = collection->id;
    return OMEN_OK;
}

// floor(i * 2^64 / count), for i < count.
static uint64_t
range_first(uint32_t i, uint32_t count)
{
    __extension__ typedef unsigned __int128 wide;
    return (uint64_t)(((wide)i << 64) / count);
}

omen_status
apply_collection_alter(struct map *map, const struct command_alter *alter)
{
    struct map_collection *collection = map_collection_own(map, alter->collection);
    if (collection == NULL)
        return OMEN_E_NOT_FOUND;
    if (version_differs(alter->expected, collection->version))
        return OMEN_E_CONFLICT;
    const uint8_t min_insync =
        alter->min_insync > 0 ? alter->min_insync : map_min_insync_default(alter->replication);
    if (alter->replication == 0 || min_insync > alter->replication)
        return OMEN_E_INVALID;
    if (quotas_any(alter->quotas) && !map_has(map, MAP_FEATURE_LIMITS))
        return OMEN_E_UNSUPPORTED;
    memcpy(collection->quotas, alter->quotas, sizeof collection->quotas);
    collection->replication = alter->replication;
    collection->min_insync = min_insync;
    collection->version = map->version + 1;
    for (uint32_t i = 0; i < map->shard_count; i++) {
        struct map_shard *shard = &map->shards[i];
        if (shard->collection != collection->id || shard->min_insync == min_insync)
            continue;
        shard->min_insync = min_insync;
        shard_open_when_born(map, shard);
        shard->cfg_ver++;
        shard->version = map->version + 1;
    }
    return OMEN_OK;
}

omen_status
apply_collection_drop(struct map *map, const struct command_alter *alter)
{
    struct map_collection *collection = map_collection_own(map, alter->collection);
    if (collection == NULL)
        return OMEN_E_NOT_FOUND;
    if (version_differs(alter->expected, collection->version))
        return OMEN_E_CONFLICT;
    uint32_t kept = 0; // one pass over each array: a collection may have most of the shards
    for (uint32_t i = 0; i < map->shard_count; i++)
        if (map->shards[i].collection != alter->collection)
            map->shards[kept++] = map->shards[i];
    map->shard_count = kept;
    kept = 0;
    for (uint32_t i = 0; i < map->job_count; i++)
        if (map_shard(map, map->jobs[i].shard) != NULL)
            map->jobs[kept++] = map->jobs[i];
    map->job_count = kept;
    kept = 0;
    for (uint32_t i = 0; i < map->alias_count; i++)
        if (map->aliases[i].collection != alter->collection)
            map->aliases[kept++] = map->aliases[i];
    map->alias_count = kept;
    rows_remove(map->collections, &map->collection_count, sizeof *map->collections,
                (uint32_t)(collection - map->collections));
    return OMEN_OK;
}

// ---- kinds of ids ----

omen_status
apply_collection_ids(struct map *map, const struct command_ids *ids)
{
    struct map_collection *collection = map_collection_own(map, ids->collection);
    if (collection == NULL)
        return OMEN_E_NOT_FOUND;
    if (collection->id_kind == MAP_IDS_UNKEPT)
        return OMEN_E_UNSUPPORTED;
    if (collection->id_kind != MAP_IDS_OPEN && !bug(BUG_CLAIM_TWICE))
        return collection->id_kind == ids->kind ? OMEN_E_EXISTS : OMEN_E_ID_KIND;
    collection->id_kind = ids->kind;
    collection->version = map->version + 1;
    return OMEN_OK;
}

// ---- aliases ----

// What one change adds to the number of aliases; OMEN_OK when it may be done.
static omen_status
alias_check(const struct map *map, const struct command_aliases *aliases, uint32_t at,
            int32_t *growth)
{
    const struct alias_change *change = &aliases->changes[at];
    for (uint32_t i = 0; i < at; i++)
        if (map_name_compare(&aliases->changes[i].name, &change->name) == 0)
            return OMEN_E_INVALID;
    const struct map_alias *alias = map_alias(map, &change->name);
    const uint64_t now = alias != NULL ? alias->collection : 0;
    if (version_differs(change->expected, now))
        return OMEN_E_CONFLICT;
    if (change->collection == 0)
        return alias == NULL ? OMEN_E_NOT_FOUND : (*growth -= 1, OMEN_OK);
    if (map_collection(map, change->collection) == NULL)
        return OMEN_E_NOT_FOUND;
    if (map_collection_named(map, &change->name) != NULL)
        return OMEN_E_EXISTS;
    *growth += alias == NULL;
    return OMEN_OK;
}

omen_status
apply_aliases(struct map *map, const struct command_aliases *aliases)
{
    int32_t growth = 0;
    for (uint32_t i = 0; i < aliases->count; i++) {
        const omen_status status = alias_check(map, aliases, i, &growth);
        if (status != OMEN_OK)
            return status;
    }
    if (aliases->count == 0)
        return OMEN_E_INVALID;
    if ((int64_t)map->alias_count + growth > MAP_ALIASES_MAX)
        return OMEN_E_FULL;
    for (uint32_t i = 0; i < aliases->count; i++) {
        const struct alias_change *change = &aliases->changes[i];
        const uint32_t at =
            rows_at_name(map->aliases, map->alias_count, sizeof *map->aliases, &change->name);
        struct map_alias *alias = (struct map_alias *)map_alias(map, &change->name);
        if (change->collection == 0) {
            rows_remove(map->aliases, &map->alias_count, sizeof *map->aliases, at);
            continue;
        }
        if (alias == NULL)
            alias = rows_insert(map->aliases, &map->alias_count, sizeof *map->aliases, at);
        *alias = (struct map_alias){change->name, change->collection, map->version + 1};
    }
    return OMEN_OK;
}
