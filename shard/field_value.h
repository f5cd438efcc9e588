// shard/field_value.h -- turns values into the keys of typed field indexes.
//
// Shape:   value. Strings are borrowed.
// Threads: any.
#ifndef OMEN_SHARD_FIELD_VALUE_H
#define OMEN_SHARD_FIELD_VALUE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/msgpack.h"
#include "base/value.h"

enum field_type { // the numbers of omen_field_type
    FIELD_KEYWORD = 1,
    FIELD_INTEGER = 2,
    FIELD_FLOAT = 3,
    FIELD_BOOL = 4,
    FIELD_DATETIME = 5,
    FIELD_UUID = 6
};

bool field_type_valid(int type);
const char *field_type_name(enum field_type type); // "keyword", ...; static

// A value as an index orders it. Everything but keywords is a pair of numbers; of a keyword the
// first 8 bytes, big-endian and zero-padded, are pair.high, and where those are equal the strings
// decide.
struct field_key {
    struct value_key pair;
    const char *bytes; // keywords only, else NULL
    uint32_t length;
};

enum field_key_result {
    FIELD_KEY_OK,
    FIELD_KEY_NONE, // the value fits but equals nothing (null, NaN): there is no key
    FIELD_KEY_WRONG // not a value of this type
};

// What a payload's value is in an index of this type. KEYWORD takes strings; INTEGER int64; FLOAT
// floats and integers; BOOL booleans; DATETIME RFC 3339 strings and timestamps; UUID its text and
// 16-byte binaries. Null fits everywhere.
enum field_key_result field_key_of_payload(enum field_type type, const struct msgpack_value *raw,
                                           struct field_key *key);
// The same for a value in a filter, which may be of a wider kind: a float compares with an
// INTEGER field.
enum field_key_result field_key_of_filter(enum field_type type, const struct value *value,
                                          struct field_key *key);

// The number that the key of an INTEGER field was made of, and back.
int64_t field_key_integer(const struct field_key *key);
struct field_key field_key_of_integer(int64_t integer);
// The key of a KEYWORD field.
struct field_key field_key_of_text(const char *bytes, uint32_t length);

int field_key_compare(const struct field_key *a, const struct field_key *b); // of one type

// Bytewise, a beginning before what it begins.
int field_text_compare(const char *a, size_t a_bytes, const char *b, size_t b_bytes);

#endif
