// shard/filter_plan_int.h -- a filter that is being evaluated.
//
// Shape: value. Private to shard/filter_plan.c and shard/filter_leaf.c.
#ifndef OMEN_SHARD_FILTER_PLAN_INT_H
#define OMEN_SHARD_FILTER_PLAN_INT_H
#include "base/limits.h"
#include "shard/fields_int.h"
#include "shard/filter_plan.h"

enum indexed { INDEXED_ALL, INDEXED_SOME, INDEXED_NONE }; // how many of a subtree's leaves

struct plan {
    const struct filter *filter;
    struct fields *fields;
    const struct payloads *payloads;
    uint32_t slots;
    uint32_t word_count;
    uint32_t decided_words; // of every bitmap; what lies behind was not looked at by some scan
    uint64_t deadline_ns;
    uint32_t scans_left; // which share the time that is left
    uint64_t *words;     // word_count for the answer, then for each temporary
    uint32_t temporary_count;
    bool held;                              // the lock, for the whole evaluation
    struct field *field[FILTER_NODES_MAX];  // of each leaf; NULL: no index answers it
    enum indexed indexed[FILTER_NODES_MAX]; // of each node
    bool below_and[FILTER_NODES_MAX];       // the node's parent is an `and`
    bool done[FILTER_NODES_MAX];            // leaves that were answered with an earlier sibling
};

// Is the condition about bytes that an index of this type does not have?
bool leaf_needs_text(enum field_type type, const struct filter_node *leaf);
// By the index, under the lock. Bits at and above plan->slots may be set afterwards.
void leaf_select(struct plan *plan, uint32_t node, uint64_t *out);

#endif
