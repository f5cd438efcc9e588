// gpu/build_parts.c -- a graph over more rows than fit a device: their codes and lists come to it part by part.
//
// Shape: handle for the length of one call.
//
// What needs distances is done by the device for some rows at a time: which leaders are near, all pairs of some leaves, which
// candidates occlude each other. The codes wanted for it are gathered on the host into pinned memory and copied; the device
// numbers them as they come. Numbers there ascend with the rows', so that equal distances have the order that they have in
// build.c, and the graph is the same. The rest is done on the host, by the plain half's operations: places are grouped, the
// nearest of all leaves kept, links turned round, followed and packed.
//
// Lists spilt to the host and merged by the device were rejected: they are twice as long (fanout * leaf_keep against list).
#include "base/alloc.h"
#include "base/assert.h"
#include "base/os_clock.h"
#include "base/pool.h"
#include "gpu/build_parts_int.h"
#include "index/graph.h"

#define PACK_ROWS 16384u
#define MEASURE_ROWS 1024u

// ---- memory ----
static void
drop_all(struct parts *parts)
{
    while (parts->taken_count > 0)
        parts->ops->free(parts->device, parts->taken[--parts->taken_count]);
    parts->bytes = 0;
}

static void
close_all(struct parts *parts)
{
    void *const pinned[] = {parts->lists, parts->chosen, parts->assigned, parts->codes,
                            parts->metas};
    void *const plain[] = {parts->places,  parts->starts, parts->leaves,
                           parts->numbers, parts->met,    parts->met_before};
    drop_all(parts);
    for (size_t i = 0; i < sizeof pinned / sizeof *pinned; i++)
        parts->ops->host_free(parts->device, pinned[i]);
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        mem_free(plain[i]);
    device_cpu.close(parts->host);
}

static omen_status
open_all(struct parts *parts)
{
    const struct gpu_build_plan *plan = parts->job->plan;
    const size_t n = parts->count;
    const size_t words = (n + 31) / 32, staged = (size_t)plan->staged_rows * 2;
    uint32_t numbers = parts_table_rows(parts);
    numbers = numbers > plan->assign_rows ? numbers : plan->assign_rows;
    numbers = numbers > plan->leaf_places ? numbers : plan->leaf_places;
    numbers = numbers > parts->leaders ? numbers : parts->leaders;
    struct omen_error error;
    omen_status status = device_cpu.open(0, &parts->host, &error);
    if (status == OMEN_OK)
        status = parts_take_plain((size_t)numbers * sizeof(uint32_t), &parts->numbers);
    if (status == OMEN_OK)
        status = parts_take_plain(words * sizeof(uint32_t), &parts->met);
    if (status == OMEN_OK)
        status = parts_take_plain(words * sizeof(uint32_t), &parts->met_before);
    if (status == OMEN_OK)
        status = parts_take_pinned(parts, staged * parts->stride, &parts->codes);
    if (status == OMEN_OK)
        status = parts_take_pinned(parts, staged * sizeof *parts->metas, &parts->metas);
    if (status == OMEN_OK)
        status =
            parts_take_pinned(parts, n * parts->config->list * sizeof(uint64_t), &parts->lists);
    return status;
}

omen_status
parts_begin(const struct parts *parts, uint32_t done, uint32_t total)
{
    parts->job->report->parts++;
    return build_tell(parts->job, parts->stage, done, total);
}

// ---- what the host does ----
// Some rows of a reverse.
struct turned {
    const struct device_reverse *reverse;
    uint32_t units;
};

static void
reverse_unit(void *context, uint32_t index, uint32_t worker)
{
    (void)worker;
    const struct turned *turned = context;
    const uint32_t units = turned->units, count = turned->reverse->count;
    device_cpu_reverse_to(turned->reverse, (uint32_t)((uint64_t)count * index / units),
                          (uint32_t)((uint64_t)count * (index + 1) / units));
}

static void
turn_round(const struct parts *parts, const struct device_reverse *reverse)
{
    struct turned turned = {.reverse = reverse, .units = parts->config->threads};
    pool_run(turned.units, turned.units, reverse_unit, &turned);
}

// As build.c's: codes would have to be gathered for the device, which takes as long as their products here.
static void
measure_unit(void *context, uint32_t index, uint32_t worker)
{
    (void)worker;
    const struct parts *parts = context;
    const struct gpu_build_input *in = parts->job->input;
    const uint32_t from = index * MEASURE_ROWS, width = parts->config->list;
    const uint32_t count = parts_smaller(parts->count - from, MEASURE_ROWS);
    uint64_t *const keys = parts->lists + (size_t)from * width;
    const struct device_measure measured = {.rows = {.codes = in->codes,
                                                     .metas = in->metas,
                                                     .count = in->count,
                                                     .stride = in->stride,
                                                     .ip = in->ip,
                                                     .radius2 = in->radius2},
                                            .first = from,
                                            .count = count,
                                            .width = width,
                                            .keys = keys};
    const struct device_merge sorted = {
        .keys = keys, .count = count, .width = width, .kept = width, .merged = keys};
    omen_status status = device_cpu.measure(parts->host, &measured);
    if (status == OMEN_OK)
        status = device_cpu.merge(parts->host, &sorted);
    ASSERT(status == OMEN_OK); // they have nothing that can fail
}

// As build.c's, from one piece of the host's memory to another, which takes its place.
static omen_status
offer(struct parts *parts)
{
    const struct gpu_build_config *config = parts->config;
    uint64_t *offered = NULL;
    if (config->farthest == 0)
        return OMEN_OK;
    const omen_status status =
        parts_take_pinned(parts, (size_t)parts->count * config->list * sizeof *offered, &offered);
    if (status != OMEN_OK)
        return status;
    const struct device_reverse reverse =
        build_offer_lists(config, parts->count, parts->lists, offered);
    turn_round(parts, &reverse);
    parts->ops->host_free(parts->device, parts->lists);
    parts->lists = offered;
    return OMEN_OK;
}

static omen_status
measure_and_offer(struct parts *parts)
{
    if (parts->config->near_turns > 0)
        pool_run(parts->config->threads, (parts->count + MEASURE_ROWS - 1) / MEASURE_ROWS,
                 measure_unit, parts);
    return offer(parts);
}

static omen_status
reverse(struct parts *parts)
{
    const struct device_reverse reverse =
        build_offer_chosen(parts->config, parts->count, parts->chosen, parts->lists);
    turn_round(parts, &reverse);
    return OMEN_OK;
}

static omen_status
reach_by(struct parts *parts, const struct device_handle *by, const uint64_t *links, uint32_t *seen)
{
    uint32_t reached = 0;
    const struct device_reach reached_from = {.links = links,
                                              .count = parts->count,
                                              .keep = parts->config->links_max,
                                              .entry = parts->config->entry,
                                              .seen = seen,
                                              .reached = &reached,
                                              .steps = &parts->job->report->steps};
    const omen_status status = by->ops->reach(by->device, &reached_from);
    parts->job->report->unreached = parts->count - reached;
    return status;
}

// By the device where it has room for all links at once: one thread follows them on the host.
static omen_status
reach(struct parts *parts)
{
    const size_t link_bytes = (size_t)parts->count * parts->config->links_max * sizeof(uint64_t);
    const size_t seen_bytes = ((size_t)parts->count + 31) / 32 * sizeof(uint32_t);
    uint64_t *links = NULL;
    uint32_t *seen = NULL;
    if (link_bytes + seen_bytes > parts->job->plan->bytes)
        return reach_by(parts, &(struct device_handle){&device_cpu, parts->host}, parts->lists,
                        parts->job->seen);
    omen_status status = parts_take(parts, link_bytes, &links);
    if (status == OMEN_OK)
        status = parts_take(parts, seen_bytes, &seen);
    if (status == OMEN_OK)
        status = parts->ops->put(parts->device, links, parts->lists, link_bytes);
    if (status == OMEN_OK)
        status = reach_by(parts, parts->job->handle, links, seen);
    return status == OMEN_OK ? parts->ops->get(parts->device, parts->job->seen, seen, seen_bytes)
                             : status;
}

static void
pack_unit(void *context, uint32_t index, uint32_t worker)
{
    (void)worker;
    const struct parts *parts = context;
    const struct gpu_build_config *config = parts->config;
    const uint32_t from = index * PACK_ROWS;
    const size_t bytes = link_row_bytes(config->links_max, (enum link_width)config->link_width);
    const struct device_pack pack = {.links = parts->lists + (size_t)from * config->links_max,
                                     .count = parts_smaller(parts->count - from, PACK_ROWS),
                                     .keep = config->links_max,
                                     .links_max = config->links_max,
                                     .width = config->link_width,
                                     .blocks = parts->job->blocks + from * bytes};
    const omen_status status = device_cpu.pack(parts->host, &pack);
    ASSERT(status == OMEN_OK); // it has nothing that can fail
}

static omen_status
pack(struct parts *parts)
{
    pool_run(parts->config->threads, (parts->count + PACK_ROWS - 1) / PACK_ROWS, pack_unit, parts);
    return OMEN_OK;
}

omen_status
build_by_parts(const struct build_job *job)
{
    static const struct {
        enum gpu_build_stage stage;
        omen_status (*run)(struct parts *parts);
    } stages[] = {{GPU_BUILD_UPLOAD, open_all},
                  {GPU_BUILD_ASSIGN, parts_assign},
                  {GPU_BUILD_GROUP, parts_group},
                  {GPU_BUILD_LEAVES, parts_leaves},
                  {GPU_BUILD_MERGE, measure_and_offer},
                  {GPU_BUILD_PRUNE, parts_choose},
                  {GPU_BUILD_REVERSE, reverse},
                  {GPU_BUILD_PRUNE_AGAIN, parts_choose_again},
                  {GPU_BUILD_REACH, reach},
                  {GPU_BUILD_PACK, pack}};
    struct parts parts = {.job = job,
                          .config = job->config,
                          .ops = job->handle->ops,
                          .device = job->handle->device,
                          .count = job->count,
                          .stride = job->input->stride,
                          .leaders = build_leaders(job->config, job->count)};
    job->report->leaders = parts.leaders;
    omen_status status = OMEN_OK;
    for (size_t i = 0; i < sizeof stages / sizeof *stages && status == OMEN_OK; i++) {
        const uint64_t begun = os_clock_ns();
        parts.stage = stages[i].stage;
        status = stages[i].run(&parts);
        drop_all(&parts);
        job->report->stage_ms[stages[i].stage] = (float)((double)(os_clock_ns() - begun) * 1e-6);
    }
    close_all(&parts);
    return status;
}
