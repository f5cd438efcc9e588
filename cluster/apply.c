// cluster/apply.c -- one committed entry: decode, make room, answer a repeated one, change, record.
//
// Shape: value.
#include "cluster/apply.h"

#include <string.h>

#include "base/hash.h"
#include "cluster/apply_int.h"
#include "cluster/command_int.h"
#include "cluster/session_int.h"

static void room_for(const struct command *command, struct map_room *room);
static void apply_new(struct map *map, const struct command *command, uint64_t hash,
                      struct command_result *result);
static bool change(struct map *map, const struct command *command, struct command_result *result);
static void change_steps(struct map *map, const struct command_steps *steps,
                         struct command_result *result);
static omen_status change_one(struct map *map, const struct command *command, uint64_t *value);

omen_status
cluster_apply(struct map *map, uint64_t position, const void *bytes, size_t count,
              struct command_result *result)
{
    struct command command;
    size_t body_at;
    *result = (struct command_result){.position = position, .version = map->version};
    if (position <= map->position) {
        result->status = OMEN_E_EXISTS;
        return OMEN_OK;
    }
    if (count > 0)
        result->status = command_decode_body(bytes, count, &command, &body_at);
    if (count == 0 || result->status != OMEN_OK) {
        map->position = position;
        return OMEN_OK;
    }
    struct map_room room;
    room_for(&command, &room);
    if (map_reserve(map, &room) != OMEN_OK)
        return OMEN_E_NO_MEMORY;

    map->position = position;
    const uint64_t hash = hash_bytes((const uint8_t *)bytes + body_at, count - body_at);
    apply_new(map, &command, hash, result);
    return OMEN_OK;
}

// The most that it can add.
static void
room_for(const struct command *command, struct map_room *room)
{
    *room = (struct map_room){.sessions = 1};
    switch (command->kind) {
    case COMMAND_NODE_REGISTER:
        room->nodes = 1;
        break;
    case COMMAND_COLLECTION_CREATE:
        room->collections = 1;
        room->shards = command->collection.shards;
        break;
    case COMMAND_ALIASES:
        room->aliases = command->aliases.count;
        break;
    case COMMAND_STEPS:
        for (uint32_t i = 0; i < command->steps.count; i++)
            room->shards += command->steps.steps[i].kind == STEP_SPLIT ? 2 : 0;
        break;
    case COMMAND_JOB_CREATE:
        room->jobs = 1;
        break;
    case COMMAND_KEY_PUT:
        room->keys = 1;
        break;
    case COMMAND_SETTING_PUT:
        room->settings = 1;
        break;
    default:
        break;
    }
}

static void
apply_new(struct map *map, const struct command *command, uint64_t hash,
          struct command_result *result)
{
    if (command->kind == COMMAND_CLOCK_SET) {
        jobs_shift(map, command->time_ms);
        map->clock_ms = command->time_ms;
        map->session_count = 0;
        result->version = ++map->version;
        return; // and is not recorded: applied twice it does the same
    }
    if (command->time_ms > map->clock_ms)
        map->clock_ms = command->time_ms;
    session_expire(map);
    const bool recorded = !uuid_is_none(command->op);
    if (recorded && !session_begin(map, command, hash, result))
        return;
    if (change(map, command, result))
        map->version++;
    result->version = map->version;
    if (recorded)
        session_record(map, command, hash, result);
}

// Whether anything changed.
static bool
change(struct map *map, const struct command *command, struct command_result *result)
{
    if (command->kind == COMMAND_TICK)
        return false;
    if (command->kind == COMMAND_STEPS) {
        change_steps(map, &command->steps, result);
        return result->applied > 0;
    }
    result->status = change_one(map, command, &result->value);
    return result->status == OMEN_OK;
}

// One that comes too late does not hold up the others: they are of other shards.
static void
change_steps(struct map *map, const struct command_steps *steps, struct command_result *result)
{
    omen_status refusal = OMEN_OK;
    for (uint32_t i = 0; i < steps->count; i++) {
        const omen_status status = apply_step(map, &steps->steps[i], &result->value);
        if (status == OMEN_OK) {
            result->applied++;
        } else {
            result->refused++;
            if (refusal == OMEN_OK)
                refusal = status;
        }
    }
    if (result->applied == 0)
        result->status = refusal;
}

static omen_status
change_one(struct map *map, const struct command *command, uint64_t *value)
{
    switch (command->kind) {
    case COMMAND_NODE_REGISTER:
        return apply_node_register(map, &command->node, value);
    case COMMAND_NODE_STATE:
        return apply_node_state(map, &command->node_state);
    case COMMAND_NODE_FORGET:
        return apply_node_forget(map, &command->node_state);
    case COMMAND_COLLECTION_CREATE:
        return apply_collection_create(map, &command->collection, value);
    case COMMAND_COLLECTION_ALTER:
        return apply_collection_alter(map, &command->alter);
    case COMMAND_COLLECTION_DROP:
        return apply_collection_drop(map, &command->alter);
    case COMMAND_COLLECTION_IDS:
        return apply_collection_ids(map, &command->ids);
    case COMMAND_ALIASES:
        return apply_aliases(map, &command->aliases);
    case COMMAND_KEY_PUT:
        return apply_key_put(map, &command->key);
    case COMMAND_KEY_DROP:
        return apply_key_drop(map, &command->key);
    case COMMAND_SETTING_PUT:
        return apply_setting_put(map, &command->setting);
    case COMMAND_SETTING_DROP:
        return apply_setting_drop(map, &command->setting);
    case COMMAND_FEATURES:
        return apply_features(map, command->features);
    case COMMAND_LEASE_PROFILE:
        return apply_lease_profile(map, &command->lease);
    case COMMAND_LEASE_SETTLE:
        return apply_lease_settle(map, &command->lease);
    default:
        return apply_job(map, command, value);
    }
}
