// cluster/apply_misc.c -- commands about jobs, API keys and settings.
//
// Shape: value.
//
// A job belongs to a node for as long as its lease lasts, by the map's clock; what runs on without one finds its commands refused.
// So two nodes may work on one job for a while, and only one can end it.
#include "cluster/apply_int.h"

static omen_status job_create(struct map *map, const struct command_job *wanted, uint64_t *value);
static omen_status job_change(struct map *map, const struct command *command);
static omen_status job_cancel(struct map *map, const struct command_job *wanted);

omen_status
apply_job(struct map *map, const struct command *command, uint64_t *value)
{
    if (command->kind == COMMAND_JOB_CREATE)
        return job_create(map, &command->job, value);
    if (command->kind == COMMAND_JOB_CANCEL)
        return job_cancel(map, &command->job);
    return job_change(map, command);
}

// Makes room by forgetting the oldest that has ended; its outcome was there to be read long enough.
static bool
job_room(struct map *map)
{
    if (map->job_count < MAP_JOBS_MAX)
        return true;
    for (uint32_t i = 0; i < map->job_count; i++) {
        if (map->jobs[i].state >= JOB_DONE) {
            rows_remove(map->jobs, &map->job_count, sizeof *map->jobs, i);
            return true;
        }
    }
    return false;
}

static omen_status
job_create(struct map *map, const struct command_job *wanted, uint64_t *value)
{
    if (wanted->kind == 0)
        return OMEN_E_INVALID;
    if (map_shard(map, wanted->shard) == NULL)
        return OMEN_E_NOT_FOUND;
    for (uint32_t i = 0; i < map->job_count; i++)
        if (map->jobs[i].shard == wanted->shard && map->jobs[i].kind == wanted->kind &&
            map->jobs[i].state < JOB_DONE)
            return OMEN_E_EXISTS;
    if (!job_room(map))
        return OMEN_E_FULL;
    map->jobs[map->job_count++] = (struct job){.id = map->next_id++,
                                               .version = map->version + 1,
                                               .shard = wanted->shard,
                                               .argument = wanted->argument,
                                               .kind = wanted->kind,
                                               .state = JOB_WAITING};
    *value = map->jobs[map->job_count - 1].id;
    return OMEN_OK;
}

static bool
job_is_held(const struct map *map, const struct job *job)
{
    return job->state == JOB_RUNNING && job->lease_until_ms > map->clock_ms;
}

static omen_status
job_change(struct map *map, const struct command *command)
{
    const struct command_job *wanted = &command->job;
    struct job *job = map_job_own(map, wanted->job);
    if (job == NULL)
        return OMEN_E_NOT_FOUND;
    const struct map_node *owner = map_node(map, wanted->owner);
    if (owner == NULL || owner->state == NODE_GONE)
        return OMEN_E_NOT_FOUND;
    if (version_differs(wanted->expected, job->version) || job->state >= JOB_DONE)
        return OMEN_E_CONFLICT;
    const bool claims = command->kind == COMMAND_JOB_CLAIM;
    if (claims ? job_is_held(map, job) : !job_is_held(map, job) || job->owner != wanted->owner)
        return OMEN_E_CONFLICT;
    if (command->kind == COMMAND_JOB_END && wanted->state != JOB_DONE &&
        wanted->state != JOB_FAILED && wanted->state != JOB_WAITING)
        return OMEN_E_INVALID;
    job->version = map->version + 1;
    job->progress = wanted->progress;
    job->attempts += claims && job->attempts < UINT32_MAX;
    job->state = command->kind == COMMAND_JOB_END ? wanted->state : JOB_RUNNING;
    job->owner = job->state == JOB_RUNNING ? wanted->owner : 0;
    job->lease_until_ms = job->state == JOB_RUNNING ? map->clock_ms + wanted->lease_ms : 0;
    return OMEN_OK;
}

// Whoever works on it finds its next command refused.
static omen_status
job_cancel(struct map *map, const struct command_job *wanted)
{
    struct job *job = map_job_own(map, wanted->job);
    if (job == NULL)
        return OMEN_E_NOT_FOUND;
    if (version_differs(wanted->expected, job->version) || job->state >= JOB_DONE)
        return OMEN_E_CONFLICT;
    if (wanted->state == JOB_CANCELLED && !map_has(map, MAP_FEATURE_LIMITS))
        return OMEN_E_UNSUPPORTED;
    job->version = map->version + 1;
    job->state = wanted->state == JOB_CANCELLED ? JOB_CANCELLED : JOB_FAILED;
    job->owner = 0;
    job->lease_until_ms = 0;
    return OMEN_OK;
}

// A lease that was given while the clock was a year ahead would otherwise hold its job for a year.
void
jobs_shift(struct map *map, uint64_t clock_ms)
{
    for (uint32_t i = 0; i < map->job_count; i++) {
        struct job *job = &map->jobs[i];
        if (job->state != JOB_RUNNING)
            continue;
        const uint64_t left = job_is_held(map, job) ? job->lease_until_ms - map->clock_ms : 0;
        job->lease_until_ms = clock_ms + left;
        job->version = map->version + 1;
    }
}

// ---- keys ----

omen_status
apply_key_put(struct map *map, const struct command_key *wanted)
{
    const struct api_key *key = map_key(map, &wanted->name);
    if (version_differs(wanted->expected, key != NULL ? key->version : 0))
        return OMEN_E_CONFLICT;
    if (wanted->rate != 0 && !map_has(map, MAP_FEATURE_LIMITS))
        return OMEN_E_UNSUPPORTED;
    if (key == NULL && map->key_count == MAP_KEYS_MAX)
        return OMEN_E_FULL;
    struct api_key *row = (struct api_key *)key;
    if (row == NULL)
        row =
            rows_insert(map->keys, &map->key_count, sizeof *map->keys,
                        rows_at_name(map->keys, map->key_count, sizeof *map->keys, &wanted->name));
    *row = (struct api_key){.name = wanted->name,
                            .glob = wanted->glob,
                            .version = map->version + 1,
                            .expires_ms = wanted->expires_ms,
                            .rate = wanted->rate,
                            .role = wanted->role};
    for (uint32_t i = 0; i < 4; i++)
        row->hash_words[i] = wanted->hash_words[i];
    return OMEN_OK;
}

omen_status
apply_key_drop(struct map *map, const struct command_key *wanted)
{
    const struct api_key *key = map_key(map, &wanted->name);
    if (key == NULL)
        return OMEN_E_NOT_FOUND;
    if (version_differs(wanted->expected, key->version))
        return OMEN_E_CONFLICT;
    rows_remove(map->keys, &map->key_count, sizeof *map->keys, (uint32_t)(key - map->keys));
    return OMEN_OK;
}

// ---- settings ----

omen_status
apply_setting_put(struct map *map, const struct command_setting *wanted)
{
    const struct setting *setting = map_setting(map, &wanted->name);
    if (version_differs(wanted->expected, setting != NULL ? setting->version : 0))
        return OMEN_E_CONFLICT;
    if (setting == NULL && map->setting_count == MAP_SETTINGS_MAX)
        return OMEN_E_FULL;
    struct setting *row = (struct setting *)setting;
    if (row == NULL)
        row = rows_insert(
            map->settings, &map->setting_count, sizeof *map->settings,
            rows_at_name(map->settings, map->setting_count, sizeof *map->settings, &wanted->name));
    *row = (struct setting){wanted->name, wanted->value, map->version + 1};
    return OMEN_OK;
}

omen_status
apply_setting_drop(struct map *map, const struct command_setting *wanted)
{
    const struct setting *setting = map_setting(map, &wanted->name);
    if (setting == NULL)
        return OMEN_E_NOT_FOUND;
    if (version_differs(wanted->expected, setting->version))
        return OMEN_E_CONFLICT;
    rows_remove(map->settings, &map->setting_count, sizeof *map->settings,
                (uint32_t)(setting - map->settings));
    return OMEN_OK;
}
