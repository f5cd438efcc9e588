// node/admin_cluster.c -- system.* and cluster.*: how this process is, how the cluster is, who is in it, and what it would do next.
//
// Shape: value.
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/text.h"
#include "node/admin_int.h"
#include "node/events.h"

#define EVENTS_DEFAULT 100u

enum { GREEN = 1, YELLOW, RED };

// ---- system ----

enum admin_next
admin_ping(struct admin *a)
{
    return admin_answer_nothing(a);
}

// One that keeps no data is not in the map, and does all that it does without being there.
static bool
is_mapped(const struct admin_view *view)
{
    const struct gossip_claim *own = admin_member(view, view->node);
    return own == NULL || (own->meta.roles & NODE_DATA) != 0;
}

// Whether all nodes know something that is not in use yet. Until it is, a collection cannot be made (turn_propose), which is the first that is
// asked of a new cluster; in one that has collections it is told to who makes another, and no reason to take no other requests.
static bool
is_about_to_agree(const struct map *map)
{
    uint64_t known = ~map->features;
    for (uint32_t i = 0; i < map->node_count; i++)
        if (map->nodes[i].state != NODE_GONE)
            known &= map->nodes[i].features;
    return map->collection_count == 0 && known != 0;
}

// NULL: nothing keeps it from serving.
static const char *
why_not_ready(const struct admin_view *view)
{
    const struct map_node *own = map_node_by_uuid(view->map, view->node);
    if (!is_mapped(view))
        return uuid_is_none(view->leader) ? "no leader of the metadata is known" : NULL;
    if (own == NULL || own->boot != view->boot)
        return "the cluster's map does not have this process yet";
    if (own->state == NODE_JOINING)
        return "the node is joining";
    if (own->state == NODE_GONE)
        return "the node has left the cluster";
    if (is_about_to_agree(view->map))
        return "the nodes agree on what is new";
    return uuid_is_none(view->leader) ? "no leader of the metadata is known" : NULL;
}

enum admin_next
admin_health(struct admin *a)
{
    struct api_health answer = {.live = 1};
    const char *why = why_not_ready(a->view);
    answer.ready = why == NULL;
    if (why != NULL)
        answer.reason = wire_text_of(why);
    return admin_answer(a, &answer);
}

enum admin_next
admin_info(struct admin *a)
{
    const struct admin_view *view = a->view;
    const struct map_node *own = map_node_by_uuid(a->map, view->node);
    const struct gossip_claim *said = admin_member(view, view->node);
    char cluster[UUID_TEXT_BYTES], node[UUID_TEXT_BYTES], name[WIRE_NAME_BYTES_MAX + 1];
    uuid_write(view->cluster, cluster);
    uuid_write(view->node, node);
    struct api_info answer = {.server = wire_text_of("omend"),
                              .version = wire_text_of(view->version),
                              .cluster = wire_text_of(cluster),
                              .node = wire_text_of(node),
                              .boot = view->boot,
                              .uptime_ms = view->uptime_ms,
                              .map_version = a->map->version};
    if (own != NULL) {
        admin_node_name(view, own, name);
        answer.name = wire_text_of(name);
        answer.zone = text_of_name(&own->zone);
        answer.roles = admin_roles(own->roles);
    } else if (said != NULL) {
        if (admin_said_name(said, name))
            answer.name = wire_text_of(name);
        answer.roles = admin_roles(said->meta.roles & NODE_ROLES_ALL);
    }
    return admin_answer(a, &answer);
}

// ---- cluster ----

static uint32_t
nodes_in(const struct map *map)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < map->node_count; i++)
        count += map->nodes[i].state != NODE_GONE;
    return count;
}

enum admin_next
admin_cluster_info(struct admin *a)
{
    const struct admin_census census = admin_census(a->view);
    char cluster[UUID_TEXT_BYTES], leader[UUID_TEXT_BYTES];
    uuid_write(a->view->cluster, cluster);
    uuid_write(a->view->leader, leader);
    const bool red = census.lost > 0 || uuid_is_none(a->view->leader);
    const struct api_cluster_info answer = {.cluster = wire_text_of(cluster),
                                            .leader = wire_text_of(leader),
                                            .map_version = a->map->version,
                                            .term = a->view->term,
                                            .features = a->map->features,
                                            .nodes = nodes_in(a->map),
                                            .voters = a->view->voters,
                                            .collections = a->map->collection_count,
                                            .shards = census.shards,
                                            .degraded_shards = census.degraded,
                                            .lost_shards = census.lost,
                                            .state = (uint8_t)(red                   ? RED
                                                               : census.degraded > 0 ? YELLOW
                                                                                     : GREEN)};
    return admin_answer(a, &answer);
}

struct member_texts {
    char node[UUID_TEXT_BYTES], name[WIRE_NAME_BYTES_MAX + 1];
    char address[ADDRESS_TEXT_BYTES], client[ADDRESS_TEXT_BYTES];
};

// 0: it is not known.
static int64_t
clock_ahead_ms(const struct admin_view *view, struct cluster_uuid node)
{
    const struct clocks_row *row = clocks_find(&view->clocks, node);
    if (uuid_equal(node, view->node))
        return view->ahead_ms;
    return row != NULL ? row->off_ms : 0;
}

static struct api_member
member_row(const struct admin_view *view, const struct gossip_claim *member,
           struct member_texts *texts)
{
    const struct cluster_uuid uuid = {member->subject.high, member->subject.low};
    const struct map_node *node = map_node_by_uuid(view->map, uuid);
    const struct gossip_meta *meta = &member->meta;
    uuid_write(uuid, texts->node);
    memcpy(texts->name, texts->node, sizeof texts->node);
    if (node != NULL)
        admin_node_name(view, node, texts->name);
    else
        (void)admin_said_name(member, texts->name);
    address_write(&meta->address, texts->address);
    address_write(&meta->client, texts->client);
    return (struct api_member){.node = wire_text_of(texts->node),
                               .name = wire_text_of(texts->name),
                               .address = wire_text_of(texts->address),
                               .client = wire_text_of(texts->client),
                               .zone =
                                   node != NULL ? text_of_name(&node->zone) : (struct wire_text){0},
                               .roles = admin_roles(meta->roles & NODE_ROLES_ALL),
                               .state = (uint8_t)(member->state + 1),
                               .boot = member->boot,
                               .map_version = meta->map_version,
                               .incarnation = member->incarnation,
                               .load = meta->load,
                               .disk_low = turn_said_read(meta).disk_low,
                               .clock_ahead_ms = clock_ahead_ms(view, uuid)};
}

enum admin_next
admin_members(struct admin *a)
{
    struct member_texts texts;
    admin_answer_list(a, "members", a->view->member_count);
    for (uint32_t i = 0; i < a->view->member_count; i++) {
        const struct api_member row = member_row(a->view, &a->view->members[i], &texts);
        shape_write(a->answer, &api_member, &row);
    }
    return ADMIN_ANSWERED;
}

enum admin_next
admin_events(struct admin *a)
{
    const struct api_events_ask *ask = a->ask;
    const struct event_ring *ring = a->view->events;
    const uint64_t limit = ask->limit != 0 ? ask->limit : EVENTS_DEFAULT;
    const uint64_t count_ever = ring != NULL ? ring->count : 0;
    const uint64_t latest = count_ever > limit ? count_ever - limit : 0;
    const uint64_t after = ask->after.given ? ask->after.value : latest;
    const struct event *first = ring != NULL ? event_after(ring, after) : NULL;
    const uint64_t there = first != NULL ? ring->count - first->number + 1 : 0;
    const uint32_t count = (uint32_t)(there < limit ? there : limit);
    admin_answer_list(a, "events", count);
    for (uint32_t i = 0; i < count; i++) {
        char node[UUID_TEXT_BYTES];
        const struct event *event = event_after(ring, first->number + i - 1);
        uuid_write(event->node, node);
        const struct api_event row = {.event = event->number,
                                      .time_ms = event->time_ms,
                                      .kind = wire_text_of(event->kind),
                                      .node = wire_text_of(node),
                                      .collection = text_of_name(&event->collection),
                                      .text = wire_text_of(event->text),
                                      .shard = event->shard};
        shape_write(a->answer, &api_event, &row);
    }
    return ADMIN_ANSWERED;
}

enum admin_next
admin_meet(struct admin *a)
{
    const struct api_join *ask = a->ask;
    if (!address_read(ask->address, &a->step->address))
        return admin_refuse(a, OMEN_E_INVALID,
                            "address is '%.*s', expected IP:PORT of a node's peer port",
                            (int)ask->address.count, ask->address.bytes);
    (void)admin_answer_nothing(a);
    return ADMIN_MEET;
}

// ---- for who watches ----

void
admin_look_at(const struct admin_view *view, struct admin_seen *out)
{
    const struct admin_census census = admin_census(view);
    *out = (struct admin_seen){.map_version = view->map->version,
                               .nodes = nodes_in(view->map),
                               .collections = view->map->collection_count,
                               .shards = census.shards,
                               .degraded = census.degraded,
                               .lost = census.lost,
                               .not_ready = why_not_ready(view)};
    for (uint32_t i = 0; i < view->member_count; i++)
        out->members[view->members[i].state]++;
}

enum admin_next
admin_metrics(struct admin *a)
{
    const struct api_metrics answer = {.text = a->view->metrics};
    return admin_answer(a, &answer);
}

// ---- rebalance ----

// Steps that bring a copy somewhere; of the others nothing is told. Of those that went through the log, what came of them.
static bool
moves(const struct admin *a, const struct shard_step *step)
{
    const struct map_shard *shard = map_shard(a->map, step->shard);
    if (step->kind != STEP_MOVE && step->kind != STEP_ASSIGN)
        return false;
    return a->step->command.kind == 0 ||
           (shard != NULL && shard_replica_on(shard, step->node) != NULL);
}

static enum admin_next
answer_moves(struct admin *a)
{
    const struct command_steps *steps = &a->step->command.steps;
    uint32_t count = 0;
    for (uint32_t i = 0; i < steps->count; i++)
        count += moves(a, &steps->steps[i]);
    admin_answer_list(a, "moves", count);
    for (uint32_t i = 0; i < steps->count; i++) {
        const struct shard_step *step = &steps->steps[i];
        if (!moves(a, step))
            continue;
        char from[UUID_TEXT_BYTES] = "", to[UUID_TEXT_BYTES] = "";
        const struct map_node *old = map_node(a->map, step->from);
        const struct map_node *new = map_node(a->map, step->node);
        if (old != NULL)
            uuid_write(old->uuid, from);
        if (new != NULL)
            uuid_write(new->uuid, to);
        const struct api_move row = {step->shard, wire_text_of(from), wire_text_of(to)};
        shape_write(a->answer, &api_move, &row);
    }
    return ADMIN_ANSWERED;
}

struct rebalance_room {
    struct rebalance machine;
    struct rebalance_output out;
    struct node_health health[MAP_NODES_MAX];
};

// As the leader's planner would that has just begun: it replaces nobody who is dead, since it does not know for how long, promotes
// nobody, and splits nothing.
static void
plan(const struct admin_view *view, struct rebalance_room *room)
{
    struct rebalance_config config = *view->rebalance;
    config.split_units = 0;
    rebalance_init(&room->machine, &config, view->map->version);
    for (uint32_t i = 0; i < view->map->node_count; i++) {
        const struct map_node *node = &view->map->nodes[i];
        room->health[i] = (struct node_health){.node = node->number,
                                               .alive = admin_node_lives(view, node),
                                               .disk_low = admin_disk_is_low(view, node)};
    }
    const struct rebalance_input in = {.now_ns = 1,
                                       .map = view->map,
                                       .health = room->health,
                                       .health_count = view->map->node_count};
    rebalance_step(&room->machine, &in, &room->out);
}

enum admin_next
admin_rebalance(struct admin *a)
{
    const struct api_rebalance_ask *ask = a->ask;
    ASSERT(a->view->rebalance != NULL);
    struct rebalance_room *room = mem_alloc_zero(1, sizeof *room);
    if (room == NULL)
        return admin_refuse(a, OMEN_E_NO_MEMORY, "no memory to plan in");
    plan(a->view, room);
    const bool planned = room->out.command.kind == COMMAND_STEPS;
    if (planned)
        a->step->command.steps = room->out.command.steps;
    mem_free(room);
    if (planned && !ask->dry_run)
        return admin_propose(a, COMMAND_STEPS);
    return answer_moves(a);
}

// What an earlier try began: the copies that are on their way now.
static void
collect_moves(struct admin *a)
{
    struct command_steps *steps = &a->step->command.steps;
    for (uint32_t i = 0; i < a->map->shard_count; i++) {
        const struct map_shard *shard = &a->map->shards[i];
        struct shard_step step = {.kind = STEP_MOVE, .shard = shard->id};
        if (admin_shard_motion(shard) != JOB_MOVE)
            continue;
        for (uint32_t r = 0; r < shard->replica_count; r++)
            if (shard->replicas[r].leaving)
                step.from = shard->replicas[r].node;
        for (uint32_t r = 0; r < shard->replica_count; r++) {
            const struct map_replica *replica = &shard->replicas[r];
            step.node = replica->node;
            if (!replica->leaving && replica->role != MAP_REPLICA_IN_SYNC &&
                steps->count < COMMAND_STEPS_MAX)
                steps->steps[steps->count++] = step;
        }
    }
}

enum admin_next
admin_moves_said(struct admin *a, const struct command_result *result)
{
    (void)result;
    if (a->step->command.kind == 0)
        collect_moves(a);
    return answer_moves(a);
}
