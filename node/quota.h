// node/quota.h -- how much of a collection's quota a shard may use, and whether a write still fits.
//
// Shape: value.
//
// A quota is of one copy of a collection, whatever its replicas. A shard has the part of it that its range is of all hashes, so that
// nobody has to ask the others; ids are hashed, and shards fill alike. A copy is measured every few seconds (node/look.h): what has been
// appended to its log since counts as it came, which is more than a delete takes and about what a new point does.
#ifndef OMEN_NODE_QUOTA_H
#define OMEN_NODE_QUOTA_H
#include "base/error.h"
#include "cluster/map.h"

struct quota_used {
    bool known;                 // it was measured at all
    uint64_t bytes[MAP_QUOTAS]; // then
    uint64_t since;             // appended since
};

// Of a quota that is not 0; at least 1.
uint64_t quota_share(uint64_t quota, uint64_t first, uint64_t last);

// Whether `adds` more bytes fit. OMEN_E_QUOTA, and *error names the collection, the quota and what there is; OMEN_E_BUSY: not known yet.
OMEN_MUST_CHECK omen_status quota_check(const struct map_collection *collection,
                                        const struct map_shard *shard,
                                        const struct quota_used *used, uint64_t adds,
                                        struct omen_error *error);

#endif
