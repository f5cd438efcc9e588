// base/filter_build.c -- how the two parsers build the one tree.
//
// Shape: value.
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/field_path.h"
#include "base/filter_int.h"

#define FIRST_NODES 8u
#define FIRST_VALUES 8u

static uint32_t add_node(struct filter_builder *builder, const struct filter_node *node);
static uint32_t add_leaf(struct filter_builder *builder, enum filter_kind kind,
                         const struct filter_test *test);
static uint32_t add_list(struct filter_builder *builder, const struct filter_test *test);
static bool drop_nulls(struct filter_builder *builder, const struct filter_test *test);
static void sort_values(struct filter_builder *builder, const struct filter_test *test);
static int compare_values(const void *a, const void *b);
static int compare_meanings(const void *a, const void *b);

uint32_t
filter_problem(struct filter_builder *builder, omen_status status, const char *format, ...)
{
    if (builder->status != OMEN_OK)
        return FILTER_NO_NODE;
    builder->status = status;
    struct text text;
    text_init(&text, builder->problem, sizeof builder->problem);
    va_list arguments;
    va_start(arguments, format);
    text_add_list(&text, format, arguments);
    va_end(arguments);
    return FILTER_NO_NODE;
}

bool
filter_build_begin(struct filter_builder *builder, size_t input_bytes)
{
    builder->status = OMEN_OK;
    builder->problem[0] = '\0';
    builder->filter = mem_alloc_zero(1, sizeof *builder->filter);
    if (builder->filter != NULL) {
        builder->filter->string_capacity = input_bytes;
        builder->filter->strings = mem_alloc(input_bytes);
        if (builder->filter->strings != NULL)
            return true;
        mem_free(builder->filter);
        builder->filter = NULL;
    }
    builder->status = OMEN_E_NO_MEMORY;
    return false;
}

void
filter_build_end(struct filter_builder *builder, uint32_t root, struct filter **out)
{
    struct filter *filter = builder->filter;
    builder->filter = NULL;
    if (root == FILTER_NO_NODE || builder->status != OMEN_OK) {
        ASSERT(builder->status != OMEN_OK);
        filter_close(filter);
        return;
    }
    filter->root = root;
    filter->meanings = mem_alloc(filter->value_count * sizeof filter->meanings[0]);
    if (filter->meanings == NULL) {
        builder->status = OMEN_E_NO_MEMORY;
        filter_close(filter);
        return;
    }
    for (uint32_t i = 0; i < filter->value_count; i++)
        filter->meanings[i] = value_meaning_of(&filter->values[i]);
    for (uint32_t i = 0; i < filter->node_count; i++) {
        struct filter_node *node = &filter->nodes[i];
        if (node->value_count == 0)
            continue;
        struct value_meaning *meanings = &filter->meanings[builder->first_value[i]];
        node->values = &filter->values[builder->first_value[i]];
        node->meanings = meanings;
        if (node->value_count > 1)
            qsort(meanings, node->value_count, sizeof meanings[0], compare_meanings);
    }
    *out = filter;
}

static int
compare_meanings(const void *a, const void *b)
{
    return value_meaning_compare(a, b);
}

void
filter_put_byte(struct filter_builder *builder, char byte)
{
    struct filter *filter = builder->filter;
    ASSERT(filter->string_bytes < filter->string_capacity);
    filter->strings[filter->string_bytes++] = byte;
}

char *
filter_string_end(struct filter_builder *builder)
{
    return builder->filter->strings + builder->filter->string_bytes;
}

const char *
filter_keep(struct filter_builder *builder, const char *bytes, size_t count)
{
    struct filter *filter = builder->filter;
    char *const kept = filter_string_end(builder);
    ASSERT(count <= filter->string_capacity - filter->string_bytes);
    if (count > 0)
        memcpy(kept, bytes, count);
    filter->string_bytes += count;
    return kept;
}

bool
filter_add_value(struct filter_builder *builder, const struct value *value)
{
    struct filter *filter = builder->filter;
    if (filter->value_count == filter->value_capacity) {
        const uint32_t capacity =
            filter->value_capacity == 0 ? FIRST_VALUES : 2 * filter->value_capacity;
        struct value *values = mem_resize(filter->values, capacity * sizeof values[0]);
        if (values == NULL) {
            (void)filter_problem(builder, OMEN_E_NO_MEMORY, "no memory");
            return false;
        }
        filter->values = values;
        filter->value_capacity = capacity;
    }
    filter->values[filter->value_count] = *value;
    if (value->kind == VALUE_FLOAT && value->number == 0)
        filter->values[filter->value_count].number = 0; // -0 is 0, in print too
    filter->value_count++;
    return true;
}

uint32_t
filter_add_test(struct filter_builder *builder, const struct filter_test *test)
{
    if (!field_name_valid(test->field, test->field_bytes))
        return filter_problem(builder, OMEN_E_FILTER,
                              "a field name is 1..%u bytes without empty parts",
                              FIELD_NAME_BYTES_MAX);
    const struct filter *filter = builder->filter;
    const struct value *value =
        test->first_value < filter->value_count ? &filter->values[test->first_value] : NULL;
    switch (test->kind) {
    case TEST_EXISTS:
        return add_leaf(builder, FILTER_EXISTS, test);
    case TEST_MISSING:
        return filter_add_not(builder, add_leaf(builder, FILTER_EXISTS, test));
    case TEST_IN:
        return add_list(builder, test);
    case TEST_NIN:
        return filter_add_not(builder, add_list(builder, test));
    case TEST_EQ:
    case TEST_NE:
        ASSERT(value != NULL);
        if (value->kind == VALUE_NULL) {
            builder->filter->value_count = test->first_value;
            const uint32_t exists = add_leaf(builder, FILTER_EXISTS, test);
            return test->kind == TEST_NE ? exists : filter_add_not(builder, exists);
        }
        const uint32_t eq = add_leaf(builder, FILTER_EQ, test);
        return test->kind == TEST_EQ ? eq : filter_add_not(builder, eq);
    case TEST_PREFIX:
        ASSERT(value != NULL);
        if (value->kind != VALUE_STRING)
            return filter_problem(builder, OMEN_E_FILTER, "prefix needs a string");
        return add_leaf(builder, FILTER_PREFIX, test);
    default:
        ASSERT(value != NULL);
        if (value->kind == VALUE_NULL)
            return filter_problem(builder, OMEN_E_FILTER, "null has no order");
        return add_leaf(builder, (enum filter_kind)(FILTER_GT + (test->kind - TEST_GT)), test);
    }
}

static uint32_t
add_leaf(struct filter_builder *builder, enum filter_kind kind, const struct filter_test *test)
{
    const struct filter_node leaf = {
        .kind = kind,
        .first_child = FILTER_NO_NODE,
        .next_sibling = FILTER_NO_NODE,
        .depth = 1,
        .field = test->field,
        .field_bytes = test->field_bytes,
        .value_count = builder->filter->value_count - test->first_value,
    };
    const uint32_t node = add_node(builder, &leaf);
    if (node != FILTER_NO_NODE)
        builder->first_value[node] = test->first_value;
    return node;
}

static uint32_t
add_list(struct filter_builder *builder, const struct filter_test *test)
{
    const struct filter *filter = builder->filter;
    if (filter->value_count - test->first_value > FILTER_LIST_MAX)
        return filter_problem(builder, OMEN_E_FILTER, "a list has at most %u values",
                              FILTER_LIST_MAX);

    const bool null = drop_nulls(builder, test);
    sort_values(builder, test);
    const uint32_t count = filter->value_count - test->first_value;
    if (null && count == 0)
        return filter_add_not(builder, add_leaf(builder, FILTER_EXISTS, test));

    const uint32_t list = add_leaf(builder, count == 1 ? FILTER_EQ : FILTER_IN, test);
    if (!null)
        return list;
    struct filter_test missing = *test;
    missing.first_value = filter->value_count;
    struct filter_children either = FILTER_CHILDREN(FILTER_OR);
    filter_children_add(builder, &either, list);
    filter_children_add(builder, &either,
                        filter_add_not(builder, add_leaf(builder, FILTER_EXISTS, &missing)));
    return filter_add_children(builder, &either);
}

static bool
drop_nulls(struct filter_builder *builder, const struct filter_test *test)
{
    struct filter *filter = builder->filter;
    uint32_t kept = test->first_value;
    for (uint32_t i = test->first_value; i < filter->value_count; i++)
        if (filter->values[i].kind != VALUE_NULL)
            filter->values[kept++] = filter->values[i];
    const bool dropped = kept < filter->value_count;
    filter->value_count = kept;
    return dropped;
}

static void
sort_values(struct filter_builder *builder, const struct filter_test *test)
{
    struct filter *filter = builder->filter;
    const uint32_t count = filter->value_count - test->first_value;
    if (count < 2)
        return;
    struct value *values = &filter->values[test->first_value];
    qsort(values, count, sizeof values[0], compare_values);
    uint32_t kept = 1;
    for (uint32_t i = 1; i < count; i++)
        if (filter_value_order(&values[kept - 1], &values[i]) != 0)
            values[kept++] = values[i];
    filter->value_count = test->first_value + kept;
}

// Equal numbers of different kinds (1 and 1.0) are one value; which of them stays must not depend
// on the sort.
static int
compare_values(const void *a, const void *b)
{
    const struct value *first = a;
    const struct value *second = b;
    const int order = filter_value_order(first, second);
    return order != 0 ? order : (int)first->kind - (int)second->kind;
}

int
filter_value_order(const struct value *a, const struct value *b)
{
    int order;
    if (value_compare(a, b, &order))
        return order;
    return (int)a->kind - (int)b->kind; // numbers are neighbours in enum value_kind
}

uint32_t
filter_add_not(struct filter_builder *builder, uint32_t child)
{
    if (child == FILTER_NO_NODE)
        return FILTER_NO_NODE;
    const struct filter_node node = {
        .kind = FILTER_NOT,
        .first_child = child,
        .next_sibling = FILTER_NO_NODE,
        .depth = builder->filter->nodes[child].depth + 1,
    };
    return add_node(builder, &node);
}

// A child of the connective's own kind gives its children instead of itself. It was made last, so
// its place is free again: a chain of thousands of `and` does not waste nodes, however it was
// bracketed.
void
filter_children_add(struct filter_builder *builder, struct filter_children *children, uint32_t node)
{
    struct filter *filter = builder->filter;
    if (node == FILTER_NO_NODE)
        return;
    uint32_t last = node;
    if (filter->nodes[node].kind == children->kind) {
        ASSERT(node == filter->node_count - 1);
        node = filter->nodes[node].first_child;
        filter->node_count--;
        for (last = node; filter->nodes[last].next_sibling != FILTER_NO_NODE;)
            last = filter->nodes[last].next_sibling;
    }
    if (children->count == 0)
        children->first = node;
    else
        filter->nodes[children->last].next_sibling = node;
    children->last = last;
    children->count += last == node ? 1 : 2; // only one or more matters
}

uint32_t
filter_add_children(struct filter_builder *builder, const struct filter_children *children)
{
    if (builder->status != OMEN_OK)
        return FILTER_NO_NODE;
    ASSERT(children->count > 0);
    if (children->count == 1)
        return children->first;
    struct filter_node node = {
        .kind = children->kind,
        .first_child = children->first,
        .next_sibling = FILTER_NO_NODE,
    };
    for (uint32_t child = children->first; child != FILTER_NO_NODE;
         child = builder->filter->nodes[child].next_sibling) {
        if (builder->filter->nodes[child].depth >= node.depth)
            node.depth = builder->filter->nodes[child].depth + 1;
    }
    return add_node(builder, &node);
}

static uint32_t
add_node(struct filter_builder *builder, const struct filter_node *node)
{
    struct filter *filter = builder->filter;
    if (filter->node_count == FILTER_NODES_MAX)
        return filter_problem(builder, OMEN_E_FILTER, "more than %u conditions", FILTER_NODES_MAX);
    if (node->depth > FILTER_DEPTH_MAX)
        return filter_problem(builder, OMEN_E_FILTER, "nested deeper than %u", FILTER_DEPTH_MAX);
    if (filter->node_count == filter->node_capacity) {
        const uint32_t capacity =
            filter->node_capacity == 0 ? FIRST_NODES : 2 * filter->node_capacity;
        struct filter_node *nodes = mem_resize(filter->nodes, capacity * sizeof nodes[0]);
        if (nodes == NULL)
            return filter_problem(builder, OMEN_E_NO_MEMORY, "no memory");
        filter->nodes = nodes;
        filter->node_capacity = capacity;
    }
    filter->nodes[filter->node_count] = *node;
    return filter->node_count++;
}
