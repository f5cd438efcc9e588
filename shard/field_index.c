// shard/field_index.c -- the values of one field in order, and for each the slots that have it.
//
// Shape: handle, in memory.
//
// A B+tree of two levels: leaves of up to LEAF_VALUES values, and one array with the first key of
// each leaf. Inserting moves half a leaf at most (2 KiB); one insertion in LEAF_VALUES / 2 splits
// a leaf and moves part of the array, which has 8 thousand entries of 16 bytes for a million
// values. A third level would pay above some ten million. A leaf that is full at the very end is
// not split but followed by an empty one, so values that come in order fill leaves.
//
// Of a keyword only the first 8 bytes are in the entry; its text is read when those are equal.
#include "shard/field_index.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

#define LEAF_VALUES 128u

struct keyword {
    uint32_t length;
    char bytes[];
};

struct entry {
    uint64_t high;
    union {
        uint64_t low;
        struct keyword *text; // owned; in keyword indexes
    };
    struct slot_set set;
};

struct leaf {
    uint32_t count; // > 0 outside of calls
    struct entry entries[LEAF_VALUES];
};

struct leaf_ref {
    uint64_t high; // of the leaf's first entry
    struct leaf *leaf;
};

struct field_index {
    enum field_type type;
    uint32_t leaf_count;
    uint32_t leaf_capacity;
    struct leaf_ref *leaves;
    uint64_t value_count;
    size_t text_bytes;
    size_t set_bytes;
};

struct place {
    uint32_t leaf;
    uint32_t entry;
};

static bool find(const struct field_index *index, const struct field_key *key, struct place *place);
static int compare_entry(const struct field_index *index, const struct entry *entry,
                         const struct field_key *key);
static struct entry *insert(struct field_index *index, const struct field_key *key,
                            struct place place);
static bool make_room(struct field_index *index, struct place *place);
static bool insert_leaf(struct field_index *index, uint32_t at, struct leaf *leaf);
static bool reserve_leaf(struct field_index *index);
static void erase(struct field_index *index, struct place place);
static void drop_leaf(struct field_index *index, uint32_t leaf);
static void merge_leaves(struct field_index *index, uint32_t leaf);
static struct entry *entry_at(const struct field_index *index, struct place place);
static bool begins_with(const struct entry *entry, const char *bytes, size_t count);

omen_status
field_index_open(enum field_type type, struct field_index **out)
{
    ASSERT(field_type_valid((int)type));
    *out = mem_alloc_zero(1, sizeof **out);
    if (*out == NULL)
        return OMEN_E_NO_MEMORY;
    (*out)->type = type;
    return OMEN_OK;
}

void
field_index_close(struct field_index *index)
{
    if (index == NULL)
        return;
    for (uint32_t i = 0; i < index->leaf_count; i++) {
        struct leaf *leaf = index->leaves[i].leaf;
        for (uint32_t j = 0; j < leaf->count; j++) {
            slot_set_fini(&leaf->entries[j].set);
            if (index->type == FIELD_KEYWORD)
                mem_free(leaf->entries[j].text);
        }
        mem_free(leaf);
    }
    mem_free(index->leaves);
    mem_free(index);
}

enum field_type
field_index_type(const struct field_index *index)
{
    return index->type;
}

bool
field_index_claim(struct field_index *index, const struct field_key *key, uint32_t limit)
{
    struct place place;
    struct entry *entry =
        find(index, key, &place) ? entry_at(index, place) : insert(index, key, place);
    if (entry == NULL)
        return false;
    const size_t before = slot_set_bytes(&entry->set);
    if (slot_set_claim(&entry->set, limit)) {
        index->set_bytes += slot_set_bytes(&entry->set) - before;
        return true;
    }
    // Only a set that exists grows by allocating: the first claims of a new value cannot fail.
    ASSERT(!slot_set_idle(&entry->set));
    return false;
}

void
field_index_unclaim(struct field_index *index, const struct field_key *key)
{
    struct place place;
    const bool found = find(index, key, &place);
    ASSERT(found);
    slot_set_unclaim(&entry_at(index, place)->set);
    if (slot_set_idle(&entry_at(index, place)->set))
        erase(index, place);
}

bool
field_index_add(struct field_index *index, const struct field_key *key, uint32_t slot)
{
    struct place place;
    const bool found = find(index, key, &place);
    ASSERT(found);
    return slot_set_add(&entry_at(index, place)->set, slot);
}

bool
field_index_remove(struct field_index *index, const struct field_key *key, uint32_t slot)
{
    struct place place;
    if (!find(index, key, &place) || !slot_set_remove(&entry_at(index, place)->set, slot))
        return false;
    if (slot_set_idle(&entry_at(index, place)->set))
        erase(index, place);
    return true;
}

const struct slot_set *
field_index_find(const struct field_index *index, const struct field_key *key)
{
    struct place place;
    return find(index, key, &place) ? &entry_at(index, place)->set : NULL;
}

void
field_index_range(const struct field_index *index, const struct field_range *range, uint64_t *words,
                  uint32_t slots)
{
    struct place first = {0, 0};
    struct place end = {index->leaf_count, 0};
    if (range->low_bound != FIELD_UNBOUNDED && find(index, &range->low, &first) &&
        range->low_bound == FIELD_EXCLUDED)
        first.entry++;
    if (range->high_bound != FIELD_UNBOUNDED && find(index, &range->high, &end) &&
        range->high_bound == FIELD_INCLUDED)
        end.entry++;
    // `first` may lie behind `end`, when the bounds cross.
    for (uint32_t i = first.leaf; i < index->leaf_count && i <= end.leaf; i++) {
        const struct leaf *leaf = index->leaves[i].leaf;
        const uint32_t stop = i == end.leaf ? end.entry : leaf->count;
        for (uint32_t j = i == first.leaf ? first.entry : 0; j < stop; j++)
            slot_set_unite(&leaf->entries[j].set, words, slots);
    }
}

void
field_index_prefix(const struct field_index *index, const char *bytes, size_t count,
                   uint64_t *words, uint32_t slots)
{
    if (index->type != FIELD_KEYWORD)
        return;
    struct value value = {.kind = VALUE_STRING};
    value.string.bytes = bytes;
    value.string.length = (uint32_t)count;
    struct field_key key;
    struct place place;
    const enum field_key_result made = field_key_of_filter(FIELD_KEYWORD, &value, &key);
    ASSERT(made == FIELD_KEY_OK);
    (void)find(index, &key, &place);
    for (; place.leaf < index->leaf_count; place = (struct place){place.leaf + 1, 0}) {
        const struct leaf *leaf = index->leaves[place.leaf].leaf;
        for (; place.entry < leaf->count; place.entry++) {
            if (!begins_with(&leaf->entries[place.entry], bytes, count))
                return;
            slot_set_unite(&leaf->entries[place.entry].set, words, slots);
        }
    }
}

static bool
begins_with(const struct entry *entry, const char *bytes, size_t count)
{
    return entry->text->length >= count && memcmp(entry->text->bytes, bytes, count) == 0;
}

// True with the key's place, or false with the place where it belongs: inside or at the end of a
// leaf; {0, 0} when there is no leaf.
static bool
find(const struct field_index *index, const struct field_key *key, struct place *place)
{
    // The last leaf whose first value is not above the key.
    uint32_t low = 0;
    uint32_t high = index->leaf_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const struct leaf_ref *ref = &index->leaves[middle];
        const bool above = ref->high != key->pair.high
                               ? ref->high > key->pair.high
                               : compare_entry(index, &ref->leaf->entries[0], key) > 0;
        if (above)
            high = middle;
        else
            low = middle + 1;
    }
    *place = (struct place){low > 0 ? low - 1 : 0, 0};
    if (low == 0)
        return false;

    const struct leaf *leaf = index->leaves[place->leaf].leaf;
    low = 0;
    high = leaf->count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const int order = compare_entry(index, &leaf->entries[middle], key);
        if (order == 0) {
            place->entry = middle;
            return true;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    place->entry = low;
    return false;
}

static int
compare_entry(const struct field_index *index, const struct entry *entry,
              const struct field_key *key)
{
    if (entry->high != key->pair.high)
        return entry->high < key->pair.high ? -1 : 1;
    if (index->type == FIELD_KEYWORD)
        return field_text_compare(entry->text->bytes, entry->text->length, key->bytes, key->length);
    return (entry->low > key->pair.low) - (entry->low < key->pair.low);
}

static struct entry *
entry_at(const struct field_index *index, struct place place)
{
    return &index->leaves[place.leaf].leaf->entries[place.entry];
}

// NULL when memory is short; then nothing changed, except that a leaf may have been split in two.
static struct entry *
insert(struct field_index *index, const struct field_key *key, struct place place)
{
    struct keyword *text = NULL;
    if (index->type == FIELD_KEYWORD) {
        text = mem_alloc(sizeof *text + key->length);
        if (text == NULL)
            return NULL;
        text->length = key->length;
        memcpy(text->bytes, key->bytes, key->length);
    }
    if (!make_room(index, &place)) {
        mem_free(text);
        return NULL;
    }
    struct leaf *leaf = index->leaves[place.leaf].leaf;
    memmove(&leaf->entries[place.entry + 1], &leaf->entries[place.entry],
            (leaf->count - place.entry) * sizeof leaf->entries[0]);
    leaf->count++;
    struct entry *entry = &leaf->entries[place.entry];
    *entry = (struct entry){.high = key->pair.high};
    if (text != NULL)
        entry->text = text;
    else
        entry->low = key->pair.low;
    index->leaves[place.leaf].high = leaf->entries[0].high;
    index->value_count++;
    index->text_bytes += text == NULL ? 0 : sizeof *text + text->length;
    return entry;
}

// A leaf with a free entry for `place`, which may move into a new leaf.
static bool
make_room(struct field_index *index, struct place *place)
{
    if (index->leaf_count > 0 && index->leaves[place->leaf].leaf->count < LEAF_VALUES)
        return true;
    struct leaf *fresh = mem_alloc(sizeof *fresh);
    if (fresh == NULL)
        return false;
    fresh->count = 0;
    const uint32_t at = index->leaf_count == 0 ? 0 : place->leaf + 1;
    if (!insert_leaf(index, at, fresh)) {
        mem_free(fresh);
        return false;
    }
    if (index->leaf_count == 1 || (at == index->leaf_count - 1 && place->entry == LEAF_VALUES)) {
        *place = (struct place){at, 0};
        return true;
    }
    struct leaf *full = index->leaves[place->leaf].leaf;
    fresh->count = LEAF_VALUES / 2;
    full->count = LEAF_VALUES - fresh->count;
    memcpy(fresh->entries, &full->entries[full->count], fresh->count * sizeof fresh->entries[0]);
    index->leaves[at].high = fresh->entries[0].high;
    if (place->entry > full->count)
        *place = (struct place){at, place->entry - full->count};
    return true;
}

static bool
insert_leaf(struct field_index *index, uint32_t at, struct leaf *leaf)
{
    if (!reserve_leaf(index))
        return false;
    memmove(&index->leaves[at + 1], &index->leaves[at],
            (index->leaf_count - at) * sizeof index->leaves[0]);
    index->leaves[at] = (struct leaf_ref){.leaf = leaf};
    index->leaf_count++;
    return true;
}

static bool
reserve_leaf(struct field_index *index)
{
    if (index->leaf_count < index->leaf_capacity)
        return true;
    const uint32_t capacity = index->leaf_capacity == 0 ? 4 : 2 * index->leaf_capacity;
    struct leaf_ref *leaves = mem_resize(index->leaves, capacity * sizeof leaves[0]);
    if (leaves == NULL)
        return false;
    index->leaves = leaves;
    index->leaf_capacity = capacity;
    return true;
}

static void
erase(struct field_index *index, struct place place)
{
    struct leaf *leaf = index->leaves[place.leaf].leaf;
    struct entry *entry = &leaf->entries[place.entry];
    index->set_bytes -= slot_set_bytes(&entry->set);
    slot_set_fini(&entry->set);
    if (index->type == FIELD_KEYWORD) {
        index->text_bytes -= sizeof *entry->text + entry->text->length;
        mem_free(entry->text);
    }
    index->value_count--;
    leaf->count--;
    memmove(entry, entry + 1, (leaf->count - place.entry) * sizeof *entry);
    if (leaf->count == 0) {
        drop_leaf(index, place.leaf);
        return;
    }
    index->leaves[place.leaf].high = leaf->entries[0].high;
    if (place.leaf + 1 < index->leaf_count)
        merge_leaves(index, place.leaf);
    if (place.leaf > 0 && place.leaf < index->leaf_count)
        merge_leaves(index, place.leaf - 1);
}

static void
drop_leaf(struct field_index *index, uint32_t leaf)
{
    mem_free(index->leaves[leaf].leaf);
    index->leaf_count--;
    memmove(&index->leaves[leaf], &index->leaves[leaf + 1],
            (index->leaf_count - leaf) * sizeof index->leaves[0]);
}

// Takes the next leaf's values in when both are at most half a leaf together: then a value that
// comes and goes does not split and merge in turn.
static void
merge_leaves(struct field_index *index, uint32_t leaf)
{
    struct leaf *into = index->leaves[leaf].leaf;
    struct leaf *from = index->leaves[leaf + 1].leaf;
    if (into->count + from->count > LEAF_VALUES / 2)
        return;
    memcpy(&into->entries[into->count], from->entries, from->count * sizeof from->entries[0]);
    into->count += from->count;
    drop_leaf(index, leaf + 1);
}

bool
field_index_next(const struct field_index *index, struct field_cursor *cursor,
                 struct field_key *key, const struct slot_set **set)
{
    if (cursor->leaf < index->leaf_count &&
        cursor->entry == index->leaves[cursor->leaf].leaf->count)
        *cursor = (struct field_cursor){cursor->leaf + 1, 0};
    if (cursor->leaf == index->leaf_count)
        return false;
    const struct entry *entry = &index->leaves[cursor->leaf].leaf->entries[cursor->entry++];
    *key = (struct field_key){.pair.high = entry->high};
    if (index->type == FIELD_KEYWORD) {
        key->bytes = entry->text->bytes;
        key->length = entry->text->length;
    } else {
        key->pair.low = entry->low;
    }
    *set = &entry->set;
    return true;
}

void
field_index_seek(const struct field_index *index, const struct field_key *key,
                 struct field_cursor *cursor)
{
    struct place place;
    (void)find(index, key, &place);
    *cursor = (struct field_cursor){place.leaf, place.entry};
}

bool
field_index_append(struct field_index *index, const struct field_key *key, struct slot_set *set)
{
    ASSERT(!slot_set_idle(set));
    struct place end = {0, 0};
    if (index->leaf_count > 0) {
        end.leaf = index->leaf_count - 1;
        end.entry = index->leaves[end.leaf].leaf->count;
    }
    struct entry *entry = insert(index, key, end);
    if (entry == NULL)
        return false;
    entry->set = *set;
    index->set_bytes += slot_set_bytes(set);
    *set = (struct slot_set){0};
    return true;
}

uint64_t
field_index_values(const struct field_index *index)
{
    return index->value_count;
}

size_t
field_index_bytes(const struct field_index *index)
{
    return sizeof *index + index->leaf_capacity * sizeof index->leaves[0] +
           index->leaf_count * sizeof(struct leaf) + index->text_bytes + index->set_bytes;
}
