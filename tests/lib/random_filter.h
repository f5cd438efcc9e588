// tests/lib/random_filter.h -- random payloads and random filters, and a dumb twin that judges
// one by the other.
//
// Shape: value.
//
// Both are made as plain models first. The twin looks at the models only: no bytes, no parser, no
// paths; numbers compare as long doubles, which hold every int64, uint64 and double exactly.
#ifndef OMEN_TESTS_RANDOM_FILTER_H
#define OMEN_TESTS_RANDOM_FILTER_H
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/prng.h"
#include "base/value.h"
#include "tests/lib/packer.h"

// ---- values ----

#define MODEL_STRING(text)                                                                         \
    {                                                                                              \
        .kind = VALUE_STRING, .string = { text, sizeof(text) - 1 }                                 \
    }

static const struct value model_values[] = {
    {.kind = VALUE_NULL},
    {.kind = VALUE_BOOL, .boolean = true},
    {.kind = VALUE_BOOL, .boolean = false},
    {.kind = VALUE_INT, .integer = -1},
    {.kind = VALUE_INT, .integer = 0},
    {.kind = VALUE_INT, .integer = 1},
    {.kind = VALUE_INT, .integer = 2},
    {.kind = VALUE_INT, .integer = 3},
    {.kind = VALUE_INT, .integer = 1000},
    {.kind = VALUE_INT, .integer = (1ll << 53)},
    {.kind = VALUE_INT, .integer = (1ll << 53) + 1},
    {.kind = VALUE_INT, .integer = (1ll << 53) + 2},
    {.kind = VALUE_INT, .integer = INT64_MAX},
    {.kind = VALUE_INT, .integer = INT64_MIN},
    {.kind = VALUE_UINT, .unsigned_ = 1ull << 63},
    {.kind = VALUE_UINT, .unsigned_ = UINT64_MAX},
    {.kind = VALUE_FLOAT, .number = -1.0},
    {.kind = VALUE_FLOAT, .number = 0.0},
    {.kind = VALUE_FLOAT, .number = -0.0},
    {.kind = VALUE_FLOAT, .number = 0.1},
    {.kind = VALUE_FLOAT, .number = 2.0},
    {.kind = VALUE_FLOAT, .number = 2.5},
    {.kind = VALUE_FLOAT, .number = 0x1p53},
    {.kind = VALUE_FLOAT, .number = 0x1p63},
    {.kind = VALUE_FLOAT, .number = 0x1p64},
    {.kind = VALUE_FLOAT, .number = -0x1p63},
    {.kind = VALUE_FLOAT, .number = 1.7976931348623157e308},
    {.kind = VALUE_FLOAT, .number = 5e-324},
    {.kind = VALUE_FLOAT, .number = HUGE_VAL},
    {.kind = VALUE_FLOAT, .number = -HUGE_VAL},
    MODEL_STRING(""),
    MODEL_STRING("a"),
    MODEL_STRING("a\0b"),
    MODEL_STRING("a\0"),
    MODEL_STRING("ab"),
    MODEL_STRING("Oslo"),
    MODEL_STRING("\xc3\xa9t\xc3\xa9"),
    MODEL_STRING("it's \"so\" \\ `x` \n\t\x7f"),
    MODEL_STRING("commonbeginning-1"),
    MODEL_STRING("commonbeginning-2"),
    MODEL_STRING("\xf0\x9f\x90\x99"),
    MODEL_STRING("2024-05-01"),
    MODEL_STRING("2024-05-01T12:00:00.5Z"),
    MODEL_STRING("2024-05-01 02:00:00+02:00"),
    MODEL_STRING("2024-05-32"),
    MODEL_STRING("0000-01-01T00:00:00.000000001Z"),
    MODEL_STRING("ABcdef01-0000-0000-0000-000000000001"),
    MODEL_STRING("abcdef01000000000000000000000001"),
    {.kind = VALUE_TIME, .time = {0, 0}},
    {.kind = VALUE_TIME, .time = {1714564800, 500000000}},
    {.kind = VALUE_TIME, .time = {-62167219200ll, 1}},
    {.kind = VALUE_TIME, .time = {253402300799ll, 999999999}},
};
#define MODEL_VALUES ((uint32_t)(sizeof model_values / sizeof model_values[0]))

static inline struct value
model_value(struct prng *prng)
{
    return model_values[prng_below(prng, MODEL_VALUES)];
}

static inline long double
model_number(const struct value *value)
{
    return value->kind == VALUE_INT    ? (long double)value->integer
           : value->kind == VALUE_UINT ? (long double)value->unsigned_
                                       : (long double)value->number;
}

static inline bool
model_is_number(const struct value *value)
{
    return value->kind == VALUE_INT || value->kind == VALUE_UINT || value->kind == VALUE_FLOAT;
}

static inline bool
model_instant(const struct value *value, struct instant *out)
{
    if (value->kind == VALUE_TIME)
        *out = value->time;
    return value->kind == VALUE_TIME ||
           (value->kind == VALUE_STRING &&
            instant_parse(value->string.bytes, value->string.length, out));
}

static inline int
model_instants(const struct instant *a, const struct instant *b)
{
    if (a->seconds != b->seconds)
        return a->seconds < b->seconds ? -1 : 1;
    return (a->nanoseconds > b->nanoseconds) - (a->nanoseconds < b->nanoseconds);
}

// -1, 0, 1, or 2 when they cannot be compared.
static inline int
model_order(const struct value *a, const struct value *b)
{
    if (model_is_number(a) && model_is_number(b)) {
        const long double x = model_number(a);
        const long double y = model_number(b);
        return x < y ? -1 : x > y ? 1 : x == y ? 0 : 2;
    }
    if (a->kind != b->kind)
        return 2;
    if (a->kind == VALUE_BOOL)
        return (int)a->boolean - (int)b->boolean;
    if (a->kind == VALUE_TIME)
        return model_instants(&a->time, &b->time);
    if (a->kind != VALUE_STRING)
        return 2;
    for (uint32_t i = 0; i < a->string.length && i < b->string.length; i++) {
        const unsigned char x = (unsigned char)a->string.bytes[i];
        const unsigned char y = (unsigned char)b->string.bytes[i];
        if (x != y)
            return x < y ? -1 : 1;
    }
    return a->string.length < b->string.length ? -1 : a->string.length > b->string.length;
}

// The same for what a filter says: what that is written like decides.
static inline int
model_asked(const struct value *a, const struct value *asked)
{
    struct instant x_time, y_time;
    uint8_t x_uuid[16], y_uuid[16];
    if (model_instant(asked, &y_time))
        return model_instant(a, &x_time) ? model_instants(&x_time, &y_time) : 2;
    if (asked->kind == VALUE_STRING &&
        uuid_parse(asked->string.bytes, asked->string.length, y_uuid)) {
        if (a->kind != VALUE_STRING || !uuid_parse(a->string.bytes, a->string.length, x_uuid))
            return 2;
        const int order = memcmp(x_uuid, y_uuid, sizeof x_uuid);
        return (order > 0) - (order < 0);
    }
    return model_order(a, asked);
}

static inline void
pack_value(struct packer *packer, const struct value *value)
{
    switch (value->kind) {
    case VALUE_NULL:
        pack_nil(packer);
        break;
    case VALUE_BOOL:
        pack_bool(packer, value->boolean);
        break;
    case VALUE_INT:
        pack_int(packer, value->integer);
        break;
    case VALUE_UINT:
        pack_uint(packer, value->unsigned_);
        break;
    case VALUE_FLOAT:
        pack_double(packer, value->number);
        break;
    case VALUE_STRING:
        pack_string(packer, value->string.bytes, value->string.length);
        break;
    case VALUE_TIME:
        pack_time(packer, value->time.seconds, value->time.nanoseconds);
        break;
    case VALUE_OTHER:
        pack_binary(packer, "\x01\x02", 2);
        break;
    }
}

// ---- payloads ----

#define MODEL_FIELDS 8u
#define MODEL_ARRAY_MAX 3u

// The first four stand at the top, two below "n", one has a dot in its key, one is reached
// through an array of maps.
static const char *const model_names[MODEL_FIELDS] = {"a",   "b",   "not",   "in x",
                                                      "n.a", "n.b", "lit.x", "people.age"};

struct model_field {
    bool there;
    bool array;
    uint32_t count; // values; 1 when it is no array
    struct value values[MODEL_ARRAY_MAX];
};

struct model_payload {
    struct model_field fields[MODEL_FIELDS];
};

typedef struct value (*model_draw_fn)(struct prng *prng, uint32_t field);

static inline struct value
model_draw_any(struct prng *prng, uint32_t field)
{
    (void)field;
    if (prng_below(prng, 20) == 0)
        return (struct value){.kind = VALUE_OTHER};
    if (prng_below(prng, 20) == 0)
        return (struct value){.kind = VALUE_FLOAT, .number = (double)NAN};
    return model_value(prng);
}

static inline void
model_payload_draw(struct prng *prng, model_draw_fn draw, struct model_payload *payload)
{
    for (uint32_t i = 0; i < MODEL_FIELDS; i++) {
        struct model_field *field = &payload->fields[i];
        field->there = prng_below(prng, 4) != 0;
        field->array = prng_below(prng, 3) == 0 || i == MODEL_FIELDS - 1;
        field->count = !field->there ? 0 : field->array ? prng_below(prng, MODEL_ARRAY_MAX + 1) : 1;
        for (uint32_t j = 0; j < field->count; j++)
            field->values[j] = draw(prng, i);
    }
}

static inline void
pack_field(struct packer *packer, const struct model_field *field)
{
    if (field->array)
        pack_array(packer, field->count);
    for (uint32_t j = 0; j < field->count; j++)
        pack_value(packer, &field->values[j]);
}

static inline void
pack_payload(struct packer *packer, const struct model_payload *payload)
{
    const struct model_field *fields = payload->fields;
    uint32_t keys = 2; // "n" and one that nobody asks for
    for (uint32_t i = 0; i < MODEL_FIELDS; i++)
        keys += fields[i].there && i != 4 && i != 5;
    pack_map(packer, keys);
    pack_text(packer, "unasked");
    pack_array(packer, 2);
    pack_map(packer, 1);
    pack_text(packer, "a");
    pack_int(packer, 1);
    pack_text(packer, "text");
    for (uint32_t i = 0; i < MODEL_FIELDS; i++) {
        if (!fields[i].there || i == 4 || i == 5)
            continue;
        if (i < MODEL_FIELDS - 1) {
            pack_text(packer, model_names[i]);
            pack_field(packer, &fields[i]);
            continue;
        }
        pack_text(packer, "people");
        pack_array(packer, fields[i].count);
        for (uint32_t j = 0; j < fields[i].count; j++) {
            pack_map(packer, 2);
            pack_text(packer, "name");
            pack_text(packer, "x");
            pack_text(packer, "age");
            pack_value(packer, &fields[i].values[j]);
        }
    }
    pack_text(packer, "n");
    pack_map(packer, (uint32_t)fields[4].there + fields[5].there);
    for (uint32_t i = 4; i < 6; i++) {
        if (!fields[i].there)
            continue;
        pack_text(packer, i == 4 ? "a" : "b");
        pack_field(packer, &fields[i]);
    }
}

// ---- filters ----

enum model_op {
    MODEL_AND,
    MODEL_OR,
    MODEL_NOT,
    MODEL_EXISTS,
    MODEL_PREFIX,
    MODEL_EQ,
    MODEL_NE,
    MODEL_IN,
    MODEL_NIN,
    MODEL_GT,
    MODEL_GTE,
    MODEL_LT,
    MODEL_LTE
};
#define MODEL_CHILDREN 3u
#define MODEL_LIST 4u

struct model_filter {
    enum model_op op;
    uint32_t field;
    uint32_t value_count;
    struct value values[MODEL_LIST];
    uint32_t child_count;
    struct model_filter *children[MODEL_CHILDREN];
};

static inline void
model_filter_free(struct model_filter *filter)
{
    for (uint32_t i = 0; i < filter->child_count; i++)
        model_filter_free(filter->children[i]);
    free(filter);
}

static inline struct model_filter *
model_filter_draw(struct prng *prng, model_draw_fn draw, uint32_t depth)
{
    struct model_filter *filter = calloc(1, sizeof *filter);
    assert(filter != NULL);
    if (depth > 0 && prng_below(prng, 3) != 0) {
        filter->op = (enum model_op)prng_below(prng, 3);
        filter->child_count =
            filter->op == MODEL_NOT ? 1 : 2 + prng_below(prng, MODEL_CHILDREN - 1);
        for (uint32_t i = 0; i < filter->child_count; i++)
            filter->children[i] = model_filter_draw(prng, draw, depth - 1);
        return filter;
    }
    filter->op = (enum model_op)(MODEL_EXISTS + prng_below(prng, 10));
    filter->field = prng_below(prng, MODEL_FIELDS);
    filter->value_count = filter->op == MODEL_EXISTS ? 0
                          : filter->op == MODEL_IN || filter->op == MODEL_NIN
                              ? prng_below(prng, MODEL_LIST + 1)
                              : 1;
    for (uint32_t i = 0; i < filter->value_count; i++) {
        bool fits;
        do {
            filter->values[i] = draw(prng, filter->field);
            const struct value *value = &filter->values[i];
            fits = value->kind != VALUE_OTHER &&
                   !(value->kind == VALUE_FLOAT && isnan(value->number)) &&
                   (filter->op != MODEL_PREFIX || value->kind == VALUE_STRING) &&
                   (filter->op < MODEL_GT || value->kind != VALUE_NULL);
            if (!fits && filter->op == MODEL_PREFIX) {
                filter->values[i] = (struct value)MODEL_STRING("a");
                fits = true;
            }
        } while (!fits);
    }
    return filter;
}

// What the twin says of one field and one filter value.
static inline bool
model_any(const struct model_field *field, enum model_op op, const struct value *wanted)
{
    bool missing = true;
    bool any = false;
    for (uint32_t i = 0; i < field->count; i++) {
        const struct value *value = &field->values[i];
        const int order = op == MODEL_EXISTS ? 2 : model_asked(value, wanted);
        missing = missing && value->kind == VALUE_NULL;
        any = any || (op == MODEL_EQ && order == 0) || (op == MODEL_GT && order == 1) ||
              (op == MODEL_GTE && (order == 0 || order == 1)) || (op == MODEL_LT && order == -1) ||
              (op == MODEL_LTE && (order == 0 || order == -1)) ||
              (op == MODEL_PREFIX && value->kind == VALUE_STRING &&
               value->string.length >= wanted->string.length &&
               memcmp(value->string.bytes, wanted->string.bytes, wanted->string.length) == 0);
    }
    if (op == MODEL_EXISTS)
        return !missing;
    return wanted->kind == VALUE_NULL ? missing : any;
}

static inline bool
model_match(const struct model_filter *filter, const struct model_payload *payload)
{
    const struct model_field *field = &payload->fields[filter->field];
    bool any = false;
    bool all = true;
    switch (filter->op) {
    case MODEL_AND:
    case MODEL_OR:
    case MODEL_NOT:
        for (uint32_t i = 0; i < filter->child_count; i++) {
            const bool match = model_match(filter->children[i], payload);
            any = any || match;
            all = all && match;
        }
        return filter->op == MODEL_AND ? all : filter->op == MODEL_OR ? any : !all;
    case MODEL_NE:
        return !model_any(field, MODEL_EQ, &filter->values[0]);
    case MODEL_IN:
    case MODEL_NIN:
        for (uint32_t i = 0; i < filter->value_count; i++)
            any = any || model_any(field, MODEL_EQ, &filter->values[i]);
        return any == (filter->op == MODEL_IN);
    default:
        return model_any(field, filter->op, &filter->values[0]);
    }
}

// ---- the two forms ----

struct model_text {
    char bytes[1 << 16];
    size_t count;
};

__attribute__((format(printf, 2, 3))) static inline void
model_say(struct model_text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int wanted =
        vsnprintf(text->bytes + text->count, sizeof text->bytes - text->count, format, arguments);
    va_end(arguments);
    assert(wanted >= 0 && (size_t)wanted < sizeof text->bytes - text->count);
    text->count += (size_t)wanted;
}

static inline void
model_say_value(struct model_text *text, struct prng *prng, const struct value *value)
{
    char time[INSTANT_TEXT_BYTES];
    switch (value->kind) {
    case VALUE_BOOL:
        model_say(text, "%s", value->boolean ? "true" : "FALSE");
        break;
    case VALUE_INT:
        model_say(text, "%lld", (long long)value->integer);
        break;
    case VALUE_UINT:
        model_say(text, "%llu", (unsigned long long)value->unsigned_);
        break;
    case VALUE_FLOAT:
        if (isinf(value->number))
            model_say(text, "%s1e999", value->number < 0 ? "-" : "");
        else
            model_say(text, "%.17e", value->number);
        break;
    case VALUE_STRING: {
        const char quote = prng_below(prng, 2) == 0 ? '"' : '\'';
        model_say(text, "%c", quote);
        for (uint32_t i = 0; i < value->string.length; i++) {
            const char c = value->string.bytes[i];
            if (c == '\0')
                model_say(text, "\\u0000");
            else if (c == quote || c == '\\')
                model_say(text, "\\%c", c);
            else if (c == '\n')
                model_say(text, "\\n");
            else
                model_say(text, "%c", c);
        }
        model_say(text, "%c", quote);
        break;
    }
    case VALUE_TIME:
        if (!instant_print(value->time, time))
            abort();
        model_say(text, "time('%s')", time);
        break;
    default:
        model_say(text, "null");
    }
}

static inline void
model_say_filter(struct model_text *text, struct prng *prng, const struct model_filter *filter)
{
    static const char *const operators[] = {
        [MODEL_PREFIX] = "prefix", [MODEL_EQ] = "=",       [MODEL_NE] = "<>",
        [MODEL_IN] = "in",         [MODEL_NIN] = "not in", [MODEL_GT] = ">",
        [MODEL_GTE] = ">=",        [MODEL_LT] = "<",       [MODEL_LTE] = "<="};
    const char *const name = model_names[filter->field];
    const char *const quote = filter->field == 2 || filter->field == 3 ? "`" : "";
    switch (filter->op) {
    case MODEL_AND:
    case MODEL_OR:
        for (uint32_t i = 0; i < filter->child_count; i++) {
            model_say(text, "%s(", i == 0 ? "" : filter->op == MODEL_AND ? " and " : " OR ");
            model_say_filter(text, prng, filter->children[i]);
            model_say(text, ")");
        }
        break;
    case MODEL_NOT:
        model_say(text, "not (");
        model_say_filter(text, prng, filter->children[0]);
        model_say(text, ")");
        break;
    case MODEL_EXISTS:
        model_say(text, "exists(%s%s%s)", quote, name, quote);
        break;
    case MODEL_IN:
    case MODEL_NIN:
        model_say(text, "%s%s%s %s [", quote, name, quote, operators[filter->op]);
        for (uint32_t i = 0; i < filter->value_count; i++) {
            model_say(text, "%s", i == 0 ? "" : ",");
            model_say_value(text, prng, &filter->values[i]);
        }
        model_say(text, "]");
        break;
    default:
        model_say(text, "%s%s%s %s ", quote, name, quote, operators[filter->op]);
        model_say_value(text, prng, &filter->values[0]);
    }
}

// A field named "not" has no dict form: false then.
static inline bool
model_pack_filter(struct packer *packer, const struct model_filter *filter)
{
    static const char *const operators[] = {
        [MODEL_AND] = "and",       [MODEL_OR] = "or",         [MODEL_NOT] = "not",
        [MODEL_EXISTS] = "exists", [MODEL_PREFIX] = "prefix", [MODEL_EQ] = "eq",
        [MODEL_NE] = "ne",         [MODEL_IN] = "in",         [MODEL_NIN] = "nin",
        [MODEL_GT] = "gt",         [MODEL_GTE] = "gte",       [MODEL_LT] = "lt",
        [MODEL_LTE] = "lte"};
    bool all = true;
    pack_map(packer, 1);
    if (filter->child_count > 0) {
        pack_text(packer, operators[filter->op]);
        if (filter->op != MODEL_NOT)
            pack_array(packer, filter->child_count);
        for (uint32_t i = 0; i < filter->child_count; i++)
            all = model_pack_filter(packer, filter->children[i]) && all;
        return all;
    }
    pack_text(packer, model_names[filter->field]);
    pack_map(packer, 1);
    pack_text(packer, operators[filter->op]);
    if (filter->op == MODEL_EXISTS)
        pack_bool(packer, true);
    if (filter->op == MODEL_IN || filter->op == MODEL_NIN)
        pack_array(packer, filter->value_count);
    for (uint32_t i = 0; i < filter->value_count; i++)
        pack_value(packer, &filter->values[i]);
    return filter->field != 2;
}

#endif
