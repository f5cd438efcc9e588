// base/filter_int.h -- how the two parsers build the one tree.
//
// Shape: value. Private to base/filter*.c.
//
// A parser adds values, then the test that uses them, then the connectives above it; children
// always come before their parent. What goes wrong is left in `problem` as a sentence without a
// place: only the parser knows the place.
#ifndef OMEN_BASE_FILTER_INT_H
#define OMEN_BASE_FILTER_INT_H
#include "base/filter.h"
#include "base/limits.h"

struct filter {
    struct filter_node *nodes;
    uint32_t node_count;
    uint32_t node_capacity;
    struct value *values;
    uint32_t value_count;
    uint32_t value_capacity;
    struct value_meaning *meanings; // value_count
    char *strings; // of names and values; as large as the input, so that it never moves
    size_t string_bytes;
    size_t string_capacity;
    uint32_t root;
};

struct filter_builder {
    struct filter *filter;
    omen_status status; // OMEN_OK until something went wrong
    char problem[128];  // what
    // Of each leaf; pointers follow when nothing moves any more.
    uint32_t first_value[FILTER_NODES_MAX];
};

enum filter_test_kind {
    TEST_EQ,
    TEST_NE,
    TEST_IN,
    TEST_NIN,
    TEST_GT,
    TEST_GTE,
    TEST_LT,
    TEST_LTE,
    TEST_PREFIX,
    TEST_EXISTS,
    TEST_MISSING
};

struct filter_test {
    enum filter_test_kind kind;
    const char *field; // borrowed until the filter is closed: made by filter_keep
    uint32_t field_bytes;
    uint32_t first_value; // the values added since then are the test's
};

// The children of a connective that is being put together.
struct filter_children {
    enum filter_kind kind; // FILTER_AND or FILTER_OR
    uint32_t first, last, count;
};

#define FILTER_CHILDREN(which)                                                                     \
    {                                                                                              \
        which, FILTER_NO_NODE, FILTER_NO_NODE, 0                                                   \
    }

// Notes the first problem; returns FILTER_NO_NODE, so that a parser can return its result.
__attribute__((format(printf, 3, 4))) uint32_t
filter_problem(struct filter_builder *builder, omen_status status, const char *format, ...);

// `input_bytes` bounds the bytes of all strings. False: see builder->status; nothing to close.
bool filter_build_begin(struct filter_builder *builder, size_t input_bytes);
// Ends the building: with a root, and nothing gone wrong, *out is the filter; else everything is
// freed.
void filter_build_end(struct filter_builder *builder, uint32_t root, struct filter **out);

// Room for one byte more of a string; never more than input_bytes in all.
void filter_put_byte(struct filter_builder *builder, char byte);
char *filter_string_end(struct filter_builder *builder); // where the next byte goes
const char *filter_keep(struct filter_builder *builder, const char *bytes, size_t count);

bool filter_add_value(struct filter_builder *builder, const struct value *value);
// FILTER_NO_NODE when something is wrong with the test or a limit is reached.
uint32_t filter_add_test(struct filter_builder *builder, const struct filter_test *test);
uint32_t filter_add_not(struct filter_builder *builder, uint32_t child);
void filter_children_add(struct filter_builder *builder, struct filter_children *children,
                         uint32_t node);
// The connective over the children, or the only child itself.
uint32_t filter_add_children(struct filter_builder *builder,
                             const struct filter_children *children);

// The spelling of names, for the parser and the printer alike: a plain name is name bytes, of
// which the first is no digit, dot or dash, and is no reserved word.
static inline bool
filter_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

static inline bool
filter_name_byte(char c)
{
    return filter_name_start(c) || (c >= '0' && c <= '9') || c == '.' || c == '-';
}

static inline bool
filter_word_is(const char *bytes, size_t count, const char *word) // `word` in small letters
{
    for (size_t i = 0; i < count; i++)
        if (word[i] == '\0' || (bytes[i] | 0x20) != word[i])
            return false;
    return word[count] == '\0';
}

static inline bool
filter_word_reserved(const char *bytes, size_t count)
{
    static const char *const words[] = {"and", "or", "not", "in", "true", "false", "null"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (filter_word_is(bytes, count, words[i]))
            return true;
    return false;
}

// Values of one kind are neighbours, in order: the order of IN's values. NaN and null have no
// place in it.
int filter_value_order(const struct value *a, const struct value *b);

#endif
