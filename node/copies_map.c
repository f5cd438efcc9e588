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
// was known before this start, of which some that are newer than the environment had the pending copy still.
bool
copy_may_go(const struct copies *copies, const struct copy *copy)
{
    return !copy->named && copies->current && copies->map_version > 0 &&
           copies->map_position > copy->env.position;
}

static void
take_row(const struct map *map, struct copy *copy, const struct shard *shard)
{
    copy->named = true;
    copy->told = copy->told && copy->row.version == shard->version;
    copy->row = *shard;
    for (uint32_t i = 0; i < shard->replica_count; i++) {
        const struct map_node *node = map_node(map, shard->replicas[i].node);
        copy->members[i] = (struct copy_member){
            shard->replicas[i].uuid, node != NULL ? node->uuid : (struct cluster_uuid){0}};
    }
}

// The environment for a pending copy: made for it, and so empty. What an earlier one holds is of no use.
static struct copy *
fresh_for(const struct copies *copies, uint64_t shard)
{
    for (uint32_t i = 0; i < copies->count; i++) {
        struct copy *copy = copies->rows[i];
        if (copy->env.shard == shard &&
            (!copy->made || (copy->replica.last_seq == 0 && copy->replica.promised == 0)))
            return copy;
    }
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
read_shard(struct copies *copies, const struct map *map, const struct shard *shard)
{
    const struct map_replica *here = shard_replica_on(shard, copies->node);
    if (here == NULL)
        return;
    const bool pending = here->role == MAP_REPLICA_PENDING;
    struct copy *copy =
        pending ? fresh_for(copies, shard->id) : (struct copy *)copies_find(copies, here->uuid);
    if (copy != NULL)
        take_row(map, copy, shard);
    else if (copies->gap_count < COPIES_GAPS_MAX && !is_newer(copies, shard->id))
        copies->gaps[copies->gap_count++] =
            (struct copy_gap){shard->id, shard->cfg_ver, here->uuid};
}

void
copies_read_map(struct copies *copies, const struct map *map)
{
    const struct map_node *own = map_node_by_uuid(map, copies->config.node);
    copies->map_version = map->version;
    copies->map_position = map->position;
    copies->node = own != NULL ? own->number : 0;
    copies->shrink_ms = map_lease_times(map).shrink_ms;
    copies->gap_count = 0;
    for (uint32_t i = 0; i < copies->count; i++)
        copies->rows[i]->named = false;
    for (uint32_t i = 0; i < map->shard_count && own != NULL; i++)
        read_shard(copies, map, &map->shards[i]);
}

static struct replica_uuid
replica_uuid_of(struct cluster_uuid uuid)
{
    return (struct replica_uuid){uuid.high, uuid.low};
}

bool
copy_meta(const struct copy *copy, struct replica_meta *meta)
{
    const struct shard *row = &copy->row;
    *meta = (struct replica_meta){.cfg_ver = row->cfg_ver,
                                  .term = row->term,
                                  .primary = replica_uuid_of(row->primary),
                                  .primary_boot = row->primary_boot,
                                  .min_insync = row->min_insync};
    const struct map_replica *primary = shard_replica(row, row->primary);
    for (uint32_t i = 0; i < row->replica_count; i++) {
        const struct map_replica *replica = &row->replicas[i];
        if (replica->role == MAP_REPLICA_IN_SYNC && meta->in_sync_count < REPLICA_MEMBERS_MAX)
            meta->in_sync[meta->in_sync_count++] = replica_uuid_of(replica->uuid);
    }
    for (uint32_t i = 0; i < row->replica_count; i++) {
        const struct map_replica *replica = &row->replicas[i];
        if (replica->role == MAP_REPLICA_LEARNER &&
            meta->in_sync_count + meta->learner_count < REPLICA_MEMBERS_MAX)
            meta->learners[meta->learner_count++] = replica_uuid_of(replica->uuid);
    }
    return primary != NULL && !uuid_is_none(row->primary);
}

struct cluster_uuid
copy_node_of(const struct copy *copy, struct replica_uuid uuid)
{
    for (uint32_t i = 0; i < copy->row.replica_count; i++)
        if (replica_uuid_equal(replica_uuid_of(copy->members[i].uuid), uuid))
            return copy->members[i].node;
    return (struct cluster_uuid){0};
}
