// shard/idmap_int.h -- what idmap.c and idmap_loaded.c share.
//
// Shape: handle, in memory; private to them.
#ifndef OMEN_SHARD_IDMAP_INT_H
#define OMEN_SHARD_IDMAP_INT_H
#include <stdatomic.h>

#include "base/arena.h"
#include "shard/idmap.h"

// Entries of a piece of a loaded table
#define PIECE_SHIFT 16u
#define PIECE_MASK ((1u << PIECE_SHIFT) - 1)
#define SLOT_MASK_MIN 0xffffffu
#define ENTRY_EMPTY 0u
#define TABLE_MIN 16u

// An entry whose slot has all bits set, and no hash, is a tomb: slot + 1 is below the mask.
struct table {
    size_t bytes; // all of it
    uint32_t capacity;
    uint32_t slot_mask;
    _Atomic uint32_t *entries; // behind the struct
    struct loaded *lower;      // asked for what is not found here; or NULL
};

// Slots whose bit is set in `gone` are not found any more.
struct loaded {
    size_t bytes; // all of it
    uint32_t capacity;
    uint32_t slot_mask;
    uint32_t rows, count;     // that were loaded with it; the entries it should have
    uint32_t gone_count;      // the writer's
    _Atomic uint64_t *gone;   // behind the pieces
    const uint32_t *pieces[]; // lent
};

struct idmap {
    struct epoch *gate;
    _Atomic(struct table *) table;
    _Atomic uint32_t live; // changed by the writer only
    _Atomic uint32_t lent; // 1: there is a lower table
    uint32_t filled;       // entries of the table of ours, tombs not counted
    uint32_t tombs;
    uint32_t slots_max;
    uint32_t slots;   // reserved
    struct arena ids; // a row is there before any reader knows its slot
};

static inline uint32_t
live_of(const struct idmap *map)
{
    return atomic_load_explicit(&map->live, memory_order_relaxed);
}

static inline void
set_live(struct idmap *map, uint32_t live)
{
    atomic_store_explicit(&map->live, live, memory_order_relaxed);
}

static inline uint32_t
place_of(uint64_t hash, uint32_t capacity)
{
    return (uint32_t)(((hash >> 32) * capacity) >> 32);
}

static inline uint32_t
tag_of(uint32_t slot_mask, uint64_t hash)
{
    return (uint32_t)hash & ~slot_mask;
}

static inline uint32_t
slot_of(uint32_t slot_mask, uint32_t entry)
{
    return (entry & slot_mask) - 1;
}

static inline uint32_t
idmap_mask_for(uint32_t slots)
{
    uint32_t mask = SLOT_MASK_MIN;
    while (slots >= mask)
        mask = mask << 1 | 1;
    return mask;
}

static inline struct table *
ours(const struct idmap *map)
{
    return atomic_load_explicit(&map->table, memory_order_relaxed);
}

static inline uint32_t
capacity_for(uint64_t entries)
{
    const uint64_t capacity = entries * 25 / 16 + 1;
    return capacity < TABLE_MIN ? TABLE_MIN : (uint32_t)capacity;
}

static inline bool
has_room(const struct table *table, uint64_t used, uint32_t slots)
{
    return used * 5 <= (uint64_t)table->capacity * 4 && slots < table->slot_mask;
}

// ---- idmap.c ----

// All zeros. The first word of either kind of table is its bytes, by which it is freed.
void *idmap_table_memory(size_t bytes);
void idmap_table_free(void *memory);
// For slots below `slots`.
struct table *idmap_table_open(uint32_t capacity, uint32_t slots);
// A map without a table.
omen_status idmap_new(uint32_t slots_max, struct epoch *gate, struct idmap **out);
// Copies what is live into an empty table that has room.
void idmap_refill(const struct idmap *map, const struct table *old, struct table *new);
// Where `id` is in the table, or where its walk ends; *tomb is the first tomb on the way, or the capacity.
uint32_t idmap_walk(const struct idmap *map, const struct table *table, uint64_t id,
                    uint32_t *tomb);

// ---- idmap_loaded.c ----

// The slot where the id is found in a loaded table, or IDMAP_NONE.
uint32_t idmap_find_loaded(const struct idmap *map, const struct loaded *loaded, uint64_t id);
// The same, and it is not found there any more.
uint32_t idmap_remove_loaded(const struct idmap *map, struct loaded *loaded, uint64_t id);
// One table of ours instead of two, with room for `added` more entries.
omen_status idmap_join(struct idmap *map, uint32_t added);

#endif
