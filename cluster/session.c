// cluster/session.c -- which commands were applied already.
//
// Shape: value.
#include "cluster/session_int.h"

#include "base/assert.h"
#include "cluster/apply.h"

static struct command_result answer_of(const struct session *session);
static const struct session *find(const struct map *map, struct cluster_uuid op);

// The clock cannot run over: command_decode bounds times (COMMAND_TIME_MAX).
static uint64_t
kept_until_ms(const struct session *session)
{
    const uint64_t drawn = uuid_time_ms(session->op);
    return (drawn > session->applied_ms ? drawn : session->applied_ms) + SESSION_MS;
}

void
session_expire(struct map *map)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < map->session_count; i++)
        if (kept_until_ms(&map->sessions[i]) >= map->clock_ms)
            map->sessions[kept++] = map->sessions[i];
    map->session_count = kept;
}

bool
session_begin(const struct map *map, const struct command *command, uint64_t hash,
              struct command_result *result)
{
    const struct session *session = find(map, command->op);
    if (session != NULL) {
        *result = answer_of(session);
        if (session->command_hash != hash)
            *result = (struct command_result){.status = OMEN_E_INVALID};
        return false;
    }
    const uint64_t drawn = uuid_time_ms(command->op);
    if (drawn + SESSION_MS < map->clock_ms)
        result->status = OMEN_E_TIMEOUT; // it may have happened
    else if (drawn > map->clock_ms + SESSION_MS)
        result->status = OMEN_E_INVALID;
    else if (map->session_count == SESSIONS_MAX)
        result->status = OMEN_E_BUSY;
    return result->status == OMEN_OK;
}

bool
cluster_answered(const struct map *map, struct cluster_uuid op, struct command_result *result)
{
    const struct session *session = find(map, op);
    if (session != NULL)
        *result = answer_of(session);
    return session != NULL;
}

static struct command_result
answer_of(const struct session *session)
{
    return (struct command_result){.status = session->status,
                                   .position = session->position,
                                   .version = session->version,
                                   .value = session->value,
                                   .applied = session->applied,
                                   .refused = session->refused};
}

static const struct session *
find(const struct map *map, struct cluster_uuid op)
{
    for (uint32_t i = map->session_count; i-- > 0;)
        if (uuid_equal(map->sessions[i].op, op))
            return &map->sessions[i];
    return NULL;
}

void
session_record(struct map *map, const struct command *command, uint64_t hash,
               const struct command_result *result)
{
    ASSERT(map->session_count < map->session_room);
    map->sessions[map->session_count++] = (struct session){.op = command->op,
                                                           .applied_ms = map->clock_ms,
                                                           .command_hash = hash,
                                                           .position = result->position,
                                                           .value = result->value,
                                                           .version = result->version,
                                                           .status = result->status,
                                                           .applied = result->applied,
                                                           .refused = result->refused};
}
