// wire/shape_value.c -- fields that are one value: numbers, texts, words, ids, filters.
//
// Shape: value.
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "wire/shape_int.h"

static void
number_read(struct decode *decode, const struct field *field, void *at)
{
    const omen_status status = field->beyond != 0 ? -field->beyond : OMEN_E_INVALID;
    const uint64_t number = decode_u64_or(decode, field->least, field->most, status);
    switch (field->kind) {
    case FIELD_U32:
        *(uint32_t *)at = (uint32_t)number;
        return;
    case FIELD_U64:
        *(uint64_t *)at = number;
        return;
    default:
        *(struct wire_maybe *)at = (struct wire_maybe){number, (uint8_t)decode_ok(decode)};
    }
}

static void
real_read(struct decode *decode, const struct field *field, void *at)
{
    const double number = decode_real(decode);
    if (field->kind == FIELD_FLOAT) {
        *(float *)at = (float)number;
        if (!isfinite(*(float *)at)) {
            *(float *)at = 0;
            decode_fail(decode, OMEN_E_INVALID, "is too large for a 32-bit float");
        }
        return;
    }
    if (field->most != 0 && (number < 0 || number > (double)field->most))
        decode_fail(decode, OMEN_E_INVALID, "is %g, expected 0..%" PRIu64, number, field->most);
    *(double *)at = decode_ok(decode) ? number : 0;
}

static bool
is_name_byte(char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= 'a' && byte <= 'z') || byte == '_' || byte == '-';
}

static struct wire_text
name_read(struct decode *decode)
{
    const struct wire_text name = decode_text(decode, 1, WIRE_NAME_BYTES_MAX);
    for (uint32_t i = 0; i < name.count; i++)
        if (!is_name_byte(name.bytes[i])) {
            decode_fail(decode, OMEN_E_INVALID,
                        "has a character at place %" PRIu32 " that is none of A-Za-z0-9_-", i);
            return (struct wire_text){0};
        }
    return name;
}

// 1 + the place of the word in the list; 0 where it is none, after a failure that names the list.
static uint32_t
word_read(struct decode *decode, const struct field *field)
{
    char expected[160] = "";
    size_t end = 0;
    const struct wire_text word = decode_text(decode, 0, UINT32_MAX);
    for (uint32_t i = 0; decode_ok(decode) && field->words[i] != NULL; i++) {
        const size_t count = strlen(field->words[i]);
        if (count == word.count && memcmp(field->words[i], word.bytes, count) == 0)
            return i + 1;
        if (end + count + 3 < sizeof expected) {
            memcpy(expected + end, i > 0 ? ", " : "", i > 0 ? 2 : 0);
            end += i > 0 ? 2 : 0;
            memcpy(expected + end, field->words[i], count + 1);
            end += count;
        }
    }
    decode_fail(decode, OMEN_E_INVALID, "is '%.*s', expected one of %s",
                (int)(word.count < 40 ? word.count : 0), word.count > 0 ? word.bytes : "",
                expected);
    return 0;
}

static uint32_t
words_read(struct decode *decode, const struct field *field)
{
    uint32_t bits = 0;
    const uint32_t count = decode_array(decode);
    for (uint32_t i = 0; i < count && decode_ok(decode); i++) {
        decode_enter_index(decode, i);
        const uint32_t word = word_read(decode, field);
        if (word > 0)
            bits |= 1u << (word - 1);
        decode_leave(decode);
    }
    decode_close(decode);
    return bits;
}

void
id_read(struct decode *decode, struct wire_id *id)
{
    struct msgpack_value value = {.kind = MSGPACK_NIL};
    *id = (struct wire_id){0};
    const bool is_there = decode_peek(decode, &value);
    if (!is_there || value.kind != MSGPACK_STRING) {
        if (value.kind == MSGPACK_INT && value.integer < 0)
            decode_fail(decode, OMEN_E_ID_RANGE, "is %" PRIi64 ", expected 0..2^63-1",
                        value.integer);
        if (value.kind == MSGPACK_UINT)
            decode_fail(decode, OMEN_E_ID_RANGE, "is %" PRIu64 ", expected 0..2^63-1",
                        value.unsigned_);
        if (is_there && value.kind != MSGPACK_INT && value.kind != MSGPACK_UINT)
            decode_fail_kind(decode, &value, "an integer or a text");
        id->number = decode_u64(decode, 0, ID_MAX);
    } else if (value.raw.length == 0 || value.raw.length > ID_TEXT_BYTES_MAX) {
        decode_fail(decode, OMEN_E_ID_LENGTH, "has %" PRIu32 " bytes, expected 1..%u",
                    value.raw.length, ID_TEXT_BYTES_MAX);
    } else {
        const struct wire_text text = decode_text(decode, 1, ID_TEXT_BYTES_MAX);
        id->text = text.bytes;
        id->text_bytes = text.count;
    }
    id->given = (uint8_t)decode_ok(decode);
}

void
id_write(struct encode *encode, const struct wire_id *id)
{
    ASSERT(id->text_bytes <= ID_TEXT_BYTES_MAX && id->number <= ID_MAX);
    if (id->text_bytes > 0)
        encode_text(encode, (struct wire_text){id->text, id->text_bytes});
    else
        encode_u64(encode, id->number);
}

void
payload_read(struct decode *decode, struct wire_bytes *payload)
{
    struct omen_error error;
    const struct wire_bytes raw = decode_raw(decode);
    if (!decode_ok(decode))
        return;
    if (msgpack_check_map(raw.bytes, raw.count, &error) != OMEN_OK)
        decode_fail(decode, OMEN_E_PAYLOAD, "is refused: %s", error.text);
    else
        *payload = raw;
}

static void
filter_read(struct decode *decode, struct wire_filter *filter)
{
    struct msgpack_value value;
    if (decode_peek(decode, &value) && value.kind == MSGPACK_STRING) {
        const struct wire_text text = decode_text(decode, 1, FILTER_TEXT_BYTES_MAX);
        filter->bytes = (struct wire_bytes){(const uint8_t *)text.bytes, text.count};
        filter->form = FILTER_FORM_TEXT;
    } else if (decode_peek(decode, &value) && value.kind == MSGPACK_MAP) {
        filter->bytes = decode_raw(decode);
        if (filter->bytes.count > FILTER_MAP_BYTES_MAX)
            decode_fail(decode, OMEN_E_FILTER, "has %" PRIu32 " bytes, more than %u",
                        filter->bytes.count, FILTER_MAP_BYTES_MAX);
        filter->form = FILTER_FORM_MAP;
    } else {
        decode_fail(decode, OMEN_E_FILTER, "is neither a string nor a map");
    }
    if (!decode_ok(decode))
        *filter = (struct wire_filter){0};
}

static struct wire_uuid
uuid_read(struct decode *decode)
{
    struct wire_uuid uuid = {0};
    const struct wire_bytes bytes = decode_bytes(decode, 16, 16);
    for (uint32_t i = 0; i < bytes.count; i++) {
        uint64_t *half = i < 8 ? &uuid.high : &uuid.low;
        *half = *half << 8 | bytes.bytes[i];
    }
    if (decode_ok(decode) && (uuid.high | uuid.low) == 0)
        decode_fail(decode, OMEN_E_INVALID, "is all zeros, which is no uuid");
    return uuid;
}

void
value_read(struct decode *decode, const struct field *field, void *at)
{
    switch ((enum field_kind)field->kind) {
    case FIELD_BOOL:
        *(uint8_t *)at = decode_bool(decode);
        return;
    case FIELD_I64:
        *(int64_t *)at = decode_i64(decode);
        return;
    case FIELD_REAL:
    case FIELD_FLOAT:
        real_read(decode, field, at);
        return;
    case FIELD_TEXT:
        *(struct wire_text *)at =
            decode_text(decode, (uint32_t)field->least, (uint32_t)field->most);
        return;
    case FIELD_NAME:
        *(struct wire_text *)at = name_read(decode);
        return;
    case FIELD_BYTES:
        *(struct wire_bytes *)at =
            decode_bytes(decode, (uint32_t)field->least, (uint32_t)field->most);
        return;
    case FIELD_UUID:
        *(struct wire_uuid *)at = uuid_read(decode);
        return;
    case FIELD_WORD:
        *(uint8_t *)at = (uint8_t)word_read(decode, field);
        return;
    case FIELD_WORDS:
        *(uint32_t *)at = words_read(decode, field);
        return;
    case FIELD_ID:
        id_read(decode, at);
        return;
    case FIELD_VECTOR:
        vector_read(decode, at);
        return;
    case FIELD_VECTORS:
        vectors_read(decode, field, at);
        return;
    case FIELD_PAYLOAD:
        payload_read(decode, at);
        return;
    case FIELD_FILTER:
        filter_read(decode, at);
        return;
    case FIELD_ANY:
        *(struct wire_bytes *)at = decode_raw(decode);
        return;
    default:
        number_read(decode, field, at);
    }
}

bool
value_is_zero(const struct field *field, const void *at)
{
    switch ((enum field_kind)field->kind) {
    case FIELD_BOOL:
    case FIELD_WORD:
        return *(const uint8_t *)at == 0;
    case FIELD_U32:
    case FIELD_WORDS:
        return *(const uint32_t *)at == 0;
    case FIELD_MAYBE:
        return ((const struct wire_maybe *)at)->given == 0;
    case FIELD_REAL:
        return *(const double *)at == 0;
    case FIELD_FLOAT:
        return *(const float *)at == 0;
    case FIELD_TEXT:
    case FIELD_NAME:
        return ((const struct wire_text *)at)->count == 0;
    case FIELD_BYTES:
    case FIELD_PAYLOAD:
    case FIELD_ANY:
        return ((const struct wire_bytes *)at)->count == 0;
    case FIELD_UUID:
        return (((const struct wire_uuid *)at)->high | ((const struct wire_uuid *)at)->low) == 0;
    case FIELD_ID:
        return ((const struct wire_id *)at)->given == 0;
    case FIELD_VECTOR:
    case FIELD_VECTORS:
        return ((const struct wire_vectors *)at)->form == VECTORS_NONE;
    case FIELD_FILTER:
        return ((const struct wire_filter *)at)->form == FILTER_FORM_NONE;
    default:
        return *(const uint64_t *)at == 0; // U64, and I64, of which zero is zero, too
    }
}

static void
number_write(struct encode *encode, const struct field *field, const void *at)
{
    const uint64_t number = field->kind == FIELD_U32   ? *(const uint32_t *)at
                            : field->kind == FIELD_U64 ? *(const uint64_t *)at
                                                       : ((const struct wire_maybe *)at)->value;
    ASSERT(number >= field->least && number <= field->most);
    encode_u64(encode, number);
}

static void
words_write(struct encode *encode, const struct field *field, uint32_t bits)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < 32; i++)
        count += bits >> i & 1;
    encode_array(encode, count);
    for (uint32_t i = 0; field->words[i] != NULL; i++)
        if ((bits >> i & 1) != 0)
            encode_word(encode, field->words[i]);
}

static void
uuid_write(struct encode *encode, const struct wire_uuid *uuid)
{
    uint8_t bytes[16];
    for (uint32_t i = 0; i < 16; i++)
        bytes[i] = (uint8_t)((i < 8 ? uuid->high : uuid->low) >> (56 - 8 * (i % 8)));
    encode_bytes(encode, (struct wire_bytes){bytes, sizeof bytes});
}

static void
raw_write(struct encode *encode, const struct field *field, const void *at)
{
    const struct wire_bytes *raw = at;
    if (raw->count == 0) // required, and nothing there
        field->kind == FIELD_PAYLOAD ? encode_map(encode, 0) : encode_nil(encode);
    else
        encode_raw(encode, raw->bytes, raw->count);
}

static void
filter_write(struct encode *encode, const struct wire_filter *filter)
{
    if (filter->form == FILTER_FORM_TEXT)
        encode_text(encode,
                    (struct wire_text){(const char *)filter->bytes.bytes, filter->bytes.count});
    else
        encode_raw(encode, filter->bytes.bytes, filter->bytes.count);
}

void
value_write(struct encode *encode, const struct field *field, const void *at)
{
    switch ((enum field_kind)field->kind) {
    case FIELD_BOOL:
        encode_bool(encode, *(const uint8_t *)at);
        return;
    case FIELD_I64:
        encode_i64(encode, *(const int64_t *)at);
        return;
    case FIELD_REAL:
        encode_real(encode, *(const double *)at);
        return;
    case FIELD_FLOAT:
        encode_float(encode, *(const float *)at);
        return;
    case FIELD_TEXT:
    case FIELD_NAME:
        encode_text(encode, *(const struct wire_text *)at);
        return;
    case FIELD_BYTES:
        encode_bytes(encode, *(const struct wire_bytes *)at);
        return;
    case FIELD_UUID:
        uuid_write(encode, at);
        return;
    case FIELD_WORD:
        encode_word(encode, field->words[*(const uint8_t *)at - 1]);
        return;
    case FIELD_WORDS:
        words_write(encode, field, *(const uint32_t *)at);
        return;
    case FIELD_ID:
        id_write(encode, at);
        return;
    case FIELD_VECTOR:
    case FIELD_VECTORS:
        vectors_write(encode, at);
        return;
    case FIELD_PAYLOAD:
    case FIELD_ANY:
        raw_write(encode, field, at);
        return;
    case FIELD_FILTER:
        filter_write(encode, at);
        return;
    default:
        number_write(encode, field, at);
    }
}
