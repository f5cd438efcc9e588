// cluster/uuid.h -- names that are drawn once and never again: of nodes, of replicas, of operations.
//
// Shape: value. Two words, so that comparing is cheap; on the wire the 16 bytes in their usual order.
#ifndef OMEN_CLUSTER_UUID_H
#define OMEN_CLUSTER_UUID_H
#include <stdbool.h>
#include <stdint.h>

struct cluster_uuid {
    uint64_t high; // the first eight bytes, big-endian
    uint64_t low;
};

static inline bool
uuid_equal(struct cluster_uuid a, struct cluster_uuid b)
{
    return a.high == b.high && a.low == b.low;
}

// All zeros stand for "none".
static inline bool
uuid_is_none(struct cluster_uuid uuid)
{
    return (uuid.high | uuid.low) == 0;
}

// Milliseconds since 1970 in a UUIDv7: its first 48 bits.
static inline uint64_t
uuid_time_ms(struct cluster_uuid uuid)
{
    return uuid.high >> 16;
}

#endif
