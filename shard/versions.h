// shard/versions.h -- slot -> sequence number of the last change of its point.
//
// Shape:   handle, in memory.
// Threads: one writer at a time (the shard's write lock), under which saves come too; versions_get beside it, for
//          slots that the reader learnt of after they were reserved. Whoever gets a version sees all that was written
//          before it was set: so set it last, and get it first.
// Memory:  8 bytes a slot; what was loaded costs nothing until it is written.
#ifndef OMEN_SHARD_VERSIONS_H
#define OMEN_SHARD_VERSIONS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/image.h"
#include "base/status.h"

struct versions; // opaque

OMEN_MUST_CHECK omen_status versions_open(uint32_t slots_max, struct versions **out);
void versions_close(struct versions *versions); // accepts NULL; no reader may be inside

// Makes room for slots below `slots`, whose version is 0 until it is set.
OMEN_MUST_CHECK omen_status versions_reserve(struct versions *versions, uint32_t slots);
// After a load, before a slot below its rows is set: then setting cannot fail.
OMEN_MUST_CHECK omen_status versions_own(struct versions *versions, uint32_t slot);
void versions_set(struct versions *versions, uint32_t slot, uint64_t version);
uint64_t versions_get(const struct versions *versions, uint32_t slot); // of a reserved slot

size_t versions_bytes(const struct versions *versions); // our memory; for the writer

// ---- on disk: IMAGE_VERSIONS ----

// A save is steps, so that the lock is let go between them: each puts one piece at most, of what changed below `rows`.
struct versions_save {
    uint32_t rows; // reserved ones
    uint32_t next; // 0 at first
};
OMEN_MUST_CHECK omen_status versions_save_step(struct versions *versions,
                                               struct versions_save *save,
                                               const struct image_sink *sink, bool *done);
OMEN_MUST_CHECK omen_status versions_save(struct versions *versions, uint32_t rows,
                                          const struct image_sink *sink); // all steps
// All that is ours is to be saved, after a save that came to nothing.
void versions_touch(struct versions *versions);

// OMEN_E_CORRUPT: something is missing. The numbers are as they were saved, or newer.
OMEN_MUST_CHECK omen_status versions_load(uint32_t slots_max, uint32_t rows,
                                          const struct image_source *source, struct versions **out);

#endif
