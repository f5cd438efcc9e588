// base/filter_print.c -- the text form of a tree, from which the parser makes the same tree
// again.
//
// Shape: value.
//
// Numbers are printed by the C library but never by its locale: whatever it uses as the decimal
// point becomes '.'.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/filter_int.h"
#include "base/utf8.h"

struct print {
    char *text;
    size_t capacity;
    size_t length; // wanted, whether it fits or not
};

static void print_node(struct print *print, const struct filter *filter,
                       const struct filter_node *node);
static void print_children(struct print *print, const struct filter *filter,
                           const struct filter_node *node);
static void print_not(struct print *print, const struct filter *filter,
                      const struct filter_node *node);
static void print_leaf(struct print *print, const struct filter_node *leaf, bool negated);
static void print_name(struct print *print, const char *name, size_t bytes);
static void print_value(struct print *print, const struct value *value);
static void print_double(struct print *print, double number);
static void print_quoted(struct print *print, const char *bytes, size_t count, char quote);
static void put(struct print *print, const char *text);
static void put_byte(struct print *print, char byte);

size_t
filter_describe(const struct filter *filter, char *text, size_t capacity)
{
    ASSERT(capacity > 0);
    struct print print = {.text = text, .capacity = capacity};
    print_node(&print, filter, filter_node(filter, filter->root));
    text[print.length < capacity ? print.length : capacity - 1] = '\0';
    return print.length;
}

static void
print_node(struct print *print, const struct filter *filter, const struct filter_node *node)
{
    if (node->kind == FILTER_AND || node->kind == FILTER_OR)
        print_children(print, filter, node);
    else if (node->kind == FILTER_NOT)
        print_not(print, filter, node);
    else
        print_leaf(print, node, false);
}

// `and` binds tighter than `or`, and neither stands below itself: only an `or` below an `and`
// needs parentheses.
static void
print_children(struct print *print, const struct filter *filter, const struct filter_node *node)
{
    for (uint32_t i = node->first_child; i != FILTER_NO_NODE; i = filter->nodes[i].next_sibling) {
        const struct filter_node *child = &filter->nodes[i];
        const bool bracketed = node->kind == FILTER_AND && child->kind == FILTER_OR;
        if (i != node->first_child)
            put(print, node->kind == FILTER_AND ? " and " : " or ");
        put(print, bracketed ? "(" : "");
        print_node(print, filter, child);
        put(print, bracketed ? ")" : "");
    }
}

static void
print_not(struct print *print, const struct filter *filter, const struct filter_node *node)
{
    const struct filter_node *child = &filter->nodes[node->first_child];
    const bool bracketed = child->kind == FILTER_AND || child->kind == FILTER_OR;
    if (child->kind == FILTER_EQ || child->kind == FILTER_IN) {
        print_leaf(print, child, true);
        return;
    }
    put(print, bracketed ? "not (" : "not ");
    print_node(print, filter, child);
    put(print, bracketed ? ")" : "");
}

static void
print_leaf(struct print *print, const struct filter_node *leaf, bool negated)
{
    static const char *const operators[] = {
        [FILTER_EQ] = " == ",         [FILTER_GT] = " > ",   [FILTER_GTE] = " >= ",
        [FILTER_LT] = " < ",          [FILTER_LTE] = " <= ", [FILTER_IN] = " in [",
        [FILTER_PREFIX] = " prefix ",
    };
    if (leaf->kind == FILTER_EXISTS) {
        put(print, "exists(");
        print_name(print, leaf->field, leaf->field_bytes);
        put(print, ")");
        return;
    }
    print_name(print, leaf->field, leaf->field_bytes);
    if (negated)
        put(print, leaf->kind == FILTER_EQ ? " != " : " not in [");
    else
        put(print, operators[leaf->kind]);
    for (uint32_t i = 0; i < leaf->value_count; i++) {
        put(print, i > 0 ? ", " : "");
        print_value(print, &leaf->values[i]);
    }
    put(print, leaf->kind == FILTER_IN ? "]" : "");
}

static void
print_name(struct print *print, const char *name, size_t bytes)
{
    bool plain = filter_name_start(name[0]) && !filter_word_reserved(name, bytes);
    for (size_t i = 0; i < bytes; i++)
        plain = plain && filter_name_byte(name[i]);
    if (!plain) {
        print_quoted(print, name, bytes, '`');
        return;
    }
    for (size_t i = 0; i < bytes; i++)
        put_byte(print, name[i]);
}

static void
print_value(struct print *print, const struct value *value)
{
    char line[INSTANT_TEXT_BYTES + 16];
    switch (value->kind) {
    case VALUE_BOOL:
        put(print, value->boolean ? "true" : "false");
        return;
    case VALUE_INT:
        (void)snprintf(line, sizeof line, "%lld", (long long)value->integer);
        put(print, line);
        return;
    case VALUE_UINT:
        (void)snprintf(line, sizeof line, "%llu", (unsigned long long)value->unsigned_);
        put(print, line);
        return;
    case VALUE_FLOAT:
        print_double(print, value->number);
        return;
    case VALUE_STRING:
        print_quoted(print, value->string.bytes, value->string.length, '"');
        return;
    default:
        ASSERT(value->kind == VALUE_TIME);
        const bool printable = instant_print(value->time, line);
        ASSERT(printable);
        put(print, "time(\"");
        put(print, line);
        put(print, "\")");
    }
}

// The shortest of 15, 16, 17 digits that reads back as the same number, with something that tells
// it from an integer.
static void
print_double(struct print *print, double number)
{
    if (isinf(number)) {
        put(print, number > 0 ? "1e999" : "-1e999");
        return;
    }
    char line[48];
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(line, sizeof line, "%.*g", digits, number);
        if (strtod(line, NULL) == number)
            break;
    }
    bool told = false;
    for (const char *at = line; *at != '\0'; at++) {
        if ((*at >= '0' && *at <= '9') || *at == '-' || *at == '+') {
            put_byte(print, *at);
        } else if (*at == 'e') {
            put_byte(print, 'e');
            told = true;
        } else if (!told) { // the locale's decimal point, of one byte or more
            put_byte(print, '.');
            told = true;
        }
    }
    put(print, told ? "" : ".0");
}

static void
print_quoted(struct print *print, const char *bytes, size_t count, char quote)
{
    put_byte(print, quote);
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] == quote || bytes[i] == '\\') {
            put_byte(print, '\\');
            put_byte(print, bytes[i]);
        } else if ((unsigned char)bytes[i] < 0x20 || bytes[i] == 0x7f) {
            char line[8];
            (void)snprintf(line, sizeof line, "\\u%04x", (unsigned)bytes[i]);
            put(print, line);
        } else {
            put_byte(print, bytes[i]);
        }
    }
    put_byte(print, quote);
}

static void
put(struct print *print, const char *text)
{
    for (; *text != '\0'; text++)
        put_byte(print, *text);
}

static void
put_byte(struct print *print, char byte)
{
    if (print->length < print->capacity)
        print->text[print->length] = byte;
    print->length++;
}
