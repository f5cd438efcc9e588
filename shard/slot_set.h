// shard/slot_set.h -- the slots that have one value: a few, a sorted list, or bits.
//
// Shape:   value; 16 bytes where it stands, and heap memory above two slots.
// Threads: one writer, nobody beside it (the lock in shard/fields.h).
// Memory:  at most 4 bytes a slot plus a third while growing; bits over all slots when those are
//          fewer bytes.
//
// Room first, then slots: slot_set_claim may fail and promises that one slot can be added;
// slot_set_add keeps the promise. So a batch claims everything before it changes anything.
// (CRoaring would be smaller for clustered slots, but the version at hand does not survive a
// failed malloc half-way.)
#ifndef OMEN_SHARD_SLOT_SET_H
#define OMEN_SHARD_SLOT_SET_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum slot_set_form { SLOT_SET_FEW, SLOT_SET_LIST, SLOT_SET_BITS };

#define SLOT_SET_FEW_MAX 2u

struct slot_list;
struct slot_bits;

struct slot_set { // all zero is an empty set
    union {
        uint32_t few[SLOT_SET_FEW_MAX];
        struct slot_list *list;
        struct slot_bits *bits;
    };
    uint32_t count;
    uint32_t form : 2;    // enum slot_set_form
    uint32_t claims : 30; // promised and not added yet
};

void slot_set_fini(struct slot_set *set);

// Makes room for one more slot, which must be below `limit`, as all slots of the set and all
// promised ones are. False when memory is short; nothing changed then.
bool slot_set_claim(struct slot_set *set, uint32_t limit);
void slot_set_unclaim(struct slot_set *set);
// Uses one claim; false when the slot was there already.
bool slot_set_add(struct slot_set *set, uint32_t slot);
bool slot_set_remove(struct slot_set *set, uint32_t slot); // false when it was not there

bool slot_set_idle(const struct slot_set *set);    // nothing there and nothing promised
size_t slot_set_bytes(const struct slot_set *set); // on the heap

// words |= set, as far as it lies below `slots`. Bits at and above `slots` of the last word may
// be set, too. Inline for sets of a few: a range may have a million of them.
void slot_set_unite_many(const struct slot_set *set, uint64_t *words, uint32_t slots);

static inline void
slot_set_unite(const struct slot_set *set, uint64_t *words, uint32_t slots)
{
    if (set->form != SLOT_SET_FEW) {
        slot_set_unite_many(set, words, slots);
        return;
    }
    for (uint32_t i = 0; i < set->count; i++)
        if (set->few[i] < slots)
            words[set->few[i] >> 6] |= 1ull << (set->few[i] & 63);
}

// words = set, likewise: what it costs is to write the words once.
void slot_set_copy(const struct slot_set *set, uint64_t *words, uint32_t slots);

// ---- whole sets, to be written down and read back ----
// The slots in order, set->count of them; NULL when they are bits.
const uint32_t *slot_set_list(const struct slot_set *set);
// The bits; NULL when they are a list.
const uint64_t *slot_set_words(const struct slot_set *set, uint32_t *word_count);
// Room for `count` > 0 slots below `limit` in a set that is all zero, in the form that suits them. The caller fills
// one of the two, writes set->count, and never claimed anything before. False when memory is short.
struct slot_set_room {
    uint32_t *list;  // count of them, to be written in order; or NULL
    uint64_t *words; // bitmap_words(limit) zeros; or NULL
};
bool slot_set_fill(struct slot_set *set, uint32_t count, uint32_t limit,
                   struct slot_set_room *room);

#endif
