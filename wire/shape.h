// wire/shape.h -- structs as msgpack maps, by one table for both directions.
//
// Shape:   value. Reading allocates nothing: what a struct points to lies in the frame, and lists stay packed until somebody goes
//          through them. Writing goes to an encode.
// Threads: any.
// Errors:  of reading: the decode's, with the key. A key that the table does not have, a key twice, and one that is required and
//          missing are refused by name.
//
// A table has a row for each key: what it is, where in the struct it lies, its limits. A field that is not required and is not there
// (or nil) is all zeros in the struct, and a field that is all zeros is not written unless it is required; where zero means
// something the struct has a `wire_maybe`. So what is written is read as it was, and reading and writing cannot disagree.
//
// Lists are in one of two forms: `packed`, as they lie in a frame and were checked when it was read, or `items`, an array of structs
// of whoever writes. list_begin and list_next go through the first; writing takes both.
#ifndef OMEN_WIRE_SHAPE_H
#define OMEN_WIRE_SHAPE_H
#include "wire/encode.h"

enum field_kind {
    FIELD_BOOL,     // uint8_t, 0 or 1
    FIELD_U32,      // uint32_t, least..most
    FIELD_U64,      // uint64_t, least..most
    FIELD_MAYBE,    // struct wire_maybe, least..most
    FIELD_I64,      // int64_t
    FIELD_REAL,     // double, finite; at least 0 where `most` is not 0, and then at most `most`
    FIELD_FLOAT,    // float, finite
    FIELD_TEXT,     // struct wire_text of least..most bytes
    FIELD_NAME,     // struct wire_text: [A-Za-z0-9_-]{1,64}
    FIELD_BYTES,    // struct wire_bytes: a binary of least..most bytes
    FIELD_UUID,     // struct wire_uuid: a binary of 16 bytes, not all zeros
    FIELD_WORD,     // uint8_t: 1 + its place in `words`; 0 is none
    FIELD_WORDS,    // uint32_t: a list of words, as bits
    FIELD_ID,       // struct wire_id
    FIELD_VECTOR,   // struct wire_vectors of one
    FIELD_VECTORS,  // struct wire_vectors
    FIELD_PAYLOAD,  // struct wire_bytes: a payload, which msgpack_check_map has passed
    FIELD_FILTER,   // struct wire_filter
    FIELD_ANY,      // struct wire_bytes: any object
    FIELD_INSIDE,   // a struct by `shape`
    FIELD_LIST,     // struct wire_list of structs by `shape`, least..most of them
    FIELD_IDS,      // struct wire_list of struct wire_id
    FIELD_TEXTS,    // struct wire_list of struct wire_text of 1..255 bytes
    FIELD_PAYLOADS, // struct wire_list of struct wire_bytes; nil is a payload of no bytes
    FIELD_TOKEN,    // struct wire_list of struct wire_token: {"shard": [term, seq]}
    FIELD_KINDS,
};

enum field_flags {
    FIELD_REQUIRED = 1,
    FIELD_ALIAS = 2, // another name of the row before, for reading
};

struct wire_maybe {
    uint64_t value; // 0 unless given
    uint8_t given;  // 0 or 1
};

static inline struct wire_maybe
wire_given(uint64_t value)
{
    return (struct wire_maybe){.value = value, .given = 1};
}

struct wire_uuid {
    uint64_t high, low; // big-endian halves; all zeros is none
};

struct wire_id {
    const char *text;    // borrowed, not terminated
    uint32_t text_bytes; // 0: it is `number`
    uint8_t given;       // 0: no id at all
    uint64_t number;     // 0..2^63-1
};

// Of a term, and of a place in a log: what a client may say of one goes on to other nodes, which read no more.
#define WIRE_STATE_MAX (UINT64_MAX / 4)

struct wire_token {
    uint64_t shard, term, seq;
};

enum wire_dtype { WIRE_F32 = 1, WIRE_F16, WIRE_BF16, WIRE_I8, WIRE_U8 }; // and the ext's type

enum vectors_form {
    VECTORS_NONE,
    VECTORS_RAW, // little-endian components; of FIELD_VECTORS: of all vectors, one behind the other
    VECTORS_NUMBERS, // a packed array of `count` numbers: one vector
    VECTORS_ROWS,    // a packed array of `count` vectors, each in one of these forms
};

struct wire_vectors {
    uint8_t form;  // enum vectors_form
    uint8_t dtype; // enum wire_dtype of RAW
    uint32_t count;
    struct wire_bytes bytes;
};

enum filter_form { FILTER_FORM_NONE, FILTER_FORM_TEXT, FILTER_FORM_MAP };

struct wire_filter {
    uint8_t form;            // enum filter_form
    struct wire_bytes bytes; // the text, or the packed map; base/filter.h parses it
};

struct wire_list {
    uint32_t count;
    uint32_t packed_bytes;
    const uint8_t *packed; // `count` objects (of a token: pairs); or
    const void *items;     // an array of structs
};

struct shape;

struct field {
    const char *key;
    uint8_t kind;   // enum field_kind
    uint8_t flags;  // enum field_flags
    uint16_t at;    // offset in the struct
    uint8_t beyond; // a status with its sign turned, of a number beyond the limits; 0: INVALID
    uint64_t least, most;
    union {
        const struct shape *shape;
        const char *const *words; // NULL-terminated
    };
};

struct shape {
    const char *name;
    const struct field *fields;
    uint16_t field_count; // at most SHAPE_FIELDS_MAX
    uint16_t bytes;       // of the struct; at most SHAPE_BYTES_MAX
    // Offset of a uint8_t which says that a list has nil in its place; 0: it may not.
    uint16_t absent;
};

#define SHAPE_FIELDS_MAX 64u
#define SHAPE_BYTES_MAX 512u

// One map. After a failure *out may be written in part.
void shape_read(struct decode *decode, const struct shape *shape, void *out);
// The struct is ours: its fields are asserted to be within their limits where that is cheap.
void shape_write(struct encode *encode, const struct shape *shape, const void *from);

struct list_cursor {
    struct decode decode;
    struct wire_list list;
    const struct field *field;
    uint32_t next;
};

// Goes through a list of the field, in either form. `out` is one struct of its kind; false at the end.
void list_begin(struct list_cursor *cursor, const struct field *field,
                const struct wire_list *list);
bool list_next(struct list_cursor *cursor, void *out);

// The same without a row, for the lists whose items have no shape, and for VECTORS_ROWS, whose items are vectors of the
// other two forms.
void ids_begin(struct list_cursor *cursor, const struct wire_list *list);
void token_begin(struct list_cursor *cursor, const struct wire_list *list);
void payloads_begin(struct list_cursor *cursor, const struct wire_list *list);
void texts_begin(struct list_cursor *cursor, const struct wire_list *list);
void rows_begin(struct list_cursor *cursor, const struct wire_vectors *vectors);

// The row of a key; asserted to be there.
const struct field *shape_field(const struct shape *shape, const char *key);
size_t field_item_bytes(const struct field *field); // of one struct of a list
size_t wire_dtype_bytes(uint8_t dtype);             // of a component

#endif
