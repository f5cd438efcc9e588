// base/arena.h -- an array of equal rows that grows and never moves one, and whose pieces may lie in a map.
//
// Shape:   handle in the owner's memory (_init/_fini).
// Threads: arena_reserve by one writer; arena_row from anywhere, for slots that were reserved before the reader
//          learnt of them (by an acquire load of the count that the writer released). arena_own, arena_promote and
//          arena_mark from anywhere. Saves take turns with each other and with arena_settle.
// Memory:  blocks are anonymous, zeroed, in huge pages but for the last rows, which lie in small ones until they fill a huge
//          one; a page that no row was written to costs address space only, and so do the tables for rows that never
//          come. What was lent has no memory of ours until it is written.
//
// Rows are found by a table of pieces, each at most IMAGE_PIECE_BYTES: what base/image.h saves and loads one at a time.
// A piece is owned (it lies in one of our blocks, side by side with its neighbours) or lent (it lies elsewhere, may
// only be read, and stays there until arena_fini). A reader may hold the address of a lent piece for as long as it
// likes after the piece became ours: what it reads there is what was saved.
#ifndef OMEN_BASE_ARENA_H
#define OMEN_BASE_ARENA_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/image.h"
#include "base/os_lock.h"
#include "base/status.h"
#include "base/tsan.h"

// How a piece is not ours.
enum arena_lent {
    ARENA_LENT = 1,
    ARENA_SETTLED = 2, // and the memory of ours that it was in is there yet
    ARENA_BEGUN = 3,   // and it ends at begun_rows, where the next row will make it ours
};

struct arena {
    _Atomic(uint8_t *) *pieces;
    size_t row_bytes;
    uint32_t shift; // a piece holds 1 << shift rows
    uint32_t mask;
    uint32_t block_shift; // a block holds 1 << block_shift rows
    uint32_t pieces_max;
    _Atomic uint32_t piece_count; // none from here on is there
    uint32_t reserved;            // pieces below it are all there
    uint32_t huge_rows;           // the whole huge pages of rows below it are huge. Under the lock
    uint32_t saved_rows;          // of the last whole save or load
    uint32_t begun_rows;          // of the load; where a piece that is ARENA_BEGUN ends
    void *tables;                 // the memory of the next three, and of `pieces`
    uint8_t **blocks;             // ours; NULL where no piece of it is owned. Under the lock
    _Atomic uint8_t *lent;        // per piece: 0, or enum arena_lent
    _Atomic uint8_t *changed;     // per piece: since the last save
    struct lock lock;             // of those who make pieces ours, or not ours
};

// row_bytes: 1..IMAGE_PIECE_BYTES.
OMEN_MUST_CHECK omen_status arena_init(struct arena *arena, size_t row_bytes, uint32_t slots_max);
void arena_fini(struct arena *arena); // an arena of all zeros is accepted

// Room for slots below `slots` (at most slots_max). After OMEN_E_NO_MEMORY what was there still is.
OMEN_MUST_CHECK omen_status arena_reserve(struct arena *arena, uint32_t slots);

// Makes the memory that rows [from, to), which are reserved, will be written to: pages_populate. Lent ones are left out. From
// anywhere.
void arena_populate(const struct arena *arena, uint32_t from, uint32_t to);

// Our own memory for slots below `slots` as well where they are lent: arena_own cannot fail for them afterwards.
OMEN_MUST_CHECK omen_status arena_reserve_own(struct arena *arena, uint32_t slots);

// Bytes of `slots` rows in use, in whole pages, and the tables': all of them, and what of it is our memory.
size_t arena_bytes(const struct arena *arena, uint32_t slots);
size_t arena_owned_bytes(const struct arena *arena, uint32_t slots);

static inline size_t
arena_piece_bytes(const struct arena *arena)
{
    return arena->row_bytes << arena->shift;
}

// The first row of a piece that is there. What is read through the address depends on it, and hardware keeps such reads
// in order; only ThreadSanitizer has to be told.
static inline uint8_t *
arena_piece(const struct arena *arena, uint32_t piece)
{
#ifdef OMEN_UNDER_TSAN
    return atomic_load_explicit(&arena->pieces[piece], memory_order_acquire);
#else
    return atomic_load_explicit(&arena->pieces[piece], memory_order_relaxed);
#endif
}

// For reading, and for writing where the row is known to be ours (a new one, which nobody lent).
static inline uint8_t *
arena_row(const struct arena *arena, uint32_t slot)
{
    return arena_piece(arena, slot >> arena->shift) +
           (size_t)(slot & arena->mask) * arena->row_bytes;
}

static inline bool
arena_is_lent(const struct arena *arena, uint32_t slot)
{
    return atomic_load_explicit(&arena->lent[slot >> arena->shift], memory_order_acquire) != 0;
}

// The row, for writing: a lent piece is copied to our memory first. NULL: no memory for that.
uint8_t *arena_own(struct arena *arena, uint32_t slot);

// Says that the slot's row was changed. Called after the change: a save forgets the mark, then reads. New rows beyond those
// that were saved need no mark.
static inline void
arena_mark(struct arena *arena, uint32_t slot)
{
    atomic_store_explicit(&arena->changed[slot >> arena->shift], 1, memory_order_release);
}

// The same, cheaper where many threads write: for who changes a row under a lock under which saves read it.
static inline void
arena_mark_locked(struct arena *arena, uint32_t slot)
{
    _Atomic uint8_t *mark = &arena->changed[slot >> arena->shift];
    if (atomic_load_explicit(mark, memory_order_relaxed) == 0)
        atomic_store_explicit(mark, 1, memory_order_relaxed);
}

// Makes a piece lent: `bytes` is 64-aligned, holds all of its rows and stays until arena_fini. OMEN_E_CORRUPT where the
// address cannot be one or the piece lies beyond slots_max. Before others know the arena.
OMEN_MUST_CHECK omen_status arena_lend(struct arena *arena, uint32_t piece, const void *bytes);

// Fills a new arena with `rows` rows, all of them lent; a last piece that is not whole becomes ours when room for a row behind
// it is reserved. OMEN_E_CORRUPT: a piece is missing or too short, or there are more rows than slots_max. After a failure
// arena_fini is what is left to do.
OMEN_MUST_CHECK omen_status arena_load(struct arena *arena, enum image_array array, uint32_t rows,
                                       const struct image_source *source);

// Puts what changed of the rows below `rows`, beside writers of rows from there on. Where a put fails its piece and all after
// it stay to be saved.
OMEN_MUST_CHECK omen_status arena_save(struct arena *arena, enum image_array array, uint32_t rows,
                                       const struct image_sink *sink);

// The same for who copies the rows itself: whether the piece is to be put, its mark forgotten; that it was not put after
// all; that all of a save with `rows` rows was.
bool arena_save_next(struct arena *arena, uint32_t piece, uint32_t rows);
void arena_save_again(struct arena *arena, uint32_t piece);
void arena_save_done(struct arena *arena, uint32_t rows);

// Every owned piece is to be saved, after a save that came to nothing; every lent one too, where all goes elsewhere.
void arena_touch_all(struct arena *arena);
void arena_touch_lent(struct arena *arena);

// Makes the next lent piece from *cursor on ours. False: there is none, or no memory.
bool arena_promote(struct arena *arena, uint32_t *cursor);

// Has the lent pieces fetched from where they lie, in large reads; does not wait for them.
void arena_will_need(const struct arena *arena);

// Gives an owned piece that did not change since it was saved, and that nobody writes to in place, back to where it was
// saved; false when it may not. When no
// reader can hold its old address any more, arena_settled_release gives the memory back.
bool arena_settle(struct arena *arena, uint32_t piece, const void *bytes);
void arena_settled_release(struct arena *arena, uint32_t piece);

#endif
