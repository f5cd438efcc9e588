// base/filter.c -- which payloads does this condition let through?
//
// Shape: handle, in memory.
//
// Matching walks the tree and, for each leaf, the payload's bytes: nothing is decoded into a
// structure first, since most payloads are small and most filters name one or two of their
// fields.
#include "base/filter.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/field_path.h"
#include "base/filter_int.h"

static bool match_leaf(void *context, const struct msgpack_value *raw);
static bool compare(const struct filter_node *leaf, const struct msgpack_value *raw,
                    const struct value *value, int *order);
static bool in_values(const struct filter_node *leaf, const struct value *value);
static bool in_meanings(const struct filter_node *leaf, const struct msgpack_value *raw);
static bool begins_with(const struct value *value, const struct value *prefix);

void
filter_close(struct filter *filter)
{
    if (filter == NULL)
        return;
    mem_free(filter->nodes);
    mem_free(filter->values);
    mem_free(filter->meanings);
    mem_free(filter->strings);
    mem_free(filter);
}

bool
filter_match(const struct filter *filter, const void *payload, size_t payload_bytes)
{
    return filter_match_node(filter, filter->root, payload, payload_bytes);
}

bool
filter_match_node(const struct filter *filter, uint32_t node, const void *payload,
                  size_t payload_bytes)
{
    const struct filter_node *at = filter_node(filter, node);
    switch (at->kind) {
    case FILTER_AND:
    case FILTER_OR:
        for (uint32_t child = at->first_child; child != FILTER_NO_NODE;
             child = filter->nodes[child].next_sibling) {
            if (filter_match_node(filter, child, payload, payload_bytes) == (at->kind == FILTER_OR))
                return at->kind == FILTER_OR;
        }
        return at->kind == FILTER_AND;
    case FILTER_NOT:
        return !filter_match_node(filter, at->first_child, payload, payload_bytes);
    default:
        return field_walk(payload, payload_bytes, at->field, at->field_bytes, match_leaf,
                          (void *)(uintptr_t)at);
    }
}

// field_walk's visit: `context` is the leaf, which is only read.
static bool
match_leaf(void *context, const struct msgpack_value *raw)
{
    const struct filter_node *leaf = context;
    const struct value value = value_of_msgpack(raw);
    int order;
    switch (leaf->kind) {
    case FILTER_EXISTS:
        return value.kind != VALUE_NULL;
    case FILTER_PREFIX:
        return begins_with(&value, &leaf->values[0]);
    case FILTER_IN:
        return in_values(leaf, &value) || in_meanings(leaf, raw);
    case FILTER_EQ:
        return compare(leaf, raw, &value, &order) && order == 0;
    case FILTER_GT:
        return compare(leaf, raw, &value, &order) && order > 0;
    case FILTER_GTE:
        return compare(leaf, raw, &value, &order) && order >= 0;
    case FILTER_LT:
        return compare(leaf, raw, &value, &order) && order < 0;
    case FILTER_LTE:
        return compare(leaf, raw, &value, &order) && order <= 0;
    case FILTER_AND:
    case FILTER_OR:
    case FILTER_NOT:
        break;
    }
    ASSERT(leaf->first_child == FILTER_NO_NODE);
    return false;
}

// What the filter's value means decides what is compared.
static bool
compare(const struct filter_node *leaf, const struct msgpack_value *raw, const struct value *value,
        int *order)
{
    const struct value_meaning *wanted = &leaf->meanings[0];
    if (wanted->kind == MEANING_PLAIN)
        return value_compare(value, &leaf->values[0], order);
    const struct value_meaning meaning = value_meaning_of_msgpack(raw);
    *order = value_meaning_compare(&meaning, wanted);
    return meaning.kind == wanted->kind;
}

static int
compare_meanings(const void *a, const void *b)
{
    return value_meaning_compare(a, b);
}

// Beside in_values, which has found the plain ones, and some of the others.
static bool
in_meanings(const struct filter_node *leaf, const struct msgpack_value *raw)
{
    if (leaf->value_count == 0 || leaf->meanings[0].kind == MEANING_PLAIN)
        return false;
    const struct value_meaning meaning = value_meaning_of_msgpack(raw);
    return meaning.kind != MEANING_PLAIN &&
           bsearch(&meaning, leaf->meanings, leaf->value_count, sizeof leaf->meanings[0],
                   compare_meanings) != NULL;
}

static int
compare_values(const void *a, const void *b)
{
    return filter_value_order(a, b);
}

static bool
in_values(const struct filter_node *leaf, const struct value *value)
{
    if (leaf->value_count == 0 || value->kind == VALUE_NULL || value->kind == VALUE_OTHER ||
        (value->kind == VALUE_FLOAT && !value_is_number(value)))
        return false;
    return bsearch(value, leaf->values, leaf->value_count, sizeof leaf->values[0],
                   compare_values) != NULL;
}

static bool
begins_with(const struct value *value, const struct value *prefix)
{
    return value->kind == VALUE_STRING && value->string.length >= prefix->string.length &&
           memcmp(value->string.bytes, prefix->string.bytes, prefix->string.length) == 0;
}

uint32_t
filter_root(const struct filter *filter)
{
    return filter->root;
}

const struct filter_node *
filter_node(const struct filter *filter, uint32_t node)
{
    ASSERT(node < filter->node_count);
    return &filter->nodes[node];
}

uint32_t
filter_node_count(const struct filter *filter)
{
    return filter->node_count;
}
