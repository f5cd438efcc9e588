// shard/field_index.h -- the values of one field in order, and for each the slots that have it.
//
// Shape:   handle, in memory. Keys and slots only; what a payload's value is as a key is decided
//          above.
// Threads: one writer, nobody beside it; any number of readers (the lock in shard/fields.h).
// Memory:  32 bytes a distinct value in leaves 69 to 100 % full, a keyword's text, and its set
//          (shard/slot_set.h).
#ifndef OMEN_SHARD_FIELD_INDEX_H
#define OMEN_SHARD_FIELD_INDEX_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "shard/field_value.h"
#include "shard/slot_set.h"

struct field_index; // opaque

OMEN_MUST_CHECK omen_status field_index_open(enum field_type type, struct field_index **out);
void field_index_close(struct field_index *index); // accepts NULL

enum field_type field_index_type(const struct field_index *index);

// Makes the value, when it is new, and room for one more slot below `limit` in its set. False
// when memory is short; nothing changed then. A value that has claims but no slots answers
// nothing.
bool field_index_claim(struct field_index *index, const struct field_key *key, uint32_t limit);
void field_index_unclaim(struct field_index *index, const struct field_key *key);
// Uses a claim. False when the slot had the value already.
bool field_index_add(struct field_index *index, const struct field_key *key, uint32_t slot);
// False when the slot did not have the value. A value that nobody has any more is gone.
bool field_index_remove(struct field_index *index, const struct field_key *key, uint32_t slot);

// The slots with this value; NULL when there are none.
const struct slot_set *field_index_find(const struct field_index *index,
                                        const struct field_key *key);

enum field_bound { FIELD_UNBOUNDED, FIELD_INCLUDED, FIELD_EXCLUDED };
struct field_range {
    enum field_bound low_bound, high_bound;
    struct field_key low, high;
};
// words |= the slots below `slots` with a value in the range; as slot_set_unite.
void field_index_range(const struct field_index *index, const struct field_range *range,
                       uint64_t *words, uint32_t slots);
// The same for keywords that begin with these bytes.
void field_index_prefix(const struct field_index *index, const char *bytes, size_t count,
                        uint64_t *words, uint32_t slots);

// ---- all of it, to be written down and read back ----
// Walks the values in order: *cursor begins as {0}. False at the end. *key and *set are good until the next change.
struct field_cursor {
    uint32_t leaf, entry;
};
bool field_index_next(const struct field_index *index, struct field_cursor *cursor,
                      struct field_key *key, const struct slot_set **set);
// Sets the cursor so that the next value is the first that is not below the key.
void field_index_seek(const struct field_index *index, const struct field_key *key,
                      struct field_cursor *cursor);
// Adds a value behind all others and takes its set, which is not empty and has no claims. False when memory is
// short; then the set stays the caller's.
bool field_index_append(struct field_index *index, const struct field_key *key,
                        struct slot_set *set);

uint64_t
field_index_values(const struct field_index *index); // distinct ones, the merely claimed too
size_t field_index_bytes(const struct field_index *index);

#endif
