// router/routes_map.c -- what a router needs of the cluster's map: routed shards, and their copies in sync.
//
// Shape: value.
#include "router/routes_map.h"

#include "base/assert.h"

_Static_assert(ROUTES_MAX == MAP_SHARDS_MAX, "every shard has a row");
_Static_assert(ROUTES_NODES_MAX == MAP_NODES_MAX, "every node can hold a copy");
_Static_assert(ROUTE_COPIES_MAX == SHARD_REPLICAS_MAX, "every member can be in sync");

static struct route
row_of(const struct map *map, const struct map_shard *shard, const struct map_name *zone)
{
    struct route row = {.collection = shard->collection,
                        .shard = shard->id,
                        .parent = shard->parent,
                        .first = shard->first,
                        .last = shard->last,
                        .term = shard->term,
                        .cfg_ver = shard->cfg_ver,
                        .primary = ROUTE_NONE};
    for (uint32_t i = 0; i < shard->replica_count; i++) {
        const struct map_replica *replica = &shard->replicas[i];
        const struct map_node *node = map_node(map, replica->node);
        if (replica->role != MAP_REPLICA_IN_SYNC || node == NULL)
            continue;
        if (uuid_equal(replica->uuid, shard->primary))
            row.primary = row.copy_count;
        row.copies[row.copy_count++] =
            (struct route_copy){.high = replica->uuid.high,
                                .low = replica->uuid.low,
                                .node = replica->node,
                                .near = map_name_compare(&node->zone, zone) == 0};
    }
    return row;
}

omen_status
routes_of_map(const struct map *published, const struct map_name *zone, struct routes *out)
{
    ASSERT(published->routes != NULL);
    routes_init(out, published->version);
    omen_status status = OMEN_OK;
    for (uint32_t i = 0; i < published->route_count && status == OMEN_OK; i++) {
        const struct route row = row_of(published, &published->shards[published->routes[i]], zone);
        status = routes_add(out, &row);
    }
    if (status == OMEN_OK)
        status = routes_seal(out);
    if (status != OMEN_OK)
        routes_fini(out);
    return status;
}
