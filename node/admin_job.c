// node/admin_job.c -- job.*: what goes on by itself.
//
// Shape: value.
//
// Three kinds have one sort of numbers: jobs of the map, which a node claims and ends; shards in which a copy moves or which split
// (node/admin.h), of which nothing is kept when they are over, so that one at rest is no job (that a split was done is seen by its
// children); and a collection's number, that optimize and build answer with when they are over (node/admin_gather.h).
#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "node/admin_int.h"

_Static_assert((int)API_JOB_VERIFY == (int)JOB_VERIFY &&
                   (int)API_JOB_CANCELLED == (int)JOB_CANCELLED,
               "kinds and states of jobs are told by the map's numbers");

struct job_texts {
    char node[UUID_TEXT_BYTES];
    char text[WIRE_NAME_BYTES_MAX + 128];
};

static void
node_text(const struct map *map, uint32_t number, char text[UUID_TEXT_BYTES])
{
    const struct map_node *node = map_node(map, number);
    text[0] = '\0';
    if (node != NULL)
        uuid_write(node->uuid, text);
}

// Why nobody is at it; "": somebody is, or was.
static const char *
build_waits_for(const struct admin_view *view, const struct job *job)
{
    const bool wants_gpu = job->argument == JOB_BUILD_GPU;
    if (job->kind != JOB_BUILD)
        return "";
    if (job->state == JOB_CANCELLED && job->attempts == 0)
        return "; nobody had taken it";
    if (job->state == JOB_FAILED && job->attempts == 0)
        return wants_gpu ? "; no builder with a GPU took it before it was given up"
                         : "; no builder took it before it was given up";
    if (job->state != JOB_WAITING)
        return "";
    if (!admin_builder_lives(view))
        return wants_gpu ? "; waits for a builder with a GPU: no builder is in the cluster"
                         : "; waits for a builder: none is in the cluster";
    return wants_gpu ? "; waits for a builder with a GPU" : "; waits for a builder to be free";
}

static struct api_job
job_row(const struct admin_view *view, const struct job *job, struct job_texts *texts)
{
    const struct map *map = view->map;
    const struct map_shard *shard = map_shard(map, job->shard);
    const struct map_collection *collection =
        shard != NULL ? map_collection(map, shard->collection) : NULL;
    node_text(map, job->owner, texts->node);
    texts->text[0] = '\0';
    if (collection != NULL)
        snprintf(texts->text, sizeof texts->text, "the collection %.*s%s",
                 (int)collection->name.count, collection->name.bytes, build_waits_for(view, job));
    return (struct api_job){.job = job->id,
                            .shard = job->shard,
                            .kind = job->kind,
                            .state = job->state,
                            .node = wire_text_of(texts->node),
                            .text = wire_text_of(texts->text),
                            .permille = job->progress,
                            .attempts = job->attempts};
}

static void
split_text(const struct map *map, const struct map_shard *shard, struct job_texts *texts)
{
    uint32_t in_sync[2] = {0};
    for (uint32_t i = 0; i < 2; i++) {
        const struct map_shard *child = map_shard(map, shard->children[i]);
        in_sync[i] = child != NULL ? shard_in_sync(child) : 0;
    }
    snprintf(texts->text, sizeof texts->text,
             "its children %" PRIu64 " and %" PRIu64 " have %" PRIu32 " and %" PRIu32
             " copies in sync",
             shard->children[0], shard->children[1], in_sync[0], in_sync[1]);
}

// Where a copy is on its way to, and how far it is.
static void
move_text(const struct map *map, const struct map_shard *shard, struct job_texts *texts)
{
    uint32_t leaving = 0, pending = 0, learning = 0;
    for (uint32_t i = 0; i < shard->replica_count; i++) {
        const struct map_replica *replica = &shard->replicas[i];
        leaving += replica->leaving;
        pending += replica->role == MAP_REPLICA_PENDING;
        learning += replica->role == MAP_REPLICA_LEARNER;
        if (replica->role != MAP_REPLICA_IN_SYNC)
            node_text(map, replica->node, texts->node);
    }
    snprintf(texts->text, sizeof texts->text,
             "%" PRIu32 " copies to be made, %" PRIu32 " catching up, %" PRIu32 " leaving", pending,
             learning, leaving);
}

static struct api_job
motion_row(const struct map *map, const struct map_shard *shard, struct job_texts *texts)
{
    const enum job_kind kind = admin_shard_motion(shard);
    ASSERT(kind != 0);
    texts->node[0] = '\0';
    if (kind == JOB_SPLIT)
        split_text(map, shard, texts);
    else
        move_text(map, shard, texts);
    return (struct api_job){.job = shard->id,
                            .shard = shard->id,
                            .kind = (uint8_t)kind,
                            .state = JOB_RUNNING,
                            .node = wire_text_of(texts->node),
                            .text = wire_text_of(texts->text)};
}

enum admin_next
admin_job_list(struct admin *a)
{
    struct job_texts texts;
    uint32_t moving = 0;
    for (uint32_t i = 0; i < a->map->shard_count; i++)
        moving += admin_shard_motion(&a->map->shards[i]) != 0;
    admin_answer_list(a, "jobs", a->map->job_count + moving);
    for (uint32_t i = 0; i < a->map->job_count; i++) {
        const struct api_job row = job_row(a->view, &a->map->jobs[i], &texts);
        shape_write(a->answer, &api_job, &row);
    }
    for (uint32_t i = 0; i < a->map->shard_count; i++) {
        if (admin_shard_motion(&a->map->shards[i]) == 0)
            continue;
        const struct api_job row = motion_row(a->map, &a->map->shards[i], &texts);
        shape_write(a->answer, &api_job, &row);
    }
    return ADMIN_ANSWERED;
}

static enum admin_next
refuse_unknown(struct admin *a, uint64_t job)
{
    if (map_shard(a->map, job) != NULL)
        return admin_refuse(a, OMEN_E_NOT_FOUND,
                            "no job %" PRIu64 ": no move or split of shard %" PRIu64
                            " is under way; one that was asked for is over, or was taken back",
                            job, job);
    return admin_refuse(a, OMEN_E_NOT_FOUND, "no job %" PRIu64, job);
}

// A shard that was split is gone when its children answer; they know whose they are.
static bool
has_children(const struct map *map, uint64_t shard)
{
    for (uint32_t i = 0; i < map->shard_count; i++)
        if (map->shards[i].parent == shard)
            return true;
    return false;
}

enum admin_next
admin_job_get(struct admin *a)
{
    const struct api_of_job *ask = a->ask;
    const struct job *job = map_job(a->map, ask->job);
    const struct map_shard *shard = map_shard(a->map, ask->job);
    struct job_texts texts;
    struct api_job row = {
        .job = ask->job, .shard = ask->job, .kind = JOB_SPLIT, .state = JOB_DONE, .permille = 1000};
    if (job != NULL) {
        row = job_row(a->view, job, &texts);
    } else if (shard != NULL && admin_shard_motion(shard) != 0) {
        row = motion_row(a->map, shard, &texts);
    } else if (has_children(a->map, ask->job)) {
        row.text = wire_text_of("the shard was split: its children answer for it");
    } else if (map_collection(a->map, ask->job) != NULL) {
        row.kind = JOB_BUILD;
        row.shard = 0;
        row.text = wire_text_of("nothing goes on in the collection now that has its number: what "
                                "was asked for is over");
    } else {
        return refuse_unknown(a, ask->job);
    }
    return admin_answer(a, &row);
}

// ---- cancel ----

// What is leaving stays, and what was to take its place goes unless it is in sync: then the controller has one copy too many, and
// chooses.
static enum admin_next
take_back_move(struct admin *a, const struct map_shard *shard)
{
    uint32_t leaving = 0;
    for (uint32_t i = 0; i < shard->replica_count; i++) {
        if (!shard->replicas[i].leaving)
            continue;
        leaving++;
        (void)admin_propose_step(
            a, shard, &(struct shard_step){.kind = STEP_KEEP, .node = shard->replicas[i].node});
    }
    if (leaving == 0)
        return admin_refuse(
            a, OMEN_E_CONFLICT,
            "shard %" PRIu64 " gets a copy that it lacks, which cannot be cancelled", shard->id);
    for (uint32_t i = 0; i < shard->replica_count; i++)
        if (shard->replicas[i].role != MAP_REPLICA_IN_SYNC && !shard->replicas[i].leaving)
            (void)admin_propose_step(
                a, shard, &(struct shard_step){.kind = STEP_DROP, .node = shard->replicas[i].node});
    return ADMIN_PROPOSE;
}

static enum admin_next
cancel_motion(struct admin *a, const struct map_shard *shard)
{
    switch (admin_shard_motion(shard)) {
    case JOB_SPLIT:
        return admin_propose_step(a, shard, &(struct shard_step){.kind = STEP_ABORT});
    case JOB_MOVE:
        return take_back_move(a, shard);
    default:
        return refuse_unknown(a, shard->id);
    }
}

enum admin_next
admin_job_cancel(struct admin *a)
{
    const struct api_change_job *ask = a->ask;
    const struct job *job = map_job(a->map, ask->job);
    const struct map_shard *shard = map_shard(a->map, ask->job);
    if (job == NULL)
        return shard != NULL ? cancel_motion(a, shard) : refuse_unknown(a, ask->job);
    if (job->state >= JOB_DONE)
        return admin_refuse(a, OMEN_E_CONFLICT, "job %" PRIu64 " is over", job->id);
    // Who is at it says so every moment, which changes its version, and nothing of what is asked.
    a->step->command.job = (struct command_job){
        .job = job->id,
        .expected = VERSION_ANY,
        .state = (uint8_t)(map_has(a->map, MAP_FEATURE_LIMITS) ? JOB_CANCELLED : JOB_FAILED)};
    return admin_propose(a, COMMAND_JOB_CANCEL);
}
