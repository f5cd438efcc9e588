// cluster/command_codec.c -- a command as bytes: format, op_id, time, kind, and the fields of its kind.
//
// Shape: value.
//
// What is newer than the format's first version makes a command one of the second, where it is not zero: a program that does not know it
// refuses that as a newer one, and all else stays as it was.
#include <string.h>

#include "base/assert.h"
#include "cluster/command_int.h"

#define COMMAND_FORMAT 2u // the newest

static const char *const kind_names[COMMAND_KINDS_END] = {
    [COMMAND_TICK] = "tick",
    [COMMAND_NODE_REGISTER] = "node-register",
    [COMMAND_NODE_STATE] = "node-state",
    [COMMAND_NODE_FORGET] = "node-forget",
    [COMMAND_COLLECTION_CREATE] = "collection-create",
    [COMMAND_COLLECTION_ALTER] = "collection-alter",
    [COMMAND_COLLECTION_DROP] = "collection-drop",
    [COMMAND_ALIASES] = "aliases",
    [COMMAND_STEPS] = "steps",
    [COMMAND_JOB_CREATE] = "job-create",
    [COMMAND_JOB_CLAIM] = "job-claim",
    [COMMAND_JOB_RENEW] = "job-renew",
    [COMMAND_JOB_END] = "job-end",
    [COMMAND_KEY_PUT] = "key-put",
    [COMMAND_KEY_DROP] = "key-drop",
    [COMMAND_SETTING_PUT] = "setting-put",
    [COMMAND_SETTING_DROP] = "setting-drop",
    [COMMAND_FEATURES] = "features",
    [COMMAND_LEASE_PROFILE] = "lease-profile",
    [COMMAND_LEASE_SETTLE] = "lease-settle",
    [COMMAND_CLOCK_SET] = "clock-set",
    [COMMAND_JOB_CANCEL] = "job-cancel",
    [COMMAND_COLLECTION_IDS] = "collection-ids",
};

enum { TAKES_NODE = 1, TAKES_FROM = 2, TAKES_REPLICA = 4, TAKES_VALUE = 8, TAKES_CHILDREN = 16 };

// Which fields a step has; the others are not encoded, and zero.
static const struct {
    const char *name;
    uint8_t takes;
} step_kinds[STEP_KINDS_END] = {
    [STEP_ASSIGN] = {"assign", TAKES_NODE},
    [STEP_MOVE] = {"move", TAKES_NODE | TAKES_FROM},
    [STEP_KEEP] = {"keep", TAKES_NODE},
    [STEP_BORN] = {"born", TAKES_NODE | TAKES_REPLICA},
    [STEP_ADD] = {"add", TAKES_REPLICA},
    [STEP_REMOVE] = {"remove", TAKES_REPLICA},
    [STEP_DROP] = {"drop", TAKES_NODE},
    [STEP_LOST] = {"lost", TAKES_REPLICA},
    [STEP_PROMOTE] = {"promote", TAKES_REPLICA},
    [STEP_TRANSFER] = {"transfer", TAKES_REPLICA},
    [STEP_PREFER] = {"prefer", TAKES_REPLICA},
    [STEP_FORCE] = {"force", TAKES_REPLICA},
    [STEP_SPLIT] = {"split", TAKES_VALUE},
    [STEP_CUT] = {"cut", TAKES_VALUE | TAKES_CHILDREN},
    [STEP_ABORT] = {"abort", 0},
    [STEP_PURGE] = {"purge", 0},
};

static void command_fields(struct codec *codec, struct command *command, uint8_t format);
static void body_fields(struct codec *codec, struct command *command, uint8_t format);

const char *
command_kind_name(uint8_t kind)
{
    return kind > 0 && kind < COMMAND_KINDS_END ? kind_names[kind] : "?";
}

const char *
step_kind_name(uint8_t kind)
{
    return kind > 0 && kind < STEP_KINDS_END ? step_kinds[kind].name : "?";
}

static bool
has_newer(const struct command *command)
{
    switch (command->kind) {
    case COMMAND_COLLECTION_CREATE:
        return quotas_any(command->collection.quotas);
    case COMMAND_COLLECTION_ALTER:
        return quotas_any(command->alter.quotas);
    case COMMAND_KEY_PUT:
        return command->key.rate != 0;
    case COMMAND_JOB_CANCEL:
        return command->job.state == JOB_CANCELLED;
    default:
        return false;
    }
}

static uint8_t
format_of(const struct command *command)
{
    return has_newer(command) ? 2 : 1;
}

omen_status
command_encode(const struct command *command, uint8_t *bytes, size_t capacity, size_t *count)
{
    struct codec codec = {.out = bytes, .end = capacity, .way = CODEC_WRITE};
    uint8_t format = format_of(command);
    *count = 0;
    codec_u8(&codec, &format, 1, COMMAND_FORMAT);
    command_fields(&codec, (struct command *)command, format); // writing changes nothing in it
    if (codec.failed)
        return codec.full ? OMEN_E_NO_MEMORY : OMEN_E_INVALID;
    ASSERT(codec.at <= COMMAND_BYTES_MAX);
    *count = codec.at;
    return OMEN_OK;
}

omen_status
command_decode(const void *bytes, size_t count, struct command *out)
{
    size_t body_at;
    return command_decode_body(bytes, count, out, &body_at);
}

omen_status
command_decode_body(const void *bytes, size_t count, struct command *out, size_t *body_at)
{
    struct codec codec = {.in = bytes, .end = count, .way = CODEC_READ};
    uint8_t format = 0;
    *body_at = 0;
    memset(out, 0, sizeof *out); // padding included
    codec_u8(&codec, &format, 1, UINT8_MAX);
    if (!codec.failed && format > COMMAND_FORMAT)
        return OMEN_E_VERSION;
    codec_uuid(&codec, &out->op);
    codec_u64(&codec, &out->time_ms, COMMAND_TIME_MAX);
    *body_at = codec.at;
    codec_u8(&codec, &out->kind, 1, UINT8_MAX);
    if (!codec.failed && out->kind >= COMMAND_KINDS_END) {
        out->kind = 0;
        return OMEN_E_VERSION;
    }
    if (!codec.failed)
        body_fields(&codec, out, format);
    if (!codec.failed && codec.at == codec.end && format == format_of(out))
        return OMEN_OK;
    memset(out, 0, sizeof *out);
    return OMEN_E_CORRUPT;
}

static void
command_fields(struct codec *codec, struct command *command, uint8_t format)
{
    codec_uuid(codec, &command->op);
    codec_u64(codec, &command->time_ms, COMMAND_TIME_MAX);
    codec_u8(codec, &command->kind, 1, COMMAND_KINDS_END - 1);
    if (!codec->failed)
        body_fields(codec, command, format);
}

void
codec_node_facts(struct codec *codec, uint64_t *features, uint16_t *weight, uint8_t *roles,
                 struct map_name *zone, struct map_text *addresses)
{
    codec_u64(codec, features, UINT64_MAX);
    codec_u16(codec, weight, MAP_WEIGHT_MAX);
    codec_u8(codec, roles, 0, NODE_ROLES_ALL);
    codec_name(codec, zone);
    for (uint32_t i = 0; i < NODE_ADDRESSES; i++)
        codec_text(codec, &addresses[i]);
}

static void
node_fields(struct codec *codec, struct command_node *node)
{
    codec_uuid(codec, &node->uuid);
    codec_u64(codec, &node->boot, UINT64_MAX);
    codec_u64(codec, &node->process, UINT64_MAX);
    codec_node_facts(codec, &node->features, &node->weight, &node->roles, &node->zone,
                     node->addresses);
}

void
codec_quotas(struct codec *codec, uint64_t quotas[MAP_QUOTAS])
{
    for (uint32_t i = 0; i < MAP_QUOTAS; i++)
        codec_u64(codec, &quotas[i], UINT64_MAX);
}

static void
collection_fields(struct codec *codec, struct command_collection *collection, uint8_t format)
{
    codec_name(codec, &collection->name);
    codec_u32(codec, &collection->dimension, MAP_DIMENSION_MAX);
    codec_u32(codec, &collection->shards, MAP_COLLECTION_SHARDS_MAX);
    codec_u16(codec, &collection->links_max, UINT16_MAX);
    codec_u16(codec, &collection->build_beam, UINT16_MAX);
    codec_u8(codec, &collection->metric, 0, UINT8_MAX);
    codec_u8(codec, &collection->dtype, 0, UINT8_MAX);
    codec_u8(codec, &collection->quantization, 0, UINT8_MAX);
    codec_u8(codec, &collection->replication, 1, MAP_REPLICATION_MAX);
    codec_u8(codec, &collection->min_insync, 0, MAP_REPLICATION_MAX);
    if (format >= 2)
        codec_quotas(codec, collection->quotas);
}

static void
alter_fields(struct codec *codec, struct command_alter *alter, uint8_t format)
{
    codec_u64(codec, &alter->collection, UINT64_MAX);
    codec_u64(codec, &alter->expected, UINT64_MAX);
    codec_u8(codec, &alter->replication, 0, MAP_REPLICATION_MAX);
    codec_u8(codec, &alter->min_insync, 0, MAP_REPLICATION_MAX);
    if (format >= 2)
        codec_quotas(codec, alter->quotas);
}

static void
alias_fields(struct codec *codec, struct command_aliases *aliases)
{
    codec_u32(codec, &aliases->count, COMMAND_ALIASES_MAX);
    for (uint32_t i = 0; i < aliases->count && !codec->failed; i++) {
        codec_name(codec, &aliases->changes[i].name);
        codec_u64(codec, &aliases->changes[i].collection, UINT64_MAX);
        codec_u64(codec, &aliases->changes[i].expected, UINT64_MAX);
    }
}

static void
step_fields(struct codec *codec, struct shard_step *step)
{
    codec_u8(codec, &step->kind, 1, STEP_KINDS_END - 1);
    if (codec->failed)
        return;
    const uint8_t takes = step_kinds[step->kind].takes;
    codec_u64(codec, &step->shard, UINT64_MAX);
    codec_u64(codec, &step->cfg_ver, UINT64_MAX);
    if (takes & TAKES_NODE)
        codec_u32(codec, &step->node, UINT32_MAX);
    if (takes & TAKES_FROM)
        codec_u32(codec, &step->from, UINT32_MAX);
    if (takes & TAKES_REPLICA)
        codec_uuid(codec, &step->replica);
    if (takes & TAKES_VALUE)
        codec_u64(codec, &step->value, UINT64_MAX);
    if (takes & TAKES_CHILDREN) {
        codec_u64(codec, &step->child_cfg_ver[0], UINT64_MAX);
        codec_u64(codec, &step->child_cfg_ver[1], UINT64_MAX);
    }
}

static void
job_fields(struct codec *codec, struct command_job *job)
{
    codec_u64(codec, &job->job, UINT64_MAX);
    codec_u64(codec, &job->expected, UINT64_MAX);
    codec_u64(codec, &job->shard, UINT64_MAX);
    codec_u64(codec, &job->argument, UINT64_MAX);
    codec_u64(codec, &job->lease_ms, UINT32_MAX);
    codec_u32(codec, &job->owner, UINT32_MAX);
    codec_u32(codec, &job->progress, 1000);
    codec_u8(codec, &job->kind, 0, JOB_VERIFY);
    codec_u8(codec, &job->state, 0, JOB_FAILED);
}

static void
key_fields(struct codec *codec, struct command_key *key, uint8_t kind, uint8_t format)
{
    codec_u64(codec, &key->expected, UINT64_MAX);
    codec_name(codec, &key->name);
    if (kind == COMMAND_KEY_DROP)
        return;
    codec_glob(codec, &key->glob);
    codec_u64(codec, &key->expires_ms, COMMAND_TIME_MAX);
    for (uint32_t i = 0; i < 4; i++)
        codec_fixed(codec, &key->hash_words[i]);
    codec_u8(codec, &key->role, KEY_READ, KEY_ADMIN);
    if (format >= 2)
        codec_u32(codec, &key->rate, UINT32_MAX);
}

static void
setting_fields(struct codec *codec, struct command_setting *setting, uint8_t kind)
{
    codec_u64(codec, &setting->expected, UINT64_MAX);
    codec_name(codec, &setting->name);
    if (kind == COMMAND_SETTING_PUT)
        codec_text(codec, &setting->value);
}

static void
steps_fields(struct codec *codec, struct command_steps *steps)
{
    codec_u32(codec, &steps->count, COMMAND_STEPS_MAX);
    for (uint32_t i = 0; i < steps->count && !codec->failed; i++)
        step_fields(codec, &steps->steps[i]);
}

static void
body_fields(struct codec *codec, struct command *command, uint8_t format)
{
    switch ((enum command_kind)command->kind) {
    case COMMAND_TICK:
    case COMMAND_CLOCK_SET:
    case COMMAND_KINDS_END:
        break;
    case COMMAND_NODE_REGISTER:
        node_fields(codec, &command->node);
        break;
    case COMMAND_NODE_STATE:
    case COMMAND_NODE_FORGET:
        codec_u64(codec, &command->node_state.expected, UINT64_MAX);
        codec_u32(codec, &command->node_state.node, UINT32_MAX);
        codec_u8(codec, &command->node_state.state, 0, NODE_GONE);
        break;
    case COMMAND_COLLECTION_CREATE:
        collection_fields(codec, &command->collection, format);
        break;
    case COMMAND_COLLECTION_ALTER:
    case COMMAND_COLLECTION_DROP:
        alter_fields(codec, &command->alter, format);
        break;
    case COMMAND_COLLECTION_IDS:
        codec_u64(codec, &command->ids.collection, UINT64_MAX);
        codec_u8(codec, &command->ids.kind, MAP_IDS_INTEGER, MAP_IDS_TEXT);
        break;
    case COMMAND_ALIASES:
        alias_fields(codec, &command->aliases);
        break;
    case COMMAND_STEPS:
        steps_fields(codec, &command->steps);
        break;
    case COMMAND_JOB_CREATE:
    case COMMAND_JOB_CLAIM:
    case COMMAND_JOB_RENEW:
    case COMMAND_JOB_END:
        job_fields(codec, &command->job);
        break;
    case COMMAND_JOB_CANCEL:
        codec_u64(codec, &command->job.job, UINT64_MAX);
        codec_u64(codec, &command->job.expected, UINT64_MAX);
        if (format >= 2)
            codec_u8(codec, &command->job.state, JOB_CANCELLED, JOB_CANCELLED);
        break;
    case COMMAND_KEY_PUT:
    case COMMAND_KEY_DROP:
        key_fields(codec, &command->key, command->kind, format);
        break;
    case COMMAND_SETTING_PUT:
    case COMMAND_SETTING_DROP:
        setting_fields(codec, &command->setting, command->kind);
        break;
    case COMMAND_FEATURES:
        codec_u64(codec, &command->features, UINT64_MAX);
        break;
    case COMMAND_LEASE_PROFILE:
    case COMMAND_LEASE_SETTLE:
        codec_u64(codec, &command->lease.expected, UINT64_MAX);
        codec_u8(codec, &command->lease.profile, LEASE_LAN, LEASE_FAST);
        break;
    }
}
