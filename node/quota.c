// node/quota.c -- how much of a collection's quota a shard may use, and whether a write still fits.
//
// Shape: value.
#include "node/quota.h"

#include <inttypes.h>

static const char *const keys[MAP_QUOTAS] = {
    [QUOTA_MEMORY] = "memory_quota", [QUOTA_DISK] = "disk_quota"};
static const char *const places[MAP_QUOTAS] = {
    [QUOTA_MEMORY] = "in memory", [QUOTA_DISK] = "on disk"};

uint64_t
quota_share(uint64_t quota, uint64_t first, uint64_t last)
{
    __extension__ typedef unsigned __int128 wide;
    const wide share = ((wide)quota * ((wide)(last - first) + 1)) >> 64;
    return share > 0 ? (uint64_t)share : 1;
}

static uint64_t
sum(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

omen_status
quota_check(const struct map_collection *collection, const struct map_shard *shard,
            const struct quota_used *used, uint64_t adds, struct omen_error *error)
{
    for (uint32_t i = 0; i < MAP_QUOTAS; i++) {
        if (collection->quotas[i] == 0)
            continue;
        if (!used->known)
            return error_set(error, OMEN_E_BUSY, "shard %" PRIu64 " has yet to be measured",
                             shard->id);
        const uint64_t share = quota_share(collection->quotas[i], shard->first, shard->last);
        const uint64_t there = sum(used->bytes[i], used->since);
        if (sum(there, adds) > share)
            return error_set(error, OMEN_E_QUOTA,
                             "%s of the collection '%.*s' is %" PRIu64
                             " bytes, of which shard %" PRIu64 " may have %" PRIu64
                             " and has %" PRIu64
                             " %s; deletes go on, and what they free is there after a compaction",
                             keys[i], collection->name.count, collection->name.bytes,
                             collection->quotas[i], shard->id, share, there, places[i]);
    }
    return OMEN_OK;
}
