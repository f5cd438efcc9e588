// index/hnsw_bulk.c -- the links of an index made at once (index/build.h), and put in place of those it has.
//
// Shape: handle.
//
// Made beside searches and writes: rows that are not linked yet get their codes, which nobody reads before, and the links lie in
// memory of their own. Put in place row by row under the rows' locks. A walk that is under way meets old rows and new; either
// leads to what is near, and what it answers is compared by rows, so it may find less for a moment but nothing wrong.
//
// Rows that were erased before are left out: nothing leads to them any more, which is all that repairing would do. What is erased
// or appended meanwhile is repaired or linked afterwards, as ever.
#include "index/hnsw_bulk.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/os_clock.h"
#include "base/pool.h"
#include "base/prng.h"
#include "index/graph_verify.h"
#include "index/hnsw_int.h"
#include "index/vector.h"

#define BLOCK_ROWS 256u
#define PROGRESS_NS 50000000u // between two calls of a progress function

struct hnsw_bulk {
    struct hnsw *hnsw;
    struct hnsw_bulk_options options;
    uint32_t rows;       // slots below it are looked at
    uint32_t count;      // that live: the rows that are built
    uint32_t *slots;     // of each; NULL: row i is slot i
    float *sketches;     // of each, TILE_SKETCH; NULL: a code's own components are as good
    uint32_t width;      // components that are compared
    size_t codes_before; // bytes
    struct build_graph graph;
    struct scratch **scratches; // one a thread
    _Atomic int status;
    uint64_t asked_ns; // the caller's thread's: when it last asked whether to go on
};

static uint32_t
slot_of(const struct hnsw_bulk *bulk, uint32_t row)
{
    return bulk->slots != NULL ? bulk->slots[row] : row;
}

// ---- rows as they are compared ----

static struct byte_meta
meta_of(const struct hnsw *hnsw, uint32_t slot)
{
    struct byte_meta meta;
    memcpy(&meta, arena_row(&hnsw->meta, slot), sizeof meta);
    return meta;
}

// Under ip `norm` is the component that is thought to be there besides, or says how much longer the row is than R (codec.h).
static struct tile_numbers
numbers_ip(const struct codec *codec, float factor, float norm)
{
    const float longer = norm < 0.0f ? norm * norm : 0.0f;
    return (struct tile_numbers){
        .scale = factor, .add = codec->radius2 + longer, .extra = norm > 0.0f ? norm : 0.0f};
}

static void
prefetch_code(const void *context, uint32_t row)
{
    const struct hnsw_bulk *bulk = context;
    const struct hnsw *hnsw = bulk->hnsw;
    const uint32_t slot = slot_of(bulk, row);
    prefetch_lines(arena_row(&hnsw->high, slot), hnsw->codec.row_bytes);
    prefetch_lines(arena_row(&hnsw->low, slot), hnsw->codec.row_bytes);
    prefetch_line(arena_row(&hnsw->meta, slot));
}

// Both planes joined, without the gaps of the last block. The components are rotated, so the first are directions as good as any.
static void
read_code(const void *context, uint32_t row, void *components, struct tile_numbers *numbers,
          float *sketch)
{
    const struct hnsw_bulk *bulk = context;
    const struct hnsw *hnsw = bulk->hnsw;
    const struct codec *codec = &hnsw->codec;
    const uint32_t slot = slot_of(bulk, row), row_bytes = codec->row_bytes;
    const uint32_t whole = row_bytes / 64 * 128, w = row_bytes % 64;
    uint8_t joined[VECTOR_DIM_MAX + 128];
    hnsw->kernels->join(arena_row(&hnsw->high, slot), arena_row(&hnsw->low, slot), row_bytes,
                        joined);
    if (w > 0)
        memmove(joined + whole + w, joined + whole + 64, w);
    int8_t *out = components;
    const uint32_t width = codec->width; // by value: what is written might be anything
    for (uint32_t i = 0; i < width; i++)
        out[i] = (int8_t)(joined[i] ^ 0x80);
    const struct byte_meta meta = meta_of(hnsw, slot);
    *numbers = codec->metric == METRIC_IP
                   ? numbers_ip(codec, meta.factor, meta.norm)
                   : (struct tile_numbers){.scale = meta.factor, .add = meta.norm};
    for (uint32_t i = 0; sketch != NULL && i < TILE_SKETCH; i++)
        sketch[i] = meta.factor * (float)out[i];
}

static void
prefetch_row(const void *context, uint32_t row)
{
    const struct hnsw_bulk *bulk = context;
    prefetch_lines(arena_row(&bulk->hnsw->rows, slot_of(bulk, row)), bulk->hnsw->row_bytes);
}

static void
copy_sketch(const struct hnsw_bulk *bulk, uint32_t row, float *sketch)
{
    if (sketch != NULL)
        memcpy(sketch, bulk->sketches + (size_t)row * TILE_SKETCH, TILE_SKETCH * sizeof *sketch);
}

// Rows of integers as they are; u8, of which L2 needs only differences, less 128.
static void
read_integers(const void *context, uint32_t row, void *components, struct tile_numbers *numbers,
              float *sketch)
{
    const struct hnsw_bulk *bulk = context;
    const struct hnsw *hnsw = bulk->hnsw;
    const uint32_t slot = slot_of(bulk, row), dim = hnsw->config.dim;
    const uint8_t *from = arena_row(&hnsw->rows, slot);
    const uint8_t shift = hnsw->config.type == VECTOR_U8 ? 0x80 : 0;
    int8_t *out = components;
    uint32_t norm2 = 0; // at most 65,536 * 128^2
    for (uint32_t i = 0; i < dim; i++)
        out[i] = (int8_t)(from[i] ^ shift);
    for (uint32_t i = 0; i < dim; i++)
        norm2 += (uint32_t)(out[i] * out[i]);
    for (uint32_t i = dim; i < bulk->width; i++)
        out[i] = 0;
    if (hnsw->config.metric == METRIC_IP)
        *numbers = numbers_ip(&hnsw->codec, 1.0f, meta_of(hnsw, slot).norm);
    else if (hnsw->config.metric == METRIC_COSINE)
        *numbers = (struct tile_numbers){.scale = norm2 > 0 ? 1.0f / sqrtf((float)norm2) : 0.0f,
                                         .add = 1.0f};
    else
        *numbers = (struct tile_numbers){.scale = 1.0f, .add = (float)norm2};
    copy_sketch(bulk, row, sketch);
}

// Rows as floats, prepared; under ip with the component that is thought to be there besides.
static void
read_floats(const void *context, uint32_t row, void *components, struct tile_numbers *numbers,
            float *sketch)
{
    const struct hnsw_bulk *bulk = context;
    const struct hnsw *hnsw = bulk->hnsw;
    const uint32_t slot = slot_of(bulk, row), dim = hnsw->config.dim;
    float *out = components;
    codec_prepare(&hnsw->codec, arena_row(&hnsw->rows, slot), hnsw->config.type, out);
    if (hnsw->config.metric == METRIC_IP) {
        const float norm = meta_of(hnsw, slot).norm;
        out[dim] = norm > 0.0f ? norm : 0.0f;
    }
    *numbers = (struct tile_numbers){0};
    copy_sketch(bulk, row, sketch);
}

static struct build_rows
rows_of(struct hnsw_bulk *bulk)
{
    const struct hnsw_config *config = &bulk->hnsw->config;
    const bool ip = config->metric == METRIC_IP;
    struct build_rows rows = {.context = bulk, .count = bulk->count, .prefetch = prefetch_row};
    if (hnsw_kind(bulk->hnsw) == CODE_NIBBLE) {
        rows.kind = BUILD_BYTES;
        rows.width = bulk->hnsw->codec.width;
        rows.extras = ip;
        rows.read = read_code;
        rows.prefetch = prefetch_code;
    } else if (config->type == VECTOR_I8 ||
               (config->type == VECTOR_U8 && config->metric == METRIC_L2)) {
        rows.kind = BUILD_BYTES;
        rows.width = (config->dim + 3) / 4 * 4;
        rows.extras = ip;
        rows.read = read_integers;
    } else {
        rows.kind = BUILD_FLOATS;
        rows.width = config->dim + ip;
        rows.read = read_floats;
    }
    bulk->width = rows.width;
    return rows;
}

// ---- making ----

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
    const uint32_t from = index * BLOCK_ROWS, left = bulk->rows - from;
    const uint32_t end = from + (left < BLOCK_ROWS ? left : BLOCK_ROWS);
    for (uint32_t slot = from; slot < end; slot++)
        if (slot >= linked && slot >= hnsw->chosen)
            hnsw_encode(hnsw, slot, bulk->scratches[worker]);
}

// Sums of the row's components with signs of their own for each bit: integers or not, near rows are on the same side.
static void
sketch_block(void *context, uint32_t index, uint32_t worker)
{
    struct hnsw_bulk *bulk = context;
    const struct hnsw *hnsw = bulk->hnsw;
    if (!goes_on(bulk, worker))
        return;
    const uint32_t from = index * BLOCK_ROWS, left = bulk->count - from;
    const uint32_t end = from + (left < BLOCK_ROWS ? left : BLOCK_ROWS);
    float *const vector = bulk->scratches[worker]->vector;
    for (uint32_t row = from; row < end; row++) {
        codec_prepare(&hnsw->codec, arena_row(&hnsw->rows, slot_of(bulk, row)), hnsw->config.type,
                      vector);
        for (uint32_t s = 0; s < TILE_SKETCH; s++) {
            // The signs of the rotation's rounds, of which there are half as many as sketches have bits, and their products.
            const float *first = hnsw->codec.signs + (size_t)(s % 4) * hnsw->codec.width;
            const float *second = hnsw->codec.signs + (size_t)((s + 1) % 4) * hnsw->codec.width;
            float sum = 0.0f;
            for (uint32_t i = 0; i < hnsw->config.dim; i++)
                sum += vector[i] * (s < 4 ? first[i] : first[i] * second[i]);
            bulk->sketches[(size_t)row * TILE_SKETCH + s] = sum;
        }
    }
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
    pool_run(bulk->options.threads, (bulk->count + BLOCK_ROWS - 1) / BLOCK_ROWS, sketch_block,
             bulk);
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
    config.progress = bulk->options.progress;
    config.context = bulk->options.context;
    return config;
}

// Everything is there that rows are read from.
static omen_status
make_readable(struct hnsw_bulk *bulk)
{
    omen_status status = list_rows(bulk);
    if (status != OMEN_OK)
        return status;
    pool_run(bulk->options.threads, (bulk->rows + BLOCK_ROWS - 1) / BLOCK_ROWS, code_block, bulk);
    status = make_sketches(bulk);
    return status != OMEN_OK ? status : atomic_load(&bulk->status);
}

static omen_status
make(struct hnsw_bulk *bulk, struct hnsw_bulk_report *report)
{
    const uint64_t began = os_clock_ns();
    const size_t limit = bulk->options.memory_max;
    if (!hnsw_found(bulk->hnsw, bulk->scratches[0]))
        return OMEN_E_NO_MEMORY;
    report->found_ns = os_clock_ns() - began;
    count_rows(bulk);
    struct build_config config = config_of(bulk);
    struct build_rows rows = rows_of(bulk);
    const size_t besides = bytes_besides(bulk);
    report->memory = build_memory(&rows, &config);
    report->memory.least += besides;
    report->memory.most += besides;
    if (limit != 0 && limit < report->memory.least)
        return OMEN_E_NO_MEMORY;
    config.memory_max = limit != 0 ? limit - besides : 0;
    omen_status status = make_readable(bulk);
    report->encode_ns = os_clock_ns() - began - report->found_ns;
    if (status != OMEN_OK)
        return status;
    rows = rows_of(bulk); // some may have been erased since they were counted
    status = build_run(&rows, &config, &bulk->graph, &report->build);
    report->memory_peak = besides + report->build.memory_peak;
    return status;
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

// ---- putting in place ----

// From the last row to the first: rows that were not linked are written before any row leads to them.
static void
put_block(void *context, uint32_t index, uint32_t worker)
{
    (void)worker;
    struct hnsw_bulk *bulk = context;
    struct graph *graph = &bulk->hnsw->graph;
    const uint32_t end = bulk->count - index * BLOCK_ROWS;
    const uint32_t from = end > BLOCK_ROWS ? end - BLOCK_ROWS : 0;
    for (uint32_t row = end; row-- > from;) {
        const uint32_t *links = bulk->graph.links + (size_t)row * bulk->graph.links_max;
        const uint32_t count = bulk->graph.counts[row], slot = slot_of(bulk, row);
        uint32_t slots[LINK_ROW_MAX];
        for (uint32_t i = 0; i < count; i++)
            slots[i] = slot_of(bulk, links[i]);
        graph_lock(graph, slot);
        graph_write_locked(graph, slot, slots, count);
        graph_unlock(graph, slot);
        struct omen_error error;
        const struct link_rows written = {.bytes = arena_row(&graph->rows, slot),
                                          .first = slot,
                                          .count = 1,
                                          .links_max = graph->links_max,
                                          .width = graph->width,
                                          .slots = bulk->rows};
        if (graph_verify(&written, &error) != OMEN_OK)
            atomic_store(&bulk->status, OMEN_E_INTERNAL);
    }
}

// Rows that were left out: nobody has to look at them again.
static void
note_left_out(struct hnsw_bulk *bulk)
{
    struct hnsw *hnsw = bulk->hnsw;
    uint32_t row = 0, mended = 0;
    for (uint32_t slot = 0; bulk->slots != NULL && slot < bulk->rows; slot++) {
        if (row < bulk->count && bulk->slots[row] == slot)
            row++;
        else
            mended += atomic_bit_set(hnsw->repaired, slot);
    }
    atomic_fetch_add_explicit(&hnsw->repaired_count, mended, memory_order_acq_rel);
}

static void
note_linked(struct hnsw_bulk *bulk)
{
    struct hnsw *hnsw = bulk->hnsw;
    for (uint32_t slot = 0; slot < bulk->rows; slot++)
        (void)atomic_bit_set(hnsw->linked, slot);
    atomic_store_explicit(&hnsw->linked_count, bulk->rows, memory_order_release);
    atomic_store_explicit(&hnsw->claimed, bulk->rows, memory_order_release);
    entries_draw(hnsw, bulk->slots, bulk->count);
    atomic_store_explicit(&hnsw->linked_prefix, bulk->rows, memory_order_seq_cst);
    const uint32_t repaired = atomic_load_explicit(&hnsw->repaired_count, memory_order_relaxed);
    atomic_store_explicit(&hnsw->reach_events, bulk->rows + repaired, memory_order_release);
}

omen_status
hnsw_bulk_install(struct hnsw_bulk *bulk)
{
    struct hnsw *hnsw = bulk->hnsw;
    ASSERT(hnsw_linked(hnsw) <= bulk->rows);
    pool_run(bulk->options.threads, (bulk->count + BLOCK_ROWS - 1) / BLOCK_ROWS, put_block, bulk);
    note_left_out(bulk);
    note_linked(bulk);
    hnsw->kept_linked = 0;             // the next save puts all links,
    atomic_store(&hnsw->behind, true); // and is worthwhile
    return atomic_load(&bulk->status);
}
