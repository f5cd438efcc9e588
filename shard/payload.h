// shard/payload.h -- the payloads of a shard: slot -> msgpack bytes.
//
// Shape:   handle, in memory. Knows nothing of what the bytes mean.
// Threads: one writer at a time (the shard's write lock), under which saves come too; payloads_get beside it on any
//          number of threads that are inside the epoch gate, and what it gave stays readable until they
//          leave.
// Memory:  payloads lie one after the other in blocks of at most 256 KiB, and 8 bytes a slot say where. A replaced
//          payload's bytes come back when everything in its block was replaced or cleared; until then they are
//          counted as dead. payloads_reserve makes the room; after it payloads_set cannot fail. What was loaded
//          costs nothing until it is changed.
#ifndef OMEN_SHARD_PAYLOAD_H
#define OMEN_SHARD_PAYLOAD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/epoch.h"
#include "base/image.h"
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
// Nothing changes on OMEN_E_NO_MEMORY. Room that is not used stays for the next one. The first one after a load reads where
// all payloads lie (2 ms for a million); OMEN_E_CORRUPT: they cannot.
OMEN_MUST_CHECK omen_status payloads_reserve(struct payloads *payloads,
                                             const struct payload_room *room);

// After a load, before a slot below its rows is set or cleared: then neither can fail.
OMEN_MUST_CHECK omen_status payloads_own(struct payloads *payloads, uint32_t slot);

// Copies 1..PAYLOAD_BYTES_MAX bytes into `slot`, replacing what was there. Room must be reserved.
void payloads_set(struct payloads *payloads, uint32_t slot, const void *bytes, size_t count);
// A slot without a payload, or one never reserved, stays as it is; so does one that would have to be owned, when there is
// no memory for it.
void payloads_clear(struct payloads *payloads, uint32_t slot);

// The slot's payload and its size; NULL and 0 where there is none. Any slot below slots_max may
// be asked.
const void *payloads_get(const struct payloads *payloads, uint32_t slot, size_t *bytes);

struct payload_memory {
    uint64_t live;     // bytes of payloads that can be read
    uint64_t dead;     // bytes of replaced ones that a block still holds, their lengths included
    uint64_t lent;     // how much of these two lies in what was loaded, which is not our memory
    uint64_t overhead; // everything else: places, unused ends of blocks, tables
};
void payloads_memory(const struct payloads *payloads,
                     struct payload_memory *memory);      // for the writer
uint64_t payloads_bytes(const struct payloads *payloads); // our memory: the sum, less what is lent

// ---- on disk: IMAGE_PAYLOAD_AT, IMAGE_PAYLOADS, IMAGE_PAYLOAD_HEAD ----

// A save is steps, so that the lock is let go between them: each puts or drops one piece at most. What is saved has all that
// happened before the first step, and of what happens until the last an undefined part: that is to be
// done again after the load, by set and clear as if it were the first time.
struct payloads_save {
    uint32_t rows;                        // slots from there on are not saved
    uint32_t stage, next, blocks, places; // 0 at first
};
OMEN_MUST_CHECK omen_status payloads_save_step(struct payloads *payloads,
                                               struct payloads_save *save,
                                               const struct image_sink *sink, bool *done);
OMEN_MUST_CHECK omen_status payloads_save(struct payloads *payloads, uint32_t rows,
                                          const struct image_sink *sink); // all steps
// All that is ours is to be saved, after a save that came to nothing.
void payloads_touch(struct payloads *payloads);

// The payloads below `rows` as they were saved; they are read where they lie. A slot has what was set there at
// some time, or nothing. OMEN_E_CORRUPT: something is missing or cannot be.
OMEN_MUST_CHECK omen_status payloads_load(uint32_t slots_max, struct epoch *gate, uint32_t rows,
                                          const struct image_source *source, struct payloads **out);
// OMEN_E_CORRUPT where a slot's payload is not where it should be, which payloads_get takes for none. When what is to be done
// again after a load has been. For the writer.
OMEN_MUST_CHECK omen_status payloads_verify(const struct payloads *payloads, uint32_t *bad_slot);

#endif
