// base/msgpack.h -- reads msgpack out of foreign bytes, one object head at a time.
//
// Shape:   value. Allocates nothing, copies nothing: strings and binaries are pointers into the
//          caller's bytes.
// Threads: any.
//
// The reader never looks past the end it was given and believes no length that it finds: a head
// that announces more than is there is refused before anybody acts on it.
#ifndef OMEN_BASE_MSGPACK_H
#define OMEN_BASE_MSGPACK_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

// As all numbers of msgpack lie. At most 8 bytes.
static inline uint64_t
msgpack_big_endian(const uint8_t *bytes, uint32_t count)
{
    uint64_t value = 0;
    for (uint32_t i = 0; i < count; i++)
        value = value << 8 | bytes[i];
    return value;
}

enum msgpack_kind {
    MSGPACK_NIL,
    MSGPACK_BOOL,
    MSGPACK_INT,   // negative, or fits int64
    MSGPACK_UINT,  // above INT64_MAX
    MSGPACK_FLOAT, // f32 is widened
    MSGPACK_STRING,
    MSGPACK_BINARY,
    MSGPACK_ARRAY,
    MSGPACK_MAP,
    MSGPACK_EXT
};

struct msgpack_value {
    enum msgpack_kind kind;
    int8_t ext_type;
    union {
        bool boolean;
        int64_t integer;    // INT
        uint64_t unsigned_; // UINT
        double number;      // FLOAT
        uint32_t count;     // ARRAY: elements; MAP: pairs, twice as many objects follow
        struct {
            const uint8_t *bytes;
            uint32_t length;
        } raw; // STRING (valid UTF-8 where msgpack_check_map passed), BINARY, EXT
    };
};

struct msgpack_reader {
    const uint8_t *at;
    const uint8_t *end;
};

// Reads one head and, for strings, binaries and exts, the body. False when the bytes do not hold
// it (or begin with the byte 0xc1, which msgpack never uses); then `at` stays. An array or map
// head passes only when at least one byte is left for each object it announces.
bool msgpack_next(struct msgpack_reader *reader, struct msgpack_value *value);

// Passes over one whole object, whatever it contains, without recursion. False as above; `at` is
// then undefined.
bool msgpack_skip(struct msgpack_reader *reader);

// Is this a payload: exactly one map and nothing after it, every key a string and none twice in
// one map, every string UTF-8, every timestamp in range, at most PAYLOAD_BYTES_MAX,
// PAYLOAD_NODES_MAX objects (keys counted), nested at most PAYLOAD_DEPTH_MAX deep (the outer map
// is 1)? Else OMEN_E_PAYLOAD, and *error says what and at which byte. `bytes` may be NULL when
// count is 0 (which is no payload).
OMEN_MUST_CHECK omen_status msgpack_check_map(const void *bytes, size_t count,
                                              struct omen_error *error);

#define MSGPACK_EXT_TIMESTAMP (-1)

// Seconds since 1970 and nanoseconds 0..999999999 of a timestamp ext; false when it is none.
bool msgpack_read_timestamp(const struct msgpack_value *value, int64_t *seconds,
                            uint32_t *nanoseconds);

// "null", "boolean", "integer", "float", "string", "binary", "array", "map", "timestamp",
// "extension"; static.
const char *msgpack_kind_name(const struct msgpack_value *value);

#endif
