// node/builder.c -- a builder's part in the cluster.
//
// Shape: machine.
#include "node/builder.h"

#include <string.h>

#include "base/assert.h"

#define MS UINT64_C(1000000)
#define PERMILLE 1000u

static void idle(struct builder *builder, const struct builder_input *in,
                 struct builder_output *out);
static void next_shard(struct builder *builder, const struct builder_input *in,
                       struct builder_output *out);
static void next_copy(struct builder *builder, const struct builder_input *in,
                      struct builder_output *out);

void
builder_init(struct builder *builder, const struct builder_config *config)
{
    *builder = (struct builder){.config = *config, .attempt = config->serial};
    builder->wake_ns = UINT64_MAX;
}

uint64_t
builder_wake_ns(const struct builder *builder)
{
    return builder->wake_ns;
}

static void
wake_by(struct builder *builder, uint64_t at_ns)
{
    if (at_ns < builder->wake_ns)
        builder->wake_ns = at_ns;
}

// ---- the map ----

const struct map_shard *
builder_shard_at(const struct map *map, uint64_t collection, uint32_t at, uint32_t *count)
{
    const struct map_shard *found = NULL;
    *count = 0;
    for (uint32_t i = 0; i < map->route_count; i++) {
        const struct map_shard *shard = &map->shards[map->routes[i]];
        if (shard->collection != collection)
            continue;
        if (*count == at)
            found = shard;
        ++*count;
    }
    return found;
}

static const struct map_node *
own_node(const struct builder *builder, const struct map *map)
{
    return map != NULL ? map_node_by_uuid(map, builder->config.node) : NULL;
}

uint32_t
builder_permille(const struct builder *builder)
{
    const uint32_t count = builder->shard_count;
    if (count == 0)
        return 0;
    if (count > PERMILLE)
        return builder->shard_at * PERMILLE / count;
    // So that it says exactly which shard is the next, whatever is done of that one.
    const uint32_t done = (builder->shard_at * PERMILLE + count - 1) / count;
    const uint32_t next = ((builder->shard_at + 1) * PERMILLE + count - 1) / count;
    return done + (next - 1 - done) * builder->permille / PERMILLE;
}

// ---- wishes ----

static bool
may_wish(struct builder *builder, const struct builder_input *in)
{
    if (in->now_ns < builder->wish_at_ns) {
        wake_by(builder, builder->wish_at_ns);
        return false;
    }
    builder->wish_at_ns = in->now_ns + builder->config.wish_ns;
    wake_by(builder, builder->wish_at_ns);
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
    if (own == NULL || job == NULL)
        return;
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
        wake_by(builder, left_ns);
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
        if (job->state == JOB_WAITING || job->lease_until_ms <= in->map->clock_ms)
            return job;
        if (held == NULL)
            held = job;
    }
    return held != NULL && is_left(builder, in, held) ? held : NULL;
}

static void
idle(struct builder *builder, const struct builder_input *in, struct builder_output *out)
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
    wake_by(builder, builder->until_ns);
}

// ---- asking ----

static void
drop(struct builder *builder, struct builder_output *out)
{
    out->drops = true;
    builder->built = false;
    builder->asked = false;
    builder->done_count = 0;
    builder->permille = 0;
}

static void
end_as(struct builder *builder, const struct builder_input *in, enum job_state state,
       struct builder_output *out)
{
    drop(builder, out);
    builder->state = BUILDER_ENDING;
    builder->ends_as = (uint8_t)state;
    builder->wish_at_ns = in->now_ns + builder->config.wish_ns;
    wake_by(builder, builder->wish_at_ns);
    wish_job(builder, in, COMMAND_JOB_END, out);
}

// Once more from the beginning, after a while.
static void
again(struct builder *builder, const struct builder_input *in, const char *why,
      struct builder_output *out)
{
    drop(builder, out);
    out->note = why;
    if (++builder->tries == BUILDER_TRIES_MAX || builder->builds == BUILDER_BUILDS_MAX) {
        out->note = "a shard was tried too often";
        end_as(builder, in, JOB_FAILED, out);
        return;
    }
    builder->state = BUILDER_WAITING;
    builder->until_ns = in->now_ns + builder->tries * builder->config.retry_ns;
    wake_by(builder, builder->until_ns);
}

static bool
is_done(const struct builder *builder, struct cluster_uuid copy)
{
    for (uint32_t i = 0; i < builder->done_count; i++)
        if (uuid_equal(builder->done[i], copy))
            return true;
    return false;
}

static void
ask(struct builder *builder, const struct builder_input *in, const struct map_shard *shard,
    enum inner_build_step step, struct builder_output *out)
{
    const struct map_replica *replica = shard_replica(shard, builder->copy);
    const struct map_node *node = replica != NULL ? map_node(in->map, replica->node) : NULL;
    if (node == NULL) {
        again(builder, in, "a copy is not there any more", out);
        return;
    }
    const bool slow = step == INNER_BUILD_INSTALL || step == INNER_BUILD_FREEZE;
    builder->asked = true;
    builder->asked_term = shard->term;
    builder->until_ns =
        in->now_ns + (slow ? builder->config.install_ns : builder->config.answer_ns);
    wake_by(builder, builder->until_ns);
    out->asks = true;
    out->ask = (struct builder_ask){.copy = builder->copy,
                                    .node = node->uuid,
                                    .shard = builder->shard,
                                    .question = ++builder->question,
                                    .attempt = builder->attempt,
                                    .chunk = builder->chunk,
                                    .deadline_ns = builder->until_ns,
                                    .step = (uint8_t)step,
                                    .trusted = builder->done_count > 0};
}

// The next one of the collection; none: it is done.
static void
next_shard(struct builder *builder, const struct builder_input *in, struct builder_output *out)
{
    const struct map_shard *shard =
        builder_shard_at(in->map, builder->collection, builder->shard_at, &builder->shard_count);
    if (shard == NULL) {
        builder->shard_at = builder->shard_count;
        end_as(builder, in, JOB_DONE, out);
        return;
    }
    builder->shard = shard->id;
    builder->attempt++;
    builder->chunk = 0;
    builder->state = BUILDER_FREEZING;
    builder->copy = shard->primary;
    if (uuid_is_none(shard->primary))
        again(builder, in, "a shard has no primary", out);
    else
        ask(builder, in, shard, INNER_BUILD_FREEZE, out);
}

static void
shard_done(struct builder *builder, const struct builder_input *in, struct builder_output *out)
{
    drop(builder, out);
    builder->shard_at++;
    builder->tries = builder->builds = 0;
    next_shard(builder, in, out);
}

static void
send_chunk(struct builder *builder, const struct builder_input *in, struct builder_output *out)
{
    const struct map_shard *shard = map_shard(in->map, builder->shard);
    if (shard == NULL || !shard_is_routed(shard)) {
        again(builder, in, "a shard was split or dropped", out);
        return;
    }
    const bool all = builder->chunk == builder->chunks;
    builder->state = all ? BUILDER_INSTALLING : BUILDER_SENDING;
    ask(builder, in, shard, all ? INNER_BUILD_INSTALL : INNER_BUILD_TAKE, out);
}

// The primary first, which measures the graph; then those that are in sync.
static void
next_copy(struct builder *builder, const struct builder_input *in, struct builder_output *out)
{
    const struct map_shard *shard = map_shard(in->map, builder->shard);
    if (shard == NULL || (builder->done_count == 0 && uuid_is_none(shard->primary))) {
        again(builder, in, "a shard has no primary", out);
        return;
    }
    builder->chunk = 0;
    builder->copy = builder->done_count == 0 ? shard->primary : (struct cluster_uuid){0};
    for (uint32_t i = 0; i < shard->replica_count && uuid_is_none(builder->copy); i++) {
        const struct map_replica *replica = &shard->replicas[i];
        if (replica->role == MAP_REPLICA_IN_SYNC && !is_done(builder, replica->uuid))
            builder->copy = replica->uuid;
    }
    if (uuid_is_none(builder->copy) || builder->done_count == BUILDER_COPIES_MAX)
        shard_done(builder, in, out);
    else
        send_chunk(builder, in, out);
}

static void
copy_done(struct builder *builder, const struct builder_input *in, struct builder_output *out)
{
    ASSERT(builder->done_count < BUILDER_COPIES_MAX);
    builder->done[builder->done_count++] = builder->copy;
    next_copy(builder, in, out);
}

// ---- what comes ----

// The primary's no is everybody's; any other copy goes on with the graph that it has. What may pass is asked again after a while.
static void
refused(struct builder *builder, const struct builder_input *in, struct builder_output *out)
{
    const bool final = in->status == OMEN_E_INVALID;
    const bool passes =
        in->status == OMEN_E_BUSY || in->status == OMEN_E_STALE_MAP || in->status == OMEN_E_TIMEOUT;
    const bool others = builder->done_count > 0; // have it
    if (final && !others) {
        out->note = "a graph was not good enough";
        end_as(builder, in, JOB_FAILED, out);
    } else if (others && (final || ++builder->tries >= BUILDER_COPY_TRIES_MAX)) {
        out->note = "a copy keeps the graph that it has";
        builder->tries = 0;
        copy_done(builder, in, out);
    } else if (!others && !passes) {
        again(builder, in, "a copy did not take the graph", out);
    } else if (!others && ++builder->tries >= BUILDER_TRIES_MAX) {
        out->note = "a shard was tried too often";
        end_as(builder, in, JOB_FAILED, out);
    } else {
        if (in->status != OMEN_E_BUSY)        // else the same again
            builder->state = BUILDER_WAITING; // with the graph
        builder->until_ns = in->now_ns + builder->tries * builder->config.retry_ns;
        wake_by(builder, builder->until_ns);
    }
}

static void
take_rows(struct builder *builder, const struct builder_input *in, struct builder_output *out)
{
    const struct map_shard *shard = map_shard(in->map, builder->shard);
    if (builder->state == BUILDER_FREEZING) {
        builder->chunks = in->chunks;
        builder->chunk = 0;
        builder->state = BUILDER_READING;
    } else {
        builder->chunk++;
    }
    if (shard == NULL) {
        again(builder, in, "a shard was dropped", out);
    } else if (builder->chunk < builder->chunks) {
        ask(builder, in, shard, INNER_BUILD_ROWS, out);
    } else {
        builder->state = BUILDER_BUILDING;
        out->builds = true;
    }
}

// The same chunk after a while.
static void
read_later(struct builder *builder, const struct builder_input *in, struct builder_output *out)
{
    if (++builder->tries == BUILDER_TRIES_MAX) {
        builder->tries--;
        again(builder, in, "rows could not be read", out);
        return;
    }
    builder->until_ns = in->now_ns + builder->config.retry_ns;
    wake_by(builder, builder->until_ns);
}

static void
take_answer(struct builder *builder, const struct builder_input *in, struct builder_output *out)
{
    if (!builder->asked || in->question != builder->question)
        return;
    builder->asked = false;
    switch (builder->state) {
    case BUILDER_FREEZING:
    case BUILDER_READING:
        if (in->status == OMEN_OK)
            take_rows(builder, in, out);
        else if (in->status == OMEN_E_NOT_FOUND) // there is nothing to be linked
            shard_done(builder, in, out);
        else if (builder->state == BUILDER_READING && in->status == OMEN_E_BUSY)
            read_later(builder, in, out);
        else
            again(builder, in, "rows could not be read", out);
        return;
    case BUILDER_SENDING:
        builder->chunk += in->status == OMEN_OK;
        if (in->status == OMEN_OK)
            send_chunk(builder, in, out);
        else
            refused(builder, in, out);
        return;
    default:
        ASSERT(builder->state == BUILDER_INSTALLING);
        if (in->status == OMEN_OK) {
            builder->tries = 0;
            copy_done(builder, in, out);
        } else {
            refused(builder, in, out);
        }
        return;
    }
}

static void
take_built(struct builder *builder, const struct builder_input *in, struct builder_output *out)
{
    if (builder->state != BUILDER_BUILDING)
        return;
    if (in->status != OMEN_OK) {
        out->note = "a graph could not be built";
        end_as(builder, in, JOB_FAILED, out);
        return;
    }
    builder->built = true;
    builder->builds++;
    builder->chunks = in->total;
    builder->done_count = 0;
    builder->tries = 0;
    next_copy(builder, in, out);
}

// ---- the job that is held ----

// False: it is not ours any more.
static bool
holds(struct builder *builder, const struct builder_input *in)
{
    const struct map_node *own = own_node(builder, in->map);
    const struct job *job = in->map != NULL ? map_job(in->map, builder->job) : NULL;
    if (job == NULL || own == NULL || job->state != JOB_RUNNING || job->owner != own->number)
        return false;
    builder->job_version = job->version;
    return true;
}

static void
renew(struct builder *builder, const struct builder_input *in, struct builder_output *out)
{
    if (in->now_ns >= builder->renew_at_ns) {
        builder->renew_at_ns = in->now_ns + builder->config.renew_ns;
        wish_job(builder, in, COMMAND_JOB_RENEW, out);
    }
    wake_by(builder, builder->renew_at_ns);
}

static void
was_claimed(struct builder *builder, const struct builder_input *in, struct builder_output *out)
{
    const struct job *job = map_job(in->map, builder->job);
    const struct map_shard *shard = map_shard(in->map, job->shard);
    builder->renew_at_ns = in->now_ns + builder->config.renew_ns;
    wake_by(builder, builder->renew_at_ns);
    if (shard == NULL || job->attempts > BUILDER_ATTEMPTS_MAX) {
        out->note = shard == NULL ? "the shard of a job is not there any more"
                                  : "a job was begun too often";
        end_as(builder, in, JOB_FAILED, out);
        return;
    }
    builder->collection = shard->collection;
    (void)builder_shard_at(in->map, builder->collection, 0, &builder->shard_count);
    builder->shard_at = job->progress * builder->shard_count / PERMILLE;
    builder->tries = builder->builds = 0;
    next_shard(builder, in, out);
}

static void
look_at_claim(struct builder *builder, const struct builder_input *in, struct builder_output *out)
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
        idle(builder, in, out); // somebody was faster, or nobody heard it
    } else {
        wake_by(builder, builder->until_ns);
    }
}

static void
look_at_end(struct builder *builder, const struct builder_input *in, struct builder_output *out)
{
    if (!holds(builder, in))
        idle(builder, in, out);
    else if (may_wish(builder, in))
        wish_job(builder, in, COMMAND_JOB_END, out);
}

// Whether who was asked is not whom one would ask now: whatever it was doing, it is not waited for.
static bool
is_lost(const struct builder *builder, const struct map *map)
{
    const struct map_shard *shard = map_shard(map, builder->shard);
    const struct map_replica *replica = shard != NULL ? shard_replica(shard, builder->copy) : NULL;
    return replica == NULL || replica->role != MAP_REPLICA_IN_SYNC ||
           shard->term != builder->asked_term;
}

// What was put off.
static void
once_more(struct builder *builder, const struct builder_input *in, struct builder_output *out)
{
    const struct map_shard *shard = map_shard(in->map, builder->shard);
    switch (builder->state) {
    case BUILDER_WAITING:
        if (builder->built)
            next_copy(builder, in, out);
        else
            next_shard(builder, in, out);
        break;
    case BUILDER_READING:
        if (shard != NULL)
            ask(builder, in, shard, INNER_BUILD_ROWS, out);
        else
            again(builder, in, "a shard was dropped", out);
        break;
    case BUILDER_SENDING:
    case BUILDER_INSTALLING:
        send_chunk(builder, in, out);
        break;
    default: // the thread is at it
        break;
    }
}

// Time has passed, or the map is another.
static void
look(struct builder *builder, const struct builder_input *in, struct builder_output *out)
{
    if (builder->asked && (in->now_ns >= builder->until_ns || is_lost(builder, in->map))) {
        const struct builder_input late = {.kind = BUILDER_IN_ANSWER,
                                           .now_ns = in->now_ns,
                                           .map = in->map,
                                           .status = OMEN_E_TIMEOUT,
                                           .question = builder->question};
        take_answer(builder, &late, out);
    } else if (in->now_ns < builder->until_ns) {
        if (builder->asked || builder->state != BUILDER_BUILDING)
            wake_by(builder, builder->until_ns);
    } else if (!builder->asked) {
        once_more(builder, in, out);
    }
}

static void
go_on(struct builder *builder, const struct builder_input *in, struct builder_output *out)
{
    if (!holds(builder, in)) {
        drop(builder, out);
        out->note = "a job is not ours any more";
        idle(builder, in, out);
        return;
    }
    switch (in->kind) {
    case BUILDER_IN_ANSWER:
        take_answer(builder, in, out);
        break;
    case BUILDER_IN_BUILT:
        take_built(builder, in, out);
        break;
    case BUILDER_IN_PROGRESS:
        builder->permille = builder->state == BUILDER_BUILDING ? in->permille : builder->permille;
        break;
    case BUILDER_IN_MAP:
        break;
    }
    if (!out->asks && !out->builds && builder->state != BUILDER_ENDING)
        look(builder, in, out);
    if (builder->state != BUILDER_ENDING && !out->wishes)
        renew(builder, in, out);
}

void
builder_step(struct builder *builder, const struct builder_input *in, struct builder_output *out)
{
    *out = (struct builder_output){0};
    builder->wake_ns = UINT64_MAX;
    if (builder->state == BUILDER_IDLE)
        idle(builder, in, out);
    else if (in->map == NULL)
        return; // it had one: it comes
    else if (builder->state == BUILDER_CLAIMING)
        look_at_claim(builder, in, out);
    else if (builder->state == BUILDER_ENDING)
        look_at_end(builder, in, out);
    else
        go_on(builder, in, out);
    // What is under way is not forgotten by whatever came besides.
    if (builder->asked)
        wake_by(builder, builder->until_ns);
}
