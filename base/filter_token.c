// base/filter_token.c -- names, numbers, strings and symbols of a filter's text form.
//
// Shape: value.
#include "base/filter_token.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/utf8.h"

static bool is_space(char c);
static bool read_name(struct filter_parser *parser);
static bool read_number(struct filter_parser *parser);
static bool read_float(struct filter_parser *parser, size_t left);
static bool read_quoted(struct filter_parser *parser, char quote);
static bool read_escape(struct filter_parser *parser);
static bool read_unicode(struct filter_parser *parser, size_t start);
static bool read_hex4(struct filter_parser *parser, uint32_t *out);
static void put_character(struct filter_parser *parser, uint32_t character);
static bool read_symbol(struct filter_parser *parser);

// Notes the first problem, at that byte; FILTER_NO_NODE.
static uint32_t
filter_fail_at(struct filter_parser *parser, size_t place, const char *what)
{
    if (parser->builder.status == OMEN_OK) {
        parser->placed = true;
        parser->place = place;
    }
    return filter_problem(&parser->builder, OMEN_E_FILTER, "%s", what);
}

bool
filter_bracket_follows(const struct filter_parser *parser)
{
    size_t at = parser->at;
    while (at < parser->bytes && is_space(parser->text[at]))
        at++;
    return at < parser->bytes && parser->text[at] == '(';
}

bool
filter_next_token(struct filter_parser *parser)
{
    while (parser->at < parser->bytes && is_space(parser->text[parser->at]))
        parser->at++;
    parser->token =
        (struct filter_token){.kind = TOKEN_END, .start = parser->at, .end = parser->at};
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
read_name(struct filter_parser *parser)
{
    const size_t start = parser->at;
    while (parser->at < parser->bytes && filter_name_byte(parser->text[parser->at]))
        parser->at++;
    const size_t length = parser->at - start;
    if (!utf8_valid(parser->text + start, length))
        return filter_fail_at(parser, start, "a name that is not UTF-8"), false;
    parser->token.kind = TOKEN_NAME;
    parser->token.bytes = filter_keep(&parser->builder, parser->text + start, length);
    parser->token.length = (uint32_t)length;
    return true;
}

// Integers that fit 64 bits stay integers; everything else is a float.
static bool
read_number(struct filter_parser *parser)
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
read_float(struct filter_parser *parser, size_t left)
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
        return filter_fail_at(parser, parser->at, "malformed number"), false;
    if (length >= FLOAT_TEXT_BYTES)
        return filter_fail_at(parser, parser->at, "number of more than 511 characters"), false;

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
read_quoted(struct filter_parser *parser, char quote)
{
    const size_t start = parser->at++;
    const char *const bytes = filter_string_end(&parser->builder);
    for (;;) {
        if (parser->at == parser->bytes)
            return filter_fail_at(parser, start,
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
            return filter_fail_at(parser, parser->at, "not UTF-8"), false;
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
read_escape(struct filter_parser *parser)
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
    return filter_fail_at(
               parser, start,
               "unknown escape; known are \\\\ \\' \\\" \\` \\/ \\b \\f \\n \\r \\t \\uXXXX"),
           false;
}

static bool
read_unicode(struct filter_parser *parser, size_t start)
{
    uint32_t character, low;
    parser->at++;
    if (!read_hex4(parser, &character))
        return filter_fail_at(parser, start, "\\u needs 4 hexadecimal digits"), false;
    if (character >= 0xd800 && character < 0xe000) {
        const bool pair = character < 0xdc00 && parser->bytes - parser->at >= 2 &&
                          parser->text[parser->at] == '\\' && parser->text[parser->at + 1] == 'u';
        if (pair)
            parser->at += 2;
        if (!pair || !read_hex4(parser, &low) || low < 0xdc00 || low >= 0xe000)
            return filter_fail_at(parser, start, "half of a surrogate pair"), false;
        character = 0x10000 + ((character - 0xd800) << 10) + (low - 0xdc00);
    }
    put_character(parser, character);
    return true;
}

static bool
read_hex4(struct filter_parser *parser, uint32_t *out)
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
put_character(struct filter_parser *parser, uint32_t character)
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
read_symbol(struct filter_parser *parser)
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
    return filter_fail_at(parser, parser->at, "unexpected character"), false;
}
