// cluster/map.c -- the map's arrays: finding rows, making room, publishing a copy.
//
// Shape: value.
#include "cluster/map.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "cluster/map_int.h"
#include "cluster/session_int.h"

#define ROOM_FIRST 16u
#define BLOCK_ALIGNMENT 16u

static omen_status grow(void **rows, uint32_t *room, uint32_t need, size_t row_bytes);
static void map_index_routes(struct map *map);
static int route_compare(const void *a, const void *b, void *context);

void
map_init(struct map *map)
{
    *map = (struct map){.next_id = 1, .next_node = 1};
    map->leases = (struct lease_settings){.profile = LEASE_LAN, .previous = LEASE_LAN};
}

void
map_fini(struct map *map)
{
    mem_free(map->nodes);
    mem_free(map->collections);
    mem_free(map->aliases);
    mem_free(map->shards);
    mem_free(map->jobs);
    mem_free(map->keys);
    mem_free(map->settings);
    mem_free(map->sessions);
    *map = (struct map){0};
}

#define GROW(rows, count, room, more)                                                              \
    if (status == OMEN_OK)                                                                         \
    status = grow((void **)&map->rows, &map->room, map->count + (more), sizeof *map->rows)

omen_status
map_reserve(struct map *map, const struct map_room *more)
{
    omen_status status = OMEN_OK;
    GROW(nodes, node_count, node_room, more->nodes);
    GROW(collections, collection_count, collection_room, more->collections);
    GROW(aliases, alias_count, alias_room, more->aliases);
    GROW(shards, shard_count, shard_room, more->shards);
    GROW(jobs, job_count, job_room, more->jobs);
    GROW(keys, key_count, key_room, more->keys);
    GROW(settings, setting_count, setting_room, more->settings);
    GROW(sessions, session_count, session_room, more->sessions);
    return status;
}

// Counts are bounded by the limits of map.h, so that no product overflows.
static omen_status
grow(void **rows, uint32_t *room, uint32_t need, size_t row_bytes)
{
    if (need <= *room)
        return OMEN_OK;
    uint32_t wanted = *room == 0 ? ROOM_FIRST : *room * 2;
    if (wanted < need)
        wanted = need;
    void *moved = mem_resize(*rows, wanted * row_bytes);
    if (moved == NULL)
        return OMEN_E_NO_MEMORY;
    *rows = moved;
    *room = wanted;
    return OMEN_OK;
}

// ---- publishing ----

struct block {
    uint8_t *bytes; // NULL while it is only measured
    size_t at;
};

static void *
take(struct block *block, const void *rows, size_t bytes)
{
    uint8_t *copy = block->bytes == NULL ? NULL : block->bytes + block->at;
    if (copy != NULL && rows != NULL)
        memcpy(copy, rows, bytes);
    block->at += (bytes + BLOCK_ALIGNMENT - 1) / BLOCK_ALIGNMENT * BLOCK_ALIGNMENT;
    return copy;
}

#define TAKE(rows, count, room)                                                                    \
    copy->rows = take(block, map->rows, map->count * sizeof *map->rows);                           \
    copy->room = map->count

static struct map *
copy_into(struct block *block, const struct map *map, struct map *measured)
{
    struct map *copy = take(block, map, sizeof *map);
    if (copy == NULL)
        copy = measured;
    TAKE(nodes, node_count, node_room);
    TAKE(collections, collection_count, collection_room);
    TAKE(aliases, alias_count, alias_room);
    TAKE(shards, shard_count, shard_room);
    TAKE(jobs, job_count, job_room);
    TAKE(keys, key_count, key_room);
    TAKE(settings, setting_count, setting_room);
    TAKE(sessions, session_count, session_room);
    copy->routes = take(block, NULL, map->shard_count * sizeof *map->routes);
    return copy;
}

omen_status
map_publish(const struct map *map, const struct map **out)
{
    *out = NULL;
    struct map measured;
    struct block block = {0};
    copy_into(&block, map, &measured);
    block.bytes = mem_alloc(block.at);
    if (block.bytes == NULL)
        return OMEN_E_NO_MEMORY;
    block.at = 0;
    struct map *copy = copy_into(&block, map, &measured);
    map_index_routes(copy);
    *out = copy;
    return OMEN_OK;
}

void
map_publish_end(const struct map *published)
{
    mem_free((void *)published); // the block begins with it
}

// Makes the index of a map whose arrays are complete.
static void
map_index_routes(struct map *map)
{
    map->route_count = 0;
    for (uint32_t i = 0; i < map->shard_count; i++)
        if (shard_is_routed(&map->shards[i]))
            map->routes[map->route_count++] = i;
    if (map->route_count > 0)
        qsort_r(map->routes, map->route_count, sizeof *map->routes, route_compare, map);
}

static int
route_compare(const void *a, const void *b, void *context)
{
    const struct map *map = context;
    const struct map_shard *left = &map->shards[*(const uint32_t *)a];
    const struct map_shard *right = &map->shards[*(const uint32_t *)b];
    if (left->collection != right->collection)
        return left->collection < right->collection ? -1 : 1;
    return left->first < right->first ? -1 : left->first > right->first;
}

const struct map_shard *
map_route(const struct map *published, uint64_t collection, uint64_t hash)
{
    uint32_t low = 0, high = published->route_count; // the first that begins behind the hash
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const struct map_shard *shard = &published->shards[published->routes[middle]];
        const bool behind =
            shard->collection != collection ? shard->collection > collection : shard->first > hash;
        if (behind)
            high = middle;
        else
            low = middle + 1;
    }
    if (low == 0)
        return NULL;
    const struct map_shard *shard = &published->shards[published->routes[low - 1]];
    return shard->collection == collection && hash <= shard->last ? shard : NULL;
}

// ---- rows ----

uint32_t
rows_at_id(const void *rows, uint32_t count, size_t row_bytes, uint64_t key)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        uint64_t id;
        memcpy(&id, (const uint8_t *)rows + middle * row_bytes, sizeof id);
        if (id < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint32_t
rows_at_name(const void *rows, uint32_t count, size_t row_bytes, const struct map_name *key)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const void *name = (const uint8_t *)rows + middle * row_bytes;
        if (map_name_compare(name, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void *
rows_insert(void *rows, uint32_t *count, size_t row_bytes, uint32_t at)
{
    ASSERT(at <= *count);
    uint8_t *gap = (uint8_t *)rows + at * row_bytes;
    memmove(gap + row_bytes, gap, (*count - at) * row_bytes);
    memset(gap, 0, row_bytes);
    (*count)++;
    return gap;
}

void
rows_remove(void *rows, uint32_t *count, size_t row_bytes, uint32_t at)
{
    ASSERT(at < *count);
    uint8_t *gap = (uint8_t *)rows + at * row_bytes;
    (*count)--;
    memmove(gap, gap + row_bytes, (*count - at) * row_bytes);
}
