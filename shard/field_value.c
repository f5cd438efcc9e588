// shard/field_value.c -- turns values into the keys of typed field indexes.
//
// Shape: value.
#include "shard/field_value.h"

#include <string.h>

#include "base/assert.h"
#include "base/float_bits.h"

static enum field_key_result key_of_keyword(const char *bytes, uint32_t length,
                                            struct field_key *key);
static enum field_key_result key_of_instant(struct instant instant, struct field_key *key);
static enum field_key_result key_of_uuid(const uint8_t bytes[16], struct field_key *key);
static uint64_t load_prefix(const char *bytes, uint32_t length);

bool
field_type_valid(int type)
{
    return type >= FIELD_KEYWORD && type <= FIELD_UUID;
}

const char *
field_type_name(enum field_type type)
{
    static const char *const names[] = {
        [FIELD_KEYWORD] = "keyword", [FIELD_INTEGER] = "integer",   [FIELD_FLOAT] = "float",
        [FIELD_BOOL] = "bool",       [FIELD_DATETIME] = "datetime", [FIELD_UUID] = "uuid",
    };
    ASSERT(field_type_valid((int)type));
    return names[type];
}

enum field_key_result
field_key_of_payload(enum field_type type, const struct msgpack_value *raw, struct field_key *key)
{
    const struct value value = value_of_msgpack(raw);
    if (value.kind == VALUE_NULL)
        return FIELD_KEY_NONE;
    if (type == FIELD_FLOAT && value.kind == VALUE_FLOAT && !value_is_number(&value))
        return FIELD_KEY_NONE;
    if (type == FIELD_INTEGER && value.kind != VALUE_INT)
        return FIELD_KEY_WRONG;
    if (type == FIELD_UUID && raw->kind == MSGPACK_BINARY && raw->raw.length == 16)
        return key_of_uuid(raw->raw.bytes, key);
    return field_key_of_filter(type, &value, key);
}

enum field_key_result
field_key_of_filter(enum field_type type, const struct value *value, struct field_key *key)
{
    struct instant instant;
    uint8_t uuid[16];
    *key = (struct field_key){0};
    switch (type) {
    case FIELD_KEYWORD:
        if (value->kind == VALUE_STRING)
            return key_of_keyword(value->string.bytes, value->string.length, key);
        return FIELD_KEY_WRONG;
    case FIELD_INTEGER:
    case FIELD_FLOAT:
        if (!value_is_number(value))
            return FIELD_KEY_WRONG;
        key->pair = value_key_of(value);
        return FIELD_KEY_OK;
    case FIELD_BOOL:
        if (value->kind != VALUE_BOOL)
            return FIELD_KEY_WRONG;
        key->pair = value_key_of(value);
        return FIELD_KEY_OK;
    case FIELD_DATETIME:
        if (value->kind == VALUE_TIME)
            return key_of_instant(value->time, key);
        if (value->kind == VALUE_STRING &&
            instant_parse(value->string.bytes, value->string.length, &instant))
            return key_of_instant(instant, key);
        return FIELD_KEY_WRONG;
    case FIELD_UUID:
        if (value->kind == VALUE_STRING &&
            uuid_parse(value->string.bytes, value->string.length, uuid))
            return key_of_uuid(uuid, key);
        return FIELD_KEY_WRONG;
    }
    return FIELD_KEY_WRONG;
}

// base/value.c has the shape of number keys: the nearest double, and what the number is above it.
int64_t
field_key_integer(const struct field_key *key)
{
    const uint64_t high = key->pair.high;
    const uint64_t sign = 1ull << 63;
    const double nearest = bits_double((high & sign) != 0 ? high ^ sign : ~high);
    ASSERT(nearest >= -0x1p63 && nearest <= 0x1p63);
    const uint64_t base = nearest >= 0x1p63 ? sign : (uint64_t)(int64_t)nearest;
    return (int64_t)(base + (key->pair.low ^ sign));
}

struct field_key
field_key_of_integer(int64_t integer)
{
    const struct value value = {.kind = VALUE_INT, .integer = integer};
    return (struct field_key){.pair = value_key_of(&value)};
}

struct field_key
field_key_of_text(const char *bytes, uint32_t length)
{
    struct field_key key = {0};
    (void)key_of_keyword(bytes, length, &key);
    return key;
}

int
field_key_compare(const struct field_key *a, const struct field_key *b)
{
    const int order = value_key_compare(a->pair, b->pair);
    return order != 0 ? order : field_text_compare(a->bytes, a->length, b->bytes, b->length);
}

int
field_text_compare(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
    const size_t common = a_bytes < b_bytes ? a_bytes : b_bytes;
    const int order = common == 0 ? 0 : memcmp(a, b, common);
    return order != 0 ? order : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

static enum field_key_result
key_of_keyword(const char *bytes, uint32_t length, struct field_key *key)
{
    key->pair.high = load_prefix(bytes, length);
    key->bytes = bytes;
    key->length = length;
    return FIELD_KEY_OK;
}

static enum field_key_result
key_of_instant(struct instant instant, struct field_key *key)
{
    const struct value value = {.kind = VALUE_TIME, .time = instant};
    *key = (struct field_key){.pair = value_key_of(&value)};
    return FIELD_KEY_OK;
}

static enum field_key_result
key_of_uuid(const uint8_t bytes[16], struct field_key *key)
{
    *key = (struct field_key){0};
    key->pair.high = load_prefix((const char *)bytes, 8);
    key->pair.low = load_prefix((const char *)bytes + 8, 8);
    return FIELD_KEY_OK;
}

static uint64_t
load_prefix(const char *bytes, uint32_t length)
{
    uint64_t prefix = 0;
    for (uint32_t i = 0; i < 8; i++)
        prefix = prefix << 8 | (i < length ? (uint8_t)bytes[i] : 0u);
    return prefix;
}
