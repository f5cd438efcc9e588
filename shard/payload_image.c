// shard/payload_image.c -- payloads on disk: saved in steps, loaded where they lie.
//
// Shape: handle, in memory.
//
// Places and blocks are put while writes go on between the steps, and a save may end half-way, with new pieces beside old
// ones. So a place that was loaded may lead to a block that is missing, or beyond what was put of it: nothing is
// there, and the log will set or clear that slot anew. It must not lead to what is written after the load, hence new
// blocks get numbers that no place has, and a block with such a place is not written to any more. How many
// places lead to a block is counted from the places themselves, because a count that was saved at another moment would one
// day give a block back that is still needed. All that waits for the first write after a load; to read takes nothing.
#include <string.h>

#include "base/alloc.h"
#include "shard/payload_int.h"

// Blocks that a save which came to nothing may have made; a number beyond them is no number.
#define LOST_MAX (1u << 20)

struct payload_head {
    uint32_t places; // slots from here on have none
    uint32_t first;  // number that is a block or was not dropped
    // Numbers given when the save began; what is on disk beyond them is of no save that holds.
    uint32_t blocks;
    uint32_t current;
    uint64_t live, dead; // about what there is; counted anew
};

enum { STAGE_BEGIN, STAGE_BLOCKS, STAGE_PLACES, STAGE_DROPS, STAGE_HEAD };

static omen_status blocks_step(struct payloads *payloads, struct payloads_save *save,
                               const struct image_sink *sink);
static omen_status drops_step(struct payloads *payloads, struct payloads_save *save,
                              const struct image_sink *sink);
static omen_status put_head(const struct payloads *payloads, const struct payloads_save *save,
                            const struct image_sink *sink);
static omen_status load_all(struct payloads *payloads, uint32_t rows,
                            const struct image_source *source);
static omen_status load_blocks(struct payloads *payloads, const struct payload_head *head,
                               const struct image_source *source);

static uint32_t
block_count(const struct payloads *payloads)
{
    return atomic_load_explicit(&payloads->block_count, memory_order_relaxed);
}

static uint32_t
slot_count(const struct payloads *payloads)
{
    return atomic_load_explicit(&payloads->slots, memory_order_relaxed);
}

// That the last save was not touched says that it came to its end.
static void
begin(struct payloads *payloads)
{
    if (!payloads->failed)
        payloads->completed = payloads->begun;
    payloads->failed = false;
    numbers_collect(payloads);
    payloads->begun++;
}

omen_status
payloads_save_step(struct payloads *payloads, struct payloads_save *save,
                   const struct image_sink *sink, bool *done)
{
    *done = false;
    if (save->stage == STAGE_BEGIN) {
        begin(payloads);
        const uint32_t slots = slot_count(payloads);
        save->places = save->rows < slots ? save->rows : slots;
        save->blocks = block_count(payloads);
        save->next = 1;
        save->stage = STAGE_BLOCKS;
    }
    if (save->stage == STAGE_BLOCKS)
        return blocks_step(payloads, save, sink);
    if (save->stage == STAGE_PLACES) {
        bool last;
        const omen_status status = cells_save_step(&payloads->places, IMAGE_PAYLOAD_AT,
                                                   save->places, &save->next, sink, &last);
        save->stage = last ? STAGE_DROPS : STAGE_PLACES;
        return status;
    }
    if (save->stage == STAGE_DROPS)
        return drops_step(payloads, save, sink);
    *done = true;
    return put_head(payloads, save, sink);
}

omen_status
payloads_save(struct payloads *payloads, uint32_t rows, const struct image_sink *sink)
{
    struct payloads_save save = {.rows = rows};
    omen_status status = OMEN_OK;
    for (bool done = false; !done && status == OMEN_OK;)
        status = payloads_save_step(payloads, &save, sink, &done);
    return status;
}

static omen_status
blocks_step(struct payloads *payloads, struct payloads_save *save, const struct image_sink *sink)
{
    for (; save->next <= save->blocks; save->next++) {
        struct block *block = block_at(payloads, save->next);
        if (block == NULL || block->changed == 0)
            continue;
        const omen_status status =
            sink->put(sink->context, IMAGE_PAYLOADS, block->number, block->bytes,
                      block->ours != NULL ? block->used : block->limit);
        if (status == OMEN_OK) {
            block->changed = 0;
            save->next++;
        }
        return status;
    }
    save->stage = STAGE_PLACES;
    save->next = 0;
    return OMEN_OK;
}

// One that readers may still be in waits for the next save.
static omen_status
drops_step(struct payloads *payloads, struct payloads_save *save, const struct image_sink *sink)
{
    if (payloads->lost_from < payloads->lost_to) {
        const omen_status status = sink->drop(sink->context, IMAGE_PAYLOADS, payloads->lost_from);
        payloads->lost_from += status == OMEN_OK;
        return status;
    }
    struct block **at = &payloads->dead;
    while (*at != NULL && atomic_load_explicit(&(*at)->owners, memory_order_acquire) > 1)
        at = &(*at)->next;
    struct block *block = *at;
    if (block == NULL) {
        save->stage = STAGE_HEAD;
        return OMEN_OK;
    }
    const omen_status status = sink->drop(sink->context, IMAGE_PAYLOADS, block->number);
    if (status == OMEN_OK) {
        *at = block->next;
        block->next = payloads->dropped;
        payloads->dropped = block;
    }
    return status;
}

static omen_status
put_head(const struct payloads *payloads, const struct payloads_save *save,
         const struct image_sink *sink)
{
    struct payload_head head = {
        .places = save->places,
        .first = 1,
        .blocks = save->blocks,
        .live = payloads->live,
        .dead = payloads->dead_bytes,
    };
    if (payloads->current != NULL && payloads->current->number <= save->blocks)
        head.current = payloads->current->number;
    while (head.first <= head.blocks && block_at(payloads, head.first) == NULL)
        head.first++;
    for (const struct block *dead = payloads->dead; dead != NULL; dead = dead->next)
        head.first = dead->number < head.first ? dead->number : head.first;
    return sink->put(sink->context, IMAGE_PAYLOAD_HEAD, 0, &head, sizeof head);
}

static void
touch_blocks(struct payloads *payloads, bool ours)
{
    for (uint32_t number = 1; number <= block_count(payloads); number++) {
        struct block *block = block_at(payloads, number);
        if (block != NULL && (block->ours != NULL) == ours && block->used > 0)
            block->changed = 1;
    }
}

void
payloads_touch(struct payloads *payloads)
{
    payloads->failed = true;
    arena_touch_all(&payloads->places);
    touch_blocks(payloads, true);
    for (struct block *block = payloads->dropped; block != NULL; block = payloads->dropped) {
        payloads->dropped = block->next;
        block->next = payloads->dead; // once more; what was never put is fine
        payloads->dead = block;
    }
}

// ---- loading ----

omen_status
payloads_load(uint32_t slots_max, struct epoch *gate, uint32_t rows,
              const struct image_source *source, struct payloads **out)
{
    omen_status status = payloads_open(slots_max, gate, out);
    if (status != OMEN_OK)
        return status;
    status = rows <= slots_max ? load_all(*out, rows, source) : OMEN_E_CORRUPT;
    if (status != OMEN_OK) {
        payloads_close(*out);
        *out = NULL;
    }
    return status;
}

static omen_status
load_all(struct payloads *payloads, uint32_t rows, const struct image_source *source)
{
    size_t bytes = 0;
    struct payload_head head;
    const void *at = source->get(source->context, IMAGE_PAYLOAD_HEAD, 0, &bytes);
    if (at == NULL || bytes != sizeof head)
        return OMEN_E_CORRUPT;
    memcpy(&head, at, sizeof head);
    if (head.places > rows || head.blocks > BLOCKS_MAX || head.first < 1 ||
        head.current > head.blocks)
        return OMEN_E_CORRUPT;
    omen_status status = arena_load(&payloads->places, IMAGE_PAYLOAD_AT, head.places, source);
    if (status == OMEN_OK)
        status = load_blocks(payloads, &head, source);
    if (status != OMEN_OK)
        return status;
    payloads->counted = false;
    payloads->begun = payloads->completed = 1;
    payloads->current = block_at(payloads, head.current);
    payloads->live = head.live;
    payloads->dead_bytes = head.dead;
    atomic_store_explicit(&payloads->slots, head.places, memory_order_release);
    return OMEN_OK;
}

static omen_status
load_blocks(struct payloads *payloads, const struct payload_head *head,
            const struct image_source *source)
{
    omen_status status = blocks_reserve(payloads, head->blocks);
    if (status != OMEN_OK)
        return status;
    atomic_store_explicit(&payloads->block_count, head->blocks, memory_order_release);
    for (uint32_t number = head->first; number <= head->blocks; number++) {
        size_t count = 0;
        const void *bytes = source->get(source->context, IMAGE_PAYLOADS, number, &count);
        if (bytes == NULL)
            continue;
        if (count == 0 || count > BLOCK_BYTES_MAX)
            return OMEN_E_CORRUPT;
        struct block *block = block_open(payloads, 0);
        if (block == NULL)
            return OMEN_E_NO_MEMORY;
        block->bytes = bytes;
        block->limit = (uint32_t)count;
        block->used = record_bytes(block->limit);
        payloads->lent_bytes += count;
        block_publish(payloads, block, number);
    }
    return OMEN_OK;
}

omen_status
payloads_verify(const struct payloads *payloads, uint32_t *bad_slot)
{
    for (uint32_t slot = 0; slot < slot_count(payloads); slot++) {
        const _Atomic uint64_t *cell = cell_at(&payloads->places, slot);
        const uint64_t place = atomic_load_explicit(cell, memory_order_relaxed);
        if (place != 0 && block_of(payloads, place_of(place)) == NULL) {
            *bad_slot = slot;
            return OMEN_E_CORRUPT;
        }
    }
    return OMEN_OK;
}

// ---- the first write after a load ----

struct census {
    uint64_t live, rounded;
    uint32_t number_max;
    bool missing; // a place has the number of a block that is not there
};

static void
count_places(struct payloads *payloads, struct census *census)
{
    *census = (struct census){.number_max = block_count(payloads)};
    for (uint32_t number = 1; number <= block_count(payloads); number++) {
        struct block *block = block_at(payloads, number);
        if (block != NULL)
            block->records = 0;
    }
    for (uint32_t slot = 0; slot < slot_count(payloads); slot++) {
        const _Atomic uint64_t *cell = cell_at(&payloads->places, slot);
        const uint64_t value = atomic_load_explicit(cell, memory_order_relaxed);
        if (value == 0)
            continue;
        const struct place place = place_of(value);
        struct block *block = block_of(payloads, place);
        if (block != NULL) {
            block->records++;
            census->live += place.length;
            census->rounded += record_bytes(place.length);
            continue;
        }
        block = block_at(payloads, place.block);
        if (block != NULL)
            block->closed = 1;
        else
            census->missing = true;
        if (place.block > census->number_max)
            census->number_max = place.block;
    }
}

// The block that was written to, with room at its end.
static struct block *
copy_current(struct payloads *payloads)
{
    const struct block *lent = payloads->current;
    struct block *block = block_open(payloads, BLOCK_BYTES_MAX);
    if (block == NULL)
        return NULL;
    memcpy(block->ours, lent->bytes, lent->limit);
    memset(block->ours + lent->limit, 0, lent->used - lent->limit);
    block->used = lent->used;
    block->records = lent->records;
    return block;
}

omen_status
payloads_count(struct payloads *payloads)
{
    if (payloads->counted)
        return OMEN_OK;
    struct census census;
    count_places(payloads, &census);
    const uint32_t given = block_count(payloads);
    if (census.number_max - given > LOST_MAX || census.number_max > BLOCKS_MAX)
        return OMEN_E_CORRUPT;
    const omen_status status = blocks_reserve(payloads, census.number_max);
    if (status != OMEN_OK)
        return status;
    struct block *lent = payloads->current;
    if (lent != NULL && (lent->closed || lent->used == BLOCK_BYTES_MAX))
        lent = NULL;
    struct block *current = lent != NULL ? copy_current(payloads) : NULL;
    if (lent != NULL && current == NULL)
        return OMEN_E_NO_MEMORY;

    payloads->counted = true;
    payloads->current = current;
    payloads->hole = 1;
    payloads->holes_end = census.missing ? 1 : given + 1;
    payloads->lost_from = given + 1;
    payloads->lost_to = census.number_max + 1;
    if (lent != NULL) {
        block_publish(payloads, current, lent->number);
        payloads->block_bytes -= sizeof *lent;
        payloads->lent_bytes -= lent->limit;
        epoch_retire(payloads->gate, lent, mem_free);
    }
    atomic_store_explicit(&payloads->block_count, census.number_max, memory_order_release);
    payloads->live = census.live;
    payloads->dead_bytes = 0;
    for (uint32_t number = 1; number <= given; number++) {
        const struct block *block = block_at(payloads, number);
        payloads->dead_bytes += block != NULL ? block->used : 0;
    }
    payloads->dead_bytes -=
        payloads->dead_bytes < census.rounded ? payloads->dead_bytes : census.rounded;
    for (uint32_t number = 1; number <= given; number++) {
        struct block *block = block_at(payloads, number);
        if (block != NULL && block->records == 0 && block != current)
            block_retire(payloads, block);
    }
    return OMEN_OK;
}
