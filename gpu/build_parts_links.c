// gpu/build_parts_links.c -- which links the rows choose, some rows at a time.
//
// Shape: handle for the length of one call.
#include "base/pool.h"
#include "gpu/build_parts_int.h"
#include "index/nearest.h"

#define LIST_ROWS 2048u // of one unit of work

uint32_t
parts_table_rows(const struct parts *parts)
{
    return parts_smaller((uint64_t)parts->job->plan->choose_rows * parts->config->list,
                         parts->count);
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
    pool_run_behind(renumber->parts->config->threads, (renumber->count + LIST_ROWS - 1) / LIST_ROWS,
                    unit, renumber);
}

static uint64_t *
renumber_unit(const struct renumber *renumber, uint32_t index, size_t *count)
{
    const uint32_t from = index * LIST_ROWS;
    *count = (size_t)parts_smaller(renumber->count - from, LIST_ROWS) * renumber->width;
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
    struct parts_table table;
    uint64_t *candidates, *chosen;
};

static omen_status
choose_part(struct parts *parts, const struct choosing *choosing, uint32_t first, uint32_t count)
{
    const struct device_ops *ops = parts->ops;
    const uint32_t width = parts->config->list, keep = choosing->keep;
    omen_status status = parts_begin(parts, first, parts->count);
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
    status = parts_load(parts, rows, &choosing->table);
    if (status == OMEN_OK)
        status = ops->put(parts->device, choosing->candidates, candidates.keys,
                          (size_t)count * width * sizeof *candidates.keys);
    const struct device_prune prune = {.rows = parts_rows(parts, &choosing->table, rows),
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
    omen_status status = parts_take_table(parts, parts_table_rows(parts), &choosing->table);
    if (status == OMEN_OK)
        status = parts_take(parts, (size_t)most * parts->config->list * sizeof(uint64_t),
                            &choosing->candidates);
    if (status == OMEN_OK)
        status =
            parts_take(parts, (size_t)most * choosing->keep * sizeof(uint64_t), &choosing->chosen);
    for (uint32_t first = 0; first < parts->count && status == OMEN_OK; first += most)
        status = choose_part(parts, choosing, first, parts_smaller(parts->count - first, most));
    return status;
}

omen_status
parts_choose(struct parts *parts)
{
    const uint32_t keep = parts->config->chosen_max;
    const omen_status status = parts_take_pinned(
        parts, (size_t)parts->count * keep * sizeof *parts->chosen, &parts->chosen);
    struct choosing choosing = {.keep = keep, .out = parts->chosen};
    return status == OMEN_OK ? choose(parts, &choosing) : status;
}

// Links of a part are written in front of the lists that are read next: a row has no more links than candidates.
omen_status
parts_choose_again(struct parts *parts)
{
    const uint32_t keep = parts->config->links_max;
    struct choosing choosing = {.keep = keep, .whole = keep, .out = parts->lists};
    return choose(parts, &choosing);
}
