// base/filter_map.c -- reads a filter's dict form out of msgpack.
//
// Shape: value.
//
//   condition := {"and": [condition, ..]} | {"or": [..]} | {"not": condition} | {field: test},
//   several keys: and test      := value | [value, ..] | {operator: value, ..}
//
// Reads straight from the bytes, in one pass, and recurses only through and, or, not, counting.
// An error names the byte.
#include <string.h>

#include "base/assert.h"
#include "base/filter_int.h"
#include "base/msgpack.h"
#include "base/utf8.h"

struct map_parser {
    struct filter_builder builder;
    const uint8_t *start;
    struct msgpack_reader reader;
    size_t place; // of the object read last
};

static uint32_t parse_condition(struct map_parser *parser, uint32_t depth);
static uint32_t parse_connective(struct map_parser *parser, enum filter_kind kind, uint32_t depth);
static void parse_field(struct map_parser *parser, const struct msgpack_value *key,
                        struct filter_children *all);
static uint32_t parse_operator(struct map_parser *parser, struct filter_test *test);
static uint32_t parse_exists(struct map_parser *parser, struct filter_test *test);
static uint32_t parse_values(struct map_parser *parser, struct filter_test *test, uint32_t count);
static bool parse_scalar(struct map_parser *parser, const struct msgpack_value *raw);
static bool next(struct map_parser *parser, struct msgpack_value *value);
static bool next_key(struct map_parser *parser, struct msgpack_value *key);
static bool is(const struct msgpack_value *key, const char *word);
static uint32_t unexpected(struct map_parser *parser, const char *what,
                           const struct msgpack_value *found);

omen_status
filter_parse_map(const void *map, size_t bytes, struct filter **out, struct omen_error *error)
{
    *out = NULL;
    if (bytes > FILTER_MAP_BYTES_MAX)
        return error_set(error, OMEN_E_FILTER, "filter: map of %zu bytes, more than %u", bytes,
                         FILTER_MAP_BYTES_MAX);
    struct map_parser parser = {.start = map};
    parser.reader.at = map;
    parser.reader.end = bytes == 0 ? parser.start : parser.start + bytes;
    if (!filter_build_begin(&parser.builder, bytes))
        return error_set_plain(error, OMEN_E_NO_MEMORY);

    uint32_t root = parse_condition(&parser, 1);
    if (root != FILTER_NO_NODE && parser.reader.at < parser.reader.end) {
        parser.place = (size_t)(parser.reader.at - parser.start);
        root = filter_problem(&parser.builder, OMEN_E_FILTER, "expected the end after the map");
    }
    filter_build_end(&parser.builder, root, out);
    if (*out != NULL)
        return OMEN_OK;
    if (parser.builder.status != OMEN_E_FILTER)
        return error_set_plain(error, parser.builder.status);
    return error_set(error, OMEN_E_FILTER, "filter: byte %zu of the map: %s", parser.place,
                     parser.builder.problem);
}

static uint32_t
parse_condition(struct map_parser *parser, uint32_t depth)
{
    struct msgpack_value map, key;
    if (!next(parser, &map))
        return FILTER_NO_NODE;
    if (map.kind != MSGPACK_MAP)
        return unexpected(parser, "a map", &map);
    if (map.count == 0)
        return filter_problem(&parser->builder, OMEN_E_FILTER,
                              "expected a condition, found an empty map");
    if (depth > FILTER_DEPTH_MAX)
        return filter_problem(&parser->builder, OMEN_E_FILTER, "nested deeper than %u",
                              FILTER_DEPTH_MAX);

    struct filter_children all = FILTER_CHILDREN(FILTER_AND);
    for (uint32_t i = 0; i < map.count && parser->builder.status == OMEN_OK; i++) {
        if (!next_key(parser, &key))
            break;
        if (is(&key, "and") || is(&key, "or"))
            filter_children_add(
                &parser->builder, &all,
                parse_connective(parser, is(&key, "and") ? FILTER_AND : FILTER_OR, depth));
        else if (is(&key, "not"))
            filter_children_add(
                &parser->builder, &all,
                filter_add_not(&parser->builder, parse_condition(parser, depth + 1)));
        else
            parse_field(parser, &key, &all);
    }
    return filter_add_children(&parser->builder, &all);
}

static uint32_t
parse_connective(struct map_parser *parser, enum filter_kind kind, uint32_t depth)
{
    struct msgpack_value list;
    if (!next(parser, &list))
        return FILTER_NO_NODE;
    if (list.kind != MSGPACK_ARRAY)
        return unexpected(parser, "an array of conditions", &list);
    if (list.count == 0)
        return filter_problem(&parser->builder, OMEN_E_FILTER,
                              "expected a condition, found an empty array");
    struct filter_children children = FILTER_CHILDREN(kind);
    for (uint32_t i = 0; i < list.count && parser->builder.status == OMEN_OK; i++)
        filter_children_add(&parser->builder, &children, parse_condition(parser, depth + 1));
    return filter_add_children(&parser->builder, &children);
}

// Several operators on one field are several conditions beside those that are there already.
static void
parse_field(struct map_parser *parser, const struct msgpack_value *key, struct filter_children *all)
{
    struct filter_builder *builder = &parser->builder;
    struct filter_test test = {.field_bytes = key->raw.length,
                               .first_value = builder->filter->value_count};
    struct msgpack_value value;
    test.field = filter_keep(builder, (const char *)key->raw.bytes, key->raw.length);
    if (!next(parser, &value))
        return;
    if (value.kind == MSGPACK_ARRAY) {
        test.kind = TEST_IN;
        filter_children_add(builder, all, parse_values(parser, &test, value.count));
    } else if (value.kind != MSGPACK_MAP) {
        test.kind = TEST_EQ;
        if (parse_scalar(parser, &value))
            filter_children_add(builder, all, filter_add_test(builder, &test));
    } else if (value.count == 0) {
        (void)filter_problem(builder, OMEN_E_FILTER, "expected an operator, found an empty map");
    } else {
        for (uint32_t i = 0; i < value.count && builder->status == OMEN_OK; i++) {
            test.first_value = builder->filter->value_count;
            filter_children_add(builder, all, parse_operator(parser, &test));
        }
    }
}

static uint32_t
parse_operator(struct map_parser *parser, struct filter_test *test)
{
    static const struct {
        const char *name;
        enum filter_test_kind kind;
    } operators[] = {
        {"eq", TEST_EQ},         {"ne", TEST_NE},         {"in", TEST_IN}, {"nin", TEST_NIN},
        {"gt", TEST_GT},         {"gte", TEST_GTE},       {"lt", TEST_LT}, {"lte", TEST_LTE},
        {"exists", TEST_EXISTS}, {"prefix", TEST_PREFIX},
    };
    const size_t count = sizeof operators / sizeof operators[0];
    struct msgpack_value key, value;
    if (!next_key(parser, &key))
        return FILTER_NO_NODE;
    size_t i = 0;
    while (i < count && !is(&key, operators[i].name))
        i++;
    if (i == count)
        return filter_problem(
            &parser->builder, OMEN_E_FILTER,
            "unknown operator \"%.*s\"; known are eq ne in nin gt gte lt lte exists prefix",
            (int)utf8_cut(key.raw.bytes, key.raw.length, 24), (const char *)key.raw.bytes);
    test->kind = operators[i].kind;
    if (test->kind == TEST_EXISTS)
        return parse_exists(parser, test);
    if (!next(parser, &value))
        return FILTER_NO_NODE;
    if (test->kind == TEST_IN || test->kind == TEST_NIN)
        return value.kind == MSGPACK_ARRAY ? parse_values(parser, test, value.count)
                                           : unexpected(parser, "an array of values", &value);
    return parse_scalar(parser, &value) ? filter_add_test(&parser->builder, test) : FILTER_NO_NODE;
}

static uint32_t
parse_exists(struct map_parser *parser, struct filter_test *test)
{
    struct msgpack_value value;
    if (!next(parser, &value))
        return FILTER_NO_NODE;
    if (value.kind != MSGPACK_BOOL)
        return unexpected(parser, "true or false", &value);
    test->kind = value.boolean ? TEST_EXISTS : TEST_MISSING;
    return filter_add_test(&parser->builder, test);
}

static uint32_t
parse_values(struct map_parser *parser, struct filter_test *test, uint32_t count)
{
    const size_t list = parser->place;
    for (uint32_t i = 0; i < count && i <= FILTER_LIST_MAX; i++) {
        struct msgpack_value value;
        if (!next(parser, &value) || !parse_scalar(parser, &value))
            return FILTER_NO_NODE;
    }
    parser->place = list;
    return filter_add_test(&parser->builder, test);
}

static bool
parse_scalar(struct map_parser *parser, const struct msgpack_value *raw)
{
    struct filter_builder *builder = &parser->builder;
    struct value value = value_of_msgpack(raw);
    char text[INSTANT_TEXT_BYTES];
    if (value.kind == VALUE_OTHER) {
        (void)unexpected(parser, "a number, string, true, false, null or timestamp", raw);
        return false;
    }
    if (value.kind == VALUE_FLOAT && !value_is_number(&value)) {
        (void)filter_problem(builder, OMEN_E_FILTER, "NaN compares with nothing");
        return false;
    }
    if (value.kind == VALUE_TIME && !instant_print(value.time, text)) {
        (void)filter_problem(builder, OMEN_E_FILTER, "timestamp outside of the years 0 to 9999");
        return false;
    }
    if (value.kind == VALUE_STRING) {
        if (!utf8_valid(value.string.bytes, value.string.length)) {
            (void)filter_problem(builder, OMEN_E_FILTER, "string that is not UTF-8");
            return false;
        }
        value.string.bytes = filter_keep(builder, value.string.bytes, value.string.length);
    }
    return filter_add_value(builder, &value);
}

static bool
next(struct map_parser *parser, struct msgpack_value *value)
{
    if (parser->builder.status != OMEN_OK)
        return false;
    parser->place = (size_t)(parser->reader.at - parser->start);
    if (msgpack_next(&parser->reader, value))
        return true;
    (void)filter_problem(&parser->builder, OMEN_E_FILTER, "cut short or malformed msgpack");
    return false;
}

static bool
next_key(struct map_parser *parser, struct msgpack_value *key)
{
    if (!next(parser, key))
        return false;
    if (key->kind == MSGPACK_STRING && utf8_valid(key->raw.bytes, key->raw.length))
        return true;
    (void)unexpected(parser, "a string of UTF-8", key);
    return false;
}

static bool
is(const struct msgpack_value *key, const char *word)
{
    return key->raw.length == strlen(word) && memcmp(key->raw.bytes, word, key->raw.length) == 0;
}

static uint32_t
unexpected(struct map_parser *parser, const char *what, const struct msgpack_value *found)
{
    return filter_problem(&parser->builder, OMEN_E_FILTER, "expected %s, found %s", what,
                          msgpack_kind_name(found));
}
