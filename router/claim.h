// router/claim.h -- whether a write may go to the shards, as the map has the kind of its collection's ids.
//
// Shape: value.
//
// A map can be wrong in one way only: it takes a kind that was decided for open. So what it refuses is refused, and where it says that
// the kind is open the cluster is asked before any shard hears of the write (COMMAND_COLLECTION_IDS).
#ifndef OMEN_ROUTER_CLAIM_H
#define OMEN_ROUTER_CLAIM_H
#include "cluster/map.h"

enum claim {
    CLAIM_GOES_ON,
    CLAIM_WAITS,   // for a map in which claim_is_decided; then it is judged again
    CLAIM_REFUSED, // the collection's ids are of the other kind
};

struct claim_write {
    uint8_t known; // enum map_id_kind: the collection's, as the map has it
    uint8_t given; // MAP_IDS_INTEGER or MAP_IDS_TEXT
    bool makes_points;
};

enum claim claim_judge(const struct claim_write *write);

// True as well where the map has no such collection: nobody waits for it any more.
bool claim_is_decided(const struct map *map, uint64_t collection);

#endif
