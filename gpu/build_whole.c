// gpu/build_whole.c -- a build with all of it on the device at once: which operations in which order.
//
// Shape: handle.
#include <string.h>

#include "base/alloc.h"
#include "gpu/build_int.h"
#include "index/graph.h"

// One build in progress. Device memory is taken when a stage begins to need it and freed after the last that does.
struct build {
    const struct gpu_build_config *config;
    const struct gpu_build_input *input;
    const struct device_ops *ops;
    struct device *device;
    struct gpu_build_report *report;
    uint32_t count, leaders, tiles;
    uint64_t bytes; // taken of the device now
    // Of the device.
    int8_t *codes, *leader_codes;
    struct byte_meta *metas, *leader_metas;
    uint64_t *assigned, *leaf_keys, *candidates, *offering, *chosen, *links;
    uint32_t *places, *starts, *seen;
    struct device_tile *tile_memory;
    uint8_t *blocks;
};

// ---- memory of the device ----
static omen_status
take(struct build *build, size_t bytes, void *pointer)
{
    void *memory = NULL;
    const omen_status status = build->ops->alloc(build->device, bytes, &memory);
    memcpy(pointer, &memory, sizeof memory);
    if (status == OMEN_OK) {
        build->bytes += bytes;
        if (build->bytes > build->report->device_bytes)
            build->report->device_bytes = build->bytes;
    }
    return status;
}

static void
drop(struct build *build, void *pointer, size_t bytes)
{
    void *memory;
    memcpy(&memory, pointer, sizeof memory);
    if (memory != NULL) {
        build->ops->free(build->device, memory);
        build->bytes -= bytes;
    }
    memory = NULL;
    memcpy(pointer, &memory, sizeof memory);
}

static void
drop_all(struct build *build)
{
    void *all[] = {&build->codes,        &build->leader_codes, &build->metas,
                   &build->leader_metas, &build->assigned,     &build->leaf_keys,
                   &build->candidates,   &build->chosen,       &build->links,
                   &build->places,       &build->starts,       &build->seen,
                   &build->tile_memory,  &build->blocks,       &build->offering};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        drop(build, all[i], 0);
}

static struct device_rows
rows_of(const struct build *build)
{
    return (struct device_rows){.codes = build->codes,
                                .metas = build->metas,
                                .count = build->count,
                                .stride = build->input->stride,
                                .ip = build->input->ip,
                                .radius2 = build->input->radius2};
}

// ---- stages ----
static omen_status
upload(struct build *build)
{
    const struct gpu_build_input *in = build->input;
    const struct device_ops *ops = build->ops;
    const size_t codes = (size_t)build->count * in->stride;
    const size_t metas = build->count * sizeof *build->metas;
    omen_status status = take(build, codes, &build->codes);
    if (status == OMEN_OK)
        status = take(build, metas, &build->metas);
    if (status == OMEN_OK)
        status = ops->put(build->device, build->codes, in->codes, codes);
    return status == OMEN_OK ? ops->put(build->device, build->metas, in->metas, metas) : status;
}

static omen_status
draw_leaders(struct build *build)
{
    const uint32_t leaders = build->leaders;
    uint32_t *const numbers = mem_alloc((size_t)leaders * sizeof *numbers);
    uint32_t *on_device = NULL;
    if (numbers == NULL)
        return OMEN_E_NO_MEMORY;
    build_draw_leaders(build->config, build->count, numbers);
    const size_t bytes = (size_t)leaders * sizeof *numbers;
    omen_status status = take(build, bytes, &on_device);
    if (status == OMEN_OK)
        status = take(build, (size_t)leaders * build->input->stride, &build->leader_codes);
    if (status == OMEN_OK)
        status = take(build, leaders * sizeof *build->leader_metas, &build->leader_metas);
    if (status == OMEN_OK)
        status = build->ops->put(build->device, on_device, numbers, bytes);
    const struct device_gather gather = {.rows = rows_of(build),
                                         .numbers = on_device,
                                         .count = leaders,
                                         .codes = build->leader_codes,
                                         .metas = build->leader_metas};
    if (status == OMEN_OK)
        status = build->ops->gather(build->device, &gather);
    if (status == OMEN_OK)
        status = build->ops->wait(build->device);
    drop(build, &on_device, bytes);
    mem_free(numbers);
    return status;
}

static omen_status
assign(struct build *build)
{
    const struct gpu_build_config *config = build->config;
    omen_status status = draw_leaders(build);
    if (status == OMEN_OK)
        status =
            take(build, (size_t)build->count * config->fanout * sizeof(uint64_t), &build->assigned);
    struct device_rows leaders = rows_of(build);
    leaders.codes = build->leader_codes;
    leaders.metas = build->leader_metas;
    leaders.count = build->leaders;
    const struct device_nearest nearest = {
        .queries = rows_of(build), .base = leaders, .k = config->fanout, .keys = build->assigned};
    build->report->assign_pairs = (uint64_t)build->count * build->leaders;
    return status == OMEN_OK ? build->ops->nearest(build->device, &nearest) : status;
}

// With few rows: the exactly nearest of each.
static omen_status
exact_lists(struct build *build)
{
    const omen_status status = take(
        build, (size_t)build->count * build->config->list * sizeof(uint64_t), &build->candidates);
    const struct device_nearest nearest = {.queries = rows_of(build),
                                           .base = rows_of(build),
                                           .k = build->config->list,
                                           .skip_self = 1,
                                           .keys = build->candidates};
    build->report->leaf_pairs = (uint64_t)build->count * build->count;
    return status == OMEN_OK ? build->ops->nearest(build->device, &nearest) : status;
}

// Tiles of the groups that lie between `starts`, on the device.
static omen_status
make_tiles(struct build *build, const uint32_t *starts)
{
    const uint32_t count = build_cut_leaves(build->config, starts, NULL, build->report);
    struct build_leaf *const leaves = mem_alloc((size_t)count * sizeof *leaves);
    if (leaves == NULL)
        return OMEN_E_NO_MEMORY;
    (void)build_cut_leaves(build->config, starts, leaves, build->report);
    build->tiles = build->report->tiles = build_tiles(leaves, count, 0, NULL);
    const size_t bytes = (size_t)build->tiles * sizeof(struct device_tile);
    struct device_tile *const tiles = mem_alloc(bytes);
    omen_status status = tiles == NULL ? OMEN_E_NO_MEMORY : take(build, bytes, &build->tile_memory);
    if (status == OMEN_OK) {
        (void)build_tiles(leaves, count, 0, tiles);
        status = build->ops->put(build->device, build->tile_memory, tiles, bytes);
    }
    if (status == OMEN_OK)
        status = build->ops->wait(build->device);
    mem_free(tiles);
    mem_free(leaves);
    return status;
}

static omen_status
group(struct build *build)
{
    const struct gpu_build_config *config = build->config;
    const size_t starts_bytes = ((size_t)build->leaders + 1) * sizeof(uint32_t);
    omen_status status =
        take(build, (size_t)build->count * config->fanout * sizeof(uint32_t), &build->places);
    if (status == OMEN_OK)
        status = take(build, starts_bytes, &build->starts);
    const struct device_group groups = {.keys = build->assigned,
                                        .count = build->count,
                                        .fanout = config->fanout,
                                        .groups = build->leaders,
                                        .places = build->places,
                                        .starts = build->starts};
    if (status == OMEN_OK)
        status = build->ops->group(build->device, &groups);
    uint32_t *const starts = mem_alloc(starts_bytes);
    if (status == OMEN_OK)
        status = starts == NULL
                     ? OMEN_E_NO_MEMORY
                     : build->ops->get(build->device, starts, build->starts, starts_bytes);
    if (status == OMEN_OK) {
        drop(build, &build->assigned, (size_t)build->count * config->fanout * sizeof(uint64_t));
        status = make_tiles(build, starts);
    }
    mem_free(starts);
    return status;
}

static size_t
leaf_bytes(const struct build *build)
{
    return (size_t)build->count * build->config->fanout * build->config->leaf_keep *
           sizeof(uint64_t);
}

static omen_status
leaves(struct build *build)
{
    omen_status status = take(build, leaf_bytes(build), &build->leaf_keys);
    if (status == OMEN_OK)
        status = build->ops->fill(build->device, build->leaf_keys, 0xff, leaf_bytes(build));
    const struct device_nearest nearest = {.queries = rows_of(build),
                                           .base = rows_of(build),
                                           .places = build->places,
                                           .tiles = build->tile_memory,
                                           .tile_count = build->tiles,
                                           .fanout = build->config->fanout,
                                           .k = build->config->leaf_keep,
                                           .skip_self = 1,
                                           .near_turns = build->config->near_turns,
                                           .keys = build->leaf_keys};
    if (status == OMEN_OK && build->tiles > 0)
        status = build->ops->nearest(build->device, &nearest);
    return status;
}

// What products found, by how far it is. Equal rows may lie in a list by both, and then once.
static omen_status
measure(struct build *build)
{
    const struct gpu_build_config *config = build->config;
    const struct device_measure measured = {.rows = rows_of(build),
                                            .count = build->count,
                                            .width = config->list,
                                            .keys = build->candidates};
    const struct device_merge sorted = {.keys = build->candidates,
                                        .count = build->count,
                                        .width = config->list,
                                        .kept = config->list,
                                        .merged = build->candidates};
    const omen_status status = build->ops->measure(build->device, &measured);
    return status == OMEN_OK ? build->ops->merge(build->device, &sorted) : status;
}

static omen_status
merge(struct build *build)
{
    const struct gpu_build_config *config = build->config;
    omen_status status =
        take(build, (size_t)build->count * config->list * sizeof(uint64_t), &build->candidates);
    const struct device_merge merged = {.keys = build->leaf_keys,
                                        .count = build->count,
                                        .width = config->fanout * config->leaf_keep,
                                        .kept = config->list,
                                        .merged = build->candidates};
    if (status == OMEN_OK)
        status = build->ops->merge(build->device, &merged);
    if (status == OMEN_OK)
        status = build->ops->wait(build->device);
    drop(build, &build->leaf_keys, leaf_bytes(build));
    drop(build, &build->places, (size_t)build->count * config->fanout * sizeof(uint32_t));
    return status;
}

// Candidates are offered to those that they are candidates of.
static omen_status
offer(struct build *build)
{
    const struct gpu_build_config *config = build->config;
    const size_t bytes = (size_t)build->count * config->list * sizeof(uint64_t);
    uint64_t *const own = build->candidates;
    build->candidates = NULL;
    build->offering = own;
    omen_status status = take(build, bytes, &build->candidates);
    const struct device_reverse offered =
        build_offer_lists(config, build->count, own, build->candidates);
    if (status == OMEN_OK)
        status = build->ops->reverse(build->device, &offered);
    if (status == OMEN_OK)
        status = build->ops->wait(build->device);
    drop(build, &build->offering, bytes);
    return status;
}

static omen_status
merge_and_offer(struct build *build)
{
    omen_status status = build->leaders > 0 ? merge(build) : OMEN_OK;
    if (status == OMEN_OK && build->leaders > 0 && build->config->near_turns > 0)
        status = measure(build);
    return status == OMEN_OK && build->config->farthest > 0 ? offer(build) : status;
}

static omen_status
choose(struct build *build, uint32_t keep, uint32_t whole, uint64_t **out)
{
    const omen_status status = take(build, (size_t)build->count * keep * sizeof(uint64_t), out);
    const struct device_prune prune = {.rows = rows_of(build),
                                       .count = build->count,
                                       .candidates = build->candidates,
                                       .width = build->config->list,
                                       .keep = keep,
                                       .whole = whole,
                                       .alpha2 = build->config->alpha2,
                                       .chosen = *out};
    return status == OMEN_OK ? build->ops->prune(build->device, &prune) : status;
}

// The candidates' memory is used again.
static omen_status
reverse(struct build *build)
{
    const struct device_reverse offered =
        build_offer_chosen(build->config, build->count, build->chosen, build->candidates);
    return build->ops->reverse(build->device, &offered);
}

static omen_status
pack(struct build *build)
{
    const uint32_t bytes =
        link_row_bytes(build->config->links_max, (enum link_width)build->config->link_width);
    const omen_status status = take(build, (size_t)build->count * bytes, &build->blocks);
    const struct device_pack packed = {.links = build->links,
                                       .count = build->count,
                                       .keep = build->config->links_max,
                                       .links_max = build->config->links_max,
                                       .width = build->config->link_width,
                                       .blocks = build->blocks};
    return status == OMEN_OK ? build->ops->pack(build->device, &packed) : status;
}

static omen_status
reach(struct build *build)
{
    omen_status status =
        take(build, ((size_t)build->count + 31) / 32 * sizeof(uint32_t), &build->seen);
    uint32_t reached = 0;
    const struct device_reach reached_from = {.links = build->links,
                                              .count = build->count,
                                              .keep = build->config->links_max,
                                              .entry = build->config->entry,
                                              .seen = build->seen,
                                              .reached = &reached,
                                              .steps = &build->report->steps};
    if (status == OMEN_OK)
        status = build->ops->reach(build->device, &reached_from);
    build->report->unreached = build->count - reached;
    return status;
}

// ---- all of them ----
static omen_status
run_stage(struct build *build, enum gpu_build_stage stage)
{
    const struct gpu_build_config *config = build->config;
    const bool exact = build->leaders == 0;
    switch (stage) {
    case GPU_BUILD_UPLOAD:
        return upload(build);
    case GPU_BUILD_ASSIGN:
        return exact ? exact_lists(build) : assign(build);
    case GPU_BUILD_GROUP:
        return exact ? OMEN_OK : group(build);
    case GPU_BUILD_LEAVES:
        return exact ? OMEN_OK : leaves(build);
    case GPU_BUILD_MERGE:
        return merge_and_offer(build);
    case GPU_BUILD_PRUNE:
        return choose(build, config->chosen_max, 0, &build->chosen);
    case GPU_BUILD_REVERSE:
        return reverse(build);
    case GPU_BUILD_PRUNE_AGAIN:
        return choose(build, config->links_max, config->links_max, &build->links);
    case GPU_BUILD_REACH:
        return reach(build);
    case GPU_BUILD_PACK:
        return pack(build);
    default:
        return OMEN_OK;
    }
}

static omen_status
download(struct build *build, const struct build_job *job)
{
    const struct gpu_build_config *config = build->config;
    const size_t bytes = (size_t)build->count *
                         link_row_bytes(config->links_max, (enum link_width)config->link_width);
    const omen_status status = build->ops->get(build->device, job->blocks, build->blocks, bytes);
    const size_t words = ((size_t)build->count + 31) / 32;
    return status == OMEN_OK
               ? build->ops->get(build->device, job->seen, build->seen, words * sizeof *job->seen)
               : status;
}

// Their times are read when all are done.
static omen_status
run_stages(struct build *build, const struct build_job *job)
{
    const struct device_ops *ops = build->ops;
    omen_status status = ops->mark(build->device, 0);
    for (uint32_t stage = 0; stage <= GPU_BUILD_DOWNLOAD && status == OMEN_OK; stage++) {
        if (job->watch != NULL)
            status = ops->wait(build->device);
        if (status == OMEN_OK)
            status = build_tell(job, (enum gpu_build_stage)stage, 0, 1);
        if (status == OMEN_OK)
            status = stage == GPU_BUILD_DOWNLOAD ? download(build, job)
                                                 : run_stage(build, (enum gpu_build_stage)stage);
        if (status == OMEN_OK)
            status = ops->mark(build->device, stage + 1);
    }
    for (uint32_t stage = 0; stage <= GPU_BUILD_DOWNLOAD && status == OMEN_OK; stage++)
        status = ops->between(build->device, stage, stage + 1, &build->report->stage_ms[stage]);
    return status;
}

omen_status
build_whole(const struct build_job *job)
{
    struct build build = {.config = job->config,
                          .input = job->input,
                          .ops = job->handle->ops,
                          .device = job->handle->device,
                          .report = job->report,
                          .count = job->count};
    if (build.count > build.config->exact_rows)
        build.leaders = build_leaders(build.config, build.count);
    build.report->leaders = build.leaders;
    const omen_status status = run_stages(&build, job);
    drop_all(&build);
    return status;
}
