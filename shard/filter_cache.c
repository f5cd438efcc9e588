// shard/filter_cache.c -- the last few filters and the rows they let through.
//
// Shape: handle in the shard's memory. An entry is one block: head, words of the bitmap, bytes of the key. Entries never
// change; a place is exchanged and the old entry retired behind the gate.
#include "shard/filter_cache.h"

#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"

struct filter_entry {
    uint64_t hash;
    struct filter_key key;       // its bytes lie at the end of the block
    struct filter_answer answer; // its words follow the head
    size_t block_bytes;
    _Atomic uint64_t used;
    uint64_t words[];
};

static struct filter_entry *entry_open(const struct filter_key *key,
                                       const struct filter_answer *answer);
static uint32_t place_for(struct filter_cache *cache, const struct filter_entry *entry);
static bool same_filter(const struct filter_entry *entry, uint64_t hash,
                        const struct filter_key *key);

void
filter_cache_init(struct filter_cache *cache, struct epoch *gate)
{
    for (uint32_t i = 0; i < FILTER_CACHE_PLACES; i++)
        atomic_init(&cache->places[i], NULL);
    atomic_init(&cache->clock, 1);
    lock_init(&cache->writers);
    cache->gate = gate;
    cache->attic_count = 0;
}

void
filter_cache_fini(struct filter_cache *cache)
{
    for (uint32_t i = 0; i < FILTER_CACHE_PLACES; i++)
        mem_free(atomic_load(&cache->places[i]));
    for (uint32_t i = 0; i < cache->attic_count; i++)
        mem_free(cache->attic[i]);
    lock_fini(&cache->writers);
}

bool
filter_cache_find(struct filter_cache *cache, const struct filter_key *key,
                  struct filter_answer *out)
{
    const uint64_t hash = hash_bytes(key->bytes, key->count);
    for (uint32_t i = 0; i < FILTER_CACHE_PLACES; i++) {
        struct filter_entry *entry = atomic_load_explicit(&cache->places[i], memory_order_acquire);
        if (entry == NULL || entry->key.version != key->version ||
            entry->key.generation != key->generation || !same_filter(entry, hash, key))
            continue;
        const uint64_t tick = atomic_fetch_add_explicit(&cache->clock, 1, memory_order_relaxed);
        atomic_store_explicit(&entry->used, tick, memory_order_relaxed);
        *out = entry->answer;
        return true;
    }
    return false;
}

void
filter_cache_keep(struct filter_cache *cache, const struct filter_key *key,
                  const struct filter_answer *answer)
{
    if (!lock_try(&cache->writers))
        return;
    while (cache->attic_count > 0 &&
           epoch_try_retire(cache->gate, cache->attic[cache->attic_count - 1], mem_free))
        cache->attic_count--;
    struct filter_entry *entry =
        cache->attic_count < FILTER_CACHE_ATTIC ? entry_open(key, answer) : NULL;
    if (entry != NULL) {
        atomic_init(&entry->used,
                    atomic_fetch_add_explicit(&cache->clock, 1, memory_order_relaxed));
        struct filter_entry *before = atomic_exchange_explicit(
            &cache->places[place_for(cache, entry)], entry, memory_order_acq_rel);
        if (before != NULL && !epoch_try_retire(cache->gate, before, mem_free))
            cache->attic[cache->attic_count++] = before;
    }
    lock_release(&cache->writers);
}

// The place of the same filter, else an empty one, else that of the least recently used.
static uint32_t
place_for(struct filter_cache *cache, const struct filter_entry *entry)
{
    uint32_t place = 0;
    uint64_t oldest = UINT64_MAX;
    for (uint32_t i = 0; i < FILTER_CACHE_PLACES; i++) {
        const struct filter_entry *there =
            atomic_load_explicit(&cache->places[i], memory_order_relaxed);
        if (there != NULL && same_filter(there, entry->hash, &entry->key))
            return i;
        const uint64_t used =
            there == NULL ? 0 : atomic_load_explicit(&there->used, memory_order_relaxed);
        if (used < oldest) {
            place = i;
            oldest = used;
        }
    }
    return place;
}

size_t
filter_cache_bytes(struct filter_cache *cache)
{
    size_t bytes = 0;
    lock_acquire(&cache->writers);
    for (uint32_t i = 0; i < FILTER_CACHE_PLACES; i++) {
        const struct filter_entry *entry =
            atomic_load_explicit(&cache->places[i], memory_order_relaxed);
        bytes += entry == NULL ? 0 : entry->block_bytes;
    }
    for (uint32_t i = 0; i < cache->attic_count; i++)
        bytes += cache->attic[i]->block_bytes;
    lock_release(&cache->writers);
    return bytes;
}

static struct filter_entry *
entry_open(const struct filter_key *key, const struct filter_answer *answer)
{
    const size_t words = bitmap_words(answer->allowed.count);
    const size_t bytes = sizeof(struct filter_entry) + words * sizeof(uint64_t) + key->count;
    struct filter_entry *entry = mem_alloc(bytes);
    if (entry == NULL)
        return NULL;
    entry->hash = hash_bytes(key->bytes, key->count);
    entry->key = *key;
    entry->key.bytes = &entry->words[words];
    entry->answer = *answer;
    entry->answer.allowed.words = entry->words;
    entry->block_bytes = bytes;
    if (words > 0) // else there may be no memory at all
        memcpy(entry->words, answer->allowed.words, words * sizeof(uint64_t));
    memcpy(&entry->words[words], key->bytes, key->count);
    return entry;
}

static bool
same_filter(const struct filter_entry *entry, uint64_t hash, const struct filter_key *key)
{
    return entry->hash == hash && entry->key.form == key->form && entry->key.count == key->count &&
           memcmp(entry->key.bytes, key->bytes, key->count) == 0;
}
