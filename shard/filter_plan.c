// shard/filter_plan.c -- evaluates a filter to the set of slots it lets through.
//
// Shape: value.
//
// Two functions call each other over the tree. select() writes into a bitmap all slots that a
// node lets through; narrow() takes from a bitmap those that it does not. An `and` selects by its
// first condition and narrows by the rest, the indexed ones first; an `or` under narrow() offers
// each condition only what the earlier ones left over. So a condition without an index, which
// costs a look into the payload of each slot it is asked about, is asked about few.
#include "shard/filter_plan.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/os_clock.h"
#include "shard/filter_plan_int.h"

#define SCAN_LOOKS 64u // payloads between two looks at the clock

static omen_status bind_loaded(struct plan *plan);
static void bind(struct plan *plan);
static uint32_t temporaries(const struct plan *plan, uint32_t node);
static bool buffer_fit(struct filter_buffer *buffer, size_t words);

static void select_node(struct plan *plan, uint32_t node, uint64_t *out, uint32_t temporary);
static void select_and(struct plan *plan, uint32_t node, uint64_t *out, uint32_t temporary);
static void select_or(struct plan *plan, uint32_t node, uint64_t *out, uint32_t temporary);
static void narrow(struct plan *plan, uint32_t node, uint64_t *bits, uint32_t temporary);
static void narrow_or(struct plan *plan, uint32_t node, uint64_t *bits, uint32_t temporary);
static void narrow_not(struct plan *plan, uint32_t node, uint64_t *bits, uint32_t temporary);
static void scan(struct plan *plan, uint32_t node, uint64_t *bits);

static uint64_t *temporary_words(const struct plan *plan, uint32_t temporary);
static void fill(const struct plan *plan, uint64_t *bits);
static void invert(const struct plan *plan, uint64_t *bits);
static void trim(const struct plan *plan, uint64_t *bits);
static void plan_lock(struct plan *plan);
static void plan_unlock(struct plan *plan);

void
filter_buffer_init(struct filter_buffer *buffer)
{
    *buffer = (struct filter_buffer){0};
}

void
filter_buffer_fini(struct filter_buffer *buffer)
{
    mem_free(buffer->words);
    *buffer = (struct filter_buffer){0};
}

omen_status
filter_select(const struct filter *filter, const struct filter_rows *rows,
              struct filter_buffer *buffer, struct filter_selection *out)
{
    struct fields *fields = rows->fields;
    const uint32_t slots = rows->slots;
    struct plan plan = {
        .filter = filter,
        .fields = fields,
        .payloads = rows->payloads,
        .slots = slots,
        .word_count = bitmap_words(slots),
        .decided_words = bitmap_words(slots),
        .deadline_ns = rows->deadline_ns,
    };
    const uint32_t root = filter_root(filter);
    const omen_status status = bind_loaded(&plan);
    if (status != OMEN_OK)
        return status;
    plan.held = plan.indexed[root] == INDEXED_ALL;
    if (!plan.held)
        rwlock_release_shared(&fields->lock);

    plan.temporary_count = temporaries(&plan, root);
    const bool room = buffer_fit(buffer, (size_t)plan.word_count * (1 + plan.temporary_count));
    if (room && slots > 0) {
        plan.words = buffer->words;
        select_node(&plan, root, plan.words, 0);
    }
    if (plan.held)
        rwlock_release_shared(&fields->lock);
    if (!room)
        return OMEN_E_NO_MEMORY;
    const bool cut = plan.decided_words < plan.word_count;
    if (cut)
        memset(plan.words + plan.decided_words, 0,
               (plan.word_count - plan.decided_words) * sizeof plan.words[0]);
    *out = (struct filter_selection){
        .allowed = {.words = plan.words, .count = slots},
        .count = (uint32_t)words_population(plan.words, plan.decided_words),
        .scanned = plan.indexed[root] != INDEXED_ALL,
        .cut = cut,
    };
    return OMEN_OK;
}

// On success the lock is held.
static omen_status
bind_loaded(struct plan *plan)
{
    for (;;) {
        rwlock_acquire_shared(&plan->fields->lock);
        bind(plan);
        struct field *missing = NULL;
        for (uint32_t i = 0; i < filter_node_count(plan->filter); i++)
            if (plan->field[i] != NULL && plan->field[i]->load != FIELD_LOADED)
                missing = plan->field[i];
        if (missing == NULL)
            return OMEN_OK;
        rwlock_release_shared(&plan->fields->lock);
        const omen_status status = fields_settle(plan->fields, missing);
        if (status != OMEN_OK)
            return status;
    }
}

// Children come before their parents, so one pass over the nodes knows every subtree.
static void
bind(struct plan *plan)
{
    plan->scans_left = 0;
    for (uint32_t i = 0; i < filter_node_count(plan->filter); i++) {
        const struct filter_node *node = filter_node(plan->filter, i);
        if (node->first_child == FILTER_NO_NODE) {
            struct field *field = fields_find(plan->fields, node->field, node->field_bytes);
            if (field != NULL && leaf_needs_text(field->type, node))
                field = NULL;
            plan->field[i] = field;
            plan->indexed[i] = field != NULL ? INDEXED_ALL : INDEXED_NONE;
            continue;
        }
        uint32_t scans = 0;
        plan->indexed[i] = plan->indexed[node->first_child];
        for (uint32_t child = node->first_child; child != FILTER_NO_NODE;
             child = filter_node(plan->filter, child)->next_sibling) {
            plan->below_and[child] = node->kind == FILTER_AND;
            scans += plan->indexed[child] == INDEXED_NONE;
            if (plan->indexed[child] != plan->indexed[i])
                plan->indexed[i] = INDEXED_SOME;
        }
        // Else it is scanned as one, with its parent or for itself.
        plan->scans_left += plan->indexed[i] != INDEXED_NONE ? scans : 0;
    }
    plan->scans_left += plan->indexed[filter_root(plan->filter)] == INDEXED_NONE;
}

// Bitmaps needed beside the answer, at most: a condition that is narrowed by selecting needs one
// of its own, `not` keeps one and `or` two while their conditions are asked.
static uint32_t
temporaries(const struct plan *plan, uint32_t node)
{
    const struct filter_node *at = filter_node(plan->filter, node);
    uint32_t most = 0;
    if (at->first_child == FILTER_NO_NODE)
        return 1;
    for (uint32_t child = at->first_child; child != FILTER_NO_NODE;
         child = filter_node(plan->filter, child)->next_sibling) {
        const uint32_t needed = temporaries(plan, child);
        most = needed > most ? needed : most;
    }
    return most + (at->kind == FILTER_OR ? 2 : 1);
}

static bool
buffer_fit(struct filter_buffer *buffer, size_t words)
{
    if (words <= buffer->word_capacity)
        return true;
    uint64_t *fresh = mem_alloc_aligned(64, words * sizeof fresh[0]);
    if (fresh == NULL)
        return false;
    mem_free(buffer->words);
    buffer->words = fresh;
    buffer->word_capacity = words;
    return true;
}

// ---- select ----

static void
select_node(struct plan *plan, uint32_t node, uint64_t *out, uint32_t temporary)
{
    const struct filter_node *at = filter_node(plan->filter, node);
    if (plan->indexed[node] == INDEXED_NONE) {
        fill(plan, out);
        scan(plan, node, out);
        return;
    }
    switch (at->kind) {
    case FILTER_AND:
        select_and(plan, node, out, temporary);
        break;
    case FILTER_OR:
        select_or(plan, node, out, temporary);
        break;
    case FILTER_NOT:
        select_node(plan, at->first_child, out, temporary);
        invert(plan, out);
        break;
    default:
        plan_lock(plan);
        leaf_select(plan, node, out);
        plan_unlock(plan);
        trim(plan, out);
    }
}

static void
select_and(struct plan *plan, uint32_t node, uint64_t *out, uint32_t temporary)
{
    bool begun = false;
    for (enum indexed turn = INDEXED_ALL; turn <= INDEXED_NONE; turn++) {
        for (uint32_t child = filter_node(plan->filter, node)->first_child; child != FILTER_NO_NODE;
             child = filter_node(plan->filter, child)->next_sibling) {
            if (plan->indexed[child] != turn || plan->done[child])
                continue;
            if (begun)
                narrow(plan, child, out, temporary);
            else
                select_node(plan, child, out, temporary);
            begun = true;
        }
    }
}

static void
select_or(struct plan *plan, uint32_t node, uint64_t *out, uint32_t temporary)
{
    uint64_t *more = temporary_words(plan, temporary);
    bool begun = false;
    for (enum indexed turn = INDEXED_ALL; turn <= INDEXED_NONE; turn++) {
        for (uint32_t child = filter_node(plan->filter, node)->first_child; child != FILTER_NO_NODE;
             child = filter_node(plan->filter, child)->next_sibling) {
            if (plan->indexed[child] != turn)
                continue;
            if (!begun) {
                select_node(plan, child, out, temporary + 1);
                begun = true;
                continue;
            }
            if (turn == INDEXED_ALL) {
                select_node(plan, child, more, temporary + 1);
            } else {
                memcpy(more, out, plan->word_count * sizeof out[0]);
                invert(plan, more);
                narrow(plan, child, more, temporary + 1);
            }
            for (uint32_t w = 0; w < plan->word_count; w++)
                out[w] |= more[w];
        }
    }
}

// ---- narrow ----

static void
narrow(struct plan *plan, uint32_t node, uint64_t *bits, uint32_t temporary)
{
    const struct filter_node *at = filter_node(plan->filter, node);
    if (plan->indexed[node] == INDEXED_NONE) {
        scan(plan, node, bits);
    } else if (plan->indexed[node] == INDEXED_ALL) {
        uint64_t *selected = temporary_words(plan, temporary);
        select_node(plan, node, selected, temporary + 1);
        for (uint32_t w = 0; w < plan->word_count; w++)
            bits[w] &= selected[w];
    } else if (at->kind == FILTER_AND) {
        for (enum indexed turn = INDEXED_ALL; turn <= INDEXED_NONE; turn++) {
            for (uint32_t child = at->first_child; child != FILTER_NO_NODE;
                 child = filter_node(plan->filter, child)->next_sibling) {
                if (plan->indexed[child] == turn && !plan->done[child])
                    narrow(plan, child, bits, temporary);
            }
        }
    } else if (at->kind == FILTER_OR) {
        narrow_or(plan, node, bits, temporary);
    } else {
        ASSERT(at->kind == FILTER_NOT);
        narrow_not(plan, node, bits, temporary);
    }
}

static void
narrow_or(struct plan *plan, uint32_t node, uint64_t *bits, uint32_t temporary)
{
    uint64_t *left = temporary_words(plan, temporary); // what no child let through yet
    uint64_t *passed = temporary_words(plan, temporary + 1);
    memcpy(left, bits, plan->word_count * sizeof bits[0]);
    for (enum indexed turn = INDEXED_ALL; turn <= INDEXED_NONE; turn++) {
        for (uint32_t child = filter_node(plan->filter, node)->first_child; child != FILTER_NO_NODE;
             child = filter_node(plan->filter, child)->next_sibling) {
            if (plan->indexed[child] != turn)
                continue;
            memcpy(passed, left, plan->word_count * sizeof bits[0]);
            narrow(plan, child, passed, temporary + 2);
            for (uint32_t w = 0; w < plan->word_count; w++)
                left[w] &= ~passed[w];
        }
    }
    for (uint32_t w = 0; w < plan->word_count; w++)
        bits[w] &= ~left[w];
}

static void
narrow_not(struct plan *plan, uint32_t node, uint64_t *bits, uint32_t temporary)
{
    uint64_t *passed = temporary_words(plan, temporary);
    memcpy(passed, bits, plan->word_count * sizeof bits[0]);
    narrow(plan, filter_node(plan->filter, node)->first_child, passed, temporary + 1);
    for (uint32_t w = 0; w < plan->word_count; w++)
        bits[w] &= ~passed[w];
}

// Where the deadline comes, slots from there on are left undecided for the whole filter: under a `not`, say, a slot that
// is merely taken out here would get in. Each scan may use its share of the time, so that one does not starve the next.
static void
scan(struct plan *plan, uint32_t node, uint64_t *bits)
{
    uint64_t end_ns = plan->deadline_ns;
    if (end_ns != 0) {
        ASSERT(plan->scans_left > 0);
        const uint64_t now = os_clock_ns();
        if (now < end_ns)
            end_ns = now + (end_ns - now) / plan->scans_left;
        plan->scans_left--;
    }
    uint32_t looks = SCAN_LOOKS;
    for (uint32_t w = 0; w < plan->decided_words; w++) {
        if (end_ns != 0 && looks >= SCAN_LOOKS) {
            if (os_clock_ns() >= end_ns) {
                plan->decided_words = w;
                return;
            }
            looks = 0;
        }
        for (uint64_t left = bits[w]; left != 0; left &= left - 1, looks++) {
            const uint32_t slot = w * 64 + (uint32_t)__builtin_ctzll(left);
            size_t bytes = 0;
            const void *payload =
                plan->payloads == NULL ? NULL : payloads_get(plan->payloads, slot, &bytes);
            if (!filter_match_node(plan->filter, node, payload, bytes))
                bits[w] &= ~(left & -left);
        }
    }
}

// ---- bitmaps ----

static uint64_t *
temporary_words(const struct plan *plan, uint32_t temporary)
{
    ASSERT(temporary < plan->temporary_count);
    return plan->words + (size_t)plan->word_count * (1 + temporary);
}

static void
fill(const struct plan *plan, uint64_t *bits)
{
    memset(bits, 0xff, plan->word_count * sizeof bits[0]);
    trim(plan, bits);
}

static void
invert(const struct plan *plan, uint64_t *bits)
{
    for (uint32_t w = 0; w < plan->word_count; w++)
        bits[w] = ~bits[w];
    trim(plan, bits);
}

static void
trim(const struct plan *plan, uint64_t *bits)
{
    if ((plan->slots & 63) != 0)
        bits[plan->word_count - 1] &= (1ull << (plan->slots & 63)) - 1;
}

static void
plan_lock(struct plan *plan)
{
    if (!plan->held)
        rwlock_acquire_shared(&plan->fields->lock);
}

static void
plan_unlock(struct plan *plan)
{
    if (!plan->held)
        rwlock_release_shared(&plan->fields->lock);
}
