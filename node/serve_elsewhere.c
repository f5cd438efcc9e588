// node/serve_elsewhere.c -- a builder's questions to a copy: its rows, and whether it takes the graph that was made of them.
//
// Shape: handle; functions on a hosted shard.
#include "base/alloc.h"
#include "node/serve_int.h"
#include "shard/hosted_build.h"

_Static_assert(INNER_CHUNK_BYTES_MAX == BUILT_CHUNK_BYTES, "a chunk fits a part");

static void
say(struct serve *serve, const struct inner_build *answer)
{
    shape_write(serve->answer, &inner_build, answer);
}

static omen_status
freeze(struct serve *serve, const struct inner_build_ask *ask, struct omen_error *error)
{
    struct hosted_frozen frozen;
    const omen_status status = hosted_build_freeze(serve->hosted, ask->attempt, &frozen, error);
    if (status == OMEN_OK)
        say(serve,
            &(struct inner_build){.rows = frozen.rows, .chunks = frozen.chunks, .seq = frozen.seq});
    return status;
}

static omen_status
give_rows(struct serve *serve, const struct inner_build_ask *ask, struct omen_error *error)
{
    uint8_t *chunk = mem_alloc(BUILT_CHUNK_BYTES);
    size_t bytes = 0;
    if (chunk == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    const omen_status status =
        hosted_build_rows(serve->hosted, ask->attempt, ask->chunk, chunk, &bytes, error);
    if (status == OMEN_OK)
        say(serve, &(struct inner_build){.bytes = {chunk, (uint32_t)bytes}});
    mem_free(chunk);
    return status;
}

static double
told(double recall)
{
    return recall >= 0.0 ? 1.0 + recall : 0.0;
}

static omen_status
install(struct serve *serve, const struct inner_build_ask *ask, struct omen_error *error)
{
    struct hosted_built built;
    const struct hosted_judged judged = {.gate = ask->trusted ? HOSTED_TRUSTED : HOSTED_MEASURED,
                                         .recall = ask->recall - 1.0};
    const omen_status status =
        hosted_build_install(serve->hosted, ask->attempt, &judged, &built, error);
    if (status == OMEN_OK)
        say(serve, &(struct inner_build){.rows = built.rows,
                                         .matched = built.matched,
                                         .tail = built.tail,
                                         .recall = told(built.recall),
                                         .before = told(built.before)});
    return status;
}

omen_status
serve_elsewhere(struct serve *serve, struct omen_error *error)
{
    const struct inner_build_ask *ask = (const void *)&serve->ask;
    omen_status status = OMEN_OK;
    switch ((enum inner_build_step)ask->step) {
    case INNER_BUILD_FREEZE:
        return freeze(serve, ask, error);
    case INNER_BUILD_ROWS:
        return give_rows(serve, ask, error);
    case INNER_BUILD_INSTALL:
        return install(serve, ask, error);
    case INNER_BUILD_TAKE:
        status = hosted_build_take(serve->hosted, ask->attempt, ask->bytes.bytes, ask->bytes.count,
                                   error);
        break;
    case INNER_BUILD_STEPS:
        break; // the shape lets none through
    }
    if (status == OMEN_OK)
        say(serve, &(struct inner_build){0});
    return status;
}
