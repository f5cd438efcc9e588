// tests/lib/random_command.h -- commands drawn at random: mostly sensible ones, some hostile.
//
// Shape: shell. Each draw is a statement: in what order the values of a list are worked out is the compiler's choice.
#ifndef OMEN_TESTS_RANDOM_COMMAND_H
#define OMEN_TESTS_RANDOM_COMMAND_H
#include <string.h>

#include "base/prng.h"
#include "cluster/command.h"

static inline uint64_t
random_near(struct prng *prng, uint64_t next)
{
    switch (prng_below(prng, 8)) {
    case 0:
        return prng_next(prng);
    case 1:
        return VERSION_ANY;
    default:
        return next == 0 ? 0 : prng_next(prng) % (next + 1);
    }
}

static inline struct map_name
random_name(struct prng *prng)
{
    struct map_name name = {0};
    name.count = 1;
    name.bytes[0] = (char)('a' + prng_below(prng, 6));
    return name;
}

static inline struct shard_step
random_step(struct prng *prng, const struct map *map)
{
    struct shard_step step = {.kind = (uint8_t)(1 + prng_below(prng, STEP_KINDS_END - 1))};
    const struct map_shard *shard =
        map->shard_count > 0 ? &map->shards[prng_below(prng, map->shard_count)] : NULL;
    step.shard = shard != NULL && prng_below(prng, 20) > 0 ? shard->id : prng_next(prng);
    step.cfg_ver = shard != NULL && prng_below(prng, 10) > 0 ? shard->cfg_ver : prng_next(prng);
    step.node = 1 + prng_below(prng, 8);
    step.from = 1 + prng_below(prng, 8);
    step.replica = (struct cluster_uuid){0, prng_below(prng, 5) > 0 ? prng_next(prng) : 0};
    if (shard != NULL && shard->replica_count > 0 && prng_below(prng, 4) > 0)
        step.replica = shard->replicas[prng_below(prng, shard->replica_count)].uuid;
    if (step.kind == STEP_BORN)
        step.replica = (struct cluster_uuid){0, 1 + prng_below(prng, 1000)};
    step.value = prng_next(prng);
    for (uint32_t i = 0; i < 2 && shard != NULL; i++) {
        const struct map_shard *child = map_shard(map, shard->children[i]);
        step.child_cfg_ver[i] = child != NULL ? child->cfg_ver : 0;
    }
    return step;
}

static inline void
random_quotas(struct prng *prng, uint64_t quotas[MAP_QUOTAS])
{
    for (uint32_t i = 0; i < MAP_QUOTAS; i++)
        if (prng_below(prng, 3) == 0)
            quotas[i] = prng_next(prng);
}

// The bodies that have nothing to do with nodes and shards.
static inline void
random_rest(struct prng *prng, const struct map *map, struct command *command)
{
    switch (command->kind) {
    case COMMAND_JOB_CREATE:
    case COMMAND_JOB_CLAIM:
    case COMMAND_JOB_RENEW:
    case COMMAND_JOB_END:
        command->job.job = random_near(prng, map->next_id);
        command->job.expected = VERSION_ANY;
        command->job.shard = random_near(prng, map->next_id);
        command->job.owner = prng_below(prng, 5);
        command->job.lease_ms = prng_below(prng, 10000);
        command->job.kind = (uint8_t)prng_below(prng, 5);
        command->job.state = (uint8_t)prng_below(prng, 5);
        break;
    case COMMAND_JOB_CANCEL:
        command->job.job = random_near(prng, map->next_id);
        command->job.expected = random_near(prng, map->version);
        command->job.state = prng_below(prng, 2) > 0 ? JOB_CANCELLED : 0;
        break;
    case COMMAND_KEY_PUT:
    case COMMAND_KEY_DROP:
        command->key.expected = random_near(prng, map->version);
        command->key.name = random_name(prng);
        if (command->kind == COMMAND_KEY_PUT) {
            command->key.glob = random_name(prng);
            command->key.role = KEY_WRITE;
            command->key.rate = prng_below(prng, 2);
        }
        break;
    case COMMAND_SETTING_PUT:
    case COMMAND_SETTING_DROP:
        command->setting.expected = random_near(prng, map->version);
        command->setting.name = random_name(prng);
        break;
    case COMMAND_FEATURES:
        command->features = prng_below(prng, 4);
        break;
    case COMMAND_LEASE_PROFILE:
    case COMMAND_LEASE_SETTLE:
        command->lease.expected = random_near(prng, map->version);
        command->lease.profile = (uint8_t)(1 + prng_below(prng, 2));
        break;
    default:
        break;
    }
}

static inline void
random_body(struct prng *prng, const struct map *map, struct command *command)
{
    const struct cluster_uuid uuid = {0, 1 + prng_below(prng, 10)};
    switch (command->kind) {
    case COMMAND_NODE_REGISTER:
        command->node.uuid = uuid;
        command->node.boot = prng_below(prng, 50);
        command->node.process = prng_next(prng);
        command->node.features = prng_next(prng) | 3;
        command->node.weight = (uint16_t)prng_below(prng, 5);
        command->node.roles = (uint8_t)prng_below(prng, 8);
        command->node.zone = random_name(prng);
        break;
    case COMMAND_NODE_STATE:
    case COMMAND_NODE_FORGET:
        command->node_state.expected = random_near(prng, map->version);
        command->node_state.node = 1 + prng_below(prng, 8);
        command->node_state.state = (uint8_t)prng_below(prng, 5);
        break;
    case COMMAND_COLLECTION_CREATE:
        command->collection.name = random_name(prng);
        command->collection.dimension = prng_below(prng, 100);
        command->collection.shards = prng_below(prng, 5);
        command->collection.replication = (uint8_t)(1 + prng_below(prng, MAP_REPLICATION_MAX));
        command->collection.min_insync = (uint8_t)prng_below(prng, 3);
        random_quotas(prng, command->collection.quotas);
        break;
    case COMMAND_COLLECTION_ALTER:
    case COMMAND_COLLECTION_DROP:
        command->alter.collection = random_near(prng, map->next_id);
        command->alter.expected = random_near(prng, map->version);
        command->alter.replication = (uint8_t)prng_below(prng, 4);
        command->alter.min_insync = (uint8_t)prng_below(prng, 3);
        if (command->kind == COMMAND_COLLECTION_ALTER)
            random_quotas(prng, command->alter.quotas);
        break;
    case COMMAND_COLLECTION_IDS:
        command->ids.collection = random_near(prng, map->next_id);
        command->ids.kind = (uint8_t)(MAP_IDS_INTEGER + prng_below(prng, 2));
        break;
    case COMMAND_ALIASES:
        command->aliases.count = prng_below(prng, 4);
        for (uint32_t i = 0; i < command->aliases.count; i++) {
            struct alias_change *change = &command->aliases.changes[i];
            change->name = random_name(prng);
            change->collection = random_near(prng, map->next_id);
            change->expected = VERSION_ANY;
        }
        break;
    case COMMAND_STEPS:
        command->steps.count = prng_below(prng, 6);
        for (uint32_t i = 0; i < command->steps.count; i++)
            command->steps.steps[i] = random_step(prng, map);
        break;
    default:
        random_rest(prng, map, command);
        break;
    }
}

// One that encodes.
static inline void
random_command(struct prng *prng, const struct map *map, struct command *command)
{
    memset(command, 0, sizeof *command);
    command->kind = (uint8_t)(1 + prng_below(prng, COMMAND_KINDS_END - 1));
    if (prng_below(prng, 2) > 0)
        command->kind = COMMAND_STEPS;
    command->time_ms = map->clock_ms + prng_below(prng, 1000);
    if (prng_below(prng, 3) == 0)
        command->op = (struct cluster_uuid){map->clock_ms << 16, 1 + prng_below(prng, 100)};
    random_body(prng, map, command);
}

#endif
