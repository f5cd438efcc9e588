// cluster/apply_split.c -- steps of a split: two children are filled beside their parent, and then answer instead of it.
//
// Shape: value.
//
// Writes go on all the time but for the moment of the cut. A child's copies are made where the parent's are, so that they are filled
// without the net; the parent's primary sends them what it writes, and adds them (a child's `add`) when they have
// caught up. Then it stops intake, waits until its last seq is durable on every in-sync copy of both children, and
// proposes the cut with the cfg_ver of all three as it saw them: whoever changed in between makes the cut fail and
// the parent go on. A new primary of the parent knows nothing of what the old one sent, so it begins to count anew.
#include "base/assert.h"
#include "cluster/apply_int.h"

static void children_remove(struct map *map, struct map_shard *parent);
static void child_open(struct map *map, struct map_shard *child, const struct map_shard *parent);

omen_status
step_split(struct map *map, struct map_shard *shard, const struct shard_step *step, uint64_t *value)
{
    if (shard->status != SHARD_OPEN)
        return OMEN_E_CONFLICT;
    if (step->value <= shard->first || step->value > shard->last)
        return OMEN_E_INVALID;
    if (map->shard_count + 2 > MAP_SHARDS_MAX)
        return OMEN_E_FULL;
    struct map_shard *low = map_shard_new(map, shard->collection, shard->first, step->value - 1);
    struct map_shard *high = map_shard_new(map, shard->collection, step->value, shard->last);
    low->status = high->status = SHARD_CHILD;
    low->parent = high->parent = shard->id;
    low->min_insync = high->min_insync = shard->min_insync;
    shard->children[0] = low->id;
    shard->children[1] = high->id;
    shard->status = SHARD_SPLITTING;
    shard->wanted = (struct cluster_uuid){0};
    shard->cfg_ver++;
    shard->version = map->version + 1;
    *value = low->id;
    return OMEN_OK;
}

// No child may answer with fewer copies than its writes would need.
omen_status
step_cut(struct map *map, struct map_shard *shard, const struct shard_step *step)
{
    if (shard->status != SHARD_SPLITTING || uuid_is_none(shard->primary))
        return OMEN_E_CONFLICT;
    struct map_shard *children[2];
    for (uint32_t i = 0; i < 2; i++) {
        children[i] = map_shard_own(map, shard->children[i]);
        if (children[i] == NULL || children[i]->cfg_ver != step->child_cfg_ver[i] ||
            shard_in_sync(children[i]) < children[i]->min_insync)
            return OMEN_E_CONFLICT;
    }
    for (uint32_t i = 0; i < 2; i++) {
        children[i]->base_seq = step->value;
        child_open(map, children[i], shard);
    }
    shard->status = SHARD_RETIRED;
    shard->cfg_ver++;
    shard->version = map->version + 1;
    return OMEN_OK;
}

// Where the parent's primary was, if it can be: there are the clients' connections, and the newest of caches.
static void
child_open(struct map *map, struct map_shard *child, const struct map_shard *parent)
{
    const struct map_replica *old = shard_replica(parent, parent->primary);
    const struct map_replica *chosen = old != NULL ? shard_replica_on(child, old->node) : NULL;
    if (chosen != NULL && chosen->role != MAP_REPLICA_IN_SYNC)
        chosen = NULL;
    for (uint32_t i = 0; i < child->replica_count && chosen == NULL; i++)
        if (child->replicas[i].role == MAP_REPLICA_IN_SYNC)
            chosen = &child->replicas[i];
    ASSERT(chosen != NULL);
    child->term = parent->term;
    child->status = SHARD_OPEN;
    shard_begin_term(map, child, chosen->uuid);
    child->cfg_ver += parent->cfg_ver + 1; // above the sum of both, which its copies were told
    child->version = map->version + 1;
}

omen_status
step_abort(struct map *map, struct map_shard *shard)
{
    if (shard->status != SHARD_SPLITTING)
        return OMEN_E_CONFLICT;
    const uint64_t id = shard->id;
    children_remove(map, shard);
    shard = map_shard_own(
        map, id); // others behind it moved, and it did not; but who reads this need not know
    shard->status = SHARD_OPEN;
    shard->children[0] = shard->children[1] = 0;
    shard->cfg_ver++;
    shard->version = map->version + 1;
    return OMEN_OK;
}

static void
children_remove(struct map *map, struct map_shard *parent)
{
    const uint64_t children[2] = {parent->children[0], parent->children[1]};
    for (uint32_t i = 0; i < 2; i++)
        map_shard_remove(map, children[i]);
}

omen_status
step_purge(struct map *map, struct map_shard *shard)
{
    if (shard->status != SHARD_RETIRED)
        return OMEN_E_CONFLICT;
    map_shard_remove(map, shard->id);
    return OMEN_OK;
}
