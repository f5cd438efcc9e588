// shard/payload.c -- the payloads of a shard: slot -> msgpack bytes.
//
// Shape: handle, in memory. payload_image.c has what is about disks.
//
// A payload goes to the current block while it fits; the first that does not makes the next spare block the current
// one. The spare ones alone have room for everything promised, however badly it fits, so the promise holds, and an end of
// a block is wasted only when a payload was larger than it.
//
// A payload never moves and never changes; readers find it through its slot's place, stored with release order, and
// the block's entry. A block counts the places that lead to it; with the last one gone it is retired behind the gate. A
// reader that comes late with an old place finds no block, and looks for the new place. A number is given again when no
// reader can have an old place any more, and no piece on disk: when a save that began after the block died is at its end.
#include "shard/payload.h"

#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "shard/payload_int.h"

#define BLOCK_BYTES_MIN 4096u

_Static_assert(PAYLOAD_BYTES_MAX <= 1u << 16, "a place has 16 bits for a length");
_Static_assert(IMAGE_PIECE_BYTES <= RECORD_ALIGNMENT << 16, "a place has 16 bits for an offset");

static uint32_t blocks_for(const struct payload_room *room, uint64_t total);
static bool reserve_blocks(struct payloads *payloads, uint32_t count, uint64_t total);
static void spares_free(struct payloads *payloads, uint32_t kept);
static uint64_t record_place(struct payloads *payloads, const void *bytes, uint32_t count);
static void next_block(struct payloads *payloads);
static void block_free(struct block *block);
static void drop_record(struct payloads *payloads, uint64_t cell);
static void block_release(struct block *block);

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
    payloads->counted = true;
    if (cells_init(&payloads->places, slots_max) != OMEN_OK ||
        arena_init(&payloads->entries, sizeof(struct entry), BLOCKS_MAX + 1) != OMEN_OK ||
        cells_init(&payloads->blocks, BLOCKS_MAX) != OMEN_OK) {
        payloads_close(payloads);
        return OMEN_E_NO_MEMORY;
    }
    ASSERT(payloads->entries.shift == ENTRY_SHIFT);
    *out = payloads;
    return OMEN_OK;
}

static void
list_release(struct block *list)
{
    for (struct block *next; list != NULL; list = next) {
        next = list->next;
        block_release(list);
    }
}

void
payloads_close(struct payloads *payloads)
{
    if (payloads == NULL)
        return;
    const uint32_t count = atomic_load_explicit(&payloads->block_count, memory_order_relaxed);
    for (uint32_t number = 1; number <= count; number++)
        block_free(block_at(payloads, number));
    spares_free(payloads, 0);
    list_release(payloads->dead);
    list_release(payloads->dropped);
    list_release(payloads->free);
    arena_fini(&payloads->places);
    arena_fini(&payloads->entries);
    arena_fini(&payloads->blocks);
    mem_free(payloads);
}

omen_status
payloads_reserve(struct payloads *payloads, const struct payload_room *room)
{
    ASSERT(room->slots <= payloads->slots_max);
    ASSERT(room->bytes <= (uint64_t)room->count * PAYLOAD_BYTES_MAX);
    if (room->count == 0)
        return OMEN_OK;
    omen_status status = payloads_count(payloads);
    if (status == OMEN_OK)
        status = arena_reserve(&payloads->places, room->slots);
    if (status != OMEN_OK)
        return status;
    if (room->slots > atomic_load_explicit(&payloads->slots, memory_order_relaxed))
        atomic_store_explicit(&payloads->slots, room->slots, memory_order_release);

    const uint64_t total = room->bytes + (uint64_t)room->count * (RECORD_ALIGNMENT - 1);
    const struct block *current = payloads->current;
    const uint64_t left = current == NULL ? 0 : current->limit - current->used;
    const uint32_t count = left >= total ? 0 : blocks_for(room, total);
    return reserve_blocks(payloads, count, total) ? OMEN_OK : OMEN_E_NO_MEMORY;
}

// How many whole blocks are enough: each but the last may end with a hole a little smaller than the largest payload.
static uint32_t
blocks_for(const struct payload_room *room, uint64_t total)
{
    if (total <= BLOCK_BYTES_MAX)
        return 1;
    uint64_t largest = room->bytes - room->count + 1;
    largest = record_bytes(largest > PAYLOAD_BYTES_MAX ? PAYLOAD_BYTES_MAX : (uint32_t)largest);
    const uint64_t filled = BLOCK_BYTES_MAX - largest + RECORD_ALIGNMENT;
    return (uint32_t)(1 + (total - BLOCK_BYTES_MAX + filled - 1) / filled);
}

// Spare ones beyond those that are wanted are from a promise that was not used up. A single one is as large as all blocks so far,
// between bounds: few blocks when there are many payloads, little when few.
static bool
reserve_blocks(struct payloads *payloads, uint32_t count, uint64_t total)
{
    if (count > 0 && payloads->begun == 0) // nothing is on any disk
        numbers_collect(payloads);
    const uint32_t given = atomic_load_explicit(&payloads->block_count, memory_order_relaxed);
    if (count > BLOCKS_MAX - given || blocks_reserve(payloads, given + count) != OMEN_OK)
        return false;
    uint64_t capacity = count > 1 ? BLOCK_BYTES_MAX : payloads->block_bytes + payloads->lent_bytes;
    capacity = capacity < BLOCK_BYTES_MIN ? BLOCK_BYTES_MIN : capacity;
    capacity = capacity < total ? total : capacity;
    capacity = capacity > BLOCK_BYTES_MAX ? BLOCK_BYTES_MAX : capacity;
    capacity = record_bytes((uint32_t)capacity);

    uint32_t fit = 0; // spare ones that are large enough come first
    while (payloads->spare != NULL && payloads->spare->limit < (count > 1 ? capacity : total) &&
           count > 0) {
        struct block *small = payloads->spare;
        payloads->spare = small->next;
        payloads->block_bytes -= sizeof *small + small->limit;
        block_free(small);
    }
    for (const struct block *spare = payloads->spare; spare != NULL; spare = spare->next)
        fit++;
    for (; fit < count; fit++) {
        struct block *block = block_open(payloads, (uint32_t)capacity);
        if (block == NULL)
            return false;
        block->next = payloads->spare;
        payloads->spare = block;
    }
    spares_free(payloads, count > 0 ? count : 1);
    return true;
}

static void
spares_free(struct payloads *payloads, uint32_t kept)
{
    struct block **at = &payloads->spare;
    while (*at != NULL && kept-- > 0)
        at = &(*at)->next;
    while (*at != NULL) {
        struct block *block = *at;
        *at = block->next;
        payloads->block_bytes -= sizeof *block + block->limit;
        block_free(block);
    }
}

omen_status
payloads_own(struct payloads *payloads, uint32_t slot)
{
    if (slot >= atomic_load_explicit(&payloads->slots, memory_order_relaxed))
        return OMEN_OK;
    return arena_own(&payloads->places, slot) == NULL ? OMEN_E_NO_MEMORY : OMEN_OK;
}

void
payloads_set(struct payloads *payloads, uint32_t slot, const void *bytes, size_t count)
{
    ASSERT(count > 0 && count <= PAYLOAD_BYTES_MAX);
    ASSERT(slot < atomic_load_explicit(&payloads->slots, memory_order_relaxed));
    _Atomic uint64_t *cell = (_Atomic uint64_t *)(void *)arena_own(&payloads->places, slot);
    ASSERT(cell != NULL); // else it was lent, and payloads_own did not come before
    const uint64_t before = atomic_load_explicit(cell, memory_order_relaxed);
    atomic_store_explicit(cell, record_place(payloads, bytes, (uint32_t)count),
                          memory_order_release);
    arena_mark_locked(&payloads->places, slot);
    payloads->live += count;
    drop_record(payloads, before);
}

void
payloads_clear(struct payloads *payloads, uint32_t slot)
{
    if (slot >= atomic_load_explicit(&payloads->slots, memory_order_relaxed))
        return;
    _Atomic uint64_t *cell = cell_at(&payloads->places, slot);
    const uint64_t before = atomic_load_explicit(cell, memory_order_relaxed);
    if (before == 0)
        return;
    cell = (_Atomic uint64_t *)(void *)arena_own(&payloads->places, slot);
    if (cell == NULL)
        return;
    atomic_store_explicit(cell, 0, memory_order_release);
    arena_mark_locked(&payloads->places, slot);
    drop_record(payloads, before);
}

static uint64_t
place_at(const struct payloads *payloads, uint32_t slot)
{
    const _Atomic uint64_t *at = cell_at(&payloads->places, slot);
    return atomic_load_explicit(at, memory_order_acquire);
}

// NULL: nothing is there, or not any more.
static inline const void *
payload_at(const struct payloads *payloads, uint64_t cell, size_t *bytes)
{
    const struct place place = place_of(cell);
    if (place.block > atomic_load_explicit(&payloads->block_count, memory_order_relaxed))
        return NULL;
    const struct entry *entry = entry_at(payloads, place.block);
    const uint32_t limit = atomic_load_explicit(&entry->limit, memory_order_acquire);
    if (place.offset + place.length > limit)
        return NULL;
    *bytes = place.length;
    return atomic_load_explicit(&entry->bytes, memory_order_relaxed) + place.offset;
}

// Not inlined: hardly ever, and its registers would be saved always.
__attribute__((noinline)) static const void *
get_again(const struct payloads *payloads, uint32_t slot, uint64_t before, size_t *bytes)
{
    for (;;) {
        const uint64_t cell = place_at(payloads, slot);
        if (cell == 0 || cell == before) // none, or one that still leads nowhere
            break;
        const void *payload = payload_at(payloads, cell, bytes);
        if (payload != NULL)
            return payload;
        before = cell;
    }
    *bytes = 0;
    return NULL;
}

const void *
payloads_get(const struct payloads *payloads, uint32_t slot, size_t *bytes)
{
    uint64_t cell = 0;
    if (slot < atomic_load_explicit(&payloads->slots, memory_order_acquire))
        cell = place_at(payloads, slot);
    if (cell == 0) {
        ASSERT(slot < payloads->slots_max);
        *bytes = 0;
        return NULL;
    }
    const void *payload = payload_at(payloads, cell, bytes);
    return payload != NULL ? payload : get_again(payloads, slot, cell, bytes);
}

// Copies the payload to where it stays. Its block's last bytes are put as they are, so no byte is left undefined.
static uint64_t
record_place(struct payloads *payloads, const void *bytes, uint32_t count)
{
    const uint32_t whole = record_bytes(count);
    struct block *block = payloads->current;
    if (block == NULL || block->limit - block->used < whole) {
        next_block(payloads);
        block = payloads->current;
        ASSERT(block->limit - block->used >= whole); // else room was not reserved
    }
    const uint32_t offset = block->used;
    memset(block->ours + offset + whole - RECORD_ALIGNMENT, 0, RECORD_ALIGNMENT);
    memcpy(block->ours + offset, bytes, count);
    block->used += whole;
    block->records++;
    block->changed = 1;
    return (uint64_t)block->number << 32 | (uint64_t)(offset / RECORD_ALIGNMENT) << 16 |
           (count - 1);
}

static uint32_t
next_number(struct payloads *payloads)
{
    struct block *free = payloads->free;
    if (free != NULL) {
        const uint32_t number = free->number;
        payloads->free = free->next;
        block_release(free);
        return number;
    }
    while (payloads->hole < payloads->holes_end) {
        const uint32_t number = payloads->hole++;
        const struct entry *entry = entry_at(payloads, number);
        if (atomic_load_explicit(&entry->bytes, memory_order_relaxed) == NULL)
            return number;
    }
    return atomic_load_explicit(&payloads->block_count, memory_order_relaxed) + 1;
}

static void
next_block(struct payloads *payloads)
{
    struct block *left = payloads->current, *block = payloads->spare;
    ASSERT(block != NULL); // else room was not reserved
    payloads->spare = block->next;
    payloads->current = block;
    const uint32_t count = atomic_load_explicit(&payloads->block_count, memory_order_relaxed),
                   number = next_number(payloads);
    block_publish(payloads, block, number);
    if (number > count)
        atomic_store_explicit(&payloads->block_count, number, memory_order_release);
    if (left != NULL && left->records == 0)
        block_retire(payloads, left);
}

// Before they were counted after a load, what is replaced is not counted either.
static void
drop_record(struct payloads *payloads, uint64_t cell)
{
    const struct place place = place_of(cell);
    struct block *block = cell == 0 ? NULL : block_of(payloads, place);
    if (block == NULL)
        return;
    payloads->live -= payloads->live < place.length ? payloads->live : place.length;
    payloads->dead_bytes += record_bytes(place.length);
    if (!payloads->counted)
        return;
    ASSERT(block->records > 0);
    block->records--;
    if (block->records == 0 && block != payloads->current)
        block_retire(payloads, block);
}

// ---- blocks ----

struct block *
block_open(struct payloads *payloads, uint32_t capacity)
{
    struct block *block = mem_alloc_zero(1, sizeof *block);
    if (block == NULL)
        return NULL;
    if (capacity > 0) {
        block->ours = mem_alloc(capacity);
        if (block->ours == NULL) {
            mem_free(block);
            return NULL;
        }
    }
    block->bytes = block->ours;
    block->limit = capacity;
    payloads->block_bytes += sizeof *block + capacity;
    return block;
}

void
block_publish(struct payloads *payloads, struct block *block, uint32_t number)
{
    block->number = number;
    block->next = NULL;
    struct block **at = cell_at(&payloads->blocks, number - 1);
    *at = block;
    struct entry *entry = entry_at(payloads, number);
    atomic_store_explicit(&entry->bytes, block->bytes, memory_order_relaxed);
    atomic_store_explicit(&entry->limit, block->limit, memory_order_release);
}

omen_status
blocks_reserve(struct payloads *payloads, uint32_t number)
{
    const omen_status status = arena_reserve(&payloads->entries, number + 1);
    return status == OMEN_OK ? arena_reserve(&payloads->blocks, number) : status;
}

// Accepts NULL.
static void
block_free(struct block *block)
{
    if (block == NULL)
        return;
    mem_free(block->ours);
    mem_free(block);
}

// One owner less of a block that died.
static void
block_release(struct block *block)
{
    if (atomic_fetch_sub_explicit(&block->owners, 1, memory_order_acq_rel) == 1)
        mem_free(block);
}

// Readers have left.
static void
block_end(void *memory)
{
    struct block *block = memory;
    mem_free(block->ours);
    block_release(block);
}

void
block_retire(struct payloads *payloads, struct block *block)
{
    struct block **at = cell_at(&payloads->blocks, block->number - 1);
    *at = NULL;
    atomic_store_explicit(&entry_at(payloads, block->number)->limit, 0, memory_order_release);
    payloads->dead_bytes -= payloads->dead_bytes < block->used ? payloads->dead_bytes : block->used;
    payloads->block_bytes -= sizeof *block + (block->ours != NULL ? block->limit : 0);
    payloads->lent_bytes -= block->ours != NULL ? 0 : block->limit;
    atomic_store_explicit(&block->owners, 2, memory_order_relaxed);
    block->died_in = payloads->begun;
    // One that was never put too: a save of another life may have put something under its number.
    struct block **list = payloads->begun > 0 ? &payloads->dead : &payloads->dropped;
    block->next = *list;
    *list = block;
    epoch_retire(payloads->gate, block, block_end);
}

void
numbers_collect(struct payloads *payloads)
{
    struct block **at = &payloads->dropped;
    while (*at != NULL) {
        struct block *block = *at;
        const bool forgotten = payloads->begun == 0 || block->died_in < payloads->completed;
        if (forgotten && atomic_load_explicit(&block->owners, memory_order_acquire) == 1) {
            *at = block->next;
            block->next = payloads->free;
            payloads->free = block;
        } else {
            at = &block->next;
        }
    }
}

void
payloads_memory(const struct payloads *payloads, struct payload_memory *memory)
{
    const uint64_t all = payloads_bytes(payloads);
    memory->live = payloads->live;
    memory->dead = payloads->dead_bytes;
    memory->lent = payloads->lent_bytes;
    const uint64_t told = memory->live + memory->dead;
    memory->overhead = all + memory->lent > told ? all + memory->lent - told : 0;
}

uint64_t
payloads_bytes(const struct payloads *payloads)
{
    const uint32_t slots = atomic_load_explicit(&payloads->slots, memory_order_relaxed),
                   blocks = atomic_load_explicit(&payloads->block_count, memory_order_relaxed);
    return sizeof *payloads + payloads->block_bytes + arena_owned_bytes(&payloads->places, slots) +
           arena_owned_bytes(&payloads->entries, blocks + 1) +
           arena_owned_bytes(&payloads->blocks, blocks);
}
