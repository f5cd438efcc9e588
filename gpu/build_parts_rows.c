// gpu/build_parts_rows.c -- memory of a build by parts, and codes on their way to the device.
//
// Shape: handle for the length of one call.
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/pool.h"
#include "gpu/build_parts_int.h"

#define GATHER_BYTES 131072u // of one unit of work

// ---- memory ----
omen_status
parts_take(struct parts *parts, size_t bytes, void *pointer)
{
    void *memory = NULL;
    ASSERT(parts->taken_count < TAKEN_MAX);
    const omen_status status = parts->ops->alloc(parts->device, bytes, &memory);
    memcpy(pointer, &memory, sizeof memory);
    if (status != OMEN_OK)
        return status;
    parts->taken[parts->taken_count++] = memory;
    parts->bytes += bytes;
    struct gpu_build_report *const report = parts->job->report;
    if (parts->bytes > report->device_bytes)
        report->device_bytes = parts->bytes;
    return OMEN_OK;
}

omen_status
parts_take_pinned(struct parts *parts, size_t bytes, void *pointer)
{
    void *memory = NULL;
    const omen_status status = parts->ops->host_alloc(parts->device, bytes, &memory);
    memcpy(pointer, &memory, sizeof memory);
    return status;
}

omen_status
parts_take_plain(size_t bytes, void *pointer)
{
    void *const memory = mem_alloc(bytes);
    memcpy(pointer, &memory, sizeof memory);
    return memory != NULL ? OMEN_OK : OMEN_E_NO_MEMORY;
}

// ---- codes to the device ----
struct gather {
    const struct parts *parts;
    const uint32_t *numbers;
    uint32_t count, unit_rows;
    int8_t *codes; // `count` of them, and of metas
    struct byte_meta *metas;
};

static void
gather_unit(void *context, uint32_t index, uint32_t worker)
{
    (void)worker;
    const struct gather *gather = context;
    const struct gpu_build_input *in = gather->parts->job->input;
    const uint32_t from = index * gather->unit_rows;
    const uint32_t end = from + parts_smaller(gather->count - from, gather->unit_rows);
    for (uint32_t i = from; i < end; i++) {
        const size_t row = gather->numbers[i];
        memcpy(gather->codes + (size_t)i * in->stride, in->codes + row * in->stride, in->stride);
        gather->metas[i] = in->metas[row];
    }
}

static void
gather_rows(struct gather *gather)
{
    const uint32_t unit = GATHER_BYTES / gather->parts->stride;
    gather->unit_rows = unit > 0 ? unit : 1;
    pool_run(gather->parts->config->threads,
             (gather->count + gather->unit_rows - 1) / gather->unit_rows, gather_unit, gather);
}

omen_status
parts_take_table(struct parts *parts, uint32_t rows, struct parts_table *table)
{
    const omen_status status = parts_take(parts, (size_t)rows * parts->stride, &table->codes);
    return status == OMEN_OK ? parts_take(parts, rows * sizeof *table->metas, &table->metas)
                             : status;
}

// Rows are gathered in one half of the staged memory while those before are on their way out of the other one.
omen_status
parts_load(struct parts *parts, uint32_t count, const struct parts_table *table)
{
    const struct device_ops *ops = parts->ops;
    const uint32_t most = parts->job->plan->staged_rows;
    omen_status status = OMEN_OK;
    for (uint32_t from = 0, half = 0; from < count && status == OMEN_OK; from += most, half ^= 1) {
        const uint32_t rows = parts_smaller(count - from, most);
        struct gather gather = {.parts = parts,
                                .numbers = parts->numbers + from,
                                .count = rows,
                                .codes = parts->codes + (size_t)half * most * parts->stride,
                                .metas = parts->metas + (size_t)half * most};
        gather_rows(&gather);
        if (from > 0)
            status = ops->wait(parts->device); // for the other half
        if (status == OMEN_OK)
            status = ops->put(parts->device, table->codes + (size_t)from * parts->stride,
                              gather.codes, (size_t)rows * parts->stride);
        if (status == OMEN_OK)
            status = ops->put(parts->device, table->metas + from, gather.metas,
                              rows * sizeof *gather.metas);
    }
    return status == OMEN_OK ? ops->wait(parts->device) : status;
}

struct device_rows
parts_rows(const struct parts *parts, const struct parts_table *table, uint32_t count)
{
    return (struct device_rows){.codes = table->codes,
                                .metas = table->metas,
                                .count = count,
                                .stride = parts->stride,
                                .ip = parts->job->input->ip,
                                .radius2 = parts->job->input->radius2};
}
