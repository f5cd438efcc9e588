// shard/fields_int.h -- what the planner sees of the fields, and how they lie in an image.
//
// Shape: value. Private to shard/fields*.c and shard/filter_plan.c.
//
// The image (IMAGE_FIELDS) is one stream, cut into pieces of IMAGE_PIECE_BYTES. Numbers are little-endian; a varint has
// 7 bits a byte, the low ones first.
//
//   head     u32 magic, u16 version, u16 fields, u64 bytes of everything, u32 rows; all of it in the first piece
//   a field  u8 type, u8 bytes of the name, the name, u64 bytes of its content; likewise
//   content  of each field in this order: varint multi_rows; the set `present`; u64 values; the values in order
//   a value  its key less the one before, then its set, which is not empty
//     integer  varint of the difference; the first from INT64_MIN
//     keyword  varint of bytes shared with the one before, varint of further bytes, these
//     others   varint of the difference of pair.high; behind the set's head, where that says so, what pair.low is above
//              its base: 8 bytes of a UUID, else a varint, zigzag
//   a set    varint of count * 4 + low * 2 + bits; then count varints of the slots between one and the next, or
//            (rows + 7) / 8 bytes of bits
#ifndef OMEN_SHARD_FIELDS_INT_H
#define OMEN_SHARD_FIELDS_INT_H
#include <stdatomic.h>

#include "base/image.h"
#include "base/limits.h"
#include "base/os_rwlock.h"
#include "shard/field_column.h"
#include "shard/field_index.h"
#include "shard/fields.h"
#include "shard/slot_set.h"

#define FIELDS_MAGIC 0x444c464fu // "OFLD"
#define FIELDS_VERSION 1u
#define FIELDS_HEAD_BYTES 20u
#define FIELD_HEAD_BYTES 10u // without the name
#define SET_IS_BITS 1u
#define SET_HAS_LOW 2u
#define SET_COUNT_SHIFT 2u

enum field_load {
    FIELD_LOADED,
    FIELD_PENDING, // still in the image
    FIELD_CORRUPT, // what is in the image is none
    FIELD_TAKEN    // it was in the image, or none, when it was taken away: nobody wants it any more
};

struct field {
    struct field_index *index; // exchanged when it is loaded
    enum field_type type;
    enum field_load load;
    bool damaged;        // pending, and to be made of the payloads
    bool was_stored;     // its content came from an image, so that it may contradict the payloads
    uint64_t content_at; // in the image
    uint64_t content_bytes;
    struct slot_set present; // slots with any value but null, NaN included
    uint64_t multi_rows;     // slots with more than one value: two bounds may be met by two of them
    // Of the index, for ranges; NULL: none is made yet. Readers make it under the shared lock, one at a time.
    _Atomic(struct field_column *) column;
    atomic_bool column_tried; // since the last row was put
    uint32_t name_bytes;
    char name[];
};

struct fields {
    struct rwlock lock; // over everything below; the writer reads without it
    uint32_t count;
    uint32_t limit;                 // above every slot that was ever promised
    struct field *list[FIELDS_MAX]; // an entry once set stays until it is taken away (fields_take)
    struct image_source image;      // asked while something is pending
    struct fields_origin origin;    // or without payloads
    uint32_t image_rows;            // below which all its slots are
    uint32_t pending;               // fields
    uint32_t corrupt;               // fields
    // Of image_rows: slots of which the image does not hold any more. NULL: nothing is pending.
    uint64_t *forgotten;
    bool any_forgotten;
};

struct field_payload {
    const void *payload;
    size_t bytes;
};

// NULL when the field has no index. Under the lock.
struct field *fields_find(const struct fields *fields, const char *name, size_t name_bytes);

// What low is counted from, where it is not written.
static inline uint64_t
field_low_base(enum field_type type)
{
    return type == FIELD_FLOAT ? 1ull << 63 : 0;
}

struct field *field_open(const struct field_spec *spec); // NULL: no memory
// One that is pending is so no more. Under the exclusive lock.
void fields_pending_less(struct fields *fields);

// words |= the slots below `slots` with a value in the range. Under the lock, which may be shared.
void field_select_range(const struct fields *fields, struct field *field,
                        const struct field_range *range, uint64_t *words, uint32_t slots);
// Under the exclusive lock, or while nobody else sees the field.
void field_drop_column(struct field *field);
// Puts a slot below `limit` into a field that nobody sees yet. OMEN_E_FIELD_TYPE, and *wrong is why; OMEN_E_NO_MEMORY.
OMEN_MUST_CHECK omen_status field_fill(struct field *field, const struct field_payload *payload,
                                       uint32_t slot, uint32_t limit, struct msgpack_value *wrong);

// Makes sure that the field is loaded. OMEN_E_NO_MEMORY: not now; OMEN_E_CORRUPT: never.
OMEN_MUST_CHECK omen_status fields_settle(struct fields *fields, struct field *field);
OMEN_MUST_CHECK omen_status fields_settle_all(struct fields *fields);

#endif
