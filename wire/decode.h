// wire/decode.h -- pulls msgpack out of a complete frame, within limits, and says what was wrong and where.
//
// Shape:   value. Allocates nothing; texts, binaries and raw objects are pointers into the frame.
// Threads: any.
// Errors:  the first failure stays: every later call fails too and reads zeros, so a caller may look once, at the end. *error
//          (may be NULL) then has a sentence like "query.search: points[3].id is a string, expected an integer (byte 45)".
//
// Nothing is believed before it is there: a length is compared with the bytes left, and a count with one byte for each
// object that it announces. Depth and objects have limits besides. What is foreign and kept as it is (a payload, a filter)
// is passed over by decode_raw and has its own checker.
#ifndef OMEN_WIRE_DECODE_H
#define OMEN_WIRE_DECODE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/msgpack.h"

#define DECODE_DEPTH_MAX 32u // the largest depth_max

struct decode_limits {
    uint32_t bytes_max; // of a whole message
    uint32_t depth_max; // containers in containers; the outermost is 1
    // Objects, keys counted, but numbers of vectors and what is inside of raw objects.
    uint32_t nodes_max;
};

// A connection that has said nothing yet and must say hello first; one that may ask; and a client, which takes the larger
// answers that it asked for.
extern const struct decode_limits decode_before_hello;
extern const struct decode_limits decode_after_hello;
extern const struct decode_limits decode_answers;

struct wire_text {
    const char *bytes; // not terminated
    uint32_t count;
};

struct wire_bytes {
    const uint8_t *bytes;
    uint32_t count;
};

struct decode_place { // where in the message: a key, or a place in an array
    const char *name; // of ours, static; NULL: none
    uint32_t index;   // UINT32_MAX: none
};

struct decode {
    struct msgpack_reader reader;
    const uint8_t *start;
    struct decode_limits limits;
    struct omen_error *error;
    const char *about; // what all of it is; NULL: nothing is said of it
    omen_status status;
    uint32_t depth, nodes;
    uint32_t place_count;
    struct decode_place places[DECODE_DEPTH_MAX];
};

// Bytes and limits are borrowed until the last call. More than bytes_max is the first failure.
void decode_init(struct decode *decode, struct wire_bytes frame, const struct decode_limits *limits,
                 struct omen_error *error);

// Fails, unless something failed before. What is written is "<about>: <place> <sentence> (byte n)".
__attribute__((format(printf, 3, 4))) omen_status
decode_fail(struct decode *decode, omen_status status, const char *format, ...);
// The same, of what decode_peek has seen: "is a float, expected an integer or a text".
omen_status decode_fail_kind(struct decode *decode, const struct msgpack_value *value,
                             const char *expected);

// For the sentences: what is read between the two is at this place.
void decode_enter_key(struct decode *decode, const char *key);
void decode_enter_index(struct decode *decode, uint32_t index);
void decode_leave(struct decode *decode);

// A head; `count` objects (or pairs) follow, and then the matching decode_close. Reads 0 after a failure.
uint32_t decode_array(struct decode *decode);
uint32_t decode_map(struct decode *decode);
void decode_close(struct decode *decode);

// Scalars, of exactly this kind.
bool decode_bool(struct decode *decode);
uint64_t decode_u64(struct decode *decode, uint64_t least, uint64_t most);
// The same, where a number outside has a status of its own.
uint64_t decode_u64_or(struct decode *decode, uint64_t least, uint64_t most, omen_status status);
int64_t decode_i64(struct decode *decode);
double decode_real(struct decode *decode); // finite; an integer counts as one
struct wire_text decode_text(struct decode *decode, uint32_t least, uint32_t most); // UTF-8
struct wire_bytes decode_bytes(struct decode *decode, uint32_t least, uint32_t most);
bool decode_take_nil(struct decode *decode); // reads a nil if one is next

// What is next, which is not read; false at the end, after a failure, and where nothing can be read.
bool decode_peek(const struct decode *decode, struct msgpack_value *value);

// Reads the head that decode_peek has seen, whatever it is, without entering a container.
bool decode_next(struct decode *decode, struct msgpack_value *value);

// One object whatever it contains, as it is. Only the depth inside of it is limited.
struct wire_bytes decode_raw(struct decode *decode);

// An array of finite numbers, of which only the count is told, and `least`..`most` of them. They count as one object.
struct wire_bytes decode_numbers(struct decode *decode, uint32_t least, uint32_t most,
                                 uint32_t *count);
// Of such an array; `out` has room for `count`, which is what was told.
void decode_numbers_read(struct wire_bytes numbers, float *out, uint32_t count);

// Nothing may follow. The status of it all.
OMEN_MUST_CHECK omen_status decode_end(struct decode *decode);

static inline bool
decode_ok(const struct decode *decode)
{
    return decode->status == OMEN_OK;
}

#endif
