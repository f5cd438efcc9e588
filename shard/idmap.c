// shard/idmap.c -- id -> slot as a hash table that holds no ids.
//
// Shape: handle, in memory.
//
// An entry is one u32: 24 bits of slot + 1, and above them 8 bits of the id's hash. The id itself lies in the
// array that searches need anyway (slot -> id), so an entry is compared through it, and the 8 bits spare 255 of
// 256 such looks at somebody else's id. Where there are more slots than 24 bits number, a table gives the slot as many
// as it needs, and the hash what is left. Places are given by multiplying the hash into the capacity, so the
// capacity may be any number: the table grows by a quarter instead of doubling, and stays 64 to 80 % full.
//
// Readers take no lock. An entry goes EMPTY -> slot -> slot' -> TOMB, each with one store; a reader passes a TOMB,
// so nothing that it looks for ever moves out of its way. (Backward shifting would save the tombs but would need a
// sequence lock around every delete.) A tomb before an EMPTY is made EMPTY again, other tombs are taken over
// by later entries or vanish with the next growth, which builds a new table and frees the old one behind the gate.
#include "shard/idmap.h"

#include <stdatomic.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"
#include "base/prefetch.h"
#include "base/prng.h"

#define CHUNK_SHIFT 13u
#define CHUNK_IDS (1u << CHUNK_SHIFT)
#define SLOT_MASK_MIN 0xffffffu
#define ENTRY_EMPTY 0u
#define TABLE_MIN 16u
#define PREFETCH_AHEAD 12u

_Static_assert(SLOTS_MAX * 25ull / 16 < UINT32_MAX, "a table has at most 2^32 - 1 places");

// An entry whose slot has all bits set, and no hash, is a tomb: slot + 1 is below the mask.
struct table {
    uint32_t capacity;
    uint32_t slot_mask;
    _Atomic uint32_t entries[];
};

struct idmap {
    struct epoch *gate;
    _Atomic(struct table *) table;
    _Atomic uint32_t live; // changed by the writer only
    uint32_t tombs;
    uint32_t slots_max;
    uint32_t chunk_count;
    uint64_t *chunks[]; // a chunk is there before any reader knows one of its slots
};

static uint32_t
live_of(const struct idmap *map)
{
    return atomic_load_explicit(&map->live, memory_order_relaxed);
}

static void
set_live(struct idmap *map, uint32_t live)
{
    atomic_store_explicit(&map->live, live, memory_order_relaxed);
}

static uint32_t
place_of(uint64_t hash, uint32_t capacity)
{
    return (uint32_t)(((hash >> 32) * capacity) >> 32);
}

static uint32_t
tag_of(const struct table *table, uint64_t hash)
{
    return (uint32_t)hash & ~table->slot_mask;
}

static uint32_t
slot_of(const struct table *table, uint32_t entry)
{
    return (entry & table->slot_mask) - 1;
}

// For slots below `slots`.
static struct table *
table_open(uint32_t capacity, uint32_t slots)
{
    struct table *table =
        mem_alloc_zero(1, sizeof *table + (size_t)capacity * sizeof table->entries[0]);
    if (table == NULL)
        return NULL;
    table->capacity = capacity;
    table->slot_mask = SLOT_MASK_MIN;
    while (slots >= table->slot_mask)
        table->slot_mask = table->slot_mask << 1 | 1;
    return table;
}

omen_status
idmap_open(uint32_t slots_max, struct epoch *gate, struct idmap **out)
{
    ASSERT(slots_max <= SLOTS_MAX);
    *out = NULL;
    const size_t chunks = ((size_t)slots_max + CHUNK_IDS - 1) >> CHUNK_SHIFT;
    struct idmap *map = mem_alloc_zero(1, sizeof *map + chunks * sizeof map->chunks[0]);
    if (map == NULL)
        return OMEN_E_NO_MEMORY;
    struct table *table = table_open(TABLE_MIN, 0);
    if (table == NULL) {
        mem_free(map);
        return OMEN_E_NO_MEMORY;
    }
    map->gate = gate;
    map->slots_max = slots_max;
    atomic_init(&map->table, table);
    *out = map;
    return OMEN_OK;
}

void
idmap_close(struct idmap *map)
{
    if (map == NULL)
        return;
    for (uint32_t i = 0; i < map->chunk_count; i++)
        mem_free(map->chunks[i]);
    mem_free(atomic_load_explicit(&map->table, memory_order_relaxed));
    mem_free(map);
}

uint64_t
idmap_id(const struct idmap *map, uint32_t slot)
{
    return map->chunks[slot >> CHUNK_SHIFT][slot & (CHUNK_IDS - 1)];
}

void
idmap_name(struct idmap *map, uint32_t slot, uint64_t id)
{
    ASSERT(slot >> CHUNK_SHIFT < map->chunk_count);
    map->chunks[slot >> CHUNK_SHIFT][slot & (CHUNK_IDS - 1)] = id;
}

// Copies what is live. In the order of the old table the new one fills from front to back, since both are in the
// order of the hashes; only the ids are met at random, hence the prefetch.
static void
table_refill(const struct idmap *map, const struct table *old, struct table *new)
{
    for (uint32_t i = 0; i < old->capacity; i++) {
        if (i + PREFETCH_AHEAD < old->capacity) {
            const uint32_t ahead =
                atomic_load_explicit(&old->entries[i + PREFETCH_AHEAD], memory_order_relaxed);
            if (ahead != ENTRY_EMPTY && ahead != old->slot_mask) {
                const uint32_t slot = slot_of(old, ahead);
                prefetch_line(&map->chunks[slot >> CHUNK_SHIFT][slot & (CHUNK_IDS - 1)]);
            }
        }
        const uint32_t entry = atomic_load_explicit(&old->entries[i], memory_order_relaxed);
        if (entry == ENTRY_EMPTY || entry == old->slot_mask)
            continue;
        const uint32_t slot = slot_of(old, entry);
        const uint64_t hash = mix64(idmap_id(map, slot));
        uint32_t place = place_of(hash, new->capacity);
        while (atomic_load_explicit(&new->entries[place], memory_order_relaxed) != ENTRY_EMPTY)
            place = place + 1 == new->capacity ? 0 : place + 1;
        atomic_store_explicit(&new->entries[place], tag_of(new, hash) | (slot + 1),
                              memory_order_relaxed);
    }
}

omen_status
idmap_reserve(struct idmap *map, uint32_t slots, uint32_t added)
{
    ASSERT(slots <= map->slots_max);
    while ((uint64_t)map->chunk_count << CHUNK_SHIFT < slots) {
        uint64_t *chunk = mem_alloc(CHUNK_IDS * sizeof *chunk);
        if (chunk == NULL)
            return OMEN_E_NO_MEMORY;
        map->chunks[map->chunk_count++] = chunk;
    }
    struct table *old = atomic_load_explicit(&map->table, memory_order_relaxed);
    const uint64_t used = (uint64_t)live_of(map) + map->tombs + added;
    if (used * 5 <= (uint64_t)old->capacity * 4 && slots < old->slot_mask)
        return OMEN_OK;
    uint64_t capacity = ((uint64_t)live_of(map) + added) * 25 / 16 + 1;
    if (capacity < TABLE_MIN)
        capacity = TABLE_MIN;
    struct table *new = table_open((uint32_t)capacity, slots);
    if (new == NULL)
        return OMEN_E_NO_MEMORY;
    table_refill(map, old, new);
    map->tombs = 0;
    atomic_store_explicit(&map->table, new, memory_order_release);
    epoch_retire(map->gate, old, mem_free);
    return OMEN_OK;
}

// Where `id` is in the table, or where its walk ends; *tomb is the first tomb on the way, or the capacity.
static uint32_t
walk(const struct idmap *map, const struct table *table, uint64_t id, uint32_t *tomb)
{
    const uint64_t hash = mix64(id);
    const uint32_t tag = tag_of(table, hash);
    uint32_t place = place_of(hash, table->capacity);
    *tomb = table->capacity;
    for (;;) {
        const uint32_t entry = atomic_load_explicit(&table->entries[place], memory_order_acquire);
        if (entry == ENTRY_EMPTY)
            return place;
        if (entry == table->slot_mask) {
            if (*tomb == table->capacity)
                *tomb = place;
        } else if ((entry & ~table->slot_mask) == tag &&
                   idmap_id(map, slot_of(table, entry)) == id) {
            return place;
        }
        place = place + 1 == table->capacity ? 0 : place + 1;
    }
}

uint32_t
idmap_put(struct idmap *map, uint32_t slot)
{
    struct table *table = atomic_load_explicit(&map->table, memory_order_relaxed);
    const uint64_t id = idmap_id(map, slot);
    uint32_t tomb;
    uint32_t place = walk(map, table, id, &tomb);
    const uint32_t before = atomic_load_explicit(&table->entries[place], memory_order_relaxed);
    if (before == ENTRY_EMPTY) {
        if (tomb != table->capacity) {
            place = tomb;
            map->tombs--;
        }
        set_live(map, live_of(map) + 1);
        ASSERT(live_of(map) + map->tombs < table->capacity);
    }
    atomic_store_explicit(&table->entries[place], tag_of(table, mix64(id)) | (slot + 1),
                          memory_order_release);
    return before == ENTRY_EMPTY ? IDMAP_NONE : slot_of(table, before);
}

uint32_t
idmap_remove(struct idmap *map, uint64_t id)
{
    struct table *table = atomic_load_explicit(&map->table, memory_order_relaxed);
    uint32_t tomb;
    uint32_t place = walk(map, table, id, &tomb);
    const uint32_t entry = atomic_load_explicit(&table->entries[place], memory_order_relaxed);
    if (entry == ENTRY_EMPTY)
        return IDMAP_NONE;
    set_live(map, live_of(map) - 1);
    map->tombs++;
    atomic_store_explicit(&table->entries[place], table->slot_mask, memory_order_release);
    // A walk that reaches the next place ends there, so it may as well end here.
    const uint32_t next = place + 1 == table->capacity ? 0 : place + 1;
    if (atomic_load_explicit(&table->entries[next], memory_order_relaxed) == ENTRY_EMPTY)
        while (atomic_load_explicit(&table->entries[place], memory_order_relaxed) ==
               table->slot_mask) {
            atomic_store_explicit(&table->entries[place], ENTRY_EMPTY, memory_order_release);
            map->tombs--;
            place = place == 0 ? table->capacity - 1 : place - 1;
        }
    return slot_of(table, entry);
}

uint32_t
idmap_find(const struct idmap *map, uint64_t id)
{
    const struct table *table = atomic_load_explicit(&map->table, memory_order_acquire);
    const uint64_t hash = mix64(id);
    const uint32_t tag = tag_of(table, hash);
    uint32_t place = place_of(hash, table->capacity);
    for (;;) {
        const uint32_t entry = atomic_load_explicit(&table->entries[place], memory_order_acquire);
        if (entry == ENTRY_EMPTY)
            return IDMAP_NONE;
        if ((entry & ~table->slot_mask) == tag && entry != table->slot_mask &&
            idmap_id(map, slot_of(table, entry)) == id)
            return slot_of(table, entry);
        place = place + 1 == table->capacity ? 0 : place + 1;
    }
}

uint32_t
idmap_count(const struct idmap *map)
{
    return live_of(map);
}

size_t
idmap_bytes(const struct idmap *map)
{
    const struct table *table = atomic_load_explicit(&map->table, memory_order_relaxed);
    return sizeof *map +
           (((size_t)map->slots_max + CHUNK_IDS - 1) >> CHUNK_SHIFT) * sizeof map->chunks[0] +
           (size_t)map->chunk_count * CHUNK_IDS * sizeof(uint64_t) +
           (size_t)table->capacity * sizeof table->entries[0];
}
