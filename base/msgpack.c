// base/msgpack.c -- reads msgpack out of foreign bytes, one object head at a time.
//
// Shape: value.
//
// Two ideas keep it safe. A head is accepted only when its body, or one byte for each object that
// it announces, is really there; so whoever sizes a buffer or a loop by it is bounded by the
// input. And nothing recurses: a whole object is passed over by counting how many objects are
// still owed, and the checker keeps its place in nested containers on a stack of
// PAYLOAD_DEPTH_MAX entries.
#include "base/msgpack.h"

#include <string.h>

#include "base/float_bits.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/utf8.h"

#define NANOSECONDS_MAX 999999999u

static bool read_head(struct msgpack_reader *reader, struct msgpack_value *value);
static bool read_sized(struct msgpack_reader *reader, uint8_t head, struct msgpack_value *value);
static bool read_number(struct msgpack_reader *reader, uint8_t head, struct msgpack_value *value);
static bool read_raw(struct msgpack_reader *reader, enum msgpack_kind kind, uint64_t length,
                     struct msgpack_value *value);
static bool read_container(struct msgpack_reader *reader, enum msgpack_kind kind, uint64_t count,
                           struct msgpack_value *value);
static bool read_big_endian(struct msgpack_reader *reader, uint32_t bytes, uint64_t *out);

bool
msgpack_next(struct msgpack_reader *reader, struct msgpack_value *value)
{
    const uint8_t *const start = reader->at;
    if (read_head(reader, value))
        return true;
    reader->at = start;
    return false;
}

bool
msgpack_skip(struct msgpack_reader *reader)
{
    uint64_t owed = 1;
    while (owed > 0) {
        struct msgpack_value value;
        if (!read_head(reader, &value))
            return false;
        owed--;
        if (value.kind == MSGPACK_ARRAY)
            owed += value.count;
        else if (value.kind == MSGPACK_MAP)
            owed += 2 * (uint64_t)value.count;
    }
    return true;
}

static bool
read_head(struct msgpack_reader *reader, struct msgpack_value *value)
{
    if (reader->at >= reader->end)
        return false;
    const uint8_t head = *reader->at++;
    if (head < 0x80) {
        *value = (struct msgpack_value){.kind = MSGPACK_INT, .integer = head};
        return true;
    }
    if (head >= 0xe0) {
        *value = (struct msgpack_value){.kind = MSGPACK_INT, .integer = (int8_t)head};
        return true;
    }
    if (head < 0x90)
        return read_container(reader, MSGPACK_MAP, head & 0x0fu, value);
    if (head < 0xa0)
        return read_container(reader, MSGPACK_ARRAY, head & 0x0fu, value);
    if (head < 0xc0)
        return read_raw(reader, MSGPACK_STRING, head & 0x1fu, value);

    switch (head) {
    case 0xc0:
        *value = (struct msgpack_value){.kind = MSGPACK_NIL};
        return true;
    case 0xc2:
    case 0xc3:
        *value = (struct msgpack_value){.kind = MSGPACK_BOOL, .boolean = head == 0xc3};
        return true;
    case 0xc1:
        return false;
    default:
        return head >= 0xca && head <= 0xd3 ? read_number(reader, head, value)
                                            : read_sized(reader, head, value);
    }
}

// f32 ca, f64 cb, u8..u64 cc..cf, i8..i64 d0..d3.
static bool
read_number(struct msgpack_reader *reader, uint8_t head, struct msgpack_value *value)
{
    const uint32_t bytes = head < 0xcc ? 4u << (head - 0xca) : 1u << ((head - 0xcc) & 3);
    uint64_t bits;
    if (!read_big_endian(reader, bytes, &bits))
        return false;

    if (head == 0xca) {
        *value = (struct msgpack_value){.kind = MSGPACK_FLOAT,
                                        .number = (double)bits_float((uint32_t)bits)};
    } else if (head == 0xcb) {
        *value = (struct msgpack_value){.kind = MSGPACK_FLOAT, .number = bits_double(bits)};
    } else if (head >= 0xd0) {
        const uint64_t sign = 1ull << (8 * bytes - 1);
        *value =
            (struct msgpack_value){.kind = MSGPACK_INT, .integer = (int64_t)((bits ^ sign) - sign)};
    } else if (bits > INT64_MAX) {
        *value = (struct msgpack_value){.kind = MSGPACK_UINT, .unsigned_ = bits};
    } else {
        *value = (struct msgpack_value){.kind = MSGPACK_INT, .integer = (int64_t)bits};
    }
    return true;
}

static bool
read_sized(struct msgpack_reader *reader, uint8_t head, struct msgpack_value *value)
{
    uint64_t length = 0;
    if (head >= 0xd4 && head <= 0xd8) // ext of 1, 2, 4, 8, 16 bytes
        return read_raw(reader, MSGPACK_EXT, 1ull << (head - 0xd4), value);

    // Lengths of 1, 2 or 4 bytes; arrays and maps begin at 2.
    const uint32_t width = head >= 0xdc   ? 2u << (head & 1)
                           : head >= 0xd9 ? 1u << (head - 0xd9)
                           : head >= 0xc7 ? 1u << (head - 0xc7)
                                          : 1u << (head - 0xc4);
    if (!read_big_endian(reader, width, &length))
        return false;
    if (head >= 0xde)
        return read_container(reader, MSGPACK_MAP, length, value);
    if (head >= 0xdc)
        return read_container(reader, MSGPACK_ARRAY, length, value);
    if (head >= 0xd9)
        return read_raw(reader, MSGPACK_STRING, length, value);
    return read_raw(reader, head >= 0xc7 ? MSGPACK_EXT : MSGPACK_BINARY, length, value);
}

static bool
read_raw(struct msgpack_reader *reader, enum msgpack_kind kind, uint64_t length,
         struct msgpack_value *value)
{
    int8_t ext_type = 0;
    if (kind == MSGPACK_EXT) {
        if (reader->at >= reader->end)
            return false;
        ext_type = (int8_t)*reader->at++;
    }
    if ((uint64_t)(reader->end - reader->at) < length)
        return false;
    *value = (struct msgpack_value){.kind = kind, .ext_type = ext_type};
    value->raw.bytes = reader->at;
    value->raw.length = (uint32_t)length;
    reader->at += length;
    return true;
}

static bool
read_container(struct msgpack_reader *reader, enum msgpack_kind kind, uint64_t count,
               struct msgpack_value *value)
{
    const uint64_t objects = kind == MSGPACK_MAP ? 2 * count : count;
    if ((uint64_t)(reader->end - reader->at) < objects)
        return false;
    *value = (struct msgpack_value){.kind = kind, .count = (uint32_t)count};
    return true;
}

static bool
read_big_endian(struct msgpack_reader *reader, uint32_t bytes, uint64_t *out)
{
    if ((uint64_t)(reader->end - reader->at) < bytes)
        return false;
    *out = msgpack_big_endian(reader->at, bytes);
    reader->at += bytes;
    return true;
}

// The three layouts of the specification: 32 bits of seconds; 30 bits of nanoseconds and 34 of
// seconds; 32 bits of nanoseconds and 64 of seconds.
bool
msgpack_read_timestamp(const struct msgpack_value *value, int64_t *seconds, uint32_t *nanoseconds)
{
    if (value->kind != MSGPACK_EXT || value->ext_type != MSGPACK_EXT_TIMESTAMP)
        return false;
    const uint8_t *bytes = value->raw.bytes;
    switch (value->raw.length) {
    case 4:
        *seconds = (int64_t)msgpack_big_endian(bytes, 4);
        *nanoseconds = 0;
        return true;
    case 8:
        *seconds = (int64_t)(msgpack_big_endian(bytes, 8) & 0x3ffffffffull);
        *nanoseconds = (uint32_t)(msgpack_big_endian(bytes, 8) >> 34);
        break;
    case 12:
        *seconds = (int64_t)msgpack_big_endian(bytes + 4, 8);
        *nanoseconds = (uint32_t)msgpack_big_endian(bytes, 4);
        break;
    default:
        return false;
    }
    return *nanoseconds <= NANOSECONDS_MAX;
}

const char *
msgpack_kind_name(const struct msgpack_value *value)
{
    static const char *const names[] = {
        [MSGPACK_NIL] = "null",      [MSGPACK_BOOL] = "boolean", [MSGPACK_INT] = "integer",
        [MSGPACK_UINT] = "integer",  [MSGPACK_FLOAT] = "float",  [MSGPACK_STRING] = "string",
        [MSGPACK_BINARY] = "binary", [MSGPACK_ARRAY] = "array",  [MSGPACK_MAP] = "map",
        [MSGPACK_EXT] = "extension",
    };
    if (value->kind == MSGPACK_EXT && value->ext_type == MSGPACK_EXT_TIMESTAMP)
        return "timestamp";
    return names[value->kind];
}

// ---- the payload checker ----

struct level {
    // Objects of this container not read yet; in a map an even number means a key is next.
    uint32_t owed;
    bool map;
};

struct check {
    struct msgpack_reader reader;
    const uint8_t *start;
    struct omen_error *error;
    struct level levels[PAYLOAD_DEPTH_MAX];
    uint32_t depth;
    uint32_t nodes;
};

static omen_status check_object(struct check *check);
static omen_status check_scalar(struct check *check, const struct msgpack_value *value,
                                uint64_t at);
static omen_status check_keys_of_maps(struct check *check);
static omen_status check_keys(struct check *check, struct msgpack_reader reader, uint32_t count);
static bool keys_equal(const struct check *check, uint32_t at, const struct msgpack_value *key);

omen_status
msgpack_check_map(const void *bytes, size_t count, struct omen_error *error)
{
    if (count > PAYLOAD_BYTES_MAX)
        return error_set(error, OMEN_E_PAYLOAD, "payload has %zu bytes, more than %u", count,
                         PAYLOAD_BYTES_MAX);
    if (count == 0)
        return error_set(error, OMEN_E_PAYLOAD, "payload is empty, expected a msgpack map");

    const uint8_t *start = bytes;
    struct check check = {.reader = {start, start + count}, .start = start, .error = error};

    struct msgpack_value value;
    if (!msgpack_next(&check.reader, &value))
        return error_set(error, OMEN_E_PAYLOAD, "payload is cut short or malformed at byte 0");
    if (value.kind != MSGPACK_MAP)
        return error_set(error, OMEN_E_PAYLOAD, "payload is one %s, expected a map",
                         msgpack_kind_name(&value));
    check.nodes = 1;
    check.levels[check.depth++] = (struct level){.owed = 2 * value.count, .map = true};
    while (check.depth > 0) {
        if (check.levels[check.depth - 1].owed == 0) {
            check.depth--;
            continue;
        }
        const omen_status status = check_object(&check);
        if (status != OMEN_OK)
            return status;
    }
    if (check.reader.at < check.reader.end)
        return error_set(error, OMEN_E_PAYLOAD, "payload goes on after its map, at byte %zu of %zu",
                         (size_t)(check.reader.at - start), count);
    return check_keys_of_maps(&check);
}

static omen_status
check_object(struct check *check)
{
    struct level *level = &check->levels[check->depth - 1];
    const bool is_key = level->map && (level->owed & 1) == 0;
    const uint64_t at = (uint64_t)(check->reader.at - check->start);
    struct msgpack_value value;
    if (!msgpack_next(&check->reader, &value))
        return error_set(check->error, OMEN_E_PAYLOAD,
                         "payload is cut short or malformed at byte %llu", (unsigned long long)at);
    level->owed--;
    if (++check->nodes > PAYLOAD_NODES_MAX)
        return error_set(check->error, OMEN_E_PAYLOAD, "payload has more than %u values",
                         PAYLOAD_NODES_MAX);
    if (is_key && value.kind != MSGPACK_STRING)
        return error_set(check->error, OMEN_E_PAYLOAD,
                         "payload has a key that is no string but %s, at byte %llu",
                         msgpack_kind_name(&value), (unsigned long long)at);
    if (value.kind != MSGPACK_ARRAY && value.kind != MSGPACK_MAP)
        return check_scalar(check, &value, at);

    if (check->depth == PAYLOAD_DEPTH_MAX)
        return error_set(check->error, OMEN_E_PAYLOAD,
                         "payload is nested deeper than %u, at byte %llu", PAYLOAD_DEPTH_MAX,
                         (unsigned long long)at);
    const bool map = value.kind == MSGPACK_MAP;
    check->levels[check->depth++] =
        (struct level){.owed = map ? 2 * value.count : value.count, .map = map};
    return OMEN_OK;
}

static omen_status
check_scalar(struct check *check, const struct msgpack_value *value, uint64_t at)
{
    int64_t seconds;
    uint32_t nanoseconds;
    if (value->kind == MSGPACK_STRING && !utf8_valid(value->raw.bytes, value->raw.length))
        return error_set(check->error, OMEN_E_PAYLOAD,
                         "payload has a string that is not UTF-8, at byte %llu",
                         (unsigned long long)at);
    if (value->kind == MSGPACK_EXT && value->ext_type == MSGPACK_EXT_TIMESTAMP &&
        !msgpack_read_timestamp(value, &seconds, &nanoseconds))
        return error_set(check->error, OMEN_E_PAYLOAD,
                         "payload has a malformed timestamp at byte %llu", (unsigned long long)at);
    return OMEN_OK;
}

// The bytes are well-formed by now. Every map anywhere is looked at once, its direct keys each
// once; passing over nested values makes it at most PAYLOAD_DEPTH_MAX times the bytes.
static omen_status
check_keys_of_maps(struct check *check)
{
    struct msgpack_reader reader = {check->start, check->reader.end};
    struct msgpack_value value;
    while (msgpack_next(&reader, &value)) {
        if (value.kind != MSGPACK_MAP || value.count < 2)
            continue;
        const omen_status status = check_keys(check, reader, value.count);
        if (status != OMEN_OK)
            return status;
    }
    return OMEN_OK;
}

// A key and its value take 2 bytes at least, so a payload has fewer than 2^15 keys and each
// begins at a byte that fits 16 bits and is not 0 (the outer map's head is there): such positions
// fill an open table on the stack.
#define KEYS_TABLE 65536u
_Static_assert(PAYLOAD_BYTES_MAX <= 65536u, "positions of keys fit uint16_t");

static omen_status
check_keys(struct check *check, struct msgpack_reader reader, uint32_t count)
{
    uint16_t table[KEYS_TABLE];
    uint32_t size = 8;
    while (size < 2 * count)
        size *= 2;
    memset(table, 0, size * sizeof table[0]);

    for (uint32_t i = 0; i < count; i++) {
        const uint32_t at = (uint32_t)(reader.at - check->start);
        struct msgpack_value key;
        if (!msgpack_next(&reader, &key) || !msgpack_skip(&reader))
            return error_set(check->error, OMEN_E_PAYLOAD, "payload is malformed at byte %u", at);
        uint32_t place = (uint32_t)hash_bytes(key.raw.bytes, key.raw.length) & (size - 1);
        while (table[place] != 0 && !keys_equal(check, table[place], &key))
            place = (place + 1) & (size - 1);
        if (table[place] != 0)
            return error_set(
                check->error, OMEN_E_PAYLOAD, "payload has the key \"%.*s\" twice, at byte %u",
                (int)utf8_cut(key.raw.bytes, key.raw.length, 64), (const char *)key.raw.bytes, at);
        table[place] = (uint16_t)at;
    }
    return OMEN_OK;
}

static bool
keys_equal(const struct check *check, uint32_t at, const struct msgpack_value *key)
{
    struct msgpack_reader reader = {check->start + at, check->reader.end};
    struct msgpack_value other;
    return msgpack_next(&reader, &other) && other.raw.length == key->raw.length &&
           memcmp(other.raw.bytes, key->raw.bytes, key->raw.length) == 0;
}
