// shard/names.c -- a string interner with dense keys.
//
// Shape: handle.
//
// Texts lie one behind the other in an arena of 8-byte granules, each as a length byte, the bytes and a NUL, and never
// across two pieces. A key leads to its text through an array of granule numbers. A text leads to its key through a table
// of {upper half of the hash, key}: the half hash gives the place and spares looks at other texts, and lets the table
// grow without touching one. Nothing is ever removed, so readers need no tombs; an outgrown table is freed behind the gate.
//
// What was loaded is read where it lies, and may be anything: every step into it is checked.
#include "shard/names.h"

#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/limits.h"

#define GRANULE 8u
#define GRANULES_MAX 0xfffffffeu
#define TABLE_MIN 16u
#define ENTRY_EMPTY UINT64_MAX // no key is 2^32 - 1
#define HEAD_VERSION 1u

// Entries are our own, or lie in the pieces that were loaded.
struct table {
    uint64_t capacity;
    bool lent;
    struct arena loaded;
    _Atomic uint64_t entries[];
};

struct names {
    struct epoch *gate;
    _Atomic(struct table *) table;
    struct arena places; // u32: key -> granule
    struct arena texts;
    uint64_t granules; // used
    uint64_t loaded_count, loaded_granules;
    _Atomic uint64_t count;
};

struct head {
    uint32_t version, bytes; // of this struct
    uint64_t count, granules, capacity;
};

static void
table_close(void *memory)
{
    struct table *table = memory;
    if (table == NULL)
        return;
    arena_fini(&table->loaded);
    mem_free(table);
}

static struct table *
table_open(uint64_t capacity)
{
    struct table *table = mem_alloc(sizeof *table + capacity * sizeof table->entries[0]);
    if (table == NULL)
        return NULL;
    table->capacity = capacity;
    table->lent = false;
    table->loaded = (struct arena){0};
    for (uint64_t i = 0; i < capacity; i++)
        atomic_init(&table->entries[i], ENTRY_EMPTY);
    return table;
}

static uint64_t
table_entry(const struct table *table, uint64_t place)
{
    if (!table->lent)
        return atomic_load_explicit(&table->entries[place], memory_order_acquire);
    uint64_t entry;
    memcpy(&entry, arena_row(&table->loaded, (uint32_t)place), sizeof entry);
    return entry;
}

static struct names *
names_new(struct epoch *gate)
{
    struct names *names = mem_alloc_zero(1, sizeof *names);
    if (names == NULL)
        return NULL;
    names->gate = gate;
    if (arena_init(&names->places, sizeof(uint32_t), NAMES_MAX) == OMEN_OK &&
        arena_init(&names->texts, GRANULE, GRANULES_MAX) == OMEN_OK)
        return names;
    names_close(names);
    return NULL;
}

omen_status
names_open(struct epoch *gate, struct names **out)
{
    *out = names_new(gate);
    if (*out == NULL)
        return OMEN_E_NO_MEMORY;
    struct table *table = table_open(TABLE_MIN);
    if (table == NULL) {
        names_close(*out);
        *out = NULL;
        return OMEN_E_NO_MEMORY;
    }
    atomic_init(&(*out)->table, table);
    return OMEN_OK;
}

void
names_close(struct names *names)
{
    if (names == NULL)
        return;
    table_close(atomic_load_explicit(&names->table, memory_order_relaxed));
    arena_fini(&names->places);
    arena_fini(&names->texts);
    mem_free(names);
}

static void
table_insert(struct table *table, uint64_t entry)
{
    uint64_t place = (entry >> 32) * table->capacity >> 32;
    while (atomic_load_explicit(&table->entries[place], memory_order_relaxed) != ENTRY_EMPTY)
        place = place + 1 == table->capacity ? 0 : place + 1;
    atomic_store_explicit(&table->entries[place], entry, memory_order_release);
}

// A table of our own with room for `keys`, and what the old one leads to below `count`.
static struct table *
table_rebuild(const struct table *old, uint64_t keys, uint64_t count)
{
    struct table *new = table_open(keys * 25 / 16 + 1 < TABLE_MIN ? TABLE_MIN : keys * 25 / 16 + 1);
    uint64_t taken = 0;
    for (uint64_t i = 0; new != NULL &&i < old->capacity &&taken < count; i++) {
        const uint64_t entry = table_entry(old, i);
        if (entry == ENTRY_EMPTY || (uint32_t)entry >= count)
            continue;
        table_insert(new, entry);
        taken++;
    }
    return new;
}

static omen_status
reserve_table(struct names *names, uint64_t keys)
{
    struct table *old = atomic_load_explicit(&names->table, memory_order_relaxed);
    if (!old->lent && keys * 5 <= old->capacity * 4)
        return OMEN_OK;
    struct table *new = table_rebuild(old, keys, names_count(names));
    if (new == NULL)
        return OMEN_E_NO_MEMORY;
    atomic_store_explicit(&names->table, new, memory_order_release);
    epoch_retire(names->gate, old, table_close);
    return OMEN_OK;
}

static uint64_t
granules_of(size_t text_bytes)
{
    return (text_bytes + 2 + GRANULE - 1) / GRANULE;
}

// Where the next text of so many granules goes: not across two pieces.
static uint64_t
next_place(const struct names *names, uint64_t granules)
{
    const uint64_t piece = (uint64_t)names->texts.mask + 1;
    const uint64_t left = piece - (names->granules & (piece - 1));
    return granules <= left ? names->granules : names->granules + left;
}

omen_status
names_reserve(struct names *names, uint32_t count, size_t bytes)
{
    const uint64_t keys = names_count(names) + count;
    if (keys > NAMES_MAX)
        return OMEN_E_FULL;
    if (count == 0)
        return OMEN_OK;
    // Each text may waste a granule's rest, and each piece the end that a text did not fit into.
    const uint64_t most = granules_of(ID_TEXT_BYTES_MAX);
    const uint64_t wanted = bytes / GRANULE + (uint64_t)count * 2;
    const uint64_t pieces = wanted / (names->texts.mask + 1 - most) + 2;
    const uint64_t granules = names->granules + wanted + pieces * most;
    if (granules > GRANULES_MAX)
        return OMEN_E_FULL;
    omen_status status = arena_reserve(&names->places, (uint32_t)keys);
    if (status == OMEN_OK)
        status = arena_reserve(&names->texts, (uint32_t)granules);
    if (status == OMEN_OK)
        status = reserve_table(names, keys);
    return status;
}

uint64_t
names_add(struct names *names, const char *text, size_t bytes)
{
    const uint64_t key = names_count(names);
    ASSERT(bytes >= 1 && bytes <= ID_TEXT_BYTES_MAX);
    const uint32_t place = (uint32_t)next_place(names, granules_of(bytes));
    char *copy = (char *)arena_row(&names->texts, place);
    copy[0] = (char)(unsigned char)bytes;
    memcpy(copy + 1, text, bytes);
    copy[bytes + 1] = '\0';
    names->granules = place + granules_of(bytes);
    memcpy(arena_row(&names->places, (uint32_t)key), &place, sizeof place);
    const uint64_t half = hash_bytes(text, bytes) >> 32;
    table_insert(atomic_load_explicit(&names->table, memory_order_relaxed), half << 32 | key);
    // Last: whoever sees the count finds the text.
    atomic_store_explicit(&names->count, key + 1, memory_order_release);
    return key;
}

// The record of a key below the count; an empty one where what was loaded is damaged. A record that was loaded lies
// before the end of what was, where its piece may end too, and not across two pieces.
static const char *
text_of(const struct names *names, uint64_t key)
{
    static const char empty[2];
    uint32_t place;
    memcpy(&place, arena_row(&names->places, (uint32_t)key), sizeof place);
    if (key >= names->loaded_count)
        return (const char *)arena_row(&names->texts, place);
    if (place >= names->loaded_granules)
        return empty;
    const uint64_t piece_left = (uint64_t)names->texts.mask + 1 - (place & names->texts.mask);
    const uint64_t loaded_left = names->loaded_granules - place;
    const uint64_t left = (piece_left < loaded_left ? piece_left : loaded_left) * GRANULE;
    const char *text = (const char *)arena_row(&names->texts, place);
    const size_t bytes = (unsigned char)text[0];
    return bytes + 2 <= left && text[bytes + 1] == '\0' ? text : empty;
}

uint64_t
names_find(const struct names *names, const char *text, size_t bytes)
{
    if (bytes < 1 || bytes > ID_TEXT_BYTES_MAX)
        return NAMES_NONE;
    const struct table *table = atomic_load_explicit(&names->table, memory_order_acquire);
    const uint64_t half = hash_bytes(text, bytes) >> 32;
    uint64_t place = half * table->capacity >> 32;
    for (uint64_t probes = 0; probes < table->capacity; probes++) {
        const uint64_t entry = table_entry(table, place);
        if (entry == ENTRY_EMPTY)
            return NAMES_NONE;
        if (entry >> 32 == half && (uint32_t)entry < names_count(names)) {
            const char *other = text_of(names, (uint32_t)entry);
            if ((unsigned char)other[0] == bytes && memcmp(other + 1, text, bytes) == 0)
                return (uint32_t)entry;
        }
        place = place + 1 == table->capacity ? 0 : place + 1;
    }
    return NAMES_NONE; // a table without an end was loaded
}

const char *
names_text(const struct names *names, uint64_t key, size_t *bytes)
{
    if (key >= names_count(names))
        return NULL;
    const char *text = text_of(names, key);
    *bytes = (unsigned char)text[0];
    return text + 1;
}

uint64_t
names_count(const struct names *names)
{
    return atomic_load_explicit(&names->count, memory_order_acquire);
}

size_t
names_bytes(const struct names *names)
{
    const struct table *table = atomic_load_explicit(&names->table, memory_order_relaxed);
    return sizeof *names + arena_owned_bytes(&names->places, (uint32_t)names_count(names)) +
           arena_owned_bytes(&names->texts, (uint32_t)names->granules) +
           (table->lent ? 0 : table->capacity * sizeof table->entries[0]);
}

// ---- on disk ----

omen_status
names_mark(struct names *names, struct names_mark *mark)
{
    const struct table *table = atomic_load_explicit(&names->table, memory_order_relaxed);
    *mark = (struct names_mark){.count = names_count(names), .granules = names->granules};
    // The next save puts the table elsewhere, and where it lies now is used for something else.
    return table->lent ? reserve_table(names, mark->count) : OMEN_OK;
}

static omen_status
save_table(struct names *names, const struct names_mark *mark, const struct image_sink *sink,
           uint64_t *capacity)
{
    const uint32_t ticket = epoch_enter(names->gate);
    struct table *table = table_rebuild(atomic_load_explicit(&names->table, memory_order_acquire),
                                        mark->count, mark->count);
    epoch_leave(names->gate, ticket);
    if (table == NULL)
        return OMEN_E_NO_MEMORY;
    *capacity = table->capacity;
    const omen_status status =
        image_put_whole(sink, IMAGE_NAME_TABLE, (const void *)(uintptr_t)table->entries,
                        (size_t)table->capacity * sizeof table->entries[0]);
    table_close(table);
    return status;
}

omen_status
names_save(struct names *names, const struct names_mark *mark, const struct image_sink *sink)
{
    struct head head = {.version = HEAD_VERSION,
                        .bytes = sizeof head,
                        .count = mark->count,
                        .granules = mark->granules};
    omen_status status = arena_save(&names->places, IMAGE_NAME_AT, (uint32_t)mark->count, sink);
    if (status == OMEN_OK)
        status = arena_save(&names->texts, IMAGE_NAMES, (uint32_t)mark->granules, sink);
    if (status == OMEN_OK && mark->count > 0)
        status = save_table(names, mark, sink, &head.capacity);
    if (status == OMEN_OK)
        status = sink->put(sink->context, IMAGE_NAME_HEAD, 0, &head, sizeof head);
    return status;
}

void
names_touch(struct names *names)
{
    arena_touch_all(&names->places);
    arena_touch_all(&names->texts);
}

static omen_status
load_table(struct names *names, const struct image_source *source, uint64_t capacity)
{
    struct table *table = table_open(capacity == 0 ? TABLE_MIN : 0);
    if (table == NULL)
        return OMEN_E_NO_MEMORY;
    atomic_init(&names->table, table);
    if (capacity == 0)
        return OMEN_OK;
    omen_status status = arena_init(&table->loaded, sizeof(uint64_t), UINT32_MAX);
    if (status == OMEN_OK)
        status = arena_load(&table->loaded, IMAGE_NAME_TABLE, (uint32_t)capacity, source);
    if (status != OMEN_OK)
        return status;
    table->capacity = capacity;
    table->lent = true;
    return OMEN_OK;
}

omen_status
names_load(struct epoch *gate, const struct image_source *source, struct names **out)
{
    struct head head;
    size_t count = 0;
    *out = NULL;
    const void *bytes = source->get(source->context, IMAGE_NAME_HEAD, 0, &count);
    if (bytes == NULL || count < sizeof head)
        return OMEN_E_CORRUPT;
    memcpy(&head, bytes, sizeof head);
    if (head.version > HEAD_VERSION)
        return OMEN_E_VERSION;
    if (head.count > NAMES_MAX || head.granules > GRANULES_MAX || head.granules < head.count ||
        head.capacity >= UINT32_MAX || (head.count > 0 && head.capacity <= head.count))
        return OMEN_E_CORRUPT;
    struct names *names = names_new(gate);
    if (names == NULL)
        return OMEN_E_NO_MEMORY;
    names->granules = names->loaded_granules = head.granules;
    names->loaded_count = head.count;
    atomic_init(&names->count, head.count);
    omen_status status = load_table(names, source, head.capacity);
    if (status == OMEN_OK)
        status = arena_load(&names->places, IMAGE_NAME_AT, (uint32_t)head.count, source);
    if (status == OMEN_OK)
        status = arena_load(&names->texts, IMAGE_NAMES, (uint32_t)head.granules, source);
    if (status == OMEN_OK) {
        *out = names;
        return OMEN_OK;
    }
    names_close(names);
    return status;
}
