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
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/filter_int.h"
#include "base/utf8.h"

enum token_kind {
    TOKEN_END,
    TOKEN_NAME,   // plain: may be a word of the language
    TOKEN_QUOTED, // in backquotes: always a field
    TOKEN_STRING,
    TOKEN_NUMBER,
    TOKEN_OPERATOR,
    TOKEN_OPEN,
    TOKEN_CLOSE,
    TOKEN_OPEN_LIST,
    TOKEN_CLOSE_LIST,
    TOKEN_COMMA
};

struct token {
    enum token_kind kind;
    size_t start; // where it stands in the input
    size_t end;
    const char *bytes; // names and strings, unescaped
    uint32_t length;
    struct value value;              // numbers
    enum filter_test_kind operator_; // operators
};

struct parser {
    struct filter_builder builder;
    const char *text;
    size_t bytes;
    size_t at;
    struct token token; // the one looked at
    size_t place;       // of the first problem
    bool placed;
};

static omen_status report(struct parser *parser, struct omen_error *error);
static uint32_t parse_any(struct parser *parser, uint32_t depth);
static uint32_t parse_all(struct parser *parser, uint32_t depth);
static uint32_t parse_not(struct parser *parser, uint32_t depth);
static uint32_t parse_call(struct parser *parser, enum filter_test_kind kind);
static uint32_t parse_test(struct parser *parser);
static bool parse_list(struct parser *parser);
static bool parse_value(struct parser *parser);
static bool parse_time(struct parser *parser);
static uint32_t fail_at(struct parser *parser, size_t place, const char *what);
static uint32_t expected(struct parser *parser, const char *what);
static bool take(struct parser *parser, enum token_kind kind, const char *what);
static bool take_word(struct parser *parser, const char *word);
static bool word_is_next(const struct parser *parser, const char *word);

static bool bracket_follows(const struct parser *parser);
static bool next_token(struct parser *parser);
static bool is_space(char c);
static bool read_name(struct parser *parser);
static bool read_number(struct parser *parser);
static bool read_float(struct parser *parser, size_t left);
static bool read_quoted(struct parser *parser, char quote);
static bool read_escape(struct parser *parser);
static bool read_unicode(struct parser *parser, size_t start);
static bool read_hex4(struct parser *parser, uint32_t *out);
static void put_character(struct parser *parser, uint32_t character);
static bool read_symbol(struct parser *parser);

omen_status
filter_parse_text(const char *text, size_t bytes, struct filter **out, struct omen_error *error)
{
    *out = NULL;
    if (bytes > FILTER_TEXT_BYTES_MAX)
        return error_set(error, OMEN_E_FILTER, "filter: text of %zu bytes, more than %u", bytes,
                         FILTER_TEXT_BYTES_MAX);
    struct parser parser = {.text = text, .bytes = bytes};
    if (!filter_build_begin(&parser.builder, bytes))
        return error_set_plain(error, OMEN_E_NO_MEMORY);

    uint32_t root = FILTER_NO_NODE;
    if (next_token(&parser))
        root = parse_any(&parser, 1);
    if (root != FILTER_NO_NODE && parser.token.kind != TOKEN_END)
        root = expected(&parser, "\"and\", \"or\" or the end");
    filter_build_end(&parser.builder, root, out);
    return *out != NULL ? OMEN_OK : report(&parser, error);
}

static omen_status
report(struct parser *parser, struct omen_error *error)
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
parse_any(struct parser *parser, uint32_t depth)
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
parse_all(struct parser *parser, uint32_t depth)
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
parse_not(struct parser *parser, uint32_t depth)
{
    if (depth > FILTER_DEPTH_MAX) {
        (void)filter_problem(&parser->builder, OMEN_E_FILTER, "nested deeper than %u",
                             FILTER_DEPTH_MAX);
        return FILTER_NO_NODE;
    }
    if (take_word(parser, "not"))
        return filter_add_not(&parser->builder, parse_not(parser, depth + 1));
    if (parser->token.kind == TOKEN_OPEN) {
        if (!next_token(parser))
            return FILTER_NO_NODE;
        const uint32_t inside = parse_any(parser, depth + 1);
        if (inside == FILTER_NO_NODE || !take(parser, TOKEN_CLOSE, "\")\", \"and\" or \"or\""))
            return FILTER_NO_NODE;
        return inside;
    }
    // These two are words only in front of a bracket; else a field may have the name.
    if (word_is_next(parser, "exists") && bracket_follows(parser))
        return parse_call(parser, TEST_EXISTS);
    if (word_is_next(parser, "prefix") && bracket_follows(parser))
        return parse_call(parser, TEST_PREFIX);
    return parse_test(parser);
}

// exists(name), prefix(name, "text")
static uint32_t
parse_call(struct parser *parser, enum filter_test_kind kind)
{
    struct filter_test test = {.kind = kind, .first_value = parser->builder.filter->value_count};
    if (!next_token(parser) || !take(parser, TOKEN_OPEN, "\"(\""))
        return FILTER_NO_NODE;
    if (parser->token.kind != TOKEN_QUOTED &&
        (parser->token.kind != TOKEN_NAME ||
         filter_word_reserved(parser->token.bytes, parser->token.length)))
        return expected(parser, "a field name");
    test.field = parser->token.bytes;
    test.field_bytes = parser->token.length;
    if (!next_token(parser))
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
parse_test(struct parser *parser)
{
    const struct token name = parser->token;
    if (name.kind != TOKEN_QUOTED &&
        (name.kind != TOKEN_NAME || filter_word_reserved(name.bytes, name.length)))
        return expected(parser, "a field name, \"not\" or \"(\"");
    struct filter_test test = {
        .field = name.bytes,
        .field_bytes = name.length,
        .first_value = parser->builder.filter->value_count,
    };
    if (!next_token(parser))
        return FILTER_NO_NODE;

    const size_t place = parser->token.start;
    if (parser->token.kind == TOKEN_OPERATOR) {
        test.kind = parser->token.operator_;
        if (!next_token(parser) || !parse_value(parser))
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
parse_list(struct parser *parser)
{
    const bool round = parser->token.kind == TOKEN_OPEN;
    if (!round && parser->token.kind != TOKEN_OPEN_LIST)
        return expected(parser, "\"[\""), false;
    const enum token_kind close = round ? TOKEN_CLOSE : TOKEN_CLOSE_LIST;
    if (!next_token(parser))
        return false;
    while (parser->token.kind != close) {
        if (!parse_value(parser))
            return false;
        if (parser->token.kind == TOKEN_COMMA) {
            if (!next_token(parser))
                return false;
        } else if (parser->token.kind != close) {
            return expected(parser, round ? "\",\" or \")\"" : "\",\" or \"]\""), false;
        }
    }
    return next_token(parser);
}

static bool
parse_value(struct parser *parser)
{
    const struct token *token = &parser->token;
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
    return filter_add_value(&parser->builder, &value) && next_token(parser);
}

static bool
parse_time(struct parser *parser)
{
    struct value value = {.kind = VALUE_TIME};
    if (!next_token(parser) || !take(parser, TOKEN_OPEN, "\"(\""))
        return false;
    if (parser->token.kind != TOKEN_STRING)
        return expected(parser, "a string"), false;
    char text[INSTANT_TEXT_BYTES];
    if (!instant_parse(parser->token.bytes, parser->token.length, &value.time) ||
        !instant_print(value.time, text))
        return expected(parser, "a time such as \"2024-05-01T12:00:00Z\""), false;
    return next_token(parser) && take(parser, TOKEN_CLOSE, "\")\"") &&
           filter_add_value(&parser->builder, &value);
}

static uint32_t
fail_at(struct parser *parser, size_t place, const char *what)
{
    if (parser->builder.status == OMEN_OK) {
        parser->placed = true;
        parser->place = place;
    }
    return filter_problem(&parser->builder, OMEN_E_FILTER, "%s", what);
}

// "expected ..., found ...", at the token that is looked at.
static uint32_t
expected(struct parser *parser, const char *what)
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
take(struct parser *parser, enum token_kind kind, const char *what)
{
    if (parser->token.kind != kind)
        return expected(parser, what), false;
    return next_token(parser);
}

// When the token after the word cannot be read, builder.status tells; every caller asks for that
// token next.
static bool
take_word(struct parser *parser, const char *word)
{
    if (!word_is_next(parser, word))
        return false;
    (void)next_token(parser);
    return true;
}

static bool
word_is_next(const struct parser *parser, const char *word)
{
    return parser->token.kind == TOKEN_NAME &&
           filter_word_is(parser->token.bytes, parser->token.length, word);
}

// ---- tokens ----

static bool
bracket_follows(const struct parser *parser)
{
    size_t at = parser->at;
    while (at < parser->bytes && is_space(parser->text[at]))
        at++;
    return at < parser->bytes && parser->text[at] == '(';
}

// On failure the problem is noted, and the token is the end, which nobody takes for anything
// else.
static bool
next_token(struct parser *parser)
{
    while (parser->at < parser->bytes && is_space(parser->text[parser->at]))
        parser->at++;
    parser->token = (struct token){.kind = TOKEN_END, .start = parser->at, .end = parser->at};
    if (parser->at == parser->bytes)
        return true;

    const char c = parser->text[parser->at];
    bool read;
    if (filter_name_start(c))
        read = read_name(parser);
    else if ((c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.')
        read = read_number(parser);
    else if (c == '"' || c == '\'' || c == '`')
        read = read_quoted(parser, c);
    else
        read = read_symbol(parser);
    if (!read)
        parser->token.kind = TOKEN_END;
    parser->token.end = parser->at;
    return read;
}

static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool
read_name(struct parser *parser)
{
    const size_t start = parser->at;
    while (parser->at < parser->bytes && filter_name_byte(parser->text[parser->at]))
        parser->at++;
    const size_t length = parser->at - start;
    if (!utf8_valid(parser->text + start, length))
        return fail_at(parser, start, "a name that is not UTF-8"), false;
    parser->token.kind = TOKEN_NAME;
    parser->token.bytes = filter_keep(&parser->builder, parser->text + start, length);
    parser->token.length = (uint32_t)length;
    return true;
}

// Integers that fit 64 bits stay integers; everything else is a float.
static bool
read_number(struct parser *parser)
{
    const char *const digits = parser->text + parser->at;
    const size_t left = parser->bytes - parser->at;
    const size_t sign = digits[0] == '-' || digits[0] == '+' ? 1 : 0;
    uint64_t magnitude = 0;
    bool fits = true;
    size_t length = sign;
    for (; length < left && digits[length] >= '0' && digits[length] <= '9'; length++)
        fits = fits && !__builtin_mul_overflow(magnitude, 10u, &magnitude) &&
               !__builtin_add_overflow(magnitude, (uint64_t)(digits[length] - '0'), &magnitude);

    const bool integer = length > sign && (length == left || !(filter_name_byte(digits[length])));
    const bool negative = digits[0] == '-';
    if (!integer || !fits || (negative && magnitude > 1ull + INT64_MAX))
        return read_float(parser, left);
    parser->token.kind = TOKEN_NUMBER;
    parser->at += length;
    if (!negative && magnitude > INT64_MAX)
        parser->token.value = (struct value){.kind = VALUE_UINT, .unsigned_ = magnitude};
    else
        parser->token.value = (struct value){
            .kind = VALUE_INT, .integer = (int64_t)(negative ? 0 - magnitude : magnitude)};
    return true;
}

#define FLOAT_TEXT_BYTES 512u

// [sign] digits [. digits] [e [sign] digits], read by the C library in its own locale, whatever
// the process uses.
static bool
read_float(struct parser *parser, size_t left)
{
    const char *const at = parser->text + parser->at;
    size_t length = at[0] == '-' || at[0] == '+' ? 1 : 0;
    size_t mantissa = 0;
    for (; length < left && ((at[length] >= '0' && at[length] <= '9')); length++)
        mantissa++;
    if (length < left && at[length] == '.')
        for (length++; length < left && at[length] >= '0' && at[length] <= '9'; length++)
            mantissa++;
    bool whole = mantissa > 0;
    if (whole && length < left && (at[length] == 'e' || at[length] == 'E')) {
        length++;
        if (length < left && (at[length] == '-' || at[length] == '+'))
            length++;
        const size_t exponent = length;
        while (length < left && at[length] >= '0' && at[length] <= '9')
            length++;
        whole = length > exponent;
    }
    if (!whole || (length < left && filter_name_byte(at[length])))
        return fail_at(parser, parser->at, "malformed number"), false;
    if (length >= FLOAT_TEXT_BYTES)
        return fail_at(parser, parser->at, "number of more than 511 characters"), false;

    char text[FLOAT_TEXT_BYTES];
    memcpy(text, at, length);
    text[length] = '\0';
    const locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (plain == (locale_t)0) {
        (void)filter_problem(&parser->builder, OMEN_E_NO_MEMORY, "no memory");
        return false;
    }
    parser->token.kind = TOKEN_NUMBER;
    parser->token.value =
        (struct value){.kind = VALUE_FLOAT, .number = strtod_l(text, NULL, plain)};
    freelocale(plain);
    parser->at += length;
    return true;
}

static bool
read_quoted(struct parser *parser, char quote)
{
    const size_t start = parser->at++;
    const char *const bytes = filter_string_end(&parser->builder);
    for (;;) {
        if (parser->at == parser->bytes)
            return fail_at(parser, start,
                           quote == '`' ? "name without a closing `"
                                        : "string without a closing quote"),
                   false;
        const char c = parser->text[parser->at];
        if (c == quote)
            break;
        if (c == '\\') {
            if (!read_escape(parser))
                return false;
            continue;
        }
        const size_t length = utf8_char_bytes((const unsigned char *)parser->text + parser->at,
                                              parser->bytes - parser->at);
        if (length == 0)
            return fail_at(parser, parser->at, "not UTF-8"), false;
        (void)filter_keep(&parser->builder, parser->text + parser->at, length);
        parser->at += length;
    }
    parser->at++;
    parser->token.kind = quote == '`' ? TOKEN_QUOTED : TOKEN_STRING;
    parser->token.bytes = bytes;
    parser->token.length = (uint32_t)(filter_string_end(&parser->builder) - bytes);
    return true;
}

static bool
read_escape(struct parser *parser)
{
    static const char names[] = "\\'\"`/bfnrt";
    static const char meant[] = "\\'\"`/\b\f\n\r\t";
    const size_t start = parser->at++;
    const char c = parser->at < parser->bytes ? parser->text[parser->at] : '\0';
    const char *const name = c == '\0' ? NULL : strchr(names, c);
    if (name != NULL) {
        filter_put_byte(&parser->builder, meant[name - names]);
        parser->at++;
        return true;
    }
    if (c == 'u')
        return read_unicode(parser, start);
    return fail_at(parser, start,
                   "unknown escape; known are \\\\ \\' \\\" \\` \\/ \\b \\f \\n \\r \\t \\uXXXX"),
           false;
}

static bool
read_unicode(struct parser *parser, size_t start)
{
    uint32_t character, low;
    parser->at++;
    if (!read_hex4(parser, &character))
        return fail_at(parser, start, "\\u needs 4 hexadecimal digits"), false;
    if (character >= 0xd800 && character < 0xe000) {
        const bool pair = character < 0xdc00 && parser->bytes - parser->at >= 2 &&
                          parser->text[parser->at] == '\\' && parser->text[parser->at + 1] == 'u';
        if (pair)
            parser->at += 2;
        if (!pair || !read_hex4(parser, &low) || low < 0xdc00 || low >= 0xe000)
            return fail_at(parser, start, "half of a surrogate pair"), false;
        character = 0x10000 + ((character - 0xd800) << 10) + (low - 0xdc00);
    }
    put_character(parser, character);
    return true;
}

static bool
read_hex4(struct parser *parser, uint32_t *out)
{
    if (parser->bytes - parser->at < 4)
        return false;
    uint32_t number = 0;
    for (int i = 0; i < 4; i++) {
        const char c = parser->text[parser->at + (size_t)i];
        const char lower = (char)(c | 0x20);
        if (c >= '0' && c <= '9')
            number = number << 4 | (uint32_t)(c - '0');
        else if (lower >= 'a' && lower <= 'f')
            number = number << 4 | (uint32_t)(lower - 'a' + 10);
        else
            return false;
    }
    parser->at += 4;
    *out = number;
    return true;
}

// As UTF-8, which is never longer than the escape it was written as.
static void
put_character(struct parser *parser, uint32_t character)
{
    struct filter_builder *builder = &parser->builder;
    if (character < 0x80) {
        filter_put_byte(builder, (char)character);
        return;
    }
    if (character < 0x800) {
        filter_put_byte(builder, (char)(0xc0 | character >> 6));
    } else if (character < 0x10000) {
        filter_put_byte(builder, (char)(0xe0 | character >> 12));
        filter_put_byte(builder, (char)(0x80 | (character >> 6 & 0x3f)));
    } else {
        filter_put_byte(builder, (char)(0xf0 | character >> 18));
        filter_put_byte(builder, (char)(0x80 | (character >> 12 & 0x3f)));
        filter_put_byte(builder, (char)(0x80 | (character >> 6 & 0x3f)));
    }
    filter_put_byte(builder, (char)(0x80 | (character & 0x3f)));
}

static bool
read_symbol(struct parser *parser)
{
    static const struct {
        char text[3];
        enum token_kind kind;
        enum filter_test_kind operator_;
    } symbols[] = {
        // Longer ones first.
        {"==", TOKEN_OPERATOR, TEST_EQ},  {"!=", TOKEN_OPERATOR, TEST_NE},
        {"<>", TOKEN_OPERATOR, TEST_NE},  {"<=", TOKEN_OPERATOR, TEST_LTE},
        {">=", TOKEN_OPERATOR, TEST_GTE}, {"=", TOKEN_OPERATOR, TEST_EQ},
        {"<", TOKEN_OPERATOR, TEST_LT},   {">", TOKEN_OPERATOR, TEST_GT},
        {"(", TOKEN_OPEN, TEST_EQ},       {")", TOKEN_CLOSE, TEST_EQ},
        {"[", TOKEN_OPEN_LIST, TEST_EQ},  {"]", TOKEN_CLOSE_LIST, TEST_EQ},
        {",", TOKEN_COMMA, TEST_EQ},
    };
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        const size_t length = strlen(symbols[i].text);
        if (length <= parser->bytes - parser->at &&
            memcmp(parser->text + parser->at, symbols[i].text, length) == 0) {
            parser->token.kind = symbols[i].kind;
            parser->token.operator_ = symbols[i].operator_;
            parser->at += length;
            return true;
        }
    }
    return fail_at(parser, parser->at, "unexpected character"), false;
}
