// gpu/build_parts_leaves.c -- leaders, leaves, and the nearest of each row, some rows at a time.
//
// Shape: handle for the length of one call.
#include <string.h>

#include "base/pool.h"
#include "gpu/build_parts_int.h"
#include "index/nearest.h"

// ---- leaders ----
static omen_status
assign_part(struct parts *parts, uint32_t first, uint32_t count, const struct parts_table *tables,
            uint64_t *keys)
{
    const uint32_t fanout = parts->config->fanout;
    omen_status status = parts_begin(parts, first, parts->count);
    for (uint32_t i = 0; i < count; i++)
        parts->numbers[i] = first + i;
    if (status == OMEN_OK)
        status = parts_load(parts, count, &tables[1]);
    const struct device_nearest nearest = {.queries = parts_rows(parts, &tables[1], count),
                                           .base = parts_rows(parts, &tables[0], parts->leaders),
                                           .k = fanout,
                                           .keys = keys};
    if (status == OMEN_OK)
        status = parts->ops->nearest(parts->device, &nearest);
    return status == OMEN_OK
               ? parts->ops->get(parts->device, parts->assigned + (size_t)first * fanout, keys,
                                 (size_t)count * fanout * sizeof *keys)
               : status;
}

omen_status
parts_assign(struct parts *parts)
{
    const uint32_t most = parts->job->plan->assign_rows, fanout = parts->config->fanout;
    struct parts_table tables[2]; // leaders, rows
    uint64_t *keys = NULL;
    omen_status status = parts_take_pinned(
        parts, (size_t)parts->count * fanout * sizeof *parts->assigned, &parts->assigned);
    if (status == OMEN_OK)
        status = parts_take_table(parts, parts->leaders, &tables[0]);
    if (status == OMEN_OK)
        status = parts_take_table(parts, most, &tables[1]);
    if (status == OMEN_OK)
        status = parts_take(parts, (size_t)most * fanout * sizeof *keys, &keys);
    if (status == OMEN_OK) {
        build_draw_leaders(parts->config, parts->count, parts->numbers);
        status = parts_load(parts, parts->leaders, &tables[0]);
    }
    for (uint32_t first = 0; first < parts->count && status == OMEN_OK; first += most)
        status = assign_part(parts, first, parts_smaller(parts->count - first, most), tables, keys);
    parts->job->report->assign_pairs = (uint64_t)parts->count * parts->leaders;
    return status;
}

omen_status
parts_group(struct parts *parts)
{
    const struct gpu_build_config *config = parts->config;
    const size_t all = (size_t)parts->count * config->fanout;
    omen_status status = parts_take_plain(all * sizeof *parts->places, &parts->places);
    if (status == OMEN_OK)
        status =
            parts_take_plain(((size_t)parts->leaders + 1) * sizeof *parts->starts, &parts->starts);
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
        status = parts_take_plain(parts->leaf_count * sizeof *parts->leaves, &parts->leaves);
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

// Some of what a leaf found, sorted as the list is, which stays sorted, without repetitions and of one width.
static void
keep_found(uint64_t *list, uint32_t width, const uint64_t *found, uint32_t count)
{
    uint64_t before[DEVICE_LIST_MAX];
    uint32_t at = width;
    while (at > 0 && list[at - 1] >= found[0])
        at--;
    memcpy(before, list + at, (size_t)(width - at) * sizeof *list);
    const uint64_t *own = before;
    for (const uint64_t *const end = found + count; at < width; at++) {
        const uint64_t other = found < end ? *found : DEVICE_NONE;
        const uint64_t key = *own < other ? *own : other;
        own += *own == key;
        found += other == key && found < end;
        list[at] = key;
    }
}

// Those of a place that its row's list takes: the first so many, since what is found is sorted.
static uint32_t
near_enough(const struct keep *keep, uint32_t place, const uint64_t *list, uint64_t *near)
{
    const struct parts *parts = keep->parts;
    const uint32_t k = parts->config->leaf_keep;
    const uint64_t *const found = keep->found + (size_t)place * k;
    const uint64_t last = list[parts->config->list - 1];
    uint32_t count = 0;
    for (; count < k && found[count] != DEVICE_NONE; count++) {
        near[count] =
            nearest_key(nearest_distance(found[count]), parts->numbers[nearest_slot(found[count])]);
        if (near[count] >= last)
            break;
    }
    return count;
}

static void
keep_unit(void *context, uint32_t unit, uint32_t worker)
{
    (void)worker;
    const struct keep *keep = context;
    const struct parts *parts = keep->parts;
    const uint32_t width = parts->config->list;
    for (uint32_t place = 0; place < keep->count; place++) {
        const uint32_t row = parts->numbers[place];
        if (row % keep->units != unit)
            continue;
        uint64_t near[DEVICE_LIST_MAX];
        uint64_t *const list = parts->lists + (size_t)row * width;
        const uint32_t count = near_enough(keep, place, list, near);
        if (count > 0)
            keep_found(list, width, near, count);
    }
}

// Memory of the leaves' stage.
struct leaf_memory {
    struct parts_table table;
    uint64_t *keys;
    uint32_t *places, *places_host; // of the device's rows, each of one turn
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
    omen_status status = parts_begin(parts, from, parts->starts[parts->leaders]);
    for (uint32_t i = 0; i < places; i++) {
        const uint32_t place = parts->places[from + i];
        parts->numbers[i] = place / config->fanout;
        memory->places_host[i] = i * config->fanout + place % config->fanout;
    }
    if (status == OMEN_OK)
        status = parts_load(parts, places, &memory->table);
    if (status == OMEN_OK)
        status = ops->put(parts->device, memory->places, memory->places_host,
                          places * sizeof *memory->places);
    if (status == OMEN_OK)
        status = ops->put(parts->device, memory->tiles, memory->tiles_host,
                          tiles * sizeof *memory->tiles);
    if (status == OMEN_OK)
        status = ops->fill(parts->device, memory->keys, 0xff, key_bytes);
    const struct device_nearest nearest = {.queries = parts_rows(parts, &memory->table, places),
                                           .base = parts_rows(parts, &memory->table, places),
                                           .places = memory->places,
                                           .tiles = memory->tiles,
                                           .tile_count = tiles,
                                           .fanout = config->fanout,
                                           .k = config->leaf_keep,
                                           .skip_self = 1,
                                           .near_turns = config->near_turns,
                                           .one_each = 1,
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
    omen_status status = parts_take_table(parts, most, &memory->table);
    if (status == OMEN_OK)
        status = parts_take(parts, key_bytes, &memory->keys);
    if (status == OMEN_OK)
        status = parts_take(parts, most * sizeof *memory->places, &memory->places);
    if (status == OMEN_OK)
        status = parts_take(parts, most * sizeof *memory->tiles, &memory->tiles);
    if (status == OMEN_OK)
        status = parts_take_pinned(parts, most * sizeof *memory->tiles, &memory->tiles_host);
    if (status == OMEN_OK)
        status = parts_take_pinned(parts, most * sizeof *memory->places, &memory->places_host);
    return status == OMEN_OK ? parts_take_pinned(parts, key_bytes, &memory->found) : status;
}

// As many leaves at a time, one after the other, as have leaf_places or fewer between the first and the last.
omen_status
parts_leaves(struct parts *parts)
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
    parts->ops->host_free(parts->device, memory.places_host);
    parts->ops->host_free(parts->device, memory.found);
    return status;
}
