// index/kernel/tile_plain.h -- the oracle of tiles, in the plainest C that says what it means.
//
// Shape: kernel. Text for the tables: tile_scalar.c is nothing else, and the others take from it what compilers make well of it
// with their instructions.
#ifndef OMEN_INDEX_KERNEL_TILE_PLAIN_H
#define OMEN_INDEX_KERNEL_TILE_PLAIN_H
#include <string.h>

#include "index/kernel/tile.h"

static inline uint32_t
plain_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline uint32_t
plain_key(float distance, uint32_t id)
{
    return (plain_bits(distance) & ~TILE_ID_MASK) | id;
}

static inline void
plain_pack_bytes(const uint8_t *rows, uint32_t stride, uint32_t count, uint32_t bytes, int8_t *out,
                 int32_t *starts)
{
    for (uint32_t first = 0; first < count; first += TILE_LANES, starts += TILE_LANES) {
        memset(starts, 0, TILE_LANES * sizeof *starts);
        for (uint32_t at = 0; at < bytes; at += 4)
            for (uint32_t lane = 0; lane < TILE_LANES; lane++) {
                const uint32_t row = first + lane < count ? first + lane : count - 1;
                const uint8_t *from = rows + (size_t)row * stride + at;
                for (uint32_t i = 0; i < 4; i++) {
                    *out = (int8_t)(from[i] ^ 0x80);
                    starts[lane] -= 128 * *out++;
                }
            }
    }
}

static inline float
plain_distance(const struct tile_bytes *tile, uint32_t row, uint32_t column, int32_t dot)
{
    const struct tile_numbers *numbers = &tile->numbers[row];
    float product = (numbers->scale * tile->scales[column]) * (float)dot;
    if (tile->extras != NULL)
        product += numbers->extra * tile->extras[column];
    const float distance = (numbers->add + tile->adds[column]) - (product + product);
    return distance > 0.0f ? distance : 0.0f;
}

static inline void
plain_row_of_bytes(const struct tile_bytes *tile, uint32_t row, uint32_t groups, float *out)
{
    for (uint32_t column = 0; column < groups * TILE_LANES; column++) {
        const int8_t *at = tile->columns +
                           (size_t)(column / TILE_LANES) * tile->bytes * TILE_LANES +
                           (size_t)(column % TILE_LANES) * 4;
        int32_t dot = tile->starts[column];
        for (uint32_t b = 0; b < tile->bytes; b++)
            dot += tile->rows[row][b] * at[(size_t)(b / 4) * TILE_LANES * 4 + b % 4];
        out[column] = plain_distance(tile, row, column, dot);
    }
}

static inline void
plain_bytes(const struct tile_bytes *tile, float *out)
{
    for (uint32_t row = 0; row < TILE_ROWS; row++)
        plain_row_of_bytes(tile, row, TILE_GROUPS, out + (size_t)row * TILE_COLUMNS);
}

static inline void
plain_bytes_one(const struct tile_bytes *tile, uint32_t groups, float *out)
{
    plain_row_of_bytes(tile, 0, groups, out);
}

static inline void
plain_row_of_floats(const struct tile_floats *tile, uint32_t row, uint32_t groups, float *out)
{
    for (uint32_t group = 0; group < groups; group++) {
        const float *at = tile->columns + (size_t)group * tile->count * TILE_LANES;
        float sums[TILE_LANES] = {0};
        for (uint32_t i = 0; i < tile->count; i++, at += TILE_LANES)
            for (uint32_t lane = 0; lane < TILE_LANES; lane++) {
                const float apart = tile->rows[row][i] - at[lane];
                sums[lane] += apart * apart;
            }
        for (uint32_t lane = 0; lane < TILE_LANES; lane++)
            *out++ = sums[lane] + tile->adds[group * TILE_LANES + lane];
    }
}

static inline void
plain_floats(const struct tile_floats *tile, float *out)
{
    for (uint32_t row = 0; row < TILE_ROWS; row++)
        plain_row_of_floats(tile, row, TILE_GROUPS, out + (size_t)row * TILE_COLUMNS);
}

static inline void
plain_floats_one(const struct tile_floats *tile, uint32_t groups, float *out)
{
    plain_row_of_floats(tile, 0, groups, out);
}

// Puts a key among the `depth` smallest of its lane; best[0] are the smallest, TILE_LANES apart.
static inline void
plain_sink(uint32_t *best, uint32_t depth, uint32_t key)
{
    for (size_t i = 0; i < depth; i++) {
        const uint32_t there = best[i * TILE_LANES];
        best[i * TILE_LANES] = key < there ? key : there;
        key = key < there ? there : key;
    }
}

static inline void
plain_gram(const struct tile_gram *gram)
{
    for (uint32_t r = 0; r < gram->rows; r++) {
        const uint32_t row = gram->row + r;
        const float *distances = gram->distances + (size_t)r * TILE_COLUMNS;
        uint32_t *own = gram->row_best + (size_t)row * TILE_ROW_BEST;
        for (uint32_t c = 0; c < TILE_COLUMNS; c++) {
            const uint32_t column = gram->column + c;
            const uint32_t key = plain_key(distances[c], column);
            plain_sink(own + c % TILE_LANES, 2, row == column ? TILE_NO_KEY : key);
            if (row < gram->column + TILE_COLUMNS)
                continue;
            uint32_t *theirs = gram->column_best +
                               (size_t)(column / TILE_LANES) * TILE_COLUMN_BEST +
                               (size_t)r * 2 * TILE_LANES + c % TILE_LANES;
            plain_sink(theirs, 2, plain_key(distances[c], row));
        }
    }
}

// The TILE_LANES smallest of `count` keys, in order; those of columns that fill up become TILE_NO_KEY.
static inline void
plain_smallest(const uint32_t *keys, uint32_t count, uint32_t *out)
{
    for (uint32_t i = 0; i < TILE_LANES; i++)
        out[i] = TILE_NO_KEY;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t key = keys[i];
        if (key >= TILE_KEY_INFINITE || key >= out[TILE_LANES - 1])
            continue;
        uint32_t at = TILE_LANES - 1;
        for (; at > 0 && out[at - 1] > key; at--)
            out[at] = out[at - 1];
        out[at] = key;
    }
}

static inline void
plain_gram_finish(const uint32_t *row_best, const uint32_t *column_best, uint32_t *out)
{
    for (uint32_t member = 0; member < TILE_LANES; member++) {
        uint32_t keys[TILE_ROW_BEST + (size_t)2 * TILE_ROWS];
        memcpy(keys, row_best + (size_t)member * TILE_ROW_BEST, TILE_ROW_BEST * sizeof *keys);
        for (size_t i = 0; i < (size_t)2 * TILE_ROWS; i++)
            keys[TILE_ROW_BEST + i] = column_best[i * TILE_LANES + member];
        plain_smallest(keys, sizeof keys / sizeof *keys, out + (size_t)member * TILE_LANES);
    }
}

static inline void
plain_assign(const float *distances, uint32_t column, uint32_t *best)
{
    for (uint32_t row = 0; row < TILE_ROWS; row++)
        for (uint32_t c = 0; c < TILE_COLUMNS; c++)
            plain_sink(best + (size_t)row * TILE_ASSIGN_BEST + c % TILE_LANES, 3,
                       plain_key(distances[(size_t)row * TILE_COLUMNS + c], column + c));
}

static inline void
plain_assign_finish(const uint32_t *best, uint32_t want, uint32_t *out)
{
    (void)want; // all are as easy
    plain_smallest(best, TILE_ASSIGN_BEST, out);
}

static inline void
plain_candidates(const uint32_t *keys, uint32_t count, const uint32_t *ids, const float *sketches,
                 const float *own, uint64_t *out)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t member = keys[i] & TILE_ID_MASK;
        const float *theirs = sketches + (size_t)member * TILE_SKETCH;
        uint32_t hash = 0;
        for (uint32_t bit = 0; bit < TILE_SKETCH; bit++)
            hash |= (uint32_t)(theirs[bit] >= own[bit]) << bit;
        out[i] = (uint64_t)(keys[i] >> TILE_KEY_SHIFT) << 40 | (uint64_t)hash << 32 | ids[member];
    }
}

// The largest key and hash of a full reservoir, above its count.
static inline uint32_t
plain_full_head(const struct reservoir *reservoir)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < RESERVOIR_SLOTS; i++) {
        const uint32_t rank = (uint32_t)reservoir->keys[i] << 8 | reservoir->hashes[i];
        most = rank > most ? rank : most;
    }
    return most << 8 | RESERVOIR_SLOTS;
}

// Where the hash is; RESERVOIR_SLOTS: nowhere.
static inline uint32_t
plain_find(const struct reservoir *reservoir, uint32_t count, uint8_t hash)
{
    uint32_t at = RESERVOIR_SLOTS;
    for (uint32_t i = 0; i < count; i++)
        at = reservoir->hashes[i] == hash ? i : at;
    return at;
}

static inline void
plain_put(struct reservoir *reservoir, uint32_t at, uint64_t candidate)
{
    reservoir->ids[at] = (uint32_t)candidate;
    reservoir->hashes[at] = (uint8_t)(candidate >> 32);
    reservoir->keys[at] = (uint16_t)(candidate >> 40);
}

static inline uint64_t
plain_held(const struct reservoir *reservoir, uint32_t at)
{
    return (uint64_t)reservoir->keys[at] << 40 | (uint64_t)reservoir->hashes[at] << 32 |
           reservoir->ids[at];
}

static inline uint32_t
plain_keep(struct reservoir *reservoir, uint32_t head, const uint64_t *candidates, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t candidate = candidates[i];
        const uint32_t rank = (uint32_t)(candidate >> 32), held = reservoir_count(head);
        if (rank > reservoir_bound(head))
            continue;
        uint32_t at = plain_find(reservoir, held, (uint8_t)rank);
        if (at != RESERVOIR_SLOTS) {
            if (candidate >= plain_held(reservoir, at))
                continue;
        } else if (held < RESERVOIR_SLOTS) {
            at = held;
            head++;
        } else { // the largest goes; its hash is its own
            at = plain_find(reservoir, held, (uint8_t)(head >> 8)) % RESERVOIR_SLOTS;
        }
        plain_put(reservoir, at, candidate);
        if (reservoir_count(head) == RESERVOIR_SLOTS)
            head = plain_full_head(reservoir);
    }
    return head;
}

static inline void
plain_order(const uint64_t *values, uint32_t count, uint8_t *order)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = i;
        for (; at > 0 && values[order[at - 1]] > values[i]; at--)
            order[at] = order[at - 1];
        order[at] = (uint8_t)i;
    }
}

static inline uint64_t
plain_occlude(const float *between, uint32_t groups, const struct tile_occlusion *occlusion)
{
    float *const nearest = occlusion->nearest;
    uint64_t farther = 0;
    for (uint32_t i = 0; i < groups * TILE_LANES; i++)
        nearest[i] = between[i] < nearest[i] ? between[i] : nearest[i];
    for (uint32_t i = 0; i < 64; i++) {
        const uint8_t at = occlusion->order[i];
        farther |= (uint64_t)(nearest[at] > occlusion->own[at]) << i;
    }
    return farther;
}

static inline uint64_t
plain_bytes_occlude(const struct tile_bytes *tile, uint32_t groups,
                    const struct tile_occlusion *occlusion)
{
    float between[TILE_COLUMNS];
    plain_bytes_one(tile, groups, between);
    return plain_occlude(between, groups, occlusion);
}

static inline uint64_t
plain_floats_occlude(const struct tile_floats *tile, uint32_t groups,
                     const struct tile_occlusion *occlusion)
{
    float between[TILE_COLUMNS];
    plain_floats_one(tile, groups, between);
    return plain_occlude(between, groups, occlusion);
}

#endif
