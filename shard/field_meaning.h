// shard/field_meaning.h -- keywords that are spelled times or UUIDs, found by what they mean.
//
// Shape:   value over a keyword index.
// Threads: as the index's readers.
#ifndef OMEN_SHARD_FIELD_MEANING_H
#define OMEN_SHARD_FIELD_MEANING_H
#include "base/filter.h"
#include "shard/field_index.h"

// words |= the slots below `slots` with a keyword that compares so (FILTER_EQ..FILTER_LTE) with `wanted`, which is not
// plain; as slot_set_unite. EQ looks at few keywords, the others at all of them.
void field_meaning_select(const struct field_index *index, enum filter_kind kind,
                          const struct value_meaning *wanted, uint64_t *words, uint32_t slots);

#endif
