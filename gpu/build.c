// gpu/build.c -- a graph over many coded rows at once, by a device: planned, made, repaired and verified.
//
// Shape: handle.
#include "gpu/build.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/os_clock.h"
#include "base/pool.h"
#include "gpu/build_int.h"
#include "gpu/repair.h"
#include "index/graph.h"
#include "index/graph_verify.h"

#define VERIFY_ROWS 16384u // of one unit of work
// Of a device's free memory, one in so many bytes is left to operations and others.
#define SPARE_SHARE 8u

const char *const gpu_build_stage_names[GPU_BUILD_STAGES] = {
    "upload",      "assign", "group", "leaves",   "merge",  "prune", "reverse",
    "prune again", "reach",  "pack",  "download", "repair", "verify"};

// Thousandths of the time that stages take, as measured for 1,000,000 rows x 128 (docs/internals/gpu.md).
static const uint32_t stage_shares[GPU_BUILD_STAGES] = {25, 135, 5, 470, 20, 65, 25,
                                                        65, 5,   5, 20,  10, 150};

omen_status
build_tell(const struct build_job *job, enum gpu_build_stage stage, uint32_t done, uint32_t total)
{
    if (job->watch == NULL)
        return OMEN_OK;
    uint32_t before = 0;
    for (uint32_t i = 0; i < stage; i++)
        before += stage_shares[i];
    const uint64_t within = (uint64_t)stage_shares[stage] * done / total;
    return job->watch->progress(job->watch->context, before + within, 1000) != 0 ? OMEN_E_CANCELLED
                                                                                 : OMEN_OK;
}

// ---- what a device left ----

// Gives what no walk meets a link, in the blocks on the host.
static omen_status
repair(const struct build_job *job)
{
    const struct repair_rows rows = {.blocks = job->blocks,
                                     .count = job->count,
                                     .links_max = job->config->links_max,
                                     .width = job->config->link_width,
                                     .seen = job->seen};
    struct repair_report done = {0};
    omen_status status = OMEN_OK;
    if (job->report->unreached > 0)
        status = repair_unreached(&rows, &done);
    job->report->repaired = done.linked;
    job->report->stranded = done.stranded;
    return status;
}

struct verify {
    struct link_rows rows;
    struct omen_error *errors; // a unit of work each
};

static void
verify_unit(void *context, uint32_t index, uint32_t worker)
{
    (void)worker;
    struct verify *verify = context;
    struct link_rows rows = verify->rows;
    rows.first = index * VERIFY_ROWS;
    const uint32_t left = verify->rows.count - rows.first;
    rows.count = left < VERIFY_ROWS ? left : VERIFY_ROWS;
    rows.bytes += (size_t)rows.first * link_row_bytes(rows.links_max, rows.width);
    verify->errors[index].status = graph_verify(&rows, &verify->errors[index]);
}

static omen_status
verify(const struct build_job *job, struct omen_error *error)
{
    const uint32_t units = (job->count + VERIFY_ROWS - 1) / VERIFY_ROWS;
    struct verify context = {.rows = {.bytes = job->blocks,
                                      .count = job->count,
                                      .links_max = job->config->links_max,
                                      .width = (enum link_width)job->config->link_width,
                                      .slots = job->count},
                             .errors = mem_alloc_zero(units, sizeof *context.errors)};
    if (context.errors == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    pool_run(job->config->threads, units, verify_unit, &context);
    omen_status status = OMEN_OK;
    for (uint32_t i = 0; i < units && status == OMEN_OK; i++) {
        status = context.errors[i].status;
        if (status != OMEN_OK)
            (void)error_set(error, status, "%s", context.errors[i].text);
    }
    mem_free(context.errors);
    return status;
}

// ---- the build ----

static float
ms_since(uint64_t ns)
{
    return (float)((double)(os_clock_ns() - ns) * 1e-6);
}

// What the build may take of the device.
static uint64_t
bytes_allowed(const struct device_handle *handle, const struct gpu_build_config *config)
{
    if (config->device_bytes > 0)
        return config->device_bytes;
    struct device_facts facts;
    handle->ops->facts(handle->device, &facts);
    return facts.bytes == 0 ? UINT64_MAX : facts.bytes_free - facts.bytes_free / SPARE_SHARE;
}

omen_status
gpu_build_plan_on(const struct device_handle *handle, const struct gpu_build_config *config,
                  const struct gpu_build_shape *shape, struct gpu_build_plan *plan)
{
    return gpu_build_plan(config, shape, bytes_allowed(handle, config), plan);
}

size_t
gpu_build_host_bytes(const struct device_handle *handle, const struct gpu_build_config *config,
                     const struct gpu_build_shape *shape)
{
    struct gpu_build_plan planned;
    const omen_status status = gpu_build_plan_on(handle, config, shape, &planned);
    return status == OMEN_OK ? build_host_bytes(config, shape, &planned)
                             : build_host_bytes(config, shape, &(struct gpu_build_plan){0});
}

static omen_status
plan(const struct build_job *job, struct gpu_build_plan *out, struct omen_error *error)
{
    const struct gpu_build_shape shape = {job->count, job->input->stride};
    const omen_status status = gpu_build_plan_on(job->handle, job->config, &shape, out);
    return status == OMEN_OK ? OMEN_OK
                             : error_set(error, status,
                                         "building on %s: %u rows take at least %" PRIu64
                                         " bytes of its memory, there are %" PRIu64,
                                         job->handle->ops->name, job->count, out->bytes,
                                         bytes_allowed(job->handle, job->config));
}

// Blocks that a walk meets all of and that are verified.
static omen_status
run_and_verify(const struct build_job *job, struct omen_error *error)
{
    struct gpu_build_report *const report = job->report;
    const struct device_ops *const ops = job->handle->ops;
    omen_status status = job->plan->whole != 0 ? build_whole(job) : build_by_parts(job);
    const uint64_t repairing = os_clock_ns();
    if (status == OMEN_OK)
        status = build_tell(job, GPU_BUILD_REPAIR, 0, 1);
    if (status == OMEN_OK)
        status = repair(job);
    report->stage_ms[GPU_BUILD_REPAIR] = ms_since(repairing);
    if (status == OMEN_E_UNSUPPORTED)
        (void)error_set(error, status, "%u of %u rows are not reached from row %u",
                        report->unreached, job->count, job->config->entry);
    else if (status != OMEN_OK)
        (void)error_set(error, status, "building on %s: %s", ops->name,
                        status == OMEN_E_INTERNAL ? ops->trouble(job->handle->device)
                                                  : status_text(status));
    const uint64_t verifying = os_clock_ns();
    if (status == OMEN_OK)
        status = verify(job, error);
    report->stage_ms[GPU_BUILD_VERIFY] = ms_since(verifying);
    return status;
}

omen_status
gpu_build_run(const struct device_handle *handle, const struct gpu_build_config *config,
              const struct gpu_build_input *input, uint8_t *blocks,
              const struct gpu_build_watch *watch, struct gpu_build_report *report,
              struct omen_error *error)
{
    ASSERT(config->chosen_max <= config->links_max && config->links_max <= config->list);
    ASSERT(config->list <= DEVICE_LIST_MAX && config->farthest <= config->list);
    ASSERT(config->fanout * config->leaf_keep <= DEVICE_MERGE_MAX);
    ASSERT(input->stride % DEVICE_STRIDE == 0 && input->stride > 0);
    const uint64_t begun = os_clock_ns();
    *report = (struct gpu_build_report){0};
    if (input->count == 0)
        return error_set(error, OMEN_E_INVALID, "no rows to build a graph of");
    ASSERT(config->entry < input->count);
    ASSERT((uint64_t)input->count * config->fanout <= UINT32_MAX);
    struct gpu_build_plan planned;
    struct build_job job = {.handle = handle,
                            .config = config,
                            .input = input,
                            .plan = &planned,
                            .count = input->count,
                            .blocks = blocks,
                            .watch = watch,
                            .report = report};
    omen_status status = plan(&job, &planned, error);
    if (status != OMEN_OK)
        return status;
    job.seen = mem_alloc(((size_t)job.count + 31) / 32 * sizeof *job.seen);
    status =
        job.seen == NULL ? error_set_plain(error, OMEN_E_NO_MEMORY) : run_and_verify(&job, error);
    mem_free(job.seen);
    report->total_ms = ms_since(begun);
    return status;
}
