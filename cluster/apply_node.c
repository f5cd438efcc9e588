// cluster/apply_node.c -- commands about nodes, and about what all of them must know: features, lease times.
//
// Shape: value.
#include "base/assert.h"
#include "cluster/apply_int.h"

static omen_status node_new(struct map *map, const struct command_node *node, uint64_t *value);
static bool forget_one_gone(struct map *map);
static void node_set(struct map *map, struct map_node *row, const struct command_node *node);

omen_status
apply_node_register(struct map *map, const struct command_node *node, uint64_t *value)
{
    if (uuid_is_none(node->uuid) || node->weight == 0 || node->roles == 0)
        return OMEN_E_INVALID;
    if ((map->features & ~node->features) != 0)
        return OMEN_E_UNSUPPORTED; // an old program may not come back where new features are in use
    const struct map_node *known = map_node_by_uuid(map, node->uuid);
    if (known == NULL)
        return node_new(map, node, value);
    if (known->state == NODE_GONE || node->boot <= known->boot)
        return OMEN_E_CONFLICT;
    node_set(map, map_node_own(map, known->number), node);
    *value = known->number;
    return OMEN_OK;
}

static omen_status
node_new(struct map *map, const struct command_node *node, uint64_t *value)
{
    if (map->next_node == UINT32_MAX)
        return OMEN_E_FULL;
    if (map->node_count == MAP_NODES_MAX && !forget_one_gone(map))
        return OMEN_E_FULL;
    ASSERT(map->node_count < map->node_room);
    struct map_node *row = &map->nodes[map->node_count++];
    *row = (struct map_node){.uuid = node->uuid, .number = map->next_node++, .state = NODE_JOINING};
    node_set(map, row, node);
    *value = row->number;
    return OMEN_OK;
}

// The longest known of those that are gone; otherwise a cluster whose nodes come and go would fill the table.
static bool
forget_one_gone(struct map *map)
{
    for (uint32_t i = 0; i < map->node_count; i++) {
        if (map->nodes[i].state == NODE_GONE) {
            rows_remove(map->nodes, &map->node_count, sizeof *map->nodes, i);
            return true;
        }
    }
    return false;
}

static void
node_set(struct map *map, struct map_node *row, const struct command_node *node)
{
    row->version = map->version + 1;
    row->boot = node->boot;
    row->process = node->process;
    row->features = node->features;
    row->weight = node->weight;
    row->roles = node->roles;
    row->zone = node->zone;
    for (uint32_t i = 0; i < NODE_ADDRESSES; i++)
        row->addresses[i] = node->addresses[i];
}

static bool
may_become(uint8_t from, uint8_t to)
{
    switch (from) {
    case NODE_JOINING:
        return to == NODE_UP || to == NODE_GONE;
    case NODE_UP:
        return to == NODE_DRAINING;
    case NODE_DRAINING:
        return to == NODE_UP || to == NODE_GONE;
    default:
        return false;
    }
}

omen_status
apply_node_state(struct map *map, const struct command_node_state *change)
{
    struct map_node *node = map_node_own(map, change->node);
    if (node == NULL)
        return OMEN_E_NOT_FOUND;
    if (version_differs(change->expected, node->version) || !may_become(node->state, change->state))
        return OMEN_E_CONFLICT;
    if (change->state == NODE_GONE && map_node_is_used(map, node->number))
        return OMEN_E_BUSY; // its replicas are elsewhere first
    node->state = change->state;
    node->version = map->version + 1;
    return OMEN_OK;
}

omen_status
apply_node_forget(struct map *map, const struct command_node_state *change)
{
    struct map_node *node = map_node_own(map, change->node);
    if (node == NULL)
        return OMEN_E_NOT_FOUND;
    if (version_differs(change->expected, node->version) || node->state != NODE_GONE)
        return OMEN_E_CONFLICT;
    rows_remove(map->nodes, &map->node_count, sizeof *map->nodes, (uint32_t)(node - map->nodes));
    return OMEN_OK;
}

omen_status
apply_features(struct map *map, uint64_t features)
{
    for (uint32_t i = 0; i < map->node_count; i++)
        if (map->nodes[i].state != NODE_GONE && (features & ~map->nodes[i].features) != 0)
            return OMEN_E_UNSUPPORTED;
    if ((features & ~map->features) == 0)
        return OMEN_E_EXISTS;
    map->features |= features;
    return OMEN_OK;
}

// Another change has to wait until this one is settled: otherwise two quick ones would forget the longest guard.
omen_status
apply_lease_profile(struct map *map, const struct command_lease *lease)
{
    struct lease_settings *leases = &map->leases;
    if (version_differs(lease->expected, leases->version) || lease->profile == leases->profile)
        return OMEN_E_CONFLICT;
    if (leases->previous != leases->profile)
        return OMEN_E_BUSY;
    leases->previous = leases->profile;
    leases->profile = lease->profile;
    leases->version = map->version + 1;
    return OMEN_OK;
}

omen_status
apply_lease_settle(struct map *map, const struct command_lease *lease)
{
    struct lease_settings *leases = &map->leases;
    if (version_differs(lease->expected, leases->version) || leases->previous == leases->profile ||
        lease->profile != leases->profile)
        return OMEN_E_CONFLICT;
    leases->previous = leases->profile;
    leases->version = map->version + 1;
    return OMEN_OK;
}
