// cluster/apply_shard.c -- steps of one shard's members: who holds it, who is in sync, who is the primary.
//
// Shape: value.
//
// Every step is a compare-and-swap on cfg_ver, and every one that changes the members makes a new cfg_ver. What no step does,
// whoever asks: take a copy out of sync that min_insync needs (except one that is lost already), make a copy primary that
// was not in sync (except by force), or give a shard two terms with one number.
#include "cluster/apply_int.h"

static void change_members(struct map *map, struct map_shard *shard);
static bool can_spare(const struct map_shard *shard, const struct map_replica *replica);
static bool is_barred(const struct map_shard *shard, struct cluster_uuid uuid);
static void bar(struct map_shard *shard, struct cluster_uuid uuid);

static omen_status
step_assign(struct map *map, struct map_shard *shard, const struct shard_step *step)
{
    const struct map_node *node = map_node(map, step->node);
    if (node == NULL)
        return OMEN_E_NOT_FOUND;
    if (node->state != NODE_UP || (node->roles & NODE_DATA) == 0 ||
        shard_replica_on(shard, step->node) != NULL || shard->status == SHARD_RETIRED)
        return OMEN_E_CONFLICT;
    if (shard->replica_count == SHARD_REPLICAS_MAX)
        return OMEN_E_FULL;
    struct map_replica *leaving = NULL;
    if (step->kind == STEP_MOVE) {
        leaving = shard_replica_on_own(shard, step->from);
        if (leaving == NULL)
            return OMEN_E_NOT_FOUND;
        if (leaving->leaving)
            return OMEN_E_CONFLICT;
        leaving->leaving = 1;
    }
    shard->replicas[shard->replica_count++] =
        (struct map_replica){.node = step->node, .role = MAP_REPLICA_PENDING};
    change_members(map, shard);
    return OMEN_OK;
}

static omen_status
step_keep(struct map *map, struct map_shard *shard, const struct shard_step *step)
{
    struct map_replica *replica = shard_replica_on_own(shard, step->node);
    if (replica == NULL)
        return OMEN_E_NOT_FOUND;
    if (!replica->leaving)
        return OMEN_E_CONFLICT;
    replica->leaving = 0;
    change_members(map, shard);
    return OMEN_OK;
}

// A shard that never was open has nothing that a new copy could lack.
static omen_status
step_born(struct map *map, struct map_shard *shard, const struct shard_step *step)
{
    struct map_replica *replica = shard_replica_on_own(shard, step->node);
    if (replica == NULL)
        return OMEN_E_NOT_FOUND;
    if (uuid_is_none(step->replica))
        return OMEN_E_INVALID;
    if (replica->role != MAP_REPLICA_PENDING || is_barred(shard, step->replica) ||
        shard_replica(shard, step->replica) != NULL)
        return OMEN_E_CONFLICT;
    replica->uuid = step->replica;
    replica->role = shard->status == SHARD_CREATING ? MAP_REPLICA_IN_SYNC : MAP_REPLICA_LEARNER;
    shard_open_when_born(map, shard);
    change_members(map, shard);
    return OMEN_OK;
}

void
shard_open_when_born(const struct map *map, struct map_shard *shard)
{
    if (shard->status != SHARD_CREATING || shard->replica_count == 0)
        return;
    const uint32_t in_sync = shard_in_sync(shard);
    if (in_sync < shard->replica_count || in_sync < shard->min_insync)
        return;
    shard->status = SHARD_OPEN;
    shard_begin_term(map, shard, shard->replicas[0].uuid);
}

void
shard_begin_term(const struct map *map, struct map_shard *shard, struct cluster_uuid primary)
{
    shard->primary = primary;
    shard->primary_boot = map_node(map, shard_replica(shard, primary)->node)->boot;
    shard->term++;
}

static omen_status
step_add(struct map *map, struct map_shard *shard, const struct shard_step *step)
{
    struct map_replica *replica = shard_replica_own(shard, step->replica);
    if (replica == NULL)
        return OMEN_E_NOT_FOUND;
    if (replica->role != MAP_REPLICA_LEARNER || shard->status == SHARD_RETIRED)
        return OMEN_E_CONFLICT;
    replica->role = MAP_REPLICA_IN_SYNC;
    change_members(map, shard);
    return OMEN_OK;
}

static omen_status
step_remove(struct map *map, struct map_shard *shard, const struct shard_step *step)
{
    struct map_replica *replica = shard_replica_own(shard, step->replica);
    if (replica == NULL)
        return OMEN_E_NOT_FOUND;
    if (replica->role != MAP_REPLICA_IN_SYNC || shard->status == SHARD_RETIRED ||
        shard->status == SHARD_CREATING ||
        (shard->status != SHARD_CHILD && !can_spare(shard, replica)))
        return OMEN_E_CONFLICT;
    replica->role = MAP_REPLICA_LEARNER;
    change_members(map, shard);
    return OMEN_OK;
}

static omen_status
step_drop(struct map *map, struct map_shard *shard, const struct shard_step *step)
{
    struct map_replica *replica = shard_replica_on_own(shard, step->node);
    if (replica == NULL)
        return OMEN_E_NOT_FOUND;
    // A shard that was never open, or is a child, loses nothing with a copy.
    if (shard->term > 0 && replica->role == MAP_REPLICA_IN_SYNC && !can_spare(shard, replica))
        return OMEN_E_CONFLICT;
    shard_replica_remove(shard, replica);
    shard_open_when_born(map, shard);
    change_members(map, shard);
    return OMEN_OK;
}

// What is not there any more counts as a copy no longer, even if fewer than min_insync are left: then writes wait, as they would
// for the one that cannot answer. The last one is the operator's to give up. Only a child, which answers nobody
// yet and is filled again from its parent, may lose all.
static omen_status
step_lost(struct map *map, struct map_shard *shard, const struct shard_step *step)
{
    struct map_replica *replica = shard_replica_own(shard, step->replica);
    if (replica == NULL)
        return OMEN_E_NOT_FOUND;
    if (replica->role == MAP_REPLICA_IN_SYNC && shard_in_sync(shard) == 1 &&
        shard->status != SHARD_CHILD && shard->status != SHARD_CREATING)
        return OMEN_E_CONFLICT;
    if (uuid_equal(shard->primary, step->replica))
        shard->primary = (struct cluster_uuid){0};
    bar(shard, step->replica);
    shard_replica_remove(shard, replica);
    shard_open_when_born(map, shard);
    change_members(map, shard);
    return OMEN_OK;
}

// The old primary leaves the set in the same entry where the others are enough, so that it cannot hold up writes. One that
// was restarted may follow itself: it is another process, and begins a term of its own.
static omen_status
step_promote(struct map *map, struct map_shard *shard, const struct shard_step *step)
{
    const struct map_replica *replica = shard_replica(shard, step->replica);
    if (replica == NULL)
        return OMEN_E_NOT_FOUND;
    if (replica->role != MAP_REPLICA_IN_SYNC ||
        (shard->status != SHARD_OPEN && shard->status != SHARD_SPLITTING))
        return OMEN_E_CONFLICT;
    struct map_replica *old = shard_replica_own(shard, shard->primary);
    if (step->kind == STEP_TRANSFER && (old == NULL || old == replica))
        return OMEN_E_CONFLICT;
    shard_begin_term(map, shard, step->replica);
    if (step->kind == STEP_PROMOTE && old != NULL && can_spare(shard, old))
        old->role = MAP_REPLICA_LEARNER;
    change_members(map, shard);
    return OMEN_OK;
}

// Changes no member, so it makes no new cfg_ver: what the primary has on its way stays good.
static omen_status
step_prefer(struct map *map, struct map_shard *shard, const struct shard_step *step)
{
    const struct map_replica *replica = shard_replica(shard, step->replica);
    if (!uuid_is_none(step->replica) && replica == NULL)
        return OMEN_E_NOT_FOUND;
    if (uuid_equal(shard->wanted, step->replica) || shard->status != SHARD_OPEN ||
        (replica != NULL &&
         (replica->role != MAP_REPLICA_IN_SYNC || uuid_equal(shard->primary, step->replica))))
        return OMEN_E_CONFLICT;
    shard->wanted = step->replica;
    shard->version = map->version + 1;
    return OMEN_OK;
}

// The others may hold writes that are given up hereby, or lack some that are kept: none of them comes back as it is.
static omen_status
step_force(struct map *map, struct map_shard *shard, const struct shard_step *step)
{
    const struct map_replica *chosen = shard_replica(shard, step->replica);
    if (chosen == NULL)
        return OMEN_E_NOT_FOUND;
    if (shard->status != SHARD_OPEN)
        return OMEN_E_CONFLICT; // a split is aborted first
    for (uint32_t i = shard->replica_count; i-- > 0;) {
        struct map_replica *replica = &shard->replicas[i];
        if (uuid_equal(replica->uuid, step->replica) || uuid_is_none(replica->uuid))
            continue;
        bar(shard, replica->uuid);
        shard_replica_remove(shard, replica);
    }
    struct map_replica *only = shard_replica_own(shard, step->replica);
    only->role = MAP_REPLICA_IN_SYNC;
    only->leaving = 0;
    shard_begin_term(map, shard, step->replica);
    shard->unclean += shard->unclean < UINT32_MAX;
    change_members(map, shard);
    return OMEN_OK;
}

omen_status
apply_step(struct map *map, const struct shard_step *step, uint64_t *value)
{
    struct map_shard *shard = map_shard_own(map, step->shard);
    if (shard == NULL)
        return OMEN_E_NOT_FOUND;
    if (shard->cfg_ver != step->cfg_ver)
        return OMEN_E_CONFLICT;
    switch ((enum step_kind)step->kind) {
    case STEP_ASSIGN:
    case STEP_MOVE:
        return step_assign(map, shard, step);
    case STEP_KEEP:
        return step_keep(map, shard, step);
    case STEP_BORN:
        return step_born(map, shard, step);
    case STEP_ADD:
        return step_add(map, shard, step);
    case STEP_REMOVE:
        return step_remove(map, shard, step);
    case STEP_DROP:
        return step_drop(map, shard, step);
    case STEP_LOST:
        return step_lost(map, shard, step);
    case STEP_PROMOTE:
    case STEP_TRANSFER:
        return step_promote(map, shard, step);
    case STEP_PREFER:
        return step_prefer(map, shard, step);
    case STEP_FORCE:
        return step_force(map, shard, step);
    case STEP_SPLIT:
        return step_split(map, shard, step, value);
    case STEP_CUT:
        return step_cut(map, shard, step);
    case STEP_ABORT:
        return step_abort(map, shard);
    case STEP_PURGE:
        return step_purge(map, shard);
    case STEP_KINDS_END:
        break;
    }
    return OMEN_E_INVALID;
}

// ---- what the steps share ----

// A wish for a primary that cannot be fulfilled any more ends with what made it so.
static void
change_members(struct map *map, struct map_shard *shard)
{
    const struct map_replica *wanted = shard_replica(shard, shard->wanted);
    if (wanted == NULL || wanted->role != MAP_REPLICA_IN_SYNC ||
        uuid_equal(shard->wanted, shard->primary))
        shard->wanted = (struct cluster_uuid){0};
    shard->cfg_ver++;
    shard->version = map->version + 1;
}

// Whether writes go on without it: it is not the primary, and the others are enough.
static bool
can_spare(const struct map_shard *shard, const struct map_replica *replica)
{
    return !uuid_equal(shard->primary, replica->uuid) &&
           shard_in_sync(shard) > (shard->min_insync > 1 ? shard->min_insync : 1u);
}

static bool
is_barred(const struct map_shard *shard, struct cluster_uuid uuid)
{
    for (uint32_t i = 0; i < shard->barred_count; i++)
        if (uuid_equal(shard->barred[i], uuid))
            return true;
    return false;
}

// The oldest gives way: its environment was told to go many changes ago.
static void
bar(struct map_shard *shard, struct cluster_uuid uuid)
{
    if (shard->barred_count == SHARD_BARRED_MAX) {
        for (uint32_t i = 1; i < SHARD_BARRED_MAX; i++)
            shard->barred[i - 1] = shard->barred[i];
        shard->barred_count--;
    }
    shard->barred[shard->barred_count++] = uuid;
}
