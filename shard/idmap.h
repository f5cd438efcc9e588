// shard/idmap.h -- which slot holds which id, and which id a slot has.
//
// Shape:   handle, in memory.
// Threads: one writer at a time (the shard's write lock); idmap_find and idmap_id beside it on any number of
//          threads that are inside the epoch gate.
// Memory:  8 bytes a slot for its id, and 4 bytes an entry of a table that is never less than 64 % full once it
//          has grown: at most 14.3 bytes a row. idmap_reserve makes the room; after it nothing fails.
#ifndef OMEN_SHARD_IDMAP_H
#define OMEN_SHARD_IDMAP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/epoch.h"
#include "base/status.h"

#define IDMAP_NONE UINT32_MAX

struct idmap; // opaque

// `gate` is borrowed until idmap_close: outgrown tables are freed when its readers have left.
OMEN_MUST_CHECK omen_status idmap_open(uint32_t slots_max, struct epoch *gate, struct idmap **out);
void idmap_close(struct idmap *map); // accepts NULL; no reader may be inside

// Makes room for the ids of all slots below `slots`, which is never less than before, and for `added` more entries.
OMEN_MUST_CHECK omen_status idmap_reserve(struct idmap *map, uint32_t slots, uint32_t added);

// Notes the id of a reserved slot. Before anybody can learn of the slot; an id of a slot never changes.
void idmap_name(struct idmap *map, uint32_t slot, uint64_t id);
// The id of a named slot.
uint64_t idmap_id(const struct idmap *map, uint32_t slot);

// From now on the id of `slot` is found there; returns the slot where it was found before, or IDMAP_NONE.
// A reader that looks meanwhile finds the one or the other.
uint32_t idmap_put(struct idmap *map, uint32_t slot);
// Returns the slot where the id was found, or IDMAP_NONE.
uint32_t idmap_remove(struct idmap *map, uint64_t id);
uint32_t idmap_find(const struct idmap *map, uint64_t id);

uint32_t idmap_count(const struct idmap *map); // entries
size_t idmap_bytes(const struct idmap *map);   // for the writer

#endif
