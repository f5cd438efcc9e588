// cluster/place.c -- disks with room, then zones, then fill, then weighted rendezvous.
//
// Shape: value.
//
// The draw is -log2(u) / weight for u uniform in (0, 1]: the minimum of such numbers falls to each node with a probability in
// proportion to its weight, and a weight that changes moves only what that node gains or loses.
#include "cluster/place.h"

#include "base/assert.h"
#include "base/prng.h"

#define FRACTION_BITS 32u
#define FILL_BITS 16u

static uint64_t minus_log2(uint64_t x);

uint64_t
place_key(struct cluster_uuid uuid)
{
    return mix64(uuid.high ^ mix64(uuid.low + 0x9e3779b97f4a7c15ull));
}

uint64_t
place_draw(uint64_t shard, uint64_t key, uint16_t weight)
{
    ASSERT(weight > 0);
    return (minus_log2(mix64(mix64(shard + 0x9e3779b97f4a7c15ull) ^ key) | 1) << 16) / weight;
}

// -log2(x / 2^64) with FRACTION_BITS bits, for x > 0: the whole part by counting zeros, then a bit for each squaring.
static uint64_t
minus_log2(uint64_t x)
{
    __extension__ typedef unsigned __int128 wide;
    const uint32_t zeros = (uint32_t)__builtin_clzll(x);
    uint64_t mantissa = x << zeros; // in [2^63, 2^64): 1 <= m < 2
    uint64_t fraction = 0;
    for (uint32_t i = 0; i < FRACTION_BITS; i++) {
        const wide square = (wide)mantissa * mantissa;
        const bool doubled = (square >> 127) != 0;
        mantissa = (uint64_t)(square >> (doubled ? 64 : 63));
        fraction = fraction << 1 | doubled;
    }
    return ((uint64_t)(zeros + 1) << FRACTION_BITS) - fraction;
}

uint64_t
place_fill(const struct place_node *node, uint32_t units)
{
    return ((node->load + units) << FILL_BITS) / node->weight;
}

struct candidate {
    uint32_t row, in_zone;
    uint64_t fill, draw;
};

// Draws are made for ties only.
static bool
is_better(const struct place_node *nodes, const struct place_query *query, struct candidate *one,
          struct candidate *best)
{
    if (nodes[one->row].disk_low != nodes[best->row].disk_low)
        return nodes[best->row].disk_low;
    if (one->in_zone != best->in_zone)
        return one->in_zone < best->in_zone;
    if (one->fill != best->fill)
        return one->fill < best->fill;
    if (best->draw == 0)
        best->draw = place_draw(query->shard, nodes[best->row].key, nodes[best->row].weight);
    one->draw = place_draw(query->shard, nodes[one->row].key, nodes[one->row].weight);
    return one->draw < best->draw;
}

uint32_t
place_pick(const struct place_node *nodes, uint32_t count, const struct place_query *query)
{
    struct candidate best = {.row = PLACE_NONE};
    for (uint32_t row = 0; row < count; row++) {
        struct candidate one = {.row = row, .fill = place_fill(&nodes[row], query->units)};
        bool is_out = !nodes[row].eligible;
        for (uint32_t i = 0; i < query->member_count; i++) {
            is_out |= query->members[i] == row;
            one.in_zone += nodes[query->members[i]].zone == nodes[row].zone;
        }
        for (uint32_t i = 0; i < query->excluded_count; i++)
            is_out |= query->excluded[i] == row;
        if (is_out)
            continue;
        if (best.row == PLACE_NONE || is_better(nodes, query, &one, &best))
            best = one;
    }
    return best.row;
}
