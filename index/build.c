// index/build.c -- runs the stages of a bulk build, over all rows or a part of them at a time.
//
// Shape: handle.
//
// Reservoirs are most of the memory. With less than they take, the leaves are gone through several times, each time
// for the reservoirs of some of the rows; which leaf a row is in does not depend on that. All memory is counted before it
// is taken, so a limit is kept whatever the estimates said. A pass costs as much whether it has many reservoirs or few, so each has
// as many as fit: a row that has not had its turn takes nothing, and one that has takes the links that it chose, close behind those
// of the one before, not yet the room for others' choices.
// A graph in which too many rows cannot be reached was unlucky with its leaders: it is made again with others.
#include "index/build.h"

#include <string.h>

#include "base/alloc.h"
#include "base/os_clock.h"
#include "base/pool.h"
#include "base/prng.h"
#include "index/build_int.h"

#define DRAWS_MAX 3u
#define PASSES_MAX 32u
#define PROGRESS_NS 50000000u // between two calls of a progress function
#define PAGE_BYTES ((size_t)4096)
#define LINE_BYTES ((size_t)64)
#define BLOCK_ROWS 1024u
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

// ---- memory ----

static size_t
whole_lines(size_t bytes)
{
    return (bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
}

static size_t
whole_pages(size_t bytes)
{
    return bytes > 0 ? (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES : PAGE_BYTES;
}

static void
raise_to(_Atomic size_t *peak, size_t now)
{
    size_t before = atomic_load_explicit(peak, memory_order_relaxed);
    while (now > before && !atomic_compare_exchange_weak(peak, &before, now))
        ;
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
    raise_to(&build->memory_peak, now);
    raise_to(&build->memory_stage, now);
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

static size_t
links_bytes(const struct build *build)
{
    return (size_t)build->source->count * build->config.links_max * sizeof *build->links;
}

void
block_close(struct build *build)
{
    build_free(build, build->block, build->block_bytes);
    build->block = NULL;
    build->block_bytes = 0;
}

// Leaves the first bytes of the block.
static void
block_trim(struct build *build, size_t bytes)
{
    const size_t kept = whole_pages(bytes), all = whole_pages(build->block_bytes);
    if (kept >= all)
        return;
    pages_free_from(build->block, kept, all);
    give_back(build, all - kept);
    build->block_bytes = kept;
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

static uint32_t
blocks_of(const struct build *build)
{
    return (build->rows.count + BLOCK_ROWS - 1) / BLOCK_ROWS;
}

static size_t
chosen_starts_bytes(const struct build *build)
{
    return blocks_of(build) * sizeof *build->chosen_starts;
}

static const size_t reservoir_bytes = sizeof(struct reservoir) + sizeof(uint32_t);

// Which rows are built, and which equal one of them: as much as it is, when there are clusters, or as it might be.
static size_t
twins_bytes(const struct build *build)
{
    if (build->starts == NULL)
        return build->source->count * (sizeof *build->members + sizeof(uint32_t));
    return build->twins == NULL ? 0
                                : build->rows.count * sizeof *build->members +
                                      build->report->twins * sizeof *build->twins;
}

// What is there in every stage after the first, beside links.
static size_t
always_bytes(const struct build *build)
{
    return workers_bytes(build) + (PAGES_BEGUN + build->config.threads) * PAGE_BYTES +
           build->source->count * sizeof *build->counts + chosen_starts_bytes(build) +
           twins_bytes(build);
}

// What is there beside links and reservoirs.
static size_t
held_bytes(const struct build *build)
{
    return always_bytes(build) + split_bytes(build) + split_bytes_apart(build) +
           narrow_bytes(build);
}

// ---- passes ----

// Bytes of a link that was chosen in a pass before.
static uint32_t
chosen_each(const struct build *build)
{
    return build->rows.count <= 1u << 24 ? 3 : 4;
}

// All links of rows that have chosen, and as many as there may be. A reservoir has no more candidates, and is longer.
static size_t
chosen_bytes(const struct build *build, uint64_t links)
{
    const uint32_t each = chosen_each(build), beyond = (uint32_t)sizeof(uint32_t) - each;
    return links > 0 ? whole_lines(links * each + beyond) : 0;
}

static size_t
chosen_most(const struct build *build, uint32_t rows)
{
    const uint32_t chosen = build->config.chosen;
    return chosen_bytes(build,
                        (uint64_t)rows * (chosen < RESERVOIR_SLOTS ? chosen : RESERVOIR_SLOTS));
}

// Up to which place there are reservoirs in a pass that begins with `first`: the first pass has the whole block, later ones
// what the links of those before have left of it.
static uint32_t
pass_end(const struct build *build, size_t block, size_t chosen, uint32_t first)
{
    const size_t left = (block - chosen) / reservoir_bytes;
    return left < build->rows.count - first ? first + (uint32_t)left : build->rows.count;
}

// At most.
static uint32_t
passes_of(const struct build *build, size_t block)
{
    uint32_t passes = 0;
    for (uint32_t first = 0; first < build->rows.count; passes++)
        first = pass_end(build, block, chosen_most(build, first), first);
    return passes;
}

// The smallest block of which every pass has its share.
static size_t
block_least(const struct build *build)
{
    const uint32_t rows = build->rows.count;
    return chosen_most(build, rows) + (rows / PASSES_MAX + 2) * reservoir_bytes;
}

// The most of what there is room for that is of use.
static size_t
block_for(const struct build *build)
{
    const size_t limit = build->config.memory_max, held = held_bytes(build);
    const size_t all = build->rows.count * reservoir_bytes;
    if (limit == 0 || limit >= held + all)
        return all;
    const size_t left = limit > held ? (limit - held) / PAGE_BYTES * PAGE_BYTES : 0;
    return larger(left < all ? left : all, block_least(build));
}

// Most is with copies, least without.
struct build_memory
build_memory(const struct build_rows *rows, const struct build_config *config)
{
    struct build build = {.source = rows, .rows = *rows, .config = *config};
    workers_shape(&build);
    const size_t always = always_bytes(&build), links = links_bytes(&build);
    if (config->maker != NULL) {
        const size_t bytes =
            always + links + config->maker->bytes(config->maker->context, rows, config);
        return (struct build_memory){.least = bytes, .most = bytes};
    }
    const size_t held = held_bytes(&build), split = always + split_bytes_making(&build);
    const size_t reverse = always + links + order_bytes(&build) + reverse_bytes(&build);
    const size_t least = larger(larger(split, reverse), held + block_least(&build));
    build.narrow_how = NARROW_ALL;
    workers_shape(&build);
    const size_t narrow = always_bytes(&build) + split_bytes(&build) + narrow_bytes_making(&build);
    const size_t whole = held_bytes(&build) + rows->count * reservoir_bytes;
    return (struct build_memory){.least = least, .most = larger(larger(least, narrow), whole)};
}

// What finding the axes takes, where copies are made as they are wanted.
static size_t
finding_bytes(const struct build_rows *rows, const struct build_config *config)
{
    struct build build = {
        .source = rows, .rows = *rows, .config = *config, .narrow_how = NARROW_WANTED};
    workers_shape(&build);
    return always_bytes(&build) +
           larger(split_bytes_making(&build), split_bytes(&build) + narrow_bytes_making(&build));
}

bool
wanted_fits(const struct build *build, uint32_t width)
{
    struct build as = {.source = build->source,
                       .rows = build->rows,
                       .config = build->config,
                       .twins = build->twins,
                       .leaders = build->leaders,
                       .starts = build->starts,
                       .gap_starts = build->gap_starts,
                       .gaps = build->gaps,
                       .report = build->report,
                       .narrow_how = NARROW_WANTED,
                       .narrow = {.width = width}};
    const size_t links = links_bytes(&as) + order_bytes(&as);
    workers_shape(&as);
    const size_t whole = always_bytes(&as) + links;
    narrow_shape_wanted(&as);
    const size_t passes = held_bytes(&as) + block_least(&as);
    const size_t reverse = always_bytes(&as) + narrow_bytes(&as) + links + reverse_bytes(&as);
    return build->config.memory_max >= larger(whole, larger(passes, reverse));
}

// The copies that the limit has room for.
static enum narrow_how
narrow_how(const struct build_rows *rows, const struct build_config *config)
{
    const size_t limit = config->memory_max;
    if (config->maker != NULL)
        return NARROW_NEVER;
    if (limit == 0 || limit >= build_memory(rows, config).most)
        return NARROW_ALL;
    return limit >= finding_bytes(rows, config) ? NARROW_WANTED : NARROW_NEVER;
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
        if (place % BLOCK_ROWS == 0)
            build->chosen_starts[place / BLOCK_ROWS] = build->chosen_count;
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
    const uint32_t from = index * BLOCK_ROWS, left = build->rows.count - from;
    const uint32_t end = from + (left < BLOCK_ROWS ? left : BLOCK_ROWS);
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
    build_free(build, build->chosen_starts, chosen_starts_bytes(build));
    build->chosen_starts = NULL;
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
