// base/filter.h -- which payloads does this condition let through?
//
// Shape:   handle, in memory; immutable once parsed.
// Threads: any number may read one filter.
//
// Text:    age >= 30 and age < 40 and city in ["Oslo", 'Bergen'] and not deleted
//          or binds weakest, then and, then not; parentheses. Words in any case. Operators == =
//          != <> < <= > >=, in and not in (a list in [] or ()), prefix (name prefix 'Os', or
//          prefix(name, 'Os')), exists(name). A field alone means field == true. Names are
//          letters, digits, _ and - with dots between; others, and the words and or not in true
//          false null, go in backquotes. Values: numbers, true, false, null; strings in ' or "
//          with the escapes \\ \' \" \` \/ \b \f \n \r \t \uXXXX; time("2024-05-01T12:00:00Z")
//          for a timestamp. 1e999 is infinity.
// Map:     {"age": {"gte": 30, "lt": 40}, "city": "Oslo", "or": [{"not": {..}}, {..}]}
//          Several keys mean and. Operators eq ne in nin gt gte lt lte exists prefix; a bare
//          value means eq, a bare array means in. A field named and, or, not can be asked for in
//          the text form only, in backquotes.
// Meaning: a comparison is true when any value of the field (base/field_path.h) compares so;
//          between kinds it is false (integers and floats are one kind, compared exactly). ne and
//          nin are not eq and not in, so true where the field is missing. null is the same as
//          missing: eq null is not exists(field); exists is true when any value but null is
//          there. Two conditions on an array may be met by two elements. A string that is written like
//          a time (RFC 3339, a date alone too) or like a UUID means that in a filter, as time("...") means an
//          instant: it compares with the field's timestamps and texts of times as instants, or with its UUIDs,
//          whatever their spelling, and with nothing else. Other strings compare bytewise with strings. Only what
//          the filter says decides, so an index on a field, of whatever type, never changes an answer.
//          prefix always looks at the bytes of strings.
// Tree:    an and inside an and is one and (or likewise); ne and nin are not over eq and in; eq
//          null is not over exists; a list with null is an or; a list of one value is eq.
// Limits:  FILTER_* of base/limits.h, counted on that tree; parentheses and not may nest
//          FILTER_DEPTH_MAX deep. An empty map, and, or or is refused rather than taken for
//          "everything"; an empty list lets nothing through.
#ifndef OMEN_BASE_FILTER_H
#define OMEN_BASE_FILTER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "base/value.h"

struct filter; // opaque

// On success the caller owns *out and ends it with filter_close. On failure *out is NULL and
// *error (may be NULL) says what was expected where: OMEN_E_FILTER, or OMEN_E_NO_MEMORY. The
// input is borrowed for the call.
OMEN_MUST_CHECK omen_status filter_parse_text(const char *text, size_t bytes, struct filter **out,
                                              struct omen_error *error);
OMEN_MUST_CHECK omen_status filter_parse_map(const void *map, size_t bytes, struct filter **out,
                                             struct omen_error *error);
void filter_close(struct filter *filter); // accepts NULL

// `payload` must have passed msgpack_check_map; NULL or 0 bytes count as an empty map.
bool filter_match(const struct filter *filter, const void *payload, size_t payload_bytes);

// The text form, such that parsing it gives the same tree and equal trees print alike; for logs,
// caches and tests. Returns the length (without the NUL), which may be larger than capacity: then
// the text is cut and useless as a key.
size_t filter_describe(const struct filter *filter, char *text, size_t capacity);

// ---- the tree, for planners ----
enum filter_kind {
    FILTER_AND, // >= 2 children
    FILTER_OR,  // >= 2 children
    FILTER_NOT, // 1 child
    FILTER_EQ,  // the rest are leaves; EQ..PREFIX have one value that is not null
    FILTER_GT,
    FILTER_GTE,
    FILTER_LT,
    FILTER_LTE,
    FILTER_PREFIX, // the value is a string
    FILTER_IN,     // any number of values, sorted by kind and value, none twice, none null
    FILTER_EXISTS  // no value
};

#define FILTER_NO_NODE UINT32_MAX

struct filter_node {
    enum filter_kind kind;
    uint32_t first_child;  // FILTER_NO_NODE for leaves
    uint32_t next_sibling; // FILTER_NO_NODE at the end
    uint32_t depth;        // of the subtree: a leaf is 1
    const char *field;     // leaves; not NUL-terminated
    uint32_t field_bytes;
    uint32_t value_count;
    const struct value *values;
    // Of the values; those of IN in their own order, plain ones last.
    const struct value_meaning *meanings;
};

uint32_t filter_root(const struct filter *filter);
const struct filter_node *filter_node(const struct filter *filter, uint32_t node);
uint32_t filter_node_count(const struct filter *filter);

// filter_match of one subtree.
bool filter_match_node(const struct filter *filter, uint32_t node, const void *payload,
                       size_t payload_bytes);

#endif
