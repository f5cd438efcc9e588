// node/builder_shard.c -- the shards of a builder's job: whose rows are read, which copy gets the graph, and what is tried again.
//
// Shape: machine.
#include "node/builder_int.h"

#include "base/assert.h"

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

void
builder_drop(struct builder *builder, struct builder_output *out)
{
    out->drops = true;
    builder->built = false;
    builder->asked = false;
    builder->done_count = 0;
    builder->permille = 0;
}

void
builder_again(struct builder *builder, const struct builder_input *in, const char *why,
              struct builder_output *out)
{
    builder_drop(builder, out);
    out->note = why;
    if (++builder->tries == BUILDER_TRIES_MAX || builder->builds == BUILDER_BUILDS_MAX) {
        out->note = "a shard was tried too often";
        builder_end_as(builder, in, JOB_FAILED, out);
        return;
    }
    builder->state = BUILDER_WAITING;
    builder->until_ns = in->now_ns + builder->tries * builder->config.retry_ns;
    builder_wake_by(builder, builder->until_ns);
}

static bool
is_done(const struct builder *builder, struct cluster_uuid copy)
{
    for (uint32_t i = 0; i < builder->done_count; i++)
        if (uuid_equal(builder->done[i], copy))
            return true;
    return false;
}

void
builder_ask(struct builder *builder, const struct builder_input *in, const struct map_shard *shard,
            enum inner_build_step step, struct builder_output *out)
{
    const struct map_replica *replica = shard_replica(shard, builder->copy);
    const struct map_node *node = replica != NULL ? map_node(in->map, replica->node) : NULL;
    if (node == NULL) {
        builder_again(builder, in, "a copy is not there any more", out);
        return;
    }
    const bool slow = step == INNER_BUILD_INSTALL || step == INNER_BUILD_FREEZE;
    builder->asked = true;
    builder->asked_term = shard->term;
    builder->until_ns =
        in->now_ns + (slow ? builder->config.install_ns : builder->config.answer_ns);
    builder_wake_by(builder, builder->until_ns);
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

void
builder_next_shard(struct builder *builder, const struct builder_input *in,
                   struct builder_output *out)
{
    const struct map_shard *shard =
        builder_shard_at(in->map, builder->collection, builder->shard_at, &builder->shard_count);
    if (shard == NULL) {
        builder->shard_at = builder->shard_count;
        builder_end_as(builder, in, JOB_DONE, out);
        return;
    }
    builder->shard = shard->id;
    builder->attempt++;
    builder->chunk = 0;
    builder->state = BUILDER_FREEZING;
    builder->copy = shard->primary;
    if (uuid_is_none(shard->primary))
        builder_again(builder, in, "a shard has no primary", out);
    else
        builder_ask(builder, in, shard, INNER_BUILD_FREEZE, out);
}

void
builder_shard_done(struct builder *builder, const struct builder_input *in,
                   struct builder_output *out)
{
    builder_drop(builder, out);
    builder->shard_at++;
    builder->tries = builder->builds = 0;
    builder_next_shard(builder, in, out);
}

void
builder_send_chunk(struct builder *builder, const struct builder_input *in,
                   struct builder_output *out)
{
    const struct map_shard *shard = map_shard(in->map, builder->shard);
    if (shard == NULL || !shard_is_routed(shard)) {
        builder_again(builder, in, "a shard was split or dropped", out);
        return;
    }
    const bool all = builder->chunk == builder->chunks;
    builder->state = all ? BUILDER_INSTALLING : BUILDER_SENDING;
    builder_ask(builder, in, shard, all ? INNER_BUILD_INSTALL : INNER_BUILD_TAKE, out);
}

// The primary first, which measures the graph; then those that are in sync.
void
builder_next_copy(struct builder *builder, const struct builder_input *in,
                  struct builder_output *out)
{
    const struct map_shard *shard = map_shard(in->map, builder->shard);
    if (shard == NULL || (builder->done_count == 0 && uuid_is_none(shard->primary))) {
        builder_again(builder, in, "a shard has no primary", out);
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
        builder_shard_done(builder, in, out);
    else
        builder_send_chunk(builder, in, out);
}

void
builder_copy_done(struct builder *builder, const struct builder_input *in,
                  struct builder_output *out)
{
    ASSERT(builder->done_count < BUILDER_COPIES_MAX);
    builder->done[builder->done_count++] = builder->copy;
    builder_next_copy(builder, in, out);
}

bool
builder_is_lost(const struct builder *builder, const struct map *map)
{
    const struct map_shard *shard = map_shard(map, builder->shard);
    const struct map_replica *replica = shard != NULL ? shard_replica(shard, builder->copy) : NULL;
    return replica == NULL || replica->role != MAP_REPLICA_IN_SYNC ||
           shard->term != builder->asked_term;
}

void
builder_once_more(struct builder *builder, const struct builder_input *in,
                  struct builder_output *out)
{
    const struct map_shard *shard = map_shard(in->map, builder->shard);
    switch (builder->state) {
    case BUILDER_WAITING:
        if (builder->built)
            builder_next_copy(builder, in, out);
        else
            builder_next_shard(builder, in, out);
        break;
    case BUILDER_READING:
        if (shard != NULL)
            builder_ask(builder, in, shard, INNER_BUILD_ROWS, out);
        else
            builder_again(builder, in, "a shard was dropped", out);
        break;
    case BUILDER_SENDING:
    case BUILDER_INSTALLING:
        builder_send_chunk(builder, in, out);
        break;
    default: // the thread is at it
        break;
    }
}
