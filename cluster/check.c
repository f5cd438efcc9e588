// cluster/check.c -- the invariants of the map.
//
// Shape: value.
//
// A map that passes is one that every command can be applied to: a snapshot from a peer or a disk is held against this before
// anything else reads it.
#include "base/assert.h"
#include "cluster/command_int.h"
#include "cluster/session_int.h"

#define NUMBER_MAX (1ull << 62) // of versions, terms, ids: far from where adding one would run over

// Ends the function with the sentence of the first condition that does not hold.
#define HOLDS(condition, sentence)                                                                 \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return sentence;                                                                       \
    } while (0)

static const char *check_numbers(const struct map *map);
static const char *check_nodes(const struct map *map);
static const char *check_collections(const struct map *map);
static const char *check_aliases(const struct map *map);
static const char *check_shards(const struct map *map);
static const char *check_ranges(const struct map *map);
static const char *check_jobs(const struct map *map);
static const char *check_names(const struct map *map);
static const char *check_sessions(const struct map *map);

omen_status
map_verify(const struct map *map, const char **what)
{
    static const char *(*const checks[])(const struct map *) = {
        check_numbers, check_nodes, check_collections, check_aliases, check_shards,
        check_ranges,  check_jobs,  check_names,       check_sessions};
    for (uint32_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        const char *sentence = checks[i](map);
        if (what != NULL)
            *what = sentence;
        if (sentence != NULL)
            return OMEN_E_CORRUPT;
    }
    return OMEN_OK;
}

void
map_check(const struct map *map)
{
    ASSERT(map_verify(map, NULL) == OMEN_OK);
}

static const char *
check_numbers(const struct map *map)
{
    HOLDS(map->version < NUMBER_MAX, "the map's version is too large");
    HOLDS(map->next_id > 0 && map->next_id < NUMBER_MAX, "the next id is out of range");
    HOLDS(map->next_node > 0, "the next node's number is 0");
    HOLDS(map->clock_ms <= COMMAND_TIME_MAX, "the clock is too late");
    HOLDS(map->node_count <= MAP_NODES_MAX && map->collection_count <= MAP_COLLECTIONS_MAX &&
              map->alias_count <= MAP_ALIASES_MAX && map->shard_count <= MAP_SHARDS_MAX &&
              map->job_count <= MAP_JOBS_MAX && map->key_count <= MAP_KEYS_MAX &&
              map->setting_count <= MAP_SETTINGS_MAX && map->session_count <= SESSIONS_MAX,
          "too many rows");
    const struct lease_settings *leases = &map->leases;
    HOLDS(leases->profile >= LEASE_LAN && leases->profile <= LEASE_FAST &&
              leases->previous >= LEASE_LAN && leases->previous <= LEASE_FAST &&
              leases->version <= map->version,
          "no such lease profile");
    return NULL;
}

static const char *
check_nodes(const struct map *map)
{
    for (uint32_t i = 0; i < map->node_count; i++) {
        const struct map_node *node = &map->nodes[i];
        HOLDS(node->number > (i > 0 ? map->nodes[i - 1].number : 0) &&
                  node->number < map->next_node,
              "nodes are out of order");
        HOLDS(!uuid_is_none(node->uuid) && map_node_by_uuid(map, node->uuid) == node,
              "two nodes have one uuid");
        HOLDS(node->state >= NODE_JOINING && node->state <= NODE_GONE, "no such node state");
        HOLDS(node->weight > 0 && node->weight <= MAP_WEIGHT_MAX && node->roles > 0 &&
                  node->roles <= NODE_ROLES_ALL && map_name_is_valid(&node->zone),
              "a node's facts are out of range");
        HOLDS(node->version <= map->version, "a node is newer than the map");
        HOLDS(node->state == NODE_GONE || (map->features & ~node->features) == 0,
              "a node lacks a feature that is in use");
    }
    return NULL;
}

static const char *
check_collections(const struct map *map)
{
    for (uint32_t i = 0; i < map->collection_count; i++) {
        const struct map_collection *row = &map->collections[i];
        HOLDS(row->id > (i > 0 ? map->collections[i - 1].id : 0) && row->id < map->next_id,
              "collections are out of order");
        HOLDS(map_name_is_valid(&row->name) && map_collection_named(map, &row->name) == row,
              "two collections have one name");
        HOLDS(row->dimension > 0 && row->dimension <= MAP_DIMENSION_MAX && row->replication > 0 &&
                  row->replication <= MAP_REPLICATION_MAX && row->min_insync > 0 &&
                  row->min_insync <= row->replication,
              "a collection's facts are out of range");
        HOLDS(row->version <= map->version, "a collection is newer than the map");
        HOLDS(row->id_kind <= MAP_IDS_TEXT &&
                  (row->id_kind == MAP_IDS_UNKEPT || map_has(map, MAP_FEATURE_ID_KINDS)),
              "no such kind of ids");
        HOLDS(!quotas_any(row->quotas) || map_has(map, MAP_FEATURE_LIMITS),
              "a collection has a quota before its time");
    }
    return NULL;
}

static const char *
check_aliases(const struct map *map)
{
    for (uint32_t i = 0; i < map->alias_count; i++) {
        const struct map_alias *row = &map->aliases[i];
        HOLDS(map_name_is_valid(&row->name) &&
                  (i == 0 || map_name_compare(&map->aliases[i - 1].name, &row->name) < 0),
              "aliases are out of order");
        HOLDS(map_collection(map, row->collection) != NULL, "an alias names no collection");
        HOLDS(map_collection_named(map, &row->name) == NULL, "an alias hides a collection");
        HOLDS(row->version <= map->version, "an alias is newer than the map");
    }
    return NULL;
}

// ---- shards ----

static const char *
check_replicas(const struct map *map, const struct map_shard *shard)
{
    for (uint32_t i = 0; i < shard->replica_count; i++) {
        const struct map_replica *replica = &shard->replicas[i];
        HOLDS(replica->role >= MAP_REPLICA_PENDING && replica->role <= MAP_REPLICA_IN_SYNC &&
                  replica->leaving <= 1,
              "no such role of a replica");
        HOLDS((replica->role == MAP_REPLICA_PENDING) == uuid_is_none(replica->uuid),
              "a replica without a name is not pending, or one with a name is");
        const struct map_node *node = map_node(map, replica->node);
        HOLDS(node != NULL && node->state != NODE_GONE, "a replica is on a node that is gone");
        HOLDS(shard_replica_on(shard, replica->node) == replica, "two replicas are on one node");
        HOLDS(replica->role == MAP_REPLICA_PENDING ||
                  shard_replica(shard, replica->uuid) == replica,
              "two replicas have one name");
        for (uint32_t b = 0; b < shard->barred_count; b++)
            HOLDS(!uuid_equal(shard->barred[b], replica->uuid), "a barred replica is a member");
    }
    return NULL;
}

static const char *
check_family(const struct map *map, const struct map_shard *shard)
{
    if (shard->status == SHARD_SPLITTING) {
        const struct map_shard *low = map_shard(map, shard->children[0]);
        const struct map_shard *high = map_shard(map, shard->children[1]);
        HOLDS(low != NULL && high != NULL && low->status == SHARD_CHILD &&
                  high->status == SHARD_CHILD && low->parent == shard->id &&
                  high->parent == shard->id,
              "a splitting shard has lost a child");
        HOLDS(low->first == shard->first && high->last == shard->last &&
                  low->last + 1 == high->first && low->first <= low->last,
              "two children do not make up their parent");
        HOLDS(low->collection == shard->collection && high->collection == shard->collection,
              "a child is of another collection than its parent");
    } else if (shard->status == SHARD_CHILD) {
        const struct map_shard *parent = map_shard(map, shard->parent);
        HOLDS(parent != NULL && parent->status == SHARD_SPLITTING &&
                  (parent->children[0] == shard->id || parent->children[1] == shard->id),
              "a child has no parent");
    }
    if (shard->status != SHARD_SPLITTING && shard->status != SHARD_RETIRED)
        HOLDS(shard->children[0] == 0 && shard->children[1] == 0, "a childless shard has children");
    return NULL;
}

static const char *
check_primary(const struct map_shard *shard)
{
    const bool new = shard->status == SHARD_CREATING || shard->status == SHARD_CHILD;
    HOLDS(new == (shard->term == 0), "a shard has a term before it opens, or none after");
    const struct map_replica *primary = shard_replica(shard, shard->primary);
    HOLDS(uuid_is_none(shard->primary) ||
              (!new &&primary != NULL && primary->role == MAP_REPLICA_IN_SYNC),
          "the primary is not in sync");
    HOLDS(new || shard->status == SHARD_RETIRED || shard_in_sync(shard) > 0,
          "no copy of a shard is in sync");
    const struct map_replica *wanted = shard_replica(shard, shard->wanted);
    HOLDS(uuid_is_none(shard->wanted) ||
              (wanted != NULL && wanted != primary && wanted->role == MAP_REPLICA_IN_SYNC &&
               shard->status == SHARD_OPEN),
          "the wanted primary is not in sync");
    return NULL;
}

static const char *
check_shards(const struct map *map)
{
    for (uint32_t i = 0; i < map->shard_count; i++) {
        const struct map_shard *shard = &map->shards[i];
        HOLDS(shard->id > (i > 0 ? map->shards[i - 1].id : 0) && shard->id < map->next_id,
              "shards are out of order");
        HOLDS(shard->status >= SHARD_CREATING && shard->status <= SHARD_RETIRED &&
                  shard->replica_count <= SHARD_REPLICAS_MAX &&
                  shard->barred_count <= SHARD_BARRED_MAX,
              "a shard's facts are out of range");
        HOLDS(shard->version <= map->version && shard->term < NUMBER_MAX && shard->cfg_ver > 0 &&
                  shard->cfg_ver < NUMBER_MAX,
              "a shard is newer than the map");
        const struct map_collection *collection = map_collection(map, shard->collection);
        HOLDS(collection != NULL, "a shard has no collection");
        HOLDS(shard->min_insync == collection->min_insync, "a shard has another min_insync");
        HOLDS(shard->first <= shard->last, "a shard's range is empty");
        const char *sentence = check_replicas(map, shard);
        if (sentence == NULL)
            sentence = check_primary(shard);
        if (sentence == NULL)
            sentence = check_family(map, shard);
        if (sentence != NULL)
            return sentence;
    }
    return NULL;
}

// The routed shard of a collection that begins at a hash. They mostly lie in order, so the search goes on where the last one
// ended.
static const struct map_shard *
shard_from(const struct map *map, uint64_t collection, uint64_t first, uint32_t *at)
{
    for (uint32_t i = 0; i < map->shard_count; i++) {
        const struct map_shard *shard = &map->shards[*at];
        *at = *at + 1 < map->shard_count ? *at + 1 : 0;
        if (shard->collection == collection && shard->first == first && shard_is_routed(shard))
            return shard;
    }
    return NULL;
}

// Every hash of every collection has exactly one routed shard: as many as there are, one behind the other.
static const char *
check_ranges(const struct map *map)
{
    uint32_t routed = 0, reached = 0, at = 0;
    for (uint32_t i = 0; i < map->shard_count; i++)
        routed += shard_is_routed(&map->shards[i]);
    for (uint32_t c = 0; c < map->collection_count; c++) {
        uint64_t next = 0;
        do {
            const struct map_shard *shard = shard_from(map, map->collections[c].id, next, &at);
            HOLDS(shard != NULL, "a hash has no shard");
            HOLDS(++reached <= routed, "a hash has two shards");
            next = shard->last + 1;
        } while (next != 0);
    }
    HOLDS(reached == routed, "a hash has two shards");
    return NULL;
}

// ---- the rest ----

static const char *
check_jobs(const struct map *map)
{
    for (uint32_t i = 0; i < map->job_count; i++) {
        const struct job *job = &map->jobs[i];
        HOLDS(job->id > (i > 0 ? map->jobs[i - 1].id : 0) && job->id < map->next_id,
              "jobs are out of order");
        HOLDS(job->kind >= JOB_BUILD && job->kind <= JOB_VERIFY && job->state >= JOB_WAITING &&
                  job->state <= JOB_CANCELLED && job->progress <= 1000 &&
                  job->version <= map->version &&
                  job->lease_until_ms <= COMMAND_TIME_MAX + UINT32_MAX,
              "a job's facts are out of range");
        HOLDS(job->state != JOB_CANCELLED || map_has(map, MAP_FEATURE_LIMITS),
              "a job was cancelled before its time");
        HOLDS(map_shard(map, job->shard) != NULL, "a job has no shard");
    }
    return NULL;
}

static const char *
check_names(const struct map *map)
{
    for (uint32_t i = 0; i < map->key_count; i++) {
        const struct api_key *key = &map->keys[i];
        HOLDS(map_name_is_valid(&key->name) &&
                  (i == 0 || map_name_compare(&map->keys[i - 1].name, &key->name) < 0),
              "keys are out of order");
        HOLDS(key->rate == 0 || map_has(map, MAP_FEATURE_LIMITS),
              "a key has a rate before its time");
        HOLDS(key->role >= KEY_READ && key->role <= KEY_ADMIN && key->version <= map->version,
              "a key's facts are out of range");
    }
    for (uint32_t i = 0; i < map->setting_count; i++) {
        const struct setting *setting = &map->settings[i];
        HOLDS(map_name_is_valid(&setting->name) &&
                  (i == 0 || map_name_compare(&map->settings[i - 1].name, &setting->name) < 0),
              "settings are out of order");
        HOLDS(setting->version <= map->version, "a setting is newer than the map");
    }
    return NULL;
}

static const char *
check_sessions(const struct map *map)
{
    for (uint32_t i = 0; i < map->session_count; i++) {
        const struct session *session = &map->sessions[i];
        HOLDS(!uuid_is_none(session->op) && session->applied_ms <= map->clock_ms &&
                  (i == 0 || map->sessions[i - 1].applied_ms <= session->applied_ms),
              "sessions are out of order");
    }
    return NULL;
}
