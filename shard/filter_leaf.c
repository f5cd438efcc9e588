// shard/filter_leaf.c -- one condition of a filter, answered by the index of its field.
//
// Shape: value.
//
// Two bounds of one field under one `and` are one range of its index, as long as no slot has two
// values of the field (else two different values could meet the two bounds, and each bound is
// answered alone).
#include <string.h>

#include "base/assert.h"
#include "shard/field_index.h"
#include "shard/field_meaning.h"
#include "shard/filter_plan_int.h"

static bool asks_meaning(const struct field *field, const struct filter_node *leaf);
static void select_key(const struct plan *plan, const struct field *field,
                       const struct filter_node *leaf, uint64_t *out);
static void select_meanings(const struct plan *plan, const struct field *field,
                            const struct filter_node *leaf, uint64_t *out);
static void select_list(const struct plan *plan, const struct field *field,
                        const struct filter_node *leaf, uint64_t *out);
static void select_bounds(struct plan *plan, uint32_t node, uint64_t *out);
static bool is_bound(const struct filter_node *node);
static bool add_bound(const struct field *field, const struct filter_node *leaf,
                      struct field_range *range);

// Of times and UUIDs the index has no bytes, which a prefix and the order of plain strings are about. (No text of a
// time or a UUID is equal to a plain string.)
bool
leaf_needs_text(enum field_type type, const struct filter_node *leaf)
{
    if (type != FIELD_DATETIME && type != FIELD_UUID)
        return false;
    return leaf->kind == FILTER_PREFIX || (is_bound(leaf) && leaf->values[0].kind == VALUE_STRING &&
                                           leaf->meanings[0].kind == MEANING_PLAIN);
}

void
leaf_select(struct plan *plan, uint32_t node, uint64_t *out)
{
    const struct filter_node *leaf = filter_node(plan->filter, node);
    const struct field *field = plan->field[node];
    switch (leaf->kind) {
    case FILTER_EXISTS:
        slot_set_copy(&field->present, out, plan->slots);
        break;
    case FILTER_EQ:
        select_key(plan, field, leaf, out);
        select_meanings(plan, field, leaf, out);
        break;
    case FILTER_IN:
        select_list(plan, field, leaf, out);
        select_meanings(plan, field, leaf, out);
        break;
    case FILTER_PREFIX:
        memset(out, 0, plan->word_count * sizeof out[0]);
        field_index_prefix(field->index, leaf->values[0].string.bytes,
                           leaf->values[0].string.length, out, plan->slots);
        break;
    default:
        ASSERT(is_bound(leaf));
        if (!asks_meaning(field, leaf)) {
            select_bounds(plan, node, out);
            break;
        }
        memset(out, 0, plan->word_count * sizeof out[0]);
        select_meanings(plan, field, leaf, out);
    }
}

// Adds the keywords that mean what is asked for in other spellings.
static void
select_meanings(const struct plan *plan, const struct field *field, const struct filter_node *leaf,
                uint64_t *out)
{
    if (!asks_meaning(field, leaf))
        return;
    const enum filter_kind kind = leaf->kind == FILTER_IN ? FILTER_EQ : leaf->kind;
    for (uint32_t i = 0; i < leaf->value_count && leaf->meanings[i].kind != MEANING_PLAIN; i++)
        field_meaning_select(field->index, kind, &leaf->meanings[i], out, plan->slots);
}

static void
select_key(const struct plan *plan, const struct field *field, const struct filter_node *leaf,
           uint64_t *out)
{
    static const struct slot_set none;
    const struct slot_set *set = NULL;
    struct field_key key;
    if (field_key_of_filter(field->type, &leaf->values[0], &key) == FIELD_KEY_OK)
        set = field_index_find(field->index, &key);
    slot_set_copy(set != NULL ? set : &none, out, plan->slots);
}

static void
select_list(const struct plan *plan, const struct field *field, const struct filter_node *leaf,
            uint64_t *out)
{
    const enum field_type type = field->type;
    memset(out, 0, plan->word_count * sizeof out[0]);
    for (uint32_t i = 0; i < leaf->value_count; i++) {
        struct field_key key;
        if (field_key_of_filter(type, &leaf->values[i], &key) != FIELD_KEY_OK)
            continue;
        const struct slot_set *set = field_index_find(field->index, &key);
        if (set != NULL)
            slot_set_unite(set, out, plan->slots);
    }
}

// The leaf, and with it the later siblings under an `and` that are bounds of the same field.
static void
select_bounds(struct plan *plan, uint32_t node, uint64_t *out)
{
    const struct filter_node *leaf = filter_node(plan->filter, node);
    struct field *field = plan->field[node];
    struct field_range range = {0};
    bool possible = add_bound(field, leaf, &range);
    if (field->multi_rows == 0 && plan->below_and[node]) {
        for (uint32_t i = leaf->next_sibling; i != FILTER_NO_NODE;
             i = filter_node(plan->filter, i)->next_sibling) {
            const struct filter_node *sibling = filter_node(plan->filter, i);
            if (plan->field[i] != field || !is_bound(sibling) || asks_meaning(field, sibling))
                continue;
            possible = possible && add_bound(field, sibling, &range);
            plan->done[i] = true;
        }
    }
    memset(out, 0, plan->word_count * sizeof out[0]);
    if (possible)
        field_select_range(plan->fields, field, &range, out, plan->slots);
}

static bool
is_bound(const struct filter_node *node)
{
    return node->kind == FILTER_GT || node->kind == FILTER_GTE || node->kind == FILTER_LT ||
           node->kind == FILTER_LTE;
}

// Makes the range narrower; false when no value of the field can be compared with the bound.
static bool
add_bound(const struct field *field, const struct filter_node *leaf, struct field_range *range)
{
    struct field_key key;
    if (field_key_of_filter(field->type, &leaf->values[0], &key) != FIELD_KEY_OK)
        return false;
    const bool is_low = leaf->kind == FILTER_GT || leaf->kind == FILTER_GTE;
    const bool open = leaf->kind == FILTER_GT || leaf->kind == FILTER_LT;
    enum field_bound *bound = is_low ? &range->low_bound : &range->high_bound;
    struct field_key *at = is_low ? &range->low : &range->high;
    if (*bound != FIELD_UNBOUNDED) {
        const int order = is_low ? field_key_compare(at, &key) : field_key_compare(&key, at);
        if (order > 0 || (order == 0 && !open)) // what is there is as narrow
            return true;
    }
    *bound = open ? FIELD_EXCLUDED : FIELD_INCLUDED;
    *at = key;
    return true;
}

// Is it about what the keywords of an index mean?
static bool
asks_meaning(const struct field *field, const struct filter_node *leaf)
{
    return field->type == FIELD_KEYWORD && leaf->kind != FILTER_PREFIX && leaf->value_count > 0 &&
           leaf->meanings[0].kind != MEANING_PLAIN;
}
