// router/routes_map.h -- a routing table out of a published map.
//
// Shape: value.
#ifndef OMEN_ROUTER_ROUTES_MAP_H
#define OMEN_ROUTER_ROUTES_MAP_H
#include "cluster/map.h"
#include "router/routes.h"

// Takes the shards that are routed, in the order that the map has already, with their copies in sync; those of `zone` are near.
// On success *out is sealed, and the caller ends it with routes_fini; otherwise there is nothing to end.
OMEN_MUST_CHECK omen_status routes_of_map(const struct map *published, const struct map_name *zone,
                                          struct routes *out);

#endif
