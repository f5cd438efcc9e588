// cluster/snapshot.h -- the whole map as bytes: what a node that is far behind loads instead of the log.
//
// Shape:  value.
// Format: a version, the scalars, each array with its count, a checksum; integers as in cluster/codec_int.h.
#ifndef OMEN_CLUSTER_SNAPSHOT_H
#define OMEN_CLUSTER_SNAPSHOT_H
#include "cluster/map.h"

size_t snapshot_bytes(const struct map *map); // that snapshot_encode writes

// `capacity` must be at least snapshot_bytes(map). Sessions are in it; so is the position.
void snapshot_encode(const struct map *map, uint8_t *bytes, size_t capacity);

// Any bytes. On success the caller owns *map and ends it with map_fini; it encodes to the same bytes again. OMEN_E_VERSION: made by
// a newer program; OMEN_E_CORRUPT: damaged, or not a map (map_verify); OMEN_E_NO_MEMORY. *map is empty then.
OMEN_MUST_CHECK omen_status snapshot_decode(const void *bytes, size_t count, struct map *map);

#endif
