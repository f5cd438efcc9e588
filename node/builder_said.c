// node/builder_said.c -- what the copies, and the thread that builds, say to a builder.
//
// Shape: machine.
#include "node/builder_int.h"

#include "base/assert.h"

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
        builder_end_as(builder, in, JOB_FAILED, out);
    } else if (others && (final || ++builder->tries >= BUILDER_COPY_TRIES_MAX)) {
        out->note = "a copy keeps the graph that it has";
        builder->tries = 0;
        builder_copy_done(builder, in, out);
    } else if (!others && !passes) {
        builder_again(builder, in, "a copy did not take the graph", out);
    } else if (!others && ++builder->tries >= BUILDER_TRIES_MAX) {
        out->note = "a shard was tried too often";
        builder_end_as(builder, in, JOB_FAILED, out);
    } else {
        if (in->status != OMEN_E_BUSY)        // else the same again
            builder->state = BUILDER_WAITING; // with the graph
        builder->until_ns = in->now_ns + builder->tries * builder->config.retry_ns;
        builder_wake_by(builder, builder->until_ns);
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
        builder_again(builder, in, "a shard was dropped", out);
    } else if (builder->chunk < builder->chunks) {
        builder_ask(builder, in, shard, INNER_BUILD_ROWS, out);
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
        builder_again(builder, in, "rows could not be read", out);
        return;
    }
    builder->until_ns = in->now_ns + builder->config.retry_ns;
    builder_wake_by(builder, builder->until_ns);
}

void
builder_take_answer(struct builder *builder, const struct builder_input *in,
                    struct builder_output *out)
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
            builder_shard_done(builder, in, out);
        else if (builder->state == BUILDER_READING && in->status == OMEN_E_BUSY)
            read_later(builder, in, out);
        else
            builder_again(builder, in, "rows could not be read", out);
        return;
    case BUILDER_SENDING:
        builder->chunk += in->status == OMEN_OK;
        if (in->status == OMEN_OK)
            builder_send_chunk(builder, in, out);
        else
            refused(builder, in, out);
        return;
    default:
        ASSERT(builder->state == BUILDER_INSTALLING);
        if (in->status == OMEN_OK) {
            builder->tries = 0;
            builder_copy_done(builder, in, out);
        } else {
            refused(builder, in, out);
        }
        return;
    }
}

void
builder_take_built(struct builder *builder, const struct builder_input *in,
                   struct builder_output *out)
{
    if (builder->state != BUILDER_BUILDING)
        return;
    if (in->status != OMEN_OK) {
        out->note = "a graph could not be built";
        builder_end_as(builder, in, JOB_FAILED, out);
        return;
    }
    builder->built = true;
    builder->builds++;
    builder->chunks = in->total;
    builder->done_count = 0;
    builder->tries = 0;
    builder_next_copy(builder, in, out);
}
