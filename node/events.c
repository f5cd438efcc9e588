// node/events.c -- reads events off a map before and after, and off gossip's members before and after.
//
// Shape: value.
#include "node/events.h"

#include <inttypes.h>
#include <stdio.h>

#include "node/turn_said.h"

void
events_init(struct event_ring *ring)
{
    ring->count = 0;
}

static struct event *
event_add(struct event_ring *ring, uint64_t time_ms, const char *kind)
{
    struct event *event = &ring->events[ring->count % EVENTS_MAX];
    *event = (struct event){.number = ++ring->count, .time_ms = time_ms, .kind = kind};
    return event;
}

const struct event *
event_after(const struct event_ring *ring, uint64_t after)
{
    const uint64_t oldest = ring->count > EVENTS_MAX ? ring->count - EVENTS_MAX : 0;
    if (after < oldest)
        after = oldest;
    return after < ring->count ? &ring->events[after % EVENTS_MAX] : NULL;
}

// ---- the map's ----

struct looking {
    struct event_ring *ring;
    uint64_t time_ms;
    const struct map *before, *after;
};

static void
node_event(const struct looking *look, const char *kind, const struct map_node *node)
{
    struct event *event = event_add(look->ring, look->time_ms, kind);
    event->node = node->uuid;
}

static void
look_at_nodes(const struct looking *look)
{
    static const char *const kinds[] = {[NODE_JOINING] = "node-joined",
                                        [NODE_UP] = "node-up",
                                        [NODE_DRAINING] = "node-draining",
                                        [NODE_GONE] = "node-gone"};
    for (uint32_t i = 0; i < look->after->node_count; i++) {
        const struct map_node *now = &look->after->nodes[i];
        const struct map_node *then = map_node(look->before, now->number);
        if (then != NULL && then->version == now->version)
            continue;
        if (then == NULL)
            node_event(look, "node-joined", now);
        if (then != NULL ? then->state != now->state : now->state != NODE_JOINING)
            node_event(look, kinds[now->state], now);
        if (then != NULL && then->boot != now->boot)
            node_event(look, "node-restarted", now);
    }
}

static void
collection_event(const struct looking *look, const char *kind, const struct map_name *name)
{
    event_add(look->ring, look->time_ms, kind)->collection = *name;
}

// By somebody: that its first write has claimed a kind of ids is no news.
static bool
was_altered(const struct map_collection *then, const struct map_collection *now)
{
    const bool same = then->replication == now->replication && then->min_insync == now->min_insync;
    return then->version != now->version && (!same || then->id_kind == now->id_kind);
}

static void
look_at_collections(const struct looking *look)
{
    for (uint32_t i = 0; i < look->after->collection_count; i++) {
        const struct map_collection *now = &look->after->collections[i];
        const struct map_collection *then = map_collection(look->before, now->id);
        if (then == NULL)
            collection_event(look, "collection-created", &now->name);
        else if (was_altered(then, now))
            collection_event(look, "collection-updated", &now->name);
    }
    for (uint32_t i = 0; i < look->before->collection_count; i++)
        if (map_collection(look->after, look->before->collections[i].id) == NULL)
            collection_event(look, "collection-dropped", &look->before->collections[i].name);
}

static void
look_at_aliases(const struct looking *look)
{
    for (uint32_t i = 0; i < look->after->alias_count; i++) {
        const struct map_alias *now = &look->after->aliases[i];
        const struct map_alias *then = map_alias(look->before, &now->name);
        const struct map_collection *of = map_collection(look->after, now->collection);
        if (of != NULL && (then == NULL || then->collection != now->collection)) {
            struct event *event = event_add(look->ring, look->time_ms, "alias-set");
            event->collection = of->name;
            snprintf(event->text, sizeof event->text, "%.*s", now->name.count, now->name.bytes);
        }
    }
    for (uint32_t i = 0; i < look->before->alias_count; i++) {
        const struct map_name *name = &look->before->aliases[i].name;
        if (map_alias(look->after, name) == NULL)
            snprintf(event_add(look->ring, look->time_ms, "alias-dropped")->text, 96, "%.*s",
                     name->count, name->bytes);
    }
}

static struct event *
shard_event(const struct looking *look, const char *kind, const struct map_shard *shard)
{
    struct event *event = event_add(look->ring, look->time_ms, kind);
    const struct map_collection *of = map_collection(look->after, shard->collection);
    event->shard = shard->id;
    if (of != NULL)
        event->collection = of->name;
    return event;
}

static void
look_at_primary(const struct looking *look, const struct map_shard *then,
                const struct map_shard *now)
{
    const struct map_replica *primary = shard_replica(now, now->primary);
    if (primary == NULL) {
        shard_event(look, "shard-without-primary", now);
        return;
    }
    const bool forced = now->unclean != then->unclean;
    struct event *event = shard_event(look, forced ? "shard-forced" : "shard-primary", now);
    const struct map_node *node = map_node(look->after, primary->node);
    if (node != NULL)
        event->node = node->uuid;
    snprintf(event->text, sizeof event->text, "term %" PRIu64, now->term);
}

static void
look_at_shards(const struct looking *look)
{
    for (uint32_t i = 0; i < look->after->shard_count; i++) {
        const struct map_shard *now = &look->after->shards[i];
        const struct map_shard *then = map_shard(look->before, now->id);
        if (then == NULL || then->version == now->version)
            continue; // a new one is its collection's, or its parent's
        if (then->status == SHARD_CREATING && now->status == SHARD_OPEN)
            shard_event(look, "shard-opened", now);
        else if (then->status != SHARD_SPLITTING && now->status == SHARD_SPLITTING)
            shard_event(look, "shard-splitting", now);
        else if (then->status == SHARD_SPLITTING && now->status == SHARD_OPEN)
            shard_event(look, "split-cancelled", now);
        else if (then->status != SHARD_RETIRED && now->status == SHARD_RETIRED)
            shard_event(look, "shard-split", now);
        else if (then->term != now->term || !uuid_equal(then->primary, now->primary))
            look_at_primary(look, then, now);
    }
}

void
events_of_map(struct event_ring *ring, uint64_t time_ms, const struct map *before,
              const struct map *after)
{
    if (before == NULL || before->version == after->version)
        return;
    const struct looking look = {ring, time_ms, before, after};
    look_at_nodes(&look);
    look_at_collections(&look);
    look_at_aliases(&look);
    look_at_shards(&look);
}

// ---- gossip's ----

static const struct gossip_claim *
member_find(struct event_members members, struct gossip_id id)
{
    for (uint32_t i = 0; i < members.count; i++)
        if (gossip_id_equal(members.members[i].subject, id))
            return &members.members[i];
    return NULL;
}

// One that is met for the first time is told of only where its disk is low.
static void
look_at_disk(struct event_ring *ring, uint64_t time_ms, const struct gossip_claim *then,
             const struct gossip_claim *now)
{
    const bool was_low = then != NULL && turn_said_read(&then->meta).disk_low;
    const bool is_low = turn_said_read(&now->meta).disk_low;
    if (was_low != is_low)
        event_add(ring, time_ms, is_low ? "disk-low" : "disk-fine")->node =
            (struct cluster_uuid){now->subject.high, now->subject.low};
}

void
events_of_members(struct event_ring *ring, uint64_t time_ms, struct event_members before,
                  struct event_members after)
{
    static const char *const kinds[] = {[GOSSIP_ALIVE] = "member-alive",
                                        [GOSSIP_SUSPECT] = "member-suspect",
                                        [GOSSIP_DEAD] = "member-dead",
                                        [GOSSIP_LEFT] = "member-left"};
    for (uint32_t i = 0; i < after.count; i++) {
        const struct gossip_claim *now = &after.members[i];
        const struct gossip_claim *then = member_find(before, now->subject);
        look_at_disk(ring, time_ms, then, now);
        if (then != NULL && then->state == now->state && then->boot == now->boot)
            continue;
        struct event *event = event_add(ring, time_ms, kinds[now->state]);
        event->node = (struct cluster_uuid){now->subject.high, now->subject.low};
        snprintf(event->text, sizeof event->text, "boot %" PRIu64, now->boot);
    }
}
