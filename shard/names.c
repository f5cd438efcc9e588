// shard/names.c -- a string interner with dense keys.
//
// Shape: handle, in memory.
//
// Texts lie one behind the other in blocks, each as a length byte, the bytes and a NUL. A key leads to its text
// through chunks of pointers. A text leads to its key through a table of {upper half of the hash, key}: the
// half hash gives the place and spares looks at other texts, and lets the table grow without touching one.
// Nothing is ever removed, so readers need no tombs; an outgrown table is freed behind the gate.
#include "shard/names.h"

#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/limits.h"

#define BLOCK_BYTES ((size_t)64 << 10)
#define CHUNK_SHIFT 13u
#define CHUNK_KEYS (1u << CHUNK_SHIFT)
#define SHELF_SHIFT 10u
#define SHELF_CHUNKS (1u << SHELF_SHIFT)
#define SHELVES (1u << (32 - CHUNK_SHIFT - SHELF_SHIFT))
#define TABLE_MIN 16u
#define ENTRY_EMPTY UINT64_MAX // no key is 2^32 - 1

struct table {
    uint64_t capacity;
    _Atomic uint64_t entries[];
};

struct block {
    struct block *older;
    size_t capacity, used; // bytes
    char bytes[];
};

struct shelf {
    const char **chunks[SHELF_CHUNKS];
};

struct names {
    struct epoch *gate;
    _Atomic(struct table *) table;
    struct block *block; // the newest; older ones hang behind it
    _Atomic uint64_t count;
    uint64_t room; // keys that the chunks hold
    size_t bytes;  // of blocks, chunks and shelves
    struct shelf *shelves[SHELVES];
};

static struct table *
table_open(uint64_t capacity)
{
    struct table *table = mem_alloc(sizeof *table + capacity * sizeof table->entries[0]);
    if (table == NULL)
        return NULL;
    table->capacity = capacity;
    for (uint64_t i = 0; i < capacity; i++)
        atomic_init(&table->entries[i], ENTRY_EMPTY);
    return table;
}

omen_status
names_open(struct epoch *gate, struct names **out)
{
    *out = NULL;
    struct names *names = mem_alloc_zero(1, sizeof *names);
    if (names == NULL)
        return OMEN_E_NO_MEMORY;
    struct table *table = table_open(TABLE_MIN);
    if (table == NULL) {
        mem_free(names);
        return OMEN_E_NO_MEMORY;
    }
    names->gate = gate;
    atomic_init(&names->table, table);
    *out = names;
    return OMEN_OK;
}

void
names_close(struct names *names)
{
    if (names == NULL)
        return;
    for (struct block *block = names->block; block != NULL;) {
        struct block *older = block->older;
        mem_free(block);
        block = older;
    }
    for (uint32_t s = 0; s < SHELVES && names->shelves[s] != NULL; s++) {
        for (uint32_t c = 0; c < SHELF_CHUNKS; c++)
            mem_free(names->shelves[s]->chunks[c]);
        mem_free(names->shelves[s]);
    }
    mem_free(atomic_load_explicit(&names->table, memory_order_relaxed));
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

static omen_status
reserve_table(struct names *names, uint64_t keys)
{
    struct table *old = atomic_load_explicit(&names->table, memory_order_relaxed);
    if (keys * 5 <= old->capacity * 4)
        return OMEN_OK;
    struct table *new = table_open(keys * 25 / 16 + 1);
    if (new == NULL)
        return OMEN_E_NO_MEMORY;
    for (uint64_t i = 0; i < old->capacity; i++) {
        const uint64_t entry = atomic_load_explicit(&old->entries[i], memory_order_relaxed);
        if (entry != ENTRY_EMPTY)
            table_insert(new, entry);
    }
    atomic_store_explicit(&names->table, new, memory_order_release);
    epoch_retire(names->gate, old, mem_free);
    return OMEN_OK;
}

static omen_status
reserve_keys(struct names *names, uint64_t keys)
{
    while (names->room < keys) {
        const uint64_t chunk = names->room >> CHUNK_SHIFT;
        struct shelf **shelf = &names->shelves[chunk >> SHELF_SHIFT];
        if (*shelf == NULL) {
            *shelf = mem_alloc_zero(1, sizeof **shelf);
            if (*shelf == NULL)
                return OMEN_E_NO_MEMORY;
            names->bytes += sizeof **shelf;
        }
        const char **texts = mem_alloc(CHUNK_KEYS * sizeof *texts);
        if (texts == NULL)
            return OMEN_E_NO_MEMORY;
        (*shelf)->chunks[chunk & (SHELF_CHUNKS - 1)] = texts;
        names->bytes += CHUNK_KEYS * sizeof *texts;
        names->room += CHUNK_KEYS;
    }
    return OMEN_OK;
}

static omen_status
reserve_text(struct names *names, size_t bytes)
{
    if (names->block != NULL && names->block->capacity - names->block->used >= bytes)
        return OMEN_OK;
    const size_t capacity = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
    struct block *block = mem_alloc(sizeof *block + capacity);
    if (block == NULL)
        return OMEN_E_NO_MEMORY;
    *block = (struct block){.older = names->block, .capacity = capacity};
    names->block = block;
    names->bytes += sizeof *block + capacity;
    return OMEN_OK;
}

omen_status
names_reserve(struct names *names, uint32_t count, size_t bytes)
{
    const uint64_t keys = names_count(names) + count;
    if (keys > NAMES_MAX)
        return OMEN_E_FULL;
    if (count == 0)
        return OMEN_OK;
    omen_status status = reserve_keys(names, keys);
    if (status == OMEN_OK)
        status = reserve_text(names, bytes + (size_t)count * 2);
    if (status == OMEN_OK)
        status = reserve_table(names, keys);
    return status;
}

uint64_t
names_add(struct names *names, const char *text, size_t bytes)
{
    const uint64_t key = names_count(names);
    struct block *block = names->block;
    ASSERT(bytes >= 1 && bytes <= ID_TEXT_BYTES_MAX);
    ASSERT(key < names->room && block->capacity - block->used >= bytes + 2);
    char *copy = block->bytes + block->used;
    block->used += bytes + 2;
    copy[0] = (char)(unsigned char)bytes;
    memcpy(copy + 1, text, bytes);
    copy[bytes + 1] = '\0';
    const uint64_t chunk = key >> CHUNK_SHIFT;
    names->shelves[chunk >> SHELF_SHIFT]
        ->chunks[chunk & (SHELF_CHUNKS - 1)][key & (CHUNK_KEYS - 1)] = copy;
    atomic_store_explicit(&names->count, key + 1, memory_order_release);
    const uint64_t half = hash_bytes(text, bytes) >> 32;
    table_insert(atomic_load_explicit(&names->table, memory_order_relaxed), half << 32 | key);
    return key;
}

// The text behind a key that was given.
static const char *
text_of(const struct names *names, uint64_t key)
{
    const uint64_t chunk = key >> CHUNK_SHIFT;
    return names->shelves[chunk >> SHELF_SHIFT]
        ->chunks[chunk & (SHELF_CHUNKS - 1)][key & (CHUNK_KEYS - 1)];
}

uint64_t
names_find(const struct names *names, const char *text, size_t bytes)
{
    if (bytes < 1 || bytes > ID_TEXT_BYTES_MAX)
        return NAMES_NONE;
    const struct table *table = atomic_load_explicit(&names->table, memory_order_acquire);
    const uint64_t half = hash_bytes(text, bytes) >> 32;
    uint64_t place = half * table->capacity >> 32;
    for (;;) {
        const uint64_t entry = atomic_load_explicit(&table->entries[place], memory_order_acquire);
        if (entry == ENTRY_EMPTY)
            return NAMES_NONE;
        if (entry >> 32 == half) {
            const char *other = text_of(names, (uint32_t)entry);
            if ((unsigned char)other[0] == bytes && memcmp(other + 1, text, bytes) == 0)
                return (uint32_t)entry;
        }
        place = place + 1 == table->capacity ? 0 : place + 1;
    }
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
    return sizeof *names + names->bytes + table->capacity * sizeof table->entries[0];
}
