// shard/payload.h -- the payloads of a shard: slot -> msgpack bytes.
//
// Shape:   handle, in memory. Knows nothing of what the bytes mean.
// Threads: one writer at a time (the shard's write lock); payloads_get beside it on any number of
//          threads that are inside the epoch gate, and what it gave stays readable until they
//          leave.
// Memory:  payloads lie one after the other in blocks, 4 bytes of length before each, and a
//          pointer a slot. A replaced payload's bytes come back when everything in its block was
//          replaced or cleared; until then they are counted as dead. payloads_reserve makes the
//          room; after it payloads_set cannot fail.
#ifndef OMEN_SHARD_PAYLOAD_H
#define OMEN_SHARD_PAYLOAD_H
#include <stddef.h>
#include <stdint.h>

#include "base/epoch.h"
#include "base/status.h"

struct payloads; // opaque

// `gate` is borrowed until payloads_close.
OMEN_MUST_CHECK omen_status payloads_open(uint32_t slots_max, struct epoch *gate,
                                          struct payloads **out);
void payloads_close(struct payloads *payloads); // accepts NULL; no reader may be inside

struct payload_room {
    uint32_t slots; // slots below this number can be set afterwards
    uint32_t count; // payloads that will be set
    uint64_t bytes; // of those together
};
// Nothing changes on OMEN_E_NO_MEMORY. Room that is not used stays for later.
OMEN_MUST_CHECK omen_status payloads_reserve(struct payloads *payloads,
                                             const struct payload_room *room);

// Copies 1..PAYLOAD_BYTES_MAX bytes into `slot`, replacing what was there. Room must be reserved.
void payloads_set(struct payloads *payloads, uint32_t slot, const void *bytes, size_t count);
// A slot without a payload, or one never reserved, stays as it is.
void payloads_clear(struct payloads *payloads, uint32_t slot);

// The slot's payload and its size; NULL and 0 where there is none. Any slot below slots_max may
// be asked.
const void *payloads_get(const struct payloads *payloads, uint32_t slot, size_t *bytes);

struct payload_memory {
    uint64_t live;     // bytes of payloads that can be read
    uint64_t dead;     // bytes of replaced ones that a block still holds, their lengths included
    uint64_t overhead; // everything else: pointers, lengths, unused ends of blocks, tables
};
void payloads_memory(const struct payloads *payloads,
                     struct payload_memory *memory);      // for the writer
uint64_t payloads_bytes(const struct payloads *payloads); // the three together

#endif
