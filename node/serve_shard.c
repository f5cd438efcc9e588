// node/serve_shard.c -- what a copy answers of itself: how much it holds, the sum of all of it, and that its upkeep is done.
//
// Shape: handle; functions on a hosted shard.
//
// Every copy is asked for itself (node/admin_gather.h): numberings and links differ between copies, what they hold does not.
#include <inttypes.h>
#include <stdio.h>

#include "base/os_clock.h"
#include "node/serve_int.h"
#include "shard/field_names.h"

#define WAIT_NS UINT64_C(2000000000) // of a worker for links; who asked asks again

omen_status
serve_stats(struct serve *serve, struct omen_error *error)
{
    omen_statistics said = {.struct_size = sizeof said};
    (void)error;
    shard_stats(serve->shard, &said);
    const uint64_t file = hosted_file_bytes(serve->hosted);
    const struct api_stats answer = {.points = said.count,
                                     .rows = wire_given(said.rows),
                                     .deleted = wire_given(said.deleted),
                                     .tail = wire_given(said.tail),
                                     .memory_bytes = wire_given(shard_stats_memory(&said)),
                                     .vector_bytes = wire_given(said.bytes_vectors),
                                     .payload_bytes = wire_given(said.bytes_payloads),
                                     .disk_bytes = {.value = file, .given = file > 0},
                                     .bytes_per_vector = said.bytes_per_vector,
                                     .recall = said.recall > 0 ? said.recall : 0,
                                     .shards = 1};
    shape_write(serve->answer, &api_stats, &answer);
    return OMEN_OK;
}

// What the map does not know of it: its points and field indexes. The rest is said as well, because the table wants it.
omen_status
serve_collection(struct serve *serve, struct omen_error *error)
{
    struct field_names names;
    struct api_field fields[FIELDS_MAX];
    (void)error;
    shard_fields(serve->shard, &names);
    for (uint32_t i = 0; i < names.count; i++)
        fields[i] = (struct api_field){.field = wire_text_of(names.list[i].name),
                                       .type = names.list[i].type};
    const struct api_collection row = {.name = wire_text_of("shard"),
                                       .id = serve->part->shard,
                                       .points = wire_given(hosted_points(serve->hosted)),
                                       .dimension = serve->options.dimension,
                                       .metric = (uint8_t)(serve->options.metric + 1),
                                       .dtype = (uint8_t)serve->options.dtype,
                                       .shards = 1,
                                       .replicas = 1,
                                       .min_insync = 1,
                                       .fields = {.count = names.count, .items = fields}};
    const struct api_collections list = {.collections = {.count = 1, .items = &row}};
    if (serve->part->method == METHOD_COLLECTION_LIST)
        shape_write(serve->answer, &api_collections, &list);
    else
        shape_write(serve->answer, &api_collection, &row);
    return OMEN_OK;
}

// What the map does not know of it: how far it is, and how much it has. The rest is the table's to want.
omen_status
serve_place(struct serve *serve, struct omen_error *error)
{
    (void)error;
    const struct api_shard row = {.shard = serve->part->shard,
                                  .collection = wire_text_of("shard"),
                                  .state = API_OPEN,
                                  .seq = wire_given(hosted_applied(serve->hosted)),
                                  .points = wire_given(hosted_points(serve->hosted))};
    const struct api_shards list = {.shards = {.count = 1, .items = &row}};
    if (serve->part->method == METHOD_SHARD_LIST)
        shape_write(serve->answer, &api_shards, &list);
    else
        shape_write(serve->answer, &api_shard, &row);
    return OMEN_OK;
}

// At the one place in the log where it is now. Copies that are written to meanwhile are at others; they are asked again.
omen_status
serve_sum(struct serve *serve, struct omen_error *error)
{
    char digits[33];
    uint64_t seq;
    (void)error;
    const struct hosted_sum sum = hosted_sum_at(serve->hosted, &seq);
    snprintf(digits, sizeof digits, "%016" PRIx64 "%016" PRIx64, sum.high, sum.low);
    const struct api_copy copy = {.checksum = wire_text_of(digits)};
    const struct api_verified row = {
        .shard = serve->part->shard, .seq = seq, .copies = {.count = 1, .items = &copy}};
    const struct api_verify answer = {.shards = {.count = 1, .items = &row}};
    shape_write(serve->answer, &api_verify, &answer);
    return OMEN_OK;
}

static omen_status
over(struct serve *serve)
{
    shape_write(serve->answer, &api_started, &(struct api_started){.job = serve->part->shard});
    return OMEN_OK;
}

omen_status
serve_optimize(struct serve *serve, struct omen_error *error)
{
    const omen_status status = hosted_compact(serve->hosted, error);
    return status == OMEN_OK ? over(serve) : status;
}

struct waiting {
    uint64_t until_ns, linked, total;
};

static int
look_at_clock(void *context, uint64_t linked, uint64_t total)
{
    struct waiting *waiting = context;
    waiting->linked = linked;
    waiting->total = total;
    return os_clock_ns() >= waiting->until_ns;
}

// Linking goes on by itself when nobody waits for it; a worker that does would be lacking for searches.
omen_status
serve_build(struct serve *serve, struct omen_error *error)
{
    const struct api_build *ask = (const void *)&serve->ask;
    struct waiting waiting = {.until_ns = os_clock_ns() + WAIT_NS};
    if (ask->hold_ms > 0) {
        shard_hold(serve->shard, ask->hold_ms * UINT64_C(1000000));
        return over(serve);
    }
    // A build of all at once is the workers': whoever asks looks again. Waiting for it here would give it up when the time is over.
    if (shard_builds(serve->shard, &waiting.linked, &waiting.total))
        return error_set(error, OMEN_E_BUSY,
                         "%" PRIu64 " of %" PRIu64 " rows are linked; it goes on", waiting.linked,
                         waiting.total);
    omen_build_options options = OMEN_BUILD_OPTIONS_INIT;
    // Who asks gives up after WAIT_NS and asks again, which a GPU's build would not outlive; it is taken where nothing else will do.
    options.backend = ask->backend == API_CUDA ? OMEN_BACKEND_CUDA : OMEN_BACKEND_CPU;
    options.progress = look_at_clock;
    options.context = &waiting;
    const omen_status status = shard_build(serve->shard, &options, error);
    if (status == OMEN_E_CANCELLED)
        return error_set(error, OMEN_E_BUSY,
                         "%" PRIu64 " of %" PRIu64 " rows are linked; it goes on", waiting.linked,
                         waiting.total);
    return status == OMEN_OK ? over(serve) : status;
}
