// shard/slot_set.c -- the slots that have one value: a few, a sorted list, or bits.
//
// Shape: value.
//
// A list becomes bits when bits over everything below the limit take less memory, which is also
// where copying whole words into a bitmap begins to be faster than setting them one by one. It
// never goes back: a set that was large once on the way to be empty is freed when it is.
#include "shard/slot_set.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/bitmap.h"
#include "base/limits.h"

// A list that grows by a third counts its places in a u32.
_Static_assert(SLOTS_MAX / 3 * 4ull < UINT32_MAX, "a list has at most 2^32 - 1 places");

struct slot_list {
    uint32_t capacity;
    uint32_t slots[]; // ascending
};

struct slot_bits {
    uint32_t word_count;
    uint64_t words[];
};

static bool few_to_list(struct slot_set *set, uint32_t capacity);
static bool list_grow(struct slot_set *set, uint32_t capacity);
static bool to_bits(struct slot_set *set, uint32_t limit);
static bool bits_grow(struct slot_set *set, uint32_t limit);
static uint32_t *members(struct slot_set *set);
static uint32_t place_of(const uint32_t *slots, uint32_t count, uint32_t slot);
static size_t list_bytes(uint32_t capacity);
static size_t bits_bytes(uint32_t word_count);

void
slot_set_fini(struct slot_set *set)
{
    if (set->form == SLOT_SET_LIST)
        mem_free(set->list);
    else if (set->form == SLOT_SET_BITS)
        mem_free(set->bits);
    *set = (struct slot_set){0};
}

bool
slot_set_claim(struct slot_set *set, uint32_t limit)
{
    const uint32_t need = set->count + set->claims + 1;
    bool room = true;
    if (set->form == SLOT_SET_BITS) {
        room = set->bits->word_count >= bitmap_words(limit) || bits_grow(set, limit);
    } else if (set->form == SLOT_SET_FEW ? need > SLOT_SET_FEW_MAX : need > set->list->capacity) {
        const uint32_t capacity = need + need / 3 + 1;
        if (list_bytes(capacity) > bits_bytes(bitmap_words(limit)))
            room = to_bits(set, limit);
        else
            room =
                set->form == SLOT_SET_FEW ? few_to_list(set, capacity) : list_grow(set, capacity);
    }
    if (room)
        set->claims = (set->claims + 1) & 0x3fffffffu;
    return room;
}

static bool
few_to_list(struct slot_set *set, uint32_t capacity)
{
    struct slot_list *list = mem_alloc(list_bytes(capacity));
    if (list == NULL)
        return false;
    list->capacity = capacity;
    memcpy(list->slots, set->few, set->count * sizeof set->few[0]);
    set->list = list;
    set->form = SLOT_SET_LIST;
    return true;
}

static bool
list_grow(struct slot_set *set, uint32_t capacity)
{
    struct slot_list *list = mem_resize(set->list, list_bytes(capacity));
    if (list == NULL)
        return false;
    list->capacity = capacity;
    set->list = list;
    return true;
}

static bool
to_bits(struct slot_set *set, uint32_t limit)
{
    const uint32_t words = bitmap_words(limit);
    struct slot_bits *bits = mem_alloc_zero(1, bits_bytes(words));
    if (bits == NULL)
        return false;
    bits->word_count = words;
    const uint32_t *slots = members(set);
    for (uint32_t i = 0; i < set->count; i++)
        bits->words[slots[i] >> 6] |= 1ull << (slots[i] & 63);
    if (set->form == SLOT_SET_LIST)
        mem_free(set->list);
    set->bits = bits;
    set->form = SLOT_SET_BITS;
    return true;
}

// By an eighth at least, so that rows added one by one do not copy the bits each time.
static bool
bits_grow(struct slot_set *set, uint32_t limit)
{
    const uint32_t before = set->bits->word_count;
    uint32_t words = bitmap_words(limit);
    if (words < before + before / 8)
        words = before + before / 8;
    struct slot_bits *bits = mem_resize(set->bits, bits_bytes(words));
    if (bits == NULL)
        return false;
    memset(&bits->words[before], 0, (words - before) * sizeof bits->words[0]);
    bits->word_count = words;
    set->bits = bits;
    return true;
}

void
slot_set_unclaim(struct slot_set *set)
{
    ASSERT(set->claims > 0);
    set->claims = (set->claims - 1) & 0x3fffffffu;
}

bool
slot_set_add(struct slot_set *set, uint32_t slot)
{
    slot_set_unclaim(set);
    if (set->form == SLOT_SET_BITS) {
        ASSERT(slot >> 6 < set->bits->word_count);
        uint64_t *word = &set->bits->words[slot >> 6];
        const uint64_t bit = 1ull << (slot & 63);
        const bool added = (*word & bit) == 0;
        *word |= bit;
        set->count += added;
        return added;
    }
    uint32_t *slots = members(set);
    const uint32_t place = place_of(slots, set->count, slot);
    if (place < set->count && slots[place] == slot)
        return false;
    ASSERT(set->count < (set->form == SLOT_SET_FEW ? SLOT_SET_FEW_MAX : set->list->capacity));
    memmove(&slots[place + 1], &slots[place], (set->count - place) * sizeof slots[0]);
    slots[place] = slot;
    set->count++;
    return true;
}

bool
slot_set_remove(struct slot_set *set, uint32_t slot)
{
    if (set->form == SLOT_SET_BITS) {
        if (slot >> 6 >= set->bits->word_count)
            return false;
        uint64_t *word = &set->bits->words[slot >> 6];
        const uint64_t bit = 1ull << (slot & 63);
        const bool removed = (*word & bit) != 0;
        *word &= ~bit;
        set->count -= removed;
        return removed;
    }
    uint32_t *slots = members(set);
    const uint32_t place = place_of(slots, set->count, slot);
    if (place == set->count || slots[place] != slot)
        return false;
    set->count--;
    memmove(&slots[place], &slots[place + 1], (set->count - place) * sizeof slots[0]);
    return true;
}

static uint32_t *
members(struct slot_set *set)
{
    return set->form == SLOT_SET_FEW ? set->few : set->list->slots;
}

// The first place whose slot is not smaller. Slots mostly come in order, so the end is looked at
// first.
static uint32_t
place_of(const uint32_t *slots, uint32_t count, uint32_t slot)
{
    if (count == 0 || slots[count - 1] < slot)
        return count;
    uint32_t low = 0;
    uint32_t high = count - 1;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (slots[middle] < slot)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool
slot_set_idle(const struct slot_set *set)
{
    return set->count == 0 && set->claims == 0;
}

size_t
slot_set_bytes(const struct slot_set *set)
{
    if (set->form == SLOT_SET_LIST)
        return list_bytes(set->list->capacity);
    return set->form == SLOT_SET_BITS ? bits_bytes(set->bits->word_count) : 0;
}

static size_t
list_bytes(uint32_t capacity)
{
    return sizeof(struct slot_list) + (size_t)capacity * sizeof(uint32_t);
}

static size_t
bits_bytes(uint32_t word_count)
{
    return sizeof(struct slot_bits) + (size_t)word_count * sizeof(uint64_t);
}

void
slot_set_unite_many(const struct slot_set *set, uint64_t *words, uint32_t slots)
{
    if (set->form == SLOT_SET_BITS) {
        const uint32_t wanted = bitmap_words(slots);
        const uint32_t there = set->bits->word_count < wanted ? set->bits->word_count : wanted;
        for (uint32_t w = 0; w < there; w++)
            words[w] |= set->bits->words[w];
        return;
    }
    const uint32_t *at = set->form == SLOT_SET_FEW ? set->few : set->list->slots;
    for (const uint32_t *end = at + set->count; at < end && *at < slots; at++)
        words[*at >> 6] |= 1ull << (*at & 63);
}

void
slot_set_copy(const struct slot_set *set, uint64_t *words, uint32_t slots)
{
    const uint32_t wanted = bitmap_words(slots);
    uint32_t there = 0;
    if (set->form == SLOT_SET_BITS) {
        there = set->bits->word_count < wanted ? set->bits->word_count : wanted;
        memcpy(words, set->bits->words, there * sizeof words[0]);
    }
    memset(words + there, 0, (wanted - there) * sizeof words[0]);
    if (set->form != SLOT_SET_BITS)
        slot_set_unite(set, words, slots);
}

const uint32_t *
slot_set_list(const struct slot_set *set)
{
    if (set->form == SLOT_SET_BITS)
        return NULL;
    return set->form == SLOT_SET_FEW ? set->few : set->list->slots;
}

const uint64_t *
slot_set_words(const struct slot_set *set, uint32_t *word_count)
{
    if (set->form != SLOT_SET_BITS)
        return NULL;
    *word_count = set->bits->word_count;
    return set->bits->words;
}

bool
slot_set_fill(struct slot_set *set, uint32_t count, uint32_t limit, struct slot_set_room *room)
{
    ASSERT(set->form == SLOT_SET_FEW && slot_set_idle(set) && count > 0);
    *room = (struct slot_set_room){0};
    if (count > SLOT_SET_FEW_MAX && list_bytes(count) > bits_bytes(bitmap_words(limit))) {
        if (!to_bits(set, limit))
            return false;
        room->words = set->bits->words;
        return true;
    }
    if (count > SLOT_SET_FEW_MAX && !few_to_list(set, count))
        return false;
    room->list = members(set);
    return true;
}
