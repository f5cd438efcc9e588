// shard/payload_int.h -- what payload.c and payload_image.c share.
//
// Shape: handle, in memory; private to them.
#ifndef OMEN_SHARD_PAYLOAD_INT_H
#define OMEN_SHARD_PAYLOAD_INT_H
#include "shard/cell.h"
#include "shard/payload.h"

#define RECORD_ALIGNMENT 4u
#define BLOCK_BYTES_MAX ((uint32_t)IMAGE_PIECE_BYTES)
#define ENTRY_SHIFT 14u       // a piece of entries
#define BLOCKS_MAX (1u << 24) // 4 TiB of payloads

// A slot's place: number of the block in the upper half, then 16 bits of offset / 4, then 16 of length - 1. No block has
// number 0, so 0 is no place.
struct place {
    uint32_t block, offset, length;
};

// What readers know of a block: side by side, because every payload that is read asks for one. Who sees the limit sees
// the bytes.
struct entry {
    _Atomic(const uint8_t *) bytes;
    _Atomic uint32_t limit; // payloads end here at the latest; 0: there is no block (any more)
};

struct block {
    const uint8_t *bytes;
    uint8_t *ours; // == bytes, or NULL: lent
    uint32_t limit;
    uint32_t number;
    uint32_t used;           // bytes up to the end of the last payload
    uint32_t records;        // places that lead here
    uint8_t changed;         // since it was put
    uint8_t closed;          // a place leads beyond its end: nothing may be written there
    uint32_t died_in;        // the save under way then, or the last one
    _Atomic uint32_t owners; // of one that died: the gate until readers have left, and a list
    struct block *next;      // of a list
};

struct payloads {
    struct epoch *gate;
    uint32_t slots_max;
    _Atomic uint32_t slots;       // reserved
    _Atomic uint32_t block_count; // numbers 1..block_count were given
    struct arena places;          // slot -> place
    struct arena entries;         // number -> entry
    struct arena blocks;          // number - 1 -> block, or NULL; for the writer
    struct block *current;        // is written to; or NULL
    struct block *spare;          // without numbers, for what is promised
    struct block *dead;           // to be dropped at the next save
    struct block *dropped;        // whose numbers something on disk may still have
    struct block *free;           // whose numbers may be given again
    uint32_t hole, holes_end; // as may those from here to there that had no block since the load
    // Numbers that a save may have used that came to nothing: to be dropped
    uint32_t lost_from, lost_to;
    uint32_t begun, completed; // saves; a load counts as one
    bool failed;               // the last one begun came to nothing
    bool counted;              // false after a load, until records, live and dead were counted
    uint64_t live, dead_bytes;
    uint64_t block_bytes; // of our memory, with heads
    uint64_t lent_bytes;  // of blocks that are not ours
};

static inline struct place
place_of(uint64_t cell)
{
    return (struct place){.block = (uint32_t)(cell >> 32),
                          .offset = ((uint32_t)cell >> 16) * RECORD_ALIGNMENT,
                          .length = ((uint32_t)cell & 0xffff) + 1};
}

static inline uint32_t
record_bytes(uint32_t length)
{
    return (length + RECORD_ALIGNMENT - 1) / RECORD_ALIGNMENT * RECORD_ALIGNMENT;
}

// For the writer.
static inline struct block *
block_at(const struct payloads *payloads, uint32_t number)
{
    if (number - 1 >= atomic_load_explicit(&payloads->block_count, memory_order_relaxed))
        return NULL;
    struct block **block = cell_at(&payloads->blocks, number - 1);
    return *block;
}

// The block where the payload lies; NULL where it cannot. For the writer.
static inline struct block *
block_of(const struct payloads *payloads, struct place place)
{
    struct block *block = block_at(payloads, place.block);
    return block == NULL || place.offset + place.length > block->limit ? NULL : block;
}

// By number: no payload has the first one.
static inline struct entry *
entry_at(const struct payloads *payloads, uint32_t number)
{
    struct entry *piece =
        (struct entry *)(void *)arena_piece(&payloads->entries, number >> ENTRY_SHIFT);
    return &piece[number & ((1u << ENTRY_SHIFT) - 1)];
}

// Room for the blocks below and at `number`.
OMEN_MUST_CHECK omen_status blocks_reserve(struct payloads *payloads, uint32_t number);
void block_publish(struct payloads *payloads, struct block *block, uint32_t number);
// Nobody finds the block from now on; readers may still be in it.
void block_retire(struct payloads *payloads, struct block *block);
// Frees the numbers that nothing on disk can have any more.
void numbers_collect(struct payloads *payloads);
// With memory of its own where `capacity` is not 0.
struct block *block_open(struct payloads *payloads, uint32_t capacity);

// Counts what the places of a load lead to, and makes the block that was written to ours.
OMEN_MUST_CHECK omen_status payloads_count(struct payloads *payloads);

#endif
