// shard/payload.c -- the payloads of a shard: slot -> msgpack bytes.
//
// Shape: handle, in memory.
//
// Two blocks are open for writing at most: `current`, and `next`, which payloads_reserve adds
// when what is promised does not fit what is left. A payload goes to current while it fits; the
// first that does not makes next the current one. Next alone has room for everything promised, so
// the promise holds, and an end of a block is wasted only when a payload was larger than it.
//
// A record (length, bytes) never moves and never changes; readers find it through the slot's
// pointer, stored with release order. A block counts its records in use; with the last one gone
// it is retired behind the gate. To find the block of a record that is replaced, blocks are kept
// sorted by address: replacing is rarer than adding, so it pays a binary search and adding pays
// no bytes.
#include "shard/payload.h"

#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"

#define CHUNK_SLOTS 4096u
#define BLOCK_BYTES_MIN ((size_t)4096)
#define BLOCK_BYTES_MAX ((size_t)1 << 20) // one payload batch may ask for more
#define LENGTH_BYTES 4u

typedef _Atomic(const uint8_t *) record_ref;

struct chunk {
    record_ref records[CHUNK_SLOTS];
};

struct block {
    size_t capacity; // of bytes
    size_t used;
    uint64_t records; // in use
    uint8_t bytes[];
};

struct payloads {
    struct epoch *gate;
    uint32_t slots_max;
    uint32_t chunk_count; // allocated, from the first on
    _Atomic(struct chunk *) *chunks;
    struct block **blocks; // sorted by address
    size_t block_count;
    size_t block_capacity;
    struct block *current; // NULL before the first reservation
    struct block *next;    // empty, or NULL
    uint64_t live;
    uint64_t dead;
    uint64_t block_bytes; // all blocks, their heads included
};

static uint32_t chunks_for(uint32_t slots);
static bool reserve_chunks(struct payloads *payloads, uint32_t slots);
static bool reserve_bytes(struct payloads *payloads, size_t total);
static bool reserve_block_entry(struct payloads *payloads);
static size_t record_bytes(size_t count);
static uint8_t *place_record(struct payloads *payloads, size_t bytes);
static void drop_record(struct payloads *payloads, const uint8_t *record);
static size_t block_place(const struct payloads *payloads, const void *address);
static void block_insert(struct payloads *payloads, struct block *block);
static void block_take_out(struct payloads *payloads, struct block *block);
static record_ref *slot_ref(const struct payloads *payloads, uint32_t slot);

omen_status
payloads_open(uint32_t slots_max, struct epoch *gate, struct payloads **out)
{
    ASSERT(slots_max > 0);
    *out = NULL;
    struct payloads *payloads = mem_alloc_zero(1, sizeof *payloads);
    if (payloads == NULL)
        return OMEN_E_NO_MEMORY;
    payloads->gate = gate;
    payloads->slots_max = slots_max;
    payloads->chunks = mem_alloc_zero(chunks_for(slots_max), sizeof payloads->chunks[0]);
    if (payloads->chunks == NULL) {
        mem_free(payloads);
        return OMEN_E_NO_MEMORY;
    }
    *out = payloads;
    return OMEN_OK;
}

void
payloads_close(struct payloads *payloads)
{
    if (payloads == NULL)
        return;
    for (uint32_t i = 0; i < payloads->chunk_count; i++)
        mem_free(atomic_load_explicit(&payloads->chunks[i], memory_order_relaxed));
    for (size_t i = 0; i < payloads->block_count; i++)
        mem_free(payloads->blocks[i]);
    mem_free(payloads->blocks);
    mem_free(payloads->chunks);
    mem_free(payloads);
}

omen_status
payloads_reserve(struct payloads *payloads, const struct payload_room *room)
{
    ASSERT(room->slots <= payloads->slots_max);
    ASSERT(room->bytes <= (uint64_t)room->count * PAYLOAD_BYTES_MAX);
    if (room->count == 0)
        return OMEN_OK;
    // Each record is rounded up by less than LENGTH_BYTES.
    const size_t total = (size_t)room->bytes + (size_t)room->count * (2 * LENGTH_BYTES - 1);
    if (!reserve_chunks(payloads, room->slots) || !reserve_bytes(payloads, total))
        return OMEN_E_NO_MEMORY;
    return OMEN_OK;
}

static uint32_t
chunks_for(uint32_t slots)
{
    return (uint32_t)(((uint64_t)slots + CHUNK_SLOTS - 1) / CHUNK_SLOTS);
}

// Chunks are made from the first on, also where nobody has a payload: a shard with payloads has
// them on most slots.
static bool
reserve_chunks(struct payloads *payloads, uint32_t slots)
{
    while (payloads->chunk_count < chunks_for(slots)) {
        struct chunk *chunk = mem_alloc_zero(1, sizeof *chunk);
        if (chunk == NULL)
            return false;
        atomic_store_explicit(&payloads->chunks[payloads->chunk_count++], chunk,
                              memory_order_release);
    }
    return true;
}

static bool
reserve_bytes(struct payloads *payloads, size_t total)
{
    const struct block *current = payloads->current;
    if (current != NULL && current->capacity - current->used >= total)
        return true;
    if (payloads->next != NULL && payloads->next->capacity >= total)
        return true;

    // As large as all blocks so far, between the bounds: few blocks when there are many payloads,
    // little when few.
    size_t capacity = payloads->block_bytes;
    capacity = capacity < BLOCK_BYTES_MIN ? BLOCK_BYTES_MIN : capacity;
    capacity = capacity > BLOCK_BYTES_MAX ? BLOCK_BYTES_MAX : capacity;
    capacity -= sizeof(struct block);
    capacity = capacity < total ? total : capacity;
    if (!reserve_block_entry(payloads))
        return false;
    struct block *block = mem_alloc(sizeof *block + capacity);
    if (block == NULL)
        return false;
    *block = (struct block){.capacity = capacity};
    if (payloads->next != NULL) { // too small for this promise, and nobody has seen it
        struct block *small = payloads->next;
        block_take_out(payloads, small);
        mem_free(small);
    }
    payloads->next = block;
    block_insert(payloads, block);
    return true;
}

static bool
reserve_block_entry(struct payloads *payloads)
{
    if (payloads->block_count < payloads->block_capacity)
        return true;
    const size_t capacity = payloads->block_capacity == 0 ? 8 : 2 * payloads->block_capacity;
    struct block **blocks = mem_resize(payloads->blocks, capacity * sizeof(struct block *));
    if (blocks == NULL)
        return false;
    payloads->blocks = blocks;
    payloads->block_capacity = capacity;
    return true;
}

void
payloads_set(struct payloads *payloads, uint32_t slot, const void *bytes, size_t count)
{
    ASSERT(count > 0 && count <= PAYLOAD_BYTES_MAX);
    record_ref *ref = slot_ref(payloads, slot);
    ASSERT(ref != NULL);

    uint8_t *record = place_record(payloads, record_bytes(count));
    const uint32_t length = (uint32_t)count;
    memcpy(record, &length, LENGTH_BYTES);
    memcpy(record + LENGTH_BYTES, bytes, count);
    payloads->live += count;

    const uint8_t *before = atomic_load_explicit(ref, memory_order_relaxed);
    atomic_store_explicit(ref, record, memory_order_release);
    if (before != NULL)
        drop_record(payloads, before);
}

void
payloads_clear(struct payloads *payloads, uint32_t slot)
{
    record_ref *ref = slot_ref(payloads, slot);
    if (ref == NULL)
        return;
    const uint8_t *before = atomic_load_explicit(ref, memory_order_relaxed);
    if (before == NULL)
        return;
    atomic_store_explicit(ref, NULL, memory_order_release);
    drop_record(payloads, before);
}

const void *
payloads_get(const struct payloads *payloads, uint32_t slot, size_t *bytes)
{
    ASSERT(slot < payloads->slots_max);
    record_ref *ref = slot_ref(payloads, slot);
    const uint8_t *record = ref == NULL ? NULL : atomic_load_explicit(ref, memory_order_acquire);
    if (record == NULL) {
        *bytes = 0;
        return NULL;
    }
    uint32_t length;
    memcpy(&length, record, LENGTH_BYTES);
    *bytes = length;
    return record + LENGTH_BYTES;
}

static record_ref *
slot_ref(const struct payloads *payloads, uint32_t slot)
{
    if (slot >= payloads->slots_max)
        return NULL;
    struct chunk *chunk =
        atomic_load_explicit(&payloads->chunks[slot / CHUNK_SLOTS], memory_order_acquire);
    return chunk == NULL ? NULL : &chunk->records[slot % CHUNK_SLOTS];
}

static size_t
record_bytes(size_t count)
{
    return (LENGTH_BYTES + count + LENGTH_BYTES - 1) / LENGTH_BYTES * LENGTH_BYTES;
}

static uint8_t *
place_record(struct payloads *payloads, size_t bytes)
{
    struct block *block = payloads->current;
    if (block == NULL || block->capacity - block->used < bytes) {
        payloads->current = payloads->next;
        payloads->next = NULL;
        if (block != NULL && block->records == 0) {
            block_take_out(payloads, block);
            payloads->dead -= block->used;
            epoch_retire(payloads->gate, block, mem_free);
        }
        block = payloads->current;
        ASSERT(block != NULL &&
               block->capacity - block->used >= bytes); // else room was not reserved
    }
    uint8_t *record = block->bytes + block->used;
    block->used += bytes;
    block->records++;
    return record;
}

static void
drop_record(struct payloads *payloads, const uint8_t *record)
{
    uint32_t length;
    memcpy(&length, record, LENGTH_BYTES);
    payloads->live -= length;
    payloads->dead += record_bytes(length);

    // The last block that begins at or below the record.
    struct block *block = payloads->blocks[block_place(payloads, record) - 1];
    ASSERT(record >= block->bytes && record < block->bytes + block->used);
    ASSERT(block->records > 0);
    block->records--;
    if (block->records > 0 || block == payloads->current)
        return;
    block_take_out(payloads, block);
    payloads->dead -= block->used;
    epoch_retire(payloads->gate, block, mem_free);
}

// How many blocks begin at or below the address.
static size_t
block_place(const struct payloads *payloads, const void *address)
{
    size_t low = 0;
    size_t high = payloads->block_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if ((uintptr_t)payloads->blocks[middle] <= (uintptr_t)address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void
block_insert(struct payloads *payloads, struct block *block)
{
    const size_t place = block_place(payloads, block);
    memmove(&payloads->blocks[place + 1], &payloads->blocks[place],
            (payloads->block_count - place) * sizeof payloads->blocks[0]);
    payloads->blocks[place] = block;
    payloads->block_count++;
    payloads->block_bytes += sizeof *block + block->capacity;
}

static void
block_take_out(struct payloads *payloads, struct block *block)
{
    const size_t place = block_place(payloads, block) - 1;
    ASSERT(payloads->blocks[place] == block);
    payloads->block_count--;
    memmove(&payloads->blocks[place], &payloads->blocks[place + 1],
            (payloads->block_count - place) * sizeof payloads->blocks[0]);
    payloads->block_bytes -= sizeof *block + block->capacity;
}

void
payloads_memory(const struct payloads *payloads, struct payload_memory *memory)
{
    const uint64_t all = sizeof *payloads + payloads->block_bytes +
                         payloads->block_capacity * sizeof payloads->blocks[0] +
                         (uint64_t)payloads->chunk_count * sizeof(struct chunk) +
                         (uint64_t)chunks_for(payloads->slots_max) * sizeof payloads->chunks[0];
    memory->live = payloads->live;
    memory->dead = payloads->dead;
    memory->overhead = all - memory->live - memory->dead;
}

uint64_t
payloads_bytes(const struct payloads *payloads)
{
    struct payload_memory memory;
    payloads_memory(payloads, &memory);
    return memory.live + memory.dead + memory.overhead;
}
