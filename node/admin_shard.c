// node/admin_shard.c -- shard.*: where copies are, and an operator's steps.
//
// Shape: value.
//
// A step goes into the map; the primary and the controller do the rest, and may take it back when its target dies. So what is answered
// is that it was begun, and the shard is asked how far it is.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "node/admin_int.h"

static const char *const states[] = {[SHARD_CREATING] = "not open yet",
                                     [SHARD_OPEN] = "open",
                                     [SHARD_SPLITTING] = "splitting",
                                     [SHARD_CHILD] = "being filled by its parent",
                                     [SHARD_RETIRED] = "replaced by its children"};
static const char *const roles[] = {[MAP_REPLICA_PENDING] = "pending",
                                    [MAP_REPLICA_LEARNER] = "learner",
                                    [MAP_REPLICA_IN_SYNC] = "in_sync"};

// NULL: *error says why.
static const struct map_shard *
admin_shard_find(struct admin *a, uint64_t number)
{
    const struct map_shard *shard = map_shard(a->map, number);
    if (shard == NULL)
        error_set(a->error, OMEN_E_NOT_FOUND, "no shard %" PRIu64, number);
    return shard;
}

enum job_kind
admin_shard_motion(const struct map_shard *shard)
{
    if (shard->status == SHARD_SPLITTING)
        return JOB_SPLIT;
    for (uint32_t i = 0; i < shard->replica_count && shard->status == SHARD_OPEN; i++)
        if (shard->replicas[i].leaving || shard->replicas[i].role != MAP_REPLICA_IN_SYNC)
            return JOB_MOVE;
    return (enum job_kind)0;
}

struct admin_census
admin_census(const struct admin_view *view)
{
    bool lives[MAP_NODES_MAX];
    const struct map *map = view->map;
    struct admin_census census = {0};
    for (uint32_t i = 0; i < map->node_count; i++)
        lives[i] = admin_node_lives(view, &map->nodes[i]);
    for (uint32_t s = 0; s < map->shard_count; s++) {
        const struct map_shard *shard = &map->shards[s];
        if (!shard_is_routed(shard))
            continue;
        uint32_t safe = 0;
        bool led = shard->status == SHARD_CREATING; // has nothing to lose yet
        for (uint32_t i = 0; i < shard->replica_count; i++) {
            const struct map_replica *replica = &shard->replicas[i];
            const struct map_node *node = map_node(map, replica->node);
            if (node == NULL || !lives[node - map->nodes])
                continue;
            safe += replica->role == MAP_REPLICA_IN_SYNC;
            led |= !uuid_is_none(shard->primary) && uuid_equal(replica->uuid, shard->primary);
        }
        census.shards++;
        census.lost += !led;
        census.degraded += safe < map_collection(map, shard->collection)->replication;
    }
    return census;
}

// ---- list, get ----

struct shard_texts {
    char range[2 * 16 + 2];
    char primary[UUID_TEXT_BYTES];
    char nodes[SHARD_REPLICAS_MAX][UUID_TEXT_BYTES], uuids[SHARD_REPLICAS_MAX][UUID_TEXT_BYTES];
    struct wire_text in_sync[SHARD_REPLICAS_MAX];
    struct api_replica replicas[SHARD_REPLICAS_MAX];
};

// NULL: it has said nothing.
static const struct admin_place *
place_of(struct admin_places places, uint64_t shard, struct cluster_uuid copy)
{
    uint32_t first = 0, end = places.count;
    while (first < end) {
        const uint32_t middle = first + (end - first) / 2;
        if (places.list[middle].shard < shard)
            first = middle + 1;
        else
            end = middle;
    }
    for (; first < places.count && places.list[first].shard == shard; first++)
        if (places.list[first].told && uuid_equal(places.list[first].copy, copy))
            return &places.list[first];
    return NULL;
}

// How far the shard is, and how much is in it: as its primary says, else whoever of those that say so is the furthest.
static void
add_place(struct api_shard *row, const struct map_shard *shard, struct admin_places places)
{
    const struct admin_place *best = place_of(places, shard->id, shard->primary);
    const bool ask_others = best == NULL;
    for (uint32_t i = 0; i < shard->replica_count && ask_others; i++) {
        const struct admin_place *place = place_of(places, shard->id, shard->replicas[i].uuid);
        if (place != NULL && (best == NULL || place->seq > best->seq))
            best = place;
    }
    if (best == NULL)
        return;
    row->seq = wire_given(best->seq);
    row->points = wire_given(best->points);
}

static struct api_shard
shard_row(const struct map *map, const struct map_shard *shard, struct admin_places places,
          struct shard_texts *texts)
{
    uint32_t in_sync = 0;
    snprintf(texts->range, sizeof texts->range, "%016" PRIx64 "-%016" PRIx64, shard->first,
             shard->last);
    texts->primary[0] = '\0';
    for (uint32_t i = 0; i < shard->replica_count; i++) {
        const struct map_replica *replica = &shard->replicas[i];
        const struct map_node *node = map_node(map, replica->node);
        texts->nodes[i][0] = '\0';
        if (node != NULL)
            uuid_write(node->uuid, texts->nodes[i]);
        uuid_write(replica->uuid, texts->uuids[i]);
        const struct wire_text on = wire_text_of(texts->nodes[i]);
        const struct admin_place *place = place_of(places, shard->id, replica->uuid);
        texts->replicas[i] = (struct api_replica){.node = on,
                                                  .replica = wire_text_of(texts->uuids[i]),
                                                  .role = wire_text_of(roles[replica->role]),
                                                  .seq = place != NULL ? wire_given(place->seq)
                                                                       : (struct wire_maybe){0},
                                                  .leaving = replica->leaving};
        if (replica->role == MAP_REPLICA_IN_SYNC)
            texts->in_sync[in_sync++] = on;
        if (!uuid_is_none(shard->primary) && uuid_equal(shard->primary, replica->uuid))
            memcpy(texts->primary, texts->nodes[i], sizeof texts->primary);
    }
    return (struct api_shard){.shard = shard->id,
                              .collection =
                                  text_of_name(&map_collection(map, shard->collection)->name),
                              .range = wire_text_of(texts->range),
                              .primary = wire_text_of(texts->primary),
                              .in_sync = {.count = in_sync, .items = texts->in_sync},
                              .replicas = {.count = shard->replica_count, .items = texts->replicas},
                              .state = shard->status,
                              .term = shard->term,
                              .cfg_ver = shard->cfg_ver,
                              .parent = shard->parent};
}

void
admin_shard_write(const struct map *map, const struct map_shard *shard, struct admin_places places,
                  struct encode *answer)
{
    struct shard_texts texts;
    struct api_shard row = shard_row(map, shard, places, &texts);
    add_place(&row, shard, places);
    shape_write(answer, &api_shard, &row);
}

void
admin_shards_write(const struct map *map, uint64_t collection, struct admin_places places,
                   struct encode *answer)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < map->shard_count; i++)
        count += collection == 0 || map->shards[i].collection == collection;
    encode_map(answer, 1);
    encode_word(answer, "shards");
    encode_array(answer, count);
    for (uint32_t i = 0; i < map->shard_count; i++)
        if (collection == 0 || map->shards[i].collection == collection)
            admin_shard_write(map, &map->shards[i], places, answer);
}

enum admin_next
admin_shard_list(struct admin *a)
{
    const struct api_shards_ask *ask = a->ask;
    if (ask->collection.count > 0) {
        const struct map_collection *only = admin_collection_find(a, ask->collection);
        if (only == NULL)
            return ADMIN_REFUSED;
        a->step->collection = only->id;
    }
    if (ask->map_only) {
        admin_shards_write(a->map, a->step->collection, (struct admin_places){0}, a->answer);
        return ADMIN_ANSWERED;
    }
    a->step->whom = ADMIN_EVERY_COPY;
    return ADMIN_ASK_SHARDS;
}

enum admin_next
admin_shard_get(struct admin *a)
{
    const struct api_of_shard *ask = a->ask;
    const struct map_shard *shard = admin_shard_find(a, ask->shard);
    if (shard == NULL)
        return ADMIN_REFUSED;
    a->step->whom = ADMIN_EVERY_COPY;
    a->step->shard = shard->id;
    return ADMIN_ASK_SHARDS;
}

// ---- steps ----

static enum admin_next
refuse_state(struct admin *a, const struct map_shard *shard)
{
    return admin_refuse(a, OMEN_E_CONFLICT, "shard %" PRIu64 " is %s, expected it to be open",
                        shard->id, states[shard->status]);
}

// An open shard; NULL: *error says what it is instead.
static const struct map_shard *
open_shard(struct admin *a, uint64_t number)
{
    const struct map_shard *shard = admin_shard_find(a, number);
    if (shard == NULL || shard->status == SHARD_OPEN)
        return shard;
    (void)refuse_state(a, shard);
    return NULL;
}

// The copy on the node that is called so; NULL: *error.
static const struct map_replica *
copy_on(struct admin *a, const struct map_shard *shard, struct wire_text text)
{
    const struct map_node *node = admin_node_find(a, text);
    if (node == NULL)
        return NULL;
    const struct map_replica *replica = shard_replica_on(shard, node->number);
    if (replica == NULL)
        error_set(a->error, OMEN_E_NOT_FOUND, "shard %" PRIu64 " has no copy on node '%.*s'",
                  shard->id, (int)text.count, text.bytes);
    return replica;
}

static enum admin_next
move_there(struct admin *a, const struct map_shard *shard, const struct map_replica *from,
           const struct map_node *to)
{
    const struct api_shard_move *ask = a->ask;
    const int count = (int)ask->to.count;
    if (to->state != NODE_UP || (to->roles & NODE_DATA) == 0)
        return admin_refuse(a, OMEN_E_CONFLICT, "node '%.*s' takes no copies: %s", count,
                            ask->to.bytes,
                            to->state != NODE_UP ? "it is not up" : "it does not keep data");
    if (admin_disk_is_low(a->view, to))
        return admin_refuse(a, OMEN_E_DISK_FULL,
                            "node '%.*s' takes no copies: it has less disk left than its reserve",
                            count, ask->to.bytes);
    if (shard_replica_on(shard, to->number) != NULL)
        return admin_refuse(a, OMEN_E_EXISTS, "shard %" PRIu64 " has a copy on node '%.*s' already",
                            shard->id, count, ask->to.bytes);
    if (from->leaving)
        return admin_refuse(a, OMEN_E_CONFLICT,
                            "the copy of shard %" PRIu64 " on node '%.*s' is leaving already",
                            shard->id, (int)ask->from.count, ask->from.bytes);
    if (shard->replica_count == SHARD_REPLICAS_MAX)
        return admin_refuse(a, OMEN_E_FULL, "shard %" PRIu64 " has %u copies, which is the most",
                            shard->id, SHARD_REPLICAS_MAX);
    return admin_propose_step(
        a, shard, &(struct shard_step){.kind = STEP_MOVE, .node = to->number, .from = from->node});
}

enum admin_next
admin_shard_move(struct admin *a)
{
    const struct api_shard_move *ask = a->ask;
    const struct map_shard *shard = open_shard(a, ask->shard);
    const struct map_replica *from = shard != NULL ? copy_on(a, shard, ask->from) : NULL;
    const struct map_node *to = from != NULL ? admin_node_find(a, ask->to) : NULL;
    return to != NULL ? move_there(a, shard, from, to) : ADMIN_REFUSED;
}

// Whose disk would have both halves beside the whole for a while. NULL: nobody's is low.
static const struct map_node *
without_room(const struct admin *a, const struct map_shard *shard)
{
    for (uint32_t i = 0; i < shard->replica_count; i++) {
        const struct map_node *node = map_node(a->map, shard->replicas[i].node);
        if (node != NULL && admin_disk_is_low(a->view, node))
            return node;
    }
    return NULL;
}

enum admin_next
admin_shard_split(struct admin *a)
{
    const struct api_shard_split *ask = a->ask;
    const struct map_shard *shard = open_shard(a, ask->shard);
    if (shard == NULL)
        return ADMIN_REFUSED;
    if (shard->first == shard->last)
        return admin_refuse(a, OMEN_E_INVALID,
                            "shard %" PRIu64 " answers for one hash, which cannot be split",
                            shard->id);
    uint64_t at = shard->first + (shard->last - shard->first) / 2 + 1;
    if (ask->at.count != 0 && !hash_read(ask->at, &at))
        return admin_refuse(a, OMEN_E_INVALID,
                            "at is '%.*s', expected a hash in 16 hexadecimal digits",
                            (int)ask->at.count, ask->at.bytes);
    // A half that ends at hash 0 would be one of all hashes to the shards (shard/hosted.h): it takes all points, and the split is given up.
    const uint64_t least = shard->first == 0 ? 2 : shard->first + 1;
    if (at < least || at > shard->last)
        return admin_refuse(a, OMEN_E_INVALID,
                            "at is %016" PRIx64 ", expected it within %016" PRIx64 "-%016" PRIx64,
                            at, least, shard->last);
    if (a->map->shard_count + 2 > MAP_SHARDS_MAX)
        return admin_refuse(a, OMEN_E_FULL,
                            "the cluster has %" PRIu32
                            " shards, and a split makes two more than %u",
                            a->map->shard_count, MAP_SHARDS_MAX);
    const struct map_node *full = without_room(a, shard);
    if (full != NULL) {
        char name[WIRE_NAME_BYTES_MAX + 1];
        admin_node_name(a->view, full, name);
        return admin_refuse(a, OMEN_E_DISK_FULL,
                            "node '%s' has a copy of shard %" PRIu64
                            ", and less disk left than its reserve",
                            name, shard->id);
    }
    return admin_propose_step(a, shard, &(struct shard_step){.kind = STEP_SPLIT, .value = at});
}

enum admin_next
admin_shard_started(struct admin *a, const struct command_result *result)
{
    const struct api_shard_move *move = a->ask;
    const struct api_shard_split *split = a->ask;
    const bool moves = a->method->number == METHOD_SHARD_MOVE;
    (void)result;
    return admin_answer(a, &(struct api_started){.job = moves ? move->shard : split->shard});
}

enum admin_next
admin_shard_transfer(struct admin *a)
{
    const struct api_shard_to *ask = a->ask;
    const struct map_shard *shard = open_shard(a, ask->shard);
    const struct map_replica *to = shard != NULL ? copy_on(a, shard, ask->node) : NULL;
    if (to == NULL)
        return ADMIN_REFUSED;
    if (to->role != MAP_REPLICA_IN_SYNC)
        return admin_refuse(a, OMEN_E_CONFLICT,
                            "the copy of shard %" PRIu64 " on node '%.*s' is not in sync, it is %s",
                            shard->id, (int)ask->node.count, ask->node.bytes, roles[to->role]);
    if (uuid_equal(to->uuid, shard->primary) || uuid_equal(to->uuid, shard->wanted))
        return admin_answer_version(a);
    return admin_propose_step(a, shard,
                              &(struct shard_step){.kind = STEP_PREFER, .replica = to->uuid});
}

enum admin_next
admin_shard_force(struct admin *a)
{
    const struct api_shard_to *ask = a->ask;
    const struct map_shard *shard = admin_shard_find(a, ask->shard);
    if (shard == NULL)
        return ADMIN_REFUSED;
    if (shard->status == SHARD_SPLITTING)
        return admin_refuse(a, OMEN_E_CONFLICT,
                            "shard %" PRIu64 " is splitting: cancel that first (job.cancel %" PRIu64
                            ")",
                            shard->id, shard->id);
    if (shard->status != SHARD_OPEN)
        return refuse_state(a, shard);
    const struct map_replica *only = copy_on(a, shard, ask->node);
    if (only == NULL)
        return ADMIN_REFUSED;
    if (uuid_is_none(only->uuid))
        return admin_refuse(a, OMEN_E_CONFLICT,
                            "the copy of shard %" PRIu64 " on node '%.*s' was never made",
                            shard->id, (int)ask->node.count, ask->node.bytes);
    if (!ask->yes)
        return admin_refuse(a, OMEN_E_INVALID,
                            "writes that only other copies of shard %" PRIu64
                            " have would be lost: say yes",
                            shard->id);
    return admin_propose_step(a, shard,
                              &(struct shard_step){.kind = STEP_FORCE, .replica = only->uuid});
}
