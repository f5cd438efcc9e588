// tools/omenctl/json.c -- JSON into msgpack.
//
// Shape: value.
//
// A container's head says in msgpack how many follow, which JSON tells only at its end. So five bytes are left for the
// head, and when the end comes what follows moves back to a head as short as it can be.
#include "tools/omenctl/json.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/msgpack.h"
#include "base/utf8.h"

#define NUMBER_BYTES_MAX 400u // as a text; longer ones have no meaning to a double
#define HEAD_ROOM 5u

struct level {
    size_t head; // where its head is in the output
    uint32_t count;
    bool is_map;
};

struct parser {
    const char *start, *at, *end;
    struct buffer *out;
    struct omen_error *error;
    struct level levels[JSON_DEPTH_MAX];
    uint32_t depth;
};

void
buffer_fini(struct buffer *buffer)
{
    mem_free(buffer->bytes);
    *buffer = (struct buffer){0};
}

omen_status
buffer_add(struct buffer *buffer, const void *bytes, size_t count)
{
    if (count > buffer->capacity - buffer->count) {
        size_t capacity = buffer->capacity < 256 ? 256 : buffer->capacity;
        while (capacity - buffer->count < count) {
            if (capacity > SIZE_MAX / 2)
                return OMEN_E_NO_MEMORY;
            capacity *= 2;
        }
        uint8_t *grown = mem_resize(buffer->bytes, capacity);
        if (grown == NULL)
            return OMEN_E_NO_MEMORY;
        buffer->bytes = grown;
        buffer->capacity = capacity;
    }
    if (count > 0)
        memcpy(buffer->bytes + buffer->count, bytes, count);
    buffer->count += count;
    return OMEN_OK;
}

static omen_status
wrong(const struct parser *parser, const char *what)
{
    return error_set(parser->error, OMEN_E_INVALID, "JSON, byte %zu: %s",
                     (size_t)(parser->at - parser->start), what);
}

static omen_status
put(const struct parser *parser, const void *bytes, size_t count)
{
    if (buffer_add(parser->out, bytes, count) != OMEN_OK)
        return error_set_plain(parser->error, OMEN_E_NO_MEMORY);
    return OMEN_OK;
}

static void
skip_blanks(struct parser *parser)
{
    while (parser->at < parser->end && (*parser->at == ' ' || *parser->at == '\t' ||
                                        *parser->at == '\n' || *parser->at == '\r'))
        parser->at++;
}

static bool
take(struct parser *parser, char wanted)
{
    skip_blanks(parser);
    if (parser->at == parser->end || *parser->at != wanted)
        return false;
    parser->at++;
    return true;
}

static bool
take_word(struct parser *parser, const char *word)
{
    const size_t bytes = strlen(word);
    if ((size_t)(parser->end - parser->at) < bytes || memcmp(parser->at, word, bytes) != 0)
        return false;
    parser->at += bytes;
    return true;
}

// `number` big-endian behind the byte `head`.
static omen_status
put_headed(const struct parser *parser, uint8_t head, uint64_t number, uint32_t bytes)
{
    uint8_t room[9] = {head};
    for (uint32_t i = 0; i < bytes; i++)
        room[1 + i] = (uint8_t)(number >> (8 * (bytes - 1 - i)));
    return put(parser, room, 1 + (size_t)bytes);
}

// ---- numbers ----

static size_t
digits_at(const char *at, const char *end)
{
    size_t count = 0;
    while (at + count < end && at[count] >= '0' && at[count] <= '9')
        count++;
    return count;
}

// The bytes of the number at `at`, 0 when there is none; *is_integer: neither fraction nor exponent.
static size_t
number_bytes(const char *at, const char *end, bool *is_integer)
{
    const char *start = at;
    *is_integer = true;
    at += at < end && *at == '-';
    const size_t whole = digits_at(at, end);
    if (whole == 0 || (whole > 1 && *at == '0'))
        return 0;
    at += whole;
    if (at < end && *at == '.') {
        const size_t fraction = digits_at(at + 1, end);
        if (fraction == 0)
            return 0;
        at += 1 + fraction;
        *is_integer = false;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        at += at < end && (*at == '+' || *at == '-');
        const size_t exponent = digits_at(at, end);
        if (exponent == 0)
            return 0;
        at += exponent;
        *is_integer = false;
    }
    return (size_t)(at - start);
}

static omen_status
put_integer(const struct parser *parser, const char *text, bool *fits)
{
    char *end;
    errno = 0;
    *fits = true;
    if (text[0] != '-') {
        const uint64_t number = strtoull(text, &end, 10);
        *fits = errno == 0;
        if (!*fits)
            return OMEN_OK;
        if (number < 0x80)
            return put_headed(parser, (uint8_t)number, 0, 0);
        return number <= UINT8_MAX    ? put_headed(parser, 0xcc, number, 1)
               : number <= UINT16_MAX ? put_headed(parser, 0xcd, number, 2)
               : number <= UINT32_MAX ? put_headed(parser, 0xce, number, 4)
                                      : put_headed(parser, 0xcf, number, 8);
    }
    const int64_t number = strtoll(text, &end, 10);
    *fits = errno == 0;
    if (!*fits)
        return OMEN_OK;
    if (number >= -32)
        return put_headed(parser, (uint8_t)number, 0, 0);
    return number >= INT8_MIN    ? put_headed(parser, 0xd0, (uint64_t)number, 1)
           : number >= INT16_MIN ? put_headed(parser, 0xd1, (uint64_t)number, 2)
           : number >= INT32_MIN ? put_headed(parser, 0xd2, (uint64_t)number, 4)
                                 : put_headed(parser, 0xd3, (uint64_t)number, 8);
}

// What others write for numbers that JSON does not have is named: it is in the way of most.
static omen_status
refuse_value(const struct parser *parser)
{
    static const char *const words[] = {"NaN", "nan",  "Infinity", "-Infinity",
                                        "inf", "-inf", "-NaN",     "-nan"};
    const size_t left = (size_t)(parser->end - parser->at);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const size_t bytes = strlen(words[i]);
        if (left >= bytes && memcmp(parser->at, words[i], bytes) == 0)
            return error_set(parser->error, OMEN_E_NOT_FINITE,
                             "JSON, byte %zu: %s is no number that JSON has",
                             (size_t)(parser->at - parser->start), words[i]);
    }
    return wrong(parser, "a value is expected");
}

static omen_status
parse_number(struct parser *parser)
{
    char text[NUMBER_BYTES_MAX + 1];
    bool is_integer;
    const size_t bytes = number_bytes(parser->at, parser->end, &is_integer);
    if (bytes == 0)
        return refuse_value(parser);
    if (bytes > NUMBER_BYTES_MAX)
        return wrong(parser, "a number of more than 400 digits");
    memcpy(text, parser->at, bytes);
    text[bytes] = '\0';
    omen_status status = OMEN_OK;
    if (is_integer)
        status = put_integer(parser, text, &is_integer);
    if (status == OMEN_OK && !is_integer) {
        const double number = strtod(text, NULL);
        uint64_t bits;
        if (!isfinite(number))
            return wrong(parser, "a number beyond the range of a double");
        memcpy(&bits, &number, sizeof bits);
        status = put_headed(parser, 0xcb, bits, 8);
    }
    parser->at += bytes;
    return status;
}

// ---- texts ----

// Four hexadecimal digits at parser->at.
static bool
take_hex(struct parser *parser, uint32_t *out)
{
    uint32_t code = 0;
    if (parser->end - parser->at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        const char c = parser->at[i];
        const int digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : -1;
        if (digit < 0)
            return false;
        code = code << 4 | (uint32_t)digit;
    }
    parser->at += 4;
    *out = code;
    return true;
}

// Behind "\u". Half a pair of surrogates is no character.
static omen_status
put_unicode(struct parser *parser)
{
    uint32_t code, low;
    uint8_t utf8[4];
    size_t bytes = 0;
    if (!take_hex(parser, &code))
        return wrong(parser, "four hexadecimal digits are expected");
    if (code >= 0xd800 && code < 0xe000) {
        if (code >= 0xdc00 || !take_word(parser, "\\u") || !take_hex(parser, &low) ||
            low < 0xdc00 || low > 0xdfff)
            return wrong(parser, "half a pair of surrogates");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    if (code < 0x80) {
        utf8[bytes++] = (uint8_t)code;
    } else if (code < 0x800) {
        utf8[bytes++] = (uint8_t)(0xc0 | code >> 6);
    } else if (code < 0x10000) {
        utf8[bytes++] = (uint8_t)(0xe0 | code >> 12);
        utf8[bytes++] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
    } else {
        utf8[bytes++] = (uint8_t)(0xf0 | code >> 18);
        utf8[bytes++] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
        utf8[bytes++] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
    }
    if (code >= 0x80)
        utf8[bytes++] = (uint8_t)(0x80 | (code & 0x3f));
    return put(parser, utf8, bytes);
}

static omen_status
put_escape(struct parser *parser)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    if (parser->at == parser->end)
        return wrong(parser, "the text has no end");
    const char name = *parser->at++;
    if (name == 'u')
        return put_unicode(parser);
    const char *found = name != '\0' ? strchr(names, name) : NULL;
    return found != NULL ? put(parser, &values[found - names], 1)
                         : wrong(parser, "an escape that JSON does not have");
}

// Writes the final head of `what` at `at`, over the HEAD_ROOM bytes left for it, and moves what follows to it.
static void
close_head(struct buffer *out, size_t at, const uint8_t *head, size_t head_bytes)
{
    const size_t body = out->count - at - HEAD_ROOM;
    memmove(out->bytes + at + head_bytes, out->bytes + at + HEAD_ROOM, body);
    memcpy(out->bytes + at, head, head_bytes);
    out->count = at + head_bytes + body;
}

// The head of a text (fix 0xa0, below 32; 8, 16, 32 bits) or a container (fix, below 16; no 8 bits).
static size_t
make_head(uint8_t head[HEAD_ROOM], uint8_t fix, uint8_t wide, uint64_t count)
{
    size_t bytes = 0;
    if (count < (fix == 0xa0 ? 32u : 16u)) {
        head[bytes++] = (uint8_t)(fix | count);
        return bytes;
    }
    const bool is_text = fix == 0xa0;
    const size_t length = is_text && count <= UINT8_MAX ? 1 : count <= UINT16_MAX ? 2 : 4;
    head[bytes++] = (uint8_t)(wide + (length == 1 ? 0 : length == 2 ? is_text : 1 + is_text));
    for (size_t i = 0; i < length; i++)
        head[bytes++] = (uint8_t)(count >> (8 * (length - 1 - i)));
    return bytes;
}

// At the opening quote.
static omen_status
parse_text(struct parser *parser)
{
    static const uint8_t room[HEAD_ROOM] = {0};
    const size_t at = parser->out->count;
    omen_status status = put(parser, room, sizeof room);
    parser->at++;
    while (status == OMEN_OK) {
        const char *start = parser->at;
        while (parser->at < parser->end && *parser->at != '"' && *parser->at != '\\' &&
               (unsigned char)*parser->at >= 0x20)
            parser->at++;
        if (!utf8_valid(start, (size_t)(parser->at - start)))
            return wrong(parser, "the text before this is not UTF-8");
        status = put(parser, start, (size_t)(parser->at - start));
        if (status != OMEN_OK)
            break;
        if (parser->at == parser->end)
            return wrong(parser, "the text has no end");
        if (*parser->at == '"')
            break;
        if (*parser->at != '\\')
            return wrong(parser, "a control character in a text");
        parser->at++;
        status = put_escape(parser);
    }
    if (status != OMEN_OK)
        return status;
    parser->at++;
    uint8_t head[HEAD_ROOM];
    const uint64_t count = parser->out->count - at - HEAD_ROOM;
    if (count > UINT32_MAX)
        return wrong(parser, "a text of more than 4 GiB");
    close_head(parser->out, at, head, make_head(head, 0xa0, 0xd9, count));
    return OMEN_OK;
}

// ---- containers ----

static omen_status
open_level(struct parser *parser, bool is_map)
{
    static const uint8_t room[HEAD_ROOM] = {0};
    if (parser->depth == JSON_DEPTH_MAX)
        return wrong(parser, "nested deeper than 16");
    parser->levels[parser->depth++] = (struct level){.head = parser->out->count, .is_map = is_map};
    parser->at++;
    return put(parser, room, sizeof room);
}

static void
close_level(struct parser *parser)
{
    const struct level *level = &parser->levels[--parser->depth];
    uint8_t head[HEAD_ROOM];
    close_head(parser->out, level->head, head,
               level->is_map ? make_head(head, 0x80, 0xde, level->count)
                             : make_head(head, 0x90, 0xdc, level->count));
}

// One value, or the beginning of a container.
static omen_status
parse_value(struct parser *parser)
{
    skip_blanks(parser);
    const char first = parser->at < parser->end ? *parser->at : '\0';
    if (first == '{' || first == '[')
        return open_level(parser, first == '{');
    if (first == '"')
        return parse_text(parser);
    if (take_word(parser, "null"))
        return put_headed(parser, 0xc0, 0, 0);
    if (take_word(parser, "true"))
        return put_headed(parser, 0xc3, 0, 0);
    if (take_word(parser, "false"))
        return put_headed(parser, 0xc2, 0, 0);
    return parse_number(parser);
}

// Within a container: its end, or the next element with what stands before it.
static omen_status
parse_step(struct parser *parser)
{
    struct level *level = &parser->levels[parser->depth - 1];
    if (take(parser, level->is_map ? '}' : ']')) {
        close_level(parser);
        return OMEN_OK;
    }
    if (level->count > 0 && !take(parser, ','))
        return wrong(parser, level->is_map ? "',' or '}' is expected" : "',' or ']' is expected");
    if (level->count == UINT32_MAX)
        return wrong(parser, "too many elements");
    level->count++;
    if (level->is_map) {
        skip_blanks(parser);
        if (parser->at == parser->end || *parser->at != '"')
            return wrong(parser, "a key in quotes is expected");
        const omen_status status = parse_text(parser);
        if (status != OMEN_OK)
            return status;
        if (!take(parser, ':'))
            return wrong(parser, "':' is expected");
    }
    return parse_value(parser);
}

omen_status
json_to_msgpack(const char *text, size_t bytes, struct buffer *out, struct omen_error *error)
{
    struct parser parser = {text, text, text + bytes, out, error, {{0}}, 0};
    const size_t before = out->count;
    omen_status status = parse_value(&parser);
    while (status == OMEN_OK && parser.depth > 0)
        status = parse_step(&parser);
    skip_blanks(&parser);
    if (status == OMEN_OK && parser.at != parser.end)
        status = wrong(&parser, "something follows the value");
    if (status != OMEN_OK)
        out->count = before;
    return status;
}

static omen_status
add_floats(const struct buffer *packed, struct buffer *out, struct omen_error *error)
{
    struct msgpack_reader reader = {packed->bytes, packed->bytes + packed->count};
    struct msgpack_value value;
    if (!msgpack_next(&reader, &value) || value.kind != MSGPACK_ARRAY)
        return error_set(error, OMEN_E_INVALID, "a vector is a JSON array of numbers");
    const uint32_t count = value.count;
    for (uint32_t i = 0; i < count; i++) {
        float component;
        if (!msgpack_next(&reader, &value))
            return error_set(error, OMEN_E_INVALID, "a vector is a JSON array of numbers");
        if (value.kind == MSGPACK_INT)
            component = (float)value.integer;
        else if (value.kind == MSGPACK_UINT)
            component = (float)value.unsigned_;
        else if (value.kind == MSGPACK_FLOAT)
            component = (float)value.number;
        else
            return error_set(error, OMEN_E_INVALID,
                             "component %" PRIu32 " is no number but of type %s", i,
                             msgpack_kind_name(&value));
        if (!isfinite(component))
            return error_set(error, OMEN_E_INVALID,
                             "component %" PRIu32 " is beyond the range of f32", i);
        if (buffer_add(out, &component, sizeof component) != OMEN_OK)
            return error_set_plain(error, OMEN_E_NO_MEMORY);
    }
    return OMEN_OK;
}

omen_status
json_to_floats(const char *text, size_t bytes, struct buffer *out, struct omen_error *error)
{
    struct buffer packed = {0};
    const size_t before = out->count;
    omen_status status = json_to_msgpack(text, bytes, &packed, error);
    if (status == OMEN_OK)
        status = add_floats(&packed, out, error);
    if (status != OMEN_OK)
        out->count = before;
    buffer_fini(&packed);
    return status;
}
