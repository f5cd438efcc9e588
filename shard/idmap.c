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
//
// On disk a table is its entries in pieces, so one that was loaded is searched where it lies, through pointers to its
// pieces, and never written: copying one of a million takes as long as a tenth of opening and answering may. What changes goes
// into a table of ours that lies over it, is asked first, and leads on to it. An id that was removed has its slot's bit
// set in `gone`; one that was only put elsewhere has not, or a reader that came too early for the one table would come too late
// for the other. When the upper table has an eighth of the lower's size, or a checkpoint is about to put its pieces
// elsewhere, both become one. A loaded table is not believed: its slots are below the rows that were loaded, or passed as
// tombs are, and a walk ends when it has been everywhere.
#include "shard/idmap_int.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"
#include "base/prefetch.h"
#include "base/prng.h"
#include "shard/cell.h"

#define PREFETCH_AHEAD 12u
// A table over a loaded one has at most this part of its places in use
#define UPPER_SHARE 8u
// Bytes of a table that lies in pages of its own
#define PAGES_FROM ((size_t)128 << 10)

_Static_assert(SLOTS_MAX * 25ull / 16 < UINT32_MAX, "a table has at most 2^32 - 1 places");

// On the heap the tables that were outgrown would be holes, each too small for the next. All zeros.
void *
idmap_table_memory(size_t bytes)
{
    void *memory = bytes < PAGES_FROM ? mem_alloc_zero(1, bytes) : pages_alloc_small(bytes);
    if (memory != NULL)
        *(size_t *)memory = bytes;
    return memory;
}

// Of either kind; each begins with its bytes.
void
idmap_table_free(void *memory)
{
    if (memory == NULL)
        return;
    const size_t bytes = *(const size_t *)memory;
    if (bytes >= PAGES_FROM)
        pages_free(memory, bytes);
    else
        mem_free(memory);
}

struct table *
idmap_table_open(uint32_t capacity, uint32_t slots)
{
    const size_t bytes = sizeof(struct table) + (size_t)capacity * sizeof(uint32_t);
    struct table *table = idmap_table_memory(bytes);
    if (table == NULL)
        return NULL;
    if (bytes >= HUGE_PAGE_BYTES)
        pages_make_huge(table, bytes); // those it fills
    table->capacity = capacity;
    table->slot_mask = idmap_mask_for(slots);
    table->entries = (_Atomic uint32_t *)(void *)(table + 1);
    return table;
}

omen_status
idmap_new(uint32_t slots_max, struct epoch *gate, struct idmap **out)
{
    ASSERT(slots_max <= SLOTS_MAX);
    *out = NULL;
    struct idmap *map = mem_alloc_zero(1, sizeof *map);
    if (map == NULL)
        return OMEN_E_NO_MEMORY;
    map->gate = gate;
    map->slots_max = slots_max;
    if (cells_init(&map->ids, slots_max) != OMEN_OK) {
        mem_free(map);
        return OMEN_E_NO_MEMORY;
    }
    *out = map;
    return OMEN_OK;
}

omen_status
idmap_open(uint32_t slots_max, struct epoch *gate, struct idmap **out)
{
    omen_status status = idmap_new(slots_max, gate, out);
    if (status != OMEN_OK)
        return status;
    struct table *table = idmap_table_open(TABLE_MIN, 0);
    if (table == NULL) {
        idmap_close(*out);
        *out = NULL;
        return OMEN_E_NO_MEMORY;
    }
    atomic_init(&(*out)->table, table);
    return OMEN_OK;
}

void
idmap_close(struct idmap *map)
{
    if (map == NULL)
        return;
    struct table *table = atomic_load_explicit(&map->table, memory_order_relaxed);
    if (table != NULL)
        idmap_table_free(table->lower);
    idmap_table_free(table);
    arena_fini(&map->ids);
    mem_free(map);
}

uint64_t
idmap_id(const struct idmap *map, uint32_t slot)
{
    return *(const uint64_t *)cell_at(&map->ids, slot);
}

void
idmap_name(struct idmap *map, uint32_t slot, uint64_t id)
{
    ASSERT(slot < map->slots && !arena_is_lent(&map->ids, slot));
    *(uint64_t *)cell_at(&map->ids, slot) = id;
}

// Copies what is live. In the order of the old table the new one fills from front to back, since both are in the
// order of the hashes; only the ids are met at random, hence the prefetch.
void
idmap_refill(const struct idmap *map, const struct table *old, struct table *new)
{
    for (uint32_t i = 0; i < old->capacity; i++) {
        if (i + PREFETCH_AHEAD < old->capacity) {
            const uint32_t ahead =
                atomic_load_explicit(&old->entries[i + PREFETCH_AHEAD], memory_order_relaxed);
            if (ahead != ENTRY_EMPTY && ahead != old->slot_mask)
                prefetch_line(cell_at(&map->ids, slot_of(old->slot_mask, ahead)));
        }
        const uint32_t entry = atomic_load_explicit(&old->entries[i], memory_order_relaxed);
        if (entry == ENTRY_EMPTY || entry == old->slot_mask)
            continue;
        const uint32_t slot = slot_of(old->slot_mask, entry);
        const uint64_t hash = mix64(idmap_id(map, slot));
        uint32_t place = place_of(hash, new->capacity);
        while (atomic_load_explicit(&new->entries[place], memory_order_relaxed) != ENTRY_EMPTY)
            place = place + 1 == new->capacity ? 0 : place + 1;
        atomic_store_explicit(&new->entries[place], tag_of(new->slot_mask, hash) | (slot + 1),
                              memory_order_relaxed);
    }
}

omen_status
idmap_reserve(struct idmap *map, uint32_t slots, uint32_t added)
{
    ASSERT(slots <= map->slots_max);
    const omen_status status = arena_reserve(&map->ids, slots);
    if (status != OMEN_OK)
        return status;
    map->slots = slots > map->slots ? slots : map->slots;
    struct table *old = ours(map);
    const uint64_t used = (uint64_t)map->filled + map->tombs + added;
    if (old->lower != NULL && used > old->lower->capacity / UPPER_SHARE)
        return idmap_join(map, added);
    if (has_room(old, used, slots))
        return OMEN_OK;
    struct table *new = idmap_table_open(capacity_for((uint64_t)map->filled + added), slots);
    if (new == NULL)
        return OMEN_E_NO_MEMORY;
    idmap_refill(map, old, new);
    new->lower = old->lower;
    map->tombs = 0;
    atomic_store_explicit(&map->table, new, memory_order_release);
    epoch_retire(map->gate, old, idmap_table_free);
    return OMEN_OK;
}

uint32_t
idmap_walk(const struct idmap *map, const struct table *table, uint64_t id, uint32_t *tomb)
{
    const uint64_t hash = mix64(id);
    const uint32_t tag = tag_of(table->slot_mask, hash);
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
                   idmap_id(map, slot_of(table->slot_mask, entry)) == id) {
            return place;
        }
        place = place + 1 == table->capacity ? 0 : place + 1;
    }
}

// `found` is NULL, or what idmap_find says.
static uint32_t
put(struct idmap *map, uint32_t slot, const uint32_t *found)
{
    struct table *table = ours(map);
    const uint64_t id = idmap_id(map, slot);
    uint32_t tomb;
    uint32_t place = idmap_walk(map, table, id, &tomb);
    const uint32_t entry = atomic_load_explicit(&table->entries[place], memory_order_relaxed);
    uint32_t before = IDMAP_NONE;
    if (entry != ENTRY_EMPTY) {
        before = slot_of(table->slot_mask, entry);
    } else {
        if (table->lower != NULL)
            before = found != NULL ? *found : idmap_find_loaded(map, table->lower, id);
        if (tomb != table->capacity) {
            place = tomb;
            map->tombs--;
        }
        map->filled++;
        set_live(map, live_of(map) + (before == IDMAP_NONE));
        ASSERT(map->filled + map->tombs < table->capacity);
    }
    atomic_store_explicit(&table->entries[place], tag_of(table->slot_mask, mix64(id)) | (slot + 1),
                          memory_order_release);
    return before;
}

uint32_t
idmap_put(struct idmap *map, uint32_t slot)
{
    return put(map, slot, NULL);
}

void
idmap_put_found(struct idmap *map, uint32_t slot, uint32_t found)
{
    const uint32_t before = put(map, slot, &found);
    ASSERT(before == found);
}

static void
remove_entry(struct idmap *map, struct table *table, uint32_t place)
{
    map->filled--;
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
}

uint32_t
idmap_remove(struct idmap *map, uint64_t id)
{
    struct table *table = ours(map);
    uint32_t tomb;
    const uint32_t place = idmap_walk(map, table, id, &tomb);
    const uint32_t entry = atomic_load_explicit(&table->entries[place], memory_order_relaxed);
    // First: whoever does not find it above must not find it below.
    uint32_t slot = table->lower != NULL ? idmap_remove_loaded(map, table->lower, id) : IDMAP_NONE;
    if (entry != ENTRY_EMPTY) {
        slot = slot_of(table->slot_mask, entry);
        remove_entry(map, table, place);
    }
    if (slot != IDMAP_NONE && live_of(map) > 0) // a damaged table may have more than it says
        set_live(map, live_of(map) - 1);
    return slot;
}

uint32_t
idmap_find(const struct idmap *map, uint64_t id)
{
    const struct table *table = atomic_load_explicit(&map->table, memory_order_acquire);
    const uint64_t hash = mix64(id);
    const uint32_t tag = tag_of(table->slot_mask, hash);
    uint32_t place = place_of(hash, table->capacity);
    for (;;) {
        const uint32_t entry = atomic_load_explicit(&table->entries[place], memory_order_acquire);
        if (entry == ENTRY_EMPTY)
            return table->lower == NULL ? IDMAP_NONE : idmap_find_loaded(map, table->lower, id);
        if ((entry & ~table->slot_mask) == tag && entry != table->slot_mask &&
            idmap_id(map, slot_of(table->slot_mask, entry)) == id)
            return slot_of(table->slot_mask, entry);
        place = place + 1 == table->capacity ? 0 : place + 1;
    }
}

void
idmap_will_find(const struct idmap *map, uint64_t id)
{
    const struct table *table = atomic_load_explicit(&map->table, memory_order_acquire);
    const struct loaded *lower = table->lower;
    const uint64_t hash = mix64(id);
    prefetch_line(&table->entries[place_of(hash, table->capacity)]);
    if (lower != NULL) {
        const uint32_t place = place_of(hash, lower->capacity);
        prefetch_line(&lower->pieces[place >> PIECE_SHIFT][place & PIECE_MASK]);
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
    const struct table *table = ours(map);
    return sizeof *map + arena_owned_bytes(&map->ids, map->slots) + table->bytes +
           (table->lower != NULL ? table->lower->bytes : 0);
}
