// node/reserve.c -- how much of its disk a node leaves to deletes and to its log, and whether less than that is left.
//
// Shape: value.
#include "node/reserve.h"

#include "base/assert.h"

// Of a file system that says no size, nothing.
static uint64_t
reserve_of(uint64_t bytes, uint32_t percent)
{
    const uint64_t share = bytes / 100 * percent + bytes % 100 * percent / 100;
    return share < RESERVE_BYTES_MAX ? share : RESERVE_BYTES_MAX;
}

bool
reserve_look(struct reserve *reserve, uint32_t percent, struct reserve_disk disk)
{
    ASSERT(percent <= RESERVE_PERCENT_MAX);
    const bool was_low = reserve->low;
    const uint64_t bytes = reserve_of(disk.bytes, percent);
    const uint64_t wanted = was_low ? bytes + bytes / 10 : bytes;
    reserve->disk = disk;
    reserve->bytes = bytes;
    reserve->low = disk.available_bytes < wanted;
    return reserve->low != was_low;
}
