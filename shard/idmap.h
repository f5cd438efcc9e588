// shard/idmap.h -- which slot holds which id, and which id a slot has.
//
// Shape:   handle, in memory.
// Threads: one writer at a time (the shard's write lock); idmap_find and idmap_id beside it on any number of
//          threads that are inside the epoch gate. Saves beside all of them, one at a time.
// Memory:  8 bytes a slot for its id, and 4 bytes an entry of a table that is never less than 64 % full once it
//          has grown: at most 14.3 bytes a row. idmap_reserve makes the room; after it nothing fails. What was loaded
//          costs a bit a row until idmap_own, and what changes meanwhile as above.
#ifndef OMEN_SHARD_IDMAP_H
#define OMEN_SHARD_IDMAP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/epoch.h"
#include "base/image.h"
#include "base/status.h"

#define IDMAP_NONE UINT32_MAX

struct idmap; // opaque

// `gate` is borrowed until idmap_close: outgrown tables are freed when its readers have left.
OMEN_MUST_CHECK omen_status idmap_open(uint32_t slots_max, struct epoch *gate, struct idmap **out);
void idmap_close(struct idmap *map); // accepts NULL; no reader may be inside

// Copies a table that was loaded, with all changes since, to our memory: idmap_reserve does it too when they are many.
// OMEN_E_CORRUPT: the table is none. After a failure everything is as before.
OMEN_MUST_CHECK omen_status idmap_own(struct idmap *map);

// Makes room for the ids of all slots below `slots`, which is never less than before, and for `added` more entries.
OMEN_MUST_CHECK omen_status idmap_reserve(struct idmap *map, uint32_t slots, uint32_t added);

// Notes the id of a reserved slot. Before anybody can learn of the slot; an id of a slot never changes.
void idmap_name(struct idmap *map, uint32_t slot, uint64_t id);
// The id of a named slot.
uint64_t idmap_id(const struct idmap *map, uint32_t slot);

// From now on the id of `slot` is found there; returns the slot where it was found before, or IDMAP_NONE.
// A reader that looks meanwhile finds the one or the other.
uint32_t idmap_put(struct idmap *map, uint32_t slot);
// The same for who knows that already: `found` is what idmap_find says. In a large table each look is a miss.
void idmap_put_found(struct idmap *map, uint32_t slot, uint32_t found);
// Returns the slot where the id was found, or IDMAP_NONE.
uint32_t idmap_remove(struct idmap *map, uint64_t id);
uint32_t idmap_find(const struct idmap *map, uint64_t id);
// Asks for what a find of the id will read first: for who finds many, a few ahead. In a large table each is a miss.
void idmap_will_find(const struct idmap *map, uint64_t id);

uint32_t idmap_count(const struct idmap *map); // entries
size_t idmap_bytes(const struct idmap *map);   // our memory; for the writer

// ---- on disk: IMAGE_IDS, IMAGE_ID_TABLE, IMAGE_ID_HEAD ----

// The ids of the slots below `rows`, all of them named: those that were not saved yet.
OMEN_MUST_CHECK omen_status idmap_save_ids(struct idmap *map, uint32_t rows,
                                           const struct image_sink *sink);
// A table of those slots below `rows` whose bit in `erased` is clear, built anew beside whatever happens to the map: it is
// as of the moment when the bits were copied. Of two slots with one id the later is found. What idmap_load lent is not
// read after that, so idmap_own must have come before.
OMEN_MUST_CHECK omen_status idmap_save_table(const struct idmap *map, uint32_t rows,
                                             const uint64_t *erased, const struct image_sink *sink);
// Every id of ours is to be saved, after a save that came to nothing; those that are lent too, where all goes elsewhere.
void idmap_touch(struct idmap *map);
void idmap_touch_lent(struct idmap *map);

// The map as it was saved with `rows`. Ids and table are read where they lie, and not believed: a find may miss, but gives
// a slot below `rows` that has the id. OMEN_E_CORRUPT: something is missing or cannot be.
OMEN_MUST_CHECK omen_status idmap_load(uint32_t slots_max, struct epoch *gate, uint32_t rows,
                                       const struct image_source *source, struct idmap **out);

#endif
