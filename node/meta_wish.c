// node/meta_wish.c -- what this node's start says about the cluster, said to the leader until the map has it.
//
// Shape: shell.
//
//      the map has this node as joining ------------- it is up: that it was started is what an operator says
//      nobody has ever chosen lease times ----------- those of this node's profile, where they are others
//      the lease times were changed, and the older
//      guard has run out since that was seen here --- they are settled (cluster/map.h: until then the longer guard holds)
//
// All are compare-and-swaps, so nodes that say the same at once do it once.
#include "node/meta_int.h"
#include "node/turn_int.h"

#define MS UINT64_C(1000000)
#define AGAIN_NS (300 * MS)
// What clocks may differ in, and a leader that has just heard of the change.
#define MARGIN_NS (1000 * MS)

static bool
is_joining(const struct meta *meta)
{
    const struct map_node *own = turn_own(&meta->turn);
    return own != NULL && own->state == NODE_JOINING;
}

static bool
wants_leases(const struct meta *meta)
{
    const struct lease_settings *leases = &meta->turn.map.leases;
    return leases->version == 0 && meta->config.lease_profile != 0 &&
           leases->profile != meta->config.lease_profile && turn_own(&meta->turn) != NULL;
}

// When the older guard has run out; UINT64_MAX: there is none.
static uint64_t
settle_ns(const struct meta *meta)
{
    const struct map *map = &meta->turn.map;
    if (map->leases.profile == map->leases.previous ||
        meta->leases_version != map->leases.version || turn_own(&meta->turn) == NULL)
        return UINT64_MAX;
    return meta->leases_seen_ns + map_lease_times(map).guard_ms * MS + MARGIN_NS;
}

uint64_t
meta_wish_due(struct meta *meta)
{
    if (meta->turn.raft.lead == 0)
        return UINT64_MAX;
    if (is_joining(meta) || wants_leases(meta))
        return meta->wish_at_ns;
    const uint64_t settle_at_ns = settle_ns(meta);
    return settle_at_ns > meta->wish_at_ns ? settle_at_ns : meta->wish_at_ns;
}

void
meta_wish_now(struct meta *meta, uint64_t now_ns)
{
    const struct map_node *own = turn_own(&meta->turn);
    const struct lease_settings *leases = &meta->turn.map.leases;
    struct command *wish = &meta->wish;
    meta->wish_at_ns = now_ns + AGAIN_NS;
    if (is_joining(meta)) {
        *wish = (struct command){.kind = COMMAND_NODE_STATE};
        wish->node_state = (struct command_node_state){
            .expected = own->version, .node = own->number, .state = NODE_UP};
    } else if (wants_leases(meta)) {
        *wish = (struct command){.kind = COMMAND_LEASE_PROFILE};
        wish->lease = (struct command_lease){leases->version, meta->config.lease_profile};
    } else {
        *wish = (struct command){.kind = COMMAND_LEASE_SETTLE};
        wish->lease = (struct command_lease){leases->version, leases->profile};
    }
}
