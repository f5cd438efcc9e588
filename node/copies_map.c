// node/copies_map.c -- what the map says of the copies that a node holds, and of those that it does not.
//
// Shape: machine.
#include <string.h>

#include "node/copies_int.h"

static struct copy *
of_shard(const struct copies *copies, uint64_t shard, bool named)
{
    for (uint32_t i = 0; i < copies->count; i++)
        if (copies->rows[i]->env.shard == shard && copies->rows[i]->named == named)
            return copies->rows[i];
    return NULL;
}

const struct copy *
copies_of_shard(const struct copies *copies, uint64_t shard)
{
    return of_shard(copies, shard, true);
}

bool
copy_is_pending(const struct copies *copies, const struct copy *copy)
{
    const struct map_replica *here = shard_replica_on(&copy->row, copies->node);
    return copy->named && here != NULL && here->role == MAP_REPLICA_PENDING;
}

// The map is newer than the environment: the one under which it was made has a pending copy instead of it. And newer than all that
// was known before this start, of which some that are newer than the environment had the pending copy still. Nor is it one that
// its primary has filled already, by a map that has not come here.
bool
copy_may_go(const struct copies *copies, const struct copy *copy)
{
    return !copy->named && !copy->expected && copies->current && copies->map_version > 0 &&
           copies->map_position > copy->env.position;
}

static void
take_members(const struct map *map, const struct map_shard *shard, struct copy_member *members)
{
    for (uint32_t i = 0; i < shard->replica_count; i++) {
        const struct map_node *node = map_node(map, shard->replicas[i].node);
        members[i] = (struct copy_member){shard->replicas[i].uuid,
                                          node != NULL ? node->uuid : (struct cluster_uuid){0}};
    }
}

// Of what a split has to do with the shard. True: it is as it was.
static bool
take_kin(const struct map *map, struct copy *copy, const struct map_shard *shard)
{
    uint64_t ids[REPLICA_CHILDREN];
    uint32_t count = 0;
    bool same = true;
    if (shard->status == SHARD_CHILD)
        ids[count++] = shard->parent;
    for (uint32_t i = 0; shard->status == SHARD_SPLITTING && i < REPLICA_CHILDREN; i++)
        ids[count++] = shard->children[i];
    for (uint32_t i = 0; i < count; i++) {
        const struct map_shard *row = map_shard(map, ids[i]);
        struct copy_row *kin = &copy->kin[i];
        if (row == NULL) { // map_verify says that there is one
            count = 0;
            break;
        }
        same = same && kin->row.id == row->id && kin->row.version == row->version;
        kin->row = *row;
        take_members(map, row, kin->members);
    }
    same = same && copy->kin_count == count;
    copy->kin_count = count;
    return same;
}

static void
take_row(const struct map *map, struct copy *copy, const struct map_shard *shard)
{
    const bool same = take_kin(map, copy, shard);
    copy->named = true;
    copy->told = copy->told && same && copy->row.version == shard->version;
    copy->row = *shard;
    take_members(map, shard, copy->members);
}

bool
copy_is_empty(const struct copy *copy)
{
    return !copy->made || (copy->replica.last_seq == 0 && copy->replica.promised == 0);
}

// The environment for a pending copy: made for it, and so empty. What an earlier one holds is of no use.
static struct copy *
fresh_for(const struct copies *copies, uint64_t shard)
{
    for (uint32_t i = 0; i < copies->count; i++) {
        struct copy *copy = copies->rows[i];
        if (copy->env.shard == shard && copy_is_empty(copy))
            return copy;
    }
    return NULL;
}

static struct copy *
awaited_for(const struct copies *copies, uint64_t shard)
{
    for (uint32_t i = 0; i < copies->count; i++)
        if (copies->rows[i]->awaited && copies->rows[i]->env.shard == shard)
            return copies->rows[i];
    return NULL;
}

static bool
is_newer(const struct copies *copies, uint64_t shard)
{
    for (uint32_t i = 0; i < copies->count; i++)
        if (copies->rows[i]->env.shard == shard &&
            copies->rows[i]->env.position > copies->map_position)
            return true;
    return false;
}

static void
add_gap(struct copies *copies, struct copy_gap gap)
{
    if (copies->gap_count < COPIES_GAPS_MAX) // else a later map has it
        copies->gaps[copies->gap_count++] = gap;
}

// The map is as new as a lease is that was asked for after a copy was filled, and so newer than the one by which it was. Where it has a
// pending copy none the less, that is another: the one that was filled went, by maps that nobody has shown here.
void
copies_expect_no_more(struct copies *copies)
{
    for (uint32_t i = 0; i < copies->count; i++) {
        struct copy *copy = copies->rows[i];
        if (!copy->expected || copy->filled_ns >= copies->lease_sent_ns)
            continue;
        copy->expected = copy->awaited = false;
        if (fresh_for(copies, copy->env.shard) == NULL)
            add_gap(copies, (struct copy_gap){.shard = copy->env.shard});
    }
}

static void
read_shard(struct copies *copies, const struct map *map, const struct map_shard *shard)
{
    const struct map_replica *here = shard_replica_on(shard, copies->node);
    if (here == NULL)
        return;
    const bool pending = here->role == MAP_REPLICA_PENDING;
    struct copy *copy =
        pending ? fresh_for(copies, shard->id) : (struct copy *)copies_find(copies, here->uuid);
    struct copy *awaited = pending ? awaited_for(copies, shard->id) : NULL;
    if (copy != NULL) {
        copy->awaited = pending;
        take_row(map, copy, shard);
    } else if (awaited != NULL)
        awaited->expected = true;
    else if (!is_newer(copies, shard->id))
        add_gap(copies, (struct copy_gap){shard->id, shard->cfg_ver, here->uuid});
}

void
copies_read_map(struct copies *copies, const struct map *map)
{
    const struct map_node *own = map_node_by_uuid(map, copies->config.node);
    copies->map_version = map->version;
    copies->map_position = map->position;
    copies->node = own != NULL ? own->number : 0;
    copies->shrink_ms =
        copies->config.shrink_ms > 0 ? copies->config.shrink_ms : map_lease_times(map).shrink_ms;
    copies->gap_count = 0;
    for (uint32_t i = 0; i < copies->count; i++)
        copies->rows[i]->named = copies->rows[i]->expected = false;
    for (uint32_t i = 0; i < map->shard_count && own != NULL; i++)
        read_shard(copies, map, &map->shards[i]);
}

static struct replica_uuid
replica_uuid_of(struct cluster_uuid uuid)
{
    return (struct replica_uuid){uuid.high, uuid.low};
}

// Of one role, as many as fit beside the `taken` others.
static uint32_t
take_uuids(const struct map_shard *row, uint8_t role, uint32_t taken, struct replica_uuid *uuids)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < row->replica_count; i++)
        if (row->replicas[i].role == role && taken + count < REPLICA_MEMBERS_MAX)
            uuids[count++] = replica_uuid_of(row->replicas[i].uuid);
    return count;
}

static void
take_child(const struct map_shard *row, struct replica_child *child)
{
    *child = (struct replica_child){.shard = row->id, .cfg_ver = row->cfg_ver};
    child->in_sync_count = take_uuids(row, MAP_REPLICA_IN_SYNC, 0, child->in_sync);
    child->learner_count =
        take_uuids(row, MAP_REPLICA_LEARNER, child->in_sync_count, child->learners);
    for (uint32_t i = 0; i < row->replica_count; i++)
        child->unborn += row->replicas[i].role == MAP_REPLICA_PENDING;
}

// A copy of a child has its parent's primary until the cut; beside it, in sync are those that the child has so.
bool
copy_meta(const struct copy *copy, struct replica_meta *meta)
{
    const struct map_shard *row = &copy->row;
    const bool child = row->status == SHARD_CHILD && copy->kin_count > 0;
    const struct map_shard *lead = child ? &copy->kin[0].row : row;
    *meta = (struct replica_meta){.cfg_ver = row->cfg_ver + (child ? lead->cfg_ver : 0),
                                  .term = lead->term,
                                  .primary = replica_uuid_of(lead->primary),
                                  .primary_boot = lead->primary_boot,
                                  .min_insync = row->min_insync,
                                  .retired = row->status == SHARD_RETIRED};
    if (child)
        meta->in_sync[meta->in_sync_count++] = meta->primary;
    meta->in_sync_count += take_uuids(row, MAP_REPLICA_IN_SYNC, meta->in_sync_count,
                                      meta->in_sync + meta->in_sync_count);
    meta->learner_count = take_uuids(row, MAP_REPLICA_LEARNER, meta->in_sync_count, meta->learners);
    for (uint32_t i = 0; !child && i < copy->kin_count; i++)
        take_child(&copy->kin[i].row, &meta->children[meta->child_count++]);
    return shard_replica(lead, lead->primary) != NULL && !uuid_is_none(lead->primary);
}

static struct cluster_uuid
node_of(const struct copy_member *members, uint32_t count, struct replica_uuid uuid)
{
    for (uint32_t i = 0; i < count; i++)
        if (replica_uuid_equal(replica_uuid_of(members[i].uuid), uuid))
            return members[i].node;
    return (struct cluster_uuid){0};
}

struct cluster_uuid
copy_node_of(const struct copy *copy, struct replica_uuid uuid)
{
    struct cluster_uuid node = node_of(copy->members, copy->row.replica_count, uuid);
    for (uint32_t i = 0; i < copy->kin_count && uuid_is_none(node); i++)
        node = node_of(copy->kin[i].members, copy->kin[i].row.replica_count, uuid);
    return node;
}
