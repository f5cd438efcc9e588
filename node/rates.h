// node/rates.h -- the buckets of all keys that ask a node.
//
// Shape:   handle, in memory, in the owner's struct: _init/_fini.
// Threads: one at a time.
// Memory:  a place for each key that owes something; those that owe nothing any more give theirs up where room is wanted. It grows with
//          the keys that ask at once, of which a cluster has at most so many.
#ifndef OMEN_NODE_RATES_H
#define OMEN_NODE_RATES_H
#include <stdbool.h>

#include "base/limits.h"
#include "node/rate.h"

struct rates_place {
    char key[WIRE_NAME_BYTES_MAX + 1]; // "": free
    struct rate rate;
};

struct rates {
    struct rates_place *places; // owned
    uint32_t room, used;        // room is 0 or a power of two
};

void rates_init(struct rates *rates);
void rates_fini(struct rates *rates);

// The bucket of that key, by its name; it stays where it is until the next call. NULL: no memory.
struct rate *rates_of(struct rates *rates, const char *key, uint64_t now_ns);

#endif
