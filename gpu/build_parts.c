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
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/os_clock.h"
#include "base/pool.h"
#include "gpu/build_int.h"
#include "index/graph.h"
#include "index/nearest.h"

#define TAKEN_MAX 8u      // pieces of the device's memory that a stage has
#define GATHER_ROWS 1024u // of one unit of work
#define LIST_ROWS 2048u   // of one unit of work
#define PACK_ROWS 16384u

struct parts {
    const struct build_job *job;
    const struct gpu_build_config *config;
    const struct device_ops *ops;
    struct device *device, *host; // host: the plain half's
    uint32_t count, stride, leaders, leaf_count;
    uint32_t *piece_starts; // of the input's pieces, and the end

    // Of the host. `lists` has count x list keys; chosen ones of the second time take their place from its beginning on.
    uint64_t *lists, *chosen; // chosen: count x chosen_max
    uint64_t *assigned;
    uint32_t *places, *starts;
    struct build_leaf *leaves;
    uint32_t *numbers; // of the rows that are on the device, in its order
    uint8_t *high, *low;
    struct byte_meta *metas; // these three: staged_rows of them
    _Atomic uint32_t *met;   // a bit a row: it is on the device
    uint32_t *met_before;    // how many are, before each word of met

    // Of the device, until the stage ends.
    void *taken[TAKEN_MAX];
    uint32_t taken_count;
    uint64_t bytes;
    uint8_t *staged;
};

// ---- memory ----
static omen_status
take(struct parts *parts, size_t bytes, void *pointer)
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

static void
drop_all(struct parts *parts)
{
    while (parts->taken_count > 0)
        parts->ops->free(parts->device, parts->taken[--parts->taken_count]);
    parts->bytes = 0;
}

static omen_status
take_pinned(struct parts *parts, size_t bytes, void *pointer)
{
    void *memory = NULL;
    const omen_status status = parts->ops->host_alloc(parts->device, bytes, &memory);
    memcpy(pointer, &memory, sizeof memory);
    return status;
}

static omen_status
take_plain(size_t bytes, void *pointer)
{
    void *const memory = mem_alloc(bytes);
    memcpy(pointer, &memory, sizeof memory);
    return memory != NULL ? OMEN_OK : OMEN_E_NO_MEMORY;
}

static void
close_all(struct parts *parts)
{
    void *const pinned[] = {parts->lists, parts->chosen, parts->assigned,
                            parts->high,  parts->low,    parts->metas};
    void *const plain[] = {parts->piece_starts, parts->places, parts->starts,    parts->leaves,
                           parts->numbers,      parts->met,    parts->met_before};
    drop_all(parts);
    for (size_t i = 0; i < sizeof pinned / sizeof *pinned; i++)
        parts->ops->host_free(parts->device, pinned[i]);
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        mem_free(plain[i]);
    device_cpu.close(parts->host);
}

static uint32_t
smaller(uint64_t a, uint32_t b)
{
    return a < b ? (uint32_t)a : b;
}

// Rows that are on the device at once when rows choose links.
static uint32_t
table_rows(const struct parts *parts)
{
    return smaller((uint64_t)parts->job->plan->choose_rows * parts->config->list, parts->count);
}

static omen_status
open_all(struct parts *parts)
{
    const struct gpu_build_plan *plan = parts->job->plan;
    const struct gpu_build_input *in = parts->job->input;
    const size_t n = parts->count, plane = (size_t)plan->staged_rows * in->row_bytes;
    const size_t words = (n + 31) / 32;
    uint32_t numbers = table_rows(parts);
    numbers = numbers > plan->assign_rows ? numbers : plan->assign_rows;
    numbers = numbers > plan->leaf_places ? numbers : plan->leaf_places;
    numbers = numbers > parts->leaders ? numbers : parts->leaders;
    struct omen_error error;
    omen_status status = device_cpu.open(0, &parts->host, &error);
    if (status == OMEN_OK)
        status = take_plain((in->piece_count + 1u) * sizeof(uint32_t), &parts->piece_starts);
    if (status == OMEN_OK)
        status = take_plain((size_t)numbers * sizeof(uint32_t), &parts->numbers);
    if (status == OMEN_OK)
        status = take_plain(words * sizeof(uint32_t), &parts->met);
    if (status == OMEN_OK)
        status = take_plain(words * sizeof(uint32_t), &parts->met_before);
    if (status == OMEN_OK)
        status = take_pinned(parts, plane, &parts->high);
    if (status == OMEN_OK)
        status = take_pinned(parts, plane, &parts->low);
    if (status == OMEN_OK)
        status = take_pinned(parts, plan->staged_rows * sizeof *parts->metas, &parts->metas);
    if (status == OMEN_OK)
        status = take_pinned(parts, n * parts->config->list * sizeof(uint64_t), &parts->lists);
    if (status != OMEN_OK)
        return status;
    parts->piece_starts[0] = 0;
    for (uint32_t i = 0; i < in->piece_count; i++)
        parts->piece_starts[i + 1] = parts->piece_starts[i] + in->pieces[i].count;
    return OMEN_OK;
}

static omen_status
begin_part(const struct parts *parts)
{
    const _Atomic uint32_t *const cancel = parts->job->cancel;
    parts->job->report->parts++;
    return cancel != NULL && atomic_load_explicit(cancel, memory_order_relaxed) != 0
               ? OMEN_E_CANCELLED
               : OMEN_OK;
}

// ---- codes to the device ----
struct gather {
    const struct parts *parts;
    const uint32_t *numbers;
    uint32_t count;
};

static uint32_t
piece_of(const struct parts *parts, uint32_t row)
{
    uint32_t low = 0, end = parts->job->input->piece_count;
    while (end - low > 1) {
        const uint32_t middle = low + (end - low) / 2;
        if (parts->piece_starts[middle] <= row)
            low = middle;
        else
            end = middle;
    }
    return low;
}

static void
gather_unit(void *context, uint32_t index, uint32_t worker)
{
    (void)worker;
    const struct gather *gather = context;
    const struct parts *parts = gather->parts;
    const struct gpu_build_input *in = parts->job->input;
    const uint32_t from = index * GATHER_ROWS;
    const uint32_t end = from + smaller(gather->count - from, GATHER_ROWS);
    for (uint32_t i = from; i < end; i++) {
        const uint32_t row = gather->numbers[i], p = piece_of(parts, row);
        const struct gpu_build_piece *piece = &in->pieces[p];
        const size_t at = row - parts->piece_starts[p], bytes = in->row_bytes;
        memcpy(parts->high + i * bytes, piece->high + at * bytes, bytes);
        memcpy(parts->low + i * bytes, piece->low + at * bytes, bytes);
        parts->metas[i] = piece->metas[at];
    }
}

// Where rows lie on the device.
struct table {
    int8_t *codes;
    struct byte_meta *metas;
};

static omen_status
take_table(struct parts *parts, uint32_t rows, struct table *table)
{
    const omen_status status = take(parts, (size_t)rows * parts->stride, &table->codes);
    return status == OMEN_OK ? take(parts, rows * sizeof *table->metas, &table->metas) : status;
}

static omen_status
take_staged(struct parts *parts)
{
    return take(parts, (size_t)parts->job->plan->staged_rows * parts->job->input->row_bytes * 2,
                &parts->staged);
}

// The rows of parts->numbers, `count` of them.
static omen_status
load(struct parts *parts, uint32_t count, const struct table *table)
{
    const struct device_ops *ops = parts->ops;
    const uint32_t row_bytes = parts->job->input->row_bytes, most = parts->job->plan->staged_rows;
    const size_t plane = (size_t)most * row_bytes;
    omen_status status = OMEN_OK;
    for (uint32_t from = 0; from < count && status == OMEN_OK; from += most) {
        const uint32_t rows = smaller(count - from, most);
        struct gather gather = {.parts = parts, .numbers = parts->numbers + from, .count = rows};
        pool_run(parts->config->threads, (rows + GATHER_ROWS - 1) / GATHER_ROWS, gather_unit,
                 &gather);
        const struct device_join join = {.high = parts->staged,
                                         .low = parts->staged + plane,
                                         .count = rows,
                                         .row_bytes = row_bytes,
                                         .stride = parts->stride,
                                         .codes = table->codes + (size_t)from * parts->stride};
        const size_t bytes = (size_t)rows * row_bytes;
        status = ops->put(parts->device, parts->staged, parts->high, bytes);
        if (status == OMEN_OK)
            status = ops->put(parts->device, parts->staged + plane, parts->low, bytes);
        if (status == OMEN_OK)
            status = ops->put(parts->device, table->metas + from, parts->metas,
                              rows * sizeof *parts->metas);
        if (status == OMEN_OK)
            status = ops->join(parts->device, &join);
        if (status == OMEN_OK)
            status = ops->wait(parts->device); // before the next are gathered
    }
    return status;
}

static struct device_rows
rows_of(const struct parts *parts, const struct table *table, uint32_t count)
{
    return (struct device_rows){.codes = table->codes,
                                .metas = table->metas,
                                .count = count,
                                .stride = parts->stride,
                                .ip = parts->job->input->ip,
                                .radius2 = parts->job->input->radius2};
}

// ---- leaders ----
static omen_status
assign_part(struct parts *parts, uint32_t first, uint32_t count, const struct table *tables,
            uint64_t *keys)
{
    const uint32_t fanout = parts->config->fanout;
    omen_status status = begin_part(parts);
    for (uint32_t i = 0; i < count; i++)
        parts->numbers[i] = first + i;
    if (status == OMEN_OK)
        status = load(parts, count, &tables[1]);
    const struct device_nearest nearest = {.queries = rows_of(parts, &tables[1], count),
                                           .base = rows_of(parts, &tables[0], parts->leaders),
                                           .k = fanout,
                                           .keys = keys};
    if (status == OMEN_OK)
        status = parts->ops->nearest(parts->device, &nearest);
    return status == OMEN_OK
               ? parts->ops->get(parts->device, parts->assigned + (size_t)first * fanout, keys,
                                 (size_t)count * fanout * sizeof *keys)
               : status;
}

static omen_status
assign(struct parts *parts)
{
    const uint32_t most = parts->job->plan->assign_rows, fanout = parts->config->fanout;
    struct table tables[2]; // leaders, rows
    uint64_t *keys = NULL;
    omen_status status = take_pinned(parts, (size_t)parts->count * fanout * sizeof *parts->assigned,
                                     &parts->assigned);
    if (status == OMEN_OK)
        status = take_staged(parts);
    if (status == OMEN_OK)
        status = take_table(parts, parts->leaders, &tables[0]);
    if (status == OMEN_OK)
        status = take_table(parts, most, &tables[1]);
    if (status == OMEN_OK)
        status = take(parts, (size_t)most * fanout * sizeof *keys, &keys);
    if (status == OMEN_OK) {
        build_draw_leaders(parts->config, parts->count, parts->numbers);
        status = load(parts, parts->leaders, &tables[0]);
    }
    for (uint32_t first = 0; first < parts->count && status == OMEN_OK; first += most)
        status = assign_part(parts, first, smaller(parts->count - first, most), tables, keys);
    parts->job->report->assign_pairs = (uint64_t)parts->count * parts->leaders;
    return status;
}

static omen_status
group(struct parts *parts)
{
    const struct gpu_build_config *config = parts->config;
    const size_t all = (size_t)parts->count * config->fanout;
    omen_status status = take_plain(all * sizeof *parts->places, &parts->places);
    if (status == OMEN_OK)
        status = take_plain(((size_t)parts->leaders + 1) * sizeof *parts->starts, &parts->starts);
    if (status != OMEN_OK)
        return status;
    const struct device_group groups = {.keys = parts->assigned,
                                        .count = parts->count,
                                        .fanout = config->fanout,
                                        .groups = parts->leaders,
                                        .places = parts->places,
                                        .starts = parts->starts};
    status = device_cpu.group(parts->host, &groups);
    parts->ops->host_free(parts->device, parts->assigned);
    parts->assigned = NULL;
    parts->leaf_count = build_cut_leaves(config, parts->starts, NULL, parts->job->report);
    if (status == OMEN_OK)
        status = take_plain(parts->leaf_count * sizeof *parts->leaves, &parts->leaves);
    if (status == OMEN_OK)
        (void)build_cut_leaves(config, parts->starts, parts->leaves, parts->job->report);
    return status;
}

// ---- leaves ----

// What the leaves of a part found, to the lists of their rows. Unit u has every units-th row, as a row may be in two leaves.
struct keep {
    const struct parts *parts;
    const uint64_t *found; // leaf_keep of each place; numbers are the device's
    uint32_t count, units;
};

static void
keep_found(uint64_t *list, uint32_t width, uint64_t key)
{
    uint32_t at = width;
    while (at > 0 && list[at - 1] > key)
        at--;
    if (at == width || (at > 0 && list[at - 1] == key))
        return;
    memmove(list + at + 1, list + at, (size_t)(width - 1 - at) * sizeof *list);
    list[at] = key;
}

static void
keep_unit(void *context, uint32_t unit, uint32_t worker)
{
    (void)worker;
    const struct keep *keep = context;
    const struct parts *parts = keep->parts;
    const uint32_t k = parts->config->leaf_keep, width = parts->config->list;
    for (uint32_t i = 0; i < keep->count; i++) {
        const uint32_t row = parts->numbers[i];
        if (row % keep->units != unit)
            continue;
        uint64_t *const list = parts->lists + (size_t)row * width;
        const uint64_t *const found = keep->found + (size_t)i * k;
        for (uint32_t j = 0; j < k && found[j] != DEVICE_NONE; j++)
            keep_found(
                list, width,
                nearest_key(nearest_distance(found[j]), parts->numbers[nearest_slot(found[j])]));
    }
}

// Memory of the leaves' stage.
struct leaf_memory {
    struct table table;
    uint64_t *keys;
    uint32_t *places; // 0, 1, 2, ...: the device's rows are places already
    struct device_tile *tiles;
    struct device_tile *tiles_host;
    uint64_t *found; // host
};

static omen_status
leaf_part(struct parts *parts, const struct build_leaf *leaves, uint32_t count,
          const struct leaf_memory *memory)
{
    const struct device_ops *ops = parts->ops;
    const struct gpu_build_config *config = parts->config;
    const uint32_t from = leaves[0].first;
    const uint32_t places = leaves[count - 1].first + leaves[count - 1].count - from;
    const size_t key_bytes = (size_t)places * config->leaf_keep * sizeof *memory->keys;
    const uint32_t tiles = build_tiles(leaves, count, from, memory->tiles_host);
    omen_status status = begin_part(parts);
    for (uint32_t i = 0; i < places; i++)
        parts->numbers[i] = parts->places[from + i] / config->fanout;
    if (status == OMEN_OK)
        status = load(parts, places, &memory->table);
    if (status == OMEN_OK)
        status = ops->put(parts->device, memory->tiles, memory->tiles_host,
                          tiles * sizeof *memory->tiles);
    if (status == OMEN_OK)
        status = ops->fill(parts->device, memory->keys, 0xff, key_bytes);
    const struct device_nearest nearest = {.queries = rows_of(parts, &memory->table, places),
                                           .base = rows_of(parts, &memory->table, places),
                                           .places = memory->places,
                                           .tiles = memory->tiles,
                                           .tile_count = tiles,
                                           .fanout = 1,
                                           .k = config->leaf_keep,
                                           .skip_self = 1,
                                           .keys = memory->keys};
    if (status == OMEN_OK)
        status = ops->nearest(parts->device, &nearest);
    if (status == OMEN_OK)
        status = ops->get(parts->device, memory->found, memory->keys, key_bytes);
    struct keep keep = {
        .parts = parts, .found = memory->found, .count = places, .units = config->threads};
    if (status == OMEN_OK)
        pool_run(config->threads, keep.units, keep_unit, &keep);
    parts->job->report->tiles += tiles;
    return status;
}

static omen_status
take_leaf_memory(struct parts *parts, struct leaf_memory *memory)
{
    const uint32_t most = parts->job->plan->leaf_places;
    const size_t key_bytes = (size_t)most * parts->config->leaf_keep * sizeof *memory->keys;
    omen_status status = take_staged(parts);
    if (status == OMEN_OK)
        status = take_table(parts, most, &memory->table);
    if (status == OMEN_OK)
        status = take(parts, key_bytes, &memory->keys);
    if (status == OMEN_OK)
        status = take(parts, most * sizeof *memory->places, &memory->places);
    if (status == OMEN_OK)
        status = take(parts, most * sizeof *memory->tiles, &memory->tiles);
    if (status == OMEN_OK)
        status = take_pinned(parts, most * sizeof *memory->tiles, &memory->tiles_host);
    if (status == OMEN_OK)
        status = take_pinned(parts, key_bytes, &memory->found);
    if (status != OMEN_OK)
        return status;
    for (uint32_t i = 0; i < most; i++)
        parts->numbers[i] = i;
    status = parts->ops->put(parts->device, memory->places, parts->numbers,
                             most * sizeof *memory->places);
    return status == OMEN_OK ? parts->ops->wait(parts->device) : status;
}

// As many leaves at a time, one after the other, as have leaf_places or fewer between the first and the last.
static omen_status
compare_leaves(struct parts *parts)
{
    const uint32_t most = parts->job->plan->leaf_places;
    struct leaf_memory memory = {0};
    memset(parts->lists, 0xff, (size_t)parts->count * parts->config->list * sizeof *parts->lists);
    omen_status status = take_leaf_memory(parts, &memory);
    for (uint32_t first = 0, end; first < parts->leaf_count && status == OMEN_OK; first = end) {
        const struct build_leaf *const leaves = parts->leaves;
        for (end = first + 1; end < parts->leaf_count &&
                              leaves[end].first + leaves[end].count - leaves[first].first <= most;
             end++) {
        }
        status = leaf_part(parts, leaves + first, end - first, &memory);
    }
    parts->ops->host_free(parts->device, memory.tiles_host);
    parts->ops->host_free(parts->device, memory.found);
    return status;
}

// ---- links ----

// Lists of rows first..first+count-1, whose keys name rows, or rows of the device.
struct renumber {
    const struct parts *parts;
    uint64_t *keys; // of the first row on
    uint32_t width, count;
};

static void
renumber_run(struct renumber *renumber,
             void (*unit)(void *context, uint32_t index, uint32_t worker))
{
    pool_run(renumber->parts->config->threads, (renumber->count + LIST_ROWS - 1) / LIST_ROWS, unit,
             renumber);
}

static uint64_t *
renumber_unit(const struct renumber *renumber, uint32_t index, size_t *count)
{
    const uint32_t from = index * LIST_ROWS;
    *count = (size_t)smaller(renumber->count - from, LIST_ROWS) * renumber->width;
    return renumber->keys + (size_t)from * renumber->width;
}

static void
meet_unit(void *context, uint32_t index, uint32_t worker)
{
    (void)worker;
    const struct renumber *renumber = context;
    size_t count;
    const uint64_t *const keys = renumber_unit(renumber, index, &count);
    for (size_t i = 0; i < count; i++) {
        if (keys[i] == DEVICE_NONE)
            continue;
        const uint32_t row = nearest_slot(keys[i]), bit = 1u << row % 32;
        _Atomic uint32_t *const word = &renumber->parts->met[row / 32];
        if ((atomic_load_explicit(word, memory_order_relaxed) & bit) == 0)
            atomic_fetch_or_explicit(word, bit, memory_order_relaxed); // read when the pool is done
    }
}

static void
to_device_unit(void *context, uint32_t index, uint32_t worker)
{
    (void)worker;
    const struct renumber *renumber = context;
    const struct parts *parts = renumber->parts;
    size_t count;
    uint64_t *const keys = renumber_unit(renumber, index, &count);
    for (size_t i = 0; i < count; i++) {
        if (keys[i] == DEVICE_NONE)
            continue;
        const uint32_t row = nearest_slot(keys[i]);
        const uint32_t met = atomic_load_explicit(&parts->met[row / 32], memory_order_relaxed);
        const uint32_t before = met & ((1u << row % 32) - 1);
        keys[i] = nearest_key(nearest_distance(keys[i]),
                              parts->met_before[row / 32] + (uint32_t)__builtin_popcount(before));
    }
}

static void
from_device_unit(void *context, uint32_t index, uint32_t worker)
{
    (void)worker;
    const struct renumber *renumber = context;
    size_t count;
    uint64_t *const keys = renumber_unit(renumber, index, &count);
    for (size_t i = 0; i < count; i++)
        if (keys[i] != DEVICE_NONE)
            keys[i] = nearest_key(nearest_distance(keys[i]),
                                  renumber->parts->numbers[nearest_slot(keys[i])]);
}

// Numbers the rows that keys name, ascending; returns how many they are.
static uint32_t
number_met(struct parts *parts, struct renumber *candidates)
{
    const uint32_t words = (parts->count + 31) / 32;
    for (uint32_t w = 0; w < words; w++)
        atomic_store_explicit(&parts->met[w], 0, memory_order_relaxed);
    renumber_run(candidates, meet_unit);
    uint32_t count = 0;
    for (uint32_t w = 0; w < words; w++) {
        parts->met_before[w] = count;
        uint32_t left = atomic_load_explicit(&parts->met[w], memory_order_relaxed);
        for (; left != 0; left &= left - 1)
            parts->numbers[count++] = w * 32 + (uint32_t)__builtin_ctz(left);
    }
    renumber_run(candidates, to_device_unit);
    return count;
}

// Memory of the stages that choose, and what they choose by.
struct choosing {
    uint32_t keep, whole;
    uint64_t *out; // count x keep, of the host
    struct table table;
    uint64_t *candidates, *chosen;
};

static omen_status
choose_part(struct parts *parts, const struct choosing *choosing, uint32_t first, uint32_t count)
{
    const struct device_ops *ops = parts->ops;
    const uint32_t width = parts->config->list, keep = choosing->keep;
    omen_status status = begin_part(parts);
    if (status != OMEN_OK)
        return status;
    struct renumber candidates = {.parts = parts,
                                  .keys = parts->lists + (size_t)first * width,
                                  .width = width,
                                  .count = count};
    struct renumber chosen = {.parts = parts,
                              .keys = choosing->out + (size_t)first * keep,
                              .width = keep,
                              .count = count};
    const uint32_t rows = number_met(parts, &candidates);
    status = load(parts, rows, &choosing->table);
    if (status == OMEN_OK)
        status = ops->put(parts->device, choosing->candidates, candidates.keys,
                          (size_t)count * width * sizeof *candidates.keys);
    const struct device_prune prune = {.rows = rows_of(parts, &choosing->table, rows),
                                       .count = count,
                                       .candidates = choosing->candidates,
                                       .width = width,
                                       .keep = keep,
                                       .whole = choosing->whole,
                                       .alpha2 = parts->config->alpha2,
                                       .chosen = choosing->chosen};
    if (status == OMEN_OK)
        status = ops->prune(parts->device, &prune);
    if (status == OMEN_OK)
        status = ops->wait(parts->device); // what comes may lie where the candidates did
    if (status == OMEN_OK)
        status = ops->get(parts->device, chosen.keys, choosing->chosen,
                          (size_t)count * keep * sizeof *chosen.keys);
    if (status == OMEN_OK)
        renumber_run(&chosen, from_device_unit);
    return status;
}

static omen_status
choose(struct parts *parts, struct choosing *choosing)
{
    const uint32_t most = parts->job->plan->choose_rows;
    omen_status status = take_staged(parts);
    if (status == OMEN_OK)
        status = take_table(parts, table_rows(parts), &choosing->table);
    if (status == OMEN_OK)
        status = take(parts, (size_t)most * parts->config->list * sizeof(uint64_t),
                      &choosing->candidates);
    if (status == OMEN_OK)
        status = take(parts, (size_t)most * choosing->keep * sizeof(uint64_t), &choosing->chosen);
    for (uint32_t first = 0; first < parts->count && status == OMEN_OK; first += most)
        status = choose_part(parts, choosing, first, smaller(parts->count - first, most));
    return status;
}

static omen_status
choose_first(struct parts *parts)
{
    const uint32_t keep = parts->config->chosen_max;
    const omen_status status =
        take_pinned(parts, (size_t)parts->count * keep * sizeof *parts->chosen, &parts->chosen);
    struct choosing choosing = {.keep = keep, .out = parts->chosen};
    return status == OMEN_OK ? choose(parts, &choosing) : status;
}

// Links of a part are written in front of the lists that are read next: a row has no more links than candidates.
static omen_status
choose_again(struct parts *parts)
{
    const uint32_t keep = parts->config->links_max;
    struct choosing choosing = {.keep = keep, .whole = keep, .out = parts->lists};
    return choose(parts, &choosing);
}

// ---- what the host does ----
static void
reverse_unit(void *context, uint32_t index, uint32_t worker)
{
    (void)worker;
    const struct parts *parts = context;
    const uint32_t units = parts->config->threads;
    const struct device_reverse reverse = {.links = parts->chosen,
                                           .count = parts->count,
                                           .keep = parts->config->chosen_max,
                                           .width = parts->config->list,
                                           .candidates = parts->lists};
    device_cpu_reverse_to(&reverse, (uint32_t)((uint64_t)parts->count * index / units),
                          (uint32_t)((uint64_t)parts->count * (index + 1) / units));
}

static omen_status
reverse(struct parts *parts)
{
    pool_run(parts->config->threads, parts->config->threads, reverse_unit, parts);
    return OMEN_OK;
}

static omen_status
reach(struct parts *parts)
{
    uint32_t reached = 0;
    const struct device_reach reached_from = {.links = parts->lists,
                                              .count = parts->count,
                                              .keep = parts->config->links_max,
                                              .entry = parts->config->entry,
                                              .seen = parts->job->seen,
                                              .reached = &reached,
                                              .steps = &parts->job->report->steps};
    const omen_status status = device_cpu.reach(parts->host, &reached_from);
    parts->job->report->unreached = parts->count - reached;
    return status;
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
                                     .count = smaller(parts->count - from, PACK_ROWS),
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
                  {GPU_BUILD_ASSIGN, assign},
                  {GPU_BUILD_GROUP, group},
                  {GPU_BUILD_LEAVES, compare_leaves},
                  {GPU_BUILD_PRUNE, choose_first},
                  {GPU_BUILD_REVERSE, reverse},
                  {GPU_BUILD_PRUNE_AGAIN, choose_again},
                  {GPU_BUILD_REACH, reach},
                  {GPU_BUILD_PACK, pack}};
    struct parts parts = {.job = job,
                          .config = job->config,
                          .ops = job->handle->ops,
                          .device = job->handle->device,
                          .count = job->count,
                          .stride = build_stride(job->input->row_bytes),
                          .leaders = build_leaders(job->config, job->count)};
    job->report->leaders = parts.leaders;
    omen_status status = OMEN_OK;
    for (size_t i = 0; i < sizeof stages / sizeof *stages && status == OMEN_OK; i++) {
        const uint64_t begun = os_clock_ns();
        status = stages[i].run(&parts);
        drop_all(&parts);
        job->report->stage_ms[stages[i].stage] = (float)((double)(os_clock_ns() - begun) * 1e-6);
    }
    close_all(&parts);
    return status;
}
