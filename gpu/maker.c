// gpu/maker.c -- a device as the maker of a bulk build's links.
//
// Shape: handle.
//
// The bytes that rows are compared by are what a device has as codes, and their numbers are metas but for ip: there a row's norm is
// the component that is thought to be there besides or says how much longer the row is than R (index/codec.h). The first is
// `extra`; of the second R^2 is found as the least of what is added, which is that of all rows that are not longer.
#include "gpu/maker.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/float_bits.h"
#include "base/limits.h"
#include "base/pool.h"
#include "index/graph.h"

#define UNIT_ROWS 1024u

struct made {
    const struct build_rows *rows;
    struct gpu_build_config config;
    uint32_t stride;
    int8_t *codes;           // count x stride
    struct byte_meta *metas; // count
    uint8_t *blocks;
    _Atomic uint32_t add_least; // a float's bits, which ascend with it where it is positive
    uint32_t *links;
    uint8_t *counts;
};

static uint32_t
stride_of(const struct build_rows *rows)
{
    return (rows->width + DEVICE_STRIDE - 1) / DEVICE_STRIDE * DEVICE_STRIDE;
}

static struct gpu_build_config
config_of(const struct gpu_maker *maker, const struct build_rows *rows,
          const struct build_config *config)
{
    const uint32_t links = config->links_max / 2;
    struct gpu_build_config own = rows->extras ? gpu_build_config_for_ip(rows->count, links)
                                               : gpu_build_config_for(rows->count, links);
    own.threads = config->threads;
    own.seed = config->seed;
    own.device_bytes = maker->device_bytes;
    return own;
}

static size_t
block_bytes(const struct gpu_build_config *config)
{
    return link_row_bytes(config->links_max, (enum link_width)config->link_width);
}

static size_t
bytes(void *context, const struct build_rows *rows, const struct build_config *config)
{
    const struct gpu_maker *maker = context;
    const struct gpu_build_config own = config_of(maker, rows, config);
    const struct gpu_build_shape shape = {rows->count, stride_of(rows)};
    return rows->count * (shape.stride + sizeof(struct byte_meta) + block_bytes(&own)) +
           gpu_build_host_bytes(&maker->device, &own, &shape);
}

// ---- rows ----
static uint32_t
unit_end(uint32_t index, uint32_t count)
{
    const uint32_t from = index * UNIT_ROWS;
    return count - from < UNIT_ROWS ? count : from + UNIT_ROWS;
}

static void
note_least(struct made *made, float add)
{
    const uint32_t bits = float_bits(add);
    uint32_t least = atomic_load_explicit(&made->add_least, memory_order_relaxed);
    while (bits < least &&
           !atomic_compare_exchange_weak_explicit(&made->add_least, &least, bits,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}

static void
read_unit(void *context, uint32_t index, uint32_t worker)
{
    (void)worker;
    struct made *made = context;
    const struct build_rows *rows = made->rows;
    _Alignas(64) uint8_t read[VECTOR_DIM_MAX + 128];
    const uint32_t end = unit_end(index, rows->count);
    for (uint32_t row = index * UNIT_ROWS; row < end; row++) {
        int8_t *const codes = made->codes + (size_t)row * made->stride;
        struct tile_numbers numbers;
        rows->read(rows->context, row, read, &numbers, NULL);
        for (uint32_t i = 0; i < rows->width; i++)
            codes[i] = (int8_t)(read[i] ^ 0x80);
        memset(codes + rows->width, 0, made->stride - rows->width);
        made->metas[row] = (struct byte_meta){.factor = numbers.scale, .norm = numbers.add};
        if (!rows->extras)
            continue;
        note_least(made, numbers.add);
        made->metas[row].norm = numbers.extra > 0.0f ? numbers.extra : -numbers.add;
    }
}

// Of rows without an extra component, of which by now what is added is known.
static float
settle_norms(struct made *made)
{
    const float radius2 = bits_float(atomic_load(&made->add_least));
    for (uint32_t row = 0; row < made->rows->count; row++) {
        float *const norm = &made->metas[row].norm;
        if (!(*norm > 0.0f))
            *norm = -sqrtf(-*norm > radius2 ? -*norm - radius2 : 0.0f);
    }
    return radius2;
}

static void
unpack_unit(void *context, uint32_t index, uint32_t worker)
{
    (void)worker;
    struct made *made = context;
    const struct kernels *kernels = kernels_best();
    const enum link_width width = (enum link_width)made->config.link_width;
    const uint32_t most = made->config.links_max, end = unit_end(index, made->rows->count);
    const size_t row_bytes = block_bytes(&made->config);
    for (uint32_t row = index * UNIT_ROWS; row < end; row++) {
        uint32_t links[LINK_ROW_MAX], count = 0;
        const uint8_t *block = made->blocks + row * row_bytes;
        for (uint32_t at = 0; at < most; at += GRAPH_BLOCK_LINKS) {
            count += (width == LINKS_24 ? kernels->unpack : kernels->unpack32)(
                block, made->rows->count, links + count);
            block += GRAPH_BLOCK_LINKS * (uint32_t)width;
        }
        memcpy(made->links + (size_t)row * most, links, count * sizeof *links);
        made->counts[row] = (uint8_t)count;
    }
}

// ---- the build ----
static omen_status
take(struct gpu_maker *maker, size_t wanted, void *pointer)
{
    void *memory = NULL;
    const omen_status status = maker->device.ops->host_alloc(maker->device.device, wanted, &memory);
    memcpy(pointer, &memory, sizeof memory);
    return status == OMEN_OK ? OMEN_OK
                             : error_set(&maker->error, status,
                                         "building on %s: no %zu bytes of memory that it reads",
                                         maker->device.ops->name, wanted);
}

static omen_status
run(struct gpu_maker *maker, struct made *made, const struct build_config *config)
{
    const uint32_t count = made->rows->count, units = (count + UNIT_ROWS - 1) / UNIT_ROWS;
    pool_run(config->threads, units, read_unit, made);
    struct gpu_build_input input = {.codes = made->codes,
                                    .metas = made->metas,
                                    .count = count,
                                    .stride = made->stride,
                                    .ip = made->rows->extras};
    if (made->rows->extras)
        input.radius2 = settle_norms(made);
    const struct gpu_build_watch watch = {config->progress, config->context};
    const omen_status status =
        gpu_build_run(&maker->device, &made->config, &input, made->blocks,
                      config->progress != NULL ? &watch : NULL, &maker->report, &maker->error);
    if (status == OMEN_OK)
        pool_run(config->threads, units, unpack_unit, made);
    return status;
}

// A device that has too little memory for all at once is slower than many processors.
static omen_status
check_parts(struct gpu_maker *maker, const struct gpu_build_config *own,
            const struct build_rows *rows)
{
    const struct gpu_build_shape shape = {rows->count, stride_of(rows)};
    struct gpu_build_plan plan;
    if (gpu_build_plan_on(&maker->device, own, &shape, &plan) != OMEN_OK)
        return OMEN_OK; // which gpu_build_run says with what is wanted
    const uint32_t parts = gpu_build_parts(own, &shape, &plan);
    if (!gpu_build_is_for_processors(own, &shape, parts))
        return OMEN_OK;
    return error_set(&maker->error, OMEN_E_UNSUPPORTED,
                     "%u rows of %u bytes would go through the GPU's memory in %u parts, which is "
                     "expected to take longer than %u threads do without it",
                     rows->count, shape.stride, parts, own->threads);
}

static omen_status
check(struct gpu_maker *maker, const struct build_rows *rows, const struct build_config *config)
{
    const struct gpu_build_config own = config_of(maker, rows, config);
    if (rows->kind != BUILD_BYTES)
        return error_set(&maker->error, OMEN_E_UNSUPPORTED,
                         "a GPU compares bytes; these vectors are linked as floats, without "
                         "8-bit codes");
    if (own.links_max > DEVICE_LIST_MAX)
        return error_set(&maker->error, OMEN_E_UNSUPPORTED,
                         "m is %u; a GPU gives a row at most %u links, so that m is %u or less",
                         own.links_max / 2, DEVICE_LIST_MAX, DEVICE_LIST_MAX / 2);
    if (rows->count > UINT32_MAX / own.fanout)
        return error_set(&maker->error, OMEN_E_UNSUPPORTED,
                         "%u rows; a GPU builds at most %u at once", rows->count,
                         UINT32_MAX / own.fanout);
    return maker->yields ? check_parts(maker, &own, rows) : OMEN_OK;
}

static omen_status
make(void *context, const struct build_rows *rows, const struct build_config *config,
     uint32_t *links, uint8_t *counts)
{
    struct gpu_maker *maker = context;
    const struct device_ops *ops = maker->device.ops;
    maker->error = (struct omen_error){0};
    maker->report = (struct gpu_build_report){0};
    omen_status status = check(maker, rows, config);
    if (status != OMEN_OK)
        return status;
    struct made made = {.rows = rows,
                        .config = config_of(maker, rows, config),
                        .stride = stride_of(rows),
                        .add_least = UINT32_MAX,
                        .links = links,
                        .counts = counts};
    status = take(maker, (size_t)rows->count * made.stride, &made.codes);
    if (status == OMEN_OK)
        status = take(maker, rows->count * sizeof *made.metas, &made.metas);
    if (status == OMEN_OK)
        status = take(maker, rows->count * block_bytes(&made.config), &made.blocks);
    if (status == OMEN_OK)
        status = run(maker, &made, config);
    ops->host_free(maker->device.device, made.codes);
    ops->host_free(maker->device.device, made.metas);
    ops->host_free(maker->device.device, made.blocks);
    return status;
}

struct build_maker
gpu_maker_of(struct gpu_maker *maker)
{
    return (struct build_maker){.context = maker, .bytes = bytes, .make = make};
}
