// shard/names.h -- text ids and the integer keys that stand for them everywhere else.
//
// Shape:   handle, in memory.
// Threads: one writer at a time (the shard's write lock); names_find and names_text beside it on any number of
//          threads that are inside the epoch gate.
// Memory:  a text's bytes + 2, 8 bytes for its place, and 8 bytes an entry of a table 64 to 80 % full. A key is
//          given once per distinct text and never taken back, not even when its point is deleted, so that a
//          key which a caller kept never turns into somebody else's. names_reserve makes the room.
#ifndef OMEN_SHARD_NAMES_H
#define OMEN_SHARD_NAMES_H
#include <stddef.h>
#include <stdint.h>

#include "base/epoch.h"
#include "base/image.h"
#include "base/status.h"

#define NAMES_NONE UINT64_MAX
#define NAMES_MAX 0x7ffffffeu // distinct texts of one index

struct names; // opaque

OMEN_MUST_CHECK omen_status names_open(struct epoch *gate, struct names **out); // borrows the gate
void names_close(struct names *names); // accepts NULL; no reader may be inside

// Makes room for `count` new texts of `bytes` bytes together (without NULs). OMEN_E_FULL past NAMES_MAX.
OMEN_MUST_CHECK omen_status names_reserve(struct names *names, uint32_t count, size_t bytes);
// Gives the next key to a text that has none yet; bytes 1..ID_TEXT_BYTES_MAX. Room must be reserved.
uint64_t names_add(struct names *names, const char *text, size_t bytes);

// The text's key, or NAMES_NONE.
uint64_t names_find(const struct names *names, const char *text, size_t bytes);
// The key's text, NUL-terminated, there until names_close; NULL for a key never given. *bytes without the NUL.
const char *names_text(const struct names *names, uint64_t key, size_t *bytes);

uint64_t names_count(const struct names *names); // keys given

// ---- on disk: IMAGE_NAME_AT, IMAGE_NAMES, IMAGE_NAME_TABLE, IMAGE_NAME_HEAD ----

// What there is at a moment; under the write lock. It also copies to our memory what was loaded and will be written anew.
struct names_mark {
    uint64_t count, granules;
};
OMEN_MUST_CHECK omen_status names_mark(struct names *names, struct names_mark *mark);
// What there was then, beside the writer and readers, of whom those who came before the mark must have left the gate
// (epoch_wait): they may be in a table whose place is used again.
OMEN_MUST_CHECK omen_status names_save(struct names *names, const struct names_mark *mark,
                                       const struct image_sink *sink);
// All that is ours is to be saved, after a save that came to nothing.
void names_touch(struct names *names);
// As it was saved. Nothing is believed: a damaged text is an empty one. OMEN_E_CORRUPT: something is missing or cannot be.
OMEN_MUST_CHECK omen_status names_load(struct epoch *gate, const struct image_source *source,
                                       struct names **out);

size_t names_bytes(const struct names *names); // memory; for the writer

#endif
