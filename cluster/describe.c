// cluster/describe.c -- the map as text, for scripts and for people who look for a mistake.
//
// Shape: value.
#include "base/text.h"
#include "cluster/map.h"

static const char *const node_states[] = {"?", "joining", "up", "draining", "gone"};
static const char *const replica_roles[] = {"?", "pending", "learner", "in-sync"};
static const char *const id_kinds[] = {"", " ids=open", " ids=integer", " ids=text"};
static const char *const shard_states[] = {"?",         "creating", "open",
                                           "splitting", "child",    "retired"};
static const char *const job_kinds[] = {"?", "build", "move", "split", "verify"};
static const char *const job_states[] = {"?", "waiting", "running", "done", "failed", "cancelled"};
static const char *const quota_names[MAP_QUOTAS] = {
    [QUOTA_MEMORY] = "memory", [QUOTA_DISK] = "disk"};
static const char *const key_roles[] = {"?", "read", "write", "manage", "admin"};

static void describe_shard(struct text *text, const struct map_shard *shard);

static void
add_name(struct text *text, const struct map_name *name)
{
    text_add_bytes(text, name->bytes, name->count);
}

static void
add_uuid(struct text *text, struct cluster_uuid uuid)
{
    if (uuid.high == 0)
        text_add(text, "%llx", (unsigned long long)uuid.low);
    else
        text_add(text, "%016llx%016llx", (unsigned long long)uuid.high,
                 (unsigned long long)uuid.low);
}

static void
describe_nodes(struct text *text, const struct map *map)
{
    for (uint32_t i = 0; i < map->node_count; i++) {
        const struct map_node *node = &map->nodes[i];
        text_add(text, "node %u %s zone=", node->number, node_states[node->state]);
        add_name(text, &node->zone);
        text_add(text, " weight=%u roles=%s%s%s boot=%llu v=%llu\n", node->weight,
                 node->roles & NODE_DATA ? "d" : "", node->roles & NODE_ROUTER ? "r" : "",
                 node->roles & NODE_BUILDER ? "b" : "", (unsigned long long)node->boot,
                 (unsigned long long)node->version);
    }
}

static void
describe_names(struct text *text, const struct map *map)
{
    for (uint32_t i = 0; i < map->collection_count; i++) {
        const struct map_collection *row = &map->collections[i];
        text_add(text, "collection %llu ", (unsigned long long)row->id);
        add_name(text, &row->name);
        text_add(text, " dim=%u rf=%u min=%u%s", row->dimension, row->replication, row->min_insync,
                 id_kinds[row->id_kind]);
        for (uint32_t k = 0; k < MAP_QUOTAS; k++)
            if (row->quotas[k] != 0)
                text_add(text, " %s=%llu", quota_names[k], (unsigned long long)row->quotas[k]);
        text_add(text, " v=%llu\n", (unsigned long long)row->version);
    }
    for (uint32_t i = 0; i < map->alias_count; i++) {
        text_add(text, "alias ");
        add_name(text, &map->aliases[i].name);
        text_add(text, " -> %llu\n", (unsigned long long)map->aliases[i].collection);
    }
}

static void
describe_rest(struct text *text, const struct map *map)
{
    for (uint32_t i = 0; i < map->job_count; i++) {
        const struct job *job = &map->jobs[i];
        text_add(text, "job %llu %s of %llu %s owner=%u attempts=%u %u/1000 v=%llu\n",
                 (unsigned long long)job->id, job_kinds[job->kind], (unsigned long long)job->shard,
                 job_states[job->state], job->owner, job->attempts, job->progress,
                 (unsigned long long)job->version);
    }
    for (uint32_t i = 0; i < map->key_count; i++) {
        text_add(text, "key ");
        add_name(text, &map->keys[i].name);
        text_add(text, " %s ", key_roles[map->keys[i].role]);
        add_name(text, &map->keys[i].glob);
        if (map->keys[i].rate != 0)
            text_add(text, " rate=%u", map->keys[i].rate);
        text_add(text, " v=%llu\n", (unsigned long long)map->keys[i].version);
    }
    for (uint32_t i = 0; i < map->setting_count; i++) {
        const struct setting *setting = &map->settings[i];
        text_add(text, "setting ");
        add_name(text, &setting->name);
        text_add(text, "=");
        text_add_bytes(text, setting->value.bytes, setting->value.count);
        text_add(text, " v=%llu\n", (unsigned long long)setting->version);
    }
}

void
map_describe(const struct map *map, char *bytes, size_t capacity)
{
    struct text text;
    text_init(&text, bytes, capacity);
    text_add(&text, "map v=%llu position=%llu clock=%llu sessions=%u",
             (unsigned long long)map->version, (unsigned long long)map->position,
             (unsigned long long)map->clock_ms, map->session_count);
    text_add(&text, " features=%llx lease=%s%s\n", (unsigned long long)map->features,
             map->leases.profile == LEASE_LAN ? "lan" : "fast",
             map->leases.profile == map->leases.previous ? "" : " (unsettled)");
    describe_nodes(&text, map);
    describe_names(&text, map);
    for (uint32_t i = 0; i < map->shard_count; i++)
        describe_shard(&text, &map->shards[i]);
    describe_rest(&text, map);
}

// The range by its first 16 bits, which is enough to tell shards apart.
static void
describe_shard(struct text *text, const struct map_shard *shard)
{
    text_add(text, "shard %llu of %llu %04llx..%04llx %s term=%llu cfg=%llu min=%u v=%llu:",
             (unsigned long long)shard->id, (unsigned long long)shard->collection,
             (unsigned long long)(shard->first >> 48), (unsigned long long)(shard->last >> 48),
             shard_states[shard->status], (unsigned long long)shard->term,
             (unsigned long long)shard->cfg_ver, shard->min_insync,
             (unsigned long long)shard->version);
    for (uint32_t i = 0; i < shard->replica_count; i++) {
        const struct map_replica *replica = &shard->replicas[i];
        text_add(text, " n%u=", replica->node);
        if (replica->role != MAP_REPLICA_PENDING)
            add_uuid(text, replica->uuid);
        if (replica->role != MAP_REPLICA_IN_SYNC)
            text_add(text, "(%s)", replica_roles[replica->role]);
        if (replica->leaving)
            text_add(text, "(leaving)");
        if (!uuid_is_none(replica->uuid) && uuid_equal(replica->uuid, shard->primary))
            text_add(text, "*");
        if (!uuid_is_none(replica->uuid) && uuid_equal(replica->uuid, shard->wanted))
            text_add(text, "(wanted)");
    }
    if (shard->parent != 0)
        text_add(text, " parent=%llu base=%llu", (unsigned long long)shard->parent,
                 (unsigned long long)shard->base_seq);
    if (shard->unclean > 0)
        text_add(text, " unclean=%u", shard->unclean);
    for (uint32_t i = 0; i < shard->barred_count; i++) {
        text_add(text, " barred=");
        add_uuid(text, shard->barred[i]);
    }
    text_add(text, "\n");
}
