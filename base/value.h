// base/value.h -- the scalars that filters compare: one order for each kind, none between kinds.
//
// Shape:   value. Strings are borrowed.
// Threads: any.
//
// Numbers compare by what they are worth, exactly: 2^53 + 1 is greater than 2^53 as a float.
// Strings compare bytewise, false comes before true, instants by time. NaN equals nothing and has
// no order.
#ifndef OMEN_BASE_VALUE_H
#define OMEN_BASE_VALUE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/msgpack.h"

enum value_kind {
    VALUE_NULL,
    VALUE_BOOL,
    VALUE_INT,
    VALUE_UINT, // above INT64_MAX
    VALUE_FLOAT,
    VALUE_STRING,
    VALUE_TIME, // a msgpack timestamp
    VALUE_OTHER // array, map, binary, other ext: equal to nothing
};

struct instant {
    int64_t seconds;      // since 1970-01-01T00:00:00Z
    uint32_t nanoseconds; // 0..999999999
};

struct value {
    enum value_kind kind;
    union {
        bool boolean;
        int64_t integer;
        uint64_t unsigned_;
        double number;
        struct instant time;
        struct {
            const char *bytes;
            uint32_t length;
        } string;
    };
};

struct value value_of_msgpack(const struct msgpack_value *from);

// False when the two cannot be compared (different kinds, NaN, null, other). *order is <0, 0 or
// >0.
bool value_compare(const struct value *a, const struct value *b, int *order);

// A key whose order as a pair of unsigned numbers is the order of the values of one kind. Numbers
// of all three kinds share one order. Not for strings, null, other and NaN.
struct value_key {
    uint64_t high;
    uint64_t low;
};
struct value_key value_key_of(const struct value *value);
int value_key_compare(struct value_key a, struct value_key b);

bool value_is_number(const struct value *value); // NaN is none

// RFC 3339: 2024-02-29T12:00:00.5Z, with an offset, `t`, `z` or a space allowed; also a date
// alone (midnight UTC). A leap second (:60) is read as the first instant of the next minute. At
// most 9 digits of fraction count.
bool instant_parse(const char *text, size_t bytes, struct instant *out);
// Writes it back as UTC, NUL-terminated; false outside of the years 0..9999. 31 bytes always do.
#define INSTANT_TEXT_BYTES 32
bool instant_print(struct instant instant, char text[INSTANT_TEXT_BYTES]);

// 8-4-4-4-12 or 32 hexadecimal digits, any case.
bool uuid_parse(const char *text, size_t bytes, uint8_t out[16]);

// What a value means beyond its bytes: timestamps and texts of times are instants, texts and 16-byte binaries of UUIDs
// are UUIDs. No value is both.
enum meaning_kind { MEANING_INSTANT, MEANING_UUID, MEANING_PLAIN };
struct value_meaning {
    enum meaning_kind kind;
    struct value_key key; // {0, 0} when it is plain; orders the values of one kind
};
struct value_meaning value_meaning_of(const struct value *value);
struct value_meaning value_meaning_of_msgpack(const struct msgpack_value *from);
int value_meaning_compare(const struct value_meaning *a,
                          const struct value_meaning *b); // by kind first

#endif
