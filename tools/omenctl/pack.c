// tools/omenctl/pack.c -- values of a method's keys out of words.
//
// Shape: value.
#include "tools/omenctl/pack.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/omenctl/json.h"
#include "tools/omenctl/vector_text.h"

static omen_status
pack_number(struct encode *encode, const char *text, struct omen_error *error)
{
    char *end = NULL;
    errno = 0;
    const uint64_t number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0)
        return error_set(error, OMEN_E_INVALID, "'%s' is no whole number", text);
    encode_u64(encode, number);
    return OMEN_OK;
}

static omen_status
pack_real(struct encode *encode, const char *text, struct omen_error *error)
{
    char *end = NULL;
    const double number = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(number))
        return error_set(error, OMEN_E_INVALID, "'%s' is no number", text);
    encode_real(encode, number);
    return OMEN_OK;
}

static omen_status
pack_json(struct encode *encode, const char *given, struct omen_error *error)
{
    struct buffer text = {0}, packed = {0};
    omen_status status = text_read(given, &text, error);
    if (status == OMEN_OK)
        status = json_to_msgpack((const char *)text.bytes, text.count, &packed, error);
    if (status == OMEN_OK)
        encode_raw(encode, packed.bytes, packed.count);
    buffer_fini(&packed);
    buffer_fini(&text);
    return status;
}

// Digits are an integer; what is in quotes is a text whatever it looks like.
static omen_status
pack_id(struct encode *encode, const char *text, size_t bytes, struct omen_error *error)
{
    size_t digits = 0;
    while (digits < bytes && text[digits] >= '0' && text[digits] <= '9')
        digits++;
    if (digits == bytes && bytes > 0 && bytes < 20) {
        encode_u64(encode, strtoull(text, NULL, 10)); // it ends where the digits do
        return OMEN_OK;
    }
    if (bytes >= 2 && text[0] == '"') {
        struct buffer packed = {0};
        const omen_status status = json_to_msgpack(text, bytes, &packed, error);
        if (status == OMEN_OK)
            encode_raw(encode, packed.bytes, packed.count);
        buffer_fini(&packed);
        return status;
    }
    encode_text(encode, (struct wire_text){text, (uint32_t)bytes});
    return OMEN_OK;
}

static omen_status
pack_vector(struct encode *encode, const char *given, struct omen_error *error)
{
    struct buffer floats = {0};
    const omen_status status = vector_text_read(given, &floats, error);
    if (status == OMEN_OK)
        encode_bytes(encode, (struct wire_bytes){floats.bytes, (uint32_t)floats.count});
    buffer_fini(&floats);
    return status;
}

// ---- lists: several words, and commas in each ----

static omen_status
pack_list(struct encode *encode, const struct field *field, char *const *texts, uint32_t count,
          struct omen_error *error)
{
    uint32_t items = 0;
    for (uint32_t i = 0; i < count; i++) {
        items++;
        for (const char *at = texts[i]; (at = strchr(at, ',')) != NULL; at++)
            items++;
    }
    encode_array(encode, items);
    for (uint32_t i = 0; i < count; i++) {
        const char *at = texts[i];
        for (;;) {
            const size_t bytes = strcspn(at, ",");
            omen_status status = OMEN_OK;
            if (bytes == 0)
                return error_set(error, OMEN_E_INVALID, "'%s' has an empty item", texts[i]);
            if (field->kind == FIELD_IDS)
                status = pack_id(encode, at, bytes, error);
            else
                encode_text(encode, (struct wire_text){at, (uint32_t)bytes});
            if (status != OMEN_OK)
                return status;
            if (at[bytes] == '\0')
                break;
            at += bytes + 1;
        }
    }
    return OMEN_OK;
}

omen_status
pack_value(struct encode *encode, const struct field *field, char *const *texts, uint32_t count,
           struct omen_error *error)
{
    const char *text = texts[0];
    switch ((enum field_kind)field->kind) {
    case FIELD_BOOL:
        encode_bool(encode, 1); // a switch
        return OMEN_OK;
    case FIELD_U32:
    case FIELD_U64:
    case FIELD_MAYBE:
        return pack_number(encode, text, error);
    case FIELD_REAL:
    case FIELD_FLOAT:
        return pack_real(encode, text, error);
    case FIELD_ID:
        return pack_id(encode, text, strlen(text), error);
    case FIELD_VECTOR:
        return pack_vector(encode, text, error);
    case FIELD_WORDS:
    case FIELD_IDS:
    case FIELD_TEXTS:
        return pack_list(encode, field, texts, count, error);
    case FIELD_FILTER:
        if (text[0] != '{')
            break;
        return pack_json(encode, text, error);
    case FIELD_VECTORS:
    case FIELD_PAYLOAD:
    case FIELD_PAYLOADS:
    case FIELD_TOKEN:
        return pack_json(encode, text, error);
    default:
        break;
    }
    encode_word(encode, text);
    return OMEN_OK;
}
