// router/node.c -- what the answers say about nodes, and which copy is asked for the next part.
//
// Shape: machine.
//
// Power of two choices: of two copies drawn at random the better is asked. One of them is drawn in our own zone where there is
// one. Always asking the best would send every router to the same copy until all of them hear that it is slow.
#include "router/fanout_int.h"

static uint32_t
node_place(const struct fanout *fanout, uint32_t number)
{
    uint32_t low = 0, high = fanout->node_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (fanout->nodes[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct fanout_node *
fanout_node_find(struct fanout *fanout, uint32_t number)
{
    const uint32_t at = node_place(fanout, number);
    return at < fanout->node_count && fanout->nodes[at].number == number ? &fanout->nodes[at]
                                                                         : NULL;
}

static void
count_outstanding(struct fanout *fanout)
{
    for (uint32_t i = 0; i < fanout->node_count; i++)
        fanout->nodes[i].outstanding = 0;
    for (uint32_t i = 0; i < fanout->part_room; i++)
        for (uint32_t j = 0; j < FANOUT_FLIGHTS_MAX; j++) {
            const struct fanout_flight *flight = &fanout->parts[i].flights[j];
            struct fanout_node *node =
                flight->attempt == 0 ? NULL : fanout_node_find(fanout, flight->node);
            if (node != NULL)
                node->outstanding++;
        }
}

// Both are ascending. Who left the table is forgotten; who is new has no past. In place: first those that stay move together,
// then all move, from behind, to where they belong.
void
fanout_nodes_set(struct fanout *fanout)
{
    const struct routes *routes = fanout->routes;
    struct fanout_node *nodes = fanout->nodes;
    uint32_t kept = 0;
    for (uint32_t i = 0, j = 0; i < fanout->node_count; i++) {
        while (j < routes->node_count && routes->nodes[j] < nodes[i].number)
            j++;
        if (j < routes->node_count && routes->nodes[j] == nodes[i].number)
            nodes[kept++] = nodes[i];
    }
    for (uint32_t i = routes->node_count; i-- > 0;) {
        if (kept > 0 && nodes[kept - 1].number == routes->nodes[i])
            nodes[i] = nodes[--kept];
        else
            nodes[i] = (struct fanout_node){.number = routes->nodes[i]};
    }
    fanout->node_count = routes->node_count;
    count_outstanding(fanout);
}

// ---- how long answers take ----

static uint64_t
remembered(const struct fanout *fanout, const struct fanout_node *node)
{
    const uint64_t halves = (fanout->now_ns - node->sampled_ns) >> FORGET_BITS;
    return node->latency_ns >> fanout_min(halves, 63);
}

void
fanout_node_sample(struct fanout *fanout, uint32_t number, uint64_t took_ns)
{
    struct fanout_node *node = fanout_node_find(fanout, number);
    if (node == NULL)
        return;
    took_ns = fanout_min(took_ns, LATENCY_MAX_NS);
    const uint64_t before_ns = remembered(fanout, node);
    node->latency_ns = before_ns == 0 ? took_ns : (before_ns * 7 + took_ns) / 8;
    node->sampled_ns = fanout->now_ns;
}

// A quantile without a list: 19 steps up for what is above, one down for what is below, rest where 5 of 100 are above. The steps are
// a part of where it is, so that it gets there from afar and then does not wander much.
void
fanout_slow_sample(struct fanout *fanout, enum fanout_kind kind, uint64_t took_ns)
{
    if (kind == FANOUT_WRITE)
        return; // never asked for twice
    uint64_t *slow_ns = &fanout->slow_ns[kind - FANOUT_SEARCH];
    const uint64_t pace_ns = *slow_ns / 512 + 1;
    if (took_ns > *slow_ns)
        *slow_ns = fanout_min(*slow_ns + 19 * pace_ns, LATENCY_MAX_NS);
    else
        *slow_ns -= fanout_min(pace_ns, *slow_ns);
}

// ---- the choice ----

bool
fanout_has_refused(const struct fanout_part *part, uint32_t node)
{
    for (uint32_t i = 0; i < part->refused_count; i++)
        if (part->refused[i] == node)
            return true;
    return false;
}

static bool
flies_to(const struct fanout_part *part, uint32_t node)
{
    for (uint32_t i = 0; i < fanout_places(part); i++)
        if (part->flights[i].attempt != 0 && part->flights[i].node == node)
            return true;
    return false;
}

enum tier { TIER_READY, TIER_BUSY, TIER_DEAD, TIER_ASKED, TIER_REFUSED, TIERS };

// Whatever is asked.
static inline enum tier
tier_of_node(const struct fanout *fanout, const struct route_copy *copy)
{
    const struct fanout_node *node = &fanout->nodes[copy->place];
    if (node->dead)
        return TIER_DEAD;
    return node->draining || node->avoid_until_ns > fanout->now_ns ? TIER_BUSY : TIER_READY;
}

// The lower the better; whom there is no better than is still asked.
static enum tier
tier_of(const struct fanout *fanout, const struct fanout_part *part, const struct route_copy *copy)
{
    if (fanout_has_refused(part, copy->node))
        return TIER_REFUSED;
    return flies_to(part, copy->node) ? TIER_ASKED : tier_of_node(fanout, copy);
}

// At most 2^36 * 2^17 * 1000.
static uint64_t
score(const struct fanout *fanout, const struct route_copy *copy)
{
    const struct fanout_node *node = &fanout->nodes[copy->place];
    const uint64_t weight = copy->near ? 100 : fanout->config.far_percent;
    return (remembered(fanout, node) + 1) *
           (fanout_min(node->outstanding, QUEUE_MAX) + node->queue + 1) * weight;
}

// Two places of copies, the first one among those in our own zone where there are any. One number is drawn for both.
struct pair {
    uint32_t one, other; // the same where there is only one copy
};

static inline struct pair
draw(struct fanout *fanout, uint32_t count, uint32_t near_count)
{
    const uint64_t random = prng_next(&fanout->prng);
    const uint32_t among = near_count > 0 ? near_count : count;
    struct pair pair = {.one = (uint32_t)(((random >> 32) * among) >> 32)};
    pair.other = pair.one;
    if (count > 1) { // of the others: who is behind the first has moved up by one
        pair.other = (uint32_t)(((random & UINT32_MAX) * (count - 1)) >> 32);
        pair.other += pair.other >= pair.one;
    }
    return pair;
}

static inline const struct route_copy *
better(const struct fanout *fanout, const struct route_copy *one, const struct route_copy *other)
{
    return score(fanout, other) < score(fanout, one) ? other : one;
}

static const struct route_copy *
choose_any(struct fanout *fanout, const struct fanout_part *part, const struct route *row,
           enum tier worst)
{
    const struct route_copy *list[ROUTE_COPIES_MAX];
    uint32_t count = 0, near_count = 0;
    enum tier best = TIERS;
    for (uint32_t i = 0; i < row->copy_count; i++) { // those in our zone come first
        const struct route_copy *copy = &row->copies[i];
        const enum tier tier = tier_of(fanout, part, copy);
        if (tier > worst || tier > best)
            continue;
        if (tier < best) {
            best = tier;
            count = near_count = 0;
        }
        list[count++] = copy;
        near_count += copy->near;
    }
    if (count == 0)
        return NULL;
    const struct pair pair = draw(fanout, count, near_count);
    return better(fanout, list[pair.one], list[pair.other]);
}

// The same for a part that nobody was asked for yet, where two copies drawn from all of them are ready, which they mostly are: then
// the others need not be looked at. NULL: they are not, and it is drawn again from those that are.
static inline const struct route_copy *
choose_first(struct fanout *fanout, const struct route *row)
{
    if (row->copy_count == 0)
        return NULL;
    const struct pair pair = draw(fanout, row->copy_count, row->near_count);
    const struct route_copy *one = &row->copies[pair.one], *other = &row->copies[pair.other];
    if (tier_of_node(fanout, one) != TIER_READY || tier_of_node(fanout, other) != TIER_READY)
        return NULL;
    return better(fanout, one, other);
}

static bool
only_primary(const struct fanout *fanout, const struct fanout_part *part, const struct route *row)
{
    const struct fanout_request *request = &fanout->requests[part->request];
    return fanout_is_for_primary(request) || fanout_is_outdone(request, row);
}

// When all have refused they are asked again: a pause was made.
const struct route_copy *
fanout_choose(struct fanout *fanout, struct fanout_part *part, const struct route *row,
              enum fanout_try how)
{
    if (only_primary(fanout, part, row)) {
        if (row->primary == ROUTE_NONE || how == FANOUT_TRY_HEDGE)
            return NULL;
        part->refused_count = 0;
        return &row->copies[row->primary];
    }
    if (how == FANOUT_TRY_HEDGE)
        return choose_any(fanout, part, row, TIER_READY);
    const struct route_copy *copy = part->tries == 0 ? choose_first(fanout, row) : NULL;
    if (copy == NULL)
        copy = choose_any(fanout, part, row, TIER_REFUSED);
    if (copy != NULL && fanout_has_refused(part, copy->node))
        part->refused_count = 0;
    return copy;
}

// Whether somebody has not refused yet, so that no pause is due.
bool
fanout_has_other(struct fanout *fanout, const struct fanout_part *part)
{
    const struct fanout_request *request = fanout_request_of(fanout, part);
    const struct route *row = routes_find(fanout->routes, request->start.collection, part->first);
    if (row == NULL || only_primary(fanout, part, row))
        return false;
    for (uint32_t i = 0; i < row->copy_count; i++)
        if (!fanout_has_refused(part, row->copies[i].node))
            return true;
    return false;
}
