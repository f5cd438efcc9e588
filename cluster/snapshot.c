// cluster/snapshot.c -- the whole map as bytes, and back.
//
// Shape: value.
//
// A map with a feature that adds to its rows is of a format that programs without the feature refuse as a newer one (VERSION), where they
// would take its bytes for damage. Format 2: MAP_FEATURE_ID_KINDS; 3: MAP_FEATURE_LIMITS. What they add stands behind all rows.
#include "cluster/snapshot.h"

#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "cluster/command_int.h"
#include "cluster/session_int.h"

#define SNAPSHOT_FORMAT 3u // the newest
#define CHECKSUM_BYTES 8u

static void map_fields(struct codec *codec, struct map *map);

size_t
snapshot_bytes(const struct map *map)
{
    struct codec codec = {.end = SIZE_MAX, .way = CODEC_WRITE};
    map_fields(&codec, (struct map *)map); // writing changes nothing in it
    ASSERT(!codec.failed);
    return codec.at + CHECKSUM_BYTES;
}

void
snapshot_encode(const struct map *map, uint8_t *bytes, size_t capacity)
{
    ASSERT(capacity >= CHECKSUM_BYTES);
    struct codec codec = {.out = bytes, .end = capacity - CHECKSUM_BYTES, .way = CODEC_WRITE};
    map_fields(&codec, (struct map *)map);
    ASSERT(!codec.failed);
    uint64_t checksum = hash_bytes(bytes, codec.at);
    codec.end = capacity;
    codec_fixed(&codec, &checksum);
    ASSERT(!codec.failed);
}

omen_status
snapshot_decode(const void *bytes, size_t count, struct map *map)
{
    map_init(map);
    if (count <= CHECKSUM_BYTES)
        return OMEN_E_CORRUPT;
    struct codec codec = {.in = bytes, .end = count, .way = CODEC_READ};
    uint64_t checksum = 0;
    codec.at = count - CHECKSUM_BYTES;
    codec_fixed(&codec, &checksum);
    if (checksum != hash_bytes(bytes, count - CHECKSUM_BYTES))
        return OMEN_E_CORRUPT;
    codec = (struct codec){.in = bytes, .end = count - CHECKSUM_BYTES, .way = CODEC_READ};
    if (((const uint8_t *)bytes)[0] > SNAPSHOT_FORMAT)
        return OMEN_E_VERSION;
    map_fields(&codec, map);
    omen_status status = OMEN_OK;
    if (codec.full)
        status = OMEN_E_NO_MEMORY;
    else if (codec.failed || codec.at != codec.end)
        status = OMEN_E_CORRUPT;
    else
        status = map_verify(map, NULL);
    if (status != OMEN_OK) {
        map_fini(map);
        map_init(map);
    }
    return status;
}

static void
node_row(struct codec *codec, struct map_node *node)
{
    codec_u32(codec, &node->number, UINT32_MAX);
    codec_uuid(codec, &node->uuid);
    codec_u64(codec, &node->version, UINT64_MAX);
    codec_u64(codec, &node->boot, UINT64_MAX);
    codec_u64(codec, &node->process, UINT64_MAX);
    codec_u8(codec, &node->state, NODE_JOINING, NODE_GONE);
    codec_node_facts(codec, &node->features, &node->weight, &node->roles, &node->zone,
                     node->addresses);
}

static void
collection_row(struct codec *codec, struct map_collection *row)
{
    codec_u64(codec, &row->id, UINT64_MAX);
    codec_u64(codec, &row->version, UINT64_MAX);
    codec_name(codec, &row->name);
    codec_u32(codec, &row->dimension, MAP_DIMENSION_MAX);
    codec_u16(codec, &row->links_max, UINT16_MAX);
    codec_u16(codec, &row->build_beam, UINT16_MAX);
    codec_u8(codec, &row->metric, 0, UINT8_MAX);
    codec_u8(codec, &row->dtype, 0, UINT8_MAX);
    codec_u8(codec, &row->quantization, 0, UINT8_MAX);
    codec_u8(codec, &row->replication, 1, MAP_REPLICATION_MAX);
    codec_u8(codec, &row->min_insync, 1, MAP_REPLICATION_MAX);
}

static void
alias_row(struct codec *codec, struct map_alias *row)
{
    codec_name(codec, &row->name);
    codec_u64(codec, &row->collection, UINT64_MAX);
    codec_u64(codec, &row->version, UINT64_MAX);
}

static void
shard_row(struct codec *codec, struct map_shard *row)
{
    codec_u64(codec, &row->id, UINT64_MAX);
    codec_u64(codec, &row->collection, UINT64_MAX);
    codec_u64(codec, &row->first, UINT64_MAX);
    codec_u64(codec, &row->last, UINT64_MAX);
    codec_u64(codec, &row->version, UINT64_MAX);
    codec_u64(codec, &row->term, UINT64_MAX);
    codec_u64(codec, &row->cfg_ver, UINT64_MAX);
    codec_u64(codec, &row->parent, UINT64_MAX);
    codec_u64(codec, &row->base_seq, UINT64_MAX);
    codec_u64(codec, &row->children[0], UINT64_MAX);
    codec_u64(codec, &row->children[1], UINT64_MAX);
    codec_uuid(codec, &row->primary);
    codec_uuid(codec, &row->wanted);
    codec_u64(codec, &row->primary_boot, UINT64_MAX);
    codec_u32(codec, &row->unclean, UINT32_MAX);
    codec_u8(codec, &row->status, SHARD_CREATING, SHARD_RETIRED);
    codec_u8(codec, &row->min_insync, 1, MAP_REPLICATION_MAX);
    codec_u8(codec, &row->barred_count, 0, SHARD_BARRED_MAX);
    for (uint32_t i = 0; i < row->barred_count && !codec->failed; i++)
        codec_uuid(codec, &row->barred[i]);
    codec_u8(codec, &row->replica_count, 0, SHARD_REPLICAS_MAX);
    for (uint32_t i = 0; i < row->replica_count && !codec->failed; i++) {
        struct map_replica *replica = &row->replicas[i];
        codec_uuid(codec, &replica->uuid);
        codec_u32(codec, &replica->node, UINT32_MAX);
        codec_u8(codec, &replica->role, MAP_REPLICA_PENDING, MAP_REPLICA_IN_SYNC);
        codec_u8(codec, &replica->leaving, 0, 1);
    }
}

static void
job_row(struct codec *codec, struct job *row)
{
    codec_u64(codec, &row->id, UINT64_MAX);
    codec_u64(codec, &row->version, UINT64_MAX);
    codec_u64(codec, &row->shard, UINT64_MAX);
    codec_u64(codec, &row->argument, UINT64_MAX);
    codec_u64(codec, &row->lease_until_ms, UINT64_MAX);
    codec_u32(codec, &row->owner, UINT32_MAX);
    codec_u32(codec, &row->progress, 1000);
    codec_u32(codec, &row->attempts, UINT32_MAX);
    codec_u8(codec, &row->kind, JOB_BUILD, JOB_VERIFY);
    codec_u8(codec, &row->state, JOB_WAITING, JOB_CANCELLED);
}

static void
key_row(struct codec *codec, struct api_key *row)
{
    codec_name(codec, &row->name);
    codec_glob(codec, &row->glob);
    codec_u64(codec, &row->version, UINT64_MAX);
    codec_u64(codec, &row->expires_ms, COMMAND_TIME_MAX);
    for (uint32_t i = 0; i < 4; i++)
        codec_fixed(codec, &row->hash_words[i]);
    codec_u8(codec, &row->role, KEY_READ, KEY_ADMIN);
}

static void
setting_row(struct codec *codec, struct setting *row)
{
    codec_name(codec, &row->name);
    codec_text(codec, &row->value);
    codec_u64(codec, &row->version, UINT64_MAX);
}

static void
session_row(struct codec *codec, struct session *row)
{
    uint32_t refusal = (uint32_t)-row->status;
    codec_uuid(codec, &row->op);
    codec_u64(codec, &row->applied_ms, COMMAND_TIME_MAX);
    codec_fixed(codec, &row->command_hash);
    codec_u64(codec, &row->position, UINT64_MAX);
    codec_u64(codec, &row->value, UINT64_MAX);
    codec_u64(codec, &row->version, UINT64_MAX);
    codec_u32(codec, &refusal, INT32_MAX);
    codec_u32(codec, &row->applied, UINT32_MAX);
    codec_u32(codec, &row->refused, UINT32_MAX);
    if (codec_reads(codec))
        row->status = -(int32_t)refusal;
}

// Every row takes a byte at least, so what is reserved is in proportion to what was sent.
static uint32_t
row_count(struct codec *codec, uint32_t count, uint32_t limit)
{
    codec_u32(codec, &count, limit);
    if (codec_reads(codec) && count > codec->end - codec->at)
        codec_fail(codec);
    return codec->failed ? 0 : count;
}

static void
rows_reserve(struct codec *codec, struct map *map, struct map_room room)
{
    if (!codec->failed && map_reserve(map, &room) != OMEN_OK) {
        codec_fail(codec);
        codec->full = true;
    }
}

// Each array in turn: its count, then its rows.
#define ROWS(rows, count, limit, room_of, function)                                                \
    do {                                                                                           \
        const uint32_t row_total = row_count(codec, map->count, limit);                            \
        if (codec_reads(codec))                                                                    \
            rows_reserve(codec, map, (struct map_room){.room_of = row_total});                     \
        for (uint32_t i = 0; i < row_total && !codec->failed; i++) {                               \
            if (codec_reads(codec))                                                                \
                memset(&map->rows[i], 0, sizeof map->rows[i]);                                     \
            function(codec, &map->rows[i]);                                                        \
            if (codec_reads(codec))                                                                \
                map->count = i + 1;                                                                \
        }                                                                                          \
    } while (0)

static uint8_t
format_of(const struct map *map)
{
    if (map_has(map, MAP_FEATURE_LIMITS))
        return 3;
    return map_has(map, MAP_FEATURE_ID_KINDS) ? 2 : 1;
}

static void
feature_fields(struct codec *codec, struct map *map)
{
    const bool id_kinds = map_has(map, MAP_FEATURE_ID_KINDS);
    const bool limits = map_has(map, MAP_FEATURE_LIMITS);
    for (uint32_t i = 0; i < map->collection_count && id_kinds; i++)
        codec_u8(codec, &map->collections[i].id_kind, MAP_IDS_UNKEPT, MAP_IDS_TEXT);
    for (uint32_t i = 0; i < map->collection_count && limits; i++)
        codec_quotas(codec, map->collections[i].quotas);
    for (uint32_t i = 0; i < map->key_count && limits; i++)
        codec_u32(codec, &map->keys[i].rate, UINT32_MAX);
}

static void
map_fields(struct codec *codec, struct map *map)
{
    uint8_t format = format_of(map);
    codec_u8(codec, &format, 1, SNAPSHOT_FORMAT);
    codec_u64(codec, &map->version, UINT64_MAX);
    codec_u64(codec, &map->position, UINT64_MAX);
    codec_u64(codec, &map->clock_ms, COMMAND_TIME_MAX);
    codec_u64(codec, &map->features, UINT64_MAX);
    if (format != format_of(map))
        codec_fail(codec);
    codec_u64(codec, &map->leases.version, UINT64_MAX);
    codec_u8(codec, &map->leases.profile, LEASE_LAN, LEASE_FAST);
    codec_u8(codec, &map->leases.previous, LEASE_LAN, LEASE_FAST);
    codec_u64(codec, &map->next_id, UINT64_MAX);
    codec_u32(codec, &map->next_node, UINT32_MAX);
    ROWS(nodes, node_count, MAP_NODES_MAX, nodes, node_row);
    ROWS(collections, collection_count, MAP_COLLECTIONS_MAX, collections, collection_row);
    ROWS(aliases, alias_count, MAP_ALIASES_MAX, aliases, alias_row);
    ROWS(shards, shard_count, MAP_SHARDS_MAX, shards, shard_row);
    ROWS(jobs, job_count, MAP_JOBS_MAX, jobs, job_row);
    ROWS(keys, key_count, MAP_KEYS_MAX, keys, key_row);
    ROWS(settings, setting_count, MAP_SETTINGS_MAX, settings, setting_row);
    ROWS(sessions, session_count, SESSIONS_MAX, sessions, session_row);
    feature_fields(codec, map);
}
