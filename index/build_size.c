// index/build_size.c -- what a bulk build will take, and how its passes share that.
//
// Shape: value.
//
// Reservoirs are most of the memory. With less than they take, the leaves are gone through several times, each time for the
// reservoirs of some of the rows. A pass costs as much whether it has many reservoirs or few, so each has as many as fit: a row that
// has not had its turn takes nothing, and one that has takes the links that it chose, close behind those of the one before, not yet
// the room for others' choices.
#include "index/build_int.h"

#define PASSES_MAX 32u
#define LINE_BYTES ((size_t)64)
#define PAGES_BEGUN 16u // and not filled: one an array

static size_t
whole_lines(size_t bytes)
{
    return (bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
}

size_t
links_bytes(const struct build *build)
{
    return (size_t)build->source->count * build->config.links_max * sizeof *build->links;
}

uint32_t
blocks_of(const struct build *build)
{
    return (build->rows.count + PLACES_A_BLOCK - 1) / PLACES_A_BLOCK;
}

size_t
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
    return workers_bytes(build) + (PAGES_BEGUN + build->config.threads) * BUILD_PAGE_BYTES +
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

uint32_t
chosen_each(const struct build *build)
{
    return build->rows.count <= 1u << 24 ? 3 : 4;
}

size_t
chosen_bytes(const struct build *build, uint64_t links)
{
    const uint32_t each = chosen_each(build), beyond = (uint32_t)sizeof(uint32_t) - each;
    return links > 0 ? whole_lines(links * each + beyond) : 0;
}

// As many as there may be: a reservoir has no more candidates, and is longer.
static size_t
chosen_most(const struct build *build, uint32_t rows)
{
    const uint32_t chosen = build->config.chosen;
    return chosen_bytes(build,
                        (uint64_t)rows * (chosen < RESERVOIR_SLOTS ? chosen : RESERVOIR_SLOTS));
}

uint32_t
pass_end(const struct build *build, size_t block, size_t chosen, uint32_t first)
{
    const size_t left = (block - chosen) / reservoir_bytes;
    return left < build->rows.count - first ? first + (uint32_t)left : build->rows.count;
}

uint32_t
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

size_t
block_for(const struct build *build)
{
    const size_t limit = build->config.memory_max, held = held_bytes(build);
    const size_t all = build->rows.count * reservoir_bytes;
    if (limit == 0 || limit >= held + all)
        return all;
    const size_t left = limit > held ? (limit - held) / BUILD_PAGE_BYTES * BUILD_PAGE_BYTES : 0;
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

enum narrow_how
narrow_how(const struct build_rows *rows, const struct build_config *config)
{
    const size_t limit = config->memory_max;
    if (config->maker != NULL)
        return NARROW_NEVER;
    if (limit == 0 || limit >= build_memory(rows, config).most)
        return NARROW_ALL;
    return limit >= finding_bytes(rows, config) ? NARROW_WANTED : NARROW_NEVER;
}
