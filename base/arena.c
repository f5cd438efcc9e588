// base/arena.c -- an array of equal rows that grows and never moves one, and whose pieces may lie in a map.
//
// Shape: handle.
//
// A block has 65,536 rows, so that for every row size that is a multiple of 32 bytes it is whole huge pages; wide
// rows get fewer, because a kernel that counts its promises refuses one mapping beyond its memory. Each owned piece has
// its fixed place in a block, so a lent one that becomes ours is joined with its neighbours in huge pages.
//
// A huge page that is begun costs as much as a full one, which for ten arrays of a small index is more than what is in
// them. So the page in which the next row will come is made of small ones, and is joined when it is full.
#include "base/arena.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

#define BLOCK_SHIFT_MAX 16u
#define BLOCK_BYTES_MAX ((size_t)64 << 20)
#define PAGE_BYTES ((size_t)4096)
#define PIECE_ALIGNMENT ((uintptr_t)64)

static bool tables_open(struct arena *arena);
static size_t whole_huge(const struct arena *arena, uint32_t block, uint32_t rows);
static bool grows_huge(const struct arena *arena, uint32_t rows);
static void grow_huge(struct arena *arena, uint32_t rows);
static uint8_t *own_place(struct arena *arena, uint32_t piece);
static bool own_piece(struct arena *arena, uint32_t piece);
static void count_piece(struct arena *arena, uint32_t piece);

// Where the four tables lie, one behind the other.
struct tables_plan {
    size_t blocks, lent, changed, bytes;
};

static size_t
block_bytes(const struct arena *arena)
{
    return arena->row_bytes << arena->block_shift;
}

static uint32_t
blocks_max(const struct arena *arena)
{
    const uint32_t shift = arena->block_shift - arena->shift;
    return (uint32_t)(((uint64_t)arena->pieces_max + (1u << shift) - 1) >> shift);
}

static uint32_t
pieces_of(const struct arena *arena, uint32_t rows)
{
    return (uint32_t)(((uint64_t)rows + arena->mask) >> arena->shift);
}

omen_status
arena_init(struct arena *arena, size_t row_bytes, uint32_t slots_max)
{
    ASSERT(row_bytes > 0 && row_bytes <= IMAGE_PIECE_BYTES);
    *arena = (struct arena){.row_bytes = row_bytes};
    while (arena->block_shift < BLOCK_SHIFT_MAX && block_bytes(arena) * 2 <= BLOCK_BYTES_MAX)
        arena->block_shift++;
    while (arena->shift < arena->block_shift && arena_piece_bytes(arena) * 2 <= IMAGE_PIECE_BYTES)
        arena->shift++;
    arena->mask = (1u << arena->shift) - 1;
    arena->pieces_max = pieces_of(arena, slots_max);
    lock_init(&arena->lock);
    if (tables_open(arena))
        return OMEN_OK;
    arena_fini(arena);
    return OMEN_E_NO_MEMORY;
}

static struct tables_plan
tables_plan(const struct arena *arena)
{
    struct tables_plan plan;
    plan.blocks = arena->pieces_max * sizeof *arena->pieces;
    plan.lent = plan.blocks + blocks_max(arena) * sizeof *arena->blocks;
    plan.changed = plan.lent + arena->pieces_max * sizeof *arena->lent;
    plan.bytes = plan.changed + arena->pieces_max * sizeof *arena->changed;
    return plan;
}

static bool
tables_open(struct arena *arena)
{
    const struct tables_plan plan = tables_plan(arena);
    uint8_t *memory = pages_alloc_small(plan.bytes);
    arena->tables = memory;
    if (memory == NULL)
        return false;
    arena->pieces = (_Atomic(uint8_t *) *)(void *)memory;
    arena->blocks = (uint8_t **)(void *)(memory + plan.blocks);
    arena->lent = (_Atomic uint8_t *)(memory + plan.lent);
    arena->changed = (_Atomic uint8_t *)(memory + plan.changed);
    return true;
}

void
arena_fini(struct arena *arena)
{
    if (arena->row_bytes == 0)
        return;
    for (uint32_t i = 0; arena->blocks != NULL && i < blocks_max(arena); i++)
        pages_free(arena->blocks[i], block_bytes(arena));
    pages_free(arena->tables, tables_plan(arena).bytes);
    lock_fini(&arena->lock);
    *arena = (struct arena){0};
}

// It may have been filled and settled since, and stays lent then.
static bool
is_begun(const struct arena *arena)
{
    return atomic_load_explicit(&arena->lent[arena->begun_rows >> arena->shift],
                                memory_order_acquire) == ARENA_BEGUN;
}

omen_status
arena_reserve(struct arena *arena, uint32_t slots)
{
    const uint32_t want = pieces_of(arena, slots);
    ASSERT(want <= arena->pieces_max);
    if (slots > arena->begun_rows && (arena->begun_rows & arena->mask) != 0 && is_begun(arena) &&
        !own_piece(arena, arena->begun_rows >> arena->shift))
        return OMEN_E_NO_MEMORY;
    if (arena->reserved >= want && !grows_huge(arena, slots))
        return OMEN_OK;
    omen_status status = OMEN_OK;
    lock_acquire(&arena->lock);
    grow_huge(arena, slots);
    for (; arena->reserved < want; arena->reserved++) {
        if (arena_piece(arena, arena->reserved) != NULL)
            continue; // lent
        uint8_t *place = own_place(arena, arena->reserved);
        if (place == NULL) {
            status = OMEN_E_NO_MEMORY;
            break;
        }
        atomic_store_explicit(&arena->changed[arena->reserved], 1, memory_order_relaxed);
        atomic_store_explicit(&arena->pieces[arena->reserved], place, memory_order_release);
        count_piece(arena, arena->reserved);
    }
    lock_release(&arena->lock);
    return status;
}

void
arena_populate(const struct arena *arena, uint32_t from, uint32_t to)
{
    for (uint32_t slot = from; slot < to;) {
        const uint32_t end = (slot | arena->mask) + 1 < to ? (slot | arena->mask) + 1 : to;
        if (!arena_is_lent(arena, slot))
            pages_populate(arena_row(arena, slot), (size_t)(end - slot) * arena->row_bytes);
        slot = end;
    }
}

omen_status
arena_reserve_own(struct arena *arena, uint32_t slots)
{
    const uint32_t pieces = pieces_of(arena, slots);
    ASSERT(pieces <= arena->pieces_max);
    omen_status status = OMEN_OK;
    lock_acquire(&arena->lock);
    const uint32_t step = 1u << (arena->block_shift - arena->shift);
    for (uint32_t piece = 0; piece < pieces && status == OMEN_OK; piece += step)
        if (own_place(arena, piece) == NULL)
            status = OMEN_E_NO_MEMORY;
    lock_release(&arena->lock);
    return status;
}

// Bytes of the block that are huge pages full of rows below `rows`.
static size_t
whole_huge(const struct arena *arena, uint32_t block, uint32_t rows)
{
    const uint64_t first = (uint64_t)block << arena->block_shift;
    const uint64_t there = rows > first ? rows - first : 0;
    const uint64_t bytes = there * arena->row_bytes, most = block_bytes(arena);
    return (bytes < most ? bytes : most) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
}

// Whether another huge page is full, in the block of the last rows or a later one.
static bool
grows_huge(const struct arena *arena, uint32_t rows)
{
    const uint32_t block = arena->huge_rows >> arena->block_shift;
    return rows > arena->huge_rows &&
           (rows >> arena->block_shift != block ||
            whole_huge(arena, block, rows) > whole_huge(arena, block, arena->huge_rows));
}

static bool
any_lent(const struct arena *arena, uint32_t block, size_t from)
{
    const size_t piece_bytes = arena_piece_bytes(arena);
    const uint32_t first = (block << (arena->block_shift - arena->shift));
    for (size_t at = from / piece_bytes; at * piece_bytes < from + HUGE_PAGE_BYTES; at++)
        if (first + at < arena->pieces_max &&
            atomic_load_explicit(&arena->lent[first + at], memory_order_relaxed) != 0)
            return true;
    return false;
}

// Only the first of a block's huge pages that are full now can have rows already. Where some are lent, joining would
// make memory for those that may never be ours. Under the lock.
static void
grow_huge(struct arena *arena, uint32_t rows)
{
    if (!grows_huge(arena, rows))
        return;
    const uint32_t block = arena->huge_rows >> arena->block_shift;
    const size_t from = whole_huge(arena, block, arena->huge_rows);
    const size_t to = whole_huge(arena, block, rows);
    arena->huge_rows = rows; // those of other blocks learn of it when they are made
    if (arena->blocks[block] == NULL || from == to)
        return;
    pages_make_huge(arena->blocks[block] + from, to - from);
    if (!any_lent(arena, block, from))
        pages_join(arena->blocks[block] + from);
}

// Where the piece lies when it is ours; makes its block. Under the lock.
static uint8_t *
own_place(struct arena *arena, uint32_t piece)
{
    const uint32_t shift = arena->block_shift - arena->shift, block = piece >> shift;
    if (arena->blocks[block] == NULL) {
        arena->blocks[block] = pages_alloc(block_bytes(arena));
        if (arena->blocks[block] != NULL)
            pages_make_huge(arena->blocks[block], whole_huge(arena, block, arena->huge_rows));
    }
    if (arena->blocks[block] == NULL)
        return NULL;
    return arena->blocks[block] + (piece & ((1u << shift) - 1)) * arena_piece_bytes(arena);
}

static void
count_piece(struct arena *arena, uint32_t piece)
{
    if (atomic_load_explicit(&arena->piece_count, memory_order_relaxed) <= piece)
        atomic_store_explicit(&arena->piece_count, piece + 1, memory_order_release);
}

static size_t
table_bytes(const struct arena *arena, uint32_t pieces)
{
    return pieces * (sizeof *arena->pieces + sizeof *arena->lent + sizeof *arena->changed);
}

static size_t
whole_pages(size_t bytes)
{
    return (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

// How much of a lent piece is there.
static size_t
lent_bytes(const struct arena *arena, uint32_t piece)
{
    return atomic_load_explicit(&arena->lent[piece], memory_order_relaxed) == ARENA_BEGUN
               ? (size_t)(arena->begun_rows & arena->mask) * arena->row_bytes
               : arena_piece_bytes(arena);
}

size_t
arena_bytes(const struct arena *arena, uint32_t slots)
{
    return whole_pages((size_t)slots * arena->row_bytes) +
           table_bytes(arena, pieces_of(arena, slots));
}

size_t
arena_owned_bytes(const struct arena *arena, uint32_t slots)
{
    const uint32_t pieces = pieces_of(arena, slots);
    size_t elsewhere = 0;
    for (uint32_t i = 0; i < pieces; i++)
        if (atomic_load_explicit(&arena->lent[i], memory_order_relaxed) != 0)
            elsewhere += lent_bytes(arena, i);
    const size_t used = (size_t)slots * arena->row_bytes;
    return (used > elsewhere ? whole_pages(used - elsewhere) : 0) + table_bytes(arena, pieces);
}

uint8_t *
arena_own(struct arena *arena, uint32_t slot)
{
    if (arena_is_lent(arena, slot) && !own_piece(arena, slot >> arena->shift))
        return NULL;
    return arena_row(arena, slot);
}

static bool
own_piece(struct arena *arena, uint32_t piece)
{
    lock_acquire(&arena->lock);
    bool ours = true;
    const uint8_t lent = atomic_load_explicit(&arena->lent[piece], memory_order_relaxed);
    if (lent != 0) {
        uint8_t *place = own_place(arena, piece);
        ours = place != NULL;
        if (ours && lent != ARENA_SETTLED) { // else it is there yet, and somebody may read it
            pages_will_need(arena_piece(arena, piece), lent_bytes(arena, piece));
            memcpy(place, arena_piece(arena, piece), lent_bytes(arena, piece));
        }
        if (ours) {
            atomic_store_explicit(&arena->pieces[piece], place, memory_order_release);
            atomic_store_explicit(&arena->lent[piece], 0, memory_order_release);
        }
    }
    lock_release(&arena->lock);
    return ours;
}

// The address is only read through while the piece is lent; arena_own sees to that.
static uint8_t *
lent_address(const void *bytes)
{
    return (uint8_t *)(uintptr_t)bytes;
}

static omen_status
lend(struct arena *arena, uint32_t piece, const void *bytes, enum arena_lent how)
{
    if (piece >= arena->pieces_max || bytes == NULL || (uintptr_t)bytes % PIECE_ALIGNMENT != 0)
        return OMEN_E_CORRUPT;
    lock_acquire(&arena->lock);
    atomic_store_explicit(&arena->lent[piece], (uint8_t)how, memory_order_release);
    atomic_store_explicit(&arena->changed[piece], 0, memory_order_relaxed);
    atomic_store_explicit(&arena->pieces[piece], lent_address(bytes), memory_order_release);
    count_piece(arena, piece);
    lock_release(&arena->lock);
    return OMEN_OK;
}

omen_status
arena_lend(struct arena *arena, uint32_t piece, const void *bytes)
{
    return lend(arena, piece, bytes, ARENA_LENT);
}

// A last piece that is not whole is not copied here: its first page of ours would be a huge one to be cleared, which takes
// longer than all else that loading does.

omen_status
arena_load(struct arena *arena, enum image_array array, uint32_t rows,
           const struct image_source *source)
{
    const uint32_t whole = rows >> arena->shift, left = rows & arena->mask;
    const uint32_t pieces = pieces_of(arena, rows);
    if (pieces > arena->pieces_max)
        return OMEN_E_CORRUPT;
    arena->begun_rows = rows;
    arena->huge_rows = rows;
    for (uint32_t piece = 0; piece < pieces; piece++) {
        size_t count = 0;
        const void *bytes = source->get(source->context, array, piece, &count);
        if (bytes == NULL ||
            count < (piece < whole ? arena_piece_bytes(arena) : left * arena->row_bytes))
            return OMEN_E_CORRUPT;
        const omen_status status =
            lend(arena, piece, bytes, piece < whole ? ARENA_LENT : ARENA_BEGUN);
        if (status != OMEN_OK)
            return status;
    }
    arena->saved_rows = rows;
    return OMEN_OK;
}

// A piece that was not whole when it was saved has rows since, which have no mark.
bool
arena_save_next(struct arena *arena, uint32_t piece, uint32_t rows)
{
    const uint64_t first = (uint64_t)piece << arena->shift, end = first + arena->mask + 1;
    ASSERT(first < rows);
    const bool marked =
        atomic_exchange_explicit(&arena->changed[piece], 0, memory_order_acq_rel) != 0;
    return marked || (rows > arena->saved_rows && end > arena->saved_rows);
}

void
arena_save_again(struct arena *arena, uint32_t piece)
{
    atomic_store_explicit(&arena->changed[piece], 1, memory_order_release);
}

void
arena_save_done(struct arena *arena, uint32_t rows)
{
    arena->saved_rows = rows;
}

omen_status
arena_save(struct arena *arena, enum image_array array, uint32_t rows,
           const struct image_sink *sink)
{
    for (uint32_t piece = 0; piece < pieces_of(arena, rows); piece++) {
        if (!arena_save_next(arena, piece, rows))
            continue;
        const uint32_t left = rows - (piece << arena->shift);
        const size_t bytes =
            left > arena->mask ? arena_piece_bytes(arena) : left * arena->row_bytes;
        const omen_status status =
            sink->put(sink->context, array, piece, arena_piece(arena, piece), bytes);
        if (status != OMEN_OK) {
            arena_save_again(arena, piece);
            return status;
        }
    }
    arena_save_done(arena, rows);
    return OMEN_OK;
}

static void
touch(struct arena *arena, bool lent)
{
    const uint32_t count = atomic_load_explicit(&arena->piece_count, memory_order_acquire);
    for (uint32_t piece = 0; piece < count; piece++)
        if ((atomic_load_explicit(&arena->lent[piece], memory_order_acquire) != 0) == lent)
            arena_save_again(arena, piece);
}

void
arena_touch_all(struct arena *arena)
{
    touch(arena, false);
}

void
arena_touch_lent(struct arena *arena)
{
    touch(arena, true);
}

bool
arena_promote(struct arena *arena, uint32_t *cursor)
{
    const uint32_t count = atomic_load_explicit(&arena->piece_count, memory_order_acquire);
    for (; *cursor < count; ++*cursor) {
        if (atomic_load_explicit(&arena->lent[*cursor], memory_order_acquire) == 0)
            continue;
        if (!own_piece(arena, *cursor))
            return false;
        ++*cursor;
        return true;
    }
    return false;
}

void
arena_will_need(const struct arena *arena)
{
    const uint32_t count = atomic_load_explicit(&arena->piece_count, memory_order_acquire);
    for (uint32_t piece = 0; piece < count; piece++)
        if (atomic_load_explicit(&arena->lent[piece], memory_order_acquire) != 0)
            pages_will_need(arena_piece(arena, piece), lent_bytes(arena, piece));
}

bool
arena_settle(struct arena *arena, uint32_t piece, const void *bytes)
{
    ASSERT(bytes != NULL && (uintptr_t)bytes % PIECE_ALIGNMENT == 0);
    const uint64_t end = ((uint64_t)piece + 1) << arena->shift;
    lock_acquire(&arena->lock);
    const bool may = end <= arena->saved_rows &&
                     atomic_load_explicit(&arena->lent[piece], memory_order_relaxed) == 0 &&
                     atomic_load_explicit(&arena->changed[piece], memory_order_acquire) == 0;
    if (may) {
        atomic_store_explicit(&arena->lent[piece], ARENA_SETTLED, memory_order_release);
        atomic_store_explicit(&arena->pieces[piece], lent_address(bytes), memory_order_release);
    }
    lock_release(&arena->lock);
    return may;
}

// Pages that a neighbour shares stay.
void
arena_settled_release(struct arena *arena, uint32_t piece)
{
    lock_acquire(&arena->lock);
    if (atomic_load_explicit(&arena->lent[piece], memory_order_relaxed) == ARENA_SETTLED) {
        pages_forget(own_place(arena, piece), arena_piece_bytes(arena));
        atomic_store_explicit(&arena->lent[piece], ARENA_LENT, memory_order_release);
    }
    lock_release(&arena->lock);
}
