// node/builder.c -- a builder's step: whose turn it is, by the state that it is in and by what came.
//
// Shape: machine. Which job: builder_job.c; which shard and whom to ask: builder_shard.c; what they say: builder_said.c.
#include "node/builder_int.h"

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

void
builder_wake_by(struct builder *builder, uint64_t at_ns)
{
    if (at_ns < builder->wake_ns)
        builder->wake_ns = at_ns;
}

uint32_t
builder_permille(const struct builder *builder)
{
    const uint32_t count = builder->shard_count;
    if (count == 0)
        return 0;
    if (count > BUILDER_PERMILLE)
        return builder->shard_at * BUILDER_PERMILLE / count;
    // So that it says exactly which shard is the next, whatever is done of that one.
    const uint32_t done = (builder->shard_at * BUILDER_PERMILLE + count - 1) / count;
    const uint32_t next = ((builder->shard_at + 1) * BUILDER_PERMILLE + count - 1) / count;
    return done + (next - 1 - done) * builder->permille / BUILDER_PERMILLE;
}

// Time has passed, or the map is another.
static void
look(struct builder *builder, const struct builder_input *in, struct builder_output *out)
{
    if (builder->asked && (in->now_ns >= builder->until_ns || builder_is_lost(builder, in->map))) {
        const struct builder_input late = {.kind = BUILDER_IN_ANSWER,
                                           .now_ns = in->now_ns,
                                           .map = in->map,
                                           .status = OMEN_E_TIMEOUT,
                                           .question = builder->question};
        builder_take_answer(builder, &late, out);
    } else if (in->now_ns < builder->until_ns) {
        if (builder->asked || builder->state != BUILDER_BUILDING)
            builder_wake_by(builder, builder->until_ns);
    } else if (!builder->asked) {
        builder_once_more(builder, in, out);
    }
}

static void
go_on(struct builder *builder, const struct builder_input *in, struct builder_output *out)
{
    if (!builder_holds(builder, in)) {
        builder_drop(builder, out);
        out->note = "a job is not ours any more";
        builder_idle(builder, in, out);
        return;
    }
    switch (in->kind) {
    case BUILDER_IN_ANSWER:
        builder_take_answer(builder, in, out);
        break;
    case BUILDER_IN_BUILT:
        builder_take_built(builder, in, out);
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
        builder_renew(builder, in, out);
}

void
builder_step(struct builder *builder, const struct builder_input *in, struct builder_output *out)
{
    *out = (struct builder_output){0};
    builder->wake_ns = UINT64_MAX;
    if (builder->state == BUILDER_IDLE)
        builder_idle(builder, in, out);
    else if (in->map == NULL)
        return; // it had one: it comes
    else if (builder->state == BUILDER_CLAIMING)
        builder_look_at_claim(builder, in, out);
    else if (builder->state == BUILDER_ENDING)
        builder_look_at_end(builder, in, out);
    else
        go_on(builder, in, out);
    // What is under way is not forgotten by whatever came besides.
    if (builder->asked)
        builder_wake_by(builder, builder->until_ns);
}
