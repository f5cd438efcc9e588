// base/filter_parse.c -- reads a filter's text form.
//
// Shape: value.
//
//   any   := all ("or" all)*
//   all   := not ("and" not)*
//   not   := "not" not | "(" any ")" | test
//   test  := "exists" "(" name ")" | "prefix" "(" name "," string ")" | name
//            | name operator value | name ["not"] "in" list | name "prefix" string
//   list  := "[" values "]" | "(" values ")"
//
// Recursive descent with one token of look-ahead. Whoever recurses counts the depth, so that
// brackets cannot exhaust the stack. Every error says where (column in characters from 1, and
// byte from 0), what was expected and what is there instead.
#include "base/filter_token.h"
#include "base/utf8.h"

static omen_status report(struct filter_parser *parser, struct omen_error *error);
static uint32_t parse_any(struct filter_parser *parser, uint32_t depth);
static uint32_t parse_all(struct filter_parser *parser, uint32_t depth);
static uint32_t parse_not(struct filter_parser *parser, uint32_t depth);
static uint32_t parse_call(struct filter_parser *parser, enum filter_test_kind kind);
static uint32_t parse_test(struct filter_parser *parser);
static bool parse_list(struct filter_parser *parser);
static bool parse_value(struct filter_parser *parser);
static bool parse_time(struct filter_parser *parser);
static uint32_t expected(struct filter_parser *parser, const char *what);
static bool take(struct filter_parser *parser, enum token_kind kind, const char *what);
static bool take_word(struct filter_parser *parser, const char *word);
static bool word_is_next(const struct filter_parser *parser, const char *word);

omen_status
filter_parse_text(const char *text, size_t bytes, struct filter **out, struct omen_error *error)
{
    *out = NULL;
    if (bytes > FILTER_TEXT_BYTES_MAX)
        return error_set(error, OMEN_E_FILTER, "filter: text of %zu bytes, more than %u", bytes,
                         FILTER_TEXT_BYTES_MAX);
    struct filter_parser parser = {.text = text, .bytes = bytes};
    if (!filter_build_begin(&parser.builder, bytes))
        return error_set_plain(error, OMEN_E_NO_MEMORY);

    uint32_t root = FILTER_NO_NODE;
    if (filter_next_token(&parser))
        root = parse_any(&parser, 1);
    if (root != FILTER_NO_NODE && parser.token.kind != TOKEN_END)
        root = expected(&parser, "\"and\", \"or\" or the end");
    filter_build_end(&parser.builder, root, out);
    return *out != NULL ? OMEN_OK : report(&parser, error);
}

static omen_status
report(struct filter_parser *parser, struct omen_error *error)
{
    if (parser->builder.status != OMEN_E_FILTER)
        return error_set_plain(error, parser->builder.status);
    // A problem that the builder found is about what was read last.
    const size_t place = parser->placed ? parser->place : parser->token.start;
    size_t column = 1;
    for (size_t i = 0; i < place; i++)
        column += ((unsigned char)parser->text[i] & 0xc0u) != 0x80u;
    return error_set(error, OMEN_E_FILTER, "filter: column %zu (byte %zu): %s", column, place,
                     parser->builder.problem);
}

static uint32_t
parse_any(struct filter_parser *parser, uint32_t depth)
{
    struct filter_children either = FILTER_CHILDREN(FILTER_OR);
    do {
        const uint32_t child = parse_all(parser, depth);
        if (child == FILTER_NO_NODE)
            return child;
        filter_children_add(&parser->builder, &either, child);
    } while (take_word(parser, "or"));
    return filter_add_children(&parser->builder, &either);
}

static uint32_t
parse_all(struct filter_parser *parser, uint32_t depth)
{
    struct filter_children all = FILTER_CHILDREN(FILTER_AND);
    do {
        const uint32_t child = parse_not(parser, depth);
        if (child == FILTER_NO_NODE)
            return child;
        filter_children_add(&parser->builder, &all, child);
    } while (take_word(parser, "and"));
    return filter_add_children(&parser->builder, &all);
}

static uint32_t
parse_not(struct filter_parser *parser, uint32_t depth)
{
    if (depth > FILTER_DEPTH_MAX) {
        (void)filter_problem(&parser->builder, OMEN_E_FILTER, "nested deeper than %u",
                             FILTER_DEPTH_MAX);
        return FILTER_NO_NODE;
    }
    if (take_word(parser, "not"))
        return filter_add_not(&parser->builder, parse_not(parser, depth + 1));
    if (parser->token.kind == TOKEN_OPEN) {
        if (!filter_next_token(parser))
            return FILTER_NO_NODE;
        const uint32_t inside = parse_any(parser, depth + 1);
        if (inside == FILTER_NO_NODE || !take(parser, TOKEN_CLOSE, "\")\", \"and\" or \"or\""))
            return FILTER_NO_NODE;
        return inside;
    }
    // These two are words only in front of a bracket; else a field may have the name.
    if (word_is_next(parser, "exists") && filter_bracket_follows(parser))
        return parse_call(parser, TEST_EXISTS);
    if (word_is_next(parser, "prefix") && filter_bracket_follows(parser))
        return parse_call(parser, TEST_PREFIX);
    return parse_test(parser);
}

// exists(name), prefix(name, "text")
static uint32_t
parse_call(struct filter_parser *parser, enum filter_test_kind kind)
{
    struct filter_test test = {.kind = kind, .first_value = parser->builder.filter->value_count};
    if (!filter_next_token(parser) || !take(parser, TOKEN_OPEN, "\"(\""))
        return FILTER_NO_NODE;
    if (parser->token.kind != TOKEN_QUOTED &&
        (parser->token.kind != TOKEN_NAME ||
         filter_word_reserved(parser->token.bytes, parser->token.length)))
        return expected(parser, "a field name");
    test.field = parser->token.bytes;
    test.field_bytes = parser->token.length;
    if (!filter_next_token(parser))
        return FILTER_NO_NODE;
    if (kind == TEST_PREFIX) {
        if (!take(parser, TOKEN_COMMA, "\",\""))
            return FILTER_NO_NODE;
        if (parser->token.kind != TOKEN_STRING)
            return expected(parser, "a string");
        if (!parse_value(parser))
            return FILTER_NO_NODE;
    }
    if (!take(parser, TOKEN_CLOSE, "\")\""))
        return FILTER_NO_NODE;
    return filter_add_test(&parser->builder, &test);
}

static uint32_t
parse_test(struct filter_parser *parser)
{
    const struct filter_token name = parser->token;
    if (name.kind != TOKEN_QUOTED &&
        (name.kind != TOKEN_NAME || filter_word_reserved(name.bytes, name.length)))
        return expected(parser, "a field name, \"not\" or \"(\"");
    struct filter_test test = {
        .field = name.bytes,
        .field_bytes = name.length,
        .first_value = parser->builder.filter->value_count,
    };
    if (!filter_next_token(parser))
        return FILTER_NO_NODE;

    const size_t place = parser->token.start;
    if (parser->token.kind == TOKEN_OPERATOR) {
        test.kind = parser->token.operator_;
        if (!filter_next_token(parser) || !parse_value(parser))
            return FILTER_NO_NODE;
    } else if (take_word(parser, "in")) {
        test.kind = TEST_IN;
        if (!parse_list(parser))
            return FILTER_NO_NODE;
    } else if (take_word(parser, "not")) {
        test.kind = TEST_NIN;
        if (!take_word(parser, "in"))
            return expected(parser, "\"in\"");
        if (!parse_list(parser))
            return FILTER_NO_NODE;
    } else if (take_word(parser, "prefix")) {
        test.kind = TEST_PREFIX;
        if (parser->token.kind != TOKEN_STRING)
            return expected(parser, "a string");
        if (!parse_value(parser))
            return FILTER_NO_NODE;
    } else {
        const struct value yes = {.kind = VALUE_BOOL, .boolean = true};
        test.kind = TEST_EQ;
        if (!filter_add_value(&parser->builder, &yes))
            return FILTER_NO_NODE;
    }
    const uint32_t node = parser->builder.status == OMEN_OK
                              ? filter_add_test(&parser->builder, &test)
                              : FILTER_NO_NODE;
    if (node == FILTER_NO_NODE && !parser->placed) {
        parser->placed = true;
        parser->place = place;
    }
    return node;
}

static bool
parse_list(struct filter_parser *parser)
{
    const bool round = parser->token.kind == TOKEN_OPEN;
    if (!round && parser->token.kind != TOKEN_OPEN_LIST)
        return expected(parser, "\"[\""), false;
    const enum token_kind close = round ? TOKEN_CLOSE : TOKEN_CLOSE_LIST;
    if (!filter_next_token(parser))
        return false;
    while (parser->token.kind != close) {
        if (!parse_value(parser))
            return false;
        if (parser->token.kind == TOKEN_COMMA) {
            if (!filter_next_token(parser))
                return false;
        } else if (parser->token.kind != close) {
            return expected(parser, round ? "\",\" or \")\"" : "\",\" or \"]\""), false;
        }
    }
    return filter_next_token(parser);
}

static bool
parse_value(struct filter_parser *parser)
{
    const struct filter_token *token = &parser->token;
    struct value value = token->value;
    if (token->kind == TOKEN_STRING) {
        value = (struct value){.kind = VALUE_STRING};
        value.string.bytes = token->bytes;
        value.string.length = token->length;
    } else if (word_is_next(parser, "true") || word_is_next(parser, "false")) {
        value = (struct value){.kind = VALUE_BOOL, .boolean = token->length == 4};
    } else if (word_is_next(parser, "null")) {
        value = (struct value){.kind = VALUE_NULL};
    } else if (word_is_next(parser, "time")) {
        return parse_time(parser);
    } else if (token->kind != TOKEN_NUMBER) {
        return expected(parser, "a value (number, string, true, false, null)"), false;
    }
    return filter_add_value(&parser->builder, &value) && filter_next_token(parser);
}

static bool
parse_time(struct filter_parser *parser)
{
    struct value value = {.kind = VALUE_TIME};
    if (!filter_next_token(parser) || !take(parser, TOKEN_OPEN, "\"(\""))
        return false;
    if (parser->token.kind != TOKEN_STRING)
        return expected(parser, "a string"), false;
    char text[INSTANT_TEXT_BYTES];
    if (!instant_parse(parser->token.bytes, parser->token.length, &value.time) ||
        !instant_print(value.time, text))
        return expected(parser, "a time such as \"2024-05-01T12:00:00Z\""), false;
    return filter_next_token(parser) && take(parser, TOKEN_CLOSE, "\")\"") &&
           filter_add_value(&parser->builder, &value);
}

// "expected ..., found ...", at the token that is looked at.
static uint32_t
expected(struct filter_parser *parser, const char *what)
{
    if (parser->builder.status != OMEN_OK)
        return FILTER_NO_NODE;
    parser->placed = true;
    parser->place = parser->token.start;
    if (parser->token.kind == TOKEN_END)
        return filter_problem(&parser->builder, OMEN_E_FILTER, "expected %s, found the end", what);
    const char *found = parser->text + parser->token.start;
    const size_t length = utf8_cut(found, parser->token.end - parser->token.start, 24);
    return filter_problem(&parser->builder, OMEN_E_FILTER, "expected %s, found %.*s", what,
                          (int)length, found);
}

static bool
take(struct filter_parser *parser, enum token_kind kind, const char *what)
{
    if (parser->token.kind != kind)
        return expected(parser, what), false;
    return filter_next_token(parser);
}

// When the token after the word cannot be read, builder.status tells; every caller asks for that
// token next.
static bool
take_word(struct filter_parser *parser, const char *word)
{
    if (!word_is_next(parser, word))
        return false;
    (void)filter_next_token(parser);
    return true;
}

static bool
word_is_next(const struct filter_parser *parser, const char *word)
{
    return parser->token.kind == TOKEN_NAME &&
           filter_word_is(parser->token.bytes, parser->token.length, word);
}
