// node/builder_job.c -- a builder's place in the map: its own row, the job that it claims, holds and ends.
//
// Shape: machine.
//
// Everything here is a wish, which whoever leads the metadata may hear or not: what the map says next is what is true. So a wish is said
// again until the map shows it, and nobody goes on with a job that the map gives to another.
#include "node/builder_int.h"

#include "base/assert.h"

#define MS UINT64_C(1000000)

// Of a map that is there: without one nothing is looked at.
static const struct map_node *
own_node(const struct builder *builder, const struct map *map)
{
    return map_node_by_uuid(map, builder->config.node);
}

// ---- wishes ----

static bool
may_wish(struct builder *builder, const struct builder_input *in)
{
    if (in->now_ns < builder->wish_at_ns) {
        builder_wake_by(builder, builder->wish_at_ns);
        return false;
    }
    builder->wish_at_ns = in->now_ns + builder->config.wish_ns;
    builder_wake_by(builder, builder->wish_at_ns);
    return true;
}

// False: the map has this node as it is.
static bool
wish_node(struct builder *builder, const struct builder_input *in, struct builder_output *out)
{
    const struct map_node *own = own_node(builder, in->map);
    const bool known = own != NULL && own->boot >= builder->config.boot;
    if (known && own->state != NODE_JOINING)
        return false;
    if (!may_wish(builder, in))
        return true;
    out->wishes = true;
    if (known) {
        out->command = (struct command){.kind = COMMAND_NODE_STATE};
        out->command.node_state = (struct command_node_state){
            .expected = own->version, .node = own->number, .state = NODE_UP};
        return true;
    }
    out->command = (struct command){.kind = COMMAND_NODE_REGISTER};
    out->command.node.uuid = builder->config.node;
    out->command.node.boot = builder->config.boot;
    out->command.node.features = builder->config.features;
    out->command.node.weight = 1;
    out->command.node.roles = builder->config.roles;
    const bool named = map_name_set(&out->command.node.zone, "default", 7);
    ASSERT(named);
    return true;
}

static void
wish_job(struct builder *builder, const struct builder_input *in, enum command_kind kind,
         struct builder_output *out)
{
    const struct map_node *own = own_node(builder, in->map);
    const struct job *job = map_job(in->map, builder->job);
    ASSERT(own != NULL && job != NULL); // who wishes for a job has found both in this map
    // A lease that ran out, the metadata having been away, is taken anew before anything else.
    const bool held = job->lease_until_ms > in->map->clock_ms;
    out->wishes = true;
    out->command = (struct command){.kind = (uint8_t)(held ? kind : COMMAND_JOB_CLAIM)};
    out->command.job = (struct command_job){.job = builder->job,
                                            .expected = builder->job_version,
                                            .owner = own->number,
                                            .lease_ms = builder->config.lease_ns / MS,
                                            .progress = builder_permille(builder),
                                            .state = builder->ends_as};
}

// ---- which job ----

// Whether a job that somebody holds has been left: nobody has renewed its lease for as long as it is, by our clock. The map's moves
// only with commands.
static bool
is_left(struct builder *builder, const struct builder_input *in, const struct job *job)
{
    if (builder->held_job != job->id || builder->held_version != job->version) {
        builder->held_job = job->id;
        builder->held_version = job->version;
        builder->held_since_ns = in->now_ns;
    }
    const uint64_t left_ns = builder->held_since_ns + builder->config.lease_ns;
    if (in->now_ns < left_ns)
        builder_wake_by(builder, left_ns);
    return in->now_ns >= left_ns;
}

static const struct job *
free_job(struct builder *builder, const struct builder_input *in)
{
    const struct job *held = NULL; // the first of those, which alone is watched by our clock
    for (uint32_t i = 0; i < in->map->job_count; i++) {
        const struct job *job = &in->map->jobs[i];
        if (job->kind != JOB_BUILD || job->state >= JOB_DONE)
            continue;
        if (job->argument == JOB_BUILD_GPU && !builder->config.gpu)
            continue;
        if (job->state == JOB_WAITING || job->lease_until_ms <= in->map->clock_ms)
            return job;
        if (held == NULL)
            held = job;
    }
    return held != NULL && is_left(builder, in, held) ? held : NULL;
}

void
builder_idle(struct builder *builder, const struct builder_input *in, struct builder_output *out)
{
    builder->state = BUILDER_IDLE;
    builder->job = 0;
    builder->shard_count = 0;
    if (in->map == NULL || wish_node(builder, in, out))
        return;
    const struct job *job = free_job(builder, in);
    if (job == NULL || !may_wish(builder, in))
        return;
    builder->job = job->id;
    builder->job_version = job->version;
    // What it was: whoever had it says how far it is, and nobody has done anything since.
    builder->shard_at = builder->permille = 0;
    wish_job(builder, in, COMMAND_JOB_CLAIM, out);
    out->command.job.progress = job->progress;
    builder->state = BUILDER_CLAIMING;
    builder->until_ns = in->now_ns + builder->config.wish_ns;
    builder_wake_by(builder, builder->until_ns);
}

// ---- the job that is held ----

void
builder_end_as(struct builder *builder, const struct builder_input *in, enum job_state state,
               struct builder_output *out)
{
    builder_drop(builder, out);
    builder->state = BUILDER_ENDING;
    builder->ends_as = (uint8_t)state;
    builder->wish_at_ns = in->now_ns + builder->config.wish_ns;
    builder_wake_by(builder, builder->wish_at_ns);
    wish_job(builder, in, COMMAND_JOB_END, out);
}

bool
builder_holds(struct builder *builder, const struct builder_input *in)
{
    const struct map_node *own = own_node(builder, in->map);
    const struct job *job = map_job(in->map, builder->job);
    if (job == NULL || own == NULL || job->state != JOB_RUNNING || job->owner != own->number)
        return false;
    builder->job_version = job->version;
    return true;
}

void
builder_renew(struct builder *builder, const struct builder_input *in, struct builder_output *out)
{
    if (in->now_ns >= builder->renew_at_ns) {
        builder->renew_at_ns = in->now_ns + builder->config.renew_ns;
        wish_job(builder, in, COMMAND_JOB_RENEW, out);
    }
    builder_wake_by(builder, builder->renew_at_ns);
}

static void
was_claimed(struct builder *builder, const struct builder_input *in, struct builder_output *out)
{
    const struct job *job = map_job(in->map, builder->job);
    const struct map_shard *shard = map_shard(in->map, job->shard);
    ASSERT(shard != NULL); // a map has no job of a shard that it has not: map_verify
    builder->renew_at_ns = in->now_ns + builder->config.renew_ns;
    builder_wake_by(builder, builder->renew_at_ns);
    if (job->attempts > BUILDER_ATTEMPTS_MAX) {
        out->note = "a job was begun too often";
        builder_end_as(builder, in, JOB_FAILED, out);
        return;
    }
    builder->collection = shard->collection;
    (void)builder_shard_at(in->map, builder->collection, 0, &builder->shard_count);
    builder->shard_at = job->progress * builder->shard_count / BUILDER_PERMILLE;
    builder->tries = builder->builds = 0;
    builder_next_shard(builder, in, out);
}

void
builder_look_at_claim(struct builder *builder, const struct builder_input *in,
                      struct builder_output *out)
{
    const struct map_node *own = own_node(builder, in->map);
    const struct job *job = map_job(in->map, builder->job);
    const bool ours = job != NULL && own != NULL && job->state == JOB_RUNNING &&
                      job->owner == own->number && job->version > builder->job_version;
    if (ours) {
        builder->job_version = job->version;
        was_claimed(builder, in, out);
    } else if (in->now_ns >= builder->until_ns || job == NULL ||
               job->version != builder->job_version) {
        builder_idle(builder, in, out); // somebody was faster, or nobody heard it
    } else {
        builder_wake_by(builder, builder->until_ns);
    }
}

void
builder_look_at_end(struct builder *builder, const struct builder_input *in,
                    struct builder_output *out)
{
    if (!builder_holds(builder, in))
        builder_idle(builder, in, out);
    else if (may_wish(builder, in))
        wish_job(builder, in, COMMAND_JOB_END, out);
}
