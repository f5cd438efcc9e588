// base/filter_token.h -- the text form of a filter, token by token.
//
// Shape: value. Private to base/filter*.c.
#ifndef OMEN_BASE_FILTER_TOKEN_H
#define OMEN_BASE_FILTER_TOKEN_H
#include "base/filter_int.h"

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

struct filter_token {
    enum token_kind kind;
    size_t start; // where it stands in the input
    size_t end;
    const char *bytes; // names and strings, unescaped
    uint32_t length;
    struct value value;              // numbers
    enum filter_test_kind operator_; // operators
};

struct filter_parser {
    struct filter_builder builder;
    const char *text;
    size_t bytes;
    size_t at;
    struct filter_token token; // the one looked at
    size_t place;              // of the first problem
    bool placed;
};

// On failure the problem is noted, and the token is the end, which nobody takes for anything
// else.
bool filter_next_token(struct filter_parser *parser);
bool
filter_bracket_follows(const struct filter_parser *parser); // behind the token that is looked at

#endif
