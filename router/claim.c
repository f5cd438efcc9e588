// router/claim.c -- see router/claim.h.
//
// Shape: value.
#include "router/claim.h"

#include "base/bug.h"

enum claim
claim_judge(const struct claim_write *write)
{
    if (write->known == write->given || write->known == MAP_IDS_UNKEPT)
        return CLAIM_GOES_ON;
    if (write->known != MAP_IDS_OPEN)
        return CLAIM_REFUSED;
    return write->makes_points && !bug(BUG_CLAIM_STALE) ? CLAIM_WAITS : CLAIM_GOES_ON;
}

bool
claim_is_decided(const struct map *map, uint64_t collection)
{
    const struct map_collection *row = map_collection(map, collection);
    return row == NULL || row->id_kind != MAP_IDS_OPEN;
}
