// index/build.c -- runs the stages of a bulk build, over all rows or a part of them at a time.
//
// Shape: handle.
//
// With less memory than all reservoirs take, the leaves are gone through several times (build_size.c); which leaf a row is in does
// not depend on that.
// A graph in which too many rows cannot be reached was unlucky with its leaders: it is made again with others.
#include "index/build.h"

#include <string.h>

#include "base/alloc.h"
#include "base/os_clock.h"
#include "base/pool.h"
#include "base/prng.h"
#include "index/build_int.h"

#define DRAWS_MAX 3u
#define PROGRESS_NS 50000000u // between two calls of a progress function

struct build_config
build_config_for(uint32_t links_max)
{
    return (struct build_config){.links_max = links_max,
                                 .chosen = links_max - links_max * 5 / 16,
                                 .fanout = {12, 2},
                                 .fanout_sure = 3,
                                 .fanout_far = 1.15f,
                                 .leaf_rows = 768,
                                 .leaf_near = 8,
                                 .relaxed = 1.44f, // as inserted links
                                 .copies = {.chosen_more = links_max / 16,
                                            .leaf_rows = 1000,
                                            .leaf_near = 10,
                                            .relaxed = 1.2f},
                                 .threads = 1};
}

const char *
build_stage_name(enum build_stage stage)
{
    static const char *const names[BUILD_STAGES] = {"same",   "partition", "narrow", "leaves",
                                                    "choose", "reverse",   "reach",  "maker"};
    return names[stage];
}

omen_status
build_graph_open(struct build_graph *graph, uint32_t count, uint32_t links_max)
{
    *graph = (struct build_graph){.count = count, .links_max = links_max};
    graph->links = pages_alloc((size_t)count * links_max * sizeof *graph->links);
    graph->counts = pages_alloc(count);
    if (graph->links != NULL && graph->counts != NULL)
        return OMEN_OK;
    build_graph_close(graph);
    return OMEN_E_NO_MEMORY;
}

void
build_graph_close(struct build_graph *graph)
{
    pages_free(graph->links, (size_t)graph->count * graph->links_max * sizeof *graph->links);
    pages_free(graph->counts, graph->count);
    *graph = (struct build_graph){0};
}

// ---- how it goes ----

void
build_fail(struct build *build, omen_status status)
{
    int none = OMEN_OK;
    (void)atomic_compare_exchange_strong(&build->status, &none, status);
}

void
build_done(struct build *build, uint32_t worker, uint64_t units)
{
    const uint64_t done =
        atomic_fetch_add_explicit(&build->done, units, memory_order_relaxed) + units;
    if (worker != 0 || build->config.progress == NULL)
        return;
    const uint64_t now = os_clock_ns();
    if (now - build->reported_ns < PROGRESS_NS)
        return;
    build->reported_ns = now;
    const uint64_t shown = done < build->total ? done : build->total;
    if (build->config.progress(build->config.context, shown, build->total) != 0)
        build_fail(build, OMEN_E_CANCELLED);
}

static void
timed(struct build *build, enum build_stage stage, void (*run)(struct build *build))
{
    if (build_stopped(build))
        return;
    struct build_report *const report = build->report;
    const uint64_t began = os_clock_ns(), spent = os_processor_ns(), read = rows_bytes_read(build);
    atomic_store(&build->memory_stage, atomic_load(&build->memory_now));
    run(build);
    report->ns[stage] += os_clock_ns() - began;
    report->processor_ns[stage] += os_processor_ns() - spent;
    report->read[stage] += rows_bytes_read(build) - read;
    report->memory[stage] = larger(report->memory[stage], atomic_load(&build->memory_stage));
}

// ---- the stages in turn ----

// Moves the links of this pass to those of passes before. None is overwritten before it has moved.
static void
keep_chosen(struct build *build)
{
    const uint32_t each = chosen_each(build);
    for (uint32_t place = build->first; place < build->end; place++) {
        const uint32_t count = build->counts[build->order[place]];
        const uint32_t *links = build->reservoirs[place - build->first].ids;
        uint8_t *out = (uint8_t *)build->block + build->chosen_count * each;
        if (place % PLACES_A_BLOCK == 0)
            build->chosen_starts[place / PLACES_A_BLOCK] = build->chosen_count;
        for (uint32_t i = 0; i < count; i++, out += each) // what is too much goes with the next
            memmove(out, &links[i], sizeof links[i]);
        build->chosen_count += count;
    }
}

static void
one_pass(struct build *build)
{
    const size_t part = build->end - build->first;
    uint8_t *const free_from = (uint8_t *)build->block + chosen_bytes(build, build->chosen_count);
    build->reservoirs = (struct reservoir *)(void *)free_from;
    build->heads = (_Atomic uint32_t *)(void *)(build->reservoirs + part);
    memset((void *)build->heads, 0, part * sizeof *build->heads);
    timed(build, BUILD_LEAVES, build_leaves);
    timed(build, BUILD_CHOOSE, build_choose);
    if (!build_stopped(build))
        keep_chosen(build);
}

static void
all_passes(struct build *build)
{
    if (build_stopped(build))
        return;
    build->block_bytes = block_for(build); // of clusters as large as they are
    build->block = build_alloc(build, build->block_bytes);
    build->counts = build_alloc(build, build->source->count);
    build->chosen_starts = build_alloc(build, chosen_starts_bytes(build));
    build->report->passes = 0;
    build->chosen_count = 0;
    for (build->end = 0; build->end < build->rows.count && !build_stopped(build);) {
        build->first = build->end;
        build->end = pass_end(build, build->block_bytes, chosen_bytes(build, build->chosen_count),
                              build->first);
        build->report->passes++;
        one_pass(build);
    }
}

static void
chosen_close(struct build *build)
{
    build_free(build, build->chosen_starts, chosen_starts_bytes(build)); // or none
    build->chosen_starts = NULL;
}

// Room for the links of all rows, those of twins too.
static void
open_links(struct build *build)
{
    build->links = build_alloc(build, links_bytes(build));
    if (build->counts == NULL)
        build->counts = build_alloc(build, build->source->count);
}

static void
free_links(struct build *build)
{
    build_free(build, build->links, links_bytes(build));
    build_free(build, build->counts, build->source->count);
    build->links = NULL;
    build->counts = NULL;
}

static void
place_block(void *context, uint32_t index, uint32_t worker)
{
    (void)worker;
    struct build *build = context;
    const uint32_t each = chosen_each(build), shift = 8 * ((uint32_t)sizeof(uint32_t) - each);
    const uint8_t *at = (const uint8_t *)build->block + build->chosen_starts[index] * each;
    const uint32_t from = index * PLACES_A_BLOCK, left = build->rows.count - from;
    const uint32_t end = from + (left < PLACES_A_BLOCK ? left : PLACES_A_BLOCK);
    for (uint32_t place = from; place < end; place++) {
        const uint32_t row = build->order[place];
        uint32_t *const links = build->links + (size_t)row * build->config.links_max;
        for (uint32_t i = 0; i < build->counts[row]; i++, at += each) {
            memcpy(&links[i], at, sizeof links[i]);
            links[i] = links[i] << shift >> shift;
        }
    }
}

// From the order of places to that of rows, with room for others' choices. Of the block stays what turns links round.
static void
place_links(struct build *build)
{
    block_trim(build, larger(chosen_bytes(build, build->chosen_count), reverse_bytes(build)));
    open_links(build);
    if (!build_stopped(build))
        pool_run(build->config.threads, blocks_of(build), place_block, build);
    chosen_close(build);
}

static void
add_twins(struct build *build)
{
    if (build->twins == NULL)
        return;
    build_add_twins(build);
    build->rows = *build->source;
}

static void
reach_all(struct build *build)
{
    build->whole = build_reach(build, build->rows.count);
}

static void
ask_maker(struct build *build)
{
    const struct build_maker *maker = build->config.maker;
    const size_t bytes = maker->bytes(maker->context, &build->rows, &build->config);
    if (!build_take(build, bytes))
        return;
    const omen_status status =
        maker->make(maker->context, &build->rows, &build->config, build->links, build->counts);
    build_give_back(build, bytes);
    if (status != OMEN_OK)
        build_fail(build, status);
}

// Links of a maker: there are no leaders to be drawn again.
static void
make_elsewhere(struct build *build)
{
    build->report->draws++;
    open_links(build);
    timed(build, BUILD_MAKER, ask_maker);
    timed(build, BUILD_SAME, add_twins);
    timed(build, BUILD_REACH, reach_all);
    if (!build_stopped(build) && build->whole)
        return;
    free_links(build);
    build_fail(build, OMEN_E_UNSUPPORTED); // where nothing else was wrong
}

// Makes links of all rows with the leaders that `seed` draws; true when they lead everywhere.
static bool
draw_graph(struct build *build, uint64_t seed)
{
    build->seed = seed;
    build->report->draws++;
    timed(build, BUILD_PARTITION, build_split);
    if (build->report->draws == 1) // copies that did not lead everywhere may be why
        timed(build, BUILD_NARROW, build_narrow);
    narrow_use(build);
    all_passes(build);
    clusters_close(build);
    timed(build, BUILD_REVERSE, place_links);
    chosen_close(build); // where it was ended before
    timed(build, BUILD_REVERSE, build_reverse);
    block_close(build);
    narrow_close(build);
    split_close(build);
    timed(build, BUILD_SAME, add_twins);
    timed(build, BUILD_REACH, reach_all);
    return !build_stopped(build) && build->whole;
}

static void
draw_until_good(struct build *build)
{
    const struct build_rows rows = build->rows;
    for (uint32_t draw = 0; draw < DRAWS_MAX; draw++) {
        build->rows = rows;
        if (draw_graph(build, mix64(build->config.seed + draw)))
            return;
        free_links(build);
        if (build_stopped(build))
            return;
    }
    build_fail(build, OMEN_E_UNSUPPORTED);
}

static void
build_close(struct build *build)
{
    build_free(build, build->twins, build->report->twins * sizeof *build->twins);
    build_free(build, build->members,
               (size_t)(build->source->count - build->report->twins) * sizeof *build->members);
    workers_close(build);
    build->report->memory_peak = atomic_load(&build->memory_peak);
    build->report->memory_left = atomic_load(&build->memory_now);
}

omen_status
build_run(const struct build_rows *rows, const struct build_config *config, struct build_graph *out,
          struct build_report *report)
{
    ASSERT(config->links_max >= 2 && config->links_max <= LINK_ROW_MAX);
    ASSERT(config->chosen >= 1 && config->chosen <= config->links_max);
    ASSERT(config->threads >= 1 && config->threads <= THREADS_MAX);
    ASSERT(config->leaf_near >= 1 && config->leaf_near <= TILE_LANES);
    ASSERT(config->leaf_rows >= 2 && config->leaf_rows <= TILE_IDS);
    ASSERT(config->copies.leaf_near >= 1 && config->copies.leaf_near <= TILE_LANES);
    ASSERT(config->copies.leaf_rows >= 2 && config->copies.leaf_rows <= TILE_IDS);
    ASSERT(config->fanout[0] >= 1 && config->fanout[0] <= TILE_LANES);
    ASSERT(config->fanout_sure >= 1 && config->fanout_far >= 1.0f);
    ASSERT(config->fanout[1] >= 1 && config->fanout[1] <= TILE_LANES);
    ASSERT(rows->kind == BUILD_FLOATS || rows->width % 4 == 0);
    struct build_report unwanted;
    *out = (struct build_graph){0};
    report = report != NULL ? report : &unwanted;
    *report = (struct build_report){0};
    if (rows->count == 0)
        return OMEN_OK;
    if (config->memory_max != 0 && config->memory_max < build_memory(rows, config).least)
        return OMEN_E_NO_MEMORY;
    struct build build = {.source = rows,
                          .rows = *rows,
                          .config = *config,
                          .tiles = config->tiles != NULL ? config->tiles : kernels_best()->tiles,
                          .narrow_how = narrow_how(rows, config),
                          .report = report};
    workers_shape(&build);
    omen_status status = workers_open(&build);
    if (status == OMEN_OK) {
        build.total =
            rows->count * (3 + (uint64_t)config->fanout[0] * passes_of(&build, block_for(&build)));
        timed(&build, BUILD_SAME, build_same);
        if (!build_stopped(&build) && config->maker != NULL)
            make_elsewhere(&build);
        else if (!build_stopped(&build))
            draw_until_good(&build);
        status = atomic_load(&build.status);
    }
    build_close(&build);
    if (status == OMEN_OK)
        *out = (struct build_graph){.count = rows->count,
                                    .links_max = config->links_max,
                                    .links = build.links,
                                    .counts = build.counts};
    return status;
}
