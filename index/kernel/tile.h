// index/kernel/tile.h -- the hot loops of bulk builds: many rows against many at once, and the best of them kept.
//
// Shape:   kernel. Primitive arguments only; no allocation, no policy, no asserts inside loops.
// Threads: the tables are constant; every function is pure but for its out arguments.
//
// A tile is TILE_ROWS rows against TILE_COLUMNS packed columns. tile_plain.h is the oracle, and every table answers its bits:
// integer products, one float expression whose operations are commutative (so a pair has one distance, whichever of the
// two is the row), sums of floats in the order of the components.
//
// Packed columns are groups of TILE_LANES: for each unit of a component or four (a float, or four bytes) the 16 columns'
// units side by side. The processors' products are of unsigned and signed bytes: rows come biased by 128, as codes lie in memory, and
// packing takes the bias off the columns and finds what is too much in each product, so nobody else has to look at components.
//
// A key is a distance and who it belongs to in one word, so one comparison orders both: the upper 22 bits of the float, then
// a number below TILE_IDS. Distances are not below zero, so their bits are in their order.
#ifndef OMEN_INDEX_KERNEL_TILE_H
#define OMEN_INDEX_KERNEL_TILE_H
#include <stddef.h>
#include <stdint.h>

#define TILE_ROWS 6u
#define TILE_COLUMNS 64u
#define TILE_LANES 16u
#define TILE_GROUPS 4u // of lanes in a tile
#define TILE_BIAS 128  // of a row's bytes
#define TILE_IDS 1024u // numbers that a key can hold
#define TILE_ID_MASK 1023u
#define TILE_NO_KEY UINT32_MAX
#define TILE_KEY_INFINITE 0x7f800000u // keys from here on are of columns that fill up a tile

// What a row is beside its components. The distance of two is
// max(0, (add_a + add_b) - 2 ((scale_a scale_b) dot + extra_a extra_b)).
struct tile_numbers {
    float scale, add, extra;
};

// Rows of biased bytes against packed columns.
struct tile_bytes {
    const uint8_t *rows[TILE_ROWS]; // the last repeated where there are fewer
    struct tile_numbers numbers[TILE_ROWS];
    const int8_t *columns; // packed, 64-aligned
    const int32_t *starts; // of the columns: -128 times the sum of the components
    uint32_t bytes;        // of a row: a multiple of 4
    const float *scales, *adds;
    const float *extras; // of the columns; NULL: all are zero
};

// Rows of floats: the distance is the sum of squared differences, and what `adds` says (0, or infinity for a column that
// fills up).
struct tile_floats {
    const float *rows[TILE_ROWS];
    const float *columns;
    uint32_t count; // of components
    const float *adds;
};

// Of each member of a leaf: the two smallest keys of each lane, from tiles where it is a row, and of each of TILE_ROWS
// buckets (the place of the row in its tile), from tiles where it is a column.
#define TILE_ROW_BEST ((size_t)2 * TILE_LANES)
#define TILE_COLUMN_BEST ((size_t)2 * TILE_LANES * TILE_ROWS) // of a group of columns
struct tile_gram {
    const float *distances;     // of the tile
    uint32_t row, rows, column; // members row .. row + rows - 1 against members from `column` on
    uint32_t *row_best;         // TILE_ROW_BEST of member 0, of member 1, ...
    uint32_t *column_best;      // TILE_COLUMN_BEST of group 0, of group 1, ...
};

// The three smallest keys of each lane.
#define TILE_ASSIGN_BEST ((size_t)3 * TILE_LANES)

// What a row's reservoir holds: for each of up to RESERVOIR_SLOTS hashes the smallest candidate. A candidate is
// key << 40 | hash << 32 | id, with 16 bits of key and 8 of hash, and that is their order.
#define RESERVOIR_SLOTS 64u
#define TILE_SKETCH 8u     // components of a sketch, and bits of a hash
#define TILE_KEY_SHIFT 15u // from a tile's key to a candidate's
struct reservoir {
    uint32_t ids[RESERVOIR_SLOTS];
    uint16_t keys[RESERVOIR_SLOTS];
    uint8_t hashes[RESERVOIR_SLOTS];
};
// Its head: how many it holds, and of a full one the largest key and hash, above which nothing enters.
static inline uint32_t
reservoir_count(uint32_t head)
{
    return head & 255;
}
static inline uint32_t
reservoir_bound(uint32_t head)
{
    return reservoir_count(head) < RESERVOIR_SLOTS ? 0xffffffu : head >> 8;
}

// Of up to 64 columns: how far each is from the row that chooses among them, and from the nearest that was chosen.
struct tile_occlusion {
    const float *own;     // 64-aligned
    float *nearest;       // 64-aligned
    const uint8_t *order; // near to far; below 64 in all 64 places
};

struct tile_kernels {
    // Packs biased rows `stride` bytes apart; what fills up the last group repeats the last row. `bytes` is a multiple of 4, and
    // of each row the bytes up to the next multiple of 64 may be read. starts[0..] of whole groups.
    void (*pack_bytes)(const uint8_t *rows, uint32_t stride, uint32_t count, uint32_t bytes,
                       int8_t *out, int32_t *starts);
    // out[row][column] of a tile: TILE_ROWS x TILE_COLUMNS, 64-aligned.
    void (*bytes)(const struct tile_bytes *tile, float *out);
    void (*floats)(const struct tile_floats *tile, float *out);
    // Row 0 alone against `groups` groups of columns.
    void (*bytes_one)(const struct tile_bytes *tile, uint32_t groups, float *out);
    void (*floats_one)(const struct tile_floats *tile, uint32_t groups, float *out);

    // Takes a tile's distances into the best of its rows and, where the row is not among the tile's columns or before
    // them, of its columns. A row is not its own neighbour.
    void (*gram)(const struct tile_gram *gram);
    // The TILE_LANES smallest keys, in order, of each of 16 members, a group of columns; TILE_NO_KEY where there are fewer.
    void (*gram_finish)(const uint32_t *row_best, const uint32_t *column_best, uint32_t *out);
    // Takes a tile's distances into the best of its rows; the columns are numbered from `column` on.
    void (*assign)(const float *distances, uint32_t column, uint32_t *best);
    // The `want` <= TILE_LANES smallest, in order, of TILE_ASSIGN_BEST. Room for TILE_LANES is written.
    void (*assign_finish)(const uint32_t *best, uint32_t want, uint32_t *out);

    // Candidates from keys of a leaf: member `key & TILE_ID_MASK` is row ids[member], whose sketch of TILE_SKETCH floats is
    // compared with the owner's, one bit of the hash each.
    void (*candidates)(const uint32_t *keys, uint32_t count, const uint32_t *ids,
                       const float *sketches, const float *own, uint64_t *out);
    // Offers candidates to a reservoir; returns its new head. What it holds afterwards does not depend on their order.
    uint32_t (*keep)(struct reservoir *reservoir, uint32_t head, const uint64_t *candidates,
                     uint32_t count);

    // order[0..count): the places of `count` <= 64 different values, smallest first. Room for 64 values is read.
    void (*order)(const uint64_t *values, uint32_t count, uint8_t *order);
    // nearest[i] = min(nearest[i], what row 0 is apart from column i) for the columns of `groups` <= TILE_GROUPS groups; bit i of the
    // result: nearest[order[i]] > own[order[i]]. nearest, own and order have 64 places, of which those of other groups are equal
    // in nearest and own.
    uint64_t (*bytes_occlude)(const struct tile_bytes *tile, uint32_t groups,
                              const struct tile_occlusion *occlusion);
    uint64_t (*floats_occlude)(const struct tile_floats *tile, uint32_t groups,
                               const struct tile_occlusion *occlusion);
};

extern const struct tile_kernels tiles_scalar;
#if defined(__x86_64__)
extern const struct tile_kernels tiles_avx2;
extern const struct tile_kernels tiles_avx512;
#elif defined(__aarch64__)
extern const struct tile_kernels tiles_neon;
#endif

#endif
