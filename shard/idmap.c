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
// pieces, until the first change copies it. A loaded one is not believed: its slots are below the rows that were loaded,
// or passed as tombs are, and a walk ends when it has been everywhere.
#include "shard/idmap.h"

#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"
#include "base/prefetch.h"
#include "base/prng.h"
#include "shard/cell.h"

#define PIECE_SHIFT 16u // entries of a piece of a table
#define PIECE_MASK ((1u << PIECE_SHIFT) - 1)
#define SLOT_MASK_MIN 0xffffffu
#define ENTRY_EMPTY 0u
#define TABLE_MIN 16u
#define PREFETCH_AHEAD 12u
#define PAGES_FROM ((size_t)128 << 10) // bytes of a table that lies in pages of its own

_Static_assert(SLOTS_MAX * 25ull / 16 < UINT32_MAX, "a table has at most 2^32 - 1 places");

// An entry whose slot has all bits set, and no hash, is a tomb: slot + 1 is below the mask.
struct table {
    size_t bytes; // all of it
    uint32_t capacity;
    uint32_t slot_mask;
    const uint32_t **pieces;   // lent; behind the struct
    uint32_t rows;             // that were loaded with it
    _Atomic uint32_t *entries; // ours, behind the struct; or NULL
};

struct table_head {
    uint32_t rows, count, capacity, reserved;
};

struct idmap {
    struct epoch *gate;
    _Atomic(struct table *) table;
    _Atomic uint32_t live; // changed by the writer only
    _Atomic uint32_t lent; // 1: the table is
    uint32_t tombs;
    uint32_t slots_max;
    uint32_t slots;   // reserved
    struct arena ids; // a row is there before any reader knows its slot
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

static uint32_t
piece_count(uint32_t capacity)
{
    return (uint32_t)(((uint64_t)capacity + (1u << PIECE_SHIFT) - 1) >> PIECE_SHIFT);
}

// Of the piece that is not beyond the capacity.
static uint32_t
piece_entries(uint32_t capacity, uint32_t piece)
{
    const uint32_t left = capacity - (piece << PIECE_SHIFT);
    return left < 1u << PIECE_SHIFT ? left : 1u << PIECE_SHIFT;
}

// On the heap the tables that were outgrown would be holes, each too small for the next.
static struct table *
table_memory(size_t bytes)
{
    void *memory = bytes < PAGES_FROM ? mem_alloc_zero(1, bytes) : pages_alloc_small(bytes);
    if (memory != NULL && bytes >= HUGE_PAGE_BYTES)
        pages_make_huge(
            memory,
            bytes); // those it fills: a table of a million is copied while a shard is opened
    return memory;
}

static void
table_free(void *memory)
{
    struct table *table = memory;
    if (table != NULL && table->bytes >= PAGES_FROM)
        pages_free(table, table->bytes);
    else
        mem_free(table);
}

// For slots below `slots`, with `bytes` behind it.
static struct table *
table_make(uint32_t capacity, uint32_t slots, size_t bytes)
{
    struct table *table = table_memory(sizeof *table + bytes);
    if (table == NULL)
        return NULL;
    table->bytes = sizeof *table + bytes;
    table->capacity = capacity;
    table->slot_mask = SLOT_MASK_MIN;
    while (slots >= table->slot_mask)
        table->slot_mask = table->slot_mask << 1 | 1;
    return table;
}

static struct table *
table_open(uint32_t capacity, uint32_t slots)
{
    struct table *table = table_make(capacity, slots, (size_t)capacity * sizeof(uint32_t));
    if (table != NULL)
        table->entries = (_Atomic uint32_t *)(void *)(table + 1);
    return table;
}

static omen_status
map_open(uint32_t slots_max, struct epoch *gate, struct idmap **out)
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
    omen_status status = map_open(slots_max, gate, out);
    if (status != OMEN_OK)
        return status;
    struct table *table = table_open(TABLE_MIN, 0);
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
    table_free(atomic_load_explicit(&map->table, memory_order_relaxed));
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
static void
table_refill(const struct idmap *map, const struct table *old, struct table *new)
{
    for (uint32_t i = 0; i < old->capacity; i++) {
        if (i + PREFETCH_AHEAD < old->capacity) {
            const uint32_t ahead =
                atomic_load_explicit(&old->entries[i + PREFETCH_AHEAD], memory_order_relaxed);
            if (ahead != ENTRY_EMPTY && ahead != old->slot_mask)
                prefetch_line(cell_at(&map->ids, slot_of(old, ahead)));
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
    omen_status status = idmap_own(map);
    if (status == OMEN_OK)
        status = arena_reserve(&map->ids, slots);
    if (status != OMEN_OK)
        return status;
    map->slots = slots > map->slots ? slots : map->slots;
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
    epoch_retire(map->gate, old, table_free);
    return OMEN_OK;
}

// Copies a piece of a table that nobody else knows, so its entries are plain memory: 16 of them a step. Returns how many are
// used; *beyond is set where one's slot is not below the table's rows.
static uint32_t
piece_copy(const struct table *lent, uint32_t piece, struct table *new, bool *beyond)
{
    uint32_t *const to = (uint32_t *)(void *)new->entries + ((size_t)piece << PIECE_SHIFT);
    const uint32_t count = piece_entries(lent->capacity, piece);
    const uint32_t mask = lent->slot_mask, rows = lent->rows;
    uint32_t used = 0, wrong = 0;
    memcpy(to, lent->pieces[piece], count * sizeof *to);
    for (uint32_t i = 0; i < count; i++) {
        used += to[i] != ENTRY_EMPTY;
        wrong += to[i] != ENTRY_EMPTY && (to[i] & mask) - 1 >= rows;
    }
    *beyond |= wrong > 0;
    return used;
}

omen_status
idmap_own(struct idmap *map)
{
    if (atomic_load_explicit(&map->lent, memory_order_relaxed) == 0)
        return OMEN_OK;
    struct table *lent = atomic_load_explicit(&map->table, memory_order_relaxed);
    struct table *new = table_open(lent->capacity, lent->rows);
    if (new == NULL)
        return OMEN_E_NO_MEMORY;
    uint32_t used = 0;
    bool beyond = false;
    for (uint32_t piece = 0; piece < piece_count(lent->capacity); piece++)
        used += piece_copy(lent, piece, new, &beyond);
    // Only then is there an EMPTY for every walk, and an id behind every slot.
    if (beyond || used != live_of(map)) {
        table_free(new);
        return OMEN_E_CORRUPT;
    }
    atomic_store_explicit(&map->table, new, memory_order_release);
    atomic_store_explicit(&map->lent, 0, memory_order_release);
    epoch_retire(map->gate, lent, table_free);
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
    ASSERT(table->entries != NULL);
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
    ASSERT(table->entries != NULL);
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

// Not inlined: its registers would be saved for every find in a table of ours.
__attribute__((noinline)) static uint32_t
find_lent(const struct idmap *map, const struct table *table, uint64_t id, uint32_t place)
{
    const uint32_t tag = tag_of(table, mix64(id));
    for (uint32_t met = 0; met < table->capacity; met++) {
        const uint32_t entry = table->pieces[place >> PIECE_SHIFT][place & PIECE_MASK];
        if (entry == ENTRY_EMPTY)
            return IDMAP_NONE;
        if ((entry & ~table->slot_mask) == tag && slot_of(table, entry) < table->rows &&
            idmap_id(map, slot_of(table, entry)) == id)
            return slot_of(table, entry);
        place = place + 1 == table->capacity ? 0 : place + 1;
    }
    return IDMAP_NONE;
}

uint32_t
idmap_find(const struct idmap *map, uint64_t id)
{
    const struct table *table = atomic_load_explicit(&map->table, memory_order_acquire);
    const uint64_t hash = mix64(id);
    const uint32_t tag = tag_of(table, hash);
    uint32_t place = place_of(hash, table->capacity);
    const _Atomic uint32_t *entries = table->entries;
    if (entries == NULL)
        return find_lent(map, table, id, place);
    for (;;) {
        const uint32_t entry = atomic_load_explicit(&entries[place], memory_order_acquire);
        if (entry == ENTRY_EMPTY)
            return IDMAP_NONE;
        if ((entry & ~table->slot_mask) == tag && entry != table->slot_mask &&
            idmap_id(map, slot_of(table, entry)) == id)
            return slot_of(table, entry);
        place = place + 1 == table->capacity ? 0 : place + 1;
    }
}

void
idmap_will_find(const struct idmap *map, uint64_t id)
{
    const struct table *table = atomic_load_explicit(&map->table, memory_order_acquire);
    if (table->entries != NULL)
        prefetch_line(&table->entries[place_of(mix64(id), table->capacity)]);
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
    return sizeof *map + arena_owned_bytes(&map->ids, map->slots) + sizeof *table +
           (table->entries == NULL ? piece_count(table->capacity) * sizeof table->pieces[0]
                                   : (size_t)table->capacity * sizeof table->entries[0]);
}

// ---- on disk ----

omen_status
idmap_save_ids(struct idmap *map, uint32_t rows, const struct image_sink *sink)
{
    return arena_save(&map->ids, IMAGE_IDS, rows, sink);
}

void
idmap_touch(struct idmap *map)
{
    arena_touch_all(&map->ids);
}

void
idmap_touch_lent(struct idmap *map)
{
    arena_touch_lent(&map->ids);
}

static bool
is_erased(const uint64_t *erased, uint32_t slot)
{
    return (erased[slot >> 6] >> (slot & 63) & 1) != 0;
}

// Returns how many entries there are.
static uint32_t
table_fill(const struct idmap *map, struct table *table, uint32_t rows, const uint64_t *erased)
{
    uint32_t count = 0;
    for (uint32_t slot = 0; slot < rows; slot++) {
        if (is_erased(erased, slot))
            continue;
        const uint64_t id = idmap_id(map, slot);
        uint32_t tomb;
        const uint32_t place = walk(map, table, id, &tomb);
        count += atomic_load_explicit(&table->entries[place], memory_order_relaxed) == ENTRY_EMPTY;
        atomic_store_explicit(&table->entries[place], tag_of(table, mix64(id)) | (slot + 1),
                              memory_order_relaxed);
    }
    return count;
}

static omen_status
table_save(const struct table *table, const struct table_head *head, const struct image_sink *sink)
{
    const omen_status status = image_put_whole(sink, IMAGE_ID_TABLE, (const void *)table->entries,
                                               (size_t)table->capacity * sizeof table->entries[0]);
    if (status != OMEN_OK)
        return status;
    return sink->put(sink->context, IMAGE_ID_HEAD, 0, head, sizeof *head);
}

omen_status
idmap_save_table(const struct idmap *map, uint32_t rows, const uint64_t *erased,
                 const struct image_sink *sink)
{
    ASSERT(atomic_load_explicit(&map->lent, memory_order_acquire) == 0);
    uint64_t places = 0;
    for (uint32_t slot = 0; slot < rows; slot++)
        places += !is_erased(erased, slot);
    places = places * 25 / 16 + 1;
    struct table *table = table_open(places < TABLE_MIN ? TABLE_MIN : (uint32_t)places, rows);
    if (table == NULL)
        return OMEN_E_NO_MEMORY;
    const struct table_head head = {
        .rows = rows,
        .count = table_fill(map, table, rows, erased),
        .capacity = table->capacity,
    };
    const omen_status status = table_save(table, &head, sink);
    table_free(table);
    return status;
}

// A table that would be too full for its walks to end, or larger than any that is saved, is none.
static bool
head_is_sound(const struct table_head *head, uint32_t rows)
{
    return head->rows == rows && head->count <= rows && head->capacity >= TABLE_MIN &&
           (uint64_t)head->count * 5 <= (uint64_t)head->capacity * 4 &&
           head->capacity <= (uint64_t)rows * 25 / 16 + TABLE_MIN;
}

static omen_status
table_lend(struct idmap *map, uint32_t rows, const struct image_source *source)
{
    size_t bytes = 0;
    struct table_head head;
    const void *at = source->get(source->context, IMAGE_ID_HEAD, 0, &bytes);
    if (at == NULL || bytes != sizeof head)
        return OMEN_E_CORRUPT;
    memcpy(&head, at, sizeof head);
    if (!head_is_sound(&head, rows))
        return OMEN_E_CORRUPT;
    struct table *table =
        table_make(head.capacity, rows, piece_count(head.capacity) * sizeof(void *));
    if (table == NULL)
        return OMEN_E_NO_MEMORY;
    table->pieces = (const uint32_t **)(void *)(table + 1);
    table->rows = rows;
    atomic_init(&map->table, table);
    atomic_init(&map->lent, 1);
    set_live(map, head.count);
    for (uint32_t piece = 0; piece < piece_count(head.capacity); piece++) {
        const void *entries = source->get(source->context, IMAGE_ID_TABLE, piece, &bytes);
        if (entries == NULL || (uintptr_t)entries % sizeof(uint64_t) != 0 ||
            bytes != piece_entries(head.capacity, piece) * sizeof table->entries[0])
            return OMEN_E_CORRUPT;
        table->pieces[piece] = entries;
    }
    return OMEN_OK;
}

omen_status
idmap_load(uint32_t slots_max, struct epoch *gate, uint32_t rows, const struct image_source *source,
           struct idmap **out)
{
    omen_status status = map_open(slots_max, gate, out);
    if (status != OMEN_OK)
        return status;
    status = rows <= slots_max ? table_lend(*out, rows, source) : OMEN_E_CORRUPT;
    if (status == OMEN_OK)
        status = arena_load(&(*out)->ids, IMAGE_IDS, rows, source);
    if (status == OMEN_OK) {
        (*out)->slots = rows;
        return OMEN_OK;
    }
    idmap_close(*out);
    *out = NULL;
    return status;
}
