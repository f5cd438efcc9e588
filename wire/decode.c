// wire/decode.c -- pulls msgpack out of a complete frame, within limits, and says what was wrong and where.
//
// Shape: value.
//
// The heads themselves are read by base/msgpack.h, which never looks past the end. Here are the limits that a whole message
// has, the exact types, and the sentences. A place in the message is kept as a short stack of names and indexes; it is
// written out only when something is wrong.
#include "wire/decode.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/text.h"
#include "base/utf8.h"

#define INDEX_NONE UINT32_MAX

const struct decode_limits decode_before_hello = {
    .bytes_max = WIRE_HELLO_BYTES_MAX, .depth_max = 8, .nodes_max = 64};
const struct decode_limits decode_after_hello = {
    .bytes_max = WIRE_FRAME_BYTES_MAX, .depth_max = WIRE_DEPTH_MAX, .nodes_max = WIRE_NODES_MAX};
const struct decode_limits decode_answers = {.bytes_max = WIRE_FRAME_BYTES_MAX,
                                             .depth_max = WIRE_DEPTH_MAX,
                                             .nodes_max = WIRE_FRAME_BYTES_MAX};

static const char *kind_name(const struct msgpack_value *value);
static void say_place(const struct decode *decode, struct text *text);
static void take_back(struct decode *decode, struct msgpack_reader before, uint32_t nodes);

void
decode_init(struct decode *decode, struct wire_bytes frame, const struct decode_limits *limits,
            struct omen_error *error)
{
    static const uint8_t nothing;
    const uint8_t *start = frame.count > 0 ? frame.bytes : &nothing; // NULL has no end to look for
    ASSERT(limits->depth_max <= DECODE_DEPTH_MAX);
    *decode = (struct decode){
        .reader = {start, start + frame.count}, .start = start, .limits = *limits, .error = error};
    if (frame.count > limits->bytes_max)
        decode_fail(decode, OMEN_E_INVALID, "has %" PRIu32 " bytes, more than %" PRIu32,
                    frame.count, limits->bytes_max);
}

omen_status
decode_fail(struct decode *decode, omen_status status, const char *format, ...)
{
    ASSERT(status != OMEN_OK);
    if (!decode_ok(decode))
        return decode->status;
    decode->status = status;
    if (decode->error == NULL)
        return status;

    struct text text;
    char line[sizeof decode->error->text];
    text_init(&text, line, sizeof line);
    if (decode->about != NULL)
        text_add(&text, "%s: ", decode->about);
    say_place(decode, &text);
    va_list arguments;
    va_start(arguments, format);
    text_add_list(&text, format, arguments);
    va_end(arguments);
    return error_set(decode->error, status, "%s (byte %zu)", line,
                     (size_t)(decode->reader.at - decode->start));
}

static void
say_place(const struct decode *decode, struct text *text)
{
    if (decode->place_count == 0) {
        text_add(text, "the message ");
        return;
    }
    for (uint32_t i = 0; i < decode->place_count; i++) {
        const struct decode_place *place = &decode->places[i];
        if (place->name != NULL)
            text_add(text, "%s%s", i > 0 ? "." : "", place->name);
        else
            text_add(text, "[%" PRIu32 "]", place->index);
    }
    text_add(text, " ");
}

void
decode_enter_key(struct decode *decode, const char *key)
{
    ASSERT(decode->place_count < DECODE_DEPTH_MAX);
    decode->places[decode->place_count++] = (struct decode_place){.name = key, .index = INDEX_NONE};
}

void
decode_enter_index(struct decode *decode, uint32_t index)
{
    ASSERT(decode->place_count < DECODE_DEPTH_MAX);
    decode->places[decode->place_count++] = (struct decode_place){.index = index};
}

void
decode_leave(struct decode *decode)
{
    ASSERT(decode->place_count > 0);
    decode->place_count--;
}

// ---- heads ----

bool
decode_peek(const struct decode *decode, struct msgpack_value *value)
{
    struct msgpack_reader reader = decode->reader;
    return decode_ok(decode) && msgpack_next(&reader, value);
}

bool
decode_next(struct decode *decode, struct msgpack_value *value)
{
    if (!decode_ok(decode))
        return false;
    if (!msgpack_next(&decode->reader, value)) {
        decode_fail(decode, OMEN_E_INVALID, "is cut short or malformed");
        return false;
    }
    if (++decode->nodes > decode->limits.nodes_max) {
        decode_fail(decode, OMEN_E_INVALID, "is beyond the %" PRIu32 " values of one message",
                    decode->limits.nodes_max);
        return false;
    }
    return true;
}

// Errors point at what is wrong and not behind it.
static void
take_back(struct decode *decode, struct msgpack_reader before, uint32_t nodes)
{
    decode->reader = before;
    decode->nodes = nodes;
}

static bool
next_of(struct decode *decode, struct msgpack_value *value, unsigned kinds, const char *expected)
{
    const struct msgpack_reader before = decode->reader;
    const uint32_t nodes = decode->nodes;
    if (!decode_next(decode, value))
        return false;
    if ((1u << value->kind & kinds) != 0)
        return true;
    take_back(decode, before, nodes);
    decode_fail_kind(decode, value, expected);
    return false;
}

omen_status
decode_fail_kind(struct decode *decode, const struct msgpack_value *value, const char *expected)
{
    return decode_fail(decode, OMEN_E_INVALID, "is %s, expected %s", kind_name(value), expected);
}

static const char *
kind_name(const struct msgpack_value *value)
{
    static const char *const names[] = {
        [MSGPACK_NIL] = "null",         [MSGPACK_BOOL] = "a boolean", [MSGPACK_INT] = "an integer",
        [MSGPACK_UINT] = "an integer",  [MSGPACK_FLOAT] = "a float",  [MSGPACK_STRING] = "a string",
        [MSGPACK_BINARY] = "a binary",  [MSGPACK_ARRAY] = "an array", [MSGPACK_MAP] = "a map",
        [MSGPACK_EXT] = "an extension",
    };
    return names[value->kind];
}

static uint32_t
container(struct decode *decode, unsigned kind, const char *expected)
{
    struct msgpack_value value;
    if (!next_of(decode, &value, 1u << kind, expected))
        return 0;
    if (decode->depth == decode->limits.depth_max) {
        decode_fail(decode, OMEN_E_INVALID, "is nested deeper than %" PRIu32,
                    decode->limits.depth_max);
        return 0;
    }
    decode->depth++;
    return value.count;
}

uint32_t
decode_array(struct decode *decode)
{
    return container(decode, MSGPACK_ARRAY, "an array");
}

uint32_t
decode_map(struct decode *decode)
{
    return container(decode, MSGPACK_MAP, "a map");
}

void
decode_close(struct decode *decode)
{
    if (decode_ok(decode)) {
        ASSERT(decode->depth > 0);
        decode->depth--;
    }
}

// ---- scalars ----

bool
decode_bool(struct decode *decode)
{
    struct msgpack_value value;
    return next_of(decode, &value, 1u << MSGPACK_BOOL, "a boolean") && value.boolean;
}

uint64_t
decode_u64(struct decode *decode, uint64_t least, uint64_t most)
{
    return decode_u64_or(decode, least, most, OMEN_E_INVALID);
}

uint64_t
decode_u64_or(struct decode *decode, uint64_t least, uint64_t most, omen_status status)
{
    struct msgpack_value value;
    const struct msgpack_reader before = decode->reader;
    const uint32_t nodes = decode->nodes;
    if (!next_of(decode, &value, 1u << MSGPACK_INT | 1u << MSGPACK_UINT, "an integer"))
        return 0;
    const bool negative = value.kind == MSGPACK_INT && value.integer < 0;
    const uint64_t number = value.kind == MSGPACK_UINT ? value.unsigned_ : (uint64_t)value.integer;
    if (!negative && number >= least && number <= most)
        return number;
    take_back(decode, before, nodes);
    if (negative)
        decode_fail(decode, status, "is %" PRIi64 ", expected %" PRIu64 "..%" PRIu64, value.integer,
                    least, most);
    else
        decode_fail(decode, status, "is %" PRIu64 ", expected %" PRIu64 "..%" PRIu64, number, least,
                    most);
    return 0;
}

int64_t
decode_i64(struct decode *decode)
{
    struct msgpack_value value;
    return next_of(decode, &value, 1u << MSGPACK_INT, "an integer below 2^63") ? value.integer : 0;
}

static double
real_of(const struct msgpack_value *value)
{
    return value->kind == MSGPACK_FLOAT  ? value->number
           : value->kind == MSGPACK_UINT ? (double)value->unsigned_
                                         : (double)value->integer;
}

double
decode_real(struct decode *decode)
{
    struct msgpack_value value;
    const unsigned kinds = 1u << MSGPACK_INT | 1u << MSGPACK_UINT | 1u << MSGPACK_FLOAT;
    if (!next_of(decode, &value, kinds, "a number"))
        return 0;
    const double number = real_of(&value);
    if (!isfinite(number)) {
        decode_fail(decode, OMEN_E_INVALID, "is not a finite number");
        return 0;
    }
    return number;
}

static bool
length_fits(struct decode *decode, const struct msgpack_value *value, uint32_t least, uint32_t most)
{
    if (value->raw.length >= least && value->raw.length <= most)
        return true;
    if (least == most)
        decode_fail(decode, OMEN_E_INVALID, "has %" PRIu32 " bytes, expected %" PRIu32,
                    value->raw.length, least);
    else
        decode_fail(decode, OMEN_E_INVALID, "has %" PRIu32 " bytes, expected %" PRIu32 "..%" PRIu32,
                    value->raw.length, least, most);
    return false;
}

struct wire_text
decode_text(struct decode *decode, uint32_t least, uint32_t most)
{
    struct msgpack_value value;
    if (!next_of(decode, &value, 1u << MSGPACK_STRING, "a string") ||
        !length_fits(decode, &value, least, most))
        return (struct wire_text){0};
    if (!utf8_valid(value.raw.bytes, value.raw.length)) {
        decode_fail(decode, OMEN_E_INVALID, "is not UTF-8");
        return (struct wire_text){0};
    }
    return (struct wire_text){(const char *)value.raw.bytes, value.raw.length};
}

struct wire_bytes
decode_bytes(struct decode *decode, uint32_t least, uint32_t most)
{
    struct msgpack_value value;
    if (!next_of(decode, &value, 1u << MSGPACK_BINARY, "a binary") ||
        !length_fits(decode, &value, least, most))
        return (struct wire_bytes){0};
    return (struct wire_bytes){value.raw.bytes, value.raw.length};
}

bool
decode_take_nil(struct decode *decode)
{
    struct msgpack_value value;
    return decode_peek(decode, &value) && value.kind == MSGPACK_NIL && decode_next(decode, &value);
}

// ---- whole objects ----

struct wire_bytes
decode_raw(struct decode *decode)
{
    const uint8_t *const start = decode->reader.at;
    // Objects that each container still has, this object's own in front.
    uint32_t owed[DECODE_DEPTH_MAX];
    uint32_t depth = 0;
    struct msgpack_value value;
    if (!decode_next(decode, &value))
        return (struct wire_bytes){0};
    for (;;) {
        const bool opens = value.kind == MSGPACK_ARRAY || value.kind == MSGPACK_MAP;
        if (opens && decode->depth + depth == decode->limits.depth_max) {
            decode_fail(decode, OMEN_E_INVALID, "is nested deeper than %" PRIu32,
                        decode->limits.depth_max);
            return (struct wire_bytes){0};
        }
        if (opens) // twice the pairs fits: one byte is left for each object
            owed[depth++] = value.kind == MSGPACK_MAP ? 2 * value.count : value.count;
        while (depth > 0 && owed[depth - 1] == 0)
            depth--;
        if (depth == 0)
            break;
        owed[depth - 1]--;
        if (!msgpack_next(&decode->reader, &value)) {
            decode_fail(decode, OMEN_E_INVALID, "is cut short or malformed");
            return (struct wire_bytes){0};
        }
    }
    return (struct wire_bytes){start, (uint32_t)(decode->reader.at - start)};
}

struct wire_bytes
decode_numbers(struct decode *decode, uint32_t least, uint32_t most, uint32_t *count)
{
    const uint8_t *const start = decode->reader.at;
    const uint32_t numbers = decode_array(decode);
    decode_close(decode);
    *count = 0;
    if (!decode_ok(decode))
        return (struct wire_bytes){0};
    if (numbers < least || numbers > most) {
        decode_fail(decode, OMEN_E_INVALID,
                    "has %" PRIu32 " numbers, expected %" PRIu32 "..%" PRIu32, numbers, least,
                    most);
        return (struct wire_bytes){0};
    }
    for (uint32_t i = 0; i < numbers; i++) {
        struct msgpack_value value;
        const bool there = msgpack_next(&decode->reader, &value);
        if (!there || (value.kind != MSGPACK_FLOAT && value.kind != MSGPACK_INT &&
                       value.kind != MSGPACK_UINT)) {
            decode_fail(decode, OMEN_E_INVALID, "has %s at place %" PRIu32 ", expected a number",
                        there ? kind_name(&value) : "something malformed", i);
            return (struct wire_bytes){0};
        }
        if (!isfinite((float)real_of(&value))) {
            decode_fail(decode, OMEN_E_NOT_FINITE,
                        "has a number at place %" PRIu32 " that no finite 32-bit float is", i);
            return (struct wire_bytes){0};
        }
    }
    *count = numbers;
    return (struct wire_bytes){start, (uint32_t)(decode->reader.at - start)};
}

void
decode_numbers_read(struct wire_bytes numbers, float *out, uint32_t count)
{
    struct msgpack_reader reader = {numbers.bytes, numbers.bytes + numbers.count};
    struct msgpack_value value;
    bool sound = msgpack_next(&reader, &value);
    ASSERT(sound && value.kind == MSGPACK_ARRAY && value.count == count);
    for (uint32_t i = 0; i < count; i++) {
        sound = msgpack_next(&reader, &value) && sound;
        out[i] = (float)real_of(&value);
    }
    ASSERT(sound);
}

omen_status
decode_end(struct decode *decode)
{
    if (decode_ok(decode) && decode->reader.at < decode->reader.end)
        decode_fail(decode, OMEN_E_INVALID, "goes on behind its end");
    return decode->status;
}
