// node/untaken.c -- how long jobs have been nobody's, and what is done of one that has been so for too long.
//
// Shape: machine.
#include "node/untaken.h"

#include <string.h>

#define MS UINT64_C(1000000)

void
untaken_init(struct untaken *untaken, const struct untaken_config *config)
{
    *untaken = (struct untaken){.config = *config, .wake_ns = UINT64_MAX};
}

uint64_t
untaken_wake_ns(const struct untaken *untaken)
{
    return untaken->wake_ns;
}

static void
wake_by(struct untaken *untaken, uint64_t at_ns)
{
    if (at_ns < untaken->wake_ns)
        untaken->wake_ns = at_ns;
}

// ---- whose jobs ----

static const struct map_node *
own_node(const struct untaken *untaken, const struct map *map)
{
    return map_node_by_uuid(map, untaken->config.node);
}

// Whether the primary of the job's shard is on this node.
static bool
is_ours(const struct untaken *untaken, const struct map *map, const struct job *job)
{
    const struct map_shard *shard = map_shard(map, job->shard);
    const struct map_replica *primary = shard != NULL ? shard_replica(shard, shard->primary) : NULL;
    const struct map_node *node = primary != NULL ? map_node(map, primary->node) : NULL;
    return job->kind == JOB_BUILD && job->state < JOB_DONE && node != NULL &&
           uuid_equal(node->uuid, untaken->config.node);
}

static struct untaken_row *
row_of(struct untaken *untaken, uint64_t job)
{
    for (uint32_t i = 0; i < untaken->row_count; i++)
        if (untaken->rows[i].job == job)
            return &untaken->rows[i];
    return NULL;
}

static void
forget_others(struct untaken *untaken, const struct map *map)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < untaken->row_count; i++) {
        const struct job *job = map_job(map, untaken->rows[i].job);
        if (job != NULL && is_ours(untaken, map, job))
            untaken->rows[kept++] = untaken->rows[i];
    }
    untaken->row_count = kept;
}

static void
note_job(struct untaken *untaken, const struct untaken_input *in, const struct job *job)
{
    struct untaken_row *row = row_of(untaken, job->id);
    if (row == NULL && untaken->row_count < UNTAKEN_JOBS_MAX) {
        row = &untaken->rows[untaken->row_count++];
        *row = (struct untaken_row){.job = job->id};
    }
    if (row == NULL)
        return;
    if (row->version != job->version) {
        row->version = job->version;
        row->since_ns = row->alone_ns = in->now_ns;
    }
    if (in->builders)
        row->alone_ns = in->now_ns;
}

static void
note_jobs(struct untaken *untaken, const struct untaken_input *in)
{
    forget_others(untaken, in->map);
    for (uint32_t i = 0; i < in->map->job_count; i++)
        if (is_ours(untaken, in->map, &in->map->jobs[i]))
            note_job(untaken, in, &in->map->jobs[i]);
}

// ---- what is wished ----

static bool
may_wish(struct untaken *untaken, const struct untaken_input *in)
{
    const bool may = in->now_ns >= untaken->wish_at_ns;
    if (may)
        untaken->wish_at_ns = in->now_ns + untaken->config.wish_ns;
    wake_by(untaken, untaken->wish_at_ns);
    return may;
}

static void
wish(struct untaken *untaken, const struct untaken_input *in, enum command_kind kind,
     struct untaken_output *out)
{
    const struct map_node *own = own_node(untaken, in->map);
    const struct job *job = map_job(in->map, untaken->job);
    if (own == NULL || job == NULL)
        return;
    // A lease that ran out, the metadata having been away, is taken anew before anything else.
    const bool lapsed = kind != COMMAND_JOB_CANCEL && job->lease_until_ms <= in->map->clock_ms;
    out->wishes = true;
    out->command = (struct command){.kind = (uint8_t)(lapsed ? COMMAND_JOB_CLAIM : kind)};
    out->command.job = (struct command_job){.job = untaken->job,
                                            .expected = untaken->version,
                                            .owner = own->number,
                                            .lease_ms = untaken->config.lease_ns / MS,
                                            .progress = untaken->permille,
                                            .state = untaken->ends_as};
    if (kind == COMMAND_JOB_CANCEL)
        out->command.job.state = JOB_FAILED;
}

// ---- the job that is claimed ----

static void
watch(struct untaken *untaken)
{
    untaken->state = UNTAKEN_WATCHING;
    untaken->job = 0;
}

static void
end_as(struct untaken *untaken, const struct untaken_input *in, enum job_state state,
       struct untaken_output *out)
{
    untaken->state = UNTAKEN_ENDING;
    untaken->ends_as = (uint8_t)state;
    untaken->permille = state == JOB_DONE ? 1000 : untaken->permille;
    untaken->wish_at_ns = in->now_ns + untaken->config.wish_ns;
    wish(untaken, in, COMMAND_JOB_END, out);
    wake_by(untaken, untaken->wish_at_ns);
}

static void
ask_copies(struct untaken *untaken, struct untaken_output *out)
{
    untaken->until_ns = UINT64_MAX;
    out->builds = true;
    out->collection = untaken->collection;
}

// The first that has waited for as long as it must.
static void
look_for_one(struct untaken *untaken, const struct untaken_input *in, struct untaken_output *out)
{
    for (uint32_t i = 0; i < untaken->row_count; i++) {
        const struct untaken_row *row = &untaken->rows[i];
        const struct job *job = map_job(in->map, row->job);
        const bool requires = job->argument == JOB_BUILD_GPU;
        const uint64_t due_ns = requires ? row->since_ns + untaken->config.require_ns
                                         : row->alone_ns + untaken->config.wait_ns;
        if (in->now_ns < due_ns) {
            wake_by(untaken, due_ns);
            continue;
        }
        if (!may_wish(untaken, in))
            return;
        untaken->job = row->job;
        untaken->version = row->version;
        untaken->permille = job->progress;
        untaken->tries = 0;
        wish(untaken, in, requires ? COMMAND_JOB_CANCEL : COMMAND_JOB_CLAIM, out);
        out->note = requires ? "no builder with a GPU took a job in time: it has failed"
                             : "no builder took a job: the copies build";
        if (requires)
            return;
        untaken->state = UNTAKEN_CLAIMING;
        untaken->until_ns = untaken->wish_at_ns;
        return;
    }
}

static bool
holds(struct untaken *untaken, const struct untaken_input *in)
{
    const struct map_node *own = own_node(untaken, in->map);
    const struct job *job = map_job(in->map, untaken->job);
    if (job == NULL || own == NULL || job->state != JOB_RUNNING || job->owner != own->number)
        return false;
    untaken->version = job->version;
    return true;
}

static void
look_at_claim(struct untaken *untaken, const struct untaken_input *in, struct untaken_output *out)
{
    const struct job *job = map_job(in->map, untaken->job);
    const uint64_t version = untaken->version;
    if (holds(untaken, in) && job->version > version) {
        const struct map_shard *shard = map_shard(in->map, job->shard);
        untaken->state = UNTAKEN_BUILDING;
        untaken->renew_at_ns = in->now_ns + untaken->config.renew_ns;
        untaken->collection = shard != NULL ? shard->collection : 0;
        wake_by(untaken, untaken->renew_at_ns);
        ask_copies(untaken, out);
    } else if (in->now_ns >= untaken->until_ns || job == NULL || job->version != version) {
        watch(untaken); // somebody was faster, or nobody heard it
    } else {
        wake_by(untaken, untaken->until_ns);
    }
}

// Not done yet, or somebody is being replaced: that passes.
static bool
passes(omen_status status)
{
    return status == OMEN_E_BUSY || status == OMEN_E_TIMEOUT || status == OMEN_E_STALE_MAP;
}

static void
take_answer(struct untaken *untaken, const struct untaken_input *in, struct untaken_output *out)
{
    if (in->status == OMEN_OK) {
        end_as(untaken, in, JOB_DONE, out);
    } else if (passes(in->status) && ++untaken->tries < UNTAKEN_TRIES_MAX) {
        untaken->until_ns = in->now_ns + untaken->config.again_ns;
    } else {
        out->note = "the copies could not build";
        end_as(untaken, in, JOB_FAILED, out);
    }
}

static void
go_on(struct untaken *untaken, const struct untaken_input *in, struct untaken_output *out)
{
    if (!holds(untaken, in)) {
        out->drops = true;
        out->note = "a job is not ours any more";
        watch(untaken);
        return;
    }
    if (in->kind == UNTAKEN_IN_ENDED)
        take_answer(untaken, in, out);
    else if (in->permille > untaken->permille)
        untaken->permille = in->permille;
    if (untaken->state != UNTAKEN_BUILDING)
        return;
    if (untaken->until_ns <= in->now_ns)
        ask_copies(untaken, out);
    wake_by(untaken, untaken->until_ns);
    if (in->now_ns >= untaken->renew_at_ns) {
        untaken->renew_at_ns = in->now_ns + untaken->config.renew_ns;
        wish(untaken, in, COMMAND_JOB_RENEW, out);
    }
    wake_by(untaken, untaken->renew_at_ns);
}

void
untaken_step(struct untaken *untaken, const struct untaken_input *in, struct untaken_output *out)
{
    *out = (struct untaken_output){0};
    untaken->wake_ns = UINT64_MAX;
    if (in->map == NULL)
        return;
    note_jobs(untaken, in);
    switch (untaken->state) {
    case UNTAKEN_WATCHING:
        break;
    case UNTAKEN_CLAIMING:
        look_at_claim(untaken, in, out);
        break;
    case UNTAKEN_BUILDING:
        go_on(untaken, in, out);
        break;
    case UNTAKEN_ENDING:
        if (!holds(untaken, in))
            watch(untaken);
        else if (may_wish(untaken, in))
            wish(untaken, in, COMMAND_JOB_END, out);
        break;
    }
    if (untaken->state == UNTAKEN_WATCHING)
        look_for_one(untaken, in, out);
}
