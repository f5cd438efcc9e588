// index/hnsw_bulk.c -- the links of an index made at once (index/build.h); hnsw_bulk_install.c puts them in place.
//
// Shape: handle.
//
// Made beside searches and writes: rows that are not linked yet get their codes, which nobody reads before, and the links lie in
// memory of their own. Put in place row by row under the rows' locks. A walk that is under way meets old rows and new; either
// leads to what is near, and what it answers is compared by rows, so it may find less for a moment but nothing wrong.
//
// Rows that were erased before are left out: nothing leads to them any more, which is all that repairing would do. What is erased
// or appended meanwhile is repaired or linked afterwards, as ever.
#include <math.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/os_clock.h"
#include "base/pool.h"
#include "index/hnsw_bulk_int.h"

#define PROGRESS_NS 50000000u // between two calls of a progress function
#define MORE_SHARE 16u        // of what is there, so much may come before the build begins

// Whether to go on; the caller's thread asks now and then. Of what is there to do nothing is done yet.
static bool
goes_on(struct hnsw_bulk *bulk, uint32_t worker)
{
    const struct hnsw_bulk_options *options = &bulk->options;
    if (worker == 0 && options->progress != NULL && os_clock_ns() > bulk->asked_ns + PROGRESS_NS) {
        bulk->asked_ns = os_clock_ns();
        if (options->progress(options->context, 0, bulk->rows) != 0)
            atomic_store(&bulk->status, OMEN_E_CANCELLED);
    }
    return atomic_load_explicit(&bulk->status, memory_order_relaxed) == OMEN_OK;
}

// Codes of rows that have none yet.
static void
code_block(void *context, uint32_t index, uint32_t worker)
{
    struct hnsw_bulk *bulk = context;
    struct hnsw *hnsw = bulk->hnsw;
    if (!goes_on(bulk, worker))
        return;
    const uint32_t linked = atomic_load_explicit(&hnsw->linked_prefix, memory_order_relaxed);
    const uint32_t from = index * BULK_BLOCK_ROWS, left = bulk->rows - from;
    const uint32_t end = from + (left < BULK_BLOCK_ROWS ? left : BULK_BLOCK_ROWS);
    for (uint32_t slot = from; slot < end; slot++)
        if (slot >= linked && slot >= hnsw->chosen)
            hnsw_encode(hnsw, slot, bulk->scratches[worker]);
}

// Of the rows that code_block reads.
static uint64_t
uncoded_bytes(const struct hnsw_bulk *bulk)
{
    const struct hnsw *hnsw = bulk->hnsw;
    const uint32_t linked = atomic_load_explicit(&hnsw->linked_prefix, memory_order_relaxed);
    const uint32_t coded = linked > hnsw->chosen ? linked : hnsw->chosen;
    return coded < bulk->rows ? (uint64_t)(bulk->rows - coded) * hnsw->row_bytes : 0;
}

static void
sketch_block(void *context, uint32_t index, uint32_t worker)
{
    struct hnsw_bulk *bulk = context;
    if (!goes_on(bulk, worker))
        return;
    const uint32_t from = index * BULK_BLOCK_ROWS, left = bulk->count - from;
    const uint32_t end = from + (left < BULK_BLOCK_ROWS ? left : BULK_BLOCK_ROWS);
    for (uint32_t row = from; row < end; row++)
        bulk_sketch(bulk->hnsw, bulk_slot(bulk, row), bulk->scratches[worker]->vector,
                    bulk->sketches + (size_t)row * TILE_SKETCH);
}

static omen_status
scratches_open(struct hnsw_bulk *bulk)
{
    const uint32_t threads = bulk->options.threads;
    bulk->scratches = mem_alloc_zero(threads, sizeof *bulk->scratches);
    omen_status status = bulk->scratches != NULL ? OMEN_OK : OMEN_E_NO_MEMORY;
    for (uint32_t i = 0; i < threads && status == OMEN_OK; i++) {
        status = scratch_open(&bulk->scratches[i]);
        if (status == OMEN_OK)
            status = scratch_fit(bulk->scratches[i], bulk->hnsw, 1, 1);
    }
    return status;
}

static void
scratches_close(struct hnsw_bulk *bulk)
{
    for (uint32_t i = 0; bulk->scratches != NULL && i < bulk->options.threads; i++)
        scratch_close(bulk->scratches[i]);
    mem_free(bulk->scratches);
    bulk->scratches = NULL;
}

static void
count_rows(struct hnsw_bulk *bulk)
{
    for (uint32_t slot = 0; slot < bulk->rows; slot++)
        bulk->count += !atomic_bit_test(bulk->hnsw->erased, slot);
}

static size_t
slots_bytes(const struct hnsw_bulk *bulk)
{
    return bulk->count < bulk->rows ? ((size_t)bulk->count + 1) * sizeof *bulk->slots : 0;
}

// Lists what lives, where not everything does.
static omen_status
list_rows(struct hnsw_bulk *bulk)
{
    const struct hnsw *hnsw = bulk->hnsw;
    if (bulk->count == bulk->rows)
        return OMEN_OK;
    bulk->slots = mem_alloc(slots_bytes(bulk));
    if (bulk->slots == NULL)
        return OMEN_E_NO_MEMORY;
    // Others erase meanwhile: what was counted may be one that is dead now, never more than there is room for.
    uint32_t listed = 0;
    for (uint32_t slot = 0; slot < bulk->rows && listed < bulk->count; slot++)
        if (!atomic_bit_test(hnsw->erased, slot))
            bulk->slots[listed++] = slot;
    bulk->count = listed;
    return OMEN_OK;
}

static size_t
sketches_bytes(const struct hnsw_bulk *bulk)
{
    return hnsw_kind(bulk->hnsw) == CODE_EXACT
               ? (size_t)bulk->rows * TILE_SKETCH * sizeof *bulk->sketches
               : 0;
}

static omen_status
make_sketches(struct hnsw_bulk *bulk)
{
    if (hnsw_kind(bulk->hnsw) != CODE_EXACT)
        return OMEN_OK;
    bulk->sketches = pages_alloc(sketches_bytes(bulk));
    if (bulk->sketches == NULL)
        return OMEN_E_NO_MEMORY;
    pool_run_behind(bulk->options.threads, (bulk->count + BULK_BLOCK_ROWS - 1) / BULK_BLOCK_ROWS,
                    sketch_block, bulk);
    return OMEN_OK;
}

static size_t
codes_bytes(const struct hnsw *hnsw)
{
    struct hnsw_memory memory;
    hnsw_memory(hnsw, &memory);
    return memory.codes;
}

// What is taken beside the build's own: codes too, which the index keeps and has not counted.
static size_t
bytes_besides(const struct hnsw_bulk *bulk)
{
    const size_t codes = codes_bytes(bulk->hnsw);
    size_t bytes = sizeof *bulk + slots_bytes(bulk) + sketches_bytes(bulk);
    for (uint32_t i = 0; i < bulk->options.threads; i++)
        bytes += scratch_bytes(bulk->scratches[i]);
    return bytes + (codes > bulk->codes_before ? codes - bulk->codes_before : 0);
}

static struct build_config
config_of(const struct hnsw_bulk *bulk)
{
    struct build_config config = build_config_for(bulk->hnsw->graph.links_max);
    config.seed = bulk->hnsw->config.seed;
    config.threads = bulk->options.threads;
    // Queries under ip are not like the rows: what is near to one may be far apart. With less overlap they find less (of 9,000
    // rows, ef 10, some 4 points of recall; under the other metrics 0.4, and nothing at ef 32).
    if (bulk->hnsw->config.metric == METRIC_IP)
        config.fanout_far = INFINITY;
    config.progress = bulk->options.progress;
    config.context = bulk->options.context;
    config.maker = bulk->options.maker;
    return config;
}

// Everything is there that rows are read from.
static omen_status
make_readable(struct hnsw_bulk *bulk)
{
    omen_status status = list_rows(bulk);
    if (status != OMEN_OK)
        return status;
    pool_run_behind(bulk->options.threads, (bulk->rows + BULK_BLOCK_ROWS - 1) / BULK_BLOCK_ROWS,
                    code_block, bulk);
    status = make_sketches(bulk);
    return status != OMEN_OK ? status : atomic_load(&bulk->status);
}

static omen_status
make(struct hnsw_bulk *bulk, struct hnsw_bulk_report *report)
{
    const uint64_t began = os_clock_ns(), spent = os_processor_ns();
    const size_t limit = bulk->options.memory_max;
    if (!hnsw_found(bulk->hnsw, bulk->scratches[0]))
        return OMEN_E_NO_MEMORY;
    report->found_ns = os_clock_ns() - began;
    report->found_processor_ns = os_processor_ns() - spent;
    count_rows(bulk);
    struct build_config config = config_of(bulk);
    struct build_rows rows = bulk_rows(bulk, hnsw_kind(bulk->hnsw));
    const size_t besides = bytes_besides(bulk);
    report->memory = build_memory(&rows, &config);
    report->memory.least += besides;
    report->memory.most += besides;
    if (limit != 0 && limit < report->memory.least)
        return OMEN_E_NO_MEMORY;
    config.memory_max = limit != 0 ? limit - besides : 0;
    report->memory_besides = besides;
    report->encode_read = uncoded_bytes(bulk);
    omen_status status = make_readable(bulk);
    report->encode_ns = os_clock_ns() - began - report->found_ns;
    report->encode_processor_ns = os_processor_ns() - spent - report->found_processor_ns;
    if (status != OMEN_OK)
        return status;
    rows =
        bulk_rows(bulk, hnsw_kind(bulk->hnsw)); // some may have been erased since they were counted
    status = build_run(&rows, &config, &bulk->graph, &report->build);
    report->memory_peak = besides + report->build.memory_peak;
    return status;
}

static void
add_stage(struct hnsw_bulk_stage *out, uint32_t *count, struct hnsw_bulk_stage stage)
{
    if (stage.ns > 0)
        out[(*count)++] = stage;
}

uint32_t
hnsw_bulk_stages(const struct hnsw_bulk_report *report,
                 struct hnsw_bulk_stage out[HNSW_BULK_STAGES])
{
    const struct build_report *build = &report->build;
    const uint64_t besides = report->memory_besides;
    uint32_t count = 0;
    add_stage(
        out, &count,
        (struct hnsw_bulk_stage){"found", report->found_ns, report->found_processor_ns, 0, 0});
    add_stage(out, &count,
              (struct hnsw_bulk_stage){"encode", report->encode_ns, report->encode_processor_ns,
                                       besides, report->encode_read});
    for (int stage = 0; stage < BUILD_STAGES; stage++)
        add_stage(out, &count,
                  (struct hnsw_bulk_stage){build_stage_name((enum build_stage)stage),
                                           build->ns[stage], build->processor_ns[stage],
                                           besides + build->memory[stage], build->read[stage]});
    add_stage(out, &count,
              (struct hnsw_bulk_stage){"install", report->install_ns, report->install_processor_ns,
                                       besides + build->memory_left, 0});
    return count;
}

// What rows and codes of one kind take at most; codes that are there are not taken again.
static size_t
most_of(struct hnsw_bulk *bulk, enum code_kind kind)
{
    const struct hnsw *hnsw = bulk->hnsw;
    const struct build_config config = config_of(bulk);
    const struct build_rows rows = bulk_rows(bulk, kind);
    const size_t sketch = kind == CODE_EXACT ? TILE_SKETCH * sizeof(float) : 0;
    const size_t code = hnsw_kind(hnsw) != CODE_NONE ? 0
                        : kind == CODE_NIBBLE
                            ? (size_t)2 * hnsw->codec.row_bytes + sizeof(struct byte_meta)
                            : sizeof(struct byte_meta);
    return build_memory(&rows, &config).most + bulk->rows * (sizeof *bulk->slots + sketch + code);
}

size_t
hnsw_bulk_most(struct hnsw *hnsw, uint32_t threads)
{
    const uint32_t rows = hnsw_count(hnsw);
    struct hnsw_bulk bulk = {
        .hnsw = hnsw, .options = {.threads = threads}, .rows = rows, .count = rows};
    size_t most = SIZE_MAX;
    if (scratches_open(&bulk) == OMEN_OK) {
        const enum code_kind kind = hnsw_kind(hnsw);
        const size_t coded = kind != CODE_EXACT ? most_of(&bulk, CODE_NIBBLE) : 0;
        const size_t exact = kind != CODE_NIBBLE ? most_of(&bulk, CODE_EXACT) : 0;
        most = coded > exact ? coded : exact;
        for (uint32_t i = 0; i < threads; i++)
            most += scratch_bytes(bulk.scratches[i]);
        most += most / MORE_SHARE;
    }
    scratches_close(&bulk);
    return most;
}

omen_status
hnsw_bulk_make(struct hnsw *hnsw, const struct hnsw_bulk_options *options,
               struct hnsw_bulk_report *report, struct hnsw_bulk **out)
{
    *out = NULL;
    *report = (struct hnsw_bulk_report){0};
    if (hnsw->config.flat || !hnsw_founded(hnsw))
        return OMEN_OK;
    struct hnsw_bulk *bulk = mem_alloc_zero(1, sizeof *bulk);
    if (bulk == NULL)
        return OMEN_E_NO_MEMORY;
    bulk->hnsw = hnsw;
    bulk->options = *options;
    bulk->rows = hnsw_count(hnsw);
    bulk->codes_before = codes_bytes(hnsw);
    omen_status status = scratches_open(bulk);
    if (status == OMEN_OK)
        status = make(bulk, report);
    scratches_close(bulk);
    report->rows = bulk->count;
    if (status == OMEN_OK)
        *out = bulk;
    else
        hnsw_bulk_close(bulk);
    return status;
}

// Nobody links, so rows from linked_prefix on are in nobody's hands.
static omen_status
take(struct hnsw_bulk *bulk)
{
    if (!hnsw_found(bulk->hnsw, bulk->scratches[0]))
        return OMEN_E_NO_MEMORY;
    pool_run_behind(bulk->options.threads, (bulk->rows + BULK_BLOCK_ROWS - 1) / BULK_BLOCK_ROWS,
                    code_block, bulk);
    return atomic_load(&bulk->status);
}

omen_status
hnsw_bulk_take(struct hnsw *hnsw, const struct hnsw_bulk_options *options, struct hnsw_links *links,
               struct hnsw_bulk **out)
{
    *out = NULL;
    ASSERT(links->rows <= hnsw_count(hnsw) && links->graph.count <= links->rows);
    ASSERT(links->graph.links_max == hnsw->graph.links_max && hnsw_founded(hnsw));
    struct hnsw_bulk *bulk = mem_alloc_zero(1, sizeof *bulk);
    if (bulk == NULL) {
        hnsw_links_close(links);
        return OMEN_E_NO_MEMORY;
    }
    bulk->hnsw = hnsw;
    bulk->options = *options;
    bulk->rows = links->rows;
    bulk->count = links->graph.count;
    bulk->slots = links->slots;
    bulk->graph = links->graph;
    bulk->gaps = links->gaps;
    *links = (struct hnsw_links){0};
    omen_status status = scratches_open(bulk);
    if (status == OMEN_OK)
        status = take(bulk);
    scratches_close(bulk);
    if (status == OMEN_OK)
        *out = bulk;
    else
        hnsw_bulk_close(bulk);
    return status;
}

void
hnsw_links_close(struct hnsw_links *links)
{
    build_graph_close(&links->graph);
    mem_free(links->slots);
    *links = (struct hnsw_links){0};
}

void
hnsw_bulk_close(struct hnsw_bulk *bulk)
{
    if (bulk == NULL)
        return;
    build_graph_close(&bulk->graph);
    pages_free(bulk->sketches, sketches_bytes(bulk));
    mem_free(bulk->slots);
    mem_free(bulk);
}
