// index/build.c -- runs the stages of a bulk build, over all rows or a part of them at a time.
//
// Shape: handle.
//
// Reservoirs are two thirds of the memory. With less than they take, the leaves are gone through several times, each time
// for the reservoirs of some of the rows; which leaf a row is in does not depend on that. A graph in which too many rows
// cannot be reached was unlucky with its leaders: it is made again with others.
#include "index/build.h"

#include <string.h>

#include "base/alloc.h"
#include "base/os_clock.h"
#include "base/prng.h"
#include "index/build_int.h"

#define DRAWS_MAX 3u
#define PASSES_MAX 32u
#define PROGRESS_NS 50000000u // between two calls of a progress function

struct build_config
build_config_for(uint32_t links_max)
{
    return (struct build_config){.links_max = links_max,
                                 .chosen = links_max - links_max / 4,
                                 .fanout = {12, 2},
                                 .leaf_rows = 1000,
                                 .leaf_near = 8,
                                 .threads = 1};
}

const char *
build_stage_name(enum build_stage stage)
{
    static const char *const names[BUILD_STAGES] = {"same",   "partition", "leaves",
                                                    "choose", "reverse",   "reach"};
    return names[stage];
}

void
build_graph_close(struct build_graph *graph)
{
    pages_free(graph->links, (size_t)graph->count * graph->links_max * sizeof *graph->links);
    pages_free(graph->counts, graph->count);
    *graph = (struct build_graph){0};
}

// ---- memory ----

void *
build_alloc(struct build *build, size_t bytes)
{
    void *memory = pages_alloc(bytes > 0 ? bytes : 1);
    if (memory == NULL) {
        build_fail(build, OMEN_E_NO_MEMORY);
        return NULL;
    }
    pages_make_huge(memory, bytes);
    build->memory_now += bytes;
    if (build->memory_now > build->report->memory_peak)
        build->report->memory_peak = build->memory_now;
    return memory;
}

void
build_free(struct build *build, void *memory, size_t bytes)
{
    if (memory == NULL)
        return;
    pages_free(memory, bytes > 0 ? bytes : 1);
    build->memory_now -= bytes;
}

// Bytes a row that stay from the first split on, and those of its reservoir.
static size_t
row_bytes(const struct build_config *config)
{
    return config->links_max * sizeof(uint32_t) + 1 + config->fanout[0] * sizeof(uint32_t) +
           sizeof(uint32_t);
}

static const size_t reservoir_bytes = sizeof(struct reservoir) + sizeof(uint32_t);

struct build_memory
build_memory(uint32_t count, const struct build_config *config)
{
    const size_t reverse = config->links_max * sizeof(uint32_t) + 1 + sizeof(uint64_t) +
                           config->chosen * sizeof(uint32_t);
    const size_t part = row_bytes(config) + reservoir_bytes / PASSES_MAX + 1;
    return (struct build_memory){
        .least = count * (part > reverse ? part : reverse),
        .most = count * (row_bytes(config) + reservoir_bytes),
    };
}

// Over so many parts of the rows the leaves are gone through.
static uint32_t
passes_for(const struct build *build)
{
    const size_t rows = build->rows.count, held = rows * row_bytes(&build->config);
    const size_t all = rows * reservoir_bytes, limit = build->config.memory_max;
    if (limit == 0 || limit >= held + all)
        return 1;
    const size_t left = limit > held ? limit - held : 1;
    const size_t passes = (all + left - 1) / left;
    return passes < PASSES_MAX ? (uint32_t)passes : PASSES_MAX;
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
    const uint64_t began = os_clock_ns();
    run(build);
    build->report->ns[stage] += os_clock_ns() - began;
}

// ---- the stages in turn ----

static void
one_pass(struct build *build, uint32_t pass, uint32_t passes)
{
    const uint32_t rows = build->rows.count;
    build->first = (uint32_t)((uint64_t)rows * pass / passes);
    build->end = (uint32_t)((uint64_t)rows * (pass + 1) / passes);
    const size_t part = build->end - build->first;
    build->reservoirs = build_alloc(build, part * sizeof *build->reservoirs);
    build->heads = build_alloc(build, part * sizeof *build->heads);
    timed(build, BUILD_LEAVES, build_leaves);
    timed(build, BUILD_CHOOSE, build_choose);
    build_free(build, build->reservoirs, part * sizeof *build->reservoirs);
    build_free(build, (void *)build->heads, part * sizeof *build->heads);
}

static void
add_twins(struct build *build)
{
    if (build->twin_of == NULL)
        return;
    (void)!build_add_twins(build); // the build's status has it
    build->rows = *build->source;
}

static void
reach_all(struct build *build)
{
    build->whole = build_reach(build, build->rows.count);
}

static void
free_links(struct build *build, uint32_t rows)
{
    build_free(build, build->links, (size_t)rows * build->config.links_max * sizeof(uint32_t));
    build_free(build, build->counts, rows);
    build->links = NULL;
    build->counts = NULL;
}

// Makes links of all rows with the leaders that `seed` draws; true when they lead everywhere.
static bool
draw_graph(struct build *build, uint64_t seed)
{
    const uint32_t rows = build->rows.count, passes = passes_for(build);
    build->seed = seed;
    build->report->draws++;
    build->report->passes = passes;
    build->links =
        build_alloc(build, (size_t)rows * build->config.links_max * sizeof *build->links);
    build->counts = build_alloc(build, rows);
    timed(build, BUILD_PARTITION, build_split);
    for (uint32_t pass = 0; pass < passes && !build_stopped(build); pass++)
        one_pass(build, pass, passes);
    split_close(build);
    timed(build, BUILD_REVERSE, build_reverse);
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
        const uint32_t made = build->rows.count;
        free_links(build, made);
        if (build_stopped(build))
            return;
    }
    build_fail(build, OMEN_E_UNSUPPORTED);
}

static void
build_close(struct build *build)
{
    build_free(build, build->twin_of, (size_t)build->source->count * sizeof *build->twin_of);
    build_free(build, build->members,
               (size_t)(build->source->count - build->report->twins) * sizeof *build->members);
    workers_close(build);
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
    ASSERT(config->fanout[0] >= 1 && config->fanout[0] <= TILE_LANES);
    ASSERT(config->fanout[1] >= 1 && config->fanout[1] <= TILE_LANES);
    ASSERT(rows->kind == BUILD_FLOATS || rows->width % 4 == 0);
    struct build_report unwanted;
    *out = (struct build_graph){0};
    report = report != NULL ? report : &unwanted;
    *report = (struct build_report){0};
    if (rows->count == 0)
        return OMEN_OK;
    if (config->memory_max != 0 && config->memory_max < build_memory(rows->count, config).least)
        return OMEN_E_NO_MEMORY;
    struct build build = {.source = rows,
                          .rows = *rows,
                          .config = *config,
                          .tiles = config->tiles != NULL ? config->tiles : kernels_best()->tiles,
                          .report = report};
    omen_status status = workers_open(&build);
    if (status == OMEN_OK) {
        build.total = rows->count * (3 + (uint64_t)config->fanout[0] * passes_for(&build));
        timed(&build, BUILD_SAME, build_same);
        if (!build_stopped(&build))
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
