// index/build.c -- runs the stages of a bulk build, over all rows or a part of them at a time.
//
// Shape: handle.
//
// Reservoirs are two thirds of the memory. With less than they take, the leaves are gone through several times, each time
// for the reservoirs of some of the rows; which leaf a row is in does not depend on that. All memory is counted before it
// is taken, so a limit is kept whatever the estimates said. Between passes a row has the links that it chose, not yet the room for
// others' choices: those of all rows lie close together, and reservoirs take what is left of the links' memory, too.
// A graph in which too many rows cannot be reached was unlucky with its leaders: it is made again with others.
#include "index/build.h"

#include <string.h>

#include "base/alloc.h"
#include "base/os_clock.h"
#include "base/prng.h"
#include "index/build_int.h"

#define DRAWS_MAX 3u
#define PASSES_MAX 32u
#define PROGRESS_NS 50000000u // between two calls of a progress function
#define PAGE_BYTES ((size_t)4096)
#define PAGES_BEGUN 16u // and not filled: one an array

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
                                 .threads = 1};
}

const char *
build_stage_name(enum build_stage stage)
{
    static const char *const names[BUILD_STAGES] = {"same",    "partition", "leaves", "choose",
                                                    "reverse", "reach",     "maker"};
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

// ---- memory ----

static size_t
whole_pages(size_t bytes)
{
    return bytes > 0 ? (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES : PAGE_BYTES;
}

// Counts bytes as taken, where the limit has room for them.
static bool
take(struct build *build, size_t bytes)
{
    const size_t limit = build->config.memory_max;
    const size_t now =
        atomic_fetch_add_explicit(&build->memory_now, bytes, memory_order_relaxed) + bytes;
    if (limit != 0 && now > limit) {
        atomic_fetch_sub_explicit(&build->memory_now, bytes, memory_order_relaxed);
        build_fail(build, OMEN_E_NO_MEMORY);
        return false;
    }
    size_t peak = atomic_load_explicit(&build->memory_peak, memory_order_relaxed);
    while (now > peak && !atomic_compare_exchange_weak(&build->memory_peak, &peak, now))
        ;
    return true;
}

static void
give_back(struct build *build, size_t bytes)
{
    atomic_fetch_sub_explicit(&build->memory_now, bytes, memory_order_relaxed);
}

void *
build_alloc(struct build *build, size_t bytes)
{
    const size_t whole = whole_pages(bytes);
    if (!take(build, whole))
        return NULL;
    void *memory = pages_alloc(whole);
    if (memory == NULL) {
        give_back(build, whole);
        build_fail(build, OMEN_E_NO_MEMORY);
        return NULL;
    }
    pages_make_huge(memory, whole);
    return memory;
}

void
build_free(struct build *build, void *memory, size_t bytes)
{
    if (memory == NULL)
        return;
    pages_free(memory, whole_pages(bytes));
    give_back(build, whole_pages(bytes));
}

// What the links of all rows take when there is room for others' choices, too.
static size_t
links_bytes(const struct build *build)
{
    return whole_pages((size_t)build->source->count * build->config.links_max *
                       sizeof *build->links);
}

// What they take while rows are `links_room` apart.
static size_t
links_bytes_now(const struct build *build)
{
    return whole_pages((size_t)build->rows.count * build->links_room * sizeof *build->links);
}

static void
block_open(struct build *build, size_t begin)
{
    build->block = (uint8_t *)build->links + begin;
    build->block_bytes = build->links_mapped - begin;
}

void
block_close(struct build *build)
{
    const size_t links = links_bytes(build);
    build->block = NULL;
    build->block_bytes = 0;
    if (build->links == NULL || build->links_mapped == links)
        return;
    pages_free_from(build->links, links, build->links_mapped);
    give_back(build, build->links_mapped - links);
    build->links_mapped = links;
}

void *
build_heap(struct build *build, size_t bytes)
{
    if (!take(build, bytes))
        return NULL;
    void *memory = mem_alloc(bytes);
    if (memory == NULL) {
        give_back(build, bytes);
        build_fail(build, OMEN_E_NO_MEMORY);
    }
    return memory;
}

void
build_heap_free(struct build *build, void *memory, size_t bytes)
{
    if (memory == NULL)
        return;
    mem_free(memory);
    give_back(build, bytes);
}

static const size_t twins_bytes = 2 * sizeof(uint32_t); // of a row: which one it equals, or not
static const size_t reservoir_bytes = sizeof(struct reservoir) + sizeof(uint32_t);

// What is there in every stage after the first, beside links. That no row has a twin is known when there are clusters.
static size_t
always_bytes(const struct build *build)
{
    const bool none = build->starts != NULL && build->twin_of == NULL;
    return workers_bytes(build) + (PAGES_BEGUN + build->config.threads) * PAGE_BYTES +
           build->source->count * (sizeof *build->counts + (none ? 0 : twins_bytes));
}

// What is there beside links and reservoirs.
static size_t
held_bytes(const struct build *build)
{
    return always_bytes(build) + split_bytes(build) + split_bytes_apart(build);
}

static size_t
larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

struct build_memory
build_memory(const struct build_rows *rows, const struct build_config *config)
{
    struct build build = {.source = rows, .rows = *rows, .config = *config};
    workers_shape(&build);
    if (config->maker != NULL) {
        const size_t bytes = always_bytes(&build) + links_bytes(&build) +
                             config->maker->bytes(config->maker->context, rows, config);
        return (struct build_memory){.least = bytes, .most = bytes};
    }
    const size_t count = rows->count, always = always_bytes(&build), held = held_bytes(&build);
    const size_t links = links_bytes(&build), chosen = count * config->chosen * sizeof(uint32_t);
    const size_t split = always + split_bytes(&build) + split_bytes_besides(&build);
    const size_t part = chosen + (count / PASSES_MAX + 1) * reservoir_bytes;
    const size_t reverse = always + links + order_bytes(&build) + count * sizeof(uint64_t) + chosen;
    const size_t least = larger(larger(split, held + larger(links, part)), reverse);
    return (struct build_memory){
        .least = least, .most = larger(least, held + links + (count + 1) * reservoir_bytes)};
}

// How the links and reservoirs of a pass lie: in one piece of memory.
struct layout {
    uint32_t passes;
    uint32_t links_room; // from a row's links to the next row's
};

// Over so many parts of the rows the leaves are gone through. Where all reservoirs fit, links have their room from the beginning.
static struct layout
layout_for(const struct build *build)
{
    const uint32_t chosen = build->config.chosen;
    const size_t limit = build->config.memory_max, held = held_bytes(build) + reservoir_bytes;
    const size_t all = build->rows.count * reservoir_bytes;
    if (limit == 0 || limit >= held + links_bytes(build) + all)
        return (struct layout){.passes = 1, .links_room = build->config.links_max};
    const size_t less = held + build->rows.count * chosen * sizeof *build->links;
    const size_t left = limit > less ? limit - less : 1;
    const size_t passes = (all + left - 1) / left;
    return (struct layout){.passes = passes < PASSES_MAX ? (uint32_t)passes : PASSES_MAX,
                           .links_room = chosen};
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
    const uint64_t began = os_clock_ns(), spent = os_processor_ns();
    run(build);
    build->report->ns[stage] += os_clock_ns() - began;
    build->report->processor_ns[stage] += os_processor_ns() - spent;
}

// ---- the stages in turn ----

static void
one_pass(struct build *build, uint32_t pass, uint32_t passes)
{
    const uint32_t rows = build->rows.count;
    build->first = (uint32_t)((uint64_t)rows * pass / passes);
    build->end = (uint32_t)((uint64_t)rows * (pass + 1) / passes);
    const size_t part = build->end - build->first;
    build->reservoirs = build->block;
    build->heads = (_Atomic uint32_t *)(void *)(build->reservoirs + part);
    memset((void *)build->heads, 0, part * sizeof *build->heads);
    timed(build, BUILD_LEAVES, build_leaves);
    timed(build, BUILD_CHOOSE, build_choose);
}

// From the last row on, so that none is overwritten before it has moved.
static void
spread_links(struct build *build)
{
    const size_t room = build->links_room, links_max = build->config.links_max;
    for (size_t row = build->rows.count; room < links_max && row-- > 0;)
        memmove(build->links + row * links_max, build->links + row * room,
                build->counts[row] * sizeof *build->links);
    build->links_room = build->config.links_max;
}

// Room for the links of all rows, those of twins too, and `besides` bytes behind what they take now.
static void
open_links(struct build *build, uint32_t links_room, size_t besides)
{
    build->links_room = links_room;
    build->links_mapped = larger(links_bytes(build), whole_pages(links_bytes_now(build) + besides));
    build->links = build_alloc(build, build->links_mapped);
    build->counts = build_alloc(build, build->source->count);
}

static void
free_links(struct build *build)
{
    build_free(build, build->links, build->links_mapped);
    build_free(build, build->counts, build->source->count);
    build->links = NULL;
    build->counts = NULL;
}

static void
all_passes(struct build *build)
{
    if (build_stopped(build))
        return;
    const struct layout layout = layout_for(build); // of clusters as large as they are
    const size_t part = (build->rows.count + layout.passes - 1) / layout.passes;
    build->report->passes = layout.passes;
    open_links(build, layout.links_room, part * reservoir_bytes);
    if (build_stopped(build))
        return;
    block_open(build, links_bytes_now(build));
    for (uint32_t pass = 0; pass < layout.passes && !build_stopped(build); pass++)
        one_pass(build, pass, layout.passes);
    timed(build, BUILD_REVERSE, spread_links);
    block_open(build, links_bytes(build));
}

static void
add_twins(struct build *build)
{
    if (build->twin_of == NULL)
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
    if (!take(build, bytes))
        return;
    const omen_status status =
        maker->make(maker->context, &build->rows, &build->config, build->links, build->counts);
    give_back(build, bytes);
    if (status != OMEN_OK)
        build_fail(build, status);
}

// Links of a maker: there are no leaders to be drawn again.
static void
make_elsewhere(struct build *build)
{
    build->report->draws++;
    open_links(build, build->config.links_max, 0);
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
    all_passes(build);
    clusters_close(build);
    timed(build, BUILD_REVERSE, build_reverse);
    block_close(build);
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
    build_free(build, build->twin_of, (size_t)build->source->count * sizeof *build->twin_of);
    build_free(build, build->members,
               (size_t)(build->source->count - build->report->twins) * sizeof *build->members);
    workers_close(build);
    build->report->memory_peak = atomic_load(&build->memory_peak);
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
                          .report = report};
    omen_status status = workers_open(&build);
    if (status == OMEN_OK) {
        build.total = rows->count * (3 + (uint64_t)config->fanout[0] * layout_for(&build).passes);
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
