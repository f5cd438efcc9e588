// shard/idmap_loaded.c -- the table of ids as it was saved: asked where it lies, and one with ours when it has to be.
//
// Shape: handle, in memory; shard/idmap.c has the idea.
#include "shard/idmap_int.h"

#include <string.h>

#include "base/assert.h"
#include "base/bitmap.h"
#include "base/prng.h"

struct table_head {
    uint32_t rows, count, capacity, reserved;
};

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

static bool
is_gone(const struct loaded *loaded, uint32_t slot)
{
    return atomic_bit_test(loaded->gone, slot);
}

uint32_t
idmap_find_loaded(const struct idmap *map, const struct loaded *loaded, uint64_t id)
{
    const uint64_t hash = mix64(id);
    const uint32_t mask = loaded->slot_mask, tag = tag_of(mask, hash);
    uint32_t place = place_of(hash, loaded->capacity);
    for (uint32_t met = 0; met < loaded->capacity; met++) {
        const uint32_t entry = loaded->pieces[place >> PIECE_SHIFT][place & PIECE_MASK];
        if (entry == ENTRY_EMPTY)
            return IDMAP_NONE;
        const uint32_t slot = slot_of(mask, entry);
        if ((entry & ~mask) == tag && slot < loaded->rows && idmap_id(map, slot) == id &&
            !is_gone(loaded, slot))
            return slot;
        place = place + 1 == loaded->capacity ? 0 : place + 1;
    }
    return IDMAP_NONE;
}

// A damaged table may have an id twice.
uint32_t
idmap_remove_loaded(const struct idmap *map, struct loaded *loaded, uint64_t id)
{
    const uint32_t first = idmap_find_loaded(map, loaded, id);
    for (uint32_t slot = first; slot != IDMAP_NONE; slot = idmap_find_loaded(map, loaded, id)) {
        (void)atomic_bit_set(loaded->gone, slot);
        loaded->gone_count++;
    }
    return first;
}

omen_status
idmap_own(struct idmap *map)
{
    return atomic_load_explicit(&map->lent, memory_order_relaxed) == 0 ? OMEN_OK
                                                                       : idmap_join(map, 0);
}

// ---- two tables become one ----

// Copies a piece into a table that nobody else knows, so its entries are plain memory: 16 of them a step. Returns how many are
// used; *beyond is set where one's slot is not below the rows.
static uint32_t
piece_copy(const struct loaded *from, uint32_t piece, struct table *to, bool *beyond)
{
    uint32_t *const at = (uint32_t *)(void *)to->entries + ((size_t)piece << PIECE_SHIFT);
    const uint32_t count = piece_entries(from->capacity, piece);
    const uint32_t mask = from->slot_mask, rows = from->rows;
    uint32_t used = 0, wrong = 0;
    memcpy(at, from->pieces[piece], count * sizeof *at);
    for (uint32_t i = 0; i < count; i++) {
        used += at[i] != ENTRY_EMPTY;
        wrong += at[i] != ENTRY_EMPTY && (at[i] & mask) - 1 >= rows;
    }
    *beyond |= wrong > 0;
    return used;
}

// Makes tombs of those that are gone; returns how many.
static uint32_t
bury(const struct loaded *loaded, struct table *copy)
{
    uint32_t tombs = 0;
    for (uint32_t i = 0; i < copy->capacity && loaded->gone_count > 0; i++) {
        const uint32_t entry = atomic_load_explicit(&copy->entries[i], memory_order_relaxed);
        if (entry == ENTRY_EMPTY || !is_gone(loaded, slot_of(copy->slot_mask, entry)))
            continue;
        atomic_store_explicit(&copy->entries[i], copy->slot_mask, memory_order_relaxed);
        tombs++;
    }
    return tombs;
}

// The loaded table in a table of ours.
static omen_status
copy_loaded(const struct loaded *loaded, struct table **out, uint32_t *tombs)
{
    struct table *copy = idmap_table_open(loaded->capacity, loaded->rows);
    if (copy == NULL)
        return OMEN_E_NO_MEMORY;
    uint32_t used = 0;
    bool beyond = false;
    for (uint32_t piece = 0; piece < piece_count(loaded->capacity); piece++)
        used += piece_copy(loaded, piece, copy, &beyond);
    // Only then is there an EMPTY for every walk, and an id behind every slot.
    if (beyond || used != loaded->count) {
        idmap_table_free(copy);
        return OMEN_E_CORRUPT;
    }
    *tombs = bury(loaded, copy);
    *out = copy;
    return OMEN_OK;
}

// Puts the entries of `upper` into a table that nobody else knows and that has room. Returns how many ids are new to it.
static uint32_t
overlay(const struct idmap *map, const struct table *upper, struct table *to)
{
    uint32_t new_ids = 0;
    for (uint32_t i = 0; i < upper->capacity; i++) {
        const uint32_t entry = atomic_load_explicit(&upper->entries[i], memory_order_relaxed);
        if (entry == ENTRY_EMPTY || entry == upper->slot_mask)
            continue;
        const uint32_t slot = slot_of(upper->slot_mask, entry);
        const uint64_t id = idmap_id(map, slot);
        uint32_t tomb;
        const uint32_t place = idmap_walk(map, to, id, &tomb);
        new_ids += atomic_load_explicit(&to->entries[place], memory_order_relaxed) == ENTRY_EMPTY;
        atomic_store_explicit(&to->entries[place], tag_of(to->slot_mask, mix64(id)) | (slot + 1),
                              memory_order_relaxed);
    }
    return new_ids;
}

omen_status
idmap_join(struct idmap *map, uint32_t added)
{
    struct table *const upper = ours(map), *whole;
    struct loaded *const lower = upper->lower;
    uint32_t tombs;
    const omen_status status = copy_loaded(lower, &whole, &tombs);
    if (status != OMEN_OK)
        return status;
    uint32_t filled = lower->count - tombs;
    const uint64_t wanted = (uint64_t)filled + map->filled + added;
    if (!has_room(whole, wanted + tombs, map->slots)) {
        struct table *wider = idmap_table_open(capacity_for(wanted), map->slots);
        if (wider != NULL)
            idmap_refill(map, whole, wider);
        idmap_table_free(whole);
        if (wider == NULL)
            return OMEN_E_NO_MEMORY;
        whole = wider;
        tombs = 0;
    }
    filled += overlay(map, upper, whole);
    map->filled = filled;
    map->tombs = tombs;
    set_live(map, filled); // the same, unless what was loaded is damaged
    atomic_store_explicit(&map->table, whole, memory_order_release);
    atomic_store_explicit(&map->lent, 0, memory_order_release);
    epoch_retire(map->gate, upper, idmap_table_free);
    epoch_retire(map->gate, lower, idmap_table_free);
    return OMEN_OK;
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
        const uint32_t place = idmap_walk(map, table, id, &tomb);
        count += atomic_load_explicit(&table->entries[place], memory_order_relaxed) == ENTRY_EMPTY;
        atomic_store_explicit(&table->entries[place],
                              tag_of(table->slot_mask, mix64(id)) | (slot + 1),
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
    uint64_t live = 0;
    for (uint32_t slot = 0; slot < rows; slot++)
        live += !is_erased(erased, slot);
    struct table *table = idmap_table_open(capacity_for(live), rows);
    if (table == NULL)
        return OMEN_E_NO_MEMORY;
    const struct table_head head = {
        .rows = rows,
        .count = table_fill(map, table, rows, erased),
        .capacity = table->capacity,
    };
    const omen_status status = table_save(table, &head, sink);
    idmap_table_free(table);
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
read_head(uint32_t rows, const struct image_source *source, struct table_head *head)
{
    size_t bytes = 0;
    const void *at = source->get(source->context, IMAGE_ID_HEAD, 0, &bytes);
    if (at == NULL || bytes != sizeof *head)
        return OMEN_E_CORRUPT;
    memcpy(head, at, sizeof *head);
    return head_is_sound(head, rows) ? OMEN_OK : OMEN_E_CORRUPT;
}

static omen_status
lend_pieces(struct loaded *loaded, const struct image_source *source)
{
    for (uint32_t piece = 0; piece < piece_count(loaded->capacity); piece++) {
        size_t bytes = 0;
        const void *entries = source->get(source->context, IMAGE_ID_TABLE, piece, &bytes);
        if (entries == NULL || (uintptr_t)entries % sizeof(uint64_t) != 0 ||
            bytes != piece_entries(loaded->capacity, piece) * sizeof(uint32_t))
            return OMEN_E_CORRUPT;
        loaded->pieces[piece] = entries;
    }
    return OMEN_OK;
}

// An empty table of ours over the loaded one.
static omen_status
table_lend(struct idmap *map, uint32_t rows, const struct image_source *source)
{
    struct table_head head;
    const omen_status status = read_head(rows, source, &head);
    if (status != OMEN_OK)
        return status;
    struct table *table = idmap_table_open(TABLE_MIN, rows);
    if (table == NULL)
        return OMEN_E_NO_MEMORY;
    atomic_init(&map->table, table);
    const size_t pieces = piece_count(head.capacity) * sizeof(uint32_t *);
    struct loaded *loaded =
        idmap_table_memory(sizeof *loaded + pieces + (size_t)bitmap_words(rows) * sizeof(uint64_t));
    if (loaded == NULL)
        return OMEN_E_NO_MEMORY;
    table->lower = loaded;
    loaded->capacity = head.capacity;
    loaded->slot_mask = idmap_mask_for(rows);
    loaded->rows = rows;
    loaded->count = head.count;
    loaded->gone = (_Atomic uint64_t *)(void *)((char *)loaded + sizeof *loaded + pieces);
    atomic_init(&map->lent, 1);
    set_live(map, head.count);
    return lend_pieces(loaded, source);
}

omen_status
idmap_load(uint32_t slots_max, struct epoch *gate, uint32_t rows, const struct image_source *source,
           struct idmap **out)
{
    omen_status status = idmap_new(slots_max, gate, out);
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
