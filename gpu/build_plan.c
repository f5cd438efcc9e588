// gpu/build_plan.c -- how much of a device a build takes, and how it is cut where that is too much.
//
// Shape: value.
#include "gpu/build_int.h"

#include "base/assert.h"
#include "base/prng.h"
#include "index/graph.h"

#define KEY_BYTES sizeof(uint64_t)
#define META_BYTES sizeof(struct byte_meta)
#define STAGED_BYTES 16777216u // copied at the full rate, and threads are not started too often
// What a row takes, in ns, as measured for 1,000,000 x 128 on an H200 with 16 cores (docs/internals/gpu.md): of a processor by the
// host's half of a build by parts, and more for each part; of the device and of copies, a byte of code; and of a processor
// without a device, up to so many bytes of code (measured at 128 and 768), and more in proportion.
#define PARTS_HOST_NS 29400u
#define PARTS_EACH_NS 272u
#define PARTS_DEVICE_NS 1.75
#define PROCESSORS_NS 24000u
#define PROCESSORS_BYTES 768u
#define PLACES_MAX 4194304u // whose lists lie on the host at a time, half a gigabyte of them

struct gpu_build_config
gpu_build_config_for(uint32_t count, uint32_t links)
{
    return (struct gpu_build_config){.links_max = links * 2,
                                     .link_width = link_width_for(count),
                                     .chosen_max = links + links / 2,
                                     .list = DEVICE_LIST_MAX,
                                     .fanout = 8,
                                     .leaf_rows = 1024,
                                     .leaf_max = 4096,
                                     .leaf_keep = 16,
                                     .exact_rows = 65536,
                                     .alpha2 = 1.7f, // as many links as inserted rows have
                                     .staged_bytes = STAGED_BYTES,
                                     .threads = 1,
                                     .seed = 1};
}

struct gpu_build_config
gpu_build_config_for_ip(uint32_t count, uint32_t links)
{
    struct gpu_build_config config = gpu_build_config_for(count, links);
    config.fanout = 12; // of 1,000,000 rows eight leaves miss products that lead to answers
    config.near_turns = 2;
    config.leaf_keep = 12; // near ones come first in a list, and should not fill it
    // So many offers reach rows that nobody has a large product with; more take the place of what leads to answers.
    config.farthest = 4;
    config.exact_rows = 0; // the exactly nearest hide what leads away from a row
    return config;
}

static uint32_t
at_most(uint64_t value, uint32_t most)
{
    return value < most ? (uint32_t)value : most;
}

uint32_t
build_leaders(const struct gpu_build_config *config, uint32_t count)
{
    const uint64_t leaders =
        ((uint64_t)count * config->fanout + config->leaf_rows - 1) / config->leaf_rows;
    return at_most(leaders < config->fanout ? config->fanout : leaders, count);
}

uint64_t
gpu_build_bytes(const struct gpu_build_config *config, const struct gpu_build_shape *shape)
{
    const uint64_t n = shape->count, key = KEY_BYTES;
    const uint64_t rows = n * (shape->stride + META_BYTES);
    uint64_t leaves = 0; // the stages up to merge
    if (shape->count > config->exact_rows)
        leaves = n * config->fanout *
                 (key + 2 * key + config->leaf_keep * key); // assigned, sorting, lists
    // Links offered the other way are sorted: a key and a number (12 bytes) each, twice.
    const uint64_t reverse = n * config->chosen_max * (key + 24);
    const uint64_t lists = n * config->list * key;
    const uint64_t offered = config->farthest > 0 ? n * config->list * (key + 24) : 0;
    if (leaves < offered)
        leaves = offered;
    return rows + lists + (leaves > reverse ? leaves : reverse) + n * config->links_max * key;
}

// ---- by parts ----

// What one stage takes: something once, something each of what it is cut by, of which it wants some at least.
struct need {
    uint64_t once, each;
    uint32_t least, most;
};

static uint64_t
need_bytes(const struct need *need, uint32_t many)
{
    return need->once + need->each * many;
}

static uint32_t
need_fits(const struct need *need, uint64_t bytes)
{
    return bytes < need->once ? 0 : at_most((bytes - need->once) / need->each, need->most);
}

struct needs {
    struct need assign, leaves, choose;
    struct need choose_all; // of rows so many that every code is there anyway
};

static struct needs
needs_of(const struct gpu_build_config *config, const struct gpu_build_shape *shape)
{
    const uint32_t n = shape->count, keep = config->links_max; // at least chosen_max
    const uint64_t row = shape->stride + META_BYTES;
    const uint64_t lists = (config->list + keep) * KEY_BYTES;
    const uint64_t places = (uint64_t)n * config->fanout;
    const uint32_t all_rows =
        (n + config->list - 1) / config->list; // whose candidates are all rows
    ASSERT(places <= UINT32_MAX && config->leaf_max <= PLACES_MAX);
    return (struct needs){
        .assign = {.once = build_leaders(config, n) * row,
                   .each = row + config->fanout * KEY_BYTES,
                   .least = 1,
                   .most = n},
        .leaves =
            {// each: code, list, its own number, and a tile where it has one
             .each = row + config->leaf_keep * KEY_BYTES + sizeof(uint32_t) +
                     sizeof(struct device_tile),
             .least = at_most(config->leaf_max, n),
             .most = at_most(places, PLACES_MAX)},
        .choose = {.each = lists + config->list * row, .least = 1, .most = n},
        .choose_all = {.once = n * row, .each = lists, .least = all_rows, .most = n}};
}

static uint64_t
larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t
least_bytes(const struct needs *needs)
{
    const uint64_t choose = need_bytes(&needs->choose, needs->choose.least);
    const uint64_t choose_all = need_bytes(&needs->choose_all, needs->choose_all.least);
    return larger(larger(need_bytes(&needs->assign, needs->assign.least),
                         need_bytes(&needs->leaves, needs->leaves.least)),
                  choose < choose_all ? choose : choose_all);
}

omen_status
gpu_build_plan(const struct gpu_build_config *config, const struct gpu_build_shape *shape,
               uint64_t bytes, struct gpu_build_plan *plan)
{
    *plan = (struct gpu_build_plan){.whole = 1, .bytes = gpu_build_bytes(config, shape)};
    if (plan->bytes <= bytes)
        return OMEN_OK;
    const uint64_t staged = config->staged_bytes / (shape->stride + META_BYTES);
    *plan = (struct gpu_build_plan){.staged_rows = at_most(staged > 0 ? staged : 1, shape->count)};
    const struct needs needs = needs_of(config, shape);
    plan->bytes = least_bytes(&needs);
    if (plan->bytes > bytes)
        return OMEN_E_NO_MEMORY;
    plan->assign_rows = need_fits(&needs.assign, bytes);
    plan->leaf_places = need_fits(&needs.leaves, bytes);
    plan->choose_rows = need_fits(&needs.choose, bytes);
    uint64_t choose = need_bytes(&needs.choose, plan->choose_rows);
    const uint32_t all = need_fits(&needs.choose_all, bytes);
    if (all >= needs.choose_all.least && all >= plan->choose_rows) {
        plan->choose_rows = all;
        choose = need_bytes(&needs.choose_all, all);
    }
    plan->bytes = larger(choose, larger(need_bytes(&needs.assign, plan->assign_rows),
                                        need_bytes(&needs.leaves, plan->leaf_places)));
    return OMEN_OK;
}

static uint32_t
parts_of(uint64_t all, uint32_t each)
{
    return (uint32_t)((all + each - 1) / each);
}

uint32_t
gpu_build_parts(const struct gpu_build_config *config, const struct gpu_build_shape *shape,
                const struct gpu_build_plan *plan)
{
    const uint64_t n = shape->count;
    return plan->whole != 0
               ? 0
               : parts_of(n, plan->assign_rows) + parts_of(n * config->fanout, plan->leaf_places) +
                     2 * parts_of(n, plan->choose_rows);
}

bool
gpu_build_is_for_processors(const struct gpu_build_config *config,
                            const struct gpu_build_shape *shape, uint32_t parts)
{
    const double host = PARTS_HOST_NS + (double)PARTS_EACH_NS * parts;
    const double by_parts = PARTS_DEVICE_NS * shape->stride + host / config->threads;
    const uint32_t bytes = shape->stride < PROCESSORS_BYTES ? PROCESSORS_BYTES : shape->stride;
    const double alone = (double)PROCESSORS_NS * bytes / PROCESSORS_BYTES / config->threads;
    return parts > 0 && by_parts > alone;
}

size_t
build_host_bytes(const struct gpu_build_config *config, const struct gpu_build_shape *shape,
                 const struct gpu_build_plan *plan)
{
    const size_t n = shape->count, words = (n + 31) / 32 * sizeof(uint32_t);
    const size_t leaders = build_leaders(config, shape->count), places = n * config->fanout;
    const size_t leaves = leaders + places / config->leaf_max + 1; // a group's last may be short
    const size_t always = words + leaders * sizeof(uint32_t) +
                          leaves * (sizeof(struct build_leaf) + sizeof(struct device_tile)) +
                          places / DEVICE_TILE_ROWS * sizeof(struct device_tile);
    if (plan->whole != 0)
        return always;
    const size_t offered = config->farthest > 0 ? config->list : 0; // in place of what comes after
    const size_t kept = config->list + config->fanout + larger(config->chosen_max, offered);
    return always + words * 2 + places * sizeof(uint32_t) + n * kept * KEY_BYTES +
           larger(n, plan->leaf_places) * sizeof(uint32_t) +
           2ul * plan->staged_rows * (shape->stride + META_BYTES) +
           plan->leaf_places *
               (config->leaf_keep * KEY_BYTES + sizeof(struct device_tile) + sizeof(uint32_t));
}

// ---- leaders and leaves ----
void
build_draw_leaders(const struct gpu_build_config *config, uint32_t count, uint32_t *numbers)
{
    const uint32_t leaders = build_leaders(config, count);
    struct prng prng;
    prng_init(&prng, config->seed);
    for (uint32_t i = 0; i < leaders; i++) {
        const uint32_t from = (uint32_t)((uint64_t)i * count / leaders);
        const uint32_t end = (uint32_t)((uint64_t)(i + 1) * count / leaders);
        numbers[i] = from + prng_below(&prng, end - from);
    }
}

uint32_t
build_cut_leaves(const struct gpu_build_config *config, const uint32_t *starts,
                 struct build_leaf *leaves, struct gpu_build_report *report)
{
    const uint32_t most = config->leaf_max;
    uint32_t count = 0;
    report->leaf_pairs = 0;
    report->cut = 0;
    for (uint32_t g = 0; g < report->leaders; g++) {
        const uint32_t size = starts[g + 1] - starts[g];
        if (size < 2)
            continue;
        const uint32_t parts = (size + most - 1) / most;
        report->cut += parts > 1;
        for (uint32_t p = 0; p < parts; p++, count++) {
            const uint32_t from = starts[g] + (uint32_t)((uint64_t)size * p / parts);
            const uint32_t end = starts[g] + (uint32_t)((uint64_t)size * (p + 1) / parts);
            report->leaf_pairs += (uint64_t)(end - from) * (end - from);
            if (leaves != NULL)
                leaves[count] = (struct build_leaf){.first = from, .count = end - from};
        }
    }
    return count;
}

uint32_t
build_tiles(const struct build_leaf *leaves, uint32_t count, uint32_t from,
            struct device_tile *tiles)
{
    uint32_t made = 0;
    for (uint32_t l = 0; l < count; l++)
        for (uint32_t at = 0; at < leaves[l].count; at += DEVICE_TILE_ROWS, made++)
            if (tiles != NULL)
                tiles[made] =
                    (struct device_tile){.first = leaves[l].first - from + at,
                                         .count = at_most(leaves[l].count - at, DEVICE_TILE_ROWS),
                                         .base_first = leaves[l].first - from,
                                         .base_count = leaves[l].count};
    return made;
}

// ---- offers ----
// Under ip a long row is far from all, so none that is near to it has it among its nearest, and what is asked for is mostly such rows: the
// farthest come first, in place of a row's own farthest.
struct device_reverse
build_offer_lists(const struct gpu_build_config *config, uint32_t count, const uint64_t *lists,
                  uint64_t *candidates)
{
    return (struct device_reverse){.links = lists,
                                   .count = count,
                                   .keep = config->list,
                                   .width = config->list,
                                   .farthest = config->farthest,
                                   .candidates = candidates};
}

struct device_reverse
build_offer_chosen(const struct gpu_build_config *config, uint32_t count, const uint64_t *chosen,
                   uint64_t *candidates)
{
    return (struct device_reverse){.links = chosen,
                                   .count = count,
                                   .keep = config->chosen_max,
                                   .width = config->list,
                                   .candidates = candidates};
}
