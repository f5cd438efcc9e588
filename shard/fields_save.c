// shard/fields_save.c -- the field indexes as one stream of bytes (shard/fields_int.h), and that in pieces.
//
// Shape: handle, in memory.
//
// The shard's writer waits while the stream is made, so it is made in one pass into one buffer, which grows by doubling
// (large blocks move by their page tables). A set is tried as a list of gaps first; where that becomes longer than
// bits over all rows, it is bits.
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/bitmap.h"
#include "shard/fields.h"
#include "shard/fields_int.h"

#define VARINT_MAX ((size_t)10)

struct fields_frozen {
    uint8_t *bytes;
    size_t count;
    size_t capacity;
};

// A value that is being written.
struct last_value {
    uint64_t high;
    const char *text;
    uint32_t length;
};

static bool put_head(struct fields_frozen *frozen, const struct fields *fields, uint32_t rows);
static bool put_content(struct fields_frozen *frozen, const struct field *field, uint32_t rows);
static bool put_key(struct fields_frozen *frozen, enum field_type type, const struct field_key *key,
                    struct last_value *last);
static bool put_set(struct fields_frozen *frozen, const struct slot_set *set, uint32_t rows,
                    const uint64_t *low, enum field_type type);
static bool put_list(struct fields_frozen *frozen, const struct slot_set *set, uint32_t count,
                     size_t most);
static bool put_bits(struct fields_frozen *frozen, const struct slot_set *set, uint32_t rows);
static uint32_t count_below(const struct slot_set *set, uint32_t rows);
static bool room(struct fields_frozen *frozen, size_t bytes);
static void put_varint(struct fields_frozen *frozen, uint64_t number);
static void put_number(struct fields_frozen *frozen, uint64_t number, uint32_t bytes);

omen_status
fields_freeze(struct fields *fields, uint32_t rows, struct fields_frozen **out)
{
    *out = NULL;
    const omen_status status = fields_settle_all(fields);
    if (status != OMEN_OK)
        return status;
    struct fields_frozen *frozen = mem_alloc_zero(1, sizeof *frozen);
    bool done = frozen != NULL && put_head(frozen, fields, rows);
    const uint32_t content = done ? (uint32_t)frozen->count : 0;
    size_t at = FIELDS_HEAD_BYTES;
    for (uint32_t i = 0; i < fields->count && done; i++) {
        const struct field *field = fields->list[i];
        const size_t before = frozen->count;
        done = put_content(frozen, field, rows);
        if (!done)
            break;
        at += FIELD_HEAD_BYTES + field->name_bytes;
        const size_t end = frozen->count;
        frozen->count = at - sizeof(uint64_t); // where the field's head says how much it is
        put_number(frozen, end - before, 8);
        frozen->count = end;
    }
    if (!done) {
        fields_frozen_close(frozen);
        return OMEN_E_NO_MEMORY;
    }
    ASSERT(at == content);
    const size_t end = frozen->count;
    frozen->count = 8; // behind magic, version and fields
    put_number(frozen, end, 8);
    frozen->count = end;
    *out = frozen;
    return OMEN_OK;
}

// The lengths come later.
static bool
put_head(struct fields_frozen *frozen, const struct fields *fields, uint32_t rows)
{
    if (!room(frozen, FIELDS_HEAD_BYTES))
        return false;
    put_number(frozen, FIELDS_MAGIC, 4);
    put_number(frozen, FIELDS_VERSION, 2);
    put_number(frozen, fields->count, 2);
    put_number(frozen, 0, 8);
    put_number(frozen, rows, 4);
    for (uint32_t i = 0; i < fields->count; i++) {
        const struct field *field = fields->list[i];
        if (!room(frozen, FIELD_HEAD_BYTES + field->name_bytes))
            return false;
        put_number(frozen, (uint64_t)field->type, 1);
        put_number(frozen, field->name_bytes, 1);
        memcpy(frozen->bytes + frozen->count, field->name, field->name_bytes);
        frozen->count += field->name_bytes;
        put_number(frozen, 0, 8);
    }
    ASSERT(frozen->count <= IMAGE_PIECE_BYTES);
    return true;
}

static bool
put_content(struct fields_frozen *frozen, const struct field *field, uint32_t rows)
{
    const enum field_type type = field->type;
    if (!room(frozen, VARINT_MAX))
        return false;
    put_varint(frozen, field->multi_rows < rows ? field->multi_rows : rows);
    if (!put_set(frozen, &field->present, rows, NULL, type) || !room(frozen, 2 * VARINT_MAX))
        return false;

    // How many values there are below `rows` is known at the end; the number has a fixed width.
    const size_t count_at = frozen->count;
    put_number(frozen, 0, 8);
    struct field_cursor cursor = {0};
    struct last_value last = {0};
    struct field_key key;
    const struct slot_set *set;
    uint64_t values = 0;
    while (field_index_next(field->index, &cursor, &key, &set)) {
        if (count_below(set, rows) == 0)
            continue; // promised only, or of rows that are not there yet
        const uint64_t low = key.pair.low - field_low_base(type);
        if (!put_key(frozen, type, &key, &last) || !put_set(frozen, set, rows, &low, type))
            return false;
        values++;
    }
    const size_t end = frozen->count;
    frozen->count = count_at;
    put_number(frozen, values, 8);
    frozen->count = end;
    return true;
}

static bool
put_key(struct fields_frozen *frozen, enum field_type type, const struct field_key *key,
        struct last_value *last)
{
    if (type == FIELD_KEYWORD) {
        uint32_t shared = 0;
        while (shared < last->length && shared < key->length &&
               last->text[shared] == key->bytes[shared])
            shared++;
        if (!room(frozen, 2 * VARINT_MAX + key->length - shared))
            return false;
        put_varint(frozen, shared);
        put_varint(frozen, key->length - shared);
        memcpy(frozen->bytes + frozen->count, key->bytes + shared, key->length - shared);
        frozen->count += key->length - shared;
        last->text = key->bytes;
        last->length = key->length;
        return true;
    }
    const uint64_t high =
        type == FIELD_INTEGER ? (uint64_t)field_key_integer(key) ^ (1ull << 63) : key->pair.high;
    if (!room(frozen, VARINT_MAX))
        return false;
    put_varint(frozen, high - last->high);
    last->high = high;
    return true;
}

// `low` is of the value before the set, or NULL.
static bool
put_set(struct fields_frozen *frozen, const struct slot_set *set, uint32_t rows,
        const uint64_t *low, enum field_type type)
{
    const uint32_t count = count_below(set, rows);
    const bool has_low = low != NULL && *low != 0 && type != FIELD_INTEGER && type != FIELD_KEYWORD;
    const size_t bits_bytes = ((size_t)rows + 7) / 8;
    const size_t before = frozen->count;
    const uint64_t head = (uint64_t)count << SET_COUNT_SHIFT | (has_low ? SET_HAS_LOW : 0);
    // Twice: as a list, and again as bits when that was longer.
    for (uint64_t form = count > bits_bytes ? SET_IS_BITS : 0;; form = SET_IS_BITS) {
        frozen->count = before;
        if (!room(frozen, 2 * VARINT_MAX))
            return false;
        put_varint(frozen, head | form);
        if (has_low && type == FIELD_UUID)
            put_number(frozen, *low, 8);
        else if (has_low)
            put_varint(frozen, *low << 1 ^ (0 - (*low >> 63))); // zigzag
        if (form == SET_IS_BITS)
            return put_bits(frozen, set, rows);
        // A gap takes 5 bytes at most, and one beyond the end is written before it is noticed.
        const size_t most = (size_t)count * 5 < bits_bytes + 5 ? (size_t)count * 5 : bits_bytes + 5;
        if (!room(frozen, most))
            return false;
        if (put_list(frozen, set, count, bits_bytes))
            return true;
    }
}

// False when the list is longer than `most`.
static bool
put_list(struct fields_frozen *frozen, const struct slot_set *set, uint32_t count, size_t most)
{
    const size_t end = frozen->count + most;
    const uint32_t *slots = slot_set_list(set);
    uint32_t next = 0;
    if (slots != NULL) {
        for (uint32_t i = 0; i < count && frozen->count <= end; i++) {
            put_varint(frozen, slots[i] - next);
            next = slots[i] + 1;
        }
        return frozen->count <= end;
    }
    uint32_t word_count;
    const uint64_t *words = slot_set_words(set, &word_count);
    for (uint32_t w = 0; count > 0; w++) {
        ASSERT(w < word_count);
        for (uint64_t left = words[w]; left != 0 && count > 0; left &= left - 1, count--) {
            const uint32_t slot = w * 64 + (uint32_t)__builtin_ctzll(left);
            if (frozen->count > end)
                return false;
            put_varint(frozen, slot - next);
            next = slot + 1;
        }
    }
    return frozen->count <= end;
}

static bool
put_bits(struct fields_frozen *frozen, const struct slot_set *set, uint32_t rows)
{
    const uint32_t bytes = (uint32_t)(((uint64_t)rows + 7) / 8);
    if (!room(frozen, bytes))
        return false;
    uint8_t *out = frozen->bytes + frozen->count;
    memset(out, 0, bytes);
    frozen->count += bytes;
    const uint32_t *slots = slot_set_list(set);
    if (slots != NULL) {
        for (uint32_t i = 0; i < set->count && slots[i] < rows; i++)
            out[slots[i] >> 3] |= (uint8_t)(1u << (slots[i] & 7));
        return true;
    }
    uint32_t word_count;
    const uint64_t *words = slot_set_words(set, &word_count);
    for (uint32_t i = 0; i < bytes && i / 8 < word_count; i++)
        out[i] = (uint8_t)(words[i / 8] >> (i % 8 * 8));
    if (rows % 8 != 0)
        out[bytes - 1] &= (uint8_t)((1u << (rows % 8)) - 1);
    return true;
}

static uint32_t
count_below(const struct slot_set *set, uint32_t rows)
{
    const uint32_t *slots = slot_set_list(set);
    uint32_t count = set->count;
    if (slots != NULL) {
        while (count > 0 && slots[count - 1] >= rows)
            count--;
        return count;
    }
    uint32_t word_count;
    const uint64_t *words = slot_set_words(set, &word_count);
    for (uint32_t w = rows / 64; w < word_count; w++) {
        const uint64_t above = w > rows / 64 ? UINT64_MAX : UINT64_MAX << (rows % 64);
        count -= (uint32_t)__builtin_popcountll(words[w] & above);
    }
    return count;
}

static bool
room(struct fields_frozen *frozen, size_t bytes)
{
    if (frozen->capacity - frozen->count >= bytes)
        return true;
    const size_t capacity = 2 * frozen->capacity + bytes + 4096;
    uint8_t *fresh = mem_resize(frozen->bytes, capacity);
    if (fresh == NULL)
        return false;
    frozen->bytes = fresh;
    frozen->capacity = capacity;
    return true;
}

static void
put_varint(struct fields_frozen *frozen, uint64_t number)
{
    uint8_t *out = frozen->bytes + frozen->count;
    for (; number >= 0x80; number >>= 7)
        *out++ = (uint8_t)(number | 0x80);
    *out++ = (uint8_t)number;
    frozen->count = (size_t)(out - frozen->bytes);
}

static void
put_number(struct fields_frozen *frozen, uint64_t number, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++)
        frozen->bytes[frozen->count++] = (uint8_t)(number >> (8 * i));
}

omen_status
fields_frozen_put(const struct fields_frozen *frozen, const struct image_sink *sink)
{
    return image_put_whole(sink, IMAGE_FIELDS, frozen->bytes, frozen->count);
}

size_t
fields_frozen_bytes(const struct fields_frozen *frozen)
{
    return frozen->count;
}

void
fields_frozen_close(struct fields_frozen *frozen)
{
    if (frozen == NULL)
        return;
    mem_free(frozen->bytes);
    mem_free(frozen);
}

omen_status
fields_save(struct fields *fields, uint32_t rows, const struct image_sink *sink)
{
    struct fields_frozen *frozen;
    omen_status status = fields_freeze(fields, rows, &frozen);
    if (status != OMEN_OK)
        return status;
    status = fields_frozen_put(frozen, sink);
    fields_frozen_close(frozen);
    return status;
}
