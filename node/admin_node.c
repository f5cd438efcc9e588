// node/admin_node.c -- node.*: who is in the map, what each holds, and whether it may.
//
// Shape: value.
//
//      joining --undrain--> up <--undrain-- draining --decommission--> gone
//                            '----drain------^
//
// A node that is asked to become what it is already has been asked twice, and is answered.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/admin_int.h"

static const char *const states[] = {[NODE_JOINING] = "joining",
                                     [NODE_UP] = "up",
                                     [NODE_DRAINING] = "draining",
                                     [NODE_GONE] = "gone"};

const struct gossip_claim *
admin_member(const struct admin_view *view, struct cluster_uuid node)
{
    for (uint32_t i = 0; i < view->member_count; i++)
        if (view->members[i].subject.high == node.high && view->members[i].subject.low == node.low)
            return &view->members[i];
    return NULL;
}

bool
admin_node_lives(const struct admin_view *view, const struct map_node *node)
{
    const struct gossip_claim *member = node != NULL ? admin_member(view, node->uuid) : NULL;
    return member != NULL && member->state <= GOSSIP_SUSPECT && node->state != NODE_GONE;
}

bool
admin_disk_is_low(const struct admin_view *view, const struct map_node *node)
{
    const struct gossip_claim *member = admin_member(view, node->uuid);
    return member != NULL && turn_said_read(&member->meta).disk_low;
}

uint32_t
admin_roles(uint32_t roles)
{
    return (roles & NODE_DATA) != 0 ? roles & ~(uint32_t)NODE_BUILDER : roles;
}

bool
admin_node_gone(const struct admin_view *view, struct cluster_uuid node)
{
    const struct gossip_claim *member = admin_member(view, node);
    return member != NULL && member->state > GOSSIP_SUSPECT;
}

bool
admin_said_name(const struct gossip_claim *member, char name[WIRE_NAME_BYTES_MAX + 1])
{
    struct map_name said; // by a peer: it may be anything
    const char *text;
    const uint32_t count = member->has_meta ? turn_said_name(&member->meta, &text) : 0;
    if (count == 0 || !map_name_set(&said, text, count))
        return false;
    memcpy(name, said.bytes, said.count);
    name[said.count] = '\0';
    return true;
}

void
admin_node_name(const struct admin_view *view, const struct map_node *node,
                char name[WIRE_NAME_BYTES_MAX + 1])
{
    const struct gossip_claim *member = admin_member(view, node->uuid);
    if (member == NULL || !admin_said_name(member, name))
        snprintf(name, WIRE_NAME_BYTES_MAX + 1, "node-%" PRIu32, node->number);
}

static bool
is_named(const struct admin_view *view, const struct map_node *node, struct wire_text text)
{
    char name[WIRE_NAME_BYTES_MAX + 1];
    admin_node_name(view, node, name);
    return strlen(name) == text.count && memcmp(name, text.bytes, text.count) == 0;
}

const struct map_node *
admin_node_find(struct admin *a, struct wire_text text)
{
    struct cluster_uuid uuid;
    const struct map_node *found = uuid_read(text, &uuid) ? map_node_by_uuid(a->map, uuid) : NULL;
    for (uint32_t i = 0; i < a->map->node_count && uuid_is_none(uuid); i++) {
        const struct map_node *node = &a->map->nodes[i];
        if (node->state == NODE_GONE || !is_named(a->view, node, text))
            continue;
        if (found != NULL) {
            error_set(a->error, OMEN_E_INVALID,
                      "two nodes are named '%.*s': say the uuid of the one that is meant",
                      (int)text.count, text.bytes);
            return NULL;
        }
        found = node;
    }
    if (found == NULL)
        error_set(a->error, OMEN_E_NOT_FOUND, "no node '%.*s' in the cluster", (int)text.count,
                  text.bytes);
    return found;
}

uint32_t
admin_data_nodes(const struct map *map)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < map->node_count; i++)
        count += map->nodes[i].state == NODE_UP && (map->nodes[i].roles & NODE_DATA) != 0;
    return count;
}

// ---- what they hold ----

struct holding {
    uint32_t shards, primaries;
};

// Of each row of the map's nodes.
static void
count_holdings(const struct map *map, struct holding *holdings)
{
    memset(holdings, 0, MAP_NODES_MAX * sizeof *holdings);
    for (uint32_t s = 0; s < map->shard_count; s++) {
        const struct map_shard *shard = &map->shards[s];
        for (uint32_t i = 0; i < shard->replica_count; i++) {
            const struct map_node *node = map_node(map, shard->replicas[i].node);
            if (node == NULL)
                continue;
            struct holding *holding = &holdings[node - map->nodes];
            holding->shards++;
            holding->primaries += !uuid_is_none(shard->primary) && shard_is_routed(shard) &&
                                  uuid_equal(shard->primary, shard->replicas[i].uuid);
        }
    }
}

struct node_texts {
    char uuid[UUID_TEXT_BYTES], name[WIRE_NAME_BYTES_MAX + 1];
    char peer[ADDRESS_TEXT_BYTES], client[ADDRESS_TEXT_BYTES];
};

static struct api_node
node_row(const struct admin_view *view, const struct map_node *node, struct holding holding,
         struct node_texts *texts)
{
    const struct gossip_claim *member = admin_member(view, node->uuid);
    uuid_write(node->uuid, texts->uuid);
    admin_node_name(view, node, texts->name);
    texts->peer[0] = texts->client[0] = '\0';
    if (member != NULL && member->has_meta) {
        address_write(&member->meta.address, texts->peer);
        address_write(&member->meta.client, texts->client);
    }
    return (struct api_node){.node = wire_text_of(texts->uuid),
                             .name = wire_text_of(texts->name),
                             .zone = text_of_name(&node->zone),
                             .peer = wire_text_of(texts->peer),
                             .client = wire_text_of(texts->client),
                             .roles = admin_roles(node->roles),
                             .state = node->state,
                             .member = member != NULL ? (uint8_t)(member->state + 1) : 0,
                             .number = node->number,
                             .weight = node->weight,
                             .shards = wire_given(holding.shards),
                             .primaries = wire_given(holding.primaries),
                             .boot = node->boot,
                             .version = node->version};
}

enum admin_next
admin_node_list(struct admin *a)
{
    struct holding holdings[MAP_NODES_MAX];
    struct node_texts texts;
    count_holdings(a->map, holdings);
    admin_answer_list(a, "nodes", a->map->node_count);
    for (uint32_t i = 0; i < a->map->node_count; i++) {
        const struct api_node row = node_row(a->view, &a->map->nodes[i], holdings[i], &texts);
        shape_write(a->answer, &api_node, &row);
    }
    return ADMIN_ANSWERED;
}

enum admin_next
admin_node_get(struct admin *a)
{
    const struct api_of_node *ask = a->ask;
    struct holding holdings[MAP_NODES_MAX];
    struct node_texts texts;
    const struct map_node *node = admin_node_find(a, ask->node);
    if (node == NULL)
        return ADMIN_REFUSED;
    count_holdings(a->map, holdings);
    const struct api_node row = node_row(a->view, node, holdings[node - a->map->nodes], &texts);
    return admin_answer(a, &row);
}

// ---- what they may ----

static enum admin_next
become(struct admin *a, const struct map_node *node, enum node_state state)
{
    a->step->command.node_state = (struct command_node_state){
        .expected = node->version, .node = node->number, .state = (uint8_t)state};
    return admin_propose(a, COMMAND_NODE_STATE);
}

static enum admin_next
refuse_state(struct admin *a, const struct map_node *node, const char *why)
{
    char name[WIRE_NAME_BYTES_MAX + 1];
    admin_node_name(a->view, node, name);
    return admin_refuse(a, OMEN_E_CONFLICT, "node '%s' is %s: %s", name, states[node->state], why);
}

enum admin_next
admin_node_drain(struct admin *a)
{
    const struct api_change_node *ask = a->ask;
    const struct map_node *node = admin_node_find(a, ask->node);
    if (node == NULL)
        return ADMIN_REFUSED;
    if (node->state == NODE_DRAINING)
        return admin_answer_version(a);
    if (node->state != NODE_UP)
        return refuse_state(a, node, "it has no copies that could go elsewhere");
    return become(a, node, NODE_DRAINING);
}

enum admin_next
admin_node_undrain(struct admin *a)
{
    const struct api_change_node *ask = a->ask;
    const struct map_node *node = admin_node_find(a, ask->node);
    if (node == NULL)
        return ADMIN_REFUSED;
    if (node->state == NODE_UP)
        return admin_answer_version(a);
    if (node->state == NODE_GONE)
        return refuse_state(a, node, "it comes back as a new node, with an empty folder");
    return become(a, node, NODE_UP);
}

static bool
somebody_goes_by(const struct admin_view *view, uint64_t number)
{
    for (uint32_t i = 0; i < view->member_count; i++)
        if (turn_said_read(&view->members[i].meta).member == number)
            return true;
    return false;
}

// Gossip says which number a node goes by in raft's group. Where it does not, it may be any voter of whom gossip knows nothing.
static bool
votes(const struct admin_view *view, const struct map_node *node)
{
    const struct gossip_claim *member = admin_member(view, node->uuid);
    const uint64_t number = member != NULL ? turn_said_read(&member->meta).member : 0;
    for (uint32_t i = 0; i < view->voting_count; i++)
        if (number != 0 ? view->voting[i] == number : !somebody_goes_by(view, view->voting[i]))
            return true;
    return false;
}

enum admin_next
admin_node_decommission(struct admin *a)
{
    const struct api_change_node *ask = a->ask;
    struct holding holdings[MAP_NODES_MAX];
    char name[WIRE_NAME_BYTES_MAX + 1];
    const struct map_node *node = admin_node_find(a, ask->node);
    if (node == NULL)
        return ADMIN_REFUSED;
    if (node->state == NODE_GONE)
        return admin_answer_version(a);
    if (node->state == NODE_UP)
        return refuse_state(a, node, "drain it first, so that its copies go elsewhere");
    count_holdings(a->map, holdings);
    const uint32_t shards = holdings[node - a->map->nodes].shards;
    if (shards > 0) {
        admin_node_name(a->view, node, name);
        return admin_refuse(a, OMEN_E_BUSY,
                            "node '%s' has copies of %" PRIu32 " shards yet: it is being drained",
                            name, shards);
    }
    if (votes(a->view, node)) {
        admin_node_name(a->view, node, name);
        return admin_refuse(a, OMEN_E_BUSY,
                            "node '%s' votes on the metadata yet: its vote goes to another first",
                            name);
    }
    return become(a, node, NODE_GONE);
}
