// shard/generation.c -- everything that is numbered by slots: one numbering of a shard.
//
// Shape: handle, in memory.
#include "shard/generation.h"

#include <stdio.h>

#include "base/alloc.h"

#define BITS_STEP ((size_t)4096) // bytes that bits grow by: 32,768 slots

static size_t
bits_bytes(uint32_t slots)
{
    const size_t bytes = (size_t)bitmap_words(slots) * sizeof(uint64_t);
    return (bytes + BITS_STEP - 1) / BITS_STEP * BITS_STEP;
}

struct generation *
generation_new(struct hnsw *hnsw, uint32_t slots_max)
{
    struct generation *generation = mem_alloc_zero(1, sizeof *generation);
    if (generation == NULL) {
        hnsw_close(hnsw);
        return NULL;
    }
    generation->hnsw = hnsw;
    generation->slots_max = slots_max;
    generation->dead = pages_reserve(bits_bytes(slots_max));
    if (generation->dead != NULL)
        return generation;
    generation_close(generation);
    return NULL;
}

omen_status
generation_open(struct hnsw *hnsw, uint32_t slots_max, struct epoch *gate, struct generation **out)
{
    *out = NULL;
    struct generation *generation = generation_new(hnsw, slots_max);
    if (generation == NULL)
        return OMEN_E_NO_MEMORY;
    omen_status status = idmap_open(slots_max, gate, &generation->ids);
    if (status == OMEN_OK)
        status = payloads_open(slots_max, gate, &generation->payloads);
    if (status == OMEN_OK)
        status = fields_open(&generation->fields);
    if (status != OMEN_OK) {
        generation_close(generation);
        return status;
    }
    *out = generation;
    return OMEN_OK;
}

void
generation_close(struct generation *generation)
{
    if (generation == NULL)
        return;
    ahead_end(&generation->ahead);
    fields_close(generation->fields);
    mem_free(generation->kept);
    versions_close(generation->versions);
    payloads_close(generation->payloads);
    idmap_close(generation->ids);
    names_close(generation->names);
    hnsw_close(generation->hnsw);
    pages_free((void *)generation->dead, bits_bytes(generation->slots_max));
    mem_free(generation);
}

omen_status
generation_reserve(struct generation *generation, uint32_t slots, uint32_t added)
{
    omen_status status = hnsw_reserve(generation->hnsw, slots);
    if (status == OMEN_OK)
        status = idmap_reserve(generation->ids, slots, added);
    if (status == OMEN_OK && generation->versions != NULL)
        status = versions_reserve(generation->versions, slots);
    return status == OMEN_OK ? generation_reserve_bits(generation, slots) : status;
}

omen_status
generation_reserve_bits(struct generation *generation, uint32_t slots)
{
    if (bits_bytes(slots) <= generation->dead_bytes)
        return OMEN_OK;
    if (pages_grow((void *)generation->dead, generation->dead_bytes, bits_bytes(slots)) == NULL)
        return OMEN_E_NO_MEMORY;
    generation->dead_bytes = bits_bytes(slots);
    return OMEN_OK;
}

uint64_t
generation_row_version(const struct generation *generation, uint32_t slot)
{
    if (generation->versions == NULL)
        return 0;
    const uint64_t version = versions_get(generation->versions, slot);
    return version != 0 ? version : GENERATION_VERSION_FIRST;
}

bool
generation_version_is(const struct generation *generation, uint32_t slot, uint64_t wanted,
                      char words[GENERATION_WORDS_BYTES])
{
    const bool there = slot != IDMAP_NONE;
    const uint64_t version = there ? generation_row_version(generation, slot) : 0;
    if (wanted == GENERATION_VERSION_ANY || wanted == version)
        return true;
    if (!there)
        (void)snprintf(words, GENERATION_WORDS_BYTES, "is not there, but should have version %llu",
                       (unsigned long long)wanted);
    else if (wanted == 0)
        (void)snprintf(words, GENERATION_WORDS_BYTES, "has version %llu, but should not be there",
                       (unsigned long long)version);
    else
        (void)snprintf(words, GENERATION_WORDS_BYTES, "has version %llu, but should have %llu",
                       (unsigned long long)version, (unsigned long long)wanted);
    return false;
}

omen_status
generation_version(struct generation *generation)
{
    return versions_open(generation->slots_max, &generation->versions);
}

void
generation_erase(struct generation *generation, uint32_t slot)
{
    if (!hnsw_erase(generation->hnsw, slot))
        return;
    atomic_bit_set(generation->dead, slot);
    size_t bytes;
    const void *payload = payloads_get(generation->payloads, slot, &bytes);
    if (payload != NULL) {
        fields_remove(generation->fields, slot, payload, bytes);
        payloads_clear(generation->payloads, slot);
    }
}

void
generation_memory(const struct generation *generation, struct generation_memory *memory)
{
    *memory = (struct generation_memory){
        .ids = idmap_bytes(generation->ids),
        .fields = fields_bytes(generation->fields),
        .other = (generation->versions != NULL ? versions_bytes(generation->versions) : 0) +
                 sizeof *generation + ((uint64_t)hnsw_count(generation->hnsw) + 7) / 8,
    };
    hnsw_memory(generation->hnsw, &memory->hnsw);
    payloads_memory(generation->payloads, &memory->payloads);
}
