// shard/field_column.c -- a range of a field as a comparison of neighbouring bytes.
//
// Shape: handle, in memory.
#include "shard/field_column.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/bitmap.h"
#include "index/kernel/kernel.h"

#define PARTS_MAX 250u
#define PART_NONE 255u       // of a slot without a value
#define ADDED_AT_LEAST 4096u // rows, before it is worth being made anew

struct field_column {
    uint8_t *parts; // slot_capacity of them
    uint32_t slot_capacity;
    uint32_t part_count;
    uint64_t rows, added; // when it was made, and since
    // The first key of each part. Smaller keys than the first are in part 0, too.
    struct field_key bounds[PARTS_MAX + 1];
};

static bool fill(struct field_column *column, const struct field_index *index);
static bool put_set(struct field_column *column, const struct slot_set *set, uint8_t part);
static bool fit(struct field_column *column, uint32_t slots);
static uint32_t part_of(const struct field_column *column, const struct field_key *key);

struct field_column *
field_column_make(const struct field_index *index, uint32_t limit)
{
    if (field_index_type(index) == FIELD_KEYWORD)
        return NULL;
    struct field_column *column = mem_alloc_zero(1, sizeof *column);
    if (column == NULL)
        return NULL;
    if (!fit(column, limit) || !fill(column, index)) {
        field_column_close(column);
        return NULL;
    }
    return column;
}

void
field_column_close(struct field_column *column)
{
    if (column == NULL)
        return;
    mem_free(column->parts);
    mem_free(column);
}

size_t
field_column_bytes(const struct field_column *column)
{
    return column == NULL ? 0 : sizeof *column + column->slot_capacity;
}

static bool
fill(struct field_column *column, const struct field_index *index)
{
    struct field_cursor cursor = {0};
    struct field_key key;
    const struct slot_set *set;
    while (field_index_next(index, &cursor, &key, &set))
        column->rows += set->count;
    const uint64_t share = column->rows / PARTS_MAX + 1; // the last part of them may have fewer
    uint64_t in_part = share;
    cursor = (struct field_cursor){0};
    while (field_index_next(index, &cursor, &key, &set)) {
        if (in_part >= share) {
            ASSERT(column->part_count < PARTS_MAX + 1);
            column->bounds[column->part_count++] = key;
            in_part = 0;
        }
        in_part += set->count;
        if (!put_set(column, set, (uint8_t)(column->part_count - 1)))
            return false;
    }
    return column->part_count > 0;
}

static bool
put(struct field_column *column, uint32_t slot, uint8_t part)
{
    if (slot >= column->slot_capacity || column->parts[slot] != PART_NONE)
        return false;
    column->parts[slot] = part;
    return true;
}

static bool
put_set(struct field_column *column, const struct slot_set *set, uint8_t part)
{
    const uint32_t *list = slot_set_list(set);
    bool fits = true;
    for (uint32_t i = 0; list != NULL && i < set->count && fits; i++)
        fits = put(column, list[i], part);
    if (list != NULL)
        return fits;
    uint32_t count;
    const uint64_t *words = slot_set_words(set, &count);
    for (uint32_t w = 0; w < count; w++)
        for (uint64_t left = words[w]; left != 0 && fits; left &= left - 1)
            fits = put(column, w * 64 + (uint32_t)__builtin_ctzll(left), part);
    return fits;
}

// Whole words of bits, so that a selection needs no end of its own.
static bool
fit(struct field_column *column, uint32_t slots)
{
    if (slots <= column->slot_capacity && column->parts != NULL)
        return true;
    const uint64_t more = column->slot_capacity + column->slot_capacity / 4ull;
    const uint64_t wanted = more > slots ? more : slots;
    if (wanted > UINT32_MAX - 63u)
        return false;
    const uint32_t capacity = ((uint32_t)wanted + 63u) & ~63u;
    uint8_t *parts = mem_resize(column->parts, capacity > 0 ? capacity : 64u);
    if (parts == NULL)
        return false;
    memset(parts + column->slot_capacity, PART_NONE, capacity - column->slot_capacity);
    column->parts = parts;
    column->slot_capacity = capacity;
    return true;
}

bool
field_column_add(struct field_column *column, const struct field_key *key, uint32_t slot)
{
    const uint64_t most = column->rows / 2 > ADDED_AT_LEAST ? column->rows / 2 : ADDED_AT_LEAST;
    if (++column->added > most || !fit(column, slot + 1))
        return false;
    return put(column, slot, (uint8_t)part_of(column, key));
}

void
field_column_remove(struct field_column *column, uint32_t slot)
{
    if (slot < column->slot_capacity)
        column->parts[slot] = PART_NONE;
}

static uint32_t
part_of(const struct field_column *column, const struct field_key *key)
{
    uint32_t low = 0, high = column->part_count;
    while (high - low > 1) {
        const uint32_t middle = low + (high - low) / 2;
        if (field_key_compare(&column->bounds[middle], key) <= 0)
            low = middle;
        else
            high = middle;
    }
    return low;
}

// What the range has of the part below `first`, the first that lies whole in it.
static void
unite_low_end(const struct field_column *column, const struct field_index *index,
              const struct field_range *range, uint32_t first, uint64_t *words, uint32_t slots)
{
    struct field_range end = *range;
    if (range->low_bound == FIELD_UNBOUNDED)
        return;
    if (first < column->part_count) {
        end.high_bound = FIELD_EXCLUDED;
        end.high = column->bounds[first];
    }
    field_index_range(index, &end, words, slots);
}

static void
unite_high_end(const struct field_column *column, const struct field_index *index,
               const struct field_range *range, uint32_t last, uint64_t *words, uint32_t slots)
{
    if (range->high_bound == FIELD_UNBOUNDED)
        return;
    const struct field_range end = {
        .low_bound = last > 0 ? FIELD_INCLUDED : FIELD_UNBOUNDED,
        .low = column->bounds[last],
        .high_bound = range->high_bound,
        .high = range->high,
    };
    field_index_range(index, &end, words, slots);
}

void
field_column_range(const struct field_column *column, const struct field_index *index,
                   const struct field_range *range, uint64_t *words, uint32_t slots)
{
    // Whole parts are [first, last); with an open end there is nothing beside them.
    const uint32_t first =
        range->low_bound == FIELD_UNBOUNDED ? 0 : part_of(column, &range->low) + 1;
    const uint32_t last =
        range->high_bound == FIELD_UNBOUNDED ? column->part_count : part_of(column, &range->high);
    if (first >= last) {
        field_index_range(index, range, words, slots);
        return;
    }
    const uint32_t whole = column->slot_capacity / 64, wanted = bitmap_words(slots);
    kernels_best()->within(column->parts, whole < wanted ? whole : wanted, (uint8_t)first,
                           (uint8_t)(last - 1), words);
    unite_low_end(column, index, range, first, words, slots);
    unite_high_end(column, index, range, last, words, slots);
}
