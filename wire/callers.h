// wire/callers.h -- how many connections each IP address has, so that one of them does not have all.
//
// Shape:   value; a table of a fixed size behind _init.
// Threads: one at a time.
//
// An address is 16 bytes, that of IPv4 mapped into IPv6: who comes by either protocol's socket is the same. Each address counts for itself,
// also of one network: a host of IPv6 that takes others of its network's addresses is as many callers, and connections of all of them
// have their own limit.
#ifndef OMEN_WIRE_CALLERS_H
#define OMEN_WIRE_CALLERS_H
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

struct caller {
    uint8_t ip[16];
    uint32_t connections; // 0: the place is free
};

struct callers {
    struct caller *places; // owned; NULL: nobody is counted
    uint32_t mask;         // places, a power of two, less one
    uint64_t seed;         // nobody else's: whoever has many addresses cannot choose where they lie
};

// For so many connections at the most. OMEN_E_NO_MEMORY.
OMEN_MUST_CHECK omen_status callers_init(struct callers *callers, uint32_t connections_max,
                                         uint64_t seed);
void callers_fini(struct callers *callers); // accepts a zeroed one

// One more of that address; false: `most` are there already, and nothing is changed.
bool callers_enter(struct callers *callers, const uint8_t ip[16], uint32_t most);
void callers_leave(struct callers *callers, const uint8_t ip[16]); // one that has entered

#endif
