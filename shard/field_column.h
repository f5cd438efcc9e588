// shard/field_column.h -- in which part of a field's order each slot is: one byte a slot.
//
// Shape:   handle, in memory.
// Threads: as the index it belongs to (shard/field_index.h): one writer with nobody beside it, any number of readers.
// Memory:  1 byte a slot and 4 KiB.
//
// A range of an index is the union of one set for each value. Where a range has thousands of values, that sets bits one
// by one, all over the words: 45 us for half of 90,000 rows, which is more than the search that asked. With the order
// cut into up to 250 parts of as many rows each, the parts that lie whole in the range are one comparison of
// neighbouring bytes, and only the two at its ends are looked for by value.
//
// It is for fields whose rows have one value each. Parts keep their bounds while rows come and go; after as many
// new rows as would make them uneven it says that it is no good any more, and a reader makes it anew.
#ifndef OMEN_SHARD_FIELD_COLUMN_H
#define OMEN_SHARD_FIELD_COLUMN_H
#include "shard/field_index.h"

struct field_column; // opaque

// Of all values of the index, for slots below `limit`. NULL when memory is short, a slot has two values, or the keys are
// texts.
struct field_column *field_column_make(const struct field_index *index, uint32_t limit);
void field_column_close(struct field_column *column); // accepts NULL
size_t field_column_bytes(const struct field_column *column);

// False when the column does not stand for the index any more and has to be closed: the slot has a value already,
// memory is short, or many were added.
OMEN_MUST_CHECK bool field_column_add(struct field_column *column, const struct field_key *key,
                                      uint32_t slot);
void field_column_remove(struct field_column *column, uint32_t slot);

// What field_index_range does.
void field_column_range(const struct field_column *column, const struct field_index *index,
                        const struct field_range *range, uint64_t *words, uint32_t slots);

#endif
