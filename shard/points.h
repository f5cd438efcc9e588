// shard/points.h -- points read back: a copy that outlives the index.
//
// Shape:   handle, in memory.
// Threads: one at a time.
// Memory:  one array for each part that was asked for; payloads lie one behind the other.
#ifndef OMEN_SHARD_POINTS_H
#define OMEN_SHARD_POINTS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct points; // opaque

struct points_config {
    size_t room;      // points expected; more may come
    size_t row_bytes; // of a vector; 0: vectors are not kept
    bool payloads;
};

// One point on its way in. A point that is not there has `found` false and only its id.
struct point {
    uint64_t id;
    uint64_t version; // 0: rows have none
    float distance;
    bool found;
    const void *vector;  // row_bytes, borrowed; not read when row_bytes is 0
    const void *payload; // borrowed; NULL: none
    size_t payload_bytes;
};

// The caller owns *out. OMEN_E_NO_MEMORY leaves *out NULL.
OMEN_MUST_CHECK omen_status points_open(const struct points_config *config, struct points **out);
void points_close(struct points *points); // accepts NULL

// Copies it behind those that are there. OMEN_E_NO_MEMORY: they are as they were.
OMEN_MUST_CHECK omen_status points_add(struct points *points, const struct point *point);

size_t points_count(const struct points *points); // those that are not there among them
// i below points_count; pointers stay until points_close, or the next points_add.
void points_at(const struct points *points, size_t i, struct point *out);

#endif
