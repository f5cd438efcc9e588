// wire/shape.c -- structs as msgpack maps, by one table for both directions.
//
// Shape: value.
//
// Keys are looked for from behind the last one that was found: who writes by the same table sends them in its order, and then each
// is found at the first look.
#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "base/utf8.h"
#include "wire/shape_int.h"

#define KEY_SHOWN 40u // bytes of a key that nobody knows, in a sentence

static const struct field *find_key(const struct shape *shape, struct wire_text key,
                                    uint32_t *next);
static void refuse_key(struct decode *decode, struct wire_text key, const char *why);
static void check_required(struct decode *decode, const struct shape *shape, uint64_t seen);
static bool is_written(const struct field *field, const void *from);

static bool
is_zero(const struct field *field, const void *at)
{
    if (field_is_list(field))
        return ((const struct wire_list *)at)->count == 0;
    if (field->kind != FIELD_INSIDE)
        return value_is_zero(field, at);
    for (uint32_t i = 0; i < field->shape->field_count; i++) {
        const struct field *inner = &field->shape->fields[i];
        if (is_written(inner, at) && !is_zero(inner, (const uint8_t *)at + inner->at))
            return false;
    }
    return true;
}

void
shape_read(struct decode *decode, const struct shape *shape, void *out)
{
    ASSERT(shape->field_count <= SHAPE_FIELDS_MAX && shape->bytes <= SHAPE_BYTES_MAX);
    memset(out, 0, shape->bytes);
    uint64_t seen = 0;
    uint32_t next = 0;
    const uint32_t pairs = decode_map(decode);
    for (uint32_t i = 0; i < pairs && decode_ok(decode); i++) {
        const struct wire_text key = decode_text(decode, 0, UINT32_MAX);
        if (!decode_ok(decode))
            break;
        const struct field *field = find_key(shape, key, &next);
        if (field == NULL) {
            refuse_key(decode, key, "has no key");
            break;
        }
        const uint64_t bit = UINT64_C(1) << (field - shape->fields);
        if ((seen & bit) != 0) {
            refuse_key(decode, key, "has twice the key");
            break;
        }
        void *at = (uint8_t *)out + field->at;
        decode_enter_key(decode, field->key);
        if ((field->flags & FIELD_REQUIRED) == 0 && decode_take_nil(decode))
            seen |= bit;
        else if (field_is_list(field))
            list_read(decode, field, at);
        else if (field->kind == FIELD_INSIDE)
            shape_read(decode, field->shape, at);
        else
            value_read(decode, field, at);
        decode_leave(decode);
        seen |= bit;
    }
    decode_close(decode);
    check_required(decode, shape, seen);
}

// An alias gives the row whose name it is another of.
static const struct field *
find_key(const struct shape *shape, struct wire_text key, uint32_t *next)
{
    for (uint32_t i = 0; i < shape->field_count; i++) {
        const uint32_t at = (*next + i) % shape->field_count;
        const struct field *field = &shape->fields[at];
        if (strlen(field->key) != key.count || memcmp(field->key, key.bytes, key.count) != 0)
            continue;
        *next = at + 1;
        return (field->flags & FIELD_ALIAS) != 0 ? field - 1 : field;
    }
    return NULL;
}

static void
refuse_key(struct decode *decode, struct wire_text key, const char *why)
{
    const size_t shown = utf8_cut(key.bytes, key.count, KEY_SHOWN);
    decode_fail(decode, OMEN_E_INVALID, "%s '%.*s%s'", why, (int)shown, key.bytes,
                shown < key.count ? "..." : "");
}

static void
check_required(struct decode *decode, const struct shape *shape, uint64_t seen)
{
    for (uint32_t i = 0; i < shape->field_count && decode_ok(decode); i++)
        if ((shape->fields[i].flags & FIELD_REQUIRED) != 0 && (seen >> i & 1) == 0)
            decode_fail(decode, OMEN_E_INVALID, "lacks the key '%s'", shape->fields[i].key);
}

static bool
is_written(const struct field *field, const void *from)
{
    if ((field->flags & FIELD_ALIAS) != 0)
        return false;
    return (field->flags & FIELD_REQUIRED) != 0 ||
           !is_zero(field, (const uint8_t *)from + field->at);
}

void
shape_write(struct encode *encode, const struct shape *shape, const void *from)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < shape->field_count; i++)
        count += is_written(&shape->fields[i], from);
    encode_map(encode, count);
    for (uint32_t i = 0; i < shape->field_count; i++) {
        const struct field *field = &shape->fields[i];
        if (!is_written(field, from))
            continue;
        const void *at = (const uint8_t *)from + field->at;
        encode_word(encode, field->key);
        if (field_is_list(field))
            list_write(encode, field, at);
        else if (field->kind == FIELD_INSIDE)
            shape_write(encode, field->shape, at);
        else
            value_write(encode, field, at);
    }
}

const struct field *
shape_field(const struct shape *shape, const char *key)
{
    uint32_t next = 0;
    const struct field *field = find_key(shape, wire_text_of(key), &next);
    ASSERT(field != NULL);
    return field;
}
