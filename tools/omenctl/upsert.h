// tools/omenctl/upsert.h -- batches of rows into a collection: convert.h's sink for a cluster.
//
// Shape: handle in the owner's memory.
//
// A batch is whole or not for each shard, so an answer may name rows that were not written. One that is refused for what it is
// (EXISTS, NOT_FOUND) is counted. Where a shard refused its part because some row of it is bad, the part is halved until the bad rows
// stand alone. What a busy shard did not do goes again under the same name, which changes nothing where it was done.
#ifndef OMEN_TOOLS_OMENCTL_UPSERT_H
#define OMEN_TOOLS_OMENCTL_UPSERT_H
#include "clients/c/client.h"
#include "tools/omenctl/convert.h"

struct upsert {
    struct client *client;   // borrowed
    struct convert *convert; // borrowed: rows, refusals, added
    const char *collection;  // borrowed
    uint8_t mode;            // enum api_mode
    uint32_t timeout_ms;
};

convert_add upsert_add; // `context` is a struct upsert

#endif
